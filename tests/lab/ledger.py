"""Who sent, received, forwarded and dropped how many frames: the hosts' counters beside the station's.

Snapshots are taken when nothing moves; differences of two snapshots are exact.
"""

import collections
import json
import struct
import time

import bpf
import lab
import overlay
import station

ORIGINS = 32  # as in tag.bpf.c


def host_counts(host):
    """What the BPF program on the host's interface counted."""
    octets = bpf.read(lab.PINS / host.name / "counts", 8 * (4 + ORIGINS))
    sent, received, other, inner, *marked = struct.unpack(f"={4 + ORIGINS}Q", octets)
    return {"sent": sent, "received": received, "other": other, "inner": inner,
            **{f"from {name}": marked[index] for index, name in enumerate(lab.HOSTS)}}


def wire_drops():
    """Frames that the kernel itself lost on the wires, by its own count."""
    rows = json.loads(lab.run("ip", "-n", "st-wire", "-j", "-s", "link"))
    drops = {row["ifname"]: sum(row["stats64"][way][kind] for way in ("rx", "tx") for kind in ("dropped", "errors"))
             for row in rows}
    wires = collections.Counter({port: drops.get(port, 0) for port in lab.PORTS})
    wires.update({name: drops.get(f"h-{name}", 0) for name in lab.HOSTS})
    return wires


class Snapshot:
    """Every counter at one moment."""

    def __init__(self):
        self.hosts = {name: collections.Counter(host_counts(host)) for name, host in lab.HOSTS.items()}
        self.vifs, self.ports = station_counts()
        self.wires = wire_drops()

    def __eq__(self, other):
        return (self.hosts, self.vifs, self.ports) == (other.hosts, other.vifs, other.ports)

    def __sub__(self, before):
        result = object.__new__(Snapshot)
        for part in ("hosts", "vifs", "ports"):
            now, then = getattr(self, part), getattr(before, part)
            setattr(result, part, {name: minus(now[name], then.get(name, {})) for name in now})
        result.wires = minus(self.wires, before.wires)
        return result

    def moved(self):
        """What a difference has, part by part."""
        parts = {**self.hosts, **self.vifs, **self.ports}
        return {name: dict(nonzero) for name, counter in parts.items()
                if (nonzero := {key: value for key, value in counter.items() if value})}

    def waiting(self):
        """How many punted frames have no outcome yet."""
        return sum(total(vif, "punt ") - total(vif, "slow ") for vif in self.vifs.values())

    # ---- what a difference says -------------------------------------------------------------

    def drops(self, vif=None):
        """Drops by reason, of one VIF, or of all with those that happen before a VIF is known."""
        owners = [self.vifs[vif]] if vif else [*self.vifs.values(), *self.ports.values()]
        total = collections.Counter()
        for owner in owners:
            for key, value in owner.items():
                if key.startswith("drop "):
                    total[key.removeprefix("drop ")] += value
        return +total

    def slow(self, vif=None):
        """Outcomes of punted frames."""
        total = collections.Counter()
        for owner in [self.vifs[vif]] if vif else self.vifs.values():
            for key, value in owner.items():
                if key.startswith("slow "):
                    total[key.removeprefix("slow ")] += value
        return +total

    def unbalanced(self):
        """Where received is not forwarded + punted + dropped, as text: nothing of it may be true."""
        faults = unbalanced_vifs(self.vifs)
        port_of = {row["name"]: row["port"] for row in station.ctl("show", "vifs")}
        for name, port in self.ports.items():
            inside = sum(self.vifs[vif]["rx_frames"] for vif in self.vifs if port_of.get(vif) == name)
            out = inside + total(port, "drop ")
            if port["rx_frames"] != out:
                faults.append(f"port {name}: received {port['rx_frames']}, accounted for {out}")
        return faults

    def unexplained(self):
        """Frames that vanished without anybody's counter saying so, by place.

        On the way in: what the hosts of a port sent and the station did not receive. On the way out:
        what the station sent by a VIF and its host did not receive. Minus what the kernel and the
        sockets say they lost themselves. A tunnel's frames are counted where they come out of it.
        """
        lost = {}
        for port in lab.PORTS:
            hosts = [host for host in lab.HOSTS.values() if host.port == port]
            sent = sum(self.hosts[host.name]["sent"] for host in hosts)
            seen = self.ports[port]["rx_frames"] + self.ports[port]["lost_before"] + self.wires[port]
            lost[f"into {port}"] = sent - seen
            for host in hosts:
                arrived = "inner" if overlay.carrier(host.name) in self.vifs else "received"
                lost[f"out of VIF {host.name}"] = self.vifs[host.name]["tx_frames"] - self.hosts[host.name][arrived]
        return {place: count for place, count in lost.items() if count}


def lost(seen):
    """Where frames went that did not leave, of a difference: by the station's drops, and before it saw them."""
    before = {name: port["lost_before"] for name, port in seen.ports.items() if port["lost_before"]}
    drops = {name: dict(found) for name in seen.vifs if (found := seen.drops(name))}
    return f"drops {drops}, on the wires {dict(+seen.wires)}, before the station {before}"


def total(counter, prefix):
    return sum(value for key, value in counter.items() if key.startswith(prefix))


def minus(now, before):
    return collections.Counter({key: value - before.get(key, 0) for key, value in now.items()})


def unbalanced_vifs(vifs):
    """Whose received is not forwarded + punted + dropped, as text."""
    faults = []
    for name, vif in vifs.items():
        out = vif["forwarded"] + total(vif, "punt ") + total(vif, "drop ")
        if vif["rx_frames"] != out:
            faults.append(f"VIF {name}: received {vif['rx_frames']}, accounted for {out}")
    return faults


def counters(ask=station.ctl):
    """A station's counters, flat: {vif: Counter}, {port: Counter}."""
    vifs, ports = {}, {}
    for row in ask("show", "counters", "--all"):
        counter = collections.Counter()
        for entry in row["counters"]:
            group = "" if entry["group"] == "traffic" else f"{entry['group']} "
            counter[group + entry["name"]] = entry["value"]
        (ports if row["scope"] == "port" else vifs)[row["name"]] = counter
    return vifs, ports


def station_counts():
    """The counters of the lab's station, and what its ports lost before they were counted."""
    vifs, ports = counters()
    for name, port in station.ports().items():
        # Lost before a worker saw it, by the kernel's or the XDP program's own count.
        kernel, xdp = port["kernel"], port["xdp"]
        ports[name]["lost_before"] = kernel["rx_dropped"] + kernel["rx_ring_full"] + sum(xdp.values())
    return vifs, ports


def quiet(limit=30.0):
    """A snapshot of a moment in which nothing moved."""
    start = moved = time.monotonic()
    last = Snapshot()
    while True:
        time.sleep(0.15)
        now = Snapshot()
        if now != last:
            moved = time.monotonic()
        # The slow path may not have come to what waits for it: where it comes to it at all, it does within seconds.
        elif not now.waiting() or time.monotonic() - moved > 2:
            return now
        if time.monotonic() - start > limit:
            raise RuntimeError(f"the lab does not come to rest: {(now - last).moved()} within the last look, "
                               f"{now.waiting()} frames without an outcome")
        last = now
