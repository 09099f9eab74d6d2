//! Two ports, three VRFs and the slow path between them.
//!
//! ```text
//! vpc-a   A  cust0 vlan 100         169.254.100.1/30 10.0.0.1/24 fd00:100::1/64   -> CORE
//!         CORE core0 vlan 200       10.255.0.1/24 fd00:255::1/64, MTU 1400
//! vpc-b   B  cust0 vlan 300.7       as A: tenants overlap
//! public  P, Q customers' VIFs; X on the core
//! ```

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use etherparse::{
    ArpPacketSlice, EtherType, Ipv4HeaderSlice, Ipv6HeaderSlice, SlicedPacket, TransportSlice,
};
use ipnet::IpNet;
use station::slowpath::{
    Left, NeighborEvent, NeighborRow, Output, Probe, Punted, SlowPath, Told, Unsent, View,
};
use station::tables::counters::SlowCounters;
use station::tables::{
    Adjacency, AdjacencyId, AdjacencyKind, AdjacencyTable, Choice, GroupId, GroupTable, Member,
    Pcp, Port, PortId, PortRole, PuntReason, Role, SlowOutcome, Snapshot, SourceCheck, Tags,
    TapEvent, Vif, VifId, VifKind, Vrf, VrfId, VrfKind,
};
use station::wire::ethernet::Mac;

pub const A: VifId = VifId(0);
pub const CORE: VifId = VifId(1);
pub const B: VifId = VifId(2);
pub const P: VifId = VifId(3);
pub const Q: VifId = VifId(4);
pub const X: VifId = VifId(5);
pub const VPC_A: VrfId = VrfId(0);
pub const VPC_B: VrfId = VrfId(1);
pub const PUBLIC: VrfId = VrfId(2);
/// The neighbor that frames come from.
pub const PEER: Mac = Mac([2, 0, 0, 0, 9, 1]);
/// A neighbor that the tables know.
pub const KNOWN: Mac = Mac([2, 0, 0, 0, 9, 9]);
pub const SECOND: u64 = 1_000_000_000;
const VIFS: usize = 6;

pub struct World {
    pub snapshot: Snapshot,
    pub routes: Vec<(VrfId, IpNet, GroupId)>,
    pub slow: SlowPath,
    pub counters: Arc<SlowCounters>,
    pub now: u64,
    groups: GroupTable,
    adjacencies: Vec<Adjacency>,
}

/// A frame that the slow path sent, without its Ethernet header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub vif: VifId,
    pub to: Mac,
    pub ethertype: u16,
    pub priority: u8,
    pub l3: Vec<u8>,
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub fn port_mac(port: PortId) -> Mac {
    Mac([2, 0, 0, 0, 1, port.0])
}

fn vif(name: &str, port: u8, tags: (u16, Option<u16>), vrf: VrfId, addresses: &[&str]) -> Vif {
    let customer = port == 0;
    Vif {
        name: name.into(),
        up: true,
        kind: customer.then_some(if vrf == PUBLIC { VifKind::Public } else { VifKind::Private }),
        port: PortId(port),
        tags: Tags { outer: tags.0, inner: tags.1, service: tags.1.is_some() },
        vrf,
        mtu: if customer { 1500 } else { 1400 },
        source_check: SourceCheck::Off,
        acl_in: None,
        acl_out: None,
        flow_log: 0,
        twamp_reflector: false,
        translations: None,
        pcp: Pcp::Preserve,
        overlay: Default::default(),
        joins_stations: false,
        metered: [false; 2],
        limited: [false; 2],
        top_talkers: false,
        addresses: addresses.iter().map(|net| net.parse().unwrap()).collect(),
        peers: [].into(),
    }
}

