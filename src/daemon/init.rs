//! A first configuration, made of the interfaces that a server has.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::StationError;
use crate::config::{self, is_name};
use crate::history;
use crate::netlink::{Surveyed, survey};
use crate::port::LARGEST_MTU;
use crate::port::af_xdp::Hardware;
use crate::wire::ethernet::Mac;

/// Why there is no first configuration.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The kernel does not say which interfaces there are.
    #[error("cannot list the interfaces: {0}")]
    Interfaces(io::Error),
    /// No interface can be a port.
    #[error(
        "no interface is free to be a port:\n{0}a port is an Ethernet interface without addresses of the server's own"
    )]
    NoPort(String),
    /// The file is there.
    #[error("{} is there already: --force replaces it, --output FILE writes another", .0.display())]
    Exists(PathBuf),
    /// It cannot be written.
    #[error("cannot write {}: {error}; --output FILE writes another", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        error: io::Error,
    },
}

/// Writes a configuration with the ports that this server has to a file, or for `-` to standard output.
/// Replaces a file only by `force`.
///
/// # Errors
/// [`InitError`].
pub fn init(output: &Path, force: bool) -> Result<(), StationError> {
    let found = survey().map_err(InitError::Interfaces)?;
    let (text, ports) = compose(&host_name(), &found, Hardware::of)?;
    config::parse_as(&text, output).map_err(|error| StationError::Config(Box::new(error)))?;
    let failed = |error| InitError::Write { path: output.to_owned(), error };
    if output == Path::new("-") {
        io::stdout().write_all(text.as_bytes()).map_err(failed)?;
        return Ok(());
    }
    match write_new(output, &text) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && force => {
            history::replace(output, &text).map_err(failed)?.keep();
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(InitError::Exists(output.to_owned()).into());
        }
        written => written.map_err(failed)?,
    }
    println!(
        "{}: {ports} ports; say in it which are core ports, then add VRFs and VIFs",
        output.display()
    );
    Ok(())
}

/// A new file for its owner's eyes alone: passwords will be in it.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.inspect_err(|_| drop(fs::remove_file(path)))
}

fn host_name() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

/// The nearest that may be a name in a configuration.
fn as_name(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let plain = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' };
    let name: String = lower.chars().map(plain).collect();
    let name = name.trim_matches('-').to_owned();
    is_name(&name).then_some(name)
}

/// Why an interface is no port; `None` where it may be one.
fn unfit(one: &Surveyed) -> Option<String> {
    // Link-local addresses come with the interface.
    let own = |net: &&ipnet::IpNet| match net.addr() {
        std::net::IpAddr::V6(address) => !address.is_unicast_link_local(),
        std::net::IpAddr::V4(_) => true,
    };
    let own: Vec<String> = one.addresses.iter().filter(own).map(ToString::to_string).collect();
    match &one.kind {
        _ if !one.ethernet => Some("is not Ethernet".to_owned()),
        Some(kind) if kind != "veth" => Some(format!("is no NIC but a {kind}")),
        _ if one.enslaved => Some("belongs to a bridge or a bond".to_owned()),
        _ if !own.is_empty() => {
            Some(format!("has addresses of the server's own: {}", own.join(", ")))
        }
        _ if one.link.mac == [0; 6] => Some("has no MAC".to_owned()),
        _ if one.link.name.chars().any(char::is_control) => Some("has no plain name".to_owned()),
        _ => None,
    }
}

