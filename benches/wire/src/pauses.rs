//! `wire-bench pauses`: how long a CPU is taken from a program that only reads the clock: by interrupts, other programs and the hypervisor.
//! No router on that CPU can have latencies below what a packet so has to wait.

use std::time::{Duration, Instant};

use clap::Args;
use rustix::thread::{CpuSet, sched_setaffinity};
use serde_json::json;

use crate::Error;

#[derive(Args)]
pub struct Options {
    /// The CPU
    #[arg(long)]
    cpu: usize,
    /// How long to look
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
}

/// What reading the clock takes at most; longer is a pause.
const TICK: Duration = Duration::from_micros(1);

pub fn run(options: &Options) -> Result<(), Error> {
    let mut cpus = CpuSet::new();
    cpus.set(options.cpu);
    sched_setaffinity(None, &cpus)
        .map_err(|error| Error::System(format!("CPU {}", options.cpu), error.into()))?;
    let (start, mut last, mut pauses) = (Instant::now(), Duration::ZERO, Vec::new());
    while last.as_secs_f64() < options.seconds {
        let now = start.elapsed();
        if now - last > TICK {
            pauses.push((now - last).as_secs_f64() * 1e6);
        }
        last = now;
    }
    let all = last.as_secs_f64() * 1e6;
    let wait = |part: f64| wait_exceeded_by(&pauses, all * part);
    println!("{}", json!({ "p50_us": wait(0.5), "p99_us": wait(0.01), "p999_us": wait(0.001) }));
    Ok(())
}

/// The wait, in microseconds, that is exceeded by what comes within so many microseconds of all: what comes in a pause waits
/// for the rest of it.
fn wait_exceeded_by(pauses: &[f64], of: f64) -> f64 {
    let (mut low, mut high) = (0.0, pauses.iter().copied().fold(0.0, f64::max));
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        let exceeding: f64 = pauses.iter().map(|pause| (pause - middle).max(0.0)).sum();
        if exceeding > of { low = middle } else { high = middle }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_in_a_pause_waits_for_its_rest() {
        let pauses = [10.0, 30.0];
        assert!((wait_exceeded_by(&pauses, 10.0) - 20.0).abs() < 1e-6);
        assert!((wait_exceeded_by(&pauses, 30.0) - 5.0).abs() < 1e-6);
        assert!(wait_exceeded_by(&pauses, 40.0) < 1e-6);
        assert!(wait_exceeded_by(&[], 1.0) < 1e-6);
    }
}
