//! `stationd replay`: captures in, annotated captures out.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_possible_truncation)]

mod cases;
#[path = "../common/mod.rs"]
mod common;
mod routes;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::packets::{Icmp, Seen, arp, packet, ping, udp, with_ttl};
use common::{A, A_CORE, A2, CONFIG, Host, P2, expected};
use pcap_file::DataLink;
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapReader, PcapWriter};
use pcap_file::pcapng::blocks::block_common::Block;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::blocks::opt_common::CommonOption;
use pcap_file::pcapng::{PcapNgReader, PcapNgWriter};
use station::replay::capture::{self, CaptureError, MacSource, Options, Row, Summary};
use station::wire::ethernet::Mac;

/// A directory of a test's own, with the lab's configuration in it.
fn scratch(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    drop(fs::remove_dir_all(&path));
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join("station.toml"), CONFIG).unwrap();
    path
}

fn replay(at: &Path, input: &str, options: &Options) -> Result<Summary, CaptureError> {
    capture::run(&at.join("station.toml"), &at.join(input), &at.join("out.pcapng"), options)
}

/// A pcap of these frames, 10 ms apart.
fn pcap(path: &Path, link: DataLink, frames: &[Vec<u8>]) {
    let header = PcapHeader { datalink: link, ..PcapHeader::default() };
    let mut writer = PcapWriter::with_header(fs::File::create(path).unwrap(), header).unwrap();
    for (i, frame) in (0u64..).zip(frames) {
        let time = Duration::from_secs(1_700_000_000) + Duration::from_millis(10 * i);
        writer
            .write_packet(&PcapPacket::new(time, frame.len() as u32, &frame[..]).unwrap())
            .unwrap();
    }
}

/// A pcapng of frames that name their interface; `cut` octets are missing at each frame's end.
fn pcapng(path: &Path, interfaces: &[&str], frames: &[(u32, u64, Vec<u8>, usize)]) {
    let mut writer = PcapNgWriter::new(fs::File::create(path).unwrap()).unwrap();
    for name in interfaces {
        let mut block = InterfaceDescriptionBlock::new(DataLink::ETHERNET, 0);
        block.options.push(InterfaceDescriptionOption::IfName((*name).into()));
        writer.write_pcapng_block(block).unwrap();
    }
    for (interface, ms, frame, cut) in frames {
        let block = EnhancedPacketBlock {
            interface_id: *interface,
            timestamp: Duration::from_secs(1_700_000_000) + Duration::from_millis(*ms),
            original_len: frame.len() as u32,
            data: frame[..frame.len() - cut].into(),
            options: vec![],
        };
        writer.write_pcapng_block(block).unwrap();
    }
}

#[derive(Debug)]
struct Out {
    port: String,
    time: Duration,
    frame: Vec<u8>,
    comment: String,
    sent: bool,
}

/// The output, read back.
fn read(at: &Path) -> Vec<Out> {
    let mut reader = PcapNgReader::new(fs::File::open(at.join("out.pcapng")).unwrap()).unwrap();
    let mut out = Vec::new();
    while let Some(block) = reader.next_block() {
        let (Block::EnhancedPacket(block), state) = block.unwrap() else { continue };
        let interface = &state.interfaces()[block.interface_id as usize];
        let port = interface.options.iter().find_map(|option| match option {
            InterfaceDescriptionOption::IfName(name) => Some(name.to_string()),
            _ => None,
        });
        let (mut comment, mut sent) = (String::new(), false);
        for option in &block.options {
            match option {
                EnhancedPacketOption::Common(CommonOption::Comment(text)) => {
                    comment = text.to_string()
                }
                EnhancedPacketOption::Flags(flags) => sent = flags & 3 == 2,
                _ => {}
            }
        }
        let (time, frame) = (block.timestamp, block.data.to_vec());
        out.push(Out { port: port.unwrap(), time, frame, comment, sent });
    }
    out
}

fn row<'a>(rows: &'a [Row], scope: &str, reason: &str) -> &'a Row {
    let found = rows.iter().find(|row| row.scope == scope && row.reason == reason);
    found.unwrap_or_else(|| panic!("no {reason} on {scope} in {rows:?}"))
}

