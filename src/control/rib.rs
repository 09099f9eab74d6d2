//! The routes of one VRF as the control plane holds them, by source, and which source wins a
//! prefix. Listed routes are not copied: they stay in the configuration's shared lists.
//!
//! Neighbors are no routes. A neighbor refines the connected subnet that it is in, and nothing else:
//! where any route is longer than the subnet's, that route holds (RFC 1812 5.2.4.3), whether the
//! neighbor is known or not.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::learned::Learned;
use super::mapped::Mapped;
use crate::config::symmetric_difference;
use crate::tables::GroupId;

/// Where a route comes from. Of the same prefix, the first named here wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// An address of the router.
    Local,
    /// A connected subnet, or its broadcast address.
    Connected,
    /// `[[route]]`.
    Static,
    /// `[[route_list]]`.
    List,
    /// By a controller: the provider's own word, before a peer's.
    Mapping,
    /// Learned by BGP: of the same prefix, a peer takes over nothing that the operator or a subnet
    /// says.
    Bgp,
    /// A neighbor on a connected subnet that no longer route covers.
    Neighbor,
    /// By an exchange, from another VRF.
    Exchange,
}

/// A route list and where its prefixes lead.
#[derive(Clone, Debug)]
pub(super) struct List {
    /// Sorted, without duplicates, and disjoint from other lists of the VRF.
    pub prefixes: Arc<[IpNet]>,
    /// The group of the IPv4 prefixes.
    pub group4: Option<GroupId>,
    /// The group of the IPv6 prefixes.
    pub group6: Option<GroupId>,
}

impl List {
    pub fn group(&self, prefix: IpNet) -> Option<GroupId> {
        if matches!(prefix, IpNet::V4(_)) { self.group4 } else { self.group6 }
    }

    fn has(&self, prefix: IpNet) -> bool {
        self.group(prefix).is_some() && self.prefixes.binary_search(&prefix).is_ok()
    }

    /// Whether some prefix is longer than `net` and in it.
    fn has_within(&self, net: IpNet) -> bool {
        let first = self.prefixes.partition_point(|prefix| *prefix <= net);
        self.prefixes.get(first).is_some_and(|prefix| net.contains(prefix))
    }

    fn same_groups(&self, other: &List) -> bool {
        (self.group4, self.group6) == (other.group4, other.group6)
    }
}

/// The host route of a neighbor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Host {
    /// Leads to the neighbor alone.
    pub group: GroupId,
    /// The length of the connected subnet that it refines.
    pub subnet: u8,
    /// A next hop or a static neighbor: stays when the neighbor is lost.
    pub configured: bool,
}

/// The routes of one VRF.
#[derive(Clone, Debug, Default)]
pub(super) struct Rib {
    /// Local, connected and static routes.
    pub own: HashMap<IpNet, (Source, GroupId)>,
    /// Listed routes.
    pub lists: Vec<List>,
    /// Neighbors on connected subnets.
    pub hosts: BTreeMap<IpAddr, Host>,
    /// Routes to permits of exchanges. None is in a connected subnet.
    pub exchanged: HashMap<IpNet, GroupId>,
    /// Mappings, shared as learned routes are.
    pub mapped: Arc<Mapped>,
    /// Learned routes. Shared, so that a new configuration copies none of them.
    pub learned: Arc<Learned>,
}

impl Rib {
    /// The route that wins this very prefix.
    pub fn best(&self, prefix: IpNet) -> Option<(Source, GroupId)> {
        let learned = || self.learned.best(prefix).map(|group| (Source::Bgp, group));
        let own = self.above_learned(prefix).or_else(learned).or_else(|| self.neighbor(prefix));
        own.or_else(|| Some((Source::Exchange, *self.exchanged.get(&prefix)?)))
    }

    /// The groups that some route of it leads to.
    pub fn groups(&self) -> BTreeSet<GroupId> {
        let listed = self.lists.iter().flat_map(|list| [list.group4, list.group6]).flatten();
        let mapped = self.mapped.sets().filter_map(|(_, set)| set.of);
        let own = self.own.values().map(|(_, group)| *group);
        let hosts = self.hosts.values().map(|host| host.group);
        let others = listed.chain(mapped).chain(self.learned.groups());
        own.chain(hosts).chain(self.exchanged.values().copied()).chain(others).collect()
    }

