"""Everything that can happen to learned routes, under the real update stream of a day: at the end every FIB is
what the kernel's tables are, exactly, and those are what the peers announce.

`STATION_DATA` is the directory of the streams (see its README.md; ../shared/data beside the project).
`STATION_CHAOS_MINUTES` lets it go on for that long, with the same faults over and over.
"""

import collections
import contextlib
import gzip
import ipaddress
import os
import random
import signal
import threading
import time

import case
import lab
import peers
import station
from case import HOSTS, expect, wait_until

MINUTES = float(os.environ.get("STATION_CHAOS_MINUTES", 0))
TABLE = {4: 5_000, 6: 2_000}  # routes of each peer before the stream begins
BATCH, PAUSE = 200, 0.25  # changes of a peer at a time
# a and a2 announce the same to one VRF, so that routes have several next hops and change them.
PEERS = [(name, asn, family) for name, asn in [("a", 65001), ("a2", 65002), ("b", 65001), ("d", 65004)] for family in (4, 6)]
VRFS = ["vpc-a", "vpc-b", "public", "transit"]
TAPS = {"v0.100": "a", "v1.100": "a2", "v0.200": "b", "v1.500.10": "d"}
UNDO = contextlib.ExitStack()
SPEAKERS, FEEDS = [], []
BIRD = lab.RUN / "bird"


def begin():
    text = case.bgp_config()
    case.fresh(text.replace("local_as = 64512", "local_as = 64512\nmax_prefixes = 1000000"))


def end():
    UNDO.close()
    station.stop()


# ---- what the peers say ---------------------------------------------------------------------------

def lines(name):
    with gzip.open(case.DATA / name, "rt") as text:
        for line in text:
            yield line.strip()


def path_of(prefix, salt):
    """Some length for a route's AS path: peers differ in which of them is the best."""
    return 1 + (hash((prefix, salt)) & 3)


class Feed:
    """A peer's table, and then its share of the day's changes, in order, again and again."""

    def __init__(self, speaker):
        self.speaker, self.told = speaker, 0
        self.family = 6 if speaker.six else 4
        table = []
        for prefix in lines(f"rib-20260511-v{self.family}.txt.gz"):
            table.append(prefix)
            if len(table) == TABLE[self.family]:
                break
        speaker.say({prefix: path_of(prefix, speaker.name) for prefix in table})
        self.changes = self.forever()
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def forever(self):
        while True:
            for line in lines(f"updates-20260511-v{self.family}.txt.gz"):
                action, prefix = line.split(" ", 1)
                # A route that is announced again has another path than before.
                self.told += 1
                yield prefix, path_of(prefix, self.told) if action == "A" else 0

    def run(self):
        while not self.ended.wait(PAUSE):
            changes = {}
            for prefix, path in self.changes:
                changes.pop(prefix, None)
                changes[prefix] = path
                if len(changes) == BATCH:
                    break
            self.speaker.say(changes)

    def stop(self):
        self.ended.set()
        self.thread.join()


def announced(vrf):
    """What a VRF's peers announce now: prefix -> VIFs of those with the shortest path; and of all of them."""
    found = collections.defaultdict(dict)
    for speaker in SPEAKERS:
        if vrf_of(speaker.name) == vrf:
            for prefix, path in speaker.says.items():
                found[prefix][speaker.name] = path
    return found


def vrf_of(name):
    return {"a": "vpc-a", "a2": "vpc-a", "b": "vpc-b", "d": "transit"}[name]


# ---- what the station has -------------------------------------------------------------------------

def fib(vrf):
    """prefix -> (primary next hops, backups), each (interface, address)."""
    taps = {vif: tap for tap, vif in TAPS.items()}
    found = {}
    for row in station.ctl("show", "routes", "--vrf", vrf):
        if row["origin"] == "bgp":
            members = [{(taps[member["vif"]], member["next_hop"]) for member in row["via"] if member["backup"] == backup}
                       for backup in (False, True)]
            found[row["prefix"]] = tuple(map(frozenset, members))
    return found


