//! DPDK's tables, through `dpdk.c`.

use crate::Options;
use crate::cases::{Addresses, Case};
use crate::data::{Family, Route};
use crate::memory::Stopwatch;
use std::ffi::{c_int, c_void};
use std::sync::OnceLock;

type Octets = [u8; 16];

unsafe extern "C" {
    fn dpdk_start(huge_pages: c_int) -> c_int;
    fn dpdk_memory() -> u64;
    fn lpm4_new(routes: u32) -> *mut c_void;
    fn lpm4_update(
        t: *mut c_void,
        ip: *const u32,
        len: *const u8,
        v: *const u32,
        n: usize,
    ) -> c_int;
    fn lpm4_single(t: *mut c_void, addr: *const u32, n: usize) -> u64;
    fn lpm4_burst(t: *mut c_void, addr: *const u32, n: usize) -> u64;
    fn fib4_new(routes: u32, vector: c_int) -> *mut c_void;
    fn fib4_select(t: *mut c_void, vector: c_int) -> c_int;
    fn fib4_update(
        t: *mut c_void,
        ip: *const u32,
        len: *const u8,
        v: *const u32,
        n: usize,
    ) -> c_int;
    fn fib4_lookup(t: *mut c_void, addr: *const u32, n: usize, burst: c_int) -> u64;
    fn lpm6_new(routes: u32) -> *mut c_void;
    fn lpm6_update(
        t: *mut c_void,
        ip: *const Octets,
        len: *const u8,
        v: *const u32,
        n: usize,
    ) -> c_int;
    fn lpm6_lookup(t: *mut c_void, addr: *const Octets, n: usize, burst: c_int) -> u64;
    fn fib6_new(routes: u32) -> *mut c_void;
    fn fib6_select(t: *mut c_void, vector: c_int) -> c_int;
    fn fib6_update(
        t: *mut c_void,
        ip: *const Octets,
        len: *const u8,
        v: *const u32,
        n: usize,
    ) -> c_int;
    fn fib6_lookup(t: *mut c_void, addr: *const Octets, n: usize, burst: c_int) -> u64;
}

/// A route list as columns.
struct Columns {
    v4: Vec<u32>,
    v6: Vec<Octets>,
    len: Vec<u8>,
    value: Vec<u32>,
}

fn columns(routes: &[Route]) -> Columns {
    Columns {
        v4: routes.iter().map(|route| (route.key >> 96) as u32).collect(),
        v6: routes.iter().map(|route| route.key.to_be_bytes()).collect(),
        len: routes.iter().map(|route| route.len).collect(),
        value: routes.iter().map(|route| route.value).collect(),
    }
}

/// A table of DPDK's; they live as long as the process.
#[derive(Clone, Copy)]
struct Table {
    name: &'static str,
    at: *mut c_void,
    mib: f64,
    build_s: f64,
    bits: u8,
    update: fn(*mut c_void, &Columns),
}

fn update4(
    f: unsafe extern "C" fn(*mut c_void, *const u32, *const u8, *const u32, usize) -> c_int,
    t: *mut c_void,
    c: &Columns,
) {
    // SAFETY: the columns have equal lengths; the table is live.
    unsafe { f(t, c.v4.as_ptr(), c.len.as_ptr(), c.value.as_ptr(), c.len.len()) };
}

fn update6(
    f: unsafe extern "C" fn(*mut c_void, *const Octets, *const u8, *const u32, usize) -> c_int,
    t: *mut c_void,
    c: &Columns,
) {
    // SAFETY: the columns have equal lengths; the table is live.
    unsafe { f(t, c.v6.as_ptr(), c.len.as_ptr(), c.value.as_ptr(), c.len.len()) };
}

fn build(
    name: &'static str,
    bits: u8,
    make: impl FnOnce() -> *mut c_void,
    update: fn(*mut c_void, &Columns),
    routes: &Columns,
) -> Option<Table> {
    // SAFETY: the library is started.
    let before = unsafe { dpdk_memory() };
    let start = Stopwatch::start();
    let at = make();
    if at.is_null() {
        println!("  {name}: could not be made");
        return None;
    }
    update(at, routes);
    let build_s = start.seconds();
    // SAFETY: the library is started.
    let mib = (unsafe { dpdk_memory() } - before) as f64 / 1048576.0;
    Some(Table { name, at, mib, build_s, bits, update })
}

fn started() -> bool {
    static STARTED: OnceLock<bool> = OnceLock::new();
    // SAFETY: once, from the main thread.
    *STARTED.get_or_init(|| unsafe { dpdk_start(crate::pages::are_huge().into()) } >= 0)
}

