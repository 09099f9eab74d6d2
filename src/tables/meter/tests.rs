use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000_000;

fn own(rate: u64, burst: u64) -> Plan {
    Plan { own: Some(Limit::new(rate, burst)), ..Plan::default() }
}

/// A worker as the packet path is one: what it has left, and until when it need not ask.
#[derive(Default)]
struct Worker {
    left: u64,
    denied_until: u64,
    passed: u64,
    committed: u64,
}

impl Worker {
    fn offer(&mut self, plan: &Plan, octets: u64, now: u64) -> bool {
        if self.left < octets {
            if now < self.denied_until {
                return false;
            }
            match plan.lease(octets - self.left, now) {
                Ok(lease) => {
                    self.left += lease.octets;
                    self.committed += if lease.committed { lease.octets } else { 0 };
                }
                Err(until) => {
                    self.denied_until = until;
                    return false;
                }
            }
        }
        self.left -= octets;
        self.passed += octets;
        true
    }
}

/// Each worker is offered frames of its length at its pace, from a time on for a time; what each has passed after each
/// whole second.
fn flood(workers: &mut [(Worker, &Plan, u64, u64)], from: u64, seconds: u64) -> Vec<Vec<u64>> {
    let mut due: Vec<u64> = (0..workers.len() as u64).map(|n| from + 7 * n).collect();
    let mut passed = Vec::new();
    for second in 1..=seconds {
        let end = from + second * SECOND;
        while let Some(at) = (0..due.len()).filter(|&n| due[n] < end).min_by_key(|&n| due[n]) {
            let (worker, plan, octets, pace) = &mut workers[at];
            worker.offer(plan, *octets, due[at]);
            due[at] += *pace;
        }
        passed.push(workers.iter().map(|(worker, ..)| worker.passed).collect());
    }
    passed
}

fn differ_by(value: u64, right: u64, thousandths: u64) -> bool {
    value.abs_diff(right) * 1000 > right * thousandths
}

/// The sum of the workers obeys the rate, whether one of them or all have the traffic, from the second second on (the
/// first has the burst).
#[test]
fn the_sum_of_all_workers_obeys_the_rate() {
    for rate in [10_000_000_u64, 100_000_000, 1_000_000_000] {
        for (count, times) in [(1, 2), (1, 10), (2, 2), (2, 10), (4, 10)] {
            for octets in [64, 590, 1518, 9018] {
                // Short frames at high rates are many: one case has them.
                if rate / octets > 1_000_000 && (count, times) != (2, 2) {
                    continue;
                }
                let plan = own(rate, default_burst(rate));
                let pace = octets * 8 * SECOND * count / (rate * times);
                let mut workers: Vec<_> =
                    (0..count).map(|_| (Worker::default(), &plan, octets, pace)).collect();
                let passed = flood(&mut workers, 5 * SECOND, 3);
                let sums: Vec<u64> = passed.iter().map(|all| all.iter().sum()).collect();
                let first = rate / 8 + default_burst(rate);
                let what = format!("{rate} {count} {times} {octets}: {sums:?}");
                assert!(!differ_by(sums[0], first, 10), "{what}, not {first} first");
                for pair in sums.windows(2) {
                    assert!(!differ_by(pair[1] - pair[0], rate / 8, 5), "{what}");
                }
            }
        }
    }
}

/// What is offered below the rate passes whole, in bursts too.
#[test]
fn below_the_rate_nothing_is_refused() {
    let plan = own(100_000_000, 625_000);
    let mut workers = [Worker::default(), Worker::default()];
    for ms in 0..2_000u64 {
        // 99 Mbit/s: 12,375 octets a millisecond, all at once, now here now there.
        let worker = &mut workers[(ms / 10 % 2) as usize];
        for _ in 0..11 {
            assert!(worker.offer(&plan, 1_125, SECOND + ms * 1_000_000), "at {ms} ms");
        }
    }
}

