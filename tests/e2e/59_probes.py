"""Probes: what they say is what a capture at the host has, next hops go and come by them, and nothing but an answer counts
as one. The hosts answer by their kernels, and TWAMP by a reflector that is strict, or by stamp-suite's."""

import collections
import contextlib
import importlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import time

import case
import lab
import ledger
import scrape
import station
import steady
import traffic
import twamp
import wrong_answers
from case import HOSTS, Skip, expect, replaced, require, wait_until
from flow_books import METRICS, newest, told
from frames import ICMP, ICMPV6, TCP, UDP, Raw, eth, ethertype, packet, udp
from overlay import table
from wires import RST, RST_ACK, SYN, SYN_ACK, Line, Packet, Watch, silent
from wrong_answers import NOBODY, conversation, error, right, send, wrong

A, A2, B, C, D, E, CLOUD, PUB = (HOSTS[name] for name in ("a", "a2", "b", "c", "d", "e", "vpc-a", "pub"))
OPEN, CLOSED = 7443, 7444
FAST, PATIENT = {"interval_ms": 100, "timeout_ms": 100}, {"timeout_ms": 1000}
STAMP = os.environ.get("STAMP_SUITE") or shutil.which("stamp-suite")  # `cargo install stamp-suite`
LINES = {host.name: Line(host) for host in (B, C, D, E)}
UNDO = contextlib.ExitStack()
STAYING = []  # probes that are there from test to test


def probe(name, vif, *targets, **fields):
    return table("probe", name=name, vif=vif, targets=targets, **{**FAST, **fields})


def configure(*probes, text=None):
    text = replaced(text or case.lab_config(), ("[station]\n", f'[station]\nmetrics = "{":".join(map(str, METRICS))}"\n'))
    station.write_config(text + "".join([*STAYING, *probes]))


def reload(*probes, text=None):
    configure(*probes, text=text)
    station.ctl("reload")


@contextlib.contextmanager
def asked(*probes, text=None, up=True):
    """Probes for a while. `up`: all their targets are, soon."""
    reload(*probes, text=text)
    try:
        if up:
            wait_until(lambda: states() == {"up"}, 3, "all are up")
        yield
    finally:
        reload()


def reflecting(*vifs):
    """The lab's configuration, where these VIFs answer TWAMP-light."""
    return replaced(case.lab_config(), *[(f'name = "{name}"\nport', f'name = "{name}"\ntwamp_reflector = true\nport') for name in vifs])


def begin():
    UNDO.callback(station.stop)
    for line in LINES.values():
        UNDO.enter_context(line)
    configure()
    case.fresh(station.CONFIG.read_text())


def end():
    UNDO.close()


# ---- what the station says -----------------------------------------------------------------------

def rows(*names):
    """Rows of `show probes` by probe and target, of all probes or of these."""
    found = station.ctl("show", "probes")
    return {(row["probe"], row["target"]): row for row in found if not names or row["probe"] in names}


def states(*names):
    return {row["state"] for row in rows(*names).values()}


def events(since, *kinds):
    return station.lines("events", "--kind", ",".join(kinds), "--since", since)


def samples():
    return scrape.samples(scrape.page(METRICS)[2])


def used(vrf, address):
    """The next hops that the route to an address uses."""
    return {way["next_hop"] for way in station.ctl("lookup", "--vrf", vrf, address)["via"] if way["state"] != "silent"}


def agree(watch, vif):
    """Each row of a VIF says, at a moment when nothing is on its way, what was seen. The rows."""
    done, said = set(), {}

    def all_do():
        before = watch.look()
        said.update({(row["kind"], row["port"], row["target"]): row for row in rows().values() if row["vif"] == vif})
        after = watch.look()
        done.update(key for key, row in said.items() if before.get(key) == after.get(key) == (row["sent"], row["received"]))
        return said and done == said.keys()
    try:
        wait_until(all_do, 4, f"what is said of {vif} is what was seen")
    except AssertionError as late:
        others = {key: (row["sent"], row["received"], watch.look().get(key)) for key, row in said.items() if key not in done}
        raise AssertionError(f"{late}: (sent, received, seen): {others}") from None
    return said.values()


