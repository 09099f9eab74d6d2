//! `ping` and `traceroute`: their arguments, and what they print.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::IpAddr;

use clap::{ArgGroup, Args as ClapArgs};

use super::args::Args;
use super::capture::end_by_signals;
use super::{Failure, output};
use crate::admin::client::Client;
use crate::admin::protocol::{PingRequest, ProbePlan, Request};
use crate::admin::rows::{PingBegin, PingEnd, PingRow, ProbeRow};

/// From where, to where, and how large.
#[derive(ClapArgs, Debug)]
#[command(group = ArgGroup::new("origin").required(true).args(["vif", "vrf"]))]
struct Ends {
    /// From the address of this VIF
    #[arg(long, value_name = "NAME")]
    vif: Option<String>,
    /// From an address of this VRF: of the VIF by which the route leads
    #[arg(long, value_name = "NAME")]
    vrf: Option<String>,
    /// IPv4: no router may fragment the packets (IPv6 routers never do)
    #[arg(long, visible_alias = "do")]
    df: bool,
    /// The destination
    address: IpAddr,
}

impl Ends {
    fn request(&self, size: u16, timeout: f64, plan: ProbePlan) -> Request {
        Request::Ping(PingRequest {
            vif: self.vif.clone(),
            vrf: self.vrf.clone(),
            address: self.address,
            size,
            dont_fragment: self.df,
            timeout_ms: ms(timeout),
            plan,
        })
    }
}

/// Seconds as milliseconds; the station refuses what is out of bounds.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
fn ms(seconds: f64) -> u64 {
    (seconds * 1000.0).round() as u64
}

/// Send echo requests from a VIF's own address, through the data path
///
/// Of either family. Replies are shown with their times, ICMP errors with who sent them and the MTU that
/// they state, and what nobody answers in time. Requests leave by the routes of the VIF's VRF and through
/// the data path, as a packet of a customer's would; by the VIF itself where one of the route's members
/// leads there. They are no longer than the MTU of the way out: an answer in fragments is not put together.
///
/// An answer is one to a request that is waited for: in the same VRF, from the address asked, or quoting
/// the request; and by a VIF that the request might have left by. 8 pings and traceroutes run at a time,
/// each with 64 requests that are waited for, 100 a second at most. Ctrl-C ends it with the sum. The exit
/// status is 1 where nobody replied.
#[derive(ClapArgs, Debug)]
pub(super) struct PingArgs {
    #[command(flatten)]
    ends: Ends,
    /// How many
    #[arg(short, long, value_name = "N", default_value_t = 5)]
    count: u64,
    /// Seconds between two, 0.01 at least
    #[arg(short, long, value_name = "SECONDS", default_value_t = 1.0)]
    interval: f64,
    /// Octets behind the ICMP header
    #[arg(short, long, value_name = "OCTETS", default_value_t = 56)]
    size: u16,
    /// Their TTL or hop limit
    #[arg(short, long, value_name = "N", default_value_t = 64)]
    ttl: u8,
    /// Seconds that an answer is waited for
    #[arg(short = 'W', long, value_name = "SECONDS", default_value_t = 1.0)]
    timeout: f64,
}

/// Find the hops to an address, from a VIF's own address, through the data path
///
/// By echo requests with TTLs from the first to the last hop. Behind a time, !N, !H, !P, !X and !F-MTU are
/// errors as traceroute(8) has them.
#[derive(ClapArgs, Debug)]
pub(super) struct TraceArgs {
    #[command(flatten)]
    ends: Ends,
    /// The first hop
    #[arg(short, long, value_name = "N", default_value_t = 1)]
    first: u8,
    /// The last hop
    #[arg(short, long, value_name = "N", default_value_t = 30)]
    max_hops: u8,
    /// Echo requests for each hop
    #[arg(short, long, value_name = "N", default_value_t = 3)]
    queries: u8,
    /// Octets behind the ICMP header
    #[arg(short, long, value_name = "OCTETS", default_value_t = 32)]
    size: u16,
    /// Seconds that an answer is waited for
    #[arg(short = 'W', long, value_name = "SECONDS", default_value_t = 1.0)]
    timeout: f64,
}

impl PingArgs {
    /// What goes to the station.
    pub(super) fn request(&self) -> Request {
        let (count, interval_ms, ttl) = (self.count, ms(self.interval), self.ttl);
        self.ends.request(self.size, self.timeout, ProbePlan::Ping { count, interval_ms, ttl })
    }

    /// Pings until the last answer, or until the user has enough.
    pub(super) fn run(&self, args: &Args, out: &mut impl Write) -> Result<(), Failure> {
        follow(args, &self.request(), out, |row, out| match row {
            PingRow::Begin(begin) => {
                let PingBegin { vif, source, address, size, octets, .. } = begin;
                writeln!(
                    out,
                    "PING {address} from {source} vif {vif}: {size}({octets}) bytes of data."
                )
            }
            PingRow::Probe(probe) => writeln!(out, "{}", told(probe)),
            PingRow::End(end) => sum(self.ends.address, end, out),
        })
    }
}

