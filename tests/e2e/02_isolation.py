"""Nobody reaches who they must not, counted at the receivers: every ordered pair of hosts, all their
addresses, with the sender's own source address and with forged ones."""

import frames
import lab
import ledger
import traffic
from case import HOSTS, counted, expect, require

EACH = 5  # times each probe is sent


def test_no_probe_arrives():
    sent = {}
    with counted() as seen:
        for source in HOSTS.values():
            with frames.Raw(source.ns) as raw:
                for target in HOSTS.values():
                    if not lab.reaches(source.name, target.name):
                        probes = traffic.probes(source, target)
                        sent[source.name, target.name] = EACH * len(probes)
                        for probe in probes:
                            raw.send(probe, EACH)
    arrived = {
        (source, target): seen.it.hosts[target][f"from {source}"]
        for source in HOSTS for target in HOSTS if not lab.reaches(source, target)
    }
    expect({pair: n for pair, n in arrived.items() if n}, {}, "probes that arrived")
    expect(sum(1 for pair in sent if sent[pair]), len(arrived), "pairs that were probed")
    # The probes did reach the station: it has a verdict on each.
    for port in lab.PORTS:
        count = sum(n for (source, _), n in sent.items() if HOSTS[source].port == port)
        require(seen.it.ports[port]["rx_frames"] >= count, f"{port} did not receive all of the probes")
    expect(seen.it.unbalanced(), [], "books")
    expect(seen.it.unexplained(), {}, "frames without an explanation")


def test_the_same_probes_arrive_where_they_may():
    # The counters can count: each pair that belongs together, each address, honest source.
    with counted() as seen:
        for x, y in lab.REACHES:
            for source, target in [(HOSTS[x], HOSTS[y]), (HOSTS[y], HOSTS[x])]:
                with frames.Raw(source.ns) as raw:
                    for address in target.lan:
                        own = source.addr6 if ":" in address else source.addr4
                        raw.send(frames.datagram(source, own, address), EACH)
    for x, y in lab.REACHES:
        for source, target in [(HOSTS[x], HOSTS[y]), (HOSTS[y], HOSTS[x])]:
            got = seen.it.hosts[target.name][f"from {source.name}"]
            expect(got, EACH * len(target.lan), f"probes of {source.name} at {target.name}")


def test_spoofed_sources_are_named():
    a = HOSTS["a"]
    cases = [
        # source, destination, VIF, reason
        ("172.16.0.1", "10.2.0.10", a, "spoofed_source"),
        ("fd99::1", "fd10:2::10", a, "spoofed_source"),
        ("10.3.0.10", "10.2.0.10", a, "foreign_source"),  # a2's, in the same VRF
        ("fd10:3::10", "fd10:2::10", a, "foreign_source"),
        ("10.2.0.10", "10.3.0.10", a, "spoofed_source"),  # the cloud's
        ("203.0.113.10", "198.18.0.10", HOSTS["c"], "foreign_source"),  # e's, in the public VRF
        ("198.51.100.10", "203.0.113.10", HOSTS["c"], "peer_isolation"),  # honest, to another customer
        ("2001:db8:c::10", "2001:db8:e::10", HOSTS["c"], "peer_isolation"),
    ]
    for source, destination, host, reason in cases:
        with counted() as seen, frames.Raw(host.ns) as raw:
            raw.send(frames.datagram(host, source, destination), 7)
        expect(dict(seen.it.drops(host.name)), {reason: 7}, f"drops of {source} -> {destination} by {host.name}")
        arrived = sum(ledger.total(counts, "from ") for counts in seen.it.hosts.values())
        expect(arrived, 0, f"delivered of {source} -> {destination}")
