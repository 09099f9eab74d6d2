//! `show bgp`: what BIRD knows of sessions and their routes. Each answer is fetched by the thread that
//! gives it, over a connection of its own; a large table passes through, and is held by nobody.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::client::{Client, ClientError};
use super::follow::Follower;
use super::notification::notification;
use super::parse::{self, BfdState, Route, Routes};
use super::process::Place;
use super::refused::{self, Counts};
use super::session::{Session, Withheld};
use crate::admin::protocol::BgpDirection;
use crate::admin::rows::{BgpRouteRow, BgpRow};
use crate::clock::now_ms;

/// How long BIRD may take for a line of an answer to an operator.
const PATIENCE: Duration = Duration::from_secs(5);
/// Questions that are answered at a time; as many wait. BIRD answers them by its only thread, and whoever asks has a thread
/// of the admin socket, of which others want some.
const SLOTS: usize = 2;
/// The NOTIFICATION "Bad Peer AS" (RFC 4271 6.2).
const WRONG_AS: (Option<u8>, Option<u8>) = (Some(2), Some(2));
/// How long a question waits for a slot.
const WAIT: Duration = Duration::from_secs(2);

/// Asks BIRD, a few questions at a time.
#[derive(Clone)]
pub struct Questions {
    place: Place,
    /// What stands between BIRD and the configuration, in words.
    trouble: Arc<Mutex<Option<String>>>,
    /// What BIRD's messages said of sessions.
    follower: Arc<Mutex<Follower>>,
    slots: Arc<Slots>,
}

#[derive(Default)]
struct Slots {
    taken: Mutex<Taken>,
    freed: Condvar,
}

#[derive(Default)]
struct Taken {
    answered: usize,
    waiting: usize,
}

/// A question that is being answered.
struct Slot(Arc<Slots>);

impl Slot {
    fn take(slots: &Arc<Slots>) -> Result<Slot, ClientError> {
        let mut taken = slots.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.waiting >= SLOTS {
            return Err(ClientError::Busy);
        }
        taken.waiting += 1;
        let full = |taken: &mut Taken| taken.answered >= SLOTS;
        let waited = slots.freed.wait_timeout_while(taken, WAIT, full);
        let (mut taken, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        taken.waiting -= 1;
        if timeout.timed_out() {
            return Err(ClientError::Busy);
        }
        taken.answered += 1;
        Ok(Slot(slots.clone()))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner).answered -= 1;
        self.0.freed.notify_one();
    }
}

impl Questions {
    pub(super) fn new(
        place: Place,
        trouble: Arc<Mutex<Option<String>>>,
        follower: Arc<Mutex<Follower>>,
    ) -> Questions {
        Questions { place, trouble, follower, slots: Arc::default() }
    }

    /// Why BIRD is not as configured.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// An answer's lines.
    ///
    /// # Errors
    /// Where BIRD does not answer, or calls it an error; others are asking.
    pub(super) fn ask(&self, question: &str) -> Result<Vec<(u16, String)>, ClientError> {
        let _slot = Slot::take(&self.slots)?;
        Client::connect(&self.place.socket(), PATIENCE)?.ask(question)
    }

    /// A row for each session. Where BIRD does not answer, they say why.
    ///
    /// # Errors
    /// Others are asking.
    pub fn summary(&self, sessions: &[Session]) -> Result<Vec<BgpRow>, ClientError> {
        let slot = Slot::take(&self.slots)?;
        // BIRD forgets why a session is disabled as soon as it reads a configuration.
        let shut = self.place.shut();
        let rows = Client::connect(&self.place.socket(), PATIENCE)
            .and_then(|mut client| ask(&mut client, sessions, &shut, &self.follower));
        drop(slot);
        Ok(rows.unwrap_or_else(|error| {
            let why = self.trouble().unwrap_or_else(|| error.to_string());
            let down = parse::Protocol {
                state: "down".into(),
                last_error: Some(why),
                ..Default::default()
            };
            let down = |session| {
                row(session, &down, shut.contains(&session.protocol), None, Counts::new())
            };
            sessions.iter().map(down).collect()
        }))
    }

