//! IPv6 neighbor discovery (RFC 4861): solicitations for our addresses and the answers to ours.
//! Router advertisements and redirects are never accepted: the station's routes are configured.

use std::net::{IpAddr, Ipv6Addr};

use super::egress::{Ingress, live, transmit};
use super::heard::is_looped;
use super::icmp::{Message, build};
use super::neighbor::{Heard, Said};
use super::packet::{ICMPV6, Packet, ipv6_at, own_address};
use super::{Output, SlowPath};
use crate::tables::rules::{is_anycast, is_host, is_on_link, is_ours, is_router};
use crate::tables::{SlowOutcome, Vif};
use crate::wire::ethernet::{ETHERTYPE_IPV6, Mac};

const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
const NEIGHBOR_SOLICITATION: u8 = 135;
const NEIGHBOR_ADVERTISEMENT: u8 = 136;
const REDIRECT: u8 = 137;
const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;
/// The hop limit that proves that a packet crossed no router.
const HOP_LIMIT: u8 = 255;
const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// The group that the owner of an address listens to (RFC 4291 2.7.1).
fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    let [high, low] = [u16::from_be_bytes([0xff, a]), u16::from_be_bytes([b, c])];
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, high, low)
}

/// The MAC of an IPv6 group (RFC 2464 section 7).
fn group_mac(group: Ipv6Addr) -> Mac {
    let [.., a, b, c, d] = group.octets();
    Mac([0x33, 0x33, a, b, c, d])
}

/// A neighbor solicitation for `target`, to `at` or to everybody who could have that address, and
/// the MAC to send it to.
pub fn solicitation(
    vif: &Vif,
    own: Mac,
    target: Ipv6Addr,
    at: Option<Mac>,
) -> Option<(Mac, Vec<u8>)> {
    let source = own_address(vif, target.into())?;
    let group = solicited_node(target);
    let (mac, destination) = match at {
        Some(mac) => (mac, target),
        None => (group_mac(group), group),
    };
    let body = [&target.octets()[..], &[SOURCE_LINK_LAYER, 1], &own.0].concat();
    let message = Message { head: (NEIGHBOR_SOLICITATION, 0, [0; 4]), body: &body };
    Some((mac, build(source, destination.into(), HOP_LIMIT, (0, 0), message)?))
}

/// A sound solicitation or advertisement.
struct Nd {
    target: Ipv6Addr,
    /// The link-layer address option of the message's kind.
    mac: Option<Mac>,
}

/// RFC 4861 7.1.1 and 7.1.2, without what the checksum covers.
fn parse(packet: &Packet<'_>, message: &[u8], option: u8) -> Option<Nd> {
    let target = ipv6_at(message, 8).filter(|target| !target.is_multicast())?;
    let mac = link_layer_option(message.get(24..)?, option)?;
    let unspecified = packet.source == IpAddr::from(Ipv6Addr::UNSPECIFIED);
    let sound = match option {
        SOURCE_LINK_LAYER if unspecified => {
            mac.is_none() && packet.destination == IpAddr::from(solicited_node(target))
        }
        SOURCE_LINK_LAYER => true,
        _ if unspecified => false,
        _ => !packet.destination.is_multicast() || message[4] & SOLICITED == 0,
    };
    sound.then_some(Nd { target, mac })
}

/// The address in the first option of a kind. The outer `None`: an option of length 0 or one that
/// ends too late, or a MAC that no station has.
fn link_layer_option(mut options: &[u8], kind: u8) -> Option<Option<Mac>> {
    let mut found = None;
    while let [this, units, ..] = *options {
        let length = usize::from(units) * 8;
        let (option, rest) = options.split_at_checked(length).filter(|_| length > 0)?;
        if this == kind && found.is_none() {
            let mac = Mac(*option.get(2..)?.first_chunk()?);
            if mac.is_group() || mac == Mac::default() {
                return None;
            }
            found = Some(mac);
        }
        options = rest;
    }
    options.is_empty().then_some(found)
}

impl SlowPath {
    /// An ICMPv6 packet of neighbor discovery.
    pub(super) fn neighbor_discovery(
        &mut self,
        from: &Ingress<'_>,
        packet: &Packet<'_>,
        out: &mut Vec<Output>,
    ) -> SlowOutcome {
        if packet.protocol() != ICMPV6 {
            return SlowOutcome::NoService;
        }
        if let Some(kind) = packet.payload().first()
            && !(ROUTER_SOLICITATION..=REDIRECT).contains(kind)
        {
            return SlowOutcome::NoService;
        }
        // Fragmented discovery is never accepted (RFC 6980).
        let Some(message) = packet.icmp().filter(|_| !packet.fragment) else {
            return SlowOutcome::BadNd;
        };
        if packet.hop_limit != HOP_LIMIT || message[1] != 0 {
            return SlowOutcome::BadNd;
        }
        let outcome = match message[0] {
            NEIGHBOR_SOLICITATION => self.solicited(from, packet, message, out),
            NEIGHBOR_ADVERTISEMENT => self.advertised(from, packet, message, out),
            ROUTER_ADVERTISEMENT | REDIRECT => Some(SlowOutcome::RouterAdvertisement),
            // A router solicitation: no advertisement is ever sent, hosts here are routers.
            _ => Some(SlowOutcome::Consumed),
        };
        outcome.unwrap_or(SlowOutcome::BadNd)
    }

