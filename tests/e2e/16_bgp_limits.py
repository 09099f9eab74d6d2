"""A peer that announces one prefix too many: what happens is what the operator chose, to that session alone."""

import contextlib
import time

import case
import peers
import station
from case import HOSTS, expect, require, wait_until

MAX = 10
ACTIONS = {"a": "shut", "b": "discard", "d": "warn"}
ASNS = {"a": 65001, "b": 65001, "d": 65004, "a2": 65002, "vpc-a": 64600, "vpc-b": 64600, "tgw": 64602}
VRFS = {"a": "vpc-a", "b": "vpc-b", "d": "transit"}
ROUTERS = {}
UNDO = contextlib.ExitStack()


def prefixes(count, name, family=4):
    at = list(ASNS).index(name)
    if family == 6:
        return [f"fd{at:02x}:{n:x}::/48" for n in range(count)]
    return [f"10.{100 + at}.{n}.0/24" for n in range(count)]


def begin():
    head, *vifs = case.bgp_config().split("[[vif]]\n")
    limited = [vif.replace("local_as = 64512", f'local_as = 64512\nmax_prefixes = {MAX}\nat_max = "{ACTIONS[name]}"')
               if (name := vif.split('"')[1]) in ACTIONS else vif for vif in vifs]
    case.fresh("[[vif]]\n".join([head, *limited]))
    for name, asn in ASNS.items():
        ROUTERS[name] = UNDO.enter_context(peers.Router(name, asn, {4: prefixes(MAX, name), 6: prefixes(MAX, name, 6)}))
    wait_until(lambda: peers.established(*ASNS), 30, "the sessions")
    wait_until(lambda: all(row["accepted"] == MAX for row in rows(*ASNS)), 10, "the prefixes")


def end():
    UNDO.close()
    station.stop()


def rows(*names, family=None):
    return [row for (vif, peer), row in peers.sessions().items()
            if vif in names and (family is None or (":" in peer) == (family == 6))]


def learned(name, family=4):
    """How many routes by BGP the FIB has by way of a VIF."""
    return sum(row["origin"] == "bgp" and any(member["vif"] == name for member in row["via"])
               for row in station.ctl("show", "routes", "--vrf", VRFS[name], f"-{family}"))


def bystanders(but, family=4):
    """Sessions but the one, by how long they are up: less means that they were started anew."""
    return {(row["vif"], row["peer"]): row["since_s"] for row in rows(*ASNS)
            if (row["vif"], ":" in row["peer"]) != (but, family == 6)}


def untouched(before, but, family=4):
    now = bystanders(but, family)
    expect(set(now), set(before), "sessions")
    for key, since in before.items():
        require(now[key] >= since, f"the session of {key} was started anew")
    for row in rows(*ASNS):
        if (row["vif"], ":" in row["peer"]) != (but, family == 6):
            expect((row["state"], row["accepted"], row["max_prefixes_reached"], row["last_error"]),
                   ("established", MAX, False, ""), f"the session of {row['vif']} with {row['peer']}")


def one_too_many(name, family=4):
    before = bystanders(name, family)
    ROUTERS[name].announce(family, prefixes(MAX + 1, name, family))
    wait_until(lambda: rows(name, family=family)[0]["max_prefixes_reached"], 10, "the limit is reached")
    [row] = rows(name, family=family)
    print(f"        {name}, {ACTIONS[name]}: {row['state']}, accepted {row['accepted']}, {row['rejected']}: {row['last_error']}")
    return row, before


def test_at_the_maximum_nothing_is_wrong():
    for row in rows(*ASNS):
        expect((row["state"], row["max_prefixes_reached"], row["last_error"]), ("established", False, ""), row["vif"])


def test_shut_ends_the_session_until_it_is_reset():
    for family in (4, 6):
        row, before = one_too_many("a", family)
        expect((row["state"], row["accepted"]), ("shut", 0), "the session")
        require(f"more than {MAX} prefixes" in row["last_error"] and "bgp reset a" in row["last_error"], row["last_error"])
        wait_until(lambda family=family: learned("a", family) == 0, 10, "its routes are gone")
        untouched(before, "a", family)
        # A peer that mends its ways is not let in by itself.
        ROUTERS["a"].announce(family, prefixes(MAX, "a", family))
        ROUTERS["a"].birdc("restart", f"station{family}")
        time.sleep(3)
        expect(rows("a", family=family)[0]["state"], "shut", "the session, still")
        gateway = HOSTS["a"].peer4 if family == 4 else HOSTS["a"].peer6
        station.ctl("bgp", "reset", "a", gateway.split("/")[0])
        wait_until(lambda: peers.established("a"), 20, "the session is back")
        wait_until(lambda family=family: learned("a", family) == MAX, 10, "its routes are back")
        untouched(before, "a", family)
        expect(rows("a", family=family)[0]["last_error"], "", "the error after the reset")


def test_discard_takes_no_more():
    row, before = one_too_many("b")
    expect((row["state"], row["accepted"], row["rejected"]), ("established", MAX, {"max_prefixes": 1}), "the session")
    require(f"more than {MAX} prefixes" in row["last_error"], row["last_error"])
    expect(learned("b"), MAX, "routes in the FIB")
    [refused] = [row for row in station.ctl("show", "bgp", "b", "routes", "received") if row["state"] == "rejected"]
    expect((refused["prefix"], refused["cause"]), (prefixes(MAX + 1, "b")[-1], "max_prefixes"), "what was refused")
    untouched(before, "b")
    ROUTERS["b"].announce(4, prefixes(MAX, "b"))
    station.ctl("bgp", "reset", "b", HOSTS["b"].peer4.split("/")[0])
    wait_until(lambda: peers.established("b") and learned("b") == MAX, 20, "the session is back")
    wait_until(lambda: not rows("b", family=4)[0]["max_prefixes_reached"], 5, "the limit is not reached")
    untouched(before, "b")


def test_warn_only_says_so():
    row, before = one_too_many("d")
    expect((row["state"], row["accepted"], row["rejected"]), ("established", MAX + 1, {}), "the session")
    require(f"more than {MAX} prefixes" in row["last_error"], row["last_error"])
    wait_until(lambda: learned("d") == MAX + 1, 5, "routes in the FIB")
    untouched(before, "d")
    ROUTERS["d"].announce(4, prefixes(MAX, "d"))
    wait_until(lambda: learned("d") == MAX, 5, "routes in the FIB afterwards")
    station.ctl("bgp", "reset", "d", HOSTS["d"].peer4.split("/")[0])
    wait_until(lambda: peers.established("d") and not rows("d", family=4)[0]["max_prefixes_reached"], 20, "the session is back")
    untouched(before, "d")
