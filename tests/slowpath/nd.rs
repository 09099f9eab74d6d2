//! Neighbor discovery: FACTS rows 51, 57, 58.

use station::slowpath::NeighborEvent;
use station::tables::{PuntReason, SlowOutcome};
use station::wire::ethernet::Mac;

use crate::packets::*;
use crate::world::*;

const SOLICITED_NODE: &str = "ff02::1:ff00:1";
const OTHER: Mac = Mac([2, 0, 0, 0, 9, 2]);

fn heard(world: &mut World, bytes: &[u8]) -> Done<SlowOutcome> {
    world.punt(A, PuntReason::NeighborDiscovery, bytes)
}

fn flags(sent: &Sent) -> u8 {
    let (kind, word, _) = sent.icmp();
    assert_eq!(kind, (136, 0));
    assert_eq!(sent.l3[7], 255, "hop limit");
    word[0]
}

#[test]
fn a_solicitation_for_our_address_is_answered() {
    for (from, target) in
        [("fd00:100::9", "fd00:100::1"), ("fe80::9", "fe80::1"), ("fe80::9", "fd00:100::1")]
    {
        let asked = nd(135, from, SOLICITED_NODE, 0, target, Some(PEER));
        let mut world = World::new();
        let sent = heard(&mut world, &asked).one(SlowOutcome::Answered);
        assert_eq!((sent.vif, sent.to), (A, PEER));
        assert_eq!(sent.addresses(), (target.into(), from.into()));
        assert_eq!(flags(&sent), 0xe0, "router, solicited, override");
        let body = sent.icmp().2;
        assert_eq!(body[16..], [&[2, 1], &port_mac(world.vif(A).port).0[..]].concat());
        assert_eq!(world.rows(), []);
    }
    let unicast = nd(135, "fd00:100::9", "fd00:100::1", 0, "fd00:100::1", None);
    let sent = World::new().punt(A, PuntReason::Local, &unicast).one(SlowOutcome::Answered);
    assert_eq!(sent.to, PEER, "a probe of ours, punted as local");
}

#[test]
fn duplicate_address_detection_is_answered_to_all() {
    let asked = nd(135, "::", SOLICITED_NODE, 0, "fd00:100::1", None);
    let sent = heard(&mut World::new(), &asked).one(SlowOutcome::Answered);
    assert_eq!(sent.addresses(), ("fd00:100::1".into(), "ff02::1".into()));
    assert_eq!(sent.to, Mac([0x33, 0x33, 0, 0, 0, 1]));
    assert_eq!(flags(&sent), 0xa0, "router, override; nobody to say solicited to");
    for (to, mac) in [("fd00:100::1", None), (SOLICITED_NODE, Some(PEER))] {
        let bad = nd(135, "::", to, 0, "fd00:100::1", mac);
        assert_eq!(heard(&mut World::new(), &bad).silent(), SlowOutcome::BadNd);
    }
}

#[test]
fn solicitations_for_others_are_not_for_us() {
    for from in ["fd00:100::9", "::"] {
        let asked = nd(135, from, "ff02::1:ff00:7", 0, "fd00:100::7", None);
        assert_eq!(heard(&mut World::new(), &asked).silent(), SlowOutcome::NotForUs);
    }
}

