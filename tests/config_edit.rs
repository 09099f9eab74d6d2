//! Changes to the file's text: what is asked for is in the new file, everything else is as it was,
//! and the file is replaced whole.
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use station::admin::protocol::{
    Action, ErrorKind, Fields, Place, Refusal, RouteAdd, RouteDel, Via, VifAdd,
};
use station::config::model::{Config, RouteAction};
use station::config::{edit, parse, set};
use station::history::replace;
use station::tables::{Pcp, SourceCheck, VifKind};

const REFERENCE: &str = include_str!("../scripts/station.toml");

fn config(text: &str) -> Config {
    parse(text, Path::new("/nonexistent")).unwrap()
}

fn route(prefix: &str, via: &[&str], action: Option<Action>) -> RouteAdd {
    let via = via
        .iter()
        .map(|address| Via { address: address.parse().unwrap(), vif: None, weight: Some(2) })
        .collect();
    RouteAdd { vrf: "vpc-a".into(), prefix: prefix.parse().unwrap(), via, action }
}

fn del(text: &str, prefix: &str) -> Result<String, Refusal> {
    let route = RouteDel { vrf: "vpc-a".into(), prefix: prefix.parse().unwrap() };
    Ok(edit::route_del(text, &config(text), &route)?)
}

#[test]
fn a_route_is_appended_and_nothing_else_changes() {
    let text = edit::route_add(REFERENCE, &route("10.7.0.0/16", &["169.254.100.2"], None)).unwrap();
    let added = text.strip_prefix(REFERENCE).expect("the old text is kept");
    assert_eq!(
        added,
        "\n[[route]]\nvrf = \"vpc-a\"\nprefix = \"10.7.0.0/16\"\n\
         via = [{ address = \"169.254.100.2\", weight = 2 }]\n"
    );
    let routes = config(&text).routes;
    assert_eq!(routes.len(), config(REFERENCE).routes.len() + 1);
    assert!(matches!(&routes[4].action, RouteAction::Via(hops) if hops[0].weight == 2));
    let text = edit::route_add(&text, &route("10.8.0.0/16", &[], Some(Action::Prohibit))).unwrap();
    assert_eq!(config(&text).routes[5].action, RouteAction::Prohibit);
}

#[test]
fn adding_and_deleting_gives_the_old_text_back() {
    let text = edit::route_add(REFERENCE, &route("10.7.0.0/16", &["169.254.100.2"], None)).unwrap();
    let text = del(&text, "10.7.0.0/16").unwrap();
    assert_eq!(text.trim_end(), REFERENCE.trim_end());
}

#[test]
fn a_deleted_route_takes_its_own_comment_and_leaves_the_others() {
    let text = format!(
        "# Head.\n\n# A section.\n\n# of this route\n[[route]] # here\nvrf = \"vpc-a\"\n\
         prefix = \"10.5.0.0/16\"\naction = \"blackhole\" # why\n\n# of the station\n{REFERENCE}\n# Tail.\n"
    );
    let left = del(&text, "10.5.0.0/16").unwrap();
    assert!(left.starts_with("# Head.\n\n# A section.\n"), "{left:.80}");
    for gone in ["of this route", "# here", "10.5.0.0/16", "# why"] {
        assert!(!left.contains(gone), "{gone}");
    }
    assert!(left.ends_with(&format!("# of the station\n{REFERENCE}\n# Tail.\n")));
    let last = format!(
        "{REFERENCE}\n# Other.\n\n[[route]]\nvrf = \"vpc-a\"\nprefix = \"10.5.0.0/16\"\naction = \"blackhole\"\n"
    );
    let left = del(&last, "10.5.0.0/16").unwrap();
    assert_eq!(left, format!("{REFERENCE}\n# Other.\n"));
}

