"""Keys of BGP sessions (TCP MD5): `show bgp`, events and metrics say of each session what is wrong with its own.

Customer a has a session in each family with its router, a real BIRD; b's router has one too, without a password, as the station."""

import contextlib
import struct
import time

import case
import lab
import peers
import station
from case import HOSTS, expect, replaced, require, wait_until
from frames import ETH_IPV4, TCP, Raw, checksum, eth, ipv4, pseudo
from sessions import BGP

A, PEER4, PEER6 = HOSTS["a"], "169.254.0.2", "fd00:a::2"
VIF = 'addresses = ["169.254.0.1/30", "fd00:a::1/64"]'
SECRET = "kept-secret"
UNDO = contextlib.ExitStack()
ROUTER = None


def config(password=""):
    """The configuration with a's sessions signed with a password, and b's unsigned."""
    key = f', password = "{password}"' if password else ""
    sessions = [f'{{ peer = "{peer}", peer_as = 65001, local_as = 64512, connect_retry_s = 1{key} }}' for peer in (PEER4, PEER6)]
    head, tail = replaced(case.lab_config(), (VIF, f"{VIF}\nbgp = [{', '.join(sessions)}]")).split('name = "b"\n', 1)
    return head + 'name = "b"\n' + replaced(tail, (VIF, f'{VIF}\nbgp = [{{ peer = "{PEER4}", peer_as = 65002, local_as = 64512 }}]'))


def begin():
    global ROUTER
    case.fresh(config())
    UNDO.enter_context(peers.Router("b", 65002, {4: []}))
    ROUTER = UNDO.enter_context(peers.Router("a", 65001, {4: [], 6: []}))
    wait_until(lambda: peers.established("a") and peers.established("b"), 60, "the sessions")


def end():
    UNDO.close()
    station.stop()


def newest():
    return station.ctl("version")["events"]["newest"]


def keys(here, there):
    """Sets the passwords of a's sessions here and at its router, where BIRD starts them anew."""
    station.write_config(config(here))
    station.ctl("reload")
    if there != ROUTER.password:
        ROUTER.password = there
        ROUTER.announce(4, [])


def test_each_wrong_key_is_said_of_its_session_and_no_other():
    for here, there, cause, words in [("", "one", "key_unexpected", "the peer signs (TCP MD5), no password is set here"),
                                      (SECRET, "one", "key_wrong", "the peer signs with another password"),
                                      (SECRET, "", "key_missing", "the peer does not sign")]:
        since = newest()
        keys(here, there)
        def told(peer):
            row = peers.sessions("a")["a", peer]
            return row["cause"] == cause and row["last_error"].startswith(words) and row["key_failures"] > 0 and row["state"] != "established"
        for peer in (PEER4, PEER6):
            wait_until(lambda: told(peer), 40, f"{cause} of {peer}")
        def events():
            return {(event["vif"], event["peer"], event["peer_as"]) for event in station.lines("events", "--since", since, "--kind", "md5_failure") if event["cause"] == cause}
        wait_until(lambda: events() == {("a", PEER4, 65001), ("a", PEER6, 65001)}, 20, f"events of {cause}")
        require(words in " ".join(lab.run(*station.command("show", "bgp", "a", "-w")).split()), "the table says so")
    row = peers.sessions("b")["b", PEER4]
    expect((row["state"], row["cause"], row["key_failures"]), ("established", None, 0), "b's session, with the same addresses")
    shown = [station.LOG.read_text(), str(station.lines("events", "--since", 0)), str(peers.sessions())]
    require(not any(SECRET in text for text in shown), "a password was shown")
    keys(SECRET, SECRET)
    wait_until(lambda: peers.established("a"), 60, "both sessions, with the same password")
    expect([row["cause"] for row in peers.sessions("a").values()], [None, None], "what is wrong with them")


def syn(source_mac):
    """A SYN of a's router without a signature."""
    head = struct.pack("!HHIIBBHHH", 40_000, BGP, 1, 0, 0x50, 0x02, 1024, 0, 0)
    value = checksum(pseudo(PEER4, A.gw4, TCP, len(head)) + head)
    return eth(A.port_mac, source_mac, ETH_IPV4, ipv4(PEER4, A.gw4, TCP, head[:16] + struct.pack("!H", value) + head[18:]))


def failures():
    return peers.sessions("a")["a", PEER4]["key_failures"]


def test_a_flood_of_syns_costs_little_and_another_mac_is_not_the_peer():
    since, before, log = newest(), failures(), len(station.LOG.read_text())
    punted = lambda: sum(counter["value"] for row in station.ctl("show", "counters", "--vif", "a") for counter in row["counters"] if counter["name"] == "to_kernel")
    at = punted()
    with Raw(A.ns) as wire:
        wire.send(syn("02:77:00:00:00:09"), 20)
        # Those of a flood that the VIF's budget lets pass come after these.
        wait_until(lambda: punted() >= at + 20, 20, "the spoofed ones are through")
        expect(failures(), before, "failures by another MAC")
        began = time.monotonic()
        while time.monotonic() < began + 3:
            wire.send(syn(A.mac), 20)
            time.sleep(0.02)
    wait_until(lambda: failures() > before, 20, "the flood is noticed")
    time.sleep(0.2)
    judged, took = failures() - before, time.monotonic() - began
    require(judged <= 10 * took + 1, f"{judged} were judged in {took} s")
    told = station.lines("events", "--since", since, "--kind", "md5_failure")
    events = [event for event in told if (event["peer"], event["cause"]) == (PEER4, "key_missing")]
    require(len(events) <= 1 + took / 10, events)
    require(station.LOG.read_text()[log:].count("key_missing") <= 1 + took / 10, "lines of the log")
    row = peers.sessions("a")["a", PEER4]
    expect((row["state"], row["cause"]), ("established", None), "the session")
