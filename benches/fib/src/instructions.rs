//! Instructions and cache misses for each lookup, and instructions for each update, counted by valgrind's callgrind, which is
//! never in a hurry and never disturbed. It does not know AVX-512, so those variants have no instruction count; they load
//! what the others load.
//!
//! The benchmark runs itself once more under callgrind (`--count`). That run prints a line for each part that it counts and
//! callgrind writes a file for each, in the same order.

use crate::cases::{self, Case};
use crate::data::{self, Family};
use crate::fib::Fib;
use crate::report::{ChangeCounts, Counts, Report};
use crate::{Options, ours, updates};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Lookups that fill the simulated caches, and those that count.
const WARM: usize = 1 << 16;
const LOOKUPS: usize = 1 << 15;
const UPDATES: usize = 1 << 14;
const UPDATE: &str = "update";

/// The caches of a core that the aims are measured on.
const CACHES: [&str; 3] = ["--I1=32768,8,64", "--D1=32768,8,64", "--LL=524288,8,64"];

/// What the counts in the report are.
pub const ABOUT: &str = "\nInstructions are those of a lookup inside prefixes; misses are the loads of a lookup (random, inside, zipf) that \
    find nothing in a second-level cache of 512 KiB. Both are callgrind's, the misses simulated, for one core that does nothing else and \
    sees no prefetch; the addresses themselves are 0.06 misses (IPv6: 0.25). Callgrind knows no AVX-512: the instructions are those of \
    the AVX2 and scalar code, and the misses of the AVX-512 code are those of the scalar code on the same table. rte_lpm is not counted: its table \
    takes minutes to build at full speed.\n";

/// Callgrind counts from where this is entered to where it is left.
#[inline(never)]
#[unsafe(no_mangle)]
fn fib_bench_counted(part: &mut dyn FnMut()) {
    part();
    std::hint::black_box(());
}

fn counted(name: &str, mode: &str, family: &str, pattern: &str, mut part: impl FnMut()) {
    println!("count\t{name}\t{mode}\t{family}\t{pattern}");
    fib_bench_counted(&mut part);
}

/// Tells callgrind to watch from now on: before, tables are built several times faster. Once only, for it forgets its sums.
fn watch() {
    #[cfg(target_arch = "x86_64")]
    {
        // CALLGRIND_START_INSTRUMENTATION.
        let request: [u64; 6] = [0x4354_0004, 0, 0, 0, 0, 0];
        // SAFETY: valgrind sees these instructions as a request; to a processor they do nothing.
        unsafe {
            std::arch::asm!(
                "rol rdi, 3", "rol rdi, 13", "rol rdi, 61", "rol rdi, 51", "xchg rbx, rbx",
                in("rax") request.as_ptr(), inout("rdx") 0u64 => _,
            );
        }
    }
}

/// What runs under callgrind.
pub fn count(options: &Options) {
    let tables = [32, 128].map(|bits| {
        let family = data::load(bits, true);
        let (cases, _) = cases::all(&family, options);
        let (fib, _) = ours::build(&family);
        (family, cases, fib)
    });
    watch();
    for (family, cases, fib) in tables {
        let warming = cases::patterns(&family, 0..WARM);
        let patterns = cases::patterns(&family, WARM..WARM + LOOKUPS);
        for Case { implementation, mode, mut run, .. } in cases {
            for ((_, warming), (pattern, addresses)) in warming.iter().zip(&patterns) {
                run(warming);
                counted(&implementation, mode, family.name, pattern, || {
                    std::hint::black_box(run(addresses));
                });
            }
        }
        count_updates(&family, fib);
    }
}

fn count_updates(family: &Family, mut fib: Fib) {
    let changes = ours::changes(&family.updates[..UPDATES], family.bits);
    counted("station", UPDATE, family.name, "", || {
        changes.iter().for_each(|change| updates::apply(&mut fib, change));
    });
    #[cfg(dpdk)]
    crate::dpdk::update(family.bits, &family.updates[..UPDATES], |name, update| {
        counted(name, UPDATE, family.name, "", update);
    });
}

fn dir(options: &Options) -> PathBuf {
    options.out.join("callgrind")
}

/// Starts `count` under callgrind, on another core: it is to be done when rte_lpm is built, before anything is timed.
pub fn start(options: &Options) -> Result<Child, String> {
    let dir = dir(options);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).map_err(|error| error.to_string())?;
    let exe = std::env::current_exe().map_err(|error| error.to_string())?;
    let errors = std::fs::File::create(dir.join("stderr")).map_err(|error| error.to_string())?;
    Command::new("valgrind")
        .args(["--tool=callgrind", "--instr-atstart=no", "--cache-sim=yes"])
        .args(CACHES)
        .args(["--toggle-collect=fib_bench_counted", "--dump-after=fib_bench_counted"])
        .arg(format!("--callgrind-out-file={}", dir.join("part").display()))
        .arg(exe)
        .arg("--count")
        // What is counted does not depend on pages, and huge ones are for what is timed.
        .env("BENCH_PAGES", "4k")
        .stdout(Stdio::piped())
        .stderr(errors)
        .spawn()
        .map_err(|error| format!("valgrind: {error}"))
}

/// Puts what callgrind counted into the report.
pub fn finish(child: Child, options: &Options, report: &mut Report) -> Result<(), String> {
    let dir = dir(options);
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let parts = text.lines().filter_map(|line| line.strip_prefix("count\t"));
    for (number, part) in (1..).zip(parts) {
        let Some([instructions, l1_misses, l2_misses]) =
            totals(&dir.join(format!("part.{number}")))
        else {
            return Err(format!("valgrind has not counted {part:?}"));
        };
        let fields: Vec<&str> = part.split('\t').collect();
        let [name, mode, family, pattern] = fields[..] else { continue };
        if mode == UPDATE {
            let each = instructions / UPDATES as f64;
            let misses = [l1_misses, l2_misses].map(|misses| misses / UPDATES as f64);
            println!("  IP{family}, {name}: {each:.0} instructions a change, misses {misses:.1?}");
            report.change_counts.push(ChangeCounts {
                family: family.to_owned(),
                implementation: name.to_owned(),
                instructions: each,
                misses,
            });
        } else {
            // Of these, other code is chosen there than here; all code for a table loads the same.
            let chosen = name.ends_with("avx512")
                || mode == "burst" && matches!(name, "station" | "station-compact");
            let each = LOOKUPS as f64;
            let counts = Counts {
                instructions: (!chosen).then_some(instructions / each),
                l1_misses: l1_misses / each,
                l2_misses: l2_misses / each,
            };
            report.set_counts(name, mode, family, pattern, counts);
        }
    }
    if !output.status.success() {
        let log = dir.join("stderr");
        return Err(format!("valgrind: {}; see {}", output.status, log.display()));
    }
    Ok(())
}

/// Instructions and loads that missed the first and the last level, from one of callgrind's files.
fn totals(path: &Path) -> Option<[f64; 3]> {
    let text = std::fs::read_to_string(path).ok()?;
    let words = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        Some(line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    };
    let (events, sums) = (words("events: ")?, words("summary: ")?);
    let of = |event: &str| {
        let at = events.iter().position(|known| known == event)?;
        sums.get(at)?.parse().ok()
    };
    Some([of("Ir")?, of("D1mr")?, of("DLmr")?])
}
