//! The mirror and the real kernel, in a network namespace of the test's own.

#![allow(unsafe_code)] // unshare(2)

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, bounded};
use ipnet::IpNet;
use station::control::kernel::{ROUTE_PROTOCOL, best_table};
use station::mirror::{Hop, Hops, Mirror, Options, Plan, Table, Tap, Timing, Update, spawn};
use station::tables::VrfId;

use super::model::tap;
use super::table::Told;

const VRFS: [VrfId; 2] = [VrfId(0), VrfId(1)];
/// TAPs, the VRF of each, and the far ends of the cables that they are here.
const TAPS: [(&str, VrfId); 3] = [("v0.1", VRFS[0]), ("v0.2", VRFS[0]), ("v0.3", VRFS[1])];

pub fn run(command: &str) -> String {
    let words: Vec<&str> = command.split(' ').collect();
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs the body on a thread with a network namespace of its own, which ends with it.
pub fn in_new_namespace(body: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(|| {
        // SAFETY: no pointer is passed; only this thread's namespace changes.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0, "needs root");
        body();
    });
    thread.join().unwrap();
}

/// The TAP number n has 10.9.n.1/24 and fd09:n::1/64.
pub fn make_tap(n: usize) {
    let (name, _) = TAPS[n];
    run(&format!("ip link add {name} type veth peer name w{n}"));
    run(&format!("ip link set w{n} up"));
    run(&format!("ip link set {name} up"));
    run(&format!("ip address add 10.9.{n}.1/24 dev {name}"));
    run(&format!("ip address add fd09:{n}::1/64 dev {name} nodad"));
}

pub fn plan() -> Plan {
    let tables = VRFS.iter().flat_map(|&vrf| {
        let best = best_table(vrf);
        [(best, (vrf, Table::Best)), (best + 1, (vrf, Table::Alternates))]
    });
    let vif = |name: &str| -> Arc<str> { name.replace("v0.", "vif").into() };
    let taps = TAPS.iter().map(|&(name, vrf)| (name.to_owned(), tap(vrf, vif(name))));
    Plan { tables: tables.collect(), taps: taps.collect() }
}

struct World {
    mirror: Mirror,
    updates: Receiver<Update>,
    told: Told,
}

impl World {
    fn new(buffer: usize) -> World {
        (0..TAPS.len()).for_each(make_tap);
        let (sender, updates) = bounded(64);
        let options = Options { protocol: ROUTE_PROTOCOL, buffer };
        let mirror = spawn(options, Timing::default(), sender).unwrap();
        mirror.follow(plan());
        World { mirror, updates, told: Told::default() }
    }

    /// Waits until the mirror has told what the kernel has.
    fn agree(&mut self, what: &str) -> &Told {
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut truth = kernel();
        while self.told != truth {
            assert!(
                Instant::now() < deadline,
                "{what}: told and not there {:?}; there and not told {:?}; {:?}",
                self.told.without(&truth),
                truth.without(&self.told),
                self.mirror.status()
            );
            match self.updates.recv_timeout(Duration::from_millis(50)) {
                Ok(update) => self.told.take(update),
                Err(_) => truth = kernel(),
            }
        }
        &self.told
    }
}

/// The routes of all tables as iproute2 shows them, without those that no VIF of the VRF has.
fn kernel() -> Told {
    let mut told = Told::default();
    for (&number, &(vrf, table)) in &plan().tables {
        for family in ["-4", "-6"] {
            let text = Command::new("ip")
                .args([
                    family,
                    "-j",
                    "route",
                    "show",
                    "proto",
                    "bird",
                    "table",
                    &number.to_string(),
                ])
                .output()
                .unwrap();
            let routes: Vec<serde_json::Value> =
                serde_json::from_slice(&text.stdout).unwrap_or_default();
            for route in routes {
                let prefix = prefix(route["dst"].as_str().unwrap(), family);
                let ways = route["nexthops"].as_array().cloned().unwrap_or_else(|| vec![route]);
                let mut hops: Vec<Hop> = ways.iter().filter_map(|way| hop(way, vrf)).collect();
                hops.sort();
                if !hops.is_empty() {
                    told.0.insert((vrf, table, prefix), Hops::from(hops));
                }
            }
        }
    }
    told
}

fn prefix(text: &str, family: &str) -> IpNet {
    let text = match (text, family) {
        ("default", "-4") => "0.0.0.0/0",
        ("default", _) => "::/0",
        (text, _) => text,
    };
    text.parse().unwrap_or_else(|_| IpNet::from(text.parse::<std::net::IpAddr>().unwrap()))
}

fn hop(way: &serde_json::Value, vrf: VrfId) -> Option<Hop> {
    let dead = way["flags"].as_array().is_some_and(|flags| flags.iter().any(|f| f == "dead"));
    let plan = plan();
    let Tap { vrf: of, vif, .. } = plan.taps.get(way["dev"].as_str()?)?;
    let via = way["gateway"].as_str().or(way["via"]["host"].as_str())?;
    let weight = way["weight"].as_u64().unwrap_or(1) as u16;
    let hop = Hop { vif: vif.clone(), address: via.parse().unwrap(), weight };
    (*of == vrf && !dead).then_some(hop)
}

fn route(words: &str) {
    run(&format!("ip {words}"));
}

pub fn batch(lines: &str) {
    let mut ip = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    ip.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    assert!(ip.wait().unwrap().success());
}

#[test]
#[ignore = "needs root and network namespaces: run by scripts/test"]
fn routes_of_both_families_are_told_as_they_change() {
    in_new_namespace(|| {
        let mut world = World::new(32 << 20);
        route("route add 10.1.0.0/16 via 10.9.0.2 proto bird table 10000 metric 32");
        route("-6 route add fd01::/32 via fd09:0::2 proto bird table 10000 metric 32");
        route("route add default via 10.9.2.2 proto bird table 10002 metric 32");
        assert_eq!(world.agree("added").0.len(), 3);
        route("route replace 10.1.0.0/16 via 10.9.1.2 proto bird table 10000 metric 32");
        world.agree("replaced");
        route(
            "route replace 10.1.0.0/16 proto bird table 10000 metric 32 nexthop via 10.9.0.2 weight 3 nexthop via 10.9.1.2",
        );
        let told = world.agree("multipath");
        let best = &told.0[&(VRFS[0], Table::Best, "10.1.0.0/16".parse().unwrap())];
        assert_eq!(best.iter().map(|hop| hop.weight).collect::<Vec<_>>(), [3, 1]);
        route("route add 10.1.0.0/16 via 10.9.1.2 proto bird table 10001 metric 32");
        route("-6 route append fd01::/32 via fd09:1::2 proto bird table 10000 metric 32");
        world.agree("IPv6 multipath by appending, as BIRD does it");
        route("-6 route del fd01::/32 via fd09:0::2 table 10000");
        assert_eq!(world.agree("one way of two").0.len(), 4);
        route("-6 route del fd01::/32 table 10000");
        route("route del 10.1.0.0/16 table 10000");
        assert_eq!(world.agree("deleted").0.len(), 2);
        route("route add 10.4.0.0/16 via inet6 fd09:0::2 proto bird table 10000 metric 32");
        world.agree("IPv4 by an IPv6 neighbor");
        // An object that changes its meaning, and one that goes.
        route("nexthop add id 7 via 10.9.0.2 dev v0.1");
        route("route add 10.5.0.0/16 nhid 7 proto bird table 10000 metric 32");
        world.agree("by a next-hop object");
        route("nexthop replace id 7 via 10.9.1.2 dev v0.2");
        world.agree("the object changed");
        route("nexthop del id 7");
        world.agree("the object is gone");
        assert_eq!(world.mirror.status().overflows, 0);
    });
}

#[test]
#[ignore = "needs root and network namespaces: run by scripts/test"]
fn nothing_is_taken_that_is_not_on_a_tap_of_the_vrf() {
    in_new_namespace(|| {
        let mut world = World::new(32 << 20);
        route("route add 10.1.0.0/16 via 10.9.0.2 proto bird table 10000 metric 32");
        // Another VRF's TAP, a device, no gateway, another protocol, a blackhole.
        route("route add 10.2.0.0/16 via 10.9.2.2 proto bird table 10000 metric 32");
        route("route add 10.3.0.0/16 via 10.9.0.3 dev w0 onlink proto bird table 10000 metric 32");
        route("route add 10.4.0.0/16 dev v0.1 proto bird table 10000 metric 32");
        route("route add 10.5.0.0/16 via 10.9.0.2 proto static table 10000 metric 32");
        route("route add blackhole 10.6.0.0/16 proto bird table 10000 metric 32");
        route("route add 10.7.0.0/16 via 10.9.0.2 proto bird table 9999 metric 32");
        let only = |world: &mut World| {
            let told = world.agree("refused").clone();
            let prefixes: Vec<String> = told.0.keys().map(|(.., p)| p.to_string()).collect();
            assert_eq!(prefixes, ["10.1.0.0/16"]);
        };
        only(&mut world);
        // A good route that turns into a bad one is withdrawn.
        route("route replace 10.1.0.0/16 via 10.9.2.2 proto bird table 10000 metric 32");
        assert_eq!(world.agree("turned bad").0.len(), 0);
        route("route replace 10.1.0.0/16 via 10.9.0.2 proto bird table 10000 metric 32");
        only(&mut world);
        let status = world.mirror.status();
        let family = &status.families[&(VRFS[0], false)];
        assert!(family.refused >= 4, "{family:?}");
        assert!(family.last_error.is_some());
    });
}

#[test]
#[ignore = "needs root and network namespaces: run by scripts/test"]
fn what_the_kernel_removes_without_a_word_is_found_out() {
    in_new_namespace(|| {
        let mut world = World::new(32 << 20);
        let fill = || {
            let mut lines = String::new();
            for n in 0..200 {
                for (tap, family, net) in [(0, "-4", "10.1"), (1, "-4", "10.2"), (0, "-6", "fd01")]
                {
                    let line = match family {
                        "-4" => format!("route replace {net}.{n}.0/24 via 10.9.{tap}.2"),
                        _ => format!("route replace {net}:{n:x}::/32 via fd09:{tap}::2"),
                    };
                    lines += &format!("{line} proto bird table 10000 metric 32\n");
                }
            }
            lines += "route replace 10.3.0.0/16 proto bird table 10000 metric 32 \
                      nexthop via 10.9.0.2 nexthop via 10.9.1.2\n";
            batch(&lines);
        };
        fill();
        assert_eq!(world.agree("filled").0.len(), 601);
        run("ip link set v0.1 down");
        assert_eq!(world.agree("link down").0.len(), 201);
        run("ip link set v0.1 up");
        run("ip address add fd09:0::1/64 dev v0.1 nodad");
        fill();
        assert_eq!(world.agree("link up again").0.len(), 601);
        run("ip address del 10.9.0.1/24 dev v0.1");
        world.agree("address deleted");
        run("ip address add 10.9.0.1/24 dev v0.1");
        fill();
        assert_eq!(world.agree("address back").0.len(), 601);
        // Down and up at once, and a TAP that is made again under another index.
        run("ip link set v0.1 down");
        run("ip link set v0.1 up");
        world.agree("flapped");
        run("ip link del v0.1");
        make_tap(0);
        world.agree("made again");
        fill();
        assert_eq!(world.agree("filled again").0.len(), 601);
        let status = world.mirror.status();
        assert!(status.families[&(VRFS[0], false)].resyncs >= 5, "{status:?}");
    });
}

#[test]
#[ignore = "needs root and network namespaces: run by scripts/test"]
fn lost_notifications_are_made_up_for() {
    in_new_namespace(|| {
        // The smallest buffer that the kernel gives: a few notifications.
        let mut world = World::new(1);
        let mut lines = String::new();
        let mut expected: BTreeMap<u32, &str> = BTreeMap::new();
        for n in 0..20_000_u32 {
            let (action, via) = match n % 3 {
                0 => ("replace", "10.9.0.2"),
                1 => ("replace", "10.9.1.2"),
                _ => ("replace", "10.9.0.3"),
            };
            let net = n % 7000;
            expected.insert(net, via);
            lines += &format!(
                "route {action} 10.{}.{}.0/24 via {via} proto bird table 10000 metric 32\n",
                100 + net / 250,
                net % 250
            );
        }
        batch(&lines);
        assert_eq!(world.agree("after the burst").0.len(), expected.len());
        assert!(world.mirror.status().overflows > 0, "nothing was lost: the test tests nothing");
        // Nothing more is told now: what the mirror has stays right.
        std::thread::sleep(Duration::from_millis(500));
        world.agree("later");
    });
}
