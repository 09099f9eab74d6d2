//! What passes between a peer and its VRF: the filters of a session, in BIRD's language.
//!
//! Every route that is refused or withheld keeps the cause's number as its preference. A route that is accepted keeps in
//! `station_from` whose it is, which is what keeps the customers of a public VRF apart.
//!
//! A filter is a list of calls of the functions in [`VOCABULARY`]. BIRD 2.0 makes a symbol of each of its own words that a
//! filter mentions, anew in each filter, all in one chain, which it walks whole for the next filter's (`cf_get_symbol`
//! of conf/cf-lex.l): with the rules written out 2,000 sessions took it 33 s to read, in which it hears no peer, and now
//! 0.1 s.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use ipnet::IpNet;

use super::rpki::Origin;
use super::session::{Cause, Withheld};
use crate::admin::protocol::Family;
use crate::config::model::{AllowedPrefix, BgpConfig, Community, RpkiPolicy};
use crate::tables::PortRole;
use crate::tables::rules::{NO_HOSTS, in_reserved};

/// Longer AS paths serve no one and have brought routers down (RFC 7454 8).
const LONGEST_PATH: u32 = 64;

/// Never routed, as what no host may have ([`NO_HOSTS`]) is not either, but for what a session names of 240/4 (RFC 3927).
const LINK_LOCAL4: &str = "169.254.0.0/16";
/// Never routed, whatever an operator allows (RFC 6890).
const MARTIANS6: &[&str] = &["::/16+", "fe80::/10+", "fec0::/10+", "ff00::/8+"];
/// Shorter prefixes than these carry traffic for everything, as a default route does: nobody was given one
/// (RFC 7454 6.1.3, 6.1.6; IPv4 is allocated by /8, IPv6 by /12 and longer).
const SHORTEST4: u8 = 8;
const SHORTEST6: u8 = 16;
/// Special-purpose prefixes (the registries of RFC 6890): not for public networks unless an operator
/// names them.
const BOGONS4: &[&str] = &[
    "10.0.0.0/8",
    "100.64.0.0/10",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
];
const BOGONS6: &[&str] = &[
    "64:ff9b:1::/48",
    "100::/64",
    "2001::/23",
    "2001:db8::/32",
    "2002::/16",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
];

/// GRACEFUL_SHUTDOWN (RFC 8326): who announces a route with it is about to take that way out of service.
pub(super) const GRACEFUL_SHUTDOWN: Community = Community::Standard(65535, 0);

/// NO_EXPORT (RFC 1997): who is told a route with it keeps it within its AS.
const NO_EXPORT: Community = Community::Standard(65535, 65281);

/// The condition that always holds.
const ANYTHING: &str = "anything()";

/// Whose a route is: the value of `station_from`.
pub(super) const fn owner(role: PortRole) -> u32 {
    match role {
        PortRole::Customer => 1,
        PortRole::Core => 2,
    }
}

/// The same of what routers of our own AS told us: theirs is the provider's, and no other router of the AS is told by us
/// (RFC 4271 9.2.1).
pub(super) const INTERNAL: u32 = 3;

/// What filters are made of: all that they say of a route in BIRD's own words.
const VOCABULARY: &str = "\
function refuse(bool wrong; int cause) { if wrong then { preference = cause; reject; } }
function take(int whose) { station_from = whose; accept; }
function tell() { accept; }
function anything() { return true; }
function first_as(int peer_as) { return bgp_path.len > 0 && bgp_path.first = peer_as; }
function longer_path(int most) { return bgp_path.len > most; }
function next_hop_is(ip peer_ip) { return bgp_next_hop = peer_ip; }
function next_hop_of(ip set routers) { return bgp_next_hop ~ routers; }
function within(prefix set nets) { return net ~ nets; }
function shorter(int least) { return net.len < least; }
function routed() { return source ~ [RTS_BGP, RTS_STATIC]; }
function unresolved() { return source = RTS_BGP && dest != RTD_UNICAST; }
function owned(int set whose) { return station_from ~ whose; }
function set_local_pref(int value) { bgp_local_pref = value; }
function set_local_pref_if(bool it; int value) { if it then bgp_local_pref = value; }
function carries(pair one) { return one ~ bgp_community; }
function carries_large(lc one) { return one ~ bgp_large_community; }
function put(pair one) { bgp_community.add(one); }
function put_large(lc one) { bgp_large_community.add(one); }
function strip(pair set those) { bgp_community.delete(those); }
function strip_large(lc set those) { bgp_large_community.delete(those); }
function strip_large_but(lc set those; lc set known) {
  lclist kept = filter(bgp_large_community, known);
  bgp_large_community.delete(those);
  bgp_large_community.add(kept);
}
function strip_extended() { bgp_ext_community.empty; }
function prepend_as(int own_as) { bgp_path.prepend(own_as); }
function as_alternative() {
  if source != RTS_BGP then reject;
  bgp_local_pref = 100;
  bgp_path.empty;
  bgp_origin = ORIGIN_IGP;
  bgp_med = 0;
  accept;
}
";

