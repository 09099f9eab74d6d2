//! Answers to an operator's questions. Nothing here changes anything.

use std::sync::Arc;

use super::control_thread::Control;
use super::{event_stream, view};
use crate::admin::answer::Answer;
use crate::admin::protocol::{ErrorKind, LookupRequest, Refusal, VERSION};
use crate::admin::rows::{
    ChangeResult, KernelStatistics, LookupResult, Member, Named, PortRow, Traffic, VersionInfo,
    WorkerRow, XdpCounters,
};
use crate::control::kernel::namespace_name;
use crate::log;
use crate::port::af_xdp::Attached;
use crate::tables::{
    self, Adjacency, AdjacencyKind, DropReason, GroupId, PortId, Vif, VifId, Vrf, VrfId,
};

/// `version`.
pub(super) fn version(control: &Control) -> Answer {
    Answer::result(version_info(control))
}

pub(super) fn version_info(control: &Control) -> VersionInfo {
    VersionInfo {
        station: control.config().station.name.clone(),
        version: env!("CARGO_PKG_VERSION").into(),
        protocol: VERSION,
        uptime_s: control.started.elapsed().as_secs(),
        generation: control.engine.tables().generation,
        configuration: control.configuration,
        config: control.file.display().to_string(),
        namespace: namespace_name(&control.config().station.socket),
        log_lines_lost: log::lost(),
        longest_hold_us: control.holds.longest_us(),
        longest_hold: control.holds.longest_of().into(),
        events: event_stream::standing(control),
    }
}

/// `show ports`.
pub(super) fn ports(control: &Control) -> Answer {
    Answer::rows(port_rows(control))
}

pub(super) fn port_rows(control: &Control) -> Vec<PortRow> {
    let rows = control.datapath.ports.iter().map(|(id, state)| {
        let (config, totals) = (&state.config, control.counters.port(id));
        let [
            rx_dropped,
            rx_ring_full,
            fill_ring_empty,
            rx_invalid_descs,
            tx_invalid_descs,
            tx_ring_empty,
            refused_descriptors,
        ] = totals.kernel;
        let xdp = state.xdp_counters().unwrap_or_default();
        PortRow {
            name: config.name.to_string(),
            labels: config.labels.clone(),
            interface: config.interface.clone(),
            role: config.role,
            mac: state.facts.mac.to_string(),
            mtu: state.facts.mtu.into(),
            link: state.link().into(),
            admin_up: config.up,
            drain: control.drains.state_of_port(&config.name).to_owned(),
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
            carrier_changes: state.carrier_changes,
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
                rx_invalid_descs,
                tx_invalid_descs,
                fill_ring_empty,
                tx_ring_empty,
                refused_descriptors,
            },
            xdp: XdpCounters {
                to_kernel: xdp.to_kernel,
                no_socket: xdp.no_socket,
                malformed: xdp.malformed,
                bypassed: xdp.bypassed,
            },
        }
    });
    rows.collect()
}

/// `show workers`.
pub(super) fn workers(control: &Control) -> Answer {
    Answer::rows(worker_rows(control))
}

pub(super) fn worker_rows(control: &Control) -> Vec<WorkerRow> {
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
            busy_ns: work.busy_ns.get(),
            ns_per_frame: ratio(work.busy_ns.get(), frames),
            sleeps: work.sleeps.get(),
            syscalls: work.system_calls.get(),
            syscalls_per_frame: ratio(work.system_calls.get(), frames),
            lost: control.counters.lost(number as usize),
            frames_free: work.frames_free.get(),
            frames_total: control.datapath.frames as u64,
        }
    });
    rows.collect()
}

