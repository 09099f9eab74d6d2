"""What `show reachability` says is what arrives: over all ordered pairs of hosts, before and after an exchange, a VIF that is
down, and a link that is lost. Each host is behind the VIF of its name. And what it costs: with 100 VIFs, with STATION_ALL=1 1,000."""

import concurrent.futures
import os
import subprocess
import time

import case
import lab
import station
import traffic
from case import HOSTS, Stream, expect, refused, replaced, require, wait_until

ALL = bool(os.environ.get("STATION_ALL"))
OF_D = ["10.4.0.0/16", "fd10:4::/48"]
OF_A = ["10.1.0.0/16", "fd10:1::/48"]
DECLARED = {(x, y) for x in HOSTS for y in HOSTS if lab.reaches(x, y)}


def begin():
    case.fresh()


def rows(*words):
    return station.ctl("show", "reachability", *words)


def pairs():
    return {(row["from"], row["to"]) for row in rows()}


def conversations(reach):
    """The pairs of different hosts of which each reaches the other."""
    return {(x, y) for x, y in reach if x != y and (y, x) in reach}


def plain(reach):
    """The pairs that can be tried by address: nobody that the one reaches, nor itself, has the other's address too."""
    near = {x: {x} | {z for y, z in reach if y == x} for x in HOSTS}
    return [(x, y) for x in HOSTS for y in HOSTS if x != y and HOSTS[y].addr4 not in {HOSTS[z].addr4 for z in near[x] - {y}}]


def answered(tried):
    """Between whom an echo request is answered, in both families: all pairs are tried at once."""
    def ask(pair):
        x, y = pair
        return all(traffic.ping(HOSTS[x], traffic.address(HOSTS[y], family), count=1) == 1 for family in (4, 6))
    with concurrent.futures.ThreadPoolExecutor(len(tried)) as threads:
        return {pair for pair, got in zip(tried, threads.map(ask, tried), strict=True) if got}


def agree(what, expected):
    expect(pairs(), expected, f"rows {what}")
    tried = plain(expected)
    expect(answered(tried), conversations(expected) & set(tried), f"answers {what}")


def test_rows_are_who_reaches_whom():
    agree("of the lab", DECLARED)
    [row] = rows("--from", "a", "--to", "vpc-a")
    expect((row["from_vrf"], row["to_vrf"], row["exchange"], row["source_check"], row["filtered"]),
           ("vpc-a", "vpc-a", None, "strict", False), "the row of a and vpc-a")
    # Its routes, and its subnets with the neighbor that is known on each.
    expect(row["prefixes"], ["10.2.0.0/16", "169.254.255.0/30", "169.254.255.2/32",
                             "fd00:c::/64", "fd00:c::2/128", "fd10:2::/48"], "prefixes from a to vpc-a")
    expect((row["ipv4_prefixes"], row["ipv6_prefixes"]), (3, 3), "how many")


def test_a_vif_or_a_vrf_is_an_end():
    of = lambda *words: {(row["from"], row["to"]) for row in rows(*words)}
    expect(of("--from", "vpc-a"), {("vpc-a", x) for x in ("a", "a2", "vpc-a")}, "from the VIF")
    of_a = {(x, y) for x in ("a", "a2", "vpc-a") for y in ("a", "a2", "vpc-a")}
    expect(of("--from", "vrf:vpc-a"), of_a, "from the VRF")
    expect(of("--to", "public"), {(x, y) for x, y in DECLARED if y in ("c", "e", "pub")}, "to the VRF")
    expect(of("--from", "a", "--to", "transit"), set(), "between two VRFs")
    require('no vif or vrf "x"' in refused("show", "reachability", "--from", "x"), "a name that nobody has")


def test_a_route_that_longer_ones_cover_reaches_nothing():
    gateway = HOSTS["vpc-a"].peer4.split("/")[0]
    for prefix in ("10.66.0.0/31", "10.66.0.0/32"):
        station.ctl("route", "add", "--vrf", "vpc-a", prefix, "--via", gateway)
    station.ctl("route", "add", "--vrf", "vpc-a", "10.66.0.1/32", "--action", "blackhole")
    [row] = rows("--from", "a", "--to", "vpc-a")
    expect([prefix for prefix in row["prefixes"] if prefix.startswith("10.66.")], ["10.66.0.0/32"], "what is left of the /31")


