//! Classes of service: which class of its egress VIF's policy a packet is in, how it is marked and policed there, and in
//! what order classes leave by a port that is slower than what is sent to it.
//!
//! A policy is of what leaves by a VIF. It has at most [`CLASSES`] classes, strict ones first, in the order in which they
//! are served. A packet is in the class that names its DSCP (RFC 2474); where none does, in the one that names the priority
//! (PCP) of the tag that it came with; else in the class of all others.

use std::collections::HashSet;
use std::sync::Arc;

use super::ids::{PortId, VifId};
use super::meter::Limit;
use super::tunnel::Overlay;
use super::vif::Vif;
use crate::wire::checksum;

/// Most classes of a policy.
pub const CLASSES: usize = 8;
/// Most policies of a station.
pub const MAX_POLICIES: usize = 256;
/// The least and the most weight of a class.
pub const WEIGHTS: std::ops::RangeInclusive<u16> = 1..=100;
/// The class of what no class of a policy takes, where the policy has none for it.
pub const BEST_EFFORT: &str = "best-effort";
/// Octets that a turn gives to the class with the least weight, and to each VIF of a port: an ordinary frame's.
pub const QUANTUM: u32 = 1_536;
/// Flag of [`crate::stage::Burst::priority`]: a class set the priority, whatever the VIF's `pcp` says.
pub const MARKED: u32 = 16;
/// The bits of a traffic class that are not its DSCP (RFC 3168).
const ECN: u8 = 3;
/// In [`Policy::dscp`]: the priority of the tag says.
const BY_PCP: u8 = u8::MAX;

/// When a class is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Before all classes behind it, as long as it has frames.
    Strict,
    /// By its share of octets among the classes with a weight.
    Weight(u16),
}

/// One class of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// The operator's name for it.
    pub name: Arc<str>,
    /// The DSCPs that it takes.
    pub dscp: Vec<u8>,
    /// The priorities that it takes, of packets whose DSCP no class names.
    pub pcp: Vec<u8>,
    /// The DSCP of what leaves; `None`: as it came.
    pub mark_dscp: Option<u8>,
    /// The priority of what leaves; `None`: as the VIF says.
    pub mark_pcp: Option<u8>,
    /// When it is served.
    pub order: Order,
}

impl Class {
    /// Whether it takes what no other class does.
    pub fn is_default(&self) -> bool {
        self.dscp.is_empty() && self.pcp.is_empty()
    }
}

/// How a VIF's classes share what the VIF gets of its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The strict classes, a bit each; the lowest is served first.
    pub strict: u8,
    /// Octets that a turn gives to each of the others.
    pub quanta: [u32; CLASSES],
}

impl Shape {
    /// That of a VIF without a policy, all of whose frames are in class 0.
    pub const PLAIN: Shape = Shape { strict: 0, quanta: [QUANTUM; CLASSES] };
}

/// A policy, in the form that packets are looked up in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The operator's name for it.
    pub name: Arc<str>,
    classes: Box<[Class]>,
    /// The class of each DSCP, or [`BY_PCP`].
    dscp: [u8; 64],
    /// The class of each priority.
    pcp: [u8; 8],
    shape: Shape,
}

impl Policy {
    /// A policy of these classes in the operator's order, of which one at most takes what no other does. Classes beyond
    /// [`CLASSES`] are left out.
    #[expect(clippy::cast_possible_truncation, reason = "there are at most eight classes")]
    pub fn new(name: Arc<str>, mut classes: Vec<Class>) -> Policy {
        if !classes.iter().any(Class::is_default) {
            classes.truncate(CLASSES - 1);
            classes.push(Class {
                name: BEST_EFFORT.into(),
                dscp: Vec::new(),
                pcp: Vec::new(),
                mark_dscp: None,
                mark_pcp: None,
                order: Order::Weight(1),
            });
        }
        classes.truncate(CLASSES);
        // Stable: strict classes keep the operator's order.
        classes.sort_by_key(|class| class.order != Order::Strict);
        let rest = classes.iter().position(Class::is_default).unwrap_or(0) as u8;
        let by_pcp = classes.iter().any(|class| !class.pcp.is_empty());
        let mut dscp = [if by_pcp { BY_PCP } else { rest }; 64];
        let mut pcp = [rest; 8];
        let weight = |class: &Class| match class.order {
            Order::Strict => None,
            Order::Weight(weight) => Some(u32::from(weight)),
        };
        let least = classes.iter().filter_map(weight).min().unwrap_or(1);
        let mut shape = Shape::PLAIN;
        for (at, class) in classes.iter().enumerate() {
            class.dscp.iter().for_each(|&n| dscp[usize::from(n) % 64] = at as u8);
            class.pcp.iter().for_each(|&n| pcp[usize::from(n) % 8] = at as u8);
            match weight(class) {
                Some(weight) => shape.quanta[at] = QUANTUM * weight / least,
                None => shape.strict |= 1 << at,
            }
        }
        Policy { name, classes: classes.into(), dscp, pcp, shape }
    }

