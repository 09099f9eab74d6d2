//! What is billed: sums and percentiles of VIFs, customers and meter groups in a period. The percentile of a customer or a
//! group is that of the sum of its VIFs, bin by bin, and not the sum of percentiles.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use super::block::{BIN_S, Block, Owner};
use super::meter::TOLERANCE_MS;
use crate::observe::Traffic;

/// Of the bins the highest twentieth is dropped.
const DROPPED: usize = 20;
/// The enhanced method: of a day the fifth highest bin counts, of a period the five highest days.
const HIGHEST: usize = 5;
const DAY_S: u64 = 86_400;

/// What a series is of, in the order of a report.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// A VIF, as long as it was of one customer.
    Vif(Arc<str>, Option<Arc<str>>),
    /// A customer: all VIFs that were its at the time.
    Customer(Arc<str>),
    /// A meter group: all VIFs that were in it at the time.
    Group(Arc<str>),
}

/// Which series are wanted: all that fit what is given.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Only this VIF.
    pub vif: Option<String>,
    /// Only what was of this customer.
    pub customer: Option<String>,
    /// Only what was of this meter group.
    pub group: Option<String>,
}

impl Wanted {
    fn takes(&self, owner: &Owner) -> bool {
        let is = |wanted: &Option<String>, name: Option<&Arc<str>>| {
            wanted.as_ref().is_none_or(|wanted| name.is_some_and(|name| **name == **wanted))
        };
        is(&self.vif, Some(&owner.vif))
            && is(&self.customer, owner.customer.as_ref())
            && is(&self.group, owner.group.as_ref())
    }

    /// The series that somebody's traffic belongs to. Of a VIF that is wanted alone there are no totals, and none of a
    /// customer's groups or a group's customers: they would not be whole.
    pub fn scopes(&self, owner: &Owner) -> impl Iterator<Item = Scope> {
        let takes = self.takes(owner);
        let customers = self.vif.is_none() && self.group.is_none();
        let groups = self.vif.is_none() && self.customer.is_none();
        let vif = Scope::Vif(owner.vif.clone(), owner.customer.clone());
        let customer = owner.customer.clone().filter(|_| customers).map(Scope::Customer);
        let group = owner.group.clone().filter(|_| groups).map(Scope::Group);
        [Some(vif), customer, group].into_iter().flatten().filter(move |_| takes)
    }

    /// The sums of a bin, by series.
    pub fn sums(&self, block: &Block) -> BTreeMap<Scope, Traffic> {
        let mut sums: BTreeMap<Scope, Traffic> = BTreeMap::new();
        for (owner, traffic) in &block.counts {
            for scope in self.scopes(owner) {
                sums.entry(scope).or_default().plus(traffic);
            }
        }
        sums
    }
}

/// Bits a second: of a bin's octets in its five minutes. Where they were counted for longer, because the clock was set
/// back or the machine stood still, in that time. Fractions are cut off.
pub fn bits_per_second(octets: u64, block: &Block) -> u64 {
    let usual = BIN_S * 1000;
    let long = block.observed_ms > usual + TOLERANCE_MS;
    let time_ms = if long { block.observed_ms } else { usual };
    u64::try_from(u128::from(octets) * 8000 / u128::from(time_ms)).unwrap_or(u64::MAX)
}

/// The largest numbers of many; zeros are not kept.
#[derive(Clone, Debug, Default)]
struct Largest(BinaryHeap<Reverse<u64>>);

impl Largest {
    fn add(&mut self, number: u64, room: usize) {
        if number > 0 && self.0.len() < room {
            self.0.push(Reverse(number));
        } else if let Some(mut least) = self.0.peek_mut()
            && least.0 < number
        {
            *least = Reverse(number);
        }
    }

    /// The number at a place in the descending order.
    fn at(self, place: usize) -> u64 {
        // Of what is reversed, ascending is descending.
        self.0.into_sorted_vec().get(place).map_or(0, |number| number.0)
    }
}

