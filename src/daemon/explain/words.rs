//! What each stage looked at, in words.

use super::super::acls::said;
use super::super::drops::headers;
use super::super::routes::{action, origin};
use super::super::view::View;
use super::limits::{address_limits, bandwidth};
use super::{Fate, Matched};
use crate::admin::rows::{ExplainedEgress, FrameHeaders};
use crate::config::rate_text;
use crate::explain::{Explanation, Lookup};
use crate::tables::qos::traffic_class;
use crate::tables::{
    Adjacency, AdjacencyKind, Direction, Exchange, ExchangeId, Port, PortId, Snapshot, SourceCheck,
    Vif,
};
use crate::wire::ethernet::{HEADER_LEN, Mac};
use crate::wire::outline::Outline;

/// What the words of the stages are made of.
pub(super) struct Words<'a> {
    fate: &'a Fate,
    tables: &'a Snapshot,
    vif: Option<&'a Vif>,
    vrf: String,
    pub port: String,
    port_mac: Mac,
    /// The frame from its network header on, behind those of its tunnel.
    l3: &'a [u8],
    pub headers: FrameHeaders,
    /// Those of the frame in the tunnel, where it came in one.
    inner: FrameHeaders,
    adjacency: Option<&'a Adjacency>,
    pub egress: Option<ExplainedEgress>,
    /// The VTEP that it leaves by, if it does.
    vtep: Option<&'a Port>,
    /// The limits over its addresses.
    address_limits: String,
}

