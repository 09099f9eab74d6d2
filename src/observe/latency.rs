//! How long frames are in the station, by the port and the VIF by which they came: histograms of the samples that workers
//! take, to 6 % of what was measured. Pure: whoever asks gives the time and the samples.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::tables::Snapshot;
use crate::worker::latency::{LONGEST_NS, Sample};

/// Samples are forgotten by the recent ones after one to two of these spans.
const RECENT: Duration = Duration::from_secs(60);
/// Upper bounds of a metric's buckets: nanoseconds.
pub const BUCKETS_NS: [u64; 19] = [
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    500_000_000,
    1_000_000_000,
];

/// What some samples say: nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quantiles {
    /// How many there are.
    pub samples: u64,
    /// Half of the frames took no longer.
    pub p50_ns: u64,
    /// 99 of 100.
    pub p99_ns: u64,
    /// 999 of 1000.
    pub p999_ns: u64,
    /// The longest, exactly.
    pub max_ns: u64,
}

/// Samples since there are any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// By [`BUCKETS_NS`], and beyond.
    pub buckets: [u64; BUCKETS_NS.len() + 1],
    /// Their sum: nanoseconds.
    pub sum_ns: u64,
}

/// What is known of a port or a VIF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Residence {
    /// The last minute or two.
    pub recent: Quantiles,
    /// Since it is sampled.
    pub ever: Quantiles,
    /// The same by buckets.
    pub sums: Sums,
    /// The time before a frame was received is not in the last samples.
    pub unstamped: bool,
}

/// Some samples.
#[derive(Debug)]
struct Recorded {
    histogram: Histogram<u32>,
    max_ns: u64,
}

impl Recorded {
    fn new() -> Option<Recorded> {
        // Fine bounds, as the test says.
        let histogram = Histogram::new_with_bounds(1, LONGEST_NS, 1).ok()?;
        Some(Recorded { histogram, max_ns: 0 })
    }

    fn record(&mut self, ns: u64) {
        self.histogram.saturating_record(ns);
        self.max_ns = self.max_ns.max(ns);
    }

    fn forget(&mut self) {
        self.histogram.reset();
        self.max_ns = 0;
    }

    fn quantiles(&self) -> Quantiles {
        let at = |quantile| self.histogram.value_at_quantile(quantile).min(self.max_ns);
        Quantiles {
            samples: self.histogram.len(),
            p50_ns: at(0.5),
            p99_ns: at(0.99),
            p999_ns: at(0.999),
            max_ns: self.max_ns,
        }
    }
}

/// The samples of a port or a VIF.
#[derive(Debug)]
struct Samples {
    /// Those of the span that is running, and of the one before it.
    recent: [Recorded; 2],
    ever: Recorded,
    sums: Sums,
    unstamped: bool,
}

impl Samples {
    fn new() -> Option<Box<Samples>> {
        let recent = [Recorded::new()?, Recorded::new()?];
        let ever = Recorded::new()?;
        Some(Box::new(Samples { recent, ever, sums: Sums::default(), unstamped: false }))
    }

    fn record(&mut self, ns: u64, unstamped: bool) {
        self.recent[0].record(ns);
        self.ever.record(ns);
        let bucket = BUCKETS_NS.partition_point(|bound| *bound < ns);
        self.sums.buckets[bucket] += 1;
        self.sums.sum_ns = self.sums.sum_ns.saturating_add(ns);
        self.unstamped = unstamped;
    }

    fn residence(&self) -> Residence {
        let [now, before] = &self.recent;
        let mut both = Recorded { histogram: now.histogram.clone(), max_ns: now.max_ns };
        // Both have the same bounds.
        let _ = both.histogram.add(&before.histogram);
        both.max_ns = both.max_ns.max(before.max_ns);
        Residence {
            recent: both.quantiles(),
            ever: self.ever.quantiles(),
            sums: self.sums.clone(),
            unstamped: self.unstamped,
        }
    }
}

/// Whose an id is, and since which tables.
#[derive(Debug, Default)]
struct Owned {
    name: Option<Arc<str>>,
    generation: u64,
    /// None before the first.
    samples: Option<Box<Samples>>,
}

impl Owned {
    /// Samples of tables before these are another's, where the name is another.
    fn follow(&mut self, name: Option<&Arc<str>>, generation: u64) {
        if self.name.as_ref() != name {
            *self = Owned { name: name.cloned(), generation, samples: None };
        }
    }

    fn record(&mut self, sample: &Sample) {
        if self.name.is_none() || sample.generation < self.generation {
            return;
        }
        if self.samples.is_none() {
            self.samples = Samples::new();
        }
        let samples = self.samples.iter_mut();
        samples.for_each(|samples| samples.record(sample.ns, sample.unstamped));
    }

    fn residence(&self, name: &str) -> Option<Residence> {
        self.name.as_deref().filter(|own| *own == name)?;
        self.samples.as_ref().map(|samples| samples.residence())
    }
}

/// The samples of all ports and VIFs, by their ids.
#[derive(Debug, Default)]
pub struct Residences {
    ports: Vec<Owned>,
    vifs: Vec<Owned>,
    /// When the span began that is running.
    since: Option<Instant>,
}

