"""From nothing to a station: a first configuration of the interfaces that a server has."""

import case
import lab
import station
from case import expect, require

FIRST = lab.RUN / "first.toml"


def init(*words):
    """`stationd init` in the station's namespace, as a shell would: (exit code, what it said)."""
    done = lab.run(*station.ENTER, "sh", "-c", '"$0" init "$@" 2>&1; echo "exit $?"', station.BIN / "stationd", *words)
    said, _, code = done.rstrip().rpartition("exit ")
    return int(code), said


def test_init_writes_what_check_accepts():
    FIRST.unlink(missing_ok=True)
    code, said = init("--output", FIRST)
    expect((code, said), (0, f"{FIRST}: 3 ports; say in it which are core ports, then add VRFs and VIFs\n"), "init")
    expect(FIRST.stat().st_mode & 0o777, 0o600, "its mode")
    text = FIRST.read_text()
    for port, mac in lab.PORTS.items():
        facts = f"# veth, 10000 Mbit/s, {mac}, 1 queue, MTU {lab.PORT_MTU}, up"
        require(f"{facts}\nname = \"{port}\"\ninterface = \"{port}\"\nrole = \"customer\" " in text, text)
    code, said = station.check(FIRST)
    expect((code, said), (0, f"{FIRST}: 3 ports, 0 VRFs, 0 VIFs, 0 routes: correct\n"), "check")


def test_init_replaces_nothing_without_being_told():
    FIRST.write_text("# mine\n")
    code, said = init("--output", FIRST)
    require(code == 1 and "--force replaces it" in said, said)
    expect(FIRST.read_text(), "# mine\n", "the file")
    expect(init("--output", FIRST, "--force")[0], 0, "with --force")
    require(FIRST.read_text().startswith("# The configuration of this station"), FIRST.read_text())
    code, said = init("--output", "/nonexistent/station.toml")
    require(code == 1 and "--output FILE writes another" in said, said)


def test_init_leaves_the_servers_own_interfaces_alone():
    lab.ip("st-station", "addr add 203.0.113.9/24 dev cust1")
    try:
        code, text = init("--output", "-")
    finally:
        lab.ip("st-station", "addr del 203.0.113.9/24 dev cust1")
    expect(code, 0, "init")
    require('interface = "cust1"' not in text and 'interface = "cust0"' in text, text)
    require("#   cust1: has addresses of the server's own: 203.0.113.9/24\n" in text, text)
    case.answered(case.HOSTS["a"], lab.HOSTS["vpc-a"].addr4, "the station beside it")
