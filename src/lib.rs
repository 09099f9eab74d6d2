//! The dataplane of a Direct Connect station.

pub mod control;
pub mod fib;
pub mod handoff;
pub mod path;
pub mod port;
pub mod publish;
pub mod stage;
pub mod tables;
pub mod wire;
pub mod worker;
