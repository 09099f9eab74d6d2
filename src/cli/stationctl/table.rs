//! Tables: aligned columns without lines around them, easy to read, easy to cut. On a terminal a table is no wider than
//! it: where the columns do not fit, the least important are left out, and a last line says which. Elsewhere it has all.

use std::cmp::Ordering;
use std::io::{self, Write};
use std::net::IpAddr;

use clap::Args;
use comfy_table::{
    Cell, CellAlignment, Color, ColumnConstraint, ContentArrangement, Table, presets,
};

use super::units::value;

/// Blanks between columns.
const GAP: u16 = 2;
/// What a column of prose has at least where it is wrapped.
const PROSE: u16 = 24;

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    heading: &'static str,
    kind: Kind,
    rank: u8,
}

impl Column {
    /// What stands above it.
    pub(super) const fn heading(&self) -> &'static str {
        self.heading
    }

    /// It is aligned to the right.
    pub(super) const fn is_number(&self) -> bool {
        matches!(self.kind, Kind::Number)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    State,
    Prose,
}

/// A column of text. A column of rank 0 is always shown; of the others a narrow terminal shows the lower ranks first.
pub(super) const fn text(heading: &'static str, rank: u8) -> Column {
    Column { heading, kind: Kind::Text, rank }
}

/// Numbers, aligned to the right.
pub(super) const fn number(heading: &'static str, rank: u8) -> Column {
    Column { heading, kind: Kind::Number, rank }
}

/// States, which have colours.
pub(super) const fn state(heading: &'static str, rank: u8) -> Column {
    Column { heading, kind: Kind::State, rank }
}

/// Sentences, which are wrapped where they are too long.
pub(super) const fn prose(heading: &'static str, rank: u8) -> Column {
    Column { heading, kind: Kind::Prose, rank }
}

/// How tables look.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Look {
    /// Show all columns, however narrow the terminal is. What does not go to a terminal always has all
    #[arg(short, long, global = true)]
    pub(super) wide: bool,
    /// Sort rows by a column, named by its heading, like `rx-frames`; `-rx-frames` shows the largest first. A
    /// table of more than 10,000 rows is sorted as a whole
    #[arg(long, global = true, value_name = "COLUMN", allow_hyphen_values = true)]
    pub(super) sort: Option<String>,
}

/// As `--sort` has it.
fn name(heading: &str) -> String {
    heading.to_lowercase().replace([' ', '/', '_'], "-")
}

/// What a cell is sorted by.
#[derive(PartialEq, PartialOrd)]
enum Key {
    Nothing,
    Number(f64),
    Address(IpAddr, u8),
    Text(String),
}

fn key(cell: &str) -> Key {
    let (address, length) = cell.split_once('/').unwrap_or((cell, "0"));
    match (address.parse(), length.parse()) {
        (Ok(address), Ok(length)) => Key::Address(address, length),
        _ if cell.is_empty() || cell == "-" => Key::Nothing,
        _ => value(cell).map_or_else(|| Key::Text(cell.to_lowercase()), Key::Number),
    }
}

impl Look {
    /// Sorts rows as it was asked for.
    fn arrange(&self, columns: &[Column], rows: &mut [Vec<String>]) -> io::Result<()> {
        let Some(sort) = &self.sort else { return Ok(()) };
        let (wanted, down) = sort.strip_prefix('-').map_or((&**sort, false), |rest| (rest, true));
        let Some(at) = columns.iter().position(|column| name(column.heading) == name(wanted))
        else {
            let names: Vec<String> = columns.iter().map(|column| name(column.heading)).collect();
            let message = format!("there is no column {wanted:?}: sort by {}", names.join(", "));
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        };
        rows.sort_by(|a, b| {
            let key = |row: &[String]| row.get(at).map_or(Key::Nothing, |cell| key(cell));
            let order = key(a).partial_cmp(&key(b)).unwrap_or(Ordering::Equal);
            if down { order.reverse() } else { order }
        });
        Ok(())
    }
}

