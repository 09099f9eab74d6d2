"""Drains: a customer's router, a real BIRD that follows RFC 8326, has a VIF on each customer port. One is taken out of
service under traffic with sequence numbers in both directions, and nothing is lost; then a whole port, and its link.

The second VIF, a2, is moved into the namespace of the first one's host for that. STATION_ALL=1 also restarts the station in
order while a VIF is drained; it is killed in any case."""

import contextlib
import json
import os
import re
import signal
import time

import case
import lab
import peers
import station
from case import HOSTS, expect, refused, require, wait_until
from steady import Steady

A, A2, CORE = HOSTS["a"], HOSTS["a2"], HOSTS["vpc-a"]
PREFIX = {4: "10.1.0.0/16", 6: "fd10:1::/32"}
CORE_PREFIX = {4: "10.2.0.0/16", 6: "fd10:2::/32"}
ALL = bool(os.environ.get("STATION_ALL"))
UNDO = contextlib.ExitStack()
ROUTER = None


class Customer(peers.Router):
    """The customer's router: a session a VIF and family. VIF a is the better way in, unless it is to be left."""

    def text(self):
        text = f"""router id {A.addr4};
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
    global ROUTER
    move(A2, "a")
    UNDO.callback(lambda: (move(A2, "a2"), lab.default_routes(A2)))
    # While the customer's kernel replaces a route, which is two steps, this one counts.
    lab.ip(A.ns, f"route add {CORE_PREFIX[4]} via {A2.gw4} dev eth1 src {A.addr4} metric 4000",
           f"route add {CORE_PREFIX[6]} via {A2.gw6} dev eth1 src {A.addr6} metric 4000")
    for name in ("drains.json", "outages.jsonl", "events.jsonl", "alive"):
        (lab.RUN / "state" / name).unlink(missing_ok=True)
    station.stop()
    station.start(case.bgp_config().replace("peer_as = 65002", "peer_as = 65001"))
    UNDO.enter_context(peers.Router("vpc-a", 64600, {family: [prefix] for family, prefix in CORE_PREFIX.items()}))
    ROUTER = UNDO.enter_context(Customer("a", 65001, {}))
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


def drains():
    return {(row["scope"], row["name"]): row for row in station.ctl("show", "drains")}


def events(*kinds):
    return station.lines("events", "--kind", ",".join(kinds))


def told():
    """The events of drains so far."""
    return [(event["kind"], event["scope"], event["name"]) for event in events("drain_begin", "drain_quiet", "drain_end")]


def announced(name):
    """How a VIF's peer announces the customer's prefix: local preference, and whether it is about to go."""
    rows = station.ctl("show", "bgp", name, "routes", "received")
    return [(row["local_preference"], "65535:0" in row["communities"]) for row in rows if row["prefix"] == PREFIX[4]]


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


def drained(*words):
    """The answer to `stationctl drain WORDS`, which waits until nothing passes by what is drained."""
    try:
        return station.ctl("drain", *words, "--wait", "45s")
    except station.Refused as refusal:
        print(f"        {refusal}")
        case.alone(1.0)  # a station whose samples come late does not say that it is quiet
        raise


@contextlib.contextmanager
def nothing_lost(what, *, passes=("a2",), still=(), families=(4,)):
    """Datagrams with sequence numbers in both directions arrive, all of them, once each."""
    streams = [Steady(source, [target], pps=300, flows=16, six=family == 6)
               for source, target in (("vpc-a", "a"), ("a", "vpc-a")) for family in families]
    before = {name: vif(name)["forwarded"] for name in (*passes, *still)}
    begun_ms = time.time() * 1000
    with contextlib.ExitStack() as running:
        for stream in streams:
            running.enter_context(stream)
        time.sleep(0.5)
        yield
        time.sleep(0.5)
        after = {name: vif(name)["forwarded"] for name in (*passes, *still)}
    for stream in streams:
        words = f"{stream.source.name} to {stream.receive[1]} while {what}: {stream.loss}"
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


# ---- tests ----------------------------------------------------------------------------------------

def test_what_has_no_other_way_is_named_and_refused():
    for words, name in ((("vif", "vpc-a"), "vif vpc-a"), (("port", "core0"), "port core0"), (("station",), "the station")):
        why = refused("drain", *words)
        for prefix in CORE_PREFIX.values():
            require(f"\n  {prefix} in vrf vpc-a" in why, why)
        require(why.endswith(f"nothing has changed; --anyway drains {name} all the same"), why)
    require("10.1.0.0/16" in refused("drain", "station"), "the customer's prefix goes with the station")
    require("there is no vif" in refused("drain", "vif", "nobody"), "an unknown VIF")
    require("there is no port" in refused("undrain", "port", "nobody"), "an unknown port")
    expect(drains(), {}, "drains after refusals")
    expect(ROUTER.told("a"), False, "the community before a drain")


def test_a_vif_is_drained_and_nothing_is_lost():
    with nothing_lost("vif a is drained", passes=("a", "a2"), families=(4, 6)):
        done = drained("vif", "a", "--comment", "order 4711")
        expect((done["change"]["changes"], done["drain"]["state"]), (["~ vif a: drained"], "quiet"), "the answer")
        require(done["drain"]["quiet_ms"] > done["drain"]["since_ms"], done)
    expect(ways(), {4: both("drained"), 6: both("drained")}, "ways to the customer")
    for family in (4, 6):
        expect((ROUTER.told("a", family), ROUTER.told("a2", family)), (True, False), f"IPv{family}: who is told to go elsewhere")
    expect(routes_of_customer(), {"eth1"}, "the customer's way")
    wait_until(lambda: announced("a") == [(0, True)], 30, f"what a announces comes last: {announced('a')}")
    with nothing_lost("vif a is quiet", still=("a",)):
        row = drains()["vif", "a"]
    expect((row["state"], row["vifs"], row["flows"], row["comment"], row["uid"]), ("quiet", 1, [], "order 4711", 0), "show drains")
    expect((vif("a")["drain"], vif("a")["state"], vif("a2")["drain"]), ("quiet", "up", ""), "show vifs")
    require(re.search(r"^a .* drained ", station.shown("show", "vifs"), re.MULTILINE), "the table of VIFs")
    require("order 4711" in station.shown("show", "drains"), "the table of drains")
    begun = [("drain_begin", "vif", "a"), ("drain_quiet", "vif", "a")]
    wait_until(lambda: told() == begun, 10, f"events: {told()}")
    wait_until(lambda: sla("a")["state"] == "drained" and sla("a")["planned_ms"] > 0, 10, f"show sla: {sla('a')}")
    expect(outages("a"), [("drain", None)], "show outages")


def test_what_is_drained_is_drained_once_and_counts_for_others():
    done = drained("vif", "a")
    expect((done["change"]["changes"], done["change"]["notes"]), ([], ["vif a is drained already"]), "the second time")
    expect(drains()["vif", "a"]["comment"], "order 4711", "the comment")
    # The customer has no other way now.
    require(f"\n  {PREFIX[4]} in vrf vpc-a" in refused("drain", "vif", "a2"), "the last way")


def test_it_outlives_the_daemon():
    since = drains()["vif", "a"]["since_ms"]
    for how in (signal.SIGTERM, signal.SIGKILL) if ALL else (signal.SIGKILL,):
        station.stop(how)
        station.start()
        expect(drains()["vif", "a"]["since_ms"], since, f"since when, after {how.name}")
        wait_until(lambda: peers.established("a", "a2", "vpc-a"), 60, "the sessions")
        wait_until(lambda: ways() == {4: both("drained"), 6: both("drained")}, 30, f"the ways after {how.name}")
        wait_until(lambda: ROUTER.told("a") and ROUTER.told("a", 6), 30, f"the community after {how.name}")
        expect(ROUTER.told("a2"), False, "the other VIF's community")
    rows = {name: sla(name) for name in ("a", "a2")}
    # A stall of a busy machine may be an outage of both.
    require(rows["a"]["outages"] < rows["a2"]["outages"], f"restarts are planned for a, and not for a2: {rows}")
    expect(outages("a"), [("drain", None)], "show outages")


def test_undrain_restores_all_and_nothing_is_lost():
    wait_until(lambda: routes_of_customer() == {"eth1"}, 30, "the customer's way")
    with nothing_lost("vif a comes back", passes=("a", "a2")):
        done = station.ctl("undrain", "vif", "a")
        expect((done["changes"], done["routing"]["state"]), (["~ vif a: in service"], "followed"), "the answer")
        wait_until(lambda: not ROUTER.told("a") and not ROUTER.told("a", 6), 30, "the community is gone")
        wait_until(lambda: routes_of_customer() == {"eth0"}, 30, "the customer's way is VIF a again")
        wait_until(lambda: ways() == {4: both("reachable"), 6: both("reachable")}, 30, "both ways")
    expect(drains(), {}, "show drains")
    wait_until(lambda: sla("a")["state"] == "up", 10, "the state of a")
    expect(station.ctl("undrain", "vif", "a")["notes"], ["vif a is not drained"], "the second time")
    wait_until(lambda: told()[-1:] == [("drain_end", "vif", "a")], 10, f"events: {told()}")
    [(cause, over)] = outages("a")
    require(cause == "drain" and over, "the outage is over")


def test_a_port_is_drained_and_unplugged_and_nothing_is_lost():
    with nothing_lost("port cust0 is drained and unplugged", passes=("a", "a2")):
        done = drained("port", "cust0")
        expect((done["drain"]["state"], done["drain"]["vifs"]), ("quiet", 3), "the answer")
        expect(station.ports()["cust0"]["drain"], "quiet", "show ports")
        require("port cust0 is drained" in station.ctl("undrain", "vif", "a")["notes"][-1], "a is the port's")
        lab.ip("st-wire", "link set dev cust0 down")
        wait_until(lambda: not station.ports()["cust0"]["up"], 10, "the link is gone")
    lab.ip("st-wire", "link set dev cust0 up")
    wait_until(lambda: station.ports()["cust0"]["up"], 10, "the link")
    wait_until(lambda: sla("a")["state"] == "drained", 10, "the state of a")
    expect([cause for cause, _ in outages("a")], ["drain", "drain"], "the link's loss was planned")
    station.ctl("undrain", "port", "cust0")
    expect(drains(), {}, "show drains")


def test_what_still_flows_is_said():
    with nothing_lost("the only way is drained", passes=("vpc-a",)):
        done = station.tried("drain", "vif", "vpc-a", "--anyway", "--wait", "4s")
        expect(done.returncode, 4, done.stderr)
        why = station.why(done.stderr)
        if "not known yet" in why:
            case.alone(1.0)  # as it may be no more
        require(re.match(r"frames/s that still pass: [\d,]+ in, [\d,]+ out \(vpc-a [\d,]+/[\d,]+\); the drain goes on", why), why)
        answer = station.answer(done.stdout)
        expect(answer["drain"]["state"], "draining", "the answer")
        require(f"no other way leads to {CORE_PREFIX[4]} in vrf vpc-a" in answer["change"]["notes"], answer)
        wait_until(lambda: events("drain_begin")[-1]["dark_prefixes"] == 2, 10, "the event has how many prefixes have no way")
    station.ctl("undrain", "vif", "vpc-a")
