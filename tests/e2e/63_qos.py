"""Classes of service: a host's wire is slower than what is sent to it, and the station's queues say who waits.

The wire of vpc-a takes WIRE bit/s by a token bucket behind the switch. What waits there belongs to the station's socket until it
has left, so that the transmit ring is the bottleneck, as on a NIC. Frames are counted by the receiving host's BPF program."""

import contextlib
import re
import select
import socket
import struct
import subprocess
import time

import case
import frames
import lab
import ledger
import station
import terminal
from case import HOSTS, expect, require, wait_until

A, A2, CORE = HOSTS["a"], HOSTS["a2"], HOSTS["vpc-a"]
WIRE = 20_000_000
SIZE = 1000
EF, AF11, AF21 = 46, 10, 18
POLICY = '''
[[qos]]
name = "gold"
[[qos.class]]
name = "voice"
dscp = ["ef"]
priority = "strict"
[[qos.class]]
name = "data"
dscp = ["af21"]
weight = 3
[[qos.class]]
name = "bulk"
dscp = ["af11"]
weight = 1
'''


def configured(line, more=POLICY):
    """The lab's configuration with a line of the VIF vpc-a."""
    before, head, behind = case.lab_config().rpartition('name = "vpc-a"\n')
    return before + head + line + "\n" + behind + more


def begin():
    case.fresh(configured('qos = "gold"'))
    lab.run("tc", "qdisc", "replace", "dev", "h-vpc-a", "root", "tbf", "rate", f"{WIRE}bit", "burst", "4kb", "limit", "8mb", ns="st-wire")


def end():
    lab.run("tc", "qdisc", "del", "dev", "h-vpc-a", "root", ns="st-wire")
    station.stop()


class Load:
    """Marked frames of SIZE octets with a DSCP from a host to vpc-a, so many bit/s for some seconds."""

    def __init__(self, source, dscp, bits, seconds):
        self.source, pps = source, int(bits / 8 / SIZE)
        self.sent = int(pps * seconds)
        frame = frames.datagram(source, source.addr4, CORE.addr4, tags=source.tags, size=SIZE, tos=dscp << 2)
        self.words = [lab.RUN / "flood", source.port, frame.hex(), "count", str(self.sent), "pps", str(pps)]

    def __enter__(self):
        self.before = self.ever()
        with lab.inside("st-wire"):
            self.sender = subprocess.Popen(self.words, stdout=subprocess.DEVNULL)
        return self

    def __exit__(self, *_):
        if self.sender.poll() is None:
            self.sender.kill()
        self.sender.wait()

    def ever(self):
        return ledger.host_counts(CORE)[f"from {self.source.name}"]

    def came(self):
        return self.ever() - self.before

    def finish(self):
        """What came, once all that waited has left."""
        self.sender.wait()
        last = [self.came(), time.monotonic()]

        def rests():
            now = self.came()
            if now != last[0]:
                last[:] = [now, time.monotonic()]
            return time.monotonic() - last[1] > 0.5

        wait_until(rests, 20, "the queues are empty")
        return self.came()


@contextlib.contextmanager
def loads(*all_of):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(load) for load in all_of]


def round_trips(dscp, count=150, interval=0.01):
    """Round trips from A to vpc-a, in milliseconds, sorted; those without an answer are missing."""
    with lab.inside(A.ns):
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    sent, times = {}, []
    with raw:
        raw.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, dscp << 2)
        ident, start = 0x7130 + dscp, time.monotonic()
        for number in range(count + 200):
            if number < count:
                body = struct.pack("!BBHHH", 8, 0, 0, ident, number) + bytes(20)
                body = body[:2] + frames.checksum(body).to_bytes(2, "big") + body[4:]
                sent[number] = time.monotonic()
                raw.sendto(body, (CORE.addr4, 0))
            elif len(times) == count:
                break
            until = start + (number + 1) * interval
            while select.select([raw], [], [], max(until - time.monotonic(), 0))[0]:
                packet = raw.recv(2048)
                kind, _, _, of, answered = struct.unpack_from("!BBHHH", packet, (packet[0] & 15) * 4)
                if (kind, of) == (0, ident) and answered in sent:
                    times.append(1000 * (time.monotonic() - sent.pop(answered)))
    return sorted(times)


def p99(times):
    return times[int(len(times) * 0.99)] if times else float("inf")


def classes(vif="vpc-a"):
    return {row["class"]: row for row in station.ctl("show", "qos") if row["vif"] == vif}


def overload():
    """Twice as much as the wire takes, a fifth of it EF: what came of EF and of the rest, and round trips of EF."""
    with loads(Load(A2, EF, 8_000_000, 6), Load(A, 0, 32_000_000, 6)) as (voice, rest):
        time.sleep(2)
        times = round_trips(EF)
        return (voice.sent, voice.finish()), (rest.sent, rest.finish()), times


