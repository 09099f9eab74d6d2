//! A controller's connection: lines in, batches brought to the engine as a whole or not at all, an answer for each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::line::{self, Line};
use super::plan::{Batch, Change};
use super::{Book, Hop, Hops, MAX_BATCH, SourceRow, Tables};
use crate::events::{Event, Spaced};

/// Refused lines that an answer names.
pub(super) const NAMED: usize = 16;
/// Between two events that something is too much, at least.
const APART: Duration = Duration::from_secs(1);

/// What all connections share. No lock of it is ever taken by the control thread.
pub struct Shared {
    book: RwLock<Book>,
    /// Held from a batch's check until it holds: one at a time.
    writing: Mutex<()>,
    /// Refusals of what is too much: a controller in a loop is told of once in a while.
    limits: Mutex<Spaced>,
    pub(super) report: Box<dyn Fn(Event) + Send + Sync>,
}

impl Shared {
    /// A book to be shared, and where events go.
    pub fn new(book: Book, report: impl Fn(Event) + Send + Sync + 'static) -> Arc<Shared> {
        Arc::new(Shared {
            book: RwLock::new(book),
            writing: Mutex::default(),
            limits: Mutex::default(),
            report: Box::new(report),
        })
    }

    /// What holds.
    pub fn book(&self) -> RwLockReadGuard<'_, Book> {
        self.book.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn book_mut(&self) -> RwLockWriteGuard<'_, Book> {
        self.book.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A line of a batch that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Its number, from 1 for the first behind the request.
    pub line: u64,
    /// What is wrong with it, and what to write instead.
    pub message: String,
}

/// The answer to a `begin`, a `commit` or an `end`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The number of its line, from 1 for the first behind the request.
    pub line: u64,
    /// It was done. Else nothing of the batch was.
    pub applied: bool,
    /// The position that the source's last commit named.
    pub position: Option<u64>,
    /// Mappings that are new.
    pub added: u64,
    /// Mappings that lead elsewhere.
    pub changed: u64,
    /// Mappings that were deleted.
    pub deleted: u64,
    /// Lines that changed nothing.
    pub unchanged: u64,
    /// Mappings that the sync did not name, and that are gone with its end.
    pub swept: u64,
    /// Lines that are wrong, or not in their place; the first 16.
    #[serde(default)]
    pub refused: Vec<Refused>,
    /// How many there are.
    pub refused_lines: u64,
}

/// What a line comes to.
pub enum Taken {
    /// It waits for the end of its batch.
    Nothing,
    /// The answer.
    Answer(Answer),
    /// The connection ends: why.
    Over(String),
}

/// A controller's connection.
pub struct Intake<T> {
    pub(super) shared: Arc<Shared>,
    pub(super) tables: T,
    pub(super) source: Arc<str>,
    pub(super) session: u64,
    pub(super) clock: fn() -> u64,
    /// Lines so far.
    pub(super) lines: u64,
    batch: Batch,
    vrfs: HashMap<Arc<str>, u32>,
    hops: HashMap<Hops, u32>,
    wrong: Vec<Refused>,
    wrong_lines: u64,
}

/// Why a batch is refused.
pub(super) enum No {
    Lines(Vec<Refused>),
    Limit(Refused),
    /// Another connection speaks for the source.
    Over,
}

impl<T: Tables> Intake<T> {
    /// A connection that speaks for a source; whoever did before does not any more.
    ///
    /// # Errors
    /// That there are too many sources.
    pub fn open(
        shared: &Arc<Shared>,
        tables: T,
        source: &str,
        clock: fn() -> u64,
    ) -> Result<(Intake<T>, SourceRow), String> {
        let (source, shared): (Arc<str>, _) = (source.into(), Arc::clone(shared));
        // A batch of the connection before ends first.
        let writing = shared.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let session = shared.book_mut().open(&source, clock())?;
        let row = shared.book().row(&source).unwrap_or_default();
        drop(writing);
        let (generation, position, mappings) = (row.generation, row.position, row.mappings);
        (shared.report)(Event::MappingsConnected {
            source: row.source.clone(),
            generation,
            position,
            mappings,
        });
        let intake = Intake {
            shared,
            tables,
            source,
            session,
            clock,
            lines: 0,
            batch: Batch::default(),
            vrfs: HashMap::new(),
            hops: HashMap::new(),
            wrong: Vec::new(),
            wrong_lines: 0,
        };
        Ok((intake, row))
    }

