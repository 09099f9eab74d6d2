//! VIFs that are drained: packets leave by them only where there is no other way. And which prefixes would have no way
//! without some VIFs and peers.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::candidate::Base;
use super::commit::{Engine, Publish};
use super::compile::vif_id;
use super::rib::{Rib, Source};
use super::state::{Prospect, State};
use crate::config::model::{Config, VifConfig};
use crate::tables::{Adjacency, AdjacencyId, GroupId, VifId};

/// What is drained, by name: names outlive configurations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// All VIFs.
    pub station: bool,
    /// The VIFs of these ports.
    pub ports: BTreeSet<Arc<str>>,
    /// These VIFs.
    pub vifs: BTreeSet<Arc<str>>,
}

impl Drained {
    /// Whether a VIF is.
    pub fn has(&self, vif: &VifConfig) -> bool {
        self.station || self.ports.contains(&vif.port) || self.vifs.contains(&vif.name)
    }
}

/// What packets are to leave by no more, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gone {
    /// VIFs.
    pub drained: Drained,
    /// BGP peers whose sessions end, by VIF and address. A route of the configuration that leads to one of them alone
    /// still does: what is in doubt is better than nothing.
    pub peers: BTreeSet<(Arc<str>, IpAddr)>,
}

/// The same, by id.
struct GoneIds {
    vifs: BTreeSet<VifId>,
    peers: BTreeSet<(VifId, IpAddr)>,
}

impl GoneIds {
    /// What becomes of what leaves by an adjacency that is a way now.
    fn fate(&self, adjacency: &Adjacency) -> Fate {
        let peer = (adjacency.vif, adjacency.address);
        match (self.vifs.contains(&adjacency.vif), self.peers.contains(&peer)) {
            (true, _) => Fate::Dark,
            (false, true) => Fate::InDoubt,
            (false, false) => Fate::Stays,
        }
    }
}

/// A prefix that would have no way left.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dark {
    /// Name of the VRF.
    pub vrf: Arc<str>,
    /// The prefix.
    pub prefix: IpNet,
}

impl<P: Publish> Engine<P> {
    /// These are drained from now on, and no others. Groups that have another way use that alone once this returns: one
    /// publication, whatever the number of routes.
    pub fn drain(&mut self, drains: Drained) {
        self.moves += 1;
        let drains = Arc::new(drains);
        if let Some(commit) = &mut self.commit {
            let config = commit.config.clone();
            commit.next.drain(&config, drains.clone());
        }
        match self.config.clone() {
            Some(config) => self.state.drain(&config, drains),
            // What is committed first begins with it.
            None => return self.state.drains = drains,
        }
        self.publish();
        self.synchronize();
    }

    /// Whether a VIF is drained.
    pub fn is_drained(&self, vif: VifId) -> bool {
        self.state.drained.contains(&vif)
    }
}

impl State {
    /// Changes what is drained, and writes the groups that this concerns.
    fn drain(&mut self, config: &Config, drains: Arc<Drained>) {
        self.drains = drains;
        let before = std::mem::take(&mut self.drained);
        self.find_drained(config);
        let changed: BTreeSet<VifId> =
            before.symmetric_difference(&self.drained).copied().collect();
        let touched = self.adjacencies.wanted().filter(|(_, egress)| changed.contains(&egress.vif));
        let mut touched: Vec<_> = touched.map(|(id, _)| AdjacencyId(id)).collect();
        touched.sort_unstable();
        self.render_groups_of(&touched);
    }

    /// Finds the ids of what is drained. VIFs have theirs.
    pub(super) fn find_drained(&mut self, config: &Config) {
        self.drained = self.ids_of(config, &self.drains);
    }

    fn ids_of(&self, config: &Config, drains: &Drained) -> BTreeSet<VifId> {
        let drained = config.vifs.iter().filter(|vif| drains.has(vif));
        drained.filter_map(|vif| self.vifs.get(&vif.name).map(vif_id)).collect()
    }

