"""Two stations: an office at one reaches an office at the other, exactly where both stations' `show reachability` says.

Station one is the lab's, without a2; station two has a2 (second.py). Of the offices and VPCs a and a2 alone join stations,
whatever the routes say."""

import concurrent.futures
import time

import case
import lab
import overlay
import second
import station
import traffic
from case import HOSTS, answered, expect, require, wait_until

A, A2, VPC_A = (HOSTS[name] for name in ("a", "a2", "vpc-a"))
VTEP, NOBODYS = second.VTEP, "10.9.0.0/16"  # each station has the other for it


def config_one():
    """The lab's without a2, and a joins stations."""
    text, _ = overlay.without(case.lab_config(), "a2")
    text = case.replaced(text, ('name = "lab"', 'name = "one"'), ('name = "a"\n', 'name = "a"\njoin_stations = true\n'))
    four, six = VTEP["two"].values()
    return text + second.fabric("one", "two") + second.routes(("10.3.0.0/16", four), ("fd10:3::/48", six), (NOBODYS, four))


def begin():
    second.begin(second.config() + second.routes((NOBODYS, VTEP["one"]["vtep4"])), {"cust1": "sw-cust1", "core0": "sw-core0"})
    second.join(config_one())


end = second.end


def drops(ask, vif):
    [row] = ask("show", "counters", "--vif", vif)
    return {entry["name"]: entry["value"] for entry in row["counters"] if entry["group"] == "drop"}


def test_tcp_passes_whole_between_offices_of_two_stations():
    for source, target, family in ((A, A2, 4), (A2, A, 4), (A, A2, 6), (A2, A, 6)):
        intact, rate = traffic.transfer(source, target, traffic.address(target, family), octets=25_000_000)
        require(intact, f"{source.name} to {target.name}, IPv{family}: whole ({rate:.0f} Mbit/s)")
    answered(A, A2.addr4, "1,500 octets", size=1472, df=True)
    expect(traffic.traceroute(A, A2.addr4), [A.gw4, "100.64.9.1", A2.addr4], "the way from a to a2")
    for ask, other in ((station.ctl, "two"), (second.ctl, "one")):
        [row] = ask("show", "stations")
        expect((row["station"], row["state"], row["tunnels"], row["tunnels_up"]), (other, "up", 2, 2), f"the row of {other}")
        require(min(row["rx_octets"], row["tx_octets"]) > 50_000_000, f"octets from and to {other}: {row}")
        expect(row["vifs"], [f"to-{other}-1", f"to-{other}-2"], f"VIFs to {other}")


def crossing():
    """Who can speak with a2, as the two stations say: the first knows its hosts, the second a2."""
    said = second.Reachability()
    return {(host, family) for host in HOSTS if host != "a2" for family in (4, 6) if said.talk(host, "a2", family)}


def heard():
    """The hosts of station one that speak with a2: all are tried at once, each asks and is asked."""
    def ask(tried):
        host, family = tried
        return (traffic.ping(HOSTS[host], traffic.own_address(A2, family), count=1, wait=0.7) == 1,
                traffic.ping(A2, traffic.own_address(HOSTS[host], family), count=1, wait=0.7) == 1)
    tried = [(host, family) for host in HOSTS if host != "a2" for family in (4, 6)]
    with concurrent.futures.ThreadPoolExecutor(len(tried)) as threads:
        replies = dict(zip(tried, threads.map(ask, tried), strict=True))
    odd = {pair for pair, (asks, is_asked) in replies.items() if asks != is_asked}
    expect(odd, set(), "who is answered one way alone")
    return {pair for pair, (asks, _) in replies.items() if asks}


def test_an_office_reaches_another_exactly_where_reachability_says():
    expect(crossing(), {("a", 4), ("a", 6)}, "who speaks with a2, as both stations say")
    expect(heard(), crossing(), "who speaks with a2")
    before = drops(station.ctl, "to-two-1").get("not_joined", 0), drops(station.ctl, "vpc-a").get("not_joined", 0)
    expect(traffic.ping(A2, traffic.own_address(VPC_A, 4), wait=0.3), 0, "replies of a VPC that joins no station")
    expect(traffic.ping(VPC_A, traffic.own_address(A2, 4), wait=0.3), 0, "replies to a VPC that joins no station")
    after = drops(station.ctl, "to-two-1")["not_joined"], drops(station.ctl, "vpc-a")["not_joined"]
    expect([b - a for a, b in zip(before, after, strict=True)], [3, 3], "frames that were dropped for it")
    station.ctl("vif", "set", "vpc-a", "join_stations=true")
    expect(crossing(), {(host, family) for host in ("a", "vpc-a") for family in (4, 6)}, "who speaks with a2 once the VPC joins")
    expect(heard(), crossing(), "who does")
    require("joins other stations no more" in case.refused("vif", "set", "vpc-a", "join_stations=false", yes=False), "what is cut is asked for")
    station.ctl("vif", "set", "vpc-a", "join_stations=false")
    expect(heard(), {("a", 4), ("a", 6)}, "who speaks with a2 afterwards")


