"""Undo: every configuration has a number, says who made it, and can come back; one that nobody confirms comes back by
itself, also after a kill; and what cuts live service is asked about.

Customer a has a static route to vpc-a and a session with its router, a real BIRD."""

import contextlib
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time

import case
import lab
import peers
import station
import traffic
from case import HOSTS, expect, refused, replaced, require, wait_until

A, E, PEER = HOSTS["a"], HOSTS["e"], "169.254.0.2"
SECRET, OTHER = "not-for-your-eyes", "nor-for-theirs"
VIF = 'addresses = ["169.254.0.1/30", "fd00:a::1/64"]'
SESSION = f"""
[[vif.bgp]]
peer = "{PEER}"
peer_as = 65001
local_as = 64512
"""
FILE = lab.RUN / "candidate.toml"
HISTORY = lab.RUN / "state/history"
UNDO = contextlib.ExitStack()


def begin():
    shutil.rmtree(HISTORY, ignore_errors=True)
    case.fresh(replaced(case.lab_config(), (VIF, VIF + SESSION)))
    UNDO.enter_context(peers.Router("a", 65001, {4: ["10.99.0.0/16"]}))
    wait_until(serves, 60, "a's session and its route")


def end():
    UNDO.close()
    station.stop()


def serves():
    """a's session is up and its route is there, and its packets arrive."""
    up = station.ctl("show", "bgp", "a")[0]["state"] == "established"
    return up and len(station.ctl("show", "routes", "--vrf", "vpc-a", "10.99.0.0/16")) == 1 and arrives(A, HOSTS["vpc-a"])


def arrives(source, target):
    return traffic.ping(source, traffic.address(target, 4)) == 3


def number():
    return station.ctl("version")["configuration"]


def history():
    return {row["number"]: row for row in station.ctl("config", "history")}


def without_a():
    """A file in which VIF a is down."""
    text = station.CONFIG.read_text()
    FILE.write_text(replaced(text, (VIF, VIF + "\nup = false")))
    return text


def the_same_thing(text):
    """The file, what runs and the newest of the history are this text."""
    expect(station.CONFIG.read_text(), text, "the configuration file")
    expect(station.ctl("config", "show", "--secrets")["text"], text, "what runs, as the history has it")
    expect(station.ctl("reload", "--dry-run")["changes"], [], "what a reload would change")


def test_every_change_has_a_number_and_a_name():
    first = number()
    station.ctl("vif", "down", "e", "--comment", "order 4711")
    station.ctl("vif", "up", "e")
    rows = history()
    expect(number(), first + 2, "the number after two changes")
    down, up = rows[first + 1], rows[first + 2]
    expect((down["command"], down["comment"], down["uid"], down["state"]), ("vif down e", "order 4711", 0, "past"), "the first")
    expect((up["command"], up["comment"], up["state"]), ("vif up e", None, "running"), "the second")
    require(abs(down["time_ms"] / 1000 - time.time()) < 60, f"its time: {down}")
    before = station.ctl("version")
    lab.run("ip", "-n", "st-wire", "link", "set", E.port, "down")
    lab.run("ip", "-n", "st-wire", "link", "set", E.port, "up")
    station.ctl("vif", "up", "e")  # nothing that was not so
    expect(number(), before["configuration"], "the number after links came and went")
    expect({oct(path.stat().st_mode & 0o7777) for path in HISTORY.iterdir()}, {"0o600"}, "modes of the snapshots")
    expect(oct(HISTORY.stat().st_mode & 0o7777), "0o700", "mode of the directory")
    diff = station.ctl("config", "diff", first, first + 1)["text"]
    require("\n+up = false" in diff or "\n-up = true" in diff, diff)
    require("same text" in station.shown("config", "diff", first, first), "a difference of nothing")