    /// The classes in the order in which they are served.
    pub fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// The class of a packet with this traffic class, which came with this priority and drop eligibility (a TCI's upper
    /// four bits).
    #[inline(always)]
    pub fn class(&self, traffic: u8, priority: u32) -> usize {
        match self.dscp[usize::from(traffic >> 2)] {
            BY_PCP => self.pcp[(priority >> 1 & 7) as usize].into(),
            class => class.into(),
        }
    }

    /// The traffic class of what leaves by a class: its ECN bits stay.
    #[inline(always)]
    pub fn marked(&self, class: usize, traffic: u8) -> u8 {
        let mark = self.classes.get(class).and_then(|class| class.mark_dscp);
        mark.map_or(traffic, |dscp| dscp << 2 | traffic & ECN)
    }

    /// Priority and drop eligibility of what leaves by a class. Drop eligibility stays.
    #[inline(always)]
    pub fn priority(&self, class: usize, priority: u32) -> u32 {
        let mark = self.classes.get(class).and_then(|class| class.mark_pcp);
        mark.map_or(priority, |pcp| MARKED | u32::from(pcp) << 1 | priority & 1)
    }
}

/// A VIF's policy, and its own limits.
#[derive(Clone, Debug)]
pub struct VifQos {
    /// The policy, which VIFs share.
    pub policy: Arc<Policy>,
    /// What each class may send, by its place in the policy.
    pub limits: [Option<Limit>; CLASSES],
}

/// The policies of all VIFs, as one generation has them.
#[derive(Clone, Debug, Default)]
pub struct Qos {
    /// By VIF, one more than its place in `policies`; 0: it has none.
    places: Box<[u16]>,
    policies: Vec<VifQos>,
    /// NICs that VIFs with a policy send by, a bit each.
    ports: u64,
    /// By VIF: another number where the id is another VIF's, or leads elsewhere. See [`Qos::key`].
    keys: Box<[u64]>,
}

const _: () = assert!(PortId::FIRST_VTEP.0 == 64, "ports are bits of a word");

impl Qos {
    /// The policies of these VIFs, with what was said of them before: VIFs and keys. `epoch` is in no tables so far.
    /// `None` where no VIF has a policy.
    pub fn new(
        vifs: &[Option<Vif>],
        policies: impl IntoIterator<Item = (VifId, VifQos)>,
        (before, old): (&[Option<Vif>], Option<&Qos>),
        epoch: u64,
    ) -> Option<Qos> {
        let mut qos = Qos { places: vec![0; vifs.len()].into(), ..Qos::default() };
        for (id, policy) in policies {
            let Some(place) = qos.places.get_mut(id.index()) else { continue };
            qos.policies.push(policy);
            *place = u16::try_from(qos.policies.len()).unwrap_or(0);
        }
        if qos.policies.is_empty() {
            return None;
        }
        let with_policy = vifs.iter().zip(&qos.places).filter(|(_, place)| **place != 0);
        let mut underlays = HashSet::new();
        for vif in with_policy.filter_map(|(vif, _)| vif.as_ref()) {
            match vif.tunnel() {
                Some(tunnel) => drop(underlays.insert(tunnel.underlay)),
                None => qos.ports |= bit(vif.port),
            }
        }
        for vif in vifs.iter().flatten() {
            if vif.overlay == Overlay::Underlay && underlays.contains(&vif.vrf) {
                qos.ports |= bit(vif.port);
            }
        }
        let keys = vifs.iter().enumerate().map(|(at, vif)| {
            let was = before.get(at).zip(old.and_then(|old| old.keys.get(at)));
            match (vif, was) {
                (Some(now), Some((Some(was), &key))) if leads_as(now, was) => key,
                _ => epoch,
            }
        });
        qos.keys = keys.collect();
        Some(qos)
    }

