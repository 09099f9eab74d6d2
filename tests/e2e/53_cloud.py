"""The cloud side as a whole: VPCs, the public services and the transit gateway behind VXLAN tunnels to the Linux kernel's `vxlan`
devices, in an IPv4 and an IPv6 underlay over two core ports, and a second station with another office of a's.

Over all ordered pairs of hosts UDP, ICMP and TCP arrive exactly where both stations' `show reachability` says. The fabric
carries 1,500 octets, so that tunnels carry less than the customers' VLANs; d's carries less still. vpc-a reaches what is behind the
transit gateway and the gateway a, in IPv4 alone.

STATION_ALL=1 moves 100 MB by TCP over all pairs, else over one of each kind of way."""

import collections
import contextlib
import ipaddress
import itertools
import os
import re
import shutil
import socket
import time

import case
import lab
import overlay
import second
import station
import traffic
from case import HOSTS, Skip, expect, require, wait_until

ALL = bool(os.environ.get("STATION_ALL"))
CORE = ("core0", "core1")
MTU = {"vlan": 1500, "d": 1400, "vtep4": 1450, "vtep6": 1430}
# Whose conversations there are to be, and those of IPv4 alone.
TALK = [("a", "vpc-a"), ("b", "vpc-b"), ("c", "pub"), ("e", "pub"), ("d", "tgw"), ("a", "a2"), ("vpc-a", "a2")]
TALK4 = [("a", "tgw")]
HEARD = 7777  # UDP


def config():
    text = case.replaced(
        case.lab_config(), ('name = "lab"', 'name = "one"'), ('name = "a"\n', 'name = "a"\njoin_stations = true\n'),
        ('name = "d"\n', f'name = "d"\nmtu = {MTU["d"]}\n'))
    text, _ = overlay.without(text, "a2")
    text = overlay.tunnelled(text, *overlay.ENDS, ports=CORE, mtu=1500, more={"vpc-a": {"join_stations": True}})
    text += overlay.table("port", name="core1", interface="core1", role="core")
    four, six = second.VTEP["two"].values()
    text += second.peering("one", "two", CORE, mtu=1500) + second.routes(("10.3.0.0/16", four), ("fd10:3::/48", six))
    text += overlay.table("exchange", name="tgw", **{"from": "transit", "to": "vpc-a"}, prefixes=["10.5.0.0/16", "fd10:5::/48"])
    return text + overlay.table("exchange", name="a", **{"from": "vpc-a", "to": "transit"}, prefixes=["10.1.0.0/16"])


def begin():
    lab.connect("st-station", "core1", "02:53:00:00:00:04", "core1", "sw-core0")
    for name, end in overlay.ENDS.items():
        overlay.make(name, CORE, mtu=MTU[end.vtep])
    lab.default_routes(HOSTS["d"], mtu=MTU["d"])
    second.begin(second.config(CORE, mtu=1500), {"cust1": "sw-cust1", "core0": "sw-core0", "core1": "sw-core0"})
    second.join(config())
    wait_until(lambda: {row["state"] for row in station.ctl("show", "tunnels")} == {"up"}, 10, "all tunnels are up")


def end():
    second.end()
    for name in overlay.ENDS:
        overlay.unmake(name, CORE)
    lab.default_routes(HOSTS["d"])
    lab.ip("st-station", "link del core1")


# ---- over all ordered pairs -------------------------------------------------------------------------

PAIRS = list(itertools.permutations(HOSTS, 2))


def talks():
    """(x, y, family) of those that are to speak with each other, x to y."""
    said = second.Reachability()
    return [(x, y, family) for x, y in PAIRS for family in (4, 6) if said.talk(x, y, family)]


def tell(ask, tried):
    """What each (x, y, family) has for an answer, of `ask` with both hosts and an address that only y has; all at once."""
    got = case.at_once(lambda x, y, family: ask(HOSTS[x], HOSTS[y], traffic.own_address(HOSTS[y], family)), tried)
    return dict(zip(tried, got, strict=True))


def agree(ask, what):
    """Of all ordered pairs exactly those that are to speak do."""
    answers = tell(ask, [(x, y, family) for x, y in PAIRS for family in (4, 6)])
    expect({one for one, passed in answers.items() if passed}, set(talks()), what)


