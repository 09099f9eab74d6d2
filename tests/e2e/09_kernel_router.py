"""The Linux kernel as a second opinion: the same packets into a kernel router and into the station,
and what leaves both, octet for octet from the IP header on. Differences that are meant are named in
DIFFERENCES.md, and each of them must really differ."""

import random
import re
import struct
import time

import case
import frames
import kernel_router
import lab
import station
from case import expect, replaced, require
from frames import (ETH_IPV4, ETH_IPV6, ICMP, ICMPV6, TCP, UDP, echo, ipv4, ipv6, udp)
from kernel_router import A, CLOUD, SIDES, outputs

MTU = 1300  # of the cloud's side
SRC, DST, SRC6, DST6 = A.addr4, CLOUD.addr4, A.addr6, CLOUD.addr6
SUBNET = "10.200.0.1/24"  # on the cloud's side, with nobody in it
LIST = lab.ROOT / "tests/e2e/DIFFERENCES.md"
ROUTES = [("10.66.0.0/16", "blackhole"), ("10.67.0.0/16", "unreachable"), ("10.68.0.0/16", "prohibit"),
          ("fd10:66::/48", "blackhole"), ("fd10:67::/48", "unreachable"), ("fd10:68::/48", "prohibit")]


def the_station():
    config = replaced(case.lab_config(), ('vlan = "1100"\n', f'vlan = "1100"\nmtu = {MTU}\n'),
                      ('"169.254.255.1/30"', f'"169.254.255.1/30", "{SUBNET}"'))
    for prefix, action in ROUTES:
        config += f'\n[[route]]\nvrf = "vpc-a"\nprefix = "{prefix}"\naction = "{action}"\n'
    station.stop()
    station.start(config + kernel_router.neighbors())


# ---- packets ------------------------------------------------------------------------------------

def over4(payload, src=SRC, dst=DST, **fields):
    return ipv4(src, dst, UDP, udp(src, dst, payload), **fields)


def over6(payload, src=SRC6, dst=DST6, **fields):
    return ipv6(src, dst, UDP, udp(src, dst, payload), **fields)


def option(*octets):
    raw = bytes(octets)
    return raw + b"\0" * (-len(raw) % 4)


def extension(kind, body=b"\x01\x04\0\0\0\0"):
    """IPv6 with one extension header of 8 octets before UDP."""
    inner = udp(SRC6, DST6, b"x" * 20)
    return ipv6(SRC6, DST6, kind, bytes([UDP, 0]) + body + inner)


def fragment4(offset, mf, ident=77):
    whole = udp(SRC, DST, bytes(range(200)) * 4)
    piece = whole[offset * 8:offset * 8 + 400]
    return ipv4(SRC, DST, UDP, piece, offset=offset, mf=mf, ident=ident)


def fragment6(offset, more):
    whole = udp(SRC6, DST6, bytes(range(200)) * 4)
    piece = whole[offset * 8:offset * 8 + 400]
    return ipv6(SRC6, DST6, 44, struct.pack("!BBHI", UDP, 0, offset << 3 | more, 99) + piece)


def error4(kind, code, quoted):
    body = struct.pack("!BBHI", kind, code, 0, 0) + quoted[:28]
    return ICMP, body[:2] + struct.pack("!H", frames.checksum(body)) + body[4:]


def error6(kind, code, quoted, src, dst):
    body = struct.pack("!BBHI", kind, code, 0, 0) + quoted
    check = frames.checksum(frames.pseudo(src, dst, ICMPV6, len(body)) + body)
    return ICMPV6, body[:2] + struct.pack("!H", check) + body[4:]


