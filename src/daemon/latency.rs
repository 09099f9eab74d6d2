//! Residence times as the control thread has them: who is to time what, and what is shown of it.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tracing::warn;

use super::control_thread::Control;
use super::datapath::Datapath;
use super::desk::Desk;
use super::ports::Ports;
use super::sampling::{Sampled, Sampling, lock};
use super::view::View;
use super::worker_thread::{Order, Orders};
use crate::admin::answer::Answer;
use crate::admin::rows::{LatencyRow, LatencyWindow};
use crate::clock::monotonic_ns;
use crate::config::model::Config;
use crate::observe::latency::{Quantiles, Residence, Residences, Sums};
use crate::port::stamp::Stamping;
use crate::tables::{PortId, Snapshot};
use crate::worker::latency::{Latency, LatencyChannel, Sample};

/// Frames that are timed.
pub(super) struct Timed;

impl Sampled for Timed {
    const NAME: &str = "latency";
    const TAKE: Duration = Duration::from_millis(250);
    type Channel = LatencyChannel;
    type Taker = Latency;
    type Sample = Sample;
    type Book = Residences;

    fn receive(channel: &LatencyChannel) -> Option<Sample> {
        channel.receive()
    }

    fn generation(sample: &Sample) -> u64 {
        sample.generation
    }

    fn follow(book: &mut Residences, tables: &Snapshot, now: Instant) {
        book.follow(tables, now);
    }

    fn record(book: &mut Residences, sample: &Sample, _: &Snapshot, _: Instant) {
        book.record(sample);
    }
}

/// The control thread's end.
pub(super) struct Latencies {
    /// One of so many frames is timed now, if any is.
    sample: Option<u32>,
    orders: Vec<Orders>,
    ports: usize,
    sampling: Sampling<Timed>,
}

impl Latencies {
    /// Starts the thread that takes samples in.
    ///
    /// # Errors
    /// The system's, where there is no thread left.
    pub fn start(datapath: &Datapath, desk: Desk) -> io::Result<Latencies> {
        Ok(Latencies {
            sample: None,
            orders: datapath.workers.iter().map(|worker| worker.orders().clone()).collect(),
            ports: datapath.ports.room.most,
            sampling: Sampling::start(desk)?,
        })
    }

    /// Follows a configuration that was committed.
    pub fn commit(&mut self, config: &Config, ports: &Ports) {
        let sample = config.latency.map(|latency| latency.sample);
        let turned = sample.is_some() != self.sample.is_some();
        self.sample = sample;
        if turned {
            let channel = |_: &Orders| Arc::new(LatencyChannel::new(self.ports));
            let workers = self.orders.iter().filter(|_| sample.is_some());
            let channels: Vec<_> = workers.map(channel).collect();
            for (number, orders) in self.orders.iter().enumerate() {
                let channel = channels.get(number).cloned();
                let latency = channel
                    .map(|channel| Latency::new(self.ports, channel, Box::new(monotonic_ns)));
                let (latency, back) = (latency.map(Box::new), self.sampling.back.clone());
                orders.give(Order::Latency { latency, back });
            }
            self.sampling.begin(channels);
        }
        self.follow(ports);
    }

    /// Has the programs of ports stamp frames as is configured, those too that were opened just now, and tells the workers.
    pub fn follow(&self, ports: &Ports) {
        for (id, port) in ports.iter() {
            let Some(program) = &port.program else { continue };
            if program.stamping().map(|stamping| stamping.sample) == self.sample {
                continue;
            }
            let stamping = self.sample.map(Stamping::new);
            if let Err(error) = program.stamp(stamping) {
                warn!(port = %port.config.name, %error, "cannot set which frames are timed");
                continue;
            }
            self.orders.iter().for_each(|orders| orders.give(Order::Stamps(id, stamping)));
        }
    }

    /// What others may look at.
    pub fn standing(&self) -> Standing {
        let Sampling { channels, book, .. } = &self.sampling;
        Standing { sample: self.sample, channels: channels.clone(), book: book.clone() }
    }
}

/// What others may look at.
pub(super) struct Standing {
    sample: Option<u32>,
    channels: Vec<Arc<LatencyChannel>>,
    book: Arc<Mutex<Residences>>,
}

impl Standing {
    /// A row for each port, and for each VIF that has samples; of ports with the sums. None where nothing is timed.
    pub fn rows(&self, view: &View) -> Vec<(LatencyRow, Option<Sums>)> {
        let Some(sample) = self.sample else { return Vec::new() };
        let row = |scope: &str, name: &str, port: &str, known: Option<&Residence>| LatencyRow {
            scope: scope.to_owned(),
            name: name.to_owned(),
            port: port.to_owned(),
            source: known.map(|known| if known.unstamped { "burst" } else { "xdp" }.to_owned()),
            sample: sample.into(),
            untimed: None,
            windows: known.into_iter().flat_map(windows).collect(),
        };
        let ports = view.ports().map(|(id, name)| {
            let known = lock(&self.book).port(id.index(), name);
            let untimed = Some(self.untimed(id));
            let row = row("port", name, name, known.as_ref());
            (LatencyRow { untimed, ..row }, known.map(|known| known.sums))
        });
        let vifs = view.vifs().filter_map(|(id, vif)| {
            let known = lock(&self.book).vif(id.index(), &vif.name)?;
            Some((row("vif", &vif.name, view.port_name(vif.port), Some(&known)), None))
        });
        ports.chain(vifs).collect()
    }

    /// What no worker has a sample of.
    fn untimed(&self, port: PortId) -> u64 {
        let ports = self.channels.iter().filter_map(|channel| channel.port(port));
        ports.map(|untimed| untimed.full.get() + untimed.refused.get()).sum()
    }
}

fn windows(known: &Residence) -> [LatencyWindow; 2] {
    [("recent", known.recent), ("all", known.ever)].map(|(window, of)| {
        let Quantiles { samples, p50_ns, p99_ns, p999_ns, max_ns } = of;
        LatencyWindow { window: window.to_owned(), samples, p50_ns, p99_ns, p999_ns, max_ns }
    })
}

/// `show latency`.
pub(super) fn show(control: &Control) -> Answer {
    let (view, standing) = (View::of(control), control.latency.standing());
    Answer::later(move || Answer::rows(standing.rows(&view).into_iter().map(|(row, _)| row)))
}
