//! What the modules under proof use in place of the station's, and which of their orderings is to be too weak.

use std::collections::VecDeque;
use std::sync::OnceLock;

/// Orderings that a model must find too weak: `publish`, `flat` and `quiesce` of the FIB, the others of `publish`.
pub const WEAKENINGS: [&str; 7] =
    ["publish", "flat", "quiesce", "epoch", "passed", "asleep", "fence"];

/// The one of [`WEAKENINGS`] that this run has.
pub static WEAKENED: OnceLock<String> = OnceLock::new();

/// Whether the orderings at `place` are to be too weak.
pub fn weakened(place: &str) -> bool {
    assert!(WEAKENINGS.contains(&place), "{place} is not in the list");
    WEAKENED.get().is_some_and(|weakened| weakened == place)
}

/// Crossbeam's bounded queue as far as it is used, of what loom can model.
#[derive(Debug)]
pub struct ArrayQueue<T> {
    capacity: usize,
    items: loom::sync::Mutex<VecDeque<T>>,
}

impl<T> ArrayQueue<T> {
    pub fn new(capacity: usize) -> ArrayQueue<T> {
        ArrayQueue { capacity, items: loom::sync::Mutex::new(VecDeque::new()) }
    }

    pub fn push(&self, item: T) -> Result<(), T> {
        let mut items = self.items.lock().unwrap();
        if items.len() == self.capacity {
            return Err(item);
        }
        items.push_back(item);
        Ok(())
    }

    pub fn force_push(&self, item: T) -> Option<T> {
        let mut items = self.items.lock().unwrap();
        let oldest = if items.len() == self.capacity { items.pop_front() } else { None };
        items.push_back(item);
        oldest
    }

    pub fn pop(&self) -> Option<T> {
        self.items.lock().unwrap().pop_front()
    }
}
