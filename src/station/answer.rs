//! Answers to an operator's questions. Nothing here changes anything.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::control_thread::Control;
use crate::control::answer::Answer;
use crate::control::kernel::namespace_name;
use crate::control::protocol::{ErrorKind, LookupRequest, Refusal, RouteFilter, VERSION};
use crate::control::rows::{
    KernelStatistics, LookupResult, Member, Named, NeighborRow, PortRow, RouteRow, Row, Traffic,
    VersionInfo, VifRow, VrfRow, WorkerRow, XdpCounters,
};
use crate::control::{Route, Source};
use crate::log;
use crate::port::af_xdp::Attached;
use crate::slowpath::NeighborState;
use crate::tables::{
    self, Adjacency, AdjacencyKind, DropReason, GroupId, PortId, Verdict, Vif, VifId, VrfId,
};

/// `version`.
pub(super) fn version(control: &Control) -> Answer {
    Answer::result(VersionInfo {
        station: control.config().station.name.clone(),
        version: env!("CARGO_PKG_VERSION").into(),
        protocol: VERSION,
        uptime_s: control.started.elapsed().as_secs(),
        generation: control.engine.tables().generation,
        config: control.file.display().to_string(),
        namespace: namespace_name(&control.config().station.socket),
        log_lines_lost: log::lost(),
    })
}

/// `show ports`.
pub(super) fn ports(control: &Control) -> Answer {
    let states = (0..=u8::MAX).map(PortId).zip(&control.datapath.ports);
    let rows = states.map(|(id, state)| {
        let totals = control.counters.port(id);
        let [rx_dropped, rx_ring_full, fill_ring_empty, rx_invalid, tx_invalid, tx_ring_empty] =
            totals.kernel;
        let xdp = state.xdp_counters().unwrap_or_default();
        PortRow {
            name: state.config.name.to_string(),
            interface: state.config.interface.clone(),
            role: state.config.role,
            mac: state.facts.mac.to_string(),
            mtu: state.facts.mtu.into(),
            link: match (state.mode(), state.facts.link_up) {
                (None, _) => "missing",
                (_, true) => "up",
                (_, false) => "down",
            }
            .into(),
            xdp_mode: match state.mode() {
                Some(Attached::Native) => "native",
                Some(Attached::Generic) => "generic",
                None => "none",
            }
            .into(),
            zero_copy: state.zero_copy,
            queues: u32::try_from(control.datapath.workers.len()).unwrap_or(u32::MAX),
            trouble: state.trouble.clone().unwrap_or_default(),
            repairs: state.repairs,
            traffic: Traffic {
                rx_frames: totals.rx_frames,
                rx_octets: totals.rx_octets,
                tx_frames: totals.tx_frames,
                tx_octets: totals.tx_octets,
            },
            drops: named(DropReason::ALL.iter().map(|r| (r.name(), totals.drops[r.index()]))),
            kernel: KernelStatistics {
                rx_dropped,
                rx_ring_full,
                rx_invalid_descs: rx_invalid,
                tx_invalid_descs: tx_invalid,
                fill_ring_empty,
                tx_ring_empty,
            },
            xdp: XdpCounters {
                to_kernel: xdp.to_kernel,
                no_socket: xdp.no_socket,
                malformed: xdp.malformed,
                bypassed: xdp.bypassed,
            },
        }
    });
    Answer::rows(rows.collect::<Vec<_>>())
}

/// `show vifs`.
pub(super) fn vifs(control: &Control) -> Answer {
    let rows = control.vifs().map(|(id, vif)| {
        let totals = control.counters.vif(id);
        VifRow {
            name: vif.name.to_string(),
            port: control.port_name(vif.port),
            vlan: vif.tags.to_string(),
            service_tag: vif.tags.service,
            kind: vif.kind,
            vrf: control.vrf_name(vif.vrf),
            mtu: vif.mtu,
            state: match (vif.up, control.port_up(vif.port)) {
                (false, _) => "down",
                (true, false) => "port-down",
                (true, true) => "up",
            }
            .into(),
            addresses: vif.addresses.to_vec(),
            source_check: vif.source_check,
            traffic: Traffic {
                rx_frames: totals.rx_frames,
                rx_octets: totals.rx_octets,
                tx_frames: totals.tx_frames,
                tx_octets: totals.tx_octets,
            },
            forwarded: totals.forwarded,
            punted: totals.punted.iter().sum(),
            dropped: totals.drops.iter().sum(),
        }
    });
    Answer::rows(rows.collect::<Vec<_>>())
}

