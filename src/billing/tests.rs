//! Histories of counters against a naive account of them, and the power cut at every write.

mod histories;
mod power_cut;
mod rules;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use super::block::{BIN_S, Block, Marks, Owner};
use super::keeper::{Book, Commit, Standing, Told};
use super::{Series, Store, Unwritten};
use crate::blocks::Item;
use crate::clock::Moment;
use crate::disk::Disk;
use crate::disk::failing::{Failing, State};
use crate::observe::Traffic;
use crate::tables::VifId;

pub const DIRECTORY: &str = "/var/lib/station/billing";
/// 2028-02-28T00:00:00Z: a leap year's.
pub const FEBRUARY: u64 = 1_835_308_800;

/// The counters of all ids.
pub type Counters = Arc<Mutex<Vec<Traffic>>>;

/// A disk that never fails.
pub fn whole() -> Failing {
    Failing::new(State::default(), usize::MAX)
}

pub fn owner(vif: &str, customer: &str, group: &str) -> Owner {
    let some = |name: &str| (!name.is_empty()).then(|| name.into());
    Owner { vif: vif.into(), customer: some(customer), group: some(group) }
}

pub fn traffic(n: u64) -> Traffic {
    Traffic { rx_frames: n, rx_octets: 100 * n, tx_frames: n / 2, tx_octets: 70 * n }
}

/// A daemon that counts.
pub struct Daemon<D: Disk> {
    pub book: Book<D>,
    pub commits: crossbeam::channel::Sender<Commit>,
    pub counters: Counters,
    pub told: Arc<Mutex<Vec<Told>>>,
    pub standing: Arc<Standing>,
}

impl<D: Disk> Daemon<D> {
    pub fn start(disk: D, now: Moment) -> Daemon<D> {
        let (counters, told) = (Counters::default(), Arc::<Mutex<Vec<Told>>>::default());
        counters.lock().unwrap().resize(8, Traffic::default());
        let (commits, changed) = crossbeam::channel::unbounded();
        let (read, tell, standing) = (counters.clone(), told.clone(), Arc::<Standing>::default());
        let book = Book::start(
            Store::new(disk, DIRECTORY.into()),
            now,
            Box::new(move |id: VifId| read.lock().unwrap()[id.index()]),
            Box::new(move |what| tell.lock().unwrap().push(what)),
            changed,
            standing.clone(),
        );
        Daemon { book, commits, counters, told, standing }
    }

    /// A configuration with these owners of ids, after some ids fell free.
    pub fn commit(&self, owners: Vec<Option<Owner>>, freed: &[usize]) {
        let counters = self.counters.lock().unwrap();
        let freed = freed.iter().map(|&id| (VifId(u16::try_from(id).unwrap()), counters[id]));
        let (freed, keep_months) = (freed.collect(), 13);
        self.commits.send(Commit { owners: Box::new(move || owners), freed, keep_months }).unwrap();
    }

    pub fn count(&self, id: usize, traffic: Traffic) {
        self.counters.lock().unwrap()[id].plus(&traffic);
    }

    pub fn told(&self) -> Vec<Told> {
        std::mem::take(&mut self.told.lock().unwrap())
    }
}

/// All bins of a disk, and what is not on it.
pub fn bins(disk: &Failing, unwritten: Unwritten) -> Vec<Item<Block>> {
    let all = 0..u64::from(u32::MAX) * BIN_S;
    let mut series = Series::open(disk.clone(), Path::new(DIRECTORY), &all, unwritten).unwrap();
    std::iter::from_fn(|| series.read().unwrap()).collect()
}

/// The whole bins of a disk; there is no damage.
pub fn blocks(disk: &Failing, unwritten: Unwritten) -> Vec<Block> {
    let block = |item| match item {
        Item::Whole(block) => block,
        Item::Damaged(..) => panic!("{item:?}"),
    };
    bins(disk, unwritten).into_iter().map(block).collect()
}
