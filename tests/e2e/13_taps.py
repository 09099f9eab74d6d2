"""What the kernel's routing daemon sees of a VIF through its TAP: sockets bound to TAPs speak BGP's and
BFD's ports with the hosts behind the VIFs. Tenants a, b and d have the same addresses everywhere."""

import contextlib
import json
import signal
import socket
import struct
import subprocess
import time

import case
import frames
import lab
import station
from case import HOSTS, expect, require
from frames import ETH_ARP, ETH_IPV4, ETH_IPV6, ICMP, ICMPV6, TCP, UDP, eth, ipv4
from sessions import BFD, BGP, OWN4, OWN6, PEER4, PEER6, TAPS, bound, config, link, ready, session, talks, taps, tcp, to_a

IP_RECVTTL = 12
A, B = HOSTS["a"], HOSTS["b"]


def begin():
    case.fresh(config())
    for tap in TAPS.values():
        case.wait_until(lambda tap=tap: ready(tap), 10, f"{tap} is ready")


def end():
    station.stop()
    expect(taps(), {}, "TAPs after an orderly stop")


def test_the_kernel_has_what_the_vif_has():
    there = link("v0.100")
    expect({flag: flag in there["flags"] for flag in ["UP", "NOARP", "LOWER_UP"]},
           {"UP": True, "NOARP": True, "LOWER_UP": True}, "flags")
    link_local = {f"{a['local']}/{a['prefixlen']}" for a in there["addr_info"] if a["scope"] == "link"}
    expect((there["address"], there["mtu"], there["ifalias"]), (lab.PORTS["cust0"], 1500, f"stationd {station.SOCKET}: VIF a"), "link")
    expect(taps()["v0.100"] - link_local, {"169.254.0.1/30", "fd00:a::1/64"}, "addresses")
    expect(link_local - {"169.254.0.1/30"}, {"fe80::53:ff:fe00:1/64"}, "link-local address")
    expect(sorted(taps()), sorted(TAPS.values()), "TAPs: only VIFs with sessions have one")
    routes = json.loads(lab.run("ip", "-n", lab.TAPS_NS, "-j", "route"))
    expect([r for r in routes if r["dst"] == "default"], [], "default routes")


def test_tcp_both_ways_in_both_families():
    for name in TAPS:
        for six in (False, True):
            for active in (False, True):
                kernel, host = session(name, six, active)
                with kernel, host:
                    talks(kernel, host, f"{name} {six} {active}".encode() * 500)


def test_equal_addresses_do_not_mix():
    with contextlib.ExitStack() as undo:
        ends = {}
        for name in TAPS:
            for six in (False, True):
                ends[name, six] = session(name, six)
                undo.callback(ends[name, six][0].close)
                undo.callback(ends[name, six][1].close)
        for (name, six), (kernel, host) in ends.items():
            talks(kernel, host, f"{name} {six}".encode())


def test_what_is_ours_here_is_the_peer_there():
    # b is the other way round: the station is .2 and the customer .1, as a's are .1 and .2.
    text = config(b=("169.254.0.1", "fd00:a::1"))
    head, tail = text.split('name = "b"\n')
    tail = tail.replace('"169.254.0.1/30", "fd00:a::1/64"', '"169.254.0.2/30", "fd00:a::2/64"', 1)
    mine, rest = tail.split("# ---- public services")
    vif, routes = mine.split("[[route]]", 1)
    routes = routes.replace('"169.254.0.2"', '"169.254.0.1"').replace('"fd00:a::2"', '"fd00:a::1"')
    lab.ip(B.ns, f"addr flush dev eth0 to {PEER4}", f"addr flush dev eth0 to {PEER6}",
           f"addr add {OWN4}/30 dev eth0", f"addr add {OWN6}/64 dev eth0 nodad")
    try:
        station.write_config(f'{head}name = "b"\n{vif}[[route]]{routes}# ---- public services{rest}')
        station.ctl("reload", "--no-wait")
        case.wait_until(lambda: f"{PEER4}/30" in taps()["v0.200"] and f"{PEER6}/64" in taps()["v0.200"], 5, "b's addresses")
        for active in (False, True):
            for six, (own, peer) in [(False, (PEER4, OWN4)), (True, (PEER6, OWN6))]:
                one, other = session("a", six), session("b", six, active, own, peer)
                with one[0], one[1], other[0], other[1]:
                    talks(*one, b"of a")
                    talks(*other, b"of b")
    finally:
        lab.ip(B.ns, f"addr flush dev eth0 to {OWN4}", f"addr flush dev eth0 to {OWN6}",
               f"addr add {PEER4}/30 dev eth0", f"addr add {PEER6}/64 dev eth0 nodad",
               f"route replace default via {B.gw4} src {B.addr4} mtu 1500",
               f"route replace default via {B.gw6} src {B.addr6} mtu 1500")
        station.write_config(config())
        station.ctl("reload", "--no-wait")
        case.wait_until(lambda: f"{OWN4}/30" in taps()["v0.200"], 5, "b's addresses are back")


