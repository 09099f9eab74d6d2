//! Which interfaces the kernel has something to say about, and no more: the cheapest answer to "look
//! again". Storms of changes of other interfaces cost a few nanoseconds each.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use netlink_sys::Socket;

use super::{Frame, frames, link, u32_at, wait};

/// Hears of changes to the interfaces of the network namespace that it was made in: carriers, addresses,
/// features, queues, what is attached.
pub struct LinkHints(Socket);

impl LinkHints {
    /// Starts to listen.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new() -> io::Result<LinkHints> {
        link::subscribe().map(LinkHints)
    }

    /// Waits, at most until `deadline`, for news of interfaces that `wanted` is true for. Returns their
    /// indices: none at the deadline, `None` where news were lost, which may have been of any.
    ///
    /// # Errors
    /// The kernel's.
    pub fn next(
        &mut self,
        deadline: Instant,
        wanted: impl Fn(u32) -> bool,
    ) -> io::Result<Option<BTreeSet<u32>>> {
        let mut heard = BTreeSet::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let patience = if heard.is_empty() { left } else { Duration::ZERO };
            if !wait(&[self.0.as_raw_fd()], patience)? {
                if !heard.is_empty() || left.is_zero() {
                    return Ok(Some(heard));
                }
                continue;
            }
            let datagram = match self.0.recv_from_full() {
                Ok((datagram, _)) => datagram,
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => return Ok(None),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => continue,
                Err(e) => return Err(e),
            };
            // The index in `struct ifinfomsg`.
            let indices = frames(&datagram).filter_map(|(frame, _)| match frame {
                Frame::Payload(_, payload) => u32_at(payload, 4),
                Frame::Done | Frame::Error(_) => None,
            });
            heard.extend(indices.filter(|&index| wanted(index)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hears_nothing_until_the_deadline() {
        let mut hints = LinkHints::new().unwrap();
        let deadline = Instant::now() + Duration::from_millis(20);
        assert_eq!(hints.next(deadline, |_| false).unwrap(), Some(BTreeSet::new()));
        assert!(Instant::now() >= deadline);
    }
}
