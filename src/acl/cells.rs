//! Cells of tables while they are made: lots of rules with their shapes, and lines of cells that overlap.

use std::collections::{HashMap, HashSet};

use super::asked::{Asked, Columns};
use super::build::{Limits, TooLarge};
use super::tables::CELL;
use crate::cpu::eights::Words;

/// A lot: the shape of some rules, and where they begin.
pub(super) type Lot = [u32; 2];

/// Lots of rules, each once, and their shapes.
pub(super) struct Lots<'a> {
    asked: &'a Asked,
    columns: &'a Columns,
    none: u16,
    known: HashMap<Vec<u16>, Lot>,
    known_shapes: HashMap<Vec<usize>, u32>,
    known_blocks: HashMap<Vec<u16>, u32>,
    /// See [`super::tables::Tables`], as all that follow.
    pub low: u32,
    pub shapes: Vec<u32>,
    pub blocks: Vec<u16>,
    pub rules: Vec<u16>,
}

impl<'a> Lots<'a> {
    /// The lot without a rule is the first.
    pub fn new(asked: &'a Asked, columns: &'a Columns, none: u16) -> Lots<'a> {
        // Blocks of 16 columns at least, about as many to a shape as columns to a block.
        let low = (columns.count.next_power_of_two().trailing_zeros() / 2).max(4);
        let mut lots = Lots {
            asked,
            columns,
            none,
            known: HashMap::new(),
            known_shapes: HashMap::new(),
            known_blocks: HashMap::new(),
            low,
            shapes: Vec::new(),
            blocks: Vec::new(),
            rules: vec![none],
        };
        lots.shape(Vec::new());
        lots.known.insert(Vec::new(), [0; 2]);
        lots
    }

    /// The lot of these rules, which are in their order.
    #[expect(clippy::cast_possible_truncation, reason = "what is made is limited")]
    pub fn lot(&mut self, of: &[u16], limits: &mut Limits) -> Result<Lot, TooLarge> {
        if let Some(known) = self.known.get(of) {
            return Ok(*known);
        }
        limits.take(of.len())?;
        // What asks for the same as one before it never matches, nor does what is behind one that asks for nothing.
        let (mut asked, mut rules, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
        for rule in of {
            let at = self.asked.of[usize::from(*rule)];
            if seen.insert(at) {
                asked.push(at);
                rules.push(*rule);
            }
            if self.asked.all[at].is_nothing() {
                break;
            }
        }
        let shape = match self.known_shapes.get(&asked) {
            Some(known) => *known,
            None => {
                let runs = asked.iter().map(|&at| self.columns.admitting[at].len());
                limits.take(self.columns.count + runs.sum::<usize>())?;
                self.shape(asked)
            }
        };
        let lot = [shape, self.rules.len() as u32];
        self.rules.extend(rules);
        self.rules.push(self.none);
        self.known.insert(of.to_vec(), lot);
        Ok(lot)
    }

    #[expect(clippy::cast_possible_truncation, reason = "what is made is limited")]
    fn shape(&mut self, asked: Vec<usize>) -> u32 {
        let block = 1 << self.low;
        let none = asked.len() as u16;
        let mut places = vec![none; self.columns.count.next_multiple_of(block)];
        for (place, &at) in (0..none).zip(&asked).rev() {
            self.columns.admitting[at].iter().for_each(|run| places[run.clone()].fill(place));
        }
        let shape = self.shapes.len() as u32;
        for places in places.chunks_exact(block) {
            let known = self.known_blocks.get(places).copied();
            self.shapes.push(known.unwrap_or_else(|| {
                let at = self.blocks.len() as u32;
                self.blocks.extend(places);
                self.known_blocks.insert(places.to_vec(), at);
                at
            }));
        }
        self.known_shapes.insert(asked, shape);
        shape
    }
}

/// The cells of a line: how far behind its beginning each is, and what it has.
pub(super) type Line = Vec<(u32, Lot)>;

/// Lines laid over each other, so that none has a cell where another has one.
pub(super) struct Cells {
    numbers: Vec<u32>,
    /// Whether a line begins at each cell.
    begun: Vec<bool>,
    /// No cell before it is free.
    free: usize,
    /// At each cell before it a line begins.
    open: usize,
}

/// So many places are tried for a line, further and further apart, then it goes behind all others.
const TRIES: usize = 4096;

impl Cells {
    /// None.
    pub fn new() -> Cells {
        Cells { numbers: Vec::new(), begun: Vec::new(), free: 1, open: 1 }
    }

    fn has_begun(&self, cell: usize) -> bool {
        self.begun.get(cell).is_some_and(|begun| *begun)
    }

    fn is_taken(&self, cell: usize) -> bool {
        self.numbers.get(cell * CELL as usize).is_some_and(|owner| *owner != 0)
    }

    /// Where the line of lines without a cell is; others are behind it.
    pub const EMPTY: u32 = 0;

    /// Puts a line where it has room. Its number, by which its cells are known, is where it begins.
    #[expect(clippy::cast_possible_truncation, reason = "cells are limited")]
    pub fn put(&mut self, line: &Line) -> u32 {
        let Some((nearest, _)) = line.first() else { return Cells::EMPTY };
        while self.is_taken(self.free) {
            self.free += 1;
        }
        while self.has_begun(self.open) {
            self.open += 1;
        }
        let from = self.free.saturating_sub(*nearest as usize).max(self.open);
        let fits = |begin: &usize| {
            let mut cells = line.iter().map(|(behind, _)| begin + *behind as usize);
            !self.has_begun(*begin) && cells.all(|cell| !self.is_taken(cell))
        };
        let behind = self.numbers.len() / CELL as usize;
        let behind = behind.saturating_sub(*nearest as usize).max(self.open)..;
        let tries = (0..TRIES).map(|at| from + at + at * at / 128);
        let begin = tries.chain(behind).find(fits).unwrap_or_default();
        self.begun.resize(self.begun.len().max(begin + 1), false);
        self.begun[begin] = true;
        let number = begin as u32 * CELL;
        for &(behind, [shape, rules]) in line {
            let at = (begin + behind as usize) * CELL as usize;
            if self.numbers.len() <= at {
                self.numbers.resize(at + CELL as usize, 0);
            }
            self.numbers[at..at + CELL as usize].copy_from_slice(&[number, shape, rules]);
        }
        number
    }

    /// All cells, and one behind them that no line has.
    pub fn finish(mut self) -> Words {
        self.numbers.extend([0; CELL as usize]);
        Words::new(self.numbers)
    }
}
