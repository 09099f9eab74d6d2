//! Frames between a worker and the slow path: bounded queues of buffers that were allocated once, so
//! that neither side allocates, frees, locks or waits. What does not fit is the sender's to count. VIFs share
//! a queue's room by [`Pool::Parcels`], so that one VIF's flood leaves room for the others'.

use std::sync::atomic::{AtomicU32, Ordering};

use super::parcels::Parcels;
use crate::port::Octets;
use crate::shares::Pool;
use crate::tables::{Choice, PortId, PuntReason, Urgency, VifId};

/// What a parcel carries besides the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// The port it came by, or is to leave by.
    pub port: PortId,
    /// The VIF likewise.
    pub vif: VifId,
    /// The underlay's VIF that carries it, where the VIF is a tunnel's (towards the worker only).
    pub through: Option<VifId>,
    /// Why it was punted (towards the slow path only).
    pub reason: PuntReason,
    /// Offset of its IP or ARP header, in octets (towards the slow path only).
    pub l3: u8,
    /// The adjacency that the fast path chose, where it came to that (towards the slow path only).
    pub choice: Option<Choice>,
}

impl Label {
    /// The label of a frame that is to leave.
    pub const fn to_port(port: PortId, vif: VifId) -> Label {
        Label { port, vif, through: None, reason: PuntReason::Local, l3: 0, choice: None }
    }
}

impl Default for Label {
    fn default() -> Self {
        Label::to_port(PortId(0), VifId(0))
    }
}

/// One direction between two threads.
#[derive(Debug)]
pub struct Handoff {
    parcels: Parcels<Label>,
    /// How many of those that wait are of each VIF. The sender adds, the receiver subtracts.
    held: Box<[AtomicU32]>,
}

impl Handoff {
    /// Room for `parcels` frames of at most `longest` octets of `vifs` VIFs.
    pub fn new(parcels: usize, longest: usize, vifs: usize) -> Handoff {
        let held = std::iter::repeat_with(AtomicU32::default).take(vifs).collect();
        Handoff { parcels: Parcels::new(parcels, longest), held }
    }

    /// Copies a frame in. False where there is no room for it, or none for its VIF.
    #[must_use]
    pub fn send(&self, label: Label, frame: impl Octets) -> bool {
        let Some(held) = self.held.get(label.vif.index()) else { return false };
        // Relaxed: an answer that is a frame late either way is as good.
        let own = held.load(Ordering::Relaxed);
        if !Pool::Parcels.may_take(own as usize, self.parcels.room()) {
            return false;
        }
        // First, for the receiver may have it at once.
        held.fetch_add(1, Ordering::Relaxed);
        let sent = self.parcels.send(label, frame);
        if !sent {
            held.fetch_sub(1, Ordering::Relaxed);
        }
        sent
    }

    /// Shows the oldest frame to `take`. `None` where there is none.
    pub fn receive<T>(&self, take: impl FnOnce(Label, &[u8]) -> T) -> Option<T> {
        self.parcels.receive(|label, frame| {
            if let Some(held) = self.held.get(label.vif.index()) {
                held.fetch_sub(1, Ordering::Relaxed);
            }
            take(label, frame)
        })
    }

    /// Whether nothing waits.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.parcels.is_empty()
    }
}

/// The queues between a worker and the slow path.
#[derive(Debug)]
pub struct Handoffs {
    /// Punts by [`Urgency`]: the more urgent are taken first, and no others fill their queue.
    punted: [Handoff; Urgency::COUNT],
    /// From the slow path to the worker.
    pub injected: Handoff,
}

impl Handoffs {
    /// Room for `parcels` frames of at most `longest` octets of `vifs` VIFs each way.
    pub fn new(parcels: usize, longest: usize, vifs: usize) -> Handoffs {
        Handoffs {
            punted: std::array::from_fn(|_| Handoff::new(parcels, longest, vifs)),
            injected: Handoff::new(parcels, longest, vifs),
        }
    }

    /// The queue of punts for this reason.
    pub(super) fn queue(&self, reason: PuntReason) -> &Handoff {
        &self.punted[reason.class().urgency() as usize]
    }

    /// Whether no punted frame waits.
    pub fn is_quiet(&self) -> bool {
        self.punted.iter().all(Handoff::is_empty)
    }

    /// Shows the next punted frame to `take`. `None` where there is none.
    pub fn take<T>(&self, take: impl FnOnce(Label, &[u8]) -> T) -> Option<T> {
        self.punted.iter().find(|queue| !queue.is_empty())?.receive(take)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::AdjacencyId;

    #[test]
    fn frames_arrive_in_order_and_a_full_queue_refuses() {
        let queue = Handoff::new(4, 100, 3);
        let choice = Some(Choice { generation: 7, adjacency: AdjacencyId(3) });
        let reason = PuntReason::TooBig;
        let label = Label { reason, l3: 18, choice, ..Label::to_port(PortId(1), VifId(2)) };
        assert!(queue.send(label, &[1; 60][..]) && queue.send(label, &[2; 60][..]));
        assert!(!queue.send(label, &[3; 60][..]));
        assert_eq!(queue.receive(|l, f| (l, f.to_vec())), Some((label, vec![1; 60])));
        assert!(queue.send(label, &[3; 60][..]));
        assert_eq!(queue.receive(|_, f| f[0]), Some(2));
        assert_eq!(queue.receive(|_, f| f[0]), Some(3));
        assert_eq!(queue.receive(|_, f| f[0]), None);
        assert!(!queue.send(label, &[0; 101][..]), "longer than any that is handed over");
        assert!(queue.send(label, &[0; 100][..]));
    }

    #[test]
    fn a_vif_that_fills_its_share_leaves_room_for_the_others() {
        let queue = Handoff::new(64, 100, 3);
        let send =
            |vif: u8| queue.send(Label::to_port(PortId(0), VifId(vif.into())), &[vif; 60][..]);
        assert_eq!((0..100).filter(|_| send(0)).count(), 32);
        assert_eq!((0..100).filter(|_| send(1)).count(), 16);
        assert!(send(2) && !send(0));
        // What is taken out is room for all, and no longer counts as its VIF's.
        for _ in 0..32 {
            assert_eq!(queue.receive(|_, frame| frame[0]), Some(0));
        }
        assert_eq!(
            (0..100).filter(|_| send(0)).count(),
            24,
            "half of the 47 that are free, and one"
        );
        assert!(!send(3), "no such VIF");
    }
}
