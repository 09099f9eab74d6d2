//! `stationd replay`: what would the station do with this capture? Each frame goes through the whole
//! station ([`super::MemoryStation`]); the output is the capture again, with a comment on each frame that
//! says what became of it, and the frames that the station sent because of it.
//!
//! The capture's timestamps are the clock: between two frames the slow path's timers run as they would
//! have. A capture may be truncated or damaged like any input: what can be read is replayed.
//!
//! Routes that come by BGP are no part of the configuration. They are taken from the running station or
//! from a file of them; without, the frames whose fate hangs on them are not judged.

pub(crate) mod read;
mod routes;
mod summary;
mod write;

use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{MemoryStation, ReplayError, Report};
use crate::config::model::Config;
use crate::config::{self, ConfigError};
use crate::control::PortFacts;
use crate::port::LONGEST;
use crate::tables::{PortId, Verdict, VifId};
use crate::wire::ethernet::{ETHERTYPE_IPV6, ETHERTYPE_SERVICE_TAG, ETHERTYPE_VLAN, Mac, be16};
use read::{Captured, Reader};
use routes::Known;
pub use routes::{LearnedRow, RoutesFrom};
pub use summary::{MacSource, PortRow, Row, Summary};
use summary::{NOT_JUDGED, ROUTES_UNKNOWN, ROUTES_UNKNOWN_HELP};
use write::Writer;

/// Between two ticks of the slow path, as in the daemon.
const TICK_NS: u64 = 10_000_000;
/// Ticks in one gap of the capture at most: the timers of 10 s, then the clock jumps.
const MAX_TICKS: u32 = 1_000;
/// The clock at the first frame. Not 0, so that nothing looks as old as the clock itself.
const START_NS: u64 = 1_000_000_000;

/// How to read a capture.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The port that frames enter by where the capture does not name one; default: the first port.
    pub port: Option<String>,
    /// MACs of ports by name; default: the most frequent unicast destination of the port's frames.
    pub macs: Vec<(String, Mac)>,
    /// Where the routes and neighbors come from that the configuration does not say.
    pub routes: Option<RoutesFrom>,
}

/// Why a capture could not be replayed.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The configuration is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An option names a port that is not there.
    #[error("there is no port {0:?} in the configuration; its ports are {1}")]
    NoSuchPort(String, String),
    /// The configuration has no port.
    #[error("the configuration has no port that frames could enter by")]
    NoPort,
    /// A file could not be used.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// Not an ordinary file: it is read twice.
    #[error("{} is not an ordinary file; save the capture first", .0.display())]
    NotAFile(PathBuf),
    /// The output would overwrite the input.
    #[error("{} is the capture itself; name another file for the output", .0.display())]
    SameFile(PathBuf),
    /// Neither pcap nor pcapng.
    #[error("{}: neither a pcap nor a pcapng capture ({why})", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with its head.
        why: String,
    },
    /// Frames of another link type.
    #[error(
        "{}: link type {link}, not Ethernet; capture on one interface (tcpdump -i eth1), not on \"any\"",
        path.display()
    )]
    LinkType {
        /// The file.
        path: PathBuf,
        /// The link type.
        link: String,
    },
    /// The output could not be written.
    #[error("{}: cannot write: {why}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        why: String,
    },
    /// Routes and neighbors could not be had.
    #[error("routes from {from}: {why}")]
    Routes {
        /// Where they should have come from.
        from: String,
        /// What is wrong.
        why: String,
    },
    /// The station could not be made.
    #[error(transparent)]
    Station(#[from] ReplayError),
    /// The station lost count.
    #[error("BUG: {0}. Report it, with the capture if you can")]
    Conservation(String),
}

/// Replays the capture `input` (pcap or pcapng) through the station that the configuration file makes,
/// and writes what happened to `output` (pcapng).
///
/// # Errors
/// [`CaptureError`]; `output` may be partly written then.
pub fn run(
    config_path: &Path,
    input: &Path,
    output: &Path,
    options: &Options,
) -> Result<Summary, CaptureError> {
    let (config, _) = config::load(config_path)?;
    let default = default_port(&config, options)?;
    let given = given_macs(&config, options)?;
    check_files(input, output)?;
    let macs = find_macs(&config, input, default, &given)?;
    let facts: Vec<PortFacts> =
        macs.iter().map(|&(mac, _)| PortFacts { mac, mtu: u16::MAX, link_up: true }).collect();
    let mut station = MemoryStation::new(&config, &facts)?;
    let known = routes::take(station.engine(), &config, options.routes.as_ref())?;
    let mut replay = Replay {
        station,
        known,
        writer: Writer::create(output, &config, &macs)?,
        summary: Summary::new(&config, &macs),
        ports: ports_by_name(&config),
        default,
        clock: None,
        number: 0,
    };
    let mut reader = Reader::open(input)?;
    while let Some(captured) = reader.next()? {
        replay.captured(&captured)?;
    }
    replay.summary.damage = reader.damage();
    replay.summary.learned = replay.known.rows(replay.station.engine());
    replay.writer.finish()?;
    replay.station.check_conservation().map_err(CaptureError::Conservation)?;
    Ok(replay.summary)
}

