//! `[[vrf]]` and `[[vif]]`, and the subnets that VIFs connect a VRF to.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use ipnet::IpNet;

use super::address;
use super::address_limits::{self, Limited};
use super::bandwidth::{Commitments, Of, bandwidth, group_of};
use super::bgp;
use super::fields::{At, Fields};
use super::flow_log;
use super::kind;
use super::labels::labels;
use super::model::{
    AclConfig, AddressLimitConfig, MeterGroupConfig, PortConfig, QosConfig, VifConfig, VrfConfig,
};
use super::names::Named;
use super::owners::Owners;
use super::qos;
use super::stations;
use super::tags::{self, TaggedVlans};
use super::translations::translate;
use super::vteps::{self, Vnis, Vteps};
use crate::tables::{Pcp, PortRole, SourceCheck, VrfKind};
use crate::wire::ipv6::is_link_local;

/// Most VRFs of a station.
const MAX_VRFS: usize = 65_535;
/// Most addresses of a VIF.
const MAX_ADDRESSES: usize = 16;
/// The least MTU of an IPv4 host (RFC 791: 576 octets are taken by everyone) and of an IPv6 link
/// (RFC 8200 section 5), and the most of Ethernet's jumbo frames in octets of IP.
const MTU: (u16, u16, u16) = (576, 1280, 9216);
const MTU_DEFAULT: u16 = 1500;

pub(super) fn vrfs(root: &Fields<'_>) -> (Named<VrfConfig>, Owners) {
    let (mut vrfs, mut owners) = (Named::new("vrf"), Owners::default());
    let tables = root.tables("vrf", "[{ ... }]");
    if let Some(extra) = tables.get(MAX_VRFS) {
        let message = format!("there are {} VRFs", tables.len());
        root.problems.add(&extra.span, "vrf", message, format!("use at most {MAX_VRFS}"));
    }
    let kinds = [
        ("vpc", VrfKind::Vpc),
        ("public", VrfKind::Public),
        ("transit", VrfKind::Transit),
        ("underlay", VrfKind::Underlay),
    ];
    for fields in tables {
        let name = vrfs.name(&fields);
        let labels = labels(&fields);
        let kind = fields.need_choice("kind", &kinds);
        let vrf =
            name.clone().zip(kind).map(|(name, kind)| VrfConfig { name, labels, kind: kind.value });
        if let Some(vrf) = &vrf {
            owners.join(&fields, vrf, None, vrf.labels.customer.as_deref());
        }
        vrfs.add(name.as_ref(), vrf);
        fields.finish();
    }
    (vrfs, owners)
}

/// A subnet that a VRF is connected to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subnet {
    /// The subnet, host bits cleared.
    pub(super) net: IpNet,
    /// The router's address in it.
    pub(super) own: IpAddr,
    /// The VIF, by its place among those without errors.
    pub(super) vif: usize,
}

/// The subnets of a VRF by their first address. They do not overlap.
#[derive(Default)]
pub(super) struct Subnets(BTreeMap<IpAddr, (Subnet, Range<usize>)>);

impl Subnets {
    /// The subnet that holds an address.
    pub(super) fn of(&self, address: IpAddr) -> Option<&Subnet> {
        let (_, (subnet, _)) = self.0.range(..=address).next_back()?;
        subnet.net.contains(&address).then_some(subnet)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Subnet> {
        self.0.values().map(|(subnet, _)| subnet)
    }

    /// Some subnet that shares addresses with `net`, and where it stands.
    fn overlap(&self, net: &IpNet) -> Option<&(Subnet, Range<usize>)> {
        let (_, found) = self.0.range(..=net.broadcast()).next_back()?;
        // The last subnet that begins before `net` ends either reaches into it or ends before it.
        address::overlap(&found.0.net, net).then_some(found)
    }
}

/// The VIFs, and what routes need to know of them.
pub(super) struct Vifs {
    pub(super) named: Named<VifConfig>,
    /// By VRF name.
    subnets: HashMap<Arc<str>, Subnets>,
    pub(super) owners: Owners,
}

impl Vifs {
    pub(super) fn items(&self) -> &[VifConfig] {
        self.named.items()
    }

