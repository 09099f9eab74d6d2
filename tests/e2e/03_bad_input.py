"""Bad input: each row is a frame put on the wire of cust0, as the frame of VIF a where it has a VIF,
and the one counter that it must increment. Nobody may receive it. (A frame shorter than an Ethernet
header cannot be sent here: the unit tests have it.)"""

import struct

import frames
import lab
import ledger
from case import HOSTS, counted, expect, require
from frames import ETH_ARP, ETH_IPV4, ETH_IPV6, ETH_SERVICE, ETH_VLAN, ICMP, TCP, UDP, eth, ipv4, ipv6, udp

EACH = 3
A = HOSTS["a"]
TAGS = (100,)
PORT = A.port_mac
GROUP = "01:00:5e:01:01:01"
BROADCAST = "ff:ff:ff:ff:ff:ff"
SRC, DST = "10.1.0.10", "10.2.0.10"
SRC6, DST6 = "fd10:1::10", "fd10:2::10"
MARKED = (lab.MARK + bytes([A.index])).ljust(18, b"\0")


def good(src=SRC, dst=DST, **fields):
    """A datagram with one thing wrong."""
    return ipv4(src, dst, UDP, udp(src, dst, MARKED), **fields)


def good6(src=SRC6, dst=DST6, **fields):
    return ipv6(src, dst, UDP, udp(src, dst, MARKED), **fields)


def frame(payload=None, dst=PORT, src=A.mac, kind=ETH_IPV4, tags=TAGS):
    return eth(dst, src, kind, good() if payload is None else payload, tags)


def frame6(payload, dst=PORT):
    return frame(payload, dst=dst, kind=ETH_IPV6)


def arp(*, op=1, sender_mac=A.mac, sender=None, target="169.254.0.1", hlen=6):
    sender = sender or A.peer4.split("/")[0]
    return frame(src=sender_mac, payload=struct.pack("!HHBBH", 1, ETH_IPV4, hlen, 4, op) + frames.mac(sender_mac) + frames.ip(sender)
                 + b"\0" * 6 + frames.ip(target), dst=BROADCAST, kind=ETH_ARP)


def icmp6(kind, body, *, src=None, dst="fd00:a::1", hops=255):
    src = src or A.peer6.split("/")[0]
    message = bytes([kind, 0, 0, 0]) + body
    check = frames.checksum(frames.pseudo(src, dst, 58, len(message)) + message)
    message = message[:2] + struct.pack("!H", check) + message[4:]
    return frame6(ipv6(src, dst, 58, message, hops=hops))


LAYER2 = [
    ("a tag that ends early", eth(PORT, A.mac, ETH_VLAN, b""), "truncated_tag"),
    ("a second tag that ends early", eth(PORT, A.mac, ETH_VLAN, b"\0", tags=(100,)), "truncated_tag"),
    ("no tag", frame(tags=()), "untagged"),
    ("an unknown VLAN id", frame(tags=(999,)), "unknown_vlan"),
    ("VLAN id 0", frame(tags=(0,)), "priority_tag"),
    ("VLAN id 4095", frame(tags=(4095,)), "reserved_vlan"),
    ("two tags where one is configured", frame(tags=(100, 200)), "unexpected_inner_tag"),
    ("a core VLAN inside a customer's", frame(tags=(100, 1100)), "unexpected_inner_tag"),
    ("a service tag", frame(tags=((ETH_SERVICE, 100),)), "unexpected_service_tag"),
    ("three tags", frame(tags=(100, 200, 300)), "too_many_tags"),
    ("a VLAN id of another port", frame(tags=(1100,)), "unknown_vlan"),
    ("the outer VLAN id of another port", frame(tags=(500, 10)), "unknown_vlan"),
    ("a multicast source MAC", frame(src="03:00:00:00:00:01"), "source_mac_multicast"),
    ("source MAC = destination MAC", frame(src=PORT), "mac_loop"),
    ("another's MAC", frame(dst="02:99:00:00:00:01"), "not_our_mac"),
    ("bridge control", frame(dst="01:80:c2:00:00:00"), "reserved_mac"),
]

