//! Flows as IPFIX messages (RFC 7011), to collectors by UDP and TCP and into files (RFC 5655).
//!
//! Templates and names go before what needs them. A VIF's number in records is its name's and never another's, so that a
//! record that comes late is not taken for another customer's. Each collector has a thread of its own: one that hangs
//! holds up nobody, and what it misses is counted, and is a gap in the sequence numbers that it sees.

mod carrier;
mod element;
mod files;
mod message;
mod names;
mod record;
mod sink;
mod status;
mod stream;
#[cfg(test)]
mod tests;
mod udp;

pub use message::{Message, Packer};
pub use names::{Interface, Names};
pub use record::{Format, Seen};
pub use sink::{Common, Counts, Sink, SinkStats, Target, Told};
