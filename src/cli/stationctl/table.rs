//! Aligned columns without lines around them: easy to read, easy to cut.

use std::io::{self, Write};

use comfy_table::{CellAlignment, Table, presets};

/// Writes a table. A column whose heading begins with `>` is aligned to the right, for numbers.
pub(super) fn write<'a>(
    out: &mut impl Write,
    headings: &[&str],
    rows: impl IntoIterator<Item = Vec<String>> + 'a,
) -> io::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(headings.iter().map(|heading| heading.trim_start_matches('>')));
    for row in rows {
        table.add_row(row);
    }
    for (column, heading) in table.column_iter_mut().zip(headings) {
        column.set_padding((0, 2));
        if heading.starts_with('>') {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for line in table.lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}
