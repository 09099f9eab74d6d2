//! `[[rpki]]`, and what of it a session of a public VIF asks for: whether the origin AS of an announced prefix may announce
//! it (RFC 6811).

use std::net::SocketAddr;
use std::sync::Arc;

use super::bgp::allowed_prefix;
use super::diff::Table;
use super::fields::{At, Fields};
use super::labels::changes;
use super::model::AllowedPrefix;
use super::names::Named;

/// Most validating caches.
const MAX_CACHES: usize = 4;
/// Most prefixes that are verified by hand in a session.
const MAX_VERIFIED: usize = 1000;
/// The longest reason, in octets.
const LONGEST_REASON: usize = 200;

/// `[[rpki]]`: a validating cache, asked by RTR (RFC 8210).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RpkiConfig {
    /// Its name.
    pub name: Arc<str>,
    /// Where it is, as the station's own network reaches it.
    pub server: SocketAddr,
}

/// What an announced prefix has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RpkiPolicy {
    /// Anything.
    Off,
    /// Not invalid: none of the ROAs that cover it names its origin AS and length.
    NotInvalid,
    /// Valid.
    Valid,
}

impl RpkiPolicy {
    /// The words of the file.
    pub(super) const WORDS: [(&'static str, RpkiPolicy); 3] = [
        ("off", RpkiPolicy::Off),
        ("not_invalid", RpkiPolicy::NotInvalid),
        ("valid", RpkiPolicy::Valid),
    ];

    /// Its word there.
    pub(super) fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, policy)| *policy == self).map_or("off", |(word, _)| word)
    }
}

/// A prefix that an operator has verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// It, and what is within it.
    pub prefix: AllowedPrefix,
    /// By what.
    pub reason: String,
}

/// How changes of caches are told.
pub(super) fn table() -> Table<RpkiConfig, Arc<str>> {
    Table {
        key: |cache| cache.name.clone(),
        name: |cache| cache.name.to_string(),
        detail: |cache| cache.server.to_string(),
        change: |a, b| changes(&[("server", a.server.to_string(), b.server.to_string())]),
    }
}

/// Prefixes with what verified them, in words.
pub(super) fn text(verified: &[Verified]) -> String {
    let one = |it: &Verified| format!("{} ({})", it.prefix.net, it.reason);
    format!("[{}]", verified.iter().map(one).collect::<Vec<_>>().join(", "))
}

/// The caches.
pub(super) fn caches(root: &Fields<'_>) -> Named<RpkiConfig> {
    let mut caches: Named<RpkiConfig> = Named::new("rpki");
    let tables = root.tables("rpki", "[{ name = \"cache-1\", server = \"192.0.2.53:3323\" }]");
    if let Some(extra) = tables.get(MAX_CACHES) {
        let message = format!("there are {} caches", tables.len());
        root.problems.add(&extra.span, "rpki", message, format!("use at most {MAX_CACHES}"));
    }
    for fields in tables {
        let name = caches.name(&fields);
        let server =
            fields.need_parsed::<SocketAddr>("server", "192.0.2.53:3323", "an address with a port");
        if let Some(server) = server.as_ref().filter(|server| server.value.port() == 0) {
            let help = "write the port of the cache's RTR, often 323, 3323 or 8282";
            fields.refuse(&server.span, "server", "0 is no port", help);
        }
        let cache = name.clone().zip(server);
        fields.finish();
        caches.add(
            name.as_ref(),
            cache.map(|(name, server)| RpkiConfig { name, server: server.value }),
        );
    }
    caches
}

/// `rpki` of a session: by default what is announced to a public VIF has to be valid, where there are caches.
pub(super) fn policy(fields: &Fields<'_>, public: bool, caches: bool) -> RpkiPolicy {
    let Some(policy) = fields.choice("rpki", &RpkiPolicy::WORDS) else {
        return if public && caches { RpkiPolicy::Valid } else { RpkiPolicy::Off };
    };
    let refuse = |message: &str, help: &str| fields.refuse(&policy.span, "rpki", message, help);
    match policy.value {
        RpkiPolicy::Off => {}
        _ if !public => refuse(
            "the VIF is not public: private prefixes are in no RPKI",
            "remove rpki; import says what may be announced",
        ),
        _ if !caches => refuse("there is no cache to ask", "add an [[rpki]] with its server"),
        _ => {}
    }
    policy.value
}

/// `verified` of a session: prefixes that somebody has looked at, whatever RPKI says of them.
pub(super) fn verified(
    fields: &Fields<'_>,
    policy: RpkiPolicy,
    import: Option<&[AllowedPrefix]>,
) -> Vec<Verified> {
    const EXAMPLE: &str = "[{ prefix = \"198.51.100.0/24\", reason = \"LOA of 2026-11-30\" }]";
    let tables = fields.tables("verified", EXAMPLE);
    let refuse = |message: &str, help: &str| {
        fields.refuse(&fields.span_of("verified"), "verified", message, help);
    };
    if !tables.is_empty() && policy == RpkiPolicy::Off {
        refuse(
            "nothing is asked of RPKI here",
            "remove verified: import says what may be announced",
        );
    }
    if tables.len() > MAX_VERIFIED {
        let help = format!("use at most {MAX_VERIFIED}");
        refuse(&format!("there are {}", tables.len()), &help);
    }
    let mut list: Vec<Verified> = Vec::new();
    for entry in tables.into_iter().take(MAX_VERIFIED) {
        let text = entry.need_string("prefix", "198.51.100.0/24 le 26");
        let reason = entry.need_string("reason", "LOA of 2026-11-30");
        let prefix = text.and_then(|text| prefix(&entry, &text, import, &list));
        if let Some(reason) = &reason
            && (reason.value.trim().is_empty() || reason.value.len() > LONGEST_REASON)
        {
            let help = format!("say in 1 to {LONGEST_REASON} octets what it was verified by");
            entry.refuse(&reason.span, "reason", "is no reason", help);
        }
        if let (Some(prefix), Some(reason)) = (prefix, reason) {
            list.push(Verified { prefix, reason: reason.value.to_owned() });
        }
        entry.finish();
    }
    list
}

fn prefix(
    entry: &Fields<'_>,
    text: &At<&str>,
    import: Option<&[AllowedPrefix]>,
    others: &[Verified],
) -> Option<AllowedPrefix> {
    let refuse = |message: String, help: String| {
        entry.refuse(&text.span, "prefix", message, help);
        None
    };
    let allowed = allowed_prefix(entry, "prefix", text)?;
    let net = allowed.net;
    if others.iter().any(|other| other.prefix.net == net) {
        return refuse(format!("{net} is there twice"), "remove one".to_owned());
    }
    let passes =
        |import: &AllowedPrefix| import.net.contains(&net) && import.longest >= net.prefix_len();
    if !import.is_some_and(|import| import.iter().any(passes)) {
        let help = format!("add \"{net}\" to import too, or remove it here");
        return refuse(format!("{net} is not in import: it would not pass anyway"), help);
    }
    Some(allowed)
}
