#!/usr/bin/env python3
"""Failover by packets, a full table from BGP to the FIB, and a controller's mappings.

Two sites of one customer, a (port cust0) and a2 (port cust1), announce the same prefixes by BGP, each from a
BIRD of its own; vpc-a (port core0) sends to one of them. a is preferred.

Failover: 10,000 numbered-by-count datagrams a second from vpc-a; the way to a is cut; what neither site received,
divided by the rate, is the outage: 0.1 ms resolution. Every frame is accounted for: none is estimated. With
10 routes; with 900,000, of which BIRD has 10 and the kernel's tables, where the station learns routes, the others as
BIRD would write them, so that a run takes seconds; and a few times with all of them from BGP, which takes BIRD a minute
a run to withdraw and to announce again.

Full table: from the first UPDATE of a peer's session to the last route in the FIB, beside the same BIRD
configuration that writes to a kernel where nobody listens.

The table is rib-20260511-v4.txt.gz of $STATION_DATA (default: ../shared/data), or --routes FILE (a prefix a line).
"""

import argparse
import gzip
import ipaddress
import json
import os
import pathlib
import random
import re
import socket
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/lab"))

import frames  # noqa: E402
import lab  # noqa: E402
import ledger  # noqa: E402
import mappings  # noqa: E402
import station  # noqa: E402
import traffic  # noqa: E402

DATA = pathlib.Path(os.environ.get("STATION_DATA", ROOT / "../shared/data")) / "rib-20260511-v4.txt.gz"
FULL = 900_000
FEW = 10
RATE = 10_000  # datagrams a second
VRF = "vpc-a"
SITES = {"a": 65001, "a2": 65002}
STATION_AS = 64512
DIR = lab.RUN / "sites"
BIRD_DIR = lab.RUN / "bird"  # the station's BIRD
# What an outage may take, in ms, by case; the cases of each BFD interval.
AIMS = {"link loss": 10, "silent loss, BFD 50 ms x 3": 160, "silent loss, BFD 100 ms x 3": 320}
CASES = {50: ["link loss", "silent loss, BFD 50 ms x 3"], 100: ["silent loss, BFD 100 ms x 3"]}
PERCENTILES = station.BIN / "control-bench"

for name in set(lab.HOSTS) - {*SITES, "vpc-a"}:
    del lab.HOSTS[name]
HOSTS = lab.HOSTS


# ---- the station's configuration and the sites' -------------------------------------------------

def config(bfd_ms):
    """`bfd_ms`: 0 without BFD. Routes of a site go to no other peer: their cost is not the failover's."""
    text = f"""
[station]
name = "lab"
socket = "{station.SOCKET}"
bpffs = "{lab.PINS}/station"
state = "{lab.RUN}/state"

[[vrf]]
name = "{VRF}"
kind = "vpc"
"""
    for port, role in [("cust0", "customer"), ("cust1", "customer"), ("core0", "core")]:
        text += f'\n[[port]]\nname = "{port}"\ninterface = "{port}"\nrole = "{role}"\n'
    for host in HOSTS.values():
        kind = 'kind = "private"\n' if host.customer else ""
        text += f"""
[[vif]]
name = "{host.name}"
port = "{host.port}"
vlan = "{host.tags[0]}"
vrf = "{VRF}"
{kind}addresses = ["{host.gw4}/30"]
"""
        if host.name in SITES and bfd_ms:
            text += f"bfd = {{ interval_ms = {bfd_ms}, multiplier = 3 }}\n"
        if host.name in SITES:
            text += f"""
[[vif.bgp]]
peer = "{peer(host)}"
peer_as = {SITES[host.name]}
local_as = {STATION_AS}
connect_retry_s = 1
max_prefixes = 1000000
local_preference = {200 if host.name == "a" else 100}
export = ["{cloud()}"]
"""
    text += f"""
[[route]]
vrf = "{VRF}"
prefix = "{cloud()}"
via = [{{ address = "{peer(HOSTS["vpc-a"])}" }}]
"""
    return text


def cloud():
    return "10.2.0.0/16"


def peer(host):
    return host.peer4.split("/")[0]


