//! What the kernel may and may not do in the TAPs' network namespace. `all` and `default` are the
//! station's there, as everything is.

use std::io;
use std::path::Path;

const IPV4: &[(&str, &str)] = &[
    // Sources need no route back: the same subnet is behind many TAPs.
    ("rp_filter", "0"),
    // One VIF's peer may have the address that another VIF has.
    ("accept_local", "1"),
    // Nothing asks or answers but the station.
    ("arp_ignore", "8"),
    ("arp_announce", "2"),
    ("proxy_arp", "0"),
    ("forwarding", "0"),
    ("accept_redirects", "0"),
    ("send_redirects", "0"),
    ("accept_source_route", "0"),
    // An address that goes takes no other of its subnet with it.
    ("promote_secondaries", "1"),
];

const IPV6: &[(&str, &str)] = &[
    // No link-local address but the VIF's.
    ("addr_gen_mode", "1"),
    ("accept_ra", "0"),
    ("autoconf", "0"),
    ("accept_dad", "0"),
    ("dad_transmits", "0"),
    ("router_solicitations", "0"),
    ("forwarding", "0"),
    ("accept_redirects", "0"),
    ("keep_addr_on_down", "1"),
    // Last: from here on the interface has IPv6.
    ("disable_ipv6", "0"),
];

/// Prepares this thread's namespace: what holds for all interfaces, and for those that come.
///
/// # Errors
/// The file that could not be written.
pub fn prepare_all() -> io::Result<()> {
    prepare("default")?;
    prepare("all")
}

/// Prepares an interface, before it is up. A kernel without IPv6 is well: an IPv6 address is refused
/// later.
///
/// # Errors
/// The file that could not be written.
pub fn prepare(interface: &str) -> io::Result<()> {
    set("/proc/sys/net/ipv4/conf", interface, IPV4)?;
    if Path::new("/proc/sys/net/ipv6").exists() {
        set("/proc/sys/net/ipv6/conf", interface, IPV6)?;
    }
    Ok(())
}

fn set(directory: &str, interface: &str, values: &[(&str, &str)]) -> io::Result<()> {
    for (name, value) in values {
        let path = Path::new(directory).join(interface).join(name);
        // Most are right already, and to write some takes the kernel's lock of all interfaces.
        let right = std::fs::read_to_string(&path).is_ok_and(|has| has.trim_end() == *value);
        if !right {
            std::fs::write(&path, value).map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}", path.display()))
            })?;
        }
    }
    Ok(())
}
