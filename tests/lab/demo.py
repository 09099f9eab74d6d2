"""The demo: makes the lab, runs real traffic through the station, and tells what it saw."""

import argparse
import contextlib
import json
import subprocess
import sys
import time

import frames
import lab
import ledger
import overlay
import routers
import station
import traffic

HOSTS = lab.HOSTS
# The customers and what they came for; a's second site shows that one VPC has many doors.
SERVICES = [("a", "vpc-a"), ("b", "vpc-b"), ("c", "pub"), ("d", "tgw")]
TRANSFER = 100_000_000
FLOOD_SECONDS = 5
TUNNELS = ("vpc-b", "tgw")  # who is behind the fabric: their routes are the station's own


def title(text):
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


def table(header, rows):
    rows = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    for row in [header, ["-" * width for width in widths], *rows]:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    sys.stdout.flush()


def yes(value):
    return "yes" if value else "NO"


def path_note(port):
    return f"{port['xdp_mode']}, {'zero-copy' if port['zero_copy'] else 'copy'}"


def show_lab():
    title("The lab")
    table(["VIF", "tenant", "port", "VLAN or VNI", "addresses behind it"],
          [[h.name, h.tenant, h.port, f"VNI {overlay.ENDS[h.name].vni}" if h.name in TUNNELS else ".".join(map(str, h.tags)), "  ".join(h.lan)]
           for h in HOSTS.values()])
    print("  a and b use the same addresses on purpose: only their VLAN ids tell them apart.")


def routing():
    """Every host's own daemon speaks BGP with the station, but behind tunnels; no customer has a static route."""
    title("BGP: every customer's route is learned")
    routers.start([name for name in routers.ROUTERS if name not in TUNNELS])
    expected = routers.expected()
    for name in expected:
        if any(lab.reaches(name, far) for far in TUNNELS):
            expected[name].update(overlay.ADDRESSES)  # the router's own there
    seconds = routers.wait_for_routes(expected)
    sessions = station.ctl("show", "bgp")
    table(["VIF", "peer", "AS", "its daemon", "state", "accepted", "advertised"],
          [[row["vif"], row["peer"], row["peer_as"], routers.ROUTERS[row["vif"]].daemon, row["state"],
            row["accepted"], row["advertised"]] for row in sessions])
    print(f"  every host had the routes of those it may reach, and no others, after {seconds:.1f} s")
    return all(row["state"] == "established" for row in sessions), seconds


def cloud():
    """VPC B and the transit gateway are VTEPs; a request to each on the wire, as tcpdump reads it."""
    title("The cloud side: VXLAN to `vxlan` devices of the Linux kernel")
    rows = station.ctl("show", "tunnels")
    table(["VIF", "VNI", "from VTEP", "to VTEP", "MTU", "state", "by way of"],
          [[row["vif"], row["vni"], row["local"], row["remote"], row["mtu"], row["state"], " ".join(row["via"])] for row in rows])
    with traffic.tcpdump("core0", "-t", "-c", "2", "vlan", "and", "udp", "port", "4789") as wire:
        traffic.ping(HOSTS["b"], HOSTS["vpc-b"].addr6, count=1)
        traffic.ping(HOSTS["d"], HOSTS["tgw"].addr4, count=1)
        try:
            print("\n" + "".join(f"  {line}\n" for line in wire.communicate(timeout=5)[0].splitlines()), end="")
        except subprocess.TimeoutExpired:
            print("  tcpdump has not seen them")
    return {row["vif"] for row in rows if row["state"] == "up"} == set(TUNNELS)


def gateway(host, family):
    """The router as a host sees it."""
    if host.name in TUNNELS:
        return overlay.ADDRESSES[family == 6]
    return host.gw6 if family == 6 else host.gw4


def reachability():
    """Ping and traceroute of every pair that belongs together, both ways, both families."""
    title("Reachability: ping (3 each) and traceroute")
    rows, good = [], True
    for x, y in lab.REACHES:
        for source, target in [(HOSTS[x], HOSTS[y]), (HOSTS[y], HOSTS[x])]:
            row = [f"{source.name} -> {target.name}"]
            for family in (4, 6):
                destination = traffic.address(target, family)
                replies = traffic.ping(source, destination)
                hops = traffic.traceroute(source, destination)
                expected = [gateway(source, family), destination]
                good &= replies == 3 and hops == expected
                row += [f"{replies}/3", " > ".join(hops)]
            rows.append(row)
    table(["from -> to", "IPv4", "by way of", "IPv6", "by way of"], rows)
    return good


