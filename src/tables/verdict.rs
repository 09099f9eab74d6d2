//! What can become of a frame. One drop = one variant = one counter = one test; the names are the
//! operator's (counters, `stationctl`, capture comments), and so are the texts.

macro_rules! reasons {
    ($(#[$doc:meta])* $enum:ident { $($variant:ident = $name:literal, $help:literal;)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $enum { $(#[doc = $help] $variant,)+ }

        impl $enum {
            /// Every reason, in counter order.
            pub const ALL: &'static [$enum] = &[$($enum::$variant,)+];
            /// How many reasons there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The name of the counter.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What happened and what to do about it, for an operator.
            pub const fn help(self) -> &'static str {
                match self { $(Self::$variant => $help,)+ }
            }

            /// The reason's place in an array of counters.
            #[inline(always)]
            pub const fn index(self) -> usize {
                self as usize
            }
        }
    };
}

reasons! {
    /// Why a frame was dropped on the fast path. Reasons up to `UnknownVlan` are counted per port
    /// (no VIF is known yet), the others per VIF.
    DropReason {
        Runt = "runt", "Shorter than an Ethernet header (14 octets): a broken sender or cable.";
        TruncatedTag = "truncated_tag", "Ends inside a VLAN tag: a broken or hostile sender.";
        SourceMacMulticast = "source_mac_multicast", "The source MAC is a group address: a broken or hostile sender.";
        MacLoop = "mac_loop", "Source and destination MAC are equal: a loop or a hostile sender.";
        ReservedMac = "reserved_mac", "Sent to 01:80:c2:00:00:0x (bridge control). List the protocol in the port's `to_kernel` if it is wanted.";
        NotOurMac = "not_our_mac", "Unicast to a MAC that is not the port's: the customer's switch floods, or its ARP entry is stale.";
        Untagged = "untagged", "No 802.1Q tag on a port that has only tagged VIFs: the customer must tag its frames.";
        PriorityTag = "priority_tag", "VLAN id 0 (priority tag) where a VIF's VLAN id belongs: the customer must use that.";
        ReservedVlan = "reserved_vlan", "VLAN id 4095, which 802.1Q reserves.";
        UnexpectedServiceTag = "unexpected_service_tag", "An 802.1ad (0x88a8) outer tag where no VIF expects one.";
        UnexpectedInnerTag = "unexpected_inner_tag", "A second tag on a VLAN whose VIF has one tag: possible VLAN hopping.";
        TooManyTags = "too_many_tags", "Three or more VLAN tags.";
        UnknownVlan = "unknown_vlan", "No VIF on this port has this VLAN id: a typo here or at the customer.";

        LoopedBack = "looped_back", "The station's own frame came back (the source MAC is the port's): the circuit or the customer's switch loops.";
        VifDown = "vif_down", "The VIF is administratively down.";
        UnknownEthertype = "unknown_ethertype", "Neither IPv4, IPv6 nor ARP (for example PPPoE or MPLS).";
        BadTunnel = "bad_tunnel", "Sent to a VTEP of the station's, and no sound VXLAN (RFC 7348): a header cut short, lengths that do not fit, no VNI, a fragment, or marked for congestion around a packet that cannot be (RFC 6040).";
        UnknownVni = "unknown_vni", "VXLAN of a VNI that no VIF of the VTEP has: a typo here or at the sender.";
        UnknownVtep = "unknown_vtep", "SECURITY: VXLAN from an address that is none of the VIF's remote VTEPs: somebody in the underlay pretends to be one, or a VTEP is missing here.";
        NotRouterMac = "not_router_mac", "The inner frame is not for the VTEP's MAC: the sender bridges instead of routing, or knows another MAC.";
        InnerEthertype = "inner_ethertype", "The inner frame is neither IPv4 nor IPv6, or is tagged: tunnels carry routed packets, and no ARP.";
        UnicastInGroupMac = "unicast_in_group_mac", "A unicast IP packet in a broadcast or multicast frame (RFC 1122 3.3.6).";
        FrameTooLong = "frame_too_long", "The IP packet is longer than the VIF's MTU: the customer's MTU is larger than the VIF's.";
        BadVersion = "bad_version", "The IP version and the ethertype differ.";
        BadHeaderLength = "bad_header_length", "The IP header is shorter than its minimum, or longer than the frame.";
        BadTotalLength = "bad_total_length", "The IP length field is less than the header or more than the frame.";
        BadChecksum = "bad_checksum", "The IPv4 header checksum is wrong: corruption, or checksum offload left on at the sender.";
        MartianSource = "martian_source", "A source address that no host may use (0/8, 127/8, multicast, ::, ::1, and of class E what the VRF does not name).";
        MartianDestination = "martian_destination", "A destination that must not leave a host (0/8, 127/8, ::, ::1, and of class E what the VRF does not name).";
        Multicast = "multicast", "An IP multicast or broadcast destination: the station forwards unicast only.";
        LinkLocalOffLink = "link_local_off_link", "A 169.254 address beyond the subnets configured in the VRF, in a packet that would have to be forwarded (RFC 3927).";
        Land = "land", "Source and destination address are equal.";
        TinyFragment = "tiny_fragment", "A fragment at offset 1 that could overwrite a TCP header (RFC 1858).";
        SourceRoute = "source_route", "An IPv4 source-route option.";
        Jumbogram = "jumbogram", "An IPv6 jumbogram (payload length 0 with a jumbo option).";
        Untranslatable = "untranslatable", "A VIF translates its address, and cannot: a fragment or packet that ends before the checksum over it, or an IPv6 address whose subnet or interface identifier is all ones (RFC 6296).";
        SpoofedSource = "spoofed_source", "No route leads back to this source through this VIF (RFC 8704): spoofing, or a missing route to the customer.";
        ForeignSource = "foreign_source", "SECURITY: the source address belongs to another customer VIF of the same VRF.";
        ExchangeSource = "exchange_source", "The route leads by an exchange into another VRF, and that VRF routes the source elsewhere than back: spoofing, addresses that both VRFs use, or the exchange in the other direction lacks this prefix.";
        AclDeniedIn = "acl_denied_in", "The access list of the VIF by which it came (`acl_in`) denies it: `stationctl show acl`.";
        AclDeniedOut = "acl_denied_out", "The access list of the VIF by which it would leave (`acl_out`) denies it: `stationctl show acl`.";
        PeerIsolation = "peer_isolation", "One customer's VIF tried to reach another's through a public VRF.";
        StationLoop = "station_loop", "It came from another station, and its route leads to one: stations pass nothing on. A route here leads to a station for what is behind another one, or back.";
        NotJoined = "not_joined", "It came from another station and would leave by a VIF that does not join stations, or the reverse: set `join_stations` of that VIF, or take the route away.";
        DirectedBroadcast = "directed_broadcast", "Sent to a subnet's broadcast address (RFC 2644).";
        Blackhole = "blackhole", "The best route is a blackhole.";
        EgressDown = "egress_down", "The route leads to a VIF or port that is down, or into a tunnel to a VTEP that the underlay does not reach.";
        VrfMismatch = "vrf_mismatch", "BUG: a route led out of its VRF; the isolation guard stopped the frame. Report it.";
        BandwidthExceeded = "bandwidth_exceeded", "More than the bandwidth of the VIF that it came by, its meter group or its port has: the sender sends more than was bought.";
        EgressBandwidthExceeded = "egress_bandwidth_exceeded", "More than the bandwidth of the VIF that it was to leave by, its meter group or its port has: what is sent to that customer is more than was bought.";
        AddressLimitExceeded = "address_limit_exceeded", "More than an address may have by a limit of the VIF that it came by (`address_limits_in`): `stationctl show address-limits NAME`.";
        EgressAddressLimitExceeded = "egress_address_limit_exceeded", "More than an address may have by a limit of the VIF that it was to leave by (`address_limits_out`): `stationctl show address-limits NAME`.";
        ClassBandwidthExceeded = "class_bandwidth_exceeded", "More than the bandwidth that the packet's class has in the policy (`qos`) of the VIF that it was to leave by: `stationctl show qos`.";
        RoutingRate = "routing_rate", "More BGP or BFD from the VIF's peer than it is allowed.";
        NeighborRate = "neighbor_rate", "More ARP and neighbor discovery than this VIF is allowed.";
        PuntRate = "punt_rate", "More other frames for the slow path than this VIF is allowed.";
        PuntQueueFull = "punt_queue_full", "The slow path did not keep up.";
        TxFull = "tx_full", "The egress port's transmit ring was full: the link is slower than what is sent to it.";
        ClassQueueFull = "class_queue_full", "The egress port is slower than what is sent to it, and the queue of the frame's class, or of its VIF where that has no policy, was full: `stationctl show qos`.";
    }
}

