//! Follows a BIRD over a connection of its own: takes its messages as they come, asks for its BFD and BGP
//! sessions, and notices where it no longer answers. What is known outlives the connection.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::info;

use super::bfd_watch::{BfdWatch, Change};
use super::client::{Client, ClientError, Line};
use super::events::{Heard, PeerEvent, Tracker, is_up};
use super::notices::{self, Notice, Notices};
use super::parse;
use super::peers::Peers;

/// What is taken of BIRD's log: the sessions' states. The other classes carry what a peer can cause as often
/// as it sends a packet, and would push these out of the buffer.
const CLASSES: &str = "{ trace }";
/// What BIRD keeps of its log for us until we take it, in octets: the most that it allows.
const ECHO: u32 = 65_536;
/// How often all sessions are asked for although no message says that anything happened.
const REGULAR: Duration = Duration::from_secs(5);
/// From the end of a session, or a gap in the messages, until all are asked for; and between two times.
const SOON: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(200));
/// How often prefixes are counted, at most.
const PREFIXES: Duration = Duration::from_secs(5);
/// How often BFD's sessions are asked for: a fifth of the shortest interval, within these.
const BFD: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(200));
/// What a line of an answer may cost: BIRD makes one in about 1 us of its only thread's time, of which
/// questions take at most a twentieth.
const LINE: Duration = Duration::from_micros(20);
/// A BIRD that does not answer for so long is said to; after the second time it is given up.
const SILENCE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(30));

/// What follows from what BIRD says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Peer(PeerEvent),
    /// Something happened, for whoever wants to know.
    Told(Notice),
    /// This protocol waits for its interface.
    Wake(String),
    /// A limit has shut this session.
    Shut(String),
    /// BIRD does not answer; or does again.
    Silent(bool),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Question {
    /// Starts the session of a peer anew that BFD lost.
    Restart(String),
    Bfd,
    Sessions,
    /// The sessions with their prefixes.
    Prefixes,
}

struct Asked {
    question: Question,
    at: Instant,
    lines: Vec<(u16, String)>,
}

/// What is known of BIRD, and what is to be asked. It neither reads nor writes, and has no clock.
pub(super) struct Follower {
    pub peers: Peers,
    pub tracker: Tracker,
    notices: Notices,
    bfd: BfdWatch,
    asked: Option<Asked>,
    restarts: VecDeque<String>,
    sessions_at: Instant,
    bfd_at: Instant,
    prefixes_at: Instant,
    /// All sessions are not asked for before.
    not_before: Instant,
    silent: bool,
}

impl Follower {
    pub(super) fn new(now: Instant) -> Follower {
        Follower {
            peers: Peers::default(),
            tracker: Tracker::default(),
            notices: Notices::default(),
            bfd: BfdWatch::default(),
            asked: None,
            restarts: VecDeque::new(),
            sessions_at: now,
            bfd_at: now,
            prefixes_at: now + PREFIXES,
            not_before: now,
            silent: false,
        }
    }

    /// Other peers are configured.
    pub(super) fn configure(&mut self, peers: Peers) {
        self.tracker.retain(&peers);
        self.notices.retain(&self.peers, &peers);
        self.peers = peers;
    }

    /// There is a new connection. `anew`: BIRD has been started, too.
    pub(super) fn connected(&mut self, anew: bool, now: Instant) {
        if anew {
            self.tracker.restarted(now);
            self.bfd.restarted(now);
        }
        self.asked = None;
        self.restarts.clear();
        (self.sessions_at, self.bfd_at, self.not_before) = (now, now, now);
        self.prefixes_at = now + PREFIXES;
    }

    /// The next question, if it is time for one.
    pub(super) fn question(&mut self, now: Instant) -> Option<String> {
        if self.asked.is_some() {
            return None;
        }
        let question = if let Some(protocol) = self.restarts.pop_front() {
            Question::Restart(protocol)
        } else if self.peers.fastest.is_some() && self.bfd_at <= now {
            Question::Bfd
        } else if self.sessions_at <= now {
            Question::Sessions
        } else if self.prefixes_at <= now && !self.peers.sessions.is_empty() {
            Question::Prefixes
        } else {
            return None;
        };
        let command = match &question {
            Question::Restart(protocol) => format!("restart '{protocol}' \"BFD session down\""),
            Question::Bfd => "show bfd sessions".to_owned(),
            Question::Sessions => "show protocols \"b.*\"".to_owned(),
            Question::Prefixes => "show protocols all \"b.*\"".to_owned(),
        };
        self.asked = Some(Asked { question, at: now, lines: Vec::new() });
        Some(command)
    }

