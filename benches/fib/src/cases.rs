//! Lookups: every implementation in turn, round after round, and the median of its rounds.

use crate::data::Family;
use crate::memory::Stopwatch;
use crate::pages::Pages;
use crate::report::{Report, Row};
use crate::{Options, ours, rust_rivals};
use std::ops::Range;

/// One way of looking up.
pub struct Case {
    pub implementation: String,
    pub mode: &'static str,
    /// Looks all addresses up and sums the answers.
    pub run: Box<dyn FnMut(&Addresses) -> u64>,
    pub mib: f64,
    pub build_s: f64,
}

/// Addresses as the implementations like them.
pub struct Addresses {
    pub v4: Vec<u32>,
    pub v6: Vec<u128>,
    #[cfg_attr(not(dpdk), allow(dead_code))]
    pub octets: Vec<[u8; 16]>,
}

/// Every implementation of the family's table, and what pages the process got for those of each origin.
pub fn all(family: &Family, options: &Options) -> (Vec<Case>, Vec<(&'static str, Pages)>) {
    type Make = fn(&Family, &Options) -> Vec<Case>;
    let mut makers: Vec<(&'static str, Make)> = vec![("station", |family, _| ours::cases(family))];
    if !options.only_ours {
        makers.push(("Rust crates", |family, _| rust_rivals::cases(family)));
        #[cfg(dpdk)]
        makers.push(("DPDK", crate::dpdk::cases));
    }
    let (mut cases, mut pages) = (Vec::new(), Vec::new());
    for (origin, make) in makers {
        let before = Pages::of(std::process::id());
        cases.extend(make(family, options));
        if let (Some(before), Some(now)) = (before, Pages::of(std::process::id())) {
            let grown = now - before;
            println!("  {origin}: {grown}");
            pages.push((origin, grown));
        }
    }
    (cases, pages)
}

/// Some addresses of each pattern.
pub fn patterns(family: &Family, some: Range<usize>) -> [(&'static str, Addresses); 3] {
    family.patterns.each_ref().map(|(name, addrs)| {
        let v6 = addrs[some.clone()].to_vec();
        let v4 = v6.iter().map(|addr| (addr >> 96) as u32).collect();
        let octets = v6.iter().map(|addr| addr.to_be_bytes()).collect();
        (*name, Addresses { v4, v6, octets })
    })
}

pub fn run(family: &Family, options: &Options, report: &mut Report) {
    let patterns = patterns(family, 0..family.patterns[0].1.len());
    let (mut cases, pages) = all(family, options);
    report.pages.push((family.name, pages));
    let rounds = if options.quick { 5 } else { 9 };
    for (pattern, addresses) in &patterns {
        let mut times = vec![Vec::new(); cases.len()];
        let mut sums = vec![0; cases.len()];
        for round in 0..=rounds {
            for i in 0..cases.len() {
                // There and back: what a case leaves in the caches is not always for the same one after it.
                let i = if round % 2 == 0 { i } else { cases.len() - 1 - i };
                let case = &mut cases[i];
                // Each starts with its own memory in the caches, not with that of the one before.
                (case.run)(addresses);
                let start = Stopwatch::start();
                sums[i] = (case.run)(addresses);
                times[i].push(start.seconds());
            }
        }
        for (i, case) in cases.iter().enumerate() {
            // The first round warms up. The first case is what the others are compared with, round by round: what slows
            // a shared machine for seconds slows both.
            let to_first = times[i].iter().zip(&times[0]).skip(1).map(|(own, first)| first / own);
            let ratios: Vec<f64> = to_first.collect();
            let range =
                [f64::min, f64::max].map(|pick| ratios.iter().copied().fold(ratios[0], pick));
            let ratio = median(ratios);
            let seconds = median(times[i][1..].to_vec());
            if sums[i] != sums[0] {
                println!("  {} disagrees: sum {} not {}", case.implementation, sums[i], sums[0]);
            }
            let row = Row {
                implementation: case.implementation.clone(),
                family: family.name,
                mode: case.mode,
                pattern,
                mlps: addresses.v4.len() as f64 / seconds / 1e6,
                ratio,
                range,
                mib: case.mib,
                build_s: case.build_s,
                updates_per_s: None,
                counts: None,
            };
            println!(
                "  {:<24} {:<6} {:<6} {:>7.1} Mlps, x {:.2} ({:.2} to {:.2}); {:>7.2} MiB, built in {:.3} s",
                row.implementation,
                row.mode,
                row.pattern,
                row.mlps,
                row.ratio,
                range[0],
                range[1],
                row.mib,
                row.build_s
            );
            report.rows.push(row);
        }
    }
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
