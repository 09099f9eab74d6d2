"""A real full table, IPv4 and IPv6, in the public VRF: what the station answers, and where it really
sends packets, against a naive oracle; a sample of it against the Linux kernel.

STATION_DATA names the directory of the prefix lists (rib-*-v4.txt.gz, rib-*-v6.txt.gz); without it
../shared/data beside the repository is tried. Each prefix has one of 16 next hops, by a hash."""

import gzip
import ipaddress
import os
import pathlib
import random
import time
import zlib

import case
import frames
import lab
import station
from case import HOSTS, Skip, expect, replaced, require

HOPS = 16
SEED = 20260511
C, PUB = HOSTS["c"], HOSTS["pub"]
WIDTH = {4: 32, 6: 128}


def data():
    for place in [os.environ.get("STATION_DATA"), lab.ROOT / "../shared/data", lab.ROOT / "../../shared/data"]:
        if place and list(pathlib.Path(place).glob("rib-*-v4.txt.gz")):
            return pathlib.Path(place)
    raise Skip("no route data: set STATION_DATA to a directory with rib-*-v4.txt.gz and rib-*-v6.txt.gz")


def hop_address(family, hop):
    return f"192.0.2.{130 + hop}" if family == 4 else f"2001:db8:0:f::{0x100 + hop:x}"


def hop_mac(hop):
    return f"02:99:00:00:00:{hop:02x}"


def hop_of(prefix):
    return zlib.crc32(prefix.encode()) % HOPS


