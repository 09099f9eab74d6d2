"""VXLAN: VPCs behind tunnels to the Linux kernel's `vxlan` devices, in an IPv4 and in an IPv6 underlay, and a hostile underlay.

The hosts vpc-a and vpc-b are VTEPs here, each in its own VLAN of the core port: VPC A is VNI 5001 of an IPv4 underlay, VPC B
VNI 5002 of an IPv6 one. The station's underlay is one VRF."""

import json
import re
import struct
import subprocess
import time

import case
import frames
import lab
import overlay
import scrape
import station
import traffic
from case import HOSTS, Stream, answered, expect, refused, require, wait_until

A, B, VPC_A, VPC_B, PUB = (HOSTS[name] for name in ("a", "b", "vpc-a", "vpc-b", "pub"))
ADDRESS = overlay.ADDRESSES  # of the station in each VRF
ENDS = {name: overlay.ENDS[name] for name in ("vpc-a", "vpc-b")}
VTEP = {name: overlay.VTEP[end.vtep] for name, end in ENDS.items()}  # the station's
REMOTE = {name: end.remote for name, end in ENDS.items()}  # the hosts'
LINK = {name: end.link() for name, end in ENDS.items()}  # the station's and the host's
FABRIC = {name: overlay.carrier(name) for name in ENDS}  # the VIFs of the underlay


def config():
    """The lab's, with the hand-offs of the two VPCs replaced by tunnels."""
    text = case.replaced(case.lab_config(), ("[station]\n", '[station]\nmetrics = "127.0.0.1:9472"\n'))
    return overlay.tunnelled(text, *ENDS)


def begin():
    for name in ENDS:
        overlay.make(name)
    case.fresh(config())
    wait_until(lambda: [row["state"] for row in station.ctl("show", "tunnels")] == ["up", "up"], 10, "both tunnels are up")


def end():
    station.stop()
    for name in ENDS:
        overlay.unmake(name)


def metrics():
    return scrape.samples(scrape.page(("127.0.0.1", 9472))[2])


def drops(vif):
    row = next(row for row in station.ctl("show", "counters", "--vif", vif))
    return {entry["name"]: entry["value"] for entry in row["counters"] if entry["group"] == "drop"}


def test_packets_of_both_families_pass_both_tunnels():
    for site, vpc in ((A, VPC_A), (B, VPC_B)):
        for source, target in ((site, vpc), (vpc, site)):
            answered(source, target.addr4, f"{source.name} to {target.name}")
            answered(source, target.addr6, f"{source.name} to {target.name}, IPv6")
            answered(source, target.addr4, f"{source.name} to {target.name}, 1500 octets", size=1472, df=True)


def test_each_datagram_comes_out_of_its_tunnel():
    for source, target in (("a", "vpc-a"), ("b", "vpc-b")):
        for six in (False, True):
            with Stream(source, target, pps=2_000, seconds=0.5, six=six) as stream:
                sent, arrived = stream.finish()
            expect(arrived, sent, f"datagrams from {source} that {target} received, {'IPv6' if six else 'IPv4'}")


def test_tcp_passes_whole_both_ways():
    for source, target, address in ((A, VPC_A, VPC_A.addr4), (VPC_A, A, A.addr6), (VPC_B, B, B.addr4), (B, VPC_B, VPC_B.addr6)):
        intact, rate = traffic.transfer(source, target, address, octets=10_000_000)
        require(intact, f"{source.name} to {target.name}: whole ({rate:.0f} Mbit/s)")


def test_the_router_answers_from_the_vrfs_own_address():
    expect(traffic.traceroute(VPC_A, A.addr4)[0], ADDRESS[0], "the first hop from the VPC")
    expect(traffic.traceroute(A, VPC_A.addr4)[-1], VPC_A.addr4, "the last hop to the VPC")
    answered(VPC_A, ADDRESS[0], "the router, through the tunnel")
    answered(VPC_A, ADDRESS[1], "the router, through the tunnel, IPv6")
    rows = station.ctl("ping", "--vif", "vpc-a", VPC_A.addr4, "--count", 2, "--interval", 0.02)
    require(len(rows) > 0, f"the router pings through the tunnel: {rows}")