def site_config(name, asn, own, gateway, prefixes, bfd_ms, disabled):
    bfd = f'protocol bfd {{ interface "eth0" {{ interval {bfd_ms} ms; multiplier 3; }}; }}\n' if bfd_ms else ""
    routes = "\n".join(f"  route {prefix} unreachable;" for prefix in prefixes)
    return f"""log "{DIR}/{name}.log" all;
router id {own};
protocol device {{ }}
{bfd}protocol static own {{ ipv4;
{routes}
}}
protocol bgp station {{
  {"disabled yes;" if disabled else ""}
  local {own} as {asn};
  neighbor {gateway} as {STATION_AS};
  {"bfd on;" if bfd_ms else ""}
  connect delay time 1; connect retry time 1; error wait time 1, 1;
  ipv4 {{ import all; export where source = RTS_STATIC; }};
}}
"""


class Daemon:
    """A BIRD in a namespace of the lab."""

    def __init__(self, name, ns, text):
        DIR.mkdir(mode=0o755, exist_ok=True)
        self.ns, self.socket = ns, DIR / f"{name}.ctl"
        path, self.pidfile = DIR / f"{name}.conf", DIR / f"{name}.pid"
        path.write_text(text)
        lab.run("bird", "-c", path, "-s", self.socket, "-P", self.pidfile, ns=ns)
        wait(lambda: self.pidfile.exists() and self.pidfile.read_text(), f"BIRD of {name}")
        self.pid = int(self.pidfile.read_text())
        wait(lambda: "Daemon is up" in self.ask("show status"), f"BIRD of {name}")

    def ask(self, *words):
        return lab.run("birdc", "-s", self.socket, *words, ns=self.ns, check=False)

    def stop(self):
        self.ask("down")
        wait(lambda: not pathlib.Path(f"/proc/{self.pid}").exists(), "BIRD's end", 60)


def wait(condition, what, limit=120.0, pause=0.05):
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"{what}: not in {limit:.0f} s; the station's log ends:\n{station.tail(station.LOG)}")
        time.sleep(pause)


class Admin:
    """The admin protocol over one connection: a process for each question would disturb what is measured."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(60)
        self.socket.connect(str(station.SOCKET))
        self.lines = self.socket.makefile("rb")

    def ask(self, request, **fields):
        self.socket.sendall(json.dumps({"v": 1, "request": request, **fields}).encode() + b"\n")
        rows = []
        while True:
            answer = json.loads(self.lines.readline())
            if "error" in answer:
                raise RuntimeError(f"{request}: {answer['error']}")
            rows += answer.get("rows", [])
            if answer.get("end"):
                return answer.get("result", rows)

    def learned(self):
        """Routes in the FIB from BGP, and routes that the kernel has."""
        rows = self.ask("show_consistency")
        [row] = [row for row in rows if row["vrf"] == VRF and row["family"] == "ipv4"]
        return row["learned_routes"]

    def next_hops(self, address):
        """The next hops that can be used, with whether each is a backup."""
        via = self.ask("lookup", vrf=VRF, address=address)["via"]
        return {member["next_hop"]: member["backup"] for member in via if member["state"] == "reachable"}


def table(path, count):
    """`count` prefixes of a real table, the same ones each time, in its order."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt") as lines:
        prefixes = sorted({line.split()[0] for line in lines if line.strip() and ":" not in line})
    kept = [p for p in prefixes if not p.startswith(("10.2.", "169.254.", "0.0.0.0/0", "127.", "224."))]
    if len(kept) < count:
        sys.exit(f"{path}: has {len(kept)} IPv4 prefixes, {count} are needed")
    return random.Random(1).sample(kept, count)


def inside(prefix):
    """An address in a prefix: whichever route of the table it meets, both sites announce it."""
    return str(ipaddress.ip_network(prefix)[-2 if int(prefix.split("/")[1]) < 31 else 0])


def ticks(pid):
    """CPU seconds of a process so far."""
    words = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def peak_mib(pid):
    """The most memory that a process had."""
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s*(\d+) kB", text).group(1)) / 1024


def bird_pid():
    return int((BIRD_DIR / "run/pid").read_text())


def at_rest(pids, quiet=0.4, limit=120.0):
    """Until processes do next to nothing; when that began."""
    last, since, end = None, time.monotonic(), time.monotonic() + limit
    while time.monotonic() - since < quiet and time.monotonic() < end:
        now = sum(ticks(pid) for pid in pids)
        if last is None or now - last > 0.02:
            last, since = now, time.monotonic()
        time.sleep(0.05)
    return since


# ---- failover -----------------------------------------------------------------------------------

def cut(case):
    lab.ip("st-wire", "link set cust0 down" if case == "link loss" else "link set cust0 nomaster")


