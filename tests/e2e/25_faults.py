"""What breaks, alone and beside each other, under traffic with sequence numbers; prints what each cost and what the
operator was told. `spread` goes from the core to three next hops on three ports, `bystander` over what the fault
does not touch.

STATION_ALL=1 also tries each pair of faults beside each other, and those that others of the files try by themselves."""

import contextlib
import fcntl
import itertools
import os
import pathlib
import re
import select
import signal
import subprocess
import threading
import time

import case
import lab
import peers
import station
import traffic
from case import HOSTS, expect, refused, replaced, require, wait_until
from steady import Steady

ALL = bool(os.environ.get("STATION_ALL"))
DISK = lab.RUN / "disk"  # a small one: the configuration and the state are on it
ETC = DISK / "etc"  # a mount of its own, which can be made read-only alone
BIRD = lab.RUN / "slow-bird"
TARGET = "10.9.0.10"
B, CORE_B = HOSTS["b"], HOSTS["vpc-b"]
UNDO = contextlib.ExitStack()
TABLE = []
SWITCHED_MS = 150  # link loss to forwarding where others use the machine, too; a quiet one takes below 10
PPS = 1_000


def config(bird=None):
    """The lab's. Tenant A has a prefix behind three next hops on three ports; B's routes come by BGP."""
    text, _ = case.lab_config().split("# ---- transit")
    route = '[[route]]\nvrf = "vpc-b"\nprefix = "10.1.0.0/16"\nvia = [{ address = "169.254.0.2" }]\n'
    session = 'bgp = [{ peer = "169.254.0.2", peer_as = 65001, local_as = 64512 }]\n'
    vlan = 'vlan = "200"\nkind = "private"\nvrf = "vpc-b"\n'
    text = replaced(text, (route, ""), (vlan, vlan + session), ('state = "/run/station-lab/state"', f'state = "{DISK}/state"'))
    if bird:
        text = replaced(text, ("[station]\n", f'[station]\nbird = "{bird}"\n'))
    return text + """
[[vif]]
name = "tgw"
port = "core0"
vlan = "1400"
vrf = "vpc-a"
addresses = ["169.254.254.1/30"]

[[route]]
vrf = "vpc-a"
prefix = "10.9.0.0/16"
via = [{ address = "169.254.0.2" }, { address = "169.254.0.6" }, { address = "169.254.254.2" }]
"""


def begin():
    station.stop()
    DISK.mkdir()
    lab.run("mount", "-t", "tmpfs", "-o", "size=512k,mode=755", "none", DISK)
    UNDO.callback(lab.run, "umount", DISK)
    ETC.mkdir()
    lab.run("mount", "--bind", ETC, ETC)
    UNDO.callback(lab.run, "umount", ETC)
    UNDO.callback(setattr, station, "CONFIG", station.CONFIG)
    UNDO.callback(station.stop)
    station.CONFIG = ETC / "station.toml"
    for name in ("a", "a2", "tgw"):
        lab.ip(HOSTS[name].ns, f"addr add {TARGET}/32 dev lo")
        UNDO.callback(lab.ip, HOSTS[name].ns, f"addr del {TARGET}/32 dev lo")
    lab.ip("st-tgw", "addr add 169.254.254.2/30 dev eth0")
    UNDO.callback(lab.ip, "st-tgw", "addr del 169.254.254.2/30 dev eth0")
    # The real one, but for its check of a configuration, which takes as long as the file beside it says.
    BIRD.write_text(f'#!/bin/sh\nfor word; do [ "$word" = -p ] && [ -f {BIRD}.s ] && sleep "$(cat {BIRD}.s)"; done\nexec bird "$@"\n')
    BIRD.chmod(0o755)
    restart()
    UNDO.enter_context(peers.Router("b", 65001, {4: ["10.1.0.0/16"]}))
    whole()


def end():
    UNDO.close()
    print(markdown())


def markdown():
    """The table, as the manual has it."""
    rows = [("fault", "frames lost", "longest gap, ms", "what the operator was told"), ("---", "---:", "---:", "---"), *TABLE]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


# ---- the station ----------------------------------------------------------------------------------

def restart(bird=BIRD):
    station.stop()
    station.write_config(config(bird))
    station.start()