impl<'a> Words<'a> {
    pub fn of(view: &'a View, port: PortId, fate: &'a Fate) -> Words<'a> {
        let tables = &view.tables;
        let vif = fate.told.vif.and_then(|id| tables.vif(id));
        let port = tables.ports.get(port.index());
        let adjacency = fate.told.adjacency.map(|id| tables.adjacency(id));
        let in_tunnel = vif.is_some_and(|vif| vif.tunnel().is_some());
        let inner = if in_tunnel { fate.told.l3.saturating_sub(HEADER_LEN) } else { 0 };
        let inner = fate.frame.get(inner..).unwrap_or_default();
        let inner_headers = headers(inner);
        let ends = [inner_headers.source, inner_headers.destination];
        let ways = [fate.told.vif, adjacency.map(|to| to.vif)];
        Words {
            fate,
            tables,
            vif,
            vrf: vif.map_or_else(String::new, |vif| view.vrf_name(vif.vrf)),
            port: port.map_or_else(String::new, |port| port.name.to_string()),
            port_mac: port.map_or_else(Mac::default, |port| port.mac),
            l3: inner.get(Outline::of(inner).l3..).unwrap_or_default(),
            headers: headers(&fate.frame),
            inner: inner_headers,
            adjacency,
            egress: adjacency.and_then(|adjacency| egress(tables, &fate.told, adjacency)),
            vtep: adjacency.and_then(|to| {
                let vif = tables.vif(to.vif).filter(|vif| vif.tunnel().is_some())?;
                tables.ports.get(vif.port.index()).map(|port| &**port)
            }),
            address_limits: address_limits(tables, ways, ends),
        }
    }

    /// What a stage looked at.
    pub fn detail(&self, stage: &str) -> String {
        match stage {
            "classify" => self.classify(),
            "decapsulate" => match self.vif {
                Some(vif) => {
                    format!("{}: vif {} in vrf {}", vif.network(), vif.name, self.vrf)
                }
                None => String::new(),
            },
            "encapsulate" => self.encapsulate(),
            "ipv4" | "ipv6" => self.addresses(),
            "translate_in" => self.translated(Direction::Rx),
            "translate_out" => self.translated(Direction::Tx),
            "route" => self.fate.destination.as_ref().map_or_else(String::new, in_prefix),
            "group" if self.fate.crossed.is_some() => "the route is a permit of an exchange".into(),
            "group" => self.group(),
            "exchange" => self.exchange(),
            "source" => self.source(),
            "address" => self.address_limits.clone(),
            "acl_in" => self.acl(Direction::Rx),
            "acl_out" => self.acl(Direction::Tx),
            "resolve" => match (self.adjacency, &self.egress) {
                (Some(to), Some(egress))
                    if to.kind == AdjacencyKind::EgressDown && self.vtep.is_some() =>
                {
                    format!(
                        "vif {} is down, or its underlay leads to no {}",
                        egress.vif,
                        self.hop()
                    )
                }
                (Some(to), Some(egress)) if to.kind == AdjacencyKind::EgressDown => {
                    format!("vif {} or its port {} is down", egress.vif, egress.port)
                }
                (_, Some(egress)) => format!("from vrf {} to vif {}", self.vrf, egress.vif),
                (Some(to), None) => match to.kind {
                    AdjacencyKind::Exchange(id) => self.stopped(id),
                    kind => format!("the route is {}", action_of(kind)),
                },
                (None, None) => String::new(),
            },
            "ttl" => self.hops().map_or_else(String::new, |hops| format!("it came with {hops}")),
            "mtu" => match (self.packet_len(), &self.egress) {
                (Some(octets), Some(egress)) => {
                    format!("{octets} octets, and vif {} carries {}", egress.vif, egress.mtu)
                }
                _ => String::new(),
            },
            "ready" => match &self.egress {
                Some(ExplainedEgress { mac: Some(mac), .. }) => {
                    format!("{} is at {mac}", self.hop())
                }
                _ => format!("the MAC of {} is not known", self.hop()),
            },
            "meter_in" => bandwidth(self.tables, self.fate.told.vif, Direction::Rx),
            "meter_out" => bandwidth(self.tables, self.adjacency.map(|to| to.vif), Direction::Tx),
            "qos" => self.class(),
            "rewrite" => self.rewrite(),
            "routing" => "between an address of the VIF and its configured peer".into(),
            "police" => "the slow path's budgets of the VIF".into(),
            _ => String::new(),
        }
    }

    fn classify(&self) -> String {
        let FrameHeaders { vlans, service_tag, destination_mac, .. } = &self.headers;
        let vlans: Vec<String> = vlans.iter().map(ToString::to_string).collect();
        let tags = match &vlans[..] {
            [] => "no VLAN tag".to_owned(),
            vlans if *service_tag => format!("VLAN (802.1ad) {}", vlans.join(".")),
            vlans => format!("VLAN {}", vlans.join(".")),
        };
        match (self.vif, destination_mac) {
            (Some(vif), _) => {
                format!("{tags} on port {}: vif {} in vrf {}", self.port, vif.name, self.vrf)
            }
            (None, Some(mac)) => {
                format!("to {mac}, {tags}, on port {} ({})", self.port, self.port_mac)
            }
            (None, None) => format!("{} octets on port {}", self.fate.frame.len(), self.port),
        }
    }

    fn addresses(&self) -> String {
        match (self.inner.source, self.inner.destination, self.packet_len(), self.vif) {
            (Some(source), Some(destination), Some(octets), Some(vif)) => {
                let (name, mtu) = (&vif.name, vif.mtu);
                format!("{source} > {destination}, {octets} octets, and vif {name} carries {mtu}")
            }
            _ => "no whole header".into(),
        }
    }

    fn group(&self) -> String {
        let kind = self.adjacency.map_or(AdjacencyKind::NoRoute, |adjacency| adjacency.kind);
        let Some(egress) = &self.egress else {
            return format!("the route is {}", action_of(kind));
        };
        let by = match egress.flow {
            Some(flow) => {
                format!("member {} of {} by flow {flow:08x}: ", egress.member, egress.members)
            }
            None => String::new(),
        };
        format!("{by}{} on vif {}", self.hop(), egress.vif)
    }

    /// The exchange, and the route behind it.
    fn exchange(&self) -> String {
        let crossed = self.fate.told.crossed.and_then(|(id, _)| self.tables.exchange(id));
        let (Some(exchange), Some(matched)) = (crossed, &self.fate.crossed) else {
            return String::new();
        };
        let vrf = self.vrf_name(exchange);
        format!(
            "by exchange {} in vrf {vrf}: {}; {}",
            exchange.name,
            in_prefix(matched),
            self.group()
        )
    }

    /// Why an exchange lets a packet not pass.
    fn stopped(&self, id: ExchangeId) -> String {
        let Some(exchange) = self.tables.exchange(id) else { return String::new() };
        let source = self.inner.source.map_or_else(String::new, |source| source.to_string());
        let vrf = self.vrf_name(exchange);
        format!("exchange {}: vrf {vrf} leads elsewhere than back with {source}", exchange.name)
    }

    /// The VRF that an exchange leads from.
    fn vrf_name(&self, exchange: &Exchange) -> &str {
        let vrf = self.tables.vrfs.get(exchange.exporter.index()).and_then(Option::as_ref);
        vrf.map_or("", |vrf| &*vrf.name)
    }

    fn source(&self) -> String {
        let mode = match self.vif.map(|vif| vif.source_check) {
            Some(check @ (SourceCheck::Strict | SourceCheck::Loose)) => check.name(),
            Some(SourceCheck::Off) | None => return "not checked on this VIF".into(),
        };
        let Some(source) = &self.fate.source else { return String::new() };
        let back: Vec<String> =
            source.via.iter().map(|member| format!("vif {}", member.vif)).collect();
        let back = match &back[..] {
            [] => String::new(),
            back => format!(", back by {}", back.join(" or ")),
        };
        format!("{mode}: {}{back}", in_prefix(source))
    }

    /// What an address becomes.
    fn translated(&self, direction: Direction) -> String {
        let (vif, address, what) = match direction {
            Direction::Rx => (self.vif, self.inner.source, "source"),
            Direction::Tx => {
                let egress = self.adjacency.and_then(|to| self.tables.vif(to.vif));
                (egress, self.inner.destination, "destination")
            }
        };
        let (Some(vif), Some(address)) = (vif, address) else { return String::new() };
        let Some(translations) = &vif.translations else { return String::new() };
        let name = &vif.name;
        match translations.apply(direction, address) {
            Some(same) if same == address => {
                format!("vif {name} does not translate the {what} {address}")
            }
            Some(other) => format!("vif {name}: the {what} {address} becomes {other}"),
            None => format!("vif {name} cannot translate the {what} {address}"),
        }
    }

    /// The packet as access lists see it: with its source translated.
    fn judged(&self) -> Vec<u8> {
        let mut packet = self.l3.to_vec();
        if let Some(translations) = self.vif.and_then(|vif| vif.translations.as_ref()) {
            // What cannot be translated is dropped before lists.
            let _ = translations.translate(Direction::Rx, &mut packet);
        }
        packet
    }

    /// The rule of the access list that judges the packet.
    fn acl(&self, direction: Direction) -> String {
        let egress = self.adjacency.filter(|to| to.kind.is_on_vif());
        let egress = egress.and_then(|to| self.tables.vif(to.vif));
        let (list, vif) = match direction {
            Direction::Rx => (self.vif.and_then(|vif| vif.acl_in.as_ref()), self.vif),
            Direction::Tx => (egress.and_then(|vif| vif.acl_out.as_ref()), egress),
        };
        let name = vif.map_or("", |vif| &*vif.name);
        let Some(list) = list else { return format!("vif {name} has no list in this direction") };
        if self.adjacency.is_some_and(|to| to.kind == AdjacencyKind::Local) {
            return "lists do not judge what is for the router itself".into();
        }
        let place = list.place(&self.judged());
        let number = match place < list.unmatched() {
            true => format!("rule {}, ", place + 1),
            false => String::new(),
        };
        format!("list {} of vif {name}: {number}{}", list.name, said(list, place))
    }

    /// Its class at the egress VIF, and how that marks it.
    fn class(&self) -> String {
        let of = self.adjacency.zip(self.tables.qos.as_ref());
        let of = of.and_then(|(to, qos)| qos.of(to.vif.index()));
        let (Some(of), Some(&[first, second])) = (of, self.l3.first_chunk()) else {
            return String::new();
        };
        let at = self.fate.told.class.unwrap_or(0);
        let Some(class) = of.policy.classes().get(at) else { return String::new() };
        let dscp = traffic_class(first, second) >> 2;
        let mut text = format!("DSCP {dscp}: class {} of policy {}", class.name, of.policy.name);
        let marks = [("DSCP", class.mark_dscp), ("PCP", class.mark_pcp)];
        for (what, mark) in marks.into_iter().filter_map(|(what, mark)| Some((what, mark?))) {
            text += &format!(", {what} becomes {mark}");
        }
        if let Some(limit) = of.limits.get(at).and_then(Option::as_ref) {
            text += &format!(", its bandwidth {}", rate_text(limit.pace.rate));
        }
        text
    }

    /// The tunnel that it leaves in.
    fn encapsulate(&self) -> String {
        let (Some(egress), Some((_, octets))) = (&self.egress, &self.fate.told.sent) else {
            return String::new();
        };
        let FrameHeaders { source, destination, source_port, .. } = headers(octets);
        let (Some(from), Some(to), Some(port)) = (source, destination, source_port) else {
            return String::new();
        };
        format!("{}: {} octets from {from} port {port} to {to}", egress.vlan, octets.len())
    }

    fn rewrite(&self) -> String {
        let Some((_, octets)) = &self.fate.told.sent else { return String::new() };
        if let (Some(vtep), Some(to)) = (self.vtep, self.adjacency.and_then(Adjacency::next_hop)) {
            return format!("in the tunnel from {} to {to}", vtep.mac);
        }
        let headers = headers(octets);
        let mac = |mac: Option<String>| mac.unwrap_or_default();
        let (to, from) = (mac(headers.destination_mac), mac(headers.source_mac));
        let (port, vlan) = match &self.egress {
            Some(egress) => (&*egress.port, &*egress.vlan),
            None => ("", ""),
        };
        format!("{} octets by port {port}, VLAN {vlan}, from {from} to {to}", octets.len())
    }

    /// The neighbor that it goes to.
    fn hop(&self) -> String {
        let next_hop = self.egress.as_ref().and_then(|egress| egress.next_hop);
        next_hop.or(self.inner.destination).map_or_else(String::new, |hop| hop.to_string())
    }

    fn hops(&self) -> Option<u8> {
        let at = if self.inner.source?.is_ipv4() { 8 } else { 7 };
        self.l3.get(at).copied()
    }

    fn packet_len(&self) -> Option<u32> {
        let (at, more) = if self.inner.source?.is_ipv4() { (2, 0) } else { (4, 40) };
        let [high, low] = *self.l3.get(at..)?.first_chunk()?;
        Some(u32::from(u16::from_be_bytes([high, low])) + more)
    }
}

