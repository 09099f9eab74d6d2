//! A batch on its way to the engine: checked, led in slices, held; and the end of a sync.

use std::sync::Arc;

use super::intake::{Answer, Intake, No, Refused};
use super::lines::NAMED;
use super::plan::{Batch, Change, Plan};
use super::{Move, Tables};
use crate::config::unroutable;
use crate::events::Event;

/// Prefixes that the engine leads elsewhere at once: what the control thread does between two looks at what is urgent, 1
/// to 3 ms.
const SLICE: usize = 512;

impl<T: Tables> Intake<T> {
    /// Has a batch hold, and its sync end where it is the last of one; or changes nothing.
    pub(super) fn bring(
        &mut self,
        batch: &Batch,
        position: Option<u64>,
        end: Option<u64>,
    ) -> Result<Answer, No> {
        let shared = self.shared.clone();
        if !shared.book().speaks(&self.source, self.session) {
            return Err(No::Over);
        }
        let here = |message| No::Lines(vec![Refused { line: self.line, message }]);
        if let Some(generation) = end {
            shared.book().may_end(&self.source, generation).map_err(here)?;
        }
        let plan = shared.book().plan(&self.source, batch).map_err(|(refused, is_limit)| {
            if is_limit { No::Limit(refused) } else { No::Lines(vec![refused]) }
        })?;
        self.check(batch, &plan)?;
        self.lead(batch, &plan)?;
        shared.book_mut().hold(&self.source, batch, position);
        let Plan { added, changed, deleted, unchanged, .. } = plan;
        let mut answer = Answer {
            line: self.line,
            applied: true,
            added,
            changed,
            deleted,
            unchanged,
            ..Answer::default()
        };
        if let Some(generation) = end {
            answer.swept = self.sweep()?;
            let mappings = {
                let mut book = shared.book_mut();
                book.end(&self.source, position, (self.clock)());
                book.row(&self.source).map_or(0, |row| row.mappings)
            };
            let (source, swept) = (self.source.to_string(), answer.swept);
            (shared.report)(Event::MappingsSynced { source, generation, mappings, swept });
        }
        Ok(answer)
    }

    /// Has the engine check what would be new.
    fn check(&mut self, batch: &Batch, plan: &Plan) -> Result<(), No> {
        let mut asked = Vec::new();
        let mut numbers = Vec::new();
        for (vrf, moves) in &plan.moves {
            let mut used: Vec<u32> = moves.iter().filter_map(|change| change.to).collect();
            used.sort_unstable();
            used.dedup();
            if !used.is_empty() {
                asked.push((
                    vrf.clone(),
                    used.iter().filter_map(|to| batch.hops(*to)).cloned().collect(),
                ));
                numbers.push((moves, used));
            }
        }
        if asked.is_empty() {
            return Ok(());
        }
        let names: Vec<Arc<str>> = asked.iter().map(|(vrf, _)| Arc::clone(vrf)).collect();
        let line = self.line;
        let ends = |message| No::Lines(vec![Refused { line, message }]);
        let checked = self.tables.check(asked).map_err(ends)?;
        let mut wrong = Vec::new();
        for ((checked, vrf), (moves, used)) in checked.into_iter().zip(names).zip(numbers) {
            let Some(kind) = checked.kind else {
                let first = moves
                    .iter()
                    .filter(|change| change.to.is_some())
                    .map(|change| change.line)
                    .min();
                let message =
                    format!("vrf: there is no vrf {vrf:?}; write one that `show vrfs` has");
                wrong.push(Refused { line: first.unwrap_or(line), message });
                continue;
            };
            for (at, message) in checked.refused {
                let of = used.get(at);
                let lines = moves
                    .iter()
                    .filter(|change| change.to.as_ref() == of)
                    .map(|change| change.line);
                wrong.push(Refused { line: lines.min().unwrap_or(line), message });
            }
            let added = moves.iter().filter(|change| change.to.is_some());
            wrong.extend(added.filter_map(|change| {
                let why = unroutable(&change.prefix, Some(kind))?;
                Some(Refused { line: change.line, message: format!("prefix: {why}; leave it out") })
            }));
        }
        if wrong.is_empty() {
            return Ok(());
        }
        wrong.sort_by_key(|refused| refused.line);
        wrong.truncate(NAMED);
        Err(No::Lines(wrong))
    }

    /// Brings a batch into the FIB in slices, all of them or none.
    fn lead(&mut self, batch: &Batch, plan: &Plan) -> Result<(), No> {
        let all = plan
            .moves
            .iter()
            .flat_map(|(vrf, moves)| moves.chunks(SLICE).map(move |slice| (vrf, slice)));
        let mut done: Vec<(&Arc<str>, &[Change])> = Vec::new();
        for (vrf, slice) in all {
            let to =
                |change: &Change| (change.prefix, change.to.and_then(|to| batch.hops(to)).cloned());
            let moves: Vec<Move> = slice.iter().map(to).collect();
            if let Err(message) = self.tables.lead(vrf, &moves) {
                for (vrf, slice) in done.into_iter().rev() {
                    let book = self.shared.book();
                    let back =
                        slice.iter().map(|change| (change.prefix, book.hops(vrf, change.prefix)));
                    let back: Vec<Move> = back.collect();
                    drop(book);
                    // What was there has room again.
                    drop(self.tables.lead(vrf, &back));
                }
                let line = slice.iter().map(|change| change.line).max().unwrap_or(self.line);
                return Err(No::Limit(Refused { line, message }));
            }
            done.push((vrf, slice));
        }
        Ok(())
    }

    /// Withdraws what the sync did not name; how much that is.
    fn sweep(&mut self) -> Result<u64, No> {
        let mut swept = 0;
        let unnamed = self.shared.book().unnamed(&self.source);
        for (vrf, moves) in unnamed {
            for slice in moves.chunks(SLICE) {
                let line = self.line;
                let failed = |message| No::Lines(vec![Refused { line, message }]);
                self.tables.lead(&vrf, slice).map_err(failed)?;
                self.shared.book_mut().drop_all(&vrf, slice);
                swept += slice.len() as u64;
            }
        }
        Ok(swept)
    }
}
