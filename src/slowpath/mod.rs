//! The slow path: what becomes of frames that the workers punt. It resolves neighbors (ARP, ND),
//! answers for the router's addresses, sends ICMP errors and forwards in software what needs more
//! than the fast path does (IPv4 options, fragmentation, the first frame to a new neighbor).
//!
//! Pure: no I/O, no clock, no thread. The time and the tables come in with [`View`], what is to be
//! sent comes out as [`Output`], so the same code runs in `stationd`, in tests and over a capture.
//! No input panics. Each punted frame counts exactly one [`SlowOutcome`] on its ingress VIF.
//!
//! Isolation: what is sent because of a frame leaves by VIFs of that frame's VRF only.

mod arp;
mod egress;
mod forward;
mod fragment;
mod heard;
mod icmp;
mod kernel;
mod local;
mod nd;
mod neighbor;
mod options;
mod packet;
mod path_mtu;
mod probe;
mod signature;
#[cfg(test)]
mod testing;
mod tunnel;
mod twamp;

use std::net::IpAddr;
use std::sync::Arc;

use egress::Ingress;
use icmp::{Errors, Problem};
use neighbor::{Action, Key, Neighbors};
use packet::Packet;
use path_mtu::Believed;
use probe::Probes;

pub use packet::own_address;
pub use path_mtu::TooBig;
pub use probe::{Left, MAX_SENDERS, MAX_WAITING, Probe, ProbeAnswer, Said, Unsent, source};

use crate::fib::FibReader;
use crate::tables::counters::SlowCounters;
use crate::tables::{
    AdjacencyKind, Choice, GroupId, Loss, PortId, PuntReason, SlowOutcome, Snapshot, Vif, VifId,
    VrfId, rules,
};
use crate::wire::ethernet::Mac;

/// The time and the tables of one call.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// Monotonic time in nanoseconds.
    pub now_ns: u64,
    /// The tables now.
    pub snapshot: &'a Snapshot,
    /// The FIB now: longest-prefix match in a VRF; group 0 is "no route".
    pub fib: &'a dyn Fn(VrfId, IpAddr) -> GroupId,
}

/// The answer of the workers' FIB, for [`View::fib`].
pub fn route(fib: &FibReader, vrf: VrfId, address: IpAddr) -> GroupId {
    GroupId(fib.lookup(vrf.0.into(), address))
}

/// A frame that a worker punted.
#[derive(Clone, Copy, Debug)]
pub struct Punted<'a> {
    /// The ingress port.
    pub port: PortId,
    /// The ingress VIF.
    pub vif: VifId,
    /// Why.
    pub reason: PuntReason,
    /// Offset of the IP or ARP header in `frame`.
    pub l3: usize,
    /// The adjacency that the worker chose, where it came to that.
    pub choice: Option<Choice>,
    /// From the destination MAC to the end of the payload, tags included, without FCS.
    pub frame: &'a [u8],
}

/// What the slow path wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a frame, complete from the destination MAC on.
    Transmit {
        /// The VIF it leaves by, for the counters.
        vif: VifId,
        /// The underlay's VIF that carries it, where that is a tunnel's.
        through: Option<VifId>,
        /// The port it leaves by.
        port: PortId,
        /// The frame.
        frame: Vec<u8>,
    },
    /// Hand a frame to the kernel by the VIF's TAP.
    ToKernel {
        /// The VIF.
        vif: VifId,
        /// The frame, without tags.
        frame: Vec<u8>,
    },
    /// Tell the control plane.
    Tell(Told),
}

/// What the slow path tells the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Of a neighbor.
    Neighbor(NeighborEvent),
    /// Of a tunnel's path.
    TooBig(TooBig),
}

/// A change that the adjacencies must follow. Events may repeat what is known already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeighborEvent {
    /// The neighbor has this MAC.
    Resolved {
        /// On this VIF.
        vif: VifId,
        /// The neighbor.
        address: IpAddr,
        /// Its MAC.
        mac: Mac,
    },
    /// A neighbor that was resolved no longer is.
    Lost {
        /// On this VIF.
        vif: VifId,
        /// The neighbor.
        address: IpAddr,
    },
}

impl NeighborEvent {
    /// The VIF that the neighbor is on.
    pub const fn vif(&self) -> VifId {
        match *self {
            NeighborEvent::Resolved { vif, .. } | NeighborEvent::Lost { vif, .. } => vif,
        }
    }
}

