//! Whether the FIB is what the kernel has, and when VIFs were out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ledger::Cause;

/// `show consistency`: one family of one VRF.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConsistencyRow {
    /// Name of the VRF.
    pub vrf: String,
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// Best routes in the kernel's table at the last dump.
    pub kernel_routes: u64,
    /// Routes that are learned now; alternates without a best route are among them.
    pub learned_routes: u64,
    /// Seconds since the last dump of the kernel's tables ended; `null` before the first.
    pub dumped_s: Option<u64>,
    /// Dumps because it was their turn.
    pub audits: u64,
    /// Routes that an audit found to differ from the kernel's.
    pub mismatches: u64,
    /// Those of them that were put right.
    pub repaired: u64,
    /// Dumps because something may have changed in silence: links, addresses, lost notifications.
    pub resyncs: u64,
    /// Routes that those changed.
    pub resynced: u64,
    /// Times that the kernel dropped notifications, of all VRFs.
    pub overflows: u64,
    /// Next hops that were refused: of another VRF, not on a TAP or subnet of a VIF, or too many. A route
    /// that is dumped again counts again.
    pub refused: u64,
    /// Changes that the FIB had no room for.
    pub no_room: u64,
    /// The last refusal; empty where there was none.
    pub last_error: String,
    /// The last audit or resync left nothing that differs: `kernel_routes` are learned, none had no
    /// room, and every mismatch was put right.
    pub ok: bool,
}

/// `show outages`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutageRow {
    /// Name of the VIF; `null` for an outage of the whole station, and so of all VIFs.
    pub vif: Option<String>,
    /// The first fault's: `link`, `bfd`, `bgp`, `neighbor`, `probe`, `admin`, `drain` or `drill` (the operator's: planned),
    /// `restart`, `crash` or `stall` (the station's).
    pub cause: Cause,
    /// Causes that came to it.
    pub also: Vec<Cause>,
    /// When it was noticed: milliseconds since 1970.
    pub start_ms: u64,
    /// When it ended; `null` while it lasts.
    pub end_ms: Option<u64>,
    /// How long it lasted, or has lasted: milliseconds.
    pub duration_ms: u64,
    /// The longest that the fault can have stood before it was noticed: milliseconds; `null` where that is
    /// not known.
    pub detection_ms: Option<u64>,
    /// Frames that entered by the VIFs of its VRF while it lasted, and were dropped as `egress_down` or
    /// punted as `next_hop_unresolved` or `no_route`: at most what was lost after it was noticed, since
    /// some of those may still be delivered, and outages of one VRF at the same time count the same frames.
    /// What was sent into a dead link before is not counted. `null` while it lasts, and for the station's.
    pub frames_lost: Option<u64>,
}

/// `show sla`: how available a VIF was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlaRow {
    /// Name of the VIF.
    pub vif: String,
    /// `up`, `out`, or `drained` or `drill`: out because the operator wants it so, whether packets still find a way or
    /// not.
    pub state: String,
    /// The period's first moment: as asked for, or when the VIF was first seen if that was later.
    /// Milliseconds since 1970.
    pub since_ms: u64,
    /// Its last.
    pub until_ms: u64,
    /// The part of the period in which the VIF was not out: 0 to 1. What the operator set down, drained or drilled counts
    /// neither as period nor as outage; the station's restarts and crashes do.
    pub availability: f64,
    /// Outages, without the operator's.
    pub outages: u64,
    /// Milliseconds of them.
    pub down_ms: u64,
    /// The longest of them, in milliseconds.
    pub longest_ms: u64,
    /// Milliseconds of the operator's.
    pub planned_ms: u64,
    /// Frames lost, as `show outages` counts them.
    pub frames_lost: u64,
    /// Milliseconds by the cause of the first fault: the operator's too, and only causes that there were.
    #[serde(default)]
    pub by_cause: BTreeMap<Cause, u64>,
}