    /// The route that wins this very prefix whatever is learned.
    pub fn above_learned(&self, prefix: IpNet) -> Option<(Source, GroupId)> {
        let mapped = || Some((Source::Mapping, self.mapped.best(prefix)?));
        self.configured(prefix).or_else(mapped)
    }

    /// The group of the route that wins this very prefix where it is neither configured nor mapped; a neighbor's aside.
    pub fn below_mapped(&self, prefix: IpNet) -> Option<GroupId> {
        self.learned.best(prefix).or_else(|| self.exchanged.get(&prefix).copied())
    }

    /// The route that wins this very prefix where nothing is streamed or learned.
    pub fn configured(&self, prefix: IpNet) -> Option<(Source, GroupId)> {
        let listed = || {
            let list = self.lists.iter().find(|list| list.has(prefix))?;
            Some((Source::List, list.group(prefix)?))
        };
        self.own.get(&prefix).copied().or_else(listed)
    }

    /// The neighbor that has this very prefix, where it refines its subnet.
    fn neighbor(&self, prefix: IpNet) -> Option<(Source, GroupId)> {
        let is_host = prefix.prefix_len() == prefix.max_prefix_len();
        let host = self.hosts.get(&prefix.addr()).filter(|_| is_host)?;
        let subnet = IpNet::new(prefix.addr(), host.subnet).ok()?.trunc();
        // Few subnets have listed or learned routes within; the router's own are in all.
        let others = self.lists.iter().any(|list| list.has_within(subnet))
            || self.mapped.prefixes().has_within(subnet)
            || self.learned.has_within(subnet);
        let covers = |length| {
            let Ok(route) = IpNet::new(prefix.addr(), length).map(|net| net.trunc()) else {
                return false;
            };
            self.own.contains_key(&route)
                || others
                    && (self.above_learned(route).is_some() || self.learned.best(route).is_some())
        };
        let longer = host.subnet.saturating_add(1)..=prefix.prefix_len();
        (!longer.into_iter().any(covers)).then_some((Source::Neighbor, host.group))
    }

    /// The neighbors whose host routes a route to `prefix` may beat.
    pub fn hosts_under(&self, prefix: IpNet) -> impl Iterator<Item = IpAddr> + '_ {
        let all = self.hosts.range(prefix.network()..=prefix.broadcast());
        let under = all.filter(move |(_, host)| host.subnet < prefix.prefix_len());
        under.map(|(address, _)| *address)
    }

    /// The FIB changes that lead from `old` to `self`, in no order. Lists that both share are not
    /// looked at, so the cost is that of what changed.
    pub fn updates_since(&self, old: &Rib) -> Vec<(IpNet, Option<u32>)> {
        let mut updates = Vec::new();
        let mut compare = |prefix: IpNet| {
            let group = self.best(prefix).map(|(_, group)| group);
            if group != old.best(prefix).map(|(_, group)| group) {
                updates.push((prefix, group.map(|group| group.0)));
            }
        };
        // A route that comes or goes decides whether neighbors under it count.
        let mut consider = |prefix: IpNet| {
            compare(prefix);
            let hosts = self.hosts_under(prefix).chain(old.hosts_under(prefix));
            hosts.map(IpNet::from).for_each(&mut compare);
        };
        for (prefix, new) in &self.own {
            if old.own.get(prefix) != Some(new) {
                consider(*prefix);
            }
        }
        old.own
            .keys()
            .filter(|prefix| !self.own.contains_key(prefix))
            .copied()
            .for_each(&mut consider);
        for (prefix, new) in &self.exchanged {
            if old.exchanged.get(prefix) != Some(new) {
                consider(*prefix);
            }
        }
        let gone = old.exchanged.keys().filter(|prefix| !self.exchanged.contains_key(prefix));
        gone.copied().for_each(&mut consider);
        changed_prefixes(&old.lists, &self.lists, &mut consider);
        if !Arc::ptr_eq(&self.mapped, &old.mapped) {
            self.mapped.moved_since(&old.mapped).into_iter().for_each(&mut consider);
        }
        for (address, new) in &self.hosts {
            let same = |old: &Host| (old.group, old.subnet) == (new.group, new.subnet);
            if !old.hosts.get(address).is_some_and(same) {
                compare(IpNet::from(*address));
            }
        }
        for address in old.hosts.keys().filter(|address| !self.hosts.contains_key(address)) {
            compare(IpNet::from(*address));
        }
        updates
    }
}

