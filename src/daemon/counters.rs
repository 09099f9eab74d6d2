//! `show counters`: every counter with its meaning, and whether they add up.

use super::answer::no;
use super::control_thread::Control;
use super::view::View;
use crate::admin::answer::Answer;
use crate::admin::protocol::CounterFilter;
use crate::admin::rows::{Conservation, CounterRow, CounterValue};
use crate::observe::{PortTotals, VifTotals};
use crate::tables::{DropReason, PortId, PuntReason, SlowOutcome, TapEvent, VifId};

/// The counters of a port, a VIF, or all.
pub(super) fn show(control: &Control, filter: &CounterFilter) -> Answer {
    if let Some(name) = filter.port.as_ref().filter(|name| control.engine.port(name).is_none()) {
        return no("port", name);
    }
    if let Some(name) = filter.vif.as_ref().filter(|name| control.engine.vif(name).is_none()) {
        return no("vif", name);
    }
    let (view, filter) = (View::of(control), filter.clone());
    Answer::later(move || {
        let all = filter.port.is_none() && filter.vif.is_none();
        let has = |wanted: &Option<String>, name: &str| {
            all || wanted.as_ref().is_some_and(|wanted| wanted == name)
        };
        let ports = view.ports().filter(|(_, name)| has(&filter.port, name));
        let ports = ports.map(|(id, name)| port_counters(&view, id, name, filter.all));
        let ports: Vec<CounterRow> = ports.collect();
        let vifs = view.rows(move |view, id, vif| {
            let has = all || filter.vif.as_ref().is_some_and(|wanted| **wanted == *vif.name);
            has.then(|| vif_counters(view, id, &vif.name, filter.all))
        });
        Answer::rows(ports.into_iter().chain(vifs.flatten()))
    })
}

/// Makes all counters count from zero.
pub(super) fn clear(control: &mut Control) -> Answer {
    control.counters.clear();
    control.engine.tables().acls.named.values().for_each(|list| list.clear());
    control.engine.tables().address_limits.all.iter().for_each(|limit| limit.clear());
    control.engine.tables().exchanges.iter().flatten().for_each(|it| it.passed.clear());
    Answer::result(control.unchanged_result(Vec::new()))
}

/// Collects counters, with or without those that are zero.
struct Collector {
    all: bool,
    values: Vec<CounterValue>,
}

impl Collector {
    fn add(&mut self, group: &str, name: &str, value: u64, help: &str) {
        if self.all || value != 0 {
            let (group, name, help) = (group.into(), name.into(), help.into());
            self.values.push(CounterValue { group, name, value, help });
        }
    }
}

fn vif_counters(view: &View, id: VifId, name: &str, all: bool) -> CounterRow {
    let t: VifTotals = view.counters.vif(id);
    let mut out = Collector { all, values: Vec::new() };
    out.add("traffic", "rx_frames", t.rx_frames, "Frames received.");
    out.add("traffic", "rx_octets", t.rx_octets, "Octets received, without FCS.");
    out.add("traffic", "forwarded", t.forwarded, "Received frames that were forwarded.");
    out.add("traffic", "tx_frames", t.tx_frames, "Frames sent.");
    out.add("traffic", "tx_octets", t.tx_octets, "Octets sent, without FCS.");
    out.add("traffic", "originated", t.originated, "Sent frames that the router itself made.");
    let lost = "Frames of the router itself that found the transmit ring full or the port down.";
    out.add("traffic", "originated_lost", t.originated_lost, lost);
    let [entered, left] = t.translated;
    out.add("traffic", "rx_translated", entered, "Received frames that the VIF translated.");
    out.add(
        "traffic",
        "tx_translated",
        left,
        "Sent frames that the VIF translated, without those of the slow path.",
    );
    for reason in DropReason::ALL.iter().filter(|reason| !reason.is_port_level()) {
        out.add("drop", reason.name(), t.drops[reason.index()], reason.help());
    }
    for reason in PuntReason::ALL {
        out.add("punt", reason.name(), t.punted[reason.index()], reason.help());
    }
    for outcome in SlowOutcome::ALL {
        out.add("slow", outcome.name(), t.slow[outcome.index()], outcome.help());
    }
    for event in TapEvent::ALL {
        out.add("tap", event.name(), t.tap[event.index()], event.help());
    }
    let (punted, dropped) = (t.punted.iter().sum(), t.drops.iter().sum());
    CounterRow {
        scope: "vif".into(),
        name: name.into(),
        counters: out.values,
        conservation: Conservation::new(t.rx_frames, t.forwarded, punted, dropped),
    }
}

fn port_counters(view: &View, id: PortId, name: &str, all: bool) -> CounterRow {
    let t: PortTotals = view.counters.port(id);
    let mut out = Collector { all, values: Vec::new() };
    out.add("traffic", "rx_frames", t.rx_frames, "Frames received.");
    out.add("traffic", "rx_octets", t.rx_octets, "Octets received, without FCS.");
    out.add("traffic", "tx_frames", t.tx_frames, "Frames sent.");
    out.add("traffic", "tx_octets", t.tx_octets, "Octets sent, without FCS.");
    for reason in DropReason::ALL.iter().filter(|reason| reason.is_port_level()) {
        out.add("drop", reason.name(), t.drops[reason.index()], reason.help());
    }
    let kernel = [
        ("rx_dropped", "Dropped by the kernel, such as frames longer than a buffer."),
        ("rx_ring_full", "Dropped by the kernel: the worker did not keep up."),
        ("fill_ring_empty", "Times the kernel found no buffer to receive into."),
        ("rx_invalid_descs", "Receive descriptors that the kernel refused."),
        ("tx_invalid_descs", "Transmit descriptors that the kernel refused."),
        ("tx_ring_empty", "Times the kernel found nothing to transmit."),
    ];
    for ((name, help), value) in kernel.into_iter().zip(t.kernel) {
        out.add("kernel", name, value, help);
    }
    CounterRow {
        scope: "port".into(),
        name: name.into(),
        counters: out.values,
        conservation: Conservation::new(t.rx_frames, t.to_vif, 0, t.drops.iter().sum()),
    }
}
