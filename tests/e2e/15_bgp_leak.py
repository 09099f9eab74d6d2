"""Tenants with the same addresses and the same AS on both sides, through the station's TAPs: what one announces
is nowhere in another's VRF, also where only one of them is there."""

import contextlib
import fcntl
import os
import select
import struct
import subprocess
import threading
import time

import case
import frames
import lab
import peers
import sessions
import station
from case import HOSTS, expect, require, wait_until

FAMILIES = (4, 6)
SAME = {4: ["10.1.0.0/16", "10.9.9.0/24"], 6: ["fd10:1::/48", "fd10:9::/48"]}
VRFS = {"a": ("vpc-a", 10_000), "b": ("vpc-b", 10_002)}
MANY = 200
FIRST_VLAN = 1000


def begin():
    head, *vifs = case.bgp_config().split("[[vif]]\n")
    passive = [vif.replace("local_as = 64512", "local_as = 64512\npassive = true") if vif.split('"')[1] in VRFS else vif
               for vif in vifs]
    case.fresh("[[vif]]\n".join([head, *passive]))
    wait_until(lambda: len(peers.sessions()) == 20, 10, "BIRD has the sessions")


def end():
    station.stop()


def learned(vrf):
    """The FIB's routes by BGP."""
    return {row["prefix"]: {(member["vif"], member["next_hop"]) for member in row["via"]}
            for row in station.ctl("show", "routes", "--vrf", vrf) if row["origin"] == "bgp"}


def only_one(there, absent):
    """Only `there` has a router: `absent`, its equal, notices nothing."""
    with peers.Router(there, 65001, dict(SAME)):
        wait_until(lambda: peers.established(there), 20, f"{there}'s sessions")
        vrf, table = VRFS[there]
        wait_until(lambda: len(learned(vrf)) == 4, 5, f"{there}'s routes")
        end = time.monotonic() + 3
        while time.monotonic() < end:
            rows = {row["state"] for (vif, _), row in peers.sessions().items() if vif == absent}
            require("established" not in rows and rows, f"{absent}'s sessions are {rows}")
            require(all(row["accepted"] == 0 for row in station.ctl("show", "bgp", absent)), "prefixes were accepted")
            time.sleep(0.1)
        expect(set(learned(vrf)), {*SAME[4], *SAME[6]}, f"{there}'s routes")
        vrf, table = VRFS[absent]
        expect(learned(vrf), {}, f"routes in {absent}'s FIB")
        for family in FAMILIES:
            for number in (table, table + 1):
                expect(peers.kernel_routes(number, family), {}, f"{absent}'s kernel table {number}")
        expect(station.ctl("show", "bgp", absent, "routes", "received"), [], f"what {absent} sent")
    wait_until(lambda: not peers.established(there), 15, f"{there}'s sessions end")


def test_only_b_is_there():
    only_one("b", "a")


def test_only_a_is_there():
    only_one("a", "b")


def test_both_are_there():
    own = {"a": {4: ["10.1.0.0/16", "10.11.0.0/16"], 6: ["fd10:1::/48", "fd10:11::/48"]},
           "b": {4: ["10.1.0.0/16", "10.12.0.0/16"], 6: ["fd10:1::/48", "fd10:12::/48"]}}
    with peers.Router("a", 65001, own["a"]), peers.Router("b", 65001, own["b"]):
        wait_until(lambda: peers.established("a") and peers.established("b"), 30, "both sessions")
        for name, (vrf, _) in VRFS.items():
            wait_until(lambda vrf=vrf: len(learned(vrf)) == 4, 5, f"{name}'s routes")
            wanted = {prefix: {(name, HOSTS[name].peer4.split("/")[0] if family == 4 else HOSTS[name].peer6.split("/")[0])}
                      for family in FAMILIES for prefix in own[name][family]}
            expect(learned(vrf), wanted, f"{name}'s routes")


# ---- many -----------------------------------------------------------------------------------------

class Trunk:
    """A router's interfaces, TAPs in a namespace of its own, each behind a VLAN of a port of the station's."""

    TUNSETIFF, IFF_TAP, IFF_NO_PI, SIOCSIFFLAGS = 0x400454CA, 2, 0x1000, 0x8914

    def __init__(self, ns, port, vlans):
        self.ns, self.port = ns, port
        self.wire = frames.Raw("st-wire", port, promiscuous=True)
        self.taps, self.vlan_of = {}, {}
        with lab.inside(ns):
            for vlan in vlans:
                tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
                fcntl.ioctl(tap, self.TUNSETIFF, struct.pack("16sH22x", f"r{vlan}".encode(), self.IFF_TAP | self.IFF_NO_PI))
                self.taps[vlan], self.vlan_of[tap] = tap, vlan
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        poll = select.epoll()
        poll.register(self.wire.socket, select.EPOLLIN)
        for tap in self.taps.values():
            poll.register(tap, select.EPOLLIN)
        while not self.ended.is_set():
            for fd, _ in poll.poll(0.2):
                with contextlib.suppress(BlockingIOError, OSError):
                    if fd in self.vlan_of:
                        frame = os.read(fd, 2000)
                        self.wire.send(frame[:12] + struct.pack("!HH", frames.ETH_VLAN, self.vlan_of[fd]) + frame[12:])
                    elif frame := self.wire.take():
                        kind, tci = struct.unpack("!HH", frame[12:16])
                        if kind == frames.ETH_VLAN and tci & 0xFFF in self.taps:
                            os.write(self.taps[tci & 0xFFF], frame[:12] + frame[16:])
        poll.close()

    def close(self):
        self.ended.set()
        self.thread.join()
        for tap in self.taps.values():
            os.close(tap)
        self.wire.socket.close()