def test_bfd_comes_with_its_ttl_or_not_at_all():
    for six in (False, True):
        own, peer = (OWN6, PEER6) if six else (OWN4, PEER4)
        with bound(lab.TAPS_NS, socket.SOCK_DGRAM, own, BFD, "v0.100") as kernel, \
                bound(A.ns, socket.SOCK_DGRAM, peer, BFD) as host:
            level, ttl, receive, kind = (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, socket.IPV6_RECVHOPLIMIT, socket.IPV6_HOPLIMIT) \
                if six else (socket.IPPROTO_IP, socket.IP_TTL, IP_RECVTTL, socket.IP_TTL)
            for end in (kernel, host):
                end.setsockopt(level, receive, 1)
            for source, target, address in [(host, kernel, own), (kernel, host, peer)]:
                source.sendto(b"control", (address, BFD))
                data, ancillary, _, _ = target.recvmsg(100, 100)
                hops = [struct.unpack("=i", value)[0] for at, of, value in ancillary if (at, of) == (level, kind)]
                expect((data, hops), (b"control", [255]), "what arrived, and its TTL")
            with case.counted() as seen:
                for hops in (1, 64, 254):
                    host.setsockopt(level, ttl, hops)
                    host.sendto(b"from afar", (own, BFD))
            expect(seen.it.slow("a")["bfd_hops"], 3, "dropped for their TTL")
            kernel.settimeout(0.1)
            require(not arrives(kernel), "BFD with a lower TTL reached the kernel")


def arrives(receiver):
    try:
        return receiver.recv(100)
    except TimeoutError:
        return None


def test_sessions_are_counted_exactly():
    with case.counted() as seen:
        kernel, host = session("a")
        with kernel, host:
            talks(kernel, host, b"x")
            # The kernel says FIN, the host RST: what answers a FIN after that would have no socket, so it would come again.
            kernel.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 0, 0))
            kernel.close()
            expect(host.recv(1), b"", "the end of what the kernel says")
    it = seen.it
    expect(it.unbalanced(), [], "books")
    punted = it.vifs["a"]["punt bgp"]
    require(punted >= 5, f"{punted} punts")
    expect(it.slow("a")["to_kernel"], punted, "given to the kernel")
    # SYN and ACK, its octets, FIN; the ACK of the peer's octets may come alone or with them.
    require(it.vifs["a"]["tap sent"] >= 3, "sent by the kernel")
    expect(it.vifs["a"]["tap lost"], 0, "lost at the TAP")
    expect(it.vifs["b"]["punt bgp"], 0, "of another VIF")