/// What all filters use.
pub(super) fn definitions(out: &mut String) {
    let all = |nets: &[&str]| nets.iter().map(|net| format!("{net}+")).collect::<Vec<_>>();
    let _ = writeln!(out, "attribute int station_from;");
    out.push_str(VOCABULARY);
    let no_hosts4 = NO_HOSTS.iter().filter(|(net, _)| net.addr().is_ipv4());
    let martians4: String = no_hosts4.map(|(net, _)| format!("{net}+, ")).collect();
    let _ = writeln!(out, "define martians4 = [{martians4}{LINK_LOCAL4}+];");
    let _ = writeln!(out, "define martians6 = [{}];", MARTIANS6.join(", "));
    let _ = writeln!(out, "define bogons4 = [{}];", all(BOGONS4).join(", "));
    let _ = writeln!(out, "define bogons6 = [{}];", all(BOGONS6).join(", "));
}

/// What a session's filters need to know of where it is.
pub(super) struct Place<'a> {
    pub family: Family,
    pub role: PortRole,
    /// The VRF is public: customers share it.
    pub public: bool,
    /// The name of the set of the VRF's own prefixes, if it has some.
    pub own: Option<&'a str>,
    /// The name of the set of the provider's static prefixes in a public VRF, and they themselves.
    pub provider: Option<(&'a str, &'a BTreeSet<IpNet>)>,
    /// The name of the set of the router's own addresses, where the VRF has a session within our own AS.
    pub routers: Option<&'a str>,
    /// Communities that mean something in this VRF: a customer may set these of our AS, and no
    /// others.
    pub known: &'a [Community],
    /// The VIF is drained.
    pub drained: bool,
}

/// A rule of a filter: what it refuses keeps the cause's number.
fn refuse(out: &mut String, condition: &str, number: u32) {
    let _ = writeln!(out, "  refuse({condition}, {number});");
}

