"""Asking the station of packets: `explain` says what it does with one and leaves no trace; `ping` and `traceroute` send some
of its own."""

import contextlib
import signal
import subprocess

import lab
import ledger
import station
from case import HOSTS, counted, expect, require, wait_until
from frames import Raw, datagram, pcap

A, B, CLOUD = HOSTS["a"], HOSTS["b"], HOSTS["vpc-a"]
# A network behind the cloud's router, whose link carries less than the others.
FAR4, FAR6, FAR_MTU = "10.2.9.2", "fd10:2:0:9::2", 1300


def explain(*words):
    return station.ctl("explain", *words)


def say(*words):
    """What people see."""
    return station.shown("explain", *words)


def capture(made):
    """A pcap file of these frames."""
    file = lab.RUN / "explain.pcap"
    file.write_bytes(pcap(made))
    return file


def failed(*words):
    done = subprocess.run(station.command(*words), capture_output=True, text=True, timeout=20, check=False)
    return done.returncode, done.stderr


def stages(row):
    return {stage["stage"]: stage["verdict"] for stage in row["stages"]}


def test_a_packet_is_explained_from_the_tag_to_the_octets_that_leave():
    with counted() as seen:
        [row] = explain("--vif", "a", "--from", A.addr4, "--to", CLOUD.addr4, "--proto", "tcp", "--dport", 443)
        [six] = explain("--vif", "a", "--from", A.addr6, "--to", CLOUD.addr6)
    expect([row[name] for name in ("port", "vif", "vrf", "verdict", "stage", "help")], ["cust0", "a", "vpc-a", "forward", "rewrite", ""], "the packet")
    expect([row["headers"][name] for name in ("vlans", "protocol", "source_port", "destination_port")], [[100], "tcp", 49152, 443], "its headers")
    expect([(row[way]["prefix"], row[way]["origin"], [via["vif"] for via in row[way]["via"]]) for way in ("destination_route", "source_route")],
           [("10.2.0.0/16", "static", ["vpc-a"]), ("10.1.0.0/16", "static", ["a"])], "its routes")
    egress = row["egress"]
    expect([egress[name] for name in ("port", "vif", "vlan", "mac", "member", "members")], ["core0", "vpc-a", "1100", CLOUD.mac, 1, 1], "the way out")
    expect(stages(row), dict.fromkeys(["classify", "ipv4", "route", "group", "source", "acl_in", "resolve", "ttl", "acl_out", "mtu", "ready", "rewrite"]), "the stages")
    head = bytes.fromhex((CLOUD.mac + CLOUD.port_mac).replace(":", "")) + bytes.fromhex("8100 044c 0800 45")
    expect(bytes.fromhex(row["sent"])[:len(head)], head, "the octets that would leave")
    expect((six["verdict"], six["egress"]["vif"], "ipv6" in stages(six)), ("forward", "vpc-a", True), "a packet of IPv6")
    expect((dict(seen.it.drops()), seen.it.vifs["a"]["rx_frames"], seen.it.hosts["vpc-a"]["received"]), ({}, 0, 0), "what asking left behind")


def test_a_dropped_packet_is_told_with_the_stage_that_drops_it():
    with counted() as seen:
        for words, verdict, stage, detail in [
            (["--vif", "a", "--from", "172.16.0.1", "--to", CLOUD.addr4], "drop(spoofed_source)", "source", "172.16.0.1 has no route"),
            (["--vif", "a", "--from", A.addr4, "--to", "10.99.0.1"], "punt(no_route)", "resolve", "the route is missing"),
            (["--vif", "a", "--from", A.addr4, "--to", A.gw4], "punt(local)", "resolve", "the route is local"),
            (["--vif", "a", "--from", A.addr4, "--to", CLOUD.addr4, "--ttl", 1], "punt(ttl_exceeded)", "ttl", "came with 1"),
            (["--vif", "c", "--from", HOSTS["c"].addr4, "--to", HOSTS["e"].addr4], "drop(peer_isolation)", "resolve", "to vif e"),
            (["--port", "cust0", "--frame", datagram(A, A.addr4, CLOUD.addr4, tags=(310,)).hex()], "drop(unknown_vlan)", "classify", "VLAN 310"),
        ]:
            [row] = explain(*words)
            expect((row["verdict"], row["stage"], row["sent"]), (verdict, stage, None), f"{words}")
            require(row["help"], f"{words}: no help")
            require(detail in row["stages"][-1]["detail"], row["stages"][-1])
    expect(dict(seen.it.drops()), {}, "drops that are counted")
    text = say("--vif", "a", "--from", "172.16.0.1", "--to", CLOUD.addr4)
    require("source    drop(spoofed_source)  strict: 172.16.0.1 has no route" in text and "RFC 8704" in text, text)


