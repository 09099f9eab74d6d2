//! `scripts/bench fib`: the station's longest-prefix match beside its rivals, in one process, taking turns.

mod aims;
mod cases;
mod data;
#[cfg(dpdk)]
mod dpdk;
#[path = "../../../src/fib/mod.rs"]
#[allow(dead_code)]
mod fib;
mod generate;
mod instructions;
mod memory;
mod ours;
#[path = "../../pages.rs"]
mod pages;
mod plot;
mod random;
mod report;
mod rust_rivals;
mod updates;
mod vrfs;

use std::path::PathBuf;

pub struct Options {
    pub json: Option<PathBuf>,
    pub out: PathBuf,
    pub quick: bool,
    /// Only ours, for profiling.
    pub only_ours: bool,
    /// What runs under callgrind.
    count: bool,
}

fn options() -> Result<Options, String> {
    let mut options = Options {
        json: None,
        out: "target/bench-fib".into(),
        quick: false,
        only_ours: false,
        count: false,
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--json" => options.json = Some(args.next().ok_or("--json needs a file")?.into()),
            "--out" => options.out = args.next().ok_or("--out needs a directory")?.into(),
            "--quick" => options.quick = true,
            "--only-ours" => options.only_ours = true,
            "--count" => (options.count, options.quick) = (true, true),
            _ => return Err(format!("unknown option {arg}")),
        }
    }
    Ok(options)
}

fn main() -> Result<(), String> {
    let options = options()?;
    if options.count {
        memory::pin_to(0);
        instructions::count(&options);
        return Ok(());
    }
    memory::pin();
    if !pages::are_huge() && !options.only_ours {
        // Before there is memory to speak of: what DPDK has is a file in memory, which nobody asks to join its pages.
        memory::without_huge_pages()?;
    }
    let counting = if options.quick {
        Err("a quick run counts none".to_owned())
    } else {
        instructions::start(&options)
    };
    let mut report = report::Report::default();
    for bits in [32, 128] {
        let family = data::load(bits, options.quick);
        println!(
            "{}: {} routes, {} updates ({})",
            family.name,
            family.routes.len(),
            family.updates.len(),
            family.source
        );
        cases::run(&family, &options, &mut report);
        updates::run(&family, &options, &mut report);
    }
    vrfs::run(&options, &mut report);
    let counted = counting.and_then(|child| instructions::finish(child, &options, &mut report));
    report.not_counted = counted.err();
    report.finish(&options)
}
