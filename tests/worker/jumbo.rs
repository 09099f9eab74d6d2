//! Packets in several frames: whatever the pieces are that they come in, all that becomes of them is the same, and nothing
//! of their memory is lost.

use std::sync::Arc;

use station::explain::Explainer;
use station::port::LONGEST;
use station::port::memory::MemoryPort;
use station::tables::mirrors::{Carrier, Destination, Mirror};
use station::tables::{PortId, Verdict, VifId};
use station::worker::capture::Tap;
use station::worker::handoff::Label;

use super::common::packets::{
    edited, routed, seal, udp_flow, with_extension, with_options, with_ttl,
};
use super::common::rig::{Random, Rig};
use super::common::{A, A_CORE, CONFIG, SECOND, UNDERLAY};
use super::mirrors::{mirror, of_vif, to_host};
use super::{capture, copies, memory_ports, wanted};

/// [`CONFIG`] with tunnels and an MTU of 9,001 octets, but for the smallest VIF.
fn rig() -> Rig<MemoryPort> {
    let text = format!("{CONFIG}\n{UNDERLAY}").replace("mtu = 1550", "mtu = 9100");
    let text = text.replace("[[vif]]\nname = ", "[[vif]]\nmtu = 9001\nname = ");
    let text = text.replacen("mtu = 9001\nname = \"a-small\"", "name = \"a-small\"", 1);
    // That one's, and the underlay's, stand behind their names.
    let text = text.replacen("mtu = 9001\nname = \"fabric\"", "name = \"fabric\"", 1);
    Rig::new(&text, memory_ports([256; 3]), 2048, 64)
}

/// Pieces of a packet as a driver may fill its buffers.
fn pieces(random: &mut Random, octets: usize) -> Vec<usize> {
    let mut lengths = vec![octets.min(512 + random.below(3329))];
    let mut left = octets - lengths[0];
    while left > 0 {
        let most = left.min(3840);
        // Few enough, and now and then a single octet.
        let least = if lengths.len() > 4 { most } else { 1 };
        lengths.push(least + random.below(most - least + 1));
        left -= lengths[lengths.len() - 1];
    }
    lengths
}

/// A frame of A, mostly right.
fn frame_of_a(random: &mut Random) -> Vec<u8> {
    let octets = [600, 1400, 1772, 1800, 3836, 3900, 8000, 8990, 9001, 9060][random.below(10)]
        - random.below(3) * 13;
    let ports = (1024 + random.below(4000) as u16, 4789);
    let (source, to) = if random.below(2) == 0 {
        // A core, a small MTU, a tunnel over IPv4 and over IPv6, the router, a stranger, nowhere.
        let to =
            ["10.64.0.1", "10.65.0.1", "10.80.0.9", "10.86.0.9", "169.254.100.1", "203.0.113.9"];
        ("10.1.0.9", to[random.below(6)])
    } else {
        ("fd10:1::9", ["fd10:64::1", "fd00:80::9", "fd00:100::1"][random.below(3)])
    };
    let mut packet = udp_flow(source, to, ports, octets);
    let is_v4 = packet[0] >> 4 == 4;
    match random.below(14) {
        0 => {
            packet = with_ttl(packet, 1);
        }
        1 if is_v4 => {
            packet = with_options(packet, &[148, 4, 0, 0]);
        }
        1 => {
            packet = with_extension(packet, 60, &[1, 4, 0, 0, 0, 0]);
        }
        2 if is_v4 => {
            packet = edited(packet, |p| p[6] |= 0x40); // DF
            seal(&mut packet);
        }
        3 => {
            packet = edited(packet, |p| p[if is_v4 { 12 } else { 8 }] = 99); // a forged source
            if is_v4 {
                seal(&mut packet);
            }
        }
        4 => {
            // More octets than the frame has.
            packet = edited(packet, |p| p[if is_v4 { 2 } else { 4 }] = 0x24);
            if is_v4 {
                seal(&mut packet);
            }
        }
        _ => {}
    }
    let mut frame = A.frame(&packet);
    match random.below(10) {
        // Padding in the last frames, which leave nothing behind.
        0 => frame.extend(vec![0xee; 1 + random.below(4000)]),
        1 => frame.truncate(frame.len() - random.below(40)),
        2 => frame[15] ^= 0x0f,
        _ => {}
    }
    frame.truncate(LONGEST);
    frame
}

/// All that becomes of a burst.
struct Outcome {
    verdicts: Vec<(Option<VifId>, Verdict)>,
    sent: Vec<Vec<Vec<u8>>>,
    punted: Vec<(Label, Vec<u8>)>,
    captured: Vec<Vec<u8>>,
}

fn burst(
    rig: &mut Rig<MemoryPort>,
    tap: &Tap,
    now: u64,
    frames: &[(Vec<u8>, Vec<usize>)],
) -> Outcome {
    let (pool, slot) = rig.worker.port_mut(PortId(0));
    let port = slot.unwrap().as_mut().unwrap();
    for (frame, pieces) in frames {
        let is_in = match &pieces[..] {
            [] => port.inject(pool, frame),
            pieces => port.inject_pieces(pool, frame, pieces),
        };
        assert!(is_in, "{} octets, {pieces:?}", frame.len());
    }
    rig.turn(now);
    assert_eq!(rig.worker.missing_frames(), 0);
    Outcome {
        verdicts: (0..frames.len()).map(|place| rig.worker.verdict(place)).collect(),
        sent: (0..3).map(|port| rig.take_sent(PortId(port))).collect(),
        punted: rig.take_punted(),
        captured: copies(tap).into_iter().map(|(_, octets)| octets).collect(),
    }
}