    /// The routes of sessions in one direction, as BIRD tells them.
    ///
    /// # Errors
    /// Where BIRD does not answer, or others are asking.
    pub fn routes(
        &self,
        sessions: Vec<Session>,
        direction: BgpDirection,
    ) -> Result<impl Iterator<Item = BgpRouteRow> + Send + use<>, ClientError> {
        let slot = Slot::take(&self.slots)?;
        let client = Client::connect(&self.place.socket(), PATIENCE)?;
        Ok(route_rows(slot, client, sessions, direction))
    }
}

fn ask(
    client: &mut Client,
    sessions: &[Session],
    shut: &BTreeSet<String>,
    follower: &Mutex<Follower>,
) -> Result<Vec<BgpRow>, ClientError> {
    // A session alone is asked for alone.
    let pattern = match sessions {
        [] => return Ok(Vec::new()),
        [only] => format!("'{}'", only.protocol),
        _ => "\"b.*\"".to_owned(),
    };
    let lines = client.ask(&format!("show protocols all {pattern}"))?;
    let mut protocols = parse::protocols(lines);
    {
        let follower = follower.lock().unwrap_or_else(PoisonError::into_inner);
        protocols.iter_mut().for_each(|protocol| follower.complete(protocol));
    }
    let protocols: HashMap<String, parse::Protocol> =
        protocols.into_iter().map(|protocol| (protocol.name.clone(), protocol)).collect();
    let bfd: HashMap<(String, IpAddr), bool> = match sessions.iter().any(|session| session.bfd) {
        // BIRD calls it an error that no BFD runs.
        true => client.command("show bfd sessions").unwrap_or_default(),
        false => Vec::new(),
    }
    .iter()
    .filter_map(|line| parse::bfd_session(line))
    .map(|session| ((session.tap, session.address), session.state == BfdState::Up))
    .collect();
    let unknown = parse::Protocol {
        state: "down".into(),
        last_error: Some("BIRD does not have this session yet".into()),
        ..Default::default()
    };
    let mut refused = refused::counts(client, sessions, &protocols)?;
    let mut rows = Vec::new();
    for session in sessions {
        let protocol = protocols.get(&session.protocol).unwrap_or(&unknown);
        let rejected = refused.remove(&session.protocol).unwrap_or_default();
        let up = bfd.get(&(session.tap.clone(), session.peer)).copied();
        let shut = protocol.is_shut() || shut.contains(&session.protocol);
        rows.push(row(session, protocol, shut, up.or(session.bfd.then_some(false)), rejected));
    }
    Ok(rows)
}

fn row(
    session: &Session,
    protocol: &parse::Protocol,
    shut: bool,
    bfd_up: Option<bool>,
    rejected: Counts,
) -> BgpRow {
    let now = now_ms() / 1000;
    let reached = protocol.import_hit || protocol.receive_hit || shut;
    let max = session.max_prefixes;
    let what = if protocol.receive_hit { "prefixes, refused ones included" } else { "prefixes" };
    let limit = if shut {
        Some(format!("more than {max} {what}: shut until `stationctl bgp reset {}`", session.vif))
    } else if reached {
        Some(format!("more than {max} {what}"))
    } else {
        None
    };
    let info = Some(&protocol.info).filter(|info| !protocol.up && **info != protocol.state);
    // RFC 4271 4.2 lets the peer have it; then only BFD notices that it is gone.
    let no_hold = (protocol.hold_s == Some(0))
        .then(|| "the peer wants no keepalives (hold time 0): hold_s is not kept".to_owned());
    let message = protocol.message.clone().filter(|_| !protocol.up);
    let errors = [limit, no_hold, message, protocol.last_error.clone(), info.cloned()];
    let last_error = errors.into_iter().flatten().next().unwrap_or_default();
    let wrong_as = !protocol.up && notification(&last_error) == WRONG_AS;
    BgpRow {
        vif: session.vif.to_string(),
        vrf: session.vrf.to_string(),
        peer: session.peer,
        peer_as: session.peer_as,
        local: session.local,
        local_as: session.local_as,
        state: if shut { "shut".to_owned() } else { protocol.state.to_lowercase() },
        since_s: protocol.since.map(|since| now.saturating_sub(since)),
        bfd: bfd_up.map(|up| if up { "up" } else { "down" }.to_owned()),
        last_error,
        cause: wrong_as.then(|| "wrong_as".to_owned()),
        // What peers' segments say of keys is not BIRD's to know.
        key_failures: 0,
        accepted: protocol.imported,
        rejected,
        advertised: protocol.exported,
        max_prefixes: max,
        max_prefixes_reached: reached,
    }
}