def test_tenants_stay_apart():
    # What only the other tenant's VPC has, and what both have.
    for source, address in ((A, "10.2.2.2"), (B, "10.2.1.1"), (VPC_A, "10.1.2.2"), (VPC_B, "10.1.1.1"),
                            (A, REMOTE["vpc-a"]), (A, VTEP["vpc-a"]), (A, REMOTE["vpc-b"]), (PUB, VTEP["vpc-a"]),
                            (VPC_A, REMOTE["vpc-b"])):
        expect(traffic.ping(source, address, count=2, wait=0.3), 0, f"replies to {source.name} from {address}")


def vxlan(inner, *, vni, flags=8):
    return struct.pack("!BBHI", flags, 0, 0, vni << 8) + inner


def underlay_frame(host, payload, *, source=None, target=None, dport=4789):
    """A frame of the underlay from a host, to the station's VTEP."""
    source, target = source or REMOTE[host.name], target or VTEP[host.name]
    body = frames.packet(source, target, frames.UDP, frames.udp(source, target, payload, dport=dport))
    return frames.eth(host.port_mac, host.mac, frames.ethertype(source), body)


def marked(host, source, target):
    """An inner frame with a datagram that the receiver counts as the host's."""
    return frames.eth(overlay.ROUTER_MAC, ENDS[host.name].mac, frames.ETH_IPV4,
                      frames.packet(source, target, frames.UDP, frames.udp(source, target, lab.MARK + bytes([host.index]) + bytes(20))))


def test_a_hostile_underlay_enters_no_vrf():
    """What B's VTEP, or somebody beside it, writes into VNI 5001, and broken tunnels: one named drop each."""
    good = marked(VPC_A, "10.2.0.10", A.addr4)
    arp = frames.eth(overlay.ROUTER_MAC, ENDS["vpc-a"].mac, frames.ETH_ARP, bytes(28))
    tagged = frames.eth(overlay.ROUTER_MAC, ENDS["vpc-a"].mac, frames.ETH_IPV4, good[14:], tags=(100,))
    foreign = frames.eth("02:0a:00:00:00:99", ENDS["vpc-a"].mac, frames.ETH_IPV4, good[14:])
    whole = vxlan(good, vni=5001)
    attacks = [
        (FABRIC["vpc-a"], "unknown_vtep", underlay_frame(VPC_A, whole, source="10.255.1.3")),
        (FABRIC["vpc-a"], "unknown_vtep", underlay_frame(VPC_A, whole, source=VTEP["vpc-a"])),
        (FABRIC["vpc-b"], "unknown_vni", underlay_frame(VPC_B, whole)),
        (FABRIC["vpc-a"], "unknown_vni", underlay_frame(VPC_A, vxlan(good, vni=5002))),
        (FABRIC["vpc-a"], "bad_tunnel", underlay_frame(VPC_A, vxlan(good, vni=5001, flags=0))),
        (FABRIC["vpc-a"], "bad_tunnel", underlay_frame(VPC_A, whole[:14])),
        ("vpc-a", "inner_ethertype", underlay_frame(VPC_A, vxlan(arp, vni=5001))),
        ("vpc-a", "inner_ethertype", underlay_frame(VPC_A, vxlan(tagged, vni=5001))),
        ("vpc-a", "not_router_mac", underlay_frame(VPC_A, vxlan(foreign, vni=5001))),
    ]
    with frames.Raw(VPC_A.ns) as of_a, frames.Raw(VPC_B.ns) as of_b:
        for vif, reason, frame in attacks:
            before, arrived = drops(vif).get(reason, 0), case.ledger.host_counts(A)["from vpc-a"]
            (of_b if vif == FABRIC["vpc-b"] else of_a).send(frame, 10)
            wait_until(lambda: drops(vif).get(reason, 0) == before + 10, 3, f"ten of {reason} on {vif}")
            expect(case.ledger.host_counts(A)["from vpc-a"], arrived, f"frames that reached a by {reason}")
        arrived = case.ledger.host_counts(A)["from vpc-a"]
        of_a.send(underlay_frame(VPC_A, whole), 10)
        wait_until(lambda: case.ledger.host_counts(A)["from vpc-a"] == arrived + 10, 3, "ten that are as they should be")


