//! The routes of one VRF that a routing protocol learned, as small as they can be: of a full table's
//! prefix only its group is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::Bound;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::tables::{GroupId, VifId};

/// Address in words and length: the order of `IpNet`, and without its padding.
type Key4 = (u32, u8);
type Key6 = (u64, u64, u8);

/// Learned routes.
#[derive(Clone, Debug, Default)]
pub(super) struct Learned {
    v4: BTreeMap<Key4, GroupId>,
    v6: BTreeMap<Key6, GroupId>,
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
        match prefix {
            IpNet::V4(net) => self.v4.get(&key4(net)).copied(),
            IpNet::V6(net) => self.v6.get(&key6(net)).copied(),
        }
    }

    /// The group that packets for a prefix may be led to.
    pub fn best(&self, prefix: IpNet) -> Option<GroupId> {
        self.get(prefix).filter(|&group| self.leads(group))
    }

    /// Whether some prefix is longer than `net` and in it.
    pub fn has_within(&self, net: IpNet) -> bool {
        let after = |range: Option<IpNet>| range.is_some_and(|next| net.contains(&next));
        match net {
            IpNet::V4(net) => {
                let mut range = self.v4.range((Bound::Excluded(key4(net)), Bound::Unbounded));
                after(range.next().and_then(|(&key, _)| net4(key)))
            }
            IpNet::V6(net) => {
                let mut range = self.v6.range((Bound::Excluded(key6(net)), Bound::Unbounded));
                after(range.next().and_then(|(&key, _)| net6(key)))
            }
        }
    }

    /// Whether packets may be led to a group.
    pub fn leads(&self, group: GroupId) -> bool {
        !self.idle.contains(&group)
    }

    /// Gives a prefix a group, or none. The caller takes a reference to a group that came into use
    /// and gives back that of one that went out of it: see [`Learned::adopt`] and [`Learned::forget`].
    pub fn set(&mut self, prefix: IpNet, group: Option<GroupId>) -> Moved {
        let old = match (prefix, group) {
            (IpNet::V4(net), Some(group)) => self.v4.insert(key4(net), group),
            (IpNet::V4(net), None) => self.v4.remove(&key4(net)),
            (IpNet::V6(net), Some(group)) => self.v6.insert(key6(net), group),
            (IpNet::V6(net), None) => self.v6.remove(&key6(net)),
        };
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
        if v6 { self.v6.len() } else { self.v4.len() }
    }

    /// The routes from a prefix on, up to and without another of the same family.
    pub fn range(&self, from: IpNet, until: Option<IpNet>) -> Vec<(IpNet, GroupId)> {
        match from {
            IpNet::V4(from) => {
                let until = match until {
                    Some(IpNet::V4(until)) => Bound::Excluded(key4(until)),
                    _ => Bound::Unbounded,
                };
                let range = self.v4.range((Bound::Included(key4(from)), until));
                range.filter_map(|(&key, &group)| Some((net4(key)?, group))).collect()
            }
            IpNet::V6(from) => {
                let until = match until {
                    Some(IpNet::V6(until)) => Bound::Excluded(key6(until)),
                    _ => Bound::Unbounded,
                };
                let range = self.v6.range((Bound::Included(key6(from)), until));
                range.filter_map(|(&key, &group)| Some((net6(key)?, group))).collect()
            }
        }
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

fn key4(net: Ipv4Net) -> Key4 {
    (net.network().to_bits(), net.prefix_len())
}

#[expect(clippy::cast_possible_truncation, reason = "halves")]
fn key6(net: Ipv6Net) -> Key6 {
    let bits = net.network().to_bits();
    ((bits >> 64) as u64, bits as u64, net.prefix_len())
}

fn net4((bits, length): Key4) -> Option<IpNet> {
    Ipv4Net::new(bits.into(), length).ok().map(IpNet::V4)
}

fn net6((high, low, length): Key6) -> Option<IpNet> {
    let bits = u128::from(high) << 64 | u128::from(low);
    Ipv6Net::new(bits.into(), length).ok().map(IpNet::V6)
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

    #[test]
    fn a_range_is_of_one_family_and_in_the_order_of_prefixes() {
        let mut learned = Learned::default();
        let mut all: Vec<IpNet> = [
            "0.0.0.0/0",
            "10.0.0.0/8",
            "10.0.0.0/9",
            "10.1.0.0/16",
            "::/0",
            "fd00::/8",
            "fd00::/9",
        ]
        .map(net)
        .to_vec();
        for &prefix in &all {
            learned.set(prefix, Some(GroupId(1)));
        }
        all.sort();
        let range = |from: &str, until: Option<&str>| -> Vec<IpNet> {
            let range = learned.range(net(from), until.map(net));
            range.into_iter().map(|(prefix, _)| prefix).collect()
        };
        assert_eq!(range("0.0.0.0/0", None), all[..4]);
        assert_eq!(range("::/0", None), all[4..]);
        assert_eq!(range("10.0.0.0/9", Some("10.1.0.0/16")), [net("10.0.0.0/9")]);
        assert_eq!(range("fd00::/9", None), [net("fd00::/9")]);
    }
}