impl TraceArgs {
    /// What goes to the station.
    pub(super) fn request(&self) -> Request {
        let (first, last, probes) = (self.first, self.max_hops, self.queries);
        self.ends.request(self.size, self.timeout, ProbePlan::Trace { first, last, probes })
    }

    /// Traces until the destination answers, the last hop, or until the user has enough.
    pub(super) fn run(&self, args: &Args, out: &mut impl Write) -> Result<(), Failure> {
        let mut hops = Hops::new(self.first, self.queries.into());
        follow(args, &self.request(), out, |row, out| match row {
            PingRow::Begin(PingBegin { vif, source, address, octets, .. }) => {
                let most = self.max_hops;
                writeln!(
                    out,
                    "traceroute to {address} from {source} vif {vif}, {most} hops max, {octets} byte packets"
                )
            }
            PingRow::Probe(probe) => hops.add(probe.clone(), out),
            PingRow::End(_) => hops.end(out),
        })
    }
}

/// Shows what the station tells until it ends. An error where nobody replied.
fn follow<W: Write>(
    args: &Args,
    request: &Request,
    out: &mut W,
    mut show: impl FnMut(&PingRow, &mut W) -> io::Result<()>,
) -> Result<(), Failure> {
    let mut client = Client::connect(&args.socket, request)?;
    // The first line says that it has begun, or why not.
    client.line::<PingRow>()?;
    end_by_signals(client.handle()?)?;
    let (mut written, mut replies) = (0, 0);
    while let Some(line) = client.line::<PingRow>()? {
        if args.json {
            output::json_rows(out, &line.rows, written)?;
            written += line.rows.len();
        }
        for row in &line.rows {
            if !args.json {
                show(row, out)?;
            }
            if let PingRow::End(end) = row {
                replies = end.received;
            }
        }
        out.flush()?;
    }
    if args.json {
        output::json_end(out, written)?;
    }
    match replies {
        0 => Err(Failure::NoReply("there was no reply".to_owned())),
        _ => Ok(()),
    }
}

/// Microseconds as milliseconds.
fn time(us: u64) -> String {
    format!("{}.{:03}", us / 1000, us % 1000)
}

/// What became of an echo request, as iputils' ping says it.
fn told(probe: &ProbeRow) -> String {
    let ProbeRow { sequence, from, message, .. } = probe;
    match (&*probe.outcome, from) {
        ("reply", Some(from)) => {
            let (octets, ttl) = (probe.octets.unwrap_or(0), probe.answer_ttl.unwrap_or(0));
            let time = time(probe.rtt_us.unwrap_or(0));
            format!("{octets} bytes from {from}: icmp_seq={sequence} ttl={ttl} time={time} ms")
        }
        (_, Some(from)) => format!("From {from} icmp_seq={sequence} {message}"),
        ("timeout", None) => format!("no answer for icmp_seq={sequence}"),
        (_, None) => format!("not sent: icmp_seq={sequence} {message}"),
    }
}

fn sum(address: IpAddr, end: &PingEnd, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "\n--- {address} ping statistics ---")?;
    let PingEnd { sent, received, errors, duration_ms, .. } = *end;
    let errors = if errors == 0 { String::new() } else { format!(", +{errors} errors") };
    let loss = (sent - received.min(sent)) * 100 / sent.max(1);
    writeln!(
        out,
        "{sent} packets transmitted, {received} received{errors}, {loss}% packet loss, time {duration_ms}ms"
    )?;
    let [Some(min), Some(avg), Some(max)] = [end.min_us, end.avg_us, end.max_us] else {
        return Ok(());
    };
    writeln!(out, "rtt min/avg/max = {}/{}/{} ms", time(min), time(avg), time(max))
}

/// Hops that are not shown yet.
struct Hops {
    /// The next one to show.
    next: u8,
    probes: usize,
    found: BTreeMap<u8, Vec<ProbeRow>>,
    /// The destination, or who ends the way, has been shown.
    ended: bool,
}

impl Hops {
    fn new(first: u8, probes: usize) -> Hops {
        Hops { next: first, probes, found: BTreeMap::new(), ended: false }
    }

    fn add(&mut self, probe: ProbeRow, out: &mut impl Write) -> io::Result<()> {
        self.found.entry(probe.ttl).or_default().push(probe);
        while let Some(probes) = self.found.get(&self.next)
            && (probes.len() >= self.probes || probes.iter().any(|p| p.outcome == "unsent"))
        {
            self.show_next(out)?;
        }
        Ok(())
    }

    /// Shows what is left, whole or not.
    fn end(&mut self, out: &mut impl Write) -> io::Result<()> {
        while !self.found.is_empty() {
            self.show_next(out)?;
        }
        Ok(())
    }

