"""Two stations: an office at one reaches an office at the other, exactly where both stations' `show reachability` says.

Station one is the lab's, without a2. Station two has a2's port, and a core port in the same fabric: VLAN 1500 of the core
switch joins the two, IPv4 packets go by an IPv4 underlay and IPv6 ones by an IPv6 underlay. Of the offices and VPCs a and a2
alone join stations, whatever the routes say."""

import concurrent.futures
import contextlib
import json
import os
import re
import signal
import subprocess
import time

import case
import lab
import station
import traffic
from case import HOSTS, answered, expect, require, wait_until

A, A2, VPC_A = (HOSTS[name] for name in ("a", "a2", "vpc-a"))
NS, DIRECTORY, TAPS = "st-station2", lab.RUN / "two", f"{lab.TAPS_NS}-two"
SOCKET = DIRECTORY / "stationd.sock"
PORTS = {"cust1": "02:53:00:00:01:02", "core0": "02:53:00:00:01:03"}  # in each station's own namespace
VTEP = {"one": ("10.255.0.1", "fd00:255::1", "02:0a:00:00:00:01"), "two": ("10.255.9.1", "fd00:255:9::1", "02:0a:00:00:09:01")}
FABRIC = {"one": ("10.254.9.1", "fd00:254:9::1"), "two": ("10.254.9.2", "fd00:254:9::2")}
VNI = 7001


def fabric(here, there):
    """The underlay of a station, and the VIFs whose tunnels lead to the other one."""
    (four, six, mac), (four_there, six_there, mac_there) = VTEP[here], VTEP[there]
    text = f"""
[[vrf]]
name = "fabric"
kind = "underlay"
[[vif]]
name = "fabric"
port = "core0"
vlan = 1500
vrf = "fabric"
mtu = 1570
addresses = ["{FABRIC[here][0]}/30", "{four}/32", "{FABRIC[here][1]}/64", "{six}/128"]
"""
    for number, (own, remote, via) in enumerate(((four, four_there, FABRIC[there][0]), (six, six_there, FABRIC[there][1])), 1):
        bits = 128 if ":" in own else 32
        text += f"""
[[route]]
vrf = "fabric"
prefix = "{remote}/{bits}"
via = [{{ address = "{via}" }}]
[[vtep]]
name = "vtep{number}"
vrf = "fabric"
address = "{own}"
mac = "{mac}"
[[vif]]
name = "to-{there}-{number}"
vtep = "vtep{number}"
vni = {VNI}
vrf = "vpc-a"
station = "{there}"
addresses = ["100.64.9.{number}/32", "fd64:9::{number}/128"]
remotes = [{{ address = "{remote}", mac = "{mac_there}" }}]
"""
    return text


def routes(*pairs):
    return "".join(f'\n[[route]]\nvrf = "vpc-a"\nprefix = "{prefix}"\nvia = [{{ address = "{via}" }}]\n' for prefix, via in pairs)


def config_one():
    """The lab's without a2, and a joins stations."""
    text, vifs = re.subn(r'\[\[vif\]\]\nname = "a2"\n(?:[^\[\n].*\n)*', "", case.lab_config())
    text, gone = re.subn(r'\[\[route\]\]\nvrf = "vpc-a"\nprefix = "(?:10\.3|fd10:3):?.*\n.*\n', "", text)
    expect((vifs, gone), (1, 2), "tables of a2")
    text = case.replaced(text, ('name = "lab"', 'name = "one"'), ('name = "a"\n', 'name = "a"\njoin_stations = true\n'))
    # To an address that neither has, each has the other.
    return text + fabric("one", "two") + routes(("10.3.0.0/16", VTEP["two"][0]), ("fd10:3::/48", VTEP["two"][1]), ("10.9.0.0/16", VTEP["two"][0]))


