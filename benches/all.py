"""`scripts/bench` without a part: all of them, one after the other, as one list of rows and one report."""

import argparse
import json
import os
import pathlib
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import report

ROOT = pathlib.Path(__file__).resolve().parents[1]
# What a quick run asks of each part, and how long it may take, in seconds: a shared machine can be many times slower
# than it should be, and a report without one part is worth more than none.
QUICK = {
    "path": (["--quick"], 300),
    "wire": (["--quick"], 300),
    "scale": (["--quick"], 120),
    "fib": (["--quick"], 180),
    "control": (["--quick", "--only", "failover"], 240),
}
PINNED = {
    "path": "one thread on the last CPU, and l3fwd's on the same one: they take turns",
    "wire": "generator on CPU 0; the device and the softirq of what it sends on CPU 1; all devices take turns",
    "scale": "one thread on the last CPU; a second worker on the one before; the points of a series take turns",
    "fib": "one thread on the last CPU; all implementations take turns in one process",
    "control": "nothing",
}


def say(text):
    print(text, flush=True)


def first_line(*command):
    try:
        done = subprocess.run(command, text=True, capture_output=True, check=False)
    except OSError:
        return ""
    return (done.stdout or done.stderr).strip().partition("\n")[0]


def field(path, key):
    for line in pathlib.Path(path).read_text().splitlines():
        if line.startswith(key):
            return line.partition(":")[2].strip()
    return ""


def locked(package):
    """The version of a crate that the FIB's benchmark is built with."""
    text = (ROOT / "benches/fib/Cargo.lock").read_text()
    found = re.search(rf'name = "{package}"\nversion = "(.*)"', text)
    return f"{package} {found[1]}" if found else ""


def environment():
    memory = int(field("/proc/meminfo", "MemTotal").split()[0]) / (1 << 20)
    virtual = "hypervisor" in field("/proc/cpuinfo", "flags").split()
    dirty = first_line("git", "-C", ROOT, "status", "--porcelain", "--untracked-files=no")
    system = field_of_os_release("PRETTY_NAME")
    return {
        "commit": first_line("git", "-C", ROOT, "rev-parse", "--short=12", "HEAD") + (" and changes" if dirty else ""),
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "processor": f"{field('/proc/cpuinfo', 'model name')}, {os.cpu_count()} CPUs"
                     + (", in a virtual machine" if virtual else ""),
        "memory": f"{memory:.0f} GiB",
        "system": f"{system}, Linux {platform.release()}",
        "compilers": "; ".join(filter(None, [first_line("rustc", "--version"), first_line("cc", "--version"),
                                             first_line("clang", "--version")])),
        "rivals": "; ".join(filter(None, [
            f"DPDK {first_line('pkg-config', '--modversion', 'libdpdk') or 'not installed'}",
            locked("prefix-trie"), locked("ip_network_table-deps-treebitmap"), f"Linux {platform.release()}",
            first_line("bird", "--version") if shutil.which("bird") else "BIRD not installed"])),
        "valgrind": first_line("valgrind", "--version") if shutil.which("valgrind") else "not installed",
    }


def field_of_os_release(key):
    for line in pathlib.Path("/etc/os-release").read_text().splitlines():
        name, _, value = line.partition("=")
        if name == key:
            return value.strip('"')
    return platform.system()


class Noise:
    """What others do to this machine: a fixed loop now and then, and the time that the hypervisor took."""

    def __init__(self):
        self.loops, self.began, self.stolen = [], time.monotonic(), self.steal()

    @staticmethod
    def steal():
        """Seconds of all CPUs since boot."""
        return int(pathlib.Path("/proc/stat").read_text().split()[8]) / os.sysconf("SC_CLK_TCK")

    def look(self):
        best = float("inf")
        for _ in range(5):
            start = time.perf_counter()
            for _ in range(300_000):
                pass
            best = min(best, time.perf_counter() - start)
        self.loops.append(best * 1e9 / 300_000)

    def found(self):
        low, high = min(self.loops), max(self.loops)
        took = time.monotonic() - self.began
        return {
            "loop_ns": [round(loop, 2) for loop in self.loops],
            "stolen": round((self.steal() - self.stolen) / took / os.cpu_count(), 4),
            "load": os.getloadavg()[1],
            "text": f"a fixed loop between the parts took {low:.1f}-{high:.1f} ns a round ({high / low - 1:.0%} apart); the "
                    f"hypervisor took {(self.steal() - self.stolen) / took / os.cpu_count():.1%} of the CPUs; load average "
                    f"{os.getloadavg()[1]:.1f} (5 minutes) at the end",
        }


