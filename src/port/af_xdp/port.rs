//! One queue of a NIC as a [`Port`]: moves frames between the pool and a socket's rings.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::super::area::AreaId;
use super::super::{BURST, Extent, Frame, FrameSize, Pool, Port, Returned};
use super::attachment::Attached;
use super::backoff::Backoff;
use super::error::{XdpError, XskError};
use super::held::Held;
use super::nic::longest_mtu;
use super::program::XdpProgram;
use super::socket::{Socket, Step, StepError, XskStatistics};
use chains::{Unfinished, knows_chains};

mod chains;

/// Most system calls that one flush makes to drain the transmit ring: in copy mode a call may send
/// as few as 32 frames.
const KICKS: u32 = 8;
/// Frames that a busy-polling call takes from the NIC at most: a burst.
const BUSY_POLL_BUDGET: u32 = 64;
/// How long `close` waits for frames that the NIC is still sending.
const DRAIN: Duration = Duration::from_millis(100);

/// Whether the NIC shall write straight into the worker's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ZeroCopy {
    /// Where the driver can, else by copy.
    #[default]
    Auto,
    /// Zero-copy, or not at all.
    Require,
    /// By copy.
    Off,
}

/// How to open a socket.
#[derive(Clone, Copy, Debug)]
pub struct SocketOptions {
    /// Entries of each of its four rings: a power of two, at least 64.
    pub ring: u32,
    /// Zero-copy or not.
    pub zero_copy: ZeroCopy,
    /// Busy-poll time in microseconds; 0 is off.
    pub busy_poll_us: u32,
    /// Packets may be longer than a frame has room for: they come and go in several.
    pub chains: bool,
}

/// One queue of a NIC.
pub struct XskPort {
    socket: Socket,
    held: Held,
    interface: u32,
    queue: u32,
    /// The area that the kernel knows as this socket's UMEM: its descriptors are of no other.
    area: AreaId,
    frame_size: FrameSize,
    /// Frames given to the kernel to send and not returned yet.
    sending: u32,
    zero_copy: bool,
    busy_poll: bool,
    /// The kernel takes and gives packets in several frames.
    chains: bool,
    /// The chain of which not all has been received yet.
    unfinished: Unfinished,
    /// Nothing will move any more: the interface is gone, or the port was given another area's pool.
    gone: bool,
    /// Descriptors from the kernel that named a frame which is not this socket's, and pools of other areas.
    refused: u64,
    /// System calls made to wake the kernel.
    calls: u64,
    rx_backoff: Backoff,
    tx_backoff: Backoff,
}

