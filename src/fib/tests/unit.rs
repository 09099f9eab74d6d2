//! What the histories do not reach: VRFs, refusals, exhaustion.

use super::super::{Fib, FibError, FibReader, Layout, Limits, NO_ROUTE};
use super::model::{SMALL, boundaries};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::IpAddr;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

#[test]
fn vrfs_are_apart_and_come_and_go() {
    let mut fib = Fib::new(SMALL).unwrap();
    let reader = fib.reader();
    assert!(matches!(fib.insert(1, net("10.0.0.0/8"), 5), Err(FibError::NoSuchVrf(1))));
    assert!(matches!(fib.add_vrf(64), Err(FibError::VrfOutOfRange { vrf: 64, max_vrfs: 64 })));
    fib.add_vrf(1).unwrap();
    fib.add_vrf(2).unwrap();
    assert!(matches!(fib.add_vrf(2), Err(FibError::VrfExists(2))));
    fib.insert(1, net("10.0.0.0/8"), 5).unwrap();
    fib.insert(2, net("10.0.0.0/8"), 6).unwrap();
    fib.insert(2, net("2001:db8::/32"), 7).unwrap();
    assert_eq!(reader.lookup4(1, 0x0A00_0001), 5);
    assert_eq!(reader.lookup4(2, 0x0A00_0001), 6);
    assert_eq!(reader.lookup6(1, 0x2001_0DB8 << 96), NO_ROUTE);
    assert_eq!(reader.lookup6(2, 0x2001_0DB8 << 96), 7);
    fib.remove_vrf(2).unwrap();
    assert!(matches!(fib.remove_vrf(2), Err(FibError::NoSuchVrf(2))));
    assert_eq!(reader.lookup4(2, 0x0A00_0001), NO_ROUTE);
    assert_eq!(reader.lookup6(2, 0x2001_0DB8 << 96), NO_ROUTE);
    assert_eq!(reader.lookup4(1, 0x0A00_0001), 5);
    fib.add_vrf(2).unwrap();
    assert_eq!(fib.routes(2).count(), 0);
    assert_eq!(reader.lookup4(2, 0x0A00_0001), NO_ROUTE);
    // Any id is an answer, never a fault.
    let mut out = [1; 3];
    reader.lookup4_burst(&[64, u32::MAX, 1], &[0x0A00_0001; 3], &mut out);
    assert_eq!(out, [NO_ROUTE, NO_ROUTE, 5]);
}

#[test]
fn every_change_of_a_vrf_is_told_to_who_keeps_answers_and_no_other_vrfs() {
    type Act = fn(&mut Fib) -> Result<(), FibError>;
    let acts: [Act; 6] = [
        |fib| fib.add_vrf(1),
        |fib| fib.insert(1, net("10.0.0.0/8"), 5).map(drop),
        |fib| fib.apply(1, &[(net("2001:db8::/32"), Some(7))]),
        |fib| fib.insert(1, net("10.0.0.0/8"), 6).map(drop),
        |fib| fib.remove(1, net("10.0.0.0/8")).map(drop),
        |fib| fib.remove_vrf(1),
    ];
    let mut fib = Fib::new(SMALL).unwrap();
    let reader = fib.reader();
    fib.add_vrf(2).unwrap();
    let other = reader.changes(2);
    let mut told = vec![reader.changes(1)];
    for act in acts {
        act(&mut fib).unwrap();
        told.push(reader.changes(1));
    }
    assert!(told.is_sorted_by(|before, after| before < after), "{told:?}");
    assert_eq!((reader.changes(2), reader.changes(64), reader.changes(u32::MAX)), (other, 0, 0));
}

#[test]
fn values_have_24_bits() {
    let mut fib = Fib::new(SMALL).unwrap();
    fib.add_vrf(0).unwrap();
    for value in [0, 1 << 24, u32::MAX] {
        assert!(
            matches!(fib.insert(0, net("::/0"), value), Err(FibError::ValueOutOfRange(v)) if v == value)
        );
    }
    let batch = [(net("10.0.0.0/8"), Some(1)), (net("11.0.0.0/8"), Some(0))];
    assert!(matches!(fib.apply(0, &batch), Err(FibError::ValueOutOfRange(0))));
    assert_eq!(fib.routes(0).count(), 0, "a refused batch changes nothing");
}

