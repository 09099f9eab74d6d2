//! The dataplane of a Direct Connect station.

pub mod control;
pub mod ctl;
pub mod fib;
pub mod port;
pub mod tables;
pub mod wire;
