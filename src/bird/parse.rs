//! What BIRD's answers say. They are made for people; each form that is read here is pinned by a test
//! with BIRD's own words.

use std::net::IpAddr;

use ipnet::IpNet;

/// `show protocols all` of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Protocol {
    pub name: String,
    /// The protocol is up: routes count.
    pub up: bool,
    /// The protocol is down, or on its way there. One that starts again still says why it went down.
    pub ends: bool,
    /// Since when it has been as it is, in seconds of the epoch.
    pub since: Option<u64>,
    /// What is said beside the state.
    pub info: String,
    /// `Established`, `Active`, ...
    pub state: String,
    pub last_error: Option<String>,
    /// Why the station started it anew.
    pub message: Option<String>,
    /// The hold time that both sides agreed on, in seconds; 0: the peer need never say anything.
    pub hold_s: Option<u32>,
    pub imported: u64,
    pub filtered: u64,
    pub exported: u64,
    /// The limit of accepted prefixes was reached.
    pub import_hit: bool,
    /// The limit of all routes was reached, refused ones included.
    pub receive_hit: bool,
}

impl Protocol {
    /// A limit has shut it, for good.
    pub(super) fn is_shut(&self) -> bool {
        self.ends && self.info.contains("Route limit exceeded")
    }
}

/// The protocols in an answer's lines with their codes.
pub(super) fn protocols(lines: impl IntoIterator<Item = (u16, String)>) -> Vec<Protocol> {
    let mut protocols: Vec<Protocol> = Vec::new();
    for (code, line) in lines {
        match code {
            1002 => protocols.extend(headline(&line)),
            1006 => {
                if let Some(protocol) = protocols.last_mut() {
                    detail(protocol, &line);
                }
            }
            _ => {}
        }
    }
    protocols
}

/// `b.v0.1.10.0.0.2 BGP        ---        up     1795230926    Established   `
fn headline(line: &str) -> Option<Protocol> {
    let mut words = line.split_whitespace();
    let name = words.next()?.to_owned();
    let (_kind, _table, state) = (words.next()?, words.next()?, words.next()?);
    let since = words.next().and_then(|word| word.parse().ok());
    let info = words.collect::<Vec<_>>().join(" ");
    let (up, ends) = (state == "up", matches!(state, "stop" | "down"));
    Some(Protocol { name, up, ends, since, info, ..Protocol::default() })
}

/// `    Last error:       Socket: Connection refused`
fn detail(protocol: &mut Protocol, line: &str) {
    let Some((key, value)) = line.split_once(':') else { return };
    let value = value.trim();
    match key.trim() {
        "BGP state" => value.clone_into(&mut protocol.state),
        "Message" => protocol.message = Some(value.to_owned()),
        // `87.123/90`: what is left of it, and it.
        "Hold timer" => {
            protocol.hold_s = value.rsplit_once('/').and_then(|(_, hold)| hold.parse().ok());
        }
        "Last error" => protocol.last_error = Some(value.to_owned()),
        "Import limit" => protocol.import_hit = value.ends_with("[HIT]"),
        "Receive limit" => protocol.receive_hit = value.ends_with("[HIT]"),
        "Routes" => {
            for part in value.split(", ") {
                let Some((number, what)) = part.split_once(' ') else { continue };
                let number = number.parse().unwrap_or_default();
                match what {
                    // Those of RPKI have a channel for each family.
                    "imported" => protocol.imported += number,
                    "filtered" => protocol.filtered = number,
                    "exported" => protocol.exported = number,
                    _ => {}
                }
            }
        }
        _ => {}
    }
}

/// A session of `show bfd sessions`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BfdSession {
    pub tap: String,
    pub address: IpAddr,
    pub state: BfdState,
    /// The peer said something within the detection time: BIRD knows how long that is.
    pub heard: bool,
}

/// Our side's state (RFC 5880 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BfdState {
    AdminDown,
    Down,
    Init,
    Up,
}

/// `169.254.100.2             v0.100     Up         1795230926    0.100    0.300`
pub(super) fn bfd_session(line: &str) -> Option<BfdSession> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [address, tap, state, _since, _interval, timeout] = words[..] else { return None };
    let state = match state {
        "AdminDown" => BfdState::AdminDown,
        "Down" => BfdState::Down,
        "Init" => BfdState::Init,
        "Up" => BfdState::Up,
        _ => return None,
    };
    let heard = timeout.parse::<f64>().ok()? > 0.0;
    Some(BfdSession { tap: tap.to_owned(), address: address.parse().ok()?, state, heard })
}

