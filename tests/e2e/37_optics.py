"""What drivers and modules tell of ports: `show ports --detail`, and the same among the metrics. A veth tells speed and
duplex, and the kernel how often its carrier came and went; it has neither FEC nor module, and says nothing of them.

What a module says is tested from dumps (src/optics/tests.rs), what ethtool answers from its messages' octets
(src/netlink/ethtool/tests.rs): this kernel has no driver that has either (netdevsim is not built)."""

import time

import case
import lab
import scrape
import station
from case import expect, replaced, require, wait_until

METRICS = ("127.0.0.1", 9474)
PORT = "cust0"


def begin():
    case.fresh(replaced(case.lab_config(), ('[station]\n', '[station]\nmetrics = "127.0.0.1:9474"\n')))


def end():
    station.stop()


def details():
    return {row["name"]: row for row in station.ctl("show", "ports", "--detail")}


def page():
    """Series and values."""
    return scrape.samples(scrape.page(METRICS)[2])


def test_a_veth_tells_what_it_knows_and_nothing_else():
    rows = details()
    expect(sorted(rows), sorted(station.ports()), "ports")
    row = rows[PORT]
    told = {key: row.get(key) for key in ("link", "speed_mbps", "duplex", "autonegotiation", "driver")}
    expect(told, {"link": "up", "speed_mbps": 10000, "duplex": "full", "autonegotiation": False, "driver": "veth"}, PORT)
    require(row["age_ms"] < 5000, row)
    for absent in ("fec", "module", "errors", "firmware", "bus", "lanes", "down_reason", "notes"):
        require(absent not in row, f"a veth has no {absent}: {row}")


def test_people_see_a_dash_where_nothing_is_told():
    text = station.shown("show", "ports", "--detail")
    part = text[text.index(f"{PORT} ("):].split("\n\n")[0]
    values = {line[2:18].strip(): line[18:] for line in part.splitlines()[1:]}
    expect({key: values[key] for key in ("speed", "duplex", "autonegotiation", "FEC", "errors", "module")},
           {"speed": "10.0 Gbit/s", "duplex": "full", "autonegotiation": "off", "FEC": "-", "errors": "-", "module": "-"}, part)
    require(max(len(line) for line in text.splitlines()) <= 80, text)


def test_a_flap_is_counted_by_the_kernel_and_by_the_station():
    def counts():
        row = details()[PORT]
        return row["carrier_ups"], row["carrier_downs"], row["link"]
    ups, downs, _ = counts()
    changes = station.ports()[PORT]["carrier_changes"]
    lab.ip("st-wire", f"link set dev {PORT} down")
    try:
        wait_until(lambda: counts() == (ups, downs + 1, "down"), 30, "the loss of the carrier is told")
    finally:
        lab.ip("st-wire", f"link set dev {PORT} up")
    wait_until(lambda: counts() == (ups + 1, downs + 1, "up"), 30, "its return is told")
    wait_until(lambda: station.ports()[PORT]["carrier_changes"] == changes + 2, 30, "the station has noticed both")


def test_metrics_have_what_is_told_with_its_age_and_nothing_else():
    speed, age = f'station_port_speed_bytes{{port="{PORT}"}}', f'station_port_reading_age_seconds{{port="{PORT}"}}'
    wait_until(lambda: page().get(speed) == 1.25e9, 30, "the drivers have been asked for the metrics")
    found = page()
    require(0 <= found[age] < 60, found[age])
    for name in ("module", "fec", "power", "bias", "physical_errors"):
        series = [series for series in found if series.startswith("station_port_") and name in series]
        expect(series, [], f"a veth tells nothing of {name}")
    # Nobody asks: the readings are made all the same, every 15 seconds.
    first = time.monotonic() - page()[age]
    wait_until(lambda: time.monotonic() - page()[age] > first + 5, 40, "a new reading, without a question")


def test_an_interface_that_is_gone_tells_nothing_and_comes_back():
    lab.ip("st-station", f"link del {PORT}")
    def is_missing():
        row = details()[PORT]
        return row["link"] != "up" and "speed_mbps" not in row and "carrier_ups" not in row
    wait_until(is_missing, 30, "nothing is told of it")
    lab.add_port(PORT)
    def is_back():
        row = details()[PORT]
        return row["link"] == "up" and row.get("speed_mbps") == 10000
    wait_until(is_back, 60, "the port is back")
