//! Mappings: controllers' connections, what clients see of them, and the file that outlives the station.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use ipnet::IpNet;
use tracing::{error, info};

use super::announce::log_and_tell;
use super::answer::no;
use super::control_thread::Control;
use super::desk::Desk;
use super::kept::Kept;
use super::routes::FIRST;
use crate::admin::answer::Answer;
use crate::admin::protocol::{ErrorKind, MappingFilter, MappingSource};
use crate::admin::rows::{MappingRow, Row, SourceRow};
use crate::clock::now_ms;
use crate::config::is_name;
use crate::disk::Files;
use crate::events::Reporter;
use crate::mappings::{Book, Checked, Hops, Intake, Limits, Mapping, Move, Saved, Shared, Tables};

/// Between two looks whether something is to be written.
const LOOK: Duration = Duration::from_secs(1);
/// Between two writes, but after the end of a sync.
const WRITE: Duration = Duration::from_secs(10);
/// How long a batch waits while a configuration is committed, before it asks again.
const PAUSED: Duration = Duration::from_millis(2);
/// Mappings of a page: less than a millisecond of the control thread's time.
const PAGE: usize = 512;

/// The control thread's end. It never looks into the book.
pub(super) struct Mappings {
    shared: Arc<Shared>,
    stop: Sender<()>,
}

impl Mappings {
    /// Reads what held when the last station ended, and starts the thread that keeps it on disk.
    ///
    /// # Errors
    /// The system's, where there is no thread left.
    pub fn start(state: &Path, report: Reporter) -> io::Result<(Mappings, JoinHandle<()>)> {
        let kept = Kept::new(state, "mappings.json");
        let book = Book::restored(Limits::default(), kept.read(&Files), now_ms());
        for row in book.rows() {
            info!(source = row.source, mappings = row.mappings, "mappings of before hold");
        }
        let shared = Shared::new(book, move |event| log_and_tell(&report, event));
        let (stop, stopped) = bounded(1);
        let keeping = shared.clone();
        let thread = thread::Builder::new()
            .name("mappings".to_owned())
            .spawn(move || keep(&keeping, &kept, &stopped))?;
        Ok((Mappings { shared, stop }, thread))
    }

    /// What all connections share.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Writes what holds, and ends the thread.
    pub fn stop(&self, thread: JoinHandle<()>) {
        // Where it has ended already, nobody is told.
        let _ = self.stop.try_send(());
        drop(thread.join());
    }
}

/// Keeps the file what the book says: a second after the end of a sync, and ten after other changes.
fn keep(shared: &Shared, kept: &Kept<Saved>, stopped: &Receiver<()>) {
    let ends =
        |book: &Book| -> u64 { book.rows().iter().filter_map(|row| row.end_of_sync_ms).sum() };
    let state = || {
        let book = shared.book();
        (book.changes(), ends(&book))
    };
    let (mut written, mut written_at) = (state(), Instant::now());
    let mut failed = false;
    loop {
        let stops = !matches!(stopped.recv_timeout(LOOK), Err(RecvTimeoutError::Timeout));
        let now = state();
        let due = written_at.elapsed() >= WRITE || now.1 != written.1;
        if now.0 != written.0 && (due || stops) {
            // Taken at one moment; the disk has all the time it needs.
            let saved = shared.book().saved();
            let done = kept.write(&Files, &saved);
            if let Err(error) = &done
                && !failed
            {
                error!(error, "mappings are not on disk: a restart would forward by older ones");
            }
            failed = done.is_err();
            written_at = Instant::now();
            written = if failed { (written.0, now.1) } else { now };
        }
        if stops {
            return;
        }
    }
}

/// The engine, by the control thread's desk.
struct Engine(Desk);

impl Tables for Engine {
    fn check(&mut self, vrfs: Vec<(Arc<str>, Vec<Hops>)>) -> Result<Vec<Checked>, String> {
        let check = move |control: &mut Control| {
            vrfs.iter().map(|(vrf, hops)| control.engine.check_hops(vrf, hops)).collect()
        };
        self.0.ask(check).ok_or_else(ends)
    }

    fn lead(&mut self, vrf: &Arc<str>, moves: &[Move]) -> Result<(), String> {
        let moves: Arc<[Move]> = moves.into();
        loop {
            let (vrf, moves) = (vrf.clone(), moves.clone());
            let led = self
                .0
                .ask(move |control| (!control.rests()).then(|| control.engine.map(&vrf, &moves)));
            match led.ok_or_else(ends)? {
                Some(led) => return led.map_err(|error| error.to_string()),
                None => thread::sleep(PAUSED),
            }
        }
    }
}

