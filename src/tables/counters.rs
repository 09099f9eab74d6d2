//! Counters that the packet path writes. One block per worker (and one for the slow path), written
//! by that thread alone with plain loads and stores, read by observers at any time.

use std::sync::OnceLock;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU64, fence};

use crossbeam::utils::CachePadded;

use super::ids::{PortId, VifId};
use super::last_drops::DropLog;
use super::qos::CLASSES;
use super::verdict::{DropReason, PuntReason, SlowOutcome, TapEvent};

/// A counter with one writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the owning thread may call this: it is a load and a store, not an atomic add.
    #[inline(always)]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Sets the value (gauges). Only the owning thread may call this.
    #[inline(always)]
    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    /// The value now.
    #[inline(always)]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Per port and worker. Octets count from the destination MAC to the end of the payload, without FCS.
#[derive(Debug)]
#[repr(align(64))]
pub struct PortCounters {
    /// Frames taken from the port.
    pub rx_frames: Counter,
    /// Their octets.
    pub rx_octets: Counter,
    /// Frames that reached a VIF. `rx_frames = to_vif + sum(drops)`, exactly, between turns.
    pub to_vif: Counter,
    /// Frames put on the port's transmit ring or in its queues, the slow path's included.
    pub tx_frames: Counter,
    /// Their octets.
    pub tx_octets: Counter,
    /// Frames dropped before a VIF was known, by reason.
    pub drops: [Counter; DropReason::COUNT],
    /// What the kernel counts for the worker's socket on the port.
    pub kernel: KernelCounters,
}

/// The kernel's counters of one socket (XDP_STATISTICS), copied about once a second.
#[derive(Debug, Default)]
pub struct KernelCounters {
    /// Received and dropped, such as longer than a frame.
    pub rx_dropped: Counter,
    /// Received and dropped because the worker did not keep up.
    pub rx_ring_full: Counter,
    /// Times that there was no frame to receive into.
    pub rx_fill_ring_empty: Counter,
    /// Receive descriptors that the kernel refused.
    pub rx_invalid_descriptors: Counter,
    /// Transmit descriptors that the kernel refused.
    pub tx_invalid_descriptors: Counter,
    /// Times that the kernel found nothing to send.
    pub tx_ring_empty: Counter,
    /// Descriptors of the kernel's that named no frame of the socket: refused by the station.
    pub refused_descriptors: Counter,
}

impl Default for PortCounters {
    fn default() -> Self {
        PortCounters {
            rx_frames: Counter::default(),
            rx_octets: Counter::default(),
            to_vif: Counter::default(),
            tx_frames: Counter::default(),
            tx_octets: Counter::default(),
            drops: std::array::from_fn(|_| Counter::default()),
            kernel: KernelCounters::default(),
        }
    }
}

/// Per VIF and worker. `rx_frames = forwarded + sum(punted) + sum(drops)`, exactly, between turns. What every
/// packet counts is one cache line, and those of all VIFs lie side by side: thousands of VIFs fit few pages.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct VifCounters {
    /// Frames that entered by this VIF.
    pub rx_frames: Counter,
    /// Their octets.
    pub rx_octets: Counter,
    /// Frames that entered by this VIF and were put on some port's transmit ring, or in its queues.
    pub forwarded: Counter,
    /// Frames that left by this VIF, forwarded or originated.
    pub tx_frames: Counter,
    /// Their octets.
    pub tx_octets: Counter,
    /// By [`super::Direction`]: octets left of the worker's lease (a gauge), see [`super::meter`].
    pub leased: [Counter; 2],
    /// What few packets count.
    pub rare: Box<RareCounters>,
}

/// What is policed of one direction of a VIF, in octets as [`super::meter`] counts them. What has passed is what was
/// leased but for what is left of it.
#[derive(Debug, Default)]
pub struct MeterCounters {
    /// Octets that the worker has got to spend.
    pub leased: Counter,
    /// Those of them within the committed rate.
    pub committed: Counter,
    /// Frames that were dropped.
    pub exceeded_frames: Counter,
    /// Their octets.
    pub exceeded_octets: Counter,
    /// Until then nothing is to be had (a gauge): monotonic time in nanoseconds.
    pub denied_until: Counter,
}

