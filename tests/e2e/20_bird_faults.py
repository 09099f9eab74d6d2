"""What customers' routers, links and BIRD's own faults can do to BGP and BFD: each is the matter of the session that it
comes from. Tenant a is the hostile one or the one with the fault, b the ordinary one beside it."""

import contextlib
import os
import signal
import socket
import struct
import threading
import time

import case
import lab
import peers
import station
from case import HOSTS, expect, refused, require, wait_until
from sessions import BGP, bound

ALL = os.environ.get("STATION_ALL")
BFD_PORT = 3784
INTERVAL, MULTIPLIER = 100, 3
DIRECTORY = lab.RUN / "bird"
MAX = 10
UNDO = contextlib.ExitStack()
ROUTERS = {}


def config():
    head, *vifs = case.bgp_config().split("[[vif]]\n")
    for at, vif in enumerate(vifs):
        if vif.split('"')[1] in ("a", "b", "a2"):
            vifs[at] = vif.replace("\n\n", f"\nbfd = {{ interval_ms = {INTERVAL}, multiplier = {MULTIPLIER} }}\n\n", 1) \
                .replace("local_as = 64512", f"local_as = 64512\nmax_prefixes = {MAX}")
    # Two static next hops without a session of their own: on a's VIF and on a2's.
    return "[[vif]]\n".join([head, *vifs]) + f"""
[[route]]
vrf = "vpc-a"
prefix = "{STATIC}"
via = [{{ address = "{STATIC_A}" }}, {{ address = "{STATIC_A2}" }}]
[[route]]
vrf = "vpc-a"
prefix = "{BEHIND_CUST1}"
via = [{{ address = "169.254.0.6" }}]
"""


# On a's and a2's subnets (fd00:a::/64, fd00:a:2::/64) there is room for another router.
STATIC_A, STATIC_A2 = "fd00:a::3", "fd00:a:2::3"
STATIC, BEHIND_CUST1 = "fd77::/32", "10.79.0.0/16"


class Bfd:
    """A peer's end of a BFD session (RFC 5880), which does what a test says."""

    ADMIN_DOWN, DOWN, INIT, UP = range(4)

    def __init__(self, name, own, gateway):
        self.name, self.own, self.gateway = name, own, gateway
        self.state, self.says, self.silent, self.theirs = self.DOWN, None, False, 0
        six = ":" in own
        family = socket.AF_INET6 if six else socket.AF_INET
        with lab.inside(HOSTS[name].ns):
            self.sink, self.source = socket.socket(family, socket.SOCK_DGRAM), socket.socket(family, socket.SOCK_DGRAM)
        level, option = (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS) if six else (socket.IPPROTO_IP, socket.IP_TTL)
        self.source.setsockopt(level, option, 255)
        self.source.bind((own, 49_200))
        self.sink.bind((own, BFD_PORT))
        self.sink.settimeout(0.02)
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()
        self.sink.close()
        self.source.close()

    def run(self):
        last, next_at, was = time.monotonic(), 0, None
        while not self.ended.is_set():
            with contextlib.suppress(TimeoutError):
                packet = self.sink.recv(100)
                self.heard(packet[1] >> 6, struct.unpack_from("!I", packet, 4)[0])
                last = time.monotonic()
            now = time.monotonic()
            if now - last > 1.5:
                self.state, self.theirs = self.DOWN, 0
            if (now >= next_at or self.state != was) and not self.silent:
                was = self.state
                next_at = now + (INTERVAL / 1000 * 0.8 if self.state == self.UP else 0.5)
                state = self.state if self.says is None else self.says
                packet = struct.pack("!BBBBIIIII", 1 << 5, state << 6, MULTIPLIER, 24, 7, self.theirs,
                                     INTERVAL * 1000, INTERVAL * 1000, 0)
                with contextlib.suppress(OSError):
                    self.source.sendto(packet, (self.gateway, BFD_PORT))

    def heard(self, state, discriminator):
        """RFC 5880 6.8.6."""
        self.theirs = discriminator
        if state == self.ADMIN_DOWN:
            self.state = self.DOWN
        elif self.state == self.DOWN:
            self.state = {self.DOWN: self.INIT, self.INIT: self.UP}.get(state, self.DOWN)
        elif self.state == self.INIT and state in (self.INIT, self.UP):
            self.state = self.UP
        elif self.state == self.UP and state == self.DOWN:
            self.state = self.DOWN


