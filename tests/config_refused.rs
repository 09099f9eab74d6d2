//! Every rule of the configuration, as a table: a fragment that breaks it, the line and field that
//! the error names, and what it says.
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests

use std::path::Path;

use miette::Diagnostic;
use station::config::{self, ConfigError};

/// A valid file; fragments are appended to it.
const BASE: &str = r#"[station]
name = "test"
[[port]]
name = "cust"
interface = "eth1"
role = "customer"
[[port]]
name = "core"
interface = "eth2"
role = "core"
[[vrf]]
name = "vpc-a"
kind = "vpc"
[[vrf]]
name = "pub"
kind = "public"
[[vif]]
name = "a"
port = "cust"
vlan = "100"
kind = "private"
vrf = "vpc-a"
addresses = ["10.0.0.1/30", "fd00::1/64"]
[[vif]]
name = "q"
port = "cust"
vlan = "200.1"
kind = "public"
vrf = "pub"
addresses = ["10.0.0.1/24"]
[[vif]]
name = "c"
port = "core"
vlan = 100
vrf = "pub"
addresses = ["10.0.1.1/24"]
[[route]]
vrf = "vpc-a"
prefix = "10.1.0.0/16"
via = [{ address = "10.0.0.2" }]
"#;

/// Line of a fragment's line `n` (from 1) once it is appended to [`BASE`].
fn line(n: usize) -> usize {
    BASE.lines().count() + n
}

fn parse(text: &str) -> Result<station::config::model::Config, ConfigError> {
    config::parse(text, Path::new("/nonexistent"))
}

/// The fragment causes exactly this one error.
fn refused(fragment: &str, at: usize, field: &str, says: &str) {
    let error = parse(&format!("{BASE}{fragment}")).expect_err(fragment);
    let [problem] = error.problems() else { panic!("{fragment}\nmore than one: {error:?}") };
    assert_eq!(problem.line(), Some(line(at)), "{fragment}\n{error:?}");
    assert_eq!(problem.field(), field, "{fragment}\n{error:?}");
    assert!(problem.message().contains(says), "{fragment}\n{error:?}\nexpected: {says}");
    assert!(!problem.help_text().is_empty(), "{fragment}");
}

#[test]
fn the_base_is_accepted() {
    let config = parse(BASE).unwrap();
    assert_eq!((config.ports.len(), config.vrfs.len(), config.vifs.len()), (2, 2, 3));
    assert_eq!(&*config.vifs[2].name, "c");
}

fn port(body: &str) -> String {
    format!("[[port]]\n{body}")
}

#[test]
#[rustfmt::skip] // a row a line
fn ports() {
    for (body, at, field, says) in [
        ("interface = \"x\"\nrole = \"core\"", 1, "port[2].name", "is missing"),
        ("name = \"x\"\nrole = \"core\"", 1, "port[2].interface", "is missing"),
        ("name = \"x\"\ninterface = \"x\"", 1, "port[2].role", "is missing"),
        ("name = \"X\"\ninterface = \"x\"\nrole = \"core\"", 2, "port[2].name", "not a name"),
        ("name = 1\ninterface = \"x\"\nrole = \"core\"", 2, "port[2].name", "is an integer"),
        ("name = \"core\"\ninterface = \"x\"\nrole = \"core\"", 2, "port[2].name", "already a port on line 8"),
        ("name = \"x\"\ninterface = \"eth1\"\nrole = \"core\"", 3, "port[2].interface", "already a port on line 5"),
        ("name = \"x\"\ninterface = \"a/b\"\nrole = \"core\"", 3, "port[2].interface", "cannot be an interface"),
        ("name = \"x\"\ninterface = \"sixteen-octets-x\"\nrole = \"core\"", 3, "port[2].interface", "cannot be an interface"),
        ("name = \"x\"\ninterface = \"a\\nb\"\nrole = \"core\"", 3, "port[2].interface", "cannot be an interface"),
        ("name = \"x\"\ninterface = \"x\"\nrole = \"edge\"", 4, "port[2].role", "\"edge\" is unknown"),
        ("name = \"x\"\ninterface = \"x\"\nrole = \"core\"\nxdp = \"fast\"", 5, "port[2].xdp", "unknown"),
        ("name = \"x\"\ninterface = \"x\"\nrole = \"core\"\nzero_copy = true", 5, "port[2].zero_copy", "is a boolean"),
        ("name = \"x\"\ninterface = \"x\"\nrole = \"core\"\nxdp = \"generic\"\nzero_copy = \"require\"", 6, "port[2].zero_copy", "generic XDP"),
        ("name = \"x\"\ninterface = \"x\"\nrole = \"core\"\nbusy_poll_us = -1", 5, "port[2].busy_poll_us", "-1 is out of range"),
        ("name = \"x\"\ninterface = \"x\"\nrole = \"core\"\nto_kernel = \"lacp\"", 5, "port[2].to_kernel", "is a string"),
        ("name = \"x\"\ninterface = \"x\"\nrole = \"core\"\nto_kernel = [\"stp\"]", 5, "port[2].to_kernel", "\"stp\" is unknown"),
        ("name = \"x\"\ninterface = \"x\"\nrole = \"core\"\nto_kernel = [\"lacp\", \"lacp\"]", 5, "port[2].to_kernel", "twice"),
        ("name = \"x\"\ninterface = \"x\"\nrole = \"core\"\nspeed = 1", 5, "port[2].speed", "not a known field"),
    ] {
        refused(&port(body), at, field, says);
    }
}

#[test]
fn labels() {
    let with = |line: &str, says: &str| {
        let key = line.split(' ').next().unwrap();
        refused(
            &format!("[[vrf]]\nname = \"x\"\nkind = \"vpc\"\n{line}"),
            4,
            &format!("vrf[2].{key}"),
            says,
        );
    };
    with("customer = \"\"", "is empty");
    with("customer = 7", "is an integer");
    with("circuit = \"a\\nb\"", "has a control character");
    with(&format!("description = \"{}\"", "x".repeat(101)), "is longer than 100 characters");
    assert!(
        parse(&format!(
            "{BASE}[[vrf]]\nname = \"x\"\nkind = \"vpc\"\ncustomer = \"{}\"",
            "ä".repeat(100)
        ))
        .is_ok()
    );
}

#[test]
fn the_vifs_of_a_port_that_is_down_are_down() {
    let down = BASE.replace("interface = \"eth1\"", "interface = \"eth1\"\nup = false");
    let up: Vec<bool> = parse(&down).unwrap().vifs.iter().map(|vif| vif.up).collect();
    assert_eq!(up, [false, false, true]);
}

#[test]
fn there_is_at_least_one_port_and_at_most_64() {
    let error = parse("").unwrap_err();
    assert_eq!(error.problems()[0].field(), "port");
    let many: String = (0..63)
        .map(|i| format!("[[port]]\nname = \"p{i}\"\ninterface = \"p{i}\"\nrole = \"core\"\n"))
        .collect();
    refused(&many, 62 * 4 + 1, "port", "there are 65 ports");
}

#[test]
fn station() {
    let with = |body: &str, field: &str, says: &str| {
        let text = BASE.replace("name = \"test\"", body);
        let error = parse(&text).expect_err(body);
        let [problem] = error.problems() else { panic!("{body}\n{error:?}") };
        assert_eq!((problem.line(), problem.field()), (Some(2), field), "{body}\n{error:?}");
        assert!(problem.message().contains(says), "{body}\n{error:?}");
    };
    with("name = \"Big Name\"", "station.name", "not a name");
    with("socket = \"run/x\"", "station.socket", "relative");
    with("socket = \"/run/a\\nb\"", "station.socket", "control character");
    with("socket = \"/run/a\\u0000b\"", "station.socket", "control character");
    with("socket = \"\"", "station.socket", "is empty");
    with(&format!("socket = \"/{}\"", "x".repeat(96)), "station.socket", "longer than 96");
    with("bpffs = \"x\"", "station.bpffs", "relative");
    with("max_vifs = 0", "station.max_vifs", "0 is out of range");
    with("max_vifs = 65536", "station.max_vifs", "out of range");
    with("max_ports = 0", "station.max_ports", "0 is out of range");
    with("max_ports = 65", "station.max_ports", "65 is out of range");
    with("max_vifs = 99999999999999999999", "station.max_vifs", "out of range");
    with("cpus = 1", "station.cpus", "is an integer");
    with("cpus = [1, 1]", "station.cpus", "already in the list");
    with("cpus = [\"1\"]", "station.cpus", "not a CPU");
    with("cpus = [-1]", "station.cpus", "not a CPU");
    with("frames = 100", "station.frames", "out of range");
    with("ring = 1000", "station.ring", "not a power of two");
    with("ring = 65536", "station.ring", "out of range");
    with("nam = \"x\"", "station.nam", "not a known field");
}

#[test]
fn vrfs() {
    refused(
        "[[vrf]]\nname = \"pub\"\nkind = \"vpc\"",
        2,
        "vrf[2].name",
        "already a vrf on line 15",
    );
    refused("[[vrf]]\nname = \"x\"\nkind = \"vpn\"", 3, "vrf[2].kind", "unknown");
    refused("[[vrf]]\nname = \"x\"", 1, "vrf[2].kind", "is missing");
    refused("[vrf2]\n", 1, "vrf2", "not a known field");
}

/// A VIF on the customer port in the VPC, with some fields replaced or added.
fn vif(changes: &[(&str, &str)]) -> String {
    let mut fields = vec![
        ("name", "\"x\""),
        ("port", "\"cust\""),
        ("vlan", "300"),
        ("kind", "\"private\""),
        ("vrf", "\"vpc-a\""),
        ("addresses", "[\"10.9.0.1/30\"]"),
    ];
    for &(key, value) in changes {
        match fields.iter_mut().find(|field| field.0 == key) {
            Some(field) => field.1 = value,
            None => fields.push((key, value)),
        }
    }
    let lines = fields.iter().filter(|field| !field.1.is_empty());
    lines.fold("[[vif]]\n".into(), |text, (key, value)| format!("{text}{key} = {value}\n"))
}

