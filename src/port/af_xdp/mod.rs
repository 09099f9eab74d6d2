//! Ports on real NICs through AF_XDP.
//!
//! - [`check_privileges`] and [`Nic::prepare`]: what must hold before a start, switched on or refused
//!   with what to do about it;
//! - [`XdpProgram`]: sends each queue's frames to its socket, and keeps the port closed while there is
//!   none;
//! - [`audit()`]: puts right what another hand undid of it;
//! - [`XskPort`]: one queue of a NIC as a [`Port`](super::Port), on rings of our own over `libc`.

mod attachment;
mod audit;
mod backoff;
mod bpf;
mod bpffs;
mod error;
mod ethtool;
mod hardware;
mod held;
mod nic;
mod port;
mod privilege;
mod program;
mod queues;
mod ring;
mod socket;

pub use attachment::{AttachMode, Attached, detach};
pub use audit::{Audit, AuditError, audit};
pub use bpffs::{BpffsError, Claim, claim};
pub use error::{XdpError, XskError};
pub use hardware::{Driver, Hardware};
pub use nic::{Nic, NicError, fits, frames_for_mtu, link_of};
pub use port::{SocketOptions, XskPort, ZeroCopy, frames_for_ring};
pub use privilege::{PrivilegeError, check_privileges};
pub use program::{PROGRAM, ToKernel, XdpCounters, XdpProgram};
pub use queues::queue_count;
pub use socket::XskStatistics;
