//! `[[vtep]]`, and the VIFs that are a VNI of one.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use ipnet::IpNet;

use super::address;
use super::address_limits;
use super::bandwidth::{Of, bandwidth, group_of};
use super::fields::{At, Fields};
use super::flow_log;
use super::labels::changes;
use super::labels::{Labels, label_changes, labels};
use super::model::{Config, PortConfig, VifConfig, VrfConfig};
use super::names::Named;
use super::qos;
use super::stations;
use super::translations::translate;
use super::vifs::{self, Known, Seen, Vifs};
use crate::tables::tunnel::{Dscp, MAX_VNI};
use crate::tables::{Pcp, PortId, SourceCheck, Tags, VrfKind};
use crate::wire::ethernet::Mac;
use crate::wire::ipv6::is_link_local;

/// `[[vtep]]`: an end of tunnels, and as a port has VLANs it has VNIs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VtepConfig {
    /// The operator's name for it. No port has it.
    pub name: Arc<str>,
    /// What it is for.
    pub labels: Labels,
    /// Name of the VRF that carries its tunnels, the underlay.
    pub vrf: Arc<str>,
    /// Its address, which a VIF of the underlay has.
    pub address: IpAddr,
    /// To which MAC other ends send inner frames.
    pub mac: Mac,
    /// What its tunnels' headers are marked with.
    pub dscp: Dscp,
}

/// The tunnels of a VIF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelConfig {
    /// VXLAN's network identifier.
    pub vni: u32,
    /// The VTEPs at the other ends, by address: the MACs of the routers there. Nobody else may send, and nothing goes
    /// elsewhere.
    pub remotes: Vec<Remote>,
    /// The other station that they lead to, if they do.
    pub station: Option<Arc<str>>,
}

/// A VTEP at another end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Its address.
    pub address: IpAddr,
    /// The MAC that inner frames are sent to.
    pub mac: Mac,
}

impl VifConfig {
    /// Where its frames are: a VLAN of its port, or a VNI of its VTEP.
    pub fn network(&self) -> String {
        match &self.tunnel {
            Some(tunnel) => format!("vtep {}, vni {}", self.port, tunnel.vni),
            None => format!("port {}, vlan {}", self.port, self.tags),
        }
    }
}

impl Config {
    /// The port that a VTEP is, by its place in the file.
    pub fn vtep_id(&self, place: usize) -> PortId {
        PortId(u8::try_from(PortId::FIRST_VTEP.index() + place).unwrap_or(u8::MAX))
    }
}

/// Most VTEPs of a station.
const MAX_VTEPS: usize = 64;
/// Most VTEPs at the other ends of a VIF's tunnels.
const MAX_REMOTES: usize = 1024;
const MAC_EXAMPLE: &str = "02:00:00:00:00:01";

/// The VTEPs, and where their addresses stand.
pub(super) struct Vteps {
    pub(super) named: Named<VtepConfig>,
    addresses: Vec<Range<usize>>,
}

pub(super) fn vteps(
    root: &Fields<'_>,
    ports: &Named<PortConfig>,
    vrfs: &Named<VrfConfig>,
) -> Vteps {
    let mut vteps = Vteps { named: Named::new("vtep"), addresses: Vec::new() };
    let tables = root.tables("vtep", "[{ ... }]");
    if let Some(extra) = tables.get(MAX_VTEPS) {
        let message = format!("there are {} VTEPs", tables.len());
        root.problems.add(&extra.span, "vtep", message, format!("use at most {MAX_VTEPS}"));
    }
    for fields in tables {
        let name = vteps.named.name(&fields);
        if let Some(name) = name.as_ref().filter(|name| ports.has(name)) {
            let message = format!("{name:?} is a port");
            let help = "give it a name of its own: a VIF is on one or the other";
            fields.refuse(&fields.span_of("name"), "name", message, help);
        }
        let labels = labels(&fields);
        let vrf = vrfs.find(&fields, "vrf").and_then(|index| vrfs.items().get(index));
        if let Some(vrf) = vrf.filter(|vrf| vrf.kind != VrfKind::Underlay) {
            let message = format!("vrf {:?} is no underlay", vrf.name);
            let help = "use a VRF of kind \"underlay\": nothing of a tenant is in it";
            fields.refuse(&fields.span_of("vrf"), "vrf", message, help);
        }
        let address = vtep_address(&fields);
        let mac = router_mac(&fields, "mac");
        let dscp = dscp(&fields);
        let vtep = match (&name, vrf, &address, mac) {
            (Some(name), Some(vrf), Some(address), Some(mac)) => Some(VtepConfig {
                name: name.clone(),
                labels,
                vrf: vrf.name.clone(),
                address: address.value,
                mac,
                dscp,
            }),
            _ => None,
        };
        if let (Some(_), Some(address)) = (&vtep, address) {
            vteps.addresses.push(address.span);
        }
        vteps.named.add(name.as_ref(), vtep);
        fields.finish();
    }
    vteps
}

