//! The tables of top: columns, and rows made of two looks at the station.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::poll::Seen;
use super::screen::Trends;
use crate::admin::rows::{DropRow, PortRow, RateRow, RateWindow, bits_per_second};
use crate::cli::stationctl::rates::frames;
use crate::cli::stationctl::units::{count, seconds};

/// What is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    Ports,
    Vifs,
    Drops,
    Workers,
    Bgp,
    Tunnels,
}

impl View {
    pub(super) const ALL: [View; 6] =
        [View::Ports, View::Vifs, View::Drops, View::Workers, View::Bgp, View::Tunnels];

    pub(super) fn title(self) -> &'static str {
        match self {
            View::Ports => "ports",
            View::Vifs => "VIFs",
            View::Drops => "drops",
            View::Workers => "workers",
            View::Bgp => "BGP",
            View::Tunnels => "tunnels",
        }
    }

    /// The columns, those that matter most first: the last ones go where the terminal is narrow.
    pub(super) fn columns(self) -> &'static [Column] {
        match self {
            View::Ports => PORTS,
            View::Vifs => VIFS,
            View::Drops => DROPS,
            View::Workers => WORKERS,
            View::Bgp => BGP,
            View::Tunnels => TUNNELS,
        }
    }

    /// By which column it is sorted at first: a port is looked for by name, the rest by how much.
    pub(super) fn sorted_by(self) -> usize {
        match self {
            View::Ports | View::Workers | View::Tunnels => 0,
            View::Vifs => 3,
            View::Drops => 3,
            View::Bgp => 2,
        }
    }
}

/// A column: its heading, its width, and whether it holds numbers.
pub(super) struct Column {
    pub head: &'static str,
    pub width: u16,
    pub number: bool,
}

const fn text(head: &'static str, width: u16) -> Column {
    Column { head, width, number: false }
}

const fn number(head: &'static str, width: u16) -> Column {
    Column { head, width, number: true }
}

const PORTS: &[Column] = &[
    text("PORT", 12),
    text("LINK", 8),
    number("RX L1", 12),
    number("TX L1", 12),
    number("DROP/S", 7),
    number("MISS/S", 7),
    text("RX+TX", 15),
];
const VIFS: &[Column] = &[
    text("VIF", 16),
    text("PORT", 8),
    text("STATE", 9),
    number("RX", 12),
    number("TX", 12),
    number("DROP/S", 7),
    text("RX+TX", 10),
];
const DROPS: &[Column] = &[
    text("WHERE", 21),
    text("REASON", 22),
    number("COUNT", 12),
    number("/S", 8),
    text("LAST SEEN", 12),
];
const WORKERS: &[Column] = &[
    number("WORKER", 6),
    number("CPU", 4),
    number("BUSY", 6),
    number("FRAMES/S", 10),
    number("SHARE", 6),
    number("/BURST", 6),
    number("POLLS/S", 9),
    number("FREE", 6),
    text("FRAMES", 17),
];
const BGP: &[Column] = &[
    text("VIF", 14),
    text("PEER", 18),
    text("STATE", 11),
    number("SINCE", 8),
    text("BFD", 4),
    number("ACCEPTED", 13),
    number("ADV", 6),
];
const TUNNELS: &[Column] =
    &[text("VIF", 16), number("VNI", 8), text("REMOTE", 24), text("STATE", 5), text("VIA", 22)];

/// A cell: what is shown, and what it is sorted by where that is a number.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cell {
    pub text: String,
    key: Option<f64>,
}

/// A row, and what is behind it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub cells: Vec<Cell>,
    /// Name of the port or VIF that it leads to.
    pub leads_to: Option<(View, String)>,
    /// Something is wrong with it.
    pub bad: bool,
    /// What there is to say of it in a line.
    pub note: String,
}

fn word(text: impl Into<String>) -> Cell {
    Cell { text: text.into(), key: None }
}

fn amount(text: String, key: f64) -> Cell {
    Cell { text, key: Some(key) }
}

/// Sorts rows by a column: numbers by size, the largest first, text by the alphabet; `reverse` turns that around.
pub(super) fn sort(rows: &mut [Row], column: usize, reverse: bool) {
    rows.sort_by(|a, b| {
        let order = match (a.cells.get(column), b.cells.get(column)) {
            (Some(Cell { key: Some(a), .. }), Some(Cell { key: Some(b), .. })) => b.total_cmp(a),
            (Some(a), Some(b)) => a.text.cmp(&b.text),
            _ => Ordering::Equal,
        };
        if reverse { order.reverse() } else { order }
    });
}

