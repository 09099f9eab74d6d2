//! From the configuration's bandwidths to meters. A limit that stays what it was keeps its bucket; one that changes begins
//! with a full one, so that no debt at an old rate holds up a new one.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::model::{Bandwidth, Config, VifConfig};
use crate::tables::meter::{Direction, Limit, Plan};

/// Whose limit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Owner {
    Port(Arc<str>),
    Group(Arc<str>),
    Vif(Arc<str>),
    /// What a VIF is committed to have.
    Committed(Arc<str>),
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
            let committed = own.and_then(|own| Some((own.committed?, own.burst_octets)));
            let name = &vif.name;
            let above = |bandwidth: Option<&&Bandwidth>| {
                let limit = bandwidth?.of(direction)?;
                Some((limit.rate?, limit.burst_octets))
            };
            let group = vif.meter_group.as_ref();
            let (of_group, of_port) = (
                group.and_then(|group| above(self.groups.get(&**group))),
                above(self.ports.get(&*vif.port)),
            );
            let group = group.cloned().unwrap_or_default();
            Plan {
                own: self.limit(
                    Owner::Vif(name.clone()),
                    direction,
                    own.and_then(|own| Some((own.rate?, own.burst_octets))),
                ),
                committed: self.limit(Owner::Committed(name.clone()), direction, committed),
                group: self.limit(Owner::Group(group), direction, of_group),
                port: self.limit(Owner::Port(vif.port.clone()), direction, of_port),
            }
        })
    }

    fn limit(
        &mut self,
        owner: Owner,
        direction: Direction,
        rate: Option<(u64, u64)>,
    ) -> Option<Limit> {
        let (rate, burst) = rate?;
        let limited = Limited(owner, direction);
        let limit = self.limits.entry(limited).or_insert_with_key(|limited| {
            let as_before = self.old.get(limited);
            let as_before = as_before.filter(|old| (old.rate, old.burst) == (rate, burst));
            as_before.cloned().unwrap_or_else(|| Limit::new(rate, burst))
        });
        Some(limit.clone())
    }
}
