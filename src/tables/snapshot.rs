//! One generation of the tables.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::Ipv4Net;

use super::acl::AccessLists;
use super::address_limit::AddressLimits;
use super::adjacency::{Adjacency, AdjacencyTable};
use super::exchange::Exchange;
use super::flow_log::FlowLog;
use super::group::GroupTable;
use super::ids::{AdjacencyId, ExchangeId, PortId, VifId};
use super::keys::Keys;
use super::meter::Meters;
use super::port::{Port, VlanSlot};
use super::qos::Qos;
use super::rules::FlowKeys;
use super::tunnel::Tunnels;
use super::vif::{Tags, Vif};

/// What a routing domain is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VrfKind {
    /// One tenant's VPC.
    Vpc,
    /// The provider's public services, shared by many tenants.
    Public,
    /// One tenant's transit gateways.
    Transit,
    /// The fabric that carries tunnels. No customer's VIF is in it.
    Underlay,
}

/// One routing domain.
#[derive(Clone, Debug)]
pub struct Vrf {
    /// The operator's name for it.
    pub name: Arc<str>,
    /// What it is for.
    pub kind: VrfKind,
    /// What it has of [`super::rules::RESERVED`]: sorted and apart.
    pub reserved: Arc<[Ipv4Net]>,
}

/// Everything a worker reads besides the FIB, as one generation. A new generation shares the tables
/// that did not change. Slots of deleted ports, VIFs and VRFs are `None` until reused.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The number of this generation.
    pub generation: u64,
    /// Ports by [`super::PortId`]. Each is behind its own `Arc`: its VLAN map is 16 KiB or more.
    pub ports: Arc<[Arc<Port>]>,
    /// VIFs by [`super::VifId`].
    pub vifs: Arc<[Option<Vif>]>,
    /// Access lists.
    pub acls: Arc<AccessLists>,
    /// VRFs by [`super::VrfId`].
    pub vrfs: Arc<[Option<Vrf>]>,
    /// Exchanges by [`super::ExchangeId`].
    pub exchanges: Arc<[Option<Exchange>]>,
    /// Next-hop groups.
    pub groups: Arc<GroupTable>,
    /// By what flows are spread over a group's members.
    pub flow_keys: FlowKeys,
    /// Adjacencies by [`super::AdjacencyId`]; 0 is "no route".
    pub adjacencies: Arc<AdjacencyTable>,
    /// What polices VIFs.
    pub meters: Arc<Meters>,
    /// What limits addresses.
    pub address_limits: Arc<AddressLimits>,
    /// Whose frames have classes; none where nobody's have.
    pub qos: Option<Arc<Qos>>,
    /// Whose flows are logged; none where nobody's are.
    pub flow_log: Option<Arc<FlowLog>>,
    /// Where tunnels end.
    pub tunnels: Arc<Tunnels>,
    /// The adjacency of each next hop, for the slow path.
    pub neighbors: Arc<HashMap<(VifId, IpAddr), AdjacencyId>>,
    /// The keys of BGP sessions, for the slow path.
    pub keys: Arc<Keys>,
}

impl Default for Snapshot {
    fn default() -> Self {
        Snapshot {
            generation: 0,
            ports: Arc::new([]),
            vifs: Arc::new([]),
            acls: Arc::default(),
            vrfs: Arc::new([]),
            exchanges: Arc::new([]),
            groups: Arc::default(),
            flow_keys: FlowKeys::default(),
            adjacencies: Arc::default(),
            meters: Arc::default(),
            address_limits: Arc::default(),
            qos: None,
            flow_log: None,
            tunnels: Arc::default(),
            neighbors: Arc::default(),
            keys: Arc::default(),
        }
    }
}

impl Snapshot {
    /// A VIF, if there is one under this id.
    #[inline(always)]
    pub fn vif(&self, id: VifId) -> Option<&Vif> {
        self.vifs.get(id.index())?.as_ref()
    }

    /// A port's name, or a VTEP's; empty where there is none of this id.
    pub fn port_name(&self, id: PortId) -> &str {
        self.ports.get(id.index()).map_or("", |port| &*port.name)
    }

    /// All VIFs, each with its id.
    pub fn vifs_by_id(&self) -> impl Iterator<Item = (VifId, &Vif)> + Clone {
        let vifs = (0..=u16::MAX).map(VifId).zip(self.vifs.iter());
        vifs.filter_map(|(id, vif)| Some((id, vif.as_ref()?)))
    }

    /// An exchange, if there is one under this id.
    pub fn exchange(&self, id: ExchangeId) -> Option<&Exchange> {
        self.exchanges.get(id.index())?.as_ref()
    }

    /// The VIF that a port's frames with these tags belong to.
    pub fn vif_of(&self, port: PortId, tags: Tags) -> Option<VifId> {
        let table = self.ports.get(port.index())?;
        let id = match (table.outer(tags.outer), tags.inner) {
            (VlanSlot::Vif { id, service }, None) if service == tags.service => id,
            (VlanSlot::Inner { map, service }, Some(inner)) if service == tags.service => {
                table.inner(map, inner)?
            }
            _ => return None,
        };
        self.vif(id).filter(|vif| (vif.port, vif.tags) == (port, tags)).map(|_| id)
    }

    /// An adjacency; "no route" for an id that is not in the table.
    #[inline(always)]
    pub fn adjacency(&self, id: AdjacencyId) -> &Adjacency {
        self.adjacencies.get(id.index()).unwrap_or(&self.adjacencies[0])
    }
}
