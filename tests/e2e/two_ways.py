"""A customer's router, a real BIRD, that has a VIF on each customer port, and what is seen of it: for tests that take one
way from it.

The second VIF, a2, is moved into the namespace of the first one's host for that."""

import contextlib
import json
import time

import case
import lab
import ledger
import peers
import station
from case import HOSTS, expect, require, wait_until
from steady import Steady

A, A2 = HOSTS["a"], HOSTS["a2"]
PREFIX = {4: "10.1.0.0/16", 6: "fd10:1::/32"}
CORE_PREFIX = {4: "10.2.0.0/16", 6: "fd10:2::/32"}
UNDO = contextlib.ExitStack()
ROUTER = None


class Customer(peers.Router):
    """The customer's router: a session a VIF and family. VIF a is the better way in, unless it is to be left."""

    def text(self):
        text = f"""log stderr all;
router id {A.addr4};
protocol device {{ }}
protocol direct {{ ipv4; ipv6; interface "eth0", "eth1"; }}
filter leave_last {{ if (65535, 0) ~ bgp_community then bgp_local_pref = 0; accept; }}
"""
        for family in (4, 6):
            text += f"""protocol kernel kernel{family} {{ ipv{family} {{ export where source = RTS_BGP; }}; }}
protocol static own{family} {{ ipv{family}; route {PREFIX[family]} unreachable; }}
"""
            for host, preference in ((A, 200), (A2, 100)):
                own, peer = (host.peer4, host.gw4) if family == 4 else (host.peer6, host.gw6)
                text += f"""protocol bgp '{host.name}-{family}' {{
  local {own.split('/')[0]} as {self.asn};
  neighbor {peer} as {peers.STATION_AS};
  default bgp_local_pref {preference};
  connect delay time 1; error wait time 1, 2;
  ipv{family} {{ import filter leave_last; export where source = RTS_STATIC; }};
}}
"""
        return text

    def told(self, vif, family=4):
        """Whether what the station announces on a VIF says that it is about to go."""
        routes = self.birdc("show", "route", CORE_PREFIX[family], "protocol", f"'{vif}-{family}'", "all")
        require(CORE_PREFIX[family] in routes, routes)
        return "(65535,0)" in routes


def move(host, to):
    """Puts the interface of a host's VIF into a namespace; it keeps its tags."""
    there, name = (lab.HOSTS[to].ns, "eth1") if to != host.name else (host.ns, "eth0")
    here, old = (host.ns, "eth0") if to != host.name else (A.ns, "eth1")
    lab.ip(here, f"link set dev {old} down")
    lab.run("ip", "-n", here, "link", "set", "dev", old, "name", "moved")
    lab.run("ip", "-n", here, "link", "set", "dev", "moved", "netns", there)
    lab.run("ip", "-n", there, "link", "set", "dev", "moved", "name", name)
    lab.run("tc", "qdisc", "add", "dev", name, "clsact", ns=there)
    for direction in ("ingress", "egress"):
        lab.run("tc", "filter", "add", "dev", name, direction, "bpf", "direct-action",
                "object-pinned", lab.PINS / host.name / direction, ns=there)
    lab.ip(there, f"addr add {host.peer4} dev {name}", f"addr add {host.peer6} dev {name} nodad", f"link set dev {name} up")


def begin():
    """The station, the customer and the core, with all sessions up."""
    global ROUTER
    move(A2, "a")
    UNDO.callback(lambda: (move(A2, "a2"), lab.default_routes(A2)))
    # Routes of a BIRD that was killed stay, with another source than other tests expect.
    UNDO.callback(lambda: [lab.run("ip", family, "-n", A.ns, "route", "flush", "proto", "bird") for family in ("-4", "-6")])
    # While the customer's kernel replaces a route, which is two steps, this one counts.
    lab.ip(A.ns, f"route add {CORE_PREFIX[4]} via {A2.gw4} dev eth1 src {A.addr4} metric 4000",
           f"route add {CORE_PREFIX[6]} via {A2.gw6} dev eth1 src {A.addr6} metric 4000")
    for name in ("drains.json", "drills.json", "outages.jsonl", "events.jsonl", "alive"):
        (lab.RUN / "state" / name).unlink(missing_ok=True)
    station.stop()
    station.start(case.bgp_config().replace("peer_as = 65002", "peer_as = 65001"))
    UNDO.enter_context(peers.Router("vpc-a", 64600, {family: [prefix] for family, prefix in CORE_PREFIX.items()}))
    ROUTER = UNDO.enter_context(Customer("a", 65001, {}))
    settle()


