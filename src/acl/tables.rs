//! The tables of a list: the first rule for classes of addresses and of what stands behind the IP header.

use crate::cpu::eights::{Eights, Halves, Words};

/// Numbers of a cell: the line that has it, and what that line has there: the shape of its rules, and where they begin.
pub(super) const CELL: u32 = 3;

/// Some rules by addresses: a line for source classes that these rules do not tell apart, a place in it for destination
/// classes. Lines overlap: each cell says whose it is, and there are no rules where it is another's.
#[derive(Debug)]
pub(super) struct Group {
    /// Where the line of each source class begins among the cells.
    pub lines: Words,
    /// How far behind that the cell of each destination class is.
    pub places: Words,
    pub cells: Words,
}

/// All rules of a family, each in one group. Wide and narrow prefixes are kept apart, for each end: what crosses then is
/// either few or small.
pub(super) type Groups = Box<[Group]>;

/// Tables.
#[derive(Debug)]
pub(super) struct Tables {
    pub v4: Groups,
    pub v6: Groups,
    /// The column of each second word, first word and kind: what admits the same rules has one.
    pub columns: Words,
    /// The bits of a column's place in its block.
    pub low: u32,
    /// The block of each shape's columns. A shape is what some rules ask for, in their order.
    pub shapes: Words,
    /// The place of the first rule that admits each column of a block, among those of its shape.
    pub blocks: Halves,
    /// Rules in their order, behind each lot the number of none.
    pub rules: Halves,
    /// The number of none.
    pub none: u32,
}

impl Tables {
    /// The first rules of eight packets. Each loop is one of loads that depend on each other; groups do not.
    #[inline(always)]
    pub fn first<E: Eights>(
        &self,
        e: E,
        groups: &[Group],
        source: E::V,
        destination: E::V,
        cell: E::V,
    ) -> E::V {
        let column = e.words(&self.columns, cell);
        let (block, low) = (e.right(column, self.low), e.and(column, e.splat((1 << self.low) - 1)));
        let mut first = e.splat(self.none);
        for group in groups {
            let line = e.words(&group.lines, source);
            let at = e.add(line, e.words(&group.places, destination));
            let is = e.equal(e.words(&group.cells, at), line);
            let shape = e.and(is, e.words(&group.cells, e.add(at, e.splat(1))));
            let rules = e.and(is, e.words(&group.cells, e.add(at, e.splat(2))));
            let block = e.words(&self.shapes, e.add(shape, block));
            let rule = e.add(rules, e.halves(&self.blocks, e.add(block, low)));
            first = e.least(first, e.halves(&self.rules, rule));
        }
        first
    }

    /// Octets.
    pub fn bytes(&self) -> usize {
        let groups = self.v4.iter().chain(&*self.v6);
        let groups =
            groups.map(|group| group.lines.bytes() + group.places.bytes() + group.cells.bytes());
        groups.sum::<usize>()
            + self.columns.bytes()
            + self.shapes.bytes()
            + self.blocks.bytes()
            + self.rules.bytes()
    }
}
