//! `ping` and `traceroute`: echo requests that the slow path sends, paced and waited for by the connection's own
//! thread.

pub(super) mod words;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::RecvTimeoutError;

use super::answer::invalid;
use super::control_thread::Control;
use super::slow_thread::{Asks, Probing};
use crate::admin::answer::{Answer, Piece};
use crate::admin::protocol::{ErrorKind, PingRequest, ProbePlan, Refusal};
use crate::admin::rows::{PingBegin, PingEnd, PingRow, ProbeRow, Row};
use crate::clock::milliseconds;
use crate::probes::Question;
use crate::slowpath::{MAX_SENDERS, MAX_WAITING, Probe, ProbeAnswer, Said, own_address};
use crate::tables::{VifId, VrfId};
use crate::wire::ipv6::is_link_local;
use words::{error4, error6, unsent};

/// Octets behind the ICMP header: with the headers, what no port carries more of.
const SIZES: RangeInclusive<u16> = 0..=8_972;
/// Echo requests of one ping, at most.
const COUNTS: RangeInclusive<u64> = 1..=1_000_000;
/// Between two, at least and at most: milliseconds.
const INTERVALS_MS: RangeInclusive<u64> = 10..=60_000;
const TIMEOUTS_MS: RangeInclusive<u64> = 10..=60_000;
/// Echo requests for a hop.
const PROBES: RangeInclusive<u8> = 1..=10;
/// Between two echo requests of a trace.
const PACE: Duration = Duration::from_millis(10);
/// Echo requests of a trace that are waited for at a time.
const AT_ONCE: usize = 16;
/// How long the client's end is not looked at.
const PIECE: Duration = Duration::from_millis(100);

/// Begins to send.
pub(super) fn start(control: &Control, request: &PingRequest) -> Answer {
    let origin = match check(request).and_then(|()| origin(control, request)) {
        Ok(origin) => origin,
        Err(refusal) => return Answer::Refused(refusal),
    };
    let (asker, request) = (control.datapath.slow.asker(), request.clone());
    Answer::later(move || match asker.begin(Asks::Ping) {
        Some(probing) => {
            let mut session = Session::new(probing, origin, request);
            Answer::Stream(Box::new(move |stop| session.piece(stop)))
        }
        None => {
            let message = format!("{MAX_SENDERS} pings run already: end one of them");
            Answer::refused(ErrorKind::Busy, message)
        }
    })
}

/// Refuses numbers beyond what may be asked for.
fn check(request: &PingRequest) -> Result<(), Refusal> {
    fn within<T: PartialOrd + std::fmt::Display>(
        what: &str,
        range: &RangeInclusive<T>,
        value: T,
    ) -> Result<(), Refusal> {
        let (least, most) = (range.start(), range.end());
        let fine = range.contains(&value);
        if fine {
            Ok(())
        } else {
            Err(invalid(format!("{what} is {least} to {most}, not {value}")))
        }
    }
    within("size", &SIZES, request.size)?;
    within("timeout_ms", &TIMEOUTS_MS, request.timeout_ms)?;
    match request.plan {
        ProbePlan::Ping { count, interval_ms, ttl } => {
            within("count", &COUNTS, count)?;
            within("interval_ms", &INTERVALS_MS, interval_ms)?;
            within("ttl", &(1..=u8::MAX), ttl)
        }
        ProbePlan::Trace { first, last, probes } => {
            within("the first hop", &(1..=last.max(1)), first)?;
            within("the last hop", &(1..=u8::MAX), last)?;
            within("probes", &PROBES, probes)
        }
    }
}

/// Where echo requests come from.
struct Origin {
    vif: VifId,
    of: (Arc<str>, VrfId),
    vrf_name: String,
    source: IpAddr,
}

