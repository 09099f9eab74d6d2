//! Instructions, counted by callgrind around the turns alone. Outside of valgrind the requests do nothing.

use std::ffi::CStr;

const BASE: usize = (b'C' as usize) << 24 | (b'T' as usize) << 16;
const TOGGLE_COLLECT: usize = BASE + 2;
const DUMP_STATS_AT: usize = BASE + 3;
const START_INSTRUMENTATION: usize = BASE + 4;
const STOP_INSTRUMENTATION: usize = BASE + 5;

/// Asks the valgrind that runs this process (valgrind.h, "client requests").
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn request(code: usize, argument: usize) {
    let request = [code, argument, 0, 0, 0, 0];
    // SAFETY: the rotations are by 128 bits in all and the exchange is of a register with itself, so a
    // processor does nothing; valgrind knows the sequence, and reads the request that rax points at.
    unsafe {
        std::arch::asm!(
            "rol rdi, 3", "rol rdi, 13", "rol rdi, 61", "rol rdi, 51", "xchg rbx, rbx",
            in("rax") &raw const request, inout("rdx") 0usize => _, inout("rdi") 0usize => _,
        );
    }
}

/// The sequence is another one on each processor: nothing is counted on those that nobody has tried.
#[cfg(not(target_arch = "x86_64"))]
fn request(_: usize, _: usize) {}

/// Counts the instructions of `run`, and has valgrind write them down under a name.
pub fn count(name: &CStr, run: impl FnOnce()) {
    request(START_INSTRUMENTATION, 0);
    request(TOGGLE_COLLECT, 0);
    run();
    request(TOGGLE_COLLECT, 0);
    request(DUMP_STATS_AT, name.as_ptr() as usize);
    request(STOP_INSTRUMENTATION, 0);
}
