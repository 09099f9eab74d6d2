//! Reports of rows as a station answers them.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::super::period::{Month, month};
use super::super::units::moment;
use super::gather::{HOUR_MS, Material};
use super::model::{Report, TrafficHour};
use super::{html, name_of, text};

const HOSTILE: &str = "<script>alert('x')</script> \"&\" Söhne";
const BIN_MS: u64 = 300_000;
const DAY_MS: u64 = 24 * HOUR_MS;

fn read<R: serde::de::DeserializeOwned>(row: Value) -> R {
    serde_json::from_value(row).unwrap()
}

/// What a station says of a month, at a moment of it or later.
struct World {
    material: Material,
    begin: u64,
}

impl World {
    fn new(name: &str, customer: &str, now_ms: u64) -> World {
        let Month(since_ms, end_ms) = month(name).unwrap();
        let material = Material {
            station: "station-1".to_owned(),
            customer: customer.to_owned(),
            since_ms,
            end_ms,
            now_ms,
            ..Material::default()
        };
        World { material, begin: since_ms }
    }

    fn until(&self) -> u64 {
        self.material.end_ms.min(self.material.now_ms)
    }

    /// A VIF that was seen then, and its outages: cause, begin and length.
    fn vif(&mut self, name: &str, seen_ms: u64, outages: &[(&str, u64, u64)]) {
        let (customer, until_ms) = (self.material.customer.clone(), self.until());
        self.material.vifs.push(read(json!({
            "name": name, "customer": customer, "circuit": "DX-<1>", "port": "p", "vlan": "1", "service_tag": false,
            "kind": "private", "vrf": "v", "mtu": 1500, "state": "up", "addresses": [], "source_check": "strict",
            "rx_frames": 0, "rx_octets": 0, "tx_frames": 0, "tx_octets": 0, "forwarded": 0, "punted": 0, "dropped": 0,
        })));
        let since_ms = seen_ms.max(self.begin).min(until_ms);
        let planned = |cause: &str| cause == "drain" || cause == "admin";
        let sum = |wanted: bool| {
            let of = outages.iter().filter(|(cause, ..)| planned(cause) == wanted);
            of.map(|(_, _, ms)| ms).sum::<u64>()
        };
        let mut by_cause: HashMap<&str, u64> = HashMap::new();
        outages.iter().for_each(|(cause, _, ms)| *by_cause.entry(cause).or_default() += ms);
        let period = until_ms - since_ms - sum(true);
        #[expect(clippy::cast_precision_loss, reason = "as the station has it")]
        let ratio = if period == 0 { 1.0 } else { 1.0 - sum(false) as f64 / period as f64 };
        let unplanned = outages.iter().filter(|(cause, ..)| !planned(cause));
        self.material.sla.push(read(json!({
            "vif": name, "state": "up", "since_ms": since_ms, "until_ms": until_ms, "availability": ratio,
            "outages": unplanned.clone().count(), "down_ms": sum(false), "planned_ms": sum(true), "frames_lost": 7,
            "longest_ms": unplanned.map(|(_, _, ms)| ms).max().unwrap_or(&0), "by_cause": by_cause,
        })));
        let row = |(cause, start_ms, ms): &(&str, u64, u64)| {
            read(json!({
                "vif": name, "cause": cause, "also": ["bgp"], "start_ms": start_ms, "end_ms": start_ms + ms,
                "duration_ms": ms, "detection_ms": 1, "frames_lost": 7,
            }))
        };
        self.material.outages.insert(name.to_owned(), outages.iter().map(row).collect());
    }

    /// Bins of the customer and of VIFs: when, whose, and bits a second in each direction.
    fn bins(&mut self, rows: &[(u64, &str, u64, u64)], missing: u64) {
        let customer = self.material.customer.clone();
        let begins: std::collections::BTreeSet<u64> = rows.iter().map(|row| row.0).collect();
        let mut octets: HashMap<&str, [u64; 2]> = HashMap::new();
        for (start_ms, vif, rx, tx) in rows {
            let scope = if vif.is_empty() { "customer" } else { "vif" };
            let name = if vif.is_empty() { &*customer } else { vif };
            let sum = octets.entry(vif).or_default();
            (sum[0], sum[1]) = (sum[0] + rx * 300 / 8, sum[1] + tx * 300 / 8);
            self.material.bins.take(read(json!({
                "scope": scope, "name": name, "customer": customer, "start_ms": start_ms, "end_ms": start_ms + BIN_MS,
                "rx_frames": 1, "rx_octets": rx * 300 / 8, "tx_frames": 1, "tx_octets": tx * 300 / 8,
                "rx_bits_per_s": rx, "tx_bits_per_s": tx, "observed_s": 300.0, "complete": true,
            })));
        }
        for (vif, [rx, tx]) in octets {
            let scope = if vif.is_empty() { "customer" } else { "vif" };
            let name = if vif.is_empty() { &*customer } else { vif };
            self.material.billing.push(read(json!({
                "scope": scope, "name": name, "customer": customer, "since_ms": self.begin, "until_ms": self.until(),
                "bins": begins.len(), "missing_bins": missing, "incomplete_bins": 2, "rx_frames": 1, "rx_octets": rx,
                "tx_frames": 1, "tx_octets": tx, "p95_rx_bits_per_s": 95, "p95_tx_bits_per_s": 59, "p95_bits_per_s": 95,
                "enhanced_bits_per_s": 1, "damage": ["octets 1 to 2 of <f> are no bins"],
            })));
        }
    }

