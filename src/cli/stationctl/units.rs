//! Numbers, times and ages for people: one form each.

use std::time::{Duration, UNIX_EPOCH};

use crate::admin::rows::bits_per_second;

/// Digits in groups of three.
pub(super) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Octets with a decimal unit and three digits.
pub(super) fn octets(n: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    if n < 1000 {
        return format!("{n} B");
    }
    let (mut thousandths, mut unit) = (n, 1);
    while thousandths >= 1_000_000 {
        thousandths /= 1000;
        unit += 1;
    }
    let tenths = thousandths / 100;
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// Bits a second, a whole number of them, as those that are measured are shown.
pub(super) fn bits(per_s: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
    bits_per_second(per_s as f64)
}

/// A moment as RFC 3339 has it, in UTC.
pub(super) fn moment(ms: u64) -> String {
    // What has no such form is none of ours.
    UNIX_EPOCH
        .checked_add(Duration::from_millis(ms))
        .map_or_else(String::new, |time| humantime::format_rfc3339_millis(time).to_string())
}

/// An age, or another length of time: seconds as the two largest units.
pub(super) fn seconds(s: u64) -> String {
    match (s / 86_400, s / 3600 % 24, s / 60 % 60, s % 60) {
        (0, 0, 0, s) => format!("{s}s"),
        (0, 0, m, s) => format!("{m}m {s}s"),
        (0, h, m, _) => format!("{h}h {m}m"),
        (d, h, _, _) => format!("{d}d {h}h"),
    }
}

/// Milliseconds: exact up to a minute.
pub(super) fn milliseconds(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms}ms"),
        1000..60_000 => format!("{}.{:03}s", ms / 1000, ms % 1000),
        _ => seconds(ms / 1000),
    }
}

/// Microseconds, of which the first three digits count.
pub(super) fn microseconds(us: u64) -> String {
    match us {
        0..1000 => format!("{us}us"),
        1000..10_000 => format!("{}.{:02}ms", us / 1000, us % 1000 / 10),
        10_000..100_000 => format!("{}.{}ms", us / 1000, us % 1000 / 100),
        _ => milliseconds(us / 1000),
    }
}

/// Nanoseconds, of which the first three digits count.
pub(super) fn nanoseconds(ns: u64) -> String {
    match ns {
        0..1000 => format!("{ns}ns"),
        1000..10_000 => format!("{}.{:02}us", ns / 1000, ns % 1000 / 10),
        10_000..100_000 => format!("{}.{}us", ns / 1000, ns % 1000 / 100),
        _ => microseconds(ns / 1000),
    }
}

/// The number that a text begins with, in its base unit, as the functions above and rates write it.
pub(super) fn value(text: &str) -> Option<f64> {
    const SCALES: [(&str, f64); 17] = [
        ("%", 1.0),
        ("ns", 1e-9),
        ("us", 1e-6),
        ("ms", 1e-3),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
        ("d", 86_400.0),
        ("B", 1.0),
        ("kB", 1e3),
        ("MB", 1e6),
        ("GB", 1e9),
        ("bit/s", 1.0),
        ("kbit/s", 1e3),
        ("Mbit/s", 1e6),
        ("Gbit/s", 1e9),
        ("Tbit/s", 1e12),
    ];
    let scale = |unit: &str| SCALES.iter().find(|(name, _)| *name == unit).map(|(_, scale)| *scale);
    let (mut sum, mut words) = (None, text.split([' ', '\n']).peekable());
    while let Some(word) = words.next() {
        let end = word.find(|c: char| !matches!(c, '0'..='9' | ',' | '.')).unwrap_or(word.len());
        let (digits, unit) = word.split_at(end);
        let Ok(number) = digits.replace(',', "").parse::<f64>() else { break };
        let apart = words.next_if(|next| unit.is_empty() && scale(next).is_some());
        let factor = match apart.unwrap_or(unit) {
            "" => 1.0,
            unit => scale(unit)?,
        };
        sum = Some(sum.unwrap_or(0.0) + number * factor);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_has_its_value() {
        for (text, number) in [
            ("1,234", 1234.0),
            ("12.3 kB", 12_300.0),
            ("1d 1h", 90_000.0),
            ("1.050s", 1.05),
            ("7ms", 0.007),
            ("850ns\n1.20us", 0.000_002_05),
            ("99.98000%", 99.98),
            ("1.5 Mbit/s\n2 bit/s", 1_500_002.0),
            ("64 of 128", 64.0),
            ("3 bogon\n2 martian", 3.0),
        ] {
            assert!((value(text).unwrap() - number).abs() < 1e-9, "{text}: {:?}", value(text));
        }
        for text in ["", "-", "up", "10G-x", "vif1", "02:00:00:00:00:01", "lasts"] {
            assert_eq!(value(text), None, "{text}");
        }
    }

    #[test]
    fn a_moment_is_in_utc() {
        assert_eq!(moment(1_795_000_000_123), "2026-11-18T11:06:40.123Z");
    }

    #[test]
    fn numbers_are_readable() {
        for (n, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(n), text);
        }
        for (n, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (9999, "9.9 kB"),
            (12_345, "12.3 kB"),
            (999_999, "999.9 kB"),
            (1_500_000, "1.5 MB"),
            (10_000_000_000, "10.0 GB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(octets(n), text, "{n}");
        }
        for (ms, text) in [(7, "7ms"), (1050, "1.050s"), (61_999, "1m 1s")] {
            assert_eq!(milliseconds(ms), text);
        }
        for (ns, text) in
            [(999, "999ns"), (1234, "1.23us"), (12_345, "12.3us"), (1_234_567, "1.23ms")]
        {
            assert_eq!(nanoseconds(ns), text);
        }
        for (s, text) in [(9, "9s"), (61, "1m 1s"), (3700, "1h 1m"), (90_000, "1d 1h")] {
            assert_eq!(seconds(s), text);
        }
    }
}
