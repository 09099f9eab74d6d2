"""A hostile tenant beside ordinary ones on the same ports, with real BGP and BFD: whatever it does, they lose no session and
no packet, converge at most twice as slowly as in quiet, and the log stays readable. Prints a table.

Ordinary are b with its core (private), and e with its core (public). Hostile are a, and c in e's VRF."""

import contextlib
import random
import socket
import statistics
import struct
import threading
import time

import case
import frames
import lab
import ledger
import peers
import station
import traffic
from case import HOSTS, expect, require, wait_until
from flooding import Stalls, floods, spray
from frames import ETH_ARP, ETH_IPV4, ETH_IPV6, ICMP, ICMPV6, TCP, UDP, eth
from sessions import BGP, OWN4, PEER4, tcp, to_a
from steady import Steady

BFD = "interval 300 ms; multiplier 3;"
ORDINARY = {
    "b": (65001, {4: ["10.1.0.0/16"], 6: ["fd10:1::/48"]}, BFD),
    "vpc-b": (64600, {4: ["10.2.0.0/16"], 6: ["fd10:2::/48"]}, BFD),
    "e": (65005, {4: ["203.0.113.0/24"], 6: ["2001:db8:e::/48"]}, ""),
    "pub": (64601, {4: ["198.18.0.0/15"], 6: ["2001:db8:f::/48"]}, ""),
    "vpc-a": (64600, {4: ["10.2.0.0/16"], 6: ["fd10:2::/48"]}, ""),
}
A, B, C, E, PUB, CORE_A, CORE_B = (HOSTS[name] for name in ("a", "b", "c", "e", "pub", "vpc-a", "vpc-b"))
MANY = [f"10.1.{n >> 8}.{n & 255}/32" for n in range(0x100, 0x100 + 500)]  # what converges
MARGIN_MS = 100  # of a convergence, where others use the machine too
LOG_LINES = 10  # a second
UNDO = contextlib.ExitStack()
RUNNING = {}
QUIET = []
TABLE = []


def begin():
    text = case.bgp_config()
    text = text.replace("local_as = 64512", "local_as = 64512\nmax_prefixes = 10000")
    head, *vifs = text.split("[[vif]]\n")
    extra = {"b": "bfd = { interval_ms = 300, multiplier = 3 }\n", "vpc-b": "bfd = { interval_ms = 300, multiplier = 3 }\n", "e": "mtu = 1400\n"}
    vifs = [vif.replace("\n\n", "\n" + extra.get(vif.split('"')[1], "") + "\n", 1) for vif in vifs]
    case.fresh("[[vif]]\n".join([head, *vifs]))
    for name, (asn, announces, bfd) in ORDINARY.items():
        RUNNING[name] = UNDO.enter_context(peers.Router(name, asn, announces, bfd))
    wait_until(lambda: peers.established(*ORDINARY), 30, "the sessions")
    wait_until(bfd_is_up, 20, "BFD")
    for source, target in [(B, CORE_B), (CORE_B, B), (E, PUB), (PUB, E)]:
        for address in (target.addr4, target.addr6):
            wait_until(lambda source=source, address=address: traffic.ping(source, address) == 3, 20, f"{source.name} reaches {address}")


def end():
    UNDO.close()
    station.stop()
    rows = [("attack", "frames lost", "sessions lost", "convergence quiet / beside, ms", "log lines a second"), ("---", "---:", "---:", "---:", "---:")]
    print("".join(f"| {' | '.join(map(str, row))} |\n" for row in [*rows, *TABLE]))


# ---- what the ordinary ones notice ----------------------------------------------------------------

class Late(AssertionError):
    """Routes did not come in time."""


def converged_ms():
    """From the moment that b's router says 500 prefixes to the FIB's having the last one, and back, in the mean."""
    router, took = RUNNING["b"], []
    for prefixes, wanted in (["10.1.0.0/16", *MANY], MANY[-1]), (["10.1.0.0/16"], "10.1.0.0/16"):
        start = time.monotonic()
        router.announce(4, prefixes)
        address = MANY[-1].split("/")[0]
        try:
            wait_until(lambda wanted=wanted: station.lookup_many("vpc-b", [address])[0][0] == wanted, 30, f"{wanted} in the FIB")
        except AssertionError as late:
            consistency = [row for row in station.ctl("show", "consistency") if row["vrf"] == "vpc-b"]
            raise Late(f"{late}\nits router: {router.birdc('show', 'protocols', 'all', 'station4')}\nthe station: {peers.sessions('b')}\n"
                       f"{consistency}\nthe log:\n{station.tail(station.LOG)}") from late
        took.append(1000 * (time.monotonic() - start))
    return statistics.mean(took)


