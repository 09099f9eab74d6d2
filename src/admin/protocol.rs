//! The admin protocol's requests and answers: lines of JSON over a Unix socket. The field names here
//! are what `stationctl --json` prints and are stable: a field may be added, none is renamed.
//!
//! A request is one line, at most 64 KiB: `{"v":1,"request":"show_vifs"}`. The answer is lines with `"v":1`:
//!
//! ```text
//! {"v":1,"rows":[{...},{...}]}
//! {"v":1,"rows":[{...}],"end":true}
//! {"v":1,"result":{...},"end":true}
//! {"v":1,"error":{"kind":"not_found","message":"there is no vif \"x\""}}
//! ```
//!
//! Beside `"v"` a request may have what goes with a change: `"comment"`, `"yes"` and `"no_wait"` ([`Terms`]). A request with
//! `"octets"` is followed by so many octets of text.

mod acls;
mod address_limits;
mod billing;
mod capture;
mod counters;
mod drain;
mod drill;
mod events;
mod explain;
mod lookup;
mod mappings;
mod mirror;
mod period;
mod ping;
mod probe_history;
mod rates;
mod reachability;
mod refusal;
mod rights;
mod routes;
mod talkers;
mod with;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The longest text that follows a request, in octets.
pub use crate::config::MAX_FILE;
pub use acls::AclFilter;
pub use address_limits::{AddressLimitFilter, MAX_SHOWN};
pub use billing::BillingFilter;
pub use capture::{CaptureRequest, Direction, Filter, Judged};
pub use counters::{CounterFilter, DropFilter};
pub use drain::{DrainRequest, DrainScope, DrainTarget};
pub use drill::DrillRequest;
pub use events::{EventFilter, Since};
pub use explain::{ExplainRequest, MAX_FRAMES, PacketSpec};
pub use lookup::LookupRequest;
pub use mappings::{MappingFilter, MappingSource};
pub use mirror::{MirrorRequest, MirrorTo};
pub use period::Period;
pub use ping::{PingRequest, ProbePlan};
pub use probe_history::ProbeHistoryFilter;
pub use rates::{RateFilter, RateScope};
pub use reachability::ReachabilityFilter;
pub use refusal::{ErrorKind, Refusal};
pub use rights::Right;
pub use routes::{BgpDirection, Family, RouteFilter};
pub use talkers::TalkerFilter;

pub use crate::config::edit::{Action, RemoteAdd, RouteAdd, RouteDel, Via, VifAdd};
pub use crate::config::set::{Fields, Place};
pub use with::{Apply, Terms, Upload};

