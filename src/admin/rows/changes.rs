//! Changes, and the history of configurations.

use serde::{Deserialize, Serialize};

/// A change, a reload or `clear counters`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ChangeResult {
    /// Counts what was published to the workers, link events included.
    pub generation: u64,
    /// Number of the configuration that is committed now; 0 where there is no history.
    #[serde(default)]
    pub configuration: u64,
    /// It was not applied (`reload --dry-run`, `config check`).
    pub dry_run: bool,
    /// What changed, a line each, like `+ vif a` or `- route vpc-a 10.0.0.0/8`.
    pub changes: Vec<String>,
    /// What it would cut of live service, a line each, where it was not applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cuts: Vec<String>,
    /// What else there is to know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// When it is taken back unless it is confirmed: milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
    /// Whether BIRD does as the configuration says; absent where the change is nothing to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routing: Option<Routing>,
}

/// Whether BIRD does as it was told. The commit stands in any case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Routing {
    /// Whether it does.
    pub state: RoutingState,
    /// What is pending, or why BIRD refuses it; empty where it follows.
    pub reason: String,
    /// BGP sessions whose filters have changed: BIRD passes what it advertises to them through the new ones, which takes
    /// seconds with many routes, and has their peers send theirs again (RFC 2918).
    pub refiltered: u64,
    /// How long the answer waited for BIRD, in milliseconds.
    pub waited_ms: u64,
}

/// How BIRD stands to what it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoutingState {
    /// It does so.
    Followed,
    /// It does not yet.
    Pending,
    /// It does not take it, and goes on with what it had.
    Refused,
}

/// `config history`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HistoryRow {
    /// The configuration's number.
    pub number: u64,
    /// `running`, `unconfirmed` (it runs, and is taken back unless somebody confirms it), `past`, or `damaged`:
    /// it is not as it was written, and not used.
    pub state: String,
    /// When it was committed: milliseconds since 1970; `null` where it is damaged, as all below.
    pub time_ms: Option<u64>,
    /// The user who made it (SO_PEERCRED); `null` where the station did.
    pub uid: Option<u32>,
    /// The user who had logged in (/proc/PID/loginuid); `null` where nobody had, or the kernel does not say.
    pub login_uid: Option<u32>,
    /// The user who called sudo, where sudo and the kernel say the same.
    pub sudo_uid: Option<u32>,
    /// The name that sudo gives that user.
    pub sudo_user: Option<String>,
    /// The command that made it.
    pub command: String,
    /// What they said of it.
    pub comment: Option<String>,
    /// Until when it had or has to be confirmed: milliseconds since 1970.
    pub until_ms: Option<u64>,
    /// The configuration that comes back where it is not confirmed.
    pub back_to: Option<u64>,
    /// When it was confirmed: milliseconds since 1970.
    pub confirmed_ms: Option<u64>,
    /// By which user.
    pub confirmed_uid: Option<u32>,
    /// What is wrong with it; empty where nothing is.
    pub trouble: String,
}

/// `config show` and `config diff`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfigText {
    /// The configuration's number.
    pub number: u64,
    /// The one that it is compared with; `null` where its own text is shown.
    pub since: Option<u64>,
    /// The text, or the lines that differ as `diff -u` writes them.
    pub text: String,
}
