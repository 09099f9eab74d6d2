//! `show qos`.

use super::control_thread::Control;
use super::view::{self, View};
use crate::admin::answer::Answer;
use crate::admin::rows::QosRow;
use crate::config::model::Config;
use crate::tables::qos::Order;

/// All classes of VIFs that have a policy.
pub(super) fn show(control: &Control) -> Answer {
    let (view, config) = (View::of(control), control.config().clone());
    Answer::later(move || Answer::rows(rows(&view, &config).into_iter().map(Box::new)))
}

/// The rows of a configuration, by the counters now.
pub(super) fn rows(view: &View, config: &Config) -> Vec<QosRow> {
    let Some(qos) = &view.tables.qos else { return Vec::new() };
    let (mut rows, labels) = (Vec::new(), view::labels_of(config));
    for (id, of) in qos.vifs() {
        let Some(vif) = view.tables.vif(id) else { continue };
        let totals = view.counters.vif(id);
        let labels = labels.get(&vif.name).cloned().unwrap_or_default();
        for (at, class) in of.policy.classes().iter().enumerate() {
            let limit = of.limits[at].as_ref();
            rows.push(QosRow {
                vif: vif.name.to_string(),
                labels: labels.clone(),
                port: view.tables.port_name(vif.port).to_owned(),
                policy: of.policy.name.to_string(),
                class: class.name.to_string(),
                dscp: class.dscp.clone(),
                pcp: class.pcp.clone(),
                mark_dscp: class.mark_dscp,
                mark_pcp: class.mark_pcp,
                weight: match class.order {
                    Order::Strict => None,
                    Order::Weight(weight) => Some(weight),
                },
                rate_bits_per_s: limit.map(|limit| limit.pace.rate),
                burst_octets: limit.map(|limit| limit.pace.burst),
                sent_frames: totals.class_sent_frames[at],
                sent_octets: totals.class_sent_octets[at],
                waited_frames: totals.class_waited_frames[at],
                policed_frames: totals.class_policed_frames[at],
                policed_octets: totals.class_policed_octets[at],
                full_frames: totals.class_full_frames[at],
                full_octets: totals.class_full_octets[at],
                discarded_frames: totals.class_discarded_frames[at],
                peak_frames: view.counters.peak(id, at),
            });
        }
    }
    rows
}
