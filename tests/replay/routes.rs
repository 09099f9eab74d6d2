//! Routes that come by BGP: from a file of them, from the running station, or not at all.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread;

use pcap_file::DataLink;
use serde_json::{Value, json};
use station::replay::capture::{LearnedRow, Options, RoutesFrom, Summary};

use crate::common::packets::{Seen, packet};
use crate::common::{A, A_CORE, B, CONFIG};
use crate::{pcap, read, replay, row, scratch};

/// Tenant A's customer announces 10.1.0.0/16 by BGP instead of having it configured, and nobody configured
/// its MAC.
fn config() -> String {
    let route = "[[route]]\nvrf = \"vpc-a\"\nprefix = \"10.1.0.0/16\"\nvia = [{ address = \"169.254.100.2\" }]\n";
    let neighbor =
        "[[neighbor]]\nvif = \"a\"\naddress = \"169.254.100.2\"\nmac = \"02:00:00:00:0a:02\"\n";
    let addresses = "addresses = [\"169.254.100.1/30\", \"fd00:100::1/64\"]\n";
    let session = "bgp = [{ peer = \"169.254.100.2\", peer_as = 65001, local_as = 64512 }]\n";
    assert!([route, neighbor].iter().all(|text| CONFIG.contains(text)));
    let text = CONFIG.replacen(route, "", 1).replacen(neighbor, "", 1);
    text.replacen(addresses, &format!("{addresses}{session}"), 1)
}

fn member(vif: &str, next_hop: &str, backup: bool) -> Value {
    let weight = u8::from(!backup);
    json!({ "vif": vif, "next_hop": next_hop, "mac": null, "state": "reachable", "weight": weight, "backup": backup })
}

fn route(prefix: &str, origin: &str, via: &[Value]) -> Value {
    json!({ "vrf": "vpc-a", "prefix": prefix, "origin": origin, "action": "forward", "via": via })
}

/// As `show routes --vrf vpc-a` has them.
fn routes() -> Vec<Value> {
    vec![
        route("169.254.100.0/30", "connected", &[]),
        route(
            "10.1.0.0/16",
            "bgp",
            &[member("a", "169.254.100.2", false), member("a2", "10.9.1.2", true)],
        ),
        route("10.77.0.0/16", "bgp", &[member("elsewhere", "10.0.0.2", false)]),
    ]
}

/// As `show neighbors` has them.
fn neighbors() -> Vec<Value> {
    let row = |vif, address, mac, state| json!({ "vif": vif, "vrf": "vpc-a", "address": address, "mac": mac, "state": state, "age_s": 7 });
    vec![
        row("a", "169.254.100.2", Some("02:00:00:00:0a:02"), "reachable"),
        row("a-core", "10.255.1.2", Some("02:00:00:00:ac:02"), "static"),
        row("a2", "10.9.1.77", None, "unresolved"),
    ]
}

/// Frames that hang on the route, and one of each kind that does not.
fn frames() -> Vec<Vec<u8>> {
    vec![
        A.frame(&packet("10.1.0.9", "10.64.0.1")),
        A.frame(&packet("8.8.8.8", "10.64.0.1")),
        A_CORE.frame(&packet("10.64.0.1", "10.1.0.9")),
        A.frame(&packet("fd00:bad::1", "fd00:64::1")),
        B.frame(&packet("8.8.8.8", "10.3.0.1")),
    ]
}

fn replayed(name: &str, from: Option<RoutesFrom>) -> (Summary, Vec<crate::Out>) {
    let at = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let macs = [("cust0", 1), ("cust1", 2), ("core0", 3)]
        .map(|(port, last)| (port.to_owned(), format!("02:00:00:00:00:0{last}").parse().unwrap()));
    let options = Options { macs: macs.to_vec(), routes: from, ..Options::default() };
    let input =
        |frame: (u32, Vec<u8>)| (if frame.0 == 2 { 1 } else { 0 }, frame.0.into(), frame.1, 0);
    let frames: Vec<_> = (0..).zip(frames()).map(input).collect();
    crate::pcapng(&at.join("in.pcapng"), &["cust0", "core0"], &frames);
    let summary = replay(&at, "in.pcapng", &options).unwrap();
    (summary, read(&at))
}

