"""The billing series: what is in its bins is what the counters had, over changes, restarts and a torn file."""

import csv
import io
import shutil
import signal
import subprocess
import time

import case
import lab
import ledger
import station
from case import Stream, expect, refused, replaced, require, wait_until

FILES = lab.RUN / "state/billing"
NUMBERS = ("rx_frames", "rx_octets", "tx_frames", "tx_octets")


def begin():
    station.stop()
    shutil.rmtree(FILES, ignore_errors=True)
    case.fresh(replaced(case.lab_config(), ('name = "a"\n', 'name = "a"\ncustomer = "Acme, Inc."\n')))


def end():
    station.stop()


def numbers(row):
    return [row[name] for name in NUMBERS]


def summed(rows):
    return [sum(column) for column in zip(*map(numbers, rows))] if rows else [0] * len(NUMBERS)


def bins(*words):
    return station.ctl("billing", "--bins", *words)


def counters():
    return {row["name"]: numbers(row) for row in station.ctl("show", "vifs")}


def series():
    """By VIF, the sum of all its bins, the open one among them."""
    rows = [row for row in bins() if row["scope"] == "vif"]
    return {name: summed([row for row in rows if row["name"] == name]) for name in {row["name"] for row in rows}}


def both():
    """(the series, the counters) of one moment: nothing was counted while they were read."""
    ledger.quiet()
    found = []
    def at_rest():
        before, billed = counters(), series()
        found[:] = [billed, before]
        return counters() == before
    wait_until(at_rest, 20, "the counters rest")
    return found


def plus(first, second):
    return {name: [a + b for a, b in zip(first.get(name, [0] * 4), second.get(name, [0] * 4))] for name in {*first, *second}}


def has_all(billed, wanted, what):
    """A VIF that counted nothing is in no bin."""
    expect(billed, {name: counted for name, counted in wanted.items() if any(counted)}, what)


def stream(pps=1000, seconds=0.5):
    with Stream("a", "vpc-a", pps=pps, seconds=seconds) as sending:
        sent, arrived = sending.finish()
        expect(arrived, sent, "frames that arrived")
        return sent, len(sending.frame)


def marks():
    return {mark for row in bins("--vif", "a") for mark in row.get("marks", [])}


def event(kind, since, **fields):
    found = []
    def there():
        found[:] = [told for told in station.lines("events", "--kind", kind, "--since", since) if fields.items() <= told.items()]
        return found
    wait_until(there, 20, f"{kind} {fields}")
    return found[0]


def newest():
    return station.ctl("version")["events"]["newest"]


def test_bins_have_what_the_counters_have_and_no_clear_changes_them():
    sent, octets = stream()
    billed, counted = both()
    has_all(billed, counted, "the series of all VIFs")
    require(billed["a"][0] >= sent and billed["a"][1] >= sent * octets, f"{sent} frames of {octets} octets: {billed['a']}")
    station.ctl("clear", "counters")
    stream()
    again, since_clear = both()
    has_all(again, plus(billed, since_clear), "the series after the counters were cleared")
    rows = bins("--vif", "a")
    require(all(row["start_ms"] % 300_000 == 0 and row["end_ms"] - row["start_ms"] == 300_000 for row in rows), rows)
    expect(("open" in rows[-1]["marks"], rows[-1]["complete"]), (True, False), f"the open bin: {rows[-1]}")


def test_a_customer_has_what_was_its_at_the_time():
    before = summed(bins("--customer", "Acme, Inc.")[-1:])
    was, _ = both()
    station.ctl("vif", "set", "a", "customer=Other")
    sent, _ = stream()
    billed, _ = both()
    other = [row for row in bins("--customer", "Other") if row["scope"] == "customer"]
    acme = [row for row in bins("--customer", "Acme, Inc.") if row["scope"] == "customer"]
    require(summed(other)[0] >= sent, f"{sent} frames are the new customer's: {other}")
    require(summed(acme)[0] >= before[0], f"the old one keeps what was its: {acme}")
    expect([a + b for a, b in zip(summed(acme), summed(other))], billed["a"], "both together")
    # What was counted before the change, but for some frames of ARP and ND, is not the new one's.
    require(summed(other)[0] < billed["a"][0] - was["a"][0] + 20, f"{other} of {billed['a']}, before {was['a']}")
    station.ctl("vif", "set", "a", "customer=Acme, Inc.")
    expect(refused("billing", "--customer", "Nobody"), 'there is no customer "Nobody"', "a customer whom nobody knows")
    expect(refused("billing", "--bins", "--vif", "nobody"), 'there is no vif "nobody"', "a VIF that nobody knows")