/// The VIF and the address that the request means.
fn origin(control: &Control, request: &PingRequest) -> Result<Origin, Refusal> {
    let tables = control.engine.tables();
    let (vrf, wanted) = control.vrf_of(request.vif.as_deref(), request.vrf.as_deref())?;
    let usable = |id: VifId| {
        let vif = tables.vif(id).filter(|vif| vif.vrf == vrf)?;
        Some((id, vif, own_address(vif, request.address)?))
    };
    let up = || control.vifs().filter(|(_, vif)| vif.up).map(|(id, _)| id);
    let found = match wanted {
        Some(id) => usable(id),
        None if is_link_local(request.address) => {
            let message = "a link-local address is one on a VIF's link: give vif";
            return Err(invalid(message.to_owned()));
        }
        None => {
            // By which VIF the route leads; else any that has an address.
            let route = control.engine.lookup(vrf, request.address);
            let members = route.into_iter().flat_map(|route| control.engine.members(route.group));
            let mut ways = members.filter(|(to, _)| to.kind.is_on_vif()).map(|(to, _)| to.vif);
            ways.find_map(usable).or_else(|| up().find_map(usable))
        }
    };
    if let Some((id, vif, source)) = found {
        return Ok(Origin {
            vif: id,
            of: (vif.name.clone(), vrf),
            vrf_name: control.vrf_name(vrf),
            source,
        });
    }
    let family = if request.address.is_ipv4() { "IPv4" } else { "IPv6" };
    let mut others = up().filter_map(usable);
    let what = match others.next() {
        Some((_, other, _)) => format!("use --vif {}, which has one", other.name),
        None => format!(
            "give one of vrf \"{}\" that is up one in its `addresses`",
            control.vrf_name(vrf)
        ),
    };
    let who = match &request.vif {
        Some(vif) => format!("vif \"{vif}\" has no"),
        None => format!("no vif of vrf \"{}\" that is up has an", control.vrf_name(vrf)),
    };
    let message = format!("{who} {family} address to ask from: {what}");
    Err(Refusal::new(ErrorKind::Conflict, message))
}

/// An echo request that is waited for.
struct Waiting {
    number: u64,
    ttl: u8,
    sent: Instant,
}

/// Echo requests of one client.
struct Session {
    probing: Probing,
    origin: Origin,
    request: PingRequest,
    begun: Option<Instant>,
    /// When the next one is due.
    next: Instant,
    /// Echo requests begun.
    number: u64,
    /// How many there are to be.
    last: u64,
    /// By sequence number.
    waiting: BTreeMap<u16, Waiting>,
    sum: PingEnd,
    /// Of all replies: microseconds.
    total_us: u64,
}

impl Session {
    fn new(probing: Probing, origin: Origin, request: PingRequest) -> Session {
        let last = match request.plan {
            ProbePlan::Ping { count, .. } => count,
            ProbePlan::Trace { first, last, probes } => {
                (u64::from(last) + 1).saturating_sub(first.into()) * u64::from(probes)
            }
        };
        Session {
            probing,
            origin,
            request,
            begun: None,
            next: Instant::now(),
            number: 0,
            last,
            waiting: BTreeMap::new(),
            sum: PingEnd::default(),
            total_us: 0,
        }
    }

    /// What happens in a short while; `stop`: the client has enough.
    fn piece(&mut self, stop: bool) -> Piece {
        let start = Instant::now();
        let mut rows = Vec::new();
        if self.begun.is_none() {
            rows.push(PingRow::Begin(self.begin()));
        }
        let begun = *self.begun.get_or_insert(start);
        while rows.is_empty() && start.elapsed() < PIECE {
            rows.extend(self.send_due());
            rows.extend(self.expire());
            if stop || (self.number >= self.last && self.waiting.is_empty()) {
                self.sum.duration_ms = milliseconds(begun.elapsed());
                rows.push(PingRow::End(self.sum.clone()));
                return Piece { rows: rows.into_iter().map(Row::from).collect(), last: true };
            }
            if rows.is_empty() {
                match self.probing.answers.recv_deadline(self.wake(start + PIECE)) {
                    Ok(answer) => rows.extend(self.answered(&answer)),
                    Err(RecvTimeoutError::Timeout) => {}
                    // The station ends.
                    Err(RecvTimeoutError::Disconnected) => {
                        self.last = self.number;
                        self.waiting.clear();
                    }
                }
            }
        }
        Piece { rows: rows.into_iter().map(Row::from).collect(), last: false }
    }

    fn begin(&self) -> PingBegin {
        let header = if self.origin.source.is_ipv4() { 28 } else { 48 };
        PingBegin {
            vif: self.origin.of.0.to_string(),
            vrf: self.origin.vrf_name.clone(),
            source: self.origin.source,
            address: self.request.address,
            size: self.request.size,
            octets: u64::from(self.request.size) + header,
        }
    }

    /// When there is something to do without an answer.
    fn wake(&self, latest: Instant) -> Instant {
        let due = Some(self.next).filter(|_| self.may_send());
        let patience = Duration::from_millis(self.request.timeout_ms);
        let overdue = self.waiting.values().map(|waiting| waiting.sent + patience).min();
        due.into_iter().chain(overdue).fold(latest, Instant::min)
    }

    fn may_send(&self) -> bool {
        let at_once = match self.request.plan {
            ProbePlan::Ping { .. } => MAX_WAITING,
            ProbePlan::Trace { .. } => AT_ONCE,
        };
        self.number < self.last && self.waiting.len() < at_once
    }

