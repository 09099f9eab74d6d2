"""Residence times: what the station says is within what is seen outside, by the kernel's own timestamps at both ends of its
wires, and counts what is sampled of each VIF, whatever its tags, and of tunnels."""

import contextlib
import importlib
import math
import os
import signal
import socket
import struct
import threading
import time

import case
import frames
import lab
import overlay
import scrape
import station
import traffic
from case import HOSTS, Stream, expect, replaced, require, undisturbed, wait_until

A, D, CLOUD, TGW = (HOSTS[name] for name in ("a", "d", "vpc-a", "tgw"))
METRICS = ("127.0.0.1", 9472)
SO_TIMESTAMPNS, SO_RCVBUFFORCE = 35, 33
NOTE = b"RESIDENCE"  # what datagrams begin with that are timed outside; their number follows
ROUNDED = 1 / 16  # quantiles are rounded up by less
UNDO = contextlib.ExitStack()


def config(sample=None, text=None):
    text = replaced(text or case.lab_config(), ("[station]\n", f'[station]\nmetrics = "{":".join(map(str, METRICS))}"\n'))
    return text + (f"\n[latency]\nsample = {sample}\n" if sample else "")


def reload(sample=None, text=None):
    station.write_config(config(sample, text))
    station.ctl("reload")


def anew(sample):
    """Another measurement, in which nothing is left of the one before."""
    reload()
    reload(sample)
    time.sleep(0.1)


def begin():
    station.stop()
    queues = importlib.import_module("40_bandwidth")
    for port in lab.PORTS:
        queues.two_queues(port)
        UNDO.callback(queues.one_queue, port)
    UNDO.callback(station.stop)
    case.fresh(config())
    expect(len(station.ctl("show", "workers")), 2, "workers")


def end():
    UNDO.close()


def rows():
    return {(row["scope"], row["name"]): row for row in station.ctl("show", "latency")}


def window(row, name="all"):
    return next((window for window in row["windows"] if window["window"] == name), None)


def samples():
    """How many samples there are, of all that have any; once all of them are taken in."""
    time.sleep(0.6)
    return {key: window(row)["samples"] for key, row in rows().items() if row["windows"]}


def test_nothing_is_timed_unless_it_is_asked_for():
    with Stream("a", "vpc-a", pps=2_000, seconds=0.3) as stream:
        stream.finish()
    expect(rows(), {}, "rows")
    page = scrape.page(METRICS)[2]
    require("station_port_residence_seconds_bucket" not in page, "there are series where nothing is timed")


def test_one_of_64_is_timed_of_the_vif_that_has_traffic():
    anew(64)
    sent = {}
    for source, target, six in (("a", "vpc-a", False), ("vpc-a", "a", True), ("d", "tgw", False)):
        with Stream(source, target, pps=10_000, seconds=1, six=six) as stream:
            sent[source], arrived = stream.finish()
        expect(arrived, sent[source], f"frames from {source} that arrived")
    got = samples()
    for source, count in sent.items():
        for key, of in ((("vif", source), count), (("port", HOSTS[source].port), count)):
            require(abs(got[key] - of / 64) <= 5 * math.sqrt(of / 64), f"{key}: {got[key]} samples of {of} frames")
    expect({name for scope, name in got if scope == "vif"}, set(sent), "VIFs with samples")
    expect({name for scope, name in got if scope == "port"}, {"cust0", "cust1", "core0"}, "ports with samples")
    for key, row in rows().items():
        expect((row["sample"], row["source"]), (64, "xdp"), f"{key}: sample and source")
        expect(row["untimed"], 0 if key[0] == "port" else None, f"{key}: untimed")
        of = window(row)
        order = [of["p50_ns"], of["p99_ns"], of["p999_ns"], of["max_ns"]]
        require(order == sorted(order) and order[0] > 0, f"{key}: {order}")
        expect(window(row, "recent"), {**of, "window": "recent"}, f"{key}: the last minute has all")
    # The metrics are the same numbers.
    series = scrape.samples(scrape.page(METRICS)[2])
    for (scope, name), row in rows().items():
        of = window(row)
        if scope == "port":
            expect(series[f'station_port_residence_seconds_count{{port="{name}"}}'], of["samples"], f"{name}: the metric's count")
            expect(series[f'station_port_residence_seconds_bucket{{le="+Inf",port="{name}"}}'], of["samples"], f"{name}: the last bucket")
        else:
            longest = series[f'station_vif_residence_seconds{{vif="{name}",quantile="1"}}']
            require(abs(longest * 1e9 - of["max_ns"]) < 1, f"{name}: the metric's longest is {longest}")