def tcp():
    """iperf3 both ways, then 100 MB each way by checksum."""
    title(f"TCP: iperf3 (Mbit/s), then {TRANSFER // 1_000_000} MB each way compared by SHA-256")
    rows, tenants = [], {}
    for x, y in SERVICES:
        customer, cloud = HOSTS[x], HOSTS[y]
        for family in (4, 6):
            up = traffic.iperf(customer, cloud, traffic.address(cloud, family), seconds=1)
            down = traffic.iperf(customer, cloud, traffic.address(cloud, family), seconds=1, reverse=True)
            sent, _ = traffic.transfer(customer, cloud, traffic.address(cloud, family), octets=TRANSFER)
            received, _ = traffic.transfer(cloud, customer, traffic.address(customer, family), octets=TRANSFER)
            result = {"iperf_up_mbps": up, "iperf_down_mbps": down, "sent_intact": sent, "received_intact": received}
            tenants.setdefault(customer.tenant, {})[f"ipv{family}"] = result
            rows.append([f"{x} <-> {y}", f"IPv{family}", f"{up:.0f}" if up else "FAILED",
                         f"{down:.0f}" if down else "FAILED", yes(sent), yes(received)])
    table(["who", "family", "to cloud", "from cloud", "sent intact", "received intact"], rows)
    good = all(all(value for value in result.values()) for tenant in tenants.values() for result in tenant.values())
    return good, tenants


def isolation():
    """Each host tries to reach each other host, honestly and with forged sources."""
    title("Isolation: every host probes every address of every other, with its own and with forged sources")
    before = ledger.quiet()
    sent = {}
    for source in HOSTS.values():
        with contextlib.ExitStack() as stack:
            raw = stack.enter_context(frames.Raw(source.ns))
            tunnel = stack.enter_context(frames.Raw(source.ns, "vx0")) if source.name in TUNNELS else None
            for target in HOSTS.values():
                if lab.reaches(source.name, target.name):
                    continue
                probes = traffic.probes(source, target)
                sent[source.name, target.name] = len(probes) * (2 if tunnel else 1)
                for probe in probes:
                    raw.send(probe)
                    if tunnel:  # the one by eth0 was beside it, in the fabric
                        tunnel.send(overlay.inner(source.name, probe))
    seen = ledger.quiet() - before
    rows, violations = [], 0
    for target in HOSTS.values():
        row = [target.name]
        for source in HOSTS.values():
            got = seen.hosts[target.name][f"from {source.name}"]
            allowed = lab.reaches(source.name, target.name)
            violations += 0 if allowed else got
            row.append("-" if allowed else got)
        rows.append(row)
    table(["received by", *[f"of {name}" for name in HOSTS]], rows)
    print(f"  {sum(sent.values())} probes sent by {len(sent)} ordered pairs that must not meet; "
          f"{violations} arrived where they must not.")
    return violations, sum(sent.values())


def counters(seen):
    title("What the station counted so far")
    rows = []
    for name in [*HOSTS, *map(overlay.carrier, TUNNELS)]:
        vif = seen.vifs[name]
        rows.append([name, vif["rx_frames"], vif["forwarded"], ledger.total(vif, "punt "), ledger.total(vif, "drop "),
                     vif["tx_frames"]])
    table(["VIF", "received", "forwarded", "to the slow path", "dropped", "sent"], rows)
    drops = seen.drops()
    if drops:
        print()
        table(["dropped because", "frames"], sorted(drops.items(), key=lambda item: -item[1]))


def flood():
    """64-octet frames (with their FCS, without tag 60) as fast as the machine makes them."""
    title(f"Flood: 64-byte UDP from a to vpc-a for {FLOOD_SECONDS} s")
    source, target = HOSTS["a"], HOSTS["vpc-a"]
    frame = frames.datagram(source, source.addr4, target.addr4, size=60, tags=source.tags)
    before = ledger.quiet()
    with traffic.Sink(target.port) as sink:
        said = traffic.flood(source, frame, "seconds", FLOOD_SECONDS)
        time.sleep(0.2)
        after = ledger.quiet()
        arrived = sink.frames
    seen = after - before
    result = {
        "offered": said["sent"],
        "offered_pps": round(said["sent"] / said["seconds"]),
        "received": seen.ports[source.port]["rx_frames"],
        "forwarded": seen.vifs["a"]["forwarded"],
        "arrived": arrived,
        "forwarded_pps": round(arrived / said["seconds"]),
        "seconds": said["seconds"],
        "drops": dict(seen.drops()),
    }
    table(["", "frames", "frames/s"], [
        ["offered", result["offered"], result["offered_pps"]],
        ["received by the station", result["received"], round(result["received"] / said["seconds"])],
        ["forwarded by the station", result["forwarded"], round(result["forwarded"] / said["seconds"])],
        ["arrived", arrived, result["forwarded_pps"]],
    ])
    for reason, count in seen.drops().items():
        print(f"  dropped as {reason}: {count}")
    print("  What the station did not receive was lost before it, in the veth's queue: the generator is faster.")
    return result, seen.unbalanced()