/// `lookup`.
pub(super) fn lookup(control: &Control, request: &LookupRequest) -> Answer {
    let vrf = match control.vrf_of(request.vif.as_deref(), request.vrf.as_deref()) {
        Ok((vrf, _)) => vrf,
        Err(refusal) => return Answer::Refused(refusal),
    };
    let route = control.engine.lookup(vrf, request.address);
    let (kind, via) = match route {
        Some(route) => control.group(route.group),
        None => (AdjacencyKind::NoRoute, Arc::default()),
    };
    let verdict = kind.verdict();
    Answer::result(LookupResult {
        vrf: control.vrf_name(vrf),
        address: request.address,
        prefix: route.map(|route| route.prefix),
        via: via.to_vec(),
        verdict: verdict.to_string(),
        help: verdict.help().into(),
    })
}

/// A port, and the VIF on it where one is meant alone.
type Place<'a> = (PortId, Option<(VifId, &'a Vif)>);

impl Control {
    /// The VIF of this name.
    fn vif(&self, name: &str) -> Result<(VifId, &Vif), Refusal> {
        let found = self.engine.vif(name).and_then(|id| Some((id, self.engine.tables().vif(id)?)));
        found.ok_or_else(|| no_such("vif", name))
    }

    /// Where frames pass: exactly one of a port and a VIF is named.
    pub(super) fn place(
        &self,
        port: Option<&str>,
        vif: Option<&str>,
    ) -> Result<Place<'_>, Refusal> {
        match (port, vif) {
            (Some(name), None) => {
                let port = self.engine.port(name).ok_or_else(|| no_such("port", name))?;
                Ok((port, None))
            }
            (None, Some(name)) => {
                let (id, vif) = self.vif(name)?;
                Ok((vif.port, Some((id, vif))))
            }
            _ => Err(invalid("give exactly one of vif and port")),
        }
    }

    /// A VRF, by its own name or by that of a VIF in it: exactly one is given.
    pub(super) fn vrf_of(
        &self,
        vif: Option<&str>,
        vrf: Option<&str>,
    ) -> Result<(VrfId, Option<VifId>), Refusal> {
        match (vif, vrf) {
            (Some(name), None) => {
                let (id, vif) = self.vif(name)?;
                Ok((vif.vrf, Some(id)))
            }
            (None, Some(name)) => {
                Ok((self.engine.vrf(name).ok_or_else(|| no_such("vrf", name))?, None))
            }
            _ => Err(invalid("give exactly one of vif and vrf")),
        }
    }

    /// The result of what leaves the configuration as it is.
    pub(super) fn unchanged_result(&self, changes: Vec<String>) -> ChangeResult {
        let (generation, configuration) = (self.engine.tables().generation, self.configuration);
        ChangeResult { generation, configuration, changes, ..ChangeResult::default() }
    }

    pub(super) fn vifs(&self) -> impl Iterator<Item = (VifId, &Vif)> {
        self.engine.tables().vifs_by_id()
    }

    pub(super) fn vrfs(&self) -> impl Iterator<Item = (VrfId, &Vrf)> {
        view::vrfs(self.engine.tables())
    }

    pub(super) fn vrf_name(&self, id: VrfId) -> String {
        match self.engine.tables().vrfs.get(id.index()) {
            Some(Some(vrf)) => vrf.name.to_string(),
            _ => String::new(),
        }
    }

    /// What packets meet at a group, and its members.
    pub(super) fn group(&self, id: GroupId) -> (AdjacencyKind, Arc<[Member]>) {
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
            AdjacencyKind::Forward if self.engine.is_drained(adjacency.vif) => "drained",
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

pub(super) fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(ErrorKind::Invalid, message)
}

pub(super) fn mac(adjacency: &Adjacency) -> Option<String> {
    adjacency.next_hop().map(|mac| mac.to_string())
}

/// Those that are not zero, by name.
pub(super) fn named<'a>(values: impl Iterator<Item = (&'a str, u64)>) -> Named {
    values.filter(|&(_, value)| value != 0).map(|(name, value)| (name.to_owned(), value)).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
fn ratio(of: u64, to: u64) -> f64 {
    if to == 0 { 0.0 } else { of as f64 / to as f64 }
}
