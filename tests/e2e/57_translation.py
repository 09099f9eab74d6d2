"""A VIF translates addresses: real hosts, errors that quote translated packets, exact counters, reloads under traffic.
A Linux router that translates by nft (IPv4) and by NPT (IPv6) gets the same random packets as the station."""

import collections
import ipaddress
import itertools
import json
import random
import struct
import time

import case
import drawn
import frames
import kernel_router
import lab
import ledger
import station
import traffic
from case import HOSTS, answered, expect, refused, replaced, require, wait_until
from drawn import layer4, near, translated
from frames import ETH_IPV4, ETH_IPV6, ICMP, ICMPV6, TCP, UDP, checksum, echo, ethertype, ipv4
from kernel_router import by_number, same_sums
from steady import Steady

A, B, CLOUD, VPC_B = (HOSTS[name] for name in ("a", "b", "vpc-a", "vpc-b"))
# Inside and outside.
PAIRS = [("10.1.0.0/24", "172.20.5.0/24"), ("10.1.64.0/19", "172.21.32.0/19"), ("10.1.2.7/32", "172.20.9.9/32"),
         ("fd10:1::/64", "fd20:9:9:7::/64"), ("fd10:1:0:8000::/49", "fd20:8:1::/49"), ("fd11:1::/48", "fd21:77::/48"),
         ("fd12:1000::/36", "fd22:8000::/36")]
STOLEN = ("10.1.200.0/24", "10.3.7.0/24")  # the outside is another site's
ROUTED = ["172.20.0.0/15", "fd11::/16", "fd12::/16", "fd20::/12"]  # to a, beside its LANs
INSIDE = {4: A.addr4, 6: A.addr6}
OUTSIDE = {family: translated(PAIRS, address) for family, address in INSIDE.items()}
OF_A = [ipaddress.ip_network(net) for net in (*ROUTED, *kernel_router.lans(A))]
PACKETS = 2000  # with either side's MTU the smaller one
NOT_INSIDE = {4: "10.1.1.1", 6: "fd10:1:0:1::1"}  # a has these too


def config(pairs=(*PAIRS, STOLEN), neighbors=True, **mtus):
    """The lab's configuration, where VIF a translates. `mtus`: by side."""
    text = case.lab_config()
    for side, (host, _, _) in kernel_router.SIDES.items():
        fields = f"mtu = {mtus.get(side, 1500)}\n"
        if side == "customer" and pairs:
            fields += f"translate = {json.dumps([' as '.join(pair) for pair in pairs])}\n"
        text = replaced(text, (f'name = "{host.name}"\nport', f'name = "{host.name}"\n{fields}port'))
    for prefix in ROUTED:
        via = kernel_router.peers(A)[":" in prefix]
        text += f'\n[[route]]\nvrf = "vpc-a"\nprefix = "{prefix}"\nvia = [{{ address = "{via}" }}]\n'
    return text + kernel_router.neighbors() if neighbors else text


def begin():
    case.fresh(config())


def end():
    kernel_router.down()


def reload(*pairs, **mtus):
    station.write_config(config(*pairs, **mtus))
    station.ctl("reload")


# ---- real hosts ---------------------------------------------------------------------------------

def addresses(raw, at):
    """The sources (`at` is 0) or the destinations (1) of the unicast IP packets that a socket has received."""
    seen = set()
    for frame in raw.received(quiet=0.1):
        kind, packet = frames.l3(frame)
        if kind in (ETH_IPV4, ETH_IPV6) and not frame[0] & 1:
            size, first = (4, 12) if kind == ETH_IPV4 else (16, 8)
            seen.add(str(ipaddress.ip_address(packet[first + at * size:][:size])))
    return seen


def source_seen(family=4, own=None):
    """The source that the cloud sees of a datagram from a."""
    cloud = traffic.address(CLOUD, family)
    return traffic.conversation(A, CLOUD, cloud, at=cloud, own=own or INSIDE[family])


