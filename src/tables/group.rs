//! Next-hop groups: the indirection between prefixes and adjacencies. A failure changes a group's
//! buckets, never the prefixes that point at it, so convergence does not depend on their number.
//!
//! Primary members share a group's buckets while one of them is usable, backup members where none is.
//! Which member has a bucket follows from who is usable alone: the loss of a member moves its own
//! buckets and no other, and its return takes back the same ones. The price is that shares are rounded
//! once more with each further loss.

use super::ids::{AdjacencyId, GroupId};

/// Buckets of a group with several members: enough to hold weights to about 2%.
pub const BUCKETS: usize = 64;

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

/// Where a group leads, in one word: to its only adjacency, or to several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way(AdjacencyId);

impl Way {
    /// This bit says that the others are the first of the group's [`BUCKETS`] buckets, behind which are its members.
    const SEVERAL: u32 = 1 << 31;

    const NOWHERE: Way = Way(AdjacencyId(0));

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

    fn first(self) -> usize {
        (self.0.0 & !Way::SEVERAL) as usize
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
        let (ways, sizes) = (vec![Way::NOWHERE], vec![0]);
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
            self.ways.resize(id.index() + 1, Way::NOWHERE);
            self.sizes.resize(id.index() + 1, 0);
        }
        let (old, size) = (self.ways[id.index()], self.sizes[id.index()]);
        if old.only().is_none() {
            self.give_back(old, size);
        }
        let size = u16::try_from(members.len()).unwrap_or(u16::MAX);
        self.sizes[id.index()] = size;
        self.ways[id.index()] = match members {
            [] => Way::NOWHERE,
            [only] => Way(AdjacencyId(only.adjacency.0 & !Way::SEVERAL)),
            many => {
                let all = many.iter().map(|member| member.adjacency).take(usize::from(size));
                let places: Vec<AdjacencyId> = deal(many).into_iter().chain(all).collect();
                let way = self.take(size);
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
        let first = self.free.get_mut(usize::from(members)).and_then(Vec::pop);
        let first = first.unwrap_or_else(|| {
            let first = self.buckets.len();
            self.buckets.resize(first + BUCKETS + usize::from(members), AdjacencyId(0));
            u32::try_from(first).unwrap_or(0)
        });
        Way(AdjacencyId(Way::SEVERAL | first))
    }

    fn give_back(&mut self, way: Way, members: u16) {
        let members = usize::from(members);
        if self.free.len() <= members {
            self.free.resize(members + 1, Vec::new());
        }
        self.free[members].push(way.0.0 & !Way::SEVERAL);
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

    /// The bucket of a group of several members that a flow's number chooses.
    pub fn choose(&self, way: Way, flow: u32) -> AdjacencyId {
        self.buckets[way.first() + flow as usize % BUCKETS]
    }

    /// The buckets of a group, 1 or [`BUCKETS`]; those of "no route" for an id that is not in the table.
    pub fn buckets(&self, id: GroupId) -> &[AdjacencyId] {
        self.places(id, 0, BUCKETS)
    }

    /// Every member of a group, whether it carries now or not.
    pub fn members(&self, id: GroupId) -> &[AdjacencyId] {
        let size = self.sizes.get(id.index()).copied().unwrap_or_default();
        self.places(id, BUCKETS, size.into())
    }

    /// The only adjacency of a group, or so many places of its run.
    fn places(&self, id: GroupId, from: usize, count: usize) -> &[AdjacencyId] {
        let way = self.ways.get(id.index()).unwrap_or(&Way::NOWHERE);
        match way.only() {
            Some(_) => std::slice::from_ref(&way.0),
            None => &self.buckets[way.first() + from..][..count],
        }
    }
}

/// Deals [`BUCKETS`] buckets to the members that carry now.
fn deal(members: &[Member]) -> Vec<AdjacencyId> {
    let of =
        |role| -> Vec<usize> { (0..members.len()).filter(|&i| members[i].role == role).collect() };
    let (primary, backup) = (of(Role::Primary), of(Role::Backup));
    let lives = |among: &[usize]| among.iter().any(|&i| members[i].usable);
    let among =
        if primary.is_empty() || !lives(&primary) && lives(&backup) { backup } else { primary };
    let mut owners = vec![0; BUCKETS];
    let all: Vec<usize> = (0..BUCKETS).collect();
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

/// How much a bucket likes to lead to an adjacency: a number without a pattern.
fn affinity(adjacency: AdjacencyId, bucket: usize) -> u64 {
    let mixed = (u64::from(adjacency.0) << 8 | bucket as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ mixed >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed ^ mixed >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(of: &[(u32, u16, bool)]) -> Vec<Member> {
        of.iter().map(|&(id, weight, usable)| member(id, weight, Role::Primary, usable)).collect()
    }

    fn member(id: u32, weight: u16, role: Role, usable: bool) -> Member {
        Member { adjacency: AdjacencyId(id), weight, role, usable }
    }

    fn count(buckets: &[AdjacencyId], id: u32) -> usize {
        buckets.iter().filter(|a| a.0 == id).count()
    }

    /// The buckets of a group of these members.
    fn dealt(members: &[Member]) -> Vec<AdjacencyId> {
        let mut table = GroupTable::default();
        table.set(GroupId(1), members);
        table.buckets(GroupId(1)).to_vec()
    }

    #[test]
    fn weights_are_dealt_to_buckets() {
        let mut table = GroupTable::default();
        table.set(GroupId(5), &members(&[(1, 3, true), (2, 1, true)]));
        let buckets = table.buckets(GroupId(5));
        assert_eq!(buckets.len(), BUCKETS);
        assert_eq!((count(buckets, 1), count(buckets, 2)), (48, 16));
        assert_eq!(table.members(GroupId(5)), [AdjacencyId(1), AdjacencyId(2)]);
    }

    #[test]
    fn the_loss_of_a_member_moves_only_its_flows() {
        let mut table = GroupTable::default();
        table.set(GroupId(1), &members(&[(1, 1, true), (2, 2, true), (3, 1, true)]));
        let before = table.buckets(GroupId(1)).to_vec();
        table.set(GroupId(1), &members(&[(1, 1, true), (2, 2, false), (3, 1, true)]));
        let after = table.buckets(GroupId(1));
        assert_eq!((count(after, 1), count(after, 2), count(after, 3)), (32, 0, 32));
        for (old, new) in before.iter().zip(after) {
            assert!(old.0 == 2 || old == new);
        }
    }

    /// Every step between any two sets of usable members of a group of five, as losses and returns
    /// one after another.
    #[test]
    fn a_loss_or_return_moves_only_the_flows_of_that_member_whoever_else_is_lost() {
        let with = |usable: u32| -> Vec<AdjacencyId> {
            let of = |(id, weight)| member(id, weight, Role::Primary, usable >> (id - 1) & 1 == 1);
            dealt(&(1..=5).zip(1..).map(of).collect::<Vec<_>>())
        };
        for usable in 1..32_u32 {
            for lost in (0..5).filter(|i| usable >> i & 1 == 1 && usable != 1 << i) {
                let (before, after) = (with(usable), with(usable & !(1 << lost)));
                assert_eq!(count(&after, lost + 1), 0);
                for (old, new) in before.iter().zip(&after) {
                    assert!(old.0 == lost + 1 || old == new, "{usable:05b} without {lost}");
                }
            }
        }
    }

    #[test]
    fn groups_that_differ_in_a_member_agree_about_most_flows_of_the_others() {
        let of = |ids: &[u32]| {
            dealt(&ids.iter().map(|&id| member(id, 1, Role::Primary, true)).collect::<Vec<_>>())
        };
        let (mut kept, mut all) = (0, 0);
        for base in 0..50 {
            let ids: Vec<u32> = (1..=4).map(|i| base * 7 + i).collect();
            for (old, new) in of(&ids).iter().zip(of(&ids[..3])) {
                if ids[..3].contains(&old.0) {
                    all += 1;
                    kept += usize::from(*old == new);
                }
            }
        }
        assert!(kept * 100 > all * 80, "{kept} of {all} buckets stayed");
    }

    #[test]
    fn backups_carry_while_no_primary_is_usable() {
        let group = |a: bool, b: bool, c: bool| {
            let (primary, backup) = (Role::Primary, Role::Backup);
            let buckets = dealt(&[
                member(1, 1, primary, a),
                member(2, 1, primary, b),
                member(3, 1, backup, c),
            ]);
            [count(&buckets, 1), count(&buckets, 2), count(&buckets, 3)]
        };
        assert_eq!(group(true, true, true), [32, 32, 0]);
        assert_eq!(group(true, false, true), [64, 0, 0]);
        assert_eq!(group(false, false, true), [0, 0, 64]);
        assert_eq!(group(false, false, false), [32, 32, 0], "the last resort is the primaries'");
    }

    #[test]
    fn with_every_member_down_the_group_still_names_them() {
        let mut table = GroupTable::default();
        table.set(GroupId(1), &members(&[(1, 1, false), (2, 1, false)]));
        assert_eq!(count(table.buckets(GroupId(1)), 1), 32);
        assert_eq!(count(table.buckets(GroupId(1)), 2), 32);
    }

    #[test]
    fn an_unknown_group_is_no_route() {
        let mut table = GroupTable::default();
        table.set(GroupId(3), &members(&[(7, 1, true)]));
        for id in [0, 1, 2, 99] {
            assert_eq!(table.buckets(GroupId(id)), &[AdjacencyId(0)]);
            assert_eq!(table.members(GroupId(id)), &[AdjacencyId(0)]);
        }
        table.set(GroupId(0), &members(&[(7, 1, true)]));
        assert_eq!(table.buckets(GroupId(0)), &[AdjacencyId(0)], "group 0 cannot be changed");
    }

    #[test]
    fn room_is_used_again() {
        let mut table = GroupTable::default();
        let (one, two) = (members(&[(1, 1, true)]), members(&[(1, 1, true), (2, 1, true)]));
        for _ in 0..100 {
            table.set(GroupId(1), &one);
            table.set(GroupId(2), &two);
            table.set(GroupId(1), &two);
            table.set(GroupId(2), &one);
            assert_eq!(table.buckets(GroupId(2)), &[AdjacencyId(1)]);
            table.clear(GroupId(1));
            table.clear(GroupId(2));
            assert_eq!(table.buckets(GroupId(1)), &[AdjacencyId(0)]);
        }
        assert!(table.buckets.len() <= 2 * (BUCKETS + 2), "{}", table.buckets.len());
    }
}