fn learned(routes: Option<u64>, refused: u64, last_error: Option<&str>) -> Vec<LearnedRow> {
    let (vrf, family) = ("vpc-a".to_owned(), "ipv4".to_owned());
    vec![LearnedRow { vrf, family, routes, refused, last_error: last_error.map(str::to_owned) }]
}

/// Checks what becomes of the frames where the routes are known.
fn assert_judged(summary: &Summary, out: &[crate::Out]) {
    let error = "10.77.0.0/16: via 10.0.0.2 on elsewhere: there is no such VIF";
    assert_eq!(summary.learned, learned(Some(1), 2, Some(error)));
    let rows = summary.rows();
    assert_eq!(rows.iter().map(|row| row.frames).sum::<u64>(), 5);
    assert_eq!(row(&rows, "vif a", "").frames, 1);
    assert_eq!(row(&rows, "vif a-core", "").frames, 1);
    assert_eq!(row(&rows, "vif a", "spoofed_source").frames, 2);
    assert_eq!(row(&rows, "vif b", "spoofed_source").frames, 1);
    let back = out.iter().find(|out| out.comment == "sent because of frame 3").unwrap();
    assert_eq!(Seen::read(&back.frame).to, A.mac);
}

#[test]
fn what_hangs_on_routes_that_come_by_bgp_is_not_judged_without_them() {
    let at = scratch("no_routes");
    fs::write(at.join("station.toml"), config()).unwrap();
    let (summary, out) = replayed("no_routes", None);
    let rows = summary.rows();
    assert_eq!(rows.iter().map(|row| row.frames).sum::<u64>(), 5);
    let unknown = row(&rows, "vif a", "routes_unknown");
    assert_eq!((&*unknown.verdict, unknown.frames), ("not judged", 2));
    assert!(unknown.help.contains("--routes live"), "{}", unknown.help);
    // Nobody says that the destination is unreachable either.
    assert_eq!(row(&rows, "vif a-core", "routes_unknown").frames, 1);
    let first = out.iter().find(|out| !out.sent).unwrap();
    let comment = "frame 1: not judged: routes_unknown on vif a: Routes of this VRF come by BGP and are not known";
    assert!(first.comment.starts_with(comment), "{}", first.comment);
    assert!(first.comment.ends_with("make it drop(spoofed_source)"), "{}", first.comment);
    assert!(!out.iter().any(|out| out.comment == "sent because of frame 3"));
    // No session brings this family, or this VRF, a route.
    assert_eq!(row(&rows, "vif a", "spoofed_source").frames, 1);
    assert_eq!(row(&rows, "vif b", "spoofed_source").frames, 1);
    assert_eq!(summary.learned, learned(None, 0, None));
    assert!(summary.to_string().contains("not known"), "{summary}");
    assert_eq!(serde_json::to_value(&summary).unwrap()["learned"][0]["routes"], Value::Null);
}

/// As `stationctl --json` prints rows.
fn answer(rows: Vec<Value>) -> Value {
    json!({ "version": 1, "time": "2026-11-29T00:00:00.000Z", "rows": rows })
}

#[test]
fn routes_and_neighbors_come_from_a_file() {
    let at = scratch("routes_file");
    fs::write(at.join("station.toml"), config()).unwrap();
    let file = at.join("routes.json");
    let text = format!("{}\n{:#}\n", answer(routes()), answer(neighbors()));
    fs::write(&file, text).unwrap();
    let (summary, out) = replayed("routes_file", Some(RoutesFrom::File(file.clone())));
    assert_judged(&summary, &out);

    // A file that says nothing of the VRF leaves it unknown.
    fs::write(&file, answer(neighbors()).to_string()).unwrap();
    let (summary, _) = replayed("routes_file", Some(RoutesFrom::File(file)));
    assert_eq!(row(&summary.rows(), "vif a", "routes_unknown").frames, 2);
}

