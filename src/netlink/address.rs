//! The addresses of this network namespace.

use std::io;
use std::net::IpAddr;

use ipnet::IpNet;

use super::{Request, attributes, u32_at};

// Of linux/rtnetlink.h, linux/if_addr.h.
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;

/// All addresses of this network namespace, with the index of their interface.
///
/// # Errors
/// The kernel's.
pub fn addresses() -> io::Result<Vec<(u32, IpNet)>> {
    let request = Request::new(RTM_GETADDR, 0, &[0; 8]);
    request.dump(|kind, payload| address(payload).filter(|_| kind == RTM_NEWADDR))
}

/// `struct ifaddrmsg` and its attributes.
fn address(payload: &[u8]) -> Option<(u32, IpNet)> {
    let (prefix_len, index) = (*payload.get(1)?, u32_at(payload, 4)?);
    let (mut local, mut other) = (None, None);
    for (kind, value) in attributes(payload.get(8..)?) {
        let value = || {
            let v4 = <[u8; 4]>::try_from(value).map(IpAddr::from);
            v4.or_else(|_| <[u8; 16]>::try_from(value).map(IpAddr::from)).ok()
        };
        match kind {
            IFA_LOCAL => local = value(),
            IFA_ADDRESS => other = value(),
            _ => {}
        }
    }
    Some((index, IpNet::new(local.or(other)?, prefix_len).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_that_end_early_are_left_out() {
        for length in 0..40 {
            assert_eq!(address(&vec![0xff; length]), None);
        }
    }
}
