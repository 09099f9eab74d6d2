"""Mirrors: copies are the frames, octet for octet, to a port, in VXLAN for a Linux host and in ERSPAN for tshark; they keep to
their rate, cost no other VIF a frame, and end with what they are of. Two workers."""

import contextlib
import importlib
import itertools
import signal
import subprocess
import time

import case
import frames
import lab
import ledger
import scrape
import station
import traffic
from case import HOSTS, expect, refused, replaced, require, wait_until
from frames import Raw
from steady import Steady

A, B, CLOUD, VPC_B = (HOSTS[name] for name in ("a", "b", "vpc-a", "vpc-b"))
TO_PORT = ["--to-port", "core0", "--vlan", "900"]
METRICS = ("127.0.0.1", 9469)
UNDO = contextlib.ExitStack()


def config(*pairs):
    text = replaced(case.lab_config(), ("[station]\n", f'[station]\nmetrics = "{METRICS[0]}:{METRICS[1]}"\n'),
                    ('name = "a"\n', 'name = "a"\ncustomer = "acme"\n'), ('name = "vpc-b"\nkind', 'name = "vpc-b"\ncustomer = "beta"\nkind'))
    return replaced(text, *pairs)


def begin():
    queues = importlib.import_module("40_bandwidth")
    station.stop()
    for port in lab.PORTS:
        queues.two_queues(port)
        UNDO.callback(queues.one_queue, port)
    UNDO.callback(station.stop)
    case.fresh(config())


def end():
    UNDO.close()


def events(since):
    found = station.lines("events", "--since", str(since))
    return [event for event in found if event["kind"] in ("mirror_begin", "mirror_end")]


def newest():
    return station.ctl("version")["events"]["newest"]


def row(name):
    rows = [row for row in station.ctl("show", "mirrors") if row["name"] == name]
    return rows[0] if rows else None


@contextlib.contextmanager
def mirror(name, *words):
    station.ctl("mirror", "start", name, *words)
    try:
        yield
    finally:
        if row(name):
            station.ctl("mirror", "stop", name)


def vlan_of(frame):
    return int.from_bytes(frame[14:16], "big") if frame[12:14] == b"\x81\0" else None


def copies(raw, vlan=900):
    """The frames whose copies a raw socket at the core's wire has received."""
    return [frame[:12] + frame[16:] for frame in raw.received(quiet=0.2) if vlan_of(frame) == vlan]


def to_core():
    return Raw("st-wire", "core0", promiscuous=True)


def marked(number, size=200, source=A, target=CLOUD, tags=None):
    """A datagram from behind a host, as the station gets it."""
    body = frames.udp(source.addr4, target.addr4, f"mirror {number} ".encode().ljust(size, b"."), sport=4000 + number, dport=5999)
    return frames.eth(source.port_mac, source.mac, frames.ETH_IPV4, frames.ipv4(source.addr4, target.addr4, frames.UDP, body),
                      source.tags if tags is None else tags)


def test_copies_are_the_frames():
    since = newest()
    with to_core() as core, Raw("st-wire", "cust0") as to_station, Raw("st-wire", "cust0", promiscuous=True) as customers:
        with mirror("ids", "--vif", "a", *TO_PORT, "--comment", "ticket 4711"):
            sent = [marked(n, size) for n, size in enumerate((10, 200, 1400, 1471))]
            spoofed = frames.datagram(A, "172.16.9.9", CLOUD.addr4, tags=A.tags)
            other = [marked(9, source=B, target=VPC_B)]
            customers.received()
            for frame in [*sent, spoofed, *other]:
                to_station.send(frame)
            came = [frame for frame in copies(core) if frame[6:12] == frames.mac(A.mac)]
            # Behind short ones the wire has zeros.
            expect([frame[:len(wanted)] for frame, wanted in zip(came, [*sent, spoofed], strict=True)], [*sent, spoofed], "copies of what came")
            # What leaves: answers of the router and of the cloud, as a's wire has them.
            customers.received()
            case.answered(A, A.gw4, "the router, from a")
            case.answered(A, traffic.address(CLOUD, 6), "the cloud, from a")
            left = [frame for frame in customers.received() if vlan_of(frame) == A.tags[0]]
            seen = [frame for frame in copies(core) if frame[6:12] != frames.mac(A.mac)]
            require(len(left) >= 6, f"{len(left)} frames to a")
            expect(sorted(seen), sorted(left), "copies of what left")
            found = row("ids")
            expect([found[key] for key in ("vif", "port", "customer", "direction", "to", "rate", "comment", "truncated")],
                   ["a", None, "acme", "both", "port core0 vlan 900", 100_000_000, "ticket 4711", 0], "show mirrors")
            expect({why: n for why, n in found["missed"].items() if n}, {}, "missed")
            require(found["copies"] >= len(sent) + 1 + len(left), f"{found}")
            sample = 'station_mirror_copies_total{mirror="ids"}'
            page = scrape.samples(scrape.page(METRICS)[2])
            require(page[sample] >= found["copies"] and page['station_mirror_missed_copies_total{mirror="ids",reason="ring"}'] == 0, "metrics")
        intact, _ = traffic.transfer(A, CLOUD, CLOUD.addr4, octets=1_000_000)
        require(intact, "TCP from a, whole")
        expect(copies(core), [], "copies after the end")
    began, ended = events(since)
    expect([began[key] for key in ("kind", "mirror", "scope", "name", "direction", "to", "filter", "uid", "comment")],
           ["mirror_begin", "ids", "vif", "a", "both", "port core0 vlan 900", None, 0, "ticket 4711"], "the begin")
    expect([ended[key] for key in ("kind", "mirror", "name", "reason", "uid")], ["mirror_end", "ids", "a", "stopped", 0], "the end")
    require(ended["copies"] >= found["copies"], f"{ended}")
    require(any(event["kind"] == "mirror_begin" for event in station.lines("events", "--vif", "a", "--since", str(since))), "events --vif a")


