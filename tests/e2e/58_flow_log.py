"""Flow logs: real collectors read them, their sums are the counters', and no collector holds up a frame.

VIF a logs every packet throughout, on two workers. The test's own collector, which refuses what RFC 7011 does not
allow, has all."""

import contextlib
import importlib
import math
import os
import random
import time

import case
import collectors
import frames
import ipfix
import ipfix_check
import lab
import ledger
import scrape
import station
import traffic
from case import HOSTS, Stream, expect, replaced, require, wait_until
from collectors import VERDICT, Own
from flow_books import (DOMAIN, METRICS, OWN, Books, bad_frames, collector, config, logs, many_flows, newest, random_frames,
                        real_traffic, reload, told)
from frames import ETH_ARP, Raw, eth

A, B, C, D, CLOUD = (HOSTS[name] for name in ("a", "b", "c", "d", "vpc-a"))
FLOWS = lab.RUN / "state/flows"
UNDO = contextlib.ExitStack()


def begin():
    station.stop()
    # The lab switches IPv6 off in the station's namespace; the collector at ::1 needs it.
    lab.sysctl(collectors.NS, ipv6__conf__lo__disable_ipv6=0)
    UNDO.callback(lab.sysctl, collectors.NS, ipv6__conf__lo__disable_ipv6=1)
    queues = importlib.import_module("40_bandwidth")
    for port in lab.PORTS:
        queues.two_queues(port)
        UNDO.callback(queues.one_queue, port)
    UNDO.enter_context(OWN)
    UNDO.callback(station.stop)
    case.fresh(config())
    expect(len(station.ctl("show", "workers")), 2, "workers")
    # The routers know each other before anything is compared.
    for family in (4, 6):
        expect(traffic.ping(A, traffic.address(CLOUD, family)), 3, "replies of the cloud")


def end():
    UNDO.close()


# ---- the tests -----------------------------------------------------------------------------------

def test_the_decoder_refuses_what_rfc_7011_does_not_allow():
    ipfix_check.check()


def test_real_collectors_see_the_same_flows():
    with (collectors.NfCapd(4739) as nfcapd, collectors.NfAcctd(4741) as nfacctd, Own("tcp://[::1]:4740") as tcp,
          collectors.capture(4739) as file):
        books, before = Books("a"), len(OWN.flows())
        reload(nfcapd.url, nfacctd.url, tcp.url)
        wait_until(lambda: collector(tcp.url)["state"] == "up", 5, "a connection")
        real_traffic()
        expect(traffic.ping(A, A.gw4), 3, "replies of the router")
        books.balance()
        flows = OWN.flows()[before:]
        mine = collectors.seen(collectors.own_rows(flows))
        expect(collectors.seen(collectors.own_rows(tcp.flows())), mine, "the same by TCP")
        expect(tcp.gaps(), [], "gaps, by TCP")
        check_seen(mine, OWN)
        for name, rows in (("nfcapd", nfcapd.rows()), ("nfacctd", nfacctd.rows())):
            found = {key: value for key, value in collectors.seen(rows).items() if key in mine}
            wrong = {key: (value, found.get(key)) for key, value in mine.items() if found.get(key) != value}
            require(not wrong, f"{name} sees of {len(mine)} flows otherwise (told, seen): {wrong}")
        require({("forward", 64, 1), ("punt(local)", 195, 1)} <= {*nfacctd.verdicts}, f"verdicts: {nfacctd.verdicts}")
    wrong, packets = collectors.dissected(file, 4739)
    expect(wrong, [], "what tshark finds wrong")
    require(packets >= sum(flow["packetDeltaCount"] for flow in flows), f"tshark sees {packets} packets of flows")
    reload()


