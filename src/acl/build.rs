//! From rules to a [`Classifier`]: to tables where they are small enough, else to bit vectors. The same rules make the
//! same one, whoever compiles them.

use std::collections::HashMap;
use std::ops::Range;

use ipnet::IpNet;

use super::TABLES;
use super::classes::{Cuts, Kinds, Map};
use super::classifier::{
    BLOCK, Classifier, Destination, PairTables, Rest, Source, Tables, Tries, Vectors,
};
use super::rows::{Columns, EMPTY, Rows, TooLarge, by_block};
use super::rule::{Beyond, Family, Rule};
use super::trie::{Key, Prefix, Prefixes, Trie};

/// The most cells of a table while it is made.
const CELLS: usize = 16 << 20;
/// The most cells that are painted for a list: its time.
const PAINTED: usize = 64 << 20;

/// The prefixes of one family that rules name, and the rules that are about it.
struct Sides<K> {
    rules: Vec<Rectangle>,
    sources: Prefixes<K>,
    destinations: Prefixes<K>,
}

/// A rule, and the numbers of the prefixes that it covers.
struct Rectangle {
    rule: u16,
    source: Range<usize>,
    destination: Range<usize>,
}

/// The bits of a prefix of a family; none where it is the other's.
trait Bits: Key {
    fn of(net: IpNet) -> Option<Prefix<Self>>;
}

impl Bits for u32 {
    fn of(net: IpNet) -> Option<Prefix<u32>> {
        match net {
            IpNet::V4(net) => Some((net.network().to_bits(), net.prefix_len())),
            IpNet::V6(_) => None,
        }
    }
}

impl Bits for u128 {
    fn of(net: IpNet) -> Option<Prefix<u128>> {
        match net {
            IpNet::V6(net) => Some((net.network().to_bits(), net.prefix_len())),
            IpNet::V4(_) => None,
        }
    }
}

impl<K: Bits> Sides<K> {
    fn new(rules: &[Rule], family: Family) -> Sides<K> {
        let of_family = || {
            let is = |rule: &Rule| rule.only_family().is_none_or(|only| only == family);
            (0u16..).zip(rules).filter(move |(_, rule)| is(rule))
        };
        let of = |net: Option<IpNet>| net.and_then(K::of);
        let sources = Prefixes::new(of_family().filter_map(|(_, rule)| of(rule.source)));
        let destinations = Prefixes::new(of_family().filter_map(|(_, rule)| of(rule.destination)));
        let rectangle = |(number, rule): (u16, &Rule)| Rectangle {
            rule: number,
            source: sources.within(of(rule.source)),
            destination: destinations.within(of(rule.destination)),
        };
        let rules = of_family().map(rectangle).collect();
        Sides { rules, sources, destinations }
    }

    fn tries(&self) -> Tries<K> {
        Tries { source: Trie::new(&self.sources), destination: Trie::new(&self.destinations) }
    }
}

/// What rules ask for besides addresses.
struct Asked {
    /// Without duplicates.
    all: Vec<Beyond>,
    /// That of each rule, by its place in `all`.
    of: Vec<usize>,
    first: Cuts,
    second: Cuts,
    kinds: Kinds,
}