def packets():
    """(name, side it enters by, packet)."""
    c = "customer"
    yield "UDP", c, over4(b"hello")
    yield "UDP, the other way", "cloud", over4(b"hello", DST, SRC)
    yield "UDP, no payload", c, over4(b"")
    yield "IPv6 UDP", c, over6(b"hello")
    yield "IPv6 UDP, the other way", "cloud", over6(b"hello", DST6, SRC6)
    yield "TCP SYN", c, ipv4(SRC, DST, TCP, b"\x04\x00\x00\x50" + b"\0" * 8 + b"\x50\x02" + b"\0" * 6)
    yield "an unknown protocol", c, ipv4(SRC, DST, 253, b"x" * 30)
    yield "echo in transit", c, ipv4(SRC, DST, ICMP, echo(SRC, DST, b"x" * 40))
    yield "IPv6 echo in transit", c, ipv6(SRC6, DST6, ICMPV6, echo(SRC6, DST6, b"x" * 40))
    for ttl in (0, 1, 2, 255):
        yield f"TTL {ttl}", c, over4(b"ttl", ttl=ttl)
        yield f"hop limit {ttl}", c, over6(b"ttl", hops=ttl)
    yield "TTL 1 with DF", c, over4(b"ttl", ttl=1, df=True)
    yield "TTL 1, a later fragment", c, ipv4(SRC, DST, UDP, b"x" * 40, ttl=1, offset=100)
    yield "TTL 1 to the router", c, ipv4(SRC, A.gw4, ICMP, echo(SRC, A.gw4, b"x"), ttl=1)
    yield "TTL 1, no route", c, over4(b"x", dst="172.16.9.9", ttl=1)
    for tos in (0x01, 0x02, 0x03, 0xB8, 0xFF):
        yield f"TOS {tos:#x}", c, over4(b"tos", tos=tos)
        yield f"traffic class {tos:#x}", c, over6(b"tos", tos=tos, flow=0xABCDE)
    for size in (MTU - 28, MTU - 27, 1400, 1472):
        yield f"{size + 28} octets, DF", c, over4(b"z" * size, df=True)
    for size in (MTU - 48, MTU - 47, 1452):
        yield f"IPv6 of {size + 48} octets", c, over6(b"z" * size)
    for size in (MTU - 28, MTU - 27, 1400, 1472):
        yield f"{size + 28} octets, may fragment", c, over4(b"z" * size, ident=4321)
    yield "a fragment that must be fragmented again", c, ipv4(SRC, DST, UDP, b"q" * 1400, offset=20, mf=True, ident=5)
    yield "the last fragment, fragmented again", c, ipv4(SRC, DST, UDP, b"q" * 1400, offset=20, ident=5)
    yield "first fragment", c, fragment4(0, True)
    yield "second fragment", c, fragment4(50, False)
    yield "IPv6 first fragment", c, fragment6(0, 1)
    yield "IPv6 second fragment", c, fragment6(50, 0)
    yield "IPv6 atomic fragment", c, ipv6(SRC6, DST6, 44, struct.pack("!BBHI", UDP, 0, 0, 1) + udp(SRC6, DST6, b"a"))
    yield "total length shorter than the frame", c, over4(b"short") + b"\xee" * 40
    yield "payload length shorter than the frame", c, over6(b"short") + b"\xee" * 40
    # Broken headers: silence.
    yield "a wrong checksum", c, over4(b"x" * 20, check=0xBEEF)
    yield "IHL 4", c, over4(b"x" * 20, ihl=4)
    yield "IHL beyond the packet", c, ipv4(SRC, DST, UDP, b"", ihl=15)
    yield "version 5", c, over4(b"x" * 20, version=5)
    yield "version 6 as IPv4", c, over4(b"x" * 20, version=6)
    yield "IPv6 of version 4", c, over6(b"x" * 20, version=4)
    yield "total length beyond the frame", c, over4(b"x" * 20, total=200)
    yield "total length below the header", c, over4(b"x" * 20, total=19)
    yield "IPv6 payload beyond the frame", c, over6(b"x" * 20, length=200)
    yield "a header cut short", c, over4(b"x" * 20)[:19]
    yield "an IPv6 header cut short", c, over6(b"x" * 20)[:39]
    # Where there is no way.
    yield "no route", c, over4(b"x", dst="172.16.9.9")
    yield "no IPv6 route", c, over6(b"x", dst="fd77::1")
    for number, action in ((66, "blackhole"), (67, "unreachable"), (68, "prohibit")):
        yield f"{action}", c, over4(b"x" * 30, dst=f"10.{number}.1.1")
        yield f"IPv6 {action}", c, over6(b"x" * 30, dst=f"fd10:{number}::1")
    yield "no route, a later fragment", c, ipv4(SRC, "172.16.9.9", UDP, b"x" * 40, offset=100)
    for kind, code in ((3, 1), (11, 0), (12, 0), (5, 1)):
        yield f"ICMP error {kind}/{code} without a route", c, ipv4(SRC, "172.16.9.9", *error4(kind, code, over4(b"x")))
        yield f"ICMP error {kind}/{code} in transit", c, ipv4(SRC, DST, *error4(kind, code, over4(b"x", DST, SRC)))
    yield "ICMP error with TTL 1", c, ipv4(SRC, DST, *error4(3, 1, over4(b"x", DST, SRC)), ttl=1)
    yield "echo without a route", c, ipv4(SRC, "172.16.9.9", ICMP, echo(SRC, "172.16.9.9", b"x"))
    yield "IPv6 error without a route", c, ipv6(SRC6, "fd77::1", *error6(1, 0, over6(b"x"), SRC6, "fd77::1"))
    yield "IPv6 error in transit", c, ipv6(SRC6, DST6, *error6(3, 0, over6(b"x", DST6, SRC6), SRC6, DST6))
    yield "IPv6 error with hop limit 1", c, ipv6(SRC6, DST6, *error6(1, 0, over6(b"x"), SRC6, DST6), hops=1)
    yield "a long packet without a route", c, over4(b"L" * 1400, dst="172.16.9.9")
    yield "a long IPv6 packet without a route", c, over6(b"L" * 1400, dst="fd77::1")
    # To the router itself.
    for size in (0, 1, 56, 1472):
        yield f"echo of {size} to the router", c, ipv4(SRC, A.gw4, ICMP, echo(SRC, A.gw4, b"e" * size))
    for size in (0, 1, 56, 1452):
        yield f"IPv6 echo of {size} to the router", c, ipv6(SRC6, A.gw6, ICMPV6, echo(SRC6, A.gw6, b"e" * size))
    yield "echo to the far address", c, ipv4(SRC, CLOUD.gw4, ICMP, echo(SRC, CLOUD.gw4, b"e"))
    yield "IPv6 echo to the far address", c, ipv6(SRC6, CLOUD.gw6, ICMPV6, echo(SRC6, CLOUD.gw6, b"e"))
    yield "echo with a wrong ICMP checksum", c, ipv4(SRC, A.gw4, ICMP, b"\x08\0\x12\x34\0\1\0\1" + b"e" * 8)
    yield "UDP to the router", c, over4(b"x" * 20, dst=A.gw4)
    yield "IPv6 UDP to the router", c, over6(b"x" * 20, dst=A.gw6)
    yield "an unknown protocol to the router", c, ipv4(SRC, A.gw4, 253, b"x" * 30)
    # Addresses that may not travel.
    for source in ("0.0.0.0", "0.0.0.1", "127.0.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"):
        yield f"source {source}", c, over4(b"x", src=source)
    for target in ("0.0.0.0", "0.0.0.1", "127.0.0.1", "240.0.0.1", "255.255.255.255", "224.0.0.1", "239.1.1.1"):
        yield f"destination {target}", c, over4(b"x", dst=target)
    yield "destination off-link 169.254", c, over4(b"x", dst="169.254.77.1")
    yield "directed broadcast ahead", c, over4(b"x", dst="169.254.255.3")
    yield "directed broadcast behind", c, over4(b"x", dst="169.254.0.3")
    yield "source = destination", c, over4(b"x", src=SRC, dst=SRC)
    yield "a forged source", c, over4(b"x", src="172.16.1.1")
    yield "the cloud's source", c, over4(b"x", src="10.2.0.99")
    yield "the router's own source", c, over4(b"x", src=A.gw4)
    yield "a forged IPv6 source", c, over6(b"x", src="fd77::1")
    yield "the cloud's IPv6 source", c, over6(b"x", src="fd10:2::99")
    for source in ("::", "::1", "ff02::1", "ff0e::1", "fe80::1234"):
        yield f"source {source}", c, over6(b"x", src=source)
    for target in ("::", "::1", "ff02::1", "ff05::2", "ff0e::1"):
        yield f"destination {target}", c, over6(b"x", dst=target)
    yield "IPv6 source = destination", c, over6(b"x", src=SRC6, dst=SRC6)
    yield "a hairpin", c, over4(b"x", dst="10.1.77.77")
    yield "an IPv6 hairpin", c, over6(b"x", dst="fd10:1::77")
    # Options and extension headers.
    yield "end of options", c, over4(b"x", options=option(0))
    yield "no-operations", c, over4(b"x", options=option(1, 1, 1, 0))
    yield "router alert", c, over4(b"x", options=option(148, 4, 0, 0))
    yield "record route", c, over4(b"x", options=option(7, 11, 4, *[0] * 8))
    yield "record route, full", c, over4(b"x", options=option(7, 7, 8, 1, 2, 3, 4))
    yield "timestamp, full, overflowing", c, over4(b"x", options=option(68, 8, 9, 0xF0, 0, 0, 0, 0))
    yield "security option", c, over4(b"x", options=option(130, 4, 0, 0))
    yield "loose source route", c, over4(b"x", options=option(131, 7, 4, 10, 2, 0, 10))
    yield "strict source route", c, over4(b"x", options=option(137, 7, 4, 10, 2, 0, 10))
    yield "an option of length 0", c, over4(b"x", options=option(7, 0, 4, 0))
    yield "an option that is too long", c, over4(b"x", options=option(7, 40, 4, 0))
    yield "options and TTL 1", c, over4(b"x", options=option(1, 1, 1, 0), ttl=1)
    yield "options and no route", c, over4(b"x", dst="172.16.9.9", options=option(148, 4, 0, 0))
    yield "hop-by-hop options", c, extension(0)
    yield "hop-by-hop router alert", c, extension(0, b"\x05\x02\0\0\x01\0")
    yield "hop-by-hop, unknown, skip", c, extension(0, b"\x1e\x04\0\0\0\0")
    yield "hop-by-hop, unknown, discard", c, extension(0, b"\x5e\x04\0\0\0\0")
    yield "hop-by-hop, unknown, discard and tell", c, extension(0, b"\x9e\x04\0\0\0\0")
    yield "jumbogram", c, ipv6(SRC6, DST6, 0, b"\x11\x00\xc2\x04\x00\x01\x00\x00" + b"\0" * 40, length=0)
    yield "destination options", c, extension(60)
    yield "routing header of type 0", c, extension(43, b"\x00\0\0\0\0\0")
    yield "no next header", c, ipv6(SRC6, DST6, 59, b"")
    yield "a fragment at offset 1", c, ipv4(SRC, DST, TCP, b"\0" * 20, offset=1)
    yield "an authentication header", c, ipv4(SRC, DST, 51, b"\x11\x04" + b"\0" * 30)
    # Whatever else is valid: nothing in it may matter.
    rng = random.Random(1812)
    for number in range(150):
        payload = rng.randbytes(rng.randrange(0, 1200))
        if number % 2:
            dst = f"10.2.{rng.randrange(256)}.{rng.randrange(1, 255)}"
            yield f"random {number}", c, ipv4(
                f"10.1.{rng.randrange(256)}.{rng.randrange(1, 255)}", dst, rng.choice([TCP, 47, 50, 132, 253]), payload,
                ttl=rng.randrange(2, 256), tos=rng.randrange(256), ident=rng.randrange(65536), df=rng.random() < 0.5)
        else:
            yield f"random {number}", c, ipv6(
                f"fd10:1::{rng.randrange(1, 65536):x}", f"fd10:2::{rng.randrange(1, 65536):x}",
                rng.choice([TCP, 47, 50, 132, 253]), payload, hops=rng.randrange(2, 256), tos=rng.randrange(256),
                flow=rng.randrange(1 << 20))


