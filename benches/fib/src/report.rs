//! What was measured, as JSON, a Markdown table and plots.

use crate::Options;
use serde_json::json;

pub struct Row {
    pub implementation: String,
    pub family: &'static str,
    pub mode: &'static str,
    pub pattern: &'static str,
    pub mlps: f64,
    pub mib: f64,
    pub build_s: f64,
    pub updates_per_s: Option<f64>,
}

pub struct VrfRow {
    pub implementation: &'static str,
    pub routes: usize,
    pub mlps: f64,
    pub bytes: f64,
}

#[derive(Default)]
pub struct Report {
    pub rows: Vec<Row>,
    pub vrfs: Vec<VrfRow>,
    /// Microseconds a single update: p50, p99, p99.9, max.
    pub latency: Vec<(&'static str, [f64; 4])>,
    pub batched: Vec<(&'static str, f64)>,
    pub slowdown: Vec<(&'static str, f64)>,
}

impl Report {
    pub fn set_updates(&mut self, implementation: &str, family: &str, rate: f64) {
        for row in &mut self.rows {
            if row.family == family && row.implementation.starts_with(implementation) {
                row.updates_per_s = Some(rate);
            }
        }
    }

    pub fn finish(&self, options: &Options) -> Result<(), String> {
        let rows: Vec<_> = self
            .rows
            .iter()
            .map(|row| {
                json!({
                    "implementation": row.implementation, "family": row.family, "mode": row.mode,
                    "pattern": row.pattern, "mlps": row.mlps, "mib": row.mib, "build_s": row.build_s,
                    "updates_per_s": row.updates_per_s,
                })
            })
            .collect();
        if let Some(path) = &options.json {
            std::fs::write(path, format!("{:#}\n", json!({ "rows": rows })))
                .map_err(|error| format!("{}: {error}", path.display()))?;
        }
        Ok(())
    }
}
