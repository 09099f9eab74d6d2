//! Rates: the traffic of VIFs and ports, read once a second, and what passed in a window of time.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::totals::passed;
use crate::tables::counters::{VifCounters, WorkerCounters};
use crate::tables::{Direction, PortId, Snapshot, Vif, VifId};

/// The windows that rates are known for, in seconds; the last is the longest.
pub const WINDOWS_S: [u64; 3] = [1, 10, 60];
/// Readings that are kept: one at each end of the longest window, and one for readings that come early.
const READINGS: usize = 62;
/// How much earlier than a second after the one before a reading may be.
const EARLY: Duration = Duration::from_millis(250);
/// A reading that took longer is no reading of one moment.
const LONGEST_READING: Duration = Duration::from_millis(50);

/// Frames and octets in both directions since the workers started. No operator's `clear` changes them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Frames received.
    pub rx_frames: u64,
    /// Octets received, without FCS.
    pub rx_octets: u64,
    /// Frames sent.
    pub tx_frames: u64,
    /// Octets sent, without FCS.
    pub tx_octets: u64,
}

impl Traffic {
    /// What a VIF's id has counted so far.
    pub fn of(workers: &[Arc<WorkerCounters>], id: VifId) -> Traffic {
        let mut sum = Traffic::default();
        for worker in workers {
            sum.add_counted(worker.vif(id));
        }
        sum
    }

    /// Adds what another counted.
    pub fn plus(&mut self, other: &Traffic) {
        let (frames, octets) =
            ([other.rx_frames, other.tx_frames], [other.rx_octets, other.tx_octets]);
        self.add(frames, octets);
    }

    fn add_counted(&mut self, counted: &VifCounters) {
        let frames = [counted.rx_frames.get(), counted.tx_frames.get()];
        self.add(frames, [counted.rx_octets.get(), counted.tx_octets.get()]);
    }

    fn add(&mut self, frames: [u64; 2], octets: [u64; 2]) {
        self.rx_frames += frames[0];
        self.tx_frames += frames[1];
        self.rx_octets += octets[0];
        self.tx_octets += octets[1];
    }

    /// What came since `before`; `None` where that is more.
    pub fn since(&self, before: &Traffic) -> Option<Traffic> {
        Some(Traffic {
            rx_frames: self.rx_frames.checked_sub(before.rx_frames)?,
            rx_octets: self.rx_octets.checked_sub(before.rx_octets)?,
            tx_frames: self.tx_frames.checked_sub(before.tx_frames)?,
            tx_octets: self.tx_octets.checked_sub(before.tx_octets)?,
        })
    }
}

/// Policed octets of one direction since the workers started: what passed, and what exceeded.
type Metered = [u64; 2];

/// What a meter saw in the last 10 seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policed {
    /// The time between the two readings.
    pub time: Duration,
    /// Octets that passed in that time.
    pub passed: u64,
    /// Octets that were dropped.
    pub exceeded: u64,
    /// Of all pairs of readings of the last minute that follow one another, the one with the highest rate: octets that
    /// were offered between them, and the time.
    pub peak: (u64, Duration),
}

/// What passed between two readings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Passed {
    /// The window that it answers, in seconds.
    pub window_s: u64,
    /// The time between the two readings.
    pub time: Duration,
    /// What passed in that time.
    pub traffic: Traffic,
}

/// The traffic of all VIFs and ports at one moment, by their ids.
#[derive(Clone, Debug)]
pub struct Reading {
    at: Instant,
    vifs: Vec<Traffic>,
    /// By VIF and direction, up to the last VIF that is policed.
    meters: Vec<[Metered; 2]>,
    ports: Vec<Traffic>,
}

