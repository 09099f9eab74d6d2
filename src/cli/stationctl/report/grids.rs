//! The report as grids of cells: text shows them as tables, and so does HTML.

use std::collections::BTreeMap;

use super::super::probe_history::{asked, loss};
use super::super::table::{Column, number, text};
use super::super::tables::or_dash;
use super::super::units::{bits, count, microseconds, milliseconds, moment, octets};
use super::gather::HOUR_MS;
use super::model::{Report, TrafficReport};
use crate::admin::rows::Cause;

/// What the words of the report mean, for its reader.
pub(super) const MEANINGS: [&str; 5] = [
    "All times are UTC.",
    "Availability is the part of the time in which the VIF was not out; what was planned (admin, drain, \
     drill) counts neither as time nor as outage. An outage has the cause of its first fault.",
    "Frames lost are those that the station counted in an outage. VIFs of one VRF count the same frames, \
     so that they have no sum.",
    "Of the round trips of a probe 50, 90 and 99 of 100 took no longer than P50, P90 and P99, to 1 %. \
     Jitter is how much they differ from one to the next, in the mean.",
    "IN is what the station received from the customer, OUT what it sent to it. Means are over the time \
     since the VIF was there. Of the five-minute bins the highest 5 % are dropped; the highest that is \
     left is P95.",
];

/// Columns, and rows of as many cells.
pub(super) struct Grid {
    pub title: &'static str,
    pub columns: Vec<Column>,
    pub rows: Vec<Vec<String>>,
    /// What is said where there are no rows.
    pub empty: &'static str,
    /// The last row is the sum of the others.
    pub sum: bool,
}

/// All of a report.
pub(super) fn grids(report: &Report) -> [Grid; 4] {
    [availability(report), outages(report), probes(report), traffic(report)]
}

/// A part of a time in which a VIF was there, as `show sla` has it.
pub(super) fn percent(ratio: f64) -> String {
    format!("{:.5}%", 100.0 * ratio)
}

fn by_cause(causes: &BTreeMap<Cause, u64>) -> String {
    let each = causes.iter().map(|(cause, ms)| format!("{} {}", cause.word(), milliseconds(*ms)));
    or_dash(Some(each.collect::<Vec<_>>().join(", ")).filter(|all| !all.is_empty()))
}

fn availability(report: &Report) -> Grid {
    let mut rows: Vec<Vec<String>> = Vec::new();
    for vif in &report.vifs {
        let known = vif.availability.as_ref();
        rows.push(vec![
            vif.vif.clone(),
            or_dash(vif.circuit.clone()),
            or_dash(known.map(|of| percent(of.availability))),
            or_dash(known.map(|of| count(of.outages))),
            or_dash(known.map(|of| milliseconds(of.down_ms))),
            or_dash(known.map(|of| by_cause(&of.down_ms_by_cause))),
            or_dash(known.map(|of| milliseconds(of.longest_ms))),
            or_dash(known.map(|of| milliseconds(of.planned_ms))),
            or_dash(known.map(|of| by_cause(&of.planned_ms_by_cause))),
            or_dash(known.map(|of| count(of.frames_lost))),
            or_dash(known.map(|of| moment(of.since_ms))),
        ]);
    }
    let total = &report.total;
    let known = |cell| or_dash(total.availability.map(|_| cell));
    rows.push(vec![
        "all".to_owned(),
        String::new(),
        or_dash(total.availability.map(percent)),
        known(count(total.outages)),
        known(milliseconds(total.down_ms)),
        String::new(),
        known(milliseconds(total.longest_ms)),
        known(milliseconds(total.planned_ms)),
        String::new(),
        String::new(),
        String::new(),
    ]);
    Grid {
        title: "Availability",
        columns: vec![
            text("VIF", 0),
            text("CIRCUIT", 0),
            number("AVAILABILITY", 0),
            number("OUTAGES", 0),
            number("DOWN", 0),
            text("DOWN BY CAUSE", 0),
            number("LONGEST", 0),
            number("PLANNED", 0),
            text("PLANNED BY CAUSE", 0),
            number("FRAMES LOST", 0),
            text("KNOWN SINCE", 0),
        ],
        rows,
        empty: "",
        sum: true,
    }
}