/// A number is RFC 2983's pipe model.
fn dscp(fields: &Fields<'_>) -> Dscp {
    if fields.is_integer("dscp") {
        let dscp = fields.integer("dscp", 0..=63_u8);
        return dscp.map_or(Dscp::default(), |dscp| Dscp::Pipe(dscp.value));
    }
    let dscp = fields.choice("dscp", &[("copy", Dscp::Copy), ("uniform", Dscp::Uniform)]);
    dscp.map_or(Dscp::default(), |dscp| dscp.value)
}

fn vtep_address(fields: &Fields<'_>) -> Option<At<IpAddr>> {
    let address = fields.need_parsed::<IpAddr>("address", "10.255.0.1", "an address")?;
    let why = address::not_a_host(address.value, &address.value.into());
    let why = why.or_else(|| {
        is_link_local(address.value).then(|| format!("{} is link-local", address.value))
    });
    if let Some(why) = why {
        fields.refuse(&address.span, "address", why, "write an address that the underlay routes");
        return None;
    }
    Some(address)
}

fn router_mac(fields: &Fields<'_>, key: &'static str) -> Option<Mac> {
    let mac = fields.need_parsed::<Mac>(key, MAC_EXAMPLE, "a MAC address")?;
    if mac.value.is_group() || mac.value == Mac::default() {
        let message = format!("{} is not the MAC of one router", mac.value);
        fields.refuse(&mac.span, key, message, format!("write one like {MAC_EXAMPLE:?}"));
        return None;
    }
    Some(mac.value)
}

impl Vteps {
    /// Each VTEP has an address of its underlay's own, and none has another's.
    pub(super) fn check(&self, root: &Fields<'_>, vifs: &Vifs) {
        let mut taken: HashMap<(&str, IpAddr), &str> = HashMap::new();
        for (vtep, span) in self.named.items().iter().zip(&self.addresses) {
            let refuse = |message: String, help: &str| {
                root.problems.add(span, "vtep.address", message, help);
            };
            let has = |own: &IpNet| own.addr() == vtep.address;
            let of_vrf = vifs.items().iter().filter(|vif| vif.vrf == vtep.vrf);
            let mut own = of_vrf.flat_map(|vif| &vif.addresses);
            if !own.any(has) && !vifs.named.broken {
                let message = format!("no VIF of vrf {:?} has {}", vtep.vrf, vtep.address);
                refuse(
                    message,
                    "add it to the addresses of one, as a /32 or /128 if it is a loopback",
                );
            }
            if let Some(other) = taken.insert((&vtep.vrf, vtep.address), &vtep.name) {
                let message = format!("{} is vtep {other:?}'s", vtep.address);
                refuse(message, "give each VTEP an address of its own");
            }
        }
    }
}

/// The VNIs of each VTEP so far, and where they stand.
#[derive(Default)]
pub(super) struct Vnis(HashMap<(Arc<str>, u32), Range<usize>>);

/// Whether a VIF is a VNI of a VTEP, as its fields say.
pub(super) fn is_tunnel(fields: &Fields<'_>) -> bool {
    fields.has("vtep")
}