impl World {
    pub fn new() -> World {
        let tenant = ["169.254.100.1/30", "10.0.0.1/24", "fd00:100::1/64", "fe80::1/64"];
        let vifs = [
            vif("a", 0, (100, None), VPC_A, &tenant),
            vif("core", 1, (200, None), VPC_A, &["10.255.0.1/24", "fd00:255::1/64", "fe80::2/64"]),
            vif("b", 0, (300, Some(7)), VPC_B, &tenant),
            vif("p", 0, (400, None), PUBLIC, &["192.0.2.1/30", "fe80::1/64"]),
            vif("q", 0, (401, None), PUBLIC, &["192.0.2.5/30", "2001:db8:5::1/64", "fe80::1/64"]),
            vif("x", 1, (402, None), PUBLIC, &["192.0.2.9/30", "fe80::2/64"]),
        ];
        let vrf = |name: &str, kind| Some(Vrf { name: name.into(), kind, reserved: [].into() });
        let port = |n, role| Arc::new(Port::new("port".into(), port_mac(PortId(n)), role));
        let counters = Arc::new(SlowCounters::new(1, VIFS));
        let mut world = World {
            snapshot: Snapshot {
                ports: [port(0, PortRole::Customer), port(1, PortRole::Core)].into(),
                vifs: vifs.map(Some).into(),
                vrfs: [
                    vrf("vpc-a", VrfKind::Vpc),
                    vrf("vpc-b", VrfKind::Vpc),
                    vrf("public", VrfKind::Public),
                ]
                .into(),
                ..Snapshot::default()
            },
            routes: Vec::new(),
            slow: SlowPath::new(counters.clone()),
            counters,
            now: 1_000 * SECOND,
            groups: GroupTable::default(),
            adjacencies: vec![Adjacency::special(AdjacencyKind::NoRoute, VrfId(0))],
        };
        for id in [A, CORE, B, P, Q, X] {
            let vif = world.vif(id);
            for net in vif.addresses.iter().filter(|net| !net.to_string().starts_with("fe80")) {
                let local = IpNet::from(net.addr());
                world.route(id, &local.to_string(), AdjacencyKind::Local, net.addr());
                world.route(id, &net.trunc().to_string(), AdjacencyKind::Glean, net.addr());
            }
        }
        // The way to the cloud is known; so is the customer's router.
        world.via(CORE, "172.16.0.0/12", "10.255.0.2", Some(KNOWN));
        world.via(CORE, "2001:db8::/32", "fd00:255::2", Some(KNOWN));
        world.via(A, "10.0.0.9/32", "10.0.0.9", Some(PEER));
        world.via(A, "fd00:100::9/128", "fd00:100::9", Some(PEER));
        world.publish();
        world
    }

    pub fn vif(&self, id: VifId) -> Vif {
        self.snapshot.vif(id).unwrap().clone()
    }

    /// Changes a VIF.
    pub fn edit(&mut self, id: VifId, change: impl FnOnce(&mut Vif)) {
        let mut vifs = self.snapshot.vifs.to_vec();
        change(vifs[id.index()].as_mut().unwrap());
        self.snapshot.vifs = vifs.into();
    }

    pub fn adjacency(&mut self, adjacency: Adjacency) -> AdjacencyId {
        self.adjacencies.push(adjacency);
        AdjacencyId(u32::try_from(self.adjacencies.len() - 1).unwrap())
    }

    /// A route to an adjacency on a VIF; `publish` makes it seen.
    pub fn route(&mut self, id: VifId, prefix: &str, kind: AdjacencyKind, address: IpAddr) {
        let vif = self.vif(id);
        let adjacency = self.adjacency(Adjacency::on_vif(kind, id, &vif, address));
        self.point(vif.vrf, prefix, adjacency);
    }

    /// A route to a next hop.
    pub fn via(
        &mut self,
        id: VifId,
        prefix: &str,
        next_hop: &str,
        mac: Option<Mac>,
    ) -> AdjacencyId {
        let (vif, next_hop) = (self.vif(id), ip(next_hop));
        let adjacency = self.adjacency(match mac {
            Some(mac) => Adjacency::forward(id, &vif, next_hop, mac, port_mac(vif.port)),
            None => Adjacency::on_vif(AdjacencyKind::Unresolved, id, &vif, next_hop),
        });
        self.point(vif.vrf, prefix, adjacency);
        let mut neighbors = HashMap::clone(&self.snapshot.neighbors);
        neighbors.insert((id, next_hop), adjacency);
        self.snapshot.neighbors = neighbors.into();
        adjacency
    }

    fn group(&mut self, members: &[(AdjacencyId, u16)]) -> GroupId {
        let id = GroupId(u32::try_from(self.groups.len()).unwrap());
        let up =
            |&(adjacency, weight)| Member { adjacency, weight, role: Role::Primary, usable: true };
        self.groups.set(id, &members.iter().map(up).collect::<Vec<_>>());
        id
    }

    pub fn point(&mut self, vrf: VrfId, prefix: &str, adjacency: AdjacencyId) {
        let group = self.group(&[(adjacency, 1)]);
        self.routes.insert(0, (vrf, prefix.parse().unwrap(), group));
    }

