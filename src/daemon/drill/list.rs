//! The list of drills: what they have down, and what is said of that.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use tracing::info;

use crate::admin::rows::{BgpRow, DrillRow};
use crate::bird::{self, Session};
use crate::config::model::Config;
use crate::daemon::kept::Kept;
use crate::disk::Files;

/// The longest that a far end is told, in octets: more than RFC 8203 allows is ignored by who does not know RFC 9003.
const WORDS: usize = 128;

/// The drills that run and those that are over, oldest first.
pub(in crate::daemon) struct Drills {
    pub(super) kept: Kept<DrillRow>,
    pub list: Vec<DrillRow>,
}

impl Drills {
    /// Reads what the daemon before left.
    pub fn read(state: &Path) -> Drills {
        let kept = Kept::new(state, "drills.json");
        let list: Vec<DrillRow> = kept.read(&Files);
        for DrillRow { vif, until_ms, .. } in list.iter().filter(|drill| drill.is_running()) {
            info!(vif, until_ms, "a drill goes on, as before the start");
        }
        Drills { kept, list }
    }

    /// The drills that run.
    pub fn running(&self) -> impl Iterator<Item = &DrillRow> {
        self.list.iter().filter(|drill| drill.is_running())
    }

    /// The peers whose sessions are down by drills.
    pub fn peers(&self) -> BTreeSet<(Arc<str>, IpAddr)> {
        self.running().flat_map(peers).collect()
    }

    /// Whether a drill has a session down.
    pub fn has(&self, session: &Session) -> bool {
        self.running().any(|drill| is_of(drill, &session.vif, session.peer))
    }

    /// The sessions that are down by drills: protocols, and the words for each far end.
    pub(super) fn sessions(&self, config: &Config) -> BTreeMap<String, String> {
        if self.running().next().is_none() {
            return BTreeMap::new();
        }
        let drilled = bird::sessions(config).into_iter().filter_map(|session| {
            let drill = self.running().find(|drill| is_of(drill, &session.vif, session.peer));
            Some((session.protocol, words(drill?)))
        });
        drilled.collect()
    }

    /// What is to be said of sessions.
    pub fn drilled(&self) -> Drilled {
        Drilled(self.running().cloned().collect())
    }
}

/// The drills that run, for who says so of sessions.
pub(in crate::daemon) struct Drilled(Vec<DrillRow>);

impl Drilled {
    /// Says of sessions that a drill has them down.
    pub fn added_to(&self, rows: &mut [BgpRow]) {
        for row in rows {
            let drill = self.0.iter().find(|drill| is_of(drill, &row.vif, row.peer));
            let Some(DrillRow { vif, until_ms, .. }) = drill else { continue };
            (row.state, row.cause) = ("drill".to_owned(), Some("drill".to_owned()));
            row.last_error = format!(
                "down by a failover drill until {}: `stationctl drill stop {vif}` ends it",
                moment(*until_ms)
            );
        }
    }
}

fn is_of(drill: &DrillRow, vif: &str, peer: IpAddr) -> bool {
    drill.vif == vif && drill.peers.contains(&peer)
}

pub(super) fn peers(drill: &DrillRow) -> impl Iterator<Item = (Arc<str>, IpAddr)> + '_ {
    drill.peers.iter().map(|peer| (drill.vif.as_str().into(), *peer))
}

/// A time in UTC, as `2026-11-29T16:05:00Z`.
pub(super) fn moment(ms: u64) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(ms)).to_string()
}

/// What a far end is told. Names have no characters that mean something to BIRD.
fn words(drill: &DrillRow) -> String {
    let DrillRow { vif, until_ms, .. } = drill;
    let until = moment(*until_ms);
    let mut words = format!("failover drill of {vif}: back by itself at {until}");
    if words.len() > WORDS {
        words = format!("failover drill: back by itself at {until}");
    }
    words
}

/// Why a drill that runs is over.
pub(super) fn over(config: &Config, drill: &DrillRow, now_ms: u64) -> Option<&'static str> {
    let vif = config.vif(&drill.vif);
    match vif {
        _ if now_ms >= drill.until_ms => Some("time"),
        None => Some("removed"),
        Some(vif) if !vif.up => Some("vif_down"),
        Some(vif) if !vif.bgp.iter().any(|bgp| drill.peers.contains(&bgp.peer)) => Some("removed"),
        Some(_) => None,
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// A drill that runs from 1000 to 61000.
    pub fn drill(vif: &str, peers: &[&str]) -> DrillRow {
        DrillRow {
            vif: vif.into(),
            peers: peers.iter().map(|peer| peer.parse().unwrap()).collect(),
            state: "running".into(),
            since_ms: 1000,
            until_ms: 61_000,
            ..DrillRow::default()
        }
    }

    #[test]
    fn a_far_end_is_told_what_rfc_8203_allows() {
        assert_eq!(
            words(&drill("a", &[])),
            "failover drill of a: back by itself at 1970-01-01T00:01:01Z"
        );
        let long = words(&drill(&"x".repeat(100), &[]));
        assert_eq!(long, "failover drill: back by itself at 1970-01-01T00:01:01Z");
    }
}
