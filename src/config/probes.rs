//! `[[probe]]`, and `twamp_reflector` of a VIF.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::diff::Table;
use super::fields::{At, Fields};
use super::labels::changes;
use super::model::VifConfig;
use super::names::Named;
use super::next_hops::check_on_vif;
use super::vifs::Vifs;
use crate::clock::milliseconds;
use crate::probes::{Measure, Question, Rule};
use crate::tables::rules::is_host;
use crate::wire::twamp::{REPLY, TWAMP_PORT};

/// Most targets of a probe.
const MAX_TARGETS: usize = 8;
/// Most targets of all probes.
const MAX_ALL_TARGETS: usize = 1024;
/// Most questions of all probes, a second.
const MAX_RATE: f64 = 2000.0;
/// Octets behind the ICMP header.
const MAX_ECHO: u16 = 8_972;
/// Octets of UDP payload of a test packet.
const MAX_TEST: u16 = 1_472;

/// `[[probe]]`: hosts that a VIF asks again and again whether they are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeConfig {
    /// Its name.
    pub name: Arc<str>,
    /// Name of the VIF whose address it asks from.
    pub vif: Arc<str>,
    /// Who is asked.
    pub targets: Vec<IpAddr>,
    /// What they are asked; the numbers of test packets are the asker's.
    pub question: Question,
    /// From one question to the next.
    pub interval: Duration,
    /// For an answer.
    pub timeout: Duration,
    /// How answers are judged.
    pub rule: Rule,
    /// The neighbor of the VIF that carries nothing while the probe is down; it is asked through it.
    pub next_hop: Option<IpAddr>,
}

impl ProbeConfig {
    /// How long a target may have been away before it is down: milliseconds.
    pub fn detection_ms(&self) -> u64 {
        milliseconds(self.interval * self.rule.misses + self.timeout)
    }

    /// Whether what is known of the targets stays true under another configuration.
    pub fn asks_the_same(&self, other: &ProbeConfig) -> bool {
        (&self.vif, &self.targets, self.question, self.next_hop)
            == (&other.vif, &other.targets, other.question, other.next_hop)
    }
}

/// `kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Icmp,
    Tcp,
    Twamp,
}

const KINDS: [(&str, Kind); 3] = [("icmp", Kind::Icmp), ("tcp", Kind::Tcp), ("twamp", Kind::Twamp)];

/// The probes.
pub(super) fn probes(root: &Fields<'_>, vifs: &Vifs) -> Named<ProbeConfig> {
    let mut probes: Named<ProbeConfig> = Named::new("probe");
    let example = "[{ name = \"cpe\", vif = \"acme\", targets = [\"10.1.0.10\"] }]";
    let (mut targets, mut rate) = (0, 0.0);
    let mut next_hops: Vec<(Arc<str>, IpAddr, Arc<str>)> = Vec::new();
    for fields in root.tables("probe", example) {
        let name = probes.name(&fields);
        let probe = probe(&fields, name.clone(), vifs);
        if let Some(probe) = &probe {
            targets += probe.targets.len();
            rate += count(probe.targets.len()) / probe.interval.as_secs_f64();
            if targets > MAX_ALL_TARGETS {
                let message = format!("all probes together have {targets} targets");
                let help = format!("use at most {MAX_ALL_TARGETS}");
                fields.refuse(&fields.span_of("targets"), "targets", message, help);
            } else if rate > MAX_RATE {
                let message = format!("all probes together send {rate:.0} packets a second");
                let help = format!("use longer intervals: at most {MAX_RATE} a second");
                fields.refuse(&fields.span_of("interval_ms"), "interval_ms", message, help);
            }
            if let Some(next_hop) = probe.next_hop {
                let same =
                    next_hops.iter().find(|(vif, at, _)| *vif == probe.vif && *at == next_hop);
                if let Some((.., other)) = same {
                    let message = format!("probe {other:?} decides about {next_hop} already");
                    let help = "write both targets into one probe, and how many it needs";
                    fields.refuse(&fields.span_of("next_hop"), "next_hop", message, help);
                }
                next_hops.push((probe.vif.clone(), next_hop, probe.name.clone()));
            }
        }
        fields.finish();
        probes.add(name.as_ref(), probe);
    }
    probes
}

#[expect(clippy::cast_precision_loss, reason = "a few targets")]
fn count(targets: usize) -> f64 {
    targets as f64
}

