"""Tables on a terminal of 80 columns, what is left out there, filters, sorting, colours, and JSON in its envelope.

Customer a has a session with its router, a real BIRD."""

import contextlib
import json
import re
import subprocess

import case
import peers
import station
import terminal
from case import expect, replaced, require, wait_until

PEER = "169.254.0.2"
VIF = 'addresses = ["169.254.0.1/30", "fd00:a::1/64"]'
SESSION = f"""customer = "Acme Ltd"
description = "data centre, second line of the northern site"

[[vif.bgp]]
peer = "{PEER}"
peer_as = 65001
local_as = 64512
"""
UNDO = contextlib.ExitStack()
COLOR = re.compile(r"\x1b\[[0-9;]*m")
TABLES = [("ports",), ("vifs",), ("vrfs",), ("bgp",), ("bgp", "a", "routes", "received"), ("routes", "--vrf", "vpc-a"), ("neighbors",),
          ("sla",), ("outages",), ("workers",), ("consistency",), ("vifs", "--rate"), ("ports", "--rate", "--l1"), ("bandwidth",), ("acl",),
          ("tunnels",), ("drains",), ("bgp", "a", "routes", "withheld")]


def begin():
    case.fresh(replaced(case.lab_config(), (VIF, f"{VIF}\n{SESSION}")))
    UNDO.enter_context(peers.Router("a", 65001, {4: ["10.99.0.0/16", "0.0.0.0/0"]}))
    wait_until(lambda: peers.established("a") and peers.sessions("a")["a", PEER]["accepted"] == 1, 60, "a's session and its route")


def end():
    UNDO.close()
    station.stop()


def on_terminal(*words, columns=80, **environment):
    """What `stationctl WORDS` writes on a terminal."""
    said, code = terminal.written(station.command(*words), columns, **environment)
    expect(code, 0, f"exit code of {words}: {said!r}")
    return said


def heading(text):
    return text.splitlines()[0].split("  ")


def test_tables_fit_the_terminal_and_say_what_they_leave_out():
    for words in TABLES:
        text = COLOR.sub("", on_terminal("show", *words))
        lines = text.split("\n\n", 1)[0].splitlines()
        widest = max(map(len, lines))
        require(widest <= 80 or "(-w shows more" in max(lines, key=len), f"{words}: {widest} columns:\n{text}")
        whole = {word.strip() for word in heading(station.shown("show", *words)) if word}
        here = {word.strip() for word in heading(text) if word}
        more = [line for line in lines if line.startswith("(-w shows more: ")]
        expect(here | {word for line in more for word in line[len("(-w shows more: "):-1].split(", ")}, whole, f"columns of {words}")
        expect(bool(more), here != whole, f"{words} says what it leaves out")
        wide = COLOR.sub("", on_terminal("show", *words, "-w"))
        expect({word.strip() for word in heading(wide) if word}, whole, f"columns of {words} -w")
    for words, wanted in [(("vifs",), {"VIF", "STATE", "PORT", "VLAN", "VRF", "CUSTOMER"}), (("bgp",), {"VIF", "PEER", "STATE", "LAST ERROR"}),
                          (("ports",), {"PORT", "LINK", "DROPS"}), (("sla",), {"VIF", "AVAILABILITY", "DOWN"})]:
        here = {word.strip() for word in heading(COLOR.sub("", on_terminal("show", *words)))}
        require(wanted <= here, f"{words} in 80 columns: {here}")


def test_colours_are_for_terminals_that_want_them():
    require(re.search(r"\x1b\[38;5;10mup", on_terminal("show", "ports")), "an up link is green")
    expect(COLOR.findall(on_terminal("show", "ports", NO_COLOR="1")), [], "colours with NO_COLOR")
    expect(COLOR.findall(station.shown("show", "ports")), [], "colours in a pipe")


def test_filters_and_order():
    ports = {row["name"]: row["port"] for row in station.ctl("show", "vifs")}
    on_port = {name for name, port in ports.items() if port == "cust0"}
    for what in ("vifs", "sla"):
        rows = station.ctl("show", what, "--port", "cust0")
        expect({row.get("name") or row["vif"] for row in rows}, on_port, f"{what} of a port")
    expect([row["name"] for row in station.ctl("show", "ports", "--port", "cust0")], ["cust0"], "the port alone")
    expect([row["vif"] for row in station.ctl("show", "bgp", "--state", "established")], ["a"], "sessions that are up")
    expect(station.ctl("show", "bgp", "--state", "shut"), [], "sessions that are shut")
    rejected = station.ctl("show", "bgp", "a", "routes", "received", "--state", "rejected")
    expect([(row["prefix"], row["cause"]) for row in rejected], [("0.0.0.0/0", "default_route")], "routes that are rejected")
    require('there is no port "x"' in case.refused("show", "vifs", "--port", "x"), "a port that is not there")
    names = lambda *words: [line.split()[0] for line in station.shown("show", "vifs", *words).splitlines()[1:]]
    expect(names("--sort", "vif"), sorted(ports), "VIFs by name")
    expect(names("--sort", "-vif"), sorted(ports, reverse=True), "VIFs by name, the last first")
    done = subprocess.run(station.command("show", "vifs", "--sort", "colour"), text=True, capture_output=True, timeout=20, check=False)
    require(done.returncode == 2 and "sort by vif, port" in done.stderr, done)


def test_json_is_in_one_envelope():
    for words, what in [(("show", "vifs"), "rows"), (("show", "bgp", "--state", "none"), "rows"), (("config", "history"), "rows"), (("version",), "result")]:
        done = station.tried(*words)
        answer = json.loads(done.stdout)
        expect((sorted(answer), answer["version"]), (sorted(["version", "time", what]), 1), f"envelope of {words}")
        require(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", answer["time"]), answer["time"])
    done = station.tried("show", "vifs", "--port", "x")
    answer = json.loads(done.stderr)
    expect((done.returncode, done.stdout, answer["error"]["kind"], answer["version"]), (1, "", "not_found", 1), "an error")