def sessions(names):
    """Those of the ordinary ones: since when they are what they are."""
    rows = {key: row for key, row in peers.sessions().items() if key[0] in names}
    return rows, {name: RUNNING[name].bfd_states() for name in ("b", "vpc-b")}


def bfd_is_up():
    return all(row["bfd"] == "up" for (vif, _), row in peers.sessions().items() if vif in ("b", "vpc-b"))


def lost_sessions(before, now):
    rows, states = before
    lost = [key for key, row in now[0].items() if row["state"] != "established" or row["since_s"] < rows[key]["since_s"]]
    return lost + [f"BFD of {name}" for name, state in now[1].items() if peers.flapped(states[name], state)]


BESIDE = []  # how long they converged during this attack, ms


def beside(name, attack, streams=(("b", "vpc-b"), ("e", "pub")), names=("b", "vpc-b", "e", "pub"), again=2):
    """What the ordinary ones notice of an attack, during which they converge."""
    if not QUIET:
        QUIET.extend(converged_ms() for _ in range(5))
    BESIDE.clear()
    wait_until(lambda: peers.established(*names) and bfd_is_up(), 30, "all is as it should be")
    since, log, counted, start = sessions(names), len(log_text()), ledger.Snapshot(), time.monotonic()
    with contextlib.ExitStack() as running:
        stalls = running.enter_context(Stalls())
        steady = [running.enter_context(Steady(source, [target])) for source, target in streams]
        time.sleep(0.2)
        try:
            result, late = attack(), None
        except Late as why:
            late = why
    if late:
        # Seen once in many runs, beside a link's flaps, and not explained: what there is to see of it is shown, and twice is a fault.
        print(f"        {name}: {late}")
        if again < 2:
            raise late
        return beside(name, attack, streams, names, again - 1)
    seconds, lines = time.monotonic() - start, log_text()[log:].splitlines()
    time.sleep(1)  # BFD's 900 ms
    flapped = lost_sessions(since, sessions(names))
    seen = ledger.Snapshot() - counted
    sockets = {port: row["lost_before"] for port, row in seen.ports.items() if row["lost_before"]}
    lost, sent = (sum(getattr(stream.loss, what) for stream in steady) for what in ("lost", "sent"))
    quiet, took = statistics.median(QUIET), statistics.median(BESIDE)
    print(f"        {name}: {[stream.loss for stream in steady]}; lost before the station {sockets}; convergence {quiet:.0f} / {took:.0f} ms; "
          f"{len(lines)} log lines in {seconds:.1f} s; the machine stalled {1000 * stalls.worst:.0f} ms")
    if again and (lost or flapped) and (sockets or stalls.worst > 0.1):
        # The machine did not give a thread its CPU for long, so nothing can be said of the station.
        return beside(name, attack, streams, names, again - 1)
    if (lost or flapped) and sockets:
        case.alone()
    TABLE.append((name, f"{lost} of {sent}", len(flapped), f"{quiet:.0f} / {took:.0f}", f"{len(lines) / seconds:.1f}"))
    expect(flapped, [], f"{name}: sessions that were lost")
    expect(lost, 0, f"{name}: frames lost (before the station: {sockets}; drops of b {dict(seen.drops('b'))}, of e {dict(seen.drops('e'))})")
    require(took <= 2 * quiet + MARGIN_MS, f"{name}: convergence in {took:.0f} ms, {quiet:.0f} ms in quiet")
    require(len(lines) <= LOG_LINES * seconds, f"{name}: {len(lines)} log lines in {seconds:.1f} s, such as\n" + "\n".join(lines[:3]))
    return result


def converge(times=3, seconds=3.0):
    """At least so often and for so long."""
    until = time.monotonic() + seconds
    while len(BESIDE) < times or time.monotonic() < until:
        BESIDE.append(converged_ms())
        time.sleep(0.1)


