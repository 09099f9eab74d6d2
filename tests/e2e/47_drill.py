"""Failover drills: a customer's router, a real BIRD, has a VIF on each customer port. The sessions of one are taken down in
words, and nothing is lost; they come back by themselves, also where the station is killed meanwhile, and no `configure`
brings them back before. What is said to go dark does, and nothing else."""

import re
import signal
import time

import case
import peers
import station
import two_ways
from case import expect, refused, require, wait_until
from two_ways import CORE_PREFIX, events, nothing_lost, outages, routes_of_customer, sla

begin, end = two_ways.begin, two_ways.end


# ---- what is seen ---------------------------------------------------------------------------------

def drills():
    return {row["vif"]: row for row in station.ctl("show", "drills")}


def last():
    return station.ctl("drill", "history")[-1]


def states(name):
    return {row["state"] for row in station.ctl("show", "bgp", name)}


def words_of_far_end():
    """What the far end's log says of the sessions' ends."""
    return re.findall(r"(\S+): Received: Administrative shutdown: (.*)", two_ways.ROUTER.path("log").read_text(errors="replace"))


def learned():
    """Prefixes that BGP leads to."""
    return {(row["prefix"], row["vrf"]) for row in station.ctl("show", "routes", "--vrf", "vpc-a") if row["origin"] == "bgp"}


# ---- tests ----------------------------------------------------------------------------------------

def test_what_cannot_be_tested_is_refused():
    require("there is no vif" in refused("drill", "start", "nobody", "--minutes", "1"), "an unknown VIF")
    why = refused("drill", "start", "a", "--peer", "10.9.9.9", "--minutes", "1")
    require('vif "a" has no BGP session with 10.9.9.9' in why, why)
    why = refused("drill", "start", "c", "--minutes", "1")
    require("no session of the drill is established" in why and "show bgp c" in why, why)
    for row in station.ctl("show", "bgp", "d"):
        station.ctl("bgp", "del", "d", row["peer"])
    why = refused("drill", "start", "d", "--minutes", "1")
    require("no BGP session, which is what a drill takes down: `stationctl drain vif d`" in why, why)
    for minutes in ("0.1", "4321", "soon"):
        expect(station.tried("drill", "start", "a", "--minutes", minutes).returncode, 2, f"--minutes {minutes}")
    why = refused("drill", "start", "vpc-a", "--minutes", "1")
    for prefix in CORE_PREFIX.values():
        require(f"\n  {prefix} in vrf vpc-a" in why, why)
    require(why.endswith("nothing has changed; --anyway starts the drill of vif vpc-a all the same"), why)
    station.ctl("drain", "vif", "a", "--no-wait")
    require("is drained" in refused("drill", "start", "a", "--minutes", "1"), "a drained VIF")
    require(f"\n  {two_ways.PREFIX[4]} in vrf vpc-a" in refused("drill", "start", "a2", "--minutes", "1"), "what is drained is no way")
    station.ctl("undrain", "vif", "a")
    wait_until(lambda: not two_ways.ROUTER.told("a") and routes_of_customer() == {"eth0"}, 30, "the customer's way is VIF a again")
    expect(station.ctl("drill", "history"), [], "drills after refusals")


