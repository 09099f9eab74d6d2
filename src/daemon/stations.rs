//! Other stations: `show stations`, and who is told that one is lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::control_thread::Control;
use super::view::{View, traffic};
use crate::admin::answer::Answer;
use crate::admin::rows::StationRow;
use crate::events::Event;
use crate::observe::VifTotals;
use crate::tables::{AdjacencyKind, Snapshot, VifId};

/// After the start, while neighbors are asked for, nobody is told.
const GRACE: Duration = Duration::from_secs(5);

/// The VIFs whose tunnels lead to a station, and how many of these there are and are up.
#[derive(Default)]
struct Standing {
    vifs: Vec<VifId>,
    tunnels: u64,
    up: u64,
}

/// All stations that tunnels lead to.
fn stations(tables: &Snapshot) -> BTreeMap<Arc<str>, Standing> {
    let mut stations: BTreeMap<Arc<str>, Standing> = BTreeMap::new();
    for (id, vif) in tables.vifs_by_id() {
        let (Some(station), Some(tunnel)) = (vif.station(), vif.tunnel()) else { continue };
        let standing = stations.entry(station.clone()).or_default();
        standing.vifs.push(id);
        for remote in tunnel.remotes.iter() {
            let to = tables.neighbors.get(&(id, *remote)).map(|id| tables.adjacency(*id).kind);
            standing.tunnels += 1;
            standing.up += u64::from(to == Some(AdjacencyKind::Forward));
        }
    }
    stations
}

/// `show stations`.
pub(super) fn show(control: &Control) -> Answer {
    let view = View::of(control);
    Answer::later(move || {
        let row = |(station, standing): (Arc<str>, Standing)| {
            let Standing { vifs, tunnels, up } = standing;
            let mut sum = VifTotals::default();
            vifs.iter().for_each(|id| sum.add(&view.counters.vif(*id)));
            let names = vifs.iter().filter_map(|id| view.tables.vif(*id));
            let mut names: Vec<String> = names.map(|vif| vif.name.to_string()).collect();
            names.sort();
            StationRow {
                station: station.to_string(),
                state: if up > 0 { "up" } else { "down" }.into(),
                vifs: names,
                tunnels,
                tunnels_up: up,
                traffic: traffic(&sum),
                forwarded: sum.forwarded,
                dropped: sum.drops.iter().sum(),
            }
        };
        Answer::rows(stations(&view.tables).into_iter().map(row).collect::<Vec<_>>())
    })
}

impl Control {
    /// Tells of stations that were lost, or are reached again.
    pub(super) fn tell_stations(&mut self) {
        if self.started.elapsed() < GRACE {
            return;
        }
        let tables = self.engine.tables();
        let now = stations(tables).into_iter().map(|(station, Standing { vifs, up, .. })| {
            let names = vifs.iter().filter_map(|id| tables.vif(*id));
            let names: Vec<String> = names.map(|vif| vif.name.to_string()).collect();
            (station, (up > 0, names))
        });
        let now: BTreeMap<Arc<str>, (bool, Vec<String>)> = now.collect();
        for (station, (up, vifs)) in &now {
            let (station_name, vifs) = (station.to_string(), vifs.clone());
            if self.stations_lost.contains(station) == *up {
                self.report.tell(match up {
                    true => Event::RemoteStationUp { remote_station: station_name, vifs },
                    false => Event::RemoteStationDown { remote_station: station_name, vifs },
                });
            }
        }
        let lost = now.into_iter().filter(|(_, (up, _))| !up);
        self.stations_lost = lost.map(|(station, _)| station).collect();
    }
}
