"""The lab: network namespaces around one station, on one machine, and nothing outside them.

    st-a  st-b  st-c     st-a2 st-d  st-e        st-vpc-a st-vpc-b st-pub st-tgw
      |     |     |        |     |     |             |       |       |      |      tagged by tag.bpf.c
    [ switch sw-cust0 ]  [ switch sw-cust1 ]      [         switch sw-core0     ]  in st-wire
             |                   |                             |
           cust0               cust1                         core0                 veth pairs
    [                            st-station: stationd                           ]
    [                 stationd-station-lab: TAPs, and stationd's BIRD           ]

Every host is a Linux TCP/IP stack of its own; a switch is a bridge that takes no notice of tags.
Needs root. All names start with `st-`, but for the namespace that stationd makes itself; `down` removes them all,
also after a crash.

    python3 tests/lab/lab.py up | down      (use `scripts/demo --keep` and `scripts/demo --down`)
"""

import contextlib
import ctypes
import dataclasses
import fcntl
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = ROOT / "tests/lab"
RUN = pathlib.Path("/run/station-lab")  # everything the lab writes
BPFFS = pathlib.Path("/sys/fs/bpf")
PINS = BPFFS / "station-lab"
LOCK = pathlib.Path("/run/station-lab.lock")
TAPS_NS = "stationd-station-lab"  # what stationd makes for its TAPs and BIRD
PORTS = {"cust0": "02:53:00:00:00:01", "cust1": "02:53:00:00:00:02", "core0": "02:53:00:00:00:03"}
PORT_MTU = 1600  # room for 1500 and two tags at both ends of a veth
MARK = b"STN!"  # tag.bpf.c counts datagrams that start with this, and drops them
OFFLOADS = ["rx", "tx", "sg", "tso", "gso", "gro", "rxvlan", "txvlan"]


@dataclasses.dataclass(frozen=True)
class Host:
    """A host behind one VIF. The first LAN address of a family is the source of its traffic."""

    name: str  # also the VIF's
    tenant: str
    port: str
    tags: tuple  # VLAN ids, outermost first
    peer4: str  # its address on the VIF, with prefix length; the station is one below
    peer6: str
    lan: tuple  # its addresses behind that, on lo

    @property
    def index(self):
        return list(HOSTS).index(self.name)

    @property
    def ns(self):
        return f"st-{self.name}"

    @property
    def mac(self):
        return f"02:68:00:00:00:{self.index + 1:02x}"

    @property
    def port_mac(self):
        return PORTS[self.port]

    @property
    def customer(self):
        return self.port.startswith("cust")

    @property
    def lan4(self):
        return [a for a in self.lan if ":" not in a]

    @property
    def lan6(self):
        return [a for a in self.lan if ":" in a]

    @property
    def addr4(self):
        return self.lan4[0]

    @property
    def addr6(self):
        return self.lan6[0]

    @property
    def gw4(self):
        head, _, last = self.peer4.split("/")[0].rpartition(".")
        return f"{head}.{int(last) - 1}"

    @property
    def gw6(self):
        return self.peer6.split("/")[0][:-1] + "1"


# a and b have the same addresses all over, and one each that only they have.
HOSTS = {
    host.name: host
    for host in [
        Host("a", "A", "cust0", (100,), "169.254.0.2/30", "fd00:a::2/64",
             ("10.1.0.10", "10.1.1.1", "fd10:1::10", "fd10:1:0:1::1")),
        Host("b", "B", "cust0", (200,), "169.254.0.2/30", "fd00:a::2/64",
             ("10.1.0.10", "10.1.2.2", "fd10:1::10", "fd10:1:0:2::2")),
        Host("c", "C", "cust0", (300,), "192.0.2.2/30", "2001:db8:0:c::2/64",
             ("198.51.100.10", "2001:db8:c::10")),
        Host("a2", "A", "cust1", (100,), "169.254.0.6/30", "fd00:a:2::2/64",
             ("10.3.0.10", "fd10:3::10")),
        Host("d", "D", "cust1", (500, 10), "169.254.0.2/30", "fd00:a::2/64",
             ("10.4.0.10", "fd10:4::10")),
        Host("e", "E", "cust1", (300,), "192.0.2.6/30", "2001:db8:0:e::2/64",
             ("203.0.113.10", "2001:db8:e::10")),
        Host("vpc-a", "A", "core0", (1100,), "169.254.255.2/30", "fd00:c::2/64",
             ("10.2.0.10", "10.2.1.1", "fd10:2::10", "fd10:2:0:1::1")),
        Host("vpc-b", "B", "core0", (1200,), "169.254.255.2/30", "fd00:c::2/64",
             ("10.2.0.10", "10.2.2.2", "fd10:2::10", "fd10:2:0:2::2")),
        Host("pub", "provider", "core0", (1300,), "192.0.2.10/30", "2001:db8:0:f::2/64",
             ("198.18.0.10", "2001:db8:f::10")),
        Host("tgw", "D", "core0", (1400,), "169.254.255.2/30", "fd00:c::2/64",
             ("10.5.0.10", "fd10:5::10")),
    ]
}

