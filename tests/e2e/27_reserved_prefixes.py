"""240/4 as a VPC's prefix: routed where a private VRF's `import` names it, for that session and that VRF alone."""

import contextlib

import case
import frames
import peers
import station
from case import HOSTS, counted, expect, replaced, wait_until

RESERVED = "240.1.0.0/16"
INSIDE, BESIDE = "240.1.0.10", "240.2.0.10"
ASNS = {"a": 65001, "a2": 65002, "b": 65001, "vpc-a": 64600, "vpc-b": 64600}
ANNOUNCES = {"a": ["10.1.0.0/16", RESERVED, "240.2.0.0/16"], "a2": ["10.3.0.0/16", "240.1.7.0/24"],
             "b": ["10.1.0.0/16", RESERVED], "vpc-a": ["10.2.0.0/16", "0.0.0.0/0"], "vpc-b": ["10.2.0.0/16", "0.0.0.0/0"]}
PEER_OF_A = "peer_as = 65001\n"
IMPORT = f'import = ["10.0.0.0/8 le 24", "{RESERVED} le 24"]\n'
EACH = 5  # times each packet is sent
UNDO = contextlib.ExitStack()
ROUTERS = {}


def config():
    text = case.bgp_config({HOSTS[name].peer4.split("/")[0] for name in ASNS})
    # The first session with this AS is a's of IPv4; the cloud's sides send a default route too.
    text = replaced(text, (PEER_OF_A, PEER_OF_A + IMPORT))
    return text.replace('peer = "169.254.255.2"\n', 'peer = "169.254.255.2"\nimport = ["0.0.0.0/0 le 24"]\n')


def begin():
    case.fresh(config())
    for name, asn in ASNS.items():
        ROUTERS[name] = UNDO.enter_context(peers.Router(name, asn, {4: ANNOUNCES[name]}))
    wait_until(lambda: {name for (name, peer), row in peers.sessions().items()
                        if row["state"] == "established"} == set(ASNS), 30, "the sessions")
    wait_until(lambda: len(learned("vpc-a")) == 5 and len(learned("vpc-b")) == 3, 20, "the routes")


def end():
    UNDO.close()
    station.stop()


def learned(vrf):
    return {row["prefix"] for row in station.ctl("show", "routes", "--vrf", vrf, "-4") if row["origin"] == "bgp"}


def refused(vif):
    rows = station.ctl("show", "bgp", vif, "routes", "received")
    return {row["prefix"]: row["cause"] for row in rows if row["state"] == "rejected"}


def sent(*packets):
    """What becomes of packets (sender, source, destination): who got how many of whom, and why others were dropped."""
    with counted() as seen:
        for name, address, target in packets:
            with frames.Raw(HOSTS[name].ns) as raw:
                raw.send(frames.datagram(HOSTS[name], address, target), EACH)
    senders = {name for name, _, _ in packets}
    got = {(source, name): counts[f"from {source}"] for source in senders
           for name, counts in seen.it.hosts.items() if counts[f"from {source}"]}
    return got, {name: dict(seen.it.drops(name)) for name in senders}


def test_the_session_that_names_it_may_announce_it():
    expect(learned("vpc-a"), {"10.1.0.0/16", RESERVED, "10.3.0.0/16", "10.2.0.0/16", "0.0.0.0/0"}, "routes of vpc-a")
    expect(refused("a"), {"240.2.0.0/16": "martian"}, "what a announces and may not")
    wait_until(lambda: RESERVED in ROUTERS["vpc-a"].birdc("show", "route"), 10, "the cloud's side has it")


def test_nobody_else_may():
    expect(refused("a2"), {"240.1.7.0/24": "martian"}, "what a2 announces, in the same VRF, and may not")
    expect(refused("b"), {RESERVED: "martian"}, "what b announces and may not")
    expect(learned("vpc-b"), {"10.1.0.0/16", "10.2.0.0/16", "0.0.0.0/0"}, "routes of vpc-b")


def test_traffic_passes_where_it_is_named_and_nowhere_else():
    cloud = HOSTS["vpc-a"].addr4
    got, dropped = sent(
        ("a", INSIDE, cloud), ("vpc-a", cloud, INSIDE),
        # Beside it, also where a default route would lead there.
        ("a", BESIDE, cloud), ("a", INSIDE, BESIDE),
        # Another site, another tenant with the same cloud, another kind of VRF.
        ("a2", INSIDE, cloud), ("b", INSIDE, cloud), ("b", HOSTS["b"].addr4, INSIDE), ("vpc-b", cloud, INSIDE),
        ("c", INSIDE, HOSTS["pub"].addr4))
    expect(got, {("a", "vpc-a"): EACH, ("vpc-a", "a"): EACH}, "who got what")
    expect(dropped, {"a": {"martian_source": EACH, "martian_destination": EACH}, "a2": {"foreign_source": EACH},
                     "b": {"martian_source": EACH, "martian_destination": EACH}, "vpc-a": {},
                     "vpc-b": {"martian_destination": EACH}, "c": {"martian_source": EACH}}, "drops")


def test_what_is_named_no_longer_is_martian_again():
    station.write_config(config().replace(f', "{RESERVED} le 24"', ""))
    station.ctl("reload")
    wait_until(lambda: RESERVED not in learned("vpc-a"), 15, "the route is gone")
    cloud = HOSTS["vpc-a"].addr4
    expect(sent(("a", INSIDE, cloud), ("vpc-a", cloud, INSIDE)),
           ({}, {"a": {"martian_source": EACH}, "vpc-a": {"martian_destination": EACH}}), "from it and to it")
