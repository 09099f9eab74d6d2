//! BIRD's configuration, from the station's. A pure function: the same configuration gives the same
//! text, and what a tenant's session is made of depends on nothing of another VRF.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use ipnet::IpNet;

use super::bfd;
use super::originate::all_within;
use super::policy::{self, Place};
use super::process::own_directory;
use super::rendered::{Rendered, Ways};
use super::rpki;
use super::session::{digit, family, protocol, table, tap};
use crate::admin::protocol::Family;
use crate::config::model::{AtMax, BgpConfig, Community, Config, RpkiPolicy, VifConfig};
use crate::control::Drained;
use crate::control::kernel::{alternates_table, best_table};
use crate::tables::{Password, PortRole, VrfId, VrfKind};

/// Routes beyond which BIRD compares the kernel's tables with its own rarely: a scan reads them all.
const MANY_ROUTES: u64 = 20_000;
/// Octets of the kernel's news that may wait for BIRD: of thousands of TAPs that come at once, or of a full
/// table. Where some are lost, BIRD has sessions down on TAPs that are up until its next scan.
const NETLINK_BUFFER: usize = 32 << 20;
/// Most next hops of a prefix: the buckets of a next-hop group.
const MERGED: usize = crate::tables::group::BUCKETS;

/// What the configuration does not say.
pub struct Surroundings<'a> {
    /// The ids of the VRFs.
    pub vrfs: &'a HashMap<Arc<str>, VrfId>,
    /// BIRD's directory.
    pub directory: &'a Path,
    /// What is drained.
    pub drained: &'a Drained,
}

/// BIRD's configuration, or `None` where no VIF needs BIRD. The text holds passwords.
pub fn render(config: &Config, around: &Surroundings<'_>) -> Option<Rendered> {
    if !config.vifs.iter().any(|vif| vif.bfd.is_some() || !vif.bgp.is_empty()) {
        return None;
    }
    let mut out = String::new();
    head(&mut out, config, around.directory);
    let mut ways = Ways::new();
    let mut vrfs: BTreeMap<(&str, Family), Vec<&VifConfig>> = BTreeMap::new();
    for vif in &config.vifs {
        let families: BTreeSet<Family> = vif.bgp.iter().map(|bgp| family(bgp.peer)).collect();
        for family in families {
            vrfs.entry((&*vif.vrf, family)).or_default().push(vif);
        }
    }
    let ports = config.ports.iter().map(|port| (&*port.name, port.role));
    let vteps = config.vteps.iter().map(|vtep| (&*vtep.name, PortRole::Core));
    let roles: HashMap<&str, PortRole> = ports.chain(vteps).collect();
    for ((vrf, family), vifs) in &vrfs {
        let domain = Domain::new(config, around, &roles, vrf, *family);
        domain.render(&mut out, vifs, &mut ways);
    }
    for vif in config.vifs.iter().filter(|vif| vif.up) {
        bfd::render(&mut out, config, vif);
    }
    Some(Rendered { text: out, ways })
}

fn head(out: &mut String, config: &Config, directory: &Path) {
    let log = own_directory(directory).join("bird.log");
    let log = log.display();
    // No line of the other classes is written: a peer causes as many of them as it likes.
    let _ = write!(
        out,
        "# Made by stationd of its own configuration; what is changed here is lost.\n\
         log \"{log}\" 4194304 \"{log}.1\" {{ info, fatal, bug }};\n\
         router id {};\n\
         timeformat protocol \"%s\";\n\
         timeformat route \"%s\";\n\
         graceful restart wait 15;\n\
         protocol device {{ scan time 10; }}\n",
        config.station.router_id,
    );
    policy::definitions(out);
    rpki::render(out, &config.rpki);
}

/// The routes of one family in one VRF.
pub(super) struct Domain<'a> {
    pub config: &'a Config,
    roles: &'a HashMap<&'a str, PortRole>,
    pub vrf: &'a str,
    id: VrfId,
    pub family: Family,
    pub public: bool,
    pub drained: &'a Drained,
    known: Vec<Community>,
}

impl<'a> Domain<'a> {
    fn new(
        config: &'a Config,
        around: &'a Surroundings<'a>,
        roles: &'a HashMap<&'a str, PortRole>,
        vrf: &'a str,
        family: Family,
    ) -> Self {
        let public = config.vrfs.iter().any(|v| *v.name == *vrf && v.kind == VrfKind::Public);
        let sessions = config.vifs.iter().filter(|vif| *vif.vrf == *vrf).flat_map(|vif| &vif.bgp);
        let mut known: Vec<Community> = sessions
            .flat_map(|bgp| {
                bgp.suppress.iter().chain(bgp.preference.iter().map(|(community, _)| community))
            })
            .copied()
            .collect();
        known.sort_unstable();
        known.dedup();
        let id = around.vrfs.get(vrf).copied().unwrap_or_default();
        Domain { config, roles, vrf, id, family, public, drained: around.drained, known }
    }

