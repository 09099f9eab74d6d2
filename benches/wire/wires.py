"""The wires: three network namespaces in a row, and what the kernel says about their CPUs.

    ws-NAME-gen [g0]====[p0] ws-NAME-dut [p1]====[s0] ws-NAME-sink

The device under test owns p0 and p1. Frames enter at g0 and are accounted for at s0.
"""

import contextlib
import json
import os
import pathlib
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
TOOL = BIN / "wire-bench"
MAC = {"g0": "02:57:00:00:01:01", "p0": "02:57:00:00:00:01", "p1": "02:57:00:00:00:02", "s0": "02:57:00:00:01:02"}
IN_VLAN, OUT_VLAN = 100, 1100
SOURCES, DESTINATIONS = "10.1.0.0/24", "198.18.1.0/24"
MTU = 1600  # room for 1500 and a tag
SEND_CPU, DEVICE_CPU = 0, 1


def run(*command, check=True, timeout=60):
    done = subprocess.run([str(word) for word in command], text=True, timeout=timeout, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout.strip()}")
    return done.stdout


class Wires:
    """The namespaces of one device: gone at the end, and made anew where a crash left them."""

    def __init__(self, name):
        self.gen, self.dut, self.sink = (f"ws-{name}-{part}" for part in ["gen", "dut", "sink"])

    def __enter__(self):
        self.down()
        for ns in [self.gen, self.dut, self.sink]:
            run("ip", "netns", "add", ns)
            self.sysctl(ns, "net.ipv6.conf.all.disable_ipv6=1", "net.ipv4.ip_forward=0",
                        "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0")
        for ns, outer, inner in [(self.gen, "g0", "p0"), (self.sink, "s0", "p1")]:
            run("ip", "link", "add", outer, "netns", ns, "mtu", MTU, "address", MAC[outer], "type", "veth",
                "peer", "name", inner, "netns", self.dut, "mtu", MTU, "address", MAC[inner])
            for where, name in [(ns, outer), (self.dut, inner)]:
                run(*inside(where, "ethtool", "-K", name, "rxvlan", "off", "txvlan", "off"))
                run("ip", "-n", where, "link", "set", name, "up")
        # Without NAPI on its far end, a veth takes no frames from XDP; GRO is what switches it on.
        run(*inside(self.sink, "ethtool", "-K", "s0", "gro", "on"))
        run(*inside(self.dut, "ethtool", "-K", "p0", "gro", "on"))
        return self

    def __exit__(self, *_):
        self.down()

    def down(self):
        for ns in [self.gen, self.dut, self.sink]:
            run("ip", "netns", "del", ns, check=False)

    @staticmethod
    def sysctl(ns, *settings):
        run(*inside(ns, "sysctl", "-q", "-w", *settings))

    def threaded_napi(self, interface):
        """Gives the kernel's receive work of a port a thread on the device's CPU, and returns the thread."""
        threads = napi_threads(interface)
        run("ip", "netns", "exec", self.dut, "sh", "-c", f"echo 1 > /sys/class/net/{interface}/threaded")
        new = napi_threads(interface) - threads
        for thread in new:
            run("taskset", "-p", "-c", DEVICE_CPU, thread)
        return new

    def trial(self, size, tagged, rate=None, seconds=1.0, stamp_every=31, settle_ms=50):
        """One trial. Adds how long it took and what the hypervisor took of it."""
        command = [TOOL, "trial", "--from", f"{self.gen}:g0", "--to", f"{self.sink}:s0", "--receive", "tc",
                   "--source-mac", MAC["g0"], "--destination-mac", MAC["p0"], "--sources", SOURCES,
                   "--destinations", DESTINATIONS, "--size", size, "--seconds", seconds, "--cpus", SEND_CPU,
                   "--stamp-every", stamp_every, "--settle-ms", settle_ms,
                   *(["--vlans", IN_VLAN] if tagged else []), *(["--rate", rate] if rate else [])]
        before, start = stolen(DEVICE_CPU), time.monotonic()
        result = json.loads(run("taskset", "-c", SEND_CPU, *command, timeout=seconds + 30))
        result["took"] = time.monotonic() - start
        result["stolen"] = (stolen(DEVICE_CPU) - before) / result["took"]
        if not result["sent"]:
            raise RuntimeError("nothing was sent")
        result["loss"] = result["lost"] / result["sent"]
        return result


def inside(ns, *command):
    """The command with which a program runs in a namespace and still sees the BPF file system."""
    return ["nsenter", f"--net=/run/netns/{ns}", *command]


def napi_threads(interface):
    found = set()
    for task in pathlib.Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):
            if task.read_text().startswith(f"napi/{interface}-"):
                found.add(task.parent.name)
    return found


def stolen(cpu):
    """Seconds that the hypervisor took from a CPU since boot."""
    for line in pathlib.Path("/proc/stat").read_text().splitlines():
        word = line.split()
        if word[0] == f"cpu{cpu}":
            return int(word[8]) / 100
    raise RuntimeError(f"/proc/stat has no cpu{cpu}")
