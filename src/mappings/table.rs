//! The mappings of a VRF: of a prefix only the number of its next hops is kept, for many prefixes have the same.

use std::collections::HashMap;

use ipnet::IpNet;

use super::Hops;
use crate::prefixes::PrefixMap;

/// Mappings, with something beside each prefix (`P`) and something beside the next hops that prefixes share (`S`).
#[derive(Clone, Debug)]
pub struct Table<P, S> {
    prefixes: PrefixMap<(u32, P)>,
    sets: Vec<Option<Set<S>>>,
    ids: HashMap<Hops, u32>,
    free: Vec<u32>,
    /// Next hops of all sets.
    hops: usize,
}

/// Next hops that prefixes share.
#[derive(Clone, Debug)]
pub struct Set<S> {
    /// The next hops.
    pub hops: Hops,
    /// What is beside them.
    pub of: S,
    prefixes: usize,
}

impl<S> Set<S> {
    /// How many prefixes have it.
    pub fn prefixes(&self) -> usize {
        self.prefixes
    }
}

impl<P, S> Default for Table<P, S> {
    fn default() -> Self {
        Table {
            prefixes: PrefixMap::default(),
            sets: Vec::new(),
            ids: HashMap::new(),
            free: Vec::new(),
            hops: 0,
        }
    }
}

impl<P: Copy, S> Table<P, S> {
    /// The number of a prefix's next hops, and what is beside it.
    pub fn get(&self, prefix: IpNet) -> Option<(u32, P)> {
        self.prefixes.get(prefix)
    }

    /// The number of next hops that some prefix has.
    pub fn id(&self, hops: &Hops) -> Option<u32> {
        self.ids.get(hops).copied()
    }

    /// Next hops by their number.
    pub fn set(&self, id: u32) -> Option<&Set<S>> {
        self.sets.get(id as usize)?.as_ref()
    }

    /// The same, to change what is beside them.
    pub fn of_mut(&mut self, id: u32) -> Option<&mut S> {
        self.sets.get_mut(id as usize)?.as_mut().map(|set| &mut set.of)
    }

    /// What is beside all next hops, to change it.
    pub fn all_mut(&mut self) -> impl Iterator<Item = &mut S> {
        self.sets.iter_mut().flatten().map(|set| &mut set.of)
    }

    /// All next hops, each with its number.
    pub fn sets(&self) -> impl Iterator<Item = (u32, &Set<S>)> {
        (0..).zip(&self.sets).filter_map(|(id, set)| Some((id, set.as_ref()?)))
    }

    /// The number of next hops, which get one where they have none; `of` is what is beside them then.
    pub fn adopt(&mut self, hops: &Hops, of: S) -> u32 {
        if let Some(id) = self.id(hops) {
            return id;
        }
        self.hops += hops.len();
        let set = Some(Set { hops: hops.clone(), of, prefixes: 0 });
        let id = match self.free.pop() {
            Some(id) => {
                self.sets[id as usize] = set;
                id
            }
            None => {
                self.sets.push(set);
                u32::try_from(self.sets.len() - 1).unwrap_or(u32::MAX)
            }
        };
        self.ids.insert(hops.clone(), id);
        id
    }

    /// Gives a prefix the next hops of a number, or none; the number of those that it had, which may be for
    /// [`Table::drop_unused`] then.
    pub fn put(&mut self, prefix: IpNet, value: Option<(u32, P)>) -> Option<u32> {
        if let Some(Some(set)) = value.and_then(|(id, _)| self.sets.get_mut(id as usize)) {
            set.prefixes += 1;
        }
        let (old, _) = self.prefixes.set(prefix, value)?;
        if let Some(Some(set)) = self.sets.get_mut(old as usize) {
            set.prefixes -= 1;
        }
        Some(old)
    }

    /// Takes next hops that no prefix has out; what was beside them.
    pub fn drop_unused(&mut self, id: u32) -> Option<S> {
        let slot = self.sets.get_mut(id as usize)?;
        let set = slot.take_if(|set| set.prefixes == 0)?;
        self.hops -= set.hops.len();
        self.ids.remove(&set.hops);
        self.free.push(id);
        Some(set.of)
    }

    /// The prefixes.
    pub fn prefixes(&self) -> &PrefixMap<(u32, P)> {
        &self.prefixes
    }

    /// How many prefixes there are.
    pub fn len(&self) -> usize {
        self.prefixes.len(false) + self.prefixes.len(true)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Next hops of all sets: what they take of memory.
    pub fn hops(&self) -> usize {
        self.hops
    }
}
