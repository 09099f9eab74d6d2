//! The threads around the TAPs: one keeps the interfaces, one brings what the kernel sends to the slow
//! path.

use std::path::Path;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle, Thread};

use crossbeam::channel::{Sender, unbounded};
use tracing::{info, warn};

use crate::control::kernel::tap_name;
use crate::netns::Namespace;
use crate::tables::Snapshot;
use crate::tap::{self, Devices, Keeper, Reader, Stop, Wanted, Wire};

/// A frame that the kernel sent.
pub(super) type FromKernel = (Wire, Vec<u8>);

/// The control thread's end of both.
pub(super) struct TapHandle {
    orders: Sender<Vec<Wanted>>,
    stop: Stop,
    keeper: JoinHandle<()>,
    reader: JoinHandle<()>,
}

/// Starts the threads. What the kernel sends goes into `frames`, and wakes the slow path; where that
/// does not keep up, it waits in the kernel. The TAPs are in `namespace`. The admin socket is what tells
/// stations apart. `taps_changed` is told of new TAPs and of carriers.
///
/// # Errors
/// The system's, where there is no thread or file descriptor left.
pub(super) fn spawn(
    devices: Arc<Devices>,
    frames: Sender<FromKernel>,
    slow_path: Thread,
    namespace: &Namespace,
    socket: &Path,
    taps_changed: Sender<Vec<String>>,
) -> std::io::Result<TapHandle> {
    let station = socket.display().to_string();
    // Those of a killed station that had them where its ports are.
    match tap::remove_all(&station) {
        Ok(0) => {}
        Ok(count) => info!(count, "removed TAPs outside their network namespace"),
        Err(error) => warn!(%error, "cannot remove TAPs outside their network namespace"),
    }
    let (reader, stop) = Reader::new(devices)?;
    let keeper = Keeper::new(&reader, &station, taps_changed);
    let (orders, their_orders) = unbounded();
    let keeper = namespace.within(|| {
        Builder::new().name("tap-keeper".into()).spawn(move || keeper.run(&their_orders))
    })?;
    let take = move |wire: Wire, frame: &[u8]| {
        let sent = frames.send((wire, frame.to_vec())).is_ok();
        slow_path.unpark();
        sent
    };
    let reader = Builder::new().name("tap-reader".into()).spawn(move || reader.run(take))?;
    Ok(TapHandle { orders, stop, keeper, reader })
}

impl TapHandle {
    /// Brings the TAPs to what the tables say.
    pub fn follow(&self, tables: &Snapshot) {
        let wanted = tables.vifs.iter().flatten().filter(|vif| !vif.peers.is_empty());
        let wanted = wanted.filter_map(|vif| {
            let port = tables.ports.get(vif.port.index())?;
            Some(Wanted {
                wire: Wire { port: vif.port, tags: vif.tags },
                name: tap_name(vif.port, vif.tags),
                vif: vif.name.clone(),
                mac: port.mac,
                mtu: vif.mtu,
                addresses: vif.addresses.clone(),
                carrier: vif.up && port.up,
            })
        });
        // The keeper ends only when this handle does.
        drop(self.orders.send(wanted.collect()));
    }

    /// Removes all TAPs and ends the threads. The slow path must have ended.
    pub fn stop(self) {
        self.stop.stop();
        drop(self.orders);
        drop(self.reader.join());
        drop(self.keeper.join());
    }
}
