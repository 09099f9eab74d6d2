"""Customers' routers: BIRD in hosts' namespaces, and speakers of BGP that say what a test has them say."""

import contextlib
import dataclasses
import functools
import json
import os
import signal
import socket
import struct
import subprocess
import threading
import time

import lab
import station
from case import HOSTS, require, wait_until
from sessions import BGP, bound

STATION_AS = 64512


# ---- what the station says ----------------------------------------------------------------------

def sessions(vif=None):
    """`show bgp` by VIF and peer."""
    return {(row["vif"], row["peer"]): row for row in station.ctl("show", "bgp", *([vif] if vif else []))}


def established(*names):
    rows = [row for (vif, _), row in sessions().items() if vif in names]
    return bool(rows) and all(row["state"] == "established" for row in rows)


def kernel_routes(table, family):
    """What the kernel's table has: prefix -> {(interface, gateway, weight)}; `unreachable` and the like count too."""
    output = lab.run("ip", f"-{family}", "-n", lab.TAPS_NS, "-j", "route", "show", "table", table, check=False)
    routes = {}
    for row in json.loads(output) if output.startswith("[") else []:
        legs = row.get("nexthops", [row])
        prefix = row["dst"] if "/" in row["dst"] else f"{row['dst']}/{32 if family == 4 else 128}"
        routes.setdefault(prefix, set()).update((leg.get("dev"), leg.get("gateway"), leg.get("weight", 1)) for leg in legs)
    return routes


# ---- BIRD ---------------------------------------------------------------------------------------

