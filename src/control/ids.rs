//! Hands out the dense ids of the tables. A thing keeps its id for as long as it is wanted, and an
//! id that fell free is given to another only after every worker has stopped using it.

use std::collections::HashMap;
use std::hash::Hash;

/// Ids of things known by a key (a name, an egress, a group's members), with reference counts.
///
/// An id goes live -> unwanted -> retired -> free: [`Ids::release`] makes it unwanted (asking for
/// the same key revives it), [`Ids::sweep`] retires it once nothing in the FIB leads to it, and
/// [`Ids::recycle`] frees it once every worker has passed a snapshot that does not need it.
#[derive(Clone, Debug)]
pub(super) struct Ids<K> {
    slots: Vec<Slot<K>>,
    by_key: HashMap<K, u32>,
    unwanted: Vec<u32>,
    retired: Vec<u32>,
    free: Vec<u32>,
    end: usize,
}

#[derive(Clone, Debug)]
struct Slot<K> {
    key: Option<K>,
    refs: u32,
}

impl<K: Clone + Eq + Hash> Ids<K> {
    /// Ids from `first` up to, not including, `end`.
    pub fn new(first: usize, end: usize) -> Self {
        Ids {
            slots: std::iter::repeat_n(Slot { key: None, refs: 0 }, first).collect(),
            by_key: HashMap::new(),
            unwanted: Vec::new(),
            retired: Vec::new(),
            free: Vec::new(),
            end,
        }
    }

    /// The id of `key`, wanted once more, and whether nobody had wanted it until now. `None` if all
    /// ids are in use.
    pub fn want(&mut self, key: K) -> Option<(u32, bool)> {
        if let Some(&id) = self.by_key.get(&key) {
            let slot = &mut self.slots[id as usize];
            slot.refs += 1;
            return Some((id, slot.refs == 1));
        }
        let slot = Slot { key: Some(key.clone()), refs: 1 };
        let id = match self.free.pop() {
            Some(id) => {
                self.slots[id as usize] = slot;
                id
            }
            None if self.slots.len() < self.end => {
                let id = u32::try_from(self.slots.len()).ok()?;
                self.slots.push(slot);
                id
            }
            None => return None,
        };
        self.by_key.insert(key, id);
        Some((id, true))
    }

    /// One user less. True if that was the last one.
    pub fn release(&mut self, id: u32) -> bool {
        let Some(slot) = self.slots.get_mut(id as usize).filter(|slot| slot.refs > 0) else {
            return false;
        };
        slot.refs -= 1;
        let last = slot.refs == 0;
        if last {
            self.unwanted.push(id);
        }
        last
    }

    /// Nobody wants anything: the state in which a new configuration is counted.
    pub fn release_all(&mut self) {
        self.unwanted.clear();
        for (id, slot) in (0..).zip(&mut self.slots) {
            if slot.key.is_some() {
                slot.refs = 0;
                self.unwanted.push(id);
            }
        }
    }

    /// Retires what nobody wants any more and returns its ids.
    pub fn sweep(&mut self) -> Vec<(u32, K)> {
        let mut swept = Vec::new();
        for id in std::mem::take(&mut self.unwanted) {
            let slot = &mut self.slots[id as usize];
            if slot.refs == 0
                && let Some(key) = slot.key.take()
            {
                self.by_key.remove(&key);
                self.retired.push(id);
                swept.push((id, key));
            }
        }
        swept
    }

    /// Retired ids may be given out again. The caller has waited for every worker.
    pub fn recycle(&mut self) {
        self.free.append(&mut self.retired);
    }

    /// Takes in what `later`, a successor of `self`, has in addition; wanted is what either wants.
    pub fn join(&mut self, mut later: Ids<K>) {
        for (slot, old) in later.slots.iter_mut().zip(&self.slots) {
            slot.refs += old.refs;
        }
        *self = later;
    }

    /// Whether something waits for [`Ids::sweep`].
    pub fn has_unwanted(&self) -> bool {
        self.unwanted.iter().any(|&id| self.slots[id as usize].refs == 0)
    }

    /// The id of a key that has one.
    pub fn get<Q>(&self, key: &Q) -> Option<u32>
    where
        K: std::borrow::Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.by_key.get(key).copied()
    }

    /// Whether somebody wants this key.
    pub fn is_wanted(&self, key: &K) -> bool {
        self.by_key.get(key).is_some_and(|&id| self.slots[id as usize].refs > 0)
    }

    /// The key of an id that is not free, wanted or not.
    pub fn key(&self, id: u32) -> Option<&K> {
        self.slots.get(id as usize)?.key.as_ref()
    }

    /// Ids and keys of what is wanted, in the order of ids.
    pub fn wanted(&self) -> impl Iterator<Item = (u32, &K)> {
        (0..).zip(&self.slots).filter(|(_, slot)| slot.refs > 0).filter_map(|(id, slot)| {
            let key = slot.key.as_ref()?;
            Some((id, key))
        })
    }

    /// One more than the highest id that there can be.
    pub fn end(&self) -> usize {
        self.end
    }

    /// How many ids mean something now.
    pub fn in_use(&self) -> usize {
        self.by_key.len()
    }

    /// One more than the highest id ever given out.
    pub fn len(&self) -> usize {
        self.slots.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_free_only_after_recycle() {
        let mut ids = Ids::new(1, 3);
        assert_eq!(ids.want("a"), Some((1, true)));
        assert_eq!(ids.want("a"), Some((1, false)));
        assert_eq!(ids.want("b"), Some((2, true)));
        assert_eq!(ids.want("c"), None, "all ids are in use");
        assert!(!ids.release(1));
        assert!(ids.release(1));
        assert_eq!(ids.want("c"), None, "unwanted, yet in use by workers");
        assert_eq!(ids.sweep(), [(1, "a")]);
        assert_eq!(ids.want("c"), None, "retired, yet perhaps in use by workers");
        ids.recycle();
        assert_eq!(ids.want("c"), Some((1, true)));
        assert_eq!(ids.key(1), Some(&"c"));
    }

    #[test]
    fn an_unwanted_key_is_revived_under_its_id() {
        let mut ids = Ids::new(0, 9);
        ids.want("a");
        ids.want("b");
        ids.release_all();
        assert!(ids.has_unwanted());
        assert_eq!(ids.want("b"), Some((1, true)));
        assert_eq!(ids.wanted().collect::<Vec<_>>(), [(1, &"b")]);
        assert_eq!(ids.sweep(), [(0, "a")]);
        assert!(!ids.has_unwanted());
        assert_eq!(ids.get("a"), None);
    }

    #[test]
    fn joined_ids_are_wanted_as_often_as_by_both() {
        let mut ids = Ids::new(0, 9);
        ids.want("a");
        let mut later = ids.clone();
        later.release_all();
        later.want("b");
        ids.join(later);
        assert_eq!(ids.wanted().collect::<Vec<_>>(), [(0, &"a"), (1, &"b")]);
        assert!(!ids.has_unwanted());
        assert_eq!(ids.want("c"), Some((2, true)), "no id means two things");
    }

    #[test]
    fn releasing_too_often_is_harmless() {
        let mut ids = Ids::new(0, 9);
        ids.want("a");
        assert!(ids.release(0));
        assert!(!ids.release(0));
        assert!(!ids.release(7));
        assert_eq!(ids.sweep().len(), 1);
    }
}
