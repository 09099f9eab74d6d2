//! Frames from one thread to another: a bounded queue of buffers that were allocated once, so that neither side
//! allocates, frees, locks or waits.

use crossbeam::queue::ArrayQueue;

use crate::port::Octets;

/// A frame and what it carries besides.
#[derive(Debug)]
struct Parcel<L> {
    label: L,
    len: usize,
    frame: Box<[u8]>,
}

/// One direction between two threads.
#[derive(Debug)]
pub(super) struct Parcels<L> {
    empty: ArrayQueue<Parcel<L>>,
    full: ArrayQueue<Parcel<L>>,
    longest: usize,
}

impl<L: Copy + Default> Parcels<L> {
    /// Room for `parcels` frames of at most `longest` octets.
    pub fn new(parcels: usize, longest: usize) -> Parcels<L> {
        let empty = ArrayQueue::new(parcels);
        for _ in 0..parcels {
            let label = L::default();
            let parcel = Parcel { label, len: 0, frame: vec![0; longest].into_boxed_slice() };
            // The queue has room for exactly these.
            drop(empty.push(parcel));
        }
        Parcels { empty, full: ArrayQueue::new(parcels), longest }
    }

    /// For how many frames there is room.
    pub fn room(&self) -> usize {
        self.empty.len()
    }

    /// Copies a frame in. False where there is no room for it.
    #[must_use]
    pub fn send(&self, label: L, frame: impl Octets) -> bool {
        frame.start().len <= self.longest && self.send_start(label, frame)
    }

    /// Copies a frame in, of a longer one as many octets as a parcel takes. False where there is no room.
    #[must_use]
    pub fn send_start(&self, label: L, frame: impl Octets) -> bool {
        let Some(mut parcel) = self.empty.pop() else { return false };
        parcel.label = label;
        parcel.len = frame.copy_to(&mut parcel.frame);
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
