//! Peers that come and go: from the messages that BIRD echoes on its control socket as they happen, from
//! what it says when it is asked for all sessions, because messages may be lost, and from BFD.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use tracing::info;

use super::bfd_watch::GRACE;
use super::parse;
use super::peers::{BfdPeer, Peers};
use super::session::Session;

/// A peer was lost, or is back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerEvent {
    /// Name of the VIF.
    pub vif: Arc<str>,
    /// The peer's address on it.
    pub address: IpAddr,
    /// Packets may be sent to it.
    pub up: bool,
    /// What happened, in words.
    pub cause: String,
    /// When it was heard of.
    pub at: Instant,
}

impl PeerEvent {
    /// Writes it into the log.
    pub(super) fn log(&self) {
        let PeerEvent { vif, address, up, cause, .. } = self;
        info!(%vif, peer = %address, up, cause, "peer");
    }
}

/// What is known of peers. It outlives connections to BIRD, and BIRD itself.
#[derive(Debug, Default)]
pub(super) struct Tracker {
    /// Peers that were seen up or down.
    up: HashMap<(Arc<str>, IpAddr), bool>,
    /// Peers that were up when BIRD started anew, and how long they have to be up again: the
    /// routes of a BIRD that died stay meanwhile.
    stale: HashSet<(Arc<str>, IpAddr)>,
    grace: Option<Instant>,
    /// The reason that a session's protocol gave last.
    reasons: HashMap<String, String>,
}

/// What to do about a message or an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Nothing,
    Peer(PeerEvent),
    /// This protocol found no interface or address when it started, and does not look again.
    Waits(String),
    /// A limit has shut this session.
    Shut(String),
}

impl Tracker {
    /// Takes a message of BIRD's log.
    pub(super) fn message(&mut self, text: &str, peers: &Peers, at: Instant) -> Heard {
        let Some((name, said)) = text.split_once(": ") else { return Heard::Nothing };
        if said.starts_with("Waiting for ") && said.ends_with(" to become my neighbor") {
            return Heard::Waits(name.to_owned());
        }
        let Some(Session { vif, peer, .. }) = peers.sessions.get(name) else {
            return Heard::Nothing;
        };
        let Some(up) = is_up(said) else {
            if is_reason(said) {
                self.reasons.insert(name.to_owned(), said.to_owned());
            }
            return Heard::Nothing;
        };
        let cause = match self.reasons.remove(name) {
            _ if up => "BGP session established".to_owned(),
            Some(reason) => reason,
            None => "BGP session closed".to_owned(),
        };
        self.set(vif, *peer, up, cause, at)
    }

    /// Takes what `show protocols` says of a protocol.
    pub(super) fn state(
        &mut self,
        protocol: &parse::Protocol,
        peers: &Peers,
        at: Instant,
    ) -> Vec<Heard> {
        let Some(Session { vif, peer, .. }) = peers.sessions.get(&protocol.name) else {
            return Vec::new();
        };
        let cause = if protocol.up { "BGP session established" } else { "BGP session is down" };
        let mut heard = vec![self.set(vif, *peer, protocol.up, cause.to_owned(), at)];
        if protocol.is_shut() {
            heard.push(Heard::Shut(protocol.name.clone()));
        } else if protocol.info.starts_with("Idle") {
            // Its message may be among the lost ones.
            heard.push(Heard::Waits(protocol.name.clone()));
        }
        heard.retain(|heard| *heard != Heard::Nothing);
        heard
    }

    /// Takes what BFD says of a peer. One with a BGP session is back when that is.
    pub(super) fn bfd(&mut self, peer: &BfdPeer, address: IpAddr, up: bool, at: Instant) -> Heard {
        if up && peer.session.is_some() {
            return Heard::Nothing;
        }
        let cause = if up { "BFD session up" } else { "BFD session down" };
        self.set(&peer.vif, address, up, cause.to_owned(), at)
    }

    /// The reason that a session's protocol gave last.
    pub(super) fn reason(&self, protocol: &str) -> Option<String> {
        self.reasons.get(protocol).cloned()
    }

    /// Whether a session was up when BIRD started anew, and still has time to be up again.
    pub(super) fn may_come_back(&self, session: &Session, at: Instant) -> bool {
        let peer = (session.vif.clone(), session.peer);
        self.stale.contains(&peer) && self.grace.is_some_and(|until| at < until)
    }

