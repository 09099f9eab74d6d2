//! What the station may do: no more than it has a use for. Capabilities are properties of threads that new
//! threads and processes inherit, so they are given away before any other thread is started.

use std::io;

use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, remove_capability_from_bounding_set,
    set_capabilities, set_no_new_privs,
};
use tracing::info;

/// What BIRD and the thread that looks after it may do. As root it becomes its own user, for whom its files
/// are; of the rest it keeps those of the network. SYS_PTRACE tells in which network namespace a BIRD is that
/// an earlier station left.
pub(super) const BIRD: CapabilitySet = CapabilitySet::NET_ADMIN
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::NET_BROADCAST)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::CHOWN)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::SYS_PTRACE)
    .union(CapabilitySet::KILL);

/// What the station keeps: README.md says what for.
const KEPT: CapabilitySet = BIRD
    .union(CapabilitySet::BPF)
    .union(CapabilitySet::PERFMON)
    .union(CapabilitySet::IPC_LOCK)
    .union(CapabilitySet::SYS_NICE)
    .union(CapabilitySet::SYS_ADMIN)
    .union(CapabilitySet::SYS_CHROOT);

/// Gives away for good, also for what is started later, every capability that is not [`KEPT`], and the way
/// to new ones by programs that have them.
///
/// # Errors
/// The kernel's.
pub(super) fn drop_all_but_kept() -> io::Result<()> {
    set_no_new_privs(true)?;
    let has = capabilities(None)?;
    if has.effective.contains(CapabilitySet::SETPCAP) {
        for capability in CapabilitySet::all().difference(KEPT).iter() {
            // Unknown to an older kernel: then nobody can have it.
            let _ = remove_capability_from_bounding_set(capability);
        }
    }
    keep(KEPT)?;
    info!(kept = ?(has.permitted & KEPT), "capabilities");
    Ok(())
}

/// Leaves this thread, and all that it starts from now on, no more than `kept`.
///
/// # Errors
/// The kernel's.
pub(super) fn keep(kept: CapabilitySet) -> io::Result<()> {
    let has = capabilities(None)?;
    let left = CapabilitySets {
        effective: has.effective & kept,
        permitted: has.permitted & kept,
        inheritable: has.inheritable & kept,
    };
    Ok(set_capabilities(None, left)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_gives_away_what_it_does_not_keep_and_the_others_stay_as_they_are() {
        let before = capabilities(None).unwrap();
        let work = || {
            keep(CapabilitySet::NET_RAW).unwrap();
            capabilities(None).unwrap()
        };
        let within = std::thread::spawn(work).join().unwrap();
        assert_eq!(within.permitted, before.permitted & CapabilitySet::NET_RAW);
        assert_eq!(within.effective, before.effective & CapabilitySet::NET_RAW);
        assert_eq!(capabilities(None).unwrap(), before);
    }
}
