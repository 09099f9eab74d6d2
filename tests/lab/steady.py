"""Datagrams with sequence numbers at a steady rate, and who got which of them when.

    python3 steady.py send SOURCE TARGET PPS FLOWS      until its standard input ends
    python3 steady.py receive ADDRESS                   likewise

Both print a line for each datagram: its number and the nanoseconds of CLOCK_REALTIME at which it was sent, or
at which the receiving kernel took it.
"""

import select
import socket
import struct
import sys
import time

PORT = 4009
NUMBER = struct.Struct("!Q")
SO_TIMESTAMPNS = 35
BURST = 64  # a sender that had to wait for its CPU does not make up for more than this at once


def made(address):
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    made.setblocking(False)
    return made


def over():
    """Whether the standard input has ended."""
    return bool(select.select([sys.stdin], [], [], 0)[0])


def send(source, target, pps, flows):
    sockets = []
    for flow in range(flows):
        sockets.append(made(source))
        sockets[-1].bind((source, 20000 + flow))
    sent = []
    start = time.monotonic()
    while not over():
        due = int((time.monotonic() - start) * pps)
        if due - len(sent) > BURST:
            start += (due - len(sent) - BURST) / pps
            due = len(sent) + BURST
        while len(sent) < due:
            try:
                sockets[len(sent) % flows].sendto(NUMBER.pack(len(sent)), (target, PORT))
            except OSError:  # the host itself knows no way: lost like any other
                pass
            sent.append(time.time_ns())
        time.sleep(0.0005)
    sys.stdout.write("".join(f"{number} {at}\n" for number, at in enumerate(sent)))


def receive(address):
    sink = made(address)
    sink.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    sink.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
    sink.bind((address, PORT))
    print("ready", flush=True)
    got = []
    while True:
        ready = select.select([sink, sys.stdin], [], [])[0]
        if sink in ready:
            try:
                while True:
                    data, ancillary, _, _ = sink.recvmsg(100, 64)
                    seconds, ns = struct.unpack("qq", ancillary[0][2])
                    got.append((NUMBER.unpack(data)[0], seconds * 1_000_000_000 + ns))
            except BlockingIOError:
                pass
        elif ready:
            break
    sys.stdout.write("".join(f"{number} {at}\n" for number, at in got))


if __name__ == "__main__":
    if sys.argv[1] == "send":
        send(sys.argv[2], sys.argv[3], float(sys.argv[4]), int(sys.argv[5]))
    else:
        receive(sys.argv[2])
