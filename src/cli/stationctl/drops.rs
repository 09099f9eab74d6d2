//! `show drops`: its arguments, and how drops are told.

use std::io::{self, Write};

use clap::Args;

use super::filter::Subject;
use super::output::Show;
use super::table::{self, Look, number, text};
use super::units::{count, moment};
use crate::admin::protocol::{DropFilter, Request};
use crate::admin::rows::{DropRow, DroppedFrame, FrameHeaders};

/// What was dropped, why, what to do about it, and the last frames of each reason
///
/// By VIF (or port, while no VIF is known) and reason: how many frames, when the first and the last, what
/// to do, and the last senders with MACs, VLAN ids, addresses, protocol and ports. Counts what the fast
/// path dropped, what the slow path had no use for, and what was answered by an ICMP error instead of being
/// forwarded.
///
/// Frames with the same source MAC, VLAN ids and addresses are one sender. A VIF keeps 16 senders, a port
/// 64, per worker and for the slow path: a new one takes the place of the oldest of the reason and VLAN
/// that have most, so a flood leaves other reasons, other VLANs of the port, and other VIFs what they have.
/// Of a flood of new senders at most 4 of a reason and VLAN are taken down in 8 ms; the counts are exact.
/// Only headers are kept.
#[derive(Args, Debug)]
pub(super) struct DropArgs {
    /// Only what entered by this VIF
    #[arg(long, value_name = "NAME", conflicts_with = "port")]
    vif: Option<String>,
    /// Only what entered by this port and its VIFs
    #[arg(long, value_name = "NAME")]
    port: Option<String>,
    /// Senders shown of each reason, the latest first
    #[arg(long, value_name = "N", default_value_t = 3)]
    last: usize,
}

impl DropArgs {
    pub(super) fn request(&self) -> Request {
        Request::ShowDrops(DropFilter {
            vif: self.vif.clone(),
            port: self.port.clone(),
            last: self.last,
        })
    }
}

impl Show for DropRow {
    fn subject(&self) -> Option<Subject<'_>> {
        Some(Subject::of(&self.scope, &self.name))
    }

    fn show(rows: &[Self], look: &Look, out: &mut impl Write) -> io::Result<()> {
        if rows.is_empty() {
            return writeln!(out, "nothing was dropped");
        }
        let headings = [
            text("WHERE", 0),
            text("REASON", 0),
            number("COUNT", 0),
            text("FIRST SEEN", 1),
            text("LAST SEEN", 0),
        ];
        let cells = rows.iter().map(|row| {
            let place = format!("{} {}", row.scope, row.name);
            let (first, last) = (moment(row.first_ms), moment(row.last_ms));
            vec![place, row.reason.clone(), count(row.count), first, last]
        });
        table::write(out, look, &headings, cells)?;
        for row in rows {
            writeln!(out, "\n{} {} {}: {}", row.scope, row.name, row.reason, row.help)?;
            row.frames.iter().try_for_each(|frame| writeln!(out, "  {}", told(frame)))?;
        }
        Ok(())
    }
}

/// Frames of one sender in a line.
fn told(frame: &DroppedFrame) -> String {
    let time = moment(frame.last_ms);
    let (count, headers) = (count(frame.count), headers(&frame.headers));
    format!("{time} {count}x {headers}, {} octets", frame.octets)
}

/// What headers say, in a line.
pub(super) fn headers(frame: &FrameHeaders) -> String {
    let mut text = String::new();
    if frame.vlans.is_empty() {
        text += "untagged";
    } else {
        let vlans: Vec<String> = frame.vlans.iter().map(ToString::to_string).collect();
        text += if frame.service_tag { "VLAN (802.1ad) " } else { "VLAN " };
        text += &vlans.join(".");
    }
    let mac = |mac: &Option<String>| mac.clone().unwrap_or_else(|| "?".to_owned());
    text += &format!(" from {} to {}", mac(&frame.source_mac), mac(&frame.destination_mac));
    match &frame.protocol {
        Some(protocol) => text += &format!(", {protocol}"),
        None => text += &frame.ethertype.as_ref().map_or_else(String::new, |e| format!(", {e}")),
    }
    if let (Some(source), Some(destination)) = (frame.source, frame.destination) {
        let end = |address: std::net::IpAddr, port: Option<u16>| match port {
            Some(port) => std::net::SocketAddr::new(address, port).to_string(),
            None => address.to_string(),
        };
        let (from, to) = (end(source, frame.source_port), end(destination, frame.destination_port));
        text += &format!(" {from} > {to}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_is_told_in_a_line() {
        let headers = FrameHeaders {
            source_mac: Some("02:00:00:00:00:09".into()),
            destination_mac: Some("04:00:00:00:00:01".into()),
            vlans: vec![310],
            ethertype: Some("0x0800".into()),
            protocol: Some("udp".into()),
            source: Some("fd00::1".parse().unwrap()),
            destination: Some("fd00::2".parse().unwrap()),
            source_port: Some(7),
            destination_port: Some(53),
            ..FrameHeaders::default()
        };
        let (count, last_ms) = (31, 1_795_000_000_123);
        let mut frame = DroppedFrame { count, last_ms, octets: 64, headers };
        assert_eq!(
            told(&frame),
            "2026-11-18T11:06:40.123Z 31x VLAN 310 from 02:00:00:00:00:09 to 04:00:00:00:00:01, \
             udp [fd00::1]:7 > [fd00::2]:53, 64 octets"
        );
        let headers = &mut frame.headers;
        (headers.protocol, headers.source, headers.vlans) = (None, None, Vec::new());
        assert!(told(&frame).contains("31x untagged from"), "{}", told(&frame));
        assert!(told(&frame).ends_with(", 0x0800, 64 octets"), "{}", told(&frame));
    }
}
