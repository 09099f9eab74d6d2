//! The ledger's thread: it writes to disk and answers, so that nobody who has something to note waits
//! for either.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam::channel::{Receiver, Sender, bounded, unbounded};

use super::{Faults, Ledger};

/// What stands of one VIF.
#[derive(Debug)]
pub struct Entry {
    /// Its name.
    pub vif: Arc<str>,
    /// The faults that stand.
    pub faults: Faults,
    /// What its loss counter says, where an outage begins or ends.
    pub counted: u64,
}

enum Order {
    Update(Vec<Entry>, u64),
    Retain(HashSet<Arc<str>>, u64),
    Alive(u64),
    Stalled(u64, u64),
    Ask(Box<dyn FnOnce(&Ledger) + Send>),
    Stop(u64),
}

/// The end of everybody else. Nothing here waits but [`Keeper::ask`].
#[derive(Clone)]
pub struct Keeper(Sender<Order>);

impl Keeper {
    /// Starts the thread, which ends with [`Keeper::stop`].
    ///
    /// # Errors
    /// The system's, where there is no thread left.
    pub fn start(ledger: Ledger) -> io::Result<(Keeper, JoinHandle<()>)> {
        let (orders, theirs) = unbounded();
        let builder = std::thread::Builder::new().name("ledger".into());
        let thread = builder.spawn(move || run(ledger, &theirs))?;
        Ok((Keeper(orders), thread))
    }

    /// Takes in what stands of some VIFs: see [`Ledger::update`].
    pub fn update(&self, entries: Vec<Entry>, now_ms: u64) {
        self.order(Order::Update(entries, now_ms));
    }

    /// These VIFs are all that there are.
    pub fn retain(&self, names: HashSet<Arc<str>>, now_ms: u64) {
        self.order(Order::Retain(names, now_ms));
    }

    /// The station is alive: call it every second.
    pub fn alive(&self, now_ms: u64) {
        self.order(Order::Alive(now_ms));
    }

    /// A thread that all VIFs need did not run: see [`Ledger::stalled`].
    pub fn stalled(&self, from_ms: u64, to_ms: u64) {
        self.order(Order::Stalled(from_ms, to_ms));
    }

    /// Has the thread answer; `None` where it has ended.
    pub fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Ledger) -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = bounded(1);
        // Who asked may have gone.
        self.order(Order::Ask(Box::new(move |ledger| drop(reply.send(question(ledger))))));
        answer.recv().ok()
    }

    /// Notes that the station ends because it was told to, and ends the thread.
    pub fn stop(&self, now_ms: u64) {
        self.order(Order::Stop(now_ms));
    }

    fn order(&self, order: Order) {
        // The thread ends only when it is told to.
        drop(self.0.send(order));
    }
}

fn run(mut ledger: Ledger, orders: &Receiver<Order>) {
    for order in orders {
        match order {
            Order::Update(entries, now_ms) => {
                for Entry { vif, faults, counted } in entries {
                    ledger.update(&vif, &faults, now_ms, || counted);
                }
            }
            Order::Retain(names, now_ms) => ledger.retain(|name| names.contains(name), now_ms),
            Order::Alive(now_ms) => ledger.alive(now_ms),
            Order::Stalled(from_ms, to_ms) => ledger.stalled(from_ms, to_ms),
            Order::Ask(question) => question(&ledger),
            Order::Stop(now_ms) => {
                ledger.stop(now_ms);
                return ledger.sync();
            }
        }
        // Once for all that comes at once.
        if orders.is_empty() {
            ledger.sync();
        }
    }
}