#[test]
#[rustfmt::skip] // a row a line
fn vifs() {
    parse(&format!("{BASE}{}", vif(&[]))).unwrap();
    for (changes, at, field, says) in [
        (&[("name", "\"a\"")][..], 2, "name", "already a vif on line 18"),
        (&[("port", "\"cust9\"")], 3, "port", "there is no port \"cust9\""),
        (&[("port", "")], 1, "port", "is missing"),
        (&[("vlan", "")], 1, "vlan", "is missing"),
        (&[("vlan", "0")], 4, "vlan", "0 is out of range"),
        (&[("vlan", "4095")], 4, "vlan", "out of range"),
        (&[("vlan", "\"4095\"")], 4, "vlan", "no VLAN"),
        (&[("vlan", "\"1.0\"")], 4, "vlan", "no VLAN"),
        (&[("vlan", "\"1.2.3\"")], 4, "vlan", "no VLAN"),
        (&[("vlan", "\"+1\"")], 4, "vlan", "no VLAN"),
        (&[("vlan", "1.5")], 4, "vlan", "is a float"),
        (&[("vlan", "100")], 4, "vlan", "100 is already used on port \"cust\", line 20"),
        (&[("vlan", "\"200.1\"")], 4, "vlan", "200.1 is already used"),
        (&[("vlan", "\"100.1\"")], 4, "vlan", "one tag and two tags"),
        (&[("vlan", "200")], 4, "vlan", "one tag and two tags"),
        (&[("vlan", "\"200.2\""), ("service_tag", "true")], 4, "service_tag", "802.1Q and 802.1ad"),
        (&[("service_tag", "1")], 8, "service_tag", "is an integer"),
        (&[("kind", "")], 1, "kind", "is missing"),
        (&[("kind", "\"privat\"")], 5, "kind", "unknown"),
        (&[("kind", "\"public\"")], 5, "kind", "of another kind"),
        (&[("kind", "\"transit\"")], 5, "kind", "of another kind"),
        (&[("port", "\"core\"")], 5, "kind", "core port"),
        (&[("vrf", "\"vpc-b\"")], 6, "vrf", "there is no vrf"),
        (&[("addresses", "")], 1, "addresses", "is missing"),
        (&[("addresses", "[]")], 7, "addresses", "there is none"),
        (&[("addresses", "\"10.9.0.1/30\"")], 7, "addresses", "is a string"),
        (&[("addresses", "[\"10.9.0.1\"]")], 7, "addresses", "not an address with a prefix length"),
        (&[("addresses", "[\"10.9.0.1/33\"]")], 7, "addresses", "not an address"),
        (&[("addresses", "[\"10.9.0.0/30\"]")], 7, "addresses", "subnet's own address"),
        (&[("addresses", "[\"10.9.0.3/30\"]")], 7, "addresses", "broadcast"),
        (&[("addresses", "[\"fd01::/64\"]")], 7, "addresses", "subnet's own address"),
        (&[("addresses", "[\"224.0.0.1/24\"]")], 7, "addresses", "multicast"),
        (&[("addresses", "[\"127.0.0.1/8\"]")], 7, "addresses", "loopback"),
        (&[("addresses", "[\"0.0.0.1/30\"]")], 7, "addresses", "unspecified"),
        (&[("addresses", "[\"240.1.0.1/30\"]")], 7, "addresses", "class E"),
        (&[("addresses", "[\"::1/128\"]")], 7, "addresses", "loopback"),
        (&[("addresses", "[\"ff02::1/64\"]")], 7, "addresses", "multicast"),
        (&[("addresses", "[\"11.0.0.1/7\"]")], 7, "addresses", "too large"),
        (&[("addresses", "[\"fe80::1/10\"]")], 7, "addresses", "not in fe80::/64"),
        (&[("addresses", "[\"fe80:1::1/64\"]")], 7, "addresses", "not in fe80::/64"),
        (&[("addresses", "[\"fe80::1/64\", \"fe80::2/64\"]")], 7, "addresses", "second"),
        (&[("addresses", "[\"10.9.0.1/30\", \"10.9.0.1/30\"]")], 7, "addresses", "second"),
        (&[("addresses", "[\"10.9.0.1/30\", \"10.9.0.2/30\"]")], 7, "addresses", "overlaps 10.9.0.1/30"),
        (&[("addresses", "[\"10.0.0.1/30\"]")], 7, "addresses", "overlaps 10.0.0.1/30 on line 23"),
        (&[("addresses", "[\"10.0.0.9/28\"]")], 7, "addresses", "overlaps"),
        (&[("addresses", "[\"fd00::2/127\"]")], 7, "addresses", "overlaps fd00::1/64"),
        (&[("mtu", "575")], 8, "mtu", "575 is out of range"),
        (&[("mtu", "1279"), ("addresses", "[\"fd01::1/64\"]")], 8, "mtu", "1279 is out of range"),
        (&[("mtu", "9217")], 8, "mtu", "out of range"),
        (&[("up", "\"yes\"")], 8, "up", "is a string"),
        (&[("source_check", "\"on\"")], 8, "source_check", "unknown"),
        (&[("pcp", "8")], 8, "pcp", "8 is out of range"),
        (&[("pcp", "\"keep\"")], 8, "pcp", "unknown"),
        (&[("ospf", "1")], 8, "ospf", "not a known field"),
    ] {
        refused(&vif(changes), at, &format!("vif[3].{field}"), says);
    }
    let seventeen: Vec<String> = (0..17).map(|i| format!("10.9.{i}.1/30")).collect();
    refused(
        &vif(&[("addresses", &format!("{seventeen:?}"))]),
        7,
        "vif[3].addresses",
        "there are 17",
    );
    let text = BASE.replace("name = \"test\"", "max_vifs = 2");
    let error = parse(&text).unwrap_err();
    assert_eq!(error.problems()[0].field(), "vif", "{error:?}");
}

#[test]
fn the_same_subnet_in_another_vrf_is_fine() {
    let other = "[[vrf]]\nname = \"vpc-b\"\nkind = \"vpc\"\n";
    let vif = vif(&[("vrf", "\"vpc-b\""), ("addresses", "[\"10.0.0.1/30\", \"fd00::1/64\"]")]);
    parse(&format!("{BASE}{other}{vif}")).unwrap();
}

#[test]
#[rustfmt::skip] // a row a line
fn routes() {
    for (vrf, prefix, rest, at, field, says) in [
        ("vpc-b", "10.2.0.0/16", "action = \"blackhole\"", 2, "vrf", "there is no vrf"),
        ("pub", "10.2.0.1/16", "action = \"blackhole\"", 3, "prefix", "has bits set after /16"),
        ("pub", "10.2.0.0", "action = \"blackhole\"", 3, "prefix", "not a prefix"),
        ("pub", "224.0.0.0/4", "action = \"blackhole\"", 3, "prefix", "multicast"),
        ("pub", "127.0.0.0/8", "action = \"blackhole\"", 3, "prefix", "loopback"),
        ("pub", "240.1.0.0/16", "action = \"blackhole\"", 3, "prefix", "routed in private VRFs alone"),
        ("vpc-a", "255.255.255.255/32", "action = \"blackhole\"", 3, "prefix", "broadcast"),
        ("pub", "fe80::/64", "action = \"blackhole\"", 3, "prefix", "link-local"),
        ("vpc-a", "10.1.0.0/16", "action = \"blackhole\"", 3, "prefix", "has a route on line 39"),
        ("vpc-a", "10.0.0.0/30", "action = \"blackhole\"", 3, "prefix", "is the subnet of vif \"a\""),
        ("vpc-a", "10.0.0.1/32", "action = \"blackhole\"", 3, "prefix", "is the address of vif \"a\""),
        ("pub", "10.2.0.0/16", "action = \"drop\"", 4, "action", "unknown"),
        ("pub", "10.2.0.0/16", "", 1, "via", "is missing"),
        ("pub", "10.2.0.0/16", "via = []", 4, "via", "leads nowhere"),
        ("pub", "10.2.0.0/16", "via = \"10.0.1.2\"", 4, "via", "is a string"),
        ("pub", "10.2.0.0/16", "via = [{ address = \"10.0.1.2\" }]\naction = \"blackhole\"", 5, "action", "beside via"),
        ("pub", "10.2.0.0/16", "via = [{ address = \"10.0.1.256\" }]", 4, "via[0].address", "not an address"),
        ("pub", "10.2.0.0/16", "via = [{ address = \"10.0.2.2\" }]", 4, "via[0].address", "on no subnet of vrf \"pub\""),
        ("pub", "10.2.0.0/16", "via = [{ address = \"10.0.1.1\" }]", 4, "via[0].address", "router's own address"),
        ("pub", "10.2.0.0/16", "via = [{ address = \"10.0.1.0\" }]", 4, "via[0].address", "subnet's own"),
        ("pub", "10.2.0.0/16", "via = [{ address = \"10.0.1.255\" }]", 4, "via[0].address", "broadcast"),
        ("pub", "10.2.0.0/16", "via = [{ address = \"10.0.1.2\", vif = \"z\" }]", 4, "via[0].vif", "there is no vif"),
        ("pub", "10.2.0.0/16", "via = [{ address = \"10.0.1.2\", vif = \"a\" }]", 4, "via[0].vif", "vif \"a\" is in vrf \"vpc-a\""),
        ("pub", "10.2.0.0/16", "via = [{ address = \"10.0.1.2\", vif = \"q\" }]", 4, "via[0].address", "on no subnet of vif \"q\""),
        ("pub", "10.2.0.0/16", "via = [{ address = \"10.0.1.2\", weight = 0 }]", 4, "via", "all are backups"),
        ("pub", "10.2.0.0/16", "via = [{ address = \"10.0.1.2\", weight = 65 }]", 4, "via[0].weight", "out of range"),
        ("pub", "10.2.0.0/16", "via = [{ address = \"10.0.1.2\", weight = 64 }, { address = \"10.0.1.3\" }]", 4, "via", "share is less than 1/64"),
        ("pub", "10.2.0.0/16", "via = [{ address = \"10.0.1.2\" }, { address = \"10.0.1.2\" }]", 4, "via[1].address", "twice"),
        ("pub", "2001:db8::/32", "via = [{ address = \"10.0.1.2\" }]", 4, "via", "not of the family"),
        ("pub", "2001:db8::/32", "via = [{ address = \"fe80::1\" }]", 4, "via[0].vif", "is missing"),
        ("pub", "10.2.0.0/16", "via = [{ address = \"10.0.1.2\" }]\nmetric = 1", 5, "metric", "not a known field"),
    ] {
        let fragment = format!("[[route]]\nvrf = \"{vrf}\"\nprefix = \"{prefix}\"\n{rest}\n");
        refused(&fragment, at, &format!("route[1].{field}"), says);
    }
    let fragment = "[[route]]\nvrf = \"pub\"\nprefix = \"10.2.0.0/16\"\nvia = [{ addr = \"x\" }, \"y\"]";
    let error = parse(&format!("{BASE}{fragment}")).unwrap_err();
    let fields: Vec<&str> = error.problems().iter().map(|problem| problem.field()).collect();
    assert_eq!(fields, ["route[1].via[0].address", "route[1].via[0].addr", "route[1].via[1]"]);
}