impl Asked {
    fn new(rules: &[Rule]) -> Asked {
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

    /// The cells of a box of intervals and kinds, in runs of one first and second interval.
    fn cells(&self, asked: &Beyond, each: &mut impl FnMut(usize)) {
        let kinds = self.kinds.admitted(asked);
        let kinds: Vec<usize> = (0..kinds.len()).filter(|&kind| kinds[kind]).collect();
        let second = self.second.of(asked.second);
        for first in self.first.of(asked.first) {
            for second in second.clone() {
                let at = (first * self.second.count() + second) * self.kinds.count();
                kinds.iter().for_each(|kind| each(at + kind));
            }
        }
    }

    /// How many cells that box has at most.
    fn size(&self, asked: &Beyond) -> usize {
        let (first, second) = (self.first.of(asked.first), self.second.of(asked.second));
        first.len() * second.len() * self.kinds.count()
    }

    /// The column of each cell, and for each of `all` the columns that admit it.
    fn columns(&self) -> Result<(Vec<u32>, Vec<Columns>, usize), TooLarge> {
        let count = self.first.count() * self.second.count() * self.kinds.count();
        let painted: usize = self.all.iter().map(|asked| self.size(asked)).sum();
        if count > CELLS / 4 || painted > PAINTED {
            return Err(TooLarge);
        }
        let mut cells = vec![0u32; count];
        let mut made = 1;
        for asked in &self.all {
            let mut split: HashMap<u32, u32> = HashMap::new();
            let mut last = (u32::MAX, 0);
            self.cells(asked, &mut |at| {
                let old = cells[at];
                if last.0 != old {
                    let new = *split.entry(old).or_insert_with(|| {
                        made += 1;
                        made - 1
                    });
                    last = (old, new);
                }
                cells[at] = last.1;
            });
        }
        // Many have no cell any more.
        let mut dense = vec![u32::MAX; made as usize];
        let mut count = 0;
        let mut cell_of = Vec::new();
        for (at, cell) in cells.iter_mut().enumerate() {
            let column = &mut dense[*cell as usize];
            if *column == u32::MAX {
                *column = count;
                count += 1;
                cell_of.push(at);
            }
            *cell = *column;
        }
        let mut is_first = vec![false; cells.len()];
        cell_of.iter().for_each(|&at| is_first[at] = true);
        let mut admitted = Vec::with_capacity(self.all.len());
        for asked in &self.all {
            let mut columns = Vec::new();
            self.cells(asked, &mut |at| {
                if is_first[at] {
                    columns.push(cells[at]);
                }
            });
            admitted.push(by_block(columns));
        }
        Ok((cells, admitted, count as usize))
    }
}

/// Compiles rules.
pub(super) fn compile(rules: &[Rule]) -> Classifier {
    compile_by(rules, tables)
}

/// The same to bit vectors, whether or not tables would do.
#[cfg(test)]
pub(super) fn compile_vectors(rules: &[Rule]) -> Classifier {
    compile_by(rules, |_, _, _, _| Err(TooLarge))
}

fn compile_by(
    rules: &[Rule],
    tables: impl Fn(usize, &Asked, &Sides<u32>, &Sides<u128>) -> Result<Tables, TooLarge>,
) -> Classifier {
    let asked = Asked::new(rules);
    let (v4, v6) = (Sides::<u32>::new(rules, Family::V4), Sides::<u128>::new(rules, Family::V6));
    let (rest, factors) = match tables(rules.len(), &asked, &v4, &v6) {
        Ok(tables) => {
            let kinds = asked.kinds.count();
            (Rest::Tables(Box::new(tables)), [asked.second.count() * kinds, kinds])
        }
        Err(TooLarge) => (Rest::Vectors(Box::new(vectors(rules, &asked, &v4, &v6))), [1, 1]),
    };
    Classifier {
        rules: rules.len(),
        v4: v4.tries(),
        v6: v6.tries(),
        first: Map::new(&asked.first, factors[0]),
        second: Map::new(&asked.second, factors[1]),
        kinds: asked.kinds,
        rest,
    }
}

fn tables(
    rules: usize,
    asked: &Asked,
    v4: &Sides<u32>,
    v6: &Sides<u128>,
) -> Result<Tables, TooLarge> {
    let (columns, admitted, width) = asked.columns()?;
    let none = u16::try_from(rules).map_err(|_| TooLarge)?;
    let mut rows = Rows::new(width, none);
    let mut painted = PAINTED;
    let cells4 = Cells::paint(v4, asked, &admitted, &mut rows, &mut painted)?;
    let cells6 = Cells::paint(v6, asked, &admitted, &mut rows, &mut painted)?;
    let packed = rows.pack();
    let tables = Tables {
        v4: cells4.finish(&packed.at),
        v6: cells6.finish(&packed.at),
        columns: columns.into(),
        rows: packed.rows.into(),
        firsts: packed.blocks.into(),
    };
    if tables.bytes() > TABLES { Err(TooLarge) } else { Ok(tables) }
}

/// The cells of one family: of each source prefix, of each destination prefix, and of pairs in blocks.
struct Cells {
    sources: Vec<u32>,
    destinations: Vec<u32>,
    /// For each source the block of each sixteen destinations.
    index: Vec<u32>,
    /// Blocks for each source.
    per_source: usize,
    pairs: Vec<u32>,
}

impl Cells {
    fn paint<K: Bits>(
        sides: &Sides<K>,
        asked: &Asked,
        admitted: &[Columns],
        rows: &mut Rows,
        painted: &mut usize,
    ) -> Result<Cells, TooLarge> {
        let (sources, destinations) = (sides.sources.numbers(), sides.destinations.numbers());
        let per_source = destinations.div_ceil(BLOCK);
        if sources * per_source > CELLS / 2 {
            return Err(TooLarge);
        }
        let mut cells = Cells {
            sources: rows.cells(sources),
            destinations: rows.cells(destinations),
            index: vec![0; sources * per_source],
            per_source,
            pairs: rows.cells(BLOCK),
        };
        for Rectangle { rule, source, destination } in &sides.rules {
            let columns = &admitted[asked.of[usize::from(*rule)]];
            let (all_sources, all_destinations) =
                (source.len() == sources, destination.len() == destinations);
            let size = match (all_sources, all_destinations) {
                (_, true) => source.len(),
                (true, false) => destination.len(),
                (false, false) => source.len() * destination.len().next_multiple_of(BLOCK),
            };
            *painted = painted.checked_sub(size + columns.len()).ok_or(TooLarge)?;
            if all_destinations {
                rows.paint(&mut cells.sources, std::slice::from_ref(source), *rule, columns)?;
            } else if all_sources {
                rows.paint(
                    &mut cells.destinations,
                    std::slice::from_ref(destination),
                    *rule,
                    columns,
                )?;
            } else {
                let parts = cells.open(source, destination)?;
                rows.paint(&mut cells.pairs, &parts, *rule, columns)?;
            }
        }
        Ok(cells)
    }

