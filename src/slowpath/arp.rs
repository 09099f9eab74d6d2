//! ARP (RFC 826) and its use against conflicts (RFC 5227).

use std::net::{IpAddr, Ipv4Addr};

use etherparse::{ArpEthIpv4Packet, ArpOperation, ArpPacketSlice};

use super::egress::{Ingress, live, static_mac, transmit};
use super::neighbor::Heard;
use super::packet::{is_on_link, is_ours, own_address};
use super::{Output, SlowPath};
use crate::tables::{SlowOutcome, Vif};
use crate::wire::ethernet::{ETHERTYPE_ARP, Mac};

/// A request for `target`, from the VIF's address in its subnet.
pub fn request(vif: &Vif, own: Mac, target: Ipv4Addr) -> Option<[u8; 28]> {
    let IpAddr::V4(sender) = own_address(vif, target.into())? else { return None };
    let packet = ArpEthIpv4Packet {
        operation: ArpOperation::REQUEST,
        sender_mac: own.0,
        sender_ipv4: sender.octets(),
        target_mac: [0; 6],
        target_ipv4: target.octets(),
    };
    Some(packet.to_bytes())
}

/// Ethernet and IPv4, a request or a reply, and a sender that is a station.
fn parse(from: &Ingress<'_>, bytes: &[u8]) -> Option<ArpEthIpv4Packet> {
    let arp = ArpPacketSlice::from_slice(bytes).ok()?.to_packet();
    let packet = ArpEthIpv4Packet::try_from(arp).ok()?;
    let sender = Mac(packet.sender_mac);
    let sound = matches!(packet.operation, ArpOperation::REQUEST | ArpOperation::REPLY)
        && !sender.is_group()
        && sender != Mac::default()
        // Two senders in one frame: a proxy that we do not serve, or poison.
        && sender == from.sender;
    sound.then_some(packet)
}

impl SlowPath {
    /// An ARP frame.
    pub(super) fn arp(
        &mut self,
        from: &Ingress<'_>,
        bytes: &[u8],
        out: &mut Vec<Output>,
    ) -> SlowOutcome {
        let Some(arp) = parse(from, bytes) else { return SlowOutcome::BadArp };
        let mac = Mac(arp.sender_mac);
        let sender = Ipv4Addr::from(arp.sender_ipv4);
        let target = Ipv4Addr::from(arp.target_ipv4);
        let for_us = is_ours(from.vif, target.into());
        let request = arp.operation == ArpOperation::REQUEST;
        if sender.is_unspecified() {
            // A probe (RFC 5227 1.1): whether somebody has the address. Nothing is learned from it.
            return match request && for_us {
                true => reply(from, &arp, out),
                false if request => SlowOutcome::NotForUs,
                false => SlowOutcome::BadArp,
            };
        }
        if is_ours(from.vif, sender.into()) {
            return SlowOutcome::AddressConflict;
        }
        if !is_on_link(from.vif, sender.into()) {
            return SlowOutcome::ArpOffSubnet;
        }
        let heard = self.heard_from(from, sender.into(), mac, for_us && !request, out);
        if request && for_us {
            return reply(from, &arp, out);
        }
        match heard {
            Heard::Contested => SlowOutcome::UnsolicitedReply,
            Heard::Unknown if for_us => SlowOutcome::UnsolicitedReply,
            // An announcement (RFC 5227 3) of somebody's own address concerns everybody.
            _ if for_us || target == sender => SlowOutcome::Consumed,
            _ => SlowOutcome::NotForUs,
        }
    }

    /// Takes in where a neighbor is. Nothing that it says changes a static neighbor.
    pub(super) fn heard_from(
        &mut self,
        from: &Ingress<'_>,
        address: IpAddr,
        mac: Mac,
        answer: bool,
        out: &mut Vec<Output>,
    ) -> Heard {
        let key = (from.id, address);
        if let Some(known) = static_mac(from.view.snapshot, key) {
            return if known == mac { Heard::Taken } else { Heard::Contested };
        }
        let mut actions = Vec::new();
        let heard = self.neighbors.heard(from.view.now_ns, key, mac, answer, &mut actions);
        self.act(from.view, actions, out);
        heard
    }
}

/// The reply to a request for one of our addresses, to its sender alone.
fn reply(from: &Ingress<'_>, asked: &ArpEthIpv4Packet, out: &mut Vec<Output>) -> SlowOutcome {
    let Some((_, port)) = live(from.view.snapshot, from.id) else { return SlowOutcome::NoEgress };
    let packet = ArpEthIpv4Packet {
        operation: ArpOperation::REPLY,
        sender_mac: port.mac.0,
        sender_ipv4: asked.target_ipv4,
        target_mac: asked.sender_mac,
        target_ipv4: asked.sender_ipv4,
    };
    let to = Mac(asked.sender_mac);
    let bytes = packet.to_bytes();
    transmit(from.view.snapshot, from.id, to, ETHERTYPE_ARP, &bytes, from.priority, out);
    SlowOutcome::Answered
}