def test_hosts_and_the_cloud_reach_each_other_and_the_cloud_sees_outside_addresses_alone():
    with (frames.Raw("st-wire", "core0", promiscuous=True) as to_cloud, case.counted() as seen,
          frames.Raw("st-wire", "cust0", promiscuous=True) as to_a):
        for family in (4, 6):
            cloud, inside, outside = traffic.address(CLOUD, family), INSIDE[family], OUTSIDE[family]
            answered(A, cloud, "the cloud, from inside")
            answered(CLOUD, outside, "the inside, from the cloud")
            answered(A, A.gw6 if family == 6 else A.gw4, "the router, from inside")
            expect(source_seen(family), outside, "the source that the cloud sees")
            expect(traffic.conversation(CLOUD, A, outside, at=inside, own=cloud), cloud, "the source that a sees")
            own = NOT_INSIDE[family]
            expect(source_seen(family, own), own, "a source that is not inside, as the cloud sees it")
            for sender, receiver, target, at in ((A, CLOUD, cloud, cloud), (CLOUD, A, outside, inside)):
                intact, rate = traffic.transfer(sender, receiver, target, at=at, octets=3_000_000)
                require(intact, f"TCP from {sender.name} to {target}: whole ({rate:.0f} Mbit/s)")
        sources, targets = addresses(to_cloud, 0), addresses(to_a, 1)
    for family in (4, 6):
        require(OUTSIDE[family] in sources and INSIDE[family] not in sources, f"sources that the cloud sees: {sources}")
        require(INSIDE[family] in targets and OUTSIDE[family] not in targets, f"destinations that a sees: {targets}")
    for name, vif in seen.it.vifs.items():
        if name not in ("a", "vpc-a"):
            expect((vif["forwarded"], vif["tx_frames"] - vif["originated"]), (0, 0), f"frames through VIF {name}")
        expect(bool(vif["rx_translated"] and vif["tx_translated"]), name == "a", f"whether VIF {name} translates")
    # Another tenant has the same addresses.
    own, cloud = B.addr4, VPC_B.addr4
    expect(traffic.conversation(B, VPC_B, cloud, at=cloud, own=own), own, "the source that another tenant's cloud sees")
    expect(traffic.ping(B, OUTSIDE[4], wait=0.2), 0, "replies to another tenant from the outside")


def test_every_hop_is_seen_from_both_sides():
    for family in (4, 6):
        cloud, outside = traffic.address(CLOUD, family), OUTSIDE[family]
        gateways = [(host.gw4, host.gw6)[family == 6] for host in (A, CLOUD)]
        expect(traffic.traceroute(A, cloud), [gateways[0], cloud], "hops from inside")
        expect(traffic.traceroute(CLOUD, outside), [gateways[1], outside], "hops from the cloud")


def errors(raw, target):
    """The ICMP errors to an address that a socket has received."""
    at, icmp, kinds = (40, ICMPV6, range(1, 5)) if ":" in target else (20, ICMP, (3, 11, 12))
    packets = [packet for kind, packet in map(frames.l3, raw.received(quiet=0.05)) if kind == ethertype(target)]
    return [packet for packet in packets if packet[6 if at == 40 else 9] == icmp and packet[at] in kinds]


def test_an_error_of_the_station_quotes_what_the_host_sent():
    for family in (4, 6):
        inside, cloud, gateway = INSIDE[family], traffic.address(CLOUD, family), (A.gw4, A.gw6)[family == 6]
        icmp, hops, header, exceeded = (ICMP, "ttl", 20, 11) if family == 4 else (ICMPV6, "hops", 40, 3)
        ends = frames.ip(gateway) + frames.ip(inside)
        for upper in (layer4(TCP, inside, cloud, b"x" * 9), layer4(UDP, inside, cloud, b"x" * 8),
                      (UDP, struct.pack("!HHHH", 1, 2, 8, 0)), (icmp, echo(inside, cloud, b"x"))):
            sent = frames.packet(inside, cloud, *upper, **{hops: 1})
            packets = []
            with frames.Raw(A.ns) as raw:
                raw.send(frames.eth(A.port_mac, A.mac, ethertype(inside), sent))
                wait_until(lambda: packets.extend(errors(raw, inside)) or packets, 5, f"answers to protocol {upper[0]}")
            [packet] = packets
            error = packet[header:]
            covered = frames.pseudo(gateway, inside, ICMPV6, len(error)) if family == 6 else b""
            expect((packet[header - len(ends):header], error[0], checksum(covered + error)), (ends, exceeded, 0),
                   "addresses, type and remaining sum of the error")
            expect(error[8:], sent[:len(error) - 8], "the quotation")


