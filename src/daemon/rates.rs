//! The thread that reads the counters once a second, for rates: beside the packet path, which notices nothing but
//! a cache line that it has to fetch again, and without the control thread but for the tables' handle.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::debug;

use super::control_thread::Control;
use super::desk::Desk;
use super::view::View;
use crate::admin::answer::Answer;
use crate::admin::protocol::{RateFilter, RateScope};
use crate::admin::rows::{RateRow, RateWindow};
use crate::clock::milliseconds;
use crate::observe::{Passed, Rates, Reading};
use crate::tables::counters::WorkerCounters;

/// Between two readings.
const PERIOD: Duration = Duration::from_secs(1);

/// The rates as everybody has them; held only while numbers are copied.
#[derive(Clone, Default)]
pub(super) struct RateBook(Arc<Mutex<Rates>>);

impl RateBook {
    /// Has a look at them.
    pub fn read<T>(&self, look: impl FnOnce(&mut Rates) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Starts the thread. It ends where the control thread has.
///
/// # Errors
/// The system's, where there is no thread left.
pub(super) fn spawn(
    desk: Desk,
    workers: Vec<Arc<WorkerCounters>>,
    book: RateBook,
) -> std::io::Result<()> {
    let read = move || {
        let mut next = Instant::now();
        while let Some(tables) = desk.ask(|control| control.engine.tables().clone()) {
            if let Some(reading) = Reading::take(&workers, &tables) {
                let vifs = tables.vifs.iter().map(|vif| vif.as_ref().map(|vif| &vif.name));
                let ports = tables.ports.iter();
                let ports = ports.map(|port| (!port.is_vacant()).then_some(&port.name));
                book.read(|rates| rates.keep(reading, vifs, ports));
            } else {
                debug!("the machine was too busy to read the counters at one moment");
            }
            drop(tables);
            let now = Instant::now();
            // After a stall the next one is a second away again.
            next = (next + PERIOD).max(now);
            std::thread::sleep(next - now);
        }
    };
    std::thread::Builder::new().name("rates".into()).spawn(read)?;
    Ok(())
}

/// `show vifs --rate` and `show ports --rate`: those with most traffic first.
pub(super) fn show(control: &Control, filter: &RateFilter) -> Answer {
    let (view, book, filter) = (View::of(control), control.rates.clone(), filter.clone());
    Answer::later(move || {
        let mut rows = rows(&view, &book, &filter);
        if !filter.l1 {
            let windows = rows.iter_mut().flat_map(|row| &mut row.windows);
            windows.for_each(|w| (w.rx_l1_bits_per_s, w.tx_l1_bits_per_s) = (None, None));
        }
        let busy = |row: &RateRow| row.windows.get(1).map_or(0.0, RateWindow::bits_per_s);
        rows.sort_by(|a, b| busy(b).total_cmp(&busy(a)));
        Answer::rows(rows)
    })
}

fn rows(view: &View, book: &RateBook, filter: &RateFilter) -> Vec<RateRow> {
    let now = Instant::now();
    let row = |scope: &str,
               name: &str,
               port: &str,
               (age, passed): (Option<Duration>, Vec<Passed>)| RateRow {
        scope: scope.into(),
        name: name.into(),
        port: port.into(),
        layer: if filter.l1 { "l1" } else { "l2" }.into(),
        age_ms: age.map(milliseconds),
        windows: passed.iter().map(window).collect(),
    };
    match filter.of {
        RateScope::Ports => {
            let ports = view.ports();
            let ports = ports.map(|(id, name)| {
                row(
                    "port",
                    name,
                    name,
                    book.read(|rates| (rates.age(now), rates.of_port(id, name))),
                )
            });
            ports.collect()
        }
        RateScope::Vifs => {
            let vifs = view.vifs().map(|(id, vif)| {
                let known = book.read(|rates| (rates.age(now), rates.of_vif(id, &vif.name)));
                row("vif", &vif.name, view.port_name(vif.port), known)
            });
            vifs.collect()
        }
    }
}

/// What passed, as a row has it.
pub(super) fn window(passed: &Passed) -> RateWindow {
    let traffic = &passed.traffic;
    RateWindow::new(
        passed.window_s,
        passed.time,
        [traffic.rx_frames, traffic.tx_frames],
        [traffic.rx_octets, traffic.tx_octets],
    )
}
