//! Moments and periods on the command line: a time ago, a day, a moment, a calendar month. All in UTC, as tables show.

use std::time::Duration;

use clap::Args;

use super::units::moment as moment_of;
use crate::clock::{ago_ms, milliseconds, now_ms, since_1970};

/// When a period begins and ends.
#[derive(Args, Debug)]
pub(super) struct PeriodArgs {
    /// When it begins: so long ago, like 12h or 30days, or a day or moment in UTC, like 2026-11-01 or
    /// 2026-11-01T12:00:00Z. Default: 30 days before the end
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<u64>,
    /// When it ends, likewise; default: now
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<u64>,
    /// A calendar month in UTC, like 2026-11
    #[arg(long, value_name = "YYYY-MM", value_parser = month, conflicts_with_all = ["since", "until"])]
    month: Option<Month>,
}

/// The first moment of a month, and of the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Month(pub u64, pub u64);

impl PeriodArgs {
    /// Begin and end, in milliseconds since 1970: so long before the end, or now, where no begin is given.
    pub(super) fn bounds(&self, usual: Duration) -> (u64, Option<u64>) {
        match self.month {
            Some(Month(first, next)) => (first, Some(next)),
            None => {
                let before = |until: u64| until.saturating_sub(milliseconds(usual));
                let usual = || self.until.map_or_else(|| ago_ms(usual), before);
                (self.since.unwrap_or_else(usual), self.until)
            }
        }
    }
}

/// The begin of the calendar month that is under way, in milliseconds since 1970.
pub(super) fn this_month() -> u64 {
    let now = moment_of(now_ms());
    now.get(.."2026-11".len()).and_then(|now| month(now).ok()).map_or(0, |Month(first, _)| first)
}

/// A time ago, a day, or a moment.
pub(super) fn moment(text: &str) -> Result<u64, String> {
    if let Ok(time) = humantime::parse_duration(text) {
        return Ok(ago_ms(time));
    }
    let day = format!("{text}T00:00:00Z");
    let moment = humantime::parse_rfc3339_weak(text).or_else(|_| humantime::parse_rfc3339(&day));
    let ms = |moment| milliseconds(since_1970(moment));
    moment.map(ms).map_err(|_| {
        "write a time ago like 12h, or a day or a moment in UTC like 2026-11-28 or 2026-11-28T12:00:00Z".to_owned()
    })
}

/// A year and a month.
pub(super) fn month(text: &str) -> Result<Month, String> {
    let read = || {
        let (year, month) = text.split_once('-')?;
        let (year, month): (u16, u16) = (year.parse().ok()?, month.parse().ok()?);
        let first = |year, month| moment(&format!("{year:04}-{month:02}-01")).ok();
        let next = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
        Some(Month(first(year, month)?, first(next.0, next.1)?))
    };
    read().ok_or_else(|| "write year and month, like 2026-11".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400_000;
    const NOVEMBER: u64 = 1_793_491_200_000;

    #[test]
    fn a_moment_is_a_time_ago_a_day_or_a_moment() {
        for text in ["2026-11-02T12:00:00Z", "2026-11-02 12:00:00"] {
            assert_eq!(moment(text), Ok(NOVEMBER + DAY + DAY / 2), "{text}");
        }
        assert_eq!(moment("2026-11-01"), Ok(NOVEMBER));
        let hour = moment("1h").unwrap();
        assert!(hour.abs_diff(ago_ms(Duration::from_secs(3600))) < 10_000);
        for text in ["", "-1", "yesterday", "2026-13-01", "17"] {
            assert!(moment(text).is_err(), "{text}");
        }
    }

    #[test]
    fn this_month_has_begun_and_is_not_over() {
        let (begin, now) = (this_month(), now_ms());
        assert!(begin <= now && now < begin + 31 * DAY, "{begin} {now}");
        assert!(moment_of(begin).ends_with("-01T00:00:00.000Z"));
    }

    #[test]
    fn a_month_is_as_long_as_the_calendar_says() {
        assert_eq!(month("2026-11"), Ok(Month(NOVEMBER, NOVEMBER + 30 * DAY)));
        let days = |text| month(text).map(|Month(first, next)| (next - first) / DAY);
        assert_eq!((days("2026-12"), days("2024-02"), days("2026-2")), (Ok(31), Ok(29), Ok(28)));
        for text in ["2026", "2026-00", "2026-13", "11-2026", "2026-11-01", ""] {
            assert!(month(text).is_err(), "{text}");
        }
    }
}
