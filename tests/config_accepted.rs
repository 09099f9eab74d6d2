//! What a valid configuration becomes, prefix lists, and that no text makes the parser panic.
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use proptest::prelude::*;
use station::config::model::{
    AllowedPrefix, AtMax, BfdConfig, Community, Config, KernelProtocol, NextHop, RouteAction,
    XdpMode, ZeroCopy,
};
use station::config::{self, load, parse};
use station::tables::{Pcp, SourceCheck, Tags, VifKind};

/// The reference that users copy.
const REFERENCE: &str = include_str!("../scripts/station.toml");

fn hop(vif: &str, address: &str, weight: u16) -> NextHop {
    NextHop { vif: vif.into(), address: address.parse().unwrap(), weight }
}

#[test]
fn the_reference_is_valid_and_means_what_it_says() {
    let config = parse(REFERENCE, Path::new("/nonexistent")).unwrap();
    assert_eq!(config.station.name, "fra1-a");
    assert_eq!(config.station.cpus, [1]);
    assert_eq!(config.station.frames, Some(8192));
    let [cust, core] = &config.ports[..] else { panic!("two ports") };
    assert_eq!(cust.to_kernel, [KernelProtocol::Lacp, KernelProtocol::Lldp]);
    assert_eq!((core.xdp, core.zero_copy), (XdpMode::Auto, ZeroCopy::Auto));
    let [a, a_core, b, internet] = &config.vifs[..] else { panic!("four VIFs") };
    assert_eq!(a.tags, Tags { outer: 100, inner: None, service: false });
    assert_eq!((a.kind, a.pcp, a.mtu), (Some(VifKind::Private), Pcp::Preserve, 1500));
    assert_eq!((a.source_check, a_core.source_check), (SourceCheck::Strict, SourceCheck::Off));
    assert_eq!(b.tags, Tags { outer: 200, inner: Some(7), service: false });
    assert_eq!((internet.kind, internet.mtu, internet.addresses.len()), (None, 1500, 3));
    assert_eq!(config.routes[0].action, RouteAction::Via(vec![hop("a", "169.254.100.2", 1)]));
    assert_eq!(
        config.routes[2].action,
        RouteAction::Via(vec![hop("internet", "fd00:255::2", 3), hop("internet", "fe80::2", 1)])
    );
    assert_eq!(config.routes[3].action, RouteAction::Unreachable);
    assert_eq!(config.neighbors[0].mac.to_string(), "02:00:00:00:01:02");
}

#[test]
fn the_references_sessions_mean_what_they_say() {
    let config = parse(REFERENCE, Path::new("/nonexistent")).unwrap();
    let a = &config.vifs[0];
    assert_eq!(a.bfd, Some(BfdConfig { interval_ms: 300, multiplier: 3 }));
    let [session, six] = &a.bgp[..] else { panic!("two sessions") };
    assert_eq!((session.local.to_string(), session.peer_as), ("169.254.100.1".into(), 65001));
    assert_eq!(session.password.as_ref().unwrap().reveal(), "kept-secret");
    let allowed = |net: &str, longest| AllowedPrefix { net: net.parse().unwrap(), longest };
    let import = [allowed("10.0.0.0/8", 24), allowed("0.0.0.0/0", 0)];
    assert_eq!(session.import.as_deref(), Some(&import[..]));
    assert_eq!(session.preference[1], (Community::Standard(64512, 7300), 120));
    assert_eq!(session.tag[1], Community::Large(64512, 8100, 1));
    // What is not said is what the reference says is the default.
    assert_eq!(six.local.to_string(), "fd00:100::1");
    assert_eq!((six.hold_s, six.keepalive_s, six.connect_retry_s), (90, 30, 10));
    assert_eq!((six.max_prefixes, six.at_max, six.graceful_restart_s), (100, AtMax::Shut, 120));
    assert_eq!(
        (six.passive, six.ttl_security, six.no_export, six.prepend),
        (false, false, false, 0)
    );
    assert_eq!((&six.password, &six.import, &six.export), (&None, &None, &None));
    assert_eq!((six.local_preference, six.preference.len(), six.tag.len()), (Some(100), 0, 0));
    assert_eq!(config.station.router_id.to_string(), "192.0.2.255");
}

