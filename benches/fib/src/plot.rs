//! Bars in SVG, by hand: lookups in a panel for each pattern, and how far each aim was reached.

use crate::aims::Aim;
use crate::report::Row;
use std::cmp::Ordering;
use std::fmt::Write as _;

const OURS: &str = "#0b6e99";
const OTHERS: &str = "#b8c2cc";
const MISSED: &str = "#d1603d";
const INK: &str = "#24292f";
const FAINT: &str = "#6e7781";
const LINE: f64 = 26.0;

fn ours(name: &str) -> bool {
    name.starts_with("station")
}

fn open(width: f64, height: f64, title: &str, below: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         font-family=\"Helvetica, Arial, sans-serif\" font-size=\"12\" fill=\"{INK}\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"16\" y=\"28\" font-size=\"17\" font-weight=\"bold\">{title}</text>\n\
         <text x=\"16\" y=\"47\" fill=\"{FAINT}\">{below}</text>\n"
    )
}

/// One panel a pattern, one bar an implementation, in the same order in each: the fastest inside prefixes first. Our
/// variants that were not chosen are left out.
pub fn lookups(title: &str, rows: &[&Row]) -> String {
    const NAMES: f64 = 130.0;
    const PANEL: f64 = 230.0;
    const GAP: f64 = 62.0;
    const TOP: f64 = 88.0;
    let shown: Vec<&&Row> = rows
        .iter()
        .filter(|row| !(ours(&row.implementation) && row.implementation.contains(' ')))
        .collect();
    let mut inside: Vec<&&Row> =
        shown.iter().filter(|row| row.pattern == "inside").copied().collect();
    inside.sort_by(|a, b| b.mlps.partial_cmp(&a.mlps).unwrap_or(Ordering::Equal));
    let most = shown.iter().map(|row| row.mlps).fold(1.0, f64::max);
    let mut svg = open(
        NAMES + 3.0 * (PANEL + GAP) + 10.0,
        TOP + LINE * inside.len() as f64 + 16.0,
        title,
        "million lookups in a processor second, medians; higher is better",
    );
    for (n, row) in inside.iter().enumerate() {
        let name = &row.implementation;
        let weight = if ours(name) { "bold" } else { "normal" };
        let y = TOP + LINE * n as f64 + 15.0;
        let x = NAMES - 8.0;
        let _ = writeln!(
            svg,
            "<text x=\"{x}\" y=\"{y}\" text-anchor=\"end\" font-weight=\"{weight}\">{name}</text>"
        );
    }
    let panels =
        [("random", "random addresses"), ("inside", "inside prefixes"), ("zipf", "Zipf's law")];
    for (n, (pattern, name)) in panels.iter().enumerate() {
        let left = NAMES + (PANEL + GAP) * n as f64;
        let _ = writeln!(
            svg,
            "<text x=\"{left}\" y=\"{}\" font-weight=\"bold\">{name}</text>\
             <line x1=\"{left}\" x2=\"{left}\" y1=\"{}\" y2=\"{}\" stroke=\"{FAINT}\"/>",
            TOP - 10.0,
            TOP - 2.0,
            TOP + LINE * inside.len() as f64
        );
        for (n, row) in inside.iter().enumerate() {
            let name = &row.implementation;
            let found =
                shown.iter().find(|row| row.implementation == *name && row.pattern == *pattern);
            let mlps = found.map_or(0.0, |row| row.mlps);
            let y = TOP + LINE * n as f64;
            let width = PANEL * mlps / most;
            let color = if ours(name) { OURS } else { OTHERS };
            let _ = writeln!(
                svg,
                "<rect x=\"{left}\" y=\"{y}\" width=\"{width:.1}\" height=\"{}\" rx=\"2\" fill=\"{color}\"/>\
                 <text x=\"{:.1}\" y=\"{}\">{mlps:.1}</text>",
                LINE - 5.0,
                left + width + 5.0,
                y + 15.0
            );
        }
    }
    svg + "</svg>\n"
}

/// How far each aim was reached, on a scale of powers of two around it.
pub fn aims(aims: &[Aim]) -> String {
    const NAMES: f64 = 330.0;
    const OCTAVE: f64 = 90.0;
    const OCTAVES: f64 = 2.0;
    const TOP: f64 = 80.0;
    let middle = NAMES + OCTAVE * OCTAVES;
    let bottom = TOP + LINE * aims.len() as f64;
    let met = aims.iter().filter(|aim| aim.score >= 1.0).count();
    let mut svg = open(
        middle + OCTAVE * OCTAVES + 430.0,
        bottom + 16.0,
        &format!("What was asked for, and what was measured: {met} of {} met", aims.len()),
        "right of the line is better than asked for",
    );
    for octave in [-2i32, -1, 0, 1, 2] {
        let x = middle + OCTAVE * f64::from(octave);
        let text = ["1/4", "1/2", "as asked", "2 x", "4 x"][(octave + 2) as usize];
        let color = if octave == 0 { INK } else { "#d8dee4" };
        let _ = writeln!(
            svg,
            "<line x1=\"{x}\" x2=\"{x}\" y1=\"{}\" y2=\"{bottom}\" stroke=\"{color}\"/>\
             <text x=\"{x}\" y=\"{}\" text-anchor=\"middle\" fill=\"{FAINT}\">{text}</text>",
            TOP - 6.0,
            TOP - 10.0
        );
    }
    for (n, aim) in aims.iter().enumerate() {
        let y = TOP + LINE * n as f64;
        let to = middle + OCTAVE * aim.score.log2().clamp(-OCTAVES, OCTAVES);
        let color = if aim.score >= 1.0 { OURS } else { MISSED };
        let found = format!("{}, asked {}", aim.found, aim.asked.replace("<=", "at most"));
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{:.1}\" y=\"{y}\" width=\"{:.1}\" height=\"{}\" rx=\"2\" fill=\"{color}\"/>\
             <text x=\"{}\" y=\"{}\">{found}</text>",
            NAMES - 8.0,
            y + 15.0,
            aim.what,
            to.min(middle),
            (to - middle).abs().max(1.5),
            LINE - 5.0,
            middle + OCTAVE * OCTAVES + 10.0,
            y + 15.0
        );
    }
    svg + "</svg>\n"
}
