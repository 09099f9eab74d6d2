//! What the histories do not reach: VRFs, refusals, exhaustion.

use super::super::{Fib, FibError, Layout, Limits, NO_ROUTE};
use super::model::SMALL;
use ipnet::IpNet;

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
