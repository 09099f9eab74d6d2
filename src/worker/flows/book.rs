//! The book of flows: what is counted in which flow, when a flow ends, and who may have how many.
//!
//! A VIF's flows take up at most a quarter of the table: beyond that a new one takes the place of one of its own. From an
//! eighth on, the VIF is logged at coarser rates, each half of the one before, so that a flood of ever new flows makes few
//! of them; below a sixteenth the rate is what it was. So no VIF's flood ends other VIFs' flows early for long.

use std::sync::Arc;

use super::cache::{Cache, Counts, EndReason, Flow, FlowKey, NO_VIF, Slot};
use super::channel::FlowChannel;
use super::packet::{Ends, Note, Secrets};
use super::threshold;
use crate::cpu::eights::Words;
use crate::tables::{FlowLog, Verdict, VifId};

/// A flow is looked at about so often.
const ROUND_NS: u64 = 1_000_000_000;
/// Steps of a round: a busy turn takes one at most. An idle turn takes those of a worker's longest sleep, and more.
const STEPS: usize = 1024;
const IDLE_STEPS: usize = STEPS / 4;
/// A TCP flow that ends is told so long after its last segment.
const LINGER_NS: u64 = 2_000_000_000;
/// TCP's FIN and RST (RFC 9293 3.1).
const ENDS: u8 = 0b101;
/// Steps of coarser rates that a VIF takes at most.
const MAX_STEPS: u32 = 12;
/// Between two steps of a VIF: to coarser rates, and back.
const COARSER_NS: u64 = 100_000_000;
const FINER_NS: u64 = 1_000_000_000;

/// A VIF's rate.
#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    /// As configured; 0: its packets are not logged.
    interval: u16,
    /// Halved so often.
    steps: u32,
    /// When that changed, and when it was looked at.
    changed_ns: u64,
    looked_ns: u64,
    /// Flows that began since it was looked at.
    begun: u64,
    /// What it comes to.
    effective: u16,
}

/// The flows of a worker.
#[derive(Debug)]
pub(super) struct Book {
    cache: Cache,
    channel: Arc<FlowChannel>,
    /// By VIF; those from `used` on have no rate.
    rates: Box<[Rate]>,
    used: usize,
    /// By VIF: a packet is logged whose random number is below.
    pub thresholds: Words,
    /// VIFs whose rates changed in this turn: the packets of a burst are chosen and counted by the same ones.
    changed: Vec<VifId>,
    /// VIFs with coarser rates than theirs.
    coarser: Vec<VifId>,
    /// Steps of coarser rates that all VIFs take besides their own.
    busy: u32,
    epoch: u16,
    /// The bucket to be looked at next, and when.
    hand: usize,
    due_ns: u64,
}

impl Book {
    pub fn new(most: usize, vifs: usize, channel: Arc<FlowChannel>) -> Book {
        Book {
            cache: Cache::new(most),
            channel,
            rates: vec![Rate::default(); vifs].into(),
            used: 0,
            thresholds: Words::new(vec![0; vifs + 1]),
            changed: Vec::with_capacity(vifs),
            coarser: Vec::with_capacity(vifs),
            busy: 0,
            epoch: 0,
            hand: 0,
            due_ns: 0,
        }
    }

    /// Asks for the memory of a flow that is counted in soon.
    #[inline(always)]
    pub fn prefetch(&self, hash: u64) {
        self.cache.prefetch(self.cache.bucket(hash));
    }

    /// The flow of a packet.
    #[inline(always)]
    pub fn find(&self, note: &Note, signature: u64) -> Option<Slot> {
        self.cache.find(self.cache.bucket(note.hash), signature)
    }

    /// Counts a packet in its flow, with its octets as it came and as it left.
    #[inline(always)]
    pub fn count(&mut self, slot: Slot, note: &Note, octets: (u32, u32), now: u64) {
        add(self.cache.counts_mut(slot), note, octets, now);
    }

