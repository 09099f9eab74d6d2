//! `capture`: starts captures on the workers, and passes their copies on to the client.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::unbounded;

use super::answer::invalid;
use super::control_thread::Control;
use super::desk::Desk;
use super::worker_thread::{Order, Orders};
use crate::admin::answer::{Answer, Piece};
use crate::admin::protocol::{CaptureRequest, Direction, ErrorKind, Judged, Refusal};
use crate::admin::rows::{CaptureEnd, CaptureRow, CapturedFrame};
use crate::port::LONGEST;
use crate::tables::{DropReason, Network, PortId, PuntReason, Snapshot, Verdict, Vif, VifId};
use crate::wire::bpf::Program;
use crate::worker::capture::{MAX_CAPTURES, Mark, Tap, Verdicts, Wanted};

/// Octets of a frame at most: the largest frame of a worker's memory.
/// Frames of one line of the answer.
const FRAMES: usize = 256;
/// Between two looks at empty queues.
const LOOK: Duration = Duration::from_millis(2);
/// How long the client's end is not looked at.
const PIECE: Duration = Duration::from_millis(100);
/// How often the VIF is asked for.
const TABLES: Duration = Duration::from_secs(1);
/// For the workers to take a capture, and to let go of it.
const PATIENCE: Duration = Duration::from_secs(1);

/// Starts a capture.
pub(super) fn start(control: &Control, request: &CaptureRequest) -> Answer {
    let (wanted, port, vif) = match wanted(control, request) {
        Ok(wanted) => wanted,
        Err(refusal) => return Answer::Refused(refusal),
    };
    // A clone each, and the data path's own.
    let slot = Arc::clone(&control.datapath.captures);
    if Arc::strong_count(&slot) > MAX_CAPTURES + 1 {
        let message = format!("{MAX_CAPTURES} captures run already: end one of them");
        return Answer::refused(ErrorKind::Busy, message);
    }
    let orders: Vec<Orders> =
        control.datapath.workers.iter().map(|worker| worker.orders().clone()).collect();
    let epoch_ns = control.datapath.epoch_ns();
    let (tables, desk) = (control.engine.tables().clone(), control.desk.clone());
    let (count, seconds) = (request.count, request.seconds);
    // What is allocated, is allocated on the connection's own thread.
    Answer::later(move || {
        let taps: Vec<Arc<Tap>> =
            orders.iter().map(|_| Arc::new(Tap::new(wanted.clone()))).collect();
        let (reply, taken) = unbounded();
        for (orders, tap) in orders.iter().zip(&taps) {
            orders.give(Order::Capture { tap: tap.clone(), reply: reply.clone() });
        }
        let all = taps.iter().all(|_| taken.recv_timeout(PATIENCE).is_ok());
        let mut capture = Capture {
            taps,
            orders,
            _slot: slot,
            desk,
            port: (port, tables.port_name(port).to_owned()),
            vif,
            epoch_ns,
            tables,
            left: count.unwrap_or(u64::MAX),
            deadline: seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds)),
            looked: Instant::now(),
            frames: 0,
            ending: None,
        };
        if !all {
            return Answer::refused(ErrorKind::Internal, "a worker does not take the capture");
        }
        Answer::Stream(Box::new(move |stop| capture.piece(stop)))
    })
}

/// A VIF as it was when its capture began.
struct OfVif {
    id: VifId,
    name: Arc<str>,
    network: Network,
}

