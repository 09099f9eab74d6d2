//! The real `stationctl` against a server whose control thread answers from fixed rows: what people
//! see, what programs see, and the exit codes.
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use ipnet::IpNet;
use serde_json::{Value, json};
use station::admin::answer::Answer;
use station::admin::protocol::{ErrorKind, Request, Terms};
use station::admin::rows::*;
use station::admin::server::{Call, Groups, Limits, QUEUE, Rounds, Server};
use station::events::Reporter;
use station::optics;
use station::tables::{PortRole, SourceCheck, VifKind, VrfKind};

struct Station {
    _server: Server,
    _dir: tempfile::TempDir,
    path: PathBuf,
    requests: Arc<Mutex<Vec<Request>>>,
    with: Arc<Mutex<Vec<(Terms, String)>>>,
}

fn member(vif: &str, weight: u16, state: &str) -> Member {
    let mac = (state == "reachable").then(|| "02:00:00:00:01:02".to_owned());
    let next_hop = Some("169.254.100.2".parse().unwrap());
    Member { vif: vif.into(), next_hop, mac, state: state.into(), weight, backup: false }
}

const TRAFFIC: Traffic =
    Traffic { rx_frames: 1_234_567, rx_octets: 98_765_432, tx_frames: 12, tx_octets: 900 };

/// A port that tells much, and one that tells nothing.
fn port_details() -> [PortDetailRow; 2] {
    let limits =
        optics::Limits { low_alarm: -18.0, low_warning: -16.0, high_warning: 1.0, high_alarm: 2.0 };
    let reading = |quantity, lane, value, limits: Option<optics::Limits>| Reading {
        quantity,
        lane,
        value,
        alarm: limits.map(|limits| limits.judge(value)),
        limits,
    };
    let named = |text: &str| Some(text.to_owned());
    let module = Module {
        kind: "SFP".into(),
        media: named("10GBASE-LR"),
        connector: named("LC"),
        vendor: named("ACME OPTICS"),
        part: named("AC-10G-LR"),
        revision: named("B2"),
        serial: named("SN0042"),
        wavelength_nm: Some(1310.0),
        readings: vec![
            reading(Quantity::TemperatureC, None, 31.5, None),
            reading(Quantity::RxPowerDbm, Some(1), -16.9897, Some(limits)),
        ],
        rx_loss_lanes: vec![1],
        notes: vec!["the checksum of its diagnostics is wrong".into()],
        ..Module::default()
    };
    let told = PortDetailRow {
        name: "cust0".into(),
        interface: "eth1".into(),
        link: "down".into(),
        age_ms: Some(1050),
        down_reason: named("no cable"),
        speed_mbps: Some(25_000),
        duplex: named("full"),
        autonegotiation: Some(false),
        fec: Some(FecInfo {
            configured: vec!["auto".into(), "rs".into()],
            active: named("rs"),
            corrected_blocks: Some(12_345),
            uncorrected_blocks: None,
        }),
        errors: [("crc".to_owned(), 5), ("symbol".to_owned(), 0)].into(),
        carrier_ups: Some(3),
        carrier_downs: Some(2),
        driver: named("ice"),
        module: Some(module),
        ..PortDetailRow::default()
    };
    let silent = PortDetailRow {
        name: "core0".into(),
        interface: "eth2".into(),
        link: "up".into(),
        ..PortDetailRow::default()
    };
    [told, silent]
}