class Session:
    """A BGP session of a's router by hand, established when it is entered."""

    def __init__(self, name="a", asn=65001, hold=90):
        self.speaker = peers.Speaker(name, asn)
        self.name, self.asn, self.hold = name, asn, hold

    def __enter__(self):
        self.stream = bound(HOSTS[self.name].ns, socket.SOCK_STREAM, self.speaker.own, 0)
        self.stream.settimeout(10)
        end = time.monotonic() + 15
        while True:
            with contextlib.suppress(OSError, EOFError):
                self.stream.connect((self.speaker.station, BGP))
                capabilities = b"\x01\x04" + struct.pack("!HBB", 1, 0, 1) + b"\x41\x04" + struct.pack("!I", self.asn)
                self.write(peers.OPEN, struct.pack("!BHH4sBBB", 4, self.asn, self.hold, socket.inet_aton("10.99.0.1"),
                                                   len(capabilities) + 2, 2, len(capabilities)) + capabilities)
                while self.speaker.read(self.stream) != peers.OPEN:
                    pass
                self.write(peers.KEEPALIVE)
                while self.speaker.read(self.stream) != peers.KEEPALIVE:
                    pass
                return self
            require(time.monotonic() < end, f"{self.name}'s session does not come up")
            self.stream.close()
            time.sleep(0.5)
            self.stream = bound(HOSTS[self.name].ns, socket.SOCK_STREAM, self.speaker.own, 0)
            self.stream.settimeout(10)

    def __exit__(self, *_):
        self.stream.close()

    def write(self, kind, body=b""):
        self.speaker.write(self.stream, kind, body)

    def update(self, *prefixes, origin=0, attributes=b""):
        own = socket.inet_aton(self.speaker.own)
        path = struct.pack("!BBI", 2, 1, self.asn)
        given = peers.attribute(1, bytes([origin])) + peers.attribute(2, path) + peers.attribute(3, own) + attributes
        return struct.pack("!HH", 0, len(given)) + given + b"".join(map(peers.packed, prefixes))


def begin():
    case.fresh(config())
    for name, asn, prefix in [("b", 65001, "10.1.0.0/16"), ("vpc-a", 64600, "10.2.0.0/16"), ("vpc-b", 64600, "10.2.0.0/16")]:
        ROUTERS[name] = UNDO.enter_context(peers.Router(name, asn, {4: [prefix]}))
    wait_until(lambda: all(row(name)["state"] == "established" for name in ROUTERS), 30, "the sessions")


def end():
    UNDO.close()
    station.stop()


def row(name, six=False):
    [found] = [row for (vif, peer), row in peers.sessions(name).items() if vif == name and (":" in peer) == six]
    return found


def outages(name):
    return station.ctl("show", "outages", name)


def reconfigured():
    return (DIRECTORY / "run/bird.log").read_text().count("Reconfigured")


def peer_of(name):
    return HOSTS[name].peer4.split("/")[0], HOSTS[name].gw4


# ---- BFD ------------------------------------------------------------------------------------------

def members():
    found = station.ctl("lookup", "--vif", "vpc-a", "fd77::1")["via"]
    return {member["next_hop"]: member["state"] for member in found}