#[test]
fn our_question_and_its_answer() {
    let mut world = World::new();
    let packet = udp("2001:db8::1", "fd00:100::2:3", 64, 8);
    let sent = world.punt(CORE, PuntReason::NextHopUnresolved, &packet).one(SlowOutcome::Queued);
    assert_eq!((sent.vif, sent.to), (A, Mac([0x33, 0x33, 0xff, 0x02, 0, 3])));
    assert_eq!(sent.addresses(), ("fd00:100::1".into(), "ff02::1:ff02:3".into()));
    let (kind, _, body) = sent.icmp();
    assert_eq!(kind, (135, 0));
    assert_eq!(body[..16], "fd00:100::2:3".parse::<std::net::Ipv6Addr>().unwrap().octets());
    assert_eq!(body[16..], [&[1, 1], &port_mac(world.vif(A).port).0[..]].concat());

    let no_mac = nd(136, "fd00:100::2:3", "fd00:100::1", 0x60, "fd00:100::2:3", None);
    assert_eq!(heard(&mut world, &no_mac).silent(), SlowOutcome::Consumed);
    let answer = nd(136, "fd00:100::2:3", "fd00:100::1", 0x60, "fd00:100::2:3", Some(PEER));
    let done = heard(&mut world, &answer);
    let address = ip("fd00:100::2:3");
    assert_eq!(done.events, [NeighborEvent::Resolved { vif: A, address, mac: PEER }]);
    let sent = done.one(SlowOutcome::Consumed);
    assert_eq!((sent.vif, sent.to, sent.l3[7]), (A, PEER, 63));
}

#[test]
fn unasked_advertisements_teach_nothing() {
    let mut world = World::new();
    let solicited = nd(136, "fd00:100::9", "fd00:100::1", 0x60, "fd00:100::9", Some(PEER));
    assert_eq!(heard(&mut world, &solicited).silent(), SlowOutcome::UnsolicitedReply);
    let announced = nd(136, "fd00:100::9", "ff02::1", 0x20, "fd00:100::9", Some(PEER));
    assert_eq!(heard(&mut world, &announced).silent(), SlowOutcome::Consumed);
    assert_eq!(world.rows(), []);
}

#[test]
fn claims_of_our_address_are_conflicts() {
    let claim = nd(136, "fe80::9", "ff02::1", 0x20, "fd00:100::1", Some(PEER));
    assert_eq!(heard(&mut World::new(), &claim).silent(), SlowOutcome::AddressConflict);
    let asked = nd(135, "fd00:100::1", "ff02::1:ff00:7", 0, "fd00:100::7", Some(PEER));
    assert_eq!(heard(&mut World::new(), &asked).silent(), SlowOutcome::AddressConflict);
}

#[test]
fn solicitations_from_outside_the_subnets_are_answered_and_nothing_is_learned() {
    let mut world = World::new();
    for (to, option, reason) in [
        (SOLICITED_NODE, Some(OTHER), PuntReason::NeighborDiscovery),
        (SOLICITED_NODE, None, PuntReason::NeighborDiscovery),
        ("fd00:100::1", Some(OTHER), PuntReason::Local),
        ("fd00:100::1", None, PuntReason::Local),
    ] {
        let asked = nd(135, "fd10:1::10", to, 0, "fd00:100::1", option);
        let sent = world.punt(A, reason, &asked).one(SlowOutcome::Answered);
        assert_eq!(sent.to, option.unwrap_or(PEER), "the MAC that asked");
        assert_eq!(sent.addresses(), ("fd00:100::1".into(), "fd10:1::10".into()));
        assert_eq!(flags(&sent), 0xe0);
    }
    let other = nd(135, "fd10:1::10", "ff02::1:ff00:7", 0, "fd00:100::7", Some(PEER));
    assert_eq!(heard(&mut world, &other).silent(), SlowOutcome::NotForUs);
    assert_eq!(world.rows(), []);
}

#[test]
fn our_own_discovery_that_comes_back_is_a_loop_and_no_conflict() {
    let own = port_mac(World::new().vif(A).port);
    let question = |option| nd(135, "fd00:100::1", "ff02::1:ff00:2", 0, "fd00:100::2", option);
    let answer = |option| nd(136, "fd00:100::1", "ff02::1", 0xa0, "fd00:100::1", option);
    let mut world = World::new();
    for bytes in [question(Some(own)), question(None), answer(Some(own)), answer(None)] {
        let done = world.punt_from(A, PuntReason::NeighborDiscovery, own, &bytes);
        assert_eq!(done.silent(), SlowOutcome::Looped);
    }
    for bytes in [question(Some(own)), answer(Some(own))] {
        let done = world.punt_from(A, PuntReason::NeighborDiscovery, OTHER, &bytes);
        assert_eq!(done.silent(), SlowOutcome::Looped, "behind a bridge's MAC");
    }
    for bytes in [question(Some(OTHER)), question(None), answer(Some(OTHER)), answer(None)] {
        let done = world.punt_from(A, PuntReason::NeighborDiscovery, OTHER, &bytes);
        assert_eq!(done.silent(), SlowOutcome::AddressConflict);
    }
    assert_eq!(world.rows(), []);
}

