"""What operators do, each with at most two commands: the table "TASKS" of station-operations(7), run as it stands there.

Customer a has a session with its router, a real BIRD, which announces a default route too; its VIF's customer is known."""

import contextlib
import os
import re
import subprocess

import case
import lab
import peers
import station
from case import HOSTS, Stream, expect, replaced, require, wait_until
from frames import ETH_IPV4, UDP, Raw, datagram, eth, ipv4, udp

MANUAL = lab.ROOT / "scripts/man/station-operations.7"
A, PEER = HOSTS["a"], "169.254.0.2"
VIF = 'addresses = ["169.254.0.1/30", "fd00:a::1/64"]'
SESSION = f"""customer = "Acme Ltd"

[[vif.bgp]]
peer = "{PEER}"
peer_as = 65001
local_as = 64512
export = ["10.2.0.0/16"]
"""
ROUTE = """
[[route]]
vrf = "vpc-a"
prefix = "10.77.0.0/16"
action = "blackhole"
"""
UNDO = contextlib.ExitStack()


def begin():
    case.fresh(replaced(case.lab_config(), (VIF, f"{VIF}\n{SESSION}")) + ROUTE)
    UNDO.enter_context(peers.Router("a", 65001, {4: ["10.99.0.0/16", "0.0.0.0/0"]}))
    wait_until(lambda: peers.established("a"), 60, "a's session")


def end():
    UNDO.close()
    station.stop()


def tasks():
    """Title -> commands, as the manual has them."""
    text = MANUAL.read_text().split(".Sh TASKS\n", 1)[1].split("\n.Sh ", 1)[0]
    found = {}
    for line in text.splitlines():
        if line.startswith(".It "):
            title = line[4:]
            found[title] = []
        elif line.startswith(".Dl "):
            found[title].append(line[4:].replace("\\-", "-").replace("\\&", ""))
    return found


def run(*commands):
    """What the commands print; all succeed."""
    path = f"{station.BIN}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "STATION_SOCKET": str(station.SOCKET)}
    printed = ""
    for command in commands:
        done = subprocess.run(command, shell=True, cwd=lab.RUN, env=environment, text=True, capture_output=True, timeout=60, check=False)
        expect(done.returncode, 0, f"exit code of {command}: {done.stderr}")
        printed += done.stdout
    return printed


def shows(words, before=lambda: None):
    """A task's check: its commands say this, soon."""
    def check(commands):
        before()
        wait_until(lambda: re.search(words, run(*commands)), 15, f"{commands} says {words}")
    return check


def wrong_vlan():
    packet = ipv4("10.7.0.1", "10.7.0.2", UDP, udp("10.7.0.1", "10.7.0.2", b"hello"))
    with Raw("st-wire", "cust0") as wire:
        wire.send(eth(A.port_mac, "02:77:00:00:00:09", ETH_IPV4, packet, (310,)), 31)


def spoofed():
    with Raw(A.ns) as a:
        a.send(datagram(A, "172.16.0.1", "10.2.0.10"), 5)


def wrong_as(commands):
    station.ctl("bgp", "set", "a", PEER, "peer_as=65009")
    try:
        wait_until(lambda: peers.sessions("a")["a", PEER]["cause"] == "wrong_as", 30, "the session's fault")
        # BIRD says the number that the peer has half a second later.
        shows(r"65009 [\s\S]*Bad peer AS: 65001")(commands)
    finally:
        station.ctl("bgp", "set", "a", PEER, "peer_as=65001")
    wait_until(lambda: peers.established("a"), 60, "a's session again")


def wrong_key(commands):
    (lab.RUN / "a.key").write_text("kept-secret\n")
    station.ctl("bgp", "set", "a", PEER, f"password=@{lab.RUN / 'a.key'}")
    try:
        shows(r"the +peer +does +not +sign")(commands)
        expect(peers.sessions("a")["a", PEER]["cause"], "key_missing", "the session's fault")
        require("kept-secret" not in station.LOG.read_text(), "the log has the password")
    finally:
        station.ctl("bgp", "set", "a", PEER, "--unset", "password")
    wait_until(lambda: peers.established("a"), 60, "a's session again")


def with_traffic(words):
    def check(commands):
        with Stream("a", "vpc-a", pps=500, seconds=20):
            shows(words)(commands)
    return check


def ordered():
    station.ctl("vif", "set", "e", "circuit=DX-1", "--comment", "order 4711")


def rollback(commands):
    text = station.CONFIG.read_text()
    station.ctl("vif", "set", "e", "circuit=DX-2")
    run(*commands)
    expect(station.CONFIG.read_text(), text, "the configuration")


