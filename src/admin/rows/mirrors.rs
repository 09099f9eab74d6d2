//! Mirrors, and what became of their copies.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Labels;
use crate::admin::protocol::Direction;

/// `show mirrors`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MirrorRow {
    /// Its name.
    pub name: String,
    /// The VIF whose frames are copied; `null` where they are a port's.
    pub vif: Option<String>,
    /// The port whose frames are copied; `null` where they are a VIF's.
    pub port: Option<String>,
    /// Labels of that VIF or port.
    #[serde(flatten)]
    pub labels: Labels,
    /// Which of them: those that come in, those that leave, or both.
    pub direction: Direction,
    /// Only those that this expression takes.
    pub filter: Option<String>,
    /// Octets of each frame, at most.
    pub snap: u64,
    /// Where copies go.
    pub to: String,
    /// What copies may take with their headers, in bit/s.
    pub rate: u64,
    /// When it was started: milliseconds since 1970.
    pub since_ms: u64,
    /// When it ends by itself: milliseconds since 1970; `null` where it does not.
    pub until_ms: Option<u64>,
    /// Copies that were sent.
    pub copies: u64,
    /// Their octets, with all headers.
    pub octets: u64,
    /// Those of them that lack the end of their frame.
    pub truncated: u64,
    /// Copies that were wanted and not sent, by reason: `rate`, `time`, `memory`, `ring`, `no_way`.
    pub missed: BTreeMap<String, u64>,
    /// The user who started it (SO_PEERCRED).
    pub uid: Option<u32>,
    /// The user who had logged in; `null` where that is not known.
    pub login_uid: Option<u32>,
    /// The user who called sudo; `null` where nobody did.
    pub sudo_user: Option<String>,
    /// What they said of it.
    pub comment: Option<String>,
}