    fn render(&self, out: &mut String, vifs: &[&VifConfig], ways: &mut Ways) {
        let (vrf, digit, word) = (self.vrf, digit(self.family), word(self.family));
        let table = table(vrf, self.family);
        let _ = writeln!(out, "\n# vrf {vrf}, {word}\n{word} table '{table}';");
        let own = self.own_prefixes();
        let own_set = format!("'o{digit}.{vrf}'");
        if !own.is_empty() {
            let _ = writeln!(out, "define {own_set} = {};", policy::set(&own));
        }
        let provider = self.provider_prefixes(vifs);
        let provider_set = format!("'q{digit}.{vrf}'");
        if !provider.is_empty() {
            let all = provider.iter().copied().map(all_within).collect::<Vec<_>>();
            let _ = writeln!(out, "define {provider_set} = {};", policy::set(&all));
        }
        self.originated(out, &table, ways);
        self.kernel(
            out,
            &format!("k{digit}.{vrf}"),
            best_table(self.id),
            &table,
            "where source = RTS_BGP && dest = RTD_UNICAST",
        );
        let sessions =
            || vifs.iter().flat_map(|vif| &vif.bgp).filter(|bgp| family(bgp.peer) == self.family);
        if sessions().count() > 1 {
            self.alternates(out, &table);
        }
        let internal = sessions().any(BgpConfig::is_internal);
        let routers = format!("'w{digit}.{vrf}'");
        if internal {
            let _ = writeln!(out, "define {routers} = [{}];", self.addresses().join(", "));
            self.resolution(out, vifs);
        }
        for vif in vifs {
            let tap = tap(self.config, vif);
            let sessions = || vif.bgp.iter().filter(|bgp| family(bgp.peer) == self.family);
            let external = sessions().filter(|bgp| !bgp.is_internal()).map(|bgp| bgp.peer);
            let peers: String = external.map(|peer| by_itself(peer, &tap)).collect();
            if !peers.is_empty() {
                let table = table_of_peers(&tap, self.family);
                let _ = write!(
                    out,
                    "{word} table '{table}';\nprotocol static 'c{digit}.{tap}' {{\n  \
                       {word} {{ table '{table}'; }};\n{peers}}}\n"
                );
            }
            let place = Place {
                family: self.family,
                role: self.role(vif),
                public: self.public,
                own: (!own.is_empty()).then_some(&*own_set),
                provider: (!provider.is_empty()).then_some((&*provider_set, &provider)),
                routers: internal.then_some(&*routers),
                known: &self.known,
                drained: self.drained.has(vif),
            };
            for bgp in sessions() {
                self.session(out, vif, &tap, bgp, &place);
            }
        }
    }

    /// The router's own addresses in the VRF.
    fn addresses(&self) -> Vec<String> {
        let nets = self.vifs().flat_map(|vif| &vif.addresses).filter(|net| self.has(net));
        nets.map(|net| net.addr().to_string()).collect()
    }

    /// BIRD has one more table where several peers may announce the same prefix: every usable next hop
    /// of each prefix, told apart by nothing, so that `merge paths` takes them all.
    fn alternates(&self, out: &mut String, best: &str) {
        let (vrf, digit, word) = (self.vrf, digit(self.family), word(self.family));
        let table = format!("a{digit}.{vrf}");
        let _ = write!(
            out,
            "{word} table '{table}';\n\
             protocol pipe 'p{digit}.{vrf}' {{\n  \
               table '{table}';\n  peer table '{best}';\n  \
               import filter {{ as_alternative(); }};\n  \
               export none;\n}}\n"
        );
        self.kernel(
            out,
            &format!("l{digit}.{vrf}"),
            alternates_table(self.id),
            &table,
            "where dest = RTD_UNICAST",
        );
    }

    /// `learn` is what has BIRD look at the table when it is asked to ([`super::kernel_look`]); it takes nothing from there.
    ///
    /// The kernel gets no route whose next hop BIRD cannot resolve: it would be an unreachable one, which
    /// for IPv6 the kernel keeps beside an older one of the same prefix.
    fn kernel(&self, out: &mut String, name: &str, number: u32, table: &str, export: &str) {
        let max =
            |vif: &VifConfig| vif.bgp.iter().map(|bgp| u64::from(bgp.max_prefixes)).sum::<u64>();
        let routes: u64 = self.config.vifs.iter().map(max).sum();
        let scan_s = if routes > MANY_ROUTES { 600 } else { 10 };
        let word = word(self.family);
        let _ = write!(
            out,
            "protocol kernel '{name}' {{\n  \
               kernel table {number};\n  scan time {scan_s};\n  learn on;\n  graceful restart on;\n  \
               netlink rx buffer {NETLINK_BUFFER};\n  \
               merge paths on limit {MERGED};\n  \
               {word} {{ table '{table}'; import none; export {export}; }};\n}}\n"
        );
    }

