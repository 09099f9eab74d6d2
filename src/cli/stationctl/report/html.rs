//! The report as a page of HTML: it needs nothing that is elsewhere, runs nothing, and is read on a screen, light or dark,
//! or printed on A4.

use std::fmt::{self, Write};

use super::super::probe_history::asked;
use super::super::units::{bits, microseconds, moment};
use super::grids::{Grid, MEANINGS, grids, percent};
use super::model::{ProbeHour, ProbeReport, Report, TrafficReport};
use super::plot::{Line, Plot};

const STYLE: &str = include_str!("style.css");

/// Text as it stands in an element or an attribute.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

/// An element with text in it.
fn element(out: &mut String, name: &str, text: &str) -> fmt::Result {
    writeln!(out, "<{name}>{}</{name}>", escaped(text))
}

/// The page.
pub(super) fn page(report: &Report) -> String {
    let mut out = String::new();
    // A string takes all that is written to it.
    let _always = write(report, &mut out);
    out
}

fn write(report: &Report, out: &mut String) -> fmt::Result {
    let Report { customer, month, station, since_ms, until_ms, .. } = report;
    let head = "<meta charset=\"utf-8\">\n\
        <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
        <meta name=\"color-scheme\" content=\"light dark\">";
    write!(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n{head}\n")?;
    element(out, "title", &format!("{customer}: {month}"))?;
    write!(out, "<style>\n{STYLE}</style>\n</head>\n<body>\n<header>\n")?;
    element(out, "h1", &format!("{customer}: {month}"))?;
    let period = format!("Station {station}, {} to {}", moment(*since_ms), moment(*until_ms));
    element(out, "p", &period)?;
    if let Some(all) = report.total.availability {
        let text = format!("Availability of all VIFs: {}", percent(all));
        writeln!(out, "<p class=\"sum\">{}</p>", escaped(&text))?;
    }
    out.push_str("</header>\n<main>\n");
    let [availability, outages, probes, traffic] = grids(report);
    section(out, &availability, &[])?;
    section(out, &outages, &[])?;
    section(out, &probes, &plots_of_probes(report))?;
    section(out, &traffic, &plots_of_traffic(report))?;
    out.push_str("<section>\n<h2>What is known</h2>\n");
    if report.notes.is_empty() {
        element(out, "p", "All of the month.")?;
    }
    report.notes.iter().try_for_each(|note| element(out, "p", note))?;
    out.push_str("</section>\n</main>\n<footer>\n");
    MEANINGS.iter().try_for_each(|meaning| element(out, "p", meaning))?;
    out.push_str("</footer>\n</body>\n</html>\n");
    Ok(())
}

fn section(out: &mut String, grid: &Grid, plots: &[Plot]) -> fmt::Result {
    out.push_str("<section>\n");
    element(out, "h2", grid.title)?;
    if grid.rows.is_empty() {
        element(out, "p", grid.empty)?;
    } else {
        table(out, grid)?;
    }
    for plot in plots {
        out.push_str("<figure>\n");
        element(out, "figcaption", &plot.title)?;
        plot.svg(out)?;
        out.push_str("</figure>\n");
    }
    out.push_str("</section>\n");
    Ok(())
}

fn table(out: &mut String, grid: &Grid) -> fmt::Result {
    let class = |at: usize| if grid.columns[at].is_number() { " class=\"n\"" } else { "" };
    out.push_str("<div class=\"table\"><table>\n<thead><tr>");
    for (at, column) in grid.columns.iter().enumerate() {
        write!(out, "<th scope=\"col\"{}>{}</th>", class(at), escaped(column.heading()))?;
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for (number, row) in grid.rows.iter().enumerate() {
        let is_sum = grid.sum && number + 1 == grid.rows.len();
        out.push_str(if is_sum { "<tr class=\"all\">" } else { "<tr>" });
        for (at, cell) in row.iter().enumerate() {
            match at {
                0 => write!(out, "<th scope=\"row\">{}</th>", escaped(cell))?,
                _ => write!(out, "<td{}>{}</td>", class(at), escaped(cell))?,
            }
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table></div>\n");
    Ok(())
}

fn plots_of_probes(report: &Report) -> Vec<Plot> {
    let all = report.vifs.iter().flat_map(|vif| vif.probes.iter().map(move |of| (vif, of)));
    let plot = |vif: &str, probe: &ProbeReport| {
        let line = |name, class, value: fn(&_) -> Option<u64>| {
            let points = probe.hours.iter().filter_map(|hour| Some((hour.start_ms, value(hour)?)));
            Line { name, class, points: points.collect() }
        };
        let losses =
            probe.hours.iter().filter_map(|hour| Some((hour.start_ms, hour.loss_percent?)));
        Plot {
            title: format!(
                "Round trips from VIF {vif} to {} ({}), probe {}",
                probe.target,
                asked(&probe.kind, probe.port),
                probe.probe
            ),
            period_ms: [report.since_ms, report.end_ms],
            unit: microseconds,
            lines: vec![
                line("P50", "a", |hour: &ProbeHour| hour.p50_us),
                line("P99", "b", |hour: &ProbeHour| hour.p99_us),
            ],
            losses: losses.filter(|(_, percent)| *percent > 0.0).collect(),
        }
    };
    all.map(|(vif, probe)| plot(&vif.vif, probe)).collect()
}

fn plots_of_traffic(report: &Report) -> Vec<Plot> {
    let plot = |title: String, traffic: &TrafficReport| {
        let hours = traffic.hours.iter();
        let rx = hours.clone().map(|hour| (hour.start_ms, hour.max_rx_bits_per_s)).collect();
        let tx = hours.map(|hour| (hour.start_ms, hour.max_tx_bits_per_s)).collect();
        Plot {
            title,
            period_ms: [report.since_ms, report.end_ms],
            unit: bits,
            lines: vec![
                Line { name: "in", class: "a", points: rx },
                Line { name: "out", class: "b", points: tx },
            ],
            losses: Vec::new(),
        }
    };
    let title = |of: &str| format!("Traffic of {of}: the highest five minutes of each hour");
    let vifs = report
        .vifs
        .iter()
        .filter_map(|vif| Some(plot(title(&format!("VIF {}", vif.vif)), vif.traffic.as_ref()?)));
    let total = report.total.traffic.iter().filter(|_| report.vifs.len() > 1);
    vifs.chain(total.map(|of| plot(title("all VIFs together"), of))).collect()
}
