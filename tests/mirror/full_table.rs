//! A full table of real routes (`STATION_DATA`, else ../shared/data) through the kernel into the FIB: how
//! long that takes, compared to the kernel alone, and that at the end both are the same.

use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crossbeam::channel::bounded;
use ipnet::IpNet;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use station::config;
use station::control::kernel::{ROUTE_PROTOCOL, best_table};
use station::control::{Engine, Limits, PortFacts};
use station::fib::{self, Fib};
use station::mirror::{Options, Plan, Table, Timing, Update, spawn};
use station::publish::Publisher;
use station::tables::{Snapshot, VrfId};
use station::wire::ethernet::Mac;

use super::netlink::{in_new_namespace, make_tap, run};

const CONFIG: &str = r#"
[[port]]
name = "p0"
interface = "eth0"
role = "core"
[[vrf]]
name = "red"
kind = "vpc"
[[vif]]
name = "vif1"
port = "p0"
vlan = 1
vrf = "red"
addresses = ["10.9.0.1/24", "fd09:0::1/64"]
[[vif]]
name = "vif2"
port = "p0"
vlan = 2
vrf = "red"
addresses = ["10.9.1.1/24", "fd09:1::1/64"]
"#;

/// The prefixes of a file.
fn prefixes(name: &str) -> Option<Vec<IpNet>> {
    let directory =
        std::env::var_os("STATION_DATA").map_or_else(|| "../shared/data".into(), PathBuf::from);
    let path = directory.join(name);
    if !path.exists() {
        println!("skipped: {} is not there", path.display());
        return None;
    }
    let mut gzip = Command::new("gzip").arg("-dc").arg(path).stdout(Stdio::piped()).spawn().ok()?;
    let mut text = String::new();
    gzip.stdout.take()?.read_to_string(&mut text).ok()?;
    gzip.wait().ok()?;
    let mut all: Vec<IpNet> =
        text.lines().filter_map(|line| line.parse::<IpNet>().ok()).map(|net| net.trunc()).collect();
    all.sort();
    all.dedup();
    Some(all)
}

/// The next hop of a prefix: one of four, two on each VIF.
fn next_hop(prefix: &IpNet) -> (usize, IpAddr) {
    let hash = match prefix.addr() {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(address) => (address.to_bits() >> 64) as u64,
    };
    let hash = (hash ^ u64::from(prefix.prefix_len())).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60;
    let (tap, host) = ((hash & 1) as usize, 2 + (hash >> 1 & 1));
    let address = match prefix {
        IpNet::V4(_) => format!("10.9.{tap}.{host}"),
        IpNet::V6(_) => format!("fd09:{tap}::{host}"),
    };
    (tap, address.parse().unwrap())
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// RTM_NEWROUTE for each prefix, many in a datagram. Made before time is taken.
fn messages(prefixes: &[IpNet], table: u32) -> Vec<Vec<u8>> {
    let index = |tap: usize| -> u32 {
        let text = run(&format!("ip -o link show v0.{}", tap + 1));
        text.split(':').next().unwrap().parse().unwrap()
    };
    let devices = [index(0), index(1)];
    let mut all = Vec::new();
    for part in prefixes.chunks(128) {
        let mut datagram = Vec::new();
        for prefix in part {
            let (tap, via) = next_hop(prefix);
            let mut attributes = Vec::new();
            let mut attribute = |kind: u16, value: &[u8]| {
                attributes.extend((value.len() as u16 + 4).to_ne_bytes());
                attributes.extend(kind.to_ne_bytes());
                attributes.extend(value);
            };
            attribute(1, &octets(prefix.addr()));
            attribute(5, &octets(via));
            attribute(4, &devices[tap].to_ne_bytes());
            attribute(6, &32_u32.to_ne_bytes());
            attribute(15, &table.to_ne_bytes());
            let family = if prefix.addr().is_ipv4() { 2 } else { 10 };
            datagram.extend((16 + 12 + attributes.len() as u32).to_ne_bytes());
            datagram.extend(24_u16.to_ne_bytes());
            datagram.extend(0x0501_u16.to_ne_bytes()); // request, replace, create
            datagram.extend([0; 8]);
            datagram.extend([
                family,
                prefix.prefix_len(),
                0,
                0,
                252,
                ROUTE_PROTOCOL,
                0,
                1,
                0,
                0,
                0,
                0,
            ]);
            datagram.extend(attributes);
        }
        all.push(datagram);
    }
    all
}

fn load(messages: &[Vec<u8>]) -> Duration {
    let mut socket = Socket::new(NETLINK_ROUTE).unwrap();
    socket.bind_auto().unwrap();
    socket.connect(&SocketAddr::new(0, 0)).unwrap();
    let start = Instant::now();
    for message in messages {
        socket.send(message, 0).unwrap();
    }
    start.elapsed()
}

/// Processor time of this process's threads of a name, in seconds.
fn processor_time(name: &str) -> f64 {
    let mut ticks = 0;
    for task in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        if let Some((head, rest)) = stat.rsplit_once(')')
            && head.ends_with(&format!("({name}"))
        {
            let fields: Vec<&str> = rest.split_whitespace().collect();
            ticks += fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        }
    }
    ticks as f64 / 100.0
}

