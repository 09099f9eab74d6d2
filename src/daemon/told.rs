//! What the slow path tells the control thread: neighbors that come and go, and tunnels' paths that carry less.

use crossbeam::channel::Receiver;
use tracing::{info, warn};

use super::control_thread::Control;
use crate::clock::nanoseconds;
use crate::slowpath::Told;
use crate::tables::TunnelPath;

/// What is taken into one publication.
const BATCH: usize = 1024;

impl Control {
    pub(super) fn told(&mut self, first: Told, more: &Receiver<Told>) {
        let (mut events, mut too_big) = (Vec::new(), Vec::new());
        for told in std::iter::once(first).chain(more.try_iter().take(BATCH)) {
            match told {
                Told::Neighbor(event) => events.push(event),
                Told::TooBig(told) => too_big.push(told),
            }
        }
        if !events.is_empty() {
            if let Err(error) = self.engine.neighbor_events(&events) {
                warn!(%error, "a neighbor is served by the slow path");
            }
            self.account_neighbors(&events);
        }
        for path in self.engine.too_big(&too_big, self.now_ns()) {
            let mtu = self.engine.lowered(path).map_or(0, |lowered| lowered.mtu);
            let TunnelPath { local, remote, .. } = path;
            info!(peer = %remote, %local, mtu, "the underlay carries less to a VTEP: its tunnels' MTU is lowered");
        }
    }

    /// Raises what was lowered long enough ago.
    pub(super) fn expire_paths(&mut self) {
        for TunnelPath { local, remote, .. } in self.engine.expire_lowered(self.now_ns()) {
            info!(peer = %remote, %local, "a VTEP's tunnels have their whole MTU again");
        }
    }

    /// The clock of what was lowered: nanoseconds since the start.
    pub(super) fn now_ns(&self) -> u64 {
        nanoseconds(self.started.elapsed())
    }
}
