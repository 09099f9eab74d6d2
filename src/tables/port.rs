//! Ports as the packet path sees them: the map from tags to VIFs.

use std::sync::Arc;

use super::ids::VifId;
use super::vif::{Ingress, Vif};
use crate::wire::ethernet::Mac;

/// Who is at the other end of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PortRole {
    /// A customer's cross-connect: hostile until proven otherwise.
    Customer,
    /// The provider's own network.
    Core,
}

/// What one VID means on a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VlanSlot {
    /// Nothing is configured.
    #[default]
    Empty,
    /// A VIF with this one tag; its TPID is 0x88a8 if `service`.
    Vif {
        /// The VIF.
        id: VifId,
        /// The TPID must be 0x88a8 (802.1ad).
        service: bool,
    },
    /// The outer tag of double-tagged VIFs; the index of their inner map.
    Inner {
        /// Index into the port's inner maps.
        map: u16,
        /// The outer TPID must be 0x88a8 (802.1ad).
        service: bool,
    },
}

impl VlanSlot {
    #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
    fn of(ingress: Ingress) -> VlanSlot {
        let service = ingress.rules & Ingress::SERVICE != 0;
        let low = ingress.place as u16;
        if ingress.rules & Ingress::VIF != 0 {
            VlanSlot::Vif { id: VifId(low), service }
        } else if ingress.rules & Ingress::INNER != 0 {
            VlanSlot::Inner { map: low, service }
        } else {
            VlanSlot::Empty
        }
    }
}

/// VID -> what it means.
pub type VlanMap = Box<[Ingress; 4096]>;

/// One NIC and the VIFs on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// The operator's name for it.
    pub name: Arc<str>,
    /// Its MAC, which all of its VIFs use.
    pub mac: Mac,
    /// Who is at the other end.
    pub role: PortRole,
    /// The link is up: frames may be sent to it.
    pub up: bool,
    outer: VlanMap,
    inner: Vec<VlanMap>,
}

impl Port {
    /// A port without VIFs.
    pub fn new(name: Arc<str>, mac: Mac, role: PortRole) -> Self {
        Port { name, mac, role, up: true, outer: empty_map(), inner: Vec::new() }
    }

    /// No port: it stands for an id that none has.
    pub fn vacant() -> Self {
        Port { up: false, ..Port::new("".into(), Mac::default(), PortRole::Core) }
    }

    /// Whether it is none.
    pub fn is_vacant(&self) -> bool {
        self.name.is_empty()
    }

    /// Puts a VIF on the port. Returns false, and changes nothing, where its tags collide with
    /// those of another VIF: the same tags, or one tag against two, or another outer TPID; or where
    /// they are none that a VIF may have.
    #[must_use]
    pub fn insert(&mut self, id: VifId, vif: &Vif) -> bool {
        let tags = vif.tags;
        if [tags.outer, tags.inner.unwrap_or(1)].iter().any(|vid| !(1..=4094).contains(vid)) {
            return false;
        }
        let ingress = Ingress::of(id, vif);
        let slot = &mut self.outer[usize::from(tags.outer & 0xfff)];
        match (tags.inner, VlanSlot::of(*slot)) {
            (None, VlanSlot::Empty) => {
                *slot = ingress;
                true
            }
            (Some(inner), VlanSlot::Empty) => {
                let Ok(map) = u16::try_from(self.inner.len()) else { return false };
                let rules = Ingress::INNER | ingress.rules & Ingress::SERVICE;
                *slot = Ingress { place: map.into(), rules };
                let mut vlans = empty_map();
                vlans[usize::from(inner & 0xfff)] = ingress;
                self.inner.push(vlans);
                true
            }
            (Some(inner), VlanSlot::Inner { map, service }) if service == tags.service => {
                let slot = &mut self.inner[usize::from(map)][usize::from(inner & 0xfff)];
                let free = *slot == Ingress::NONE;
                if free {
                    *slot = ingress;
                }
                free
            }
            _ => false,
        }
    }

    /// What outer VIDs mean, as the packet path reads it.
    #[inline(always)]
    pub fn outer_map(&self) -> &[Ingress; 4096] {
        &self.outer
    }

    /// What inner VIDs mean under a map that an outer VID named.
    #[inline(always)]
    pub fn inner_map(&self, map: u16) -> Option<&[Ingress; 4096]> {
        self.inner.get(usize::from(map)).map(|map| &**map)
    }

    /// What an outer VID means.
    pub fn outer(&self, vid: u16) -> VlanSlot {
        VlanSlot::of(self.outer[usize::from(vid & 0xfff)])
    }

    /// The VIF of an inner VID under a map that [`Port::outer`] named.
    pub fn inner(&self, map: u16, vid: u16) -> Option<VifId> {
        match VlanSlot::of(self.inner_map(map)?[usize::from(vid & 0xfff)]) {
            VlanSlot::Vif { id, .. } => Some(id),
            _ => None,
        }
    }

    /// How many tags, or pairs of them, lead to a VIF.
    pub fn wires(&self) -> usize {
        let maps = self.inner.iter().chain([&self.outer]);
        maps.flat_map(|map| map.iter()).filter(|slot| slot.rules & Ingress::VIF != 0).count()
    }
}

fn empty_map() -> VlanMap {
    Box::new([Ingress::NONE; 4096])
}