def test_a_port_is_copied_whole():
    with to_core() as core, Raw("st-wire", "cust0") as to_station, mirror("all", "--port", "cust0", "--direction", "in", *TO_PORT):
        sent = [marked(1), marked(2, source=B, target=VPC_B), marked(3, tags=(3999,)), marked(4, tags=(100, 7)), marked(5, tags=())]
        for frame in sent:
            to_station.send(frame)
        seen = copies(core)
        missing = [n for n, frame in enumerate(sent) if frame not in seen]
        # An untagged one is the kernel's, or nobody's, by the XDP program; here it is the worker's.
        expect(missing, [], "frames without a copy")
    expect(row("all"), None, "the mirror after its end")


def test_a_filter_and_a_snap():
    with to_core() as core, Raw("st-wire", "cust0") as to_station, mirror(
            "some", "--vif", "a", "--direction", "in", "--filter", "udp src port 4007 or icmp6", "--snap", "100", *TO_PORT):
        for n in (6, 7, 8):
            to_station.send(marked(n, 600))
        case.answered(A, traffic.address(CLOUD, 6), "the cloud, from a")
        seen = [frame for frame in copies(core) if frame[6:12] == frames.mac(A.mac)]
        datagrams = [frame for frame in seen if frame[16:18] == b"\x08\0"]
        expect(datagrams, [marked(7, 600)[:100]], "copies by the filter")
        require(len(seen) >= 4 and all(len(frame) <= 100 for frame in seen), f"{[len(frame) for frame in seen]}")
        expect(row("some")["filter"], "udp src port 4007 or icmp6", "the filter")
        require(row("some")["truncated"] >= 1, "cut ones")


def dissected(file, *fields):
    words = ["tshark", "-n", "-r", file, "-T", "fields", "-E", "occurrence=a", "-E", "aggregator=,"]
    output = lab.run(*words, *[word for name in ("frame.number", *fields) for word in ("-e", name)])
    return [row[1:] for line in output.splitlines() if (row := line.split("\t"))[0].isdigit()]


def test_tshark_reads_erspan():
    for kind, (family, ip) in itertools.product([2, 3], [(4, "ip"), (6, "ipv6")]):
        to = traffic.address(CLOUD, family)
        gre = "ip proto 47" if family == 4 else "ip6 proto 47"
        with traffic.captured(CLOUD.ns, "eth0", lab.RUN / "mirror.pcap", gre) as file, Raw("st-wire", "cust0") as to_station:
            with mirror("far", "--vif", "b", "--direction", "in", "--erspan", to, "--type", kind, "--session", 513, "--vrf", "vpc-a", "--snap", 1000):
                for n in range(5):
                    to_station.send(marked(n, 300 if n < 4 else 1472, source=B, target=VPC_B))
                time.sleep(0.3)
        rows = dissected(file, "gre.sequence_number", "erspan.version", "erspan.vlan", "erspan.spanid", "erspan.truncated",
                         "erspan.direction", "vlan.id", "udp.srcport", f"{ip}.dst", "_ws.malformed")
        # What came from b; the station sends no datagrams to it.
        came = {line[7]: line for line in rows if line[7].startswith("400")}
        expect(sorted(came), [str(4000 + n) for n in range(5)], f"datagrams in ERSPAN {kind} by IPv{family}: {rows}")
        for port, (number, version, vlan, session, cut, way, tags, _, ends, malformed) in came.items():
            # What is cut is malformed, of course.
            malformed = malformed if port != "4004" else ""
            wanted = [str(kind - 1), str(B.tags[0]), "513", port == "4004", "" if kind == 2 else "0", str(B.tags[0]), ""]
            expect([version, vlan, session, cut in ("1", "True"), way, tags.split(",")[-1], malformed], wanted, f"ERSPAN {kind} by IPv{family}, {port}")
            require(to in ends.split(","), f"to where: {ends}")
        numbers = sorted(int(line[0]) for line in rows)
        expect(numbers, list(range(len(numbers))), "sequence numbers")


