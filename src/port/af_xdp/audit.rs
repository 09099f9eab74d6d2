//! The audit of an open port: whether all that was made to hold at its start still holds. Any tool of the
//! system can undo it (`bpftool link detach`, `ethtool -L`, `ethtool -K`), and the kernel would then carry
//! frames from one tenant to another, or tags would be missed.
//!
//! It costs a look at one interface by netlink, a few ioctls and a look at two files, however many
//! interfaces there are. Nothing here waits for packets or for another thread.

use super::nic::{Nic, link_of};
use super::program::XdpProgram;
use super::{NicError, XdpError};

/// What an audit found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// What was wrong and has been put right.
    pub restored: Vec<String>,
    /// What is wrong and does not endanger other ports or tenants: the port stays open.
    pub trouble: Option<String>,
}

/// Why a port must be closed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The XDP program is not attached.
    #[error(transparent)]
    Xdp(#[from] XdpError),
    /// The interface is not as it must be.
    #[error(transparent)]
    Nic(#[from] NicError),
}

/// Audits a port. The program comes first: without it the kernel sees the port's frames. `None` where the
/// interface is gone or another one has its name, which is a link event's to tell.
///
/// # Errors
/// [`AuditError`]: what could not be put right. The port must be closed.
pub fn audit(program: &XdpProgram, nic: &Nic) -> Result<Option<Audit>, AuditError> {
    let state = match link_of(program.interface()) {
        Ok(state) if state.index == program.ifindex() => state,
        Ok(_) | Err(NicError::NoInterface(_)) => return Ok(None),
        Err(error) => return Ok(Some(Audit::blind(&error))),
    };
    let mut restored = program.restore(&state)?;
    let trouble = match nic.restore(&state) {
        Ok(of_nic) => {
            restored.extend(of_nic);
            nic.excess(&state)
        }
        // A question that failed, for want of a file descriptor for example, says nothing of the port.
        Err(error @ NicError::System { .. }) => Audit::blind(&error).trouble,
        Err(error) => return Err(error.into()),
    };
    Ok(Some(Audit { restored, trouble }))
}

impl Audit {
    fn blind(error: &NicError) -> Audit {
        Audit { restored: Vec::new(), trouble: Some(format!("it cannot be audited: {error}")) }
    }
}
