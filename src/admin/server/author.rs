//! Who asks for a change, as far as the kernel says: the user, the user who logged in, and the user who called
//! sudo.

use std::fs::{self, File};
use std::io::Read;

use super::peer::Peer;
use crate::history::Author;

/// How far up the parents of a process are followed.
const GENERATIONS: usize = 32;
/// How much of an environment is read.
const ENVIRONMENT: u64 = 1 << 20;
/// What the kernel has for a process of a session in which nobody logged in (credentials(7)).
const NOBODY: u32 = u32::MAX;

/// The user and the process alone.
pub(super) const fn bare(peer: Peer) -> Author {
    Author { uid: peer.uid, pid: peer.pid, login_uid: None, sudo_uid: None, sudo_user: None }
}

/// All that can be told.
pub(super) fn of(peer: Peer) -> Author {
    let author = bare(peer);
    // A process that got the same number later does not stand in for it.
    let Some(process) = process(peer.pid).filter(|process| process.effective == peer.uid) else {
        return author;
    };
    let sudo = if peer.uid == 0 { sudo(peer.pid, process) } else { None };
    let (sudo_uid, sudo_user) = sudo.unzip();
    Author { login_uid: login_uid(peer.pid), sudo_uid, sudo_user: sudo_user.flatten(), ..author }
}

fn login_uid(pid: i32) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/loginuid")).ok()?;
    text.trim().parse().ok().filter(|&uid| uid != NOBODY)
}

/// The user who called sudo, and the name that sudo gives it. The environment of a process of root's is what
/// root wrote; so it counts only where the nearest process above that is not root's is that user's.
fn sudo(pid: i32, process: Process) -> Option<(u32, Option<String>)> {
    let mut environment = Vec::new();
    let file = File::open(format!("/proc/{pid}/environ")).ok()?;
    file.take(ENVIRONMENT).read_to_end(&mut environment).ok()?;
    let (uid, name) = claimed(&environment)?;
    (caller(process) == Some(uid)).then_some((uid, name))
}

/// The user of the nearest process above that is not root's.
fn caller(mut below: Process) -> Option<u32> {
    for _ in 0..GENERATIONS {
        let above = process(below.parent)?;
        if above.real != 0 {
            return Some(above.real);
        }
        below = above;
    }
    None
}

/// What sudo(8) says in an environment.
fn claimed(environment: &[u8]) -> Option<(u32, Option<String>)> {
    let text = |key: &str| {
        let mut entries = environment.split(|&octet| octet == 0);
        str::from_utf8(entries.find_map(|entry| entry.strip_prefix(key.as_bytes()))?).ok()
    };
    let plain = |name: &&str| {
        let fine = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '@' | '\\');
        !name.is_empty() && name.len() <= 64 && name.chars().all(fine)
    };
    let uid = text("SUDO_UID=")?.parse().ok()?;
    Some((uid, text("SUDO_USER=").filter(plain).map(str::to_owned)))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Process {
    parent: i32,
    real: u32,
    effective: u32,
}

fn process(pid: i32) -> Option<Process> {
    parse_status(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

/// Reads proc_pid_status(5).
fn parse_status(status: &str) -> Option<Process> {
    let line = |key: &str| status.lines().find_map(|line| line.strip_prefix(key));
    let mut users = line("Uid:")?.split_whitespace().map(str::parse);
    Some(Process {
        parent: line("PPid:")?.trim().parse().ok()?,
        real: users.next()?.ok()?,
        effective: users.next()?.ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read() {
        let status = "Name:\tx\nPPid:\t41\nUid:\t7\t1000\t7\t7\n";
        assert_eq!(parse_status(status), Some(Process { parent: 41, real: 7, effective: 1000 }));
        assert_eq!(parse_status("Name:\tx\n"), None);
        let own = process(std::process::id().cast_signed()).unwrap();
        assert_eq!(own.effective, rustix::process::geteuid().as_raw());
    }

    #[test]
    fn what_sudo_claims_is_a_number_and_a_plain_name() {
        let claim = |text: &str| claimed(text.as_bytes());
        assert_eq!(claim("A=1\0SUDO_UID=1000\0SUDO_USER=ada\0"), Some((1000, Some("ada".into()))));
        assert_eq!(claim("SUDO_UID=1000\0SUDO_USER=a\nb\0"), Some((1000, None)));
        assert_eq!(claim("SUDO_USER=ada\0"), None);
        assert_eq!(claim("XSUDO_UID=1\0SUDO_UID=x\0"), None);
    }

    /// Nobody's claim counts without the kernel's word: no process above has that user.
    #[test]
    fn a_claim_alone_is_nothing() {
        let own = std::process::id().cast_signed();
        let process = Process { parent: own, real: 0, effective: 0 };
        let above = caller(process);
        assert_ne!(above, Some(4_294_967_294));
        assert_eq!(sudo(own, Process { parent: 0, ..process }), None);
    }
}
