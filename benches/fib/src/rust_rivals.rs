//! Published Rust crates.

use crate::cases::{Addresses, Case};
use crate::data::Family;
use crate::memory::Stopwatch;
use crate::{memory, ours};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use treebitmap::IpLookupTable;

fn built<T>(make: impl FnOnce() -> T) -> (T, f64, f64) {
    let before = memory::used();
    let start = Stopwatch::start();
    let table = make();
    let seconds = start.seconds();
    (table, (memory::used() - before) as f64 / 1048576.0, seconds)
}

pub fn cases(family: &Family) -> Vec<Case> {
    let nets: Vec<IpNet> =
        family.routes.iter().map(|route| ours::net(route, family.bits)).collect();
    let values: Vec<u32> = family.routes.iter().map(|route| route.value).collect();
    let routes = || nets.iter().zip(values.iter().copied());
    let case = |name: &str, run: Box<dyn FnMut(&Addresses) -> u64>, mib, build_s| Case {
        implementation: name.into(),
        mode: "single",
        run,
        mib,
        build_s,
    };
    if family.bits == 32 {
        let (trie, mib, build_s) = built(|| {
            routes()
                .filter_map(|(net, v)| match net {
                    IpNet::V4(net) => Some((*net, v)),
                    IpNet::V6(_) => None,
                })
                .collect::<PrefixMap<Ipv4Net, u32>>()
        });
        let prefix_trie = case(
            "prefix-trie",
            Box::new(move |addresses| {
                let host = |addr: u32| Ipv4Net::from(Ipv4Addr::from_bits(addr));
                addresses
                    .v4
                    .iter()
                    .map(|&a| trie.get_lpm(&host(a)).map_or(0, |(_, v)| u64::from(*v)))
                    .sum()
            }),
            mib,
            build_s,
        );
        let (table, mib, build_s) = built(|| {
            let mut table = IpLookupTable::new();
            for (net, v) in routes() {
                if let IpNet::V4(net) = net {
                    table.insert(net.network(), u32::from(net.prefix_len()), v);
                }
            }
            table
        });
        let treebitmap = case(
            "treebitmap",
            Box::new(move |addresses| {
                addresses
                    .v4
                    .iter()
                    .map(|&a| {
                        table
                            .longest_match(Ipv4Addr::from_bits(a))
                            .map_or(0, |(_, _, v)| u64::from(*v))
                    })
                    .sum()
            }),
            mib,
            build_s,
        );
        vec![prefix_trie, treebitmap]
    } else {
        let (trie, mib, build_s) = built(|| {
            routes()
                .filter_map(|(net, v)| match net {
                    IpNet::V6(net) => Some((*net, v)),
                    IpNet::V4(_) => None,
                })
                .collect::<PrefixMap<Ipv6Net, u32>>()
        });
        let prefix_trie = case(
            "prefix-trie",
            Box::new(move |addresses| {
                let host = |addr: u128| Ipv6Net::from(Ipv6Addr::from_bits(addr));
                addresses
                    .v6
                    .iter()
                    .map(|&a| trie.get_lpm(&host(a)).map_or(0, |(_, v)| u64::from(*v)))
                    .sum()
            }),
            mib,
            build_s,
        );
        let (table, mib, build_s) = built(|| {
            let mut table = IpLookupTable::new();
            for (net, v) in routes() {
                if let IpNet::V6(net) = net {
                    table.insert(net.network(), u32::from(net.prefix_len()), v);
                }
            }
            table
        });
        let treebitmap = case(
            "treebitmap",
            Box::new(move |addresses| {
                addresses
                    .v6
                    .iter()
                    .map(|&a| {
                        table
                            .longest_match(Ipv6Addr::from_bits(a))
                            .map_or(0, |(_, _, v)| u64::from(*v))
                    })
                    .sum()
            }),
            mib,
            build_s,
        );
        vec![prefix_trie, treebitmap]
    }
}