def test_stations_pass_nothing_on():
    """Each has the other for 10.9.0.0/16."""
    loops = lambda: (drops(second.ctl, "to-one-1").get("station_loop", 0), drops(station.ctl, "to-two-1").get("station_loop", 0))
    before = loops()
    expect(traffic.ping(A, "10.9.0.1", wait=0.3), 0, "replies of nobody")
    expect(traffic.ping(A2, "10.9.0.1", wait=0.3), 0, "replies of nobody to a2")
    expect([b - a for a, b in zip(before, loops(), strict=True)], [3, 3], "each went to the other station, and no further")
    [row] = station.ctl("explain", "--vif", "to-two-1", "--from", A2.addr4, "--to", "10.9.0.1")
    expect(row["verdict"], "drop(station_loop)", "as it is explained")
    expect([row for row in station.ctl("show", "reachability", "--from", "to-two-1") if row["to"].startswith("to-")], [], "rows between stations")


def test_the_loss_of_a_station_is_told():
    newest = station.ctl("version")["events"]["newest"]
    told = lambda: [(event["kind"], event["remote_station"], event["vifs"]) for event in station.lines("events", "--since", newest)
                    if event["kind"].startswith("remote_station")]
    both = ["to-two-1", "to-two-2"]
    wait_until(lambda: time.monotonic() - STARTED > 6, 10, "the station runs for a while")
    station.ctl("route", "del", "--vrf", "fabric", f"{VTEP['two']['vtep4']}/32")
    expect(station.ctl("show", "stations")[0]["tunnels_up"], 1, "tunnels to a station that has lost one VTEP")
    station.ctl("vif", "down", "core0-two")
    try:
        expect(station.ctl("show", "stations")[0]["state"], "down", "a station that no underlay leads to")
        wait_until(lambda: told() == [("remote_station_down", "two", both)], 5, "the event")
        expect(crossing(), set(), "who speaks with a2 meanwhile")
        require(station.running() and traffic.ping(A, VPC_A.addr4) == 3, "the rest of the station goes on")
    finally:
        station.ctl("vif", "up", "core0-two")
        station.ctl("route", "add", "--vrf", "fabric", f"{VTEP['two']['vtep4']}/32", "--via", second.link("one", "core0", False)[1])
    wait_until(lambda: [kind for kind, *_ in told()] == ["remote_station_down", "remote_station_up"], 10, "both events")
    answered(A, A2.addr4, "a2 afterwards")
    answered(A, A2.addr6, "a2 afterwards, IPv6")


STARTED = time.monotonic()


def test_the_books_of_the_second_station_balance():
    second.balanced()


def test_wrong_stations_are_refused():
    file = lab.RUN / "candidate.toml"
    for old, new, says in [
        ('station = "two"', 'station = "one"', '"one" is this station'),
        ('station = "two"\n', 'station = "two"\njoin_stations = true\n', "nothing passes from station to station"),
        ('mtu = 1570\n', 'mtu = 1570\njoin_stations = true\n', "has no tunnels to other stations"),
        ('name = "a"\njoin_stations = true\n', 'name = "a"\nstation = "two"\n', "station"),
        (f'vni = {second.VNI}\nvrf = "vpc-a"\nstation', f'vni = {second.VNI}\nvrf = "public"\nstation', "a public VRF has many customers"),
    ]:
        file.write_text(case.replaced(config_one(), (old, new)))
        code, output = station.check(file)
        require(code != 0 and says in output, f"{new}: {output}")
    vpc = second.fabric("one", "two").split("[[vif]]")[2].replace('station = "two"\n', "").replace("to-two-1", "cloud").replace(f"vni = {second.VNI}", "vni = 5").replace("100.64.9.1", "100.64.8.1").replace("fd64:9::1", "fd64:8::1").split("[[route]]")[0]
    file.write_text(config_one() + "[[vif]]" + vpc)
    code, output = station.check(file)
    require(code != 0 and 'is a VTEP of station "two" on vif "to-two-1"' in output, f"a station's VTEP as a VPC's: {output}")
