//! `[[port]]`.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use super::bandwidth::{Bandwidth, Of, bandwidth, bandwidth_change};
use super::diff::{up, word};
use super::fields::{At, Fields};
use super::labels::{Labels, changes, label_changes, labels};
use super::model::{Config, VifConfig};
use super::names::Named;
use crate::tables::{PortId, PortRole};

/// Most ports of a station.
pub(super) const MAX_PORTS: usize = PortId::FIRST_VTEP.index();
/// The longest name of a Linux interface (IFNAMSIZ, with its terminator).
const INTERFACE_NAME: usize = 15;
/// Ports that may be added while a station runs, where nothing is configured: memory is allocated for them at its
/// start.
const SPARE_PORTS: usize = 2;

/// How XDP is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum XdpMode {
    /// Native where the driver can, else generic.
    Auto,
    /// In the driver, or not at all.
    Native,
    /// In the kernel's generic receive path.
    Generic,
}

/// Whether the NIC writes straight into the worker's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ZeroCopy {
    /// Where the driver can, else by copy.
    Auto,
    /// Zero-copy, or not at all.
    Require,
    /// By copy.
    Off,
}

/// What the kernel still gets to see of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KernelProtocol {
    /// Slow protocols, ethertype 0x8809.
    Lacp,
    /// LLDP, ethertype 0x88cc.
    Lldp,
    /// 802.1X, ethertype 0x888e.
    Eapol,
    /// Everything without a VLAN tag.
    Untagged,
}

/// `[[port]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortConfig {
    /// Which one it is for the tables: as the file has them, until [`Config::place_ports`].
    pub id: PortId,
    /// The operator's name for it.
    pub name: Arc<str>,
    /// Whose it is.
    pub labels: Labels,
    /// Administratively up. While it is not, none of its VIFs is.
    pub up: bool,
    /// The Linux interface.
    pub interface: String,
    /// Who is at the other end.
    pub role: PortRole,
    /// What all of its VIFs have together.
    pub bandwidth: Bandwidth,
    /// How XDP is attached.
    pub xdp: XdpMode,
    /// Zero-copy or not.
    pub zero_copy: ZeroCopy,
    /// Busy-poll time in microseconds; 0 is off.
    pub busy_poll_us: u32,
    /// What the kernel still sees.
    pub to_kernel: Vec<KernelProtocol>,
}

impl PortConfig {
    /// Whether the NIC is used as before: what else of a port changes, its sockets do not notice.
    pub(crate) fn is_used_as(&self, old: &PortConfig) -> bool {
        let PortConfig { interface, xdp, zero_copy, busy_poll_us, to_kernel, .. } = old;
        (&self.interface, &self.to_kernel) == (interface, to_kernel)
            && (self.xdp, self.zero_copy, self.busy_poll_us) == (*xdp, *zero_copy, *busy_poll_us)
    }
}

impl Config {
    /// A VIF by name.
    pub fn vif(&self, name: &str) -> Option<&VifConfig> {
        self.vifs.iter().find(|vif| *vif.name == *name)
    }

    /// A port by name.
    pub fn port(&self, name: &str) -> Option<&PortConfig> {
        self.ports.iter().find(|port| *port.name == *name)
    }

    /// How many ports a station that starts with this has memory for.
    pub fn most_ports(&self) -> usize {
        let most = self.station.max_ports.unwrap_or(self.ports.len() + SPARE_PORTS);
        most.min(MAX_PORTS)
    }

    /// Gives the ports their ids, below `most`: those that are known keep theirs, and a new one gets the lowest that is
    /// free, and that is not `taken`.
    pub fn place_ports<'a>(
        &mut self,
        known: impl IntoIterator<Item = (&'a str, PortId)>,
        taken: &BTreeSet<PortId>,
        most: usize,
    ) {
        let known = known.into_iter().filter(|(_, id)| id.index() < most);
        let known: HashMap<&str, PortId> = known.collect();
        let mut used: BTreeSet<PortId> = taken.iter().chain(known.values()).copied().collect();
        for port in &mut self.ports {
            let free = || (0..=u8::MAX).map(PortId).find(|id| !used.contains(id));
            let id = known.get(&*port.name).copied().or_else(free);
            port.id = id.unwrap_or(PortId(u8::MAX));
            used.insert(port.id);
        }
    }
}

