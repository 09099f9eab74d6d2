//! What the table should reach, and whether it did. Speeds are asked for as ratios to the best rival of the same run, for absolute
//! figures move with the machine: as many times as fast as the aim's author wanted it to be on the machine
//! where the rivals were measured first.

use crate::report::{ChangeCounts, Report, Row};

pub struct Aim {
    pub what: String,
    /// What was asked for and what was found, in words.
    pub asked: String,
    pub found: String,
    /// From 1 on it is met.
    pub score: f64,
    /// Why it is missed, where it is.
    pub why: String,
}

const GROWTH: &str = "two dependent steps and three loads where the rival's table has one load";
const IPV4_RANDOM: &str = "the aim is from a processor with 2 MiB of second-level cache; this one's holds less of the 4.4 MiB";
const FLAT: &str = "the same one load as the rival's";
const SINGLE: &str = "one load of the table, as rte_lpm's, and the head of the VRF before it (measured apart in src/fib/DESIGN.md)";
const IPV6: &str = "a /48 is four chunks below the tables where the rival has three groups of entries; other strides are no faster (src/fib/DESIGN.md)";
const MEMORY: &str = "the generated table is less aggregated than a real one";
const UPDATES: &str = "one by one each goes down the tree of routes and compiles its chunk; in batches each chunk is compiled once";
const UNDER: &str = "each chunk under it that does not override it is compiled";
const TIME: &str = "absolute: the aim was set on another machine";
const NOISE: &str = "identical code is this far apart in one run (a variant and the station that chose it): neighbours on the machine";
const VRFS: &str = "each lane loads another head and 4 to 6 chunks: 4.7, 5.6 and 6.6 loads of a lookup miss 32 KiB, 3, 4 and 5 of them 512 KiB";

/// What a row of ours is to the best row of anybody else's, and both.
fn to_best<'a>(
    rows: &'a [Row],
    ours: &str,
    family: &str,
    mode: &str,
    pattern: &str,
) -> Option<(f64, &'a Row, &'a Row)> {
    let same = |row: &&Row| row.family == family && row.mode == mode && row.pattern == pattern;
    let own = rows.iter().filter(same).find(|row| row.implementation == ours)?;
    let best = rows
        .iter()
        .filter(same)
        .filter(|row| !row.implementation.starts_with("station"))
        .max_by(|a, b| a.ratio.total_cmp(&b.ratio))?;
    Some((own.ratio / best.ratio, own, best))
}

/// The fastest of the variants that a row of ours was chosen from.
fn best_variant<'a>(rows: &'a [Row], own: &Row) -> Option<&'a Row> {
    rows.iter()
        .filter(|row| (row.family, row.mode, row.pattern) == (own.family, own.mode, own.pattern))
        .filter(|row| {
            row.implementation.split_once(' ').is_some_and(|(of, _)| of == own.implementation)
        })
        .max_by(|a, b| a.ratio.total_cmp(&b.ratio))
}

/// What callgrind counts for a change.
fn changes(report: &Report, family: &str, implementation: &str) -> Option<String> {
    let of =
        |counts: &&ChangeCounts| counts.family == family && counts.implementation == implementation;
    let ChangeCounts { instructions, misses: [l1, l2], .. } =
        report.change_counts.iter().find(of)?;
    Some(format!(
        "{instructions:.0} instructions and loads that miss 32 KiB and 512 KiB {l1:.0} and {l2:.0} times"
    ))
}