    /// BIRD has started anew.
    pub(super) fn restarted(&mut self, now: Instant) {
        self.grace = Some(now + GRACE);
        self.stale = self.up.iter().filter(|(_, up)| **up).map(|(peer, _)| peer.clone()).collect();
        self.reasons.clear();
    }

    /// Forgets who is no peer any more.
    pub(super) fn retain(&mut self, peers: &Peers) {
        let sessions = peers.sessions.values().map(|session| (session.vif.clone(), session.peer));
        let bfd = peers.bfd.iter().map(|((_, address), peer)| (peer.vif.clone(), *address));
        let there: HashSet<_> = sessions.chain(bfd).collect();
        self.up.retain(|peer, _| there.contains(peer));
        self.reasons.retain(|protocol, _| peers.session(protocol).is_some());
    }

    /// Says what is new.
    fn set(
        &mut self,
        vif: &Arc<str>,
        address: IpAddr,
        up: bool,
        cause: String,
        at: Instant,
    ) -> Heard {
        let peer = (vif.clone(), address);
        if up {
            self.stale.remove(&peer);
        } else if self.stale.contains(&peer) && self.grace.is_some_and(|until| at < until) {
            return Heard::Nothing;
        }
        // Of a peer that was never there nothing is lost: it may have routes that need no session.
        let before = self.up.get(&peer).copied();
        if before == Some(up) || (before.is_none() && !up) {
            return Heard::Nothing;
        }
        self.up.insert(peer, up);
        Heard::Peer(PeerEvent { vif: vif.clone(), address, up, cause, at })
    }
}

/// Whether a message says that a session is up, or that it is not.
pub(super) fn is_up(said: &str) -> Option<bool> {
    match said {
        "State changed to up" => Some(true),
        "State changed to stop" | "State changed to down" | "State changed to start" => Some(false),
        _ => None,
    }
}