def test_a_capture_is_explained_as_the_station_treats_it():
    made = [datagram(A, *ends, tags=A.tags) for ends in
            [(A.addr4, CLOUD.addr4), (A.addr6, CLOUD.addr6), ("8.8.8.8", CLOUD.addr4), (A.addr4, "10.99.0.1")] * 40]
    file = capture(made)
    rows = explain("--port", "cust0", "--pcap", file)
    expect([row["frame"] for row in rows], list(range(1, 161)), "frames")
    expect([bytes.fromhex(row["data"]) for row in rows], made, "their octets")
    with counted() as seen, Raw("st-wire", "cust0") as wire:
        for octets in made[:4]:
            wire.send(octets)
    fates = {verdict: sum(row["verdict"] == verdict for row in rows[:4]) for verdict in {row["verdict"] for row in rows}}
    got = seen.it
    expect(fates, {"forward": got.hosts["vpc-a"]["from a"], "drop(spoofed_source)": got.drops("a")["spoofed_source"],
                   "punt(no_route)": got.vifs["a"]["punt no_route"]}, "what is explained is what became of them")
    text = say("--vif", "a", "--pcap", file)
    for piece in ["WHERE  VERDICT               FRAMES", "vif a  drop(spoofed_source)      40", "vif a  forward                   80"]:
        require(piece in text, text[-1500:])


def test_the_octets_that_leave_are_those_that_are_explained():
    frame = datagram(A, A.addr4, CLOUD.addr4, tags=A.tags)
    [row] = explain("--vif", "a", "--frame", frame.hex())
    words = ["capture", "--port", "core0", "--direction", "out", "--count", "1", "--filter", "udp dst port 9"]
    process = subprocess.Popen(station.command("--json", *words), stdout=subprocess.PIPE, text=True)
    def captured():
        with Raw("st-wire", "cust0") as wire:
            wire.send(frame)
        return process.poll() is not None
    wait_until(captured, 20, "the frame is captured as it leaves")
    left = station.answer(process.communicate(timeout=10)[0])[0]["frame"]["data"]
    expect(row["sent"], left, "its octets")
    ledger.quiet()


def test_what_is_wrong_is_said():
    for words, code, text in [
        (["--vif", "nobody", "--from", "10.1.0.1", "--to", "10.2.0.1"], 1, 'there is no vif "nobody"'),
        (["--vif", "a", "--from", "10.1.0.1", "--to", "fd00::1"], 1, "two addresses of one family"),
        (["--vif", "a", "--from", "10.1.0.1", "--to", "10.2.0.1", "--dport", "443"], 2, "--proto tcp"),
        (["--vif", "a", "--from", "10.1.0.1", "--to", "10.2.0.1", "--proto", "tcp", "--length", "39"], 1, "40 octets or more"),
        (["--vif", "a", "--frame", "02zz"], 1, "two hexadecimal digits"),
        (["--vif", "a", "--frame", "00" * 9239], 1, "9239 octets"),
        (["--pcap", capture([datagram(A, A.addr4, CLOUD.addr4)])], 2, "give --port or --vif"),
        (["--from", "10.1.0.1", "--to", "10.2.0.1"], 2, "--vif"),
    ]:
        got, said = failed("explain", *words)
        expect(got, code, f"exit code of {words}: {said}")
        require(text in said, said)


def test_the_group_may_ask_and_others_not():
    lab.run("chmod", "a+x", lab.RUN)
    words = station.command("explain", "--vif", "a", "--from", A.addr4, "--to", CLOUD.addr4)
    for group, code in [(station.SOCKET.stat().st_gid, 0), (65534, 1)]:
        done = subprocess.run(["setpriv", "--reuid", "65534", "--regid", str(group), "--clear-groups", *words], capture_output=True, timeout=20, check=False)
        expect(done.returncode, code, f"group {group}: {done.stderr}")