VIF = [
    ("unicast IP in a broadcast frame", frame(dst=BROADCAST), "unicast_in_group_mac"),
    ("unicast IPv6 in a multicast frame", frame6(good6(), dst="33:33:00:00:00:01"), "unicast_in_group_mac"),
    ("PPPoE", frame(b"\x11" * 46, kind=0x8864), "unknown_ethertype"),
    ("MPLS", frame(b"\x11" * 46, kind=0x8847), "unknown_ethertype"),
    ("IPv6 as IPv4", frame(good6()), "bad_version"),
    ("IPv4 as IPv6", frame6(good() + b"\0" * 40), "bad_version"),
    ("longer than the MTU", frame(ipv4(SRC, DST, UDP, b"\0" * 1481)), "frame_too_long"),
    ("IPv6 longer than the MTU", frame6(ipv6(SRC6, DST6, UDP, b"\0" * 1461)), "frame_too_long"),
    ("IHL 4", frame(good(ihl=4)), "bad_header_length"),
    ("IHL beyond the frame", frame(ipv4(SRC, DST, UDP, b"\0" * 8, ihl=15)), "bad_header_length"),
    ("total length less than the header", frame(good(total=19)), "bad_total_length"),
    ("total length beyond the frame", frame(good(total=47)), "bad_total_length"),
    ("a wrong checksum", frame(good(check=0x1234)), "bad_checksum"),
    ("source 0/8", frame(good("0.0.0.1")), "martian_source"),
    ("source 127/8", frame(good("127.0.0.1")), "martian_source"),
    ("source multicast", frame(good("224.0.0.5")), "martian_source"),
    ("source broadcast", frame(good("255.255.255.255")), "martian_source"),
    ("source class E", frame(good("240.0.0.1")), "martian_source"),
    ("destination 0/8", frame(good(dst="0.1.2.3")), "martian_destination"),
    ("destination 127/8", frame(good(dst="127.0.0.1")), "martian_destination"),
    ("a link-local destination on no subnet", frame(good(dst="169.254.77.2")), "link_local_off_link"),
    ("source = destination", frame(good(SRC, SRC)), "land"),
    ("a fragment at offset 1", frame(ipv4(SRC, DST, TCP, b"\0" * 20, offset=1)), "tiny_fragment"),
    ("loose source route", frame(good(options=b"\x83\x07\x04\x0a\x02\x00\x0a\x00")), "source_route"),
    ("strict source route", frame(good(options=b"\x89\x07\x04\x0a\x02\x00\x0a\x00")), "source_route"),
    ("multicast", frame(good(dst="224.1.1.1"), dst=GROUP), "multicast"),
    ("limited broadcast", frame(good(dst="255.255.255.255"), dst=BROADCAST), "multicast"),
    ("directed broadcast", frame(good(dst="169.254.255.3")), "directed_broadcast"),
    ("payload beyond the frame", frame6(good6(length=27)), "bad_total_length"),
    ("IPv6 header that ends early", frame6(good6()[:39]), "bad_header_length"),
    ("source ::1", frame6(good6("::1")), "martian_source"),
    ("source ::", frame6(good6("::")), "martian_source"),
    ("source multicast, IPv6", frame6(good6("ff02::1")), "martian_source"),
    ("destination ::1", frame6(good6(dst="::1")), "martian_destination"),
    ("source = destination, IPv6", frame6(good6(SRC6, SRC6)), "land"),
    ("multicast, IPv6", frame6(good6(dst="ff05::1234"), dst="33:33:00:00:12:34"), "multicast"),
    ("a jumbogram", frame6(ipv6(SRC6, DST6, 0, b"\x11\x00\xc2\x04\x00\x01\x00\x00" + b"\0" * 40, length=0)),
     "jumbogram"),
    ("a forged source", frame(good("10.9.9.9")), "spoofed_source"),
    ("another VIF's source", frame(good("10.3.0.10")), "foreign_source"),
]