#[test]
fn neighbors() {
    for (vif, address, mac, at, field, says) in [
        ("z", "10.0.0.2", "02:00:00:00:00:01", 2, "vif", "there is no vif"),
        ("a", "10.0.0.300", "02:00:00:00:00:01", 3, "address", "not an address"),
        ("a", "10.0.1.2", "02:00:00:00:00:01", 3, "address", "on no subnet of vif \"a\""),
        ("a", "10.0.0.1", "02:00:00:00:00:01", 3, "address", "router's own"),
        ("a", "10.0.0.3", "02:00:00:00:00:01", 3, "address", "broadcast"),
        ("a", "10.0.0.2", "02:00:00:00:00", 4, "mac", "not a MAC address"),
        ("a", "10.0.0.2", "03:00:00:00:00:01", 4, "mac", "not the MAC of one host"),
        ("a", "10.0.0.2", "00:00:00:00:00:00", 4, "mac", "not the MAC of one host"),
    ] {
        let fragment =
            format!("[[neighbor]]\nvif = \"{vif}\"\naddress = \"{address}\"\nmac = \"{mac}\"\n");
        refused(&fragment, at, &format!("neighbor[0].{field}"), says);
    }
    let twice = "[[neighbor]]\nvif = \"a\"\naddress = \"fe80::2\"\nmac = \"02:00:00:00:00:01\"\n";
    refused(&twice.repeat(2), 7, "neighbor[1].address", "twice");
}

#[test]
fn syntax_errors_have_their_line() {
    refused("[[route]]\nvrf = \n", 2, "", "string");
    refused("x = 1\nx = 2\n", 2, "", "duplicate");
    refused("[[route]\n", 1, "", "unclosed");
}

#[test]
fn all_errors_are_shown_at_once_with_caret_and_help() {
    let text = format!(
        "{BASE}[[vif]]\nname = \"x\"\nport = \"nope\"\nvlan = 0\n[[neighbor]]\nvif = \"x\"\n\
         address = \"10.0.0.2\"\nmac = \"x\"\n"
    );
    let error = config::parse_as(&text, Path::new("/etc/station.toml")).unwrap_err();
    let fields: Vec<&str> = error.problems().iter().map(|problem| problem.field()).collect();
    assert_eq!(
        fields,
        ["vif[3].vrf", "vif[3].addresses", "vif[3].port", "vif[3].vlan", "neighbor[0].mac"],
        "{error:?}"
    );
    assert!(error.report().starts_with("/etc/station.toml:41: vif[3].vrf: is missing; add "));
    assert_eq!(error.report().lines().count(), 5);
    assert_eq!(error.related().into_iter().flatten().count(), 5);
    let mut rendered = String::new();
    let theme = miette::GraphicalTheme::unicode_nocolor();
    miette::GraphicalReportHandler::new_themed(theme).render_report(&mut rendered, &error).unwrap();
    for part in [
        "/etc/station.toml is refused: 5 errors",
        "vlan = 0",
        "station.toml:44:8",
        "help: write an integer from 1 to 4094",
    ] {
        assert!(rendered.contains(part), "{part:?} is not in\n{rendered}");
    }
}

#[test]
fn a_thousand_errors_are_counted_but_not_all_listed() {
    let many = "[[neighbor]]\nx = 1\n".repeat(1000);
    let error = parse(&format!("{BASE}{many}")).unwrap_err();
    assert_eq!(error.problems().len(), 100);
    assert!(error.report().ends_with("3900 more errors are not listed"), "{}", error.report());
}

fn session(body: &str) -> String {
    format!(
        "[[vif]]\nname = \"s\"\nport = \"cust\"\nvlan = 7\nkind = \"private\"\nvrf = \"vpc-a\"\n\
         addresses = [\"10.0.7.1/30\", \"fd00:7::1/64\"]\n[[vif.bgp]]\n{body}"
    )
}

#[test]
#[rustfmt::skip] // a row a line
fn bgp() {
    const GOOD: &str = "peer = \"10.0.7.2\"\npeer_as = 65001\nlocal_as = 64512\n";
    parse(&format!("{BASE}{}", session(GOOD))).unwrap();
    // The session's header is line 8 of the fragment, its first field line 9.
    for (body, at, field, says) in [
        ("peer_as = 1\nlocal_as = 2", 8, "peer", "is missing"),
        ("peer = \"10.0.7.2\"\nlocal_as = 2", 8, "peer_as", "is missing"),
        ("peer = \"10.0.7.2\"\npeer_as = 2", 8, "local_as", "is missing"),
        ("peer = \"x\"\npeer_as = 1\nlocal_as = 2", 9, "peer", "not an address"),
        ("peer = \"10.0.7.2; }\"\npeer_as = 1\nlocal_as = 2", 9, "peer", "not an address"),
        ("peer = \"10.0.8.2\"\npeer_as = 1\nlocal_as = 2", 9, "peer", "one hop away"),
        ("peer = \"10.0.7.1\"\npeer_as = 1\nlocal_as = 2", 9, "peer", "router's own address"),
        ("peer = \"10.0.7.3\"\npeer_as = 1\nlocal_as = 2", 9, "peer", "broadcast"),
        ("peer = \"fe80::2\"\npeer_as = 1\nlocal_as = 2", 9, "peer", "link-local"),
        ("peer = \"10.0.7.2\"\npeer_as = 64512\nlocal_as = 64512", 10, "peer_as", "a customer's"),
        ("peer = \"10.0.7.2\"\npeer_as = 0\nlocal_as = 2", 10, "peer_as", "out of range"),
        ("peer = \"10.0.7.2\"\npeer_as = 4294967295\nlocal_as = 2", 10, "peer_as", "out of range"),
        ("peer = \"10.0.7.2\"\npeer_as = 23456\nlocal_as = 2", 10, "peer_as", "reserved"),
        ("peer = \"10.0.7.2\"\npeer_as = \"1\"\nlocal_as = 2", 10, "peer_as", "is a string"),
    ] {
        refused(&session(body), at, &format!("vif[3].bgp[0].{field}"), says);
    }
    for (line, field, says) in [
        ("hold_s = 2", "hold_s", "out of range"),
        ("hold_s = 0", "hold_s", "out of range"),
        ("keepalive_s = 90", "keepalive_s", "not less than hold_s"),
        ("connect_retry_s = 0", "connect_retry_s", "out of range"),
        ("graceful_restart_s = 4096", "graceful_restart_s", "out of range"),
        ("max_prefixes = 0", "max_prefixes", "out of range"),
        ("at_max = \"drop\"", "at_max", "unknown"),
        ("passive = 1", "passive", "is an integer"),
        ("ttl_security = \"yes\"", "ttl_security", "is a string"),
        ("prepend = 11", "prepend", "out of range"),
        ("local_preference = -1", "local_preference", "out of range"),
        ("password = \"\"", "password", "cannot be a password"),
        ("password = \"a b\"", "password", "cannot be a password"),
        ("password = \"a\\\"; import all; #\"", "password", "cannot be a password"),
        ("password = \"a\\nb\"", "password", "cannot be a password"),
        ("password = \"p\u{e4}ss\"", "password", "cannot be a password"),
        ("import = \"10.0.0.0/8\"", "import", "is a string"),
        ("import = [\"10.0.0.0/8 ge 9\"]", "import", "not a prefix"),
        ("import = [\"10.0.0.0/8+\"]", "import", "not a prefix"),
        ("import = [\"10.0.0.0/8 le 7\"]", "import", "does not fit"),
        ("import = [\"10.0.0.0/8 le 33\"]", "import", "does not fit"),
        ("import = [\"10.0.0.1/8\"]", "import", "bits set"),
        ("import = [\"fd00::/8\"]", "import", "not of the family"),
        ("import = [\"10.0.0.0/8\", \"10.0.0.0/8 le 9\"]", "import", "there twice"),
        ("export = [\"127.0.0.0/8\"]", "export", "loopback"),
        ("suppress = [\"64512\"]", "suppress", "not a community"),
        ("suppress = [\"64512:65536\"]", "suppress", "not a community"),
        ("suppress = [\"1:2\", \"1:2\"]", "suppress", "there twice"),
        ("tag = [\"1:2:4294967296\"]", "tag", "not a community"),
        ("tag = [\"1:2)) accept; #\"]", "tag", "not a community"),
        ("preference = [{ local_preference = 1 }]", "preference[0].community", "is missing"),
        ("preference = [{ community = \"1:2\" }]", "preference[0].local_preference", "is missing"),
        ("multihop = 2", "multihop", "not a known field"),
    ] {
        refused(&session(&format!("{GOOD}{line}")), 12, &format!("vif[3].bgp[0].{field}"), says);
    }
    let core = session(&GOOD.replace("65001", "64512"));
    let core = core.replace("\"cust\"", "\"core\"").replace("kind = \"private\"\n", "");
    parse(&format!("{BASE}{core}prepend = 0")).unwrap();
    refused(&format!("{core}prepend = 1"), 11, "vif[3].bgp[0].prepend", "of the station's own AS");
    let twice = format!("{GOOD}[[vif.bgp]]\n{GOOD}");
    refused(&session(&twice), 13, "vif[3].bgp[1].peer", "has a session on this VIF on line");
    // Secrets are not shown, whatever is wrong with them or beside them.
    for secret in [
        "password = \"do not show\"",
        "password = \"do not show\"\nhold_s = = 9",
        "password = \"do not show",
        "password = \"\"\"\ndo not show",
        "password = [\"do not show\"]",
        "password = { is = \"do not show\" }",
        "password = do not show",
        "password: \"do not show\"",
        "password = \"a\" \"do not show\"",
        "pasword = \"do not show\"",
        "password.key = \"do not show\"",
        "password = \"b\"\npassword = \"do not show\"",
        "hold_s = 2 # password do not show",
        "bgp = [{ passwd = \"do not show\" }]",
    ] {
        let error = parse(&format!("{BASE}{}", session(&format!("{GOOD}{secret}")))).unwrap_err();
        let mut shown = String::new();
        miette::GraphicalReportHandler::new().render_report(&mut shown, &error).unwrap();
        let all = format!("{shown}\n{}", error.report());
        assert!(!all.contains("do not show") && !all.contains("not show"), "{secret}: {all}");
    }
    let broken = parse(&format!("{BASE}{}", session(&format!("{GOOD}hold_s = = 9")))).unwrap_err();
    let mut shown = String::new();
    miette::GraphicalReportHandler::new().render_report(&mut shown, &broken).unwrap();
    assert!(shown.contains("hold_s = *"), "{shown}");
}

