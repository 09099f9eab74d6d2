//! Interfaces as TAPs of VIFs, and a route's ways as next hops on them.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Hop, Hops, Leg, Plan, Tap};
use crate::tables::VrfId;

/// Most kinds of next hops that are remembered.
const REMEMBERED: usize = 1 << 16;

/// The next hops that some ways of a route make, and why others were refused.
#[derive(Clone, Debug)]
pub(super) struct Made {
    /// `None` where no way can be taken.
    pub hops: Option<Hops>,
    pub refused: u64,
    pub refusal: Option<Arc<str>>,
}

/// All interfaces by index, and what was made of routes that lead there.
#[derive(Debug, Default)]
pub(super) struct Devices {
    /// Their names, and whether they are administratively up.
    links: HashMap<u32, (String, bool)>,
    made: HashMap<(VrfId, Vec<Leg>), Made>,
}

impl Devices {
    /// An interface is there. True where its routes may have changed with it.
    pub fn present(&mut self, index: u32, name: String, admin_up: bool) -> bool {
        let link = (name, admin_up);
        if self.links.get(&index) == Some(&link) {
            return false;
        }
        self.made.clear();
        self.links.insert(index, link);
        true
    }

    /// An interface is gone.
    pub fn gone(&mut self, index: u32) {
        self.made.clear();
        self.links.remove(&index);
    }

    /// Other interfaces are TAPs.
    pub fn forget_routes(&mut self) {
        self.made.clear();
    }

    /// The VIF whose TAP an interface is.
    pub fn tap<'a>(&self, plan: &'a Plan, index: u32) -> Option<&'a Tap> {
        plan.taps.get(self.name(index)?)
    }

    fn name(&self, index: u32) -> Option<&str> {
        self.links.get(&index).map(|(name, _)| &**name)
    }

    /// Whether all interfaces of a route are known.
    pub fn know(&self, legs: &[Leg]) -> bool {
        legs.iter().all(|leg| self.links.contains_key(&leg.device))
    }

    /// The next hops that a route's ways make in a VRF, as made before where they were.
    pub fn hops(&mut self, plan: &Plan, vrf: VrfId, legs: Vec<Leg>) -> Made {
        let key = (vrf, legs);
        if let Some(made) = self.made.get(&key) {
            return made.clone();
        }
        let made = self.make(plan, vrf, &key.1);
        if self.made.len() >= REMEMBERED {
            self.made.clear();
        }
        self.made.insert(key, made.clone());
        made
    }

    fn make(&self, plan: &Plan, vrf: VrfId, legs: &[Leg]) -> Made {
        let mut hops = Vec::with_capacity(legs.len());
        let mut refused = Vec::new();
        for leg in legs {
            let device = match self.name(leg.device) {
                Some(name) => name.to_owned(),
                None => format!("interface {}", leg.device),
            };
            match (self.tap(plan, leg.device), leg.gateway) {
                (Some(tap), Some(address)) if tap.vrf == vrf => {
                    hops.push(Hop { vif: tap.vif.clone(), address, weight: leg.weight });
                }
                (Some(tap), _) if tap.vrf != vrf => {
                    refused.push(format!("SECURITY: a route leads to {device}, of another VRF"));
                }
                (Some(_), _) => refused.push(format!("a route by {device} has no gateway")),
                (None, _) => refused.push(format!("a route leads to {device}, no TAP of a VIF")),
            }
        }
        if legs.is_empty() {
            refused.push("a route has no next hop".to_owned());
        }
        hops.sort();
        Made {
            hops: (!hops.is_empty()).then(|| hops.into()),
            refused: refused.len() as u64,
            refusal: refused.pop().map(Arc::from),
        }
    }
}
