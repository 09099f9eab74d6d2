//! Threads that follow what is configured without being asked anything: they are told of each commit.

use crossbeam::channel::Sender;

use super::port_details::DetailBook;
use crate::config::MetricsAddress;
use crate::config::model::{Config, RpkiConfig};

/// Where they are told.
pub(super) struct Followers {
    /// The interfaces to watch.
    pub links: Sender<Vec<String>>,
    /// Where metrics are served, if anywhere; and what they were told last.
    pub metrics: Sender<Option<MetricsAddress>>,
    pub metrics_told: Option<MetricsAddress>,
    /// The caches to let BIRD to, and which they were last.
    pub rpki: Sender<Vec<RpkiConfig>>,
    pub rpki_told: Vec<RpkiConfig>,
    /// Modules are read of its own accord for metrics alone.
    pub details: DetailBook,
}

impl Followers {
    /// Tells of a configuration. They end only with the process.
    pub fn tell(&mut self, config: &Config) {
        let interfaces = config.ports.iter().map(|port| port.interface.clone()).collect();
        drop(self.links.send(interfaces));
        let metrics = &config.station.metrics;
        if self.metrics_told != *metrics {
            self.metrics_told.clone_from(metrics);
            drop(self.metrics.send(metrics.clone()));
            self.details.nudge();
        }
        if self.rpki_told != config.rpki {
            self.rpki_told.clone_from(&config.rpki);
            drop(self.rpki.send(config.rpki.clone()));
        }
    }
}
