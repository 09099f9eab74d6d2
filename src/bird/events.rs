//! Peers that come and go, from the messages that BIRD echoes on its control socket as they happen.
//! Messages may be lost, and BIRD may have been there before us: then all sessions are asked for.

use std::collections::HashMap;
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
    /// The VIF and the peer of each session's protocol.
    sessions: HashMap<String, (Arc<str>, IpAddr)>,
    /// The VIF of each BFD protocol.
    bfd: HashMap<String, Arc<str>>,
}

impl Peers {
    pub(super) fn of(config: &Config) -> Peers {
        let of_session = |s: Session| (s.protocol, (s.vif, s.peer));
        let bfd = config.vifs.iter().filter(|vif| vif.bfd.is_some()).map(|vif| {
            let tap = session::tap(config, vif);
            (session::bfd_protocol(&tap), vif.name.clone())
        });
        Peers {
            sessions: session::sessions(config).into_iter().map(of_session).collect(),
            bfd: bfd.collect(),
        }
    }

    fn is_bgp(&self, vif: &Arc<str>, address: IpAddr) -> bool {
        self.sessions.values().any(|(v, a)| v == vif && *a == address)
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
        if let Some(vif) = peers.bfd.get(name) {
            return self.bfd(vif, said, peers, at);
        }
        let Some((vif, address)) = peers.sessions.get(name) else { return Heard::Nothing };
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
        self.set(vif, *address, up, cause, at)
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
        let Some((vif, address)) = peers.sessions.get(&protocol.name) else {
            return Heard::Nothing;
        };
        let cause = if protocol.up { "BGP session established" } else { "BGP session is down" };
        self.set(vif, *address, protocol.up, cause.to_owned(), at)
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
        let address: IpAddr = "10.0.0.2".parse().unwrap();
        Peers {
            sessions: [("b.v0.1.10.0.0.2".to_owned(), ("a".into(), address))].into(),
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
                Heard::Gap => panic!("no gap"),
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
    fn a_gap_is_noticed() {
        let heard = Tracker::default().message("<12 messages lost>", &peers(), Instant::now());
        assert_eq!(heard, Heard::Gap);
    }
}