# ---- what is asked, and what is said of the answers ----------------------------------------------

def test_the_reflector_and_the_sender_refuse_what_rfc_5357_does_not_allow():
    now = time.time_ns()
    request = twamp.REQUEST.pack(7, twamp.ntp(now), 1).ljust(64, b"x")
    reply = twamp.reply(request, 255, now, now)

    def refused(check, *words):
        with contextlib.suppress(twamp.Malformed):
            check(*words)
            raise AssertionError(f"not refused: {words}")
    twamp.check_reply(reply, request, 255, now, now)
    # Each field, and of those that may have more than one value the first octet.
    fields = (0, 4, 12, 14, 15, 16, 24, 27, 28, 35, 36, 37, 38, 39, 40, 41, 63)
    for spoiled in (reply[:-1], reply[:13] + b"\0" + reply[14:], *[reply[:at] + bytes([reply[at] ^ 0x40]) + reply[at + 1:] for at in fields]):
        refused(twamp.check_reply, spoiled, request, 255, now, now)
    refused(twamp.check_reply, reply, request, 254, now, now)
    reflect = lambda octets, ttl=255: twamp.Reflector(A, "x").check(octets, ttl, now, "x")
    reflect(request)
    refused(reflect, request, 254)
    for spoiled in (request[:-1], request[:12] + b"\x40\1" + request[14:], request[:13] + b"\0" + request[14:],
                    request[:4] + bytes(8) + request[12:], request[:4] + b"\xff" * 8 + request[12:]):
        refused(reflect, spoiled)


def test_hosts_answer_and_what_is_said_is_what_was_seen():
    kinds = {"icmp": {}, "open": {"kind": "tcp", "port": OPEN}, "closed": {"kind": "tcp", "port": CLOSED}, "twamp": {"kind": "twamp"}}
    sizes = {A: {}, CLOUD: {"size": 1000}}
    probes = [probe(f"{host.name}-{name}", host.name, host.addr4, host.addr6, **PATIENT, **fields, **(size if name == "icmp" else {}))
              for host, size in sizes.items() for name, fields in kinds.items()]
    with contextlib.ExitStack() as stack:
        watches = {host: stack.enter_context(Watch(host)) for host in sizes}
        reflectors = [stack.enter_context(twamp.Reflector(host, host.addr4, host.addr6, hold=hold)) for host, hold in ((A, 0), (CLOUD, 0.02))]
        listeners = []
        for host in sizes:
            for address, family in ((host.addr4, socket.AF_INET), (host.addr6, socket.AF_INET6)):
                with lab.inside(host.ns):
                    listeners.append(stack.enter_context(socket.create_server((address, OPEN), family=family)))
        stack.enter_context(asked(*probes))
        wait_until(lambda: min(row["sent"] for row in rows().values()) >= 15, 5, "15 questions each")
        expect({row["vif"] for row in station.ctl("show", "probes", "--port", "core0")}, {"vpc-a"}, "VIFs of a port")
        for host, watch in watches.items():
            said = agree(watch, host.name)
            expect(len(said), 8, f"rows of {host.name}")
            for row in said:
                check_row(row, host)
            check_packets(watch, sizes[host].get("size", 56))
            # The listeners never see a connection, and none is half open.
            known = lab.run("ss", "-Htan", "state", "connected", f"sport = :{OPEN} or sport = :{CLOSED}", ns=host.ns)
            expect(known.strip(), "", f"connections of {host.name}")
        for listener in listeners:
            listener.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                raise AssertionError(f"a connection was opened: {listener.accept()}")
        wait_until(lambda: max(row["jitter_us"] for row in rows().values() if "twamp" not in row["probe"]) < 1500, 5, "jitter is low")
        # What a reflector takes itself is no part of the way.
        expect({row["p50_us"] < 15_000 for row in rows("vpc-a-twamp").values()}, {True}, "RTT without the 20 ms that the reflector takes")
        for reflector in reflectors:
            expect((reflector.faults, reflector.missing), ([], 0), "what a reflector refused, and numbers that were left out")
            require(min(reflector.seen.values()) > 10, f"what it reflected: {reflector.seen}")
    tested = [frame for watch in watches.values() for frame in watch.tested]
    expect(twamp.dissected(tested), ([], len(tested)), "what tshark finds wrong, and the packets that it takes for TWAMP")


