//! RPKI: BIRD asks validating caches by RTR (RFC 8210), through connections that the station passes on, since BIRD's network
//! namespace leads nowhere.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::client::ClientError;
use super::parse::{self, Protocol};
use super::session::digit;
use super::show::Questions;
use crate::admin::protocol::Family;
use crate::admin::rows::RpkiRow;
use crate::clock::now_ms;
use crate::config::model::RpkiConfig;

/// The port on which BIRD finds the first cache in its namespace; the others' follow.
const PORT: u16 = 3323;
/// Until BIRD asks again for a cache that is not there. One that was started anew may end several connections before it
/// says that its session is another one, and BIRD goes on asking for the old one until then.
pub const RETRY: Duration = Duration::from_secs(5);

/// Where BIRD finds the cache that stands at this place in the configuration.
pub fn relay_address(place: usize) -> SocketAddr {
    let port = PORT + u16::try_from(place).unwrap_or(0);
    (Ipv4Addr::LOCALHOST, port).into()
}

/// The table of BIRD with what all caches say of a family.
fn roa_table(family: Family) -> String {
    format!("rpki{}", digit(family))
}

/// What the origin AS of a route may be found to be (RFC 6811), where that is no good.
#[derive(Clone, Copy)]
pub(super) enum Origin {
    Invalid,
    Unknown,
}

impl Origin {
    const ALL: [Origin; 2] = [Origin::Invalid, Origin::Unknown];

    /// The function of BIRD's that says so.
    pub(super) fn function(self, family: Family) -> String {
        let word = match self {
            Origin::Invalid => "invalid",
            Origin::Unknown => "unknown",
        };
        format!("origin_{word}{}", digit(family))
    }

    fn define(self, out: &mut String, family: Family) {
        let state = match self {
            Origin::Invalid => "ROA_INVALID",
            Origin::Unknown => "ROA_UNKNOWN",
        };
        let (name, table) = (self.function(family), roa_table(family));
        let _ = writeln!(
            out,
            "function {name}() {{ return roa_check('{table}', net, bgp_path.last) = {state}; }}"
        );
    }
}

/// The protocol of a cache.
fn protocol(cache: &RpkiConfig) -> String {
    format!("rpki.{}", cache.name)
}

/// The tables, and who fills them.
pub(super) fn render(out: &mut String, caches: &[RpkiConfig]) {
    if caches.is_empty() {
        return;
    }
    let [four, six] = [Family::Ipv4, Family::Ipv6].map(roa_table);
    let _ = writeln!(out, "\nroa4 table '{four}';\nroa6 table '{six}';");
    for family in [Family::Ipv4, Family::Ipv6] {
        Origin::ALL.into_iter().for_each(|origin| origin.define(out, family));
    }
    for (place, cache) in caches.iter().enumerate() {
        let at = relay_address(place);
        let _ = write!(
            out,
            "protocol rpki '{}' {{\n  \
               roa4 {{ table '{four}'; }};\n  roa6 {{ table '{six}'; }};\n  \
               remote {} port {};\n  retry keep {};\n}}\n",
            protocol(cache),
            at.ip(),
            at.port(),
            RETRY.as_secs(),
        );
    }
}

impl Questions {
    /// What BIRD has of each cache; `trouble` says why one is not reached.
    ///
    /// # Errors
    /// Others are asking.
    pub fn caches(
        &self,
        caches: &[RpkiConfig],
        trouble: impl Fn(&str) -> Option<String>,
    ) -> Result<Vec<RpkiRow>, ClientError> {
        let asked = self.ask("show protocols all \"rpki.*\"");
        let (protocols, failed) = match asked {
            Ok(lines) => (parse::protocols(lines), None),
            Err(ClientError::Busy) => return Err(ClientError::Busy),
            // It calls it an error that there is none.
            Err(error) => (Vec::new(), Some(self.trouble().unwrap_or_else(|| error.to_string()))),
        };
        let rows = caches.iter().map(|cache| {
            let name = protocol(cache);
            let known = protocols.iter().find(|protocol| protocol.name == name);
            row(cache, known, trouble(&cache.name).or_else(|| failed.clone()))
        });
        Ok(rows.collect())
    }
}

fn row(cache: &RpkiConfig, protocol: Option<&Protocol>, trouble: Option<String>) -> RpkiRow {
    let up = protocol.is_some_and(|protocol| protocol.info == "Established");
    let since = protocol.and_then(|protocol| protocol.since);
    let info = protocol.map_or("BIRD does not ask it", |protocol| &protocol.info);
    RpkiRow {
        cache: cache.name.to_string(),
        server: cache.server,
        state: if up { "up" } else { "down" }.to_owned(),
        since_s: since.map(|since| (now_ms() / 1000).saturating_sub(since)),
        prefixes: protocol.map_or(0, |protocol| protocol.imported),
        last_error: if up { String::new() } else { trouble.unwrap_or_else(|| info.to_owned()) },
    }
}
