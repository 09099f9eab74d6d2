//! Access lists for benches, the same every time: made by distributions like those that ClassBench found in real ones, and
//! others made to be hard. All rules permit: what a rule does makes no difference to what finding it costs.

use std::fmt::Write as _;

/// What a list is like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(dead_code)] // not every bench has all
pub enum Rules {
    /// Like real ones. Prefixes nest and come again, a fifth of the sources and a tenth of the destinations are any; nine
    /// tenths TCP and UDP; source ports mostly any, destination ports mostly one of those of well-known services.
    Real,
    /// Half the rules ask for one source each, half for one destination each: a product of both in one table would have
    /// a quarter of the square of the rules as cells.
    Cross,
    /// The same with the other end half of all addresses instead of any.
    Halves,
    /// Ranges of source and destination ports at random, which overlap as intervals can.
    Ranges,
}

impl Rules {
    pub fn name(self) -> &'static str {
        match self {
            Rules::Real => "like real ones",
            Rules::Cross => "crossing ends",
            Rules::Halves => "crossing halves",
            Rules::Ranges => "overlapping ranges",
        }
    }
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }

    /// One of these, by weights of which the sum is 100.
    fn pick<T: Copy>(&mut self, of: &[(u64, T)]) -> T {
        let mut at = self.below(100);
        for &(weight, item) in of {
            match at.checked_sub(weight) {
                None => return item,
                Some(rest) => at = rest,
            }
        }
        of[0].1
    }
}

const SERVICES: [u16; 16] =
    [80, 443, 22, 53, 25, 21, 23, 110, 123, 143, 161, 389, 445, 1433, 3306, 8080];

/// A network in which a list's addresses lie: its first address and how many bits are fixed.
pub type Net = (u32, u32);

/// Prefixes that come again and nest, in these networks.
fn prefix(random: &mut Random, known: &mut Vec<(u32, u32)>, nets: &[Net]) -> (u32, u32) {
    // Half of them are among those before; the first ones more often.
    if !known.is_empty() && random.below(2) == 0 {
        let (a, b) = (random.below(known.len() as u64), random.below(known.len() as u64));
        return known[a.min(b) as usize];
    }
    let length = random.pick(&[(5, 16), (10, 20), (35, 24), (15, 28), (35, 32)]);
    // Within one of those before, or in one of the networks.
    let within = random.below(3);
    let (address, fixed) = match known.get(random.below(known.len().max(1) as u64) as usize) {
        Some(&(address, fixed)) if within == 0 => (address, fixed),
        _ => nets[random.below(nets.len() as u64) as usize],
    };
    let length = length.max(fixed);
    let low = if fixed == 32 { 0 } else { random.next() as u32 >> fixed };
    let mask = if length == 0 { 0 } else { u32::MAX << (32 - length) };
    let made = ((address | low) & mask, length);
    known.push(made);
    made
}

fn shown((address, length): (u32, u32)) -> String {
    format!("{}/{length}", std::net::Ipv4Addr::from_bits(address))
}

/// So many rules, the last of which permits all. `sources` and `destinations`: where most of their addresses lie.
pub fn rules(kind: Rules, count: usize, sources: &[Net], destinations: &[Net]) -> Vec<String> {
    let mut random = Random(count as u64 ^ 0xac1);
    let (mut from, mut to) = (Vec::new(), Vec::new());
    let mut rules: Vec<String> = (1..count)
        .map(|n| {
            let n = n as u32;
            match kind {
                Rules::Real => real(&mut random, (&mut from, sources), (&mut to, destinations)),
                Rules::Cross | Rules::Halves => {
                    let host = (random.next() as u32 & 0x00ff_ffff) | 0x0b00_0000;
                    let other = match kind {
                        Rules::Cross => "any",
                        _ if random.below(2) == 0 => "0.0.0.0/1",
                        _ => "128.0.0.0/1",
                    };
                    let host = shown((host, 32));
                    match n % 2 {
                        0 => format!("permit ip from {host} to {other}"),
                        _ => format!("permit ip from {other} to {host}"),
                    }
                }
                Rules::Ranges => {
                    let mut range = || {
                        let (a, b) = (random.below(1 << 16), random.below(1 << 16));
                        format!("{}-{}", a.min(b), a.max(b))
                    };
                    format!("permit tcp from any port {} to any port {}", range(), range())
                }
            }
        })
        .collect();
    rules.push("permit ip".into());
    rules
}

type Pool<'a> = (&'a mut Vec<(u32, u32)>, &'a [Net]);

fn real(random: &mut Random, sources: Pool<'_>, destinations: Pool<'_>) -> String {
    let protocol = random.pick(&[(70, "tcp"), (20, "udp"), (4, "icmp"), (6, "ip")]);
    let ports = matches!(protocol, "tcp" | "udp");
    let mut rule = format!("permit {protocol} from ");
    match random.below(5) {
        0 => rule += "any",
        _ => rule += &shown(prefix(random, sources.0, sources.1)),
    }
    if ports && random.below(10) == 0 {
        rule += random.pick(&[(60, " port 1024-65535"), (20, " port 53"), (20, " port 0-1023")]);
    }
    rule += " to ";
    match random.below(10) {
        0 => rule += "any",
        _ => rule += &shown(prefix(random, destinations.0, destinations.1)),
    }
    if ports {
        let service = random.below(16).min(random.below(16)) as usize;
        match random.pick(&[(60, 0), (20, 1), (10, 2), (10, 3)]) {
            0 => drop(write!(rule, " port {}", SERVICES[service])),
            1 => {}
            2 => rule += random.pick(&[(60, " port 1024-65535"), (40, " port 0-1023")]),
            _ => {
                let first = random.below(60_000);
                let _ = write!(rule, " port {first}-{}", first + 1 + random.below(2_000));
            }
        }
    }
    if protocol == "tcp" && random.below(20) == 0 {
        rule += " established";
    }
    rule
}
