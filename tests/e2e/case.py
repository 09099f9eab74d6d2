"""What the end-to-end tests share: expectations, a fresh station, counted streams."""

import concurrent.futures
import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import time

import frames
import lab
import ledger
import station
import traffic

HOSTS = lab.HOSTS
# Real tables and streams.
DATA = pathlib.Path(os.environ.get("STATION_DATA", lab.ROOT.parent / "shared/data"))


class Skip(Exception):
    """This test cannot run here; the text says why."""


def expect(got, wanted, what):
    """Exactly this."""
    if got != wanted:
        raise AssertionError(f"{what}: got {got!r}, expected {wanted!r}")


def require(condition, what):
    """At least this."""
    if not condition:
        raise AssertionError(what)


def refused(*words, **options):
    """Why `stationctl WORDS` is refused, with exit code 1."""
    try:
        station.ctl(*words, **options)
    except station.Refused as why:
        expect(why.code, 1, f"exit code: {why.text}")
        return why.text
    raise AssertionError(f"{words} was not refused")


def answered(source, address, what, **how):
    """All three echo requests are answered. Where they are not, the text says what the station thought of it."""
    got = traffic.ping(source, address, **how)
    if got == 3:
        return
    links = {name: port["link"] for name, port in station.ports().items()}
    silent = [row for row in station.ctl("show", "neighbors") if row["state"] not in ("reachable", "static")]
    again = traffic.ping(source, address, **how)
    raise AssertionError(f"{what}: {got} of 3 replies, then {again} of 3; links {links}; neighbors that do not answer {silent}; "
                         f"the log:\n{station.tail(station.LOG)}")