def check_seen(mine, own):
    """The flows of `real_traffic` are those that were made."""
    number = {names[-1]: number for number, names in own.names().items()}
    for family, icmp, (request, reply), header in ((4, 1, (8, 0), 20), (6, 58, (128, 129), 40)):
        a, cloud = ((traffic.address(HOSTS[name], family), number[name]) for name in ("a", "vpc-a"))
        for source, target, kind in ((a, cloud, request), (cloud, a, reply)):
            found = {key[2:4]: value for key, value in mine.items()
                     if (key[:2], key[4:6]) == ((source[0], target[0]), (source[1], target[1]))}
            others = {key: value for key, value in mine.items() if key[0] == source[0]}
            expect({protocol for protocol, _ in found}, {6, 17, icmp}, f"protocols from {source} to {target} of {others}")
            [flags] = {value[2] for (protocol, _), value in found.items() if protocol == 6}
            require(flags & 0x13 == 0x13, f"SYN, ACK and FIN of TCP from {source}: {flags:#x}")
            expect(found[icmp, (kind << 8, 0)], (3, 3 * (56 + 8 + header), 0), f"echoes from {source} to {target}")
        octets = sum(value[1] for key, value in mine.items() if key[:3] == (a[0], cloud[0], 6))
        require(octets > 300_000, f"octets of TCP from {a}: {octets}")


def test_records_add_up_to_the_counters_whatever_becomes_of_the_frames():
    books, before = Books("a"), len(OWN.flows())
    rng = random.Random(7011)
    with Raw("st-wire", A.port) as customer, Raw("st-wire", CLOUD.port) as cloud:
        wires = {A.port: customer, CLOUD.port: cloud}
        no_arp = eth(A.port_mac, A.mac, ETH_ARP, bytes(46), A.tags)
        rows = [*random_frames(rng, 600), *bad_frames() * 2, (A.port, no_arp)]
        rng.shuffle(rows)
        for number, (port, octets) in enumerate(rows):
            wires[port].send(octets)
            if number % 16 == 15:
                time.sleep(0.002)
    for gateway in (A.gw4, A.gw6):
        expect(traffic.ping(A, gateway), 3, f"replies of {gateway}")
    row = books.balance()["a"]
    reasons = {key for key in row if key.startswith("drop ")}
    require(len(reasons) > 15 and {"drop spoofed_source", "drop bad_checksum"} <= reasons, f"{row}")
    require(row["forwarded"] > 50 and {"punt no_route", "punt local"} <= {*row}, f"{row}")
    check_records(OWN.flows()[before:], OWN.number("a"))
    said = logs()["a"]
    fields = ("interval", "effective_interval", "unlogged_frames", "unlogged_octets")
    expect([said[name] for name in fields], [1, 1, 0, 0], f"what is said of a: {said}")


def test_metrics_have_them():
    found, row, own = scrape.samples(scrape.page(METRICS)[2]), logs()["a"], collector(OWN.url)
    of_a = {name: found[f'station_flow_log_{name}{{vif="a"}}'] for name in ("interval", "records_total", "frames_total")}
    expect(of_a, {"interval": 1, "records_total": row["records"], "frames_total": row["frames"]}, "metrics of a")
    of_own = [found[f'station_collector_{name}{{collector="{OWN.url}"}}'] for name in ("up", "records_total", "lost_records_total")]
    expect(of_own, [1, own["records"], own["lost_records"]], "metrics of the collector")


def check_records(flows, a):
    """Each record agrees with itself; there are some of ARP, and some of what the station itself sent to a."""
    require(any(flow.get("ethernetType") == ETH_ARP for flow in flows), "ARP is told")
    places = {(flow["ingressInterface"], flow["egressInterface"]) for flow in flows}
    require((0, a) in places and all(a in place for place in places), f"from and to where: {places}; a is {a}")
    for flow in flows:
        status = {"forward": 64, "drop": 128, "punt": 192}[flow[VERDICT].partition("(")[0]]
        require(flow["forwardingStatus"] & 0xC0 == status, f"the status of {flow.values}")
        require(status == 64 or flow["egressInterface"] == 0, f"what did not leave has no egress: {flow.values}")
        expect((flow.domain, flow["samplingPopulation"]), (DOMAIN, 1), "domain and rate")


