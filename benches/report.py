"""The report of `scripts/bench`: an HTML page with plots in it, and the same as Markdown without them."""

import html

import svg

TITLES = {
    "path": "path: the packet path alone, from memory to memory",
    "wire": "wire: whole routers over veth, frame by frame",
    "scale": "scale: what grows with the station",
    "fib": "fib: longest-prefix match",
    "control": "control: failover, and routes to forwarding",
}
NOTES = {
    "path": "Both have pages of one size (pages_mib in the rows). A ratio is the median of those of the rounds. "
            "Nanoseconds are processor time of one thread, less what each side's source of frames costs when it is measured alone "
            "(ours copies each packet, so does DPDK's net_pcap). Mpps follow from them. l3fwd does no VLAN, VRF, source check, "
            "checksum test or counters per VIF. Instructions are callgrind's, with the FIB's AVX2 code.",
    "wire": "NDR: the highest load without any loss; PDR: with at most 0.5 % (MLRsearch). Latencies are at parts of each device's own "
            "NDR. On veth every AF_XDP router sends by copy, and the frame's way into the next interface is a part of sending it: most of the "
            "time is the kernel's, the same for all of them. The profile is of samples of the device's CPU, 5,000 a second.",
    "scale": "As in path: nanoseconds of a thread's own processor time, less the frame source's. Memory is what the process grew by, "
             "packet buffers left out. Start is processor time from the configuration's text to a worker that forwards. Two workers have a "
             "core each but share caches, memory and, on a small machine, the cores with all else.",
    "fib": "A packet of this part is a lookup: million lookups in a second of processor time. Ratios are to the station's bursts.",
    "control": "p50 is the median of all runs of a case; with few runs there are no other percentiles.",
}


def find(rows, part, implementation, case, key):
    for row in rows:
        if (row["part"], row["implementation"]) == (part, implementation) and row["case"].startswith(case):
            if row.get(key) is not None:
                return row[key]
    return None


def ratio(a, b):
    return a / b if a and b else None


def series(rows, name):
    """A series of part scale: (at, row) in its order."""
    return sorted(((row["at"], row) for row in rows if row.get("series") == name), key=lambda found: found[0])


def best_rival(rows, case, key):
    values = [row[key] for row in rows if row["part"] == "wire" and row["case"] == case
              and row["implementation"] != "station" and row.get(key)]
    return max(values, default=None)


def kernel_part(rows):
    """What the profile says of a rate on veth."""
    profile = find(rows, "wire", "station", "64 B profile", "profile")
    if not profile:
        return "most of a packet's time is the kernel's copying transmit, which all AF_XDP devices share (no profile in this run)"
    total, own = sum(profile.values()), profile.get("forwarding", 0)
    far = sum(value for name, value in profile.items() if name.startswith("far end"))
    text = f"of a packet's {total:.0f} ns {own:.0f} are the station's own program; {far:.0f} are the wire's other end, which on veth runs within " \
           f"the sender's call, and {total - own - far:.0f} are the kernel's copying transmit, which all AF_XDP devices share (profile below)"
    linux = find(rows, "wire", "linux", "64 B saturated", "cpu_ns_per_packet")
    ours = find(rows, "wire", "station", "64 B saturated", "cpu_ns_per_packet")
    if linux and ours:
        text += f"; a program that took no time would have {linux / (ours * (1 - own / total)):.2f} times Linux's rate"
    return text


def pauses_of(rows):
    """What the machine adds to latencies."""
    idle = {key: find(rows, "wire", "idle CPU", "pauses", key) for key in ("p99_us", "p999_us")}
    if None in idle.values():
        return "the hypervisor's and others' pauses are in all latencies"
    return f"one run's luck as well: on this CPU a program that only reads the clock is kept from it for {idle['p99_us']:.0f} us where one packet in 100 " \
           f"comes, {idle['p999_us']:.0f} us for one in 1,000"


