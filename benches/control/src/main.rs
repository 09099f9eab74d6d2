//! Reads whole microseconds, one a line, and prints their percentiles as a JSON object, in microseconds.

use std::error::Error;
use std::io::stdin;

use hdrhistogram::Histogram;

/// An outage of an hour is the longest that counts as one.
const LONGEST_US: u64 = 3_600_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut times = Histogram::<u64>::new_with_bounds(1, LONGEST_US, 4)?;
    for line in stdin().lines() {
        times.record(line?.trim().parse()?)?;
    }
    let at = |percentile| times.value_at_percentile(percentile);
    println!(
        r#"{{"runs": {}, "min_us": {}, "p50_us": {}, "p90_us": {}, "p99_us": {}, "max_us": {}}}"#,
        times.len(),
        times.min(),
        at(50.0),
        at(90.0),
        at(99.0),
        times.max(),
    );
    Ok(())
}
