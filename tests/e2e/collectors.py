"""Collectors of flow logs in the station's namespace: the test's own, which is strict, and nfcapd and nfacctd."""

import collections
import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.parse

import ipfix
import lab
import traffic
from case import Skip, require, wait_until

NS, PEN = "st-station", 32473
VERDICT = PEN, 1
DIRECTORY = lab.RUN / "collectors"
PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "ipv6-icmp": 58}
FLAGS = "CEUAPRSF"  # as nfdump has them, the highest bit first


class Own:
    """Takes what a station exports to `url`, by UDP or by TCP. `small`: with the smallest buffer, so that who writes
    more than is read soon has to wait."""

    def __init__(self, url, small=False):
        self.url, self.small = url, small
        parts = urllib.parse.urlsplit(url)
        self.tcp, self.address = parts.scheme == "tcp", (parts.hostname, parts.port)
        self.held, self.lock = threading.Event(), threading.Lock()
        self.chunks = []  # (session, octets) as they came
        self.sessions, self.rests, self.records = {}, {}, []
        self.begun = time.time()

    def __enter__(self):
        self.open()
        return self

    def __exit__(self, *_):
        self.close()

    def open(self):
        with lab.inside(NS):
            family = socket.AF_INET6 if ":" in self.address[0] else socket.AF_INET
            self.socket = socket.socket(family, socket.SOCK_STREAM if self.tcp else socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # SO_RCVBUFFORCE
        self.socket.setsockopt(socket.SOL_SOCKET, 33, 4096 if self.small else 64 << 20)
        self.socket.bind(self.address)
        if self.tcp:
            self.socket.listen()
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.take, daemon=True)
        self.thread.start()

    def close(self):
        """Ends as a killed process does: without a word by UDP; by TCP the kernel resets what it has not read."""
        self.ended.set()
        self.held.clear()
        self.thread.join()

    def take(self):
        """The thread's work."""
        peers = {self.socket: None}
        while not self.ended.is_set():
            if self.held.is_set():
                time.sleep(0.01)
                continue
            for ready in select.select([*peers], [], [], 0.02)[0]:
                if self.tcp and ready is self.socket:
                    connection, peer = ready.accept()
                    peers[connection] = peer
                    continue
                with contextlib.suppress(ConnectionResetError):
                    data, peer = ready.recvfrom(65536)
                    with self.lock:
                        self.chunks.append((peers[ready] or peer, data))
                    if data or not self.tcp:
                        continue
                del peers[ready]
                ready.close()
        for each in peers:
            each.close()

    def decode(self):
        """Reads what has come since; all records so far, options records too."""
        with self.lock:
            chunks, self.chunks = self.chunks, []
        for peer, data in chunks:
            session = self.sessions.setdefault(peer, ipfix.Session("tcp" if self.tcp else "udp", self.begun))
            if self.tcp:
                messages, self.rests[peer] = ipfix.split(self.rests.get(peer, b"") + data)
            else:
                messages = [data]
            for message in messages:
                self.records += session.message(message)
        return self.records

    def flows(self):
        """All flow records so far."""
        return [record for record in self.decode() if not record.template.scopes]

    def gaps(self):
        return [gap for session in self.sessions.values() for gap in session.gaps]

    def names(self):
        """By interface number, the names that were told of it, in this order."""
        return named(self.decode())

    def number(self, name):
        """The number of a VIF that has one now."""
        numbers = [number for number, names in self.names().items() if names[-1] == name]
        require(numbers, f"{name} has a number: {self.names()}")
        return max(numbers)


def named(records, key="ingressInterface", name="interfaceName"):
    names = collections.defaultdict(dict)
    for record in records:
        if record.get(name) is not None:
            names[record[key]][record[name]] = None
    return {number: [*found] for number, found in names.items()}


