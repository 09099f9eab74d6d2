//! Who gets a CPU when several want it: workers before what failover needs, and that before everything else.

use rustix::process::setpriority_process;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tracing::{info, warn};

/// How urgent a thread is, as a nice value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Urgency {
    /// A worker: every frame waits for it.
    Frames = -20,
    /// The slow path, links, the control thread: neighbors, and the way around what failed, wait for them.
    Failover = -10,
}

/// Makes this thread as urgent as that, where it may be.
pub(super) fn be(urgency: Urgency) {
    // Without CAP_SYS_NICE it is as urgent as all others, as RLIMIT_NICE says.
    let _ = setpriority_process(None, urgency as i32);
}

/// The CPUs that this process may use, in their order.
pub(super) fn allowed() -> Vec<usize> {
    let set = sched_getaffinity(None).unwrap_or_default();
    (0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect()
}

/// Keeps this thread, and all that it starts from now on, BIRD among them, off the workers' CPUs, where there
/// are others.
pub(super) fn leave_to_workers(workers: &[usize]) {
    let mut left = match sched_getaffinity(None) {
        Ok(allowed) => allowed,
        Err(error) => return warn!(%error, "cannot keep threads off the workers' CPUs"),
    };
    workers.iter().for_each(|&cpu| left.unset(cpu));
    if left.count() == 0 {
        return info!("the workers have all CPUs: what else the station does shares them");
    }
    if let Err(error) = sched_setaffinity(None, &left) {
        warn!(%error, "cannot keep threads off the workers' CPUs");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_kept_off_the_workers_cpus_where_there_are_others() {
        let of_thread = std::thread::spawn(|| {
            let (all, cpus) = (sched_getaffinity(None).unwrap(), allowed());
            leave_to_workers(&cpus);
            assert_eq!(sched_getaffinity(None).unwrap(), all, "nothing would be left");
            leave_to_workers(&cpus[1..]);
            let mut first = CpuSet::new();
            first.set(cpus[0]);
            // What it starts inherits that.
            std::thread::spawn(move || assert_eq!(sched_getaffinity(None).unwrap(), first)).join()
        });
        of_thread.join().unwrap().unwrap();
    }
}
