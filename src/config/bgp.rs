//! `bfd` and `[[vif.bgp]]` of a VIF. All that reaches the routing daemon's configuration from here is a
//! number, an address, or a password of checked characters.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Range;

use ipnet::IpNet;

use super::address;
use super::fields::{At, Fields};
use super::model::{AllowedPrefix, AtMax, BfdConfig, BgpConfig, Community, VrfConfig};
use super::ports::PortConfig;
use super::rpki;
use crate::tables::{Password, PortRole, VifKind, VrfKind};
use crate::wire::ipv6::is_link_local;

/// Most sessions of a VIF.
const MAX_SESSIONS: usize = 16;
/// Most prefixes of `import` or `export`.
const MAX_ALLOWED: usize = 1000;
/// Most communities of a list.
const MAX_COMMUNITIES: usize = 64;
/// The longest key of TCP MD5 (TCP_MD5SIG_MAXKEYLEN of linux/tcp.h).
const LONGEST_PASSWORD: usize = 80;
/// Defaults: what the large clouds use.
const BFD: BfdConfig = BfdConfig { interval_ms: 300, multiplier: 3 };
const HOLD_S: u16 = 90;
const CONNECT_RETRY_S: u16 = 10;
const GRACEFUL_RESTART_S: u16 = 120;
const MAX_PREFIXES: u32 = 100;
const LOCAL_PREFERENCE: u32 = 100;

pub(super) fn bfd(vif: &Fields<'_>) -> Option<BfdConfig> {
    let fields = vif.table("bfd")?;
    let interval = fields.integer("interval_ms", 10..=60_000_u32);
    let multiplier = fields.integer("multiplier", 2..=50_u8);
    fields.finish();
    Some(BfdConfig {
        interval_ms: interval.map_or(BFD.interval_ms, |interval| interval.value),
        multiplier: multiplier.map_or(BFD.multiplier, |multiplier| multiplier.value),
    })
}

/// What a session has to fit.
pub(super) struct Side<'a> {
    /// The VIF's addresses.
    pub addresses: &'a [At<IpNet>],
    /// The VIF's kind; core VIFs have none.
    pub kind: Option<VifKind>,
    /// The VIF's port.
    pub port: Option<&'a PortConfig>,
    /// The VIF's VRF.
    pub vrf: Option<&'a VrfConfig>,
    /// Whether there are caches that know who may announce what.
    pub rpki: bool,
}

/// The sessions of a VIF.
pub(super) fn sessions(vif: &Fields<'_>, side: &Side<'_>) -> Vec<BgpConfig> {
    let mut sessions = Vec::new();
    let mut peers: HashMap<IpAddr, Range<usize>> = HashMap::new();
    let tables = vif.tables("bgp", "[{ peer = \"...\", peer_as = 65001, local_as = 64512 }]");
    if let Some(extra) = tables.get(MAX_SESSIONS) {
        let message = format!("there are {} sessions", tables.len());
        let help = format!("use at most {MAX_SESSIONS} on one VIF");
        vif.refuse(&extra.span, "bgp", message, help);
    }
    for fields in tables.into_iter().take(MAX_SESSIONS) {
        sessions.extend(session(&fields, side, &mut peers));
        fields.finish();
    }
    sessions
}

