//! The mirror's thread: receives, and hands what it has to the control thread.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, TryRecvError, unbounded};
use rustix::event::{EventfdFlags, eventfd};
use tracing::warn;

use super::{Follower, NetlinkKernel, Options, Plan, Statuses, Timing, Update};
use crate::netlink;

/// What comes within this time of news is told together: to take up each route of a burst by itself costs
/// more than the route.
const GATHER: Duration = Duration::from_millis(1);

/// The control thread's end of the mirror.
pub struct Mirror {
    plans: Sender<Plan>,
    waker: Arc<OwnedFd>,
    status: Statuses,
}

impl Mirror {
    /// Follows these tables from now on.
    pub fn follow(&self, plan: Plan) {
        drop(self.plans.send(plan));
        // It fails only where the counter is full: then the thread is awake already.
        let _ = rustix::io::write(&*self.waker, &1_u64.to_ne_bytes());
    }

    /// What the mirror went through.
    pub fn status(&self) -> super::Status {
        self.status.read()
    }
}

/// Starts the thread, in the network namespace of the thread that calls. It ends when the mirror is dropped, or the updates' receiver.
///
/// # Errors
/// The system's.
pub fn spawn(options: Options, timing: Timing, updates: Sender<Update>) -> io::Result<Mirror> {
    let (plans, theirs) = unbounded();
    let waker = Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?);
    let status = Statuses::default();
    let kernel = NetlinkKernel::new(options)?;
    let follower = Follower::new(kernel, timing, status.clone());
    let their_waker = waker.clone();
    let body = move || run(follower, &theirs, &their_waker, &updates);
    std::thread::Builder::new().name("mirror".into()).spawn(body)?;
    Ok(Mirror { plans, waker, status })
}

fn run(
    mut follower: Follower<NetlinkKernel>,
    plans: &Receiver<Plan>,
    waker: &OwnedFd,
    updates: &Sender<Update>,
) {
    let mut out = Vec::new();
    loop {
        match plans.try_recv() {
            Ok(plan) => follower.set_plan(plan, Instant::now()),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return,
        }
        let until = follower.turn(Instant::now(), &mut out);
        let told = !out.is_empty();
        for update in out.drain(..) {
            if updates.send(update).is_err() {
                return;
            }
        }
        let wait = until.saturating_duration_since(Instant::now());
        if wait.is_zero() {
            continue;
        }
        if told {
            std::thread::sleep(GATHER);
        }
        let [routes, others, links] = follower.kernel().descriptors();
        if let Err(error) = netlink::wait(&[routes, others, links, waker.as_raw_fd()], wait) {
            warn!(%error, "netlink");
            std::thread::sleep(Duration::from_millis(100));
        }
        let _ = rustix::io::read(waker, &mut [0; 8]);
    }
}
