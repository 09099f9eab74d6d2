//! What the station itself asks of hosts, for `ping`, `traceroute` and the probes of the configuration: it leaves by the
//! VRF's routes as an answer of the router does, or by a given next hop, and an answer is one to a request that is still
//! waited for, or nothing.

mod packets;
mod waiting;

use std::net::IpAddr;
use std::sync::Arc;

use super::egress::{Ingress, Route, live, mtu, route_back, transmit_ip};
use super::neighbor::{Lookup, Waiting};
use super::packet::{Packet, own_address};
use super::twamp::datagram;
use super::{Output, SlowPath, View};
use crate::probes::Question;
use crate::tables::rules::{is_host_in, may_answer};
use crate::tables::{DropReason, Verdict, Vif, VifId, VrfId};
use crate::wire::ethernet::{Mac, be32};
use crate::wire::ipv4::{TCP, UDP};
use crate::wire::ipv6::is_link_local;
use crate::wire::twamp::{self, Reply};
use packets::{Quoted, Segment};
pub(super) use waiting::Probes;
use waiting::{Expected, Key, Tag};

/// Requests that are waited for at a time, of one ping at most.
pub const MAX_WAITING: usize = 64;
/// Pings at a time, at most: nobody takes another's room.
pub const MAX_SENDERS: usize = 8;

/// A request to send.
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
    /// By this neighbor of the VIF, whatever the routes say.
    pub via: Option<IpAddr>,
    /// What is asked.
    pub question: Question,
    /// Who sends it.
    pub id: u16,
    /// How many of theirs are waited for at a time.
    pub room: usize,
    /// Which of theirs it is.
    pub sequence: u16,
    /// How long an answer is waited for, in nanoseconds.
    pub patience_ns: u64,
}

/// How a request leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// It has.
    Now,
    /// It will once the next hop has answered ARP or ND, if that does.
    OnceResolved,
}

/// Why a request did not leave.
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
    /// That it is there: an echo reply, a connection accepted or refused, a reflected test packet.
    Reply,
    /// An ICMP error of the family: type, code, and the word behind the checksum.
    Error(u8, u8, u32),
}

/// The answer to a request.
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
    /// Octets behind the answer's IP header.
    pub octets: usize,
    /// From the request to the answer, without what the other end says that it took itself: nanoseconds.
    pub rtt_ns: u64,
}

/// What came that may be an answer.
#[derive(Clone, Copy)]
struct Heard<'a> {
    from: &'a Ingress<'a>,
    packet: &'a Packet<'a>,
    said: Said,
    octets: usize,
    /// What the other end says that it took.
    away_ns: u64,
}

impl SlowPath {
    /// Sends a request from the VIF's own address, by the routes of its VRF alone or by a neighbor of the VIF.
    ///
    /// # Errors
    /// Why it did not leave.
    pub fn probe(
        &mut self,
        view: &View<'_>,
        probe: &Probe,
        out: &mut Vec<Output>,
    ) -> Result<Left, Unsent> {
        self.refresh(view, out);
        let (name, vrf) = &probe.of;
        let live = live(view.snapshot, probe.vif);
        let same = live.filter(|(vif, _)| (&vif.name, vif.vrf) == (name, *vrf));
        let (vif, _) = same.ok_or(Unsent::Down)?;
        if !is_host_in(view.snapshot, vif.vrf, probe.to) {
            return Err(Unsent::NoHost);
        }
        let own = source(vif, probe.to, probe.via).ok_or(Unsent::NoAddress)?;
        if self.probes.held(probe.id) >= probe.room {
            return Err(Unsent::Busy);
        }
        let (tag, port, token, packet) = self.request(view, own, probe).ok_or(Unsent::NoAddress)?;
        let from = Ingress {
            view,
            id: probe.vif,
            vif,
            sender: Mac::default(),
            group: false,
            priority: 0,
            choice: None,
        };
        let route = match probe.via {
            Some(neighbor) => Route::Via((probe.vif, neighbor), None, vif, None),
            None => route_back(&from, probe.to, &packet),
        };
        let (next_hop, table, egress) = match route {
            Route::Via(next_hop, table, egress, _) => (next_hop, table, egress),
            Route::Local => return Err(Unsent::Own),
            Route::No(verdict) => return Err(Unsent::Route(verdict)),
        };
        let mtu = mtu(view.snapshot, next_hop, egress);
        if packet.len() > usize::from(mtu) {
            return Err(Unsent::TooLong(packet.len(), mtu));
        }
        let until_ns = view.now_ns.saturating_add(probe.patience_ns);
        let key = Key { vrf: vif.vrf, own, tag };
        let waiting = Waiting { ingress: probe.vif, priority: 0, forward: false, packet };
        let left = match self.lookup(view, next_hop, table, waiting, out) {
            Lookup::Known(mac, waiting) => {
                let sent = transmit_ip(view, next_hop, mac, &waiting.packet, 0, out);
                if !sent {
                    return Err(Unsent::Route(Verdict::Drop(DropReason::EgressDown)));
                }
                Left::Now
            }
            Lookup::Queued | Lookup::Replaced => Left::OnceResolved,
            Lookup::Limit | Lookup::Failed(_) => return Err(Unsent::Unresolved),
        };
        let (by, vif, to) = ((probe.id, probe.sequence), probe.vif, probe.to);
        let expected = Expected { by, vif, to, port, token, sent_ns: view.now_ns, until_ns };
        self.probes.wait_for(key, expected);
        Ok(left)
    }

