//! `show drops`: what went no further, and the last frames of it.

use std::net::IpAddr;

use super::answer::no;
use super::control_thread::Control;
use super::view::View;
use crate::admin::answer::Answer;
use crate::admin::protocol::DropFilter;
use crate::admin::rows::{DropRow, DroppedFrame, FrameHeaders};
use crate::observe::Drops;
use crate::tables::last_drops::LastFrame;
use crate::wire::ethernet::{
    ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_SERVICE_TAG, Mac, VID_MASK, be16,
};
use crate::wire::ipv4::{self, ICMP, TCP, UDP};
use crate::wire::ipv6::ICMPV6;
use crate::wire::outline::Outline;

/// The drops of a port with its VIFs, of a VIF, or all.
pub(super) fn show(control: &Control, filter: &DropFilter) -> Answer {
    let port = match &filter.port {
        Some(name) => match control.engine.port(name) {
            Some(id) => Some(id),
            None => return no("port", name),
        },
        None => None,
    };
    if let Some(name) = filter.vif.as_ref().filter(|name| control.engine.vif(name).is_none()) {
        return no("vif", name);
    }
    let (view, filter) = (View::of(control), filter.clone());
    let clock = Clock { epoch_ns: control.datapath.epoch_ns() };
    Answer::later(move || {
        let mut rows = Vec::new();
        let ports = view.ports().filter(|_| filter.vif.is_none());
        for (id, name) in ports.filter(|(id, _)| port.is_none_or(|port| port == *id)) {
            add(&mut rows, "port", name, &view.counters.drops_of_port(id), clock, filter.last);
        }
        for (id, vif) in view.vifs() {
            let wanted = filter.vif.as_ref().is_none_or(|wanted| **wanted == *vif.name);
            if wanted && port.is_none_or(|port| port == vif.port) {
                let drops = view.counters.drops_of_vif(id);
                add(&mut rows, "vif", &vif.name, &drops, clock, filter.last);
            }
        }
        Answer::rows(rows)
    })
}

/// Turns the monotonic time of who writes into that of the day.
#[derive(Clone, Copy)]
struct Clock {
    /// When the monotonic time began: nanoseconds since 1970.
    epoch_ns: u64,
}

impl Clock {
    fn ms(self, ns: u64) -> u64 {
        self.epoch_ns.saturating_add(ns) / 1_000_000
    }
}

fn add(rows: &mut Vec<DropRow>, scope: &str, name: &str, drops: &Drops, clock: Clock, last: usize) {
    for tally in &drops.tallies {
        let frames = drops.frames.iter().filter(|frame| frame.loss == tally.loss).take(last);
        rows.push(DropRow {
            scope: scope.into(),
            name: name.into(),
            reason: tally.loss.name().into(),
            count: tally.count,
            first_ms: clock.ms(tally.first_ns),
            last_ms: clock.ms(tally.last_ns),
            help: tally.loss.help().into(),
            frames: frames.map(|frame| described(frame, clock)).collect(),
        });
    }
}

fn described(kept: &LastFrame, clock: Clock) -> DroppedFrame {
    DroppedFrame {
        count: kept.count,
        last_ms: clock.ms(kept.last_ns),
        octets: kept.len as u64,
        headers: headers(&kept.headers),
    }
}

