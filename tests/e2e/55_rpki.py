"""RPKI: what customers of public VIFs announce is asked of StayRTR, which is where the station is and BIRD is not."""

import ipaddress
import json
import signal
import subprocess

import case
import lab
import peers
import scrape
import station
from case import HOSTS, answered, expect, replaced, wait_until

C, PUB = HOSTS["c"], HOSTS["pub"]
PORT = 3323
METRICS = ("127.0.0.1", 9472)
FILE = lab.RUN / "vrps.json"
LOG = lab.RUN / "stayrtr.log"
OWN, LONGER, OTHERS, UNKNOWN, LETTER = ("198.51.100.0/24", "198.51.100.128/25", "203.0.113.0/24", "203.0.112.0/24", "192.88.98.0/24")
SIX = "2001:db8:c::/48"
VALID = [(OWN, 24, 65003), (OTHERS, 24, 65005), (SIX, 48, 65003)]
BIRD = peers.Router("c", 65003, {4: [OWN, LONGER, OTHERS, UNKNOWN, LETTER], 6: [SIX]})
cache = None


def config(policy=""):
    """The lab's, where c speaks BGP, and its prefixes are asked of the cache."""
    text = replaced(case.lab_config(), ("[station]\n", f'[station]\nmetrics = "{METRICS[0]}:{METRICS[1]}"\n'))
    text = case.without(text, *[f'[[route]]\nvrf = "public"\nprefix = "{prefix}"' for prefix in (OWN, SIX)])
    addresses = f'addresses = ["{C.gw4}/30", "{C.gw6}/64"]\n'
    session = '[[vif.bgp]]\npeer = "{}"\npeer_as = 65003\nlocal_as = 64512\nimport = {}\nexport = []\n'
    sessions = (session.format(C.peer4.split("/")[0], json.dumps([f"{OWN} le 25", OTHERS, UNKNOWN, LETTER]))
                + f'verified = [{{ prefix = "{LETTER}", reason = "LOA 2026-114" }}]\n' + policy
                + session.format(C.peer6.split("/")[0], json.dumps([SIX])))
    return replaced(text, (addresses, addresses + sessions)) + f'\n[[rpki]]\nname = "cache"\nserver = "127.0.0.1:{PORT}"\n'


def vouch(roas):
    """What the cache knows from now on."""
    each = [{"prefix": prefix, "maxLength": longest, "asn": f"AS{asn}"} for prefix, longest, asn in roas]
    FILE.write_text(json.dumps({"metadata": {"buildtime": "2026-11-30T00:00:00Z"}, "roas": each}))
    if cache:
        cache.send_signal(signal.SIGHUP)


