"""`stationd` and its BIRD: checked before anything changes, taken over after a kill, ended with the station.

What sessions do over the wire is tested with BIRD itself in tests/bird/live.rs."""

import os
import pathlib
import signal

import case
import lab
import station
from case import expect, refused, replaced, require, wait_until

VIF = 'addresses = ["169.254.0.1/30", "fd00:a::1/64"]'
SECRET = "not-for-your-eyes"
SESSION = f"""
bfd = {{ interval_ms = 100 }}
[[vif.bgp]]
peer = "169.254.0.2"
peer_as = 65001
local_as = 64512
password = "{SECRET}"
"""
DIRECTORY = lab.RUN / "bird"


def with_session(session=SESSION):
    return replaced(case.lab_config(), (VIF, VIF + session))


def session():
    [row] = station.ctl("show", "bgp")
    return row


def known():
    """BIRD runs and has the session."""
    row = session()
    return station.bird() is not None and row["state"] != "down"


def begin():
    case.fresh(with_session())
    wait_until(known, 10, "BIRD runs with the session")


def end():
    station.stop()
    station.start(case.lab_config())


def test_bird_runs_for_itself_alone():
    status = pathlib.Path(f"/proc/{station.bird()}/status").read_text()
    uid = next(line.split()[1] for line in status.splitlines() if line.startswith("Uid:"))
    require(uid != "0", "BIRD runs as root")
    expect(oct(DIRECTORY.stat().st_mode & 0o777), "0o710", "mode of BIRD's directory")
    expect(oct((DIRECTORY / "bird.conf").stat().st_mode & 0o777), "0o600", "mode of BIRD's configuration")


def test_show_bgp_tells_of_the_session_and_of_no_secret():
    row = session()
    expect([row[key] for key in ("vif", "vrf", "peer", "peer_as", "local", "local_as")],
           ["a", "vpc-a", "169.254.0.2", 65001, "169.254.0.1", 64512], "who the session is between")
    expect((row["accepted"], row["advertised"], row["max_prefixes"]), (0, 0, 100), "prefixes")
    shown = [str(station.ctl("show", "bgp", "a")), station.LOG.read_text()]
    shown.append(station.ctl("show", "bgp", "a", "routes", "received").__str__())
    require(not any(SECRET in text for text in shown), "a password was shown")


def test_what_is_not_there_is_refused():
    for words, says in [(("bgp", "nowhere"), "no vif"), (("bgp", "b"), "no BGP session"),
                        (("bgp", "b", "routes", "received"), "no BGP session")]:
        why = refused("show", *words)
        require(says in why, f"{words}: {why}")


def test_a_session_is_reset():
    [change] = station.ctl("bgp", "reset", "a")["changes"]
    require("169.254.0.2 on vif a" in change, change)


def test_a_change_of_a_password_is_said_but_not_shown():
    station.CONFIG.write_text(with_session(SESSION.replace(SECRET, "another-secret")))
    changes = station.ctl("reload")["changes"]
    expect(changes, ["~ bgp 169.254.0.2 on vif a: password changed"], "what the reload says")
    conf = DIRECTORY / "bird.conf"
    wait_until(lambda: "another-secret" in conf.read_text(), 5, "BIRD has the new password")


def test_what_bird_refuses_changes_nothing():
    good = station.CONFIG.read_text()
    false = lab.RUN / "bird-that-refuses"
    false.write_text('#!/bin/sh\ncat >/dev/null\necho "/dev/stdin:1:1 no such thing" >&2\nexit 1\n')
    false.chmod(0o755)
    station.stop()
    station.CONFIG.write_text(replaced(good, ("[station]", f'[station]\nbird = "{false}"')))
    code, output = station.check(station.CONFIG)
    require(code != 0 and "no such thing" in output, f"exit {code}: {output}")
    # Without sessions it is not asked, and the station runs; with one the change is refused whole.
    plain = replaced(case.lab_config(), ("[station]", f'[station]\nbird = "{false}"'))
    station.start(plain)
    generation = station.ctl("version")["generation"]
    station.CONFIG.write_text(replaced(plain, (VIF, VIF + SESSION)))
    for words in (["reload", "--dry-run"], ["reload"]):
        why = refused(*words)
        require("no such thing" in why, why)
    expect(station.ctl("version")["generation"], generation, "the generation")
    expect(station.bird(), None, "a BIRD")
    station.stop()
    station.start(with_session())
    wait_until(known, 10, "BIRD runs again")


def test_a_killed_station_leaves_bird_and_takes_it_over():
    before = station.bird()
    station.stop(signal.SIGKILL)
    expect(station.bird(), before, "BIRD after a kill of stationd")
    station.start()
    wait_until(known, 10, "the session is known")
    expect(station.bird(), before, "BIRD after the next start")


def test_a_dead_bird_is_started_again():
    before = station.bird()
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: known() and station.bird() != before, 10, "another BIRD")


def test_without_sessions_there_is_no_bird():
    station.CONFIG.write_text(case.lab_config())
    station.ctl("reload")
    wait_until(lambda: station.bird() is None, 10, "BIRD ends")
    expect(station.ctl("show", "bgp"), [], "sessions")
    station.CONFIG.write_text(with_session())
    station.ctl("reload")
    wait_until(known, 10, "BIRD runs again")


def test_an_orderly_end_ends_bird():
    station.stop()
    expect(station.bird(), None, "BIRD after an orderly end")
