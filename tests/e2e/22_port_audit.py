"""What other tools can undo of an open port, under traffic and beside a kernel that would forward: nothing
leaks, it is put right within about a second, and the operator reads it."""

import array
import contextlib
import fcntl
import importlib
import os
import pathlib
import shutil
import signal
import subprocess
import termios
import time

import case
import frames
import lab
import station
from case import Stream, expect, require

kill = importlib.import_module("04_kill")  # the tempting kernel
PPS = 2_000


def tampered(act, *, repaired, untagged=0):
    """Does `act` to the port of a steady stream while the kernel is tempted. How long until `repaired`."""
    before = station.ports()["cust0"]
    with kill.tempting_kernel(), frames.Raw("st-wire", "core0") as wire, Stream("a", "vpc-a", pps=PPS, seconds=4) as stream:
        case.wait_until(lambda: stream.arrived() > PPS / 4, 3, "traffic before")
        act()
        with frames.Raw("st-wire", "cust0") as raw:
            raw.send(kill.untagged(), 200)
        seconds = case.wait_until(repaired, 3, "repaired")
        sent, arrived = stream.finish()
        leaked = [octets for octets in wire.received(quiet=0.3) if frames.l3(octets)[0] == frames.ETH_IPV4 and not is_ours(octets)]
    after = station.ports()["cust0"]
    expect(len(leaked), 0, "frames that the kernel forwarded")
    require(sent - arrived < PPS * 1.5, f"{sent - arrived} of {sent} frames lost")
    expect(after["trouble"], "", "trouble")
    expect(after["repairs"] > before["repairs"], True, f"repairs grow from {before['repairs']}")
    print(f"        repaired after {seconds * 1000:.0f} ms, {sent - arrived} of {sent} frames lost, "
          f"{after['xdp']['bypassed'] - before['xdp']['bypassed']} stopped behind XDP, 0 forwarded by the kernel")


def is_ours(octets):
    """Tagged: only the station sends that."""
    return octets[12:14] in (b"\x81\x00", b"\x88\xa8")


def log():
    return station.LOG.read_text(errors="replace")


def test_a_detached_link_leaks_nothing_and_comes_back():
    pin = lab.PINS / "station/xdp-cust0"
    before = case.xdp_program("cust0")
    tampered(lambda: lab.run("bpftool", "link", "detach", "pinned", pin),
             repaired=lambda: case.xdp_program("cust0") == before)
    require("the XDP program had been taken off" in log(), "the log says what was wrong")


def test_more_queues_leak_nothing_and_go():
    def queues():
        return "RX:\t\t1" in lab.run("ethtool", "-l", "cust0", ns="st-station").partition("Current")[2]
    # This lab's veths can have one queue: a port of four takes the place of one.
    lab.ip("st-station", "link del cust0")
    lab.add_port("cust0", queues=4)
    case.wait_until(lambda: station.ports()["cust0"]["up"], 5, "cust0 is up")
    case.learn()
    tampered(lambda: lab.run("ethtool", "-L", "cust0", "rx", 4, ns="st-station"), repaired=queues)
    lab.ip("st-station", "link del cust0")
    lab.add_port("cust0")
    case.wait_until(lambda: station.ports()["cust0"]["up"], 5, "cust0 is up")
    case.learn()
    require("its queues had been changed (4 receive and 1 transmit queues)" in log(), "the log says what was wrong")


def test_tag_offload_is_switched_off_again():
    def off():
        features = lab.run("ethtool", "-k", "cust0", ns="st-station")
        return "rx-vlan-offload: off" in features and "tx-vlan-offload: off" in features
    tampered(lambda: lab.run("ethtool", "-K", "cust0", "rxvlan", "on", "txvlan", "on", ns="st-station"), repaired=off)


