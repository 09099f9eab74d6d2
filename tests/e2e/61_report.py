"""The report of a customer's month: as text, JSON and HTML it says what `show sla`, `show outages`, `show probe-history` and
`billing` say, and what targets answered outlives the daemon."""

import datetime
import html.parser
import json
import re
import shutil
import signal
import struct
import subprocess
import time
import zlib

import case
import lab
import station
from case import HOSTS, Skip, Stream, expect, refused, replaced, require, wait_until
from flow_books import newest
from overlay import table

STATE = lab.RUN / "state"
CUSTOMER = 'Acme <script>alert(1)</script> & "Söhne"'
QUOTED = CUSTOMER.replace('"', '\\"')
HOST = HOSTS["a"]
NOBODY = "10.1.99.9"
MINUTE, HOUR, DAY = 60, 3600, 86_400
# The month before has bins of three hours of its fourth day, the last but one of which the daemon did not count in.
FIRST = datetime.datetime.now(datetime.timezone.utc).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
BEFORE = (FIRST - datetime.timedelta(days=1)).replace(day=1)
MONTH, LAST = f"{FIRST:%Y-%m}", f"{BEFORE:%Y-%m}"
BEGIN = int(BEFORE.timestamp()) + 3 * DAY
HOURS = (0, 1, 3)
START = int(FIRST.timestamp())
CHANGED_HANDS = time.time() > START + 4 * HOUR
LEDGER, INVENTED = STATE / "outages.jsonl", []
BINS = [BEGIN + hour * HOUR + at * 5 * MINUTE for hour in HOURS for at in range(12)]


def probe(name, vif, *targets, **fields):
    return table("probe", name=name, vif=vif, targets=targets, interval_ms=100, timeout_ms=100, **fields)


def configure(*probes):
    customers = {"a": QUOTED, "a2": QUOTED, "c": "Second"}
    owned = [(f'name = "{name}"\nport', f'name = "{name}"\ncustomer = "{customer}"\nport') for name, customer in customers.items()]
    station.write_config(replaced(case.lab_config(), *owned) + "".join(probes))