def aims(rows):
    """(what, the aim in words, what was measured, whether that meets it, why not): None where it was not measured."""
    headline = "full table, 100 VIFs, tagged IPv4, random"
    ours = find(rows, "path", "station", headline, "ns_per_packet")
    fib = find(rows, "path", "l3fwd-fib", "untagged, IPv4, random", "station_to_it")
    small = [find(rows, "path", "station", f"small VRFs, {vifs} VIFs, tagged IPv4", "ns_per_packet") for vifs in (1, 4000)]
    rate = find(rows, "wire", "station", "64 B saturated", "mpps")
    ndr = find(rows, "wire", "station", "64 B ndr", "mpps")
    routes = [row["ns_per_packet"] for _, row in series(rows, "routes")]
    half = "64 B latency at 50% of ndr"
    flat = ("what is left is work for one packet at a time (profile below): a frame put on a ring and five counters, two FIB lookups, "
            "group and adjacency, VLAN map, rewrite; the checks, for eight packets at a time, are the smaller part")
    kernel, pauses = kernel_part(rows), pauses_of(rows)
    calls = find(rows, "wire", "station", "64 B system calls", "syscalls_per_packet")
    idle = find(rows, "wire", "station", "idle", "cpu")
    listed = [
        ("path: instructions a packet", 130, "<=", find(rows, "path", "station", headline, "instructions_per_packet"), flat),
        ("path: ns a packet", 30, "<=", ours, flat),
        ("path: packets/s to l3fwd-FIB's", 1.5, ">=", fib, flat + "; l3fwd has one lookup and none of VLANs, VRFs, checks and counters per VIF"),
        ("path: 4,000 VIFs and small VRFs to one", 1.5, "<=", ratio(small[1], small[0]),
         "instructions hardly grow (path's table): it waits for memory. The routes, adjacencies and counters of 4,000 VRFs are some MiB; in callgrind's simulation "
         "(2026-11-28) 14 loads a packet miss 32 KiB and 7.7 miss 512 KiB, with one VRF 3.4 and 1.0"),
        ("wire: rate to l3fwd's", 1.0, ">=", ratio(rate, find(rows, "wire", "l3fwd", "64 B saturated", "mpps")), kernel),
        ("wire: rate to Linux ip_forward's", 1.5, ">=", ratio(rate, find(rows, "wire", "linux", "64 B saturated", "mpps")), kernel),
        ("wire: rate to in-kernel XDP's (the ceiling)", None, "", ratio(rate, find(rows, "wire", "xdp", "64 B saturated", "mpps")), ""),
        ("wire: NDR to the best peer's", 1.0, ">", ratio(ndr, best_rival(rows, "64 B ndr", "mpps")), kernel),
        ("wire: system calls a packet at load", 1 / 32, "<=", calls, ""),
        ("wire: CPU when idle", 0.02, "<=", idle, ""),
        ("wire: p99 at 50 % of NDR to l3fwd's", 1.0, "<", ratio(find(rows, "wire", "station", half, "p99_us"), find(rows, "wire", "l3fwd", half, "p99_us")),
         pauses),
        ("wire: p99.9 at 50 % of NDR to l3fwd's", 1.0, "<", ratio(find(rows, "wire", "station", half, "p999_us"), find(rows, "wire", "l3fwd", half, "p999_us")),
         pauses),
        ("scale: cost of a packet, most routes to fewest", 1.6, "<=", ratio(routes[-1], routes[0]) if routes else None, ""),
    ]
    met = {"<=": lambda a, b: a <= b, ">=": lambda a, b: a >= b, "<": lambda a, b: a < b, ">": lambda a, b: a > b}
    for what, aim, sign, value, why in listed:
        if value is not None:
            good = None if aim is None else met[sign](value, aim)
            yield what, f"{sign} {svg.number(aim)}" if aim else "-", svg.number(value), good, "" if good is not False else why
    for row in rows:
        if row["part"] == "control" and row.get("aim_ms") and "max_ms" in row:
            yield (f"control: {row['case']}, worst of {row['runs']}", f"< {row['aim_ms']} ms", f"{row['max_ms']:.1f} ms",
                   row["max_ms"] < row["aim_ms"], "")


def grouped(rows, part, key, wanted=lambda row: True):
    groups = {}
    for row in rows:
        if row["part"] == part and wanted(row) and row.get(key):
            groups.setdefault(row["case"], []).append((row["implementation"], row[key]))
    return list(groups.items())