def mend():
    lab.ip("st-wire", "link set cust0 master sw-cust0 up")
    # After some losses BIRD lets a peer wait 15 s; not one that an operator asks for.
    Admin().ask("bgp_reset", vif="a")


class Scene:
    """A station with both sites' sessions up."""

    def __init__(self, by_bgp, by_kernel, bfd_ms):
        self.by_bgp, self.by_kernel, self.target = by_bgp, by_kernel, inside([*by_bgp, *by_kernel][-1])
        # Every tenth of a second counts here, and the lab's ports are bridged without delay.
        self.station = station.start(config(bfd_ms))
        self.sites = [Daemon(name, HOSTS[name].ns, site_config(
            name, asn, peer(HOSTS[name]), HOSTS[name].gw4, by_bgp, bfd_ms, False)) for name, asn in SITES.items()]
        self.pids = [self.station, bird_pid(), *[site.pid for site in self.sites]]
        if by_kernel:
            wait(lambda: Admin().learned() == len(by_bgp), "the sessions' routes")
            write_routes(by_kernel)

    def ready(self):
        """Until everything is as it was: both sessions, all their routes, BFD, the traffic by a, and a2 its backup."""
        admin = Admin()

        def whole():
            # The cheap questions first.
            return (admin.next_hops(self.target) == {peer(HOSTS["a"]): False, peer(HOSTS["a2"]): True}
                    and admin.learned() == len(self.by_bgp) + len(self.by_kernel)
                    and all(row["state"] == "established" and row["accepted"] == len(self.by_bgp)
                            and row["bfd"] == "up" for row in admin.ask("show_bgp")))
        wait(whole, "both sessions with all routes", limit=300.0, pause=0.1)
        return at_rest(self.pids, quiet=1.0 if len(self.by_bgp) > FEW else 0.2)

    def stop(self):
        for site in self.sites:
            site.stop()
        station.stop(limit=60)

    def outage(self, case, before_s, after_s):
        """Datagrams lost by a cut."""
        source = HOSTS["vpc-a"]
        count = round((before_s + after_s) * RATE)
        frame = frames.datagram(source, source.addr4, self.target, size=60, tags=source.tags)
        then = received()
        said = {}
        sender = threading.Thread(
            target=lambda: said.update(traffic.flood(source, frame, "count", count, "pps", RATE)))
        sender.start()
        time.sleep(before_s)
        cut(case)
        sender.join()
        time.sleep(0.2)
        now = received()
        got = {name: now[name] - then[name] for name in SITES}
        lost = said["sent"] - sum(got.values())
        if not got["a2"] or not got["a"]:
            raise RuntimeError(f"{case}: the traffic did not change sides: {got}")
        return lost


def received():
    return {name: ledger.host_counts(HOSTS[name])["from vpc-a"] for name in SITES}


def write_routes(prefixes):
    """To the kernel, as the station's BIRD would: the best next hop in a table, all of them in another. BIRD itself
    takes them away at its next scan, 10 minutes after its start."""
    ways = {name: f"via {peer(HOSTS[name])} dev {tap} onlink" for name, tap in [("a", "v0.100"), ("a2", "v1.100")]}
    for number, via in [(10_000, ways["a"]), (10_001, " ".join(f"nexthop {way}" for way in ways.values()))]:
        lines = "".join(f"route add {prefix} table {number} proto bird metric 32 {via}\n" for prefix in prefixes)
        lab.run("ip", "-n", lab.TAPS_NS, "-batch", "-", stdin=lines, timeout=300)


def failover(rows, full, runs, bgp_runs):
    """Appends to `rows` as it goes: a run that ends early has measured something too."""
    few, most = full[:FEW], full[FEW:]
    sets = [(few, [], runs, 0.7), (few, most, runs, 0.7), (full, [], bgp_runs, 4.0)]
    for by_bgp, by_kernel, count, after_s in sets if bgp_runs else sets[:-1]:
        for bfd_ms, cases in CASES.items():
            began = time.monotonic()
            scene = Scene(by_bgp, by_kernel, bfd_ms)
            try:
                if by_bgp is full:
                    rows.append(two_peers(scene, began))
                for case in cases:
                    rows.append(series(scene, case, count, after_s))
            finally:
                scene.stop()


