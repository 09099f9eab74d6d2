"""Explaining packets: what `stationctl explain` says is what the running station does, and asking leaves no trace."""

import json
import struct
import subprocess

import lab
import ledger
import station
from case import HOSTS, counted, expect, require, wait_until
from frames import Raw, datagram

A, CLOUD = HOSTS["a"], HOSTS["vpc-a"]


def explain(*words):
    return station.ctl("explain", *words)


def say(*words):
    """What people see."""
    return lab.run(station.BIN / "stationctl", "--socket", station.SOCKET, "explain", *words)


def failed(*words):
    command = [station.BIN / "stationctl", "--socket", station.SOCKET, *words]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=20, check=False)
    return done.returncode, done.stderr


def stages(row):
    return {stage["stage"]: stage["verdict"] for stage in row["stages"]}


def test_a_packet_is_explained_from_the_tag_to_the_octets_that_leave():
    with counted() as seen:
        [row] = explain("--vif", "a", "--from", A.addr4, "--to", CLOUD.addr4, "--proto", "tcp", "--dport", 443)
        [six] = explain("--vif", "a", "--from", A.addr6, "--to", CLOUD.addr6)
    expect([row[name] for name in ("port", "vif", "vrf", "verdict", "stage", "help")], ["cust0", "a", "vpc-a", "forward", "rewrite", ""], "the packet")
    expect([row["headers"][name] for name in ("vlans", "protocol", "source_port", "destination_port")], [[100], "tcp", 49152, 443], "its headers")
    expect([(row[way]["prefix"], row[way]["origin"], [via["vif"] for via in row[way]["via"]]) for way in ("destination_route", "source_route")],
           [("10.2.0.0/16", "static", ["vpc-a"]), ("10.1.0.0/16", "static", ["a"])], "its routes")
    egress = row["egress"]
    expect([egress[name] for name in ("port", "vif", "vlan", "mac", "member", "members")], ["core0", "vpc-a", "1100", CLOUD.mac, 1, 1], "the way out")
    expect(stages(row), dict.fromkeys(["classify", "ipv4", "route", "group", "source", "resolve", "ttl", "mtu", "ready", "rewrite"]), "the stages")
    head = bytes.fromhex((CLOUD.mac + CLOUD.port_mac).replace(":", "")) + bytes.fromhex("8100 044c 0800 45")
    expect(bytes.fromhex(row["sent"])[:len(head)], head, "the octets that would leave")
    expect((six["verdict"], six["egress"]["vif"], "ipv6" in stages(six)), ("forward", "vpc-a", True), "a packet of IPv6")
    expect((dict(seen.it.drops()), seen.it.vifs["a"]["rx_frames"], seen.it.hosts["vpc-a"]["received"]), ({}, 0, 0), "what asking left behind")


def test_a_dropped_packet_is_told_with_the_stage_that_drops_it():
    with counted() as seen:
        for words, verdict, stage, detail in [
            (["--vif", "a", "--from", "172.16.0.1", "--to", CLOUD.addr4], "drop(spoofed_source)", "source", "172.16.0.1 has no route"),
            (["--vif", "a", "--from", A.addr4, "--to", "10.99.0.1"], "punt(no_route)", "resolve", "the route is missing"),
            (["--vif", "a", "--from", A.addr4, "--to", A.gw4], "punt(local)", "resolve", "the route is local"),
            (["--vif", "a", "--from", A.addr4, "--to", CLOUD.addr4, "--ttl", 1], "punt(ttl_exceeded)", "ttl", "came with 1"),
            (["--vif", "c", "--from", HOSTS["c"].addr4, "--to", HOSTS["e"].addr4], "drop(peer_isolation)", "resolve", "to vif e"),
            (["--port", "cust0", "--frame", datagram(A, A.addr4, CLOUD.addr4, tags=(310,)).hex()], "drop(unknown_vlan)", "classify", "VLAN 310"),
        ]:
            [row] = explain(*words)
            expect((row["verdict"], row["stage"], row["sent"]), (verdict, stage, None), f"{words}")
            require(row["help"], f"{words}: no help")
            require(detail in row["stages"][-1]["detail"], row["stages"][-1])
    expect(dict(seen.it.drops()), {}, "drops that are counted")
    text = say("--vif", "a", "--from", "172.16.0.1", "--to", CLOUD.addr4)
    require("source    drop(spoofed_source)  strict: 172.16.0.1 has no route" in text and "RFC 8704" in text, text)


