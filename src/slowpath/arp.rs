//! ARP (RFC 826) and its use against conflicts (RFC 5227). Who asks is answered; learned is only
//! where a neighbor on one of the VIF's subnets is.

use std::net::{IpAddr, Ipv4Addr};

use etherparse::{ArpEthIpv4Packet, ArpOperation, ArpPacketSlice};

use super::egress::{Ingress, live, transmit};
use super::heard::is_looped;
use super::neighbor::{Heard, Said};
use super::packet::own_address;
use super::{Output, SlowPath};
use crate::tables::rules::{is_host_in, is_on_link, is_ours, is_subnet_broadcast};
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

/// Ethernet and IPv4, a request or a reply, and a sender that is a station. The Ethernet source may
/// be another MAC: a VRRP router answers with its virtual MAC from its own (RFC 9568 8.1.2), and RFC
/// 826 compares nothing with the frame.
fn parse(bytes: &[u8]) -> Option<ArpEthIpv4Packet> {
    let arp = ArpPacketSlice::from_slice(bytes).ok()?.to_packet();
    let packet = ArpEthIpv4Packet::try_from(arp).ok()?;
    let sender = Mac(packet.sender_mac);
    let sound = matches!(packet.operation, ArpOperation::REQUEST | ArpOperation::REPLY)
        && !sender.is_group()
        && sender != Mac::default();
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
        let Some(arp) = parse(bytes) else { return SlowOutcome::BadArp };
        let mac = Mac(arp.sender_mac);
        let sender = Ipv4Addr::from(arp.sender_ipv4);
        let target = Ipv4Addr::from(arp.target_ipv4);
        let for_us = is_ours(from.vif, target.into());
        let request = arp.operation == ArpOperation::REQUEST;
        let claims_ours = is_ours(from.vif, sender.into());
        if is_looped(from, claims_ours, mac) {
            return SlowOutcome::Looped;
        }
        if sender.is_unspecified() {
            // A probe (RFC 5227 1.1): whether somebody has the address. Nothing is learned from it.
            return match request && for_us {
                true => reply(from, &arp, out),
                false if request => SlowOutcome::NotForUs,
                false => SlowOutcome::BadArp,
            };
        }
        if claims_ours {
            return SlowOutcome::AddressConflict;
        }
        if !is_on_link(from.vif, sender.into()) {
            // A router that asks from its loopback or a secondary address is told, as RFC 826 has
            // it: the target is what counts.
            let host = is_host_in(from.view.snapshot, from.vif.vrf, sender.into());
            let unicast = host && !is_subnet_broadcast(from.vif, sender.into());
            return match request && for_us && unicast {
                true => reply(from, &arp, out),
                false => SlowOutcome::ArpOffSubnet,
            };
        }
        let said = if for_us && !request { Said::Answer } else { Said::Claim };
        let heard = self.heard_from(from, sender.into(), mac, said, out);
        if request && for_us {
            return reply(from, &arp, out);
        }
        match heard {
            Heard::Contested => SlowOutcome::NeighborClaimed,
            Heard::Refused => SlowOutcome::UnsolicitedReply,
            Heard::Unknown if for_us => SlowOutcome::UnsolicitedReply,
            // An announcement (RFC 5227 3) of somebody's own address concerns everybody.
            _ if for_us || target == sender => SlowOutcome::Consumed,
            _ => SlowOutcome::NotForUs,
        }
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
    let (to, neighbor) = (Mac(asked.sender_mac), (from.id, asked.sender_ipv4.into()));
    let bytes = packet.to_bytes();
    transmit(from.view, neighbor, to, ETHERTYPE_ARP, &bytes, from.priority, out);
    SlowOutcome::Answered
}
