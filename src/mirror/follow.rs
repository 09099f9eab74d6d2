//! What to tell, and when to dump.
//!
//! See `dump` for how notifications and dumps go together.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::devices::Devices;
use super::{Change, Hint, Hops, Leg, Plan, Reason, RouteMessage, Statuses, Tap, To, Update};
use crate::tables::VrfId;

/// Most changes in one update, and routes in one range: what the control thread does at a time.
pub(super) const BATCH: usize = 1024;

/// The kernel.
pub trait Kernel {
    /// What may have changed routes since the last call.
    ///
    /// # Errors
    /// The kernel's.
    fn hints(&mut self, out: &mut Vec<Hint>) -> io::Result<()>;

    /// Notifications of routes, at most `limit`; fewer where no more are there. `ENOBUFS` where some
    /// were lost.
    ///
    /// # Errors
    /// The kernel's.
    fn routes(&mut self, limit: usize, out: &mut Vec<RouteMessage>) -> io::Result<()>;

    /// Gives all routes of a table that the routing daemon wrote.
    ///
    /// # Errors
    /// The kernel's.
    fn dump(&mut self, table: u32, v6: bool, take: &mut dyn FnMut(RouteMessage)) -> io::Result<()>;
}

/// How often tables are dumped.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// All families of all VRFs are audited in this time, if that is little work.
    pub round: Duration,
    /// Between two audits, in the time that the first took: limits the work where it is much.
    pub rest: u32,
    /// Between two dumps of one family, at least; more where a dump takes long.
    pub pause: Duration,
}

impl Default for Timing {
    /// A round a minute, for at most 0.2% of a CPU.
    fn default() -> Self {
        Timing { round: Duration::from_secs(60), rest: 500, pause: Duration::from_millis(100) }
    }
}

/// A family of a VRF; true is IPv6.
pub(super) type Family = (VrfId, bool);

/// Follows the kernel's routes.
pub struct Follower<K> {
    pub(super) kernel: K,
    pub(super) plan: Plan,
    pub(super) timing: Timing,
    pub(super) status: Statuses,
    devices: Devices,
    /// Families to dump, from when on.
    pub(super) due: BTreeMap<Family, Instant>,
    /// When a family may be dumped again.
    pub(super) not_before: HashMap<Family, Instant>,
    /// The family audited last, and when the next is.
    audited: Option<Family>,
    pub(super) next_audit: Option<Instant>,
}

impl<K: Kernel> Follower<K> {
    /// One that follows nothing yet.
    pub fn new(kernel: K, timing: Timing, status: Statuses) -> Self {
        Follower {
            kernel,
            plan: Plan::default(),
            timing,
            status,
            devices: Devices::default(),
            due: BTreeMap::new(),
            not_before: HashMap::new(),
            audited: None,
            next_audit: None,
        }
    }

    /// The kernel.
    pub fn kernel(&mut self) -> &mut K {
        &mut self.kernel
    }

    /// Follows the tables of `plan`. Those of VRFs that it changes are dumped.
    pub fn set_plan(&mut self, plan: Plan, now: Instant) {
        let taps = |plan: &Plan, vrf| -> BTreeSet<(String, Tap)> {
            let taps = plan.taps.iter().filter(|(_, tap)| tap.vrf == vrf);
            taps.map(|(name, tap)| (name.clone(), tap.clone())).collect()
        };
        let old = std::mem::replace(&mut self.plan, plan);
        self.devices.forget_routes();
        let vrfs = |plan: &Plan| -> BTreeSet<VrfId> {
            plan.tables.values().map(|&(vrf, _)| vrf).collect()
        };
        let (before, after) = (vrfs(&old), vrfs(&self.plan));
        for &vrf in &after {
            if !before.contains(&vrf) || taps(&old, vrf) != taps(&self.plan, vrf) {
                self.mark(vrf, now);
            }
        }
        let gone = |family: &Family| !after.contains(&family.0);
        self.due.retain(|family, _| !gone(family));
        self.not_before.retain(|family, _| !gone(family));
        self.status.lock().families.retain(|family, _| !gone(family));
    }

    /// Does what is to do now, a bounded amount of it, and says what to tell. Returns when to go on at
    /// the latest, if nothing happens before; at once where there is more to do.
    pub fn turn(&mut self, now: Instant, out: &mut Vec<Update>) -> Instant {
        self.take_hints(now);
        let told = self.take_routes(now, out);
        let first = self.due.iter().min_by_key(|(_, at)| **at).map(|(&family, &at)| (family, at));
        // A stream that never ends must not keep dumps off for ever.
        let patience = Duration::from_secs(1);
        match first {
            Some((family, at)) if at <= now && told < BATCH || overdue(at, patience, now) => {
                self.due.remove(&family);
                self.dump(family, Reason::Resync, now, out);
                return now;
            }
            _ if told == BATCH => return now,
            _ => {}
        }
        if self.next_audit.is_some_and(|at| at <= now)
            && let Some(family) = self.next_family()
        {
            self.audited = Some(family);
            self.dump(family, Reason::Audit, now, out);
            return now;
        }
        let audit = self.next_audit.unwrap_or(now + self.timing.round);
        self.next_audit = Some(audit);
        first.map_or(audit, |(_, at)| at.min(audit))
    }

