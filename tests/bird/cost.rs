//! What questions cost BIRD, whose only thread speaks BGP too.

use std::time::Duration;

use station::admin::rows::BgpRow;

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
