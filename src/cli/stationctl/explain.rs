//! `explain`: its arguments, captures read in batches, and how explanations are told.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args as ClapArgs};

use super::args::Args;
use super::drops::headers;
use super::output::{self, Show};
use super::table::{self, Look, number, prose, text};
use super::tables::or_dash;
use super::units::count;
use super::{Failure, rows};
use crate::admin::client;
use crate::admin::protocol::{ExplainRequest, MAX_FRAMES, PacketSpec, Request};
use crate::admin::rows::{ExplainRow, PortRow};
use crate::replay::capture::read::{Captured, Reader};
use crate::replay::capture::undeliverable;
use crate::wire::ipv4::{ICMP, TCP, UDP};
use crate::wire::ipv6::ICMPV6;

/// Octets of frames in one request, as hexadecimal digits: half of what a request may have.
const MAX_OCTETS: usize = 16 << 10;

/// Explain what becomes of a packet, stage by stage: no frame is sent and nothing is counted
///
/// Each stage of the packet path with what it looked at, the routes of destination and source, the group's
/// member that the flow takes, port, VLAN and MACs of the way out, and the octets that would leave; or the
/// stage that ends it, why, and what to do. The packet takes the packet path's own code over the running
/// tables, on the side. The budgets of the slow path count as full, and a port's transmit ring as empty.
///
/// A frame's own tags say by which VIF of its port it enters. Of a capture each frame gets a line, with the
/// sum of the fates at the end; frames that it marks as outbound, or holds in part, are left out and
/// counted. Frames go in batches of 64, each a short task of the control thread.
#[derive(ClapArgs, Debug)]
#[command(group = ArgGroup::new("entrance").args(["vif", "port"]))]
#[command(group = ArgGroup::new("what").required(true).args(["from", "frame", "pcap"]))]
pub(super) struct ExplainArgs {
    /// The packet enters by this VIF, with its tags; a frame enters by its port
    #[arg(long, value_name = "NAME")]
    vif: Option<String>,
    /// The frames enter by this port
    #[arg(long, value_name = "NAME", conflicts_with = "from")]
    port: Option<String>,
    /// The packet's source
    #[arg(long, value_name = "ADDRESS", requires = "to", requires = "vif")]
    from: Option<IpAddr>,
    /// The packet's destination
    #[arg(long, value_name = "ADDRESS", requires = "from")]
    to: Option<IpAddr>,
    /// tcp (its first segment), udp, icmp (an echo request), or a protocol's number
    #[arg(long, value_name = "PROTOCOL", default_value = "icmp", value_parser = protocol)]
    proto: Protocol,
    /// The source port of tcp or udp
    #[arg(long, value_name = "PORT", requires = "from")]
    sport: Option<u16>,
    /// The destination port of tcp or udp
    #[arg(long, value_name = "PORT", requires = "from")]
    dport: Option<u16>,
    /// TTL or hop limit
    #[arg(long, value_name = "N", default_value_t = 64)]
    ttl: u8,
    /// Octets of IP packet; the headers alone if not given
    #[arg(long, value_name = "OCTETS", requires = "from")]
    length: Option<u16>,
    /// A whole frame in hexadecimal digits, from the destination MAC on, tags included, without FCS
    #[arg(long, value_name = "HEX", requires = "entrance")]
    frame: Option<String>,
    /// The frames of a capture (pcap or pcapng); where it names the port of a frame, that is where it enters
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
}

/// A protocol that goes by its name in both families, or by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Icmp,
    Number(u8),
}

fn protocol(text: &str) -> Result<Protocol, String> {
    match text {
        "icmp" => Ok(Protocol::Icmp),
        "tcp" => Ok(Protocol::Number(TCP)),
        "udp" => Ok(Protocol::Number(UDP)),
        number => number
            .parse()
            .map(Protocol::Number)
            .map_err(|_| "write tcp, udp, icmp or a number from 0 to 255".to_owned()),
    }
}

impl ExplainArgs {
    /// What goes to the station, but for the frames of a capture.
    pub(super) fn request(&self) -> Request {
        let packet = self.from.zip(self.to).map(|(from, to)| PacketSpec {
            from,
            to,
            protocol: match self.proto {
                Protocol::Icmp if from.is_ipv4() => ICMP,
                Protocol::Icmp => ICMPV6,
                Protocol::Number(number) => number,
            },
            // Any port of those that hosts choose from (RFC 6335 6), to a service.
            source_port: self.sport.unwrap_or(49152),
            destination_port: self.dport.unwrap_or(443),
            ttl: self.ttl,
            length: self.length,
        });
        let digits =
            |hex: &String| hex.chars().filter(|c| !matches!(c, ' ' | ':' | '\n')).collect();
        Request::Explain(ExplainRequest {
            vif: self.vif.clone(),
            port: self.port.clone(),
            packet,
            frames: self.frame.iter().map(digits).collect(),
        })
    }

