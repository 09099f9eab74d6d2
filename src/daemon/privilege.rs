//! What the station may do: no more than it has a use for. Capabilities and filters of system calls are properties
//! of threads that new threads and processes inherit, so they are settled before any other thread is started.
//!
//! Landlock is no part of it: a process that it holds may change no mount (landlock(7)), but the name of the network
//! namespace is one, and so is the BPF file system that has to come back when another hand takes it away.

use std::collections::BTreeMap;
use std::io;

use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, remove_capability_from_bounding_set,
    set_capabilities, set_no_new_privs,
};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};
use tracing::{info, warn};

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

/// What the threads of events may do: the hook's becomes another user, and kills what takes too long.
pub(super) const EVENTS: CapabilitySet =
    CapabilitySet::SETUID.union(CapabilitySet::SETGID).union(CapabilitySet::KILL);

/// What the station keeps: scripts/man/station-operations.7 says what for.
const KEPT: CapabilitySet = BIRD
    .union(CapabilitySet::BPF)
    .union(CapabilitySet::PERFMON)
    .union(CapabilitySet::IPC_LOCK)
    .union(CapabilitySet::SYS_NICE)
    .union(CapabilitySet::SYS_ADMIN)
    .union(CapabilitySet::SYS_CHROOT);

/// System calls that neither the station nor BIRD has a use for, and that one which was taken over would have: other
/// processes' memory and descriptors, the kernel and its modules, its keys, clocks and log, swap and accounting, ways
/// around file names, file systems by the newer calls, and whole subsystems with a long history of faults.
const REFUSED: &[libc::c_long] = &[
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_syslog,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init,
    libc::SYS_pivot_root,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
];

/// Gives away for good, also for what is started later, every capability that is not [`KEPT`], the way to new ones by
/// programs that have them, and the system calls of [`REFUSED`].
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
    match refuse_calls() {
        Ok(()) => info!(refused = REFUSED.len(), "system calls"),
        // A kernel or a container without filters: the rest holds all the same.
        Err(error) => warn!(%error, "no system calls are refused"),
    }
    Ok(())
}

/// Has the kernel refuse the calls of [`REFUSED`] to this thread, and to all that it starts from now on.
fn refuse_calls() -> Result<(), seccompiler::Error> {
    let rules: BTreeMap<_, _> = REFUSED.iter().map(|&call| (call, Vec::new())).collect();
    let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let processor = std::env::consts::ARCH.try_into()?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, processor)?;
    apply_filter(&BpfProgram::try_from(filter)?)
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
    fn refused_calls_fail_on_the_thread_that_gave_them_away_and_on_those_that_it_starts() {
        use rustix::io::Errno;
        use rustix::mount::{FsOpenFlags, fsopen};
        let status = move || std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let filtered = move || status().contains("\nSeccomp:\t2\n");
        let refused = move || fsopen("tmpfs", FsOpenFlags::empty()).err() == Some(Errno::PERM);
        let work = move || {
            refuse_calls().unwrap();
            let started = std::thread::spawn(move || filtered() && refused()).join().unwrap();
            started && filtered() && refused()
        };
        assert!(std::thread::spawn(work).join().unwrap());
    }

    /// The unit of the package gives what is kept, no more and no less.
    #[test]
    fn the_unit_has_the_capabilities_that_are_kept() {
        let unit = include_str!("../../scripts/package/station.stationd.service");
        let lines = unit.lines().filter_map(|line| line.strip_prefix("CapabilityBoundingSet="));
        let words = lines.flat_map(str::split_whitespace);
        let set: CapabilitySet = words
            .map(|word| CapabilitySet::from_name(word.strip_prefix("CAP_").unwrap()).unwrap())
            .collect();
        assert_eq!(set, KEPT, "{:?}", set.symmetric_difference(KEPT));
    }

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