def test_a_static_next_hop_that_bfd_loses_carries_no_traffic():
    for name, address in (("a", STATIC_A), ("a2", STATIC_A2)):
        lab.ip(HOSTS[name].ns, f"addr add {address}/64 dev eth0 nodad")
        UNDO.callback(lab.ip, HOSTS[name].ns, f"addr del {address}/64 dev eth0")
    lab.run("ping", "-n", "-q", "-c", 3, "-i", 0.2, "-I", STATIC_A, HOSTS["a"].gw6, ns="st-a", check=False)
    lab.run("ping", "-n", "-q", "-c", 3, "-i", 0.2, "-I", STATIC_A2, HOSTS["a2"].gw6, ns="st-a2", check=False)
    with Bfd("a", STATIC_A, HOSTS["a"].gw6) as one, Bfd("a2", STATIC_A2, HOSTS["a2"].gw6) as other:
        wait_until(lambda: one.state == other.state == Bfd.UP, 15, "BFD with both next hops")
        wait_until(lambda: members() == {STATIC_A: "reachable", STATIC_A2: "reachable"}, 10, "both next hops")
        time.sleep(0.5)
        before = len(outages("a"))
        one.silent = True
        took = wait_until(lambda: members()[STATIC_A] == "silent", 2, "the silent next hop is no more used")
        print(f"        BFD {INTERVAL} ms x {MULTIPLIER}: silence was noticed after {took * 1000:.0f} ms")
        expect(members()[STATIC_A2], "reachable", "the other next hop")
        wait_until(lambda: len(outages("a")) == before + 1, 2, "the outage")
        expect(outages("a")[-1]["cause"], "bfd", "its cause")
        one.silent = False
        wait_until(lambda: members() == {STATIC_A: "reachable", STATIC_A2: "reachable"}, 10, "both next hops again")
        # Switched off by its operator: no loss, also when it says nothing any more (RFC 5882 4.2).
        other.says = Bfd.ADMIN_DOWN
        time.sleep(2)
        other.silent = True
        time.sleep(3)
        expect(members(), {STATIC_A: "reachable", STATIC_A2: "reachable"}, "next hops")
    station.ctl("show", "bgp")


def test_a_peer_that_switches_bfd_off_keeps_its_session():
    own, gateway = peer_of("b")
    with Bfd("b", own, gateway) as bfd:
        wait_until(lambda: bfd.state == Bfd.UP and row("b")["bfd"] == "up", 15, "BFD")
        since, before = row("b")["since_s"], len(outages("b"))
        bfd.says = Bfd.ADMIN_DOWN
        wait_until(lambda: row("b")["bfd"] == "down", 2, "BFD is down")
        time.sleep(3)
        bfd.silent = True
        time.sleep(2)
        expect(row("b")["state"], "established", "the session")
        require(row("b")["since_s"] >= since + 4, "the session was started anew")
        expect(len(outages("b")), before, "outages")
        bfd.says, bfd.silent = None, False
        wait_until(lambda: bfd.state == Bfd.UP and row("b")["bfd"] == "up", 15, "BFD is back")
        # Real silence.
        started = time.monotonic()
        bfd.silent = True
        wait_until(lambda: len(outages("b")) == before + 1, 2, "the outage")
        print(f"        BFD {INTERVAL} ms x {MULTIPLIER}: the outage is in the ledger after {(time.monotonic() - started) * 1000:.0f} ms")
        expect(outages("b")[-1]["cause"], "bfd", "its cause")
        wait_until(lambda: row("b")["state"] != "established" or row("b")["since_s"] < since, 3, "the session ends")
    wait_until(lambda: row("b")["state"] == "established", 15, "the session is back")


# ---- hostile peers --------------------------------------------------------------------------------

