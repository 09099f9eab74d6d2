"""How much passes: rates by VIF and port, what a change would cut of them, metrics as Prometheus itself reads them, and top on
a terminal.

Customer a has a session with BFD with its router, a real BIRD."""

import contextlib
import http.client
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import termios
import time
import urllib.parse

import case
import lab
import peers
import scrape
import station
import terminal
from case import HOSTS, Skip, Stream, expect, refused, replaced, require, wait_until
from frames import ETH_IPV4, Raw, datagram, eth

A = HOSTS["a"]
VIF = 'addresses = ["169.254.0.1/30", "fd00:a::1/64"]'
SESSION = """
bfd = { interval_ms = 300, multiplier = 20 }

[[vif.bgp]]
peer = "169.254.0.2"
peer_as = 65001
local_as = 64512
"""
RATES = contextlib.ExitStack()


def begin():
    case.fresh(replaced(case.lab_config(), (VIF, VIF + SESSION), ('[station]\n', '[station]\nmetrics = "127.0.0.1:9472"\n')))
    RATES.enter_context(peers.Router("a", 65001, {4: ["10.99.0.0/16"]}, bfd="min rx interval 300 ms; min tx interval 300 ms; multiplier 20;"))
    def is_up():
        [row] = station.ctl("show", "bgp", "a")
        return (row["state"], row["bfd"], row["accepted"]) == ("established", "up", 1)
    wait_until(is_up, 60, "a's session, its route and BFD")
    if shutil.which("prometheus"):
        RATES.enter_context(prometheus())


def end():
    RATES.close()
    station.stop()


def rates(of="vifs", *words):
    """By name: {1: {...}, 10: {...}, 60: {...}}, and the rows."""
    rows = station.ctl("show", of, "--rate", *words)
    return {row["name"]: {window["window_s"]: window for window in row["windows"]} for row in rows}, rows


def near(got, wanted, by, what):
    require(wanted * (1 - by) <= got <= wanted * (1 + by), f"{what}: {got}, expected about {wanted}")


def test_a_stream_has_its_rate():
    with Stream("a", "vpc-a", pps=500, seconds=4) as stream:
        octets = len(stream.frame)
        sent, _ = stream.finish()
    def passed(found, vif, direction):
        """Frames of the last minute, as its rate and its true length say."""
        window = found[vif][60]
        return window[f"{direction}_frames_per_s"] * window["measured_s"]
    wait_until(lambda: passed(rates()[0], "a", "rx") >= 0.99 * sent, 20, f"all {sent} frames are in the minute's rate")
    found, rows = rates("vifs", "--l1")
    ports, _ = rates("ports", "--l1")
    expect(sorted(found["a"]), [1, 10, 60], "windows")
    # Beside the stream there are ARP, neighbor discovery, ping and BGP of the start.
    near(passed(found, "a", "rx"), sent, 0.2, "frames received in a minute")
    near(passed(found, "vpc-a", "tx"), sent, 0.2, "what came left by the other VIF")
    near(passed(ports, "cust0", "rx"), sent, 0.3, "and came by its port")
    require(passed(found, "b", "rx") < 0.2 * sent, f"another tenant's: {found['b']}")
    expect(rows[0]["name"] in ("a", "vpc-a"), True, f"those with most first: {[row['name'] for row in rows]}")
    require(all(row["age_ms"] < 5000 for row in rows), "the counters are read once a second")
    for words, layer in ([], "l2"), (["--l1"], "l1"):
        expect({row["layer"] for row in station.ctl("show", "ports", "--rate", *words)}, {layer}, f"the layer of {words}")
    window = found["a"][60]
    frames = window["rx_frames_per_s"]
    near(window["rx_bits_per_s"], frames * octets * 8, 0.1, "bits of the octets as counted")
    near(window["rx_l1_bits_per_s"] - window["rx_bits_per_s"], frames * 24 * 8, 0.001, "what the wire has beside them")
    require("rx_l1_bits_per_s" not in rates()[0]["a"][1], "without --l1 nothing of the wire")


