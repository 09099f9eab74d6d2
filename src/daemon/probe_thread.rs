//! The thread that asks the targets of the configured probes, and says which next hops their answers take out of use.

mod running;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, never};
use crossbeam::select;

use super::announce::log_and_tell;
use super::cpus::{self, Urgency};
use super::ping::words::{error4, error6, unsent};
use super::slow_thread::{Asker, Asks, Probing};
use crate::admin::rows::TargetRow;
use crate::bird::PeerEvent;
use crate::clock::{milliseconds, now_ms};
use crate::config::model::ProbeConfig;
use crate::events::{Event, Reporter};
use crate::probes::history::{Asked, Notes};
use crate::probes::{Counts, Crossing, Recorder, Rule, State, Target};
use crate::slowpath::{Left, ProbeAnswer, Said, Unsent};
use crate::tables::{VifId, VrfId};
use running::Running;

/// An answer that the slow path took in time is here so much later at most.
const DELIVERY: Duration = Duration::from_millis(20);
/// When nothing is due.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
/// A slow path that did not take a sender is asked again after this.
const AGAIN: Duration = Duration::from_secs(1);

/// What the thread is told.
pub(super) enum Job {
    /// A configuration was committed: these are its probes.
    Commit(Vec<Plan>),
    /// Somebody wants to know what is known.
    Show(Sender<Vec<(TargetRow, Counts)>>),
    /// The station ends.
    Stop,
}

/// A probe of a configuration, in the terms of the tables.
pub(super) struct Plan {
    pub config: Arc<ProbeConfig>,
    pub vif: VifId,
    /// The VIF's name and VRF: an id may become another VIF's.
    pub of: (Arc<str>, VrfId),
    /// By target, the VIF's address that it is asked from.
    pub sources: Vec<Option<IpAddr>>,
    /// By target, what its history is kept as.
    pub asked: Vec<Arc<Asked>>,
}

/// Starts the thread.
///
/// # Errors
/// The system's, where there is no thread left.
pub(super) fn spawn(
    asker: Asker,
    jobs: Receiver<Job>,
    lost: Sender<PeerEvent>,
    report: Reporter,
    notes: Notes,
) -> io::Result<JoinHandle<()>> {
    let recorder = Recorder::new().map_err(io::Error::other)?;
    let prober = Prober {
        asker,
        probing: None,
        jobs,
        lost,
        report,
        notes,
        recorder,
        running: BTreeMap::new(),
        begun: 0,
        waiting: HashMap::new(),
        sequence: 0,
    };
    std::thread::Builder::new().name("probes".into()).spawn(move || {
        cpus::be(Urgency::Failover);
        prober.run();
    })
}

/// A question on its way.
struct Waiting {
    /// The number of its probe, and which of its targets.
    of: (u64, usize),
    until: Instant,
    /// The next hop's MAC was known.
    resolved: bool,
}

struct Prober {
    asker: Asker,
    /// None as long as nothing is configured, or where the slow path did not answer.
    probing: Option<Probing>,
    jobs: Receiver<Job>,
    lost: Sender<PeerEvent>,
    report: Reporter,
    /// What the history is made of.
    notes: Notes,
    recorder: Recorder,
    /// By number: in the order of the configuration for those that began together.
    running: BTreeMap<u64, Running>,
    /// Probes that began so far.
    begun: u64,
    waiting: HashMap<u16, Waiting>,
    sequence: u16,
}

impl Prober {
    fn run(mut self) {
        loop {
            let answers = self.probing.as_ref().map_or_else(never, |by| by.answers.clone());
            let sleep = self.wake().saturating_duration_since(Instant::now());
            select! {
                recv(self.jobs) -> job => match job {
                    Ok(Job::Commit(plans)) => self.commit(plans),
                    Ok(Job::Show(reply)) => drop(reply.send(self.rows())),
                    Ok(Job::Stop) | Err(_) => return,
                },
                recv(answers) -> answer => match answer {
                    Ok(answer) => self.answered(&answer),
                    // The slow path has ended, and so does the station.
                    Err(_) => self.probing = None,
                },
                default(sleep) => {}
            }
            // What came in time counts before what did not.
            while let Ok(answer) = answers.try_recv() {
                self.answered(&answer);
            }
            self.expire();
            self.ask_due();
            self.look_again();
        }
    }