/// Two VIFs of a group: each has what it is committed to have, and the rest goes to who asks.
#[test]
fn a_group_keeps_its_commitments() {
    let group = Limit::new(100_000_000, 625_000);
    let vif = |committed: Option<u64>| Plan {
        committed: committed.map(|rate| Limit::new(rate, 65_536)),
        group: Some(group.clone()),
        ..Plan::default()
    };
    let (small, large) = (vif(Some(20_000_000)), vif(None));
    // The one with a commitment offers 30 Mbit/s, the other a gigabit.
    let mut workers = [
        (Worker::default(), &small, 1500, 1500 * 8 * SECOND / 30_000_000),
        (Worker::default(), &large, 1500, 1500 * 8 * SECOND / 1_000_000_000),
    ];
    let passed = flood(&mut workers, SECOND, 4);
    let (second, last) = (&passed[1], &passed[3]);
    let (a, b) = ((last[0] - second[0]) * 4, (last[1] - second[1]) * 4);
    assert!(a * 1000 >= 20_000_000 * 995, "{a} bit/s of 20 committed Mbit/s");
    assert!(!differ_by(a + b, 100_000_000, 5), "{a} + {b} bit/s of the group's 100 Mbit/s");
    assert!(workers[0].0.committed > 0 && workers[1].0.committed == 0);
}

/// A VIF that its group refuses has its own tokens back.
#[test]
fn who_is_refused_above_loses_nothing_below() {
    let (one, group) = (Limit::new(1_000_000, 100_000), Limit::new(64_000, 10_000));
    let plan = Plan { own: Some(one.clone()), group: Some(group), ..Plan::default() };
    let now = SECOND;
    assert!(plan.lease(9_000, now).is_ok());
    assert!(plan.lease(9_000, now).is_err());
    let left = Plan { own: Some(one), ..Plan::default() };
    assert!(left.lease(91_000, now).is_ok(), "only what was passed is gone");
    assert!(left.lease(1_000, now).is_err());
}

/// The port limits all of its VIFs together, each within its own.
#[test]
fn a_port_limits_the_sum() {
    let port = Limit::new(150_000_000, 1_000_000);
    let vif = || Plan { port: Some(port.clone()), ..own(100_000_000, 625_000) };
    let (a, b) = (vif(), vif());
    let pace = 1500 * 8 * SECOND / 400_000_000;
    let mut workers = [(Worker::default(), &a, 1500, pace), (Worker::default(), &b, 1500, pace)];
    let passed = flood(&mut workers, SECOND, 3);
    let rates: Vec<u64> = (0..2).map(|n| (passed[2][n] - passed[1][n]) * 8).collect();
    assert!(!differ_by(rates.iter().sum(), 150_000_000, 5), "{rates:?}");
    assert!(rates.iter().all(|&rate| rate <= 101_000_000), "{rates:?}");
}

proptest! {
    /// Whatever is asked for and when: never more than the burst and what the rate has given, however time jumps.
    #[test]
    fn never_more_than_rate_and_burst(
        rate in RATES,
        burst in BURSTS,
        asked in prop::collection::vec((1u64..20_000, 0u64..100_000_000), 1..200),
    ) {
        let plan = own(rate, burst);
        let (mut now, mut taken) = (SECOND, 0u64);
        for (octets, pause) in asked {
            now += pause;
            if let Ok(lease) = plan.lease(octets, now) {
                prop_assert!(lease.octets >= octets);
                taken += lease.octets;
            }
            let given = u128::from(rate) * u128::from(now - SECOND) / (8 * u128::from(SECOND));
            // A thousandth for what is rounded.
            let most = u128::from(burst) + given + given / 1000 + 1;
            prop_assert!(u128::from(taken) <= most, "{taken} of {most}");
        }
    }

    /// After the time that a refusal names, the same is there.
    #[test]
    fn a_refusal_says_when(rate in RATES, burst in BURSTS, octets in 1u64..9_500) {
        let plan = own(rate, burst);
        let now = 3 * SECOND;
        let until = loop {
            if let Err(until) = plan.lease(octets, now) {
                break until;
            }
        };
        prop_assert!(until > now);
        prop_assert!(plan.lease(octets, until).is_ok());
    }

    #[test]
    fn the_end_of_time_does_no_harm(rate in RATES, now in prop::num::u64::ANY) {
        let plan = own(rate, 10_000);
        let _ = plan.lease(9_000, now);
        let _ = plan.lease(9_000, u64::MAX);
    }
}
