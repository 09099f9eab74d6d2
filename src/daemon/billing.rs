//! The billing series as the station keeps it: which counters are whose, and what is told of it.

mod show;

pub(super) use show::show;

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use super::announce::log_and_tell;
use crate::billing::{Commit, Keeper, Owner, Standing, Told};
use crate::blocks::Damage;
use crate::clock::Moment;
use crate::config::model::Config;
use crate::events::{Event, Reporter};
use crate::observe::Traffic;
use crate::tables::counters::WorkerCounters;
use crate::tables::{Snapshot, VifId};

/// The control thread's end.
pub(super) struct Billing {
    keeper: Keeper,
    workers: Vec<Arc<WorkerCounters>>,
    /// The VIF of each id.
    names: Vec<Option<Arc<str>>>,
}

impl Billing {
    /// Starts the thread that keeps the series. What it has to tell is an event, each.
    ///
    /// # Errors
    /// The system's, where there is no thread left.
    pub fn start(
        state: &Path,
        workers: Vec<Arc<WorkerCounters>>,
        report: Reporter,
    ) -> io::Result<(Billing, JoinHandle<()>)> {
        let zero = Instant::now();
        let clock = move || Moment::now(zero);
        let counters = workers.clone();
        let read = move |id: VifId| Traffic::of(&counters, id);
        let told = move |told: Told| log_and_tell(&report, event(told));
        let (keeper, thread) = Keeper::start(state.join("billing"), clock, read, told)?;
        Ok((Billing { keeper, workers, names: Vec::new() }, thread))
    }

    /// The VIFs are those of a configuration that was committed: no worker uses an id any more that fell free.
    pub fn commit(&mut self, tables: &Snapshot, config: &Arc<Config>) {
        let vifs = &tables.vifs;
        let mut freed = Vec::new();
        self.names.resize(vifs.len().max(self.names.len()), None);
        for (id, known) in (0..=u16::MAX).map(VifId).zip(&mut self.names) {
            let name = vifs.get(id.index()).and_then(Option::as_ref).map(|vif| &vif.name);
            if known.as_ref() == name {
                continue;
            }
            if known.is_some() {
                freed.push((id, Traffic::of(&self.workers, id)));
            }
            *known = name.cloned();
        }
        let keep_months = config.billing.keep_months.into();
        // The rest is the billing thread's work.
        let (config, names) = (config.clone(), self.names.clone());
        let owners = move || {
            let mut owners: HashMap<Arc<str>, Owner> =
                owners(&config).map(|owner| (owner.vif.clone(), owner)).collect();
            names.iter().map(|vif| owners.remove(vif.as_ref()?)).collect()
        };
        self.keeper.commit(Commit { owners: Box::new(owners), freed, keep_months });
    }

    /// Writes the open bin as far as it is, and ends the thread. No worker is to count any more.
    pub fn stop(&self, thread: JoinHandle<()>) {
        self.keeper.stop();
        drop(thread.join());
    }

    /// How the series stands.
    pub fn standing(&self) -> &Standing {
        self.keeper.standing()
    }
}

/// The VIFs of a configuration, and whose they are.
fn owners(config: &Config) -> impl Iterator<Item = Owner> {
    config.vifs.iter().map(|vif| Owner {
        vif: vif.name.clone(),
        customer: vif.labels.customer.as_deref().map(Arc::from),
        group: vif.meter_group.clone(),
    })
}

fn event(told: Told) -> Event {
    match told {
        Told::Lost { from_ms, to_ms } => Event::BillingLost { from_ms, to_ms },
        Told::Damaged(Damage { file, octets, cut }) => {
            let (from_octet, to_octet) = (octets.start, octets.end);
            Event::BillingDamage { file, from_octet, to_octet, cut }
        }
        Told::ClockStep { step_ms, bin_ms } => Event::BillingClock { step_ms, bin_ms },
        Told::Failed { error } => Event::BillingUnwritten { reason: error },
        Told::Written { bins } => Event::BillingWritten { bins },
    }
}
