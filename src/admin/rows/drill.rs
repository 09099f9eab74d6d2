//! Failover drills, and what came of them.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// `show drills` and `drill history`. The station keeps its drills in this form, too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Default)]
pub struct DrillRow {
    /// Name of the VIF.
    pub vif: String,
    /// The peers whose sessions are down by it.
    pub peers: Vec<IpAddr>,
    /// `running` or `over`.
    pub state: String,
    /// When it began: milliseconds since 1970.
    pub since_ms: u64,
    /// When the sessions come back, or were to come back, by themselves.
    pub until_ms: u64,
    /// When it ended; `null` while it runs.
    pub end_ms: Option<u64>,
    /// Why it ended: `time`, `stopped` (by an operator), `vif_down` or `removed` (the sessions are configured no more).
    pub ended: Option<String>,
    /// Prefixes to which no other way led when it began.
    pub dark_prefixes: u64,
    /// From the Cease until the last frame of others' left by the VIF, or was lost in its VRF: 0 where none was seen.
    /// `null` where some still were at the end of the measurement, while it lasts, or where the station was started
    /// meanwhile.
    pub tx_switch_ms: Option<u64>,
    /// From the Cease until the last frame entered by the VIF that was forwarded or dropped as `spoofed_source`: the far
    /// end has another way by then. `null` likewise.
    pub rx_switch_ms: Option<u64>,
    /// How exactly: the longest time between two readings of the counters.
    pub resolution_ms: Option<u64>,
    /// How long was measured, from the Cease on.
    pub measured_ms: Option<u64>,
    /// Frames that entered by the VIFs of its VRF from before the Cease to the end, and were lost as `show outages` counts
    /// them, or dropped as `spoofed_source` on the VIF: a strict `source_check` refuses what the far end still sends there.
    /// `null` while it runs, and where the station was started meanwhile.
    pub frames_lost: Option<u64>,
    /// VIFs of its VRF by which more leaves than before, those with most first, at most ten.
    pub went_to: Vec<DrillFlow>,
    /// The user who began it (SO_PEERCRED).
    pub uid: Option<u32>,
    /// The user who had logged in; `null` where that is not known.
    pub login_uid: Option<u32>,
    /// The user who called sudo; `null` where nobody did.
    pub sudo_user: Option<String>,
    /// What they said of it.
    pub comment: Option<String>,
}

/// A VIF by which more leaves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DrillFlow {
    /// Its name.
    pub vif: String,
    /// Frames a second that left there over the ten seconds before.
    pub before_frames_per_s: f64,
    /// Frames a second that left there in the second half of the measurement.
    pub frames_per_s: f64,
}

impl DrillRow {
    /// Whether it still runs.
    pub fn is_running(&self) -> bool {
        self.end_ms.is_none()
    }
}
