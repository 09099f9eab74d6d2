"""BGP within the AS, as a real core has it: FRR is the route reflector behind the core port, the station and GoBGP, a provider
edge router behind it, are its clients, and a customer speaks BGP with the station by BIRD.

The reflector leaves next hops as they are: they are the edge router's loopbacks, which the station reaches by static routes."""

import json
import os
import pathlib
import pwd
import subprocess

import case
import lab
import overlay
import peers
import routers
import station
from case import HOSTS, answered, expect, replaced, require, wait_until

A, RR = HOSTS["a"], HOSTS["vpc-a"]
EDGE, LINK = "st-edge", "toedge"
BETWEEN = {4: ("10.254.8.1", "10.254.8.2"), 6: ("fd00:254:8::1", "fd00:254:8::2")}  # the reflector's, the edge's
LOOPBACK = {4: "10.255.0.5", 6: "fd00:255::5"}  # of the edge router
LOOPBACKS = {4: "10.255.0.0/24", 6: "fd00:255::/64"}
VPC = {4: ("10.78.0.0/16", "10.78.0.1"), 6: ("fd10:78::/48", "fd10:78::1")}  # behind the edge router
LOST = ("10.79.0.0/16", "10.253.0.9")  # a prefix, and a next hop that nothing leads to
OWN = ("10.1.0.0/16", "fd10:1::/48")  # the customer's
ROUTER_ID = "10.255.255.1"
CORE_AS = peers.STATION_AS
DIRECTORY = lab.RUN / "core"
BIRD = peers.Router("a", 65001, {4: [OWN[0], f"{LOOPBACK[4]}/32"], 6: [OWN[1], f"{LOOPBACK[6]}/128"]})
GATEWAY = {4: (RR.gw4, RR.peer4.split("/")[0]), 6: (RR.gw6, RR.peer6.split("/")[0])}
daemons = []


def config(*families):
    """The lab's, where a and the core of its VPC speak BGP, and the core's loopbacks of these families are routed."""
    text = replaced(case.lab_config(), ('name = "lab"\n', f'name = "lab"\nrouter_id = "{ROUTER_ID}"\n'))
    text = case.without(text, *[f'[[route]]\nvrf = "vpc-a"\nprefix = "{prefix}"' for prefix in (*OWN, "10.2.0.0/16", "fd10:2::/48")])
    session = '[[vif.bgp]]\npeer = "{}"\npeer_as = {}\nlocal_as = 64512\n'
    for host, asn in ((A, 65001), (RR, CORE_AS)):
        addresses = f'addresses = ["{host.gw4}/30", "{host.gw6}/64"]\n'
        both = "".join(session.format(address.split("/")[0], asn) for address in (host.peer4, host.peer6))
        text = replaced(text, (addresses, addresses + both))
    return text + "".join(overlay.route("vpc-a", LOOPBACKS[family], GATEWAY[family][1]) for family in families)


def reflector():
    lines = [f"router bgp {CORE_AS}\n bgp router-id {RR.addr4}\n bgp cluster-id 9.9.9.9\n no bgp network import-check\n"
             " no bgp default ipv4-unicast"]
    for family in (4, 6):
        lines += [f" neighbor {peer} remote-as {CORE_AS}\n neighbor {peer} timers connect 1"
                  for peer in (GATEWAY[family][0], BETWEEN[family][1])]
        lines.append(f" address-family ipv{family} unicast")
        lines += [f"  neighbor {peer} activate\n  neighbor {peer} route-reflector-client"
                  for peer in (GATEWAY[family][0], BETWEEN[family][1])]
        lines.append(f"  network {'10.2.0.0/16' if family == 4 else 'fd10:2::/48'}\n exit-address-family")
    return "\n".join(lines) + "\n"


def spawn(ns, name, *command):
    with lab.inside(ns), (DIRECTORY / f"{name}.log").open("ab") as log:
        daemons.append(subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True))


def gobgp(*words):
    return lab.run("gobgp", "-p", 50052, *words, ns=EDGE)


