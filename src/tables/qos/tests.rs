use super::*;
use crate::tables::tunnel::{Dscp, Marking};
use crate::tables::{Pcp, SourceCheck, Tags, Tunnel, VrfId};

fn class(name: &str, dscp: &[u8], pcp: &[u8], order: Order) -> Class {
    let (dscp, pcp) = (dscp.to_vec(), pcp.to_vec());
    Class { name: name.into(), dscp, pcp, mark_dscp: None, mark_pcp: None, order }
}

fn names(policy: &Policy) -> Vec<&str> {
    policy.classes().iter().map(|class| &*class.name).collect()
}

#[test]
fn dscp_comes_before_pcp_and_the_rest_is_best_effort() {
    let classes = vec![
        class("bulk", &[8, 10], &[], Order::Weight(1)),
        class("video", &[34], &[4], Order::Weight(3)),
        class("voice", &[46], &[5, 6], Order::Strict),
    ];
    let policy = Policy::new("gold".into(), classes);
    assert_eq!(names(&policy), ["voice", "bulk", "video", "best-effort"]);
    let of = |dscp: u8, pcp: u32| names(&policy)[policy.class(dscp << 2 | 3, pcp << 1 | 1)];
    for (dscp, pcp, expected) in [
        (46, 0, "voice"),
        (46, 4, "voice"),
        (10, 5, "bulk"),
        (0, 5, "voice"),
        (0, 6, "voice"),
        (0, 4, "video"),
        (0, 0, "best-effort"),
        (63, 7, "best-effort"),
    ] {
        assert_eq!(of(dscp, pcp), expected, "DSCP {dscp}, PCP {pcp}");
    }
    let shape = policy.shape;
    assert_eq!((shape.strict, &shape.quanta[1..4]), (1, &[QUANTUM, 3 * QUANTUM, QUANTUM][..]));
}

#[test]
fn a_class_without_values_takes_the_rest() {
    let mut classes: Vec<Class> =
        (0..7).map(|n| class(&format!("c{n}"), &[n], &[], Order::Weight(50))).collect();
    classes.insert(3, class("rest", &[], &[], Order::Weight(100)));
    let policy = Policy::new("all".into(), classes);
    assert_eq!(policy.classes().len(), CLASSES);
    assert!((7..64).all(|dscp| names(&policy)[policy.class(dscp << 2, 0)] == "rest"));
    assert!((0..7).all(|dscp| names(&policy)[policy.class(dscp << 2, 9)] == format!("c{dscp}")));
    assert_eq!(policy.shape.quanta[3], 2 * QUANTUM);
}

/// All DSCPs by all others with all of ECN, against a checksum that is computed anew.
#[test]
fn marks_equal_a_naive_computation() {
    let naive = |head: &[u8]| {
        let words = head.chunks(2).enumerate().filter(|(at, _)| *at != 5);
        let sum = words.fold(0_u32, |sum, (_, w)| sum + u32::from(w[0]) * 256 + u32::from(w[1]));
        let sum = (sum & 0xffff) + (sum >> 16);
        !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap()
    };
    for (old, new) in (0..=u8::MAX).flat_map(|old| (0..=u8::MAX).map(move |new| (old, new))) {
        let mut v4: Vec<u8> = vec![0x45, old, 0, 40, old, new, 0x40, 0, 64, 6, 0, 0];
        v4.extend([10, 0, new, 1, 10, old, 0, 2]);
        let sum = naive(&v4);
        v4[10..12].copy_from_slice(&sum.to_be_bytes());
        let mut right = v4.clone();
        right[1] = new;
        let sum = naive(&right);
        right[10..12].copy_from_slice(&sum.to_be_bytes());
        set_traffic_class(&mut v4, new);
        assert_eq!(v4, right, "{old} -> {new}");
        assert_eq!(traffic_class(v4[0], v4[1]), new);
        let mut v6 = vec![0x60 | old >> 4, old << 4 | 0x0a, 0xbc, 0xde];
        v6.resize(40, 7);
        let mut right = v6.clone();
        (right[0], right[1]) = (0x60 | new >> 4, new << 4 | 0x0a);
        set_traffic_class(&mut v6, new);
        assert_eq!(v6, right, "{old} -> {new}");
        assert_eq!(traffic_class(v6[0], v6[1]), new);
    }
    let mut short = vec![0x45, 0, 0];
    set_traffic_class(&mut short, 4);
    assert_eq!(short, [0x45, 0, 0]);
}