/// `import filter`.
pub(super) fn import(out: &mut String, session: &BgpConfig, place: &Place<'_>) {
    let (digit, shortest) = match place.family {
        Family::Ipv4 => ('4', SHORTEST4),
        Family::Ipv6 => ('6', SHORTEST6),
    };
    let mut refuse = |condition: &str, cause: Cause| refuse(out, condition, cause as u32);
    let peer_as = session.peer_as;
    if !session.is_internal() {
        refuse(&format!("!first_as({peer_as})"), Cause::FirstAs);
    }
    refuse(&format!("longer_path({LONGEST_PATH})"), Cause::PathLength);
    match place.routers.filter(|_| session.is_internal()) {
        // Routers beyond the peer, but never this one.
        Some(routers) => refuse(&format!("next_hop_of({routers})"), Cause::NextHop),
        None => refuse(&format!("!next_hop_is({})", session.peer), Cause::NextHop),
    }
    // Each with all that lies within it.
    let named: Vec<_> = session
        .import
        .iter()
        .flatten()
        .map(|allowed| AllowedPrefix { longest: allowed.net.max_prefix_len(), ..*allowed })
        .collect();
    let reserved: Vec<_> =
        named.iter().copied().filter(|allowed| in_reserved(allowed.net).is_some()).collect();
    refuse(&but(within(&format!("martians{digit}")), &reserved), Cause::Martian);
    if let Some(own) = place.own {
        refuse(&within(own), Cause::OwnPrefix);
    }
    let names_short =
        session.import.iter().flatten().any(|allowed| allowed.net.prefix_len() < shortest);
    if !names_short {
        refuse(&format!("shorter({shortest})"), Cause::DefaultRoute);
    }
    if place.public {
        let special: Vec<_> =
            named.iter().copied().filter(|allowed| special(allowed.net)).collect();
        refuse(&but(within(&format!("bogons{digit}")), &special), Cause::Bogon);
    }
    if let Some((set_name, prefixes)) = place.provider.filter(|_| place.role == PortRole::Customer)
    {
        let in_one = |allowed: &&AllowedPrefix| {
            std::iter::successors(Some(allowed.net), IpNet::supernet)
                .any(|net| prefixes.contains(&net))
        };
        let given: Vec<_> = named.iter().filter(in_one).copied().collect();
        refuse(&but(within(set_name), &given), Cause::OwnPrefix);
    }
    match session.import.as_deref() {
        None => {}
        Some([]) => refuse(ANYTHING, Cause::NotAllowed),
        Some(import) => {
            refuse(&outside(&set(&named)), Cause::NotAllowed);
            refuse(&outside(&set(import)), Cause::TooSpecific);
        }
    }
    origin(out, session, place.family);
    if let Some(preference) = session.local_preference {
        let _ = writeln!(out, "  set_local_pref({preference});");
    }
    for (community, preference) in &session.preference {
        let _ = writeln!(out, "  set_local_pref_if({}, {preference});", carries(community));
    }
    // RFC 8326 4.1: the receiver's part, unless the operator says otherwise.
    if !session.preference.iter().any(|(community, _)| *community == GRACEFUL_SHUTDOWN) {
        let _ = writeln!(out, "  set_local_pref_if({}, 0);", carries(&GRACEFUL_SHUTDOWN));
    }
    if place.role == PortRole::Customer {
        scrub(out, session.local_as, place.known);
    }
    if place.drained {
        // RFC 8326 4.2: the initiator's part, for what comes in. Others hear of it with the route.
        let _ = writeln!(out, "  {};\n  set_local_pref(0);", add(&GRACEFUL_SHUTDOWN));
    }
    let from = if session.is_internal() { INTERNAL } else { owner(place.role) };
    let _ = writeln!(out, "  take({from});");
}

/// Whether the origin AS may announce the prefix (RFC 6811), but for what an operator has verified.
fn origin(out: &mut String, session: &BgpConfig, family: Family) {
    let causes: &[_] = match session.rpki {
        RpkiPolicy::Off => &[],
        RpkiPolicy::NotInvalid => &[(Origin::Invalid, Cause::RpkiInvalid)],
        RpkiPolicy::Valid => {
            &[(Origin::Invalid, Cause::RpkiInvalid), (Origin::Unknown, Cause::RpkiUnknown)]
        }
    };
    let verified: Vec<_> = session.verified.iter().map(|verified| verified.prefix).collect();
    for (origin, cause) in causes {
        let condition = format!("{}()", origin.function(family));
        refuse(out, &but(condition, &verified), *cause as u32);
    }
}

/// Removes our own communities but those that peers may set (RFC 7454 11), and all extended ones: to the
/// core they are route targets, which a customer must not choose (RFC 4364 4.3.1), in encodings that
/// name our AS or not.
fn scrub(out: &mut String, local_as: u32, known: &[Community]) {
    if let Ok(local_as) = u16::try_from(local_as) {
        let mut kept: Vec<u16> = known
            .iter()
            .filter_map(|community| match *community {
                Community::Standard(a, value) if a == local_as => Some(value),
                _ => None,
            })
            .collect();
        kept.sort_unstable();
        kept.dedup();
        let mut ranges = Vec::new();
        let mut from = 0_u32;
        for value in kept {
            if from < u32::from(value) {
                ranges.push(format!("({local_as}, {from}..{})", value - 1));
            }
            from = u32::from(value) + 1;
        }
        if from <= u32::from(u16::MAX) {
            ranges.push(format!("({local_as}, {from}..{})", u16::MAX));
        }
        let _ = writeln!(out, "  strip([{}]);", ranges.join(", "));
    }
    let _ = writeln!(out, "  strip_extended();");
    let ours =
        |community: &Community| matches!(*community, Community::Large(a, ..) if a == local_as);
    let kept: Vec<_> = known.iter().filter(|community| ours(community)).map(literal).collect();
    // Sets of large communities have no ranges beside values: what is known is put back.
    let _ = match &*kept {
        [] => writeln!(out, "  strip_large([({local_as}, *, *)]);"),
        kept => writeln!(out, "  strip_large_but([({local_as}, *, *)], [{}]);", kept.join(", ")),
    };
}

