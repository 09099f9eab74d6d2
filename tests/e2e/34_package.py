"""From nothing to a station: a first configuration, what systemd is told, and the Debian package in a clean root, with the
capabilities that its unit gives and no others.

The root is made once, by scripts/package/tools, and kept in /var/cache; without a network what needs it is skipped."""

import contextlib
import ctypes
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
import time

import case
import lab
import station
import traffic
from case import HOSTS, expect, require, wait_until

FIRST = lab.RUN / "first.toml"
CONFIG = "/etc/station/station.toml"
UNIT = (lab.ROOT / "scripts/package/station.stationd.service").read_text()
# Debian as it is with nothing but what it cannot be without, and what the package depends on: of scripts/package/tools.
CLEAN = pathlib.Path("/var/cache/station-test/bookworm-1.tar")
UNDO = contextlib.ExitStack()
ROOT = None


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
    case.answered(HOSTS["a"], HOSTS["vpc-a"].addr4, "the station beside it")


class Notify:
    """A socket in systemd's place (sd_notify(3)), and a station that is started with it."""

    def __enter__(self):
        path = lab.RUN / "notify"
        path.unlink(missing_ok=True)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        os.environ.update(NOTIFY_SOCKET=str(path), WATCHDOG_USEC="30000000")
        try:
            station.stop()
            station.start(wait=False)
        finally:
            del os.environ["NOTIFY_SOCKET"], os.environ["WATCHDOG_USEC"]
        return self

    def __exit__(self, *_):
        self.socket.close()

    def next(self, limit):
        """What is told next, as lines; nothing where nothing is within so many seconds."""
        self.socket.settimeout(max(limit, 0.001))
        try:
            return self.socket.recv(4096).decode().splitlines()
        except TimeoutError:
            return []

    def beats(self, seconds, enough=1 << 30):
        """How many beats come within so many seconds."""
        end, count = time.monotonic() + seconds, 0
        while count < enough and (left := end - time.monotonic()) > 0:
            count += "WATCHDOG=1" in self.next(left)
        return count


_libc = ctypes.CDLL(None, use_errno=True)
PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH, WALL = 0x4206, 0x4207, 17, 0x40000000


@contextlib.contextmanager
def hung(thread):
    """One thread of the station does not run: a debugger holds it (ptrace(2)), and no other."""
    def call(request):
        if _libc.ptrace(request, thread, None, None):
            raise OSError(ctypes.get_errno(), f"ptrace {request:#x}")
    call(PTRACE_SEIZE)
    try:
        call(PTRACE_INTERRUPT)
        os.waitpid(thread, WALL)
        yield
    finally:
        call(PTRACE_DETACH)


def thread(name):
    """The thread of this name."""
    [found] = [id for each, id in station.threads(lambda task: (station.name_of(task), int(task.name))) if each == name]
    return found


def test_systemd_is_told_when_it_forwards_and_that_all_threads_go_round():
    with Notify() as notify:
        told = notify.next(60)
        expect(told, ["READY=1", "STATUS=forwarding on 3 ports with 1 workers"], "what is told first")
        # It answers, ports and tables are there: nobody waited for any of it.
        expect({name: port["up"] for name, port in station.ports().items()}, dict.fromkeys(lab.PORTS, True), "the ports")
        expect({row["state"] for row in station.ctl("show", "vifs")}, {"up"}, "the VIFs")
        require(notify.beats(30, enough=3) == 3, "it does not beat")
        for name in ["worker-0", "slowpath", "stationd"]:
            with hung(thread(name)):
                # The last turns before it was held may count for one more.
                count = notify.beats(3.5)
                require(count <= 1, f"{count} beats while {name} hangs")
            require(notify.beats(30, enough=2) == 2, f"no beat after {name} goes on")
        station.stop()
        said = []
        while (told := notify.next(0)):
            said += told
        require("STOPPING=1" in said, said)
    station.start()
    case.learn()


