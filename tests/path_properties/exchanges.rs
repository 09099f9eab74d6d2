//! Random VRFs with exchanges between them: who reaches whom is what the configuration declares, by an oracle that
//! knows prefixes and names, and nothing of groups or adjacencies.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net};
use proptest::prelude::*;
use station::port::memory::MemoryPort;
use station::tables::{PortId, Verdict};
use station::wire::ethernet::Mac;

use crate::common::packets::{Seen, frame, udp};
use crate::common::rig::Rig;
use crate::common::{SECOND, parse, port_mac};
use crate::runner;

const VRFS: usize = 4;

/// What a route of a VRF does.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Does {
    Forward,
    Blackhole,
    Unreachable,
}

#[derive(Clone, Debug)]
struct World {
    /// By VRF.
    routes: Vec<Vec<(Ipv4Net, Does)>>,
    /// From, to, prefixes.
    exchanges: Vec<(usize, usize, Vec<Ipv4Net>)>,
}

/// A prefix of few addresses that are near each other, so that many overlap.
fn net() -> impl Strategy<Value = Ipv4Net> {
    let address = (0..4u8, 0..4u8, 0..4u8).prop_map(|(b, c, d)| Ipv4Addr::new(10, b, c, d));
    let net = (address, prop::sample::select(vec![8, 15, 16, 23, 24, 31, 32]));
    let net = net.prop_map(|(address, length)| Ipv4Net::new(address, length).unwrap().trunc());
    prop_oneof![9 => net, 1 => Just(Ipv4Net::default())]
}

fn world() -> impl Strategy<Value = World> {
    let does = prop_oneof![8 => Just(Does::Forward), 1 => Just(Does::Blackhole), 1 => Just(Does::Unreachable)];
    let routes = prop::collection::vec((net(), does), 0..6);
    let exchange = (0..VRFS, 0..VRFS, prop::collection::vec(net(), 1..4));
    let routes = prop::collection::vec(routes, VRFS);
    (routes, prop::collection::vec(exchange, 0..8)).prop_map(|(mut routes, mut exchanges)| {
        for routes in &mut routes {
            routes.sort_by_key(|(net, _)| *net);
            routes.dedup_by_key(|(net, _)| *net);
        }
        exchanges.retain(|(from, to, _)| from != to);
        let mut taken = Vec::new();
        for (_, to, prefixes) in &mut exchanges {
            prefixes.retain(|net| {
                let is_new = !taken.contains(&(*to, *net));
                taken.push((*to, *net));
                is_new
            });
        }
        exchanges.retain(|(.., prefixes)| !prefixes.is_empty());
        World { routes, exchanges }
    })
}

/// What a route that wins says.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Own(Does),
    By(usize),
    None,
}

impl World {
    fn text(&self) -> String {
        let mut text = "[station]\nname = \"x\"\nmax_vifs = 16\n[[port]]\nname = \"core\"\ninterface = \"eth0\"\nrole = \"core\"\n".to_owned();
        for (n, routes) in self.routes.iter().enumerate() {
            let _ = write!(
                text,
                "[[vrf]]\nname = \"v{n}\"\nkind = \"vpc\"\n[[vif]]\nname = \"i{n}\"\nport = \"core\"\nvlan = {}\nvrf = \"v{n}\"\n\
                 addresses = [\"192.168.{n}.1/24\"]\n[[neighbor]]\nvif = \"i{n}\"\naddress = \"192.168.{n}.2\"\nmac = \"{}\"\n",
                100 + n,
                mac(n)
            );
            for (net, does) in routes {
                let to = match does {
                    Does::Forward => format!("via = [{{ address = \"192.168.{n}.2\" }}]"),
                    Does::Blackhole => "action = \"blackhole\"".to_owned(),
                    Does::Unreachable => "action = \"unreachable\"".to_owned(),
                };
                let _ = write!(text, "[[route]]\nvrf = \"v{n}\"\nprefix = \"{net}\"\n{to}\n");
            }
        }
        for (n, (from, to, prefixes)) in self.exchanges.iter().enumerate() {
            let prefixes: Vec<String> = prefixes.iter().map(ToString::to_string).collect();
            let _ = write!(
                text,
                "[[exchange]]\nname = \"e{n}\"\nfrom = \"v{from}\"\nto = \"v{to}\"\nprefixes = {prefixes:?}\n"
            );
        }
        text
    }

    fn way(&self, vrf: usize, address: Ipv4Addr) -> Way {
        let own = self.routes[vrf].iter().map(|(net, does)| (*net, Way::Own(*does)));
        let exchanges = self.exchanges.iter().enumerate().filter(|(_, (_, to, _))| *to == vrf);
        let by =
            exchanges.flat_map(|(n, (.., nets))| nets.iter().map(move |net| (*net, Way::By(n))));
        let covers = own.chain(by).filter(|(net, _)| net.contains(&address));
        // Of the same prefix the VRF's own route comes first.
        let best = covers.max_by_key(|(net, way)| (net.prefix_len(), matches!(way, Way::Own(_))));
        best.map_or(Way::None, |(_, way)| way)
    }