def test_one_of_64_is_an_estimate_that_says_so():
    rates = [("a", "1:1"), ("b", "1:64"), ("d", "1:64"), ("tgw", "1:1")]
    reload(vifs=rates)
    books, before, count = Books("b"), len(OWN.flows()), 60_000
    ends = ((B, "vpc-b", count), (D, "tgw", 500), (C, "pub", 500))
    for host, target, frames_of in ends:
        frame = frames.datagram(host, host.addr4, HOSTS[target].addr4, tags=host.tags)
        expect(traffic.flood(host, frame, "count", frames_of, "pps", 50_000)["sent"], frames_of, "frames sent")
    received, _ = books.at_rest()
    flows, names = OWN.flows()[before:], OWN.names()
    require(received["b"]["forwarded"] >= count, f"{count} frames: {received}")
    forwarded = {host.name: [flow for flow in flows if flow["ingressInterface"] == OWN.number(host.name)
                             and flow["egressInterface"] == OWN.number(target)] for host, target, _ in ends}
    estimate = estimated(forwarded["b"], {64})[0]
    # Beyond 4 standard deviations of a binomial there is one of 16,000.
    sigma = 64 * math.sqrt(count / 64 * 63 / 64)
    require(abs(estimate - count) <= 4 * sigma, f"{estimate} frames told of {count}, with a deviation of {sigma:.0f}")
    expect(estimated(forwarded["d"], {1})[0], 500, "frames of which the VIF by which they leave logs all")
    expect(forwarded["c"], [], "flows of VIFs that do not log")
    logged = {names[flow[way]][-1] for flow in flows for way in ("ingressInterface", "egressInterface") if flow[way]}
    require(logged <= {"a", "vpc-a", "a2", "b", "vpc-b", "d", "tgw"}, f"VIFs that do not log are told: {logged}")
    shown = {name: (row["interval"], row["effective_interval"]) for name, row in logs().items()}
    expect(shown, {name: (int(rate[2:]),) * 2 for name, rate in rates}, "rates that are shown")
    reload()


def estimated(flows, rates=None):
    """How many frames these records say there were, and the deviation of that; at these rates alone."""
    rated = [(flow["packetDeltaCount"], flow["samplingPopulation"]) for flow in flows]
    found = {rate for _, rate in rated}
    require(rates is None or found == rates, f"rates: {found}")
    variance = sum(count * rate * (rate - 1) for count, rate in rated)
    return sum(count * rate for count, rate in rated), math.sqrt(variance)


def test_reloads_under_traffic_lose_no_frame_and_no_count():
    books, before = Books("a"), len(OWN.flows())
    gone = {}  # by name, when it had been deleted

    def change():
        for rate in ("1:1", "1:16", None, "1:4096"):
            reload(vifs=[("a", "1:1"), *([("b", rate)] if rate else [])])
            time.sleep(0.2)
        reload(max_flows=4096)  # new tables
        time.sleep(0.2)
        for name, predecessor in (("c", None), ("c1", "c"), ("c2", "c1")):
            text = replaced(case.lab_config(), ('name = "c"\n', f'name = "{name}"\n'))
            reload(vifs=[("a", "1:1"), (name, "1:1")], text=text)
            gone[predecessor] = time.time()
            expect(traffic.ping(C, C.gw4), 3, f"replies of the router to {name}")
    case.undisturbed(change, ("a", "vpc-a", False), ("b", "vpc-b", True))
    books.balance()
    # Of VIFs that are gone the station's own books know nothing.
    station.ctl("clear", "counters")
    names = OWN.names()
    require(all(len(told) == 1 for told in names.values()), f"a number is one VIF's: {names}")
    numbered = {flow[way] for flow in OWN.flows() for way in ("ingressInterface", "egressInterface")}
    require(numbered <= {0, *names}, f"all numbers have names: {numbered}, {names}")
    numbers = {told[0]: number for number, told in names.items()}
    flows = OWN.flows()[before:]
    for name in ("c", "c1", "c2"):
        mine = [flow for flow in flows if numbers[name] in (flow["ingressInterface"], flow["egressInterface"])]
        require(mine, f"flows of {name}: {names}")
        late = [flow.values for flow in mine if flow["flowStartMilliseconds"] > 1000 * gone.get(name, math.inf)]
        require(not late, f"flows of {name} began when it was gone: {late}")
    # Frames of one VIF are not another's that has its place.
    expect(logs()["c2"]["frames"], sum(flow["packetDeltaCount"] for flow in mine), "frames shown of c2")
    rates = {flow["samplingPopulation"] for flow in flows if flow["ingressInterface"] == numbers["b"]}
    require(rates and rates <= {1, 16, 4096}, f"rates of b: {rates}")
    reload()


