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
