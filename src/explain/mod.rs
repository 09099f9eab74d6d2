//! What the packet path does with a frame and why, without a worker: the frame goes through [`path`] as a
//! worker's would, over memory, counters and budgets of its own, and what each stage says is kept.

mod packet;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub use packet::{PacketError, Synthetic, framed};

use crate::fib::FibReader;
use crate::path::{self, Watch};
use crate::port::{FrameSize, Pool};
use crate::stage::copy::Copies;
use crate::stage::encapsulate::Entrances;
use crate::stage::police::Budgets;
use crate::stage::{Burst, Context, Filtered};
use crate::tables::counters::WorkerCounters;
use crate::tables::rules::flow;
use crate::tables::{
    AdjacencyId, Direction, ExchangeId, Facts, GroupId, Ingress, PortId, Snapshot, Verdict, VifId,
    VrfId, place_vif,
};

/// The longest frame, in octets: what a worker's largest frames hold.
pub use crate::port::LONGEST;
/// Time between two frames: enough for every budget to be full again.
const PAUSE_NS: u64 = 1_000_000_000;
/// The one frame's lane.
const LANE: usize = 0;

/// What one stage said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its name.
    pub stage: &'static str,
    /// The verdict that it gave or changed; `None` where the frame goes on.
    pub verdict: Option<Verdict>,
}

/// One answer of the FIB, as the stages used it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// In this VRF.
    pub vrf: VrfId,
    /// The address.
    pub address: IpAddr,
    /// The longest match's group.
    pub group: GroupId,
}

/// What became of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The VIF by which it entered, if it got that far.
    pub vif: Option<VifId>,
    /// Where its packet begins: behind the headers of its tunnel, where it came out of one.
    pub l3: usize,
    /// The path's verdict.
    pub verdict: Verdict,
    /// The stages that looked at it, in their order.
    pub steps: Vec<Step>,
    /// The lookup of the destination, where the frame came to it.
    pub destination: Option<Lookup>,
    /// That of the source, where sources are checked.
    pub source: Option<Lookup>,
    /// The adjacency that was chosen.
    pub adjacency: Option<AdjacencyId>,
    /// The exchange by which it passes, and the destination's lookup in the VRF that this leads from.
    pub crossed: Option<(ExchangeId, Lookup)>,
    /// The flow's number, where it chose among several members.
    pub flow: Option<u32>,
    /// Its class, by its place in the policy of the VIF that it leaves by, where that has one.
    pub class: Option<usize>,
    /// The frame as it would leave, and the port.
    pub sent: Option<(PortId, Vec<u8>)>,
}

/// A worker's place without a worker.
#[derive(Debug)]
pub struct Explainer {
    pool: Pool,
    burst: Burst,
    budgets: Budgets,
    entrances: Entrances,
    copies: Copies,
    counters: WorkerCounters,
    now_ns: u64,
}

impl Explainer {
    /// For so many ports and VIFs.
    ///
    /// # Errors
    /// The system's, where there is no memory.
    pub fn new(ports: usize, vifs: usize) -> io::Result<Explainer> {
        Ok(Explainer {
            pool: Pool::new(LONGEST.div_ceil(FrameSize::Large.capacity()), FrameSize::Large)?,
            burst: Burst::default(),
            budgets: Budgets::new(vifs),
            entrances: Entrances::default(),
            copies: Copies::default(),
            // The path counts by port; what it counts by VIF, a worker does. This is no worker's, so that the hits of
            // access lists, which workers share, do not count it.
            counters: WorkerCounters::new(ports, 0).numbered(usize::MAX),
            now_ns: 0,
        })
    }

