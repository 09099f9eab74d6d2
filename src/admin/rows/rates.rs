//! Rates of VIFs and ports.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Octets that a frame takes on the wire beside those that are counted: preamble and start of frame (8), FCS (4),
/// inter-frame gap (12) (IEEE 802.3 clause 4.4.2).
pub const L1_OVERHEAD: u32 = 24;

/// `show vifs --rate`, `show ports --rate`: how much passes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RateRow {
    /// `port` or `vif`.
    pub scope: String,
    /// Name of the port or VIF.
    pub name: String,
    /// Name of the port that it is on, or is.
    pub port: String,
    /// What a frame counts for: `l2`, its octets from the destination MAC on without FCS; with `--l1` `l1`, what it takes up
    /// of the wire.
    pub layer: String,
    /// Milliseconds since the counters were read last, once a second; `null` before the first time.
    pub age_ms: Option<u64>,
    /// The last second, 10 seconds and minute; empty until two readings know of it.
    pub windows: Vec<RateWindow>,
}

/// What passed between the last reading of the counters and an older one, a second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RateWindow {
    /// The window: 1, 10 or 60 seconds.
    pub window_s: u64,
    /// The time between the two readings, by which the numbers are divided, in seconds: shorter than the window
    /// where less is known, longer after a stall.
    pub measured_s: f64,
    /// Frames received a second.
    pub rx_frames_per_s: f64,
    /// Bits received a second, of octets as they are counted: from the destination MAC to the end of the payload, tags
    /// included, without FCS.
    pub rx_bits_per_s: f64,
    /// Frames sent a second.
    pub tx_frames_per_s: f64,
    /// Bits sent a second.
    pub tx_bits_per_s: f64,
    /// Bits received a second on the wire: 24 octets more a frame, for preamble, FCS and inter-frame gap. With `--l1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rx_l1_bits_per_s: Option<f64>,
    /// Bits sent a second on the wire. With `--l1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tx_l1_bits_per_s: Option<f64>,
}

impl RateWindow {
    /// Of frames and octets, received and sent, in a time.
    pub fn new(window_s: u64, time: Duration, frames: [u64; 2], octets: [u64; 2]) -> RateWindow {
        let seconds = time.as_secs_f64();
        let [rx_frames, tx_frames] = frames.map(|frames| per_second(frames, seconds));
        let [rx_bits, tx_bits] = octets.map(|octets| bits_per_s(octets, time));
        let on_wire = |direction: usize| {
            let overhead = frames[direction].saturating_mul(L1_OVERHEAD.into());
            bits_per_s(octets[direction].saturating_add(overhead), time)
        };
        RateWindow {
            window_s,
            measured_s: rounded(seconds),
            rx_frames_per_s: rx_frames,
            rx_bits_per_s: rx_bits,
            tx_frames_per_s: tx_frames,
            tx_bits_per_s: tx_bits,
            rx_l1_bits_per_s: Some(on_wire(0)),
            tx_l1_bits_per_s: Some(on_wire(1)),
        }
    }

    /// Both directions together.
    pub fn bits_per_s(&self) -> f64 {
        self.rx_bits_per_s + self.tx_bits_per_s
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people and for graphs")]
fn per_second(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { rounded(count as f64 / seconds) } else { 0.0 }
}

/// Octets in a time as bit/s.
pub fn bits_per_s(octets: u64, time: Duration) -> f64 {
    per_second(octets.saturating_mul(8), time.as_secs_f64())
}

/// To thousandths.
pub fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// A rate with a decimal unit and three digits, like `12.3 Mbit/s`.
pub fn bits_per_second(bits: f64) -> String {
    const UNITS: [&str; 5] = ["kbit/s", "Mbit/s", "Gbit/s", "Tbit/s", "Pbit/s"];
    if bits < 999.5 {
        return format!("{bits:.0} bit/s");
    }
    let (mut value, mut units) = (bits / 1000.0, UNITS.iter());
    let mut unit = units.next();
    while value >= 999.95
        && let Some(next) = units.next()
    {
        (value, unit) = (value / 1000.0, Some(next));
    }
    format!("{value:.1} {}", unit.unwrap_or(&"kbit/s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_what_passed_by_the_true_time() {
        // A second's 64-octet frames (60 without FCS) of a full 10G port.
        let frames = 14_880_952;
        let full = RateWindow::new(1, Duration::from_secs(1), [frames, 0], [frames * 60, 0]);
        assert_eq!(full.rx_bits_per_s, 7_142_856_960.0);
        assert_eq!(full.rx_l1_bits_per_s, Some(9_999_999_744.0));
        assert_eq!((full.tx_bits_per_s, full.tx_l1_bits_per_s), (0.0, Some(0.0)));
        let stalled = RateWindow::new(1, Duration::from_millis(12_500), [125, 250], [1250, 2500]);
        assert_eq!((stalled.rx_frames_per_s, stalled.tx_bits_per_s), (10.0, 1600.0));
        assert_eq!(stalled.measured_s, 12.5);
        let nothing = RateWindow::new(1, Duration::ZERO, [1, 1], [1, 1]);
        assert_eq!(nothing.rx_frames_per_s, 0.0, "no time, no rate");
        let most = RateWindow::new(1, Duration::from_secs(1), [u64::MAX; 2], [u64::MAX; 2]);
        assert!(most.rx_l1_bits_per_s.is_some_and(f64::is_finite));
    }

    #[test]
    fn rates_are_readable() {
        for (bits, text) in [
            (0.0, "0 bit/s"),
            (999.4, "999 bit/s"),
            (999.6, "1.0 kbit/s"),
            (12_345.0, "12.3 kbit/s"),
            (999_949.0, "999.9 kbit/s"),
            (999_951.0, "1.0 Mbit/s"),
            (10e9, "10.0 Gbit/s"),
            (1e30, "1000000000000000.0 Pbit/s"),
        ] {
            assert_eq!(bits_per_second(bits), text, "{bits}");
        }
    }
}
