//! Echo requests of the station itself, for `ping` and `traceroute`: they leave by the VRF's routes as an
//! answer of the router does, and an answer is one to a request that is still waited for, or nothing.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::egress::{Ingress, Route, live, mtu, route_back, transmit_ip};
use super::icmp::{Message, build};
use super::neighbor::{Lookup, Waiting};
use super::packet::{self, ICMP, ICMPV6, Packet, ipv4_at, ipv6_at, own_address};
use super::{Output, SlowPath, View};
use crate::tables::rules::{is_host_in, may_answer};
use crate::tables::{DropReason, Verdict, VifId, VrfId};
use crate::wire::ethernet::{Mac, be16, be32};

/// Requests that are waited for at a time, of one sender (an id) at most.
pub const MAX_WAITING: usize = 64;
/// Senders at a time, at most: nobody takes another's room.
pub const MAX_SENDERS: usize = 8;
/// DF in an IPv4 header's flags.
const DONT_FRAGMENT: u8 = 0x40;

/// An echo request to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The VIF whose address it comes from.
    pub vif: VifId,
    /// The VIF's name and VRF: an id may have become another VIF's meanwhile.
    pub of: (Arc<str>, VrfId),
    /// The destination.
    pub to: IpAddr,
    /// Its TTL or hop limit as it leaves.
    pub hop_limit: u8,
    /// IPv4: no router may fragment it. IPv6 routers never do.
    pub dont_fragment: bool,
    /// Octets behind the ICMP header.
    pub data: u16,
    /// Who sends it.
    pub id: u16,
    /// Which of theirs it is.
    pub sequence: u16,
    /// How long an answer is waited for, in nanoseconds.
    pub patience_ns: u64,
}

/// Why an echo request did not leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsent {
    /// The VIF or its port is down, or gone.
    Down,
    /// The VIF has no address of the family.
    NoAddress,
    /// Nothing can be sent to such an address.
    NoHost,
    /// The address is the station's own.
    Own,
    /// The VRF's route does not lead out: what a packet would meet.
    Route(Verdict),
    /// The packet's octets, and the MTU of its way out.
    TooLong(usize, u16),
    /// The next hop does not answer ARP or ND.
    Unresolved,
    /// Too many are waited for.
    Busy,
}

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// The echo reply.
    Reply,
    /// An ICMP error of the family: type, code, and the word behind the checksum.
    Error(u8, u8, u32),
}

/// The answer to an echo request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeAnswer {
    /// Who sent the request.
    pub id: u16,
    /// Which of theirs it was.
    pub sequence: u16,
    /// Who answers.
    pub from: IpAddr,
    /// What it says.
    pub said: Said,
    /// TTL or hop limit of the answer.
    pub hop_limit: u8,
    /// Octets of the ICMP message.
    pub octets: usize,
    /// From the request to the answer: nanoseconds.
    pub rtt_ns: u64,
}

/// What an answer is known by: VRF, own address, id and sequence number.
type Key = (VrfId, IpAddr, u16, u16);

#[derive(Clone, Copy, Debug)]
struct Expected {
    vif: VifId,
    to: IpAddr,
    sent_ns: u64,
    until_ns: u64,
}

/// Requests that are waited for, and answers that nobody has taken yet.
#[derive(Debug, Default)]
pub(super) struct Probes {
    waiting: HashMap<Key, Expected>,
    answers: Vec<ProbeAnswer>,
}

impl Probes {
    /// Forgets what is overdue.
    pub fn expire(&mut self, now_ns: u64) {
        if !self.waiting.is_empty() {
            self.waiting.retain(|_, expected| expected.until_ns > now_ns);
        }
    }
}

impl SlowPath {
    /// Sends an echo request from the VIF's own address, by the routes of its VRF alone.
    ///
    /// # Errors
    /// Why it did not leave.
    pub fn probe(
        &mut self,
        view: &View<'_>,
        probe: &Probe,
        out: &mut Vec<Output>,
    ) -> Result<(), Unsent> {
        self.refresh(view, out);
        let (name, vrf) = &probe.of;
        let live = live(view.snapshot, probe.vif);
        let same = live.filter(|(vif, _)| (&vif.name, vif.vrf) == (name, *vrf));
        let (vif, _) = same.ok_or(Unsent::Down)?;
        if !is_host_in(view.snapshot, vif.vrf, probe.to) {
            return Err(Unsent::NoHost);
        }
        let own = own_address(vif, probe.to).ok_or(Unsent::NoAddress)?;
        let held = self.probes.waiting.keys().filter(|key| key.2 == probe.id).count();
        if held >= MAX_WAITING || self.probes.waiting.len() >= MAX_WAITING * MAX_SENDERS {
            return Err(Unsent::Busy);
        }
        let packet = self.request(own, probe).ok_or(Unsent::NoAddress)?;
        let from = Ingress {
            view,
            id: probe.vif,
            vif,
            sender: Mac::default(),
            group: false,
            priority: 0,
            choice: None,
        };
        let (next_hop, table, egress) = match route_back(&from, probe.to, &packet) {
            Route::Via(next_hop, table, egress, _) => (next_hop, table, egress),
            Route::Local => return Err(Unsent::Own),
            Route::No(verdict) => return Err(Unsent::Route(verdict)),
        };
        let mtu = mtu(view.snapshot, next_hop, egress);
        if packet.len() > usize::from(mtu) {
            return Err(Unsent::TooLong(packet.len(), mtu));
        }
        let until_ns = view.now_ns.saturating_add(probe.patience_ns);
        let key = (vif.vrf, own, probe.id, probe.sequence);
        let waiting = Waiting { ingress: probe.vif, priority: 0, forward: false, packet };
        match self.lookup(view, next_hop, table, waiting, out) {
            Lookup::Known(mac, waiting) => {
                let sent = transmit_ip(view, next_hop, mac, &waiting.packet, 0, out);
                if !sent {
                    return Err(Unsent::Route(Verdict::Drop(DropReason::EgressDown)));
                }
            }
            Lookup::Queued | Lookup::Replaced => {}
            Lookup::Limit | Lookup::Failed(_) => return Err(Unsent::Unresolved),
        }
        let expected = Expected { vif: probe.vif, to: probe.to, sent_ns: view.now_ns, until_ns };
        self.probes.waiting.insert(key, expected);
        Ok(())
    }