/// A VIF that is a VNI of a VTEP. It is the provider's, as those on core ports are, and has no neighbors but the
/// routers at the other ends.
pub(super) fn vif(
    fields: &Fields<'_>,
    name: Arc<str>,
    Known { station: own, vrfs, groups, limits, qos, acls, vteps, flow_log, .. }: &Known<'_>,
    seen: &mut Seen,
    all: &mut Vifs,
) -> Option<VifConfig> {
    let vrf = vrfs.find(fields, "vrf").and_then(|index| vrfs.items().get(index));
    let station = stations::station(fields, own, vrf);
    let join_stations = stations::join_stations(fields, vrf, station.as_ref());
    let tunnel = tunnel(fields, vteps, vrf, station, &mut seen.vnis);
    let addresses = vifs::addresses(fields);
    for At { value, span } in &addresses {
        if value.prefix_len() < value.max_prefix_len() {
            let message = format!("{value} is a subnet, and a tunnel has no neighbors");
            let help = format!("write \"{}\"", IpNet::from(value.addr()));
            fields.refuse(span, "addresses", message, help);
        }
    }
    let mtu = vifs::mtu(fields, &addresses);
    let up = fields.boolean("up", true);
    let labels = labels(fields);
    let bandwidth = bandwidth(fields, Of::Vif);
    let meter_group = group_of(fields, groups, labels.customer.as_deref());
    let qos = qos::of_vif(fields, qos, vrf);
    let [acl_in, acl_out] = ["acl_in", "acl_out"].map(|key| vifs::acl(fields, key, acls));
    let translate = translate(fields, vrf, &addresses);
    let flow_log = flow_log::of_vif(fields, *flow_log);
    let twamp_reflector = fields.boolean("twamp_reflector", false);
    let of_vrf = vrf.map(|vrf| &vrf.name);
    let address_limits = address_limits::of_vif(fields, limits, of_vrf, &mut seen.limited);
    let top_talkers = fields.boolean("top_talkers", false);
    let (vrf, (vtep, tunnel)) = (vrf?, tunnel?);
    seen.stations.add(fields, (&name, vtep), &tunnel.remotes, tunnel.station.as_ref());
    all.owners.join(fields, vrf, Some(&name), labels.customer.as_deref());
    vifs::connect(fields, vrf, &addresses, all);
    seen.commitments.add(fields, &bandwidth, None, meter_group);
    Some(VifConfig {
        name,
        labels,
        port: vtep.name.clone(),
        tags: Tags::NONE,
        tunnel: Some(tunnel),
        kind: None,
        vrf: vrf.name.clone(),
        addresses: addresses.into_iter().map(|address| address.value).collect(),
        mtu,
        up,
        join_stations,
        source_check: SourceCheck::Off,
        pcp: Pcp::Preserve,
        bandwidth,
        meter_group: meter_group.map(|group| group.name.clone()),
        address_limits,
        top_talkers,
        qos,
        acl_in,
        acl_out,
        translate,
        flow_log,
        twamp_reflector,
        bfd: None,
        bgp: Vec::new(),
    })
}

/// The VTEP and the tunnels of a VIF.
fn tunnel<'a>(
    fields: &Fields<'_>,
    vteps: &'a Vteps,
    vrf: Option<&VrfConfig>,
    station: Option<Arc<str>>,
    vnis: &mut Vnis,
) -> Option<(&'a VtepConfig, TunnelConfig)> {
    let vtep = vteps.named.find(fields, "vtep").and_then(|at| vteps.named.items().get(at));
    if let Some(vrf) = vrf.filter(|vrf| vrf.kind == VrfKind::Underlay) {
        let message = format!("vrf {:?} is an underlay", vrf.name);
        let help = "tunnels are not put into tunnels: use a VRF of kind \"vpc\", \"transit\" or \"public\"";
        fields.refuse(&fields.span_of("vrf"), "vrf", message, help);
    }
    if !fields.has("vni") {
        fields.missing("vni", "vni = 5001");
    }
    let vni = fields.integer("vni", 1..=MAX_VNI);
    if let (Some(vtep), Some(vni)) = (vtep, &vni) {
        let key = (vtep.name.clone(), vni.value);
        if let Some(place) = vnis.0.get(&key) {
            let line = fields.problems.line(place);
            let message = format!("{} is used on vtep {:?}, line {line}", vni.value, vtep.name);
            fields.refuse(&vni.span, "vni", message, "use another VNI");
        } else {
            vnis.0.insert(key, vni.span.clone());
        }
    }
    let remotes = remotes(fields, vtep);
    Some((vtep?, TunnelConfig { vni: vni?.value, remotes, station }))
}