def check_row(row, host):
    source = host.gw6 if ":" in row["target"] else host.gw4
    wanted = {"state": "up", "probe_state": "up", "held_s": None, "next_hop": None, "message": "", "source": source, "lost": 0,
              "loss_percent": 0, "window": min(row["received"], 100)}
    expect({name: row[name] for name in wanted}, wanted, f"{row}")
    require(0 < row["p50_us"] <= row["p99_us"] <= row["max_us"] and row["last_us"] <= row["max_us"] * 1.01, f"RTTs: {row}")
    require(row["p50_us"] < 5_000 or row["probe"] == "vpc-a-twamp", f"the RTT without a delay: {row}")


def check_packets(watch, size):
    """All have right checksums and lengths, and a SYN+ACK, and it alone, is answered by one RST (RFC 9293 3.10.7.3)."""
    count, own = collections.Counter, watch.own
    for each in watch.packets:
        expect(each.upper, each.sealed().upper, f"a packet with its checksum, {each}")
    lengths = {(each.protocol in (ICMP, ICMPV6), len(each.upper)) for each in watch.packets if each.protocol != TCP and each.about(True)}
    expect(lengths, {(True, 8 + size), (False, 8 + 64)}, "octets of echo requests, and of UDP")
    segments = [each for each in watch.packets if each.protocol == TCP]
    accepted = count((each.source, *each.ports, each.upper[8:12]) for each in segments if each.flags == SYN_ACK)
    resets = count((each.target, *each.ports[::-1], each.upper[4:8]) for each in segments if each.flags == RST and each.source in own)
    left = accepted - resets
    # One may still be on its way.
    require(accepted and not resets - accepted and left.total() <= 1, f"SYN+ACK without RST, and RST without: {left}, {resets - accepted}")
    expect({each.flags for each in segments if each.source in own}, {SYN, RST}, "flags that the station sends")
    expect({each.ports[0] for each in segments if each.flags == RST_ACK}, {CLOSED}, "ports that refuse")
    numbers = count(each.upper[4:8] for each in segments if each.flags == SYN)
    require(len(numbers) > 30 and max(numbers.values()) == 1, f"sequence numbers of SYNs are another's: {numbers.most_common(3)}")


LOST, DICE = collections.Counter(), random.Random(5357)
OF_D = traffic.all_addresses(D)
FAR = [probe("far", "c", C.addr4, C.addr6, **PATIENT, max_rtt_ms=10),
       probe("far-tcp", "c", C.addr4, C.addr6, **PATIENT, kind="tcp", port=CLOSED),
       probe("far-twamp", "c", C.addr4, C.addr6, **PATIENT, kind="twamp"),
       probe("wavy", "e", E.addr4, E.addr6, **PATIENT, max_jitter_ms=10),
       probe("lossy", "d", *OF_D, timeout_ms=200, misses=100, max_loss_percent=5)]
LIMITS = {("far", "rtt"): 10_000, ("wavy", "jitter"): 10_000, ("lossy", "loss"): 5}
TARGETS = {"far": [C.addr4, C.addr6], "wavy": [E.addr4, E.addr6], "lossy": OF_D}
MARKS = {}


def third(each):
    """Loses 30 % of the answers to echo requests."""
    lost = each.about(False) is not None and DICE.random() < 0.3
    LOST[each.source] += lost
    return lost


def limits(kind):
    """The events of a kind by probe, target and measure, once there are all."""
    for name, measure in LIMITS:
        for target in TARGETS[name]:
            told(kind, MARKS["since"], probe=name, target=target, measure=measure)
    return [event for event in events(MARKS["since"], kind) if event["probe"] in TARGETS]


