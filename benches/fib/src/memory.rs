//! How much memory the Rust tables take, and where this runs.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

struct Counting;

static USED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does all the work; this only counts.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        USED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: passed on as it came.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        USED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: passed on as it came.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new: usize) -> *mut u8 {
        USED.fetch_add(new, Ordering::Relaxed);
        USED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: passed on as it came.
        unsafe { System.realloc(ptr, layout, new) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Octets allocated now.
pub fn used() -> usize {
    USED.load(Ordering::Relaxed)
}

/// Keeps the calling thread on one core, the last that it may use.
pub fn pin() {
    pin_to(std::thread::available_parallelism().map_or(0, |n| n.get() - 1));
}

/// The core that this runs on.
#[cfg_attr(not(dpdk), allow(dead_code))]
pub fn core() -> usize {
    // SAFETY: it only asks.
    usize::try_from(unsafe { libc::sched_getcpu() }).unwrap_or(0)
}

pub fn pin_to(core: usize) {
    // SAFETY: a zeroed set is a set; the kernel copies it.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set);
    }
}

/// Keeps transparent huge pages from this process.
pub fn without_huge_pages() -> Result<(), String> {
    // SAFETY: it sets a flag of the process.
    match unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) } {
        0 => Ok(()),
        _ => Err(format!("cannot do without huge pages: {}", std::io::Error::last_os_error())),
    }
}

/// Processor seconds of this thread: others' work on a shared machine is not in it, but for the caches.
pub fn cpu_seconds() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel fills in what it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Processor seconds since it was made.
pub struct Stopwatch(f64);

impl Stopwatch {
    pub fn start() -> Stopwatch {
        Stopwatch(cpu_seconds())
    }

    pub fn seconds(&self) -> f64 {
        cpu_seconds() - self.0
    }
}
