//! What waits for one port: a queue for each class of each VIF, and which of them is next.
//!
//! VIFs take turns by octets (deficit round robin, Shreedhar and Varghese 1995), each an equal part. Of a VIF's classes
//! strict ones come first, the lowest before the others; those with a weight take turns by octets, each its share. What
//! waits is bounded, and so is each queue: it grows as long as it holds less than there is room left (dynamic thresholds,
//! Choudhury and Hahne 1998), so that one that is full leaves room for others, however many there are.

use crate::tables::VifId;
use crate::tables::qos::{CLASSES, QUANTUM, Shape};

/// A strict class's queue may hold so many times the room that is left: nobody's frames overtake its own for long.
const STRICT_SHARE: usize = 4;
/// No place.
const NONE: u32 = u32::MAX;

/// One place for what waits.
#[derive(Debug)]
struct Place<T> {
    item: Option<T>,
    size: Size,
    /// The next of the same queue, or of the free places.
    next: u32,
}

/// How much of a port and of memory something takes.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Octets on the wire.
    pub octets: u32,
    /// Frames of the worker's memory: more than one for what is longer than a frame.
    pub frames: usize,
}

/// First and last place of a queue, and how many frames it holds.
#[derive(Clone, Copy, Debug)]
struct Queue {
    first: u32,
    last: u32,
    len: usize,
}

impl Queue {
    const EMPTY: Queue = Queue { first: NONE, last: NONE, len: 0 };
}

/// A VIF of which something waits.
#[derive(Clone, Copy, Debug)]
struct Active {
    vif: VifId,
    /// Whose the id was when the first of it began to wait.
    key: u64,
    /// Neighbors in the round of VIFs.
    next: u16,
    previous: u16,
    /// Octets that it may send in its turn.
    deficit: u32,
    /// Classes of which something waits, a bit each.
    waiting: u8,
    /// The class with a weight whose turn it is.
    turn: usize,
    deficits: [u32; CLASSES],
    queues: [Queue; CLASSES],
}

impl Active {
    const NONE: Active = Active {
        vif: VifId(0),
        key: 0,
        next: 0,
        previous: 0,
        deficit: 0,
        waiting: 0,
        turn: 0,
        deficits: [0; CLASSES],
        queues: [Queue::EMPTY; CLASSES],
    };
}

/// No slot.
const NO_SLOT: u16 = u16::MAX;

/// What waits for one port, in the order in which it leaves.
#[derive(Debug)]
pub struct Backlog<T> {
    places: Box<[Place<T>]>,
    free: u32,
    len: usize,
    /// By VIF, its place in `actives`.
    slots: Box<[u16]>,
    actives: Box<[Active]>,
    free_slots: Vec<u16>,
    /// The VIF whose turn it is.
    turn: u16,
}

impl<T> Backlog<T> {
    /// Room for so many frames of VIFs with numbers below `vifs`. All memory is taken here.
    #[expect(clippy::cast_possible_truncation, reason = "65,534 at most")]
    pub fn new(frames: usize, vifs: usize) -> Backlog<T> {
        let frames = frames.clamp(1, usize::from(NO_SLOT) - 1);
        let next = |at: usize| if at + 1 == frames { NONE } else { at as u32 + 1 };
        let places = (0..frames).map(|at| Place {
            item: None,
            size: Size { octets: 0, frames: 0 },
            next: next(at),
        });
        // No more VIFs wait than frames do.
        let slots = frames.min(vifs);
        Backlog {
            places: places.collect(),
            free: 0,
            len: 0,
            slots: vec![NO_SLOT; vifs].into(),
            actives: vec![Active::NONE; slots].into(),
            free_slots: (0..slots as u16).rev().collect(),
            turn: 0,
        }
    }

    /// Frames that wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts something of a VIF and class at the end of its queue; gives how many frames wait there, or the frame back where the queue
    /// is full. `key` says whose the id is.
    ///
    /// # Errors
    /// The item, where there is no room for it.
    pub fn push(
        &mut self,
        (vif, class, key): (VifId, usize, u64),
        size: Size,
        item: T,
        shape: &Shape,
    ) -> Result<usize, T> {
        let class = class % CLASSES;
        let Some(slot) = self.slots.get_mut(vif.index()) else { return Err(item) };
        let known = self.actives.get(usize::from(*slot));
        let waits = known.map_or(0, |active| active.queues[class].len);
        let room = self.places.len() - self.len;
        let share = if shape.strict >> class & 1 == 1 { STRICT_SHARE } else { 1 };
        if room < size.frames || waits >= room * share {
            return Err(item);
        }
        if known.is_none() {
            let Some(new) = self.free_slots.pop() else { return Err(item) };
            *slot = new;
            self.actives[usize::from(new)] = Active { vif, key, ..Active::NONE };
            self.join(new);
        }
        let slot = usize::from(self.slots[vif.index()]);
        let at = self.free;
        let place = &mut self.places[at as usize];
        self.free = place.next;
        *place = Place { item: Some(item), size, next: NONE };
        let active = &mut self.actives[slot];
        let queue = &mut active.queues[class];
        if queue.last == NONE {
            queue.first = at;
        } else {
            self.places[queue.last as usize].next = at;
        }
        (queue.last, queue.len) = (at, queue.len + size.frames);
        active.waiting |= 1 << class;
        self.len += size.frames;
        Ok(queue.len)
    }