/// Which columns fit: those of rank 0, and of the others as many as there is room for, the most important first.
fn fitting(columns: &[Column], widths: &[u16], room: u16) -> Vec<bool> {
    let width = |at: usize| match columns[at].kind {
        Kind::Prose => widths[at].min(PROSE),
        _ => widths[at],
    };
    let mut order: Vec<usize> = (0..columns.len()).collect();
    order.sort_by_key(|&at| columns[at].rank);
    let (mut shown, mut taken) = (vec![false; columns.len()], 0_u16);
    for at in order {
        let with = taken.saturating_add(width(at)).saturating_add(if taken > 0 { GAP } else { 0 });
        if columns[at].rank == 0 || with <= room {
            (shown[at], taken) = (true, with);
        }
    }
    shown
}

fn color(state: &str) -> Option<Color> {
    let word = state.split([' ', ':']).next().unwrap_or_default();
    match word {
        "up" | "established" | "reachable" | "running" | "yes" => Some(Color::Green),
        "down" | "out" | "shut" | "damaged" | "NO" => Some(Color::Red),
        "idle" | "connect" | "active" | "opensent" | "openconfirm" | "close" | "passive"
        | "port-down" | "draining" | "drained" | "unresolved" | "unconfirmed" | "rejected" => {
            Some(Color::Yellow)
        }
        _ => None,
    }
}

/// Lays out columns.
fn table(columns: &[Column], rows: &[Vec<String>], shown: &[bool], colors: bool) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let columns: Vec<(usize, &Column)> =
        columns.iter().enumerate().filter(|(at, _)| shown[*at]).collect();
    table.set_header(columns.iter().map(|(_, column)| column.heading));
    for row in rows {
        let cells = columns.iter().filter_map(|(at, column)| {
            let cell = row.get(*at)?;
            let color = color(cell).filter(|_| colors && column.kind == Kind::State);
            let cell = Cell::new(cell);
            Some(match color {
                Some(color) => cell.fg(color),
                None => cell,
            })
        });
        table.add_row(cells.collect::<Vec<_>>());
    }
    for (column, (_, of)) in table.column_iter_mut().zip(&columns) {
        column.set_padding((0, GAP));
        match of.kind {
            Kind::Number => column.set_cell_alignment(CellAlignment::Right),
            Kind::Prose => continue,
            Kind::Text | Kind::State => {}
        }
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
    table
}

/// Writes a table.
///
/// # Errors
/// Of `InvalidInput`: it has no such column to sort by. Of other kinds: it cannot be written.
pub(super) fn write(
    out: &mut impl Write,
    look: &Look,
    columns: &[Column],
    rows: impl IntoIterator<Item = Vec<String>>,
) -> io::Result<()> {
    let terminal = Table::new().width();
    // no-color.org: any value but an empty one.
    let colors = terminal.is_some() && std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty());
    write_within(out, look, columns, rows, terminal, colors)
}