    /// 10.88.0.0/16 by two VIFs of a VRF in equal parts; their adjacencies.
    pub fn point_at_two(&mut self, one: VifId, two: VifId) -> [AdjacencyId; 2] {
        let members =
            [(one, "10.0.0.9", PEER), (two, "10.255.0.2", KNOWN)].map(|(id, hop, mac)| {
                let vif = self.vif(id);
                let source = port_mac(vif.port);
                (self.adjacency(Adjacency::forward(id, &vif, ip(hop), mac, source)), 1)
            });
        let group = self.group(&members);
        self.routes.insert(0, (self.vif(one).vrf, "10.88.0.0/16".parse().unwrap(), group));
        self.publish();
        members.map(|(adjacency, _)| adjacency)
    }

    pub fn set(&mut self, id: AdjacencyId, change: impl FnOnce(&mut Adjacency)) {
        change(&mut self.adjacencies[id.index()]);
    }

    pub fn publish(&mut self) {
        self.snapshot.generation += 1;
        self.snapshot.groups = Arc::new(self.groups.clone());
        self.snapshot.adjacencies = Arc::new(AdjacencyTable::new(self.adjacencies.clone()));
    }

    fn call<R>(
        &mut self,
        f: impl FnOnce(&mut SlowPath, &View<'_>, &mut Vec<Output>) -> R,
    ) -> Done<R> {
        let fib = |vrf: VrfId, address: IpAddr| {
            self.routes
                .iter()
                .filter(|(of, prefix, _)| *of == vrf && prefix.contains(&address))
                .max_by_key(|(_, prefix, _)| prefix.prefix_len())
                .map_or(GroupId(0), |&(_, _, group)| group)
        };
        let view = View { now_ns: self.now, snapshot: &self.snapshot, fib: &fib };
        let mut out = Vec::new();
        let result = f(&mut self.slow, &view, &mut out);
        let mut done = Done { result, sent: Vec::new(), events: Vec::new(), to_kernel: Vec::new() };
        for output in out {
            match output {
                Output::Transmit { vif, port, frame, .. } => {
                    done.sent.push(check(&self.snapshot, vif, port, &frame));
                }
                Output::ToKernel { vif, frame } => done.to_kernel.push((vif, frame)),
                Output::Tell(Told::Neighbor(event)) => done.events.push(event),
                Output::Tell(Told::TooBig(_)) => unreachable!("there is no underlay"),
            }
        }
        done
    }

    /// Punts a packet that came in by a VIF from [`PEER`].
    pub fn punt(&mut self, vif: VifId, reason: PuntReason, l3: &[u8]) -> Done<SlowOutcome> {
        self.punt_from(vif, reason, PEER, l3)
    }

    /// Punts a frame from another MAC than [`PEER`].
    pub fn punt_from(
        &mut self,
        vif: VifId,
        reason: PuntReason,
        sender: Mac,
        l3: &[u8],
    ) -> Done<SlowOutcome> {
        let (frame, at) = frame(&self.vif(vif), sender, l3);
        self.punt_frame(vif, reason, &frame, at)
    }

    /// Punts what came from [`PEER`], with what the fast path chose.
    pub fn punt_chosen(
        &mut self,
        vif: VifId,
        reason: PuntReason,
        l3: &[u8],
        choice: Option<Choice>,
    ) -> Done<SlowOutcome> {
        let (frame, l3) = frame(&self.vif(vif), PEER, l3);
        let port = self.vif(vif).port;
        self.hand_in(&Punted { port, vif, reason, l3, choice, frame: &frame })
    }

    pub fn punt_frame(
        &mut self,
        vif: VifId,
        reason: PuntReason,
        frame: &[u8],
        l3: usize,
    ) -> Done<SlowOutcome> {
        let port = self.snapshot.vif(vif).map_or(PortId(0), |vif| vif.port);
        self.hand_in(&Punted { port, vif, reason, l3, choice: None, frame })
    }

    fn hand_in(&mut self, punted: &Punted<'_>) -> Done<SlowOutcome> {
        let vif = punted.vif;
        let before = self.counted();
        let done = self.call(|slow, view, out| slow.punted(view, punted, out));
        let mut expected = before;
        expected[vif.index()][done.result.index()] += 1;
        assert_eq!(self.counted(), expected, "exactly one outcome, that of the VIF");
        let vrf = self.snapshot.vif(vif).map(|vif| vif.vrf);
        for sent in &done.sent {
            assert_eq!(self.snapshot.vif(sent.vif).map(|vif| vif.vrf), vrf, "left its VRF");
        }
        done
    }

    /// What the kernel sent by a VIF's TAP: it leaves by that VIF, if at all.
    pub fn kernel(&mut self, vif: VifId, frame: &[u8]) -> Done<TapEvent> {
        let count = |world: &World| {
            let of = |vif| TapEvent::ALL.iter().map(move |&event| (vif, event));
            let all = (0..VIFS as u16).flat_map(|vif| of(VifId(vif)));
            all.map(|(vif, event)| world.counters.tap(vif, event).get()).collect::<Vec<_>>()
        };
        let mut expected = count(self);
        let punts = self.counted();
        let done = self.call(|slow, view, out| slow.sent_by_kernel(view, vif, frame, out));
        expected[vif.index() * TapEvent::COUNT + done.result.index()] += 1;
        assert_eq!((count(self), self.counted()), (expected, punts), "exactly one event");
        assert_eq!(done.to_kernel, []);
        done
    }

    /// Has the station send an echo request: nothing leaves the VRF.
    pub fn probe(&mut self, probe: &Probe) -> Done<Result<Left, Unsent>> {
        let done = self.call(|slow, view, out| slow.probe(view, probe, out));
        let vrf = self.snapshot.vif(probe.vif).map(|vif| vif.vrf);
        for sent in &done.sent {
            assert_eq!(self.snapshot.vif(sent.vif).map(|vif| vif.vrf), vrf, "left its VRF");
        }
        done
    }

    pub fn tick(&mut self) -> Done<()> {
        self.call(|slow, view, out| slow.tick(view, out))
    }

    /// Lets time pass in steps of 10 ms, as the daemon's ticks do.
    pub fn pass(&mut self, seconds: f64) -> Done<()> {
        let end = self.now + (seconds * 1e9) as u64;
        let mut all =
            Done { result: (), sent: Vec::new(), events: Vec::new(), to_kernel: Vec::new() };
        while self.now < end {
            self.now = end.min(self.now + SECOND / 100);
            let Done { sent, events, .. } = self.tick();
            all.sent.extend(sent);
            all.events.extend(events);
        }
        all
    }

    pub fn rows(&self) -> Vec<NeighborRow> {
        self.slow.neighbors(self.now).collect()
    }

    fn counted(&self) -> Vec<Vec<u64>> {
        let count = |vif| {
            let of = |&outcome: &SlowOutcome| self.counters.outcome(VifId(vif), outcome).get();
            SlowOutcome::ALL.iter().map(of).collect()
        };
        (0..VIFS as u16).map(count).collect()
    }
}

/// What one call did.
#[derive(Debug)]
pub struct Done<R> {
    pub result: R,
    pub sent: Vec<Sent>,
    pub events: Vec<NeighborEvent>,
    /// Frames for the kernel, and the VIF whose TAP they go to.
    pub to_kernel: Vec<(VifId, Vec<u8>)>,
}

impl Done<SlowOutcome> {
    /// The outcome, and that nothing was sent.
    pub fn silent(self) -> SlowOutcome {
        assert_eq!(self.sent, [], "{:?}", self.result);
        self.result
    }

