//! What the station should do with a frame, worked out a second time from the RFCs and the operator's
//! documentation: from the configuration by name, by linear search, without any of the station's
//! tables, stages or header code.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use station::config::model::{Config, RouteAction, VifConfig};
use station::tables::{Pcp, SourceCheck, VifKind, VrfKind};
use station::wire::ethernet::Mac;

use super::packets::{checksum, padded, routed};
use super::port_mac;

/// What becomes of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It leaves by one of these (port, frame): several where routes are shared by weight.
    Forward(Vec<(usize, Vec<u8>)>),
    Drop(&'static str),
    Punt(&'static str),
}

use Fate::{Drop, Forward, Punt};

/// Where a route leads.
#[derive(Clone, Debug)]
enum Target {
    Local,
    Broadcast,
    Connected(String),
    Via(Vec<(String, IpAddr)>),
    Action(RouteAction),
}

/// A configuration, and its routes as lists.
pub struct Oracle {
    config: Config,
    /// (VRF, prefix, target); of equal prefixes the first counts.
    routes: Vec<(String, IpNet, Target)>,
}

impl Oracle {
    pub fn new(config: &Config) -> Oracle {
        let mut routes = Vec::new();
        let up: Vec<&VifConfig> = config.vifs.iter().filter(|vif| vif.up).collect();
        for vif in &up {
            for net in &vif.addresses {
                routes.push((vif.vrf.to_string(), net.addr().into(), Target::Local));
            }
        }
        for vif in &up {
            for net in &vif.addresses {
                if net.addr().is_ipv4() && net.prefix_len() < 31 {
                    routes.push((vif.vrf.to_string(), net.broadcast().into(), Target::Broadcast));
                }
                // RFC 4291 2.6.1, RFC 6164 section 5: every router on a subnet has its first address too.
                if net.addr().is_ipv6() && net.prefix_len() < 127 {
                    routes.push((vif.vrf.to_string(), net.network().into(), Target::Local));
                }
                let target = Target::Connected(vif.name.to_string());
                routes.push((vif.vrf.to_string(), net.trunc(), target));
            }
        }
        for route in &config.routes {
            let target = match &route.action {
                RouteAction::Via(via) => {
                    Target::Via(via.iter().map(|hop| (hop.vif.to_string(), hop.address)).collect())
                }
                action => Target::Action(action.clone()),
            };
            routes.push((route.vrf.to_string(), route.prefix, target));
        }
        Oracle { config: config.clone(), routes }
    }

    fn vif(&self, name: &str) -> &VifConfig {
        self.config.vifs.iter().find(|vif| *vif.name == *name).unwrap()
    }

    /// Whether a private VRF names an address of 240/4, by a prefix within it.
    fn names(&self, vrf: &str, address: Ipv4Addr) -> bool {
        let private = self.config.vrfs.iter().any(|v| *v.name == *vrf && v.kind != VrfKind::Public);
        let routes = self.config.routes.iter().filter(|route| *route.vrf == *vrf);
        let vifs = self.config.vifs.iter().filter(|vif| *vif.vrf == *vrf);
        let imports =
            vifs.flat_map(|vif| vif.bgp.iter().flat_map(|bgp| bgp.import.iter().flatten()));
        let mut named = routes.map(|route| route.prefix).chain(imports.map(|allowed| allowed.net));
        let names = |net: IpNet| match net {
            IpNet::V4(net) => net.network().octets()[0] >= 240 && net.contains(&address),
            IpNet::V6(_) => false,
        };
        private && named.any(names)
    }

    fn route(&self, vrf: &str, address: IpAddr) -> Option<&Target> {
        let mut best: Option<(u8, &Target)> = None;
        for (of, prefix, target) in &self.routes {
            let longer = best.is_none_or(|(length, _)| prefix.prefix_len() > length);
            if of == vrf && prefix.contains(&address) && longer {
                best = Some((prefix.prefix_len(), target));
            }
        }
        best.map(|(_, target)| target)
    }

    /// The VIF that a frame belongs to, if it has one, and what becomes of it.
    pub fn fate(&self, port: usize, frame: &[u8]) -> (Option<String>, Fate) {
        match self.classify(port, frame) {
            Err(reason) => (None, Drop(reason)),
            Ok((vif, l3)) => (Some(vif.name.to_string()), self.network(vif, frame, l3)),
        }
    }

    /// IEEE 802.3, 802.1Q: the frame's VIF and the offset of its payload.
    fn classify(&self, port: usize, frame: &[u8]) -> Result<(&VifConfig, usize), &'static str> {
        let [a, b, c, d, e, f, from @ ..] = frame else { return Err("runt") };
        let to = [*a, *b, *c, *d, *e, *f];
        if frame.len() < 14 {
            return Err("runt");
        }
        if from[0] % 2 == 1 {
            return Err("source_mac_multicast");
        }
        if to == from[..6] {
            return Err("mac_loop");
        }
        let own = port_mac(port as u8).0;
        if own != from[..6] {
            if to[0] % 2 == 0 && own != to {
                return Err("not_our_mac");
            }
            if to[..5] == [1, 0x80, 0xc2, 0, 0] && to[5] < 16 {
                return Err("reserved_mac");
            }
        }
        let tag = |n: usize| {
            let tpid = frame.get(12 + 4 * n..14 + 4 * n)?;
            let service = match tpid {
                [0x81, 0] => false,
                [0x88, 0xa8] => true,
                _ => return None,
            };
            // A tag is complete with the type that follows it.
            let whole = frame.get(14 + 4 * n..18 + 4 * n);
            Some((service, whole.map(|w| u16::from_be_bytes([w[0] & 0xf, w[1]]))))
        };
        let vid = |id: Option<u16>| match id {
            None => Err("truncated_tag"),
            Some(0) => Err("priority_tag"),
            Some(4095) => Err("reserved_vlan"),
            Some(id) => Ok(id),
        };
        let (service, outer) = tag(0).ok_or("untagged")?;
        let outer = vid(outer)?;
        let here: Vec<&VifConfig> = self
            .config
            .vifs
            .iter()
            .filter(|vif| *vif.port == *self.config.ports[port].name && vif.tags.outer == outer)
            .collect();
        let Some(first) = here.first() else {
            return Err(if service { "unexpected_service_tag" } else { "unknown_vlan" });
        };
        if first.tags.service != service {
            return Err(if service { "unexpected_service_tag" } else { "unknown_vlan" });
        }
        if first.tags.inner.is_none() {
            return Ok((
                first,
                18 + priority_tag(tag(1), tag(2).is_some(), "unexpected_inner_tag")?,
            ));
        }
        let (service, inner) = tag(1).ok_or("unknown_vlan")?;
        if inner.is_none() {
            return Err("truncated_tag");
        }
        if service {
            return Err("unexpected_service_tag");
        }
        let inner = vid(inner)?;
        let found = here.into_iter().find(|vif| vif.tags.inner == Some(inner));
        let found = found.ok_or("unknown_vlan")?;
        Ok((found, 22 + priority_tag(tag(2), tag(3).is_some(), "too_many_tags")?))
    }

    fn network(&self, vif: &VifConfig, frame: &[u8], l3: usize) -> Fate {
        if frame[6..12] == port_mac(self.port(vif) as u8).0 {
            return Drop("looped_back");
        }
        if !vif.up {
            return Drop("vif_down");
        }
        let group = frame[0] % 2 == 1;
        // That of a priority tag, where one follows the VIF's tags; else the outer tag's.
        let tags = if vif.tags.inner.is_some() { 2 } else { 1 };
        let tci = if l3 == 14 + 4 * tags { 14 } else { l3 - 4 };
        let pcp = frame[tci] >> 4;
        match frame[l3 - 2..l3] {
            [8, 0] => self.ipv4(vif, group, pcp, &frame[l3..]),
            [0x86, 0xdd] => self.ipv6(vif, group, pcp, &frame[l3..]),
            [8, 6] => Punt("arp"),
            _ => Drop("unknown_ethertype"),
        }
    }

    /// RFC 791, RFC 1122 3.2.1.3, RFC 1812 5.2 and 5.3.
    fn ipv4(&self, vif: &VifConfig, group: bool, pcp: u8, bytes: &[u8]) -> Fate {
        let Some(first) = bytes.first() else { return Drop("bad_header_length") };
        if first / 16 != 4 {
            return Drop("bad_version");
        }
        let header = usize::from(first % 16) * 4;
        if header < 20 || bytes.len() < header {
            return Drop("bad_header_length");
        }
        let total = usize::from(bytes[2]) * 256 + usize::from(bytes[3]);
        if total < header || bytes.len() < total {
            return Drop("bad_total_length");
        }
        if checksum(&bytes[..header]) != 0 {
            return Drop("bad_checksum");
        }
        let packet = &bytes[..total];
        if total > usize::from(vif.mtu) {
            return Drop("frame_too_long");
        }
        let source = Ipv4Addr::new(packet[12], packet[13], packet[14], packet[15]);
        let destination = Ipv4Addr::new(packet[16], packet[17], packet[18], packet[19]);
        let no_host = |a: Ipv4Addr| {
            let reserved = a.octets()[0] >= 240 && (a.is_broadcast() || !self.names(&vif.vrf, a));
            a.octets()[0] == 0 || a.is_loopback() || reserved
        };
        if no_host(source) || source.is_multicast() {
            return Drop("martian_source");
        }
        if destination.is_multicast() || destination.is_broadcast() {
            return Drop("multicast");
        }
        if no_host(destination) {
            return Drop("martian_destination");
        }
        if group {
            return Drop("unicast_in_group_mac");
        }
        if source == destination {
            return Drop("land");
        }
        let offset = (usize::from(packet[6]) * 256 + usize::from(packet[7])) % 8192;
        if offset == 1 && packet[9] == 6 {
            return Drop("tiny_fragment");
        }
        let options = match read_options(&packet[20..header]) {
            Options::SourceRoute => return Drop("source_route"),
            Options::Slow => true,
            Options::Nothing => false,
        };
        let way = Way {
            source: source.into(),
            destination: destination.into(),
            ttl: packet[8],
            options,
            discovery: false,
        };
        self.routing(vif, pcp, packet, &way)
    }

    /// RFC 8200, RFC 4291.
    fn ipv6(&self, vif: &VifConfig, group: bool, pcp: u8, bytes: &[u8]) -> Fate {
        let Some(first) = bytes.first() else { return Drop("bad_header_length") };
        if first / 16 != 6 {
            return Drop("bad_version");
        }
        if bytes.len() < 40 {
            return Drop("bad_header_length");
        }
        let length = usize::from(bytes[4]) * 256 + usize::from(bytes[5]);
        if length == 0 && bytes[6] == 0 {
            return Drop("jumbogram");
        }
        if bytes.len() < 40 + length {
            return Drop("bad_total_length");
        }
        let packet = &bytes[..40 + length];
        if packet.len() > usize::from(vif.mtu) {
            return Drop("frame_too_long");
        }
        let address =
            |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&packet[at..at + 16]).unwrap());
        let (source, destination) = (address(8), address(24));
        let link = |a: Ipv6Addr| a.is_unicast_link_local();
        let discovery = packet[6] == 58 && packet.get(40).is_some_and(|t| (133..138).contains(t));
        if discovery && (destination.is_multicast() || link(destination)) {
            return Punt("neighbor_discovery");
        }
        let no_host =
            |a: Ipv6Addr| a.is_unspecified() || a.is_loopback() || a.to_ipv4_mapped().is_some();
        if no_host(source) || source.is_multicast() {
            return Drop("martian_source");
        }
        if destination.is_multicast() {
            return Drop("multicast");
        }
        if no_host(destination) {
            return Drop("martian_destination");
        }
        if group {
            return Drop("unicast_in_group_mac");
        }
        if source == destination {
            return Drop("land");
        }
        let way = Way {
            source: source.into(),
            destination: destination.into(),
            ttl: packet[7],
            options: false,
            discovery,
        };
        self.routing(vif, pcp, packet, &way)
    }

    /// RFC 8704, RFC 1812 5.2.4 and 5.3.
    fn routing(&self, vif: &VifConfig, pcp: u8, packet: &[u8], way: &Way) -> Fate {
        let link = |a: IpAddr| matches!(a, IpAddr::V6(a) if a.is_unicast_link_local());
        // RFC 3704: every source is checked, whoever the packet is for. A link-local one is no other network's (RFC 4291
        // 2.5.6): it cannot be routed to, nor be forged for one.
        if vif.source_check != SourceCheck::Off
            && !link(way.source)
            && let Some(reason) = self.spoofed(vif, way.source)
        {
            return Drop(reason);
        }
        // RFC 4291 2.5.6: link-local packets never leave their link; the slow path knows whether it is ours.
        if link(way.destination) {
            return Punt("link_local");
        }
        let route = self.route(&vif.vrf, way.destination);
        match route {
            Some(Target::Local) if way.discovery => return Punt("neighbor_discovery"),
            Some(Target::Local) => return Punt("local"),
            Some(Target::Broadcast) => return Drop("directed_broadcast"),
            _ => {}
        }
        if link(way.source) {
            return Punt("link_local");
        }
        // RFC 3927 2.7, for addresses that nobody configured a subnet for.
        let banned = |a: IpAddr| match a {
            IpAddr::V4(v4) => v4.is_link_local() && !self.is_configured(&vif.vrf, a),
            IpAddr::V6(_) => false,
        };
        if banned(way.source) || banned(way.destination) {
            return Drop("link_local_off_link");
        }
        let hops = match route {
            None | Some(Target::Local | Target::Broadcast) => return Punt("no_route"),
            Some(Target::Action(RouteAction::Blackhole)) => return Drop("blackhole"),
            Some(Target::Action(RouteAction::Unreachable)) => return Punt("unreachable"),
            Some(Target::Action(_)) => return Punt("prohibited"),
            Some(Target::Connected(egress)) => vec![(egress.clone(), way.destination)],
            Some(Target::Via(hops)) => hops.clone(),
        };
        let fates: Vec<Fate> = hops
            .iter()
            .map(|(egress, hop)| self.egress(vif, pcp, packet, way, egress, *hop))
            .collect();
        let mut frames = Vec::new();
        for fate in &fates {
            match fate {
                Forward(more) => frames.extend(more.iter().cloned()),
                // Members of a group in these tests are alike.
                other => return other.clone(),
            }
        }
        Forward(frames)
    }

    fn egress(
        &self,
        vif: &VifConfig,
        pcp: u8,
        packet: &[u8],
        way: &Way,
        egress: &str,
        hop: IpAddr,
    ) -> Fate {
        let out = self.vif(egress);
        if self.isolated(vif, out) {
            return Drop("peer_isolation");
        }
        if way.ttl < 2 {
            return Punt("ttl_exceeded");
        }
        if packet.len() > usize::from(out.mtu) {
            return Punt("too_big");
        }
        let known = self.config.neighbors.iter().find(|n| *n.vif == *egress && n.address == hop);
        let Some(known) = known else { return Punt("next_hop_unresolved") };
        if way.options {
            return Punt("ip_options");
        }
        let port = self.port(out);
        Forward(vec![(port, leaving(out, port, known.mac, pcp, packet))])
    }

    fn port(&self, vif: &VifConfig) -> usize {
        self.config.ports.iter().position(|port| port.name == vif.port).unwrap()
    }

    /// Whether a packet may not pass from one VIF to another of its VRF: two customers of public services. Back to the
    /// same customer it may go.
    fn isolated(&self, from: &VifConfig, to: &VifConfig) -> bool {
        let public = |vif: &VifConfig| vif.kind == Some(VifKind::Public);
        let vrf = self.config.vrfs.iter().find(|vrf| vrf.name == from.vrf).unwrap();
        vrf.kind == VrfKind::Public && public(from) && public(to) && from.name != to.name
    }

    /// Whether an address is a host's on a subnet that the operator configured in the VRF: no router but this one has its own.
    fn is_configured(&self, vrf: &str, address: IpAddr) -> bool {
        let here = self.config.vifs.iter().filter(|vif| vif.up && *vif.vrf == *vrf);
        let nets: Vec<&IpNet> = here.flat_map(|vif| &vif.addresses).collect();
        let free = |net: &&IpNet| net.prefix_len() > 30 || net.broadcast() != address;
        nets.iter().any(|net| net.contains(&address))
            && nets.iter().all(|net| free(net) && net.addr() != address)
    }

    /// Why a source may not be used by a VIF (RFC 3704 2.3, RFC 8704 3).
    fn spoofed(&self, vif: &VifConfig, source: IpAddr) -> Option<&'static str> {
        let back: Vec<&str> = match self.route(&vif.vrf, source) {
            Some(Target::Connected(egress)) => vec![egress],
            Some(Target::Via(hops)) => hops.iter().map(|(egress, _)| &**egress).collect(),
            _ => vec![],
        };
        let good = match vif.source_check {
            SourceCheck::Loose => !back.is_empty(),
            _ => back.contains(&&*vif.name),
        };
        if good {
            return None;
        }
        let customers = back.iter().any(|name| self.vif(name).kind.is_some());
        Some(if customers { "foreign_source" } else { "spoofed_source" })
    }
}

