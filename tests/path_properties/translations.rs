//! Translation: what a burst becomes on its way is what [`Translations::translate`] makes of each of its packets beside a
//! station that translates nothing, in both directions, with fragments, options and extension headers among them.

use std::cell::RefCell;

use proptest::prelude::*;
use station::port::memory::MemoryPort;
use station::tables::{Direction, PortId, Translation, Translations, Verdict};

use crate::acl::{Draw, draw};
use crate::common::rig::Rig;
use crate::common::{A, A_CORE, CONFIG, Host, SECOND};
use crate::runner;

/// Around the sources that packets are drawn from; the outside ones are routed to the same VIF.
const PAIRS: [&str; 4] = [
    "10.1.0.4/30 as 10.1.77.4/30",
    "10.1.0.9 as 10.1.200.0",
    "fd00:a1::/64 as fd00:a1:77::/64",
    "fd00:a1:5::/48 as fd00:a1:9::/48",
];
const CUST0: PortId = PortId(0);
const CORE0: PortId = PortId(2);

struct World {
    translating: Rig<MemoryPort>,
    plain: Rig<MemoryPort>,
    translations: Translations,
    now: u64,
    changed: u32,
    refused: u32,
}

impl World {
    fn new() -> World {
        let ports = || (0..3).map(|_| MemoryPort::new(256)).collect();
        let text = CONFIG
            .replace("name = \"a\"\nport", &format!("name = \"a\"\ntranslate = {PAIRS:?}\nport"));
        let pairs = PAIRS.map(|pair| pair.parse::<Translation>().unwrap());
        World {
            translating: Rig::new(&text, ports(), 1024, 256),
            plain: Rig::new(CONFIG, ports(), 1024, 256),
            translations: Translations::new(&pairs).unwrap(),
            now: SECOND,
            changed: 0,
            refused: 0,
        }
    }

    /// Packets of one host to another: what the translating station sends, and what is to be expected of it.
    fn check(&mut self, from: Host, packets: &[Vec<u8>]) -> Result<(), TestCaseError> {
        self.now += SECOND;
        let is_customer = from.vif == A.vif;
        let (enters, leaves, to) =
            if is_customer { (CUST0, CORE0, A_CORE) } else { (CORE0, CUST0, A) };
        let wide = |packet: &Vec<u8>| {
            let mut frame = from.frame(packet);
            frame.resize(frame.len().max(64), 0);
            frame
        };
        let frames: Vec<Vec<u8>> = packets.iter().map(wide).collect();
        let verdicts = self.translating.burst(self.now, enters, &frames);
        let mut sent = self.translating.take_sent(leaves).into_iter();
        // Whom the station translates nothing for gets it done before, and behind.
        let mut expected = Vec::new();
        for (packet, (_, verdict)) in packets.iter().zip(&verdicts) {
            let mut packet = packet.clone();
            if is_customer {
                match self.translations.translate(Direction::Rx, &mut packet) {
                    Ok(changed) => self.changed += u32::from(changed),
                    Err(_) => {
                        self.refused += 1;
                        prop_assert_eq!(verdict.to_string(), "drop(untranslatable)");
                        continue;
                    }
                }
            }
            expected.push((packet, *verdict));
        }
        let frames: Vec<Vec<u8>> = expected.iter().map(|(packet, _)| wide(packet)).collect();
        let plain = self.plain.burst(self.now, enters, &frames);
        let mut untranslated = self.plain.take_sent(leaves).into_iter();
        for ((packet, verdict), (_, said)) in expected.iter().zip(plain) {
            if said != Verdict::Forward {
                prop_assert_eq!(verdict, &said, "{:02x?}", packet);
                continue;
            }
            let mut frame = untranslated.next().unwrap();
            if !is_customer {
                // Behind MACs, tag and ethertype.
                let packet = &mut frame[18..18 + packet.len()];
                match self.translations.translate(Direction::Tx, packet) {
                    Ok(changed) => self.changed += u32::from(changed),
                    Err(_) => {
                        self.refused += 1;
                        prop_assert_eq!(verdict.to_string(), "drop(untranslatable)");
                        continue;
                    }
                }
            }
            prop_assert_eq!(*verdict, Verdict::Forward, "{:02x?}", packet);
            prop_assert_eq!(sent.next().unwrap(), frame, "{:02x?} to {}", packet, to.vif);
        }
        prop_assert_eq!(sent.next(), None);
        for rig in [&mut self.translating, &mut self.plain] {
            rig.take_punted();
            rig.check();
        }
        Ok(())
    }
}

/// A drawn packet with octets of its upper layer's checksum that are not 0.
fn with_sums(draw: &Draw, sum: u16) -> Vec<u8> {
    let mut packet = draw.packet();
    let at = if packet[0] >> 4 == 4 { usize::from(packet[0] & 0xf) * 4 + 6 } else { 46 };
    if let Some(octets) = packet.get_mut(at..at + 2) {
        octets.copy_from_slice(&sum.to_be_bytes());
    }
    packet
}

/// The same packet from the core to what its source is outside, or to its source.
fn turned(packet: &[u8], translations: &Translations, outside: bool) -> Vec<u8> {
    let mut packet = packet.to_vec();
    let (at, octets) = if packet[0] >> 4 == 4 { (12, 4) } else { (8, 16) };
    if outside {
        let _ = translations.translate(Direction::Rx, &mut packet);
    }
    let [source, destination] = [at, at + octets].map(|at| packet[at..at + octets].to_vec());
    packet[at..at + octets].copy_from_slice(&destination);
    packet[at + octets..at + 2 * octets].copy_from_slice(&source);
    packet
}

#[test]
fn a_burst_becomes_what_each_packet_does() {
    let world = RefCell::new(World::new());
    let packet =
        (draw(), any::<u16>(), any::<bool>(), prop_oneof![Just(0u16), any::<u16>()], any::<bool>());
    runner(150)
        .run(&prop::collection::vec(packet, 1..150), |drawn| {
            let world = &mut *world.borrow_mut();
            let mut packets = Vec::new();
            for (draw, sum, zero, subnet, outside) in &drawn {
                let mut packet = with_sums(draw, if *zero { 0 } else { *sum });
                if packet[0] >> 4 == 6 && *subnet != 0 {
                    // Behind the /48, and at times all ones.
                    packet[12..14].copy_from_slice(&5u16.to_be_bytes());
                    let subnet = if *subnet % 5 == 0 { u16::MAX } else { *subnet };
                    packet[14..16].copy_from_slice(&subnet.to_be_bytes());
                }
                packets.push((packet, *outside));
            }
            for packets in packets.chunks(64) {
                let there: Vec<Vec<u8>> =
                    packets.iter().map(|(packet, _)| packet.clone()).collect();
                world.check(A, &there)?;
                let back = packets
                    .iter()
                    .map(|(packet, outside)| turned(packet, &world.translations, *outside));
                let back: Vec<Vec<u8>> = back.collect();
                world.check(A_CORE, &back)?;
            }
            Ok(())
        })
        .unwrap();
    let world = world.borrow();
    println!("{} changed, {} refused", world.changed, world.refused);
    assert!(world.changed > 3000 && world.refused > 50);
}
