//! Reads the fields of one TOML table. Unlike a derived deserializer it goes on after an error, so
//! that one run of `stationd check` shows all of them, each at its place.

use std::cell::RefCell;
use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::Problems;

/// A value and where it stands in the text.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

/// The fields of one table, and which of them were asked for.
pub(super) struct Fields<'a> {
    table: &'a DeTable<'a>,
    /// Where the table's header stands.
    pub(super) span: Range<usize>,
    path: String,
    /// Where problems go.
    pub(super) problems: &'a Problems<'a>,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Fields<'a> {
    /// The document itself.
    pub(super) fn document(table: &'a DeTable<'a>, problems: &'a Problems<'a>) -> Self {
        Fields { table, span: 0..0, path: String::new(), problems, asked: RefCell::default() }
    }

    fn of_value(
        value: &'a Spanned<DeValue<'a>>,
        path: String,
        problems: &'a Problems<'a>,
    ) -> Option<Self> {
        let Some(table) = value.get_ref().as_table() else {
            let found = value.get_ref().type_str();
            problems.add(&value.span(), path, format!("is a {found}"), "write a table here");
            return None;
        };
        Some(Fields { table, span: value.span(), path, problems, asked: RefCell::default() })
    }

    /// The full name of a field.
    pub(super) fn path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Reports a problem with a field's value.
    pub(super) fn refuse(
        &self,
        span: &Range<usize>,
        key: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.problems.add(span, self.path(key), message, help);
    }

    fn get(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.borrow_mut().push(key);
        self.table.get(key)
    }

    /// Whether the field is there. Does not count as asking for it.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    fn wrong_type(&self, key: &str, value: &Spanned<DeValue<'_>>, help: impl Into<String>) {
        let found = match value.get_ref() {
            DeValue::Table(_) => "a table".to_owned(),
            DeValue::Array(_) => "an array".to_owned(),
            DeValue::Integer(_) => "an integer".to_owned(),
            other => format!("a {}", other.type_str()),
        };
        self.refuse(&value.span(), key, format!("is {found}"), help);
    }

    /// A string, if the field is there.
    pub(super) fn string(&self, key: &'static str) -> Option<At<&'a str>> {
        let value = self.get(key)?;
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.wrong_type(key, value, format!("write a string: {key} = \"...\""));
        }
        Some(At { value: text?, span: value.span() })
    }

    /// A string that has to be there.
    pub(super) fn need_string(&self, key: &'static str, example: &str) -> Option<At<&'a str>> {
        if !self.has(key) {
            self.asked.borrow_mut().push(key);
            self.missing(key, &format!("{key} = \"{example}\""));
        }
        self.string(key)
    }

    /// Reports a field that has to be there and is not.
    pub(super) fn missing(&self, key: &str, example: &str) {
        self.refuse(&self.span, key, "is missing", format!("add {example}"));
    }

    /// A string that parses as `T`; `help` says how to write one.
    pub(super) fn need_parsed<T: FromStr>(
        &self,
        key: &'static str,
        example: &str,
        what: &str,
    ) -> Option<At<T>> {
        self.need_string(key, example)?;
        self.parsed(key, example, what)
    }

    /// The same, if the field is there.
    pub(super) fn parsed<T: FromStr>(
        &self,
        key: &'static str,
        example: &str,
        what: &str,
    ) -> Option<At<T>> {
        let text = self.string(key)?;
        match text.value.parse() {
            Ok(value) => Some(At { value, span: text.span }),
            Err(_) => {
                let message = format!("{:?} is not {what}", text.value);
                self.refuse(&text.span, key, message, format!("write {what} like {example:?}"));
                None
            }
        }
    }

    /// An integer within limits, if the field is there.
    pub(super) fn integer<T>(&self, key: &'static str, limits: RangeInclusive<T>) -> Option<At<T>>
    where
        T: TryFrom<i64> + PartialOrd + Display,
    {
        let value = self.get(key)?;
        let help = format!("write an integer from {} to {}", limits.start(), limits.end());
        let Some(integer) = value.get_ref().as_integer() else {
            self.wrong_type(key, value, help);
            return None;
        };
        let number = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
        match number.and_then(|number| T::try_from(number).ok()) {
            Some(number) if limits.contains(&number) => {
                Some(At { value: number, span: value.span() })
            }
            _ => {
                let message = format!("{integer} is out of range");
                self.refuse(&value.span(), key, message, help);
                None
            }
        }
    }

    /// Whether the field is there and a table. Does not count as asking for it.
    pub(super) fn is_table(&self, key: &str) -> bool {
        self.table.get(key).is_some_and(|value| value.get_ref().is_table())
    }

    /// Whether the field is there and an integer. Does not count as asking for it.
    pub(super) fn is_integer(&self, key: &str) -> bool {
        self.table.get(key).is_some_and(|value| value.get_ref().is_integer())
    }

    /// A value of any kind, if the field is there.
    pub(super) fn value(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.get(key)
    }

    /// A boolean, or `default` where the field is not there.
    pub(super) fn boolean(&self, key: &'static str, default: bool) -> bool {
        let Some(value) = self.get(key) else { return default };
        value.get_ref().as_bool().unwrap_or_else(|| {
            self.wrong_type(key, value, format!("write {key} = true or {key} = false"));
            default
        })
    }

    /// One of a few words, if the field is there.
    pub(super) fn choice<T: Copy>(&self, key: &'static str, words: &[(&str, T)]) -> Option<At<T>> {
        let text = self.string(key)?;
        self.word(key, &text, words)
    }

    /// One of a few words that has to be there.
    pub(super) fn need_choice<T: Copy>(
        &self,
        key: &'static str,
        words: &[(&str, T)],
    ) -> Option<At<T>> {
        let example = words.first().map_or("", |(word, _)| word);
        let text = self.need_string(key, example)?;
        self.word(key, &text, words)
    }

    /// `text` as one of a few words.
    pub(super) fn word<T: Copy>(
        &self,
        key: &str,
        text: &At<&str>,
        words: &[(&str, T)],
    ) -> Option<At<T>> {
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text.value) {
            return Some(At { value: *value, span: text.span.clone() });
        }
        let list: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
        let message = format!("{:?} is unknown", text.value);
        self.refuse(&text.span, key, message, format!("write one of {}", list.join(", ")));
        None
    }

    /// Whether the field is there and an array without values.
    pub(super) fn is_empty_array(&self, key: &str) -> bool {
        let array = self.table.get(key).and_then(|value| value.get_ref().as_array());
        array.is_some_and(|array| array.is_empty())
    }

    /// The values of an array, or nothing where the field is not there.
    pub(super) fn array(&self, key: &'static str, example: &str) -> Vec<&'a Spanned<DeValue<'a>>> {
        let Some(value) = self.get(key) else { return Vec::new() };
        match value.get_ref().as_array() {
            Some(array) => array.iter().collect(),
            None => {
                self.wrong_type(key, value, format!("write an array: {key} = {example}"));
                Vec::new()
            }
        }
    }

    /// The strings of an array.
    pub(super) fn strings(&self, key: &'static str, example: &str) -> Vec<At<&'a str>> {
        let mut strings = Vec::new();
        for value in self.array(key, example) {
            match value.get_ref().as_str() {
                Some(text) => strings.push(At { value: text, span: value.span() }),
                None => self.wrong_type(key, value, format!("write strings: {key} = {example}")),
            }
        }
        strings
    }

    /// The tables of an array of tables, each with its own path.
    pub(super) fn tables(&self, key: &'static str, example: &str) -> Vec<Fields<'a>> {
        let values = self.array(key, example).into_iter().enumerate();
        values
            .filter_map(|(i, value)| {
                Fields::of_value(value, format!("{}[{i}]", self.path(key)), self.problems)
            })
            .collect()
    }

    /// A table, if the field is there.
    pub(super) fn table(&self, key: &'static str) -> Option<Fields<'a>> {
        Fields::of_value(self.get(key)?, self.path(key), self.problems)
    }

    /// Where the value of a field stands; the table's header where the field is not there.
    pub(super) fn span_of(&self, key: &str) -> Range<usize> {
        self.table.get(key).map_or_else(|| self.span.clone(), Spanned::span)
    }

    /// Reports the fields that nobody asked for.
    pub(super) fn finish(self) {
        let asked = self.asked.borrow();
        for key in self.table.keys() {
            if !asked.iter().any(|known| known == key.get_ref()) {
                let help = format!("the fields here are {}", asked.join(", "));
                self.refuse(&key.span(), key.get_ref(), "is not a known field", help);
            }
        }
    }
}