#[test]
fn what_a_backup_path_brings_is_genuine_too() {
    let at = scratch("routes_backup");
    fs::write(at.join("station.toml"), config()).unwrap();
    fs::write(at.join("routes.json"), answer(routes()).to_string()).unwrap();
    pcap(
        &at.join("in.pcap"),
        DataLink::ETHERNET,
        &[crate::A2.frame(&packet("10.1.0.9", "10.64.0.1"))],
    );
    let routes = Some(RoutesFrom::File(at.join("routes.json")));
    let summary = replay(&at, "in.pcap", &Options { routes, ..Options::default() }).unwrap();
    assert_eq!(row(&summary.rows(), "vif a2", "").frames, 1);
}

#[test]
fn what_is_no_file_of_routes_is_refused() {
    let at = scratch("routes_refused");
    fs::write(at.join("station.toml"), config()).unwrap();
    pcap(&at.join("in.pcap"), DataLink::ETHERNET, &frames());
    let refused = |text: &str| {
        fs::write(at.join("routes.json"), text).unwrap();
        let routes = Some(RoutesFrom::File(at.join("routes.json")));
        replay(&at, "in.pcap", &Options { routes, ..Options::default() }).unwrap_err().to_string()
    };
    let not_a_row = refused("{\"rows\":[]}\n{\"version\":1,\"rows\":[{\"name\": \"a\"}]}");
    assert!(
        not_a_row.contains("routes.json, answer 2: no row of `stationctl --json show routes`"),
        "{not_a_row}"
    );
    for (text, why) in [
        ("[]", "expected an answer of `stationctl --json"),
        ("{\"rows\": {}}", "expected an array of rows"),
        ("{\"version\": 1, \"error\": {}}", "missing field `rows`"),
    ] {
        let said = refused(text);
        assert!(said.contains("answer 1: ") && said.contains(why), "{said}");
    }
    assert!(refused("{").contains("EOF"));
    let routes = Some(RoutesFrom::File(at.join("missing.json")));
    let error = replay(&at, "in.pcap", &Options { routes, ..Options::default() }).unwrap_err();
    assert!(error.to_string().contains("missing.json"), "{error}");
    assert_eq!("live".parse(), Ok(RoutesFrom::Live));
    assert_eq!("./live".parse(), Ok(RoutesFrom::File("./live".into())));
}

#[test]
fn routes_and_neighbors_come_from_the_running_station() {
    let at = scratch("routes_live");
    let socket = at.join("stationd.sock");
    let station = format!("[station]\nsocket = \"{}\"\n", socket.display());
    fs::write(at.join("station.toml"), config().replacen("[station]\n", &station, 1)).unwrap();
    let listener = UnixListener::bind(&socket).unwrap();
    let server = thread::spawn(move || {
        let mut asked = Vec::new();
        // Only the VRF whose routes come by BGP is asked for, then the neighbors.
        for rows in [routes(), neighbors()] {
            let (mut stream, _) = listener.accept().unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            asked.push(serde_json::from_str::<Value>(&line).unwrap());
            for row in rows {
                writeln!(stream, "{}", json!({ "v": 1, "rows": [row] })).unwrap();
            }
            writeln!(stream, "{}", json!({ "v": 1, "end": true })).unwrap();
        }
        asked
    });
    let (summary, out) = replayed("routes_live", Some(RoutesFrom::Live));
    assert_judged(&summary, &out);
    let asked = server.join().unwrap();
    assert_eq!(asked[0], json!({ "v": 1, "request": "show_routes", "vrf": "vpc-a" }));
    assert_eq!(asked[1], json!({ "v": 1, "request": "show_neighbors" }));

    fs::remove_file(&socket).unwrap();
    let options = Options { routes: Some(RoutesFrom::Live), ..Options::default() };
    let error = replay(&at, "in.pcapng", &options).unwrap_err().to_string();
    assert!(error.contains("routes from the running station: there is no "), "{error}");
}
