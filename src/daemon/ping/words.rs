//! What comes of echo requests, in words.

use crate::slowpath::{MAX_WAITING, Unsent};
use crate::tables::Verdict;

/// Why an echo request did not leave, and what to do.
pub(in crate::daemon) fn unsent(unsent: Unsent) -> String {
    match unsent {
        Unsent::Down => "the VIF or its port is down".into(),
        Unsent::NoAddress => "the VIF has no address of this family any more".into(),
        Unsent::NoHost => "no host may have this address".into(),
        Unsent::Own => "the address is the station's own: ping it from the other end".into(),
        Unsent::Route(Verdict::Forward) => "no way out".into(),
        Unsent::Route(verdict) => verdict.help().into(),
        Unsent::TooLong(octets, mtu) => {
            format!(
                "message too long: {octets} octets, and the way out carries {mtu}: a smaller --size"
            )
        }
        Unsent::Unresolved => "the next hop does not answer ARP or ND (show neighbors)".into(),
        Unsent::Busy => format!("{MAX_WAITING} are waited for: a longer --interval"),
    }
}

/// An ICMP error in words (RFC 792, RFC 1191, RFC 1812 5.2.7), and the MTU that it states.
pub(in crate::daemon) fn error4(kind: u8, code: u8, word: u32) -> (String, Option<u32>) {
    let text = match (kind, code) {
        (3, 0) => "Destination Net Unreachable",
        (3, 1) => "Destination Host Unreachable",
        (3, 2) => "Destination Protocol Unreachable",
        (3, 3) => "Destination Port Unreachable",
        (3, 4) => {
            let mtu = word & 0xffff;
            return (format!("Fragmentation needed and DF set (mtu = {mtu})"), Some(mtu));
        }
        (3, 9 | 10 | 13) => "Packet filtered",
        (11, 0) => "Time to live exceeded",
        (11, _) => "Frag reassembly time exceeded",
        (5, _) => "Redirect",
        (12, _) => "Parameter problem",
        _ => return (format!("ICMP type {kind} code {code}"), None),
    };
    (text.into(), None)
}

/// The same of ICMPv6 (RFC 4443 3).
pub(in crate::daemon) fn error6(kind: u8, code: u8, word: u32) -> (String, Option<u32>) {
    let text = match (kind, code) {
        (1, 0) => "Destination unreachable: No route",
        (1, 1) => "Destination unreachable: Administratively prohibited",
        (1, 2) => "Destination unreachable: Beyond scope of source address",
        (1, 3) => "Destination unreachable: Address unreachable",
        (1, 4) => "Destination unreachable: Port unreachable",
        (1, _) => "Destination unreachable",
        (2, _) => return (format!("Packet too big: mtu={word}"), Some(word)),
        (3, 0) => "Time exceeded: Hop limit",
        (3, _) => "Time exceeded: Defragmentation failure",
        (4, _) => "Parameter problem",
        _ => return (format!("ICMPv6 type {kind} code {code}"), None),
    };
    (text.into(), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_as_ping_does() {
        assert_eq!(error4(3, 4, 1400).1, Some(1400));
        assert!(error4(3, 4, 1400).0.ends_with("(mtu = 1400)"));
        assert_eq!(error6(2, 0, 1280), ("Packet too big: mtu=1280".into(), Some(1280)));
        assert_eq!(error4(11, 0, 0).0, "Time to live exceeded");
        assert_eq!(error6(3, 0, 0).0, "Time exceeded: Hop limit");
        assert_eq!(error4(250, 7, 0).0, "ICMP type 250 code 7");
    }
}
