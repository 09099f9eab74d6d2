//! Captures: copies of a worker's frames for who asked to see them, as they came and as they leave. A worker
//! without a capture pays for one look at an empty list per burst.
//!
//! Copies never cost the originals their place. All captures of a worker may use `PERCENT` of its time, as estimated,
//! and that includes what the reader and the client spend on a copy, since they may share the worker's CPU. What does not
//! fit that, or the queue to the reader, is not looked at but counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::handoff::Label;
use super::parcels::Parcels;
use crate::limit::TimeShare;
use crate::port::{Area, BURST, Frame, Octets};
use crate::tables::counters::Counter;
use crate::tables::{Network, PortId, Verdict, VifId};
use crate::wire::bpf::Program;
use crate::wire::ethernet::{ETHERTYPE_SERVICE_TAG, ETHERTYPE_VLAN, VID_MASK, be16};

/// Captures at a time.
pub const MAX_CAPTURES: usize = 4;
/// Copies that wait for the reader, per worker.
const COPIES: usize = 2048;
/// What all captures of a worker may use of its time.
const PERCENT: u64 = 6;
/// Estimates on the slow side, in nanoseconds: one instruction of a filter; a copy on its way to a file, and 8 octets
/// of it.
const PER_INSTRUCTION: u64 = 2;
const PER_COPY: u64 = 2_500;
const PER_WORD: u64 = 10;
/// What a capture may use at once: a queue full of short copies.
const AT_ONCE: u64 = COPIES as u64 * PER_COPY;

/// What a capture wants to see.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// What passes this port; `None`: any, by which a VIF's tunnels may come and go.
    pub port: Option<PortId>,
    /// Only this VIF's: its tags or VNI on the way in, itself on the way out.
    pub vif: Option<(VifId, Network)>,
    /// What comes in.
    pub inbound: bool,
    /// What goes out.
    pub outbound: bool,
    /// Which verdicts.
    pub verdicts: Verdicts,
    /// Only what this takes.
    pub filter: Option<Program>,
    /// Octets of each frame, at most.
    pub snap: usize,
}

/// A choice of verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdicts {
    /// All.
    Any,
    /// What is forwarded, or sent by the station itself.
    Forwarded,
    /// What goes to the slow path.
    Punted,
    /// What is dropped.
    Dropped,
    /// This one.
    Only(Verdict),
}

impl Verdicts {
    /// Whether a verdict is among them.
    pub fn has(self, verdict: Verdict) -> bool {
        match self {
            Verdicts::Any => true,
            Verdicts::Forwarded => verdict == Verdict::Forward,
            Verdicts::Punted => matches!(verdict, Verdict::Punt(_)),
            Verdicts::Dropped => matches!(verdict, Verdict::Drop(_)),
            Verdicts::Only(only) => verdict == only,
        }
    }
}

/// What a copy carries besides the octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// When: the monotonic time of the burst, in nanoseconds.
    pub now_ns: u64,
    /// By which port.
    pub port: PortId,
    /// It leaves.
    pub outbound: bool,
    /// The VIF by which it came, once known; of what the station itself sends, none.
    pub from: Option<VifId>,
    /// The VIF by which it leaves.
    pub to: Option<VifId>,
    /// What became of it.
    pub verdict: Verdict,
    /// Octets that the frame had, without FCS.
    pub octets: usize,
    /// The tables by which that was decided.
    pub generation: u64,
}

impl Default for Mark {
    fn default() -> Self {
        Mark {
            now_ns: 0,
            port: PortId(0),
            outbound: false,
            from: None,
            to: None,
            verdict: Verdict::Forward,
            octets: 0,
            generation: 0,
        }
    }
}

impl Mark {
    /// Of what the slow path sends.
    pub fn originated(label: Label, octets: usize, now_ns: u64, generation: u64) -> Mark {
        Mark {
            now_ns,
            port: label.port,
            outbound: true,
            to: Some(label.vif),
            octets,
            generation,
            ..Mark::default()
        }
    }
}

/// One capture on one worker, shared by the worker, which writes, and the reader.
#[derive(Debug)]
pub struct Tap {
    wanted: Wanted,
    copies: Parcels<Mark>,
    /// Frames that were wanted, or not looked at, and not copied. Written by the worker.
    lost: Counter,
    /// The reader has gone.
    ended: AtomicBool,
}