/// What is counted of one class of what leaves by a VIF.
#[derive(Debug, Default)]
pub struct ClassCounters {
    /// Frames that left, or wait to.
    pub sent_frames: Counter,
    /// Their octets, from the destination MAC to the end of the payload, tunnels included.
    pub sent_octets: Counter,
    /// Those of the frames that waited.
    pub waited_frames: Counter,
    /// Frames that exceeded the class's bandwidth.
    pub policed_frames: Counter,
    /// Their octets, as [`super::meter`] counts them.
    pub policed_octets: Counter,
    /// Frames that found the class's queue full.
    pub full_frames: Counter,
    /// Their octets.
    pub full_octets: Counter,
    /// Frames that waited and did not leave: their port was closed or went down, or their VIF went.
    pub discarded_frames: Counter,
    /// The most frames that ever waited at once (a gauge).
    pub peak_frames: Counter,
    /// Octets left of the worker's lease (a gauge), see [`super::meter`].
    pub leased: Counter,
}

/// The other counters of a VIF.
#[derive(Debug)]
pub struct RareCounters {
    /// By [`super::Direction`].
    pub meters: [MeterCounters; 2],
    /// By [`super::Direction`]: frames that the VIF translated.
    pub translated: [Counter; 2],
    /// By class, once the VIF has had a policy: the worker makes them, others read.
    pub classes: OnceLock<Box<[ClassCounters; CLASSES]>>,
    /// Frames of the slow path that left by this VIF (a part of `tx_frames`).
    pub originated: Counter,
    /// Frames of the slow path for this VIF that found the transmit ring full or the port down.
    pub originated_lost: Counter,
    /// Frames that entered by this VIF and went to the slow path, by reason.
    pub punted: [Counter; PuntReason::COUNT],
    /// Frames that entered by this VIF and were dropped, by reason.
    pub drops: [Counter; DropReason::COUNT],
}

impl Default for RareCounters {
    fn default() -> Self {
        RareCounters {
            meters: Default::default(),
            translated: Default::default(),
            classes: OnceLock::new(),
            originated: Counter::default(),
            originated_lost: Counter::default(),
            punted: std::array::from_fn(|_| Counter::default()),
            drops: std::array::from_fn(|_| Counter::default()),
        }
    }
}

/// How a worker spends itself.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct LoopCounters {
    /// Turns of the worker's loop.
    pub loops: Counter,
    /// Turns that found nothing to do.
    pub empty: Counter,
    /// Bursts received.
    pub bursts: Counter,
    /// Frames in them.
    pub frames: Counter,
    /// Times the worker slept until a frame came.
    pub sleeps: Counter,
    /// Nanoseconds of the turns that found something to do, system calls included.
    pub busy_ns: Counter,
    /// The generation the worker is on (a gauge).
    pub generation: Counter,
    /// Frames free in the pool (a gauge).
    pub frames_free: Counter,
    /// System calls for receiving, sending and sleeping (a gauge, about once a second).
    pub system_calls: Counter,
}

/// Everything one worker counts.
#[derive(Debug)]
pub struct WorkerCounters {
    /// Odd while a turn changes counters.
    turns: CachePadded<AtomicU64>,
    /// The worker's number, by which it counts in what all workers share.
    pub number: usize,
    ports: Box<[PortCounters]>,
    vifs: Box<[VifCounters]>,
    /// How the worker spends itself.
    pub work: LoopCounters,
    /// The last frames that it dropped.
    pub last_drops: DropLog,
}