fn route_rows(
    slot: Slot,
    mut client: Client,
    sessions: Vec<Session>,
    direction: BgpDirection,
) -> impl Iterator<Item = BgpRouteRow> + Send + use<> {
    let questions: Vec<(Session, String, bool)> = sessions
        .into_iter()
        .flat_map(|session| {
            let (table, name) = (session.table(), session.protocol.clone());
            let questions = match direction {
                BgpDirection::Received => vec![
                    (false, format!("show route table '{table}' protocol '{name}' all")),
                    (true, format!("{} all", refused::filtered(&table, &name))),
                ],
                BgpDirection::Advertised => {
                    vec![(false, format!("show route table '{table}' export '{name}' all"))]
                }
                BgpDirection::Withheld => vec![
                    (true, format!("show route table '{table}' noexport '{name}' all")),
                    (true, format!("{} all", refused::forbidden(&session))),
                ],
            };
            questions
                .into_iter()
                .map(move |(refused, question)| (session.clone(), question, refused))
        })
        .collect();
    let mut questions = questions.into_iter().peekable();
    let mut asked: Option<(Session, bool, Routes)> = None;
    std::iter::from_fn(move || {
        let _held = &slot;
        loop {
            let Some((session, refused, routes)) = &mut asked else {
                let (session, question, refused) = questions.next()?;
                client.send(&question).ok()?;
                asked = Some((session, refused, Routes::default()));
                continue;
            };
            // A connection that breaks ends the rows: BIRD is going down.
            let (route, more) = match client.answer() {
                Ok(Some((code, line))) => (routes.line(code, &line), true),
                Ok(None) => (routes.end(), false),
                // Nothing is advertised by a session that is down, and nothing withheld.
                Err(ClientError::Refused(_)) => {
                    let of_same = |next: &(Session, _, _)| next.0.protocol == session.protocol;
                    while questions.next_if(of_same).is_some() {}
                    (None, false)
                }
                Err(_) => return None,
            };
            let row = route.and_then(|route| route_row(session, *refused, direction, route));
            if !more {
                asked = None;
            }
            if row.is_some() {
                return row;
            }
        }
    })
}

fn route_row(
    session: &Session,
    refused: bool,
    direction: BgpDirection,
    route: Route,
) -> Option<BgpRouteRow> {
    let mut row = BgpRouteRow {
        vif: session.vif.to_string(),
        peer: session.peer,
        prefix: route.prefix?,
        state: match direction {
            BgpDirection::Advertised => "advertised",
            BgpDirection::Withheld => "withheld",
            BgpDirection::Received if refused => "rejected",
            BgpDirection::Received if route.unresolved => "unresolved",
            BgpDirection::Received if route.best => "best",
            BgpDirection::Received => "accepted",
        }
        .into(),
        cause: match direction {
            BgpDirection::Received => refused.then(|| refused::cause(&route)),
            BgpDirection::Advertised => None,
            BgpDirection::Withheld => Some(Withheld::of(route.preference).name()),
        }
        .map(str::to_owned),
        as_path: route.as_path,
        origin: if route.origin.is_empty() { "igp".into() } else { route.origin },
        next_hop: route.next_hop,
        med: route.med,
        local_preference: route.local_preference,
        communities: route.communities,
    };
    if direction == BgpDirection::Advertised {
        // What BIRD does to a route as it sends it (RFC 4271 5.1).
        row.next_hop = Some(session.local);
        if !session.is_internal() {
            row.as_path.insert(0, session.local_as.to_string());
            (row.med, row.local_preference) = (None, None);
        }
    }
    Some(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_wait_for_a_bird_that_hangs_are_few() {
        let slots = Arc::new(Slots::default());
        let held: Vec<_> = (0..SLOTS).map(|_| Slot::take(&slots).unwrap()).collect();
        let waiting: Vec<_> = (0..SLOTS)
            .map(|_| {
                let slots = slots.clone();
                std::thread::spawn(move || Slot::take(&slots).is_ok())
            })
            .collect();
        while slots.taken.lock().unwrap().waiting < SLOTS {
            std::thread::yield_now();
        }
        assert!(matches!(Slot::take(&slots), Err(ClientError::Busy)), "at once");
        drop(held);
        assert!(waiting.into_iter().all(|thread| thread.join().unwrap()));
        assert!(Slot::take(&slots).is_ok());
    }
}