def log_text():
    return station.LOG.read_text(errors="replace")


@contextlib.contextmanager
def repeated(act):
    """Does `act` over and over, in a thread."""
    ended = threading.Event()
    failures = []

    def run():
        while not ended.is_set():
            try:
                act()
            except (OSError, EOFError):
                ended.wait(0.02)
            except Exception as error:  # noqa: BLE001
                failures.append(error)
                return
    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(30)
    expect(failures, [], "the attack itself")


# ---- the attacks ----------------------------------------------------------------------------------

def test_quiet():
    beside("none", converge)


def test_floods_at_the_slow_path():
    def attack():
        with spray(floods().values(), 6):
            converge()
    beside("floods of all kinds at the slow path", attack)


def test_tcp_from_port_179():
    probed = list(range(1, 1024)) + [9100]
    syns = [to_a(TCP, tcp(PEER4, OWN4, port, BGP)) for port in probed if port != BGP]
    with contextlib.ExitStack() as undo:
        with lab.inside("st-station"):
            undo.enter_context(socket.create_server(("0.0.0.0", 9100), reuse_port=True))
        wires = [undo.enter_context(frames.Raw(host.ns)) for host in (A, B)]

        def attack():
            with spray([syns], 4, pps=5_000):
                converge()
        beside("TCP from port 179 to all ports", attack)
        answers = [octets for got in frames.collect(wires) for octets in got if answers_from(octets, probed)]
    expect(len(answers), 0, "answers to connections from port 179")


def answers_from(octets, ports):
    kind, packet = frames.l3(octets)
    return kind == ETH_IPV4 and packet[9] == TCP and int.from_bytes(packet[20:22], "big") in ports and packet[33] & 0x12 == 0x12 \
        and int.from_bytes(packet[20:22], "big") != BGP


def test_malformed_updates():
    speaker = peers.Speaker("a", 65001)
    attributes = peers.attribute(1, b"\x09") + peers.attribute(2, struct.pack("!BBI", 2, 1, 65001)) + peers.attribute(3, socket.inet_aton(PEER4))
    body = struct.pack("!HH", 0, len(attributes)) + attributes + peers.packed("10.1.0.0/16")
    block = (b"\xff" * 16 + struct.pack("!HB", 19 + len(body), peers.UPDATE) + body) * 500

    def act():
        with speaker.opened() as stream:
            end = time.monotonic() + 1
            while time.monotonic() < end:
                stream.sendall(block)

    def attack():
        with repeated(act):
            converge()
            # Another tenant's loss is still noticed at once.
            start = time.monotonic()
            RUNNING["vpc-a"].birdc("disable", "station4")
            key = ("vpc-a", CORE_A.peer4.split("/")[0])
            wait_until(lambda: peers.sessions("vpc-a")[key]["state"] != "established", 5, "the loss of another session is reported")
            print(f"        the loss of another session was reported after {1000 * (time.monotonic() - start):.0f} ms")
            RUNNING["vpc-a"].birdc("enable", "station4")
    beside("malformed UPDATEs as fast as they go", attack)
    wait_until(lambda: peers.established("vpc-a"), 20, "the session is back")


def test_session_flaps():
    speaker = peers.Speaker("a", 65001)

    def act():
        with speaker.opened() as stream:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def attack():
        with repeated(act):
            converge()
    beside("a session that comes and goes at once", attack)


def test_a_scan_of_the_shared_core_subnet():
    draw = random.Random(1)
    scan = [frames.datagram(C, C.peer6.split("/")[0], f"2001:db8:0:f:{draw.randrange(1, 1 << 16):x}::{draw.randrange(1 << 16):x}", tags=C.tags)
            for _ in range(500)]
    hosts = [f"2001:db8:0:f::1:{n:x}" for n in range(1, 21)]
    lab.ip(PUB.ns, *[f"addr add {address}/64 dev eth0 nodad" for address in hosts])
    UNDO.callback(lab.ip, PUB.ns, *[f"addr del {address}/64 dev eth0" for address in hosts])

    def attack():
        with spray([scan], 5, pps=200):
            time.sleep(1)
            got = [address for address in hosts if traffic.ping(E, address, count=1, wait=2)]
            converge()
            return got
    got = beside("a scan of the core subnet that customers share", attack)
    expect(got, hosts, "new hosts of the shared subnet that e reaches")