#[test]
fn row_51_a_forged_router_advertisement_is_never_accepted() {
    let mut world = World::new();
    for (kind, body) in [(134, 8), (137, 32)] {
        let bytes = icmp("fe80::9", "ff02::1", 255, (kind, 0), [0; 4], &vec![0; body]);
        assert_eq!(heard(&mut world, &bytes).silent(), SlowOutcome::RouterAdvertisement);
    }
    assert_eq!(world.rows(), []);
    let solicitation = icmp("fe80::9", "ff02::2", 255, (133, 0), [0; 4], &[]);
    assert_eq!(heard(&mut world, &solicitation).silent(), SlowOutcome::Consumed);
}

#[test]
fn row_57_nd_hop_limit_other_than_255() {
    for hops in [0, 1, 64, 254] {
        for kind in 133..=137 {
            let mut bytes = nd(kind, "fd00:100::9", "fd00:100::1", 0, "fd00:100::1", None);
            bytes[7] = hops;
            assert_eq!(heard(&mut World::new(), &bytes).silent(), SlowOutcome::BadNd);
        }
    }
}

#[test]
fn row_58_nd_option_of_length_0() {
    let target = "fd00:100::1".parse::<std::net::Ipv6Addr>().unwrap().octets();
    for option in
        [&[1, 0, 2, 0, 0, 0, 9, 1][..], &[14, 0], &[1], &[1, 2, 2, 0, 0, 0, 9, 1], &[1, 1, 2]]
    {
        let body = [&target[..], option].concat();
        for kind in [135, 136] {
            let to = if kind == 135 { SOLICITED_NODE } else { "fd00:100::1" };
            let bytes = icmp("fd00:100::9", to, 255, (kind, 0), [0; 4], &body);
            let outcome = heard(&mut World::new(), &bytes).silent();
            assert_eq!(outcome, SlowOutcome::BadNd, "{option:?}");
        }
    }
}

#[test]
fn other_malformed_messages() {
    let good = nd(135, "fd00:100::9", SOLICITED_NODE, 0, "fd00:100::1", Some(PEER));
    let mut checksum = good.clone();
    checksum[43] ^= 1;
    let group_target = nd(135, "fd00:100::9", SOLICITED_NODE, 0, "ff02::1", Some(PEER));
    let group_mac = nd(135, "fd00:100::9", SOLICITED_NODE, 0, "fd00:100::1", Some(Mac::BROADCAST));
    let no_host = nd(135, "::1", SOLICITED_NODE, 0, "fd00:100::1", Some(PEER));
    let to_all = nd(136, "fd00:100::9", "ff02::1", 0x60, "fd00:100::9", Some(PEER));
    let off_link_target = nd(136, "fd00:100::9", "ff02::1", 0x20, "2001:db8::9", Some(PEER));
    let code = icmp("fd00:100::9", SOLICITED_NODE, 255, (135, 1), [0; 4], &good[48..]);
    let short = icmp("fd00:100::9", SOLICITED_NODE, 255, (135, 0), [0; 4], &good[48..63]);
    for bytes in [checksum, group_target, group_mac, no_host, to_all, off_link_target, code, short]
    {
        assert_eq!(heard(&mut World::new(), &bytes).silent(), SlowOutcome::BadNd);
    }
    // RFC 6980: not in fragments.
    let inner = [&[58, 0, 0, 1, 0, 0, 0, 9], &good[40..]].concat();
    let fragment = packet("fd00:100::9", SOLICITED_NODE, 255, 44, &inner);
    assert_eq!(heard(&mut World::new(), &fragment).silent(), SlowOutcome::BadNd);
}