def test_malformed_updates_delay_no_event_of_another_tenant():
    wait_until(lambda: row("b")["state"] == "established", 15, "b's session")
    pid, was = station.bird(), reconfigured()
    sent, ended = [0], threading.Event()
    with Session("a") as session:
        body = session.update("10.99.0.0/24", origin=9)
        one = b"\xff" * 16 + struct.pack("!HB", 19 + len(body), peers.UPDATE) + body
        block = one * 500

        def flood():
            with contextlib.suppress(OSError):
                while not ended.is_set():
                    session.stream.sendall(block)
                    sent[0] += 500
        flooder = threading.Thread(target=flood)
        flooder.start()
        try:
            time.sleep(2)
            started, slow = time.monotonic(), []
            for _ in range(4):
                wait_until(lambda: row("b")["state"] == "established", 20, "b's session")
                time.sleep(0.3)
                before, killed = len(outages("b")), time.monotonic()
                ROUTERS["b"].__exit__()
                wait_until(lambda before=before: len(outages("b")) > before, 5, "the loss of b's session is told")
                slow.append(time.monotonic() - killed)
                ROUTERS["b"].__enter__()
            rate = sent[0] / (time.monotonic() - started)
        finally:
            ended.set()
            session.stream.shutdown(socket.SHUT_RDWR)
            flooder.join()
    print(f"        beside {rate:,.0f} malformed UPDATEs a second another tenant's loss is told after "
          f"{', '.join(f'{each * 1000:.0f}' for each in slow)} ms")
    require(max(slow) < 2, f"a loss was told after {max(slow):.1f} s")
    require(sent[0] > 50_000, f"only {sent[0]} UPDATEs")
    expect((station.bird(), reconfigured()), (pid, was), "BIRD and its configurations")
    size = sum(path.stat().st_size for path in (DIRECTORY / "run").glob("bird.log*"))
    require(size < 1 << 20, f"BIRD's log has {size} octets")
    require(station.LOG.read_text().count("Malformed") + station.LOG.read_text().count("ORIGIN") < 300, "lines in the log")
    wait_until(lambda: row("b")["state"] == "established", 20, "b's session")


def test_a_hold_time_of_zero_is_shown():
    with Session("a", hold=0):
        wait_until(lambda: row("a")["state"] == "established", 10, "a's session")
        require("hold time 0" in row("a")["last_error"], row("a")["last_error"])
    expect("hold time 0" in row("b")["last_error"], False, "b's error")


def test_halves_of_a_default_route_and_route_targets_go_nowhere():
    target = peers.attribute(16, bytes.fromhex("0002fc0000000064") + bytes.fromhex("0102c00002010007"))
    target = bytes([0xD0]) + target[1:]  # optional, transitive
    with Session("a") as session:
        session.write(peers.UPDATE, session.update("0.0.0.0/1", "128.0.0.0/1", "10.0.0.0/7", attributes=target))
        session.write(peers.UPDATE, session.update("10.50.0.0/16", attributes=target))
        wait_until(lambda: row("a")["accepted"] == 1, 10, "the prefix")
        expect(row("a")["rejected"], {"default_route": 3}, "what was refused")
        wait_until(lambda: "10.50.0.0/16" in ROUTERS["vpc-a"].birdc("show", "route"), 10, "the core has it")
        shown = ROUTERS["vpc-a"].birdc("show", "route", "all", "10.50.0.0/16")
        require("ext_community" not in shown, shown)


def unknown(flags, kind, value):
    """An attribute with these flags (RFC 4271 4.3)."""
    return struct.pack("!BBB", flags, kind, len(value)) + value


def test_of_what_bird_does_not_know_only_the_transitive_passes():
    """BIRD 2.0's filters name attributes that it knows, and no others (filter/config.Y: `dynamic_attr`): none removes one
    that it does not know, nor refuses a route that has one. This says what passes, and what does not."""
    optional, transitive, partial = 0x80, 0x40, 0x20
    known = unknown(optional | transitive, 8, bytes.fromhex("fc000007" "fde80007"))  # ours and 65000:7 (RFC 1997)
    known += unknown(optional | transitive, 16, bytes.fromhex("0002fc0000000064" "0002fde800000064"))  # route targets (RFC 4360)
    known += unknown(optional | transitive, 32, bytes.fromhex("0000fc000000000100000002" "0000fde80000000100000002"))  # RFC 8092
    others = unknown(optional, 98, b"once") + unknown(optional | transitive, 99, b"evil") + unknown(optional | transitive | partial, 100, b"more")
    with Session("a") as session:
        session.write(peers.UPDATE, session.update("10.51.0.0/16", attributes=known + others))
        wait_until(lambda: core_has("10.51.0.0/16"), 10, "the core has it")
        shown = ROUTERS["vpc-a"].birdc("show", "route", "all", "10.51.0.0/16")
    found = dict(line.strip().split(": ", 1) for line in shown.splitlines() if line.strip().startswith("BGP.") and ": " in line)
    well_known = {f"BGP.{name}" for name in ("origin", "as_path", "next_hop", "local_pref")}
    expect({name: value for name, value in found.items() if name not in well_known},
           {"BGP.community": "(65000,7)", "BGP.large_community": "(65000, 1, 2)",
            "BGP.63 [t]": "65 76 69 6c", "BGP.64 [t]": "6d 6f 72 65"}, "what reaches the core beside the well-known attributes")


