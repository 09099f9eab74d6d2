//! What routers of an underlay say of a tunnel's packets that were too long (RFC 1191, RFC 8201): what lowers its MTU, for
//! how long, and what is forged.

use crate::common::packets::{Icmp, edited, icmp, udp};
use crate::common::{A, Lab, SECOND};
use crate::tunnels::{FABRIC, inner, lab, outer, taken_apart, vxlan};
use station::tables::TunnelPath;

/// A router of the underlay.
const ROUTER4: &str = "10.253.0.1";
const ROUTER6: &str = "fd00:253::1";
const LOCAL: [&str; 2] = ["10.255.0.1", "fd00:255::1"];
const REMOTE: [&str; 2] = ["10.255.0.2", "fd00:255::2"];
/// Destinations behind the two.
const BEHIND: [&str; 2] = ["10.80.0.9", "10.86.0.9"];
const OVERHEAD: [u16; 2] = [50, 70];
/// What each tunnel carries by itself.
const WHOLE: [u16; 2] = [1500, 1480];
const FAMILIES: [usize; 2] = [0, 1];

/// A packet of A's that may not be fragmented.
fn from_a(to: &str, octets: u16) -> Vec<u8> {
    edited(udp("10.1.0.9", to, octets.into()), |packet| packet[6] |= 0x40)
}

/// The longest packet that a tunnel sends, as the underlay sees it.
fn sent(lab: &mut Lab, family: usize) -> Vec<u8> {
    let frame = A.frame(&from_a(BEHIND[family], WHOLE[family]));
    let sent = lab.expect("cust0", &frame, &["vif a forwarded"]);
    let packet = sent[0].1[18..].to_vec();
    assert_eq!(packet.len(), 1550);
    packet
}

/// What a router says of it.
fn too_big(family: usize, mtu: u16, quote: &[u8]) -> Vec<u8> {
    let [high, low] = mtu.to_be_bytes();
    let (router, head) = match family {
        0 => (ROUTER4, (3, 4, [0, 0, high, low])),
        _ => (ROUTER6, (2, 0, [0, 0, high, low])),
    };
    FABRIC.frame(&icmp(router, LOCAL[family], 60, head, quote))
}

#[track_caller]
fn hears(lab: &mut Lab, frame: &[u8], outcome: &str) {
    lab.ignores(FABRIC, frame, "punt local", outcome);
}

/// Asserts that a tunnel carries so much, and that who sends more is told.
#[track_caller]
fn carries(lab: &mut Lab, family: usize, mtu: u16) {
    let fits = A.frame(&from_a(BEHIND[family], mtu));
    lab.expect("cust0", &fits, &["vif a forwarded"]);
    if mtu == 1500 {
        // No more comes by A's VIF.
        return;
    }
    let icmp: Icmp = lab.answers(A, &from_a(BEHIND[family], mtu + 1), "punt too_big");
    let [high, low] = mtu.to_be_bytes();
    assert_eq!((icmp.kind, icmp.code, icmp.word), (3, 4, [0, 0, high, low]));
    assert_eq!(icmp.source, "169.254.100.1", "the VRF's own address");
}

#[test]
fn a_router_of_the_underlay_lowers_a_tunnels_mtu_for_ten_minutes() {
    for family in FAMILIES {
        let mut lab = lab();
        let packet = sent(&mut lab, family);
        for (mtu, quoted) in [(1400, 1500), (1399, 48), (1350, 28), (1280, 500)] {
            let quoted = if family == 1 { quoted.clamp(48, 1232) } else { quoted };
            hears(&mut lab, &too_big(family, mtu, &packet[..quoted]), "outcome consumed");
            carries(&mut lab, family, mtu - OVERHEAD[family]);
        }
        // Longer ones again, and the same: nothing is raised.
        for mtu in [1280, 1281, 1549] {
            hears(&mut lab, &too_big(family, mtu, &packet[..500]), "outcome consumed");
            carries(&mut lab, family, 1280 - OVERHEAD[family]);
        }
        // A change of the configuration leaves it.
        let text = format!("{}\n{}", crate::common::CONFIG, crate::common::UNDERLAY);
        lab.commit(&text.replace("prefix = \"10.86.0.0/16\"", "prefix = \"10.86.0.0/17\""));
        carries(&mut lab, family, 1280 - OVERHEAD[family]);
        lab.now += 599 * SECOND;
        lab.wait(0);
        carries(&mut lab, family, 1280 - OVERHEAD[family]);
        lab.now += SECOND;
        lab.wait(0);
        carries(&mut lab, family, WHOLE[family]);
        hears(&mut lab, &too_big(family, 1450, &packet[..500]), "outcome consumed");
        carries(&mut lab, family, 1450 - OVERHEAD[family]);
    }
}

