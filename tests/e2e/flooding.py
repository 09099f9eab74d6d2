"""Floods from VIF a at the slow path."""

import contextlib
import struct
import subprocess
import sys
import threading
import time

import frames
import lab
from case import HOSTS
from frames import ETH_ARP, ETH_IPV4, ICMP, TCP, UDP, eth
from sessions import BFD, BGP, OWN4, PEER4, tcp, to_a

FLOOD = 60_000  # frames a second, twenty times what a VIF may punt
A = HOSTS["a"]


def floods():
    """What a tenant might send: each kind as frames that differ."""
    peer_mac = A.mac
    arp = [eth("ff:ff:ff:ff:ff:ff", peer_mac, ETH_ARP, struct.pack("!HHBBH", 1, ETH_IPV4, 6, 4, 1) + frames.mac(peer_mac)
               + frames.ip(PEER4) + b"\0" * 6 + frames.ip(OWN4), A.tags)] * 64
    scan = [frames.datagram(A, "fd10:1::10", f"fd00:c::{n:x}:{n * 7:x}", tags=A.tags) for n in range(1, 2000)]
    scan_own = [frames.datagram(A, "fd10:1::10", f"fd00:a::{n:x}:{n * 7:x}", tags=A.tags) for n in range(1, 2000)]
    expired = [frames.datagram(A, "10.1.0.10", f"10.2.{n}.1", tags=A.tags, ttl=1) for n in range(200)]
    pings = [to_a(ICMP, frames.echo("10.1.0.10", OWN4, b"x" * 100, sequence=n), src="10.1.0.10") for n in range(200)]
    syn = [to_a(TCP, tcp(f"10.1.{n >> 8}.{n & 255}", OWN4, BGP, 1024 + n), src=f"10.1.{n >> 8}.{n & 255}") for n in range(1, 2000)]
    own_syn = [to_a(TCP, tcp(PEER4, OWN4, BGP, 1024 + n)) for n in range(2000)]
    own_bfd = [to_a(UDP, frames.udp(PEER4, OWN4, b"x" * 24, 50000 + n, BFD), ttl=255) for n in range(200)]
    far_bfd = [to_a(UDP, frames.udp(PEER4, OWN4, b"x" * 24, 50000 + n, BFD), ttl=64) for n in range(200)]
    return {"ARP": arp, "a scan of the cloud's /64": scan, "a scan of its own /64": scan_own, "TTL 1": expired, "ICMP": pings,
            "SYN from spoofed sources": syn, "SYN from its own router": own_syn, "BFD from its own router": own_bfd,
            "BFD from afar": far_bfd}


@contextlib.contextmanager
def spray(sets, seconds, port="cust0", pps=FLOOD):
    text = "\n".join(octets.hex() for group in sets for octets in group)
    with lab.inside("st-wire"):
        process = subprocess.Popen([sys.executable, lab.HERE / "spray.py", port, str(seconds), str(pps)],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    process.stdin.write(text)
    process.stdin.close()
    try:
        yield process
    finally:
        if process.poll() is None:
            process.wait(seconds + 20)
        process.stdout.close()


class Stalls:
    """How long this machine leaves a thread waiting that wants to run: nothing that the station can help."""

    def __init__(self):
        self.worst = 0.0
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.watch)

    def watch(self):
        while not self.stop.is_set():
            start = time.monotonic()
            time.sleep(0.002)
            self.worst = max(self.worst, time.monotonic() - start - 0.002)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()
