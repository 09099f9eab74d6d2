//! The station's numbers for monitoring: a page in the text format of OpenMetrics 1.0, and the server that gives it
//! away. What is on it the daemon collects; nothing here touches the packet path.

mod classic;
mod families;
mod mappings;
mod page;
mod port_details;
mod server;

pub use families::{Family, Kind, Per};
pub use page::{Facts, page};
pub use server::{Pages, serve};