    /// The verdict, and by which VRF's VIF and which exchange the packet leaves.
    fn fate(
        &self,
        vrf: usize,
        from: Ipv4Addr,
        to: Ipv4Addr,
    ) -> (&'static str, Option<(usize, Option<usize>)>) {
        let does = |does, way| match does {
            Does::Forward => ("forward", Some(way)),
            Does::Blackhole => ("drop(blackhole)", None),
            Does::Unreachable => ("punt(unreachable)", None),
        };
        match self.way(vrf, to) {
            Way::None => ("punt(no_route)", None),
            Way::Own(own) => does(own, (vrf, None)),
            Way::By(n) => {
                let exporter = self.exchanges[n].0;
                let is_back = match self.way(exporter, from) {
                    Way::None => true,
                    Way::By(back) => self.exchanges[back].0 == vrf,
                    Way::Own(_) => false,
                };
                match self.way(exporter, to) {
                    _ if !is_back => ("drop(exchange_source)", None),
                    Way::Own(own) => does(own, (exporter, Some(n))),
                    Way::By(_) | Way::None => ("punt(no_route)", None),
                }
            }
        }
    }
}

fn mac(vrf: usize) -> Mac {
    Mac([2, 0, 0, 0, 9, vrf as u8])
}

/// Addresses in and around the prefixes.
fn address() -> impl Strategy<Value = Ipv4Addr> {
    (0..5u8, 0..5u8, 0..5u8).prop_map(|(b, c, d)| Ipv4Addr::new(10, b, c, d))
}

#[test]
fn who_reaches_whom_by_exchanges_is_what_is_declared() {
    let packets = prop::collection::vec((0..VRFS, address(), address()), 64);
    let mut seen = std::collections::BTreeMap::<String, u32>::new();
    let tally = std::cell::RefCell::new(&mut seen);
    runner(150)
        .run(&(world(), world(), packets), |(first, second, packets)| {
            // A commit leads from one to the other; what passes is judged by the second alone.
            let mut rig = Rig::new(&first.text(), vec![MemoryPort::new(256)], 512, 128);
            let config = parse(&second.text());
            rig.engine.commit(&config, &crate::common::facts(&config)).unwrap();
            for vrf in 0..VRFS {
                let id = rig.engine.vrf(&format!("v{vrf}")).unwrap();
                let fib: Vec<IpNet> = rig.engine.routes(id).map(|route| route.prefix).collect();
                for (net, _) in &second.routes[vrf] {
                    prop_assert!(fib.contains(&IpNet::V4(*net)));
                }
            }
            let packets: Vec<_> = packets.into_iter().filter(|(_, from, to)| from != to).collect();
            let frame = |(vrf, from, to): &(usize, Ipv4Addr, Ipv4Addr)| {
                let packet = udp(&from.to_string(), &to.to_string(), 100);
                frame(port_mac(0), mac(*vrf), &[(0x8100, 100 + *vrf as u16)], 0x0800, &packet)
            };
            let frames: Vec<Vec<u8>> = packets.iter().map(frame).collect();
            let verdicts = rig.burst(SECOND, PortId(0), &frames);
            let mut sent = rig.take_sent(PortId(0)).into_iter();
            let mut passed = vec![0; second.exchanges.len()];
            for ((vrf, from, to), (_, verdict)) in packets.iter().zip(verdicts) {
                let (said, way) = second.fate(*vrf, *from, *to);
                let is = match verdict {
                    Verdict::Forward => "forward".to_owned(),
                    other => other.to_string(),
                };
                prop_assert_eq!(&is, said, "{} to {} in v{} of {:?}", from, to, vrf, second);
                let crossed = way.is_some_and(|(_, by)| by.is_some());
                *tally.borrow_mut().entry(format!("{said} {crossed}")).or_default() += 1;
                if let Some((egress, by)) = way {
                    let leaves = Seen::read(&sent.next().unwrap());
                    prop_assert_eq!(leaves.to, mac(egress));
                    prop_assert_eq!(leaves.vlans(), vec![(0x8100, 100 + egress as u16)]);
                    if let Some(n) = by {
                        passed[n] += 1;
                    }
                }
            }
            prop_assert!(sent.next().is_none());
            for (n, packets) in passed.into_iter().enumerate() {
                let tables = rig.engine.tables();
                let name = format!("e{n}");
                let exchange = tables.exchanges.iter().flatten().find(|known| *known.name == *name);
                prop_assert_eq!(exchange.unwrap().passed.get(), [packets, 100 * packets]);
            }
            rig.check();
            Ok(())
        })
        .unwrap();
    for often in
        ["forward true", "forward false", "drop(exchange_source) false", "punt(no_route) false"]
    {
        assert!(seen.get(often).is_some_and(|n| *n >= 20), "{often} is rare: {seen:?}");
    }
}
