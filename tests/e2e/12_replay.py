"""`stationd replay` says of a capture what the running station does, also where routes come by BGP."""

import contextlib
import json
import struct

import case
import frames
import lab
import ledger
import peers
import station
from case import HOSTS, expect, require, wait_until

A, CORE = HOSTS["a"], HOSTS["vpc-a"]
CAPTURE, ROUTES = lab.RUN / "in.pcap", lab.RUN / "routes.json"
UNDO = contextlib.ExitStack()


def begin():
    case.fresh(case.bgp_config())
    for name, asn, prefixes in [("a", 65001, ["10.1.0.0/16"]), ("vpc-a", 64600, ["10.2.0.0/16"])]:
        UNDO.enter_context(peers.Router(name, asn, {4: prefixes}))
    for address in (A.addr4, CORE.addr4):
        wait_until(lambda address=address: station.lookup_many("vpc-a", [address])[0][0], 30, f"a route to {address}")
    wait_until(lambda: neighbors() == 2, 10, "the MACs of both")
    # One frame of a's own, one with a source that is not its, one to where nobody is.
    made = [frames.datagram(A, *ends, tags=A.tags) for ends in [(A.addr4, CORE.addr4), ("8.8.8.8", CORE.addr4), (A.addr4, "10.99.0.1")]]
    CAPTURE.write_bytes(frames.pcap(made))


def end():
    UNDO.close()
    station.stop()


def neighbors():
    wanted = {("a", A.peer4.split("/")[0]), ("vpc-a", CORE.peer4.split("/")[0])}
    return sum((row["vif"], row["address"]) in wanted and row["state"] == "reachable" for row in station.ctl("show", "neighbors"))


def replayed(*options):
    """What became of the frames, by number, and what the summary says of learned IPv4 routes."""
    out = lab.RUN / "out.pcapng"
    text = lab.run(station.BIN / "stationd", "replay", "--config", station.CONFIG, "--json", *options, CAPTURE, out)
    summary = json.loads(text)
    fates = {(row["verdict"], row["reason"]): row["frames"] for row in summary["frames"]}
    [learned] = [row["routes"] for row in summary["learned"] if (row["vrf"], row["family"]) == ("vpc-a", "ipv4")]
    sent = {row["port"]: row["frames_out"] for row in summary["ports"]}
    return fates, learned, sent["core0"]


KNOWN = {("forward", ""): 1, ("drop", "spoofed_source"): 1, ("punt", "no_route"): 1}


def test_the_station_itself():
    expect(station.lookup_many("vpc-a", ["10.99.0.1"]), [(None, None)], "a route to nobody")
    before = ledger.Snapshot()  # beside BGP no counter rests, but these do
    with frames.Raw("st-wire", "cust0") as wire:
        for octets in read():
            wire.send(octets)

    def fates():
        seen = ledger.Snapshot() - before
        return seen.drops("a")["spoofed_source"], seen.vifs["a"]["punt no_route"], seen.hosts["vpc-a"]["from a"]
    wait_until(lambda: fates() == (1, 1, 1), 5, "a drop, a punt, and one that is forwarded")


def read():
    data, at = CAPTURE.read_bytes(), 24
    while at < len(data):
        length = struct.unpack_from("=I", data, at + 8)[0]
        yield data[at + 16:at + 16 + length]
        at += 16 + length


def test_live():
    fates, learned, sent = replayed("--routes", "live")
    expect((fates, learned), (KNOWN, 2), "fates and learned routes")
    require(sent > 0, "the frame is forwarded, since the neighbor's MAC is known")


def test_from_a_file():
    ROUTES.write_text("".join(station.tried("show", *words).stdout for words in [("routes", "--vrf", "vpc-a"), ("neighbors",)]))
    expect(replayed("--routes", ROUTES)[:2], (KNOWN, 2), "fates and learned routes")


def test_without():
    fates, learned, _ = replayed()
    expect((fates, learned), ({("not judged", "routes_unknown"): 3}, None), "fates and learned routes")