fn write_within(
    out: &mut impl Write,
    look: &Look,
    columns: &[Column],
    rows: impl IntoIterator<Item = Vec<String>>,
    terminal: Option<u16>,
    colors: bool,
) -> io::Result<()> {
    let mut rows: Vec<Vec<String>> = rows.into_iter().collect();
    look.arrange(columns, &mut rows)?;
    let all = vec![true; columns.len()];
    let mut page = table(columns, &rows, &all, colors);
    let mut left_out = Vec::new();
    if let Some(room) = terminal.filter(|_| !look.wide) {
        let shown = fitting(columns, &page.column_max_content_widths(), room);
        let unseen = columns.iter().zip(&shown).filter(|(_, shown)| !**shown);
        left_out.extend(unseen.map(|(column, _)| column.heading));
        page = table(columns, &rows, &shown, colors);
        // The last column's gap is cut off.
        page.set_width(room.saturating_add(GAP));
        page.set_content_arrangement(ContentArrangement::Dynamic);
    }
    if colors {
        page.enforce_styling();
    } else {
        page.force_no_tty();
    }
    for line in page.lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    if !left_out.is_empty() {
        writeln!(out, "(-w shows more: {})", left_out.join(", "))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 5] = [
        text("VIF", 0),
        number("RX FRAMES", 2),
        state("STATE", 0),
        text("MAC", 3),
        prose("LAST ERROR", 1),
    ];

    fn rows() -> Vec<Vec<String>> {
        let row = |cells: [&str; 5]| cells.map(str::to_owned).to_vec();
        vec![
            row(["b", "1,000", "up", "02:00:00:00:00:01", ""]),
            row(["a", "20", "down", "02:00:00:00:00:02", "the peer closed it, for it had enough"]),
            row(["c", "-", "up", "-", ""]),
        ]
    }

    fn shown(look: &Look, terminal: Option<u16>, colors: bool) -> io::Result<String> {
        let mut out = Vec::new();
        write_within(&mut out, look, &COLUMNS, rows(), terminal, colors)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_table_leaves_out_what_is_least_important() {
        let plain = Look::default();
        let all = shown(&plain, None, false).unwrap();
        assert!(all.starts_with("VIF  RX FRAMES  STATE  MAC                LAST ERROR\n"), "{all}");
        for (terminal, unseen) in [
            (84, ""),
            (66, ""),
            (65, "(-w shows more: MAC)\n"),
            (44, "(-w shows more: RX FRAMES, MAC)\n"),
            (33, "(-w shows more: MAC, LAST ERROR)\n"),
            (21, "(-w shows more: MAC, LAST ERROR)\n"),
            (9, "(-w shows more: RX FRAMES, MAC, LAST ERROR)\n"),
        ] {
            let narrow = shown(&plain, Some(terminal), false).unwrap();
            let widest = narrow.lines().filter(|line| !line.starts_with("(-w")).map(str::len).max();
            assert!(widest.unwrap() <= usize::from(terminal.max(10)), "{terminal}:\n{narrow}");
            assert!(narrow.ends_with(unseen), "{terminal}:\n{narrow}");
            assert_eq!(narrow.contains("-w"), !unseen.is_empty(), "{terminal}:\n{narrow}");
            let wide = Look { wide: true, sort: None };
            assert_eq!(shown(&wide, Some(terminal), false).unwrap(), all);
        }
    }

    #[test]
    fn states_have_colours_where_they_are_wanted() {
        let plain = Look::default();
        assert!(!shown(&plain, Some(80), false).unwrap().contains('\x1b'));
        let colored = shown(&plain, Some(80), true).unwrap();
        assert_eq!(colored.matches("\x1b[38;5;10m").count(), 2, "{colored:?}");
        assert_eq!(colored.matches("\x1b[38;5;9m").count(), 1, "{colored:?}");
    }

    #[test]
    fn rows_are_sorted_by_what_a_column_means() {
        let first = |sort: &str| {
            let look = Look { wide: false, sort: Some(sort.to_owned()) };
            let text = shown(&look, None, false)?;
            Ok(text.lines().skip(1).map(|line| line[..1].to_owned()).collect::<String>())
        };
        let sorted = |sort| -> Result<String, io::Error> { first(sort) };
        for (sort, order) in
            [("vif", "abc"), ("-vif", "cba"), ("rx-frames", "cab"), ("-RX FRAMES", "bac")]
        {
            assert_eq!(sorted(sort).unwrap(), order, "{sort}");
        }
        let error = sorted("-colour").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().ends_with("sort by vif, rx-frames, state, mac, last-error"));
    }

    #[test]
    fn addresses_are_sorted_as_numbers() {
        let mut cells = ["fd00::/8", "10.0.0.0/16", "9.0.0.0/8", "-", "10.0.0.0/8", "x"];
        cells.sort_by(|a, b| key(a).partial_cmp(&key(b)).unwrap());
        assert_eq!(cells, ["-", "9.0.0.0/8", "10.0.0.0/8", "10.0.0.0/16", "fd00::/8", "x"]);
    }
}