def test_reachability_is_what_the_configuration_declares():
    both = {pair for x, y in TALK for pair in ((x, y, 4), (x, y, 6), (y, x, 4), (y, x, 6))}
    both |= {pair for x, y in TALK4 for pair in ((x, y, 4), (y, x, 4))}
    expect(set(talks()), both, "who is to speak with whom")


class Ear:
    """What a host hears: datagrams, each the name of who sent it, and the address that it was sent to."""

    def __init__(self, host):
        with lab.inside(host.ns):
            self.socket = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        self.socket.bind(("::", HEARD))
        self.socket.setblocking(False)

    def heard(self):
        found = collections.Counter()
        with contextlib.suppress(BlockingIOError):
            while True:
                text, [(_, _, info), *_], _, _ = self.socket.recvmsg(64, 256)
                to = ipaddress.IPv6Address(info[:16])
                found[text.decode(), str(to.ipv4_mapped or to)] += 1
        self.socket.close()
        return found


def test_datagrams_arrive_exactly_where_it_says():
    """From each host to all addresses of all others, and one way is enough."""
    said = second.Reachability()
    to = {x: {address for y in HOSTS for address in traffic.all_addresses(HOSTS[y])} - set(traffic.all_addresses(HOSTS[x])) for x in HOSTS}
    ears = {name: Ear(host) for name, host in HOSTS.items()}
    for x in HOSTS:
        with lab.inside(HOSTS[x].ns), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
            sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            for address in to[x]:
                with contextlib.suppress(OSError):  # no way: what an earlier error said
                    sender.sendto(x.encode(), (address if ":" in address else f"::ffff:{address}", HEARD))
    time.sleep(1)
    expected = {(x, y, address) for x, y in PAIRS for address in traffic.all_addresses(HOSTS[y])
                if address in to[x] and said.reaches(x, y, address)}
    heard = {(x, y, address): count for y, ear in ears.items() for (x, address), count in ear.heard().items()}
    expect(heard, dict.fromkeys(expected, 1), "datagrams, from whom, at whom, to which address")
    one_way = {(x, y) for x, y, address in expected if ":" in address} - {(x, y) for x, y, family in talks() if family == 6}
    expect(one_way, {("a", "tgw"), ("vpc-a", "tgw")}, "who reaches another one way alone, in IPv6")


def test_pings_are_answered_exactly_where_it_says():
    agree(lambda x, y, address: traffic.ping(x, address, count=1) == 1, "who is answered")


def test_tcp_passes_exactly_where_it_says():
    agree(lambda x, y, address: traffic.transfer(x, y, address, octets=1_000_000, patience=1.5, limit=20)[0], "who has moved a megabyte whole")


def test_traceroute_tells_the_way_of_each():
    def way(x, y, family):
        at = 0 if family == 4 else 1
        first = overlay.ADDRESSES[at] if x in overlay.ENDS else (HOSTS[x].gw4, HOSTS[x].gw6)[at]
        return [first, *([second.INNER[at + 1][at]] if "a2" in (x, y) else []), traffic.own_address(HOSTS[y], family)]
    tried = talks()
    expect(tell(lambda x, _, address: traffic.traceroute(x, address), tried), {one: way(*one) for one in tried}, "the ways")


# ---- path MTU ---------------------------------------------------------------------------------------

def path_mtu(x, y, family):
    """The least of both ends' and of the tunnel between the stations."""
    ends = [MTU[overlay.ENDS[name].vtep] if name in overlay.ENDS else MTU.get(name, MTU["vlan"]) for name in (x, y)]
    return min(*ends, *([MTU[f"vtep{family}"]] if "a2" in (x, y) else []))


