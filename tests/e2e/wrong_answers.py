"""Right and wrong answers to the questions of probes, by hand: as VIF b's host sends them for addresses of nobody."""

import collections
import dataclasses
import select
import struct
import time

import drawn
import frames
import twamp
from case import HOSTS
from frames import ICMP, ICMPV6, TCP, UDP
from wires import Packet

B = HOSTS["b"]
NOBODY = {4: "10.1.99.9", 6: "fd10:1::99"}  # behind a and behind b, whose kernels do not answer for it
KINDS = {"icmp": {}, "tcp": {"kind": "tcp", "port": 443}, "twamp": {"kind": "twamp"}}
TEST = 8  # offset of the test packet behind UDP's header
# Fields that make of an answer another's, each as (offset, octets, by how much it is changed).
OTHERS = {
    "icmp": {"id": [(4, 2, 1)], "number of the next": [(6, 2, 1)], "an old number": [(6, 2, -5)]},
    "tcp": {"acknowledgment + 1": [(8, 4, 1)], "acknowledgment - 1": [(8, 4, -1)], "no SYN": [(13, 1, -2)], "RST without ACK": [(13, 1, -14)],
            "RST, acknowledgment + 1": [(8, 4, 1), (13, 1, 2)], "port": [(0, 2, 1)], "own port": [(2, 2, 1)]},
    "twamp": {"number of the next": [(TEST + 24, 4, 1)], "an old number": [(TEST + 24, 4, -5)], "timestamp": [(TEST + 28, 8, 1)],
              "port": [(0, 2, 1)], "own port": [(2, 2, 1)]},
}
# What an error may quote that the station has not asked: another id or port, another number, and another target.
UNASKED = {ICMP: [(4, 2, 1), (6, 2, 1)], ICMPV6: [(4, 2, 1), (6, 2, 1)], TCP: [(0, 2, 1), (4, 4, 1)], UDP: [(0, 2, 1), (2, 2, 1)]}


def own(packet):
    """Addresses of b's of the family of a packet."""
    return B.lan6 if ":" in packet.target else B.lan4


def right(packet):
    """What answers a question."""
    kind = packet.about(True)[0]
    if kind == "icmp":
        upper = bytes([{ICMP: 0, ICMPV6: 129}[packet.protocol]]) + packet.upper[1:]
    elif kind == "tcp":
        source, port, number = struct.unpack_from("!HHI", packet.upper)
        upper = struct.pack("!HHIIBBHHH", port, source, 7, (number + 1) % (1 << 32), 0x50, 0x12, 64000, 0, 0)
    else:
        now = time.time_ns()
        upper = struct.pack("!HHHH", *packet.ports[::-1], len(packet.upper), 0) + twamp.reply(packet.upper[TEST:], packet.hops, now, now)
    return Packet(packet.target, packet.source, 64, packet.protocol, upper).sealed()


def error(packet):
    """That a packet does not arrive, by a router of b's."""
    kind, router = (1, 3) if ":" in packet.target else (3, 1), own(packet)[-1]
    return Packet(router, packet.source, 64, *drawn.error(*kind, packet.octets(), router, packet.source))


def wrong(packet):
    """Packets that seem to answer a question, and do not."""
    answer = right(packet)
    for changes in OTHERS[packet.about(True)[0]].values():
        other = answer
        for change in changes:
            other = other.moved(*change)
        yield other.sealed()
    yield dataclasses.replace(answer, source=own(packet)[-1]).sealed()
    yield answer.moved(answer.checksum()[0], 2, 1)
    for change in UNASKED[packet.protocol]:
        yield error(packet.moved(*change).sealed())
    yield error(dataclasses.replace(packet, target=own(packet)[0]).sealed())


def send(host, raw, packet, count=1):
    """Sends a packet from a host."""
    raw.send(frames.eth(host.port_mac, host.mac, frames.ethertype(packet.source), packet.octets()), count)


def conversation(raw, answer, seconds):
    """Hands each question to nobody at b to `answer` for a while, and None in between; how many there were, by kind, port
    and target."""
    while raw.take():  # what was asked before
        pass
    counts, end = collections.Counter(), time.monotonic() + seconds
    while time.monotonic() < end:
        select.select([raw.socket], [], [], 0.01)
        answer(None)
        while (frame := raw.take()) is not None:
            packet = Packet.of(frame)
            if packet and packet.about(True) and packet.target in NOBODY.values() and packet.source in (B.gw4, B.gw6):
                counts[packet.about(True)] += 1
                answer(packet)
    return counts