CALLER = """
import os, sys
ready, go = os.pipe()
child = os.fork()
if child == 0:
    os.read(ready, 1)
    os.execve(sys.argv[2], sys.argv[2:], os.environ)
if int(sys.argv[1]):
    os.setresuid(*3 * [int(sys.argv[1])])
os.write(go, b"x")
sys.exit(os.waitpid(child, 0)[1] >> 8)
"""


def called_by(uid, claim, *words):
    """A command of root's below a process of a user, with what sudo would say; its row in the history."""
    environment = {**os.environ, "SUDO_UID": str(claim), "SUDO_USER": "ada"}
    command = [sys.executable, "-c", CALLER, str(uid), *station.command(*words)]
    subprocess.run(command, env=environment, check=True, timeout=60, stdout=subprocess.DEVNULL)
    return history()[number()]


def test_who_called_sudo_is_told_where_the_kernel_says_the_same():
    words = ("route", "add", "--vrf", "vpc-b", "10.66.0.0/16", "--action", "blackhole")
    row = called_by(1234, 1234, *words)
    expect((row["uid"], row["sudo_uid"], row["sudo_user"]), (0, 1234, "ada"), "who did it")
    row = called_by(1234, 1235, "route", "del", "--vrf", "vpc-b", "10.66.0.0/16")
    expect((row["uid"], row["sudo_uid"], row["sudo_user"]), (0, None, None), "who did it, where the claim is another's")
    try:
        login = int(open("/proc/self/loginuid").read())
    except FileNotFoundError:
        login = 2**32 - 1
    expect(row["login_uid"], None if login == 2**32 - 1 else login, "who had logged in")


def test_secrets_are_for_root_who_asks():
    text = station.CONFIG.read_text()
    try:
        for secret in (SECRET, OTHER):
            FILE.write_text(replaced(text, ("local_as = 64512\n", f'local_as = 64512\npassword = "{secret}"\n')))
            station.ctl("config", "apply", FILE)
        plain = [station.shown("config", "show"), station.shown("config", "diff"), station.shown("config", "history"), station.LOG.read_text()]
        require(not any(secret in each for each in plain for secret in (SECRET, OTHER)), "a password was shown")
        require("-password = ********\n+password = ********\n" in plain[1], f"that it changed is shown: {plain[1]}")
        require(SECRET in station.shown("config", "show", number() - 1, "--secrets"), "root asks")
        # A member of the socket's group.
        client = shutil.copy(station.BIN / "stationctl", lab.RUN / "stationctl")
        command = ["setpriv", "--reuid", "1234", "--regid", str(station.SOCKET.stat().st_gid), "--clear-groups", client,
                   "--socket", str(station.SOCKET), "config", "show"]
        done = subprocess.run(command, text=True, capture_output=True, check=True, timeout=60)
        require(SECRET not in done.stdout and "[[vif]]" in done.stdout, "the group sees the rest")
        done = subprocess.run([*command, "--secrets"], text=True, capture_output=True, check=False, timeout=60)
        require(done.returncode == 1 and "be root" in done.stderr and not done.stdout, f"the group asks: {done}")
    finally:
        FILE.write_text(text)
        station.ctl("config", "apply", FILE)
    wait_until(serves, 30, "the session without a password")


def test_what_cuts_live_service_is_refused_without_yes():
    text, before = without_a(), number()
    since = peers.sessions("a")["a", PEER]["since_s"]
    for words in [("vif", "down", "a"), ("config", "apply", FILE), ("bgp", "reset", "a"), ("stop",)]:
        why = refused(*words, yes=False)
        require("cuts live service" in why and "nothing has changed" in why and "--yes" in why, why)
        require(re.search("prefixes.*: 1", why), f"what the session carries: {why}")
    why = refused("vif", "down", "a", yes=False)
    require("vif a: is set down" in why and f"bgp {PEER} on vif a: starts anew (up, prefixes accepted: 1)" in why, why)
    answer = station.ctl("config", "check", FILE)
    require(answer["dry_run"] and len(answer["cuts"]) == 3 and "~ vif a" in answer["changes"][0], answer)
    expect(number(), before, "the number")
    the_same_thing(text)
    require(serves(), "a is served")
    require(peers.sessions("a")["a", PEER]["since_s"] >= since, "the session was started anew")