def ping(*words, command="ping"):
    """Exit code and what people see."""
    done = subprocess.run(station.command(command, *words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
    return done.returncode, done.stdout


def begin_far():
    """The network: it has to be asked for, since the cloud's host is no router otherwise."""
    if "st-far" in lab.run("ip", "netns", "list"):
        return
    lab.run("ip", "netns", "add", "st-far")
    lab.run("ip", "link", "add", "far0", "mtu", FAR_MTU, "netns", CLOUD.ns, "type", "veth", "peer", "name", "far0", "mtu", FAR_MTU, "netns", "st-far")
    for ns, end, way in [(CLOUD.ns, 1, None), ("st-far", 2, 1)]:
        lab.sysctl(ns, ipv4__ip_forward=1, ipv6__conf__all__forwarding=1)
        lab.ip(ns, "link set far0 up", f"address add 10.2.9.{end}/24 dev far0", f"address add fd10:2:0:9::{end}/64 dev far0 nodad")
        if way:
            lab.ip(ns, f"route add default via 10.2.9.{way}", f"route add default via fd10:2:0:9::{way}")
    wait_until(lambda: ping("--vif", "a", FAR4, "--count", 1)[0] == 0 and ping("--vif", "a", FAR6, "--count", 1)[0] == 0, 20, "the far network answers")


def end():
    lab.run("ip", "netns", "del", "st-far", check=False)
    lab.sysctl(CLOUD.ns, ipv4__ip_forward=0, ipv6__conf__all__forwarding=0)


def test_ping_asks_from_the_vifs_own_address_by_the_vrfs_routes():
    for words, source, address in [
        (("--vif", "a"), A.gw4, CLOUD.addr4), (("--vif", "a"), A.gw6, CLOUD.addr6), (("--vif", "a"), A.gw4, A.peer4.split("/")[0]),
        (("--vrf", "vpc-a"), CLOUD.gw4, CLOUD.addr4), (("--vrf", "vpc-a"), CLOUD.gw6, CLOUD.addr6), (("--vrf", "vpc-a"), A.gw4, A.addr4),
    ]:
        code, text = ping(*words, address, "--count", 3, "--interval", 0.02)
        expect(code, 0, f"exit code: {text}")
        require(text.startswith(f"PING {address} from {source} vif "), text)
        for piece in [f"64 bytes from {address}: icmp_seq=3 ttl=64 time=", "3 packets transmitted, 3 received, 0% packet loss", "rtt min/avg/max = "]:
            require(piece in text, f"{piece!r} in {text}")
    rows = station.ctl("ping", "--vif", "a", CLOUD.addr4, "--count", 2, "--interval", 0.02, "--size", 1000)
    expect([next(iter(row)) for row in rows], ["begin", "probe", "probe", "end"], "rows")
    expect([(row["probe"]["outcome"], row["probe"]["octets"]) for row in rows[1:3]], [("reply", 1008)] * 2, "replies")


def echoes(host):
    """Echo requests that a host has got."""
    lines = [line.split() for line in lab.run("cat", "/proc/net/snmp", ns=host.ns).splitlines() if line.startswith("Icmp:")]
    return int(dict(zip(*lines))["InEchos"])


def test_tenants_with_the_same_addresses_are_told_apart():
    other = HOSTS["vpc-b"]
    before = echoes(CLOUD), echoes(other)
    code, text = ping("--vif", "b", other.addr4, "--count", 3, "--interval", 0.02)
    expect(code, 0, f"exit code: {text}")
    expect((echoes(CLOUD) - before[0], echoes(other) - before[1]), (0, 3), "echo requests at a's cloud and at b's")
    code, text = ping("--vif", "c", HOSTS["e"].addr4, "--count", 1)
    require(code == 1 and "One customer's VIF tried to reach another's" in text, text)


def test_errors_are_told_with_who_says_so():
    begin_far()
    for address, expired, too_big in [(FAR4, "Time to live exceeded", f"Fragmentation needed and DF set (mtu = {FAR_MTU})"),
                                      (FAR6, "Time exceeded: Hop limit", f"Packet too big: mtu={FAR_MTU}")]:
        code, text = ping("--vif", "a", address, "--count", 1, "--ttl", 1)
        require(code == 1 and f"icmp_seq=1 {expired}" in text and "1 packets transmitted, 0 received, +1 errors, 100% packet loss" in text, text)
        code, text = ping("--vif", "a", address, "--count", 1, "--size", 1400, "--df")
        require(code == 1 and f"icmp_seq=1 {too_big}" in text, text)
    code, text = ping("--vif", "a", FAR4, "--count", 1, "--size", 1500, "--df")
    require(code == 1 and "message too long: 1528 octets, and the way out carries 1500" in text, text)
    for words, what in [((A.gw4,), "the station's own"), (("10.99.0.1",), "No route to the destination")]:
        code, text = ping("--vif", "a", *words, "--count", 1)
        require(code == 1 and what in text and "not sent: icmp_seq=1" in text, text)
    code, text = ping("--vif", "a", "10.2.9.77", "--count", 2, "--interval", 0.01, "--timeout", 0.2)
    require(code == 1 and "no answer for icmp_seq=2" in text and "100% packet loss" in text, text)


def test_traceroute_finds_the_hops():
    begin_far()
    for address, own in [(FAR4, (*CLOUD.lan4, CLOUD.peer4.split("/")[0])), (FAR6, (*CLOUD.lan6, CLOUD.peer6.split("/")[0]))]:
        code, text = ping("--vif", "a", address, command="traceroute")
        expect(code, 0, f"exit code: {text}")
        head, *hops = text.splitlines()
        require(head.startswith(f"traceroute to {address} from "), head)
        expect([line.split()[:2] for line in hops], [["1", hops[0].split()[1]], ["2", address]], text)
        require(hops[0].split()[1] in own, hops[0])
        expect([line.count(" ms") for line in hops], [3, 3], text)
    code, text = ping("--vrf", "vpc-a", "10.2.9.77", "--max-hops", 3, "--timeout", 0.3, command="traceroute")
    require(code == 1 and text.splitlines()[2].split()[1:] == ["*", "*", "*"], text)


def test_ping_that_cannot_be_says_what_to_use():
    station.ctl("vif", "add", "four", "--port", "cust0", "--vlan", "997", "--kind", "private", "--vrf", "vpc-a", "--address", "10.250.0.1/30")
    try:
        for words, code, text in [
            (["--vif", "four", CLOUD.addr6], 1, 'vif "four" has no IPv6 address to ask from: use --vif a, which has one'),
            (["--vif", "nobody", CLOUD.addr4], 1, 'there is no vif "nobody"'),
            (["--vif", "a", CLOUD.addr4, "--interval", "0.001"], 1, "interval_ms is 10 to 60000, not 1"),
            ([CLOUD.addr4], 2, "--vif"),
        ]:
            got, said = ping(*words)
            expect(got, code, f"exit code of {words}: {said}")
            require(text in said, said)
    finally:
        station.ctl("vif", "del", "four")


def test_pings_are_few_and_end_with_their_clients():
    endless = ["--vif", "a", CLOUD.addr4, "--count", 100000, "--interval", 0.05]
    command = station.command("ping", *endless)
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(8):
            client = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            stack.callback(client.communicate)
            stack.callback(client.kill)
            require(client.stdout.readline().startswith("PING "), "it begins")
            clients.append(client)
        code, text = ping(*endless[:3])
        require(code == 1 and "8 pings run already" in text, text)
        require("bytes from" in clients[0].stdout.readline(), "the first is answered")
        clients[0].send_signal(signal.SIGINT)
        text = clients[0].communicate(timeout=10)[0]
        require(clients[0].returncode == 0 and "ping statistics" in text and "rtt min/avg/max" in text, text)
    wait_until(lambda: ping(*endless[:3], "--count", 1)[0] == 0, 20, "killed clients' pings have ended")


def test_the_group_may_ping_and_it_is_logged():
    words = station.command("ping", "--vif", "a", CLOUD.addr4, "--count", 1)
    lab.run("chmod", "a+x", lab.RUN)
    for group, code in [(station.SOCKET.stat().st_gid, 0), (65534, 1)]:
        done = subprocess.run(["setpriv", "--reuid", "65534", "--regid", str(group), "--clear-groups", *words], capture_output=True, timeout=20, check=False)
        expect(done.returncode, code, f"group {group}: {done.stderr}")
    wait_until(lambda: "PingRequest { vif: Some(\"a\")" in station.LOG.read_text(), 5, "the log says who pinged")
