//! What was measured: JSON rows, and a table on the terminal.

use std::path::Path;

use serde_json::{Value, json};

use crate::count::Count;
use crate::measure::median;
use crate::pages::Pages;

pub struct Row {
    pub part: &'static str,
    pub implementation: String,
    pub case: String,
    /// Nanoseconds of processor time a packet, frame source included, and those of the source alone.
    pub ns: f64,
    pub source_ns: f64,
    /// Instructions a packet, without the source's.
    pub instructions: Option<Count>,
    pub size: Option<Size>,
    /// How many forward at once.
    pub workers: usize,
    /// Of a rival: the station's packets a second to its, round by round.
    pub ratios: Vec<f64>,
    /// What its process's memory is of.
    pub pages: Option<Pages>,
}

/// How large a station was that a row is about.
pub struct Size {
    /// What grows along the series, and how far it has grown here.
    pub series: &'static str,
    pub at: usize,
    /// Memory of tables, routes and counters.
    pub mib: f64,
    /// Processor seconds from the configuration's text to a worker that forwards.
    pub start_s: f64,
}

impl Row {
    /// What the frames cost beyond their source.
    pub fn net_ns(&self) -> f64 {
        self.ns - self.source_ns
    }

    /// The least, the median and the most of the ratios to the station.
    pub fn ratio(&self) -> Option<[f64; 3]> {
        let least = self.ratios.iter().copied().min_by(f64::total_cmp)?;
        let most = self.ratios.iter().copied().max_by(f64::total_cmp)?;
        Some([least, median(self.ratios.clone()), most])
    }

    /// Million packets of all workers in a second that each has for itself.
    fn mpps(&self) -> f64 {
        self.workers as f64 * 1e3 / self.net_ns()
    }
}

fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// Rows as JSON: `ns_per_packet` and `mpps` are without the source, which is stated beside them.
pub fn json(rows: &[Row]) -> Value {
    rows.iter()
        .map(|row| {
            let mut object = json!({
                "part": row.part,
                "implementation": row.implementation,
                "case": row.case,
                "mpps": rounded(row.mpps()),
                "ns_per_packet": rounded(row.net_ns()),
                "instructions_per_packet": row.instructions.as_ref().map(|count| rounded(count.total())),
                "ns_with_source": rounded(row.ns),
                "source_ns": rounded(row.source_ns),
            });
            if let Some(ratio) = row.ratio() {
                let [least, median, most] = ratio.map(rounded);
                object["station_to_it"] = median.into();
                object["station_to_it_least"] = least.into();
                object["station_to_it_most"] = most.into();
                object["rounds"] = row.ratios.len().into();
            }
            if let Some(Pages { all, transparent, reserved }) = row.pages {
                object["pages_mib"] = json!({
                    "all": rounded(all),
                    "transparent_huge": rounded(transparent),
                    "reserved_huge": rounded(reserved),
                });
            }
            if let Some(size) = &row.size {
                object["series"] = size.series.into();
                object["at"] = size.at.into();
                object["mib"] = rounded(size.mib).into();
                object["start_s"] = rounded(size.start_s).into();
            }
            if let Some(count) = &row.instructions {
                let profile = count.profile().map(|(name, n)| (name.clone(), rounded(n)));
                object["profile"] = profile.collect();
            }
            object
        })
        .collect()
}

pub fn write(path: &Path, rows: &[Row]) -> Result<(), String> {
    let text = format!("{:#}\n", json(rows));
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

pub fn print(rows: &[Row]) {
    println!(
        "\n{:<14} {:<48} {:>7} {:>7} {:>7} {:>7} {:>6}",
        "", "", "Mpps", "ns", "source", "net ns", "instr"
    );
    for row in rows {
        println!(
            "{:<14} {:<48} {:>7.2} {:>7.1} {:>7.1} {:>7.1} {:>6}",
            row.implementation,
            row.case,
            row.mpps(),
            row.ns,
            row.source_ns,
            row.net_ns(),
            row.instructions.as_ref().map_or("-".into(), |count| format!("{:.0}", count.total())),
        );
    }
}