    /// Sends the next one, if it is due; a row where it does not leave.
    fn send_due(&mut self) -> Option<PingRow> {
        let now = Instant::now();
        if !self.may_send() || now < self.next {
            return None;
        }
        let (ttl, pause) = match self.request.plan {
            ProbePlan::Ping { interval_ms, ttl, .. } => (ttl, Duration::from_millis(interval_ms)),
            ProbePlan::Trace { first, probes, .. } => {
                let hop = u64::from(first) + self.number / u64::from(probes);
                (u8::try_from(hop).unwrap_or(u8::MAX), PACE)
            }
        };
        self.number += 1;
        // What a stalled station missed is not made up for.
        self.next = (self.next + pause).max(now);
        let [.., a, b] = self.number.to_be_bytes();
        let sequence = u16::from_be_bytes([a, b]);
        let probe = Probe {
            vif: self.origin.vif,
            of: self.origin.of.clone(),
            to: self.request.address,
            hop_limit: ttl,
            dont_fragment: self.request.dont_fragment,
            via: None,
            question: Question::Echo(self.request.size),
            id: self.probing.id,
            room: Asks::Ping.room(),
            sequence,
            patience_ns: self.request.timeout_ms.saturating_mul(1_000_000),
        };
        let (number, waiting) = (self.number, Waiting { number: self.number, ttl, sent: now });
        match self.probing.send(vec![probe]).as_deref() {
            Some([Ok(_)]) => {
                self.sum.sent += 1;
                self.waiting.insert(sequence, waiting);
                None
            }
            sent => {
                if matches!(self.request.plan, ProbePlan::Trace { .. }) {
                    // The others would not leave either.
                    self.last = self.number;
                }
                let message = match sent {
                    Some([Err(why)]) => unsent(*why),
                    _ => "the slow path does not answer".into(),
                };
                Some(row(number, ttl, "unsent", message))
            }
        }
    }

    /// Rows for those that nobody answered in time.
    fn expire(&mut self) -> Vec<PingRow> {
        let patience = Duration::from_millis(self.request.timeout_ms);
        let is_overdue = |(&sequence, waiting): (&u16, &Waiting)| {
            (waiting.sent.elapsed() >= patience).then_some(sequence)
        };
        let overdue: Vec<u16> = self.waiting.iter().filter_map(is_overdue).collect();
        let gone = overdue.iter().filter_map(|sequence| self.waiting.remove(sequence));
        gone.map(|of| row(of.number, of.ttl, "timeout", String::new())).collect()
    }

    fn answered(&mut self, answer: &ProbeAnswer) -> Option<PingRow> {
        let Waiting { number, ttl, .. } = self.waiting.remove(&answer.sequence)?;
        let rtt_us = answer.rtt_ns / 1000;
        let is_v4 = self.request.address.is_ipv4();
        let (outcome, (message, mtu)) = match answer.said {
            Said::Reply => {
                self.count(rtt_us);
                ("reply", (String::new(), None))
            }
            Said::Error(kind, code, word) => {
                self.sum.errors += 1;
                ("error", if is_v4 { error4(kind, code, word) } else { error6(kind, code, word) })
            }
        };
        let expired = matches!(
            (is_v4, answer.said),
            (true, Said::Error(11, ..)) | (false, Said::Error(3, ..))
        );
        if let (ProbePlan::Trace { first, probes, .. }, false) = (self.request.plan, expired) {
            // Whoever answers otherwise ends the way: the other probes of this hop are the last.
            let hops = u64::from(ttl).saturating_sub(first.into()) + 1;
            self.last = self.last.min(hops * u64::from(probes)).max(self.number);
        }
        Some(PingRow::Probe(ProbeRow {
            sequence: number,
            ttl,
            outcome: outcome.into(),
            from: Some(answer.from),
            message,
            mtu,
            answer_ttl: Some(answer.hop_limit),
            octets: Some(answer.octets as u64),
            rtt_us: Some(rtt_us),
        }))
    }

    fn count(&mut self, rtt_us: u64) {
        let sum = &mut self.sum;
        sum.received += 1;
        self.total_us += rtt_us;
        sum.min_us = Some(sum.min_us.map_or(rtt_us, |min| min.min(rtt_us)));
        sum.max_us = Some(sum.max_us.map_or(rtt_us, |max| max.max(rtt_us)));
        sum.avg_us = Some(self.total_us / sum.received);
    }
}

fn row(sequence: u64, ttl: u8, outcome: &str, message: String) -> PingRow {
    PingRow::Probe(ProbeRow {
        sequence,
        ttl,
        outcome: outcome.into(),
        from: None,
        message,
        mtu: None,
        answer_ttl: None,
        octets: None,
        rtt_us: None,
    })
}