#[test]
fn a_router_id_is_made_of_the_name() {
    let id = |name: &str| {
        let text = format!(
            "[station]\nname = \"{name}\"\n[[port]]\nname = \"p\"\ninterface = \"p\"\nrole = \"core\"\n"
        );
        parse(&text, Path::new("/nonexistent")).unwrap().station.router_id
    };
    assert_eq!(id("fra1-a"), id("fra1-a"));
    assert_ne!(id("fra1-a"), id("fra1-b"));
}

#[test]
fn defaults_are_those_of_the_reference() {
    let text = "[[port]]\nname = \"p\"\ninterface = \"p\"\nrole = \"core\"\n";
    let config = parse(text, Path::new("/nonexistent")).unwrap();
    assert_eq!(config.station.socket, Path::new("/run/station/stationd.sock"));
    assert_eq!(config.station.bpffs, Path::new("/sys/fs/bpf/station"));
    assert_eq!((config.station.max_vifs, config.station.ring), (4096, 2048));
    assert_eq!((config.station.frames, config.station.cpus.len()), (None, 0));
}

/// The reference with its prefix list, in a directory of its own.
fn with_list(list: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let mut text = REFERENCE.to_owned();
    text.push_str(
        "[[route_list]]\nvrf = \"public\"\nfile = \"table.txt\"\n\
         via = [{ address = \"10.255.0.2\" }, { address = \"fd00:255::2\" }]\n",
    );
    let path = dir.path().join("station.toml");
    fs::write(&path, text).unwrap();
    fs::write(dir.path().join("table.txt"), list).unwrap();
    (dir, path)
}

fn refused(path: &Path, says: &str) {
    let error = load(path).unwrap_err();
    assert_eq!(error.problems().len(), 1, "{error:?}");
    assert!(error.report().contains(says), "{error:?}\nexpected: {says}");
}

#[test]
fn a_list_is_relative_to_the_file_and_splits_by_family() {
    let (_dir, path) = with_list(b"2001:db8::/32\n198.51.100.0/24\n");
    let (config, text) = load(&path).unwrap();
    assert_eq!(text, fs::read_to_string(&path).unwrap());
    let list = &config.route_lists[0];
    assert_eq!(list.prefixes.len(), 2);
    assert_eq!(list.via4, [hop("internet", "10.255.0.2", 1)]);
    assert_eq!(list.via6, [hop("internet", "fd00:255::2", 1)]);
}

#[test]
fn lists_are_read_again_only_when_they_change() {
    let (dir, path) = with_list(b"198.51.100.0/24\n");
    let prefixes = |config: &Config| config.route_lists[0].prefixes.clone();
    let (first, _) = load(&path).unwrap();
    let (second, _) = load(&path).unwrap();
    assert!(Arc::ptr_eq(&prefixes(&first), &prefixes(&second)));
    fs::write(dir.path().join("table.new"), "203.0.113.0/24\n").unwrap();
    fs::rename(dir.path().join("table.new"), dir.path().join("table.txt")).unwrap();
    let (third, _) = load(&path).unwrap();
    assert_eq!(prefixes(&third)[0].to_string(), "203.0.113.0/24");
}

#[test]
fn lists_that_cannot_be_used_are_refused() {
    let (dir, path) = with_list(b"198.51.100.0/24\nnonsense\n");
    let list = dir.path().join("table.txt");
    refused(&path, "table.txt: line 2: \"nonsense\" is not a prefix");
    for (text, says) in [
        ("10.255.0.0/29", "is the subnet of vif \"internet\""),
        ("192.0.2.1/32", "is the address of vif \"b\""),
        ("::/0", "also has a [[route]] on line"),
    ] {
        fs::write(&list, text).unwrap();
        refused(&path, says);
    }
    fs::remove_file(&list).unwrap();
    refused(&path, "cannot read");
    fs::create_dir(&list).unwrap();
    refused(&path, "not a regular file");
    fs::remove_dir(&list).unwrap();
    fs::File::create(&list).unwrap().set_len(config::MAX_FILE + 1).unwrap();
    refused(&path, "longer than 64 MiB");

    fs::write(&list, "198.51.100.0/24\n2001:db8::/32\n").unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let only_v4 = text.replace(", { address = \"fd00:255::2\" }]\n", "]\n");
    fs::write(&path, only_v4).unwrap();
    refused(&path, "the list has IPv6 prefixes (2001:db8::/32), but via has no such address");
    let list_again = text.split("[[route_list]]").last().unwrap();
    fs::write(&path, format!("{text}[[route_list]]{list_again}")).unwrap();
    refused(&path, "route_list[1].file: 198.51.100.0/24 is also in");
    let newline = text.replace("\"table.txt\"\nvia", "\"table\\n.txt\"\nvia");
    fs::write(&path, newline).unwrap();
    refused(&path, "control character");
}

