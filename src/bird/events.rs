//! Peers that come and go, from the messages that BIRD echoes on its control socket as they happen.
//! Messages may be lost, and BIRD may have been there before us: then all sessions are asked for.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use super::parse;
use super::session::{self, Session};
use crate::control::model::Config;

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

/// What the protocols in BIRD are about.
#[derive(Debug, Default)]
pub(super) struct Peers {
    /// By its protocol.
    sessions: HashMap<String, Session>,
    /// The VIF of each BFD protocol.
    bfd: HashMap<String, Arc<str>>,
}

impl Peers {
    pub(super) fn of(config: &Config) -> Peers {
        let sessions = session::sessions(config).into_iter();
        let bfd = config.vifs.iter().filter(|vif| vif.bfd.is_some()).map(|vif| {
            let tap = session::tap(config, vif);
            (session::bfd_protocol(&tap), vif.name.clone())
        });
        Peers {
            sessions: sessions.map(|session| (session.protocol.clone(), session)).collect(),
            bfd: bfd.collect(),
        }
    }

    /// The protocols that speak through these TAPs.
    pub(super) fn on(&self, taps: &[String]) -> Vec<String> {
        let named: HashSet<&String> = taps.iter().collect();
        let sessions = self.sessions.values().filter(|session| named.contains(&session.tap));
        let bfd = taps.iter().map(|tap| session::bfd_protocol(tap));
        let bfd = bfd.filter(|name| self.bfd.contains_key(name));
        sessions.map(|session| session.protocol.clone()).chain(bfd).collect()
    }

    fn is_bgp(&self, vif: &Arc<str>, address: IpAddr) -> bool {
        self.sessions.values().any(|session| session.vif == *vif && session.peer == address)
    }
}

/// What the messages have said so far.
#[derive(Default)]
pub(super) struct Tracker {
    /// Peers that were seen up or down.
    up: HashMap<(Arc<str>, IpAddr), bool>,
    /// The reason that a session's protocol gave last.
    reasons: HashMap<String, String>,
}

/// What to do about a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Nothing,
    Peer(PeerEvent),
    /// This protocol found no interface or address when it started, and does not look again.
    Waits(String),
    /// Messages were lost.
    Gap,
}

impl Tracker {
    /// Takes a message of BIRD's log.
    pub(super) fn message(&mut self, text: &str, peers: &Peers, at: Instant) -> Heard {
        if text.ends_with("messages lost>") {
            return Heard::Gap;
        }
        let Some((name, said)) = text.split_once(": ") else { return Heard::Nothing };
        if said.starts_with("Waiting for ") && said.ends_with(" to become my neighbor") {
            return Heard::Waits(name.to_owned());
        }
        if let Some(vif) = peers.bfd.get(name) {
            return self.bfd(vif, said, peers, at);
        }
        let Some(Session { vif, peer, .. }) = peers.sessions.get(name) else {
            return Heard::Nothing;
        };
        let up = match said {
            "State changed to up" => true,
            "BFD session down" => {
                self.reasons.insert(name.to_owned(), said.to_owned());
                false
            }
            "State changed to stop" | "State changed to down" | "State changed to start" => false,
            reason => {
                if is_reason(reason) {
                    self.reasons.insert(name.to_owned(), reason.to_owned());
                }
                return Heard::Nothing;
            }
        };
        let cause = match self.reasons.remove(name) {
            _ if up => "BGP session established".to_owned(),
            Some(reason) => reason,
            None => "BGP session closed".to_owned(),
        };
        self.set(vif, *peer, up, cause, at)
    }