fn probe(fields: &Fields<'_>, name: Option<Arc<str>>, vifs: &Vifs) -> Option<ProbeConfig> {
    let vif_name = fields.need_string("vif", "acme");
    let vif = vif_name.and_then(|name| vifs.named.find_name(fields, "vif", &name));
    let vif_config = vif.and_then(|vif| Some((vif, vifs.items().get(vif)?)));
    let targets = targets(fields, vif_config.map(|(_, vif)| vif));
    let kind = fields.choice("kind", &KINDS).map_or(Kind::Icmp, |kind| kind.value);
    let number =
        |key, limits, default: u32| fields.integer(key, limits).map_or(default, |at| at.value);
    let interval_ms = number("interval_ms", 100..=60_000, 1000);
    let timeout_ms = number("timeout_ms", 10..=10_000, interval_ms.min(10_000));
    let question = question(fields, kind);
    let need = fields.integer("need", 1..=MAX_TARGETS);
    if let Some(need) = need.as_ref().filter(|need| need.value > targets.len()) {
        let message = format!("{} targets are needed of {}", need.value, targets.len());
        fields.refuse(&need.span, "need", message, "write how many of the targets have to answer");
    }
    let rule = Rule {
        misses: number("misses", 1..=100, 3),
        hits: number("hits", 1..=100, 3),
        need: need.map_or(1, |need| need.value),
        limits: [
            fields.integer("max_loss_percent", 0..=99_u32).map(|at| at.value),
            fields.integer("max_rtt_ms", 1..=10_000_u32).map(|at| 1000 * at.value),
            fields.integer("max_jitter_ms", 1..=10_000_u32).map(|at| 1000 * at.value),
        ],
    };
    let next_hop = fields.parsed::<IpAddr>("next_hop", "169.254.0.2", "an address");
    if let (Some(address), Some((index, vif))) = (&next_hop, vif_config) {
        check_next_hop(fields, address, (index, vif), vifs);
        if let Some(other) = targets.iter().find(|it| it.is_ipv4() != address.value.is_ipv4()) {
            let message = format!("{other} is not reached by {}", address.value);
            let help = "use targets of the next hop's family, and a probe for each family";
            fields.refuse(&address.span, "next_hop", message, help);
        }
    }
    Some(ProbeConfig {
        name: name?,
        vif: vif_config?.1.name.clone(),
        targets,
        question: question?,
        interval: Duration::from_millis(interval_ms.into()),
        timeout: Duration::from_millis(timeout_ms.into()),
        rule,
        next_hop: next_hop.map(|at| at.value),
    })
}

fn targets(fields: &Fields<'_>, vif: Option<&VifConfig>) -> Vec<IpAddr> {
    let example = "[\"10.1.0.10\"]";
    let texts = fields.strings("targets", example);
    if texts.is_empty() {
        fields.missing("targets", &format!("targets = {example}: whom to ask"));
    }
    if texts.len() > MAX_TARGETS {
        let help = format!("use at most {MAX_TARGETS}");
        fields.refuse(
            &fields.span_of("targets"),
            "targets",
            format!("there are {}", texts.len()),
            help,
        );
    }
    let mut targets: Vec<IpAddr> = Vec::new();
    for text in texts.into_iter().take(MAX_TARGETS) {
        let refuse = |message, help: &str| fields.refuse(&text.span, "targets", message, help);
        let Ok(target) = text.value.parse::<IpAddr>() else {
            refuse(format!("{:?} is no address", text.value), "write addresses of hosts");
            continue;
        };
        let family = |own: &ipnet::IpNet| own.addr().is_ipv4() == target.is_ipv4();
        match vif {
            _ if !is_host(target) => {
                refuse(format!("{target} is no host's address"), "write an address of one host");
            }
            _ if targets.contains(&target) => {
                refuse(format!("{target} is there twice"), "write it once")
            }
            Some(vif) if vif.addresses.iter().any(|own| own.addr() == target) => {
                refuse(
                    format!("{target} is the router's own address"),
                    "write the address of a host",
                );
            }
            Some(vif) if !vif.addresses.iter().any(family) => {
                let message = format!("vif {:?} has no address to ask {target} from", vif.name);
                refuse(message, "give the VIF an address of this family");
            }
            _ => targets.push(target),
        }
    }
    targets
}

