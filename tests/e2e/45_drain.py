"""Drains: a customer's router, a real BIRD that follows RFC 8326, has a VIF on each customer port. One is taken out of
service under traffic with sequence numbers in both directions, and nothing is lost; then a whole port, and its link.

STATION_ALL=1 also restarts the station in order while a VIF is drained; it is killed in any case."""

import os
import re
import signal

import case
import lab
import peers
import station
import two_ways
from case import expect, refused, require, wait_until
from two_ways import CORE_PREFIX, PREFIX, both, events, nothing_lost, outages, routes_of_customer, sla, vif, ways

ALL = bool(os.environ.get("STATION_ALL"))
begin, end = two_ways.begin, two_ways.end


# ---- what is seen ---------------------------------------------------------------------------------

def drains():
    return {(row["scope"], row["name"]): row for row in station.ctl("show", "drains")}


def told():
    """The events of drains so far."""
    return [(event["kind"], event["scope"], event["name"]) for event in events("drain_begin", "drain_quiet", "drain_end")]


def announced(name):
    """How a VIF's peer announces the customer's prefix: local preference, and whether it is about to go."""
    rows = station.ctl("show", "bgp", name, "routes", "received")
    return [(row["local_preference"], "65535:0" in row["communities"]) for row in rows if row["prefix"] == PREFIX[4]]


def drained(*words):
    """The answer to `stationctl drain WORDS`, which waits until nothing passes by what is drained."""
    try:
        return station.ctl("drain", *words, "--wait", "45s")
    except station.Refused as refusal:
        print(f"        {refusal}")
        case.alone(1.0)  # a station whose samples come late does not say that it is quiet
        raise


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
    expect(two_ways.ROUTER.told("a"), False, "the community before a drain")


def test_a_vif_is_drained_and_nothing_is_lost():
    with nothing_lost("vif a is drained", passes=("a", "a2"), families=(4, 6)):
        done = drained("vif", "a", "--comment", "order 4711")
        expect((done["change"]["changes"], done["drain"]["state"]), (["~ vif a: drained"], "quiet"), "the answer")
        require(done["drain"]["quiet_ms"] > done["drain"]["since_ms"], done)
    expect(ways(), {4: both("drained"), 6: both("drained")}, "ways to the customer")
    for family in (4, 6):
        expect((two_ways.ROUTER.told("a", family), two_ways.ROUTER.told("a2", family)), (True, False), f"IPv{family}: who is told to go elsewhere")
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
        wait_until(lambda: two_ways.ROUTER.told("a") and two_ways.ROUTER.told("a", 6), 30, f"the community after {how.name}")
        expect(two_ways.ROUTER.told("a2"), False, "the other VIF's community")
    rows = {name: sla(name) for name in ("a", "a2")}
    # A stall of a busy machine may be an outage of both.
    require(rows["a"]["outages"] < rows["a2"]["outages"], f"restarts are planned for a, and not for a2: {rows}")
    expect(outages("a"), [("drain", None)], "show outages")


def test_undrain_restores_all_and_nothing_is_lost():
    wait_until(lambda: routes_of_customer() == {"eth1"}, 30, "the customer's way")
    with nothing_lost("vif a comes back", passes=("a", "a2")):
        done = station.ctl("undrain", "vif", "a")
        expect((done["changes"], done["routing"]["state"]), (["~ vif a: in service"], "followed"), "the answer")
        wait_until(lambda: not two_ways.ROUTER.told("a") and not two_ways.ROUTER.told("a", 6), 30, "the community is gone")
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
    two_ways.settle()
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
