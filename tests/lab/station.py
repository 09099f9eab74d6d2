"""The station under test: start it, stop it, ask it, and read its counters."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

import lab

BIN = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", lab.ROOT / "target")) / "release"
CONFIG = lab.RUN / "station.toml"
SOCKET = lab.RUN / "stationd.sock"
LOG = lab.RUN / "stationd.log"
PIDFILE = lab.RUN / "stationd.pid"


class Refused(Exception):
    """`stationctl` said no; the text is what it said."""

    def __init__(self, code, text):
        super().__init__(f"exit {code}: {text}")
        self.code = code
        self.text = text


# What may cut live service, and is refused without a terminal to ask at.
CUTTING = {("vif", "del"), ("vif", "down"), ("bgp", "reset"), ("bgp", "del"), ("bgp", "set"), ("vif", "set"), ("vrf", "set"), ("port", "set"), ("port", "down"), ("config", "apply"), ("config", "rollback"), ("reload",), ("exchange", "del"), ("exchange", "set"), ("stop",)}


def command(*words):
    """`stationctl WORDS`, as a program's arguments."""
    return [str(word) for word in [BIN / "stationctl", "--socket", SOCKET, *words]]


def tried(*words, timeout=60, stdin=None):
    """`stationctl --json WORDS`: its exit code and what it wrote."""
    return subprocess.run(command("--json", *words), text=True, input=stdin, timeout=timeout, capture_output=True, check=False)


def ctl(*words, check=True, timeout=60, stdin=None, yes=True):
    """`stationctl --json WORDS`: its answer. `yes`: whatever it cuts."""
    consent = ["--yes"] if yes and {words[:1], words[:2]} & CUTTING else []
    done = tried(*words, *consent, timeout=timeout, stdin=stdin)
    if done.returncode and check:
        raise Refused(done.returncode, why(done.stderr))
    return answer(done.stdout) if done.stdout.strip() else {}


def answer(text):
    """The rows or the result of a JSON answer."""
    envelope = json.loads(text)
    assert envelope["version"] == 1 and envelope["time"].endswith("Z"), envelope
    return envelope["rows"] if "rows" in envelope else envelope["result"]


def lines(*words):
    """`stationctl --json WORDS`, which answers by an object a line."""
    done = tried(*words)
    if done.returncode:
        raise Refused(done.returncode, why(done.stderr))
    return [json.loads(line) for line in done.stdout.splitlines()]


def shown(*words):
    """What people see of `stationctl WORDS`."""
    return subprocess.run(command(*words), text=True, capture_output=True, check=True, timeout=60).stdout


def why(said):
    """What `stationctl --json` said on standard error."""
    try:
        return json.loads(said)["error"]["message"]
    except (json.JSONDecodeError, KeyError):
        return said.strip()


def ports():
    """`show ports` by name; `up`: whether the link is."""
    return {row["name"]: {**row, "up": row["link"] == "up"} for row in ctl("show", "ports")}


def route_counts(vrf):
    """How many routes a VRF has: {4: n, 6: n}."""
    [row] = [row for row in ctl("show", "vrfs") if row["name"] == vrf]
    return {4: row["ipv4_routes"], 6: row["ipv6_routes"]}


def lookup_many(vrf, addresses):
    """(prefix, next hop) for each address, by the admin protocol itself: a process each would take minutes."""
    answers = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(10)
        connection.connect(str(SOCKET))
        with connection.makefile("rb") as lines:
            for address in addresses:
                request = {"v": 1, "request": "lookup", "vrf": vrf, "address": address}
                connection.sendall(json.dumps(request).encode() + b"\n")
                answer = json.loads(lines.readline())
                if "error" in answer:
                    raise Refused(1, f"lookup of {address}: {answer['error']}")
                result = answer["result"]
                answers.append((result["prefix"], result["via"][0]["next_hop"] if result["via"] else None))
    return answers


def check(path):
    """`stationd check FILE`: (exit code, what it printed)."""
    done = subprocess.run([BIN / "stationd", "check", path], text=True, timeout=120,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return done.returncode, done.stdout


def write_config(text=None):
    """Puts a configuration in place; the lab's own without `text`."""
    CONFIG.write_text((lab.HERE / "station.toml").read_text() if text is None else text)
    return CONFIG


def running():
    """The pid of the lab's stationd, if it lives."""
    try:
        pid = int(PIDFILE.read_text())
        if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() != "stationd":
            return None
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return None if state == "Z" else pid
    except (FileNotFoundError, ValueError, ProcessLookupError):
        return None


def bird():
    """The pid of the station's BIRD, if it lives."""
    try:
        pid = int((lab.RUN / "bird/run/pid").read_text())
        return pid if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == "bird" else None
    except (FileNotFoundError, ValueError, ProcessLookupError):
        return None


def threads(read, pid=None):
    """What `read` says of each thread of a process, the station if none is named; those that end meanwhile are left out."""
    said = []
    for task in pathlib.Path(f"/proc/{pid or running()}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            said.append(read(task))
    return said


def name_of(task):
    """A thread's name."""
    return (task / "comm").read_text().strip()


_children = {}


# nsenter, not `ip netns exec`: that would mount another /sys, and the pinned links would go with it.
ENTER = ("nsenter", "--net=/run/netns/st-station", "--")


def start(text=None, wait=True, enter=ENTER, log=None):
    """Starts stationd in its namespace and waits until it answers. `text`: another configuration; `log`: another
    file than the log."""
    if text is not None or not CONFIG.exists():
        write_config(text)
    command = [*enter, str(BIN / "stationd"), "--config", str(CONFIG)]
    with LOG.open("ab") as usual:
        to = usual if log is None else log
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=to, stderr=to, start_new_session=True)
    PIDFILE.write_text(f"{child.pid}\n")  # what enters the namespace becomes stationd
    _children[child.pid] = child
    if wait:
        wait_ready(child)
    return child.pid


def wait_ready(child=None, limit=60.0):
    end = time.monotonic() + limit
    while time.monotonic() < end:
        if child and child.poll() is not None:
            raise RuntimeError(f"stationd ended with {child.returncode}:\n{tail(LOG)}")
        if SOCKET.exists():
            try:
                ctl("version")
                return
            except (Refused, json.JSONDecodeError):
                pass
        time.sleep(0.01)
    raise RuntimeError(f"stationd does not answer after {limit} s:\n{tail(LOG)}")


def tail(path, lines=20):
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


def stop(how=signal.SIGTERM, limit=20.0):
    """Ends stationd by its pid and waits until it is gone."""
    pid = running()
    if pid is None:
        return
    os.kill(pid, how)
    child = _children.pop(pid, None)
    if child:
        try:
            child.wait(limit)
        except subprocess.TimeoutExpired:
            os.kill(pid, signal.SIGKILL)
            child.wait()
            raise RuntimeError(f"stationd did not end within {limit} s of signal {how}") from None
        return
    end = time.monotonic() + limit
    while running() and time.monotonic() < end:
        time.sleep(0.02)


def installed():
    return all((BIN / name).exists() for name in ["stationd", "stationctl"]) and shutil.which("nsenter")
