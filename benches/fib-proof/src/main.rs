//! The FIB and the publication of tables under checkers: `--cfg loom` models them; without it this is a short history
//! with readers beside it, for miri.
//!
//! As a model it takes the name of an ordering to weaken, and must then fail; and `long` for more preemptions.

#[path = "../../../src/fib/mod.rs"]
#[allow(dead_code, unused_imports)]
mod fib;
#[cfg(loom)]
mod proof;
#[cfg(loom)]
#[path = "../../../src/publish.rs"]
#[allow(dead_code)]
mod publish;

/// The real writers and the real readers: every order in which their accesses to shared memory can interleave
/// and become visible, up to so many preemptions.
#[cfg(loom)]
fn main() {
    let mut preemptions = 3;
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "long" => preemptions = 5,
            _ => proof::WEAKENED.set(argument).unwrap(),
        }
    }
    let check = |model: fn(), what: &str| {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(preemptions);
        builder.max_branches = 50_000;
        builder.check(model);
        println!("{what}: every interleaving of {preemptions} preemptions is right");
    };
    check(small, "publish, retire, quiesce");
    check(flat, "a flat table and the chunks that it repeats");
    check(generations, "snapshots, epochs, sleep");
}

/// A worker that starts asleep, and a publisher that unlinks a block and frees it and the first snapshot's data once
/// the worker has passed. Loom's cells find an access that is not ordered after the free, or before it.
#[cfg(loom)]
fn generations() {
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicUsize, Ordering};

    /// What snapshots 0 and 1 lead to, a block that the FIB leads to, and where the FIB leads.
    struct Memory {
        tables: [UnsafeCell<u32>; 2],
        block: UnsafeCell<u32>,
        linked: AtomicUsize,
    }
    // SAFETY: that the cells are not used at once is what the model checks.
    unsafe impl Sync for Memory {}

    fn read(cell: &UnsafeCell<u32>) {
        // SAFETY: loom answers for it.
        let value = cell.with(|value| unsafe { *value });
        assert_eq!(value, 7, "answered {value}");
    }

    fn burst(memory: &Memory, snapshot: usize) {
        read(&memory.tables[snapshot]);
        if memory.linked.load(Ordering::Acquire) == 1 {
            read(&memory.block);
        }
    }

    let cell = || UnsafeCell::new(7);
    let memory =
        Arc::new(Memory { tables: [cell(), cell()], block: cell(), linked: AtomicUsize::new(1) });
    let (mut publisher, mut readers) = publish::Publisher::new(1, 0);
    let mut reader = readers.remove(0);
    let worker = loom::thread::spawn({
        let memory = Arc::clone(&memory);
        move || {
            reader.wake();
            burst(&memory, *reader.snapshot());
            reader.enter();
            burst(&memory, *reader.snapshot());
            reader.sleep();
        }
    });
    publisher.publish(1);
    // After the mailbox is filled, so that only the epochs order it: a mailbox's own lock would hide their fault.
    memory.linked.store(0, Ordering::Release);
    publisher.synchronize();
    for freed in [&memory.block, &memory.tables[0]] {
        // SAFETY: loom answers for it.
        freed.with_mut(|value| unsafe { *value = 9 });
    }
    worker.join().unwrap();
}

#[cfg(loom)]
fn small() {
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicU64, Ordering};

    let limits = fib::Limits { max_vrfs: 1, max_bytes: 6 * 64 * 8, ..fib::Limits::default() };
    let mut fib = fib::Fib::new(limits).unwrap();
    fib.add_vrf(0).unwrap();
    fib.insert(0, "0.0.0.0/0".parse().unwrap(), 9).unwrap();
    let reader = fib.reader();
    let seen = Arc::new(AtomicU64::new(0));
    let worker = loom::thread::spawn({
        let seen = Arc::clone(&seen);
        move || {
            // Memory that nobody has written yet, and any that is for another prefix, answers neither.
            let value = reader.lookup4(0, 0x0400_0001);
            assert!(value == 9 || value == 1, "answered {value}");
            seen.store(1, Ordering::Release);
        }
    });
    fib.insert(0, "4.0.0.0/6".parse().unwrap(), 1).unwrap();
    fib.remove(0, "4.0.0.0/6".parse().unwrap()).unwrap();
    let quiescent = if proof::weakened("quiesce") { 1 } else { seen.load(Ordering::Acquire) };
    fib.reclaim(1, quiescent);
    // If the first chunk is free, this takes its place.
    fib.insert(0, "8.0.0.0/6".parse().unwrap(), 2).unwrap();
    worker.join().unwrap();
}

