//! What a configuration has BIRD's protocols for: sessions, whom BFD watches, and the ports that lead there.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::bfd;
use super::bfd_watch::Neighbor;
use super::session::{self, Session};
use crate::config::model::Config;

/// What the protocols in BIRD are about.
#[derive(Debug, Default)]
pub(super) struct Peers {
    /// By its protocol.
    pub sessions: HashMap<String, Session>,
    /// Whom BFD watches.
    pub bfd: HashMap<Neighbor, BfdPeer>,
    /// The port of each TAP.
    pub ports: HashMap<String, Arc<str>>,
    /// The shortest time in which BFD hears of a peer.
    pub fastest: Option<Duration>,
}

/// A peer that BFD watches.
#[derive(Debug)]
pub(super) struct BfdPeer {
    /// Name of the VIF.
    pub vif: Arc<str>,
    /// The protocol of its BGP session, where it has one.
    pub session: Option<String>,
}

impl Peers {
    pub(super) fn of(config: &Config) -> Peers {
        let sessions: HashMap<String, Session> = session::sessions(config)
            .into_iter()
            .map(|session| (session.protocol.clone(), session))
            .collect();
        let mut peers = Peers { sessions, ..Peers::default() };
        for vif in &config.vifs {
            let tap = session::tap(config, vif);
            peers.ports.insert(tap.clone(), vif.port.clone());
            let Some(bfd) = vif.bfd.filter(|_| vif.up) else { continue };
            let interval = Duration::from_millis(bfd.interval_ms.into());
            peers.fastest = Some(peers.fastest.map_or(interval, |fastest| fastest.min(interval)));
            for (address, _) in bfd::neighbors(config, vif) {
                let session = session::protocol(&tap, address);
                let session = peers.sessions.contains_key(&session).then_some(session);
                let peer = BfdPeer { vif: vif.name.clone(), session };
                peers.bfd.insert((tap.clone(), address), peer);
            }
        }
        peers
    }

    /// The protocols that speak through a TAP.
    pub(super) fn on(&self, tap: &str) -> Vec<String> {
        let sessions = self.sessions.values().filter(|session| session.tap == tap);
        let bfd = self.bfd.keys().any(|(known, _)| known == tap);
        let bfd = bfd.then(|| session::bfd_protocol(tap));
        sessions.map(|session| session.protocol.clone()).chain(bfd).collect()
    }

    /// The port of a TAP.
    pub(super) fn port(&self, tap: &str) -> Option<&Arc<str>> {
        self.ports.get(tap)
    }

    /// The session with this protocol.
    pub(super) fn session(&self, protocol: &str) -> Option<&Session> {
        self.sessions.get(protocol)
    }

    /// Whom BFD watches there.
    pub(super) fn bfd(&self, neighbor: &Neighbor) -> Option<&BfdPeer> {
        self.bfd.get(neighbor)
    }
}