impl WorkerCounters {
    /// Counters of worker 0 for `ports` ports and `vifs` VIFs, all zero.
    pub fn new(ports: usize, vifs: usize) -> Self {
        WorkerCounters {
            turns: CachePadded::new(AtomicU64::new(0)),
            number: 0,
            ports: (0..ports).map(|_| PortCounters::default()).collect(),
            vifs: (0..vifs).map(|_| VifCounters::default()).collect(),
            work: LoopCounters::default(),
            last_drops: DropLog::of_worker(ports, vifs),
        }
    }

    /// The counters of the worker of this number.
    #[must_use]
    pub fn numbered(self, number: usize) -> Self {
        WorkerCounters { number, ..self }
    }

    /// Begins a turn: until [`WorkerCounters::end_turn`] the counters may not add up. Only the owning
    /// thread may call it.
    #[inline(always)]
    pub fn begin_turn(&self) {
        self.turns.store(self.turns.load(Relaxed).wrapping_add(1), Relaxed);
        fence(Release);
    }

    /// Ends a turn.
    #[inline(always)]
    pub fn end_turn(&self) {
        self.turns.store(self.turns.load(Relaxed).wrapping_add(1), Release);
    }

    /// Reads counters as they are between two turns (a sequence lock: the writer never waits). After
    /// many tries that fell into turns, gives what it read last.
    pub fn consistent<T>(&self, mut read: impl FnMut(&Self) -> T) -> T {
        const TRIES: u32 = 10_000;
        for _ in 0..TRIES {
            let before = self.turns.load(Acquire);
            if before % 2 == 1 {
                std::hint::spin_loop();
                continue;
            }
            let value = read(self);
            fence(Acquire);
            if self.turns.load(Relaxed) == before {
                return value;
            }
        }
        read(self)
    }

    /// The counters of a port. Ids come from a snapshot whose size the station limits.
    #[inline(always)]
    pub fn port(&self, id: PortId) -> &PortCounters {
        &self.ports[id.index()]
    }

    /// The counters of all ports. VTEPs have none: what passes them, passes ports too.
    pub fn ports(&self) -> &[PortCounters] {
        &self.ports
    }

    /// The counters of a VIF.
    #[inline(always)]
    pub fn vif(&self, id: VifId) -> &VifCounters {
        &self.vifs[id.index()]
    }

    /// The counters of all VIFs.
    #[inline(always)]
    pub fn vifs(&self) -> &[VifCounters] {
        &self.vifs
    }
}

/// What the slow path counts: per VIF, the outcome of each punted frame and of each from the kernel.
#[derive(Debug)]
pub struct SlowCounters {
    /// Turns of its loop.
    pub turns: Counter,
    /// By worker: frames that found its queue full.
    lost: Box<[Counter]>,
    vifs: Box<[[Counter; SlowOutcome::COUNT]]>,
    taps: Box<[[Counter; TapEvent::COUNT]]>,
    /// The last frames that went no further.
    pub last_drops: DropLog,
}

impl SlowCounters {
    /// Counters for `workers` workers and `vifs` VIFs, all zero.
    pub fn new(workers: usize, vifs: usize) -> Self {
        SlowCounters {
            turns: Counter::default(),
            lost: (0..workers).map(|_| Counter::default()).collect(),
            vifs: (0..vifs).map(|_| std::array::from_fn(|_| Counter::default())).collect(),
            taps: (0..vifs).map(|_| std::array::from_fn(|_| Counter::default())).collect(),
            last_drops: DropLog::of_slow_path(vifs),
        }
    }

    /// The counter of what happens at a VIF's TAP.
    pub fn tap(&self, vif: VifId, event: TapEvent) -> &Counter {
        &self.taps[vif.index()][event.index()]
    }

    /// The counter of frames that found a worker's queue full.
    pub fn lost(&self, worker: usize) -> &Counter {
        &self.lost[worker]
    }

    /// The counter of one outcome on one VIF.
    pub fn outcome(&self, vif: VifId, outcome: SlowOutcome) -> &Counter {
        &self.vifs[vif.index()][outcome.index()]
    }
}
