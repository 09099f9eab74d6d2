//! The failover ledger: when each VIF was out, why, how soon that was noticed and what was lost, in
//! memory and on disk, and how available that makes it.
//!
//! A VIF is out while at least one fault stands: from the first to the end of the last. The outage has the
//! cause of the first fault, and names the others. The station's own absence is an outage of all VIFs, and
//! so is a time in which a thread did not run that all of them need.
//! Times are the wall clock's, in milliseconds since 1970.

mod availability;
mod file;
mod keeper;
mod lines;

pub use availability::Availability;
pub use keeper::{Entry, Keeper};
pub(crate) use lines::Lines;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tracing::warn;

use file::{File, Line};

/// Outages of one VIF that are remembered: one that flaps drives out nobody else's.
const REMEMBERED: usize = 256;

/// Why a VIF was out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// The operator set it down.
    Admin,
    /// The operator drained it: nothing is to depend on it, whether packets still pass or not.
    Drain,
    /// The operator tests the failover: a drill has its BGP sessions down.
    Drill,
    /// Its port has no link, or the interface no longer fits.
    Link,
    /// BFD does not reach its peer.
    Bfd,
    /// The BGP session with its peer is down.
    Bgp,
    /// A next hop on it no longer answers ARP or ND.
    Neighbor,
    /// A probe that decides about a next hop on it is down.
    Probe,
    /// The station was stopped and started.
    Restart,
    /// The station ended without being told to.
    Crash,
    /// The station was there, but did not run: stopped, or without a CPU.
    Stall,
}

impl Cause {
    /// As in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Cause::Admin => "admin",
            Cause::Drain => "drain",
            Cause::Drill => "drill",
            Cause::Link => "link",
            Cause::Bfd => "bfd",
            Cause::Bgp => "bgp",
            Cause::Neighbor => "neighbor",
            Cause::Probe => "probe",
            Cause::Restart => "restart",
            Cause::Crash => "crash",
            Cause::Stall => "stall",
        }
    }

    /// Whether somebody meant it: it does not count against availability.
    pub const fn is_planned(self) -> bool {
        matches!(self, Cause::Admin | Cause::Drain | Cause::Drill)
    }
}

/// One outage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outage {
    /// Name of the VIF; none where it was the station's, and so all VIFs'.
    pub vif: Option<String>,
    /// The first fault's cause.
    pub cause: Cause,
    /// Causes of the faults that came to it.
    #[serde(default)]
    pub also: Vec<Cause>,
    /// When it was noticed.
    pub start_ms: u64,
    /// When it ended; none while it lasts.
    pub end_ms: Option<u64>,
    /// How long the fault may have stood before it was noticed, where that is known.
    #[serde(default)]
    pub detection_ms: Option<u64>,
    /// Frames lost, as counted; none while it lasts, or where the station did not count.
    #[serde(default)]
    pub frames_lost: Option<u64>,
}

impl Outage {
    /// One of the station, and so of all VIFs.
    fn of_station(cause: Cause, start_ms: u64, end_ms: u64) -> Outage {
        Outage {
            vif: None,
            cause,
            also: Vec::new(),
            start_ms,
            end_ms: Some(end_ms),
            detection_ms: None,
            frames_lost: None,
        }
    }
}

/// A fault that stands: its cause, and how long it may have stood before it was noticed.
pub type Faults = BTreeMap<Cause, Option<u64>>;

#[derive(Debug)]
struct Open {
    outage: Outage,
    /// What the loss counter said at the start; none where the outage is older than the station.
    counted: u64,
}

impl Open {
    /// It was planned, and of what stands now nothing is; or it was not, and now everything is.
    fn is_over(&self, faults: &Faults) -> bool {
        match self.outage.cause.is_planned() {
            true => !faults.keys().any(|cause| cause.is_planned()),
            false => faults.keys().all(|cause| cause.is_planned()),
        }
    }
}

/// Who is told of each entry: of an outage of a VIF when it begins and when it ends, of one of the station
/// once it is over. The function must not wait.
pub type Told = Box<dyn FnMut(&Outage) + Send>;

/// All outages that are remembered.
#[derive(Default)]
pub struct Ledger {
    open: BTreeMap<String, Open>,
    past: BTreeMap<Option<String>, VecDeque<Outage>>,
    /// When each VIF was first seen.
    seen: BTreeMap<String, u64>,
    file: Option<File>,
    /// The last stall, which may grow: its threads notice it one after the other.
    stall: Option<Outage>,
    told: Option<Told>,
}