    /// Explains what is asked about.
    pub(super) fn run(&self, args: &Args, out: &mut impl Write) -> Result<(), Failure> {
        let has_ports = matches!(self.proto, Protocol::Number(TCP | UDP));
        if (self.sport.is_some() || self.dport.is_some()) && !has_ports {
            let message = "ports go with --proto tcp or --proto udp";
            return Err(Failure::Usage(message.to_owned()));
        }
        match &self.pcap {
            Some(file) => self.capture(args, file, out),
            None => rows::<ExplainRow>(args, &self.request(), out),
        }
    }

    /// Explains the frames of a capture, a batch at a time.
    fn capture(&self, args: &Args, file: &Path, out: &mut impl Write) -> Result<(), Failure> {
        let failed = |error: crate::replay::capture::CaptureError| {
            Failure::Input(io::Error::other(error.to_string()))
        };
        let ports: Vec<PortRow> = client::all(&args.socket, &Request::ShowPorts)?;
        let mut reader = Reader::open(file).map_err(failed)?;
        let mut told = Told::new(args.json);
        let mut batch = Batch::default();
        let mut number = 0;
        while let Some(captured) = reader.next().map_err(failed)? {
            number += 1;
            if let Some(why) = undeliverable(&captured) {
                told.leave_out(why);
                continue;
            }
            let entrance = self.entrance(&ports, &captured, number)?;
            if !batch.has_room(&entrance, captured.data.len()) {
                told.take(batch.ask(args)?, out)?;
            }
            batch.add(entrance, number, &captured.data);
        }
        told.take(batch.ask(args)?, out)?;
        told.end(reader.damage(), out)
    }

    /// Where a frame enters: the port that the capture names, else what the user says.
    fn entrance(
        &self,
        ports: &[PortRow],
        captured: &Captured,
        number: u64,
    ) -> Result<Entrance, Failure> {
        let named = captured.interface.as_ref().and_then(|name| {
            let by_name = ports.iter().find(|port| port.name == *name);
            by_name.or_else(|| ports.iter().find(|port| port.interface == *name))
        });
        match (named, &self.port, &self.vif) {
            (Some(port), _, _) => Ok(Entrance { vif: None, port: Some(port.name.clone()) }),
            (None, None, None) => Err(Failure::Usage(format!(
                "the capture does not say by which port frame {number} enters: give --port or --vif"
            ))),
            (None, port, vif) => Ok(Entrance { vif: vif.clone(), port: port.clone() }),
        }
    }
}

/// Where frames enter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Entrance {
    vif: Option<String>,
    port: Option<String>,
}

/// Frames that are explained by one request.
#[derive(Debug, Default)]
struct Batch {
    entrance: Entrance,
    frames: Vec<(u64, String)>,
    octets: usize,
}

impl Batch {
    /// Whether a frame of so many octets goes into the same request.
    fn has_room(&self, entrance: &Entrance, octets: usize) -> bool {
        self.frames.is_empty()
            || self.entrance == *entrance
                && self.frames.len() < MAX_FRAMES
                && self.octets + octets <= MAX_OCTETS
    }

    fn add(&mut self, entrance: Entrance, number: u64, frame: &[u8]) {
        self.entrance = entrance;
        self.octets += frame.len();
        self.frames.push((number, frame.iter().map(|octet| format!("{octet:02x}")).collect()));
    }

    /// The explanations of its frames; it is empty afterwards.
    fn ask(&mut self, args: &Args) -> Result<Vec<ExplainRow>, Failure> {
        let Batch { entrance, frames, .. } = std::mem::take(self);
        if frames.is_empty() {
            return Ok(Vec::new());
        }
        let (numbers, frames): (Vec<u64>, Vec<String>) = frames.into_iter().unzip();
        let Entrance { vif, port } = entrance;
        let request = Request::Explain(ExplainRequest { vif, port, packet: None, frames });
        let mut rows: Vec<ExplainRow> = client::all(&args.socket, &request)?;
        rows.iter_mut().zip(numbers).for_each(|(row, number)| row.frame = number);
        Ok(rows)
    }
}

/// What is told of a capture.
struct Told {
    json: bool,
    written: usize,
    page: Vec<Vec<String>>,
    /// Frames by where they entered and by verdict, and what the verdict means.
    fates: BTreeMap<(String, String), (u64, String)>,
    /// Frames that were not explained, by why.
    left_out: BTreeMap<&'static str, u64>,
}

impl Told {
    fn new(json: bool) -> Told {
        let (fates, left_out) = (BTreeMap::new(), BTreeMap::new());
        Told { json, written: 0, page: Vec::new(), fates, left_out }
    }

    fn leave_out(&mut self, why: &'static str) {
        *self.left_out.entry(why).or_default() += 1;
    }