    /// What a target answered in these hours: received, lost.
    fn probe(&mut self, vif: &str, hours: &[(u64, u64, u64)]) {
        let customer = self.material.customer.clone();
        let row = |start_ms: u64, hours: usize, received: u64, lost: u64| {
            #[expect(clippy::cast_precision_loss, reason = "as the station has it")]
            let loss = 100.0 * lost as f64 / (received + lost) as f64;
            read(json!({
                "probe": "<cpe>", "vif": vif, "customer": customer, "target": "10.1.0.10", "kind": "tcp", "port": 443,
                "start_ms": start_ms, "end_ms": start_ms + HOUR_MS, "hours": hours, "open": false,
                "sent": received + lost, "received": received, "lost": lost, "loss_percent": loss, "p50_us": 300,
                "p90_us": 400, "p99_us": 900, "max_us": 1500, "jitter_us": 20,
            }))
        };
        let sum = hours.iter().fold((0, 0), |sum, hour| (sum.0 + hour.1, sum.1 + hour.2));
        self.material.probes.push(row(self.begin, hours.len(), sum.0, sum.1));
        let rows = hours.iter().map(|hour| row(hour.0, 1, hour.1, hour.2));
        self.material.hours.extend(rows);
    }
}

fn text_of(report: &Report) -> String {
    let mut out = Vec::new();
    text::write(report, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// Elements of a page in order, and the text between them; the page is balanced and has no character out of place.
fn elements(page: &str) -> (Vec<String>, String) {
    let mut rest = page.strip_prefix("<!DOCTYPE html>\n").unwrap();
    let (mut open, mut all, mut text) = (Vec::new(), Vec::new(), String::new());
    while let Some((before, after)) = rest.split_once('<') {
        let within = open.last().map(String::as_str);
        assert!(within == Some("style") || !before.contains(['>', '"', '\'']), "{before:?}");
        text += before;
        let (tag, behind) = after.split_once('>').unwrap();
        let name = tag.split([' ', '/']).find(|word| !word.is_empty()).unwrap().to_owned();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "{tag}");
        } else {
            all.push(tag.to_owned());
            if name != "meta" && !tag.ends_with('/') {
                open.push(name);
            }
        }
        rest = behind;
    }
    assert_eq!((open.len(), rest), (0, "\n"), "{open:?}");
    (all, text)
}

/// Points of the lines of a class, by plot.
fn points(page: &str, class: &str) -> Vec<usize> {
    let begin = format!("<path class=\"{class}\" stroke=\"");
    let paths = page.split(&begin).skip(1);
    let lines = paths.map(|path| path.split('"').nth(2).unwrap().matches(',').count());
    // The legend has no point.
    lines.filter(|points| *points > 0).collect()
}

/// A month that is over, with two VIFs.
fn usual(customer: &str) -> World {
    let mut world = World::new("2026-11", customer, month("2027-01").unwrap().0);
    let at = world.begin + 3 * DAY_MS;
    world.vif(
        "dc1",
        0,
        &[("link", at, 90_000), ("drain", at + DAY_MS, 600_000), ("bfd", at + 2 * DAY_MS, 500)],
    );
    world.vif("dc2", 0, &[]);
    world.bins(
        &[
            (at, "", 1_000_000, 4000),
            (at, "dc1", 1_000_000, 4000),
            (at + BIN_MS, "", 3_000_000, 0),
            (at + BIN_MS, "dc1", 2_000_000, 0),
            (at + BIN_MS, "dc2", 1_000_000, 0),
            (at + HOUR_MS, "", 8000, 0),
            (at + HOUR_MS, "dc1", 8000, 0),
            (at + 5 * HOUR_MS, "", 0, 0),
        ],
        8636,
    );
    world.probe("dc1", &[(at, 3590, 10), (at + HOUR_MS, 3600, 0), (at + 3 * HOUR_MS, 100, 100)]);
    world
}

