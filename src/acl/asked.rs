//! What the rules of a list ask for besides addresses, and the columns of packets for which they are the same.

use std::collections::HashMap;
use std::ops::Range;

use super::build::{Limits, TooLarge};
use super::classes::{Cuts, Kinds};
use super::rule::{Beyond, Rule};

/// What rules ask for besides addresses.
pub(super) struct Asked {
    /// Without duplicates.
    pub all: Vec<Beyond>,
    /// That of each rule, by its place in `all`.
    pub of: Vec<usize>,
    pub first: Cuts,
    pub second: Cuts,
    pub kinds: Kinds,
}

/// Columns: what of packets behind the IP header admits the same of what is asked.
pub(super) struct Columns {
    /// The column of each cell: of second word, first word and kind, in this order.
    pub of: Vec<u32>,
    /// For each of what is asked, the columns that admit it, in runs.
    pub admitting: Vec<Vec<Range<usize>>>,
    pub count: usize,
}

impl Asked {
    pub fn new(rules: &[Rule]) -> Asked {
        let mut known: HashMap<Beyond, usize> = HashMap::new();
        let (mut all, mut of) = (Vec::new(), Vec::with_capacity(rules.len()));
        for rule in rules {
            let beyond = rule.beyond();
            of.push(*known.entry(beyond).or_insert_with(|| {
                all.push(beyond);
                all.len() - 1
            }));
        }
        let first = Cuts::new(all.iter().map(|asked| asked.first));
        let second = Cuts::new(all.iter().map(|asked| asked.second));
        let kinds = Kinds::new(&all);
        Asked { all, of, first, second, kinds }
    }

    /// The cells that admit what is asked, in their order.
    fn cells(&self, asked: &Beyond, mut each: impl FnMut(usize)) {
        let kinds = self.kinds.admitted(asked);
        let kinds: Vec<usize> = (0..kinds.len()).filter(|&kind| kinds[kind]).collect();
        let first = self.first.of(asked.first);
        for second in self.second.of(asked.second) {
            for first in first.clone() {
                let at = (second * self.first.count() + first) * self.kinds.count();
                kinds.iter().for_each(|kind| each(at + kind));
            }
        }
    }

    /// The columns. Those next to each other have the second word in common, or words next to each other.
    ///
    /// # Errors
    /// There are too many cells.
    pub fn columns(&self, limits: &mut Limits) -> Result<Columns, TooLarge> {
        let (first, second) = (self.first.count(), self.second.count());
        limits.take_cells(first * second * self.kinds.count())?;
        for asked in &self.all {
            let (first, second) = (self.first.of(asked.first), self.second.of(asked.second));
            limits.take(first.len() * second.len() * self.kinds.count())?;
        }
        let mut of = vec![0u32; first * second * self.kinds.count()];
        let mut made = 1;
        for asked in &self.all {
            let mut split: HashMap<u32, u32> = HashMap::new();
            let mut last = (u32::MAX, 0);
            self.cells(asked, |at| {
                let old = of[at];
                if last.0 != old {
                    let new = *split.entry(old).or_insert_with(|| {
                        made += 1;
                        made - 1
                    });
                    last = (old, new);
                }
                of[at] = last.1;
            });
        }
        // Many have no cell any more.
        let mut dense = vec![u32::MAX; made as usize];
        let mut firsts = vec![false; of.len()];
        let mut count = 0;
        for (column, is_first) in of.iter_mut().zip(&mut firsts) {
            let of = &mut dense[*column as usize];
            if *of == u32::MAX {
                *of = count;
                count += 1;
                *is_first = true;
            }
            *column = *of;
        }
        let admitting = self.all.iter().map(|asked| {
            let mut runs: Vec<Range<usize>> = Vec::new();
            self.cells(asked, |at| {
                let column = of[at] as usize;
                match runs.last_mut() {
                    _ if !firsts[at] => {}
                    Some(run) if run.end == column => run.end += 1,
                    _ => runs.push(column..column + 1),
                }
            });
            runs
        });
        let admitting = admitting.collect();
        Ok(Columns { of, admitting, count: count as usize })
    }
}