#[test]
fn what_is_not_there_cannot_be_deleted() {
    let refusal = del(REFERENCE, "10.5.0.0/16").unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::NotFound);
    assert_eq!(
        edit::vif_del(REFERENCE, &config(REFERENCE), "z").map_err(Refusal::from).unwrap_err().kind,
        ErrorKind::NotFound
    );
    assert_eq!(
        edit::vif_set_up(REFERENCE, "z", true).map_err(Refusal::from).unwrap_err().kind,
        ErrorKind::NotFound
    );
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("table.txt"), "10.5.0.0/16\n").unwrap();
    let text = format!(
        "{REFERENCE}\n[[route_list]]\nvrf = \"vpc-a\"\nfile = \"table.txt\"\nvia = [{{ address = \"10.255.1.2\" }}]\n"
    );
    let config = parse(&text, dir.path()).unwrap();
    let route = RouteDel { vrf: "vpc-a".into(), prefix: "10.5.0.0/16".parse().unwrap() };
    let refusal = edit::route_del(&text, &config, &route).map_err(Refusal::from).unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::Conflict);
    assert!(refusal.message.contains("table.txt: edit that file"), "{refusal}");
}

#[test]
fn arrays_of_inline_tables_are_edited_too() {
    let text = "route = [{ vrf = \"vpc-a\", prefix = \"10.5.0.0/16\", action = \"blackhole\" }]\n";
    let inline = format!("{text}{}", REFERENCE.split("# Routes.").next().unwrap());
    assert_eq!(config(&inline).routes.len(), 1);
    let more =
        edit::route_add(&inline, &route("10.6.0.0/16", &[], Some(Action::Blackhole))).unwrap();
    assert_eq!(config(&more).routes.len(), 2, "{more}");
    let less = del(&more, "10.5.0.0/16").unwrap();
    assert_eq!(config(&less).routes.len(), 1, "{less}");
}

fn new_vif() -> VifAdd {
    VifAdd {
        name: "n".into(),
        port: Some("cust0".into()),
        vlan: Some("300.4".into()),
        vtep: None,
        vni: None,
        remotes: Vec::new(),
        station: None,
        join_stations: true,
        service_tag: true,
        kind: Some(VifKind::Private),
        vrf: "vpc-a".into(),
        addresses: vec!["10.3.0.1/30".parse().unwrap(), "fd00:3::1/64".parse().unwrap()],
        mtu: Some(1400),
        source_check: Some(SourceCheck::Loose),
        pcp: Some(5),
        down: true,
        customer: Some("acme".into()),
        description: Some("acme \"x\"".into()),
        circuit: Some("DX-9".into()),
    }
}

#[test]
fn a_vif_comes_goes_and_comes_up() {
    let text = edit::vif_add(REFERENCE, &new_vif()).unwrap();
    assert!(text.starts_with(REFERENCE));
    let vif = config(&text).vifs.pop().unwrap();
    assert_eq!((&*vif.name, vif.mtu, vif.up, vif.pcp), ("n", 1400, false, Pcp::Set(5)));
    assert_eq!((vif.tags.inner, vif.tags.service), (Some(4), true));
    assert_eq!((vif.source_check, vif.addresses.len()), (SourceCheck::Loose, 2));
    let labels = (vif.labels.description.as_deref(), vif.labels.circuit.as_deref());
    assert_eq!(labels, (Some("acme \"x\""), Some("DX-9")));
    let up = edit::vif_set_up(&text, "n", true).unwrap();
    assert_eq!(up, text.replace("up = false", "up = true"));
    let gone = edit::vif_del(&up, &config(&up), "n").unwrap();
    assert_eq!(gone.trim_end(), REFERENCE.trim_end());
}