#[test]
fn a_public_vif_says_what_may_pass() {
    let session = "[[vif]]\nname = \"s\"\nport = \"cust\"\nvlan = 7\nkind = \"public\"\nvrf = \"pub\"\n\
                   addresses = [\"10.0.7.1/30\"]\n[[vif.bgp]]\npeer = \"10.0.7.2\"\npeer_as = 1\nlocal_as = 2\n";
    refused(&format!("{session}import = []"), 8, "vif[3].bgp[0].export", "is missing");
    refused(&format!("{session}export = []"), 8, "vif[3].bgp[0].import", "is missing");
}

#[test]
fn bfd() {
    let vif = |bfd: &str| {
        format!(
            "[[vif]]\nname = \"s\"\nport = \"cust\"\nvlan = 7\nkind = \"private\"\nvrf = \"vpc-a\"\n\
             addresses = [\"10.0.7.1/30\"]\nbfd = {bfd}"
        )
    };
    for (bfd, field, says) in [
        ("{ interval_ms = 9 }", ".interval_ms", "out of range"),
        ("{ multiplier = 1 }", ".multiplier", "out of range"),
        ("{ interval = 9 }", ".interval", "not a known field"),
        ("true", "", "is a boolean"),
    ] {
        refused(&vif(bfd), 8, &format!("vif[3].bfd{field}"), says);
    }
}

#[test]
fn months_of_the_billing_series() {
    for (months, says) in
        [("0", "out of range"), ("121", "out of range"), ("\"13\"", "is a string")]
    {
        let body = format!("[billing]\nkeep_months = {months}");
        refused(&body, 2, "billing.keep_months", says);
    }
    refused("[billing]\nkeep = 13", 2, "billing.keep", "is not a known field");
}

#[test]
fn where_metrics_may_be_read() {
    for (value, says) in [
        ("\"0.0.0.0:9472\"", "can be read from other machines"),
        ("\"[::ffff:192.0.2.1]:9472\"", "can be read from other machines"),
        ("\"127.0.0.1\"", "neither a Unix socket nor an address with a port"),
        ("\"127.0.0.1:0\"", "0 is no port"),
        ("\"unix:metrics.sock\"", "is relative"),
        ("\"unix:\"", "is empty"),
        ("\"unix:/run/station/stationd.sock\"", "is the admin socket"),
        ("9472", "is an integer"),
    ] {
        let text = BASE.replace("name = \"test\"", &format!("metrics = {value}"));
        let error = parse(&text).expect_err(value);
        let [problem] = error.problems() else { panic!("{value}\n{error:?}") };
        assert_eq!((problem.line(), problem.field()), (Some(2), "station.metrics"), "{error:?}");
        assert!(problem.message().contains(says), "{value}\n{error:?}");
    }
    for fine in [
        "metrics = \"127.0.0.1:9472\"",
        "metrics = \"[::1]:9472\"",
        "metrics = \"unix:/run/station/metrics.sock\"",
        "metrics_remote = true\nmetrics = \"0.0.0.0:9472\"",
    ] {
        parse(&BASE.replace("name = \"test\"", fine)).expect(fine);
    }
}

#[test]
fn bird_and_router_id() {
    for (line, field, says) in [
        ("router_id = \"0.0.0.0\"", "router_id", "no router id"),
        ("router_id = \"::1\"", "router_id", "not a router id"),
        ("router_id = 1", "router_id", "is an integer"),
        ("bird = \"bird\"", "bird", "relative"),
        ("bird = \"/b\\nin\"", "bird", "control character"),
    ] {
        let text = BASE.replacen("name = \"test\"", &format!("name = \"test\"\n{line}"), 1);
        let error = parse(&text).expect_err(line);
        let [problem] = error.problems() else { panic!("{error:?}") };
        assert_eq!((problem.line(), problem.field()), (Some(3), &*format!("station.{field}")));
        assert!(problem.message().contains(says), "{error:?}");
    }
}

/// VIFs of a tenant's VRF are all of one customer, whether the VRF names it or not; those that name none are no way round.
#[test]
fn owners() {
    let vrf = |kind: &str, customer: &str| {
        format!("[[vrf]]\nname = \"x\"\nkind = \"{kind}\"\n{customer}\n")
    };
    let vif = |port: &str, vlan: u16, customer: &str| {
        let kind = if port == "cust" { "private" } else { "" };
        let kind = if kind.is_empty() { String::new() } else { format!("kind = \"{kind}\"") };
        format!(
            "[[vif]]\nname = \"x{vlan}\"\nport = \"{port}\"\nvlan = {vlan}\n{kind}\nvrf = \"x\"\n\
             addresses = [\"10.9.{vlan}.1/24\"]\n{customer}\n"
        )
    };
    let (acme, other, none) = ("customer = \"acme\"", "customer = \"other\"", "");
    for (texts, at, field, says) in [
        (
            [vrf("vpc", acme), vif("cust", 7, other), vif("core", 8, none)],
            12,
            "vif[3]",
            "vrf \"x\"",
        ),
        (
            [vrf("vpc", acme), vif("cust", 7, none), vif("core", 8, other)],
            20,
            "vif[4]",
            "vrf \"x\"",
        ),
        (
            [vrf("vpc", none), vif("cust", 7, acme), vif("cust", 8, other)],
            20,
            "vif[4]",
            "vif \"x7\"",
        ),
        (
            [vrf("transit", none), vif("core", 7, acme), vif("core", 8, other)],
            20,
            "vif[4]",
            "vif \"x7\"",
        ),
    ] {
        let line = if says.contains("vrf") { line(4) } else { line(12) };
        let says =
            if says.contains("vif") { format!("{says} in vrf \"x\"") } else { says.to_owned() };
        let says = format!("is \"other\", and {says} is of customer \"acme\" by line {line}");
        refused(&texts.concat(), at, &format!("{field}.customer"), &says);
    }
    for texts in [
        [vrf("vpc", acme), vif("cust", 7, acme), vif("core", 8, none)],
        [vrf("vpc", none), vif("cust", 7, none), vif("core", 8, acme)],
        [vrf("public", acme), vif("core", 7, acme), vif("core", 8, other)],
    ] {
        parse(&format!("{BASE}{}", texts.concat())).unwrap();
    }
    // A VIF in a tunnel is in its VRF as one on a port is.
    let text = TUNNELS.replace("vni = 5001\n", "vni = 5001\ncustomer = \"other\"\n");
    assert_ne!(text, TUNNELS);
    let base = BASE.replace("kind = \"private\"\n", "kind = \"private\"\ncustomer = \"acme\"\n");
    let error = parse(&format!("{base}{text}")).unwrap_err();
    assert!(error.problems()[0].message().contains("vif \"a\" in vrf \"vpc-a\""), "{error:?}");
}

/// A second VPC, and an exchange that is valid: see [`exchanges`].
const EXCHANGE: &str = r#"[[vrf]]
name = "vpc-b"
kind = "vpc"
[[exchange]]
name = "x"
from = "vpc-b"
to = "vpc-a"
prefixes = ["10.3.0.0/16", "fd03::/32"]
"#;

#[test]
#[rustfmt::skip] // a row a line
fn exchanges() {
    let config = parse(&format!("{BASE}{EXCHANGE}")).unwrap();
    assert_eq!((config.exchanges.len(), config.exchanges[0].prefixes.len()), (1, 2));
    for (old, new, at, field, says) in [
        ("name = \"x\"", "name = \"X\"", 5, "exchange[0].name", "not a name"),
        ("from = \"vpc-b\"", "from = \"vpc-c\"", 6, "exchange[0].from", "there is no vrf \"vpc-c\""),
        ("from = \"vpc-b\"\n", "", 4, "exchange[0].from", "is missing"),
        ("from = \"vpc-b\"", "from = \"pub\"", 6, "exchange[0].from", "vrf \"pub\" is of another kind"),
        ("to = \"vpc-a\"", "to = \"pub\"", 7, "exchange[0].to", "vrf \"pub\" is of another kind"),
        ("to = \"vpc-a\"", "to = \"vpc-b\"", 7, "exchange[0].to", "is the same VRF as from"),
        ("prefixes = [\"10.3.0.0/16\", \"fd03::/32\"]", "", 4, "exchange[0].prefixes", "is missing"),
        ("[\"10.3.0.0/16\", \"fd03::/32\"]", "[]", 8, "exchange[0].prefixes", "there is none"),
        ("\"10.3.0.0/16\"", "\"10.3.0.0/16 le 24\"", 8, "exchange[0].prefixes", "is not a prefix"),
        ("\"10.3.0.0/16\"", "\"ten\"", 8, "exchange[0].prefixes", "is not a prefix"),
        ("\"10.3.0.0/16\"", "\"10.3.0.1/16\"", 8, "exchange[0].prefixes", "has bits set after /16"),
        ("\"10.3.0.0/16\"", "\"127.0.0.0/8\"", 8, "exchange[0].prefixes", "loopback"),
        ("\"10.3.0.0/16\"", "\"10.0.0.0/30\"", 8, "exchange[0].prefixes", "is in the subnet 10.0.0.0/30 of vif \"a\""),
        ("\"10.3.0.0/16\"", "\"fd00::4/128\"", 8, "exchange[0].prefixes", "is in the subnet fd00::/64 of vif \"a\""),
        ("\"10.3.0.0/16\"", "\"fd03::/32\"", 8, "exchange[0].prefixes", "reaches fd03::/32 by line"),
        ("prefixes", "accepted_by = [\"acme\"]\nprefixes", 8, "exchange[0].accepted_by", "\"acme\" owns neither VRF"),
        ("prefixes", "via = 1\nprefixes", 8, "exchange[0].via", "not a known field"),
    ] {
        assert!(EXCHANGE.contains(old), "{old}");
        refused(&EXCHANGE.replacen(old, new, 1), at, field, says);
    }
    let again = "[[exchange]]\nname = \"y\"\nfrom = \"vpc-b\"\nto = \"vpc-a\"\nprefixes = [\"10.3.0.0/16\"]\n";
    refused(&format!("{EXCHANGE}{again}"), 13, "exchange[1].prefixes", "vrf \"vpc-a\" reaches 10.3.0.0/16 by line");
}

