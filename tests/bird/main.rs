//! What BIRD is given: the rendered configuration as a golden file, that BIRD takes it, what it says
//! about isolation, and that nothing of the station's file gets there unchecked.
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests

mod cost;
mod followed;
mod internal;
mod live;
mod wire;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use station::bird::{self, ProcessError, Surroundings};
use station::config::model::Config;
use station::config::parse;
use station::control::Drained;
use station::tables::VrfId;

const CONFIG: &str = include_str!("station.toml");
const GOLDEN: &str = include_str!("bird.conf");
const BIRD: &str = "/usr/sbin/bird";

fn config(text: &str) -> Config {
    parse(text, Path::new("/nonexistent")).unwrap()
}

fn render_with(config: &Config, directory: &Path) -> Option<bird::Rendered> {
    render_drained(config, directory, &Drained::default())
}

fn render_drained(config: &Config, directory: &Path, drained: &Drained) -> Option<bird::Rendered> {
    let vrfs: HashMap<Arc<str>, VrfId> =
        config.vrfs.iter().map(|vrf| vrf.name.clone()).zip((0..).map(VrfId)).collect();
    bird::render(config, &Surroundings { vrfs: &vrfs, directory, drained })
}

fn render(text: &str) -> String {
    let rendered = render_with(&config(text), at()).expect("there is BGP");
    rendered.text().to_owned()
}

fn at() -> &'static Path {
    Path::new("/run/station/bird")
}

/// BIRD takes it.
fn accepted(rendered: &bird::Rendered) {
    match bird::check(Path::new(BIRD), rendered) {
        Ok(()) => {}
        Err(ProcessError::Program { .. }) => println!("skipped: BIRD is not installed"),
        Err(error) => panic!("{error}\n{}", rendered.text()),
    }
}

/// The lines of a protocol, without those around it.
fn protocol<'a>(text: &'a str, head: &str) -> &'a str {
    let start = text.find(&format!("{head} {{\n")).unwrap_or_else(|| panic!("no {head}"));
    let end = text[start..].find("\n}\n").unwrap();
    &text[start..start + end]
}

#[test]
fn the_rendering_is_as_it_was_reviewed() {
    let text = render(CONFIG);
    if text != GOLDEN {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bird.conf");
        std::fs::write(&path, &text).unwrap();
        panic!("not tests/bird/bird.conf: compare it with {}", path.display());
    }
    accepted(&render_with(&config(CONFIG), at()).unwrap());
}

/// The lines that one text has and the other has not, both ways, trimmed.
fn changed<'a>(old: &'a str, new: &'a str) -> (Vec<&'a str>, Vec<&'a str>) {
    let (mut gone, mut come): (Vec<&str>, Vec<&str>) = (old.lines().collect(), Vec::new());
    for line in new.lines() {
        match gone.iter().position(|known| *known == line) {
            Some(at) => drop(gone.remove(at)),
            None => come.push(line.trim()),
        }
    }
    (gone.into_iter().map(str::trim).collect(), come)
}

#[test]
fn peers_on_a_drained_vif_are_told_and_come_last() {
    let config = config(CONFIG);
    let text = render(CONFIG);
    let vif = config.vifs.iter().find(|vif| !vif.bgp.is_empty()).unwrap();
    let drained = Drained { vifs: [vif.name.clone()].into(), ..Drained::default() };
    let rendered = render_drained(&config, at(), &drained).unwrap();
    accepted(&rendered);
    let add = "put((65535, 0));";
    let (gone, come) = changed(&text, rendered.text());
    // RFC 8326 4.2: what is announced has the community, what comes in has it too and comes last.
    let sessions = vif.bgp.len();
    assert_eq!(come.iter().filter(|line| **line == add).count(), 2 * sessions, "{come:#?}");
    assert_eq!(come.iter().filter(|line| **line == "set_local_pref(0);").count(), sessions);
    // So has what the station originates and only this VIF leads to.
    let routes: Vec<_> = come.iter().filter(|line| line.starts_with("route ")).collect();
    assert!(!routes.is_empty() && routes.iter().all(|line| line.contains(add)), "{come:#?}");
    assert_eq!(gone.len(), routes.len(), "{gone:#?}");
    assert_eq!(come.len(), 3 * sessions + routes.len(), "nothing else: {come:#?}");
    for session in bird::sessions(&config).iter().filter(|session| session.vif == vif.name) {
        let block = protocol(rendered.text(), &format!("protocol bgp '{}'", session.protocol));
        let (import, export) = block.split_once("export filter").unwrap();
        assert!(import.contains(&format!("  {add}\n  set_local_pref(0);\n")), "{import}");
        assert!(export.contains(add), "{export}");
    }
    // By its port, and with all of the station, the same.
    let port = Drained { ports: [vif.port.clone()].into(), ..Drained::default() };
    assert!(render_drained(&config, at(), &port).unwrap().text().len() >= rendered.text().len());
    let all = render_drained(&config, at(), &Drained { station: true, ..port }).unwrap();
    assert_eq!(all.text().matches("\n  set_local_pref(0);\n").count(), 8);
    accepted(&all);
}

