//! From the configuration's limits of addresses to buckets. What stays what it was keeps its buckets.

use std::collections::HashMap;
use std::sync::Arc;

use super::commit::CommitError;
use crate::config::model::{Config, VifConfig};
use crate::tables::address_limit::Terms;
use crate::tables::{AddressLimit, AddressLimits, Direction, VifId};

/// What a limit's buckets are found by: its name, the VRF's, and the direction.
type Key<'a> = (&'a str, &'a str, Direction);

/// Makes the limits of VIFs.
pub(super) struct Limiter<'a> {
    terms: HashMap<&'a str, &'a Arc<Terms>>,
    old: HashMap<Key<'a>, &'a Arc<AddressLimit>>,
    made: HashMap<Key<'a>, Arc<AddressLimit>>,
    /// Those made so far.
    pub(super) limits: AddressLimits,
}

impl<'a> Limiter<'a> {
    /// Limits by `config`, with the buckets of `old`.
    pub(super) fn new(config: &'a Config, old: &'a AddressLimits) -> Limiter<'a> {
        let terms = config.address_limits.iter().map(|limit| (&*limit.name, &limit.terms));
        let old = old.all.iter().map(|old| ((&*old.name, &*old.vrf, old.direction), old));
        Limiter {
            terms: terms.collect(),
            old: old.collect(),
            made: HashMap::new(),
            limits: AddressLimits::default(),
        }
    }

    /// Gives a VIF its limits; by direction, whether there are any.
    pub(super) fn limit(
        &mut self,
        id: VifId,
        vif: &'a VifConfig,
    ) -> Result<[bool; 2], CommitError> {
        let mut all: [Box<[Arc<AddressLimit>]>; 2] = Default::default();
        for direction in Direction::BOTH {
            let names = vif.address_limits[direction as usize].iter();
            let limits: Result<Vec<_>, _> =
                names.map(|name| self.one(name, &vif.vrf, direction)).collect();
            all[direction as usize] = limits?.into();
        }
        let limited = all.each_ref().map(|limits| !limits.is_empty());
        if limited.contains(&true) {
            self.limits.set(id, all);
        }
        Ok(limited)
    }

    fn one(
        &mut self,
        name: &'a Arc<str>,
        vrf: &'a Arc<str>,
        direction: Direction,
    ) -> Result<Arc<AddressLimit>, CommitError> {
        let key: Key<'a> = (name, vrf, direction);
        if let Some(made) = self.made.get(&key) {
            return Ok(made.clone());
        }
        let terms = self.terms.get(&**name).copied();
        let terms = terms.ok_or_else(|| CommitError::Unknown("address limit", name.clone()))?;
        let made = match self.old.get(&key) {
            Some(same) if same.terms == *terms => (*same).clone(),
            old => {
                let key = (name.clone(), vrf.clone(), direction);
                Arc::new(AddressLimit::new(key, terms.clone(), old.map(|old| &***old)))
            }
        };
        self.made.insert(key, made.clone());
        self.limits.all.push(made.clone());
        Ok(made)
    }
}