/// The text, and how many ports it has.
fn compose(
    host: &str,
    found: &[Surveyed],
    hardware: impl Fn(&str) -> Hardware,
) -> Result<(String, usize), InitError> {
    let (mut ports, mut others) = (Vec::new(), String::new());
    for one in found {
        match unfit(one) {
            None => ports.push(one),
            Some(why) if one.ethernet => {
                let _ = writeln!(others, "{}: {why}", one.link.name.escape_debug());
            }
            // The loopback, tunnels.
            Some(_) => {}
        }
    }
    if ports.is_empty() {
        return Err(InitError::NoPort(others));
    }
    let station = as_name(host).unwrap_or_else(|| "station".to_owned());
    let mut text = HEAD.replace("NAME", &station);
    let mut names = BTreeSet::new();
    for one in &ports {
        let port = port(one, &hardware(&one.link.name), &mut names);
        text.push_str(&port);
    }
    if !others.is_empty() {
        text.push_str("\n# Left to the server:\n");
        others.lines().for_each(|line| {
            let _ = writeln!(text, "#   {line}");
        });
    }
    text.push_str(TAIL);
    Ok((text, ports.len()))
}

/// A `[[port]]`, and what is known of its interface.
fn port(one: &Surveyed, hardware: &Hardware, names: &mut BTreeSet<String>) -> String {
    let link = &one.link;
    let wanted = as_name(&link.name).unwrap_or_else(|| "port".to_owned());
    let numbered = (2..).map(|n| as_name(&format!("{wanted:.25}-{n}")).unwrap_or_default());
    let mut choice = std::iter::once(wanted.clone()).chain(numbered);
    let name = choice.find(|name| !names.contains(name)).unwrap_or_default();
    names.insert(name.clone());
    let mut facts = vec![hardware.driver.clone().unwrap_or_else(|| "driver unknown".to_owned())];
    facts.extend(hardware.speed_mbps.map(|speed| format!("{speed} Mbit/s")));
    facts.push(Mac(link.mac).to_string());
    facts.extend(hardware.queues.map(|n| format!("{n} queue{}", if n == 1 { "" } else { "s" })));
    facts.push(format!("MTU {}", link.mtu));
    facts.push(match (link.admin_up, link.up) {
        (true, true) => "up".to_owned(),
        (true, false) => "no link".to_owned(),
        (false, _) => format!("down: ip link set dev {} up", link.name),
    });
    if link.mtu > LARGEST_MTU {
        facts.push("the MTU is too large: see LIMITS in station-operations(7)".to_owned());
    }
    // The driver's word is a module's, but nothing in it may end the comment.
    let facts = facts.join(", ").escape_debug().to_string();
    let interface = toml::Value::String(link.name.clone());
    format!(
        "\n[[port]]                         # {facts}\nname = \"{name}\"\ninterface = {interface}\nrole = \"customer\"                # or \"core\", where it leads to the cloud\n"
    )
}

const HEAD: &str = "\
# The configuration of this station: `stationd init` wrote it from the interfaces that it found.
# Every field is in station.toml(5). `stationd check FILE` checks a change, and `stationctl reload` takes it into use.

[station]
name = \"NAME\"

# A station takes a port whole: the kernel sees nothing more of it. Remove the ports that are no cross-connects.
";