#[test]
fn a_report_has_what_the_station_says() {
    let report = usual("Acme").material.report();
    assert_eq!((&*report.month, report.open, report.vifs.len()), ("2026-11", false, 2));
    assert_eq!(report.until_ms, report.end_ms);
    let [dc1, dc2] = &report.vifs[..] else { panic!() };
    let known = dc1.availability.as_ref().unwrap();
    assert_eq!((known.outages, known.down_ms, known.longest_ms), (2, 90_500, 90_000));
    let words = |of: &std::collections::BTreeMap<_, _>| serde_json::to_value(of).unwrap();
    assert_eq!(words(&known.down_ms_by_cause), json!({"link": 90_000, "bfd": 500}));
    assert_eq!(words(&known.planned_ms_by_cause), json!({"drain": 600_000}));
    assert_eq!((dc1.outages.len(), dc2.outages.len()), (3, 0));
    let probe = &dc1.probes[0];
    assert_eq!((probe.sent, probe.lost, probe.known_hours, probe.hours.len()), (7400, 110, 3, 3));
    let traffic = dc1.traffic.as_ref().unwrap();
    let hour = |at, bins, max_rx_bits_per_s, max_tx_bits_per_s| TrafficHour {
        start_ms: report.since_ms + 3 * DAY_MS + at * HOUR_MS,
        bins,
        max_rx_bits_per_s,
        max_tx_bits_per_s,
    };
    let hours = [hour(0, 2, 2_000_000, 4000), hour(1, 1, 8000, 0), hour(5, 1, 0, 0)];
    assert_eq!(traffic.hours, hours, "the highest bin of each hour; none passed in the last");
    assert_eq!((traffic.mean_rx_bits_per_s, traffic.p95_bits_per_s), (3_008_000 / 4, 95));
    let total = &report.total;
    assert_eq!((total.outages, total.down_ms, total.lost), (2, 90_500, 110));
    let period = 2 * 30 * DAY_MS - 600_000;
    #[expect(clippy::cast_precision_loss, reason = "a ratio")]
    let wanted = 1.0 - 90_500.0 / period as f64;
    assert!((total.availability.unwrap() - wanted).abs() < 1e-12);
    assert_eq!(total.traffic.as_ref().unwrap().hours[0].max_rx_bits_per_s, 3_000_000);
    let text = text_of(&report);
    for line in [
        "Acme: 2026-11\n",
        "\ndc1  DX-<1>      99.99651%        2  1m 30s  link 1m 30s, bfd 500ms   1m 30s   10m 0s  drain 10m 0s",
        "\ndc1  2026-11-04T00:00:00.000Z  2026-11-04T00:01:30.000Z  1m 30s  link   bgp   no ",
        "\ndc1  <cpe>  10.1.0.10  tcp 443  7,400   110  1.486%  300us  400us  900us  1.50ms    20us  3 of 720\n",
        "Traffic is that of 4 of 8,640 bins of five minutes; 2 of them are incomplete, and 8,636 are missing",
        "The numbers are too low: octets 1 to 2 of <f> are no bins.",
    ] {
        assert!(text.contains(line), "{line}:\n{text}");
    }
}

#[test]
fn a_page_is_whole_and_names_are_only_text() {
    let mut world = usual(HOSTILE);
    world.vif("a\"b<i>&amp;", 0, &[]);
    let report = world.material.report();
    let page = html::page(&report);
    let (elements, text) = elements(&page);
    let names = |tag: &String| tag.split(' ').next().unwrap().to_owned();
    let known = [
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "header",
        "h1",
        "h2",
        "p",
        "main",
        "section",
        "div",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "figure",
        "figcaption",
        "svg",
        "path",
        "text",
        "path",
        "footer",
    ];
    let odd = elements.iter().map(names).find(|name| !known.contains(&&**name));
    assert_eq!(odd, None);
    for outside in ["http", "url(", "@import", "<script", "<i>"] {
        assert!(!page.contains(outside), "{outside}");
    }
    let attributes = elements.iter().flat_map(|tag| {
        let pieces: Vec<&str> = tag.split("=\"").collect();
        let names = pieces[..pieces.len() - 1].iter().map(|piece| piece.rsplit(' ').next());
        names.map(|name| name.unwrap().to_owned()).collect::<Vec<_>>()
    });
    let known = [
        "aria-label",
        "charset",
        "class",
        "content",
        "d",
        "fill",
        "font-size",
        "lang",
        "name",
        "role",
        "scope",
        "stroke",
        "stroke-linecap",
        "stroke-linejoin",
        "stroke-width",
        "text-anchor",
        "viewBox",
        "x",
        "y",
    ];
    assert_eq!(attributes.into_iter().find(|name| !known.contains(&&**name)), None);
    assert!(text.contains(
        "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &quot;&amp;&quot; Söhne: 2026-11"
    ));
    assert!(text.contains("a&quot;b&lt;i&gt;&amp;amp;"));
    // A plot of each VIF with traffic and of their sum, and one of each target.
    assert_eq!(points(&page, "a"), [3, 3, 3, 3]);
    assert_eq!(points(&page, "b"), [3, 3, 3, 3]);
    assert_eq!(points(&page, "loss"), [2], "hours with loss");
    assert!(!page.contains("NaN") && !page.contains("inf"));
}