/// What the workers are to copy and of whom, or what is wrong with the request.
fn wanted(
    control: &Control,
    request: &CaptureRequest,
) -> Result<(Wanted, PortId, Option<OfVif>), Refusal> {
    let (port, vif) = control.place(request.port.as_deref(), request.vif.as_deref())?;
    let of =
        |(id, vif): (VifId, &Vif)| OfVif { id, name: vif.name.clone(), network: Network::of(vif) };
    let vif = vif.map(of);
    let verdicts = verdicts(request)?;
    let (inbound, outbound) = request.direction.ways();
    if !inbound && !verdicts.has(Verdict::Forward) {
        let message = "what leaves was forwarded: drops and punts are seen with direction in";
        return Err(invalid(message));
    }
    let filter = match &request.filter {
        Some(filter) => {
            Some(Program::new(&filter.program).map_err(|error| invalid(error.to_string()))?)
        }
        None => None,
    };
    let snap = request.snap.unwrap_or(LONGEST);
    if !(1..=LONGEST).contains(&snap) {
        return Err(invalid(format!("snap is 1 to {LONGEST} octets, not {snap}")));
    }
    let of_vif = vif.as_ref().map(|vif| (vif.id, vif.network.clone()));
    let in_tunnels = matches!(of_vif, Some((_, Network::Vni(_))));
    let at = (!in_tunnels).then_some(port);
    Ok((Wanted { port: at, vif: of_vif, inbound, outbound, verdicts, filter, snap }, port, vif))
}

/// The verdicts that a request wants.
fn verdicts(request: &CaptureRequest) -> Result<Verdicts, Refusal> {
    let Some(name) = &request.reason else {
        return Ok(match request.verdict {
            None => Verdicts::Any,
            Some(Judged::Forward) => Verdicts::Forwarded,
            Some(Judged::Punt) => Verdicts::Punted,
            Some(Judged::Drop) => Verdicts::Dropped,
        });
    };
    let drop = DropReason::ALL.iter().find(|reason| reason.name() == name).copied();
    let punt = PuntReason::ALL.iter().find(|reason| reason.name() == name).copied();
    match (request.verdict, drop, punt) {
        (None | Some(Judged::Drop), Some(reason), _) => Ok(Verdicts::Only(Verdict::Drop(reason))),
        (None | Some(Judged::Punt), _, Some(reason)) => Ok(Verdicts::Only(Verdict::Punt(reason))),
        (Some(_), None, Some(_)) | (Some(_), Some(_), None) => Err(Refusal::new(
            ErrorKind::Invalid,
            format!("\"{name}\" is no reason of that verdict: leave the verdict out"),
        )),
        _ => Err(Refusal::new(
            ErrorKind::NotFound,
            format!(
                "there is no reason \"{name}\": station-counters(7) has those of drops and punts"
            ),
        )),
    }
}

/// A capture that runs. Dropped, it ends.
struct Capture {
    taps: Vec<Arc<Tap>>,
    orders: Vec<Orders>,
    _slot: Arc<()>,
    tables: Snapshot,
    desk: Desk,
    /// The port, as it was called when the capture began.
    port: (PortId, String),
    vif: Option<OfVif>,
    /// When the workers' time began: nanoseconds since 1970.
    epoch_ns: u64,
    /// Frames that may still be passed on.
    left: u64,
    deadline: Option<Instant>,
    /// When the tables were asked for.
    looked: Instant,
    frames: u64,
    /// Why it ends; what is in the queues is passed on first.
    ending: Option<&'static str>,
}