# ---- limits and links -----------------------------------------------------------------------------

def flap(port, seconds=0.3):
    lab.ip("st-wire", f"link set {port} down")
    time.sleep(seconds)
    lab.ip("st-wire", f"link set {port} up")


def test_a_session_that_is_shut_stays_shut():
    with Session("a") as session:
        session.write(peers.UPDATE, session.update(*[f"10.60.{n}.0/24" for n in range(MAX + 1)]))
        wait_until(lambda: row("a")["state"] == "shut", 10, "the session is shut")

    def still(what):
        until = time.monotonic() + 2
        while time.monotonic() < until:
            expect(row("a")["state"], "shut", f"a's session after {what}")
            time.sleep(0.2)
    require("bgp reset a" in row("a")["last_error"], row("a")["last_error"])
    was = reconfigured()
    station.ctl("route", "add", "--vrf", "vpc-a", "10.78.0.0/16", "--action", "blackhole")
    wait_until(lambda: reconfigured() > was, 10, "BIRD has read a configuration")
    still("a configure")
    flap("cust0")
    wait_until(lambda: station.ports()["cust0"]["up"], 10, "the port")
    still("a flap of its link")
    before = station.bird()
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: station.bird() != before and row("b")["state"] == "established", 30, "another BIRD")
    still("BIRD's death")
    station.stop()
    station.start()
    wait_until(lambda: row("b")["state"] == "established", 30, "the sessions after a restart")
    still("a restart of the station")
    station.ctl("bgp", "reset", "a")
    with Session("a"):
        wait_until(lambda: row("a")["state"] == "established", 10, "the session after the reset")


def core_has(prefix):
    return prefix in ROUTERS["vpc-a"].birdc("show", "route")


def test_a_link_that_is_lost_withdraws_what_it_led_to_and_configures_nothing():
    wait_until(lambda: row("vpc-a")["state"] == "established", 20, "the core's session")
    wait_until(lambda: core_has(BEHIND_CUST1), 20, "the core has what is behind cust1")
    was, since = reconfigured(), row("b")["since_s"]
    lab.ip("st-wire", "link set cust1 down")
    took = wait_until(lambda: not core_has(BEHIND_CUST1), 5, "it is withdrawn")
    lab.ip("st-wire", "link set cust1 up")
    back = wait_until(lambda: core_has(BEHIND_CUST1), 5, "it is back")
    print(f"        withdrawn {took * 1000:.0f} ms after the loss of the link, back {back * 1000:.0f} ms after it came")
    # Now it flaps: it is not advertised before it stays.
    flap("cust1", 0.2)
    time.sleep(0.2)
    flap("cust1", 0.2)
    until = time.monotonic() + 1
    while time.monotonic() < until:
        require(not core_has(BEHIND_CUST1), "a link that flaps is advertised")
        time.sleep(0.05)
    wait_until(lambda: core_has(BEHIND_CUST1), 10, "it is back when it stays")
    expect(reconfigured(), was, "configurations that BIRD has read")
    require(row("b")["since_s"] >= since, "b's session was started anew")


# ---- BIRD's own faults ----------------------------------------------------------------------------