/// `export filter`.
pub(super) fn export(out: &mut String, session: &BgpConfig, place: &Place<'_>) {
    let mut withhold = |condition: &str, cause: Withheld| refuse(out, condition, cause as u32);
    withhold("!routed()", Withheld::NotRouted);
    if place.routers.is_some() {
        // RFC 4271 9.1.2.1: it is not used, and so no other is told of it.
        withhold("unresolved()", Withheld::Unresolved);
    }
    if place.public && place.role == PortRole::Customer {
        // Customers of a public VRF reach the provider, never each other.
        let provider = owner(PortRole::Core);
        withhold(&format!("!owned([{provider}, {INTERNAL}])"), Withheld::OtherCustomer);
    }
    if !session.suppress.is_empty() {
        let any: Vec<_> = session.suppress.iter().map(carries).collect();
        withhold(&any.join(" || "), Withheld::Suppressed);
    }
    match session.export.as_deref() {
        None => {}
        Some([]) => withhold(ANYTHING, Withheld::NotExported),
        Some(export) => withhold(&outside(&set(export)), Withheld::NotExported),
    }
    for community in &session.tag {
        let _ = writeln!(out, "  {};", add(community));
    }
    if session.no_export {
        let _ = writeln!(out, "  {};", add(&NO_EXPORT));
    }
    if place.drained {
        // RFC 8326 4.2: the initiator's part, for what goes out.
        let _ = writeln!(out, "  {};", add(&GRACEFUL_SHUTDOWN));
    }
    for _ in 0..session.prepend {
        let _ = writeln!(out, "  prepend_as({});", session.local_as);
    }
    let _ = writeln!(out, "  tell();");
}

/// That a route's prefix is of a set.
fn within(set: &str) -> String {
    format!("within({set})")
}

/// That it is not.
fn outside(set: &str) -> String {
    format!("!{}", within(set))
}

/// A condition, but for these prefixes.
fn but(condition: String, others: &[AllowedPrefix]) -> String {
    match others {
        [] => condition,
        others => format!("{condition} && {}", outside(&set(others))),
    }
}

/// Whether a prefix lies in a special-purpose one.
fn special(net: IpNet) -> bool {
    let blocks = BOGONS4.iter().chain(BOGONS6).filter_map(|block| block.parse::<IpNet>().ok());
    blocks.into_iter().any(|block| block.contains(&net))
}

/// A prefix set.
pub(super) fn set(prefixes: &[AllowedPrefix]) -> String {
    let one = |allowed: &AllowedPrefix| {
        let least = allowed.net.prefix_len();
        format!("{}{{{least},{}}}", allowed.net, allowed.longest)
    };
    format!("[{}]", prefixes.iter().map(one).collect::<Vec<_>>().join(", "))
}

fn carries(community: &Community) -> String {
    call("carries", community)
}

/// The statement that adds a community, without its end.
pub(super) fn add(community: &Community) -> String {
    call("put", community)
}

/// A call of the function that is for communities of this kind.
fn call(function: &str, community: &Community) -> String {
    let large = if matches!(community, Community::Large(..)) { "_large" } else { "" };
    format!("{function}{large}({})", literal(community))
}

fn literal(community: &Community) -> String {
    match community {
        Community::Standard(a, b) => format!("({a}, {b})"),
        Community::Large(a, b, c) => format!("({a}, {b}, {c})"),
    }
}
