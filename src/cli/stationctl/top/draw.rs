//! Draws the screen; 80 columns and 24 lines are enough for it.

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Clear, Paragraph, Row as TableRow, Table, Wrap};

use super::poll::Seen;
use super::rows::{Column, Row, View};
use super::screen::{Screen, Trends};
use crate::admin::rows::{RateRow, bits_per_second};
use crate::cli::stationctl::rates::frames;
use crate::cli::stationctl::units::{count, seconds};

const BAD: Style = Style::new().fg(Color::Red);
const HEAD: Style = Style::new().add_modifier(Modifier::BOLD);
const CHOSEN: Style = Style::new().add_modifier(Modifier::REVERSED);

const KEYS: &str = "1-6 Tab view  s sort  r reverse  / filter  Enter detail  ? help  q quit";
const HELP: &str = "\
1-6, Tab, arrows   ports, VIFs, drops, workers, BGP, tunnels
Up Down j k        another row; PgUp PgDn Home End
s, r               sort by the next column; turn the order around
/                  only rows that contain this; Esc shows all again
Enter              the VIF or port of the row alone; Esc goes back
q, Ctrl-C          end

RX, TX             bits of the last second: ports as on the wire (L1:
                   preamble, FCS and gap included), VIFs without (L2)
DROP/S, MISS/S     frames dropped; frames that no worker saw
SHARE              a worker's part of all frames: even is best
/BURST             frames that move together; near 64 is the limit
A red row          is down, or something is wrong with it: see below

Any key goes on.";

/// Draws all of it.
pub(super) fn draw(frame: &mut Frame<'_>, screen: &mut Screen) {
    let [top, tabs, body, note, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(2),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(headline(screen), top);
    frame.render_widget(views(screen), tabs);
    let mut said = String::new();
    match (&screen.seen, screen.detail.clone()) {
        (None, _) => {}
        (Some(seen), Some((view, name))) => {
            let lines = detail(seen, &screen.trends, view, &name, usize::from(body.width));
            frame.render_widget(Paragraph::new(lines), body);
        }
        (Some(_), None) => said = table(frame, screen, body),
    }
    frame.render_widget(Paragraph::new(said).wrap(Wrap { trim: true }), note);
    let keys_line = match (screen.typing, screen.filter.is_empty()) {
        (true, _) => format!("/{}_  Enter keeps it, Esc shows all", screen.filter),
        (false, false) => format!("/{}  {KEYS}", screen.filter),
        (false, true) => KEYS.to_owned(),
    };
    frame.render_widget(Line::styled(keys_line, Style::new().fg(Color::Cyan)), keys);
    if screen.help {
        frame.render_widget(Clear, body);
        frame.render_widget(Paragraph::new(HELP), body);
    }
}

/// The station in a line, or why nothing is known of it.
fn headline(screen: &Screen) -> Line<'static> {
    let mut spans = Vec::new();
    if let Some(seen) = &screen.seen {
        let version = &seen.version;
        let ports = seen.ports.iter().filter(|port| port.link == "up").count();
        let vifs = seen.vifs.iter().filter(|vif| vif.state == "up").count();
        let sessions = seen.sessions.iter().filter(|row| row.is_up()).count();
        let part = |label: &str, all: usize, now: usize| {
            let style = if all == now { Style::new() } else { BAD };
            Span::styled(format!("  {label} {now}/{all}"), style)
        };
        spans.push(Span::styled(version.station.clone(), HEAD));
        let about =
            format!("  up {}  configuration {}", seconds(version.uptime_s), version.configuration);
        spans.push(Span::raw(about));
        spans.push(part("ports", seen.ports.len(), ports));
        spans.push(part("VIFs", seen.vifs.len(), vifs));
        spans.push(part("BGP", seen.sessions.len(), sessions));
    }
    match &screen.trouble {
        Some(trouble) => spans.insert(0, Span::styled(format!("{trouble}  "), BAD.patch(HEAD))),
        None if spans.is_empty() => spans.push(Span::raw("asking the station ...")),
        None => {}
    }
    Line::from(spans)
}

fn views(screen: &Screen) -> Line<'static> {
    let name = |(n, view): (usize, View)| {
        let style = if view == screen.view { CHOSEN } else { Style::new() };
        [Span::styled(format!(" {} {} ", n + 1, view.title()), style), Span::raw(" ")]
    };
    Line::from_iter(View::ALL.into_iter().enumerate().flat_map(name))
}

/// How many columns fit.
fn fitting(columns: &[Column], width: u16) -> usize {
    let mut left = width;
    let fits = |column: &&Column| {
        let needed = column.width + 1;
        let fits = left + 1 >= needed;
        left = left.saturating_sub(needed);
        fits
    };
    columns.iter().take_while(fits).count()
}

