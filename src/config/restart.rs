//! What of a configuration only a start can make so, and why.

use super::model::{Config, StationConfig};

/// What of `new` can only take effect at a start.
pub(crate) fn needs_restart(old: &Config, new: &Config) -> Vec<String> {
    // Taken apart, so that a new setting cannot be forgotten here.
    let StationConfig {
        socket,
        bpffs,
        state,
        // Are followed with each commit.
        history: _,
        frame_overhead_octets: _,
        name: _,
        router_id: _,
        metrics: _,
        max_vifs,
        max_ports,
        cpus,
        frames,
        ring,
        bird,
    } = &new.station;
    let old_station = &old.station;
    let memory = "memory is allocated at the start";
    let open = "what is there is open";
    let station = [
        ("socket", *socket != old_station.socket, "the network namespace is called after it"),
        ("bpffs", *bpffs != old_station.bpffs, "the ports' programs are pinned there"),
        ("state", *state != old_station.state, open),
        ("max_vifs", *max_vifs != old_station.max_vifs, memory),
        ("max_ports", *max_ports != old_station.max_ports, memory),
        ("cpus", *cpus != old_station.cpus, "a worker has its CPU and its queues from the start"),
        ("frames", *frames != old_station.frames, memory),
        ("ring", *ring != old_station.ring, memory),
        ("bird", *bird != old_station.bird, "the sessions are those of the one that runs"),
    ];
    let changed = station.iter().filter(|(_, changed, _)| *changed);
    changed.map(|(setting, _, why)| format!("{setting} of [station] changed ({why})")).collect()
}
