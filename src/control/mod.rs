//! The control plane: configuration in, tables and FIB out. It publishes generations and never
//! touches a worker or a port's rings.

pub mod answer;
pub mod config;
pub mod model;
pub mod protocol;
pub mod rows;
pub mod server;