/// Draws the rows; gives what there is to say of the one that is chosen.
fn table(frame: &mut Frame<'_>, screen: &mut Screen, area: Rect) -> String {
    let rows = screen.rows();
    let all = screen.view.columns();
    let columns = &all[..fitting(all, area.width)];
    let (sorted, reverse) = screen.order();
    let aligned = |text: String, column: &Column| {
        let side = if column.number { Alignment::Right } else { Alignment::Left };
        Cell::from(Line::from(text).alignment(side))
    };
    let heads = columns.iter().enumerate().map(|(at, column)| {
        let mark = match (at == sorted, reverse) {
            (false, _) => "",
            (true, false) => "▾",
            (true, true) => "▴",
        };
        aligned(format!("{}{mark}", column.head), column)
    });
    let line = |row: &Row| {
        let cells = row.cells.iter().zip(columns);
        let cells = cells.map(|(cell, column)| aligned(cell.text.clone(), column));
        TableRow::new(cells).style(if row.bad { BAD } else { Style::new() })
    };
    let widths = columns.iter().map(|column| Constraint::Length(column.width));
    let table = Table::new(rows.iter().map(line), widths)
        .header(TableRow::new(heads).style(HEAD))
        .column_spacing(1)
        .row_highlight_style(CHOSEN);
    frame.render_stateful_widget(table, area, &mut screen.table);
    if rows.is_empty() {
        return if screen.filter.is_empty() { "nothing" } else { "nothing contains that" }
            .to_owned();
    }
    let chosen = screen.table.selected().and_then(|at| rows.get(at));
    chosen.map(|row| row.note.clone()).unwrap_or_default()
}

/// A port or VIF alone.
fn detail(
    seen: &Seen,
    trends: &Trends,
    view: View,
    name: &str,
    width: usize,
) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    let of_vif = view == View::Vifs;
    let kind = if of_vif { "vif" } else { "port" };
    let head = match of_vif {
        true => seen.vifs.iter().find(|vif| vif.name == name).map(|vif| {
            let addresses: Vec<String> = vif.addresses.iter().map(ToString::to_string).collect();
            (
                format!(
                    "port {}, vlan {}, vrf {}, mtu {}: {}",
                    vif.port,
                    vif.vlan,
                    vif.vrf,
                    vif.mtu,
                    vif.state_word()
                ),
                addresses.join(" "),
            )
        }),
        false => seen.ports.iter().find(|port| port.name == name).map(|port| {
            let about = format!(
                "interface {}, {}, mtu {}, link {}, link changes {}, put right {}",
                port.interface, port.mac, port.mtu, port.link, port.carrier_changes, port.repairs
            );
            (about, port.trouble.clone())
        }),
    };
    let Some((about, more)) = head else {
        return vec![Line::raw(format!("{kind} {name} is gone"))];
    };
    lines.push(Line::from(vec![
        Span::styled(format!("{kind} {name}"), HEAD),
        Span::raw(format!("  {about}")),
    ]));
    lines.push(Line::raw(more));
    let rates = if of_vif { &seen.vif_rates } else { &seen.port_rates };
    if let Some(row) = rates.iter().find(|row| row.name == name) {
        lines.extend(windows(row));
    }
    lines.push(Line::raw(trends.line(kind, name, width)));
    let drops = seen.drops.iter().filter(|row| row.scope == kind && row.name == name);
    let drops: Vec<Line<'static>> = drops
        .map(|row| Line::raw(format!("{:>12} {}: {}", count(row.count), row.reason, row.help)))
        .collect();
    lines.push(Line::styled(if drops.is_empty() { "no drops" } else { "drops" }, HEAD));
    lines.extend(drops);
    if of_vif {
        let sessions = seen.sessions.iter().filter(|session| session.vif == name);
        lines.extend(sessions.map(|session| {
            let up = session.is_up();
            let text = format!(
                "BGP {} AS{}: {}, {} accepted of {}, {} advertised  {}",
                session.peer,
                session.peer_as,
                session.state,
                count(session.accepted),
                count(session.max_prefixes.into()),
                count(session.advertised),
                session.last_error
            );
            Line::styled(text, if up { Style::new() } else { BAD })
        }));
    } else {
        lines.push(Line::styled("VIFs with most", HEAD));
        // The rates come with most first.
        let vifs = seen.vif_rates.iter().filter(|row| row.port == name);
        lines.extend(vifs.map(|row| {
            let window = row.windows.first();
            let [rx, tx] = window
                .map_or([0.0; 2], |window| [window.rx_bits_per_s, window.tx_bits_per_s])
                .map(bits_per_second);
            Line::raw(format!("{:<16} {rx:>12} in {tx:>12} out", row.name))
        }));
    }
    lines
}

/// The windows of a row, a line each.
fn windows(row: &RateRow) -> Vec<Line<'static>> {
    let head = format!(
        "{:>5} {:>9} {:>12} {:>12} {:>9} {:>12} {:>12}",
        "OVER", "RX F/S", "RX L2", "RX L1", "TX F/S", "TX L2", "TX L1"
    );
    let line = |window: &crate::admin::rows::RateWindow| {
        let bits = |bits: Option<f64>| bits_per_second(bits.unwrap_or(0.0));
        let text = format!(
            "{:>4.0}s {:>9} {:>12} {:>12} {:>9} {:>12} {:>12}",
            window.measured_s,
            frames(window.rx_frames_per_s),
            bits(Some(window.rx_bits_per_s)),
            bits(window.rx_l1_bits_per_s),
            frames(window.tx_frames_per_s),
            bits(Some(window.tx_bits_per_s)),
            bits(window.tx_l1_bits_per_s),
        );
        Line::raw(text)
    };
    std::iter::once(Line::styled(head, HEAD)).chain(row.windows.iter().map(line)).collect()
}

#[cfg(test)]
mod tests;
