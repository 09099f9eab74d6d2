//! The routes of one VRF that a routing protocol learned, as small as they can be: of a full table's
//! prefix only its group is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::prefixes::PrefixMap;
use crate::tables::{GroupId, VifId};

/// Learned routes.
#[derive(Clone, Debug, Default)]
pub(super) struct Learned {
    prefixes: PrefixMap<GroupId>,
    /// The routes of each group. The first holds the one reference that all have.
    groups: BTreeMap<GroupId, u32>,
    /// Groups without a primary member: no packet may be led there.
    idle: BTreeSet<GroupId>,
    /// How many of the groups lead to a next hop.
    hops: BTreeMap<(VifId, IpAddr), u32>,
}

impl Learned {
    /// The group that a prefix has, whether packets may be led there or not.
    pub fn get(&self, prefix: IpNet) -> Option<GroupId> {
        self.prefixes.get(prefix)
    }

    /// The group that packets for a prefix may be led to.
    pub fn best(&self, prefix: IpNet) -> Option<GroupId> {
        self.get(prefix).filter(|&group| self.leads(group))
    }

    /// Whether some prefix is longer than `net` and in it.
    pub fn has_within(&self, net: IpNet) -> bool {
        self.prefixes.has_within(net)
    }

    /// Whether packets may be led to a group.
    pub fn leads(&self, group: GroupId) -> bool {
        !self.idle.contains(&group)
    }

    /// Gives a prefix a group, or none. The caller takes a reference to a group that came into use
    /// and gives back that of one that went out of it: see [`Learned::adopt`] and [`Learned::forget`].
    pub fn set(&mut self, prefix: IpNet, group: Option<GroupId>) -> Moved {
        let old = self.prefixes.set(prefix, group);
        let mut moved = Moved::default();
        if old == group {
            return moved;
        }
        if let Some(group) = group {
            let routes = self.groups.entry(group).or_default();
            *routes += 1;
            moved.come = (*routes == 1).then_some(group);
        }
        if let Some(old) = old
            && let Some(routes) = self.groups.get_mut(&old)
        {
            *routes -= 1;
            if *routes == 0 {
                self.groups.remove(&old);
                moved.gone = Some(old);
            }
        }
        moved
    }

    /// Takes note of a group that came into use.
    pub fn adopt(&mut self, group: GroupId, leads: bool, hops: impl Iterator<Item = Hop>) {
        if !leads {
            self.idle.insert(group);
        }
        hops.for_each(|hop| *self.hops.entry(hop).or_default() += 1);
    }

    /// Takes note of a group that went out of use.
    pub fn forget(&mut self, group: GroupId, hops: impl Iterator<Item = Hop>) {
        self.idle.remove(&group);
        for hop in hops {
            if let Some(groups) = self.hops.get_mut(&hop) {
                *groups -= 1;
                if *groups == 0 {
                    self.hops.remove(&hop);
                }
            }
        }
    }

    /// The groups in use.
    pub fn groups(&self) -> impl Iterator<Item = GroupId> + '_ {
        self.groups.keys().copied()
    }

    /// The VIFs that some route leads to.
    pub fn vifs(&self) -> BTreeSet<VifId> {
        self.hops.keys().map(|&(vif, _)| vif).collect()
    }

    /// Whether some route leads to this next hop.
    pub fn has_hop(&self, hop: Hop) -> bool {
        self.hops.contains_key(&hop)
    }

    /// How many next hops on a VIF routes lead to.
    pub fn hops_on(&self, vif: VifId) -> usize {
        let first = (vif, IpAddr::from([0; 4]));
        let last = (vif, IpAddr::from([0xff; 16]));
        self.hops.range(first..=last).count()
    }

    /// How many routes of a family there are.
    pub fn len(&self, v6: bool) -> usize {
        self.prefixes.len(v6)
    }

    /// The routes from a prefix on, up to and without another of the same family.
    pub fn range(&self, from: IpNet, until: Option<IpNet>) -> Vec<(IpNet, GroupId)> {
        self.prefixes.range(from, until).collect()
    }
}

/// A next hop on a VIF.
pub(super) type Hop = (VifId, IpAddr);

/// The groups that a change brought into use, and out of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Moved {
    pub come: Option<GroupId>,
    pub gone: Option<GroupId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn a_group_is_in_use_from_its_first_route_to_its_last() {
        let mut learned = Learned::default();
        let (a, b) = (GroupId(1), GroupId(2));
        let moved = |come, gone| Moved { come, gone };
        assert_eq!(learned.set(net("10.0.0.0/8"), Some(a)), moved(Some(a), None));
        assert_eq!(learned.set(net("fd00::/8"), Some(a)), moved(None, None));
        assert_eq!(learned.set(net("10.0.0.0/8"), Some(a)), moved(None, None));
        assert_eq!(learned.set(net("10.0.0.0/8"), Some(b)), moved(Some(b), None));
        assert_eq!(learned.set(net("fd00::/8"), Some(b)), moved(None, Some(a)));
        assert_eq!(learned.set(net("fd00::/8"), None), moved(None, None));
        assert_eq!(learned.set(net("10.0.0.0/8"), None), moved(None, Some(b)));
        assert_eq!(learned.set(net("10.0.0.0/8"), None), moved(None, None));
        assert_eq!((learned.len(false), learned.len(true)), (0, 0));
    }

    #[test]
    fn a_group_without_a_primary_member_leads_nowhere() {
        let mut learned = Learned::default();
        learned.set(net("10.0.0.0/8"), Some(GroupId(1)));
        let hop = (VifId(3), "10.0.0.1".parse().unwrap());
        learned.adopt(GroupId(1), false, [hop].into_iter());
        assert_eq!(learned.get(net("10.0.0.0/8")), Some(GroupId(1)));
        assert_eq!(learned.best(net("10.0.0.0/8")), None);
        assert_eq!((learned.hops_on(VifId(3)), learned.hops_on(VifId(2))), (1, 0));
        learned.forget(GroupId(1), [hop].into_iter());
        assert_eq!(learned.hops_on(VifId(3)), 0);
        assert_eq!(learned.best(net("10.0.0.0/8")), Some(GroupId(1)));
    }
}
