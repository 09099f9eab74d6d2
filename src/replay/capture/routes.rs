//! Routes and neighbors that the configuration does not say: BGP learns the ones, ARP and ND the others.
//! They are taken as `stationctl --json` shows them, from a file or from the running station.
//!
//! Without them nothing is said of the VRFs whose routes come by BGP that a learned route could change:
//! see [`Known::is_unknown`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::convert::Infallible;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde::{Deserialize, Serialize};

use super::CaptureError;
use crate::admin::client::{Client, Failure};
use crate::admin::protocol::{Request, RouteFilter};
use crate::admin::rows::{Member, NeighborRow, RouteRow};
use crate::config::model::Config;
use crate::control::{Engine, Publish};
use crate::mirror::{Change, Hop, Hops, Table, To};
use crate::slowpath::NeighborEvent;
use crate::tables::{DropReason, PuntReason, Verdict, VrfId};

/// Routes that the engine takes in at once.
const BATCH: usize = 4_096;

/// Where routes and neighbors come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoutesFrom {
    /// The running station's admin socket, which the configuration names.
    Live,
    /// A file of answers of `stationctl --json show routes` and `show neighbors`, one after another.
    File(PathBuf),
}

impl FromStr for RoutesFrom {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "live" => RoutesFrom::Live,
            path => RoutesFrom::File(path.into()),
        })
    }
}

/// The routes of one family of a VRF that come by BGP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LearnedRow {
    /// Name of the VRF.
    pub vrf: String,
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// How many are known; `null` where nothing said which there are.
    pub routes: Option<u64>,
    /// Next hops that were not taken.
    pub refused: u64,
    /// Why the last one was not.
    pub last_error: Option<String>,
}

/// A family of a VRF; true is IPv6.
type Family = (VrfId, bool);

/// What is known of the routes that come by BGP.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Each family of a VRF with sessions: whether its routes are known.
    families: BTreeMap<Family, bool>,
}

impl Known {
    /// Whether a verdict on a packet of this family hangs on routes of this VRF that are not known: a
    /// source or a destination without a route may have one, and what a short prefix stops a longer
    /// one may lead on.
    pub(super) fn is_unknown(&self, vrf: VrfId, v6: bool, verdict: Verdict) -> bool {
        self.families.get(&(vrf, v6)) == Some(&false)
            && matches!(
                verdict,
                Verdict::Drop(
                    DropReason::SpoofedSource | DropReason::ForeignSource | DropReason::Blackhole
                ) | Verdict::Punt(
                    PuntReason::NoRoute | PuntReason::Unreachable | PuntReason::Prohibited
                )
            )
    }

    /// One row for each family of a VRF whose routes come by BGP.
    pub(super) fn rows<P: Publish>(&self, engine: &Engine<P>) -> Vec<LearnedRow> {
        let row = |(&(vrf, v6), &known): (&Family, &bool)| {
            let learning = engine.learning(vrf, v6);
            let name = engine.tables().vrfs.get(vrf.index()).and_then(Option::as_ref);
            LearnedRow {
                vrf: name.map(|vrf| vrf.name.to_string()).unwrap_or_default(),
                family: if v6 { "ipv6" } else { "ipv4" }.to_owned(),
                routes: known.then_some(learning.routes as u64),
                refused: learning.refused,
                last_error: learning.last_error,
            }
        };
        self.families.iter().map(row).collect()
    }
}

/// Takes routes and neighbors into the engine.
///
/// # Errors
/// [`CaptureError`]: the file cannot be read or is something else, or the station does not answer.
pub(super) fn take<P: Publish>(
    engine: &mut Engine<P>,
    config: &Config,
    from: Option<&RoutesFrom>,
) -> Result<Known, CaptureError> {
    let mut known = Known::default();
    for vif in &config.vifs {
        let Some(vrf) = engine.vrf(&vif.vrf) else { continue };
        known.families.extend(vif.bgp.iter().map(|bgp| ((vrf, bgp.peer.is_ipv6()), false)));
    }
    let (changes, shared) = (Vec::new(), HashMap::new());
    let mut taken =
        Taken { engine, known, changes, shared, neighbors: Vec::new(), silent: BTreeSet::new() };
    match from {
        None => {}
        Some(RoutesFrom::File(path)) => taken.file(path)?,
        Some(RoutesFrom::Live) => taken.live(config)?,
    }
    Ok(taken.finish())
}

/// A row, of a route or of a neighbor.
#[derive(Deserialize)]
#[serde(untagged, expecting = "no row of `stationctl --json show routes` or `show neighbors`")]
enum Row {
    Route(RouteRow),
    Neighbor(NeighborRow),
}

/// Rows on their way into the engine.
struct Taken<'a, P: Publish> {
    engine: &'a mut Engine<P>,
    known: Known,
    /// Changes that the engine has not taken in yet.
    changes: Vec<Change>,
    /// Routes with the same next hops share them.
    shared: HashMap<Vec<Hop>, Hops>,
    /// Neighbors with a MAC: they follow the routes, which make the next hops that they resolve.
    neighbors: Vec<NeighborEvent>,
    /// Next hops that BFD or BGP calls lost, by name of their VIF.
    silent: BTreeSet<(String, IpAddr)>,
}

