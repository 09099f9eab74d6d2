//! The numbers and names of VIFs and VRFs in records.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::tables::{Snapshot, VifId};

/// How long a name that is gone is told. Its flows end with the configuration that has it no more, within seconds.
const KEPT: Duration = Duration::from_secs(60);

/// A VIF as records have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// The VIF's number, from 1 on; 0: none.
    pub vif: u32,
    /// Its VRF's.
    pub vrf: u32,
}

/// What hands out numbers: a name keeps its own as long as the process lives.
#[derive(Clone, Debug, Default)]
pub struct Names {
    vifs: HashMap<Arc<str>, u32>,
    vrfs: HashMap<Arc<str>, u32>,
    /// What collectors are told, of VIFs and of VRFs: the names of now, and those that went not long ago, of which flows
    /// may still come.
    told: [BTreeMap<u32, Told>; 2],
}

#[derive(Clone, Debug)]
struct Told {
    name: Arc<str>,
    gone: Option<Instant>,
}

impl Names {
    /// The interfaces of a configuration's VIFs, by id; their names are those of now.
    pub fn follow(&mut self, tables: &Snapshot) -> Vec<Interface> {
        let Names { vifs, vrfs, told: [told_vifs, told_vrfs] } = self;
        for told in told_vifs.values_mut().chain(told_vrfs.values_mut()) {
            told.gone.get_or_insert_with(Instant::now);
        }
        let vrf_numbers: Vec<u32> = tables
            .vrfs
            .iter()
            .map(|vrf| vrf.as_ref().map_or(0, |vrf| number(vrfs, told_vrfs, &vrf.name)))
            .collect();
        let mut interface = |id: VifId| {
            let vif = tables.vif(id)?;
            let vrf = vrf_numbers.get(vif.vrf.index()).copied()?;
            Some(Interface { vif: number(vifs, told_vifs, &vif.name), vrf })
        };
        let ids = (0..=u16::MAX).map(VifId).take(tables.vifs.len());
        let interfaces = ids.map(|id| interface(id).unwrap_or_default()).collect();
        let is_kept = |told: &Told| told.gone.is_none_or(|gone| gone.elapsed() < KEPT);
        for told in [told_vifs, told_vrfs] {
            told.retain(|_, told| is_kept(told));
        }
        interfaces
    }

    /// The numbers and names of VIFs, and those of VRFs.
    pub(super) fn told(&self) -> [impl Iterator<Item = (u32, &str)>; 2] {
        self.told.each_ref().map(|told| told.iter().map(|(&number, told)| (number, &*told.name)))
    }
}

/// The number of a name of now.
fn number(
    numbers: &mut HashMap<Arc<str>, u32>,
    told: &mut BTreeMap<u32, Told>,
    name: &Arc<str>,
) -> u32 {
    let next = u32::try_from(numbers.len() + 1).unwrap_or(u32::MAX);
    let number = *numbers.entry(name.clone()).or_insert(next);
    told.insert(number, Told { name: name.clone(), gone: None });
    number
}
