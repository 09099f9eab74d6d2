//! What clients of the admin socket see: requests, rows, and the server and the client that pass them. It
//! knows the configuration and the tables, not the engine.

pub mod answer;
pub mod client;
pub mod protocol;
pub mod rows;
pub mod server;