impl<P: Publish> Taken<'_, P> {
    fn row(&mut self, row: Row) {
        match row {
            Row::Route(row) => self.route(row),
            Row::Neighbor(row) => self.neighbor(&row),
        }
    }

    /// Routes of other origins are the configuration's or the neighbors'; they still say that all of
    /// their VRF and family are here.
    fn route(&mut self, row: RouteRow) {
        let Some(vrf) = self.engine.vrf(&row.vrf) else { return };
        if let Some(known) = self.known.families.get_mut(&(vrf, row.prefix.addr().is_ipv6())) {
            *known = true;
        }
        for member in row.via.iter().filter(|member| member.state == "silent") {
            self.silent.extend(member.next_hop.map(|address| (member.vif.clone(), address)));
        }
        if row.origin != "bgp" {
            return;
        }
        let best = row.via.iter().filter(|member| !member.backup);
        for (table, hops) in [(Table::Best, hops(best)), (Table::Alternates, hops(row.via.iter()))]
        {
            let hops = self.shared.entry(hops).or_insert_with_key(|hops| hops.as_slice().into());
            let to = if hops.is_empty() { To::Gone } else { To::Hops(hops.clone()) };
            self.changes.push(Change { vrf, table, prefix: row.prefix, to });
        }
        if self.changes.len() >= BATCH {
            self.engine.learned(std::mem::take(&mut self.changes));
        }
    }

    /// Static neighbors are in the configuration already.
    fn neighbor(&mut self, row: &NeighborRow) {
        let mac = row.mac.as_ref().and_then(|mac| mac.parse().ok());
        if let (Some(vif), Some(mac), "reachable") = (self.engine.vif(&row.vif), mac, &*row.state) {
            self.neighbors.push(NeighborEvent::Resolved { vif, address: row.address, mac });
        }
    }

    fn finish(self) -> Known {
        self.engine.learned(self.changes);
        // A neighbor without room for its host route is served by the slow path: nothing to do here.
        drop(self.engine.neighbor_events(&self.neighbors));
        let silent = self.silent.iter().map(|(vif, address)| (vif.as_str(), *address, false));
        self.engine.peer_states(silent);
        self.known
    }

    /// Reads a file: answers, one after another, as `>>` puts them there.
    fn file(&mut self, path: &Path) -> Result<(), CaptureError> {
        let failed = |error| CaptureError::File { path: path.to_owned(), error };
        let mut reader = BufReader::new(File::open(path).map_err(failed)?);
        for number in 1.. {
            while let [b' ' | b'\t' | b'\r' | b'\n', ..] = reader.fill_buf().map_err(failed)? {
                reader.consume(1);
            }
            if reader.fill_buf().map_err(failed)?.is_empty() {
                break;
            }
            let mut answer = serde_json::Deserializer::from_reader(&mut reader);
            self.deserialize(&mut answer).map_err(|error| CaptureError::Routes {
                from: format!("{}, answer {number}", path.display()),
                why: error.to_string(),
            })?;
        }
        Ok(())
    }

    /// Asks the running station for what the configuration does not say.
    fn live(&mut self, config: &Config) -> Result<(), CaptureError> {
        let socket = &config.station.socket;
        let vrfs: BTreeSet<VrfId> = self.known.families.keys().map(|&(vrf, _)| vrf).collect();
        for vrf in &config.vrfs {
            if self.engine.vrf(&vrf.name).is_some_and(|id| vrfs.contains(&id)) {
                let filter = RouteFilter { vrf: vrf.name.to_string(), family: None, prefix: None };
                self.ask(socket, &Request::ShowRoutes(filter))?;
            }
        }
        self.ask(socket, &Request::ShowNeighbors)
    }

    fn ask(&mut self, socket: &Path, request: &Request) -> Result<(), CaptureError> {
        let failed = |failure: Failure| CaptureError::Routes {
            from: "the running station".to_owned(),
            why: failure.to_string(),
        };
        let mut client = Client::connect(socket, request).map_err(failed)?;
        while let Some(line) = client.line::<Row>().map_err(failed)? {
            line.rows.into_iter().for_each(|row| self.row(row));
        }
        Ok(())
    }
}

/// The next hops of members, sorted.
fn hops<'a>(members: impl Iterator<Item = &'a Member>) -> Vec<Hop> {
    let hop = |member: &Member| {
        let weight = member.weight.max(1);
        Some(Hop { vif: member.vif.as_str().into(), address: member.next_hop?, weight })
    };
    let mut hops: Vec<Hop> = members.filter_map(hop).collect();
    hops.sort();
    hops
}

/// One answer; all but its rows is left aside.
impl<'de, P: Publish> DeserializeSeed<'de> for &mut Taken<'_, P> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, answer: D) -> Result<(), D::Error> {
        answer.deserialize_map(self)
    }
}

impl<'de, P: Publish> Visitor<'de> for &mut Taken<'_, P> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an answer of `stationctl --json show routes` or `show neighbors`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut answer: A) -> Result<(), A::Error> {
        let mut has_rows = false;
        while let Some(name) = answer.next_key::<String>()? {
            if name == "rows" {
                answer.next_value_seed(Rows(&mut *self))?;
                has_rows = true;
            } else {
                answer.next_value::<IgnoredAny>()?;
            }
        }
        if has_rows { Ok(()) } else { Err(A::Error::missing_field("rows")) }
    }
}

/// The rows of an answer, each taken as soon as it is read: a full table is long.
struct Rows<'t, 'a, P: Publish>(&'t mut Taken<'a, P>);

impl<'de, P: Publish> DeserializeSeed<'de> for Rows<'_, '_, P> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, rows: D) -> Result<(), D::Error> {
        rows.deserialize_seq(self)
    }
}

impl<'de, P: Publish> Visitor<'de> for Rows<'_, '_, P> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of rows of `stationctl --json show routes` or `show neighbors`")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<(), A::Error> {
        while let Some(row) = rows.next_element()? {
            self.0.row(row);
        }
        Ok(())
    }
}