#[test]
fn the_last_change_of_a_prefix_in_a_batch_counts() {
    let mut fib = Fib::new(SMALL).unwrap();
    fib.add_vrf(0).unwrap();
    let a = net("10.1.2.0/24");
    fib.apply(0, &[(a, Some(1)), (net("10.0.0.0/8"), Some(9)), (a, None), (a, Some(3))]).unwrap();
    assert_eq!(fib.get(0, &a), Some(3));
    fib.apply(0, &[(a, Some(4)), (a, None)]).unwrap();
    assert_eq!(fib.reader().lookup4(0, 0x0A01_0203), 9);
}

#[test]
fn exhaustion_refuses_and_changes_nothing() {
    let mut fib = Fib::new(Limits { max_vrfs: 16, max_bytes: 1 << 20, ..SMALL }).unwrap();
    fib.add_vrf(0).unwrap();
    let route = |i: u32| net(&format!("10.{}.{}.{}/30", i >> 14 & 255, i >> 6 & 255, i << 2 & 255));
    let mut added = 0;
    let refused = loop {
        match fib.insert(0, route(added * 64), added % 200 + 1) {
            Ok(_) => added += 1,
            Err(error) => break error,
        }
        fib.reclaim(u64::from(added), u64::from(added));
    };
    assert!(matches!(refused, FibError::Exhausted { .. }), "{refused}");
    assert!(added > 500, "{added} routes in a MiB");
    let holds = |fib: &Fib| {
        assert_eq!(fib.stats().v4.routes, added as usize);
        for i in 0..added {
            assert_eq!(fib.reader().lookup4(0, 0x0A00_0000 | ((i * 64) << 2)), i % 200 + 1);
        }
    };
    holds(&fib);
    let batch: Vec<_> = (added..added + 500).map(|i| (route(i * 64), Some(1))).collect();
    assert!(matches!(fib.apply(0, &batch), Err(FibError::Exhausted { .. })));
    holds(&fib);
    // Withdrawing still works, and makes room.
    for i in 0..added {
        assert_eq!(fib.remove(0, route(i * 64)).unwrap(), Some(i % 200 + 1));
        fib.reclaim(1 << 32 | u64::from(i), 1 << 32 | u64::from(i));
    }
    assert_eq!(fib.stats().v4.fib_bytes, 0);
    fib.apply(0, &batch).unwrap();
    assert_eq!(fib.stats().v4.routes, 500);
}

/// Found by the histories: a prefix and a more specific one that are new in the same batch, where the
/// second makes a node whose slots still hold what the first replaces.
#[test]
fn a_batch_may_change_what_covers_a_new_prefix() {
    let mut fib = Fib::with_shapes(SMALL, 1, 1);
    fib.add_vrf(0).unwrap();
    fib.insert(0, net("10.0.0.0/8"), 3).unwrap();
    fib.apply(0, &[(net("10.0.0.0/8"), Some(4)), (net("10.0.0.0/14"), Some(2))]).unwrap();
    assert_eq!(fib.reader().lookup4(0, 0x0A04_0000), 4);
    assert_eq!(fib.reader().lookup4(0, 0x0A03_FFFF), 2);
}

/// A table that comes in one batch has its shape at once, not only at the next change.
#[test]
fn a_full_table_in_one_batch_is_in_the_large_shape() {
    let mut fib = Fib::new(Limits::default()).unwrap();
    fib.add_vrf(0).unwrap();
    let batch: Vec<_> = (0..300_000u32)
        .map(|i| {
            (
                net(&format!("{}.{}.{}.0/24", 20 + (i >> 16), i >> 8 & 255, i & 255)),
                Some(i % 200 + 1),
            )
        })
        .collect();
    fib.apply(0, &batch).unwrap();
    let before = fib.stats();
    assert!(before.v4.fib_bytes > 1 << 20, "the root table is there: {before:?}");
    fib.insert(0, net("20.0.0.0/24"), 250).unwrap();
    assert!(fib.stats().retired_bytes < 1024, "one change, not another shape");
}