def test_limits_that_are_passed_are_told():
    LINES["c"].delay, LINES["e"].delay, LINES["d"].loses = lambda: 0.02, lambda: random.uniform(0.01, 0.09), third
    STAYING[:] = FAR
    MARKS.update(since=newest(), reflector=UNDO.enter_context(twamp.Reflector(C, C.addr4, C.addr6)))
    reload()
    try:
        wait_until(lambda: min(row["sent"] for row in rows().values()) >= 25, 6, "25 questions each")
        check_delays()
        for event in limits("probe_degraded"):
            require(event["limit"] == LIMITS[event["probe"], event["measure"]] < event["value"], f"{event}")
    finally:
        LINES["c"].delay = LINES["e"].delay = lambda: 0
        LINES["d"].loses = lambda each: False


def check_delays():
    """Delays, their differences and losses are the lines'."""
    for row in rows("far", "far-tcp", "far-twamp").values():
        require(20_000 <= row["p50_us"] <= 25_000, f"the RTT with a delay of 20 ms: {row}")
    for row in rows("wavy").values():
        require(25_000 < row["p50_us"] < 75_000 < row["max_us"] < 100_000, f"the RTT with a delay of 10 to 90 ms: {row}")
        # The mean difference of two of them is 27 ms.
        require(12_000 < row["jitter_us"] < 45_000, f"the jitter with a delay of 10 to 90 ms: {row}")
    # The lines are not quite even where the machine is busy.
    wait_until(lambda: max(row["jitter_us"] for row in rows("far").values()) < 4_000, 5, "little jitter with a constant delay")
    done = set()

    def losses_agree():
        before = dict(LOST)
        for (_, target), row in rows("lossy").items():
            share = 100 * row["lost"] / (row["received"] + row["lost"])
            if before[target] == LOST[target] == row["lost"] and row["window"] < 100 and abs(share - row["loss_percent"]) <= 1:
                done.add(target)
        return len(done) == len(OF_D)
    wait_until(losses_agree, 5, "what is lost is what the line lost")


# ---- the other end -------------------------------------------------------------------------------

def test_the_reflector_answers_as_rfc_5357_has_it_and_only_where_it_is_asked_to():
    reload(text=reflecting("a", "vpc-a"))
    for host in (A, CLOUD):
        with Watch(host) as watch:
            for source, gateway, most in ((host.addr4, host.gw4, 1472), (host.addr6, host.gw6, 1452)):
                for number, size in enumerate((14, 40, 41, 42, 64, 333, most)):
                    require(twamp.ask(host, source, gateway, size, number), f"{gateway} answers {size} octets")
            watch.look()
            expect(twamp.dissected(watch.tested), ([], 4 * 7), "what tshark finds wrong, and the packets that it takes for TWAMP")
    nobodys()
    # Two who reflect to each other would not come to an end.
    for host, port in ((B, 0), (A, twamp.PORT), (A, 7)):
        for source, gateway in ((host.addr4, host.gw4), (host.addr6, host.gw6)):
            with contextlib.suppress(ConnectionRefusedError):
                answered = twamp.ask(host, source, gateway, 64, 1, port=port)
                raise AssertionError(f"{source} is not refused from port {port}, but answered: {answered}")
    reload()


def nobodys():
    """What is too short, not the router's own, or not a's, has no answer."""
    spoofed = lambda: ledger.counters()[0]["a"]["drop spoofed_source"]
    before, request = spoofed(), twamp.REQUEST.pack(1, twamp.ntp(time.time_ns()), 1).ljust(64, b"\0")
    with Watch(A) as watch, Raw(A.ns) as wire:
        for source, target, mac, octets in (
                (A.addr4, "169.254.0.3", "ff:ff:ff:ff:ff:ff", request), (A.addr4, "255.255.255.255", "ff:ff:ff:ff:ff:ff", request),
                (A.addr4, "224.0.0.1", "01:00:5e:00:00:01", request), (A.addr6, "ff02::1", "33:33:00:00:00:01", request),
                (A.addr4, A.gw4, A.port_mac, request[:13]), (A.addr6, A.gw6, A.port_mac, b""),
                ("10.9.0.1", A.gw4, A.port_mac, request), ("fd77::1", A.gw6, A.port_mac, request)):
            datagram = udp(source, target, octets, 4862, twamp.PORT)
            wire.send(eth(mac, A.mac, ethertype(source), packet(source, target, UDP, datagram)))
        # By then the station has seen those.
        require(twamp.ask(A, A.addr4, A.gw4, 64, 2) and twamp.ask(A, A.addr6, A.gw6, 64, 3), "the router answers")
        watch.look()
        expect(watch.asked.total(), 2, "what the station sent by UDP")
    wait_until(lambda: spoofed() - before == 2, 2, "spoofed requests are dropped")


