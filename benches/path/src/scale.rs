//! `scripts/bench scale`: what a packet, the memory and the start cost as the station grows. The points of a
//! series take turns, round after round, so that what disturbs one disturbs all.

use std::ffi::c_int;
use std::sync::Barrier;
use std::time::Instant;

use station::port::FrameSize;

use crate::data::Family;
use crate::measure::{self, Source, forwarding, median, ns_per_packet};
use crate::packets::{self, Families};
use crate::random::Random;
use crate::report::{self, Row, Size};
use crate::station::{FRAMES, Shape, Station, Vrfs};
use crate::{Options, load};

/// Turns of a round: a quarter of a million packets.
const TURNS: usize = 1 << 12;

/// One station of a series.
struct Point {
    case: String,
    size: Size,
    station: Station,
    source: Source,
}

pub fn run(options: &Options) -> Result<(), String> {
    measure::pin(measure::core());
    let start = Instant::now();
    let families = load();
    for family in &families {
        println!("{}: {} routes ({})", family.name, family.routes.len(), family.source);
    }
    let most =
        |steps: &[usize], quick: &[usize]| if options.quick { quick } else { steps }.to_vec();
    let rounds = if options.quick { 9 } else { 25 };
    let mut rows = Vec::new();
    let mut series = |name: &str, points: Vec<Point>| {
        println!("[{:>4.0} s] {name}", start.elapsed().as_secs_f64());
        rows.extend(measure(points, rounds)?);
        Ok::<(), String>(())
    };

    let counts =
        most(&[10, 100, 1_000, 10_000, 100_000, 1_000_000], &[10, 1_000, 100_000, 1_000_000]);
    let points = counts.into_iter().map(|count| {
        let table = [part_of(&families[0], count), none(&families[1])];
        let shape = Shape { vrfs: Vrfs::Full, vifs: 100, ..Shape::PLAIN };
        let routes = table[0].routes.len();
        point(
            format!("{routes} routes, 100 VIFs, tagged IPv4"),
            ("routes", routes),
            shape,
            &table,
            1,
        )
    });
    series("routes", points.collect())?;

    let points = most(&[1, 10, 100, 1_000, 4_000], &[1, 100, 4_000]).into_iter().map(|vifs| {
        let shape = Shape { vrfs: Vrfs::Full, vifs: vifs as u16, ..Shape::PLAIN };
        point(format!("full table, {vifs} VIFs, tagged IPv4"), ("VIFs", vifs), shape, &families, 1)
    });
    series("VIFs", points.collect())?;

    let points = most(&[1, 10, 100, 1_000, 4_000, 10_000], &[1, 100, 4_000, 10_000])
        .into_iter()
        .map(|vrfs| {
            let shape = Shape { vrfs: Vrfs::Small, vifs: vrfs as u16, qinq: true, ..Shape::PLAIN };
            point(
                format!("{vrfs} small VRFs, a QinQ VIF each, IPv4"),
                ("VRFs", vrfs),
                shape,
                &families,
                1,
            )
        });
    series("VRFs", points.collect())?;

    println!("[{:>4.0} s] workers", start.elapsed().as_secs_f64());
    rows.extend(workers(&families, rounds)?);
    report::print(&rows);
    summary(&rows);
    options.json.as_ref().map_or(Ok(()), |path| report::write(path, &rows))
}

/// So many of a table's IPv4 routes, from all over it, and addresses within them.
fn part_of(family: &Family, count: usize) -> Family {
    let count = count.min(family.routes.len());
    let routes: Vec<_> =
        (0..count).map(|i| family.routes[i * family.routes.len() / count]).collect();
    let mut random = Random::new(7);
    let inside = (0..packets::PACKETS).map(|_| {
        let route = routes[random.below(count)];
        let host = u32::MAX.checked_shr(route.len.into()).unwrap_or(0) & random.next() as u32;
        route.key | u128::from(host) << 96
    });
    let patterns = [("random", Vec::new()), ("inside", inside.collect()), ("zipf", Vec::new())];
    Family { source: family.source.clone(), routes, updates: Vec::new(), patterns, ..*family }
}

/// A table without routes.
fn none(family: &Family) -> Family {
    let patterns = ["random", "inside", "zipf"].map(|name| (name, Vec::new()));
    Family { source: String::new(), routes: Vec::new(), updates: Vec::new(), patterns, ..*family }
}

/// Builds a station and sees what that takes.
fn point(
    case: String,
    (series, at): (&'static str, usize),
    shape: Shape,
    families: &[Family; 2],
    workers: usize,
) -> Point {
    let before = resident_mib();
    let mut station = None;
    let start_s = measure::seconds(|| station = Some(Station::new(shape, families, None, workers)));
    let mut station = station.expect("it was just made");
    let frames = (workers * FRAMES * FrameSize::Small.octets()) as f64 / (1 << 20) as f64;
    let mib = resident_mib() - before - frames;
    let ip = packets::packets(shape, Families::V4, "inside", families);
    let packets = packets::frames(shape, &ip);
    measure::load(&mut station.workers[0], &packets);
    let size = Size { series, at, mib, start_s };
    Point { case, size, station, source: Source::new(&packets, shape) }
}

/// Memory of this process that is in use: what the allocator keeps for later is given back first.
fn resident_mib() -> f64 {
    unsafe extern "C" {
        safe fn malloc_trim(pad: usize) -> c_int;
    }
    malloc_trim(0);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok());
    kib.unwrap_or(f64::NAN) / 1024.0
}