def build():
    """The package, from the release build that is there; lintian and systemd have looked at it."""
    for name in ["mmdebstrap", "lintian", "systemd-analyze"]:
        if not shutil.which(name):
            raise case.Skip(f"{name} is not installed")
    done = subprocess.run([lab.ROOT / "scripts/package/build", "--check"], text=True, timeout=600,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode == 77:
        raise case.Skip(done.stdout.strip().splitlines()[-1])
    expect(done.returncode, 0, f"scripts/package/build --check: {done.stdout}")
    [package] = (station.BIN.parent / "debian").glob("station_*.deb")
    return package


def remove(root):
    """Removes a root, once nothing of this machine's is mounted in it."""
    def mounted():
        mounts = pathlib.Path("/proc/self/mounts").read_text().splitlines()
        return [point for line in mounts if (point := line.split()[1]).startswith(f"{root}/")]
    for point in reversed(mounted()):
        lab.run("umount", "-l", point, check=False)
    expect(mounted(), [], f"what is mounted in {root}")
    shutil.rmtree(root)


def clean_root():
    """A clean Debian, in a directory of its own."""
    root = pathlib.Path(tempfile.mkdtemp(prefix="station-root.", dir="/var/tmp"))
    UNDO.callback(remove, root)
    root.chmod(0o755)
    lab.run("tar", "-C", root, "-xf", CLEAN, "--exclude=./dev/*")
    for name in ["proc", "sys", "dev"]:
        lab.run("mount", "--rbind", f"/{name}", root / name)
        lab.run("mount", "--make-rslave", root / name)
    return root


def inside(*words, user=None, check=True):
    """A command in the clean root; `user`: a group of which a user who is nobody else is a member."""
    who = ["--userspec=54321:54321", f"--groups={user}"] if user else []
    return lab.run("chroot", *who, ROOT, "/usr/bin/env", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", *words,
                   check=check)


def capabilities():
    """What the unit gives, as setpriv(1) has it."""
    lines = re.findall(r"^CapabilityBoundingSet=(.*)$", UNIT, flags=re.MULTILINE)
    return [word.removeprefix("CAP_").lower() for line in lines for word in line.split()]


def test_the_package_is_installed_into_a_clean_root():
    global ROOT
    package = build()
    ROOT = clean_root()
    shutil.copy(package, ROOT / "station.deb")
    said = inside("dpkg", "-i", "/station.deb")
    require("`stationd init` writes /etc/station/station.toml" in said, said)
    for group in ["station-read", "station-admin", "station-mirror"]:
        require(f"\n{group}:" in (ROOT / "etc/group").read_text(), group)
    require(not list(ROOT.glob("etc/systemd/system/*.wants/stationd.service")), "it is enabled before it is configured")
    [version] = re.findall(r"^Version: (.*)-1$", inside("dpkg", "--status", "station"), flags=re.MULTILINE)
    for program in ["stationd", "stationctl"]:
        expect(inside(program, "--version").split()[-1], version, program)
    expect(inside("stationctl", "completions", "bash"), (ROOT / "usr/share/bash-completion/completions/stationctl").read_text(),
           "completions")


def start():
    """The package's station, as its unit starts it but for systemd: its capabilities."""
    bounding = ",".join(["-all", *(f"+{name}" for name in capabilities())])
    with station.LOG.open("ab") as log:
        child = subprocess.Popen([*station.ENTER, "setpriv", f"--bounding-set={bounding}",
                                  "chroot", ROOT, "/usr/bin/stationd", "--config", CONFIG],
                                 stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    UNDO.callback(inside, "stationd", "detach", "--config", CONFIG, check=False)
    UNDO.callback(child.wait, 30)
    UNDO.callback(child.kill)
    UNDO.callback(inside, "stationctl", "stop", "--yes", check=False)
    wait_until(lambda: child.poll() is not None or "uptime_s" in inside("stationctl", "--json", "version", check=False), 60, "it answers")
    expect(child.poll(), None, f"its end: {station.tail(station.LOG)}")
    return child


def test_the_sample_edited_forwards():
    if ROOT is None:
        raise case.Skip("the package is not installed")
    station.stop()
    lab.run(*station.ENTER, station.BIN / "stationd", "detach", "--config", station.CONFIG)
    text = case.replaced((ROOT / "etc/station/station.toml.sample").read_text(),
                         ('interface = "eth1"', 'interface = "cust0"'), ('interface = "eth2"', 'interface = "core0"'),
                         ("bfd = { interval_ms = 300, multiplier = 3 }", ""), ("02:00:00:00:01:02", HOSTS["a"].mac),
                         ('prefix = "10.0.0.0/8"', 'prefix = "10.77.0.0/16"'))
    for sample, ours in [("169.254.100.", "169.254.0."), ("fd00:100::", "fd00:a::"), ("10.255.1.", "169.254.255."), ("fd00:255:1::", "fd00:c::")]:
        text = text.replace(sample, ours)
    config = ROOT / CONFIG[1:]
    config.write_text(text)
    config.chmod(0o600)
    require("correct" in inside("stationd", "check", CONFIG), "check")
    child = start()
    expect(traffic.ping(HOSTS["a"], HOSTS["vpc-a"].addr4), 3, "echo replies through the package's station")
    status = pathlib.Path(f"/proc/{child.pid}/status").read_text()
    has = {name: int(value, 16) for name, value in re.findall(r"^Cap(\w+):\t(\w+)$", status, flags=re.MULTILINE)}
    expect((has["Eff"], bin(has["Bnd"]).count("1")), (has["Bnd"], len(capabilities())), "its capabilities")
    # BIRD is its own user, with no more than the network's.
    pid = (ROOT / "run/station/bird/run/pid").read_text().strip()
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    require(not re.search(r"^Uid:\t0\t", status, flags=re.MULTILINE), status)
    expect(int(re.search(r"^CapEff:\t(\w+)$", status, flags=re.MULTILINE)[1], 16) & ~0x3C00, 0, "BIRD's capabilities beside the network's")


def test_groups_ask_and_change():
    if ROOT is None:
        raise case.Skip("the package is not installed")
    change = ["stationctl", "route", "add", "--vrf", "vpc-a", "10.78.0.0/16", "--via", HOSTS["a"].peer4.split("/")[0]]
    require("vpc-a" in inside("stationctl", "show", "vrfs", user="station-read"), "a reader asks")
    said = inside(*change, user="station-read", check=False)
    require("be root or in the group station-admin" in said, said)
    require("10.78.0.0/16" in inside(*change, user="station-admin"), "an administrator changes")
    said = inside("stationctl", "config", "show", "--secrets", user="station-admin", check=False)
    require("be root or the station's own user" in said, said)
    mirror = ["stationctl", "mirror", "start", "m", "--vif", "a", "--to-port", "core0", "--vlan", "900"]
    said = inside(*mirror, user="station-admin", check=False)
    require("be root or in the group station-mirror" in said, said)
    require("mirror m" in inside(*mirror, user="station-mirror"), "who may mirrors")
    require("a" in inside("stationctl", "show", "mirrors", user="station-mirror"), "who may mirror asks")
    said = inside(*change, user="station-mirror", check=False)
    require("be root or in the group station-admin" in said, said)
    require("mirror m" in inside("stationctl", "mirror", "stop", "m", user="station-mirror"), "who may mirror ends it")
    said = inside("stationctl", "show", "vrfs", user="54321", check=False)
    require("permission denied" in said and "station-read" in said, said)


def running():
    """What an upgrade must leave as it is; events go on meanwhile."""
    found = station.answer(inside("stationctl", "--json", "version"))
    return {key: found[key] for key in ("station", "version", "generation", "configuration", "uptime_s")}


def test_an_upgrade_cuts_nothing_and_a_purge_leaves_nothing():
    if ROOT is None:
        raise case.Skip("the package is not installed")
    before = running()
    inside("dpkg", "-i", "/station.deb")
    after = running()
    require(after.pop("uptime_s") >= before.pop("uptime_s"), f"the station was started anew: {after}")
    expect(after, before, "the station that ran before")
    expect(traffic.ping(HOSTS["a"], HOSTS["vpc-a"].addr4), 3, "echo replies after the upgrade")
    inside("stationctl", "stop", "--yes")
    lab.run(*station.ENTER, "chroot", ROOT, "/usr/bin/stationd", "detach", "--config", CONFIG)
    inside("dpkg", "--purge", "station")
    left = [path for name in ["etc/station", "var/lib/station", "usr/bin/stationd"] if (path := ROOT / name).exists()]
    expect(left, [], "what is left")


def end():
    UNDO.close()
    if not station.running():
        station.start()