    /// How long BIRD may be waited for.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        let bfd_at = self.peers.fastest.map(|_| self.bfd_at);
        let prefixes_at = (!self.peers.sessions.is_empty()).then_some(self.prefixes_at);
        let at = match &self.asked {
            Some(asked) if self.silent => asked.at + SILENCE.1,
            Some(asked) => asked.at + SILENCE.0,
            None => {
                let others = bfd_at.into_iter().chain(prefixes_at);
                others.fold(self.sessions_at, Instant::min)
            }
        };
        let at = self.notices.next().map_or(at, |next| next.min(at));
        at.saturating_duration_since(now)
    }

    /// Takes a line.
    pub(super) fn line(&mut self, line: Line, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        if std::mem::take(&mut self.silent) {
            effects.push(Effect::Silent(false));
        }
        match line {
            Line::Log(text) => {
                self.note(&text, now);
                let heard = self.tracker.message(&text, &self.peers, now);
                self.effect(heard, &mut effects, now);
            }
            Line::Gap => self.ask_soon(now),
            Line::Other => {}
            Line::Text(code, text) => {
                if let Some(asked) = &mut self.asked {
                    asked.lines.push((code, text));
                }
            }
            Line::End(..) => {
                if let Some(asked) = self.asked.take() {
                    self.answer(asked, &mut effects, now);
                }
            }
        }
        effects
    }

    /// Time has passed. An error: BIRD is given up.
    pub(super) fn silence(&mut self, now: Instant) -> Result<Option<Effect>, ()> {
        let Some(asked) = &self.asked else { return Ok(None) };
        let silence = now.saturating_duration_since(asked.at);
        if silence >= SILENCE.1 {
            return Err(());
        }
        if silence >= SILENCE.0 && !self.silent {
            self.silent = true;
            return Ok(Some(Effect::Silent(true)));
        }
        Ok(None)
    }

    fn answer(&mut self, asked: Asked, effects: &mut Vec<Effect>, now: Instant) {
        let cost = LINE * u32::try_from(asked.lines.len()).unwrap_or(u32::MAX);
        match asked.question {
            Question::Restart(_) => {}
            Question::Bfd => {
                let fastest = self.peers.fastest.unwrap_or(BFD.1) / 5;
                self.bfd_at = now + fastest.clamp(BFD.0, BFD.1).max(cost);
                let lines = asked.lines.iter().filter_map(|(_, line)| parse::bfd_session(line));
                let sessions: Vec<_> = lines.collect();
                for (neighbor, change) in self.bfd.sessions(&sessions, now) {
                    let Some(peer) = self.peers.bfd(&neighbor) else { continue };
                    self.notices.bfd(peer, neighbor.1, change, now);
                    let up = match change {
                        Change::Up => true,
                        Change::Lost => false,
                        Change::Off => {
                            info!(vif = %peer.vif, peer = %neighbor.1, "the peer says that its BFD is down");
                            continue;
                        }
                    };
                    let session = peer.session.clone().filter(|_| !up);
                    if let Some(session) = session.as_ref().and_then(|it| self.peers.session(it)) {
                        self.notices.down(session, Some("BFD session down".to_owned()), now);
                    }
                    let heard = self.tracker.bfd(peer, neighbor.1, up, now);
                    self.restarts.extend(session.filter(|_| heard != Heard::Nothing));
                    self.effect(heard, effects, now);
                }
            }
            Question::Sessions => {
                self.sessions_at = now + REGULAR;
                self.not_before = now + SOON.1.max(cost);
                for protocol in parse::protocols(asked.lines) {
                    if let Some(session) = self.peers.session(&protocol.name) {
                        if protocol.up {
                            self.notices.up(session, now);
                        } else if !self.tracker.may_come_back(session, now) {
                            self.notices.down(session, notices::reason(&protocol.info), now);
                        }
                    }
                    for heard in self.tracker.state(&protocol, &self.peers, now) {
                        self.effect(heard, effects, now);
                    }
                }
            }
            Question::Prefixes => {
                self.prefixes_at = now + PREFIXES.max(cost);
                for protocol in parse::protocols(asked.lines) {
                    if let Some(session) = self.peers.session(&protocol.name) {
                        self.notices.prefixes(session, &protocol, now);
                    }
                }
            }
        }
    }

    /// Takes note of a message that says how a session is.
    fn note(&mut self, text: &str, now: Instant) {
        let Some((name, said)) = text.split_once(": ") else { return };
        let Some(session) = self.peers.session(name) else { return };
        match is_up(said) {
            Some(true) => self.notices.up(session, now),
            Some(false) => self.notices.down(session, self.tracker.reason(name), now),
            None => {}
        }
    }

    /// Takes a complaint of BIRD's about a session, and gives what is to be told now.
    pub(super) fn complaint(&mut self, name: &str, said: &str, now: Instant) -> Vec<Notice> {
        if let Some(session) = self.peers.session(name) {
            self.notices.complaint(session, said, now);
        }
        self.notices.take(&self.peers, now)
    }

    /// Completes an error of which `show protocols` says the beginning: the log has the AS number of a wrong one, and
    /// what the far end wrote.
    pub(super) fn complete(&self, protocol: &mut parse::Protocol) {
        let Some(error) = &mut protocol.last_error else { return };
        // `BGP Error: Bad peer AS` there is `Error: Bad peer AS: 65001` in the log.
        let begin = error.strip_prefix("BGP ").unwrap_or(error);
        let said = self.notices.last_complaint(&protocol.name);
        if let Some(said) = said.filter(|said| said.starts_with(begin)) {
            said.clone_into(error);
        }
    }

    /// What is to be told now.
    fn told(&mut self, now: Instant) -> Vec<Notice> {
        self.notices.take(&self.peers, now)
    }

    fn effect(&mut self, heard: Heard, effects: &mut Vec<Effect>, now: Instant) {
        match heard {
            Heard::Nothing => {}
            Heard::Peer(event) => {
                if !event.up {
                    // Whether a limit shut it is said by no message.
                    self.ask_soon(now);
                }
                effects.push(Effect::Peer(event));
            }
            Heard::Waits(protocol) => effects.push(Effect::Wake(protocol)),
            Heard::Shut(protocol) => {
                if let Some(session) = self.peers.session(&protocol) {
                    self.notices.shut(session, now);
                }
                effects.push(Effect::Shut(protocol));
            }
        }
    }

    fn ask_soon(&mut self, now: Instant) {
        self.sessions_at = self.sessions_at.min((now + SOON.0).max(self.not_before));
    }
}

