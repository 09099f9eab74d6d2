//! Packets in several frames ("multi-buffer", kernel Documentation/networking/af_xdp.rst): their descriptors stand side by
//! side on a ring, and all but the last say that the packet goes on.

use super::XskPort;
use crate::port::chain::{FIRST, MOST, Piece};
use crate::port::{Frame, Pool};

/// The descriptors of a packet of which the last has not been received yet. Their frames are still the socket's.
#[derive(Debug)]
pub(super) struct Unfinished {
    descriptors: Vec<libc::xdp_desc>,
    /// There were more than a packet has: it is not taken.
    too_many: bool,
}

impl Default for Unfinished {
    fn default() -> Self {
        Unfinished { descriptors: Vec::with_capacity(MOST), too_many: false }
    }
}

impl Unfinished {
    /// Whether the next descriptor goes on with a packet.
    #[inline(always)]
    pub(super) fn is_begun(&self) -> bool {
        !self.descriptors.is_empty()
    }
}

impl XskPort {
    /// Takes a piece of a packet; with the last one, gives the packet. What the kernel may not have meant is refused whole.
    #[cold]
    #[inline(never)]
    pub(super) fn receive_piece(
        &mut self,
        pool: &mut Pool,
        descriptor: libc::xdp_desc,
    ) -> Option<Frame> {
        let goes_on = descriptor.options & libc::XDP_PKT_CONTD != 0;
        if self.unfinished.descriptors.len() < MOST {
            self.unfinished.descriptors.push(descriptor);
        } else {
            self.unfinished.too_many = true;
            if self.held.remove(descriptor.addr) {
                pool.give_addr(descriptor.addr);
            }
        }
        if goes_on {
            return None;
        }
        let mut is_sound = !std::mem::take(&mut self.unfinished.too_many);
        let (mut pieces, mut count) = ([(0, 0); MOST], 0);
        for libc::xdp_desc { addr, len, .. } in self.unfinished.descriptors.drain(..) {
            if !self.held.remove(addr) {
                (is_sound, self.refused) = (false, self.refused + 1);
                continue;
            }
            is_sound &= len > 0 && self.frame_size.has_room(addr, len);
            // Frames are in an area of 4 GiB at most.
            pieces[count] = (u32::try_from(addr).unwrap_or(0), len);
            count += 1;
        }
        let pieces = &pieces[..count];
        is_sound &= pieces.first().is_some_and(|(_, len)| *len >= FIRST);
        if is_sound {
            return pool.join(pieces);
        }
        self.refused += 1;
        pieces.iter().for_each(|(at, _)| pool.give_addr((*at).into()));
        None
    }

    /// Puts the packet of a chain on the transmit ring, all of it or nothing.
    #[cold]
    #[inline(never)]
    pub(super) fn send_chain(&mut self, pool: &mut Pool, chain: Frame) -> Result<(), Frame> {
        if !self.chains {
            // No longer than one frame's, by the interface's MTU.
            return self.send(pool.in_one(chain)?);
        }
        let count = pool.pieces_of(&chain).count();
        let Ok(room) = u32::try_from(count) else { return Err(chain) };
        if self.gone || chain.is_empty() || count > MOST || self.socket.tx.free(room) < room {
            return Err(chain);
        }
        let mut left = count;
        let XskPort { held, socket, sending, .. } = self;
        pool.split(&chain, |(at, len): Piece| {
            left -= 1;
            let (addr, options) = (at.into(), if left > 0 { libc::XDP_PKT_CONTD } else { 0 });
            // There is room, and the frames are nobody's, by their owner.
            let is_new = held.insert(addr) && socket.tx.push(libc::xdp_desc { addr, len, options });
            debug_assert!(is_new, "a frame of a chain was held");
            *sending += u32::from(is_new);
        });
        Ok(())
    }
}

/// Whether the kernel knows packets in several frames: since Linux 6.6.
pub(super) fn knows_chains() -> bool {
    let release = rustix::system::uname();
    let release = release.release().to_string_lossy();
    let mut numbers = release.split(['.', '-']).map(|number| number.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    version >= (6, 6)
}
