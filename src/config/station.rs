//! `[station]`.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use super::fields::{At, Fields};
use super::labels::changes;
use super::metrics::{self, MetricsAddress};
use super::model::StationConfig;
use super::names;
use super::ports::MAX_PORTS;

/// The longest path of the socket: unix(7) has room for 107 octets, and the socket is made under
/// this name with the process id appended.
pub(super) const SOCKET_PATH: usize = 96;
/// The longest path otherwise (PATH_MAX, with its terminator).
pub(super) const LONGEST_PATH: usize = 4095;

pub(super) fn station(fields: Option<Fields<'_>>) -> StationConfig {
    let mut station = StationConfig {
        name: "station".to_owned(),
        socket: PathBuf::from("/run/station/stationd.sock"),
        bpffs: PathBuf::from("/sys/fs/bpf/station"),
        state: PathBuf::from("/var/lib/station"),
        history: 100,
        frame_overhead_octets: 0,
        max_vifs: 4096,
        max_ports: None,
        cpus: Vec::new(),
        frames: None,
        ring: 2048,
        router_id: router_id("station"),
        bird: PathBuf::from("/usr/sbin/bird"),
        metrics: None,
    };
    let Some(fields) = fields else { return station };
    if let Some(name) = fields.string("name")
        && names::check(&fields, "name", &name)
    {
        station.name = name.value.to_owned();
    }
    station.router_id = router_id(&station.name);
    if fields.string("router_id").is_some()
        && let Some(id) = fields.need_parsed::<Ipv4Addr>("router_id", "10.0.0.1", "a router id")
    {
        station.router_id = id.value;
        if id.value.is_unspecified() {
            let message = "0.0.0.0 is no router id";
            fields.refuse(&id.span, "router_id", message, "write a number of the station's own");
        }
    }
    if let Some(path) = absolute_path(&fields, "bird", LONGEST_PATH) {
        station.bird = path;
    }
    if let Some(path) = absolute_path(&fields, "socket", SOCKET_PATH) {
        station.socket = path;
    }
    station.metrics = metrics::address(&fields);
    if station.metrics == Some(MetricsAddress::Unix(station.socket.clone()))
        && let Some(text) = fields.string("metrics")
    {
        let help = "give it a name of its own, like unix:/run/station/metrics.sock";
        fields.refuse(&text.span, "metrics", "is the admin socket", help);
    }
    if let Some(path) = absolute_path(&fields, "bpffs", LONGEST_PATH) {
        station.bpffs = path;
    }
    if let Some(path) = absolute_path(&fields, "state", LONGEST_PATH) {
        station.state = path;
    }
    if let Some(kept) = fields.integer("history", 2..=10_000_u16) {
        station.history = kept.value;
    }
    if let Some(octets) = fields.integer("frame_overhead_octets", 0..=64_u8) {
        station.frame_overhead_octets = octets.value;
    }
    if let Some(max) = fields.integer("max_vifs", 1..=u16::MAX) {
        station.max_vifs = max.value;
    }
    station.max_ports = fields.integer("max_ports", 1..=MAX_PORTS).map(|most| most.value);
    station.cpus = cpus(&fields);
    station.frames = fields.integer("frames", 256..=1_048_576_usize).map(|frames| frames.value);
    if let Some(ring) = fields.integer("ring", 64..=32_768_u32) {
        station.ring = ring.value;
        if !ring.value.is_power_of_two() {
            let message = format!("{} is not a power of two", ring.value);
            let help = format!("write {}", ring.value.next_power_of_two());
            fields.refuse(&ring.span, "ring", message, help);
        }
    }
    fields.finish();
    station
}

/// A router id made of the station's name (FNV-1a), so that stations have different ones and each
/// keeps its own.
fn router_id(name: &str) -> Ipv4Addr {
    let hash = name
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    Ipv4Addr::from(hash.max(1))
}

fn cpus(fields: &Fields<'_>) -> Vec<usize> {
    let mut cpus = Vec::new();
    for (i, value) in fields.array("cpus", "[2, 3]").into_iter().enumerate() {
        let integer = value.get_ref().as_integer();
        let cpu = integer.and_then(|int| usize::from_str_radix(int.as_str(), int.radix()).ok());
        match cpu {
            Some(cpu) if cpu >= 1024 || cpus.contains(&cpu) => {
                let message = format!("{cpu} is out of range or already in the list");
                fields.refuse(&value.span(), "cpus", message, "name each CPU once, 0 to 1023");
            }
            Some(cpu) => cpus.push(cpu),
            None => {
                let message = format!("entry {} is not a CPU's number", i + 1);
                fields.refuse(&value.span(), "cpus", message, "write numbers: cpus = [2, 3]");
            }
        }
    }
    cpus
}

/// A path that means the same whatever the working directory is.
pub(super) fn absolute_path(
    fields: &Fields<'_>,
    key: &'static str,
    longest: usize,
) -> Option<PathBuf> {
    let text = fields.string(key)?;
    let fine = check_path(fields, key, &text, longest);
    if fine && !text.value.starts_with('/') {
        let message = format!("{:?} is relative", text.value);
        fields.refuse(&text.span, key, message, "write the whole path, from /");
        return None;
    }
    fine.then(|| PathBuf::from(text.value))
}

/// Refuses paths that are empty, too long, or have control characters (newlines and NUL among them).
pub(super) fn check_path(
    fields: &Fields<'_>,
    key: &'static str,
    text: &At<&str>,
    longest: usize,
) -> bool {
    let message = if text.value.is_empty() {
        "is empty".to_owned()
    } else if text.value.chars().any(char::is_control) {
        format!("{:?} has a control character", text.value)
    } else if text.value.len() > longest {
        format!("is longer than {longest} octets")
    } else {
        return true;
    };
    fields.refuse(&text.span, key, message, "write a plain path");
    false
}

/// What changes of the settings, but for what needs a restart.
pub(super) fn change(a: &StationConfig, b: &StationConfig) -> Option<String> {
    let metrics = |station: &StationConfig| match &station.metrics {
        Some(address) => address.to_string(),
        None => "nowhere".to_owned(),
    };
    changes(&[
        ("name", a.name.clone(), b.name.clone()),
        ("router_id", a.router_id.to_string(), b.router_id.to_string()),
        ("metrics", metrics(a), metrics(b)),
        (
            "frame_overhead_octets",
            a.frame_overhead_octets.to_string(),
            b.frame_overhead_octets.to_string(),
        ),
    ])
}