def test_what_is_strict_neither_waits_nor_is_lost():
    idle = round_trips(EF)
    station.write_config(case.lab_config())
    station.ctl("reload")
    (sent, came), others, fifo = overload()
    print(f"one ring: {came} of {sent} of EF, {others[1]} of {others[0]} others")
    require(came < 0.85 * sent, f"without a policy EF loses too: {came} of {sent}")
    station.write_config(configured('qos = "gold"'))
    station.ctl("reload")
    station.ctl("clear", "counters")
    (sent, came), (offered, left), times = overload()
    expect(came, sent, "frames of EF")
    require(left < 0.75 * offered, f"best effort has what is left: {left} of {offered}")
    print(f"classes: {came} of {sent} of EF, {left} of {offered} others")
    print(f"EF p99: idle {p99(idle):.1f} ms, one ring {p99(fifo):.1f} ms ({len(fifo)} answers), strict {p99(times):.1f} ms")
    expect(len(times), 150, "answers to EF")
    require(p99(times) < p99(idle) + 60, f"EF waits: p99 {p99(times):.1f} ms, idle {p99(idle):.1f} ms")
    require(p99(fifo) > 2 * p99(times), f"one ring: {p99(fifo):.1f} ms, strict: {p99(times):.1f} ms")
    rows = classes()
    expect(list(rows), ["voice", "data", "bulk", "best-effort"], "classes in their order")
    # The echo requests are EF, too.
    require(rows["voice"]["sent_frames"] >= sent and rows["voice"]["full_frames"] == 0, f"voice: {rows['voice']}")
    rest = rows["best-effort"]
    expect(rest["full_frames"], offered - left, "frames that found the queue full, to the frame")
    expect(rest["full_frames"], ledger.quiet().drops("a")["class_queue_full"], "the counter of the VIF that they came by")
    require(rest["waited_frames"] > 0 and rest["peak_frames"] > 0 and rest["discarded_frames"] == 0, f"{rest}")
    told = station.shown("show", "qos")
    require(re.search(r"vpc-a +gold +voice +dscp 46 +- +strict ", told), f"the table: {told}")
    said, code = terminal.written(station.command("show", "qos"), NO_COLOR="1")
    print(said)
    widest = max(len(line) for line in said.splitlines())
    require(code == 0 and widest <= 80 and "(-w shows more: " in said, f"on a terminal: {widest} columns\n{said}")


def test_weights_share_what_is_left():
    with loads(Load(A2, AF21, 30_000_000, 5), Load(A, AF11, 30_000_000, 5)) as (data, bulk):
        time.sleep(2)
        before, start = [data.came(), bulk.came()], time.monotonic()
        time.sleep(2)
        after, passed = [data.came(), bulk.came()], time.monotonic() - start
        heavy, light = [now - then for now, then in zip(after, before)]
        data.finish()
    require(2.7 < heavy / light < 3.3, f"3 to 1: {heavy} and {light}")
    together = (heavy + light) * SIZE * 8 / passed
    require(together > 0.9 * WIRE, f"nothing of the wire is lost: {together:.0f} bit/s")


def test_marks_and_explain():
    marks = POLICY.replace('priority = "strict"\n', 'priority = "strict"\nmark_dscp = "cs5"\nmark_pcp = 6\nbandwidth = "10M"\n')
    station.write_config(configured('qos = "gold"', marks))
    station.ctl("reload")
    with frames.Raw(CORE.ns, promiscuous=True) as raw:
        for six in (False, True):
            source, target = (A.addr6, CORE.addr6) if six else (A.addr4, CORE.addr4)
            fields = {"tos": EF << 2 | 1}
            packet = frames.packet(source, target, frames.UDP, frames.udp(source, target, b"marks"), **fields)
            with frames.Raw("st-wire", A.port) as wire:
                wire.send(frames.eth(A.port_mac, A.mac, frames.ethertype(source), packet, A.tags))
            seen = [frame for frame in raw.received() if b"marks" in frame]
            expect(len(seen), 1, "marked packets")
            kind, octets = frames.l3(seen[0])
            traffic = (octets[0] << 4 | octets[1] >> 4) & 255 if six else octets[1]
            expect(traffic, 40 << 2 | 1, "the traffic class: CS5, its ECN as it came")
            if not six:
                expect(frames.checksum(octets[:20]), 0, "the header's checksum")
    [row] = station.ctl("explain", "--vif", "a", "--from", A.addr4, "--to", CORE.addr4)
    details = {stage["stage"]: stage["detail"] for stage in row["stages"]}
    expect(details.get("qos"), "DSCP 0: class best-effort of policy gold", "the stage's words")


def test_wrong_policies_are_refused():
    for line, policy, says in [
            ('qos = "silver"', POLICY, "there is no qos"),
            ('qos = "gold"', POLICY.replace('"ef"', '"af99"'), "is no DSCP"),
            ('qos = "gold"', POLICY.replace('"af11"', '"ef"'), "in class"),
            ('qos = "gold"', POLICY.replace('"strict"\n', '"strict"\nweight = 2\n'), "a strict class has none"),
    ]:
        file = lab.RUN / "candidate.toml"
        file.write_text(configured(line, policy))
        code, output = station.check(file)
        require(code != 0 and says in output, f"{line}: {output}")
