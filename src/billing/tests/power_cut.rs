//! The power fails at every write, and again when the next start mends what that left.

use super::*;
use crate::blocks::{month, months};
use crate::disk::failing::cut_everywhere;

/// The last bins of November and the first of December.
const BEGIN: u64 = 1_796_083_200 - 2 * BIN_S;

fn block(n: u64) -> Block {
    let bin = u32::try_from(BEGIN / BIN_S + n).unwrap();
    let mut block = Block::new(bin, (BEGIN + (n + 1) * BIN_S) * 1000, Marks::default());
    (block.number, block.observed_ms) = (n + 1, BIN_S * 1000);
    for (at, vif) in ["acme-1", "acme-2", "b"].into_iter().enumerate() {
        block.counts.insert(owner(vif, "acme", ""), traffic(1000 * n + at as u64 + 1));
    }
    block
}

/// Writes what is not there yet of the first blocks, as the daemon does: true where all of them are.
fn write(disk: &Failing, count: u64) -> u64 {
    let mut store = Store::new(disk.clone(), DIRECTORY.into());
    let Ok((last, damage)) = store.start() else { return 0 };
    assert!(damage.iter().all(|damage| damage.cut), "only a torn end: {damage:?}");
    let next = last.map_or(0, |last| u64::from(last.bin) - BEGIN / BIN_S + 1);
    (next..count).take_while(|n| store.append(&block(*n), &mut Vec::new()).is_ok()).count() as u64
        + next
}

fn kept(state: State) -> Vec<Block> {
    let disk = Failing::new(state, usize::MAX);
    let found = write(&disk, 0);
    let blocks = blocks(&disk, Unwritten::default());
    assert_eq!(blocks, (0..blocks.len() as u64).map(block).collect::<Vec<_>>());
    assert!(found <= blocks.len() as u64);
    blocks
}

#[test]
fn what_was_written_survives_and_what_was_not_is_whole_or_gone() {
    assert_eq!((month(BEGIN), month(BEGIN + 2 * BIN_S)), ("2026-11".into(), "2026-12".into()));
    let before = || {
        let disk = whole();
        assert_eq!(write(&disk, 1), 1);
        disk.after(0, 0)
    };
    let written = Rc::new(RefCell::new(0));
    let first = |disk: &Failing| {
        *written.borrow_mut() = write(disk, 4);
        *written.borrow() == 4
    };
    let twice = RefCell::new(0);
    let disks = cut_everywhere(before, first, |state, _| {
        let surely = *written.borrow();
        let torn = Failing::new(state, usize::MAX);
        // The next start mends it, and its power fails as well.
        let cuts = cut_everywhere(
            || torn.after(0, 0),
            |disk| write(disk, 5) == 5,
            |state, done| {
                let blocks = kept(state);
                assert!(blocks.len() as u64 >= surely.max(1), "{} of {surely}", blocks.len());
                assert!(!done || blocks.len() == 5);
            },
        );
        *twice.borrow_mut() += cuts;
    });
    assert!(disks >= 30 && *twice.borrow() > 500, "{disks} {}", twice.borrow());
}

#[test]
fn a_file_that_is_made_has_a_durable_name() {
    let disk = whole();
    assert_eq!(write(&disk, 4), 4);
    let after = Failing::new(disk.after(0, 0), usize::MAX);
    assert_eq!(months::<Block, _>(&after, Path::new(DIRECTORY)).unwrap(), ["2026-11", "2026-12"]);
    assert_eq!(kept(after.after(0, 0)).len(), 4);
}
