//! Other stations: who reaches them and is reached, and that nothing passes from one to another.

use crate::common::packets::{edited, packet, udp, with_ttl};
use crate::common::{A, A_CORE, CONFIG, Lab, UNDERLAY};
use crate::tunnels::{FABRIC, inner, outer, taken_apart, vxlan};

/// The tunnels of VIF a-vx lead to a station; `joins`: the VIFs that join it.
fn config(joins: &[&str]) -> String {
    let text = format!("{CONFIG}\n{UNDERLAY}");
    let text = text.replacen("vni = 5001\n", "vni = 5001\nstation = \"two\"\n", 1);
    joins.iter().fold(text, |text, vif| {
        let name = format!("name = \"{vif}\"\n");
        assert!(text.contains(&name), "{vif}");
        text.replacen(&name, &format!("{name}join_stations = true\n"), 1)
    })
}

/// What the station sends to A's site, and to the core.
fn from_station(to: &str) -> Vec<u8> {
    let packet = packet("10.80.0.9", to);
    FABRIC.frame(&outer("10.255.0.2", "10.255.0.1", &vxlan(5001, &inner(&packet))))
}

const CORE: &str = "10.64.0.1";

#[test]
fn what_joins_reaches_a_station_and_is_reached() {
    let mut lab = Lab::with(&config(&["a"]));
    let there = udp("10.1.0.9", "10.80.0.9", 100);
    let sent = lab.expect("cust0", &A.frame(&there), &["vif a forwarded"]);
    assert_eq!(taken_apart(&sent).0[12..], [10, 255, 0, 1, 10, 255, 0, 2]);
    let arrived = ["vif fabric forwarded", "vif a-vx forwarded"];
    assert_eq!(lab.expect("core0", &from_station("10.1.0.9"), &arrived).len(), 1);
    // What does not join is apart, both ways; its own ways are as they were.
    let not_joined = ["vif fabric forwarded", "vif a-vx drop not_joined"];
    assert_eq!(lab.expect("core0", &from_station(CORE), &not_joined), []);
    let from_core = A_CORE.frame(&udp("10.64.0.9", "10.80.0.9", 100));
    lab.drops("core0", &from_core, "vif a-core drop not_joined");
    lab.forwards(A, &packet("10.1.0.9", CORE), A_CORE);
    // Neither does by default.
    lab.commit(&config(&[]));
    lab.drops("cust0", &A.frame(&there), "vif a drop not_joined");
    assert_eq!(lab.expect("core0", &from_station("10.1.0.9"), &not_joined), []);
    // A tunnel to a VPC may join as any VIF may, and a packet for it needs no more than that.
    lab.commit(&config(&["a", "a-core"]));
    assert_eq!(lab.expect("core0", &from_station(CORE), &arrived).len(), 1);
    lab.expect("core0", &from_core, &["vif a-core forwarded"]);
}

#[test]
fn nothing_passes_from_station_to_station() {
    let mut lab = Lab::with(&config(&["a"]));
    // Back, to another VTEP of it, and to another station.
    let looped = ["vif fabric forwarded", "vif a-vx drop station_loop"];
    assert_eq!(lab.expect("core0", &from_station("10.80.0.1"), &looped), []);
    let text = config(&["a"]);
    let at = text.rfind("vni = 5001\n").unwrap();
    let three = format!("{}station = \"three\"\n{}", &text[..at], &text[at..]);
    lab.commit(&three);
    assert_eq!(lab.expect("core0", &from_station("10.86.0.1"), &looped), []);
    // Nor in software: an option, one that is too long, one whose TTL runs out.
    let with_options = edited(packet("10.80.0.9", "10.86.0.1"), |p| {
        p.splice(20..20, [7, 3, 4, 0]);
        p[0] += 1;
        let total = u16::try_from(p.len()).unwrap();
        p[2..4].copy_from_slice(&total.to_be_bytes());
    });
    for packet in [
        with_options,
        udp("10.80.0.9", "10.86.0.1", 1481),
        with_ttl(packet("10.80.0.9", "10.86.0.1"), 1),
    ] {
        let frame = FABRIC.frame(&outer("10.255.0.2", "10.255.0.1", &vxlan(5001, &inner(&packet))));
        assert_eq!(lab.expect("core0", &frame, &looped), []);
    }
}

#[test]
fn the_router_itself_answers_a_station() {
    let mut lab = Lab::with(&config(&["a"]));
    // To who sent it, though nothing of others would go there.
    let short = with_ttl(packet("10.80.0.9", "10.1.0.9"), 1);
    let frame = FABRIC.frame(&outer("10.255.0.2", "10.255.0.1", &vxlan(5001, &inner(&short))));
    let answered =
        ["vif fabric forwarded", "vif a-vx punt ttl_exceeded", "vif a-vx outcome answered"];
    let sent = lab.expect("core0", &frame, &answered);
    assert_eq!(taken_apart(&sent).0[12..], [10, 255, 0, 1, 10, 255, 0, 2]);
    let echo = crate::common::packets::ping("10.80.0.9", "100.64.0.1");
    let frame = FABRIC.frame(&outer("10.255.0.2", "10.255.0.1", &vxlan(5001, &inner(&echo))));
    let answered = ["vif fabric forwarded", "vif a-vx punt local", "vif a-vx outcome answered"];
    assert_eq!(lab.expect("core0", &frame, &answered).len(), 1);
}
