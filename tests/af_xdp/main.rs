//! AF_XDP ports on real sockets, over veth pairs in network namespaces. As root:
//! `cargo test --test af_xdp -- --include-ignored --test-threads 1`

#![allow(unsafe_code)] // setns, packet sockets
#![allow(clippy::unwrap_used)] // in helpers of tests, as in tests

mod attach;
mod audit;
mod forward;
mod lab;
mod nic;
mod watch;