/// Each customer of an exchange has agreed, whether its VRF names it or a VIF does.
#[test]
fn acceptance_of_exchanges() {
    let owned = |a: &str, b: &str, accepted: &str| {
        let base = BASE.replace("name = \"a\"\n", &format!("name = \"a\"\n{a}"));
        let exchange = EXCHANGE
            .replace("name = \"vpc-b\"\n", &format!("name = \"vpc-b\"\n{b}"))
            .replace("prefixes", &format!("{accepted}prefixes"));
        parse(&format!("{base}{exchange}"))
    };
    let (acme, other) = ("customer = \"acme\"\n", "customer = \"other\"\n");
    for (a, b, accepted, joins) in [
        (
            acme,
            other,
            "",
            "joins vrf \"vpc-b\" of customer \"other\" and vrf \"vpc-a\" of customer \"acme\"",
        ),
        (acme, other, "accepted_by = [\"acme\"]\n", "joins vrf"),
        (acme, other, "accepted_by = [\"other\"]\n", "joins vrf"),
        (acme, "", "", "joins vrf \"vpc-b\" of no customer and vrf \"vpc-a\" of customer \"acme\""),
        (acme, acme, "accepted_by = [\"acme\", \"acme\"]\n", "is there twice"),
        (acme, acme, "accepted_by = [\"other\"]\n", "owns neither VRF"),
    ] {
        let error = owned(a, b, accepted).expect_err(accepted);
        let [problem] = error.problems() else { panic!("{accepted}: {error:?}") };
        assert_eq!(problem.field().rsplit('.').next(), Some("accepted_by"), "{error:?}");
        assert!(problem.message().contains(joins), "{error:?}");
    }
    for (a, b, accepted) in [
        ("", "", ""),
        (acme, acme, ""),
        (acme, other, "accepted_by = [\"other\", \"acme\"]\n"),
        ("", other, "accepted_by = [\"other\"]\n"),
    ] {
        owned(a, b, accepted).unwrap();
    }
}

#[test]
#[rustfmt::skip] // a row a line
fn bandwidths() {
    let group = "[[meter_group]]\nname = \"g\"\ncustomer = \"acme\"\nbandwidth = \"50M\"\n";
    for (value, field, says) in [
        ("5", "bandwidth", "is an integer"),
        ("\"5\"", "bandwidth", "out of range"),
        ("\"63.999k\"", "bandwidth", "out of range"),
        ("\"401G\"", "bandwidth", "out of range"),
        ("\"5 M\"", "bandwidth", "is no rate"),
        ("\"1.2345G\"", "bandwidth", "is no rate"),
        ("\"\"", "bandwidth", "is no rate"),
        ("{}", "bandwidth.rate", "is missing"),
        ("{ rate = 1 }", "bandwidth.rate", "is an integer"),
        ("{ rate = \"1M\", committed = \"2M\" }", "bandwidth.committed", "is more than rate"),
        ("{ rate = \"1M\", burst_octets = 9999 }", "bandwidth.burst_octets", "out of range"),
        ("{ rate = \"1M\", peak = \"2M\" }", "bandwidth.peak", "not a known field"),
        ("{ rx = \"1M\", rate = \"2M\" }", "bandwidth.rate", "not a known field"),
        ("{ rx = \"1x\" }", "bandwidth.rx", "is no rate"),
        ("{ tx = { burst_octets = 10000 } }", "bandwidth.tx.rate", "is missing"),
        ("{ committed = \"1M\" }", "bandwidth", "what has no limit"),
    ] {
        refused(&vif(&[("bandwidth", value)]), 8, &format!("vif[3].{field}"), says);
    }
    let in_group = |changes: &[(&str, &str)]| format!("{group}{}", vif(changes));
    for (changes, at, field, says) in [
        (&[("meter_group", "\"h\"")][..], 12, "meter_group", "there is no meter_group \"h\""),
        (&[("meter_group", "\"g\""), ("customer", "\"other\"")], 12, "meter_group", "is of customer \"acme\", the VIF of \"other\""),
        (&[("meter_group", "\"g\""), ("bandwidth", "{ committed = \"51M\" }")], 13, "bandwidth", "rx: 51M are committed with this in meter_group \"g\", which has 50M"),
    ] {
        let error = parse(&format!("{BASE}{}", in_group(changes))).unwrap_err();
        let first = &error.problems()[0];
        assert_eq!((first.line(), first.field()), (Some(line(at)), &*format!("vif[3].{field}")), "{error:?}");
        assert!(first.message().contains(says), "{error:?}");
    }
    // What two VIFs have together: the second is one too many, in the direction that it is.
    let two = format!(
        "{group}{}{}",
        vif(&[("meter_group", "\"g\""), ("bandwidth", "{ tx = { rate = \"1G\", committed = \"30M\" } }")]),
        vif(&[("name", "\"y\""), ("vlan", "301"), ("addresses", "[\"10.9.1.1/30\"]"), ("meter_group", "\"g\""),
            ("bandwidth", "{ tx = { committed = \"20.001M\" } }")]),
    );
    refused(&two, 22, "vif[4].bandwidth", "tx: 50.001M are committed");
    for (value, says) in [("\"64k\"", ""), ("{ rate = \"1G\", committed = \"1M\" }", "committed")] {
        let port = format!("[[port]]\nname = \"p\"\ninterface = \"eth9\"\nrole = \"core\"\nbandwidth = {value}\n");
        match says {
            "" => assert!(parse(&format!("{BASE}{port}")).is_ok()),
            _ => refused(&port, 5, "port[2].bandwidth.committed", "not a known field"),
        }
    }
    refused("[[meter_group]]\nname = \"x\"", 1, "meter_group[0].bandwidth", "is missing");
    refused("[[meter_group]]\nname = \"x\"\nbandwidth = \"1G\"\nrate = 1", 4, "meter_group[0].rate", "not a known field");
}

#[test]
#[rustfmt::skip] // a row a line
fn address_limits() {
    let text = |by: &str, prefixes: &str, more: &str| {
        format!("[[address_limit]]\nname = \"h\"\nby = {by}\nprefixes = {prefixes}\nbandwidth = \"1M\"\n{more}\n")
    };
    for (by, prefixes, more, line, field, says) in [
        ("\"both\"", "[\"10.9.0.0/24\"]", "", 3, "by", "\"both\""),
        ("\"source\"", "[]", "", 4, "prefixes", "there is none"),
        ("\"source\"", "[\"10.9.0.0\"]", "", 4, "prefixes", "is no prefix"),
        ("\"source\"", "[\"10.9.0.1/24\"]", "", 4, "prefixes", "has bits set after /24"),
        ("\"source\"", "[\"224.0.0.0/24\"]", "", 4, "prefixes", "never routed"),
        ("\"source\"", "[\"10.9.0.0/24\", \"10.9.0.7/32\"]", "", 4, "prefixes", "overlap"),
        ("\"source\"", "[\"10.8.0.0/15\"]", "", 4, "prefixes", "there are 131072 addresses"),
        ("\"source\"", "[\"fd00::/64\"]", "", 4, "prefixes", "there are 18446744073709551615 addresses"),
        ("\"source\"", "[\"10.9.0.0/24\"]", "per_ipv4 = 23", 4, "prefixes", "is longer than per_ipv4, which is 23"),
        ("\"source\"", "[\"10.9.0.0/24\"]", "per_ipv4 = 33", 6, "per_ipv4", "33"),
        ("\"source\"", "[\"10.9.0.0/24\"]", "each = 1", 6, "each", "not a known field"),
    ] {
        refused(&text(by, prefixes, more), line, &format!("address_limit[0].{field}"), says);
    }
    let missing = "[[address_limit]]\nname = \"h\"\nby = \"source\"\nprefixes = [\"10.9.0.0/24\"]";
    refused(missing, 1, "address_limit[0].bandwidth", "is missing");
    let by_way = format!("{missing}\nbandwidth = {{ rx = \"1M\" }}");
    let error = parse(&format!("{BASE}{by_way}")).unwrap_err();
    assert!(error.report().contains("rx: is not a known field"), "{error:?}");

    let large = text("\"source\"", "[\"10.9.0.0/17\"]", "");
    let with = |changes: &[(&str, &str)]| format!("{large}{}", vif(changes));
    for (changes, field, says) in [
        (&[("address_limits_in", "[\"g\"]")][..], "address_limits_in", "there is no address_limit \"g\""),
        (&[("address_limits_out", "[\"h\", \"h\"]")], "address_limits_out", "is there twice"),
    ] {
        let error = parse(&format!("{BASE}{}", with(changes))).unwrap_err();
        let first = &error.problems()[0];
        assert_eq!(first.field(), format!("vif[3].{field}"), "{error:?}");
        assert!(first.message().contains(says), "{error:?}");
    }
    // Each direction has its own: two of them are as many as there can be. A third is another VRF's.
    let both = [("address_limits_in", "[\"h\"]"), ("address_limits_out", "[\"h\"]")];
    assert!(parse(&format!("{BASE}{}", with(&both))).is_ok());
    let third = format!("{BASE}{}", with(&both)).replacen("name = \"q\"\n", "name = \"q\"\naddress_limits_in = [\"h\"]\n", 1);
    let error = parse(&third).unwrap_err();
    assert!(error.report().contains("there are 98304 limited addresses"), "{error:?}");
}

#[test]
#[rustfmt::skip] // a row a line
fn access_lists() {
    let acl = |rules: &str| format!("[[acl]]\nname = \"x\"\nrules = [\n{rules}\n]\n");
    refused("[[acl]]\nrules = [\"deny ip\"]\n", 1, "acl[0].name", "is missing");
    refused("[[acl]]\nname = \"x\"\n", 1, "acl[0].rules", "is missing");
    refused("[[acl]]\nname = \"x\"\nrules = []\n", 3, "acl[0].rules", "there is none");
    refused("[[acl]]\nname = \"x\"\nrules = [7]\n", 3, "acl[0].rules", "is an integer");
    refused(&format!("{}[[acl]]\nname = \"x\"\nrules = [\"deny ip\"]\n", acl("\"permit ip\"")), 7, "acl[1].name", "already a acl on line");
    refused("[[vif]]\nname = \"v\"\nport = \"core\"\nvlan = 7\nvrf = \"pub\"\naddresses = [\"10.0.9.1/24\"]\nacl_in = \"no\"\n", 7, "vif[3].acl_in", "there is no acl \"no\"");
    for (rule, says) in [
        ("", "is empty"),
        ("allow ip", "begins with \"allow\""),
        ("permit http", "\"http\" is no protocol"),
        ("permit protocol 256", "\"256\" is no protocol number"),
        ("permit protocol", "ends after \"protocol\""),
        ("permit ip from", "ends after \"from\""),
        ("permit ip from 10.0.0.1/8", "10.0.0.1/8 has bits set after /8"),
        ("permit ip from 10.0.0/8", "\"10.0.0/8\" is no prefix"),
        ("permit ip from 10.0.0.0/8 to 2001:db8::/32", "IPv4 and IPv6 at once"),
        ("permit icmp from 2001:db8::/32", "IPv4 and IPv6 at once"),
        ("permit ip from any port 5", "no protocol that has ports"),
        ("permit tcp from any port x", "\"x\" is no port"),
        ("permit tcp from any port 9-7", "ends before it begins"),
        ("permit tcp from any port 65536", "\"65536\" is no port"),
        ("permit tcp to any from any", "\"from\" stands where it does not belong"),
        ("permit udp established", "established goes with tcp"),
        ("permit tcp flags syn,xyz", "\"xyz\" is no TCP flag"),
        ("permit tcp flags syn,!syn", "a flag and for its absence"),
        ("permit udp type 8", "type goes with icmp"),
        ("permit icmp type 256", "\"256\" is no ICMP type"),
        ("permit icmp code 1", "a code without a type"),
        ("permit icmp type 1 type 2", "two of type"),
        ("permit tcp to any port 80 fragment", "fragments other than the first"),
        ("permit ip log", "\"log\" is unknown"),
    ] {
        refused(&acl(&format!("\"permit ip\",\n{rule:?}")), 5, "acl[0].rules", &format!("rule 2, {rule:?}"));
        refused(&acl(&format!("\"permit ip\",\n{rule:?}")), 5, "acl[0].rules", says);
    }
    let many = acl(&"\"deny ip\",\n".repeat(10_001));
    refused(&many, 3, "acl[0].rules", "there are 10001");
}