    /// The one frame that was sent.
    pub fn one(self, outcome: SlowOutcome) -> Sent {
        assert_eq!(self.result, outcome, "{:?}", self.sent);
        assert_eq!(self.sent.len(), 1, "{:?}", self.sent);
        self.sent.into_iter().next().unwrap()
    }
}

/// A frame as it comes in by a VIF (priority 5) and the offset of `l3` in it.
pub fn frame(vif: &Vif, sender: Mac, l3: &[u8]) -> (Vec<u8>, usize) {
    let mut frame = [port_mac(vif.port).0, sender.0].concat();
    for (tpid, vid) in vif.tags.iter() {
        frame.extend(tpid.to_be_bytes());
        frame.extend((vid | 5 << 13).to_be_bytes());
    }
    frame.extend(match l3.first().map(|first| first >> 4) {
        Some(4) => [0x08, 0x00],
        Some(6) => [0x86, 0xdd],
        _ => [0x08, 0x06],
    });
    let at = frame.len();
    frame.extend(l3);
    (frame, at)
}

/// A packet or ARP without what pads it to 46 octets (IEEE 802.3 3.2.8): zeros, no more than are needed.
fn without_padding(payload: &[u8]) -> &[u8] {
    let word = |at: usize| usize::from(payload[at]) << 8 | usize::from(payload[at + 1]);
    let length = match payload[0] >> 4 {
        4 => word(2),
        6 => 40 + word(4),
        _ => 28,
    };
    let (packet, padding) = payload.split_at(length);
    assert_eq!(padding, vec![0; 46usize.saturating_sub(length)], "{payload:02x?}");
    packet
}

/// Checks everything that must be true of any frame that is sent.
fn check(snapshot: &Snapshot, id: VifId, port: PortId, frame: &[u8]) -> Sent {
    let vif = snapshot.vif(id).expect("sent by a VIF that exists");
    assert!(vif.up && snapshot.ports[port.index()].up, "sent by a VIF that is up");
    assert_eq!(port, vif.port);
    assert_eq!(frame[6..12], port_mac(port).0, "from the port's MAC");
    let mut at = 12;
    for (tpid, vid) in vif.tags.iter() {
        assert_eq!(frame[at..at + 2], tpid.to_be_bytes());
        assert_eq!((u16::from(frame[at + 2] & 0xf) << 8) | u16::from(frame[at + 3]), vid);
        at += 4;
    }
    let ethertype = EtherType(u16::from_be_bytes([frame[at], frame[at + 1]]));
    at += 2;
    let l3 = without_padding(&frame[at..]);
    let (source, hops): (IpAddr, u8) = match ethertype {
        EtherType::IPV4 => {
            let header = Ipv4HeaderSlice::from_slice(l3).unwrap();
            assert_eq!(header.header_checksum(), header.to_header().calc_header_checksum());
            assert_eq!(usize::from(header.total_len()), l3.len(), "no trailer");
            (header.source_addr().into(), header.ttl())
        }
        EtherType::IPV6 => {
            let header = Ipv6HeaderSlice::from_slice(l3).unwrap();
            assert_eq!(usize::from(header.payload_length()) + 40, l3.len(), "no trailer");
            (header.source_addr().into(), header.hop_limit())
        }
        _ => {
            assert_eq!(ethertype, EtherType::ARP);
            assert_eq!(l3.len(), ArpPacketSlice::from_slice(l3).unwrap().slice().len());
            (IpAddr::from([0; 4]), 0)
        }
    };
    // What the router itself says must be right all through; what it forwards (and damaged packets
    // with a forged source are among that) need not be, and what the kernel says to peers neither.
    let ours = snapshot.vifs.iter().flatten().flat_map(|vif| vif.addresses.iter());
    let of_kernel =
        !vif.peers.is_empty() && matches!(if source.is_ipv4() { l3[9] } else { l3[6] }, 6 | 17);
    if !of_kernel && matches!(hops, 64 | 255) && ours.into_iter().any(|net| net.addr() == source) {
        let packet = SlicedPacket::from_ip(l3).expect("a sound packet");
        match (packet.transport, source) {
            (Some(TransportSlice::Icmpv4(icmp)), IpAddr::V4(_)) => {
                assert_eq!(icmp.checksum(), icmp.icmp_type().calc_checksum(icmp.payload()));
            }
            (Some(TransportSlice::Icmpv6(icmp)), IpAddr::V6(source)) => {
                let header = Ipv6HeaderSlice::from_slice(l3).unwrap();
                assert!(icmp.is_checksum_valid(source.octets(), header.destination()));
            }
            // What probes ask and say, and what is reflected.
            (Some(TransportSlice::Tcp(_) | TransportSlice::Udp(_)), source) => {
                let v4 = source.is_ipv4();
                let (protocol, upper) = if v4 { (l3[9], &l3[20..]) } else { (l3[6], &l3[40..]) };
                let addresses = if v4 { &l3[12..20] } else { &l3[8..40] };
                assert_eq!(crate::packets::sum(addresses, protocol, upper), 0xffff);
            }
            // A fragment of a long echo reply.
            (None, IpAddr::V4(_)) => assert_ne!(l3[6..8], [0, 0]),
            other => panic!("the router sends nothing of this kind: {other:?}"),
        }
    }
    assert!(frame.len() - at <= usize::from(vif.mtu), "longer than the MTU");
    Sent {
        vif: id,
        to: Mac(frame[..6].try_into().unwrap()),
        ethertype: ethertype.0,
        priority: frame[14] >> 5,
        l3: l3.to_vec(),
    }
}
