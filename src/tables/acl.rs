//! Access lists as the packet path judges by them, and how often each rule has matched.

use std::collections::{BTreeMap, HashMap};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::counters::Counter;
use super::ids::VifId;
use super::meter::Direction;
use super::vif::Vif;
use crate::acl::{Action, Fields, List, Rule, Unreadable};
use crate::cpu::eights::Words;
use crate::wire::Start;

/// Hits in each direction.
pub type Hits = [u64; 2];

/// Numbers in a cache line.
const LINE: usize = 8;

/// Counters in cache lines of one worker.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Line([Counter; LINE]);

/// What workers count of a list: for each worker, rule and direction.
#[derive(Debug)]
struct Tally(Box<[Box<[Line]>]>);

impl Tally {
    fn new(workers: usize, places: usize) -> Tally {
        let lines = || (0..(2 * places).div_ceil(LINE)).map(|_| Line::default()).collect();
        Tally((0..workers).map(|_| lines()).collect())
    }

    /// The sum of all workers.
    fn get(&self, place: usize) -> Hits {
        Direction::BOTH.map(|direction| {
            let at = 2 * place + direction as usize;
            self.0.iter().map(|lines| lines[at / LINE].0[at % LINE].get()).sum()
        })
    }
}

/// Hits of one direction that one worker notes.
#[derive(Clone, Copy, Debug)]
pub struct WorkerHits<'a> {
    lines: &'a [Line],
    direction: Direction,
}

impl WorkerHits<'_> {
    /// Notes a hit. Only the worker itself may call it.
    #[inline(always)]
    pub fn note(&self, place: usize) {
        let at = 2 * place + self.direction as usize;
        if let Some(line) = self.lines.get(at / LINE) {
            line.0[at % LINE].add(1);
        }
    }
}

/// From where on hits are shown.
type Zero = Arc<[[AtomicU64; 2]]>;

/// The list of the same name that ran before, whose workers may have gone on counting after this one was made.
#[derive(Debug)]
struct Before {
    tally: Arc<Tally>,
    zero: Zero,
    /// For each place of this list the place of the same rule in that one.
    same: Box<[Option<usize>]>,
}

impl Before {
    fn get(&self, place: usize) -> Hits {
        let Some(at) = self.same[place] else { return [0; 2] };
        let (counted, zero) = (self.tally.get(at), zero(&self.zero, at));
        std::array::from_fn(|i| counted[i].wrapping_sub(zero[i]))
    }
}

fn zero(zero: &Zero, place: usize) -> Hits {
    std::array::from_fn(|i| zero[place][i].load(Relaxed))
}

/// A list with a name. Its places are those of its rules, then that of packets that no rule matches, then that of packets
/// that cannot be read; both kinds are denied.
#[derive(Debug)]
pub struct AccessList {
    /// The operator's name for it.
    pub name: Arc<str>,
    /// Its rules, compiled.
    pub list: Arc<List>,
    tally: Arc<Tally>,
    /// By place.
    actions: Box<[Action]>,
    /// What the same rules had counted in lists before `before`.
    base: Box<[Hits]>,
    before: Option<Before>,
    zero: Zero,
}

impl AccessList {
    /// A list that is in the place of another of its name: what stands in both has been hit as often as before.
    pub fn new(name: Arc<str>, list: Arc<List>, workers: usize, old: Option<&AccessList>) -> Self {
        let places = list.rules().len() + 2;
        let before = old.map(|old| Before {
            tally: old.tally.clone(),
            zero: old.zero.clone(),
            same: same_rules(old.list.rules(), list.rules()),
        });
        let base = |place: usize| {
            let at = before.as_ref().and_then(|before| before.same[place]);
            at.zip(old).map_or([0; 2], |(at, old)| old.earlier(at))
        };
        let base = (0..places).map(base).collect();
        let tally = Arc::new(Tally::new(workers, places));
        let zero = (0..places).map(|_| Default::default()).collect();
        let actions = list.rules().iter().map(|rule| rule.action).chain([Action::Deny; 2]);
        let actions = actions.collect();
        AccessList { name, list, tally, actions, base, before, zero }
    }

    /// Hits in lists before this one.
    fn earlier(&self, place: usize) -> Hits {
        let before = self.before.as_ref().map_or([0; 2], |before| before.get(place));
        std::array::from_fn(|i| self.base[place][i].wrapping_add(before[i]))
    }

    /// The place of packets that no rule matches.
    pub fn unmatched(&self) -> usize {
        self.list.rules().len()
    }

    /// The place of packets that cannot be read.
    pub fn unreadable(&self) -> usize {
        self.list.rules().len() + 1
    }

    /// What becomes of a packet of a place.
    #[inline(always)]
    pub fn action(&self, place: usize) -> Action {
        self.actions.get(place).copied().unwrap_or(Action::Deny)
    }

    /// What a worker notes hits of a direction in. Nothing is noted by one that the list has no room for.
    #[inline(always)]
    pub fn of_worker(&self, worker: usize, direction: Direction) -> WorkerHits<'_> {
        WorkerHits { lines: self.tally.0.get(worker).map_or(&[], |lines| lines), direction }
    }

    /// The place of a packet, from its IP header on.
    pub fn place<'a>(&self, packet: impl Into<Start<'a>>) -> usize {
        match Fields::of(packet) {
            Ok(fields) => self.list.classifier().find(&fields),
            Err(Unreadable) => self.unreadable(),
        }
    }

    /// How often each place was hit since the last clear.
    pub fn hits(&self) -> impl Iterator<Item = Hits> + '_ {
        (0..self.base.len()).map(|place| {
            let (counted, zero) = (self.counted(place), zero(&self.zero, place));
            std::array::from_fn(|i| counted[i].wrapping_sub(zero[i]))
        })
    }

    fn counted(&self, place: usize) -> Hits {
        let (own, earlier) = (self.tally.get(place), self.earlier(place));
        std::array::from_fn(|i| own[i].wrapping_add(earlier[i]))
    }

    /// Makes all hits count from zero. Workers notice nothing.
    pub fn clear(&self) {
        for (place, zero) in self.zero.iter().enumerate() {
            for (zero, counted) in zero.iter().zip(self.counted(place)) {
                zero.store(counted, Relaxed);
            }
        }
    }
}