def test_both_ends_learn_the_path_mtu():
    for host, peer, small in ((A, CLOUD, "cloud"), (CLOUD, A, "customer")):
        reload(**{small: 1300})
        for family in (4, 6):
            own, at = traffic.address(host, family), traffic.address(peer, family)
            target = at if host is A else OUTSIDE[family]
            replies = traffic.ping(host, target, size=1400, df=True, wait=0.3)
            expect(replies, 0, f"replies to what is too long for the {small}'s VIF")
            route = lab.run("ip", "-n", host.ns, "route", "get", target, "from", own)
            require("mtu 1300" in route, f"the kernel of {host.name} learned the path's MTU: {route}")
            require(traffic.transfer(host, peer, target, at=at, octets=300_000)[0], f"TCP to {target} after that")
            lab.run("ip", f"-{family}", "-n", host.ns, "route", "flush", "cache")
    reload()


def test_what_waits_for_a_neighbor_is_translated_too():
    station.stop()
    lab.ip("st-wire", "link set dev h-a down")
    station.start(config(neighbors=False))
    with case.counted() as seen, frames.Raw(A.ns) as at_a, frames.Raw(CLOUD.ns) as cloud:
        for family in (4, 6):
            cloud.send(frames.datagram(CLOUD, traffic.address(CLOUD, family), OUTSIDE[family]))
        wait_until(lambda: ledger.Snapshot().slow("vpc-a")["queued"] == 2, 5, "both wait")
        lab.ip("st-wire", "link set dev h-a up")
        came = set()
        wait_until(lambda: came.update(addresses(at_a, 1)) or came >= {*INSIDE.values()}, 10, "both come to the inside")
    expect((seen.it.hosts["a"]["from vpc-a"], came & {*OUTSIDE.values()}), (2, set()), "what came, and what to outside")
    reload()


# ---- counters and configuration -----------------------------------------------------------------

def test_counters_are_what_was_sent_and_the_rest_passes_as_it_is():
    with case.counted() as seen, frames.Raw(A.ns) as a, frames.Raw(CLOUD.ns) as cloud, frames.Raw(B.ns) as b:
        def send(raw, host, source, target, count):
            raw.send(frames.datagram(host, source, target), count)
        for family, (inside, own, spoofed) in {4: (11, 5, 3), 6: (12, 6, 2)}.items():
            to = traffic.address(CLOUD, family)
            send(a, A, INSIDE[family], to, inside)
            send(a, A, NOT_INSIDE[family], to, own)
            send(a, A, {4: "10.9.0.1", 6: "fd77::1"}[family], to, spoofed)
            send(cloud, CLOUD, to, OUTSIDE[family], 7)
            send(cloud, CLOUD, to, NOT_INSIDE[family], 8)
            send(b, B, traffic.address(B, family), traffic.address(VPC_B, family), 9)
        send(a, A, "10.1.200.9", CLOUD.addr4, 4)  # of STOLEN
        for address in ("fd11:1:0:ffff::1", "fd12:1000:0:ffff::", "fd10:1::ffff:ffff:ffff:ffff"):
            send(a, A, address, CLOUD.addr6, 2)
        for address in ("fd21:77:0:ffff::1", "fd20:9:9:7:ffff:ffff:ffff:ffff"):
            send(cloud, CLOUD, CLOUD.addr6, address, 3)
        for raw, host, source, target in ((a, A, INSIDE[4], CLOUD.addr4), (cloud, CLOUD, CLOUD.addr4, OUTSIDE[4])):
            # Each ends before its checksum does.
            for protocol, length, first in ((TCP, 8, True), (TCP, 17, False), (UDP, 7, False)):
                packet = ipv4(source, target, protocol, bytes(length), mf=first)
                raw.send(frames.eth(host.port_mac, host.mac, ETH_IPV4, packet), 2)
    vifs, hosts = seen.it.vifs, seen.it.hosts
    expect((vifs["a"]["rx_translated"], vifs["a"]["tx_translated"]), (11 + 12 + 4, 7 + 7), "what VIF a translated")
    expect({name for name, vif in vifs.items() if vif["rx_translated"] + vif["tx_translated"]}, {"a"}, "those that did")
    expect(seen.it.drops("a"), {"spoofed_source": 3 + 2, "foreign_source": 4, "untranslatable": 6 + 6}, "drops of a")
    expect(seen.it.drops("vpc-a"), {"untranslatable": 6 + 6}, "drops of vpc-a")
    expect(hosts["vpc-a"]["from a"], 11 + 12 + 5 + 6, "datagrams that came to the cloud")
    expect(hosts["a"]["from vpc-a"], 2 * (7 + 8), "datagrams that came to a")
    expect(hosts["vpc-b"]["from b"], 2 * 9, "datagrams that came to another tenant's cloud")