def at_a_terminal(answer, *words):
    """What a person sees who answers so; the exit code."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(station.BIN / "stationctl", ["stationctl", "--socket", str(station.SOCKET), *words])
    seen, said, end = b"", False, time.monotonic() + 30
    while time.monotonic() < end:
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                piece = os.read(terminal, 4096)
            except OSError:
                break
            if not piece:
                break
            seen += piece
        if b"[y/N]" in seen and not said:
            os.write(terminal, answer)
            said = True
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(terminal)
    return code, seen.decode()


def test_a_terminal_is_asked():
    before = number()
    code, seen = at_a_terminal(b"n\n", "vif", "down", "e")
    require(code == 1 and "vif e: is set down" in seen, f"{code}: {seen}")
    expect(number(), before, "the number after a no")
    code, seen = at_a_terminal(b"y\n", "vif", "down", "e")
    require(code == 0 and f"configuration {before + 1}" in seen, f"{code}: {seen}")
    code, seen = at_a_terminal(b"", "vif", "up", "e")
    require(code == 0 and "[y/N]" not in seen, f"what cuts nothing asks nothing: {seen}")


def test_a_change_that_nobody_confirms_goes_back_in_time():
    text, before = without_a(), number()
    answer = station.ctl("config", "apply", FILE, "--confirm", "8s", "--comment", "trial")
    require(answer["until_ms"] and answer["configuration"] == before + 1, answer)
    require(not arrives(A, HOSTS["vpc-a"]), "a's packets while its VIF is down")
    for words in [("vif", "up", "a"), ("route", "del", "--vrf", "vpc-a", "10.2.0.0/16"), ("reload",), ("config", "apply", FILE)]:
        why = refused(*words)
        require("config confirm" in why and "config rollback" in why, why)
    require("on trial already" in refused("config", "rollback", "--confirm", "1m"), "a trial of the way back")
    expect(history()[before + 1]["state"], "unconfirmed", "its state")
    wait_until(lambda: number() == before + 2, 40, "it goes back")
    rows = history()
    expect((rows[before + 1]["state"], rows[before + 1]["comment"]), ("past", "trial"), "the trial")
    require("was not confirmed in time" in rows[before + 2]["command"] and rows[before + 2]["uid"] is None, rows[before + 2])
    the_same_thing(text)
    wait_until(serves, 30, "a is served again")
    # The way back does not lead to the trial.
    station.ctl("config", "rollback")
    the_same_thing(text)


def test_a_change_that_is_confirmed_stays():
    text, before = without_a(), number()
    changed = FILE.read_text()
    station.ctl("config", "apply", FILE, "--confirm", "4s")
    station.ctl("config", "confirm")
    time.sleep(5)
    expect(number(), before + 1, "the number")
    the_same_thing(changed)
    row = history()[before + 1]
    require(row["state"] == "running" and row["confirmed_uid"] == 0 and row["confirmed_ms"], row)
    require("waits to be confirmed" in refused("config", "confirm"), "a second confirmation")
    # Back by hand, at once.
    answer = station.ctl("config", "rollback", "--comment", "it was for a")
    expect(answer["configuration"], before + 2, "the number of what is back")
    the_same_thing(text)
    wait_until(serves, 30, "a is served again")


def test_a_trial_ends_at_once_by_a_rollback():
    text, before = without_a(), number()
    station.ctl("config", "apply", FILE, "--confirm", "10m")
    station.ctl("config", "rollback")
    expect(number(), before + 2, "the number")
    the_same_thing(text)
    wait_until(serves, 30, "a is served again")


def test_a_kill_in_the_window_takes_the_change_back():
    text, before = without_a(), number()
    station.ctl("config", "apply", FILE, "--confirm", "1h")
    require(not arrives(A, HOSTS["vpc-a"]), "a's packets while its VIF is down")
    station.stop(signal.SIGKILL)
    station.start()
    expect(number(), before + 2, "the number")
    row = history()[before + 2]
    require(f"(start: {before + 1} was not confirmed)" in row["command"], row)
    the_same_thing(text)
    wait_until(serves, 60, "a is served again, its session is back")
    require("nobody confirmed the configuration before the station ended" in station.LOG.read_text(), "the log")
    # Another kill changes nothing any more.
    station.stop(signal.SIGKILL)
    station.start()
    expect(number(), before + 2, "the number after another kill")
    wait_until(serves, 60, "a is served after another kill")


def test_what_another_hand_writes_is_not_lost():
    text, before = without_a(), number()
    station.CONFIG.write_text(text + "# by hand\n")
    for words in [("config", "apply", FILE), ("config", "rollback"), ("vif", "down", "e")]:
        require("stationctl reload" in refused(*words), words)
    station.ctl("reload")
    expect(number(), before + 1, "the number after the reload of a comment")
    station.ctl("config", "apply", FILE, "--confirm", "6s")
    edited = FILE.read_text() + "# in a hurry\n"
    station.CONFIG.write_text(edited)
    wait_until(lambda: number() == before + 3, 30, "it goes back")
    expect(station.CONFIG.read_text(), text + "# by hand\n", "the file")
    [kept] = station.CONFIG.parent.glob("station.toml.edited-*")
    expect(kept.read_text(), edited, "what was in the file")
    kept.unlink()
    # A start takes what the file has, whoever wrote it.
    station.stop()
    station.CONFIG.write_text(text)
    station.start()
    expect((number(), history()[before + 4]["command"]), (before + 4, "start"), "an edit that a start found")
    wait_until(serves, 60, "a is served")


def test_a_damaged_snapshot_is_named_and_skipped():
    text = station.CONFIG.read_text()
    for third in (66, 67, 68):
        station.ctl("route", "add", "--vrf", "vpc-b", f"10.{third}.0.0/16", "--action", "blackhole")
    now = number()
    path = HISTORY / f"{now - 1:010}.snapshot"
    octets = path.read_bytes()
    path.write_bytes(octets[:-9] + bytes([octets[-9] ^ 1]) + octets[-8:])
    row = history()[now - 1]
    require(row["state"] == "damaged" and path.name in row["trouble"], row)
    for words in [("config", "rollback", now - 1), ("config", "show", now - 1), ("config", "diff", now - 1)]:
        require(f"configuration {now - 1} in the history is damaged" in refused(*words), words)
    station.ctl("config", "rollback")
    expect(history()[number()]["command"], f"rollback {now - 2}", "the one before the damaged one")
    station.ctl("config", "rollback", now - 3)
    the_same_thing(text)
    require("there is no configuration 999999" in refused("config", "rollback", 999999), "one that never was")


def test_the_history_keeps_as_many_as_it_is_told():
    text = station.CONFIG.read_text()
    FILE.write_text(replaced(text, ("[station]\n", "[station]\nhistory = 3\n")))
    station.ctl("config", "apply", FILE)
    expect(sorted(history()), [number() - 2, number() - 1, number()], "those that are left")
    FILE.write_text(replaced(text, ("[station]\n", "[station]\nhistory = 1\n")))
    require("history" in refused("config", "apply", FILE) and "candidate.toml:" in refused("config", "check", FILE), "the error")
    FILE.write_text(text)
    station.ctl("config", "apply", FILE)


def test_a_file_may_be_large_and_come_by_a_pipe():
    text = station.CONFIG.read_text()
    long = text + "# a long comment that says nothing\n" * 20_000
    answer = station.ctl("config", "apply", "-", stdin=long)
    expect(json.dumps(answer["changes"]), "[]", "what changed")
    the_same_thing(long)
    station.ctl("config", "rollback")
    the_same_thing(text)
