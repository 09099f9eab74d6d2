//! `[latency]`.

use super::fields::Fields;
use super::labels::changes;

/// One of at most so many frames is timed.
const MAX_SAMPLE: u32 = 65_536;

/// `[latency]`: how long frames are in the station is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatencyConfig {
    /// One of so many frames is timed: a power of two.
    pub sample: u32,
}

pub(super) fn latency(fields: Option<Fields<'_>>) -> Option<LatencyConfig> {
    let fields = fields?;
    let mut latency = LatencyConfig { sample: 256 };
    if let Some(sample) = fields.integer("sample", 1..=MAX_SAMPLE) {
        latency.sample = sample.value;
        if !sample.value.is_power_of_two() {
            let message = format!("{} is not a power of two", sample.value);
            let help = format!("write {}", sample.value.next_power_of_two());
            fields.refuse(&sample.span, "sample", message, help);
        }
    }
    fields.finish();
    Some(latency)
}

/// What changes, for people.
pub(super) fn change(old: Option<LatencyConfig>, new: Option<LatencyConfig>) -> Option<String> {
    let text = |latency: Option<LatencyConfig>| {
        latency.map_or_else(|| "off".to_owned(), |latency| latency.sample.to_string())
    };
    changes(&[("sample", text(old), text(new))])
}