    /// Waits no longer for what a sender has sent.
    pub fn forget_probes(&mut self, id: u16) {
        self.probes.waiting.retain(|key, _| key.2 != id);
    }

    /// The packet of an echo request.
    fn request(&mut self, own: IpAddr, probe: &Probe) -> Option<Vec<u8>> {
        let ([a, b], [c, d]) = (probe.id.to_be_bytes(), probe.sequence.to_be_bytes());
        let kind = if own.is_ipv4() { ECHO4.0 } else { ECHO6.0 };
        let body: Vec<u8> = (0..=u8::MAX).cycle().take(probe.data.into()).collect();
        let message = Message { head: (kind, 0, [a, b, c, d]), body: &body };
        let mut packet = build(own, probe.to, probe.hop_limit, (0, self.next_id()), message)?;
        if own.is_ipv4() && probe.dont_fragment {
            packet[6] |= DONT_FRAGMENT;
            packet::seal(&mut packet[..20]);
        }
        Some(packet)
    }

    /// Takes an echo reply to one of the router's addresses; false where it answers nothing that is waited for.
    pub(super) fn take_reply(
        &mut self,
        from: &Ingress<'_>,
        packet: &Packet<'_>,
        message: &[u8],
    ) -> bool {
        let Some(&[.., a, b, c, d]) = message.first_chunk::<8>() else { return false };
        let (id, sequence) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let key = (from.vif.vrf, packet.destination, id, sequence);
        self.take_answer(from, packet, key, packet.source, Said::Reply, message.len())
    }

    /// Takes an ICMP error to one of the router's addresses, if it quotes a request that is waited for.
    pub(super) fn take_error(&mut self, from: &Ingress<'_>, packet: &Packet<'_>, message: &[u8]) {
        let Some((head, quoted)) = message.split_at_checked(8) else { return };
        // What says that the request went no further: no redirect, nor source quench.
        let ends = if packet.source.is_ipv4() {
            matches!(head[0], 3 | 11 | 12)
        } else {
            matches!(head[0], 1..=4)
        };
        if !ends {
            return;
        }
        let Some((source, to, id, sequence)) = quoted_request(quoted) else { return };
        if source == packet.destination {
            let key = (from.vif.vrf, source, id, sequence);
            let said = Said::Error(head[0], head[1], be32(head, 4));
            self.take_answer(from, packet, key, to, said, message.len());
        }
    }

    fn take_answer(
        &mut self,
        from: &Ingress<'_>,
        packet: &Packet<'_>,
        key: Key,
        to: IpAddr,
        said: Said,
        octets: usize,
    ) -> bool {
        // It has to come from where the request may have gone: a customer of a public VRF says nothing of another's.
        let view = from.view;
        let ours = |expected: &Expected| {
            expected.to == to
                && expected.until_ns > view.now_ns
                && may_answer(view.snapshot, expected.vif, None, from.id).is_ok()
        };
        let Some(expected) = self.probes.waiting.get(&key).copied().filter(ours) else {
            return false;
        };
        self.probes.waiting.remove(&key);
        self.probes.answers.push(ProbeAnswer {
            id: key.2,
            sequence: key.3,
            from: packet.source,
            said,
            hop_limit: packet.hop_limit,
            octets,
            rtt_ns: view.now_ns.saturating_sub(expected.sent_ns),
        });
        true
    }

    /// The answers since the last call: at most as many as were waited for.
    pub fn take_answers(&mut self) -> Vec<ProbeAnswer> {
        std::mem::take(&mut self.probes.answers)
    }
}

/// Types of an echo request and its reply (RFC 792, RFC 4443 4).
pub(super) const ECHO4: (u8, u8) = (8, 0);
/// The same of ICMPv6.
pub(super) const ECHO6: (u8, u8) = (128, 129);

/// Source, destination, id and sequence number of an echo request that an ICMP error quotes; it may end behind those.
fn quoted_request(quoted: &[u8]) -> Option<(IpAddr, IpAddr, u16, u16)> {
    let (source, to, protocol, at, kind): (IpAddr, IpAddr, _, _, _) = match quoted.first()? >> 4 {
        4 => {
            let header = usize::from(quoted[0] & 15) * 4;
            let (source, to) = (ipv4_at(quoted, 12)?.into(), ipv4_at(quoted, 16)?.into());
            (source, to, *quoted.get(9)? == ICMP, header, ECHO4.0)
        }
        6 => {
            let (source, to) = (ipv6_at(quoted, 8)?.into(), ipv6_at(quoted, 24)?.into());
            (source, to, *quoted.get(6)? == ICMPV6, 40, ECHO6.0)
        }
        _ => return None,
    };
    let request = quoted.get(at..)?.first_chunk::<8>()?;
    let is_request = protocol && request[0] == kind;
    is_request.then(|| (source, to, be16(request, 4), be16(request, 6)))
}
