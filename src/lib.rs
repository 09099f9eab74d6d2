//! The dataplane of a Direct Connect station.

pub mod control;
pub mod fib;
pub mod port;
pub mod slowpath;
pub mod tables;
pub mod wire;