def trial(commands):
    (lab.RUN / "new.toml").write_text(station.CONFIG.read_text().replace("DX-1", "DX-3"))
    run(*commands)
    require("DX-3" in station.CONFIG.read_text(), "the new configuration stays")


def limit(commands):
    run(*commands)
    row = peers.sessions("a")["a", PEER]
    expect((row["max_prefixes"], row["state"]), (500, "established"), "the session")


def down_and_up(kind, name):
    def check(commands):
        expect(len(commands), 2, "commands")
        def up():
            rows = station.ctl("show", f"{kind}s")
            [row] = [row for row in rows if row["name"] == name]
            return row["admin_up"] if kind == "port" else row["state"] == "up"
        for command, state in zip(commands, (False, True)):
            run(command)
            expect(up(), state, f"{kind} {name} is up after {command}")
    return check


def unplugged(commands):
    require("quiet: it is safe to unplug port cust1" in run(commands[0]), "safe to unplug")
    expect([row["name"] for row in station.ctl("show", "drains")], ["cust1"], "drains")
    run(commands[1])
    expect(station.ctl("show", "drains"), [], "drains")


def drilled(commands):
    run(commands[0])
    expect([row["vif"] for row in station.ctl("show", "drills")], ["a"], "drills")
    run(commands[1])
    expect([(row["vif"], row["ended"]) for row in station.ctl("drill", "history")], [("a", "stopped")], "drill history")
    wait_until(lambda: peers.established("a"), 60, "a's session again")


def new_customer(commands):
    run(*commands)
    require("newco" in run("stationctl show vifs --customer Newco"), "the new VIF")


def captured(commands):
    with Stream("a", "vpc-a", pps=100, seconds=20):
        run(*commands)
    require((lab.RUN / "a.pcapng").stat().st_size > 300, "the capture's frames")


CHECKS = {
    "A customer tags with a VLAN id that nobody agreed on": shows(r"31x VLAN 310 from 02:77:00:00:00:09", wrong_vlan),
    "A customer sends from addresses that are not its own": shows(r"spoofed_source[\s\S]*172\.16\.0\.1", spoofed),
    "An address is not reached": shows(r"10\.98\.0\.1 in vrf vpc-a: no route"),
    "What becomes of a packet": shows(r"forward"),
    "Whether the customer's router answers": shows(r"3 received"),
    "A session does not come up": wrong_as,
    "Whether the peer has the same password": wrong_key,
    "Routes of a customer are not taken": shows(r"0\.0\.0\.0/0 .* default_route"),
    "A customer does not get a route": shows(r"10\.2\.0\.0/16 [\s\S]*10\.77\.0\.0/16 .*not_exported"),
    "The largest talker": with_traffic(r"OVER .*\n(a|vpc-a) "),
    "A port is full": with_traffic(r"ON THE WIRE[\s\S]*cust0"),
    "A link is up, but frames are lost": shows(r"cust0 [\s\S]*speed +10\.0 Gbit/s"),
    "What a customer sends and gets": captured,
    "What a customer has": shows(r"VIF [\s\S]*\na .*Acme Ltd"),
    "What has happened": shows(r"a .*169\.254\.0\.2"),
    "Who changed what": shows(r"order 4711[\s\S]*\+circuit = \"DX-1\"", ordered),
    "Take the last change back": rollback,
    "Try a change that takes itself back": trial,
    "A customer needs more prefixes": limit,
    "A VIF is out of service for a while": down_and_up("vif", "e"),
    "A port is to be unplugged, though it is the only way of its customers": unplugged,
    "Test a customer's failover, though some prefixes have no other way": drilled,
    "A port is out of service for a while": down_and_up("port", "cust1"),
    "A new customer": new_customer,
    "When a VIF was out, and why": shows(r"e .*admin"),
    "How available a VIF was": shows(r"a .*up"),
    "Whether every frame is accounted for": shows(r"vif a: received .* = forwarded"),
    "Whether routes are what BGP said": shows(r"vpc-a "),
}


def test_the_manual_and_this_file_have_the_same_tasks():
    found = tasks()
    expect(list(found), list(CHECKS), "tasks of the manual")
    require(len(found) >= 20, "twenty tasks")
    expect({title: len(commands) for title, commands in found.items() if not 1 <= len(commands) <= 2}, {}, "more than two commands")


def test_each_task_is_done_by_its_commands():
    found = tasks()
    for title, check in CHECKS.items():
        try:
            check(found[title])
        except AssertionError as why:
            raise AssertionError(f"{title}: {why}") from why
