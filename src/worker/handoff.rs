//! Frames between a worker and the slow path: bounded queues of buffers that were allocated once, so
//! that neither side allocates, frees, locks or waits. What does not fit is the sender's to count. VIFs share
//! a queue's room by [`Pool::Parcels`], so that one VIF's flood leaves room for the others'.

use std::sync::atomic::{AtomicU32, Ordering};

use crossbeam::queue::ArrayQueue;

use crate::shares::Pool;
use crate::tables::{Choice, PortId, PuntReason, VifId};

/// Octets of one parcel's frame at most: the largest frame of a worker's memory.
const MAX_FRAME: usize = 4096;

/// What a parcel carries besides the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// The port it came by, or is to leave by.
    pub port: PortId,
    /// The VIF likewise.
    pub vif: VifId,
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
        Label { port, vif, reason: PuntReason::Local, l3: 0, choice: None }
    }
}

#[derive(Debug)]
struct Parcel {
    label: Label,
    len: usize,
    frame: [u8; MAX_FRAME],
}

/// One direction between two threads.
#[derive(Debug)]
pub struct Handoff {
    empty: ArrayQueue<Box<Parcel>>,
    full: ArrayQueue<Box<Parcel>>,
    /// How many of those in `full` are of each VIF. The sender adds, the receiver subtracts.
    held: Box<[AtomicU32]>,
}

impl Handoff {
    /// Room for `parcels` frames of `vifs` VIFs.
    pub fn new(parcels: usize, vifs: usize) -> Handoff {
        let empty = ArrayQueue::new(parcels);
        for _ in 0..parcels {
            let label = Label::to_port(PortId(0), VifId(0));
            let parcel = Box::new(Parcel { label, len: 0, frame: [0; MAX_FRAME] });
            // The queue has room for exactly these.
            drop(empty.push(parcel));
        }
        let held = std::iter::repeat_with(AtomicU32::default).take(vifs).collect();
        Handoff { empty, full: ArrayQueue::new(parcels), held }
    }

    /// Copies a frame in. False where there is no room for it, or none for its VIF.
    #[must_use]
    pub fn send(&self, label: Label, frame: &[u8]) -> bool {
        if frame.len() > MAX_FRAME {
            return false;
        }
        let Some(held) = self.held.get(label.vif.index()) else { return false };
        // Relaxed: an answer that is a frame late either way is as good.
        let own = held.load(Ordering::Relaxed);
        if !Pool::Parcels.may_take(own as usize, self.empty.len()) {
            return false;
        }
        let Some(mut parcel) = self.empty.pop() else { return false };
        parcel.label = label;
        parcel.len = frame.len();
        parcel.frame[..frame.len()].copy_from_slice(frame);
        held.fetch_add(1, Ordering::Relaxed);
        // As many parcels exist as there is room for.
        self.full.push(parcel).is_ok()
    }

    /// Shows the oldest frame to `take`. `None` where there is none.
    pub fn receive<T>(&self, take: impl FnOnce(Label, &[u8]) -> T) -> Option<T> {
        let parcel = self.full.pop()?;
        if let Some(held) = self.held.get(parcel.label.vif.index()) {
            held.fetch_sub(1, Ordering::Relaxed);
        }
        let taken = take(parcel.label, &parcel.frame[..parcel.len]);
        // As many parcels exist as there is room for.
        drop(self.empty.push(parcel));
        Some(taken)
    }

    /// Whether nothing waits.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.full.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::AdjacencyId;

    #[test]
    fn frames_arrive_in_order_and_a_full_queue_refuses() {
        let queue = Handoff::new(4, 3);
        let choice = Some(Choice { generation: 7, adjacency: AdjacencyId(3) });
        let reason = PuntReason::TooBig;
        let label = Label { port: PortId(1), vif: VifId(2), reason, l3: 18, choice };
        assert!(queue.send(label, &[1; 60]) && queue.send(label, &[2; 60]));
        assert!(!queue.send(label, &[3; 60]));
        assert_eq!(queue.receive(|l, f| (l, f.to_vec())), Some((label, vec![1; 60])));
        assert!(queue.send(label, &[3; 60]));
        assert_eq!(queue.receive(|_, f| f[0]), Some(2));
        assert_eq!(queue.receive(|_, f| f[0]), Some(3));
        assert_eq!(queue.receive(|_, f| f[0]), None);
        assert!(!queue.send(label, &[0; MAX_FRAME + 1]));
    }

    #[test]
    fn a_vif_that_fills_its_share_leaves_room_for_the_others() {
        let queue = Handoff::new(64, 3);
        let send = |vif: u8| queue.send(Label::to_port(PortId(0), VifId(vif.into())), &[vif; 60]);
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