#[test]
fn files_that_cannot_be_used_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("station.toml");
    refused(&path, "cannot read");
    refused(dir.path(), "not a regular file");
    refused(Path::new("/dev/zero"), "not a regular file");
    fs::write(&path, b"[station]\nname = \"\xff\"").unwrap();
    refused(&path, "octet 18 is not UTF-8");
    fs::File::create(&path).unwrap().set_len(config::MAX_FILE + 1).unwrap();
    refused(&path, "longer than 64 MiB");
}

/// A table as large as the Internet's loads fast, and again for nearly nothing.
#[test]
fn a_full_table_is_cached() {
    let mut list = String::new();
    for i in 0..300_000_u32 {
        let [_, b, c, d] = i.to_be_bytes();
        writeln!(list, "{}.{c}.{d}.0/24", 20 + b).unwrap();
        if i % 4 == 0 {
            writeln!(list, "2a{b:02x}:{:x}::/48", i & 0xffff).unwrap();
        }
    }
    let (_dir, path) = with_list(list.as_bytes());
    let started = Instant::now();
    let (first, _) = load(&path).unwrap();
    let cold = started.elapsed();
    assert_eq!(first.route_lists[0].prefixes.len(), 375_000);
    let started = Instant::now();
    let (second, _) = load(&path).unwrap();
    let warm = started.elapsed();
    assert!(first == second);
    println!("375,000 prefixes: {cold:?}, and again {warm:?}");
    assert!(warm * 2 < cold, "{warm:?} is not much less than {cold:?}");
}

/// Words that a mutated file is made of, so that mutants get past the syntax.
const WORDS: &[&str] = &[
    "\"",
    "[[vif]]\n",
    "[[route]]\n",
    "[station]\n",
    "0",
    "-1",
    "4095",
    "1.1",
    "\"10.0.0.1/30\"",
    "\"fe80::1/64\"",
    "[",
    "]",
    "{",
    "}",
    " = ",
    "\n",
    "\\u0000",
    "é",
    "99999999999999999999",
    "via = []",
    "\"a\"",
    "::/0",
    "true",
    "#",
    "'''",
    "vlan",
    "1979-05-27",
    "0x",
    "inf",
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn no_text_panics(text in "\\PC*") {
        let _ = parse(&text, Path::new("/nonexistent"));
    }

    /// A mutant of the reference is accepted or refused with problems that lie in the text.
    #[test]
    fn no_mutant_panics(
        edits in proptest::collection::vec((0..REFERENCE.len(), 0..12_usize, 0..WORDS.len()), 1..6)
    ) {
        let mut text = REFERENCE.to_owned();
        for (at, cut, word) in edits {
            let boundary = |mut at: usize| {
                at = at.min(text.len());
                while !text.is_char_boundary(at) { at -= 1; }
                at
            };
            let (from, to) = (boundary(at), boundary(at + cut));
            text.replace_range(from..to, WORDS[word]);
        }
        if let Err(error) = parse(&text, Path::new("/nonexistent")) {
            prop_assert!(!error.problems().is_empty());
            for problem in error.problems() {
                let line = problem.line().unwrap();
                prop_assert!(line >= 1 && line <= text.lines().count() + 1, "{error:?}");
            }
            let mut rendered = String::new();
            miette::GraphicalReportHandler::new().render_report(&mut rendered, &error).unwrap();
        }
    }
}