def test_an_exchange_joins_whom_it_says_and_by_what():
    def add(name, source, target, prefixes):
        station.ctl("exchange", "add", name, "--from", source, "--to", target,
                    *(word for prefix in prefixes for word in ("--prefix", prefix)))
    # One way: everybody in the VRF may send, and nobody gets an answer.
    add("a-to-d", "transit", "vpc-a", OF_D)
    there = {(x, "d") for x in ("a", "a2", "vpc-a")}
    agree("with one direction", DECLARED | there)
    [row] = rows("--from", "a", "--to", "d")
    expect((row["exchange"], row["to_vrf"], row["prefixes"]), ("a-to-d", "transit", OF_D), "the row of a and d")
    with Stream("a", "d", pps=1_000, seconds=0.5) as sending:
        sent, arrived = sending.finish()
    expect(arrived, sent, "datagrams from a to d")
    add("d-to-a", "vpc-a", "transit", OF_A)
    back = {(x, "a") for x in ("d", "tgw")}
    agree("with both directions", DECLARED | there | back)
    # The exporting VRF leads to all sources itself but to those of the exchange back: they are a's, and what vpc-a likes,
    # whose sources are not checked. a2 has none that pass.
    for prefix, via in zip(("0.0.0.0/0", "::/0"), (HOSTS["tgw"].peer4, HOSTS["tgw"].peer6), strict=True):
        station.ctl("route", "add", "--vrf", "transit", prefix, "--via", via.split("/")[0])
    expect({pair for pair in pairs() if pair[1] == "d"} - DECLARED, {("a", "d"), ("vpc-a", "d")}, "who still has a source that is led back")
    for prefix in ("0.0.0.0/0", "::/0"):
        station.ctl("route", "del", "--vrf", "transit", prefix)
    station.ctl("exchange", "del", "a-to-d")
    station.ctl("exchange", "del", "d-to-a")
    agree("without exchanges", DECLARED)


def test_a_vif_that_is_down_reaches_nobody():
    station.ctl("vif", "down", "d")
    agree("with d down", {pair for pair in DECLARED if "d" not in pair})
    station.ctl("vif", "up", "d")
    case.learn()
    agree("with d up again", DECLARED)


def test_a_link_that_is_lost_reaches_nobody():
    lab.ip("st-wire", "link set dev cust1 down")
    wait_until(lambda: not station.ports()["cust1"]["up"], 2, "cust1 is down")
    behind = {host.name for host in HOSTS.values() if host.port == "cust1"}
    agree("without cust1", {pair for pair in DECLARED if not behind & set(pair)})
    lab.ip("st-wire", "link set dev cust1 up")
    wait_until(lambda: station.ports()["cust1"]["up"], 5, "cust1 is up")
    case.learn()
    agree("with cust1 again", DECLARED)


def test_the_cost_of_many_vifs():
    """VPCs of ten VIFs, each with 100 routes of either family: of 1,000 VIFs 200,000 routes and 10,000 pairs. Beside the answer
    the control thread holds nothing up."""
    vrfs, each, routes = 100 if ALL else 10, 10, 100
    text = [replaced(case.lab_config(), ('name = "lab"\n', 'name = "lab"\nmax_vifs = 1100\n'))]
    directory = station.CONFIG.parent / "reach"
    directory.mkdir(exist_ok=True)
    for n in range(vrfs):
        text.append(f'[[vrf]]\nname = "w{n}"\nkind = "vpc"\n')
        for i in range(each):
            vlan, name = 2000 + each * n + i, f"w{n}-{i}"
            text.append(f'[[vif]]\nname = "{name}"\nport = "cust0"\nvlan = "{vlan}"\nkind = "private"\nvrf = "w{n}"\n'
                        f'addresses = ["10.200.{i}.1/30", "fd00:c8:{i:x}::1/64"]\n'
                        f'[[neighbor]]\nvif = "{name}"\naddress = "10.200.{i}.2"\nmac = "02:00:00:00:c8:{i:02x}"\n'
                        f'[[neighbor]]\nvif = "{name}"\naddress = "fd00:c8:{i:x}::2"\nmac = "02:00:00:00:c8:{i:02x}"\n'
                        f'[[route_list]]\nvrf = "w{n}"\nfile = "{directory}/{i}"\n'
                        f'via = [{{ address = "10.200.{i}.2" }}, {{ address = "fd00:c8:{i:x}::2" }}]\n')
    for i in range(each):
        lines = [f"10.{i}.{j}.0/24\nfd00:{0x1000 + i:x}:{j:x}::/48\n" for j in range(routes)]
        (directory / str(i)).write_text("".join(lines))
    case.fresh("".join(text))
    before = station.ctl("version")
    start = time.monotonic()
    with subprocess.Popen(station.command("--json", "show", "reachability"),
                          stdout=subprocess.PIPE) as asked:
        first = asked.stdout.read(1)
        computed = time.monotonic() - start
        said = station.answer((first + asked.stdout.read()).decode())
    whole = time.monotonic() - start
    held = station.ctl("version")
    own = [row for row in said if row["from"].startswith("w")]
    expect(len(own), vrfs * each * each, "rows")
    # Beside its routes the subnet, and the neighbor on it.
    expect({(row["ipv4_prefixes"], row["ipv6_prefixes"]) for row in own}, {(routes + 2, routes + 2)}, "prefixes of a row")
    print(f"        {vrfs * each:,} VIFs, {vrfs * each * routes * 2:,} routes: computed in {computed * 1000:.0f} ms, {len(said)} rows told in {whole * 1000:.0f} ms; "
          f"the control thread's longest hold: {before['longest_hold_us']} us before, {held['longest_hold_us']} us after ({held['longest_hold']})")
    require(held["longest_hold"] != "task" or held["longest_hold_us"] < 10_000, "a page held the control thread up")
    require(computed < 5, f"{computed:.1f} s until the first row")
    case.fresh()
