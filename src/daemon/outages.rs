//! The ledger as the station keeps it, and what clients read of it: outages and availability.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use super::answer::no;
use super::change::stopping;
use super::control_thread::Control;
use crate::admin::answer::Answer;
use crate::admin::protocol::Period;
use crate::admin::rows::{OutageRow, SlaRow};
use crate::clock::now_ms;
use crate::events::{Event, Reporter};
use crate::ledger::{Cause, Keeper, Ledger, Outage};

/// Opens the ledger and starts its thread. Each of its entries is an event.
pub(super) fn open_ledger(
    state: &Path,
    report: Reporter,
) -> std::io::Result<(Keeper, JoinHandle<()>)> {
    let told = move |outage: &Outage| {
        let Outage { vif, cause, also, start_ms, end_ms, detection_ms, frames_lost } =
            outage.clone();
        report.tell(match (vif, end_ms) {
            (Some(vif), None) => Event::OutageBegin { vif, cause, start_ms, detection_ms },
            (vif, end_ms) => {
                let end_ms = end_ms.unwrap_or(start_ms);
                let duration_ms = end_ms.saturating_sub(start_ms);
                Event::OutageEnd {
                    vif,
                    cause,
                    also,
                    start_ms,
                    end_ms,
                    duration_ms,
                    detection_ms,
                    frames_lost,
                }
            }
        });
    };
    Keeper::start(Ledger::start(state, now_ms(), Box::new(told)))
}

/// `show outages`.
pub(super) fn outages(control: &Control, period: &Period) -> Answer {
    let (since, until) = match period.bounds(now_ms()) {
        Ok(bounds) => bounds,
        Err(refusal) => return Answer::Refused(refusal),
    };
    let (ledger, period) = (control.failover.ledger.clone(), period.clone());
    Answer::later(move || {
        let found = ledger.ask(move |ledger| ledger.outages(period.vif.as_deref(), since, until));
        let Some(outages) = found else { return Answer::Refused(stopping()) };
        let now = now_ms();
        let rows = outages.into_iter().map(move |outage| OutageRow {
            duration_ms: outage.end_ms.unwrap_or(now).saturating_sub(outage.start_ms),
            vif: outage.vif,
            cause: outage.cause,
            also: outage.also,
            start_ms: outage.start_ms,
            end_ms: outage.end_ms,
            detection_ms: outage.detection_ms,
            frames_lost: outage.frames_lost,
        });
        Answer::rows(rows)
    })
}

/// `show sla`.
pub(super) fn sla(control: &Control, period: &Period) -> Answer {
    if let Some(name) = period.vif.as_deref().filter(|name| control.engine.vif(name).is_none()) {
        return no("vif", name);
    }
    let (since, until) = match period.bounds(now_ms()) {
        Ok(bounds) => bounds,
        Err(refusal) => return Answer::Refused(refusal),
    };
    let wanted = control
        .vifs()
        .map(|(_, vif)| vif.name.clone())
        .filter(|name| period.vif.as_ref().is_none_or(|wanted| **wanted == **name));
    let wanted: Vec<_> = wanted.collect();
    let ledger = control.failover.ledger.clone();
    Answer::later(move || {
        let rows = ledger.ask(move |ledger| {
            let row = |name: &Arc<str>| sla_row(ledger, name, since, until);
            wanted.iter().map(row).collect::<Vec<_>>()
        });
        rows.map_or_else(|| Answer::Refused(stopping()), Answer::rows)
    })
}

fn sla_row(ledger: &Ledger, name: &str, since: u64, until: u64) -> SlaRow {
    let availability = ledger.availability(name, since, until);
    SlaRow {
        vif: name.to_owned(),
        state: match ledger.out(name) {
            None => "up",
            Some(Cause::Drain) => "drained",
            Some(Cause::Drill) => "drill",
            Some(_) => "out",
        }
        .to_owned(),
        since_ms: availability.since_ms,
        until_ms: availability.until_ms,
        availability: availability.ratio(),
        outages: availability.outages as u64,
        down_ms: availability.down_ms,
        longest_ms: availability.longest_ms,
        planned_ms: availability.planned_ms,
        frames_lost: availability.frames_lost,
        by_cause: availability.by_cause,
    }
}