def test_nothing_else_reaches_the_kernel():
    udp = frames.udp
    rows = [
        ("TCP to another port", to_a(TCP, tcp(PEER4, OWN4, 22)), "no_service"),
        ("BGP of somebody on the subnet who is no peer", to_a(TCP, tcp("169.254.0.3", OWN4, BGP), src="169.254.0.3"), None),
        ("BGP from behind the peer", to_a(TCP, tcp("10.1.0.10", OWN4, BGP), src="10.1.0.10"), "no_service"),
        ("BFD from behind the peer", to_a(UDP, udp("10.1.0.10", OWN4, b"x", 50000, BFD), src="10.1.0.10", ttl=255), "answered"),
        ("BFD echo", to_a(UDP, udp(PEER4, OWN4, b"x", 50000, 3785), ttl=255), "answered"),
        ("multihop BFD", to_a(UDP, udp(PEER4, OWN4, b"x", 50000, 4784), ttl=255), "answered"),
        ("BGP to another address of the router", to_a(TCP, tcp(PEER4, "169.254.255.1", BGP), dst="169.254.255.1"), None),
        ("a fragment of BGP", to_a(TCP, tcp(PEER4, OWN4, BGP), mf=True), "no_service"),
        ("BGP with options", to_a(TCP, tcp(PEER4, OWN4, BGP), options=b"\x94\x04\0\0"), "no_service"),
        ("ping", to_a(ICMP, frames.echo(PEER4, OWN4)), "answered"),
        ("ping, IPv6", to_a(ICMPV6, frames.echo(PEER6, OWN6), src=PEER6, dst=OWN6), "answered"),
        ("TCP to another port, IPv6", to_a(TCP, tcp(PEER6, OWN6, 22), src=PEER6, dst=OWN6), "no_service"),
        ("an ICMP error about BGP",
         to_a(ICMP, (lambda m: m[:2] + struct.pack("!H", frames.checksum(m)) + m[4:])(
             b"\x03\x04\0\0\0\0\0\x44" + ipv4(OWN4, PEER4, TCP, b"\0\xb3" * 4))), "consumed"),
    ]
    with frames.Raw(lab.TAPS_NS, "v0.100") as tap:
        tap.received(quiet=0.1)
        for name, octets, outcome in rows:
            with case.counted() as seen, frames.Raw("st-wire", "cust0") as raw:
                raw.send(octets, 3)
            expect([octets.hex() for octets in tap.received(quiet=0.1)], [], f"frames at the TAP: {name}")
            expect(seen.it.slow("a")["to_kernel"], 0, name)
            expect(seen.it.unbalanced(), [], f"books: {name}")
            if outcome:
                # The host and the router ask for each other's MAC now and then.
                others = sum(seen.it.vifs["a"][f"punt {kind}"] for kind in ("arp", "neighbor_discovery"))
                got = seen.it.slow("a")[outcome]
                require(3 <= got <= 3 + others, f"{outcome}: {name}: got {got}, expected 3, and {others} of ARP or ND")


def test_the_kernel_cannot_leak():
    own_mac, syn = lab.PORTS["cust0"], tcp(OWN4, PEER4, BGP)
    good = ipv4(OWN4, PEER4, TCP, syn, ttl=1)
    rows = [
        ("to another subnet", ETH_IPV4, ipv4(OWN4, "10.1.0.10", TCP, tcp(OWN4, "10.1.0.10", BGP))),
        ("to the cloud", ETH_IPV4, ipv4(OWN4, "10.2.0.10", TCP, tcp(OWN4, "10.2.0.10", BGP))),
        ("to the broadcast address", ETH_IPV4, ipv4(OWN4, "169.254.0.3", TCP, tcp(OWN4, "169.254.0.3", BGP))),
        ("from another address", ETH_IPV4, ipv4("169.254.255.1", PEER4, TCP, tcp("169.254.255.1", PEER4, BGP))),
        ("another port", ETH_IPV4, ipv4(OWN4, PEER4, TCP, tcp(OWN4, PEER4, 22))),
        ("ICMP", ETH_IPV4, ipv4(OWN4, PEER4, ICMP, frames.echo(OWN4, PEER4))),
        ("a wrong header checksum", ETH_IPV4, ipv4(OWN4, PEER4, TCP, syn, check=1)),
        ("a fragment", ETH_IPV4, ipv4(OWN4, PEER4, TCP, syn, mf=True)),
        ("IPv4 as IPv6", ETH_IPV6, good),
        ("ARP", ETH_ARP, struct.pack("!HHBBH", 1, ETH_IPV4, 6, 4, 1) + frames.mac(own_mac) + frames.ip(OWN4) + b"\0" * 6 + frames.ip(PEER4)),
        ("neighbor discovery", ETH_IPV6, frames.ipv6(OWN6, PEER6, ICMPV6, b"\x87\0" + b"\0" * 22, hops=255)),
        ("nothing", ETH_IPV4, b""),
    ]
    watched = [(f"h-{host.name}", frames.Raw(host.ns)) for host in HOSTS.values()]
    for name, kind, payload in rows:
        with case.counted() as seen, frames.Raw(lab.TAPS_NS, "v0.100") as raw:
            raw.send(eth(own_mac, own_mac, kind, payload), 3)
        expect({key: value for key, value in seen.it.vifs["a"].items() if key.startswith("tap ") and value},
               {"tap refused": 3}, name)
        for interface, wire in watched:
            expect([octets for octets in wire.received(quiet=0.05) if frames.l3(octets)[1][9:10] == bytes([TCP])], [],
                   f"frames at {interface}: {name}")
    with frames.Raw("st-wire", "cust0") as wire, frames.Raw(lab.TAPS_NS, "v0.100") as raw:
        raw.send(eth("02:99:00:00:00:01", own_mac, ETH_IPV4, good))
        seen = [octets for octets in wire.received() if octets[12:14] == b"\x81\x00" and syn in octets]
    # As it came: TTL, and the addresses of the wire instead of the kernel's; filled up to 64 octets with its tag.
    left = eth(A.mac, own_mac, ETH_IPV4, good, tags=(100,))
    expect(seen, [left.ljust(64, b"\0")], "the packet that may leave")
    for _, wire in watched:
        wire.socket.close()