def test_what_is_translated_is_shown_and_explained():
    rows = station.ctl("show", "translations")
    expect([(row["vif"], row["vrf"], row["inside"], row["outside"]) for row in rows],
           [("a", "vpc-a", *pair) for pair in (*PAIRS, STOLEN)], "show translations")
    for family in (4, 6):
        there, back = INSIDE[family], traffic.address(CLOUD, family)
        for vif, stage, source, target, words in (
                ("a", "translate_in", there, back, f"source {there} becomes {OUTSIDE[family]}"),
                ("vpc-a", "translate_out", back, OUTSIDE[family], f"destination {OUTSIDE[family]} becomes {there}")):
            [row] = station.ctl("explain", "--vif", vif, "--from", source, "--to", target)
            said = {step["stage"]: step["detail"] for step in row["stages"]}
            require(words in said.get(stage, ""), f"{stage}: {said}")


def test_pairs_that_meet_are_refused_and_change_nothing():
    for pairs, words in (
        ([("10.1.0.0/24", "172.20.5.0/24"), ("10.1.0.7/32", "172.20.6.7/32")], "both have 10.1.0.7/32"),
        ([("10.1.0.0/24", "172.20.5.0/24"), ("10.1.1.0/24", "172.20.5.0/24")], "both have 172.20.5.0/24"),
        ([("10.1.0.0/24", "172.20.5.0/25")], "two lengths"),
        ([("10.1.0.0/24", "fd20::/24")], "two families"),
        ([("fd10:1::/65", "fd20:1::/65")], "longer than /64"),
    ):
        station.write_config(config(pairs))
        why = refused("reload")
        require(words in why, f"{pairs}: {why}")
    station.write_config(config())
    expect(source_seen(), OUTSIDE[4], "the source that the cloud sees")


def test_translations_that_come_and_go_cost_no_other_vif_a_frame():
    before = ledger.Snapshot()
    with Steady("b", ["vpc-b"]) as of_b, Steady("a2", ["vpc-a"], six=True) as of_a2:
        end = time.monotonic() + 1.5
        for pairs in itertools.cycle([[], PAIRS, PAIRS[1:], PAIRS[:1]]):
            if time.monotonic() > end:
                break
            reload(pairs)
            wanted = OUTSIDE[4] if PAIRS[0] in pairs else INSIDE[4]
            expect(source_seen(), wanted, f"the source that the cloud sees with {len(pairs)} translations")
    for name, flow in (("b", of_b), ("a2", of_a2)):
        require(flow.loss.sent > 300 and flow.loss.lost == flow.loss.twice == 0,
                f"datagrams from {name}: {flow.loss}: {ledger.lost(ledger.Snapshot() - before)}")
    reload()


