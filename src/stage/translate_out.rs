//! Translation of what is sent ([`crate::tables::translation`]): the destination, once everything is judged.

use super::meter::marked;
use super::{Burst, Context, Lanes, translate};
use crate::tables::Facts;

/// Translates the destinations of the lanes that leave by VIFs that translate.
#[inline(always)]
pub fn run(burst: &mut Burst, c: &mut Context<'_>) {
    if !c.tables.adjacencies.translates() {
        return;
    }
    let lanes = marked(burst.live, &burst.to_rules, Facts::TRANSLATED);
    if lanes != Lanes(0) {
        translate::run::<true>(burst, c, lanes);
    }
}
