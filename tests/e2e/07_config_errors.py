"""`stationd check` refuses a bad file whole and names its line; the daemon does not start with one."""

import re
import shlex

import case
import lab
import station
from case import expect, refused, replaced, require

FILE = lab.RUN / "candidate.toml"


def line_of(text, piece, nth=1):
    """The number of the line with the nth occurrence of a piece."""
    at = -1
    for _ in range(nth):
        at = text.index(piece, at + 1)
    return text.count("\n", 0, at) + 1


# (what is wrong, what is replaced, by what, the piece in whose line the error is and which occurrence)
FAULTS = [
    ("an unknown field", 'name = "lab"', 'nmae = "lab"', "nmae", 1),
    ("an unknown table", '[station]', '[[porrt]]\nname = "x"\n\n[station]', "porrt", 1),
    ("not TOML", 'role = "core"', 'role = core"', 'role = core"', 1),
    ("a wrong type", 'vlan = "100"', "vlan = true", "vlan = true", 1),
    ("VLAN id 0", 'vlan = "100"', 'vlan = "0"', 'vlan = "0"', 1),
    ("VLAN id 4095", 'vlan = "100"', 'vlan = "4095"', 'vlan = "4095"', 1),
    ("three tags", 'vlan = "500.10"', 'vlan = "500.10.1"', "500.10.1", 1),
    ("the same VLAN id twice on a port", 'vlan = "200"', 'vlan = "100"', 'vlan = "100"', 3),
    ("one tag and two on an outer id", 'vlan = "500.10"', 'vlan = "100.10"', "100.10", 1),
    ("the same name twice", 'name = "a2"', 'name = "a"', 'name = "a"', 2),
    ("a name with capitals", 'name = "a2"', 'name = "A2"', "A2", 1),
    ("an unknown port", 'port = "cust1"', 'port = "cust9"', "cust9", 1),
    ("an unknown VRF", 'vrf = "vpc-b"', 'vrf = "vpc-z"', "vpc-z", 1),
    ("a kind that does not fit the VRF", 'kind = "public"\nvrf = "public"', 'kind = "private"\nvrf = "public"',
     'kind = "private"', 4),
    ("a kind on a core port", 'vlan = "1100"', 'vlan = "1100"\nkind = "private"', 'kind = "private"', 3),
    ("overlapping subnets in a VRF", '"169.254.0.5/30"', '"169.254.0.2/30"', '"169.254.0.2/30"', 1),
    ("host bits in a prefix", '"10.1.0.0/16"', '"10.1.0.1/16"', '"10.1.0.1/16"', 1),
    ("a prefix twice in a VRF", '"10.3.0.0/16"', '"10.1.0.0/16"', '"10.1.0.0/16"', 2),
    ("a next hop off the link", '"169.254.0.6"', '"172.16.0.1"', '"172.16.0.1"', 1),
    ("a next hop that is ourselves", '"169.254.0.6"', '"169.254.0.5"', '"169.254.0.5"', 1),
    ("a multicast address", '"169.254.0.5/30"', '"224.0.0.5/30"', '"224.0.0.5/30"', 1),
    ("a loopback address", '"169.254.0.5/30"', '"127.0.0.1/30"', '"127.0.0.1/30"', 1),
    ("an MTU too small", 'vlan = "1100"', 'vlan = "1100"\nmtu = 100', "mtu = 100", 1),
    ("an MTU below IPv6's", 'vlan = "1100"', 'vlan = "1100"\nmtu = 1000', "mtu = 1000", 1),
    ("a weight of 65", '{ address = "169.254.0.6" }', '{ address = "169.254.0.6", weight = 65 }', "weight = 65", 1),
    ("no next hop", '[{ address = "169.254.0.6" }]', "[]", "via = []", 1),
    ("a path with a NUL", "stationd.sock", "station\\u0000d.sock", "u0000", 1),
    ("a ring that is no power of two", '[station]', '[station]\nring = 1000', "ring = 1000", 1),
]


def test_the_labs_configuration_is_good():
    FILE.write_text(case.lab_config())
    code, output = station.check(FILE)
    expect(code, 0, f"exit code of check:\n{output}")


def test_each_fault_is_refused_with_its_line():
    faults = []
    for name, old, new, piece, nth in FAULTS:
        text = replaced(case.lab_config(), (old, new))
        FILE.write_text(text)
        code, output = station.check(FILE)
        line = line_of(text, piece, nth)
        if code == 0:
            faults.append(f"{name}: accepted")
        elif f":{line}:" not in output and f"line {line}" not in output:
            faults.append(f"{name}: line {line} is not named in:\n{output}")
    require(not faults, "\n".join(["", *faults]))


def test_a_person_at_a_terminal_sees_the_line():
    FILE.write_text(replaced(case.lab_config(), ('vlan = "100"', 'vlan = "4095"')))
    command = shlex.join([str(station.BIN / "stationd"), "check", str(FILE)])
    output = lab.run("script", "-qc", command, "/dev/null", check=False)
    for piece in ['vlan = "4095"', "╰── ", "help: "]:
        require(piece in re.sub(r"\x1b\[[0-9;]*m", "", output), f"{piece!r} is not in:\n{output}")


def test_a_missing_file_is_an_error():
    code, output = station.check(lab.RUN / "nowhere.toml")
    require(code != 0 and "nowhere.toml" in output, f"exit {code}: {output}")


def test_a_route_list_names_the_line_of_its_own_file():
    (lab.RUN / "table.txt").write_text("# a comment\n10.64.0.0/16\n10.65.0.0/99\n")
    FILE.write_text(case.lab_config() + '\n[[route_list]]\nvrf = "vpc-a"\nfile = "table.txt"\n'
                    'via = [{ address = "169.254.255.2" }]\n')
    code, output = station.check(FILE)
    require(code != 0 and "table.txt" in output and "3" in output and "10.65.0.0/99" in output, f"exit {code}: {output}")


def test_the_daemon_does_not_start_with_a_bad_file():
    station.stop()
    FILE.write_text(replaced(case.lab_config(), ('vlan = "100"', 'vlan = "4095"')))
    try:
        station.start(FILE.read_text())
    except RuntimeError as error:
        require("4095" in str(error), f"the log does not say why: {error}")
    else:
        raise AssertionError("it started")
    station.start(case.lab_config())


def test_a_bad_reload_changes_nothing():
    good = station.CONFIG.read_text()
    station.CONFIG.write_text(replaced(good, ('vlan = "100"', 'vlan = "4095"')))
    why = refused("reload")
    require("4095" in why, f"the refusal does not say why: {why}")
    station.CONFIG.write_text(good)
    case.learn()
    with case.Stream("a", "vpc-a", pps=2_000, seconds=0.5) as stream:
        sent, arrived = stream.finish()
    expect(arrived, sent, "frames after a refused reload")