def demo():
    started = time.monotonic()
    lab.up()
    show_lab()
    for name in TUNNELS:
        overlay.make(name)
    station.start(overlay.tunnelled((lab.HERE / "bgp.toml").read_text(), *TUNNELS))
    ports = station.ports()
    title("The station")
    table(["port", "role", "XDP", "link"],
          [[name, port["role"], path_note(port), "up" if port["up"] else "down"] for name, port in ports.items()])
    bgp_ok, seconds = routing()
    begin = ledger.quiet()
    tunnels_ok = cloud()
    reach_ok = reachability()
    tcp_ok, tenants = tcp()
    violations, probes = isolation()
    calm = ledger.quiet() - begin
    counters(calm)
    unexplained, unbalanced = calm.unexplained(), calm.unbalanced()
    flooded, flood_unbalanced = flood()

    title("Verdict")
    conservation = unbalanced + flood_unbalanced
    result = {
        "ok": False,
        "bgp_ok": bgp_ok,
        "bgp_seconds": round(seconds, 1),
        "tunnels_ok": tunnels_ok,
        "tunnel_frames": {name: {way: calm.vifs[name][f"{way}_frames"] for way in ("rx", "tx")} for name in TUNNELS},
        "reachability_ok": reach_ok,
        "tcp_ok": tcp_ok,
        "isolation_violations": violations,
        "isolation_probes": probes,
        "unexplained_loss": sum(abs(count) for count in unexplained.values()),
        "unexplained_where": unexplained,
        "conservation_ok": not conservation,
        "conservation_faults": conservation,
        "drops": dict(calm.drops()),
        "flood": flooded,
        "xdp_mode": "+".join(sorted({port["xdp_mode"] for port in ports.values()})),
        "zero_copy": all(port["zero_copy"] for port in ports.values()),
        "ports": ports,
        "tenants": tenants,
        "seconds": round(time.monotonic() - started, 1),
    }
    verdicts = [
        ("every BGP session is up and every route learned", bgp_ok, ""),
        ("the tunnels to VPC B and the transit gateway are up", tunnels_ok, ""),
        ("everything that should reach does", reach_ok, ""),
        ("TCP works both ways, 100 MB arrive intact", tcp_ok, ""),
        ("no tenant reaches another", violations == 0, f"{violations} of {probes} probes got through"),
        ("no frame vanished unexplained before the flood", not unexplained, f"{unexplained}"),
        ("received = forwarded + slow path + drops, for each VIF and port", not conservation, "; ".join(conservation)),
        ("the flood was forwarded", flooded["arrived"] > 0, ""),
    ]
    result["ok"] = all(good for _, good, _ in verdicts)
    for text, good, detail in verdicts:
        print(f"  {'ok  ' if good else 'FAIL'}  {text}{'' if good or not detail else ': ' + detail}")
    return result


def explore():
    bin_ = station.BIN
    print(f"""
The lab is still up. Things to try:
  ip netns list          (the hosts are st-a, st-b, ... st-tgw; the wires are in st-wire)
  nsenter --net=/run/netns/st-a ping {HOSTS['vpc-a'].addr4}
  nsenter --net=/run/netns/st-wire tcpdump -eni cust0
  ip netns exec {lab.TAPS_NS} birdc -s {lab.RUN}/bird/ctl show protocols
  {bin_}/stationctl --socket {station.SOCKET} show counters
  {bin_}/stationctl --socket {station.SOCKET} show tunnels
  {bin_}/stationctl --socket {station.SOCKET} lookup --vif a {HOSTS['vpc-a'].addr4}
The configuration is {station.CONFIG}, the log {station.LOG}.
Remove it with: sudo scripts/demo --down""")


def main():
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("--json", metavar="FILE", help="write the results as JSON")
    parser.add_argument("--keep", action="store_true", help="leave the lab up for exploring")
    parser.add_argument("--down", action="store_true", help="remove a lab that --keep (or a crash) left")
    options = parser.parse_args()
    lab.lock()
    if options.down:
        lab.down()
        return 0
    result = {"ok": False}
    try:
        result = demo()
    except RuntimeError as error:
        result["error"] = str(error)
        print(f"\nThe demo failed: {error}", file=sys.stderr)
    finally:
        if options.keep:
            explore()
        else:
            routers.stop()
            with contextlib.suppress(RuntimeError):
                station.stop()
            lab.down()
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(result, file, indent=2)
            file.write("\n")
    print(f"\n{'The demo went as it should.' if result['ok'] else 'The demo found faults.'}")
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
