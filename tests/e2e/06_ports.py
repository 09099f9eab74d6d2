"""A port's link flaps, its interface disappears and comes back; the other ports go on without a loss."""

import time

import case
import lab
import station
import traffic
from case import HOSTS, Stream, expect

D = HOSTS["d"]


def others_lose_nothing(change):
    case.undisturbed(change, ("b", "vpc-b", False))


def reachable():
    return traffic.ping(D, HOSTS["tgw"].addr4, count=1) and traffic.ping(D, HOSTS["tgw"].addr6, count=1)


def test_link_down_and_up():
    def change():
        lab.ip("st-wire", "link set dev cust1 down")
        case.wait_until(lambda: not station.ports()["cust1"]["up"], 2, "cust1 is down")
        time.sleep(0.5)
        lab.ip("st-wire", "link set dev cust1 up")
        case.wait_until(lambda: station.ports()["cust1"]["up"], 2, "cust1 is up")
        case.wait_until(reachable, 3, "d reaches its gateway again")
    others_lose_nothing(change)


def test_frames_to_a_port_that_is_down_have_their_reason():
    lab.ip("st-wire", "link set dev cust1 down")
    case.wait_until(lambda: not station.ports()["cust1"]["up"], 2, "cust1 is down")
    with case.counted() as seen, Stream("a", "a2", pps=2_000, seconds=0.5) as stream:
        sent, arrived = stream.finish()
    lab.ip("st-wire", "link set dev cust1 up")
    case.wait_until(reachable, 5, "d reaches its gateway again")
    expect(arrived, 0, "frames through a port that is down")
    expect(seen.it.drops("a")["egress_down"], sent, "drops because the port is down")


def test_interface_gone_and_back():
    def change():
        lab.ip("st-station", "link del cust1")
        case.wait_until(lambda: not station.ports()["cust1"]["up"], 2, "cust1 is down")
        time.sleep(0.5)
        lab.add_port("cust1")
        case.wait_until(lambda: station.ports()["cust1"]["up"], 5, "cust1 is up")
        case.wait_until(reachable, 5, "d reaches its gateway again")
    others_lose_nothing(change)


def test_everything_works_afterwards():
    for x, y in lab.REACHES:
        case.answered(HOSTS[x], HOSTS[y].addr4, f"{x} and {y}")
        case.answered(HOSTS[x], HOSTS[y].addr6, f"{x} and {y}, IPv6")
