"""Traffic between hosts: real clients and servers, marked probes, floods."""

import contextlib
import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
import time

import bpf
import frames
import lab


def address(host, family):
    """The address that a host's traffic comes from."""
    return host.addr6 if family == 6 else host.addr4


def own_address(host, family):
    """One that no other host has."""
    return (host.lan6 if family == 6 else host.lan4)[-1]


ECHO_REQUEST, ECHO_REPLY = {4: 8, 6: 128}, {4: 0, 6: 129}
MTU_DISCOVER = {4: (socket.IPPROTO_IP, 10), 6: (socket.IPPROTO_IPV6, 23)}  # IP_MTU_DISCOVER, IPV6_MTU_DISCOVER


def ping(source, target, *, count=3, interval=0.05, size=56, wait=1, df=False):
    """How many of `count` echo requests were answered; `target` is an address, `wait` the seconds after the last.

    Not by ping(8): once it has a reply it waits for the others no longer than the interval, or twice the longest
    round trip, so that a reply that a busy machine held up for 50 ms counts as lost.
    """
    family = 6 if ":" in target else 4
    with lab.inside(source.ns):
        kind, protocol = (socket.AF_INET6, socket.IPPROTO_ICMPV6) if family == 6 else (socket.AF_INET, socket.IPPROTO_ICMP)
        raw = socket.socket(kind, socket.SOCK_RAW, protocol)
        to = socket.getaddrinfo(target, None, kind)[0][4]
    ident = os.urandom(2)
    missing = set(range(count))
    with raw:
        if df:
            raw.setsockopt(*MTU_DISCOVER[family], 2)  # IP_PMTUDISC_DO
        start = time.monotonic()
        for number in range(count):
            body = bytes([ECHO_REQUEST[family], 0, 0, 0]) + ident + number.to_bytes(2, "big") + bytes(size)
            if family == 4:  # the kernel does it for ICMPv6
                body = body[:2] + frames.checksum(body).to_bytes(2, "big") + body[4:]
            with contextlib.suppress(OSError):  # too long, or no way: not answered
                raw.sendto(body, to)
            _replies(raw, family, ident, missing, start + (number + 1) * interval if number + 1 < count else time.monotonic() + wait)
    return count - len(missing)


def _replies(raw, family, ident, missing, until):
    """Takes replies until a time, or until none is missing after the last request."""
    while missing and (left := until - time.monotonic()) > 0:
        raw.settimeout(left)
        try:
            data = raw.recv(65536)
        except TimeoutError:
            return
        except OSError:
            continue
        message = data if family == 6 else data[(data[0] & 15) * 4:]
        if message[0] == ECHO_REPLY[family] and message[4:6] == ident:
            missing.discard(int.from_bytes(message[6:8], "big"))


def traceroute(source, target):
    """The addresses on the way, `*` where nobody answered."""
    output = lab.run("traceroute", "-n", "-q", "1", "-w", "1", "-m", "5", target, ns=source.ns, check=False)
    return [line.split()[1] for line in output.splitlines()[1:] if line.split()]


def iperf(client, server, target, *, seconds=2, reverse=False, flows=1, omit=0):
    """TCP throughput in Mbit/s as the receiver saw it, behind the first `omit` seconds, or None where the connection failed."""
    with lab.inside(server.ns):
        daemon = subprocess.Popen(["iperf3", "-s", "-1", "-B", target], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)
    try:
        wait_listening(server.ns, 5201)
        command = ["iperf3", "-c", target, "-t", str(seconds), "-J", "--connect-timeout", "3000", "-P", flows, "-O", omit]
        output = lab.run(*command, *(["-R"] if reverse else []), ns=client.ns, check=False, timeout=seconds + omit + 20)
        result = json.loads(output)
        return None if "error" in result else result["end"]["sum_received"]["bits_per_second"] / 1e6
    except (json.JSONDecodeError, subprocess.TimeoutExpired, KeyError):
        return None
    finally:
        daemon.kill()
        daemon.wait()


def wait_listening(ns, port, limit=3.0):
    end = time.monotonic() + limit
    while time.monotonic() < end:
        if lab.run("ss", "-Hltn", f"sport = :{port}", ns=ns).strip():
            return
        time.sleep(0.02)
    raise RuntimeError(f"nothing listens on port {port} in {ns}")