    /// Takes the next line, without its newline.
    pub fn line(&mut self, text: &[u8]) -> Taken {
        self.lines += 1;
        let line = match line::read(text) {
            Ok(line) => line,
            Err(message) => return self.refuse(message),
        };
        let noted = match &line {
            Line::Add(add) => add
                .prefix()
                .and_then(|prefix| Ok((prefix, add.hops()?)))
                .and_then(|(prefix, hops)| self.note(&add.vrf, prefix, Some(hops))),
            Line::Del(del) => del.prefix().and_then(|prefix| self.note(&del.vrf, prefix, None)),
            Line::Begin(mark) => return self.begin(mark.generation),
            Line::Commit(commit) => return self.commit(commit.position, None),
            Line::End(end) => return self.commit(end.position, Some(end.generation)),
        };
        match noted {
            Ok(()) => Taken::Nothing,
            Err(message) => self.refuse(message),
        }
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
        let to = hops.map(|hops| match self.hops.get(&*hops) {
            Some(to) => *to,
            None => {
                let (hops, id): (Hops, _) = (hops.into(), number(batch.hops.len()));
                batch.hops.push(hops.clone());
                *self.hops.entry(hops).or_insert(id)
            }
        });
        batch.changes.push(Change { line: self.lines, vrf, prefix, to });
        Ok(())
    }

    /// The line is wrong: so is the batch, which is told at its end.
    fn refuse(&mut self, message: String) -> Taken {
        self.wrong_lines += 1;
        if self.wrong.len() < NAMED {
            self.wrong.push(Refused { line: self.lines, message });
        }
        Taken::Nothing
    }

    fn begin(&mut self, generation: u64) -> Taken {
        if self.batch.changes.is_empty() && self.wrong.is_empty() {
            let begun = self.shared.book_mut().begin(&self.source, generation);
            match begun {
                Ok(()) => {
                    let position = self.position();
                    return Taken::Answer(Answer {
                        line: self.lines,
                        applied: true,
                        position,
                        ..Answer::default()
                    });
                }
                Err(message) => drop(self.refuse(message)),
            }
        } else {
            drop(self.refuse("begin: lines wait for a commit; write that first".to_owned()));
        }
        self.commit(None, None)
    }

    fn position(&self) -> Option<u64> {
        self.shared.book().row(&self.source).and_then(|row| row.position)
    }

    /// Ends a batch, and a sync where it is its last.
    fn commit(&mut self, position: Option<u64>, end: Option<u64>) -> Taken {
        let mut batch = std::mem::take(&mut self.batch);
        self.vrfs.clear();
        self.hops.clear();
        let (wrong, refused_lines) =
            (std::mem::take(&mut self.wrong), std::mem::take(&mut self.wrong_lines));
        batch.settle();
        let shared = self.shared.clone();
        let writing = shared.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let done = if refused_lines > 0 {
            Err(No::Lines(wrong))
        } else {
            self.bring(&batch, position, end)
        };
        drop(writing);
        let (refused, is_limit) = match done {
            Ok(answer) => return Taken::Answer(Answer { position: self.position(), ..answer }),
            Err(No::Over) => {
                return Taken::Over(format!(
                    "another connection speaks for source {:?} now",
                    self.source
                ));
            }
            Err(No::Lines(refused)) => (refused, false),
            Err(No::Limit(refused)) => (vec![refused], true),
        };
        shared.book_mut().refused(&self.source, is_limit);
        if is_limit {
            let message =
                refused.first().map(|refused| refused.message.clone()).unwrap_or_default();
            let mut limits = shared.limits.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(count) = limits.happened(APART, Instant::now()) {
                let source = self.source.to_string();
                (shared.report)(Event::MappingsLimit { source, reason: message, count });
            }
        }
        let refused_lines = refused_lines.max(refused.len() as u64);
        let (line, position) = (self.lines, self.position());
        Taken::Answer(Answer { line, position, refused, refused_lines, ..Answer::default() })
    }
}

impl<T> Drop for Intake<T> {
    fn drop(&mut self) {
        let mut book = self.shared.book_mut();
        let row = book.row(&self.source).unwrap_or_default();
        let spoke = book.close(&self.source, self.session, (self.clock)());
        drop(book);
        if spoke {
            let (source, syncing, mappings) = (row.source, row.syncing, row.mappings);
            (self.shared.report)(Event::MappingsLost { source, syncing, mappings });
        }
    }
}