@dataclasses.dataclass
class Router:
    """A host's BIRD, with a session for each family that it announces prefixes of."""

    name: str
    asn: int
    announces: dict  # family -> prefixes
    bfd: str = ""  # of BIRD's `interface`
    password: str = ""  # of its sessions
    child: subprocess.Popen = None

    def path(self, suffix):
        return lab.RUN / f"peer-{self.name}.{suffix}"

    def text(self):
        host = HOSTS[self.name]
        text = f"router id {host.addr4};\nprotocol device {{ }}\nprotocol direct {{ ipv4; ipv6; interface \"eth0\"; }}\n"
        if self.bfd:
            text += f'protocol bfd {{ interface "eth0" {{ {self.bfd} }}; }}\n'
        key = f' password "{self.password}";' if self.password else ""
        for family, prefixes in self.announces.items():
            own, peer = (host.peer4, host.gw4) if family == 4 else (host.peer6, host.gw6)
            routes = "".join(f"  route {prefix} unreachable;\n" for prefix in prefixes)
            text += f"""protocol static own{family} {{
  ipv{family};
{routes}}}
protocol bgp station{family} {{
  local {own.split('/')[0]} as {self.asn};
  neighbor {peer} as {STATION_AS};
  connect delay time 1; error wait time 1, 2;{' bfd on;' if self.bfd else ''}{key}
  ipv{family} {{ import all; export where source = RTS_STATIC; }};
}}
"""
        return text

    def __enter__(self):
        self.path("conf").write_text(self.text())
        with lab.inside(HOSTS[self.name].ns), self.path("log").open("ab") as log:
            self.child = subprocess.Popen(
                ["bird", "-f", "-c", self.path("conf"), "-s", self.path("ctl"), "-P", self.path("pid")],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        wait_until(self.path("ctl").exists, 10, f"{self.name}'s BIRD runs")
        return self

    def __exit__(self, *_):
        self.child.kill()
        self.child.wait()
        self.path("ctl").unlink(missing_ok=True)

    def birdc(self, *words):
        return lab.run("birdc", "-s", self.path("ctl"), *words)

    def bfd_states(self):
        """By neighbor, the state of its BFD session and at what second of the day it took it."""
        rows = [line.split() for line in self.birdc("show", "bfd", "sessions").splitlines() if "eth0" in line]
        return {words[0]: (words[2], functools.reduce(lambda sum, part: 60 * sum + float(part), words[3].split(":"), 0)) for words in rows}

    def announce(self, family, prefixes):
        """Announces these prefixes from now on, and no others."""
        self.announces[family] = prefixes
        self.path("conf").write_text(self.text())
        answer = self.birdc("configure")
        # In progress: until the sessions are closed that it starts anew.
        require("Reconfigured" in answer or "Reconfiguration in progress" in answer, answer)


def flapped(before, now):
    """The neighbors whose BFD sessions were lost between two looks at a router. One that is up again begins anew. BIRD
    works the time out from the clocks as they are: in milliseconds it is not the same at each look."""
    return [neighbor for neighbor, (state, since) in before.items()
            if neighbor not in now or now[neighbor][0] != state or abs(now[neighbor][1] - since) > 0.1]


# ---- a speaker ----------------------------------------------------------------------------------

OPEN, UPDATE, NOTIFICATION, KEEPALIVE = 1, 2, 3, 4
ROOM = 4096 - 19 - 120  # of an UPDATE, for prefixes


def packed(prefix):
    """A prefix as BGP writes it."""
    address, length = prefix.split("/")
    octets = socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
    return bytes([int(length)]) + octets[:(int(length) + 7) // 8]


def attribute(kind, value):
    # 0x10: a length of two octets; 0x40: well-known.
    return struct.pack("!BBH", (0x80 if kind in (14, 15) else 0x40) | 0x10, kind, len(value)) + value


class Speaker:
    """A peer of the station's in a host's namespace that announces and withdraws what a test says, comes back
    whenever the session is lost, and then says it all again."""

    def __init__(self, name, asn, six=False):
        host = HOSTS[name]
        self.name, self.asn, self.six = name, asn, six
        self.own = (host.peer6 if six else host.peer4).split("/")[0]
        self.station = host.gw6 if six else host.gw4
        self.says = {}  # prefix -> length of its AS path
        self.lost = 0  # sessions
        self.lock = threading.Lock()  # of what is said, and the saying of it
        self.stream = None
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        with self.lock, contextlib.suppress(OSError):
            if self.stream:
                self.stream.shutdown(socket.SHUT_RDWR)
        self.thread.join()

    def run(self):
        while not self.ended.is_set():
            with contextlib.suppress(OSError, EOFError):
                self.session()
            self.ended.wait(0.5)

    def opened(self):
        """A connection on which the session is established."""
        stream = bound(HOSTS[self.name].ns, socket.SOCK_STREAM, self.own, 0)
        try:
            stream.settimeout(3)
            stream.connect((self.station, BGP))
            stream.settimeout(30)
            afi = struct.pack("!HBB", 2 if self.six else 1, 0, 1)
            # Several families, AS numbers of four octets, and graceful restart: routes outlive the session.
            capabilities = (b"\x01\x04" + afi + b"\x41\x04" + struct.pack("!I", self.asn)
                            + b"\x40\x06" + struct.pack("!H", 60) + afi[:2] + b"\x01\x80")
            self.write(stream, OPEN, struct.pack("!BHH4sBBB", 4, self.asn, 90, socket.inet_aton(HOSTS[self.name].addr4),
                                                 len(capabilities) + 2, 2, len(capabilities)) + capabilities)
            while self.read(stream) != OPEN:
                pass
            self.write(stream, KEEPALIVE)
            while self.read(stream) != KEEPALIVE:
                pass
        except BaseException:
            stream.close()
            raise
        return stream

    def session(self):
        with self.opened() as stream:
            reader = threading.Thread(target=self.listen, args=(stream,))
            try:
                reader.start()
                with self.lock:
                    self.tell(stream, self.says)
                    end = attribute(15, b"\0\x02\x01") if self.six else b""
                    self.write(stream, UPDATE, struct.pack("!HH", 0, len(end)) + end)
                    self.stream = stream
                while reader.is_alive() and not self.ended.is_set():
                    reader.join(5)
                    with self.lock:
                        self.write(stream, KEEPALIVE)
            finally:
                with self.lock:
                    self.stream = None
                    self.lost += not self.ended.is_set()
                with contextlib.suppress(OSError):
                    stream.shutdown(socket.SHUT_RDWR)
                reader.join()

    def listen(self, stream):
        with contextlib.suppress(OSError, EOFError):
            while self.read(stream) != NOTIFICATION:
                pass

    def read(self, stream):
        """The type of the next message."""
        head = self.octets(stream, 19)
        length, kind = struct.unpack("!HB", head[16:])
        self.octets(stream, length - 19)
        return kind

    @staticmethod
    def octets(stream, count):
        got = b""
        while len(got) < count:
            more = stream.recv(count - len(got))
            if not more:
                raise EOFError
            got += more
        return got

    @staticmethod
    def write(stream, kind, body=b""):
        stream.sendall(b"\xff" * 16 + struct.pack("!HB", 19 + len(body), kind) + body)

    def say(self, changes):
        """Announces prefixes (prefix -> length of its AS path) or withdraws them (prefix -> 0)."""
        with self.lock:
            for prefix, path in changes.items():
                if path:
                    self.says[prefix] = path
                else:
                    self.says.pop(prefix, None)
            if self.stream:
                try:
                    self.tell(self.stream, changes)
                except OSError:
                    self.stream = None  # all is said again in the next session

    def tell(self, stream, changes):
        groups = {}
        for prefix, path in changes.items():
            groups.setdefault(path, []).append(packed(prefix))
        for path, prefixes in groups.items():
            at = 0
            while at < len(prefixes):
                block, length = [], 0
                while at < len(prefixes) and length < ROOM - 17:
                    block.append(prefixes[at])
                    length += len(prefixes[at])
                    at += 1
                self.write(stream, UPDATE, self.update(b"".join(block), path))

    def update(self, prefixes, path):
        family = struct.pack("!HB", 2, 1)
        if not path:
            if not self.six:
                return struct.pack("!H", len(prefixes)) + prefixes + b"\0\0"
            attributes, prefixes = attribute(15, family + prefixes), b""
        else:
            attributes = attribute(1, b"\0") + attribute(2, struct.pack(f"!BB{path}I", 2, path, *[self.asn] * path))
            next_hop = socket.inet_pton(socket.AF_INET6 if self.six else socket.AF_INET, self.own)
            if self.six:
                attributes += attribute(14, family + bytes([16]) + next_hop + b"\0" + prefixes)
                prefixes = b""
            else:
                attributes += attribute(3, next_hop)
        return struct.pack("!HH", 0, len(attributes)) + attributes + prefixes


def kill(pid):
    os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + 5
    while time.monotonic() < end:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)
