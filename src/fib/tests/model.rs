//! Random histories against a naive oracle: every change is done to both, and every address at or next to
//! a boundary of any prefix ever used must get the oracle's answer from every way of asking.

use super::super::{Fib, Limits, NO_ROUTE};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(super) const SMALL: Limits = Limits { max_vrfs: 64, max_bytes: 256 << 20, flat_at: usize::MAX };

/// The oracle: a list of routes, searched from one end to the other.
#[derive(Clone, Default)]
pub(super) struct Oracle(pub(super) BTreeMap<IpNet, u32>);

impl Oracle {
    pub(super) fn longest(&self, addr: IpAddr) -> Option<(IpNet, u32)> {
        let covering = self.0.iter().filter(|(net, _)| net.contains(&addr));
        covering.max_by_key(|(net, _)| net.prefix_len()).map(|(net, value)| (*net, *value))
    }
}

/// The first and last address of each prefix, and the ones before and after.
pub(super) fn boundaries<'a>(nets: impl Iterator<Item = &'a IpNet>) -> Vec<IpAddr> {
    let mut addrs = Vec::new();
    for net in nets {
        match (net.network(), net.broadcast()) {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                let (first, last) = (first.to_bits(), last.to_bits());
                for addr in [first, first.wrapping_sub(1), last, last.wrapping_add(1)] {
                    addrs.push(IpAddr::V4(Ipv4Addr::from_bits(addr)));
                }
            }
            (IpAddr::V6(first), IpAddr::V6(last)) => {
                let (first, last) = (first.to_bits(), last.to_bits());
                for addr in [first, first.wrapping_sub(1), last, last.wrapping_add(1)] {
                    addrs.push(IpAddr::V6(Ipv6Addr::from_bits(addr)));
                }
            }
            _ => unreachable!(),
        }
    }
    addrs
}

/// Every way of asking gives the oracle's answers.
pub(super) fn check(
    fib: &Fib,
    vrf: u32,
    oracle: &Oracle,
    addrs: &[IpAddr],
) -> Result<(), TestCaseError> {
    let reader = fib.reader();
    let (mut a4, mut w4, mut a6, mut w6) = (vec![], vec![], vec![], vec![]);
    for &addr in addrs {
        let want = oracle.longest(addr);
        prop_assert_eq!(fib.lookup(vrf, addr), want, "RIB, {}", addr);
        let want = want.map_or(NO_ROUTE, |(_, value)| value);
        let got = match addr {
            IpAddr::V4(addr) => {
                a4.push(addr.to_bits());
                w4.push(want);
                reader.lookup4(vrf, addr.to_bits())
            }
            IpAddr::V6(addr) => {
                a6.push(addr.to_bits());
                w6.push(want);
                reader.lookup6(vrf, addr.to_bits())
            }
        };
        prop_assert_eq!(got, want, "one at a time, {}", addr);
    }
    // A burst that mixes VRFs, and one that does not; alone and with another set of addresses: in all vector code there is.
    let mixed =
        |len: usize| (0..len).map(|i| if i % 3 == 1 { vrf + 1 } else { vrf }).collect::<Vec<u32>>();
    for (name, reader) in reader.variants().chain([("chosen", fib.reader())]) {
        for vrfs in [vec![vrf; a4.len()], mixed(a4.len())] {
            let (mut out, mut sets) = (vec![u32::MAX; a4.len()], vec![vec![u32::MAX; a4.len()]; 2]);
            reader.lookup4_burst(&vrfs, &a4, &mut out);
            let want: Vec<u32> = answers(&vrfs, vrf, &w4);
            prop_assert_eq!(&out, &want, "{}", name);
            let [one, other] = &mut sets[..] else { unreachable!() };
            reader.lookup4_sets(&vrfs, [&a4, &rotated(&a4)], [one, other]);
            prop_assert_eq!(sets, [want, answers(&vrfs, vrf, &rotated(&w4))], "{}", name);
        }
        for vrfs in [vec![vrf; a6.len()], mixed(a6.len())] {
            let (mut out, mut sets) = (vec![u32::MAX; a6.len()], vec![vec![u32::MAX; a6.len()]; 2]);
            reader.lookup6_burst(&vrfs, &a6, &mut out);
            let want: Vec<u32> = answers(&vrfs, vrf, &w6);
            prop_assert_eq!(&out, &want, "{}", name);
            let [one, other] = &mut sets[..] else { unreachable!() };
            reader.lookup6_sets(&vrfs, [&a6, &rotated(&a6)], [one, other]);
            prop_assert_eq!(sets, [want, answers(&vrfs, vrf, &rotated(&w6))], "{}", name);
        }
    }
    Ok(())
}

/// The same from another place on.
fn rotated<T: Copy>(all: &[T]) -> Vec<T> {
    let mut all = all.to_vec();
    let by = all.len() / 3;
    all.rotate_left(by);
    all
}

/// The oracle's answers where the lane's VRF is `vrf`; the neighbor VRF has but a default.
fn answers(vrfs: &[u32], vrf: u32, want: &[u32]) -> Vec<u32> {
    vrfs.iter().zip(want).map(|(&lane, &want)| if lane == vrf { want } else { NEIGHBOR }).collect()
}

/// What every lookup in the VRF after the one under test answers.
const NEIGHBOR: u32 = 77;

