//! A controller's connection: batches brought to the engine as a whole or not at all, an answer for each.

use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::lines::{Mark, Marked};
use super::{Book, SourceRow, Tables};
use crate::events::{Event, Spaced};

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

/// A controller's connection.
pub struct Intake<T> {
    pub(super) shared: Arc<Shared>,
    pub(super) tables: T,
    pub(super) source: Arc<str>,
    pub(super) session: u64,
    pub(super) clock: fn() -> u64,
    /// The number of the line that ends the batch.
    pub(super) line: u64,
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
        let intake = Intake { shared, tables, source, session, clock, line: 0 };
        Ok((intake, row))
    }

    /// Takes a batch and its mark; the answer.
    ///
    /// # Errors
    /// Why the connection ends.
    pub fn take(&mut self, marked: Marked) -> Result<Answer, String> {
        self.line = marked.line;
        match marked.mark {
            Mark::Begin(generation) => self.begin(generation, marked),
            Mark::Commit(position) => self.commit(marked, position, None),
            Mark::End(generation, position) => self.commit(marked, position, Some(generation)),
        }
    }

    fn begin(&mut self, generation: u64, mut marked: Marked) -> Result<Answer, String> {
        let begun = match marked.is_empty() {
            true => self.shared.book_mut().begin(&self.source, generation),
            false => Err("begin: lines wait for a commit; write that first".to_owned()),
        };
        match begun {
            Ok(()) => {
                let (line, position) = (self.line, self.position());
                Ok(Answer { line, applied: true, position, ..Answer::default() })
            }
            Err(message) => {
                marked.wrong.push(self.line, message);
                self.commit(marked, None, None)
            }
        }
    }

    fn position(&self) -> Option<u64> {
        self.shared.book().row(&self.source).and_then(|row| row.position)
    }

    /// Ends a batch, and a sync where it is its last.
    fn commit(
        &mut self,
        Marked { batch, wrong, .. }: Marked,
        position: Option<u64>,
        end: Option<u64>,
    ) -> Result<Answer, String> {
        let shared = self.shared.clone();
        let writing = shared.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let refused_lines = wrong.lines;
        let done = if refused_lines > 0 {
            Err(No::Lines(wrong.first))
        } else {
            self.bring(&batch, position, end)
        };
        drop(writing);
        let (refused, is_limit) = match done {
            Ok(answer) => return Ok(Answer { position: self.position(), ..answer }),
            Err(No::Over) => {
                let source = &self.source;
                return Err(format!("another connection speaks for source {source:?} now"));
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
        let (line, position) = (self.line, self.position());
        Ok(Answer { line, position, refused, refused_lines, ..Answer::default() })
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
