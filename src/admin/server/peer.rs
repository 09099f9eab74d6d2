//! Who is at the other end of a connection, and what it may: root and the daemon's own user all, others by the groups
//! that they are in ([`Groups`]). The file's mode keeps out who may do nothing; this holds where someone loosened it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::net::sockopt::socket_peercred;
use rustix::process::{Pid, geteuid};

use super::Groups;
use super::audit::Audit;
use crate::admin::protocol::{ErrorKind, Refusal, Right};

/// A peer that may ask.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    /// Its user, when it connected (SO_PEERCRED).
    pub(super) uid: u32,
    /// Its process.
    pub(super) pid: i32,
    /// It may change something, too.
    changes: bool,
    /// It may have traffic mirrored.
    mirrors: bool,
}

impl Peer {
    /// Whether it has a right. Who is let in may ask.
    pub(super) fn may(&self, right: Right) -> bool {
        match right {
            Right::Ask => true,
            Right::Change => self.changes,
            Right::Mirror => self.mirrors,
            Right::Own => is_own_user(self.uid),
        }
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
pub(super) fn check(
    stream: &UnixStream,
    socket: &Path,
    groups: &Groups,
    audit: &Audit,
) -> Result<Peer, Refusal> {
    let denied = |message: String| Refusal::new(ErrorKind::Denied, message);
    let peer = socket_peercred(stream)
        .map_err(|error| denied(format!("the peer's credentials are unknown: {error}")))?;
    let (uid, pid) = (peer.uid.as_raw(), peer.pid.as_raw_pid());
    let own = is_own_user(uid);
    let of_peer = if own { Vec::new() } else { groups_of(peer.pid, uid, peer.gid.as_raw()) };
    let is_in = |group: Option<u32>| group.is_some_and(|group| of_peer.contains(&group));
    let file = fs::metadata(socket).ok().map(|file| file.gid());
    let mirrors = own || is_in(groups.mirror);
    let may_ask = mirrors || is_in(file) || is_in(groups.read) || is_in(groups.admin);
    let changes = own || if groups.admin.is_some() { is_in(groups.admin) } else { is_in(file) };
    let peer = Peer { uid, pid, changes, mirrors };
    if may_ask {
        Ok(peer)
    } else {
        tracing::warn!(uid, pid, "admin connection denied");
        audit.denied(None, peer);
        Err(denied(format!("user {uid} is not in the group of {}", socket.display())))
    }
}

/// The process's groups: `gid`, and the supplementary ones. Its user has to be the same as when it connected, so that
/// a process which got the same number later does not stand in for it.
fn groups_of(pid: Pid, uid: u32, gid: u32) -> Vec<u32> {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_pid()));
    let mut groups = supplementary(&status.unwrap_or_default(), uid);
    groups.push(gid);
    groups
}

fn supplementary(status: &str, uid: u32) -> Vec<u32> {
    let numbers = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
        line.split_whitespace().filter_map(|number| number.parse::<u32>().ok())
    };
    // "Uid:" lists the real, effective, saved and file system user (proc_pid_status(5)).
    let same = numbers("Uid:").nth(1) == Some(uid);
    if same { numbers("Groups:").collect() } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_count_for_the_same_user_only() {
        let status = "Name:\tx\nUid:\t7\t1000\t7\t7\nGid:\t5\t5\t5\t5\nGroups:\t4 24 5000 \n";
        assert_eq!(supplementary(status, 1000), [4, 24, 5000]);
        assert!(supplementary(status, 7).is_empty());
        assert!(supplementary("", 0).is_empty());
    }
}
