"""What the decoder of IPFIX takes and what it refuses: messages made by hand.

    python3 ipfix_check.py
"""

import struct
import time

import ipfix

PEN = 32473
# Start, end, a source, packets, an enterprise's string.
FIELDS = [(152, 8), (153, 8), (8, 4), (2, 4)]
TEMPLATE = struct.pack("!HH", 256, 5) + b"".join(struct.pack("!HH", *field) for field in FIELDS)
TEMPLATE += struct.pack("!HHI", 0x8001, 0xFFFF, PEN)
NAMES = struct.pack("!HHHHHHH", 259, 2, 1, 10, 4, 82, 0xFFFF)
TYPE = struct.pack("!HHH", 262, 5, 2) + struct.pack("!10H", 346, 4, 303, 2, 339, 1, 344, 1, 341, 0xFFFF)


def message(*sets, sequence=0, version=10, more=0, at=None, domain=7):
    body = b"".join(sets)
    exported = int(time.time()) if at is None else int(at)
    return struct.pack("!HHIII", version, 16 + len(body) + more, exported, sequence, domain) + body


def a_set(number, body, more=0):
    return struct.pack("!HH", number, 4 + len(body) + more) + body


def text(string):
    return bytes([len(string)]) + string


def flow(start=-2000, end=-1000, verdict=text(b"forward")):
    now = int(time.time() * 1000)
    return struct.pack("!QQ4sI", now + start, now + end, bytes([10, 1, 0, 10]), 3) + verdict


DEFINED = a_set(2, TEMPLATE) + a_set(3, NAMES) + a_set(3, TYPE)


def taken():
    """Several messages of a session, with paddings, a long string's length and types."""
    session = ipfix.Session("tcp")
    kind = struct.pack("!IHBB", PEN, 1, 13, 0) + text(b"verdict")
    name = struct.pack("!I", 4) + text("größer".encode())
    ipfix.demand(session.message(message(DEFINED, a_set(2, TEMPLATE + b"\0\0"))) == [], "templates are no data records")
    before = session.message(message(a_set(256, flow())))
    ipfix.demand(before[0][PEN, 1] == b"forward", "octets, before the type is known")
    flows = a_set(256, flow() + flow(verdict=b"\xff\x00\x04drop") + b"\0\0\0")
    told = session.message(message(a_set(262, kind), a_set(259, name + b"\0"), flows, sequence=1))
    ipfix.demand([record.number for record in told] == [262, 259, 256, 256], f"records: {told}")
    ipfix.demand(told[1]["interfaceName"] == "größer" and told[1].template.scopes == 1, f"a name: {told[1]}")
    ipfix.demand((told[2]["sourceIPv4Address"], told[2]["packetDeltaCount"]) == ("10.1.0.10", 3), f"a flow: {told[2]}")
    ipfix.demand([record[PEN, 1] for record in told[2:]] == ["forward", "drop"], "strings")
    session.message(message(a_set(2, struct.pack("!HH", 256, 0)), sequence=5))
    ipfix.demand((7, 256) not in session.templates and session.gaps == [], f"{session.templates}, {session.gaps}")
    session.message(message(sequence=7))
    ipfix.demand(session.gaps == [(7, 5, 7)], f"a gap is told: {session.gaps}")
    whole = message(DEFINED) + message(a_set(256, flow()))
    messages, rest = ipfix.split(whole + whole[:30])
    ipfix.demand((len(messages), b"".join(messages), rest) == (2, whole, whole[:30]), "a stream is split")


def refused():
    """By what is wrong, a message and, of the session before it, the templates."""
    def template(*fields, number=256, count=None):
        body = b"".join(struct.pack("!HH", *field) for field in fields)
        return message(a_set(2, struct.pack("!HH", number, len(fields) if count is None else count) + body))
    now = time.time()
    return {
        "no header": message()[:15],
        "version 9": message(version=9),
        "longer than it says": message(DEFINED) + b"\0",
        "shorter than it says": message(DEFINED, more=1),
        "of tomorrow": message(DEFINED, at=now + 86_400),
        "of the year 1970": message(DEFINED, at=0),
        "a set id of NetFlow 9": message(a_set(0, TEMPLATE)),
        "a reserved set id": message(a_set(4, bytes(8))),
        "the last reserved set id": message(a_set(255, bytes(8))),
        "half a set's header": message(b"\1\0"),
        "a set that ends within its header": message(struct.pack("!HH", 256, 3)),
        "an empty set": message(a_set(256, b"")),
        "a set that is longer than the message": message(a_set(256, flow(), more=1)),
        "a template that nobody defined": message(a_set(300, flow())),
        "half a record": message(a_set(256, flow()[:20])),
        "a record and half of one": message(a_set(256, flow() + flow()[:-1])),
        "padding that is not zero": message(a_set(256, flow() + b"\1")),
        "a string that is longer than its set": message(a_set(256, flow(verdict=b"\x09forward"))),
        "a string that is not UTF-8": message(a_set(259, struct.pack("!I", 4) + text(b"\xff"))),
        "a flow that ends before it begins": message(a_set(256, flow(-1000, -2000))),
        "a flow that has not ended": message(a_set(256, flow(-1000, 5000))),
        "a template with a reserved number": template((2, 8), number=255),
        "a template that ends early": template((2, 8), number=300, count=2),
        "a template with padding of four octets": message(a_set(2, TEMPLATE + bytes(4))),
        "a template that changes": template((2, 8)),
        "a template with a field twice": template((2, 8), (2, 4), number=300),
        "a field of no octets": template((2, 0), number=300),
        "a counter of nine octets": template((2, 9), number=300),
        "an IPv4 address of three octets": template((8, 3), number=300),
        "a counter of variable length": template((2, 0xFFFF), number=300),
        "element 0": template((0, 4), number=300),
        "enterprise 0": message(a_set(2, struct.pack("!HHHHI", 300, 1, 0x8001, 4, 0))),
        "an options template without a scope": message(a_set(3, struct.pack("!HHHHH", 300, 1, 0, 10, 4))),
        "an options template with more scopes than fields": message(a_set(3, struct.pack("!HHHHH", 300, 1, 2, 10, 4))),
        "a withdrawal of what nobody defined": message(a_set(2, struct.pack("!HH", 300, 0))),
    }


def check():
    """Raises where the decoder is not strict."""
    taken()
    for what, wrong in refused().items():
        session = ipfix.Session("tcp")
        session.message(message(DEFINED))
        try:
            got = session.message(wrong)
        except ipfix.Malformed:
            continue
        raise AssertionError(f"{what} was taken: {got}")
    session = ipfix.Session("udp")
    session.message(message(DEFINED, sequence=9))
    ipfix.demand(not session.gaps, "by UDP the beginning may be missed")
    try:
        session.message(message(a_set(2, struct.pack("!HH", 256, 0)), sequence=9))
    except ipfix.Malformed:
        return
    raise AssertionError("a withdrawal by UDP was taken")


if __name__ == "__main__":
    check()
    print(f"{len(refused())} malformed messages are refused")
