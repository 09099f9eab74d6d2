//! Tables, addresses and updates: read where they are, made by `generate` where not.

use crate::generate;
use crate::random::Random;
use flate2::read::GzDecoder;
use ipnet::IpNet;
use std::io::Read;
use std::path::PathBuf;

/// One route; v4 keys are in the top 32 bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Route {
    pub key: u128,
    pub len: u8,
    pub value: u32,
}

/// One family's table, the day's changes to it (value 0 withdraws), and addresses to look up.
pub struct Family {
    pub name: &'static str,
    pub bits: u8,
    pub source: String,
    pub routes: Vec<Route>,
    pub updates: Vec<Route>,
    pub patterns: [(&'static str, Vec<u128>); 3],
}

pub fn dir() -> PathBuf {
    std::env::var_os("STATION_DATA").map_or_else(|| "../shared/data".into(), PathBuf::from)
}

/// One of 255 next hops; `salt` tells an announcement from the one before.
pub fn value_of(key: u128, len: u8, salt: u32) -> u32 {
    let mixed = (key >> 64) as u64 ^ key as u64 ^ u64::from(len) << 32 ^ u64::from(salt);
    (mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as u32 % 255 + 1
}

pub fn parse(text: &str, salt: u32) -> Option<Route> {
    let net: IpNet = text.parse().ok()?;
    let key = match net {
        IpNet::V4(net) => u128::from(net.network().to_bits()) << 96,
        IpNet::V6(net) => net.network().to_bits(),
    };
    Some(Route { key, len: net.prefix_len(), value: value_of(key, net.prefix_len(), salt) })
}

fn lines(name: &str) -> Option<Vec<String>> {
    let file = std::fs::File::open(dir().join(name)).ok()?;
    let mut text = String::new();
    GzDecoder::new(file).read_to_string(&mut text).ok()?;
    Some(text.lines().map(str::to_owned).collect())
}

pub fn load(bits: u8, quick: bool) -> Family {
    let name = if bits == 32 { "v4" } else { "v6" };
    let real = lines(&format!("rib-20260511-{name}.txt.gz"));
    let changes = lines(&format!("updates-20260511-{name}.txt.gz"));
    let (source, mut routes, updates) = match (real, changes) {
        (Some(real), Some(changes)) => {
            let routes: Vec<Route> = real.iter().filter_map(|line| parse(line, 0)).collect();
            // Each announcement brings another next hop than the last, or it would change nothing.
            let updates = (1u32..)
                .zip(&changes)
                .filter_map(|(i, line)| {
                    let (kind, net) = line.split_once(' ')?;
                    let mut route = parse(net, i)?;
                    if kind != "A" {
                        route.value = 0;
                    }
                    Some(route)
                })
                .collect();
            ("RIPE RIS 2026-05-11".to_owned(), routes, updates)
        }
        _ => {
            let routes = generate::table(bits);
            let updates = generate::updates(&routes);
            ("generated".to_owned(), routes, updates)
        }
    };
    routes.sort();
    routes.dedup_by_key(|route| (route.key, route.len));
    let count = if quick { 1 << 19 } else { 1 << 20 };
    let patterns = addresses(&routes, bits, count);
    Family { name, bits, source, routes, updates, patterns }
}

/// Addresses all over the (v6: global unicast) space; within the prefixes, each as likely; and within them by
/// Zipf's law with exponent 1.
fn addresses(routes: &[Route], bits: u8, count: usize) -> [(&'static str, Vec<u128>); 3] {
    let mut random = Random::new(7);
    let mask = if bits == 32 { u128::from(u32::MAX) << 96 } else { u128::MAX };
    let wide = |random: &mut Random| u128::from(random.next()) << 64 | u128::from(random.next());
    let all = (0..count)
        .map(|_| {
            let addr = wide(&mut random) & mask;
            if bits == 32 { addr } else { addr >> 3 | 1 << 125 }
        })
        .collect();
    let within = |route: &Route, random: &mut Random| {
        let host = u128::MAX.checked_shr(u32::from(route.len)).unwrap_or(0);
        (route.key | wide(random) & host) & mask
    };
    let inside =
        (0..count).map(|_| within(&routes[random.below(routes.len())], &mut random)).collect();
    let mut ranked: Vec<usize> = (0..routes.len()).collect();
    for i in (1..ranked.len()).rev() {
        ranked.swap(i, random.below(i + 1));
    }
    let zipf = (0..count)
        .map(|_| {
            // The inverse of the harmonic distribution function, nearly.
            let rank = (routes.len() as f64).powf(random.unit()) as usize - 1;
            within(&routes[ranked[rank.min(routes.len() - 1)]], &mut random)
        })
        .collect();
    [("random", all), ("inside", inside), ("zipf", zipf)]
}