def kernel(vrf):
    """The same from a fresh dump of the kernel's tables."""
    number = 10_000 + 2 * VRFS.index(vrf)
    found = {}
    for family in (4, 6):
        best, others = (peers.kernel_routes(table, family) for table in (number, number + 1))
        for prefix, legs in best.items():
            primary, backup = ({(device, gateway) for device, gateway, _ in some} for some in (legs, others.get(prefix, ())))
            found[prefix] = frozenset(primary), frozenset(backup - primary)
    return found


def difference(one, other, limit=5):
    """A few of the prefixes that differ, as text; none where nothing does."""
    wrong = [prefix for prefix in {*one, *other} if one.get(prefix) != other.get(prefix)]
    return [f"{len(wrong)} differ"] * bool(wrong) + \
        [f"{prefix}: {one.get(prefix)} and {other.get(prefix)}" for prefix in sorted(wrong)[:limit]]


def exact():
    """Every FIB is what a dump of the kernel is that was the same before and after."""
    sizes = {}
    for vrf in VRFS:
        before = kernel(vrf)
        has = fib(vrf)
        expect(difference(before, kernel(vrf)), [], f"{vrf}: the kernel before and after: it does not rest")
        expect(difference(has, before), [], f"{vrf}: FIB and kernel")
        sizes[vrf] = len(has)
    return sizes


def as_announced():
    """The kernel's tables are what the peers announce: the best ways, and the others as backups."""
    for vrf in VRFS:
        wanted = {}
        for prefix, ways in announced(vrf).items():
            shortest = min(ways.values())
            legs = {name: (next(tap for tap, vif in TAPS.items() if vif == name),
                           (HOSTS[name].peer6 if ":" in prefix else HOSTS[name].peer4).split("/")[0]) for name in ways}
            best = frozenset(legs[name] for name, path in ways.items() if path == shortest)
            wanted[str(ipaddress.ip_network(prefix))] = best, frozenset(legs.values()) - best
        yield vrf, wanted


def consistency():
    return station.ctl("show", "consistency")


def until(condition, limit, what):
    """Until `condition` asserts nothing any more: (what it gave, how long that took)."""
    started = time.monotonic()
    while True:
        try:
            return condition(), time.monotonic() - started
        except AssertionError as error:
            if time.monotonic() - started > limit:
                raise AssertionError(f"{what}: not within {limit} s: {error}") from None
            time.sleep(0.5)


def sessions_are_up():
    down = [(vif, peer, row["state"], row["last_error"]) for (vif, peer), row in peers.sessions().items()
            if vif in TAPS.values() and row["state"] != "established"]
    expect(down, [], "sessions that are down")


def is_exact():
    sizes = exact()
    rows = consistency()
    expect([row for row in rows if not row["ok"]], [], "show consistency")
    return sizes


def is_as_announced():
    for vrf, wanted in as_announced():
        expect(difference(fib(vrf), wanted), [], f"{vrf}: FIB and what is announced")


def settle(what):
    """Until the stream has ended and the FIBs are what the kernel has, and that what is announced."""
    for feed in FEEDS:
        feed.stop()
    _, up = until(sessions_are_up, 60, f"{what}: sessions")
    sizes, same = until(is_exact, 60, f"{what}: FIB and kernel")
    _, all_there = until(is_as_announced, 60, f"{what}: FIB and peers")
    sizes = is_exact()
    rows = consistency()
    print(f"        {what}: sessions after {up:.1f} s, FIB = kernel after {same:.1f} s more, = announced after {all_there:.1f} s "
          f"more: {list(sizes.values())} routes; {sum(feed.told for feed in FEEDS):,} changes so far, "
          f"{sum(speaker.lost for speaker in SPEAKERS)} sessions lost; overflows {rows[0]['overflows']}, "
          f"resyncs {sum(row['resyncs'] for row in rows)}, resynced {sum(row['resynced'] for row in rows)}, "
          f"mismatches {sum(row['mismatches'] for row in rows)}")


def go_on():
    for feed in FEEDS:
        if feed.thread.is_alive():
            continue
        feed.ended.clear()
        feed.thread = threading.Thread(target=feed.run)
        feed.thread.start()


# ---- what happens ---------------------------------------------------------------------------------

