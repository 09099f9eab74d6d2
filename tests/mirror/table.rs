//! Routes as somebody holds them who believes all that the mirror tells.

use std::collections::BTreeMap;

use ipnet::IpNet;
use station::mirror::{Change, Hops, Range, Table, To, Update};
use station::tables::VrfId;

/// Next hops by VRF, table and prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told(pub BTreeMap<(VrfId, Table, IpNet), Hops>);

impl Told {
    /// What is here, and not there or not the same.
    pub fn without(&self, other: &Told) -> Vec<(VrfId, Table, IpNet)> {
        let differs = |at: &&(VrfId, Table, IpNet)| self.0.get(at) != other.0.get(at);
        self.0.keys().filter(differs).copied().collect()
    }

    pub fn take(&mut self, update: Update) {
        match update {
            Update::Changes(changes) => changes.into_iter().for_each(|change| self.change(change)),
            Update::Range(range) => self.range(&range),
        }
    }

    fn change(&mut self, Change { vrf, table, prefix, to }: Change) {
        let at = (vrf, table, prefix);
        match to {
            To::Hops(hops) => drop(self.0.insert(at, hops)),
            To::Gone => drop(self.0.remove(&at)),
            To::Without(gone) => {
                let Some(old) = self.0.get(&at) else { return };
                let stays = |hop: &&station::mirror::Hop| {
                    gone.iter().all(|g| (&g.vif, g.address) != (&hop.vif, hop.address))
                };
                let rest: Hops = old.iter().filter(stays).cloned().collect();
                if rest.is_empty() {
                    self.0.remove(&at)
                } else {
                    self.0.insert(at, rest)
                };
            }
        }
    }

    fn range(&mut self, range: &Range) {
        let v6 = |prefix: &IpNet| prefix.addr().is_ipv6();
        let says = |prefix: &IpNet| {
            v6(prefix) == v6(&range.from)
                && *prefix >= range.from
                && range.until.is_none_or(|until| *prefix < until)
                && !range.unsure.contains(prefix)
        };
        self.0.retain(|(vrf, table, prefix), _| {
            (*vrf, *table) != (range.vrf, range.table) || !says(prefix)
        });
        for (prefix, hops) in range.routes.iter().filter(|(prefix, _)| says(prefix)) {
            self.0.insert((range.vrf, range.table, *prefix), hops.clone());
        }
    }
}