#[test]
fn up_keeps_the_comment_beside_it() {
    let text = REFERENCE.replacen("9216\nup = true", "9216\nup = true  # since May", 1);
    let down = edit::vif_set_up(&text, "a", false).unwrap();
    assert_eq!(down, text.replacen("up = true  #", "up = false  #", 1));
    let unset = edit::vif_set_up(REFERENCE, "b", true).unwrap();
    assert_eq!(unset, REFERENCE, "up is the default");
    let config = config(&edit::vif_set_up(REFERENCE, "b", false).unwrap());
    assert_eq!(config.vifs.iter().filter(|vif| !vif.up).count(), 1);
}

#[test]
fn a_vif_in_use_is_not_deleted() {
    let refusal =
        edit::vif_del(REFERENCE, &config(REFERENCE), "a").map_err(Refusal::from).unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::Conflict);
    for user in ["route 10.1.0.0/16 of vrf vpc-a", "neighbor 169.254.100.2"] {
        assert!(refusal.message.contains(user), "{refusal}");
    }
    assert!(edit::vif_del(REFERENCE, &config(REFERENCE), "b").is_ok());
}

#[test]
fn values_cannot_inject_toml() {
    let mut vif = new_vif();
    vif.name = "n\"\n[[vrf]]\nname = \"evil".into();
    let text = edit::vif_add(REFERENCE, &vif).unwrap();
    let error = parse(&text, Path::new("/nonexistent")).unwrap_err();
    let [problem] = error.problems() else { panic!("{error:?}") };
    assert!(problem.message().contains("is not a name"), "{error:?}");
}

#[test]
fn a_file_that_is_not_toml_is_refused() {
    let refusal = edit::vif_set_up("[x", "a", true).map_err(Refusal::from).unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::Conflict);
    let refusal = edit::vif_set_up("vif = 1", "a", true).map_err(Refusal::from).unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::Conflict);
}

#[test]
fn a_file_is_replaced_with_its_mode_through_its_link() {
    let dir = tempfile::tempdir().unwrap();
    let (path, link) = (dir.path().join("real.toml"), dir.path().join("station.toml"));
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    symlink("real.toml", &link).unwrap();
    replace(&link, "new").unwrap().keep();
    assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    let names: Vec<_> =
        fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "no temporary file is left: {names:?}");
    assert!(replace(&dir.path().join("missing.toml"), "new").is_err());
}

#[test]
fn a_replaced_file_can_be_taken_back_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("station.toml");
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
    let inode = fs::metadata(&path).unwrap().ino();
    let replaced = replace(&path, "new").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    replaced.take_back().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    let meta = fs::metadata(&path).unwrap();
    assert_eq!((meta.ino(), meta.mode() & 0o7777), (inode, 0o604));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
}

#[test]
#[ignore = "needs root: run by scripts/test"]
fn a_file_keeps_its_owner() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("station.toml");
    fs::write(&path, "old").unwrap();
    std::os::unix::fs::chown(&path, Some(1234), Some(4321)).unwrap();
    replace(&path, "new").unwrap().keep();
    let meta = fs::metadata(&path).unwrap();
    assert_eq!((meta.uid(), meta.gid()), (1234, 4321));
}

#[test]
fn a_new_table_does_not_come_between_a_vif_and_its_sessions() {
    let session = "[[vif.bgp]]\npeer = \"10.255.0.2\"\npeer_as = 1\nlocal_as = 2\n";
    let six = "[[vif.bgp]]\npeer = \"fd00:255::2\"\npeer_as = 1\nlocal_as = 2\n";
    let vif = "[[vif]]\nname = \"last\"\nport = \"core0\"\nvlan = 9\nvrf = \"vpc-a\"\n\
               addresses = [\"10.255.0.1/29\", \"fd00:255::1/64\"]\n";
    let text = format!("{REFERENCE}\n{vif}{session}{six}");
    let new = VifAdd {
        name: "new".into(),
        port: Some("core0".into()),
        vlan: Some("10".into()),
        vtep: None,
        vni: None,
        remotes: Vec::new(),
        station: None,
        join_stations: false,
        service_tag: false,
        kind: None,
        vrf: "vpc-a".into(),
        addresses: vec!["10.255.9.1/30".parse().unwrap()],
        mtu: None,
        source_check: None,
        pcp: None,
        down: false,
        customer: None,
        description: None,
        circuit: None,
    };
    let text = edit::vif_add(&text, &new).unwrap();
    let sessions = |text: &str, name: &str| {
        let config = config(text);
        config.vifs.iter().find(|vif| &*vif.name == name).map(|vif| vif.bgp.len())
    };
    assert_eq!((sessions(&text, "last"), sessions(&text, "new")), (Some(2), Some(0)));
    // A VIF takes its sessions along.
    let text = edit::vif_del(&text, &config(&text), "last").unwrap();
    assert_eq!((sessions(&text, "last"), sessions(&text, "new")), (None, Some(0)));
    assert!(!text.contains("10.255.0.2\"\npeer_as = 1"), "{text}");
}

