use std::thread;

use super::*;

const SECOND: u64 = 1_000_000_000;

fn terms(prefixes: &[&str], per: [u8; 2], rate: u64) -> Arc<Terms> {
    let prefixes = prefixes.iter().map(|net| net.parse().unwrap()).collect();
    Arc::new(Terms { by: By::Source, pace: Pace::new(rate, 10_000), prefixes, per })
}

fn limit(terms: Arc<Terms>, old: Option<&AddressLimit>) -> AddressLimit {
    AddressLimit::new(("l".into(), "v".into(), Direction::Rx), terms, old)
}

fn slot<'a>(limit: &'a AddressLimit, address: &str) -> Option<Slot<'a>> {
    limit.slot_of(address.parse().unwrap())
}

fn counted(limit: &AddressLimit, net: &str) -> Address {
    let net: IpNet = net.parse().unwrap();
    limit.addresses(SECOND).find(|row| row.net == net).unwrap()
}

#[test]
fn each_address_has_a_bucket_of_its_own() {
    let prefixes =
        ["10.1.0.0/30", "10.0.255.0/24", "192.0.2.7/32", "fd00::/126", "fd00:0:0:1::/64"];
    assert!(terms(&prefixes, [32, 128], 64_000).addresses() > MAX_ADDRESSES, "a /64");
    let limit = limit(terms(&prefixes[..4], [32, 128], 8_000_000), None);
    assert_eq!(limit.terms.addresses(), 4 + 256 + 1 + 4);
    assert_eq!(limit.addresses(0).count(), 265);
    for (number, row) in limit.addresses(0).enumerate() {
        let address = row.net.addr();
        assert_eq!(row.net.prefix_len(), row.net.max_prefix_len());
        let slot = limit.slot_of(address).unwrap();
        assert!(slot.take(number as u64 + 1, SECOND), "{address}");
    }
    let passed: Vec<u64> = limit.addresses(0).map(|row| row.passed_octets).collect();
    assert_eq!(passed, (1..=265).collect::<Vec<u64>>(), "no two addresses share one");
    // One before the first and one after the last of each.
    for address in [
        "10.0.254.255",
        "10.1.0.4",
        "192.0.2.6",
        "192.0.2.8",
        "0.0.0.0",
        "255.255.255.255",
        "fd00::4",
        "fcff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "::",
        "::10.1.0.0",
    ] {
        assert!(slot(&limit, address).is_none(), "{address}");
    }
}

#[test]
fn blocks_share_a_bucket() {
    let limit = limit(terms(&["10.0.0.0/16", "fd00::/56"], [24, 64], 8_000_000), None);
    assert_eq!(limit.terms.addresses(), 256 + 256);
    for address in ["10.0.7.0", "10.0.7.255", "fd00:0:0:ff::", "fd00:0:0:ff:ffff:ffff:ffff:ffff"] {
        assert!(slot(&limit, address).unwrap().take(100, SECOND));
    }
    assert_eq!(counted(&limit, "10.0.7.0/24").passed_octets, 200);
    assert_eq!(counted(&limit, "fd00:0:0:ff::/64").passed_octets, 200);
    assert_eq!(limit.addresses(0).map(|row| row.passed_octets).sum::<u64>(), 400);
}

/// Two threads offer ten times the rate for ten seconds: together they get the burst and the rate, to a frame.
#[test]
fn all_workers_together_keep_to_the_rate() {
    let limit = limit(terms(&["10.0.0.0/31"], [32, 128], 8_000_000), None);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                // 1,000 octets every 200 microseconds: 40 Mbit/s each.
                for step in 0..50_000 {
                    slot(&limit, "10.0.0.0").unwrap().take(1000, SECOND + step * 200_000);
                }
            });
        }
    });
    let row = counted(&limit, "10.0.0.0/32");
    let most = 10_000 + 10_000_000;
    assert!(row.passed_octets <= most, "{row:?}");
    // Threads whose clocks run apart by less than a burst lose nothing; the rest is what one was ahead of the other.
    assert_eq!(row.passed_octets + row.exceeded_octets, 100_000_000);
    assert_eq!(counted(&limit, "10.0.0.1/32").passed_octets, 0);
    assert_eq!(row.exceeded_octets, row.exceeded_frames * 1000);
}

#[test]
fn what_stays_keeps_its_bucket_and_its_counts() {
    let before = limit(terms(&["10.0.0.0/30", "10.0.1.0/30"], [32, 128], 8_000_000), None);
    let empty = |limit: &AddressLimit, address: &str| {
        let slot = slot(limit, address).unwrap();
        while slot.take(1000, SECOND) {}
    };
    empty(&before, "10.0.0.1");
    empty(&before, "10.0.1.1");
    assert_eq!(counted(&before, "10.0.0.1/32").burst_used_percent, 100);

    let more = terms(&["10.0.0.0/30", "10.0.2.0/30"], [32, 128], 8_000_000);
    let after = limit(more, Some(&before));
    assert!(!slot(&after, "10.0.0.1").unwrap().take(1000, SECOND), "it is as empty as it was");
    assert_eq!(counted(&after, "10.0.0.1/32").passed_octets, 10_000);
    assert!(slot(&after, "10.0.1.1").is_none());
    // A worker that is still on the tables before counts for these too.
    slot(&before, "10.0.0.2").unwrap().take(500, SECOND);
    assert_eq!(counted(&after, "10.0.0.2/32").passed_octets, 500);

    let faster = limit(terms(&["10.0.0.0/30"], [32, 128], 80_000_000), Some(&after));
    assert!(slot(&faster, "10.0.0.1").unwrap().take(1000, SECOND), "another rate holds at once");
    assert_eq!(counted(&faster, "10.0.0.1/32").passed_octets, 11_000, "and counts go on");

    let wider = limit(terms(&["10.0.0.0/30"], [31, 128], 80_000_000), Some(&faster));
    assert_eq!(counted(&wider, "10.0.0.0/31").passed_octets, 0, "other blocks are others");
    faster.clear();
    assert_eq!(counted(&faster, "10.0.0.1/32").passed_octets, 0);
}

#[test]
fn what_is_given_back_was_never_taken() {
    let limit = limit(terms(&["10.0.0.0/32"], [32, 128], 64_000), None);
    let slot = slot(&limit, "10.0.0.0").unwrap();
    for _ in 0..1000 {
        assert!(slot.take(9_000, SECOND));
        slot.give_back(9_000);
    }
    assert_eq!(counted(&limit, "10.0.0.0/32").passed_octets, 0);
    assert!(slot.take(10_000, SECOND));
    assert!(!slot.take(1, SECOND));
}
