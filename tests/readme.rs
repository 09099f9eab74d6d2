//! Keeps the manual what the code says: the pages of counters and events, station-counters(7) and station-events(7), are
//! generated here; that of the configuration, station.toml(5), has the fields that the parser knows; and every request of
//! the admin socket has its right.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests

#[path = "common/requests.rs"]
mod requests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use station::bird::{Cause, Withheld};
use station::events::{CAPACITY, Kind, OF_ONE_VIF};
use station::metrics::{self, Family, Per};
use station::tables::{DropReason, PuntReason, SlowOutcome, TapEvent};

const MANUAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/man");
const WRITE: &str = "STATION_WRITE_MANUAL";

const METRICS_HEAD: &str = "\
.\\\" Generated from the table in src/metrics/families.rs by tests/readme.rs.
.Dd November 28, 2026
.Dt STATION-METRICS 7
.Os
.Sh NAME
.Nm station-metrics
.Nd what a station tells Prometheus
.Sh DESCRIPTION
Where
.Ql metrics
of
.Ql [station]
says so,
.Xr stationd 8
serves its numbers at
.Pa /metrics
in the text format of OpenMetrics 1.0, and in Prometheus' older text format (0.0.4) to readers that do not ask for it.
.Bl -tag -width Ds
.It Ql metrics = \\(dqunix:/run/station/metrics.sock\\(dq
A Unix socket, mode 0660: root, the daemon's own user and the file's group read it.
.It Ql metrics = \\(dq127.0.0.1:9472\\(dq
A TCP port of this machine: every local user can read it.
Prometheus itself reads TCP only.
.It Ql metrics_remote = true
Permits an address that other machines reach.
There is neither password nor encryption, and the page names VIFs, VRFs, peers and their ASes: only on a network of the
provider's own, or behind a proxy that asks for a certificate.
.El
.Pp
It is off if not given.
An address that cannot be had is tried again every 5 seconds and keeps nothing from forwarding.
The page is made by a thread of its own from what
.Xr stationctl 1
shows, at most twice a second however many read; 8 readers at a time have 5 seconds to ask and 10 to take it.
The packet path does nothing for it.
.Ss A scrape
.Bd -literal
scrape_configs:
  - job_name: station
    scrape_interval: 15s
    static_configs:
      - targets: [\"127.0.0.1:9472\"]
.Ed
.Pp
.Pa scripts/metrics/alerts.yml
has alert rules,
.Pa scripts/metrics/dashboard.json
a dashboard for Grafana.
Bits a second of a VIF, and what a port has on its wire (24 octets a frame more than are counted):
.Bd -literal
8 * rate(station_vif_rx_bytes_total{vif=\"a\"}[1m])
8 * (rate(station_port_rx_bytes_total[1m]) + 24 * rate(station_port_rx_frames_total[1m]))
.Ed
.Pp
.Ql stationctl show vifs --rate
has the same without Prometheus.
.Ss How many series
Labels are names of the configuration, customers and circuits among them, reasons of the code and addresses of
configured peers: no packet makes one.
A VIF has 9 series, a BGP session 9, a VRF 2, a worker 10, a port 14, the station some 80.
A port whose driver and module tell has {PORT} more, {LANE} for each lane of the module, and one for each error that the driver
counts, 16 at most; veth has 2.
4,096 VIFs, each in a VRF of its own and with a session, are 81,920, some 6 MB of text.
To that come drops by reason, only those that happened: at most one for each reason in
.Xr station-counters 7
and VIF, and a VIF makes none but its own; 3 for each access list and direction that a VIF uses it in; 2 for each tunnel;
5 for each source of mappings; 2 for each drain; and where frames are timed, 23 for each port and 3 for each VIF that has
samples.
.Ss Light, and what else drivers and modules tell
It is read every 15 seconds by a thread of its own, never for a scrape, and has an age:
.Sy station_port_reading_age_seconds .
A question to a driver holds the kernel's lock of all interfaces, to a module for some ten milliseconds a page, so a
module that is slow is read less often: at most a twentieth of the time is spent.
What a driver does not tell has no series; it is not zero.
Units are those of Prometheus' conventions, so light is in watts; in dBm, as modules and
.Ql stationctl show ports --detail
have it:
.Bd -literal
10 * log10(1000 * station_port_rx_power_watts)
.Ed
.Pp
The module's own limits are series as well, and
.Sy station_port_module_alarm
compares; so an alert needs no numbers of its own.
Counters of errors and FEC are the NIC's: they begin anew when it does, not with
.Ql stationctl clear counters .
.Ss What counters do
Counters begin at zero with the station.
Those of ports and VIFs begin anew with
.Ql stationctl clear counters ,
those of a VIF also when it is deleted and added under another name; Prometheus takes both for a restart.
Sums over all VIFs never go back.
";

const METRICS_END: &str = "\
.Sh SEE ALSO
.Xr stationctl 1 ,
.Xr station-counters 7 ,
.Xr station-operations 7 ,
.Xr stationd 8
";

/// Characters of a document's line, at most.
const LONGEST_LINE: usize = 120;

/// `text` as lines of mdoc(7): a sentence a line, nothing in it taken for a request or an escape.
fn mdoc(text: &str) -> String {
    let mut page = String::new();
    for (part, piece) in text.replace('\\', "\\e").split('`').enumerate() {
        // Between two backticks is a name.
        page += if part == 0 { "" } else { ["\\fP", "\\fB"][part % 2] };
        page += piece;
    }
    let mut lines = String::new();
    for sentence in page.replace(". ", ".\n").lines() {
        let mut line = String::new();
        for word in sentence.split(' ') {
            if !line.is_empty() && line.len() + word.len() >= LONGEST_LINE {
                lines += &std::mem::take(&mut line);
                lines.push('\n');
            }
            line += if line.is_empty() { "" } else { " " };
            line += if line.is_empty() && word.starts_with(['.', '\'']) { "\\&" } else { "" };
            line += word;
        }
        lines += &line;
        lines.push('\n');
    }
    lines
}

fn section<'a>(
    page: &mut String,
    title: &str,
    intro: &str,
    rows: impl Iterator<Item = (&'a str, &'a str)>,
) {
    let _ = write!(page, ".Sh {title}\n{}.Bl -tag -width Ds\n", mdoc(intro));
    for (name, help) in rows {
        let _ = write!(page, ".It Sy {name}\n{}", mdoc(help));
    }
    page.push_str(".El\n");
}

fn counters() -> String {
    let mut page = String::from(
        ".\\\" Generated from the tables in src/tables/verdict.rs and src/bird/session.rs by tests/readme.rs.\n\
         .Dd November 28, 2026\n.Dt STATION-COUNTERS 7\n.Os\n.Sh NAME\n.Nm station-counters\n\
         .Nd what a station counts, and what to do about it\n.Sh DESCRIPTION\n\
         Every frame is counted: received = forwarded + punted + drops by reason, exactly.\n\
         .Xr stationctl 1\n.Cm show counters\nshows the counters by these names.\n",
    );
    let drops = "Each drop grows exactly one counter by one: up to `unknown_vlan` per port (no VIF is known yet), the \
                 others per VIF.";
    section(&mut page, "DROP REASONS", drops, DropReason::ALL.iter().map(|r| (r.name(), r.help())));
    let punts = "Frames that the slow path handles.";
    section(&mut page, "PUNTS", punts, PuntReason::ALL.iter().map(|r| (r.name(), r.help())));
    let outcomes = "What became of the punted frames.";
    section(&mut page, "OUTCOMES", outcomes, SlowOutcome::ALL.iter().map(|r| (r.name(), r.help())));
    let events = "Frames between the kernel and the wire.";
    section(
        &mut page,
        "EVENTS AT A TAP",
        events,
        TapEvent::ALL.iter().map(|r| (r.name(), r.help())),
    );
    let causes = "Why a route that a peer sent is not used (`show bgp VIF routes received`).";
    section(
        &mut page,
        "CAUSES OF REJECTED ROUTES",
        causes,
        Cause::ALL.iter().map(|c| (c.name(), c.help())),
    );
    let withheld =
        "Why a route of the VRF is not advertised to a peer (`show bgp VIF routes withheld`).";
    section(
        &mut page,
        "CAUSES OF WITHHELD ROUTES",
        withheld,
        Withheld::ALL.iter().map(|c| (c.name(), c.help())),
    );
    page.push_str(".Sh SEE ALSO\n.Xr stationctl 1 ,\n.Xr station-bgp 7 ,\n.Xr station-operations 7 ,\n.Xr stationd 8\n");
    page
}

/// What a VIF with a session in a VRF of its own has: series.
const SERIES_OF_A_VIF: usize = 9;
const SERIES_OF_A_SESSION: usize = 9;

fn metrics() -> String {
    let count = |per: Per| Family::ALL.iter().filter(|family| family.per() == per).count();
    // The text below says so many.
    assert_eq!(count(Per::Vif), SERIES_OF_A_VIF);
    assert_eq!(count(Per::Session) + count(Per::BfdSession), SERIES_OF_A_SESSION);
    let of_limits = 4 + 5 * 2;
    let of_port = (count(Per::PortTold) + of_limits).to_string();
    let head = METRICS_HEAD.replace("{PORT}", &of_port);
    let mut page = head.replace("{LANE}", &count(Per::PortLane).to_string());
    for (per, title, series) in [
        (Per::Station, "OF THE STATION", "One series each."),
        (
            Per::Reason,
            "BY REASON",
            "One series for each reason, outcome or event that the station knows.",
        ),
        (Per::Worker, "OF WORKERS", "One series for each worker."),
        (Per::Port, "OF PORTS", "One series for each port."),
        (
            Per::PortReason,
            "OF PORTS, BY REASON",
            "One series for each port and cause; of drops for each reason that happened.",
        ),
        (
            Per::PortTold,
            "OF PORTS, AS DRIVERS AND MODULES TELL",
            "One series for each port whose driver or module tells.",
        ),
        (
            Per::PortLane,
            "OF LANES",
            "One series for each lane of a module that measures it; an SFP has lane 1.",
        ),
        (Per::PortLimit, "OF MODULES' LIMITS", "One series for each limit that a module has."),
        (Per::Vif, "OF VIFS", "One series for each VIF."),
        (
            Per::VifOut,
            "OF VIFS OUT OF SERVICE",
            "One series for each VIF that is drained, or in a failover drill.",
        ),
        (Per::VifReason, "OF VIFS, BY REASON", "One series for each VIF and reason that happened."),
        (
            Per::Limited,
            "OF BANDWIDTHS",
            "One series for each limited direction of a port, meter group or VIF: station-bandwidth(7).",
        ),
        (
            Per::AddressLimit,
            "OF LIMITS OF ADDRESSES",
            "One series for each limit that a VIF has, VRF and direction: station-address-limit(7).",
        ),
        (
            Per::Class,
            "OF CLASSES OF SERVICE",
            "One series for each class of each VIF that has a policy: station-qos(7).",
        ),
        (
            Per::Acl,
            "OF ACCESS LISTS",
            "One series for each list, direction in which a VIF uses it, and action.",
        ),
        (
            Per::Tunnel,
            "OF TUNNELS",
            "One series for each VIF and VTEP at the other end: station-vxlan(7).",
        ),
        (
            Per::Logged,
            "OF FLOW LOGS",
            "One series for each VIF whose flows are logged: station-flow-log(7).",
        ),
        (
            Per::Collector,
            "OF COLLECTORS",
            "One series for each collector of flows, and for the directory of files.",
        ),
        (
            Per::Probe,
            "OF PROBES",
            "One series for each probe of which it is known whether it is up: station-probe(7).",
        ),
        (
            Per::Target,
            "OF TARGETS OF PROBES",
            "One series for each target; of a histogram one for each upper bound.",
        ),
        (Per::Mirror, "OF MIRRORS", "One series for each mirror: station-mirror(7)."),
        (
            Per::MirrorReason,
            "OF MIRRORS, BY REASON",
            "One series for each mirror and reason why there was no copy.",
        ),
        (
            Per::Timed,
            "OF RESIDENCE TIME",
            "One series for each port, or VIF, whose frames are timed: station-latency(7).",
        ),
        (Per::Source, "OF MAPPINGS", "One series for each source: station-mappings(7)."),
        (Per::Cache, "OF RPKI CACHES", "One series for each cache: station-bgp(7)."),
        (
            Per::Drain,
            "OF DRAINS",
            "One series for each VIF, port or station that is drained, while it is.",
        ),
        (Per::VrfFamily, "OF VRFS", "One series for each VRF and address family."),
        (Per::Session, "OF BGP SESSIONS", "One series for each session."),
        (Per::BfdSession, "OF BFD SESSIONS", "One series for each BGP session with BFD."),
    ] {
        let of = Family::ALL.iter().filter(|family| family.per() == per);
        let rows = of.map(|family| {
            let suffix = match family.kind() {
                metrics::Kind::Counter => "_total",
                metrics::Kind::Gauge => "",
                metrics::Kind::Histogram => "_bucket",
                metrics::Kind::Info => "_info",
            };
            let labels = match family.labels() {
                [] => String::new(),
                labels => format!("{{{}}}", labels.join(", ")),
            };
            (format!("{}{suffix}{labels}", family.name()), family.help())
        });
        let rows: Vec<(String, &str)> = rows.collect();
        let rows = rows.iter().map(|(name, help)| (&**name, *help));
        section(&mut page, title, series, rows);
    }
    page.push_str(METRICS_END);
    page
}

/// Events of a station of the lab.
const JSON: &str = r#"
{"seq":6,"time_ms":1795916401953,"kind":"bgp_down","vif":"a","peer":"169.254.0.2","peer_as":65001,"reason":"Received: Administrative shutdown: \"tea time\"","code":6,"subcode":2,"received":true}
"#;

/// What is said of events before the list of kinds. `{...}` are numbers of the code's.
const EVENTS: &str = r#".\" Generated from src/events/kinds.rs by tests/readme.rs.
.Dd November 28, 2026
.Dt STATION-EVENTS 7
.Os
.Sh NAME
.Nm station-events
.Nd what a station tells as it happens
.Sh DESCRIPTION
A station numbers what happens to it, in one stream.
.Xr stationctl 1
.Cm events
shows it, again and as it goes on; it goes to systemd's journal and to a program of the operator's, too
.Pq Dq WHERE EVENTS GO .
.Ss Numbers, and what can be read again
Each event has a number,
.Sy seq ,
one more than that of the event before, over restarts and crashes of the station too.
An event is shown once it is on disk
.Pq Pa events.jsonl No in the directory Cm state :
a number that somebody has seen is never given to another event, not even after a loss of power.
What happens in the last milliseconds before a loss of power, or a kill, may be in no event.
Where the directory cannot be written, events are kept in memory only, and the log says so.
.Pp
The last {CAPACITY} events can be read again, {OF_ONE_VIF} of each VIF at most: one that flaps drives out nobody else's.
Where events are missing for a reader, an event of kind
.Sy lost
stands for them and says how many: they were older than what is kept, the reader was too slow, or more happened at once
than could be noted (32,768 may wait).
It has the number of the last one that is missing.
Nothing in the station waits for a reader or for the disk.
.Ss Fields
In JSON each event is an object with
.Sy seq ,
.Sy time_ms
(when it was noticed: milliseconds since 1970)
and
.Sy kind ,
and the fields below.
Names are stable; fields and kinds may be added.
A value that is not known is null.
.Bd -literal
{JSON}
.Ed
.Sh KINDS
The word after a kind is its severity, as syslog has it (RFC 5424): error, warning, notice, info.
"#;

/// What is said after it.
const AFTER_EVENTS: &str = r#".Sh WHERE EVENTS GO
.Ss The journal
Where the daemon's standard error goes to systemd's journal
.Pq Ev JOURNAL_STREAM , No as systemd sets it ,
or with
.Cm journal = \(dqon\(dq
in
.Cm [events] ,
each event is an entry by the journal's native protocol, with
.Sy MESSAGE ,
.Sy MESSAGE_ID
(one for each kind, below),
.Sy PRIORITY ,
.Sy STATION_EVENT
(the kind),
.Sy STATION_SEQ ,
.Sy STATION_TIME_MS ,
and each field that is not null as
.Sy STATION_
and its name in capitals.
.Bd -literal
journalctl -u stationd STATION_EVENT=bgp_down STATION_VIF=acme-dc -o verbose
journalctl -u stationd STATION_EVENT=security --since today
.Ed
.Pp
A journald that is dead or slow holds nothing up: events wait for it as long as they are kept.
Lines of the log go to standard error as before; what they say of the same is less.
.Ss The hook
.Cm hook
in
.Cm [events]
names a program that is given one event at a time: a line of JSON on standard input, no arguments, no shell.
It runs as
.Cm hook_user
(nobody, where the station is root and nothing else is said) with the groups of that user's entry in
.Pa /etc/passwd
alone, no capabilities, in
.Pa / ,
in a process group of its own, with
.Ev PATH
as its environment and standard input as its only open file: output goes nowhere.
The filter of system calls of the station holds for it too.
It is done when it exits; an exit status other than 0 is a failure.
After
.Cm hook_timeout_s
it is killed with everything that it has started and that is still in its process group; what it leaves behind when it
exits is killed as well.
It gets
.Cm hook_per_second
events at most.
1,024 events wait for it; of more the oldest are not given to it, and it is told how many by an event of kind
.Sy lost .
A failure is a line in the log, once until it works again;
.Xr stationctl 1
.Cm version --json
counts runs, failures and events that were lost to it.
Events of before the station's start are not given to it.
.Bd -literal
#!/bin/sh
# /usr/local/sbin/station-event: has every error where the NOC sees it
event=$(cat)
case $event in
*'"kind":"bgp_down"'* | *'"kind":"port_down"'*)
    printf '%s' "$event" | curl -fsS -m 5 -H 'Content-Type: application/json' -d @- https://noc.example/station ;;
esac
.Ed
.Sh MESSAGE IDENTIFIERS
.Bl -column "prefix_limit_clear" "0123456789abcdef0123456789abcdef"
"#;

fn events() -> String {
    let mut page = EVENTS
        .replace("{CAPACITY}", &CAPACITY.to_string())
        .replace("{OF_ONE_VIF}", &OF_ONE_VIF.to_string())
        .replace("{JSON}", JSON.trim());
    page.push_str(".Bl -tag -width Ds\n");
    for kind in Kind::ALL {
        let severity = format!("{:?}", kind.severity()).to_lowercase();
        let _ = write!(page, ".It Sy {} Pq {severity}\n{}", kind.name(), mdoc(kind.help().trim()));
        if !kind.fields().is_empty() {
            page.push_str(".Bl -tag -width Ds -compact\n");
        }
        for (name, meaning) in kind.fields() {
            let _ = write!(page, ".It {name}\n{}", mdoc(meaning.trim()));
        }
        if !kind.fields().is_empty() {
            page.push_str(".El\n");
        }
    }
    page.push_str(".El\n");
    page.push_str(AFTER_EVENTS);
    for kind in Kind::ALL {
        let _ = writeln!(page, ".It Sy {} Ta {}", kind.name(), kind.message_id());
    }
    page.push_str(
        ".El\n.Sh SEE ALSO\n.Xr stationctl 1 ,\n.Xr station-counters 7 ,\n.Xr station-operations 7 ,\n.Xr stationd 8\n",
    );
    page
}

/// Compares a page with the file that has it, or writes that.
fn is_written(name: &str, page: &str) {
    let path = format!("{MANUAL}/{name}");
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let first = page.lines().zip(written.lines()).find(|(now, then)| now != then);
    assert!(
        page == written,
        "{path} is not what the code says (first difference: {first:?}); \
         write it by: {WRITE}=1 cargo test --test readme"
    );
}

#[test]
fn the_page_of_metrics_is_what_the_code_says() {
    is_written("station-metrics.7", &metrics());
}

#[test]
fn the_page_of_counters_is_what_the_code_says() {
    is_written("station-counters.7", &counters());
}

#[test]
fn the_page_of_events_is_what_the_code_says() {
    is_written("station-events.7", &events());
}

/// What the manual shows is what a station said: it reads back, and is written the same.
#[test]
fn the_manuals_events_are_events() {
    use station::events::Record;
    for line in JSON.trim().lines() {
        let record: Record = serde_json::from_str(line).unwrap();
        assert_eq!(serde_json::to_string(&record).unwrap(), line);
    }
    let mut ids: Vec<&str> = Kind::ALL.iter().map(|kind| kind.message_id()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), Kind::ALL.len(), "each kind has its own");
    assert!(ids.iter().all(|id| id.len() == 32 && id.chars().all(|c| c.is_ascii_hexdigit())));
}

#[test]
fn text_is_no_request_and_no_escape() {
    assert_eq!(mdoc("'x' a\\b. .Sh `y z` is."), "\\&'x' a\\eb.\n\\&.Sh \\fBy z\\fP is.\n");
}

/// A configuration with a field in each table that nobody knows: the parser's errors list those that it knows.
const UNKNOWN: &str = r#"
"?" = 1
[station]
"?" = 1
[events]
"?" = 1
[billing]
"?" = 1
[flow_log]
"?" = 1
[latency]
"?" = 1
[[port]]
"?" = 1
name = "p"
interface = "eth1"
role = "core"
bandwidth = { "?" = 1, rate = "1G" }
[[meter_group]]
"?" = 1
name = "g"
bandwidth = { "?" = 1, rate = "1G" }
[[address_limit]]
"?" = 1
name = "h"
by = "source"
prefixes = ["10.0.0.0/24"]
bandwidth = { "?" = 1, rate = "1M" }
[[qos]]
"?" = 1
name = "q"
[[qos.class]]
"?" = 1
name = "c"
bandwidth = { "?" = 1, rate = "1G" }
[[vrf]]
"?" = 1
name = "a"
kind = "vpc"
[[acl]]
"?" = 1
name = "l"
rules = ["deny ip"]
[[vif]]
"?" = 1
name = "v"
port = "p"
vlan = 1
vrf = "a"
addresses = ["10.0.0.1/30"]
bfd = { "?" = 1 }
bandwidth = { "?" = 1, rate = "1M" }
[[vif.bgp]]
"?" = 1
peer = "10.0.0.2"
peer_as = 65001
local_as = 64512
preference = [{ "?" = 1, community = "1:1", local_preference = 1 }]
verified = [{ "?" = 1, prefix = "10.0.0.0/8", reason = "LOA" }]
[[probe]]
"?" = 1
name = "c"
vif = "v"
targets = ["10.0.0.2"]
[[vtep]]
"?" = 1
name = "t"
vrf = "a"
address = "10.255.0.1"
mac = "02:00:00:00:00:01"
[[vif]]
"?" = 1
name = "w"
vtep = "t"
vni = 1
vrf = "a"
addresses = ["10.9.0.1/32"]
remotes = [{ "?" = 1, address = "10.255.0.2", mac = "02:00:00:00:00:02" }]
[[route]]
"?" = 1
vrf = "a"
prefix = "10.1.0.0/16"
via = [{ "?" = 1, address = "10.0.0.2" }]
[[route_list]]
"?" = 1
vrf = "a"
file = "/dev/null"
via = [{ address = "10.0.0.2" }]
[[rpki]]
"?" = 1
name = "c"
server = "192.0.2.53:323"
[[exchange]]
"?" = 1
name = "x"
from = "a"
to = "a"
prefixes = ["10.2.0.0/16"]
[[neighbor]]
"?" = 1
vif = "v"
address = "10.0.0.2"
mac = "02:00:00:00:00:01"
"#;

/// The parser's fields by table, as `vif.bgp`; those of inline tables as `preference.community`.
fn fields() -> BTreeMap<String, BTreeSet<String>> {
    let error = station::config::parse(UNKNOWN, Path::new("/")).unwrap_err();
    let mut fields: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for problem in error.problems() {
        let Some(list) = problem.help_text().strip_prefix("the fields here are ") else { continue };
        let path = problem.field().replace("[0]", "").replace("[1]", "");
        let table = path.trim_end_matches('?').trim_end_matches('.');
        let (table, prefix) = match table {
            "vif.bfd" => ("vif", "bfd."),
            "vif.bandwidth" => ("vif", "bandwidth."),
            "vif.remotes" => ("vif", "remotes."),
            "port.bandwidth" => ("port", "bandwidth."),
            "meter_group.bandwidth" => ("meter_group", "bandwidth."),
            "address_limit.bandwidth" => ("address_limit", "bandwidth."),
            "qos.class.bandwidth" => ("qos.class", "bandwidth."),
            "vif.bgp.preference" => ("vif.bgp", "preference."),
            "vif.bgp.verified" => ("vif.bgp", "verified."),
            "route.via" => ("route", "via."),
            table => (table, ""),
        };
        let names = list.split(", ").map(|name| format!("{prefix}{name}"));
        fields.entry(table.to_owned()).or_default().extend(names);
    }
    fields
}

#[test]
fn the_page_of_the_configuration_has_the_parsers_fields() {
    let page = include_str!("../scripts/man/station.toml.5");
    let mut described: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut table = String::new();
    for line in page.lines() {
        if let Some(title) = line.strip_prefix(".Ss ") {
            table = title.trim_matches(['[', ']']).to_owned();
        } else if let (false, Some(item)) = (table.is_empty(), line.strip_prefix(".It Cm ")) {
            let (name, rest) = item.split_once(" Pq ").expect(line);
            // What is not required has a default, or says when it stands.
            let complete = ["required", "default", "as in", "array of", "\\(dq"];
            assert!(complete.iter().any(|word| rest.contains(word)), "{line}");
            let new = described.entry(table.clone()).or_default().insert(name.to_owned());
            assert!(new, "twice: {line}");
        }
    }
    let mut fields = fields();
    let tables = fields.remove("").unwrap_or_default();
    let sections: BTreeSet<String> =
        fields.keys().filter(|key| !key.contains('.')).cloned().collect();
    assert_eq!(tables, sections, "tables of the document");
    assert_eq!(described, fields, "left: station.toml(5); right: the parser");
}

/// The names that the protocol knows: its error about an unknown one lists them.
fn known() -> BTreeSet<String> {
    let error =
        station::admin::protocol::decode(requests::line(r#""request":"?""#).as_bytes()).err();
    let message = error.map(|refusal| refusal.message).unwrap_or_default();
    let (_, list) = message.split_once("expected one of").unwrap_or_default();
    list.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_request_has_its_right() {
    let mut named = BTreeSet::new();
    for (request, right) in requests::REQUESTS {
        let decoded = station::admin::protocol::decode(requests::line(request).as_bytes());
        let (decoded, _) = decoded.unwrap_or_else(|error| panic!("{request}: {error}"));
        assert_eq!(decoded.right(), *right, "{request}");
        named.insert(request.split('"').nth(3).unwrap().to_owned());
    }
    assert_eq!(named, known(), "left: tests/common/requests.rs; right: the protocol");
}
