//! Frames between a worker and the slow path: bounded queues of buffers that were allocated once, so
//! that neither side allocates, frees, locks or waits. What does not fit is the sender's to count.

use crossbeam::queue::ArrayQueue;

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
}

impl Handoff {
    /// Room for `parcels` frames.
    pub fn new(parcels: usize) -> Handoff {
        let empty = ArrayQueue::new(parcels);
        for _ in 0..parcels {
            let label = Label::to_port(PortId(0), VifId(0));
            let parcel = Box::new(Parcel { label, len: 0, frame: [0; MAX_FRAME] });
            // The queue has room for exactly these.
            drop(empty.push(parcel));
        }
        Handoff { empty, full: ArrayQueue::new(parcels) }
    }

    /// Copies a frame in. False where there is no room for it.
    #[must_use]
    pub fn send(&self, label: Label, frame: &[u8]) -> bool {
        if frame.len() > MAX_FRAME {
            return false;
        }
        let Some(mut parcel) = self.empty.pop() else { return false };
        parcel.label = label;
        parcel.len = frame.len();
        parcel.frame[..frame.len()].copy_from_slice(frame);
        self.full.push(parcel).is_ok()
    }

    /// Shows the oldest frame to `take`. `None` where there is none.
    pub fn receive<T>(&self, take: impl FnOnce(Label, &[u8]) -> T) -> Option<T> {
        let parcel = self.full.pop()?;
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
        let queue = Handoff::new(2);
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
}