#[test]
fn each_frame_is_explained_and_what_it_caused_follows_it() {
    let at = scratch("explained");
    let good = packet("10.1.0.9", "10.64.0.1");
    let frames = [
        A.frame(&good),
        A.frame(&with_ttl(good.clone(), 1)),
        A.frame(&packet("8.8.8.8", "10.64.0.1")),
        Host { tags: &[(0x8100, 999)], ..A }.frame(&good),
    ];
    pcap(&at.join("in.pcap"), DataLink::ETHERNET, &frames);
    let summary = replay(&at, "in.pcap", &Options::default()).unwrap();

    let out = read(&at);
    let inputs: Vec<&Out> = out.iter().filter(|out| !out.sent).collect();
    assert_eq!(inputs.iter().map(|out| out.frame.clone()).collect::<Vec<_>>(), frames);
    assert!(inputs.iter().all(|out| out.port == "cust0"));
    for (input, words) in inputs.iter().zip([
        "frame 1: forward on vif a",
        "frame 2: punt(ttl_exceeded) on vif a: TTL or hop limit ran out: answered by ICMP time exceeded. Outcome answered:",
        "frame 3: drop(spoofed_source) on vif a: No route leads back to this source",
        "frame 4: drop(unknown_vlan) on port cust0: No VIF on this port has this VLAN id",
    ]) {
        assert!(input.comment.starts_with(words), "{:?}", input.comment);
    }
    let sent: Vec<(&str, &str, &[u8])> = out
        .iter()
        .filter(|out| out.sent)
        .map(|out| (&*out.port, &*out.comment, &*out.frame))
        .collect();
    assert_eq!(sent[0], ("core0", "sent because of frame 1", &expected(&good, A_CORE)[..]));
    assert_eq!(sent.len(), 2);
    assert_eq!((sent[1].0, sent[1].1), ("cust0", "sent because of frame 2"));
    assert_eq!(Icmp::read(&Seen::read(sent[1].2).packet).kind, 11);
    assert_eq!(inputs[3].time - inputs[0].time, Duration::from_millis(30));

    assert_eq!(
        (&*summary.ports[0].mac, summary.ports[0].mac_source),
        ("02:00:00:00:00:01", MacSource::Capture)
    );
    assert_eq!((summary.ports[0].frames_in, summary.ports[0].frames_out), (4, 1));
    assert_eq!(summary.ports[2].mac_source, MacSource::MadeUp);
    let rows = summary.rows();
    assert_eq!(rows.iter().map(|row| row.frames).sum::<u64>(), 4);
    let punt = row(&rows, "vif a", "ttl_exceeded");
    assert_eq!(
        (&*punt.verdict, punt.outcome.as_deref(), punt.frames),
        ("punt", Some("answered"), 1)
    );
    let table = summary.to_string();
    assert!(table.contains("spoofed_source") && table.contains("02:00:00:00:00:01"), "{table}");
    let json = serde_json::to_value(&summary).unwrap();
    assert_eq!(json["ports"][0]["mac_source"], "capture");
    assert_eq!(json["frames"].as_array().unwrap().len(), 4);
    assert_eq!(json["damage"], serde_json::Value::Null);
}

#[test]
fn interfaces_are_ports_by_name_or_linux_interface() {
    let at = scratch("interfaces");
    let frame = P2.frame(&packet("203.0.113.9", "8.8.8.8"));
    let frames = [(0, 0, frame.clone(), 0), (1, 1, frame.clone(), 0), (2, 2, frame.clone(), 0)];
    pcapng(&at.join("in.pcapng"), &["cust1", "eth1", "elsewhere"], &frames);
    let summary = replay(&at, "in.pcapng", &Options::default()).unwrap();
    let ports: Vec<u64> = summary.ports.iter().map(|port| port.frames_in).collect();
    assert_eq!(ports, [1, 2, 0]);
    let options = Options { port: Some("cust1".into()), ..Options::default() };
    let summary = replay(&at, "in.pcapng", &options).unwrap();
    assert_eq!(summary.ports[1].frames_in, 3);
    assert_eq!(row(&summary.rows(), "vif p2", "").frames, 3);

    let options = Options { port: Some("cust9".into()), ..Options::default() };
    let error = replay(&at, "in.pcapng", &options).unwrap_err().to_string();
    assert_eq!(
        error,
        "there is no port \"cust9\" in the configuration; its ports are cust0, cust1, core0"
    );
}

#[test]
fn a_mac_can_be_given() {
    let at = scratch("mac");
    pcap(&at.join("in.pcap"), DataLink::ETHERNET, &[A.frame(&packet("10.1.0.9", "10.64.0.1"))]);
    let macs = vec![("cust0".to_owned(), Mac([2, 0, 0, 0, 0, 0x99]))];
    let options = Options { macs, ..Options::default() };
    let summary = replay(&at, "in.pcap", &options).unwrap();
    assert_eq!(summary.ports[0].mac_source, MacSource::Given);
    assert_eq!(row(&summary.rows(), "port cust0", "not_our_mac").frames, 1);
}