def test_tables_say_what_is_in_a_bit():
    plain, wire = station.shown("show", "vifs", "--rate"), station.shown("show", "ports", "--rate", "--l1")
    head = plain.splitlines()[0].split("  ")
    require([word.strip() for word in head if word] == ["VIF", "PORT", "OVER", "RX FRAMES/S", "RX", "TX FRAMES/S", "TX"], plain)
    require("without FCS" in plain, plain)
    require("RX ON THE WIRE" in wire and "24 octets more a frame" in wire, wire)
    require(max(len(line) for text in (plain, wire) for line in text.splitlines()) <= 80, plain + wire)
    refused = subprocess.run([station.BIN / "stationctl", "show", "vifs", "--l1"], capture_output=True, text=True, timeout=20, check=False)
    expect((refused.returncode, "--rate" in refused.stderr), (2, True), f"--l1 alone: {refused.stderr}")


def test_what_is_cut_says_how_much_passes():
    with Stream("a", "vpc-a", pps=500, seconds=3) as stream:
        wait_until(lambda: rates()[0]["a"][10]["rx_frames_per_s"] > 20, 20, "a's rate is known")
        text = refused("vif", "down", "a", yes=False)
        plan = station.ctl("reload", "--dry-run")
        stream.finish()
    line = next(line for line in text.splitlines() if "vif a: is set down" in line)
    require("(now " in line and "kbit/s in, " in line, text)
    expect(plan["changes"], [], "nothing has changed")
    text = refused("stop", yes=False)
    require("VIFs: 10, now " in text and "bit/s out, BGP" in text, text)


def test_neither_a_new_vif_nor_a_clear_nor_a_stall_makes_a_rate_wrong():
    most = 5000  # frames a second: no more are sent in all
    def sane(what):
        found, rows = rates()
        for row in rows:
            for window in row["windows"]:
                values = {key: value for key, value in window.items() if key.endswith("per_s")}
                require(all(value >= 0 for value in values.values()), f"{what}: {row}")
                require(window["rx_frames_per_s"] < most and window["tx_frames_per_s"] < most, f"{what}: {row}")
        return found
    with Stream("b", "vpc-b", pps=400, seconds=7) as stream:
        station.ctl("clear", "counters")
        # The id of a VIF that is gone, and counted much, goes to the next one.
        with Stream("e", "pub", pps=400, seconds=1) as other:
            other.finish()
        text = station.CONFIG.read_text()
        words = ["--port", "cust1", "--vlan", "300", "--kind", "public", "--vrf", "public", "--address", "192.0.2.5/30"]
        for prefix in ("203.0.113.0/24", "2001:db8:e::/48"):
            station.ctl("route", "del", "--vrf", "public", prefix)
        station.ctl("vif", "del", "e")
        station.ctl("vif", "add", "n", *words)
        sane("a VIF is new")
        wait_until(lambda: 60 in rates()[0]["n"], 10, "its rate is known")
        expect(sane("a VIF has the id of another")["n"][60]["rx_frames_per_s"] < 50, True, "what the other VIF counted is not its own")
        station.ctl("vif", "del", "n")
        station.ctl("vif", "add", "n", *words)
        sane("a VIF is back")
        pid = station.running()
        os.kill(pid, signal.SIGSTOP)
        time.sleep(1.5)
        os.kill(pid, signal.SIGCONT)
        wait_until(lambda: max(row["age_ms"] for row in rates()[1]) < 1500, 20, "the counters are read again")
        found = sane("the station stood still")
        stream.finish()
    require(found["b"][60]["rx_frames_per_s"] > 0, f"b's rate over a minute: {found['b']}")
    station.CONFIG.write_text(text)
    station.ctl("reload")
    wait_until(lambda: "e" in rates()[0], 10, "e is back")
    station.ctl("clear", "counters")  # what the deleted VIF counted is in its port's books alone


# ---- metrics --------------------------------------------------------------------------------------

ADDRESS = ("127.0.0.1", 9472)
PROMETHEUS = 9473
METRICS = lab.ROOT / "scripts/metrics"
# What no veth tells: src/metrics/page/tests.rs has it, and scripts/metrics/alerts_test.yml; of tunnels, 44_vxlan; of caches, 55_rpki;
# of collectors, 58_flow_log; of probes, 59_probes.
ELSEWHERE = {"station_port_module_alarm", "station_port_physical_errors_total", "station_port_fec_uncorrected_blocks_total",
             "station_tunnel_up", "station_rpki_cache_up", "station_collector_lost_records_total", "station_probe_up"}
ANSWERS = 'Accept: application/openmetrics-text; version=1.0.0\r\n'


def page(*fields, **request):
    return scrape.page(ADDRESS, *fields, **request)


