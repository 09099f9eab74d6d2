//! What the control thread does about learned routes, lost peers and links, and how it accounts for
//! what customers noticed of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crossbeam::channel::{Receiver, Sender};
use tracing::warn;

use super::answer::no;
use super::control_thread::Control;
use crate::bird::PeerEvent;
use crate::control::answer::Answer;
use crate::control::kernel::{ROUTE_PROTOCOL, alternates_table, best_table, tap_name};
use crate::control::protocol::Period;
use crate::control::rows::{ConsistencyRow, OutageRow, SlaRow};
use crate::ledger::{Cause, Faults, Ledger};
use crate::mirror::{self, Mirror, Options, Plan, Table, Tap, Timing, Update};
use crate::slowpath::NeighborEvent;
use crate::tables::{DropReason, PuntReason, Vif, VifId, VrfId};

/// Peer events taken into one publication.
const EVENTS: usize = 1024;
/// Updates of the mirror that wait: beyond that the kernel keeps the routes, and then drops them.
pub(super) const UPDATES: usize = 64;

/// A neighbor, by name of its VIF: names outlive configurations, ids do not.
type Peer = (Arc<str>, IpAddr);

/// What is known of faults, and who is told.
pub(super) struct Failover {
    mirror: Mirror,
    pub ledger: Ledger,
    /// Peers that BFD or BGP lost.
    peers: BTreeMap<Peer, Cause>,
    /// Next hops that answered once, and no longer do.
    neighbors: BTreeSet<Peer>,
}

impl Failover {
    /// Starts to mirror. A ledger that cannot be kept on disk is kept in memory: that is no reason
    /// not to forward.
    pub fn start(state: &Path, updates: Sender<Update>) -> std::io::Result<Failover> {
        let options = Options::for_protocol(ROUTE_PROTOCOL);
        let ledger = Ledger::open(state, now_ms()).unwrap_or_else(|error| {
            warn!(directory = %state.display(), %error, "outages are kept in memory only");
            Ledger::in_memory()
        });
        Ok(Failover {
            mirror: mirror::spawn(options, Timing::default(), updates)?,
            ledger,
            peers: BTreeMap::new(),
            neighbors: BTreeSet::new(),
        })
    }
}

pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Control {
    /// Takes in what the mirror tells.
    pub(super) fn learned(&mut self, update: Option<Update>) {
        let generation = self.engine.tables().generation;
        match update {
            Some(Update::Changes(changes)) => self.engine.learned(changes),
            Some(Update::Range(range)) => self.engine.learned_range(&range),
            None => return,
        }
        if self.engine.tables().generation != generation {
            // There may be next hops to resolve.
            self.datapath.slow.look();
        }
    }

    /// Takes in that peers were lost, or are back.
    pub(super) fn peers(&mut self, first: Option<PeerEvent>, more: &Receiver<PeerEvent>) {
        let events: Vec<_> = first.into_iter().chain(more.try_iter().take(EVENTS)).collect();
        self.engine.peer_states(events.iter().map(|e| (&*e.vif, e.address, e.up)));
        for event in events {
            let peer = (event.vif, event.address);
            if event.up {
                self.failover.peers.remove(&peer);
            } else {
                let bfd = event.cause.starts_with("BFD");
                self.failover.peers.insert(peer, if bfd { Cause::Bfd } else { Cause::Bgp });
            }
        }
        self.account();
    }

    /// Takes note of next hops that no longer answer, or do again.
    pub(super) fn account_neighbors(&mut self, events: &[NeighborEvent]) {
        let mut changed = false;
        for event in events {
            let (id, address, lost) = match *event {
                NeighborEvent::Lost { vif, address } => (vif, address, true),
                NeighborEvent::Resolved { vif, address, .. } => (vif, address, false),
            };
            let Some(vif) = self.engine.tables().vif(id) else { continue };
            let neighbor = (vif.name.clone(), address);
            changed |= match lost && self.engine.is_next_hop(id, address) {
                true => self.failover.neighbors.insert(neighbor),
                false => self.failover.neighbors.remove(&neighbor),
            };
        }
        if changed {
            self.account();
        }
    }

    /// After a commit: mirrors what is configured now, and forgets peers and VIFs that are gone.
    pub(super) fn follow_configuration(&mut self) {
        self.failover.mirror.follow(self.plan());
        let config = self.config();
        let has = |(name, address): &Peer| {
            let vif = config.vifs.iter().find(|vif| vif.name == *name);
            vif.is_some_and(|vif| {
                vif.bfd.is_some() || vif.bgp.iter().any(|session| session.peer == *address)
            })
        };
        let gone: Vec<Peer> =
            self.failover.peers.keys().filter(|peer| !has(peer)).cloned().collect();
        self.engine.peer_states(gone.iter().map(|(vif, address)| (&**vif, *address, true)));
        self.failover.peers.retain(|peer, _| !gone.contains(peer));
        let names: BTreeSet<Arc<str>> = self.vifs().map(|(_, vif)| vif.name.clone()).collect();
        self.failover.ledger.retain(|name| names.contains(name), now_ms());
        self.account();
    }

    fn plan(&self) -> Plan {
        let tables = self.vrfs().flat_map(|(id, _)| {
            [(best_table(id), (id, Table::Best)), (alternates_table(id), (id, Table::Alternates))]
        });
        let taps = self.vifs().map(|(_, vif)| {
            let (name, addresses) = (vif.name.clone(), vif.addresses.clone());
            (tap_name(vif.port, vif.tags), Tap { vrf: vif.vrf, vif: name, addresses })
        });
        Plan { tables: tables.collect(), taps: taps.collect() }
    }

    /// Brings the ledger to what stands now.
    pub(super) fn account(&mut self) {
        let engine = &self.engine;
        let is_next_hop = |(name, address): &Peer| {
            engine.vif(name).is_some_and(|id| engine.is_next_hop(id, *address))
        };
        self.failover.neighbors.retain(is_next_hop);
        let misfits: BTreeSet<Arc<str>> =
            self.engine.misfits().into_iter().map(|(name, ..)| name).collect();
        let mut lost: HashMap<VrfId, u64> = HashMap::new();
        let mut ledger = std::mem::take(&mut self.failover.ledger);
        let now = now_ms();
        for (_, vif) in self.vifs() {
            let faults = self.faults(vif, misfits.contains(&vif.name));
            ledger.update(&vif.name, &faults, now, || {
                *lost.entry(vif.vrf).or_insert_with(|| self.frames_lost(vif.vrf))
            });
        }
        self.failover.ledger = ledger;
    }

    fn faults(&self, vif: &Vif, misfit: bool) -> Faults {
        let mut faults = Faults::new();
        if !vif.up {
            faults.insert(Cause::Admin, None);
        }
        if misfit || !self.engine.tables().ports.get(vif.port.index()).is_some_and(|port| port.up) {
            faults.insert(Cause::Link, None);
        }
        let first = (vif.name.clone(), IpAddr::from([0; 4]));
        let last = (vif.name.clone(), IpAddr::from([0xff; 16]));
        for cause in
            self.failover.peers.range(first.clone()..=last.clone()).map(|(_, cause)| *cause)
        {
            let detection = (cause == Cause::Bfd).then(|| self.bfd_detection_ms(&vif.name));
            faults.insert(cause, detection.flatten());
        }
        if self.failover.neighbors.range(first..=last).next().is_some() {
            faults.insert(Cause::Neighbor, None);
        }
        faults
    }

    /// How long BFD waits before it says that a peer is not reached.
    fn bfd_detection_ms(&self, name: &str) -> Option<u64> {
        let bfd = self.config().vifs.iter().find(|vif| *vif.name == *name)?.bfd?;
        Some(u64::from(bfd.interval_ms) * u64::from(bfd.multiplier))
    }

    /// The loss counter of a VRF: see `OutageRow::frames_lost`.
    fn frames_lost(&self, vrf: VrfId) -> u64 {
        let of = |id: VifId| {
            let totals = self.counters.vif(id);
            let punted = [PuntReason::NextHopUnresolved, PuntReason::NoRoute];
            let punted: u64 = punted.iter().map(|reason| totals.punted[reason.index()]).sum();
            totals.drops[DropReason::EgressDown.index()] + punted
        };
        self.vifs().filter(|(_, vif)| vif.vrf == vrf).map(|(id, _)| of(id)).sum()
    }
}

