//! Next-hop groups: the indirection between prefixes and adjacencies. A failure changes a group's
//! buckets, never the prefixes that point at it, so convergence does not depend on their number.

use super::ids::{AdjacencyId, GroupId};

/// Buckets of a group with several members: enough to hold weights to about 2%.
pub const BUCKETS: usize = 64;

/// One way out of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Where it leads.
    pub adjacency: AdjacencyId,
    /// Its share.
    pub weight: u16,
    /// Packets can leave there now.
    pub up: bool,
}

/// Where a group's buckets are. The number of buckets is `mask + 1`: 1 or [`BUCKETS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Group {
    first: u32,
    mask: u32,
}

/// All groups of all VRFs. Group 0 is "no route" and holds adjacency 0; so does every id that is
/// not in use.
#[derive(Clone, Debug)]
pub struct GroupTable {
    groups: Vec<Group>,
    buckets: Vec<AdjacencyId>,
    /// Places in `buckets` that no group uses: single buckets, and runs of [`BUCKETS`].
    free: [Vec<u32>; 2],
}

impl Default for GroupTable {
    fn default() -> Self {
        GroupTable {
            groups: vec![Group::default()],
            buckets: vec![AdjacencyId(0)],
            free: Default::default(),
        }
    }
}

impl GroupTable {
    /// Makes `id` the group of these members. Those that are up share all buckets; each keeps the
    /// buckets it has while all are up, so the loss of one moves only its own flows. A group with
    /// no member up spreads over all of them: their adjacencies say why nothing leaves. A group
    /// without members leads nowhere. Id 0 cannot be changed.
    pub fn set(&mut self, id: GroupId, members: &[Member]) {
        if id.0 == 0 {
            return;
        }
        let buckets = match members {
            [] => vec![AdjacencyId(0)],
            [only] => vec![only.adjacency],
            many => deal(many),
        };
        let mask = u32::try_from(buckets.len() - 1).unwrap_or(0);
        if self.groups.len() <= id.index() {
            self.groups.resize(id.index() + 1, Group::default());
        }
        let old = self.groups[id.index()];
        let first = if old.first != 0 && old.mask == mask {
            old.first
        } else {
            self.clear(id);
            self.take(buckets.len())
        };
        let at = first as usize;
        self.buckets[at..at + buckets.len()].copy_from_slice(&buckets);
        self.groups[id.index()] = Group { first, mask };
    }

    /// Makes `id` lead nowhere.
    pub fn clear(&mut self, id: GroupId) {
        let Some(group) = self.groups.get_mut(id.index()) else { return };
        let old = std::mem::take(group);
        if old.first != 0 {
            self.free[usize::from(old.mask != 0)].push(old.first);
        }
    }

    /// A place for `count` buckets.
    fn take(&mut self, count: usize) -> u32 {
        self.free[usize::from(count > 1)].pop().unwrap_or_else(|| {
            let first = self.buckets.len();
            self.buckets.resize(first + count, AdjacencyId(0));
            u32::try_from(first).unwrap_or(0)
        })
    }

    /// One more than the highest id ever set.
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Never: group 0 is always there.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// The buckets of a group; those of "no route" for an id that is not in the table.
    #[inline(always)]
    pub fn buckets(&self, id: GroupId) -> &[AdjacencyId] {
        let group = self.groups.get(id.index()).copied().unwrap_or_default();
        &self.buckets[group.first as usize..=(group.first + group.mask) as usize]
    }
}

/// Deals [`BUCKETS`] buckets to all members by weight, then the buckets of those that are down to
/// those that are up, again by weight.
fn deal(members: &[Member]) -> Vec<AdjacencyId> {
    let all: Vec<usize> = (0..members.len()).collect();
    let up: Vec<usize> = all.iter().copied().filter(|&i| members[i].up).collect();
    let mut owners = spread(members, &all, BUCKETS);
    if !up.is_empty() {
        let orphans = owners.iter().filter(|&&i| !members[i].up).count();
        let mut heirs = spread(members, &up, orphans).into_iter();
        for owner in owners.iter_mut().filter(|owner| !members[**owner].up) {
            *owner = heirs.next().unwrap_or(up[0]);
        }
    }
    owners.into_iter().map(|i| members[i].adjacency).collect()
}

/// Deals `count` buckets to the members in `among` by weight, each member's in a row.
fn spread(members: &[Member], among: &[usize], count: usize) -> Vec<usize> {
    let weight = |i: usize| usize::from(members[i].weight.max(1));
    let total: usize = among.iter().map(|&i| weight(i)).sum();
    let mut seen = 0;
    let mut owners = Vec::with_capacity(count);
    for &i in among {
        seen += weight(i);
        let upto = (seen * count + total / 2) / total;
        owners.extend(std::iter::repeat_n(i, upto.saturating_sub(owners.len())));
    }
    owners
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(of: &[(u32, u16, bool)]) -> Vec<Member> {
        of.iter()
            .map(|&(id, weight, up)| Member { adjacency: AdjacencyId(id), weight, up })
            .collect()
    }

    fn count(buckets: &[AdjacencyId], id: u32) -> usize {
        buckets.iter().filter(|a| a.0 == id).count()
    }

    #[test]
    fn weights_are_dealt_to_buckets() {
        let mut table = GroupTable::default();
        table.set(GroupId(5), &members(&[(1, 3, true), (2, 1, true)]));
        let buckets = table.buckets(GroupId(5));
        assert_eq!(buckets.len(), BUCKETS);
        assert_eq!((count(buckets, 1), count(buckets, 2)), (48, 16));
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
        assert!(table.buckets.len() <= 1 + 2 + 2 * BUCKETS, "{}", table.buckets.len());
    }
}
