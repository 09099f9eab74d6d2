//! No bytes panic, each punt counts exactly one outcome, and whatever is sent is a sound frame that
//! stays in its VRF ([`World::punt_frame`] checks all three).

use proptest::prelude::*;
use station::tables::{PuntReason, TapEvent};

use crate::packets::*;
use crate::world::*;

/// Good packets of all kinds, to be damaged.
fn seeds() -> Vec<Vec<u8>> {
    let mut df = udp("10.0.0.9", "172.16.0.1", 64, 1450);
    set_df(&mut df);
    vec![
        arp(etherparse::ArpOperation::REQUEST, PEER, "10.0.0.2", "10.0.0.1"),
        arp(etherparse::ArpOperation::REPLY, PEER, "10.0.0.2", "10.0.0.1"),
        nd(135, "fe80::9", "ff02::1:ff00:1", 0, "fe80::1", Some(PEER)),
        nd(136, "fd00:100::2", "fd00:100::1", 0x60, "fd00:100::2", Some(PEER)),
        udp("10.0.0.9", "10.0.0.2", 64, 8),
        udp("10.0.0.9", "172.16.0.1", 64, 1450),
        udp("fd00:100::9", "2001:db8::1", 64, 1400),
        udp("fe80::9", "fd00:100::1", 64, 8),
        df,
        icmp("10.0.0.9", "10.0.0.1", 64, (8, 0), [0; 4], b"0123"),
        icmp("fd00:100::9", "fd00:100::1", 64, (128, 0), [0; 4], b"0123"),
        ipv4("10.0.0.9", "172.16.0.1", 64, 17, &[7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[0; 64]),
        ipv4("10.0.0.9", "172.16.0.1", 64, 17, &[68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0], &[0; 1400]),
        packet("fd00:100::9", "fd00:100::1", 64, 43, &[17, 2, 0, 1].repeat(6)),
        packet("fd00:100::9", "2001:db8::1", 64, 44, &[58, 0, 0, 0, 0, 0, 0, 1].repeat(6)),
    ]
}

/// A packet with a few octets changed and perhaps cut short; the IPv4 checksum corrected, half of the
/// time, so that the damage is reached.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    damaged_by(seeds())
}

/// What the kernel's routing daemon sends.
fn sessions() -> Vec<Vec<u8>> {
    use crate::kernel::segment;
    let (own, peer) = ("169.254.100.1", "169.254.100.2");
    vec![
        segment(own, peer, 1, 6, (40_000, 179)),
        segment(own, peer, 255, 6, (179, 40_000)),
        segment(own, peer, 255, 17, (50_000, 3784)),
    ]
}

fn damaged_by(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    let head = prop::collection::vec((0usize..64, any::<u8>()), 0..3);
    (prop::sample::select(seeds), edits, head, any::<(bool, bool)>(), any::<prop::sample::Index>())
        .prop_map(|(mut bytes, edits, head, (cut, seal), end)| {
            for (at, value) in edits {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            for (at, value) in head {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
            }
            if cut {
                bytes.truncate(end.index(bytes.len()) + 1);
            }
            let header = usize::from(bytes[0] & 0xf) * 4;
            if seal && bytes[0] >> 4 == 4 && (20..=bytes.len()).contains(&header) {
                reseal(&mut bytes);
            }
            bytes
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn damaged_packets(punts in prop::collection::vec(
        (damaged(), 0u16..6, prop::sample::select(PuntReason::ALL), 0u64..2_000_000_000), 1..40,
    )) {
        let mut world = World::new();
        world.via(A, "10.77.0.0/16", "10.0.0.7", None);
        world.publish();
        world.tick();
        for (bytes, vif, reason, time) in punts {
            world.now += time;
            world.punt(station::tables::VifId(vif), reason, &bytes);
            world.tick();
        }
        world.pass(10.0);
    }

    /// Whatever the kernel sends, only BGP and BFD to a peer leave, and by that VIF alone.
    #[test]
    fn damaged_frames_of_the_kernel(
        (bytes, head) in prop_oneof![damaged_by(sessions()), damaged_by(seeds())]
            .prop_flat_map(|bytes| (Just(bytes), prop::collection::vec((0usize..14, any::<u8>()), 0..2))),
        vif in 0u16..2,
    ) {
        let mut world = crate::kernel::world();
        for peer in ["169.254.100.2", "10.0.0.9"] {
            world.punt(A, PuntReason::Arp, &arp(etherparse::ArpOperation::REPLY, PEER, peer, "10.0.0.1"));
        }
        let (mut frame, _) = frame(&world.vif(A), PEER, &bytes);
        frame.drain(12..16);
        for (at, value) in head {
            frame[at] = value;
        }
        let vif = station::tables::VifId(vif);
        let done = world.kernel(vif, &frame);
        for sent in &done.sent {
            prop_assert_eq!(sent.vif, A);
            let l3 = &sent.l3;
            let (ours, bgp, bfd) = (l3[16..20] == [169, 254, 100, 2], 179u16.to_be_bytes(), 3784u16.to_be_bytes());
            let routing = l3[9] == 6 && (l3[20..22] == bgp || l3[22..24] == bgp) || l3[9] == 17 && l3[22..24] == bfd;
            prop_assert!(ours && routing && l3[0] == 0x45, "{:?}", sent);
        }
        prop_assert_eq!(done.sent.len(), usize::from(done.result == TapEvent::Sent));
    }

    #[test]
    fn any_frame_and_offset(
        frame in prop::collection::vec(any::<u8>(), 0..120),
        l3 in 0usize..200,
        now in any::<u64>(),
        vif in 0u16..6,
    ) {
        for &reason in PuntReason::ALL {
            let mut world = World::new();
            world.now = now;
            world.punt_frame(station::tables::VifId(vif), reason, &frame, l3);
            world.tick();
        }
    }
}
