//! What exceeds a limit of addresses: whose bucket it is, in each direction, with translations and in tunnels.

use crate::common::packets::{udp, with_options};
use crate::common::{A, A_CORE, B, B_CORE, CONFIG, Lab, SECOND, UNDERLAY};
use crate::tunnels::{FABRIC, inner, outer, vxlan};

/// The station with limits, in front of which no VIF stands, and lines of VIFs.
fn limited(limits: &str, lines: &[(&str, &str)]) -> String {
    lines.iter().fold(format!("{CONFIG}\n{UNDERLAY}\n{limits}"), |text, (vif, line)| {
        let head = format!("name = \"{vif}\"\n");
        assert_eq!(text.matches(&format!("[[vif]]\n{head}")).count(), 1, "{vif}");
        text.replacen(&format!("[[vif]]\n{head}"), &format!("[[vif]]\n{head}{line}\n"), 1)
    })
}

fn limit(name: &str, by: &str, prefixes: &str, more: &str) -> String {
    format!(
        "[[address_limit]]\nname = \"{name}\"\nby = \"{by}\"\nprefixes = {prefixes}\n{more}\n\
         bandwidth = {{ rate = \"8M\", burst_octets = 10000 }}\n"
    )
}

/// How many of 30 frames of 1,000 octets at once pass.
fn pass(lab: &mut Lab, port: &str, frame: &[u8]) -> usize {
    lab.now += SECOND;
    (0..30).map(|_| lab.send(port, frame).sent.len()).sum()
}

/// A packet whose frame has 1,000 octets on VIFs with one tag.
fn thousand(from: &str, to: &str) -> Vec<u8> {
    udp(from, to, 1000 - 18)
}

#[test]
fn an_address_has_no_more_than_its_limit() {
    let prefixes = "[\"10.1.0.0/24\", \"fd00:a1::/120\"]";
    let text = limited(
        &limit("x", "source", prefixes, ""),
        &[("a", "address_limits_in = [\"x\"]"), ("b", "address_limits_in = [\"x\"]")],
    );
    let mut lab = Lab::with(&text);
    for (one, other, beyond, to) in [
        ("10.1.0.9", "10.1.0.8", "10.1.1.9", "10.64.0.1"),
        ("fd00:a1::9", "fd00:a1::8", "fd00:a1::1:9", "fd00:64::1"),
    ] {
        let frame = A.frame(&thousand(one, to));
        assert_eq!(pass(&mut lab, "cust0", &frame), 10, "{one}: its burst");
        lab.drops("cust0", &frame, "vif a drop address_limit_exceeded");
        lab.forwards(A, &thousand(other, to), A_CORE);
        assert_eq!(pass(&mut lab, "cust0", &A.frame(&thousand(beyond, to))), 30, "{beyond}");
        // Another tenant's host with the same address has a bucket of its own.
        pass(&mut lab, "cust0", &frame);
        lab.drops("cust0", &frame, "vif a drop address_limit_exceeded");
        lab.forwards(B, &thousand(one, to), B_CORE);
    }
}

#[test]
fn what_is_to_leave_is_limited_by_its_destination() {
    let text = limited(
        &limit("x", "destination", "[\"10.1.0.0/24\"]", "per_ipv4 = 28"),
        &[("a", "address_limits_out = [\"x\"]")],
    );
    let mut lab = Lab::with(&text);
    let frame = A_CORE.frame(&thousand("10.64.0.1", "10.1.0.9"));
    assert_eq!(pass(&mut lab, "core0", &frame), 10);
    lab.drops("core0", &frame, "vif a-core drop egress_address_limit_exceeded");
    // The same block, and the next one.
    let same = A_CORE.frame(&thousand("10.64.0.1", "10.1.0.15"));
    lab.drops("core0", &same, "vif a-core drop egress_address_limit_exceeded");
    lab.forwards(A_CORE, &thousand("10.64.0.1", "10.1.0.16"), A);
    // It is about what vif a sends alone.
    assert_eq!(pass(&mut lab, "cust0", &A.frame(&thousand("10.1.0.9", "10.64.0.1"))), 30);
}

