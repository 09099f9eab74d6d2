"""A planned restart that keeps the sessions: `stationctl stop --keep-sessions`, and a start. Real BIRDs are the
customers' routers. To them it is what a kill is: no session is lost, and the routes are whole as soon.

20,000 real routes where `STATION_DATA` has them (see 18), else made ones; with STATION_ALL=1 1,000,000, planned restarts
and kills in turns."""

import contextlib
import gzip
import os
import signal
import statistics
import time

import case
import lab
import peers
import station
from case import expect, refused, require, wait_until

ALL = bool(os.environ.get("STATION_ALL"))
ROUTES, ROUNDS = (1_000_000, 4) if ALL else (20_000, 2)
ROUTERS = {"a": 65001, "b": 65001, "d": 65004}
UNDO = contextlib.ExitStack()
RUNNING = {}


def table():
    """The first prefixes of a real table."""
    [name, *_] = [*sorted(case.DATA.glob("rib-*-v4.txt.gz")), None]
    if name is None:
        return [f"20.{n >> 8}.{n & 255}.0/24" for n in range(ROUTES)]
    with gzip.open(name, "rt") as text:
        return [line.strip() for line, _ in zip(text, range(ROUTES))]


def begin():
    text = case.bgp_config()
    case.fresh(text.replace("local_as = 64512", "local_as = 64512\nmax_prefixes = 2000000"))
    for name, asn in ROUTERS.items():
        RUNNING[name] = UNDO.enter_context(peers.Router(name, asn, {4: ["10.99.0.0/16"], 6: ["fd99::/48"]}))
    wait_until(lambda: peers.established(*ROUTERS), 60, "the sessions")
    routes = table()
    for name in ROUTERS:
        RUNNING[name].announce(4, routes if name == "a" else routes[:1000])
    wait_until(whole, 300, "the table")


def whole():
    """All that is announced is in the FIB."""
    counts = {row["name"]: row["ipv4_routes"] for row in station.ctl("show", "vrfs")}
    return counts["vpc-a"] >= ROUTES and counts["vpc-b"] >= 1000 and counts["transit"] >= 1000


class Since(float):
    """A time of the day in seconds. BIRD makes it of its own clock each time it is asked: give or take a millisecond."""

    def __eq__(self, other):
        return abs(self - other) < 0.5

    __hash__ = None


def sessions():
    """What each router says of its sessions: state and since when."""
    found = {}
    for name, router in RUNNING.items():
        for line in router.birdc("show", "protocols", '"station*"').splitlines():
            words = line.split()
            if words and words[0].startswith("station"):
                hours, minutes, seconds = words[4].split(":")
                found[name, words[0]] = words[-1], Since(3600 * int(hours) + 60 * int(minutes) + float(seconds))
    return found


def planned():
    """Ends the station and keeps the sessions."""
    answer = station.ctl("stop", "--keep-sessions")
    require("left for the next start" in answer["changes"][0], answer)
    wait_until(lambda: station.running() is None, 5, "the process is gone when stationctl is back")


def killed():
    station.stop(signal.SIGKILL)


def restart(end):
    """Ends the station in a way and starts it: seconds until the routes are whole."""
    began = time.monotonic()
    end()
    ended = time.monotonic() - began
    station.start()
    answers = time.monotonic() - began
    wait_until(whole, 120, "the routes after a restart")
    took = time.monotonic() - began
    print(f"        {end.__name__}: ended after {ended:.2f} s, answers after {answers:.2f} s, {ROUTES:,} routes after {took:.2f} s", flush=True)
    return took


def rests():
    """The routers' sessions, once all are up; BIRD's process; the kernel's table of vpc-a."""
    wait_until(lambda: peers.established(*ROUTERS), 60, "the sessions")
    return sessions(), station.bird(), lab.run("ip", "-n", lab.TAPS_NS, "-br", "link").count("v")


def test_a_planned_restart_is_a_kill_to_the_peers():
    before = rests()
    require(all(state == "Established" for state, _ in before[0].values()) and len(before[0]) == 6, before)
    took = {planned: [], killed: []}
    for _ in range(ROUNDS):
        for end in took:
            took[end].append(restart(end))
            expect(rests(), before, f"sessions at the peers, BIRD and TAPs after a restart: {end.__name__}")
    wait_until(lambda: all(row["ok"] for row in station.ctl("show", "consistency")), 60, "FIB and kernel are the same")
    print(f"        medians: {', '.join(f'{end.__name__} {statistics.median(times):.2f} s' for end, times in took.items())}")
    # A part of it is the machine's mood; the end that told the peers took ten times as long as a kill.
    require(min(took[planned]) < 2 * min(took[killed]) + 3, f"seconds until whole: {took}")


def test_what_is_left_running_still_speaks():
    """BFD and BGP are BIRD's: between the end and the start the sessions stand, and nothing is forwarded."""
    before = rests()
    planned()
    time.sleep(2)
    expect(sessions(), before[0], "sessions at the peers while there is no station")
    require(lab.TAPS_NS in lab.namespaces(), "the namespace of the TAPs")
    station.start()
    wait_until(whole, 120, "the routes")
    expect(rests(), before, "what stands after the start")


def test_it_is_planned_in_the_ledger():
    rows = [row for row in station.ctl("show", "outages") if row["vif"] is None and row["cause"] in ("restart", "crash")]
    expect(rows[-1]["cause"], "restart", f"what the last end was: {rows[-3:]}")


def test_it_is_refused_where_the_next_start_would_fail():
    good = station.CONFIG.read_text()
    pid = station.running()
    try:
        station.CONFIG.write_text(good + "nonsense = 1\n")
        why = refused("stop", "--keep-sessions")
        require("the next start would fail" in why and "nonsense" in why, why)
    finally:
        station.CONFIG.write_text(good)
    expect(station.running(), pid, "the station")
    station.ctl("version")


def test_the_log_says_who_and_how():
    words = station.LOG.read_text()
    require("keep_sessions: true" in words and "uid=0" in words and "end=SessionsKept" in words, station.tail(station.LOG))


def test_an_ordinary_stop_tells_the_peers():
    station.ctl("stop")
    wait_until(lambda: station.running() is None, 5, "the process is gone when stationctl is back")
    wait_until(lambda: all(state != "Established" for state, _ in sessions().values()), 15, "the peers have heard")
    require(lab.TAPS_NS not in lab.namespaces(), "the namespace of the TAPs is left")
    station.start()
    wait_until(lambda: peers.established(*ROUTERS), 60, "the sessions are back")


def end():
    UNDO.close()
    station.stop()
