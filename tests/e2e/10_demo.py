"""`scripts/demo` itself: what it shows a newcomer is true, and its data says so."""

import contextlib
import io
import json

import demo
import routers
from case import expect, require


def test_the_demo_finds_no_fault():
    shown = io.StringIO()
    try:
        with contextlib.redirect_stdout(shown):
            result = demo.demo()
    finally:
        routers.stop()
    require(result["ok"], f"the demo found faults:\n{shown.getvalue()}")
    require(result["bgp_ok"], "a BGP session is not up, or a route is missing")
    expect(result["isolation_violations"], 0, "isolation_violations")
    expect(result["unexplained_loss"], 0, "unexplained_loss")
    expect((result["tcp_ok"], result["conservation_ok"]), (True, True), "tcp_ok, conservation_ok")
    expect((result["xdp_mode"], result["zero_copy"]), ("native", False), "xdp_mode, zero_copy on veth")
    require(result["flood"]["forwarded_pps"] > 0, "the flood was not forwarded")
    json.dumps(result)