    /// What becomes of a frame that enters by a port, each budget of the slow path being full. `None` where there is
    /// no such port, or the frame is longer than [`LONGEST`].
    pub fn explain(
        &mut self,
        tables: &Snapshot,
        fib: &FibReader,
        port: PortId,
        frame: &[u8],
    ) -> Option<Explanation> {
        tables.ports.get(port.index())?;
        let frame = self.pool.take_with(frame)?;
        self.burst.frames.push(frame);
        self.now_ns += PAUSE_NS;
        let mut context = Context {
            tables,
            fib,
            counters: &self.counters,
            pool: &mut self.pool,
            budgets: &mut self.budgets,
            entrances: &mut self.entrances,
            copies: &mut self.copies,
            port,
            now: self.now_ns,
        };
        let mut notes = Notes::default();
        path::run_watched(&mut self.burst, &mut context, &mut notes);
        let burst = &mut self.burst;
        let frame = burst.frames.pop()?;
        let frame = frame.with_packet(burst.to_at[LANE], burst.to_octets[LANE]);
        let verdict = settled(burst).unwrap_or(Verdict::Forward);
        let sent = (verdict == Verdict::Forward).then(|| {
            let port = Facts::port(burst.to_rules[LANE]);
            (port, self.pool.area().whole(&frame).to_vec())
        });
        self.pool.give(frame);
        let Notes { steps, destination, source, adjacency, crossed, flow, class } = notes;
        let vif = burst.vif(LANE);
        let l3 = burst.l3[LANE] as usize;
        Some(Explanation {
            vif,
            l3,
            verdict,
            steps,
            destination,
            source,
            adjacency,
            crossed,
            flow,
            class,
            sent,
        })
    }
}

/// Whether frames of a VIF come and go in tunnels.
fn is_in_tunnel(tables: &Snapshot, id: VifId) -> bool {
    tables.vif(id).is_some_and(|vif| vif.tunnel().is_some())
}

/// The verdict, once there is one.
fn settled(burst: &Burst) -> Option<Verdict> {
    (!burst.live.has(LANE)).then_some(burst.verdicts[LANE])
}

/// What was seen between the stages.
#[derive(Debug, Default)]
struct Notes {
    steps: Vec<Step>,
    destination: Option<Lookup>,
    source: Option<Lookup>,
    adjacency: Option<AdjacencyId>,
    crossed: Option<(ExchangeId, Lookup)>,
    flow: Option<u32>,
    class: Option<usize>,
}

impl Notes {
    fn step(&mut self, stage: &'static str, verdict: Option<Verdict>) {
        self.steps.push(Step { stage, verdict });
    }

    /// What the last stage said.
    fn verdict(&self) -> Option<Verdict> {
        self.steps.last().and_then(|step| step.verdict)
    }

    /// What the lookups gave.
    fn lookups(&mut self, burst: &Burst, c: &Context<'_>) {
        let (to, from): (IpAddr, IpAddr) = if burst.v4.has(LANE) {
            let addresses = &burst.v4_addresses;
            let [to, from] = [addresses.destination[LANE], addresses.source[LANE]];
            (Ipv4Addr::from_bits(to).into(), Ipv4Addr::from_bits(from).into())
        } else {
            let addresses = &burst.v6_addresses;
            let [to, from] = [addresses.destination[LANE], addresses.source[LANE]];
            (Ipv6Addr::from_bits(to).into(), Ipv6Addr::from_bits(from).into())
        };
        let Some(vif) = burst.vif(LANE).and_then(|id| c.tables.vif(id)) else { return };
        let lookup = |address, group| Lookup { vrf: vif.vrf, address, group: GroupId(group) };
        let destination = lookup(to, burst.to_group[LANE]);
        let is_checked = burst.rules[LANE] & Ingress::CHECKED != 0;
        self.destination = Some(destination);
        self.source = is_checked.then(|| lookup(from, burst.back_group[LANE]));
        self.adjacency = Some(AdjacencyId(burst.adjacency[LANE]));
        self.flow = flow_to(burst, c, destination.group);
    }