/// Why BIRD is no longer followed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    /// It is gone, or the connection is.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// It is there, but does nothing.
    #[error("BIRD has not answered for {} s", SILENCE.1.as_secs())]
    Silent,
}

/// Follows BIRD until it is gone, and tells what follows.
pub(super) fn follow(
    client: Client,
    follower: &Mutex<Follower>,
    tell: impl FnMut(Effect),
) -> Ended {
    match follow_on(client, follower, tell) {
        Err(ended) => ended,
    }
}

fn follow_on(
    mut client: Client,
    follower: &Mutex<Follower>,
    mut tell: impl FnMut(Effect),
) -> Result<Infallible, Ended> {
    let follower = || follower.lock().unwrap_or_else(PoisonError::into_inner);
    client.send(&format!("echo {CLASSES} {ECHO}")).map_err(ClientError::from)?;
    loop {
        let now = Instant::now();
        let question = follower().question(now);
        if let Some(question) = question {
            client.send(&question).map_err(ClientError::from)?;
        }
        let told = follower().told(now);
        told.into_iter().map(Effect::Told).for_each(&mut tell);
        let wait = follower().wait(now);
        client.wait_for(wait).map_err(ClientError::from)?;
        let effects = match client.line() {
            Ok(line) => follower().line(line, Instant::now()),
            Err(error) if error.is_silence() => {
                let silence = follower().silence(Instant::now());
                silence.map_err(|()| Ended::Silent)?.into_iter().collect()
            }
            Err(error) => return Err(error.into()),
        };
        effects.into_iter().for_each(&mut tell);
    }
}

#[cfg(test)]
mod tests;