def test_an_id_that_another_vif_takes_takes_no_octet_with_it():
    before, _ = both()
    text = station.CONFIG.read_text()
    # A VIF of another name is another VIF: the second gets the id that the first made free.
    for name in ("c1", "c2"):
        station.write_config(replaced(text, ('name = "c"\n', f'name = "{name}"\n')))
        station.ctl("reload")
    with Stream("c", "pub", pps=500, seconds=0.5) as sending:
        sent, _ = sending.finish()
    billed, counted = both()
    require(billed["c"][0] - before["c"][0] < 10, f"what the VIF had that is gone, but for ARP and ND: {billed['c']}, {before['c']}")
    expect(billed["c2"], counted["c2"], "the new one's is its own")
    require(billed["c2"][0] >= sent, f"{sent} frames: {billed['c2']}")
    station.write_config(text)
    station.ctl("reload")
    # Of VIFs that are gone the books know nothing.
    station.ctl("clear", "counters")


def test_a_restart_goes_on_with_the_bin_and_loses_nothing():
    since = newest()
    for how in ("told", "sessions kept"):
        stream()
        before, _ = both()
        if how == "told":
            station.stop()
        else:
            station.ctl("stop", "--keep-sessions")
        station.start()
        case.learn()
        stream()
        billed, counted = both()
        has_all(billed, plus(before, counted), f"the series after a restart, {how}")
    require({"start", "stop"} <= marks(), f"marks: {marks()}")
    expect(station.lines("events", "--kind", "billing_lost", "--since", since), [], "nothing is lost")


def test_a_kill_loses_the_open_bin_alone_and_says_so():
    station.stop()
    station.start()
    case.learn()
    before, counted = both()
    on_disk = {name: [a - b for a, b in zip(now, counted.get(name, [0] * 4))] for name, now in before.items()}
    stream()
    begun, since = time.time() // 300, newest()
    station.stop(signal.SIGKILL)
    station.start()
    case.learn()
    billed, counted = both()
    lost = event("billing_lost", since)
    require(lost["from_ms"] < lost["to_ms"], lost)
    # The end of a bin may have come in between: then less is lost.
    if time.time() // 300 == begun:
        has_all(billed, plus(on_disk, counted), "the series after a kill")
    require("start" in marks(), f"marks: {marks()}")


def test_a_torn_file_is_cut_and_named():
    before, _ = both()
    since = newest()
    station.stop()
    [file] = sorted(FILES.glob("*.bins"))[-1:]
    size = file.stat().st_size
    expect((file.stat().st_mode & 0o777, FILES.stat().st_mode & 0o777), (0o600, 0o700), "modes")
    with file.open("ab") as torn:
        torn.write(file.read_bytes()[:30])
    station.start()
    told = event("billing_damage", since, file=file.name)
    expect((told["from_octet"], told["to_octet"], told["cut"]), (size, size + 30, True), f"what was cut off: {told}")
    require(f"octets {size} to {size + 30} of {file.name}" in station.LOG.read_text(), "the log says so")
    billed, counted = both()
    has_all(billed, plus(before, counted), "the series after that")


def test_what_is_billed_is_told_as_table_json_and_csv():
    month = time.strftime("%Y-%m", time.gmtime())
    rows = station.ctl("billing", "--month", month)
    names = {(row["scope"], row["name"]) for row in rows}
    require({("vif", "a"), ("vif", "b"), ("customer", "Acme, Inc.")} <= names, names)
    for words in (["--json", "billing", "--csv"], ["billing", "--csv", "--json"]):
        expect(subprocess.run(station.command(*words), capture_output=True, timeout=60, check=False).returncode, 2, f"exit code of {words}")
    text = subprocess.run(station.command("billing", "--month", month, "--csv"), capture_output=True, check=True, timeout=60).stdout.decode()
    require(text.count("\r\n") == len(rows) + 1 and '"Acme, Inc."' in text, text)
    for row, record in zip(rows, csv.DictReader(io.StringIO(text, newline=""))):
        expect((record["name"], record["customer"]), (row["name"], row["customer"] or ""), "names")
        for name in (*NUMBERS, "p95_bits_per_s", "enhanced_bits_per_s", "bins"):
            expect(int(record[name]), row[name], f"{name} of {row['name']}")
        require(record["since"] == f"{month}-01T00:00:00.000Z", record)
    table = station.shown("billing")
    head = table.splitlines()[0].split()
    require(head[:3] == ["OF", "NAME", "CUSTOMER"] and "P95" in head and "ENHANCED" in head and "incomplete" in table, table)
    records = list(csv.DictReader(io.StringIO(station.shown("billing", "--bins", "--vif", "a", "--csv"))))
    starts = [time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(row["start_ms"] / 1000)) for row in bins("--vif", "a")]
    expect([record["start"] for record in records], starts[:len(records)], "the bins as CSV")
    expect(bins("--until", "1970-01-02", "--since", "1970-01-01"), [], "before the station was there")
    require("ends before it begins" in refused("billing", "--since", "2026-11-02", "--until", "2026-11-01"), "a period")
    station.write_config(replaced(station.CONFIG.read_text(), ("[[port]]", "[billing]\nkeep_months = 2\n[[port]]")))
    changes = station.ctl("reload")["changes"]
    require(any("keep_months 13 -> 2" in change for change in changes), changes)
