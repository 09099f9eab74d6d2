//! Sessions within the station's own AS (iBGP), with BIRD itself as the core's routers.

use std::net::IpAddr;

use station::admin::protocol::BgpDirection;

use crate::live::router;
use crate::wire::{Router, Wire, becomes};

/// A customer, and two routers of the core by which static routes lead to others.
const CONFIG: &str = r#"
[[port]]
name = "cust0"
interface = "c"
role = "customer"
[[port]]
name = "core0"
interface = "p"
role = "core"
[[vrf]]
name = "t"
kind = "vpc"
[[vif]]
name = "office"
port = "cust0"
vlan = 1
kind = "private"
vrf = "t"
addresses = ["172.16.0.1/30"]
[[vif.bgp]]
peer = "172.16.0.2"
peer_as = 65001
local_as = 64512
[[vif]]
name = "pe2"
port = "core0"
vlan = 2
vrf = "t"
addresses = ["10.0.2.1/30"]
[[vif.bgp]]
peer = "10.0.2.2"
peer_as = 64512
local_as = 64512
[[vif]]
name = "pe3"
port = "core0"
vlan = 3
vrf = "t"
addresses = ["10.0.3.1/30", "fd00:3::1/64"]
[[vif.bgp]]
peer = "10.0.3.2"
peer_as = 64512
local_as = 64512
[[vif.bgp]]
peer = "fd00:3::2"
peer_as = 64512
local_as = 64512
local_preference = 70
[[route]]
vrf = "t"
prefix = "10.255.0.5/32"
via = [{ address = "10.0.2.2" }]
[[route]]
vrf = "t"
prefix = "10.255.0.0/24"
via = [{ address = "10.0.2.2", weight = 2 }, { address = "10.0.3.2" }]
[[route]]
vrf = "t"
prefix = "192.0.2.0/24"
via = [{ address = "172.16.0.2" }]
[[route]]
vrf = "t"
prefix = "fd00:255::/64"
via = [{ address = "fd00:3::2" }]
"#;

fn peer(vlan: u16, address: &str, station: &str, prefixes: &[&str]) -> Router {
    let (address, station) = (address.parse().unwrap(), station.parse().unwrap());
    Router { address, station, asn: 64512, ..router(vlan, prefixes) }
}

/// What a peer announced: prefix, state, cause.
fn received(wire: &Wire, vif: &str, direction: BgpDirection) -> Vec<String> {
    let rows = wire.routes(vif, direction).into_iter();
    let mut rows: Vec<String> = rows
        .map(|row| format!("{} {} {}", row.prefix, row.state, row.cause.unwrap_or_default()))
        .map(|row| row.trim().to_owned())
        .collect();
    rows.sort_unstable();
    rows
}

