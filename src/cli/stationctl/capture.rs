//! `capture`: its arguments, and the stream that it writes.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::{ArgGroup, Args as ClapArgs};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::args::{Args, words};
use super::{Failure, libpcap, output};
use crate::admin::client::{self, Client};
use crate::admin::protocol::{CaptureRequest, Direction, Judged, Request};
use crate::admin::rows::{CaptureEnd, CaptureRow, PortRow};
use crate::clock::since_1970;
use crate::replay::pcapng::{Framed, Interface, Pcapng};
use crate::wire::ethernet::Mac;

/// Stream copies of frames as they pass, as pcapng: for tshark, Wireshark, tcpdump
///
/// Inbound frames are copied as they came, outbound ones as they leave, those of the station itself (ARP,
/// ND, ICMP, BGP, BFD) among them. The interface is the port; the comment says VIF, verdict and reason. Of
/// a VIF it takes what has its tags on its port, also what no VIF gets, and what leaves through it; where
/// its frames come and go in tunnels, what comes to its VTEP with its VNI by any port, outer headers and
/// all. A frame that was to leave and could not (`tx_full`, `egress_down`) is shown as it would have left
/// where the verdict is asked for, else as it came.
///
/// A filter is compiled by the machine's libpcap and run in the worker, at most 512 instructions; where it
/// does not say `vlan`, it holds behind up to two tags.
///
/// All captures of a worker may use 6 % of its time, as estimated with what the client spends: about 20,000
/// frames a second, 2,000 at once. What does not fit is not copied, and counted; the end says how many, in
/// the file as isb_ifdrop. A capture ends with its client (Ctrl-C), after the frames or seconds asked for,
/// when its VIF is changed or deleted, and when its client does not read for a minute. 4 captures run at a
/// time.
#[derive(ClapArgs, Debug)]
#[command(group = ArgGroup::new("of").required(true).args(["vif", "port"]))]
pub(super) struct CaptureArgs {
    /// Frames of this VIF: with its tags or VNI on the way in, through it on the way out
    #[arg(long, value_name = "NAME")]
    vif: Option<String>,
    /// Frames of this port
    #[arg(long, value_name = "NAME")]
    port: Option<String>,
    /// As they came, as they leave, or both
    #[arg(long, default_value = "both", value_parser = words(&Direction::WORDS))]
    direction: Direction,
    /// Only those that were dropped, went to the slow path, or were forwarded (or sent by the station)
    #[arg(long, value_parser = words(&[
        ("drop", Judged::Drop), ("punt", Judged::Punt), ("forward", Judged::Forward),
    ]))]
    verdict: Option<Judged>,
    /// Only those dropped or punted for this reason, by the name of its counter
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
    /// Only those that this expression takes (pcap-filter(7)); tags are looked behind where it does not name them
    #[arg(long, value_name = "EXPRESSION")]
    filter: Option<String>,
    /// End after this many frames
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End after this many seconds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: Option<u64>,
    /// Octets kept of each frame
    #[arg(long, value_name = "OCTETS", default_value_t = 9238)]
    snap: usize,
    /// Where the capture goes; `-`, and what is not given, is standard output
    #[arg(short, long, value_name = "FILE")]
    write: Option<PathBuf>,
}

impl CaptureArgs {
    /// What goes to the station, but for the filter.
    pub(super) fn request(&self) -> Request {
        Request::Capture(self.unfiltered())
    }

    fn unfiltered(&self) -> CaptureRequest {
        CaptureRequest {
            vif: self.vif.clone(),
            port: self.port.clone(),
            direction: self.direction,
            verdict: self.verdict,
            reason: self.reason.clone(),
            filter: None,
            count: self.count,
            seconds: self.seconds,
            snap: Some(self.snap),
        }
    }

