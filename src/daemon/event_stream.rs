//! `events`: what clients see of the stream of events.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::answer::no;
use super::control_thread::Control;
use crate::admin::answer::{Answer, Piece};
use crate::admin::protocol::{ErrorKind, EventFilter, Period, Since};
use crate::admin::rows::{EventsInfo, Row};
use crate::clock::now_ms;
use crate::events::{Batch, Event, Kind, Reader, Record, Ring, Standing};

/// Events of one line of the answer.
const ROWS: usize = 256;
/// How long the client's end is not looked at.
const PIECE: Duration = Duration::from_millis(100);

/// Which events a client wants.
struct Wanted {
    vif: Option<String>,
    port: Option<String>,
    /// The VIFs of the port.
    on_port: HashSet<Arc<str>>,
    kinds: Vec<String>,
    until_ms: Option<u64>,
}

impl Wanted {
    fn takes(&self, Record { time_ms, event, .. }: &Record) -> bool {
        let of_all = event.is_of_all_vifs();
        let vif = |wanted: &String| of_all || event.vif() == Some(wanted);
        let port = |wanted: &String| {
            let on_port = event.vif().is_some_and(|vif| self.on_port.contains(vif));
            of_all || on_port || event.port() == Some(wanted)
        };
        let kind = |name: &str| self.kinds.is_empty() || self.kinds.iter().any(|kind| kind == name);
        // Whatever is missing may have been wanted.
        let missing = matches!(event, Event::Lost { .. });
        self.until_ms.is_none_or(|until| *time_ms < until)
            && self.vif.as_ref().is_none_or(vif)
            && self.port.as_ref().is_none_or(port)
            && (missing || kind(event.kind().name()))
    }

    /// The rows of some events, and one for those that are missing.
    fn rows(&self, batch: &Batch) -> Vec<Row> {
        let wanted = batch.records.iter().filter(|record| self.takes(record));
        batch
            .missing()
            .into_iter()
            .chain(wanted.map(|record| (**record).clone()))
            .map(Row::Event)
            .collect()
    }
}

/// Answers with the events that are kept; `follow`: and goes on with those to come.
pub(super) fn show(control: &Control, filter: &EventFilter) -> Answer {
    let ring = control.stream.ring();
    // One that is gone may have left events.
    let gone = filter.vif.clone().filter(|vif| control.engine.vif(vif).is_none());
    let port = filter.port.as_ref().map(|name| (name, control.engine.port(name)));
    let on_port = match port {
        None => HashSet::new(),
        Some((name, None)) => return no("port", name),
        Some((_, Some(id))) => {
            let vifs = control.vifs().filter(|(_, vif)| vif.port == id);
            vifs.map(|(_, vif)| vif.name.clone()).collect()
        }
    };
    if let Some(kind) =
        filter.kinds.iter().find(|name| Kind::ALL.iter().all(|k| k.name() != **name))
    {
        let message = format!("there is no kind \"{kind}\": station-events(7) has them");
        return Answer::refused(ErrorKind::NotFound, message);
    }
    let from = match filter.since {
        Some(Since::TimeMs(since_ms)) => since_ms,
        _ => 0,
    };
    let period = Period { vif: None, since_ms: from, until_ms: filter.until_ms };
    if let Err(refusal) = period.bounds(now_ms()) {
        return Answer::Refused(refusal);
    }
    let EventFilter { since, until_ms, follow, vif, port, kinds } = filter.clone();
    let wanted = Wanted { vif, port, on_port, kinds, until_ms };
    Answer::later(move || {
        if let Some(vif) = gone.filter(|vif| !ring.names(vif)) {
            return no("vif", &vif);
        }
        match reader(&ring, since) {
            Err(message) => Answer::refused(ErrorKind::Conflict, message),
            Ok(reader) if follow => follow_on(reader, wanted),
            Ok(mut reader) => {
                let end = ring.newest();
                let batches = std::iter::from_fn(move || {
                    (reader.seen() < end).then(|| wanted.rows(&reader.next(ROWS, Duration::ZERO)))
                });
                Answer::Rows(Box::new(batches.flatten()))
            }
        }
    })
}

/// A place in the stream.
fn reader(ring: &Arc<Ring>, since: Option<Since>) -> Result<Reader, String> {
    let newest = ring.newest();
    let seen = match since {
        None => newest,
        // All that are kept: what is older is not missed.
        Some(Since::Seq(0)) => ring.before(0),
        Some(Since::Seq(seq)) if seq > newest => {
            return Err(format!(
                "the newest event is {newest}: {seq} is of another stream, or of one that was lost; --since 0 \
                 begins with the oldest that is kept"
            ));
        }
        Some(Since::Seq(seq)) => seq,
        Some(Since::TimeMs(time_ms)) => ring.before(time_ms),
    };
    Ok(Reader::after(ring.clone(), seen))
}

fn follow_on(mut reader: Reader, wanted: Wanted) -> Answer {
    Answer::Stream(Box::new(move |stop| {
        let rows = wanted.rows(&reader.next(ROWS, PIECE));
        Piece { rows, last: stop || reader.is_done() }
    }))
}

/// How the stream stands.
pub(super) fn standing(control: &Control) -> EventsInfo {
    let Standing { newest, lost, journal_lost, hook_runs, hook_failed, hook_lost } =
        control.stream.standing();
    EventsInfo { newest, lost, journal_lost, hook_runs, hook_failed, hook_lost }
}
