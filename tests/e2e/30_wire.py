"""Seeing the wire: what was dropped, with the last frames of each reason; and captures, read by tshark.

With STATION_ALL=1 also what a capture costs."""

import contextlib
import json
import os
import shutil
import signal
import statistics
import struct
import subprocess
import time

import lab
import ledger
import station
import traffic
from case import HOSTS, Skip, Stream, alone, expect, require, wait_until
from frames import ETH_ARP, ETH_IPV4, UDP, Raw, checksum, datagram, eth, ip, ipv4, mac, udp

A, B, CLOUD = HOSTS["a"], HOSTS["b"], HOSTS["vpc-a"]
STRANGER = "02:77:00:00:00:09"


def on_wire(packet, tags, src=STRANGER, dst=A.port_mac, kind=ETH_IPV4):
    """A frame as the customer's port sends it."""
    return eth(dst, src, kind, packet, tags)


def drops(*words):
    """By where and why; but for what a router of an earlier file left of its TCP, which the host's kernel may still send."""
    return {(row["name"], row["reason"]): row for row in station.ctl("show", "drops", *words) if row["reason"] != "no_service"}


def test_a_wrong_vlan_is_told_with_its_frames():
    station.ctl("clear", "counters")
    packet = ipv4("10.7.0.1", "10.7.0.2", UDP, udp("10.7.0.1", "10.7.0.2", b"secret" * 5))
    question = b"\0\1\x08\0\6\4\0\1" + mac(STRANGER) + ip("10.7.0.1") + bytes(6) + ip("10.7.0.254")
    with Raw("st-wire", "cust0") as wire:
        wire.send(on_wire(packet, (310,)), 31)
        wire.send(on_wire(question, (311,), dst="ff:ff:ff:ff:ff:ff", kind=ETH_ARP), 2)
    wait_until(lambda: drops().get(("cust0", "unknown_vlan"), {}).get("count") == 33, 5, "all are counted")
    row = drops("--port", "cust0")["cust0", "unknown_vlan"]
    expect(row["scope"], "port", "where a frame is counted that belongs to no VIF")
    require("typo" in row["help"], row["help"])
    require(row["first_ms"] <= row["last_ms"], row)
    seen = {tuple(frame["vlans"]): frame for frame in row["frames"]}
    expect({vlans: frame["count"] for vlans, frame in seen.items()}, {(310,): 31, (311,): 2}, "frames by VLAN")
    frame = seen[310,]
    expect([frame[name] for name in ("source_mac", "destination_mac", "source", "destination", "protocol", "source_port", "destination_port")],
           [STRANGER, A.port_mac, "10.7.0.1", "10.7.0.2", "udp", 4000, 9], "what is known of the frame")
    expect([seen[311,][name] for name in ("protocol", "source", "destination")], ["arp request", "10.7.0.1", "10.7.0.254"], "the ARP request")
    text = station.shown("show", "drops", "--port", "cust0")
    require(f" 31x VLAN 310 from {STRANGER} to {A.port_mac}, udp 10.7.0.1:4000 > 10.7.0.2:9, " in text, text)
    expect(len(drops("--last", "1")["cust0", "unknown_vlan"]["frames"]), 1, "frames with --last 1")
    expect(drops("--vif", "a"), {}, "drops of a VIF that dropped nothing")


def test_a_spoofed_source_and_a_flood_beside_it():
    station.ctl("clear", "counters")
    with Raw(A.ns) as a, Raw(B.ns) as b:
        a.send(datagram(A, "172.16.0.1", "10.2.0.10"), 5)
        # Each of b's is a new sender: it may use up its own room, not a's.
        for n in range(2000):
            b.send(datagram(B, f"172.16.{n >> 8}.{n & 255}", "10.2.0.10"))
        a.send(datagram(A, "10.1.0.10", "10.99.0.1"), 3)
    wait_until(lambda: drops().get(("b", "spoofed_source"), {}).get("count") == 2000, 5, "the flood is counted")
    wait_until(lambda: drops().get(("a", "no_route"), {}).get("count") == 3, 5, "what has no route is counted, by the slow path")
    found = drops("--vif", "a")
    expect(set(found), {("a", "spoofed_source"), ("a", "no_route")}, "drops of a")
    expect([(frame["count"], frame["source"], frame["vlans"]) for frame in found["a", "spoofed_source"]["frames"]],
           [(5, "172.16.0.1", [100])], "a's spoofed frame")
    expect([(frame["count"], frame["destination"]) for frame in found["a", "no_route"]["frames"]], [(3, "10.99.0.1")], "a's lost packet")
    kept = drops("--vif", "b", "--last", "1000")["b", "spoofed_source"]["frames"]
    # At most 16 a VIF and worker.
    require(0 < len(kept) <= 16 * len(station.ctl("show", "workers")), len(kept))
    counted = station.ctl("show", "counters", "--vif", "b")[0]["counters"]
    expect([row["value"] for row in counted if row["name"] == "spoofed_source"], [2000], "the counter says the same")