/// Where frames enter that name no port.
fn default_port(config: &Config, options: &Options) -> Result<PortId, CaptureError> {
    match &options.port {
        Some(name) => port_named(config, name),
        None if config.ports.is_empty() => Err(CaptureError::NoPort),
        None => Ok(PortId(0)),
    }
}

fn port_named(config: &Config, name: &str) -> Result<PortId, CaptureError> {
    let found = (0..).zip(&config.ports).find(|(_, port)| *port.name == *name);
    found.map(|(id, _)| PortId(id)).ok_or_else(|| {
        let names: Vec<&str> = config.ports.iter().map(|port| &*port.name).collect();
        CaptureError::NoSuchPort(name.to_owned(), names.join(", "))
    })
}

fn given_macs(config: &Config, options: &Options) -> Result<HashMap<PortId, Mac>, CaptureError> {
    let macs = options.macs.iter();
    macs.map(|(name, mac)| Ok((port_named(config, name)?, *mac))).collect()
}

/// Ports by what a capture may call them: their name, or their Linux interface. Names come first.
fn ports_by_name(config: &Config) -> HashMap<String, PortId> {
    let ids = || (0..).map(PortId).zip(&config.ports);
    let interfaces = ids().map(|(id, port)| (port.interface.clone(), id));
    interfaces.chain(ids().map(|(id, port)| (port.name.to_string(), id))).collect()
}

fn check_files(input: &Path, output: &Path) -> Result<(), CaptureError> {
    let failed = |error| CaptureError::File { path: input.to_owned(), error };
    let source = std::fs::metadata(input).map_err(failed)?;
    if !source.is_file() {
        return Err(CaptureError::NotAFile(input.to_owned()));
    }
    match std::fs::metadata(output) {
        Ok(target) if (target.dev(), target.ino()) == (source.dev(), source.ino()) => {
            Err(CaptureError::SameFile(input.to_owned()))
        }
        _ => Ok(()),
    }
}

/// Each port's MAC: as given; else what most of its frames were sent to; else one made up.
fn find_macs(
    config: &Config,
    input: &Path,
    default: PortId,
    given: &HashMap<PortId, Mac>,
) -> Result<Vec<(Mac, MacSource)>, CaptureError> {
    let ports = ports_by_name(config);
    let mut seen: HashMap<PortId, BTreeMap<[u8; 6], u64>> = HashMap::new();
    let mut reader = Reader::open(input)?;
    while let Some(captured) = reader.next()? {
        if let Some(&to) = captured.data.first_chunk::<6>()
            && !Mac(to).is_group()
            && !captured.outbound
        {
            let port = enters_by(&ports, default, &captured);
            *seen.entry(port).or_default().entry(to).or_default() += 1;
        }
    }
    let ids = (0..=u8::MAX).map(PortId).zip(&config.ports);
    let macs = ids.map(|(id, _)| {
        // Of equals the lowest, so that the same capture gives the same answer.
        let most =
            seen.get(&id).and_then(|macs| macs.iter().rev().max_by_key(|(_, count)| **count));
        match (given.get(&id), most) {
            (Some(&mac), _) => (mac, MacSource::Given),
            (None, Some((&mac, _))) => (Mac(mac), MacSource::Capture),
            (None, None) => (Mac([2, 0, 0, 0, 0, id.0.saturating_add(1)]), MacSource::MadeUp),
        }
    });
    Ok(macs.collect())
}

fn enters_by(ports: &HashMap<String, PortId>, default: PortId, captured: &Captured) -> PortId {
    let named = captured.interface.as_ref().and_then(|name| ports.get(name));
    named.copied().unwrap_or(default)
}

struct Replay {
    station: MemoryStation,
    known: Known,
    writer: Writer,
    summary: Summary,
    ports: HashMap<String, PortId>,
    default: PortId,
    /// The first frame's timestamp, and the station's time now.
    clock: Option<(Duration, u64)>,
    /// Frames read.
    number: u64,
}

impl Replay {
    fn captured(&mut self, captured: &Captured) -> Result<(), CaptureError> {
        self.advance(captured.timestamp)?;
        self.number += 1;
        let port = enters_by(&self.ports, self.default, captured);
        self.summary.count_input(port);
        if let Some(why) = undeliverable(captured) {
            let scope = self.scope(port, None);
            self.summary.count(scope, "not deliverable", why, None);
            let comment = format!("frame {}: not deliverable: {why}", self.number);
            return self.writer.input(port, captured, &comment);
        }
        let (_, now) = self.time();
        let report = self.station.frame(now, port, &captured.data);
        let Some(report) = report else {
            // Lengths are checked above, and between frames the memory is free.
            return Err(CaptureError::Conservation("a frame found no memory".to_owned()));
        };
        if let Some(comment) = self.not_judged(port, &captured.data, &report) {
            return self.writer.input(port, captured, &comment);
        }
        let comment = self.explain(port, &report);
        self.writer.input(port, captured, &comment)?;
        let cause = format!("because of frame {}", self.number);
        self.sent(&report.sent, &cause)
    }

