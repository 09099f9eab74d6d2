//! What was measured: JSON rows, and a table on the terminal.

use std::path::Path;

use serde_json::{Value, json};

pub struct Row {
    pub implementation: String,
    pub case: String,
    /// Nanoseconds of processor time a packet, frame source included, and those of the source alone.
    pub ns: f64,
    pub source_ns: f64,
    /// Instructions a packet, without the source's.
    pub instructions: Option<f64>,
}

impl Row {
    /// What the frames cost beyond their source.
    pub fn net_ns(&self) -> f64 {
        self.ns - self.source_ns
    }
}

fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// Rows as JSON: `ns_per_packet` and `mpps` are without the source, which is stated beside them.
pub fn json(rows: &[Row]) -> Value {
    rows.iter()
        .map(|row| {
            json!({
                "part": "path",
                "implementation": row.implementation,
                "case": row.case,
                "mpps": rounded(1e3 / row.net_ns()),
                "ns_per_packet": rounded(row.net_ns()),
                "instructions_per_packet": row.instructions.map(rounded),
                "ns_with_source": rounded(row.ns),
                "source_ns": rounded(row.source_ns),
            })
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
            1e3 / row.net_ns(),
            row.ns,
            row.source_ns,
            row.net_ns(),
            row.instructions.map_or(String::from("-"), |count| format!("{count:.0}")),
        );
    }
}