const TAIL: &str = "
# A customer's VLAN 100, and the VLAN to its VPC:
#
# [[vrf]]
# name = \"acme\"
# kind = \"vpc\"
#
# [[vif]]
# name = \"acme-dc\"
# kind = \"private\"
# port = \"...\"                     # a customer port
# vlan = 100
# vrf = \"acme\"
# addresses = [\"192.0.2.1/30\"]
#
# [[vif]]
# name = \"acme-vpc\"
# port = \"...\"                     # a core port
# vlan = 100
# vrf = \"acme\"
# addresses = [\"198.51.100.1/24\"]
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::Link;

    fn nic(name: &str) -> Surveyed {
        let link = Link {
            name: name.into(),
            mac: [2, 0, 0, 0, 0, 1],
            mtu: 1500,
            admin_up: true,
            up: true,
            ..Link::default()
        };
        Surveyed { link, ethernet: true, ..Surveyed::default() }
    }

    fn hardware(_: &str) -> Hardware {
        Hardware { driver: Some("ixgbe".into()), speed_mbps: Some(10_000), queues: Some(4) }
    }

    #[test]
    fn ports_have_their_facts_and_the_text_is_accepted() {
        let mut down = nic("enp1s0f1");
        (down.link.admin_up, down.link.up, down.link.mtu) = (false, false, 9600);
        let (text, ports) = compose("FRA1_a.example", &[nic("enp1s0f0"), down], hardware).unwrap();
        assert_eq!(ports, 2);
        assert!(text.contains("name = \"fra1-a-example\""), "{text}");
        let facts = "# ixgbe, 10000 Mbit/s, 02:00:00:00:00:01, 4 queues, MTU 1500, up\n";
        assert!(text.contains(facts), "{text}");
        assert!(
            text.contains("MTU 9600, down: ip link set dev enp1s0f1 up, the MTU is too"),
            "{text}"
        );
        let config = config::parse(&text, Path::new("/")).unwrap();
        assert_eq!(config.ports.len(), 2);
        // What is commented out is accepted too, once it names its ports.
        let example = text.lines().map(|line| line.strip_prefix("# ").unwrap_or(line));
        let example: Vec<&str> = example.skip_while(|line| *line != "[[vrf]]").collect();
        let example = example.join("\n").replace("\n#\n", "\n").replacen("...", "enp1s0f0", 1);
        let core =
            text.replacen("customer\"    ", "core\"    ", 2).replacen("core\"", "customer\"", 1);
        let whole = format!("{core}{}", example.replacen("...", "enp1s0f1", 1));
        assert_eq!(config::parse(&whole, Path::new("/")).unwrap().vifs.len(), 2, "{whole}");
    }

    #[test]
    fn what_the_server_needs_itself_is_left_to_it() {
        let mut own = nic("eth0");
        own.addresses = vec!["192.0.2.10/24".parse().unwrap(), "fe80::1/64".parse().unwrap()];
        let mut local = nic("eth1");
        local.addresses = vec!["fe80::2/64".parse().unwrap()];
        let bridge = Surveyed { kind: Some("bridge".into()), ..nic("br0") };
        let enslaved = Surveyed { enslaved: true, ..nic("eth2") };
        let loopback = Surveyed { ethernet: false, ..nic("lo") };
        let all = [own.clone(), local, bridge, enslaved, loopback];
        let (text, ports) = compose("", &all, hardware).unwrap();
        assert_eq!(ports, 1);
        for line in [
            "#   eth0: has addresses of the server's own: 192.0.2.10/24\n",
            "#   br0: is no NIC but a bridge\n",
            "#   eth2: belongs to a bridge or a bond\n",
            "interface = \"eth1\"\n",
            "name = \"station\"\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
        assert!(!text.contains("lo:"), "{text}");
        let error = compose("", &[own], hardware).unwrap_err().to_string();
        assert!(error.contains("eth0: has addresses"), "{error}");
    }

    #[test]
    fn whatever_an_interface_is_called_the_text_is_accepted() {
        let odd = ["Eth_1", "eth-1", "eth.1", "\"q\\\"", "---", "---.", "\u{fc}ber", "a#b", "=[x]"];
        let all: Vec<Surveyed> = odd.iter().map(|name| nic(name)).collect();
        let hostile = |_: &str| Hardware { driver: Some("x\ny = 1".into()), ..Hardware::default() };
        let (text, ports) = compose("-", &all, hostile).unwrap();
        let config = config::parse(&text, Path::new("/")).unwrap_or_else(|e| panic!("{e}\n{text}"));
        let interfaces: Vec<&str> = config.ports.iter().map(|port| &*port.interface).collect();
        assert_eq!((ports, &interfaces[..]), (odd.len(), &odd[..]));
        assert!(compose("-", &[nic("a\nb")], hardware).is_err());
    }

    #[test]
    fn a_file_is_replaced_only_by_force() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("station.toml");
        write_new(&file, "a").unwrap();
        let again = write_new(&file, "b").map_err(|error| error.kind());
        assert_eq!(again, Err(io::ErrorKind::AlreadyExists));
        assert_eq!(fs::read_to_string(&file).unwrap(), "a");
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
