//! What was measured, as JSON, a Markdown table and plots.

use crate::pages::Pages;
use crate::{Options, aims, instructions, plot};
use serde_json::json;
use std::fmt::Write as _;
use std::path::Path;

pub struct Row {
    pub implementation: String,
    pub family: &'static str,
    pub mode: &'static str,
    pub pattern: &'static str,
    pub mlps: f64,
    /// To the station's bursts of the same addresses: the median over the rounds.
    pub ratio: f64,
    /// The least and the most of these.
    pub range: [f64; 2],
    pub mib: f64,
    pub build_s: f64,
    pub updates_per_s: Option<f64>,
    /// Where callgrind can run it.
    pub counts: Option<Counts>,
}

/// What callgrind counts for each lookup.
#[derive(Clone, Copy)]
pub struct Counts {
    /// None where the code that it ran is not the code that was timed.
    pub instructions: Option<f64>,
    /// Loads that miss simulated caches of the first and the second level.
    pub l1_misses: f64,
    pub l2_misses: f64,
}

/// What callgrind counts for each change.
pub struct ChangeCounts {
    pub family: String,
    pub implementation: String,
    pub instructions: f64,
    /// Loads that miss simulated caches of the first and the second level.
    pub misses: [f64; 2],
}

pub struct VrfRow {
    pub implementation: &'static str,
    pub routes: usize,
    pub mlps: f64,
    pub bytes: f64,
    /// The station's rate to prefix-trie's: the median over the rounds.
    pub ratio: f64,
}