impl XskPort {
    /// Opens a socket on a queue. It receives once it is [started](XskPort::start). All that takes its time is done here,
    /// by any thread: the kernel pins the area's memory, and a driver may set its queues up anew.
    ///
    /// The area is registered with the socket; for each socket that shares a pool, plan on
    /// [`frames_for_ring`] frames.
    ///
    /// # Errors
    /// [`XskError`].
    pub fn open(
        program: &XdpProgram,
        area: Extent,
        queue: u32,
        options: SocketOptions,
    ) -> Result<XskPort, XskError> {
        let SocketOptions { ring, zero_copy, busy_poll_us, chains } = options;
        if !ring.is_power_of_two() || !(64..=32_768).contains(&ring) {
            return Err(XskError::Ring(ring));
        }
        let interface = program.interface();
        let system = |step, advice| {
            let interface = interface.to_owned();
            move |source| XskError::System { interface, queue, step, advice, source }
        };
        let socket = Socket::new(area, ring).map_err(|StepError(step, source)| {
            let (step, advice) = match step {
                Step::Socket => {
                    ("make an AF_XDP socket", "; it needs CAP_NET_RAW and a kernel with XDP_SOCKETS")
                }
                Step::Umem => (
                    "register the worker's memory",
                    "; it needs CAP_IPC_LOCK, or a larger RLIMIT_MEMLOCK (LimitMEMLOCK= in systemd)",
                ),
                Step::Rings => ("make its rings", ""),
                Step::Map => ("map its rings", ""),
            };
            system(step, advice)(source)
        })?;
        if busy_poll_us > 0 {
            socket
                .set_busy_poll(busy_poll_us, BUSY_POLL_BUDGET)
                .map_err(system("set busy polling", "; set busy_poll_us = 0"))?;
        }
        let refused = |reason: &str| XskError::NoZeroCopy {
            interface: interface.to_owned(),
            queue,
            reason: reason.to_owned(),
        };
        // A generic program never sees the frames of a driver's zero-copy queue.
        let mode = match (program.mode(), zero_copy) {
            (Attached::Generic, ZeroCopy::Require) => {
                return Err(refused("the XDP program is attached in generic mode"));
            }
            (Attached::Generic, _) | (_, ZeroCopy::Off) => libc::XDP_COPY,
            (Attached::Native, ZeroCopy::Require) => libc::XDP_ZEROCOPY,
            (Attached::Native, ZeroCopy::Auto) => 0,
        };
        let several = if chains { libc::XDP_USE_SG } else { 0 };
        socket.bind(program.ifindex(), queue, mode | several).map_err(|error| {
            match (error.raw_os_error(), zero_copy) {
                (Some(libc::EBUSY), _) => XskError::Busy { interface: interface.to_owned(), queue },
                (Some(libc::EOPNOTSUPP), ZeroCopy::Require) if chains => {
                    refused("the driver has none for packets in several buffers, as its MTU needs")
                }
                (Some(libc::EOPNOTSUPP), ZeroCopy::Require) => refused("the driver has none"),
                // Unknown flags are refused before the queue is looked at.
                (Some(libc::EINVAL), _) if chains && !knows_chains() => {
                    let most = longest_mtu(area.frame_size);
                    XskError::NoChains { interface: interface.to_owned(), most }
                }
                (Some(libc::EINVAL), ZeroCopy::Auto | ZeroCopy::Off) => {
                    XskError::NoQueue { interface: interface.to_owned(), queue }
                }
                _ => system("bind", "; is the interface up?")(error),
            }
        })?;
        let zero_copy = socket.zero_copy().map_err(system("read its mode", ""))?;
        // Older kernels do not know it; then the kicks in `flush` do its work.
        let _ = socket.set_transmit_budget(ring);
        let Extent { id, len, frame_size, .. } = area;
        Ok(XskPort {
            socket,
            held: Held::new(len / frame_size.octets(), frame_size.octets()),
            interface: program.ifindex(),
            queue,
            area: id,
            frame_size,
            sending: 0,
            zero_copy,
            busy_poll: busy_poll_us > 0,
            chains,
            unfinished: Unfinished::default(),
            gone: false,
            refused: 0,
            calls: 0,
            rx_backoff: Backoff::default(),
            tx_backoff: Backoff::default(),
        })
    }

    /// Gives the socket frames to receive into, and lets the XDP program send it the queue's frames. The pool is that
    /// of the area that it was opened with.
    ///
    /// # Errors
    /// The kernel's.
    pub fn start(&mut self, program: &XdpProgram, pool: &mut Pool) -> Result<(), XdpError> {
        self.refill(pool);
        program.register(self.queue, self.socket.as_fd())
    }

    /// Whether the kernel granted zero-copy.
    pub fn zero_copy(&self) -> bool {
        self.zero_copy
    }

    /// The queue of the NIC.
    pub fn queue(&self) -> u32 {
        self.queue
    }

    /// Nothing moves any more, since the interface is gone: close this and open another when it is back.
    pub fn is_gone(&self) -> bool {
        self.gone
    }

    /// Descriptors from the kernel that named a frame which was not this socket's, or that did not
    /// lie within one: not used. Anything but 0 is a kernel or driver bug; or a bug of the station's own, if
    /// it gave the port a pool of another area, after which the port is [gone](XskPort::is_gone).
    pub fn refused_descriptors(&self) -> u64 {
        self.refused
    }

    /// System calls made to send and receive so far: not more than one for each 32 frames at load.
    pub fn system_calls(&self) -> u64 {
        self.calls
    }

    /// The kernel has frames to send: they move on only when [`Port::flush`] asks it again.
    pub fn is_sending(&self) -> bool {
        self.sending > 0 && !self.gone
    }

    /// The kernel's counters.
    ///
    /// # Errors
    /// The kernel's.
    pub fn statistics(&self) -> io::Result<XskStatistics> {
        self.socket.statistics()
    }

