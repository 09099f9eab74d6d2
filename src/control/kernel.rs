//! What the station's things are called in the kernel: the network namespace of its TAPs, the TAP of a
//! VIF, and the tables that the routing daemon writes a VRF's routes to. The names follow from the admin
//! socket's directory and the tables' ids alone, so that they mean the same after a restart.

use std::path::Path;

use crate::tables::{PortId, Tags, VrfId};

/// The first kernel table; below it are those of the kernel and of the operator.
const FIRST_TABLE: u32 = 10_000;

/// What the routing daemon is called in a kernel route (`RTPROT_BIRD` of linux/rtnetlink.h).
pub const ROUTE_PROTOCOL: u8 = 12;

/// The network namespace of the station's TAPs and of its BIRD, whose files are in the directory of the
/// admin socket: `stationd-station` for `/run/station/stationd.sock`.
pub fn namespace_name(socket: &Path) -> String {
    let directory = socket.parent().unwrap_or(Path::new("/"));
    let directory = directory.strip_prefix("/run").unwrap_or(directory).to_string_lossy();
    let mut name = "stationd".to_owned();
    for part in directory.split('/').filter(|part| !part.is_empty()) {
        name.push('-');
        name.push_str(part);
    }
    name
}

/// The TAP of the VIF with these tags on a port: `v0.100`, `v1.500.10`.
pub fn tap_name(port: PortId, tags: Tags) -> String {
    match tags.inner {
        None => format!("v{}.{}", port.0, tags.outer),
        Some(inner) => format!("v{}.{}.{inner}", port.0, tags.outer),
    }
}

/// The kernel table of a VRF's best routes.
pub fn best_table(vrf: VrfId) -> u32 {
    FIRST_TABLE + 2 * u32::from(vrf.0)
}

/// The kernel table of every usable next hop of a VRF's prefixes.
pub fn alternates_table(vrf: VrfId) -> u32 {
    best_table(vrf) + 1
}

/// What a kernel table of the station's holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableUse {
    /// The best routes of a VRF.
    Best(VrfId),
    /// Every usable next hop of its prefixes.
    Alternates(VrfId),
}

/// What a kernel table holds; `None` where it is not the station's.
pub fn table_use(table: u32) -> Option<TableUse> {
    let number = table.checked_sub(FIRST_TABLE)?;
    let vrf = VrfId(u16::try_from(number / 2).ok()?);
    Some(if number % 2 == 0 { TableUse::Best(vrf) } else { TableUse::Alternates(vrf) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tap_is_named_after_its_port_and_vlans() {
        let tags = |outer, inner| Tags { outer, inner, service: false };
        assert_eq!(tap_name(PortId(0), tags(100, None)), "v0.100");
        assert_eq!(tap_name(PortId(1), tags(500, Some(10))), "v1.500.10");
        // IFNAMSIZ leaves 15 octets for a name.
        assert_eq!(tap_name(PortId(255), tags(4094, Some(4094))).len(), 14);
    }

    #[test]
    fn a_namespace_is_named_after_the_directory_of_the_socket() {
        for (socket, name) in [
            ("/run/station/stationd.sock", "stationd-station"),
            ("/run/station/b/stationd.sock", "stationd-station-b"),
            ("/run/stationd.sock", "stationd"),
            ("/var/lib/station/s", "stationd-var-lib-station"),
        ] {
            assert_eq!(namespace_name(Path::new(socket)), name);
        }
    }

    #[test]
    fn a_table_leads_back_to_its_vrf() {
        for vrf in [VrfId(0), VrfId(1), VrfId(u16::MAX)] {
            assert_eq!(table_use(best_table(vrf)), Some(TableUse::Best(vrf)));
            assert_eq!(table_use(alternates_table(vrf)), Some(TableUse::Alternates(vrf)));
        }
        assert_eq!(best_table(VrfId(3)), 10_006);
        for other in [0, 254, 9_999, alternates_table(VrfId(u16::MAX)) + 1, u32::MAX] {
            assert_eq!(table_use(other), None, "{other}");
        }
    }
}