def test_a_linux_host_gets_frames_in_vxlan():
    for family in (4, 6):
        to = traffic.address(CLOUD, family)
        own = {4: "169.254.255.1", 6: "fd00:c::1"}[family]
        lab.ip(CLOUD.ns, f"link add span0 type vxlan id 5001 local {to} remote {own} dstport 4789", "link set span0 up")
        try:
            with Raw(CLOUD.ns, "span0", promiscuous=True) as inside, Raw("st-wire", "cust0") as to_station:
                with mirror("vx", "--vif", "b", "--direction", "in", "--vxlan", to, "--vni", "5001", "--vrf", "vpc-a"):
                    sent = [marked(n, 201 + n, source=B, target=VPC_B) for n in range(4)]
                    for frame in sent:
                        to_station.send(frame)
                    seen = [frame for frame in inside.received(quiet=0.3) if frame[6:12] == frames.mac(B.mac)]
                    expect([frame for frame in seen if b"mirror" in frame], sent, f"frames that Linux takes out of VXLAN over IPv{family}")
        finally:
            lab.ip(CLOUD.ns, "link del span0")


def test_copies_keep_to_their_rate_and_originals_lose_nothing():
    before = ledger.Snapshot()
    with Steady("b", ["vpc-b"]) as of_b, Steady("a", ["vpc-a"], pps=2_000, flows=16) as of_a:
        with mirror("slow", "--vif", "a", "--direction", "in", "--rate", "200k", *TO_PORT):
            time.sleep(1)
            first, at = row("slow"), time.monotonic()
            time.sleep(3)
            second, passed = row("slow"), time.monotonic() - at
    octets = second["octets"] - first["octets"]
    # A burst's rest may be among the first; a lease a worker beyond.
    require(0.9 < octets * 8 / passed / 200_000 < 1.25, f"{octets} octets in {passed:.2f} s at 25,000 a second")
    require(second["missed"]["rate"] > 2_000, f"{second}")
    for name, flow in (("b", of_b), ("a", of_a)):
        require(flow.loss.sent > 3_000 and flow.loss.lost == flow.loss.twice == 0,
                f"datagrams from {name}: {flow.loss}: {ledger.lost(ledger.Snapshot() - before)}")


def test_mirrors_that_come_and_go_cost_nobody_a_frame():
    before = ledger.Snapshot()
    with Steady("b", ["vpc-b"]) as of_b, Steady("a", ["vpc-a"], six=True) as of_a:
        begun = time.monotonic()
        for n in itertools.count():
            if time.monotonic() > begun + 2:
                break
            with mirror(f"m{n}", "--vif", ["a", "b"][n % 2], *TO_PORT):
                pass
    require(n > 20, f"{n} mirrors in two seconds")
    for name, flow in (("b", of_b), ("a", of_a)):
        require(flow.loss.sent > 1_000 and flow.loss.lost == flow.loss.twice == 0,
                f"datagrams from {name}: {flow.loss}: {ledger.lost(ledger.Snapshot() - before)}")