fn session(
    fields: &Fields<'_>,
    side: &Side<'_>,
    peers: &mut HashMap<IpAddr, Range<usize>>,
) -> Option<BgpConfig> {
    let peer = peer(fields, side.addresses, peers);
    let peer_as = autonomous_system(fields, "peer_as", "65001");
    let local_as = autonomous_system(fields, "local_as", "64512");
    let customer = side.port.is_some_and(|port| port.role == PortRole::Customer);
    let internal = peer_as.as_ref().zip(local_as.as_ref()).is_some_and(|(a, b)| a.value == b.value);
    if let Some(peer_as) = peer_as.as_ref().filter(|_| internal && customer) {
        let message = "is the station's own AS, and the peer is a customer's";
        let help = "give the peer an AS of its own: sessions within an AS are the core's";
        fields.refuse(&peer_as.span, "peer_as", message, help);
    }
    let hold_s = fields.integer("hold_s", 3..=u16::MAX).map_or(HOLD_S, |hold| hold.value);
    let keepalive = fields.integer("keepalive_s", 1..=u16::MAX);
    if let Some(keepalive) = keepalive.as_ref().filter(|keepalive| keepalive.value >= hold_s) {
        let message = format!("{} is not less than hold_s, {hold_s}", keepalive.value);
        let help = format!("write {}, a third of it", hold_s / 3);
        fields.refuse(&keepalive.span, "keepalive_s", message, help);
    }
    let retry = fields.integer("connect_retry_s", 1..=3600_u16);
    // 12 bits (RFC 4724 3).
    let restart = fields.integer("graceful_restart_s", 0..=4095_u16);
    let max_prefixes = fields.integer("max_prefixes", 1..=10_000_000_u32);
    let actions = [("shut", AtMax::Shut), ("discard", AtMax::Discard), ("warn", AtMax::Warn)];
    let at_max = fields.choice("at_max", &actions);
    let preference = fields.integer("local_preference", 0..=u32::MAX);
    let family = peer.as_ref().map(|(peer, _)| *peer);
    let prefixes = |key| allowed(fields, key, side.vrf.map(|vrf| vrf.kind), family);
    let (import, export) = (prefixes("import"), prefixes("export"));
    let explicit = side.kind == Some(VifKind::Public);
    for key in ["import", "export"] {
        if explicit && !fields.has(key) {
            // RFC 8212: nothing passes between strangers without somebody's word.
            let example = format!("{key} = [\"198.51.100.0/24\"], or {key} = []");
            fields.missing(key, &format!("{example}: a public VIF says what may pass"));
        }
    }
    let rpki = rpki::policy(fields, explicit, side.rpki);
    let verified = rpki::verified(fields, rpki, import.as_deref());
    let session = (
        password(fields),
        preferences(fields),
        communities(fields, "suppress"),
        communities(fields, "tag"),
        fields.boolean("no_export", explicit),
        prepend(fields, internal),
        fields.boolean("passive", false),
        fields.boolean("ttl_security", false),
    );
    let (password, preferences, suppress, tag, no_export, prepend, passive, ttl_security) = session;
    let ((peer, local), peer_as, local_as) = (peer?, peer_as?, local_as?);
    Some(BgpConfig {
        peer,
        local,
        peer_as: peer_as.value,
        local_as: local_as.value,
        password,
        hold_s,
        keepalive_s: keepalive.map_or((hold_s / 3).max(1), |keepalive| keepalive.value),
        connect_retry_s: retry.map_or(CONNECT_RETRY_S, |retry| retry.value),
        passive,
        ttl_security,
        graceful_restart_s: restart.map_or(GRACEFUL_RESTART_S, |restart| restart.value),
        max_prefixes: max_prefixes.map_or(MAX_PREFIXES, |max| max.value),
        at_max: at_max.map_or(AtMax::Shut, |action| action.value),
        import,
        export,
        local_preference: match preference {
            Some(preference) => Some(preference.value),
            None => (!internal).then_some(LOCAL_PREFERENCE),
        },
        preference: preferences,
        suppress,
        tag,
        no_export,
        prepend,
        rpki,
        verified,
    })
}

/// How often our AS is repeated; never to a peer of it (RFC 4271 5.1.2).
fn prepend(fields: &Fields<'_>, internal: bool) -> u8 {
    let Some(prepend) = fields.integer("prepend", 0..=10_u8) else { return 0 };
    if internal && prepend.value > 0 {
        let message = "the peer is of the station's own AS, which is not in what it is told";
        fields.refuse(
            &prepend.span,
            "prepend",
            message,
            "remove prepend, or tag what is advertised",
        );
    }
    prepend.value
}

