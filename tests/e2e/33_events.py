"""Events: one stream with numbers, to clients, to the journal and to the hook; and the ledger's entries, one to one.

Customer a has a session with BFD with its router, a real BIRD; the test is journald."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import threading
import time

import case
import lab
import peers
import station
from case import HOSTS, Skip, expect, replaced, require, wait_until
from frames import datagram, Raw

A, PEER, ASN = HOSTS["a"], "169.254.0.2", 65001
VIF = 'addresses = ["169.254.0.1/30", "fd00:a::1/64"]'
SESSION = f"""
bfd = {{ interval_ms = 100, multiplier = 3 }}
[[vif.bgp]]
peer = "{PEER}"
peer_as = {ASN}
local_as = 64512
max_prefixes = 10
at_max = "discard"
"""
JOURNAL = pathlib.Path("/run/systemd/journal/socket")
HOOK, TOLD = lab.RUN / "hook", lab.RUN / "hook-told"
UNDO = contextlib.ExitStack()
ROUTER = None


def config(events=""):
    text = replaced(case.lab_config(), (VIF, VIF + SESSION))
    return text.replace("[[port]]", f"[events]\n{events}\n[[port]]", 1) if events else text


def begin():
    global ROUTER
    for name in ("events.jsonl", "outages.jsonl", "alive"):
        (lab.RUN / "state" / name).unlink(missing_ok=True)
    case.fresh(config())
    ROUTER = UNDO.enter_context(peers.Router("a", ASN, {4: prefixes(8)}, bfd="min rx interval 100 ms; min tx interval 100 ms; multiplier 3;"))
    wait_until(lambda: {"bgp_up", "bfd_up"} <= {event["kind"] for event in events("--vif", "a")}, 30, "a's session and its BFD")


def prefixes(count):
    return [f"10.99.{n}.0/24" for n in range(count)]


def end():
    UNDO.close()
    station.stop()


def events(*words, since=0):
    """`events WORDS`, an object each."""
    return station.lines("events", "--since", since, *words)


def newest():
    return station.ctl("version")["events"]["newest"]


def told(kind, since, **fields):
    """The first event of a kind with these fields, after a number; waits for it."""
    found = []
    def there():
        found[:] = [event for event in events("--kind", kind, since=since) if fields.items() <= event.items()]
        return found
    try:
        wait_until(there, 20, f"{kind} {fields}")
    except AssertionError as error:
        raise AssertionError(f"{error}; told were {events(since=since)}") from None
    return found[0]


class Follow:
    """`stationctl --json events --follow WORDS`, from its begin to Ctrl-C."""

    def __init__(self, *words):
        self.process = subprocess.Popen(station.command("--json", "events", "--follow", *words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.events = []
        self.thread = threading.Thread(target=self.read)

    def read(self):
        for line in self.process.stdout:
            self.events.append(json.loads(line))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGCONT)
        self.process.send_signal(signal.SIGINT)
        self.process.wait(20)
        self.thread.join()
        self.said = self.process.stderr.read()
        expect(self.process.returncode, 0, f"exit code: {self.said}")


def one_each(since, until):
    """The numbers from one to another, as a reader sees them, have no gap."""
    numbers = [event["seq"] for event in events(since=since)]
    expect(numbers[:until - since], list(range(since + 1, until + 1)), "numbers")


def test_a_session_that_a_peer_shuts_says_so_in_its_words():
    since = newest()
    with Follow("--since", str(since), "--kind", "bgp_up,bgp_down") as follow:
        ROUTER.birdc("disable", "station4", '"tea time"')
        down = told("bgp_down", since, vif="a", peer=PEER)
        expect((down["peer_as"], down["code"], down["subcode"], down["received"]), (ASN, 6, 2, True), f"its NOTIFICATION: {down}")
        require(down["reason"].startswith("Received: Administrative shutdown") and "tea time" in down["reason"], down)
        ROUTER.birdc("enable", "station4")
        told("bgp_up", since, vif="a", peer=PEER, peer_as=ASN)
        wait_until(lambda: len(follow.events) >= 2, 10, "both are streamed")
    expect([event["kind"] for event in follow.events], ["bgp_down", "bgp_up"], "what was followed")
    one_each(since, newest())
    # Of an outage there is a begin and an end, as the ledger has them.
    told("outage_begin", since, vif="a", cause="bgp")
    told("outage_end", since, vif="a", cause="bgp")


def with_b(password=""):
    """The configuration with a session on b, whose router has another AS and no password."""
    head, tail = config().split('name = "b"\n', 1)
    session = f'bgp = [{{ peer = "{PEER}", peer_as = 65002, local_as = 64512{password} }}]'
    return head + 'name = "b"\n' + replaced(tail, (VIF, f"{VIF}\n{session}"))


def test_a_wrong_password_and_a_wrong_as_are_told():
    since = newest()
    with peers.Router("b", 65099, {4: []}):
        station.write_config(with_b(', password = "kept-secret"'))
        station.ctl("reload", "--comment", "order 4711")
        # Its router connects without a signature.
        told("md5_failure", since, vif="b", peer=PEER, peer_as=65002, cause="key_missing")
        station.write_config(with_b())
        station.ctl("reload")
        refused = told("bgp_refused", since, vif="b", peer=PEER, peer_as=65002)
        expect((refused["code"], refused["subcode"]), (2, 2), f"its NOTIFICATION: {refused}")
        require("65099" in refused["reason"], refused)
        commit = told("commit", since, command="reload", comment="order 4711")
        expect((commit["uid"], commit["changes"]), (0, 1), f"who committed what: {commit}")
        told("request", since, request="reload", uid=0, refused=None, comment="order 4711")
        number = station.ctl("version")["configuration"]
        station.ctl("config", "rollback", commit["configuration"] - 1)
        back = told("rollback", since, configuration=number + 1)
        expect(back["command"], f"rollback {commit['configuration'] - 1}", "what was rolled back to")


def test_links_vifs_and_bfd_come_and_go():
    since = newest()
    lab.run("ip", "-n", "st-wire", "link", "set", "cust0", "down")
    expect(told("port_down", since, port="cust0")["reason"], "no link", "why the port is down")
    for vif in ("a", "b", "c"):
        expect(told("vif_down", since, vif=vif)["cause"], "link", f"why {vif} is down")
    told("bfd_down", since, vif="a", switched_off=False)
    lab.run("ip", "-n", "st-wire", "link", "set", "cust0", "up")
    told("port_up", since, port="cust0", interface="cust0")
    told("vif_up", since, vif="a", port="cust0")
    told("bfd_up", since, vif="a", peer=PEER)
    told("bgp_up", since, vif="a")
    kinds = {event["kind"] for event in events("--vif", "a", since=since)}
    require(kinds <= {"vif_down", "vif_up", "bfd_down", "bfd_up", "bgp_down", "bgp_up", "outage_begin", "outage_end"}, kinds)
    require({event["kind"] for event in events("--port", "cust1", since=since)} <= {"outage_end"}, "nothing of the other port")
    seen = events("--port", "cust0", since=since)
    require({"port_down", "vif_down", "bgp_down"} <= {event["kind"] for event in seen}, "a port's and its VIFs'")


def ledger_and_events(since):
    """(the ledger's entries, the events' entries), each as (vif, cause, start, end)."""
    rows = station.ctl("show", "outages", "--since", "1h")
    entry = lambda row: (row["vif"], row["cause"], tuple(row["also"]), row["start_ms"], row["end_ms"], row["detection_ms"], row["frames_lost"])
    ended = [entry(event) for event in events("--kind", "outage_end", since=since)]
    begun = [(event["vif"], event["start_ms"]) for event in events("--kind", "outage_begin", since=since)]
    return rows, [entry(row) for row in rows], ended, begun


def test_events_and_the_ledger_match_one_to_one_over_a_kill():
    before = newest()
    station.ctl("vif", "down", "c")
    station.ctl("vif", "up", "c")
    station.ctl("vif", "down", "e")
    told("outage_begin", before, vif="e", cause="admin")
    last = newest()
    station.stop(signal.SIGKILL)
    station.start()
    start = told("station_start", last)
    require(start["seq"] > last, f"numbers go on: {start} after {last}")
    one_each(before, newest())
    crash = told("outage_end", last, cause="crash")
    require(crash["vif"] is None and crash["duration_ms"] > 0, crash)
    told("vif_down", start["seq"], vif="e", cause="admin")
    station.ctl("vif", "up", "e")
    told("vif_up", start["seq"], vif="e")
    told("bgp_up", start["seq"], vif="a")
    wait_until(lambda: all(row["state"] == "up" for row in station.ctl("show", "sla")), 30, "no outage lasts")
    # A stall, of which nothing but the ledger speaks.
    stopped, before = station.running(), newest()
    os.kill(stopped, signal.SIGSTOP)
    try:
        began = time.monotonic()
        done = station.tried("show", "sla")
        took = time.monotonic() - began
    finally:
        os.kill(stopped, signal.SIGCONT)
    expect((done.returncode, done.stdout, json.loads(done.stderr)["error"]),
           (3, "", {"kind": "unreachable", "message": f"stationd is stopped (process {stopped}): `kill -CONT {stopped}` has it go on"}), "what is said of a daemon that is stopped")
    require(took < 5, f"it took {took} s")
    # A busy machine has shorter ones of its own.
    stalls = lambda: [event["duration_ms"] for event in events("--kind", "outage_end", since=before) if event["cause"] == "stall"]
    wait_until(lambda: max(stalls(), default=0) >= 900 * took, 20, "the stall is an outage")
    length = max(stalls())
    for row in station.ctl("show", "sla", "--since", "1h"):
        require(row["down_ms"] >= length and row["availability"] < 1, f"the stall of {length} ms is no outage of {row}")
    def match():
        rows, entries, ended, begun = ledger_and_events(0)
        return (sorted(ended, key=str) == sorted(entries, key=str)
                and sorted(begun) == sorted((row["vif"], row["start_ms"]) for row in rows if row["vif"]))
    wait_until(match, 30, "the ledger has the events' outages, each once")


def test_periods_are_calendar_months_and_moments():
    now = time.time()
    month, last = time.strftime("%Y-%m", time.gmtime(now)), time.strftime("%Y-%m-%d", time.gmtime(now - 40 * 86400))
    of = lambda *words: station.ctl("show", "outages", *words)
    # An outage that lasts grows from answer to answer, and a busy machine adds to them.
    if time.gmtime(now).tm_mday > 1:
        wait_until(lambda: of("--month", month) == of("--since", "1h") != [], 30, "outages of this month")
        ended = lambda *words: station.lines("events", "--kind", "outage_end", *words)
        wait_until(lambda: ended("--month", month) == ended("--since", "0") != [], 30, "events of this month")
    expect(of("--since", last, "--until", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now - 7200))), [], "outages before the test")
    [row] = station.ctl("show", "sla", "a", "--until", "1970-01-02")
    expect((row["outages"], row["down_ms"], row["availability"]), (0, 0, 1.0), "before the station was there")
    for words, kind, text in [(("show", "sla", "nobody"), "not_found", 'there is no vif "nobody"'), (("show", "sla", "--month", "2026-13"), "usage", "write year and month"),
                              (("show", "outages", "--since", "2026-11-02", "--until", "2026-11-01"), "invalid", "ends before it begins"),
                              (("events", "--since", "2026-11-02", "--until", "2026-11-01"), "invalid", "ends before it begins")]:
        done = station.tried(*words)
        error = json.loads(done.stderr)["error"]
        require(done.returncode == {"usage": 2}.get(kind, 1) and error["kind"] == kind and text in error["message"], done)


def test_a_reader_that_does_not_read_is_told_what_it_lost():
    since = newest()
    follow = Follow("--since", str(since))
    follow.process.send_signal(signal.SIGSTOP)
    with follow:
        require(station.ctl("version")["longest_hold_us"] >= 0, "the station answers")
        station.ctl("clear", "counters")
        follow.process.send_signal(signal.SIGCONT)
        wait_until(lambda: any(event["kind"] == "request" for event in follow.events), 10, "it goes on")
    try:
        events(since=newest() + 1000)
        raise AssertionError("a number of another stream is not refused")
    except station.Refused as refused:
        require("of another stream" in refused.text, refused)
    # Older than what is kept: as many are missing as there were.
    station.stop()
    file = lab.RUN / "state/events.jsonl"
    kept = file.read_text().splitlines(keepends=True)
    file.write_text("".join(kept[10:]))
    station.start()
    first = json.loads(kept[10])["seq"]
    got = events(since=1)
    expect((got[0]["kind"], got[0]["count"], got[1]["seq"]), ("lost", first - 2, first), "what is said of the missing ones")
    for words, text in [(("--kind", "no_such"), "no_such"), (("--vif", "nobody"), "there is no vif"), (("--port", "nowhere"), "there is no port")]:
        try:
            events(*words)
            raise AssertionError(f"{words} is not refused")
        except station.Refused as refused:
            require(text in refused.text, refused)


def test_systemds_own_journald_has_them_where_standard_error_goes_there():
    program, logs = pathlib.Path("/usr/lib/systemd/systemd-journald"), pathlib.Path("/run/log/journal")
    if JOURNAL.exists() or logs.exists():
        raise Skip("a journald runs here, or has left its files")
    if not program.exists() or not shutil.which("systemd-cat"):
        raise Skip("systemd is not installed")
    since = newest()
    station.write_config(config())
    station.stop()
    logs.mkdir(parents=True)
    JOURNAL.parent.mkdir(parents=True, exist_ok=True)
    real = subprocess.Popen([program], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until((JOURNAL.parent / "stdout").is_socket, 20, "journald listens")
        # Standard error is a stream to the journal; that it is, systemd says in JOURNAL_STREAM.
        says = 'JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) && export JOURNAL_STREAM && exec "$@"'
        station.start(enter=(*station.ENTER, "systemd-cat", "--identifier=stationd", "sh", "-c", says, "sh"))
        start = told("station_start", since)
        def entries():
            done = subprocess.run(["journalctl", "-D", logs, "-o", "json", "--no-pager", f"STATION_SEQ={start['seq']}"],
                                  capture_output=True, text=True, timeout=60, check=False)
            return [json.loads(line) for line in done.stdout.splitlines()]
        wait_until(entries, 20, "the journal has it")
        [found] = entries()
        expect({name: found[name] for name in ("STATION_EVENT", "PRIORITY", "SYSLOG_IDENTIFIER", "STATION_VIFS", "_PID")},
               {"STATION_EVENT": "station_start", "PRIORITY": "5", "SYSLOG_IDENTIFIER": "stationd", "STATION_VIFS": str(start["vifs"]),
                "_PID": str(station.running())}, "what the journal has")
    finally:
        real.terminate()
        real.wait()
        shutil.rmtree(logs)
        shutil.rmtree(JOURNAL.parent)
    # It is dead: the station does not mind.
    station.ctl("clear", "counters")
    station.stop()
    station.start()


def test_shares_of_the_limit_and_what_is_spoofed_are_told():
    # The station has started since: it looks again.
    start = [event["seq"] for event in events("--kind", "station_start")][-1]
    limit = told("prefix_limit", start, vif="a", percent=80)
    expect((limit["accepted"], limit["max_prefixes"], limit["shut"]), (8, 10, False), "prefixes")
    since = newest()
    ROUTER.announce(4, prefixes(10))
    with Raw(HOSTS["c"].ns) as wire:
        # An address of e's, on the same public VRF.
        wire.send(datagram(HOSTS["c"], HOSTS["e"].addr4, HOSTS["pub"].addr4), 7)
    def spoofed():
        return sum(event["count"] for event in events("--kind", "security", "--vif", "c", since=since) if event.get("counter") == "foreign_source")
    wait_until(lambda: spoofed() == 7, 20, "all frames are told of, in one event or two")
    told("prefix_limit", since, vif="a", percent=100)
    # The last test sees that it is told.
    ROUTER.announce(4, prefixes(1))


@contextlib.contextmanager
def journald():
    """The socket that journald would have."""
    if JOURNAL.exists():
        raise Skip("a journald runs here, and its socket is left alone")
    JOURNAL.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(JOURNAL))
        made.settimeout(20)
        try:
            yield made
        finally:
            JOURNAL.unlink()


def entry(datagram):
    """A native entry whose values have one line each."""
    return dict(line.split("=", 1) for line in datagram.decode().splitlines())


def test_the_journal_gets_each_event_with_its_fields_and_a_dead_one_holds_nothing_up():
    since = newest()
    station.write_config(config('journal = "on"'))
    station.ctl("reload")
    # Nobody listens: the station does its work, and what was told meanwhile comes when somebody does.
    station.ctl("vif", "down", "c")
    down = told("vif_down", since, vif="c")
    with journald() as made:
        got = [entry(made.recv(65536))]
        while got[-1]["STATION_SEQ"] != str(down["seq"]):
            got.append(entry(made.recv(65536)))
        station.ctl("vif", "up", "c")
        while got[-1]["STATION_EVENT"] != "vif_up":
            got.append(entry(made.recv(65536)))
    seen = next(fields for fields in got if fields["STATION_SEQ"] == str(down["seq"]))
    expect({name: seen[name] for name in ("PRIORITY", "STATION_EVENT", "STATION_VIF", "STATION_PORT", "STATION_CAUSE", "SYSLOG_IDENTIFIER", "MESSAGE")},
           {"PRIORITY": "4", "STATION_EVENT": "vif_down", "STATION_VIF": "c", "STATION_PORT": "cust0", "STATION_CAUSE": "admin",
            "SYSLOG_IDENTIFIER": "stationd", "MESSAGE": "vif c on port cust0 down: admin"}, "its fields")
    require(len(seen["MESSAGE_ID"]) == 32, seen)
    numbers = [int(fields["STATION_SEQ"]) for fields in got]
    expect(numbers, list(range(numbers[0], numbers[0] + len(numbers))), "each once, in order")


def test_the_hook_gets_each_event_as_nobody_and_a_bad_one_holds_nothing_up():
    lab.run("chmod", "a+x", lab.RUN)
    TOLD.mkdir(exist_ok=True)
    TOLD.chmod(0o777)
    HOOK.write_text(f"#!/bin/sh\n{{ cat; id -un; grep CapEff /proc/self/status; for fd in /proc/$$/fd/*; do readlink $fd; done; true; }} >{TOLD}/$$.new && mv {TOLD}/$$.new {TOLD}/$$\n")
    HOOK.chmod(0o755)
    station.write_config(config(f'hook = "{HOOK}"'))
    station.ctl("reload")
    since = newest()
    station.ctl("vif", "down", "c")
    down = told("vif_down", since, vif="c")
    def got():
        texts = [path.read_text().splitlines() for path in TOLD.iterdir() if path.suffix != ".new"]
        return {json.loads(lines[0])["seq"]: lines for lines in texts}
    wait_until(lambda: down["seq"] in got(), 20, "the hook has it")
    lines = got()[down["seq"]]
    expect(json.loads(lines[0]), down, "the event")
    expect(lines[1:3], ["nobody", "CapEff:\t0000000000000000"], "whom it runs as")
    others = {target for target in lines[3:] if target != "/dev/null" and not target.startswith((str(HOOK), str(TOLD), "pipe:"))}
    expect(others, set(), "what is open beside the pipe, the script and where it writes")
    # One that hangs is killed, and said to once; nothing waits for it.
    slow = lab.RUN / "hook-slow"
    slow.write_text("#!/bin/sh\nsleep 100\n")
    slow.chmod(0o755)
    station.write_config(config(f'hook = "{slow}"\nhook_timeout_s = 1'))
    station.ctl("reload")
    log = len(station.LOG.read_text())
    station.ctl("vif", "up", "c")
    wait_until(lambda: "the hook fails" in station.LOG.read_text()[log:], 30, "the log says so")
    wait_until(lambda: station.ctl("version")["events"]["hook_failed"] >= 3, 30, "it is killed again and again")
    said = station.LOG.read_text()[log:]
    expect(said.count("the hook fails"), 1, "lines of the log")
    require("killed after 1 s" in said, said)
    start = time.monotonic()
    station.ctl("vif", "down", "c")
    station.ctl("vif", "up", "c")
    require(time.monotonic() - start < 10, "changes wait for the hook")
    file = lab.RUN / "candidate.toml"
    for line, text in [('hook = "x"', "write the whole path"), ("hook_timeout_s = 5", "add hook ="), ('journal = "maybe"', '"auto", "on", "off"'),
                       (f'hook = "{HOOK}"\nhook_user = "a b"', "write a name of /etc/passwd")]:
        file.write_text(config(line))
        code, said = station.check(file)
        require(code and text in said, f"{line}: {code} {said}")
    station.write_config(config())
    station.ctl("reload")
    shutil.rmtree(TOLD)
    told("prefix_limit_clear", 0, vif="a", accepted=1)