    /// What the lookup behind a permit gave.
    fn crossing(&mut self, burst: &Burst, c: &Context<'_>) {
        let (Some(id), Some(Lookup { address, .. })) = (burst.permit(LANE), self.destination)
        else {
            return;
        };
        let Some(vrf) = c.tables.exchange(id).map(|exchange| exchange.exporter) else { return };
        let group = GroupId(c.fib.lookup(vrf.0.into(), address));
        self.crossed = Some((id, Lookup { vrf, address, group }));
        self.adjacency = Some(AdjacencyId(burst.adjacency[LANE]));
        self.flow = flow_to(burst, c, group);
    }
}

/// The number of the frame's flow, where it chooses among several members of a group.
fn flow_to(burst: &Burst, c: &Context<'_>, group: GroupId) -> Option<u32> {
    let several = c.tables.groups.way(group).only().is_none();
    several.then(|| flow(&c.tables.flow_keys, burst.l3(c.pool.area(), LANE).octets))
}

/// Whether something limits the frame as it is received, or as it is sent.
fn polices(
    burst: &Burst,
    c: &Context<'_>,
    direction: Direction,
    limits: impl Fn(VifId, Direction) -> bool,
) -> bool {
    match direction {
        Direction::Rx => burst.vif(LANE).is_some_and(|id| limits(id, direction)),
        Direction::Tx => {
            limits(c.tables.adjacency(AdjacencyId(burst.adjacency[LANE])).vif, direction)
        }
    }
}

impl Watch for &mut Notes {
    fn after(&mut self, stage: &'static str, burst: &Burst, c: &Context<'_>) {
        let verdict = settled(burst);
        if stage == "qos" && self.verdict().is_none() {
            self.class = Some(burst.class[LANE] as usize);
        }
        if verdict != self.verdict() {
            return self.step(stage, verdict);
        }
        // A stage of the other family, or one for punts, had nothing to look at; `acl` only does the work of two stages below,
        // `copy` changes nothing, and `exchanged` counts.
        let has_meter = |id, way| c.tables.meters.plan(id, way).is_some();
        let limits_addresses =
            |id: VifId, way| !c.tables.address_limits.of(id.index(), way).is_empty();
        let looked = match stage {
            "ipv4" => burst.v4.has(LANE),
            "ipv6" => burst.v6.has(LANE),
            "acl" | "copy" | "exchanged" | "routing" | "police" => false,
            "decapsulate" => burst.vif(LANE).is_some_and(|id| is_in_tunnel(c.tables, id)),
            "encapsulate" => {
                let to = c.tables.adjacency(AdjacencyId(burst.adjacency[LANE]));
                verdict.is_none() && is_in_tunnel(c.tables, to.vif)
            }
            "translate_in" => burst.rules[LANE] & Ingress::TRANSLATED != 0,
            "translate_out" => burst.to_rules[LANE] & Facts::TRANSLATED != 0,
            "exchange" => burst.exchanged.has(LANE),
            "meter_in" => polices(burst, c, Direction::Rx, has_meter),
            "meter_out" => polices(burst, c, Direction::Tx, has_meter),
            "address" => {
                Direction::BOTH.iter().any(|way| polices(burst, c, *way, limits_addresses))
            }
            "qos" => {
                let to = place_vif(burst.to_place[LANE]);
                c.tables.qos.as_ref().is_some_and(|qos| qos.of(to).is_some())
            }
            _ => true,
        };
        if verdict.is_none() && looked {
            self.step(stage, None);
            match stage {
                "group" => self.lookups(burst, c),
                "exchange" => self.crossing(burst, c),
                _ => {}
            }
        }
    }

    fn before_filtered(&mut self, stages: &[Filtered], burst: &Burst, c: &Context<'_>) {
        for stage in stages {
            if self.verdict().is_some() {
                return;
            }
            let concerned = (stage.concerns)(burst, LANE) != 0;
            let said = if concerned { (stage.verdict)(burst, c, LANE) } else { Ok(()) };
            self.step(stage.name, said.err());
        }
    }
}
