//! Instructions for each lookup and update, counted by valgrind's callgrind, which is never in a hurry and never
//! disturbed. It does not know AVX-512, so those variants have no count.
//!
//! The benchmark runs itself once more under callgrind (`--count`). That run prints a line for each part that it counts and
//! callgrind writes a file for each, in the same order.

use crate::cases::{self, Case};
use crate::data::{self, Family};
use crate::report::Report;
use crate::{Options, ours, updates};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const LOOKUPS: usize = 1 << 14;
const UPDATES: usize = 1 << 14;
const UPDATE: &str = "update";

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

/// What runs under callgrind.
pub fn count(options: &Options) {
    for bits in [32, 128] {
        let family = data::load(bits, true);
        let patterns = cases::patterns(&family, LOOKUPS);
        for Case { implementation, mode, mut run, .. } in cases::all(&family, options) {
            for (pattern, addresses) in &patterns {
                counted(&implementation, mode, family.name, pattern, || {
                    std::hint::black_box(run(addresses));
                });
            }
        }
        count_updates(&family);
    }
}

fn count_updates(family: &Family) {
    let (mut fib, _) = ours::build(family);
    let changes = ours::changes(&family.updates[..UPDATES], family.bits);
    counted("station", UPDATE, family.name, "", || {
        changes.iter().for_each(|change| updates::apply(&mut fib, change));
    });
}

fn dir(options: &Options) -> PathBuf {
    options.out.join("callgrind")
}

/// Starts `count` under callgrind, on another core: it is to be done when rte_lpm is built, before anything is timed.
pub fn start(options: &Options) -> Result<Option<Child>, String> {
    let dir = dir(options);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).map_err(|error| error.to_string())?;
    let exe = std::env::current_exe().map_err(|error| error.to_string())?;
    let child = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet", "--toggle-collect=fib_bench_counted"])
        .arg("--dump-after=fib_bench_counted")
        .arg(format!("--callgrind-out-file={}", dir.join("part").display()))
        .arg(exe)
        .arg("--count")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    Ok(child.map_err(|error| println!("instructions: valgrind: {error}")).ok())
}

/// Puts what callgrind counted into the report.
pub fn finish(child: Child, options: &Options, report: &mut Report) -> Result<(), String> {
    let dir = dir(options);
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let parts = text.lines().filter_map(|line| line.strip_prefix("count\t"));
    for (number, part) in (1..).zip(parts) {
        let Some(total) = total(&dir.join(format!("part.{number}"))) else {
            return Err(format!("valgrind has not counted {part:?}"));
        };
        let fields: Vec<&str> = part.split('\t').collect();
        let [name, mode, family, pattern] = fields[..] else { continue };
        if mode == UPDATE {
            let each = total / UPDATES as f64;
            println!("  IP{family}: {each:.0} instructions an update");
            report.update_instructions.push((family.to_owned(), each));
        } else if name != "station" || mode == "single" {
            // Which variant is chosen there is not what is chosen here.
            report.set_instructions(name, mode, family, pattern, total / LOOKUPS as f64);
        }
    }
    Ok(())
}

/// The sum in one of callgrind's files.
fn total(path: &Path) -> Option<f64> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("summary: "))?;
    line.trim().parse().ok()
}