def addresses_go(tap):
    """Somebody takes the addresses off a TAP, and with them its routes, in silence."""
    lab.ip(lab.TAPS_NS, f"addr flush dev {tap}")


def tap_goes_down(tap):
    lab.ip(lab.TAPS_NS, f"link set {tap} down")


def tap_goes_away(tap):
    lab.run("ip", "-n", lab.TAPS_NS, "link", "del", tap, check=False)


def port_flaps(ns, port):
    lab.ip(ns, f"link set {port} down")
    time.sleep(0.5)
    lab.ip(ns, f"link set {port} up")


def overflow(count=250_000):
    """The station does not run while more is told than there is room for, and while routes of its own go."""
    pid = station.running()
    overflows = consistency()[0]["overflows"]
    mine = [prefix for prefix in peers.kernel_routes(10_000, 4)][:500]
    os.kill(pid, signal.SIGSTOP)
    try:
        others = [f"100.{64 + (n >> 16)}.{n >> 8 & 255}.{n & 255}/32" for n in range(count)]
        lab.ip(lab.TAPS_NS, *[f"route add blackhole {prefix} table 99" for prefix in others],
               *[f"route del {prefix} table 10000" for prefix in mine], "route flush table 99")
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: consistency()[0]["overflows"] > overflows, 10, "an overflow")
    for feed in FEEDS:
        feed.stop()
    until(is_exact, 60, "FIB and kernel without what was deleted")
    # BIRD puts back what others delete when it looks (minutes with such tables), or when it hears of it anew.
    for speaker in SPEAKERS:
        speaker.say({prefix: path + 1 for prefix, path in speaker.says.items() if prefix in mine})
    go_on()


def bird_dies():
    peers.kill(int((BIRD / "run/pid").read_text()))


def station_dies():
    station.stop(signal.SIGKILL)
    station.start()


def station_and_bird_die():
    pid = int((BIRD / "run/pid").read_text())
    station.stop(signal.SIGKILL)
    peers.kill(pid)
    station.start()


FAULTS = {
    "addresses of a TAP are deleted": lambda: addresses_go("v0.100"),
    "a TAP is set down": lambda: tap_goes_down("v1.100"),
    "a TAP is deleted": lambda: tap_goes_away("v0.200"),
    "a port's peer goes down and up": lambda: port_flaps("st-wire", "cust1"),
    "a port goes down and up": lambda: port_flaps("st-station", "cust0"),
    "netlink overflows": overflow,
    "BIRD is killed": bird_dies,
    "stationd is killed": station_dies,
    "both are killed": station_and_bird_die,
}


def test_the_table_is_learned():
    if not os.environ.get("STATION_ALL"):
        raise case.Skip("takes minutes; STATION_ALL=1 runs it")
    if not case.DATA.is_dir():
        raise case.Skip(f"{case.DATA} is not there: STATION_DATA is the directory of the update streams")
    for name, asn, family in PEERS:
        speaker = peers.Speaker(name, asn, family == 6)
        FEEDS.append(Feed(speaker))
        SPEAKERS.append(UNDO.enter_context(speaker))
    for feed in FEEDS:
        feed.thread.start()
        UNDO.callback(feed.stop)
    time.sleep(2)
    settle("the stream alone")


def fault(what):
    go_on()
    time.sleep(1)
    FAULTS[what]()
    time.sleep(2)
    settle(what)


def each(what):
    def test():
        if not FEEDS:
            raise case.Skip("no update stream")
        fault(what)
    return test


for _what in FAULTS:
    globals()[f"test_{_what.replace(' ', '_')}"] = each(_what)


def test_all_of_it_at_once():
    if not FEEDS:
        raise case.Skip("no update stream")
    seed = int(time.time())
    print(f"        seed {seed}, {MINUTES} minutes")
    draw = random.Random(seed)
    ends = time.monotonic() + MINUTES * 60
    while True:
        go_on()
        for what in draw.sample(sorted(FAULTS), len(FAULTS)):
            FAULTS[what]()
            time.sleep(draw.uniform(0, 1 if MINUTES == 0 else 10))
        if time.monotonic() > ends:
            break
    settle("all of it")
