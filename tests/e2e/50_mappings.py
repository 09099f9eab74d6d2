"""Mappings that a controller streams, into a tunnel to the Linux kernel's `vxlan` device: 20,000 of them, while the controller
is killed again and again, and the station too; what does not change loses nothing. STATION_ALL=1 streams 940,000, and kills
50 times."""

import contextlib
import ipaddress
import json
import os
import random
import signal
import socket
import subprocess
import time

import case
import lab
import overlay
import routers
import station
import steady
import traffic
from case import HOSTS, answered, expect, require, wait_until

A, VPC = HOSTS["a"], HOSTS["vpc-a"]
ALL = bool(os.environ.get("STATION_ALL"))
# What a sync names and what its end sweeps are there together for a while: both have to fit the million of a VRF.
COUNT = 940_000 if ALL else 20_000
KILLS = 50 if ALL else 6
CHURN = COUNT // (1000 if ALL else 20)  # before each kill so many are replaced
REMOTE, MAC = overlay.ENDS["vpc-a"].remote, overlay.ENDS["vpc-a"].mac  # the kernel's
DEAD, DEAD_MAC = "10.255.1.3", "02:0a:00:00:00:0b"  # nobody's
OWN_MAC = "02:0a:00:00:00:0c"  # of a second vxlan device behind the kernel's VTEP
CLIENT = lab.ROOT / "scripts/station-controller"
FILE = lab.RUN / "mappings"
MAPPED = ipaddress.ip_network("10.128.0.0/9")  # whatever is mapped, the host has it

OWN = f'{{ address = "{REMOTE}", mac = "{MAC}" }}'
BOTH = f'remotes = [{OWN}, {{ address = "{DEAD}", mac = "{DEAD_MAC}" }}]'


def config():
    """The lab's with a tunnel to vpc-a and to another VTEP; what is behind them, mappings say."""
    routes = [(overlay.route("vpc-a", prefix, REMOTE), "") for prefix in routers.ROUTERS["vpc-a"].announces]
    return case.replaced(overlay.tunnelled(case.lab_config(), "vpc-a"), *routes, (f'"{REMOTE}/32"', '"10.255.1.0/24"'),
                         (f"remotes = [{OWN}]", BOTH))


def begin():
    overlay.make("vpc-a")
    lab.ip(VPC.ns, f"route add local {MAPPED} dev lo")
    case.fresh(config())
    wait_until(lambda: {row["state"] for row in station.ctl("show", "tunnels")} == {"up"}, 10, "the tunnels are up")


def end():
    station.stop()
    lab.ip(VPC.ns, f"route del local {MAPPED} dev lo")
    overlay.unmake("vpc-a")


# ---- the controller -------------------------------------------------------------------------------

STEADY = {("vpc-a", f"{VPC.addr4}/32"): REMOTE}  # always there, and never changed
truth = {}


def write(mappings):
    text = "".join(f"{vrf} {prefix} {via}\n" for (vrf, prefix), via in {**STEADY, **mappings}.items())
    new = FILE.with_suffix(".new")
    new.write_text(text)
    new.rename(FILE)


def drawn(count, seed):
    draw = random.Random(seed)
    places = draw.sample(range(1 << 23), count)
    ways = (REMOTE, REMOTE, DEAD, f"{REMOTE},{MAC},3 {DEAD},,1")
    return {("vpc-a", f"{MAPPED.network_address + at}/32"): draw.choice(ways) for at in places}