/// A VTEP, a VIF on it and a route into its tunnel.
const TUNNELS: &str = r#"[[vrf]]
name = "fabric"
kind = "underlay"
[[vif]]
name = "u"
port = "core"
vlan = 900
vrf = "fabric"
addresses = ["10.254.0.1/30", "10.255.0.1/32"]
[[vtep]]
name = "t"
vrf = "fabric"
address = "10.255.0.1"
mac = "02:00:00:00:00:01"
[[vif]]
name = "x"
vtep = "t"
vni = 5001
vrf = "vpc-a"
addresses = ["100.64.0.1/32"]
remotes = [{ address = "10.255.0.2", mac = "02:00:00:00:00:02" }]
[[route]]
vrf = "vpc-a"
prefix = "fd77::/32"
via = [{ address = "10.255.0.2" }]
"#;

#[test]
#[rustfmt::skip] // a row a line
fn tunnels() {
    let config = parse(&format!("{BASE}{TUNNELS}")).unwrap();
    assert_eq!((config.vteps.len(), config.vifs.len()), (1, 5));
    for (old, new, at, field, says) in [
        ("\"underlay\"", "\"vpc\"", 12, "vtep[0].vrf", "vrf \"fabric\" is no underlay"),
        ("name = \"t\"", "name = \"core\"", 11, "vtep[0].name", "\"core\" is a port"),
        ("address = \"10.255.0.1\"", "address = \"10.255.0.3\"", 13, "vtep.address", "no VIF of vrf \"fabric\" has 10.255.0.3"),
        ("address = \"10.255.0.1\"", "address = \"224.0.0.1\"", 13, "vtep[0].address", "multicast"),
        ("address = \"10.255.0.1\"", "address = \"fe80::1\"", 13, "vtep[0].address", "link-local"),
        ("\"02:00:00:00:00:01\"", "\"03:00:00:00:00:01\"", 14, "vtep[0].mac", "not the MAC of one router"),
        ("\"02:00:00:00:00:01\"", "\"02:00:00:00:00:01\"\ndscp = 64", 15, "vtep[0].dscp", "out of range"),
        ("\"02:00:00:00:00:01\"", "\"02:00:00:00:00:01\"\ndscp = \"pipe\"", 15, "vtep[0].dscp", "unknown"),
        ("vtep = \"t\"", "vtep = \"s\"", 17, "vif[4].vtep", "there is no vtep \"s\""),
        ("vni = 5001", "vni = 0", 18, "vif[4].vni", "out of range"),
        ("vni = 5001", "vni = 16777216", 18, "vif[4].vni", "out of range"),
        ("vni = 5001\n", "", 15, "vif[4].vni", "is missing"),
        ("vni = 5001", "vni = 5001\nvlan = 7", 19, "vif[4].vlan", "not a known field"),
        ("vni = 5001", "vni = 5001\nport = \"core\"", 19, "vif[4].port", "not a known field"),
        ("vni = 5001", "vni = 5001\nkind = \"private\"", 19, "vif[4].kind", "not a known field"),
        ("vni = 5001", "vni = 5001\nbfd = {}", 19, "vif[4].bfd", "not a known field"),
        ("vrf = \"vpc-a\"\naddresses", "vrf = \"fabric\"\naddresses", 19, "vif[4].vrf", "is an underlay"),
        ("\"100.64.0.1/32\"", "\"100.64.0.1/30\"", 20, "vif[4].addresses", "a tunnel has no neighbors"),
        ("remotes = [{ address = \"10.255.0.2\"", "remotes = [{ address = \"fd00::2\"", 21, "vif[4].remotes[0].address", "not of the family of 10.255.0.1"),
        ("remotes = [{ address = \"10.255.0.2\"", "remotes = [{ address = \"10.255.0.1\"", 21, "vif[4].remotes[0].address", "is our own"),
        ("\"02:00:00:00:00:02\"", "\"ff:ff:ff:ff:ff:ff\"", 21, "vif[4].remotes[0].mac", "not the MAC of one router"),
        ("via = [{ address = \"10.255.0.2\"", "via = [{ address = \"10.255.0.9\"", 25, "route[1].via[0].address", "on no subnet of vrf \"vpc-a\""),
        ("via = [{ address = \"10.255.0.2\"", "via = [{ vif = \"x\", address = \"10.255.0.9\"", 25, "route[1].via[0].address", "has no tunnel to 10.255.0.9"),
        ("via = [{ address = \"10.255.0.2\"", "via = [{ vif = \"a\", address = \"10.255.0.2\"", 25, "route[1].via[0].address", "is on no subnet of vif \"a\""),
    ] {
        assert!(TUNNELS.contains(old), "{old}");
        let text = format!("{BASE}{}", TUNNELS.replacen(old, new, 1));
        let error = parse(&text).expect_err(new);
        let first = &error.problems()[0];
        assert_eq!((first.line(), first.field()), (Some(line(at)), field), "{new}\n{error:?}");
        assert!(error.problems().iter().any(|problem| problem.message().contains(says)), "{new}\n{error:?}");
    }
    for (old, new, at, field, says) in [
        ("vni = 5001", "vni = 5001\nstation = \"test\"", 19, "vif[4].station", "\"test\" is this station"),
        ("vni = 5001", "vni = 5001\nstation = \"A b\"", 19, "vif[4].station", "is not a name"),
        ("vni = 5001\nvrf = \"vpc-a\"", "vni = 5001\nvrf = \"pub\"\nstation = \"two\"", 20, "vif[4].station", "a public VRF has many customers"),
        ("vni = 5001", "vni = 5001\nstation = \"two\"\njoin_stations = true", 20, "vif[4].join_stations", "its tunnels lead to station \"two\""),
        ("vlan = 900", "vlan = 900\njoin_stations = true", 8, "vif[3].join_stations", "vrf \"fabric\" has no tunnels to other stations"),
        ("vlan = 900", "vlan = 900\nstation = \"two\"", 8, "vif[3].station", "not a known field"),
    ] {
        assert!(TUNNELS.contains(old), "{old}");
        let text = format!("{BASE}{}", TUNNELS.replacen(old, new, 1));
        let error = parse(&text).expect_err(new);
        let found = error.problems().iter().find(|problem| problem.message().contains(says));
        let found = found.unwrap_or_else(|| panic!("{new}\n{error:?}"));
        assert_eq!((found.line(), found.field()), (Some(line(at)), field), "{new}\n{error:?}");
    }
    // A VTEP is a station's in all its VNIs, or in none.
    let other = "[[vif]]\nname = \"y\"\nvtep = \"t\"\nvni = 5002\nvrf = \"vpc-a\"\nstation = \"two\"\naddresses = [\"100.64.0.2/32\"]\n\
                 remotes = [{ address = \"10.255.0.2\", mac = \"02:00:00:00:00:09\" }]\n";
    refused(&format!("{TUNNELS}{other}"), 33, "vif[5].remotes", "10.255.0.2 is a VTEP of no station on vif \"x\"");
    let no_remote = TUNNELS.replace("remotes = [{ address = \"10.255.0.2\", mac = \"02:00:00:00:00:02\" }]", "remotes = []");
    let error = parse(&format!("{BASE}{no_remote}")).unwrap_err();
    assert!(error.problems().iter().any(|problem| problem.message().contains("there is none")), "{error:?}");
    let second = "[[vif]]\nname = \"y\"\nvtep = \"t\"\nvni = 5001\nvrf = \"pub\"\naddresses = [\"100.64.0.2/32\"]\n\
                  remotes = [{ address = \"10.255.0.9\", mac = \"02:00:00:00:00:09\" }]\n";
    refused(&format!("{TUNNELS}{second}"), 29, "vif[5].vni", "5001 is used on vtep \"t\", line");
    let neighbor = "[[neighbor]]\nvif = \"x\"\naddress = \"10.255.0.2\"\nmac = \"02:00:00:00:00:02\"\n";
    refused(&format!("{TUNNELS}{neighbor}"), 27, "neighbor[0].vif", "has tunnels");
    let customer = "[[vif]]\nname = \"y\"\nport = \"cust\"\nvlan = 7\nkind = \"private\"\nvrf = \"fabric\"\naddresses = [\"10.9.0.1/30\"]\n";
    refused(&format!("{TUNNELS}{customer}"), 30, "vif[5].kind", "is of another kind");
}