# ---- what is seen outside ------------------------------------------------------------------------

class Tap:
    """When the kernel had datagrams of ours at one end of a wire, by their numbers: nanoseconds."""

    def __init__(self, interface, outgoing):
        self.outgoing = outgoing
        with lab.inside("st-wire"):
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.socket.bind((interface, 3))
        self.socket.setblocking(False)

    def seen(self):
        found = {}
        with self.socket, contextlib.suppress(BlockingIOError):
            while True:
                data, ancillary, _, (_, _, kind, *_) = self.socket.recvmsg(2048, 64)
                at = data.find(NOTE)
                if at < 0 or (kind == socket.PACKET_OUTGOING) != self.outgoing:
                    continue
                [stamp] = [value for level, what, value in ancillary if (level, what) == (socket.SOL_SOCKET, SO_TIMESTAMPNS)]
                seconds, ns = struct.unpack("=qq", stamp)
                found[int.from_bytes(data[at + len(NOTE):][:4], "big")] = seconds * 1_000_000_000 + ns
        return found


def stand_still(seconds):
    """The station does; for how many seconds it did."""
    began = time.monotonic()
    os.kill(station.running(), signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(station.running(), signal.SIGCONT)
    return time.monotonic() - began


def outside(source, target, count, pps, meanwhile=None):
    """Sends numbered datagrams, and in their midst something happens on another thread; how long each took from one wire to
    the other, the shortest first."""
    before, after = Tap(source.port, True), Tap(target.port, False)
    body = frames.packet(source.addr4, target.addr4, frames.UDP, frames.udp(source.addr4, target.addr4, NOTE + bytes(20)))
    head = frames.eth(source.port_mac, source.mac, frames.ETH_IPV4, body, source.tags)
    at = head.index(NOTE) + len(NOTE)
    with frames.Raw("st-wire", source.port) as raw:
        start = time.monotonic()
        for number in range(count):
            if number == count // 2 and meanwhile:
                threading.Thread(target=meanwhile).start()
            raw.send(head[:at] + number.to_bytes(4, "big") + head[at + 4:])
            time.sleep(max(0, start + (number + 1) / pps - time.monotonic()))
        time.sleep(0.2)
    went, came = before.seen(), after.seen()
    expect((len(went), len(came)), (count, count), "datagrams seen before and after the station")
    return sorted(came[number] - went[number] for number in went)


def quantile(times, part):
    return times[max(math.ceil(part * len(times)), 1) - 1]


def test_residence_is_within_what_is_seen_outside():
    anew(1)
    times = outside(A, CLOUD, 3_000, 3_000)
    expect(samples()["vif", "a"], 3_000, "samples")
    of = window(rows()["vif", "a"])
    for name, part in (("p50_ns", 0.5), ("p99_ns", 0.99), ("p999_ns", 0.999), ("max_ns", 1)):
        most = quantile(times, part)
        # Every frame was inside for less than it was between the wires.
        require(0 < of[name] <= most * (1 + ROUNDED), f"{name}: {of[name]} inside, {most} outside")
    # And most of that is the station, not the wires.
    require(of["p50_ns"] * 20 > quantile(times, 0.5), f"half: {of['p50_ns']} inside, {quantile(times, 0.5)} outside")
    print(f"ns inside: {of}; outside: {[quantile(times, part) for part in (0.5, 0.99, 0.999, 1)]}")


def test_a_station_that_stands_still_shows():
    anew(1)
    stood = []
    times = outside(A, CLOUD, 6_000, 4_000, lambda: stood.append(stand_still(0.05) * 1e9))
    expect(samples()["vif", "a"], 6_000, "samples")
    for key in (("vif", "a"), ("port", "cust0")):
        of = window(rows()[key])
        for name, part in (("p999_ns", 0.999), ("max_ns", 1)):
            # Where the worker gets its CPU late, the ends of the wires have that too.
            seen = quantile(times, part)
            require(0.9 * seen <= of[name] <= seen * (1 + ROUNDED), f"{key} {name}: {of[name]}, {seen} outside, stood for {stood[0]:.0f}")
            # All of 50 ms, but for the first frames that a sender may have been too late with.
            require(of[name] >= 0.8 * 50e6, f"{key} {name}: {of[name]}, stood for {stood[0]:.0f}")
        require(of["p50_ns"] < 5_000_000, f"{key}: half of them noticed nothing: {of}")


def test_frames_that_are_lost_leave_no_false_times():
    anew(1)
    with Stream("a", "vpc-a", pps=8_000, seconds=3) as stream:
        wait_until(lambda: stream.arrived() > 1_000, 2, "traffic")
        stood = stand_still(0.4) * 1e9  # the ring has room for 2,048
        sent, arrived = stream.finish()
    of = samples()["vif", "a"]
    require(sent - arrived > 500, f"frames were lost: {arrived} of {sent} arrived")
    # Those that came while it looked for the numbers again have no time.
    require(arrived - 1_000 <= of <= arrived, f"{of} samples of {arrived}")
    longest = window(rows()["vif", "a"])["max_ns"]
    require(0.9 * stood <= longest <= 1.1 * stood, f"the longest: {longest}, stood for {stood:.0f}")


# ---- changes, and other ways in -------------------------------------------------------------------

def test_turning_it_on_and_off_loses_nothing():
    reload()

    def change():
        for sample in (64, None, 1, 256, None, 64):
            reload(sample)
            time.sleep(0.3)
            expect({row["sample"] for row in rows().values()}, {sample} if sample else set(), "the samples of rows")
    undisturbed(change, ("a", "vpc-a", False), ("d", "tgw", True))
    got = samples()
    require(got["vif", "a"] > 5 and got["vif", "d"] > 5, f"samples after the last change: {got}")


def test_a_port_that_is_opened_anew_and_in_generic_mode_is_timed():
    anew(1)
    station.write_config(replaced(config(1), ('name = "cust0"\n', 'name = "cust0"\nxdp = "generic"\n')))
    station.ctl("reload")
    try:
        wait_until(lambda: station.ports()["cust0"]["up"] and traffic.ping(A, CLOUD.addr4, count=1) == 1, 5, "a is back")
        before = samples().get(("vif", "a"), 0)
        with Stream("a", "vpc-a", pps=2_000, seconds=0.5) as stream:
            sent, arrived = stream.finish()
        expect((arrived, samples()["vif", "a"] - before), (sent, sent), "frames that arrived, and samples")
        expect((station.ports()["cust0"]["xdp_mode"], rows()["port", "cust0"]["source"]), ("generic", "xdp"), "mode and source")
    finally:
        reload(1)


def test_what_comes_in_a_tunnel_is_of_its_vif():
    text = overlay.tunnelled(case.lab_config(), "vpc-a")
    reload()
    overlay.make("vpc-a")
    try:
        station.write_config(config(1, text))
        station.ctl("reload")
        wait_until(lambda: traffic.ping(A, CLOUD.addr4, count=1) == 1, 10, "the tunnel leads to the cloud")
        before = samples()
        expect(traffic.ping(A, CLOUD.addr4, count=100, interval=0.005), 100, "replies")
        after = samples()
        more = {key: after[key] - before.get(key, 0) for key in after}
        expect({key: n for key, n in more.items() if n}, {("vif", "a"): 100, ("vif", "vpc-a"): 100, ("port", "cust0"): 100,
                                                        ("port", "core0"): 100}, "samples of requests and replies")
        expect(rows()["vif", "vpc-a"]["port"], "vtep4", "where the VIF is")
    finally:
        reload()
        overlay.unmake("vpc-a")
        case.fresh(config())
