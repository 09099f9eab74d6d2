//! `explain`: what would become of frames, stage by stage. The frames go through the packet path on the control
//! thread, which alone may look at the FIB beside the workers; all else is done on the connection's own.

mod limits;
mod words;

use std::sync::Arc;

use super::answer::invalid;
use super::captures::hex;
use super::change::stopping;
use super::control_thread::Control;
use super::routes::origin;
use super::view::View;
use crate::admin::answer::Answer;
use crate::admin::protocol::{ErrorKind, ExplainRequest, MAX_FRAMES, Refusal};
use crate::admin::rows::{ExplainRow, ExplainedRoute, ExplainedStage, Member};
use crate::control::Route;
use crate::explain::{Explainer, Explanation, LONGEST, Lookup, Synthetic, framed};
use crate::tables::{PortId, Snapshot, Tunnel, VifId};
use words::Words;

/// Explains frames.
pub(super) fn explain(control: &Control, request: &ExplainRequest) -> Answer {
    let (port, vif) = match control.place(request.port.as_deref(), request.vif.as_deref()) {
        Ok((port, vif)) => (port, vif.map(|(id, _)| id)),
        Err(refusal) => return Answer::Refused(refusal),
    };
    let (view, desk) = (View::of(control), control.desk.clone());
    let vifs = usize::from(control.config().station.max_vifs);
    let request = request.clone();
    Answer::later(move || {
        let (port, frames) = match frames(&view.tables, &request, port, vif) {
            Ok(found) => found,
            Err(refusal) => return Answer::Refused(refusal),
        };
        // What is allocated, is allocated and freed here.
        let mut explainer = match Explainer::new(view.tables.ports.len(), vifs) {
            Ok(explainer) => explainer,
            Err(error) => return Answer::refused(ErrorKind::Internal, error.to_string()),
        };
        let told = desk.ask(move |control| {
            let fates = fates(control, &mut explainer, port, frames);
            (control.engine.tables().clone(), fates, explainer)
        });
        let Some((tables, fates, _)) = told else { return Answer::Refused(stopping()) };
        let mut view = view;
        view.tables = tables;
        let rows = (1..).zip(&fates).map(|(number, fate)| Box::new(row(&view, number, port, fate)));
        Answer::rows(rows.collect::<Vec<_>>())
    })
}

/// The frames that are asked about, and the port that they enter by.
fn frames(
    tables: &Snapshot,
    request: &ExplainRequest,
    id: PortId,
    vif: Option<VifId>,
) -> Result<(PortId, Vec<Vec<u8>>), Refusal> {
    match (&request.packet, &request.frames[..]) {
        (Some(packet), []) => {
            let vif = vif.and_then(|id| tables.vif(id));
            let (Some(vif), Some(port)) = (vif, tables.ports.get(id.index())) else {
                return Err(invalid("a packet needs a vif, whose tags it has"));
            };
            let packet = Synthetic {
                from: packet.from,
                to: packet.to,
                protocol: packet.protocol,
                source_port: packet.source_port,
                destination_port: packet.destination_port,
                ttl: packet.ttl,
                length: packet.length,
            };
            let frame = packet.frame(port, vif).map_err(|error| invalid(error.to_string()))?;
            match vif.tunnel() {
                Some(tunnel) => tunnelled(tables, tunnel, &frame),
                None => Ok((id, vec![frame])),
            }
        }
        (None, [_, ..]) if vif.and_then(|id| tables.vif(id)?.tunnel()).is_some() => {
            Err(invalid("name the port that the frames of the tunnel come by"))
        }
        (None, frames @ [_, ..]) if frames.len() <= MAX_FRAMES => {
            let frames = (1..).zip(frames).map(|(number, text)| frame(number, text));
            Ok((id, frames.collect::<Result<_, _>>()?))
        }
        (None, [_, ..]) => Err(invalid(format!("a request has at most {MAX_FRAMES} frames"))),
        _ => Err(invalid("give exactly one of packet and frames")),
    }
}