def test_icmp_errors_at_the_shared_core_vif():
    expired = [frames.datagram(PUB, PUB.addr4, C.peer4.split("/")[0], tags=PUB.tags, ttl=1)]
    long = eth(PUB.port_mac, PUB.mac, ETH_IPV4, frames.packet(PUB.addr4, E.addr4, ICMP, frames.echo(PUB.addr4, E.addr4, bytes(1472)), df=True), PUB.tags)

    def attack():
        with spray([expired], 6, port="core0", pps=500), \
                frames.Raw(PUB.ns) as wire, frames.Raw("st-wire", "core0") as sender:
            time.sleep(1)
            for _ in range(40):
                sender.send(long)
                time.sleep(0.05)
            told = [octets for octets in wire.received() if is_too_big(octets)]
            converge()
            return told
    told = beside("TTL 1 to a customer, at the core VIF that customers share", attack)
    require(len(told) >= 38, f"only {len(told)} of 40 packets that were too big for e were answered; {dict(ledger.Snapshot().slow('pub'))}")


def is_too_big(octets):
    kind, packet = frames.l3(octets)
    return kind == ETH_IPV4 and packet[9] == ICMP and tuple(packet[20:22]) == (3, 4)


def test_bgp_bulk_of_its_own_router():
    bulk = [to_a(TCP, tcp(PEER4, OWN4, BGP, 1024 + n, flags=16)) for n in range(2000)]

    def attack():
        with spray([bulk], 6):
            converge()
    beside("TCP to BGP's port as fast as it goes", attack)


def test_many_neighbors():
    own = [f"fd00:a::{n:x}" for n in range(0x1000, 0x1000 + 1200)]
    lab.ip(A.ns, *[f"addr add {address}/64 dev eth0 nodad" for address in own])
    new = [f"fd00:a::b:{n:x}" for n in range(1, 11)]
    lab.ip(B.ns, *[f"addr add {address}/64 dev eth0 nodad" for address in new])
    pings = [eth(A.port_mac, A.mac, ETH_IPV6, frames.packet(address, A.gw6, ICMPV6, frames.echo(address, A.gw6)), A.tags) for address in own]
    try:
        def attack():
            with spray([pings], 5, pps=1_000):
                time.sleep(2)
                # From the core: each has to be resolved.
                got = [address for address in new if traffic.ping(CORE_B, address, count=1, wait=2)]
                converge()
                return got
        got = beside("1,200 neighbors on one VIF", attack)
        expect(got, new, "new neighbors of b that are reached")
    finally:
        for host, addresses in ((A, own), (B, new)):
            lab.ip(host.ns, *[f"addr del {address}/64 dev eth0" for address in addresses])


def test_spoofed_sources_to_the_link_local_address():
    octets = bytearray(frames.mac(A.port_mac))
    octets[0] ^= 2
    router = "fe80::" + ":".join((octets[:3] + b"\xff\xfe" + octets[3:])[i:i + 2].hex() for i in range(0, 8, 2))
    spoofed = [eth(A.port_mac, A.mac, ETH_IPV6, frames.packet(CORE_A.addr6, router, *what), A.tags)
               for what in [(ICMPV6, frames.echo(CORE_A.addr6, router)), (UDP, frames.udp(CORE_A.addr6, router, b"x" * 20, 53, 33434))]]
    with frames.Raw(CORE_A.ns) as wire:
        def attack():
            with spray([spoofed], 3, pps=1_000):
                converge()
        beside("spoofed sources to the router's link-local address", attack)
        reflected = [octets for octets in wire.received() if is_reflected(octets)]
    expect(len(reflected), 0, "answers to addresses that are not the sender's")


def is_reflected(octets):
    """An echo reply or an error from a router."""
    kind, packet = frames.l3(octets)
    return kind == ETH_IPV6 and packet[6] == ICMPV6 and packet[40] in (1, 129)