/// The rows of a view.
pub(super) fn rows(view: View, seen: &Seen, before: Option<&Seen>, trends: &Trends) -> Vec<Row> {
    let since = before.map(|before| (before, (seen.at - before.at).as_secs_f64()));
    match view {
        View::Ports => ports(seen, since, trends),
        View::Vifs => vifs(seen, since, trends),
        View::Drops => drops(seen, since),
        View::Workers => workers(seen, since, trends),
        View::Bgp => sessions(seen),
        View::Tunnels => tunnels(seen),
    }
}

/// A look before, and the seconds since.
type Since<'a> = Option<(&'a Seen, f64)>;

/// A number to compare and to divide.
#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
pub(super) fn real(n: u64) -> f64 {
    n as f64
}

/// A second's part of what a counter grew by; nothing where it began anew.
fn per_second(now: u64, before: Option<u64>, seconds: f64) -> f64 {
    match before.and_then(|before| now.checked_sub(before)) {
        Some(grown) if seconds > 0.0 => real(grown) / seconds,
        _ => 0.0,
    }
}

fn rate_cell(per_s: f64) -> Cell {
    amount(frames(per_s), per_s)
}

fn bits_cell(bits: f64) -> Cell {
    amount(bits_per_second(bits), bits)
}

/// The last second's window of each row, by name.
fn now(rates: &[RateRow]) -> HashMap<&str, &RateWindow> {
    rates.iter().filter_map(|row| Some((&*row.name, row.windows.first()?))).collect()
}

fn ports(seen: &Seen, since: Since<'_>, trends: &Trends) -> Vec<Row> {
    let rates = now(&seen.port_rates);
    let rows = seen.ports.iter().map(|port| {
        let window = rates.get(&*port.name);
        let bits = |of: fn(&RateWindow) -> Option<f64>| {
            bits_cell(window.and_then(|window| of(window)).unwrap_or(0.0))
        };
        let counted = |row: &PortRow| (row.drops.values().sum::<u64>(), row.missed());
        let old = since.and_then(|(seen, _)| seen.ports.iter().find(|old| old.name == port.name));
        let (old, seconds) = (old.map(counted), since.map_or(0.0, |(_, seconds)| seconds));
        let (drops, missed) = counted(port);
        Row {
            cells: vec![
                word(&*port.name),
                word(port.state_word()),
                bits(|window| window.rx_l1_bits_per_s),
                bits(|window| window.tx_l1_bits_per_s),
                rate_cell(per_second(drops, old.map(|old| old.0), seconds)),
                rate_cell(per_second(missed, old.map(|old| old.1), seconds)),
                word(trends.line("port", &port.name, 15)),
            ],
            leads_to: Some((View::Ports, port.name.clone())),
            bad: port.link != "up" || !port.trouble.is_empty(),
            note: port.trouble.clone(),
        }
    });
    rows.collect()
}

fn vifs(seen: &Seen, since: Since<'_>, trends: &Trends) -> Vec<Row> {
    let rates = now(&seen.vif_rates);
    let old: HashMap<&str, u64> = since
        .map(|(seen, _)| seen.vifs.iter().map(|vif| (&*vif.name, vif.dropped)).collect())
        .unwrap_or_default();
    let seconds = since.map_or(0.0, |(_, seconds)| seconds);
    let rows = seen.vifs.iter().map(|vif| {
        let window = rates.get(&*vif.name);
        let dropped = per_second(vif.dropped, old.get(&*vif.name).copied(), seconds);
        Row {
            cells: vec![
                word(&*vif.name),
                word(&*vif.port),
                word(vif.state_word()),
                bits_cell(window.map_or(0.0, |window| window.rx_bits_per_s)),
                bits_cell(window.map_or(0.0, |window| window.tx_bits_per_s)),
                rate_cell(dropped),
                word(trends.line("vif", &vif.name, 10)),
            ],
            leads_to: Some((View::Vifs, vif.name.clone())),
            bad: vif.state != "up",
            note: format!("vlan {}, vrf {}", vif.vlan, vif.vrf),
        }
    });
    rows.collect()
}