#[test]
fn addresses_are_those_outside_of_translations() {
    let prefixes = "[\"10.1.0.0/24\"]";
    let limits = limit("up", "source", prefixes, "") + &limit("down", "destination", prefixes, "");
    let lines = "translate = [\"10.21.0.0/16 as 10.1.0.0/16\"]\n\
                 address_limits_in = [\"up\"]\naddress_limits_out = [\"down\"]";
    let mut lab = Lab::with(&limited(&limits, &[("a", lines)]));
    assert_eq!(pass(&mut lab, "cust0", &A.frame(&thousand("10.21.0.9", "10.64.0.1"))), 10);
    let frame = A.frame(&thousand("10.21.0.9", "10.64.0.1"));
    lab.drops("cust0", &frame, "vif a drop address_limit_exceeded");
    let frame = A_CORE.frame(&thousand("10.64.0.1", "10.1.0.9"));
    assert_eq!(pass(&mut lab, "core0", &frame), 10);
    lab.drops("core0", &frame, "vif a-core drop egress_address_limit_exceeded");
}

#[test]
fn in_a_tunnel_the_inner_packet_counts() {
    let limits = limit("x", "source", "[\"10.80.0.0/24\"]", "");
    let mut lab = Lab::with(&limited(&limits, &[("a-vx", "address_limits_in = [\"x\"]")]));
    let tunnelled = |from: &str| {
        let packet = udp(from, "10.1.0.9", 900);
        FABRIC.frame(&outer("10.255.0.2", "10.255.0.1", &vxlan(5001, &inner(&packet))))
    };
    let passed = pass(&mut lab, "core0", &tunnelled("10.80.0.9"));
    assert!((9..=11).contains(&passed), "{passed}");
    let grown = ["vif a-vx drop address_limit_exceeded", "vif fabric forwarded"];
    assert!(lab.expect("core0", &tunnelled("10.80.0.9"), &grown).is_empty());
    assert_eq!(pass(&mut lab, "core0", &tunnelled("10.80.1.9")), 30);
}

#[test]
fn all_limits_over_a_frame_take_it_or_none() {
    let limits = limit("each", "source", "[\"10.1.0.0/24\"]", "")
        + &limit("server", "destination", "[\"10.64.0.1/32\"]", "");
    let lines = "address_limits_in = [\"each\", \"server\"]\n\
                 bandwidth = { rate = \"8M\", burst_octets = 15000 }";
    let mut lab = Lab::with(&limited(&limits, &[("a", lines)]));
    let frame = |from: &str, to: &str| A.frame(&thousand(from, to));
    assert_eq!(pass(&mut lab, "cust0", &frame("10.1.0.9", "10.64.0.1")), 10, "both have as many");
    // The server has no more, and whom it refuses has lost nothing: 5 of the VIF's are left, and 10 of the sender's.
    let refused = frame("10.1.0.8", "10.64.0.1");
    for _ in 0..30 {
        lab.drops("cust0", &refused, "vif a drop address_limit_exceeded");
    }
    let one = frame("10.1.0.8", "10.64.0.2");
    let passed: usize = (0..30).map(|_| lab.send("cust0", &one).sent.len()).sum();
    assert_eq!(passed, 5, "what addresses exceeded used up nothing of the VIF's");
    lab.now += SECOND;
    pass(&mut lab, "cust0", &one);
    lab.drops("cust0", &one, "vif a drop address_limit_exceeded");
}

#[test]
fn what_the_slow_path_is_to_forward_counts_too() {
    let limits = limit("x", "source", "[\"10.1.0.0/24\"]", "");
    let mut lab = Lab::with(&limited(&limits, &[("a", "address_limits_in = [\"x\"]")]));
    // Record route: for the slow path, which forwards it.
    let options = with_options(thousand("10.1.0.9", "10.64.0.1"), &[7, 7, 4, 0, 0, 0, 0, 0]);
    let frame = A.frame(&options);
    assert_eq!(pass(&mut lab, "cust0", &frame), 9, "of 1,008 octets each");
    lab.drops("cust0", &frame, "vif a drop address_limit_exceeded");
}
