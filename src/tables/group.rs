//! Next-hop groups: the indirection between prefixes and adjacencies. A failure changes a group's
//! buckets, never the prefixes that point at it, so convergence does not depend on their number.
//!
//! Primary members share a group's buckets while one of them is usable, backup members where none is.
//! Which member has a bucket follows from who is usable alone: the loss of a member moves its own
//! buckets and no other, and its return takes back the same ones. The price is that shares are rounded
//! once more with each further loss.

use super::ids::{AdjacencyId, GroupId};

/// Buckets of a group with several members at least: enough to hold weights to about 2%.
pub const BUCKETS: usize = 64;
/// Buckets a member of a large group at least, so that no share is rounded by more than an eighth of an equal one.
const BUCKETS_A_MEMBER: usize = 8;
/// Buckets at most.
const MOST_BUCKETS: usize = BUCKETS << 7;

/// Buckets of a group of so many members, several: a power of two.
fn bucket_count(members: usize) -> usize {
    (BUCKETS_A_MEMBER * members).next_power_of_two().clamp(BUCKETS, MOST_BUCKETS)
}

/// Whether a member carries traffic at all times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Yes.
    Primary,
    /// Only while no primary member is usable.
    Backup,
}

/// One way out of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Where it leads.
    pub adjacency: AdjacencyId,
    /// Its share.
    pub weight: u16,
    /// When it carries.
    pub role: Role,
    /// Packets that leave there arrive, as far as is known now.
    pub usable: bool,
}

/// Where nothing leads: to "no route".
const NOWHERE: Way = Way(AdjacencyId(0));

/// Where a group leads, in one word: to its only adjacency, or to several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Way(AdjacencyId);

impl Way {
    /// This bit says that there are several: the three below it are how often [`BUCKETS`] is doubled to give the number of the
    /// group's buckets, and the others are the first bucket's place. Behind the buckets are the members.
    const SEVERAL: u32 = 1 << 31;
    const DOUBLED: u32 = 28;

    /// The only adjacency, if there is one.
    #[inline(always)]
    pub const fn only(self) -> Option<AdjacencyId> {
        if self.0.0 < Way::SEVERAL { Some(self.0) } else { None }
    }

    /// The only adjacency as an index into the table of adjacencies; beyond it where there are several.
    #[inline(always)]
    pub const fn index(self) -> usize {
        self.0.index()
    }

    #[inline(always)]
    const fn first(self) -> usize {
        (self.0.0 & ((1 << Way::DOUBLED) - 1)) as usize
    }

    /// How many buckets there are, where there are several members.
    #[inline(always)]
    const fn count(self) -> usize {
        BUCKETS << (self.0.0 >> Way::DOUBLED & 7)
    }
}

/// All groups of all VRFs. Group 0 is "no route" and holds adjacency 0; so does every id that is
/// not in use.
#[derive(Clone, Debug)]
pub struct GroupTable {
    ways: Vec<Way>,
    /// How many members each group has.
    sizes: Vec<u16>,
    buckets: Vec<AdjacencyId>,
    /// Runs in `buckets` that no group uses, by the number of members that they have room for.
    free: Vec<Vec<u32>>,
}

impl Default for GroupTable {
    fn default() -> Self {
        let (ways, sizes) = (vec![NOWHERE], vec![0]);
        GroupTable { ways, sizes, buckets: Vec::new(), free: Vec::new() }
    }
}

impl GroupTable {
    /// Makes `id` the group of these members. A group with no usable member spreads over its primary
    /// ones: their adjacencies say why nothing leaves, or packets may still arrive. A group without
    /// members leads nowhere. Id 0 cannot be changed.
    pub fn set(&mut self, id: GroupId, members: &[Member]) {
        if id.0 == 0 {
            return;
        }
        if self.ways.len() <= id.index() {
            self.ways.resize(id.index() + 1, NOWHERE);
            self.sizes.resize(id.index() + 1, 0);
        }
        let (old, size) = (self.ways[id.index()], self.sizes[id.index()]);
        if old.only().is_none() {
            self.give_back(old, size);
        }
        let size = u16::try_from(members.len()).unwrap_or(u16::MAX);
        self.sizes[id.index()] = size;
        self.ways[id.index()] = match members {
            [] => NOWHERE,
            [only] => Way(AdjacencyId(only.adjacency.0 & !Way::SEVERAL)),
            many => {
                let all = many.iter().map(|member| member.adjacency).take(usize::from(size));
                let way = self.take(size);
                let places: Vec<AdjacencyId> =
                    deal(many, way.count()).into_iter().chain(all).collect();
                self.buckets[way.first()..][..places.len()].copy_from_slice(&places);
                way
            }
        };
    }

    /// Makes `id` lead nowhere.
    pub fn clear(&mut self, id: GroupId) {
        if id.index() < self.ways.len() {
            self.set(id, &[]);
        }
    }

    /// A run of buckets with room for this many members behind it.
    fn take(&mut self, members: u16) -> Way {
        let count = bucket_count(members.into());
        let first = self.free.get_mut(usize::from(members)).and_then(Vec::pop);
        let first = first.unwrap_or_else(|| {
            let first = self.buckets.len();
            self.buckets.resize(first + count + usize::from(members), AdjacencyId(0));
            u32::try_from(first).unwrap_or(0)
        });
        let doubled = count.ilog2() - BUCKETS.ilog2();
        Way(AdjacencyId(Way::SEVERAL | doubled << Way::DOUBLED | first))
    }