/// Fields of a place, as a client sends them.
fn fields(place: Place, set: &[(&str, &str)], unset: &[&str]) -> Fields {
    let set = set.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let unset = unset.iter().map(|key| (*key).to_owned());
    Fields { place, set: set.collect(), unset: unset.collect() }
}

fn session(peer: &str) -> Place {
    Place::Bgp { vif: "a".into(), peer: peer.parse().unwrap() }
}

/// The lines that differ, old and new, without their comments.
fn changed(new: &str) -> Vec<String> {
    let diff = station::config::unified(REFERENCE, new, ["old", "new"], true);
    let lines = diff.lines().skip(2).filter(|line| line.starts_with(['+', '-']));
    let lines = lines.map(|line| line.split('#').next().unwrap().trim_end().to_owned());
    lines.filter(|line| line.len() > 1).collect()
}

#[test]
fn fields_are_set_where_they_stand_and_the_rest_is_as_it_was() {
    let vif = |set: &[(&str, &str)], unset: &[&str]| {
        set::set(REFERENCE, &fields(Place::Vif("a".into()), set, unset)).unwrap()
    };
    let text = vif(&[("mtu", "1400")], &[]);
    assert_eq!(changed(&text), ["-mtu = 1500", "+mtu = 1400"]);
    assert!(
        text.contains("mtu = 1400                               # longest IP packet"),
        "{text}"
    );
    // What only looks like a number is a text where the field is one.
    let text = vif(&[("customer", "007"), ("description", "a b"), ("vlan", "100.7")], &["pcp"]);
    let config = config(&text);
    let labels = &config.vifs[0].labels;
    assert_eq!(
        (labels.customer.as_deref(), labels.description.as_deref()),
        (Some("007"), Some("a b"))
    );
    assert_eq!(config.vifs[0].tags.inner, Some(7));
    assert_eq!(
        changed(&text),
        [
            "-customer = \"acme\"",
            "+customer = \"007\"",
            "-vlan = 100",
            "+vlan = \"100.7\"",
            "-pcp = \"preserve\"",
            "+description = \"a b\""
        ]
    );
}

#[test]
fn sessions_and_vrfs_come_and_go_without_a_trace() {
    let new = [
        ("peer_as", "65001"),
        ("local_as", "64512"),
        ("password", "12345"),
        ("import", "[\"10.0.0.0/8 le 24\"]"),
    ];
    let vif = [("addresses", "[\"169.254.100.1/30\", \"fd00:100::1/64\", \"10.200.0.1/24\"]")];
    let base = set::set(REFERENCE, &fields(Place::Vif("a".into()), &vif, &[])).unwrap();
    let text = set::add(&base, &fields(session("10.200.0.2"), &new, &[])).unwrap();
    let parsed = config(&text);
    assert_eq!(parsed.vifs[0].bgp.len(), 3, "the session is its VIF's, not the next one's");
    assert_eq!(parsed.vifs[0].bgp[2].password.as_ref().unwrap().reveal(), "12345");
    let text =
        set::set(&text, &fields(session("10.200.0.2"), &[("passive", "true")], &["password"]))
            .unwrap();
    let parsed = config(&text);
    assert!(parsed.vifs[0].bgp[2].passive && parsed.vifs[0].bgp[2].password.is_none());
    assert_eq!(set::del(&text, &parsed, &session("10.200.0.2")).unwrap(), base);

    let vrf = Place::Vrf("new".into());
    let text =
        set::add(REFERENCE, &fields(vrf.clone(), &[("kind", "vpc"), ("customer", "x")], &[]))
            .unwrap();
    assert_eq!(config(&text).vrfs.last().unwrap().labels.customer.as_deref(), Some("x"));
    let back = set::del(&text, &config(&text), &vrf).unwrap();
    assert_eq!(back.trim_end(), REFERENCE.trim_end());
}

