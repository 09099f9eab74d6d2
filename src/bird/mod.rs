//! BIRD, the routing daemon that speaks BGP and BFD for the station: its configuration is rendered
//! from the station's, its process is watched over, and what it knows is asked for over its control
//! socket. What it decides reaches the station through the kernel's tables
//! ([`crate::control::kernel`]), and the loss of a peer, sooner, as a [`PeerEvent`].
//!
//! Tenants use the same addresses. What keeps their sessions apart is that each is bound to its VIF's
//! TAP three times: by `vrf` (the sockets are bound to the device), by `interface` with `strict bind`,
//! and by a table of its own that finds the peer there and nowhere else.

mod bfd;
mod bfd_watch;
mod client;
mod complaints;
mod damping;
mod events;
mod follow;
mod handle;
mod kernel_look;
mod next_hops;
mod notices;
mod notification;
mod originate;
mod parse;
mod peers;
mod policy;
mod process;
mod progress;
mod refused;
mod render;
mod rendered;
mod rpki;
mod session;
mod show;
mod supervise;

pub use client::ClientError;
pub use events::PeerEvent;
pub use handle::Bird;
pub use process::{ProcessError, check};
pub use progress::Following;
pub use render::{Surroundings, render};
pub use rendered::Rendered;
pub use rpki::{RETRY as RPKI_RETRY, relay_address as rpki_relay_address};
pub use session::{Cause, Session, Withheld, sessions};
pub use show::Questions;