/// The peer's address, and the router's on the subnet that both are on.
fn peer(
    fields: &Fields<'_>,
    addresses: &[At<IpNet>],
    peers: &mut HashMap<IpAddr, Range<usize>>,
) -> Option<(IpAddr, IpAddr)> {
    let peer = fields.need_parsed::<IpAddr>("peer", "169.254.100.2", "an address")?;
    let refuse = |message: String, help: &str| {
        fields.refuse(&peer.span, "peer", message, help);
        None
    };
    if let Some(first) = peers.get(&peer.value) {
        let line = fields.problems.line(first);
        let message = format!("{} has a session on this VIF on line {line}", peer.value);
        return refuse(message, "write one session for each peer");
    }
    peers.insert(peer.value, peer.span.clone());
    if is_link_local(peer.value) {
        let message = format!("{} is link-local", peer.value);
        return refuse(message, "write the peer's address on a subnet of the VIF");
    }
    let Some(subnet) = addresses.iter().find(|own| own.value.contains(&peer.value)) else {
        let message = format!("{} is on no subnet of the VIF: it must be one hop away", peer.value);
        return refuse(message, "write an address of one of its subnets");
    };
    let subnet = subnet.value;
    if subnet.addr() == peer.value {
        let message = format!("{} is the router's own address", peer.value);
        return refuse(message, "write the neighbor's address");
    }
    match address::not_a_host(peer.value, &subnet) {
        Some(why) => refuse(why, "write the address of one host"),
        None => Some((peer.value, subnet.addr())),
    }
}

/// An AS number that a router can have (RFC 7607, RFC 6793, RFC 7300).
fn autonomous_system(fields: &Fields<'_>, key: &'static str, example: &str) -> Option<At<u32>> {
    if !fields.has(key) {
        fields.missing(key, &format!("{key} = {example}"));
    }
    let number = fields.integer(key, 1..=u32::MAX - 1)?;
    if matches!(number.value, 23_456 | 65_535) {
        let message = format!("{} is reserved", number.value);
        fields.refuse(&number.span, key, message, format!("write an AS like {example}"));
        return None;
    }
    Some(number)
}

fn password(fields: &Fields<'_>) -> Option<Password> {
    let text = fields.string("password")?;
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'"';
    if text.value.is_empty()
        || text.value.len() > LONGEST_PASSWORD
        || !text.value.bytes().all(plain)
    {
        // Not what is wrong with it: it is a secret.
        let help = format!(
            "use 1 to {LONGEST_PASSWORD} printable ASCII characters, no space and no quotation mark"
        );
        fields.refuse(&text.span, "password", "cannot be a password", help);
        return None;
    }
    Some(Password::new(text.value))
}

/// Prefixes with an optional `le LENGTH`; `None` where the field is not there.
fn allowed(
    fields: &Fields<'_>,
    key: &'static str,
    vrf: Option<VrfKind>,
    peer: Option<IpAddr>,
) -> Option<Vec<AllowedPrefix>> {
    const EXAMPLE: &str = "[\"10.0.0.0/8 le 24\"]";
    let there = fields.has(key);
    let texts = fields.strings(key, EXAMPLE);
    if texts.len() > MAX_ALLOWED {
        let message = format!("there are {}", texts.len());
        let help = format!("use at most {MAX_ALLOWED}, and le for what is within a prefix");
        fields.refuse(&fields.span_of(key), key, message, help);
        return None;
    }
    let mut list: Vec<AllowedPrefix> = Vec::new();
    for text in texts {
        let refuse = |message: String, help: String| {
            fields.refuse(&text.span, key, message, help);
        };
        let Some(allowed) = allowed_prefix(fields, key, &text) else { continue };
        let net = allowed.net;
        if let Some(why) = address::unroutable(&net, vrf) {
            let plain = net.trunc();
            refuse(why, format!("write \"{plain}\", or another prefix that is routed"));
        } else if peer.is_some_and(|peer| peer.is_ipv4() != net.addr().is_ipv4()) {
            let help = "a session carries the routes of its peer's family: add another session";
            refuse(format!("{net} is not of the family of the peer"), help.to_owned());
        } else if list.iter().any(|other| other.net == net) {
            refuse(format!("{net} is there twice"), "remove one".to_owned());
        } else {
            list.push(allowed);
        }
    }
    there.then_some(list)
}