# Who must reach whom. Everything else must not.
REACHES = [("a", "vpc-a"), ("a2", "vpc-a"), ("a", "a2"), ("b", "vpc-b"), ("c", "pub"), ("e", "pub"), ("d", "tgw")]


def reaches(x, y):
    return x == y or (x, y) in REACHES or (y, x) in REACHES


# ---- commands and namespaces --------------------------------------------------------------------

_libc = ctypes.CDLL(None, use_errno=True)


def ours(ns):
    return ns.startswith("st-") or ns == TAPS_NS


@contextlib.contextmanager
def inside(ns):
    """This thread, and the processes and sockets it makes, are in the namespace `ns`."""
    if not ours(ns):
        raise ValueError(f"{ns}: not a namespace of the lab")
    back = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{ns}", os.O_RDONLY)
    try:
        if _libc.setns(there, 0x40000000):  # CLONE_NEWNET
            raise OSError(ctypes.get_errno(), f"setns {ns}")
        try:
            yield
        finally:
            if _libc.setns(back, 0x40000000):
                os._exit(1)  # in an unknown namespace nothing more may run
    finally:
        os.close(there)
        os.close(back)


def run(*command, ns=None, check=True, timeout=120, stdin=None):
    """Runs a command (in a namespace) and returns its output. Not by `ip netns exec`: that hides
    the BPF file system, where the station's XDP links live."""
    with inside(ns) if ns else contextlib.nullcontext():
        done = subprocess.run([str(word) for word in command], input=stdin, text=True, timeout=timeout,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}{f' in {ns}' if ns else ''}: "
                           f"exit {done.returncode}\n{done.stdout.strip()}")
    return done.stdout


def ok(*command, **options):
    """Whether a command succeeds."""
    try:
        run(*command, **options)
        return True
    except (RuntimeError, subprocess.TimeoutExpired):
        return False


def ip(ns, *lines):
    run("ip", "-n", ns, "-batch", "-", stdin="\n".join(lines) + "\n")


def sysctl(ns, **values):
    with inside(ns):
        for name, value in values.items():
            path = pathlib.Path("/proc/sys/net", *name.split("__"))
            path.write_text(f"{value}\n")


def offloads_off(ns, interface):
    # A frame on these wires is whole: its tag inside, its checksum done, no longer than the MTU.
    run("ethtool", "-K", interface, *[w for o in OFFLOADS for w in (o, "off")], ns=ns)


# ---- making the lab -----------------------------------------------------------------------------

