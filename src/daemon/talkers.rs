//! Top talkers as the control thread has them: whether workers look for them, and what is shown.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::answer::{invalid, no};
use super::control_thread::Control;
use super::datapath::Datapath;
use super::desk::Desk;
use super::sampling::{Sampled, Sampling, lock};
use super::worker_thread::{Order, Orders};
use crate::admin::answer::Answer;
use crate::admin::protocol::TalkerFilter;
use crate::admin::rows::{TalkerEntry, TalkerRow, bits_per_s, rounded};
use crate::config::model::Config;
use crate::observe::talkers::{Talkers as Kept, Top};
use crate::tables::address_limit::By;
use crate::tables::{Direction, Snapshot, VifId};
use crate::worker::talkers::{Seen, TalkerChannel, Talkers};

/// Addresses that are shown where nobody says how many.
const SHOWN: u32 = 10;

/// Packets that are looked at.
pub(super) struct Looked;

impl Sampled for Looked {
    const NAME: &str = "talkers";
    const TAKE: Duration = Duration::from_millis(100);
    type Channel = TalkerChannel;
    type Taker = Talkers;
    type Sample = Seen;
    type Book = Kept;

    fn receive(channel: &TalkerChannel) -> Option<Seen> {
        channel.receive()
    }

    fn generation(seen: &Seen) -> u64 {
        seen.generation
    }

    fn follow(book: &mut Kept, tables: &Snapshot, now: Instant) {
        book.follow(tables, now);
    }

    fn record(book: &mut Kept, seen: &Seen, tables: &Snapshot, now: Instant) {
        book.record(seen, tables, now);
    }
}

/// The control thread's end.
pub(super) struct TopTalkers {
    orders: Vec<Orders>,
    vifs: usize,
    sampling: Sampling<Looked>,
}

impl TopTalkers {
    /// Starts the thread that takes packets in.
    ///
    /// # Errors
    /// The system's, where there is no thread left.
    pub fn start(datapath: &Datapath, max_vifs: u16, desk: Desk) -> io::Result<TopTalkers> {
        let sampling = Sampling::start(desk)?;
        let orders = datapath.workers.iter().map(|worker| worker.orders().clone()).collect();
        Ok(TopTalkers { orders, vifs: max_vifs.into(), sampling })
    }

    /// Follows a configuration that was committed.
    pub fn commit(&mut self, config: &Config) {
        let wanted = config.vifs.iter().any(|vif| vif.top_talkers);
        if wanted != self.sampling.channels.is_empty() {
            return;
        }
        let channel = |_: &Orders| Arc::new(TalkerChannel::new(self.vifs));
        let channels: Vec<_> = self.orders.iter().filter(|_| wanted).map(channel).collect();
        for (number, orders) in self.orders.iter().enumerate() {
            let channel = channels.get(number).cloned();
            // Each state has keys of its own, which begin with the system's random numbers.
            let seed = RandomState::new().build_hasher().finish();
            let talkers = channel.map(|channel| Box::new(Talkers::new(self.vifs, channel, seed)));
            orders.give(Order::Talkers { talkers, back: self.sampling.back.clone() });
        }
        self.sampling.begin(channels);
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
    let (labels, book) = (vif.labels.clone(), control.talkers.sampling.book.clone());
    let channels = control.talkers.sampling.channels.clone();
    let id = control.engine.vif(&filter.vif);
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