impl Reading {
    /// Reads the counters of the VIFs and ports of these tables; a cache line for each and worker, no lock and no
    /// wait. `None` where this thread was kept from running meanwhile: then the numbers are of several moments.
    pub fn take(workers: &[Arc<WorkerCounters>], tables: &Snapshot) -> Option<Reading> {
        let began = Instant::now();
        let mut vifs = vec![Traffic::default(); tables.vifs.len()];
        let mut ports = vec![Traffic::default(); tables.ports.len()];
        let is_metered = |vif: &Vif| vif.metered.contains(&true);
        let last = tables.vifs.iter().rposition(|vif| vif.as_ref().is_some_and(is_metered));
        let mut meters = vec![[Metered::default(); 2]; last.map_or(0, |last| last + 1)];
        for worker in workers {
            let ids = (0..=u16::MAX).map(VifId).zip(tables.vifs.iter());
            for ((id, vif), sum) in ids.zip(&mut vifs) {
                let Some(vif) = vif else { continue };
                let counted = worker.vif(id);
                sum.add_counted(counted);
                // What nobody polices costs no look at its other counters.
                for (way, sum) in meters.get_mut(id.index()).into_iter().flatten().enumerate() {
                    if is_metered(vif) {
                        sum[0] += passed(counted, way);
                        sum[1] += counted.rare.meters[way].exceeded_octets.get();
                    }
                }
            }
            for (counted, sum) in worker.ports().iter().zip(&mut ports) {
                let frames = [counted.rx_frames.get(), counted.tx_frames.get()];
                sum.add(frames, [counted.rx_octets.get(), counted.tx_octets.get()]);
            }
        }
        let at = Instant::now();
        (at - began <= LONGEST_READING).then_some(Reading { at, vifs, meters, ports })
    }
}

/// Whose an id is, and from which reading on.
#[derive(Clone, Debug)]
struct Owner {
    name: Arc<str>,
    first: u64,
}

/// The readings of the last minute: for 4,096 VIFs 8 MB.
#[derive(Debug, Default)]
pub struct Rates {
    readings: VecDeque<Reading>,
    /// The number of the oldest reading.
    oldest: u64,
    vifs: Vec<Option<Owner>>,
    ports: Vec<Option<Owner>>,
}

