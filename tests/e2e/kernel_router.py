"""A Linux kernel router beside the station, with the same addresses, routes and neighbors, on wires of its own: what a
test sends to both should leave both alike."""

import collections
import ipaddress

import frames
import lab
from case import HOSTS, Skip
from frames import ETH_IPV4, ETH_IPV6, ICMPV6, TCP, eth

A, CLOUD = HOSTS["a"], HOSTS["vpc-a"]
NS = "st-kernel"
SIDES = {  # side: (its host, where the station's frames are, where the kernel router's are)
    "customer": (A, "cust0", "k-in"),
    "cloud": (CLOUD, "core0", "k-out"),
}


def up(mtu, *lines, inside=1500, wire=lab.PORT_MTU):
    """Makes the router. `mtu`: of the cloud's side; `inside`: of the customer's; `wire`: of what leads there; `lines`: what
    ip(8) does in its namespace besides."""
    lab.run("ip", "netns", "add", NS)
    lab.sysctl(NS, ipv4__ip_forward=1, ipv6__conf__all__forwarding=1, ipv4__conf__all__rp_filter=1,
               ipv4__conf__default__rp_filter=1, ipv4__icmp_ratelimit=0, ipv6__icmp__ratelimit=0,
               ipv4__conf__all__send_redirects=0, ipv4__conf__default__send_redirects=0,
               ipv6__conf__default__accept_dad=0, ipv6__conf__default__accept_ra=0)
    for (host, port, end), name in zip(SIDES.values(), ["in", "out"], strict=True):
        lab.run("ip", "link", "add", "name", name, "address", lab.PORTS[port], "mtu", wire, "netns", NS,
                "type", "veth", "peer", "name", end, "mtu", wire, "netns", "st-wire")
        lab.offloads_off(NS, name)
        lab.offloads_off("st-wire", end)
        lab.ip("st-wire", f"link set dev {end} up")
        peer4, peer6 = peers(host)
        lab.ip(NS, f"link set dev {name} mtu {mtu if name == 'out' else inside} up",
               f"addr add {host.gw4}/30 dev {name}", f"addr add {host.gw6}/64 dev {name} nodad",
               f"neigh replace {peer4} lladdr {host.mac} dev {name} nud permanent",
               f"neigh replace {peer6} lladdr {host.mac} dev {name} nud permanent",
               *[f"route add {net} via {peer6 if ':' in net else peer4}" for net in lans(host)])
    lab.ip(NS, "link set lo up", *lines)


def down():
    """Removes the router, and lets the hosts speak again."""
    lab.ip("st-wire", *[f"link set dev h-{host.name} up" for host, _, _ in SIDES.values()])
    lab.run("ip", "netns", "del", NS, check=False)


def translate(pairs):
    """Has the router translate the addresses of the customer's side, inside to outside, and back. IPv6 is translated at
    the cloud's side: the kernel knows no translation of sources that enter, and none of destinations that leave."""
    rules = {"before": [], "behind": []}
    for inside, outside in pairs:
        if ":" in inside:
            needed("ip6tables-legacy", "-t", "mangle", "-A", "POSTROUTING", "-o", "out", "-s", inside,
                   "-j", "SNPT", "--src-pfx", inside, "--dst-pfx", outside)
            needed("ip6tables-legacy", "-t", "mangle", "-A", "PREROUTING", "-i", "out", "-d", outside,
                   "-j", "DNPT", "--src-pfx", outside, "--dst-pfx", inside)
            continue
        for chain, interface, field, old, new in (("before", "iifname", "saddr", inside, outside),
                                                  ("behind", "oifname", "daddr", outside, inside)):
            net = ipaddress.ip_network(new)
            rules[chain].append(f'{interface} "in" ip {field} {old} ip {field} set '
                                f"ip {field} and {net.hostmask} or {net.network_address}\n")
    chains = [f"chain {name} {{ type filter hook {hook} priority raw\n{''.join(rules[name])}}}\n"
              for name, hook in (("before", "prerouting"), ("behind", "postrouting"))]
    needed("nft", "-f", "-", stdin=f"table ip translation {{\n{''.join(chains)}}}\n")


def needed(*command, **options):
    """Runs a command in the router's namespace; without it no test can go on."""
    try:
        lab.run(*command, ns=NS, **options)
    except (FileNotFoundError, RuntimeError) as why:
        raise Skip(f"the kernel router cannot translate: {why}") from None


def peers(host):
    return host.peer4.split("/")[0], host.peer6.split("/")[0]


def lans(host):
    site = host.addr4.split(".")[1]
    return f"10.{site}.0.0/16", f"fd10:{site}::/48"


def neighbors():
    """The station's configuration of the neighbors that the kernel router has."""
    return "".join(f'\n[[neighbor]]\nvif = "{host.name}"\naddress = "{peer}"\nmac = "{host.mac}"\n'
                   for host, _, _ in SIDES.values() for peer in peers(host))


def wires():
    """Silences the hosts, so that only the routers answer. Sockets by side: the kernel router's and the station's."""
    lab.ip("st-wire", *[f"link set dev h-{host.name} down" for host, _, _ in SIDES.values()])
    return tuple({side: frames.Raw("st-wire", ends[at], promiscuous=True) for side, ends in SIDES.items()}
                 for at in (2, 1))


def send(side, kind, packet, *, dst=None, kernel=None, ours=None):
    """Sends a packet by a side into the routers whose sockets are given. `dst`: another MAC than the routers'."""
    host = SIDES[side][0]
    if kernel:
        kernel[side].send(eth(dst or host.port_mac, host.mac, kind, packet))
    if ours:
        ours[side].send(eth(dst or host.port_mac, host.mac, kind, packet, host.tags))


def trimmed(kind, packet):
    """Without what the link added behind the packet."""
    if kind == ETH_IPV4:
        return packet[:int.from_bytes(packet[2:4], "big")]
    return packet[:40 + int.from_bytes(packet[4:6], "big")]


def outputs(*routers, quiet=0.04):
    """What left each router by each side: a list of (side, kind, packet) each, neighbor discovery and ARP aside."""
    sockets = [(number, side, wire) for number, wires in enumerate(routers) for side, wire in wires.items()]
    results = [[] for _ in routers]
    collected = frames.collect([wire for _, _, wire in sockets], quiet, quiet + 1)
    for (number, side, _), frames_of_side in zip(sockets, collected, strict=True):
        for octets in frames_of_side:
            kind, packet = frames.l3(octets)
            if kind not in (ETH_IPV4, ETH_IPV6) or octets[0] & 1:
                continue
            packet = trimmed(kind, packet)
            if kind == ETH_IPV6 and packet[6] == ICMPV6 and 133 <= packet[40] <= 137:
                continue
            results[number].append((side, kind, packet))
    return results


def by_number(left):
    """What left a router, by identification or flow label."""
    found = collections.defaultdict(list)
    for side, kind, packet in left:
        at = packet[4:6] if kind == ETH_IPV4 else bytes([packet[1] & 15]) + packet[2:4]
        found[int.from_bytes(at, "big")].append((side, packet))
    return found


def same_sums(output):
    """An output with -0 as 0 in the checksums of IPv4 and TCP, where the kernel writes either."""
    side, packet = output
    header = (packet[0] & 15) * 4
    if packet[0] >> 4 == 4:
        for at in [10, *[header + 16] * (packet[9] == TCP and not packet[6] & 31 and not packet[7])]:
            if packet[at:at + 2] == b"\xff\xff":
                packet = packet[:at] + bytes(2) + packet[at + 2:]
    return side, packet
