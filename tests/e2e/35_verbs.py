"""Provisioning by verbs: a customer's VRF, VIFs and session are made, changed and taken down by commands alone, each an
edit of the configuration file with a number in the history; customers' words show and filter.

Host a is the customer's router, a real BIRD, and vpc-a its VPC; their VRF is new."""

import contextlib

import case
import peers
import station
import traffic
from case import HOSTS, expect, refused, replaced, require, wait_until

A, VPC, PEER = HOSTS["a"], HOSTS["vpc-a"], "169.254.0.2"
SECRET = "kept-from-the-process-list"
UNDO = contextlib.ExitStack()


def begin():
    """The lab without vpc-a's VRF and all that is in it."""
    text = case.lab_config()
    start, end = text.index('[[vrf]]\nname = "vpc-a"'), text.index('[[vrf]]\nname = "vpc-b"')
    case.fresh(text[:start] + text[end:])


def end():
    UNDO.close()
    station.stop()


def serves():
    up = peers.established("a") and len(station.ctl("show", "routes", "--vrf", "acme", "10.99.0.0/16")) == 1
    return up and traffic.ping(A, traffic.address(VPC, 4)) == 3


def test_a_customer_is_made_by_commands_alone():
    first = station.ctl("version")["configuration"]
    station.ctl("vrf", "add", "acme", "--kind", "vpc", "customer=Acme Ltd")
    station.ctl("vif", "add", "a", "--port", "cust0", "--vlan", "100", "--kind", "private", "--vrf", "acme",
                "--address", "169.254.0.1/30", "--address", "fd00:a::1/64")
    station.ctl("vif", "set", "a", "customer=Acme Ltd", "circuit=DX-4711", "description=the office in Ulm")
    station.ctl("vif", "add", "core", "--port", "core0", "--vlan", "1100", "--vrf", "acme", "--address", "169.254.255.1/30",
                "--address", "fd00:c::1/64")
    station.ctl("route", "add", "--vrf", "acme", "10.2.0.0/16", "--via", "169.254.255.2")
    station.ctl("bgp", "add", "a", PEER, "peer_as=65001", "local_as=64512", "password=@-", stdin=SECRET + "\n")
    expect(station.ctl("version")["configuration"], first + 6, "a number for each change")
    UNDO.enter_context(peers.Router("a", 65001, {4: ["10.99.0.0/16", "10.1.0.0/16"]}))
    text = station.ctl("config", "show", "--secrets")["text"]
    require(f'password = "{SECRET}"' in text, text)
    commands = [row["command"] for row in station.ctl("config", "history")][-6:]
    expect(commands[2], "set vif a circuit=DX-4711 customer=Acme Ltd description=the office in Ulm", "the history's words")
    require("password=(hidden)" in commands[5] and SECRET not in str(commands), commands)
    # The router has no key yet.
    refused("bgp", "set", "a", PEER, "--unset", "passive")
    station.ctl("bgp", "set", "a", PEER, "--unset", "password")
    wait_until(serves, 60, "the customer's session, its route, and packets of it")


def test_fields_change_while_all_runs():
    since = peers.sessions("a")["a", PEER]["since_s"]
    station.ctl("bgp", "set", "a", PEER, "max_prefixes=50", 'import=["10.0.0.0/8 le 24"]')
    row = peers.sessions("a")["a", PEER]
    expect((row["max_prefixes"], row["state"]), (50, "established"), "the session")
    require(row["since_s"] >= since, f"the session began anew: {since} {row}")
    station.ctl("vif", "set", "a", "mtu=1400")
    [row] = [row for row in station.ctl("show", "vifs") if row["name"] == "a"]
    expect((row["mtu"], row["circuit"]), (1400, "DX-4711"), "the VIF")
    station.ctl("vif", "set", "a", "--unset", "mtu")
    why = refused("vif", "set", "a", "mtu=90000")
    require("mtu" in why and "out of range" in why, why)
    why = refused("vif", "set", "a", "mtuu=1400")
    require("mtuu" in why and "is not a known field" in why, why)
    require("--yes goes on" in refused("vif", "set", "a", "vlan=101", yes=False), "a VIF that moves is asked about")
    require("--yes goes on" in refused("bgp", "del", "a", PEER, yes=False), "a session that ends is asked about")
    require("vif a" in refused("vrf", "del", "acme"), "who uses the VRF is said")
    require(serves(), "all runs as before")


def test_a_customer_sees_what_is_its_own():
    def names(*words):
        return {row.get("name") or row.get("vif") for row in station.ctl("show", *words, "--customer", "Acme Ltd")}
    expect(names("vifs"), {"a"}, "its VIFs")
    expect(names("vrfs"), {"acme"}, "its VRFs")
    expect(names("ports"), set(), "its ports")
    expect(names("bgp"), {"a"}, "its sessions")
    expect(names("counters"), {"a"}, "its counters")
    expect(names("sla"), {"a"}, "its availability")
    require("10.99.0.0/16" in {row["prefix"] for row in station.ctl("show", "routes", "--vrf", "acme", "--customer", "Acme Ltd")},
            "routes of its VRF")
    require('no port, VIF or VRF has the customer "Acme"' in refused("show", "vifs", "--customer", "Acme"), "a name that nobody has")


def test_a_port_goes_down_and_up_without_a_restart():
    wait_until(lambda: traffic.ping(HOSTS["b"], traffic.address(HOSTS["vpc-b"], 4)) == 3, 10, "b, on the same port")
    why = refused("port", "down", "cust0", yes=False)
    require("vif a: is set down" in why and "vif b: is set down" in why, why)
    station.ctl("port", "down", "cust0", "--comment", "maintenance 12")
    states = {row["name"]: row["state"] for row in station.ctl("show", "vifs")}
    expect((states["a"], states["b"], states["core"]), ("down", "down", "up"), "VIFs of both ports")
    expect([row["admin_up"] for row in station.ctl("show", "ports") if row["name"] == "cust0"], [False], "the port")
    expect(traffic.ping(HOSTS["b"], traffic.address(HOSTS["vpc-b"], 4)), 0, "replies to b")
    station.ctl("port", "up", "cust0")
    wait_until(serves, 60, "the session and the traffic are back")
    require("no Ethernet address" in refused("port", "set", "cust0", "interface=lo"), "what cannot be a port is said")
    why = refused("config", "apply", "-", stdin=replaced(station.CONFIG.read_text(), ("[station]", "[station]\nmax_vifs = 64")))
    require("needs a restart: max_vifs of [station] changed (memory" in why, why)


def test_a_customer_is_taken_down_by_commands_alone():
    station.ctl("bgp", "del", "a", PEER)
    station.ctl("route", "del", "--vrf", "acme", "10.2.0.0/16")
    station.ctl("vif", "del", "a")
    station.ctl("vif", "del", "core")
    station.ctl("vrf", "del", "acme")
    text = station.CONFIG.read_text()
    require("acme" not in text and "Acme" not in text, text)
    expect(station.ctl("reload", "--dry-run")["changes"], [], "what a reload would change")
    # The ports' counters have frames of VIFs that are gone.
    station.ctl("clear", "counters")