def test_removed_pins_are_made_again():
    directory = lab.PINS / "station"
    # Another file's ports may have left some: what is not configured any more stays closed until `stationd detach`.
    pins = {f"{kind}-{port}" for kind in ("xdp", "guard") for port in lab.PORTS}
    def there():
        return {path.name for path in directory.iterdir()} if directory.is_dir() else set()
    require(pins <= there(), f"pins: {there()}")
    shutil.rmtree(directory)
    try:
        case.wait_until(lambda: there() == pins, 3, f"all pins are back: {pins}")
    except AssertionError as error:
        raise AssertionError(f"{error}; there are {there()}; the log:\n{station.tail(station.LOG)}") from None
    # What was made again is what keeps the port closed.
    station.stop(signal.SIGKILL)
    with kill.tempting_kernel():
        expect(len(kill.left_by("core0", kill.send_untagged)), 0, "frames forwarded while the station is dead")
    station.start()
    case.learn()


def test_another_program_closes_the_port_and_is_named():
    source = lab.RUN / "foreign.c"
    source.write_text('__attribute__((section("xdp"), used)) int foreign(void *context) { return 1; }\n')
    lab.run("clang", "-O2", "-target", "bpf", "-c", source, "-o", lab.RUN / "foreign.o")
    lab.run("bpftool", "prog", "load", lab.RUN / "foreign.o", lab.PINS / "foreign", "type", "xdp")
    try:
        lab.run("bpftool", "link", "detach", "pinned", lab.PINS / "station/xdp-cust0")
        # Whoever is first: the station puts its own back within milliseconds.
        for _ in range(200):
            if lab.ok("bpftool", "net", "attach", "xdpdrv", "pinned", lab.PINS / "foreign", "dev", "cust0", ns="st-station"):
                break
            lab.run("bpftool", "link", "detach", "pinned", lab.PINS / "station/xdp-cust0", check=False)
        else:
            raise case.Skip("the station is always faster")
        case.wait_until(lambda: "already has an XDP program" in station.ports()["cust0"]["trouble"], 3, "the trouble is shown")
        expect(station.ports()["cust0"]["up"], False, "the port is closed")
    finally:
        lab.run("bpftool", "net", "detach", "xdpdrv", "dev", "cust0", ns="st-station", check=False)
        (lab.PINS / "foreign").unlink(missing_ok=True)
    case.wait_until(lambda: station.ports()["cust0"]["up"], 4, "the port is open again")
    expect(station.ports()["cust0"]["trouble"], "", "trouble")
    case.learn()


def test_an_mtu_beyond_its_frames_is_told_and_nothing_else_happens():
    lab.ip("st-station", "link set dev cust0 mtu 1900")
    try:
        case.wait_until(lambda: "`ip link set dev cust0 mtu 1770`" in station.ports()["cust0"]["trouble"], 3, "the trouble is shown")
        with Stream("b", "vpc-b", pps=1000, seconds=0.5) as stream:
            sent, arrived = stream.finish()
        expect(arrived, sent, "frames of a port that stays open")
    finally:
        lab.ip("st-station", f"link set dev cust0 mtu {lab.PORT_MTU}")
    case.wait_until(lambda: not station.ports()["cust0"]["trouble"], 3, "all is well again")
    time.sleep(0.2)


def test_a_log_that_nobody_reads_holds_up_nothing():
    station.stop()
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    command = ["nsenter", "--net=/run/netns/st-station", "--", str(station.BIN / "stationd"), "--config", str(station.CONFIG)]
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=writing, start_new_session=True)
    station.PIDFILE.write_text(f"{child.pid}\n")
    os.close(writing)
    try:
        station.wait_ready(child)
        # More than the pipe takes: two lines each.
        for _ in range(40):
            station.ctl("vif", "down", "e", timeout=5)
            station.ctl("vif", "up", "e", timeout=5)
        waiting = array.array("i", [0])
        fcntl.ioctl(reading, termios.FIONREAD, waiting)
        require(waiting[0] > 3500, f"only {waiting[0]} octets wait in the pipe")
        for up in [False, True]:
            lab.ip("st-wire", f"link set dev cust1 {'up' if up else 'down'}")
            seconds = case.wait_until(lambda up=up: station.ports()["cust1"]["up"] == up, 3, "the link is noticed")
        expect(station.ctl("version")["log_lines_lost"], 0, "lines lost of those that wait")
        start = time.monotonic()
        child.send_signal(signal.SIGTERM)
        child.wait(5)
        print(f"        with a blocked log: link noticed after {seconds * 1000:.0f} ms, ended {time.monotonic() - start:.1f} s after SIGTERM")
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
        os.close(reading)
    station.start()
    case.learn()