/// What is known of a neighbor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NeighborState {
    /// Asked for, no answer yet.
    Incomplete,
    /// Answers.
    Reachable,
    /// Being asked whether it is still there, at times because another MAC claims its address; its
    /// MAC stays in use.
    Probing,
    /// A next hop of a route that does not answer; asked again every few seconds.
    Failed,
}

/// One neighbor, for `stationctl show neighbors`. Static neighbors are in the snapshot instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighborRow {
    /// On this VIF.
    pub vif: VifId,
    /// The neighbor.
    pub address: IpAddr,
    /// Its MAC, where known.
    pub mac: Option<Mac>,
    /// What is known.
    pub state: NeighborState,
    /// Nanoseconds since it last answered, or since it was first asked for.
    pub age_ns: u64,
}

/// The slow path of the whole station.
#[derive(Debug)]
pub struct SlowPath {
    counters: Arc<SlowCounters>,
    neighbors: Neighbors,
    errors: Errors,
    believed: Believed,
    probes: Probes,
    /// What the clock said when time began: nanoseconds since 1970.
    epoch_ns: u64,
    /// The identification of the last IPv4 packet of the router itself.
    id: u16,
    /// The tables as of the last call.
    seen: Snapshot,
}

impl SlowPath {
    /// A slow path that knows no neighbor yet.
    pub fn new(counters: Arc<SlowCounters>) -> SlowPath {
        SlowPath {
            counters,
            neighbors: Neighbors::default(),
            errors: Errors::default(),
            believed: Believed::default(),
            probes: Probes::default(),
            epoch_ns: 0,
            id: 0,
            seen: Snapshot::default(),
        }
    }

    /// When its time began: nanoseconds since 1970. Timestamps of test packets count from there.
    pub fn begun_at(self, epoch_ns: u64) -> SlowPath {
        SlowPath { epoch_ns, ..self }
    }

    /// Handles one punted frame and counts its outcome.
    pub fn punted(
        &mut self,
        view: &View<'_>,
        punted: &Punted<'_>,
        out: &mut Vec<Output>,
    ) -> SlowOutcome {
        self.refresh(view, out);
        let outcome = self.handle(view, punted, out);
        self.counters.outcome(punted.vif, outcome).add(1);
        if let (Some(loss), Some(drops)) =
            (Loss::of_punt(punted.reason, outcome), self.counters.last_drops.vif(punted.vif))
        {
            drops.record(loss, punted.frame, view.now_ns);
        }
        outcome
    }

    fn handle(&mut self, view: &View<'_>, p: &Punted<'_>, out: &mut Vec<Output>) -> SlowOutcome {
        // The frame may be older than the tables: its VIF may be gone, or its id another VIF's.
        let Some((vif, _)) = egress::live(view.snapshot, p.vif) else {
            return SlowOutcome::NoEgress;
        };
        let priority = match vif.tunnel() {
            Some(tunnel) => tunnel::priority_if_from(tunnel, p.frame, p.l3),
            None => packet::priority_if_from(vif, p.port, p.frame, p.l3),
        };
        let Some(priority) = priority else { return SlowOutcome::NoEgress };
        let [group, .., a, b, c, d, e, f] = p.frame[..12] else { return SlowOutcome::NoEgress };
        let from = Ingress {
            view,
            id: p.vif,
            vif,
            sender: Mac([a, b, c, d, e, f]),
            group: group & 1 == 1,
            priority,
            choice: p.choice,
        };
        let l3 = p.frame.get(p.l3..).unwrap_or_default();
        if p.reason == PuntReason::Arp {
            return self.arp(&from, l3, out);
        }
        // The fast path has checked this; a packet that does not parse is never answered.
        let Some(packet) = Packet::parse(l3) else { return SlowOutcome::IcmpNotAllowed };
        let from = &from;
        match p.reason {
            // Tunnels are links between routers that know each other: nobody is asked for, nothing is learned.
            PuntReason::NeighborDiscovery | PuntReason::LinkLocal if vif.tunnel().is_some() => {
                SlowOutcome::NotForUs
            }
            PuntReason::Arp => SlowOutcome::BadArp,
            PuntReason::NeighborDiscovery => self.neighbor_discovery(from, &packet, out),
            PuntReason::Bfd | PuntReason::Bgp | PuntReason::Local => self.local(from, &packet, out),
            PuntReason::LinkLocal => self.link_local(from, &packet, out),
            PuntReason::NoRoute => self.error(from, &packet, Problem::NoRoute, out),
            PuntReason::Unreachable => self.error(from, &packet, Problem::HostUnreachable, out),
            PuntReason::Prohibited | PuntReason::AclRejected => {
                self.error(from, &packet, Problem::Prohibited, out)
            }
            PuntReason::TtlExceeded => self.error(from, &packet, Problem::TtlExceeded, out),
            PuntReason::NextHopUnresolved | PuntReason::TooBig | PuntReason::IpOptions => {
                self.forward(from, &packet, out)
            }
        }
    }