def test_stamp_suite_is_asked_and_asks():
    if not STAMP:
        raise Skip("stamp-suite is not installed")
    addresses = {PUB.addr4: PUB.gw4, PUB.addr6: PUB.gw6}
    with contextlib.ExitStack() as stack:
        for own in addresses:
            with lab.inside(PUB.ns):
                process = subprocess.Popen([STAMP, "-i", "--local-addr", own], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.terminate)
        wait_until(lambda: lab.run("ss", "-Hlun", f"sport = :{twamp.PORT}", ns=PUB.ns).count("\n") == 2, 5, "both reflectors listen")
        watch = stack.enter_context(Watch(PUB))
        stack.enter_context(asked(probe("stamp", "pub", *addresses, kind="twamp"), text=reflecting("pub"), up=False))
        for own, gateway in addresses.items():
            words = ["--remote-addr", gateway, "--local-addr", own, "--count", 20, "--send-delay", "10ms", "--timeout", 1]
            said = lab.run(STAMP, *words, "--output-format", "json", ns=PUB.ns)
            [got] = [json.loads(line) for line in said.splitlines() if line.startswith('{"type":"summary"')]
            more = {got["measurements"][name] for name in ("duplicate_replies", "unknown_replies", "late_replies")}
            expect((got["packets_sent"], got["packets_lost"], more), (20, 0, {0}), "what it sent, lost, and else received")
            require(0 < got["owd"]["forward_min_ms"] < got["max_rtt_ms"] < 100, f"what it measured: {got['owd']}")
        found = {(row["state"], row["lost"]) for row in rows("stamp").values()}
        expect(found, {("up", 0)}, "states by stamp-suite's reflectors, and what they did not answer")
        watch.look()
    expect(twamp.dissected(watch.tested)[0], [], "what tshark finds wrong")


# ---- next hops -----------------------------------------------------------------------------------

SITES = {A.addr4: ("169.254.0.2", "169.254.0.6"), A.addr6: ("fd00:a::2", "fd00:a:2::2")}  # by what they lead to


def test_a_next_hop_whose_target_is_silent_is_left_and_taken_again():
    via = [(f'via = [{{ address = "{one}" }}]', f'via = [{{ address = "{one}" }}, {{ address = "{two}" }}]') for one, two in SITES.values()]
    sites = [probe(name, "a", target, next_hop=one) for name, (target, (one, _)) in zip(("four", "six"), SITES.items(), strict=True)]
    since = newest()
    with contextlib.ExitStack() as stack:
        lab.ip(A2.ns, f"addr add {A.addr4}/32 dev lo", f"addr add {A.addr6}/128 dev lo nodad")
        stack.callback(lab.ip, A2.ns, f"addr del {A.addr4}/32 dev lo", f"addr del {A.addr6}/128 dev lo")
        stack.enter_context(asked(*sites, text=replaced(case.lab_config(), *via)))
        at_a, at_a2 = (stack.enter_context(Raw(host.ns)) for host in (A, A2))
        silence = stack.enter_context(contextlib.ExitStack())
        with streams() as flows:
            come(at_a, 20)
            come(at_a2, 20)
            silence.enter_context(silent(A, *SITES))
            wait_until(lambda: states("four", "six") == {"down"}, 3, "both are down")
            come(at_a2, 100)
        gaps = [flow.loss.gap_ms for flow in flows]
        print(f"        the traffic had a gap of {gaps[0]:.0f} ms by IPv4, {gaps[1]:.0f} ms by IPv6", flush=True)
        # Three misses 100 ms apart, of which the last counts after another 100 ms.
        require(all(250 < gap < 500 for gap in gaps), f"gaps in ms: {gaps}")
        expect([used("vpc-a", target) for target in SITES], [{two} for _, two in SITES.values()], "next hops that are left")
        with streams() as flows, Watch(A) as watch:
            come(at_a2, 20)
            stream(at_a)
            wait_until(lambda: len(watch.look()) == 2 and min(watch.asked.values()) > 4, 3, "the silent ones are asked by themselves")
            expect(stream(at_a), [0, 0], "datagrams to the silent ones")
            silence.close()
            took = wait_until(lambda: states("four", "six") == {"up"}, 3, "both are up")
            come(at_a, 20)
        require(took < 0.8, f"three answers took {took:.1f} s")
        expect([(flow.loss.lost, flow.loss.twice) for flow in flows], [(0, 0)] * 2, "datagrams lost and twice when they return")
    for name in ("four", "six"):
        down = told("probe_down", since, probe=name, vif="a")
        up = told("probe_up", down["seq"], probe=name, vif="a")
        require(down["reason"] and 300 < up["down_ms"] < 10_000, f"{down}, {up}")
    outages = [row for row in station.ctl("show", "outages", "a", "--since", "1h") if "probe" in (row["cause"], *row["also"])]
    require(outages and all(row["end_ms"] for row in outages), f"outages because of probes: {outages}")


