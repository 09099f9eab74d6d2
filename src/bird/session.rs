//! The sessions of a configuration, and what the things that are made of them are called in BIRD.

use std::net::IpAddr;
use std::sync::Arc;

use crate::admin::protocol::Family;
use crate::config::model::{Config, VifConfig};
use crate::control::kernel::tap_name;
use crate::tables::PortId;

/// A BGP session, as BIRD knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The name of its protocol in BIRD.
    pub protocol: String,
    /// The TAP of its VIF.
    pub tap: String,
    /// Name of the VIF.
    pub vif: Arc<str>,
    /// Name of the VIF's VRF.
    pub vrf: Arc<str>,
    /// The peer.
    pub peer: IpAddr,
    /// The router's address in the session.
    pub local: IpAddr,
    /// The peer's AS.
    pub peer_as: u32,
    /// Our AS.
    pub local_as: u32,
    /// Accepted prefixes that are too many.
    pub max_prefixes: u32,
    /// The VIF has BFD.
    pub bfd: bool,
}

impl Session {
    /// The family of its routes.
    pub fn family(&self) -> Family {
        family(self.peer)
    }

    /// Whether the peer is of our own AS.
    pub fn is_internal(&self) -> bool {
        self.peer_as == self.local_as
    }

    /// The table of BIRD that its routes are in.
    pub fn table(&self) -> String {
        table(&self.vrf, self.family())
    }
}

pub(super) fn family(address: IpAddr) -> Family {
    if address.is_ipv4() { Family::Ipv4 } else { Family::Ipv6 }
}

/// `4` or `6`, in the names of what belongs to a family.
pub(super) fn digit(family: Family) -> char {
    match family {
        Family::Ipv4 => '4',
        Family::Ipv6 => '6',
    }
}

/// The table of BIRD with a VRF's routes.
pub(super) fn table(vrf: &str, family: Family) -> String {
    format!("r{}.{vrf}", digit(family))
}

/// The protocol of a session.
pub(super) fn protocol(tap: &str, peer: IpAddr) -> String {
    format!("b.{tap}.{peer}")
}

/// The protocol of a VIF's BFD.
pub(super) fn bfd_protocol(tap: &str) -> String {
    format!("f.{tap}")
}

/// The TAP of a VIF of this configuration.
pub(super) fn tap(config: &Config, vif: &VifConfig) -> String {
    tap_name(config.port(&vif.port).map_or(PortId(0), |port| port.id), vif.tags)
}

/// All sessions, in the order of the VIFs.
pub fn sessions(config: &Config) -> Vec<Session> {
    let mut sessions = Vec::new();
    for vif in &config.vifs {
        let tap = tap(config, vif);
        sessions.extend(vif.bgp.iter().map(|bgp| Session {
            protocol: protocol(&tap, bgp.peer),
            tap: tap.clone(),
            vif: vif.name.clone(),
            vrf: vif.vrf.clone(),
            peer: bgp.peer,
            local: bgp.local,
            peer_as: bgp.peer_as,
            local_as: bgp.local_as,
            max_prefixes: bgp.max_prefixes,
            bfd: vif.bfd.is_some(),
        }));
    }
    sessions
}

macro_rules! causes {
    ($(#[$about:meta])* $cause:ident {
        $($variant:ident = $number:literal, $name:literal, $help:literal;)+
    }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $cause { $(#[doc = $help] $variant = $number),+ }

        impl $cause {
            /// All causes.
            pub const ALL: &'static [$cause] = &[$($cause::$variant),+];

            /// The name that operators see.
            pub const fn name(self) -> &'static str {
                match self { $($cause::$variant => $name),+ }
            }

            /// What it means.
            pub const fn help(self) -> &'static str {
                match self { $($cause::$variant => $help),+ }
            }

            /// The cause with this number: the station's filters leave it as the preference of a route, because BIRD
            /// shows that without a route's attributes, which may be long.
            fn numbered(preference: u32) -> Option<$cause> {
                $cause::ALL.iter().find(|cause| **cause as u32 == preference).copied()
            }
        }
    };
}

// The numbers stand in routes that BIRD holds.
causes! {
    /// Why a route that a peer sent is not used.
    Cause {
        FirstAs = 1, "first_as", "The AS path does not begin with the peer's AS.";
        PathLength = 2, "path_length", "The AS path is longer than 64.";
        Martian = 3, "martian", "No host may have these addresses (of class E: but for what `import` names).";
        DefaultRoute = 4, "default_route", "A default route, or one almost as short (below /8, IPv6 /16), that `import` does not name.";
        Bogon = 5, "bogon", "A special-purpose prefix that `import` does not name.";
        OwnPrefix = 6, "own_prefix", "A prefix of the station itself, or one within it; on a public VIF also within a static prefix of the provider that `import` does not name.";
        TooSpecific = 7, "too_specific", "More specific than `import` allows.";
        NotAllowed = 8, "not_allowed", "Not in `import`.";
        NextHop = 9, "next_hop", "The next hop is not the peer itself; of a peer within the AS, it is the station.";
        MaxPrefixes = 10, "max_prefixes", "Beyond the session's `max_prefixes`.";
        RpkiInvalid = 11, "rpki_invalid", "ROAs cover it, and none names its origin AS and its length (RFC 6811).";
        RpkiUnknown = 12, "rpki_unknown", "No ROA covers it, nor does the session's `verified`.";
    }
}

causes! {
    /// Why a route of the VRF is withheld from a peer.
    Withheld {
        NotRouted = 41, "not_routed", "Neither learned by BGP nor a static route: a subnet of the station itself.";
        OtherCustomer = 42, "other_customer", "Of customers, in a public VRF: another's, or a subnet between one and the station. They reach the provider, never each other.";
        Suppressed = 43, "suppressed", "It carries a community that `suppress` names.";
        NotExported = 44, "not_exported", "Not in `export`.";
        WellKnown = 45, "no_export", "Whoever sent it forbids it by NO_EXPORT, NO_ADVERTISE or NO_EXPORT_SUBCONFED (RFC 1997).";
        Internal = 46, "internal", "Learned from a router of our own AS, as this peer is one: they tell each other (RFC 4271 9.2.1).";
        Unresolved = 47, "unresolved", "Nothing leads to its next hop, so the station does not use it.";
    }
}

/// The preference that BIRD gives to routes of BGP, also to those that a limit refuses.
const BGP_PREFERENCE: u32 = 100;

impl Cause {
    /// The cause for which a route with this preference was refused.
    pub(super) fn of(preference: u32) -> Option<Cause> {
        if preference == BGP_PREFERENCE {
            return Some(Cause::MaxPrefixes);
        }
        Cause::numbered(preference)
    }
}

impl Withheld {
    /// The cause for which a route with this preference is withheld; without a number of ours its sender forbids it.
    pub(super) fn of(preference: u32) -> Withheld {
        Withheld::numbered(preference).unwrap_or(Withheld::WellKnown)
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// A session with 10.0.0.2 on VIF a.
    pub fn session() -> Session {
        Session {
            protocol: "b.v0.1.10.0.0.2".into(),
            tap: "v0.1".into(),
            vif: "a".into(),
            vrf: "vpc-a".into(),
            peer: "10.0.0.2".parse().unwrap(),
            local: "10.0.0.1".parse().unwrap(),
            peer_as: 65001,
            local_as: 64512,
            max_prefixes: 100,
            bfd: true,
        }
    }
}