def test_where_nobody_listens_nobody_hears_anything():
    # The kernel resets what no socket has by any TAP with that address: not by the one where it came from.
    with contextlib.ExitStack() as undo:
        wires = {name: undo.enter_context(frames.Raw(HOSTS[name].ns)) for name in TAPS}
        with case.counted() as seen:
            for name in TAPS:
                for own, peer in [(OWN4, PEER4), (OWN6, PEER6)]:
                    client = bound(HOSTS[name].ns, socket.SOCK_STREAM, peer, 0)
                    client.settimeout(0.2)
                    with client, contextlib.suppress(TimeoutError):
                        client.connect((own, BGP))
        for name, wire in wires.items():
            got = [octets for octets in wire.received() if TCP in (frames.l3(octets)[1][9], frames.l3(octets)[1][6])]
            expect(got, [], f"TCP at {name}")
    it = seen.it
    expect(sum(it.vifs[name]["tap sent"] for name in TAPS), 0, "sent by the kernel")
    expect(sum(it.vifs[name]["tap refused"] for name in TAPS), sum(it.vifs[name]["punt bgp"] for name in TAPS), "refused")


def test_the_tag_says_what_the_packet_says():
    with frames.Raw("st-wire", "cust0") as wire:
        kernel, host = session("a", active=True)
        with kernel, host:
            talks(kernel, host, b"x")
        tags = {struct.unpack("!H", octets[14:16])[0] for octets in wire.received()
                if octets[:6] == frames.mac(A.mac) and octets[16:18] == b"\x08\0" and octets[27] == TCP}
    expect(tags, {6 << 13 | 100}, "tags of BGP with DSCP CS6")


def test_the_carrier_follows_the_vif_and_the_link():
    station.ctl("vif", "down", "b", "--no-wait")
    case.wait_until(lambda: "NO-CARRIER" in link("v0.200")["flags"], 2, "b's carrier goes")
    expect("LOWER_UP" in link("v0.100")["flags"], True, "a keeps its carrier")
    station.ctl("vif", "up", "b", "--no-wait")
    case.wait_until(lambda: ready("v0.200"), 2, "b's carrier is back")
    watches = [subprocess.Popen(["nsenter", f"--net=/run/netns/{ns}", "ip", "-ts", "monitor", "link"],
                                stdout=subprocess.PIPE, text=True) for ns in ("st-station", lab.TAPS_NS)]
    try:
        time.sleep(0.3)
        lab.ip("st-wire", "link set dev cust0 down")
        case.wait_until(lambda: all("NO-CARRIER" in link(tap)["flags"] for tap in ("v0.100", "v0.200")), 2, "carriers go")
        expect("LOWER_UP" in link("v1.500.10")["flags"], True, "d is on another port")
    finally:
        lab.ip("st-wire", "link set dev cust0 up")
        case.wait_until(lambda: ready("v0.100") and ready("v0.200"), 5, "carriers are back")
        for watch in watches:
            watch.terminate()
    lines = [line for watch in watches for line in watch.communicate()[0].splitlines()]
    when = {}
    for line in lines:
        for name in ("cust0", "v0.100"):
            if f": {name}" in line and "NO-CARRIER" in line:
                when.setdefault(name, float(line[1:line.index("]")].rpartition(":")[2]))
    require(set(when) == {"cust0", "v0.100"}, f"no events: {lines}")
    late = (when["v0.100"] - when["cust0"] + 30) % 60 - 30  # two watchers: either may be the first to be woken
    print(f"        carrier of the TAP {1000 * late:.1f} ms after that of the port")
    require(late < 0.1, f"the TAP's carrier went {late:.3f} s after the port's")


