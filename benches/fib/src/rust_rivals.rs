//! Published Rust crates.

use crate::cases::{Addresses, Case};
use crate::data::Family;
use crate::memory;
use crate::memory::Stopwatch;
use ipnet::{Ipv4Net, Ipv6Net};
use prefix_trie::{Prefix, PrefixMap};
use std::net::{Ipv4Addr, Ipv6Addr};
use treebitmap::IpLookupTable;
use treebitmap::address::Address;

/// What `make` makes, its MiB, and the seconds that it takes.
fn built<T>(make: impl FnOnce() -> T) -> (T, f64, f64) {
    let before = memory::used();
    let start = Stopwatch::start();
    let table = make();
    let seconds = start.seconds();
    (table, (memory::used() - before) as f64 / 1048576.0, seconds)
}

pub fn cases(family: &Family) -> Vec<Case> {
    if family.bits == 32 {
        let ip = |key: u128| Ipv4Addr::from_bits((key >> 96) as u32);
        let net = move |key, len| Ipv4Net::new(ip(key), len).unwrap();
        of(family, |a| &a.v4, Ipv4Addr::from_bits, Ipv4Net::from, ip, net)
    } else {
        let net = |key, len| Ipv6Net::new(Ipv6Addr::from_bits(key), len).unwrap();
        let ip = Ipv6Addr::from_bits;
        of(family, |a| &a.v6, ip, Ipv6Net::from, ip, net)
    }
}

/// Both crates with a family's routes: its addresses as integers, as addresses, as host prefixes; its prefixes' first
/// addresses, and the prefixes.
fn of<A: Copy + 'static, Ip: Address + 'static, Net: Prefix + Copy + 'static>(
    family: &Family,
    addresses: fn(&Addresses) -> &Vec<A>,
    ip: fn(A) -> Ip,
    host: fn(Ip) -> Net,
    first: impl Fn(u128) -> Ip,
    net: impl Fn(u128, u8) -> Net,
) -> Vec<Case> {
    let case = |name: &str, mib, build_s, run: Box<dyn FnMut(&Addresses) -> u64>| Case {
        implementation: name.into(),
        mode: "single",
        run,
        mib,
        build_s,
    };
    let nets: Vec<(Net, u32)> =
        family.routes.iter().map(|route| (net(route.key, route.len), route.value)).collect();
    let (trie, mib, build_s) = built(|| nets.iter().copied().collect::<PrefixMap<Net, u32>>());
    let trie = case(
        "prefix-trie",
        mib,
        build_s,
        Box::new(move |all| {
            let value = |&addr: &A| trie.get_lpm(&host(ip(addr))).map_or(0, |(_, v)| u64::from(*v));
            addresses(all).iter().map(value).sum()
        }),
    );
    let (table, mib, build_s) = built(|| {
        let mut table = IpLookupTable::new();
        for route in &family.routes {
            table.insert(first(route.key), u32::from(route.len), route.value);
        }
        table
    });
    let treebitmap = case(
        "treebitmap",
        mib,
        build_s,
        Box::new(move |all| {
            let value =
                |&addr: &A| table.longest_match(ip(addr)).map_or(0, |(_, _, v)| u64::from(*v));
            addresses(all).iter().map(value).sum()
        }),
    );
    vec![trie, treebitmap]
}
