//! What a replay found, for a person (a table) and for a program (JSON).

use std::collections::BTreeMap;
use std::fmt;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::routes::LearnedRow;
use crate::config::model::Config;
use crate::tables::{DropReason, PortId, PuntReason, SlowOutcome};
use crate::wire::ethernet::Mac;

/// The verdict on a frame whose fate hangs on what is not known.
pub(super) const NOT_JUDGED: &str = "not judged";
/// The reason: routes that come by BGP.
pub(super) const ROUTES_UNKNOWN: &str = "routes_unknown";
/// What it means and what to do about it.
pub(super) const ROUTES_UNKNOWN_HELP: &str = "Routes of this VRF come by BGP and are not known here: \
    take them from the running station (--routes live) or from a file of them (--routes FILE).";

/// Where a port's MAC came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MacSource {
    /// `--mac`.
    Given,
    /// Most of the port's frames were sent to it.
    Capture,
    /// No frame of the capture was for the port.
    MadeUp,
}

/// One port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PortRow {
    /// Its name.
    pub port: String,
    /// Its MAC in the replay.
    pub mac: String,
    /// Where that came from.
    pub mac_source: MacSource,
    /// Frames of the capture that entered by it.
    pub frames_in: u64,
    /// Frames that the station sent by it.
    pub frames_out: u64,
}

/// How many frames ended in one way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// "vif NAME", or "port NAME" while no VIF was known.
    pub scope: String,
    /// "forward", "punt", "drop", "not judged" or "not deliverable".
    pub verdict: String,
    /// The counter's name, or why there is no verdict; empty for "forward".
    pub reason: String,
    /// What the slow path did, for punts.
    pub outcome: Option<String>,
    /// Frames.
    pub frames: u64,
    /// What it means and what to do about it.
    pub help: String,
}

type Key = (String, &'static str, &'static str, Option<&'static str>);

/// What a replay found.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Ports in the configuration's order.
    pub ports: Vec<PortRow>,
    /// The routes that come by BGP, by VRF and family.
    pub learned: Vec<LearnedRow>,
    /// What ended the capture early, if something did.
    pub damage: Option<String>,
    counts: BTreeMap<Key, u64>,
}

impl Summary {
    pub(super) fn new(config: &Config, macs: &[(Mac, MacSource)]) -> Summary {
        let ports = config.ports.iter().zip(macs).map(|(port, (mac, source))| PortRow {
            port: port.name.to_string(),
            mac: mac.to_string(),
            mac_source: *source,
            frames_in: 0,
            frames_out: 0,
        });
        Summary { ports: ports.collect(), ..Summary::default() }
    }

    pub(super) fn count_input(&mut self, port: PortId) {
        if let Some(row) = self.ports.get_mut(port.index()) {
            row.frames_in += 1;
        }
    }

    pub(super) fn count_output(&mut self, port: PortId) {
        if let Some(row) = self.ports.get_mut(port.index()) {
            row.frames_out += 1;
        }
    }

    pub(super) fn count(
        &mut self,
        scope: String,
        verdict: &'static str,
        reason: &'static str,
        outcome: Option<&'static str>,
    ) {
        *self.counts.entry((scope, verdict, reason, outcome)).or_default() += 1;
    }

    /// Frames by what became of them, ordered by port or VIF.
    pub fn rows(&self) -> Vec<Row> {
        let row = |(key, &frames): (&Key, &u64)| {
            let (scope, verdict, reason, outcome) = key;
            Row {
                scope: scope.clone(),
                verdict: (*verdict).to_owned(),
                reason: (*reason).to_owned(),
                outcome: outcome.map(str::to_owned),
                frames,
                help: help(verdict, reason, *outcome),
            }
        };
        self.counts.iter().map(row).collect()
    }
}

/// The text of the counter that says most.
fn help(verdict: &str, reason: &str, outcome: Option<&str>) -> String {
    let drop = DropReason::ALL.iter().find(|r| verdict == "drop" && r.name() == reason);
    let punt = PuntReason::ALL.iter().find(|r| verdict == "punt" && r.name() == reason);
    let outcome = SlowOutcome::ALL.iter().find(|o| outcome == Some(o.name()));
    let unknown = (reason == ROUTES_UNKNOWN).then_some(ROUTES_UNKNOWN_HELP);
    let texts =
        [unknown, drop.map(|r| r.help()), punt.map(|r| r.help()), outcome.map(|o| o.help())];
    texts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

impl Serialize for Summary {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut fields = serializer.serialize_struct("Summary", 4)?;
        fields.serialize_field("ports", &self.ports)?;
        fields.serialize_field("learned", &self.learned)?;
        fields.serialize_field("frames", &self.rows())?;
        fields.serialize_field("damage", &self.damage)?;
        fields.end()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ports = table(&["port", "mac", "from", "frames in", "frames out"], &[3, 4]);
        for port in &self.ports {
            let source = match port.mac_source {
                MacSource::Given => "--mac",
                MacSource::Capture => "most frames",
                MacSource::MadeUp => "made up",
            };
            ports.add_row([
                port.port.clone(),
                port.mac.clone(),
                source.to_owned(),
                port.frames_in.to_string(),
                port.frames_out.to_string(),
            ]);
        }
        let mut rows = table(&["where", "verdict", "reason", "outcome", "frames"], &[4]);
        for row in self.rows() {
            let outcome = row.outcome.unwrap_or_default();
            rows.add_row([row.scope, row.verdict, row.reason, outcome, row.frames.to_string()]);
        }
        writeln!(f, "{}\n\n{}", ports.trim_fmt(), rows.trim_fmt())?;
        if !self.learned.is_empty() {
            writeln!(f, "\n{}", learned(&self.learned).trim_fmt())?;
        }
        if let Some(damage) = &self.damage {
            writeln!(f, "\n{damage}")?;
        }
        Ok(())
    }
}

/// The routes that come by BGP.
fn learned(rows: &[LearnedRow]) -> Table {
    let mut table = table(&["vrf", "family", "by bgp", "refused", "last error"], &[2, 3]);
    for row in rows {
        let routes = row.routes.map_or_else(|| "not known".to_owned(), |routes| routes.to_string());
        let error = row.last_error.clone().unwrap_or_default();
        table.add_row([
            row.vrf.clone(),
            row.family.clone(),
            routes,
            row.refused.to_string(),
            error,
        ]);
    }
    table
}

fn table(header: &[&str], right: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.to_vec());
    for &column in right {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}
