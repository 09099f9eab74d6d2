"""Limits of addresses: what one address may have, on one worker and on two, beside others that lose nothing, as limits change,
and behind a VIF that translates. Top talkers: which addresses had most.

All ports have two queues here, so the station has two workers. What passes is counted by the receiving hosts' own BPF program."""

import contextlib
import importlib
import time

import case
import lab
import station
from case import HOSTS, Stream, alone, expect, require

bandwidth = importlib.import_module("40_bandwidth")
Flood, near, over, SIZE = bandwidth.Flood, bandwidth.near, bandwidth.over, bandwidth.SIZE
A, VPC_A = HOSTS["a"], HOSTS["vpc-a"]
RATE = 20_000_000
OUTSIDE = "172.20.5.{}"


def limit(name, by, rate, prefixes=None, more=""):
    prefixes = prefixes or [f"{A.addr4.rsplit('.', 1)[0]}.0/24"]
    listed = ", ".join(f'"{net}"' for net in prefixes)
    return f'\n[[address_limit]]\nname = "{name}"\nby = "{by}"\nprefixes = [{listed}]\nbandwidth = "{rate}"\n{more}'


def limited(rate="20M", line='address_limits_in = ["up"]\naddress_limits_out = ["down"]', more=""):
    return bandwidth.limited(a=line, more=limit("up", "source", rate) + limit("down", "destination", "30M") + more)


def begin():
    station.stop()
    for port in lab.PORTS:
        bandwidth.two_queues(port)
    case.fresh(limited())
    expect(len(station.ctl("show", "workers")), 2, "workers")


def end():
    bandwidth.end()


def entry(address, name="up"):
    """What is shown of an address."""
    rows = station.ctl("show", "address-limits", name, "-n", "300")
    found = [entry for row in rows for entry in row.get("entries", []) if entry["address"] == f"{address}/32"]
    require(len(found) == 1, f"{address} of {name}: {rows}")
    return found[0]


class From(Flood):
    """A flood from another of the host's addresses."""

    def __init__(self, address, *args, **more):
        super().__init__(*args, **more)
        self.frame = bandwidth.frames.datagram(self.source, address, self.target.addr4, tags=self.source.tags, size=SIZE)


def test_an_address_has_its_rate_on_one_worker_and_on_both():
    alone(1.0)
    for times, queues, windows in ((2, (0,), (1,)), (10, (0, 1), (1, 10))):
        with Flood(A, VPC_A, times * RATE, 60, queues) as flood:
            time.sleep(0.6)  # the burst
            for seconds in windows:
                near(lambda: sum(over([flood], seconds)), RATE, f"{times} times the rate, workers {queues}, {seconds} s")


def test_each_direction_has_its_own():
    alone(1.0)
    with Flood(VPC_A, A, 200_000_000, 10, (0, 1)) as flood:
        time.sleep(0.6)
        near(lambda: sum(over([flood], 1)), 30_000_000, "towards the customer")
    rows = {(row["name"], row["direction"]): row for row in station.ctl("show", "address-limits")}
    expect(sorted(rows), [("down", "tx"), ("up", "rx")], "limits")
    expect([rows["up", "rx"][key] for key in ("vrf", "by", "rate_bits_per_s", "addresses", "vifs")],
           ["vpc-a", "source", RATE, 256, ["a"]], "what is shown of one")