/// The word for what a route does.
fn action_of(kind: AdjacencyKind) -> &'static str {
    if kind == AdjacencyKind::NoRoute { "missing" } else { action(kind) }
}

/// The prefix that an address is in.
fn in_prefix(matched: &Matched) -> String {
    let Lookup { address, .. } = matched.lookup;
    match matched.route {
        Some(route) => format!("{address} is in {} ({})", route.prefix, origin(route.source)),
        None => format!("{address} has no route"),
    }
}

/// Where an adjacency leads.
fn egress(tables: &Snapshot, told: &Explanation, to: &Adjacency) -> Option<ExplainedEgress> {
    if !to.kind.is_on_vif() {
        return None;
    }
    let vif = tables.vif(to.vif)?;
    let lookup = told.crossed.map(|(_, lookup)| lookup).or(told.destination)?;
    let members = tables.groups.members(lookup.group);
    let at = members.iter().position(|id| Some(*id) == told.adjacency).unwrap_or(0);
    Some(ExplainedEgress {
        port: tables.ports.get(vif.port.index())?.name.to_string(),
        vif: vif.name.to_string(),
        vlan: vif.network(),
        next_hop: (to.kind != AdjacencyKind::Glean).then_some(to.address),
        mac: to.next_hop().map(|mac| mac.to_string()),
        mtu: to.mtu,
        member: at as u64 + 1,
        members: members.len() as u64,
        flow: told.flow,
    })
}
