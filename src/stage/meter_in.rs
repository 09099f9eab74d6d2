//! Bandwidth of what is received ([`super::meter`]).

use super::{Burst, Context, meter};

/// Drops the lanes that exceed what the VIFs have by which they came.
#[inline(always)]
pub fn run(burst: &mut Burst, c: &mut Context<'_>) {
    meter::received(burst, c);
}