/// Where the rules of a list stand in an older one: of equal rules the first in the first's place, and so on. And what
/// comes behind the rules.
fn same_rules(old: &[Rule], new: &[Rule]) -> Box<[Option<usize>]> {
    let mut known: HashMap<&Rule, Vec<usize>> = HashMap::new();
    for (at, rule) in old.iter().enumerate().rev() {
        known.entry(rule).or_default().push(at);
    }
    let rules = new.iter().map(|rule| known.get_mut(rule).and_then(Vec::pop));
    rules.chain([Some(old.len()), Some(old.len() + 1)]).collect()
}

/// All lists, and which one judges what.
#[derive(Clone, Debug)]
pub struct AccessLists {
    /// By name; those that no VIF uses too.
    pub named: Arc<BTreeMap<Arc<str>, Arc<AccessList>>>,
    used: Box<[Arc<AccessList>]>,
    /// By direction, for each VIF the number of its list, and [`AccessLists::NONE`] behind the last.
    numbers: [Arc<Words>; 2],
    /// Some VIF has a list for what leaves there.
    pub leaving: bool,
}

impl Default for AccessLists {
    fn default() -> AccessLists {
        AccessLists::new(Arc::default(), &[])
    }
}

impl AccessLists {
    /// The number of no list.
    pub const NONE: u32 = u32::MAX;

    /// The lists of these VIFs, and others that have names.
    pub fn new(
        named: Arc<BTreeMap<Arc<str>, Arc<AccessList>>>,
        vifs: &[Option<Vif>],
    ) -> AccessLists {
        let mut used: Vec<Arc<AccessList>> = Vec::new();
        let mut known: HashMap<*const AccessList, u32> = HashMap::new();
        let mut number = |list: Option<&Arc<AccessList>>| {
            list.map_or(AccessLists::NONE, |list| {
                *known.entry(Arc::as_ptr(list)).or_insert_with(|| {
                    used.push(list.clone());
                    u32::try_from(used.len() - 1).unwrap_or(AccessLists::NONE)
                })
            })
        };
        let [entering, leaving] = Direction::BOTH.map(|direction| {
            let of = |vif: &'_ Vif| match direction {
                Direction::Rx => vif.acl_in.clone(),
                Direction::Tx => vif.acl_out.clone(),
            };
            let numbers = vifs.iter().map(|vif| number(vif.as_ref().and_then(of).as_ref()));
            numbers.chain([AccessLists::NONE]).collect::<Vec<u32>>()
        });
        let is_leaving = leaving.iter().any(|number| *number != AccessLists::NONE);
        let numbers = [entering, leaving].map(|numbers| Arc::new(Words::new(numbers)));
        AccessLists { named, used: used.into(), numbers, leaving: is_leaving }
    }

    /// The numbers of the lists of all VIFs.
    #[inline(always)]
    pub fn numbers(&self, direction: Direction) -> &Words {
        &self.numbers[direction as usize]
    }

    /// The list of a number.
    #[inline(always)]
    pub fn list(&self, number: u32) -> Option<&AccessList> {
        self.used.get(number as usize).map(Deref::deref)
    }

    /// The list that judges a VIF's packets.
    #[inline(always)]
    pub fn of(&self, vif: VifId, direction: Direction) -> Option<&AccessList> {
        self.list(self.numbers(direction).get(vif.0.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(rules: &[&str]) -> Arc<List> {
        Arc::new(List::new(rules.iter().map(|rule| rule.parse().unwrap()).collect()))
    }

    #[test]
    fn hits_stay_with_the_text_of_a_rule() {
        let of = |rules: &[&str], old: Option<&AccessList>| {
            AccessList::new("a".into(), list(rules), 2, old)
        };
        let first = of(&["permit tcp", "deny udp", "deny udp"], None);
        first.of_worker(0, Direction::Rx).note(0);
        first.of_worker(1, Direction::Rx).note(1);
        first.of_worker(1, Direction::Tx).note(2);
        first.of_worker(7, Direction::Rx).note(0);
        assert!(first.hits().eq([[1, 0], [1, 0], [0, 1], [0, 0], [0, 0]]));
        let second = of(&["deny udp", "permit icmp", "permit tcp"], Some(&first));
        // A worker may go on with the old list for a burst.
        first.of_worker(0, Direction::Rx).note(1);
        first.of_worker(0, Direction::Rx).note(3);
        second.of_worker(1, Direction::Rx).note(2);
        assert!(second.hits().eq([[2, 0], [0, 0], [2, 0], [1, 0], [0, 0]]));
        second.clear();
        assert!(second.hits().all(|hits| hits == [0; 2]));
        second.of_worker(0, Direction::Tx).note(0);
        let third = of(&["permit tcp", "deny udp"], Some(&second));
        second.of_worker(0, Direction::Rx).note(2);
        third.of_worker(0, Direction::Rx).note(0);
        assert!(third.hits().eq([[2, 0], [0, 1], [0, 0], [0, 0]]));
        // A clear while a list is replaced holds for both.
        let fourth = of(&["deny udp"], Some(&third));
        third.clear();
        assert!(fourth.hits().all(|hits| hits == [0; 2]));
    }
}