fn remotes(fields: &Fields<'_>, vtep: Option<&VtepConfig>) -> Vec<Remote> {
    const EXAMPLE: &str = "[{ address = \"10.255.0.2\", mac = \"02:00:00:00:00:02\" }]";
    let span = fields.span_of("remotes");
    let tables = fields.tables("remotes", EXAMPLE);
    if !fields.has("remotes") {
        fields.missing("remotes", &format!("remotes = {EXAMPLE}"));
    } else if fields.is_empty_array("remotes") {
        fields.refuse(&span, "remotes", "there is none", format!("write {EXAMPLE}"));
    } else if tables.len() > MAX_REMOTES {
        let message = format!("there are {}", tables.len());
        fields.refuse(&span, "remotes", message, format!("use at most {MAX_REMOTES}"));
    }
    let mut remotes: Vec<Remote> = Vec::new();
    for table in tables {
        let (address, mac) = (vtep_address(&table), router_mac(&table, "mac"));
        if let (Some(address), Some(mac)) = (address, mac) {
            let refuse = |message: String, help: &str| {
                table.refuse(&address.span, "address", message, help);
            };
            let own = vtep.filter(|vtep| vtep.address.is_ipv4() != address.value.is_ipv4());
            if let Some(vtep) = own {
                let message = format!("{} is not of the family of {}", address.value, vtep.address);
                refuse(message, "write a VTEP of the family of our own");
            } else if vtep.is_some_and(|vtep| vtep.address == address.value) {
                refuse(format!("{} is our own", address.value), "write the other end's");
            } else if remotes.iter().any(|other| other.address == address.value) {
                refuse(format!("{} is there twice", address.value), "remove one of the two");
            }
            remotes.push(Remote { address: address.value, mac });
        }
        table.finish();
    }
    remotes
}

/// What changes of a VTEP.
pub(super) fn vtep_change(a: &VtepConfig, b: &VtepConfig) -> Option<String> {
    let [customer, description, circuit] = label_changes(&a.labels, &b.labels);
    changes(&[
        ("vrf", a.vrf.to_string(), b.vrf.to_string()),
        ("address", a.address.to_string(), b.address.to_string()),
        ("mac", a.mac.to_string(), b.mac.to_string()),
        ("dscp", a.dscp.to_string(), b.dscp.to_string()),
        customer,
        description,
        circuit,
    ])
}

/// What changes of the tunnels of a VIF: their VNI, their other ends, and whose these are.
pub(super) fn tunnel_changes(a: &VifConfig, b: &VifConfig) -> [(&'static str, String, String); 3] {
    let vni = |vif: &VifConfig| match &vif.tunnel {
        Some(tunnel) => tunnel.vni.to_string(),
        None => "none".to_owned(),
    };
    let remotes = |vif: &VifConfig| {
        let remotes = vif.tunnel.iter().flat_map(|tunnel| &tunnel.remotes);
        let remotes = remotes.map(|remote| format!("{} at {}", remote.mac, remote.address));
        format!("[{}]", remotes.collect::<Vec<_>>().join(", "))
    };
    let station = |vif: &VifConfig| {
        let station = vif.tunnel.as_ref().and_then(|tunnel| tunnel.station.as_deref());
        station.unwrap_or("none").to_owned()
    };
    [
        ("vni", vni(a), vni(b)),
        ("remotes", remotes(a), remotes(b)),
        ("station", station(a), station(b)),
    ]
}