def packets_for_nobody():
    """Packets that wait for a neighbor that does not exist; the answer comes when the routers give up."""
    yield "nobody there", "customer", over4(b"x", dst="10.200.0.77")
    yield "the old network address", "customer", over4(b"x", dst="10.200.0.0")
    yield "nobody there, IPv6", "customer", over6(b"x", dst="fd00:c::77")
    yield "destination fe80::1234", "customer", over6(b"x", dst="fe80::1234")


# ---- sending and comparing ----------------------------------------------------------------------

def kind_of(name, packet):
    if name in ("version 6 as IPv4",) or (packet[0] >> 4 == 4 and not name.startswith("IPv6")):
        return ETH_IPV4
    if name in ("version 5",):
        return ETH_IPV4
    return ETH_IPV6


def group_mac(kind, packet):
    """The MAC that a multicast or broadcast packet is sent to, if it is one."""
    if kind == ETH_IPV4 and len(packet) >= 20:
        if packet[16:20] == b"\xff" * 4:
            return "ff:ff:ff:ff:ff:ff"
        if packet[16] >> 4 == 14:
            return "01:00:5e:" + bytes([packet[17] & 127, packet[18], packet[19]]).hex(":")
    if kind == ETH_IPV6 and len(packet) >= 40 and packet[24] == 0xFF:
        return "33:33:" + packet[36:40].hex(":")
    return None


