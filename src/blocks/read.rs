//! The spans of a period, one after the other in the order of time: from the files, and those that are not written yet.
//! In memory are where the blocks are, and one span.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::Path;

use super::store::{self, Damage, Place};
use super::{Kept, Names};
use crate::disk::Disk;

/// What is not to be read from the files.
#[derive(Clone, Debug)]
pub struct Unwritten<K> {
    /// The file that is being written, as its month, and how many octets of it count.
    pub file: Option<(String, u64)>,
    /// Spans that are not in it yet, and the open one, which is the last.
    pub blocks: Vec<K>,
}

impl<K> Default for Unwritten<K> {
    fn default() -> Unwritten<K> {
        Unwritten { file: None, blocks: Vec::new() }
    }
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item<K> {
    /// A span, all its parts together.
    Whole(K),
    /// Octets that are no block. The number is that of the span that may have been there.
    Damaged(u32, Damage),
}

/// A period that is being read.
#[derive(Debug)]
pub struct Series<K: Kept, D: Disk> {
    disk: D,
    files: Vec<(String, D::File)>,
    /// The blocks of the period by their spans, with the number of their file; the next is the last.
    places: Vec<(u32, usize, Place)>,
    /// Damage by the span that may have been there; the next is the last.
    damage: Vec<(u32, Damage)>,
    unwritten: BTreeMap<u32, K>,
    names: Names,
}

impl<K: Kept, D: Disk> Series<K, D> {
    /// Finds the blocks of the spans that begin in a period, in seconds since 1970.
    ///
    /// # Errors
    /// The file system's.
    pub fn open(
        disk: D,
        directory: &Path,
        period: &Range<u64>,
        unwritten: Unwritten<K>,
    ) -> io::Result<Series<K, D>> {
        let within = |span: u32| period.contains(&(u64::from(span) * K::SPAN_S));
        let (first, last) = (store::month(period.start), store::month(period.end));
        let mut files: Vec<(String, D::File)> = Vec::new();
        let (mut places, mut damage) = (Vec::new(), Vec::new());
        for month in store::months::<K, D>(&disk, directory)? {
            if month < first || month > last {
                continue;
            }
            let name = store::name_of::<K>(&month);
            let file = match disk.open(&directory.join(&name)) {
                // It has just become too old.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened?,
            };
            let mut length = disk.length(&file)?;
            if let Some((_, octets)) = unwritten.file.as_ref().filter(|(open, _)| *open == month) {
                length = length.min(*octets);
            }
            let found = store::look_through::<K, D>(&disk, &file, length)?;
            let torn = (found.end < length).then_some(found.end..length);
            for octets in found.damaged.into_iter().chain(torn) {
                let before = found.blocks.iter().take_while(|place| place.at < octets.start).last();
                let after = found.blocks.first().map(|place| place.head.span.saturating_sub(1));
                let span = before.map(|place| place.head.span.saturating_add(1)).or(after);
                if span.is_none_or(within) {
                    let damaged = Damage { file: name.clone(), octets, cut: false };
                    damage.push((span.unwrap_or_default(), damaged));
                }
            }
            let blocks = found.blocks.into_iter().filter(|place| within(place.head.span));
            places.extend(blocks.map(|place| (place.head.span, files.len(), place)));
            files.push((name, file));
        }
        let mut blocks = BTreeMap::new();
        for block in unwritten.blocks.into_iter().filter(|block| within(block.span())) {
            add(&mut blocks, block);
        }
        places.sort_by_key(|(span, ..)| *span);
        places.reverse();
        damage.sort_by_key(|(span, _)| *span);
        damage.reverse();
        Ok(Series { disk, files, places, damage, unwritten: blocks, names: Names::default() })
    }

    /// How many spans there are, at most.
    pub fn at_most(&self) -> usize {
        self.places.len() + self.unwritten.len()
    }

    /// The next span, or what is damaged there.
    ///
    /// # Errors
    /// The file system's.
    pub fn read(&mut self) -> io::Result<Option<Item<K>>> {
        let written = self.places.last().map(|(span, ..)| *span);
        let unwritten = self.unwritten.keys().next().copied();
        let span = written.into_iter().chain(unwritten).min();
        if let Some((at, _)) = self.damage.last()
            && span.is_none_or(|span| *at <= span)
        {
            return Ok(self.damage.pop().map(|(span, damage)| Item::Damaged(span, damage)));
        }
        let Some(span) = span else { return Ok(None) };
        let mut whole = BTreeMap::new();
        while let Some((_, file, place)) = self.places.pop_if(|(next, ..)| *next == span) {
            let (name, file) = &self.files[file];
            let octets = place.read(&self.disk, file)?;
            let decoded = octets.and_then(|octets| K::decode(span, &octets, &mut self.names));
            match decoded {
                Some(block) => add(&mut whole, block),
                None => {
                    let octets = place.at..place.end();
                    let damage = Damage { file: name.clone(), octets, cut: false };
                    self.damage.push((span, damage));
                }
            }
        }
        if let Some(block) = self.unwritten.remove(&span) {
            add(&mut whole, block);
        }
        match whole.pop_first() {
            Some((_, block)) => Ok(Some(Item::Whole(block))),
            // What is damaged here comes next.
            None => self.read(),
        }
    }
}

fn add<K: Kept>(blocks: &mut BTreeMap<u32, K>, block: K) {
    match blocks.get_mut(&block.span()) {
        Some(known) => known.join(block),
        None => drop(blocks.insert(block.span(), block)),
    }
}