def path_plots(rows):
    yield svg.bars("ns a packet, without the frame source (less is better)", grouped(rows, "path", "ns_per_packet"))
    yield svg.bars("instructions a packet (less is better)", grouped(rows, "path", "instructions_per_packet"))
    for row in profiled(rows, "path"):
        profile = sorted(row["profile"].items(), key=lambda found: -found[1])
        found = [(name, [("instructions", value)]) for name, value in profile if value >= 0.5]
        yield svg.bars(f"where the instructions are: {row['case']}", found)


def profiled(rows, part):
    """The rows with a profile, of the first case that has any."""
    found = [row for row in rows if row["part"] == part and row.get("profile")]
    return [row for row in found if row["case"] == found[0]["case"]]


def profile_table(found):
    total = {name: sum(row["profile"].get(name, 0) for row in found) for row in found for name in row["profile"]}
    lines = [[name, *(svg.number(row["profile"][name]) if name in row["profile"] else "" for row in found)]
             for name in sorted(total, key=total.get, reverse=True) if total[name] >= 1]
    return [PROFILES[found[0]["part"]], *(row["implementation"] for row in found)], lines


def wire_plots(rows):
    yield svg.bars("million packets a second (more is better)",
                   grouped(rows, "wire", "mpps", lambda row: row["case"].endswith(("saturated", "ndr", "pdr"))))
    yield svg.bars("the device's processor time a packet, saturated, ns (less is better)",
                   grouped(rows, "wire", "cpu_ns_per_packet", lambda row: row["case"].endswith("saturated")))
    found = profiled(rows, "wire")
    names = dict.fromkeys(name for row in found for name in row["profile"])
    yield svg.bars("where a device's processor time is, saturated, ns a packet",
                   [(name, [(row["implementation"], row["profile"][name]) for row in found if row["profile"].get(name, 0) >= 1]) for name in names])
    for name, words in [("p50", "median"), ("p99", "99 %"), ("p999", "99.9 %")]:
        yield svg.bars(f"latency, {words}, microseconds, logarithmic (less is better)", grouped(rows, "wire", f"{name}_us"), log=True)


def scale_plots(rows):
    for name in ["routes", "VIFs", "VRFs", "workers"]:
        found = series(rows, name)
        if len(found) < 2:
            continue
        yield svg.lines(f"{name}: ns a packet", [(at, row["ns_per_packet"]) for at, row in found], name)
        if name == "workers":
            yield svg.lines("workers: million packets a second", [(at, row["mpps"]) for at, row in found], name)
        else:
            yield svg.lines(f"{name}: memory, MiB", [(at, row["mib"]) for at, row in found], name)
            yield svg.lines(f"{name}: start, seconds", [(at, row["start_s"]) for at, row in found], name)


def fib_plots(rows):
    for family in ["v4", "v6", "4096"]:
        yield svg.bars(f"million lookups a second, {'small VRFs' if family == '4096' else family} (more is better)",
                       grouped(rows, "fib", "mpps", lambda row, family=family: row["case"].startswith(family)))


def control_plots(rows):
    groups = [(row["case"], [("median", row["median_ms"]), ("worst", row["max_ms"]), ("aim", row["aim_ms"])])
              for row in rows if row["part"] == "control" and "median_ms" in row]
    yield svg.bars("milliseconds without packets", groups, log=True)


PROFILES = {"path": "instructions a packet", "wire": "ns of the device's CPU a packet"}

PLOTS = {"path": path_plots, "wire": wire_plots, "scale": scale_plots, "fib": fib_plots, "control": control_plots}

COLUMNS = [("case", "case"), ("implementation", "implementation"), ("mpps", "Mpps"), ("ns_per_packet", "ns/packet"),
           ("instructions_per_packet", "instructions/packet"), ("p50_us", "p50 us"), ("p99_us", "p99 us"), ("p999_us", "p99.9 us"),
           ("source_ns", "source ns"), ("cpu", "CPU"), ("mib", "MiB"), ("start_s", "start s"), ("octets_per_vrf", "octets/VRF"),
           ("updates_per_s", "updates/s"), ("ratio", "ratio"), ("wall_s", "wall s"), ("aim_ms", "aim ms"), ("max_ms", "worst ms")]