impl Capture {
    /// The next frames; `stop`: the client has enough.
    fn piece(&mut self, stop: bool) -> Piece {
        let start = Instant::now();
        if stop {
            self.end("the client ended it");
        }
        loop {
            self.look_at_tables();
            if self.left == 0 {
                self.end("count");
            } else if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                self.end("seconds");
            }
            let rows = self.take();
            if !rows.is_empty() {
                return Piece { rows: rows.into_iter().map(Into::into).collect(), last: false };
            }
            if let Some(reason) = self.ending {
                let lost = self.taps.iter().map(|tap| tap.lost()).sum();
                let port = self.port.1.clone();
                let end = CaptureEnd { port, frames: self.frames, lost, reason: reason.into() };
                tracing::info!(frames = end.frames, lost, reason, "a capture ended");
                return Piece { rows: vec![CaptureRow::End(end).into()], last: true };
            }
            if start.elapsed() > PIECE {
                return Piece { rows: Vec::new(), last: false };
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Lets the workers go.
    fn end(&mut self, reason: &'static str) {
        if self.ending.is_none() {
            self.ending = Some(reason);
            self.taps.iter().for_each(|tap| tap.end());
            self.orders.iter().for_each(|orders| orders.give(Order::EndCaptures));
        }
    }

    /// What the workers have copied, oldest first.
    fn take(&mut self) -> Vec<CaptureRow> {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(FRAMES);
        let mut found: Vec<(Mark, String)> = Vec::new();
        for tap in &self.taps {
            while found.len() < room {
                let Some(copy) = tap.receive(|mark, octets| (mark, hex(octets))) else { break };
                found.push(copy);
            }
        }
        let newest = found.iter().map(|(mark, _)| mark.generation).max();
        if newest > Some(self.tables.generation) {
            self.renew();
        }
        found.sort_by_key(|(mark, _)| mark.now_ns);
        self.left -= found.len() as u64;
        self.frames += found.len() as u64;
        found.into_iter().map(|(mark, data)| CaptureRow::Frame(self.row(&mark, data))).collect()
    }

    /// A VIF that is changed or deleted ends its capture, and so does a port: its tags or VNI, or its id, may be another
    /// tenant's.
    fn look_at_tables(&mut self) {
        if self.ending.is_none() && self.looked.elapsed() > TABLES {
            self.renew();
        }
    }

    fn renew(&mut self) {
        self.looked = Instant::now();
        if let Some(tables) = self.desk.ask(|control| control.engine.tables().clone()) {
            self.tables = tables;
        }
        let is_same = |of: &OfVif| {
            let now = self.tables.vif(of.id);
            now.is_some_and(|vif| vif.name == of.name && Network::of(vif) == of.network)
        };
        if self.vif.as_ref().is_some_and(|of| !is_same(of)) {
            self.end("the VIF is gone");
        }
        if self.tables.port_name(self.port.0) != self.port.1 {
            self.end("the port is gone");
        }
    }

    fn row(&self, mark: &Mark, data: String) -> CapturedFrame {
        let name = |id: Option<VifId>| {
            let vif = id.and_then(|id| self.tables.vif(id));
            vif.map(|vif| vif.name.to_string())
        };
        let port = self.tables.port_name(mark.port).to_owned();
        let (from, to) = (name(mark.from), name(mark.to));
        let help = match mark.verdict.help() {
            "" => String::new(),
            help => format!(": {help}"),
        };
        let of = |vif: &Option<String>| match vif {
            Some(vif) => format!("vif {vif}"),
            None => format!("port {port}"),
        };
        let comment = match (mark.outbound, &from) {
            (true, None) => format!("{}: sent by the station", of(&to)),
            (true, Some(from)) => format!("{}: forward, from vif {from}", of(&to)),
            (false, _) => {
                let to = to.as_ref().map_or_else(String::new, |to| format!(", to vif {to}"));
                format!("{}: {}{to}{help}", of(&from), mark.verdict)
            }
        };
        CapturedFrame {
            time_ns: self.epoch_ns.saturating_add(mark.now_ns),
            direction: if mark.outbound { Direction::Out } else { Direction::In },
            vif: if mark.outbound { to } else { from },
            port,
            verdict: mark.verdict.to_string(),
            comment,
            octets: mark.octets as u64,
            data,
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.end("the client is gone");
        // The workers let go first, so that none of them has to free the queues.
        let deadline = Instant::now() + PATIENCE;
        let held = || self.taps.iter().any(|tap| Arc::strong_count(tap) > 1);
        while held() && Instant::now() < deadline {
            std::thread::sleep(LOOK);
        }
    }
}

/// Two hexadecimal digits an octet.
pub(super) fn hex(octets: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(2 * octets.len());
    for octet in octets {
        for nibble in [octet >> 4, octet & 15] {
            text.push(char::from(DIGITS[usize::from(nibble)]));
        }
    }
    text
}
