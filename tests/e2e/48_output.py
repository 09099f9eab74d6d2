"""What stationctl prints: station-output(7), each command of which is run as it stands there, on a terminal of 80 columns.

Tables have the columns that the page says, and other answers begin as there. STATION_WRITE_MANUAL=1 writes the page anew.
Customer a has a session with its router, a real BIRD, which announces a default route too."""

import contextlib
import os
import re
import shlex

import case
import lab
import peers
import station
import terminal
from case import HOSTS, Stream, expect, replaced, require, wait_until
from frames import ETH_IPV4, UDP, Raw, datagram, eth, ipv4, udp

PAGE = lab.ROOT / "scripts/man/station-output.7"
A, PEER = HOSTS["a"], "169.254.0.2"
VIF = 'addresses = ["169.254.0.1/30", "fd00:a::1/64"]'
SESSION = f"""customer = "Acme Ltd"
circuit = "DX-4711"
bandwidth = "500M"
acl_in = "web"

[[vif.bgp]]
peer = "{PEER}"
peer_as = 65001
local_as = 64512
export = ["10.2.0.0/16"]

[[acl]]
name = "web"
rules = ["deny tcp to any port 25", "permit ip"]
"""
UNDO = contextlib.ExitStack()
HIDDEN = re.compile(r"^\(-w shows more: (.*)\)$", re.MULTILINE)
COMMAND = re.compile(r"^\.Bd -literal\n([$#]) (.*)\n((?:(?!\.Ed).*\n)*)\.Ed$", re.MULTILINE)


def begin():
    case.fresh(replaced(case.lab_config(), (VIF, f"{VIF}\n{SESSION}")))
    UNDO.enter_context(peers.Router("a", 65001, {4: ["10.99.0.0/16", "0.0.0.0/0"]}))
    wait_until(lambda: peers.established("a") and peers.sessions("a")["a", PEER]["accepted"] == 1, 60, "a's session and its route")
    # Something of each kind happens.
    station.ctl("vif", "set", "e", "circuit=DX-4712", "--comment", "order 4711")
    station.ctl("vif", "down", "e")
    station.ctl("vif", "up", "e")
    packet = ipv4("10.7.0.1", "10.7.0.2", UDP, udp("10.7.0.1", "10.7.0.2", b"hello"))
    with Raw("st-wire", "cust0") as wire:
        wire.send(eth(A.port_mac, "02:77:00:00:00:09", ETH_IPV4, packet, (310,)), 31)
    with Raw(A.ns) as a:
        a.send(datagram(A, "172.16.0.1", "10.2.0.10"), 5)
    with Stream("a", "vpc-a", pps=500, seconds=4) as stream:
        stream.finish()
    (lab.RUN / "new.toml").write_text(station.CONFIG.read_text().replace("DX-4712", "DX-4713"))


def end():
    UNDO.close()
    station.stop()


def written(command):
    """What a command of the page writes on a terminal of 80 columns, or where it goes on, in a pipe."""
    path = f"{station.BIN}:{os.environ['PATH']}"
    environment = {"PATH": path, "STATION_SOCKET": str(station.SOCKET), "NO_COLOR": "1", "PWD": str(lab.RUN)}
    text, code = terminal.written(["sh", "-c", f"cd {shlex.quote(str(lab.RUN))}; {command}"], **environment)
    refused = text.startswith("stationctl: ") or '"error":' in text
    expect(code, int(refused), f"exit code of {command}: {text}")
    return text.rstrip("\n") + "\n"


def plain(text):
    """A page's lines as they are printed."""
    return re.sub(r"^\\&", "", text.replace("\\-", "-").replace("\\e", "\\"), flags=re.MULTILINE)


def roff(text):
    return re.sub(r"^(?=[.'])", r"\\&", text.replace("\\", "\\e").replace("-", "\\-"), flags=re.MULTILINE)


def is_table(text):
    first = text.splitlines()[0]
    return first.upper() == first and "  " in first


def columns(text):
    """Those of a table, with those that it leaves out."""
    head = [word.strip() for word in text.splitlines()[0].split("  ") if word.strip()]
    return set(head) | {word for more in HIDDEN.findall(text) for word in more.split(", ")}


def beginning(text):
    """The first line without its numbers."""
    return re.sub(r"[0-9a-f:.]*\d[\dTZ:.a-f]*", "#", " ".join(text.splitlines()[0].split()))


def test_each_command_prints_what_the_page_says():
    page = PAGE.read_text()
    commands = COMMAND.findall(page)
    require(len(commands) > 25, f"commands of the page: {len(commands)}")
    with Stream("b", "vpc-b", pps=50, seconds=300):
        for prompt, command, said in commands:
            now, then = written(plain(command)), plain(said)
            if os.environ.get("STATION_WRITE_MANUAL"):
                page = page.replace(f"{prompt} {command}\n{said}.Ed", f"{prompt} {command}\n{roff(now)}.Ed")
                continue
            expect(is_table(now), is_table(then), f"{command} prints a table:\n{now}")
            shape = columns if is_table(now) else beginning
            expect(shape(now), shape(then), f"what {command} prints")
    if os.environ.get("STATION_WRITE_MANUAL"):
        PAGE.write_text(page)