def alone(seconds=2.0):
    """Nobody else takes the CPUs that this test needs; called while nothing of the test runs."""
    def busy():
        numbers = [int(number) for number in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        return (sum(numbers) - numbers[3] - numbers[4]) / os.sysconf("SC_CLK_TCK")
    before = busy()
    time.sleep(seconds)
    used = (busy() - before) / seconds
    if used > 0.5:
        raise Skip(f"the machine does other things: {used:.1f} of its {os.cpu_count()} CPUs are busy, and this needs them")


def bgp_config(answered=None):
    """The lab's configuration with BGP, without its passwords: they would keep apart what a test tries without.

    Where `answered` names peers' addresses, their sessions alone: the others try again every few seconds, each at its
    own time, and a lab with many of them may never come to rest.
    """
    lines = (lab.HERE / "bgp.toml").read_text().splitlines(keepends=True)
    text = "".join(line for line in lines if not line.startswith("password"))
    if answered is None:
        return text
    return re.sub(r"\[\[vif\.bgp\]\]\npeer = \"(.*)\"\n(?:[^\[\n].*\n)*\n?",
                  lambda session: session[0] if session[1] in answered else "", text)


def fresh(config=None):
    """A station that has just started, with the lab's configuration or another."""
    station.stop()
    station.write_config(config)
    station.start()
    learn()


def silence():
    """Ends what the station's BIRD says of its own accord: beside BGP and BFD no counter ever rests."""
    text = station.CONFIG.read_text()
    silent = re.sub(r"\[\[vif\.bgp\]\]\n(?:[^\[\n].*\n|\n)*|^bfd = .*\n", "", text, flags=re.MULTILINE)
    if silent != text:
        station.write_config(silent)
        # A file that has BIRD stay out of it need not wait for it.
        station.ctl("reload", *(["--no-wait"] if 'bird = "/bin/true"' in text else []))


def learn():
    """Lets the station and the hosts find each other's MACs, so that tests count only what they send."""
    def ping(ns, address):
        lab.run("ping", "-n", "-q", "-c", 1, "-W", 1, address, ns=ns, check=False)
    at_once(ping, [(host.ns, gateway) for host in HOSTS.values() for gateway in (host.gw4, host.gw6)])
    # Where routes are yet to be learned, all of these are waited for in vain.
    at_once(ping, [(HOSTS[source].ns, address) for pair in lab.REACHES for source, target in (pair, pair[::-1])
                   for address in (HOSTS[target].addr4, HOSTS[target].addr6)])


def at_once(ask, questions):
    """All answers, each asked for in a thread of its own."""
    with concurrent.futures.ThreadPoolExecutor(len(questions)) as threads:
        return list(threads.map(lambda question: ask(*question), questions))


@contextlib.contextmanager
def counted():
    """Everything that is counted between entering and leaving, as `seen.it`."""
    class Seen:
        it = None
    seen = Seen()
    before = ledger.quiet()
    yield seen
    seen.it = ledger.quiet() - before


class Stream:
    """Marked datagrams at a steady rate from behind a host's port to another host, by its own address or another that it has,
    every one counted."""

    def __init__(self, source, target, to=None, *, pps, seconds, six=False):
        self.source, self.target = HOSTS[source], HOSTS[target]
        self.pps, self.count = pps, int(pps * seconds)
        sender, receiver = (self.source.addr6, self.target.addr6) if six else (self.source.addr4, self.target.addr4)
        self.frame = frames.datagram(self.source, sender, to or receiver, tags=self.source.tags)

    def __enter__(self):
        self.before = self.arrived_ever()
        with lab.inside("st-wire"):
            self.process = subprocess.Popen(
                [lab.RUN / "flood", self.source.port, self.frame.hex(), "count", str(self.count), "pps", str(self.pps)],
                stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def arrived_ever(self):
        return ledger.host_counts(self.target)[f"from {self.source.name}"]

    def arrived(self):
        """How many the receiver has counted since the start."""
        return self.arrived_ever() - self.before

    def finish(self, early=False):
        """Waits for the last one, or ends the sending: (sent, arrived)."""
        if early:
            self.process.send_signal(signal.SIGINT)
        output, _ = self.process.communicate(timeout=120)
        sent = json.loads(output)["sent"]
        end = time.monotonic() + 2
        while self.arrived() < sent and time.monotonic() < end:
            time.sleep(0.05)
        return sent, self.arrived()


def undisturbed(change, *streams, seconds=30):
    """Runs `change` while marked datagrams flow, each of (source, target, whether IPv6): every one arrives. They are so
    few a second that a receive ring lasts a second, where a worker has to wait for its CPU."""
    before = ledger.Snapshot()
    with contextlib.ExitStack() as stack:
        flows = [stack.enter_context(Stream(source, target, pps=2_000, seconds=seconds, six=six))
                 for source, target, six in streams]
        wait_until(lambda: all(flow.arrived() > 100 for flow in flows), 3, "traffic before the change")
        change()
        time.sleep(0.5)
        require(all(flow.process.poll() is None for flow in flows), "the change took longer than the traffic")
        counts = [flow.finish(early=True) for flow in flows]
    for (source, target, _), (sent, arrived) in zip(streams, counts, strict=True):
        if arrived != sent:
            seen = ledger.Snapshot() - before
            lost = {name: port["lost_before"] for name, port in seen.ports.items()}
            raise AssertionError(f"{arrived} of {sent} frames from {source} to {target} arrived (drops {dict(seen.drops(source))}, "
                                 f"lost before the station {lost}, on the wires {dict(seen.wires)})")


def wait_until(condition, limit, what):
    """Polls; how long it took."""
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > limit:
            raise AssertionError(f"not within {limit} s: {what}")
        time.sleep(0.005)
    return time.monotonic() - start


def xdp_program(port):
    """The id of the XDP program on a port of the station."""
    link = json.loads(lab.run("ip", "-n", "st-station", "-j", "-d", "link", "show", "dev", port))[0]
    return link.get("xdp", {}).get("prog", {}).get("id")


def replaced(text, *pairs):
    """A configuration with pieces replaced, each of which must be there."""
    for old, new in pairs:
        if old not in text:
            raise AssertionError(f"not in the configuration: {old!r}")
        text = text.replace(old, new, 1)
    return text


def without(text, *heads):
    """A configuration of the lab's without the tables that begin so."""
    for head in heads:
        start = text.index(head)
        text = text[:start] + text[text.index("\n\n", start) + 2:]
    return text


def lab_config():
    return (lab.HERE / "station.toml").read_text()