    fn mark(&mut self, vrf: VrfId, now: Instant) {
        for family in [(vrf, false), (vrf, true)] {
            let at = self.not_before.get(&family).map_or(now, |&at| at.max(now));
            self.due.entry(family).or_insert(at);
        }
    }

    fn mark_all(&mut self, now: Instant) {
        let vrfs: BTreeSet<VrfId> = self.plan.tables.values().map(|&(vrf, _)| vrf).collect();
        vrfs.into_iter().for_each(|vrf| self.mark(vrf, now));
    }

    /// The family after the one that was audited last.
    fn next_family(&self) -> Option<Family> {
        let families: BTreeSet<Family> =
            self.plan.tables.values().flat_map(|&(vrf, _)| [(vrf, false), (vrf, true)]).collect();
        let after = self.audited.and_then(|last| families.range(last..).find(|f| **f != last));
        after.or(families.first()).copied()
    }

    fn take_hints(&mut self, now: Instant) {
        let mut hints = Vec::new();
        if self.kernel.hints(&mut hints).is_err() {
            hints.push(Hint::Any);
        }
        for hint in hints {
            let gone = if let Hint::LinkGone { index } = hint { Some(index) } else { None };
            let concerned = match hint {
                Hint::Any => {
                    self.mark_all(now);
                    None
                }
                Hint::Address { index } => Some(index),
                // Routes go with a link; and ways of routes come back to life with it.
                Hint::Link { index, name, admin_up } => {
                    self.devices.present(index, name, admin_up).then_some(index)
                }
                Hint::LinkGone { index } => Some(index),
            };
            let tap = concerned.and_then(|index| self.devices.tap(&self.plan, index));
            if let Some(vrf) = tap.map(|tap| tap.vrf) {
                self.mark(vrf, now);
            }
            if let Some(index) = gone {
                self.devices.gone(index);
            }
        }
    }

    /// Tells the notifications that are there, at most [`BATCH`]; returns how many there were.
    pub(super) fn take_routes(&mut self, now: Instant, out: &mut Vec<Update>) -> usize {
        let mut messages = Vec::new();
        self.receive(BATCH, now, &mut messages);
        let count = messages.len();
        self.tell(messages, now, out);
        count
    }

    /// Tells what notifications say.
    pub(super) fn tell(
        &mut self,
        messages: Vec<RouteMessage>,
        now: Instant,
        out: &mut Vec<Update>,
    ) {
        let changes: Vec<Change> =
            messages.into_iter().filter_map(|message| self.change(message, now)).collect();
        if !changes.is_empty() {
            out.push(Update::Changes(changes));
        }
    }

    /// Receives notifications; false where some were lost, and everything is to be dumped.
    pub(super) fn receive(
        &mut self,
        limit: usize,
        now: Instant,
        out: &mut Vec<RouteMessage>,
    ) -> bool {
        match self.kernel.routes(limit, out) {
            Ok(()) => true,
            Err(_) => {
                self.status.lock().overflows += 1;
                self.mark_all(now);
                false
            }
        }
    }

    fn change(&mut self, message: RouteMessage, now: Instant) -> Option<Change> {
        let &(vrf, table) = self.plan.tables.get(&message.table)?;
        let RouteMessage { prefix, gone, legs, .. } = message;
        let v6 = matches!(prefix, IpNet::V6(_));
        let to = match (gone, legs.len()) {
            // IPv6 tells of each way of its own that goes; one with all of them is the route itself.
            // Where it was no way that could be taken, what is left has to be looked at.
            (true, 1) if v6 => match self.hops((vrf, v6), legs, 1, now) {
                Some(hops) => To::Without(hops),
                None => {
                    self.mark(vrf, now);
                    return None;
                }
            },
            (true, _) => To::Gone,
            (false, _) => self.hops((vrf, v6), legs, 1, now).map_or(To::Gone, To::Hops),
        };
        Some(Change { vrf, table, prefix, to })
    }

    /// The next hops of so many routes with these ways; `None` where none of the ways can be taken.
    pub(super) fn hops(
        &mut self,
        (vrf, v6): Family,
        legs: Vec<Leg>,
        routes: u64,
        now: Instant,
    ) -> Option<Hops> {
        // A route may come before the news of its device.
        if !self.devices.know(&legs) {
            self.take_hints(now);
        }
        let made = self.devices.hops(&self.plan, vrf, legs);
        if made.refused > 0 {
            let mut status = self.status.lock();
            let family = status.family(vrf, v6);
            family.refused += made.refused * routes;
            family.last_error = made.refusal.as_deref().map(str::to_owned);
        }
        made.hops
    }
}

/// Whether `at` was longer ago than `patience`.
fn overdue(at: Instant, patience: Duration, now: Instant) -> bool {
    now.saturating_duration_since(at) > patience
}