def test_the_page_says_what_stationctl_says():
    status, head, body = page(ANSWERS)
    expect((status, "application/openmetrics-text; version=1.0.0" in head), (200, True), head)
    require(body.endswith("# EOF\n"), body[-200:])
    numbers = [("rx_frames", "rx_frames"), ("rx_bytes", "rx_octets"), ("tx_frames", "tx_frames"), ("tx_bytes", "tx_octets"),
               ("forwarded_frames", "forwarded"), ("punted_frames", "punted"), ("dropped_frames", "dropped")]
    def differences():
        """A frame may come between the two looks."""
        wanted = {"station_configuration_number": station.ctl("version")["configuration"],
                  'station_vrf_routes{vrf="vpc-b",family="ipv4"}': station.route_counts("vpc-b")[4]}
        for row in station.ctl("show", "vifs"):
            name, kind = row["name"], row["kind"] or "core"
            wanted[f'station_vif_info{{vif="{name}",port="{row["port"]}",vlan="{row["vlan"]}",kind="{kind}",vrf="{row["vrf"]}",customer="",circuit=""}}'] = 1
            wanted[f'station_vif_up{{vif="{name}"}}'] = 1
        # Customer a's session is never silent.
        [b] = [row for row in station.ctl("show", "vifs") if row["name"] == "b"]
        wanted |= {f'station_vif_{metric}_total{{vif="b"}}': b[name] for metric, name in numbers}
        of_a = '{vif="a",peer="169.254.0.2"}'
        wanted |= {f"station_{name}{of_a}": 1 for name in ("bgp_session_up", "bgp_prefixes_accepted", "bfd_session_up")}
        time.sleep(0.6)  # a page is at most half a second old
        found = scrape.samples(page(ANSWERS)[2])
        return {series: (found.get(series), value) for series, value in wanted.items() if found.get(series) != value}
    end = time.monotonic() + 30
    while (different := differences()) and time.monotonic() < end:
        pass
    expect(different, {}, "what the page and stationctl say")
    of_vifs = [series for series in scrape.samples(body) if series.startswith("station_vif_") and 'vif="b"' in series]
    require(9 <= len(of_vifs) <= 12, f"nine series a VIF, and drops that happened: {of_vifs}")
    expect(page(method="POST")[0], 405, "another method")
    expect(page(target="/")[0], 404, "another page")


def test_promtool_has_nothing_to_say():
    if not shutil.which("promtool"):
        raise Skip("promtool is not installed")
    status, head, body = page()
    require("text/plain; version=0.0.4" in head, head)
    done = subprocess.run(["promtool", "check", "metrics"], input=body, capture_output=True, text=True, timeout=60, check=False)
    expect((done.returncode, done.stdout + done.stderr), (0, ""), "promtool check metrics")
    done = subprocess.run(["promtool", "check", "rules", METRICS / "alerts.yml"], capture_output=True, text=True, timeout=60, check=False)
    expect(done.returncode, 0, done.stdout + done.stderr)


@contextlib.contextmanager
def drained(vif):
    station.ctl("drain", "vif", vif, "--anyway", "--no-wait")
    try:
        yield
    finally:
        station.ctl("undrain", "vif", vif)


