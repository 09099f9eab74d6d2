//! Damping of links that flap: a loss counts at once, a return only when the link has been there for a
//! while. The first return counts at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::limit;

const RULE: limit::Damping = limit::Damping {
    first: Duration::from_secs(1),
    longest: Duration::from_secs(30),
    memory: Duration::from_secs(60),
};

/// The ports without a link, as BIRD is to see them.
#[derive(Debug, Default)]
pub(super) struct Damping {
    ports: BTreeMap<Arc<str>, Port>,
}

#[derive(Debug)]
struct Port {
    /// Its link is lost.
    lost: bool,
    lost_at: Instant,
    /// How long the link must be back.
    wait: Duration,
    /// The link is back, and counts from then on.
    back_at: Option<Instant>,
}

impl Damping {
    /// Takes in which ports have no link.
    pub(super) fn links(&mut self, lost: &BTreeSet<Arc<str>>, now: Instant) {
        for name in lost {
            match self.ports.get_mut(name) {
                Some(port) if port.lost => {}
                Some(port) => {
                    let since = now.saturating_duration_since(port.lost_at);
                    let wait = RULE.wait(port.wait, Some(since));
                    *port = Port { lost: true, lost_at: now, wait, back_at: None };
                }
                None => {
                    let port =
                        Port { lost: true, lost_at: now, wait: Duration::ZERO, back_at: None };
                    self.ports.insert(name.clone(), port);
                }
            }
        }
        for (_, port) in self.ports.iter_mut().filter(|(name, _)| !lost.contains(*name)) {
            if std::mem::take(&mut port.lost) {
                port.back_at = Some(now + port.wait);
            }
        }
        self.ports.retain(|_, port| {
            port.lost || now.saturating_duration_since(port.lost_at) < RULE.memory + RULE.longest
        });
    }

    /// The ports that count as lost.
    pub(super) fn dead(&self, now: Instant) -> BTreeSet<Arc<str>> {
        let dead = |port: &Port| port.lost || port.back_at.is_some_and(|at| at > now);
        self.ports.iter().filter(|(_, port)| dead(port)).map(|(name, _)| name.clone()).collect()
    }

    /// When a port counts as back, if its link is.
    pub(super) fn back_at(&self, port: &str) -> Option<Instant> {
        self.ports.get(port)?.back_at
    }

    /// When a port counts as back that does not yet.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        let waiting = self.ports.values().filter(|port| !port.lost);
        waiting.filter_map(|port| port.back_at).filter(|at| *at > now).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_flaps_counts_as_back_ever_later() {
        let mut damping = Damping::default();
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let (none, lost) = (BTreeSet::new(), BTreeSet::from(["cust0".into()]));
        damping.links(&lost, at(0));
        assert_eq!(damping.dead(at(0)), lost, "a loss counts at once");
        damping.links(&none, at(100));
        assert_eq!(damping.dead(at(100)), none, "so does the first return");
        for (flap, wait) in [1_000, 2_000, 4_000, 8_000, 16_000, 30_000].into_iter().enumerate() {
            let lost_at = 200 + 200 * flap as u64;
            damping.links(&lost, at(lost_at));
            assert_eq!(damping.next(at(lost_at)), None);
            damping.links(&none, at(lost_at + 100));
            damping.links(&none, at(lost_at + 150));
            assert_eq!(damping.dead(at(lost_at + 99 + wait)), lost);
            assert_eq!(damping.next(at(lost_at + 150)), Some(at(lost_at + 100 + wait)));
            assert_eq!(damping.dead(at(lost_at + 100 + wait)), none);
        }
        // It behaved for a minute.
        damping.links(&lost, at(120_000));
        damping.links(&none, at(120_100));
        assert_eq!(damping.dead(at(120_100)), none);
    }
}