def totals(flows, names):
    """By VIF, what the flow records say that its counters have: "forwarded", "drop REASON" and "punt REASON" too. A VIF
    whose name was not told is its number."""
    by_vif = collections.defaultdict(collections.Counter)
    name = {number: told[0] for number, told in names.items()}
    for flow in flows:
        frames = flow["packetDeltaCount"] * flow["samplingPopulation"]
        octets = [flow[f"{way}2OctetDeltaCount"] * flow["samplingPopulation"] for way in ("layer", "postLayer")]
        verdict = flow[VERDICT].removesuffix(")").replace("(", " ")
        if flow["ingressInterface"]:
            by_vif[name.get(flow["ingressInterface"], flow["ingressInterface"])].update(
                {"rx_frames": frames, "rx_octets": octets[0], "forwarded" if verdict == "forward" else verdict: frames})
        if flow["egressInterface"]:
            by_vif[name.get(flow["egressInterface"], flow["egressInterface"])].update(
                {"tx_frames": frames, "tx_octets": octets[1]})
    return by_vif


# ---- what any collector sees of a flow -----------------------------------------------------------

def seen(rows):
    """By addresses, protocol, ports or ICMP's type and code, interfaces and VRFs: packets, octets and TCP flags.
    Without Neighbor Discovery, which hosts do whenever they like."""
    found = {}
    for key, packets, octets, flags in rows:
        if key[2] == 58 and 133 <= key[3][0] >> 8 <= 137:
            continue
        before = found.get(key, (0, 0, 0))
        found[key] = before[0] + packets, before[1] + octets, before[2] | flags
    return found


def own_rows(flows):
    for flow in flows:
        if flow.get("protocolIdentifier") is None:
            continue
        six = flow.get("sourceIPv6Address") is not None
        ends = [flow[f"{end}IPv{6 if six else 4}Address"] for end in ("source", "destination")]
        icmp = flow[f"icmpTypeCodeIPv{6 if six else 4}"]
        ports = icmp, 0
        if flow["protocolIdentifier"] not in (1, 58):
            ports = flow["sourceTransportPort"], flow["destinationTransportPort"]
        places = [flow[name] for name in ("ingressInterface", "egressInterface", "ingressVRFID", "egressVRFID")]
        yield ((*ends, flow["protocolIdentifier"], ports, *places), flow["packetDeltaCount"], flow["octetDeltaCount"],
               flow["tcpControlBits"] & 0xFF)


# ---- real collectors ------------------------------------------------------------------------------

class Process:
    """A collector that is a process of its own; `end` ends it and keeps the rows that it has."""

    def __init__(self, name, port):
        if not shutil.which(name):
            raise Skip(f"{name} is not installed")
        self.port, self.url = port, f"udp://127.0.0.1:{port}"
        self.directory = DIRECTORY / name
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        self.log = self.directory / "log"
        with lab.inside(NS), self.log.open("wb") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, start_new_session=True)

    def __enter__(self):
        wait_until(lambda: lab.run("ss", "-Hlun", f"sport = :{self.port}", ns=NS).strip(), 10, f"{self.url} is open")
        return self

    def __exit__(self, *_):
        with contextlib.suppress(ProcessLookupError):  # its own children are with it
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def end(self, how):
        """Ends it as it wants to be ended, and waits for its children, which write its files."""
        self.process.send_signal(how)
        self.process.wait(10)

        def gone():
            try:
                os.killpg(self.process.pid, 0)
            except ProcessLookupError:
                return True
            return False
        wait_until(gone, 10, "the collector's children have ended")


