//! What the kernel itself counts of an interface's link, and the few errors that drivers leave with it.

use std::collections::BTreeMap;
use std::io;

use super::link::{RTM_NEWLINK, get_named};
use super::{attributes, u32_at};

// Of linux/if_link.h.
const IFLA_STATS64: u16 = 23;
const IFLA_CARRIER_UP_COUNT: u16 = 47;
const IFLA_CARRIER_DOWN_COUNT: u16 = 48;
/// Of `struct rtnl_link_stats64`: which number, and our name, which is that of the standard statistic.
const ERRORS: [(usize, &str); 3] = [(10, "length"), (12, "crc"), (13, "alignment")];

/// What the kernel counts of an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkCounts {
    /// Times that its carrier came.
    pub carrier_ups: Option<u32>,
    /// Times that its carrier went.
    pub carrier_downs: Option<u32>,
    /// Errors by name. A driver that counts none has zeros.
    pub errors: BTreeMap<String, u64>,
}

/// What the kernel counts of the interface of this name.
///
/// # Errors
/// The kernel's; ENODEV where there is no such interface.
pub fn link_counts(name: &str) -> io::Result<LinkCounts> {
    let counts =
        get_named(name).get(|kind, payload| counts(payload).filter(|_| kind == RTM_NEWLINK));
    Ok(counts?.unwrap_or_default())
}

/// `struct ifinfomsg` and its attributes.
fn counts(payload: &[u8]) -> Option<LinkCounts> {
    let mut found = LinkCounts::default();
    for (kind, value) in attributes(payload.get(16..)?) {
        match kind {
            IFLA_CARRIER_UP_COUNT => found.carrier_ups = u32_at(value, 0),
            IFLA_CARRIER_DOWN_COUNT => found.carrier_downs = u32_at(value, 0),
            IFLA_STATS64 => {
                let error = |(at, name): (usize, &str)| {
                    let number = value.get(at * 8..at * 8 + 8)?.try_into().ok()?;
                    Some((name.to_owned(), u64::from_ne_bytes(number)))
                };
                found.errors = ERRORS.into_iter().filter_map(error).collect();
            }
            _ => {}
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::super::link::tests::{attribute, message};
    use super::*;

    #[test]
    fn carriers_and_errors_are_read_and_what_is_cut_off_is_left_out() {
        let stats: Vec<u8> = (0..24_u64).flat_map(u64::to_ne_bytes).collect();
        let attributes = [
            attribute(IFLA_STATS64, &stats),
            attribute(IFLA_CARRIER_UP_COUNT, &3_u32.to_ne_bytes()),
            attribute(IFLA_CARRIER_DOWN_COUNT, &2_u32.to_ne_bytes()),
        ]
        .concat();
        let bytes = message(RTM_NEWLINK, 0, 7, 1, &attributes);
        let payload = &bytes[super::super::HEADER..];
        let errors = [("length", 10), ("crc", 12), ("alignment", 13)];
        let errors = errors.map(|(name, n)| (name.to_owned(), n)).into();
        let expected = LinkCounts { carrier_ups: Some(3), carrier_downs: Some(2), errors };
        assert_eq!(counts(payload), Some(expected));
        for cut in 0..payload.len() {
            counts(&payload[..cut]);
        }
    }

    #[test]
    fn the_loopback_counts_no_error_and_a_missing_interface_is_an_error() {
        assert_eq!(link_counts("lo").unwrap().errors.get("crc"), Some(&0));
        assert_eq!(link_counts("nosuch0").unwrap_err().raw_os_error(), Some(libc::ENODEV));
    }
}
