"""Random addresses about prefixes, what they are translated to, and random packets as functions of their addresses: the
same packet can be made with others, and all its checksums anew."""

import ipaddress
import struct

from frames import ICMP, ICMPV6, TCP, UDP, checksum, echo, packet, pseudo

UDP_LITE, DCCP, FRAGMENT, DESTINATION_OPTIONS = 136, 33, 44, 60
SHARED = ["tcp", "tcp", "udp", "udp", "zero", "zero", "echo", "other", "first", "later", "options"]
KINDS = {4: [*SHARED, "no sum", "dccp", "record", "error", "error", "error"], 6: [*SHARED, "error", "error", "error"]}
ERRORS = {4: [(3, 1), (3, 3), (3, 4), (4, 0), (11, 0), (12, 0)], 6: [(1, 0), (2, 0), (3, 0), (4, 1)]}
ROUTER_ALERT, NO_OPERATION, RECORD_ROUTE = b"\x94\x04\0\0", b"\1\1\1\0", b"\x07\x07\x04" + bytes(5)


def translated(pairs, address, back=False):
    """What an address becomes by pairs of prefixes, inside and outside: itself, where none has it. In IPv6 one word
    makes up for the sum of the prefix (RFC 6296 3.4, 3.5)."""
    address = ipaddress.ip_address(address)
    for pair in pairs:
        mine, theirs = map(ipaddress.ip_network, reversed(pair) if back else pair)
        if address not in mine:
            continue
        change = int(mine.network_address) - int(theirs.network_address)
        octets = bytearray((int(address) - change).to_bytes(mine.max_prefixlen // 8, "big"))
        if mine.version == 6:
            words = struct.unpack("!8H", octets)
            at = 3 if mine.prefixlen <= 48 else next(at for at in range(4, 8) if words[at] != 0xFFFF)
            struct.pack_into("!H", octets, 2 * at, (words[at] + change) % 0xFFFF)
        return str(ipaddress.ip_address(bytes(octets)))
    return str(address)


def near(rng, prefix, within):
    """An address in a prefix or beside it, and within some networks: often the first, the last, or one next to these.
    None has a subnet of all ones, or an interface identifier, which cannot be translated."""
    net = ipaddress.ip_network(prefix)
    first, last = int(net.network_address), int(net.broadcast_address)
    numbers = [first, first - 1, last + 1, *[rng.randint(first, last) for _ in range(3)]]
    if net.version == 4:
        numbers.append(last)
    elif net.prefixlen > 48:
        numbers += [last - 1, first | 0xFFFF_FFFF_0000 << 16 | rng.randrange(0xFFFF)]
    else:
        numbers = [number for number in [*numbers, last - (1 << 64)]
                   if number >> 64 & 0xFFFF != 0xFFFF or not first <= number <= last]
    found = [type(net.network_address)(number) for number in numbers]
    return str(rng.choice([address for address in found if any(address in net for net in within)]))


def layer4(protocol, src, dst, payload):
    """A segment or datagram whose checksum covers the addresses, behind its protocol."""
    length = len(payload) + {TCP: 20, DCCP: 16}.get(protocol, 8)
    at = 16 if protocol == TCP else 6
    head = {TCP: struct.pack("!HHIIBBHHH", 4000, 9, 7, 8, 0x50, 0x10, 999, 0, 0),
            DCCP: struct.pack("!HHBBHQ", 4000, 9, 4, 0, 0, 0x0500_0000_0000_0001)}.get(
                protocol, struct.pack("!HHHH", 4000, 9, length, 0))
    value = checksum(pseudo(src, dst, protocol, length) + head + payload)
    if not value and protocol in (UDP, UDP_LITE):
        value = 0xFFFF
    return protocol, head[:at] + struct.pack("!H", value) + head[at + 2:] + payload


def error(kind, code, quoted, src, dst):
    """An ICMP error, behind its protocol."""
    body = struct.pack("!BBHI", kind, code, 0, 0) + quoted
    value = checksum((pseudo(src, dst, ICMPV6, len(body)) if ":" in src else b"") + body)
    return ICMPV6 if ":" in src else ICMP, body[:2] + struct.pack("!H", value) + body[4:]


def zeroing(protocol, ends, payload):
    """The payload with an end that makes the checksum between these addresses zero."""
    payload = payload[:len(payload) // 2 * 2] + bytes(2)
    at = 16 if protocol == TCP else 6
    octets = layer4(protocol, *ends, payload)[1]
    value = int.from_bytes(octets[at:at + 2], "big")
    return payload[:-2] + struct.pack("!H", value % 0xFFFF)


def maker(rng, kind, ends, number, room):
    """A function of source, destination and TTL that makes a packet of a kind, with at most `room` octets of payload.
    A router may be named, from which an error comes about what went from the destination to the source.

    `ends`: the addresses between which a checksum of "zero" is zero; `number`: its identification or flow label.
    """
    six = ":" in ends[0]
    lengths = [0, 1, 2, 7, 8, rng.randrange(300), rng.randrange(room), room - rng.randrange(150)]
    payload = rng.randbytes(rng.choice(lengths))
    protocol = {"tcp": TCP, "dccp": DCCP, "no sum": UDP, "other": rng.choice([47, 50, 132, 253])}.get(
        kind, rng.choice([UDP, UDP_LITE] if kind == "udp" else [TCP, UDP, UDP_LITE]))
    fields = {"tos": rng.randrange(256)}
    fields |= {"flow": number} if six else {"ident": number, "df": len(payload) < 1000 and rng.random() < 0.5}
    # Wrong before, wrong behind.
    spoiled = rng.random() < 0.1
    cut = rng.randrange(4, 20) * 8
    if kind == "error":
        kinds = [kind for kind in KINDS[6 if six else 4] if kind != "error"]
        quoted = maker(rng, rng.choice(kinds), ends[::-1], number, 700)
        what = rng.choice(ERRORS[6 if six else 4])
        length = rng.choice([40, 48, 60, 64, 128, 548] if six else [20, 28, 36, 40, 44, 128, 548])
    elif kind == "zero":
        payload = zeroing(protocol, ends, payload)
    elif kind == "echo" and rng.random() < 0.5:
        # It looks like the quotation of an error.
        payload = maker(rng, "tcp", ends[::-1], number, 300)(*ends[::-1], 9)
    elif kind in ("first", "later"):
        payload = rng.randbytes(rng.choice([200, room]))
        fields |= {} if six else {"mf": kind == "first", "offset": 0 if kind == "first" else cut // 8, "df": False}
    elif kind in ("options", "record") and not six:
        # In one piece: routers fill later fragments up as they like.
        payload = payload[:600]
        fields["options"] = RECORD_ROUTE if kind == "record" else rng.choice([ROUTER_ALERT, NO_OPERATION])

    def upper(src, dst):
        if kind == "echo":
            return ICMPV6 if six else ICMP, echo(src, dst, payload)
        if kind == "other":
            return protocol, payload
        _, octets = layer4(protocol, src, dst, payload)
        if kind == "no sum":
            octets = octets[:6] + bytes(2) + octets[8:]
        if spoiled and payload:
            octets = octets[:-1] + bytes([octets[-1] ^ 0x55])
        return protocol, octets

    def make(src, dst, ttl, router=None):
        if kind == "error":
            quote, src = quoted(dst, src, 7)[:length], router or src
            over, octets = error(*what, quote, src, dst)
        else:
            over, octets = upper(src, dst)
        if kind in ("first", "later"):
            octets = octets[:cut] if kind == "first" else octets[cut:]
            if six:
                offset = 1 if kind == "first" else cut
                over, octets = FRAGMENT, struct.pack("!BBHI", over, 0, offset, number) + octets
        if six and kind == "options":
            over, octets = DESTINATION_OPTIONS, bytes([over, 0, 1, 4, 0, 0, 0, 0]) + octets
        return packet(src, dst, over, octets, **{"hops" if six else "ttl": ttl}, **fields)

    return make
