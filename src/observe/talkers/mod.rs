//! Top talkers: the largest addresses of VIFs by octets over the last minute, of the packets that workers look at. Pure:
//! whoever asks gives the time and the packets.
//!
//! A minute is six windows of ten seconds, each with its own sketches: the one that is filled and the five before it. So
//! memory is bounded whatever addresses senders make up, and what is over a minute old is forgotten.

mod sketch;

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::tables::address_limit::By;
use crate::tables::{Direction, Snapshot, VifId};
use crate::worker::talkers::Seen;
pub use sketch::{ENTRIES, Sketch};

/// What a window lasts, and how many there are.
const WINDOW: Duration = Duration::from_secs(10);
const WINDOWS: u64 = 6;

/// What was seen in one window of one direction of a VIF.
#[derive(Clone, Debug)]
struct Window {
    number: u64,
    /// By [`By`].
    sketches: [Sketch; 2],
    /// The most that one packet stood for beside itself, in octets, and of how many packets it was one.
    unit: u64,
    interval: u32,
}

/// The windows of a VIF.
#[derive(Debug)]
struct OfVif {
    name: Arc<str>,
    /// The first tables in which the VIF has its id.
    since: u64,
    /// When window 0 began.
    began: Instant,
    /// By direction, the oldest first: those in which something was seen.
    windows: [VecDeque<Window>; 2],
}

impl OfVif {
    /// The number of the window that is filled now.
    fn number(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began).as_secs() / WINDOW.as_secs()
    }

    /// Forgets what is too old.
    fn forget(&mut self, now: Instant) {
        let number = self.number(now);
        for windows in &mut self.windows {
            while windows.front().is_some_and(|window| window.number + WINDOWS <= number) {
                windows.pop_front();
            }
        }
    }

    /// The window that is filled now.
    fn window(&mut self, direction: Direction, now: Instant) -> Option<&mut Window> {
        let number = self.number(now);
        let windows = &mut self.windows[direction as usize];
        if windows.back().is_none_or(|window| window.number < number) {
            let sketches = Default::default();
            windows.push_back(Window { number, sketches, unit: 0, interval: 1 });
        }
        windows.back_mut()
    }

    /// What the windows are over.
    fn time(&self, now: Instant) -> Duration {
        let first = (self.number(now) + 1).saturating_sub(WINDOWS);
        let before = Duration::from_secs(first.saturating_mul(WINDOW.as_secs()));
        now.saturating_duration_since(self.began).saturating_sub(before)
    }
}

/// An address and what it had, in octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Talker {
    /// Which.
    pub address: IpAddr,
    /// The best that is known.
    pub octets: u64,
    /// It had no less, and no more: surely by the sketch, and in 19 of 20 cases by the packets that were looked at.
    pub least: u64,
    /// See `least`.
    pub most: u64,
}

/// The largest addresses of one direction of a VIF.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Top {
    /// Those that were asked for, the largest first.
    pub talkers: Vec<Talker>,
    /// Octets of all addresses.
    pub octets: u64,
    /// Over what time.
    pub time: Duration,
    /// One of so many packets was looked at, at worst.
    pub interval: u32,
    /// What an address that is not among them had at most.
    pub others_most: u64,
}

/// Top talkers of all VIFs that keep track.
#[derive(Debug, Default)]
pub struct Talkers(HashMap<VifId, OfVif>);

impl Talkers {
    /// The VIFs are these from now on.
    pub fn follow(&mut self, tables: &Snapshot, now: Instant) {
        let wanted = |id: &VifId| tables.vif(*id).filter(|vif| vif.top_talkers);
        self.0.retain(|id, of| wanted(id).is_some_and(|vif| vif.name == of.name));
        for (id, vif) in tables.vifs_by_id().filter(|(_, vif)| vif.top_talkers) {
            self.0.entry(id).or_insert_with(|| OfVif {
                name: vif.name.clone(),
                since: tables.generation,
                began: now,
                windows: Default::default(),
            });
        }
    }