    /// The station's start of the capture's time, and its time now.
    fn time(&self) -> (Duration, u64) {
        self.clock.unwrap_or((Duration::ZERO, START_NS))
    }

    /// Lets the station's time go on to a frame's: the timers run. Time never goes back.
    fn advance(&mut self, timestamp: Duration) -> Result<(), CaptureError> {
        let (first, mut now) = *self.clock.get_or_insert((timestamp, START_NS));
        let elapsed = timestamp.saturating_sub(first).as_nanos();
        let target =
            u64::try_from(elapsed).unwrap_or(u64::MAX / 2).saturating_add(START_NS).max(now);
        for tick in 0..=MAX_TICKS {
            let last = tick == MAX_TICKS || target - now <= TICK_NS;
            now = if last { target } else { now + TICK_NS };
            self.clock = Some((first, now));
            let sent = self.station.tick(now);
            let cause = match self.number {
                0 => "by the station itself, at its start".to_owned(),
                number => format!("by the station itself, by a timer after frame {number}"),
            };
            self.sent(&sent, &cause)?;
            if last {
                break;
            }
        }
        Ok(())
    }

    fn sent(&mut self, frames: &[(PortId, Vec<u8>)], cause: &str) -> Result<(), CaptureError> {
        let (first, now) = self.time();
        let timestamp = first.saturating_add(Duration::from_nanos(now - START_NS));
        for (port, frame) in frames {
            self.summary.count_output(*port);
            self.writer.output(*port, timestamp, frame, &format!("sent {cause}"))?;
        }
        Ok(())
    }

    /// Counts a frame whose fate hangs on routes that are not known, and says so. What the station of
    /// the configuration's routes alone sent because of it is left out.
    fn not_judged(&mut self, port: PortId, frame: &[u8], report: &Report) -> Option<String> {
        let vif = self.station.engine().tables().vif(report.vif?)?;
        if !self.known.is_unknown(vif.vrf, is_ipv6(frame), report.verdict) {
            return None;
        }
        let scope = self.scope(port, report.vif);
        let (number, verdict) = (self.number, report.verdict);
        let text = format!(
            "frame {number}: {NOT_JUDGED}: {ROUTES_UNKNOWN} on {scope}: {ROUTES_UNKNOWN_HELP} \
             The configuration's routes alone make it {verdict}"
        );
        self.summary.count(scope, NOT_JUDGED, ROUTES_UNKNOWN, None);
        Some(text)
    }

    /// Counts what became of a frame, and says it in words.
    fn explain(&mut self, port: PortId, report: &Report) -> String {
        let scope = self.scope(port, report.vif);
        let (kind, reason, help) = match report.verdict {
            Verdict::Forward => ("forward", "", ""),
            Verdict::Drop(reason) => ("drop", reason.name(), reason.help()),
            Verdict::Punt(reason) => ("punt", reason.name(), reason.help()),
        };
        let outcome = report.outcome.map(|outcome| outcome.name());
        let mut text = format!("frame {}: {} on {scope}", self.number, report.verdict);
        if !help.is_empty() {
            text = format!("{text}: {help}");
        }
        if let Some(outcome) = report.outcome {
            text = format!("{text} Outcome {}: {}", outcome.name(), outcome.help());
        }
        self.summary.count(scope, kind, reason, outcome);
        text
    }

    /// "vif a", or "port cust0" while no VIF is known.
    fn scope(&mut self, port: PortId, vif: Option<VifId>) -> String {
        let tables = self.station.engine().tables();
        let vif = vif.and_then(|id| tables.vif(id)).map(|vif| format!("vif {}", vif.name));
        let port = tables.ports.get(port.index());
        vif.or_else(|| port.map(|port| format!("port {}", port.name))).unwrap_or_default()
    }
}

/// Whether the ethertype after all tags is IPv6.
fn is_ipv6(frame: &[u8]) -> bool {
    let mut ethertypes = frame.get(12..).unwrap_or_default().chunks_exact(2);
    loop {
        let ethertype = ethertypes.next().map(|octets| be16(octets, 0));
        match ethertype {
            Some(ETHERTYPE_VLAN | ETHERTYPE_SERVICE_TAG) => drop(ethertypes.next()),
            other => return other == Some(ETHERTYPE_IPV6),
        }
    }
}

/// Why a NIC could not have delivered what the capture holds.
pub(crate) fn undeliverable(captured: &Captured) -> Option<&'static str> {
    if captured.outbound {
        Some("it left by this port")
    } else if captured.data.len() < captured.original_len {
        Some("cut by the capture's snap length")
    } else if captured.data.len() > LONGEST {
        Some("longer than any port delivers")
    } else {
        None
    }
}