    /// A VIF's policy, by the VIF's number.
    #[inline(always)]
    pub fn of(&self, vif: usize) -> Option<&VifQos> {
        let place = usize::from(*self.places.get(vif)?);
        self.policies.get(place.wrapping_sub(1))
    }

    /// All VIFs with a policy.
    pub fn vifs(&self) -> impl Iterator<Item = (VifId, &VifQos)> {
        let ids = (0..=u16::MAX).map(VifId).take(self.places.len());
        ids.filter_map(|id| Some((id, self.of(id.index())?)))
    }

    /// How a VIF's classes share what it gets.
    #[inline(always)]
    pub fn shape(&self, vif: VifId) -> &Shape {
        self.of(vif.index()).map_or(&Shape::PLAIN, |of| &of.policy.shape)
    }

    /// Whether some VIF with a policy sends by a port.
    #[inline(always)]
    pub const fn has(&self, port: PortId) -> bool {
        self.ports & bit(port) != 0
    }

    /// A number that a VIF keeps as long as it is the same one and leads to the same wire: frames that waited for it under
    /// another one are not its own.
    pub fn key(&self, vif: VifId) -> u64 {
        self.keys.get(vif.index()).copied().unwrap_or(0)
    }

    /// Marks a packet that leaves by a VIF, from its IP header on, as the fast path does; gives the priority that it leaves
    /// with.
    pub fn mark(&self, vif: VifId, packet: &mut [u8], priority: u8) -> u8 {
        let (Some(of), Some(&[first, second])) = (self.of(vif.index()), packet.first_chunk())
        else {
            return priority;
        };
        let traffic = traffic_class(first, second);
        let class = of.policy.class(traffic, priority.into());
        set_traffic_class(packet, of.policy.marked(class, traffic));
        u8::try_from(of.policy.priority(class, priority.into())).unwrap_or(priority)
    }
}

/// A NIC in a word of them; a VTEP is no NIC.
const fn bit(port: PortId) -> u64 {
    if port.0 < PortId::FIRST_VTEP.0 { 1 << port.0 } else { 0 }
}

/// Whether two VIFs are the same one, and its frames go to the same wire.
fn leads_as(a: &Vif, b: &Vif) -> bool {
    (&a.name, a.port, a.tags, a.vrf) == (&b.name, b.port, b.tags, b.vrf) && a.overlay == b.overlay
}

/// Of the first two octets of an IP header: the service octet (RFC 791) or the traffic class (RFC 8200).
#[inline(always)]
pub const fn traffic_class(first: u8, second: u8) -> u8 {
    if first >> 4 == 4 { second } else { first << 4 | second >> 4 }
}

/// Changes the traffic class of a packet, and in IPv4 the header's checksum (RFC 1624). Nothing happens to what is too short
/// for a header.
#[inline(always)]
pub fn set_traffic_class(packet: &mut [u8], traffic: u8) {
    let Some(head) = packet.first_chunk_mut::<20>() else { return };
    if head[0] >> 4 == 4 {
        let old = u16::from_be_bytes([head[0], head[1]]);
        head[1] = traffic;
        let new = u16::from_be_bytes([head[0], head[1]]);
        let sum = checksum::update(u16::from_be_bytes([head[10], head[11]]), old, new);
        [head[10], head[11]] = sum.to_be_bytes();
    } else {
        head[0] = head[0] & 0xf0 | traffic >> 4;
        head[1] = head[1] & 0x0f | traffic << 4;
    }
}

#[cfg(test)]
mod tests;