def config_two():
    return f"""
[station]
name = "two"
socket = "{SOCKET}"
bpffs = "{lab.PINS}/two"
state = "{DIRECTORY}/state"
[[port]]
name = "cust1"
interface = "cust1"
role = "customer"
[[port]]
name = "core0"
interface = "core0"
role = "core"
[[vrf]]
name = "vpc-a"
kind = "vpc"
[[vif]]
name = "a2"
port = "cust1"
vlan = 100
kind = "private"
vrf = "vpc-a"
join_stations = true
addresses = ["{A2.gw4}/30", "{A2.gw6}/64"]
""" + fabric("two", "one") + routes(
        ("10.3.0.0/16", A2.peer4.split("/")[0]), ("fd10:3::/48", A2.peer6.split("/")[0]), ("10.1.0.0/16", VTEP["one"][0]),
        ("10.2.0.0/16", VTEP["one"][0]), ("fd10:1::/48", VTEP["one"][1]), ("fd10:2::/48", VTEP["one"][1]), ("10.9.0.0/16", VTEP["one"][0]))


two = None


def ctl_two(*words):
    done = subprocess.run([str(word) for word in (station.BIN / "stationctl", "--socket", SOCKET, "--json", *words)],
                          text=True, timeout=60, capture_output=True, check=False)
    if done.returncode:
        raise station.Refused(done.returncode, station.why(done.stderr))
    return station.answer(done.stdout)