#[test]
fn stats_say_how_full_it_is_and_how_vrfs_are_laid_out() {
    let mut fib = Fib::with_shapes(Limits { flat_at: 60, ..SMALL }, 20, 10);
    fib.add_vrf(0).unwrap();
    fib.add_vrf(1).unwrap();
    let empty = fib.stats();
    assert_eq!((empty.chunks, empty.free_chunks, empty.retired_bytes), (0, 0, 0));
    let routes = |range: std::ops::Range<u32>, value: Option<u32>| -> Vec<_> {
        range.map(|i| (net(&format!("10.{i}.0.0/20")), value)).collect()
    };
    fib.insert(1, net("2001:db8::/32"), 1).unwrap();
    for (routes, layout) in [
        (routes(0..15, Some(1)), Layout::Chunks),
        (routes(15..50, Some(2)), Layout::Table),
        (routes(50..70, Some(3)), Layout::Flat),
        (routes(5..70, None), Layout::Chunks),
    ] {
        fib.apply(0, &routes).unwrap();
        let vrf = fib.vrf_stats(0).unwrap();
        assert_eq!((vrf.v4_layout, vrf.v6_layout), (layout, Layout::Chunks));
        assert_eq!((vrf.v4_routes, vrf.v6_routes), (fib.routes(0).count(), 0));
        let stats = fib.stats();
        assert_eq!(stats.flat_vrfs, usize::from(layout == Layout::Flat));
        assert_eq!(stats.v4.large_vrfs, usize::from(layout != Layout::Chunks));
        assert!(stats.chunks > 0 && stats.free_bytes < empty.free_bytes, "{stats:?}");
        assert!(stats.max_bytes >= stats.free_bytes + stats.v4.fib_bytes + stats.retired_bytes);
    }
    assert_eq!(fib.vrf_stats(2), None);
    fib.apply(0, &routes(0..5, None)).unwrap();
    fib.remove(1, net("2001:db8::/32")).unwrap();
    fib.reclaim(1, 1);
    let stats = fib.stats();
    assert_eq!((stats.chunks, stats.retired_bytes), (0, 0));
}

/// Every kind of vector code that this processor has answers as plain code does, in every shape, in bursts of every length: addresses
/// at and between the ends of prefixes of every length, values that fit a short entry and that do not.
#[test]
fn every_kind_of_vector_code_answers_as_plain_code_does() {
    let mut routes = Vec::new();
    let mut seed = 1u64;
    let mut random = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(seed >> 33).unwrap()
    };
    for i in 0..6000u32 {
        let value = if i % 5 == 0 { 0x8000 + i } else { 1 + i };
        let (a, b, c, d) = (random(), random(), random(), random());
        let v4 = Ipv4Net::new((a << 1).into(), u8::try_from(1 + b % 32).unwrap()).unwrap();
        let v6 = u128::from(c % 64 + 0x2000) << 112 | u128::from(d) << 85 | u128::from(a) << 50;
        let v6 = Ipv6Net::new(v6.into(), u8::try_from(16 + b % 113).unwrap()).unwrap();
        routes.push((IpNet::V4(v4.trunc()), Some(value)));
        routes.push((IpNet::V6(v6.trunc()), Some(value)));
    }
    let addrs = boundaries(routes.iter().map(|(net, _)| net));
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for addr in addrs {
        match addr {
            IpAddr::V4(addr) => v4.push(addr.to_bits()),
            IpAddr::V6(addr) => v6.push(addr.to_bits()),
        }
    }
    for (grow, flat_at) in [(usize::MAX, usize::MAX), (1, usize::MAX), (1, 1)] {
        let mut fib = Fib::with_shapes(Limits { flat_at, ..SMALL }, grow, 1);
        for vrf in 0..2 {
            fib.add_vrf(vrf).unwrap();
            fib.apply(vrf, &routes[..routes.len() / (1 + vrf as usize)]).unwrap();
        }
        let variants: Vec<_> = fib.reader().variants().collect();
        for name in FibReader::VARIANTS {
            if !variants.iter().any(|(has, _)| *has == name) {
                println!("skipped: this processor has no {name} code to compare");
            }
        }
        let plain = &variants.last().unwrap().1;
        for (name, reader) in &variants {
            for (burst, len) in [1, 7, 63, 64, 65, 200].into_iter().cycle().take(60).enumerate() {
                let vrfs: Vec<u32> =
                    (0..len).map(|i| if burst % 2 == 0 { 0 } else { i % 2 }).collect();
                let len = len as usize;
                let from = burst * 97 % (v4.len().min(v6.len()) - len);
                let (v4, v6) = (&v4[from..from + len], &v6[from..from + len]);
                let [mut here, mut there] = [vec![1; len], vec![2; len]];
                reader.lookup4_burst(&vrfs, v4, &mut here);
                plain.lookup4_burst(&vrfs, v4, &mut there);
                assert_eq!(here, there, "IPv4, {name}, burst {burst}");
                let each: Vec<u32> =
                    vrfs.iter().zip(v4).map(|(&vrf, &addr)| plain.lookup4(vrf, addr)).collect();
                assert_eq!(here, each, "IPv4, {name}, burst {burst}");
                reader.lookup6_burst(&vrfs, v6, &mut here);
                plain.lookup6_burst(&vrfs, v6, &mut there);
                assert_eq!(here, there, "IPv6, {name}, burst {burst}");
            }
        }
    }
}