#[test]
fn what_may_be_fragmented_is_and_other_paths_stay_as_they_are() {
    let mut lab = lab();
    let packet = sent(&mut lab, 0);
    hears(&mut lab, &too_big(0, 1000, &packet[..500]), "outcome consumed");
    let whole = edited(from_a(BEHIND[0], 1500), |packet| packet[6] = 0);
    let grown = ["vif a punt too_big", "vif a outcome slow_forwarded"];
    let parts = lab.expect("cust0", &A.frame(&whole), &grown);
    assert_eq!(parts.len(), 2);
    for part in parts.chunks(1) {
        let (ip, inner) = taken_apart(part);
        assert!(ip.len() + 16 + inner.len() <= 1000);
    }
    carries(&mut lab, 1, WHOLE[1]);
    let tables = lab.station.engine().tables().clone();
    let mtus = tables.vifs_by_id().filter_map(|(id, vif)| {
        let remotes = vif.tunnel()?.remotes.iter().map(|remote| {
            let to = tables.adjacency(tables.neighbors[&(id, *remote)]);
            (remote.to_string(), to.mtu)
        });
        Some(remotes.collect::<Vec<_>>())
    });
    let mtus: Vec<(String, u16)> = mtus.flatten().collect();
    let others = |(remote, mtu): &(String, u16)| remote == REMOTE[0] || *mtu >= 1480;
    assert!(mtus.contains(&(REMOTE[0].into(), 950)) && mtus.iter().all(others), "{mtus:?}");
    // Nothing is kept of tunnels that are no more.
    let path = tables.vifs_by_id().find_map(|(_, vif)| vif.tunnel()).unwrap();
    let path: TunnelPath = path.path(REMOTE[0].parse().unwrap());
    assert_eq!(lab.station.engine().lowered(path).map(|lowered| lowered.mtu), Some(1000));
    lab.commit(crate::common::CONFIG);
    assert_eq!(lab.station.engine().lowered(path), None);
}

#[test]
fn a_forged_message_changes_nothing() {
    let mut lab = lab();
    for family in FAMILIES {
        let packet = sent(&mut lab, family);
        let at = [20, 40][family];
        let changed = |place: usize, octet: u8| {
            let mut packet = packet.clone();
            packet[place] = octet;
            too_big(family, 1400, &packet[..500])
        };
        let destination = at - 1;
        let mut forged = vec![
            // Too little to be, and not less than the packet.
            too_big(family, [575, 1279][family], &packet[..500]),
            too_big(family, 0, &packet[..500]),
            too_big(family, 1550, &packet[..500]),
            // To another VTEP, or one of another tenant; of another VNI.
            changed(destination, 77),
            changed(destination, 9),
            changed(at + 13, 7),
            changed(at + 8, 0),
            // From another address than who is told.
            changed(destination - [4, 16][family], 7),
            // Longer than the tunnel ever sends.
            changed([2, 4][family], 9),
        ];
        if family == 0 {
            // Without DF, a fragment, with options.
            forged.extend([changed(6, 0), changed(6, 0x60), changed(0, 0x46)]);
        }
        for frame in forged {
            hears(&mut lab, &frame, "outcome forged_too_big");
        }
        // What is about something else, or cut short, is as any error.
        let others = [
            changed([9, 6][family], 6),
            changed(at + 3, 7),
            too_big(family, 1400, &packet[..at + 7]),
            too_big(family, 1400, &packet[..at - 1]),
            too_big(family, 1400, &[]),
            too_big(family, 1400, &[0; 60]),
        ];
        for frame in others {
            hears(&mut lab, &frame, "outcome consumed");
        }
        carries(&mut lab, family, WHOLE[family]);
    }
    // By a tenant's VIF there is none.
    let quote = outer(LOCAL[0], REMOTE[0], &vxlan(5001, &inner(&from_a(BEHIND[0], 1500))));
    let packet = icmp("10.1.0.9", "169.254.100.1", 60, (3, 4, [0, 0, 5, 120]), &quote[..500]);
    lab.ignores(A, &A.frame(&packet), "punt local", "outcome consumed");
    carries(&mut lab, 0, WHOLE[0]);
}

#[test]
fn not_more_are_believed_than_the_tables_may_change() {
    let mut lab = lab();
    let packet = sent(&mut lab, 0);
    for mtu in (1451..=1500).rev() {
        hears(&mut lab, &too_big(0, mtu, &packet[..500]), "outcome consumed");
    }
    hears(&mut lab, &too_big(0, 1450, &packet[..500]), "outcome too_big_rate");
    carries(&mut lab, 0, 1401);
    lab.wait(SECOND / 20);
    hears(&mut lab, &too_big(0, 1400, &packet[..500]), "outcome consumed");
    carries(&mut lab, 0, 1350);
}

#[test]
fn a_quote_of_any_octets_is_read() {
    let mut lab = lab();
    let packet = sent(&mut lab, 0);
    for at in 0..48 {
        for octet in [0, 1, 0x0f, 0x45, 0x60, 0x80, 0xff] {
            let mut quote = packet[..48].to_vec();
            quote[at] = octet;
            for length in [at, 28, 48] {
                lab.send("core0", &too_big(0, 700, &quote[..length]));
            }
        }
    }
    lab.check();
}
