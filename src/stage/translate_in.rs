//! Translation of what is received ([`crate::tables::translation`]): the source, before anything is looked up.

use super::meter::marked;
use super::{Burst, Context, translate};
use crate::tables::Ingress;

/// Translates the sources of the lanes whose VIFs translate.
#[inline(always)]
pub fn run(burst: &mut Burst, c: &mut Context<'_>) {
    if burst.translated {
        let lanes = marked(burst.live, &burst.rules, Ingress::TRANSLATED);
        translate::run::<false>(burst, c, lanes);
    }
}
