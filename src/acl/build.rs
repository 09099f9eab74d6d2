//! From rules to a [`Classifier`]: to tables where they are small enough, else to bit vectors. The same rules make the
//! same one, whoever compiles them.

use std::collections::HashMap;
use std::ops::Range;

use super::TABLES;
use super::asked::Asked;
use super::cells::{Cells, Line, Lots};
use super::classes::Map;
use super::classifier::{Classifier, Rest, Tries};
use super::rule::{Family, Rule};
use super::tables::{CELL, Group, Groups, Tables};
use super::trie::{Prefixes, Trie};
use super::vectors::{Field, Vectors};
use crate::cpu::eights::{Halves, Words};

/// Too large for the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLarge;

/// What a list's tables may still take while they are made.
pub(super) struct Limits {
    /// Steps, most of them of a few instructions: its time.
    steps: usize,
    /// Cells: its memory.
    cells: usize,
}

impl Limits {
    const NEW: Limits = Limits { steps: 64 << 20, cells: 4 << 20 };

    /// Takes steps.
    pub fn take(&mut self, steps: usize) -> Result<(), TooLarge> {
        self.steps = self.steps.checked_sub(steps).ok_or(TooLarge)?;
        Ok(())
    }

    /// Takes cells.
    pub fn take_cells(&mut self, cells: usize) -> Result<(), TooLarge> {
        self.cells = self.cells.checked_sub(cells).ok_or(TooLarge)?;
        Ok(())
    }
}

/// A rule, and the classes of addresses that it covers.
struct Rectangle {
    rule: u16,
    source: Range<usize>,
    destination: Range<usize>,
}

/// The prefixes of one family that rules name, and the rules that are about it.
struct Sides {
    rules: Vec<Rectangle>,
    sources: Prefixes,
    destinations: Prefixes,
}

impl Sides {
    fn new(rules: &[Rule], family: Family) -> Sides {
        let of_family = || {
            let is = |rule: &Rule| rule.only_family().is_none_or(|only| only == family);
            (0u16..).zip(rules).filter(move |(_, rule)| is(rule))
        };
        let sources = Prefixes::new(of_family().filter_map(|(_, rule)| rule.source), family);
        let destinations =
            Prefixes::new(of_family().filter_map(|(_, rule)| rule.destination), family);
        let rectangle = |(number, rule): (u16, &Rule)| Rectangle {
            rule: number,
            source: sources.within(rule.source),
            destination: destinations.within(rule.destination),
        };
        let rules = of_family().map(rectangle).collect();
        Sides { rules, sources, destinations }
    }

    fn tries(&self) -> Tries {
        Tries { source: Trie::new(&self.sources), destination: Trie::new(&self.destinations) }
    }
}

/// Compiles rules.
pub(super) fn compile(rules: &[Rule]) -> Classifier {
    compile_by(rules, Limits::NEW)
}

/// The same to bit vectors, whether or not tables would do.
#[cfg(test)]
pub(super) fn compile_vectors(rules: &[Rule]) -> Classifier {
    compile_by(rules, Limits { steps: 0, cells: 0 })
}

#[expect(clippy::cast_possible_truncation, reason = "a list has 10,000 rules at most")]
fn compile_by(rules: &[Rule], limits: Limits) -> Classifier {
    let asked = Asked::new(rules);
    let sides = [Family::V4, Family::V6].map(|family| Sides::new(rules, family));
    let none = rules.len() as u16;
    let (rest, factors) = match tables(none, &asked, &sides, limits) {
        Ok(tables) => {
            let kinds = asked.kinds.count();
            (Rest::Tables(Box::new(tables)), [kinds, asked.first.count() * kinds])
        }
        Err(TooLarge) => (Rest::Vectors(Box::new(vectors(rules, &asked, &sides))), [1, 1]),
    };
    let [v4, v6] = sides.map(|sides| sides.tries());
    Classifier {
        rules: none,
        v4,
        v6,
        first: Map::new(&asked.first, factors[0]),
        second: Map::new(&asked.second, factors[1]),
        kinds: asked.kinds.table(),
        rest,
    }
}

fn tables(
    none: u16,
    asked: &Asked,
    sides: &[Sides; 2],
    mut limits: Limits,
) -> Result<Tables, TooLarge> {
    let columns = asked.columns(&mut limits)?;
    let mut lots = Lots::new(asked, &columns, none);
    let [v4, v6] = sides;
    let (v4, v6) = (groups(v4, &mut lots, &mut limits)?, groups(v6, &mut lots, &mut limits)?);
    let Lots { low, shapes, blocks, rules, .. } = lots;
    let tables = Tables {
        v4,
        v6,
        low,
        shapes: Words::new(shapes),
        blocks: Halves::new(blocks),
        rules: Halves::new(rules),
        none: none.into(),
        columns: Words::new(columns.of),
    };
    if tables.bytes() > TABLES { Err(TooLarge) } else { Ok(tables) }
}

/// Classes of which so many are all the same whether they are told apart.
const FEW: usize = 16;
/// A prefix is wide that has more than one of so many classes of addresses.
const WIDE: usize = 64;

fn is_wide(range: &Range<usize>, all: usize) -> bool {
    all <= FEW || range.len() > FEW.max(all / WIDE)
}

