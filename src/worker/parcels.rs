//! Frames from one thread to another: a bounded queue of buffers that were allocated once, so that neither side
//! allocates, frees, locks or waits.

use crossbeam::queue::ArrayQueue;

/// Octets of one parcel's frame at most: the largest frame of a worker's memory.
pub(super) const MAX_FRAME: usize = 4096;

/// A frame and what it carries besides.
#[derive(Debug)]
struct Parcel<L> {
    label: L,
    len: usize,
    frame: [u8; MAX_FRAME],
}

/// One direction between two threads.
#[derive(Debug)]
pub(super) struct Parcels<L> {
    empty: ArrayQueue<Box<Parcel<L>>>,
    full: ArrayQueue<Box<Parcel<L>>>,
}

impl<L: Copy + Default> Parcels<L> {
    /// Room for `parcels` frames.
    pub fn new(parcels: usize) -> Parcels<L> {
        let empty = ArrayQueue::new(parcels);
        for _ in 0..parcels {
            let label = L::default();
            let parcel = Box::new(Parcel { label, len: 0, frame: [0; MAX_FRAME] });
            // The queue has room for exactly these.
            drop(empty.push(parcel));
        }
        Parcels { empty, full: ArrayQueue::new(parcels) }
    }

    /// For how many frames there is room.
    pub fn room(&self) -> usize {
        self.empty.len()
    }

    /// Copies a frame in. False where there is no room for it.
    #[must_use]
    pub fn send(&self, label: L, frame: &[u8]) -> bool {
        if frame.len() > MAX_FRAME {
            return false;
        }
        let Some(mut parcel) = self.empty.pop() else { return false };
        parcel.label = label;
        parcel.len = frame.len();
        parcel.frame[..frame.len()].copy_from_slice(frame);
        // As many parcels exist as there is room for.
        self.full.push(parcel).is_ok()
    }

    /// Shows the oldest frame to `take`. `None` where there is none.
    pub fn receive<T>(&self, take: impl FnOnce(L, &[u8]) -> T) -> Option<T> {
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