    pub(super) fn into_items(self) -> Vec<VifConfig> {
        self.named.into_items()
    }

    /// The VIF in a VRF whose tunnels lead to this VTEP, by its place.
    pub(super) fn leading_to(&self, vtep: IpAddr, vrf: &str) -> Option<usize> {
        let leads = |vif: &VifConfig| *vif.vrf == *vrf && leads_to(vif, vtep);
        self.items().iter().position(leads)
    }

    /// Whether a VIF of this name has tunnels.
    pub(super) fn is_tunnel(&self, name: &str) -> bool {
        self.items().iter().any(|vif| *vif.name == *name && vif.tunnel.is_some())
    }

    /// The subnets of a VRF, if it has any.
    pub(super) fn subnets(&self, vrf: &str) -> Option<&Subnets> {
        self.subnets.get(vrf)
    }
}

/// What a VIF refers to.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    /// The station's own name.
    pub(super) station: &'a str,
    pub(super) ports: &'a Named<PortConfig>,
    pub(super) vrfs: &'a Named<VrfConfig>,
    pub(super) groups: &'a Named<MeterGroupConfig>,
    pub(super) limits: &'a Named<AddressLimitConfig>,
    pub(super) qos: &'a Named<QosConfig>,
    pub(super) acls: &'a Named<AclConfig>,
    pub(super) vteps: &'a Vteps,
    /// There are caches for RPKI.
    pub(super) rpki: bool,
    /// There is a `[flow_log]`.
    pub(super) flow_log: bool,
}

/// Whether a VIF has a tunnel to this VTEP.
pub(super) fn leads_to(vif: &VifConfig, vtep: IpAddr) -> bool {
    let remotes = vif.tunnel.iter().flat_map(|tunnel| &tunnel.remotes);
    remotes.into_iter().any(|remote| remote.address == vtep)
}

pub(super) fn vifs(root: &Fields<'_>, known: &Known<'_>, owners: Owners, max_vifs: u16) -> Vifs {
    let mut vifs = Vifs { named: Named::new("vif"), subnets: HashMap::new(), owners };
    let mut seen = Seen::default();
    let tables = root.tables("vif", "[{ ... }]");
    if let Some(extra) = tables.get(usize::from(max_vifs)) {
        let message = format!("there are {} VIFs", tables.len());
        let help = format!("raise max_vifs in [station], which is {max_vifs}, and restart");
        root.problems.add(&extra.span, "vif", message, help);
    }
    for fields in tables {
        let before = fields.problems.found();
        let name = vifs.named.name(&fields);
        // Without a name the rest is read all the same, for its errors.
        let of = if vteps::is_tunnel(&fields) { vteps::vif } else { vif };
        let vif = of(&fields, name.clone().unwrap_or_default(), known, &mut seen, &mut vifs);
        fields.finish();
        vifs.named.broken |= root.problems.found() > before;
        vifs.named.add(name.as_ref(), vif);
    }
    vifs
}

/// What VIFs have taken so far of what each has alone or shares.
#[derive(Default)]
pub(super) struct Seen {
    vlans: TaggedVlans,
    pub(super) vnis: Vnis,
    pub(super) stations: stations::Owners,
    pub(super) commitments: Commitments,
    pub(super) limited: Limited,
}

