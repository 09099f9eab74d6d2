//! Dumps, and how they go together with notifications.
//!
//! A dump is told after every notification that was sent before it began, and before those that were
//! sent since, so that the last word about a prefix is always the newest. Of prefixes that changed
//! during a dump it says nothing. IPv6 dumps lose routes where others are deleted meanwhile: what one
//! dump lacks and another one a moment before had is not taken for gone.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::follow::{BATCH, Family, Follower, Kernel};
use super::{Range, Reason, RouteMessage, Table, Update};

/// Times that a table is dumped, at most, where routes are deleted meanwhile.
const DUMPS: usize = 3;
/// When a table is dumped again, at the earliest, that did not hold still for so many dumps.
const PATIENCE: Duration = Duration::from_secs(1);

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
        let (mut routes, later, torn) = loop {
            let routes = self.kernel.dump(number, v6)?;
            let later = self.receive_all(now)?;
            let here = |m: &&RouteMessage| m.table == number && is_v6(m.prefix) == v6;
            let torn = v6 && later.iter().filter(here).any(|message| message.gone);
            if !torn || attempt == DUMPS {
                break (routes, later, torn);
            }
            // The next dump is newer than these.
            self.tell(later, now, out);
            before.extend(routes.into_iter().map(|route| route.prefix));
            attempt += 1;
        };
        routes.sort_by_key(|route| (route.prefix, route.priority));
        routes.dedup_by_key(|route| route.prefix);
        let mut unsure: BTreeSet<IpNet> =
            later.iter().filter(|m| m.table == number).map(|m| m.prefix).collect();
        if torn {
            let has = |prefix: &IpNet| routes.binary_search_by_key(prefix, |r| r.prefix).is_ok();
            unsure.extend(before.into_iter().filter(|prefix| !has(prefix)));
            if reason == Reason::Resync {
                let patience = PATIENCE.max(20 * began.elapsed());
                self.due.entry((vrf, v6)).or_insert(now + patience);
            }
        }
        let unsure = Arc::new(unsure);
        if table == Table::Best {
            self.status.lock().family(vrf, v6).kernel_routes = routes.len();
        }
        let mut taken = Vec::with_capacity(routes.len());
        for RouteMessage { prefix, legs, .. } in routes {
            if let Some(hops) = self.hops((vrf, v6), legs, now) {
                taken.push((prefix, hops));
            }
        }
        let range = |from, until, routes| {
            let unsure = unsure.clone();
            Update::Range(Range { vrf, table, from, until, routes, unsure, reason })
        };
        let mut from = first_prefix(v6);
        while taken.len() > BATCH {
            let rest = taken.split_off(BATCH);
            let until = rest[0].0;
            out.push(range(from, Some(until), taken));
            (from, taken) = (until, rest);
        }
        out.push(range(from, None, taken));
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