impl DropReason {
    /// Whether the reason is counted per port because no VIF is known yet.
    pub const fn is_port_level(self) -> bool {
        (self as u8) <= (DropReason::UnknownVlan as u8)
    }
}

reasons! {
    /// Why a frame went to the slow path.
    PuntReason {
        Arp = "arp", "ARP.";
        NeighborDiscovery = "neighbor_discovery", "IPv6 neighbor discovery.";
        Bfd = "bfd", "BFD of the VIF's configured peer.";
        Bgp = "bgp", "BGP of the VIF's configured peer.";
        Local = "local", "For an address of the router itself.";
        NoRoute = "no_route", "No route to the destination, which may be missing here or not announced by its peer: answered by ICMP network unreachable.";
        Unreachable = "unreachable", "The best route is `unreachable`: answered by ICMP.";
        Prohibited = "prohibited", "The best route is `prohibit`: answered by ICMP administratively prohibited.";
        NextHopUnresolved = "next_hop_unresolved", "The next hop has no MAC yet: resolution runs, one frame waits.";
        AclRejected = "acl_rejected", "A `reject` rule of an access list matches: answered by ICMP administratively prohibited.";
        TtlExceeded = "ttl_exceeded", "TTL or hop limit ran out: answered by ICMP time exceeded.";
        TooBig = "too_big", "Longer than the egress MTU: answered by ICMP, or fragmented.";
        IpOptions = "ip_options", "IPv4 router alert, record route or timestamp options.";
        LinkLocal = "link_local", "IPv6 link-local source or destination that is not for the router.";
    }
}