struct Way {
    source: IpAddr,
    destination: IpAddr,
    ttl: u8,
    options: bool,
    discovery: bool,
}

/// A tag as it is read: whether its TPID is 0x88a8, and its VID unless it is cut off.
type Tag = (bool, Option<u16>);

/// Octets of the tag that follows those of a VIF: none, or one that has VID 0 and so no VLAN but a priority (IEEE
/// 802.1Q table 9-2). `more`: another one follows it. `other`: what a tag of another VLAN is counted as.
fn priority_tag(tag: Option<Tag>, more: bool, other: &'static str) -> Result<usize, &'static str> {
    match tag {
        None => Ok(0),
        Some((_, None)) => Err("truncated_tag"),
        Some(_) if more => Err("too_many_tags"),
        Some((false, Some(0))) => Ok(4),
        Some(_) => Err(other),
    }
}

enum Options {
    Nothing,
    Slow,
    SourceRoute,
}

/// RFC 791 3.1. A malformed list is the slow path's, unless a source route stands before the fault.
fn read_options(mut list: &[u8]) -> Options {
    let mut found = Options::Nothing;
    loop {
        match list {
            [] | [0, ..] => return found,
            [1, rest @ ..] => list = rest,
            [131 | 137, ..] => return Options::SourceRoute,
            [kind, length, ..] if *length >= 2 && usize::from(*length) <= list.len() => {
                if matches!(kind, 7 | 68 | 148) {
                    found = Options::Slow;
                }
                list = &list[usize::from(*length)..];
            }
            _ => return Options::Slow,
        }
    }
}

/// The frame as it leaves: MACs, tags with priority, the packet one hop further.
fn leaving(out: &VifConfig, port: usize, to: Mac, pcp: u8, packet: &[u8]) -> Vec<u8> {
    let mut frame = [to.0, port_mac(port as u8).0].concat();
    // Priority and drop eligibility.
    let priority = match out.pcp {
        Pcp::Preserve => pcp,
        Pcp::Set(pcp) => pcp << 1,
    };
    let outer_type: u16 = if out.tags.service { 0x88a8 } else { 0x8100 };
    frame.extend(outer_type.to_be_bytes());
    frame.extend((u16::from(priority) << 12 | out.tags.outer).to_be_bytes());
    if let Some(inner) = out.tags.inner {
        frame.extend([0x81, 0]);
        frame.extend((u16::from(priority) << 12 | inner).to_be_bytes());
    }
    frame.extend(if packet[0] / 16 == 4 { [8, 0] } else { [0x86, 0xdd] });
    frame.extend(routed(packet));
    padded(frame)
}
