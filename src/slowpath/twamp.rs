//! TWAMP-light (RFC 5357 appendix I): test packets that come back, and those that the router reflects, both without a
//! control connection.

use etherparse::{IpHeaders, PacketBuilder};

use super::egress::Ingress;
use super::icmp::ip_headers;
use super::packet::{Packet, UDP};
use super::{Output, SlowOutcome, SlowPath};
use crate::tables::rules::{is_host_in, is_ours};
use crate::wire::ethernet::be16;
use crate::wire::twamp::{HOP_LIMIT, REQUEST, TWAMP_PORT, reflected, timestamp};

/// Senders have ports of their own (RFC 8762 4.1); those below are services' (RFC 6335 6).
const FIRST_SENDER_PORT: u16 = 1024;

/// A UDP datagram.
pub(super) fn datagram(ip: IpHeaders, [from, to]: [u16; 2], payload: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    PacketBuilder::ip(ip).udp(from, to).write(&mut bytes, payload).ok()?;
    Some(bytes)
}

impl SlowPath {
    /// UDP to one of the router's addresses: a test packet that came back, or one to reflect. `None`: neither.
    pub(super) fn test_packet(
        &mut self,
        from: &Ingress<'_>,
        packet: &Packet<'_>,
        out: &mut Vec<Output>,
    ) -> Option<SlowOutcome> {
        let (header, payload) = packet.payload().split_first_chunk::<8>()?;
        let [port, to, length] = [0, 2, 4].map(|at| be16(header, at));
        let payload = payload.get(..usize::from(length).checked_sub(8)?)?;
        // In IPv4 a sender may leave the checksum out (RFC 768).
        let without = packet.source.is_ipv4() && be16(header, 6) == 0;
        if !without && packet.upper_sum() != 0xffff {
            return None;
        }
        if to != TWAMP_PORT {
            let taken = self.take_reflected(from, packet, [port, to], payload);
            return taken.then_some(SlowOutcome::Consumed);
        }
        let sender = is_host_in(from.view.snapshot, from.vif.vrf, packet.source)
            && !is_ours(from.vif, packet.source);
        // An anycast address, or another VIF's, is none that measures this VIF.
        let own = from.vif.twamp_reflector && is_ours(from.vif, packet.destination);
        // From a service's port it would go round between the two for ever (CVE-2024-2169).
        let service = port < FIRST_SENDER_PORT;
        if !own || !sender || service || payload.len() < REQUEST {
            return None;
        }
        let moment = timestamp(self.epoch_ns, from.view.now_ns);
        let reflected = reflected(payload, packet.hop_limit, moment);
        let class = (packet.dscp(), self.next_id());
        let ip = ip_headers(packet.destination, packet.source, HOP_LIMIT, class, UDP)?;
        let answer = datagram(ip, [to, port], &reflected)?;
        Some(self.answer(from, packet.source, answer, out))
    }
}