def start_two():
    global two
    lab.run("ip", "netns", "add", NS)
    lab.sysctl(NS, ipv4__ip_forward=0, ipv6__conf__all__disable_ipv6=1, ipv6__conf__default__disable_ipv6=1)
    for port, mac in PORTS.items():
        lab.run("ip", "link", "add", "name", port, "address", mac, "mtu", lab.PORT_MTU, "netns", NS, "numtxqueues", 1, "numrxqueues", 1,
                "type", "veth", "peer", "name", f"{port}b", "mtu", lab.PORT_MTU, "netns", "st-wire", "numtxqueues", 1, "numrxqueues", 1)
        lab.offloads_off(NS, port)
        lab.offloads_off("st-wire", f"{port}b")
        lab.sysctl(NS, **{f"ipv4__conf__{port}__arp_ignore": 8})
        lab.ip("st-wire", f"link set dev {port}b master sw-{port} up")
        lab.ip(NS, f"link set dev {port} up")
        lab.run("tc", "qdisc", "add", "dev", f"{port}b", "root", "pfifo", "limit", 10000, ns="st-wire")
    DIRECTORY.mkdir()
    (DIRECTORY / "station.toml").write_text(config_two())
    with (DIRECTORY / "log").open("ab") as log:
        two = subprocess.Popen(["nsenter", f"--net=/run/netns/{NS}", "--", station.BIN / "stationd", "--config", DIRECTORY / "station.toml"],
                               stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def answers():
        require(two.poll() is None, f"station two has ended:\n{station.tail(DIRECTORY / 'log')}")
        with contextlib.suppress(station.Refused, json.JSONDecodeError):
            return bool(ctl_two("version"))
        return False
    wait_until(answers, 30, "station two answers")


def begin():
    start_two()
    station.stop()
    station.write_config(config_one())
    station.start()
    # a2's gateway is another station's now.
    lab.run("ip", "-n", A2.ns, "neigh", "flush", "all")
    case.learn()
    wait_until(lambda: [row["tunnels_up"] for ask in (station.ctl, ctl_two) for row in ask("show", "stations")] == [2, 2], 15, "both stations see each other")


def end():
    if two and two.poll() is None:
        two.send_signal(signal.SIGTERM)
        two.wait(20)
    for port in PORTS:
        lab.run("ip", "-n", NS, "link", "del", port, check=False)
    lab.run("ip", "netns", "del", NS, check=False)
    lab.run("ip", "netns", "del", TAPS, check=False)
    lab.run("ip", "-n", A2.ns, "neigh", "flush", "all")
    station.stop()


def drops(ask, vif):
    [row] = ask("show", "counters", "--vif", vif)
    return {entry["name"]: entry["value"] for entry in row["counters"] if entry["group"] == "drop"}


def address(host, family):
    """One that no other host has."""
    return (host.lan6 if family == 6 else host.lan4)[-1]


def test_tcp_passes_whole_between_offices_of_two_stations():
    for source, target, family in ((A, A2, 4), (A2, A, 4), (A, A2, 6), (A2, A, 6)):
        intact, rate = traffic.transfer(source, target, traffic.address(target, family), octets=25_000_000)
        require(intact, f"{source.name} to {target.name}, IPv{family}: whole ({rate:.0f} Mbit/s)")
    answered(A, A2.addr4, "1,500 octets", size=1472, df=True)
    expect(traffic.traceroute(A, A2.addr4), [A.gw4, "100.64.9.1", A2.addr4], "the way from a to a2")
    for ask, other in ((station.ctl, "two"), (ctl_two, "one")):
        [row] = ask("show", "stations")
        expect((row["station"], row["state"], row["tunnels"], row["tunnels_up"]), (other, "up", 2, 2), f"the row of {other}")
        require(min(row["rx_octets"], row["tx_octets"]) > 50_000_000, f"octets from and to {other}: {row}")
        expect(row["vifs"], [f"to-{other}-1", f"to-{other}-2"], f"VIFs to {other}")


def crossing():
    """Who can speak with a2, as the two stations say: the first knows its hosts, the second a2."""
    one, other = ({(row["from"], row["to"], family) for row in ask("show", "reachability") for family in (4, 6) if row[f"ipv{family}_prefixes"]}
                  for ask in (station.ctl, ctl_two))
    both = []
    for family in (4, 6):
        there, back = f"to-two-{1 if family == 4 else 2}", f"to-one-{1 if family == 4 else 2}"
        if (back, "a2", family) in other and ("a2", back, family) in other:
            both += [(host, family) for host in HOSTS if (host, there, family) in one and (there, host, family) in one]
    return set(both)


def heard():
    """The hosts of station one that speak with a2: all are tried at once, each asks and is asked."""
    def ask(tried):
        host, family = tried
        return (traffic.ping(HOSTS[host], address(A2, family), count=1, wait=0.7) == 1,
                traffic.ping(A2, address(HOSTS[host], family), count=1, wait=0.7) == 1)
    tried = [(host, family) for host in HOSTS if host != "a2" for family in (4, 6)]
    with concurrent.futures.ThreadPoolExecutor(len(tried)) as threads:
        replies = dict(zip(tried, threads.map(ask, tried), strict=True))
    odd = {pair for pair, (asks, is_asked) in replies.items() if asks != is_asked}
    expect(odd, set(), "who is answered one way alone")
    return {pair for pair, (asks, _) in replies.items() if asks}


def test_an_office_reaches_another_exactly_where_reachability_says():
    expect(crossing(), {("a", 4), ("a", 6)}, "who speaks with a2, as both stations say")
    expect(heard(), crossing(), "who speaks with a2")
    before = drops(station.ctl, "to-two-1").get("not_joined", 0), drops(station.ctl, "vpc-a").get("not_joined", 0)
    expect(traffic.ping(A2, address(VPC_A, 4), wait=0.3), 0, "replies of a VPC that joins no station")
    expect(traffic.ping(VPC_A, address(A2, 4), wait=0.3), 0, "replies to a VPC that joins no station")
    after = drops(station.ctl, "to-two-1")["not_joined"], drops(station.ctl, "vpc-a")["not_joined"]
    expect([b - a for a, b in zip(before, after, strict=True)], [3, 3], "frames that were dropped for it")
    station.ctl("vif", "set", "vpc-a", "join_stations=true")
    expect(crossing(), {(host, family) for host in ("a", "vpc-a") for family in (4, 6)}, "who speaks with a2 once the VPC joins")
    expect(heard(), crossing(), "who does")
    require("joins other stations no more" in case.refused("vif", "set", "vpc-a", "join_stations=false", yes=False), "what is cut is asked for")
    station.ctl("vif", "set", "vpc-a", "join_stations=false")
    expect(heard(), {("a", 4), ("a", 6)}, "who speaks with a2 afterwards")


def test_stations_pass_nothing_on():
    """Each has the other for 10.9.0.0/16."""
    loops = lambda: (drops(ctl_two, "to-one-1").get("station_loop", 0), drops(station.ctl, "to-two-1").get("station_loop", 0))
    before = loops()
    expect(traffic.ping(A, "10.9.0.1", wait=0.3), 0, "replies of nobody")
    expect(traffic.ping(A2, "10.9.0.1", wait=0.3), 0, "replies of nobody to a2")
    expect([b - a for a, b in zip(before, loops(), strict=True)], [3, 3], "each went to the other station, and no further")
    [row] = station.ctl("explain", "--vif", "to-two-1", "--from", A2.addr4, "--to", "10.9.0.1")
    expect(row["verdict"], "drop(station_loop)", "as it is explained")
    expect([row for row in station.ctl("show", "reachability", "--from", "to-two-1") if row["to"].startswith("to-")], [], "rows between stations")


def test_the_loss_of_a_station_is_told():
    newest = station.ctl("version")["events"]["newest"]
    told = lambda: [(event["kind"], event["remote_station"], event["vifs"]) for event in station.lines("events", "--since", newest)
                    if event["kind"].startswith("remote_station")]
    both = ["to-two-1", "to-two-2"]
    wait_until(lambda: time.monotonic() - STARTED > 6, 10, "the station runs for a while")
    station.ctl("route", "del", "--vrf", "fabric", f"{VTEP['two'][0]}/32")
    expect(station.ctl("show", "stations")[0]["tunnels_up"], 1, "tunnels to a station that has lost one VTEP")
    station.ctl("vif", "down", "fabric")
    try:
        expect(station.ctl("show", "stations")[0]["state"], "down", "a station that no underlay leads to")
        wait_until(lambda: told() == [("remote_station_down", "two", both)], 5, "the event")
        expect(crossing(), set(), "who speaks with a2 meanwhile")
        require(station.running() and traffic.ping(A, VPC_A.addr4) == 3, "the rest of the station goes on")
    finally:
        station.ctl("vif", "up", "fabric")
        station.ctl("route", "add", "--vrf", "fabric", f"{VTEP['two'][0]}/32", "--via", FABRIC["two"][0])
    wait_until(lambda: [kind for kind, *_ in told()] == ["remote_station_down", "remote_station_up"], 10, "both events")
    answered(A, A2.addr4, "a2 afterwards")
    answered(A, A2.addr6, "a2 afterwards, IPv6")


STARTED = time.monotonic()


def test_the_books_of_the_second_station_balance():
    for row in ctl_two("show", "counters"):
        require(row.get("unaccounted", 0) == 0, f"{row.get('name')}: {row}")
    require(os.path.exists(SOCKET), "it still runs")


def test_wrong_stations_are_refused():
    file = lab.RUN / "candidate.toml"
    for old, new, says in [
        ('station = "two"', 'station = "one"', '"one" is this station'),
        ('station = "two"\n', 'station = "two"\njoin_stations = true\n', "nothing passes from station to station"),
        ('mtu = 1570\n', 'mtu = 1570\njoin_stations = true\n', "has no tunnels to other stations"),
        ('name = "a"\njoin_stations = true\n', 'name = "a"\nstation = "two"\n', "station"),
        (f'vni = {VNI}\nvrf = "vpc-a"\nstation', f'vni = {VNI}\nvrf = "public"\nstation', "a public VRF has many customers"),
    ]:
        file.write_text(case.replaced(config_one(), (old, new)))
        code, output = station.check(file)
        require(code != 0 and says in output, f"{new}: {output}")
    vpc = fabric("one", "two").split("[[vif]]")[2].replace('station = "two"\n', "").replace("to-two-1", "cloud").replace(f"vni = {VNI}", "vni = 5").replace("100.64.9.1", "100.64.8.1").replace("fd64:9::1", "fd64:8::1").split("[[route]]")[0]
    file.write_text(config_one() + "[[vif]]" + vpc)
    code, output = station.check(file)
    require(code != 0 and 'is a VTEP of station "two" on vif "to-two-1"' in output, f"a station's VTEP as a VPC's: {output}")