impl Ledger {
    /// The ledger in a directory, and in memory only where that cannot be had: that is no reason not to forward.
    /// The time since it was written last is an outage of all VIFs.
    pub fn start(directory: &Path, now_ms: u64, told: Told) -> Ledger {
        let mut ledger = Ledger { told: Some(told), ..Ledger::default() };
        if let Err(error) = ledger.open(directory, now_ms) {
            warn!(directory = %directory.display(), %error, "outages are kept in memory only");
        }
        ledger
    }

    fn open(&mut self, directory: &Path, now_ms: u64) -> io::Result<()> {
        let (file, lines, alive) = File::open(directory)?;
        let mut stopped = None;
        for line in lines {
            stopped = if let Line::Stop { at_ms } = line { Some(at_ms) } else { None };
            self.replay(line);
        }
        let known = !self.seen.is_empty();
        self.file = Some(file);
        let down = match (stopped, alive) {
            (Some(at), _) => Some((at, Cause::Restart)),
            (None, Some(at)) if known => Some((at, Cause::Crash)),
            _ => None,
        };
        if let Some((start_ms, cause)) = down {
            // What stood when the station went is the station's outage from then on; what was planned is so still.
            let stood = self.open.iter().filter(|(_, open)| !open.outage.cause.is_planned());
            for name in stood.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
                self.close(&name, start_ms, None);
            }
            let start_ms = start_ms.min(now_ms);
            let outage = Outage::of_station(cause, start_ms, now_ms);
            self.write(&Line::Outage(outage.clone()));
            self.remember(outage);
        }
        self.alive(now_ms);
        Ok(())
    }

    fn replay(&mut self, line: Line) {
        match line {
            Line::Seen { vif, at_ms } => drop(self.seen.entry(vif).or_insert(at_ms)),
            Line::Begin(outage) => {
                if let Some(vif) = outage.vif.clone() {
                    self.open.insert(vif, Open { outage, counted: 0 });
                }
            }
            Line::Outage(outage) => {
                if let Some(vif) = &outage.vif {
                    self.open.remove(vif);
                }
                self.remember(outage);
            }
            Line::Stop { .. } => {}
        }
    }

    /// Takes in which faults of a VIF stand now. `counted` is what its loss counter says.
    pub fn update(
        &mut self,
        vif: &str,
        faults: &Faults,
        now_ms: u64,
        counted: impl FnOnce() -> u64,
    ) {
        if !self.seen.contains_key(vif) {
            self.seen.insert(vif.to_owned(), now_ms);
            self.write(&Line::Seen { vif: vif.to_owned(), at_ms: now_ms });
        }
        match (self.open.get_mut(vif), faults.first_key_value()) {
            (None, None) => {}
            (None, Some(_)) => self.begin(vif, faults, now_ms, counted()),
            (Some(open), Some(_)) if open.is_over(faults) => {
                // What stands on is of the other kind.
                let counted = counted();
                let lost = counted.saturating_sub(open.counted);
                self.close(vif, now_ms, Some(lost));
                self.begin(vif, faults, now_ms, counted);
            }
            (Some(open), Some(_)) => {
                let Open { outage, .. } = open;
                let new = |cause: &&Cause| **cause != outage.cause && !outage.also.contains(cause);
                let new: Vec<Cause> = faults.keys().filter(new).copied().collect();
                outage.also.extend(new);
            }
            (Some(open), None) => {
                let lost = counted().saturating_sub(open.counted);
                self.close(vif, now_ms, Some(lost));
            }
        }
    }

    fn begin(&mut self, vif: &str, faults: &Faults, now_ms: u64, counted: u64) {
        let Some((&cause, &detection_ms)) = faults.first_key_value() else { return };
        let outage = Outage {
            vif: Some(vif.to_owned()),
            cause,
            also: faults.keys().copied().skip(1).collect(),
            start_ms: now_ms,
            end_ms: None,
            detection_ms,
            frames_lost: None,
        };
        self.write(&Line::Begin(outage.clone()));
        self.open.insert(vif.to_owned(), Open { outage, counted });
    }

    /// VIFs that are no more: their outages end.
    pub fn retain(&mut self, is_there: impl Fn(&str) -> bool, now_ms: u64) {
        let gone = self.open.keys().filter(|name| !is_there(name));
        for name in gone.cloned().collect::<Vec<_>>() {
            self.close(&name, now_ms, None);
        }
    }

    /// Why a VIF is out; none where it is not.
    pub fn out(&self, vif: &str) -> Option<Cause> {
        self.open.get(vif).map(|open| open.outage.cause)
    }

    /// A thread that all VIFs need did not run from one moment to another. What several threads say of
    /// the same time is one outage.
    pub fn stalled(&mut self, from_ms: u64, to_ms: u64) {
        match &mut self.stall {
            Some(stall) if from_ms <= stall.end_ms.unwrap_or(0) && to_ms >= stall.start_ms => {
                stall.start_ms = stall.start_ms.min(from_ms);
                stall.end_ms = stall.end_ms.max(Some(to_ms));
            }
            _ => {
                self.note_stall();
                self.stall = Some(Outage::of_station(Cause::Stall, from_ms, to_ms.max(from_ms)));
            }
        }
    }

    /// The last stall is over: no thread says more of it.
    fn note_stall(&mut self) {
        if let Some(stall) = self.stall.take() {
            self.write(&Line::Outage(stall.clone()));
            self.remember(stall);
        }
    }

    fn close(&mut self, vif: &str, now_ms: u64, frames_lost: Option<u64>) {
        let Some(Open { mut outage, .. }) = self.open.remove(vif) else { return };
        outage.end_ms = Some(now_ms.max(outage.start_ms));
        outage.frames_lost = frames_lost;
        self.write(&Line::Outage(outage.clone()));
        self.remember(outage);
    }

    fn remember(&mut self, outage: Outage) {
        let past = self.past.entry(outage.vif.clone()).or_default();
        if past.len() >= REMEMBERED {
            past.pop_front();
        }
        past.push_back(outage);
    }

    /// Notes that the station is alive: call it every second.
    pub fn alive(&mut self, now_ms: u64) {
        if self.stall.as_ref().and_then(|stall| stall.end_ms).is_some_and(|end| end + 1000 < now_ms)
        {
            self.note_stall();
        }
        if let Some(file) = &mut self.file {
            file.alive(now_ms);
        }
    }

    /// Has what was noted survive a loss of power.
    pub fn sync(&mut self) {
        if let Some(file) = &mut self.file {
            file.lines.sync();
        }
    }

    /// Notes that the station is about to end because it was told to.
    pub fn stop(&mut self, now_ms: u64) {
        self.note_stall();
        self.write(&Line::Stop { at_ms: now_ms });
    }

    /// Tells of an entry, and has it on disk.
    fn write(&mut self, line: &Line) {
        if let (Some(told), Line::Begin(outage) | Line::Outage(outage)) = (&mut self.told, line) {
            told(outage);
        }
        let Some(mut file) = self.file.take() else { return };
        if file.lines.write([line]) {
            file.lines.rewrite(self.lines());
        }
        self.file = Some(file);
    }

    /// What is remembered, as lines of the file.
    fn lines(&self) -> impl Iterator<Item = Line> + '_ {
        let seen = self.seen.iter().map(|(vif, &at_ms)| Line::Seen { vif: vif.clone(), at_ms });
        let past = self.past.values().flatten().map(|outage| Line::Outage(outage.clone()));
        let open = self.open.values().map(|open| Line::Begin(open.outage.clone()));
        seen.chain(past).chain(open)
    }

    /// The outages of a VIF, or of all, that lie in a period at least in part: oldest first.
    pub fn outages(&self, vif: Option<&str>, since_ms: u64, until_ms: u64) -> Vec<Outage> {
        let recent = |outage: &&Outage| {
            outage.end_ms.is_none_or(|end| end >= since_ms) && outage.start_ms <= until_ms
        };
        let mut outages: Vec<Outage> = match vif {
            Some(vif) => {
                let past = [Some(vif.to_owned()), None];
                let past = past.iter().filter_map(|of| self.past.get(of)).flatten();
                let open = self.open.get(vif).map(|open| &open.outage);
                past.chain(open).chain(&self.stall).filter(recent).cloned().collect()
            }
            None => {
                let open = self.open.values().map(|open| &open.outage);
                let past = self.past.values().flatten();
                past.chain(open).chain(&self.stall).filter(recent).cloned().collect()
            }
        };
        outages.sort_by(|a, b| (a.start_ms, &a.vif).cmp(&(b.start_ms, &b.vif)));
        outages
    }
}

#[cfg(test)]
mod tests;
