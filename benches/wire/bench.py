"""`scripts/bench wire`: the station beside its peers over veth; see `run` for the options."""

import argparse
import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

import devices
import profile
import wires
from search import Search

LOADS = [0.1, 0.5, 0.9]  # of the loss-free rate, for latencies
SIZES = {"64": "64 B", "imix": "IMIX", "1500": "1500 B"}


def log(text):
    print(text, file=sys.stderr, flush=True)


def median(values):
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


def spread(values):
    """Largest deviation from the median, as a part of it: the noise."""
    middle = median(values)
    return max(abs(value - middle) for value in values) / middle if middle else None


class Bench:
    def __init__(self, options, running):
        self.options, self.running = options, running  # (device, its wires)
        self.rows, self.speeds = [], []

    def trial(self, device, links, size, rate=None, seconds=None, **more):
        """A trial while all other devices stand still."""
        device.resume()
        try:
            seconds = seconds or self.options.trial
            before = device.run_time()
            result = links.trial(size, device.tagged, rate, seconds, **more)
            ran = device.run_time() - before
        finally:
            device.pause()
        # A device that polls also runs while a trial is prepared.
        result["cpu"] = min(1.0, ran / (result["took"] if ran > seconds else seconds))
        result["cpu_ns_per_packet"] = result["cpu"] * 1e9 / result["received_pps"] if result["received_pps"] else None
        return result

    def row(self, device, case, mpps, results, latency=False):
        row = {"part": "wire", "implementation": device.name, "case": case, "mpps": mpps,
               "ns_per_packet": 1000 / mpps if mpps else None, "instructions_per_packet": None}
        for name in ["p50", "p99", "p999"]:
            row[f"{name}_us"] = median([result["latency_us"][name] for result in results]) if latency else None
        for name in ["cpu", "cpu_ns_per_packet"]:
            row[name] = median([result[name] for result in results])
        row["offered_mpps"] = median([result["sent_pps"] / 1e6 for result in results])
        row["loss_ratio"] = median([result["loss"] for result in results])
        row["trials"] = len(results)
        row["reordered"] = sum(result["reordered"] for result in results)
        row["duplicated"] = sum(result["duplicated"] for result in results)
        row["stolen"] = max((result["stolen"] for result in results), default=None)
        self.rows.append(row)
        return row

    def speed(self):
        """Nanoseconds of a fixed computation on the device's CPU: how much of the machine is ours just now."""
        command = "import time\ns=time.perf_counter()\nfor _ in range(300000): pass\nprint(time.perf_counter()-s)"
        out = subprocess.run(["taskset", "-c", str(wires.DEVICE_CPU), sys.executable, "-c", command],
                             capture_output=True, text=True, check=True).stdout
        self.speeds.append(float(out) * 1e9 / 300000)

    def saturated(self, size):
        """Offered as much as the sender can; the devices take turns."""
        results = {device.name: [] for device, _ in self.running}
        for _ in range(self.options.rounds):
            self.speed()
            for device, links in self.running:
                results[device.name].append(self.trial(device, links, size))
        for device, _ in self.running:
            rates = [result["received_pps"] / 1e6 for result in results[device.name]]
            row = self.row(device, f"{SIZES[size]} saturated", median(rates), results[device.name])
            row["spread"] = spread(rates)
            log(f"  {device.name:10} saturated {row['mpps']:6.3f} Mpps of {row['offered_mpps']:.2f} offered, "
                f"+-{row['spread']:.0%}, CPU {row['cpu']:.0%}, {row['cpu_ns_per_packet']:.0f} ns of it a packet")
        return {name: median([result["received_pps"] for result in found]) for name, found in results.items()}

    def loss_free(self, size, first):
        """NDR and PDR of every device; their searches take turns, trial by trial."""
        searches, turns = {}, []
        for device, links in self.running:
            search = Search(first[device.name], self.options.trial, self.options.trials, self.options.width)
            searches[device.name] = (search, [])
            steps = search.steps()
            turns.append((device, links, steps, next(steps)))
        while turns:
            device, links, steps, (rate, seconds) = turns.pop(0)
            result = self.trial(device, links, size, rate, seconds)
            searches[device.name][1].append(result)
            with contextlib.suppress(StopIteration):
                turns.append((device, links, steps, steps.send(result["loss"])))
        for device, _ in self.running:
            search, results = searches[device.name]
            for goal, rate in search.rates.items():
                row = self.row(device, f"{SIZES[size]} {goal}", rate / 1e6, [])
                row["trials"] = len(results)
            log(f"  {device.name:10} NDR {search.rates['ndr'] / 1e6:6.3f}  PDR {search.rates['pdr'] / 1e6:6.3f} Mpps "
                f"({len(results)} trials of {self.options.trial} s)")
        return {name: search.rates["ndr"] for name, (search, _) in searches.items()}

    def latency(self, size, ndr):
        """Latencies at parts of each device's own loss-free rate."""
        for part in LOADS:
            results = {device.name: [] for device, _ in self.running}
            for _ in range(self.options.rounds):
                for device, links in self.running:
                    if ndr[device.name]:
                        rate = ndr[device.name] * part
                        results[device.name].append(self.trial(device, links, size, rate, stamp_every=7))
            for device, _ in self.running:
                found = results[device.name]
                if not found:
                    continue
                row = self.row(device, f"{SIZES[size]} latency at {part:.0%} of ndr",
                               median([result["received_pps"] / 1e6 for result in found]), found, latency=True)
                log(f"  {device.name:10} {part:4.0%}: p50 {row['p50_us']:8.1f}  p99 {row['p99_us']:8.1f}  "
                    f"p99.9 {row['p999_us']:8.1f} us, CPU {row['cpu']:.0%}")

    def profile(self, size):
        """Where each device's processor time goes."""
        if why := profile.missing():
            log(f"  no profiles: {why}")
            return
        for device, links in self.running:
            result, shares = profile.measure(lambda device=device, links=links: self.trial(device, links, size, seconds=2.5), 2)
            row = self.row(device, f"{SIZES[size]} profile, saturated", result["received_pps"] / 1e6, [result])
            row["profile"] = {part: share * row["cpu_ns_per_packet"] for part, share in shares.items()}
            parts = sorted(row["profile"].items(), key=lambda found: -found[1])
            log(f"  {device.name:10} ns a packet: " + ", ".join(f"{part} {ns:.0f}" for part, ns in parts if ns >= 10))

    def pauses(self):
        """What no device can do better than: how long the CPU is taken from a program that only reads the clock."""
        found = json.loads(wires.run(wires.TOOL, "pauses", "--cpu", wires.DEVICE_CPU, "--seconds", 3))
        row = {"part": "wire", "implementation": "idle CPU", "case": "pauses that a packet may meet", "mpps": None,
               "ns_per_packet": None, "instructions_per_packet": None} | found
        self.rows.append(row)
        log(f"  pauses of an idle CPU: p50 {row['p50_us']:.1f}  p99 {row['p99_us']:.1f}  p99.9 {row['p999_us']:.1f} us")

    def station(self):
        """What only the station tells: system calls per frame at load, its CPU when idle."""
        for device, links in self.running:
            if device.name != "station":
                continue
            device.resume()
            time.sleep(1.2)  # the worker copies its system calls once a second
            before = device.worker()
            result = self.trial(device, links, "64", seconds=2.5)
            device.resume()
            time.sleep(1.2)
            after = device.worker()
            calls = (after["syscalls"] - before["syscalls"]) / max(1, after["frames"] - before["frames"])
            row = self.row(device, "64 B system calls per packet, saturated", result["received_pps"] / 1e6, [result])
            row["syscalls_per_packet"] = calls
            used = device.run_time()
            time.sleep(3)
            idle = (device.run_time() - used) / 3
            device.pause()
            row = self.row(device, "idle", None, [])
            row["cpu"] = idle
            log(f"  station    {calls:.4f} system calls per packet at load (1/{1 / calls:.0f}); idle {idle:.2%} of a CPU")