fn answer(request: Request, yes: bool) -> Answer {
    match request {
        Request::ShowPorts => Answer::rows([PortRow {
            name: "cust0".into(),
            labels: Labels::default(),
            interface: "eth1".into(),
            role: PortRole::Customer,
            mac: "02:00:00:00:00:01".into(),
            mtu: 1500,
            link: "up".into(),
            admin_up: true,
            xdp_mode: "native".into(),
            zero_copy: false,
            queues: 1,
            trouble: "eth1 has 4 receive and 1 transmit queues".into(),
            repairs: 2,
            carrier_changes: 1,
            drain: String::new(),
            traffic: TRAFFIC,
            drops: [("unknown_vlan".to_owned(), 3)].into(),
            kernel: KernelStatistics { rx_ring_full: 7, ..KernelStatistics::default() },
            xdp: XdpCounters::default(),
        }]),
        Request::ShowPortDetails => Answer::rows(port_details().map(Box::new)),
        Request::ShowVifs => Answer::rows([VifRow {
            name: "a".into(),
            labels: Labels {
                customer: Some("acme".into()),
                description: None,
                circuit: Some("DX-7".into()),
            },
            port: "cust0".into(),
            vlan: "100.200".into(),
            service_tag: false,
            kind: Some(VifKind::Private),
            vrf: "vpc-a".into(),
            mtu: 1500,
            state: "port-down".into(),
            addresses: vec!["169.254.100.1/30".parse().unwrap()],
            source_check: SourceCheck::Strict,
            join_stations: false,
            drain: String::new(),
            traffic: TRAFFIC,
            forwarded: 10,
            punted: 20,
            dropped: 30,
        }]),
        Request::ShowRoutes(filter) if filter.vrf == "big" => {
            Answer::rows((0..30_000_u32).map(|i| RouteRow {
                vrf: "big".into(),
                prefix: IpNet::new(std::net::Ipv4Addr::from_bits(i << 8).into(), 24).unwrap(),
                origin: "list".into(),
                action: "forward".into(),
                via: vec![member("core", 1, "reachable")],
            }))
        }
        Request::ShowRoutes(filter) if filter.vrf == "vpc-a" => Answer::rows([RouteRow {
            vrf: "vpc-a".into(),
            prefix: "10.1.0.0/16".parse().unwrap(),
            origin: "static".into(),
            action: "forward".into(),
            via: vec![member("a", 3, "reachable"), member("b", 1, "unresolved")],
        }]),
        Request::ShowVrfs => Answer::rows([VrfRow {
            name: "vpc-a".into(),
            kind: VrfKind::Vpc,
            labels: Labels::default(),
            vifs: 1,
            ipv4_routes: 2,
            ipv6_routes: 3,
        }]),
        Request::ShowNeighbors => Answer::rows(Vec::<NeighborRow>::new()),
        Request::ShowCounters(_) => Answer::rows([CounterRow {
            scope: "vif".into(),
            name: "a".into(),
            counters: vec![CounterValue {
                group: "drop".into(),
                name: "no_such".into(),
                value: 1_000_000,
                help: "What to do about it.".into(),
            }],
            conservation: Conservation::new(10, 5, 2, 2),
        }]),
        Request::ShowDrops(filter) => Answer::rows([DropRow {
            scope: "port".into(),
            name: filter.port.unwrap_or("cust0".into()),
            reason: "unknown_vlan".into(),
            count: 1031,
            first_ms: 1_795_000_000_000,
            last_ms: 1_795_000_060_123,
            help: "No VIF on this port has this VLAN id.".into(),
            frames: vec![DroppedFrame {
                count: 31,
                last_ms: 1_795_000_060_123,
                octets: 64,
                headers: FrameHeaders {
                    source_mac: Some("02:00:00:00:00:09".into()),
                    destination_mac: Some("ff:ff:ff:ff:ff:ff".into()),
                    vlans: vec![310],
                    ethertype: Some("0x0806".into()),
                    protocol: Some("arp request".into()),
                    source: Some("10.0.0.9".parse().unwrap()),
                    destination: Some("10.0.0.1".parse().unwrap()),
                    ..FrameHeaders::default()
                },
            }],
        }]),
        Request::ShowWorkers => Answer::rows([WorkerRow {
            worker: 0,
            cpu: 1,
            generation: 4,
            loops: 100,
            empty: 50,
            bursts: 50,
            frames: 1600,
            burst_fill: 32.0,
            busy_ns: 90,
            ns_per_frame: 123.4,
            sleeps: 2,
            syscalls: 50,
            syscalls_per_frame: 0.03125,
            lost: 7_654,
            frames_free: 8000,
            frames_total: 8192,
        }]),
        Request::Lookup(lookup) => Answer::result(LookupResult {
            vrf: lookup.vrf.unwrap_or("of-the-vif".into()),
            address: lookup.address,
            prefix: Some("10.0.0.0/8".parse().unwrap()),
            via: vec![member("a", 1, "reachable")],
            verdict: "drop(vif_down)".into(),
            help: "The VIF is administratively down.".into(),
        }),
        Request::Version => Answer::result(VersionInfo {
            station: "fra1-a".into(),
            version: "0.1.0".into(),
            protocol: 1,
            uptime_s: 90_000,
            generation: 40,
            configuration: 4,
            config: "/etc/station.toml".into(),
            namespace: "stationd-station".into(),
            log_lines_lost: 3,
            longest_hold_us: 850,
            longest_hold: "work".into(),
            events: EventsInfo::default(),
        }),
        Request::VifDel(_) => Answer::refused(ErrorKind::Conflict, "vif \"a\" is still used"),
        Request::Reload { dry_run } => {
            let (cuts, changes) = match dry_run {
                true => (vec!["vif o: is deleted".into()], vec!["+ vif n".into()]),
                false => (Vec::new(), vec!["+ vif n".into()]),
            };
            Answer::result(ChangeResult {
                generation: 40,
                configuration: 4,
                dry_run,
                changes,
                cuts,
                ..ChangeResult::default()
            })
        }
        Request::VifDown(vif) if vif.name == "cut" && !yes => Answer::refused(
            ErrorKind::Consent,
            "this cuts live service:\n  vif cut: is set down\nnothing has changed",
        ),
        Request::ConfigHistory => {
            let (number, state) = (7, "damaged".to_owned());
            let trouble = "configuration 7 is damaged".to_owned();
            let damaged = HistoryRow { number, state, trouble, ..HistoryRow::default() };
            let trial = HistoryRow {
                number: 9,
                state: "unconfirmed".into(),
                time_ms: Some(1_795_000_000_000),
                uid: Some(0),
                login_uid: Some(4_294_967_290),
                sudo_uid: Some(4_294_967_291),
                sudo_user: Some("ada".into()),
                command: "vif down e".into(),
                comment: Some("order 4711".into()),
                until_ms: Some(1_795_000_060_000),
                back_to: Some(8),
                ..HistoryRow::default()
            };
            Answer::rows([damaged, trial])
        }
        Request::ConfigShow { .. } => {
            Answer::result(ConfigText { number: 9, since: None, text: "[station]\n".into() })
        }
        Request::ConfigDiff { .. } => {
            Answer::result(ConfigText { number: 9, since: Some(8), text: String::new() })
        }
        Request::RouteAdd(_)
        | Request::VifAdd(_)
        | Request::VifDown(_)
        | Request::ClearCounters => Answer::result(ChangeResult {
            generation: 50,
            configuration: 5,
            ..ChangeResult::default()
        }),
        _ => Answer::refused(ErrorKind::NotFound, "there is no such thing"),
    }
}