#[test]
#[rustfmt::skip] // a row a line
fn rpki() {
    const CACHE: &str = "[[rpki]]\nname = \"cache\"\nserver = \"192.0.2.53:3323\"\n";
    let public = |lines: &str| {
        format!("{CACHE}[[vif]]\nname = \"s\"\nport = \"cust\"\nvlan = 7\nkind = \"public\"\nvrf = \"pub\"\n\
                 addresses = [\"10.0.7.1/30\"]\n[[vif.bgp]]\npeer = \"10.0.7.2\"\npeer_as = 1\nlocal_as = 2\n\
                 import = [\"8.0.0.0/8 le 24\"]\nexport = []\n{lines}")
    };
    let policy = |text: &str| parse(&format!("{BASE}{text}")).unwrap().vifs[3].bgp[0].rpki;
    use station::config::model::RpkiPolicy;
    assert_eq!(policy(&public("")), RpkiPolicy::Valid);
    assert_eq!(policy(&public("rpki = \"off\"")), RpkiPolicy::Off);
    assert_eq!(policy(&public("")[CACHE.len()..]), RpkiPolicy::Off);
    let good = "verified = [{ prefix = \"8.1.0.0/16 le 24\", reason = \"LOA\" }]";
    parse(&format!("{BASE}{}", public(good))).unwrap();
    for (body, at, field, says) in [
        ("[[rpki]]\nserver = \"192.0.2.53:3323\"", 1, "rpki[0].name", "is missing"),
        ("[[rpki]]\nname = \"c\"", 1, "rpki[0].server", "is missing"),
        ("[[rpki]]\nname = \"c\"\nserver = \"192.0.2.53\"", 3, "rpki[0].server", "not an address with a port"),
        ("[[rpki]]\nname = \"c\"\nserver = \"rtr.example:323\"", 3, "rpki[0].server", "not an address with a port"),
        ("[[rpki]]\nname = \"c\"\nserver = \"192.0.2.53:0\"", 3, "rpki[0].server", "0 is no port"),
        ("[[rpki]]\nname = \"c\"\nserver = \"192.0.2.53:1\"\nrefresh = 1", 4, "rpki[0].refresh", "not a known field"),
    ] {
        refused(body, at, field, says);
    }
    refused(&CACHE.replace("cache", "c").repeat(2), 5, "rpki[1].name", "already a rpki");
    let five: String = (0..5).map(|n| CACHE.replace("cache", &format!("c{n}"))).collect();
    refused(&five, 13, "rpki", "there are 5 caches");
    for (line, field, says) in [
        ("rpki = \"strict\"", "rpki", "unknown"),
        ("verified = [{ prefix = \"8.1.0.0/16\" }]", "verified[0].reason", "is missing"),
        ("verified = [{ reason = \"LOA\" }]", "verified[0].prefix", "is missing"),
        ("verified = [{ prefix = \"8.1.0.0/16\", reason = \" \" }]", "verified[0].reason", "is no reason"),
        ("verified = [{ prefix = \"8.1\", reason = \"LOA\" }]", "verified[0].prefix", "not a prefix"),
        ("verified = [{ prefix = \"8.1.0.0/16 le 8\", reason = \"LOA\" }]", "verified[0].prefix", "does not fit"),
        ("verified = [{ prefix = \"9.1.0.0/16\", reason = \"LOA\" }]", "verified[0].prefix", "not in import"),
    ] {
        refused(&public(line), 17, &format!("vif[3].bgp[0].{field}"), says);
    }
    let off = "rpki = \"off\"\nverified = [{ prefix = \"8.1.0.0/16\", reason = \"LOA\" }]";
    refused(&public(off), 18, "vif[3].bgp[0].verified", "nothing is asked");
    refused(&public("rpki = \"valid\"")[CACHE.len()..], 14, "vif[3].bgp[0].rpki", "no cache");
    let private = session("peer = \"10.0.7.2\"\npeer_as = 1\nlocal_as = 2\nrpki = \"valid\"");
    refused(&format!("{CACHE}{private}"), 15, "vif[3].bgp[0].rpki", "is not public");
}

#[test]
fn translations() {
    let vif = |pairs: &str| {
        format!(
            "[[vif]]\nname = \"t\"\nport = \"cust\"\nvlan = 300\nkind = \"private\"\nvrf = \"vpc-a\"\n\
             addresses = [\"10.9.0.1/30\"]\ntranslate = [{pairs}]\n"
        )
    };
    assert!(
        parse(&format!(
            "{BASE}{}",
            vif("\"10.8.0.0/24 as 10.7.0.0/24\", \"10.8.1.1 as 10.7.1.1\"")
        ))
        .is_ok()
    );
    assert!(
        parse(&format!(
            "{BASE}{}",
            vif("\"fd01::/48 as fd02::/48\", \"fd03:1::/64 as fd03:2::/64\"")
        ))
        .is_ok()
    );
    for (pairs, says) in [
        ("\"10.8.0.0/24 to 10.7.0.0/24\"", "\"10.8.0.0/24 to 10.7.0.0/24\" is no translation"),
        ("\"10.8.0.0/33 as 10.7.0.0/24\"", "\"10.8.0.0/33\" is no prefix"),
        ("\"10.8.0.1/24 as 10.7.0.0/24\"", "10.8.0.1/24 has bits behind its prefix"),
        ("\"10.8.0.0/24 as 10.7.0.0/23\"", "have two lengths"),
        ("\"10.8.0.0/24 as fd00::/24\"", "are of two families"),
        ("\"10.8.0.0/24 as 10.8.0.0/24\"", "becomes itself"),
        ("\"10.8.0.0/23 as 10.8.1.0/23\"", "10.8.1.0/23 has bits behind its prefix"),
        ("\"fd01::1 as fd02::1\"", "fd01::1/128 is longer than /64"),
        (
            "\"127.0.0.0/24 as 10.7.0.0/24\"",
            "\"127.0.0.0/24 as 10.7.0.0/24\" has addresses of 127.0.0.0/8",
        ),
        ("\"10.8.0.0/24 as 224.1.0.0/24\"", "has addresses of 224.0.0.0/4"),
        ("\"169.254.7.0/24 as 10.7.0.0/24\"", "has addresses of 169.254.0.0/16, link-local"),
        ("\"10.9.0.2 as 10.7.0.1\"", "10.9.0.2/32 meets 10.9.0.0/30, the VIF's own subnet"),
        ("\"10.8.0.0/16 as 10.9.0.0/16\"", "10.9.0.0/16 meets 10.9.0.0/30, the VIF's own subnet"),
        ("\"10.8.0.0/24 as 10.7.0.0/24\", \"10.8.0.9 as 10.6.0.9\"", "both have 10.8.0.9/32"),
        ("\"10.8.0.0/24 as 10.7.0.0/24\", \"10.6.0.0/24 as 10.7.0.0/24\"", "both have 10.7.0.0/24"),
        ("\"10.8.0.0/24 as 10.7.0.0/24\", \"10.7.0.0/25 as 10.6.0.0/25\"", "both have 10.7.0.0/25"),
    ] {
        refused(&vif(pairs), 8, "vif[3].translate", says);
    }
    refused(&vif("7"), 8, "vif[3].translate", "is an integer");
    let many: Vec<String> = (0..1025)
        .map(|n| format!("\"10.8.{}.{} as 10.7.{}.{}\"", n >> 8, n & 255, n >> 8, n & 255))
        .collect();
    refused(&vif(&many.join(", ")), 8, "vif[3].translate", "there are 1025");
    let underlay = "[[vrf]]\nname = \"u\"\nkind = \"underlay\"\n[[vif]]\nname = \"t\"\nport = \"core\"\nvlan = 300\nvrf = \"u\"\n\
                    addresses = [\"10.9.0.1/30\"]\ntranslate = [\"10.8.0.0/24 as 10.7.0.0/24\"]\n";
    refused(underlay, 10, "vif[3].translate", "an underlay's addresses");
}

#[test]
fn flow_logs() {
    let log = |fields: &str| format!("[flow_log]\n{fields}\n");
    let vif = |rate: &str| {
        format!(
            "[[vif]]\nname = \"t\"\nport = \"cust\"\nvlan = 300\nkind = \"private\"\nvrf = \"vpc-a\"\n\
             addresses = [\"10.9.0.1/30\"]\nflow_log = {rate}\n"
        )
    };
    const ONE: &str = "collectors = [\"udp://192.0.2.1:4739\"]";
    for (fields, rate) in [(ONE, "\"1:1\""), ("files_mib = 1", "\"1:4096\""), (ONE, "\"1:1000\"")] {
        let config = parse(&format!("{BASE}{}{}", log(fields), vif(rate))).unwrap();
        assert!(config.vifs[3].flow_log.is_some());
    }
    let at = |fields: &str, line, field: &str, says: &str| {
        refused(&log(fields), line, &format!("flow_log.{field}"), says);
    };
    at("", 1, "collectors", "is missing");
    at("max_flows = 4096", 1, "collectors", "is missing");
    for (collector, says) in [
        ("192.0.2.1:4739", "is no collector"),
        ("udp://192.0.2.1", "is no collector"),
        ("sctp://192.0.2.1:4739", "is no collector"),
        ("udp://collector:4739", "is no collector"),
        ("udp://192.0.2.1:0", "is no collector"),
        ("udp://0.0.0.0:4739", "is no collector"),
        ("tcp://[ff02::1]:4739", "is no collector"),
    ] {
        at(&format!("collectors = [\"{collector}\"]"), 2, "collectors", says);
    }
    let twice = "collectors = [\"udp://192.0.2.1:4739\", \"udp://192.0.2.1:4739\"]";
    at(twice, 2, "collectors", "is a second one");
    let five: Vec<_> = (1..6).map(|n| format!("\"udp://192.0.2.{n}:4739\"")).collect();
    at(&format!("collectors = [{}]", five.join(", ")), 2, "collectors", "there are 5");
    for field in ["files_mib", "active_timeout_s", "idle_timeout_s", "domain", "enterprise"] {
        at(&format!("{ONE}\n{field} = 0"), 3, field, "0 is out of range");
    }
    at(&format!("{ONE}\nmax_flows = 1000"), 3, "max_flows", "1000 is out of range");
    for rate in ["\"1000\"", "\"1:0\"", "\"1:5000\"", "\"2:3\"", "\"1:x\""] {
        let text = format!("{}{}", log(ONE), vif(rate));
        refused(&text, 10, "vif[3].flow_log", "is no rate of sampling");
    }
    refused(&vif("\"1:1\""), 8, "vif[3].flow_log", "nobody is told of the flows");
    refused(&format!("{}{}", log(ONE), vif("1")), 10, "vif[3].flow_log", "is an integer");
}

#[test]
fn latency() {
    let table = |fields: &str| format!("[latency]\n{fields}\n");
    let sample = |text: &str| {
        let config = parse(&format!("{BASE}{text}")).unwrap();
        config.latency.map(|latency| latency.sample)
    };
    assert_eq!(["", "[latency]\n"].map(sample), [None, Some(256)]);
    for n in [1, 2, 65_536] {
        assert_eq!(sample(&table(&format!("sample = {n}"))), Some(n));
    }
    for (value, says) in [
        ("0", "0 is out of range"),
        ("131072", "131072 is out of range"),
        ("100", "100 is not a power of two"),
        ("\"1:64\"", "is a string"),
    ] {
        refused(&table(&format!("sample = {value}")), 2, "latency.sample", says);
    }
    refused(&table("rate = 64"), 2, "latency.rate", "is not a known field");
}