/// Every aim for which there is a measurement.
pub fn of(report: &Report) -> Vec<Aim> {
    let mut aims = Vec::new();
    let mut speed = |ours: &str,
                     family: &str,
                     mode: &str,
                     asked: [f64; 3],
                     why: [&'static str; 3]| {
        for ((pattern, asked), why) in ["random", "inside", "zipf"].iter().zip(asked).zip(why) {
            if asked > 0.0
                && let Some((found, own, best)) = to_best(&report.rows, ours, family, mode, pattern)
            {
                let why = match own.counts.zip(best.counts) {
                    Some((own, best)) => format!(
                        "{why}; loads of a lookup that miss a simulated 32 KiB: {:.2}, the rival's {:.2}; 512 KiB: {:.2}, {:.2}",
                        own.l1_misses, best.l1_misses, own.l2_misses, best.l2_misses
                    ),
                    None => why.to_owned(),
                };
                let why = match best_variant(&report.rows, own) {
                    Some(best) if best.ratio > 1.05 * own.ratio => format!(
                        "{why}; {} is {:.2} times as fast as what the race at the start chose",
                        best.implementation,
                        best.ratio / own.ratio
                    ),
                    _ => why,
                };
                aims.push(Aim {
                    what: format!("{ours}, IP{family}, {mode}, {pattern}"),
                    asked: format!("{asked:.2} x"),
                    found: format!("{found:.2} x {}", best.implementation),
                    score: found / asked,
                    why,
                });
            }
        }
    };
    speed("station-compact", "v4", "burst", [3.52, 1.11, 0.65], [IPV4_RANDOM, GROWTH, GROWTH]);
    speed("station", "v4", "burst", [0.0, 1.06, 1.01], [FLAT; 3]);
    speed("station", "v4", "single", [1.71, 1.03, 0.63], [SINGLE; 3]);
    speed("station", "v6", "burst", [1.63, 1.94, 1.72], [IPV6; 3]);

    let mut most = |what: String, unit: &str, asked: f64, found: f64, why: &str| {
        aims.push(Aim {
            what,
            asked: format!("<= {asked} {unit}"),
            found: format!("{found:.*} {unit}", if found < 10.0 { 2 } else { 0 }),
            score: asked / found,
            why: why.to_owned(),
        });
    };
    for (ours, family, asked) in [("station-compact", "v4", 6.0), ("station", "v6", 5.0)] {
        if let Some(row) =
            report.rows.iter().find(|row| row.implementation == ours && row.family == family)
        {
            most(format!("{ours}, IP{family}, FIB"), "MiB", asked, row.mib, MEMORY);
        }
    }
    for &(family, mib) in &report.rib {
        most(format!("IP{family}, RIB"), "MiB", 10.0, mib, MEMORY);
    }
    for (family, us) in &report.latency {
        most(format!("IP{family}, a change, p99"), "us", 5.0, us[1], TIME);
        most(format!("IP{family}, the longest change of the day"), "us", 1000.0, us[3], NOISE);
    }
    for family in ["v4", "v6"] {
        let worst = report.short.iter().filter(|short| short.0 == family).map(|short| short.2);
        if let Some(worst) = worst.reduce(f64::max) {
            most(
                format!("IP{family}, the longest change of a /1 to /16"),
                "us",
                1000.0,
                worst,
                UNDER,
            );
        }
    }
    for &(family, slower) in &report.slowdown {
        most(
            format!("IP{family}, lookup time beside 10,000 changes/s"),
            "of that beside none",
            1.05,
            1.0 + slower,
            NOISE,
        );
    }
    for (family, rival, asked) in [("v4", "rte_fib", 0.79), ("v6", "rte_lpm6", 1.25)] {
        let build = |name: &str| {
            report
                .rows
                .iter()
                .find(|row| row.family == family && row.implementation.starts_with(name))
        };
        if let (Some(ours), Some(theirs)) = (build("station"), build(rival)) {
            most(
                format!("IP{family}, building"),
                &format!("of {rival}'s time"),
                asked,
                ours.build_s / theirs.build_s,
                TIME,
            );
        }
    }
    for (routes, bytes) in [(10, 600.0), (100, 3_072.0), (1000, 19_456.0)] {
        if let Some(row) =
            report.vrfs.iter().find(|row| row.routes == routes && row.implementation == "station")
        {
            most(format!("4096 VRFs of {routes} routes"), "octets each", bytes, row.bytes, VRFS);
        }
    }

    for &(family, rival, found) in &report.updates_to {
        let asked = match (family, rival) {
            ("v4", "rte_fib") => 1.03,
            ("v6", "rte_lpm6") => 1.02,
            _ => continue,
        };
        aims.push(Aim {
            what: format!("IP{family}, changes one by one"),
            asked: format!("{asked:.2} x"),
            found: format!("{found:.2} x {rival}"),
            score: found / asked,
            why: changes(report, family, "station")
                .zip(changes(report, family, rival))
                .map_or_else(
                    || UPDATES.to_owned(),
                    |(own, rivals)| format!("{UPDATES}; {own}, the rival {rivals}"),
                ),
        });
    }
    for (routes, asked) in [(10, 6.9), (100, 6.6), (1000, 6.0)] {
        if let Some(row) =
            report.vrfs.iter().find(|row| row.routes == routes && row.implementation == "station")
        {
            aims.push(Aim {
                what: format!("4096 VRFs of {routes} routes, bursts"),
                asked: format!("{asked:.1} x"),
                found: format!("{:.1} x prefix-trie", row.ratio),
                score: row.ratio / asked,
                why: VRFS.to_owned(),
            });
        }
    }
    aims
}
