//! How messages get to where they go.

use std::io;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// What carries messages.
pub(super) trait Carrier: Send {
    /// Begins a session.
    fn open(&mut self) -> io::Result<()>;
    /// Sends a message whole. `stop`: give up soon.
    fn send(&mut self, message: &[u8], flows: u32, stop: &AtomicBool) -> io::Result<()>;
    /// Whether all that was sent has arrived, as far as that can be known.
    fn is_done(&mut self) -> bool {
        true
    }
    /// Ends the session.
    fn close(&mut self);
    /// Flows that were sent and are known by now not to have arrived.
    fn take_lost(&mut self) -> u64 {
        0
    }
    /// Whether the session is to end and another to begin.
    fn is_over(&self) -> bool {
        false
    }
    /// Whether the other end is still there, where that can be known without sending anything.
    fn look(&mut self) -> io::Result<()> {
        Ok(())
    }
    /// How often templates and names are sent again.
    fn repeat(&self) -> Option<Duration> {
        None
    }
    /// Whether a failure costs what was being sent, and the session goes on; otherwise it is sent in the next session.
    fn is_lossy(&self) -> bool {
        false
    }
}