fn station() -> Station {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("stationd.sock");
    let (sender, receiver) = crossbeam::channel::bounded::<Call>(QUEUE);
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&requests);
    let with = Arc::new(Mutex::new(Vec::new()));
    let with_seen = Arc::clone(&with);
    thread::spawn(move || {
        for call in receiver {
            seen.lock().unwrap().push(call.request.clone());
            let yes = call.terms.yes;
            with_seen.lock().unwrap().push((call.terms, call.text));
            call.reply.send(answer(call.request, yes));
        }
    });
    let server = Server::bind(&path, Groups::default()).unwrap();
    let limits = Limits::default();
    let server = server.serve(sender, Rounds::default(), limits, Reporter::nowhere()).unwrap();
    Station { _server: server, _dir: dir, path, requests, with }
}

fn command(station: &Station, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stationctl"));
    command.arg("--socket").arg(&station.path).args(arguments.split_whitespace());
    command
}

impl Station {
    fn run(&self, arguments: &str) -> Output {
        command(self, arguments).output().unwrap()
    }

    fn text(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments}: {output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, arguments: &str) -> Value {
        let mut answer: Value =
            serde_json::from_str(&self.text(&format!("--json {arguments}"))).unwrap();
        assert_eq!(answer["version"], 1, "{answer}");
        assert!(answer["time"].as_str().unwrap().ends_with('Z'), "{answer}");
        let what = if answer.get("rows").is_some() { "rows" } else { "result" };
        answer[what].take()
    }

