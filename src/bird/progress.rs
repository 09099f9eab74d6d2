//! How far BIRD is with what it was told to run, for whoever waits for that.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::admin::rows::{Routing, RoutingState};
use crate::clock::milliseconds;
use crate::events::{Event, Reporter};

/// What BIRD does with an order that nobody has begun to carry out.
const QUEUED: &str = "BIRD is busy with what it was told before";

/// Written by the supervisor and by whoever follows a reconfiguration, and read by those who wait.
#[derive(Clone, Default)]
pub(super) struct Progress(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// Orders are numbered from 1, and BIRD that has carried out one has carried out those before it.
#[derive(Default)]
struct State {
    ordered: u64,
    begun: u64,
    done: u64,
    /// Those that are not done, the oldest first.
    open: Vec<Open>,
    /// What BIRD is doing with the order that was begun last.
    doing: &'static str,
    /// Why that order failed the last time.
    trouble: Option<Trouble>,
    /// Sessions whose filters the last order that was carried out has changed.
    refiltered: u64,
}

struct Open {
    number: u64,
    configuration: u64,
    since: Instant,
}

struct Trouble {
    reason: String,
    /// What those are told at once who wait; none where the next attempt may succeed.
    verdict: Option<RoutingState>,
}

impl Progress {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something else is to run, which a configuration brings. Gives the order's number.
    pub fn order(&self, configuration: u64) -> u64 {
        let mut state = self.state();
        state.ordered += 1;
        let number = state.ordered;
        state.open.push(Open { number, configuration, since: Instant::now() });
        number
    }

    /// Carrying out an order begins, or goes on.
    pub fn doing(&self, number: u64, doing: &'static str) {
        let mut state = self.state();
        if number > state.begun {
            (state.begun, state.trouble) = (number, None);
        }
        if number == state.begun {
            state.doing = doing;
        }
    }

    /// An order could not be carried out; it is tried again. `verdict`: what is told at once, where it is of no use to
    /// wait for the next attempt.
    pub fn failed(&self, number: u64, reason: &str, verdict: Option<RoutingState>) {
        let mut state = self.state();
        if number >= state.begun {
            state.begun = number;
            state.trouble = Some(Trouble { reason: reason.to_owned(), verdict });
            self.0.changed.notify_all();
        }
    }

    /// BIRD does as an order said. `refiltered`: sessions whose filters it has changed.
    pub fn followed(&self, number: u64, refiltered: u64, report: &Reporter) {
        let mut state = self.state();
        if number <= state.done {
            return;
        }
        (state.done, state.refiltered) = (number, refiltered);
        if number >= state.begun {
            state.trouble = None;
        }
        let later = state.open.iter().position(|open| open.number > number);
        let later = later.unwrap_or(state.open.len());
        for Open { configuration, since, .. } in state.open.drain(..later) {
            let after_ms = milliseconds(since.elapsed());
            report.tell(Event::RoutingFollowed { configuration, after_ms });
        }
        self.0.changed.notify_all();
    }

    /// An order, for whoever waits for it.
    pub fn following(&self, number: u64) -> Following {
        Following { number, progress: self.clone() }
    }
}

/// What BIRD was told at some time.
pub struct Following {
    progress: Progress,
    number: u64,
}

impl Following {
    /// Waits until BIRD does as it was told, or there is a verdict on it, but no longer than `bound`.
    pub fn wait(&self, bound: Duration) -> Routing {
        let began = Instant::now();
        // Of a later order a verdict is no news of this one.
        let verdict = |state: &State| {
            let trouble = state.trouble.as_ref().filter(|_| state.begun == self.number);
            trouble.and_then(|trouble| trouble.verdict)
        };
        let waits = |state: &mut State| state.done < self.number && verdict(state).is_none();
        let waited =
            self.progress.0.changed.wait_timeout_while(self.progress.state(), bound, waits);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let waited_ms = milliseconds(began.elapsed());
        if state.done >= self.number {
            let refiltered = if state.done == self.number { state.refiltered } else { 0 };
            return Routing {
                state: RoutingState::Followed,
                reason: String::new(),
                refiltered,
                waited_ms,
            };
        }
        let reason = match &state.trouble {
            _ if state.begun < self.number => QUEUED.to_owned(),
            Some(trouble) => format!("{}; it is tried again", trouble.reason),
            None => state.doing.to_owned(),
        };
        let state = verdict(&state).unwrap_or(RoutingState::Pending);
        Routing { state, reason, refiltered: 0, waited_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_ONCE: Duration = Duration::ZERO;

    fn stand(following: &Following) -> (RoutingState, String) {
        let Routing { state, reason, .. } = following.wait(AT_ONCE);
        (state, reason)
    }

    #[test]
    fn an_order_is_pending_until_it_is_followed() {
        let (progress, report) = (Progress::default(), Reporter::nowhere());
        assert_eq!(stand(&progress.following(0)).0, RoutingState::Followed, "nothing was ordered");
        let first = progress.order(7);
        let waits = progress.following(first);
        assert_eq!(stand(&waits), (RoutingState::Pending, QUEUED.into()));
        progress.doing(first, "it reads");
        assert_eq!(stand(&waits), (RoutingState::Pending, "it reads".into()));
        progress.followed(first, 3, &report);
        let routing = waits.wait(AT_ONCE);
        assert_eq!((routing.state, routing.refiltered), (RoutingState::Followed, 3));
    }

    #[test]
    fn a_later_order_that_is_followed_is_the_earlier_one_too() {
        let (progress, report) = (Progress::default(), Reporter::nowhere());
        let first = progress.order(1);
        let waits = progress.following(first);
        progress.doing(first, "first");
        let second = progress.order(2);
        let later = progress.following(second);
        assert_eq!(
            stand(&later),
            (RoutingState::Pending, QUEUED.into()),
            "the first is being done"
        );
        progress.doing(second, "second");
        progress.doing(first, "late news of the first");
        assert_eq!(stand(&waits), (RoutingState::Pending, "second".into()));
        progress.followed(first, 1, &report);
        assert_eq!(stand(&later).0, RoutingState::Pending);
        progress.followed(second, 5, &report);
        let early = waits.wait(AT_ONCE);
        assert_eq!((early.state, early.refiltered), (RoutingState::Followed, 0), "not of its own");
        assert_eq!(later.wait(AT_ONCE).refiltered, 5);
        assert_eq!(progress.state().open.len(), 0);
    }

    #[test]
    fn a_verdict_ends_the_wait_and_a_failure_does_not() {
        let (progress, report) = (Progress::default(), Reporter::nowhere());
        let number = progress.order(1);
        let waits = progress.following(number);
        progress.doing(number, "it reads");
        progress.failed(number, "BIRD has died", None);
        assert_eq!(
            stand(&waits),
            (RoutingState::Pending, "BIRD has died; it is tried again".into())
        );
        // There is no program: another attempt soon is of no use.
        progress.failed(number, "install BIRD", Some(RoutingState::Pending));
        let Routing { state, reason, waited_ms, .. } = waits.wait(Duration::from_secs(60));
        assert_eq!((state, &*reason), (RoutingState::Pending, "install BIRD; it is tried again"));
        assert!(waited_ms < 30_000, "{waited_ms}");
        progress.failed(number, "BIRD: syntax error", Some(RoutingState::Refused));
        let refused = (RoutingState::Refused, "BIRD: syntax error; it is tried again".to_owned());
        let Routing { state, reason, waited_ms, .. } = waits.wait(Duration::from_secs(60));
        assert_eq!((state, reason), refused);
        assert!(waited_ms < 30_000, "{waited_ms}");
        // The next attempt at the same order forgets nothing before it has ended.
        progress.doing(number, "it reads");
        assert_eq!(stand(&waits), refused);
        let next = progress.order(2);
        progress.doing(next, "it reads another");
        assert_eq!(stand(&waits), (RoutingState::Pending, "it reads another".into()));
        progress.failed(next, "BIRD: syntax error", Some(RoutingState::Refused));
        assert_eq!(stand(&waits).0, RoutingState::Pending, "another's refusal");
        progress.followed(next, 0, &report);
        assert_eq!(stand(&waits).0, RoutingState::Followed);
    }

    #[test]
    fn who_waits_is_woken() {
        let (progress, report) = (Progress::default(), Reporter::nowhere());
        let number = progress.order(1);
        let waits = progress.following(number);
        let waiting = std::thread::spawn(move || waits.wait(Duration::from_secs(60)));
        progress.followed(number, 0, &report);
        let routing = waiting.join().unwrap();
        assert_eq!(routing.state, RoutingState::Followed);
        assert!(routing.waited_ms < 30_000, "{routing:?}");
    }
}