def test_prometheus_scrapes_and_every_query_finds_something():
    if not shutil.which("prometheus"):
        raise Skip("prometheus is not installed")
    # What has a series only once it happened.
    with Raw("st-wire", "cust0") as wire:
        wire.send(eth(A.port_mac, A.mac, ETH_IPV4, bytes(60), (310,)), 3)
    with Raw(A.ns) as a:
        a.send(datagram(A, "172.16.0.1", "10.2.0.10"), 3)
    with drained("e"):
        wait_until(lambda: {"unknown_vlan", "spoofed_source"} <= {row["reason"] for row in station.ctl("show", "drops")}, 10, "both are counted")
        def is_scraped():
            seen = [value(f"{series}[30s]") for series in ('station_vif_drops_total{vif="a",reason="spoofed_source"}', "station_port_drops_total")]
            return all(rows and len(rows[0]["values"]) >= 3 for rows in seen) and value("up == 1")
        wait_until(is_scraped, 60, "Prometheus has scraped that three times")
        kinds = {row["metric"]: row["type"] for row in ask("targets/metadata?match_target=" + urllib.parse.quote('{job="station"}'))}
        expect((kinds["station_vif_rx_bytes"], kinds["station_port_up"], kinds["station_vif"]), ("counter", "gauge", "info"), "kinds as scraped")
        empty = [(title, query) for title, query in queries() if not value(query)]
        # What is empty where all is well.
        expect({title for title, _ in empty}, {"Sessions that are down", "Tunnels that are down", "Light received (dBm)", "Errors of the wire"}, f"queries that find nothing: {empty}")
        groups = ask("rules")["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        require(len(rules) >= 20, len(rules))
        wait_until(lambda: all(rule["health"] == "ok" for group in ask("rules")["groups"] for rule in group["rules"]), 20, "all rules are evaluated")
        for rule in rules:
            for name in set(re.findall(r"station_\w+", rule["query"])):
                require(value(name) or name in ELSEWHERE, f"{rule['name']} asks for {name}, which is not there")
        expect(value("station_drain_quiet")[0]["metric"]["name"], "e", "what is drained")
    # Nothing that has to last has lasted; what there was of drops is no flood.
    firing = {rule["name"] for group in ask("rules")["groups"] for rule in group["rules"] if rule["state"] == "firing"}
    expect(firing, set(), "alerts of a station that is well")


@contextlib.contextmanager
def prometheus():
    """Debian's Prometheus beside the station."""
    directory = lab.RUN / "prometheus"
    directory.mkdir()
    shutil.copy(METRICS / "alerts.yml", directory)
    (directory / "prometheus.yml").write_text(f"""
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [alerts.yml]
scrape_configs:
  - job_name: station
    static_configs: [{{targets: ["{ADDRESS[0]}:{ADDRESS[1]}"]}}]
""")
    with (directory / "log").open("wb") as log, lab.inside("st-station"):
        child = subprocess.Popen(
            ["prometheus", f"--config.file={directory}/prometheus.yml", f"--storage.tsdb.path={directory}/data",
             f"--web.listen-address=127.0.0.1:{PROMETHEUS}"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield
    finally:
        child.kill()
        child.wait()
        shutil.rmtree(directory)


def ask(what):
    """Prometheus' API."""
    with lab.inside("st-station"):
        connection = http.client.HTTPConnection("127.0.0.1", PROMETHEUS, timeout=20)
        connection.connect()
    try:
        connection.request("GET", f"/api/v1/{what}")
        answer = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    expect(answer["status"], "success", f"{what}: {answer}")
    return answer["data"]


def value(query):
    try:
        return ask("query?query=" + urllib.parse.quote(query))["result"]
    except (ConnectionError, OSError):
        return []


def queries():
    """The dashboard's, with its variables filled in."""
    dashboard = json.loads((METRICS / "dashboard.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            query = target["expr"].replace("$__rate_interval", "30s")
            for name in ("instance", "port", "vif"):
                query = query.replace(f"${name}", ".*")
            yield panel["title"], query
    for variable in dashboard["templating"]["list"][1:]:
        inner = re.fullmatch(r"label_values\((.*), \w+\)", variable["definition"])[1]
        yield variable["label"], inner.replace("$instance", ".*")
    for note in dashboard["annotations"]["list"]:
        # Where nothing has changed only the number itself is there.
        yield note["name"], note["expr"].replace("$instance", ".*").replace("> 0", ">= 0")


def test_slow_readers_hold_up_nothing():
    with lab.inside("st-station"):
        readers = [socket.create_connection(ADDRESS, timeout=20) for _ in range(20)]
    try:
        for reader in readers[:10]:
            with contextlib.suppress(OSError):
                reader.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        start = time.monotonic()
        station.ctl("show", "vifs")
        require(time.monotonic() - start < 5, "the station answers meanwhile")
    finally:
        for reader in readers:
            reader.close()
    wait_until(lambda: page()[0] == 200, 20, "there is room again")
    for address, code, text in [
        ("0.0.0.0:9472", 1, "can be read from other machines"), ("127.0.0.1", 1, "neither a Unix socket nor an address"),
        ("unix:metrics.sock", 1, "relative"), (f"unix:{station.SOCKET}", 1, "is the admin socket"), ("[::1]:9472", 0, "correct"),
    ]:
        other = lab.RUN / "other.toml"
        other.write_text(replaced(station.CONFIG.read_text(), ('metrics = "127.0.0.1:9472"', f'metrics = "{address}"')))
        got, said = station.check(other)
        expect((got, text in " ".join(said.split())), (code, True), f"{address}: {said}")


# ---- top ------------------------------------------------------------------------------------------

class Terminal:
    """`stationctl top` on a terminal of 80 columns and 24 lines, and what is on it."""

    def __init__(self, *words):
        self.ours, self.theirs = terminal.opened()
        self.before = termios.tcgetattr(self.theirs)
        self.process = terminal.start(station.command("top", *words), self.theirs)
        self.said, self.cells, self.at = "", {}, (0, 0)

    def read(self, seconds=0.2):
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and select.select([self.ours], [], [], left)[0]:
            self.write(os.read(self.ours, 65536).decode(errors="replace"))

    def write(self, text):
        """What a terminal does with it: cursor, clearing, characters; colours are nothing here."""
        self.said += text
        for sequence, letter in re.findall(r"\x1b\[([?\d;]*[A-Za-z])|([^\x1b])", text):
            if sequence[-1:] == "H":
                line, column = ([int(n) if n else 1 for n in sequence[:-1].split(";")] + [1, 1])[:2]
                self.at = (line - 1, column - 1)
            elif sequence[-1:] == "J":
                self.cells = {}
            elif letter and letter >= " ":
                self.cells[self.at] = letter
                self.at = (self.at[0], self.at[1] + 1)

    def lines(self):
        self.read()
        return ["".join(self.cells.get((line, column), " ") for column in range(80)).rstrip() for line in range(24)]

    def press(self, keys):
        os.write(self.ours, keys.encode())

    def wait(self, text, limit=20):
        """Until this is on the screen: its lines."""
        wait_until(lambda: text in "\n".join(self.lines()) or self.process.poll() is not None, limit, f"{text!r} on the screen")
        lines = self.lines()
        require(text in "\n".join(lines), f"{text!r} in\n" + "\n".join(lines))
        return lines

    def end(self):
        """Waits for its end; the terminal is as it was."""
        wait_until(lambda: self.read(0.05) or self.process.poll() is not None, 20, "top ends")
        self.read()
        expect(termios.tcgetattr(self.theirs), self.before, "the terminal's settings afterwards")
        require(self.said.rstrip().endswith("\x1b[?25h") or "\x1b[?1049l" in self.said[-200:], repr(self.said[-200:]))
        os.close(self.ours)
        os.close(self.theirs)
        return self.process.returncode


def test_top_shows_the_station_on_a_terminal():
    with Stream("b", "vpc-b", pps=500, seconds=6) as stream:
        top = Terminal("--delay", "1")
        lines = top.wait("kbit/s")
        expect(lines[1], " 1 ports   2 VIFs   3 drops   4 workers   5 BGP   6 tunnels", "the views")
        require(lines[0].startswith("lab  up ") and "VIFs 10/10" in lines[0], lines[0])
        top.press("ssss/vpc-b\r")  # by name
        wait_until(lambda: "\na " not in "\n".join(top.lines()), 10, "only what contains vpc-b")
        top.press("\x1b[H\r")
        lines = top.wait("vif b  port cust0")
        require(any(line.lstrip().startswith("OVER") for line in lines), lines)
        # An escape alone, not the begin of a sequence: each is waited for.
        top.press("\x1b")
        top.wait("DROP/S")
        top.press("\x1b")
        wait_until(lambda: top.lines()[23].startswith("1-6 "), 10, "the filter is gone")
        for key, text in [("1", "cust0"), ("4", "an even share is 100%"), ("5", "169.254.0.2"), ("3", "LAST SEEN")]:
            top.press(key)
            top.wait(text)
        top.press("q")
        expect(top.end(), 0, "exit code")
        stream.finish()


def test_top_ends_with_its_terminal():
    top = Terminal()
    top.wait("VIFs 10/10")
    os.close(top.theirs)
    os.close(top.ours)
    try:
        wait_until(lambda: top.process.poll() is not None, 5, "top ends")
    finally:
        top.process.kill()


def test_top_gives_the_terminal_back_also_to_a_signal():
    for how in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        top = Terminal()
        top.wait("VIFs 10/10")
        top.process.send_signal(how)
        expect(top.end(), 0, f"exit code after signal {how}")
    done = subprocess.run([station.BIN / "stationctl", "top"], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=20, check=False)
    expect((done.returncode, "wants a terminal" in done.stderr), (2, True), done.stderr)
