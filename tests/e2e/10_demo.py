"""`scripts/demo` itself: what it shows a newcomer is true, and its data says so."""

import contextlib
import io
import json
import re

import demo
import lab
import overlay
import routers
import station
from case import expect, require


def end():
    station.stop()
    for name in demo.TUNNELS:
        if lab.ok("ip", "-n", lab.HOSTS[name].ns, "link", "show", "vx0"):
            overlay.unmake(name)


def test_the_demo_finds_no_fault():
    demo.TRANSFER = 20_000_000
    shown = io.StringIO()
    try:
        with contextlib.redirect_stdout(shown):
            result = demo.demo()
    finally:
        routers.stop()
    require(result["ok"], f"the demo found faults:\n{shown.getvalue()}")
    require(result["bgp_ok"], "a BGP session is not up, or a route is missing")
    require(result["tunnels_ok"], "a tunnel is not up")
    for name in demo.TUNNELS:
        # So much each way in both families.
        require(min(result["tunnel_frames"][name].values()) > 2 * demo.TRANSFER // 1500, f"frames of {name}: {result['tunnel_frames']}")
    for said in (r"vpc-b +5002 +fd00:255::1 +fd00:255:2::2 +1500 +up +fd00:254:2::2 on core0-vpc-b",
                 r"tgw +5004 +10\.255\.0\.1 +10\.255\.4\.2 +1500 +up +10\.254\.4\.2 on core0-tgw",
                 r"VXLAN, flags \[I\] \(0x08\), vni 5002\n +IP6 fd10:1::10 > fd10:2::10: ICMP6, echo request",
                 r"VXLAN, flags \[I\] \(0x08\), vni 5004\n +IP 10\.4\.0\.10 > 10\.5\.0\.10: ICMP echo request",
                 r"core0-tgw +[1-9]\d* +[1-9]"):
        require(re.search(said, shown.getvalue()), f"{said} is not shown:\n{shown.getvalue()}")
    expect(result["isolation_violations"], 0, "isolation_violations")
    expect(result["unexplained_loss"], 0, "unexplained_loss")
    expect((result["tcp_ok"], result["conservation_ok"]), (True, True), "tcp_ok, conservation_ok")
    expect((result["xdp_mode"], result["zero_copy"]), ("native", False), "xdp_mode, zero_copy on veth")
    require(result["flood"]["forwarded_pps"] > 0, "the flood was not forwarded")
    json.dumps(result)
