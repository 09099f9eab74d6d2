"""A controller's sync: mappings from the first line on the admin socket to the answer of its end mark, with the FIB
changed; and the same sync again, in which nothing changes."""

import ipaddress
import json
import socket
import threading
import time

import lab
import station

COUNT = 1_000_000
VRFS, VTEPS = 10, 100  # VTEPs of each VRF
BATCH = 4096
AIM = 200_000  # mappings a second
HELD_MS = 10  # the control thread at a time, on a machine with other work


def config():
    text = f"""
[station]
name = "lab"
socket = "{station.SOCKET}"
bpffs = "{lab.PINS}/station"
state = "{lab.RUN}/state"
[[port]]
name = "core0"
interface = "core0"
role = "core"
[[vrf]]
name = "fabric"
kind = "underlay"
[[vif]]
name = "fabric"
port = "core0"
vlan = 900
vrf = "fabric"
mtu = 1570
addresses = ["10.254.0.1/30", "10.255.0.1/32"]
[[route]]
vrf = "fabric"
prefix = "10.255.0.0/16"
via = [{{ address = "10.254.0.2" }}]
[[vtep]]
name = "vtep"
vrf = "fabric"
address = "10.255.0.1"
mac = "02:0a:00:00:00:01"
"""
    for vrf in range(VRFS):
        remotes = ", ".join(f'{{ address = "{vtep(vrf, n)}", mac = "02:0a:00:00:01:{n:02x}" }}' for n in range(VTEPS))
        text += f"""
[[vrf]]
name = "t{vrf}"
kind = "vpc"
[[vif]]
name = "t{vrf}"
vtep = "vtep"
vni = {5000 + vrf}
vrf = "t{vrf}"
addresses = ["100.64.0.1/32"]
remotes = [{remotes}]
"""
    return text


def vtep(vrf, n):
    return f"10.255.{1 + vrf}.{1 + n}"


def batches(count, shuffled):
    """The lines of a sync, in batches: /28 to /32, VRF by VRF in the order of prefixes; or the VRFs in turns and in no order."""
    lines, n, each = [], 0, count // VRFS
    for at in range(count):
        vrf, place = (at % VRFS, at // VRFS * 7919 % each) if shuffled else (at // each, at % each)
        length = 28 + place % 5
        net = ipaddress.ip_network(((30 << 24) + (place << 4), length))
        line = {"add": {"vrf": f"t{vrf}", "prefix": str(net), "via": [{"vtep": vtep(vrf, place % VTEPS)}]}}
        lines.append(json.dumps(line, separators=(",", ":")))
        if len(lines) == BATCH or at == count - 1:
            n += 1
            yield ("\n".join([*lines, json.dumps({"commit": {"position": n}})]) + "\n").encode()
            lines = []


def sync(payload, generation):
    """Seconds that a sync takes, and its last answer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(str(station.SOCKET))
        answers, rows = connection.makefile("rb"), []
        connection.sendall(b'{"v":1,"request":"mappings","source":"bench"}\n')
        answers.readline()

        def read():
            for _ in range(len(payload) + 2):
                rows.extend(json.loads(answers.readline())["rows"])

        reader = threading.Thread(target=read)
        reader.start()
        began = time.monotonic()
        connection.sendall(b'{"begin":{"generation":%d}}\n' % generation)
        for batch in payload:
            connection.sendall(batch)
        connection.sendall(b'{"end":{"generation":%d}}\n' % generation)
        reader.join()
        took = time.monotonic() - began
        wrong = [row for row in rows if not row["applied"]]
        if wrong:
            raise RuntimeError(f"refused: {wrong[0]}")
        return took, rows


def measure(rows, ticks, peak_mib, count=COUNT):
    for order in ("in order", "shuffled"):
        measure_in(order, rows, ticks, peak_mib, count)


def measure_in(order, rows, ticks, peak_mib, count):
    pid = station.start(config())
    try:
        payload = list(batches(count, order == "shuffled"))
        for case, generation in ((f"all new, {order}", 1), (f"nothing new, {order}", 2)):
            cpu = ticks(pid)
            took, answers = sync(payload, generation)
            held = station.ctl("version")
            row = {"part": "mappings", "case": case, "mappings": count, "wall_s": round(took, 2),
                   "per_s": round(count / took), "stationd_cpu_s": round(ticks(pid) - cpu, 2),
                   "changed": sum(answer["added"] for answer in answers), "peak_mib": round(peak_mib(pid)),
                   "longest_hold_ms": held["longest_hold_us"] / 1000, "longest_hold": held["longest_hold"]}
            row["ok"] = row["per_s"] >= AIM and row["longest_hold_ms"] < HELD_MS
            rows.append(row)
            print(f"  {count} mappings, {case}: {row['wall_s']:.2f} s, {row['per_s']} a second (aim >= {AIM}); CPU of stationd "
                  f"{row['stationd_cpu_s']:.2f} s, {row['peak_mib']} MiB at most; the control thread was held for "
                  f"{row['longest_hold_ms']:.1f} ms at most ({row['longest_hold']}, aim < {HELD_MS}): "
                  f"{'met' if row['ok'] else 'MISSED'}", flush=True)
    finally:
        station.stop(limit=60)
        (lab.RUN / "state/mappings.json").unlink(missing_ok=True)
