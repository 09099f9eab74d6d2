use std::time::Duration;

use super::*;

const RULE: Rule = Rule { misses: 3, hits: 2, need: 1, limits: [None; 3] };

struct Run {
    probe: Probe,
    now: Instant,
    rule: Rule,
    changes: Vec<State>,
    crossings: Vec<(Measure, bool)>,
}

impl Run {
    fn new(targets: usize, rule: Rule) -> Run {
        let now = Instant::now();
        let probe = Probe::new(targets, &Recorder::new().unwrap(), now);
        Run { probe, now, rule, changes: Vec::new(), crossings: Vec::new() }
    }

    /// `+`: an answer of the first target after a millisecond, `-`: a miss, `i`: nothing can leave; a second apart.
    fn take(&mut self, results: &str) -> &mut Run {
        for result in results.chars() {
            self.take_of(0, result, 1000);
        }
        self
    }

    fn take_of(&mut self, target: usize, result: char, rtt_us: u32) {
        self.now += Duration::from_secs(1);
        let of = &mut self.probe.targets[target];
        let crossings = match result {
            'i' => {
                of.idle(self.now);
                Vec::new()
            }
            '+' => {
                of.sent(self.now);
                of.answered(rtt_us, &self.rule, self.now)
            }
            _ => {
                of.sent(self.now);
                of.missed("timeout".into(), &self.rule, self.now)
            }
        };
        self.crossings.extend(crossings.into_iter().map(|it| (it.measure, it.beyond)));
        self.changes.extend(self.probe.judge(&self.rule, self.now));
    }
}

#[test]
fn what_counts_comes_in_a_row() {
    use State::{Down, Idle, Unknown, Up};
    let mut run = Run::new(1, RULE);
    assert_eq!(run.take("+-+--+-+").changes, []);
    assert_eq!(run.take("+").changes, [Up]);
    assert_eq!(run.take("--+--+---").changes, [Up, Down], "down by the third in a row");
    assert_eq!(run.take("+-+-+").changes, [Up, Down]);
    assert_eq!(run.take("+").changes, [Up, Down, Up], "the first return counts at once");
    assert_eq!(run.take("ii-").changes[3..], [Idle, Unknown], "what was asked before is over");
    assert_eq!(run.take("--").changes[5..], [Down]);
}

#[test]
fn what_was_on_its_way_when_the_port_went_down_is_no_miss() {
    let mut run = Run::new(1, Rule { misses: 1, ..RULE });
    run.take("++i");
    let target = &mut run.probe.targets[0];
    assert_eq!(target.missed("late".into(), &run.rule, run.now), []);
    assert_eq!((target.state(), target.counts().lost), (State::Idle, 1));
}

#[test]
fn what_may_not_have_been_asked_is_lost_and_no_miss() {
    let mut run = Run::new(1, Rule { misses: 1, ..RULE });
    run.take("++");
    let target = &mut run.probe.targets[0];
    target.sent(run.now);
    target.unresolved("ARP".into());
    assert_eq!((target.state(), target.counts().lost, target.window()), (State::Up, 1, 2));
}

#[test]
fn what_was_never_up_is_down_after_its_misses() {
    assert_eq!(Run::new(1, RULE).take("---").changes, [State::Down]);
}

#[test]
fn a_probe_needs_as_many_targets_as_it_says() {
    let mut run = Run::new(3, Rule { need: 2, hits: 1, misses: 1, ..RULE });
    run.take_of(0, '+', 10);
    assert_eq!(run.changes, [], "one is not enough");
    run.take_of(1, '+', 10);
    assert_eq!(run.changes, [State::Up]);
    run.take_of(2, '-', 10);
    assert_eq!(run.changes, [State::Up]);
    run.take_of(0, '-', 10);
    assert_eq!(run.changes, [State::Up, State::Down]);
}

#[test]
fn what_flaps_at_any_period_counts_ever_later() {
    for period in 1..40_usize {
        let mut run = Run::new(1, Rule { misses: 2, hits: 2, ..RULE });
        let round = "+".repeat(period) + &"-".repeat(period);
        let seconds = 7200;
        run.take(&round.repeat(seconds / round.len()));
        let ups = run.changes.iter().filter(|&&state| state == State::Up).count();
        // 5, 10, 20 ... 300 s: what answers for less than it has to wait is never up again.
        assert!(ups <= 8, "{ups} times up by a period of {period} s");
        // It behaves for as long as it has to.
        run.take(&"+".repeat(310));
        assert_eq!(run.probe.state(), State::Up, "by a period of {period} s");
        assert_eq!(run.probe.held_until(), None);
    }
}

#[test]
fn a_limit_is_passed_once_however_near_the_value_stays() {
    let mut run = Run::new(1, Rule { limits: [Some(20), Some(5_000), None], ..RULE });
    // Around 20 % for a long time.
    for n in 0..1000 {
        run.take_of(0, if n % 5 == 0 || n % 97 == 0 { '-' } else { '+' }, 1000);
    }
    assert_eq!(run.crossings, [(Measure::Loss, true)]);
    run.take(&"+".repeat(100));
    assert_eq!(run.crossings, [(Measure::Loss, true), (Measure::Loss, false)]);
    run.crossings.clear();
    for rtt_us in [6_000; 60].into_iter().chain([4_500; 80]).chain([3_000; 60]) {
        run.take_of(0, '+', rtt_us);
    }
    assert_eq!(run.crossings, [(Measure::Rtt, true), (Measure::Rtt, false)]);
}

#[test]
fn jitter_is_rfc_3550s() {
    let mut run = Run::new(1, RULE);
    for n in 0..200 {
        run.take_of(0, '+', if n % 2 == 0 { 1_000 } else { 3_000 });
    }
    // The mean of |D| is 2 ms.
    let jitter = run.probe.targets[0].measure(Measure::Jitter).unwrap();
    assert!((1_950..=2_050).contains(&jitter), "{jitter}");
}

#[test]
fn rtts_are_kept_for_a_while() {
    let mut run = Run::new(1, RULE);
    for rtt_us in 1..=1000 {
        run.take_of(0, '+', rtt_us * 10);
    }
    let [median, p99, max] = run.probe.targets[0].recent_us().unwrap();
    let close = |value: u64, to: u64| value.abs_diff(to) * 100 <= 2 * to;
    assert!(
        close(median, 5_000) && close(p99, 9_900) && close(max, 10_000),
        "{median} {p99} {max}"
    );
    run.take(&"+".repeat(1900));
    assert!(run.probe.targets[0].recent_us().unwrap().iter().all(|&value| close(value, 1_000)));
    let counts = run.probe.targets[0].counts();
    assert_eq!((counts.sent, counts.received, counts.lost), (2900, 2900, 0));
    assert_eq!(counts.buckets.iter().sum::<u64>(), 2900);
    assert_eq!(counts.sum_us, (1..=1000).map(|n| n * 10).sum::<u64>() + 1900 * 1000);
}
