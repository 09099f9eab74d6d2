//! The slow path against packets that etherparse builds and reads. Every frame that it sends is
//! checked (tags, MACs, lengths, checksums, VRF), every punt counts exactly one outcome.

#![allow(clippy::unwrap_used, clippy::expect_used)]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]

mod any_bytes;
mod arp;
mod errors;
mod forwarding;
mod kernel;
mod local;
mod nd;
mod neighbors;
mod packets;
mod probes;
mod signatures;
mod takeovers;
mod world;