/// A packet for an unresolved neighbor waits; nobody answers within the capture's next three seconds, so
/// the timers run, give up, and tell the sender.
#[test]
fn the_captures_time_drives_the_timers() {
    let at = scratch("timers");
    let waits = A_CORE.frame(&packet("10.64.0.1", "10.9.1.77"));
    let later = A_CORE.frame(&packet("10.64.0.1", "10.1.0.9"));
    let year = 366 * 86_400_000;
    let frames = [
        (2, 0, waits, 0),
        (2, 4000, later.clone(), 0),
        (2, year, later.clone(), 0),
        (2, 5, later, 0),
    ];
    pcapng(&at.join("in.pcapng"), &["cust0", "cust1", "core0"], &frames);
    let summary = replay(&at, "in.pcapng", &Options::default()).unwrap();
    assert_eq!(
        row(&summary.rows(), "vif a-core", "next_hop_unresolved").outcome.as_deref(),
        Some("queued")
    );
    let out = read(&at);
    let asked: Vec<&Out> =
        out.iter().filter(|out| out.sent && Seen::read(&out.frame).ethertype == 0x0806).collect();
    let start = out[0].time;
    let times: Vec<Duration> = asked.iter().map(|out| out.time - start).collect();
    assert_eq!(times, [0, 1, 2].map(Duration::from_secs));
    assert_eq!(asked[0].comment, "sent because of frame 1");
    assert_eq!(asked[1].comment, "sent by the station itself, by a timer after frame 1");
    let gave_up = out.iter().find(|out| out.sent && out.port == "core0").unwrap();
    let answer = Icmp::read(&Seen::read(&gave_up.frame).packet);
    assert_eq!(
        ((answer.kind, answer.code), gave_up.time - start),
        ((3, 1), Duration::from_secs(3))
    );
    // A jump of a year is bounded work, and time does not go back for the last frame.
    assert_eq!(row(&summary.rows(), "vif a-core", "").frames, 3);
}

#[test]
fn frames_that_no_nic_delivers_are_counted() {
    let at = scratch("undeliverable");
    let good = A.frame(&packet("10.1.0.9", "10.64.0.1"));
    let huge = A.frame(&udp("10.1.0.9", "10.64.0.1", 9300));
    let frames = [(0, 0, good.clone(), 20), (0, 1, huge, 0), (0, 2, vec![], 0), (0, 3, good, 0)];
    pcapng(&at.join("in.pcapng"), &["cust0"], &frames);
    let summary = replay(&at, "in.pcapng", &Options::default()).unwrap();
    let rows = summary.rows();
    assert_eq!(row(&rows, "port cust0", "cut by the capture's snap length").frames, 1);
    assert_eq!(row(&rows, "port cust0", "longer than any port delivers").frames, 1);
    assert_eq!(row(&rows, "port cust0", "runt").frames, 1);
    assert_eq!(row(&rows, "vif a", "").frames, 1);
    let out = read(&at);
    assert_eq!(out[0].comment, "frame 1: not deliverable: cut by the capture's snap length");
}

