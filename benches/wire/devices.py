"""The devices under test. Each forwards from p0 to p1 on one CPU, as its operators would set it up."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

from wires import BIN, DESTINATIONS, DEVICE_CPU, IN_VLAN, MAC, OUT_VLAN, ROOT, SEND_CPU, TOOL, inside, run

CACHE = pathlib.Path(__file__).resolve().parent / "target/dpdk"
NEXT_HOP = "192.0.2.2"


@contextlib.contextmanager
def process(command, ready, **options):
    """A running program; `ready` is in its output when it forwards."""
    log = tempfile.NamedTemporaryFile("w+", prefix="wire-", suffix=".log")
    child = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=log, stderr=log,
                             start_new_session=True, **options)
    try:
        end = time.monotonic() + 30
        while ready not in pathlib.Path(log.name).read_text(errors="replace"):
            if child.poll() is not None or time.monotonic() > end:
                text = pathlib.Path(log.name).read_text(errors="replace").strip()[-1500:]
                raise RuntimeError(f"{command[0]} does not start:\n{text}")
            time.sleep(0.05)
        yield child
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGCONT)
            child.send_signal(signal.SIGTERM)
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        log.close()


class Device:
    name = ""
    about = ""
    tagged = False
    missing = None  # why it cannot take part
    child = None  # its process, if it has one
    kernel_threads = ()  # what of the kernel works for it alone

    def start(self, wires):
        """A context in which it forwards between the wires."""
        raise NotImplementedError

    def pause(self):
        """Leaves the CPU to the others: what polls would not."""
        if self.child:
            os.killpg(self.child.pid, signal.SIGSTOP)

    def resume(self):
        if self.child:
            os.killpg(self.child.pid, signal.SIGCONT)

    def run_time(self):
        """Seconds that its threads have run so far: what other programs took from the CPU is not in it."""
        tasks = [pathlib.Path("/proc", thread) for thread in self.kernel_threads]
        if self.child:
            for process in [self.child.pid, *children(self.child.pid)]:
                tasks += pathlib.Path(f"/proc/{process}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def version(self):
        return ""


def children(pid):
    text = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


def kernel_routes(wires, table=None):
    """Addresses, routes and neighbors for what forwards by the kernel's tables."""
    run("ip", "-n", wires.dut, "address", "add", "10.1.255.1/16", "dev", "p0")
    run("ip", "-n", wires.dut, "address", "add", "192.0.2.1/30", "dev", "p1")
    run("ip", "-n", wires.dut, "neighbor", "add", NEXT_HOP, "lladdr", MAC["s0"], "dev", "p1")
    run("ip", "-n", wires.dut, "route", "add", DESTINATIONS, "via", NEXT_HOP, *(["table", table] if table else []))
    wires.sysctl(wires.dut, "net.ipv4.ip_forward=1")


class Linux(Device):
    name = "linux"
    about = "Linux ip_forward, threaded NAPI on the device's CPU, untagged"

    @contextlib.contextmanager
    def start(self, wires):
        kernel_routes(wires)
        self.kernel_threads = wires.threaded_napi("p0")
        yield

    def version(self):
        return os.uname().release


class Xdp(Device):
    name = "xdp"
    about = "an XDP program with bpf_fib_lookup in the VLAN's table, threaded NAPI on the device's CPU"
    tagged = True

    @contextlib.contextmanager
    def start(self, wires):
        kernel_routes(wires, IN_VLAN)
        command = [TOOL, "forward", "--from", f"{wires.dut}:p0", "--in-vlan", IN_VLAN, "--out-vlan", OUT_VLAN, "--table", IN_VLAN]
        with process(command, "ready"):
            self.kernel_threads = wires.threaded_napi("p0")
            yield

    version = Linux.version


CONFIG = f"""
[station]
name = "bench"
socket = "{{run}}/stationd.sock"
bpffs = "/sys/fs/bpf/{{name}}"
cpus = [{DEVICE_CPU}]
{{station}}
[[port]]
name = "cust0"
interface = "p0"
role = "customer"
{{port}}
[[port]]
name = "core0"
interface = "p1"
role = "core"
{{port}}
[[vrf]]
name = "v"
kind = "vpc"

[[vif]]
name = "cust"
port = "cust0"
vlan = {IN_VLAN}
kind = "private"
vrf = "v"
addresses = ["169.254.1.1/30"]

[[vif]]
name = "core"
port = "core0"
vlan = {OUT_VLAN}
vrf = "v"
addresses = ["192.0.2.1/30"]

[[route]]
vrf = "v"
prefix = "10.1.0.0/16"
via = [{{{{ address = "169.254.1.2" }}}}]

[[route]]
vrf = "v"
prefix = "{DESTINATIONS}"
via = [{{{{ address = "{NEXT_HOP}" }}}}]

[[neighbor]]
vif = "cust"
address = "169.254.1.2"
mac = "{MAC['g0']}"

[[neighbor]]
vif = "core"
address = "{NEXT_HOP}"
mac = "{MAC['s0']}"
"""


