//! Instructions a packet: this program once more, under callgrind.

use std::collections::HashMap;
use std::ffi::CString;
use std::path::Path;
use std::process::{Command, Stdio};

use station::port::BURST;

use crate::cases::{CASES, Case};
use crate::data::Family;
use crate::measure::{Source, forwarded, load, turns};
use crate::packets::{self, PACKETS};
use crate::station::Station;

/// Turns that are counted, after as many that are not.
const TURNS: usize = 100;

/// The child's part: runs the cases, and has callgrind write a file for each, and for its source.
pub fn child(families: &[Family; 2], chosen: impl Fn(&Case) -> bool, fib: &str) {
    let mut station: Option<(crate::station::Shape, Station)> = None;
    for (i, case) in CASES.iter().enumerate().filter(|(_, case)| chosen(case)) {
        let (_, station) = match station.take() {
            Some(kept) if kept.0 == case.shape => station.insert(kept),
            _ => station.insert((case.shape, Station::new(case.shape, families, Some(fib), 1))),
        };
        let ip = packets::packets(case.shape, case.families, case.pattern, families);
        let frames = packets::frames(case.shape, &ip);
        let worker = &mut station.workers[0];
        load(worker, &frames);
        let mut source = Source::new(&frames, case.shape);
        // What is logged are flows that go on: all of them have begun.
        let begun = if case.shape.logged > 0 { PACKETS / BURST } else { TURNS };
        turns(worker, begun);
        source.turns(begun);
        let before = forwarded(worker);
        record(&format!("path {i}"), || turns(worker, TURNS));
        record(&format!("source {i}"), || source.turns(TURNS));
        assert_eq!(forwarded(worker) - before, (TURNS * BURST) as u64, "all are forwarded");
    }
}

fn record(name: &str, run: impl FnOnce()) {
    let name = CString::new(name).expect("no zeros in names");
    crate::callgrind::count(&name, run);
}

/// Instructions a packet, by source file: those of the frames' source are taken off.
#[derive(Clone)]
pub struct Count {
    parts: HashMap<String, f64>,
}

impl Count {
    /// All of them.
    pub fn total(&self) -> f64 {
        self.parts.values().sum()
    }

    /// Files, and functions that are of none, and what each has.
    pub fn profile(&self) -> impl Iterator<Item = (&String, f64)> {
        self.parts.iter().map(|(name, count)| (name, *count))
    }
}

/// The instructions of each of the station's source files in a callgrind file, and of each function that is of none.
/// All stages are compiled as one function, so functions would not tell them apart. A line of `position cost` belongs
/// to the file that the last `fl=`, `fi=` or `fe=` named; what the compiler inlined from elsewhere, to the one before.
/// The line after `calls=` is the callee's.
fn parts(text: &str) -> HashMap<String, f64> {
    let station = env!("CARGO_MANIFEST_DIR").trim_end_matches("benches/path");
    let (mut names, mut found) = (HashMap::new(), HashMap::new());
    let (mut part, mut of_callee) = (String::new(), false);
    for line in text.lines() {
        if let Some((key, name)) = line.split_once('=') {
            let kind = key.strip_prefix('c').unwrap_or(key);
            if let (true, Some((id, name))) =
                (matches!(kind, "fn" | "fl" | "fi" | "fe"), name.split_once(')'))
            {
                // Functions and files are numbered apart.
                let id = (kind == "fn", id.to_owned());
                if !name.is_empty() {
                    names.insert(id.clone(), name.trim().to_owned());
                }
                let name = names.get(&id).map_or("", String::as_str);
                let own = name.strip_prefix(station).and_then(|file| file.strip_prefix("src/"));
                match (key, own) {
                    ("fn", _) if part.is_empty() => part = name.to_owned(),
                    ("fl" | "fi" | "fe", Some(file)) => part = file.to_owned(),
                    ("fl", None) => part.clear(),
                    _ => {}
                }
            }
            of_callee = key == "calls";
        } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
            let cost = line.split(' ').nth(1).and_then(|cost| cost.parse::<f64>().ok());
            if !std::mem::take(&mut of_callee) {
                *found.entry(part.clone()).or_insert(0.0) += cost.unwrap_or(0.0);
            }
        }
    }
    found
}

/// Instructions a packet of each case, by its index; and why there are none.
pub fn parent(dir: &Path, args: &[&str]) -> Result<Vec<Option<Count>>, String> {
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
    let mut found = [vec![None; CASES.len()], vec![None; CASES.len()]];
    let entries = std::fs::read_dir(dir).map_err(|error| error.to_string())?;
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
        let request = value("desc: Trigger: Client Request: ");
        let Some((what, case)) = request.and_then(|name| name.split_once(' ')) else { continue };
        if let Ok(case) = case.parse::<usize>() {
            found[usize::from(what == "source")][case] = Some(parts(&text));
        }
    }
    let [path, source] = found;
    let less = |path: HashMap<String, f64>, source: HashMap<String, f64>| {
        let mut parts = path;
        for (name, n) in source {
            *parts.entry(name).or_insert(0.0) -= n;
        }
        parts.values_mut().for_each(|n| *n /= (TURNS * BURST) as f64);
        Count { parts }
    };
    Ok(path.into_iter().zip(source).map(|(path, source)| Some(less(path?, source?))).collect())
}