fn vif(
    fields: &Fields<'_>,
    name: Arc<str>,
    Known { ports, vrfs, groups, limits, qos, acls, rpki, flow_log, .. }: &Known<'_>,
    seen: &mut Seen,
    vifs: &mut Vifs,
) -> Option<VifConfig> {
    let port = ports.find(fields, "port").and_then(|index| ports.items().get(index));
    let vrf = vrfs.find(fields, "vrf").and_then(|index| vrfs.items().get(index));
    let tags = tags::read(fields);
    if let (Some(port), Some(tags)) = (port, &tags) {
        seen.vlans.add(fields, &port.name, tags);
    }
    let kind = kind::kind(fields, port, vrf);
    let addresses = addresses(fields);
    let mtu = mtu(fields, &addresses);
    let check = fields.choice("source_check", &SourceCheck::WORDS);
    let source_check = check.map(|check| check.value);
    let pcp = if fields.is_integer("pcp") {
        fields.integer("pcp", 0..=7_u8).map(|pcp| Pcp::Set(pcp.value))
    } else {
        fields.choice("pcp", &[("preserve", Pcp::Preserve)]).map(|pcp| pcp.value)
    };
    let up = fields.boolean("up", true);
    let join_stations = stations::join_stations(fields, vrf, None);
    let [acl_in, acl_out] = ["acl_in", "acl_out"].map(|key| acl(fields, key, acls));
    let translate = translate(fields, vrf, &addresses);
    let flow_log = flow_log::of_vif(fields, *flow_log);
    let twamp_reflector = fields.boolean("twamp_reflector", false);
    let of_vrf = vrf.map(|vrf| &vrf.name);
    let address_limits = address_limits::of_vif(fields, limits, of_vrf, &mut seen.limited);
    let top_talkers = fields.boolean("top_talkers", false);
    let labels = labels(fields);
    let bandwidth = bandwidth(fields, Of::Vif);
    let meter_group = group_of(fields, groups, labels.customer.as_deref());
    let qos = qos::of_vif(fields, qos, vrf);
    let bfd = bgp::bfd(fields);
    let side = bgp::Side { addresses: &addresses, kind, port, vrf, rpki: *rpki };
    let bgp = bgp::sessions(fields, &side);
    let (port, vrf, tags) = (port?, vrf?, tags?);
    vifs.owners.join(fields, vrf, Some(&name), labels.customer.as_deref());
    connect(fields, vrf, &addresses, vifs);
    seen.commitments.add(fields, &bandwidth, Some(port), meter_group);
    let default_check = match port.role {
        PortRole::Customer => SourceCheck::Strict,
        PortRole::Core => SourceCheck::Off,
    };
    Some(VifConfig {
        name,
        labels,
        port: port.name.clone(),
        tags: tags.value,
        tunnel: None,
        kind,
        vrf: vrf.name.clone(),
        addresses: addresses.into_iter().map(|address| address.value).collect(),
        mtu,
        up: up && port.up,
        join_stations,
        source_check: source_check.unwrap_or(default_check),
        pcp: pcp.unwrap_or(Pcp::Preserve),
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
        bfd,
        bgp,
    })
}

/// The access list that a field names; one with an error counts as none.
pub(super) fn acl(
    fields: &Fields<'_>,
    key: &'static str,
    acls: &Named<AclConfig>,
) -> Option<Arc<str>> {
    let name = fields.string(key)?;
    let at = acls.find_name(fields, key, &name)?;
    acls.items().get(at).map(|acl| acl.name.clone())
}

pub(super) fn mtu(fields: &Fields<'_>, addresses: &[At<IpNet>]) -> u16 {
    let has_v6 = addresses.iter().any(|address| matches!(address.value, IpNet::V6(_)));
    let least = if has_v6 { MTU.1 } else { MTU.0 };
    fields.integer("mtu", least..=MTU.2).map_or(MTU_DEFAULT, |mtu| mtu.value)
}