    fn request(&self, arguments: &str) -> Value {
        self.run(arguments);
        serde_json::to_value(self.requests.lock().unwrap().pop().unwrap()).unwrap()
    }
}

#[test]
fn tables_are_aligned_and_have_units() {
    let station = station();
    assert_eq!(
        station.text("show routes --vrf vpc-a"),
        "PREFIX       ORIGIN  ACTION   VIA\n\
         10.1.0.0/16  static  forward  169.254.100.2 on a weight 3\n\
         \u{20}                             169.254.100.2 on b weight 1 (unresolved)\n"
    );
    let ports = station.text("show ports");
    assert!(ports.contains("1,234,567  98.7 MB"), "{ports}");
    assert!(ports.ends_with("\n\ncust0: eth1 has 4 receive and 1 transmit queues\n"), "{ports}");
    let vifs = station.text("show vifs");
    for part in ["100.200", "private", "port-down", "169.254.100.1/30"] {
        assert!(vifs.contains(part), "{vifs}");
    }
    let workers = station.text("show workers");
    for part in
        ["32.0       123", "0.031  7,654", "8,000 of 8,192", "near 64 the worker is at its limit"]
    {
        assert!(workers.contains(part), "{part}: {workers}");
    }
    assert_eq!(station.text("show neighbors"), "VIF  VRF  ADDRESS  MAC  STATE  AGE\n");
    assert_eq!(
        station.text("show counters"),
        "vif a: received 10 IS NOT forwarded 5 + punted 2 + dropped 2\n\
         GROUP  COUNTER      VALUE  MEANING\n\
         drop   no_such  1,000,000  What to do about it.\n"
    );
    assert_eq!(
        station.text("lookup --vrf vpc-a 10.1.2.3"),
        "10.1.2.3 in vrf vpc-a: 10.0.0.0/8\n\
         drop(vif_down): The VIF is administratively down.\n\
         VIF  NEXT HOP       MAC                STATE      WEIGHT\n\
         a    169.254.100.2  02:00:00:00:01:02  reachable       1\n"
    );
    let version = station.text("version");
    for line in [
        "fra1-a, up 1d 1h, configuration 4 of /etc/station.toml\n",
        "network namespace stationd-station: ip netns exec stationd-station ip addr\n",
    ] {
        assert!(version.contains(line), "{version}");
    }
    let last =
        "\nlog        3 lines lost\ncontrol    busy with one thing for 850 us at most (work)\n";
    assert!(version.ends_with(last), "{version}");
    assert_eq!(
        station.text("reload --dry-run"),
        "+ vif n\nit would cut live service:\n  vif o: is deleted\nthe above would change; configuration 4 runs\n"
    );
    assert_eq!(station.text("clear counters"), "configuration 5\n");
}