/// The classes in which punts are policed, so that one kind of flood cannot starve another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PuntClass {
    /// BFD of a configured peer.
    Bfd,
    /// BGP of a configured peer.
    Bgp,
    /// ARP and neighbor discovery.
    Neighbor,
    /// For the router itself.
    Local,
    /// Frames that need an answer or software forwarding.
    Exception,
}

/// Which punts the slow path takes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// BFD: three packets lost or late end a session.
    Bfd,
    /// BGP.
    Bgp,
    /// ARP and neighbor discovery.
    Neighbor,
    /// All others.
    Rest,
}

impl Urgency {
    /// How many there are.
    pub const COUNT: usize = 4;
}

impl PuntClass {
    /// How many classes there are.
    pub const COUNT: usize = 5;

    /// When the slow path takes its frames.
    pub const fn urgency(self) -> Urgency {
        match self {
            PuntClass::Bfd => Urgency::Bfd,
            PuntClass::Bgp => Urgency::Bgp,
            PuntClass::Neighbor => Urgency::Neighbor,
            PuntClass::Local | PuntClass::Exception => Urgency::Rest,
        }
    }

    /// What a frame over the class's budget is counted as.
    pub const fn over_budget(self) -> DropReason {
        match self.urgency() {
            Urgency::Bfd | Urgency::Bgp => DropReason::RoutingRate,
            Urgency::Neighbor => DropReason::NeighborRate,
            Urgency::Rest => DropReason::PuntRate,
        }
    }
}

impl PuntReason {
    /// Whether the fast path had chosen an adjacency when it punted the frame, and that adjacency is where the frame goes.
    pub const fn has_egress(self) -> bool {
        use PuntReason::{IpOptions, NextHopUnresolved, TooBig};
        matches!(self, NextHopUnresolved | TooBig | IpOptions)
    }

    /// The policing class of this reason.
    pub const fn class(self) -> PuntClass {
        match self {
            PuntReason::Bfd => PuntClass::Bfd,
            PuntReason::Bgp => PuntClass::Bgp,
            PuntReason::Arp | PuntReason::NeighborDiscovery => PuntClass::Neighbor,
            PuntReason::Local | PuntReason::LinkLocal => PuntClass::Local,
            _ => PuntClass::Exception,
        }
    }
}

