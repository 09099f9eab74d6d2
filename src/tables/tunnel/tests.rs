use std::net::{Ipv4Addr, Ipv6Addr};

use super::outer::{FIRST_SOURCE_PORT, Outer4, Outer6, TTL};
use super::*;
use crate::wire::ipv6;

const UNDERLAY: VrfId = VrfId(7);

fn v4(last: u8) -> IpAddr {
    Ipv4Addr::new(10, 255, 0, last).into()
}

fn v6(last: u16) -> IpAddr {
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last).into()
}

fn tunnel(vni: u32, local: IpAddr, remotes: &[IpAddr]) -> Tunnel {
    Tunnel {
        vni,
        underlay: UNDERLAY,
        local,
        remotes: remotes.into(),
        station: None,
        marking: Marking::new(Dscp::Copy),
    }
}

fn exit(place: u32) -> Exit {
    Exit { ingress: Ingress { place, rules: Ingress::VIF }, mac: Mac([2; 6]), inwards: false }
}

/// As a frame has them: from one address to another.
fn ends(underlay: u32, vni: u32, from: IpAddr, to: IpAddr) -> Ends {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => Ends::v4(underlay, vni, to.to_bits(), from.to_bits()),
        (IpAddr::V6(from), IpAddr::V6(to)) => Ends::v6(underlay, vni, to.to_bits(), from.to_bits()),
        _ => panic!("two families"),
    }
}

#[test]
fn a_frame_comes_out_of_a_tunnel_by_all_of_its_ends_alone() {
    let vifs: Vec<Tunnel> = (1..=200)
        .flat_map(|vni| {
            let remotes: Vec<_> = (2..6).map(v4).collect();
            let remotes6: Vec<_> = (2..6).map(v6).collect();
            [tunnel(vni, v4(1), &remotes), tunnel(vni, v6(1), &remotes6)]
        })
        .collect();
    let tunnels = Tunnels::new((0..).zip(&vifs).map(|(at, vif)| (vif, exit(at))));
    let out = |underlay, vni, from, to| tunnels.exit(ends(underlay, vni, from, to));
    for vni in 1..=200 {
        for last in 2..6 {
            assert_eq!(out(7, vni, v4(last), v4(1)), Ok(exit(2 * vni - 2)));
            assert_eq!(out(7, vni, v6(last.into()), v6(1)), Ok(exit(2 * vni - 1)));
        }
        for stranger in [v4(1), v4(6), v4(0), IpAddr::from([0; 4]), IpAddr::from([255; 4])] {
            assert_eq!(out(7, vni, stranger, v4(1)), Err(NoExit::UnknownVtep), "{stranger}");
        }
        for stranger in [v6(1), v6(6), Ipv6Addr::UNSPECIFIED.into()] {
            assert_eq!(out(7, vni, stranger, v6(1)), Err(NoExit::UnknownVtep), "{stranger}");
        }
    }
    for vni in [0, 201, MAX_VNI] {
        assert_eq!(out(7, vni, v4(2), v4(1)), Err(NoExit::UnknownVni), "{vni}");
    }
    for (underlay, to) in [(7, v4(2)), (6, v4(1)), (0, v4(1))] {
        assert_eq!(out(underlay, 5, v4(2), to), Err(NoExit::NotOurs));
    }
    assert_eq!(Tunnels::default().exit(ends(7, 5, v4(2), v4(1))), Err(NoExit::NotOurs));
}

