//! What a capture shows.

use serde::{Deserialize, Serialize};

use crate::admin::protocol::Direction;

/// `capture`: `{"frame":{...}}` each, and one `{"end":{...}}` as the last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaptureRow {
    /// A frame.
    Frame(CapturedFrame),
    /// The capture has ended.
    End(CaptureEnd),
}

/// A frame as it came or as it left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapturedFrame {
    /// When its burst was received or sent: nanoseconds since 1970.
    pub time_ns: u64,
    /// `in` or `out`.
    pub direction: Direction,
    /// Name of the port.
    pub port: String,
    /// Name of the VIF by which it came or leaves; `null` where it has none.
    pub vif: Option<String>,
    /// `forward`, `punt(REASON)` or `drop(REASON)`.
    pub verdict: String,
    /// VIF, verdict and reason in words.
    pub comment: String,
    /// Octets of the frame, without FCS.
    pub octets: u64,
    /// The octets that were captured, two hexadecimal digits each.
    pub data: String,
}

/// What a capture came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureEnd {
    /// Name of the port that it was on.
    pub port: String,
    /// Frames that were captured.
    pub frames: u64,
    /// Frames that passed and were not captured, as there was no room or no time; with a filter, some of
    /// them may be none that it takes.
    pub lost: u64,
    /// Why it ended.
    pub reason: String,
}