def test_bird_cannot_exchange_roots_files():
    expect(DIRECTORY.stat().st_uid, 0, "owner of BIRD's directory")
    for command in (["touch", DIRECTORY / "bird.conf.new"], ["ln", "-s", "/etc/shadow", DIRECTORY / "shut.new"],
                    ["mv", DIRECTORY / "ctl", DIRECTORY / "other"], ["rm", "-f", DIRECTORY / "bird.conf"]):
        require(not lab.ok("setpriv", "--reuid", "bird", "--regid", "bird", "--clear-groups", *command), f"bird can {command}")


def test_a_bird_that_hangs_is_noticed_and_others_are_answered():
    pid = station.bird()
    os.kill(pid, signal.SIGSTOP)
    stopped = time.monotonic()
    try:
        answers, asking, slowest, asked = [], [], 0, 0

        def ask():
            try:
                answers.append(station.ctl("show", "bgp")[0]["last_error"])
            except station.Refused as refused:
                answers.append(refused.text)
        while time.monotonic() < stopped + 6:
            if asked % 3 == 0:  # 2 a second and more
                asking.append(threading.Thread(target=ask))
                asking[-1].start()
            asked += 1
            started = time.monotonic()
            station.ctl("show", "vifs")
            slowest = max(slowest, time.monotonic() - started)
            time.sleep(0.1)
        for thread in asking:
            thread.join()
        print(f"        BIRD hangs: {len(asking)} times `show bgp`, beside it `show vifs` {asked} times, within {slowest * 1000:.0f} ms")
        require(slowest < 2, f"show vifs took {slowest:.1f} s")
        require(all("BIRD" in answer for answer in answers) and len(answers) == len(asking), answers)
        wait_until(lambda: "does not answer" in row("b")["last_error"], 15, "it is said that BIRD does not answer")
        if ALL:
            took = wait_until(lambda: station.bird() != pid and "does not" not in row("b")["last_error"], 60, "another BIRD")
            print(f"        another BIRD {time.monotonic() - stopped:.0f} s after it hung ({took:.0f} s more)")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    wait_until(lambda: row("b")["state"] == "established", 40, "b's session")
    wait_until(lambda: "does not answer" not in row("b")["last_error"], 10, "BIRD answers again")


def test_without_bird_the_station_forwards_what_is_static():
    station.stop()
    absent = lab.RUN / "bird-that-comes-later"
    with contextlib.suppress(FileNotFoundError):
        absent.unlink()
    static = '\n[[route]]\nvrf = "vpc-b"\nprefix = "10.1.0.0/16"\nvia = [{ address = "169.254.0.2" }]\n' \
             '[[route]]\nvrf = "vpc-b"\nprefix = "10.2.0.0/16"\nvia = [{ address = "169.254.255.2" }]\n'
    station.start(case.replaced(config() + static, ("[station]\n", f'[station]\nbird = "{absent}"\n')))
    case.learn()
    output = lab.run("ping", "-n", "-c", 3, "-i", 0.2, "-I", HOSTS["b"].addr4, HOSTS["vpc-b"].addr4, ns="st-b", check=False)
    require(" 0% packet loss" in output, output)
    require("install BIRD" in row("b")["last_error"], row("b")["last_error"])
    was = station.running()
    why = refused("stop", "--keep-sessions")
    require(all(words in why for words in ("no sessions to keep", "install BIRD", "without --keep-sessions")), why)
    expect(station.running(), was, "the station after a refused stop")
    for word in ("down", "up"):
        started = time.monotonic()
        routing = station.ctl("vif", word, "b")["routing"]
        require(time.monotonic() - started < 2, f"vif {word} took long")
        require(routing["state"] == "pending" and "install BIRD" in routing["reason"], f"vif {word}: {routing}")
    absent.symlink_to("/usr/sbin/bird")
    took = wait_until(lambda: row("b")["state"] == "established", 60, "the session when BIRD is there")
    print(f"        BIRD is used {took:.0f} s after it was installed")