    /// The cells of a rectangle of pairs, in blocks that are made where there are none.
    #[expect(clippy::cast_possible_truncation, reason = "cells are limited")]
    fn open(
        &mut self,
        source: &Range<usize>,
        destination: &Range<usize>,
    ) -> Result<Vec<Range<usize>>, TooLarge> {
        let mut parts = Vec::new();
        for source in source.clone() {
            for block in destination.start / BLOCK..destination.end.div_ceil(BLOCK) {
                let at = &mut self.index[source * self.per_source + block];
                if *at == 0 {
                    if self.pairs.len() >= CELLS {
                        return Err(TooLarge);
                    }
                    *at = (self.pairs.len() / BLOCK) as u32;
                    self.pairs.resize(self.pairs.len() + BLOCK, EMPTY);
                }
                let start = *at as usize * BLOCK;
                let from = destination.start.saturating_sub(block * BLOCK);
                let to = (destination.end - block * BLOCK).min(BLOCK);
                parts.push(start + from..start + to);
            }
        }
        Ok(parts)
    }

    /// The tables, with rows where they are in memory; equal blocks and sources shared.
    #[expect(clippy::cast_possible_truncation, reason = "cells are limited")]
    fn finish(self, at: &[u32]) -> PairTables {
        let row = |cell: &u32| at[*cell as usize];
        let mut known: HashMap<[u32; BLOCK], u32> = HashMap::new();
        let mut blocks: Vec<[u32; BLOCK]> = Vec::new();
        let mut packed = Vec::with_capacity(self.pairs.len() / BLOCK);
        for block in self.pairs.as_chunks::<BLOCK>().0 {
            let block: [u32; BLOCK] = std::array::from_fn(|i| row(&block[i]));
            packed.push(*known.entry(block).or_insert_with(|| {
                blocks.push(block);
                blocks.len() as u32 - 1
            }));
        }
        let mut known: HashMap<Vec<u32>, u32> = HashMap::new();
        let mut index = Vec::new();
        let sources = self.sources.iter().zip(self.index.chunks_exact(self.per_source));
        let sources = sources.map(|(cell, line)| {
            let line: Vec<u32> = line.iter().map(|&block| packed[block as usize]).collect();
            let blocks = *known.entry(line).or_insert_with_key(|line| {
                index.extend_from_slice(line);
                (index.len() - line.len()) as u32
            });
            Source { row: row(cell), blocks }
        });
        let sources = sources.collect();
        let destinations =
            (0..).zip(&self.destinations).map(|(pair, cell)| Destination { row: row(cell), pair });
        PairTables {
            sources,
            destinations: destinations.collect(),
            index: index.into(),
            blocks: blocks.into(),
        }
    }
}

fn vectors(rules: &[Rule], asked: &Asked, v4: &Sides<u32>, v6: &Sides<u128>) -> Vectors {
    let words = rules.len().div_ceil(64);
    let set = |vectors: &mut [u64], class: usize, rule: usize| {
        vectors[class * words + rule / 64] |= 1 << (rule % 64);
    };
    let addresses = |rectangles: &[Rectangle], numbers: [usize; 2]| {
        let [mut sources, mut destinations] = numbers.map(|count| vec![0; count * words]);
        for Rectangle { rule, source, destination } in rectangles {
            source.clone().for_each(|class| set(&mut sources, class, (*rule).into()));
            destination.clone().for_each(|class| set(&mut destinations, class, (*rule).into()));
        }
        [sources.into(), destinations.into()]
    };
    let mut first = vec![0; asked.first.count() * words];
    let mut second = vec![0; asked.second.count() * words];
    let mut kinds = vec![0; asked.kinds.count() * words];
    for (rule, &at) in asked.of.iter().enumerate() {
        let beyond = &asked.all[at];
        asked.first.of(beyond.first).for_each(|class| set(&mut first, class, rule));
        asked.second.of(beyond.second).for_each(|class| set(&mut second, class, rule));
        let admitted = asked.kinds.admitted(beyond).into_iter().enumerate();
        admitted.filter(|(_, is)| *is).for_each(|(class, _)| set(&mut kinds, class, rule));
    }
    Vectors {
        words,
        addresses: [
            addresses(&v4.rules, [v4.sources.numbers(), v4.destinations.numbers()]),
            addresses(&v6.rules, [v6.sources.numbers(), v6.destinations.numbers()]),
        ],
        first: first.into(),
        second: second.into(),
        kinds: kinds.into(),
    }
}
