//! What other threads have the control thread do: short pieces, one at a time, between which it serves links
//! and peers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam::channel::{Receiver, Sender, bounded};

use super::control_thread::Control;

/// A piece of work for the control thread.
pub(super) type Task = Box<dyn FnOnce(&mut Control) + Send>;

/// Tasks that wait; who has more waits.
const TASKS: usize = 64;

/// Where tasks are left.
#[derive(Clone)]
pub(super) struct Desk(Sender<Task>);

impl Desk {
    /// A desk, and where its tasks appear.
    pub fn new() -> (Desk, Receiver<Task>) {
        let (sender, tasks) = bounded(TASKS);
        (Desk(sender), tasks)
    }

    /// Has the control thread do something and waits for what comes of it; `None` where it has ended.
    pub fn ask<T: Send + 'static>(
        &self,
        task: impl FnOnce(&mut Control) -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = bounded(1);
        // Who asked may have gone.
        self.0.send(Box::new(move |control| drop(reply.send(task(control))))).ok()?;
        answer.recv().ok()
    }
}

/// As long as this lives, neither neighbors nor routes change: they wait, so that a candidate stays true
/// to its base. Links and peers are served.
pub(super) struct Pause {
    held: Arc<AtomicBool>,
    desk: Desk,
}

impl Pause {
    /// Begins a pause. There is one at a time.
    pub fn begin(held: &Arc<AtomicBool>, desk: &Desk) -> Pause {
        held.store(true, Ordering::Relaxed);
        Pause { held: held.clone(), desk: desk.clone() }
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        self.held.store(false, Ordering::Relaxed);
        // The control thread may be asleep: it has to look again. Where its desk is full, it is awake.
        drop(self.desk.0.try_send(Box::new(|_| {})));
    }
}