    fn gone(&self, config: &Config, gone: &Gone) -> GoneIds {
        let peers = gone.peers.iter();
        let peer =
            |(vif, address): &(Arc<str>, IpAddr)| Some((self.vifs.get(vif).map(vif_id)?, *address));
        GoneIds {
            vifs: self.ids_of(config, &gone.drained),
            peers: peers.filter_map(peer).collect(),
        }
    }

    fn fate(&self, id: GroupId, gone: &GoneIds) -> Fate {
        let members = self.groups.key(id.0).map_or(&[][..], |members| members).iter();
        let ways = members.filter(|share| self.prospect(share.adjacency) >= Prospect::Drained);
        let fates = ways.map(|share| gone.fate(self.tables.adjacency(share.adjacency)));
        fates.max().unwrap_or(Fate::Nowhere)
    }
}

/// What becomes of packets that a group leads somewhere: the best of what its members say.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    /// They have no way now, or never leave.
    Nowhere,
    /// They have one now, and none then.
    Dark,
    /// They have one to peers whose sessions end: a learned route goes with the last of them.
    InDoubt,
    /// They still have a way.
    Stays,
}

impl Base {
    /// The prefixes that have a way now and would have none without what is gone then. Subnets of the VIFs
    /// themselves, and what answers in them, are none of these: they go with the VIF.
    ///
    /// A learned route goes with its last way, and then a shorter one counts; a route of the configuration stays.
    pub fn dark(&self, then: &Gone) -> BTreeSet<Dark> {
        let (state, mut dark) = (&self.state, BTreeSet::new());
        let Some(config) = &self.config else { return dark };
        let gone = state.gone(config, then);
        let fates: HashMap<GroupId, Fate> = state
            .groups
            .wanted()
            .map(|(id, _)| GroupId(id))
            .map(|id| (id, state.fate(id, &gone)))
            .collect();
        let fate = |group: GroupId| fates.get(&group).copied().unwrap_or(Fate::Nowhere);
        for (&vrf, rib) in &state.ribs {
            let name = state.vrf_name(vrf);
            let found = prefixes_to(rib, &fate);
            let found = found.into_iter().filter(|prefix| goes_dark(rib, *prefix, &fate));
            dark.extend(found.map(|prefix| Dark { vrf: name.clone(), prefix }));
        }
        dark
    }
}

/// The prefixes whose routes end or lead nowhere then, but for those of VIFs' own subnets.
fn prefixes_to(rib: &Rib, fate: &impl Fn(GroupId) -> Fate) -> Vec<IpNet> {
    let of = |group| fate(group) == Fate::Dark;
    let own = rib.own.iter().filter(|(_, (source, group))| *source == Source::Static && of(*group));
    let mut found: Vec<IpNet> = own.map(|(prefix, _)| *prefix).collect();
    for list in &rib.lists {
        let leads = |prefix: &IpNet| list.group(*prefix).is_some_and(of);
        let wins = |prefix: &IpNet| matches!(rib.best(*prefix), Some((Source::List, _)));
        found.extend(list.prefixes.iter().copied().filter(|prefix| leads(prefix) && wins(prefix)));
    }
    let wins = |prefix| matches!(rib.best(prefix), Some((Source::Mapping, _)));
    found.extend(rib.mapped.prefixes_of(of).filter(|prefix| wins(*prefix)));
    let families = [IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())];
    for (prefix, group) in families.into_iter().flat_map(|all| rib.learned.range(all, None)) {
        let ends = matches!(fate(group), Fate::Dark | Fate::InDoubt);
        if ends && matches!(rib.best(prefix), Some((Source::Bgp, _))) {
            found.push(prefix);
        }
    }
    found
}

/// Whether packets for a prefix have no way then, not by a shorter prefix either.
fn goes_dark(rib: &Rib, prefix: IpNet, fate: &impl Fn(GroupId) -> Fate) -> bool {
    for prefix in std::iter::successors(Some(prefix), IpNet::supernet) {
        match rib.best(prefix) {
            Some((_, group)) if fate(group) == Fate::Stays => return false,
            // It is withdrawn with its last next hop.
            None | Some((Source::Bgp, _)) => {}
            Some((_, group)) => return fate(group) != Fate::InDoubt,
        }
    }
    true
}