def edge_says(verb, family, prefix, next_hop):
    gobgp("global", "rib", verb, "-a", f"ipv{family}", prefix, "nexthop", next_hop)


def learned(prefix):
    """What the reflector told of a prefix: (state, next hop)."""
    rows = station.ctl("show", "bgp", "vpc-a", "routes", "received")
    return [(row["state"], row["next_hop"]) for row in rows if row["prefix"] == prefix]


def route(prefix):
    """Where the station forwards a prefix."""
    return [row for row in station.ctl("show", "routes", "--vrf", "vpc-a", prefix) if row["prefix"] == prefix]


def begin():
    DIRECTORY.mkdir()
    lab.run("ip", "netns", "add", EDGE)
    lab.run("ip", "link", "add", "name", LINK, "netns", RR.ns, "type", "veth", "peer", "name", "eth0", "netns", EDGE)
    four, six = BETWEEN[4], BETWEEN[6]
    lab.ip(RR.ns, f"addr add {four[0]}/30 dev {LINK}", f"addr add {six[0]}/64 dev {LINK} nodad", f"link set {LINK} up",
           f"route add {LOOPBACK[4]} via {four[1]}", f"route add {LOOPBACK[6]} via {six[1]}", f"route add {LOST[1]} via {four[1]}")
    lab.ip(EDGE, "link set lo up", f"addr add {four[1]}/30 dev eth0", f"addr add {six[1]}/64 dev eth0 nodad", "link set eth0 up",
           f"addr add {LOOPBACK[4]}/32 dev lo", f"addr add {LOOPBACK[6]}/128 dev lo nodad",
           f"addr add {VPC[4][1]}/32 dev lo", f"addr add {VPC[6][1]}/128 dev lo nodad",
           f"route add default via {four[0]}", f"route add default via {six[0]}")
    lab.ip(RR.ns, f"route add {VPC[4][0]} via {four[1]}", f"route add {VPC[6][0]} via {six[1]}")
    lab.sysctl(RR.ns, ipv4__ip_forward=1, ipv6__conf__all__forwarding=1)
    case.fresh(config(4, 6))
    core = DIRECTORY / "frr"
    core.mkdir()
    (core / "frr.conf").write_text(reflector())
    user = pwd.getpwnam("frr")
    for path in (DIRECTORY, core, core / "frr.conf"):
        os.chown(path, user.pw_uid, user.pw_gid)
    frr = pathlib.Path("/usr/lib/frr")
    spawn(RR.ns, "zebra", frr / "zebra", "-f", core / "frr.conf", "-i", core / "zebra.pid", "-z", core / "zserv", "--vty_socket", core, "-P", 0)
    wait_until((core / "zserv").exists, 20, "FRR's zebra")
    spawn(RR.ns, "bgpd", frr / "bgpd", "-f", core / "frr.conf", "-i", core / "bgpd.pid", "-z", core / "zserv", "--vty_socket", core, "-P", 0, "-S")
    peers_of_edge = [BETWEEN[family][0] for family in (4, 6)]
    (DIRECTORY / "gobgp.toml").write_text(routers.gobgp_config(CORE_AS, LOOPBACK[4], CORE_AS, peers_of_edge))
    spawn(EDGE, "gobgpd", "gobgpd", "-f", DIRECTORY / "gobgp.toml", "--api-hosts", "127.0.0.1:50052")
    wait_until(lambda: lab.ok("gobgp", "-p", 50052, "global", ns=EDGE), 20, "GoBGP")
    BIRD.__enter__()


def end():
    BIRD.__exit__()
    for child in daemons:
        child.kill()
        child.wait()
    lab.run("ip", "netns", "del", EDGE)
    lab.sysctl(RR.ns, ipv4__ip_forward=0, ipv6__conf__all__forwarding=0)
    # Routes of BGP go with the nexthop objects that they have; a flush of routes does not take those.
    lab.run("ip", "-n", RR.ns, "nexthop", "flush")
    lab.default_routes(RR)
    case.fresh()


