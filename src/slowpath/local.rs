//! Packets for the router's own addresses: echo is answered, test packets are reflected where the VIF does that, other UDP
//! is told that nothing listens, errors are taken in without effect but for who probes. BGP and BFD go to the kernel.
//! Fragments are not reassembled and other TCP is not answered, but what answers a probe.

use std::net::IpAddr;

use super::egress::Ingress;
use super::icmp::{Message, Problem, TTL, build};
use super::packet::{ICMP, ICMPV6, Packet, UDP, own_address};
use super::probe::{ECHO4, ECHO6};
use super::{Output, SlowPath};
use crate::tables::rules::{is_anycast, is_host_in, is_ours};
use crate::tables::{AdjacencyKind, SlowOutcome};
use crate::wire::ipv4::TCP;
use crate::wire::ipv6::is_link_local;

impl SlowPath {
    /// A packet for one of the router's addresses.
    pub(super) fn local(
        &mut self,
        from: &Ingress<'_>,
        packet: &Packet<'_>,
        out: &mut Vec<Output>,
    ) -> SlowOutcome {
        if packet.destination.is_multicast() {
            // MLD, IGMP and the like: nothing here joins groups.
            return SlowOutcome::NoService;
        }
        let Some(own) = local_address(from, packet.destination) else {
            return SlowOutcome::NotForUs;
        };
        if let Some(at) = packet.routing {
            // RFC 8200 4.4, RFC 5095: no routing type is supported; the pointer names the type.
            let pointer = u16::try_from(at + 2).unwrap_or(u16::MAX);
            return self.error(from, packet, Problem::Parameter(pointer), out);
        }
        if packet.fragment {
            return SlowOutcome::NoService;
        }
        if let Some(outcome) = self.hand_over(from, packet, out) {
            return outcome;
        }
        match (packet.source, packet.protocol()) {
            (IpAddr::V4(_), ICMP) => {
                let is_error = |kind| matches!(kind, 3 | 4 | 5 | 11 | 12);
                self.icmp(from, own, packet, ECHO4, is_error, out)
            }
            (IpAddr::V6(_), ICMPV6) => match packet.payload().first() {
                Some(133..=137) => self.neighbor_discovery(from, packet, out),
                _ => self.icmp(from, own, packet, ECHO6, |kind| kind < 128, out),
            },
            (_, UDP) => self
                .test_packet(from, packet, out)
                .unwrap_or_else(|| self.error(from, packet, Problem::PortUnreachable, out)),
            (_, TCP) if self.take_segment(from, packet, out) => SlowOutcome::Consumed,
            _ => SlowOutcome::NoService,
        }
    }

    /// ICMP of either family to the router, which answers from `own`. `echo` is its types of request
    /// and reply.
    fn icmp(
        &mut self,
        from: &Ingress<'_>,
        own: IpAddr,
        packet: &Packet<'_>,
        echo: (u8, u8),
        is_error: impl Fn(u8) -> bool,
        out: &mut Vec<Output>,
    ) -> SlowOutcome {
        let Some(message) = packet.icmp() else { return SlowOutcome::BadIcmp };
        let (request, reply) = echo;
        match *message {
            [kind, 0, _, _, a, b, c, d, ref body @ ..] if kind == request => {
                let host = is_host_in(from.view.snapshot, from.vif.vrf, packet.source);
                if !host || is_ours(from.vif, packet.source) {
                    return SlowOutcome::IcmpNotAllowed;
                }
                // RFC 1122 3.2.2.6, RFC 4443 4.2: the data as it came, from the address asked, or
                // from a unicast address where an anycast one was. The reply has the DSCP of the request (RFC 1812 4.3.3.6 leaves it to us).
                let message = Message { head: (reply, 0, [a, b, c, d]), body };
                let class = (packet.dscp(), self.next_id());
                match build(own, packet.source, TTL, class, message) {
                    Some(answer) => self.answer(from, packet.source, answer, out),
                    None => SlowOutcome::BadIcmp,
                }
            }
            [kind, 0, ..] if kind == reply && self.take_reply(from, packet, message) => {
                SlowOutcome::Consumed
            }
            // But for the path MTU of tunnels, errors change nothing; no redirect is followed.
            [kind, ..] if is_error(kind) => {
                self.too_big(from, packet, message, out).unwrap_or_else(|| {
                    self.take_error(from, packet, message);
                    SlowOutcome::Consumed
                })
            }
            _ => SlowOutcome::NoService,
        }
    }

    /// A packet with a link-local address: for us, or for nobody, since it may not leave its link.
    pub(super) fn link_local(
        &mut self,
        from: &Ingress<'_>,
        packet: &Packet<'_>,
        out: &mut Vec<Output>,
    ) -> SlowOutcome {
        let ours = local_address(from, packet.destination).is_some();
        if ours || packet.destination.is_multicast() {
            return self.local(from, packet, out);
        }
        if !is_link_local(packet.source) || is_link_local(packet.destination) {
            return SlowOutcome::NotForUs;
        }
        self.error(from, packet, Problem::BeyondScope, out)
    }
}

/// The unicast address that answers for a packet to `destination`, if that is the router: an address
/// of the ingress VIF, one of another VIF of the VRF, or the anycast address of a subnet.
fn local_address(from: &Ingress<'_>, destination: IpAddr) -> Option<IpAddr> {
    if is_ours(from.vif, destination) {
        return Some(destination);
    }
    if is_anycast(from.vif, destination) {
        return own_address(from.vif, destination);
    }
    let snapshot = from.view.snapshot;
    let group = (from.view.fib)(from.vif.vrf, destination);
    let adjacency = snapshot.adjacency(*snapshot.groups.buckets(group).first()?);
    (adjacency.kind == AdjacencyKind::Local).then_some(adjacency.address)
}
