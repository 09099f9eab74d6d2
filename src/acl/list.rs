//! A list's rules, and what they are compiled to, made once.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::classifier::Classifier;
use super::rule::Rule;

/// Rules in their order, compiled when that is first needed.
#[derive(Debug)]
pub struct List {
    rules: Box<[Rule]>,
    compiled: OnceLock<(Classifier, Duration)>,
}

impl List {
    /// A list of at most [`super::MAX_RULES`] rules.
    pub fn new(rules: Box<[Rule]>) -> List {
        List { rules, compiled: OnceLock::new() }
    }

    /// Its rules.
    #[inline(always)]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    fn compiled(&self) -> &(Classifier, Duration) {
        self.compiled.get_or_init(|| {
            let began = Instant::now();
            (Classifier::new(&self.rules), began.elapsed())
        })
    }

    /// What it is looked up in. The first call compiles it.
    #[inline(always)]
    pub fn classifier(&self) -> &Classifier {
        match self.compiled.get() {
            Some((classifier, _)) => classifier,
            None => &self.compiled().0,
        }
    }

    /// How long it took to compile.
    pub fn build_time(&self) -> Duration {
        self.compiled().1
    }
}

impl PartialEq for List {
    fn eq(&self, other: &List) -> bool {
        self.rules == other.rules
    }
}
