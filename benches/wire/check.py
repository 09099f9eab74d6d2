"""Checks the generator and the receiver: a router that loses, doubles and delays known frames is reported exactly.

    sudo python3 benches/wire/check.py        (scripts/test runs it)
"""

import ctypes
import os
import random
import select
import socket
import sys
import threading

import wires

RATE, SECONDS = 4000, 2
FURTHEST = 300  # frames that a late one waits for at most
MAGIC = 0x57495245 .to_bytes(4, sys.byteorder)
MARK = 14 + 20 + 8  # offset of the mark in an untagged frame


def packet_socket(ns, interface):
    """A socket for raw frames, on an interface of another namespace. (os.setns came with Python 3.12.)"""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net", "rb") as back, open(f"/run/netns/{ns}", "rb") as there:
        if libc.setns(there.fileno(), 0x40000000):
            raise OSError(ctypes.get_errno(), f"setns {ns}")
        try:
            found = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            found.bind((interface, 3))
            return found
        finally:
            if libc.setns(back.fileno(), 0x40000000):
                os._exit(1)


class Router(threading.Thread):
    """Forwards from p0 to p1 with faults, and remembers what it received and what it sent, by number."""

    def __init__(self, links, seed):
        super().__init__(daemon=True)
        self.random, self.received, self.sent, self.ended = random.Random(seed), [], [], threading.Event()
        self.late = []  # (frames still to pass before it, frame, its number)
        self.p0, self.p1 = packet_socket(links.dut, "p0"), packet_socket(links.dut, "p1")
        self.p0.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)  # SO_RCVBUFFORCE

    def send(self, frame, sequence):
        self.p1.send(frame)
        self.sent.append(sequence)

    def release(self, passed):
        """`passed` more frames have gone by: those that waited for them leave."""
        self.late = [(wait - passed, frame, sequence) for wait, frame, sequence in self.late]
        for wait, frame, sequence in self.late:
            if wait <= 0:
                self.send(frame, sequence)
        self.late = [entry for entry in self.late if entry[0] > 0]

    def run(self):
        while not self.ended.is_set():
            if not select.select([self.p0], [], [], 0.3)[0]:
                self.release(FURTHEST)
                continue
            frame = self.p0.recv(2048)
            if frame[MARK:MARK + 4] != MAGIC:
                continue
            sequence = int.from_bytes(frame[MARK + 8:MARK + 12], sys.byteorder)
            self.received.append(sequence)
            fault = self.random.random()
            if fault < 0.02:
                pass  # lost
            elif fault < 0.04:
                self.late.append((self.random.randint(2, FURTHEST), frame, sequence))
            elif fault < 0.05:  # doubled, much later
                self.send(frame, sequence)
                self.late.append((self.random.randint(2, FURTHEST), frame, sequence))
            else:
                for _ in range(2 if fault < 0.07 else 1):
                    self.send(frame, sequence)
            self.release(1)


def expected(sent_by_generator, arrived):
    """What must be reported: counted one by one."""
    seen, highest = set(), -1
    result = {"received": 0, "duplicated": 0, "reordered": 0, "furthest": 0, "stale": 0}
    for sequence in arrived:
        if sequence in seen:
            result["duplicated"] += 1
            continue
        seen.add(sequence)
        result["received"] += 1
        if sequence < highest:
            result["reordered"] += 1
            result["furthest"] = max(result["furthest"], highest - sequence)
        highest = max(highest, sequence)
    result["lost"] = sent_by_generator - len(seen)
    return result


def main():
    if os.geteuid():
        sys.exit("check.py: needs root, for network namespaces and BPF")
    for size in ["64", "imix"]:
        with wires.Wires("check") as links:
            router = Router(links, seed=size)
            router.start()
            result = links.trial(size, False, RATE, SECONDS, settle_ms=1500)
            router.ended.set()
            router.join()
            want = expected(result["sent"], router.sent)
            if sorted(router.received) != list(range(result["sent"])):
                sys.exit(f"{size}: the router received {len(router.received)} frames of {result['sent']}")
            wrong = {name: (value, result[name]) for name, value in want.items() if result[name] != value}
            if wrong:
                sys.exit(f"{size}: (expected, reported): {wrong}")
            if not all(want[name] for name in ["lost", "duplicated", "reordered"]):
                sys.exit(f"{size}: the router made no faults: {want}")
            print(f"{size}: {result['sent']} frames, reported exactly: {want}")


main()