impl Tap {
    /// A capture with room for its copies.
    pub fn new(wanted: Wanted) -> Tap {
        Tap {
            copies: Parcels::new(COPIES, wanted.snap),
            wanted,
            lost: Counter::default(),
            ended: AtomicBool::new(false),
        }
    }

    /// Shows the oldest copy to `take`. `None` where there is none.
    pub fn receive<T>(&self, take: impl FnOnce(Mark, &[u8]) -> T) -> Option<T> {
        self.copies.receive(take)
    }

    /// Frames that were not copied.
    pub fn lost(&self) -> u64 {
        self.lost.get()
    }

    /// Tells the worker that nobody reads any more.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

/// A worker's end of a capture.
#[derive(Debug)]
struct Attached {
    tap: Arc<Tap>,
    /// What it may use.
    time: TimeShare,
    /// Lanes of the burst that is under way whose frames are in `kept`, by place.
    held: u64,
    /// Whether the last place of `kept` has the frame that is about to leave.
    leaves: bool,
    /// Frames of the burst as they came, before the path rewrites them in place, and the one that is
    /// about to leave; `snap` octets a place.
    kept: Box<[u8]>,
}

/// The captures of a worker.
#[derive(Debug, Default)]
pub struct Captures {
    attached: Vec<Attached>,
}

impl Captures {
    /// Adds one. Between turns.
    pub fn attach(&mut self, tap: Arc<Tap>) {
        let kept = vec![0; tap.wanted.snap * (BURST + 1)].into_boxed_slice();
        self.attached.push(Attached {
            tap,
            time: TimeShare::full(AT_ONCE),
            held: 0,
            leaves: false,
            kept,
        });
    }

    /// Lets go of those that nobody reads any more. Between turns.
    pub fn detach_ended(&mut self) {
        self.attached.retain(|attached| !attached.tap.ended.load(Ordering::Relaxed));
    }

    /// Whether there is none.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.attached.is_empty()
    }

    /// Whether a burst of this port has to be looked at. What leaves may leave by any port.
    pub fn concern(&self, port: PortId) -> bool {
        let concerns = |wanted: &Wanted| wanted.outbound || wanted.inbound && wanted.is_at(port);
        self.attached.iter().any(|attached| concerns(&attached.tap.wanted))
    }

    /// Copies what a burst of this port brings and the path may rewrite.
    pub fn before(&mut self, port: PortId, frames: &[Frame], area: &Area, now: u64) {
        let captures = self.attached.len() as u64;
        for attached in &mut self.attached {
            attached.held = 0;
            attached.time.renew(now, PERCENT, captures);
            let wanted = &attached.tap.wanted;
            let may_be_forwarded = wanted.verdicts.has(Verdict::Forward);
            if !wanted.inbound || !wanted.is_at(port) || !may_be_forwarded {
                continue;
            }
            for (place, frame) in frames.iter().enumerate().take(BURST) {
                attached.hold(place, area.whole(frame));
            }
        }
    }

    /// A frame of the burst has its verdict; `packet` is what it is now, `rewritten` as it would have left.
    pub fn settled(&mut self, place: usize, mark: &Mark, packet: impl Octets, rewritten: bool) {
        for attached in &mut self.attached {
            let wanted = &attached.tap.wanted;
            if !wanted.inbound || !wanted.is_at(mark.port) || !wanted.verdicts.has(mark.verdict) {
                continue;
            }
            if wanted.verdicts.has(Verdict::Forward) {
                if attached.held >> place & 1 == 1 {
                    attached.send_held(place, mark);
                }
                continue;
            }
            // Only what is forwarded is rewritten in place: the others are still as they came.
            let vif = wanted.vif.as_ref();
            let is_wanted = match rewritten {
                true => vif.is_none_or(|(vif, _)| mark.from == Some(*vif)),
                false => wanted.has_network(packet.start().octets),
            };
            if is_wanted && attached.afford(packet) {
                attached.send(*mark, packet);
            }
        }
    }