def lock(wait=False):
    """One lab on a machine at a time. The lock lives as long as this process."""
    handle = os.open(LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        sys.exit("lab: another demo or test is using the lab on this machine; wait until it is done")


def compile_tools():
    # <linux/types.h> needs the machine's <asm/types.h>, which Debian keeps under the multiarch name.
    machine = run("gcc", "-print-multiarch").strip()
    for name in ["tag", "sink"]:
        run("clang", "-O2", "-g", "-Wall", "-Werror", "-target", "bpf", "-idirafter", f"/usr/include/{machine}",
            "-c", HERE / f"{name}.bpf.c", "-o", RUN / f"{name}.o")
    run("gcc", "-O2", "-Wall", "-Wextra", "-Werror", HERE / "flood.c", "-o", RUN / "flood")


def load_bpf(name, tc_ns, interface, **directions):
    """Loads a BPF object, pins it by `name` and attaches its programs: program=direction."""
    obj = directions.pop("obj")
    pins = PINS / name
    run("bpftool", "prog", "loadall", RUN / f"{obj}.o", pins, "type", "classifier", "pinmaps", pins)
    attach_bpf(name, tc_ns, interface, **directions)


def attach_bpf(name, tc_ns, interface, **directions):
    """Attaches programs of an object that is loaded."""
    pins = PINS / name
    run("tc", "qdisc", "add", "dev", interface, "clsact", ns=tc_ns)
    for program, direction in directions.items():
        run("tc", "filter", "add", "dev", interface, direction, "bpf", "direct-action",
            "object-pinned", pins / program, ns=tc_ns)


def add_port(port, queues=1):
    """The station's port and the switch of its name. `queues`: how many there can be; one is in use."""
    connect("st-station", port, PORTS[port], port, f"sw-{port}", queues)


def connect(ns, port, mac, end, switch, queues=1):
    """A veth between the port of a station in `ns` and, by its other `end`, a switch."""
    # Under its name a station that runs would take it into use at once.
    new = f"{port}-new"
    run("ip", "link", "add", "name", new, "address", mac, "mtu", PORT_MTU, "netns", ns,
        "numtxqueues", queues, "numrxqueues", queues, "type", "veth",
        "peer", "name", end, "mtu", PORT_MTU, "netns", "st-wire", "numtxqueues", queues, "numrxqueues", queues)
    for at, name in [(ns, new), ("st-wire", end)]:
        offloads_off(at, name)
    if queues > 1:
        run("ethtool", "-L", new, "rx", 1, "tx", 1, ns=ns)
    ip(ns, f"link set dev {new} name {port}")
    sysctl(ns, **{f"ipv4__conf__{port}__arp_ignore": 8})
    ip("st-wire", f"link set dev {end} master {switch} up")
    ip(ns, f"link set dev {port} up")
    # A queue before the veth's short ring: the sender waits instead of losing frames.
    run("tc", "qdisc", "add", "dev", end, "root", "pfifo", "limit", 10000, ns="st-wire")


def add_host(host):
    ns, wire = host.ns, f"h-{host.name}"
    double = len(host.tags) > 1
    run("ip", "netns", "add", ns)
    sysctl(ns, ipv4__ip_forward=0, ipv6__conf__all__forwarding=0, ipv6__conf__default__accept_ra=0,
           ipv6__conf__default__accept_dad=0, ipv6__conf__default__router_solicitations=0,
           ipv6__conf__default__mldv1_unsolicited_report_interval=1, ipv6__conf__default__mldv2_unsolicited_report_interval=1,
           ipv4__conf__all__rp_filter=0, ipv4__conf__default__rp_filter=0,
           ipv4__icmp_ratelimit=0, ipv6__icmp__ratelimit=0,
           # What a killed router leaves repeats its FIN for a second, not for minutes into other tests.
           ipv4__tcp_orphan_retries=1)
    run("ip", "link", "add", "name", "eth0", "address", host.mac, "mtu", 1504 if double else 1500, "netns", ns,
        "numtxqueues", 1, "numrxqueues", 1, "type", "veth",
        "peer", "name", wire, "mtu", PORT_MTU, "netns", "st-wire", "numtxqueues", 1, "numrxqueues", 1)
    offloads_off(ns, "eth0")
    offloads_off("st-wire", wire)
    load_bpf(host.name, ns, "eth0", obj="tag", ingress="ingress", egress="egress")
    outer, second = host.tags[0], host.tags[1] if double else 0
    tags = b"".join(value.to_bytes(2, sys.byteorder) for value in (0x8100, outer, second, 0))
    run("bpftool", "map", "update", "pinned", PINS / host.name / "tags", "key", "hex", *["00"] * 4,
        "value", "hex", *[f"{octet:02x}" for octet in tags])
    ip("st-wire", f"link set dev {wire} master sw-{host.port} up")
    ip(ns, "link set lo up", "link set eth0 up",
       f"addr add {host.peer4} dev eth0", f"addr add {host.peer6} dev eth0 nodad",
       *[f"addr add {a}/32 dev lo" for a in host.lan4],
       *[f"addr add {a}/128 dev lo nodad" for a in host.lan6])
    default_routes(host)


def default_routes(host, mtu=1500):
    """Everything leads to the station, as long as no routing daemon of the host's says otherwise."""
    ip(host.ns, f"route replace default via {host.gw4} src {host.addr4} mtu {mtu}",
       f"route replace default via {host.gw6} src {host.addr6} mtu {mtu}")


def addresses_and_routes(host):
    """A host's, as lines."""
    show = ("-o address show", "-4 route", "-6 route")
    lines = [line for words in show for line in run("ip", "-n", host.ns, *words.split()).splitlines() if "fe80:" not in line]
    # Without the number of the interface: one that was moved and came back has another.
    return sorted(line.partition(": ")[2] or line.strip() for line in lines)


def up():
    down()
    RUN.mkdir(mode=0o755)
    compile_tools()
    if not os.path.ismount(BPFFS):
        run("mount", "-t", "bpf", "bpf", BPFFS)
    PINS.mkdir()
    for ns in ["st-wire", "st-station"]:
        run("ip", "netns", "add", ns)
        # Only the station may answer or forward here.
        sysctl(ns, ipv4__ip_forward=0, ipv6__conf__all__disable_ipv6=1, ipv6__conf__default__disable_ipv6=1,
               ipv4__conf__all__rp_filter=0, ipv4__conf__default__rp_filter=0)
        ip(ns, "link set lo up")
    for port in PORTS:
        ip("st-wire", f"link add sw-{port} type bridge stp_state 0 mcast_snooping 0", f"link set sw-{port} up")
        add_port(port)
    for host in HOSTS.values():
        add_host(host)


def namespaces():
    return [line.split()[0] for line in run("ip", "netns", "list").splitlines() if ours(line.split()[0])]


def down():
    """Removes the lab: processes in its namespaces, the namespaces, pins and files."""
    mine = {os.getpid(), os.getppid()}
    for ns in namespaces():
        pids = {int(pid) for pid in run("ip", "netns", "pids", ns, check=False).split() if pid.isdigit()}
        for pid in pids - mine:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    for ns in namespaces():
        # The interfaces first: a namespace lives on for a while after its name.
        for link in ["eth0", *PORTS]:
            run("ip", "-n", ns, "link", "del", link, check=False)
        run("ip", "netns", "del", ns)
    for directory in [PINS, RUN]:
        shutil.rmtree(directory, ignore_errors=True)
    deadline = time.monotonic() + 5
    while PINS.exists() and time.monotonic() < deadline:
        time.sleep(0.05)


if __name__ == "__main__":
    if os.geteuid() != 0:
        sys.exit("lab: needs root")
    lock()
    {"up": up, "down": down}[sys.argv[1]]()