def environment():
    def first(path, key):
        lines = pathlib.Path(path).read_text().splitlines()
        return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), "")

    return {
        "cpu": first("/proc/cpuinfo", "model name"), "cpus": os.cpu_count(), "kernel": os.uname().release,
        "compiler": wires.run("rustc", "--version", check=False).strip(),
        "pinning": f"sender, receive softirq of AF_XDP devices: CPU {wires.SEND_CPU}; "
                   f"device and the softirq of what it sends: CPU {wires.DEVICE_CPU}",
    }


def table(rows):
    cases = list(dict.fromkeys(row["case"] for row in rows))
    lines = ["| case | implementation | Mpps | ns/packet | p50 us | p99 us | p99.9 us | CPU |", "|---|---|---|---|---|---|---|---|"]
    for case in cases:
        for row in (row for row in rows if row["case"] == case):
            def show(key, digits, row=row):
                return "" if row.get(key) is None else f"{row[key]:.{digits}f}"
            lines.append(f"| {case} | {row['implementation']} | {show('mpps', 3)} | {show('ns_per_packet', 0)} | "
                         f"{show('p50_us', 1)} | {show('p99_us', 1)} | {show('p999_us', 1)} | {show('cpu', 2)} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench wire", description="The station beside its peers over veth.")
    parser.add_argument("--quick", action="store_true", help="64 B only, short trials: a few minutes")
    parser.add_argument("--json", metavar="FILE", help="write the rows there")
    parser.add_argument("--sizes", default=None, help="64,imix,1500 or some of them")
    parser.add_argument("--devices", default=None, help="station,l3fwd,testpmd,linux,xdp or some of them")
    parser.add_argument("--parts", default="saturated,profile,ndr,latency,station", help="which of these")
    parser.add_argument("--rounds", type=int, default=None, help="trials of each device per case, medians of which count")
    parser.add_argument("--trial", type=float, default=None, help="length of a trial in seconds")
    options = parser.parse_args()
    quick = options.quick
    options.rounds = options.rounds or (3 if quick else 7)
    options.trial = options.trial or (0.3 if quick else 1.0)
    options.trials, options.width = (3, 0.05) if quick else (5, 0.02)
    sizes = (options.sizes or ("64" if quick else "64,imix,1500")).split(",")
    parts = options.parts.split(",")
    if unknown := set(sizes) - set(SIZES):
        parser.error(f"no such size: {', '.join(unknown)}")
    if os.geteuid():
        sys.exit("bench wire: needs root, for network namespaces and BPF")
    if os.cpu_count() < 2:
        sys.exit("bench wire: needs two CPUs, one to send and one for the device")
    wanted = [device for device in devices.all_devices()
              if options.devices is None or device.name in options.devices.split(",")]
    with contextlib.ExitStack() as stack:
        running, about = [], {}
        for device in wanted:
            if device.missing:
                log(f"  {device.name}: left out: {device.missing}")
                continue
            links = stack.enter_context(wires.Wires(device.name))
            stack.enter_context(device.start(links))
            device.pause()
            running.append((device, links))
            about[device.name] = {"about": device.about, "version": device.version()}
        bench = Bench(options, running)
        for size in sizes:
            log(f"{SIZES[size]}:")
            first = bench.saturated(size)
            if "profile" in parts and size == sizes[0]:
                bench.profile(size)
            ndr = bench.loss_free(size, first) if "ndr" in parts else None
            if ndr and "latency" in parts:
                bench.latency(size, ndr)
        if "latency" in parts:
            bench.pauses()
        if "station" in parts:
            bench.station()
    report = {"environment": environment(), "devices": about, "rows": bench.rows,
              "trial_seconds": options.trial, "rounds": options.rounds,
              "noise": {"loop_ns": bench.speeds, "spread": spread(bench.speeds)}}
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(report, indent=1) + "\n")
    print(table(bench.rows))
    speed = bench.speeds
    print(f"\nA fixed loop on the device's CPU took {min(speed):.0f}-{max(speed):.0f} ns a round: what differs by less is noise.")


main()