def bird_pid():
    return int((lab.RUN / "bird/run/pid").read_text())


def reachable(vrf, prefix, count):
    [row] = station.ctl("show", "routes", "--vrf", vrf, prefix) or [{"via": []}]
    return [member["state"] for member in row["via"]] == ["reachable"] * count


def is_whole(bgp=True):
    return (all(port["up"] for port in station.ports().values()) and reachable("vpc-a", "10.9.0.0/16", 3)
            and (not bgp or (peers.established("b") and reachable("vpc-b", "10.1.0.0/16", 1)))
            and traffic.ping(CORE_B, CORE_B.gw4, count=1))


def whole(bgp=True, limit=30):
    """Until everything is as it should be again."""
    def try_it():
        with contextlib.suppress(station.Refused, ValueError):
            return is_whole(bgp)
    wait_until(try_it, limit, f"everything is as it should be: {station.tail(station.LOG)}")
    # Who is reached only when somebody asks is asked now.
    for source, target in [(HOSTS["e"], HOSTS["pub"]), (HOSTS["vpc-a"], HOSTS["a"]), *([(CORE_B, B)] if bgp else [])]:
        wait_until(lambda source=source, target=target: traffic.ping(source, target.addr4) == 3, 10, f"{source.name} reaches {target.name}")


def mended(bgp=True):
    """The same, and where it does not come by itself, by a restart, so that the next fault is met whole."""
    try:
        whole(bgp)
    except AssertionError:
        restart()
        whole()
        raise


def log():
    return station.LOG.read_text(errors="replace") if station.LOG.exists() else ""


def line(text, pattern):
    """The first line of a log that says it, without its time."""
    found = re.search(f".*({pattern}).*", text, re.IGNORECASE)
    return found and re.sub(r"^\S+\s+([A-Z]+)\s+(\S+: )?", r"\1 ", found[0].strip())


def told(pattern, limit=5.0):
    """A line of the log since the fault."""
    def find(since):
        with contextlib.suppress(AssertionError):
            wait_until(lambda: line(log()[since["log"]:], pattern), limit, pattern)
        return line(log()[since["log"]:], pattern)
    return find


def outage(limit=5.0):
    """What `show outages` says since the fault."""
    def new(since):
        return [row for row in station.ctl("show", "outages") if row["start_ms"] >= since["ms"]]

    def find(since):
        with contextlib.suppress(AssertionError):
            wait_until(lambda: new(since), limit, "an outage")
        rows = new(since)
        vifs = {row["vif"] for row in rows}
        return rows and f"`show outages`: {rows[-1]['cause']}, {'all' if None in vifs else len(vifs)} VIFs"
    return find


# ---- a fault --------------------------------------------------------------------------------------

def suffer(name, act, *, lost_ms, told=None, gap_ms=None, bystander=("b", "vpc-b"), after=0.5, bgp=True, spread=True):
    """Runs the traffic, then `act`, which ends when the fault is over and may return what it was told. `lost_ms`: how long
    the bystander may have no service; `gap_ms`: how long a flow of `spread` (default: the same)."""
    since = {"log": len(log()), "ms": int(time.time() * 1000) - 1_000}  # a crash is timed to the second
    streams = {}
    with contextlib.ExitStack() as running:
        if spread:
            streams["spread"] = running.enter_context(Steady("vpc-a", ["a", "a2", "tgw"], TARGET, pps=PPS))
        if bystander:
            streams["bystander"] = running.enter_context(Steady(bystander[0], [bystander[1]], pps=PPS))
        time.sleep(0.5)
        heard = act()
        time.sleep(after)
    heard = heard or (told and told(since))
    losses = {what: stream.loss for what, stream in streams.items()}
    pause = max(loss.pause_ms for loss in losses.values())
    lost, sent = (sum(getattr(loss, what) for loss in losses.values()) for what in ("lost", "sent"))
    TABLE.append((name, f"{lost} of {sent}", f"{pause:.0f}", heard or "**nothing**"))
    print(f"        {name}: {losses}; told: {heard}")
    mended(bgp)
    require(sum(loss.twice for loss in losses.values()) == 0, "frames that came twice")
    limits = {"bystander": lost_ms, "spread": lost_ms if gap_ms is None else gap_ms}
    for what, loss in losses.items():
        require(loss.gap_ms <= limits[what] if limits[what] else loss.lost == 0,
                f"{name}: {what}: {loss.lost} of {loss.sent} lost, {loss.gap_ms:.0f} ms without service, at most {limits[what] or 0}")
    require(heard, f"{name}: the operator was told nothing")


