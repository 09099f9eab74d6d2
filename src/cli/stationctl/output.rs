//! How answers are written.

use std::io::{self, Write};

use serde::Serialize;

use super::customer::Subject;

/// Rows that are laid out as one table: a full table of routes is shown in several.
pub(super) const PAGE: usize = 10_000;

/// What people see.
pub(super) trait Show: Sized {
    /// Writes rows, or one result.
    fn show(rows: &[Self], out: &mut impl Write) -> io::Result<()>;

    /// What a row is about; none where that is nobody's in particular.
    fn subject(&self) -> Option<Subject<'_>> {
        None
    }
}

/// Writes rows of a JSON array, a line each; `before` have been written already.
pub(super) fn json_rows<R: Serialize>(
    out: &mut impl Write,
    rows: &[R],
    before: usize,
) -> io::Result<()> {
    for (i, row) in rows.iter().enumerate() {
        out.write_all(if before + i == 0 { b"[\n" } else { b",\n" })?;
        serde_json::to_writer(&mut *out, row)?;
    }
    Ok(())
}

/// Ends a JSON array of `written` rows.
pub(super) fn json_end(out: &mut impl Write, written: usize) -> io::Result<()> {
    out.write_all(if written == 0 { b"[]\n" } else { b"\n]\n" })
}

/// Writes one object.
pub(super) fn json<R: Serialize>(out: &mut impl Write, result: &R) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, result)?;
    out.write_all(b"\n")
}
