//! The station's numbers for monitoring: a page in the text format of OpenMetrics 1.0, and the server that gives it
//! away. What is on it the daemon collects; nothing here touches the packet path.

mod address_limits;
mod classic;
mod facts;
mod families;
mod flow_log;
mod latency;
mod mappings;
mod mirrors;
mod page;
mod port_details;
mod probes;
mod qos;
mod rpki;
mod server;

pub use facts::Facts;
pub use families::{Family, Kind, Per};
pub use page::page;
pub use server::{Pages, serve};