#[test]
#[ignore = "needs root and BIRD"]
fn next_hops_beyond_the_peer_are_resolved_in_the_vrf() {
    let wire = Wire::new(crate::config(CONFIG));
    let customer = Router { asn: 65001, ..peer(1, "172.16.0.2", "172.16.0.1", &[]) };
    // The next hop of two of the core's routes, too, and another's: neither may move them.
    let prefixes = ["10.1.0.0/16", "10.255.0.5/32", "10.254.0.0/24"].map(str::to_owned).into();
    let customer = Router { prefixes, ..customer };
    let second = peer(
        2,
        "10.0.2.2",
        "10.0.2.1",
        &[
            "10.10.0.0/16",
            "10.20.0.0/16 { bgp_next_hop = 10.255.0.5; bgp_local_pref = 200; }",
            "10.21.0.0/16 { bgp_next_hop = 10.255.0.9; }",
            "10.30.0.0/16 { bgp_next_hop = 10.254.0.1; }",
            "10.31.0.0/16 { bgp_next_hop = 172.16.0.2; }",
            "10.32.0.0/16 { bgp_next_hop = 192.0.2.7; }",
            "10.40.0.0/16 { bgp_next_hop = 10.0.3.1; }",
        ],
    );
    let third = peer(3, "10.0.3.2", "10.0.3.1", &["10.20.0.0/16"]);
    let six = peer(
        3,
        "fd00:3::2",
        "fd00:3::1",
        &["fd00:20::/48", "fd00:21::/48 { bgp_next_hop = fd00:255::9; }"],
    );
    wire.routers(&[customer.clone(), second, third, six]);
    wire.wait_established(4);
    let by = |net: &str, way: &str| format!("{net} {way} proto bird metric 32");
    let best = |prefix: &str| {
        let lines = wire.kernel(10_000);
        let at = lines.iter().position(|line| line.starts_with(prefix)).unwrap_or(lines.len());
        let own =
            |(n, line): &(usize, &String)| *n == at || (*n > at && line.starts_with("nexthop"));
        let rest = lines.iter().enumerate().skip(at).take_while(|(n, line)| own(&(*n, *line)));
        rest.map(|(_, line)| line.clone()).collect::<Vec<_>>().join(" ")
    };
    let second = "via 10.0.2.2 dev v1.2";
    becomes(|| best("10.10.0.0/16"), by("10.10.0.0/16", second));
    becomes(|| best("10.20.0.0/16"), by("10.20.0.0/16", second));
    becomes(
        || best("10.21.0.0/16"),
        "10.21.0.0/16 proto bird metric 32 nexthop via 10.0.2.2 dev v1.2 weight 2 \
         nexthop via 10.0.3.2 dev v1.3 weight 1"
            .to_owned(),
    );
    for prefix in ["10.30.0.0/16", "10.31.0.0/16", "10.32.0.0/16", "10.40.0.0/16"] {
        assert_eq!(best(prefix), "", "a route whose next hop is not the core's");
    }
    let third =
        |net: &str| format!("{net} via fd00:3::2 dev v1.3 proto bird metric 32 pref medium");
    becomes(|| best("fd00:20::/48"), third("fd00:20::/48"));
    becomes(|| best("fd00:21::/48"), third("fd00:21::/48"));
    becomes(
        || received(&wire, "pe2", BgpDirection::Received),
        [
            "10.10.0.0/16 best",
            "10.20.0.0/16 best",
            "10.21.0.0/16 best",
            "10.30.0.0/16 unresolved",
            "10.31.0.0/16 unresolved",
            "10.32.0.0/16 unresolved",
            "10.40.0.0/16 rejected next_hop",
        ]
        .map(str::to_owned)
        .into(),
    );

    // The core hears of the customer with the station as the next hop, and of nothing that is the core's own.
    let told = || wire.router_says("show route table t3v4 all where source = RTS_BGP");
    becomes(
        || {
            let said = told();
            let route = said.split("10.1.0.0/16").nth(1).unwrap_or_default();
            let route = route.split("unicast").nth(1).unwrap_or_default();
            ["BGP.as_path: 65001", "BGP.next_hop: 10.0.3.1", "BGP.local_pref: 100"]
                .map(|part| route.contains(part))
        },
        [true; 3],
    );
    assert!(!told().contains("10.10.0.0/16"), "the station reflects nothing");
    // What it uses is told to the customer, what it does not is not.
    let heard = || wire.router_says("show route table t1v4");
    becomes(|| heard().contains("10.20.0.0/16"), true);
    assert!(!heard().contains("10.30.0.0/16"));
    let withheld = |vif| -> Vec<String> {
        let rows = received(&wire, vif, BgpDirection::Withheld).into_iter();
        rows.filter(|row| !row.ends_with("not_routed")).collect()
    };
    becomes(
        || withheld("office"),
        ["10.30", "10.31", "10.32"].map(|net| format!("{net}.0.0/16 withheld unresolved")).into(),
    );
    becomes(
        || withheld("pe3"),
        ["10.10", "10.20", "10.21", "10.30", "10.31", "10.32"]
            .map(|net| format!("{net}.0.0/16 withheld internal"))
            .into(),
    );
    // The peer's own word counts, but for a session that has one of its own.
    let preference = |vif: &str, net: &str| {
        let rows = wire.routes(vif, BgpDirection::Received).into_iter();
        rows.filter(|row| row.prefix.to_string() == net).find_map(|row| row.local_preference)
    };
    assert_eq!(preference("pe2", "10.20.0.0/16"), Some(200));
    assert_eq!(preference("pe3", "fd00:20::/48"), Some(70));
    let sent: Vec<_> = wire.routes("pe3", BgpDirection::Advertised);
    let row = sent.iter().find(|row| row.prefix.to_string() == "10.1.0.0/16").unwrap();
    assert_eq!((row.as_path.join(" "), row.local_preference), ("65001".to_owned(), Some(100)));
    assert_eq!(row.next_hop, Some("10.0.3.1".parse::<IpAddr>().unwrap()));
}
