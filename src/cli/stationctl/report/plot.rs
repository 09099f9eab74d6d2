//! Plots of a month as SVG within HTML: a point an hour, a gap where nothing is known.

use std::fmt::{self, Write};

use super::gather::HOUR_MS;
use super::html::escaped;

/// Of the drawing, in its own units.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 176.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 712.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 152.0;
/// What holds of all lines and texts.
const DRAWN: &str = "fill=\"none\" stroke-width=\"1.5\" stroke-linejoin=\"round\" \
    stroke-linecap=\"round\" font-size=\"10.5\"";
/// Colours of lines by their class, on white paper.
const COLORS: [(&str, &str); 4] =
    [("a", "#1f5fbf"), ("b", "#b8560f"), ("loss", "#c22f3d"), ("grid", "#d4d9df")];
/// Milliseconds of a day.
const DAY_MS: u64 = 24 * HOUR_MS;

/// A line: its name, its class in the page's style, and the values of hours by when they begin.
pub(super) struct Line {
    pub name: &'static str,
    pub class: &'static str,
    pub points: Vec<(u64, u64)>,
}

/// A plot of some lines over a month.
pub(super) struct Plot {
    /// What it is of, in the customer's words among others.
    pub title: String,
    /// The month's first moment, and that of the next one.
    pub period_ms: [u64; 2],
    /// How values are written.
    pub unit: fn(u64) -> String,
    pub lines: Vec<Line>,
    /// Hours in which questions were lost, and how many percent of them.
    pub losses: Vec<(u64, f64)>,
}

#[expect(clippy::cast_precision_loss, reason = "a place in a drawing")]
fn float(number: u64) -> f64 {
    number as f64
}

/// The least of 1, 2, 5, 10, 20 ... that is no less.
fn round_up(value: u64) -> u64 {
    let mut unit = 1_u64;
    loop {
        for digit in [1, 2, 5] {
            let round = unit.saturating_mul(digit);
            if round >= value {
                return round;
            }
        }
        unit = unit.saturating_mul(10);
    }
}

impl Plot {
    /// The drawing.
    ///
    /// # Errors
    /// None: a string takes all.
    pub fn svg(&self, out: &mut String) -> fmt::Result {
        let values = self.lines.iter().flat_map(|line| &line.points);
        let most = round_up(values.map(|(_, value)| *value).max().unwrap_or(0));
        writeln!(
            out,
            "<svg {DRAWN} role=\"img\" aria-label=\"{}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\">",
            escaped(&self.title)
        )?;
        for part in [0, 1, 2] {
            let value = most * part / 2;
            if part == 1 && most < 2 {
                continue;
            }
            let y = height(value, most);
            stroke(out, "grid", &format!("M{LEFT},{y:.1}H{RIGHT}"))?;
            label(out, "end", (LEFT - 6.0, y + 3.5), &(self.unit)(value))?;
        }
        self.days(out)?;
        self.legend(out)?;
        let mut bars = String::new();
        for (hour, percent) in &self.losses {
            let y = BOTTOM - (BOTTOM - TOP) * percent.clamp(1.0, 100.0) / 100.0;
            write!(bars, "M{:.1},{BOTTOM}V{y:.1}", self.place(*hour))?;
        }
        if !bars.is_empty() {
            stroke(out, "loss", &bars)?;
        }
        for line in &self.lines {
            let path = self.path(&line.points, most)?;
            stroke(out, line.class, &path)?;
        }
        out.push_str("</svg>\n");
        Ok(())
    }

    /// Where the middle of an hour is.
    fn place(&self, hour_ms: u64) -> f64 {
        let [since_ms, end_ms] = self.period_ms;
        let into = float((hour_ms + HOUR_MS / 2).saturating_sub(since_ms));
        LEFT + (RIGHT - LEFT) * into / float(end_ms.saturating_sub(since_ms).max(1))
    }

    /// The days' numbers, each behind its begin.
    fn days(&self, out: &mut String) -> fmt::Result {
        let [since_ms, end_ms] = self.period_ms;
        for day in 0..end_ms.saturating_sub(since_ms) / DAY_MS {
            let x = self.place(since_ms + day * DAY_MS);
            let length = if day % 5 == 0 { 5.0 } else { 3.0 };
            let tick = BOTTOM + length;
            stroke(out, "grid", &format!("M{x:.1},{BOTTOM}V{tick}"))?;
            if day % 5 == 0 {
                label(out, "middle", (x, BOTTOM + 17.0), &(day + 1).to_string())?;
            }
        }
        Ok(())
    }

    fn legend(&self, out: &mut String) -> fmt::Result {
        let lines = self.lines.iter().map(|line| (line.name, line.class));
        let loss = (!self.losses.is_empty()).then_some(("lost (to the top: all)", "loss"));
        let mut x = LEFT;
        for (name, class) in lines.chain(loss) {
            let end = x + 22.0;
            stroke(out, class, &format!("M{x} 12H{end}"))?;
            label(out, "start", (end + 6.0, 15.5), name)?;
            x += 110.0;
        }
        Ok(())
    }

    /// A line through the points of hours that follow one another. One alone is a dash.
    fn path(&self, points: &[(u64, u64)], most: u64) -> Result<String, fmt::Error> {
        let mut path = String::new();
        let mut last = None;
        for (at, (hour, value)) in points.iter().enumerate() {
            let (x, y) = (self.place(*hour), height(*value, most));
            let goes_on = points.get(at + 1).is_some_and(|(next, _)| hour + HOUR_MS == *next);
            match (last == Some(*hour), goes_on) {
                (true, _) => write!(path, "L{x:.1},{y:.1}")?,
                (false, true) => write!(path, "M{x:.1},{y:.1}")?,
                (false, false) => write!(path, "M{:.1},{y:.1}h3", x - 1.5)?,
            }
            last = Some(hour + HOUR_MS);
        }
        Ok(path)
    }
}

/// A line of a class, whose colour is the style's; the attribute's is for readers that do not apply styles to drawings.
fn stroke(out: &mut String, class: &str, path: &str) -> fmt::Result {
    let color =
        COLORS.iter().find(|(name, _)| *name == class).map_or("#000000", |(_, color)| color);
    writeln!(out, "<path class=\"{class}\" stroke=\"{color}\" d=\"{path}\"/>")
}

/// A text whose start, middle or end is there.
fn label(out: &mut String, anchor: &str, (x, y): (f64, f64), text: &str) -> fmt::Result {
    let text = escaped(text);
    writeln!(
        out,
        "<text fill=\"#5b6470\" text-anchor=\"{anchor}\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>"
    )
}

fn height(value: u64, most: u64) -> f64 {
    BOTTOM - (BOTTOM - TOP) * float(value) / float(most.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_ends_at_a_round_number() {
        for (value, round) in [(0, 1), (1, 1), (3, 5), (10, 10), (11, 20), (501, 1000)] {
            assert_eq!(round_up(value), round, "{value}");
        }
        assert_eq!(round_up(u64::MAX), u64::MAX);
    }
}