def series(number, bins):
    """A file of the billing series, as station-billing(7) says that it is. Of each bin when it begins, and (VIF, customer, octets
    received, octets sent); `number` is that of the first."""
    def packed(n):
        return bytes([n]) if n < 128 else bytes([n & 127 | 128]) + packed(n >> 7)

    def text(words):
        return packed(len(words.encode())) + words.encode()
    blocks = b""
    for at, (begins, rows) in enumerate(bins):
        mark = 2 if at == len(bins) - 1 else 0  # the daemon ended because it was told to
        body = b"".join(map(packed, (number + at, (begins + 300) * 1000, 300_000, mark, len(rows))))
        body += b"".join(text(customer) for _, customer, *_ in rows) + packed(len(rows))
        for place, (vif, _, received, sent) in enumerate(rows):
            body += packed(0) + text(vif) + packed(place + 1) + packed(0) + b"".join(map(packed, (7, received, 7, sent)))
        head = b"SBB1" + struct.pack("<III", begins // 300, len(body), zlib.crc32(body))
        blocks += head + struct.pack("<I", zlib.crc32(head)) + body
    return blocks


def past():
    """VIF a counts in all bins of the month before, a2 in the first of each hour. In the first hours of this month c was the
    first customer's, and then the second's; it had an outage with each."""
    last = [(begins, [("a", CUSTOMER, 3_000_000 + at, 1_000_000), ("a2", CUSTOMER, 600, 300)][:2 if at % 12 == 0 else 1])
            for at, begins in enumerate(BINS)]
    (STATE / f"billing/{LAST}.bins").write_bytes(series(1, last))
    if CHANGED_HANDS:
        now = [(START + at * 5 * MINUTE, [("c", "First" if at < 24 else "Second", 900, 900)]) for at in range(36)]
        (STATE / f"billing/{MONTH}.bins").write_bytes(series(1000, now))
        lines = [{"seen": {"vif": "c", "at_ms": START * 1000}}]
        for hour in (1, 2.5):
            at_ms = int((START + hour * HOUR) * 1000)
            lines.append({"outage": {"vif": "c", "cause": "link", "start_ms": at_ms, "end_ms": at_ms + 60_000}})
        LEDGER.write_text("".join(f"{json.dumps(line)}\n" for line in lines) + LEDGER.read_text())
        return len(lines)
    return 0


def begin():
    station.stop()
    for name in ("billing", "probes"):
        shutil.rmtree(STATE / name, ignore_errors=True)
    (STATE / "billing").mkdir(0o700, parents=True)
    INVENTED.append(past())
    configure(probe("cpe", "a", HOST.addr4, NOBODY), probe("cloud", "vpc-a", HOSTS["vpc-a"].addr4))
    station.start()
    case.learn()


def end():
    lab.ip("st-wire", "link set dev cust0 up")
    station.stop()
    for name in ("billing", "probes"):
        shutil.rmtree(STATE / name, ignore_errors=True)
    LEDGER.write_text("".join(LEDGER.read_text().splitlines(keepends=True)[INVENTED.pop():]))


def report(*words):
    return station.ctl("report", "--customer", CUSTOMER, *words)


def written(*words):
    """What people get."""
    return station.shown("report", "--customer", CUSTOMER, *words)


def history(*words):
    """What targets answered in this month, by probe and target."""
    rows = station.ctl("show", "probe-history", "--month", MONTH, "--total", *words)
    return {(row["probe"], row["target"]): row for row in rows}


def moment(ms):
    """As tables have it."""
    return f"{datetime.datetime.fromtimestamp(ms // 1000, datetime.timezone.utc):%Y-%m-%dT%H:%M:%S}.{ms % 1000:03}Z"


class Page(html.parser.HTMLParser):
    """A page that is balanced, and brings all that it needs."""

    VOID = {"meta"}
    KNOWN = {"html", "head", "meta", "title", "style", "body", "header", "main", "footer", "section", "h1", "h2", "p", "div", "table", "thead",
             "tbody", "tr", "th", "td", "figure", "figcaption", "svg", "path", "text"}

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.open, self.words, self.paths, self.titles, self.tables = [], [], [], [], []
        require(page.startswith("<!DOCTYPE html>\n<html lang=\"en\">"), page[:60])
        for outside in ("http:", "https:", "url(", "@import", "<script", "src=", "href"):
            require(outside not in page, f"{outside} is elsewhere")
        self.feed(page)
        self.close()
        expect(self.open, [], "elements that are open at the end")

    def handle_starttag(self, tag, attributes):
        require(tag in self.KNOWN, f"<{tag}>")
        require(not any(name.startswith("on") or value is None for name, value in attributes), f"<{tag} {attributes}>")
        expect(len({name for name, _ in attributes}), len(attributes), f"attributes of <{tag}>, each once")
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "tr":
            self.tables.append([])

    def handle_startendtag(self, tag, attributes):
        expect((tag, self.open[-1]), ("path", "svg"), "an element that ends at once")
        self.paths.append(dict(attributes))

    def handle_endtag(self, tag):
        expect(self.open.pop(), tag, f"the element that </{tag}> ends")

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.tables[-1].append(data)
        elif self.open and self.open[-1] == "figcaption":
            self.titles.append(data)
        elif self.open and self.open[-1] != "style":
            self.words.append(data)
        elif not self.open:
            expect(data.strip(), "", "text beside all elements")

    def handle_comment(self, data):
        raise AssertionError(f"a comment: {data}")

    def points(self, kind):
        """Points of each line of a kind."""
        # The legend has none.
        return [points for path in self.paths if path["class"] == kind and (points := path["d"].count(","))]


# ---- the month before: what is known of it is its bins ---------------------------------------------

def test_a_month_that_is_over_has_its_traffic():
    said = report("--month", LAST)
    expect((said["customer"], said["month"], said["open"]), (CUSTOMER, LAST, False), "what is reported")
    billed = {(row["scope"], row["name"]): row for row in station.ctl("billing", "--month", LAST, "--customer", CUSTOMER)}
    bins = [row for row in station.ctl("billing", "--month", LAST, "--customer", CUSTOMER, "--bins") if row["scope"] == "vif"]
    for vif in said["vifs"]:
        expect((vif["availability"], vif["outages"], vif["probes"]), (None, [], []), f"what is known of {vif['vif']}")
        row, traffic = billed["vif", vif["vif"]], vif["traffic"]
        for name in ("rx_octets", "tx_octets", "rx_frames", "p95_rx_bits_per_s", "p95_tx_bits_per_s", "p95_bits_per_s"):
            expect(traffic[name], row[name], f"{name} of {vif['vif']}")
        expect(traffic["mean_rx_bits_per_s"], row["rx_octets"] * 8 // (300 * len(BINS)), "its mean")
        expect([hour["start_ms"] for hour in traffic["hours"]], [1000 * (BEGIN + hour * HOUR) for hour in HOURS], "its hours")
        for hour in traffic["hours"]:
            its = [row for row in bins if row["name"] == vif["vif"] and 0 <= row["start_ms"] - hour["start_ms"] < 1000 * HOUR]
            expect(hour["max_rx_bits_per_s"], max(row["rx_bits_per_s"] for row in its), "the highest bin of an hour")
    total = said["total"]
    expect(total["traffic"]["rx_octets"], billed["customer", CUSTOMER]["rx_octets"], "octets in sum")
    expect(total["traffic"]["p95_bits_per_s"], billed["customer", CUSTOMER]["p95_bits_per_s"], "p95 of the sum")
    expect((total["bins"], total["missing_bins"]), (len(BINS), billed["vif", "a"]["missing_bins"]), "bins")
    page = Page(written("--month", LAST, "--html"))
    expect((page.points("a"), page.points("b")), ([3, 3, 3], [3, 3, 3]), "points of traffic of a, of a2, and of both")
    expect(page.paths[-1]["d"].count("M"), 2, "a line goes on from hour to hour, and not where nothing is known")
    require(any("VIF a was first seen after this month" in words for words in page.words), page.words)


def test_a_page_goes_to_a_file():
    file = lab.RUN / "report.html"
    done = station.shown("report", "--customer", CUSTOMER, "--month", LAST, "--html", "-w", file)
    expect((done, file.read_text()), ("", written("--month", LAST, "--html")), "the page")
    file.unlink()
    gone = station.tried("report", "--customer", CUSTOMER, "--month", LAST)
    expect(gone.returncode, 0, "as JSON")
    both = subprocess.run(station.command("--json", "report", "--customer", "x", "--html"), capture_output=True, check=False, timeout=60)
    expect(both.returncode, 2, "JSON and HTML at once")


def test_what_cannot_be_reported_is_refused():
    why = refused("report", "--customer", "Nobody <b>")
    require('no VIF has the customer "Nobody <b>", and none had it in ' + MONTH in why, why)
    ahead = station.tried("report", "--customer", CUSTOMER, "--month", "2999-01")
    expect(ahead.returncode, 2, "a month to come")
    require(f"2999-01 has not begun: give --month {MONTH} or an earlier one" in ahead.stderr, ahead.stderr)
    expect(refused("show", "probe-history", "--probe", "nobody"), 'there is no probe "nobody"', "an unknown probe")
    require("ends before it begins" in refused("show", "probe-history", "--since", "2026-11-02", "--until", "2026-11-01"), "a period")


def test_what_was_another_customers_is_in_no_report():
    if not CHANGED_HANDS:
        raise Skip("the month is too young: what is invented of it lies ahead")
    begun = (START + 2 * HOUR) * 1000
    [c] = station.ctl("report", "--customer", "Second")["vifs"]
    expect((c["vif"], c["availability"]["since_ms"]), ("c", begun), "since it is the second's")
    # What is invented: at a start a link may be down for a moment.
    invented = [row["start_ms"] for row in c["outages"] if row["start_ms"] < (START + 4 * HOUR) * 1000]
    expect(invented, [begun + 30 * MINUTE * 1000], "outages of the second's time")
    expect((c["traffic"]["rx_octets"], [hour["start_ms"] for hour in c["traffic"]["hours"]]), (900 * 12, [begun]), "its traffic")
    [c] = station.ctl("report", "--customer", "First")["vifs"]
    expect((c["vif"], c["availability"], c["outages"], c["traffic"]["rx_octets"]), ("c", None, [], 900 * 24), "what is known to the first")


# ---- this month: a drain that was planned, a link that was lost, hosts that answer or do not ------------

def test_this_month_says_what_others_say():
    with Stream("a", "vpc-a", pps=500, seconds=0.5) as sending:
        sending.finish()
    wait_until(lambda: min(row["sent"] for row in station.ctl("show", "probes")) >= 15, 8, "15 questions each")
    station.ctl("drain", "vif", "a2", "--anyway", "--no-wait")
    lab.ip("st-wire", "link set dev cust0 down")
    wait_until(lambda: {row["state"] for row in station.ctl("show", "probes") if row["vif"] == "a"} == {"idle"}, 5, "a has no link")
    station.ctl("undrain", "vif", "a2")
    # What was on its way has been given up.
    time.sleep(0.4)
    now = {row["target"]: row for row in station.ctl("show", "probes") if row["probe"] == "cpe"}
    said = report()
    expect((said["month"], said["open"], [vif["vif"] for vif in said["vifs"]]), (MONTH, True, ["a", "a2"]), "what is reported")
    for vif in said["vifs"]:
        name, known = vif["vif"], vif["availability"]
        [sla] = station.ctl("show", "sla", name, "--month", MONTH)
        for field in ("since_ms", "outages", "planned_ms", "frames_lost"):
            expect(known[field], sla[field], f"{field} of {name}")
        # Where it is out, it has been so for longer.
        require(known["down_ms"] <= sla["down_ms"] < known["down_ms"] + 3000, f"{known} {sla}")
        require(abs(known["availability"] - sla["availability"]) < 0.05, f"{known} {sla}")
        expect(sum(known["down_ms_by_cause"].values()), known["down_ms"], f"by cause, of {name}")
        expect(sum(known["planned_ms_by_cause"].values()), known["planned_ms"], f"by cause, of {name}")
        key = lambda row: (row["vif"], row["cause"], row["also"], row["start_ms"], row["end_ms"], row["frames_lost"])
        outages = station.ctl("show", "outages", name, "--since", moment(sla["since_ms"]))
        wanted = [key(row) for row in outages if row["end_ms"] is None or row["end_ms"] > sla["since_ms"]]
        expect([key(row) for row in vif["outages"]], wanted, f"outages of {name}")
    a, a2 = said["vifs"]
    require("link" in a["availability"]["down_ms_by_cause"] and a["availability"]["outages"], a["availability"])
    require(a2["availability"]["planned_ms_by_cause"].get("drain"), a2["availability"])
    require([row for row in a["outages"] if row["cause"] == "link" and row["end_ms"] is None], a["outages"])
    probes = {row["target"]: row for row in a["probes"]}
    expect(probes.keys(), {HOST.addr4, NOBODY}, "targets")
    for target, row in probes.items():
        for field in ("sent", "received", "lost", "kind", "port"):
            expect(row[field], now[target][field], f"{field} of {target}")
    answers, silent = probes[HOST.addr4], probes[NOBODY]
    require(0 < answers["p50_us"] <= answers["p90_us"] <= answers["p99_us"] <= answers["max_us"], answers)
    # All that it has measured is recent.
    for field in ("p50_us", "p99_us", "max_us"):
        require(abs(answers[field] - now[HOST.addr4][field]) <= 0.02 * answers[field] + 2, f"{field}: {answers} {now[HOST.addr4]}")
    expect((silent["received"], silent["loss_percent"], silent["p50_us"]), (0, 100.0, None), "a host that is not there")
    expect(said["total"]["lost"], answers["lost"] + silent["lost"], "lost in sum; the cloud's probe is nobody's")
    expect({row["customer"] for row in history("--customer", CUSTOMER).values()}, {CUSTOMER}, "history by customer")
    expect({key[0] for key in history("--vif", "vpc-a")}, {"cloud"}, "history by VIF")
    hours = station.ctl("show", "probe-history", "--probe", "cpe", "--month", MONTH)
    require(all(row["start_ms"] % 3_600_000 == 0 for row in hours), hours)
    expect(sum(row["sent"] for row in hours), answers["sent"] + silent["sent"], "the hours add up")
    check_forms(said)


def check_forms(said):
    """Text and page of what is at rest."""
    text, page, again = written(), Page(written("--html")), report()
    if again["total"]["bins"] != said["total"]["bins"]:
        # A bin has ended meanwhile.
        return check_forms(again)
    a, a2 = said["vifs"]
    cells = {(row[0], row[1]): row for row in page.tables if len(row) > 1}
    for probe in a["probes"]:
        numbers = [f"{probe['sent']:,}", f"{probe['lost']:,}", f"{probe['loss_percent']:.3f}%"]
        row = next(row for row in page.tables if len(row) > 2 and row[2] == probe["target"])
        expect(row[4:7], numbers, f"cells of {probe['target']}")
        require(re.search(rf"^a +cpe +{re.escape(probe['target'])} +icmp +" + " +".join(map(re.escape, numbers)), text, re.MULTILINE), text)
    # The month goes on between the two.
    percents = [cells["a2", "-"][2], re.search(r"^a2 .*?([0-9.]+%)", text, re.MULTILINE)[1]]
    require(all(re.fullmatch(r"\d{1,3}\.\d{5}%", percent) for percent in percents), f"{percents}:\n{text}")
    require(abs(float(percents[0][:-1]) - float(percents[1][:-1])) < 5, f"{percents}")
    for outage in [*a["outages"], *a2["outages"]]:
        begun = moment(outage["start_ms"])
        require(begun in text and any(begun in row for row in page.tables), f"{begun}:\n{text}")
    require(text.startswith(f"{CUSTOMER}: {MONTH}\n"), text)
    expect(page.words.count(f"{CUSTOMER}: {MONTH}"), 2, "title and heading")
    require(any(words.startswith("The month is not over") for words in page.words), page.words)
    medians = [len([hour for hour in probe["hours"] if hour["p50_us"] is not None]) for probe in a["probes"]]
    traffic = [len(vif["traffic"]["hours"]) for vif in [*said["vifs"], said["total"]] if vif["traffic"]]
    expect(page.points("a"), [points for points in [*medians, *traffic] if points], "points of medians, and of what was received")
    lost = [len([hour for hour in probe["hours"] if hour["loss_percent"]]) for probe in a["probes"]]
    expect(page.points("loss"), [points for points in lost if points], "hours with loss")
    expect(len(page.titles), len(medians) + len(traffic), "a heading for each plot")


def test_what_was_answered_outlives_the_daemon():
    # The link is down: nothing is asked of a's targets.
    before = {key: row for key, row in history().items() if key[0] == "cpe"}
    for how in (signal.SIGTERM, signal.SIGKILL):
        station.stop(how)
        station.start()
        after = {key: row for key, row in history().items() if key[0] == "cpe"}
        expect(after, {key: {**row, "end_ms": after[key]["end_ms"], "open": after[key]["open"]} for key, row in before.items()}, f"after {how.name}")
    expect(((STATE / "probes/open.hour").stat().st_mode & 0o777, (STATE / "probes").stat().st_mode & 0o777), (0o600, 0o700), "modes")
    cause = [row["cause"] for row in report()["vifs"][1]["outages"] if row["vif"] is None]
    require({"restart", "crash"} <= {*cause}, f"outages of the station: {cause}")


def test_a_probe_that_is_gone_keeps_its_past():
    lab.ip("st-wire", "link set dev cust0 up")
    wait_until(lambda: station.ports()["cust0"]["up"], 5, "the link is back")
    before = history()
    configure(probe("renamed", "a", HOST.addr4))
    station.ctl("reload")
    wait_until(lambda: history().get(("renamed", HOST.addr4), {}).get("received", 0) > 5, 8, "the new one is asked")
    after = history()
    require(after["cpe", NOBODY]["sent"] >= before["cpe", NOBODY]["sent"], f"{before} {after}")
    expect({row["probe"] for row in report()["vifs"][0]["probes"]}, {"cpe", "renamed"}, "probes of the report")
    expect({key[0] for key in history("--probe", "cpe")}, {"cpe"}, "one that is configured no more is shown")


def test_a_disk_that_takes_nothing_is_told_once():
    since, kept, aside = newest(), STATE / "probes", STATE / "probes.aside"
    told = lambda kind: station.lines("events", "--kind", kind, "--since", since)
    station.stop()
    kept.rename(aside)
    kept.write_text("no directory")
    try:
        station.start()
        wait_until(lambda: told("probe_history_unwritten"), 5, "the disk takes nothing")
    finally:
        kept.unlink()
        aside.rename(kept)
    wait_until(lambda: told("probe_history_written"), 12, "it takes it again")
    expect(len(told("probe_history_unwritten")), 1, "it is told once")
    require(("cpe", NOBODY) in history(), "what was there before")
    # The lab comes to rest.
    configure()
    station.ctl("reload")