#[test]
fn what_a_peer_is_about_to_take_away_comes_last() {
    let text = render(CONFIG);
    let rule = "  set_local_pref_if(carries((65535, 0)), 0);\n";
    assert_eq!(text.matches(rule).count(), 8, "RFC 8326 4.1: of every session");
    // After whatever else sets it.
    for block in text.split("import filter {").skip(1).filter(|block| block.contains(rule)) {
        let (before, after) = block.split_once(rule).unwrap();
        let after = after.split("export filter").next().unwrap();
        // Of a peer of our own AS, its own word may count.
        let set = before.contains("set_local_pref") || block.contains("take(3);");
        assert!(set && !after.contains("set_local_pref"), "{block}");
    }
    // The operator knows better.
    let own = CONFIG.replacen(
        "graceful_restart_s = 0",
        "graceful_restart_s = 0\npreference = [{ community = \"65535:0\", local_preference = 50 }]",
        1,
    );
    let text = render(&own);
    assert_eq!(text.matches(rule).count(), 7);
    assert!(text.contains("set_local_pref_if(carries((65535, 0)), 50);"));
}

#[test]
fn without_bgp_and_bfd_there_is_no_bird() {
    let none = config(include_str!("../common/station.toml"));
    assert!(render_with(&none, at()).is_none());
}

#[test]
fn every_session_is_bound_to_its_vif() {
    let text = render(CONFIG);
    let mut sessions = 0;
    for session in bird::sessions(&config(CONFIG)) {
        let block = protocol(&text, &format!("protocol bgp '{}'", session.protocol));
        let (tap, table) = (&session.tap, session.table());
        let bound = format!("vrf \"{tap}\"; interface \"{tap}\"; strict bind yes;");
        assert!(block.contains(&bound), "{block}");
        let digit = if session.peer.is_ipv4() { '4' } else { '6' };
        // Within an AS by what leads to the VRF's core, else by the peer alone.
        let (igp, by) = match session.is_internal() {
            true => (format!("g{digit}.{}", session.vrf), format!("n{digit}.{}", session.vrf)),
            false => (format!("i{digit}.{tap}"), format!("c{digit}.{tap}")),
        };
        let resolved = format!("table '{table}';\n    igp table '{igp}'; gateway recursive;");
        assert!(block.contains(&resolved), "{block}");
        let igp = protocol(&text, &format!("protocol static '{by}'"));
        assert!(igp.contains(&format!(" via {}%'{tap}';", session.peer)), "{igp}");
        sessions += 1;
    }
    assert_eq!(sessions, 8);
    // The same addresses in two VRFs: other tables, other devices.
    assert!(text.contains("'b.v0.100.169.254.0.2'") && text.contains("'b.v0.200.169.254.0.2'"));
}

#[test]
fn customers_of_a_public_vrf_learn_only_what_is_the_providers() {
    let text = render(CONFIG);
    let guarded = |name: &str| {
        let block = protocol(&text, &format!("protocol bgp '{name}'"));
        block.split("export filter").nth(1).unwrap().contains("refuse(!owned([2, 3]), 42);")
    };
    assert!(guarded("b.v0.300.192.0.2.2") && guarded("b.v0.301.192.0.2.6"));
    assert!(!guarded("b.v0.100.169.254.0.2") && !guarded("b.v1.1100.7.10.255.1.2"));
    let own = |ports: &str| protocol(&text, &format!("protocol static 's4.public:{ports}'"));
    assert!(own("1").contains("route 198.18.0.0/15 blackhole { station_from = 2; };"));
    assert!(own("0").contains("route 203.0.113.0/24 blackhole { station_from = 1; };"));
    assert!(own("0").contains("route 192.0.2.0/30 blackhole { station_from = 1; };"));
}