    /// Counts a packet whose flow may have begun in its own burst, or begins it.
    #[inline(never)]
    pub fn add(&mut self, packet: &Packet, secrets: &Secrets, now: u64) {
        let Packet { note, from, fate, ends: [source, destination], octets } = packet;
        let (from, octets, signature) = (*from, *octets, secrets.signature(note.hash, *fate));
        if let Some(slot) = self.find(note, signature) {
            return self.count(slot, note, octets, now);
        }
        let rate = |vif: Option<VifId>| {
            let rate = vif.and_then(|vif| self.rates.get(vif.index()));
            rate.map_or(0, |rate| rate.effective)
        };
        let (verdict, to) = fate.parts();
        // The finer rate is the one by which it was chosen.
        let (came, leaves) = (rate(from), rate(to));
        let by_ingress = came != 0 && (leaves == 0 || came <= leaves);
        let (interval, owner) = if by_ingress { (came, from) } else { (leaves, to) };
        let Some(owner) = owner.filter(|_| interval != 0) else { return };
        let number = |vif: Option<VifId>| vif.map_or(NO_VIF, |vif| vif.0);
        let key = FlowKey {
            source: *source,
            destination: *destination,
            ports: note.ports,
            from: number(from),
            to: number(to),
            verdict,
            interval,
            epoch: self.epoch,
            protocol: note.protocol,
            family: note.family,
        };
        let (class, epoch) = (note.class, self.epoch);
        let mut counts = Counts { start_ns: now, owner, epoch, class, ..Counts::default() };
        add(&mut counts, note, octets, now);
        let Some(vif) = self.channel.vif(owner) else { return };
        let (bucket, over) =
            (self.cache.bucket(note.hash), vif.active.get() >= self.cache.capacity() as u64 / 4);
        let room = !over && self.cache.insert(bucket, signature, key, counts) || {
            let oldest = self.cache.oldest(bucket, |old| !over || old.owner == owner);
            oldest.is_some_and(|oldest| self.tell(oldest, EndReason::Evicted))
                && self.cache.insert(bucket, signature, key, counts)
        };
        let Some(vif) = self.channel.vif(owner) else { return };
        if room {
            vif.active.add(1);
        } else {
            vif.unlogged_frames.add(1);
            let (rx_octets, tx_octets) = octets;
            vif.unlogged_octets.add(if from.is_some() { rx_octets } else { tx_octets }.into());
        }
        if let Some(rate) = self.rates.get_mut(owner.index()) {
            rate.begun += 1;
        }
        self.adapt(owner, now);
    }

    /// Lets a VIF have coarser or finer rates, by what it takes up.
    fn adapt(&mut self, vif: VifId, now: u64) {
        let (Some(rate), Some(counted)) = (self.rates.get_mut(vif.index()), self.channel.vif(vif))
        else {
            return;
        };
        let (active, capacity) = (counted.active.get(), self.cache.capacity() as u64);
        let (passed, since) =
            (now.saturating_sub(rate.looked_ns), now.saturating_sub(rate.changed_ns));
        if passed < COARSER_NS {
            return;
        }
        // What there will be if flows go on to begin as fast. What there is, takes its time to end.
        let (_, idle_ns) = self.channel.timeouts();
        let ahead = u128::from(rate.begun) * u128::from(idle_ns) / u128::from(passed);
        (rate.looked_ns, rate.begun) = (now, 0);
        if active.min(u64::try_from(ahead).unwrap_or(u64::MAX)) > capacity / 8
            && rate.steps < MAX_STEPS
        {
            rate.steps += 1;
            if rate.steps == 1 && self.coarser.len() < self.coarser.capacity() {
                self.coarser.push(vif);
            }
        } else if active < capacity / 16 && rate.steps > 0 && since >= FINER_NS {
            rate.steps -= 1;
        } else {
            return;
        }
        rate.changed_ns = now;
        // There is room for all; a step later is as good.
        if self.changed.len() < self.changed.capacity() {
            self.changed.push(vif);
        }
    }

    /// Now and then: VIFs whose floods are over have finer rates again.
    pub fn relax(&mut self, now: u64) {
        let mut at = 0;
        while let Some(&vif) = self.coarser.get(at) {
            self.adapt(vif, now);
            if self.rates.get(vif.index()).is_some_and(|rate| rate.steps > 0) {
                at += 1;
            } else {
                self.coarser.swap_remove(at);
            }
        }
    }

    /// Hands a flow over and empties its place; false, and nothing is done, where it cannot be handed over.
    fn tell(&mut self, slot: Slot, end: EndReason) -> bool {
        let flow = self.cache.record(slot, end);
        if !self.channel.send(flow) {
            return false;
        }
        self.cache.remove(slot);
        if let Some(vif) = self.channel.vif(flow.counts.owner) {
            vif.active.set(vif.active.get().saturating_sub(1));
        }
        true
    }

    /// Ends the flows whose time has come, some buckets a turn.
    #[inline(always)]
    pub fn scan(&mut self, idle: bool, now: u64) {
        if now >= self.due_ns {
            self.step(if idle { IDLE_STEPS } else { 1 }, now);
        }
    }

    #[inline(never)]
    fn step(&mut self, steps: usize, now: u64) {
        let buckets = self.cache.buckets();
        let (each, (active_ns, idle_ns)) = (buckets.div_ceil(STEPS), self.channel.timeouts());
        let apart = ROUND_NS * each as u64 / buckets as u64;
        // No more than a round behind.
        self.due_ns = self.due_ns.max(now.saturating_sub(ROUND_NS));
        for _ in 0..steps {
            if now < self.due_ns {
                return;
            }
            self.due_ns += apart;
            for _ in 0..each {
                self.end_in(self.hand, (active_ns, idle_ns), now);
                self.hand = (self.hand + 1) & (buckets - 1);
            }
        }
    }