/// The five largest numbers, in descending order.
#[derive(Clone, Copy, Debug, Default)]
struct Five([u64; HIGHEST]);

impl Five {
    fn add(&mut self, number: u64) {
        let at = self.0.partition_point(|known| *known >= number);
        if at < HIGHEST {
            self.0[at..].rotate_right(1);
            self.0[at] = number;
        }
    }
}

/// What is known of a series so far.
#[derive(Clone, Debug, Default)]
struct Sum {
    traffic: Traffic,
    rx: Largest,
    tx: Largest,
    /// Of the day that is being read: the larger direction.
    day: Five,
    days: Five,
}

/// What a series comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Billed {
    /// All that was counted.
    pub traffic: Traffic,
    /// 95th percentile of what was received, in bits a second.
    pub p95_rx: u64,
    /// That of what was sent.
    pub p95_tx: u64,
    /// The enhanced method's value, in bits a second.
    pub enhanced: u64,
}

/// A period, bin by bin.
#[derive(Debug)]
pub struct Report {
    wanted: Wanted,
    /// Places of the descending order that may be asked for.
    room: usize,
    sums: BTreeMap<Scope, Sum>,
    /// Bins so far.
    pub bins: usize,
    /// Those of them that are no five whole minutes.
    pub incomplete: usize,
    /// The day that is being read, and bins of it.
    day: (u64, usize),
    /// Days with bins before it.
    days: usize,
}

impl Report {
    /// Of `bins` bins at most.
    pub fn new(wanted: Wanted, bins: usize) -> Report {
        let (room, sums) = (bins / DROPPED + 1, BTreeMap::new());
        Report { wanted, room, sums, bins: 0, incomplete: 0, day: (0, 0), days: 0 }
    }

    /// A series that is there even where it has counted nothing.
    pub fn include(&mut self, owner: &Owner) {
        for scope in self.wanted.scopes(owner) {
            self.sums.entry(scope).or_default();
        }
    }

    /// Adds a bin; they come in the order of time.
    pub fn add(&mut self, block: &Block) {
        let day = block.start_s() / DAY_S;
        if self.day.0 != day {
            self.end_day();
            self.day.0 = day;
        }
        self.day.1 += 1;
        self.bins += 1;
        self.incomplete += usize::from(!block.is_complete());
        for (scope, traffic) in self.wanted.sums(block) {
            let sum = self.sums.entry(scope).or_default();
            let rate = |octets| bits_per_second(octets, block);
            let (rx, tx) = (rate(traffic.rx_octets), rate(traffic.tx_octets));
            sum.traffic.plus(&traffic);
            sum.rx.add(rx, self.room);
            sum.tx.add(tx, self.room);
            sum.day.add(rx.max(tx));
        }
    }

    fn end_day(&mut self) {
        let (_, bins) = self.day;
        if bins == 0 {
            return;
        }
        // Of fewer bins the lowest.
        let place = bins.min(HIGHEST) - 1;
        for sum in self.sums.values_mut() {
            sum.days.add(sum.day.0[place]);
            sum.day = Five::default();
        }
        self.days += 1;
        self.day.1 = 0;
    }

    /// What each series comes to.
    pub fn end(mut self) -> impl Iterator<Item = (Scope, Billed)> {
        self.end_day();
        let place = self.bins / DROPPED;
        let days = self.days.min(HIGHEST) as u64;
        self.sums.into_iter().map(move |(scope, sum)| {
            let highest: u128 = sum.days.0.iter().map(|peak| u128::from(*peak)).sum();
            let mean = highest.checked_div(days.into()).unwrap_or(0);
            let billed = Billed {
                traffic: sum.traffic,
                p95_rx: sum.rx.at(place),
                p95_tx: sum.tx.at(place),
                enhanced: u64::try_from(mean).unwrap_or(u64::MAX),
            };
            (scope, billed)
        })
    }
}