def many_config():
    text = f"""[station]
name = "lab"
socket = "{station.SOCKET}"
bpffs = "/sys/fs/bpf/station-lab/station"
state = "/run/station-lab/state"
"""
    for port in lab.PORTS:
        text += f'[[port]]\nname = "{port}"\ninterface = "{port}"\nrole = "{"core" if port == "core0" else "customer"}"\n'
    for n in range(MANY):
        text += f"""[[vrf]]
name = "t{n}"
kind = "vpc"
[[vif]]
name = "t{n}"
port = "cust0"
vlan = "{FIRST_VLAN + n}"
kind = "private"
vrf = "t{n}"
addresses = ["169.254.0.1/30"]
[[vif.bgp]]
peer = "169.254.0.2"
peer_as = 65001
local_as = 64512
passive = {"true" if n % 2 else "false"}
"""
    return text


def many_router(vlans):
    """One BIRD that is the router of every VLAN; they differ in nothing but one prefix of each."""
    text = "router id 192.0.2.77;\nprotocol device { }\n"
    for vlan in vlans:
        n = vlan - FIRST_VLAN
        text += f"""ipv4 table t{n}; ipv4 table i{n};
protocol static c{n} {{ ipv4 {{ table i{n}; }}; route 169.254.0.1/32 via 169.254.0.1%'r{vlan}'; }}
protocol static s{n} {{ ipv4 {{ table t{n}; }}; route 10.1.0.0/16 blackhole; route 10.{100 + n // 250}.{n % 250}.0/24 blackhole; }}
protocol bgp b{n} {{ local 169.254.0.2 as 65001; neighbor 169.254.0.1 as 64512;
  vrf "r{vlan}"; interface "r{vlan}"; strict bind yes; connect delay time 1; error wait time 1, 2;
  ipv4 {{ table t{n}; igp table i{n}; gateway recursive; import all; export where source = RTS_STATIC; }}; }}
"""
    return text


def test_two_hundred_with_the_same_addresses():
    station.stop()
    started = time.monotonic()
    station.start(many_config())
    vlans = range(FIRST_VLAN, FIRST_VLAN + MANY)
    with contextlib.ExitStack() as undo:
        lab.run("ip", "netns", "add", "st-many")
        undo.callback(lab.run, "ip", "netns", "del", "st-many")
        lab.sysctl("st-many", ipv4__conf__all__rp_filter=0, ipv4__conf__default__rp_filter=0,
                   ipv6__conf__default__disable_ipv6=1)
        trunk = Trunk("st-many", "cust0", vlans)
        undo.callback(trunk.close)
        lab.ip("st-many", "link set lo up",
               *[line for vlan in vlans for line in (f"link set r{vlan} up", f"addr add 169.254.0.2/30 dev r{vlan}")])
        wait_until(lambda: len(sessions.taps()) == MANY and all(sessions.taps().values()), 30, "the station's TAPs")
        taps = time.monotonic()
        absent = {7, 42, 150}  # their routers come later
        config = lab.RUN / "many.conf"
        config.write_text(many_router([vlan for vlan in vlans if vlan - FIRST_VLAN not in absent]))
        with lab.inside("st-many"), (lab.RUN / "many.log").open("wb") as log:
            bird = subprocess.Popen(["bird", "-f", "-c", config, "-s", lab.RUN / "many.ctl"], stdin=subprocess.DEVNULL,
                                    stdout=log, stderr=log)
        undo.callback(bird.wait)
        undo.callback(bird.kill)

        def up():
            return {int(vif[1:]) for (vif, _), row in peers.sessions().items() if row["state"] == "established"}
        wait_until(lambda: len(up()) == MANY - len(absent), 40, "the sessions")
        came_up = time.monotonic()
        expect(up(), set(range(MANY)) - absent, "sessions of those that have a router")
        nowhere_else(set(range(MANY)) - absent)
        config.write_text(many_router(vlans))
        lab.run("birdc", "-s", lab.RUN / "many.ctl", "configure")
        wait_until(lambda: len(up()) == MANY, 40, "all sessions")
        nowhere_else(set(range(MANY)))
        print(f"        {MANY} TAPs after {taps - started:.1f} s, their sessions after {came_up - taps:.1f} s more")


def nowhere_else(there):
    """Every VRF has its own router's two prefixes, in the kernel's tables and in the FIB, and nothing else."""
    for n in range(MANY):
        wanted = {"10.1.0.0/16", f"10.{100 + n // 250}.{n % 250}.0/24"} if n in there else set()
        legs = {("169.254.0.2", f"v0.{FIRST_VLAN + n}")}
        table = lambda: peers.kernel_routes(10_000 + 2 * n, 4)  # noqa: B023, E731
        wait_until(lambda: set(table()) == wanted, 10, f"routes of t{n} in the kernel")  # noqa: B023
        for prefix, got in table().items():
            expect({(gateway, device) for device, gateway, _ in got}, legs, f"next hops of {prefix} of t{n}")
        wait_until(lambda: set(learned(f"t{n}")) == wanted, 5, f"routes of t{n} in the FIB")  # noqa: B023
        expect(learned(f"t{n}"), {prefix: {(f"t{n}", "169.254.0.2")} for prefix in wanted}, f"the FIB of t{n}")
        expect(peers.kernel_routes(10_001 + 2 * n, 4), {}, f"alternates of t{n}")
