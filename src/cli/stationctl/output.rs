//! How answers are written.

use std::io::{self, Write};

use serde::Serialize;

use super::filter::Subject;
use super::table::Look;
use super::units::moment;
use crate::clock::now_ms;

/// Rows that are laid out as one table: a full table of routes is shown in several.
pub(super) const PAGE: usize = 10_000;

/// What people see.
pub(super) trait Show: Sized {
    /// Writes rows, or one result.
    fn show(rows: &[Self], look: &Look, out: &mut impl Write) -> io::Result<()>;

    /// What a row is about; none where that is nobody's in particular.
    fn subject(&self) -> Option<Subject<'_>> {
        None
    }

    /// Its state in a word; none where it has none.
    fn state(&self) -> Option<&str> {
        None
    }
}

/// The version of the form of JSON answers: it grows where a program that reads them would have to change.
const VERSION: u32 = 1;

/// What every JSON answer is in.
#[derive(Serialize)]
struct Envelope<'a, R> {
    version: u32,
    /// When it was written.
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a R>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Error<'a>>,
}

#[derive(Serialize)]
struct Error<'a> {
    kind: &'a str,
    message: &'a str,
}

fn now() -> String {
    moment(now_ms())
}

fn json_begin(out: &mut impl Write) -> io::Result<()> {
    write!(out, "{{\"version\":{VERSION},\"time\":\"{}\",\"rows\":[", now())
}

/// Writes rows in their envelope, a line each; `before` have been written already.
pub(super) fn json_rows<R: Serialize>(
    out: &mut impl Write,
    rows: &[R],
    before: usize,
) -> io::Result<()> {
    for (i, row) in rows.iter().enumerate() {
        if before + i == 0 {
            json_begin(out)?;
        }
        out.write_all(if before + i == 0 { b"\n" } else { b",\n" })?;
        serde_json::to_writer(&mut *out, row)?;
    }
    Ok(())
}

/// Ends an envelope of `written` rows.
pub(super) fn json_end(out: &mut impl Write, written: usize) -> io::Result<()> {
    if written == 0 {
        json_begin(out)?;
        return out.write_all(b"]}\n");
    }
    out.write_all(b"\n]}\n")
}

/// Writes one result in its envelope.
pub(super) fn json<R: Serialize>(out: &mut impl Write, result: &R) -> io::Result<()> {
    let (version, time) = (VERSION, now());
    let answer = Envelope { version, time, result: Some(result), error: None };
    serde_json::to_writer_pretty(&mut *out, &answer)?;
    out.write_all(b"\n")
}

/// An error in its envelope, in a line.
pub(super) fn json_error(kind: &str, message: &str) -> String {
    let (version, time) = (VERSION, now());
    let error = Some(Error { kind, message });
    let answer: Envelope<'_, ()> = Envelope { version, time, result: None, error };
    serde_json::to_string(&answer).unwrap_or_default()
}
