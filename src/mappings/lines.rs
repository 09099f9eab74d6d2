//! A controller's lines become batches: what is wrong with a line is said at its batch's end.

use std::collections::HashMap;
use std::sync::Arc;

use ipnet::IpNet;

use super::intake::Refused;
use super::line::{self, Line};
use super::plan::{Batch, Change};
use super::{Hop, Hops, MAX_BATCH};

/// Refused lines that an answer names.
pub(super) const NAMED: usize = 16;

/// The lines of a connection. It asks nobody: the batch before may be on its way to the engine meanwhile.
#[derive(Default)]
pub struct Lines {
    /// Lines so far.
    count: u64,
    batch: Batch,
    vrfs: HashMap<Arc<str>, u32>,
    hops: HashMap<Hops, u32>,
    wrong: Wrong,
}

/// What is wrong with the lines of a batch.
#[derive(Default)]
pub(super) struct Wrong {
    /// The first of them.
    pub first: Vec<Refused>,
    /// How many there are.
    pub lines: u64,
}

impl Wrong {
    pub fn push(&mut self, line: u64, message: String) {
        self.lines += 1;
        if self.first.len() < NAMED {
            self.first.push(Refused { line, message });
        }
    }
}

/// A batch with the mark that ends it: what an answer is for.
pub struct Marked {
    /// The number of the mark's line.
    pub(super) line: u64,
    pub(super) mark: Mark,
    pub(super) batch: Batch,
    pub(super) wrong: Wrong,
}

impl Marked {
    /// No line waited for the mark.
    pub(super) fn is_empty(&self) -> bool {
        self.batch.changes.is_empty() && self.wrong.lines == 0
    }
}

/// What ends a batch.
pub(super) enum Mark {
    /// A sync of this generation begins.
    Begin(u64),
    /// The batch is to hold; the position that it brings the source to.
    Commit(Option<u64>),
    /// And the sync of this generation has named all.
    End(u64, Option<u64>),
}

impl Lines {
    /// Takes the next line, without its newline; the batch, where it ends one.
    pub fn take(&mut self, text: &[u8]) -> Option<Marked> {
        self.count += 1;
        let noted = match line::read(text) {
            Ok(Line::Add(add)) => add
                .prefix()
                .and_then(|prefix| Ok((prefix, add.hops()?)))
                .and_then(|(prefix, hops)| self.note(&add.vrf, prefix, Some(hops))),
            Ok(Line::Del(del)) => del.prefix().and_then(|prefix| self.note(&del.vrf, prefix, None)),
            Ok(Line::Begin(mark)) => return Some(self.end(Mark::Begin(mark.generation))),
            Ok(Line::Commit(commit)) => return Some(self.end(Mark::Commit(commit.position))),
            Ok(Line::End(end)) => return Some(self.end(Mark::End(end.generation, end.position))),
            Err(message) => Err(message),
        };
        if let Err(message) = noted {
            // So is the batch.
            self.wrong.push(self.count, message);
        }
        None
    }

    fn end(&mut self, mark: Mark) -> Marked {
        self.vrfs.clear();
        self.hops.clear();
        let mut batch = std::mem::take(&mut self.batch);
        batch.settle();
        Marked { line: self.count, mark, batch, wrong: std::mem::take(&mut self.wrong) }
    }

    fn note(&mut self, vrf: &str, prefix: IpNet, hops: Option<Vec<Hop>>) -> Result<(), String> {
        if self.batch.changes.len() >= MAX_BATCH {
            return Err(format!(
                "the batch has more than {MAX_BATCH} changes; write a commit after each {MAX_BATCH}"
            ));
        }
        let batch = &mut self.batch;
        let number = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        let vrf = match self.vrfs.get(vrf) {
            Some(vrf) => *vrf,
            None => {
                let (name, id): (Arc<str>, _) = (vrf.into(), number(batch.vrfs.len()));
                batch.vrfs.push(name.clone());
                *self.vrfs.entry(name).or_insert(id)
            }
        };
        let to = hops.map(|hops| {
            let hops = Hops::from(hops);
            *self.hops.entry(hops).or_insert_with_key(|hops| {
                batch.hops.push(hops.clone());
                number(batch.hops.len() - 1)
            })
        });
        batch.changes.push(Change { line: self.count, vrf, prefix, to });
        Ok(())
    }
}
