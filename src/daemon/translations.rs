//! `show translations`.

use std::collections::HashMap;
use std::sync::Arc;

use super::control_thread::Control;
use super::view::{View, labels_of};
use crate::admin::answer::Answer;
use crate::admin::rows::{Labels, TranslationRow};

/// All translations, VIF by VIF.
pub(super) fn show(control: &Control) -> Answer {
    let (view, config) = (View::of(control), control.config().clone());
    Answer::later(move || Answer::rows(rows(&view, &labels_of(&config))))
}

fn rows(view: &View, labels: &HashMap<Arc<str>, Labels>) -> Vec<TranslationRow> {
    let mut rows = Vec::new();
    for (_, vif) in view.vifs() {
        let all = vif.translations.as_ref().map_or(&[][..], |translations| &translations.all);
        rows.extend(all.iter().map(|pair| TranslationRow {
            vif: vif.name.to_string(),
            labels: labels.get(&vif.name).cloned().unwrap_or_default(),
            vrf: view.vrf_name(vif.vrf),
            inside: pair.inside,
            outside: pair.outside,
        }));
    }
    rows
}