def link(port, up):
    lab.ip("st-wire", f"link set dev {port} {'up' if up else 'down'}")


def flap(*ports, apart=0.3, down=1.0):
    for port in ports:
        link(port, False)
        time.sleep(apart)
    time.sleep(down)
    for port in ports:
        link(port, True)


def stopped(pid, seconds):
    os.kill(pid, signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def full_disk():
    ballast = DISK / "ballast"
    file = os.open(ballast, os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        with contextlib.suppress(OSError):
            while os.write(file, bytes(4096)):
                pass
        yield
    finally:
        os.close(file)
        ballast.unlink()


@contextlib.contextmanager
def read_only_configuration():
    lab.run("mount", "-o", "remount,bind,ro", ETC)
    try:
        yield
    finally:
        lab.run("mount", "-o", "remount,bind,rw", ETC)


SILENT = """
import socket, sys
clients = []
for _ in range(int(sys.argv[2])):
    clients.append(socket.socket(socket.AF_UNIX))
    clients[-1].settimeout(1)
    try:
        clients[-1].connect(sys.argv[1])
    except OSError:  # refused at once is as good
        pass
print("ready", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def silent_clients(count=64):
    """Of another user, who may use the socket by its group."""
    group = str(station.SOCKET.stat().st_gid)
    command = ["setpriv", "--reuid", "65534", "--regid", group, "--clear-groups", "/usr/bin/python3", "-c", SILENT, station.SOCKET, str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as clients:
        require(clients.stdout.readline() == "ready\n", "clients")
        yield
        clients.stdin.close()


def kill_station():
    station.stop(signal.SIGKILL)
    station.start()


def detach_xdp():
    lab.run("bpftool", "link", "detach", "pinned", lab.PINS / "station/xdp-cust0")
    time.sleep(1.5)


# ---- one at a time --------------------------------------------------------------------------------

def elsewhere(where):
    """What takes its time, and is tried by another file, too."""
    if not ALL:
        raise case.Skip(f"{where} has it; STATION_ALL=1 runs it here, for the table")


def test_stationd_is_killed():
    suffer("stationd: kill -9, and started again", kill_station, lost_ms=4_000, told=outage(), after=1.5)


def test_stationd_is_stopped_for_a_second():
    suffer("stationd: SIGSTOP for 1 s", lambda: stopped(station.running(), 1), lost_ms=1_500, told=outage(), after=1)


def test_bird_is_killed():
    suffer("BIRD: kill -9", lambda: peers.kill(bird_pid()), lost_ms=0, told=told("bird.*(ended|died|again|killed|signal)", 10), after=3)


def test_bird_hangs():
    elsewhere("20_bird_faults")
    def hang():
        pid = bird_pid()
        os.kill(pid, signal.SIGSTOP)
        since = len(log())
        try:
            pattern = "bird.*(answer|hang|hung|respon|stuck)"
            with contextlib.suppress(AssertionError):
                wait_until(lambda: line(log()[since:], pattern), 45, "it is noticed")
            return line(log()[since:], pattern)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    suffer("BIRD: SIGSTOP, until it is noticed", hang, lost_ms=0, after=1)


def test_a_link_flaps():
    suffer("the link of one port: lost for 1 s", lambda: flap("cust0"), lost_ms=0, gap_ms=SWITCHED_MS, bystander=("e", "pub"), told=told("link.*up=false"))


def test_two_links_go_within_a_second():
    suffer("the links of two ports, 0.3 s apart", lambda: flap("cust1", "cust0"), lost_ms=0, gap_ms=SWITCHED_MS, bystander=None,
           told=told("link.*up=false"))


def test_xdp_is_taken_off():
    suffer("XDP taken off a port by another hand", detach_xdp, lost_ms=2_500, told=told("XDP"))


def test_tag_offload_is_switched_on():
    def switch():
        lab.run("ethtool", "-K", "cust0", "rxvlan", "on", "txvlan", "on", ns="st-station")
        time.sleep(1.5)
    try:
        suffer("tag offload of a port switched on by another hand", switch, lost_ms=2_500, told=told("offload"))
    finally:
        lab.offloads_off("st-station", "cust0")


def test_queues_are_raised():
    try:
        # This lab's veths can have one queue: a port of four takes the place of one.
        names = ("cust1", "numtxqueues", 4, "numrxqueues", 4, "mtu", lab.PORT_MTU)
        lab.ip("st-station", "link del cust1")
        lab.run("ip", "link", "add", "name", names[0], "address", lab.PORTS["cust1"], "netns", "st-station", *names[1:], "type", "veth",
                "peer", "name", names[0], "netns", "st-wire", *names[1:])
        for ns in ("st-station", "st-wire"):
            lab.offloads_off(ns, "cust1")
        # The station may have done it already, and then it is refused.
        lab.run("ethtool", "-L", "cust1", "rx", 1, "tx", 1, ns="st-station", check=False)
        lab.ip("st-wire", "link set dev cust1 master sw-cust1 up")
        lab.ip("st-station", "link set dev cust1 up")
        whole()

        def switch():
            lab.run("ethtool", "-L", "cust1", "rx", 4, ns="st-station")
            time.sleep(1.5)
        suffer("receive queues of a port raised by another hand", switch, lost_ms=2_500, told=told("queues"), bystander=("e", "pub"))
    finally:
        lab.ip("st-station", "link del cust1")
        lab.add_port("cust1")
        mended()


def test_bird_takes_its_time():
    elsewhere("21_control_load")
    sleep = pathlib.Path(f"{BIRD}.s")
    sleep.write_text("5")

    def change():
        adds = threading.Thread(target=lambda: station.ctl("route", "add", "--vrf", "vpc-b", "10.66.0.0/16", "--action", "blackhole"))
        adds.start()
        time.sleep(0.5)
        flap("cust0")
        adds.join()
        station.ctl("route", "del", "--vrf", "vpc-b", "10.66.0.0/16")
    try:
        suffer("a link lost for 1 s while `bird -p` takes 5 s for a `route add`", change, lost_ms=0, gap_ms=SWITCHED_MS,
               bystander=("e", "pub"), told=told("link.*up=false"))
    finally:
        sleep.unlink()


def test_the_disk_is_full():
    def change():
        with full_disk():
            why = refused("route", "add", "--vrf", "vpc-b", "10.66.0.0/16", "--action", "blackhole")
            flap("cust1", down=0.2)  # the ledger has something to write
            return why
    suffer("disk full, a change, and a link lost for 0.5 s", change, lost_ms=0, gap_ms=SWITCHED_MS)
    expect(station.ctl("show", "routes", "--vrf", "vpc-b", "10.66.0.0/16"), [], "the refused route")
    station.ctl("route", "add", "--vrf", "vpc-b", "10.66.0.0/16", "--action", "blackhole")
    station.ctl("route", "del", "--vrf", "vpc-b", "10.66.0.0/16")


def test_the_configuration_is_read_only():
    def change():
        before = peers.sessions("b")
        with read_only_configuration():
            why = refused("vif", "down", "b")
            time.sleep(1)
        for key, row in peers.sessions("b").items():
            require(row["state"] == "established" and row["since_s"] >= before[key]["since_s"], f"the session of a refused change: {row}")
        return why
    suffer("read-only configuration, `vif down`", change, lost_ms=0)


def test_silent_admin_clients():
    def ask():
        with silent_clients():
            flap("cust1", down=0.2)
            start = time.monotonic()
            station.ctl("version", timeout=20)
            seconds = time.monotonic() - start
        require(seconds < 5, f"root waited {seconds:.1f} s for an answer")
        return f"root is answered after {1000 * seconds:.0f} ms"
    suffer("64 silent admin clients, and a link lost for 0.5 s", ask, lost_ms=0, gap_ms=SWITCHED_MS)


def fill(pipe):
    os.set_blocking(pipe, False)
    with contextlib.suppress(BlockingIOError):
        while os.write(pipe, b"x" * 64):
            pass
    os.set_blocking(pipe, True)  # for those who share it


def drain(pipe, quiet=0.5):
    text = b""
    while select.select([pipe], [], [], quiet)[0]:
        text += os.read(pipe, 65536)
    return text.decode(errors="replace").replace("x" * 64, "")


def test_the_log_is_blocked():
    elsewhere("22_port_audit")
    station.stop()
    reader, writer = os.pipe()
    with contextlib.ExitStack() as undo:
        undo.callback(os.close, reader)
        undo.callback(os.close, writer)
        fcntl.fcntl(writer, 1031, 4096)  # F_SETPIPE_SZ
        fill(writer)
        station.start(wait=False, log=writer)
        undo.callback(lambda: station.running() and station.stop(signal.SIGKILL))
        station.wait_ready(limit=15)
        whole()

        def blocked():
            flap("cust0")
            require(station.ctl("version", timeout=5), "an answer")
            return line(drain(reader), "link.*up=false")
        suffer("standard error blocked, and a link lost for 1 s", blocked, lost_ms=0, gap_ms=SWITCHED_MS, bystander=("e", "pub"))
        fill(writer)
        flap("cust1", down=0.2)
        start = time.monotonic()
        station.stop()
        seconds = time.monotonic() - start
    restart()
    require(seconds < 5, f"SIGTERM took {seconds:.1f} s with a blocked log")
    whole()


def test_bird_is_absent():
    elsewhere("20_bird_faults")
    try:
        def start():
            restart("/nonexistent/bird")
            wait_until(lambda: is_whole(bgp=False), 20, "static VIFs forward")
        suffer("BIRD absent: a start without it", start, lost_ms=None, gap_ms=8_000, bystander=None, bgp=False, told=told("cannot run"), after=1)

        def change():
            for word in ("down", "up"):
                station.ctl("vif", word, "b")
            return line("\n".join(row["last_error"] for row in station.ctl("show", "bgp", "b")), "BIRD")
        suffer("BIRD absent: a change of a VIF with BGP", change, lost_ms=0, bystander=("e", "pub"), bgp=False)
    finally:
        restart()
        whole()


# ---- beside each other ----------------------------------------------------------------------------

@contextlib.contextmanager
def while_it_lasts(act):
    act()
    yield


@contextlib.contextmanager
def hung(pid):
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def lost_link(port):
    link(port, False)
    try:
        yield
    finally:
        link(port, True)


@contextlib.contextmanager
def dead_station():
    station.stop(signal.SIGKILL)
    try:
        yield
    finally:
        if not station.running():
            station.start()


FAULTS = {
    "stationd killed": dead_station,
    "stationd stopped": lambda: hung(station.running()) if station.running() else contextlib.nullcontext(),
    "BIRD killed": lambda: while_it_lasts(lambda: peers.kill(bird_pid())),
    "BIRD stopped": lambda: hung(bird_pid()),
    "link lost": lambda: lost_link("cust0"),
    "another link lost": lambda: lost_link("cust1"),
    "disk full": full_disk,
    "silent clients": silent_clients,
    "XDP off": lambda: while_it_lasts(detach_xdp),
}


def both(one, other):
    def act():
        with FAULTS[one](), contextlib.suppress(FileNotFoundError, ProcessLookupError):
            time.sleep(0.2)
            with FAULTS[other]():
                time.sleep(1)
        whole()
        return "all is as it should be again"
    down = {"stationd killed", "stationd stopped"} & {one, other}
    ports = {"link lost": "cust0", "another link lost": "cust1", "XDP off": "cust0"}
    touched = {ports[what] for what in (one, other) if what in ports}
    bystander = ("b", "vpc-b") if "cust0" not in touched else ("e", "pub") if "cust1" not in touched else None
    suffer(f"{one} beside {other}", act, lost_ms=20_000 if down else 0, gap_ms=20_000 if down or "XDP off" in (one, other) else 4 * SWITCHED_MS,
           bystander=bystander)


def test_each_beside_each():
    if not ALL:
        raise case.Skip("takes minutes; STATION_ALL=1 runs it")
    wrong = []
    for one, other in itertools.combinations(FAULTS, 2):
        try:
            both(one, other)
        except Exception as error:  # noqa: BLE001
            wrong.append(f"{one} beside {other}: {error}")
            restart()
            whole()
    expect(wrong, [], "pairs")