/// The version of the protocol that this program speaks.
pub const VERSION: u64 = 1;
/// The longest request, in octets, with its newline.
pub const MAX_REQUEST: usize = 64 << 10;
/// The longest comment, in characters.
pub const MAX_COMMENT: usize = 200;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Versions and uptime ([`crate::admin::rows::VersionInfo`]).
    Version,
    /// All ports ([`crate::admin::rows::PortRow`]).
    ShowPorts,
    /// What the ports' drivers and modules tell ([`crate::admin::rows::PortDetailRow`]).
    ShowPortDetails,
    /// All VIFs ([`crate::admin::rows::VifRow`]).
    ShowVifs,
    /// How much passes by VIFs or ports ([`crate::admin::rows::RateRow`]), those with most first.
    ShowRates(RateFilter),
    /// Bandwidths, and what passes ([`crate::admin::rows::BandwidthRow`]).
    ShowBandwidth,
    /// Limits of addresses ([`crate::admin::rows::AddressLimitRow`]).
    ShowAddressLimits(AddressLimitFilter),
    /// Classes of service, and what passes ([`crate::admin::rows::QosRow`]).
    ShowQos,
    /// All VRFs ([`crate::admin::rows::VrfRow`]).
    ShowVrfs,
    /// Access lists ([`crate::admin::rows::AclRow`]).
    ShowAcl(AclFilter),
    /// Routes of a VRF by prefix ([`crate::admin::rows::RouteRow`]).
    ShowRoutes(RouteFilter),
    /// Resolved and unresolved neighbors ([`crate::admin::rows::NeighborRow`]).
    ShowNeighbors,
    /// Translations of addresses, by VIF ([`crate::admin::rows::TranslationRow`]).
    ShowTranslations,
    /// What the targets of probes answer ([`crate::admin::rows::TargetRow`]).
    ShowProbes,
    /// What they answered by the hour, or in a period ([`crate::admin::rows::ProbeHistoryRow`]), oldest first.
    ShowProbeHistory(ProbeHistoryFilter),
    /// What is logged of VIFs' flows ([`crate::admin::rows::FlowLogRow`]).
    ShowFlowLog,
    /// The largest addresses of a VIF over the last minute ([`crate::admin::rows::TalkerRow`]).
    ShowTalkers(TalkerFilter),
    /// How long frames are in the station ([`crate::admin::rows::LatencyRow`]).
    ShowLatency,
    /// To whom flows are told ([`crate::admin::rows::CollectorRow`]).
    ShowCollectors,
    /// Tunnels, by VIF and other end ([`crate::admin::rows::TunnelRow`]).
    ShowTunnels,
    /// What controllers stream, by source ([`crate::admin::rows::SourceRow`]).
    ShowMappings,
    /// Mappings of a VRF by prefix ([`crate::admin::rows::MappingRow`]).
    ShowVrfMappings(MappingFilter),
    /// A controller's stream of mappings: station-mappings(7) ([`crate::admin::rows::MappingAnswer`]).
    Mappings(MappingSource),
    /// Other stations that tunnels lead to ([`crate::admin::rows::StationRow`]).
    ShowStations,
    /// Validating caches of RPKI ([`crate::admin::rows::RpkiRow`]).
    ShowRpki,
    /// Exchanges between VRFs ([`crate::admin::rows::ExchangeRow`]).
    ShowExchanges,
    /// Who reaches whom, and by which prefixes ([`crate::admin::rows::ReachabilityRow`]).
    ShowReachability(ReachabilityFilter),
    /// Counters by port and VIF ([`crate::admin::rows::CounterRow`]).
    ShowCounters(CounterFilter),
    /// What went no further, and the last frames of it ([`crate::admin::rows::DropRow`]).
    ShowDrops(DropFilter),
    /// All workers ([`crate::admin::rows::WorkerRow`]).
    ShowWorkers,
    /// BGP sessions ([`crate::admin::rows::BgpRow`]).
    ShowBgp {
        /// Only those of this VIF.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vif: Option<String>,
    },
    /// Routes of a VIF's BGP sessions ([`crate::admin::rows::BgpRouteRow`]).
    ShowBgpRoutes {
        /// Name of the VIF.
        vif: String,
        /// From or to its peers.
        direction: BgpDirection,
    },
    /// Whether the FIB is what the kernel has ([`crate::admin::rows::ConsistencyRow`]).
    ShowConsistency,
    /// Outages, oldest first ([`crate::admin::rows::OutageRow`]).
    ShowOutages(Period),
    /// How available VIFs were ([`crate::admin::rows::SlaRow`]).
    ShowSla(Period),
    /// What is drained, and what still passes there ([`crate::admin::rows::DrainRow`]).
    ShowDrains,
    /// Drills that run, or those that are over too ([`crate::admin::rows::DrillRow`]), oldest first.
    ShowDrills {
        /// Those that are over too.
        #[serde(default)]
        over: bool,
    },
    /// What is billed ([`crate::admin::rows::BillingRow`]).
    ShowBilling(BillingFilter),
    /// Mirrors ([`crate::admin::rows::MirrorRow`]).
    ShowMirrors,
    /// Copies of frames, as they pass ([`crate::admin::rows::CaptureRow`]). The answer goes on until the client
    /// closes its sending half, or what it asked for has been seen.
    Capture(CaptureRequest),
    /// Events, oldest first ([`crate::events::Record`]). Those that are missing are a row of kind `lost`.
    Events(EventFilter),
    /// What a packet to an address would meet ([`crate::admin::rows::LookupResult`]).
    Lookup(LookupRequest),
    /// What would become of frames, stage by stage ([`crate::admin::rows::ExplainRow`]).
    Explain(ExplainRequest),
    /// Echo requests from the station's own address ([`crate::admin::rows::PingRow`]), until the client has enough.
    Ping(PingRequest),
    /// Adds a route ([`crate::admin::rows::ChangeResult`], as all changes).
    RouteAdd(RouteAdd),
    /// Deletes a route.
    RouteDel(RouteDel),
    /// Adds a VIF.
    VifAdd(Box<VifAdd>),
    /// Deletes a VIF.
    VifDel(VifName),
    /// Sets a VIF up.
    VifUp(VifName),
    /// Sets a VIF down.
    VifDown(VifName),
    /// Changes fields of a port, VRF, VTEP, meter group, limit of addresses, exchange, VIF or BGP session.
    Set(Fields),
    /// Adds a VRF, a VTEP, a meter group, a limit of addresses, an exchange or a BGP session.
    Add(Fields),
    /// Deletes a VRF, a VTEP, a meter group, a limit of addresses, an exchange or a BGP session.
    Del {
        /// Which.
        place: Place,
    },
    /// Starts a VIF's BGP sessions anew.
    BgpReset {
        /// Name of the VIF.
        vif: String,
        /// Only the session with this peer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        peer: Option<IpAddr>,
    },
    /// Takes a VIF, a port or the station out of service without loss, where there are other ways.
    Drain(DrainRequest),
    /// Puts it back.
    Undrain(DrainTarget),
    /// Takes BGP sessions of a VIF down for a time.
    DrillStart(DrillRequest),
    /// Ends the drill of a VIF before its time.
    DrillStop(VifName),
    /// Copies a VIF's or a port's frames to somewhere, until it is stopped.
    MirrorStart(Box<MirrorRequest>),
    /// Ends a mirror.
    MirrorStop {
        /// Its name.
        name: String,
    },
    /// Sets all counters to zero, as seen by clients.
    ClearCounters,
    /// Reads the configuration file again.
    Reload {
        /// Only says what would change.
        #[serde(default)]
        dry_run: bool,
    },
    /// Ends the station, once the client has the answer.
    Stop {
        /// BIRD, its sessions and the TAPs are left for the next station.
        #[serde(default)]
        keep_sessions: bool,
    },
    /// Committed configurations, oldest first ([`crate::admin::rows::HistoryRow`]).
    ConfigHistory,
    /// The text of a committed configuration ([`crate::admin::rows::ConfigText`]).
    ConfigShow {
        /// Which; the running one if not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        number: Option<u64>,
        /// With passwords: for root and the daemon's own user.
        #[serde(default)]
        secrets: bool,
    },
    /// What changed between two committed configurations ([`crate::admin::rows::ConfigText`]).
    ConfigDiff {
        /// The older; the one before `to` if not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<u64>,
        /// The newer; the running one if not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<u64>,
        /// With passwords: for root and the daemon's own user.
        #[serde(default)]
        secrets: bool,
    },
    /// Says what the text that follows would change.
    ConfigCheck(Upload),
    /// Makes the text that follows the configuration.
    ConfigApply(Apply),
    /// Keeps a configuration that would be taken back.
    ConfigConfirm,
    /// Takes an older configuration into use again.
    ConfigRollback {
        /// Which; the one before the running one if not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        number: Option<u64>,
        /// It is taken back after so many seconds without a `config_confirm`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        confirm_s: Option<u64>,
    },
}