class NfCapd(Process):
    """nfcapd, read by nfdump."""

    def __init__(self, port):
        super().__init__("nfcapd", port)

    def command(self):
        (self.directory / "files").mkdir()
        return ["nfcapd", "-p", str(self.port), "-b", "127.0.0.1", "-w", self.directory / "files", "-t", "3600"]

    def rows(self):
        self.end(signal.SIGTERM)
        for row in json.loads(lab.run("nfdump", "-R", self.directory / "files", "-o", "json")):
            if "src4_addr" not in row and "src6_addr" not in row:
                continue
            size = "6" if "src6_addr" in row else "4"
            icmp = row["proto"] in (1, 58)
            ports = (row["icmp_type"] << 8 | row["icmp_code"], 0) if icmp else (row["src_port"], row["dst_port"])
            places = row["input_snmp"], row["output_snmp"], int(row["ingress_vrf"]), int(row["egress_vrf"])
            told = row.get("tcp_flags", "").rjust(8, ".")
            flags = sum(0x80 >> at for at, flag in enumerate(FLAGS) if told[at] == flag)
            yield ((row[f"src{size}_addr"], row[f"dst{size}_addr"], row["proto"], ports, *places), row["in_packets"],
                   row["in_bytes"], flags)


class NfAcctd(Process):
    """nfacctd, with the elements that it has no name for as primitives of ours. `verdicts` has what it saw of them."""

    PRIMITIVES = {"status": "89", "layer2": "352", "vrf_in": "234", "vrf_out": "235", "icmp4": "32", "icmp6": "139",
                  "population": "310"}

    def __init__(self, port):
        super().__init__("nfacctd", port)
        self.verdicts = collections.Counter()

    def command(self):
        sizes = {"89": 1, "352": 8, "32": 2, "139": 2}
        primitives = self.directory / "primitives"
        primitives.write_text("".join(f"name={name} field_type={number} len={sizes.get(number, 4)} semantics=u_int\n"
                                      for name, number in self.PRIMITIVES.items())
                              + f"name=verdict field_type={PEN}:1 len=vlen semantics=str\n")
        config = self.directory / "config"
        config.write_text(f"""daemonize: false
nfacctd_ip: 127.0.0.1
nfacctd_port: {self.port}
nfacctd_time_new: true
aggregate_primitives: {primitives}
plugins: print
aggregate: src_host,dst_host,src_port,dst_port,proto,tcpflags,in_iface,out_iface,{",".join(self.PRIMITIVES)},verdict
print_num_protos: true
print_output: json
print_output_file: {self.directory}/rows
print_output_file_append: true
print_refresh_time: 1
""")
        return ["nfacctd", "-f", config]

    def rows(self):
        self.end(signal.SIGINT)
        for row in map(json.loads, (self.directory / "rows").read_text().splitlines()):
            protocol = PROTOCOLS.get(row["ip_proto"]) or int(row["ip_proto"])
            icmp = {1: "icmp4", 58: "icmp6"}.get(protocol)
            ports = (int(row[icmp]), 0) if icmp else (row["port_src"], row["port_dst"])
            places = row["iface_in"], row["iface_out"], int(row["vrf_in"]), int(row["vrf_out"])
            self.verdicts[row["verdict"], int(row["status"]), int(row["population"])] += row["packets"]
            key = row["ip_src"], row["ip_dst"], protocol, ports, *places
            yield key, row["packets"], row["bytes"], int(row["tcp_flags"])


@contextlib.contextmanager
def capture(port):
    """The file of a capture of what goes to a UDP port of the station's namespace."""
    DIRECTORY.mkdir(exist_ok=True)
    file = DIRECTORY / f"{port}.pcap"
    with traffic.captured(NS, "lo", file, "udp", "dst", "port", str(port)):
        yield file


def dissected(file, port):
    """What tshark finds wrong in a capture, and the sum of all packets of flows that it sees."""
    fields = ["frame.number", "cflow.packets", "cflow.len", "_ws.malformed", "_ws.expert"]
    words = ["tshark", "-n", "-r", file, "-d", f"udp.port=={port},cflow", "-T", "fields", "-E", "aggregator=;"]
    output = lab.run(*words, *[word for name in fields for word in ("-e", name)])
    # As root it says so, in other lines.
    rows = [row for line in output.splitlines() if (row := line.split("\t"))[0].isdigit()]
    wrong = [row for row in rows if not row[2] or any(row[3:])]
    return wrong, sum(int(number) for row in rows for number in row[1].split(";") if number)
