//! Numbers for people.

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

/// Seconds as the two largest units.
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

#[cfg(test)]
mod tests {
    use super::*;

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
        for (s, text) in [(9, "9s"), (61, "1m 1s"), (3700, "1h 1m"), (90_000, "1d 1h")] {
            assert_eq!(seconds(s), text);
        }
    }
}