def test_the_path_mtu_is_the_underlays_less_the_headers():
    rows = {row["vif"]: row for row in station.ctl("show", "tunnels")}
    # 1,570 less 50, and less 70; no more than the VIFs' own 1,500.
    expect([rows[name]["mtu"] for name in ("vpc-a", "vpc-b")], [1500, 1500], "MTU of the tunnels")
    station.ctl("vif", "set", FABRIC["vpc-a"], "mtu=1500")
    try:
        rows = {row["vif"]: row for row in station.ctl("show", "tunnels")}
        expect([rows[name]["mtu"] for name in ("vpc-a", "vpc-b")], [1450, 1430], "MTU with an underlay of 1,500")
        expect(traffic.ping(A, VPC_A.addr4, size=1423, df=True, count=1, wait=0.3), 0, "replies to 1,451 octets")
        told = lab.run("ip", "-n", A.ns, "route", "get", VPC_A.addr4)
        require("mtu 1450" in told, f"the sender was told 1450: {told}")
        answered(A, VPC_A.addr4, "1,450 octets", size=1422, df=True)
    finally:
        station.ctl("vif", "set", FABRIC["vpc-a"], "mtu=1570")
        lab.run("ip", "-n", A.ns, "route", "flush", "cache")


def behind_a_narrow_link(host, number):
    """A VTEP with a VPC of its own, which a host routes to by a link of 1,400 octets: its name, its VTEP's address and an
    address in the VPC."""
    six = ":" in LINK[host.name][1]
    ns, near, far, remote, inner = ((f"st-far-{number}", "fd00:254:3::1", "fd00:254:3::2", "fd00:255:3::3", "fd10:7::10") if six else
                                    (f"st-far-{number}", "10.254.3.1", "10.254.3.2", "10.255.3.3", "10.7.0.10"))
    link, whole, nodad = ("64", "128", "nodad") if six else ("30", "32", "")
    gateway = ADDRESS[1 if six else 0]
    lab.run("ip", "netns", "add", ns)
    lab.sysctl(ns, ipv6__conf__default__accept_dad=0, ipv6__conf__default__accept_ra=0)
    lab.sysctl(host.ns, ipv4__ip_forward=1, ipv6__conf__all__forwarding=1)
    lab.run("ip", "link", "add", "name", "eth0", "mtu", 1400, "netns", ns, "type", "veth", "peer", "name", "far0", "mtu", 1400, "netns", host.ns)
    for at, interface in ((ns, "eth0"), (host.ns, "far0")):
        lab.offloads_off(at, interface)
    lab.ip(host.ns, "link set far0 up", f"addr add {near}/{link} dev far0 {nodad}", f"route add {remote}/{whole} via {far}")
    lab.ip(ns, "link set lo up", "link set eth0 up", f"addr add {far}/{link} dev eth0 {nodad}", f"addr add {remote}/{whole} dev lo {nodad}",
           f"addr add {inner}/{whole} dev lo {nodad}", f"route add {VTEP[host.name]}/{whole} via {near} src {remote}",
           f"link add vx0 address 02:0a:00:00:00:3{number} type vxlan id {5010 + number} local {remote} remote {VTEP[host.name]} "
           "dstport 4789 ttl 64 nolearning", "link set vx0 up", f"neigh replace {gateway} lladdr {overlay.ROUTER_MAC} dev vx0 nud permanent",
           f"route replace default via {gateway} dev vx0 onlink src {inner}")
    vif = f"far-{number}"
    station.ctl("route", "add", "--vrf", "fabric", f"{remote}/{whole}", "--via", LINK[host.name][1])
    station.ctl("vif", "add", vif, "--vtep", "vtep6" if six else "vtep4", "--vni", 5010 + number, "--vrf", host.name,
                "--address", f"100.64.7.{number}/32", "--remote", f"{remote},02:0a:00:00:00:3{number}")
    station.ctl("route", "add", "--vrf", host.name, f"{inner}/{whole}", "--via", remote)
    return vif, remote, inner