fn drops(seen: &Seen, since: Since<'_>) -> Vec<Row> {
    let key = |row: &DropRow| (row.scope.clone(), row.name.clone(), row.reason.clone());
    let old: HashMap<_, u64> = since.map_or_else(HashMap::new, |(seen, _)| {
        seen.drops.iter().map(|row| (key(row), row.count)).collect()
    });
    let seconds = since.map_or(0.0, |(_, seconds)| seconds);
    // What was not there at the last look began since, if drops were looked at.
    let new = (!old.is_empty()).then_some(0);
    let rows = seen.drops.iter().map(|row| {
        let per_s = per_second(row.count, old.get(&key(row)).copied().or(new), seconds);
        let time = crate::cli::stationctl::units::moment(row.last_ms);
        let time = time.split_once('T').map_or("", |(_, time)| time.trim_end_matches('Z'));
        Row {
            cells: vec![
                word(format!("{} {}", row.scope, row.name)),
                word(&*row.reason),
                amount(count(row.count), real(row.count)),
                rate_cell(per_s),
                word(time),
            ],
            leads_to: Some((
                if row.scope == "vif" { View::Vifs } else { View::Ports },
                row.name.clone(),
            )),
            bad: row.help.starts_with("SECURITY") || row.help.starts_with("BUG"),
            note: row.help.clone(),
        }
    });
    rows.collect()
}

fn workers(seen: &Seen, since: Since<'_>, trends: &Trends) -> Vec<Row> {
    let seconds = since.map_or(0.0, |(_, seconds)| seconds);
    let grown = |of: fn(&crate::admin::rows::WorkerRow) -> u64, at: usize| {
        let before = since.and_then(|(seen, _)| seen.workers.get(at)).map(of);
        seen.workers.get(at).map_or(0.0, |row| per_second(of(row), before, seconds))
    };
    let all: f64 = (0..seen.workers.len()).map(|at| grown(|row| row.frames, at)).sum();
    let rows = seen.workers.iter().enumerate().map(|(at, worker)| {
        let (frames, bursts) = (grown(|row| row.frames, at), grown(|row| row.bursts, at));
        let busy = grown(|row| row.busy_ns, at) / 1e9;
        let part = |of: f64, to: f64| if to > 0.0 { of / to } else { 0.0 };
        let percent = |part: f64| amount(format!("{:.0}%", 100.0 * part), part);
        let free = part(real(worker.frames_free), real(worker.frames_total));
        Row {
            cells: vec![
                // The first worker first.
                amount(worker.worker.to_string(), -f64::from(worker.worker)),
                amount(worker.cpu.to_string(), worker.cpu.into()),
                percent(busy),
                rate_cell(frames),
                percent(part(frames, all)),
                amount(format!("{:.1}", part(frames, bursts)), part(frames, bursts)),
                rate_cell(grown(|row| row.loops, at)),
                percent(free),
                word(trends.line("worker", &worker.worker.to_string(), 17)),
            ],
            leads_to: None,
            bad: busy > 0.9,
            note: format!("an even share is {:.0}%", part(100.0, real(seen.workers.len() as u64))),
        }
    });
    rows.collect()
}

fn sessions(seen: &Seen) -> Vec<Row> {
    let rows = seen.sessions.iter().map(|session| {
        let since = session.since_s.map_or_else(|| "-".to_owned(), seconds);
        let numbers = [session.since_s.unwrap_or(0), session.accepted, session.advertised];
        let numbers = numbers.map(real);
        Row {
            cells: vec![
                word(&*session.vif),
                word(session.peer.to_string()),
                word(&*session.state),
                amount(since, numbers[0]),
                word(session.bfd.as_deref().unwrap_or("-")),
                amount(format!("{}/{}", session.accepted, session.max_prefixes), numbers[1]),
                amount(session.advertised.to_string(), numbers[2]),
            ],
            leads_to: Some((View::Vifs, session.vif.clone())),
            bad: !session.is_up() || session.bfd.as_deref() == Some("down"),
            note: session.last_error.clone(),
        }
    });
    rows.collect()
}

fn tunnels(seen: &Seen) -> Vec<Row> {
    let rows = seen.tunnels.iter().map(|tunnel| Row {
        cells: vec![
            word(&*tunnel.vif),
            amount(tunnel.vni.to_string(), tunnel.vni.into()),
            word(tunnel.remote.to_string()),
            word(&*tunnel.state),
            word(tunnel.via.join(", ")),
        ],
        leads_to: Some((View::Vifs, tunnel.vif.clone())),
        bad: tunnel.state != "up",
        note: format!(
            "from {} by vtep {}, underlay {}, mtu {}",
            tunnel.local, tunnel.vtep, tunnel.underlay, tunnel.mtu
        ),
    });
    rows.collect()
}
