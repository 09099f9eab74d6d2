//! A mirror that is asked for: whose frames, where to, and what speaks against it.

use std::net::IpAddr;
use std::sync::atomic::AtomicU32;

use crate::admin::protocol::{ErrorKind, MirrorRequest, MirrorTo, Refusal};
use crate::admin::rows::Labels;
use crate::config::model::Config;
use crate::config::{is_name, name_help, rate_of};
use crate::daemon::answer::{invalid, no_such};
use crate::daemon::control_thread::Control;
use crate::tables::Network;
use crate::tables::meter::{Limit, default_burst};
use crate::tables::mirrors::{Carrier, Destination, Mirror, MirrorCounters, Mirrored};
use crate::tables::tunnel::MAX_VNI;
use crate::wire::bpf::Program;
use crate::wire::erspan::MAX_SESSION;
use crate::wire::ethernet::{HEADER_LEN, TAG_LEN};

/// Octets of a frame where nothing else is asked for: all of it.
const WHOLE: usize = *MirrorRequest::SNAP.end();

/// The labels of what is mirrored.
pub(super) fn labels<'a>(config: &'a Config, request: &MirrorRequest) -> Option<&'a Labels> {
    match (&request.vif, &request.port) {
        (Some(name), _) => config.vif(name).map(|vif| &vif.labels),
        (None, Some(name)) => config.port(name).map(|port| &port.labels),
        (None, None) => None,
    }
}

/// What is mirrored: where it is, and whose.
pub(super) fn identity(config: &Config, request: &MirrorRequest) -> Option<String> {
    let customer = labels(config, request)?.customer.as_deref().unwrap_or_default();
    Some(match (&request.vif, &request.port) {
        (Some(name), _) => {
            let vif = config.vif(name)?;
            let vni = vif.tunnel.as_ref().map_or(0, |tunnel| tunnel.vni);
            format!("{} {} {vni} {} {customer}", vif.port, vif.tags, vif.vrf)
        }
        (None, name) => format!("{} {customer}", config.port(name.as_deref()?)?.interface),
    })
}

/// Whose a place is to which copies go: a VRF or a port.
fn owner<'a>(config: &'a Config, to: &MirrorTo) -> Result<Option<&'a String>, Refusal> {
    let labels = match to {
        MirrorTo::Vlan { port, .. } => {
            config.port(port).map(|port| &port.labels).ok_or_else(|| no_such("port", port))
        }
        MirrorTo::Vxlan { vrf, .. } | MirrorTo::Erspan { vrf, .. } => {
            let found = config.vrfs.iter().find(|known| *known.name == **vrf);
            found.map(|vrf| &vrf.labels).ok_or_else(|| no_such("vrf", vrf))
        }
    };
    labels.map(|labels| labels.customer.as_ref())
}

impl Control {
    /// A mirror as the workers have it, or what is wrong with the request.
    pub(super) fn mirror(&self, request: &MirrorRequest) -> Result<Mirror, Refusal> {
        let (config, tables) = (self.config(), self.engine.tables());
        if !is_name(&request.name) {
            let message = format!("{:?} is not a name: {}", request.name, name_help());
            return Err(invalid(message));
        }
        let (port, vif) = self.place(request.port.as_deref(), request.vif.as_deref())?;
        let of = match vif {
            Some((id, vif)) => Mirrored::Vif(id, vif.name.clone(), Network::of(vif)),
            None => Mirrored::Port(port, tables.port_name(port).into()),
        };
        let theirs = owner(config, &request.to)?;
        let customer = labels(config, request).and_then(|labels| labels.customer.as_ref());
        if let Some(theirs) = theirs
            && customer != Some(theirs)
        {
            let message = format!(
                "copies would go to what is customer {theirs:?}'s: lead them to what is the same customer's, or nobody's"
            );
            return Err(Refusal::new(ErrorKind::Conflict, message));
        }
        let to = self.destination(&request.to)?;
        if let (Mirrored::Port(of, _), Destination::Vlan { port, .. }) = (&of, &to)
            && of == port
        {
            return Err(invalid("a port is not mirrored to itself: name another one"));
        }
        let snap = request.snap.unwrap_or(WHOLE);
        if !MirrorRequest::SNAP.contains(&snap) {
            let (least, most) = MirrorRequest::SNAP.into_inner();
            return Err(invalid(format!("snap is {least} to {most} octets, not {snap}")));
        }
        let filter = request.filter.as_ref().map(|filter| Program::new(&filter.program));
        let filter = filter.transpose().map_err(|error| invalid(error.to_string()))?;
        let rate = rate_of(&request.rate).map_err(invalid)?;
        let (inbound, outbound) = request.direction.ways();
        let mirror = Mirror {
            name: request.name.as_str().into(),
            of,
            inbound,
            outbound,
            filter,
            snap,
            to,
            limit: Limit::new(rate, default_burst(rate)),
            numbered: AtomicU32::new(0),
            counters: self.datapath.workers.iter().map(|_| MirrorCounters::default()).collect(),
        };
        match mirror.unfit(tables) {
            Some(unfit) => Err(Refusal::new(ErrorKind::Conflict, unfit.reason())),
            None => Ok(mirror),
        }
    }

    fn destination(&self, to: &MirrorTo) -> Result<Destination, Refusal> {
        let (vrf, address, carrier) = match to {
            MirrorTo::Vlan { port: name, vlan } => {
                if !(1..=4094).contains(vlan) {
                    return Err(invalid(format!("a VLAN is 1 to 4094, not {vlan}")));
                }
                let port = self.engine.port(name).ok_or_else(|| no_such("port", name))?;
                let mtu = self.datapath.ports.facts()[port.index()].mtu;
                // Tags beside the frame are beyond an interface's MTU.
                let room = usize::from(mtu) + HEADER_LEN + TAG_LEN;
                let name = name.as_str().into();
                return Ok(Destination::Vlan { port, name, vlan: *vlan, room });
            }
            MirrorTo::Vxlan { vrf, address, vni } => {
                if *vni > MAX_VNI {
                    return Err(invalid(format!("a VNI is 0 to {MAX_VNI}, not {vni}")));
                }
                (vrf, *address, Carrier::Vxlan(*vni))
            }
            MirrorTo::Erspan { session, .. } if *session > MAX_SESSION => {
                return Err(invalid(format!("a session is 0 to {MAX_SESSION}, not {session}")));
            }
            MirrorTo::Erspan { vrf, address, version: 2, session } => {
                (vrf, *address, Carrier::Erspan2(*session))
            }
            MirrorTo::Erspan { vrf, address, version: 3, session } => {
                (vrf, *address, Carrier::Erspan3(*session))
            }
            MirrorTo::Erspan { version, .. } => {
                return Err(invalid(format!("ERSPAN has types 2 and 3, not {version}")));
            }
        };
        let is_group = match address {
            IpAddr::V4(address) => address.is_multicast() || address.is_broadcast(),
            IpAddr::V6(address) => address.is_multicast() || address.is_unicast_link_local(),
        };
        if is_group || address.is_unspecified() || address.is_loopback() {
            return Err(invalid(format!(
                "copies go to the address of one host, and not to {address}"
            )));
        }
        let id = self.engine.vrf(vrf).ok_or_else(|| no_such("vrf", vrf))?;
        Ok(Destination::Tunnel { vrf: id, name: vrf.as_str().into(), remote: address, carrier })
    }
}