    /// When there is something to do without being told.
    fn wake(&self) -> Instant {
        let due = self.running.values().flat_map(|running| &running.due).copied();
        let held = self.running.values().filter_map(|running| running.probe.held_until());
        let overdue = self.waiting.values().map(|waiting| waiting.until);
        due.chain(held).chain(overdue).fold(Instant::now() + LONGEST_SLEEP, Instant::min)
    }

    /// Follows a configuration: what is asked the same goes on.
    fn commit(&mut self, plans: Vec<Plan>) {
        let now = Instant::now();
        let mut before = std::mem::take(&mut self.running);
        for plan in plans {
            let same = before.iter().find(|(_, running)| {
                let old = &running.plan;
                (&old.config.name, &old.of) == (&plan.config.name, &plan.of)
                    && old.config.asks_the_same(&plan.config)
            });
            let number = same.map(|(number, _)| *number);
            let (number, running) = match number.and_then(|it| Some((it, before.remove(&it)?))) {
                Some((number, running)) => (number, running.follow(plan, now)),
                None => {
                    self.begun += 1;
                    (self.begun, Running::new(self.begun, plan, &self.recorder, now))
                }
            };
            self.running.insert(number, running);
        }
        // What decided about a next hop decides no more.
        before.values().filter(|running| running.lost).for_each(|it| self.tell_next_hop(it, true));
        let running = &self.running;
        self.waiting.retain(|_, waiting| running.contains_key(&waiting.of.0));
        if self.running.is_empty() {
            self.probing = None;
        }
    }

    /// Asks whom it is time to ask.
    fn ask_due(&mut self) {
        let now = Instant::now();
        let (mut asked, mut of) = (Vec::new(), Vec::new());
        if self.probing.is_none() && !self.running.is_empty() {
            self.probing = self.asker.clone().begin(Asks::Configured);
        }
        let Some(probing) = &self.probing else {
            let due = self.running.values_mut().flat_map(|running| &mut running.due);
            due.for_each(|due| *due = (*due).max(now + AGAIN));
            return;
        };
        for (&number, running) in &mut self.running {
            for target in 0..running.due.len() {
                if running.due[target] > now {
                    continue;
                }
                // What a stalled station missed is not made up for.
                running.due[target] = (running.due[target] + running.plan.config.interval).max(now);
                self.sequence = self.sequence.wrapping_add(1);
                asked.push(running.question(target, probing.id, self.sequence));
                of.push((number, target, self.sequence));
            }
        }
        if asked.is_empty() {
            return;
        }
        // A slow path that does not answer says nothing of a target.
        let Some(sent) = probing.send(asked) else { return };
        for ((number, target, sequence), sent) in of.into_iter().zip(sent) {
            if let Ok(left) = sent {
                let Some(running) = self.running.get(&number) else { continue };
                let until = now + running.plan.config.timeout + DELIVERY;
                let resolved = left == Left::Now;
                self.waiting.insert(sequence, Waiting { of: (number, target), until, resolved });
            }
            self.conclude((number, target), now, |target, rule| {
                match sent {
                    Ok(_) => target.sent(now),
                    Err(Unsent::Down) => target.idle(now),
                    // The station's own fault.
                    Err(Unsent::Busy) => {}
                    Err(why) => {
                        target.sent(now);
                        return target.missed(unsent(why), rule, now);
                    }
                }
                Vec::new()
            });
        }
    }

    fn answered(&mut self, answer: &ProbeAnswer) {
        let Some(Waiting { of, .. }) = self.waiting.remove(&answer.sequence) else { return };
        let now = Instant::now();
        self.conclude(of, now, |target, rule| match answer.said {
            Said::Reply => {
                let rtt_us = u32::try_from(answer.rtt_ns / 1000).unwrap_or(u32::MAX);
                target.answered(rtt_us, rule, now)
            }
            Said::Error(kind, code, word) => {
                let words = if answer.from.is_ipv4() { error4 } else { error6 };
                let why = format!("{} from {}", words(kind, code, word).0, answer.from);
                target.missed(why, rule, now)
            }
        });
    }

