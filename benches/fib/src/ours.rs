//! The station's own table.

use crate::cases::{Addresses, Case};
use crate::data::{Family, Route};
use crate::fib::{Fib, Limits};
use crate::memory::Stopwatch;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{Ipv4Addr, Ipv6Addr};

pub fn net(route: &Route, bits: u8) -> IpNet {
    if bits == 32 {
        let addr = Ipv4Addr::from_bits((route.key >> 96) as u32);
        IpNet::V4(Ipv4Net::new(addr, route.len).unwrap())
    } else {
        IpNet::V6(Ipv6Net::new(Ipv6Addr::from_bits(route.key), route.len).unwrap())
    }
}

pub fn changes(routes: &[Route], bits: u8) -> Vec<(IpNet, Option<u32>)> {
    routes
        .iter()
        .map(|route| (net(route, bits), (route.value != 0).then_some(route.value)))
        .collect()
}

/// A FIB with the family's table in VRF 0, and how long that took.
pub fn build(family: &Family) -> (Fib, f64) {
    build_with(family, Limits::default())
}

fn build_with(family: &Family, limits: Limits) -> (Fib, f64) {
    let table = changes(&family.routes, family.bits);
    let mut fib = Fib::new(limits).unwrap();
    fib.add_vrf(0).unwrap();
    let start = Stopwatch::start();
    fib.apply(0, &table).unwrap();
    let seconds = start.seconds();
    (fib, seconds)
}

/// As a station has it; and for IPv4 also without the flat table.
pub fn cases(family: &Family) -> Vec<Case> {
    let mut cases = cases_of("station", family, build(family));
    if family.bits == 32 {
        let compact = Limits { flat_at: usize::MAX, ..Limits::default() };
        cases.extend(cases_of("station-compact", family, build_with(family, compact)));
    }
    cases
}

fn cases_of(name: &str, family: &Family, (fib, build_s): (Fib, f64)) -> Vec<Case> {
    let stats = fib.stats();
    let (mib, rib) = (
        (stats.v4.fib_bytes + stats.v6.fib_bytes) as f64 / 1048576.0,
        (stats.v4.rib_bytes + stats.v6.rib_bytes) as f64 / 1048576.0,
    );
    println!("  {name}: FIB {mib:.2} MiB, RIB {rib:.2} MiB");
    let vrfs = [0u32; 64];
    let v4 = family.bits == 32;
    let mut cases = Vec::new();
    let chosen = std::iter::once(("", fib.reader()));
    for (i, (kind, reader)) in chosen.chain(fib.reader().variants()).enumerate() {
        let name = if i == 0 { name.to_owned() } else { format!("{name} {kind}") };
        let single = reader.clone();
        let burst = move |addresses: &Addresses| {
            let mut sum = 0;
            let mut out = [0; 64];
            if v4 {
                for addrs in addresses.v4.chunks_exact(64) {
                    reader.lookup4_burst(&vrfs, addrs, &mut out);
                    sum += total(&out);
                }
            } else {
                for addrs in addresses.v6.chunks_exact(64) {
                    reader.lookup6_burst(&vrfs, addrs, &mut out);
                    sum += total(&out);
                }
            }
            sum
        };
        cases.push(Case {
            implementation: name.clone(),
            mode: "burst",
            run: Box::new(burst),
            mib,
            build_s,
        });
        if i > 0 {
            continue;
        }
        let single = move |addresses: &Addresses| {
            if v4 {
                addresses.v4.iter().map(|&addr| u64::from(single.lookup4(0, addr))).sum()
            } else {
                addresses.v6.iter().map(|&addr| u64::from(single.lookup6(0, addr))).sum()
            }
        };
        cases.push(Case {
            implementation: name,
            mode: "single",
            run: Box::new(single),
            mib,
            build_s,
        });
    }
    cases
}

/// The sum of a burst's answers, compiled for what the processor has, as the rivals' (`dpdk.c`) is.
fn total(out: &[u32; 64]) -> u64 {
    let plain = |out: &[u32; 64]| out.iter().map(|&value| u64::from(value)).sum();
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        #[target_feature(enable = "avx2")]
        fn with_avx2(out: &[u32; 64]) -> u64 {
            out.iter().map(|&value| u64::from(value)).sum()
        }
        // SAFETY: the processor has it.
        return unsafe { with_avx2(out) };
    }
    plain(out)
}
