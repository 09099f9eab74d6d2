//! The page of metrics: what the control thread hands out at once, and what the thread of the page finds out beside it.

use std::collections::HashMap;
use std::sync::Arc;

use crossbeam::channel::Receiver;

use super::bandwidth;
use super::bgp::Remarks;
use super::control_thread::Control;
use super::desk::Desk;
use super::flow_log::Standing;
use super::latency;
use super::port_details::{self, DetailBook};
use super::probes::Probes;
use super::rates::RateBook;
use super::rpki::{self, Trouble};
use super::view::{self, View};
use super::{acls, address_limits, answer, drain, failover, mappings, qos, tunnels};
use crate::admin::rows::{
    ConsistencyRow, DrainRow, MirrorRow, PortDetailRow, PortRow, VersionInfo, VifRow, WorkerRow,
};
use crate::bird::{self, Questions};
use crate::clock::{now_ms, seconds_of};
use crate::config::MetricsAddress;
use crate::config::model::Config;
use crate::mappings::Shared;
use crate::metrics::{self, Facts, Pages};
use crate::observe::VifTotals;
use crate::tables::{DropReason, PuntReason, SlowOutcome, TapEvent};

/// Starts to serve metrics where `address` said last, if anywhere.
///
/// # Errors
/// The system's, where there is no thread left.
pub(super) fn spawn(
    address: Receiver<Option<MetricsAddress>>,
    desk: Desk,
    details: DetailBook,
    book: Arc<Shared>,
) -> std::io::Result<()> {
    let mut mirrored = Mirrored::default();
    let started_s = seconds_of(now_ms());
    let make = move || {
        let known = desk.ask(Known::of)?;
        let sources = mappings::rows(&book, &desk);
        let facts = known.facts(started_s, &details, &mut mirrored);
        Some(metrics::page(Facts { mappings: sources, ..facts }))
    };
    metrics::serve(address, Pages::new(make))
}

/// What the control thread hands out.
struct Known {
    view: View,
    version: VersionInfo,
    ports: Vec<PortRow>,
    details: Vec<PortDetailRow>,
    workers: Vec<WorkerRow>,
    drain_rows: Vec<DrainRow>,
    route_counts: Vec<(usize, usize)>,
    drains: HashMap<Arc<str>, &'static str>,
    drills: Vec<(String, f64)>,
    consistency: Box<dyn Iterator<Item = ConsistencyRow> + Send>,
    config: Arc<Config>,
    questions: Questions,
    remarks: Remarks,
    rpki: Trouble,
    flow_log: Arc<Standing>,
    probes: Probes,
    mirrors: Vec<MirrorRow>,
    latency: latency::Standing,
    fib: [u64; 2],
    billed_ms: u64,
    unbilled: [u64; 2],
}

impl Known {
    fn of(control: &mut Control) -> Known {
        let (fib, billing) = (control.engine.fib_stats(), control.billing.standing());
        Known {
            view: View::of(control),
            version: answer::version_info(control),
            ports: answer::port_rows(control),
            details: port_details::known(control),
            workers: answer::worker_rows(control),
            drain_rows: drain::rows(control),
            route_counts: view::route_counts(control),
            consistency: Box::new(failover::consistency_rows(control)),
            drains: control.drains.states(control.config()),
            drills: control
                .drills
                .running()
                .map(|d| (d.vif.clone(), seconds_of(d.until_ms)))
                .collect(),
            config: control.config().clone(),
            questions: control.bird.questions(),
            remarks: Remarks::of(control),
            rpki: control.rpki.clone(),
            flow_log: control.flow_log.standing().clone(),
            probes: control.probes.clone(),
            mirrors: control.mirrors.rows(control.config()),
            latency: control.latency.standing(),
            fib: [fib.max_bytes.saturating_sub(fib.free_bytes), fib.max_bytes],
            billed_ms: billing.written_ms(),
            unbilled: [billing.waiting(), billing.failures()],
        }
    }