#[test]
fn a_session_may_stand_in_an_inline_table() {
    let start = "[[vif]]\nname = \"a\"\nbgp = [{ peer = \"10.0.0.2\", peer_as = 65001 }]\n\n[[vif]]\nname = \"b\"\n";
    let text = set::add(start, &fields(session("10.0.0.3"), &[("peer_as", "65002")], &[])).unwrap();
    let (own, other) = text.split_once("[[vif]]\nname = \"b\"").unwrap();
    assert_eq!(
        (own.matches("[[vif.bgp]]").count(), other.matches("bgp").count()),
        (2, 0),
        "{text}"
    );
}

#[test]
fn what_cannot_be_set_says_what_can() {
    let says = |result: Result<String, edit::EditError>, kind: ErrorKind, words: &str| {
        let refusal = Refusal::from(result.unwrap_err());
        assert!(refusal.kind == kind && refusal.message.contains(words), "{refusal:?}");
    };
    let set = |place, set: &[(&str, &str)], unset: &[&str]| {
        set::set(REFERENCE, &fields(place, set, unset))
    };
    let vif = || Place::Vif("a".into());
    says(
        set(vif(), &[("name", "z")], &[]),
        ErrorKind::Conflict,
        "name stays: delete the vif a and add another",
    );
    says(
        set(session("169.254.100.2"), &[("peer", "10.0.0.9")], &[]),
        ErrorKind::Conflict,
        "peer stays",
    );
    says(set(vif(), &[("bgp", "[]")], &[]), ErrorKind::Conflict, "stationctl bgp add|del|set");
    says(set(vif(), &[], &["circuit"]), ErrorKind::NotFound, "vif a has no circuit");
    says(
        set(Place::Vif("zz".into()), &[("mtu", "1400")], &[]),
        ErrorKind::NotFound,
        "there is no vif \"zz\"",
    );
    says(
        set(session("10.9.9.9"), &[("passive", "true")], &[]),
        ErrorKind::NotFound,
        "there is no bgp a 10.9.9.9",
    );
    let again = fields(session("169.254.100.2"), &[], &[]);
    says(set::add(REFERENCE, &again), ErrorKind::Conflict, "is there already: `set` changes it");
    let del = |place| set::del(REFERENCE, &config(REFERENCE), &place);
    says(
        del(Place::Vrf("vpc-a".into())),
        ErrorKind::Conflict,
        "vrf vpc-a is still used by vif a, vif a-core, route 10.1.0.0/16",
    );
    says(del(Place::Vrf("zz".into())), ErrorKind::NotFound, "there is no vrf zz");
    says(del(session("10.9.9.9")), ErrorKind::NotFound, "there is no bgp a 10.9.9.9");
    // A field that the file does not know is the file's to refuse.
    let text = set(vif(), &[("mtuu", "1400")], &[]).unwrap();
    let error = parse(&text, Path::new("/nonexistent")).unwrap_err().report();
    assert!(error.contains("mtuu") && error.contains("is not a known field"), "{error}");
}
