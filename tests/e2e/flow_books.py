"""Flow logs beside the counters: configurations and traffic for them, and whether their sums are the counters'."""

import importlib
import struct
import time

import case
import collectors
import drawn
import lab
import ledger
import station
import traffic
from case import HOSTS, expect, replaced, require, wait_until
from collectors import Own, totals
from frames import DISCARD, ETH_IPV4, UDP, Raw, eth, ethertype, packet

A, CLOUD = HOSTS["a"], HOSTS["vpc-a"]
DOMAIN = 7
# A VIF may have an eighth of these before it is logged at a coarser rate.
MAX_FLOWS = 262_144
COUNTED = ("rx_frames", "rx_octets", "tx_frames", "tx_octets", "forwarded")
OWN = Own("udp://127.0.0.1:4750")
METRICS = ("127.0.0.1", 9472)


def config(*more, vifs=(("a", "1:1"),), text=None, **settings):
    """The lab's configuration with flow logs, to the test's own collector and to `more`."""
    settings = {"active_timeout_s": 2, "idle_timeout_s": 1, "max_flows": MAX_FLOWS, "domain": DOMAIN,
                "enterprise": collectors.PEN, **settings}
    urls = ", ".join(f'"{url}"' for url in [OWN.url, *more])
    lines = [f"collectors = [{urls}]", *[f"{name} = {value}" for name, value in settings.items()]]
    text = replaced(text or case.lab_config(), ("[[port]]", "\n".join(["[flow_log]", *lines, "", "[[port]]"])))
    text = replaced(text, ("[station]\n", f'[station]\nmetrics = "{":".join(map(str, METRICS))}"\n'))
    return replaced(text, *[(f'name = "{name}"\nport', f'name = "{name}"\nflow_log = "{rate}"\nport')
                            for name, rate in vifs])


def reload(*more, **how):
    station.write_config(config(*more, **how))
    station.ctl("reload")


# ---- what the station says -----------------------------------------------------------------------

def logs():
    return {row["vif"]: row for row in station.ctl("show", "flow-log")}


def collector(name):
    """A collector's row, which may come a little later than the answer to a reload."""
    found = []

    def there():
        found[:] = [row for row in station.ctl("show", "collectors") if row["collector"] == name]
        return found
    wait_until(there, 5, f"{name} is shown")
    return found[0]


def newest():
    return station.ctl("version")["events"]["newest"]


def told(kind, since, **fields):
    """The first event of a kind with these fields after a number; waits for it."""
    found = []

    def there():
        rows = station.lines("events", "--kind", kind, "--since", since)
        found[:] = [event for event in rows if fields.items() <= event.items()]
        return found
    wait_until(there, 20, f"the event {kind} {fields}")
    return found[0]


# ---- counters and records ------------------------------------------------------------------------

def belongs(key):
    """Whether flow records have it, too."""
    return key in COUNTED or key.startswith(("drop ", "punt "))


def counted(*vifs):
    rows, _ = ledger.counters()
    return {name: {key: value for key, value in rows[name].items() if value and belongs(key)} for name in vifs}


def minus(now, before):
    return {vif: {key: value - before.get(vif, {}).get(key, 0) for key, value in counters.items()
                  if value != before.get(vif, {}).get(key, 0)} for vif, counters in now.items()}