@contextlib.contextmanager
def streams():
    """Numbered datagrams of both families to addresses that a and a2 have."""
    with steady.Steady("vpc-a", ["a", "a2"], pps=500) as four, steady.Steady("vpc-a", ["a", "a2"], pps=500, six=True) as six:
        yield four, six


def stream(raw):
    """How many of these have come since the last look, by family."""
    counts = [0, 0]
    while (frame := raw.take()) is not None:
        each = Packet.of(frame)
        if each and each.protocol == UDP and 20000 <= each.ports[0] < 20100:
            counts[":" in each.source] += 1
    return counts


def come(raw, count):
    """Waits until so many more of them have come, of each family."""
    stream(raw)
    counts = [0, 0]

    def enough():
        counts[:] = map(sum, zip(counts, stream(raw), strict=True))
        return min(counts) >= count
    wait_until(enough, 5, f"{count} datagrams of each family")


FLAPS = {B.lan4[0]: 250, B.lan4[1]: 400, B.lan6[0]: 800}  # milliseconds that it answers, and does not


def test_targets_that_flap_are_held_and_nothing_grows():
    soak = importlib.import_module("26_soak")
    hops = {B.lan4[0]: {"next_hop": "169.254.0.2"}, B.lan6[0]: {"next_hop": "fd00:a::2"}}
    with asked(*[probe(f"flap-{half}", "b", target, **hops.get(target, {})) for target, half in FLAPS.items()]):
        since, before = newest(), soak.process(station.running())

        def flap():
            begun = time.monotonic()

            def flaps(each):
                half = FLAPS.get(each.source)
                return half and 1000 * (time.monotonic() - begun) % (2 * half) < half
            LINES["b"].loses = flaps
            time.sleep(3)
            held = [row["held_s"] for row in rows().values() if row["target"] in FLAPS]
            LINES["b"].loses = lambda each: False
            require(any(seconds is not None and 0 < seconds <= 5 for seconds in held), f"how long they are held: {held}")
        case.undisturbed(flap, ("a", "vpc-a", False), ("c", "pub", True))
        after = soak.process(station.running())
    counts = collections.Counter((event["probe"], event["kind"]) for event in events(since, "probe_down", "probe_up"))
    [short, *found] = [tuple(counts[f"flap-{half}", kind] for kind in ("probe_down", "probe_up")) for half in FLAPS.values()]
    expect(found, [(2, 1)] * 2, "how often those that flap slowly were down and up")
    require(short in [(0, 0), (1, 0), (1, 1), (2, 1)], f"how often one that flaps about the limit was down and up: {short}")
    expect([after[key] for key in ("threads", "descriptors")], [before[key] for key in ("threads", "descriptors")], "threads and descriptors")
    require(after["KiB"] - before["KiB"] < soak.GROWTH_KIB, f"memory: {before['KiB']} KiB, then {after['KiB']}")


# ---- what is no answer, changes and restarts -----------------------------------------------------