def capture(frames):
    """A pcap file of them."""
    file = lab.RUN / "explain.pcap"
    head = struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    file.write_bytes(head + b"".join(struct.pack("=IIII", 1, 0, len(octets), len(octets)) + octets for octets in frames))
    return file


def test_a_capture_is_explained_as_the_station_treats_it():
    made = [datagram(A, *ends, tags=A.tags) for ends in
            [(A.addr4, CLOUD.addr4), (A.addr6, CLOUD.addr6), ("8.8.8.8", CLOUD.addr4), (A.addr4, "10.99.0.1")] * 40]
    file = capture(made)
    rows = explain("--port", "cust0", "--pcap", file)
    expect([row["frame"] for row in rows], list(range(1, 161)), "frames")
    expect([bytes.fromhex(row["data"]) for row in rows], made, "their octets")
    with counted() as seen, Raw("st-wire", "cust0") as wire:
        for octets in made[:4]:
            wire.send(octets)
    fates = {verdict: sum(row["verdict"] == verdict for row in rows[:4]) for verdict in {row["verdict"] for row in rows}}
    got = seen.it
    expect(fates, {"forward": got.hosts["vpc-a"]["from a"], "drop(spoofed_source)": got.drops("a")["spoofed_source"],
                   "punt(no_route)": got.vifs["a"]["punt no_route"]}, "what is explained is what became of them")
    text = say("--vif", "a", "--pcap", file)
    for piece in ["WHERE  VERDICT               FRAMES", "vif a  drop(spoofed_source)      40", "vif a  forward                   80"]:
        require(piece in text, text[-1500:])


def test_the_octets_that_leave_are_those_that_are_explained():
    frame = datagram(A, A.addr4, CLOUD.addr4, tags=A.tags)
    [row] = explain("--vif", "a", "--frame", frame.hex())
    words = ["capture", "--port", "core0", "--direction", "out", "--count", "1", "--filter", "udp dst port 9"]
    command = [station.BIN / "stationctl", "--socket", station.SOCKET, "--json", *words]
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True)
    def captured():
        with Raw("st-wire", "cust0") as wire:
            wire.send(frame)
        return process.poll() is not None
    wait_until(captured, 20, "the frame is captured as it leaves")
    left = json.loads(process.communicate(timeout=10)[0])[0]["frame"]["data"]
    expect(row["sent"], left, "its octets")
    ledger.quiet()


def test_what_is_wrong_is_said():
    for words, code, text in [
        (["--vif", "nobody", "--from", "10.1.0.1", "--to", "10.2.0.1"], 1, 'there is no vif "nobody"'),
        (["--vif", "a", "--from", "10.1.0.1", "--to", "fd00::1"], 1, "two addresses of one family"),
        (["--vif", "a", "--from", "10.1.0.1", "--to", "10.2.0.1", "--dport", "443"], 2, "--proto tcp"),
        (["--vif", "a", "--from", "10.1.0.1", "--to", "10.2.0.1", "--proto", "tcp", "--length", "39"], 1, "40 octets or more"),
        (["--vif", "a", "--frame", "02zz"], 1, "two hexadecimal digits"),
        (["--vif", "a", "--frame", "00" * 3841], 1, "3841 octets"),
        (["--pcap", capture([datagram(A, A.addr4, CLOUD.addr4)])], 2, "give --port or --vif"),
        (["--from", "10.1.0.1", "--to", "10.2.0.1"], 2, "--vif"),
    ]:
        got, said = failed("explain", *words)
        expect(got, code, f"exit code of {words}: {said}")
        require(text in said, said)


def test_the_group_may_ask_and_others_not():
    lab.run("chmod", "a+x", lab.RUN)
    words = [str(word) for word in [station.BIN / "stationctl", "--socket", station.SOCKET, "explain", "--vif", "a", "--from", A.addr4, "--to", CLOUD.addr4]]
    for group, code in [(station.SOCKET.stat().st_gid, 0), (65534, 1)]:
        done = subprocess.run(["setpriv", "--reuid", "65534", "--regid", str(group), "--clear-groups", *words], capture_output=True, timeout=20, check=False)
        expect(done.returncode, code, f"group {group}: {done.stderr}")