    /// Offers the next frame to `take`, which may give it back: then it stays the next. False where nothing waits or it was
    /// given back.
    pub fn pop<'s>(
        &mut self,
        shape: impl Fn(VifId) -> &'s Shape,
        take: impl FnOnce(VifId, usize, T) -> Result<(), T>,
    ) -> bool {
        if self.len == 0 {
            return false;
        }
        let (slot, class) = loop {
            let slot = usize::from(self.turn);
            let active = &mut self.actives[slot];
            let class = next_class(active, &self.places, shape(active.vif));
            let octets = self.places[active.queues[class].first as usize].size.octets;
            if active.deficit >= octets {
                break (slot, class);
            }
            active.deficit += QUANTUM;
            self.turn = active.next;
        };
        let active = &mut self.actives[slot];
        let at = active.queues[class].first;
        let place = &mut self.places[at as usize];
        let octets = place.size.octets;
        let Some(item) = place.item.take() else { return false };
        if let Err(item) = take(active.vif, class, item) {
            place.item = Some(item);
            return false;
        }
        active.deficit -= octets;
        // A strict class has no deficit.
        active.deficits[class] = active.deficits[class].saturating_sub(octets);
        self.unlink(slot, class);
        true
    }

    /// Takes all that waits of the VIFs that `which` names, by their ids and keys, in no order.
    pub fn take(
        &mut self,
        which: impl Fn(VifId, u64) -> bool,
        mut gone: impl FnMut(VifId, usize, T),
    ) {
        for at in 0..self.slots.len() {
            let Some(active) = self.actives.get(usize::from(self.slots[at])) else { continue };
            if !which(active.vif, active.key) {
                continue;
            }
            let slot = usize::from(self.slots[at]);
            for class in 0..CLASSES {
                while self.actives[slot].waiting >> class & 1 == 1 {
                    let Active { vif, queues, .. } = self.actives[slot];
                    let item = self.places[queues[class].first as usize].item.take();
                    self.unlink(slot, class);
                    item.into_iter().for_each(|item| gone(vif, class, item));
                }
            }
        }
    }

    /// Takes the first place of a queue, which is empty by now, out of it.
    fn unlink(&mut self, slot: usize, class: usize) {
        let active = &mut self.actives[slot];
        let queue = &mut active.queues[class];
        let at = queue.first;
        let place = &mut self.places[at as usize];
        (queue.first, place.next, self.free) = (place.next, self.free, at);
        let Size { frames, .. } = place.size;
        (queue.len, self.len) = (queue.len - frames, self.len - frames);
        if queue.first == NONE {
            *queue = Queue::EMPTY;
            active.waiting &= !(1 << class);
            active.deficits[class] = 0;
        }
        if active.waiting == 0 {
            self.leave(slot);
        }
    }

    /// Puts a VIF at the end of the round.
    fn join(&mut self, new: u16) {
        if self.len == 0 {
            (self.turn, self.actives[usize::from(new)].next) = (new, new);
            self.actives[usize::from(new)].previous = new;
            return;
        }
        let next = self.turn;
        let previous = std::mem::replace(&mut self.actives[usize::from(next)].previous, new);
        self.actives[usize::from(previous)].next = new;
        let new = &mut self.actives[usize::from(new)];
        (new.next, new.previous) = (next, previous);
    }

    /// Takes a VIF of which nothing waits any more out of the round.
    #[expect(clippy::cast_possible_truncation, reason = "there are 65,534 slots at most")]
    fn leave(&mut self, slot: usize) {
        let Active { vif, next, previous, .. } = self.actives[slot];
        self.actives[usize::from(previous)].next = next;
        self.actives[usize::from(next)].previous = previous;
        if usize::from(self.turn) == slot {
            self.turn = next;
        }
        self.slots[vif.index()] = NO_SLOT;
        self.free_slots.push(slot as u16);
    }
}

/// The class of a VIF that is next; something of it waits.
#[expect(clippy::cast_possible_truncation, reason = "less than eight")]
fn next_class<T>(active: &mut Active, places: &[Place<T>], shape: &Shape) -> usize {
    let strict = active.waiting & shape.strict;
    if strict != 0 {
        return strict.trailing_zeros() as usize;
    }
    loop {
        let class = active.turn;
        if active.waiting >> class & 1 == 1 {
            let octets = places[active.queues[class].first as usize].size.octets;
            if active.deficits[class] >= octets {
                return class;
            }
        }
        // The next one of which something waits, which may be the same.
        let behind = active.waiting.rotate_right(class as u32 + 1);
        active.turn = (class + 1 + behind.trailing_zeros() as usize) % CLASSES;
        active.deficits[active.turn] += shape.quanta[active.turn];
    }
}

#[cfg(test)]
mod tests;
