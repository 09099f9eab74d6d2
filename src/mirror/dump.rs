//! Dumps, and how they go together with notifications.
//!
//! A dump is told after every notification that was sent before it began, and before those that were
//! sent since, so that the last word about a prefix is always the newest. Of prefixes that changed
//! during a dump it says nothing. IPv6 dumps lose routes where others are deleted meanwhile: what one
//! dump lacks and another one a moment before had is not taken for gone.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::follow::{BATCH, Family, Follower, Kernel};
use super::{Leg, Range, Reason, RouteMessage, Table, Update};

/// Times that a table is dumped, at most, where routes are deleted meanwhile.
const DUMPS: usize = 3;
/// When a table is dumped again, at the earliest, that did not hold still for so many dumps.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a dump gave. Many routes share their ways, which are kept once.
#[derive(Default)]
struct Dumped {
    ways: HashMap<Vec<Leg>, usize>,
    /// Prefix, priority, and the number of the ways.
    routes: Vec<(IpNet, u32, usize)>,
}

impl Dumped {
    fn take(&mut self, RouteMessage { prefix, priority, legs, .. }: RouteMessage) {
        let number = self.ways.len();
        let number = *self.ways.entry(legs).or_insert(number);
        self.routes.push((prefix, priority, number));
    }

    /// In the order of prefixes, each with the route to it that counts.
    fn sort(&mut self) {
        self.routes.sort_unstable();
        self.routes.dedup_by_key(|&mut (prefix, ..)| prefix);
    }

    fn has(&self, prefix: &IpNet) -> bool {
        self.routes.binary_search_by_key(prefix, |&(prefix, ..)| prefix).is_ok()
    }
}

impl<K: Kernel> Follower<K> {
    /// Dumps the tables of a family and tells what they hold.
    pub(super) fn dump(
        &mut self,
        family: Family,
        reason: Reason,
        now: Instant,
        out: &mut Vec<Update>,
    ) {
        let (vrf, v6) = family;
        let began = Instant::now();
        let mut tables: Vec<(u32, Table)> = self
            .plan
            .tables
            .iter()
            .filter(|(_, (of, _))| *of == vrf)
            .map(|(&number, &(_, table))| (number, table))
            .collect();
        tables.sort_by_key(|&(_, table)| table);
        for (number, table) in tables {
            if let Err(error) = self.dump_table(family, number, table, reason, now, out) {
                self.status.lock().family(vrf, v6).last_error = Some(format!("dump: {error}"));
                // Overflows have marked it already.
                self.due.entry(family).or_insert(now + self.timing.pause);
            }
        }
        let took = began.elapsed();
        let mut status = self.status.lock();
        let state = status.family(vrf, v6);
        state.dumped = Some(Instant::now());
        match reason {
            Reason::Resync => state.resyncs += 1,
            Reason::Audit => state.audits += 1,
        }
        drop(status);
        let again = now + took + self.timing.pause.max(4 * took);
        self.not_before.insert(family, again);
        if let Some(due) = self.due.get_mut(&family) {
            *due = again.max(*due);
        }
        if reason == Reason::Audit {
            let families = u32::try_from(self.plan.tables.len().max(1)).unwrap_or(u32::MAX);
            let wait = (self.timing.round / families).max(took * self.timing.rest);
            self.next_audit = Some(now + took + wait);
        }
    }

    fn dump_table(
        &mut self,
        (vrf, v6): Family,
        number: u32,
        table: Table,
        reason: Reason,
        now: Instant,
        out: &mut Vec<Update>,
    ) -> io::Result<()> {
        let began = Instant::now();
        // What was told before the dump began comes before it.
        while self.take_routes(now, out) == BATCH {}
        let mut before: BTreeSet<IpNet> = BTreeSet::new();
        let mut attempt = 1;
        let (mut dumped, later, torn) = loop {
            let mut dumped = Dumped::default();
            self.kernel.dump(number, v6, &mut |route| dumped.take(route))?;
            let later = self.receive_all(now)?;
            let here = |m: &&RouteMessage| m.table == number && is_v6(m.prefix) == v6;
            let torn = v6 && later.iter().filter(here).any(|message| message.gone);
            if !torn || attempt == DUMPS {
                break (dumped, later, torn);
            }
            // The next dump is newer than these.
            self.tell(later, now, out);
            before.extend(dumped.routes.into_iter().map(|(prefix, ..)| prefix));
            attempt += 1;
        };
        dumped.sort();
        let mut unsure: BTreeSet<IpNet> =
            later.iter().filter(|m| m.table == number).map(|m| m.prefix).collect();
        if torn {
            unsure.extend(before.into_iter().filter(|prefix| !dumped.has(prefix)));
            if reason == Reason::Resync {
                let patience = PATIENCE.max(20 * began.elapsed());
                self.due.entry((vrf, v6)).or_insert(now + patience);
            }
        }
        let unsure = Arc::new(unsure);
        if table == Table::Best {
            self.status.lock().family(vrf, v6).kernel_routes = dumped.routes.len();
        }
        let Dumped { ways, routes } = dumped;
        let mut uses = vec![0; ways.len()];
        routes.iter().for_each(|&(_, _, number)| uses[number] += 1);
        let mut made = vec![None; ways.len()];
        for (legs, number) in ways {
            made[number] = self.hops((vrf, v6), legs, uses[number], now);
        }
        let hops = |(prefix, _, number): (IpNet, _, usize)| Some((prefix, made[number].clone()?));
        let mut taken = routes.into_iter().filter_map(hops).peekable();
        let range = |from, until, routes| {
            let unsure = unsure.clone();
            Update::Range(Range { vrf, table, from, until, routes, unsure, reason })
        };
        let mut from = first_prefix(v6);
        loop {
            let part: Vec<_> = taken.by_ref().take(BATCH).collect();
            let until = taken.peek().map(|&(prefix, _)| prefix);
            out.push(range(from, until, part));
            let Some(until) = until else { break };
            from = until;
        }
        self.tell(later, now, out);
        Ok(())
    }

    /// All notifications that are there.
    fn receive_all(&mut self, now: Instant) -> io::Result<Vec<RouteMessage>> {
        let mut all = Vec::new();
        loop {
            let had = all.len();
            if !self.receive(BATCH, now, &mut all) {
                return Err(io::Error::other("notifications were lost meanwhile"));
            }
            if all.len() - had < BATCH {
                return Ok(all);
            }
        }
    }
}

fn is_v6(prefix: IpNet) -> bool {
    matches!(prefix, IpNet::V6(_))
}

fn first_prefix(v6: bool) -> IpNet {
    if v6 {
        Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0).into()
    } else {
        Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0).into()
    }
}