    /// RFC 4861 7.2.3 and 7.2.4. `None`: malformed.
    fn solicited(
        &mut self,
        from: &Ingress<'_>,
        packet: &Packet<'_>,
        message: &[u8],
        out: &mut Vec<Output>,
    ) -> Option<SlowOutcome> {
        let nd = parse(packet, message, SOURCE_LINK_LAYER)?;
        let target = nd.target.into();
        let for_us = is_router(from.vif, target);
        let claims_ours = is_ours(from.vif, packet.source);
        if is_looped(from, claims_ours, nd.mac.unwrap_or(from.sender)) {
            return Some(SlowOutcome::Looped);
        }
        if packet.source == IpAddr::from(Ipv6Addr::UNSPECIFIED) {
            // Duplicate address detection (RFC 4862 5.4): nothing to learn, all may know.
            if !for_us {
                return Some(SlowOutcome::NotForUs);
            }
            return Some(advertise(from, nd.target, ALL_NODES, group_mac(ALL_NODES), 0, out));
        }
        if claims_ours {
            return Some(SlowOutcome::AddressConflict);
        }
        let IpAddr::V6(source) = packet.source else { return None };
        if !is_host(packet.source) {
            return None;
        }
        // Of a router that asks from its loopback nothing is learned; it is answered (RFC 4861
        // 7.1.1 and 7.2.4 ask for no subnet).
        let mac = nd.mac.filter(|_| is_on_link(from.vif, packet.source));
        let heard = match mac {
            Some(mac) => self.heard_from(from, packet.source, mac, Said::Claim, out),
            None => Heard::Taken,
        };
        if for_us {
            let mac = nd.mac.unwrap_or(from.sender);
            return Some(advertise(from, nd.target, source, mac, SOLICITED, out));
        }
        match heard {
            Heard::Contested => Some(SlowOutcome::NeighborClaimed),
            Heard::Refused => Some(SlowOutcome::UnsolicitedReply),
            Heard::Unknown | Heard::Taken => Some(SlowOutcome::NotForUs),
        }
    }

    /// RFC 4861 7.2.5, with the caution of [`super::neighbor`] about a MAC that changes.
    fn advertised(
        &mut self,
        from: &Ingress<'_>,
        packet: &Packet<'_>,
        message: &[u8],
        out: &mut Vec<Output>,
    ) -> Option<SlowOutcome> {
        let nd = parse(packet, message, TARGET_LINK_LAYER)?;
        let claims_ours = is_ours(from.vif, nd.target.into());
        if is_looped(from, claims_ours, nd.mac.unwrap_or(from.sender)) {
            return Some(SlowOutcome::Looped);
        }
        if claims_ours {
            return Some(SlowOutcome::AddressConflict);
        }
        // All routers of a subnet have its anycast address: that is no conflict, and nothing to learn.
        if is_anycast(from.vif, nd.target.into()) {
            return Some(SlowOutcome::Consumed);
        }
        if !is_on_link(from.vif, nd.target.into()) {
            return None;
        }
        let solicited = message[4] & SOLICITED != 0;
        let known = self.neighbors.mac((from.id, nd.target.into()));
        let (mac, said) = match (nd.mac, known) {
            (Some(mac), _) if solicited => (mac, Said::Answer),
            (Some(mac), _) if message[4] & OVERRIDE != 0 => (mac, Said::Claim),
            (Some(mac), _) => (mac, Said::Doubt),
            // The answer to a question that was sent to its MAC alone may leave the MAC out.
            (None, Some(known)) if solicited => (known, Said::Answer),
            (None, Some(_)) => (from.sender, Said::Doubt),
            (None, None) => return Some(SlowOutcome::Consumed),
        };
        match self.heard_from(from, nd.target.into(), mac, said, out) {
            Heard::Contested => Some(SlowOutcome::NeighborClaimed),
            Heard::Refused => Some(SlowOutcome::UnsolicitedReply),
            Heard::Unknown if solicited => Some(SlowOutcome::UnsolicitedReply),
            Heard::Unknown | Heard::Taken => Some(SlowOutcome::Consumed),
        }
    }
}

/// A neighbor advertisement of one of our addresses. For an anycast one it comes from a unicast
/// address and overrides nothing: other routers have it too (RFC 4861 7.2.4).
fn advertise(
    from: &Ingress<'_>,
    target: Ipv6Addr,
    to: Ipv6Addr,
    mac: Mac,
    solicited: u8,
    out: &mut Vec<Output>,
) -> SlowOutcome {
    let Some((_, port)) = live(from.view.snapshot, from.id) else { return SlowOutcome::NoEgress };
    let body = [&target.octets()[..], &[TARGET_LINK_LAYER, 1], &port.mac.0].concat();
    let is_unicast = is_ours(from.vif, target.into());
    let source =
        if is_unicast { Some(target.into()) } else { own_address(from.vif, target.into()) };
    let Some(source) = source else { return SlowOutcome::NoEgress };
    let overrides = if is_unicast { OVERRIDE } else { 0 };
    let flags = [ROUTER | overrides | solicited, 0, 0, 0];
    let message = Message { head: (NEIGHBOR_ADVERTISEMENT, 0, flags), body: &body };
    let Some(bytes) = build(source, to.into(), HOP_LIMIT, (0, 0), message) else {
        return SlowOutcome::NoEgress;
    };
    transmit(from.view, (from.id, to.into()), mac, ETHERTYPE_IPV6, &bytes, from.priority, out);
    SlowOutcome::Answered
}