def test_ping_finds_each_path_mtu():
    rows = {row["vif"]: row["mtu"] for row in station.ctl("show", "tunnels")}
    of_vpcs = {name: MTU[end.vtep] for name, end in overlay.ENDS.items()}
    expect(rows, {**of_vpcs, "to-two-1": MTU["vtep4"], "to-two-2": MTU["vtep6"]}, "MTU of tunnels")
    for host in HOSTS.values():
        for family in ("-4", "-6"):
            lab.run("ip", family, "-n", host.ns, "route", "flush", "cache")

    def found(x, _, address):
        """The longest that passes, as ping says it: by the host's own device first, then by routers."""
        headers, octets = 48 if ":" in address else 28, MTU["vlan"]
        for _ in range(3):
            said = lab.run("ping", "-n", "-M", "do", "-s", octets - headers, "-c", 2, "-i", 0.2, "-W", 1, address, ns=x.ns, check=False)
            octets = min([octets, *(int(mtu) for mtu in re.findall(r"mtu ?[=:] ?(\d+)", said))])
        return octets, [traffic.ping(x, address, size=octets + more - headers, df=True, count=1, wait=0.5) for more in (0, 1)]
    tried = talks()
    expect(tell(found, tried), {one: (path_mtu(*one), [1, 0]) for one in tried}, "the longest that passes, whether it does, and whether one octet more")


# ---- the outer headers ------------------------------------------------------------------------------

def captured():
    """One file a port: pings, TCP, and the station's own answers to traceroute, by each kind of way."""
    files = [lab.RUN / f"cloud-{port}.pcap" for port in CORE]
    if not all(file.exists() for file in files):
        def send(x, y, family):
            return traffic.transfer(HOSTS[x], HOSTS[y], traffic.own_address(HOSTS[y], family), octets=20_000)
        # So many flows that they are not all of one port by chance. Who sends knows the path MTU beforehand: what the
        # station quotes of a packet that is too big is not whole, and is nothing to compute a checksum of.
        flows = [(x, y, family) for x, y in TALK for family in (4, 6)]
        case.at_once(send, flows)
        with contextlib.ExitStack() as stack:
            for port, file in zip(CORE, files, strict=True):
                stack.enter_context(traffic.tcpdump(port, "-U", "-w", file, "vlan", "and", "udp", "port", "4789"))
            tell(lambda x, _, address: traffic.ping(x, address, size=200), talks())
            tell(lambda x, _, address: traffic.traceroute(x, address), talks())
            case.at_once(send, 8 * flows)
            time.sleep(0.3)
    return files


def test_tcpdump_and_tshark_decode_the_outer_headers_clean():
    vnis = {end.vni for end in overlay.ENDS.values()} | {second.VNI}
    for file in captured():
        text = lab.run("tcpdump", "-nn", "-vvv", "-r", file)
        expect({int(vni) for vni in re.findall(r"VXLAN, flags \[I\] \(0x08\), vni (\d+)", text)}, vnis, f"VNIs in {file}, as tcpdump reads it")
        faults = [line for line in text.splitlines() if re.search(r"\b(bad|wrong|truncated|incorrect|invalid)\b|\[\|", line)]
        expect(faults, [], f"what tcpdump finds wrong in {file}")
        require("udp sum ok" in text and "[no cksum]" in text, "checksums of outer UDP, in IPv6 alone")
        if shutil.which("tshark"):
            checks = [word for protocol in ("ip", "udp", "tcp") for word in ("-o", f"{protocol}.check_checksum:TRUE")]
            wrong = ["_ws.malformed", '_ws.expert.severity == "Error"']
            wrong += [f"{protocol}.checksum.status == 0" for protocol in ("ip", "udp", "tcp", "icmp", "icmpv6")]
            # What is in TCP is nobody's protocol, whatever its ports.
            said = lab.run("tshark", "-n", "-r", file, *checks, "-d", "tcp.port==1-65535,data", "-Y", " || ".join(wrong)).splitlines()
            expect([line for line in said if line.lstrip()[:1].isdigit()], [], f"what tshark finds wrong in {file}")


def made_again(packet):
    """The octets of a packet, all lengths and checksums computed by scapy; one of 0 stays: there is none."""
    layer = packet
    while layer:
        layer.raw_packet_cache = None
        for name in ("len", "plen", "chksum", "cksum"):
            if layer.fields.get(name):
                del layer.fields[name]
        layer = layer.payload
    return bytes(packet)