    /// Readable when frames have been received: for poll(2).
    pub fn poll_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Closes the socket and returns all of its frames, also those that the NIC still had. Waits up to a fifth of a
    /// second for it to let go of them, where the interface is still there, and for the kernel, which does not close at
    /// once either: a worker that forwards leaves it to another thread.
    pub fn close(mut self) -> Returned {
        let there = interface_exists(self.interface);
        let mut addrs = Vec::with_capacity(self.held.count());
        if there && !self.gone {
            let deadline = Instant::now() + DRAIN;
            while self.sending > 0 && Instant::now() < deadline {
                let _ = self.socket.wake_tx();
                self.reap(|addr| addrs.push(addr));
                std::thread::sleep(Duration::from_micros(200));
            }
        }
        let XskPort { socket, mut held, zero_copy, area, .. } = self;
        // In copy mode the kernel has stopped writing when close(2) returns. A zero-copy driver is
        // told later (xp_put_pool defers it to a work queue): until then it may still write into
        // frames, which must not carry another tenant's packet yet.
        drop(socket);
        if zero_copy && there {
            std::thread::sleep(DRAIN);
        }
        addrs.extend(held.drain());
        Returned { area, addrs }
    }

    /// Whether this is the pool of the socket's memory. Where not, nothing moves any more, and what was put on
    /// the transmit ring since the last flush is taken off it: it may be of the other area. Whose frames these are
    /// is not known, so no pool gets them.
    #[inline(always)]
    fn knows(&mut self, pool: &Pool) -> bool {
        let knows = pool.area().id() == self.area;
        if !knows {
            self.refuse_pool();
        }
        knows
    }

    #[cold]
    fn refuse_pool(&mut self) {
        self.refused += u64::from(!self.gone);
        self.gone = true;
        while let Some(descriptor) = self.socket.tx.retract() {
            self.sending -= u32::from(self.held.remove(descriptor.addr));
        }
    }

    /// Gives the kernel fresh frames to receive into, as many as the ring and the pool have.
    #[inline]
    fn refill(&mut self, pool: &mut Pool) {
        let room = self.socket.fill.free(u32::MAX);
        for _ in 0..room {
            let Some(addr) = pool.take_addr() else { break };
            if !self.held.insert(addr) || !self.socket.fill.push(addr) {
                // Neither can be: the pool's frames are nobody's, and there is room.
                debug_assert!(false, "frame {addr:#x} was in the pool and held");
                break;
            }
        }
        if self.socket.fill.unpublished() > 0 {
            self.socket.fill.publish();
        }
    }

    /// Gives up the frames that have left.
    #[inline]
    fn reap(&mut self, mut give: impl FnMut(u64)) {
        let mut reaped = 0;
        while let Some(addr) = self.socket.completion.pop() {
            reaped += 1;
            if self.held.remove(addr) {
                self.sending = self.sending.saturating_sub(1);
                give(addr);
            } else {
                self.refused += 1;
            }
        }
        if reaped > 0 {
            self.socket.completion.release();
        }
    }

    /// Wakes the kernel until it has taken what is on the transmit ring, within a bound.
    #[inline]
    fn kick(&mut self) {
        let mut pending = self.socket.tx.pending();
        if pending == 0 || !self.tx_backoff.ready() {
            return;
        }
        let before = pending;
        let mut kicks = 0;
        // With zero-copy the driver may be at work already and ask for no call.
        while pending > 0 && kicks < KICKS && (self.socket.tx.needs_wakeup() || self.busy_poll) {
            kicks += 1;
            self.calls += 1;
            let result = self.socket.wake_tx();
            let left = self.socket.tx.pending();
            let progress = left != pending;
            pending = left;
            match result {
                Ok(()) if progress => {}
                // EAGAIN: the budget of one call is used up. EBUSY: the peer dropped a frame.
                Err(e) if progress && is_transient(&e) => {}
                Ok(()) => break,
                Err(e) => {
                    self.failed(&e);
                    break;
                }
            }
        }
        if kicks == 0 {
            return;
        }
        // No more than a frame for each call is no progress: with the carrier lost each call drops
        // one frame.
        if before.wrapping_sub(pending) > kicks || pending == 0 {
            self.tx_backoff.succeeded();
        } else if !self.gone {
            self.tx_backoff.failed();
        }
    }

    #[cold]
    fn failed(&mut self, error: &io::Error) {
        // Unbound by the kernel (NETDEV_UNREGISTER): this socket is dead.
        if let Some(libc::ENXIO | libc::ENODEV | libc::EBADF) = error.raw_os_error() {
            self.gone = true;
        }
    }