class Station(Device):
    about = "stationd, one worker, default settings, tagged"
    tagged = True

    def __init__(self, name="station", binaries=BIN, station="", port=""):
        self.name, self.binaries = name, binaries
        self.extra = {"station": station, "port": port}
        self.run = None

    @contextlib.contextmanager
    def start(self, wires):
        with tempfile.TemporaryDirectory(prefix="wire-station-") as directory:
            self.run = pathlib.Path(directory)
            config = self.run / "station.toml"
            config.write_text(CONFIG.format(run=directory, name=wires.dut, **self.extra))
            daemon = inside(wires.dut, "taskset", "-c", SEND_CPU, self.binaries / "stationd", "--config", config)
            try:
                with process(daemon, "") as self.child:
                    self.wait()
                    yield
            finally:
                run(*inside(wires.dut, self.binaries / "stationd", "detach", "--config", config), check=False)

    def wait(self):
        end = time.monotonic() + 20
        while time.monotonic() < end:
            if self.ctl("show", "ports", check=False).count(" up ") == 2:
                return
            time.sleep(0.1)
        raise RuntimeError("stationd does not answer")

    def ctl(self, *words, check=True):
        return run(self.binaries / "stationctl", "--socket", self.run / "stationd.sock", *words, check=check)

    def worker(self):
        """The first row of `show workers`."""
        return json.loads(self.ctl("--json", "show", "workers"))["rows"][0]

    def version(self):
        return run("git", "-C", ROOT, "describe", "--always", "--dirty", check=False).strip()


def vdevs(name):
    return ["--no-pci", "--file-prefix", f"wire-{name}", "--vdev", "net_af_xdp0,iface=p0", "--vdev", "net_af_xdp1,iface=p1"]


def dpdk_memory():
    free = int(pathlib.Path("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages").read_text())
    return [] if free >= 256 else ["--no-huge", "-m", "512"]


class L3fwd(Device):
    name = "l3fwd"
    about = "DPDK l3fwd (LPM) over net_af_xdp, untagged"

    def __init__(self):
        self.binary = CACHE / "l3fwd"
        if not self.binary.exists():
            self.missing = "DPDK's l3fwd could not be built: see benches/wire/build-l3fwd"

    @contextlib.contextmanager
    def start(self, wires):
        command = ["ip", "netns", "exec", wires.dut, self.binary, "-l", DEVICE_CPU, *dpdk_memory(), *vdevs(self.name), "--",
                   "-p", "3", "-P", "-L", "--config", f"(0,0,{DEVICE_CPU}),(1,0,{DEVICE_CPU})", "--parse-ptype",
                   f"--eth-dest=0,{MAC['g0']}", f"--eth-dest=1,{MAC['s0']}"]
        with process(command, "entering main loop") as self.child:
            time.sleep(0.5)
            yield

    def version(self):
        return run("pkg-config", "--modversion", "libdpdk", check=False).strip()


class Testpmd(Device):
    name = "testpmd"
    about = "DPDK testpmd (mac, no routing) over net_af_xdp, untagged"

    def __init__(self):
        if not shutil.which("dpdk-testpmd"):
            self.missing = "dpdk-testpmd is not installed"

    @contextlib.contextmanager
    def start(self, wires):
        command = ["ip", "netns", "exec", wires.dut, "stdbuf", "-oL", "dpdk-testpmd", "-l", f"{SEND_CPU},{DEVICE_CPU}", "--main-lcore", SEND_CPU,
                   *dpdk_memory(), *vdevs(self.name), "--", "--total-num-mbufs=16384", "--forward-mode=mac", f"--eth-peer=1,{MAC['s0']}", "--nb-cores=1"]
        with process(command, "Press enter to exit") as self.child:
            time.sleep(0.5)
            yield

    version = L3fwd.version


def all_devices():
    return [Station(), L3fwd(), Testpmd(), Linux(), Xdp()]