def forget_the_narrow_link(host, number, vif, remote, inner):
    whole = "128" if ":" in remote else "32"
    station.ctl("route", "del", "--vrf", host.name, f"{inner}/{whole}")
    station.ctl("vif", "del", vif)
    station.ctl("route", "del", "--vrf", "fabric", f"{remote}/{whole}")
    lab.sysctl(host.ns, ipv4__ip_forward=0, ipv6__conf__all__forwarding=0)
    lab.ip(host.ns, "link del far0")
    lab.run("ip", "netns", "del", f"st-far-{number}")


def test_the_mtu_of_a_path_is_found_behind_a_router_of_the_underlay():
    for number, (site, host, mtu) in enumerate(((A, VPC_A, 1350), (B, VPC_B, 1330)), 1):
        vif, remote, inner = behind_a_narrow_link(host, number)
        row = lambda: next(row for row in station.ctl("show", "tunnels") if row["vif"] == vif)
        try:
            wait_until(lambda: row()["state"] == "up", 5, f"{vif} is up")
            expect((row()["mtu"], row()["lowered_until_ms"]), (1500, None), f"{vif} before")
            answered(site, inner, f"{site.name} to {inner}")
            # The first of 1,500 octets is lost to the underlay's router; the next one is answered by ours.
            headers = 48 if ":" in inner else 28
            said = lab.run("ping", "-n", "-M", "do", "-s", 1500 - headers, "-c", 5, "-i", 0.2, "-W", 1, inner, ns=site.ns, check=False)
            expect(set(re.findall(r"mtu ?= ?(\d+)", said)), {str(mtu)}, f"what {site.name} is told: {said}")
            answered(site, inner, f"{mtu} octets", size=mtu - headers, df=True)
            expect(traffic.ping(site, inner, size=mtu + 1 - headers, df=True, count=1, wait=0.3), 0, f"replies to {mtu + 1} octets")
            expect(row()["mtu"], mtu, f"{vif} afterwards")
            left = row()["lowered_until_ms"] - time.time() * 1000
            require(590_000 < left <= 600_000, f"{vif} is lowered for {left} ms")
            expect([row["mtu"] for row in station.ctl("show", "tunnels") if row["vif"] == host.name], [1500], "another tunnel of the VRF")
            forged_messages_change_nothing(host, vif, remote, row)
        finally:
            forget_the_narrow_link(host, number, vif, remote, inner)
            lab.run("ip", "-n", site.ns, "route", "flush", "cache")


def forged_messages_change_nothing(host, vif, remote, row):
    """A router of the underlay says that packets were too long that the station cannot have sent."""
    six, ours, before = ":" in remote, VTEP[host.name], row()["mtu"]
    fabric = FABRIC[host.name]
    forged = lambda: next((entry["value"] for counters in station.ctl("show", "counters", "--vif", fabric)
                           for entry in counters["counters"] if entry["name"] == "forged_too_big"), 0)
    start = forged()
    router, (protocol, head) = LINK[host.name][1], (58, b"\x02\x00") if six else (1, b"\x03\x04")
    with frames.Raw(host.ns) as raw:
        for target, vni in ((router, 5001), (remote, 77)):
            quote = frames.packet(ours, target, frames.UDP, frames.udp(ours, target, vxlan(bytes(1300), vni=vni), dport=4789),
                                  **({} if six else {"df": True}))
            rest = bytes(2) + (1281).to_bytes(2, "big") + quote[:500]
            pseudo = frames.pseudo(router, ours, protocol, len(rest) + 4) if six else b""
            body = head + frames.checksum(pseudo + head + rest).to_bytes(2, "big") + rest
            raw.send(frames.eth(host.port_mac, host.mac, frames.ethertype(ours), frames.packet(router, ours, protocol, body)), 5)
    wait_until(lambda: forged() == start + 10, 3, f"ten of forged_too_big on {fabric}, not {forged() - start}")
    expect(row()["mtu"], before, f"MTU of {vif}")



