//! Things with names (ports, VRFs, VIFs): each name is used once, and a reference to a name finds it.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::fields::{At, Fields};

/// The longest name, in octets.
const LONGEST: usize = 31;

/// Whether a name is one that cannot be mistaken for anything else in a path, a shell or a table.
pub(crate) fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() <= LONGEST
        && text.bytes().next().is_some_and(plain)
        && text.bytes().all(|byte| plain(byte) || byte == b'-')
}

/// What to write instead of what is no name.
pub(crate) fn name_help() -> String {
    format!("use 1 to {LONGEST} of a-z, 0-9 and '-', beginning with a letter or digit")
}

/// The name in field `key`, checked.
pub(super) fn check(fields: &Fields<'_>, key: &'static str, text: &At<&str>) -> bool {
    let fine = is_name(text.value);
    if !fine {
        let message = format!("{:?} is not a name", text.value);
        fields.refuse(&text.span, key, message, name_help());
    }
    fine
}

/// All things of one kind in the file. Those with an error have a name but no value, so that what
/// refers to them is not called an error too.
pub(super) struct Named<T> {
    kind: &'static str,
    by_name: HashMap<Arc<str>, (Range<usize>, Option<usize>)>,
    items: Vec<T>,
    /// Some item has an error.
    pub(super) broken: bool,
}

impl<T> Named<T> {
    pub(super) fn new(kind: &'static str) -> Self {
        Named { kind, by_name: HashMap::new(), items: Vec::new(), broken: false }
    }

    /// Takes the `name` of an item; refuses one that is missing, malformed or used already.
    pub(super) fn name(&mut self, fields: &Fields<'_>) -> Option<Arc<str>> {
        let name = fields.need_string("name", &format!("{}1", self.kind))?;
        if !check(fields, "name", &name) {
            return None;
        }
        if let Some((first, _)) = self.by_name.get(name.value) {
            let line = fields.problems.line(first);
            let message = format!("{:?} is already a {} on line {line}", name.value, self.kind);
            fields.refuse(&name.span, "name", message, "give each its own name");
            return None;
        }
        let key: Arc<str> = name.value.into();
        self.by_name.insert(key.clone(), (name.span, None));
        Some(key)
    }

    /// Adds what was made of an item; `None` where it has an error.
    pub(super) fn add(&mut self, name: Option<&Arc<str>>, item: Option<T>) {
        self.broken |= item.is_none() || name.is_none();
        let (Some(name), Some(item)) = (name, item) else { return };
        if let Some((_, index)) = self.by_name.get_mut(name) {
            *index = Some(self.items.len());
            self.items.push(item);
        }
    }

    /// The index of the item that field `key` names, if it has no error itself.
    pub(super) fn find(&self, fields: &Fields<'_>, key: &'static str) -> Option<usize> {
        let name = fields.need_string(key, "NAME")?;
        self.find_name(fields, key, &name)
    }

    /// The index of the item called `name`, if it has no error itself.
    pub(super) fn find_name(
        &self,
        fields: &Fields<'_>,
        key: &'static str,
        name: &At<&str>,
    ) -> Option<usize> {
        if let Some((_, index)) = self.by_name.get(name.value) {
            return *index;
        }
        let message = format!("there is no {} {:?}", self.kind, name.value);
        let mut known: Vec<&str> = self.by_name.keys().map(|name| &**name).collect();
        known.sort_unstable();
        let help = match known.len() {
            0 => format!("add a [[{}]] with that name", self.kind),
            1..=8 => format!("add a [[{}]] with that name, or use {}", self.kind, known.join(", ")),
            _ => format!("add a [[{}]] with that name", self.kind),
        };
        fields.refuse(&name.span, key, message, help);
        None
    }

    /// Whether something has this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    pub(super) fn items(&self) -> &[T] {
        &self.items
    }

    pub(super) fn into_items(self) -> Vec<T> {
        self.items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        for good in ["a", "0", "a-b", "vpc-a", "a-", &"x".repeat(31)] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "-a", "A", "a_b", "a b", "a/b", "a\n", "ä", &"x".repeat(32)] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
