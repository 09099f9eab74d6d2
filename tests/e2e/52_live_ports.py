"""Ports come and go while the station runs, and no other loses a frame.

The station starts with cust0 and core0 alone; cust1 and its VIFs are added, changed and deleted. With STATION_ALL=1 a port
comes and goes 1,000 times, else 20 times.
"""

import os
import pathlib
import re
import signal
import time

import case
import lab
import station
import traffic
from case import HOSTS, expect, refused, require

TIMES = 1_000 if os.environ.get("STATION_ALL") else 20
WHOLE = case.lab_config()
D = HOSTS["d"]
OTHERS = [("b", "vpc-b", False), ("a", "vpc-a", True)]


def without(text):
    """A configuration without cust1, its VIFs, and the routes that lead by them."""
    tables = re.split(r"(?m)^(?=\[\[)", text)
    gone = ('name = "cust1"', 'port = "cust1"', "10.3.0.0", "fd10:3:", "10.4.0.0", "fd10:4:", "203.0.113.0", "2001:db8:e:")
    return "".join(table for table in tables if not any(word in table for word in gone))


def begin():
    case.fresh(without(WHOLE))
    expect(list(station.ports()), ["cust0", "core0"], "ports")


def apply(text):
    return station.ctl("config", "apply", "-", stdin=text)


def reachable():
    return traffic.ping(D, HOSTS["tgw"].addr4, count=1) and traffic.ping(D, HOSTS["tgw"].addr6, count=1)


def reaches_again():
    case.wait_until(reachable, 10, "d reaches its gateway")


def times_up():
    """How often it was told that cust1 is up."""
    return sum(event.get("port") == "cust1" for event in station.lines("events", "--kind", "port_up"))


def descriptors():
    return len(list(pathlib.Path(f"/proc/{station.running()}/fd").iterdir()))


