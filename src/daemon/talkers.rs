//! Top talkers as the control thread has them: whether workers look for them, and what is shown.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, unbounded};
use crossbeam::select;

use super::answer::{invalid, no};
use super::control_thread::Control;
use super::datapath::Datapath;
use super::desk::Desk;
use super::worker_thread::{Order, Orders};
use crate::admin::answer::Answer;
use crate::admin::protocol::TalkerFilter;
use crate::admin::rows::{TalkerEntry, TalkerRow, bits_per_s, rounded};
use crate::config::model::Config;
use crate::observe::talkers::{Talkers as Kept, Top};
use crate::tables::address_limit::By;
use crate::tables::{Direction, VifId};
use crate::worker::talkers::{Seen, TalkerChannel, Talkers};

/// How often packets are taken in.
const TAKE: Duration = Duration::from_millis(100);
/// When there are none.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
/// Addresses that are shown where nobody says how many.
const SHOWN: u32 = 10;

/// What was seen, as everybody has it; held only while packets are taken in, or rows are made.
type Book = Arc<Mutex<Kept>>;

/// The control thread's end.
pub(super) struct TopTalkers {
    orders: Vec<Orders>,
    vifs: usize,
    /// Tells the thread who looks; nobody any more where no VIF keeps track.
    jobs: Sender<Vec<Arc<TalkerChannel>>>,
    /// Where workers leave what they do not use any more: to free it takes its time.
    back: Sender<Box<Talkers>>,
    channels: Vec<Arc<TalkerChannel>>,
    book: Book,
}

impl TopTalkers {
    /// Starts the thread that takes packets in.
    ///
    /// # Errors
    /// The system's, where there is no thread left.
    pub fn start(datapath: &Datapath, max_vifs: u16, desk: Desk) -> io::Result<TopTalkers> {
        let ((jobs, told), (back, returned)) = (unbounded(), unbounded());
        let book = Book::default();
        let (channels, early) = (Vec::new(), Vec::new());
        let keeper = Keeper { desk, book: book.clone(), told, returned, channels, early };
        std::thread::Builder::new().name("talkers".into()).spawn(move || keeper.run())?;
        let orders = datapath.workers.iter().map(|worker| worker.orders().clone()).collect();
        Ok(TopTalkers { orders, vifs: max_vifs.into(), jobs, back, channels: Vec::new(), book })
    }

    /// Follows a configuration that was committed.
    pub fn commit(&mut self, config: &Config) {
        let wanted = config.vifs.iter().any(|vif| vif.top_talkers);
        if wanted != self.channels.is_empty() {
            return;
        }
        let channel = |_: &Orders| Arc::new(TalkerChannel::new(self.vifs));
        self.channels = self.orders.iter().filter(|_| wanted).map(channel).collect();
        for (number, orders) in self.orders.iter().enumerate() {
            let channel = self.channels.get(number).cloned();
            // Each state has keys of its own, which begin with the system's random numbers.
            let seed = RandomState::new().build_hasher().finish();
            let talkers = channel.map(|channel| Box::new(Talkers::new(self.vifs, channel, seed)));
            orders.give(Order::Talkers { talkers, back: self.back.clone() });
        }
        // It ends only with this.
        drop(self.jobs.send(self.channels.clone()));
    }
}

/// `show talkers`.
pub(super) fn show(control: &Control, filter: &TalkerFilter) -> Answer {
    let (config, filter) = (control.config(), filter.clone());
    let Some(vif) = config.vifs.iter().find(|vif| *vif.name == *filter.vif) else {
        return no("vif", &filter.vif);
    };
    if !vif.top_talkers {
        let name = &filter.vif;
        return Answer::Refused(invalid(format!(
            "vif \"{name}\" does not keep track of its addresses: `stationctl vif set {name} top_talkers=true`"
        )));
    }
    let (labels, book) = (vif.labels.clone(), control.talkers.book.clone());
    let (channels, id) = (control.talkers.channels.clone(), control.engine.vif(&filter.vif));
    Answer::later(move || {
        let count = usize::try_from(filter.count.unwrap_or(SHOWN)).unwrap_or(usize::MAX);
        let directions = Direction::BOTH.into_iter();
        let directions = directions.filter(|it| filter.direction.is_none_or(|only| only == *it));
        let row = |direction: Direction| {
            // Of what comes from the customer and of what goes there, the customer's addresses.
            let own = match direction {
                Direction::Rx => By::Source,
                Direction::Tx => By::Destination,
            };
            let by = filter.by.unwrap_or(own);
            let top = lock(&book).top(&filter.vif, (direction, by), count, Instant::now());
            let top = top.unwrap_or_default();
            let missed = |channel: &Arc<TalkerChannel>| {
                channel.missed(id.unwrap_or(VifId(u16::MAX)), direction)
            };
            TalkerRow {
                vif: filter.vif.clone(),
                labels: labels.clone(),
                direction,
                by,
                measured_s: rounded(top.time.as_secs_f64()),
                interval: top.interval.max(1),
                octets: top.octets,
                others_most_octets: top.others_most,
                missed_octets: channels.iter().map(missed).sum(),
                talkers: entries(&top),
            }
        };
        Answer::rows(directions.map(row).map(Box::new).collect::<Vec<_>>())
    })
}

fn entries(top: &Top) -> Vec<TalkerEntry> {
    let entry = |talker: &crate::observe::talkers::Talker| TalkerEntry {
        address: talker.address,
        octets: talker.octets,
        least_octets: talker.least,
        most_octets: talker.most,
        bits_per_s: bits_per_s(talker.octets, top.time),
        share_percent: rounded(talker.octets as f64 * 100.0 / top.octets.max(1) as f64),
    };
    top.talkers.iter().map(entry).collect()
}

/// The thread.
struct Keeper {
    desk: Desk,
    book: Book,
    told: Receiver<Vec<Arc<TalkerChannel>>>,
    returned: Receiver<Box<Talkers>>,
    channels: Vec<Arc<TalkerChannel>>,
    /// Packets of tables that are newer than those that were looked at.
    early: Vec<Seen>,
}

impl Keeper {
    fn run(mut self) {
        loop {
            let sleep = if self.channels.is_empty() { LONGEST_SLEEP } else { TAKE };
            select! {
                recv(self.told) -> channels => match channels {
                    // What was seen before is not of these.
                    Ok(channels) => {
                        self.channels = channels;
                        self.early.clear();
                        *lock(&self.book) = Kept::default();
                    }
                    Err(_) => return,
                },
                recv(self.returned) -> talkers => drop(talkers),
                default(sleep) => {}
            }
            if !self.channels.is_empty() && !self.take() {
                return;
            }
        }
    }

    /// Takes in what workers have seen; false where the station has ended.
    fn take(&mut self) -> bool {
        let tables = self.desk.ask(|control| control.engine.tables().clone());
        let Some(tables) = tables else { return false };
        let now = Instant::now();
        let mut book = lock(&self.book);
        book.follow(&tables, now);
        let early = std::mem::take(&mut self.early);
        let waiting = self.channels.iter().flat_map(|it| std::iter::from_fn(|| it.receive()));
        for seen in early.into_iter().chain(waiting) {
            match seen.generation <= tables.generation {
                true => book.record(&seen, &tables, now),
                false => self.early.push(seen),
            }
        }
        true
    }
}

/// What a lock guards is whole whoever held it last.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
