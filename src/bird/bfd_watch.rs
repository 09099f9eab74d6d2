//! Peers that BFD lost, from what BIRD says of its sessions when it is asked again and again. BIRD 2.0
//! runs BFD in a thread whose messages it does not echo.
//!
//! BGP sessions do not follow BFD in BIRD (`bfd on` is not rendered): it would end them when the peer
//! switches its BFD off, too, after which they should stay (RFC 5882 4.2). The station tells the two
//! apart by what BIRD shows of a session that went down:
//!
//! | state, timeout | the peer |
//! |---|---|
//! | `Down`, 0 | said nothing for the detection time: BIRD forgets what it said before |
//! | `Down`, more | said AdminDown or Down |
//! | `Init` | said Down: it no longer hears us (RFC 5880 6.8.6; with AdminDown a session stays `Down`) |

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::parse::{BfdSession, BfdState};

/// A neighbor on a TAP.
pub(super) type Neighbor = (String, IpAddr);

/// How long after BIRD's restart sessions may take to be up again.
pub(super) const GRACE: Duration = Duration::from_secs(20);

/// What happened to a neighbor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Up,
    Lost,
    /// It switched BFD off, which is no loss.
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Up,
    /// It was up, and the peer said Down or AdminDown: the next packet tells which.
    SaidDown,
    /// It was up before BIRD started anew.
    Stale(Instant),
    Down,
}

/// What was seen of all sessions.
#[derive(Debug, Default)]
pub(super) struct BfdWatch {
    seen: HashMap<Neighbor, Seen>,
}

impl BfdWatch {
    /// BIRD has started anew, with no session up.
    pub(super) fn restarted(&mut self, now: Instant) {
        for seen in self.seen.values_mut().filter(|seen| **seen == Seen::Up) {
            *seen = Seen::Stale(now + GRACE);
        }
    }

    /// Takes in all sessions that there are.
    pub(super) fn sessions(
        &mut self,
        sessions: &[BfdSession],
        now: Instant,
    ) -> Vec<(Neighbor, Change)> {
        let mut changes = Vec::new();
        let mut there = HashSet::new();
        for session in sessions {
            let neighbor = (session.tap.clone(), session.address);
            let before = self.seen.get(&neighbor).copied();
            let (seen, change) = step(before, session, now);
            changes.extend(change.map(|change| (neighbor.clone(), change)));
            self.seen.insert(neighbor.clone(), seen);
            there.insert(neighbor);
        }
        // A session that BIRD starts anew says nothing of the peer.
        self.seen.retain(|neighbor, seen| {
            there.contains(neighbor) || matches!(seen, Seen::Stale(until) if *until > now)
        });
        changes
    }
}

fn step(before: Option<Seen>, session: &BfdSession, now: Instant) -> (Seen, Option<Change>) {
    use BfdState::{AdminDown, Down, Init, Up};
    match (before, session.state) {
        (Some(Seen::Up), Up) => (Seen::Up, None),
        (Some(Seen::Stale(_) | Seen::SaidDown), Up) => (Seen::Up, None),
        (_, Up) => (Seen::Up, Some(Change::Up)),
        (Some(Seen::Up | Seen::SaidDown), Init) => (Seen::Down, Some(Change::Lost)),
        (Some(Seen::Up), Down) if session.heard => (Seen::SaidDown, Some(Change::Off)),
        (Some(Seen::Up), Down) => (Seen::Down, Some(Change::Lost)),
        (Some(Seen::SaidDown), Down) => (Seen::SaidDown, None),
        (Some(Seen::Stale(until)), Down | Init | AdminDown) => {
            if until > now {
                (Seen::Stale(until), None)
            } else {
                (Seen::Down, Some(Change::Lost))
            }
        }
        // Our own side switched it off; or a session that was never up: the peer may not speak BFD.
        (_, AdminDown) | (Some(Seen::Down) | None, Down | Init) => (Seen::Down, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The changes that a sequence of answers makes: `U`p, `I`nit, silent (`D`) or said (`d`) down, `A`dmin
    /// down, no session (`-`), BIRD's restart (`R`), and `.` for 20 s.
    fn changes(answers: &str) -> Vec<Change> {
        let (mut watch, mut now) = (BfdWatch::default(), Instant::now());
        let mut changes = Vec::new();
        for answer in answers.chars() {
            now += Duration::from_millis(10);
            let (state, heard) = match answer {
                'R' => {
                    watch.restarted(now);
                    continue;
                }
                '.' => {
                    now += GRACE;
                    continue;
                }
                '-' => {
                    assert_eq!(watch.sessions(&[], now), []);
                    continue;
                }
                'U' => (BfdState::Up, true),
                'I' => (BfdState::Init, true),
                'd' => (BfdState::Down, true),
                'D' => (BfdState::Down, false),
                _ => (BfdState::AdminDown, false),
            };
            let address = "10.0.0.2".parse().unwrap();
            let session = BfdSession { tap: "v0.1".into(), address, state, heard };
            let told = watch.sessions(std::slice::from_ref(&session), now);
            changes.extend(told.into_iter().map(|(_, change)| change));
        }
        changes
    }

    #[test]
    fn silence_is_a_loss() {
        assert_eq!(changes("DDIUUD"), [Change::Up, Change::Lost]);
        assert_eq!(changes("UDDDIU"), [Change::Up, Change::Lost, Change::Up]);
    }

    #[test]
    fn a_peer_that_switches_bfd_off_is_not_lost() {
        // RFC 5882 4.2. Later it says nothing at all, and then it is back.
        assert_eq!(changes("UddddD"), [Change::Up, Change::Off]);
        assert_eq!(changes("UddDDDU"), [Change::Up, Change::Off]);
        assert_eq!(changes("UddDDDUD"), [Change::Up, Change::Off, Change::Lost]);
    }

    #[test]
    fn a_peer_that_no_longer_hears_us_is_lost() {
        assert_eq!(changes("UI"), [Change::Up, Change::Lost]);
        assert_eq!(changes("UddI"), [Change::Up, Change::Off, Change::Lost]);
    }

    #[test]
    fn a_session_that_was_never_up_is_not_lost() {
        assert_eq!(changes("DDDIID"), []);
        assert_eq!(changes("A"), []);
    }

    #[test]
    fn a_session_that_bird_starts_anew_is_not_lost_by_that() {
        assert_eq!(changes("U-DDI"), [Change::Up]);
        assert_eq!(changes("UR-DIU"), [Change::Up]);
        assert_eq!(changes("UR-DD."), [Change::Up]);
        assert_eq!(changes("UR-DD.D"), [Change::Up, Change::Lost]);
    }
}