    /// `Session to 10.0.0.2 changed state from Up to Down`
    fn bfd(&mut self, vif: &Arc<str>, said: &str, peers: &Peers, at: Instant) -> Heard {
        let words: Vec<&str> = said.split(' ').collect();
        let ["Session", "to", address, "changed", "state", "from", old, "to", new] = words[..]
        else {
            return Heard::Nothing;
        };
        let Ok(address) = address.parse() else { return Heard::Nothing };
        match (old, new) {
            // A BGP peer is back when its session is.
            (_, "Up") if !peers.is_bgp(vif, address) => {
                self.set(vif, address, true, "BFD session up".to_owned(), at)
            }
            // One that was never up says nothing: the peer may not speak BFD.
            ("Up", "Down") => self.set(vif, address, false, "BFD session down".to_owned(), at),
            _ => Heard::Nothing,
        }
    }

    /// Takes what `show protocols` says of a protocol.
    pub(super) fn state(
        &mut self,
        protocol: &parse::Protocol,
        peers: &Peers,
        at: Instant,
    ) -> Heard {
        let Some(Session { vif, peer, .. }) = peers.sessions.get(&protocol.name) else {
            return Heard::Nothing;
        };
        let cause = if protocol.up { "BGP session established" } else { "BGP session is down" };
        match self.set(vif, *peer, protocol.up, cause.to_owned(), at) {
            // Its message may be among the lost ones.
            Heard::Nothing if protocol.info.starts_with("Idle") => {
                Heard::Waits(protocol.name.clone())
            }
            heard => heard,
        }
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
        // Of a peer that was never there nothing is lost: it may have routes that need no session.
        let before = self.up.get(&(vif.clone(), address)).copied();
        if before == Some(up) || (before.is_none() && !up) {
            return Heard::Nothing;
        }
        self.up.insert((vif.clone(), address), up);
        Heard::Peer(PeerEvent { vif: vif.clone(), address, up, cause, at })
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
    use super::*;

    fn peers() -> Peers {
        let session = Session {
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
        };
        Peers {
            sessions: [(session.protocol.clone(), session)].into(),
            bfd: [("f.v0.1".to_owned(), "a".into())].into(),
        }
    }

    /// (address, up, cause) of what each message says.
    fn heard(messages: &[&str]) -> Vec<(String, bool, String)> {
        let (peers, mut tracker) = (peers(), Tracker::default());
        let mut all = Vec::new();
        for message in messages {
            match tracker.message(message, &peers, Instant::now()) {
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
                "f.v0.1: Session to 10.0.0.2 changed state from AdminDown to Down",
                "f.v0.1: Session to 10.0.0.2 changed state from Init to Up",
                "f.v0.1: Session to 10.0.0.2 changed state from Up to Down",
                "b.v0.1.10.0.0.2: BFD session down",
                "b.v0.1.10.0.0.2: State changed to stop",
                "b.v0.1.10.0.0.2: BGP session closed",
                "b.v0.1.10.0.0.2: State changed to down",
                "b.v0.1.10.0.0.2: State changed to start",
                "f.v0.1: Session to 10.0.0.2 changed state from Down to Up",
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
            heard(&[
                "f.v0.1: Session to 10.0.0.9 changed state from Init to Up",
                "f.v0.1: Session to 10.0.0.9 changed state from Up to Down",
                "f.v9.1: Session to 10.0.0.9 changed state from Down to Up",
            ]),
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
        for (info, waits) in [("Idle          BGP Error: ...", true), ("Active", false)] {
            idle.info = info.into();
            let heard = Tracker::default().state(&idle, &peers(), Instant::now());
            assert_eq!(heard == Heard::Waits(idle.name.clone()), waits, "{info}");
        }
    }

    #[test]
    fn a_tap_has_its_own_protocols() {
        let on = peers().on(&["v0.1".into(), "v0.2".into()]);
        assert_eq!(on, ["b.v0.1.10.0.0.2", "f.v0.1"]);
        assert!(peers().on(&["v0".into()]).is_empty());
    }

    #[test]
    fn a_gap_is_noticed() {
        let heard = Tracker::default().message("<12 messages lost>", &peers(), Instant::now());
        assert_eq!(heard, Heard::Gap);
    }
}
