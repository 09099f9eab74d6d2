"""TAPs and BIRD are in a network namespace of their own: what listens on the server hears nothing of customers, nobody
else on the server reaches a TAP, and BIRD reaches no port. How the namespace comes, stays and goes."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile

import case
import frames
import lab
import peers
import station
from case import HOSTS, expect, replaced, require, wait_until
from frames import ETH_IPV6, TCP, eth
from sessions import BGP, OWN4, OWN6, PEER4, PEER6, TAPS, config, ready, tcp, to_a

NS = lab.TAPS_NS
NAME = pathlib.Path("/run/netns") / NS
BPFFS = lab.RUN / "bpf"  # not below /sys, of which `ip netns exec` makes another
SYN, ACK = 2, 16
A = HOSTS["a"]
UNDO = contextlib.ExitStack()


def placed(text):
    return text.replace('bpffs = "/sys/fs/bpf/station-lab/station"', f'bpffs = "{BPFFS}/station"')


def detach():
    lab.run(station.BIN / "stationd", "detach", "--config", station.CONFIG, ns="st-station")


def begin():
    station.stop()
    detach()
    BPFFS.mkdir()
    lab.run("mount", "-t", "bpf", "bpf", BPFFS)
    UNDO.callback(lab.run, "umount", BPFFS)
    UNDO.callback(detach)
    UNDO.callback(station.stop)
    case.fresh(placed(config()))
    for tap in TAPS.values():
        wait_until(lambda tap=tap: ready(tap), 10, f"{tap} is ready")


def end():
    UNDO.close()


def interfaces(ns):
    return {link["ifname"]: link for link in json.loads(lab.run("ip", "-n", ns, "-j", "link").splitlines()[-1])}


def identity():
    """Which namespace has the name."""
    return os.stat(NAME).st_ino


def namespace_of(pid):
    with contextlib.suppress(FileNotFoundError):  # it has ended meanwhile
        return os.stat(f"/proc/{pid}/ns/net").st_ino
    return None


def test_nothing_else_is_there_and_nothing_of_it_elsewhere():
    there = interfaces(NS)
    # Some kernels make tunnels in every namespace; they are down.
    expect({name for name, link in there.items() if "UP" in link["flags"]}, set(TAPS.values()), "interfaces that are up")
    expect(set(interfaces("st-station")), {"lo", *lab.PORTS}, "interfaces of the server")
    with lab.inside(NS):
        for path in ["ipv4/ip_forward", "ipv4/conf/all/rp_filter", "ipv6/conf/all/forwarding", "ipv6/conf/all/accept_redirects"]:
            expect(pathlib.Path("/proc/sys/net", path).read_text().strip(), "0", path)
    pid = station.running()
    require(namespace_of(pid) != identity(), "stationd itself is in the namespace")
    def within():
        threads = station.threads(lambda task: (station.name_of(task), (task / "ns/net").stat().st_ino))
        return {name for name, ns in threads if ns == identity()}
    # A thread enters it itself, a moment after it has begun.
    wait_until(lambda: within() == {"tap-keeper", "bird", "mirror"}, 10, f"the threads in the namespace: {within()}")
    expect(station.ctl("version")["namespace"], NS, "what `stationctl version` says")


def test_tcp_from_bgps_port_reaches_no_listener():
    with contextlib.ExitStack() as undo:
        def listener(ns, port):
            with lab.inside(ns):
                made = undo.enter_context(socket.socket(socket.AF_INET6))  # both families, every address
            made.bind(("::", port))
            made.listen()
            made.setblocking(False)
            return made

        # As sshd and an exporter listen; and in BIRD's namespace too, where nobody should.
        listeners = [listener(ns, port) for ns in ("st-station", NS) for port in (22, 45_000)]
        taps = {tap: undo.enter_context(frames.Raw(NS, tap)) for tap in TAPS.values()}
        wires = {name: undo.enter_context(frames.Raw(host.ns)) for name, host in HOSTS.items()}
        raw = undo.enter_context(frames.Raw("st-wire", "cust0"))
        with case.counted() as seen:
            for port in (22, 45_000):
                raw.send(to_a(TCP, tcp(PEER4, OWN4, port, BGP, SYN)))
                raw.send(eth(A.port_mac, A.mac, ETH_IPV6, frames.packet(PEER6, OWN6, TCP, tcp(PEER6, OWN6, port, BGP, SYN)), A.tags))
        for made in listeners:
            with contextlib.suppress(BlockingIOError):
                made.accept()
                raise AssertionError(f"a connection with {made.getsockname()}")
        for tap, at in taps.items():
            expect(at.received(quiet=0.05), [], f"frames at {tap}")
        for name, at in wires.items():
            heard = [frame for frame in at.received(quiet=0.05) if TCP in (frames.l3(frame)[1][9], frames.l3(frame)[1][6])]
            expect(heard, [], f"TCP at {name}")
    expect((seen.it.slow("a")["to_kernel"], seen.it.slow("a")["no_service"]), (0, 4), "given to the kernel; counted")
    expect(seen.it.unbalanced(), [], "books")


def test_a_local_user_reaches_no_tap():
    attempt = f"""
