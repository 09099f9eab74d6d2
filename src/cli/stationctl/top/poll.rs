//! What top knows: the station's answers, asked for by a thread of its own, so that the keyboard is heard also where
//! the station does not answer.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};

use crate::admin::client::{Failure, all};
use crate::admin::protocol::{DropFilter, RateFilter, RateScope, Request};
use crate::admin::rows::{
    BgpRow, DropRow, PortRow, RateRow, TunnelRow, VersionInfo, VifRow, WorkerRow,
};

/// What is on the screen needs this, beside what it always needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// What went no further.
    pub drops: bool,
    /// Tunnels.
    pub tunnels: bool,
}

/// BGP is asked for only so often: the routing daemon answers by its only thread.
const BGP_EVERY: Duration = Duration::from_secs(10);

/// The station at a moment.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub at: Instant,
    pub version: VersionInfo,
    pub ports: Vec<PortRow>,
    pub vifs: Vec<VifRow>,
    pub port_rates: Vec<RateRow>,
    pub vif_rates: Vec<RateRow>,
    pub workers: Vec<WorkerRow>,
    pub drops: Vec<DropRow>,
    pub sessions: Vec<BgpRow>,
    pub tunnels: Vec<TunnelRow>,
}

/// What is seen, or why nothing is.
pub(super) type Answer = Result<Seen, String>;

/// The thread that asks.
pub(super) struct Poller {
    pub answers: Receiver<Answer>,
    wanted: Arc<Mutex<Wanted>>,
    wake: Sender<()>,
}

impl Poller {
    /// Starts to ask. The thread ends with the program.
    ///
    /// # Errors
    /// The system's, where there is no thread left.
    pub(super) fn start(
        socket: PathBuf,
        delay: Duration,
        wanted: Wanted,
    ) -> std::io::Result<Poller> {
        let (sender, answers) = unbounded();
        let (wake, woken) = bounded(1);
        let wanted = Arc::new(Mutex::new(wanted));
        let now_wanted = wanted.clone();
        let work = move || {
            let mut sessions: Option<(Instant, Vec<BgpRow>)> = None;
            loop {
                let wanted = *now_wanted.lock().unwrap_or_else(PoisonError::into_inner);
                let seen = ask(&socket, wanted, &mut sessions);
                if sender.send(seen.map_err(|failure| failure.to_string())).is_err() {
                    return;
                }
                if woken.recv_timeout(delay) == Err(RecvTimeoutError::Disconnected) {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("poll".into()).spawn(work)?;
        Ok(Poller { answers, wanted, wake })
    }

    /// The screen needs something else now: the station is asked at once.
    pub(super) fn want(&self, wanted: Wanted) {
        let mut known = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut *known, wanted) != wanted {
            // Where it is full the thread is about to ask anyway.
            let _ = self.wake.try_send(());
        }
    }
}

fn ask(
    socket: &Path,
    wanted: Wanted,
    sessions: &mut Option<(Instant, Vec<BgpRow>)>,
) -> Result<Seen, Failure> {
    let rates = |of| Request::ShowRates(RateFilter { of, l1: true });
    let version: Vec<VersionInfo> = all(socket, &Request::Version)?;
    let Some(version) = version.into_iter().next() else {
        return Err(Failure::Unreachable("the station does not say who it is".to_owned()));
    };
    if sessions.as_ref().is_none_or(|(asked, _)| asked.elapsed() >= BGP_EVERY) {
        // Without the routing daemon there is all else.
        let rows = all(socket, &Request::ShowBgp { vif: None }).unwrap_or_default();
        *sessions = Some((Instant::now(), rows));
    }
    let drops = match wanted.drops {
        true => all(socket, &Request::ShowDrops(DropFilter { vif: None, port: None, last: 1 }))?,
        false => Vec::new(),
    };
    let tunnels = match wanted.tunnels {
        true => all(socket, &Request::ShowTunnels)?,
        false => Vec::new(),
    };
    Ok(Seen {
        version,
        tunnels,
        ports: all(socket, &Request::ShowPorts)?,
        vifs: all(socket, &Request::ShowVifs)?,
        port_rates: all(socket, &rates(RateScope::Ports))?,
        vif_rates: all(socket, &rates(RateScope::Vifs))?,
        workers: all(socket, &Request::ShowWorkers)?,
        drops,
        sessions: sessions.as_ref().map(|(_, rows)| rows.clone()).unwrap_or_default(),
        at: Instant::now(),
    })
}
