//! From the configuration's bandwidths to meters. A limit that stays what it was keeps its bucket; one that changes begins
//! with a full one, so that no debt at an old rate holds up a new one.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::model::{Bandwidth, Config, RateLimit, VifConfig};
use crate::tables::meter::{Direction, Limit, Plan};

/// Whose limit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Owner {
    Port(Arc<str>),
    Group(Arc<str>),
    Vif(Arc<str>),
    /// What a VIF is committed to have.
    Committed(Arc<str>),
    /// A class of what leaves by a VIF.
    Class {
        vif: Arc<str>,
        class: Arc<str>,
    },
}

/// All limits of a configuration.
pub(super) type Limits = HashMap<Limited, Limit>;

/// What a limit is of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Limited(Owner, Direction);

/// Makes the plans of VIFs.
pub(super) struct Planner<'a> {
    ports: HashMap<&'a str, &'a Bandwidth>,
    groups: HashMap<&'a str, &'a Bandwidth>,
    old: &'a Limits,
    /// What the plans made so far hold.
    pub(super) limits: Limits,
}

impl<'a> Planner<'a> {
    /// Plans by `config`, with the buckets of `old`.
    pub(super) fn new(config: &'a Config, old: &'a Limits) -> Planner<'a> {
        let ports = config.ports.iter().map(|port| (&*port.name, &port.bandwidth)).collect();
        let groups = config.meter_groups.iter();
        let groups = groups.map(|group| (&*group.name, &group.bandwidth)).collect();
        Planner { ports, groups, old, limits: Limits::new() }
    }

    /// The plans of a VIF, by direction.
    pub(super) fn plans(&mut self, vif: &VifConfig) -> [Plan; 2] {
        Direction::BOTH.map(|direction| {
            let own = vif.bandwidth.of(direction);
            let above = |bandwidth: Option<&&Bandwidth>| bandwidth?.of(direction);
            let of_port = above(self.ports.get(&*vif.port));
            let group = vif.meter_group.as_ref();
            let group = group.map(|group| (group.clone(), above(self.groups.get(&**group))));
            let peak = |limit: RateLimit| limit.rate;
            let mut limit = |owner, limit, which: fn(RateLimit) -> Option<u64>| {
                self.limit(Limited(owner, direction), limit, which)
            };
            Plan {
                own: limit(Owner::Vif(vif.name.clone()), own, peak),
                committed: limit(Owner::Committed(vif.name.clone()), own, |own| own.committed),
                group: group.and_then(|(group, of)| limit(Owner::Group(group), of, peak)),
                port: limit(Owner::Port(vif.port.clone()), of_port, peak),
            }
        })
    }

    /// The limit of a class of what leaves by a VIF, if there is one.
    pub(super) fn class(
        &mut self,
        vif: Arc<str>,
        class: Arc<str>,
        limit: Option<RateLimit>,
    ) -> Option<Limit> {
        let owner = Owner::Class { vif, class };
        self.limit(Limited(owner, Direction::Tx), limit, |limit| limit.rate)
    }

    /// The limit by one of the rates, if there is one.
    fn limit(
        &mut self,
        limited: Limited,
        limit: Option<RateLimit>,
        which: fn(RateLimit) -> Option<u64>,
    ) -> Option<Limit> {
        let limit = limit?;
        let (rate, burst) = (which(limit)?, limit.burst_octets);
        let limit = self.limits.entry(limited).or_insert_with_key(|limited| {
            let as_before = self.old.get(limited);
            let as_before =
                as_before.filter(|old| (old.pace.rate, old.pace.burst) == (rate, burst));
            as_before.cloned().unwrap_or_else(|| Limit::new(rate, burst))
        });
        Some(limit.clone())
    }
}