impl Rates {
    /// Keeps a reading, with the names of VIFs and ports by their ids as they were before it was taken. An id that another
    /// one has now, or that nobody had, begins anew: what the last one counted is not the new one's.
    pub fn keep<'a>(
        &mut self,
        reading: Reading,
        vifs: impl ExactSizeIterator<Item = Option<&'a Arc<str>>>,
        ports: impl ExactSizeIterator<Item = Option<&'a Arc<str>>>,
    ) {
        if self.readings.len() == READINGS {
            self.readings.pop_front();
            self.oldest += 1;
        }
        let number = self.oldest + self.readings.len() as u64;
        self.readings.push_back(reading);
        follow(&mut self.vifs, vifs, number);
        follow(&mut self.ports, ports, number);
    }

    /// The age of the newest reading.
    pub fn age(&self, now: Instant) -> Option<Duration> {
        Some(now.saturating_duration_since(self.readings.back()?.at))
    }

    /// What a port received and sent in each window of which something is known, if this id is its own.
    pub fn of_port(&self, id: PortId, name: &str) -> Vec<Passed> {
        self.of((&self.ports, id.index()), name, |reading| reading.ports.get(id.index()).copied())
    }

    /// The same of a VIF.
    pub fn of_vif(&self, id: VifId, name: &str) -> Vec<Passed> {
        self.of((&self.vifs, id.index()), name, |reading| reading.vifs.get(id.index()).copied())
    }

    fn of(
        &self,
        (owners, at): (&[Option<Owner>], usize),
        name: &str,
        traffic: impl Fn(&Reading) -> Option<Traffic>,
    ) -> Vec<Passed> {
        match owners.get(at) {
            Some(Some(owner)) if *owner.name == *name => self.windows(owner.first, traffic),
            _ => Vec::new(),
        }
    }

    /// What the meters of some VIFs saw together in one direction.
    pub fn policed(&self, ids: &[VifId], direction: Direction) -> Option<Policed> {
        let (begin, newest) = self.ends(WINDOWS_S[1], self.oldest)?;
        let time = |from: usize, to: usize| self.readings[to].at - self.readings[from].at;
        let [passed, exceeded] = self.metered(begin, newest, ids, direction);
        let pairs = (0..newest).map(|at| {
            let offered = self.metered(at, at + 1, ids, direction).iter().sum();
            (offered, time(at, at + 1))
        });
        let rate = |&(octets, time): &(u64, Duration)| {
            u128::from(octets) * 1_000_000_000 / time.as_nanos().max(1)
        };
        let peak = pairs.max_by_key(rate)?;
        Some(Policed { time: time(begin, newest), passed, exceeded, peak })
    }

    /// What came between two readings, by their places. What an id's last VIF had is not its present one's.
    fn metered(&self, from: usize, to: usize, ids: &[VifId], direction: Direction) -> Metered {
        let mut sum = Metered::default();
        for id in ids {
            let Some(Some(owner)) = self.vifs.get(id.index()) else { continue };
            let from = from.max(self.place(owner.first));
            if from >= to {
                continue;
            }
            let at = |reading: usize| {
                let meters = self.readings[reading].meters.get(id.index());
                meters.map_or(Metered::default(), |both| both[direction as usize])
            };
            let (before, after) = (at(from), at(to));
            for ((sum, after), before) in sum.iter_mut().zip(after).zip(before) {
                *sum += after.saturating_sub(before);
            }
        }
        sum
    }

    /// What each VIF received and sent in one window.
    pub fn by_vif(&self, window_s: u64) -> HashMap<Arc<str>, Passed> {
        let known = self.vifs.iter().enumerate();
        let known = known.filter_map(|(index, owner)| Some((index, owner.as_ref()?)));
        let passed = known.filter_map(|(index, owner)| {
            let passed =
                self.window(window_s, owner.first, |reading| reading.vifs.get(index).copied())?;
            Some((owner.name.clone(), passed))
        });
        passed.collect()
    }

    fn windows(&self, first: u64, of: impl Fn(&Reading) -> Option<Traffic>) -> Vec<Passed> {
        WINDOWS_S.into_iter().filter_map(|window_s| self.window(window_s, first, &of)).collect()
    }

    /// What came between the ends of a window. Divided by the true time between them, a window during which nothing was
    /// read gives no other rate than the right one.
    fn window(
        &self,
        window_s: u64,
        first: u64,
        of: impl Fn(&Reading) -> Option<Traffic>,
    ) -> Option<Passed> {
        let (begin, newest) = self.ends(window_s, first)?;
        let (begin, newest) = (&self.readings[begin], &self.readings[newest]);
        let traffic = of(newest)?.since(&of(begin)?)?;
        Some(Passed { window_s, time: newest.at - begin.at, traffic })
    }

    /// The places of the newest reading that is as old as the window, or of the oldest there is from the one with the number
    /// `first` on, and of the newest one.
    fn ends(&self, window_s: u64, first: u64) -> Option<(usize, usize)> {
        let newest = self.readings.len().checked_sub(1)?;
        let window = Duration::from_secs(window_s) - EARLY;
        let age = |at: &usize| self.readings[newest].at - self.readings[*at].at;
        let known = self.place(first).min(newest)..newest;
        let begin = known.clone().rev().find(|at| age(at) >= window);
        begin.or_else(|| known.clone().next()).map(|begin| (begin, newest))
    }

    /// The place of the reading with this number, or where it would be.
    fn place(&self, number: u64) -> usize {
        usize::try_from(number.saturating_sub(self.oldest)).unwrap_or(usize::MAX)
    }
}

/// Takes note of whose ids are now, from the reading with this number on.
fn follow<'a>(
    owners: &mut Vec<Option<Owner>>,
    names: impl ExactSizeIterator<Item = Option<&'a Arc<str>>>,
    number: u64,
) {
    owners.resize(names.len(), None);
    for (owner, name) in owners.iter_mut().zip(names) {
        match (&owner, name) {
            (Some(known), Some(name)) if known.name == *name => {}
            (_, name) => *owner = name.map(|name| Owner { name: name.clone(), first: number }),
        }
    }
}

#[cfg(test)]
mod tests;
