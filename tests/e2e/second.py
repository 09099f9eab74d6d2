"""A second station, in a namespace of its own: a2's office is its, on cust1. VLAN 1500 of the core ports is the fabric between
it and the lab's. IPv4 packets go by an IPv4 underlay and IPv6 ones by an IPv6 underlay."""

import contextlib
import ipaddress
import json
import shutil
import signal
import subprocess

import case
import lab
import ledger
import overlay
import station
import traffic
from case import HOSTS, require, wait_until
from overlay import route, table, whole

A2 = HOSTS["a2"]
NS, DIRECTORY, TAPS = "st-station2", lab.RUN / "two", f"{lab.TAPS_NS}-two"
SOCKET = DIRECTORY / "stationd.sock"
VTEP = {"one": overlay.VTEP, "two": {"vtep4": "10.255.9.1", "vtep6": "fd00:255:9::1"}}
MAC = {"one": overlay.ROUTER_MAC, "two": "02:0a:00:00:09:01"}
LINK, VLAN, VNI = 9, 1500, 7001
INNER = {1: ("100.64.9.1", "fd64:9::1"), 2: ("100.64.9.2", "fd64:9::2")}  # of both stations, on the VIF of that number

process = None


# ---- both stations' configurations ----------------------------------------------------------------

def link(here, port, six):
    """A link between the stations: one's own address, the other's, and their prefix length."""
    one, two, length = overlay.link(LINK, port, six)
    return (one, two, length) if here == "one" else (two, one, length)


def peering(here, there, ports=("core0",), loopbacks=(), mtu=overlay.MTU):
    """Links to another station, and the VIFs whose tunnels lead there."""
    text = ""
    for port in ports:
        own = [f"{near}/{length}" for near, _, length in (link(here, port, six) for six in (False, True))]
        text += overlay.fabric_vif(f"{port}-{there}", port, VLAN, *own, *([] if text else loopbacks), mtu=mtu)
    for number, (vtep, remote) in enumerate(VTEP[there].items(), 1):
        text += route("fabric", whole(remote), *[link(here, port, ":" in remote)[1] for port in ports])
        text += overlay.tunnel(f"to-{there}-{number}", vtep, VNI, "vpc-a", INNER[number], remote, MAC[there], station=there)
    return text


def fabric(here, there, ports=("core0",), mtu=overlay.MTU):
    """The fabric of a station that has tunnels to another station alone."""
    vteps = "".join(overlay.vtep(name, address, MAC[here]) for name, address in VTEP[here].items())
    return overlay.FABRIC + peering(here, there, ports, [whole(address) for address in VTEP[here].values()], mtu) + vteps


def routes(*pairs):
    return "".join(route("vpc-a", prefix, via) for prefix, via in pairs)


def config(ports=("core0",), mtu=overlay.MTU):
    """Station two: a2 alone, who joins stations; what a and vpc-a have is behind station one."""
    text = f'[station]\nname = "two"\nsocket = "{SOCKET}"\nbpffs = "{lab.PINS}/two"\nstate = "{DIRECTORY}/state"\n'
    for port in ("cust1", *ports):
        text += table("port", name=port, interface=port, role="customer" if port == "cust1" else "core")
    text += table("vrf", name="vpc-a", kind="vpc")
    text += table("vif", name="a2", port="cust1", vlan=A2.tags[0], kind="private", vrf="vpc-a", join_stations=True,
                  addresses=[f"{A2.gw4}/30", f"{A2.gw6}/64"])
    four, six = VTEP["one"].values()
    return text + fabric("two", "one", ports, mtu) + routes(
        ("10.3.0.0/16", A2.peer4.split("/")[0]), ("fd10:3::/48", A2.peer6.split("/")[0]), ("10.1.0.0/16", four),
        ("10.2.0.0/16", four), ("fd10:1::/48", six), ("fd10:2::/48", six))


# ---- its life ---------------------------------------------------------------------------------------

def ctl(*words):
    """`station.ctl` of the second station."""
    done = subprocess.run([str(word) for word in (station.BIN / "stationctl", "--socket", SOCKET, "--json", *words)],
                          text=True, timeout=60, capture_output=True, check=False)
    if done.returncode:
        raise station.Refused(done.returncode, station.why(done.stderr))
    return station.answer(done.stdout)


def begin(text, switches):
    """Starts it with a configuration. `switches`: of each of its ports."""
    global process
    lab.run("ip", "netns", "add", NS)
    lab.sysctl(NS, ipv4__ip_forward=0, ipv6__conf__all__disable_ipv6=1, ipv6__conf__default__disable_ipv6=1)
    for number, (port, switch) in enumerate(switches.items(), 2):
        lab.connect(NS, port, f"02:53:00:00:01:{number:02x}", f"{port}b", switch)
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    DIRECTORY.mkdir()
    (DIRECTORY / "station.toml").write_text(text)
    with (DIRECTORY / "log").open("ab") as log:
        process = subprocess.Popen(["nsenter", f"--net=/run/netns/{NS}", "--", station.BIN / "stationd", "--config", DIRECTORY / "station.toml"],
                                   stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def answers():
        require(process.poll() is None, f"station two has ended:\n{station.tail(DIRECTORY / 'log')}")
        with contextlib.suppress(station.Refused, json.JSONDecodeError):
            return bool(ctl("version"))
        return False
    wait_until(answers, 30, "station two answers")


def join(text):
    """Starts the lab's station with a configuration that leads to the second one."""
    station.stop()
    station.write_config(text)
    station.start()
    # a2's gateway is another station's now.
    lab.run("ip", "-n", A2.ns, "neigh", "flush", "all")
    case.learn()
    wait_until(lambda: [row["tunnels_up"] for ask in (station.ctl, ctl) for row in ask("show", "stations")] == [2, 2], 15,
               "both stations see each other")


def end():
    if process and process.poll() is None:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
    for link in json.loads(lab.run("ip", "-n", NS, "-j", "link", check=False) or "[]"):
        lab.run("ip", "-n", NS, "link", "del", link["ifname"], check=False)
    lab.run("ip", "netns", "del", NS, check=False)
    lab.run("ip", "netns", "del", TAPS, check=False)
    lab.run("ip", "-n", A2.ns, "neigh", "flush", "all")
    station.stop()


def balanced():
    """The books of the second station, once it rests."""
    wait_until(lambda: not ledger.unbalanced_vifs(ledger.counters(ctl)[0]), 5, "the second station's books balance")


class Reachability:
    """What both stations' `show reachability` says at this moment."""

    def __init__(self):
        self.one, self.two = ({(row["from"], row["to"]): [ipaddress.ip_network(prefix) for prefix in row["prefixes"]]
                               for row in ask("show", "reachability")} for ask in (station.ctl, ctl))

    def reaches(self, x, y, address):
        """Whether packets of host x to an address arrive at host y. Where a2 is one of the two both stations have to lead there."""
        if x == "a2":
            return any(leads(self.two, x, f"to-one-{n}", address) and leads(self.one, f"to-two-{n}", y, address) for n in INNER)
        if y == "a2":
            return any(leads(self.one, x, f"to-two-{n}", address) and leads(self.two, f"to-one-{n}", y, address) for n in INNER)
        return leads(self.one, x, y, address)

    def talk(self, x, y, family):
        """Whether x gets answers from an address that only y has."""
        return self.reaches(x, y, traffic.own_address(HOSTS[y], family)) and self.reaches(y, x, traffic.address(HOSTS[x], family))


def leads(ways, x, y, address):
    return any(ipaddress.ip_address(address) in prefix for prefix in ways.get((x, y), ()))
