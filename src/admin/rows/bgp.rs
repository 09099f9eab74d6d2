//! BGP sessions and their routes.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// `show bgp`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BgpRow {
    /// Name of the VIF.
    pub vif: String,
    /// Name of its VRF.
    pub vrf: String,
    /// The peer.
    pub peer: IpAddr,
    /// The peer's AS.
    pub peer_as: u32,
    /// The router's address in the session.
    pub local: IpAddr,
    /// The router's AS.
    pub local_as: u32,
    /// `established`, `idle`, `connect`, `active`, `opensent`, `openconfirm`, `close`, `passive`, `down`
    /// (by the operator, or with the routing daemon), `drill` (by a failover drill) or `shut` (by `max_prefixes`).
    pub state: String,
    /// Seconds that routes have, or have not, been exchanged; `null` while that is not known.
    pub since_s: Option<u64>,
    /// `up`, `down`; `null` without BFD.
    pub bfd: Option<String>,
    /// What went wrong last, in words; empty where nothing did.
    pub last_error: String,
    /// Why the session is not up, where one word says it. By the peer's last SYN: `key_missing` (there is a password
    /// here, and the peer does not sign), `key_unexpected` (it signs, and there is none here), `key_wrong` (it signs
    /// with another) or `key_tcp_ao` (it signs by TCP-AO); else by the last error: `wrong_as`. `drill` by a drill. `null` where none does.
    pub cause: Option<String>,
    /// SYNs of the peer that did not fit the session's key, of at most ten a second that are looked at.
    pub key_failures: u64,
    /// Prefixes that were accepted from the peer.
    pub accepted: u64,
    /// Prefixes that were refused, by cause; only causes that there are. `not_counted`: too many to list for an answer
    /// about several VIFs; `show bgp VIF` says their causes.
    pub rejected: BTreeMap<String, u64>,
    /// Prefixes that are advertised to the peer.
    pub advertised: u64,
    /// Accepted prefixes that it may have.
    pub max_prefixes: u32,
    /// It sent more.
    pub max_prefixes_reached: bool,
}

impl BgpRow {
    /// Routes are exchanged.
    pub fn is_up(&self) -> bool {
        self.state == "established"
    }
}

/// `show bgp VIF routes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BgpRouteRow {
    /// Name of the VIF.
    pub vif: String,
    /// The peer.
    pub peer: IpAddr,
    /// The destination.
    pub prefix: IpNet,
    /// `best` (of its VRF), `accepted`, `unresolved` (nothing leads to its next hop), `rejected`, `advertised` or
    /// `withheld`.
    pub state: String,
    /// Why it was refused: `first_as`, `path_length`, `martian`, `default_route`, `bogon`, `own_prefix`,
    /// `too_specific`, `not_allowed`, `next_hop`, `rpki_invalid`, `rpki_unknown` or `max_prefixes`; or withheld:
    /// `not_routed`, `other_customer`, `suppressed`, `not_exported`, `no_export`, `internal` or `unresolved`; `null` where
    /// it was not.
    pub cause: Option<String>,
    /// The ASes that it came through, the nearest first; a set of them in braces.
    pub as_path: Vec<String>,
    /// `igp`, `egp` or `incomplete`.
    pub origin: String,
    /// The next hop that the route names.
    pub next_hop: Option<IpAddr>,
    /// The multi-exit discriminator, if it has one.
    pub med: Option<u32>,
    /// The preference among the routes of the VRF; `null` where it is not sent.
    pub local_preference: Option<u32>,
    /// Communities, `AS:VALUE` or, large ones, `AS:VALUE:VALUE`.
    pub communities: Vec<String>,
}
