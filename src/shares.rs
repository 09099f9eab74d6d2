//! Pools that tenants share, and the one rule by which they share them: a tenant may take one more
//! while it holds less than what is free (the dynamic thresholds of Choudhury and Hahne, 1998).
//!
//! So one tenant alone gets half of a pool, two get a third each, n get 1/(n+1) each, and as much is
//! left for the next: whoever comes last still finds room, and nobody is evicted. A tenant is a VIF.

/// The pools. Each use of one names it: see [`Pool::may_take`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// Neighbors of a VIF that are being asked for, by the VIF whose packet made the station ask.
    UnresolvedNeighbors,
    /// All neighbors of a VIF that are no route's next hop, likewise.
    Neighbors,
    /// ICMP errors to senders behind a VIF, by the VIF that their packets were for and by kind.
    IcmpErrors,
    /// Punts of a VIF that need an answer or software, by the VIF they were for and by kind.
    Exceptions,
    /// BGP of all VIFs of a worker beyond what each has for itself.
    BgpBulk,
    /// Frames in a queue between a worker and the slow path: by ingress VIF to the slow path, by egress VIF back.
    Parcels,
    /// Adjacencies of the station that learned neighbors have.
    LearnedAdjacencies,
    /// Adjacencies of the station that next hops of learned routes have.
    LearnedNextHops,
    /// Adjacencies of the station that next hops of mappings have; a tenant is a VRF.
    MappedNextHops,
}

impl Pool {
    /// All pools.
    pub const ALL: &'static [Pool] = &[
        Pool::UnresolvedNeighbors,
        Pool::Neighbors,
        Pool::IcmpErrors,
        Pool::Exceptions,
        Pool::BgpBulk,
        Pool::Parcels,
        Pool::LearnedAdjacencies,
        Pool::LearnedNextHops,
        Pool::MappedNextHops,
    ];

    /// The rule: whether a tenant that holds `held` may take one more where `free` are left.
    #[must_use]
    pub const fn may_take(self, held: usize, free: usize) -> bool {
        held < free
    }
}

/// A rate that tenants share, in tokens per window of time: none is carried over to the next.
#[derive(Clone, Copy, Debug)]
pub struct SharedRate {
    /// The pool.
    pub pool: Pool,
    /// Tokens in a window. One tenant alone gets half of them.
    pub tokens: u32,
    /// Nanoseconds of a window.
    pub window_ns: u64,
}

/// How many tokens of the latest window were taken, of a pool or by a tenant.
#[derive(Clone, Copy, Debug, Default)]
pub struct Taken {
    /// The window's number, from 1 on.
    window: u64,
    count: u32,
}

impl SharedRate {
    /// The number of the window, from 1 on.
    pub const fn window(&self, now_ns: u64) -> u64 {
        now_ns / self.window_ns + 1
    }

    /// Takes a token of `pool` for `tenant`, or says that there is none for it.
    #[must_use]
    pub fn take(&self, now_ns: u64, pool: &mut Taken, tenant: &mut Taken) -> bool {
        let window = self.window(now_ns);
        let in_window = |taken: &Taken| if taken.window == window { taken.count } else { 0 };
        let (held, all) = (in_window(tenant), in_window(pool));
        let free = self.tokens.saturating_sub(all);
        let allowed = self.pool.may_take(held as usize, free as usize);
        if allowed {
            *tenant = Taken { window, count: held + 1 };
            *pool = Taken { window, count: all + 1 };
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What tenants get of a pool that take as much as they can, one after the other.
    fn greedy(tenants: usize, size: usize) -> Vec<usize> {
        let mut held = vec![0; tenants];
        for at in 0..tenants {
            while Pool::Neighbors.may_take(held[at], size - held.iter().sum::<usize>()) {
                held[at] += 1;
            }
        }
        held
    }

    #[test]
    fn one_gets_half_and_the_next_half_of_what_is_left() {
        assert_eq!(greedy(1, 128), [64]);
        assert_eq!(greedy(3, 128), [64, 32, 16]);
        assert!(greedy(6, 128).iter().all(|&held| held > 0), "the last finds room");
    }

    #[test]
    fn tenants_that_take_in_turn_get_the_same() {
        let mut held = [0; 7];
        for turn in 0..1000 {
            let free = 128 - held.iter().sum::<usize>();
            if Pool::Neighbors.may_take(held[turn % 7], free) {
                held[turn % 7] += 1;
            }
        }
        assert_eq!(held, [16; 7]);
    }

    #[test]
    fn a_rate_is_shared_in_each_window_anew() {
        let rate = SharedRate { pool: Pool::IcmpErrors, tokens: 100, window_ns: 250 };
        let (mut pool, mut hog, mut other) = <(Taken, Taken, Taken)>::default();
        for window in 0..4 {
            let now = window * 250 + 1;
            let mut got = |tenant: &mut Taken| {
                (0..1000).filter(|_| rate.take(now, &mut pool, tenant)).count()
            };
            assert_eq!((got(&mut hog), got(&mut other), got(&mut hog)), (50, 25, 0));
        }
    }
}