def two_peers(scene, began):
    """What it took to learn the table from both sites."""
    took = scene.ready() - began
    row = {"part": "full table", "case": "from two peers", "routes": len(scene.by_bgp), "wall_s": round(took, 2),
           "stationd_cpu_s": ticks(scene.station), "bird_cpu_s": ticks(bird_pid()),
           "stationd_peak_mib": round(peak_mib(scene.station)), "ok": True}
    print(f"  {row['routes']} routes from each of two peers: at rest {row['wall_s']:.1f} s after the station's start "
          f"(CPU: stationd {row['stationd_cpu_s']:.1f} s, BIRD {row['bird_cpu_s']:.1f} s; stationd had "
          f"{row['stationd_peak_mib']} MiB at most)", flush=True)
    return row


def series(scene, case, runs, after_s):
    losses = []
    for _ in range(runs):
        scene.ready()
        losses.append(scene.outage(case, 0.3, after_s))
        mend()
    microseconds = "".join(f"{lost * 1_000_000 // RATE}\n" for lost in losses)
    done = subprocess.run([PERCENTILES], input=microseconds, text=True, stdout=subprocess.PIPE, check=True)
    row = {"part": "failover", "case": case, "routes": len(scene.by_bgp) + len(scene.by_kernel),
           "by_bgp": len(scene.by_bgp), **json.loads(done.stdout), "lost": sum(losses),
           "outages_ms": [lost * 1000 / RATE for lost in losses],
           "aim_ms": AIMS[case], "ok": max(losses) * 1000 / RATE < AIMS[case]}
    times = " ".join(f"{row[f'{name}_us'] / 1000:6.1f}" for name in ["min", "p50", "p90", "p99", "max"])
    print(f"  {case:28} {row['routes']:>7} routes, {row['by_bgp']:>6} by BGP {runs:3} runs  {times} ms  "
          f"lost {row['lost']:6}  aim < {row['aim_ms']} ms: {'met' if row['ok'] else 'MISSED'}", flush=True)
    return row


# ---- full table ---------------------------------------------------------------------------------

def first_update(path, offset):
    """When the station's BIRD took up the session, by its log."""
    text = path.read_text(errors="replace")[offset:]
    return re.search(r"BGP session established", text) is not None


def through_station(prefixes):
    """First UPDATE to the last route forwarding."""
    pid = station.start(config(0))
    site = Daemon("a", HOSTS["a"].ns, site_config(
        "a", SITES["a"], peer(HOSTS["a"]), HOSTS["a"].gw4, prefixes, 0, True))
    bird, log, admin = bird_pid(), BIRD_DIR / "run/bird.log", Admin()
    rendered = (BIRD_DIR / "bird.conf").read_text()
    try:
        at_rest([pid, bird, site.pid])
        offset = log.stat().st_size
        site.ask("enable", "station")
        wait(lambda: first_update(log, offset), "the session", pause=0.002)
        began = time.monotonic()
        cpu = ticks(pid), ticks(bird)
        wait(lambda: admin.learned() == len(prefixes), "the last route", pause=0.05)
        wall = time.monotonic() - began
        target = inside(prefixes[-1])
        if peer(HOSTS["a"]) not in admin.next_hops(target):
            raise RuntimeError(f"{target} is not forwarded to a")
        # CPU of all that the table takes; BIRD's second table is written after the FIB is done.
        ended = at_rest([pid, bird])
        return {"wall_s": wall, "settled_s": ended - began, "stationd_cpu_s": ticks(pid) - cpu[0],
                "bird_cpu_s": ticks(bird) - cpu[1], "peak_mib": peak_mib(pid)}, rendered
    finally:
        site.stop()
        station.stop(limit=60)