def test_what_cannot_be_is_refused():
    start = ("mirror", "start", "m")
    for words, text in [
        (["--vif", "z", *TO_PORT], 'no vif "z"'),
        (["--port", "z", *TO_PORT], 'no port "z"'),
        (["--vif", "a", "--to-port", "z", "--vlan", 9], 'no port "z"'),
        (["--vif", "a", "--to-port", "core0", "--vlan", 1100], "is a VIF's"),
        (["--vif", "a", "--to-port", "core0", "--vlan", 4095], "1 to 4094"),
        (["--port", "core0", *TO_PORT], "to itself"),
        (["--vif", "a", "--erspan", "10.2.0.10", "--vrf", "z"], 'no vrf "z"'),
        (["--vif", "a", "--erspan", "10.2.0.10", "--vrf", "vpc-b"], '"beta"'),
        (["--vif", "a", "--erspan", "224.0.0.1", "--vrf", "vpc-a"], "one host"),
        (["--vif", "a", "--erspan", "10.2.0.10", "--vrf", "vpc-a", "--session", 1024], "0 to 1023"),
        (["--vif", "a", "--erspan", "10.2.0.10", "--vrf", "vpc-a", "--type", 1], "types 2 and 3"),
        (["--vif", "a", "--vxlan", "10.2.0.10", "--vrf", "vpc-a", "--vni", 1 << 24], "16777215"),
        (["--vif", "a", "--snap", 63, *TO_PORT], "64 to 9238"),
        (["--vif", "a", "--rate", "100", *TO_PORT], '"64k"'),
        (["--vif", "a", "--for", "0s", *TO_PORT], "1 second to 366 days"),
    ]:
        said = refused(*start, *words)
        require(text in said, f"{words}: {said}")
    for words in ([], ["--vif", "a"], ["--vif", "a", "--port", "cust0", *TO_PORT], ["--vif", "a", "--to-port", "core0"],
                  ["--vif", "a", "--vxlan", "10.2.0.10", "--vrf", "vpc-a"], ["--vif", "a", "--filter", "no such", *TO_PORT]):
        code, said = usage(*start, *words)
        expect(code, 2, f"exit code of {words}: {said}")
    require("not a name" in refused("mirror", "start", "No", "--vif", "a", *TO_PORT), "a bad name")
    require('no mirror "m"' in refused("mirror", "stop", "m"), "one that is not there")
    with contextlib.ExitStack() as all_of_them:
        for n in range(8):
            all_of_them.enter_context(mirror(f"m{n}", "--vif", "a", *TO_PORT))
        require("8 mirrors" in refused("mirror", "start", "m8", "--vif", "a", *TO_PORT), "a ninth")
        require("stop it first" in refused("mirror", "start", "m7", "--vif", "a", *TO_PORT), "one twice")
    expect(station.ctl("show", "mirrors"), [], "mirrors that are left")


def usage(*words):
    done = subprocess.run(station.command(*map(str, words)), capture_output=True, text=True, timeout=20, check=False)
    return done.returncode, done.stderr


def test_who_may_change_may_not_mirror():
    lab.run("chmod", "a+x", lab.RUN)
    group = ["setpriv", "--reuid", "65534", "--regid", str(station.SOCKET.stat().st_gid), "--clear-groups"]
    for words, code, text in [(["show", "mirrors"], 0, ""), (["mirror", "start", "m", "--vif", "a", *TO_PORT], 1, "group station-mirror"),
                              (["mirror", "stop", "m"], 1, "group station-mirror")]:
        done = subprocess.run([*group, *station.command(*words)], capture_output=True, text=True, timeout=20, check=False)
        expect(done.returncode, code, f"{words}: {done.stderr}")
        require(text in done.stderr, done.stderr)


def test_a_mirror_lasts_and_ends():
    since = newest()
    station.ctl("mirror", "start", "long", "--vif", "a", *TO_PORT)
    station.ctl("mirror", "start", "short", "--vif", "b", "--for", "5s", "--to-port", "core0", "--vlan", "901")
    until = row("short")["until_ms"]
    station.stop(signal.SIGKILL)
    station.start()
    case.learn()
    with to_core() as core:
        case.answered(A, traffic.address(CLOUD, 4), "the cloud, from a")
        require(any(frame[6:12] == frames.mac(A.mac) for frame in copies(core)), "copies after a kill")
    require(row("long") and (time.time() * 1000 > until or row("short")["until_ms"] == until), "mirrors after a kill")
    # The VIF is another customer's.
    station.write_config(config(('customer = "acme"', 'customer = "other"')))
    station.ctl("reload")
    wait_until(lambda: row("long") is None, 3, "the mirror of what is another's ends")
    station.write_config(config())
    station.ctl("reload")
    expect(row("long"), None, "the mirror, where the VIF is the same again")
    # The VLAN of copies becomes a VIF's.
    station.ctl("mirror", "start", "lane", "--vif", "a", *TO_PORT)
    with to_core() as core:
        station.ctl("vif", "add", "new", "--port", "core0", "--vlan", "900", "--vrf", "vpc-b", "--address", "169.254.99.1/30")
        core.received()
        case.answered(A, traffic.address(CLOUD, 4), "the cloud, from a")
        expect([frame for frame in copies(core) if frame[6:12] == frames.mac(A.mac)], [], "copies of a's frames to another tenant's VIF")
    wait_until(lambda: row("lane") is None, 3, "the mirror to what is a VIF's ends")
    station.ctl("vif", "del", "new")
    wait_until(lambda: row("short") is None, 15, "the mirror ends with its time")
    reasons = {event["mirror"]: event["reason"] for event in events(since) if event["kind"] == "mirror_end"}
    expect({name: text for name, text in reasons.items() if name != "m"},
           {"long": "what is mirrored is gone, or another's now", "lane": "the VLAN in which copies go is a VIF's now",
            "short": "its time is over"}, "why they ended")
    station.stop()
    station.start()
    case.learn()
    expect(station.ctl("show", "mirrors"), [], "mirrors after another start")
