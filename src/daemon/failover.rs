//! What the control thread does about learned routes, lost peers and links, and how it accounts for
//! what customers noticed of them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::control_thread::{Control, Work};
use crate::admin::answer::Answer;
use crate::admin::rows::ConsistencyRow;
use crate::bird::PeerEvent;
use crate::clock::now_ms;
use crate::config::model::{Config, VifConfig};
use crate::control::Learning;
use crate::control::kernel::{ROUTE_PROTOCOL, alternates_table, best_table, tap_name};
use crate::events::Event;
use crate::ledger::{Cause, Entry, Faults, Keeper};
use crate::mirror::{self, Mirror, Options, Plan, Table, Tap, Timing, Update};
use crate::observe::VifTotals;
use crate::slowpath::NeighborEvent;
use crate::tables::{DropReason, PortId, PuntReason, Vif, Vrf, VrfId};
use crossbeam::channel::{Receiver, Sender};

/// How long after a drill its sessions may take to come back: until then it is not over for the ledger. Milliseconds.
const COMES_BACK_MS: u64 = 60_000;
/// Peer events taken into one publication.
const EVENTS: usize = 1024;
/// VIFs whose faults are looked at in one piece of work: less than a millisecond's.
const ACCOUNTED: usize = 512;
/// Updates of the mirror that wait: beyond that the kernel keeps the routes, and then drops them.
pub(super) const UPDATES: usize = 64;

/// A neighbor, by name of its VIF: names outlive configurations, ids do not.
type Peer = (Arc<str>, IpAddr);

/// Losses that the ledger is to be told of.
#[derive(Default)]
struct Latched {
    ports: BTreeSet<PortId>,
    peers: BTreeMap<Peer, Cause>,
}

/// What is known of faults, and who is told.
pub(super) struct Failover {
    mirror: Mirror,
    pub ledger: Keeper,
    /// What the ledger was told of each VIF.
    told: HashMap<Arc<str>, Faults>,
    /// From which VIF on, and of how many, the ledger is to be told.
    accounting: (usize, usize),
    /// Ports and peers that were lost and that the ledger was not told of yet, back or not: what lasts
    /// shorter than the ledger takes to be told is an outage too.
    latched: Latched,
    /// How long BFD or a probe waits before it says that a peer is not reached, by VIF: milliseconds.
    detection: HashMap<(Arc<str>, Cause), u64>,
    /// Peers that BFD or BGP lost.
    peers: BTreeMap<Peer, Cause>,
    /// Next hops that answered once, and no longer do.
    neighbors: BTreeSet<Peer>,
}

impl Failover {
    /// Starts to mirror.
    pub fn start(ledger: Keeper, updates: Sender<Update>) -> std::io::Result<Failover> {
        let options = Options::for_protocol(ROUTE_PROTOCOL);
        Ok(Failover {
            mirror: mirror::spawn(options, Timing::default(), updates)?,
            ledger,
            told: HashMap::new(),
            accounting: (0, 0),
            latched: Latched::default(),
            detection: HashMap::new(),
            peers: BTreeMap::new(),
            neighbors: BTreeSet::new(),
        })
    }
}

impl Control {
    /// Takes in what the mirror tells.
    pub(super) fn learned(&mut self, update: Update) {
        let generation = self.engine.tables().generation;
        match update {
            Update::Changes(changes) => self.engine.learned(changes),
            Update::Range(range) => {
                let (mismatches, repaired) = self.engine.learned_range(&range);
                if mismatches > 0 {
                    let family = if range.from.addr().is_ipv6() { "ipv6" } else { "ipv4" };
                    let (vrf, family) = (self.vrf_name(range.vrf), family.to_owned());
                    self.report.tell(Event::RouteRepair { vrf, family, mismatches, repaired });
                }
            }
        }
        if self.engine.tables().generation != generation {
            // There may be next hops to resolve.
            self.datapath.slow.look();
        }
    }

