//! What one configuration takes away of another that may carry traffic: an operator is asked before.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::exchanges::exchange_loss;
use super::model::{BgpConfig, Config, VifConfig};
use super::stations;

/// A VIF that was up, or a session on one, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Name of the VIF.
    pub vif: Arc<str>,
    /// The session's peer; none where it is the VIF itself.
    pub peer: Option<IpAddr>,
    /// What becomes of it, in words.
    pub what: String,
}

/// All of them, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cuts {
    /// VIFs.
    pub vifs: Vec<Cut>,
    /// Sessions, those of the VIFs above too. Whether they are up the configuration does not know.
    pub sessions: Vec<Cut>,
    /// Exchanges, each in words.
    pub exchanges: Vec<String>,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.peer {
            Some(peer) => write!(f, "bgp {peer} on vif {}: {}", self.vif, self.what),
            None => write!(f, "vif {}: {}", self.vif, self.what),
        }
    }
}

/// What `new` takes away of `old`.
pub fn cuts(old: &Config, new: &Config) -> Cuts {
    let after: HashMap<&str, &VifConfig> = new.vifs.iter().map(|vif| (&*vif.name, vif)).collect();
    let other_router = old.station.router_id != new.station.router_id;
    let mut cuts = Cuts::default();
    for vif in old.vifs.iter().filter(|vif| vif.up) {
        let next = after.get(&*vif.name).copied();
        let (whole, what) = fate(vif, next);
        let what = what.or_else(|| reopened(old, new, &vif.port));
        let what = what.or_else(|| next.and_then(|next| stations::lost(vif, next)));
        let what = what.or_else(|| next.and_then(|next| tunnels_lost((old, vif), (new, next))));
        if let Some(what) = what {
            cuts.vifs.push(Cut { vif: vif.name.clone(), peer: None, what });
        }
        for session in &vif.bgp {
            let next = next.and_then(|next| next.bgp.iter().find(|new| new.peer == session.peer));
            let what = match next {
                None => "ends",
                Some(next) if !whole || other_router || restarts(session, next) => "starts anew",
                Some(_) => continue,
            };
            let (vif, peer, what) = (vif.name.clone(), Some(session.peer), what.to_owned());
            cuts.sessions.push(Cut { vif, peer, what });
        }
    }
    for exchange in &old.exchanges {
        let next = new.exchanges.iter().find(|next| next.name == exchange.name);
        let what = exchange_loss(exchange, next);
        cuts.exchanges.extend(what.map(|what| format!("exchange {}: {what}", exchange.name)));
    }
    cuts
}

/// Whether a VIF's sessions stand, and what is taken away of it.
fn fate(old: &VifConfig, new: Option<&VifConfig>) -> (bool, Option<String>) {
    let Some(new) = new else { return (false, Some("is deleted".to_owned())) };
    if !new.up {
        return (false, Some("is set down".to_owned()));
    }
    let vni = |vif: &VifConfig| vif.tunnel.as_ref().map(|tunnel| tunnel.vni);
    let place = |vif: &VifConfig| (vif.port.clone(), vif.tags, vni(vif), vif.vrf.clone(), vif.kind);
    if place(old) != place(new) {
        let what = format!("moves to {}, vrf {}", new.network(), new.vrf);
        return (false, Some(what));
    }
    let gone = old.addresses.iter().filter(|address| !new.addresses.contains(address));
    let gone: Vec<String> = gone.map(ToString::to_string).collect();
    (true, (!gone.is_empty()).then(|| format!("loses its address {}", gone.join(", "))))
}

/// What becomes of the VIFs of a port whose NIC is to be used otherwise.
fn reopened(old: &Config, new: &Config, port: &str) -> Option<String> {
    let (before, after) = (old.port(port)?, new.port(port)?);
    (!after.is_used_as(before)).then(|| format!("its port {port} is opened anew"))
}

/// What a VIF's tunnels lose.
fn tunnels_lost(old: (&Config, &VifConfig), new: (&Config, &VifConfig)) -> Option<String> {
    let end = |(config, vif): (&Config, &VifConfig)| {
        let vtep = config.vteps.iter().find(|vtep| vtep.name == vif.port)?;
        Some((vtep.vrf.clone(), vtep.address, vtep.mac))
    };
    let tunnel = old.1.tunnel.as_ref()?;
    if end(old) != end(new) {
        return Some(format!("its vtep {} becomes another", old.1.port));
    }
    let kept = new.1.tunnel.iter().flat_map(|tunnel| &tunnel.remotes).collect::<Vec<_>>();
    let lost = tunnel.remotes.iter().filter(|remote| !kept.contains(remote));
    let lost: Vec<String> = lost.map(|remote| remote.address.to_string()).collect();
    (!lost.is_empty()).then(|| format!("loses its tunnel to {}", lost.join(", ")))
}

