//! The file's text as a document that is changed in place: its tables, and the comments around them.

use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, Value, value};

use super::edit::EditError;

/// The table of that kind and name.
pub(super) fn named<'a>(
    document: &'a mut DocumentMut,
    kind: &str,
    name: &str,
) -> Result<&'a mut Table, EditError> {
    let found = tables(document, kind)?.iter_mut().find(|table| field(table, "name") == Some(name));
    found.ok_or_else(|| EditError::NotFound(format!("there is no {kind} {name:?}")))
}

/// Gives a field a value. The comment behind it stays.
pub(super) fn put(table: &mut Table, key: &str, new: Value) {
    match table.get_mut(key).and_then(Item::as_value_mut) {
        Some(old) => {
            let decor = old.decor().clone();
            *old = new;
            *old.decor_mut() = decor;
        }
        None => table[key] = value(new),
    }
}

pub(super) fn read(text: &str) -> Result<DocumentMut, EditError> {
    text.parse().map_err(|error: toml_edit::TomlError| {
        EditError::Conflict(format!("the file is not valid: {}", error.message()))
    })
}

pub(super) fn field<'a>(table: &'a Table, key: &str) -> Option<&'a str> {
    table.get(key)?.as_str()
}

/// The array of tables under `key`, made if it is not there. An array of inline tables becomes one.
pub(super) fn tables<'a>(
    within: &'a mut Table,
    key: &str,
) -> Result<&'a mut ArrayOfTables, EditError> {
    let item = within.entry(key).or_insert(Item::ArrayOfTables(ArrayOfTables::new()));
    if !item.is_array_of_tables() {
        item.make_value();
        let made = std::mem::take(item).into_array_of_tables();
        *item = made.map_or_else(|item| item, Item::ArrayOfTables);
        // As a field the key had a space behind it.
        within.key_mut(key).iter_mut().for_each(|key| key.fmt());
    }
    within[key]
        .as_array_of_tables_mut()
        .ok_or_else(|| EditError::Conflict(format!("{key} is not a list of tables")))
}

pub(super) fn append(
    document: &mut DocumentMut,
    key: &str,
    mut table: Table,
) -> Result<(), EditError> {
    // What stands after the last table, comments for example, stays before the new one.
    let mut before = document.trailing().as_str().unwrap_or_default().to_owned();
    before.push('\n');
    document.set_trailing("");
    table.decor_mut().set_prefix(before);
    table.set_position(Some(last_position(document) + 1));
    tables(document, key)?.push(table);
    Ok(())
}

/// Deletes the first table under `key` that matches, with the comment right above it; comments that
/// a blank line sets apart stay. False where none matches.
pub(super) fn delete(
    document: &mut DocumentMut,
    key: &str,
    matches: impl Fn(&Table) -> bool,
) -> Result<bool, EditError> {
    let Some(table) = take(document, key, matches)? else { return Ok(false) };
    keep_comments(document, &table);
    Ok(true)
}

/// Takes the first table under `key` that matches out of `within`.
pub(super) fn take(
    within: &mut Table,
    key: &str,
    matches: impl Fn(&Table) -> bool,
) -> Result<Option<Table>, EditError> {
    let tables = tables(within, key)?;
    let Some(index) = tables.iter().position(matches) else { return Ok(None) };
    let table = tables.get(index).cloned();
    tables.remove(index);
    if tables.is_empty() {
        within.remove(key);
    }
    Ok(table)
}

/// Puts the comments that stood before a deleted table, and were not its own, before what comes after it.
pub(super) fn keep_comments(document: &mut DocumentMut, table: &Table) {
    let prefix = table.decor().prefix().and_then(|prefix| prefix.as_str()).unwrap_or_default();
    let kept = match prefix.rfind("\n\n") {
        Some(blank) => &prefix[..=blank],
        None => "",
    };
    if !kept.trim().is_empty() {
        keep_comment(document, kept, table.position().unwrap_or_default());
    }
}

/// Puts a comment before the first table after `position`, or at the end of the file.
fn keep_comment(document: &mut DocumentMut, comment: &str, position: isize) {
    let next = all_positions(document).into_iter().filter(|&at| at > position).min();
    match next.and_then(|next| table_at(document.as_table_mut(), next)) {
        Some(next) => {
            let old = next.decor().prefix().and_then(|prefix| prefix.as_str()).unwrap_or_default();
            let prefix = format!("{comment}{old}");
            next.decor_mut().set_prefix(prefix);
        }
        None => {
            let old = document.trailing().as_str().unwrap_or_default();
            let trailing = format!("{comment}{old}");
            document.set_trailing(trailing);
        }
    }
}

/// The positions of a table's header and of those below it.
fn positions(table: &Table, into: &mut Vec<isize>) {
    into.extend(table.position());
    for (_, item) in table.iter() {
        match item {
            Item::Table(table) => positions(table, into),
            Item::ArrayOfTables(array) => array.iter().for_each(|table| positions(table, into)),
            _ => {}
        }
    }
}

/// The table whose header is at `position`.
fn table_at(table: &mut Table, position: isize) -> Option<&mut Table> {
    if table.position() == Some(position) {
        return Some(table);
    }
    table.iter_mut().find_map(|(_, item)| match item {
        Item::Table(table) => table_at(table, position),
        Item::ArrayOfTables(array) => array.iter_mut().find_map(|table| table_at(table, position)),
        _ => None,
    })
}

/// The positions of all headers in the file.
fn all_positions(document: &DocumentMut) -> Vec<isize> {
    let mut all = Vec::new();
    for (_, item) in document.as_table().iter() {
        match item {
            Item::Table(table) => positions(table, &mut all),
            Item::ArrayOfTables(array) => array.iter().for_each(|table| positions(table, &mut all)),
            _ => {}
        }
    }
    all
}

fn last_position(document: &DocumentMut) -> isize {
    all_positions(document).into_iter().max().unwrap_or_default()
}