def start_cache():
    global cache
    with lab.inside("st-station"), LOG.open("ab") as log:
        cache = subprocess.Popen(["stayrtr", "-bind", f"127.0.0.1:{PORT}", "-cache", str(FILE), "-checktime=false", "-refresh", "1",
                                  "-metrics.addr", "", "-protocol", "1"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)


def stop_cache():
    cache.kill()
    cache.wait()


def caches():
    [row] = station.ctl("show", "rpki")
    return row


def metrics():
    """Whether the cache is up, and what it vouches for, as metrics."""
    found = scrape.samples(scrape.page(METRICS)[2])
    return [found[f'station_rpki_cache_{name}{{cache="cache"}}'] for name in ("up", "prefixes")]


def judged():
    """What became of each announced prefix."""
    rows = station.ctl("show", "bgp", "c", "routes", "received")
    return {row["prefix"]: row["cause"] or row["state"] for row in rows}


def events(kind):
    return [row for row in station.lines("events") if row["kind"] == kind]


def begin():
    lab.ip("st-station", "link set lo up")
    vouch(VALID)
    start_cache()
    case.fresh(config())
    BIRD.__enter__()


def end():
    BIRD.__exit__()
    stop_cache()
    case.fresh()


def test_the_cache_is_asked_through_the_station():
    wait_until(lambda: caches()["state"] == "up", 20, "the cache has said all")
    row = caches()
    expect((row["cache"], row["server"], row["prefixes"], row["last_error"]), ("cache", f"127.0.0.1:{PORT}", len(VALID), ""), "the row")
    shown = station.shown("show", "rpki")
    expect([line.split()[:3] for line in shown.splitlines()[1:]], [["cache", f"127.0.0.1:{PORT}", "up"]], "the table")
    expect(metrics(), [1, len(VALID)], "metrics")


def test_only_what_the_origin_may_announce_is_accepted():
    wait_until(lambda: peers.established("c"), 30, "the sessions of c")
    wait_until(lambda: judged() == {OWN: "best", LONGER: "rpki_invalid", OTHERS: "rpki_invalid", UNKNOWN: "rpki_unknown",
                                    LETTER: "best", SIX: "best"}, 15, "each prefix is judged")
    answered(C, PUB.addr4, "the provider's services")
    rejected = {key: sum(row["rejected"].get(key, 0) for row in station.ctl("show", "bgp", "c")) for key in ("rpki_invalid", "rpki_unknown")}
    expect(rejected, {"rpki_invalid": 2, "rpki_unknown": 1}, "counted")


def test_a_source_that_was_not_accepted_is_refused():
    """From an address of another's prefix that c announced, and has a ROA for another AS."""
    stranger = str(ipaddress.ip_network(UNKNOWN)[9])
    lab.ip(C.ns, f"addr add {stranger}/32 dev lo")
    try:
        case.require(not lab.ok("ping", "-c", 1, "-W", 1, "-I", stranger, PUB.addr4, ns=C.ns), "a stranger's source was answered")
    finally:
        lab.ip(C.ns, f"addr del {stranger}/32 dev lo")


def test_new_roas_are_heeded_without_touching_a_session():
    since = {row["peer"]: row["since_s"] for row in station.ctl("show", "bgp", "c")}
    vouch([*VALID, (UNKNOWN, 24, 65003)])
    wait_until(lambda: judged().get(UNKNOWN) == "best", 20, "the prefix is valid now")
    vouch([roa for roa in VALID if roa[0] != OWN] + [(UNKNOWN, 24, 65003), (OWN, 24, 65005)])
    wait_until(lambda: judged()[OWN] == "rpki_invalid", 20, "the prefix is another's now")
    vouch(VALID)
    wait_until(lambda: (judged()[OWN], judged()[UNKNOWN]) == ("best", "rpki_unknown"), 20, "all as before")
    for row in station.ctl("show", "bgp", "c"):
        case.require(row["since_s"] >= since[row["peer"]], f"a session began anew: {row}")


def test_a_cache_that_is_lost_is_told_and_still_believed():
    lost, found = len(events("rpki_cache_down")), len(events("rpki_cache_up"))
    stop_cache()
    wait_until(lambda: caches()["state"] == "down" and caches()["last_error"], 20, "the cache is lost")
    wait_until(lambda: len(events("rpki_cache_down")) == lost + 1, 5, "the event")
    wait_until(lambda: metrics() == [0, len(VALID)], 5, "metrics")
    expect(judged()[OWN], "best", "what it vouched for")
    start_cache()
    # BIRD asks for the old session first. StayRTR ends that connection, most times before it has sent why; then BIRD asks for it again.
    wait_until(lambda: caches()["state"] == "up", 150, "the cache is found again")
    wait_until(lambda: len(events("rpki_cache_up")) > found, 5, "the event")


def test_what_no_roa_covers_passes_where_the_operator_says_so():
    station.CONFIG.write_text(config('rpki = "not_invalid"\n'))
    station.ctl("reload")
    wait_until(lambda: (judged()[UNKNOWN], judged()[LONGER]) == ("best", "rpki_invalid"), 20, "unknown ones pass, invalid ones do not")
