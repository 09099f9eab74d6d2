//! DPDK's l3fwd (`l3fwd.c`) as a program of its own on the same core, told what to do by its stdin.

use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::data::Family;
use crate::packets;
use crate::station::UPSTREAMS;

/// A running l3fwd.
pub struct L3fwd {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// The packets as a capture file: what net_pcap reads.
fn write_pcap(path: &Path, packets: &[(u16, Vec<u8>)]) -> std::io::Result<()> {
    let mut file = BufWriter::new(std::fs::File::create(path)?);
    let header: [u32; 6] = [0xa1b2_c3d4, 0x0004_0002, 0, 0, 65535, 1];
    file.write_all(&header.map(u32::to_le_bytes).concat())?;
    for (_, packet) in packets {
        let frame = packets::frame(&[], packet);
        let len = frame.len() as u32;
        file.write_all(&[0, 0, len, len].map(u32::to_le_bytes).concat())?;
        file.write_all(&frame)?;
    }
    file.flush()
}

/// The full table with the next hops that the station has.
fn write_routes(path: &Path, families: &[Family; 2]) -> std::io::Result<()> {
    let mut file = BufWriter::new(std::fs::File::create(path)?);
    for family in families {
        for route in &family.routes {
            let (len, hop) = (route.len, route.value % u32::from(UPSTREAMS));
            match family.bits {
                32 => writeln!(file, "{:08x} {len} {hop}", (route.key >> 96) as u32)?,
                _ => writeln!(file, "{:032x} {len} {hop}", route.key)?,
            }
        }
    }
    file.flush()
}

impl L3fwd {
    /// Starts it with these packets and the full table; `lpm` also builds rte_lpm's, which takes minutes.
    pub fn start(
        dir: &Path,
        families: &[Family; 2],
        packets: &[(u16, Vec<u8>)],
        lpm: bool,
    ) -> Result<L3fwd, String> {
        let program = std::env::var_os("L3FWD").map(PathBuf::from).ok_or("it was not built")?;
        let (pcap, routes) = (dir.join("packets.pcap"), dir.join("routes.txt"));
        write_pcap(&pcap, packets).map_err(|error| error.to_string())?;
        if !routes.exists() {
            write_routes(&routes, families).map_err(|error| error.to_string())?;
        }
        let mut child = Command::new(program)
            .args(["--no-pci", "-m", "3072", "--no-telemetry"])
            .arg(if crate::pages::are_huge() { "--in-memory" } else { "--no-huge" })
            .args(["--log-level=error", "--force-max-simd-bitwidth=512", "-l"])
            .arg(crate::measure::core().to_string())
            .arg(format!("--file-prefix=station-bench-{}", std::process::id()))
            .arg(format!("--vdev=net_pcap0,rx_pcap={},infinite_rx=1", pcap.display()))
            .arg("--")
            .arg(routes)
            .args(lpm.then_some("lpm"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("no pipes".to_owned());
        };
        let mut l3fwd = L3fwd { child, input, output: BufReader::new(output) };
        // EAL and drivers may print before.
        loop {
            match l3fwd.line()?.as_str() {
                "ready" => return Ok(l3fwd),
                "" => return Err(l3fwd.why()),
                _ => {}
            }
        }
    }

    fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(|error| error.to_string())?;
        Ok(line.trim_end().to_owned())
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn why(&mut self) -> String {
        let mut text = String::new();
        if let Some(mut errors) = self.child.stderr.take() {
            let _ = std::io::Read::read_to_string(&mut errors, &mut text);
        }
        text
    }

    /// Nanoseconds a packet over so many packets, by the port's own count.
    pub fn run(&mut self, mode: &str, packets: usize) -> Result<f64, String> {
        writeln!(self.input, "{mode} {packets}").map_err(|error| error.to_string())?;
        let line = self.line()?;
        let mut numbers = line.split(' ').map(str::parse::<f64>);
        match (numbers.next(), numbers.next(), numbers.next()) {
            // A packet without a route is not sent: then the two would not do the same work.
            (Some(Ok(sent)), Some(Ok(received)), Some(Ok(ns))) if sent > 0.99 * received => {
                Ok(ns / sent)
            }
            _ => Err(format!("l3fwd {mode} answered {line:?} {}", self.why())),
        }
    }
}

impl Drop for L3fwd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
