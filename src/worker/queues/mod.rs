//! Queues in front of the transmit rings of ports that VIFs with a policy send by ([`crate::tables::qos`]): they decide what
//! leaves first where a port is slower than what is sent to it, and nothing else. As long as nothing waits and few frames
//! are on the ring, a frame goes straight there.
//!
//! A ring that is full of others' frames is a queue too, and one that nobody can overtake in. So the frames of such a port
//! that have not left are few, as Linux's byte queue limits have it: a [`window`] that grows while the ring runs empty, and
//! shrinks while frames are always left on it. All others wait here, where their order can still change.
//!
//! A port's ring and backlog together hold no more than its ring would, so that the memory of other ports' frames is
//! untouched. What the backlog took counts as sent, as what the ring took does; only with its port or VIF it goes.

mod backlog;
mod window;

use crate::port::{Frame, Pool, Port};
use crate::stage::Burst;
use crate::tables::counters::{ClassCounters, WorkerCounters};
use crate::tables::{DropReason, PortId, Qos, Snapshot, VifId, place_vif};
use backlog::{Backlog, Size};
use window::Window;

use super::Worker;
use super::ends::Egress;

/// The queues of one port.
#[derive(Debug)]
struct PortQueues {
    backlog: Backlog<Frame>,
    window: Window,
}

impl PortQueues {
    /// For a port whose ring has so many places.
    fn new(ring: usize, vifs: usize) -> PortQueues {
        let most = (ring / 4).max(1);
        PortQueues { backlog: Backlog::new(ring - most.min(ring), vifs), window: Window::new(most) }
    }

    /// Puts frames that wait on the ring; gives how many.
    fn send<P: Port>(&mut self, port: &mut P, qos: &Qos, pool: &mut Pool) -> usize {
        if self.backlog.is_empty() {
            return 0;
        }
        self.window.look(port.sending());
        let mut sent = 0;
        while self.window.is_open(port.sending())
            && self.backlog.pop(|vif| qos.shape(vif), |_, _, frame| port.tx(pool, frame))
        {
            sent += 1;
        }
        sent
    }
}

/// The counters of a class of a VIF with a policy.
fn of_class(counters: &WorkerCounters, vif: VifId, class: usize) -> Option<&ClassCounters> {
    counters.vifs().get(vif.index())?.rare.classes.get()?.get(class)
}

/// Frames of a closed port or a VIF that is gone go back to the pool.
fn discard<'a>(
    counters: &'a WorkerCounters,
    pool: &'a mut Pool,
) -> impl FnMut(VifId, usize, Frame) + 'a {
    move |vif, class, frame| {
        pool.give(frame);
        of_class(counters, vif, class).into_iter().for_each(|of| of.discarded_frames.add(1));
    }
}

/// A worker's queues, by port. No port has any while no VIF has a policy.
#[derive(Debug, Default)]
pub(super) struct Queues {
    ports: Vec<Option<PortQueues>>,
    /// The generation that they follow.
    generation: u64,
    /// Ports that are to have queues and are not there, a bit each.
    lacks: u64,
}

impl Queues {
    /// Whether no port has queues.
    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.ports.is_empty()
    }

    /// Frames that wait.
    pub(super) fn waiting(&self) -> usize {
        self.ports.iter().flatten().map(|queues| queues.backlog.len()).sum()
    }

    /// The queues of a port, if it has any.
    #[inline(always)]
    fn of(&mut self, id: PortId) -> Option<&mut PortQueues> {
        self.ports.get_mut(id.index())?.as_mut()
    }

    /// Whether a frame that can be done without may go to a port now: none of its others waits or would have to.
    pub(super) fn is_quiet<P: Port>(&mut self, id: PortId, port: &P) -> bool {
        self.of(id)
            .is_none_or(|queues| queues.backlog.is_empty() && queues.window.is_open(port.sending()))
    }

    /// Follows the tables: ports get queues or lose them, and what waits for a VIF that is gone, is another one or leads
    /// elsewhere does not leave. Memory is taken here alone, where a port gets queues.
    #[cold]
    #[inline(never)]
    pub(super) fn follow<P: Port>(
        &mut self,
        tables: &Snapshot,
        ports: &mut [Option<P>],
        counters: &WorkerCounters,
        pool: &mut Pool,
    ) {
        self.generation = tables.generation;
        self.lacks = 0;
        self.ports.resize_with(ports.len(), || None);
        let qos = tables.qos.as_deref();
        for (id, _) in qos.into_iter().flat_map(Qos::vifs) {
            counters.vif(id).rare.classes.get_or_init(Box::default);
        }
        let ids = (0..=u8::MAX).map(PortId);
        for (id, (port, queues)) in ids.zip(ports.iter_mut().zip(&mut self.ports)) {
            let Some(qos) = qos.filter(|qos| qos.has(id)) else {
                if let Some(mut queues) = queues.take() {
                    queues.leave(port.as_mut(), counters, pool);
                }
                continue;
            };
            let is_up = tables.ports.get(id.index()).is_some_and(|port| port.up);
            match (port, queues) {
                (_, Some(queues)) => {
                    let gone = |vif, key| !is_up || qos.key(vif) != key;
                    queues.backlog.take(gone, discard(counters, pool));
                }
                (Some(port), queues) => {
                    *queues = Some(PortQueues::new(port.ring(), counters.vifs().len()));
                }
                (None, None) => self.lacks |= 1 << id.0,
            }
        }
        if qos.is_none() {
            self.ports = Vec::new();
        }
    }

    /// Whether they are those of these tables, as far as ports are there.
    fn is_of<P>(&self, tables: &Snapshot, ports: &[Option<P>]) -> bool {
        let has_come =
            |(at, port): (usize, &Option<P>)| self.lacks >> at & 1 == 1 && port.is_some();
        self.generation == tables.generation
            && (self.lacks == 0 || !ports.iter().enumerate().any(has_come))
    }

    /// What waits for a port that is taken away does not leave: the next port of this id may be another customer's.
    pub(super) fn detach(&mut self, id: PortId, counters: &WorkerCounters, pool: &mut Pool) {
        if let Some(mut queues) = self.ports.get_mut(id.index()).and_then(Option::take) {
            queues.backlog.take(|_, _| true, discard(counters, pool));
            self.lacks |= 1 << id.0;
        }
    }

    /// Puts what waits on the rings, as far as the windows are open, and sends it.
    #[cold]
    #[inline(never)]
    pub(super) fn send<P: Port>(&mut self, qos: &Qos, ports: &mut [Option<P>], pool: &mut Pool) {
        for (port, queues) in ports.iter_mut().zip(&mut self.ports) {
            let (Some(port), Some(queues)) = (port, queues) else { continue };
            if queues.send(port, qos, pool) > 0 {
                port.flush(pool);
            }
        }
    }
}

