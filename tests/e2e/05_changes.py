"""VIFs and routes come and go under traffic; nobody else loses a frame, and XDP is never re-attached."""


import case
import ledger
import lab
import station
import traffic
from case import HOSTS, Stream, expect, refused, require

A = HOSTS["a"]


def others_lose_nothing(change):
    """Runs `change` while b and d talk; every frame of theirs arrives, and the XDP programs stay."""
    programs = {port: case.xdp_program(port) for port in lab.PORTS}
    require(all(programs.values()), f"no XDP program: {programs}")
    case.undisturbed(change, ("b", "vpc-b", False), ("d", "tgw", True))
    expect({port: case.xdp_program(port) for port in lab.PORTS}, programs, "XDP programs after the change")


def replies(source, target):
    return traffic.ping(source, traffic.address(target, 4)), traffic.ping(source, traffic.address(target, 6))


def test_vif_down_and_up():
    def change():
        station.ctl("vif", "down", "a")
        expect(replies(A, HOSTS["vpc-a"]), (0, 0), "replies to a while its VIF is down")
        station.ctl("vif", "up", "a")
        expect(replies(A, HOSTS["vpc-a"]), (3, 3), "replies to a after its VIF is up")
    others_lose_nothing(change)


def test_frames_of_a_vif_that_is_down_have_their_reason():
    station.ctl("vif", "down", "a")
    with case.counted() as seen, Stream("a", "vpc-a", pps=2_000, seconds=0.5) as stream:
        sent, arrived = stream.finish()
    station.ctl("vif", "up", "a")
    expect(arrived, 0, "frames of a VIF that is down")
    # The host itself may ask for its neighbors.
    expect(seen.it.drops("a")["vif_down"], sent + seen.it.hosts["a"]["sent"], "drops of a VIF that is down")


def test_route_delete_and_add():
    def change():
        station.ctl("route", "del", "--vrf", "vpc-a", "10.2.0.0/16")
        expect(replies(A, HOSTS["vpc-a"]), (0, 3), "replies to a without its IPv4 route")
        station.ctl("route", "add", "--vrf", "vpc-a", "10.2.0.0/16", "--via", "169.254.255.2")
        expect(replies(A, HOSTS["vpc-a"]), (3, 3), "replies to a with its route again")
    others_lose_nothing(change)


def test_blackhole_unreachable_and_prohibit():
    for action, outcome in [("blackhole", 0), ("unreachable", "Unreachable"), ("prohibit", "filtered")]:
        station.ctl("route", "add", "--vrf", "vpc-a", "10.2.1.1/32", "--action", action)
        with case.counted() as seen:
            output = lab.run("ping", "-n", "-c", 1, "-W", 1, "10.2.1.1", ns=A.ns, check=False)
        station.ctl("route", "del", "--vrf", "vpc-a", "10.2.1.1/32")
        if outcome:
            require(outcome in output, f"{action}: ping says\n{output}")
        else:
            expect(seen.it.drops("a")["blackhole"], 1, "drops by a blackhole")
    expect(replies(A, HOSTS["vpc-a"]), (3, 3), "replies after the routes are gone")


def test_vif_delete_and_add():
    def change():
        station.ctl("vif", "del", "e")
        expect(replies(HOSTS["e"], HOSTS["pub"]), (0, 0), "replies to e without its VIF")
        station.ctl("vif", "add", "e", "--port", "cust1", "--vlan", "300", "--kind", "public", "--vrf", "public",
                    "--address", "192.0.2.5/30", "--address", "2001:db8:0:e::1/64")
        station.ctl("route", "add", "--vrf", "public", "203.0.113.0/24", "--via", "192.0.2.6")
        station.ctl("route", "add", "--vrf", "public", "2001:db8:e::/48", "--via", "2001:db8:0:e::2")
        expect(replies(HOSTS["e"], HOSTS["pub"]), (3, 3), "replies to e with its VIF again")
    for prefix in ["203.0.113.0/24", "2001:db8:e::/48"]:
        station.ctl("route", "del", "--vrf", "public", prefix)
    others_lose_nothing(change)


def test_forty_vifs_come_and_go():
    def change():
        for number in range(40):
            station.ctl("vif", "add", f"x{number}", "--port", "cust1", "--vlan", str(2000 + number), "--kind", "private",
                        "--vrf", "vpc-b", "--address", f"10.200.{number}.1/30")
        for number in range(40):
            station.ctl("vif", "del", f"x{number}")
    others_lose_nothing(change)


def test_what_was_committed_survives_a_kill():
    station.ctl("route", "add", "--vrf", "vpc-a", "10.77.0.0/16", "--via", "169.254.255.2")
    station.stop(9)
    station.start()
    answer = station.ctl("lookup", "--vrf", "vpc-a", "10.77.1.1")
    require("10.77.0.0/16" in str(answer), f"the route is gone after a restart: {answer}")
    station.ctl("route", "del", "--vrf", "vpc-a", "10.77.0.0/16")


def test_bad_changes_are_refused_and_change_nothing():
    before = station.CONFIG.read_text()
    for words in [
        ("vif", "add", "a", "--port", "cust0", "--vlan", "101", "--kind", "private", "--vrf", "vpc-a",
         "--address", "10.250.0.1/30"),
        ("vif", "add", "z", "--port", "cust0", "--vlan", "100", "--kind", "private", "--vrf", "vpc-a",
         "--address", "10.250.0.1/30"),
        ("vif", "add", "z", "--port", "cust0", "--vlan", "4095", "--kind", "private", "--vrf", "vpc-a",
         "--address", "10.250.0.1/30"),
        ("vif", "del", "nobody"),
        ("route", "add", "--vrf", "vpc-a", "10.2.0.0/16", "--via", "169.254.255.2"),
        ("route", "add", "--vrf", "vpc-a", "10.9.0.1/16", "--via", "169.254.255.2"),
        ("route", "add", "--vrf", "vpc-a", "10.9.0.0/16", "--via", "172.31.0.1"),
        ("route", "del", "--vrf", "vpc-a", "10.99.0.0/16"),
    ]:
        refused(*words)
    expect(station.CONFIG.read_text(), before, "the configuration after refused changes")
    expect(ledger.quiet().unbalanced(), [], "books")