def test_a_flood_of_new_flows_makes_its_own_rate_coarser():
    books, before, number, sent = Books("a"), len(OWN.flows()), newest(), 12_000
    reload(vifs=[("a", "1:1"), ("b", "1:1")], max_flows=4096)
    shown = logs()["b"]["unlogged_frames"]
    many_flows(sent, host=B, target=HOSTS["vpc-b"])
    event = told("flow_log_coarser", number)
    require(event["vif"] == "b" and event["interval"] > 1, f"what is told first: {event}")
    real_traffic(100_000)
    books.balance()
    flows, b = OWN.flows()[before:], OWN.number("b")
    mine = [flow for flow in flows if flow["ingressInterface"] == b and flow["egressInterface"]]
    (estimate, sigma), unlogged = estimated(mine), logs()["b"]["unlogged_frames"] - shown
    rates = {flow["samplingPopulation"] for flow in mine}
    require({1, 2} <= rates, f"rates: {rates}")
    # One that had no room is counted once, whatever the rate.
    close = estimate + unlogged - 5 * sigma <= sent <= estimate + unlogged * max(rates) + 5 * sigma
    require(close, f"{estimate} told, {unlogged} unlogged of {sent}, deviation {sigma:.0f}, rates {rates}")
    reload()


def flows_told(count):
    """Many flows, until the test's own collector has them. On a machine that is busy a port's ring may lose some: then more."""
    before = len(OWN.flows())
    for last in (False, False, True):
        many_flows(count)
        try:
            wait_until(lambda: len(OWN.flows()) - before >= count, 5, f"{count} records")
            return
        except AssertionError:
            if last:
                raise


def all_told(url, when, before):
    """Sent and lost together are all flow records since a moment. The collector's row."""
    def balanced():
        row = collector(url)
        return row["records"] + row["lost_records"] == len(OWN.flows()) - before
    try:
        wait_until(balanced, 10, f"sent + lost = all, {when}")
    except AssertionError as error:
        raise AssertionError(f"{error}: {collector(url)}, {len(OWN.flows()) - before} flow records") from None
    return collector(url)


def test_collectors_that_hang_die_and_come_back_cost_records_and_no_frame():
    books, nobody = Books("a"), "udp://127.0.0.1:4761"
    before, begun = len(OWN.flows()), newest()
    with Own("tcp://[::1]:4760", small=True) as tcp:
        reload(tcp.url, nobody)
        wait_until(lambda: collector(tcp.url)["state"] == "up", 5, "a connection")
        with Stream("a", "vpc-a", pps=1000, seconds=60) as stream:
            # It hangs, and goes on.
            tcp.held.set()
            flows_told(5_000)
            require(len(tcp.flows()) < 2_000, f"{len(tcp.flows())} records were read of a collector that hangs")
            tcp.held.clear()
            expect(all_told(tcp.url, "once it reads again", before)["lost_records"], 0, "records lost by a pause")
            # It hangs, and is killed: what it had not acknowledged is lost.
            tcp.held.set()
            flows_told(2_000)
            number = newest()
            tcp.close()
            told("collector_down", number, collector=tcp.url)
            wait_until(lambda: collector(tcp.url)["lost_records"] > 1_000, 5, "losses are counted")
            # It is back.
            number, sessions = newest(), len(tcp.sessions)
            many_flows(50, first=500)
            tcp.open()
            told("collector_up", number, collector=tcp.url)
            many_flows(50, first=550)
            sent, arrived = stream.finish(early=True)
        expect(arrived, sent, "frames that arrived meanwhile")
        books.balance()
        row = all_told(tcp.url, "after all", before)
        all_told(nobody, "where nobody listens", before)
        changes = station.lines("events", "--kind", "collector_up,collector_down", "--since", begun)
        require(len(changes) <= 20, f"events: {len(changes)}, of them {changes[:10]}")
        again = [record for record in tcp.decode() if record.get("sourceTransportPort") in range(500, 600)]
        expect(sum(flow["packetDeltaCount"] for flow in again), 100, "packets told after the restart")
        expect((len(tcp.sessions) - sessions, row["sessions"], tcp.gaps()), (1, 2, []), "new sessions, all, gaps")
    reload()


def files():
    """The files, the last of which is still being written."""
    return sorted(FLOWS.glob("*.ipfix*"))