    /// A frame is about to leave: it is copied before its port has it.
    pub fn leaving(&mut self, mark: &Mark, packet: impl Octets) {
        for attached in &mut self.attached {
            attached.leaves = attached.wants_out(mark) && attached.afford(packet);
            if attached.leaves {
                attached.keep(BURST, packet);
            }
        }
    }

    /// It left.
    pub fn left(&self, mark: &Mark) {
        for attached in self.attached.iter().filter(|attached| attached.leaves) {
            attached.send_held(BURST, mark);
        }
    }

    /// A frame of the slow path left.
    pub fn sent(&mut self, mark: &Mark, packet: impl Octets) {
        for attached in &mut self.attached {
            if attached.wants_out(mark) && attached.afford(packet) {
                attached.send(*mark, packet);
            }
        }
    }

    /// Before what a turn sends for the slow path.
    pub fn begin(&mut self, now: u64) {
        let captures = self.attached.len() as u64;
        let all = self.attached.iter_mut();
        all.for_each(|attached| attached.time.renew(now, PERCENT, captures));
    }
}

impl Wanted {
    fn is_at(&self, port: PortId) -> bool {
        self.port.is_none_or(|wanted| wanted == port)
    }

    /// Whether a frame has the tags or the VNI of the VIF that is wanted, if one is. A frame that no VIF
    /// gets, such as one with a wrong MAC, is seen with the VIF whose tags it has.
    fn has_network(&self, packet: &[u8]) -> bool {
        let tags = match &self.vif {
            None => return true,
            Some((_, Network::Vni(tunnel))) => return tunnel.has(packet),
            Some((_, Network::Vlan(tags))) => tags,
        };
        let tag =
            |at: usize| packet.get(at..at + 4).map(|tag| (be16(tag, 0), be16(tag, 2) & VID_MASK));
        let tpid = if tags.service { ETHERTYPE_SERVICE_TAG } else { ETHERTYPE_VLAN };
        tag(12) == Some((tpid, tags.outer))
            && tags.inner.is_none_or(|inner| tag(16) == Some((ETHERTYPE_VLAN, inner)))
    }
}

impl Attached {
    /// Whether the budget has room for looking at a frame and copying it, and the filter takes it.
    fn afford(&mut self, packet: impl Octets) -> bool {
        let filter = self.tap.wanted.filter.as_ref();
        let steps = filter.map_or(0, Program::instructions);
        let words = packet.start().len.min(self.tap.wanted.snap) / 8;
        let (look, copy) = (steps as u64 * PER_INSTRUCTION, PER_COPY + words as u64 * PER_WORD);
        if !self.time.has(look + copy) || self.tap.copies.room() == 0 {
            self.tap.lost.add(1);
            return false;
        }
        let takes = filter.is_none_or(|filter| filter.takes(packet.start()));
        // There is as much, by the lines above.
        takes & self.time.take(if takes { look + copy } else { look })
    }

    /// Keeps a frame as it came until its verdict is known.
    fn hold(&mut self, place: usize, packet: impl Octets) {
        if !self.tap.wanted.has_network(packet.start().octets) || !self.afford(packet) {
            return;
        }
        self.keep(place, packet);
        self.held |= 1 << place;
    }

    fn keep(&mut self, place: usize, packet: impl Octets) {
        let snap = self.tap.wanted.snap;
        packet.copy_to(&mut self.kept[place * snap..][..snap]);
    }

    /// Whether a frame that leaves is wanted.
    fn wants_out(&self, mark: &Mark) -> bool {
        let wanted = &self.tap.wanted;
        let vif = wanted.vif.as_ref();
        wanted.outbound
            && wanted.is_at(mark.port)
            && vif.is_none_or(|(vif, _)| mark.to == Some(*vif))
            && wanted.verdicts.has(Verdict::Forward)
    }

    fn send_held(&self, place: usize, mark: &Mark) {
        let snap = self.tap.wanted.snap;
        self.send(*mark, &self.kept[place * snap..][..snap.min(mark.octets)]);
    }

    fn send(&self, mark: Mark, packet: impl Octets) {
        if !self.tap.copies.send_start(mark, packet) {
            self.tap.lost.add(1);
        }
    }
}