#[test]
fn marks_keep_what_they_do_not_set() {
    let mut voice = class("voice", &[46], &[], Order::Strict);
    (voice.mark_dscp, voice.mark_pcp) = (Some(40), Some(0));
    let policy = Policy::new("p".into(), vec![voice]);
    assert_eq!([policy.marked(0, 46 << 2 | 2), policy.marked(1, 9)], [40 << 2 | 2, 9]);
    assert_eq!([policy.priority(0, 0b1011), policy.priority(1, 0b1011)], [MARKED | 1, 0b1011]);
}

fn vif(name: &str, port: u8, vrf: u16, vid: u16) -> Vif {
    Vif {
        name: name.into(),
        up: true,
        kind: None,
        port: PortId(port),
        tags: Tags { outer: vid, inner: None, service: false },
        overlay: Overlay::Apart,
        joins_stations: false,
        vrf: VrfId(vrf),
        mtu: 1500,
        source_check: SourceCheck::Off,
        pcp: Pcp::Preserve,
        metered: [false; 2],
        limited: [false; 2],
        top_talkers: false,
        acl_in: None,
        acl_out: None,
        flow_log: 0,
        twamp_reflector: false,
        translations: None,
        addresses: [].into(),
        peers: [].into(),
    }
}

fn with(ids: &[u16]) -> Vec<(VifId, VifQos)> {
    let policy = Arc::new(Policy::new("p".into(), vec![class("a", &[1], &[], Order::Strict)]));
    let of = VifQos { policy, limits: [const { None }; CLASSES] };
    ids.iter().map(|id| (VifId(*id), of.clone())).collect()
}

#[test]
fn ports_are_those_that_vifs_with_a_policy_send_by() {
    let tunnel = Overlay::Within(Tunnel {
        vni: 1,
        underlay: VrfId(9),
        local: "10.255.0.1".parse().unwrap(),
        remotes: ["169.254.0.2".parse().unwrap()].into(),
        station: None,
        marking: Marking::new(Dscp::Copy),
    });
    let inner = Vif { overlay: tunnel, ..vif("inner", PortId::FIRST_VTEP.0, 1, 0) };
    let under = |port, vrf| Vif { overlay: Overlay::Underlay, ..vif("under", port, vrf, 1) };
    let vifs = [vif("a", 0, 0, 1), vif("b", 1, 0, 1), inner, under(2, 9), under(3, 8)].map(Some);
    let ports = |ids: &[u16]| {
        let qos = Qos::new(&vifs, with(ids), (&[], None), 1)?;
        Some((0..4).map(PortId).filter(|port| qos.has(*port)).map(|port| port.0).collect())
    };
    assert_eq!(ports(&[]), None::<Vec<u8>>);
    assert_eq!(ports(&[0]), Some(vec![0]));
    assert_eq!(ports(&[1, 2]), Some(vec![1, 2]));
}

/// A key lasts as long as the VIF is where it was, and no longer.
#[test]
fn another_vif_of_the_same_id_has_another_key() {
    let old = [vif("a", 0, 0, 1), vif("b", 0, 0, 2), vif("c", 0, 0, 3)].map(Some);
    let first = Qos::new(&old, with(&[0]), (&[], None), 7).unwrap();
    let mut new = old.clone();
    new[0].as_mut().unwrap().mtu = 9000;
    new[1].as_mut().unwrap().name = "d".into();
    new[2].as_mut().unwrap().tags.outer = 4;
    let second = Qos::new(&new, with(&[0]), (&old, Some(&first)), 8).unwrap();
    let keys = |qos: &Qos| [0, 1, 2].map(|id| qos.key(VifId(id)));
    assert_eq!((keys(&first), keys(&second)), ([7, 7, 7], [7, 8, 8]));
    // Whoever was not looked at between has another.
    let third = Qos::new(&new, with(&[0]), (&new, None), 9).unwrap();
    assert_eq!(keys(&third), [9, 9, 9]);
}
