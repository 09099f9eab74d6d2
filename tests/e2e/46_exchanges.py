"""Exchanges between VRFs: VPC A and the transit gateway of D reach prefixes of each other, one way and both ways, in both
families; nobody else reaches anything. What passes is counted exactly; exchanges come and go under traffic of others; and
the loss of a link behind one is no more than it is without.

Hosts a and vpc-a are in VRF vpc-a, d and tgw in VRF transit. b has a's addresses, in a VRF of its own."""

import time

import case
import lab
import ledger
import station
import traffic
from case import HOSTS, Stream, expect, refused, require, wait_until

A, B, D, TGW = HOSTS["a"], HOSTS["b"], HOSTS["d"], HOSTS["tgw"]
OF_D = ["10.4.0.0/16", "fd10:4::/48"]
OF_A = ["10.1.0.0/16", "fd10:1::/48"]


def begin():
    case.fresh()


def add(name, source, target, prefixes):
    station.ctl("exchange", "add", name, "--from", source, "--to", target,
                *(word for prefix in prefixes for word in ("--prefix", prefix)))


def exchange(name):
    [row] = [row for row in station.ctl("show", "exchanges") if row["name"] == name]
    return row


def replies(source, target):
    return tuple(case.at_once(traffic.ping, [(source, traffic.address(target, family)) for family in (4, 6)]))


def both_ways():
    return tuple(case.at_once(replies, [(A, D), (D, A)]))


def stream(source, target, six=False, pps=2_000, seconds=1):
    with Stream(source, target, pps=pps, seconds=seconds, six=six) as sending:
        return sending.finish()


def test_nothing_passes_without_an_exchange():
    expect(both_ways(), ((0, 0), (0, 0)), "replies between the VRFs")


def test_one_direction_is_one_way():
    add("a-to-d", "transit", "vpc-a", OF_D)
    expect(both_ways(), ((0, 0), (0, 0)), "replies, which have no way back")
    station.ctl("clear", "counters")
    for six in (False, True):
        sent, arrived = stream("a", "d", six)
        expect(arrived, sent, "datagrams from a to d")
        sent, arrived = stream("d", "a", six)
        expect(arrived, 0, "datagrams from d to a")
    expect(exchange("a-to-d")["packets"], 4_000, "what has passed")
    [row] = station.ctl("explain", "--vif", "d", "--from", D.addr4, "--to", A.addr4)
    expect(row["verdict"], "punt(no_route)", "d to a")


def test_both_directions_make_a_conversation_and_count():
    add("d-to-a", "vpc-a", "transit", OF_A)
    expect(both_ways(), ((3, 3), (3, 3)), "replies between a and d")
    station.ctl("clear", "counters")
    for six in (False, True):
        sent, arrived = stream("a", "d", six)
        expect(arrived, sent, "datagrams from a to d")
    sent, arrived = stream("d", "a")
    expect(arrived, sent, "datagrams from d to a")
    there, back = exchange("a-to-d"), exchange("d-to-a")
    expect((there["packets"], back["packets"]), (4_000, 2_000), "packets by direction")
    [row] = station.ctl("show", "routes", "--vrf", "vpc-a", OF_D[0])
    expect((row["origin"], row["action"]), ("exchange", "exchange"), "the route")
    [row] = station.ctl("explain", "--vif", "a", "--from", A.addr4, "--to", D.addr4)
    expect(row["verdict"], "forward", "a to d")
    [stage] = [stage for stage in row["stages"] if stage["stage"] == "exchange"]
    require("by exchange a-to-d in vrf transit: 10.4.0.10 is in 10.4.0.0/16 (static)" in stage["detail"], stage)
    expect(exchange("a-to-d")["packets"], 4_000, "explain counts nothing")
    expect(traffic.traceroute(A, D.addr4), [A.gw4, D.addr4], "the way from a to d")


def test_nobody_else_reaches_anything():
    # Other VRFs; then VIFs of both VRFs whose addresses are in no exchange: theirs are the answers that have no way back.
    others = [(x, y) for x in ("b", "vpc-b", "c", "e", "a2", "vpc-a") for y in ("d", "tgw")] + [("a", "tgw"), ("tgw", "a")]
    answered = case.at_once(lambda x, y: replies(HOSTS[x], HOSTS[y]), others)
    expect([pair for pair, counts in zip(others, answered, strict=True) if counts != (0, 0)], [], "pairs that only others' exchanges would join")
    # b has a's address: what it sends stays in its own VRF.
    before = exchange("a-to-d")["packets"]
    sent, arrived = stream("b", "d")
    expect((arrived, exchange("a-to-d")["packets"]), (0, before), "datagrams of b")


