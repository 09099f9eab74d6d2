//! `kind` of a VIF.

use super::fields::Fields;
use super::model::{PortConfig, VrfConfig};
use crate::tables::{PortRole, VifKind, VrfKind};

/// The kind, which has to fit the port's role and the VRF's kind.
pub(super) fn kind(
    fields: &Fields<'_>,
    port: Option<&PortConfig>,
    vrf: Option<&VrfConfig>,
) -> Option<VifKind> {
    let kinds =
        [("private", VifKind::Private), ("public", VifKind::Public), ("transit", VifKind::Transit)];
    let kind = fields.choice("kind", &kinds);
    match (port.map(|port| port.role), &kind) {
        (Some(PortRole::Core), Some(kind)) => {
            fields.refuse(&kind.span, "kind", "the port is a core port", "remove kind");
        }
        (Some(PortRole::Customer), None) if !fields.has("kind") => {
            fields.missing("kind", "kind = \"private\", \"public\" or \"transit\"");
        }
        _ => {}
    }
    let (kind, vrf) = (kind?, vrf?);
    let (needed, word) = match kind.value {
        VifKind::Private => (VrfKind::Vpc, "vpc"),
        VifKind::Public => (VrfKind::Public, "public"),
        VifKind::Transit => (VrfKind::Transit, "transit"),
    };
    if vrf.kind != needed {
        let message = format!("vrf {:?} is of another kind", vrf.name);
        let help = format!("use a VRF of kind {word:?}, or change the VIF's kind");
        fields.refuse(&kind.span, "kind", message, help);
    }
    Some(kind.value)
}
