//! Instructions a packet: this program once more, under callgrind.

use std::ffi::CString;
use std::path::Path;
use std::process::{Command, Stdio};

use station::port::BURST;

use crate::cases::{CASES, Case};
use crate::data::Family;
use crate::measure::{Source, load, turns};
use crate::packets;
use crate::station::Station;

/// Turns that are counted, after as many that are not.
const TURNS: usize = 100;

/// The child's part: runs the cases, and has callgrind write a file for each, and for its source.
pub fn child(families: &[Family; 2], chosen: impl Fn(&Case) -> bool, fib: &str) {
    let mut station: Option<(crate::station::Shape, Station)> = None;
    for (i, case) in CASES.iter().enumerate().filter(|(_, case)| chosen(case)) {
        let (_, station) = match station.take() {
            Some(kept) if kept.0 == case.shape => station.insert(kept),
            _ => station.insert((case.shape, Station::new(case.shape, families, Some(fib)))),
        };
        let ip = packets::packets(case.shape, case.families, case.pattern, families);
        let frames = packets::frames(case.shape, &ip);
        load(station, &frames);
        let mut source = Source::new(&frames);
        turns(station, TURNS);
        source.turns(TURNS);
        let before = station.forwarded();
        record(&format!("path {i}"), || turns(station, TURNS));
        record(&format!("source {i}"), || source.turns(TURNS));
        assert_eq!(station.forwarded() - before, (TURNS * BURST) as u64, "all are forwarded");
    }
}

fn record(name: &str, run: impl FnOnce()) {
    let name = CString::new(name).expect("no zeros in names");
    crate::callgrind::count(&name, run);
}

/// Instructions a packet of each case, by its index, without the source's; and why there are none.
pub fn parent(dir: &Path, args: &[&str]) -> Result<Vec<Option<f64>>, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let status = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet", "--instr-atstart=no", "--collect-atstart=no"])
        .arg(format!("--callgrind-out-file={}", dir.join("callgrind").display()))
        .arg(own)
        .arg("count")
        .args(args)
        // The guard counts the same on every machine: on the table that everybody can make.
        .envs(args.contains(&"--guard").then_some(("STATION_DATA", "/nonexistent")))
        .stdin(Stdio::null())
        .status()
        .map_err(|error| format!("valgrind cannot be run: {error}"))?;
    if !status.success() {
        return Err(format!("the count under valgrind failed: {status}"));
    }
    let mut totals = [vec![None; CASES.len()], vec![None; CASES.len()]];
    let entries = std::fs::read_dir(dir).map_err(|error| error.to_string())?;
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
        let request = value("desc: Trigger: Client Request: ");
        let (Some(name), Some(total)) = (request, value("totals: ")) else { continue };
        let (Some((what, case)), Ok(total)) = (name.split_once(' '), total.parse::<f64>()) else {
            continue;
        };
        if let Ok(case) = case.parse::<usize>() {
            totals[usize::from(what == "source")][case] = Some(total / (TURNS * BURST) as f64);
        }
    }
    let [path, source] = totals;
    Ok(path.into_iter().zip(source).map(|(path, source)| Some(path? - source?)).collect())
}