class Books:
    """The counters of VIFs beside the sums over flow records, since a moment at which no flow was open."""

    def __init__(self, *vifs):
        self.vifs = vifs
        self.counters, self.sums = {}, {}
        self.counters, self.sums = self.at_rest()

    def summed(self):
        found = totals(OWN.flows(), OWN.names())
        return {name: {key: value for key, value in found[name].items() if belongs(key)} for name in self.vifs}

    def at_rest(self, limit=15):
        """What was counted and what was told since the beginning, once no flow is open and nothing moves."""
        found = []

        def rests():
            before = counted(*self.vifs)
            if any(row["active_flows"] for row in logs().values()):
                time.sleep(0.05)
                return False
            time.sleep(0.3)  # what has ended is sent
            found[:] = [minus(counted(*self.vifs), self.counters), minus(self.summed(), self.sums)]
            return found[0] == minus(before, self.counters)
        wait_until(rests, limit, "flows and counters rest")
        return found

    def balance(self, limit=5):
        """The records since the beginning have what the counters have, to the octet. What was counted."""
        found, end = self.at_rest(), time.monotonic() + limit
        while found[0] != found[1] and time.monotonic() < end:
            found = self.at_rest()
        counters, records = found
        faults = [f"{vif}, {key}: counted {counters[vif].get(key, 0)}, told {records[vif].get(key, 0)}"
                  for vif in self.vifs for key in sorted({*counters[vif], *records[vif]})
                  if counters[vif].get(key, 0) != records[vif].get(key, 0)]
        require(not faults, "counters and flow records:\n" + "\n".join(faults))
        expect(OWN.gaps(), [], "gaps between the messages")
        return counters


# ---- traffic -------------------------------------------------------------------------------------

def real_traffic(octets=300_000):
    """TCP, UDP and ICMP of both families between a and its cloud."""
    for family in (4, 6):
        cloud = traffic.address(CLOUD, family)
        expect(traffic.ping(A, cloud), 3, f"replies of {cloud}")
        traffic.conversation(A, CLOUD, cloud, at=cloud, own=traffic.address(A, family))
        require(traffic.transfer(A, CLOUD, cloud, octets=octets)[0], f"TCP to {cloud}")


def many_flows(count, first=1024, host=A, target=CLOUD):
    """Datagrams from a host to another, each a flow of its own; paced, so that none is lost. The other counts them as
    those of a2, and does not answer."""
    payload = lab.MARK + bytes([HOSTS["a2"].index])
    # Without a checksum, so that only the ports differ.
    rest = struct.pack("!HH", 8 + len(payload), 0) + payload
    frame = eth(host.port_mac, host.mac, ETH_IPV4, packet(host.addr4, target.addr4, UDP, bytes(4) + rest), host.tags)
    head = frame[:-4 - len(rest)]
    with Raw("st-wire", host.port) as wire:
        for number in range(count):
            wire.send(head + struct.pack("!HH", first + number, DISCARD) + rest)
            if number % 32 == 31:
                time.sleep(0.001)


SENDERS = {  # by host: sources, of which some must not be there, and destinations
    A: (["10.1.0.10", "10.1.7.7", "10.3.0.10", "10.9.9.9", "fd10:1::10", "fd10:1:0:9::3", "fd10:3::10"],
        ["10.2.0.10", "10.2.77.1", "10.77.0.1", "169.254.0.1", "fd10:2::10", "fd10:2:0:8::1", "fd77::1", "fd00:a::1"]),
    CLOUD: (["10.2.0.10", "10.2.77.1", "10.9.9.9", "fd10:2::10", "fd10:2:0:8::1"],
            ["10.1.0.10", "10.1.99.1", "10.3.0.10", "169.254.0.1", "fd10:1::10", "fd10:1:0:9::3", "fd10:3::10"]),
}


def random_frames(rng, count):
    """(port, frame) each: packets of all kinds from a and from its cloud."""
    for number in range(count):
        host = rng.choice([*SENDERS])
        sources, targets = SENDERS[host]
        source = rng.choice(sources)
        target = rng.choice([address for address in targets if (":" in address) == (":" in source)])
        kind = rng.choice(drawn.KINDS[6 if ":" in source else 4])
        octets = drawn.maker(rng, kind, (source, target), number, 1400)(source, target, rng.choice([1, 2, 64, 255]))
        if ":" not in source and rng.random() < 0.1:
            octets = octets[:10] + bytes(2) + octets[12:]  # a wrong checksum
        yield host.port, eth(host.port_mac, host.mac, ethertype(source), octets, host.tags)


def bad_frames():
    """What `03_bad_input` sends by VIF a, each for a reason of its own."""
    bad = importlib.import_module("03_bad_input")
    return [(A.port, octets) for _, octets, _ in [*bad.VIF, *bad.SLOW]]