    fn show_next(&mut self, out: &mut impl Write) -> io::Result<()> {
        let mut probes = self.found.remove(&self.next).unwrap_or_default();
        if !self.ended && !probes.is_empty() {
            probes.sort_by_key(|probe| probe.sequence);
            writeln!(out, "{:2}  {}", self.next, hop(&probes))?;
        }
        let expired = |probe: &ProbeRow| mark(probe).is_empty() && probe.outcome == "error";
        self.ended |= probes.iter().any(|probe| probe.from.is_some() && !expired(probe));
        self.next = self.next.saturating_add(1);
        Ok(())
    }
}

/// The answers of one hop: each address once, before its first time.
fn hop(probes: &[ProbeRow]) -> String {
    let mut last = None;
    let answers = probes.iter().map(|probe| match probe.from {
        Some(from) => {
            let address = if last == Some(from) { String::new() } else { format!("{from}  ") };
            last = Some(from);
            let mark = mark(probe);
            let space = if mark.is_empty() { "" } else { " " };
            format!("{address}{} ms{space}{mark}", time(probe.rtt_us.unwrap_or(0)))
        }
        None if probe.outcome == "timeout" => "*".to_owned(),
        None => format!("not sent: {}", probe.message),
    });
    answers.collect::<Vec<_>>().join("  ")
}

/// What is behind the time of an ICMP error that is none of the hop limit, as traceroute(8) has it.
fn mark(probe: &ProbeRow) -> String {
    let has = |word: &str| probe.message.contains(word);
    match &*probe.outcome {
        "error" if has("exceeded") => String::new(),
        "error" => match probe.mtu {
            Some(mtu) => format!("!F-{mtu}"),
            None if has("Net Unreachable") || has("No route") => "!N".to_owned(),
            None if has("Host Unreachable") || has("Address unreachable") => "!H".to_owned(),
            None if has("Protocol") => "!P".to_owned(),
            None if has("filtered") || has("prohibited") => "!X".to_owned(),
            None => format!("! {}", probe.message),
        },
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(sequence: u64, ttl: u8, outcome: &str, from: Option<&str>) -> ProbeRow {
        ProbeRow {
            sequence,
            ttl,
            outcome: outcome.into(),
            from: from.map(|from| from.parse().unwrap()),
            message: if outcome == "error" {
                "Time to live exceeded".into()
            } else {
                String::new()
            },
            mtu: None,
            answer_ttl: Some(63),
            octets: Some(64),
            rtt_us: from.map(|_| 1_234),
        }
    }

    #[test]
    fn an_answer_is_told_as_ping_does() {
        let reply = probe(3, 64, "reply", Some("10.2.0.10"));
        assert_eq!(told(&reply), "64 bytes from 10.2.0.10: icmp_seq=3 ttl=63 time=1.234 ms");
        let error = probe(4, 1, "error", Some("10.9.0.1"));
        assert_eq!(told(&error), "From 10.9.0.1 icmp_seq=4 Time to live exceeded");
        assert_eq!(told(&probe(5, 64, "timeout", None)), "no answer for icmp_seq=5");
    }

    #[test]
    fn the_sum_has_loss_and_times() {
        let mut out = Vec::new();
        let end = PingEnd {
            sent: 3,
            received: 2,
            errors: 1,
            min_us: Some(100),
            avg_us: Some(1_500),
            max_us: Some(2_900),
            duration_ms: 2_003,
        };
        sum("10.2.0.10".parse().unwrap(), &end, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.contains(
                "3 packets transmitted, 2 received, +1 errors, 33% packet loss, time 2003ms"
            ),
            "{text}"
        );
        assert!(text.ends_with("rtt min/avg/max = 0.100/1.500/2.900 ms\n"), "{text}");
    }

    #[test]
    fn hops_are_shown_in_order_and_end_with_the_destination() {
        let mut hops = Hops::new(1, 2);
        let mut out = Vec::new();
        for of in [
            probe(3, 2, "reply", Some("10.2.0.10")),
            probe(1, 1, "error", Some("10.9.0.1")),
            probe(5, 3, "reply", Some("10.2.0.10")),
            probe(2, 1, "timeout", None),
            probe(4, 2, "reply", Some("10.2.0.10")),
            probe(6, 3, "reply", Some("10.2.0.10")),
        ] {
            hops.add(of, &mut out).unwrap();
        }
        hops.end(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, " 1  10.9.0.1  1.234 ms  *\n 2  10.2.0.10  1.234 ms  1.234 ms\n");
    }

    #[test]
    fn other_errors_have_their_marks() {
        let with = |message: &str, mtu| {
            mark(&ProbeRow {
                message: message.into(),
                mtu,
                ..probe(1, 1, "error", Some("10.0.0.1"))
            })
        };
        assert_eq!(with("Destination Net Unreachable", None), "!N");
        assert_eq!(with("Destination unreachable: Address unreachable", None), "!H");
        assert_eq!(with("Packet too big: mtu=1280", Some(1280)), "!F-1280");
        assert_eq!(with("Packet filtered", None), "!X");
        assert_eq!(with("Time exceeded: Hop limit", None), "");
    }
}