/// `show vrfs`.
pub(super) fn vrfs(control: &Control) -> Answer {
    let rows = control.vrfs().map(|(id, vrf)| {
        let (mut ipv4_routes, mut ipv6_routes) = (0, 0);
        for route in control.engine.routes(id) {
            match route.prefix.addr() {
                IpAddr::V4(_) => ipv4_routes += 1,
                IpAddr::V6(_) => ipv6_routes += 1,
            }
        }
        let vifs = control.vifs().filter(|(_, vif)| vif.vrf == id).count() as u64;
        VrfRow { name: vrf.name.to_string(), kind: vrf.kind, vifs, ipv4_routes, ipv6_routes }
    });
    Answer::rows(rows.collect::<Vec<_>>())
}

/// `show routes`. The rows of a full table are made by the connection's thread, a few at a time.
pub(super) fn routes(control: &Control, filter: &RouteFilter) -> Answer {
    let Some(vrf) = control.engine.vrf(&filter.vrf) else { return no("vrf", &filter.vrf) };
    let routes: Vec<Route> =
        control.engine.routes(vrf).filter(|route| filter.matches(&route.prefix)).collect();
    let mut groups: HashMap<GroupId, (AdjacencyKind, Arc<[Member]>)> = HashMap::new();
    for route in &routes {
        groups.entry(route.group).or_insert_with(|| control.group(route.group));
    }
    let name = filter.vrf.clone();
    let rows = routes.into_iter().map(move |route| {
        let (kind, via) = match groups.get(&route.group) {
            Some((kind, members)) => (*kind, members.to_vec()),
            None => (AdjacencyKind::NoRoute, Vec::new()),
        };
        Row::from(RouteRow {
            vrf: name.clone(),
            prefix: route.prefix,
            origin: origin(route.source).into(),
            action: action(kind).into(),
            via,
        })
    });
    Answer::Rows(Box::new(rows))
}

/// `show neighbors`: the configured ones and those that the slow path knows.
pub(super) fn neighbors(control: &Control) -> Answer {
    let mut rows = Vec::new();
    let tables = control.engine.tables();
    let mut row = |id: VifId, address, mac, state: &str, age_s| {
        let Some(vif) = tables.vif(id) else { return };
        rows.push(NeighborRow {
            vif: vif.name.to_string(),
            vrf: control.vrf_name(vif.vrf),
            address,
            mac,
            state: state.into(),
            age_s,
        });
    };
    for (&(vif, address), &id) in &*tables.neighbors {
        let adjacency = tables.adjacency(id);
        if adjacency.static_neighbor {
            row(vif, address, mac(adjacency), "static", 0);
        }
    }
    for known in control.datapath.slow.neighbors() {
        let state = match known.state {
            NeighborState::Incomplete => "unresolved",
            NeighborState::Reachable | NeighborState::Probing => "reachable",
            NeighborState::Failed => "failed",
        };
        let mac = known.mac.map(|mac| mac.to_string());
        row(known.vif, known.address, mac, state, known.age_ns / 1_000_000_000);
    }
    rows.sort_by(|a, b| (&a.vif, a.address).cmp(&(&b.vif, b.address)));
    Answer::rows(rows)
}

/// `show workers`.
pub(super) fn workers(control: &Control) -> Answer {
    let workers = control.datapath.workers.iter().zip(control.counters.workers());
    let rows = (0..).zip(workers).map(|(number, (handle, counters))| {
        let work = &counters.work;
        let (frames, bursts) = (work.frames.get(), work.bursts.get());
        WorkerRow {
            worker: number,
            cpu: u32::try_from(handle.cpu).unwrap_or(u32::MAX),
            generation: work.generation.get(),
            loops: work.loops.get(),
            empty: work.empty.get(),
            bursts,
            frames,
            burst_fill: ratio(frames, bursts),
            ns_per_frame: ratio(work.busy_ns.get(), frames),
            sleeps: work.sleeps.get(),
            syscalls: work.system_calls.get(),
            syscalls_per_frame: ratio(work.system_calls.get(), frames),
            lost: control.counters.lost(number as usize),
            frames_free: work.frames_free.get(),
            frames_total: control.datapath.frames as u64,
        }
    });
    Answer::rows(rows.collect::<Vec<_>>())
}

/// `lookup`.
pub(super) fn lookup(control: &Control, request: &LookupRequest) -> Answer {
    let vrf = match (&request.vif, &request.vrf) {
        (Some(name), None) => match control.engine.vif(name) {
            Some(id) => control.engine.tables().vif(id).map(|vif| vif.vrf),
            None => return no("vif", name),
        },
        (None, Some(name)) => match control.engine.vrf(name) {
            Some(id) => Some(id),
            None => return no("vrf", name),
        },
        _ => return Answer::refused(ErrorKind::Invalid, "give exactly one of vif and vrf"),
    };
    let Some(vrf) = vrf else {
        return Answer::refused(ErrorKind::Internal, "the vif has no vrf");
    };
    let route = control.engine.lookup(vrf, request.address);
    let (kind, via) = match route {
        Some(route) => control.group(route.group),
        None => (AdjacencyKind::NoRoute, Arc::default()),
    };
    let verdict = kind.verdict();
    let help = match verdict {
        Verdict::Forward => "",
        Verdict::Punt(reason) => reason.help(),
        Verdict::Drop(reason) => reason.help(),
    };
    Answer::result(LookupResult {
        vrf: control.vrf_name(vrf),
        address: request.address,
        prefix: route.map(|route| route.prefix),
        via: via.to_vec(),
        verdict: verdict.to_string(),
        help: help.into(),
    })
}