    fn take(&mut self, rows: Vec<ExplainRow>, out: &mut impl Write) -> Result<(), Failure> {
        if self.json {
            output::json_rows(out, &rows, self.written)?;
            self.written += rows.len();
            return Ok(());
        }
        for row in rows {
            let place = place(&row);
            let (number, frame) = (count(row.frame), headers(&row.headers));
            self.page.push(vec![number, place.clone(), row.verdict.clone(), row.stage, frame]);
            let fate = self.fates.entry((place, row.verdict)).or_insert((0, row.help));
            fate.0 += 1;
        }
        if self.page.len() >= output::PAGE {
            self.show_page(out)?;
        }
        Ok(())
    }

    fn show_page(&mut self, out: &mut impl Write) -> io::Result<()> {
        let headings = [
            number("FRAME", 0),
            text("WHERE", 0),
            text("VERDICT", 0),
            text("STAGE", 1),
            prose("HEADERS", 0),
        ];
        table::write(out, &Look::default(), &headings, std::mem::take(&mut self.page))?;
        writeln!(out)
    }

    fn end(mut self, damage: Option<String>, out: &mut impl Write) -> Result<(), Failure> {
        if self.json {
            return Ok(output::json_end(out, self.written)?);
        }
        if !self.page.is_empty() {
            self.show_page(out)?;
        }
        let fates = std::mem::take(&mut self.fates);
        let fates = fates
            .into_iter()
            .map(|((place, verdict), (frames, help))| vec![place, verdict, count(frames), help]);
        let left_out = std::mem::take(&mut self.left_out);
        let left_out = left_out.into_iter().map(|(why, frames)| {
            vec!["-".to_owned(), "not explained".to_owned(), count(frames), why.to_owned()]
        });
        table::write(
            out,
            &Look::default(),
            &[text("WHERE", 0), text("VERDICT", 0), number("FRAMES", 0), prose("MEANING", 0)],
            fates.chain(left_out),
        )?;
        if let Some(damage) = damage {
            writeln!(out, "\n{damage}")?;
        }
        Ok(())
    }
}

/// The VIF by which a frame entered, else the port.
fn place(row: &ExplainRow) -> String {
    match &row.vif {
        Some(vif) => format!("vif {vif}"),
        None => format!("port {}", row.port),
    }
}

impl Show for ExplainRow {
    fn show(rows: &[Self], look: &Look, out: &mut impl Write) -> io::Result<()> {
        for row in rows {
            writeln!(out, "{}, {} octets", headers(&row.headers), row.octets)?;
            let stages = row.stages.iter().map(|stage| {
                let decided = or_dash(stage.verdict.as_ref());
                vec![stage.stage.clone(), decided, stage.detail.clone()]
            });
            table::write(
                out,
                look,
                &[text("STAGE", 0), text("VERDICT", 0), prose("WHY", 0)],
                stages,
            )?;
            let space = if row.help.is_empty() { "" } else { ": " };
            writeln!(out, "{}{space}{}", row.verdict, row.help)?;
            for (name, route) in
                [("destination", &row.destination_route), ("source", &row.source_route)]
            {
                let Some(route) = route else { continue };
                let prefix = route.prefix.map_or("no route".to_owned(), |p| p.to_string());
                let via = route.via.iter().map(member).collect::<Vec<_>>().join(", ");
                let line = format!("{name:11} {} {prefix} {via}", route.address);
                writeln!(out, "{}", line.trim_end())?;
            }
            if let Some(sent) = &row.sent {
                writeln!(out, "leaves as   {sent}")?;
            }
        }
        Ok(())
    }
}

/// A member of a group, in words.
fn member(member: &crate::admin::rows::Member) -> String {
    let hop = or_dash(member.next_hop);
    format!("via {hop} on {} ({})", member.vif, member.state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_holds_frames_of_one_entrance_and_what_a_request_may_have() {
        let entrance = |port: &str| Entrance { vif: None, port: Some(port.to_owned()) };
        let mut batch = Batch::default();
        assert!(batch.has_room(&entrance("a"), 4096));
        batch.add(entrance("a"), 1, &[0; 1500]);
        assert!(batch.has_room(&entrance("a"), 60) && !batch.has_room(&entrance("b"), 60));
        assert!(!batch.has_room(&entrance("a"), MAX_OCTETS));
        (2..=64).for_each(|number| batch.add(entrance("a"), number, &[0; 60]));
        assert!(!batch.has_room(&entrance("a"), 60));
    }

    #[test]
    fn protocols_have_names_and_numbers() {
        assert_eq!(protocol("tcp"), Ok(Protocol::Number(6)));
        assert_eq!(protocol("icmp"), Ok(Protocol::Icmp));
        assert_eq!(protocol("47"), Ok(Protocol::Number(47)));
        for bad in ["256", "TCP/IP", ""] {
            assert!(protocol(bad).unwrap_err().contains("tcp, udp, icmp"), "{bad}");
        }
    }
}