def test_tags_of_others():
    def marked(*tags):
        return frames.datagram(A, B.addr4, CORE_B.addr4, tags=tags)
    tags = [(100, 200), (0, 100, 200), ((0x88A8, 200),), ((0x88A8, 100), 200), (100, 100, 200), (999, 200), (1100,), (1200,), (100, 1200)]
    before = ledger.host_counts(CORE_B)["from a"]

    def attack():
        with spray([[marked(*each) for each in tags]], 3, pps=2_000):
            converge()
    beside("double, service and other tenants' tags", attack)
    expect(ledger.host_counts(CORE_B)["from a"] - before, 0, "frames of a that reached b's core")


def test_spoofed_arp_and_nd():
    def arp(operation, mac, sender, target):
        body = struct.pack("!HHBBH", 1, ETH_IPV4, 6, 4, operation) + frames.mac(mac) + frames.ip(sender) + bytes(6) + frames.ip(target)
        return eth("ff:ff:ff:ff:ff:ff", mac, ETH_ARP, body, A.tags)

    def advertisement(mac, target):
        body = bytes([136, 0, 0, 0, 0x20, 0, 0, 0]) + frames.ip(target) + b"\x02\x01" + frames.mac(mac)
        source = "fd00:a::2"
        check = frames.checksum(frames.pseudo(source, "ff02::1", ICMPV6, len(body)) + body)
        body = body[:2] + struct.pack("!H", check) + body[4:]
        return eth("33:33:00:00:00:01", mac, ETH_IPV6, frames.packet(source, "ff02::1", ICMPV6, body, hops=255), A.tags)
    macs = [f"02:66:00:00:00:{n:02x}" for n in range(50)] + [B.mac, A.port_mac]
    claims = [arp(operation, mac, address, address) for mac in macs for address in (OWN4, PEER4, "169.254.255.2") for operation in (1, 2)]
    claims += [advertisement(mac, address) for mac in macs for address in ("fd00:a::1", "fd00:a::2", "fd00:c::2")]

    def attack():
        with spray([claims], 5, pps=5_000):
            converge()
    beside("ARP and ND that claim all addresses", attack)


class Trickster(peers.Speaker):
    """Announces with attributes that are none of a customer's business."""

    def update(self, prefixes, path):
        whole = super().update(prefixes, path)
        length = struct.unpack("!H", whole[2:4])[0]
        # A route target of the station's AS, and a transitive attribute that nobody knows.
        extra = struct.pack("!BBBBBHI", 0xC0, 16, 8, 0, 2, peers.STATION_AS, 1) + struct.pack("!BBB4s", 0xC0, 99, 4, b"evil")
        return whole[:2] + struct.pack("!H", length + len(extra)) + whole[4:4 + length] + extra + whole[4 + length:]


def test_tricks_with_routes():
    halves = ["0.0.0.0/1", "128.0.0.0/1", "0.0.0.0/0"]

    def attack():
        with Trickster("a", 65001) as speaker:
            speaker.say({prefix: 1 for prefix in ["10.1.0.0/16", *halves]})
            wait_until(lambda: station.lookup_many("vpc-a", ["10.1.0.10"])[0][0] == "10.1.0.0/16", 20, "what a may announce is learned")
            wait_until(lambda: "10.1.0.0/16" in RUNNING["vpc-a"].birdc("show", "route", "protocol", "station4"), 10, "the core has it")
            converge()
            core = RUNNING["vpc-a"].birdc("show", "route", "all", "protocol", "station4")
            return core, station.lookup_many("vpc-a", ["8.8.8.8", "200.1.1.1"])
    core, fib = beside("half of the Internet, foreign communities", attack)
    expect([prefix for prefix in halves if f"{prefix} " in core], [], f"default routes in pieces that reached the core:\n{core}")
    expect([prefix for prefix, _ in fib], [None, None], "routes of the FIB for the whole Internet")
    # BIRD 2.0 has no means to remove the other attribute: see the limits in station-operations(7).
    require("ext_community" not in core, f"communities that passed:\n{core}")


def test_link_flaps():
    def act():
        for state in ("down", "up"):
            lab.ip("st-wire", f"link set dev cust1 {state}")
            time.sleep(0.05)
    try:
        # e is on the port that flaps.

        def attack():
            with repeated(act):
                converge()
        beside("a customer's link that flaps ten times a second", attack, [("b", "vpc-b")], ("b", "vpc-b", "pub"))
    finally:
        wait_until(lambda: peers.established("e") and traffic.ping(E, PUB.addr4) == 3, 60, "e is back")  # a return is damped
