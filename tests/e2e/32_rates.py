"""How much passes: rates by VIF and port, and what a change would cut of them."""

import os
import signal
import subprocess
import time

import station
from case import Stream, expect, require, wait_until


def rates(of="vifs", *words):
    """By name: {1: {...}, 10: {...}, 60: {...}}, and the rows."""
    rows = station.ctl("show", of, "--rate", *words)
    return {row["name"]: {window["window_s"]: window for window in row["windows"]} for row in rows}, rows


def shown(*words):
    command = [station.BIN / "stationctl", "--socket", station.SOCKET, *words]
    return subprocess.run([str(word) for word in command], text=True, capture_output=True, check=True, timeout=60).stdout


def near(got, wanted, by, what):
    require(wanted * (1 - by) <= got <= wanted * (1 + by), f"{what}: {got}, expected about {wanted}")


def counted(vif):
    [row] = [row for row in station.ctl("show", "vifs") if row["name"] == vif]
    return {name: row[name] for name in ("rx_frames", "rx_octets", "tx_frames", "tx_octets")}


def test_a_steady_stream_has_its_rate():
    with Stream("a", "vpc-a", pps=500, seconds=8) as stream:
        octets = len(stream.frame)
        # Eleven readings fill the middle window but for a little; on a busy machine the stream itself is not steady.
        time.sleep(5.2)
        before, seen = counted("a"), time.monotonic()
        found, rows = rates("vifs", "--l1")
        ports, _ = rates("ports", "--l1")
        stream.finish()
        after, took = counted("a"), time.monotonic() - seen
    own = (after["rx_frames"] - before["rx_frames"]) / took
    expect(sorted(found["a"]), [1, 10, 60], "windows")
    expect(rows[0]["name"] in ("a", "vpc-a"), True, f"those with most first: {[row['name'] for row in rows]}")
    require(all(row["age_ms"] < 5000 for row in rows), "the counters are read once a second")
    for window in found["a"].values():
        near(window["rx_frames_per_s"], 500, 0.5, f"frames received a second (sent at 500, seen {own:.0f})")
        frames = window["rx_frames_per_s"]
        near(window["rx_bits_per_s"], frames * octets * 8, 0.02, "bits of the octets as counted")
        near(window["rx_l1_bits_per_s"], frames * (octets + 24) * 8, 0.02, "bits on the wire")
        near(found["vpc-a"][window["window_s"]]["tx_frames_per_s"], frames, 0.2, "what came left by the other VIF")
        near(ports["cust0"][window["window_s"]]["rx_frames_per_s"], frames, 0.2, "and by its port")
    # But for the hosts' own ARP and neighbor discovery.
    require(found["b"][1]["rx_frames_per_s"] < 50, f"another tenant's: {found['b']}")
    require("rx_l1_bits_per_s" not in rates()[0]["a"][1], "without --l1 nothing of the wire")


def test_tables_say_what_is_in_a_bit():
    plain, wire = shown("show", "vifs", "--rate"), shown("show", "ports", "--rate", "--l1")
    head = plain.splitlines()[0].split("  ")
    require([word.strip() for word in head if word] == ["VIF", "PORT", "OVER", "RX FRAMES/S", "RX", "TX FRAMES/S", "TX"], plain)
    require("without FCS" in plain, plain)
    require("RX ON THE WIRE" in wire and "24 octets more a frame" in wire, wire)
    require(max(len(line) for text in (plain, wire) for line in text.splitlines()) <= 80, plain + wire)
    refused = subprocess.run([station.BIN / "stationctl", "show", "vifs", "--l1"], capture_output=True, text=True, timeout=20, check=False)
    expect((refused.returncode, "--rate" in refused.stderr), (2, True), f"--l1 alone: {refused.stderr}")


def test_what_is_cut_says_how_much_passes():
    with Stream("a", "vpc-a", pps=500, seconds=4) as stream:
        wait_until(lambda: rates()[0]["a"][10]["rx_frames_per_s"] > 20, 20, "a's rate is known")
        try:
            station.ctl("vif", "down", "a", yes=False)
            raise AssertionError("it was not asked about")
        except station.Refused as why:
            text = why.text
        plan = station.ctl("reload", "--dry-run")
        stream.finish()
    line = next(line for line in text.splitlines() if "vif a: is set down" in line)
    require("(now " in line and "kbit/s in, " in line, text)
    expect(plan["changes"], [], "nothing has changed")
    try:
        station.ctl("stop", yes=False)
        raise AssertionError("it was not asked about")
    except station.Refused as why:
        require("VIFs: 10, now " in why.text and "bit/s out, BGP" in why.text, why.text)


def test_neither_a_new_vif_nor_a_clear_nor_a_stall_makes_a_rate_wrong():
    most = 2000  # frames a second: nothing that is really there comes near
    def sane(what):
        found, rows = rates()
        for row in rows:
            for window in row["windows"]:
                values = {key: value for key, value in window.items() if key.endswith("per_s")}
                require(all(value >= 0 for value in values.values()), f"{what}: {row}")
                require(window["rx_frames_per_s"] < most and window["tx_frames_per_s"] < most, f"{what}: {row}")
        return found
    with Stream("b", "vpc-b", pps=400, seconds=12) as stream:
        station.ctl("clear", "counters")
        # The id of a VIF that is gone, and counted much, goes to the next one.
        with Stream("e", "pub", pps=400, seconds=1) as other:
            other.finish()
        text = station.CONFIG.read_text()
        words = ["--port", "cust1", "--vlan", "300", "--kind", "public", "--vrf", "public", "--address", "192.0.2.5/30"]
        for prefix in ("203.0.113.0/24", "2001:db8:e::/48"):
            station.ctl("route", "del", "--vrf", "public", prefix)
        station.ctl("vif", "del", "e")
        station.ctl("vif", "add", "n", *words)
        sane("a VIF is new")
        wait_until(lambda: 60 in rates()[0]["n"], 10, "its rate is known")
        expect(sane("a VIF has the id of another")["n"][60]["rx_frames_per_s"] < 50, True, "what the other VIF counted is not its own")
        station.ctl("vif", "del", "n")
        station.ctl("vif", "add", "n", *words)
        sane("a VIF is back")
        pid = station.running()
        os.kill(pid, signal.SIGSTOP)
        time.sleep(2.5)
        os.kill(pid, signal.SIGCONT)
        wait_until(lambda: max(row["age_ms"] for row in rates()[1]) < 1500, 20, "the counters are read again")
        found = sane("the station stood still")
        stream.finish()
    # Some of the ten seconds may be from before the stream.
    require(found["b"][10]["rx_frames_per_s"] > 40, f"b's rate over 10 s: {found['b']}")
    station.CONFIG.write_text(text)
    station.ctl("reload")
    wait_until(lambda: "e" in rates()[0], 10, "e is back")
    station.ctl("clear", "counters")  # what the deleted VIF counted is in its port's books alone
