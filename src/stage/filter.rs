//! The fast-path filter. Most packets pass all checks behind it, and a comparison of words over the whole burst tells
//! which: the others alone are looked at, a lane at a time.
//!
//! A filtered stage is a file with two functions: `concerns`, the condition under which it may have something to say, as
//! bits that are not 0, computed from columns; and `verdict`, what it says. One list of stages, in [`crate::path`], makes
//! both the filter and what visits the lanes that it marks. So no stage can be visited without being in the filter.

use super::{Burst, Context, Lanes, WIDTH};
use crate::tables::Verdict;

/// One filtered stage, for who looks on.
pub struct Filtered {
    /// Its name.
    pub name: &'static str,
    /// Not 0 where it may have something to say of a lane.
    pub concerns: fn(&Burst, usize) -> u32,
    /// What it says of a lane that it concerns.
    pub verdict: fn(&Burst, &Context<'_>, usize) -> Result<(), Verdict>,
}

/// Makes `concerns` and `verdict` of a list of filtered stages: the conditions together, and the first thing that a stage
/// whose condition holds has to say. And `FILTERED`, the stages one by one.
macro_rules! filtered {
    ($($stage:ident),+ $(,)?) => {
        #[inline(always)]
        fn concerns(burst: &$crate::stage::Burst, lane: usize) -> u32 {
            0 $(| $stage::concerns(burst, lane))+
        }

        fn verdict(
            burst: &$crate::stage::Burst,
            context: &$crate::stage::Context<'_>,
            lane: usize,
        ) -> Result<(), $crate::tables::Verdict> {
            $(if $stage::concerns(burst, lane) != 0 {
                $stage::verdict(burst, context, lane)?;
            })+
            Ok(())
        }

        const FILTERED: &[$crate::stage::Filtered] = &[$($crate::stage::Filtered {
            name: stringify!($stage),
            concerns: $stage::concerns,
            verdict: $stage::verdict,
        }),+];
    };
}
pub(crate) use filtered;

/// Settles the lanes of which a filtered stage says something.
#[inline(always)]
pub fn run(
    burst: &mut Burst,
    context: &Context<'_>,
    concerns: impl Fn(&Burst, usize) -> u32,
    verdict: impl Fn(&Burst, &Context<'_>, usize) -> Result<(), Verdict>,
) {
    let mut marks = [0; WIDTH];
    for lane in burst.v4.or(burst.v6).eights() {
        marks[lane] = concerns(burst, lane);
    }
    for lane in burst.live.without(Lanes::zero(&marks)) {
        if let Err(verdict) = verdict(burst, context, lane) {
            burst.settle(lane, verdict);
        }
    }
}
