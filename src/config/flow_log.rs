//! `[flow_log]`, and `flow_log` of a VIF.

use std::fmt;
use std::net::SocketAddr;

use super::fields::{At, Fields};
use super::labels::changes;
use super::model::VifConfig;
use crate::tables::flow_log::MAX_INTERVAL;

/// Most collectors.
const MAX_COLLECTORS: usize = 4;
/// What a VIF's `flow_log` and the table are called.
const FIELD: &str = "flow_log";
const EXAMPLE: &str = "[\"udp://192.0.2.10:4739\", \"tcp://[2001:db8::10]:4739\"]";

/// `[flow_log]`: where the flows of VIFs that log are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowLogConfig {
    /// Who is told.
    pub collectors: Vec<Collector>,
    /// MiB of IPFIX files that are kept; 0: none.
    pub files_mib: u32,
    /// A flow that goes on is told so often, in seconds.
    pub active_timeout_s: u32,
    /// A flow is told so long after its last packet, in seconds.
    pub idle_timeout_s: u32,
    /// Flows that each worker has room for.
    pub max_flows: u32,
    /// The observation domain that the station is to collectors.
    pub domain: u32,
    /// The operator's private enterprise number, under which records have the verdict in words.
    pub enterprise: Option<u32>,
}

/// A collector of flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Collector {
    /// By what it is reached.
    pub transport: Transport,
    /// Where.
    pub address: SocketAddr,
}

/// What carries IPFIX messages to a collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// RFC 7011 10.3.
    Udp,
    /// RFC 7011 10.4.
    Tcp,
}

impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = match self.transport {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
        };
        write!(f, "{transport}://{}", self.address)
    }
}

/// `[flow_log]`.
pub(super) fn flow_log(fields: Option<Fields<'_>>) -> Option<FlowLogConfig> {
    let fields = fields?;
    let mut collectors: Vec<Collector> = Vec::new();
    let texts = fields.strings("collectors", EXAMPLE);
    if texts.len() > MAX_COLLECTORS {
        let message = format!("there are {}", texts.len());
        let help = format!("use at most {MAX_COLLECTORS}: a collector can pass records on");
        fields.refuse(&fields.span_of("collectors"), "collectors", message, help);
    }
    for text in texts {
        let refuse = |message, help: &str| fields.refuse(&text.span, "collectors", message, help);
        match collector(text.value) {
            None => refuse(
                format!("{:?} is no collector", text.value),
                "write \"udp://ADDRESS:PORT\" or \"tcp://ADDRESS:PORT\"; IPFIX's port is 4739",
            ),
            Some(collector) if collectors.contains(&collector) => {
                refuse(format!("{collector} is a second one"), "remove one of the two");
            }
            Some(collector) => collectors.push(collector),
        }
    }
    let number = |key, limits, default| fields.integer(key, limits).map_or(default, |at| at.value);
    let config = FlowLogConfig {
        files_mib: number("files_mib", 1..=1_048_576, 0),
        active_timeout_s: number("active_timeout_s", 1..=1800, 60),
        idle_timeout_s: number("idle_timeout_s", 1..=600, 15),
        max_flows: number("max_flows", 1024..=1_048_576, 65_536),
        domain: number("domain", 1..=u32::MAX, 1),
        enterprise: fields.integer("enterprise", 1..=u32::MAX).map(|at| at.value),
        collectors,
    };
    if !fields.has("collectors") && !fields.has("files_mib") {
        let example = format!("collectors = {EXAMPLE}, or files_mib = 1024");
        fields.missing("collectors", &example);
    }
    fields.finish();
    Some(config)
}

fn collector(text: &str) -> Option<Collector> {
    let (transport, address) = text.split_once("://")?;
    let transport = match transport {
        "udp" => Transport::Udp,
        "tcp" => Transport::Tcp,
        _ => return None,
    };
    let address: SocketAddr = address.parse().ok()?;
    let fine = address.port() != 0 && !address.ip().is_unspecified();
    (fine && !address.ip().is_multicast()).then_some(Collector { transport, address })
}

/// `flow_log` of a VIF: one of so many packets is logged. `told`: there is a `[flow_log]`.
pub(super) fn of_vif(fields: &Fields<'_>, told: bool) -> Option<u16> {
    let At { value, span } = fields.string(FIELD)?;
    let refuse = |message: String, help: &str| fields.refuse(&span, FIELD, message, help);
    let interval = value.strip_prefix("1:").and_then(|text| text.parse().ok());
    let Some(interval) = interval.filter(|interval| (1..=MAX_INTERVAL).contains(interval)) else {
        refuse(
            format!("{value:?} is no rate of sampling"),
            "write \"1:1\" for every packet, up to \"1:4096\"",
        );
        return None;
    };
    if !told {
        let help = "add [flow_log] with collectors = [\"udp://192.0.2.10:4739\"]";
        refuse("nobody is told of the flows".into(), help);
    }
    Some(interval)
}

/// "1:N".
fn rate(interval: u16) -> String {
    format!("1:{interval}")
}

/// What changes of a VIF's.
pub(super) fn vif_change(a: &VifConfig, b: &VifConfig) -> (&'static str, String, String) {
    let text = |vif: &VifConfig| vif.flow_log.map_or_else(|| "off".to_owned(), rate);
    (FIELD, text(a), text(b))
}

/// What changes of the table, for people.
pub(super) fn change(old: &Option<FlowLogConfig>, new: &Option<FlowLogConfig>) -> Option<String> {
    let texts = |log: &Option<FlowLogConfig>| {
        let log = log.as_ref();
        let of = |text: fn(&FlowLogConfig) -> String| log.map_or_else(|| "none".to_owned(), text);
        [
            of(|log| {
                let all = log.collectors.iter().map(ToString::to_string).collect::<Vec<_>>();
                format!("[{}]", all.join(", "))
            }),
            of(|log| log.files_mib.to_string()),
            of(|log| log.active_timeout_s.to_string()),
            of(|log| log.idle_timeout_s.to_string()),
            of(|log| log.max_flows.to_string()),
            of(|log| log.domain.to_string()),
            of(|log| log.enterprise.map_or_else(|| "none".to_owned(), |n| n.to_string())),
        ]
    };
    let names = [
        "collectors",
        "files_mib",
        "active_timeout_s",
        "idle_timeout_s",
        "max_flows",
        "domain",
        "enterprise",
    ];
    let both = texts(old).into_iter().zip(texts(new));
    let fields: Vec<_> = names.into_iter().zip(both).map(|(name, (a, b))| (name, a, b)).collect();
    changes(&fields)
}