thread_local! {
    static TABLES: std::cell::RefCell<Vec<Table>> = const { std::cell::RefCell::new(Vec::new()) };
}

pub fn cases(family: &Family, options: &Options) -> Vec<Case> {
    let core = crate::memory::core();
    if !started() {
        println!("  DPDK does not start here: its tables are left out");
        return Vec::new();
    }
    // rte_eal_init moves the thread to its core.
    crate::memory::pin_to(core);
    let routes = columns(&family.routes);
    let count = family.routes.len() as u32;
    let mut cases = Vec::new();
    let mut add = |table: Table, name: &str, mode, run: Box<dyn FnMut(&Addresses) -> u64>| {
        cases.push(Case {
            implementation: name.into(),
            mode,
            run,
            mib: table.mib,
            build_s: table.build_s,
        });
    };
    let mut tables = Vec::new();
    // SAFETY (all calls): tables are live for good; arrays are as long as said.
    if family.bits == 32 {
        let fib = build(
            "rte_fib",
            family.bits,
            || unsafe { fib4_new(count, 1) },
            |t, c| update4(fib4_update, t, c),
            &routes,
        );
        if let Some(table) = fib {
            tables.push(table);
            let t = table.at;
            for (name, vector) in [("rte_fib avx512", 1), ("rte_fib scalar", 0)] {
                if unsafe { fib4_select(t, vector) } == 0 {
                    println!("  {name}: not on this processor");
                    continue;
                }
                for (mode, burst) in [("burst", 64), ("single", 1)] {
                    add(
                        table,
                        name,
                        mode,
                        Box::new(move |a| unsafe {
                            fib4_select(t, vector);
                            fib4_lookup(t, a.v4.as_ptr(), a.v4.len(), burst)
                        }),
                    );
                }
            }
        }
        if options.quick {
            println!("  rte_lpm is left out of a quick run: it takes minutes to build");
        } else {
            let lpm = build(
                "rte_lpm",
                family.bits,
                || unsafe { lpm4_new(count) },
                |t, c| update4(lpm4_update, t, c),
                &routes,
            );
            if let Some(table) = lpm {
                tables.push(table);
                let t = table.at;
                add(
                    table,
                    "rte_lpm",
                    "burst",
                    Box::new(move |a| unsafe { lpm4_burst(t, a.v4.as_ptr(), a.v4.len()) }),
                );
                add(
                    table,
                    "rte_lpm",
                    "single",
                    Box::new(move |a| unsafe { lpm4_single(t, a.v4.as_ptr(), a.v4.len()) }),
                );
            }
        }
    } else {
        let lpm = build(
            "rte_lpm6",
            family.bits,
            || unsafe { lpm6_new(count) },
            |t, c| update6(lpm6_update, t, c),
            &routes,
        );
        let fib = build(
            "rte_fib6",
            family.bits,
            || unsafe { fib6_new(count) },
            |t, c| update6(fib6_update, t, c),
            &routes,
        );
        for (mode, burst) in [("burst", 64), ("single", 1)] {
            if let Some(table) = lpm {
                let t = table.at;
                add(
                    table,
                    "rte_lpm6",
                    mode,
                    Box::new(move |a| unsafe {
                        lpm6_lookup(t, a.octets.as_ptr(), a.octets.len(), burst)
                    }),
                );
            }
            let Some(table) = fib else { continue };
            let t = table.at;
            for (name, vector) in [("rte_fib6 avx512", 1), ("rte_fib6 scalar", 0)] {
                if unsafe { fib6_select(t, vector) } == 0 {
                    println!("  {name}: not on this processor");
                    continue;
                }
                add(
                    table,
                    name,
                    mode,
                    Box::new(move |a| unsafe {
                        fib6_select(t, vector);
                        fib6_lookup(t, a.octets.as_ptr(), a.octets.len(), burst)
                    }),
                );
            }
        }
        tables.extend(lpm.into_iter().chain(fib));
    }
    TABLES.with_borrow_mut(|all| all.extend(tables));
    cases
}

/// Makes changes in each of the tables that `cases` made for a family, by calling `run` with its name and what is to be done.
pub fn update(bits: u8, changes: &[Route], mut run: impl FnMut(&'static str, &mut dyn FnMut())) {
    let changes = columns(changes);
    // rte_lpm takes hours for a day.
    let with_rates = |table: &&Table| table.bits == bits && table.name != "rte_lpm";
    TABLES.with_borrow(|tables| {
        for table in tables.iter().filter(with_rates) {
            run(table.name, &mut || (table.update)(table.at, &changes));
        }
    });
}