def capabilities(process):
    """Effective and bounding set of each of its threads, whether it may gain more, and whether its calls are filtered."""
    def of(task):
        status = dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines() if ":\t" in line)
        return int(status["CapEff"], 16), int(status["CapBnd"], 16), status["NoNewPrivs"], status["Seccomp"]

    with contextlib.suppress(FileNotFoundError):  # it has ended meanwhile
        return set(station.threads(of, process))
    return set()


def bits(*numbers):
    return sum(1 << number for number in numbers)


# CHOWN 0, DAC_OVERRIDE 1, FOWNER 3, KILL 5, SETGID 6, SETUID 7, NET_BIND_SERVICE 10, NET_BROADCAST 11, NET_ADMIN 12,
# NET_RAW 13, SYS_PTRACE 19; IPC_LOCK 14, SYS_CHROOT 18, SYS_ADMIN 21, SYS_NICE 23, PERFMON 38, BPF 39
BIRD = bits(0, 1, 3, 5, 6, 7, 10, 11, 12, 13, 19)
STATION = BIRD | bits(14, 18, 21, 23, 38, 39)


def test_it_keeps_no_privilege_that_it_does_not_need():
    station.stop()
    station.start((lab.HERE / "bgp.toml").read_text())
    found = capabilities(station.running())
    for effective, bounding, no_new, filtered in found:
        expect(effective & ~STATION, 0, f"capabilities of a thread beyond those kept ({effective:x})")
        expect((bounding & ~STATION, no_new, filtered), (0, "1", "2"), "what a thread may gain, no_new_privs, Seccomp")
    network = bits(10, 11, 12, 13)
    # It gives away the others itself, when it has become its own user.
    found = set()
    def settled():
        found.clear()
        found.update(capabilities(station.bird()) if station.bird() else ())
        return found and not any(effective & ~network for effective, *_ in found)
    case.wait_until(settled, 20, f"BIRD has no more than the network's capabilities: {found}")
    for _, bounding, no_new, filtered in found:
        expect((bounding & ~STATION, no_new, filtered), (0, "1", "2"), "what BIRD may gain, no_new_privs, Seccomp")
    expect(pathlib.Path(f"/proc/{station.bird()}/environ").read_bytes(), b"", "BIRD's environment")


def test_other_threads_leave_the_workers_their_cpus():
    if os.cpu_count() < 2:
        raise case.Skip("there is one CPU")
    workers = {row["cpu"] for row in station.ctl("show", "workers")}
    for name, cpus, priority in station.threads(lambda task: (
            station.name_of(task), os.sched_getaffinity(int(task.name)), os.getpriority(os.PRIO_PROCESS, int(task.name)))):
        if name.startswith("worker-"):
            expect((len(cpus), cpus <= workers), (1, True), f"CPUs of {name}")
            require(priority < 0, f"{name} goes before others")
        else:
            expect(cpus & workers, set(), f"CPUs of {name}")


def test_an_open_configuration_is_warned_of():
    file = lab.RUN / "candidate.toml"
    file.write_text(case.lab_config())
    file.chmod(0o646)
    code, output = station.check(file)
    expect((code, f"chmod go-w {file}" in output), (0, True), f"the warning in {output}")
    file.chmod(0o640)
    expect("warning" in station.check(file)[1], False, "a warning without a reason")