/// A prefix with an optional `le LENGTH`.
pub(super) fn allowed_prefix(
    fields: &Fields<'_>,
    key: &str,
    text: &At<&str>,
) -> Option<AllowedPrefix> {
    let Some(allowed) = prefix_with_length(text.value) else {
        let help = "write a prefix like \"10.0.0.0/8\", or \"10.0.0.0/8 le 24\" for it and what \
                    is within it up to /24";
        fields.refuse(&text.span, key, format!("{:?} is not a prefix", text.value), help);
        return None;
    };
    let AllowedPrefix { net, longest } = allowed;
    if longest < net.prefix_len() || longest > net.max_prefix_len() {
        let help = format!("write le {} to {}", net.prefix_len(), net.max_prefix_len());
        fields.refuse(&text.span, key, format!("le {longest} does not fit {net}"), help);
        return None;
    }
    Some(allowed)
}

fn prefix_with_length(text: &str) -> Option<AllowedPrefix> {
    let (net, longest) = match text.split_once(" le ") {
        Some((net, longest)) => (net, Some(longest)),
        None => (text, None),
    };
    let net: IpNet = net.parse().ok()?;
    let longest = match longest {
        Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok()?,
        Some(_) => return None,
        None => net.prefix_len(),
    };
    Some(AllowedPrefix { net, longest })
}

/// `[{ community = "64512:7100", local_preference = 80 }]`.
fn preferences(fields: &Fields<'_>) -> Vec<(Community, u32)> {
    let mut list: Vec<(Community, u32)> = Vec::new();
    let example = "[{ community = \"64512:7100\", local_preference = 80 }]";
    for entry in fields.tables("preference", example).into_iter().take(MAX_COMMUNITIES) {
        let community = entry.need_string("community", "64512:7100");
        let community = community.and_then(|text| community_of(&entry, "community", &text));
        if !entry.has("local_preference") {
            entry.missing("local_preference", "local_preference = 80");
        }
        let preference = entry.integer("local_preference", 0..=u32::MAX);
        if let (Some(community), Some(preference)) = (community, preference) {
            if list.iter().any(|(other, _)| *other == community.value) {
                let message = format!("{} is there twice", community.value);
                entry.refuse(&community.span, "community", message, "remove one");
            }
            list.push((community.value, preference.value));
        }
        entry.finish();
    }
    list
}

fn communities(fields: &Fields<'_>, key: &'static str) -> Vec<Community> {
    let texts = fields.strings(key, "[\"64512:9100\"]");
    if texts.len() > MAX_COMMUNITIES {
        let message = format!("there are {}", texts.len());
        let help = format!("use at most {MAX_COMMUNITIES}");
        fields.refuse(&fields.span_of(key), key, message, help);
        return Vec::new();
    }
    let mut list = Vec::new();
    for text in texts {
        match community_of(fields, key, &text) {
            Some(community) if list.contains(&community.value) => {
                let message = format!("{} is there twice", community.value);
                fields.refuse(&community.span, key, message, "remove one");
            }
            Some(community) => list.push(community.value),
            None => {}
        }
    }
    list
}

fn community_of(fields: &Fields<'_>, key: &str, text: &At<&str>) -> Option<At<Community>> {
    let parts: Vec<&str> = text.value.split(':').collect();
    let digits = |part: &&str| {
        !part.is_empty() && part.len() <= 10 && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    let standard = |part: &str| part.parse().ok();
    let large = |part: &str| part.parse().ok();
    let community = match &parts[..] {
        parts if !parts.iter().all(digits) => None,
        [a, b] => standard(a).zip(standard(b)).map(|(a, b)| Community::Standard(a, b)),
        [a, b, c] => {
            large(a).zip(large(b)).zip(large(c)).map(|((a, b), c)| Community::Large(a, b, c))
        }
        _ => None,
    };
    if community.is_none() {
        let help = "write one like \"64512:7100\", or a large one like \"64512:7100:1\"";
        fields.refuse(&text.span, key, format!("{:?} is not a community", text.value), help);
    }
    Some(At { value: community?, span: text.span.clone() })
}
