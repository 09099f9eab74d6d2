//! Who is at the other end of a connection: root, the daemon's own user, or a member of the group
//! that the socket file belongs to. The file's mode says the same; this holds where someone loosened
//! it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::net::sockopt::socket_peercred;
use rustix::process::{Pid, geteuid};

use super::audit::Audit;
use crate::admin::protocol::{ErrorKind, Refusal};

/// A peer that may ask.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    /// Its user, when it connected (SO_PEERCRED).
    pub(super) uid: u32,
    /// Its process.
    pub(super) pid: i32,
}

impl Peer {
    /// Whether it is root or the daemon's own user.
    pub(super) fn is_own(&self) -> bool {
        is_own_user(self.uid)
    }
}

/// Whether the peer is root or the daemon's own user.
pub(super) fn is_own(stream: &UnixStream) -> bool {
    socket_peercred(stream).is_ok_and(|peer| is_own_user(peer.uid.as_raw()))
}

fn is_own_user(uid: u32) -> bool {
    uid == 0 || uid == geteuid().as_raw()
}

/// Lets a peer in or says why not.
pub(super) fn check(stream: &UnixStream, socket: &Path, audit: &Audit) -> Result<Peer, Refusal> {
    let denied = |message: String| Refusal::new(ErrorKind::Denied, message);
    let peer = socket_peercred(stream)
        .map_err(|error| denied(format!("the peer's credentials are unknown: {error}")))?;
    let uid = peer.uid.as_raw();
    let allowed = is_own_user(uid)
        || fs::metadata(socket).is_ok_and(|file| {
            peer.gid.as_raw() == file.gid() || in_group(peer.pid, uid, file.gid())
        });
    let peer = Peer { uid, pid: peer.pid.as_raw_pid() };
    if allowed {
        Ok(peer)
    } else {
        tracing::warn!(uid, pid = peer.pid, "admin connection denied");
        audit.denied(None, peer);
        Err(denied(format!("user {uid} is not in the group of {}", socket.display())))
    }
}

/// Whether the process has `gid` among its supplementary groups. Its user has to be the same as when
/// it connected, so that a process which got the same number later does not stand in for it.
fn in_group(pid: Pid, uid: u32, gid: u32) -> bool {
    fs::read_to_string(format!("/proc/{}/status", pid.as_raw_pid()))
        .is_ok_and(|status| status_in_group(&status, uid, gid))
}

fn status_in_group(status: &str, uid: u32, gid: u32) -> bool {
    let numbers = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
        line.split_whitespace().filter_map(|number| number.parse::<u32>().ok())
    };
    // "Uid:" lists the real, effective, saved and file system user (proc_pid_status(5)).
    numbers("Uid:").nth(1) == Some(uid) && numbers("Groups:").any(|group| group == gid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_count_for_the_same_user_only() {
        let status = "Name:\tx\nUid:\t7\t1000\t7\t7\nGid:\t5\t5\t5\t5\nGroups:\t4 24 5000 \n";
        assert!(status_in_group(status, 1000, 24));
        assert!(!status_in_group(status, 1000, 5));
        assert!(!status_in_group(status, 7, 24));
        assert!(!status_in_group(status, 1000, 500));
        assert!(!status_in_group("", 0, 0));
    }
}