/// A route of `show route all`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Route {
    pub prefix: Option<IpNet>,
    /// The name of the protocol that brought it.
    pub protocol: String,
    /// It is the best for its prefix.
    pub best: bool,
    /// Nothing leads to its next hop.
    pub unresolved: bool,
    /// BIRD's preference: of a route that the station's filter refused, the number of the cause.
    pub preference: u32,
    pub origin: String,
    pub as_path: Vec<String>,
    pub next_hop: Option<IpAddr>,
    pub med: Option<u32>,
    pub local_preference: Option<u32>,
    /// Standard and large ones, as `1:2` and `1:2:3`.
    pub communities: Vec<String>,
}

/// Puts routes together from lines.
#[derive(Default)]
pub(super) struct Routes {
    current: Option<Route>,
    prefix: Option<IpNet>,
}

impl Routes {
    /// Takes a line; gives the route before it, if the line begins another.
    pub(super) fn line(&mut self, code: u16, line: &str) -> Option<Route> {
        match code {
            1007 if line.starts_with('\t') || line.starts_with("Table ") => None,
            1007 if !line.is_empty() => {
                let (prefix, rest) = line.split_once(' ')?;
                if !prefix.is_empty() {
                    self.prefix = prefix.parse().ok();
                }
                let (from, rating) = rest.split_once("] ")?;
                let (way, from) = from.split_once('[')?;
                let unresolved = way.trim() == "unreachable";
                let protocol = from.split(' ').next()?.to_owned();
                let best = rating.starts_with("* ");
                let number = rating.trim_start_matches(['*', '!', ' ', '(']);
                let end = number.find(|c: char| !c.is_ascii_digit())?;
                let preference = number[..end].parse().ok()?;
                let prefix = self.prefix;
                let next =
                    Route { prefix, protocol, best, unresolved, preference, ..Route::default() };
                self.current.replace(next)
            }
            1012 => {
                if let Some(route) = &mut self.current {
                    attribute(route, line.trim_start());
                }
                None
            }
            _ => None,
        }
    }

    /// The last route.
    pub(super) fn end(&mut self) -> Option<Route> {
        self.current.take()
    }
}

/// `BGP.as_path: 65001 65002`
fn attribute(route: &mut Route, line: &str) {
    let Some((key, value)) = line.split_once(':') else { return };
    let value = value.trim();
    match key {
        "BGP.origin" => route.origin = value.to_lowercase(),
        // A set of ASes, in braces, is one member of the path.
        "BGP.as_path" => route.as_path = members(value, '{', '}'),
        "BGP.next_hop" => {
            route.next_hop = value.split(' ').next().and_then(|address| address.parse().ok());
        }
        "BGP.med" => route.med = value.parse().ok(),
        "BGP.local_pref" => route.local_preference = value.parse().ok(),
        "BGP.community" | "BGP.large_community" => {
            let plain = |member: String| {
                member.trim_matches(['(', ')']).replace(", ", ":").replace(',', ":")
            };
            route.communities.extend(members(value, '(', ')').into_iter().map(plain));
        }
        _ => {}
    }
}