    /// A VIF by its name.
    pub(super) fn vif(&self, name: &str) -> Option<&'a VifConfig> {
        self.config.vif(name)
    }

    /// The VIFs of the VRF.
    pub(super) fn vifs(&self) -> impl Iterator<Item = &'a VifConfig> {
        self.config.vifs.iter().filter(|vif| *vif.vrf == *self.vrf)
    }

    /// The role of a VIF's port.
    pub(super) fn role(&self, vif: &VifConfig) -> PortRole {
        self.roles.get(&*vif.port).copied().unwrap_or(PortRole::Customer)
    }

    /// The same of a VIF by its name.
    pub(super) fn role_of(&self, vif: &str) -> PortRole {
        self.vif(vif).map_or(PortRole::Customer, |vif| self.role(vif))
    }

    fn session(
        &self,
        out: &mut String,
        vif: &VifConfig,
        tap: &str,
        bgp: &BgpConfig,
        place: &Place<'_>,
    ) {
        let word = word(self.family);
        let table = table(self.vrf, self.family);
        let resolving = match bgp.is_internal() {
            true => self.resolving_table(),
            false => table_of_peers(tap, self.family),
        };
        // BIRD judges routes anew when ROAs change only where it has kept them as they came.
        let kept = match bgp.rpki {
            RpkiPolicy::Off => "",
            RpkiPolicy::NotInvalid | RpkiPolicy::Valid => "import table on;\n    ",
        };
        // A TAP has no carrier where its link is lost, and while no station runs: the station tells the two
        // apart, BIRD could not.
        let mut options = "  check link off;\n".to_owned();
        if let Some(password) = bgp.password.as_ref().map(Password::reveal) {
            let _ = writeln!(options, "  password \"{password}\";");
        }
        match bgp.graceful_restart_s {
            0 => options.push_str("  graceful restart off;\n"),
            time => {
                let _ =
                    writeln!(options, "  graceful restart on;\n  graceful restart time {time};");
            }
        }
        for (option, wanted) in [
            // A session within an AS is one of several hops otherwise.
            ("direct", bgp.is_internal()),
            ("passive on", bgp.passive),
            ("ttl security on", bgp.ttl_security),
            ("disabled yes", !vif.up),
        ] {
            if wanted {
                let _ = writeln!(options, "  {option};");
            }
        }
        let max = bgp.max_prefixes;
        let limits = match bgp.at_max {
            // Room for routes that are refused, so that they can be shown; but not for any number.
            AtMax::Shut => format!(
                "import limit {max} action disable;\n    receive limit {} action disable",
                room(max)
            ),
            AtMax::Discard => format!(
                "import limit {max} action block;\n    receive limit {} action block",
                room(max)
            ),
            // A warning is no licence to fill the memory.
            AtMax::Warn => format!(
                "import limit {max} action warn;\n    receive limit {} action disable",
                ceiling(max)
            ),
        };
        let _ = write!(
            out,
            "protocol bgp '{}' {{\n  \
               debug {{ states, events }};\n  \
               vrf \"{tap}\"; interface \"{tap}\"; strict bind yes;\n  \
               local {} as {};\n  neighbor {} as {};\n  \
               hold time {}; keepalive time {};\n  \
               connect retry time {}; connect delay time 1; error wait time 1, 15;\n  \
               long lived graceful restart off;\n\
             {options}  \
               {word} {{\n    \
                 table '{table}';\n    igp table '{resolving}'; gateway recursive; next hop self;\n    \
                 {kept}import keep filtered on;\n    {limits};\n  import filter {{\n",
            protocol(tap, bgp.peer),
            bgp.local,
            bgp.local_as,
            bgp.peer,
            bgp.peer_as,
            bgp.hold_s,
            bgp.keepalive_s,
            bgp.connect_retry_s,
        );
        policy::import(out, bgp, place);
        out.push_str("  };\n  export filter {\n");
        policy::export(out, bgp, place);
        out.push_str("  };\n  };\n}\n");
    }
}

/// The table that a VIF's sessions with other ASes resolve next hops by: its peers alone.
fn table_of_peers(tap: &str, family: Family) -> String {
    format!("i{}.{tap}", digit(family))
}

/// The route to a peer: on this interface and nowhere else, and never by the link-local address that it may give beside its
/// own.
pub(super) fn by_itself(peer: IpAddr, tap: &str) -> String {
    format!("  route {} via {peer}%'{tap}';\n", IpNet::from(peer))
}

/// How many routes of a session are remembered, refused ones included.
fn room(max_prefixes: u32) -> u32 {
    max_prefixes.saturating_mul(2).saturating_add(1000)
}

/// How many routes a session that is only warned may send before it is shut.
fn ceiling(max_prefixes: u32) -> u32 {
    max_prefixes.saturating_mul(10).saturating_add(10_000)
}

/// BIRD's word for a family.
pub(super) fn word(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "ipv4",
        Family::Ipv6 => "ipv6",
    }
}
