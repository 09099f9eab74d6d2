//! What passes between a VIF and the kernel's routing daemon: BGP and BFD between the VIF's own addresses
//! and its configured peers, in both directions, and nothing else. The kernel is an outsider here as
//! any neighbor is: what it sends is checked like what a wire brings.
//!
//! The slow path resolves (the kernel never asks who has an address, see [`crate::tap`]): a packet
//! of the kernel waits for its peer's MAC as every other does.

use super::egress::{Ingress, live, transmit_ip};
use super::neighbor::{Lookup, Waiting};
use super::packet::Packet;
use super::{Output, SlowPath, View};
use crate::tables::rules::is_on_link;
use crate::tables::{Routing, SlowOutcome, TapEvent, Vif, VifId};
use crate::wire::ethernet::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, HEADER_LEN, be16};
use crate::wire::ipv4::TCP;

/// RFC 5881 section 5: a lower TTL says that the packet crossed a router.
const BFD_HOPS: u8 = 255;

/// The routing protocol of a whole packet without options or extension headers.
fn routing(vif: &Vif, packet: &Packet<'_>, inbound: bool) -> Option<Routing> {
    let (protocol, at) = packet.upper?;
    if packet.fragment || at != if packet.source.is_ipv4() { 20 } else { 40 } {
        return None;
    }
    let (own, peer) = match inbound {
        true => (packet.destination, packet.source),
        false => (packet.source, packet.destination),
    };
    vif.routing(own, peer, protocol, packet.payload())
}

impl SlowPath {
    /// Hands a packet of the VIF's peer to the kernel. `None` where it is nothing for the kernel.
    pub(super) fn hand_over(
        &mut self,
        from: &Ingress<'_>,
        packet: &Packet<'_>,
        out: &mut Vec<Output>,
    ) -> Option<SlowOutcome> {
        let routing = routing(from.vif, packet, true)?;
        if routing == Routing::Bfd && packet.hop_limit != BFD_HOPS {
            return Some(SlowOutcome::BfdHops);
        }
        if routing == Routing::Bgp {
            self.note_key(from, packet);
        }
        let (_, port) = live(from.view.snapshot, from.id)?;
        let frame =
            [&port.mac.0[..], &from.sender.0, &ethertype(packet).to_be_bytes(), packet.bytes];
        out.push(Output::ToKernel { vif: from.id, frame: frame.concat() });
        Some(SlowOutcome::ToKernel)
    }

    /// Sends what the kernel sent by the VIF's TAP, a whole Ethernet frame, and counts what became of it.
    pub fn sent_by_kernel(
        &mut self,
        view: &View<'_>,
        id: VifId,
        frame: &[u8],
        out: &mut Vec<Output>,
    ) -> TapEvent {
        self.refresh(view, out);
        let event = self.leave_kernel(view, id, frame, out);
        self.counters.tap(id, event).add(1);
        event
    }

    fn leave_kernel(
        &mut self,
        view: &View<'_>,
        id: VifId,
        frame: &[u8],
        out: &mut Vec<Output>,
    ) -> TapEvent {
        let Some((vif, _)) = live(view.snapshot, id) else { return TapEvent::Unresolved };
        let Some(packet) = checked(vif, frame) else { return TapEvent::Refused };
        // The tag says what the packet's precedence says (802.1Q, RFC 4594).
        let priority = packet.dscp() >> 3 << 1;
        let waiting =
            Waiting { ingress: id, priority, forward: false, packet: packet.bytes.to_vec() };
        let peer = (id, packet.destination);
        match self.lookup(view, peer, None, waiting, out) {
            Lookup::Known(mac, waiting) => {
                transmit_ip(view, peer, mac, &waiting.packet, priority, out);
                TapEvent::Sent
            }
            Lookup::Queued | Lookup::Replaced => TapEvent::Queued,
            Lookup::Limit | Lookup::Failed(_) => TapEvent::Unresolved,
        }
    }
}

/// The packet in a frame of the kernel, if it may leave by the VIF: sound, no longer than the MTU, from
/// an address of the VIF to a peer on its link.
fn checked<'a>(vif: &Vif, frame: &'a [u8]) -> Option<Packet<'a>> {
    let (head, l3) = frame.split_at_checked(HEADER_LEN)?;
    let packet = Packet::parse(l3)?;
    let sound = be16(head, 12) == ethertype(&packet)
        && packet.bytes.len() <= usize::from(vif.mtu)
        && is_on_link(vif, packet.destination)
        && routing(vif, &packet, false).is_some()
        && !is_reset_without_socket(&packet);
    sound.then_some(packet)
}

/// Whether the kernel itself resets a connection that no socket has: a reset with an empty window. It
/// knows of no interface then, and with the same addresses behind many TAPs it takes any of them.
fn is_reset_without_socket(packet: &Packet<'_>) -> bool {
    const RST: u8 = 4;
    let tcp = packet.payload();
    packet.protocol() == TCP
        && tcp.get(13).is_some_and(|flags| flags & RST != 0)
        && tcp.get(14..16) == Some(&[0, 0])
}

fn ethertype(packet: &Packet<'_>) -> u16 {
    if packet.source.is_ipv4() { ETHERTYPE_IPV4 } else { ETHERTYPE_IPV6 }
}
