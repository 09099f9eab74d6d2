//! What became of a flow's packets, as collectors know it.

use crate::tables::{DropReason, PuntReason, Verdict};

/// forwardingStatus of RFC 7270 4.12: two bits say whether packets were forwarded (1), dropped (2) or consumed (3), six say
/// why.
pub(super) const fn forwarding_status(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Forward => 64,
        Verdict::Drop(reason) => drop(reason),
        Verdict::Punt(reason) => punt(reason),
    }
}

const fn drop(reason: DropReason) -> u8 {
    use DropReason as D;
    match reason {
        D::AclDeniedIn | D::AclDeniedOut => 129,
        D::Blackhole => 131,
        D::BadChecksum => 134,
        D::BadTotalLength => 135,
        D::BadHeaderLength | D::BadVersion => 136,
        D::BandwidthExceeded
        | D::EgressBandwidthExceeded
        | D::AddressLimitExceeded
        | D::EgressAddressLimitExceeded
        | D::ClassBandwidthExceeded
        | D::RoutingRate
        | D::NeighborRate
        | D::PuntRate => 138,
        D::SpoofedSource | D::ForeignSource | D::ExchangeSource => 140,
        D::EgressDown => 142,
        D::TxFull | D::ClassQueueFull | D::PuntQueueFull => 143,
        _ => 128,
    }
}

const fn punt(reason: PuntReason) -> u8 {
    use PuntReason as P;
    match reason {
        P::NextHopUnresolved => 194,
        P::Arp | P::NeighborDiscovery | P::Bfd | P::Bgp | P::Local | P::LinkLocal => 195,
        _ => 192,
    }
}
