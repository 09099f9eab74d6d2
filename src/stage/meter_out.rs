//! Bandwidth of what is sent ([`super::meter`]): of a VIF with classes, what these let pass.

use super::{Burst, Context, meter};

/// Drops the lanes that exceed what the VIFs have by which they are to leave.
#[inline(always)]
pub fn run(burst: &mut Burst, c: &mut Context<'_>) {
    meter::sent(burst, c);
}
