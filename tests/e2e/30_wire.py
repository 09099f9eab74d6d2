"""Seeing the wire: what was dropped, with the last frames of each reason."""

import lab
import station
from case import HOSTS, expect, require, wait_until
from frames import ETH_ARP, ETH_IPV4, UDP, Raw, datagram, eth, ip, ipv4, mac, udp

A, B = HOSTS["a"], HOSTS["b"]
STRANGER = "02:77:00:00:00:09"


def on_wire(packet, tags, src=STRANGER, dst=A.port_mac, kind=ETH_IPV4):
    """A frame as the customer's port sends it."""
    return eth(dst, src, kind, packet, tags)


def drops(*words):
    """By where and why."""
    return {(row["name"], row["reason"]): row for row in station.ctl("show", "drops", *words)}


def test_a_wrong_vlan_is_told_with_its_frames():
    station.ctl("clear", "counters")
    packet = ipv4("10.7.0.1", "10.7.0.2", UDP, udp("10.7.0.1", "10.7.0.2", b"secret" * 5))
    question = b"\0\1\x08\0\6\4\0\1" + mac(STRANGER) + ip("10.7.0.1") + bytes(6) + ip("10.7.0.254")
    with Raw("st-wire", "cust0") as wire:
        wire.send(on_wire(packet, (310,)), 31)
        wire.send(on_wire(question, (311,), dst="ff:ff:ff:ff:ff:ff", kind=ETH_ARP), 2)
    wait_until(lambda: drops().get(("cust0", "unknown_vlan"), {}).get("count") == 33, 5, "all are counted")
    row = drops("--port", "cust0")["cust0", "unknown_vlan"]
    expect(row["scope"], "port", "where a frame is counted that belongs to no VIF")
    require("typo" in row["help"], row["help"])
    require(row["first_ms"] <= row["last_ms"], row)
    seen = {tuple(frame["vlans"]): frame for frame in row["frames"]}
    expect({vlans: frame["count"] for vlans, frame in seen.items()}, {(310,): 31, (311,): 2}, "frames by VLAN")
    frame = seen[310,]
    expect([frame[name] for name in ("source_mac", "destination_mac", "source", "destination", "protocol", "source_port", "destination_port")],
           [STRANGER, A.port_mac, "10.7.0.1", "10.7.0.2", "udp", 4000, 9], "what is known of the frame")
    expect([seen[311,][name] for name in ("protocol", "source", "destination")], ["arp request", "10.7.0.1", "10.7.0.254"], "the ARP request")
    text = lab.run(station.BIN / "stationctl", "--socket", station.SOCKET, "show", "drops", "--port", "cust0")
    require(f" 31x VLAN 310 from {STRANGER} to {A.port_mac}, udp 10.7.0.1:4000 > 10.7.0.2:9, " in text, text)
    expect(len(drops("--last", "1")["cust0", "unknown_vlan"]["frames"]), 1, "frames with --last 1")
    expect(drops("--vif", "a"), {}, "drops of a VIF that dropped nothing")


def test_a_spoofed_source_and_a_flood_beside_it():
    station.ctl("clear", "counters")
    with Raw(A.ns) as a, Raw(B.ns) as b:
        a.send(datagram(A, "172.16.0.1", "10.2.0.10"), 5)
        # Each of b's is a new sender: it may use up its own room, not a's.
        for n in range(2000):
            b.send(datagram(B, f"172.16.{n >> 8}.{n & 255}", "10.2.0.10"))
        a.send(datagram(A, "10.1.0.10", "10.99.0.1"), 3)
    wait_until(lambda: drops().get(("b", "spoofed_source"), {}).get("count") == 2000, 5, "the flood is counted")
    wait_until(lambda: drops().get(("a", "no_route"), {}).get("count") == 3, 5, "what has no route is counted, by the slow path")
    found = drops("--vif", "a")
    expect(set(found), {("a", "spoofed_source"), ("a", "no_route")}, "drops of a")
    expect([(frame["count"], frame["source"], frame["vlans"]) for frame in found["a", "spoofed_source"]["frames"]],
           [(5, "172.16.0.1", [100])], "a's spoofed frame")
    expect([(frame["count"], frame["destination"]) for frame in found["a", "no_route"]["frames"]], [(3, "10.99.0.1")], "a's lost packet")
    kept = drops("--vif", "b", "--last", "1000")["b", "spoofed_source"]["frames"]
    # At most 16 a VIF and worker.
    require(0 < len(kept) <= 16 * len(station.ctl("show", "workers")), len(kept))
    counted = station.ctl("show", "counters", "--vif", "b")[0]["counters"]
    expect([row["value"] for row in counted if row["name"] == "spoofed_source"], [2000], "the counter says the same")
