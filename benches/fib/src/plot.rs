//! Bars in SVG, by hand: one group an implementation, one bar a pattern.

use crate::report::Row;
use std::cmp::Ordering;
use std::fmt::Write as _;

const PATTERNS: [(&str, &str); 3] =
    [("random", "#4c78a8"), ("inside", "#f58518"), ("zipf", "#54a24b")];
const BAR: f64 = 13.0;
const LEFT: f64 = 150.0;
const WIDTH: f64 = 560.0;

fn ours(row: &Row) -> bool {
    row.implementation.starts_with("station")
}

pub fn lookups(title: &str, rows: &[&Row]) -> String {
    // Ours first, what is compared with it from the fastest down.
    let mut inside: Vec<&&Row> = rows.iter().filter(|row| row.pattern == "inside").collect();
    inside.sort_by(|a, b| {
        (!ours(a), b.mlps).partial_cmp(&(!ours(b), a.mlps)).unwrap_or(Ordering::Equal)
    });
    let names: Vec<&str> = inside.iter().map(|row| row.implementation.as_str()).collect();
    let most = rows.iter().map(|row| row.mlps).fold(1.0, f64::max);
    let group = 3.0 * BAR + 12.0;
    let height = 70.0 + group * names.len() as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{:.0}\" height=\"{height:.0}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"10\" y=\"22\" font-size=\"15\" font-weight=\"bold\">{title} (million lookups/s)</text>\n",
        LEFT + WIDTH + 90.0
    );
    for (i, (pattern, color)) in PATTERNS.iter().enumerate() {
        let x = LEFT + 90.0 * i as f64;
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"34\" width=\"11\" height=\"11\" fill=\"{color}\"/>\
             <text x=\"{}\" y=\"44\">{pattern}</text>",
            x + 16.0
        );
    }
    for (n, name) in names.iter().enumerate() {
        let top = 58.0 + group * n as f64;
        let weight = if name.starts_with("station") { "bold" } else { "normal" };
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\" font-weight=\"{weight}\">{name}</text>",
            LEFT - 8.0,
            top + 1.5 * BAR + 4.0
        );
        for (i, (pattern, color)) in PATTERNS.iter().enumerate() {
            let found =
                rows.iter().find(|row| row.implementation == *name && row.pattern == *pattern);
            let mlps = found.map_or(0.0, |row| row.mlps);
            let y = top + BAR * i as f64;
            let width = WIDTH * mlps / most;
            let _ = writeln!(
                svg,
                "<rect x=\"{LEFT}\" y=\"{y}\" width=\"{width:.1}\" height=\"{}\" fill=\"{color}\"/>\
                 <text x=\"{:.1}\" y=\"{}\" font-size=\"10\">{mlps:.1}</text>",
                BAR - 1.0,
                LEFT + width + 4.0,
                y + BAR - 3.0
            );
        }
    }
    svg + "</svg>\n"
}