fn measure(mut points: Vec<Point>, rounds: usize) -> Result<Vec<Row>, String> {
    let mut times = vec![(Vec::new(), Vec::new()); points.len()];
    // The first round warms up.
    for round in 0..=rounds {
        for (point, times) in points.iter_mut().zip(&mut times) {
            let worker = &mut point.station.workers[0];
            let ns = forwarding(worker, TURNS).map_err(|why| format!("{}: {why}", point.case))?;
            let source = ns_per_packet(TURNS, |count| point.source.turns(count));
            if round > 0 {
                times.0.push(ns);
                times.1.push(source);
            }
        }
    }
    let rows = points.into_iter().zip(times).map(|(point, (ns, source))| Row {
        part: "scale",
        implementation: "station".to_owned(),
        case: point.case,
        ns: median(ns),
        source_ns: median(source),
        instructions: None,
        size: Some(point.size),
        workers: 1,
        ratios: Vec::new(),
        pages: None,
    });
    Ok(rows.collect())
}

/// One worker alone, and two at once on cores of their own. A packet's cost is the processor time of its own
/// worker, so it grows by what the two take from each other (caches, memory), not by what others run beside.
fn workers(families: &[Family; 2], rounds: usize) -> Result<Vec<Row>, String> {
    let shape = Shape { vrfs: Vrfs::Full, vifs: 100, ..Shape::PLAIN };
    let cores = measure::core() + 1;
    let Point { mut station, source, size, .. } =
        point(String::new(), ("workers", 1), shape, families, 2);
    let ip = packets::packets(shape, Families::V4, "inside", families);
    let frames = packets::frames(shape, &ip);
    for worker in &mut station.workers {
        measure::load(worker, &frames);
    }
    let mut sources = [source, Source::new(&frames, shape)];
    let mut rows = Vec::new();
    let mut times = [(Vec::new(), Vec::new()), (Vec::new(), Vec::new())];
    if cores < 2 {
        println!("two workers: left out on one core");
    }
    for round in 0..=rounds {
        for count in 1..=cores.min(2) {
            let ns = together(&mut station.workers[..count], |worker| forwarding(worker, TURNS))?;
            let source = together(&mut sources[..count], |source| {
                Ok(ns_per_packet(TURNS, |count| source.turns(count)))
            })?;
            if round > 0 {
                times[count - 1].0.push(ns);
                times[count - 1].1.push(source);
            }
        }
    }
    for (count, (ns, source)) in (1..).zip(times).filter(|(_, (ns, _))| !ns.is_empty()) {
        rows.push(Row {
            part: "scale",
            implementation: "station".to_owned(),
            case: format!("{count} workers, full table, 100 VIFs, tagged IPv4"),
            ns: median(ns),
            source_ns: median(source),
            instructions: None,
            size: Some(Size { series: "workers", at: count, ..size }),
            workers: count,
            ratios: Vec::new(),
            pages: None,
        });
    }
    Ok(rows)
}

/// Runs each on a core of its own, all at once; the mean of what they say.
fn together<T: Send>(
    parts: &mut [T],
    run: impl Fn(&mut T) -> Result<f64, String> + Sync,
) -> Result<f64, String> {
    let (count, barrier) = (parts.len(), Barrier::new(parts.len()));
    let (run, barrier) = (&run, &barrier);
    let times: Result<Vec<f64>, String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..)
            .map(|i| measure::core() - i)
            .zip(parts)
            .map(|(core, part)| {
                scope.spawn(move || {
                    measure::pin(core);
                    barrier.wait();
                    run(part)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("it does not panic")).collect()
    });
    Ok(times?.iter().sum::<f64>() / count as f64)
}

/// Each series' ends.
fn summary(rows: &[Row]) {
    println!();
    for series in ["routes", "VIFs", "VRFs", "workers"] {
        let of = |row: &&Row| row.size.as_ref().is_some_and(|size| size.series == series);
        let (Some(first), Some(last)) = (rows.iter().find(of), rows.iter().rfind(of)) else {
            continue;
        };
        let (Some(from), Some(to)) = (&first.size, &last.size) else { continue };
        println!(
            "{series} {} -> {}: {:.2} x the cost of a packet, {:.0} -> {:.0} MiB, start {:.2} -> {:.2} s",
            from.at,
            to.at,
            last.net_ns() / first.net_ns(),
            from.mib,
            to.mib,
            from.start_s,
            to.start_s,
        );
    }
}
