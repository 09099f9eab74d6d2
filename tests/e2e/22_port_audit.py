"""What other tools can undo of an open port, under traffic and beside a kernel that would forward: nothing
leaks, it is put right within about a second, and the operator reads it."""

import importlib
import shutil
import time

import case
import frames
import lab
import station
from case import Stream, expect, require

kill = importlib.import_module("04_kill")  # the tempting kernel
PPS = 2_000


def tampered(act, *, repaired, untagged=0):
    """Does `act` to the port of a steady stream while the kernel is tempted. How long until `repaired`."""
    before = station.ports()["cust0"]
    with kill.tempting_kernel(), frames.Raw("st-wire", "core0") as wire, Stream("a", "vpc-a", pps=PPS, seconds=4) as stream:
        case.wait_until(lambda: stream.arrived() > PPS / 4, 3, "traffic before")
        act()
        with frames.Raw("st-wire", "cust0") as raw:
            raw.send(kill.untagged(), 200)
        seconds = case.wait_until(repaired, 3, "repaired")
        sent, arrived = stream.finish()
        leaked = [octets for octets in wire.received(quiet=0.3) if frames.l3(octets)[0] == frames.ETH_IPV4 and not is_ours(octets)]
    after = station.ports()["cust0"]
    expect(len(leaked), 0, "frames that the kernel forwarded")
    require(sent - arrived < PPS * 1.5, f"{sent - arrived} of {sent} frames lost")
    expect(after["trouble"], "", "trouble")
    expect(after["repairs"] > before["repairs"], True, f"repairs grow from {before['repairs']}")
    print(f"        repaired after {seconds * 1000:.0f} ms, {sent - arrived} of {sent} frames lost, "
          f"{after['xdp']['bypassed'] - before['xdp']['bypassed']} stopped behind XDP, 0 forwarded by the kernel")


def is_ours(octets):
    """Tagged: only the station sends that."""
    return octets[12:14] in (b"\x81\x00", b"\x88\xa8")


def log():
    return station.LOG.read_text(errors="replace")


def test_a_detached_link_leaks_nothing_and_comes_back():
    pin = lab.PINS / "station/xdp-cust0"
    before = case.xdp_program("cust0")
    tampered(lambda: lab.run("bpftool", "link", "detach", "pinned", pin),
             repaired=lambda: case.xdp_program("cust0") == before)
    require("the XDP program had been taken off" in log(), "the log says what was wrong")


def test_more_queues_leak_nothing_and_go():
    def queues():
        return "RX:\t\t1" in lab.run("ethtool", "-l", "cust0", ns="st-station").partition("Current")[2]
    # This lab's veths can have one queue: a port of four takes the place of one.
    lab.ip("st-station", "link del cust0")
    four(4)
    case.wait_until(lambda: station.ports()["cust0"]["up"], 5, "cust0 is up")
    case.learn()
    tampered(lambda: lab.run("ethtool", "-L", "cust0", "rx", 4, ns="st-station"), repaired=queues)
    lab.ip("st-station", "link del cust0")
    lab.add_port("cust0")
    case.wait_until(lambda: station.ports()["cust0"]["up"], 5, "cust0 is up")
    case.learn()
    require("its queues had been changed (4 receive and 1 transmit queues)" in log(), "the log says what was wrong")


def four(queues):
    """As `lab.add_port`, with queues to switch on."""
    run, port = lab.run, "cust0"
    run("ip", "link", "add", "name", port, "address", lab.PORTS[port], "mtu", lab.PORT_MTU, "netns", "st-station",
        "numtxqueues", queues, "numrxqueues", queues, "type", "veth",
        "peer", "name", port, "mtu", lab.PORT_MTU, "netns", "st-wire", "numtxqueues", queues, "numrxqueues", queues)
    for ns in ["st-station", "st-wire"]:
        lab.offloads_off(ns, port)
    run("ethtool", "-L", port, "rx", 1, "tx", 1, ns="st-station")
    lab.ip("st-wire", f"link set dev {port} master sw-{port} up")
    lab.ip("st-station", f"link set dev {port} up")


def test_tag_offload_is_switched_off_again():
    def off():
        features = lab.run("ethtool", "-k", "cust0", ns="st-station")
        return "rx-vlan-offload: off" in features and "tx-vlan-offload: off" in features
    tampered(lambda: lab.run("ethtool", "-K", "cust0", "rxvlan", "on", "txvlan", "on", ns="st-station"), repaired=off)


def test_removed_pins_are_made_again():
    directory = lab.PINS / "station"
    pins = sorted(path.name for path in directory.iterdir())
    require("xdp-cust0" in pins and "guard-cust0" in pins, f"pins: {pins}")
    shutil.rmtree(directory)
    case.wait_until(lambda: directory.is_dir() and sorted(path.name for path in directory.iterdir()) == pins, 3, "all pins are back")
    # What was made again is what keeps the port closed.
    station.stop(kill.signal.SIGKILL)
    with kill.tempting_kernel():
        expect(len(kill.left_by("core0", kill.send_untagged)), 0, "frames forwarded while the station is dead")
    station.start()
    case.learn()


def test_another_program_closes_the_port_and_is_named():
    source = lab.RUN / "foreign.c"
    source.write_text('__attribute__((section("xdp"), used)) int foreign(void *context) { return 1; }\n')
    lab.run("clang", "-O2", "-target", "bpf", "-c", source, "-o", lab.RUN / "foreign.o")
    lab.run("bpftool", "prog", "load", lab.RUN / "foreign.o", lab.PINS / "foreign", "type", "xdp")
    try:
        lab.run("bpftool", "link", "detach", "pinned", lab.PINS / "station/xdp-cust0")
        # Whoever is first: the station puts its own back within milliseconds.
        for _ in range(200):
            if lab.ok("bpftool", "net", "attach", "xdpdrv", "pinned", lab.PINS / "foreign", "dev", "cust0", ns="st-station"):
                break
            lab.run("bpftool", "link", "detach", "pinned", lab.PINS / "station/xdp-cust0", check=False)
        else:
            raise case.Skip("the station is always faster")
        case.wait_until(lambda: "already has an XDP program" in station.ports()["cust0"]["trouble"], 3, "the trouble is shown")
        expect(station.ports()["cust0"]["up"], False, "the port is closed")
    finally:
        lab.run("bpftool", "net", "detach", "xdpdrv", "dev", "cust0", ns="st-station", check=False)
        (lab.PINS / "foreign").unlink(missing_ok=True)
    case.wait_until(lambda: station.ports()["cust0"]["up"], 4, "the port is open again")
    expect(station.ports()["cust0"]["trouble"], "", "trouble")
    case.learn()


def test_an_mtu_beyond_its_frames_is_told_and_nothing_else_happens():
    lab.ip("st-station", "link set dev cust0 mtu 1900")
    try:
        case.wait_until(lambda: "`ip link set dev cust0 mtu 1770`" in station.ports()["cust0"]["trouble"], 3, "the trouble is shown")
        with Stream("b", "vpc-b", pps=1000, seconds=0.5) as stream:
            sent, arrived = stream.finish()
        expect(arrived, sent, "frames of a port that stays open")
    finally:
        lab.ip("st-station", f"link set dev cust0 mtu {lab.PORT_MTU}")
    case.wait_until(lambda: not station.ports()["cust0"]["trouble"], 3, "all is well again")
    time.sleep(0.2)
