//! Thousands of small VRFs, another one in every lane.

use crate::cases::median;
use crate::data::value_of;
use crate::fib::{Fib, Limits};
use crate::memory::Stopwatch;
use crate::random::Random;
use crate::report::{Report, VrfRow};
use crate::{Options, memory};
use ipnet::{IpNet, Ipv4Net};
use prefix_trie::PrefixMap;
use std::net::Ipv4Addr;

const VRFS: u32 = 4096;

/// A tenant's routes: a default, and /24, /30 and /32 in four places of 10/8.
fn tenant(routes: usize, random: &mut Random) -> Vec<(Ipv4Net, u32)> {
    let sites: Vec<u32> = (0..4).map(|_| 0x0A00_0000 | (random.below(256) as u32) << 16).collect();
    let mut table = vec![(Ipv4Net::default(), 1)];
    while table.len() < routes {
        let len = [24, 24, 24, 24, 24, 24, 30, 30, 32, 32][random.below(10)];
        let addr = Ipv4Addr::from_bits(sites[random.below(4)] | random.below(1 << 16) as u32);
        let net = Ipv4Net::new(addr, len).unwrap().trunc();
        table.push((net, value_of(u128::from(net.network().to_bits()), len, 0)));
    }
    table
}

pub fn run(options: &Options, report: &mut Report) {
    for routes in [10, 100, 1000] {
        let mut random = Random::new(3);
        let tables: Vec<_> = (0..VRFS).map(|_| tenant(routes, &mut random)).collect();
        let mut fib = Fib::new(Limits::default()).unwrap();
        for (vrf, table) in (0..).zip(&tables) {
            fib.add_vrf(vrf).unwrap();
            let changes: Vec<_> = table.iter().map(|&(net, v)| (IpNet::V4(net), Some(v))).collect();
            fib.apply(vrf, &changes).unwrap();
        }
        let bytes = fib.stats().v4.fib_bytes as f64 / f64::from(VRFS);
        let count = if options.quick { 1 << 18 } else { 1 << 21 };
        let (vrfs, addrs): (Vec<u32>, Vec<u32>) = (0..count)
            .map(|_| {
                let vrf = random.below(VRFS as usize);
                let (net, _) = tables[vrf][random.below(routes)];
                let host = random.next() as u32 & u32::from(net.hostmask());
                (vrf as u32, net.network().to_bits() | host)
            })
            .unzip();
        let before = memory::used();
        let tries: Vec<PrefixMap<Ipv4Net, u32>> =
            tables.iter().map(|table| table.iter().copied().collect()).collect();
        let trie_bytes = (memory::used() - before) as f64 / f64::from(VRFS);
        let reader = fib.reader();
        let (mut times, mut trie_times) = (Vec::new(), Vec::new());
        for _ in 0..7 {
            let start = Stopwatch::start();
            let mut sum = 0u64;
            let mut out = [0; 64];
            for (vrfs, addrs) in vrfs.chunks_exact(64).zip(addrs.chunks_exact(64)) {
                reader.lookup4_burst(vrfs, addrs, &mut out);
                sum += out.iter().map(|&v| u64::from(v)).sum::<u64>();
            }
            times.push(start.seconds());
            let start = Stopwatch::start();
            let trie_sum: u64 = vrfs
                .iter()
                .zip(&addrs)
                .map(|(&vrf, &addr)| {
                    let host = Ipv4Net::from(Ipv4Addr::from_bits(addr));
                    tries[vrf as usize].get_lpm(&host).map_or(0, |(_, v)| u64::from(*v))
                })
                .sum();
            trie_times.push(start.seconds());
            assert_eq!(sum, trie_sum);
        }
        let ratio = median(trie_times.iter().zip(&times).map(|(trie, own)| trie / own).collect());
        times.sort_by(f64::total_cmp);
        trie_times.sort_by(f64::total_cmp);
        let mlps = |times: &[f64]| count as f64 / times[times.len() / 2] / 1e6;
        for (implementation, mlps, bytes) in
            [("station", mlps(&times), bytes), ("prefix-trie", mlps(&trie_times), trie_bytes)]
        {
            println!(
                "  {VRFS} VRFs x {routes:<4} {implementation:<12} {mlps:>7.1} Mlps {bytes:>8.0} B each"
            );
            report.vrfs.push(VrfRow { implementation, routes, mlps, bytes, ratio });
        }
    }
}
