//! Rows of first rules, and cells that lead to them: rules are painted over rectangles of cells, the first rule first,
//! and cells that come to behave alike share a row. A row is made of blocks of columns, which rows share in turn.

use std::collections::HashMap;
use std::ops::Range;

/// Too large for the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLarge;

/// The most octets of rows and of blocks while they are made.
const LIMIT: usize = 128 << 20;

/// Columns of a block.
pub(super) const COLUMNS: usize = 32;

/// The first rule of each column of a block.
pub(super) type Block = [u16; COLUMNS];

/// All rows, and the blocks that they are made of. Blocks do not change once they are made, but for those of a row that
/// all cells leave at once.
#[derive(Debug)]
pub(super) struct Rows {
    /// Blocks of a row.
    width: usize,
    rows: Vec<u32>,
    blocks: Vec<Block>,
    /// How many cells lead to each row.
    cells: Vec<u32>,
    /// What stands where no rule matches.
    none: u16,
}

/// The row without a rule.
pub(super) const EMPTY: u32 = 0;

/// The columns of a rule by block: the block's place in a row, and a bit for each of its columns.
pub(super) type Columns = Vec<(u32, u32)>;

/// Columns, in any order, by block.
#[expect(clippy::cast_possible_truncation, reason = "cells are limited")]
pub(super) fn by_block(mut columns: Vec<u32>) -> Columns {
    columns.sort_unstable();
    let mut blocks: Columns = Vec::new();
    for column in columns {
        let (block, bit) = (column / COLUMNS as u32, 1 << (column % COLUMNS as u32));
        match blocks.last_mut() {
            Some((same, bits)) if *same == block => *bits |= bit,
            _ => blocks.push((block, bit)),
        }
    }
    blocks
}

impl Rows {
    /// The empty row, of so many columns.
    pub fn new(columns: usize, none: u16) -> Rows {
        let width = columns.div_ceil(COLUMNS);
        let blocks = vec![[none; COLUMNS]];
        // So many cells lead there that it is never painted itself.
        Rows { width, rows: vec![0; width], blocks, cells: vec![u32::MAX], none }
    }

    /// New cells that lead to the empty row.
    pub fn cells(&self, count: usize) -> Vec<u32> {
        vec![EMPTY; count]
    }

    /// A rule matches in some columns of the rows of some cells, behind all rules before it.
    #[expect(clippy::cast_possible_truncation, reason = "rows are limited")]
    pub fn paint(
        &mut self,
        cells: &mut [u32],
        parts: &[Range<usize>],
        rule: u16,
        columns: &Columns,
    ) -> Result<(), TooLarge> {
        let mut leave: HashMap<u32, u32> = HashMap::new();
        for part in parts {
            for same in cells[part.clone()].chunk_by(|a, b| a == b) {
                *leave.entry(same[0]).or_default() += same.len() as u32;
            }
        }
        let mut leave: Vec<(u32, u32)> = leave.into_iter().collect();
        leave.sort_unstable();
        // What becomes of each block, which many rows may share.
        let mut painted: HashMap<(u32, u32), u32> = HashMap::new();
        let mut next: HashMap<u32, u32> = HashMap::new();
        for (row, count) in leave {
            let start = row as usize * self.width;
            let mut changes = Vec::new();
            for &(place, bits) in columns {
                let old = self.rows[start + place as usize];
                let new = match painted.get(&(place, old)) {
                    Some(new) => *new,
                    None => {
                        let new = self.painted(old, bits, rule)?;
                        painted.insert((place, old), new);
                        new
                    }
                };
                if new != old {
                    changes.push((place as usize, new));
                }
            }
            if changes.is_empty() {
                continue;
            }
            let mut to = row;
            if self.cells[row as usize] != count {
                if (self.rows.len() + self.width) * 4 > LIMIT {
                    return Err(TooLarge);
                }
                to = self.cells.len() as u32;
                self.rows.extend_from_within(start..start + self.width);
                self.cells.push(count);
                if row != EMPTY {
                    self.cells[row as usize] -= count;
                }
            }
            let start = to as usize * self.width;
            changes.into_iter().for_each(|(place, new)| self.rows[start + place] = new);
            next.insert(row, to);
        }
        for part in parts {
            for same in cells[part.clone()].chunk_by_mut(|a, b| a == b) {
                if let Some(to) = next.get(&same[0]) {
                    same.fill(*to);
                }
            }
        }
        Ok(())
    }

    /// A block with a rule in those columns that have none; the same where all have one.
    #[expect(clippy::cast_possible_truncation, reason = "blocks are limited")]
    fn painted(&mut self, block: u32, bits: u32, rule: u16) -> Result<u32, TooLarge> {
        let mut new = self.blocks[block as usize];
        for (column, first) in new.iter_mut().enumerate() {
            if bits >> column & 1 == 1 && *first == self.none {
                *first = rule;
            }
        }
        if new == self.blocks[block as usize] {
            return Ok(block);
        }
        if self.blocks.len() * size_of::<Block>() > LIMIT {
            return Err(TooLarge);
        }
        self.blocks.push(new);
        Ok(self.blocks.len() as u32 - 1)
    }

    /// The rows and blocks without duplicates and what nothing leads to, and where each old row is.
    #[expect(clippy::cast_possible_truncation, reason = "rows are limited")]
    pub fn pack(self) -> Packed {
        let mut packed = Packed { rows: Vec::new(), blocks: Vec::new(), at: Vec::new() };
        let (mut blocks, mut rows) = (HashMap::new(), HashMap::new());
        for (row, &cells) in self.rows.chunks_exact(self.width).zip(&self.cells) {
            if cells == 0 {
                packed.at.push(0);
                continue;
            }
            let block = |old: &u32| {
                let block = self.blocks[*old as usize];
                *blocks.entry(block).or_insert_with(|| {
                    packed.blocks.push(block);
                    packed.blocks.len() as u32 - 1
                })
            };
            let row: Vec<u32> = row.iter().map(block).collect();
            let at = *rows.entry(row).or_insert_with_key(|row| {
                packed.rows.extend_from_slice(row);
                (packed.rows.len() - row.len()) as u32
            });
            packed.at.push(at);
        }
        packed
    }
}

/// Rows as they are looked up.
pub(super) struct Packed {
    /// The blocks of each row.
    pub rows: Vec<u32>,
    pub blocks: Vec<Block>,
    /// Where each old row begins in `rows`.
    pub at: Vec<u32>,
}