#[test]
fn what_drivers_and_modules_tell_fits_a_screen_and_what_they_do_not_is_a_dash() {
    let station = station();
    let text = station.text("show ports --detail");
    assert_eq!(
        text,
        "cust0 (eth1): down, read 1.050s ago\n  \
         down because    no cable\n  \
         speed           25.0 Gbit/s\n  \
         duplex          full\n  \
         autonegotiation off\n  \
         FEC             configured auto rs, active rs; blocks corrected 12,345, uncorrected -\n  \
         errors          crc 5, symbol 0\n  \
         carrier         up 3x, down 2x\n  \
         connector       -\n  \
         driver          ice\n  \
         firmware        -\n  \
         bus             -\n  \
         module          SFP, 10GBASE-LR, LC, 1310 nm, ACME OPTICS AC-10G-LR rev B2, serial SN0042\n  \
         READING        LANE   VALUE  STATE        ALARM <  WARN <  WARN >  ALARM >\n  \
         temperature C     -    31.5  -                  -       -       -        -\n  \
         rx power dBm      1  -16.99  low warning   -18.00  -16.00    1.00     2.00\n  \
         no light received (the module's own flag): lane 1\n  \
         note: the checksum of its diagnostics is wrong\n\n\
         core0 (eth2): up, not read yet\n  \
         speed           -\n  \
         duplex          -\n  \
         autonegotiation -\n  \
         FEC             -\n  \
         errors          -\n  \
         carrier         -\n  \
         connector       -\n  \
         driver          -\n  \
         firmware        -\n  \
         bus             -\n  \
         module          -\n"
    );
    let rows = station.json("show ports --detail");
    assert_eq!(
        rows[1],
        json!({"name": "core0", "customer": null, "description": null, "circuit": null,
            "interface": "eth2", "link": "up"})
    );
    assert_eq!(
        rows[0]["fec"],
        json!({"configured": ["auto", "rs"], "active": "rs", "corrected_blocks": 12_345})
    );
    assert_eq!(
        rows[0]["module"]["readings"],
        json!([
            {"quantity": "temperature_c", "value": 31.5},
            {"quantity": "rx_power_dbm", "lane": 1, "value": -16.9897, "alarm": "low_warning",
                "limits": {"low_alarm": -18.0, "low_warning": -16.0, "high_warning": 1.0, "high_alarm": 2.0}},
        ])
    );
    let wrong = station.run("show ports --detail --rate");
    assert_eq!(wrong.status.code(), Some(2));
}

/// The names that programs rely on. A change here breaks them.
#[test]
fn json_has_the_documented_shape() {
    let station = station();
    assert_eq!(
        station.json("show ports"),
        json!([{
            "name": "cust0", "customer": null, "description": null, "circuit": null,
            "interface": "eth1", "role": "customer", "mac": "02:00:00:00:00:01",
            "mtu": 1500, "link": "up", "carrier_changes": 1, "admin_up": true, "drain": "", "xdp_mode": "native", "zero_copy": false, "queues": 1,
            "trouble": "eth1 has 4 receive and 1 transmit queues", "repairs": 2,
            "rx_frames": 1_234_567, "rx_octets": 98_765_432, "tx_frames": 12, "tx_octets": 900,
            "drops": {"unknown_vlan": 3},
            "kernel": {"rx_dropped": 0, "rx_ring_full": 7, "rx_invalid_descs": 0,
                "tx_invalid_descs": 0, "fill_ring_empty": 0, "tx_ring_empty": 0,
                "refused_descriptors": 0},
            "xdp": {"to_kernel": 0, "no_socket": 0, "malformed": 0, "bypassed": 0},
        }])
    );
    assert_eq!(
        station.json("show vifs"),
        json!([{
            "name": "a", "customer": "acme", "description": null, "circuit": "DX-7", "port": "cust0", "vlan": "100.200", "service_tag": false, "join_stations": false,
            "kind": "private", "vrf": "vpc-a", "mtu": 1500, "state": "port-down", "drain": "",
            "addresses": ["169.254.100.1/30"], "source_check": "strict",
            "rx_frames": 1_234_567, "rx_octets": 98_765_432, "tx_frames": 12, "tx_octets": 900,
            "forwarded": 10, "punted": 20, "dropped": 30,
        }])
    );
    assert_eq!(
        station.json("show counters"),
        json!([{
            "scope": "vif", "name": "a",
            "counters": [{"group": "drop", "name": "no_such", "value": 1_000_000,
                "help": "What to do about it."}],
            "conservation": {"received": 10, "forwarded": 5, "punted": 2, "dropped": 2, "ok": false},
        }])
    );
    let via = json!([{"vif": "a", "next_hop": "169.254.100.2", "mac": "02:00:00:00:01:02",
        "state": "reachable", "weight": 1, "backup": false}]);
    assert_eq!(
        station.json("lookup --vif a 10.1.2.3"),
        json!({"vrf": "of-the-vif", "address": "10.1.2.3", "prefix": "10.0.0.0/8", "via": via,
            "verdict": "drop(vif_down)", "help": "The VIF is administratively down."})
    );
    assert_eq!(
        station.json("reload"),
        json!({"generation": 40, "configuration": 4, "dry_run": false, "changes": ["+ vif n"]})
    );
    assert_eq!(station.json("show neighbors"), json!([]));
    assert_eq!(station.json("version")["uptime_s"], 90_000);
    assert_eq!(station.json("version")["log_lines_lost"], 3);
    assert_eq!(station.json("show workers")[0]["syscalls_per_frame"], 0.03125);
    let routes = station.json("show routes --vrf big");
    assert_eq!(routes.as_array().map(Vec::len), Some(30_000));
}