    /// Takes in that peers were lost, or are back.
    pub(super) fn peers(&mut self, first: PeerEvent, more: &Receiver<PeerEvent>) {
        let mut events: Vec<_> =
            std::iter::once(first).chain(more.try_iter().take(EVENTS)).collect();
        // One of a probe from before a commit may be of a neighbor that none decides about any more.
        let config = &self.config;
        events.retain(|event| {
            cause_of(event) != Cause::Probe || decides(config, &event.vif, event.address)
        });
        self.engine.peer_states(events.iter().map(|e| (&*e.vif, e.address, e.up)));
        for event in events {
            let cause = cause_of(&event);
            let peer = (event.vif, event.address);
            if event.up {
                if let Some(key) = self.engine.tables().keys.get(&peer.0, peer.1) {
                    key.clear();
                }
                self.failover.peers.remove(&peer);
            } else {
                self.failover.latched.peers.insert(peer.clone(), cause);
                self.failover.peers.insert(peer, cause);
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
        let config = self.config().clone();
        let watched = watched(&config);
        let gone: HashSet<Peer> =
            self.failover.peers.keys().filter(|peer| !watched(peer)).cloned().collect();
        self.engine.peer_states(gone.iter().map(|(vif, address)| (&**vif, *address, true)));
        self.failover.peers.retain(|peer, _| !gone.contains(peer));
        let bfd = config.vifs.iter().filter_map(|vif| {
            let bfd = vif.bfd?;
            let ms = u64::from(bfd.interval_ms) * u64::from(bfd.multiplier);
            Some(((vif.name.clone(), Cause::Bfd), ms))
        });
        self.failover.detection = bfd.collect();
        for probe in config.probes.iter().filter(|probe| probe.next_hop.is_some()) {
            let of_vif = self.failover.detection.entry((probe.vif.clone(), Cause::Probe));
            let longest = of_vif.or_default();
            *longest = probe.detection_ms().max(*longest);
        }
        let names: HashSet<Arc<str>> = self.vifs().map(|(_, vif)| vif.name.clone()).collect();
        self.failover.told.retain(|name, _| names.contains(name));
        self.failover.ledger.retain(names, now_ms());
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

    /// A port has lost its link.
    pub(super) fn port_lost(&mut self, id: PortId) {
        self.failover.latched.ports.insert(id);
    }

    /// Something may have become an outage, or ended one: all VIFs are looked at, soon.
    pub(super) fn account(&mut self) {
        let all = self.engine.tables().vifs.len();
        self.failover.accounting.1 = all;
        self.work.insert(Work::Account);
    }

    /// Tells the ledger what stands now of some VIFs; true where that was the rest of them.
    pub(super) fn account_some(&mut self) -> bool {
        let engine = &self.engine;
        let is_next_hop = |(name, address): &Peer| {
            engine.vif(name).is_some_and(|id| engine.is_next_hop(id, *address))
        };
        self.failover.neighbors.retain(is_next_hop);
        let misfits: BTreeSet<Arc<str>> =
            self.engine.misfits().into_iter().map(|(name, ..)| name).collect();
        let vifs = self.engine.tables().vifs.clone();
        let (from, left) = self.failover.accounting;
        let count = left.min(ACCOUNTED);
        let some = vifs.iter().cycle().skip(from).take(count).flatten();
        let mut entries = Vec::new();
        let mut vrfs = HashSet::new();
        for vif in some {
            let faults = self.faults(vif, misfits.contains(&vif.name));
            let told = self.failover.told.get(&vif.name);
            if told == Some(&faults) {
                continue;
            }
            self.tell_vif(vif, told, &faults);
            // An outage begins or ends.
            if told.is_some_and(|told| told.is_empty() != faults.is_empty()) || !faults.is_empty() {
                vrfs.insert(vif.vrf);
            }
            self.failover.told.insert(vif.name.clone(), faults.clone());
            entries.push((vif.vrf, Entry { vif: vif.name.clone(), faults, counted: 0 }));
        }
        if !entries.is_empty() {
            let lost = self.frames_lost(&vrfs);
            let counted = |(vrf, entry): (VrfId, Entry)| Entry {
                counted: lost.get(&vrf).copied().unwrap_or(0),
                ..entry
            };
            self.failover.ledger.update(entries.into_iter().map(counted).collect(), now_ms());
        }
        let at = (from + count).checked_rem(vifs.len()).unwrap_or(0);
        self.failover.accounting = (at, left - count);
        if left > count {
            return false;
        }
        let Latched { ports, peers } = std::mem::take(&mut self.failover.latched);
        let is_back = ports.iter().any(|&id| self.is_port_up(id))
            || peers.keys().any(|peer| !self.failover.peers.contains_key(peer));
        // Then the outage has ended meanwhile, and the ledger is to be told that too.
        self.failover.accounting.1 = if is_back { vifs.len() } else { 0 };
        !is_back
    }

    pub(super) fn is_port_up(&self, id: PortId) -> bool {
        self.engine.tables().ports.get(id.index()).is_some_and(|port| port.up)
    }

    fn faults(&self, vif: &Vif, misfit: bool) -> Faults {
        let mut faults = Faults::new();
        if !vif.up {
            faults.insert(Cause::Admin, None);
        }
        if self.engine.vif(&vif.name).is_some_and(|id| self.engine.is_drained(id)) {
            faults.insert(Cause::Drain, None);
        }
        if self.is_drilled(&vif.name) {
            faults.insert(Cause::Drill, None);
        }
        let latched = &self.failover.latched;
        if misfit || !self.is_port_up(vif.port) || latched.ports.contains(&vif.port) {
            faults.insert(Cause::Link, None);
        }
        let first = (vif.name.clone(), IpAddr::from([0; 4]));
        let last = (vif.name.clone(), IpAddr::from([0xff; 16]));
        let lost = |peers: &BTreeMap<Peer, Cause>| -> Vec<Cause> {
            peers.range(first.clone()..=last.clone()).map(|(_, cause)| *cause).collect()
        };
        for cause in lost(&self.failover.peers).into_iter().chain(lost(&latched.peers)) {
            let detection = self.failover.detection.get(&(vif.name.clone(), cause));
            faults.insert(cause, detection.copied());
        }
        if self.failover.neighbors.range(first..=last).next().is_some() {
            faults.insert(Cause::Neighbor, None);
        }
        faults
    }

    /// The loss counters of VRFs: see `OutageRow::frames_lost`.
    fn frames_lost(&self, vrfs: &HashSet<VrfId>) -> HashMap<VrfId, u64> {
        let mut sums = HashMap::new();
        for (id, vif) in self.vifs().filter(|(_, vif)| vrfs.contains(&vif.vrf)) {
            *sums.entry(vif.vrf).or_default() += lost(&self.counters.vif(id));
        }
        sums
    }

    /// Whether a drill has sessions of a VIF down, or had, and they are about to come back.
    fn is_drilled(&self, vif: &Arc<str>) -> bool {
        let now = now_ms();
        let is_lost = |peer| self.failover.peers.contains_key(&(vif.clone(), peer));
        self.drills.list.iter().any(|drill| match drill.end_ms {
            None => drill.vif == **vif,
            Some(end_ms) => {
                now < end_ms.saturating_add(COMES_BACK_MS)
                    && drill.vif == **vif
                    && drill.peers.iter().copied().any(is_lost)
            }
        })
    }

    /// Once a second: a session that did not come back after a drill is an outage from now on.
    pub(super) fn account_drills(&mut self) {
        let late_ms = now_ms().saturating_sub(COMES_BACK_MS);
        let ended = self.drills.list.iter().filter_map(|drill| drill.end_ms);
        if ended.into_iter().any(|end_ms| (0..3000).contains(&late_ms.wrapping_sub(end_ms))) {
            self.account();
        }
    }

    /// At the start: peers whose sessions a drill has down are not reached, as when it began.
    pub(super) fn lose_drilled(&mut self) {
        let peers = self.drills.peers();
        self.engine.peer_states(peers.iter().map(|(vif, address)| (&**vif, *address, false)));
        self.failover.peers.extend(peers.into_iter().map(|peer| (peer, Cause::Bgp)));
    }
}

/// What took a peer away.
fn cause_of(event: &PeerEvent) -> Cause {
    match event.cause.split(' ').next() {
        Some("BFD") => Cause::Bfd,
        Some("probe") => Cause::Probe,
        _ => Cause::Bgp,
    }
}

/// Whether a probe of a configuration decides about a neighbor.
fn decides(config: &Config, vif: &str, address: IpAddr) -> bool {
    let mut probes = config.probes.iter();
    probes.any(|probe| *probe.vif == *vif && probe.next_hop == Some(address))
}

/// Which neighbors BFD, BGP or a probe of a configuration watches.
fn watched(config: &Config) -> impl Fn(&Peer) -> bool {
    let vifs: HashMap<&str, &VifConfig> = config.vifs.iter().map(|vif| (&*vif.name, vif)).collect();
    move |(name, address)| {
        vifs.get(&**name).is_some_and(|vif| {
            vif.bfd.is_some()
                || vif.bgp.iter().any(|session| session.peer == *address)
                || decides(config, name, *address)
        })
    }
}

/// Of what a VIF counted, frames that are lost: see `OutageRow::frames_lost`.
pub(super) fn lost(totals: &VifTotals) -> u64 {
    let punted = [PuntReason::NextHopUnresolved, PuntReason::NoRoute];
    let punted: u64 = punted.iter().map(|reason| totals.punted[reason.index()]).sum();
    totals.drops[DropReason::EgressDown.index()] + punted
}

/// `show consistency`.
pub(super) fn consistency(control: &Control) -> Answer {
    Answer::rows(consistency_rows(control))
}

/// A row for each family of each VRF, made when it is wanted.
pub(super) fn consistency_rows(
    control: &Control,
) -> impl Iterator<Item = ConsistencyRow> + Send + use<> {
    let families = |(id, vrf): (VrfId, &Vrf)| {
        let name = vrf.name.clone();
        [false, true].map(|v6| (id, name.clone(), v6, control.engine.learning(id, v6)))
    };
    let learnings: Vec<_> = control.vrfs().flat_map(families).collect();
    let status = control.failover.mirror.status();
    let row = move |(id, name, v6, learning): (VrfId, Arc<str>, bool, Learning)| {
        let mirrored = status.families.get(&(id, v6)).cloned().unwrap_or_default();
        ConsistencyRow {
            vrf: name.to_string(),
            family: if v6 { "ipv6" } else { "ipv4" }.to_owned(),
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
            ok: mirrored.dumped.is_some() && learning.mismatches == learning.repaired,
            last_error: learning.last_error.or(mirrored.last_error).unwrap_or_default(),
        }
    };
    learnings.into_iter().map(row)
}