#[test]
fn a_damaged_capture_is_replayed_as_far_as_it_goes() {
    let at = scratch("damaged");
    let frames = vec![A.frame(&packet("10.1.0.9", "10.64.0.1")); 3];
    pcap(&at.join("in.pcap"), DataLink::ETHERNET, &frames);
    let whole = fs::read(at.join("in.pcap")).unwrap();
    fs::write(at.join("in.pcap"), &whole[..whole.len() - 1]).unwrap();
    let summary = replay(&at, "in.pcap", &Options::default()).unwrap();
    assert_eq!(row(&summary.rows(), "vif a", "").frames, 2);
    let damage = summary.damage.unwrap();
    assert!(
        damage.starts_with("the capture is damaged after frame 2: the file ends within"),
        "{damage}"
    );

    let blocks = [(0, 0, frames[0].clone(), 0), (0, 1, frames[0].clone(), 0)];
    pcapng(&at.join("in.pcapng"), &["cust0"], &blocks);
    let whole = fs::read(at.join("in.pcapng")).unwrap();
    // Cut anywhere: never a panic, and no more frames than are there.
    for length in (0..whole.len()).step_by(7) {
        fs::write(at.join("in.pcapng"), &whole[..length]).unwrap();
        match replay(&at, "in.pcapng", &Options::default()) {
            Ok(summary) => assert!(summary.rows().iter().map(|row| row.frames).sum::<u64>() < 2),
            Err(CaptureError::Format { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn what_is_no_capture_is_refused() {
    let at = scratch("refused");
    let refused = |name: &str| replay(&at, name, &Options::default()).unwrap_err().to_string();
    assert!(refused("missing.pcap").contains("missing.pcap"));
    fs::write(at.join("in.pcap"), b"ab").unwrap();
    assert!(
        refused("in.pcap")
            .contains("neither a pcap nor a pcapng capture (it has fewer than 4 octets)")
    );
    fs::write(at.join("in.pcap"), b"#!/bin/sh and more text than a header is long").unwrap();
    assert!(refused("in.pcap").contains("neither a pcap nor a pcapng capture"));
    pcap(&at.join("in.pcap"), DataLink::LINUX_SLL, &[vec![0; 60]]);
    assert!(
        refused("in.pcap").contains("link type LINUX_SLL, not Ethernet; capture on one interface")
    );
    assert!(refused(".").contains("is not an ordinary file"));
    // The capture is not overwritten.
    pcap(&at.join("out.pcapng"), DataLink::ETHERNET, &[vec![0; 60]]);
    let before = fs::read(at.join("out.pcapng")).unwrap();
    assert!(refused("out.pcapng").contains("is the capture itself"));
    assert_eq!(fs::read(at.join("out.pcapng")).unwrap(), before);
    let mut config = fs::File::options().append(true).open(at.join("station.toml")).unwrap();
    config.write_all(b"\nunknown = 1\n").unwrap();
    assert!(matches!(replay(&at, "in.pcap", &Options::default()), Err(CaptureError::Config(_))));
}

#[test]
fn an_arp_reply_in_the_capture_resolves() {
    let at = scratch("arp");
    let waits = A_CORE.frame(&packet("10.64.0.1", "10.9.1.77"));
    let mac = Mac([2, 0, 0, 0, 0xa2, 0x77]);
    let reply = Host { mac, ..A2 }.frame(&arp(2, (mac, "10.9.1.77"), (A2.router, "10.9.1.1")));
    let frames = [(1, 0, waits.clone(), 0), (0, 1, reply, 0), (1, 2, waits, 0)];
    pcapng(&at.join("in.pcapng"), &["eth0", "eth2"], &frames);
    let summary = replay(&at, "in.pcapng", &Options::default()).unwrap();
    assert_eq!(summary.ports.iter().map(|port| port.frames_out).collect::<Vec<_>>(), [3, 0, 0]);
    let question = ping("10.9.1.2", "10.9.1.1");
    pcap(&at.join("in.pcap"), DataLink::ETHERNET, &[A2.frame(&question)]);
    let summary = replay(&at, "in.pcap", &Options::default()).unwrap();
    assert_eq!(row(&summary.rows(), "vif a2", "local").outcome.as_deref(), Some("answered"));
}

/// The frames of a real kernel, tagged as the customer's switch would.
#[test]
fn a_real_hosts_traffic() {
    let at = scratch("host");
    let neighbor =
        "\n[[neighbor]]\nvif = \"a2\"\naddress = \"fd00:101::2\"\nmac = \"02:00:00:00:a2:02\"\n";
    fs::write(at.join("station.toml"), format!("{CONFIG}{neighbor}")).unwrap();
    let real = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures/host.pcap");
    let mut reader = PcapReader::new(fs::File::open(real).unwrap()).unwrap();
    let mut tagged = Vec::new();
    while let Some(packet) = reader.next_packet() {
        let mut frame = packet.unwrap().data().to_vec();
        frame.splice(12..12, [0x81, 0, 0, 101]);
        tagged.push(frame);
    }
    pcap(&at.join("in.pcap"), DataLink::ETHERNET, &tagged);
    let summary = replay(&at, "in.pcap", &Options::default()).unwrap();
    assert_eq!(summary.ports[0].mac, "02:00:00:00:00:01", "whom the host took for its router");
    let out = read(&at);
    let verdicts: Vec<&str> = out
        .iter()
        .filter(|out| !out.sent)
        .map(|out| out.comment.split([' ', ':']).nth(3).unwrap())
        .collect();
    assert_eq!(
        verdicts,
        [
            "drop(multicast)", // MLD
            "punt(arp)",       // who has 10.9.1.1
            "punt(local)",     // ping to it, twice
            "punt(local)",
            "punt(neighbor_discovery)", // who has fd00:101::1
            "punt(local)",              // ping to it, twice
            "punt(local)",
            "punt(ttl_exceeded)", // ping -t 1
            "forward",            // ping to the cloud
            "forward",            // the same over IPv6
            "punt(ttl_exceeded)", // traceroute, two hops
            "forward",
            "punt(neighbor_discovery)", // router solicitation
            "forward",                  // TCP to the cloud
            "punt(no_route)",           // TCP to the internet
        ]
    );
    // Everything that was asked for was answered: ARP, ND, four pings, two expired TTLs, no route.
    assert_eq!(summary.ports[0].frames_out, 9);
    assert_eq!(summary.ports[2].frames_out, 4);
    let sent = out.iter().filter(|out| out.sent).map(|out| Seen::read(&out.frame));
    let icmp: Vec<(u8, u8)> = sent
        .filter(|seen| seen.tags[0].1 == 101 && seen.ethertype != 0x0806)
        .map(|seen| Icmp::read(&seen.packet))
        .map(|icmp| (icmp.kind, icmp.code))
        .collect();
    assert_eq!(icmp, [(0, 0), (0, 0), (136, 0), (129, 0), (129, 0), (11, 0), (11, 0), (3, 0)]);
}
