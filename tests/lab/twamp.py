"""TWAMP-light (RFC 5357 appendix I, unauthenticated): a sender and a reflector that refuse what the RFC does not allow.

All clocks of the lab are one, so that timestamps have an order across hosts, too."""

import contextlib
import select
import socket
import struct
import sys
import threading
import time

import frames
import lab

PORT = 862
# Sequence number, timestamp, error estimate (4.1.2).
REQUEST = struct.Struct("!IQH")
# The same, MBZ; receive timestamp; the sender's three, MBZ; the sender's TTL (4.2.1).
REPLY = struct.Struct("!IQHHQIQHHB")
ERROR_ESTIMATE = 0x8001  # synchronized, and a multiplier that is not 0 (RFC 4656 4.1.2)
EPOCH = 2_208_988_800  # 1970, in the seconds of NTP
IP_RECVTTL, IP_RECVTOS, SO_TIMESTAMPNS = 12, 13, 35
EXPEDITED = 46 << 2  # what requests are marked with
SLACK_NS = 1_000_000  # how far the clocks of a machine's processes may be apart


class Malformed(Exception):
    """What the RFC does not allow."""


def demand(condition, what):
    if not condition:
        raise Malformed(what)


def ntp(ns):
    """CLOCK_REALTIME as a timestamp."""
    seconds, rest = divmod(ns, 1_000_000_000)
    return (seconds + EPOCH) << 32 | (rest << 32) // 1_000_000_000


def nanoseconds(timestamp):
    return ((timestamp >> 32) - EPOCH) * 1_000_000_000 + ((timestamp & 0xFFFF_FFFF) * 1_000_000_000 >> 32)


def in_order(**times):
    """Each of these happened before the next, by nanoseconds."""
    rows = [*times.items()]
    for (name, at), (next_name, next_at) in zip(rows, rows[1:]):
        demand(at <= next_at + SLACK_NS, f"{name} is {at - next_at} ns after {next_name}")


def estimate(value, whose):
    """An error estimate: S, Z, scale, multiplier."""
    demand(not value & 0x4000, f"Z of {whose} error estimate is set: {value:#06x}")
    demand(value & 0xFF, f"the multiplier of {whose} error estimate is 0: {value:#06x}")


def opened(ns, address, port=0):
    """A UDP socket whose packets leave with a TTL of 255 and whose packets come with theirs and with the kernel's time."""
    six = ":" in address
    with lab.inside(ns):
        made = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
    if six:
        level, options = socket.IPPROTO_IPV6, {socket.IPV6_UNICAST_HOPS: 255, socket.IPV6_RECVHOPLIMIT: 1, socket.IPV6_RECVTCLASS: 1}
    else:
        level, options = socket.IPPROTO_IP, {socket.IP_TTL: 255, IP_RECVTTL: 1, IP_RECVTOS: 1}
    for option, value in options.items():
        made.setsockopt(level, option, value)
    made.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    made.bind((address, port))
    return made


def received(made):
    """The next packet: its octets, TTL, traffic class, time and source."""
    octets, ancillary, _, source = made.recvmsg(65536, 256)
    told = {(level, kind): value for level, kind, value in ancillary}
    seconds, ns = struct.unpack("qq", told[socket.SOL_SOCKET, SO_TIMESTAMPNS])
    six = made.family == socket.AF_INET6
    level, kinds = (socket.IPPROTO_IPV6, (socket.IPV6_HOPLIMIT, socket.IPV6_TCLASS)) if six else (socket.IPPROTO_IP, (socket.IP_TTL, socket.IP_TOS))
    ttl, tos = (int.from_bytes(told[level, kind], sys.byteorder) for kind in kinds)
    return octets, ttl, tos, seconds * 1_000_000_000 + ns, source


def reply(request, ttl, arrived_ns, left_ns, number=None):
    """What a reflector answers: as long as the request, with its padding. `number`: its own, if it counts at all."""
    sequence, sent, error = REQUEST.unpack_from(request)
    head = REPLY.pack(sequence if number is None else number, ntp(left_ns), ERROR_ESTIMATE, 0, ntp(arrived_ns), sequence, sent, error, 0, ttl)
    return head + request[REPLY.size:]


