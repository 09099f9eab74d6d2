//! What questions cost BIRD, whose only thread speaks BGP too.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use station::admin::rows::BgpRow;
use station::bird::{self, ProcessError};

use crate::live::{router, tenants};
use crate::wire::{Wire, wait};

/// Routes of a session that are refused: nearly as many as its limits let in.
const REFUSED: u64 = 1_190;

/// Milliseconds that BIRD has run.
fn ran_ms(wire: &Wire) -> f64 {
    let path = format!("/proc/{}/schedstat", wire.pid().expect("BIRD runs"));
    let text = std::fs::read_to_string(path).unwrap();
    text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e6
}

/// Refused routes of a session have their causes listed, but an answer about many sessions costs BIRD a bounded time.
#[test]
#[ignore = "needs root and BIRD"]
fn a_summary_of_refused_routes_costs_bird_little() {
    let refused: Vec<String> =
        (0..REFUSED).map(|n| format!("169.254.{}.{}/32", n / 250, n % 250)).collect();
    let refused: Vec<&str> = refused.iter().map(String::as_str).collect();
    for sessions in [1, 100] {
        let wire = Wire::new(tenants(sessions, "", ""));
        let routers: Vec<_> = (1..=sessions).map(|n| router(n, &refused)).collect();
        wire.routers(&routers);
        wire.wait_established(sessions.into());
        let sum = |rows: &[BgpRow]| rows.iter().flat_map(|row| row.rejected.values()).sum::<u64>();
        let all = u64::from(sessions) * REFUSED;
        wait(Duration::from_secs(60), || match sum(&wire.summary()) {
            found if found == all => Ok(()),
            found => Err(format!("{found} of {all}")),
        });
        let rows = wire.summary();
        let counted = rows.iter().filter(|row| row.rejected.get("martian") == Some(&REFUSED));
        // All that fit into 20,000.
        assert_eq!(counted.count(), usize::from(sessions.min(16)));
        let uncounted = rows.iter().filter(|row| row.rejected.contains_key("not_counted"));
        assert_eq!(uncounted.count(), usize::from(sessions.saturating_sub(16)));
        let before = ran_ms(&wire);
        for _ in 0..5 {
            wire.summary();
        }
        let each = (ran_ms(&wire) - before) / 5.0;
        println!(
            "{sessions} sessions with {REFUSED} refused routes: {each:.1} ms of BIRD's thread"
        );
        assert!(each < 150.0, "{each} ms");
    }
}

/// A filter that mentions a word of BIRD's own makes it walk all filters that do.
#[test]
fn filters_are_made_of_calls() {
    let text = crate::render(crate::CONFIG);
    let functions: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("function ")?.split('(').next())
        .chain(["martians4", "martians6", "bogons4", "bogons6"])
        .collect();
    let filters = text.split("port filter {").skip(1).map(|rest| rest.split('}').next().unwrap());
    let mut calls = 0;
    for statement in filters.flat_map(|filter| filter.split_inclusive(';')) {
        // Sets have names within quotes; prefixes and addresses may have letters too.
        let bare = statement.split('\'').step_by(2).collect::<String>();
        let words = bare.split(|c: char| !(c.is_ascii_alphanumeric() || "_:.".contains(c)));
        let words = words.filter(|word| word.starts_with(|c: char| c.is_ascii_alphabetic()));
        for word in words.filter(|word| !word.contains(':')) {
            assert!(functions.contains(word), "{word:?} in {statement}");
            calls += 1;
        }
    }
    assert!(calls > 100, "{calls}");
}

#[test]
fn reading_takes_bird_a_time_by_the_session() {
    let seconds = |sessions| {
        let rendered = crate::render_with(&tenants(sessions, "", ""), crate::at()).unwrap();
        let tries = (0..3).map(|_| {
            let started = Instant::now();
            bird::check(Path::new(crate::BIRD), &rendered).map(|()| started.elapsed().as_secs_f64())
        });
        tries.collect::<Result<Vec<_>, _>>().map(|took| took.into_iter().fold(f64::MAX, f64::min))
    };
    match (seconds(400), seconds(3200)) {
        (Ok(few), Ok(many)) => {
            println!("{few:.3} s for 400 sessions, {many:.3} s for 3,200");
            assert!(many < 24.0 * few, "8 times the sessions: {few:.3} s, {many:.3} s");
        }
        (Err(ProcessError::Program { .. }), _) => println!("skipped: BIRD is not installed"),
        failed => panic!("{failed:?}"),
    }
}