def of_files():
    """The flow records of all files, each of which is a session of its own."""
    found = []
    for file in files():
        session, octets = ipfix.Session("file"), file.read_bytes()
        if file.suffix == ".part":
            octets = octets[:len(octets) - len(ipfix.split(octets)[1])]
        found += [record for record in ipfix.read(octets, session) if not record.template.scopes]
        expect(session.gaps, [], f"gaps in {file.name}")
    return found


def test_files_have_the_same_and_old_ones_make_room():
    books, before = Books("a"), len(OWN.flows())
    reload(files_mib=1)
    real_traffic(100_000)
    books.balance()
    time.sleep(0.2)  # what has been sent is written, too
    mine = collectors.seen(collectors.own_rows(OWN.flows()[before:]))
    expect(collectors.seen(collectors.own_rows(of_files())), mine, "the flows in the files")
    many_flows(12_000)
    sizes = []

    def written():
        with contextlib.suppress(FileNotFoundError):  # a file was renamed meanwhile
            sizes.append(sum(os.stat(file).st_size for file in files()))
        return len(OWN.flows()) - before > 12_000
    wait_until(written, 10, "records of many flows")
    require(500_000 < max(sizes) <= 1 << 20, f"octets of files: {sizes}")
    left = len(of_files())
    require(2_000 < left < len(OWN.flows()) - before, f"{left} records are left of {len(OWN.flows()) - before}")
    expect({file.stat().st_mode & 0o777 for file in files()}, {0o600}, "modes of the files")
    reload()


def test_a_full_disk_blocks_nothing():
    FLOWS.mkdir(exist_ok=True)
    lab.run("mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "none", FLOWS)
    try:
        Books("a")
        before, number, ballast = len(OWN.flows()), newest(), FLOWS / "ballast"
        reload(files_mib=64)
        wait_until(files, 5, "a file")
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        with Stream("a", "vpc-a", pps=1000, seconds=60) as stream:
            flows_told(2_000)
            name = told("collector_down", number)["collector"]
            require(collector(name)["error"], f"an error is shown: {collector(name)}")
            number = newest()
            ballast.unlink()
            told("collector_up", number, collector=name)
            sent, arrived = stream.finish(early=True)
        expect(arrived, sent, "frames that arrived meanwhile")
        row = all_told(name, "on a disk that was full", before)
        require(len(of_files()) >= row["records"], f"{len(of_files())} records in the files: {row}")
    finally:
        reload()
        lab.run("umount", FLOWS)


def test_what_was_long_in_force_is_still_known():
    if not os.environ.get("STATION_ALL"):
        raise case.Skip("takes more than a minute; STATION_ALL=1 runs it")
    reload()
    time.sleep(65)  # what ids meant is known for a minute after it changed
    books, before = Books("a"), len(OWN.flows())
    expect(traffic.ping(A, A.gw4), 3, "replies of the router")
    reload(vifs=[("a", "1:1"), ("b", "1:1")])
    books.balance()
    a = OWN.number("a")
    places = {(flow["ingressInterface"], flow["egressInterface"]) for flow in OWN.flows()[before:]}
    require(places and all(a in place for place in places), f"where flows of a are said to be: {places}; a is {a}")
    reload()


def test_a_stop_tells_the_flows_that_are_open():
    Books("a")
    expect(ledger.quiet().unbalanced(), [], "the books of the station itself")
    reload(active_timeout_s=60, idle_timeout_s=30)
    before = len(OWN.flows())
    with Stream("a", "vpc-a", pps=1000, seconds=0.5) as stream:
        sent, _ = stream.finish()
    station.stop()
    time.sleep(0.3)
    mine = [flow for flow in OWN.flows()[before:] if flow.get("destinationTransportPort") == frames.DISCARD]
    expect((sum(flow["packetDeltaCount"] for flow in mine), {flow["flowEndReason"] for flow in mine}), (sent, {4}),
           "packets of the flow that was open, and its end: forced")
    records = OWN.decode()
    expect({record.number for record in records}, {*range(256, 263)}, "templates that were used")
    elements = {(record["privateEnterpriseNumber"], record["informationElementId"]) for record in records
                if record.number == 262}
    expect(elements, {VERDICT}, "elements whose types are told")
    require(all(min(session.defined.values()) > 1 for session in OWN.sessions.values()), "templates are repeated")
    expect(OWN.gaps(), [], "gaps")
