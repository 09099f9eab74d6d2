//! The short way: most packets pass all checks that are left, and a comparison of words tells which. The stages up to
//! [`super::rewrite`] see the others only.

use super::{Burst, Context, Lanes, WIDTH};
use crate::tables::{Facts, Ingress};

/// Sets apart the lanes against which a stage after this one may have something.
#[inline(always)]
pub fn run(burst: &mut Burst, _: &mut Context<'_>) {
    let lanes = burst.v4.or(burst.v6).eights();
    let mut strange = [0; WIDTH];
    for i in lanes {
        let (place, rules) = (burst.place[i], burst.rules[i]);
        let (to_place, to_rules) = (burst.to_place[i], burst.to_rules[i]);
        // `resolve`: an adjacency that does not send is nowhere, and so in no VRF.
        strange[i] = (to_place ^ place) >> 16
            | rules & to_rules & Facts::CUSTOMER
            | u32::from(burst.ip_len[i] > to_rules & 0xffff)
            | u32::from(burst.ttl[i] <= 1)
            | burst.flags[i]
            // `source`: the one way back is where the packet came from.
            | if rules & Ingress::CHECKED != 0 { burst.back_place[i] ^ place } else { 0 };
    }
    burst.odd = burst.live.without(Lanes::zero(&strange));
}
