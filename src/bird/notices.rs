//! The events that BIRD's sessions make: sessions that come and go, with why and with the NOTIFICATION (RFC 4271
//! 4.5), sessions that do not come up, BFD, and limits of prefixes. Why a session ended is said in other messages than
//! that it has, on another connection, so a session's end is told once both are there, or soon.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::bfd_watch::Change;
use super::notification::notification;
use super::parse;
use super::peers::{BfdPeer, Peers};
use super::session::Session;
use crate::events::{Event, Spaced};

/// How long a reason is waited for: complaints are taken twice a second.
const PATIENCE: Duration = Duration::from_secs(1);
/// What was complained of so long before a session's end is not the reason for it.
const OLD: Duration = Duration::from_secs(2);
/// Between two events that a session does not come up.
const APART: Duration = Duration::from_secs(60);

/// An event, and when it happened.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Notice {
    pub event: Event,
    pub at: Instant,
}

/// What was told of a session.
#[derive(Debug)]
enum Told {
    Up,
    /// It has ended, then; and what is known of why.
    Ending(Instant, Option<String>),
    Down,
}

/// What was told of all sessions, by protocol.
#[derive(Debug, Default)]
pub(super) struct Notices {
    told: HashMap<String, Told>,
    /// When each session ended that is [`Told::Ending`], oldest first.
    ending: BTreeSet<(Instant, String)>,
    /// The last complaint about each, since it was up.
    complaints: HashMap<String, (Instant, String)>,
    /// Complaints about each that is not up.
    refusals: HashMap<String, Spaced>,
    /// 0, 80 or 100: the share of the limit that was told.
    shares: HashMap<String, u8>,
    /// Sessions that a limit shut.
    shut: HashSet<String>,
    waiting: Vec<Notice>,
}

impl Notices {
    /// What is to be told now.
    pub(super) fn take(&mut self, peers: &Peers, now: Instant) -> Vec<Notice> {
        let due = |(at, _): &(Instant, String)| now.saturating_duration_since(*at) >= PATIENCE;
        while self.ending.first().is_some_and(due) {
            let Some((_, name)) = self.ending.pop_first() else { break };
            if let Some(session) = peers.session(&name) {
                self.ended(session);
            }
        }
        std::mem::take(&mut self.waiting)
    }

    /// When something is to be told although nothing more is heard.
    pub(super) fn next(&self) -> Option<Instant> {
        self.ending.first().map(|(at, _)| *at + PATIENCE)
    }

    /// Forgets sessions that are no more. Those that ended last are told.
    pub(super) fn retain(&mut self, before: &Peers, peers: &Peers) {
        let gone: Vec<String> =
            self.told.keys().filter(|name| peers.session(name).is_none()).cloned().collect();
        for session in gone.iter().filter_map(|name| before.session(name)) {
            if let Some(Told::Up) = self.told.get(&session.protocol) {
                self.down(session, Some("it is no longer configured".to_owned()), Instant::now());
            }
            self.ended(session);
        }
        self.told.retain(|name, _| peers.session(name).is_some());
        self.complaints.retain(|name, _| peers.session(name).is_some());
        self.refusals.retain(|name, _| peers.session(name).is_some());
        self.shares.retain(|name, _| peers.session(name).is_some());
        self.shut.retain(|name| peers.session(name).is_some());
    }

    /// A session is up.
    pub(super) fn up(&mut self, session: &Session, at: Instant) {
        self.ended(session);
        if !matches!(self.told.insert(session.protocol.clone(), Told::Up), Some(Told::Up)) {
            self.refusals.remove(&session.protocol);
            self.complaints.remove(&session.protocol);
            self.shut.remove(&session.protocol);
            let Session { vif, peer, peer_as, .. } = session;
            let event = Event::BgpUp { vif: vif.to_string(), peer: *peer, peer_as: *peer_as };
            self.waiting.push(Notice { event, at });
        }
    }

    /// A session is not up. One that never was is told by its complaints.
    pub(super) fn down(&mut self, session: &Session, reason: Option<String>, at: Instant) {
        let protocol = &session.protocol;
        match self.told.get_mut(protocol) {
            Some(Told::Up) => {
                let complaint = self.complaints.get(protocol);
                let recent =
                    complaint.filter(|(then, _)| at.saturating_duration_since(*then) < OLD);
                let complete = recent.is_some();
                let reason = recent.map(|(_, said)| said.clone()).or(reason);
                self.told.insert(protocol.clone(), Told::Ending(at, reason));
                self.ending.insert((at, protocol.clone()));
                if complete {
                    self.ended(session);
                }
            }
            Some(Told::Ending(_, known)) => {
                if known.is_none() {
                    *known = reason;
                }
            }
            Some(Told::Down) => {}
            None => drop(self.told.insert(protocol.clone(), Told::Down)),
        }
    }

