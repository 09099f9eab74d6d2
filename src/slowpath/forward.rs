//! Forwarding in software, for packets that need more than the fast path does, with the fast path's
//! checks in its order: route, TTL, MTU, rewrite. Packets of the router itself leave here too.

use std::net::IpAddr;

use super::egress::{
    Ingress, Route, dropped, marked, mtu, route, route_back, translated, transmit_ip,
};
use super::icmp::Problem;
use super::neighbor::{Key, Lookup, Waiting};
use super::packet::{self, Packet, own_address};
use super::{Output, SlowPath, View, options};
use crate::acl::Action;
use crate::tables::rules::{may_answer, may_leave};
use crate::tables::{DropReason, ExchangeId, PuntReason, SlowOutcome, Verdict, Vif};
use crate::wire::checksum;
use crate::wire::ethernet::{Mac, be16};
use crate::wire::ipv6::is_link_local;

impl SlowPath {
    /// Forwards a packet by the tables as they are now, or answers why not.
    pub(super) fn forward(
        &mut self,
        from: &Ingress<'_>,
        packet: &Packet<'_>,
        out: &mut Vec<Output>,
    ) -> SlowOutcome {
        if is_link_local(packet.source) || is_link_local(packet.destination) {
            return self.link_local(from, packet, out);
        }
        let (key, table, egress, permit) = match route(from, packet) {
            Route::Via(key, mac, egress, permit) => (key, mac, egress, permit),
            Route::Local => return self.local(from, packet, out),
            Route::No(verdict) => return self.unroutable(from, packet, verdict, out),
        };
        // The fast path has judged it, by the same tables and for the same egress: else it is judged anew, whole.
        if !from.is_chosen() {
            match judge(from.vif, egress, packet) {
                Action::Permit => {}
                Action::Deny => return SlowOutcome::AclDenied,
                Action::Reject => {
                    self.error(from, packet, Problem::Prohibited, out);
                    return SlowOutcome::AclDenied;
                }
            }
        }
        // RFC 1812 5.3.1, RFC 8200 section 3.
        if packet.hop_limit <= 1 {
            return self.error(from, packet, Problem::TtlExceeded, out);
        }
        let mtu = mtu(from.view.snapshot, key, egress);
        if packet.bytes.len() > usize::from(mtu) && packet.dont_fragment() {
            return self.error(from, packet, Problem::TooBig(mtu), out);
        }
        let mut finished = match finish(packet, egress, from.view.now_ns) {
            Ok(finished) => finished,
            Err(options::Bad::At(at)) => {
                self.error(from, packet, Problem::Parameter(at.into()), out);
                return SlowOutcome::BadOptions;
            }
            Err(options::Bad::SourceRoute) => return SlowOutcome::BadOptions,
        };
        // What waits is the packet as it came: an ICMP error about it has to quote that.
        let original = packet.bytes.to_vec();
        let waiting =
            Waiting { ingress: from.id, priority: from.priority, forward: true, packet: original };
        match self.lookup(from.view, key, table, waiting, out) {
            Lookup::Known(mac, _) => {
                let priority = marked(from.view, key.0, &mut finished, from.priority);
                let sent = transmit_ip(from.view, key, mac, &finished, priority, out);
                if !sent {
                    return match translated(egress, &finished) {
                        Some(_) => SlowOutcome::IcmpNotAllowed,
                        None => SlowOutcome::Untranslatable,
                    };
                }
                count(from.view, permit, packet);
                SlowOutcome::Forwarded
            }
            Lookup::Failed(_) => {
                self.error(from, packet, Problem::HostUnreachable, out);
                SlowOutcome::NeighborFailed
            }
            Lookup::Queued => SlowOutcome::Queued,
            Lookup::Replaced => SlowOutcome::NeighborQueueFull,
            Lookup::Limit => SlowOutcome::NeighborLimit,
        }
    }

    /// A packet that no route leads out.
    fn unroutable(
        &mut self,
        from: &Ingress<'_>,
        packet: &Packet<'_>,
        verdict: Verdict,
        out: &mut Vec<Output>,
    ) -> SlowOutcome {
        let problem = match verdict {
            Verdict::Punt(PuntReason::NoRoute) => Problem::NoRoute,
            Verdict::Punt(PuntReason::Unreachable) => Problem::HostUnreachable,
            Verdict::Punt(PuntReason::Prohibited) => Problem::Prohibited,
            Verdict::Drop(reason) => return dropped(reason),
            Verdict::Punt(_) | Verdict::Forward => return SlowOutcome::NoEgress,
        };
        self.error(from, packet, problem, out)
    }