def test_a_tunnel_follows_its_underlay():
    states = lambda: {(row["vif"], row["remote"]): row["state"] for row in station.ctl("show", "tunnels")}
    expect(states(), {("vpc-a", REMOTE["vpc-a"]): "up", ("vpc-b", REMOTE["vpc-b"]): "up"}, "tunnels")
    station.ctl("vif", "down", FABRIC["vpc-a"])
    try:
        expect(states()["vpc-a", REMOTE["vpc-a"]], "down", "the tunnel while its underlay's VIF is down")
        expect(traffic.ping(A, VPC_A.addr4, count=1, wait=0.3), 0, "replies meanwhile")
        answered(B, VPC_B.addr4, "b to vpc-b meanwhile")
        series = lambda: {(name, remote): up for name, remote in REMOTE.items()
                          for up in [metrics().get(f'station_tunnel_up{{vif="{name}",remote="{remote}"}}')]}
        wait_until(lambda: set(series().items()) == {(("vpc-a", REMOTE["vpc-a"]), 0), (("vpc-b", REMOTE["vpc-b"]), 1)}, 5,
                   "metrics have the state of both tunnels")
    finally:
        station.ctl("vif", "up", FABRIC["vpc-a"])
    wait_until(lambda: states()["vpc-a", REMOTE["vpc-a"]] == "up", 5, "the tunnel is up again")
    answered(A, VPC_A.addr4, "a to vpc-a afterwards")
    lab.ip("st-wire", "link set core0 down")
    try:
        wait_until(lambda: set(states().values()) == {"down"}, 5, "both tunnels are down without a link")
    finally:
        lab.ip("st-wire", "link set core0 up")
    wait_until(lambda: set(states().values()) == {"up"}, 10, "both tunnels are up with the link")
    answered(VPC_A, A.addr4, "vpc-a to a with the link")
    station.ctl("route", "del", "--vrf", "fabric", f"{REMOTE['vpc-a']}/32")
    expect(states()["vpc-a", REMOTE["vpc-a"]], "down", "the tunnel without a route")
    station.ctl("route", "add", "--vrf", "fabric", f"{REMOTE['vpc-a']}/32", "--via", LINK["vpc-a"][1])
    wait_until(lambda: states()["vpc-a", REMOTE["vpc-a"]] == "up", 5, "the tunnel is up with its route")
    answered(A, VPC_A.addr4, "a to vpc-a with the route")


def test_explain_tells_of_tunnels():
    [row] = station.ctl("explain", "--vif", "a", "--from", A.addr4, "--to", VPC_A.addr4)
    details = {stage["stage"]: stage["detail"] for stage in row["stages"]}
    require(details["encapsulate"].startswith("vni 5001: ") and REMOTE["vpc-a"] in details["encapsulate"], f"out: {details}")
    [row] = station.ctl("explain", "--vif", "vpc-b", "--from", VPC_B.addr4, "--to", B.addr4)
    details = {stage["stage"]: stage["detail"] for stage in row["stages"]}
    expect((row["verdict"], details["decapsulate"]), ("forward", "vni 5002: vif vpc-b in vrf vpc-b"), f"in: {row['stages']}")
    require(f"{VPC_B.addr4} > {B.addr4}" in details["ipv4"], f"the inner packet: {details}")