    /// Ends the flows of a bucket whose time has come.
    fn end_in(&mut self, bucket: usize, (active_ns, idle_ns): (u64, u64), now: u64) {
        for slot in self.cache.slots(bucket) {
            let flow = self.cache.counts(slot);
            let quiet = now.saturating_sub(flow.last_ns);
            let end = if flow.epoch != self.epoch {
                EndReason::Forced
            } else if quiet >= idle_ns {
                EndReason::Idle
            } else if flow.flags & ENDS != 0 && quiet >= LINGER_NS {
                EndReason::Ended
            } else if now.saturating_sub(flow.start_ns) >= active_ns {
                EndReason::Active
            } else {
                continue;
            };
            let owner = flow.owner;
            if !self.tell(slot, end) {
                return;
            }
            self.adapt(owner, now);
        }
    }

    /// Follows another log. All flows so far are of another epoch and end.
    pub fn follow(&mut self, log: Option<&FlowLog>, now: u64) {
        self.coarser.clear();
        let intervals = log.map_or(&[][..], FlowLog::intervals);
        self.epoch = log.map_or(self.epoch.wrapping_sub(1), |log| log.epoch);
        self.used = self.used.max(intervals.len());
        let intervals = intervals.iter().copied().chain(std::iter::repeat(0));
        for (interval, rate) in intervals.zip(self.rates.iter_mut().take(self.used)) {
            *rate = Rate { interval, changed_ns: now, looked_ns: now, ..Rate::default() };
        }
    }

    /// Between turns: rates that changed come into force.
    #[inline(always)]
    pub fn renew(&mut self) {
        while let Some(vif) = self.changed.pop() {
            self.renew_one(vif);
        }
    }

    /// All rates come into force, coarser by so many steps.
    pub fn renew_all(&mut self, busy: u32) {
        self.busy = busy;
        for vif in (0..=u16::MAX).map(VifId).take(self.used) {
            self.renew_one(vif);
        }
    }

    #[inline(never)]
    fn renew_one(&mut self, vif: VifId) {
        let (Some(rate), Some(counted)) = (self.rates.get_mut(vif.index()), self.channel.vif(vif))
        else {
            return;
        };
        let coarser = u32::from(rate.interval) << (rate.steps + self.busy);
        rate.effective = u16::try_from(coarser).unwrap_or(u16::MAX);
        self.thresholds.set(vif.0.into(), threshold(rate.effective));
        counted.effective.set(rate.effective.into());
    }

    /// No flow counts as active any more.
    pub fn leave(&self) {
        let vifs = (0..=u16::MAX).map_while(|vif| self.channel.vif(VifId(vif)));
        vifs.for_each(|vif| vif.active.set(0));
    }

    /// All flows.
    pub fn end(self) -> impl Iterator<Item = Flow> {
        let cache = self.cache;
        let slots: Vec<Slot> = (0..cache.buckets()).flat_map(|at| cache.slots(at)).collect();
        slots.into_iter().map(move |slot| cache.record(slot, EndReason::Forced))
    }
}

/// A packet that is counted by itself.
pub(super) struct Packet {
    pub note: Note,
    /// The VIF by which it came; none of what the station sends.
    pub from: Option<VifId>,
    pub fate: Fate,
    pub ends: Ends,
    /// As it came and as it left.
    pub octets: (u32, u32),
}

/// What became of a packet, and of how many packets it is one, in one word: a number of the verdict, the VIF by which it
/// leaves, and the threshold, which is that of one interval alone.
#[derive(Clone, Copy)]
pub(super) struct Fate(pub u64);

impl Fate {
    /// It leaves by the VIF of a place.
    #[inline(always)]
    pub const fn forwarded(to_place: u32, threshold: u32) -> Fate {
        Fate((to_place as u64 & 0xffff) << 32 | threshold as u64)
    }

    /// It is not forwarded.
    pub fn ended(verdict: Verdict, threshold: u32) -> Fate {
        let [verdict, to] = [FlowKey::number(verdict), NO_VIF].map(u64::from);
        Fate(verdict << 48 | to << 32 | u64::from(threshold))
    }

    /// The number of the verdict, and the VIF.
    #[expect(clippy::cast_possible_truncation, reason = "16 bits each")]
    fn parts(self) -> (u16, Option<VifId>) {
        let to = (self.0 >> 32) as u16;
        ((self.0 >> 48) as u16, (to != NO_VIF).then_some(VifId(to)))
    }
}

/// Adds a packet to a flow.
#[inline(always)]
fn add(flow: &mut Counts, note: &Note, (rx_octets, tx_octets): (u32, u32), now: u64) {
    flow.packets += 1;
    flow.last_ns = now;
    flow.rx_octets += u64::from(rx_octets);
    flow.tx_octets += u64::from(tx_octets);
    flow.ip_octets += u64::from(note.ip_octets);
    flow.flags |= note.flags;
}