fn taps() {
    (0..3).for_each(make_tap);
}

#[test]
#[ignore = "needs root, network namespaces and route data, and takes a minute"]
fn a_full_table_is_in_the_fib_as_fast_as_the_kernel_has_it() {
    for (file, family) in [("rib-20260511-v4.txt.gz", "ipv4"), ("rib-20260511-v6.txt.gz", "ipv6")] {
        let Some(prefixes) = prefixes(file) else { return };
        let theirs = prefixes.clone();
        let (sender, alone) = bounded(1);
        in_new_namespace(move || {
            taps();
            let messages = messages(&theirs, best_table(VrfId(0)));
            sender.send(load(&messages)).unwrap();
        });
        let alone = alone.recv().unwrap();
        in_new_namespace(move || mirrored(&prefixes, family, alone));
    }
}

fn mirrored(prefixes: &[IpNet], family: &str, alone: Duration) {
    taps();
    let fib = Fib::new(fib::Limits::default()).unwrap();
    let (publisher, _) = Publisher::new(1, Snapshot::default());
    let mut engine = Engine::new(fib, publisher, Limits::for_vifs(64));
    let config = config::parse_as(CONFIG, Path::new("test")).unwrap();
    let facts = PortFacts { mac: Mac([2, 0, 0, 0, 0, 1]), mtu: 1500, link_up: true };
    engine.commit(&config, &[facts]).unwrap();
    let red = engine.vrf("red").unwrap();
    let (sender, updates) = bounded(64);
    let mirror = spawn(Options::for_protocol(ROUTE_PROTOCOL), Timing::default(), sender).unwrap();
    let tap = |name: &str, vif: &str| (name.to_owned(), super::model::tap(red, vif.into()));
    mirror.follow(Plan {
        tables: [(best_table(red), (red, Table::Best))].into(),
        taps: [tap("v0.1", "vif1"), tap("v0.2", "vif2")].into(),
    });
    std::thread::sleep(Duration::from_millis(300));
    let take = |engine: &mut Engine<Publisher<Snapshot>>, update| match update {
        Update::Changes(changes) => engine.learned(changes),
        Update::Range(range) => {
            engine.learned_range(&range);
        }
    };
    updates.try_iter().for_each(|update| take(&mut engine, update));
    let messages = messages(prefixes, best_table(red));
    let v6 = family == "ipv6";
    let (mut engine_busy, mut longest) = (Duration::ZERO, Duration::ZERO);
    let start = Instant::now();
    let loader = std::thread::spawn(move || load(&messages));
    while engine.learning(red, v6).routes < prefixes.len() {
        assert!(start.elapsed() < Duration::from_secs(120), "{:?}", engine.learning(red, v6));
        let Ok(update) = updates.recv_timeout(Duration::from_secs(1)) else { continue };
        let began = Instant::now();
        take(&mut engine, update);
        engine_busy += began.elapsed();
        longest = longest.max(began.elapsed());
    }
    let all = start.elapsed();
    let loaded = loader.join().unwrap();
    println!(
        "{family}: {} routes; kernel alone {:.2} s; kernel {:.2} s and FIB {:.2} s with the mirror; \
         processor time: mirror {:.2} s, engine {:.2} s (longest batch {:.1} ms); overflows {}",
        prefixes.len(),
        alone.as_secs_f64(),
        loaded.as_secs_f64(),
        all.as_secs_f64(),
        processor_time("mirror"),
        engine_busy.as_secs_f64(),
        longest.as_secs_f64() * 1000.0,
        mirror.status().overflows,
    );
    // Every route, in the order of prefixes, leads where it was sent.
    let mut expected = prefixes.iter();
    for route in engine.routes(red).filter(|route| route.source == station::control::Source::Bgp) {
        let prefix = expected.next().unwrap();
        assert_eq!(route.prefix, *prefix);
        let hops: Vec<IpAddr> = engine.members(route.group).map(|(a, _)| a.address).collect();
        assert_eq!(hops, [next_hop(prefix).1]);
    }
    assert_eq!(expected.next(), None);
}
