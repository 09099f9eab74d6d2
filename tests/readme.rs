//! Keeps the README's tables of reasons what the code says.

use station::tables::{DropReason, PuntReason, SlowOutcome, TapEvent};

#[test]
fn every_cause_of_a_rejected_route_is_in_the_readme() {
    let readme = include_str!("../README.md");
    for cause in station::bird::Cause::ALL {
        let row = format!("| `{}` | {} |", cause.name(), cause.help());
        assert!(readme.contains(&row), "README.md lacks the row\n{row}");
    }
}

#[test]
fn every_reason_is_in_the_readme_with_its_meaning() {
    let readme = include_str!("../README.md");
    let drops = DropReason::ALL.iter().map(|r| (r.name(), r.help()));
    let punts = PuntReason::ALL.iter().map(|r| (r.name(), r.help()));
    let outcomes = SlowOutcome::ALL.iter().map(|r| (r.name(), r.help()));
    let events = TapEvent::ALL.iter().map(|r| (r.name(), r.help()));
    for (name, help) in drops.chain(punts).chain(outcomes).chain(events) {
        let row = format!("| `{name}` | {help} |");
        assert!(readme.contains(&row), "README.md lacks the row\n{row}");
    }
}