fn groups(sides: &Sides, lots: &mut Lots<'_>, limits: &mut Limits) -> Result<Groups, TooLarge> {
    let all = [sides.sources.classes(), sides.destinations.classes()];
    let mut groups = Vec::new();
    for wide in [[true, true], [true, false], [false, true], [false, false]] {
        let is = |rule: &&Rectangle| {
            [is_wide(&rule.source, all[0]), is_wide(&rule.destination, all[1])] == wide
        };
        let rules: Vec<&Rectangle> = sides.rules.iter().filter(is).collect();
        if !rules.is_empty() {
            groups.push(group(&rules, all, lots, limits)?);
        }
    }
    Ok(groups.into())
}

/// The table of some rules: a line for each set of rules that sources tell apart, in it a cell for each interval of
/// destinations that some of them have.
fn group(
    rules: &[&Rectangle],
    [sources, destinations]: [usize; 2],
    lots: &mut Lots<'_>,
    limits: &mut Limits,
) -> Result<Group, TooLarge> {
    // Destinations that no rule of these tells apart have one place.
    let mut places = vec![0u32; destinations];
    for rule in rules {
        for end in [rule.destination.start, rule.destination.end] {
            if let Some(begins) = places.get_mut(end) {
                *begins = CELL;
            }
        }
    }
    places[0] = 0;
    for at in 1..destinations {
        places[at] += places[at - 1];
    }
    let mut lines: Vec<Line> = vec![Line::new()];
    let mut known: HashMap<Vec<u16>, usize> = HashMap::from([(Vec::new(), 0)]);
    let mut line_of = vec![0; sources];
    let by_rule: HashMap<u16, &Rectangle> = rules.iter().map(|rule| (rule.rule, *rule)).collect();
    sweep(rules.iter().map(|rule| (rule.source.clone(), rule.rule)), |range, of| {
        limits.take(of.len() + range.len())?;
        let line = match known.get(of) {
            Some(line) => *line,
            None => {
                let mut line = Line::new();
                let ranges = of.iter().map(|rule| (by_rule[rule].destination.clone(), *rule));
                sweep(ranges, |range, of| {
                    limits.take(of.len())?;
                    let lot = lots.lot(of, limits)?;
                    let (first, last) = (places[range.start], places[range.end - 1]);
                    limits.take_cells(((last - first) / CELL) as usize + 1)?;
                    line.extend((first..=last).step_by(CELL as usize).map(|at| (at / CELL, lot)));
                    Ok(())
                })?;
                lines.push(line);
                known.insert(of.to_vec(), lines.len() - 1);
                lines.len() - 1
            }
        };
        line_of[range].fill(line);
        Ok(())
    })?;
    // The longest lines first, which find room least easily.
    let mut order: Vec<usize> = (0..lines.len()).collect();
    order.sort_by_key(|&line| std::cmp::Reverse(lines[line].len()));
    let mut cells = Cells::new();
    let mut begins = vec![Cells::EMPTY; lines.len()];
    for line in order {
        begins[line] = cells.put(&lines[line]);
    }
    Ok(Group {
        lines: Words::new(line_of.into_iter().map(|line| begins[line]).collect()),
        places: Words::new(places),
        cells: cells.finish(),
    })
}

/// Goes over intervals that begin and end where ranges do: each that some ranges have, and their rules in their order.
fn sweep(
    ranges: impl Iterator<Item = (Range<usize>, u16)>,
    mut each: impl FnMut(Range<usize>, &[u16]) -> Result<(), TooLarge>,
) -> Result<(), TooLarge> {
    let mut ends: Vec<(usize, bool, u16)> = Vec::new();
    for (range, rule) in ranges.filter(|(range, _)| !range.is_empty()) {
        ends.extend([(range.start, true, rule), (range.end, false, rule)]);
    }
    ends.sort_unstable();
    let mut open: Vec<u16> = Vec::new();
    let mut at = 0;
    for here in ends.chunk_by(|a, b| a.0 == b.0) {
        let end = here[0].0;
        if !open.is_empty() {
            each(at..end, &open)?;
        }
        for &(_, begins, rule) in here {
            match (begins, open.binary_search(&rule)) {
                (true, Err(place)) => open.insert(place, rule),
                (false, Ok(place)) => drop(open.remove(place)),
                // A rule has one range.
                _ => {}
            }
        }
        at = end;
    }
    Ok(())
}

fn vectors(rules: &[Rule], asked: &Asked, sides: &[Sides; 2]) -> Vectors {
    let count = rules.len();
    let addresses = sides.each_ref().map(|Sides { rules, sources, destinations }| {
        let mut fields = [sources, destinations].map(|of| Field::new(count, of.classes()));
        for Rectangle { rule, source, destination } in rules {
            for (field, classes) in fields.iter_mut().zip([source, destination]) {
                classes.clone().for_each(|class| field.set(count, class, (*rule).into()));
            }
        }
        fields
    });
    let classes = [asked.first.count(), asked.second.count(), asked.kinds.count()];
    let mut upper = classes.map(|classes| Field::new(count, classes));
    let [first, second, kinds] = &mut upper;
    for (rule, &at) in asked.of.iter().enumerate() {
        let beyond = &asked.all[at];
        asked.first.of(beyond.first).for_each(|class| first.set(count, class, rule));
        asked.second.of(beyond.second).for_each(|class| second.set(count, class, rule));
        let admitted = asked.kinds.admitted(beyond).into_iter().enumerate();
        admitted.filter(|(_, is)| *is).for_each(|(class, _)| kinds.set(count, class, rule));
    }
    Vectors::new(u16::try_from(count).unwrap_or(u16::MAX), addresses, upper)
}
