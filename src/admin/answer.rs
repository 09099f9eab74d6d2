//! The admin protocol's answers: what the control thread gives, and the lines that become of it.

use serde::{Deserialize, Serialize};

use crate::admin::protocol::{ErrorKind, Refusal, VERSION};
use crate::admin::rows::{Outcome, Row};
use crate::mappings::{self, Marked};

/// What the control thread answers. Rows are made and written by the connection's own thread, so a
/// slow client costs the control thread nothing.
pub enum Answer {
    /// Rows, as many as the iterator gives. It must own what it reads.
    Rows(Box<dyn Iterator<Item = Row> + Send>),
    /// One result.
    Result(Outcome),
    /// One result, and what the connection's own thread does once the client has it.
    Last(Outcome, Box<dyn FnOnce() + Send>),
    /// No.
    Refused(Refusal),
    /// Rows as they happen: the function gives those of a short while; it is told whether the client has enough.
    Stream(Box<dyn FnMut(bool) -> Piece + Send>),
    /// Lines of the client as long as it sends any, each batch of them to the function. The row is written at once.
    Intake(Row, Take),
    /// What the connection's own thread finds out.
    Later(Box<dyn FnOnce() -> Answer + Send>),
}

/// What a batch of a client comes to: an answer, or why the connection ends.
pub type Take = Box<dyn FnMut(Marked) -> Result<mappings::Answer, String> + Send>;

/// What happened in a short while.
pub struct Piece {
    /// Rows; often none.
    pub rows: Vec<Row>,
    /// The answer ends with these.
    pub last: bool,
}

impl Answer {
    /// An answer of rows.
    pub fn rows<I>(rows: I) -> Self
    where
        I: IntoIterator<Item: Into<Row> + 'static>,
        I::IntoIter: Send + 'static,
    {
        Answer::Rows(Box::new(rows.into_iter().map(Into::into)))
    }

    /// An answer of one result.
    pub fn result(result: impl Into<Outcome>) -> Self {
        Answer::Result(result.into())
    }

    /// An answer that others are asked for: the control thread does not wait for them.
    pub fn later(find_out: impl FnOnce() -> Answer + Send + 'static) -> Self {
        Answer::Later(Box::new(find_out))
    }

    /// A refusal.
    pub fn refused(kind: ErrorKind, message: impl Into<String>) -> Self {
        Answer::Refused(Refusal::new(kind, message))
    }
}

/// One line of an answer; `R` is the type of its rows or result.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound(deserialize = "R: Deserialize<'de>"))]
pub struct Line<R> {
    /// The protocol's version.
    pub v: u64,
    /// Rows.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<R>,
    /// A result.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub result: Option<R>,
    /// A refusal, which ends the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Refusal>,
    /// The answer ends here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub end: bool,
}

fn none<T>() -> Option<T> {
    None
}

impl<R> Line<R> {
    /// A line with nothing in it yet.
    pub fn empty() -> Self {
        Line { v: VERSION, rows: Vec::new(), result: None, error: None, end: false }
    }

    /// The line that refuses.
    pub fn refused(refusal: Refusal) -> Self {
        Line { error: Some(refusal), ..Line::empty() }
    }
}
