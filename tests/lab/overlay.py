"""VXLAN in the lab: a fabric between the station's core ports and hosts, which are VTEPs then, each by a `vxlan` device of its
kernel. The host's VLAN of a core port is a link of the fabric, and the VIF of its name is a VNI."""

import dataclasses
import json
import re

import frames
import lab
import routers

HOSTS = lab.HOSTS
ROUTER_MAC = "02:0a:00:00:00:01"
VTEP = {"vtep4": "10.255.0.1", "vtep6": "fd00:255::1"}  # the station's
ADDRESSES = ("100.64.0.1", "fd64:a::1")  # of the station in each VRF with a tunnel to a host
VNI_BASE = 5000
MTU = 1570  # of the fabric: tunnels carry 1,500 octets then


@dataclasses.dataclass(frozen=True)
class End:
    """A host as a VTEP."""

    name: str  # the host's, and the VIF's
    number: int
    six: bool  # the underlay is IPv6

    @property
    def vtep(self):
        return "vtep6" if self.six else "vtep4"

    @property
    def vni(self):
        return VNI_BASE + self.number

    @property
    def mac(self):
        """Of the router behind the tunnel: the vxlan device's."""
        return f"02:0a:00:00:01:{self.number:02x}"

    @property
    def remote(self):
        return f"fd00:255:{self.number}::2" if self.six else f"10.255.{self.number}.2"

    def link(self, port="core0"):
        return link(self.number, port, self.six)


ENDS = {end.name: end for end in (End("vpc-a", 1, False), End("vpc-b", 2, True), End("pub", 3, True), End("tgw", 4, False))}


def link(number, port, six):
    """A link of the fabric by a core port: the station's address, the other end's, and their prefix length."""
    at = int(port[-1])
    return (f"fd00:254:{number}:{at}::1", f"fd00:254:{number}:{at}::2", 64) if six else (
        f"10.254.{number}.{4 * at + 1}", f"10.254.{number}.{4 * at + 2}", 30)


def carrier(host, port="core0"):
    """The VIF of the fabric by which a host's tunnel is reached."""
    return f"{port}-{host}"


def whole(address):
    """The prefix of an address alone."""
    return f"{address}/{128 if ':' in address else 32}"


# ---- the station's configuration ----------------------------------------------------------------

def toml(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


def table(head, /, **fields):
    return f"\n[[{head}]]\n" + "".join(f"{key} = {toml(value)}\n" for key, value in fields.items())


FABRIC = table("vrf", name="fabric", kind="underlay")


def route(vrf, prefix, *via):
    return table("route", vrf=vrf, prefix=prefix, via=[{"address": address} for address in via])


def fabric_vif(name, port, vlan, *addresses, mtu=MTU):
    return table("vif", name=name, port=port, vlan=vlan, vrf="fabric", mtu=mtu, addresses=addresses)


def vtep(name, address, mac=ROUTER_MAC):
    return table("vtep", name=name, vrf="fabric", address=address, mac=mac)


def tunnel(name, vtep, vni, vrf, addresses, remote, mac, **more):
    return table("vif", name=name, vtep=vtep, vni=vni, vrf=vrf, **more, addresses=[whole(address) for address in addresses],
                 remotes=[{"address": remote, "mac": mac}])


def field(text, key):
    """A string of a table."""
    return re.search(rf'(?m)^{key} = "(.*)"$', text)[1]


def without(text, *names):
    """A configuration without the VIFs of these hosts and the routes to what is behind them; and the VIFs' VRFs by host."""
    tables = re.split(r"(?m)^(?=\[\[(?!vif\.))", text)
    vifs = {field(one, "name"): one for one in tables if one.startswith("[[vif]]")}
    vrfs = {name: field(vifs[name], "vrf") for name in names}
    led = {(vrfs[name], prefix) for name in names for prefix in routers.ROUTERS[name].announces}
    gone = [vifs[name] for name in names]
    gone += [one for one in tables if one.startswith("[[route]]") and (field(one, "vrf"), field(one, "prefix")) in led]
    return "".join(one for one in tables if one not in gone), vrfs


def tunnelled(text, *names, ports=("core0",), mtu=MTU, more=None):
    """A configuration of the lab's with tunnels to these hosts by core ports; `more`: VIFs of them, with fields to add."""
    text, vrfs = without(text, *names)
    text += FABRIC
    ends, own = [ENDS[name] for name in names], dict(VTEP)
    for end in ends:
        for port in ports:
            near, _, length = end.link(port)
            # A VTEP's address is on the first link of its family.
            addresses = [f"{near}/{length}", *([whole(own.pop(end.vtep))] if end.vtep in own else [])]
            text += fabric_vif(carrier(end.name, port), port, HOSTS[end.name].tags[0], *addresses, mtu=mtu)
        text += route("fabric", whole(end.remote), *[end.link(port)[1] for port in ports])
    text += "".join(vtep(name, VTEP[name]) for name in VTEP if name not in own)
    for end in ends:
        vrf = vrfs[end.name]
        text += tunnel(end.name, end.vtep, end.vni, vrf, ADDRESSES, end.remote, end.mac, **(more or {}).get(end.name, {}))
        text += "".join(route(vrf, prefix, end.remote) for prefix in routers.ROUTERS[end.name].announces)
    return text


# ---- the hosts ------------------------------------------------------------------------------------

def lead(name, ports):
    """A host's tunnel takes its way by these core ports, spread by flow."""
    end = ENDS[name]
    lab.ip(HOSTS[name].ns, f"route replace {whole(VTEP[end.vtep])} src {end.remote} "
           + " ".join(f"nexthop via {end.link(port)[0]}" for port in ports))


def make(name, ports=("core0",), mtu=1500):
    """Makes a host a VTEP: all that it sends goes by its vxlan device, whose packets have `mtu` octets at most."""
    end, host = ENDS[name], HOSTS[name]
    lab.sysctl(host.ns, ipv4__fib_multipath_hash_policy=1, ipv6__fib_multipath_hash_policy=1)
    nodad = "nodad" if end.six else ""
    links = [end.link(port) for port in ports]
    lab.ip(host.ns, f"link set eth0 mtu {MTU + 6}", *[f"addr add {far}/{length} dev eth0 {nodad}" for _, far, length in links],
           f"addr add {whole(end.remote)} dev lo {nodad}")
    lead(name, ports)
    lab.ip(host.ns,
           f"link add vx0 address {end.mac} mtu {mtu} type vxlan id {end.vni} local {end.remote} remote {VTEP[end.vtep]} "
           "dstport 4789 ttl 64 nolearning",
           "link set vx0 up",
           *[f"neigh replace {gateway} lladdr {ROUTER_MAC} dev vx0 nud permanent" for gateway in ADDRESSES],
           *[f"route replace default via {gateway} dev vx0 onlink src {source}"
             for gateway, source in zip(ADDRESSES, (host.addr4, host.addr6), strict=True)])
    lab.attach_bpf(name, host.ns, "vx0", inner="ingress")


def inner(name, frame):
    """A frame of a host's to the station, as it goes into its tunnel: by vx0."""
    return frames.mac(ROUTER_MAC) + frames.mac(ENDS[name].mac) + frame[12:]


def unmake(name, ports=("core0",)):
    """The host is what it was."""
    end, host = ENDS[name], HOSTS[name]
    links = [end.link(port) for port in ports]
    lab.ip(host.ns, "link del vx0", f"route del {whole(VTEP[end.vtep])}", f"addr del {whole(end.remote)} dev lo",
           *[f"addr del {far}/{length} dev eth0" for _, far, length in links], "link set eth0 mtu 1500")
    lab.default_routes(host)