    /// BIRD has complained of a session: that is why it ends, or does not come up.
    pub(super) fn complaint(&mut self, session: &Session, said: &str, at: Instant) {
        if !said.starts_with("Error: ") && !said.starts_with("Received: ") {
            return;
        }
        let protocol = &session.protocol;
        self.complaints.insert(protocol.clone(), (at, said.to_owned()));
        match self.told.get_mut(protocol) {
            Some(Told::Ending(_, reason)) => {
                *reason = Some(said.to_owned());
                self.ended(session);
            }
            Some(Told::Up) => {}
            Some(Told::Down) | None => {
                let refusals = self.refusals.entry(protocol.clone()).or_default();
                let Some(count) = refusals.happened(APART, at) else { return };
                let (code, subcode) = notification(said);
                let Session { vif, peer, peer_as, .. } = session;
                let event = Event::BgpRefused {
                    vif: vif.to_string(),
                    peer: *peer,
                    peer_as: *peer_as,
                    reason: said.to_owned(),
                    code,
                    subcode,
                    received: said.starts_with("Received: "),
                    count,
                };
                self.waiting.push(Notice { event, at });
            }
        }
    }

    /// The last complaint about a session, since it was up.
    pub(super) fn last_complaint(&self, protocol: &str) -> Option<&str> {
        self.complaints.get(protocol).map(|(_, said)| &**said)
    }

    /// Tells of the end of a session, where it has ended.
    fn ended(&mut self, session: &Session) {
        let Some(Told::Ending(at, reason)) = self.told.get_mut(&session.protocol) else { return };
        let (at, reason) = (*at, reason.take());
        self.ending.remove(&(at, session.protocol.clone()));
        self.told.insert(session.protocol.clone(), Told::Down);
        let reason = reason.unwrap_or_else(|| "BGP session closed".to_owned());
        let (code, subcode) = notification(&reason);
        let Session { vif, peer, peer_as, .. } = session;
        let event = Event::BgpDown {
            vif: vif.to_string(),
            peer: *peer,
            peer_as: *peer_as,
            received: reason.starts_with("Received: "),
            reason,
            code,
            subcode,
        };
        self.waiting.push(Notice { event, at });
    }

    /// BFD says something new of a peer.
    pub(super) fn bfd(&mut self, peer: &BfdPeer, address: IpAddr, change: Change, at: Instant) {
        let vif = peer.vif.to_string();
        let event = match change {
            Change::Up => Event::BfdUp { vif, peer: address },
            Change::Lost => Event::BfdDown { vif, peer: address, switched_off: false },
            Change::Off => Event::BfdDown { vif, peer: address, switched_off: true },
        };
        self.waiting.push(Notice { event, at });
    }

    /// What `show protocols all` says of a session's prefixes.
    pub(super) fn prefixes(&mut self, session: &Session, protocol: &parse::Protocol, at: Instant) {
        if !protocol.up {
            return;
        }
        let (accepted, max) = (protocol.imported, u64::from(session.max_prefixes));
        let reached = |percent: u64| accepted.saturating_mul(100) >= max.saturating_mul(percent);
        let told = self.shares.get(&session.protocol).copied().unwrap_or(0);
        let share = match (reached(100), reached(80), reached(75)) {
            (true, ..) => 100,
            (false, true, _) => told.max(80),
            (false, false, true) => told,
            (false, false, false) => 0,
        };
        if share == told {
            return;
        }
        self.shares.insert(session.protocol.clone(), share);
        let Session { vif, peer, peer_as, max_prefixes, .. } = session;
        let (vif, peer, peer_as, max_prefixes) = (vif.to_string(), *peer, *peer_as, *max_prefixes);
        let event = if share == 0 {
            Event::PrefixLimitClear { vif, peer, peer_as, accepted, max_prefixes }
        } else {
            let (percent, accepted, shut) = (share, Some(accepted), false);
            Event::PrefixLimit { vif, peer, peer_as, percent, accepted, max_prefixes, shut }
        };
        self.waiting.push(Notice { event, at });
    }

    /// A limit has shut a session. Its prefixes count anew once it is back.
    pub(super) fn shut(&mut self, session: &Session, at: Instant) {
        if !self.shut.insert(session.protocol.clone()) {
            return;
        }
        self.shares.remove(&session.protocol);
        let Session { vif, peer, peer_as, max_prefixes, .. } = session;
        let event = Event::PrefixLimit {
            vif: vif.to_string(),
            peer: *peer,
            peer_as: *peer_as,
            percent: 100,
            accepted: None,
            max_prefixes: *max_prefixes,
            shut: true,
        };
        self.waiting.push(Notice { event, at });
    }
}

