//! Marks of classes: by the slow path as by the fast one, and in front of a tunnel's headers.

use super::common::packets::{checksum, edited, udp_flow, with_options};
use super::common::{A, CONFIG, Lab, UNDERLAY};

const EF: u8 = 46;
const POLICY: &str = r#"
[[qos]]
name = "gold"
[[qos.class]]
name = "voice"
dscp = ["ef"]
mark_dscp = "cs5"
mark_pcp = 6
priority = "strict"
"#;

/// The lab with the policy for these VIFs.
fn lab(vifs: &[&str]) -> Lab {
    let mut text = format!("{CONFIG}{UNDERLAY}");
    for vif in vifs {
        let head = format!("[[vif]]\nname = \"{vif}\"\n");
        assert!(text.contains(&head), "{vif}");
        text = text.replace(&head, &format!("{head}qos = \"gold\"\n"));
    }
    Lab::with(&(text + POLICY))
}

fn packet(to: &str, traffic: u8, octets: usize) -> Vec<u8> {
    edited(udp_flow("10.1.0.9", to, (4000, 4001), octets), |p| (p[1], p[6]) = (traffic, 0))
}

/// PCP and DEI of a frame's tag, and the traffic class of its IPv4 packet, whose header is sound.
fn marks(frame: &[u8]) -> (u8, u8) {
    let header = usize::from(frame[18] & 15) * 4;
    assert_eq!(checksum(&frame[18..][..header]), 0, "{frame:02x?}");
    (frame[14] >> 4, frame[19])
}

#[test]
fn what_the_slow_path_forwards_is_marked_too() {
    let mut lab = lab(&["a-core", "a-small", "a2"]);
    let punted = |lab: &mut Lab, packet: &[u8]| {
        let sent = lab.send("cust0", &A.frame(packet)).sent;
        sent.into_iter().map(|(_, frame)| frame).collect::<Vec<_>>()
    };
    let (voice, other) = ((6 << 1, 40 << 2 | 2), EF - 1);
    // Record route, by a VIF that keeps the priority.
    for (traffic, expected) in [(EF << 2 | 2, voice), (other << 2 | 2, (0, other << 2 | 2))] {
        let options = with_options(packet("10.64.0.1", traffic, 60), &[7, 7, 4, 0, 0, 0, 0, 0]);
        let sent = punted(&mut lab, &options);
        assert_eq!(sent.iter().map(|frame| marks(frame)).collect::<Vec<_>>(), [expected]);
    }
    // Fragments, by a VIF that sets priority 5.
    for (traffic, expected) in [(EF << 2 | 2, voice), (0, (5 << 1, 0))] {
        let sent = punted(&mut lab, &packet("10.65.0.1", traffic, 1400));
        assert_eq!(sent.iter().map(|frame| marks(frame)).collect::<Vec<_>>(), [expected; 2]);
    }
    // What the station itself says is nobody's class.
    let answer = punted(&mut lab, &edited(packet("10.68.0.1", EF << 2, 60), |p| p[8] = 1));
    assert_ne!(marks(&answer[0]).1, 40 << 2);
}

#[test]
fn a_tunnel_s_headers_are_made_of_what_is_marked() {
    let mut lab = lab(&["a-vx"]);
    for (traffic, priority, expected) in [(EF << 2 | 1, 6 << 1, 40 << 2 | 1), (8, 0, 8)] {
        let sent = lab.send("cust0", &A.frame(&packet("10.80.0.9", traffic, 60))).sent;
        let [(_, frame)] = &sent[..] else { panic!("one frame: {sent:?}") };
        assert_eq!(marks(frame), (priority, expected), "outside");
        // IPv4, UDP, VXLAN, and the inner frame's header.
        let inner = &frame[18 + 20 + 8 + 8 + 14..];
        assert_eq!((inner[1], checksum(&inner[..20])), (expected, 0), "inside");
    }
}