/// Words, where what stands between two marks is one.
fn members(text: &str, open: char, close: char) -> Vec<String> {
    let mut members = Vec::new();
    let (mut word, mut within) = (String::new(), false);
    for c in text.chars() {
        within = (within || c == open) && c != close;
        if c == ' ' && !within {
            members.extend((!word.is_empty()).then(|| std::mem::take(&mut word)));
        } else {
            word.push(c);
        }
    }
    members.extend((!word.is_empty()).then_some(word));
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What BIRD 2.0.12 answered.
    const PROTOCOLS: &str = "\
1002 b.v0.1.10.0.0.2 BGP        ---        up     1795230926    Established   
1006   VRF:            v0.1
1006   BGP state:          Established
1006   Message:        BFD session down
1006     Neighbor address: fd00::2%v0.1
1006     Hold timer:       69.853/90
1006   Channel ipv6
1006     State:          UP
1006     Receive limit:  10
1006       Action:       block
1006     Import limit:   4 [HIT]
1006     Routes:         5 imported, 2 filtered, 3 exported, 1 preferred
1006     BGP Next hop:   fd00::1 fe80::702d:3dff:fe26:195f
1002 b.v0.2.10.0.0.2 BGP        ---        start  1795230927    Active        Socket: Connection refused
1006   BGP state:          Active
1006     Last error:       Socket: Connection refused
1002 b.v0.3.10.0.0.2 BGP        ---        down   1795230928    Automatic shutdown: Route limit exceeded
1006   BGP state:          Down
1002 b.v0.4.10.0.0.2 BGP        ---        start  1795230928    Active        Automatic shutdown: Route limit exceeded
1006   BGP state:          Active
";

    fn coded(text: &str) -> impl Iterator<Item = (u16, String)> {
        text.lines().map(|line| (line[..4].parse().unwrap(), line[5..].to_owned()))
    }

    #[test]
    fn a_session_is_read() {
        let all = protocols(coded(PROTOCOLS));
        let [up, refused, shut, again] = &all[..] else { panic!("{all:?}") };
        assert_eq!(
            *up,
            Protocol {
                name: "b.v0.1.10.0.0.2".into(),
                up: true,
                since: Some(1_795_230_926),
                info: "Established".into(),
                state: "Established".into(),
                message: Some("BFD session down".into()),
                hold_s: Some(90),
                imported: 5,
                filtered: 2,
                exported: 3,
                import_hit: true,
                ..Protocol::default()
            }
        );
        assert_eq!(refused.state, "Active");
        assert_eq!(refused.last_error.as_deref(), Some("Socket: Connection refused"));
        assert!(!refused.up && !shut.up);
        assert_eq!(shut.info, "Automatic shutdown: Route limit exceeded");
        assert!(shut.is_shut() && !again.is_shut(), "an operator has started the last one again");
    }

    #[test]
    fn a_bfd_session_is_read() {
        let read = |line: &str| bfd_session(line).map(|session| (session.state, session.heard));
        let line = "169.254.100.2             v0.100     Up         1795230926    0.100    0.300";
        let address: IpAddr = "169.254.100.2".parse().unwrap();
        let session =
            BfdSession { tap: "v0.100".into(), address, state: BfdState::Up, heard: true };
        assert_eq!(bfd_session(line), Some(session));
        let silent = "169.254.100.2             v0.100     Down       1795230926    1.000    0.000";
        assert_eq!(read(silent), Some((BfdState::Down, false)));
        let said = "fd00::2                   v0.100     Down       1795230926    1.000    0.300";
        assert_eq!(read(said), Some((BfdState::Down, true)));
        assert_eq!(
            read("IP address                Interface  State      Since  Interval  Timeout"),
            None
        );
        assert_eq!(read("f.v0.100:"), None);
        assert_eq!(read("f.v0.100: is not up"), None);
    }

    const ROUTES: &str = "\
1007 Table r4.vpc-a:
1007 10.1.0.0/16          unicast [b.v0.1.10.0.0.2 1795230927] * (100/?) [AS65001i]
1007 \tvia 169.254.102.2 on v0.102
1008 \tType: BGP univ
1012 \tBGP.origin: IGP
1012 \tBGP.as_path: 65001 {65002 65003} 65004
1012 \tBGP.next_hop: fd00::2 fe80::8cdb:a3ff:fe89:48d1
1012 \tBGP.med: 7
1012 \tBGP.local_pref: 100
1012 \tBGP.community: (64512,7100) (65535,65281)
1012 \tBGP.large_community: (64512, 1, 2)
1007                      unreachable [b.v0.2.10.0.0.2 1795230927] (3/?) [AS65001i]
1007 10.2.0.0/16          blackhole [s4.a 1795230924] * (200)
";

    #[test]
    fn routes_are_put_together() {
        let mut routes = Routes::default();
        let mut all: Vec<Route> =
            coded(ROUTES).filter_map(|(code, line)| routes.line(code, &line)).collect();
        all.extend(routes.end());
        let [first, second, third] = &all[..] else { panic!("{all:?}") };
        assert_eq!(
            *first,
            Route {
                prefix: Some("10.1.0.0/16".parse().unwrap()),
                protocol: "b.v0.1.10.0.0.2".into(),
                best: true,
                unresolved: false,
                preference: 100,
                origin: "igp".into(),
                as_path: vec!["65001".into(), "{65002 65003}".into(), "65004".into()],
                next_hop: Some("fd00::2".parse().unwrap()),
                med: Some(7),
                local_preference: Some(100),
                communities: vec!["64512:7100".into(), "65535:65281".into(), "64512:1:2".into()],
            }
        );
        assert_eq!((second.prefix, second.best, second.preference), (first.prefix, false, 3));
        assert!(second.unresolved && !third.unresolved);
        assert_eq!((&*second.protocol, &*third.protocol), ("b.v0.2.10.0.0.2", "s4.a"));
        assert_eq!(third.prefix, Some("10.2.0.0/16".parse().unwrap()));
    }
}