/// Why a session ended, from what `show protocols` says beside its state: `Active Received: Cease`.
pub(super) fn reason(info: &str) -> Option<String> {
    let (_, said) = info.split_once(' ')?;
    (!said.is_empty()).then(|| said.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::session::testing::session;
    use super::*;

    fn peers() -> Peers {
        let session = session();
        Peers { sessions: [(session.protocol.clone(), session)].into(), ..Peers::default() }
    }

    /// What is told, in words.
    fn told(notices: &mut Notices, at: Instant) -> Vec<String> {
        let told = notices.take(&peers(), at);
        told.iter().map(|notice| notice.event.to_string()).collect()
    }

    const UP: &str = "vif a: BGP with 10.0.0.2 (AS 65001) up";

    #[test]
    fn an_end_has_the_far_ends_words_whichever_comes_first() {
        let (session, start) = (session(), Instant::now());
        let after = |ms| start + Duration::from_millis(ms);
        let said = "Received: Administrative shutdown: \"maintenance\"";
        let down = format!("vif a: BGP with 10.0.0.2 (AS 65001) down: {said} (NOTIFICATION 6/2)");
        let mut notices = Notices::default();
        notices.down(&session, None, start);
        assert_eq!(told(&mut notices, start), [""; 0], "it was never there");
        notices.up(&session, start);
        notices.up(&session, start);
        assert_eq!(told(&mut notices, start), [UP]);
        // The state, then why.
        notices.down(&session, None, after(100));
        notices.down(&session, Some("Received: Administrative shutdown".into()), after(150));
        assert_eq!(told(&mut notices, after(200)), [""; 0]);
        notices.complaint(&session, said, after(300));
        let [Notice { event, at }] = &notices.take(&peers(), after(300))[..] else { panic!() };
        assert_eq!((event.to_string(), *at), (down.clone(), after(100)));
        // Why, then the state.
        notices.up(&session, after(400));
        notices.complaint(&session, said, after(500));
        notices.down(&session, None, after(600));
        assert_eq!(told(&mut notices, after(600)), [UP, &down]);
        // Nobody says why: it is told all the same, before it is back.
        notices.up(&session, after(700));
        notices.down(&session, None, after(5000));
        assert_eq!(notices.next(), Some(after(6000)));
        assert_eq!(told(&mut notices, after(5999)), [UP]);
        let closed = "vif a: BGP with 10.0.0.2 (AS 65001) down: BGP session closed";
        assert_eq!(told(&mut notices, after(6000)), [closed]);
        notices.up(&session, after(6100));
        notices.down(&session, Some("BFD session down".into()), after(6200));
        notices.up(&session, after(6300));
        assert_eq!(
            told(&mut notices, after(6300)),
            [UP, "vif a: BGP with 10.0.0.2 (AS 65001) down: BFD session down", UP]
        );
        // It is configured no more.
        notices.retain(&peers(), &Peers::default());
        let gone = "vif a: BGP with 10.0.0.2 (AS 65001) down: it is no longer configured";
        assert_eq!(told(&mut notices, after(6400)), [gone]);
    }

    #[test]
    fn a_session_that_does_not_come_up_is_told_once_a_minute() {
        let (session, start) = (session(), Instant::now());
        let mut notices = Notices::default();
        let mut counts = Vec::new();
        for s in 0..130 {
            let now = start + Duration::from_secs(s);
            notices.complaint(&session, "Error: Bad peer AS: 65099", now);
            notices.complaint(&session, "Socket: Connection refused", now);
            counts.extend(notices.take(&peers(), now).into_iter().map(
                |notice| match notice.event {
                    Event::BgpRefused {
                        code: Some(2), subcode: Some(2), count, received, ..
                    } => {
                        assert!(!received);
                        count
                    }
                    other => panic!("{other:?}"),
                },
            ));
        }
        assert_eq!(counts, [1, 60, 60]);
    }

    #[test]
    fn shares_of_the_limit_are_told_once_each_way() {
        let (session, start) = (session(), Instant::now());
        let mut notices = Notices::default();
        let mut at = |imported| {
            let protocol = parse::Protocol { up: true, imported, ..parse::Protocol::default() };
            notices.prefixes(&session, &protocol, start);
            notices.take(&peers(), start).into_iter().find_map(|notice| match notice.event {
                Event::PrefixLimit { percent, accepted, .. } => Some((percent, accepted.unwrap())),
                Event::PrefixLimitClear { accepted, .. } => Some((0, accepted)),
                _ => None,
            })
        };
        let told: Vec<_> =
            [10, 79, 80, 85, 79, 90, 100, 100, 95, 100, 74, 74, 100].map(&mut at).into();
        let wanted = [
            None,
            None,
            Some((80, 80)),
            None,
            None,
            None,
            Some((100, 100)),
            None,
            None,
            None,
            Some((0, 74)),
            None,
            Some((100, 100)),
        ];
        assert_eq!(told, wanted);
    }

    #[test]
    fn the_reason_stands_beside_the_state() {
        assert_eq!(reason("Active Received: Cease").as_deref(), Some("Received: Cease"));
        assert_eq!((reason("Established"), reason("Idle ")), (None, None));
    }
}