/// Calls `visit` with every listed prefix whose route may differ between `old` and `new`.
fn changed_prefixes(old: &[List], new: &[List], visit: &mut impl FnMut(IpNet)) {
    let mut gone: Vec<&List> = old.iter().collect();
    let mut come = Vec::new();
    for list in new {
        let same = |o: &&List| Arc::ptr_eq(&o.prefixes, &list.prefixes) && o.same_groups(list);
        match gone.iter().position(same) {
            Some(at) => drop(gone.swap_remove(at)),
            None => come.push(list),
        }
    }
    for list in come {
        if let Some(at) = gone.iter().position(|o| o.same_groups(list)) {
            let old = gone.swap_remove(at);
            symmetric_difference(&old.prefixes, &list.prefixes, &mut |prefix, _| visit(prefix));
            continue;
        }
        list.prefixes.iter().copied().for_each(&mut *visit);
        gone.retain(|o| !Arc::ptr_eq(&o.prefixes, &list.prefixes));
    }
    for list in gone {
        list.prefixes.iter().copied().for_each(&mut *visit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn list(prefixes: &[&str], group: u32) -> List {
        let mut prefixes: Vec<IpNet> = prefixes.iter().map(|p| net(p)).collect();
        prefixes.sort();
        List { prefixes: prefixes.into(), group4: Some(GroupId(group)), group6: None }
    }

    fn sorted(mut updates: Vec<(IpNet, Option<u32>)>) -> Vec<(IpNet, Option<u32>)> {
        updates.sort();
        updates.dedup();
        updates
    }

    #[test]
    fn a_listed_route_comes_back_when_the_connected_one_goes() {
        let listed = list(&["10.0.0.0/24", "10.0.1.0/24"], 1);
        let old = Rib {
            own: [(net("10.0.0.0/24"), (Source::Connected, GroupId(9)))].into(),
            lists: vec![listed.clone()],
            ..Rib::default()
        };
        let new = Rib { lists: vec![listed], ..Rib::default() };
        assert_eq!(new.updates_since(&old), [(net("10.0.0.0/24"), Some(1))]);
        assert_eq!(old.updates_since(&new), [(net("10.0.0.0/24"), Some(9))]);
    }

    #[test]
    fn a_neighbor_never_overrides_a_configured_host_route() {
        let host = Host { group: GroupId(7), subnet: 24, configured: false };
        let mut rib = Rib {
            own: [(net("10.0.0.2/32"), (Source::Static, GroupId(3)))].into(),
            hosts: [("10.0.0.2".parse().unwrap(), host)].into(),
            ..Rib::default()
        };
        assert_eq!(rib.best(net("10.0.0.2/32")), Some((Source::Static, GroupId(3))));
        rib.own.clear();
        assert_eq!(rib.best(net("10.0.0.2/32")), Some((Source::Neighbor, GroupId(7))));
        assert_eq!(rib.best(net("10.0.0.2/31")), None, "only the host route is the neighbor's");
    }

    #[test]
    fn a_learned_route_gives_way_to_every_other_and_comes_back() {
        let host = Host { group: GroupId(7), subnet: 24, configured: false };
        let mut learned = Learned::default();
        for prefix in ["10.0.0.2/32", "10.0.0.0/24"] {
            learned.set(net(prefix), Some(GroupId(5)));
        }
        let without = Rib { learned: Arc::new(learned), ..Rib::default() };
        let with = Rib {
            hosts: [("10.0.0.2".parse().unwrap(), host)].into(),
            lists: vec![list(&["10.0.0.0/24"], 1)],
            ..without.clone()
        };
        assert_eq!(without.best(net("10.0.0.0/24")), Some((Source::Bgp, GroupId(5))));
        assert_eq!(sorted(with.updates_since(&without)), [(net("10.0.0.0/24"), Some(1))]);
        assert_eq!(sorted(without.updates_since(&with)), [(net("10.0.0.0/24"), Some(5))]);
    }

    #[test]
    fn an_exchange_gives_way_to_every_route_to_the_very_prefix() {
        let to = net("10.0.0.0/24");
        let alone = Rib { exchanged: [(to, GroupId(8))].into(), ..Rib::default() };
        assert_eq!(alone.best(to), Some((Source::Exchange, GroupId(8))));
        let mut learned = Learned::default();
        learned.set(to, Some(GroupId(5)));
        let learned = Rib { learned: Arc::new(learned), ..alone.clone() };
        let listed = Rib { lists: vec![list(&["10.0.0.0/24"], 1)], ..alone.clone() };
        for (rib, group) in [(learned, 5), (listed, 1)] {
            assert_eq!(rib.best(to).map(|(_, group)| group), Some(GroupId(group)));
            let without = Rib { exchanged: HashMap::new(), ..rib.clone() };
            assert_eq!(rib.updates_since(&without), [], "nothing changes");
        }
        assert_eq!(alone.updates_since(&Rib::default()), [(to, Some(8))]);
        assert_eq!(Rib::default().updates_since(&alone), [(to, None)]);
    }

    #[test]
    fn a_neighbor_counts_where_no_route_is_longer_than_its_subnet() {
        let host = Host { group: GroupId(7), subnet: 24, configured: false };
        let alone = Rib {
            own: [(net("10.0.0.0/24"), (Source::Connected, GroupId(9)))].into(),
            hosts: [("10.0.0.2".parse().unwrap(), host)].into(),
            ..Rib::default()
        };
        let at = net("10.0.0.2/32");
        assert_eq!(alone.best(at), Some((Source::Neighbor, GroupId(7))));
        for (prefix, beats) in [
            ("10.0.0.0/30", true),
            ("10.0.0.0/25", true),
            ("10.0.0.2/31", true),
            ("10.0.0.4/30", false),
            ("10.0.0.3/32", false),
            ("10.0.0.0/23", false),
        ] {
            let prefix = net(prefix);
            let mut own = alone.own.clone();
            own.insert(prefix, (Source::Static, GroupId(3)));
            let configured = Rib { own, ..alone.clone() };
            let mut learned = Learned::default();
            learned.set(prefix, Some(GroupId(3)));
            let learned = Rib { learned: Arc::new(learned), ..alone.clone() };
            let listed = Rib { lists: vec![list(&[&prefix.to_string()], 3)], ..alone.clone() };
            for rib in [&configured, &learned, &listed] {
                let expected = (!beats).then_some((Source::Neighbor, GroupId(7)));
                assert_eq!(rib.best(at), expected, "{prefix}");
                assert_eq!(rib.hosts_under(prefix).count(), usize::from(beats), "{prefix}");
            }
            for rib in [&configured, &listed] {
                let (mut come, mut gone) = (vec![(prefix, Some(3))], vec![(prefix, None)]);
                if beats {
                    come.push((at, None));
                    gone.push((at, Some(7)));
                }
                assert_eq!(sorted(rib.updates_since(&alone)), sorted(come));
                assert_eq!(sorted(alone.updates_since(rib)), sorted(gone));
            }
        }
    }

    #[test]
    fn an_edited_list_updates_what_was_edited() {
        let old = Rib {
            lists: vec![list(&["10.0.0.0/8", "11.0.0.0/8", "12.0.0.0/8"], 1)],
            ..Rib::default()
        };
        let new = Rib {
            lists: vec![list(&["10.0.0.0/8", "11.128.0.0/9", "12.0.0.0/8"], 1)],
            ..Rib::default()
        };
        assert_eq!(
            sorted(new.updates_since(&old)),
            [(net("11.0.0.0/8"), None), (net("11.128.0.0/9"), Some(1))]
        );
        let moved = Rib {
            lists: vec![List { group4: Some(GroupId(2)), ..old.lists[0].clone() }],
            ..Rib::default()
        };
        assert_eq!(moved.updates_since(&old).len(), 3);
        assert_eq!(old.updates_since(&old.clone()), []);
    }
}
