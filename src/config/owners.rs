//! Whose VRFs are. One of kind `vpc` or `transit` is one customer's: of whom it names itself, or else of whom the first
//! of its VIFs that names one does. A VIF that names none is its VRF's, or the provider's.

use std::collections::HashMap;
use std::sync::Arc;

use super::fields::Fields;
use super::model::VrfConfig;
use crate::tables::VrfKind;

/// Who says whose a VRF is, and where.
struct Owner {
    customer: String,
    /// The VIF that names the customer; `None` for the VRF itself.
    vif: Option<Arc<str>>,
    line: usize,
}

/// The owners of VRFs by name.
#[derive(Default)]
pub(super) struct Owners(HashMap<Arc<str>, Owner>);

impl Owners {
    /// The customer whose a VRF is.
    pub(super) fn of(&self, vrf: &str) -> Option<&str> {
        self.0.get(vrf).map(|owner| &*owner.customer)
    }

    /// Takes in the customer that a VRF, or a VIF in it, names; refuses one that is not its owner.
    pub(super) fn join(
        &mut self,
        fields: &Fields<'_>,
        vrf: &VrfConfig,
        vif: Option<&Arc<str>>,
        customer: Option<&str>,
    ) {
        let (Some(customer), VrfKind::Vpc | VrfKind::Transit) = (customer, vrf.kind) else {
            return;
        };
        let span = fields.span_of("customer");
        let line = fields.problems.line(&span);
        let owner = self.0.entry(vrf.name.clone()).or_insert_with(|| Owner {
            customer: customer.to_owned(),
            vif: vif.cloned(),
            line,
        });
        if owner.customer == customer {
            return;
        }
        let Owner { customer: other, vif, line } = owner;
        let of = match vif {
            Some(vif) => format!("vif {vif:?} in vrf {:?}", vrf.name),
            None => format!("vrf {:?}", vrf.name),
        };
        let message = format!("is {customer:?}, and {of} is of customer {other:?} by line {line}");
        let help = "a VRF of kind \"vpc\" or \"transit\" is one customer's: use a VRF of its own";
        fields.refuse(&span, "customer", message, help);
    }
}
