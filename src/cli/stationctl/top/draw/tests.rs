use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::*;
use crate::cli::stationctl::top::poll::Wanted;

fn row<R: serde::de::DeserializeOwned>(text: &str) -> R {
    serde_json::from_str(text).unwrap()
}

/// A station with `n` customers' VIFs, the nth of which receives n Mbit/s, a while after it started.
fn seen(n: u32, uptime_s: u64) -> Seen {
    let rates = |scope: &str, name: &str, bits: f64| {
        let windows = [1, 10, 60].map(|window| {
            format!(
                r#"{{"window_s":{window},"measured_s":{window}.0,"rx_frames_per_s":1000.0,"rx_bits_per_s":{bits:?},
                "tx_frames_per_s":10.0,"tx_bits_per_s":1000.0,"rx_l1_bits_per_s":{bits:?},"tx_l1_bits_per_s":1500.0}}"#
            )
        });
        let windows = windows.join(",");
        format!(
            r#"{{"scope":"{scope}","name":"{name}","port":"cust0","layer":"l1","age_ms":5,"windows":[{windows}]}}"#
        )
    };
    let vif = |n: u32| {
        row(&format!(
            r#"{{"name":"customer-{n}","port":"cust0","vlan":"{}","service_tag":false,"kind":"private","vrf":"vpc-{n}",
            "mtu":1500,"state":"{}","addresses":["10.0.0.1/30"],"source_check":"strict","rx_frames":9,"rx_octets":900,
            "tx_frames":4,"tx_octets":400,"forwarded":5,"punted":1,"dropped":{}}}"#,
            100 + n,
            if n == 3 { "port-down" } else { "up" },
            u64::from(n) * 10 * uptime_s
        ))
    };
    let port = row(&format!(
        r#"{{"name":"cust0","interface":"eth1","role":"customer","mac":"02:00:00:00:00:01","mtu":1500,"link":"up",
        "xdp_mode":"native","zero_copy":false,"queues":2,"trouble":"","repairs":0,"carrier_changes":1,"rx_frames":10,
        "rx_octets":1000,"tx_frames":4,"tx_octets":400,"drops":{{"unknown_vlan":{}}},"kernel":{{"rx_dropped":0,
        "rx_ring_full":0,"rx_invalid_descs":0,"tx_invalid_descs":0,"fill_ring_empty":0,"tx_ring_empty":0,
        "refused_descriptors":0}},"xdp":{{"to_kernel":0,"no_socket":0,"malformed":0,"bypassed":0}}}}"#,
        31 * uptime_s
    ));
    let worker = |n: u64| {
        row(&format!(
            r#"{{"worker":{n},"cpu":{},"generation":2,"loops":{},"empty":90,"bursts":{},"frames":{},"burst_fill":1.25,
            "busy_ns":{},"ns_per_frame":1.0,"sleeps":3,"syscalls":4,"syscalls_per_frame":0.4,"lost":0,
            "frames_free":50,"frames_total":100}}"#,
            n + 2,
            1000 * uptime_s,
            100 * uptime_s,
            (3 - 2 * n) * 1000 * uptime_s,
            500_000_000 * uptime_s
        ))
    };
    let drop = row(&format!(
        r#"{{"scope":"vif","name":"customer-1","reason":"foreign_source","count":{},"first_ms":1795000000123,
        "last_ms":1795000000123,"help":"SECURITY: the source address belongs to another customer VIF of the same VRF.",
        "frames":[]}}"#,
        100 * uptime_s
    ));
    let session = row(
        r#"{"vif":"customer-1","vrf":"vpc-1","peer":"2001:db8:ffff::1","peer_as":65001,"local":"169.254.0.1",
        "local_as":64512,"state":"active","since_s":3700,"bfd":"down","last_error":"Connection refused","accepted":2,
        "rejected":{},"advertised":4,"max_prefixes":100,"max_prefixes_reached":false,"cause":null,"key_failures":0}"#,
    );
    let tunnel = row(
        r#"{"vif":"customer-2","vrf":"vpc-2","vtep":"vtep6","underlay":"fabric","vni":16777215,"local":"fd00:255::1",
        "remote":"fd00:255:ffff::2","mac":"02:0a:00:00:00:0b","state":"down","mtu":1430,"via":["fd00:254::2 on fabric-b"]}"#,
    );
    Seen {
        at: Instant::now() + Duration::from_secs(uptime_s),
        version: row(&format!(
            r#"{{"station":"fra1-a","version":"0.1.0","protocol":1,"uptime_s":{uptime_s},"generation":5,"configuration":12,
            "config":"","namespace":"","log_lines_lost":0,"longest_hold_us":1500,"longest_hold":""}}"#
        )),
        ports: vec![port],
        vifs: (1..=n).map(vif).collect(),
        port_rates: vec![row(&rates("port", "cust0", 5e9))],
        vif_rates: (1..=n)
            .map(|n| row(&rates("vif", &format!("customer-{n}"), f64::from(n) * 1e6)))
            .collect(),
        workers: (0..2).map(worker).collect(),
        drops: vec![drop],
        sessions: vec![session],
        tunnels: vec![tunnel],
    }
}

