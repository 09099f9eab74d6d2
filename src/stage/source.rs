//! Source address validation (RFC 3704, RFC 8704 feasible-path): what enters by a customer's VIF must
//! come from an address that the VRF would route back to it.

use super::{Burst, Context};
use crate::tables::rules::{AddressKind, admit};
use crate::tables::{GroupId, Ingress, SourceCheck, Verdict};

/// Not 0 where the source is checked and the one way back to it is not where the packet came from, or there is no one
/// way.
#[inline(always)]
pub fn concerns(burst: &Burst, lane: usize) -> u32 {
    let checked = burst.rules[lane] & Ingress::CHECKED != 0;
    if checked { burst.back_place[lane] ^ burst.place[lane] } else { 0 }
}

/// Drops such a lane where its source does not belong to its VIF.
///
/// # Errors
/// The lane's verdict.
pub fn verdict(burst: &Burst, c: &Context<'_>, lane: usize) -> Result<(), Verdict> {
    let Some(id) = burst.vif(lane) else { return Ok(()) };
    // A link-local source has no route: it is on the link or goes nowhere, which `resolve` sees to.
    if burst.v6.has(lane)
        && AddressKind::of6(burst.v6_addresses.source[lane]) == AddressKind::LinkLocal
    {
        return Ok(());
    }
    let mode = c.tables.vif(id).map_or(SourceCheck::Strict, |vif| vif.source_check);
    let group = GroupId(burst.back_group[lane]);
    admit(c.tables, group, id, mode).map_err(Verdict::Drop)
}
