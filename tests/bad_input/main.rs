//! The list of bad input, a test a row: each sends the bad frame (and what context it needs) and asserts
//! which counters grew, each by exactly one, out of all counters of all ports and VIFs; what was sent;
//! and that every frame is accounted for. Rows 62 to 67 concern BGP, the command line and the
//! configuration file.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_possible_truncation)]

mod acl;
mod address_limits;
#[path = "../common/mod.rs"]
mod common;
mod control_plane;
mod exchanges;
mod ipv4;
mod ipv6;
mod layer2;
mod neighbors;
mod path_mtu;
mod pools;
mod stations;
mod translations;
mod tunnels;

use common::A;
use common::packets::{frame, packet};
use station::tables::{DropReason, PuntReason, SlowOutcome};

/// A good packet of tenant A for the core.
fn good() -> Vec<u8> {
    packet("10.1.0.9", "10.64.0.1")
}

/// The same in IPv6.
fn good6() -> Vec<u8> {
    packet("fd00:a1::9", "fd00:64::1")
}

/// Tags, ethertype, payload of a frame on the first customer port.
fn on_cust0(tags: &[(u16, u16)], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    frame(A.router, A.mac, tags, ethertype, payload)
}

/// The tests, and what they assert by.
const HERE: [&str; 13] = [
    include_str!("acl.rs"),
    include_str!("address_limits.rs"),
    include_str!("exchanges.rs"),
    include_str!("layer2.rs"),
    include_str!("ipv4.rs"),
    include_str!("ipv6.rs"),
    include_str!("neighbors.rs"),
    include_str!("control_plane.rs"),
    include_str!("tunnels.rs"),
    include_str!("path_mtu.rs"),
    include_str!("stations.rs"),
    include_str!("translations.rs"),
    include_str!("../common/mod.rs"),
];

/// Where full rings and queues are tested, and tables that no configuration makes.
const WORKER: [&str; 2] = [include_str!("../worker/main.rs"), include_str!("../worker/qos.rs")];

#[test]
fn every_reason_has_a_test() {
    let drops = DropReason::ALL.iter().map(|reason| ("drop", reason.name()));
    let punts = PuntReason::ALL.iter().map(|reason| ("punt", reason.name()));
    let outcomes = SlowOutcome::ALL.iter().map(|outcome| ("outcome", outcome.name()));
    for (kind, name) in drops.chain(punts).chain(outcomes) {
        // As an assertion writes it: the end of a string.
        let counter = format!("{kind} {name}\"");
        let here = HERE.iter().any(|text| text.contains(&counter));
        let of_worker = ["vrf_mismatch", "punt_queue_full", "tx_full", "class_queue_full"];
        let of_meters =
            ["bandwidth_exceeded", "egress_bandwidth_exceeded", "class_bandwidth_exceeded"];
        let by_worker = (of_worker.contains(&name) || of_meters.contains(&name))
            && WORKER.iter().any(|text| text.contains(&format!("\"{name}\"")));
        assert!(here || by_worker, "no test expects {kind} {name}");
    }
}