/// A terminal of the size that ssh begins with.
struct Shown {
    terminal: Terminal<TestBackend>,
    screen: Screen,
}

impl Shown {
    fn of(width: u16, height: u16) -> Shown {
        let terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        Shown { terminal, screen: Screen::new() }
    }

    fn with_station(vifs: u32) -> Shown {
        let mut shown = Shown::of(80, 24);
        let first = seen(vifs, 100);
        let second = Seen { at: first.at + Duration::from_secs(2), ..seen(vifs, 102) };
        shown.screen.take(Ok(first));
        shown.screen.take(Ok(second));
        shown
    }

    fn lines(&mut self) -> Vec<String> {
        self.terminal.draw(|frame| draw(frame, &mut self.screen)).unwrap();
        let buffer = self.terminal.backend().buffer();
        let line = |cells: &[ratatui::buffer::Cell]| {
            let text: String = cells.iter().map(|cell| cell.symbol()).collect();
            text.trim_end().to_owned()
        };
        buffer.content().chunks(usize::from(buffer.area.width)).map(line).collect()
    }

    fn press(&mut self, keys: &[KeyCode]) -> Vec<String> {
        for &key in keys {
            assert!(self.screen.key(KeyEvent::new(key, KeyModifiers::NONE)).is_continue());
        }
        self.lines()
    }

    fn type_in(&mut self, text: &str) -> Vec<String> {
        let keys: Vec<KeyCode> = text.chars().map(KeyCode::Char).collect();
        self.press(&keys)
    }
}

#[track_caller]
fn has(lines: &[String], text: &str) {
    assert!(lines.iter().any(|line| line.contains(text)), "no {text:?} in\n{}", lines.join("\n"));
}

#[test]
fn vifs_are_shown_in_80_columns_those_with_most_first() {
    let mut shown = Shown::with_station(200);
    let lines = shown.lines();
    assert_eq!(lines[0], "fra1-a  up 1m 42s  configuration 12  ports 1/1  VIFs 199/200  BGP 0/1");
    assert_eq!(lines[1], " 1 ports   2 VIFs   3 drops   4 workers   5 BGP   6 tunnels");
    assert_eq!(
        lines[2],
        "VIF              PORT     STATE              RX▾           TX  DROP/S RX+TX"
    );
    assert_eq!(
        lines[3],
        "customer-200     cust0    up        200.0 Mbit/s   1.0 kbit/s    2000 ██"
    );
    has(&lines, "vlan 300, vrf vpc-200");
    assert_eq!(lines[23], KEYS);
    assert!(lines.iter().all(|line| line.chars().count() <= 80));
}

#[test]
fn rows_are_sorted_filtered_and_chosen() {
    let mut shown = Shown::with_station(200);
    let turned = shown.type_in("r");
    assert!(turned[3].starts_with("customer-1 "), "{turned:?}");
    // By RX, TX, DROP/S, trend, and then by name.
    let named = shown.type_in("ssss");
    assert!(named[2].starts_with("VIF▾"), "{}", named[2]);
    assert!(
        named[3].starts_with("customer-1 ") && named[4].starts_with("customer-10 "),
        "{named:?}"
    );
    shown.type_in("/port-d");
    let filtered = shown.press(&[KeyCode::Enter]);
    assert!(filtered[3].starts_with("customer-3 ") && filtered[4].is_empty(), "{filtered:?}");
    assert!(filtered[23].starts_with("/port-d "), "{}", filtered[23]);
    let alone = shown.press(&[KeyCode::Enter]);
    has(&alone, "vif customer-3  port cust0, vlan 103, vrf vpc-3, mtu 1500: port-down");
    has(&alone, "10s      1000   3.0 Mbit/s   3.0 Mbit/s");
    has(&alone, "no drops");
    let back = shown.press(&[KeyCode::Esc, KeyCode::Esc, KeyCode::Down, KeyCode::End]);
    has(&back, "customer-99 ");
    let none = shown.type_in("/nobody");
    has(&none, "nothing contains that");
}

