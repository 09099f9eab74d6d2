//! What is drained, and what still passes there.

use serde::{Deserialize, Serialize};

use super::{PortRow, VifRow};
use crate::admin::protocol::DrainScope;

/// `show drains`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DrainRow {
    /// `vif`, `port` or `station`.
    pub scope: DrainScope,
    /// Name of the VIF or port; the station's.
    pub name: String,
    /// `draining`: frames still pass, or it is not known yet whether they do; `quiet`: it is safe to unplug.
    pub state: String,
    /// When it was begun: milliseconds since 1970.
    pub since_ms: u64,
    /// Since when it is quiet: milliseconds since 1970; `null` where it is not.
    pub quiet_ms: Option<u64>,
    /// VIFs that are drained by it; 0 where the configuration has none any more.
    pub vifs: u64,
    /// Frames a second that enter there and are forwarded, over the last 3 seconds. What is the station's own, BGP, BFD,
    /// ARP and ND, is not counted.
    pub rx_frames_per_s: f64,
    /// Frames a second that are forwarded to leave there, likewise.
    pub tx_frames_per_s: f64,
    /// It is quiet where no more frames a second pass than this, both directions together.
    pub at_most: u64,
    /// The VIFs by which most still passes, at most ten.
    pub flows: Vec<DrainFlow>,
    /// The user who began it (SO_PEERCRED).
    pub uid: Option<u32>,
    /// The user who had logged in; `null` where that is not known.
    pub login_uid: Option<u32>,
    /// The user who called sudo; `null` where nobody did.
    pub sudo_user: Option<String>,
    /// What they said of it.
    pub comment: Option<String>,
}

/// What still passes by a VIF.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DrainFlow {
    /// Its name.
    pub vif: String,
    /// Frames a second that enter and are forwarded.
    pub rx_frames_per_s: f64,
    /// Frames a second that are forwarded to leave there.
    pub tx_frames_per_s: f64,
}

impl PortRow {
    /// The link in a word: `draining` or `drained` where it is up and the port is drained.
    pub fn state_word(&self) -> &str {
        state_word(&self.link, &self.drain)
    }

    /// The same, and whether an operator set it down.
    pub fn state_words(&self) -> String {
        let set_down = if self.admin_up { "" } else { " (set down)" };
        format!("{}{set_down}", self.state_word())
    }
}

impl VifRow {
    /// The state in a word: `draining` or `drained` where it is up and the VIF is drained.
    pub fn state_word(&self) -> &str {
        state_word(&self.state, &self.drain)
    }
}

/// What people see of a state and of a drain.
fn state_word<'a>(state: &'a str, drain: &str) -> &'a str {
    match (state, drain) {
        ("up", "draining") => "draining",
        ("up", "quiet") => "drained",
        _ => state,
    }
}
