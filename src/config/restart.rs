//! What of a configuration only a start can make so.

use super::model::{Config, PortConfig, StationConfig};

/// What of `new` can only take effect at a start.
pub(crate) fn needs_restart(old: &Config, new: &Config) -> Vec<String> {
    // Taken apart, so that a new setting cannot be forgotten here.
    let StationConfig {
        name,
        socket,
        bpffs,
        state,
        // Are looked at with each commit.
        history: _,
        frame_overhead_octets: _,
        max_vifs,
        cpus,
        frames,
        ring,
        router_id,
        bird,
        metrics,
    } = &new.station;
    let old_station = &old.station;
    let station = [
        ("name", *name != old_station.name),
        ("socket", *socket != old_station.socket),
        ("bpffs", *bpffs != old_station.bpffs),
        ("state", *state != old_station.state),
        ("max_vifs", *max_vifs != old_station.max_vifs),
        ("cpus", *cpus != old_station.cpus),
        ("frames", *frames != old_station.frames),
        ("ring", *ring != old_station.ring),
        ("router_id", *router_id != old_station.router_id),
        ("bird", *bird != old_station.bird),
        ("metrics", *metrics != old_station.metrics),
    ];
    let mut reasons: Vec<String> = station
        .iter()
        .filter(|(_, changed)| *changed)
        .map(|(setting, _)| format!("{setting} of [station] changed"))
        .collect();
    let port = |config: &Config, name: &str| config.ports.iter().position(|p| *p.name == *name);
    for (at, new_port) in new.ports.iter().enumerate() {
        match port(old, &new_port.name) {
            None => reasons.push(format!("port {} is new", new_port.name)),
            Some(i) if !same_hardware(&old.ports[i], new_port) => {
                reasons.push(format!("port {} changed", new_port.name));
            }
            Some(i) if i != at && old.ports.len() == new.ports.len() => {
                reasons.push(format!("port {} is in another place", new_port.name));
            }
            Some(_) => {}
        }
    }
    let gone = old.ports.iter().filter(|old| port(new, &old.name).is_none());
    reasons.extend(gone.map(|port| format!("port {} is gone", port.name)));
    reasons
}

/// Whether a port is what it was but for what changes while it runs.
pub(crate) fn same_hardware(old: &PortConfig, new: &PortConfig) -> bool {
    let PortConfig { labels, up, bandwidth, .. } = old.clone();
    PortConfig { labels, up, bandwidth, ..new.clone() } == *old
}
