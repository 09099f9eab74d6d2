//! What is wrong with a configuration: every problem with its line, its field and what to write
//! instead, for a person at a terminal ([`miette::Diagnostic`]) and for one line of text.

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};

use super::secrets;

/// Problems that are listed; the rest is only counted.
const LISTED: usize = 100;

/// A configuration that is refused as a whole, with all the reasons found.
pub struct ConfigError {
    file: String,
    problems: Vec<Problem>,
    found: usize,
}

/// One thing that is wrong.
#[derive(Clone)]
pub struct Problem {
    file: String,
    place: Option<(Range<usize>, usize)>,
    field: String,
    message: String,
    help: String,
    source: Option<Arc<NamedSource<String>>>,
}

impl ConfigError {
    /// A problem with a file as a whole.
    pub(super) fn file(path: &Path, message: String, help: &str) -> Self {
        let file = path.display().to_string();
        let problem = Problem {
            file: file.clone(),
            place: None,
            field: String::new(),
            message,
            help: help.to_owned(),
            source: None,
        };
        ConfigError { file, problems: vec![problem], found: 1 }
    }

    /// The problems, in the file's order; at most 100 of them.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// One line per problem, `file:line: field: message; help`, without colors or frames.
    pub fn report(&self) -> String {
        let mut text: Vec<String> = self.problems.iter().map(Problem::one_line).collect();
        if let Some(more) = self.unlisted() {
            text.push(more);
        }
        text.join("\n")
    }

    fn unlisted(&self) -> Option<String> {
        match self.found - self.problems.len() {
            0 => None,
            more => Some(format!("{more} more errors are not listed")),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.found == 1 { "" } else { "s" };
        write!(f, "{} is refused: {} error{plural}", self.file, self.found)
    }
}

impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.report())
    }
}

impl std::error::Error for ConfigError {}

impl Diagnostic for ConfigError {
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.problems.iter().map(|problem| problem as &dyn Diagnostic)))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.unlisted().map(|text| Box::new(text) as Box<dyn fmt::Display>)
    }
}

impl Problem {
    /// The line, from 1; `None` where the problem is the file itself.
    pub fn line(&self) -> Option<usize> {
        self.place.as_ref().map(|(_, line)| *line)
    }

    /// The field, like `vif[0].vlan`; empty for syntax errors.
    pub fn field(&self) -> &str {
        &self.field
    }

    /// What is wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to write instead.
    pub fn help_text(&self) -> &str {
        &self.help
    }

    fn one_line(&self) -> String {
        let place = match &self.place {
            Some((_, line)) => format!("{}:{line}", self.file),
            None => self.file.clone(),
        };
        format!("{place}: {self}; {}", self.help)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.field, self.message)
        }
    }
}

impl fmt::Debug for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.one_line())
    }
}

impl std::error::Error for Problem {}

impl Diagnostic for Problem {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(&self.help))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let (span, _) = self.place.clone()?;
        Some(Box::new(std::iter::once(LabeledSpan::new_with_span(Some("here".into()), span))))
    }
}

/// Collects the problems of one text while it is read.
pub(super) struct Problems<'t> {
    text: &'t str,
    line_ends: OnceCell<Vec<usize>>,
    listed: RefCell<Vec<Problem>>,
    found: Cell<usize>,
}

impl<'t> Problems<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Problems {
            text,
            line_ends: OnceCell::new(),
            listed: RefCell::default(),
            found: Cell::new(0),
        }
    }

    /// Adds a problem at `span`, a range of octets of the text.
    pub(super) fn add(
        &self,
        span: &Range<usize>,
        field: impl Into<String>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.found.set(self.found.get() + 1);
        let mut listed = self.listed.borrow_mut();
        if listed.len() < LISTED {
            listed.push(Problem {
                file: String::new(),
                place: Some((span.clone(), self.line(span))),
                field: field.into(),
                message: message.into(),
                help: help.into(),
                source: None,
            });
        }
    }

    /// The line, from 1, on which a span begins.
    pub(super) fn line(&self, span: &Range<usize>) -> usize {
        let ends = self.line_ends.get_or_init(|| {
            let ends = self.text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
            ends.map(|(at, _)| at).collect()
        });
        ends.partition_point(|&end| end < span.start) + 1
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.get() == 0
    }

    /// How many problems were found so far.
    pub(super) fn found(&self) -> usize {
        self.found.get()
    }

    /// The error that lists them, in the text's order.
    pub(super) fn into_error(self, file: &str) -> ConfigError {
        let source = Arc::new(NamedSource::new(file, secrets::mask(self.text)));
        let mut problems = self.listed.into_inner();
        problems.sort_by_key(|problem| problem.place.as_ref().map(|(span, _)| span.start));
        for problem in &mut problems {
            problem.source = Some(source.clone());
            file.clone_into(&mut problem.file);
        }
        ConfigError { file: file.to_owned(), problems, found: self.found.get() }
    }
}