#[test]
fn the_outer_headers_are_sound_and_say_what_is_inside() {
    let (inner, flow) = (1_064, 0xdead_beef);
    let differs = Inner { octets: inner, class: 0xb9, flow };
    let mut outer = [0; OUTER4];
    let (copy, fixed) = (Marking::new(Dscp::Uniform), Marking::new(Dscp::Pipe(10)));
    let ends = [0x0aff_0001, 0x0aff_0002];
    Outer4::new(ends, 0x12_3456, fixed).write(&mut outer, differs);
    assert_eq!((outer[1], checksum::sum(&outer[..20])), (10 << 2 | 1, 0xffff), "ECN is kept");
    Outer4::new(ends, 0x12_3456, copy).write(&mut outer, differs);
    assert_eq!(checksum::sum(&outer[..20]), 0xffff);
    let packet = [&outer[..], &vec![0; inner]].concat();
    let read = ipv4::Ipv4::parse(&packet).unwrap();
    assert_eq!(read.total_len(), packet.len());
    assert_eq!((read.protocol(), read.ttl(), read.is_fragment()), (ipv4::UDP, TTL, false));
    assert_eq!((outer[1], be16(&outer, 6)), (0xb9, 0x4000), "DSCP and ECN, and DF");
    let payload: Vec<u8> = (0..=u8::MAX).cycle().take(inner).collect();
    let sum = checksum::sum(&payload);
    let mut six = [0; OUTER6];
    Outer6::new([1 << 120, 2 << 120], 0x12_3456, fixed).write(&mut six, differs, sum);
    assert_eq!(class(&six), 10 << 2 | 1);
    Outer6::new([1 << 120, 2 << 120], 0x12_3456, copy).write(&mut six, differs, sum);
    let packet = [&six[..], &payload].concat();
    let parsed = etherparse::SlicedPacket::from_ip(&packet).unwrap();
    let Some(etherparse::TransportSlice::Udp(udp)) = parsed.transport else { panic!("no UDP") };
    let (from, to) = ((1_u128 << 120).to_be_bytes(), (2_u128 << 120).to_be_bytes());
    let right = udp.to_header().calc_checksum_ipv6_raw(from, to, udp.payload()).unwrap();
    assert_eq!(udp.checksum(), right);
    let read = ipv6::Ipv6::parse(&packet).unwrap();
    assert_eq!(read.total_len(), packet.len());
    assert_eq!((read.next_header(), read.hop_limit()), (ipv4::UDP, TTL));
    assert_eq!((six[0], six[1] >> 4), (0x6b, 9), "DSCP and ECN");
    assert_eq!(outer[26..28], [0, 0], "no checksum in IPv4");
    for udp in [&outer[20..], &six[40..]] {
        assert!(be16(udp, 0) >= FIRST_SOURCE_PORT);
        assert_eq!(be16(udp, 2), VXLAN_PORT);
        assert_eq!(usize::from(be16(udp, 4)), inner + UDP_AND_VXLAN);
        assert_eq!(udp[8..], [8, 0, 0, 0, 0x12, 0x34, 0x56, 0]);
    }
    assert_eq!([class(&outer), class(&six), class(&[])], [0xb9, 0xb9, 0]);
}

#[test]
fn a_frame_is_of_a_tunnel_by_vni_and_vtep_behind_any_tags() {
    for (local, remote) in [(v4(1), v4(2)), (v6(1), v6(2))] {
        let mine = tunnel(5001, local, &[remote]);
        let ethertype: [u8; 2] = if local.is_ipv4() { [8, 0] } else { [0x86, 0xdd] };
        for tags in [&[][..], &[0x81, 0, 0, 9], &[0x88, 0xa8, 0, 9, 0x81, 0, 0, 9]] {
            let framed = |packet: &[u8]| [&[0; 12], tags, &ethertype, packet].concat();
            let frame = framed(&mine.received(remote, &[7; 60]));
            assert!(mine.has(&frame), "{local} {tags:?}");
            assert!(!tunnel(5002, local, &[remote]).has(&frame), "another VNI");
            assert!(!tunnel(5001, remote, &[local]).has(&frame), "another VTEP's");
            assert!(!mine.has(&framed(&mine.packet(remote, &[7; 60], 0))), "what leaves");
            let headers = 12 + tags.len() + 2 + if local.is_ipv4() { OUTER4 } else { OUTER6 };
            for cut in 0..frame.len() {
                assert_eq!(mine.has(&frame[..cut]), cut >= headers, "{cut} octets");
            }
        }
    }
}
