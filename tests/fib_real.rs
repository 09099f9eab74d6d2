//! A full table and a full day of its changes, where that data is (`STATION_DATA`, else ../shared/data).
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test")]

use ipnet::IpNet;
use station::fib::{Fib, Limits, NO_ROUTE};
use std::collections::HashMap;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The lines of a gzipped file, by gzip itself.
fn lines(name: &str) -> Option<Vec<String>> {
    let dir =
        std::env::var_os("STATION_DATA").map_or_else(|| "../shared/data".into(), PathBuf::from);
    let path = dir.join(name);
    if !path.exists() {
        println!("skipped: {} is not there", path.display());
        return None;
    }
    let mut gzip = Command::new("gzip").arg("-dc").arg(path).stdout(Stdio::piped()).spawn().ok()?;
    let mut text = String::new();
    gzip.stdout.take()?.read_to_string(&mut text).ok()?;
    gzip.wait().ok()?.success().then(|| text.lines().map(str::to_owned).collect())
}

fn bits(net: &IpNet) -> (u128, u8) {
    match net {
        IpNet::V4(net) => (u128::from(net.network().to_bits()) << 96, net.prefix_len()),
        IpNet::V6(net) => (net.network().to_bits(), net.prefix_len()),
    }
}

/// A second opinion that shares nothing with the FIB: a hash table for each length.
#[derive(Default)]
struct Lengths(HashMap<(u128, u8), u32>, Vec<u8>);

impl Lengths {
    fn set(&mut self, net: &IpNet, value: Option<u32>) {
        let (key, len) = bits(net);
        match value {
            Some(value) => {
                self.0.insert((key, len), value);
                if let Err(at) = self.1.binary_search_by(|other| len.cmp(other)) {
                    self.1.insert(at, len);
                }
            }
            None => {
                self.0.remove(&(key, len));
            }
        }
    }

    fn lookup(&self, key: u128) -> u32 {
        let masked = |len: u8| key & !u128::MAX.checked_shr(u32::from(len)).unwrap_or(0);
        self.1.iter().find_map(|&len| self.0.get(&(masked(len), len)).copied()).unwrap_or(NO_ROUTE)
    }
}

/// Every answer at the first and last address of each of `nets`, and one before and after, by every kind of code.
fn compare(fib: &Fib, want: &Lengths, nets: &[IpNet], v4: bool) {
    let mut keys = Vec::new();
    for net in nets {
        let (key, len) = bits(net);
        let last = key | u128::MAX.checked_shr(u32::from(len)).unwrap_or(0);
        keys.extend([key, key.wrapping_sub(1), last, last.wrapping_add(1)]);
    }
    let want: Vec<u32> = keys.iter().map(|&key| want.lookup(key)).collect();
    let vrfs = vec![1; keys.len()];
    for (name, reader) in fib.reader().variants() {
        let mut out = vec![0; keys.len()];
        if v4 {
            let addrs: Vec<u32> = keys.iter().map(|key| (key >> 96) as u32).collect();
            reader.lookup4_burst(&vrfs, &addrs, &mut out);
        } else {
            reader.lookup6_burst(&vrfs, &keys, &mut out);
        }
        for (i, (out, want)) in out.iter().zip(&want).enumerate() {
            assert_eq!(out, want, "{name}, {:x}", keys[i]);
        }
    }
}

fn day(family: &str, v4: bool) {
    // Without optimization, which makes it take ten times as long, of half of the table each seventh.
    let step = if cfg!(debug_assertions) { 7 } else { 1 };
    let Some(table) = lines(&format!("rib-20260511-{family}.txt.gz")) else { return };
    let Some(updates) = lines(&format!("updates-20260511-{family}.txt.gz")) else { return };
    let value = |i: usize| (i as u32).wrapping_mul(2_654_435_761) % 40_000 + 1;
    let mut fib = Fib::new(Limits::default()).unwrap();
    fib.add_vrf(1).unwrap();
    let mut lengths = Lengths::default();
    // What no public table has: prefixes longer than /24 and /48, and a default.
    let longer = if v4 {
        ["8.8.8.8/32", "8.8.8.0/25", "1.1.1.4/30", "0.0.0.0/0"]
    } else {
        ["2001:db8::1/128", "2a00:1450:4001::/64", "2a00:1450:4001:1::8/125", "::/0"]
    };
    let some_lines = table.iter().step_by(if cfg!(debug_assertions) { 2 } else { 1 });
    let nets: Vec<IpNet> =
        some_lines.map(String::as_str).chain(longer).map(|net| net.parse().unwrap()).collect();
    let batch: Vec<_> = nets.iter().enumerate().map(|(i, net)| (*net, Some(value(i)))).collect();
    for (net, value) in &batch {
        lengths.set(net, *value);
    }
    fib.apply(1, &batch).unwrap();
    let some: Vec<IpNet> = nets.iter().copied().step_by(step).collect();
    compare(&fib, &lengths, &some, v4);

    let checkpoint = updates.len() / 4 + 1;
    for (part, updates) in updates.chunks(checkpoint).enumerate() {
        let mut touched = Vec::new();
        for (i, line) in updates.iter().enumerate() {
            let (kind, net) = line.split_once(' ').unwrap();
            let net: IpNet = net.parse().unwrap();
            let value = (kind == "A").then(|| value(i * 7 + part));
            lengths.set(&net, value);
            match value {
                Some(value) => fib.insert(1, net, value).unwrap(),
                None => fib.remove(1, net).unwrap(),
            };
            touched.push(net);
            if i % 1000 == 0 {
                fib.reclaim(1, 1);
            }
        }
        touched.sort();
        touched.dedup();
        compare(&fib, &lengths, &touched, v4);
    }
    compare(&fib, &lengths, &some, v4);
    let stats = fib.stats();
    assert_eq!(stats.v4.routes + stats.v6.routes, lengths.0.len());
    for (net, value) in fib.routes(1) {
        assert_eq!(lengths.0.get(&bits(&net)), Some(&value));
    }
    println!("{family}: {stats:?}");
}

#[test]
fn a_real_day_of_ipv4() {
    day("v4", true);
}

#[test]
fn a_real_day_of_ipv6() {
    day("v6", false);
}
