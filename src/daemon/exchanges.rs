//! `show exchanges`.

use super::control_thread::Control;
use crate::admin::answer::Answer;
use crate::admin::rows::ExchangeRow;

/// All exchanges, in the order of the file.
pub(super) fn show(control: &Control) -> Answer {
    let (tables, config) = (control.engine.tables().clone(), control.config().clone());
    Answer::later(move || {
        let rows = config.exchanges.iter().map(|exchange| {
            let mut known = tables.exchanges.iter().flatten();
            let passed = known.find(|known| known.name == exchange.name);
            let [packets, ip_octets] = passed.map_or([0; 2], |known| known.passed.get());
            ExchangeRow {
                name: exchange.name.to_string(),
                from: exchange.from.to_string(),
                to: exchange.to.to_string(),
                prefixes: exchange.prefixes.clone(),
                accepted_by: exchange.accepted_by.clone(),
                packets,
                ip_octets,
            }
        });
        Answer::rows(rows.collect::<Vec<_>>())
    })
}
