//! A publisher whose workers are as slow as they may be: until `synchronize`, some worker may hold
//! any snapshot since the last one. Checks at each step that none of them can meet an id that means
//! nothing to it, something else, or another VRF's.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::rc::Rc;

use station::control::Publish;
use station::fib::FibReader;
use station::tables::{AdjacencyId, AdjacencyKind, GroupId, Snapshot, Vif, VlanSlot, VrfId};

/// What the workers share with the test.
pub struct Held {
    /// Snapshots that some worker may hold, oldest first.
    pub snapshots: Vec<Snapshot>,
    pub publications: usize,
    pub waits: usize,
    reader: FibReader,
    probes: Vec<IpAddr>,
}

#[derive(Clone)]
pub struct Workers(pub Rc<RefCell<Held>>);

impl Workers {
    pub fn new(reader: FibReader, probes: Vec<IpAddr>) -> Workers {
        let snapshots = vec![Snapshot::default()];
        Workers(Rc::new(RefCell::new(Held {
            snapshots,
            publications: 0,
            waits: 0,
            reader,
            probes,
        })))
    }
}

impl Publish for Workers {
    fn publish(&mut self, snapshot: Snapshot) {
        let held = &mut *self.0.borrow_mut();
        held.check();
        held.check_reuse(&snapshot);
        assert!(snapshot.generation > held.snapshots.last().unwrap().generation);
        held.snapshots.push(snapshot);
        held.publications += 1;
        held.check();
    }

    fn synchronize(&mut self) {
        let held = &mut *self.0.borrow_mut();
        held.check();
        let newest = held.snapshots.pop().unwrap();
        held.snapshots = vec![newest];
        held.waits += 1;
    }
}

impl Held {
    /// Whatever a packet's lookup answers now has a meaning, of the packet's VRF, in every snapshot
    /// that its worker may hold, if a VIF can bring it to that VRF.
    pub fn check(&self) {
        for tables in &self.snapshots {
            let vrfs: BTreeSet<VrfId> = reachable(tables).map(|vif| vif.vrf).collect();
            for (vrf, probe) in
                vrfs.iter().flat_map(|vrf| self.probes.iter().map(move |p| (vrf, p)))
            {
                let group = match probe {
                    IpAddr::V4(v4) => self.reader.lookup4(u32::from(vrf.0), v4.to_bits()),
                    IpAddr::V6(v6) => self.reader.lookup6(u32::from(vrf.0), v6.to_bits()),
                };
                let buckets = tables.groups.buckets(GroupId(group));
                for &bucket in buckets.iter().filter(|_| group != 0) {
                    let adjacency = tables.adjacency(bucket);
                    let at = format!("{probe} in {vrf:?}: group {group}, {adjacency:?}");
                    assert_ne!(adjacency.kind, AdjacencyKind::NoRoute, "{at}");
                    assert_eq!(adjacency.vrf, *vrf, "{at}");
                }
            }
        }
    }

    /// An id in the new snapshot means the same in every snapshot that some worker may hold.
    fn check_reuse(&self, new: &Snapshot) {
        for old in &self.snapshots {
            for (old, new) in old.vifs.iter().zip(new.vifs.iter()) {
                if let (Some(old), Some(new)) = (old, new) {
                    assert_eq!(old.name, new.name, "VIF id reused too early");
                }
            }
            for (old, new) in old.vrfs.iter().zip(&*new.vrfs) {
                if let (Some(old), Some(new)) = (old, new) {
                    assert_eq!(old.name, new.name, "VRF id reused too early");
                }
            }
            for (old, new) in old.adjacencies.iter().zip(new.adjacencies.iter()) {
                let none = AdjacencyKind::NoRoute;
                if old.kind != none && new.kind != none {
                    let key = |a: &station::tables::Adjacency| (a.vrf, a.vif, a.address);
                    assert_eq!(key(old), key(new), "adjacency id reused too early");
                }
            }
        }
        let newest = self.snapshots.last().unwrap();
        for id in (1..new.groups.len()).map(|id| GroupId(id as u32)) {
            let now = new.groups.members(id);
            let before = newest.groups.members(id);
            let unused = [AdjacencyId(0)];
            if now == unused {
                continue;
            }
            if before != unused {
                assert!(now.iter().any(|a| before.contains(a)), "group id reused at once");
            } else {
                let free = |old: &Snapshot| old.groups.members(id) == unused;
                assert!(self.snapshots.iter().all(free), "group id reused too early");
            }
        }
    }
}

/// The VIFs that a frame's tags lead to.
fn reachable(tables: &Snapshot) -> impl Iterator<Item = &Vif> {
    tables.vifs.iter().enumerate().filter_map(|(at, vif)| {
        let vif = vif.as_ref()?;
        let port = tables.ports.get(vif.port.index())?;
        let found = match (port.outer(vif.tags.outer), vif.tags.inner) {
            (VlanSlot::Vif { id, .. }, None) => Some(id),
            (VlanSlot::Inner { map, .. }, Some(inner)) => port.inner(map, inner),
            _ => None,
        };
        (found?.index() == at).then_some(vif)
    })
}
