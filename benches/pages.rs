//! Pages of memory: which size both sides of a comparison shall have, and what a process really has.

use std::fmt::{Display, Formatter};

/// Whether `benches/pages.sh` has reserved huge pages, so that DPDK can have them. Else nobody shall have any.
pub fn are_huge() -> bool {
    std::env::var("BENCH_PAGES").is_ok_and(|pages| pages == "2m")
}

/// MiB of a process's memory, by kind of page.
#[derive(Clone, Copy, Debug)]
pub struct Pages {
    /// All of it.
    pub all: f64,
    /// Transparent huge pages: `AnonHugePages` and `ShmemPmdMapped`.
    pub transparent: f64,
    /// Reserved huge pages: `Private_Hugetlb` and `Shared_Hugetlb`.
    pub reserved: f64,
}

impl Pages {
    /// Those of a process now, as the kernel sums its mappings up (proc_pid_smaps(5)); `None` where it does not tell.
    pub fn of(pid: u32) -> Option<Pages> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let sum = |keys: &[&str]| {
            let is_one = |line: &&str| keys.iter().any(|key| line.starts_with(key));
            let kib = |line: &str| line.split_whitespace().nth(1)?.parse::<f64>().ok();
            text.lines().filter(is_one).filter_map(kib).sum::<f64>() / 1024.0
        };
        let reserved = sum(&["Private_Hugetlb:", "Shared_Hugetlb:"]);
        Some(Pages {
            // The resident set leaves reserved pages out.
            all: sum(&["Rss:"]) + reserved,
            transparent: sum(&["AnonHugePages:", "ShmemPmdMapped:"]),
            reserved,
        })
    }
}

impl std::ops::Sub for Pages {
    type Output = Pages;

    fn sub(self, before: Pages) -> Pages {
        Pages {
            all: self.all - before.all,
            transparent: self.transparent - before.transparent,
            reserved: self.reserved - before.reserved,
        }
    }
}

impl Display for Pages {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let Pages { all, transparent, reserved } = self;
        let small = all - transparent - reserved;
        write!(
            f,
            "{all:.0} MiB: {reserved:.0} on reserved huge pages, {transparent:.0} on transparent ones, {small:.0} on small ones"
        )
    }
}