    /// Puts the packet of one frame on the transmit ring.
    #[inline(always)]
    fn send(&mut self, frame: Frame) -> Result<(), Frame> {
        let Ok(len) = u32::try_from(frame.len()) else { return Err(frame) };
        // The kernel refuses empty packets, and may not return them.
        if self.gone || frame.is_empty() || self.socket.tx.free(1) == 0 {
            return Err(frame);
        }
        let addr = u64::from(frame.addr());
        if !self.held.insert(addr) {
            return Err(frame);
        }
        if !self.socket.tx.push(libc::xdp_desc { addr, len, options: 0 }) {
            let _ = self.held.remove(addr);
            return Err(frame);
        }
        self.sending += 1;
        Ok(())
    }

    /// Makes the kernel look at the NIC where it waits for that. Called when nothing was received.
    #[inline]
    fn wake_rx(&mut self) {
        if self.gone
            || !(self.busy_poll || self.socket.fill.needs_wakeup())
            || !self.rx_backoff.ready()
        {
            return;
        }
        self.calls += 1;
        match self.socket.wake_rx() {
            Ok(()) => self.rx_backoff.succeeded(),
            Err(e) if is_transient(&e) => self.rx_backoff.succeeded(),
            Err(e) => {
                self.failed(&e);
                self.rx_backoff.failed();
            }
        }
    }
}

impl Port for XskPort {
    fn rx(&mut self, pool: &mut Pool, out: &mut Vec<Frame>) {
        if !self.knows(pool) {
            return;
        }
        let room = BURST.min(out.capacity() - out.len());
        let mut received = 0;
        while received < room {
            let Some(descriptor) = self.socket.rx.pop() else { break };
            received += 1;
            let libc::xdp_desc { addr, len, options } = descriptor;
            if options & libc::XDP_PKT_CONTD != 0 || self.unfinished.is_begun() {
                out.extend(self.receive_piece(pool, descriptor));
                continue;
            }
            if !self.held.remove(addr) {
                self.refused += 1;
                continue;
            }
            // Only the packet in one frame: what reaches into the next is another's.
            if !self.frame_size.has_room(addr, len) {
                self.refused += 1;
                pool.give_addr(addr);
                continue;
            }
            out.push(Frame::from_descriptor(addr, len));
        }
        if received > 0 {
            self.socket.rx.release();
            // Another core, or the NIC, wrote the packets. Those of the next burst arrive in this core's
            // cache while this burst is worked on; asking for them only then would be waiting.
            for descriptor in self.socket.rx.known().take(BURST) {
                pool.area().prefetch_at(descriptor.addr);
            }
        }
        if !self.gone {
            self.refill(pool);
        }
        if received == 0 {
            self.wake_rx();
        }
    }

    fn tx(&mut self, pool: &mut Pool, frame: Frame) -> Result<(), Frame> {
        if frame.is_chain() {
            return self.send_chain(pool, frame);
        }
        self.send(frame)
    }

    fn is_half_free(&mut self) -> bool {
        let half = self.socket.tx.size() / 2;
        !self.gone && self.socket.tx.free(half) >= half
    }

    fn sending(&self) -> usize {
        self.sending as usize
    }

    fn ring(&self) -> usize {
        self.socket.tx.size() as usize
    }

    fn flush(&mut self, pool: &mut Pool) {
        if !self.knows(pool) {
            return;
        }
        if self.socket.tx.unpublished() > 0 {
            self.socket.tx.publish();
        }
        if self.sending == 0 {
            return;
        }
        if !self.gone {
            self.kick();
        }
        self.reap(|addr| pool.give_addr(addr));
    }

    fn held(&self) -> usize {
        self.held.count()
    }
}

impl std::fmt::Debug for XskPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("XskPort")
            .field("fd", &self.socket.as_fd().as_raw_fd())
            .field("queue", &self.queue)
            .field("held", &self.held.count())
            .field("sending", &self.sending)
            .field("zero_copy", &self.zero_copy)
            .field("gone", &self.gone)
            .finish_non_exhaustive()
    }
}

/// Frames that a socket may hold at once with rings of `ring` entries: to receive into and
/// received, and being sent. A driver's own queues come out of the former.
pub const fn frames_for_ring(ring: u32) -> usize {
    4 * ring as usize
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EBUSY | libc::ENOBUFS | libc::EINTR))
}

fn interface_exists(ifindex: u32) -> bool {
    super::nic::name_of(ifindex).is_some()
}