def test_kill_9_keeps_everything_and_the_next_takes_over():
    before = {tap: link(tap) for tap in TAPS.values()}
    kernel, host = session("a")
    with kernel, host:
        talks(kernel, host, b"before")
        station.stop(signal.SIGKILL)
        while_dead = {tap: link(tap) for tap in TAPS.values()}
        for tap, there in while_dead.items():
            require(there, f"{tap} is gone")
            expect((there["ifindex"], there["addr_info"], there["address"]),
                   (before[tap]["ifindex"], before[tap]["addr_info"], before[tap]["address"]), f"{tap} while nobody has it")
        kernel.sendall(b"waits")
        station.start()
        kernel.settimeout(30)
        host.settimeout(30)
        expect(host.recv(100), b"waits", "what was sent while the station was dead")
        talks(kernel, host, b"after")
    for tap in TAPS.values():
        case.wait_until(lambda tap=tap: ready(tap), 5, f"{tap} is ready")
        expect(link(tap)["ifindex"], before[tap]["ifindex"], f"{tap} is the same")


def test_leftovers_go_and_strangers_stay():
    lab.run("ip", "-n", lab.TAPS_NS, "tuntap", "add", "dev", "v0.300", "mode", "tap")
    station.stop(signal.SIGKILL)
    station.start(config(b=None))
    try:
        case.wait_until(lambda: "v0.200" not in taps(), 5, "b's TAP is gone")
        expect(sorted(taps()), ["v0.100", "v0.300", "v1.500.10"], "interfaces")
        station.write_config(config(b=None, c=("192.0.2.2",)).replace(
            "192.0.2.2\", peer_as = 65001, local_as = 64512 }", "192.0.2.2\", peer_as = 65001, local_as = 64512, import = [], export = [] }"))
        station.ctl("reload", "--no-wait")
        case.wait_until(lambda: "remove it" in station.tail(station.LOG, 50), 5, "the log says that the name is taken")
        expect(taps()["v0.300"], set(), "addresses of another's interface")
        lab.run("ip", "-n", lab.TAPS_NS, "link", "del", "v0.300")
        case.wait_until(lambda: "192.0.2.1/30" in taps().get("v0.300", ()), 5, "it is tried again")
    finally:
        station.write_config(config())
        station.ctl("reload", "--no-wait")
    case.wait_until(lambda: ready("v0.200") and "v0.300" not in taps(), 5, "b's TAP is back")


def test_another_hand_is_repaired():
    lab.ip(lab.TAPS_NS, "addr del fd00:a::1/64 dev v0.100", "addr add 203.0.113.99/32 dev v0.100", "link set dev v0.100 mtu 1300")
    lab.run("ip", "-n", lab.TAPS_NS, "link", "del", "v0.200")
    case.wait_until(lambda: "fd00:a::1/64" in taps()["v0.100"] and "203.0.113.99/32" not in taps()["v0.100"]
                    and link("v0.100")["mtu"] == 1500, 10, "v0.100 is as it was")
    case.wait_until(lambda: link("v0.200") and ready("v0.200"), 10, "v0.200 is back")
    for name in ("a", "b"):
        for six in (False, True):
            kernel, host = session(name, six)
            with kernel, host:
                talks(kernel, host, name.encode())