#[test]
fn what_is_chosen_stays_chosen_when_the_order_changes() {
    let mut shown = Shown::with_station(9);
    shown.press(&[KeyCode::Down]);
    let alone = shown.type_in("r");
    has(&alone, "vlan 108, vrf vpc-8");
}

#[test]
fn all_views_are_drawn() {
    let mut shown = Shown::with_station(9);
    let ports = shown.type_in("1");
    has(&ports, "cust0        up         5.0 Gbit/s   1.5 kbit/s      31       0");
    let alone = shown.press(&[KeyCode::Enter]);
    has(&alone, "port cust0  interface eth1");
    has(&alone, "customer-9");
    assert_eq!(shown.screen.wanted(), Wanted { drops: true, tunnels: false });
    let drops = shown.type_in("3");
    has(&drops, "vif customer-1        foreign_source               10,200");
    has(&drops, "SECURITY: the source address belongs to another customer VIF of the same VRF.");
    let workers = shown.type_in("4");
    has(&workers, "     0    2    50%       3000    75%   30.0      1000    50%");
    has(&workers, "     1    3    50%       1000    25%   10.0      1000    50%");
    has(&workers, "an even share is 50%");
    let sessions = shown.type_in("5");
    has(&sessions, "customer-1     2001:db8:ffff::1   active");
    has(&sessions, "Connection refused");
    let tunnels = shown.type_in("6");
    assert_eq!(shown.screen.wanted(), Wanted { drops: false, tunnels: true });
    has(&tunnels, "customer-2       16777215 fd00:255:ffff::2         down  fd00:254::2 on fabric");
    has(&tunnels, "from fd00:255::1 by vtep vtep6, underlay fabric, mtu 1430");
    let of_vif = shown.press(&[KeyCode::Enter]);
    has(&of_vif, "vif customer-2  port cust0");
    shown.type_in("5");
    let help = shown.type_in("?");
    has(&help, "preamble, FCS and gap included");
    let again = shown.type_in("x");
    has(&again, "Connection refused");
}

#[test]
fn a_small_terminal_shows_what_fits_and_none_panics() {
    for (width, height) in [(1, 1), (20, 5), (40, 10), (300, 100)] {
        let mut shown = Shown::of(width, height);
        shown.lines();
        shown.screen.take(Ok(seen(50, 100)));
        for view in '1'..='6' {
            shown.type_in(&view.to_string());
            shown.press(&[KeyCode::Enter]);
            shown.type_in("?x");
        }
    }
    let mut shown = Shown::of(40, 10);
    shown.screen.take(Ok(seen(5, 100)));
    let lines = shown.lines();
    assert_eq!(lines[2], "VIF              PORT     STATE", "the last columns go first");
}

#[test]
fn a_station_that_does_not_answer_is_said_and_the_last_stays() {
    let mut shown = Shown::of(80, 24);
    let lines = shown.lines();
    has(&lines, "asking the station ...");
    shown.screen.take(Err("nobody answers: stationd is not running".into()));
    has(&shown.lines(), "nobody answers: stationd is not running");
    shown.screen.take(Ok(seen(5, 100)));
    shown.screen.take(Err("the connection broke".into()));
    let lines = shown.lines();
    assert!(lines[0].starts_with("the connection broke"), "{}", lines[0]);
    has(&lines, "customer-5");
    // One that started anew has no rates yet, instead of nonsense.
    shown.screen.take(Ok(seen(5, 1)));
    let drops = shown.lines();
    assert!(
        drops.iter().filter(|line| line.starts_with("customer-")).all(|line| line.contains(" 0 ")),
        "{drops:?}"
    );
    let quit = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert!(shown.screen.key(quit).is_break());
}
