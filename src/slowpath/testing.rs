//! What the unit tests of this directory share.

use std::net::Ipv4Addr;

use etherparse::{IpNumber, Ipv4Header, Ipv4Options};

use crate::tables::{Pcp, PortId, SourceCheck, Tags, Vif, VrfId};

/// A VIF with these addresses.
pub fn vif(addresses: &[&str]) -> Vif {
    Vif {
        name: "a".into(),
        up: true,
        kind: None,
        port: PortId(0),
        tags: Tags { outer: 100, inner: None, service: false },
        vrf: VrfId(0),
        mtu: 1500,
        source_check: SourceCheck::Off,
        acl_in: None,
        acl_out: None,
        flow_log: 0,
        twamp_reflector: false,
        translations: None,
        pcp: Pcp::Preserve,
        overlay: Default::default(),
        joins_stations: false,
        metered: [false; 2],
        limited: [false; 2],
        top_talkers: false,
        addresses: addresses.iter().map(|net| net.parse().unwrap()).collect(),
        peers: [].into(),
    }
}

/// An IPv4 packet without DF.
pub fn ipv4(
    from: &str,
    to: &str,
    ttl: u8,
    protocol: u8,
    options: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    let octets = |text: &str| text.parse::<Ipv4Addr>().unwrap().octets();
    let length = u16::try_from(options.len() + payload.len()).unwrap();
    let mut header =
        Ipv4Header::new(length, ttl, IpNumber(protocol), octets(from), octets(to)).unwrap();
    header.dont_fragment = false;
    header.options = Ipv4Options::try_from(options).unwrap();
    header.header_checksum = header.calc_header_checksum();
    [&header.to_bytes()[..], payload].concat()
}