ROUTER = {frames.ip(address) for host, _, _ in SIDES.values() for address in (host.gw4, host.gw6)} | {frames.ip("10.200.0.1")}


def is_error(kind, packet):
    if kind == ETH_IPV4:
        return packet[9] == ICMP and packet[20] in (3, 11, 12)
    return packet[6] == ICMPV6 and packet[40] < 128


def essence(output):
    """Of what the router itself says: what a host acts on. The TTL, TOS, DF, identification and flow label are
    the router's choice, and so is how much an ICMP error quotes (RFC 1812 4.3.2, RFC 4443 2.4)."""
    side, kind, packet = output
    addresses, body = (packet[12:20], packet[20:]) if kind == ETH_IPV4 else (packet[8:40], packet[40:])
    if addresses[:len(addresses) // 2] not in ROUTER:
        return output
    if is_error(kind, packet):
        # Type, code, the MTU or pointer; the quoted header, without what forwarding changes in it before the error
        # is found (TTL, checksum), and the eight octets behind it.
        quoted = body[8:16] + body[17:18] + body[20:36] if kind == ETH_IPV4 else body[8:15] + body[16:56]
        return side, kind, addresses, body[:2] + body[4:8], quoted
    return side, kind, addresses, body


def described(result):
    return [f"{side}: {packet.hex()[:160]}" for side, _, packet in result] or ["nothing"]


def differences_listed():
    """The names of the packets in DIFFERENCES.md: the list items that are code."""
    return set(re.findall(r"^- `([^`]+)`", LIST.read_text(), flags=re.MULTILINE))


_results = {}


def results():
    """name -> (what left the kernel router, what left the station)."""
    if _results:
        return _results
    kernel_router.up(MTU, f"addr add {SUBNET} dev out", *[f"route add {action} {prefix}" for prefix, action in ROUTES])
    the_station()
    kernel, ours = kernel_router.wires()
    outputs(kernel, ours)

    def send(side, kind, packet, **routers):
        kernel_router.send(side, kind, packet, dst=group_mac(kind, packet), **routers)

    listed = differences_listed()
    for name, side, packet in packets():
        kind = kind_of(name, packet)
        send(side, kind, packet, kernel=kernel, ours=ours)
        left = outputs(kernel, ours)
        if len(left[0]) != len(left[1]):
            # One of them may only be late: on a busy machine either may wait for its CPU.
            left = [early + late for early, late in zip(left, outputs(kernel, ours, quiet=0.5), strict=True)]
        if not left[0] and (name in listed or any(is_error(kind, packet) for _, kind, packet in left[1])):
            # The kernel says "no route" to a host only once a second after the first five (ip_rt_error_cost).
            time.sleep(1.2)
            send(side, kind, packet, kernel=kernel)
            left = outputs(kernel)[0], left[1]
        _results[name] = left
    waiting = list(packets_for_nobody())
    for name, side, packet in waiting:
        send(side, kind_of(name, packet), packet, kernel=kernel, ours=ours)
    left = outputs(kernel, ours, quiet=4.0)
    for name, _, packet in waiting:
        # What is said of it has its addresses.
        ends = packet[12:20] if packet[0] >> 4 == 4 else packet[8:40]
        _results[name] = [[output for output in of_router if ends in output[2]] for of_router in left]
    require(sum(len(of_router) for of_router in left) == sum(len(each) for name, _, _ in waiting for each in _results[name]),
            f"something else left: {left}")
    return _results


def test_what_leaves_is_what_the_kernel_would_send():
    listed = differences_listed()
    faults = []
    for name, (kernel, ours) in results().items():
        same = sorted(map(essence, kernel), key=repr) == sorted(map(essence, ours), key=repr)
        if same == (name in listed):
            faults.append(f"{name}{' is listed as different, but is not' if same else ''}\n  kernel  "
                          + "\n          ".join(described(kernel)) + "\n  station "
                          + "\n          ".join(described(ours)))
    require(not faults, f"{len(faults)} of {len(results())} packets:\n" + "\n".join(faults))


def test_every_listed_difference_is_tried():
    expect(differences_listed() - set(results()), set(), "listed packets that are not in the test")


def end():
    kernel_router.down()