    /// Runs what is due by now; call it at least every 10 ms, and at once where a new snapshot has
    /// been published: it forgets what left and starts to resolve every unresolved next hop.
    pub fn tick(&mut self, view: &View<'_>, out: &mut Vec<Output>) {
        self.refresh(view, out);
        let mut actions = Vec::new();
        self.neighbors.expire(view.now_ns, &mut actions);
        self.probes.expire(view.now_ns);
        self.act(view, actions, out);
    }

    /// Follows the tables where they changed.
    fn refresh(&mut self, view: &View<'_>, out: &mut Vec<Output>) {
        let (old, new) = (&self.seen, view.snapshot);
        if Arc::ptr_eq(&old.vifs, &new.vifs)
            && Arc::ptr_eq(&old.ports, &new.ports)
            && Arc::ptr_eq(&old.adjacencies, &new.adjacencies)
            && Arc::ptr_eq(&old.neighbors, &new.neighbors)
        {
            return;
        }
        let mut actions = Vec::new();
        let same = |id: VifId| match (old.vif(id), new.vif(id)) {
            (Some(a), Some(b)) => {
                (&a.name, a.port, a.tags, a.vrf) == (&b.name, b.port, b.tags, b.vrf)
            }
            _ => false,
        };
        self.neighbors.retain(
            |key| {
                let live = egress::live(new, key.0);
                same(key.0)
                    && live.is_some_and(|(vif, _)| rules::is_on_link(vif, key.1))
                    && !live.is_some_and(|(vif, _)| rules::is_router(vif, key.1))
                    && egress::static_mac(new, key).is_none()
            },
            |key| new.neighbors.contains_key(&key) || is_peer(new, key),
            &mut actions,
        );
        // What was lost is told even where the control plane deleted it itself: an event from before
        // may reach it only after that, and would stay for ever.
        self.neighbors.forget_ingress(|ingress| !same(ingress));
        self.resolve_next_hops(view, &mut actions);
        self.seen = new.clone();
        self.act(view, actions, out);
    }

    /// Asks for every next hop that has no MAC, without waiting for a packet to it: 64 at once, the
    /// others paced, so that a start with thousands of VIFs does not overrun its own queues. Routing
    /// peers likewise: no flood of other neighbors keeps a session from its peer's MAC.
    fn resolve_next_hops(&mut self, view: &View<'_>, actions: &mut Vec<Action>) {
        let snapshot = view.snapshot;
        let mut unresolved: Vec<Key> = snapshot
            .neighbors
            .iter()
            .filter(|(_, id)| snapshot.adjacency(**id).kind == AdjacencyKind::Unresolved)
            .map(|(key, _)| *key)
            .chain(peers(snapshot).filter(|key| !self.neighbors.is_wanted(*key)))
            .filter(|key| egress::live(snapshot, key.0).is_some())
            .collect();
        unresolved.sort_unstable();
        unresolved.dedup();
        let mut start = view.now_ns;
        for keys in unresolved.chunks(64) {
            for key in keys {
                self.neighbors.want(view.now_ns, start, *key, actions);
            }
            start = start.saturating_add(10_000_000);
        }
        self.neighbors.expire(view.now_ns, actions);
    }

    /// All neighbors, ordered by VIF and address.
    pub fn neighbors(&self, now_ns: u64) -> impl Iterator<Item = NeighborRow> + '_ {
        self.neighbors.rows(now_ns)
    }
}

/// The routing peers of all VIFs that have to be asked for.
fn peers(snapshot: &Snapshot) -> impl Iterator<Item = Key> + '_ {
    let vifs = snapshot.vifs_by_id();
    let keys = vifs.flat_map(|(id, vif)| vif.peers.iter().map(move |peer| (id, *peer)));
    keys.filter(|key| is_peer(snapshot, *key) && egress::static_mac(snapshot, *key).is_none())
}

/// Whether a neighbor is a routing peer of its VIF.
fn is_peer(snapshot: &Snapshot, (id, address): Key) -> bool {
    let is_peer = |vif: &&Vif| vif.peers.contains(&address) && rules::is_on_link(vif, address);
    snapshot.vif(id).filter(is_peer).is_some()
}