# ---- a kernel router that translates ------------------------------------------------------------

def draw(rng, number, small):
    """A random packet: the sides it enters and leaves by, its kind, itself, what has to leave the station, and whether
    the kernel router translates it too. The MTU is the smaller one at the side `small`."""
    side, family = rng.choice([*kernel_router.SIDES]), rng.choice([4, 6])
    kind = rng.choice(drawn.KINDS[family])
    inside, outside = rng.choice([pair for pair in PAIRS if (":" in pair[0]) == (family == 6)])
    far = str(ipaddress.ip_address({4: "10.2.0.0", 6: "fd10:2::"}[family]) + rng.getrandbits(16 * family - 48))
    out = "customer" if side == "cloud" or rng.random() < 0.1 else "cloud"
    source = new_source = target = new_target = far
    if side == "customer":
        source = near(rng, inside, OF_A)
        new_source = translated(PAIRS, source)
    if out == "customer":
        target = near(rng, outside, OF_A)
        new_target = translated(PAIRS, target, back=True)
    room = 1400 if family == 4 and side != small else 1200
    make, ttl = drawn.maker(rng, kind, (new_source, new_target), number, room), rng.randrange(2, 256)
    # A router of a's that is not inside itself may quote what is.
    router = NOT_INSIDE[family] if side == "customer" and rng.random() < 0.3 else None
    # The kernel's nft leaves quotations as they are and does not know DCCP. Its NPT leaves quotations of such a router
    # as they are, and translates nothing that turns back.
    known = kind != "dccp" and (kind != "error" or family == 6 and not router) and (family == 4 or side != out)
    return side, out, kind, make(source, target, ttl, router), make(new_source, new_target, ttl - 1, router), known


def test_a_kernel_router_translates_the_same_packets_to_the_same_octets():
    kernel_router.up(1500, *[f"route replace {net} via {kernel_router.peers(A)[':' in net]}" for net in ROUTED])
    kernel_router.translate(PAIRS)
    kernel, ours = kernel_router.wires()
    rng = random.Random(6296)
    faults, tried = [], collections.Counter()
    for small in kernel_router.SIDES:
        reload(PAIRS, **{small: 1300})
        lab.ip(kernel_router.NS, *[f"link set dev {name} mtu {1300 if side == small else 1500}"
                                   for side, name in (("customer", "in"), ("cloud", "out"))])
        sent = {number: draw(rng, number, small) for number in range(1, PACKETS + 1)}
        left = [], []
        for number, (side, _, _, packet, *_) in sent.items():
            kernel_router.send(side, ETH_IPV4 if packet[0] >> 4 == 4 else ETH_IPV6, packet, kernel=kernel, ours=ours)
            if number % 30 == 0 or number == PACKETS:
                quiet = 0.5 if number == PACKETS else 0.015
                for router, now in zip(left, kernel_router.outputs(kernel, ours, quiet=quiet), strict=True):
                    router.extend(now)
        theirs, mine = map(by_number, left)
        for number, (side, out, kind, packet, wanted, known) in sent.items():
            got, linux = mine[number], theirs[number]
            whole = kind != "record" and len(wanted) <= (1300 if out == small else 1500)
            right = not whole or got == [(out, wanted)]
            same = not known or sorted(map(same_sums, linux)) == sorted(map(same_sums, got))
            if not (right and same):
                octets = [f"{name} {[packet.hex() for _, packet in left]}"
                          for name, left in (("wanted ", [(out, wanted)]), ("kernel ", linux), ("station", got))]
                faults.append("\n  ".join([f"{number}, {kind} from the {side}: {packet.hex()}", *octets]))
            tried.update({kind: 1, "computed": whole, "kernel": known, "fragmented": len(got) > 1, "back": side == out})
    require(not faults, f"{len(faults)} of {2 * PACKETS}:\n" + "\n".join(faults[:20]))
    require(all(tried[what] > 10 for what in [*drawn.KINDS[4], "fragmented", "back"]), f"what was tried: {tried}")