/// Prefixes crowded into few places, so that they nest and neighbor.
pub(super) fn any_net() -> impl Strategy<Value = IpNet> {
    let v4 = (
        prop::sample::select(vec![0x0A00_0000u32, 0x0A01_0000, 0xC0A8_0000, 0xFFFF_FF00, 0]),
        any::<u32>(),
        0u8..=32,
    )
        .prop_map(|(base, low, len)| {
            let keep = if low & 1 == 0 { 0x1FF } else { 0x3_FFFF };
            let addr = Ipv4Addr::from_bits(base | (low.rotate_left(7) & keep));
            IpNet::V4(Ipv4Net::new(addr, len).unwrap().trunc())
        });
    let v6 = (
        prop::sample::select(vec![
            0x2001_0DB8u128 << 96,
            0x2A00 << 112,
            0xFE80 << 112,
            u128::MAX << 64,
            0,
        ]),
        any::<u128>(),
        0u8..=128,
    )
        .prop_map(|(base, low, len)| {
            let keep = if low & 1 == 0 { 0xFF } else { 0xFFFF << 64 | 0xFFF };
            let addr = Ipv6Addr::from_bits(base | (low.rotate_left(9) & keep));
            IpNet::V6(Ipv6Net::new(addr, len).unwrap().trunc())
        });
    prop_oneof![v4, v6]
}

pub(super) type Change = (IpNet, Option<u32>);

/// A history: batches of one or more changes, drawing again and again from the same few prefixes.
pub(super) fn history() -> impl Strategy<Value = Vec<Vec<Change>>> {
    prop::collection::vec(any_net(), 1..40).prop_flat_map(|nets| {
        let value = prop_oneof![
            3 => (1u32..6).prop_map(Some),
            1 => (0x7FF0u32..0x8010).prop_map(Some),
            1 => Just(Some(0xFF_FFFF)),
            3 => Just(None),
        ];
        let change = (prop::sample::select(nets), value);
        prop::collection::vec(prop::collection::vec(change, 1..12), 1..20)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(debug_assertions) { 130 } else { 400 }, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn answers_are_the_oracles(history in history()) {
        follow(Fib::new(SMALL).unwrap(), &history)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(debug_assertions) { 20 } else { 60 }, failure_persistence: None, ..ProptestConfig::default() })]

    /// The same with VRFs that get and lose their tables all the time.
    #[test]
    fn answers_are_the_oracles_in_every_shape(history in history(), grow in 1usize..20, flat_at in 1usize..40) {
        let limits = Limits { flat_at, ..SMALL };
        follow(Fib::with_shapes(limits, grow, grow.saturating_sub(3).max(1)), &history)?;
    }
}

fn follow(mut fib: Fib, history: &[Vec<Change>]) -> Result<(), TestCaseError> {
    fib.add_vrf(7).unwrap();
    fib.add_vrf(8).unwrap();
    for default in ["0.0.0.0/0", "::/0"] {
        fib.insert(8, default.parse().unwrap(), NEIGHBOR).unwrap();
    }
    let addrs = boundaries(history.iter().flatten().map(|(net, _)| net));
    let mut oracle = Oracle::default();
    for (step, batch) in history.iter().enumerate() {
        if step % 2 == 0 {
            fib.apply(7, batch).unwrap();
            for &(net, value) in batch {
                match value {
                    Some(value) => oracle.0.insert(net, value),
                    None => oracle.0.remove(&net),
                };
            }
        } else {
            for &(net, value) in batch {
                match value {
                    Some(value) => prop_assert_eq!(
                        fib.insert(7, net, value).unwrap(),
                        oracle.0.insert(net, value)
                    ),
                    None => prop_assert_eq!(fib.remove(7, net).unwrap(), oracle.0.remove(&net)),
                }
            }
        }
        check(&fib, 7, &oracle, &addrs)?;
        let (step, quiescent) = (step as u64, (step as u64).saturating_sub(1));
        fib.reclaim(step, quiescent);
    }
    prop_assert_eq!(fib.stats().v4.routes + fib.stats().v6.routes, oracle.0.len() + 2);
    let mut routes: Vec<_> = oracle.0.iter().map(|(net, value)| (*net, *value)).collect();
    routes.sort_by_key(|(net, _)| (net.addr(), net.prefix_len()));
    prop_assert_eq!(fib.routes(7).collect::<Vec<_>>(), routes.clone());
    let v4 = routes.iter().filter(|(net, _)| net.addr().is_ipv4()).count();
    prop_assert_eq!(fib.counts(7), (v4, routes.len() - v4));
    // From prefixes that are there, and from others.
    let others = addrs.iter().map(|&addr| IpNet::from(addr));
    let starts: Vec<IpNet> = oracle.0.keys().copied().chain(others).take(64).collect();
    for from in starts {
        let after = |net: &IpNet| {
            net.addr().is_ipv4() == from.addr().is_ipv4()
                && (net.addr(), net.prefix_len()) >= (from.addr(), from.prefix_len())
        };
        let rest: Vec<_> = routes.iter().filter(|(net, _)| after(net)).copied().collect();
        prop_assert_eq!(fib.routes_from(7, from).collect::<Vec<_>>(), rest);
    }
    for (net, value) in &oracle.0 {
        prop_assert_eq!(fib.get(7, net), Some(*value));
    }
    // Everything withdrawn: nothing is left.
    let gone: Vec<Change> = oracle.0.keys().map(|net| (*net, None)).collect();
    fib.apply(7, &gone).unwrap();
    check(&fib, 7, &Oracle::default(), &addrs)?;
    fib.reclaim(100, 100);
    let stats = fib.stats();
    prop_assert_eq!((stats.v4.fib_bytes, stats.v6.fib_bytes, stats.retired_bytes), (0, 0, 0));
    prop_assert_eq!((stats.v4.rib_bytes, stats.v6.rib_bytes), (0, 0));
    Ok(())
}
