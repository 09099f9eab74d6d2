"""The wires of hosts: what of probes passes them, with delay and loss, and hosts that do not listen."""

import collections
import contextlib
import dataclasses
import heapq
import ipaddress
import select
import struct
import threading
import time

import frames
import lab
from frames import ETH_IPV4, ETH_IPV6, ICMP, ICMPV6, TCP, UDP, Raw

SYN, RST, SYN_ACK, RST_ACK = 0x02, 0x04, 0x12, 0x14


@dataclasses.dataclass(frozen=True)
class Packet:
    """An IP packet: its addresses, its TTL, and what is behind its header."""

    source: str
    target: str
    hops: int
    protocol: int
    upper: bytes

    @staticmethod
    def of(frame):
        """Of a frame; None where it is another."""
        kind, octets = frames.l3(frame)
        if kind == ETH_IPV4:
            ends, hops, protocol = octets[12:20], octets[8], octets[9]
            upper = octets[(octets[0] & 15) * 4:int.from_bytes(octets[2:4], "big")]
        elif kind == ETH_IPV6:
            ends, hops, protocol = octets[8:40], octets[7], octets[6]
            upper = octets[40:40 + int.from_bytes(octets[4:6], "big")]
        else:
            return None
        half = len(ends) // 2
        return Packet(*[str(ipaddress.ip_address(end)) for end in (ends[:half], ends[half:])], hops, protocol, upper)

    def octets(self):
        return frames.packet(self.source, self.target, self.protocol, self.upper)

    @property
    def ports(self):
        return struct.unpack_from("!HH", self.upper)

    @property
    def flags(self):
        """TCP's: FIN, SYN, RST, ACK."""
        return self.upper[13] & 0x17 if self.protocol == TCP else None

    def about(self, asks):
        """Kind, port and address of what it asks, or of what it answers; None where it does not."""
        address = self.target if asks else self.source
        if self.protocol in (ICMP, ICMPV6):
            return ("icmp", None, address) if self.upper[0] in ((8, 128) if asks else (0, 129)) else None
        if self.protocol == UDP or self.flags in ((SYN,) if asks else (SYN_ACK, RST_ACK)):
            return "twamp" if self.protocol == UDP else "tcp", self.ports[asks], address
        return None

    def checksum(self):
        """Offset of its checksum behind the IP header, and what it has to be."""
        at = {TCP: 16, UDP: 6}.get(self.protocol, 2)
        covered = b"" if self.protocol == ICMP else frames.pseudo(self.source, self.target, self.protocol, len(self.upper))
        value = frames.checksum(covered + self.upper[:at] + bytes(2) + self.upper[at + 2:])
        return at, value or (0xFFFF if self.protocol == UDP else 0)

    def sealed(self):
        """It, with the right checksum."""
        at, value = self.checksum()
        return dataclasses.replace(self, upper=self.upper[:at] + struct.pack("!H", value) + self.upper[at + 2:])

    def moved(self, at, size, by):
        """It, with a field changed by so much."""
        value = (int.from_bytes(self.upper[at:at + size], "big") + by) % (1 << 8 * size)
        return dataclasses.replace(self, upper=self.upper[:at] + value.to_bytes(size, "big") + self.upper[at + size:])


class Watch:
    """What the station asks of a host, and what the host answers: all that its wire has of it."""

    def __init__(self, host):
        self.own = (host.gw4, host.gw6)
        self.come, self.go = Raw(host.ns), Raw("st-wire", f"h-{host.name}")
        self.packets, self.tested = [], []  # all, and the frames with TWAMP
        self.asked, self.answered = collections.Counter(), collections.Counter()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.come.socket.close()
        self.go.socket.close()

    def look(self):
        """Takes in what has come since; how many questions and answers there were, by kind, port and target."""
        for raw, counts, asks in ((self.come, self.asked, True), (self.go, self.answered, False)):
            while (frame := raw.take()) is not None:
                packet = Packet.of(frame)
                if packet and (packet.source if asks else packet.target) in self.own:
                    self.packets.append(packet)
                    counts.update([key] if (key := packet.about(asks)) else [])
                    self.tested += [frame] if packet.protocol == UDP else []
        return {key: (count, self.answered[key]) for key, count in self.asked.items()}


class Line:
    """The wire of a host to the station, with delay and loss, as tc's netem has it, which not every kernel has. What
    comes to the host passes as ever. `delay` is in seconds, `loses` says whether a packet is lost."""

    def __init__(self, host):
        self.host, self.table = host, f"line_{host.index}"
        self.delay, self.loses = lambda: 0, lambda packet: False
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.work, daemon=True)

    def __enter__(self):
        self.come, self.go = Raw("st-wire", f"h-{self.host.name}"), Raw("st-wire", self.host.port)
        # What the bridge would forward; a packet socket has it before.
        lab.run("nft", f"table netdev {self.table} {{ chain taken {{ type filter hook ingress device h-{self.host.name} "
                       f"priority 0; policy drop; }}; }}", ns="st-wire")
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()
        lab.run("nft", "delete", "table", "netdev", self.table, ns="st-wire")

    def work(self):
        held, number = [], 0
        while not self.ended.is_set():
            wait = min(held[0][0] - time.monotonic(), 0.02) if held else 0.02
            select.select([self.come.socket], [], [], max(wait, 0))
            while (frame := self.come.take()) is not None:
                packet, number = Packet.of(frame), number + 1
                if not packet or not self.loses(packet):
                    heapq.heappush(held, (time.monotonic() + self.delay(), number, frame))
            while held and held[0][0] <= time.monotonic():
                self.pass_on(heapq.heappop(held)[2])

    def pass_on(self, frame):
        try:
            self.go.send(frame)
        except OSError:  # the port is down, or has been since the last frame
            with contextlib.suppress(OSError):
                self.go.send(frame)


@contextlib.contextmanager
def silent(host, *addresses):
    """A host takes no packet to some of its addresses; its link and its neighbor stay."""
    rules = " ".join(f"{'ip6' if ':' in address else 'ip'} daddr {address} drop;" for address in addresses)
    lab.run("nft", f"table inet silent {{ chain taken {{ type filter hook input priority 0; {rules} }}; }}", ns=host.ns)
    try:
        yield
    finally:
        lab.run("nft", "delete", "table", "inet", "silent", ns=host.ns)
