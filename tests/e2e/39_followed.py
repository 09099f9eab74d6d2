"""A change is answered when routing follows it: what its answer says holds for BIRD at once. Nothing here waits for
BIRD but `stationctl` itself."""

import contextlib
import json
import os
import signal
import subprocess
import time

import case
import lab
import peers
import station
from case import expect, replaced, require, wait_until

PEER = "169.254.0.2"
A, B = "b.v0.100.169.254.0.2", "b.v0.200.169.254.0.2"  # BIRD's names of the sessions
UNDO = contextlib.ExitStack()
BOUND_S = 10


def begin():
    case.fresh(case.bgp_config())
    for name in ("a", "b"):
        UNDO.enter_context(peers.Router(name, 65001, {4: ["10.50.0.0/16", "10.51.0.0/16"]}))
    for name in ("a", "b"):
        wait_until(lambda vif=name: [row["accepted"] for row in station.ctl("show", "bgp", vif) if row["peer"] == PEER] == [2],
                   30, f"the routes of {name}'s router")


def end():
    UNDO.close()
    station.stop()


def bird(*words):
    """What the station's BIRD says."""
    return lab.run("birdc", "-s", lab.RUN / "bird/ctl", *words)


def limit(session):
    lines = bird("show", "protocols", "all", f"'{session}'").splitlines()
    return next(line.split()[-1] for line in lines if "Import limit" in line)


def followed(answer):
    routing = answer["routing"]
    expect((routing["state"], routing["reason"]), ("followed", ""), f"routing, {routing}")
    return routing


def with_session(vif, change):
    """The configuration, with another text of a VIF's first session."""
    head, tail = station.CONFIG.read_text().split(f'name = "{vif}"\n', 1)
    before, own, *others = tail.split("[[vif.bgp]]\n")
    return f'{head}name = "{vif}"\n' + "[[vif.bgp]]\n".join([before, *change(own), *others])


def told(kind, configuration):
    lines = subprocess.run(station.command("--json", "events", "--kind", kind), text=True, capture_output=True, timeout=60, check=True).stdout
    return [event for event in map(json.loads, lines.splitlines()) if event["configuration"] == configuration]


def test_a_reload_is_answered_when_bird_follows():
    station.CONFIG.write_text(with_session("a", lambda own: ["max_prefixes = 77\n" + own]))
    answer = station.ctl("reload")
    expect(limit(A), "77", "BIRD's limit when the reload is answered")
    followed(answer)
    expect(len(told("routing_followed", answer["configuration"])), 1, "events that routing follows")
    # And back, by the history.
    followed(station.ctl("config", "rollback"))
    expect(limit(A), "100", "BIRD's limit when the rollback is answered")


def test_a_session_that_is_removed_has_ended_when_the_answer_comes():
    require(B in bird("show", "protocols"), "b's session is there")
    station.CONFIG.write_text(with_session("b", lambda own: []))
    followed(station.ctl("reload"))
    protocols, routes = bird("show", "protocols"), bird("show", "route", "table", "'r4.vpc-b'")
    require(B not in protocols and A in protocols, protocols)
    require("10.50.0.0/16" not in routes, routes)
    # By a verb it is there again.
    followed(station.ctl("bgp", "add", "b", PEER, "peer_as=65001", "local_as=64512"))
    require(B in bird("show", "protocols"), "b's session is not there")
    followed(station.ctl("vif", "down", "b"))
    require("down" in next(line for line in bird("show", "protocols").splitlines() if line.startswith(B)), "b's session runs")
    followed(station.ctl("vif", "up", "b"))


def test_what_is_nothing_to_bird_is_answered_at_once():
    answer = station.ctl("vif", "set", "a", "description=nothing to BIRD")
    require("routing" not in answer, answer)
    require("routing" not in station.ctl("reload", "--dry-run"), "a dry run")


def test_sessions_with_other_filters_are_counted():
    shown = station.shown("bgp", "set", "a", PEER, "local_preference=150", "--yes")
    require("routing: 1 BGP session has other filters" in shown, shown)
    followed(station.ctl("bgp", "set", "a", PEER, "local_preference=100"))


@contextlib.contextmanager
def bird_stopped():
    """BIRD does nothing meanwhile."""
    pid = station.bird()
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_what_is_pending_is_said_within_the_bound():
    with bird_stopped():
        command = station.command("bgp", "set", "a", PEER, "max_prefixes=88", "--yes")
        began = time.monotonic()
        waiting = subprocess.Popen(command, text=True, stdout=subprocess.PIPE)
        # Nobody else waits: questions, and a change that is nothing to BIRD.
        wait_until(lambda: "max_prefixes = 88" in station.CONFIG.read_text(), 8, "the change is committed")
        station.ctl("show", "vifs")
        answer = station.ctl("vif", "set", "b", "description=meanwhile")
        require(waiting.poll() is None, "the change was answered before BIRD follows")
        require("routing" not in answer, answer)
        shown, took = waiting.communicate(timeout=60)[0], time.monotonic() - began
        require(waiting.returncode == 0 and BOUND_S <= took < 3 * BOUND_S, f"exit {waiting.returncode} after {took:.1f} s: {shown}")
        require("routing: pending: BIRD has not answered yet" in shown, shown)
        # Whoever does not want to wait is told at once.
        answer = station.ctl("bgp", "set", "a", PEER, "max_prefixes=89", "--no-wait")
        expect((answer["routing"]["state"], answer["routing"]["waited_ms"] < 1000), ("pending", True), f"routing, {answer['routing']}")
        expect(told("routing_followed", answer["configuration"]), [], "events that routing follows")
    wait_until(lambda: told("routing_followed", answer["configuration"]), 30, "the event that routing follows")
    expect(limit(A), "89", "BIRD's limit once the event says that it follows")


def test_a_change_that_goes_back_by_itself_is_followed():
    file = lab.RUN / "trial.toml"
    text = station.CONFIG.read_text()
    file.write_text(replaced(text, ("max_prefixes = 89", "max_prefixes = 90")))
    answer = station.ctl("config", "apply", file, "--confirm", "8s")
    followed(answer)
    expect(limit(A), "90", "BIRD's limit on trial")
    back = answer["configuration"] + 1
    wait_until(lambda: told("routing_followed", back), 30, "the event that routing follows what is back")
    expect(limit(A), "89", "BIRD's limit once it has gone back")