def table(rows, part):
    """The part's columns that have any value, and its lines."""
    rows = [row for row in rows if row["part"] == part]
    columns = [(key, name) for key, name in COLUMNS if any(row.get(key) is not None for row in rows)]

    def show(value):
        if value is None:
            return ""
        return value if isinstance(value, str) else svg.number(value)
    return [name for _, name in columns], [[show(row.get(key)) for key, _ in columns] for row in rows]


def head(about):
    quick = "quick: short and few trials, so read ratios, not digits" if about["quick"] else "full"
    lines = [("run", f"{about['date']}, {quick}, took {about['took_s'] // 60} min {about['took_s'] % 60} s"), ("commit", about["commit"]),
             ("processor", f"{about['processor']}; {about['memory']}"), ("system", about["system"]), ("compilers", about["compilers"]),
             ("rivals", about["rivals"]), ("instructions counted by", about["valgrind"]), ("noise", about["noise"]["text"])]
    lines += [(f"pinned in {part}", words) for part, words in about["pinned"].items()]
    return lines + [(f"missing of {part}", words) for part, words in about["missing"].items()]


def aim_lines(rows):
    words = {True: "met", False: "MISSED", None: ""}
    return ["", "aim", "measured", "", "what stands in the way"], [[what, aim, value, words[good], why] for what, aim, value, good, why in aims(rows)]


def markdown_table(names, lines):
    cells = [names, ["---"] * len(names), *lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in cells) + "\n"


def markdown(found):
    text = "# Benchmarks of the station\n\n" + markdown_table(["", ""], [list(line) for line in head(found["about"])])
    text += "\n## Aims\n\n" + markdown_table(*aim_lines(found["rows"]))
    for part, title in TITLES.items():
        if any(row["part"] == part for row in found["rows"]):
            text += f"\n## {title}\n\n{NOTES[part]}\n\n" + markdown_table(*table(found["rows"], part))
            if rows := profiled(found["rows"], part):
                text += "\n" + markdown_table(*profile_table(rows))
    return text


STYLE = """body { font: 15px/1.45 sans-serif; color: #222; max-width: 1000px; margin: 2em auto; padding: 0 1em }
h2 { margin-top: 2em; border-bottom: 1px solid #ccc } svg { max-width: 100%; height: auto; margin: .6em 0 }
table { border-collapse: collapse; font-size: 13px; margin: .8em 0 } td, th { padding: 3px 9px; border-bottom: 1px solid #e4e4e4; text-align: left }
.rows td:nth-child(n+3), .rows th:nth-child(n+3) { text-align: right } .met { color: #27743a } .MISSED { color: #b00; font-weight: bold }
.scroll { overflow-x: auto } summary { cursor: pointer }"""


def html_table(names, lines, kind=""):
    def line(cells, tag):
        return "<tr>" + "".join(f'<{tag} class="{cell}">{html.escape(cell)}</{tag}>' if cell in ("met", "MISSED")
                                else f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"
    return f'<div class="scroll"><table class="{kind}">' + (line(names, "th") if any(names) else "") \
        + "\n".join(line(cells, "td") for cells in lines) + "</table></div>\n"


def page(found):
    rows = found["rows"]
    text = f"<!doctype html><html lang=en><meta charset=utf-8><title>station: benchmarks</title><style>{STYLE}</style>\n"
    text += "<h1>Benchmarks of the station</h1>\n" + html_table(["", ""], head(found["about"]))
    text += "<h2>Aims</h2>\n" + html_table(*aim_lines(rows))
    for part, title in TITLES.items():
        if not any(row["part"] == part for row in rows):
            continue
        text += f"<h2>{html.escape(title)}</h2>\n<p>{html.escape(NOTES[part])}</p>\n" + "\n".join(PLOTS[part](rows))
        text += "\n<details><summary>all rows</summary>" + html_table(*table(rows, part), "rows") + "</details>\n"
    return text + "</html>\n"


def write(found, directory):
    """Writes both forms; where they are."""
    for name, text in [("index.html", page(found)), ("report.md", markdown(found))]:
        (directory / name).write_text(text)
        yield directory / name