def test_the_far_end_hears_why_and_nothing_is_lost():
    # The strict check would drop what the far end sends by a after the routes of that session are gone.
    station.ctl("vif", "set", "a", "source_check=loose")
    with nothing_lost("vif a is in a drill", passes=("a2",), families=(4, 6)):
        done = station.ctl("drill", "start", "a", "--minutes", "30", "--comment", "order 4711")
        expect([change.split(":")[0] for change in done["changes"]], ["~ bgp 169.254.0.2 on vif a", "~ bgp fd00"], "the answer")
        wait_until(lambda: routes_of_customer() == {"eth1"}, 20, "the customer's way")
        time.sleep(2)
        row = drills()["a"]
        stopped = station.ctl("drill", "stop", "a")
    expect((row["state"], sorted(row["peers"]), row["dark_prefixes"], row["comment"], row["uid"]),
           ("running", ["169.254.0.2", "fd00:a::2"], 0, "order 4711", 0), "show drills")
    expect(row["until_ms"] - row["since_ms"], 30 * 60_000, "half an hour")
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(row["until_ms"] // 1000))
    words = f'"failover drill of a: back by itself at {until}"'
    wait_until(lambda: {("a-4", words), ("a-6", words)} <= set(words_of_far_end()), 10, f"the far end's log: {words_of_far_end()}")
    expect(len(stopped["changes"]), 2, "the answer of an early end")
    row = last()
    expect((row["state"], row["ended"]), ("over", "stopped"), "drill history")
    flows = {flow["vif"]: flow["frames_per_s"] - flow["before_frames_per_s"] for flow in row["went_to"]}
    if flows.get("a2", 0) <= 100:
        case.alone(1.0)  # the streams may have had no CPU
    require(flows.get("a2", 0) > 100, row)
    require(100 <= row["resolution_ms"] <= row["measured_ms"], row)
    require(row["tx_switch_ms"] is not None and row["rx_switch_ms"] is not None, f"both directions have switched: {row}")
    expect(row["frames_lost"], 0, "frames lost")
    expect([(event["reason"], event["frames_lost"]) for event in events("drill_end")], [("stopped", 0)], "the event")
    wait_until(lambda: peers.established("a") and routes_of_customer() == {"eth0"}, 30, "the sessions are back")
    wait_until(lambda: sla("a")["state"] == "up", 10, "the state of a")
    expect([(cause, bool(over)) for cause, over in outages("a")][-1], ("drill", True), "the outage was planned, until the sessions were back")
    expect(station.ctl("drill", "stop", "a")["notes"], ["no drill of vif a runs"], "the second time")
    expect(drills(), {}, "show drills")


def test_a_configure_does_not_end_it():
    station.ctl("drill", "start", "a", "--minutes", "4320")
    until_ms = drills()["a"]["until_ms"]
    done = station.ctl("bgp", "set", "b", "169.254.0.2", "hold_s=60")
    expect(done["routing"]["state"], "followed", "BIRD has read a configuration")
    time.sleep(1.5)
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(until_ms // 1000))
    for session in station.ctl("show", "bgp", "a"):
        expect((session["state"], session["cause"]), ("drill", "drill"), "show bgp")
        require(f"failover drill until {until}: `stationctl drill stop a`" in session["last_error"], session)
    wait_until(lambda: sla("a")["state"] == "drill" and sla("a")["planned_ms"] > 0, 10, f"show sla: {sla('a')}")
    begun = events("drill_begin")[-1]
    expect((begun["vif"], begun["uid"], begun["until_ms"]), ("a", 0, until_ms), "the event")
    for command in (("drill", "start", "a", "--minutes", "1"), ("bgp", "reset", "a")):
        require("`stationctl drill stop a`" in refused(*command), command)
    # What is down by a drill is no way for anybody else.
    require(f"\n  {two_ways.PREFIX[4]} in vrf vpc-a" in refused("drain", "vif", "a2"), "the last way")
    station.ctl("drill", "stop", "a")
    wait_until(lambda: peers.established("a") and routes_of_customer() == {"eth0"}, 30, "the sessions are back")


def test_it_ends_by_itself_though_the_station_was_killed():
    station.ctl("drill", "start", "a", "--peer", "169.254.0.2", "--minutes", "0.2")
    row = drills()["a"]
    station.stop(signal.SIGKILL)
    station.start()
    if row["until_ms"] > time.time() * 1000 + 500:
        expect(drills()["a"]["since_ms"], row["since_ms"], "the drill goes on")
        [session] = [row for row in station.ctl("show", "bgp", "a") if row["peer"] == "169.254.0.2"]
        expect(session["state"], "drill", "show bgp")
    wait_until(lambda: peers.established("a"), 60, "the session is back")
    require(time.time() * 1000 >= row["until_ms"], "it came back before its time")
    row = last()
    expect((row["ended"], row["peers"], row["tx_switch_ms"], row["frames_lost"]), ("time", ["169.254.0.2"], None, None), "drill history")


def test_what_is_said_to_go_dark_does():
    wait_until(lambda: peers.established("a", "a2", "vpc-a") and {prefix for prefix, _ in learned()} >= {*CORE_PREFIX.values()}, 60, "all routes")
    before = learned()
    said = set(re.findall(r"\n  (\S+) in vrf (\S+)", refused("drill", "start", "vpc-a", "--minutes", "1")))
    done = station.ctl("drill", "start", "vpc-a", "--minutes", "1", "--anyway")
    expect(set(re.findall(r"no other way leads to (\S+) in vrf (\S+)", "\n".join(done["notes"]))), said, "the notes")
    wait_until(lambda: before - learned() == said, 20, f"what went dark is what was said: {said}, {before - learned()}")
    expect(drills()["vpc-a"]["dark_prefixes"], len(said), "show drills")
    # Who sets the VIF down ends the drill; it is planned all the same.
    station.ctl("vif", "down", "vpc-a")
    wait_until(lambda: drills() == {}, 10, "the drill is over")
    expect(last()["ended"], "vif_down", "drill history")
    expect(states("vpc-a"), {"down"}, "the sessions stay down")
    station.ctl("vif", "up", "vpc-a")
    wait_until(lambda: peers.established("vpc-a") and learned() == before, 30, "all is as before")
