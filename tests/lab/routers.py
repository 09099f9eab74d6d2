"""The hosts' routing daemons: BIRD on most, FRR on one, GoBGP on another. Each announces the host's own
prefixes to the station by BGP, and installs what it learns."""

import contextlib
import dataclasses
import ipaddress
import json
import os
import pathlib
import pwd
import signal
import subprocess
import time

import lab

HOSTS = lab.HOSTS
DIR = lab.RUN / "routers"
STATION_AS = 64512
FRR = pathlib.Path("/usr/lib/frr")


@dataclasses.dataclass(frozen=True)
class Router:
    """What a host is in BGP. a and b are equal in all but their secret, and so are their clouds."""

    asn: int
    announces: tuple  # IPv4, IPv6
    daemon: str = "bird"
    password: str = ""


ROUTERS = {
    "a": Router(65001, ("10.1.0.0/16", "fd10:1::/48"), password="secret-of-a"),
    "b": Router(65001, ("10.1.0.0/16", "fd10:1::/48"), password="secret-of-b"),
    "c": Router(65003, ("198.51.100.0/24", "2001:db8:c::/48"), daemon="frr"),
    "a2": Router(65002, ("10.3.0.0/16", "fd10:3::/48")),
    "d": Router(65004, ("10.4.0.0/16", "fd10:4::/48")),
    "e": Router(65005, ("203.0.113.0/24", "2001:db8:e::/48"), daemon="gobgp"),
    "vpc-a": Router(64600, ("10.2.0.0/16", "fd10:2::/48")),
    "vpc-b": Router(64600, ("10.2.0.0/16", "fd10:2::/48")),
    "pub": Router(64601, ("198.18.0.0/15", "2001:db8:f::/48")),
    "tgw": Router(64602, ("10.5.0.0/16", "fd10:5::/48")),
}

_daemons = []
_started = []  # the hosts' names


def _spawn(host, *command):
    with lab.inside(host.ns), (DIR / f"{host.name}.log").open("ab") as log:
        child = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                 start_new_session=True)
    _daemons.append(child)
    return child


def _bird(host, router):
    password = f' password "{router.password}";' if router.password else ""
    text = f"""router id {host.addr4};
protocol device {{ }}
protocol direct {{ ipv4; ipv6; interface "eth0"; }}
"""
    families = [(4, host.peer4, host.gw4, host.addr4), (6, host.peer6, host.gw6, host.addr6)]
    for (family, own, station, source), prefix in zip(families, router.announces):
        text += f"""
protocol static own{family} {{ ipv{family}; route {prefix} unreachable; }}
protocol kernel fib{family} {{
  ipv{family} {{
    import none;
    export filter {{ if source != RTS_BGP then reject; krt_prefsrc = {source}; krt_mtu = 1500; accept; }};
  }};
}}
protocol bgp station{family} {{
  local {own.split('/')[0]} as {router.asn};
  neighbor {station} as {STATION_AS};{password}
  connect delay time 1; error wait time 1, 5;
  ipv{family} {{ import all; export where source = RTS_STATIC; }};
}}
"""
    config = DIR / f"{host.name}.conf"
    config.write_text(text)
    config.chmod(0o600)
    _spawn(host, "bird", "-f", "-c", config, "-s", DIR / f"{host.name}.ctl", "-P", DIR / f"{host.name}.pid")


def _frr(host, router):
    directory = DIR / host.name
    directory.mkdir()
    config = directory / "frr.conf"
    lines = [f"ip protocol bgp route-map source4\nipv6 protocol bgp route-map source6\n"
             f"route-map source4 permit 10\n set src {host.addr4}\n"
             f"route-map source6 permit 10\n set src {host.addr6}\n"
             f"router bgp {router.asn}\n bgp router-id {host.addr4}\n no bgp ebgp-requires-policy\n"
             " no bgp network import-check\n no bgp default ipv4-unicast"]
    for family, station, prefix in zip((4, 6), (host.gw4, host.gw6), router.announces):
        lines.append(f" neighbor {station} remote-as {STATION_AS}\n neighbor {station} timers connect 1\n"
                     f" address-family ipv{family} unicast\n"
                     f"  network {prefix}\n  neighbor {station} activate\n exit-address-family")
    config.write_text("\n".join(lines) + "\n")
    user = pwd.getpwnam("frr")
    for path in [directory, config]:
        os.chown(path, user.pw_uid, user.pw_gid)
    for daemon in ["zebra", "bgpd"]:
        _spawn(host, FRR / daemon, "-f", config, "-i", directory / f"{daemon}.pid", "-z", directory / "zserv",
               "--vty_socket", directory, "-P", 0, *(["-S"] if daemon == "bgpd" else []))
        if daemon == "zebra":
            _wait((directory / "zserv").exists, "FRR's zebra")