def controller(*options):
    return subprocess.Popen([CLIENT, FILE, "--source", "ctl", "--socket", station.SOCKET, *options],
                            text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def synced():
    client = controller("--once")
    said, _ = client.communicate(timeout=300)
    expect(client.returncode, 0, f"the controller's sync: {said}")


def source(name="ctl"):
    rows = [row for row in station.ctl("show", "mappings") if row["source"] == name]
    return rows[0] if rows else None


def held():
    def via(hops):
        return " ".join(hop["vtep"] for hop in hops)
    rows = station.ctl("show", "mappings", "--vrf", "vpc-a", timeout=300)
    expect({row["state"] for row in rows}, {"active"}, "states of mappings")
    return {(row["vrf"], row["prefix"]): via(row["via"]) for row in rows}


def told():
    return {key: " ".join(hop.split(",")[0] for hop in via.split()) for key, via in {**STEADY, **truth}.items()}


def addresses(wanted, count):
    """Some mapped addresses that lead to this VTEP alone."""
    own = [prefix.split("/")[0] for (_, prefix), via in truth.items() if via == wanted]
    return random.sample(own, count)


def talk(*lines, name="other"):
    """Lines as a controller writes them: the rows that are answered."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(20)
        connection.connect(str(station.SOCKET))
        whole = [{"v": 1, "request": "mappings", "source": name}, *lines]
        connection.sendall(b"".join((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in whole))
        connection.shutdown(socket.SHUT_WR)
        answers = [json.loads(line) for line in connection.makefile("rb")]
    return [row for line in answers for row in line.get("rows", [line])]


def add(prefix, vtep, vrf="vpc-a"):
    return {"add": {"vrf": vrf, "prefix": prefix, "via": [{"vtep": vtep}]}}


# ---- tests ----------------------------------------------------------------------------------------

def test_a_sync_leads_packets_into_tunnels():
    truth.update(drawn(COUNT, 1))
    write(truth)
    expect(traffic.ping(A, VPC.addr4, count=1, wait=0.3), 0, "replies before there is a mapping")
    synced()
    answered(A, VPC.addr4, "a to vpc-a by its mapping")
    for address in addresses(REMOTE, 5):
        answered(A, address, "a mapped address")
    for address in addresses(DEAD, 2):
        expect(traffic.ping(A, address, count=1, wait=0.3), 0, f"replies from {address}, which is at another VTEP")
    row = source()
    expect((row["mappings"], row["inactive"], row["vrfs"], row["state"]), (COUNT + 1, 0, 1, "lost"), f"show mappings: {row}")
    expect(held(), told(), "the mappings, read back")
    [looked] = station.lookup_many("vpc-a", addresses(REMOTE, 1))
    expect(looked[1], REMOTE, "lookup")


def test_a_killed_controller_costs_nothing_that_does_not_change():
    draw = random.Random(2)
    with steady.Steady("a", ["vpc-a"], pps=500) as stream:
        for kill in range(KILLS):
            for key in draw.sample(list(truth), CHURN):
                del truth[key]
            truth.update(drawn(CHURN, 100 + kill))
            write(truth)
            client = controller()
            time.sleep(draw.uniform(0.05, 0.6) * (10 if ALL else 1))
            client.send_signal(signal.SIGKILL)
            client.communicate()
            wait_until(lambda: source()["state"] == "lost", 5, "the loss is noticed")
        synced()
    expect(stream.loss.lost, 0, f"datagrams lost of {stream.loss.sent} to a mapping that did not change")
    expect(held(), told(), "after the last sync")
    expect(source()["mappings"], len(truth) + 1, "mappings")
    kinds = {event["kind"] for event in station.lines("events", "--since", "0")}
    require({"mappings_connected", "mappings_lost", "mappings_synced"} <= kinds, f"events: {kinds}")


def test_what_changes_is_followed():
    client = controller()
    try:
        wait_until(lambda: source()["state"] == "connected" and source()["syncing"] is None, 60, "the sync has ended")
        [good], [dead] = addresses(REMOTE, 1), addresses(DEAD, 1)
        truth[("vpc-a", f"{dead}/32")] = REMOTE
        truth[("vpc-a", f"{good}/32")] = DEAD
        write(truth)
        wait_until(lambda: station.lookup_many("vpc-a", [good])[0][1] == DEAD, 60 if ALL else 10, "the change")
        answered(A, dead, "a mapped address that moved")
        expect(traffic.ping(A, good, count=1, wait=0.3), 0, "replies from the one that moved away")
    finally:
        client.kill()
        client.communicate()


def test_a_mac_of_its_own_is_where_frames_go():
    before = station.ctl("show", "tunnels")
    with_mac = {"add": {"vrf": "vpc-a", "prefix": "10.2.9.9/32", "via": [{"vtep": REMOTE, "mac": OWN_MAC}]}}
    write({**truth, ("vpc-a", "10.2.9.9/32"): f"{REMOTE},{OWN_MAC}"})
    synced()
    [row] = station.ctl("explain", "--vif", "a", "--from", A.addr4, "--to", "10.2.9.9")
    require(row["egress"]["mac"] == OWN_MAC, f"{with_mac}: {row['egress']}")
    expect(station.ctl("show", "tunnels"), before, "tunnels")
    write(truth)
    synced()


def test_the_station_forwards_by_them_though_it_was_killed():
    wait_until(lambda: time.time() - os.stat(lab.RUN / "state/mappings.json").st_mtime < 5, 15, "they are on disk")
    time.sleep(1.5)
    station.stop(signal.SIGKILL)
    station.start()
    wait_until(lambda: {row["state"] for row in station.ctl("show", "tunnels")} == {"up"}, 10, "the tunnels are up")
    row = source()
    expect((row["state"], row["mappings"], row["inactive"]), ("lost", len(truth) + 1, 0), "show mappings")
    require(row["generation"] is not None, row)
    answered(A, VPC.addr4, "a to vpc-a without a controller")
    for address in addresses(REMOTE, 3):
        answered(A, address, "a mapped address without a controller")
    expect(held(), told(), "the mappings")


def test_what_the_configuration_has_not_leads_nowhere():
    less = case.replaced(config(), (BOTH, f'remotes = [{{ address = "{DEAD}", mac = "{DEAD_MAC}" }}]'))
    station.write_config(less)
    station.ctl("reload")
    require(source()["inactive"] > 1, source())
    expect(traffic.ping(A, VPC.addr4, count=1, wait=0.3), 0, "replies through a tunnel that is not configured")
    station.write_config(config())
    station.ctl("reload")
    expect(source()["inactive"], 0, "inactive mappings")
    answered(A, VPC.addr4, "a to vpc-a with its VTEP")


def test_tenants_stay_apart_and_wrong_lines_change_nothing():
    for line, says in [
        (add("10.9.0.0/24", REMOTE, vrf="vpc-b"), f"{REMOTE} is no remote of a tunnel in vrf \"vpc-b\""),
        (add("10.9.0.0/24", REMOTE, vrf="fabric"), "no remote of a tunnel in vrf \"fabric\""),
        (add("10.9.0.0/24", "10.255.1.9"), "10.255.1.9 is no remote"),
        (add("10.9.0.1/24", REMOTE), "write \"10.9.0.0/24\""),
        (add("10.9.0.0/24", REMOTE, vrf="nobody"), "there is no vrf"),
        (b"\xff\x00", "line 1 column 1"),
    ]:
        _, row, _ = talk(add("10.9.9.0/24", REMOTE), line, {"commit": {}}, name="ctl")
        expect((row["applied"], row["line"], row["refused_lines"]), (False, 3, 1), f"{line}: {row}")
        require(says in row["refused"][0]["message"], f"{line}: {row}")
    _, row, _ = talk(add("10.9.9.0/24", REMOTE), {"commit": {}}, name="other")
    require("has mappings of source \"ctl\"" in row["refused"][0]["message"], row)
    with contextlib.suppress(ConnectionResetError):  # the station does not read the rest
        require("longer than 64 KiB" in talk(b"x" * 70_000)[-1]["error"]["message"], "a long line")
    require("is no name" in talk(name="no name")[0]["error"]["message"], "a source without a name")
    expect(held(), told(), "the mappings")
    expect([row["source"] for row in station.ctl("show", "mappings")], ["ctl"], "sources")


def test_a_sync_of_nothing_deletes_all():
    FILE.write_text("# nothing\n")
    synced()
    expect((source()["mappings"], station.ctl("show", "mappings", "--vrf", "vpc-a")), (0, []), "mappings")
    expect(traffic.ping(A, VPC.addr4, count=1, wait=0.3), 0, "replies without a mapping")