/// Whether the routing daemon ends a session for the change, and starts it again: not for what its filters and
/// limits say.
fn restarts(old: &BgpConfig, new: &BgpConfig) -> bool {
    let same = BgpConfig {
        max_prefixes: old.max_prefixes,
        at_max: old.at_max,
        import: old.import.clone(),
        export: old.export.clone(),
        local_preference: old.local_preference,
        preference: old.preference.clone(),
        suppress: old.suppress.clone(),
        tag: old.tag.clone(),
        no_export: old.no_export,
        prepend: old.prepend,
        rpki: old.rpki,
        verified: old.verified.clone(),
        ..new.clone()
    };
    same != *old
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const REFERENCE: &str = include_str!("../../scripts/station.toml");

    /// What a replacement in the reference takes away, a line each.
    fn after(old: &str, new: &str) -> Vec<String> {
        assert!(REFERENCE.contains(old), "{old}");
        let config = |text: &str| crate::config::parse(text, Path::new("/nonexistent")).unwrap();
        let cuts = cuts(&config(REFERENCE), &config(&REFERENCE.replacen(old, new, 1)));
        cuts.vifs.iter().chain(&cuts.sessions).map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_taken_away_is_said() {
        let four = "bgp 169.254.100.2 on vif a";
        let six = "bgp fd00:100::2 on vif a";
        let down = [
            "vif a: is set down".to_owned(),
            format!("{four}: starts anew"),
            format!("{six}: starts anew"),
        ];
        assert_eq!(after("9216\nup = true", "9216\nup = false"), down);
        assert_eq!(
            after("vlan = 100 ", "vlan = 101 ")[0],
            "vif a: moves to port cust0, vlan 101, vrf vpc-a"
        );
        let gone = "vif b: loses its address 192.0.2.1/31";
        assert_eq!(after("\"192.0.2.1/31\"", "\"192.0.2.8/31\""), [gone]);
        assert_eq!(after("\"kept-secret\"", "\"new-secret\""), [format!("{four}: starts anew")]);
        let session = "[[vif.bgp]]\npeer = \"fd00:100::2\"\npeer_as = 65001\nlocal_as = 64512\n";
        assert_eq!(after(session, ""), [format!("{six}: ends")]);
        assert_eq!(after("name = \"b\"\n", "name = \"c\"\n"), ["vif b: is deleted"]);
        let anew = "vif a: its port cust0 is opened anew";
        assert_eq!(after("busy_poll_us = 0", "busy_poll_us = 20")[0], anew);
        let other = after("\"192.0.2.255\"", "\"10.9.9.9\"");
        assert_eq!(other, [format!("{four}: starts anew"), format!("{six}: starts anew")]);
    }

    #[test]
    fn what_tunnels_lose_is_said() {
        const TUNNEL: &str = r#"
[[vrf]]
name = "fabric"
kind = "underlay"
[[vif]]
name = "fabric"
port = "core0"
vlan = 900
vrf = "fabric"
addresses = ["10.254.255.1/32"]
[[vtep]]
name = "vtep"
vrf = "fabric"
address = "10.254.255.1"
mac = "02:00:00:00:fa:01"
[[vif]]
name = "a-cloud"
vtep = "vtep"
vni = 5001
vrf = "vpc-a"
addresses = ["100.64.0.1/32"]
remotes = [{ address = "10.254.255.9", mac = "02:00:00:00:fa:09" }]
"#;
        let config = |tunnel: &str| {
            let text = format!("{REFERENCE}{tunnel}");
            crate::config::parse(&text, Path::new("/nonexistent")).unwrap()
        };
        for (old, new, said) in [
            ("vni = 5001", "vni = 5002", "vif a-cloud: moves to vtep vtep, vni 5002, vrf vpc-a"),
            ("fa:01", "fa:02", "vif a-cloud: its vtep vtep becomes another"),
            ("fa:09", "fa:08", "vif a-cloud: loses its tunnel to 10.254.255.9"),
            (" }]\n", " }]\nstation = \"two\"\n", "vif a-cloud: its tunnels become station two's"),
        ] {
            let cuts = cuts(&config(TUNNEL), &config(&TUNNEL.replace(old, new)));
            let cuts: Vec<String> = cuts.vifs.iter().map(ToString::to_string).collect();
            assert_eq!(cuts, [said]);
        }
    }

    #[test]
    fn what_only_adds_or_filters_takes_nothing_away() {
        let nothing: [String; 0] = [];
        for (old, new) in [
            ("max_prefixes = 100", "max_prefixes = 50"),
            ("prepend = 0", "prepend = 3"),
            ("rate = \"1G\"", "rate = \"2G\""),
            ("[\"192.0.2.1/31\"]", "[\"192.0.2.1/31\", \"192.0.2.9/31\"]"),
            ("weight = 3", "weight = 2"),
            ("# Routes.", "[[vrf]]\nname = \"new\"\nkind = \"vpc\"\n# Routes."),
        ] {
            assert_eq!(after(old, new), nothing, "{new}");
        }
    }
}
