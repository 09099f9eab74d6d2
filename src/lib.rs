//! The dataplane of a Direct Connect station.

pub mod fib;
