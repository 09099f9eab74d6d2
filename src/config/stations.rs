//! Other stations: the VIFs whose tunnels lead to one, and those that join them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::fields::Fields;
use super::model::{VifConfig, VrfConfig, VtepConfig};
use super::names;
use super::vteps::Remote;
use crate::tables::VrfKind;

/// The station that the tunnels of a VIF lead to, if they do.
pub(super) fn station(fields: &Fields<'_>, own: &str, vrf: Option<&VrfConfig>) -> Option<Arc<str>> {
    let name = fields.string("station")?;
    if !names::check(fields, "station", &name) {
        return None;
    }
    let refuse = |message: String, help: &str| fields.refuse(&name.span, "station", message, help);
    if name.value == own {
        refuse(format!("{own:?} is this station"), "write the name of the other one");
    } else if vrf.is_some_and(|vrf| vrf.kind == VrfKind::Public) {
        refuse(
            "a public VRF has many customers, and stations would join them".to_owned(),
            "use a VRF of kind \"vpc\" or \"transit\"",
        );
    }
    Some(name.value.into())
}

/// Whether a VIF joins other stations.
pub(super) fn join_stations(
    fields: &Fields<'_>,
    vrf: Option<&VrfConfig>,
    station: Option<&Arc<str>>,
) -> bool {
    let joins = fields.boolean("join_stations", false);
    let refuse = |message: String, help: &str| {
        fields.refuse(&fields.span_of("join_stations"), "join_stations", message, help);
    };
    if let (true, Some(station)) = (joins, station) {
        let message = format!("its tunnels lead to station {station:?}");
        refuse(message, "remove one of the two: nothing passes from station to station");
    }
    let never = [VrfKind::Public, VrfKind::Underlay];
    if let Some(vrf) = vrf.filter(|vrf| joins && never.contains(&vrf.kind)) {
        let message = format!("vrf {:?} has no tunnels to other stations", vrf.name);
        refuse(message, "remove it, or use a VRF of kind \"vpc\" or \"transit\"");
    }
    joins
}

/// A station, or none, and the VIF that says so.
type Owner = (Option<Arc<str>>, Arc<str>);

/// Whose VTEP each is, by underlay and address.
#[derive(Default)]
pub(super) struct Owners(HashMap<(Arc<str>, IpAddr), Owner>);

impl Owners {
    /// A VTEP is one station's in all its VNIs: what comes in one of them must not pass for what comes from a VPC.
    pub(super) fn add(
        &mut self,
        fields: &Fields<'_>,
        (vif, vtep): (&Arc<str>, &VtepConfig),
        remotes: &[Remote],
        station: Option<&Arc<str>>,
    ) {
        let words = |station: Option<&Arc<str>>| match station {
            Some(station) => format!("station {station:?}"),
            None => "no station".to_owned(),
        };
        for Remote { address, .. } in remotes {
            let owner = (station.cloned(), vif.clone());
            let known = self.0.entry((vtep.vrf.clone(), *address)).or_insert(owner);
            if known.0.as_ref() != station {
                let (whose, other) = (words(known.0.as_ref()), &known.1);
                let message = format!("{address} is a VTEP of {whose} on vif {other:?}");
                let help = "write the same station on both, or another address";
                fields.refuse(&fields.span_of("remotes"), "remotes", message, help);
            }
        }
    }
}

/// What a VIF loses of other stations.
pub(super) fn lost(old: &VifConfig, new: &VifConfig) -> Option<String> {
    let station = |vif: &VifConfig| vif.tunnel.as_ref().and_then(|tunnel| tunnel.station.clone());
    let (was, is) = (station(old), station(new));
    if let (true, Some(was)) = (was != is, &was) {
        return Some(format!("its tunnels are no more station {was}'s"));
    }
    if let (None, Some(is)) = (&was, &is) {
        return Some(format!("its tunnels become station {is}'s"));
    }
    (old.join_stations && !new.join_stations).then(|| "joins other stations no more".to_owned())
}
