//! Addresses as keys: the six bits at a depth, for either family.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bits that one level of the tree resolves.
pub(super) const STRIDE: u8 = 6;

/// An address of one family in host order.
pub(super) trait Key: Copy + Ord + Default + Send + 'static {
    const BITS: u8;
    /// The six bits that start at `depth`, zeros following the address's end. `depth < BITS`.
    fn slot(self, depth: u8) -> usize;
    /// `self` with the top of `slot` at `depth`.
    fn with_slot(self, depth: u8, slot: usize) -> Self;
    fn from_net(net: &IpNet) -> Option<Self>;
    fn net(self, len: u8) -> Option<IpNet>;
}

impl Key for u32 {
    const BITS: u8 = 32;

    #[inline(always)]
    fn slot(self, depth: u8) -> usize {
        (((u64::from(self) << 32) << depth) >> 58) as usize
    }

    fn with_slot(self, depth: u8, slot: usize) -> u32 {
        self | (((slot as u64) << 58 >> depth) >> 32) as u32
    }

    fn from_net(net: &IpNet) -> Option<u32> {
        match net.network() {
            IpAddr::V4(address) => Some(address.to_bits()),
            IpAddr::V6(_) => None,
        }
    }

    fn net(self, len: u8) -> Option<IpNet> {
        Ipv4Net::new(Ipv4Addr::from_bits(self), len).ok().map(IpNet::V4)
    }
}

impl Key for u128 {
    const BITS: u8 = 128;

    #[inline(always)]
    fn slot(self, depth: u8) -> usize {
        ((self << depth) >> 122) as usize
    }

    fn with_slot(self, depth: u8, slot: usize) -> u128 {
        self | ((slot as u128) << 122 >> depth)
    }

    fn from_net(net: &IpNet) -> Option<u128> {
        match net.network() {
            IpAddr::V6(address) => Some(address.to_bits()),
            IpAddr::V4(_) => None,
        }
    }

    fn net(self, len: u8) -> Option<IpNet> {
        Ipv6Net::new(Ipv6Addr::from_bits(self), len).ok().map(IpNet::V6)
    }
}