    fn give_back(&mut self, way: Way, members: u16) {
        let members = usize::from(members);
        if self.free.len() <= members {
            self.free.resize(members + 1, Vec::new());
        }
        self.free[members].push(u32::try_from(way.first()).unwrap_or(0));
    }

    /// One more than the highest id ever set.
    pub fn len(&self) -> usize {
        self.ways.len()
    }

    /// Never: group 0 is always there.
    pub fn is_empty(&self) -> bool {
        self.ways.is_empty()
    }

    /// Where each group leads, by [`GroupId`].
    #[inline(always)]
    pub fn ways(&self) -> &[Way] {
        &self.ways
    }

    /// Where a group leads; nowhere for an id that is not in the table.
    pub fn way(&self, id: GroupId) -> Way {
        self.ways.get(id.index()).copied().unwrap_or_default()
    }

    /// The bucket of a group of several members that a flow's number chooses.
    #[inline(always)]
    pub fn choose(&self, way: Way, flow: u32) -> AdjacencyId {
        self.buckets[way.first() + (flow as usize & (way.count() - 1))]
    }

    /// The buckets of a group, 1 or a power of two from [`BUCKETS`] on; those of "no route" for an id that is not in the
    /// table.
    pub fn buckets(&self, id: GroupId) -> &[AdjacencyId] {
        let way = self.way(id);
        self.places(id, 0, way.count())
    }

    /// Every member of a group, whether it carries now or not.
    pub fn members(&self, id: GroupId) -> &[AdjacencyId] {
        let size = self.sizes.get(id.index()).copied().unwrap_or_default();
        self.places(id, self.way(id).count(), size.into())
    }

    /// The only adjacency of a group, or so many places of its run.
    fn places(&self, id: GroupId, from: usize, count: usize) -> &[AdjacencyId] {
        let way = self.ways.get(id.index()).unwrap_or(&NOWHERE);
        match way.only() {
            Some(_) => std::slice::from_ref(&way.0),
            None => &self.buckets[way.first() + from..][..count],
        }
    }
}

/// Deals so many buckets to the members that carry now.
fn deal(members: &[Member], buckets: usize) -> Vec<AdjacencyId> {
    let of =
        |role| -> Vec<usize> { (0..members.len()).filter(|&i| members[i].role == role).collect() };
    let (primary, backup) = (of(Role::Primary), of(Role::Backup));
    let lives = |among: &[usize]| among.iter().any(|&i| members[i].usable);
    let among =
        if primary.is_empty() || !lives(&primary) && lives(&backup) { backup } else { primary };
    let mut owners = vec![0; buckets];
    let all: Vec<usize> = (0..buckets).collect();
    spread(members, &among, &all, lives(&among), &mut owners);
    owners.into_iter().map(|i| members[i].adjacency).collect()
}

/// Deals `buckets` to the members in `among` by weight. With `skip`, those of a member that is not
/// usable are dealt on among the others, in the same way: so who has a bucket where several members
/// are lost does not depend on the order in which they were.
fn spread(
    members: &[Member],
    among: &[usize],
    buckets: &[usize],
    skip: bool,
    owners: &mut [usize],
) {
    let mut room = shares(members, among, buckets);
    // Each bucket goes to the member that it likes best among those with room: so groups that differ
    // in a member agree about most buckets of the others.
    let mut parts: Vec<Vec<usize>> = vec![Vec::new(); among.len()];
    for &bucket in buckets {
        let open = (0..among.len()).filter(|&k| room[k] > 0);
        let liked = |&k: &usize| affinity(members[among[k]].adjacency, bucket);
        let Some(best) = open.max_by_key(liked) else { break };
        room[best] -= 1;
        owners[bucket] = among[best];
        parts[best].push(bucket);
    }
    for (k, part) in parts.iter().enumerate().filter(|(_, part)| !part.is_empty()) {
        if skip && !members[among[k]].usable {
            let others: Vec<usize> = among.iter().copied().filter(|&i| i != among[k]).collect();
            spread(members, &others, part, skip, owners);
        }
    }
}

/// How many of `buckets` each member in `among` gets: what its weight says, rounded down, and one more
/// for those with the largest remainders.
fn shares(members: &[Member], among: &[usize], buckets: &[usize]) -> Vec<usize> {
    let weight = |i: usize| usize::from(members[i].weight.max(1));
    let total: usize = among.iter().map(|&i| weight(i)).sum();
    let mut shares: Vec<usize> = among.iter().map(|&i| weight(i) * buckets.len() / total).collect();
    let left = buckets.len() - shares.iter().sum::<usize>();
    let mut order: Vec<usize> = (0..among.len()).collect();
    // Among equals it is not always the same who gets one more.
    let first = buckets.first().copied().unwrap_or(0);
    order.sort_by_key(|&k| {
        let i = among[k];
        let remainder = weight(i) * buckets.len() % total;
        std::cmp::Reverse((remainder, affinity(members[i].adjacency, first)))
    });
    order.into_iter().take(left).for_each(|k| shares[k] += 1);
    shares
}

/// Rendezvous-hash (HRW) weight of (adjacency, bucket): a number without a pattern.
fn affinity(adjacency: AdjacencyId, bucket: usize) -> u64 {
    let mixed = (u64::from(adjacency.0) << 16 | bucket as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ mixed >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed ^ mixed >> 32
}

#[cfg(test)]
mod tests;