def gobgp_config(asn, router_id, peer_as, peers):
    """GoBGP's, with a session for the routes of each peer's family."""
    neighbors = "".join(f"""
[[neighbors]]
  [neighbors.config]
    neighbor-address = "{peer}"
    peer-as = {peer_as}
  [neighbors.timers.config]
    connect-retry = 1
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "ipv{6 if ':' in peer else 4}-unicast"
""" for peer in peers)
    return f'[global.config]\n  as = {asn}\n  router-id = "{router_id}"\n{neighbors}'


def _gobgp(host, router):
    config = DIR / f"{host.name}.toml"
    config.write_text(gobgp_config(router.asn, host.addr4, STATION_AS, (host.gw4, host.gw6)))
    _spawn(host, "gobgpd", "-f", config, "--api-hosts", "127.0.0.1:50051")
    for family, prefix in zip(("ipv4", "ipv6"), router.announces):
        _wait(lambda prefix=prefix, family=family:
              lab.ok("gobgp", "global", "rib", "add", "-a", family, prefix, ns=host.ns), "GoBGP")


def _gobgp_install(host):
    """GoBGP has no kernel to install into: what it has learned is installed for it."""
    for family, station, source in [(4, host.gw4, host.addr4), (6, host.gw6, host.addr6)]:
        rib = json.loads(lab.run("gobgp", "-j", "global", "rib", "-a", f"ipv{family}", ns=host.ns) or "{}")
        for prefix, paths in rib.items():
            if any(path.get("neighbor-ip", station) == station and path.get("source-id") for path in paths):
                lab.ip(host.ns, f"route replace {prefix} via {station} src {source}")


def _wait(condition, what, limit=20):
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"{what} does not come up within {limit} s; see {DIR}")
        time.sleep(0.1)


def start(names=tuple(ROUTERS)):
    """Starts a daemon for each of these hosts, which has no route but to its own subnets until it learns one."""
    DIR.mkdir(mode=0o755)
    for name in names:
        host, router = HOSTS[name], ROUTERS[name]
        _started.append(name)
        for family in ("-4", "-6"):
            lab.run("ip", family, "-n", host.ns, "route", "flush", "default", check=False)
        {"bird": _bird, "frr": _frr, "gobgp": _gobgp}[router.daemon](host, router)


LINKS = {str(ipaddress.ip_interface(peer).network) for host in HOSTS.values() for peer in (host.peer4, host.peer6)}


def learned(host):
    """The prefixes that a host's kernel has from its daemon, but for the subnets between it and the station."""
    found = set()
    for family in ("-4", "-6"):
        rows = json.loads(lab.run("ip", family, "-n", host.ns, "-j", "route", "show") or "[]")
        found |= {row["dst"] for row in rows if row.get("gateway")}
    return found - LINKS


def wait_for_routes(expected, limit=60):
    """Until each host has exactly the prefixes expected of it; how long that took."""
    started = time.monotonic()
    while True:
        for name in expected:
            if ROUTERS[name].daemon == "gobgp":
                _gobgp_install(HOSTS[name])
        wrong = {name: learned(HOSTS[name]) for name in expected if learned(HOSTS[name]) != expected[name]}
        if not wrong:
            return time.monotonic() - started
        if time.monotonic() - started > limit:
            raise RuntimeError("not learned by BGP: " + "; ".join(
                f"{name} has {sorted(got)}, not {sorted(expected[name])}" for name, got in wrong.items()))
        time.sleep(0.2)


def expected():
    """What each of the hosts is to learn: the prefixes of those whom it may reach."""
    return {name: {prefix for other, router in ROUTERS.items() if other != name and lab.reaches(name, other)
                   for prefix in router.announces} for name in _started}


def stop():
    """Ends the daemons; the hosts have the lab's routes again, and no others."""
    if not _daemons:
        return
    for child in _daemons:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGTERM)
    for child in _daemons:
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    _daemons.clear()
    while _started:
        host = HOSTS[_started.pop()]
        lab.ip(host.ns, *[f"route del {prefix}" for prefix in learned(host) - {"default"}])
        lab.default_routes(host)