class Oracle:
    """A dictionary for each prefix length; longest first. Nothing clever."""

    def __init__(self, family):
        self.family = family
        self.lengths = {}
        self.prefixes = []

    def add(self, prefix):
        address, length = prefix.split("/")
        value = int(ipaddress.ip_address(address)) >> (WIDTH[self.family] - int(length))
        self.lengths.setdefault(int(length), {})[value] = prefix
        self.prefixes.append(prefix)

    def lookup(self, address):
        """The longest prefix that holds the address (a number), or None."""
        return next(iter(self.covering(address)), None)

    def covering(self, address):
        for length in sorted(self.lengths, reverse=True):
            found = self.lengths[length].get(address >> (WIDTH[self.family] - length))
            if found:
                yield found

    def addresses(self, rng, count):
        """Half uniform, half around the borders of prefixes: first, last, one before, one after."""
        width = WIDTH[self.family]
        result = []
        for _ in range(count // 2):
            result.append(rng.getrandbits(width) if self.family == 4 else 1 << 125 | rng.getrandbits(125))
        while len(result) < count:
            network = ipaddress.ip_network(rng.choice(self.prefixes))
            first, last = int(network.network_address), int(network.broadcast_address)
            result += [value for value in (first, last, first - 1, last + 1) if 0 < value < 1 << width]
        return result[:count]


def text(family, number):
    return str((ipaddress.IPv4Address if family == 4 else ipaddress.IPv6Address)(number))


_oracles = {}


def oracles():
    if not _oracles:
        load()
    return _oracles


def own_routes(config):
    """Prefixes of the public VRF that the lab's configuration has itself, connected ones included."""
    import tomllib
    parsed = tomllib.loads(config)
    result = [route["prefix"] for route in parsed["route"] if route["vrf"] == "public"]
    for vif in parsed["vif"]:
        if vif["vrf"] == "public":
            result += [str(ipaddress.ip_interface(address).network) for address in vif["addresses"]]
    return result


def load():
    directory = data()
    config = replaced(
        case.lab_config(),
        ('"192.0.2.9/30", "2001:db8:0:f::1/64"', '"192.0.2.129/25", "2001:db8:0:f::1/64"'),
        ('"192.0.2.10"', f'"{hop_address(4, 0)}"'),
        ('via = [{ address = "2001:db8:0:f::2" }]', f'via = [{{ address = "{hop_address(6, 0)}" }}]'),
    )
    lists = [[] for _ in range(HOPS)]
    for family in (4, 6):
        oracle = _oracles[family] = Oracle(family)
        [path] = sorted(directory.glob(f"rib-*-v{family}.txt.gz"))[-1:]
        own = set(own_routes(config))
        with gzip.open(path, "rt") as file:
            for line in file:
                prefix = line.strip()
                if prefix in own:
                    continue
                oracle.add(prefix)
                lists[hop_of(prefix)].append(prefix)
    for hop, prefixes in enumerate(lists):
        (lab.RUN / f"table-{hop}.txt").write_text("\n".join(prefixes) + "\n")
        config += f"""
[[route_list]]
vrf = "public"
file = "table-{hop}.txt"
via = [{{ address = "{hop_address(4, hop)}" }}, {{ address = "{hop_address(6, hop)}" }}]
"""
        for family in (4, 6):
            config += f"""
[[neighbor]]
vif = "pub"
address = "{hop_address(family, hop)}"
mac = "{hop_mac(hop)}"
"""
    # What the station has beyond the table: the oracle knows it, and that it is not the table's.
    for prefix in own_routes(config):
        _oracles[6 if ":" in prefix else 4].add(prefix)
    station.stop()
    station.start(config)


def test_the_table_loads():
    data()
    start = time.monotonic()
    oracles()
    seconds = time.monotonic() - start
    counts = station.route_counts("public")
    for family in (4, 6):
        # Beside the table: the router's own addresses and the like, a few dozen.
        loaded = len(_oracles[family].prefixes)
        require(loaded <= counts[family] <= loaded + 60, f"IPv{family}: {counts[family]} routes of {loaded}")
    print(f"        {len(_oracles[4].prefixes)} + {len(_oracles[6].prefixes)} routes, "
          f"generated and loaded in {seconds:.1f} s")


def test_20000_lookups_agree_with_the_oracle():
    data()
    rng = random.Random(SEED)
    asked = [(family, number) for family in (4, 6) for number in oracles()[family].addresses(rng, 10_000)]
    answers = station.lookup_many("public", [text(family, number) for family, number in asked])
    faults = []
    own = set(own_routes(station.CONFIG.read_text()))
    for (family, number), answer in zip(asked, answers, strict=True):
        wanted = oracles()[family].lookup(number)
        prefix, hop = answer
        if wanted in own:
            continue  # connected subnets hold host routes of the station's own
        expected = (wanted, hop_address(family, hop_of(wanted)) if wanted else None)
        if (prefix, hop) != expected:
            faults.append(f"{text(family, number)}: {prefix} by {hop}, expected {expected}")
    require(not faults, f"{len(faults)} of {len(asked)} differ:\n" + "\n".join(faults[:10]))


def test_packets_leave_by_the_oracles_next_hop():
    data()
    rng = random.Random(SEED + 1)
    own = set(own_routes(station.CONFIG.read_text()))
    wanted = {}
    with frames.Raw("st-wire", "core0") as wire, frames.Raw("st-wire", "cust0") as raw:
        for family in (4, 6):
            numbers = iter(oracles()[family].addresses(rng, 20_000))
            serial = 0
            while serial < 500:
                number = next(numbers)
                prefix = oracles()[family].lookup(number)
                address = ipaddress.ip_address(text(family, number))
                if prefix is None or prefix in own or not address.is_global or address.is_multicast:
                    continue
                serial += 1
                wanted[family, serial] = hop_mac(hop_of(prefix))
                source = C.addr4 if family == 4 else C.addr6
                mark = {"ident": serial} if family == 4 else {"flow": serial}
                raw.send(frames.datagram(C, source, str(address), tags=C.tags, **mark))
                if serial % 50 == 0:
                    time.sleep(0.01)
        got = {}
        for octets in wire.received(quiet=0.5, limit=20):
            kind, packet = frames.l3(octets)
            if kind == frames.ETH_IPV4:
                got[4, int.from_bytes(packet[4:6], "big")] = octets[:6].hex(":")
            elif kind == frames.ETH_IPV6 and packet[6] == frames.UDP:
                got[6, int.from_bytes(packet[1:4], "big") & 0xFFFFF] = octets[:6].hex(":")
    expect({key: got.get(key) for key in wanted if got.get(key) != wanted[key]}, {}, "packets by another way")


def test_a_sample_agrees_with_the_kernel():
    data()
    rng = random.Random(SEED + 2)
    own = set(own_routes(station.CONFIG.read_text()))
    sample = []
    for family in (4, 6):
        for number in oracles()[family].addresses(rng, 4_000):
            prefix = oracles()[family].lookup(number)
            if prefix and prefix not in own and ipaddress.ip_address(text(family, number)).is_global:
                sample.append((family, number))
    sample = rng.sample(sample, min(1000, len(sample)))
    # The kernel gets every route that covers an address of the sample: for those addresses, the whole table.
    covering = {(family, prefix) for family, number in sample for prefix in oracles()[family].covering(number)}
    lab.run("ip", "netns", "add", "st-oracle")
    try:
        lab.ip("st-oracle", "link set lo up", "link add name eth0 type veth peer name far",
               "link set dev far up", "link set dev eth0 up", "addr add 192.0.2.129/25 dev eth0",
               "addr add 2001:db8:0:f::1/64 dev eth0 nodad",
               *[f"route add {prefix} via {hop_address(family, hop_of(prefix))} dev eth0"
                 for family, prefix in covering if prefix not in own])
        faults = []
        answers = station.lookup_many("public", [text(family, number) for family, number in sample])
        for family in (4, 6):
            mine = [(number, answer) for (f, number), answer in zip(sample, answers, strict=True) if f == family]
            output = lab.run("ip", "-n", "st-oracle", f"-{family}", "-o", "-batch", "-",
                             stdin="".join(f"route get {text(family, number)}\n" for number, _ in mine))
            lines = [line for line in output.splitlines() if line.strip()]
            expect(len(lines), len(mine), "answers of the kernel")
            for (number, answer), line in zip(mine, lines, strict=True):
                hop = line.split(" via ")[1].split()[0] if " via " in line else None
                if answer[1] != hop:
                    faults.append(f"{text(family, number)}: station {answer}, kernel {line}")
        require(not faults, f"{len(faults)} of {len(sample)} differ:\n" + "\n".join(faults[:10]))
    finally:
        lab.run("ip", "netns", "del", "st-oracle")
