//! The configuration file: from text to a validated [`Config`]. The whole file is refused where
//! anything in it is wrong, with every error found at its line; station.toml(5) is the reference of
//! every field.

mod acls;
mod address;
mod address_limits;
mod bandwidth;
mod bgp;
mod billing;
mod communities;
mod cuts;
mod diff;
mod document;
pub mod edit;
mod error;
mod events;
mod exchanges;
mod fields;
mod flow_log;
mod kind;
mod labels;
mod latency;
mod lists;
mod metrics;
pub mod model;
mod names;
mod next_hops;
mod owners;
mod ports;
mod probes;
mod qos;
mod restart;
mod routes;
mod rpki;
mod secrets;
pub mod set;
mod station;
mod stations;
mod tags;
mod text;
mod translations;
mod vifs;
mod vteps;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

pub(crate) use address::unroutable;
pub use bandwidth::{rate_of, rate_text};
pub use cuts::{Cut, Cuts, cuts};
pub use diff::{Change, Diff, Op};
pub(crate) use diff::{diff, symmetric_difference};
pub use error::{ConfigError, Problem};
pub use lists::MAX_FILE;
pub use metrics::MetricsAddress;
pub(crate) use names::{is_name, name_help};
pub(crate) use next_hops::{MAX_WEIGHT, wrong_weights};
pub(crate) use restart::needs_restart;
pub use secrets::{exposure, hide};
pub use text::unified;

use error::Problems;
use fields::Fields;
use model::Config;

/// Reads and validates a configuration file. Also gives its text, which changes are made to and
/// compared with.
pub fn load(path: &Path) -> Result<(Config, String), ConfigError> {
    let failed = |message| {
        ConfigError::file(
            path,
            message,
            "write a configuration there, or name another with --config",
        )
    };
    lists::regular_file(path).map_err(failed)?;
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes))
        .map_err(|error| failed(format!("cannot read {}: {error}", path.display())))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        ConfigError::file(path, format!("octet {at} is not UTF-8"), "save the file as UTF-8")
    })?;
    Ok((parse_as(&text, path)?, text))
}

/// Validates a configuration's text. Prefix lists are relative to `base_dir`.
pub fn parse(text: &str, base_dir: &Path) -> Result<Config, ConfigError> {
    parse_as(text, &base_dir.join("station.toml"))
}

/// Validates a text as if it were in the file `path`: errors name that file, and prefix lists are
/// relative to its directory.
pub fn parse_as(text: &str, path: &Path) -> Result<Config, ConfigError> {
    parse_named(text, path, &path.display().to_string())
}

/// Validates a text that is to be in the file `path`, where errors name what the text comes from.
pub fn parse_named(text: &str, path: &Path, name: &str) -> Result<Config, ConfigError> {
    if text.len() as u64 > MAX_FILE {
        let message = format!("the text is longer than {} MiB", MAX_FILE >> 20);
        return Err(ConfigError::file(Path::new(name), message, "move routes to a [[route_list]]"));
    }
    let problems = Problems::new(text);
    let config = read(text, &base_dir(path), &problems);
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(problems.into_error(name)),
    }
}

/// The directory that a configuration file is in.
fn base_dir(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Reads everything and notes all problems on the way. The result means something only where there
/// are none.
fn read(text: &str, base_dir: &Path, problems: &Problems<'_>) -> Option<Config> {
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        problems.add(&span, "", error.message(), "see https://toml.io for the syntax");
    }
    if !errors.is_empty() {
        return None;
    }
    let root = Fields::document(document.get_ref(), problems);
    let station = station::station(root.table("station"));
    let events = events::events(root.table("events"));
    let billing = billing::billing(root.table("billing"));
    let flow_log = flow_log::flow_log(root.table("flow_log"));
    let latency = latency::latency(root.table("latency"));
    let ports = ports::ports(&root, station.max_ports);
    let (vrfs, owners) = vifs::vrfs(&root);
    let groups = bandwidth::meter_groups(&root);
    let limits = address_limits::address_limits(&root);
    let qos = qos::policies(&root);
    let acls = acls::acls(&root);
    let vteps = vteps::vteps(&root, &ports, &vrfs);
    let rpki = rpki::caches(&root);
    let known = vifs::Known {
        station: &station.name,
        ports: &ports,
        vrfs: &vrfs,
        groups: &groups,
        limits: &limits,
        qos: &qos,
        acls: &acls,
        vteps: &vteps,
        rpki: root.has("rpki"),
        flow_log: root.has("flow_log"),
    };
    let vifs = vifs::vifs(&root, &known, owners, station.max_vifs);
    vteps.check(&root, &vifs);
    let routes = routes::routes(&root, &vrfs, &vifs);
    let route_lists = routes::route_lists(&root, &vrfs, &vifs, &routes, base_dir);
    let neighbors = routes::neighbors(&root, &vifs);
    let probes = probes::probes(&root, &vifs);
    let exchanges = exchanges::exchanges(&root, &vrfs, &vifs);
    root.finish();
    Some(Config {
        station,
        events,
        billing,
        flow_log,
        latency,
        ports: ports.into_items(),
        vrfs: vrfs.into_items(),
        vteps: vteps.named.into_items(),
        meter_groups: groups.into_items(),
        address_limits: limits.into_items(),
        qos: qos.into_items(),
        acls: acls.into_items(),
        vifs: vifs.into_items(),
        routes: routes.into_iter().map(|route| route.value).collect(),
        route_lists,
        neighbors,
        exchanges: exchanges.into_items(),
        rpki: rpki.into_items(),
        probes: probes.into_items(),
    })
}