def run(part, options, limit, file):
    """Runs a part, showing what it says; None, or why its rows are missing or not all there."""
    command = [ROOT / "benches" / part / "run", *options, "--json", file]
    child = subprocess.Popen(command, cwd=ROOT, text=True, errors="replace", stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if limit:
        # As Ctrl-C would: the parts clean up after themselves, which may take some time.
        words = iter([signal.SIGINT, signal.SIGINT])
        signal.signal(signal.SIGALRM, lambda *_: child.send_signal(next(words, signal.SIGTERM)))
        signal.setitimer(signal.ITIMER_REAL, limit, 30)
    start, last = time.monotonic(), ""
    try:
        for line in child.stdout:
            if line.strip():
                last = line.strip()
                say(f"    {line.rstrip()}")
        status = child.wait()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    if limit and time.monotonic() - start >= limit:
        return f"stopped after {limit} s"
    # A part may end with 1 because an aim is missed: then its rows are there.
    return None if status == 0 or rows_of(part, file) else f"exit {status}: {last}"


def row(part, implementation, case, mpps=None, **more):
    base = {"part": part, "implementation": implementation, "case": case, "mpps": mpps,
            "ns_per_packet": 1000 / mpps if mpps else None, "instructions_per_packet": None,
            "p50_us": None, "p99_us": None, "p999_us": None}
    return base | more


def rows_of(part, file):
    """A part's rows in the words of all."""
    try:
        text = file.read_text()
    except OSError:
        return []
    if part == "control":
        return [control_row(json.loads(line)) for line in text.splitlines()]
    found = json.loads(text)
    if part == "fib":
        return fib_rows(found)
    rows = found["rows"] if isinstance(found, dict) else found
    return [row(part, each["implementation"], each["case"]) | each for each in rows]


def control_row(found):
    more = {key: value for key, value in found.items() if key not in ("part", "case", "outages_ms")}
    # Of few runs, the median is all that a percentile can be.
    more["p50_us"] = found["median_ms"] * 1000 if "median_ms" in found else None
    return row("control", "station", f"{found['case']}, {found['routes']} routes", **more)


def fib_pages(found, each):
    """What the process got for the tables of a row's origin."""
    name = each["implementation"]
    origin = "DPDK" if name.startswith("rte_") else "station" if name.startswith("station") else "Rust crates"
    got = [got for of in found.get("pages", []) if of["family"] == each["family"] for got in of["got"]]
    return next((got for got in got if got["origin"] == origin), None)


def fib_rows(found):
    """A packet of the FIB is a lookup."""
    rows = [row("fib", each["implementation"], f"{each['family']} {each['mode']} {each['pattern']}", each["mlps"],
                instructions_per_packet=each.get("instructions"), mib=each.get("mib"), build_s=each.get("build_s"),
                updates_per_s=each.get("updates_per_s"), ratio=each.get("ratio"), ratio_least=each.get("ratio_least"),
                ratio_most=each.get("ratio_most"), pages=fib_pages(found, each)) for each in found["rows"]]
    rows += [row("fib", each["implementation"], f"4096 VRFs of {each['routes']} routes", each["mlps"],
                 octets_per_vrf=each["bytes"]) for each in found.get("vrfs", [])]
    rows += [row("fib", "station", f"{each['family']} update", p50_us=each["p50_us"], p99_us=each["p99_us"],
                 p999_us=each["p999_us"], max_us=each["max_us"]) for each in found.get("update_latency", [])]
    return rows


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench", description="All benchmarks and one report of them.")
    parser.add_argument("--quick", action="store_true", help="about ten minutes instead of hours")
    parser.add_argument("--json", metavar="FILE", type=pathlib.Path, help="write the rows there")
    parser.add_argument("--report", metavar="DIR", type=pathlib.Path,
                        help="write index.html and report.md there (default: beside FILE, or target/bench)")
    parser.add_argument("--parts", default=",".join(QUICK), help="some of %(default)s")
    options = parser.parse_args()
    parts = options.parts.split(",")
    if unknown := set(parts) - set(QUICK):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    directory = options.report or (options.json.absolute().parent if options.json else ROOT / "target/bench")
    directory.mkdir(parents=True, exist_ok=True)
    # A background job starts with it ignored, and so would the parts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    about = environment() | {"quick": options.quick, "pinned": {part: PINNED[part] for part in parts}, "missing": {}}
    noise, rows, start = Noise(), [], time.monotonic()
    noise.look()
    with tempfile.TemporaryDirectory(prefix="station-bench-") as scratch:
        for number, part in enumerate(parts, 1):
            say(f"[{time.monotonic() - start:4.0f} s] {part} ({number} of {len(parts)})")
            file = pathlib.Path(scratch) / f"{part}.json"
            why = run(part, *(QUICK[part] if options.quick else ([], None)), file)
            if why:
                about["missing"][part] = why
                say(f"    {part}: {why}")
            rows += rows_of(part, file)
            noise.look()
    about |= {"took_s": round(time.monotonic() - start), "noise": noise.found()}
    found = {"about": about, "rows": rows}
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    for path in report.write(found, directory):
        say(f"report: {path}")
    return 0 if rows and not set(about["missing"]) - {"control"} else 1


if __name__ == "__main__":
    sys.exit(main())