    fn facts(self, started_s: f64, details: &DetailBook, mirrored: &mut Mirrored) -> Facts {
        let consistency: Vec<ConsistencyRow> = self.consistency.collect();
        let inconsistent = consistency.iter().filter(|row| row.dumped_s.is_some() && !row.ok);
        let sessions = bird::sessions(&self.config);
        let sessions = match sessions.is_empty() {
            true => Some(Vec::new()),
            false => self.questions.summary(&sessions).ok().map(|rows| self.remarks.added_to(rows)),
        };
        let labels = view::labels_of(&self.config);
        let ever = self.view.counters.ever();
        let (punted, outcomes, taps) = by_reason(&ever);
        Facts {
            version: self.version,
            started_s,
            ports: self.ports,
            details: details.rows(self.details),
            bandwidths: bandwidth::rows(&self.view, &self.config, &RateBook::default()),
            address_limits: address_limits::rows(&self.view.tables),
            qos: qos::rows(&self.view, &self.config),
            vrfs: view::vrf_rows(&self.view.tables, self.route_counts, &self.config),
            acls: acls::rows(&self.view.tables),
            tunnels: tunnels::rows(&self.view, &labels, &Default::default(), &Default::default()),
            flow_log: self.flow_log.logs(&self.view.tables),
            collectors: self.flow_log.collectors(),
            probes: self.probes.rows(),
            mirrors: self.mirrors,
            latency: self.latency.rows(&self.view),
            mappings: Vec::new(),
            rpki: rpki::rows(&self.questions, &self.config, &self.rpki).unwrap_or_default(),
            drains: self.drain_rows,
            workers: self.workers,
            sessions,
            punted,
            outcomes,
            taps,
            fib: self.fib,
            mirror: mirrored.add(&consistency),
            drills: self.drills,
            inconsistent: inconsistent.count() as u64,
            billed_s: seconds_of(self.billed_ms),
            unbilled: self.unbilled,
            vifs: self
                .view
                .rows(move |view, id, vif| {
                    let totals = view.counters.vif(id);
                    let drops = DropReason::ALL.iter();
                    let drops = drops.map(|reason| (reason.name(), totals.drops[reason.index()]));
                    let row = view::vif_row(view, vif, &totals, &labels);
                    let drain = self.drains.get(&vif.name).copied().unwrap_or_default().to_owned();
                    (VifRow { drain, ..row }, answer::named(drops))
                })
                .collect(),
        }
    }
}

/// Numbers by name.
type ByName = Vec<(&'static str, u64)>;

fn by_reason(ever: &VifTotals) -> (ByName, ByName, ByName) {
    let punted = PuntReason::ALL.iter().map(|r| (r.name(), ever.punted[r.index()]));
    let outcomes = SlowOutcome::ALL.iter().map(|r| (r.name(), ever.slow[r.index()]));
    let taps = TapEvent::ALL.iter().map(|r| (r.name(), ever.tap[r.index()]));
    (punted.collect(), outcomes.collect(), taps.collect())
}

/// What the mirror counted for VRFs, those that are gone among them: sums that never go back.
#[derive(Default)]
struct Mirrored {
    /// By VRF and family: mismatches and repairs at the last look.
    last: HashMap<(String, String), [u64; 2]>,
    sums: [u64; 2],
}

impl Mirrored {
    /// Adds what has come; mismatches, repairs, and lost notifications.
    fn add(&mut self, rows: &[ConsistencyRow]) -> [u64; 3] {
        let mut now = HashMap::with_capacity(rows.len());
        for row in rows {
            let key = (row.vrf.clone(), row.family.clone());
            let counted = [row.mismatches, row.repaired];
            let before = self.last.get(&key).copied().unwrap_or_default();
            for ((sum, now), before) in self.sums.iter_mut().zip(counted).zip(before) {
                // A VRF that is there again counts from zero.
                *sum += now.checked_sub(before).unwrap_or(now);
            }
            now.insert(key, counted);
        }
        self.last = now;
        let overflows = rows.iter().map(|row| row.overflows).max().unwrap_or(0);
        [self.sums[0], self.sums[1], overflows]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_do_not_go_back_with_a_vrf_that_goes() {
        let row = |vrf: &str, mismatches, repaired| ConsistencyRow {
            vrf: vrf.into(),
            family: "ipv4".into(),
            kernel_routes: 0,
            learned_routes: 0,
            dumped_s: None,
            audits: 0,
            mismatches,
            repaired,
            resyncs: 0,
            resynced: 0,
            overflows: 4,
            refused: 0,
            no_room: 0,
            last_error: String::new(),
            ok: true,
        };
        let mut mirrored = Mirrored::default();
        assert_eq!(mirrored.add(&[row("a", 5, 4), row("b", 7, 7)]), [12, 11, 4]);
        assert_eq!(mirrored.add(&[row("a", 6, 6)]), [13, 13, 4]);
        assert_eq!(mirrored.add(&[row("a", 6, 6), row("b", 1, 0)]), [14, 13, 4]);
        assert_eq!(mirrored.add(&[row("a", 2, 1), row("b", 1, 1)]), [16, 15, 4], "a VRF anew");
    }
}