# Outcomes of the slow path: the frame is a punt, and this became of it.
SLOW = [
    ("an ARP reply from outside the subnet", arp(op=2, sender="10.9.9.9"), "arp_off_subnet"),
    ("ARP with our address", arp(sender="169.254.0.1", target="169.254.0.1"), "address_conflict"),
    ("an ARP reply from another MAC", arp(op=2, sender_mac="02:99:00:00:00:01"), "neighbor_claimed"),
    ("ARP with another hardware length", arp(hlen=8), "bad_arp"),
    ("neighbor solicitation from off the link", icmp6(135, b"\0" * 4 + frames.ip("fd00:a::1"), hops=254), "bad_nd"),
    ("neighbor solicitation with an option of length 0",
     icmp6(135, b"\0" * 4 + frames.ip("fd00:a::1") + b"\x01\x00" + b"\0" * 6), "bad_nd"),
    ("a forged router advertisement", icmp6(134, struct.pack("!BBHII", 64, 0, 1800, 0, 0), src="fe80::9"),
     "router_advertisement"),
    ("an ICMP error that needs an ICMP error",
     frame(ipv4(SRC, "10.99.0.1", ICMP, b"\x03\x01\xfc\xfe" + b"\0" * 4 + good()[:28])), "icmp_not_allowed"),
]


def send_each(rows, counted_as):
    """Puts each row on the wire; `counted_as`: which counters of a difference must name its reason."""
    faults = []
    before = ledger.quiet()
    for name, octets, reason in rows:
        with frames.Raw("st-wire", "cust0") as raw:
            raw.send(octets, EACH)
        after = ledger.quiet()
        seen, before = after - before, after
        delivered = sum(ledger.total(counts, "from ") for counts in seen.hosts.values())
        got = dict(counted_as(seen))
        if (got, delivered) != ({reason: EACH}, 0):
            faults.append(f"{name}: counted {got}, delivered {delivered}; expected {reason}")
        faults += seen.unbalanced()
    require(not faults, "\n".join(["", *faults]))


def silence(state):
    """The hosts of cust0 say nothing of their own meanwhile."""
    lab.ip("st-wire", *[f"link set dev h-{host.name} {state}" for host in HOSTS.values() if host.port == "cust0"])


def begin():
    silence("down")


def end():
    silence("up")


def test_each_bad_frame_has_its_reason():
    send_each(LAYER2, lambda seen: seen.drops())


def test_each_bad_packet_has_its_reason():
    send_each(VIF, lambda seen: seen.drops("a"))


def test_each_bad_punt_has_its_outcome():
    send_each(SLOW, lambda seen: seen.slow("a"))


def test_a_packet_shorter_than_its_frame_is_trimmed():
    with frames.Raw("st-wire", "core0") as core, frames.Raw("st-wire", "cust0") as raw:
        raw.send(frame(good() + b"\xee" * 60))
        out = [octets for octets in core.received() if frames.l3(octets)[0] == ETH_IPV4]
    expect([frames.l3(octets)[1].rstrip(b"\0") for octets in out], [good(ttl=63).rstrip(b"\0")], "what left")


def test_unusual_but_valid_packets_pass():
    atomic = ipv6(SRC6, DST6, 44, b"\x11\0\0\0\0\0\0\x07" + udp(SRC6, DST6, MARKED))
    routing0 = ipv6(SRC6, DST6, 43, b"\x11\x02\0\x01\0\0\0\0" + frames.ip("fd10:2::11") + udp(SRC6, DST6, MARKED))
    rows = [("an atomic fragment", frame6(atomic)), ("a routing header of type 0", frame6(routing0))]
    for name, octets in rows:
        with counted() as seen, frames.Raw("st-wire", "cust0") as raw:
            raw.send(octets, EACH)
        expect(seen.it.vifs["a"]["forwarded"], EACH, f"forwarded of {name}")