#[test]
fn a_month_of_which_nothing_is_known_says_so() {
    let mut world = World::new("2026-11", "Acme", month("2027-01").unwrap().0);
    world.vif("dc1", u64::MAX, &[]);
    let report = world.material.report();
    assert!(report.vifs[0].availability.is_none() && report.vifs[0].traffic.is_none());
    assert!(report.total.availability.is_none() && report.total.traffic.is_none());
    assert_eq!(
        report.notes,
        ["VIF dc1 was first seen after this month: its availability is not known."]
    );
    let text = text_of(&report);
    for line in ["There was none that is known.", "No host was asked.", "No bin was counted."] {
        assert!(text.contains(line), "{text}");
    }
    assert!(!text.split("What counts").next().unwrap().contains('%'), "{text}");
    elements(&html::page(&report));
}

#[test]
fn a_vif_that_came_in_the_middle_has_the_time_since() {
    let mut world = World::new("2026-11", "Acme", month("2027-01").unwrap().0);
    let came = world.begin + 11 * DAY_MS;
    world.vif("new", came, &[("link", came + 1000, 1000)]);
    let station = json!({"vif": null, "cause": "crash", "also": [], "start_ms": world.begin + 1, "end_ms": world.begin + 2,
        "duration_ms": 1, "detection_ms": null, "frames_lost": null});
    world.material.outages.get_mut("new").unwrap().insert(0, read(station));
    world.bins(
        &[
            (world.begin, "", 8, 8),
            (came, "", 800, 8),
            (came, "new", 800, 8),
            (came + BIN_MS, "", 0, 0),
        ],
        0,
    );
    let report = world.material.report();
    let [new] = &report.vifs[..] else { panic!() };
    assert_eq!(new.availability.as_ref().unwrap().since_ms, came);
    assert_eq!(new.outages.len(), 1, "not the station's of before");
    let traffic = new.traffic.as_ref().unwrap();
    assert_eq!((traffic.mean_rx_bits_per_s, traffic.hours.len()), (400, 1), "of its own time");
    let note = format!("Outages of VIF new are known since {}", moment(came));
    assert!(report.notes[0].starts_with(&note), "{:?}", report.notes);
    // That of all is of the same time.
    assert_eq!(report.total.availability, new.availability.as_ref().map(|of| of.availability));
}

#[test]
fn december_ends_in_january_and_a_month_that_is_open_now() {
    let mut world = World::new("2026-12", "Acme", 0);
    let now_ms = world.begin + 30 * DAY_MS + 23 * HOUR_MS + 61_000;
    world.material.now_ms = now_ms;
    assert_eq!(name_of(world.material.end_ms), "2027-01");
    world.vif("dc1", 0, &[]);
    let last = world.begin + 30 * DAY_MS + 22 * HOUR_MS;
    world.probe("dc1", &[(last, 10, 0), (last + HOUR_MS, 10, 0)]);
    let report = world.material.report();
    assert!(report.open);
    assert_eq!(report.until_ms, now_ms);
    assert!(
        report.notes[0].ends_with("until now, 2026-12-31T23:01:01.000Z."),
        "{:?}",
        report.notes
    );
    let page = html::page(&report);
    assert_eq!(points(&page, "a"), [2]);
    // The last hour ends at the right edge, which the days' numbers reach, too.
    assert!(page.contains(">31</text>") && page.contains("L711.6,"), "{page}");
}

#[test]
fn what_is_the_customers_no_more_has_no_availability() {
    let mut world = World::new("2026-11", "Acme", month("2027-01").unwrap().0);
    world.bins(&[(world.begin, "", 8, 8), (world.begin, "gone", 8, 8)], 0);
    let report = world.material.report();
    let [gone] = &report.vifs[..] else { panic!() };
    assert!(gone.availability.is_none() && gone.traffic.is_some());
    assert!(report.notes[0].contains("is the customer's no more"), "{:?}", report.notes);
}