/// Messages before a session's end that say why.
fn is_reason(said: &str) -> bool {
    const REASONS: &[&str] = &[
        "Link down",
        "Neighbor lost",
        "Connection closed",
        "Connection lost",
        "Route limit exceeded",
        "Shutdown requested",
        "Error: ",
        "Received: ",
    ];
    REASONS.iter().any(|reason| said.starts_with(reason))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bird::session::testing::session;

    fn peers() -> Peers {
        let session = session();
        let peer = |session| BfdPeer { vif: "a".into(), session };
        let bfd = [
            (("v0.1".to_owned(), session.peer), peer(Some(session.protocol.clone()))),
            (("v0.1".to_owned(), "10.0.0.9".parse().unwrap()), peer(None)),
        ];
        Peers {
            sessions: [(session.protocol.clone(), session)].into(),
            bfd: bfd.into(),
            ports: [("v0.1".to_owned(), "cust0".into())].into(),
            fastest: None,
        }
    }

    /// (address, up, cause) of what each message says. `BFD ADDRESS STATE` is what BFD says.
    fn heard(messages: &[&str]) -> Vec<(String, bool, String)> {
        let (peers, mut tracker) = (peers(), Tracker::default());
        let mut all = Vec::new();
        for message in messages {
            let heard = match message.split(' ').collect::<Vec<_>>()[..] {
                ["BFD", address, state] => {
                    let neighbor = ("v0.1".to_owned(), address.parse().unwrap());
                    let peer = peers.bfd(&neighbor).unwrap();
                    tracker.bfd(peer, neighbor.1, state == "up", Instant::now())
                }
                _ => tracker.message(message, &peers, Instant::now()),
            };
            match heard {
                Heard::Peer(event) => {
                    assert_eq!(&*event.vif, "a");
                    all.push((event.address.to_string(), event.up, event.cause));
                }
                Heard::Nothing => {}
                heard => panic!("{heard:?}"),
            }
        }
        all
    }

    fn event(address: &str, up: bool, cause: &str) -> (String, bool, String) {
        (address.to_owned(), up, cause.to_owned())
    }

    #[test]
    fn a_session_comes_and_goes_once() {
        let up = event("10.0.0.2", true, "BGP session established");
        assert_eq!(
            heard(&[
                "b.v0.1.10.0.0.2: Initializing",
                "b.v0.1.10.0.0.2: State changed to start",
                "b.v0.1.10.0.0.2: BGP session established",
                "b.v0.1.10.0.0.2: State changed to up",
                "BFD 10.0.0.2 up",
                "BFD 10.0.0.2 down",
                "b.v0.1.10.0.0.2: Shutdown requested",
                "b.v0.1.10.0.0.2: State changed to stop",
                "b.v0.1.10.0.0.2: BGP session closed",
                "b.v0.1.10.0.0.2: State changed to down",
                "b.v0.1.10.0.0.2: State changed to start",
                "BFD 10.0.0.2 up",
                "b.v0.1.10.0.0.2: State changed to up",
                "b.v0.1.10.0.0.2: Received: Administrative shutdown",
                "b.v0.1.10.0.0.2: State changed to stop",
            ]),
            [
                up.clone(),
                event("10.0.0.2", false, "BFD session down"),
                up,
                event("10.0.0.2", false, "Received: Administrative shutdown"),
            ]
        );
    }

    #[test]
    fn a_graceful_restart_is_no_loss() {
        let messages = [
            "b.v0.1.10.0.0.2: State changed to up",
            "b.v0.1.10.0.0.2: Neighbor graceful restart detected",
            "b.v0.1.10.0.0.2: BGP session closed",
            "b.v0.1.10.0.0.2: BGP session established",
        ];
        assert_eq!(heard(&messages).len(), 1);
    }

    #[test]
    fn a_static_next_hop_has_bfd_alone() {
        assert_eq!(
            heard(&["BFD 10.0.0.9 up", "BFD 10.0.0.9 down",]),
            [
                event("10.0.0.9", true, "BFD session up"),
                event("10.0.0.9", false, "BFD session down")
            ]
        );
    }

    #[test]
    fn who_waits_for_an_interface_is_noticed() {
        for name in ["b.v0.1.10.0.0.2", "f.v0.1"] {
            let text = format!("{name}: Waiting for 10.0.0.2%v0.1 to become my neighbor");
            let heard = Tracker::default().message(&text, &peers(), Instant::now());
            assert_eq!(heard, Heard::Waits(name.to_owned()));
        }
        let mut idle =
            parse::Protocol { name: "b.v0.1.10.0.0.2".into(), ..parse::Protocol::default() };
        let states = [
            ("Idle          BGP Error: ...", vec![Heard::Waits(idle.name.clone())]),
            ("Active", Vec::new()),
            ("Automatic shutdown: Route limit exceeded", vec![Heard::Shut(idle.name.clone())]),
        ];
        for (info, wanted) in states {
            (idle.info, idle.ends) = (info.into(), info.starts_with("Automatic"));
            let heard = Tracker::default().state(&idle, &peers(), Instant::now());
            assert_eq!(heard, wanted, "{info}");
        }
    }

    #[test]
    fn a_tap_has_its_own_protocols() {
        assert_eq!(peers().on("v0.1"), ["b.v0.1.10.0.0.2", "f.v0.1"]);
        assert!(peers().on("v0").is_empty());
    }

    #[test]
    fn sessions_have_time_to_come_back_when_bird_starts_anew() {
        let (peers, mut tracker, start) = (peers(), Tracker::default(), Instant::now());
        let state = |tracker: &mut Tracker, up, at| {
            let name = "b.v0.1.10.0.0.2".to_owned();
            let protocol = parse::Protocol { name, up, ..parse::Protocol::default() };
            tracker.state(&protocol, &peers, start + Duration::from_secs(at)).len()
        };
        assert_eq!(state(&mut tracker, true, 0), 1);
        // The same BIRD, another connection: what was lost meanwhile is told.
        assert_eq!(state(&mut tracker, false, 1), 1);
        assert_eq!(state(&mut tracker, true, 2), 1);
        // Another BIRD.
        tracker.restarted(start + Duration::from_secs(3));
        assert_eq!(state(&mut tracker, false, 4), 0);
        assert_eq!(state(&mut tracker, true, 5), 0, "it was never gone");
        assert_eq!(state(&mut tracker, false, 6), 1, "now it is");
        assert_eq!(state(&mut tracker, true, 7), 1);
        tracker.restarted(start + Duration::from_secs(8));
        assert_eq!(state(&mut tracker, false, 9), 0);
        assert_eq!(state(&mut tracker, false, 30), 1, "it did not come back");
    }
}