#[test]
fn drops_are_told_with_the_last_frames() {
    let station = station();
    assert_eq!(
        station.text("show drops"),
        "WHERE       REASON        COUNT  FIRST SEEN                LAST SEEN\n\
         port cust0  unknown_vlan  1,031  2026-11-18T11:06:40.000Z  2026-11-18T11:07:40.123Z\n\n\
         port cust0 unknown_vlan: No VIF on this port has this VLAN id.\n  \
         2026-11-18T11:07:40.123Z 31x VLAN 310 from 02:00:00:00:00:09 to ff:ff:ff:ff:ff:ff, arp request \
         10.0.0.9 > 10.0.0.1, 64 octets\n"
    );
    let row = &station.json("show drops")[0];
    assert_eq!(row["frames"][0]["vlans"], json!([310]));
    assert_eq!((&row["count"], &row["frames"][0]["count"]), (&json!(1031), &json!(31)));
}

#[test]
fn arguments_become_requests() {
    let station = station();
    for (arguments, request) in [
        (
            "route add --vrf v 10.0.0.0/8 --via 10.1.0.2,3 --via 10.2.0.2%core",
            json!({"request": "route_add", "vrf": "v", "prefix": "10.0.0.0/8", "via": [
                {"address": "10.1.0.2", "weight": 3}, {"address": "10.2.0.2", "vif": "core"}]}),
        ),
        (
            "route add --vrf v ::/0 --action prohibit",
            json!({"request": "route_add", "vrf": "v", "prefix": "::/0", "action": "prohibit"}),
        ),
        (
            "route del --vrf v 10.0.0.0/8",
            json!({"request": "route_del", "vrf": "v", "prefix": "10.0.0.0/8"}),
        ),
        (
            "vif add n --port p --vlan 1.2 --kind transit --vrf v --address 10.0.0.1/30 \
             --address fd00::1/64 --mtu 1400 --source-check off --pcp 7 --down --service-tag",
            json!({"request": "vif_add", "name": "n", "port": "p", "vlan": "1.2",
                "service_tag": true, "join_stations": false, "kind": "transit", "vrf": "v",
                "addresses": ["10.0.0.1/30", "fd00::1/64"], "mtu": 1400, "source_check": "off",
                "pcp": 7, "down": true}),
        ),
        ("vif up n", json!({"request": "vif_up", "name": "n"})),
        (
            "vif set n mtu=1400 customer=007 --unset pcp",
            json!({"request": "set", "place": {"vif": "n"},
                "set": {"customer": "007", "mtu": "1400"}, "unset": ["pcp"]}),
        ),
        ("port down p", json!({"request": "set", "place": {"port": "p"}, "set": {"up": "false"}})),
        (
            "vrf add v --kind vpc circuit=DX-1",
            json!({"request": "add", "place": {"vrf": "v"}, "set": {"circuit": "DX-1", "kind": "vpc"}}),
        ),
        ("vrf del v", json!({"request": "del", "place": {"vrf": "v"}})),
        (
            "bgp add n 10.0.0.2 peer_as=65001",
            json!({"request": "add", "place": {"bgp": {"vif": "n", "peer": "10.0.0.2"}},
                "set": {"peer_as": "65001"}}),
        ),
        (
            "bgp del n 10.0.0.2",
            json!({"request": "del", "place": {"bgp": {"vif": "n", "peer": "10.0.0.2"}}}),
        ),
        ("vif down n", json!({"request": "vif_down", "name": "n"})),
        (
            "show routes --vrf v -6 2001:db8::/32",
            json!({"request": "show_routes", "vrf": "v", "family": "ipv6",
                "prefix": "2001:db8::/32"}),
        ),
        (
            "show counters --port p --all",
            json!({"request": "show_counters", "port": "p", "all": true}),
        ),
        ("show drops --port p --last 9", json!({"request": "show_drops", "port": "p", "last": 9})),
        ("show drops --vif v", json!({"request": "show_drops", "vif": "v", "last": 3})),
        ("reload --dry-run", json!({"request": "reload", "dry_run": true})),
        ("config history", json!({"request": "config_history"})),
        ("config show 7", json!({"request": "config_show", "number": 7, "secrets": false})),
        (
            "config diff 3 7 --secrets",
            json!({"request": "config_diff", "from": 3, "to": 7, "secrets": true}),
        ),
        ("config confirm", json!({"request": "config_confirm"})),
        ("config rollback", json!({"request": "config_rollback"})),
        (
            "config rollback 5 --confirm 2m --yes --comment why",
            json!({"request": "config_rollback", "number": 5, "confirm_s": 120}),
        ),
        ("stop", json!({"request": "stop", "keep_sessions": false})),
        ("stop --keep-sessions", json!({"request": "stop", "keep_sessions": true})),
    ] {
        assert_eq!(station.request(arguments), request, "{arguments}");
    }
}

