//! Ports as queues of frames: the one interface between the packet path and a NIC, a file or a test.
//! This layer sees only frames; it knows nothing of VIFs, routes or verdicts.

pub mod af_xdp;
mod area;
pub mod chain;
mod frame;
pub mod memory;
mod pool;
pub mod stamp;

pub use area::{AROUND, Area, Around, Editor, Extent, FRONT, ROOM};
pub use chain::{Octets, Packet};
pub use frame::{Frame, FrameSize, Frames, LARGEST_MTU, LONGEST};
pub use pool::{Pool, Returned};

/// Most frames that move together.
pub const BURST: usize = 64;

/// One queue of one port: what a worker receives from and transmits to. Frames come from and return
/// to the worker's [`Pool`]: between calls each of its frames is in the pool, in a burst, or in a port.
/// It is always the same pool: a port whose memory the kernel knows moves nothing of another one's.
pub trait Port {
    /// Moves up to [`BURST`] received frames to the end of `out` (which has room for them) and gives
    /// the port fresh frames to receive into.
    fn rx(&mut self, pool: &mut Pool, out: &mut Vec<Frame>);

    /// Puts a frame on the transmit ring; gives it back where the ring is full or the link is gone.
    /// Nothing needs to have left before [`Port::flush`].
    fn tx(&mut self, pool: &mut Pool, frame: Frame) -> Result<(), Frame>;

    /// Whether half of the transmit ring is free: what can be done without takes no more than the other half.
    fn is_half_free(&mut self) -> bool;

    /// Frames that [`Port::tx`] took and that have not come back: on the ring, or with the NIC.
    fn sending(&self) -> usize;

    /// Frames that the transmit ring has room for.
    fn ring(&self) -> usize;

    /// Sends what [`Port::tx`] queued and returns the frames that have left to the pool.
    fn flush(&mut self, pool: &mut Pool);

    /// Frames that this port holds now (to receive into, received, or to be sent), each of a chain's: for the
    /// accounting that nothing is lost.
    fn held(&self) -> usize;
}
