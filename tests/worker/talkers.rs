//! Top talkers: which packets workers look at, and what these say of the others.

use std::sync::Arc;

use crate::common::packets::udp;
use crate::common::rig::Rig;
use crate::common::{A, A_CORE, A2, CONFIG, SECOND};
use crate::{memory_ports, with_line};
use station::port::memory::MemoryPort;
use station::tables::{Direction, PortId, VifId};
use station::worker::talkers::{Seen, TalkerChannel, Talkers};

const MILLISECOND: u64 = 1_000_000;

fn rig(text: &str) -> (Rig<MemoryPort>, Arc<TalkerChannel>) {
    let mut rig = Rig::new(text, memory_ports([64; 3]), 512, 8);
    let channel = Arc::new(TalkerChannel::new(64));
    let talkers = Talkers::new(64, channel.clone(), 0x9e37_79b9_7f4a_7c15);
    assert!(rig.worker.exchange_talkers(Some(Box::new(talkers))).is_none());
    (rig, channel)
}

fn received(channel: &TalkerChannel) -> Vec<Seen> {
    std::iter::from_fn(|| channel.receive()).collect()
}

#[test]
fn both_directions_of_a_vif_that_keeps_track_and_no_other() {
    let (mut rig, channel) = rig(&with_line("a", "top_talkers = true"));
    let a = rig.engine.vif("a").unwrap();
    rig.burst(
        SECOND,
        PortId(0),
        &[
            A.frame(&udp("10.1.0.9", "10.64.0.1", 500)),
            A2.frame(&udp("10.9.1.2", "10.64.0.1", 500)),
            // Spoofed, for the router, and beyond any VLAN: not forwarded.
            A.frame(&udp("172.16.0.1", "10.64.0.1", 500)),
            A.frame(&udp("10.1.0.9", "169.254.100.1", 500)),
        ],
    );
    rig.burst(SECOND, PortId(2), &[A_CORE.frame(&udp("fd00:64::1", "fd00:a1::9", 600))]);
    let [came, left] = received(&channel)[..] else { panic!("not two") };
    assert_eq!(
        (came.vif, came.direction, came.is_v4, came.octets, came.interval),
        (a, Direction::Rx, true, 518, 1)
    );
    assert_eq!([came.source, came.destination], [0x0a01_0009, 0x0a40_0001]);
    assert_eq!(came.to, rig.engine.vif("a-core").unwrap());
    assert_eq!(
        (left.vif, left.to, left.direction, left.is_v4, left.octets, left.interval),
        (a, a, Direction::Tx, false, 618, 1)
    );
    assert_eq!(left.destination, 0xfd00_00a1 << 96 | 9);
    rig.check();
}

/// From a hundred packets a second to a million and back: what is looked at stays some hundred a second, and what these say
/// of the others is right.
#[test]
fn how_many_packets_are_looked_at_follows_the_traffic() {
    let (mut rig, channel) = rig(&with_line("a", "top_talkers = true"));
    let frame = A.frame(&udp("10.1.0.9", "10.64.0.1", 100));
    let mut now = SECOND;
    let mut run = |bursts: u64, packets: usize, apart_ns: u64| {
        let mut all = Vec::new();
        for _ in 0..bursts {
            rig.burst(now, PortId(0), &vec![frame.clone(); packets]);
            rig.take_sent(PortId(2));
            now += apart_ns;
            all.extend(received(&channel));
        }
        all
    };
    let calm = run(200, 1, 10 * MILLISECOND);
    assert!(calm.len() == 200 && calm.iter().all(|seen| seen.interval == 1), "{}", calm.len());
    // 640,000 packets a second for half a second.
    let bursts = 5_000;
    let flood = run(bursts, 64, MILLISECOND / 10);
    assert!((300..1_500).contains(&flood.len()), "{}", flood.len());
    let sum: u64 = flood.iter().map(|seen| u64::from(seen.interval)).sum();
    let packets = bursts * 64;
    assert!(sum.abs_diff(packets) < packets / 4, "{sum} of {packets}");
    let last = flood.last().unwrap().interval;
    assert!((512..=4096).contains(&last), "{last}");
    let after = run(300, 1, 10 * MILLISECOND);
    assert!(after.iter().rev().take(100).all(|seen| seen.interval == 1), "finer again");
    assert!(after.len() > 150, "{}", after.len());
}

#[test]
fn what_there_is_no_room_for_is_counted() {
    let (mut rig, channel) = rig(&with_line("a", "top_talkers = true"));
    let a = rig.engine.vif("a").unwrap();
    let frame = A.frame(&udp("10.1.0.9", "10.64.0.1", 100));
    let (mut sent, mut now) = (0, SECOND);
    while channel.missed(a, Direction::Rx) == 0 {
        rig.burst(now, PortId(0), &vec![frame.clone(); 40]);
        rig.take_sent(PortId(2));
        (sent, now) = (sent + 40, now + 100 * MILLISECOND);
        assert!(sent < 100_000, "it is full at some time");
    }
    let seen: u64 = received(&channel)
        .iter()
        .map(|seen| u64::from(seen.octets) * u64::from(seen.interval))
        .sum();
    let all = sent * frame.len() as u64;
    let told = seen + channel.missed(a, Direction::Rx);
    assert!(told.abs_diff(all) < all / 10, "{told} of {all}");
    assert_eq!(channel.missed(a, Direction::Tx), 0);
    assert_eq!(channel.missed(VifId(9999), Direction::Rx), 0);
}

#[test]
fn a_vif_that_keeps_track_no_more_is_not_looked_at() {
    let text = with_line("a", "top_talkers = true");
    let (mut rig, channel) = rig(&text);
    let frame = A.frame(&udp("10.1.0.9", "10.64.0.1", 100));
    rig.burst(SECOND, PortId(0), std::slice::from_ref(&frame));
    assert_eq!(received(&channel).len(), 1);
    let other = crate::common::parse(CONFIG);
    rig.engine.commit(&other, &crate::common::facts(&other)).unwrap();
    rig.burst(2 * SECOND, PortId(0), &vec![frame.clone(); 64]);
    assert_eq!(received(&channel), []);
    let again = crate::common::parse(&text);
    rig.engine.commit(&again, &crate::common::facts(&again)).unwrap();
    rig.burst(3 * SECOND, PortId(0), &vec![frame; 10]);
    assert_eq!(received(&channel).len(), 10);
}
