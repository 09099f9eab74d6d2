"""Sends frames, one line of hex each from standard input, over and over by a raw socket.

    python3 spray.py INTERFACE SECONDS PPS      prints how many frames it sent
"""

import itertools
import socket
import sys
import time


def main():
    interface, seconds, pps = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
    frames = [bytes.fromhex(line) for line in sys.stdin.read().split()]
    sent = 0
    batch = max(1, min(32, int(pps / 500)))  # a slow rate is an even one
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as raw:
        raw.bind((interface, 0))
        start = time.monotonic()
        for frame in itertools.cycle(frames):
            if sent % batch == 0:
                now = time.monotonic() - start
                if now > seconds:
                    break
                time.sleep(max(0.0, sent / pps - now))
            raw.send(frame)
            sent += 1
    print(sent)


if __name__ == "__main__":
    main()