def test_what_is_no_answer_does_not_count():
    probes = [probe(f"nobody-{name}", "b", *NOBODY.values(), timeout_ms=200, **fields) for name, fields in wrong_answers.KINDS.items()]
    counted = lambda what: {(row["kind"], row["port"], row["target"]): row[what] for (name, _), row in rows().items() if "nobody" in name}
    with asked(*probes, up=False), Raw(B.ns) as at_b, Raw(A.ns) as at_a:
        late = collections.deque()

        def hostile(question):
            while late and late[0][0] <= time.monotonic():
                send(B, at_b, late.popleft()[1])
            if question:
                for answer in wrong(question):
                    send(B, at_b, answer)
                send(A, at_a, right(question))  # another VRF's customer, from the same addresses to the same address
                late.append((time.monotonic() + 0.23, right(question)))
        counts = conversation(at_b, hostile, 1.5)
        require(len(counts) == 6 and min(counts.values()) > 10, f"what was asked: {counts}")
        expect(counted("received"), dict.fromkeys(counts, 0), "answers that counted")
        expect({*counted("state").values()}, {"down"}, "states")
        # An honest error is no answer, either, and is shown.
        conversation(at_b, lambda question: question and send(B, at_b, error(question)), 0.3)
        said = counted("message")
        require(all("unreachable" in text.lower() for text in said.values()), f"messages: {said}")
        expect(counted("received"), dict.fromkeys(counts, 0), "answers that counted")
        # The same by the same means, but right, and three times.
        counts = conversation(at_b, lambda question: question and send(B, at_b, right(question), 3), 1)
        wait_until(lambda: counted("received") == counts, 1, f"these count: {counts}")
        expect({*counted("state").values()}, {"up"}, "states")


def test_a_reload_touches_only_what_it_changes():
    kept, both = probe("kept", "b", B.addr4, B.addr6), (NOBODY[4], B.addr4)
    new = [probe("gone", "b", NOBODY[4], next_hop="169.254.0.2"), probe("one", "b", *both), probe("two", "b", *both, need=2)]
    with asked(kept, probe("pace", "b", B.addr4)):
        wait_until(lambda: all(row["sent"] >= 8 for row in rows("kept", "pace").values()), 3, "8 questions each")
        before = rows()
        reload(kept, probe("pace", "b", B.addr4, interval_ms=400), *new)
        at, after = time.monotonic(), rows()
        for key, row in before.items():
            now = after[key]
            require(row["sent"] <= now["sent"] <= row["sent"] + 20 and row["since_s"] <= now["since_s"] and row["state"] == now["state"],
                    f"over a reload: {row}, then {now}")
        wait_until(lambda: states("gone") == {"down"}, 3, "nobody does not answer")
        expect(used("vpc-b", B.addr4), set(), "next hops without the only one")
        of_two = {(name, row["probe_state"]) for (name, _), row in rows("one", "two").items()}
        expect(of_two, {("one", "up"), ("two", "down")}, "probes that need one of two targets, and both")
        wait_until(lambda: time.monotonic() - at > 1.2, 5, "a while")
        asks = rows("pace")["pace", B.addr4]["sent"] - before["pace", B.addr4]["sent"]
        require(abs(asks - (time.monotonic() - at) / 0.4) <= 1.5, f"{asks} questions, one each 0.4 s")
        reload(kept)
        expect(used("vpc-b", B.addr4), {"169.254.0.2"}, "next hops without the probe")
        for key, row in rows("kept").items():
            require(row["sent"] > before[key]["sent"] and row["lost"] == before[key]["lost"] == 0, f"{before[key]}, then {row}")


def test_nothing_is_asked_and_counted_while_a_vif_or_its_port_is_down():
    with twamp.Reflector(B, B.addr4, B.addr6) as reflector, asked(probe("idle", "b", B.addr4, B.addr6, kind="twamp")):
        since = newest()
        idle(lambda: station.ctl("vif", "down", "b"), lambda: station.ctl("vif", "up", "b"))
        expect((reflector.faults, reflector.missing), ([], 0), "what the reflector refused, and numbers that were not sent")
        idle(*[lambda way=way: lab.ip("st-wire", f"link set dev cust0 {way}") for way in ("down", "up")])
        # One of each family may have been on its way.
        require(not reflector.faults and reflector.missing <= 2, f"{reflector.missing} are missing; refused: {reflector.faults}")
        expect(events(since, "probe_down"), [], "probes that were down")


