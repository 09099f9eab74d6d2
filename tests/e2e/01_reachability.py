"""Who belongs together reaches each other: both families, full-size packets, small MTUs, TCP."""

import time

import case
import lab
import station
import traffic
from case import HOSTS, expect, require


def pairs():
    for x, y in lab.REACHES:
        yield HOSTS[x], HOSTS[y]
        yield HOSTS[y], HOSTS[x]


def test_ping_of_every_pair():
    for source, target in pairs():
        for family in (4, 6):
            case.answered(source, traffic.address(target, family), f"{source.name} and {target.name}, IPv{family}")


def test_ping_of_the_station():
    for host in HOSTS.values():
        for gateway in (host.gw4, host.gw6):
            case.answered(host, gateway, f"{host.name} and {gateway}")


def test_ping_of_the_stations_link_local_address():
    for host in HOSTS.values():
        octets = bytearray.fromhex(host.port_mac.replace(":", ""))
        octets[0] ^= 2
        eui = octets[:3] + b"\xff\xfe" + octets[3:]
        address = "fe80::" + ":".join(eui[i:i + 2].hex() for i in range(0, 8, 2)) + "%eth0"
        case.answered(host, address, f"{host.name} and {address}")


def test_traceroute_shows_the_station_once():
    for source, target in pairs():
        for gateway, address in [(source.gw4, target.addr4), (source.gw6, target.addr6)]:
            expect(traffic.traceroute(source, address), [gateway, address], f"way from {source.name} to {target.name}")


def test_packets_of_1500_octets_pass_whole():
    for source, target in pairs():
        for address, size in [(target.addr4, 1472), (target.addr6, 1452)]:
            case.answered(source, address, f"1500 octets, {source.name} and {address}", size=size, df=True)


def test_fragments_of_larger_packets_pass():
    for source, target in pairs():
        for family in (4, 6):
            case.answered(source, traffic.address(target, family), f"4000 octets, {source.name} and {target.name}, IPv{family}", size=4000)


def test_tcp_both_ways_is_intact():
    for source, target in pairs():
        for family in (4, 6):
            intact, _ = traffic.transfer(source, target, traffic.address(target, family), octets=20_000_000)
            require(intact, f"20 MB from {source.name} to {target.name} by IPv{family} differ")


def test_workers_say_how_they_spend_themselves():
    before = station.ctl("show", "workers")
    for x, y in lab.REACHES:
        traffic.transfer(HOSTS[x], HOSTS[y], HOSTS[y].addr4, octets=20_000_000)
    time.sleep(1.5)  # a worker publishes its system calls once a second
    after = station.ctl("show", "workers")
    for was, row in zip(before, after):
        frames, bursts = row["frames"] - was["frames"], row["bursts"] - was["bursts"]
        require(bursts <= frames <= 64 * bursts and frames > 10_000, f"frames and bursts: {was} {row}")
        # From 10 ns to 100 us: a frame's cost, neither zero nor the time of an idle worker.
        spent = row["ns_per_frame"] * row["frames"] - was["ns_per_frame"] * was["frames"]
        require(10 <= spent / frames <= 100_000, f"{spent / frames:.0f} ns a frame")
        calls = (row["syscalls"] - was["syscalls"]) / frames
        require(0 < calls <= 2, f"{calls:.3f} system calls a frame")
        require(row["lost"] == 0 and row["frames_free"] < row["frames_total"], row)


def test_everything_passes_a_smaller_mtu():
    # The last test: it changes the configuration. RFC 1191 and RFC 8201 must find the 1300 octets.
    case.fresh(case.replaced(case.lab_config(), ('vlan = "1100"\n', 'vlan = "1100"\nmtu = 1300\n')))
    a, cloud = HOSTS["a"], HOSTS["vpc-a"]
    for family, header in [(4, 28), (6, 48)]:
        address = traffic.address(cloud, family)
        output = lab.run("ping", "-n", "-c", 1, "-W", 1, "-M", "do", "-s", 1500 - header, address, ns=a.ns, check=False)
        require("mtu = 1300" in output or "mtu=1300" in output, f"no packet-too-big of 1300 by IPv{family}:\n{output}")
        case.answered(a, address, f"1300 octets, IPv{family}", size=1300 - header, df=True)
        intact, _ = traffic.transfer(a, cloud, address, octets=20_000_000)
        require(intact, f"20 MB by IPv{family} over the small MTU differ")