/// `show consistency`.
pub(super) fn consistency(control: &Control) -> Answer {
    let status = control.failover.mirror.status();
    let mut rows = Vec::new();
    for (id, vrf) in control.vrfs() {
        for (v6, family) in [(false, "ipv4"), (true, "ipv6")] {
            let learning = control.engine.learning(id, v6);
            let mirrored = status.families.get(&(id, v6)).cloned().unwrap_or_default();
            let last_error = learning.last_error.or(mirrored.last_error).unwrap_or_default();
            rows.push(ConsistencyRow {
                vrf: vrf.name.to_string(),
                family: family.to_owned(),
                kernel_routes: mirrored.kernel_routes as u64,
                learned_routes: learning.routes as u64,
                dumped_s: mirrored.dumped.map(|at| at.elapsed().as_secs()),
                audits: mirrored.audits,
                mismatches: learning.mismatches,
                repaired: learning.repaired,
                resyncs: mirrored.resyncs,
                resynced: learning.resynced,
                overflows: status.overflows,
                refused: learning.refused + mirrored.refused,
                no_room: learning.no_room,
                last_error,
                ok: mirrored.dumped.is_some() && learning.mismatches == learning.repaired,
            });
        }
    }
    Answer::rows(rows)
}

/// The moment that a period begins.
fn since(period: &Period) -> u64 {
    now_ms().saturating_sub(period.since_s.saturating_mul(1000))
}

/// `show outages`.
pub(super) fn outages(control: &Control, period: &Period) -> Answer {
    let now = now_ms();
    let outages = control.failover.ledger.outages(period.vif.as_deref(), since(period));
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
    Answer::rows(rows.collect::<Vec<_>>())
}

/// `show sla`.
pub(super) fn sla(control: &Control, period: &Period) -> Answer {
    if let Some(name) = period.vif.as_deref().filter(|name| control.engine.vif(name).is_none()) {
        return no("vif", name);
    }
    let ledger = &control.failover.ledger;
    let wanted = control
        .vifs()
        .filter(|(_, vif)| period.vif.as_ref().is_none_or(|name| **name == *vif.name));
    let rows = wanted.map(|(_, vif)| {
        let availability = ledger.availability(&vif.name, since(period), now_ms());
        SlaRow {
            vif: vif.name.to_string(),
            state: if ledger.is_out(&vif.name) { "out" } else { "up" }.to_owned(),
            since_ms: availability.since_ms,
            until_ms: availability.until_ms,
            availability: availability.ratio(),
            outages: availability.outages as u64,
            down_ms: availability.down_ms,
            longest_ms: availability.longest_ms,
            planned_ms: availability.planned_ms,
            frames_lost: availability.frames_lost,
        }
    });
    Answer::rows(rows.collect::<Vec<_>>())
}