def through_bird(prefixes, rendered):
    """The same BIRD configuration on a wire of its own, with nobody who listens to the kernel."""
    tap = re.search(r'vrf "(v\d+\.100)"', rendered).group(1)
    plain, feed = "st-plain", "st-feed"
    for ns in (plain, feed):
        lab.run("ip", "netns", "add", ns)
    lab.run("ip", "link", "add", "name", tap, "netns", plain, "type", "veth", "peer", "name", "eth0", "netns", feed)
    a = HOSTS["a"]
    lab.ip(plain, "link set lo up", f"addr add {a.gw4}/30 dev {tap}", f"link set {tap} up")
    lab.ip(feed, "link set lo up", f"addr add {a.peer4} dev eth0", "link set eth0 up")
    log = DIR / "plain.log"
    text = re.sub(r'^log .*$', f'log "{log}" all;', rendered, flags=re.M)
    daemon = Daemon("plain", plain, text)
    site = Daemon("feed", feed, site_config("feed", SITES["a"], peer(a), a.gw4, prefixes, 0, True))
    try:
        at_rest([daemon.pid, site.pid])
        offset = log.stat().st_size
        site.ask("enable", "station")
        wait(lambda: first_update(log, offset), "the session", pause=0.002)
        began, cpu = time.monotonic(), ticks(daemon.pid)
        # BIRD tells the kernel as it learns: when it rests, the last route is there.
        ended = at_rest([daemon.pid])
        there = len(lab.run("ip", "-n", plain, "route", "show", "table", 10_000, timeout=300).splitlines())
        if there != len(prefixes):
            raise RuntimeError(f"the kernel has {there} routes of {len(prefixes)}")
        return {"wall_s": ended - began, "settled_s": ended - began, "bird_cpu_s": ticks(daemon.pid) - cpu}
    finally:
        site.stop()
        daemon.stop()
        for ns in (plain, feed):
            lab.run("ip", "netns", "del", ns)


def full_table(rows, prefixes, runs):
    for _ in range(runs):
        ours, rendered = through_station(prefixes)
        alone = through_bird(prefixes, rendered)
        row = {"part": "full table", "case": "BGP to FIB", "routes": len(prefixes),
               "wall_s": round(ours["wall_s"], 2), "settled_s": round(ours["settled_s"], 2),
               "cpu_s": round(ours["stationd_cpu_s"] + ours["bird_cpu_s"], 2),
               "stationd_cpu_s": round(ours["stationd_cpu_s"], 2), "bird_cpu_s": round(ours["bird_cpu_s"], 2),
               "stationd_peak_mib": round(ours["peak_mib"]),
               "alone_wall_s": round(alone["wall_s"], 2), "alone_cpu_s": round(alone["bird_cpu_s"], 2),
               "ratio": round(ours["wall_s"] / alone["wall_s"], 3),
               "settled_ratio": round(ours["settled_s"] / alone["wall_s"], 3)}
        row["ok"] = row["ratio"] <= 1.1
        rows.append(row)
        print(f"  {row['routes']} routes: in the FIB after {row['wall_s']:.2f} s, all at rest after "
              f"{row['settled_s']:.2f} s (CPU: stationd {row['stationd_cpu_s']:.2f} s, BIRD {row['bird_cpu_s']:.2f} s; "
              f"stationd had {row['stationd_peak_mib']} MiB at most); "
              f"BIRD to the kernel alone {row['alone_wall_s']:.2f} s (CPU {row['alone_cpu_s']:.2f} s): "
              f"ratio {row['ratio']:.2f}, aim <= 1.10: {'met' if row['ok'] else 'MISSED'}", flush=True)


def main():
    arguments = argparse.ArgumentParser(prog="scripts/bench control", description=__doc__,
                                        formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--quick", action="store_true", help="3 runs of each case instead of 30")
    arguments.add_argument("--bgp-runs", type=int, default=3,
                           help="runs of each case with the whole table from BGP: a minute each")
    arguments.add_argument("--json", type=pathlib.Path, help="writes a row for each figure")
    arguments.add_argument("--routes", type=pathlib.Path, default=DATA, help="a prefix a line, .gz or not")
    arguments.add_argument("--only", choices=["failover", "table", "mappings"])
    options = arguments.parse_args()
    if os.geteuid() != 0:
        sys.exit("bench control: needs root")
    if options.only != "mappings" and not options.routes.exists():
        sys.exit(f"bench control: there is no {options.routes}; give a table by --routes FILE")
    full = table(options.routes, FULL) if options.only != "mappings" else []
    lab.lock(wait=True)
    lab.up()
    rows = []
    try:
        if options.only in (None, "mappings"):
            print("Mappings", flush=True)
            mappings.measure(rows, ticks, peak_mib)
        if options.only in (None, "table"):
            print("Full table", flush=True)
            full_table(rows, full, 1 if options.quick else 3)
        if options.only in (None, "failover"):
            print("Failover: min, median, p90, p99, max", flush=True)
            failover(rows, full, *((3, 1) if options.quick else (30, options.bgp_runs)))
    finally:
        station.stop(limit=60)
        lab.down()
        if options.json:
            options.json.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return 0 if all(row["ok"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