def test_what_one_address_exceeds_costs_others_nothing():
    """The second address and another tenant's host beside a flood of ten times the rate; and what is shown is what was counted."""
    other = A.addr4.rsplit(".", 1)[0] + ".77"
    station.ctl("clear", "counters")
    with case.counted() as seen:
        with Flood(A, VPC_A, 10 * RATE, 4) as flood, From(other, A, VPC_A, RATE // 2, 4) as calm, \
                Stream("b", "vpc-b", pps=500, seconds=4) as stream:
            sent, came = stream.finish()
            flood.wait()
            calm.wait()
    expect(came, sent, "another tenant's frames")
    drops, passed = seen.it.drops("a"), seen.it.hosts["vpc-a"]["from a"]
    one, two = entry(A.addr4), entry(other)
    expect((two["exceeded_frames"], two["passed_octets"]), (0, calm.sent * SIZE), "the other address, all of it")
    expect(one["passed_octets"] + two["passed_octets"], passed * SIZE, "what the receiver counted")
    expect((one["exceeded_frames"], one["exceeded_octets"]),
           (drops["address_limit_exceeded"], drops["address_limit_exceeded"] * SIZE), "what was dropped")
    require(one["exceeded_frames"] > 1_000, f"some exceeded: {one}")
    [over_it] = [row for row in station.ctl("show", "address-limits", "up", "--over")]
    expect([row["address"] for row in over_it["entries"]], [f"{A.addr4}/32"], "--over")
    expect(over_it["addresses_over"], 1, "addresses over")
    shown = station.shown("show", "address-limits", "up")
    require(f"\n{A.addr4} " in shown, shown)


def test_a_rate_changes_beside_traffic():
    alone(1.0)
    with Flood(A, VPC_A, 200_000_000, 40) as flood, Stream("b", "vpc-b", pps=500, seconds=4) as others:
        time.sleep(0.5)
        for rate in ("10M", "40M", "60M"):
            before = entry(A.addr4)["passed_octets"]
            station.ctl("address-limit", "set", "up", f"bandwidth={rate}")
            require(entry(A.addr4)["passed_octets"] >= before, "counts go on")
            time.sleep(0.6)
            near(lambda: sum(over([flood], 1)), int(rate[:-1]) * 1_000_000, f"after a change to {rate}", by=0.01)
        # One more prefix changes nothing of the others', bucket included.
        lan = f"{A.addr4.rsplit('.', 1)[0]}.0/24"
        station.ctl("address-limit", "set", "up", f'prefixes=["{lan}", "192.0.2.0/24"]')
        near(lambda: sum(over([flood], 1)), 60_000_000, "with another prefix", by=0.01)
        sent, came = others.finish()
    expect(came, sent, "frames of another VIF meanwhile")
    [row] = station.ctl("explain", "--vif", "a", "--from", A.addr4, "--to", VPC_A.addr4)
    details = {stage["stage"]: stage["detail"] for stage in row["stages"]}
    expect(details.get("address"), f"rx of vif a: up has 60M for the source {A.addr4}", "the stage's words")
    station.ctl("vif", "set", "a", "--unset", "address_limits_in", "--unset", "address_limits_out")
    expect(station.ctl("show", "address-limits"), [], "limits that no VIF has")
    station.ctl("address-limit", "del", "up")
    with case.counted() as seen:
        with Flood(A, VPC_A, 100_000_000, 1) as flood:
            flood.wait()
    expect(seen.it.hosts["vpc-a"]["from a"], flood.sent, "frames that pass without a limit")


def test_a_vif_that_translates():
    """The limit is on the address outside, both ways."""
    alone(1.0)
    lan = f"{A.addr4.rsplit('.', 1)[0]}.0/24"
    outside = OUTSIDE.format(A.addr4.rsplit(".", 1)[1])
    net = OUTSIDE.format("0") + "/24"
    lines = f'translate = ["{lan} as {net}"]\naddress_limits_in = ["up"]\naddress_limits_out = ["down"]'
    more = limit("up", "source", "20M", [net]) + limit("down", "destination", "30M", [net])
    more += f'\n[[route]]\nvrf = "vpc-a"\nprefix = "{net}"\nvia = [{{ address = "169.254.0.2" }}]\n'
    station.write_config(bandwidth.limited(a=lines, more=more))
    station.ctl("reload")
    with Flood(A, VPC_A, 5 * RATE, 20) as flood:
        time.sleep(0.6)
        near(lambda: sum(over([flood], 1)), RATE, "from behind the VIF")
    require(entry(outside)["exceeded_frames"] > 0, "the address outside is shown")

    class Back(Flood):
        def __init__(self, *args):
            super().__init__(*args)
            self.frame = bandwidth.frames.datagram(self.source, self.source.addr4, outside, tags=self.source.tags, size=SIZE)

    with Back(VPC_A, A, 5 * RATE, 20) as flood:
        time.sleep(0.6)
        near(lambda: sum(over([flood], 1)), 30_000_000, "to behind the VIF")
    require(entry(outside, "down")["exceeded_frames"] > 0, "the address outside is shown")


def test_top_talkers_of_a_known_mix():
    """Addresses with known parts of what a VIF receives: their order, and that each bound holds. A VIF that keeps none says so."""
    lan = A.addr4.rsplit(".", 1)[0]
    mix = {f"{lan}.{200 + n}": pps for n, pps in enumerate((1600, 800, 400, 200, 100))}
    station.write_config(bandwidth.limited(a="top_talkers = true"))
    station.ctl("reload")
    refusal = case.refused("show", "talkers", "b")
    require("vif set b top_talkers=true" in refusal, refusal)
    time.sleep(0.5)
    seconds = 8
    floods = [From(address, A, VPC_A, pps * SIZE * 8, seconds) for address, pps in mix.items()]
    with case.counted() as seen, contextlib.ExitStack() as stack:
        for flood in floods:
            stack.enter_context(flood)
        for flood in floods:
            flood.wait()
        time.sleep(0.5)
    expect(seen.it.hosts["vpc-a"]["from a"], sum(flood.sent for flood in floods), "frames that passed")
    [row] = station.ctl("show", "talkers", "a", "--direction", "rx", "-n", "5")
    print(f"    1:{row['interval']} over {row['measured_s']:.0f} s: "
          + ", ".join(f"{one['share_percent']:.1f} %" for one in row["talkers"]))
    expect([one["address"] for one in row["talkers"]], list(mix), "the order")
    expect(row["missed_octets"], 0, "octets that the station did not keep up with")
    held = 0
    for one, flood in zip(row["talkers"], floods):
        had = flood.sent * SIZE
        held += one["least_octets"] <= had <= one["most_octets"]
        require(0.8 * had <= one["octets"] <= 1.2 * had, f"{one}, which had {had}")
    require(held >= 4, f"bounds that hold in 19 of 20 cases held in {held} of 5: {row}")
    require(row["others_most_octets"] < 0.05 * row["octets"], f"{row['others_most_octets']} of {row['octets']}")
    # By the other end there is one address, and what was sent back is another direction's.
    [other] = station.ctl("show", "talkers", "a", "--direction", "rx", "--by", "destination")
    expect(other["talkers"][0]["address"], VPC_A.addr4, "by destination")
    require(other["talkers"][0]["share_percent"] > 99, f"{other}")
    [rx, tx] = station.ctl("show", "talkers", "a")
    expect([(rx["direction"], rx["by"]), (tx["direction"], tx["by"])], [("rx", "source"), ("tx", "destination")], "both directions")
    shown = station.shown("show", "talkers", "a").splitlines()
    require(any(line.startswith(f"{lan}.200 ") for line in shown), f"{shown}")


def test_top_talkers_beside_a_flow_log():
    """Both look at packets of one VIF, each at its own rate."""
    # What was seen before is forgotten where no VIF keeps track.
    station.write_config(bandwidth.limited())
    station.ctl("reload")
    text = bandwidth.limited(a='top_talkers = true\nflow_log = "1:64"', more='\n[flow_log]\nfiles_mib = 16\n')
    station.write_config(text)
    station.ctl("reload")
    time.sleep(0.5)
    with case.counted() as seen:
        with Flood(A, VPC_A, 2_000_000, 4) as flood:
            flood.wait()
        time.sleep(0.5)
    expect(seen.it.hosts["vpc-a"]["from a"], flood.sent, "frames that passed")
    [row] = station.ctl("show", "talkers", "a", "--direction", "rx")
    had = flood.sent * SIZE
    # Whoever else spoke meanwhile had less.
    first = row["talkers"][0]
    expect(first["address"], A.addr4, "the largest")
    require(first["least_octets"] <= 1.05 * had and first["most_octets"] >= had, f"{row}, which had {had}")
    [log] = [row for row in station.ctl("show", "flow-log") if row["vif"] == "a"]
    expect(log["interval"], 64, "the flow log's own rate")
    station.write_config(bandwidth.limited())
    station.ctl("reload")
    require("top_talkers=true" in case.refused("show", "talkers", "a"), "no VIF keeps track")