class Reflector:
    """Answers at addresses of a host, and numbers its packets itself. What is wrong with a request is in `faults`; `seen` is
    how many were right, by address, and `missing` how many numbers were left out. `hold`: seconds that each answer takes,
    which are no part of the way."""

    def __init__(self, host, *addresses, size=64, hold=0):
        self.host, self.size, self.hold = host, size, hold
        self.faults, self.seen, self.last, self.missing = [], dict.fromkeys(addresses, 0), {}, 0
        self.number = 0xFFFF_FFF0  # it soon begins anew
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.work, daemon=True)

    def __enter__(self):
        self.sockets = {opened(self.host.ns, address, PORT): address for address in self.seen}
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()
        for made in self.sockets:
            made.close()

    def work(self):
        while not self.ended.is_set():
            for made in select.select([*self.sockets], [], [], 0.02)[0]:
                request, ttl, _, at, source = received(made)
                try:
                    self.check(request, ttl, at, self.sockets[made])
                except Malformed as why:
                    self.faults.append(f"from {source} to {self.sockets[made]}: {why}: {request.hex()}")
                    continue
                time.sleep(self.hold)
                self.number = (self.number + 1) & 0xFFFF_FFFF
                with contextlib.suppress(OSError):  # what comes back of an error
                    made.sendto(reply(request, ttl, at, time.time_ns(), self.number), source)

    def check(self, request, ttl, at, address):
        """A sender's packet (4.1.2); the packets to one address are a session."""
        demand(len(request) == self.size, f"{len(request)} octets instead of {self.size}")
        demand(ttl == 255, f"TTL {ttl}")
        sequence, sent, error = REQUEST.unpack_from(request)
        estimate(error, "the sender's")
        before = self.last.get(address)
        demand(before is None or sequence > before[0], f"number {sequence} after {before}")
        in_order(before=before[1] if before else 0, sent=nanoseconds(sent), received=at)
        demand(at - nanoseconds(sent) < 1_000_000_000, f"it was on its way for {at - nanoseconds(sent)} ns")
        self.missing += sequence - before[0] - 1 if before else 0
        self.last[address] = sequence, nanoseconds(sent)
        self.seen[address] += 1


def ask(host, source, target, size, sequence, *, port=0, patience=1.0):
    """Sends a request from an address and a port of the host. Whether it is answered; the answer is right, or Malformed is
    raised."""
    with opened(host.ns, source, port) as made:
        made.connect((target, PORT))
        made.setsockopt(*((socket.IPPROTO_IPV6, socket.IPV6_TCLASS) if ":" in target else (socket.IPPROTO_IP, socket.IP_TOS)), EXPEDITED)
        made.settimeout(patience)
        sent = time.time_ns()
        request = REQUEST.pack(sequence, ntp(sent), ERROR_ESTIMATE).ljust(size, b"\xa5")[:size]
        made.send(request)
        try:
            answer, ttl, tos, at, _ = received(made)
        except TimeoutError:
            return False
    check_reply(answer, request, ttl, sent, at)
    demand(tos == EXPEDITED, f"the answer's traffic class is {tos:#x}")
    return True


def check_reply(answer, request, ttl, sent, at):
    """A stateless reflector's packet (4.2.1, appendix I)."""
    demand(len(answer) == max(len(request), REPLY.size), f"{len(answer)} octets to {len(request)}")
    number, left, error, mbz, arrived, sequence, stamp, echoed, mbz2, heard = REPLY.unpack_from(answer)
    demand((mbz, mbz2) == (0, 0), f"MBZ: {mbz:#x}, {mbz2:#x}")
    estimate(error, "the reflector's")
    wanted = REQUEST.unpack_from(request)
    demand((sequence, stamp, echoed) == wanted, f"the sender's number, timestamp and error estimate: {(sequence, stamp, echoed)} of {wanted}")
    demand(number == sequence, f"number {number}, and the sender's is {sequence}")
    demand((ttl, heard) == (255, 255), f"TTL of the answer, and of the request as the reflector saw it: {ttl}, {heard}")
    in_order(sent=sent, arrived=nanoseconds(arrived), left=nanoseconds(left), received=at)
    demand(answer[REPLY.size:] == request[REPLY.size:], "the padding is another")


def dissected(captured):
    """Of captured frames, by tshark: the rows in which it finds faults, and how many it takes for TWAMP."""
    file = lab.RUN / "twamp.pcap"
    file.write_bytes(frames.pcap(captured))
    fields = ["frame.number", "twamp.test.seq_number", "twamp.test.error_estimate.multiplier", "_ws.malformed", "_ws.expert"]
    words = ["tshark", "-n", "-r", file, "-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-d", f"udp.port=={PORT},twamp.test"]
    output = lab.run(*words, "-T", "fields", *[word for name in fields for word in ("-e", name)])
    # As root it says so, in other lines.
    rows = [row for line in output.splitlines() if (row := line.split("\t"))[0].isdigit()]
    # By its ports alone it takes some for traceroute's, which is but chat.
    faulty = lambda row: not row[1] or row[2] in ("", "0") or row[3] or any(level in row[4] for level in ("(Note", "(Warn", "(Error"))
    return [row for row in rows if faulty(row)], len(rows)