#[test]
fn comment_consent_and_text_go_with_a_request() {
    let station = station();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("new.toml");
    std::fs::write(&file, "[station]\n\u{e4}\n").unwrap();
    let file = file.display();
    station.run(&format!("config apply {file} --confirm 60s --yes --comment order-4711"));
    let request = serde_json::to_value(station.requests.lock().unwrap().pop().unwrap()).unwrap();
    let name = file.to_string();
    assert_eq!(
        request,
        json!({"request": "config_apply", "octets": 13, "name": name, "confirm_s": 60})
    );
    let (terms, text) = station.with.lock().unwrap().pop().unwrap();
    assert_eq!((terms.yes, terms.comment.as_deref()), (true, Some("order-4711")));
    assert_eq!(text, "[station]\n\u{e4}\n");
    station.run("route del --comment x --vrf v 10.0.0.0/8");
    let (terms, _) = station.with.lock().unwrap().pop().unwrap();
    assert_eq!((terms.yes, terms.comment.as_deref()), (false, Some("x")));
    let output = station.run("config apply /nonexistent/file");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot read /nonexistent/file"));
    assert!(station.requests.lock().unwrap().iter().all(|request| {
        !matches!(request, Request::ConfigApply(apply) if apply.name == "/nonexistent/file")
    }));
}

/// Without a terminal nobody can be asked.
#[test]
fn what_cuts_live_service_wants_a_yes() {
    let station = station();
    let output = station.run("vif down cut");
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(
        message,
        "stationctl: this cuts live service:\n  vif cut: is set down\nnothing has changed; --yes goes on\n"
    );
    assert!(output.stdout.is_empty());
    assert_eq!(station.text("vif down cut --yes"), "configuration 5\n");
}

#[test]
fn the_history_is_a_table_and_what_is_unconfirmed_is_said() {
    let station = station();
    let table = station.text("config history");
    for part in [
        "NUMBER  STATE        TIME                      USER",
        "     7  damaged      -",
        "     9  unconfirmed  2026-11-18T11:06:40.000Z  root (0)  4294967290  ada (4294967291)  vif down e  order 4711",
        "configuration 7 is damaged",
        "\n9: goes back to 8 at 2026-11-18T11:07:40.000Z unless `stationctl config confirm` comes before\n",
    ] {
        assert!(table.contains(part), "{part}\n{table}");
    }
    assert_eq!(station.text("config show"), "[station]\n");
    assert_eq!(station.text("config diff"), "configurations 8 and 9 have the same text\n");
}