pub(super) fn addresses(fields: &Fields<'_>) -> Vec<At<IpNet>> {
    const EXAMPLE: &str = "[\"169.254.100.1/30\"]";
    let texts = fields.strings("addresses", EXAMPLE);
    let span = fields.span_of("addresses");
    if !fields.has("addresses") {
        fields.missing("addresses", &format!("addresses = {EXAMPLE}"));
    } else if fields.is_empty_array("addresses") {
        fields.refuse(&span, "addresses", "there is none", format!("write {EXAMPLE}"));
    } else if texts.len() > MAX_ADDRESSES {
        let message = format!("there are {}", texts.len());
        fields.refuse(&span, "addresses", message, format!("use at most {MAX_ADDRESSES}"));
    }
    let mut addresses: Vec<At<IpNet>> = Vec::new();
    let mut seen = HashSet::new();
    for text in texts {
        let At { value, span } = text;
        let refuse = |message: String, help: &str| {
            fields.refuse(&span, "addresses", message, help);
        };
        let Ok(net) = value.parse::<IpNet>() else {
            refuse(
                format!("{value:?} is not an address with a prefix length"),
                "write one like \"10.0.0.1/30\"",
            );
            continue;
        };
        let link_local = is_link_local(net.addr());
        if let Some(why) = address::not_a_host(net.addr(), &net) {
            refuse(why, "write the router's address in the subnet");
        } else if link_local && (net.prefix_len() != 64 || net.trunc() != LINK_LOCAL_64) {
            refuse(format!("{net} is not in fe80::/64"), "write one like \"fe80::1/64\"");
        } else if net.prefix_len() < if matches!(net, IpNet::V4(_)) { 8 } else { 16 } {
            refuse(format!("{net} is too large for a subnet"), "use at least /8 or, in IPv6, /16");
        } else if !seen.insert(if link_local { LINK_LOCAL_64.addr() } else { net.addr() }) {
            refuse(format!("{net} is a second one"), "remove one of the two");
        } else {
            addresses.push(At { value: net, span });
        }
    }
    addresses
}

const LINK_LOCAL_64: IpNet =
    IpNet::V6(ipnet::Ipv6Net::new_assert(std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 64));

/// Adds a VIF's subnets to its VRF's. Link-local subnets are the VIF's own.
pub(super) fn connect(
    fields: &Fields<'_>,
    vrf: &VrfConfig,
    addresses: &[At<IpNet>],
    vifs: &mut Vifs,
) {
    let subnets = vifs.subnets.entry(vrf.name.clone()).or_default();
    for At { value, span } in addresses {
        if is_link_local(value.addr()) {
            continue;
        }
        let subnet =
            Subnet { net: value.trunc(), own: value.addr(), vif: vifs.named.items().len() };
        match subnets.overlap(&subnet.net) {
            Some((other, place)) => {
                let line = fields.problems.line(place);
                let message = format!(
                    "{value} overlaps {}/{} on line {line} in vrf {:?}",
                    other.own,
                    other.net.prefix_len(),
                    vrf.name
                );
                let help = "use subnets that are apart: one VRF is one address space";
                fields.refuse(span, "addresses", message, help);
            }
            None => {
                subnets.0.insert(subnet.net.network(), (subnet, span.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlap_is_found_from_both_sides() {
        let mut subnets = Subnets::default();
        for net in ["10.0.0.0/24", "10.0.2.0/30", "2001:db8::/64"] {
            let net: IpNet = net.parse().unwrap();
            let subnet = Subnet { net, own: net.addr(), vif: 0 };
            subnets.0.insert(net.network(), (subnet, 0..0));
        }
        for (net, overlaps) in [
            ("10.0.0.0/25", true),
            ("10.0.0.128/25", true),
            ("10.0.0.0/16", true),
            ("0.0.0.0/0", true),
            ("10.0.1.0/24", false),
            ("10.0.2.0/31", true),
            ("10.0.2.4/30", false),
            ("9.255.255.0/24", false),
            ("10.0.3.0/24", false),
            ("2001:db8::/32", true),
            ("2001:db8:0:1::/64", false),
        ] {
            let net: IpNet = net.parse().unwrap();
            assert_eq!(subnets.overlap(&net).is_some(), overlaps, "{net}");
        }
        assert!(subnets.of("10.0.0.255".parse().unwrap()).is_some());
        assert!(subnets.of("10.0.1.0".parse().unwrap()).is_none());
    }
}
