//! What ARP and neighbor discovery have in common about the sender of a message: whether it is the
//! station itself, and what may be learned from it.

use std::net::IpAddr;

use super::egress::{Ingress, static_mac};
use super::neighbor::{Heard, Said};
use super::{Output, SlowPath};
use crate::wire::ethernet::Mac;

/// Whether a message is the station's own that came back behind another MAC, a bridge's: it says that one of the VIF's own
/// addresses (`claims_ours`) is at a MAC of the station, which is no conflict (RFC 5227 2.4, RFC 7527). What comes back as
/// it was sent, the fast path drops.
pub(super) fn is_looped(from: &Ingress<'_>, claims_ours: bool, mac: Mac) -> bool {
    claims_ours && from.view.snapshot.ports.iter().any(|port| port.mac == mac)
}

impl SlowPath {
    /// Takes in where a neighbor is. Nothing that it says changes a static neighbor.
    pub(super) fn heard_from(
        &mut self,
        from: &Ingress<'_>,
        address: IpAddr,
        mac: Mac,
        said: Said,
        out: &mut Vec<Output>,
    ) -> Heard {
        let key = (from.id, address);
        if let Some(known) = static_mac(from.view.snapshot, key) {
            return if known == mac { Heard::Taken } else { Heard::Refused };
        }
        let mut actions = Vec::new();
        let heard = self.neighbors.heard(from.view.now_ns, key, mac, said, &mut actions);
        self.act(from.view, actions, out);
        heard
    }
}