def test_scapy_makes_the_same_octets_again():
    """And the outer headers are what RFC 7348 and RFC 6040 say; a flow keeps to a way, and the flows of each VNI take both."""
    try:
        from scapy.layers import inet, l2, vxlan
        from scapy.utils import RawPcapReader
    except ImportError:
        raise Skip("python3-scapy is not installed") from None
    def priority(header):
        return header.tos if header.version == 4 else header.tc
    macs = {end.vni: end.mac for end in overlay.ENDS.values()} | {second.VNI: second.MAC["two"]}
    ways = collections.defaultdict(set)  # port and outer source port of each flow
    for port, file in zip(CORE, captured(), strict=True):
        for number, (octets, _) in enumerate(RawPcapReader(str(file)), 1):
            frame, what = l2.Ether(octets), f"frame {number} of {file.name}"
            outer, tunnel = frame[l2.Dot1Q].payload, frame[vxlan.VXLAN]
            udp, inner, packet = outer[inet.UDP], tunnel.payload, tunnel.payload.payload
            expect(tunnel.original[:8].hex(), f"08000000{tunnel.vni:06x}00", f"VXLAN of {what}")
            expect((inner.src, inner.dst), (overlay.ROUTER_MAC, macs[tunnel.vni]), f"inner MACs of {what}")
            require(udp.dport == 4789 and udp.sport >= 49152, f"UDP ports of {what}: {udp.sport}, {udp.dport}")
            if outer.version == 4:
                expect((outer.ttl, str(outer.flags), outer.frag, udp.chksum), (64, "DF", 0, 0), f"outer IPv4 of {what}")
            else:
                expect((outer.hlim, udp.chksum != 0), (64, True), f"outer IPv6 of {what}")
            expect(priority(outer), priority(packet), f"DSCP and ECN of {what}")
            ports = [packet.payload.fields.get(key) for key in ("sport", "dport")]
            ways[tunnel.vni, packet.src, packet.dst, packet.fields.get("fl"), *ports].add((port, udp.sport))
            expect(made_again(frame).hex(), octets.hex(), what)
    expect({flow: taken for flow, taken in ways.items() if len(taken) != 1}, {}, "flows that have changed their way")
    by_port = {(vni, port) for (vni, *_), taken in ways.items() for port, _ in taken}
    expect(by_port, set(itertools.product(macs, CORE)), "VNIs and the ports that their flows take")


# ---- two core ports ---------------------------------------------------------------------------------

def test_the_loss_of_a_core_port_leaves_the_other_way():
    for lost, left in (CORE, CORE[::-1]):
        lab.ip("st-wire", f"link set dev {lost} down", f"link set dev {lost}b down")
        try:
            wait_until(lambda lost=lost: not station.ports()[lost]["up"], 2, f"{lost} is down")
            # The fabric notices as well.
            for name in overlay.ENDS:
                overlay.lead(name, (left,))
            expect({row["state"] for row in station.ctl("show", "tunnels")}, {"up"}, f"tunnels without {lost}")
            agree(lambda x, y, address: traffic.ping(x, address, count=1) == 1, f"who is answered without {lost}")
        finally:
            lab.ip("st-wire", f"link set dev {lost} up", f"link set dev {lost}b up")
            wait_until(lambda lost=lost: station.ports()[lost]["up"], 5, f"{lost} is up")
            for name in overlay.ENDS:
                overlay.lead(name, CORE)


def test_much_arrives_whole_by_each_kind_of_way():
    some = [("a", "vpc-a", 4), ("vpc-b", "b", 6), ("c", "pub", 6), ("tgw", "d", 4), ("a", "tgw", 4), ("a", "a2", 4), ("a2", "vpc-a", 6)]
    for x, y, family in talks() if ALL else some:
        intact, rate = traffic.transfer(HOSTS[x], HOSTS[y], traffic.own_address(HOSTS[y], family))
        require(intact, f"100 MB from {x} to {y}, IPv{family}: whole ({rate:.0f} Mbit/s)")
        print(f"        100 MB from {x} to {y}, IPv{family}: {rate:.0f} Mbit/s")


def test_the_books_of_the_second_station_balance():
    second.balanced()
