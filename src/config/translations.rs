//! `translate` of a VIF.

use ipnet::IpNet;

use super::address::overlap;
use super::fields::{At, Fields};
use super::model::{VifConfig, VrfConfig};
use crate::tables::rules::{LINK_LOCAL, NO_HOSTS};
use crate::tables::{Translation, VrfKind};

/// Most translations of a VIF.
const MAX: usize = 1024;
const EXAMPLE: &str = "[\"10.1.0.0/24 as 198.51.100.0/24\"]";
const FIELD: &str = "translate";

/// `translate`. `addresses`: the VIF's own.
pub(super) fn translate(
    fields: &Fields<'_>,
    vrf: Option<&VrfConfig>,
    addresses: &[At<IpNet>],
) -> Vec<Translation> {
    let texts = fields.strings(FIELD, EXAMPLE);
    let span = fields.span_of(FIELD);
    if texts.len() > MAX {
        let message = format!("there are {}", texts.len());
        fields.refuse(&span, FIELD, message, format!("use at most {MAX}, with shorter prefixes"));
        return Vec::new();
    }
    if fields.has(FIELD) && vrf.is_some_and(|vrf| vrf.kind == VrfKind::Underlay) {
        let help = "translate at the VIFs of the VRFs above it";
        fields.refuse(&span, FIELD, "an underlay's addresses are VTEPs' and routers'", help);
    }
    let mut translations: Vec<Translation> = Vec::new();
    let mut seen: Vec<(IpNet, Translation)> = Vec::new();
    for At { value, span } in texts {
        let refuse = |message: String, help: String| fields.refuse(&span, FIELD, message, help);
        let translation: Translation = match value.parse() {
            Ok(translation) => translation,
            Err((message, help)) => {
                refuse(message, help);
                continue;
            }
        };
        let own = [translation.inside, translation.outside];
        let mut blocks = NO_HOSTS.iter().copied().chain(LINK_LOCAL.map(|net| (net, "link-local")));
        let refused = blocks.find(|(block, _)| own.iter().any(|net| overlap(net, block)));
        if let Some((block, what)) = refused {
            let message = format!("\"{translation}\" has addresses of {block}, {what}");
            refuse(message, "write prefixes that hosts use".into());
        } else if let Some((net, subnet)) = meets(&own, addresses.iter().map(|at| at.value)) {
            let message = format!("{net} meets {subnet}, the VIF's own subnet");
            refuse(message, "translate what is behind the customer's router".into());
        } else if overlap(&own[0], &own[1]) {
            let message = format!("{} and {} overlap", own[0], own[1]);
            refuse(message, "write prefixes that share no address".into());
        } else {
            seen.extend(own.map(|net| (net, translation)));
            translations.push(translation);
        }
    }
    // In the order of addresses, a prefix that overlaps an earlier one lies in the last of them that did not.
    seen.sort_unstable_by_key(|(net, _)| (net.network(), net.prefix_len()));
    let mut last: Option<(IpNet, Translation)> = None;
    for (net, translation) in seen {
        match last.filter(|(other, _)| overlap(other, &net)) {
            Some((other, with)) => {
                let message = format!("\"{with}\" and \"{translation}\" both have {net}");
                let help = format!("each address is in one translation: take it out of {other}");
                fields.refuse(&span, FIELD, message, help);
            }
            None => last = Some((net, translation)),
        }
    }
    translations
}

/// The first of these prefixes that shares an address with one of those.
fn meets(nets: &[IpNet], others: impl Iterator<Item = IpNet>) -> Option<(IpNet, IpNet)> {
    let mut others = others.map(|other| other.trunc());
    others.find_map(|other| Some((*nets.iter().find(|net| overlap(net, &other))?, other)))
}

/// What changes of a VIF's translations.
pub(super) fn translate_change(a: &VifConfig, b: &VifConfig) -> (&'static str, String, String) {
    let text = |vif: &VifConfig| {
        let all = vif.translate.iter().map(ToString::to_string).collect::<Vec<_>>();
        format!("[{}]", all.join(", "))
    };
    (FIELD, text(a), text(b))
}