impl<P: Port> Worker<P> {
    /// Has the queues follow the tables.
    #[inline]
    pub(super) fn follow_queues(&mut self) {
        let tables = self.tables.snapshot();
        if !self.queues.is_of(tables, &self.ports) {
            self.queues.follow(tables, &mut self.ports, &self.counters, &mut self.pool);
        }
    }
}

impl PortQueues {
    /// No VIF with a policy sends by the port any more: the ring has room for all that waits.
    fn leave<P: Port>(&mut self, port: Option<&mut P>, counters: &WorkerCounters, pool: &mut Pool) {
        if let Some(port) = port {
            let plain = |_| &crate::tables::qos::Shape::PLAIN;
            while self.backlog.pop(plain, |_, _, frame| port.tx(pool, frame)) {}
        }
        self.backlog.take(|_, _| true, discard(counters, pool));
    }
}

/// The way to a port's ring.
pub(super) enum Way<'a, P> {
    /// Straight; none where the port is gone.
    Ring(Option<&'a mut P>),
    /// By its queues.
    Queued(Queued<'a, P>),
}

impl<'a, P: Port> Way<'a, P> {
    /// The way to a port, if it is there.
    #[inline(always)]
    pub(super) fn to(
        id: PortId,
        port: Option<&'a mut P>,
        queues: &'a mut Queues,
        qos: Option<&'a Qos>,
        counters: &'a WorkerCounters,
    ) -> Way<'a, P> {
        if queues.is_empty() {
            return Way::Ring(port);
        }
        match (port, queues.of(id), qos) {
            (Some(port), Some(queues), Some(qos)) => {
                Way::Queued(Queued { port, queues, qos, counters })
            }
            (port, ..) => Way::Ring(port),
        }
    }
}

impl<P: Port> Egress for Way<'_, P> {
    fn put(
        &mut self,
        frame: Frame,
        burst: &Burst,
        lane: usize,
        pool: &mut Pool,
    ) -> Result<(), (Frame, DropReason)> {
        match self {
            Way::Ring(port) => port.put(frame, burst, lane, pool),
            Way::Queued(queued) => queued.put(frame, burst, lane, pool),
        }
    }
}

/// A port and its queues.
pub(super) struct Queued<'a, P> {
    port: &'a mut P,
    queues: &'a mut PortQueues,
    qos: &'a Qos,
    counters: &'a WorkerCounters,
}

impl<P: Port> Egress for Queued<'_, P> {
    #[expect(clippy::cast_possible_truncation, reason = "the lower half; a frame is short")]
    fn put(
        &mut self,
        frame: Frame,
        burst: &Burst,
        lane: usize,
        pool: &mut Pool,
    ) -> Result<(), (Frame, DropReason)> {
        let vif = VifId(place_vif(burst.to_place[lane]) as u16);
        let (class, octets) = (burst.class[lane] as usize, frame.len() as u32);
        let PortQueues { backlog, window } = &mut *self.queues;
        let straight = backlog.is_empty() && window.is_open(self.port.sending());
        let put = match if straight { self.port.tx(pool, frame) } else { Err(frame) } {
            Ok(()) => Ok(0),
            Err(frame) => {
                let of = (vif, class, self.qos.key(vif));
                let size = Size { octets, frames: pool.frames_of(&frame) };
                backlog.push(of, size, frame, self.qos.shape(vif))
            }
        };
        if let Some(counted) = of_class(self.counters, vif, class) {
            match &put {
                Ok(waiting) => {
                    counted.sent_frames.add(1);
                    counted.sent_octets.add(octets.into());
                    counted.waited_frames.add(u64::from(*waiting > 0));
                    counted.peak_frames.set(counted.peak_frames.get().max(*waiting as u64));
                }
                Err(_) => {
                    counted.full_frames.add(1);
                    counted.full_octets.add(octets.into());
                }
            }
        }
        put.map(drop).map_err(|frame| (frame, DropReason::ClassQueueFull))
    }
}
