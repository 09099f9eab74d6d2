//! `scripts/bench path`: the packet path in memory, beside DPDK's l3fwd on the same core in the same run.

#[path = "../../acl/src/lists.rs"]
mod acl;
mod callgrind;
mod cases;
mod count;
#[path = "../../fib/src/data.rs"]
#[allow(dead_code)]
mod data;
mod dpdk;
#[path = "../../fib/src/generate.rs"]
mod generate;
mod measure;
mod packets;
#[path = "../../pages.rs"]
mod pages;
#[path = "../../fib/src/random.rs"]
mod random;
mod report;
mod scale;
mod station;
mod wire;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use ::station::port::BURST;
use ::station::worker::Worker;

use cases::{CASES, Case};
use count::Count;
use data::Family;
use dpdk::L3fwd;
use measure::{Source, median, ns_per_packet};
use packets::Families;
use pages::Pages;
use report::Row;
use station::Station;
use wire::Wire;

/// The FIB's code that both valgrind and the machines of most people have.
const COUNTED_FIB: &str = "avx2";

#[derive(Default)]
struct Options {
    json: Option<PathBuf>,
    quick: bool,
    only_ours: bool,
    no_count: bool,
}

fn options(args: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options::default();
    let mut args = args;
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--json" => options.json = Some(args.next().ok_or("--json needs a file")?.into()),
            "--quick" => options.quick = true,
            "--only-ours" => options.only_ours = true,
            "--no-count" => options.no_count = true,
            _ => return Err(format!("unknown option {arg}")),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("count") => {
            let chosen: fn(&Case) -> bool = match args.get(1).map(String::as_str) {
                Some("--guard") => |case| case.guard,
                Some("--quick") => |case| case.quick,
                _ => |_| true,
            };
            count::child(&load(), chosen, COUNTED_FIB);
            Ok(())
        }
        Some("guard") => guard(args.get(1).and_then(|file| std::fs::read_to_string(file).ok())),
        Some("scale") => scale::run(&options(args.into_iter().skip(1))?),
        _ => bench(&options(args.into_iter())?),
    }
}

fn load() -> [Family; 2] {
    [data::load(32, true), data::load(128, true)]
}

fn scratch() -> Result<PathBuf, String> {
    let dir = std::env::temp_dir().join(format!("station-bench-path-{}", std::process::id()));
    std::fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    Ok(dir)
}

fn bench(options: &Options) -> Result<(), String> {
    measure::pin(measure::core());
    let start = Instant::now();
    if !pages::are_huge() && !options.only_ours {
        // Before there is memory to speak of. What l3fwd has is a file in memory, which nobody asks to join its pages.
        rustix::thread::disable_transparent_huge_pages(true)
            .map_err(|error| format!("cannot do without huge pages: {error}"))?;
    }
    let families = load();
    for family in &families {
        println!("{}: {} routes ({})", family.name, family.routes.len(), family.source);
    }
    let dir = scratch()?;
    let counts = match options.no_count {
        true => Err("--no-count".to_owned()),
        false => {
            println!("counting instructions under valgrind (the FIB's code: {COUNTED_FIB})");
            count::parent(&dir, if options.quick { &["--quick"] } else { &[] })
        }
    };
    let counts = counts.unwrap_or_else(|why| {
        println!("no instructions: {why}");
        vec![None; CASES.len()]
    });
    let mut rows = Vec::new();
    let mut kept: Option<(station::Shape, Station)> = None;
    for (case, instructions) in CASES.iter().zip(counts) {
        if options.quick && !case.quick {
            continue;
        }
        println!("[{:>4.0} s] {}", start.elapsed().as_secs_f64(), case.name());
        let (_, station) = match kept.take() {
            Some(station) if station.0 == case.shape => kept.insert(station),
            _ => kept.insert((case.shape, Station::new(case.shape, &families, None, 1))),
        };
        let ip = packets::packets(case.shape, case.families, case.pattern, &families);
        let rival = case.rival && !options.only_ours;
        let l3fwd =
            rival.then(|| L3fwd::start(&dir, &families, &ip, !options.quick && rows.is_empty()));
        let mut l3fwd = match l3fwd {
            Some(Ok(l3fwd)) => Some(l3fwd),
            Some(Err(why)) => {
                println!("  no l3fwd: {}", why.trim());
                None
            }
            None => None,
        };
        let worker = &mut station.workers[0];
        measure_case(case, instructions, worker, &ip, &mut l3fwd, options.quick, &mut rows)?;
    }
    let _ = std::fs::remove_dir_all(&dir);
    report::print(&rows);
    summary(&rows);
    options.json.as_ref().map_or(Ok(()), |path| report::write(path, &rows))
}

