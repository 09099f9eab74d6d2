//! Whether this process may do what AF_XDP needs, checked before anything is attached, so that the
//! operator reads which capability is missing and not which system call failed.

use std::io;

/// Names and bits of linux/capability.h, and what each is for.
const NEEDED: [(&str, u32, &str); 4] = [
    ("CAP_NET_ADMIN", 12, "to attach XDP and set the NIC up"),
    ("CAP_NET_RAW", 13, "to open AF_XDP sockets"),
    ("CAP_BPF", 39, "to load the XDP program"),
    ("CAP_SYS_ADMIN", CAP_SYS_ADMIN, "to enter the network namespace of TAPs and BIRD"),
];
const CAP_IPC_LOCK: u32 = 14;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_BPF: u32 = 39;

/// What is missing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrivilegeError {
    /// Capabilities.
    #[error(
        "missing {}: start the station as root, or give its unit AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW CAP_BPF CAP_SYS_ADMIN CAP_IPC_LOCK", .0.join(", ")
    )]
    Capabilities(Vec<String>),
    /// Memory that may be locked.
    #[error(
        "the workers' memory of {needed} octets may not be locked: RLIMIT_MEMLOCK is {limit}; give the station CAP_IPC_LOCK, or set LimitMEMLOCK=infinity in its unit"
    )]
    LockedMemory {
        /// Octets of all workers' areas.
        needed: u64,
        /// Octets that may be locked.
        limit: u64,
    },
    /// Nothing can be said.
    #[error("cannot read this process's privileges from /proc/self: {0}; is /proc mounted?")]
    Unknown(#[from] io::Error),
}

/// Checks the capabilities of this process, and that it may lock `memory` octets: the areas of all
/// workers, once for each port that they are registered with.
///
/// # Errors
/// [`PrivilegeError`] says what is missing and how to give it.
pub fn check_privileges(memory: u64) -> Result<(), PrivilegeError> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let limits = std::fs::read_to_string("/proc/self/limits")?;
    check(&status, &limits, memory)
}

fn check(status: &str, limits: &str, memory: u64) -> Result<(), PrivilegeError> {
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no CapEff in status"))?;
    let has = |bit: u32| effective & (1 << bit) != 0;
    let missing: Vec<String> = NEEDED
        .iter()
        // Before CAP_BPF was split off, and still, CAP_SYS_ADMIN implies it.
        .filter(|(_, bit, _)| !(has(*bit) || *bit == CAP_BPF && has(CAP_SYS_ADMIN)))
        .map(|(name, _, purpose)| format!("{name} ({purpose})"))
        .collect();
    if !missing.is_empty() {
        return Err(PrivilegeError::Capabilities(missing));
    }
    let limit = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max locked memory"))
        .and_then(|line| line.split_whitespace().next())
        .and_then(|soft| soft.parse().ok())
        .unwrap_or(u64::MAX); // "unlimited"
    if !has(CAP_IPC_LOCK) && limit < memory {
        return Err(PrivilegeError::LockedMemory { needed: memory, limit });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: &str =
        "Max locked memory         8388608              8388608              bytes\n";

    fn status(bits: &[u32]) -> String {
        let mask = bits.iter().fold(0u64, |mask, bit| mask | 1 << bit);
        format!("Name:\tx\nCapPrm:\t{mask:016x}\nCapEff:\t{mask:016x}\n")
    }

    #[test]
    fn names_what_is_missing_and_only_that() {
        let error = check(&status(&[12, 14]), LIMITS, 0).unwrap_err().to_string();
        for name in ["CAP_NET_RAW (", "CAP_BPF (", "CAP_SYS_ADMIN ("] {
            assert!(error.contains(name), "{error}");
        }
        assert!(!error.contains("CAP_NET_ADMIN ("), "{error}");
        assert!(check(&status(&[12, 13, 21, 39]), LIMITS, 0).is_ok());
        assert!(check(&status(&[12, 13, 21]), LIMITS, 0).is_ok(), "CAP_SYS_ADMIN implies CAP_BPF");
        assert!(check("Name:\tx\n", LIMITS, 0).is_err());
    }

    #[test]
    fn locked_memory_counts_only_without_cap_ipc_lock() {
        let without = status(&[12, 13, 21, 39]);
        assert!(check(&without, LIMITS, 8_388_608).is_ok());
        assert!(matches!(
            check(&without, LIMITS, 8_388_609),
            Err(PrivilegeError::LockedMemory { needed: 8_388_609, limit: 8_388_608 })
        ));
        assert!(check(&status(&[12, 13, 14, 21, 39]), LIMITS, u64::MAX).is_ok());
        let unlimited = LIMITS.replace("8388608", "unlimited");
        assert!(check(&without, &unlimited, u64::MAX - 1).is_ok());
    }
}
