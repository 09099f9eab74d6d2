//! What peers' SYNs say of their sessions' keys, by what Linux signs. Whose digest is right is tested beside the code.

use std::sync::Arc;

use etherparse::ArpOperation;
use station::tables::{KeyFault, Keys, Password, PuntReason, SessionKey, SlowOutcome, VifId};
use station::wire::ethernet::Mac;

use crate::packets::*;
use crate::world::*;

const OWN: &str = "169.254.100.1";
const PEER4: &str = "169.254.100.2";
const KEY: &str = "kept-secret";
const OTHER: Mac = Mac([2, 0, 0, 0, 9, 2]);

/// A SYN from the peer to port 179, signed by Linux with [`KEY`].
const SYN: [u8; 72] = [
    0x45, 0x00, 0x00, 0x48, 0xd7, 0x6e, 0x40, 0x00, 0x40, 0x06, 0x47, 0x41, 0xa9, 0xfe, 0x64, 0x02,
    0xa9, 0xfe, 0x64, 0x01, 0x9c, 0x41, 0x00, 0xb3, 0x5e, 0xd7, 0xf5, 0xcc, 0x00, 0x00, 0x00, 0x00,
    0xd0, 0x02, 0xff, 0xd7, 0x00, 0x00, 0x00, 0x00, 0x01, 0x01, 0x13, 0x12, 0xe8, 0xa5, 0x75, 0xf6,
    0x9f, 0xdc, 0xdd, 0xee, 0xab, 0xde, 0xf6, 0x30, 0xb1, 0x70, 0xd1, 0x55, 0x02, 0x04, 0xff, 0xd7,
    0x01, 0x01, 0x04, 0x02, 0x01, 0x03, 0x03, 0x0a,
];

/// The SYN with this TTL.
fn syn(ttl: u8) -> Vec<u8> {
    let mut syn = SYN.to_vec();
    syn[8] = ttl;
    reseal(&mut syn);
    let tcp = etherparse::TcpHeaderSlice::from_slice(&syn[20..]).unwrap();
    let header = etherparse::Ipv4HeaderSlice::from_slice(&syn).unwrap();
    let sum = tcp.calc_checksum_ipv4(&header, &[]).unwrap();
    syn[36..38].copy_from_slice(&sum.to_be_bytes());
    syn
}

/// VIF A has a session, whose peer is resolved; B, another tenant's with the same addresses, has one with the right key.
struct Session {
    world: World,
    key: Arc<SessionKey>,
    of_b: Arc<SessionKey>,
}

fn session(local: &str, password: Option<&str>, ttl_security: bool) -> Session {
    let mut session = unresolved(local, password, ttl_security);
    for vif in [A, B] {
        session.world.punt(vif, PuntReason::Arp, &arp(ArpOperation::REPLY, PEER, PEER4, OWN));
    }
    session
}

/// The same, while nobody knows the peer's MAC.
fn unresolved(local: &str, password: Option<&str>, ttl_security: bool) -> Session {
    let mut world = World::new();
    let key = |password: Option<&str>| {
        Arc::new(SessionKey::new(ip(local), password.map(Password::new), ttl_security))
    };
    let (of_a, of_b) = (key(password), key(Some(KEY)));
    let keys = [("a", &of_a), ("b", &of_b)];
    let keys = keys.map(|(vif, key)| ((vif.into(), ip(PEER4)), key.clone()));
    world.snapshot.keys = Arc::new(keys.into_iter().collect::<Keys>());
    for vif in [A, B] {
        world.edit(vif, |vif| vif.peers = [ip(PEER4)].into());
    }
    world.tick();
    Session { world, key: of_a, of_b }
}

impl Session {
    /// Punts a SYN, which goes to the kernel whatever it says; the fault that is known then.
    fn opens(&mut self, vif: VifId, from: Mac, ttl: u8) -> Option<KeyFault> {
        self.world.now += SECOND;
        let done = self.world.punt_from(vif, PuntReason::Bgp, from, &syn(ttl));
        assert_eq!(done.result, SlowOutcome::ToKernel);
        assert_eq!(done.to_kernel.len(), 1);
        self.key.fault().map(|(fault, _)| fault)
    }
}

#[test]
fn each_fault_is_told_of_its_session_alone() {
    for (password, fault) in [
        (Some(KEY), None),
        (Some("another"), Some(KeyFault::Wrong)),
        (None, Some(KeyFault::Unexpected)),
    ] {
        let mut session = session(OWN, password, false);
        assert_eq!(session.opens(A, PEER, 64), fault);
        assert_eq!(session.of_b.fault(), None);
        let counts = KeyFault::ALL.map(|fault| session.key.faults(fault));
        assert_eq!(counts, KeyFault::ALL.map(|each| u64::from(Some(each) == fault)));
        assert_eq!(session.key.fault().map(|(_, at)| at), fault.map(|_| session.world.now));
    }
}

#[test]
fn who_does_not_sign_is_told_and_an_open_connection_is_not_looked_at() {
    let mut session = session(OWN, Some(KEY), false);
    let segment = crate::kernel::segment(PEER4, OWN, 64, 6, (40_000, 179));
    session.world.punt(A, PuntReason::Bgp, &segment);
    assert_eq!(session.key.fault(), None);
    // A SYN without options: its header has five words.
    let mut plain = [&SYN[..40], &[]].concat();
    plain[3] = 40;
    plain[32] = 0x50;
    reseal(&mut plain);
    let tcp = etherparse::TcpHeaderSlice::from_slice(&plain[20..]).unwrap();
    let header = etherparse::Ipv4HeaderSlice::from_slice(&plain).unwrap();
    let sum = tcp.calc_checksum_ipv4(&header, &[]).unwrap();
    plain[36..38].copy_from_slice(&sum.to_be_bytes());
    session.world.punt(A, PuntReason::Bgp, &plain);
    assert_eq!(session.key.fault().map(|(fault, _)| fault), Some(KeyFault::Missing));
    // The next that is right takes it back.
    assert_eq!(session.opens(A, PEER, 64), None);
    assert_eq!(session.key.faults(KeyFault::Missing), 1);
}

#[test]
fn what_is_not_of_the_session_says_nothing() {
    let another_mac = session(OWN, None, false).opens(A, OTHER, 64);
    assert_eq!(another_mac, None);
    let mut another_vif = session(OWN, None, false);
    assert_eq!(another_vif.opens(B, PEER, 64), None);
    assert_eq!(
        session("10.0.0.1", None, false).opens(A, PEER, 64),
        None,
        "another address of ours"
    );
    let mut on_link = session(OWN, None, true);
    assert_eq!(on_link.opens(A, PEER, 254), None, "it crossed a router");
    assert_eq!(on_link.opens(A, PEER, 255), Some(KeyFault::Unexpected));
    assert_eq!(unresolved(OWN, None, false).opens(A, PEER, 64), None, "its MAC is not known");
}

#[test]
fn a_flood_is_judged_ten_times_a_second() {
    let mut session = session(OWN, Some("another"), false);
    let syn = syn(64);
    for _ in 0..2000 {
        session.world.now += SECOND / 1000;
        session.world.punt(A, PuntReason::Bgp, &syn);
    }
    assert_eq!(session.key.faults(KeyFault::Wrong), 20);
}