/// A large VRF, with a flat table of 12 bits and compact chunks in which 8 is no short value: two values are in both, the last is
/// only in the chunk. Whoever has seen one must not see an earlier one again.
#[cfg(loom)]
fn flat() {
    let limits = fib::Limits { max_vrfs: 1, max_bytes: 64 * 64 * 8, flat_at: 4 };
    let mut fib = fib::Fib::new(limits).unwrap();
    fib.add_vrf(0).unwrap();
    let routes = ["4.16.0.0/12", "4.32.0.0/12", "8.0.0.0/8", "12.0.0.0/8"]
        .map(|net| (net.parse().unwrap(), Some(1)));
    fib.apply(0, &routes).unwrap();
    assert!(fib.stats().v4.fib_bytes > 2 << 12, "there is a flat table");
    let reader = fib.reader();
    let worker = loom::thread::spawn(move || {
        let mut last = 0;
        for _ in 0..2 {
            let value = reader.lookup4(0, 0x0410_0001);
            let at = [1, 2, 9].iter().position(|&known| known == value);
            assert!(at.is_some_and(|at| at >= last), "answered {value}");
            last = at.unwrap();
        }
    });
    for value in [2, 9] {
        fib.insert(0, routes[0].0, value).unwrap();
    }
    worker.join().unwrap();
}

#[cfg(not(loom))]
fn main() {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    let mut fib =
        fib::Fib::new(fib::Limits { max_vrfs: 4, max_bytes: 1 << 20, ..fib::Limits::default() })
            .unwrap();
    fib.add_vrf(0).unwrap();
    fib.add_vrf(1).unwrap();
    let nets = [
        "0.0.0.0/0",
        "10.0.0.0/8",
        "10.1.0.0/16",
        "10.1.1.128/25",
        "::/0",
        "2001:db8::/32",
        "2001:db8::1/128",
    ];
    let (seen, epoch, stop) = (AtomicU64::new(0), AtomicU64::new(1), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let reader = fib.reader();
        let (seen, epoch, stop) = (&seen, &epoch, &stop);
        scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let now = epoch.load(Ordering::Acquire);
                let (mut to, mut back) = ([0; 5], [0; 5]);
                let ends = [&[0x0A01_0180; 5][..], &[0x0A01_0101; 5]];
                reader.lookup4_sets(&[0, 1, 0, 3, 0], ends, [&mut to, &mut back]);
                assert!(to.iter().chain(&back).all(|&value| value < 8), "{to:?} {back:?}");
                let ends = [&[0x2001_0DB8 << 96 | 1; 5][..], &[0x2001_0DB8 << 96; 5]];
                reader.lookup6_sets(&[0, 1, 0, 3, 0], ends, [&mut to, &mut back]);
                assert!(to.iter().chain(&back).all(|&value| value < 8), "{to:?} {back:?}");
                assert!(reader.lookup4(0, 0x0A01_0180) < 8);
                seen.store(now, Ordering::Release);
            }
        });
        for round in 0..6usize {
            for (i, net) in nets.iter().enumerate() {
                let vrf = (round % 2) as u32;
                let net = net.parse().unwrap();
                if (i + round) % 3 == 0 {
                    fib.remove(vrf, net).unwrap();
                } else {
                    fib.insert(vrf, net, i as u32 + 1).unwrap();
                }
                let sealed = epoch.fetch_add(1, Ordering::AcqRel);
                fib.reclaim(sealed, seen.load(Ordering::Acquire).saturating_sub(1));
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    fib.remove_vrf(0).unwrap();
    println!("no fault found; {:?}", fib.stats());
}