    /// Sends a packet of the router itself, which answers one that came by `from`, see [`route_back`].
    pub(super) fn answer(
        &mut self,
        from: &Ingress<'_>,
        to: IpAddr,
        packet: Vec<u8>,
        out: &mut Vec<Output>,
    ) -> SlowOutcome {
        let (key, table) = match route_back(from, to, &packet) {
            Route::Via(key, table, ..) => (key, table),
            Route::No(Verdict::Drop(reason)) => return dropped(reason),
            Route::No(_) | Route::Local => return SlowOutcome::NoEgress,
        };
        let waiting = Waiting { ingress: from.id, priority: from.priority, forward: false, packet };
        match self.lookup(from.view, key, table, waiting, out) {
            Lookup::Known(mac, answer) => {
                let sent = transmit_ip(from.view, key, mac, &answer.packet, from.priority, out);
                if sent { SlowOutcome::Answered } else { SlowOutcome::NoEgress }
            }
            Lookup::Queued => SlowOutcome::Queued,
            Lookup::Replaced => SlowOutcome::NeighborQueueFull,
            Lookup::Limit => SlowOutcome::NeighborLimit,
            Lookup::Failed(_) => SlowOutcome::NeighborFailed,
        }
    }

    /// Sends what waited for a neighbor. The tables may have changed since: it is checked again.
    pub(super) fn send_waiting(
        &mut self,
        view: &View<'_>,
        key: Key,
        mac: Mac,
        waiting: &Waiting,
        out: &mut Vec<Output>,
    ) {
        let may = if waiting.forward { may_leave } else { may_answer };
        let (egress, permit) = match may(view.snapshot, waiting.ingress, None, key.0) {
            Ok(egress) => (egress, None),
            // By an exchange, if there still is one for it.
            Err(DropReason::VrfMismatch) => match waited(view, waiting) {
                Some((from, packet)) => match route(&from, &packet) {
                    Route::Via(same, _, egress, permit) if same == key => (egress, permit),
                    _ => return,
                },
                None => return,
            },
            Err(_) => return,
        };
        if !waiting.forward {
            transmit_ip(view, key, mac, &waiting.packet, waiting.priority, out);
            return;
        }
        let Some(packet) = Packet::parse(&waiting.packet) else { return };
        let Ok(mut finished) = finish(&packet, egress, view.now_ns) else { return };
        let priority = marked(view, key.0, &mut finished, waiting.priority);
        if transmit_ip(view, key, mac, &finished, priority, out) {
            count(view, permit, &packet);
        }
    }

    /// The neighbor that a packet waited for did not answer.
    pub(super) fn give_up(&mut self, view: &View<'_>, waiting: &Waiting, out: &mut Vec<Output>) {
        if let Some((from, packet)) = waited(view, waiting) {
            self.error(&from, &packet, Problem::HostUnreachable, out);
        }
    }
}

/// A packet that waited to be forwarded, and where it came from.
fn waited<'a>(view: &'a View<'a>, waiting: &'a Waiting) -> Option<(Ingress<'a>, Packet<'a>)> {
    let vif = view.snapshot.vif(waiting.ingress).filter(|_| waiting.forward)?;
    let from = Ingress {
        view,
        id: waiting.ingress,
        vif,
        sender: Mac::default(),
        group: false,
        priority: waiting.priority,
        choice: None,
    };
    Some((from, Packet::parse(&waiting.packet)?))
}

/// Counts a packet that leaves by an exchange, as it came.
fn count(view: &View<'_>, permit: Option<ExchangeId>, packet: &Packet<'_>) {
    if let Some(exchange) = permit.and_then(|id| view.snapshot.exchange(id)) {
        exchange.passed.count_slow(packet.bytes.len() as u64);
    }
}

/// What the access lists of the two VIFs say. Hits are the fast path's.
fn judge(ingress: &Vif, egress: &Vif, packet: &Packet<'_>) -> Action {
    let lists = [&ingress.acl_in, &egress.acl_out].into_iter().flatten();
    let mut said = lists.map(|list| list.action(list.place(packet.bytes)));
    said.find(|action| *action != Action::Permit).unwrap_or(Action::Permit)
}

/// The packet as it leaves by `egress`: options filled in, TTL or hop limit one less.
fn finish(packet: &Packet<'_>, egress: &Vif, now_ns: u64) -> Result<Vec<u8>, options::Bad> {
    let mut bytes = packet.bytes.to_vec();
    if packet.source.is_ipv6() {
        bytes[7] = packet.hop_limit.saturating_sub(1);
        return Ok(bytes);
    }
    if packet.header > 20 {
        let own = match own_address(egress, packet.destination) {
            Some(IpAddr::V4(own)) => own,
            _ => std::net::Ipv4Addr::UNSPECIFIED,
        };
        let milliseconds = u32::try_from(now_ns / 1_000_000 % (1 << 31)).unwrap_or(0);
        options::process(&mut bytes[..packet.header], own, milliseconds)?;
        bytes[8] = packet.hop_limit.saturating_sub(1);
        packet::seal(&mut bytes[..packet.header]);
    } else {
        // RFC 1624: as the fast path does it.
        let old = be16(&bytes, 8);
        bytes[8] = packet.hop_limit.saturating_sub(1);
        let sum = checksum::update(be16(&bytes, 10), old, be16(&bytes, 8));
        bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    Ok(bytes)
}