/// A customer who passed the provider's prefixes on would be transit for it (RFC 1997).
#[test]
fn what_customers_of_a_public_vrf_are_told_stays_with_them() {
    let add = "put((65535, 65281));";
    let tells = |text: &str, name: &str| {
        let block = protocol(text, &format!("protocol bgp '{name}'"));
        block.split("export filter").nth(1).unwrap().contains(add)
    };
    let text = render(CONFIG);
    assert!(tells(&text, "b.v0.300.192.0.2.2") && tells(&text, "b.v0.301.192.0.2.6"));
    assert!(!tells(&text, "b.v0.100.169.254.0.2") && !tells(&text, "b.v1.1100.7.10.255.1.2"));
    let mut other = config(CONFIG);
    let sessions = other.vifs.iter_mut().flat_map(|vif| &mut vif.bgp);
    sessions.for_each(|session| session.no_export = !session.no_export);
    let text = render_with(&other, at()).unwrap().text().to_owned();
    assert!(!tells(&text, "b.v0.300.192.0.2.2") && tells(&text, "b.v0.100.169.254.0.2"));
}

#[test]
fn alternates_exist_where_two_peers_do() {
    let text = render(CONFIG);
    assert!(text.contains("protocol kernel 'l4.vpc-a' {\n  kernel table 10001;"));
    assert!(text.contains("protocol kernel 'k4.vpc-b' {\n  kernel table 10002;"));
    for none in ["l6.vpc-a", "l4.vpc-b"] {
        assert!(!text.contains(none), "{none}");
    }
}

/// Each has a protocol of its own for what a set of ports leads to.
#[test]
fn what_a_port_leads_to_can_be_withdrawn_without_a_configuration() {
    let text = render(CONFIG);
    let public = |ports: &str| protocol(&text, &format!("protocol static 's4.public{ports}'"));
    let (customer, core) = (public(":0"), public(":1"));
    assert!(core.contains("198.18.0.0/15") && core.contains("192.0.2.8/30"), "{core}");
    assert!(!core.contains("203.0.113.0/24") && customer.contains("203.0.113.0/24"), "{customer}");
    // A route that leads nowhere needs no port.
    let always = protocol(&text, "protocol static 's4.vpc-a'");
    assert!(always.contains("10.3.0.0/16") && !always.contains("10.2.0.0/16"), "{always}");
}

#[test]
fn a_change_of_one_tenant_leaves_the_others_text() {
    let before = render(CONFIG);
    let after = render(&CONFIG.replacen("hold_s = 9", "hold_s = 12", 1));
    let differ: Vec<_> = before.lines().zip(after.lines()).filter(|(a, b)| a != b).collect();
    assert_eq!(differ, [("  hold time 9; keepalive time 2;", "  hold time 12; keepalive time 2;")]);
}

#[test]
fn a_password_is_in_the_text_and_in_nothing_that_is_shown() {
    let secret = "k$y'\\%#;{}";
    assert!(render(CONFIG).contains(&format!("password \"{secret}\";")));
    let config = config(CONFIG);
    let rendered = render_with(&config, at()).unwrap();
    assert!(!format!("{config:?} {rendered:?}").contains(secret));
    // BIRD's own complaints name a place, not a text.
    let broken = CONFIG.replacen("max_prefixes = 50", "max_prefixes = 0", 1);
    let error = parse(&broken, Path::new("/nonexistent")).unwrap_err();
    let mut shown = String::new();
    miette::GraphicalReportHandler::new()
        .with_context_lines(30)
        .render_report(&mut shown, &error)
        .unwrap();
    assert!(shown.contains("max_prefixes = 0") && !shown.contains("%#;{}"), "{shown}");
}

/// Many VIFs are one configuration that BIRD takes, and takes fast.
#[test]
fn two_hundred_tenants_with_the_same_addresses() {
    let mut text = "[[port]]\nname = \"p\"\ninterface = \"p\"\nrole = \"customer\"\n".to_owned();
    for i in 1..=200 {
        text.push_str(&format!(
            "[[vrf]]\nname = \"v{i}\"\nkind = \"vpc\"\n[[vif]]\nname = \"v{i}\"\nport = \"p\"\n\
             vlan = {i}\nkind = \"private\"\nvrf = \"v{i}\"\nbfd = {{}}\naddresses = [\"169.254.0.1/30\"]\n\
             [[vif.bgp]]\npeer = \"169.254.0.2\"\npeer_as = 65001\nlocal_as = 64512\n"
        ));
    }
    let rendered = render_with(&config(&text), at()).unwrap();
    for i in 1..=200 {
        assert!(rendered.text().contains(&format!("kernel table {};", 10_000 + 2 * (i - 1))));
    }
    accepted(&rendered);
}