class Capture:
    """`stationctl capture WORDS -w FILE`, from its begin to Ctrl-C."""

    def __init__(self, *words, name="capture"):
        self.words, self.file = words, lab.RUN / f"{name}.pcapng"

    def __enter__(self):
        self.file.unlink(missing_ok=True)
        self.process = subprocess.Popen(station.command("capture", *self.words, "-w", self.file), stderr=subprocess.PIPE, text=True)
        # The file's head is written once all workers have the capture.
        wait_until(lambda: self.process.poll() is not None or self.file.exists() and self.file.stat().st_size, 10, "the capture begins")
        require(self.process.poll() is None, f"exit {self.process.poll()}")
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        _, self.said = self.process.communicate(timeout=20)
        expect(self.process.returncode, 0, f"the capture's exit code: {self.said}")

    def frames(self):
        return read(self.file)


def read(file):
    """What tshark reads: interface, comment, direction and octets of each marked frame."""
    if not shutil.which("tshark"):
        raise Skip("tshark is not installed")
    fields = ["frame.interface_name", "frame.packet_flags_direction", "frame.comment"]
    arguments = [word for field in fields for word in ("-e", field)]
    def shark(*words):
        return subprocess.run(["tshark", "-n", "-r", file, "-T", *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=60, check=True).stdout
    text = shark("fields", "-E", "separator=|", *arguments)
    rows = [line.split("|") for line in text.splitlines() if line.count("|") == 2]
    raw = json.loads(shark("jsonraw") or "[]")
    octets = [bytes.fromhex(packet["_source"]["layers"]["frame_raw"][0]) for packet in raw]
    expect(len(rows), len(octets), "frames of both readings")
    found = [(name, {1: "in", 2: "out"}[int(flags, 0)], comment, data) for (name, flags, comment), data in zip(rows, octets)]
    return [frame for frame in found if lab.MARK in frame[3]]


def tagged(frame, vid):
    """As the switch has it: with the tag that the host's frames get."""
    return frame[:12] + struct.pack("!HH", 0x8100, vid) + frame[12:]


def test_a_capture_has_frames_as_they_came_and_as_they_left():
    there, back = datagram(A, "10.1.0.10", "10.2.0.10"), datagram(CLOUD, "10.2.0.10", "10.1.0.10")
    spoofed = datagram(A, "172.16.0.1", "10.2.0.10")
    with Capture("--vif", "a") as seen, Capture("--port", "core0", "--direction", "out", name="core") as core:
        with Raw(A.ns) as a, Raw(CLOUD.ns) as cloud:
            a.send(there, 3)
            a.send(spoofed, 2)
            cloud.send(back, 2)
        ledger.quiet()
    found = seen.frames()
    came = [(comment.split(":")[0], comment.split(":")[1].strip(), data) for name, way, comment, data in found if way == "in"]
    expect({name for name, *_ in found}, {"cust0"}, "interfaces")
    expect(came, [("vif a", "forward, to vif vpc-a", tagged(there, 100))] * 3
           + [("vif a", "drop(spoofed_source)", tagged(spoofed, 100))] * 2, "what came")
    left = [(comment, data) for _, way, comment, data in found if way == "out"]
    expect([comment for comment, _ in left], ["vif a: forward, from vif vpc-a"] * 2, "what is said of what left")
    for _, data in left:
        expect(data[:20], mac(A.mac) + mac(A.port_mac) + bytes.fromhex("8100 0064 0800 4500"), "its MACs, tag and first octets")
        expect((data[26], checksum(data[18:38])), (63, 0), "its TTL, and what is left of its header's checksum")
        expect(data[38:], back[34:], "the rest of it is what it was")
    expect([(name, way, comment) for name, way, comment, _ in core.frames()], [("core0", "out", "vif vpc-a: forward, from vif a")] * 3, "what left to the cloud")
    require(" 0 not captured" in seen.said, seen.said)


def test_what_the_station_sends_is_seen_and_streams_into_tshark():
    if not shutil.which("tshark"):
        raise Skip("tshark is not installed")
    words = " ".join(station.command("capture", "--vif", "a", "--filter", "icmp", "--count", "6"))
    shark = subprocess.Popen(["sh", "-c", f"{words} | tshark -n -l -r - -T fields -e vlan.id -e icmp.type -e frame.comment"], stdout=subprocess.PIPE, text=True)
    # It sees the first one that comes once it has begun.
    end = time.monotonic() + 30
    while shark.poll() is None and time.monotonic() < end:
        traffic.ping(A, A.gw4)
    lines, _ = shark.communicate(timeout=10)
    found = [line.split("\t") for line in lines.splitlines()]
    expect(len(found), 6, "frames")
    expect({(vid, kind, comment.split(": ")[1]) for vid, kind, comment in found},
           {("100", "0", "sent by the station"), ("100", "8", "punt(local)")}, "echo requests and replies")


def test_filters_reasons_and_what_is_wrong_with_them():
    with Capture("--port", "cust0", "--filter", "udp and dst host 10.2.1.1", "--direction", "in") as seen, \
            Capture("--port", "cust0", "--reason", "spoofed_source", "--snap", 60, name="reason") as spoofs:
        with Raw(A.ns) as a:
            a.send(datagram(A, "10.1.0.10", "10.2.0.10"), 5)
            a.send(datagram(A, "10.1.0.10", "10.2.1.1"), 2)
            a.send(datagram(A, "172.16.0.1", "10.2.0.10"), 4)
        ledger.quiet()
    expect([comment for _, _, comment, _ in seen.frames()], ["vif a: forward, to vif vpc-a"] * 2, "what the filter took")
    got = [(comment.split(":")[1], len(data)) for _, _, comment, data in spoofs.frames()]
    expect(got, [(" drop(spoofed_source)", 60)] * 4, "what was dropped for the reason")
    for words, code, text in [
        (["--port", "cust0", "--filter", "udp prt 9"], 2, "pcap-filter(7)"),
        (["--port", "cust0", "--reason", "no_such"], 1, "there is no reason"),
        (["--port", "cust0", "--direction", "out", "--verdict", "drop"], 1, "direction in"),
        (["--port", "cust0", "--verdict", "punt", "--reason", "runt"], 1, "leave the verdict out"),
        (["--vif", "nobody"], 1, 'there is no vif "nobody"'),
        (["--port", "cust0", "--snap", "10000"], 1, "snap is 1 to 9238"),
    ]:
        done = subprocess.run(station.command("capture", *words, "-w", "/dev/null"), capture_output=True, text=True, timeout=20, check=False)
        expect(done.returncode, code, f"exit code of {words}: {done.stderr}")
        require(text in done.stderr, done.stderr)


def test_only_root_captures():
    words = ["setpriv", "--reuid", "65534", "--regid", str(station.SOCKET.stat().st_gid), "--clear-groups"]
    ask = [*words, *station.command()]
    lab.run("chmod", "a+x", lab.RUN)
    done = subprocess.run([*ask, "capture", "--port", "cust0", "-w", "/dev/null"], capture_output=True, text=True, timeout=20, check=False)
    expect(done.returncode, 1, f"a member of the group captures: {done.stderr}")
    require("be root" in done.stderr, done.stderr)
    expect(subprocess.run([*ask, "show", "drops"], capture_output=True, timeout=20, check=False).returncode, 0, "drops may be seen")
    with Capture("--port", "cust1"):
        pass
    log = station.LOG.read_text()
    require('CaptureRequest { vif: None, port: Some("cust1")' in log, "the log says who captured")
    require("a capture ended" in log, "and that it ended")


def test_a_capture_ends_with_its_client_and_with_its_vif():
    with contextlib.ExitStack() as stack:
        clients = []
        for n in range(4):
            capture = Capture("--port", "cust0", name=f"capture-{n}")
            capture.__enter__()
            stack.callback(capture.process.communicate)
            stack.callback(capture.process.kill)
            clients.append(capture)
        fifth = station.command("capture", "--port", "cust0", "--seconds", "1", "-w", "/dev/null")
        done = subprocess.run([str(word) for word in fifth], capture_output=True, text=True, timeout=20, check=False)
        require(done.returncode == 1 and "4 captures run already" in done.stderr, done)
    def again():
        return subprocess.run([str(word) for word in fifth], capture_output=True, timeout=20, check=False).returncode == 0
    wait_until(again, 20, "killed clients' captures have ended")
    station.ctl("vif", "add", "n", "--port", "cust0", "--vlan", "999", "--kind", "private", "--vrf", "vpc-a", "--address", "10.250.0.1/30")
    capture = Capture("--vif", "n")
    capture.__enter__()
    station.ctl("vif", "del", "n")
    _, said = capture.process.communicate(timeout=20)
    require("the VIF is gone" in said, said)


def lost(file):
    """isb_ifdrop of the interface statistics blocks (pcapng 4.6)."""
    data, found, at = file.read_bytes(), 0, 0
    order = ">" if data[8:12] == b"\x1a\x2b\x3c\x4d" else "<"
    while at < len(data):
        kind, length = struct.unpack_from(order + "II", data, at)
        option = at + 20
        while kind == 5 and option < at + length - 4:
            code, octets = struct.unpack_from(order + "HH", data, option)
            found += struct.unpack_from(order + "Q", data, option + 4)[0] if code == 5 else 0
            option += 4 + (octets + 3) // 4 * 4
        at += length
    return found


def test_a_client_that_does_not_read_loses_copies_only():
    def of_a():
        [row] = [row for row in station.ctl("show", "vifs") if row["name"] == "a"]
        return row["forwarded"], row["dropped"]
    capture, before = Capture("--port", "cust0", "--direction", "in"), of_a()
    with capture:
        capture.process.send_signal(signal.SIGSTOP)
        # More than its queue and all buffers on the way hold, however little of it comes on a busy machine.
        arrived, end = 0, time.monotonic() + 40
        while arrived < 8000 and time.monotonic() < end:
            with Stream("a", "vpc-a", pps=4_000, seconds=2.5) as stream:
                arrived += stream.finish()[1]
        capture.process.send_signal(signal.SIGCONT)
    # Where the machine does other things, the kernel may not find the worker in time: what comes to it is what counts.
    forwarded, lost_frames = (now - then for now, then in zip(of_a(), before))
    expect((arrived, lost_frames), (forwarded, 0), "frames that arrived, and that a's VIF dropped")
    dropped = int(capture.said.split(" frames captured, ")[1].split(" ")[0])
    require(dropped > 0, capture.said)
    expect(lost(capture.file), dropped, "isb_ifdrop")
    count = int(capture.said.split(" ")[0])
    require(count + dropped >= forwarded, f"{capture.said}: each frame is captured or counted")


def test_forwarding_keeps_nine_tenths_of_its_rate():
    if not os.environ.get("STATION_ALL"):
        raise Skip("STATION_ALL=1 measures it")
    alone()
    frame = datagram(A, "10.1.0.10", "10.2.0.10", tags=A.tags)
    def rate():
        with traffic.Sink("core0") as sink:
            before = sink.frames
            took = traffic.flood(A, frame, "seconds", "2")
            return (sink.frames - before) / took.get("seconds", 2)
    rates = {False: [], True: []}
    for n in range(24):
        with contextlib.ExitStack() as stack:
            if n % 2:
                stack.enter_context(Capture("--port", "cust0", "--filter", "udp and dst host 10.2.0.10"))
            rates[n % 2 == 1].append(rate())
    ratio = statistics.median(on / off for off, on in zip(rates[False], rates[True]))
    print(f"with a capture {ratio:.3f} of the rate without (median of {len(rates[True])} pairs): {rates}")
    require(ratio >= 0.9, rates)
