//! Keeps the manual's page of counters, station-counters(7), what the code says: it is generated here.

use std::fmt::Write;

use station::bird::Cause;
use station::tables::{DropReason, PuntReason, SlowOutcome, TapEvent};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/man/station-counters.7");
const WRITE: &str = "STATION_WRITE_MANUAL";

/// `text` as lines of mdoc(7): a sentence a line, nothing in it taken for a request or an escape.
fn mdoc(text: &str) -> String {
    let mut page = String::new();
    for (part, piece) in text.replace('\\', "\\e").split('`').enumerate() {
        // Between two backticks is a name.
        page += if part == 0 { "" } else { ["\\fP", "\\fB"][part % 2] };
        page += piece;
    }
    let mut lines = String::new();
    for line in page.replace(". ", ".\n").lines() {
        let guard = if line.starts_with(['.', '\'']) { "\\&" } else { "" };
        let _ = writeln!(lines, "{guard}{line}");
    }
    lines
}

fn section<'a>(
    page: &mut String,
    title: &str,
    intro: &str,
    rows: impl Iterator<Item = (&'a str, &'a str)>,
) {
    let _ = write!(page, ".Sh {title}\n{}.Bl -tag -width Ds\n", mdoc(intro));
    for (name, help) in rows {
        let _ = write!(page, ".It Sy {name}\n{}", mdoc(help));
    }
    page.push_str(".El\n");
}

fn counters() -> String {
    let mut page = String::from(
        ".\\\" Generated from the tables in src/tables/verdict.rs and src/bird/session.rs by tests/readme.rs.\n\
         .Dd November 28, 2026\n.Dt STATION-COUNTERS 7\n.Os\n.Sh NAME\n.Nm station-counters\n\
         .Nd what a station counts, and what to do about it\n.Sh DESCRIPTION\n\
         Every frame is counted: received = forwarded + punted + drops by reason, exactly.\n\
         .Xr stationctl 1\n.Cm show counters\nshows the counters by these names.\n",
    );
    let drops = "Each drop grows exactly one counter by one: up to `unknown_vlan` per port (no VIF is known yet), the \
                 others per VIF.";
    section(&mut page, "DROP REASONS", drops, DropReason::ALL.iter().map(|r| (r.name(), r.help())));
    let punts = "Frames that the slow path handles.";
    section(&mut page, "PUNTS", punts, PuntReason::ALL.iter().map(|r| (r.name(), r.help())));
    let outcomes = "What became of the punted frames.";
    section(&mut page, "OUTCOMES", outcomes, SlowOutcome::ALL.iter().map(|r| (r.name(), r.help())));
    let events = "Frames between the kernel and the wire.";
    section(
        &mut page,
        "EVENTS AT A TAP",
        events,
        TapEvent::ALL.iter().map(|r| (r.name(), r.help())),
    );
    let causes = "Why a route that a peer sent is not used (`show bgp VIF routes received`).";
    section(
        &mut page,
        "CAUSES OF REJECTED ROUTES",
        causes,
        Cause::ALL.iter().map(|c| (c.name(), c.help())),
    );
    page.push_str(".Sh SEE ALSO\n.Xr stationctl 1 ,\n.Xr station-bgp 7 ,\n.Xr station-operations 7 ,\n.Xr stationd 8\n");
    page
}

#[test]
fn the_page_of_counters_is_what_the_code_says() {
    let page = counters();
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(PAGE, &page).unwrap();
    }
    let written = std::fs::read_to_string(PAGE).unwrap_or_default();
    let first = page.lines().zip(written.lines()).find(|(now, then)| now != then);
    assert!(
        page == written,
        "{PAGE} is not what the code says (first difference: {first:?}); \
         write it by: {WRITE}=1 cargo test --test readme"
    );
}

#[test]
fn text_is_no_request_and_no_escape() {
    assert_eq!(mdoc("'x' a\\b. .Sh `y z` is."), "\\&'x' a\\eb.\n\\&.Sh \\fBy z\\fP is.\n");
}
