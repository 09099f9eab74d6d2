//! Why a frame went no further, wherever that was decided: one list for `show drops`.

use super::verdict::{DropReason, PuntReason, SlowOutcome};

/// Why a frame went no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Loss {
    /// The fast path dropped it.
    Dropped(DropReason),
    /// It had to be answered by an ICMP error instead of being forwarded.
    Undeliverable(PuntReason),
    /// The slow path had no use for it.
    Refused(SlowOutcome),
}

impl Loss {
    /// How many there are.
    pub const COUNT: usize = DropReason::COUNT + PuntReason::COUNT + SlowOutcome::COUNT;

    /// All of them, in the order of [`Loss::index`].
    pub fn all() -> impl Iterator<Item = Loss> {
        let dropped = DropReason::ALL.iter().map(|&reason| Loss::Dropped(reason));
        let undeliverable = PuntReason::ALL.iter().map(|&reason| Loss::Undeliverable(reason));
        let refused = SlowOutcome::ALL.iter().map(|&outcome| Loss::Refused(outcome));
        dropped.chain(undeliverable).chain(refused)
    }

    /// Whether a frame that was punted for this reason went no further, with this outcome.
    pub const fn of_punt(reason: PuntReason, outcome: SlowOutcome) -> Option<Loss> {
        use PuntReason::{AclRejected, NoRoute, Prohibited, TooBig, TtlExceeded, Unreachable};
        use SlowOutcome::{
            Answered, Consumed, Forwarded, IcmpNotAllowed, IcmpRate, NeighborClaimed, Queued,
            ToKernel,
        };
        match outcome {
            ToKernel | Consumed | Forwarded | Queued | NeighborClaimed => None,
            Answered | IcmpNotAllowed | IcmpRate => match reason {
                // The same whether the sender was told or not.
                AclRejected | NoRoute | Unreachable | Prohibited | TtlExceeded | TooBig => {
                    Some(Loss::Undeliverable(reason))
                }
                _ if matches!(outcome, Answered) => None,
                _ => Some(Loss::Refused(outcome)),
            },
            _ => Some(Loss::Refused(outcome)),
        }
    }

    /// The name of the counter.
    pub const fn name(self) -> &'static str {
        match self {
            Loss::Dropped(reason) => reason.name(),
            Loss::Undeliverable(reason) => reason.name(),
            Loss::Refused(outcome) => outcome.name(),
        }
    }

    /// What happened and what to do about it, for an operator.
    pub const fn help(self) -> &'static str {
        match self {
            Loss::Dropped(reason) => reason.help(),
            Loss::Undeliverable(reason) => reason.help(),
            Loss::Refused(outcome) => outcome.help(),
        }
    }

    /// Its place in an array.
    #[inline(always)]
    pub const fn index(self) -> usize {
        match self {
            Loss::Dropped(reason) => reason.index(),
            Loss::Undeliverable(reason) => DropReason::COUNT + reason.index(),
            Loss::Refused(outcome) => DropReason::COUNT + PuntReason::COUNT + outcome.index(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_loss_has_a_place_of_its_own() {
        assert!(Loss::all().map(Loss::index).eq(0..Loss::COUNT));
        let mut names: Vec<&str> = Loss::all().map(Loss::name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Loss::COUNT);
    }

    #[test]
    fn what_is_answered_instead_of_forwarded_went_no_further() {
        use {PuntReason as P, SlowOutcome as S};
        for (reason, outcome, name) in [
            (P::NoRoute, S::Answered, Some("no_route")),
            (P::NoRoute, S::IcmpRate, Some("no_route")),
            (P::TooBig, S::Forwarded, None),
            (P::TooBig, S::Answered, Some("too_big")),
            (P::Local, S::Answered, None),
            (P::Local, S::IcmpRate, Some("icmp_rate")),
            (P::Local, S::NoService, Some("no_service")),
            (P::Arp, S::ArpOffSubnet, Some("arp_off_subnet")),
            (P::NextHopUnresolved, S::Queued, None),
        ] {
            assert_eq!(Loss::of_punt(reason, outcome).map(Loss::name), name);
        }
    }
}
