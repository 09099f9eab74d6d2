//! Headers on the fast path: constants, checked reads and in-place edits. Every function states what
//! it needs of the slice's length; with that, none panics. The slow path, which may be slower, builds
//! and parses its packets with `etherparse`.

pub mod bpf;
pub mod checksum;
pub mod erspan;
pub mod ethernet;
pub mod ipv4;
pub mod ipv6;
pub mod outline;
pub mod twamp;

/// A packet, or what is behind a header: its first octets, with all headers, and how long it is. A long one may lie in
/// several places, of which only the first is seen here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start<'a> {
    /// The first octets.
    pub octets: &'a [u8],
    /// Octets in all.
    pub len: usize,
}

impl<'a, T: AsRef<[u8]> + ?Sized> From<&'a T> for Start<'a> {
    #[inline(always)]
    fn from(octets: &'a T) -> Self {
        let octets = octets.as_ref();
        Start { octets, len: octets.len() }
    }
}