/// Everybody takes turns, round after round; medians.
fn measure_case(
    case: &Case,
    instructions: Option<Count>,
    worker: &mut Worker<Wire>,
    ip: &[(u16, Vec<u8>)],
    l3fwd: &mut Option<L3fwd>,
    quick: bool,
    rows: &mut Vec<Row>,
) -> Result<(), String> {
    /// Turns of a round: half a million packets.
    const TURNS: usize = 1 << 13;
    let frames = packets::frames(case.shape, ip);
    measure::load(worker, &frames);
    let mut source = Source::new(&frames, case.shape);
    let modes: &[(&str, &str)] = match (case.families, quick || !rows.is_empty()) {
        (Families::V6, _) => &[("fib6", "l3fwd-fib")],
        (_, true) => &[("fib", "l3fwd-fib")],
        (_, false) => &[("fib", "l3fwd-fib"), ("lpm", "l3fwd-lpm")],
    };
    let mut times = vec![Vec::new(); 3 + modes.len()];
    let rounds = if quick { 9 } else { 25 };
    for round in 0..=rounds {
        let path = measure::forwarding(worker, TURNS);
        let mut now = vec![
            path.map_err(|why| format!("{}: {why}", case.name()))?,
            ns_per_packet(TURNS, |count| source.turns(count)),
        ];
        if let Some(l3fwd) = l3fwd {
            let packets = TURNS * BURST;
            now.push(l3fwd.run("io", packets)?);
            for (mode, _) in modes {
                now.push(l3fwd.run(mode, packets)?);
            }
        }
        // The first round warms up.
        if round > 0 {
            times.iter_mut().zip(now).for_each(|(times, now)| times.push(now));
        }
    }
    let ratios = |rival: usize| -> Vec<f64> {
        let net = |of: usize, source: usize| {
            times[of].iter().zip(&times[source]).map(|(ns, source)| ns - source)
        };
        net(rival, 2).zip(net(0, 1)).map(|(theirs, ours)| theirs / ours).collect()
    };
    let ratios: Vec<_> = (3..times.len()).map(ratios).collect();
    let own_pages = Pages::of(std::process::id());
    let their_pages = l3fwd.as_ref().and_then(|l3fwd| Pages::of(l3fwd.pid()));
    for (name, pages) in [("station", own_pages), ("l3fwd", their_pages)] {
        if let Some(pages) = pages {
            println!("  {name} has {pages}");
        }
    }
    let mut medians = times.into_iter().filter(|times| !times.is_empty()).map(median);
    let (Some(ns), Some(source_ns)) = (medians.next(), medians.next()) else { return Ok(()) };
    let implementation = "station".to_owned();
    let row = Row {
        part: "path",
        implementation,
        case: case.name(),
        ns,
        source_ns,
        instructions,
        size: None,
        workers: 1,
        ratios: Vec::new(),
        pages: own_pages,
    };
    rows.push(row);
    if let Some(io) = medians.next() {
        for (((_, name), ns), ratios) in modes.iter().zip(medians).zip(ratios) {
            let implementation = (*name).to_owned();
            let case = format!("untagged, {}", case.traffic());
            rows.push(Row {
                part: "path",
                implementation,
                case,
                ns,
                source_ns: io,
                instructions: None,
                size: None,
                workers: 1,
                ratios,
                pages: their_pages,
            });
        }
    }
    Ok(())
}

/// The ratios that the aims are about.
fn summary(rows: &[Row]) {
    let ns = |implementation: &str, case: &str| {
        let same = |row: &&Row| row.implementation == implementation && row.case.contains(case);
        rows.iter().find(same).map(Row::net_ns)
    };
    println!();
    for row in rows {
        if let Some([least, median, most]) = row.ratio() {
            let (name, case, rounds) = (&row.implementation, &row.case, row.ratios.len());
            println!(
                "{median:.2} x the packets/s of {name}, {case} ({least:.2} to {most:.2} in {rounds} rounds)"
            );
        }
    }
    let small = |vifs| ns("station", &format!("small VRFs, {vifs} VIFs, tagged IPv4"));
    if let (Some(one), Some(many)) = (small(1), small(4000)) {
        println!(
            "4000 VIFs and small VRFs: {:.2} x the cost of one (aim: at most 1.5)",
            many / one
        );
    }
}

/// Compares the instructions of the cases of the guard with the committed ones.
fn guard(committed: Option<String>) -> Result<(), String> {
    let committed = committed.ok_or("no file with the committed numbers")?;
    let dir = scratch()?;
    let counts = count::parent(&dir, &["--guard"]);
    let _ = std::fs::remove_dir_all(&dir);
    let mut faults = Vec::new();
    for (case, count) in CASES.iter().zip(counts?).filter_map(|(case, count)| Some((case, count?)))
    {
        let name = case.name();
        let line =
            committed.lines().find_map(|line| line.split_once(' ').filter(|(_, of)| *of == name));
        let Some(Ok(before)) = line.map(|(number, _)| number.parse::<f64>()) else {
            faults.push(format!("no committed number for: {:.1} {name}", count.total()));
            continue;
        };
        let count = count.total();
        println!("{count:.1} {name} (committed: {before})");
        if count > before * 1.05 {
            faults
                .push(format!("{name}: {count:.1} instructions a packet, committed are {before}"));
        } else if count < before * 0.95 {
            println!("  less: commit the new number, so that the guard stays tight");
        }
    }
    match faults.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "{}\nthe packet path has grown by more than 5%; where that is right, write the new numbers into \
             benches/path/instructions in the same commit and say there what they buy",
            faults.join("\n")
        )),
    }
}
