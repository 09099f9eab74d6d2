//! The columns of `show translations`.

use std::io::{self, Write};

use super::filter::Subject;
use super::output::Show;
use super::table::{self, Look, text};
use crate::admin::rows::TranslationRow;

impl Show for TranslationRow {
    fn subject(&self) -> Option<Subject<'_>> {
        Some(Subject::Vif(&self.vif))
    }

    fn show(rows: &[Self], look: &Look, out: &mut impl Write) -> io::Result<()> {
        let headings = [text("VIF", 0), text("VRF", 1), text("INSIDE", 0), text("OUTSIDE", 0)];
        let rows = rows.iter().map(|row| {
            let (inside, outside) = (row.inside.to_string(), row.outside.to_string());
            vec![row.vif.clone(), row.vrf.clone(), inside, outside]
        });
        table::write(out, look, &headings, rows)
    }
}
