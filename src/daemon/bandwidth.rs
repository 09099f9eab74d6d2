//! `show bandwidth`.

use std::collections::HashMap;

use super::control_thread::Control;
use super::rates::RateBook;
use super::view::View;
use crate::admin::answer::Answer;
use crate::admin::rows::{BandwidthNow, BandwidthRow, Labels, bits_per_s, rounded};
use crate::config::model::{Bandwidth, Config, RateLimit};
use crate::observe::{Policed, VifTotals};
use crate::tables::{Direction, VifId};

/// All that is limited: ports, then meter groups, then VIFs.
pub(super) fn show(control: &Control) -> Answer {
    let (view, config) = (View::of(control), control.config().clone());
    let book = control.rates.clone();
    Answer::later(move || Answer::rows(rows(&view, &config, &book)))
}

/// What a row is of.
struct Scope<'a> {
    word: &'static str,
    name: &'a str,
    labels: &'a Labels,
    bandwidth: &'a Bandwidth,
    meter_group: Option<&'a str>,
    vifs: Vec<VifId>,
}

/// The rows of a configuration, by the counters now.
pub(super) fn rows(view: &View, config: &Config, book: &RateBook) -> Vec<BandwidthRow> {
    let ids: HashMap<&str, VifId> = view.vifs().map(|(id, vif)| (&*vif.name, id)).collect();
    let mut by_port: HashMap<&str, Vec<VifId>> = HashMap::new();
    let mut by_group: HashMap<&str, Vec<VifId>> = HashMap::new();
    for vif in &config.vifs {
        let Some(&id) = ids.get(&*vif.name) else { continue };
        by_port.entry(&vif.port).or_default().push(id);
        if let Some(group) = &vif.meter_group {
            by_group.entry(group).or_default().push(id);
        }
    }
    let ports = config.ports.iter().filter(|port| port.bandwidth != Bandwidth::default());
    let ports = ports.map(|port| Scope {
        word: "port",
        name: &port.name,
        labels: &port.labels,
        bandwidth: &port.bandwidth,
        meter_group: None,
        vifs: by_port.get(&*port.name).cloned().unwrap_or_default(),
    });
    let groups = config.meter_groups.iter().map(|group| Scope {
        word: "meter_group",
        name: &group.name,
        labels: &group.labels,
        bandwidth: &group.bandwidth,
        meter_group: None,
        vifs: by_group.get(&*group.name).cloned().unwrap_or_default(),
    });
    let vifs = config.vifs.iter().filter_map(|vif| {
        Some(Scope {
            word: "vif",
            name: &vif.name,
            labels: &vif.labels,
            bandwidth: &vif.bandwidth,
            meter_group: vif.meter_group.as_deref(),
            vifs: vec![*ids.get(&*vif.name)?],
        })
    });
    let scopes = ports.chain(groups).chain(vifs);
    scopes.flat_map(|scope| of_scope(view, book, &scope)).collect()
}

/// The directions of it that are limited.
fn of_scope(view: &View, book: &RateBook, scope: &Scope<'_>) -> Vec<BandwidthRow> {
    let policed = |direction: &Direction| {
        let plan = |id: &VifId| view.tables.meters.plan(*id, *direction).is_some();
        scope.bandwidth.of(*direction).is_some()
            || (scope.word == "vif" && scope.vifs.iter().any(plan))
    };
    let directions: Vec<Direction> = Direction::BOTH.into_iter().filter(policed).collect();
    if directions.is_empty() {
        return Vec::new();
    }
    let mut totals = VifTotals::default();
    scope.vifs.iter().for_each(|id| totals.add(&view.counters.vif(*id)));
    let row = |direction: Direction| {
        let at = direction as usize;
        let limit: Option<RateLimit> = scope.bandwidth.of(direction);
        BandwidthRow {
            scope: scope.word.to_owned(),
            name: scope.name.to_owned(),
            labels: scope.labels.clone(),
            direction,
            rate_bits_per_s: limit.and_then(|limit| limit.rate),
            committed_bits_per_s: limit.and_then(|limit| limit.committed),
            burst_octets: limit.map(|limit| limit.burst_octets),
            meter_group: scope.meter_group.map(str::to_owned),
            vifs: scope.vifs.len() as u64,
            passed_octets: totals.passed[at],
            committed_octets: totals.committed[at],
            exceeded_frames: totals.exceeded_frames[at],
            exceeded_octets: totals.exceeded_octets[at],
            now: book.read(|rates| rates.policed(&scope.vifs, direction)).as_ref().map(now),
        }
    };
    directions.into_iter().map(row).collect()
}

fn now(policed: &Policed) -> BandwidthNow {
    let rate = |octets: u64| bits_per_s(octets, policed.time);
    BandwidthNow {
        measured_s: rounded(policed.time.as_secs_f64()),
        offered_bits_per_s: rate(policed.passed.saturating_add(policed.exceeded)),
        passed_bits_per_s: rate(policed.passed),
        exceeded_bits_per_s: rate(policed.exceeded),
        peak_bits_per_s: bits_per_s(policed.peak.0, policed.peak.1),
    }
}