impl Residences {
    /// Follows new tables: an id that is another's has no samples. Forgets what is not recent any more.
    pub fn follow(&mut self, tables: &Snapshot, now: Instant) {
        let generation = tables.generation;
        let ports = tables.ports.iter().map(|port| (!port.is_vacant()).then_some(&port.name));
        let vifs = tables.vifs.iter().map(|vif| vif.as_ref().map(|vif| &vif.name));
        follow(&mut self.ports, ports, generation);
        follow(&mut self.vifs, vifs, generation);
        let since = *self.since.get_or_insert(now);
        if now.saturating_duration_since(since) < RECENT {
            return;
        }
        // After a stall both spans are over.
        let both = now.saturating_duration_since(since) >= 2 * RECENT;
        self.since = Some(now);
        for owned in self.ports.iter_mut().chain(&mut self.vifs) {
            if let Some(samples) = &mut owned.samples {
                samples.recent.swap(0, 1);
                samples.recent[0].forget();
                if both {
                    samples.recent[1].forget();
                }
            }
        }
    }

    /// Takes a sample in, where it is of the port and the VIF that the ids are now.
    pub fn record(&mut self, sample: &Sample) {
        let port = self.ports.get_mut(sample.port.index());
        let vif = self.vifs.get_mut(sample.vif.index());
        port.into_iter().chain(vif).for_each(|owned| owned.record(sample));
    }

    /// What is known of a port; `None` where no sample is.
    pub fn port(&self, id: usize, name: &str) -> Option<Residence> {
        self.ports.get(id)?.residence(name)
    }

    /// What is known of a VIF; `None` where no sample is.
    pub fn vif(&self, id: usize, name: &str) -> Option<Residence> {
        self.vifs.get(id)?.residence(name)
    }
}

fn follow<'a>(
    all: &mut Vec<Owned>,
    names: impl ExactSizeIterator<Item = Option<&'a Arc<str>>>,
    generation: u64,
) {
    all.resize_with(names.len().max(all.len()), Owned::default);
    let names = names.chain(std::iter::repeat(None));
    all.iter_mut().zip(names).for_each(|(owned, name)| owned.follow(name, generation));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::{Port, PortId, PortRole, VifId};
    use crate::wire::ethernet::Mac;

    fn tables(generation: u64, port: &str) -> Snapshot {
        let port = Port::new(port.into(), Mac([2; 6]), PortRole::Customer);
        Snapshot { generation, ports: [Arc::new(port)].into(), ..Snapshot::default() }
    }

    fn sample(ns: u64, generation: u64) -> Sample {
        Sample { ns, generation, port: PortId(0), vif: VifId(0), unstamped: false }
    }

    #[test]
    fn quantiles_are_those_of_the_samples() {
        let (mut all, now) = (Residences::default(), Instant::now());
        all.follow(&tables(1, "p"), now);
        assert_eq!(all.port(0, "p"), None);
        for ns in 1..=100_000 {
            all.record(&sample(ns * 10, 1));
        }
        let Residence { recent, ever, sums, unstamped } = all.port(0, "p").unwrap();
        assert_eq!((recent, recent.samples, unstamped), (ever, 100_000, false));
        for (found, exact) in
            [(recent.p50_ns, 500_000), (recent.p99_ns, 990_000), (recent.p999_ns, 999_000)]
        {
            assert!(found >= exact && found - exact <= exact / 16, "{found}, not {exact}");
        }
        assert_eq!((recent.max_ns, sums.sum_ns), (1_000_000, 50_000_500_000));
        assert_eq!(sums.buckets.iter().sum::<u64>(), 100_000);
        // Bounds are of their own bucket.
        assert_eq!(sums.buckets[..3], [100, 100, 300]);
        all.record(&sample(LONGEST_NS, 1));
        let most = all.port(0, "p").unwrap();
        assert_eq!((most.ever.max_ns, most.sums.buckets[BUCKETS_NS.len()]), (LONGEST_NS, 1));
    }

    #[test]
    fn what_is_recent_is_forgotten_after_one_to_two_minutes() {
        let (mut all, start) = (Residences::default(), Instant::now());
        let mut at = |seconds: u64, ns: Option<u64>| {
            all.follow(&tables(1, "p"), start + Duration::from_secs(seconds));
            ns.into_iter().for_each(|ns| all.record(&sample(ns, 1)));
            let known = all.port(0, "p").unwrap();
            (known.recent.samples, known.recent.max_ns, known.ever.samples)
        };
        assert_eq!(at(0, Some(900)), (1, 900, 1));
        assert_eq!(at(59, Some(5)), (2, 900, 2));
        assert_eq!(at(61, Some(7)), (3, 900, 3));
        assert_eq!(at(122, None), (1, 7, 3));
        assert_eq!(at(400, None), (0, 0, 3), "after a stall");
    }

    #[test]
    fn an_id_that_is_anothers_has_no_samples() {
        let (mut all, now) = (Residences::default(), Instant::now());
        all.follow(&tables(1, "p"), now);
        all.record(&sample(5, 1));
        all.follow(&tables(2, "p"), now);
        assert_eq!(all.port(0, "p").unwrap().ever.samples, 1);
        assert_eq!(all.port(0, "q"), None);
        all.follow(&tables(7, "q"), now);
        assert_eq!(all.port(0, "q"), None);
        all.record(&sample(5, 6));
        assert_eq!(all.port(0, "q"), None, "it was p's");
        all.record(&sample(5, 7));
        assert_eq!(all.port(0, "q").unwrap().ever.samples, 1);
        all.follow(&Snapshot { generation: 8, ..Snapshot::default() }, now);
        assert_eq!(all.port(0, "q"), None, "there is no port any more");
        all.record(&sample(5, 8));
        all.follow(&tables(9, "q"), now);
        assert_eq!(all.port(0, "q"), None);
    }

    /// 4,000 VIFs cost some 20 MB.
    #[test]
    fn histograms_are_small() {
        let buckets = Recorded::new().unwrap().histogram.distinct_values();
        assert!(3 * 4 * buckets < 6000, "{buckets}");
    }
}