    /// Takes in a packet that was forwarded by these tables, or by those before them. Of a VIF that had the id before it
    /// tells nothing.
    pub fn record(&mut self, seen: &Seen, tables: &Snapshot, now: Instant) {
        let known = self.0.get_mut(&seen.vif).filter(|of| seen.generation >= of.since);
        let Some(of) = known else { return };
        of.forget(now);
        let Some(window) = of.window(seen.direction, now) else { return };
        let [source, destination] = [seen.source, seen.destination].map(|bits| match seen.is_v4 {
            true => IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(0))),
            false => IpAddr::V6(Ipv6Addr::from_bits(bits)),
        });
        // As it is in the VRF.
        let to = tables.vif(seen.to).and_then(|vif| vif.translations.as_ref());
        let outside = to.and_then(|to| to.apply(Direction::Rx, destination));
        let octets = u64::from(seen.octets) * u64::from(seen.interval);
        window.sketches[By::Source as usize].add(source, octets);
        window.sketches[By::Destination as usize].add(outside.unwrap_or(destination), octets);
        window.unit = window.unit.max(octets - u64::from(seen.octets));
        window.interval = window.interval.max(seen.interval);
    }

    /// The `count` largest addresses of a VIF; `None` where it does not keep track.
    pub fn top(
        &mut self,
        vif: &str,
        (direction, by): (Direction, By),
        count: usize,
        now: Instant,
    ) -> Option<Top> {
        let of = self.0.values_mut().find(|of| *of.name == *vif)?;
        of.forget(now);
        let windows = &of.windows[direction as usize];
        let sketches = || windows.iter().map(|window| &window.sketches[by as usize]);
        let absent: u64 = sketches().map(Sketch::least).sum();
        // What an address had at most grows from what it had had if it were in no window.
        let mut found: HashMap<IpAddr, [u64; 2]> = HashMap::new();
        for sketch in sketches() {
            for (address, least, most) in sketch.addresses() {
                let [all_least, all_most] = found.entry(address).or_insert([0, absent]);
                *all_least += least;
                *all_most += most - sketch.least();
            }
        }
        let unit = windows.iter().map(|window| window.unit).max().unwrap_or(0);
        let talker = |(address, [least, most]): (IpAddr, [u64; 2])| Talker {
            address,
            octets: least + (most - least) / 2,
            least: at_least(least, unit),
            most: at_most(most, unit),
        };
        let mut talkers: Vec<Talker> = found.into_iter().map(talker).collect();
        talkers.sort_by_key(|talker| (std::cmp::Reverse(talker.octets), talker.address));
        let hidden = talkers.get(count..).unwrap_or_default().iter().map(|talker| talker.most);
        let others_most = hidden.max().unwrap_or(0).max(at_most(absent, unit));
        talkers.truncate(count);
        Some(Top {
            talkers,
            octets: sketches().map(Sketch::sum).sum(),
            time: of.time(now),
            interval: windows.iter().map(|window| window.interval).max().unwrap_or(1),
            others_most,
        })
    }

    /// The VIFs that keep track.
    pub fn vifs(&self) -> impl Iterator<Item = VifId> {
        self.0.keys().copied()
    }
}

/// Bounds of a sum of octets of which packets were looked at that stand for `unit` octets more than their own, at most: twice
/// its standard deviation away, and upwards by what may have had no packet looked at at all in one of 20 cases (the rule of
/// three).
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a bound, rounded away from the number"
)]
fn at_most(octets: u64, unit: u64) -> u64 {
    let deviation = (octets as f64 * unit as f64).sqrt();
    octets.saturating_add((2.0 * deviation).ceil() as u64).saturating_add(unit.saturating_mul(3))
}

/// See [`at_most`].
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a bound, rounded away from the number"
)]
fn at_least(octets: u64, unit: u64) -> u64 {
    let deviation = (octets as f64 * unit as f64).sqrt();
    octets.saturating_sub((2.0 * deviation).ceil() as u64)
}

#[cfg(test)]
mod tests;