    /// Gives up what was not answered in time.
    fn expire(&mut self) {
        let now = Instant::now();
        let overdue = self.waiting.extract_if(|_, waiting| waiting.until <= now);
        for (_, Waiting { of, resolved, .. }) in overdue.collect::<Vec<_>>() {
            self.conclude(of, now, |target, rule| {
                if resolved {
                    return target.missed("no answer in time".to_owned(), rule, now);
                }
                // It may never have left. Where nobody answers, the next ones cannot leave at all.
                target.unresolved("the next hop has not answered ARP or ND yet".to_owned());
                Vec::new()
            });
        }
    }

    /// Takes in what has become of a question to a target, and tells what follows from it.
    fn conclude(
        &mut self,
        (number, target): (u64, usize),
        now: Instant,
        result: impl FnOnce(&mut Target, &Rule) -> Vec<Crossing>,
    ) {
        let Some(running) = self.running.get_mut(&number) else { return };
        let rule = running.plan.config.rule;
        let Some(of) = running.probe.targets.get_mut(target) else { return };
        let (before, last_us) = (*of.counts(), of.last_us());
        let crossings = result(of, &rule);
        if *of.counts() != before {
            let asked = &running.plan.asked[target];
            self.notes.note(asked, now_ms(), |tally| tally.note((&before, last_us), of));
        }
        self.report_crossings((number, target), &crossings);
        self.judge(number, now);
    }

    /// What answers again for long enough counts.
    fn look_again(&mut self) {
        let now = Instant::now();
        let held = |running: &Running| running.probe.held_until().is_some_and(|until| until <= now);
        let over = self.running.iter().filter(|(_, running)| held(running));
        let over: Vec<u64> = over.map(|(number, _)| *number).collect();
        over.into_iter().for_each(|number| self.judge(number, now));
    }

    fn judge(&mut self, number: u64, now: Instant) {
        let Some(running) = self.running.get_mut(&number) else { return };
        let rule = running.plan.config.rule;
        let Some(to) = running.probe.judge(&rule, now) else { return };
        let (probe, vif) = running.names();
        let event = match to {
            State::Down => {
                running.down_since.get_or_insert(now);
                Some(Event::ProbeDown { probe, vif, reason: running.reason() })
            }
            State::Up => running.down_since.take().map(|since| {
                let down_ms = milliseconds(now.duration_since(since));
                Event::ProbeUp { probe, vif, down_ms }
            }),
            State::Unknown | State::Idle => None,
        };
        let lost = to == State::Down && running.plan.config.next_hop.is_some();
        if std::mem::replace(&mut running.lost, lost) != lost {
            let running = &self.running[&number];
            self.tell_next_hop(running, !lost);
        }
        event.into_iter().for_each(|event| log_and_tell(&self.report, event));
    }

    /// Tells the control thread of a probe's next hop.
    fn tell_next_hop(&self, running: &Running, up: bool) {
        let config = &running.plan.config;
        let Some(address) = config.next_hop else { return };
        let (vif, cause) = (config.vif.clone(), format!("probe {}", config.name));
        drop(self.lost.send(PeerEvent { vif, address, up, cause, at: Instant::now() }));
    }

    fn report_crossings(&self, (number, target): (u64, usize), crossings: &[Crossing]) {
        let Some(running) = self.running.get(&number) else { return };
        for &Crossing { measure, beyond, value, limit } in crossings {
            let (probe, vif) = running.names();
            let target = running.plan.config.targets[target];
            let measure = measure.word().to_owned();
            let (value, limit) = (value.into(), limit.into());
            log_and_tell(
                &self.report,
                match beyond {
                    true => Event::ProbeDegraded { probe, vif, target, measure, value, limit },
                    false => Event::ProbeRestored { probe, vif, target, measure, value, limit },
                },
            );
        }
    }

    fn rows(&self) -> Vec<(TargetRow, Counts)> {
        let now = Instant::now();
        let all = self.running.values();
        all.flat_map(|running| (0..running.due.len()).map(move |at| running.row(at, now))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_all_that_may_be_on_its_way() {
        // 2,000 a second for ten seconds, as the configuration allows.
        assert!((20_000..usize::from(u16::MAX)).contains(&Asks::Configured.room()));
    }
}