fn outages(report: &Report) -> Grid {
    let all = report.vifs.iter().flat_map(|vif| vif.outages.iter().map(move |of| (vif, of)));
    let rows = all.map(|(vif, outage)| {
        let also: Vec<&str> = outage.also.iter().map(|cause| cause.word()).collect();
        vec![
            vif.vif.clone(),
            moment(outage.start_ms),
            outage.end_ms.map_or_else(|| "lasts".to_owned(), moment),
            milliseconds(outage.duration_ms),
            outage.cause.word().to_owned(),
            also.join(" "),
            if outage.cause.is_planned() { "yes" } else { "no" }.to_owned(),
            or_dash(outage.frames_lost.map(count)),
        ]
    });
    Grid {
        title: "Outages",
        columns: vec![
            text("VIF", 0),
            text("FROM", 0),
            text("TO", 0),
            number("FOR", 0),
            text("CAUSE", 0),
            text("ALSO", 0),
            text("PLANNED", 0),
            number("FRAMES LOST", 0),
        ],
        rows: rows.collect(),
        empty: "There was none that is known.",
        sum: false,
    }
}

fn probes(report: &Report) -> Grid {
    let all = report.vifs.iter().flat_map(|vif| vif.probes.iter().map(move |of| (vif, of)));
    let us = |value: Option<u64>| or_dash(value.map(microseconds));
    let hours = (report.until_ms - report.since_ms).div_ceil(HOUR_MS);
    let mut rows: Vec<Vec<String>> = all
        .map(|(vif, probe)| {
            vec![
                vif.vif.clone(),
                probe.probe.clone(),
                probe.target.to_string(),
                asked(&probe.kind, probe.port),
                count(probe.sent),
                count(probe.lost),
                or_dash(probe.loss_percent.map(loss)),
                us(probe.p50_us),
                us(probe.p90_us),
                us(probe.p99_us),
                us(probe.max_us),
                us(probe.jitter_us),
                format!("{} of {}", count(probe.known_hours), count(hours)),
            ]
        })
        .collect();
    if !rows.is_empty() {
        let total = &report.total;
        let (sent, lost) = (count(total.sent), count(total.lost));
        let mut sum = vec!["all".to_owned(), String::new(), String::new(), String::new()];
        sum.extend([sent, lost, or_dash(total.loss_percent.map(loss))]);
        sum.resize(13, String::new());
        rows.push(sum);
    }
    Grid {
        title: "Probes",
        columns: vec![
            text("VIF", 0),
            text("PROBE", 0),
            text("TARGET", 0),
            text("ASKED", 0),
            number("SENT", 0),
            number("LOST", 0),
            number("LOSS", 0),
            number("P50", 0),
            number("P90", 0),
            number("P99", 0),
            number("MAX", 0),
            number("JITTER", 0),
            number("HOURS", 0),
        ],
        rows,
        empty: "No host was asked.",
        sum: true,
    }
}

fn traffic(report: &Report) -> Grid {
    let row = |name: &str, of: &TrafficReport| {
        vec![
            name.to_owned(),
            octets(of.traffic.rx_octets),
            octets(of.traffic.tx_octets),
            bits(of.mean_rx_bits_per_s),
            bits(of.mean_tx_bits_per_s),
            bits(of.p95_rx_bits_per_s),
            bits(of.p95_tx_bits_per_s),
            bits(of.p95_bits_per_s),
        ]
    };
    let vifs = report.vifs.iter().filter_map(|vif| Some(row(&vif.vif, vif.traffic.as_ref()?)));
    let total = report.total.traffic.iter().map(|of| row("all", of));
    let rows: Vec<Vec<String>> = vifs.chain(total).collect();
    Grid {
        title: "Traffic",
        columns: vec![
            text("VIF", 0),
            number("IN", 0),
            number("OUT", 0),
            number("MEAN IN", 0),
            number("MEAN OUT", 0),
            number("P95 IN", 0),
            number("P95 OUT", 0),
            number("P95", 0),
        ],
        rows,
        empty: "No bin was counted.",
        sum: report.total.traffic.is_some(),
    }
}
