"""Frames made and read by hand, octet for octet, and raw sockets inside the lab's namespaces.

Lengths and checksums are right unless a caller says otherwise: bad input is made by overriding them.
"""

import ipaddress
import socket
import struct
import time

import lab

ETH_IPV4, ETH_ARP, ETH_IPV6, ETH_VLAN, ETH_SERVICE = 0x0800, 0x0806, 0x86DD, 0x8100, 0x88A8
ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
DISCARD = 9  # the port that probes and floods are sent to

SOL_PACKET, PACKET_ADD_MEMBERSHIP, PACKET_AUXDATA, PACKET_IGNORE_OUTGOING = 263, 1, 8, 23
PACKET_MR_PROMISC, TP_STATUS_VLAN_VALID, TP_STATUS_VLAN_TPID_VALID = 1, 0x10, 0x40


def mac(text):
    return bytes.fromhex(text.replace(":", ""))


def ip(text):
    return ipaddress.ip_address(text).packed


def checksum(data):
    """RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def eth(dst, src, ethertype, payload, tags=()):
    """`tags`: (VID or whole TCI) or (TPID, TCI) each, outermost first."""
    head = mac(dst) + mac(src)
    for tag in tags:
        tpid, tci = tag if isinstance(tag, tuple) else (ETH_VLAN, tag)
        head += struct.pack("!HH", tpid, tci)
    return head + struct.pack("!H", ethertype) + payload


def ipv4(src, dst, protocol, payload=b"", *, ttl=64, tos=0, ident=0, df=False, mf=False, offset=0, options=b"",
         version=4, ihl=None, total=None, check=None):
    """`offset` in units of 8 octets; `options` padded by the caller to a multiple of 4."""
    ihl = 5 + len(options) // 4 if ihl is None else ihl
    total = 20 + len(options) + len(payload) if total is None else total
    flags = (0x4000 if df else 0) | (0x2000 if mf else 0) | offset
    head = struct.pack("!BBHHHBBH", version << 4 | ihl, tos, total, ident, flags, ttl, protocol, 0) + ip(src) + ip(dst)
    head += options
    value = checksum(head) if check is None else check
    return head[:10] + struct.pack("!H", value) + head[12:] + payload


def ipv6(src, dst, protocol, payload=b"", *, hops=64, tos=0, flow=0, version=6, length=None):
    length = len(payload) if length is None else length
    return struct.pack("!IHBB", version << 28 | tos << 20 | flow, length, protocol, hops) + ip(src) + ip(dst) + payload


def pseudo(src, dst, protocol, length):
    src, dst = ip(src), ip(dst)
    if len(src) == 4:
        return src + dst + struct.pack("!BBH", 0, protocol, length)
    return src + dst + struct.pack("!II", length, protocol)


def udp(src, dst, payload=b"", sport=4000, dport=DISCARD):
    length = 8 + len(payload)
    body = struct.pack("!HHHH", sport, dport, length, 0) + payload
    value = checksum(pseudo(src, dst, UDP, length) + body) or 0xFFFF
    return body[:6] + struct.pack("!H", value) + payload


def echo(src, dst, payload=b"", ident=1, sequence=1):
    """An echo request of the family of its addresses."""
    six = ":" in src
    body = struct.pack("!BBHHH", 128 if six else 8, 0, 0, ident, sequence) + payload
    value = checksum((pseudo(src, dst, ICMPV6, len(body)) if six else b"") + body)
    return body[:2] + struct.pack("!H", value) + body[4:]


def packet(src, dst, protocol, payload, **fields):
    """An IP packet of the family of its addresses."""
    if ":" in src:
        return ipv6(src, dst, protocol, payload, **fields)
    return ipv4(src, dst, protocol, payload, **fields)


def ethertype(src):
    return ETH_IPV6 if ":" in src else ETH_IPV4


def datagram(host, src, dst, *, size=60, tags=(), **fields):
    """A marked datagram from a host to its station, `size` octets long without tags that tag.bpf.c adds."""
    header = 14 + 4 * len(tags) + (40 if ":" in src else 20) + len(fields.get("options", b"")) + 8
    payload = (lab.MARK + bytes([host.index])).ljust(max(size - header, 0), b"\0")
    body = packet(src, dst, UDP, udp(src, dst, payload), **fields)
    return eth(host.port_mac, host.mac, ethertype(src), body, tags)


class Raw:
    """A raw socket on an interface in a namespace: sends whole frames, and collects what comes in."""

    def __init__(self, ns, interface="eth0", promiscuous=False):
        with lab.inside(ns):
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            index = socket.if_nametoindex(interface)
        self.socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self.socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
        if promiscuous:
            request = struct.pack("iHH8s", index, PACKET_MR_PROMISC, 0, b"")
            self.socket.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, request)
        self.socket.bind((interface, 3))  # ETH_P_ALL
        self.socket.setblocking(False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, frame, count=1):
        for _ in range(count):
            while True:
                try:
                    self.socket.send(frame)
                    break
                except (BlockingIOError, OSError) as error:
                    if not isinstance(error, BlockingIOError) and error.errno != 105:  # ENOBUFS: the queue is full
                        raise
                    time.sleep(0.001)

    def received(self, quiet=0.2, limit=5.0):
        """The frames so far, tags included, once none came for `quiet` seconds."""
        return collect([self], quiet, limit)[0]

    def take(self):
        """The next frame that is here already, or None."""
        try:
            data, ancillary, _, _ = self.socket.recvmsg(65536, 64)
        except BlockingIOError:
            return None
        return with_tag(data, ancillary)


def collect(sockets, quiet=0.2, limit=5.0):
    """The frames of several sockets, once none came on any for `quiet` seconds."""
    frames = [[] for _ in sockets]
    last = time.monotonic()
    end = last + limit
    while time.monotonic() - last < quiet and time.monotonic() < end:
        idle = True
        for raw, into in zip(sockets, frames, strict=True):
            while (frame := raw.take()) is not None:
                into.append(frame)
                idle = False
        if idle:
            time.sleep(0.002)
        else:
            last = time.monotonic()
    return frames


def with_tag(data, ancillary):
    """Puts back the outer tag, which the kernel hands over beside the frame."""
    for level, kind, value in ancillary:
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
            status, _, _, _, _, tci, tpid = struct.unpack("=IIIHHHH", value[:20])
            if status & TP_STATUS_VLAN_VALID:
                tpid = tpid if status & TP_STATUS_VLAN_TPID_VALID else ETH_VLAN
                return data[:12] + struct.pack("!HH", tpid, tci) + data[12:]
    return data


def l3(frame):
    """(ethertype, what follows) of a frame, without its tags."""
    at = 12
    kind = int.from_bytes(frame[at:at + 2], "big")
    while kind in (ETH_VLAN, ETH_SERVICE):
        at += 4
        kind = int.from_bytes(frame[at:at + 2], "big")
    return kind, frame[at + 2:]


def pcap(captured):
    """A capture of these frames, one a second, as its file has it (tcpdump's format, microseconds, Ethernet)."""
    head = struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    return head + b"".join(struct.pack("=IIII", at, 0, len(octets), len(octets)) + octets for at, octets in enumerate(captured))
