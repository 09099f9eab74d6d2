"""Sessions between the kernel and the hosts behind VIFs, through the VIFs' TAPs: sockets at BGP's and
BFD's ports, bound as BIRD binds them. Tenants a, b and d have the same addresses everywhere."""

import contextlib
import json
import socket
import struct

import case
import frames
import lab
from case import HOSTS, expect
from frames import ETH_IPV4, ETH_IPV6, TCP, eth

BGP, BFD = 179, 3784
OWN4, PEER4, OWN6, PEER6 = "169.254.0.1", "169.254.0.2", "fd00:a::1", "fd00:a::2"
TAPS = {"a": "v0.100", "b": "v0.200", "d": "v1.500.10"}
A = HOSTS["a"]


def config(**changes):
    """The lab's configuration with sessions on a, b and d. BIRD itself stays out of it."""
    sessions = {name: (PEER4, PEER6) for name in TAPS} | changes
    head, *vifs = case.replaced(case.lab_config(), ("[station]\n", '[station]\nbird = "/bin/true"\n')).split("[[vif]]\n")
    for at, vif in enumerate(vifs):
        name = vif.split('"')[1]
        if sessions.get(name):
            peers = ", ".join(f'{{ peer = "{peer}", peer_as = 65001, local_as = 64512 }}' for peer in sessions[name])
            vifs[at] = vif.replace("\n\n", f"\nbfd = {{ interval_ms = 50 }}\nbgp = [{peers}]\n\n", 1)
    return "[[vif]]\n".join([head, *vifs])


def link(tap):
    output = lab.run("ip", "-n", lab.TAPS_NS, "-j", "-d", "addr", "show", "dev", tap, check=False)
    return json.loads(output)[0] if output.startswith("[") else None


def ready(tap):
    there = link(tap)
    return there and "LOWER_UP" in there["flags"] and len(there["addr_info"]) >= 3


def tap_links():
    """The TAPs, as `ip` has them with their addresses; none where their namespace is gone."""
    if lab.TAPS_NS not in lab.namespaces():
        return []
    # `ip` says so first where links came and went meanwhile.
    links = json.loads(lab.run("ip", "-n", lab.TAPS_NS, "-j", "addr").splitlines()[-1])
    return [link for link in links if link["ifname"].startswith("v")]


def taps():
    """The TAPs: name -> addresses."""
    return {link["ifname"]: {f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"]} for link in tap_links()}


def bound(ns, kind, address, port, device=None):
    """A socket of a kind, bound to an address and, as BIRD does, to a device."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with lab.inside(ns):
        made = socket.socket(family, kind)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if device:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
    level, option = (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS) if ":" in address else (socket.IPPROTO_IP, socket.IP_TTL)
    made.setsockopt(level, option, 255 if kind == socket.SOCK_DGRAM else 1)
    if ":" not in address:
        made.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0xC0)
    made.settimeout(5)
    made.bind((address, port))
    return made


def stream(server, client, target):
    """A TCP connection between two bound sockets: (server's end, client's end)."""
    with server, contextlib.ExitStack() as undo:
        server.listen(1)
        undo.callback(client.close)
        client.connect((target, BGP))
        accepted, _ = server.accept()
        accepted.settimeout(5)
        # Closed, they say so once (RST), and nothing more is on its way while the next test counts.
        for end in (client, accepted):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        undo.pop_all()
    return accepted, client


def session(name, six=False, active=False, own=None, peer=None):
    """BGP's connection between the kernel and a host: (kernel's end, host's end). `active`: the kernel connects."""
    own, peer = (own or (OWN6 if six else OWN4)), (peer or (PEER6 if six else PEER4))
    kernel = bound(lab.TAPS_NS, socket.SOCK_STREAM, own, 0 if active else BGP, TAPS[name])
    host = bound(HOSTS[name].ns, socket.SOCK_STREAM, peer, BGP if active else 0)
    if active:
        there, here = stream(host, kernel, peer)
        return here, there
    return stream(kernel, host, own)


def talks(one, other, token):
    """Octets pass both ways, and are nobody else's."""
    for source, target in [(one, other), (other, one)]:
        source.sendall(token)
        got = b""
        while len(got) < len(token):
            got += target.recv(len(token) - len(got))
        expect(got, token, "what arrived")


def to_a(protocol, payload, src=PEER4, dst=OWN4, **fields):
    return eth(A.port_mac, A.mac, ETH_IPV4 if ":" not in src else ETH_IPV6,
               frames.packet(src, dst, protocol, payload, **fields), A.tags)


def tcp(src, dst, dport, sport=40000, flags=2):
    body = struct.pack("!HHIIBBHHH", sport, dport, 1, 0, 5 << 4, flags, 1024, 0, 0)
    check = frames.checksum(frames.pseudo(src, dst, TCP, len(body)) + body)
    return body[:16] + struct.pack("!H", check) + body[18:]