fn ends() -> String {
    "the station is stopping".to_owned()
}

/// `mappings`: a controller's stream.
pub(super) fn take_in(control: &Control, MappingSource { source }: &MappingSource) -> Answer {
    if !is_name(source) {
        let message = format!(
            "source: {source:?} is no name; write 1 to 31 of a-z, 0-9 and '-', a letter or digit first"
        );
        return Answer::refused(ErrorKind::Invalid, message);
    }
    let (shared, desk, source) =
        (control.mappings.shared.clone(), control.desk.clone(), source.clone());
    Answer::later(move || match Intake::open(&shared, Engine(desk), &source, now_ms) {
        Ok((mut intake, row)) => {
            Answer::Intake(row.into(), Box::new(move |marked| intake.take(marked)))
        }
        Err(message) => Answer::refused(ErrorKind::Busy, message),
    })
}

/// All sources, with what the engine says of their mappings.
pub(super) fn rows(shared: &Shared, desk: &Desk) -> Vec<SourceRow> {
    let book = shared.book();
    let rows = book.rows();
    let vrfs: Vec<Vec<Arc<str>>> = rows.iter().map(|row| book.names(&row.source)).collect();
    drop(book);
    let inactive = desk.ask(move |control| {
        let of = |vrf: &Arc<str>| control.engine.inactive_mappings(vrf) as u64;
        vrfs.iter().map(|vrfs| vrfs.iter().map(of).sum()).collect::<Vec<u64>>()
    });
    let inactive = inactive.unwrap_or_default().into_iter().chain(std::iter::repeat(0));
    rows.into_iter().zip(inactive).map(|(row, inactive)| SourceRow { inactive, ..row }).collect()
}

/// `show mappings`.
pub(super) fn show(control: &Control) -> Answer {
    let (shared, desk) = (control.mappings.shared.clone(), control.desk.clone());
    Answer::later(move || Answer::rows(rows(&shared, &desk)))
}

/// `show mappings --vrf`. Mappings that change meanwhile are shown as they are when their page is made.
pub(super) fn show_vrf(control: &Control, filter: &MappingFilter) -> Answer {
    let (shared, desk, filter) =
        (control.mappings.shared.clone(), control.desk.clone(), filter.clone());
    let is_known = control.engine.vrf(&filter.vrf).is_some();
    Answer::later(move || {
        if !is_known && shared.book().page(&filter.vrf, FIRST[0], false, 1).is_none() {
            return no("vrf", &filter.vrf);
        }
        let mut starts: VecDeque<(IpNet, bool)> = match filter.prefix {
            Some(prefix) => [(prefix.trunc(), false)].into(),
            None => FIRST.map(|first| (first, false)).into(),
        };
        let pages = std::iter::from_fn(move || {
            let (from, behind) = starts.pop_front()?;
            let within = |prefix: &IpNet| filter.prefix.is_none_or(|all| all.contains(prefix));
            let (source, mut page) = shared.book().page(&filter.vrf, from, behind, PAGE)?;
            let whole = page.len() == PAGE;
            page.retain(|(prefix, _)| within(prefix));
            if let (true, Some((last, _))) = (whole && page.len() == PAGE, page.last()) {
                starts.push_front((*last, true));
            }
            rows_of(&desk, &filter.vrf, &source, page)
        });
        Answer::Rows(Box::new(pages.flatten()))
    })
}

fn rows_of(desk: &Desk, vrf: &str, source: &str, page: Vec<Mapping>) -> Option<Vec<Row>> {
    let (name, prefixes): (String, Vec<IpNet>) =
        (vrf.to_owned(), page.iter().map(|(prefix, _)| *prefix).collect());
    let states = desk.ask(move |control| {
        let state = |prefix| control.engine.mapping_state(&name, prefix);
        prefixes.into_iter().map(state).collect::<Vec<_>>()
    })?;
    let row = |((prefix, hops), state): (Mapping, &str)| {
        Row::from(MappingRow {
            vrf: vrf.to_owned(),
            prefix,
            source: source.to_owned(),
            state: state.to_owned(),
            via: hops.iter().map(Into::into).collect(),
        })
    };
    Some(page.into_iter().zip(states).map(row).collect())
}