def test_the_station_is_a_client_of_a_route_reflector():
    wait_until(lambda: peers.established("a", "vpc-a"), 60, "all sessions")
    for family in (4, 6):
        edge_says("add", family, VPC[family][0], LOOPBACK[family])
    edge_says("add", 4, *LOST)
    for family in (4, 6):
        prefix = VPC[family][0]
        wait_until(lambda prefix=prefix: [state for state, _ in learned(prefix)] == ["best"], 30, f"{prefix} is learned")
        expect(learned(prefix), [("best", LOOPBACK[family])], "its next hop, as the edge router gave it")
        hops = [hop["next_hop"] for row in route(prefix) for hop in row["via"]]
        expect(hops, [GATEWAY[family][1]], "where the station sends it")
        answered(A, VPC[family][1], "a host behind the edge router")


def test_nothing_is_used_or_told_whose_next_hop_nothing_leads_to():
    wait_until(lambda: learned(LOST[0]), 10, "what leads nowhere is learned")
    expect(learned(LOST[0]), [("unresolved", LOST[1])], "what leads nowhere")
    expect(route(LOST[0]), [], "its route")
    told = BIRD.birdc("show", "route")
    require(LOST[0] not in told and VPC[4][0] in told and VPC[6][0] in told, f"the customer was told:\n{told}")
    for row in station.ctl("show", "bgp", "a", "routes", "withheld"):
        require(row["cause"] == "unresolved" or row["prefix"] != LOST[0], f"why the customer is not told: {row}")


def test_a_customer_cannot_move_the_cores_next_hops():
    """It announces the edge router's loopback, longer than the static route to it."""
    for family, bits in ((4, 32), (6, 128)):
        loopback = f"{LOOPBACK[family]}/{bits}"
        wait_until(lambda loopback=loopback: route(loopback), 10, f"the customer's {loopback}")
        hops = [hop["vif"] for row in route(VPC[family][0]) for hop in row["via"]]
        expect(hops, ["vpc-a"], "where the core's prefix leads")


def test_the_core_is_told_of_the_customer():
    for family, own in zip((4, 6), OWN, strict=True):
        def paths(family=family, own=own):
            rib = json.loads(gobgp("-j", "global", "rib", "-a", f"ipv{family}") or "{}")
            return rib.get(own, [])
        wait_until(paths, 20, f"the edge router learns {own}")
        [path] = paths()
        attributes = {each["type"]: each for each in path["attrs"]}
        expect([segment["asns"] for segment in attributes[2]["as_paths"]], [[65001]], "its AS path")
        expect(attributes[5]["value"], 100, "its LOCAL_PREF")
        expect(attributes[9]["value"], ROUTER_ID, "its originator")
        next_hop = attributes.get(3, {}).get("nexthop") or attributes.get(14, {}).get("nexthop")
        expect(next_hop, GATEWAY[family][0], "its next hop: the station")


def test_routes_come_and_go_with_what_leads_to_their_next_hops():
    def states():
        return [state for family in (4, 6) for state, _ in learned(VPC[family][0])]
    station.CONFIG.write_text(config())
    station.ctl("reload")
    wait_until(lambda: states() == ["unresolved"] * 2, 10, "nothing leads to the edge router")
    wait_until(lambda: VPC[4][0] not in BIRD.birdc("show", "route"), 10, "the customer is told no more")
    station.CONFIG.write_text(config(4, 6))
    station.ctl("reload")
    wait_until(lambda: states() == ["best"] * 2, 10, "static routes lead there again")
    wait_until(lambda: VPC[6][0] in BIRD.birdc("show", "route"), 10, "the customer is told again")
    for family in (4, 6):
        answered(A, VPC[family][1], "a host behind the edge router")


def test_what_the_edge_router_withdraws_is_gone():
    edge_says("del", 4, VPC[4][0], LOOPBACK[4])
    wait_until(lambda: not learned(VPC[4][0]) and not route(VPC[4][0]), 20, "the withdrawn prefix is gone")
    require(peers.established("a", "vpc-a"), "sessions")