/// Frames are alike; what is said where they are not can be read.
fn same(what: &str, got: &[Vec<u8>], expected: &[Vec<u8>]) {
    let lengths = |frames: &[Vec<u8>]| frames.iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(lengths(got), lengths(expected), "{what}");
    for (got, expected) in got.iter().zip(expected) {
        let at = got.iter().zip(expected).position(|(a, b)| a != b);
        assert_eq!(at, None, "{what}: of {} octets", got.len());
    }
}

#[test]
fn pieces_make_no_difference() {
    let mut rigs = [rig(), rig()];
    let taps =
        rigs.each_mut().map(|rig| capture(rig, super::Wanted { snap: LONGEST, ..wanted(0) }));
    for rig in &mut rigs {
        let to = to_host(rig, "fd10:64::1", Carrier::Vxlan(7));
        let of_a = |to| Mirror { snap: LONGEST, ..mirror(of_vif(&rig.engine, "a"), to) };
        let to_port =
            Destination::Vlan { port: PortId(1), name: "cust1".into(), vlan: 900, room: LONGEST };
        let mirrors = [to_port, to].map(of_a).map(Arc::new);
        rig.worker.mirror(&mirrors);
    }
    let mut random = Random(0x9216);
    let (mut chains, mut forwarded, mut punted) = (0, 0, 0);
    for round in 1..400 {
        let frames: Vec<_> = (0..random.below(12)).map(|_| frame_of_a(&mut random)).collect();
        let whole: Vec<_> = frames.iter().map(|frame| (frame.clone(), vec![])).collect();
        let split: Vec<_> =
            frames.iter().map(|f| (f.clone(), pieces(&mut random, f.len()))).collect();
        chains += split.iter().filter(|(_, pieces)| pieces.len() > 1).count();
        let [one, other] = &mut rigs;
        let expected = burst(one, &taps[0], round * SECOND, &whole);
        let got = burst(other, &taps[1], round * SECOND, &split);
        assert_eq!(got.verdicts, expected.verdicts, "round {round}");
        for (what, got, expected) in [
            ("sent by cust0", &got.sent[0], &expected.sent[0]),
            ("copies", &got.sent[1], &expected.sent[1]),
            ("sent by core0", &got.sent[2], &expected.sent[2]),
            ("captured", &got.captured, &expected.captured),
        ] {
            same(&format!("round {round}, {what}"), got, expected);
        }
        assert!(got.punted == expected.punted, "round {round}, punted");
        forwarded +=
            got.verdicts.iter().filter(|(_, verdict)| *verdict == Verdict::Forward).count();
        punted += got.punted.len();
    }
    rigs.iter().for_each(Rig::check);
    assert!(chains > 1000 && forwarded > 200 && punted > 200, "{chains} {forwarded} {punted}");
}

#[test]
fn a_jumbo_packet_leaves_as_it_should() {
    let mut rig = rig();
    let tap = capture(&mut rig, wanted(0));
    for octets in [3819, 5000, 9001] {
        let packet = udp_flow("10.1.0.9", "10.64.0.1", (7, 9), octets);
        let mut padded = A.frame(&packet);
        padded.extend([0xee; 100]);
        let out = burst(&mut rig, &tap, SECOND, &[(padded, vec![])]);
        assert_eq!(out.sent[2].len(), 1);
        let sent = &out.sent[2][0];
        assert_eq!(sent[..6], A_CORE.mac.0);
        assert_eq!(sent[18..], routed(&packet)[..], "{octets}");
    }
}

/// What is kept of a drop, and what `explain` tells, is of the whole packet, whatever its first frame has.
#[test]
fn what_is_said_of_a_jumbo_packet_is_of_all_of_it() {
    let mut rig = rig();
    let a = rig.engine.vif("a").unwrap();
    rig.counters.last_drops.admit(a);
    let spoofed = A.frame(&udp_flow("172.16.0.1", "10.64.0.1", (7, 9), 9001));
    let (pool, slot) = rig.worker.port_mut(PortId(0));
    let port = slot.unwrap().as_mut().unwrap();
    assert!(port.inject_pieces(pool, &spoofed, &[600, 3840, 3840, spoofed.len() - 8280]));
    rig.turn(SECOND);
    let drops = rig.counters.last_drops.vif(a).unwrap();
    assert_eq!(drops.frames().map(|kept| kept.len).collect::<Vec<_>>(), [spoofed.len()]);

    let good = udp_flow("10.1.0.9", "10.64.0.1", (7, 9), 9001);
    let tables = rig.engine.tables().clone();
    let mut explainer = Explainer::new(tables.ports.len(), tables.vifs.len()).unwrap();
    for _ in 0..3 {
        let told = explainer.explain(&tables, &rig.engine.fib_reader(), PortId(0), &A.frame(&good));
        let (_, sent) = told.unwrap().sent.unwrap();
        assert_eq!(sent[18..], routed(&good)[..]);
    }
}
