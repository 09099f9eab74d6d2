//! The largest addresses of a stream in bounded memory: Space-Saving (Metwally, Agrawal, El Abbadi, "Efficient Computation
//! of Frequent and Top-k Elements in Data Streams", ICDT 2005), by octets.

use std::net::IpAddr;

/// Addresses that a sketch has room for.
pub const ENTRIES: usize = 128;

/// An address with what it had at most, and what of that may be others'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    address: IpAddr,
    most: u64,
    over: u64,
}

/// The largest addresses. Whatever comes in whatever order, an address with more than the sum / [`ENTRIES`] is among them.
#[derive(Clone, Debug, Default)]
pub struct Sketch {
    entries: Vec<Entry>,
    sum: u64,
}

impl Sketch {
    /// Adds octets of an address. One that is new takes the place of the smallest, and what that had.
    pub fn add(&mut self, address: IpAddr, octets: u64) {
        self.sum = self.sum.saturating_add(octets);
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.address == address) {
            entry.most = entry.most.saturating_add(octets);
        } else if self.entries.len() < ENTRIES {
            self.entries.push(Entry { address, most: octets, over: 0 });
        } else if let Some(least) = self.entries.iter_mut().min_by_key(|entry| entry.most) {
            *least = Entry { address, most: least.most.saturating_add(octets), over: least.most };
        }
    }

    /// Octets of all addresses.
    pub const fn sum(&self) -> u64 {
        self.sum
    }

    /// What an address that is not among them had at most.
    pub fn least(&self) -> u64 {
        let least = self.entries.iter().map(|entry| entry.most).min();
        least.filter(|_| self.entries.len() >= ENTRIES).unwrap_or(0)
    }

    /// The addresses that are among them, each with what it had at least and at most.
    pub fn addresses(&self) -> impl Iterator<Item = (IpAddr, u64, u64)> {
        self.entries.iter().map(|entry| (entry.address, entry.most - entry.over, entry.most))
    }
}