#[test]
fn exit_codes_tell_refused_from_misused_from_absent() {
    let station = station();
    let output = station.run("vif del a");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "stationctl: vif \"a\" is still used\n");
    assert!(output.stdout.is_empty());
    assert_eq!(station.run("--json show routes --vrf none").status.code(), Some(1));
    for usage in [
        "",
        "show",
        "show nothing",
        "show routes",
        "route add --vrf v 10.0.0.0/8",
        "route add --vrf v 10.0.0.0/8 --via 10.0.0.1 --action blackhole",
        "lookup 10.0.0.1",
        "lookup --vif a --vrf b 10.0.0.1",
        "lookup --vif a 10.0.0.256",
        "vif add n --port p --vlan 1 --vrf v",
        "vif add n --port p --vlan 1 --vrf v --address 10.0.0.1/30 --pcp 8",
        "completions tcsh",
        "show vifs --sort colour",
        "--json show vifs --sort vif",
    ] {
        assert_eq!(station.run(usage).status.code(), Some(2), "{usage}");
    }
    let absent = Command::new(env!("CARGO_BIN_EXE_stationctl"))
        .args(["--socket", "/nonexistent/stationd.sock", "show", "vifs"])
        .output()
        .unwrap();
    assert_eq!(absent.status.code(), Some(3));
    let message = String::from_utf8_lossy(&absent.stderr).into_owned();
    assert_eq!(message.lines().count(), 1, "{message}");
    assert!(message.contains("is stationd running?"), "{message}");
}

#[test]
fn a_station_that_breaks_off_is_no_answer() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("broken.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let broken = thread::spawn(move || {
        for reply in ["", "{\"v\":1,\"rows\":[]}\n", "{\"v\":1,", "hello\n"] {
            use std::io::Write;
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = String::new();
            BufReader::new(&stream).read_line(&mut request).unwrap();
            stream.write_all(reply.as_bytes()).unwrap();
        }
    });
    for _ in 0..4 {
        let output = Command::new(env!("CARGO_BIN_EXE_stationctl"))
            .arg("--socket")
            .arg(&path)
            .args(["show", "vifs"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
    }
    broken.join().unwrap();
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let station = station();
    for arguments in ["show routes --vrf big", "--json show routes --vrf big"] {
        let mut child = command(&station, arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
    }
}

/// What a shell is offered for the last of the words; options where it begins like one.
fn completed(words: &[&str]) -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_stationctl"))
        .env("COMPLETE", "bash")
        .env("_CLAP_IFS", "\n")
        .env("_CLAP_COMPLETE_INDEX", words.len().to_string())
        .args(["--", "stationctl"])
        .args(words)
        .output()
        .unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let offered = String::from_utf8(output.stdout).unwrap();
    let wanted = |word: &&str| word.starts_with('-') == words.last().unwrap().starts_with('-');
    offered.lines().filter(wanted).map(str::to_owned).collect()
}

#[test]
fn completions_know_the_commands_and_the_stations_names() {
    let station = station();
    for shell in ["bash", "zsh", "fish"] {
        let script = station.text(&format!("completions {shell}"));
        assert!(script.contains("COMPLETE=") && script.contains("stationctl"), "{shell}: {script}");
    }
    let socket = station.path.to_str().unwrap();
    assert_eq!(completed(&["show", "nei"]), ["neighbors"]);
    assert_eq!(completed(&["reload", "--dry"]), ["--dry-run"]);
    // Names that the station has, of VIFs wherever one is asked for.
    let vifs = completed(&["--socket", socket, "show", "bgp", ""]);
    assert_eq!(completed(&["--socket", socket, "show", "drops", "--vif", ""]), vifs);
    assert_eq!(completed(&["--socket", socket, "vif", "up", ""]), vifs);
    assert!(vifs.contains(&"a".to_owned()), "{vifs:?}");
    assert_eq!(completed(&["--socket", socket, "vif", "add", ""]), [] as [&str; 0]);
    assert_eq!(completed(&["--socket", socket, "show", "routes", "--vrf", "vpc"]), ["vpc-a"]);
    assert_eq!(completed(&["--socket", socket, "capture", "--port", "cu"]), ["cust0"]);
    // Without a station there are none, and nobody waits or reads of it.
    let began = std::time::Instant::now();
    assert_eq!(completed(&["--socket", "/nonexistent", "vif", "up", ""]), [] as [&str; 0]);
    assert!(began.elapsed() < std::time::Duration::from_secs(20), "{:?}", began.elapsed());
    assert!(station.text("--help").contains("Exit codes: 0 done; 1 refused"));
}