pub(super) fn ports(root: &Fields<'_>, max_ports: Option<usize>) -> Named<PortConfig> {
    let mut ports = Named::new("port");
    let mut interfaces: HashMap<String, Range<usize>> = HashMap::new();
    let tables = root.tables("port", "[{ ... }]");
    if tables.is_empty() {
        let help = "add a [[port]] with name, interface and role";
        root.problems.add(&root.span_of("port"), "port", "there is none", help);
    }
    if let Some(extra) = tables.get(max_ports.unwrap_or(MAX_PORTS)) {
        let message = format!("there are {} ports", tables.len());
        let help = match max_ports {
            Some(most) => format!("raise max_ports in [station], which is {most}, and restart"),
            None => format!("use at most {MAX_PORTS}"),
        };
        root.problems.add(&extra.span, "port", message, help);
    }
    for (id, fields) in (0..=u8::MAX).map(PortId).zip(tables) {
        let name = ports.name(&fields);
        let interface = interface(&fields, &mut interfaces);
        let role = fields
            .need_choice("role", &[("customer", PortRole::Customer), ("core", PortRole::Core)]);
        let xdp =
            [("auto", XdpMode::Auto), ("native", XdpMode::Native), ("generic", XdpMode::Generic)];
        let zero_copy =
            [("auto", ZeroCopy::Auto), ("require", ZeroCopy::Require), ("off", ZeroCopy::Off)];
        let xdp = fields.choice("xdp", &xdp).map_or(XdpMode::Auto, |xdp| xdp.value);
        let zero_copy = fields.choice("zero_copy", &zero_copy);
        if let Some(At { value: ZeroCopy::Require, span }) = &zero_copy
            && xdp == XdpMode::Generic
        {
            let help = "write xdp = \"native\", or zero_copy = \"auto\"";
            fields.refuse(span, "zero_copy", "generic XDP has no zero-copy", help);
        }
        let zero_copy = zero_copy.map_or(ZeroCopy::Auto, |zero_copy| zero_copy.value);
        let busy_poll_us = fields.integer("busy_poll_us", 0..=1000_u32).map_or(0, |us| us.value);
        let to_kernel = to_kernel(&fields);
        let (labels, up) = (labels(&fields), fields.boolean("up", true));
        let bandwidth = bandwidth(&fields, Of::Others);
        let port = match (&name, interface, role) {
            (Some(name), Some(interface), Some(role)) => Some(PortConfig {
                id,
                name: name.clone(),
                labels,
                up,
                interface,
                role: role.value,
                bandwidth,
                xdp,
                zero_copy,
                busy_poll_us,
                to_kernel,
            }),
            _ => None,
        };
        ports.add(name.as_ref(), port);
        fields.finish();
    }
    ports
}

fn interface(fields: &Fields<'_>, taken: &mut HashMap<String, Range<usize>>) -> Option<String> {
    let text = fields.need_string("interface", "eth1")?;
    let name = text.value;
    // What the kernel accepts (dev_valid_name).
    let odd = |c: char| c.is_whitespace() || c.is_control() || c == '/' || c == ':';
    if name.is_empty() || name.len() > INTERFACE_NAME || name.starts_with('.') || name.contains(odd)
    {
        let message = format!("{name:?} cannot be an interface");
        fields.refuse(&text.span, "interface", message, "write its name as `ip link` shows it");
        return None;
    }
    if let Some(first) = taken.get(name) {
        let message = format!("{name:?} is already a port on line {}", fields.problems.line(first));
        fields.refuse(&text.span, "interface", message, "use each interface for one port");
        return None;
    }
    taken.insert(name.to_owned(), text.span);
    Some(name.to_owned())
}

fn to_kernel(fields: &Fields<'_>) -> Vec<KernelProtocol> {
    let words = [
        ("lacp", KernelProtocol::Lacp),
        ("lldp", KernelProtocol::Lldp),
        ("eapol", KernelProtocol::Eapol),
        ("untagged", KernelProtocol::Untagged),
    ];
    let mut protocols = Vec::new();
    for text in fields.strings("to_kernel", "[\"lacp\"]") {
        match fields.word("to_kernel", &text, &words) {
            Some(word) if protocols.contains(&word.value) => {
                let message = format!("{:?} is there twice", text.value);
                fields.refuse(&text.span, "to_kernel", message, "remove one");
            }
            Some(word) => protocols.push(word.value),
            None => {}
        }
    }
    protocols
}