    /// Waits no longer for what a sender has sent.
    pub fn forget_probes(&mut self, id: u16) {
        self.probes.forget_sender(id);
    }

    /// A request: what its answer has of it, the port that it asks, its token, and the packet.
    fn request(
        &mut self,
        view: &View<'_>,
        own: IpAddr,
        probe: &Probe,
    ) -> Option<(Tag, u16, u128, Vec<u8>)> {
        let ip = packets::headers(own, probe, self.next_id())?;
        let (from_port, number) = self.probes.next_port();
        match probe.question {
            Question::Echo(data) => {
                let tag = Tag::Echo(probe.id, probe.sequence);
                Some((tag, 0, 0, packets::echo(ip, probe.id, probe.sequence, data)?))
            }
            Question::Syn(port) => {
                let packet = packets::syn(ip, [from_port, port], number)?;
                Some((Tag::Port(TCP, from_port), port, number.into(), packet))
            }
            Question::Twamp(port, octets, number) => {
                let sent = twamp::timestamp(self.epoch_ns, view.now_ns);
                let payload = twamp::request(number, sent, octets);
                let packet = datagram(ip, [from_port, port], &payload)?;
                Some((Tag::Port(UDP, from_port), port, test_token(number, sent), packet))
            }
        }
    }

    /// Takes an echo reply to one of the router's addresses; false where it answers nothing that is waited for.
    pub(super) fn take_reply(
        &mut self,
        from: &Ingress<'_>,
        packet: &Packet<'_>,
        message: &[u8],
    ) -> bool {
        let Some(&[.., a, b, c, d]) = message.first_chunk::<8>() else { return false };
        let tag = Tag::Echo(u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let heard = Heard { from, packet, said: Said::Reply, octets: message.len(), away_ns: 0 };
        self.take_answer(tag, &heard, |expected| expected.to == packet.source)
    }

    /// Takes what somebody says to one of our segments; false where it answers nothing that is waited for. Who accepts the
    /// connection is told that there will be none.
    pub(super) fn take_segment(
        &mut self,
        from: &Ingress<'_>,
        packet: &Packet<'_>,
        out: &mut Vec<Output>,
    ) -> bool {
        let Some(segment) = Segment::of(packet) else { return false };
        let octets = packet.payload().len();
        let heard = Heard { from, packet, said: Said::Reply, octets, away_ns: 0 };
        let taken = self.take_answer(Tag::Port(TCP, segment.to), &heard, |expected| {
            let acknowledges = u128::from(segment.acknowledged.wrapping_sub(1)) == expected.token;
            acknowledges && (expected.to, expected.port) == (packet.source, segment.from)
        });
        if taken
            && segment.accepts
            && let Some(reset) = segment.reset(packet, self.next_id())
        {
            self.answer(from, packet.source, reset, out);
        }
        taken
    }

    /// Takes a test packet that came back; false where it answers nothing that is waited for.
    pub(super) fn take_reflected(
        &mut self,
        from: &Ingress<'_>,
        packet: &Packet<'_>,
        [port, to]: [u16; 2],
        payload: &[u8],
    ) -> bool {
        let Some(Reply { number, sent, away_ns }) = twamp::reply(payload) else { return false };
        let octets = packet.payload().len();
        let heard = Heard { from, packet, said: Said::Reply, octets, away_ns };
        self.take_answer(Tag::Port(UDP, to), &heard, |expected| {
            let token = test_token(number, sent);
            expected.token == token && (expected.to, expected.port) == (packet.source, port)
        })
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
        let Some(Quoted { source, to, tag, port, sequence }) = Quoted::of(quoted) else { return };
        if source == packet.destination {
            let said = Said::Error(head[0], head[1], be32(head, 4));
            let heard = Heard { from, packet, said, octets: message.len(), away_ns: 0 };
            self.take_answer(tag, &heard, |expected| {
                let seen = sequence.is_none_or(|sequence| u128::from(sequence) == expected.token);
                seen && (expected.to, expected.port) == (to, port)
            });
        }
    }

    fn take_answer(
        &mut self,
        tag: Tag,
        heard: &Heard<'_>,
        is_to: impl Fn(&Expected) -> bool,
    ) -> bool {
        let Heard { from, packet, said, octets, away_ns } = *heard;
        let key = Key { vrf: from.vif.vrf, own: packet.destination, tag };
        // It has to come from where the request may have gone: a customer of a public VRF says nothing of another's.
        let view = from.view;
        let ours = |expected: &Expected| {
            is_to(expected)
                && expected.until_ns > view.now_ns
                && may_answer(view.snapshot, expected.vif, None, from.id).is_ok()
        };
        let Some(expected) = self.probes.take(&key, ours) else { return false };
        let (id, sequence) = expected.by;
        let there_and_back = view.now_ns.saturating_sub(expected.sent_ns);
        self.probes.answers.push(ProbeAnswer {
            id,
            sequence,
            from: packet.source,
            said,
            hop_limit: packet.hop_limit,
            octets,
            rtt_ns: there_and_back.checked_sub(away_ns).unwrap_or(there_and_back),
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

/// The address that a VIF asks a host from, by a neighbor of its or by the routes.
pub fn source(vif: &Vif, to: IpAddr, via: Option<IpAddr>) -> Option<IpAddr> {
    own_address(vif, via.filter(|via| !is_link_local(*via)).unwrap_or(to))
}

/// What a test packet is known by when it comes back.
fn test_token(number: u32, sent: u64) -> u128 {
    u128::from(number) << 64 | u128::from(sent)
}