import os, socket, ctypes
os.setgroups([]); os.setgid(65534); os.setuid(65534)
made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
try:
    made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"v0.100")
    print("bound")
except OSError as error:
    print(error.errno)
try:
    there = os.open("{NAME}", os.O_RDONLY)
    print(ctypes.CDLL(None).setns(there, 0x40000000))
except OSError as error:
    print(-1)
"""
    expect(lab.run("python3", "-c", attempt, ns="st-station").split(), ["19", "-1"], "ENODEV, and no way in")


def test_a_stranger_in_the_namespace_is_named():
    lab.run("ip", "-n", NS, "link", "add", "stray", "type", "bridge")
    lab.ip(NS, "link set stray up")
    try:
        wait_until(lambda: "interface stray is in the network namespace" in station.tail(station.LOG, 50), 10, "the log names it")
    finally:
        lab.run("ip", "-n", NS, "link", "del", "stray")
    wait_until(lambda: "well again" in station.tail(station.LOG, 3), 10, "the log says that it is gone")
    with lab.inside(NS):
        pathlib.Path("/proc/sys/net/ipv4/ip_forward").write_text("1\n")
        wait_until(lambda: pathlib.Path("/proc/sys/net/ipv4/ip_forward").read_text() == "0\n", 10, "forwarding is off again")


def test_it_outlives_a_kill_and_goes_with_an_orderly_stop():
    before = identity()
    station.stop(signal.SIGKILL)
    expect((identity(), set(TAPS.values()) <= set(interfaces(NS))), (before, True), "while no station runs")
    station.start()
    expect(identity(), before, "after the next start")
    station.stop()
    expect((NS in lab.namespaces(), NAME.exists()), (False, False), "after an orderly stop")
    station.start()


def with_bird():
    return placed(case.bgp_config())


def test_bird_reaches_no_port():
    station.stop()
    station.start(with_bird())
    UNDO.enter_context(peers.Router("a", 65001, {4: ["10.1.0.0/16"], 6: ["fd10:1::/48"]}))
    wait_until(lambda: peers.established("a"), 30, "the sessions")
    expect(namespace_of(station.bird()), identity(), "BIRD's namespace")
    with lab.inside(NS):
        for port in lab.PORTS:
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
                try:
                    raw.bind((port, 3))
                except OSError as error:
                    expect(error.errno, 19, "ENODEV")
                else:
                    raise AssertionError(f"a raw socket on {port}")
    said = lab.run("ip", "netns", "exec", NS, "birdc", "-s", lab.RUN / "bird/ctl", "show", "protocols")
    require("b.v0.100.169.254.0.2" in said, said)


def test_a_station_that_had_them_where_its_ports_are():
    """An older one, killed: its TAPs and its BIRD are in the namespace of the ports."""
    station.stop(signal.SIGKILL)
    peers.kill(station.bird())
    lab.run("ip", "netns", "del", NS)
    for name, alias in [("v0.100", f"stationd {station.SOCKET}: VIF a"), ("v0.200", "stationd /run/other: VIF b")]:
        lab.run("ip", "-n", "st-station", "tuntap", "add", "dev", name, "mode", "tap")
        lab.run("ip", "-n", "st-station", "link", "set", "dev", name, "alias", alias)
    (lab.RUN / "bird/ctl").unlink()
    lab.run("bird", "-c", lab.RUN / "bird/bird.conf", "-s", lab.RUN / "bird/ctl", "-P", lab.RUN / "bird/pid", ns="st-station")
    pid = lab.RUN / "bird/pid"
    wait_until(lambda: pid.exists() and pid.read_text().strip(), 10, "BIRD has written who it is")
    old = int(pid.read_text())
    try:
        station.start()
        wait_until(lambda: not pathlib.Path(f"/proc/{old}/stat").exists()
                   or pathlib.Path(f"/proc/{old}/stat").read_text().split()[2] == "Z", 10, "the old BIRD ends")
        wait_until(lambda: station.bird() not in (None, old) and namespace_of(station.bird()) == identity(), 10, "a BIRD in the namespace")
        expect(set(interfaces("st-station")), {"lo", "v0.200", *lab.PORTS}, "interfaces: another's TAP stays")
        wait_until(lambda: peers.established("a"), 30, "the sessions")
    finally:
        lab.run("ip", "-n", "st-station", "link", "del", "v0.200")


def test_under_ip_netns_exec_the_name_is_everybodys():
    try:
        pathlib.Path("/proc/1/ns/mnt").stat()
    except PermissionError:
        raise case.Skip("this machine shows nobody the namespaces of its first process, which the station enters for this") from None
    station.stop()
    station.start(enter=("ip", "netns", "exec", "st-station"))
    before = identity()
    wait_until(lambda: peers.established("a"), 30, "the sessions")
    of = station.bird()
    station.stop(signal.SIGKILL)
    expect(identity(), before, "while no station runs")
    station.start(enter=("ip", "netns", "exec", "st-station"))
    wait_until(lambda: peers.established("a"), 30, "the sessions")
    expect((identity(), station.bird(), namespace_of(station.bird())), (before, of, before), "after the next start")
    station.stop()
    expect((NS in lab.namespaces(), NAME.exists()), (False, False), "after an orderly stop")


@contextlib.contextmanager
def container(prepare):
    """A station in a container: its own /run, processes and mounts. Gives the process, and the directory of its socket."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="station-container-"))
    text = replaced(station.CONFIG.read_text(), (f'socket = "{station.SOCKET}"', f'socket = "{directory}/c/stationd.sock"'),
                    ('state = "/run/station-lab/state"', f'state = "{directory}/state"'))
    (directory / "station.toml").write_text(replaced(text, (f'{BPFFS}/station', "/sys/fs/bpf/station-lab/station")))
    command = f"mount -t tmpfs none /run && {prepare} && exec {station.BIN}/stationd --config {directory}/station.toml"
    child = subprocess.Popen(
        ["nsenter", "--net=/run/netns/st-station", "--", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", command],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield child, directory
    finally:
        child.kill()
        child.communicate()  # until what is in the container has ended too
        shutil.rmtree(directory)


def test_in_a_container_the_name_is_made_there():
    station.stop()
    detach()
    with container("true") as (child, directory):
        wait_until((directory / "c/stationd.sock").exists, 30, "the station answers")
        [inner] = lab.run("pgrep", "-P", child.pid).split()
        said = lab.run("nsenter", "-t", inner, "--mount", "--pid",
                       station.BIN / "stationctl", "--socket", directory / "c/stationd.sock", "--json", "version")
        name = station.answer(said)["namespace"]
        inside = pathlib.Path(f"/proc/{inner}/root/run/netns")
        expect([each.name for each in inside.iterdir()], [name], "names in the container")
        require(not (NAME.parent / name).exists(), "the name is outside")
        os.kill(int(inner), signal.SIGTERM)
        child.wait(20)
    lab.run(station.BIN / "stationd", "detach", "--config", station.write_config(), ns="st-station")


def test_a_read_only_run_is_refused_in_words():
    station.write_config(placed(config()))
    with container("mount -o remount,ro /run") as (child, _):
        output, _ = child.communicate(timeout=30)
        require(child.returncode == 1, f"exit {child.returncode}: {output}")
    for words in ("cannot make the network namespace /run/netns/stationd-", "Read-only file system", "`ip netns add stationd-"):
        require(words in output, output)
    detach()
    station.start(placed(config()))
