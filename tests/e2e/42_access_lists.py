"""Access lists with real frames: permit and deny, both directions and families; a sender that is told; BGP that no list
cuts; hits that are what was sent; and two lists in turns under load, of which each drops a marker of its own."""

import case
import frames
import lab
import ledger
import peers
import station
import traffic
from case import HOSTS, expect, refused, require, wait_until

A, CLOUD = HOSTS["a"], HOSTS["vpc-a"]
PEER = "169.254.0.2"
# What frames.datagram sends from and to.
LISTS = """
[[acl]]
name = "from-a"
rules = [
  "deny udp from any to 10.2.0.10",
  "deny udp from any to fd10:2::10",
  "reject tcp to any port 25",
  "permit ip",
]
[[acl]]
name = "to-a"
rules = ["deny icmp type 8", "deny icmp6 type 128", "permit ip"]
[[acl]]
name = "nothing"
rules = ["deny ip"]
[[acl]]
name = "drops-source"
rules = ["deny udp from 10.1.0.10", "permit ip"]
[[acl]]
name = "drops-destination"
rules = ["deny udp to 10.2.0.10", "permit ip"]
"""
SESSION = f"""
[[vif.bgp]]
peer = "{PEER}"
peer_as = 65001
local_as = 64512
"""
ROUTER = []


def config():
    addresses = 'addresses = ["169.254.0.1/30", "fd00:a::1/64"]'
    return case.replaced(case.lab_config() + LISTS, (addresses, addresses + SESSION))


def begin():
    case.fresh(config())
    ROUTER.append(peers.Router("a", 65001, {4: ["10.99.0.0/16"]}))
    ROUTER[0].__enter__()
    wait_until(lambda: peers.established("a"), 30, "the session of a")


def end():
    ROUTER[0].__exit__(None, None, None)
    station.stop()
    station.start(case.lab_config())


def hits(name):
    """(in, out) by rule; the last two are what no rule matches and what cannot be read."""
    [row] = station.ctl("show", "acl", name)
    return [(entry["hits_in"], entry["hits_out"]) for entry in row["entries"]]


def arrived(target, source):
    return ledger.host_counts(target)[f"from {source.name}"]


def test_what_is_denied_does_not_arrive_and_the_rest_does():
    before = arrived(CLOUD, A)
    station.ctl("vif", "set", "a", "acl_in=from-a")
    with frames.Raw(A.ns) as raw:
        for address in CLOUD.lan:
            own = A.addr6 if ":" in address else A.addr4
            raw.send(frames.datagram(A, own, address), 7)
    others = len(CLOUD.lan) - 2
    wait_until(lambda: hits("from-a")[:3] == [(7, 0), (7, 0), (0, 0)], 10, "hits of the rules that deny")
    wait_until(lambda: arrived(CLOUD, A) - before == 7 * others, 10, "what is permitted arrives")
    [row] = [row for row in station.ctl("show", "acl") if row["name"] == "from-a"]
    expect((row["denied_in"], row["vifs_in"], row["structure"]), (14, ["a"], "tables"), "the list")


def test_the_other_direction_has_a_list_of_its_own():
    station.ctl("vif", "set", "a", "--unset", "acl_in", "acl_out=to-a")
    for six in (4, 6):
        expect(traffic.ping(CLOUD, traffic.address(A, six)), 0, f"echo requests to a, IPv{six}")
        expect(traffic.ping(A, traffic.address(CLOUD, six)), 3, f"echo requests from a, IPv{six}")
    expect([out for _, out in hits("to-a")[:2]], [3, 3], "echo requests that were denied")


def test_a_sender_is_told_of_what_is_rejected():
    station.ctl("vif", "set", "a", "--unset", "acl_out", "acl_in=from-a")
    code = "import socket, sys; s = socket.socket(); s.settimeout(5); print(s.connect_ex((sys.argv[1], 25)))"
    got = lab.run("python3", "-c", code, CLOUD.addr4, ns=A.ns)
    got = int((got if isinstance(got, str) else got.stdout).strip())
    # EHOSTUNREACH: what Linux makes of code 13.
    expect(got, 113, "connect() to what is rejected")
    require(hits("from-a")[2][0] >= 1, hits("from-a"))


def test_no_list_cuts_what_is_for_the_station():
    since = peers.sessions("a")["a", PEER]["since_s"]
    station.ctl("vif", "set", "a", "acl_in=nothing", "acl_out=nothing")
    expect(traffic.ping(A, "169.254.0.1"), 3, "echo requests to the station")
    expect(traffic.ping(A, traffic.address(CLOUD, 4)), 0, "echo requests through it")
    lab.run("ip", "neigh", "flush", "dev", "eth0", ns=A.ns, check=False)
    expect(traffic.ping(A, "169.254.0.1"), 3, "with ARP anew")
    row = peers.sessions("a")["a", PEER]
    expect(row["state"], "established", "the session")
    require(row["since_s"] >= since, f"the session began anew: {since} {row}")
    [row] = station.ctl("explain", "--vif", "a", "--from", A.addr4, "--to", CLOUD.addr4)
    expect((row["verdict"], row["stage"]), ("drop(acl_denied_in)", "acl_in"), "the packet's fate")
    require("list nothing of vif a: rule 1, deny ip from any to any" in row["stages"][-1]["detail"], row["stages"][-1])


def test_two_lists_in_turns_let_nothing_pass_that_both_deny():
    station.ctl("clear", "counters")
    station.ctl("vif", "set", "a", "--unset", "acl_out", "acl_in=drops-source")
    before = arrived(CLOUD, A)
    with case.Stream("a", "vpc-a", pps=2000, seconds=5) as stream:
        changes = 0
        while stream.process.poll() is None:
            changes += 1
            station.ctl("vif", "set", "a", f"acl_in={('drops-destination', 'drops-source')[changes % 2]}")
        stream.process.wait(timeout=20)
    require(changes > 10, f"only {changes} changes")
    names = ["drops-source", "drops-destination"]
    wait_until(lambda: sum(hits(name)[0][0] for name in names) == stream.count, 10,
               f"every frame is denied and counted: {[hits(name) for name in names]} of {stream.count}")
    expect(arrived(CLOUD, A) - before, 0, "frames that passed")
    require(all(hits(name)[0][0] > 0 for name in names), "both lists judged some")
    # The same with one name whose rules change: the rule that stays keeps its hits.
    before_reloads = sum(n for name in names for n, _ in hits(name))
    text = config()
    other = text.replace('rules = ["deny udp from 10.1.0.10", "permit ip"]',
                         'rules = ["deny tcp", "deny udp from 10.1.0.10", "permit ip"]')
    with case.Stream("a", "vpc-a", pps=2000, seconds=2) as stream:
        with_list = lambda text: text.replace('name = "a"\nport', 'name = "a"\nacl_in = "drops-source"\nport')
        turns = 0
        while stream.process.poll() is None:
            turns += 1
            station.write_config(with_list(other if turns % 2 else text))
            station.ctl("reload")
    wait_until(lambda: sum(n for name in names for n, _ in hits(name)) >= before_reloads + stream.count, 10,
               f"every frame is counted, over {turns} reloads")
    expect(arrived(CLOUD, A) - before, 0, "frames that passed")


def test_a_wrong_list_changes_nothing():
    why = refused("vif", "set", "a", "acl_in=absent")
    require('there is no acl "absent"' in why, why)
    station.write_config(config().replace('"deny icmp type 8"', '"deny icmp type 800"'))
    why = refused("reload")
    require("rule 1" in why and "is no ICMP type" in why, why)
    station.write_config(config())
    station.ctl("reload")