def transfer(sender, receiver, target, *, at=None, octets=100_000_000, limit=120, patience=10):
    """Sends random octets by TCP; (whether the receiver's checksum is the sender's, Mbit/s). `at`: the receiver's own
    address, where the sender has another for it; `patience`: seconds to connect."""
    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    with lab.inside(receiver.ns):
        listener = socket.create_server((at or target, 0), family=family)
    port = listener.getsockname()[1]
    listener.settimeout(patience)
    got = hashlib.sha256()
    length = 0

    def receive():
        nonlocal length
        connection, _ = listener.accept()
        connection.settimeout(limit)
        with connection:
            while chunk := connection.recv(1 << 20):
                got.update(chunk)
                length += len(chunk)

    thread = threading.Thread(target=ignore_errors(receive))
    thread.start()
    sent = hashlib.sha256()
    block = os.urandom(1 << 20)
    start = time.monotonic()
    try:
        with lab.inside(sender.ns):
            stream = socket.create_connection((target, port), timeout=patience)
        with stream:
            stream.settimeout(limit)
            left, serial = octets, 0
            while left:
                # No two blocks are alike: one in the wrong place changes the checksum.
                chunk = (serial.to_bytes(8, "big") + block[8:])[:left]
                sent.update(chunk)
                stream.sendall(chunk)
                left -= len(chunk)
                serial += 1
    except OSError:
        pass
    thread.join(limit)
    listener.close()
    seconds = time.monotonic() - start
    intact = length == octets and got.digest() == sent.digest()
    return intact, length * 8 / seconds / 1e6


def conversation(source, target, to, *, at, own):
    """Sends a datagram from the source's address `own` to the address `to`, which is `at` for the target itself, and an
    answer back, and then one to a port that is closed, of which the source has to be told. The source that the target sees.
    """
    family = socket.AF_INET6 if ":" in to else socket.AF_INET
    with lab.inside(target.ns):
        sink = socket.socket(family, socket.SOCK_DGRAM)
    with lab.inside(source.ns):
        sender = socket.socket(family, socket.SOCK_DGRAM)
    with sink, sender:
        sink.bind((at, 0))
        sender.bind((own, 0))
        sender.connect((to, sink.getsockname()[1]))
        sink.settimeout(5)
        sender.settimeout(5)
        sender.send(b"question")
        _, peer = sink.recvfrom(100)
        sink.sendto(b"answer", peer)
        if (answer := sender.recv(100)) != b"answer":
            raise AssertionError(f"{to} answered {own} by {answer!r}")
        sink.close()
        sender.send(b"nobody is there any more")
        try:
            answer = sender.recv(100)
        except ConnectionRefusedError:
            return peer[0]
        raise AssertionError(f"{to} answered {own} by {answer!r} from a closed port")


def ignore_errors(function):
    def wrapped():
        try:
            function()
        except OSError:
            pass
    return wrapped


@contextlib.contextmanager
def tcpdump(port, *words):
    """A tcpdump of what the station sends by a port; `words`: options and the filter."""
    with lab.inside("st-wire"):
        process = subprocess.Popen(["tcpdump", "-i", port, "-Q", "in", "-nn", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        while "listening on" not in (line := process.stderr.readline()):
            if not line:
                raise RuntimeError(f"tcpdump does not listen on {port}")
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=10)


@contextlib.contextmanager
def captured(ns, interface, file, *expression):
    """Has tcpdump write what an interface has into a file, which is whole once this ends."""
    words = ["tcpdump", "-i", interface, "--immediate-mode", "-U", "-w", file, "-Z", "root", *expression]
    with lab.inside(ns):
        process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    try:
        while "listening on" not in (line := process.stderr.readline()):
            if not line:
                raise RuntimeError(f"tcpdump does not listen on {interface}")
        yield file
        time.sleep(0.3)
    finally:
        process.terminate()
        process.communicate(timeout=10)


# ---- marked probes ------------------------------------------------------------------------------

def all_addresses(host):
    return [*host.lan, host.peer4.split("/")[0], host.peer6.split("/")[0]]


def same_family(x, y):
    return (":" in x) == (":" in y)


def probes(source, target, spoof=True):
    """Frames by which a host might reach another: to each of its addresses, from its own address
    and, `spoof`, from each address that the target itself has."""
    result = []
    for destination in all_addresses(target):
        own = source.addr6 if ":" in destination else source.addr4
        senders = [own]
        if spoof:
            senders += [a for a in all_addresses(target) if same_family(a, destination) and a != destination]
        result += [frames.datagram(source, sender, destination) for sender in dict.fromkeys(senders)
                   if sender != destination]
    return result


def flood(host, frame, *how, port=None):
    """Runs the flood generator behind the host's port with a whole frame; what it says it sent."""
    output = lab.run(lab.RUN / "flood", port or host.port, frame.hex(), *how, ns="st-wire", timeout=120)
    return json.loads(output)


class Sink:
    """Counts the flood's frames as they leave a port, instead of letting the switch have them."""

    def __init__(self, port):
        self.port = port
        self.pins = lab.PINS / f"sink-{port}"

    def __enter__(self):
        lab.load_bpf(self.pins.name, "st-wire", self.port, obj="sink", sink="ingress")
        return self

    def __exit__(self, *_):
        lab.run("tc", "qdisc", "del", "dev", self.port, "clsact", ns="st-wire")
        lab.run("rm", "-r", self.pins)

    @property
    def frames(self):
        return int.from_bytes(bpf.read(self.pins / "counts", 8), sys.byteorder)