/// A frame as it comes in a tunnel from the first of the VTEPs at its other ends, by a VIF of the underlay.
fn tunnelled(
    tables: &Snapshot,
    tunnel: &Tunnel,
    inner: &[u8],
) -> Result<(PortId, Vec<Vec<u8>>), Refusal> {
    let underlay = tables.vifs.iter().flatten().find(|vif| vif.vrf == tunnel.underlay && vif.up);
    let port = underlay.and_then(|vif| Some((vif, tables.ports.get(vif.port.index())?)));
    let (Some((vif, port)), Some(remote)) = (port, tunnel.remotes.first()) else {
        return Err(invalid("no VIF of the tunnel's underlay is up"));
    };
    let outer = tunnel.received(*remote, inner);
    Ok((vif.port, vec![framed(port, vif, remote.is_ipv4(), &outer)]))
}

/// A frame from pairs of hexadecimal digits.
fn frame(number: u64, text: &str) -> Result<Vec<u8>, Refusal> {
    let octet = |pair: &[u8]| match pair {
        [a, b] if pair.iter().all(u8::is_ascii_hexdigit) => {
            u8::from_str_radix(str::from_utf8(&[*a, *b]).ok()?, 16).ok()
        }
        _ => None,
    };
    let octets: Option<Vec<u8>> = text.as_bytes().chunks(2).map(octet).collect();
    let octets = octets.ok_or_else(|| {
        invalid(format!("frame {number}: write two hexadecimal digits for each octet"))
    })?;
    match octets.len() {
        0 => Err(invalid(format!("frame {number} is empty"))),
        len if len > LONGEST => Err(invalid(format!(
            "frame {number} has {len} octets: no port delivers over {LONGEST}"
        ))),
        _ => Ok(octets),
    }
}

/// A frame, and what becomes of it.
struct Fate {
    frame: Vec<u8>,
    told: Explanation,
    destination: Option<Matched>,
    source: Option<Matched>,
    /// Behind an exchange.
    crossed: Option<Matched>,
}

/// What a lookup found.
struct Matched {
    lookup: Lookup,
    route: Option<Route>,
    via: Arc<[Member]>,
}

/// Has the frames go the packet path, as the tables and the FIB are now.
fn fates(
    control: &Control,
    explainer: &mut Explainer,
    port: PortId,
    frames: Vec<Vec<u8>>,
) -> Vec<Fate> {
    let (tables, fib) = (control.engine.tables(), control.engine.fib_reader());
    let matched = |lookup: Lookup| Matched {
        lookup,
        route: control.engine.lookup(lookup.vrf, lookup.address),
        via: control.group(lookup.group).1,
    };
    let fate = |frame: Vec<u8>| {
        let told = explainer.explain(tables, &fib, port, &frame)?;
        let (destination, source) = (told.destination.map(matched), told.source.map(matched));
        let crossed = told.crossed.map(|(_, lookup)| matched(lookup));
        Some(Fate { frame, told, destination, source, crossed })
    };
    frames.into_iter().filter_map(fate).collect()
}

fn row(view: &View, number: u64, port: PortId, fate: &Fate) -> ExplainRow {
    let told = &fate.told;
    let vif = told.vif.and_then(|id| view.tables.vif(id));
    let words = Words::of(view, port, fate);
    let stages = told.steps.iter().map(|step| ExplainedStage {
        stage: step.stage.into(),
        verdict: step.verdict.map(|verdict| verdict.to_string()),
        detail: words.detail(step.stage),
    });
    ExplainRow {
        frame: number,
        port: words.port.clone(),
        vif: vif.map(|vif| vif.name.to_string()),
        vrf: vif.map(|vif| view.vrf_name(vif.vrf)),
        verdict: told.verdict.to_string(),
        stage: told.steps.last().map_or_else(String::new, |step| step.stage.into()),
        help: told.verdict.help().into(),
        stages: stages.collect(),
        destination_route: fate.destination.as_ref().map(route),
        source_route: fate.source.as_ref().map(route),
        egress: words.egress.clone(),
        octets: fate.frame.len() as u64,
        data: hex(&fate.frame),
        sent: told.sent.as_ref().map(|(_, octets)| hex(octets)),
        headers: words.headers,
    }
}

fn route(matched: &Matched) -> ExplainedRoute {
    ExplainedRoute {
        address: matched.lookup.address,
        prefix: matched.route.map(|route| route.prefix),
        origin: matched.route.map(|route| origin(route.source).into()),
        group: matched.lookup.group.0,
        via: matched.via.to_vec(),
    }
}