/// What a frame's headers say, or the first of them.
pub(super) fn headers(frame: &[u8]) -> FrameHeaders {
    let outline = Outline::of(frame);
    let tags = (0..outline.tags).map(|tag| 14 + 4 * tag);
    let mac = |at: usize| Some(Mac(*frame.get(at..)?.first_chunk()?).to_string());
    let mut found = FrameHeaders {
        source_mac: mac(6),
        destination_mac: mac(0),
        vlans: tags
            .filter(|&at| frame.len() >= at + 2)
            .map(|at| be16(frame, at) & VID_MASK)
            .collect(),
        service_tag: outline.tags > 0 && be16(frame, 12) == ETHERTYPE_SERVICE_TAG,
        ethertype: outline.ethertype.map(|ethertype| format!("{ethertype:#06x}")),
        ..FrameHeaders::default()
    };
    let packet = frame.get(outline.l3..).unwrap_or_default();
    let (from, to) = match outline.ethertype {
        Some(ETHERTYPE_IPV4) => (v4(packet, 12), v4(packet, 16)),
        Some(ETHERTYPE_IPV6) => (v6(packet, 8), v6(packet, 24)),
        Some(ETHERTYPE_ARP) => (v4(packet, 14), v4(packet, 24)),
        _ => (None, None),
    };
    (found.source, found.destination) = (from, to);
    if outline.ethertype == Some(ETHERTYPE_ARP) && packet.len() >= 8 {
        found.protocol = Some(match be16(packet, 6) {
            1 => "arp request".into(),
            2 => "arp reply".into(),
            other => format!("arp {other}"),
        });
    }
    if let Some((protocol, at)) = outline.upper {
        let header = frame.get(at..).unwrap_or_default();
        found.protocol = Some(match (protocol, header) {
            (TCP, _) => "tcp".into(),
            (UDP, _) => "udp".into(),
            (ICMP, [kind, code, ..]) => format!("icmp {kind}/{code}"),
            (ICMPV6, [kind, code, ..]) => format!("icmpv6 {kind}/{code}"),
            (other, _) => other.to_string(),
        });
        if let Some(ports) = ipv4::ports(protocol, header) {
            let [a, b, c, d] = ports.to_be_bytes();
            found.source_port = Some(u16::from_be_bytes([a, b]));
            found.destination_port = Some(u16::from_be_bytes([c, d]));
        }
    }
    found
}

fn v4(packet: &[u8], at: usize) -> Option<IpAddr> {
    Some(IpAddr::from(*packet.get(at..)?.first_chunk::<4>()?))
}

fn v6(packet: &[u8], at: usize) -> Option<IpAddr> {
    Some(IpAddr::from(*packet.get(at..)?.first_chunk::<16>()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::{DropReason, Loss};

    fn of(headers: Vec<u8>) -> DroppedFrame {
        let loss = Loss::Dropped(DropReason::UnknownVlan);
        let kept =
            LastFrame { loss, key: [0; 2], count: 31, last_ns: 500_000_000, len: 60, headers };
        described(&kept, Clock { epoch_ns: 7_500_000_000 })
    }

    #[test]
    fn headers_are_put_in_words() {
        let mut frame =
            vec![4, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 0x88, 0xa8, 0x61, 0x36, 0x81, 0, 0, 7, 8, 0];
        frame.extend([
            0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x1f, 0x90, 1, 187,
        ]);
        let found = of(frame);
        assert_eq!((found.count, found.last_ms, found.octets), (31, 8000, 60));
        let found = found.headers;
        assert_eq!(found.source_mac.as_deref(), Some("02:00:00:00:00:09"));
        assert_eq!((found.vlans, found.service_tag), (vec![310, 7], true));
        assert_eq!(found.source, Some("10.0.0.1".parse().unwrap()));
        assert_eq!(found.protocol.as_deref(), Some("tcp"));
        assert_eq!((found.source_port, found.destination_port), (Some(8080), Some(443)));
        let mut arp = vec![0xff; 12];
        arp.extend([
            8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 2, 2, 2, 2, 2, 10, 0, 0, 9, 0, 0, 0, 0, 0, 0, 10, 0,
            0, 1,
        ]);
        let found = of(arp).headers;
        assert_eq!(found.protocol.as_deref(), Some("arp request"));
        assert_eq!(found.destination, Some("10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn any_start_of_a_frame_is_described() {
        let whole: Vec<u8> = [[0x81, 0].repeat(10), vec![0x86, 0xdd, 0x60], vec![58; 70]].concat();
        for end in 0..whole.len() {
            of(whole[..end].to_vec());
        }
        assert_eq!(of(Vec::new()).headers.source_mac, None);
    }
}