reasons! {
    /// What became of a punted frame, or of work the slow path started itself. Each punted frame
    /// that arrives counts exactly one outcome.
    SlowOutcome {
        Answered = "answered", "A reply or ICMP error was sent.";
        ToKernel = "to_kernel", "BGP or BFD of the VIF's configured peer, given to the kernel by the VIF's TAP.";
        Consumed = "consumed", "Taken in by the router (for example an ARP reply it had asked for).";
        Forwarded = "slow_forwarded", "Forwarded in software (options, fragmentation, first frame to a new neighbor).";
        Queued = "queued", "Waits for its next hop to be resolved.";
        BadArp = "bad_arp", "Malformed ARP (hardware or protocol length, operation, addresses).";
        ArpOffSubnet = "arp_off_subnet", "ARP from a sender outside the VIF's subnets that does not ask for the router.";
        Looped = "looped", "The router's own ARP or neighbor discovery came back behind another MAC: a loop in the circuit or at the customer's end.";
        AddressConflict = "address_conflict", "SECURITY: a neighbor claims the router's own address.";
        NeighborClaimed = "neighbor_claimed", "Another MAC announced a neighbor's address: the known one is asked, and keeps the address if it answers.";
        UnsolicitedReply = "unsolicited_reply", "A reply that nobody asked for, or one that contradicts a configured neighbor.";
        NotForUs = "not_for_us", "ARP or ND for an address that is not the router's.";
        BadNd = "bad_nd", "Malformed neighbor discovery (hop limit, checksum, length, option length 0).";
        RouterAdvertisement = "router_advertisement", "A router advertisement or redirect: never accepted from a customer.";
        BfdHops = "bfd_hops", "BFD that came over a router: its TTL is not 255 (RFC 5881).";
        BadIcmp = "bad_icmp", "Malformed ICMP, or a bad checksum.";
        NoService = "no_service", "For the router's address, but nothing here answers it.";
        ForgedTooBig = "forged_too_big", "SECURITY: An ICMP \"too big\" about a tunnel's packet that the station cannot have sent, or with an MTU that cannot be (less than 576 in IPv4 or 1280 in IPv6, or not less than the packet): somebody in the underlay wants packets to be short. It changed nothing.";
        TooBigRate = "too_big_rate", "An ICMP \"too big\" about a tunnel's packet, beyond the 20 a second that are believed: it changed nothing, and the next packet that is too long brings another.";
        IcmpNotAllowed = "icmp_not_allowed", "No ICMP error may answer this packet (RFC 1122 3.2.2, RFC 4443 2.4).";
        IcmpRate = "icmp_rate", "The VIF's rate limit for ICMP answers was reached.";
        NeighborLimit = "neighbor_limit", "The VIF, or the part of it that this ingress VIF may use, has too many unresolved or learned neighbors (RFC 6583).";
        NeighborQueueFull = "neighbor_queue_full", "Waits for its next hop in place of an older frame, which was dropped.";
        NeighborFailed = "neighbor_failed", "The next hop does not answer ARP/ND.";
        BadOptions = "bad_options", "Malformed IPv4 options.";
        PeerIsolation = "slow_peer_isolation", "One customer's VIF tried to reach another's through a public VRF by a packet that needed software.";
        AclDenied = "slow_acl_denied", "An access list denies it by the tables of now, which are not those by which it was punted.";
        Untranslatable = "slow_untranslatable", "The VIF that it was to leave by translates its destination, and cannot.";
        NoEgress = "no_egress", "The way out disappeared while the frame was in the slow path.";
    }
}

reasons! {
    /// What happened at a VIF's TAP. Each frame that the kernel sent counts exactly one of the first
    /// four.
    TapEvent {
        Sent = "sent", "From the kernel to the peer.";
        Queued = "queued", "From the kernel: waits for the peer's MAC, in place of an older one if there is one.";
        Unresolved = "unresolved", "From the kernel: the peer does not answer ARP/ND, or the VIF is down.";
        Refused = "refused", "From the kernel, and not BGP or BFD between the VIF's address and its configured peer (such as the kernel's own multicast).";
        Lost = "lost", "For the kernel, but the TAP was not there or did not take it.";
    }
}

/// What the fast path decided for one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Leaves by the lane's adjacency.
    Forward,
    /// Goes to the slow path.
    Punt(PuntReason),
    /// Is dropped and counted.
    Drop(DropReason),
}

impl Verdict {
    /// What happened and what to do about it, for an operator; empty for `forward`.
    pub const fn help(self) -> &'static str {
        match self {
            Verdict::Forward => "",
            Verdict::Punt(reason) => reason.help(),
            Verdict::Drop(reason) => reason.help(),
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Verdict::Forward => f.write_str("forward"),
            Verdict::Punt(reason) => write!(f, "punt({})", reason.name()),
            Verdict::Drop(reason) => write!(f, "drop({})", reason.name()),
        }
    }
}