    /// Captures until it ends, or the user does.
    pub(super) fn run(&self, args: &Args, out: &mut impl Write) -> Result<(), Failure> {
        let file = self.write.as_ref().filter(|path| path.as_os_str() != "-");
        if file.is_none() && !args.json && io::stdout().is_terminal() {
            let message = "a capture is no text: give -w FILE, or pipe it into `tshark -r -`";
            return Err(Failure::Usage(message.to_owned()));
        }
        let mut request = self.unfiltered();
        if let Some(expression) = &self.filter {
            request.filter = Some(libpcap::filter(expression)?);
        }
        let ports: Vec<PortRow> = client::all(&args.socket, &Request::ShowPorts)?;
        let mut client = Client::connect(&args.socket, &Request::Capture(request))?;
        // The first line says that it has begun, or why not.
        client.line::<CaptureRow>()?;
        end_by_signals(client.handle()?)?;
        match file {
            Some(path) => {
                let failed = |error| io::Error::other(format!("{}: {error}", path.display()));
                let mut file = io::BufWriter::new(File::create(path).map_err(failed)?);
                pass(args, client, &ports, &mut file)
            }
            None => pass(args, client, &ports, out),
        }
    }
}

/// A port as a capture has it.
fn interface(port: &PortRow) -> Interface<'_> {
    let mac = port.mac.parse::<Mac>().unwrap_or_default().0;
    Interface { name: &port.name, description: &port.interface, mac }
}

/// Passes on what the station sends until it ends.
fn pass(
    args: &Args,
    mut client: Client,
    ports: &[PortRow],
    out: &mut impl Write,
) -> Result<(), Failure> {
    if args.json {
        let mut written = 0;
        while let Some(line) = client.line::<CaptureRow>()? {
            output::json_rows(out, &line.rows, written)?;
            written += line.rows.len();
            out.flush()?;
        }
        return Ok(output::json_end(out, written)?);
    }
    let mut numbers: HashMap<String, u32> =
        ports.iter().map(|port| port.name.clone()).zip(0..).collect();
    let mut file = Pcapng::new(out, "stationctl", ports.iter().map(interface))?;
    file.get_mut().flush()?;
    let mut end = None;
    while let Some(line) = client.line::<CaptureRow>()? {
        for row in &line.rows {
            match row {
                CaptureRow::Frame(frame) => {
                    let number = match numbers.get(&frame.port) {
                        Some(number) => *number,
                        None => {
                            // It was added since.
                            let now: Vec<PortRow> = client::all(&args.socket, &Request::ShowPorts)?;
                            let new = now.iter().find(|port| port.name == frame.port);
                            let unknown =
                                Interface { name: &frame.port, description: "", mac: [0; 6] };
                            file.interface(new.map_or(unknown, interface))?;
                            let number = u32::try_from(numbers.len()).unwrap_or(0);
                            numbers.insert(frame.port.clone(), number);
                            number
                        }
                    };
                    let data = octets(&frame.data);
                    file.frame(Framed {
                        interface: number,
                        timestamp: Duration::from_nanos(frame.time_ns),
                        outbound: frame.direction == Direction::Out,
                        data: &data,
                        original_len: usize::try_from(frame.octets).unwrap_or(usize::MAX),
                        comment: &frame.comment,
                    })?;
                }
                CaptureRow::End(of) => end = Some(of.clone()),
            }
        }
        file.get_mut().flush()?;
    }
    let Some(CaptureEnd { port, frames, lost, reason }) = end else {
        let message = "the station ended the capture without saying why".to_owned();
        return Err(client::Failure::Unreachable(message).into());
    };
    let now = since_1970(SystemTime::now());
    file.lost(numbers.get(&port).copied().unwrap_or(0), now, lost)?;
    file.get_mut().flush()?;
    // Without standard error there is the block in the file.
    let _ = writeln!(io::stderr(), "{frames} frames captured, {lost} not captured ({reason})");
    Ok(())
}

/// Octets from pairs of hexadecimal digits.
fn octets(hex: &str) -> Vec<u8> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20).wrapping_sub(b'a').wrapping_add(10) & 15,
    };
    hex.as_bytes().chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// Has Ctrl-C end a stream instead of the program, so that what came is whole.
pub(super) fn end_by_signals(handle: UnixStream) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for _ in signals.forever() {
            // The station may have ended it already.
            let _ = handle.shutdown(Shutdown::Write);
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_are_read_as_they_were_written() {
        assert_eq!(octets("00ff7a"), [0, 0xff, 0x7a]);
        assert!(octets("").is_empty());
    }
}