def test_a_capture_of_the_vif_has_its_frames_in_their_tunnels():
    capture = subprocess.Popen(station.command("--json", "capture", "--vif", "vpc-b", "--count", "4", "--seconds", "20"),
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        time.sleep(0.5)
        answered(A, VPC_A.addr4, "a to vpc-a, which is not asked for")
        answered(B, VPC_B.addr4, "b to vpc-b")
        text, _ = capture.communicate(timeout=25)
    finally:
        capture.kill()
        capture.wait()
    *seen, over = json.loads(text)["rows"]
    seen = [row["frame"] for row in seen]
    expect((over["end"]["reason"], over["end"]["lost"]), ("count", 0), "the end")
    expect([(row["direction"], row["port"], row["vif"], row["verdict"]) for row in seen[:2]],
           [("out", "core0", "vpc-b", "forward"), ("in", "core0", "vpc-b", "forward")], "a request and its reply")
    expect({row["vif"] for row in seen}, {"vpc-b"}, "whose frames they are")
    for row in seen:
        # Tag, IPv6, UDP; the VNI behind the flags of VXLAN.
        data = bytes.fromhex(row["data"])
        expect((data[16:18].hex(), data[60:62].hex(), int.from_bytes(data[70:73])), ("86dd", "12b5", 5002), "outer headers and VNI")


def test_tunnels_are_made_and_deleted_by_verbs():
    station.ctl("vtep", "add", "spare", "--address", LINK["vpc-a"][0], "vrf=fabric", "mac=02:0a:00:00:00:77")
    station.ctl("vif", "add", "vpc-a-2", "--vtep", "spare", "--vni", "7001", "--remote", f"{REMOTE['vpc-a']},02:0a:00:00:00:78",
                "--vrf", "vpc-a", "--address", "100.64.9.1/32")
    expect([row["vif"] for row in station.ctl("show", "tunnels", "--port", "core0")], [], "tunnels by a NIC")
    expect(sorted(row["vif"] for row in station.ctl("show", "tunnels")), ["vpc-a", "vpc-a-2", "vpc-b"], "tunnels")
    require("still used by vif vpc-a-2" in refused("vtep", "del", "spare"), "a VTEP with a VIF stays")
    require("still used" in refused("vrf", "del", "fabric"), "an underlay with VTEPs stays")
    answered(A, VPC_A.addr4, "a to vpc-a beside them")
    station.ctl("vif", "del", "vpc-a-2")
    station.ctl("vtep", "set", "spare", "mac=02:0a:00:00:00:79")
    station.ctl("vtep", "del", "spare")
    expect(len(station.ctl("show", "tunnels")), 2, "tunnels")


def test_a_restart_keeps_the_tunnels():
    station.stop()
    station.start()
    wait_until(lambda: [row["state"] for row in station.ctl("show", "tunnels")] == ["up", "up"], 10, "both tunnels are up")
    answered(A, VPC_A.addr4, "a to vpc-a after a restart")
    answered(VPC_B, B.addr6, "vpc-b to b after a restart")


def test_wrong_tunnels_are_refused():
    file = lab.RUN / "candidate.toml"
    for old, new, says in [
        ('kind = "underlay"', 'kind = "vpc"', "is no underlay"),
        (f'address = "{VTEP["vpc-a"]}"', 'address = "10.255.0.77"', "no VIF of vrf \"fabric\" has 10.255.0.77"),
        ("vni = 5001", "vni = 0", "out of range"),
        (f'remotes = [{{ address = "{REMOTE["vpc-a"]}"', f'remotes = [{{ address = "{REMOTE["vpc-b"]}"', "is not of the family"),
        ('vtep = "vtep4"', 'vtep = "nobody"', "there is no vtep"),
        ('addresses = ["100.64.0.1/32", "fd64:a::1/128"]', 'addresses = ["100.64.0.1/30"]', "a tunnel has no neighbors"),
    ]:
        file.write_text(case.replaced(config(), (old, new)))
        code, output = station.check(file)
        require(code != 0 and says in output, f"{new}: {output}")
