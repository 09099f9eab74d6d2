//! Next-hop groups: the indirection between prefixes and adjacencies. A failure changes a group's
//! buckets, never the prefixes that point at it, so convergence does not depend on their number.

use super::ids::{AdjacencyId, GroupId};

/// Buckets of a group with several members: enough to hold weights to about 2%.
pub const BUCKETS: usize = 64;

/// Where a group's buckets are. The number of buckets is `mask + 1`: 1 or [`BUCKETS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Group {
    first: u32,
    mask: u32,
}

/// All groups of all VRFs. Group 0 is "no route" and holds adjacency 0.
#[derive(Clone, Debug)]
pub struct GroupTable {
    groups: Vec<Group>,
    buckets: Vec<AdjacencyId>,
}

impl Default for GroupTable {
    fn default() -> Self {
        GroupTable { groups: vec![Group::default()], buckets: vec![AdjacencyId(0)] }
    }
}

impl GroupTable {
    /// Appends a group of weighted members. An empty list is a group that leads nowhere.
    pub fn push(&mut self, members: &[(AdjacencyId, u16)]) -> GroupId {
        let id = GroupId(u32::try_from(self.groups.len()).unwrap_or(0));
        let first = u32::try_from(self.buckets.len()).unwrap_or(0);
        match members {
            [] => self.buckets.push(AdjacencyId(0)),
            [(only, _)] => self.buckets.push(*only),
            many => self.buckets.extend(spread(many)),
        }
        let count = u32::try_from(self.buckets.len()).unwrap_or(0) - first;
        self.groups.push(Group { first, mask: count - 1 });
        id
    }

    /// How many groups there are, "no route" included.
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

/// Deals [`BUCKETS`] buckets to members by weight (largest remainder), each member's in a row.
fn spread(members: &[(AdjacencyId, u16)]) -> Vec<AdjacencyId> {
    let total: usize = members.iter().map(|&(_, w)| usize::from(w.max(1))).sum();
    let mut given = 0;
    let mut seen = 0;
    let mut buckets = Vec::with_capacity(BUCKETS);
    for &(id, weight) in members {
        seen += usize::from(weight.max(1));
        let upto = (seen * BUCKETS + total / 2) / total;
        buckets.extend(std::iter::repeat_n(id, upto - given));
        given = upto;
    }
    buckets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_dealt_to_buckets() {
        let mut table = GroupTable::default();
        let id = table.push(&[(AdjacencyId(1), 3), (AdjacencyId(2), 1)]);
        let buckets = table.buckets(id);
        assert_eq!(buckets.len(), BUCKETS);
        assert_eq!(buckets.iter().filter(|a| a.0 == 1).count(), 48);
        assert_eq!(buckets.iter().filter(|a| a.0 == 2).count(), 16);
    }

    #[test]
    fn an_unknown_group_is_no_route() {
        assert_eq!(GroupTable::default().buckets(GroupId(99)), &[AdjacencyId(0)]);
    }
}