def test_sources_that_the_other_vrf_has_itself_do_not_pass():
    station.ctl("route", "add", "--vrf", "transit", "10.1.0.10/32", "--via", TGW.peer4.split("/")[0])
    with case.counted() as seen:
        sent, arrived = stream("a", "d")
    expect(arrived, 0, "datagrams whose answers would go to tgw")
    expect(seen.it.drops("a")["exchange_source"], sent, "drops")
    station.ctl("route", "del", "--vrf", "transit", "10.1.0.10/32")
    expect(replies(A, D), (3, 3), "replies without that route")


def test_exchanges_come_and_go_under_traffic_of_others():
    programs = {port: case.xdp_program(port) for port in lab.PORTS}

    def change():
        said = refused("exchange", "del", "a-to-d", yes=False)
        require("exchange a-to-d: is deleted" in said, said)
        station.ctl("exchange", "del", "a-to-d")
        expect(replies(A, D), (0, 0), "replies without the exchange")
        add("a-to-d", "transit", "vpc-a", OF_D)
        station.ctl("exchange", "set", "d-to-a", f'prefixes=["{OF_A[0]}"]')
        expect(replies(A, D), (3, 0), "replies without the way back of IPv6")
        station.ctl("exchange", "set", "d-to-a", f'prefixes=["{OF_A[0]}", "{OF_A[1]}"]')
        expect(replies(A, D), (3, 3), "replies with both")
    case.undisturbed(change, ("b", "vpc-b", False), ("a", "vpc-a", True))
    expect({port: case.xdp_program(port) for port in lab.PORTS}, programs, "XDP programs after the change")


def test_the_loss_of_a_link_behind_an_exchange_moves_its_flows():
    station.ctl("route", "del", "--vrf", "transit", OF_D[0])
    station.ctl("route", "add", "--vrf", "transit", OF_D[0], "--via", D.peer4.split("/")[0], "--via", TGW.peer4.split("/")[0])
    at_tgw = ledger.host_counts(TGW)["from a"]
    with Stream("a", "d", pps=2_000, seconds=3) as sending:
        wait_until(lambda: sending.arrived() + ledger.host_counts(TGW)["from a"] - at_tgw > 500, 3, "traffic by either way")
        lab.ip("st-wire", "link set dev cust1 down")
        wait_until(lambda: not station.ports()["cust1"]["up"], 2, "cust1 is down")
        of_d = sending.arrived()
        time.sleep(0.5)
        expect(sending.arrived(), of_d, "datagrams by the port that is down")
        sending.process.wait(timeout=20)
        lab.ip("st-wire", "link set dev cust1 up")
        wait_until(lambda: station.ports()["cust1"]["up"], 5, "cust1 is up")
        arrived = sending.arrived() + ledger.host_counts(TGW)["from a"] - at_tgw
    # One flow, by one of two ways: what was on its way as the link went is lost at most.
    require(arrived > sending.count - 400, f"{arrived} of {sending.count} arrived")


def test_two_customers_are_joined_only_if_both_agree():
    for vrf, customer in (("vpc-a", "Acme"), ("transit", "Dunder")):
        if customer == "Acme":
            said = refused("vrf", "set", vrf, f"customer={customer}")
            require("joins vrf" in said and "Acme" in said, said)
    text = station.CONFIG.read_text()
    text = text.replace('name = "vpc-a"\nkind', 'name = "vpc-a"\ncustomer = "Acme"\nkind')
    text = text.replace('name = "transit"\nkind', 'name = "transit"\ncustomer = "Dunder"\nkind')
    station.write_config(text)
    require("accepted_by = [" in refused("reload"), "what to write")
    text = text.replace('prefixes = ["10.', 'accepted_by = ["Acme", "Dunder"]\nprefixes = ["10.')
    station.write_config(text)
    station.ctl("reload")
    expect(exchange("a-to-d")["accepted_by"], ["Acme", "Dunder"], "who has agreed")
    expect(refused("vif", "set", "a", "customer=Dunder").count("Acme"), 1, "the owner of the VRF is named")
