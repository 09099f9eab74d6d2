//! The request for a capture.

use serde::{Deserialize, Serialize};

/// Which frames to copy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaptureRequest {
    /// Those of this VIF; exactly one of `vif` and `port` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vif: Option<String>,
    /// Those of this port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// Which way they go.
    pub direction: Direction,
    /// Only those with this verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Judged>,
    /// Only those dropped or punted for this reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Only those that this takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<Filter>,
    /// How many, at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// For how long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// Octets of each, at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snap: Option<usize>,
}

/// A filter expression of libpcap's, and what it was compiled to.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// As it was written, for the log.
    pub expression: String,
    /// Classic BPF for Ethernet frames: operation, jump if true, jump if false, operand.
    pub program: Vec<(u16, u8, u8, u32)>,
}

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} in {} instructions", self.expression, self.program.len())
    }
}

/// Which way a frame goes, seen from the station.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// It comes in.
    In,
    /// It leaves.
    Out,
    /// Either.
    Both,
}

impl Direction {
    /// Each with its word.
    pub const WORDS: [(&str, Direction); 3] = [
        (Direction::In.word(), Direction::In),
        (Direction::Out.word(), Direction::Out),
        (Direction::Both.word(), Direction::Both),
    ];

    /// Whether it has what comes in, and what leaves.
    pub const fn ways(self) -> (bool, bool) {
        (
            matches!(self, Direction::In | Direction::Both),
            matches!(self, Direction::Out | Direction::Both),
        )
    }

    /// As in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Direction::In => "in",
            Direction::Out => "out",
            Direction::Both => "both",
        }
    }
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Judged {
    /// It was forwarded.
    Forward,
    /// The slow path got it.
    Punt,
    /// It was dropped.
    Drop,
}