#[test]
fn probes() {
    let probe = |fields: &str| format!("[[probe]]\nname = \"p\"\nvif = \"a\"\n{fields}\n");
    let at = |fields: &str, line, field: &str, says: &str| {
        refused(&probe(fields), line, &format!("probe[0].{field}"), says);
    };
    const ONE: &str = "targets = [\"10.1.0.10\"]";
    for fields in [
        ONE,
        "targets = [\"10.1.0.10\"]\nkind = \"tcp\"\nport = 443\nmisses = 1\nhits = 100",
        "targets = [\"10.1.0.10\", \"10.1.0.11\"]\nneed = 2\nkind = \"twamp\"\nsize = 1472",
        "targets = [\"10.0.0.2\"]\nnext_hop = \"10.0.0.2\"\nmax_loss_percent = 0",
    ] {
        let config = parse(&format!("{BASE}{}", probe(fields))).unwrap();
        assert_eq!(config.probes.len(), 1, "{fields}");
    }
    let of = |name: &str, vif: &str| format!("[[probe]]\n{name}\n{vif}\n{ONE}\n");
    refused(&of("", "vif = \"a\""), 1, "probe[0].name", "is missing");
    refused(&of("name = \"p\"", ""), 1, "probe[0].vif", "is missing");
    refused(&of("name = \"p\"", "vif = \"w\""), 3, "probe[0].vif", "there is no vif");
    refused(&probe(ONE).repeat(2), 6, "probe[1].name", "is already a probe");
    at("", 1, "targets", "is missing");
    for (target, says) in [
        ("host", "is no address"),
        ("224.0.0.1", "is no host's address"),
        ("0.0.0.0", "is no host's address"),
        ("127.0.0.1", "is no host's address"),
        ("10.0.0.1", "is the router's own address"),
        ("fd00::1", "is the router's own address"),
    ] {
        at(&format!("targets = [\"{target}\"]"), 4, "targets", says);
    }
    let no_family = "[[probe]]\nname = \"p\"\nvif = \"c\"\ntargets = [\"2001:db8::1\"]\n";
    refused(no_family, 4, "probe[0].targets", "has no address to ask");
    at("targets = [\"10.1.0.10\", \"10.1.0.10\"]", 4, "targets", "is there twice");
    let nine: Vec<String> = (1..10).map(|n| format!("\"10.1.0.{n}\"")).collect();
    at(&format!("targets = [{}]", nine.join(", ")), 4, "targets", "there are 9");
    for (fields, field, says) in [
        ("kind = \"udp\"", "kind", "is unknown"),
        ("port = 80", "port", "ICMP has no ports"),
        ("kind = \"tcp\"", "port", "is missing"),
        ("port = 0", "port", "out of range"),
        ("size = 8973", "size", "out of range"),
        ("interval_ms = 99", "interval_ms", "out of range"),
        ("timeout_ms = 10001", "timeout_ms", "out of range"),
        ("misses = 0", "misses", "out of range"),
        ("hits = 101", "hits", "out of range"),
        ("need = 2", "need", "2 targets are needed of 1"),
        ("max_loss_percent = 100", "max_loss_percent", "out of range"),
        ("max_rtt_ms = 0", "max_rtt_ms", "out of range"),
        ("next_hop = \"x\"", "next_hop", "is not an address"),
        ("next_hop = \"10.200.0.1\"", "next_hop", "is on no subnet"),
        ("next_hop = \"10.0.0.1\"", "next_hop", "is the router's own address"),
        ("next_hop = \"fe80::1\"", "next_hop", "is not reached by"),
    ] {
        let line = if says == "is missing" { 1 } else { 5 };
        at(&format!("{ONE}\n{fields}"), line, field, says);
    }
    let tcp = format!("{ONE}\nkind = \"tcp\"\nport = 443\nsize = 1");
    at(&tcp, 7, "size", "a SYN carries nothing");
    at(&format!("{ONE}\nkind = \"twamp\"\nsize = 40"), 6, "size", "out of range");
    // Who decides already.
    let deciding = probe(&format!("{ONE}\nnext_hop = \"10.0.0.2\""));
    let both = format!("{deciding}{}", deciding.replace("\"p\"", "\"q\""));
    refused(&both, 10, "probe[1].next_hop", "decides about");
    let base = BASE.replace("\"fd00::1/64\"]\n", "\"fd00::1/64\"]\nbfd = {}\n");
    let error = parse(&format!("{base}{deciding}")).unwrap_err();
    let told: Vec<String> = error.related().unwrap().map(|problem| problem.to_string()).collect();
    assert!(told.iter().any(|it| it.contains("watches 10.0.0.2 already")), "{told:?}");
    let many = |count: usize, fields: &str| -> String {
        let one = |n| {
            let targets: Vec<String> = (1..9).map(|m| format!("\"10.1.{n}.{m}\"")).collect();
            let text = probe(&format!("targets = [{}]\n{fields}", targets.join(", ")));
            text.replace("\"p\"", &format!("\"p{n}\""))
        };
        (0..count).map(one).collect()
    };
    let says = "all probes together have 1032 targets";
    refused(&many(129, ""), 128 * 5 + 4, "probe[128].targets", says);
    let says = "all probes together send 2080 packets a second";
    refused(&many(26, "interval_ms = 100"), 25 * 5 + 5, "probe[25].interval_ms", says);
}

#[test]
#[rustfmt::skip] // a row a line
fn policies_of_classes() {
    let policy = |classes: &str| format!("[[qos]]\nname = \"gold\"\n{classes}\n");
    let class = |name: &str, fields: &str| format!("[[qos.class]]\nname = \"{name}\"\n{fields}\n");
    let accepted = |text: &str| parse(&format!("{BASE}{text}")).unwrap_or_else(|error| panic!("{}", error.report()));
    let config = accepted(&policy(&[
        class("voice", "dscp = [\"ef\", 40]\npcp = [5]\nmark_dscp = \"va\"\nmark_pcp = 0\npriority = \"strict\"\nbandwidth = \"10M\""),
        class("bulk", "dscp = [\"af11\", \"cs1\", 0x3f]\nweight = 100\nbandwidth = { rate = \"1G\", burst_octets = 20000 }"),
        class("best-effort", "mark_dscp = \"be\""),
    ].concat()));
    let [voice, bulk, rest] = &config.qos[0].classes[..] else { panic!("three classes") };
    assert_eq!((&voice.class.dscp[..], voice.class.mark_dscp, voice.class.mark_pcp), (&[46, 40][..], Some(44), Some(0)));
    assert_eq!((&bulk.class.dscp[..], bulk.bandwidth.unwrap().burst_octets), (&[10, 8, 63][..], 20_000));
    assert!(rest.class.is_default() && !bulk.class.is_default());
    for (fields, field, says) in [
        ("dscp = [\"af44\"]", "dscp", "\"af44\" is no DSCP"),
        ("dscp = [64]", "dscp", "64 is no DSCP"),
        ("dscp = [-1]", "dscp", "-1 is no DSCP"),
        ("dscp = [true]", "dscp", "a boolean is no DSCP"),
        ("dscp = \"ef\"", "dscp", "is a string"),
        ("dscp = []", "dscp", "there is none"),
        ("dscp = [46, \"ef\"]", "dscp", "46 is there twice"),
        ("pcp = [8]", "pcp", "8 is no PCP"),
        ("pcp = [\"ef\"]", "pcp", "\"ef\" is no PCP"),
        ("mark_dscp = \"gold\"", "mark_dscp", "\"gold\" is no DSCP"),
        ("mark_pcp = 8", "mark_pcp", "8 is no PCP"),
        ("priority = \"high\"", "priority", "is unknown"),
        ("weight = 0", "weight", "out of range"),
        ("weight = 101", "weight", "out of range"),
        ("bandwidth = \"1\"", "bandwidth", "out of range"),
        ("bandwidth = {}", "bandwidth.rate", "is missing"),
        ("queue = 3", "queue", "not a known field"),
    ] {
        let at = 5;
        refused(&policy(&class("c", fields)), at, &format!("qos[0].class[0].{field}"), says);
    }
    refused(&policy(&class("c", "priority = \"strict\"\nweight = 2")), 6, "qos[0].class[0].weight", "a strict class has none");
    refused("[[qos]]\nname = \"gold\"", 1, "qos[0].class", "is missing");
    refused(&policy(&class("best-effort", "dscp = [1]")), 4, "qos[0].class[0].name", "what no other class takes");
    refused(&policy(&[class("c", "dscp = [1]"), class("c", "dscp = [2]")].concat()), 7, "qos[0].class[1].name", "already a class on line");
    let two = [class("a", "dscp = [\"ef\"]"), class("b", "dscp = [1, 46]")].concat();
    refused(&policy(&two), 8, "qos[0].class[1].dscp", "46 is in class \"a\" already");
    let two = [class("a", ""), class("b", "")].concat();
    refused(&policy(&two), 6, "qos[0].class[1].dscp", "class \"a\" takes what no other class does already");
    let many = |count: u8| (0..count).map(|n| class(&format!("c{n}"), &format!("dscp = [{n}]"))).collect::<String>();
    accepted(&policy(&many(7)));
    refused(&policy(&many(8)), 3 + 7 * 3, "qos[0].class", "there are 8 classes");
    accepted(&policy(&[many(7), class("rest", "")].concat()));
    refused(&policy(&[many(8), class("rest", "")].concat()), 3 + 8 * 3, "qos[0].class", "there are 9 classes");
    // The VIF's.
    let gold = policy(&class("c", "dscp = [1]"));
    let error = parse(&format!("{BASE}{gold}{}", vif(&[("qos", "\"silver\"")]))).unwrap_err();
    assert!(error.problems()[0].message().contains("there is no qos \"silver\""), "{error:?}");
    let config = accepted(&format!("{gold}{}", vif(&[("qos", "\"gold\"")])));
    assert_eq!(config.vifs[3].qos.as_deref(), Some("gold"));
    let underlay = "[[vrf]]\nname = \"fabric\"\nkind = \"underlay\"\n[[vif]]\nname = \"u\"\nport = \"core\"\nvlan = \"9\"\nvrf = \"fabric\"\naddresses = [\"10.99.0.1/30\"]\nqos = \"gold\"\n";
    let error = parse(&format!("{BASE}{gold}{underlay}")).unwrap_err();
    assert!(error.problems().iter().any(|it| it.message().contains("an underlay is in tunnels")), "{error:?}");
}