/// What is asked; `None` where a port is missing.
fn question(fields: &Fields<'_>, kind: Kind) -> Option<Question> {
    let port = fields.integer("port", 1..=u16::MAX);
    let limits = if kind == Kind::Twamp { count_u16(REPLY)..=MAX_TEST } else { 0..=MAX_ECHO };
    let size = fields.integer("size", limits);
    let refuse =
        |key, at: &At<u16>, message: &str, help: &str| fields.refuse(&at.span, key, message, help);
    match (kind, port, size) {
        (Kind::Icmp, port, size) => {
            if let Some(port) = &port {
                refuse("port", port, "ICMP has no ports", "remove port, or write kind = \"tcp\"");
            }
            Some(Question::Echo(size.map_or(56, |size| size.value)))
        }
        (Kind::Tcp, port, size) => {
            if let Some(size) = &size {
                refuse("size", size, "a SYN carries nothing", "remove size");
            }
            if port.is_none() && !fields.has("port") {
                fields.missing("port", "port = 443: the one to connect to");
            }
            Some(Question::Syn(port?.value))
        }
        (Kind::Twamp, port, size) => {
            let port = port.map_or(TWAMP_PORT, |port| port.value);
            Some(Question::Twamp(port, size.map_or(64, |size| size.value), 0))
        }
    }
}

fn count_u16(octets: usize) -> u16 {
    u16::try_from(octets).unwrap_or(u16::MAX)
}

/// A neighbor that nothing else watches.
fn check_next_hop(
    fields: &Fields<'_>,
    address: &At<IpAddr>,
    (index, vif): (usize, &VifConfig),
    vifs: &Vifs,
) {
    let refuse =
        |message: String, help: &str| fields.refuse(&address.span, "next_hop", message, help);
    if vif.tunnel.is_some() {
        let message =
            format!("{} is a VTEP, which the underlay's routes decide about", address.value);
        refuse(message, "remove next_hop: the probe then only watches");
    } else if vif.bfd.is_some() {
        let message = format!("BFD of vif {:?} watches {} already", vif.name, address.value);
        refuse(message, "remove next_hop, or bfd of the VIF");
    } else if vif.bgp.iter().any(|session| session.peer == address.value) {
        let message = format!("{} is a BGP peer: its session decides", address.value);
        refuse(message, "remove next_hop: routes of BGP go with the session");
    } else {
        check_on_vif(fields, "next_hop", address, index, vifs);
    }
}

/// How changes of probes are told.
pub(super) fn table() -> Table<ProbeConfig, Arc<str>> {
    Table {
        key: |probe| probe.name.clone(),
        name: |probe| probe.name.to_string(),
        detail: |probe| format!("{} from vif {}", list(&probe.targets), probe.vif),
        change,
    }
}

fn list(targets: &[IpAddr]) -> String {
    targets.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn change(a: &ProbeConfig, b: &ProbeConfig) -> Option<String> {
    let ms = |span: Duration| span.as_millis().to_string();
    let question = |probe: &ProbeConfig| match probe.question {
        Question::Echo(octets) => format!("icmp, {octets} octets"),
        Question::Syn(port) => format!("tcp to port {port}"),
        Question::Twamp(port, octets, _) => format!("twamp to port {port}, {octets} octets"),
    };
    let limit = |probe: &ProbeConfig, measure: Measure| {
        let limit = probe.rule.limits[measure as usize];
        let ms = limit.map(|limit| if measure == Measure::Loss { limit } else { limit / 1000 });
        ms.map_or_else(|| "none".to_owned(), |limit| limit.to_string())
    };
    let hop =
        |probe: &ProbeConfig| probe.next_hop.map_or_else(|| "none".to_owned(), |at| at.to_string());
    let field = |name, value: &dyn Fn(&ProbeConfig) -> String| (name, value(a), value(b));
    changes(&[
        field("vif", &|p| p.vif.to_string()),
        field("targets", &|p| list(&p.targets)),
        field("asks", &question),
        field("interval_ms", &|p| ms(p.interval)),
        field("timeout_ms", &|p| ms(p.timeout)),
        field("misses", &|p| p.rule.misses.to_string()),
        field("hits", &|p| p.rule.hits.to_string()),
        field("need", &|p| p.rule.need.to_string()),
        field("next_hop", &hop),
        field("max_loss_percent", &|p| limit(p, Measure::Loss)),
        field("max_rtt_ms", &|p| limit(p, Measure::Rtt)),
        field("max_jitter_ms", &|p| limit(p, Measure::Jitter)),
    ])
}