def idle(down, up):
    """VIF b is down for a while."""
    counts = lambda: {key: (row["sent"], row["received"], row["lost"]) for key, row in rows("idle").items()}
    down()
    try:
        wait_until(lambda: states("idle") == {"idle"}, 2, "the probe is idle")
        # What was on its way is lost.
        wait_until(lambda: all(sent == received + lost for sent, received, lost in counts().values()), 1, "nothing is waited for")
        with Watch(B) as watch:
            before = counts()
            said = [name for name in samples() if name.startswith("station_probe_up{") and "idle" in name]
            expect(said, [], "whether it is up, by metrics")
            time.sleep(0.35)
            expect((watch.look(), counts()), ({}, before), "what is asked and counted meanwhile")
    finally:
        up()
    wait_until(lambda: states("idle") == {"up"}, 3, "it is up again")


def test_metrics_have_what_is_shown():
    with asked(probe("shown", "a", A.addr4, A.addr6), probe("deaf", "a", NOBODY[4]), up=False):
        wait_until(lambda: states("shown") == {"up"} and states("deaf") == {"down"}, 3, "both are known")
        done = set()

        def all_agree():
            first, page, second = rows("shown", "deaf"), samples(), rows("shown", "deaf")
            for (name, target), row in first.items():
                same = row == {**second[name, target], "since_s": row["since_s"]}
                shown = (row["sent"], row["received"], row["received"], row["state"] == "up", row["probe_state"] == "up", row["jitter_us"] or 0)
                if same and metrics(page, name, target) == shown:
                    done.add((name, target))
            return done == first.keys()
        wait_until(all_agree, 4, "metrics are what is shown")
        page, labels, name = samples(), f'probe="shown",target="{A.addr4}"', "station_probe_rtt_seconds"
        buckets = [value for series, value in page.items() if series.startswith(f"{name}_bucket") and labels in series]
        total, count = (page[f"{name}_{what}{{{labels}}}"] for what in ("sum", "count"))
        expect(buckets, sorted(buckets), "a histogram's buckets")
        require(0 < total / count < 0.05 and buckets[-1] == count, f"{total} s in {count} answers")


def metrics(page, name, target):
    """What `show probes` says, by metrics."""
    of_target = lambda what: page.get(f'station_probe_{what}{{probe="{name}",target="{target}"}}')
    return (*map(of_target, ("sent_total", "received_total", "rtt_seconds_count", "target_up")),
            page.get(f'station_probe_up{{probe="{name}",vif="a"}}'), round(1e6 * (of_target("jitter_seconds") or 0)))


def test_limits_that_are_kept_again_are_told_and_each_once():
    if not STAYING:
        raise Skip("what passed them did not run")
    try:
        for event in limits("probe_restored"):
            require(event["value"] <= event["limit"], f"{event}")
        seen = collections.Counter((event["probe"], event["measure"], event["kind"])
                                   for kind in ("probe_degraded", "probe_restored") for event in limits(kind))
        wanted = {(*limit, kind): len(TARGETS[limit[0]]) for limit in LIMITS for kind in ("probe_degraded", "probe_restored")}
        expect(dict(seen), wanted, "what was told")
        expect((MARKS["reflector"].faults, states()), ([], {"up"}), "what c's reflector refused, and states")
    finally:
        STAYING.clear()
        reload()


def test_probes_go_on_after_a_kill():
    with asked(probe("again", "a", A.addr4, A.addr6)), Watch(A) as watch:
        station.stop(signal.SIGKILL)
        station.start()
        wait_until(lambda: states("again") == {"up"}, 5, "the probe is up again")
        before = {key: count for key, (count, _) in watch.look().items()}
        wait_until(lambda: all(count > before[key] + 2 for key, (count, _) in watch.look().items()), 2, "questions go on")