/// What changes of a port.
pub(super) fn port_change(a: &PortConfig, b: &PortConfig) -> Option<String> {
    let list = |port: &PortConfig| {
        let words: Vec<String> = port.to_kernel.iter().map(|protocol| word(*protocol)).collect();
        format!("[{}]", words.join(", "))
    };
    let [customer, description, circuit] = label_changes(&a.labels, &b.labels);
    changes(&[
        ("state", up(a.up), up(b.up)),
        ("interface", a.interface.clone(), b.interface.clone()),
        ("role", word(a.role), word(b.role)),
        ("xdp", word(a.xdp), word(b.xdp)),
        ("zero_copy", word(a.zero_copy), word(b.zero_copy)),
        ("busy_poll_us", a.busy_poll_us.to_string(), b.busy_poll_us.to_string()),
        ("to_kernel", list(a), list(b)),
        bandwidth_change(&a.bandwidth, &b.bandwidth),
        customer,
        description,
        circuit,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(names: &[&str]) -> Config {
        let port = |name: &&str| {
            format!("[[port]]\nname = \"{name}\"\ninterface = \"if-{name}\"\nrole = \"core\"\n")
        };
        let text: String = names.iter().map(port).collect();
        crate::config::parse(&text, std::path::Path::new("/")).unwrap()
    }

    fn placed(names: &[&str], known: &[(&str, u8)], taken: &[u8], most: usize) -> Vec<u8> {
        let mut config = config(names);
        let known = known.iter().map(|&(name, id)| (name, PortId(id)));
        let taken: BTreeSet<PortId> = taken.iter().copied().map(PortId).collect();
        config.place_ports(known, &taken, most);
        config.ports.iter().map(|port| port.id.0).collect()
    }

    #[test]
    fn a_port_keeps_its_id_and_a_new_one_gets_one_that_nobody_has() {
        assert_eq!(placed(&["a", "b"], &[], &[], 64), [0, 1], "as the file has them");
        assert_eq!(placed(&["b", "new", "a"], &[("a", 0), ("b", 1)], &[], 64), [1, 2, 0]);
        // What goes keeps its id until it is gone.
        assert_eq!(placed(&["b", "new"], &[("a", 0), ("b", 1)], &[], 64), [1, 2]);
        assert_eq!(placed(&["b", "new"], &[("b", 1)], &[0], 64), [1, 2]);
        assert_eq!(placed(&["b", "new"], &[("b", 1)], &[], 64), [1, 0]);
        // At a start with room for fewer.
        assert_eq!(placed(&["a", "b"], &[("a", 9), ("b", 1)], &[], 3), [0, 1]);
    }

    #[test]
    fn there_is_room_for_what_the_file_says_or_for_two_more_than_it_has() {
        assert_eq!(config(&["a", "b"]).most_ports(), 4);
        let mut full = config(&["a"]);
        full.station.max_ports = Some(9);
        assert_eq!(full.most_ports(), 9);
        let names: Vec<String> = (0..63).map(|n| format!("p{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(config(&names).most_ports(), 64);
    }

    #[test]
    fn what_says_nothing_of_the_nic_does_not_have_it_opened_anew() {
        let port = config(&["a"]).ports.remove(0);
        let same =
            PortConfig { up: false, role: PortRole::Customer, id: PortId(7), ..port.clone() };
        assert!(same.is_used_as(&port));
        let changes: [fn(&mut PortConfig); 5] = [
            |port| port.interface = "if-b".into(),
            |port| port.xdp = XdpMode::Generic,
            |port| port.zero_copy = ZeroCopy::Off,
            |port| port.busy_poll_us = 20,
            |port| port.to_kernel = vec![KernelProtocol::Lldp],
        ];
        for change in changes {
            let mut other = port.clone();
            change(&mut other);
            assert!(!other.is_used_as(&port) && port_change(&port, &other).is_some());
        }
    }
}
