//! Copies of what is mirrored leave behind what they are copies of.

use super::Worker;
use crate::port::Port;
use crate::tables::mirrors::Missed;

impl<P: Port> Worker<P> {
    /// Copies what the burst put on rings, and sends all copies that wait.
    #[cold]
    #[inline(never)]
    pub(super) fn copy_what_left(&mut self, now: u64) {
        let Worker { pool, burst, copies, tables, fib, .. } = self;
        copies.left(burst, (tables.snapshot(), fib), pool, now);
        self.send_copies();
    }

    /// Sends the copies that wait, as far as rings have room that nobody else's frames need.
    #[cold]
    #[inline(never)]
    pub(super) fn send_copies(&mut self) {
        let Worker { pool, ports, copies, queues, .. } = self;
        copies.send(|frame, port| {
            let octets = frame.len() as u64;
            let id = port;
            let port = ports.get_mut(id.index()).and_then(Option::as_mut);
            let sent = match port {
                None => Err((frame, Missed::NoWay)),
                Some(port) => match port.is_half_free() && queues.is_quiet(id, port) {
                    true => port.tx(pool, frame).map_err(|frame| (frame, Missed::Ring)),
                    false => Err((frame, Missed::Ring)),
                },
            };
            sent.map(|()| octets).map_err(|(frame, missed)| {
                pool.give(frame);
                missed
            })
        });
    }
}