def settle():
    """Waits until all routes are there that are to be: what a customer sends before the station has its routes is foreign."""
    wait_until(lambda: peers.established("a", "a2", "vpc-a"), 60, "the sessions")
    wait_until(lambda: ways() == {4: both("reachable"), 6: both("reachable")}, 30, f"both ways to the customer: {ways()}")
    wait_until(lambda: all(is_learned(prefix) for prefix in CORE_PREFIX.values()), 30, "the core's routes")
    wait_until(lambda: routes_of_customer() == {"eth0"}, 30, "the customer's way is VIF a")


def end():
    UNDO.close()
    station.stop()


# ---- what is seen ---------------------------------------------------------------------------------

def ways():
    """How the station leads to the customer: VIF -> state, by family."""
    rows = {family: station.ctl("show", "routes", "--vrf", "vpc-a", prefix) for family, prefix in PREFIX.items()}
    return {family: {way["vif"]: way["state"] for row in found if row["prefix"] == PREFIX[family] for way in row["via"]}
            for family, found in rows.items()}


def is_learned(prefix):
    return any(row["prefix"] == prefix and row["origin"] == "bgp" for row in station.ctl("show", "routes", "--vrf", "vpc-a", prefix))


def both(of_a):
    return {"a": of_a, "a2": "reachable"}


def routes_of_customer():
    """By which interface the customer reaches the core, but for the routes that are always there."""
    found = set()
    for family, prefix in CORE_PREFIX.items():
        rows = json.loads(lab.run("ip", f"-{family}", "-n", A.ns, "-j", "route", "show", prefix))
        found |= {row["dev"] for row in rows if row.get("metric") != 4000}
    return found


def vif(name):
    [row] = [row for row in station.ctl("show", "vifs") if row["name"] == name]
    return row


def events(*kinds):
    return station.lines("events", "--kind", ",".join(kinds))


def sla(name):
    [row] = station.ctl("show", "sla", name)
    return row


def outages(name):
    """Those of a VIF alone: cause, and when they were over."""
    return [(row["cause"], row["end_ms"]) for row in station.ctl("show", "outages", name) if row["vif"] == name]


def stalled_since(ms):
    """Whether the station had no CPU for a while, as its ledger says: once it is over."""
    time.sleep(1.5)
    return any(row["cause"] == "stall" and row["end_ms"] >= ms for row in station.ctl("show", "outages"))


@contextlib.contextmanager
def nothing_lost(what, *, passes=("a2",), still=(), families=(4,)):
    """Datagrams with sequence numbers in both directions arrive, all of them, once each."""
    streams = [Steady(source, [target], pps=300, flows=16, six=family == 6)
               for source, target in (("vpc-a", "a"), ("a", "vpc-a")) for family in families]
    before = {name: vif(name)["forwarded"] for name in (*passes, *still)}
    begun_ms = time.time() * 1000
    counted = ledger.Snapshot()
    with contextlib.ExitStack() as running:
        for stream in streams:
            running.enter_context(stream)
        time.sleep(0.5)
        yield
        time.sleep(0.5)
        after = {name: vif(name)["forwarded"] for name in (*passes, *still)}
    seen = ledger.Snapshot() - counted
    dropped = {"drops": dict(seen.drops()), "slow path": dict(seen.slow()), "wires": dict(+seen.wires)}
    for stream in streams:
        words = f"{stream.source.name} to {stream.receive[1]} while {what}: {stream.loss}; {dropped}"
        require(stream.loss.sent > 20, words)
        if stream.loss.lost and stalled_since(begun_ms):
            print(f"the machine kept the station from running, and lost some: {words}")
            continue
        if stream.loss.lost:
            case.alone(1.0)  # as it may be no more
        expect((stream.loss.lost, stream.loss.twice), (0, 0), words)
    for name in passes:
        require(after[name] > before[name], f"nothing passed by {name} while {what}")
    for name in still:
        expect(after[name], before[name], f"frames that passed by {name} while {what}")