#[derive(Default)]
pub struct Report {
    pub rows: Vec<Row>,
    pub vrfs: Vec<VrfRow>,
    /// Microseconds a single update: p50, p99, p99.9, max.
    pub latency: Vec<(&'static str, [f64; 4])>,
    pub change_counts: Vec<ChangeCounts>,
    /// Why callgrind has not counted, or not all.
    pub not_counted: Option<String>,
    /// The longer of inserting and withdrawing a short prefix of this length, in microseconds.
    pub short: Vec<(&'static str, u8, f64)>,
    pub batched: Vec<(&'static str, f64)>,
    /// The rate of changes one by one to a rival's: the median over the parts of the day.
    pub updates_to: Vec<(&'static str, &'static str, f64)>,
    /// MiB of the routes as they were given.
    pub rib: Vec<(&'static str, f64)>,
    /// Lookup time beside 10,000 updates a second, less 1.
    pub slowdown: Vec<(&'static str, f64)>,
    /// By family and origin: what the process got for these tables, or, for DPDK's first, for its heap.
    pub pages: Vec<(&'static str, Vec<(&'static str, Pages)>)>,
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

impl Report {
    pub fn set_updates(&mut self, implementation: &str, family: &str, rate: f64) {
        for row in &mut self.rows {
            let name = row.implementation.split(' ').next();
            if row.family == family && name == Some(implementation) {
                row.updates_per_s = Some(rate);
            }
        }
    }

    pub fn set_counts(
        &mut self,
        implementation: &str,
        mode: &str,
        family: &str,
        pattern: &str,
        counts: Counts,
    ) {
        let same = |row: &&mut Row| {
            (&*row.implementation, row.mode, row.family, row.pattern)
                == (implementation, mode, family, pattern)
        };
        if let Some(row) = self.rows.iter_mut().find(same) {
            row.counts = Some(counts);
        }
    }

    pub fn finish(&self, options: &Options) -> Result<(), String> {
        std::fs::create_dir_all(&options.out).map_err(|error| error.to_string())?;
        for family in ["v4", "v6"] {
            for mode in ["burst", "single"] {
                let rows: Vec<&Row> = self
                    .rows
                    .iter()
                    .filter(|row| row.family == family && row.mode == mode)
                    .collect();
                let title = format!("Longest-prefix match, IP{family}, full table, {mode}");
                write(
                    &options.out.join(format!("fib-{family}-{mode}.svg")),
                    &plot::lookups(&title, &rows),
                )?;
            }
        }
        let aims = aims::of(self);
        write(&options.out.join("fib-aims.svg"), &plot::aims(&aims))?;
        write(&options.out.join("fib.md"), &self.markdown(&aims))?;
        println!("table and plots: {}", options.out.display());
        if let Some(path) = &options.json {
            let rows: Vec<_> = self.rows.iter().map(|row| json!({
                "implementation": row.implementation, "family": row.family, "mode": row.mode,
                "pattern": row.pattern, "mlps": row.mlps, "mib": row.mib, "build_s": row.build_s,
                "updates_per_s": row.updates_per_s, "ratio": row.ratio,
                "ratio_least": row.range[0], "ratio_most": row.range[1],
                "instructions": row.counts.and_then(|counts| counts.instructions),
                "l1_misses": row.counts.map(|counts| counts.l1_misses),
                "l2_misses": row.counts.map(|counts| counts.l2_misses),
            })).collect();
            let vrfs: Vec<_> = self.vrfs.iter().map(|row| json!({
                "implementation": row.implementation, "routes": row.routes, "mlps": row.mlps,
                "bytes": row.bytes, "ratio": row.ratio,
            })).collect();
            let updates: Vec<_> = self.latency.iter().map(|(family, us)| json!({
                "family": family, "p50_us": us[0], "p99_us": us[1], "p999_us": us[2], "max_us": us[3],
                "counts": self.change_counts.iter().filter(|counts| counts.family == *family).map(|counts| json!({
                    "implementation": counts.implementation, "instructions": counts.instructions, "misses": counts.misses,
                })).collect::<Vec<_>>(),
                "batched_per_s": self.batched.iter().find(|(of, _)| of == family).map(|(_, rate)| rate),
            })).collect();
            let short: Vec<_> = self
                .short
                .iter()
                .map(|(family, len, us)| json!({"family": family, "length": len, "us": us}))
                .collect();
            let slower: Vec<_> = self
                .slowdown
                .iter()
                .map(|(family, by)| json!({"family": family, "slowdown": by}))
                .collect();
            let by_origin = |of: &[(&'static str, Pages)]| {
                let each = of.iter().map(|(origin, pages)| {
                    json!({
                        "origin": origin, "mib": pages.all, "transparent_huge_mib": pages.transparent,
                        "reserved_huge_mib": pages.reserved,
                    })
                });
                each.collect::<Vec<_>>()
            };
            let pages: Vec<_> = self
                .pages
                .iter()
                .map(|(family, of)| json!({"family": family, "got": by_origin(of)}))
                .collect();
            let aims: Vec<_> = aims
                .iter()
                .map(|aim| json!({"what": aim.what, "aim": aim.asked, "measured": aim.found, "met": aim.score >= 1.0,
                             "why": if aim.score < 1.0 { &aim.why } else { "" }}))
                .collect();
            let all = json!({ "rows": rows, "aims": aims, "vrfs": vrfs, "update_latency": updates, "short_prefixes": short, "beside_updates": slower, "not_counted": self.not_counted, "pages": pages });
            write(path, &format!("{all:#}\n"))?;
        }
        Ok(())
    }

    fn markdown(&self, aims: &[aims::Aim]) -> String {
        let mut text = String::from(
            "Million lookups in a processor second of one thread: medians. A ratio is to the station's bursts of the same \
             addresses, taken round by round.\n\n\
             | family | implementation | mode | random | inside | zipf | ratios (least to most) | instructions | misses | MiB | build s | updates/s |\n\
             |---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
        );
        for first in self.rows.iter().filter(|row| row.pattern == "random") {
            let of = |pattern: &str| {
                self.rows.iter().find(|row| {
                    row.implementation == first.implementation
                        && row.mode == first.mode
                        && row.family == first.family
                        && row.pattern == pattern
                })
            };
            let (Some(inside), Some(zipf)) = (of("inside"), of("zipf")) else { continue };
            let instructions = inside
                .counts
                .and_then(|counts| counts.instructions)
                .map_or(String::new(), |each| format!("{each:.0}"));
            let misses: Vec<String> = [first, inside, zipf]
                .iter()
                .filter_map(|row| Some(format!("{:.2}", row.counts?.l2_misses)))
                .collect();
            let misses = misses.join(" ");
            let ratios = [first, inside, zipf].map(|row| {
                format!("{:.2} ({:.2} to {:.2})", row.ratio, row.range[0], row.range[1])
            });
            let ratios = ratios.join(", ");
            let updates =
                first.updates_per_s.map_or(String::new(), |rate| format!("{:.2} M", rate / 1e6));
            let _ = writeln!(
                text,
                "| {} | {} | {} | {:.1} | {:.1} | {:.1} | {ratios} | {instructions} | {misses} | {:.1} | {:.3} | {updates} |",
                first.family,
                first.implementation,
                first.mode,
                first.mlps,
                inside.mlps,
                zipf.mlps,
                first.mib,
                first.build_s
            );
        }
        text += "\nWhat the process got for the tables of each (DPDK takes its heap with its first one):\n\n";
        for (family, of) in &self.pages {
            for (origin, pages) in of {
                let _ = writeln!(text, "- {family}, {origin}: {pages}");
            }
        }
        text += instructions::ABOUT;
        if let Some(why) = &self.not_counted {
            let _ = writeln!(text, "\nNot counted in this run, or not all: {why}.");
        }
        text += "\n| 4096 VRFs, routes each | implementation | Mlps | octets each |\n|---:|---|---:|---:|\n";
        for row in &self.vrfs {
            let _ = writeln!(
                text,
                "| {} | {} | {:.1} | {:.0} |",
                row.routes, row.implementation, row.mlps, row.bytes
            );
        }
        text += "\n| family | update p50 us | p99 | p99.9 | max | batches of 1000 | lookup time beside 10k updates/s |\n\
                 |---|---:|---:|---:|---:|---:|---:|\n";
        for ((family, us), ((_, batched), (_, slower))) in
            self.latency.iter().zip(self.batched.iter().zip(&self.slowdown))
        {
            let _ = writeln!(
                text,
                "| {family} | {:.2} | {:.2} | {:.2} | {:.1} | {:.2} M/s | {:+.1} % |",
                us[0],
                us[1],
                us[2],
                us[3],
                batched / 1e6,
                slower * 100.0
            );
        }
        text += "\n| family | a change of a prefix of this length, us |\n|---|---|\n";
        for family in ["v4", "v6"] {
            let of = self.short.iter().filter(|short| short.0 == family);
            let each: Vec<String> = of.map(|(_, len, us)| format!("/{len}: {us:.0}")).collect();
            let _ = writeln!(text, "| {family} | {} |", each.join(", "));
        }
        text += "\nEach aim is met or missed; a ratio is to the best rival of this run with the same addresses.\n\n\
                 | | aim | measured | | why |\n|---|---:|---:|---|---|\n";
        for aim in aims {
            let (met, why) = if aim.score >= 1.0 { ("met", "") } else { ("**missed**", &*aim.why) };
            let _ =
                writeln!(text, "| {} | {} | {} | {met} | {why} |", aim.what, aim.asked, aim.found);
        }
        text
    }
}
