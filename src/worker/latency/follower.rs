//! Tells the stamps of the frames that are received from those that earlier frames left in the same memory.
//!
//! The numbers of a queue's frames go on by one, so who knows one of them knows which of the next frames are stamped, and
//! with what: each of these is looked at, and no other. Frames that the kernel lost between the program and the ring have
//! had numbers too; then the stamp that is due is not there, and all frames are looked at until one is found again. A stamp
//! that is later than the beginning of that search is of the frame that it stands in front of: it was left by none before the
//! search, and all frames since then have been looked at.

use crate::port::stamp::{Gaps, Stamp, Stamping};

/// A search that sees no stamp at all gives up after so many frames that came since it began...
const UNSTAMPED: u32 = 1024;
/// ...which is known once the ring was empty, or after so many more: no ring has as many.
const LONGEST_RING: u32 = 65_536;
/// After a search there is none for so many times the frames that it took: under a load that is too high, where frames
/// are lost all the time, searching costs little.
const REST: u64 = 8;

/// Follows the numbers of a queue.
#[derive(Debug)]
pub(super) struct Follower {
    stamping: Stamping,
    gaps: Gaps,
    /// Frames received so far.
    received: u64,
    /// No search before so many.
    rest: u64,
    state: State,
}

/// What is known of the numbers.
#[derive(Clone, Copy, Debug)]
enum State {
    /// Nothing: stamps later than `since_ns` are looked for.
    Search {
        since_ns: u64,
        /// Frames looked at.
        looked: u32,
        /// All of the last ones of them came since the search began.
        fresh: bool,
        /// There are stamps.
        stamped: bool,
    },
    /// The frame `at` is the next that is stamped, and has this number.
    Follow { at: u64, number: u32 },
    /// Nothing, until so many frames are received.
    Rest,
    /// Nothing is stamped: the frame `at` is the next whose time is taken when it is received.
    Alone { at: u64, number: u32 },
}

impl Follower {
    /// Follows numbers of which nothing is known at a time of CLOCK_MONOTONIC.
    pub(super) fn new(stamping: Stamping, now_ns: u64) -> Follower {
        let state = State::Search { since_ns: now_ns, looked: 0, fresh: false, stamped: false };
        Follower { stamping, gaps: Gaps::of(stamping), received: 0, rest: 0, state }
    }

    /// There are no stamps.
    pub(super) fn is_alone(&self) -> bool {
        matches!(self.state, State::Alone { .. })
    }

    /// Takes in a burst of `count` frames; says which of its places are timed, and since when. `full`: more may wait. What
    /// stands in front of a place's frame, `stamp` says; what time it is, `clock`.
    #[inline]
    pub(super) fn look(
        &mut self,
        (count, full): (usize, bool),
        clock: impl Fn() -> u64,
        stamp: impl Fn(usize) -> Stamp,
        mut found: impl FnMut(usize, u64),
    ) {
        let first = self.received;
        self.received += count as u64;
        let place = |at: u64| usize::try_from(at - first).ok().filter(|place| *place < count);
        if !matches!(self.state, State::Follow { .. }) {
            self.look_around(first, (count, full), &clock, &stamp);
        }
        while let State::Follow { at, number } = self.state
            && let Some(place) = place(at)
        {
            let seen = stamp(place);
            if (seen.nonce, seen.number) != (self.stamping.nonce, number) {
                self.lose(at, clock());
                return;
            }
            if self.stamping.times(number) {
                found(place, seen.ns);
            }
            let gap = self.gaps.after(number);
            let (at, number) = (at + u64::from(gap), number.wrapping_add(gap));
            self.state = State::Follow { at, number };
        }
        let mut now = None;
        while let State::Alone { at, number } = self.state
            && let Some(place) = place(at)
        {
            if self.stamping.times(number) {
                found(place, *now.get_or_insert_with(&clock));
            }
            let gap = self.gaps.after(number);
            let (at, number) = (at + u64::from(gap), number.wrapping_add(gap));
            self.state = State::Alone { at, number };
        }
    }

    /// The stamp that was due is not there.
    #[cold]
    fn lose(&mut self, at: u64, now_ns: u64) {
        self.state = match at < self.rest {
            true => State::Rest,
            false => State::Search { since_ns: now_ns, looked: 0, fresh: false, stamped: true },
        };
    }

    /// Goes on with a search, or begins it with the next burst: what this one has in it came before.
    #[cold]
    #[inline(never)]
    fn look_around(
        &mut self,
        first: u64,
        (count, full): (usize, bool),
        clock: &impl Fn() -> u64,
        stamp: &impl Fn(usize) -> Stamp,
    ) {
        match &mut self.state {
            State::Rest if self.received >= self.rest => self.lose(self.received, clock()),
            State::Search { since_ns, looked, fresh, stamped } => {
                for place in 0..count {
                    let Stamp { nonce, number, ns } = stamp(place);
                    if nonce != self.stamping.nonce || !self.stamping.stamps(number) {
                        continue;
                    }
                    *stamped = true;
                    if ns > *since_ns {
                        let at = first + place as u64;
                        self.rest = at + REST * u64::from(*looked);
                        self.state = State::Follow { at, number };
                        return;
                    }
                }
                *looked = looked.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
                let enough = if *fresh { UNSTAMPED } else { LONGEST_RING };
                if *looked >= enough && !*stamped {
                    self.state = State::Alone { at: self.received, number: self.first_stamped() };
                } else if !*fresh && !full {
                    (*fresh, *looked) = (true, 0);
                }
            }
            _ => {}
        }
    }

    /// Some number that is stamped.
    fn first_stamped(&self) -> u32 {
        let start = self.stamping.nonce;
        (0..u32::MAX).map(|n| start.wrapping_add(n)).find(|n| self.stamping.stamps(*n)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