def memory_kib():
    status = pathlib.Path(f"/proc/{station.running()}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1])


def free_frames():
    return [row["frames_free"] for row in station.ctl("show", "workers")]


def test_a_port_with_its_vifs_is_added_under_load():
    programs = {port: case.xdp_program(port) for port in ("cust0", "core0")}
    told = times_up()

    def change():
        said = station.ctl("port", "add", "cust1", "--interface", "cust1", "--role", "customer")
        expect(said["changes"], ["+ port cust1: cust1"], "changes")
        case.wait_until(lambda: station.ports()["cust1"]["link"] == "up", 10, "the port is open")
        # In the file it stands between the others.
        apply(WHOLE)
        reaches_again()
    case.undisturbed(change, *OTHERS)
    expect({port: case.xdp_program(port) for port in programs}, programs, "XDP programs of the others")
    for x, y in lab.REACHES:
        case.answered(HOSTS[x], HOSTS[y].addr4, f"{x} and {y}")
    expect(times_up() - told, 1, "events that cust1 is up")


def test_who_deletes_a_port_is_asked_for_what_it_cuts():
    text = without(WHOLE)
    why = refused("config", "apply", "-", stdin=text, yes=False)
    require("vif d: is deleted" in why and "vif a2: is deleted" in why, why)
    require("vif a2" in refused("port", "del", "cust1"), "a port with VIFs is not deleted")
    expect(traffic.ping(D, HOSTS["tgw"].addr4), 3, "replies to d")


def test_a_port_is_deleted_under_load_and_its_interface_stays_closed():
    def change():
        said = apply(without(WHOLE))
        require(any("--interface cust1` opens it" in note for note in said["notes"]), f"what is said: {said}")
    case.undisturbed(change, *OTHERS)
    expect(traffic.ping(D, HOSTS["tgw"].addr4), 0, "replies to d")
    require(case.xdp_program("cust1"), "the kernel sees the frames of a port that was deleted")
    config = str(station.CONFIG)
    detach = [station.BIN / "stationd", "detach", "--config", config, "--interface"]
    done = lab.run(*detach, "cust0", ns="st-station", check=False)
    require("cust0 is port cust0" in done, f"a port that runs is opened: {done}")
    require(case.xdp_program("cust0"), "cust0 is open to the kernel")
    require("open to the kernel now" in lab.run(*detach, "cust1", ns="st-station"), "cust1 is opened")
    expect(case.xdp_program("cust1"), None, "the program on cust1")


def test_its_counters_begin_with_it():
    apply(WHOLE)
    reaches_again()
    frames = sum(int(row["value"]) for row in station.ctl("show", "counters", "--port", "cust1")[0]["counters"]
                 if row["name"] == "rx_frames")
    require(0 < frames < 1000, f"frames of a port that was added just now: {frames}")


def test_another_use_of_a_nic_opens_it_anew_and_no_other():
    def change():
        why = refused("port", "set", "cust1", "xdp=generic", yes=False)
        require("vif d: its port cust1 is opened anew" in why, why)
        station.ctl("port", "set", "cust1", "xdp=generic")
        case.wait_until(lambda: station.ports()["cust1"]["xdp_mode"] == "generic", 10, "the port is open in generic mode")
        reaches_again()
        station.ctl("port", "set", "cust1", "xdp=native")
        case.wait_until(lambda: station.ports()["cust1"]["xdp_mode"] == "native", 10, "the port is open in the driver")
        reaches_again()
    case.undisturbed(change, *OTHERS)


def test_an_interface_that_cannot_be_a_port_is_refused_and_one_that_is_not_there_is_waited_for():
    said = station.ctl("port", "add", "later", "--interface", "later0", "--role", "core")
    require(any("opens when it appears" in note for note in said["notes"]), f"what is said: {said}")
    expect(station.ports()["later"]["link"], "missing", "link of a port without an interface")
    why = refused("port", "add", "more", "--interface", "later1", "--role", "core")
    require("max_ports" in why and "4 ports" in why, why)
    lab.ip("st-station", "link add later0 mtu 1500 type veth peer name later0-end", "link set later0-end up", "link set later0 up")
    try:
        case.wait_until(lambda: station.ports()["later"]["link"] == "up", 10, "the port opens when its interface appears")
        lab.ip("st-station", "link add large0 mtu 9000 type veth peer name large0-end")
        why = refused("port", "set", "later", "interface=large0")
        require("large0 has MTU 9000" in why and "ip link set dev large0 mtu" in why, why)
        require("lo has no Ethernet address" in refused("port", "set", "later", "interface=lo"), "lo is refused")
        expect(station.ports()["later"]["interface"], "later0", "its interface")
    finally:
        station.ctl("port", "del", "later")
        for name in ("later0", "large0"):
            lab.run("ip", "-n", "st-station", "link", "del", name, check=False)


def test_ports_come_and_go_and_nothing_is_left():
    apply(without(WHOLE))
    case.wait_until(lambda: refused("port", "del", "cust1") or True, 5, "cust1 is gone")

    def come_and_go(times):
        for _ in range(times):
            station.ctl("port", "add", "cust1", "--interface", "cust1", "--role", "customer")
            station.ctl("port", "del", "cust1")

    def rested():
        """What there is once every port that was deleted is closed."""
        time.sleep(1)
        return descriptors(), free_frames()
    come_and_go(2)
    before, kib = rested(), memory_kib()
    case.undisturbed(lambda: come_and_go(TIMES), *OTHERS, seconds=30 + TIMES)
    expect(rested(), before, "descriptors, and free frames of each worker")
    grown = memory_kib() - kib
    require(grown < 8_192, f"{TIMES} times more take {grown} KiB more")


def test_numbers_outlive_a_crash():
    """What a crash leaves in the kernel is called by ports' numbers: the next start is to find it again. `show ports` has
    the ports in their order, whatever order the file has them in."""
    apply(WHOLE)
    numbered = ["cust0", "core0", "cust1"]
    expect(list(station.ports()), numbered, "ports by their numbers")
    station.stop(signal.SIGKILL)
    station.start()
    expect(list(station.ports()), numbered, "ports by their numbers after a crash")
    reaches_again()
    # Another file is another beginning.
    station.stop()
    station.write_config(WHOLE + "\n")
    station.start()
    expect(list(station.ports()), ["cust0", "cust1", "core0"], "ports of another file")
    reaches_again()