impl Request {
    /// How many octets of text follow.
    pub const fn octets(&self) -> u64 {
        match self {
            Request::ConfigCheck(upload) => upload.octets,
            Request::ConfigApply(apply) => apply.octets,
            _ => 0,
        }
    }
}

/// A VIF.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VifName {
    /// Its name.
    pub name: String,
}

/// A request as it is sent, with the newline.
pub fn encode(request: &Request, terms: &Terms) -> serde_json::Result<Vec<u8>> {
    #[derive(Serialize)]
    struct Versioned<'a> {
        v: u64,
        #[serde(flatten)]
        terms: &'a Terms,
        #[serde(flatten)]
        request: &'a Request,
    }
    let mut line = serde_json::to_vec(&Versioned { v: VERSION, terms, request })?;
    line.push(b'\n');
    Ok(line)
}

/// A request from a line as it was received, and what goes with it.
pub fn decode(line: &[u8]) -> Result<(Request, Terms), Refusal> {
    let invalid = |error: serde_json::Error| Refusal::new(ErrorKind::Invalid, error.to_string());
    let mut fields: serde_json::Map<_, _> = serde_json::from_slice(line).map_err(invalid)?;
    match fields.remove("v") {
        Some(v) if v == VERSION => {}
        Some(v) => {
            let message = format!("version {v} is not spoken here, only {VERSION}");
            return Err(Refusal::new(ErrorKind::Version, message));
        }
        None => {
            return Err(Refusal::new(ErrorKind::Version, format!("\"v\":{VERSION} is missing")));
        }
    }
    let of_terms = ["comment", "yes", "no_wait"].map(|key| fields.remove_entry(key));
    let of_terms = of_terms.into_iter().flatten().collect();
    let terms = Terms::deserialize(serde_json::Value::Object(of_terms)).map_err(invalid)?;
    let odd = |comment: &String| {
        comment.chars().count() > MAX_COMMENT || comment.chars().any(char::is_control)
    };
    if terms.comment.as_ref().is_some_and(odd) {
        let message = format!("a comment is one line of at most {MAX_COMMENT} characters");
        return Err(Refusal::new(ErrorKind::Invalid, message));
    }
    let request = Request::deserialize(serde_json::Value::Object(fields)).map_err(invalid)?;
    Ok((request, terms))
}

#[cfg(test)]
mod tests;