impl Control {
    pub(super) fn vifs(&self) -> impl Iterator<Item = (VifId, &Vif)> {
        let vifs = (0..=u16::MAX).map(VifId).zip(self.engine.tables().vifs.iter());
        vifs.filter_map(|(id, vif)| Some((id, vif.as_ref()?)))
    }

    pub(super) fn vrfs(&self) -> impl Iterator<Item = (VrfId, &crate::tables::Vrf)> {
        let vrfs = (0..=u16::MAX).map(VrfId).zip(&*self.engine.tables().vrfs);
        vrfs.filter_map(|(id, vrf)| Some((id, vrf.as_ref()?)))
    }

    pub(super) fn port_name(&self, id: PortId) -> String {
        let state = self.datapath.ports.get(id.index());
        state.map(|state| state.config.name.to_string()).unwrap_or_default()
    }

    fn port_up(&self, id: PortId) -> bool {
        self.datapath.ports.get(id.index()).is_some_and(|state| state.facts.link_up)
    }

    fn vrf_name(&self, id: VrfId) -> String {
        match self.engine.tables().vrfs.get(id.index()) {
            Some(Some(vrf)) => vrf.name.to_string(),
            _ => String::new(),
        }
    }

    /// What packets meet at a group, and its members.
    fn group(&self, id: GroupId) -> (AdjacencyKind, Arc<[Member]>) {
        let mut kind = AdjacencyKind::NoRoute;
        let mut members = Vec::new();
        for (adjacency, member) in self.engine.members(id) {
            // One member up is enough for packets to leave.
            if members.is_empty() || adjacency.kind == AdjacencyKind::Forward {
                kind = adjacency.kind;
            }
            if let Some(member) = self.member(adjacency, member) {
                members.push(member);
            }
        }
        (kind, members.into())
    }

    fn member(&self, adjacency: &Adjacency, member: tables::Member) -> Option<Member> {
        let state = match adjacency.kind {
            AdjacencyKind::Forward if self.engine.is_silent(adjacency.vif, adjacency.address) => {
                "silent"
            }
            AdjacencyKind::Forward | AdjacencyKind::Local => "reachable",
            AdjacencyKind::Unresolved | AdjacencyKind::Glean => "unresolved",
            AdjacencyKind::EgressDown => "down",
            _ => return None,
        };
        let vif = self.engine.tables().vif(adjacency.vif)?;
        let of_next_hop = adjacency.kind != AdjacencyKind::Glean;
        Some(Member {
            vif: vif.name.to_string(),
            next_hop: of_next_hop.then_some(adjacency.address),
            mac: mac(adjacency),
            state: state.into(),
            weight: member.weight,
            backup: member.role == tables::Role::Backup,
        })
    }
}

pub(super) fn no(what: &str, name: &str) -> Answer {
    Answer::Refused(no_such(what, name))
}

pub(super) fn no_such(what: &str, name: &str) -> Refusal {
    Refusal::new(ErrorKind::NotFound, format!("there is no {what} \"{name}\""))
}

fn mac(adjacency: &Adjacency) -> Option<String> {
    adjacency.next_hop().map(|mac| mac.to_string())
}

fn origin(source: Source) -> &'static str {
    match source {
        Source::Local => "local",
        Source::Connected => "connected",
        Source::Static => "static",
        Source::List => "list",
        Source::Neighbor => "neighbor",
        Source::Bgp => "bgp",
    }
}

fn action(kind: AdjacencyKind) -> &'static str {
    match kind {
        AdjacencyKind::Local => "local",
        AdjacencyKind::Broadcast => "broadcast",
        AdjacencyKind::Blackhole => "blackhole",
        AdjacencyKind::Unreachable => "unreachable",
        AdjacencyKind::Prohibited => "prohibit",
        _ => "forward",
    }
}

fn named<'a>(values: impl Iterator<Item = (&'a str, u64)>) -> Named {
    values.filter(|&(_, value)| value != 0).map(|(name, value)| (name.to_owned(), value)).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
fn ratio(of: u64, to: u64) -> f64 {
    if to == 0 { 0.0 } else { of as f64 / to as f64 }
}
