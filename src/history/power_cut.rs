//! A file system whose power fails: at every step of a change, and with every outcome that a file system may
//! leave. What was written and not synced is lost, torn or there; names that were given, taken or changed
//! since their directory was synced are there or not, each for itself.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::disk::Disk;
use super::replace::replace_on;
use super::snapshot::tests::snapshot;
use super::{Confirm, History, Snapshot};

const FILE: &str = "/etc/station.toml";
const DIRECTORY: &str = "/var/history";

type Inode = usize;

/// A change of names that its directory does not surely have yet.
#[derive(Clone, Debug)]
enum Names {
    Give(PathBuf, Inode),
    Take(PathBuf),
    Move(PathBuf, PathBuf, Inode),
}

impl Names {
    fn apply(&self, names: &mut BTreeMap<PathBuf, Inode>) {
        match self {
            Names::Give(path, inode) => drop(names.insert(path.clone(), *inode)),
            Names::Take(path) => drop(names.remove(path)),
            Names::Move(from, to, inode) => {
                names.remove(from);
                names.insert(to.clone(), *inode);
            }
        }
    }

    fn directory(&self) -> &Path {
        let (Names::Give(path, _) | Names::Take(path) | Names::Move(path, _, _)) = self;
        path.parent().unwrap()
    }
}

#[derive(Clone, Debug, Default)]
struct Content {
    written: Vec<u8>,
    /// What surely survives.
    durable: Vec<u8>,
}

#[derive(Debug, Default)]
struct State {
    inodes: Vec<Content>,
    names: BTreeMap<PathBuf, Inode>,
    durable_names: BTreeMap<PathBuf, Inode>,
    pending: Vec<Names>,
}

/// The file system, and the step at which its power fails.
#[derive(Clone, Debug)]
struct Failing {
    state: Rc<RefCell<State>>,
    steps: Rc<Cell<usize>>,
    cut_at: usize,
}

impl Failing {
    fn new(state: State, cut_at: usize) -> Failing {
        Failing { state: Rc::new(RefCell::new(state)), steps: Rc::default(), cut_at }
    }

    /// One more step; from the cut on none is taken.
    fn step(&self) -> io::Result<()> {
        self.steps.set(self.steps.get() + 1);
        match self.steps.get() > self.cut_at {
            true => Err(io::Error::other("the power is cut")),
            false => Ok(()),
        }
    }

    fn is_cut(&self) -> bool {
        self.steps.get() > self.cut_at
    }

    fn inode(&self, path: &Path) -> io::Result<Inode> {
        let found = self.state.borrow().names.get(path).copied();
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn change(&self, change: Names) {
        let mut state = self.state.borrow_mut();
        change.apply(&mut state.names);
        state.pending.push(change);
    }

    /// How many changes of names and unsynced files may or may not have survived.
    fn doubts(&self) -> (usize, Vec<Inode>) {
        let state = self.state.borrow();
        let unsynced = |(inode, content): (Inode, &Content)| {
            (content.written != content.durable).then_some(inode)
        };
        (state.pending.len(), state.inodes.iter().enumerate().filter_map(unsynced).collect())
    }

    /// What is found when the power is back: of the doubtful names those in `names`, and of unsynced files
    /// nothing (0), a part (1) or all (2).
    fn after(&self, names: usize, files: usize) -> State {
        let state = self.state.borrow();
        let mut found = state.durable_names.clone();
        for (at, change) in state.pending.iter().enumerate() {
            if names >> at & 1 == 1 {
                change.apply(&mut found);
            }
        }
        let content = |content: &Content| {
            let survives = match files {
                0 => content.durable.clone(),
                1 => content.written[..content.written.len() / 2].to_vec(),
                _ => content.written.clone(),
            };
            let synced = content.written == content.durable;
            let octets = if synced { content.durable.clone() } else { survives };
            Content { written: octets.clone(), durable: octets }
        };
        let inodes = state.inodes.iter().map(content).collect();
        State { inodes, names: found.clone(), durable_names: found, pending: Vec::new() }
    }
}

impl Disk for Failing {
    type File = Inode;

    fn create(&self, path: &Path, _: Option<&Path>) -> io::Result<Inode> {
        self.step()?;
        if self.inode(path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = self.state.borrow().inodes.len();
        self.state.borrow_mut().inodes.push(Content::default());
        self.change(Names::Give(path.to_owned(), inode));
        Ok(inode)
    }

    fn write(&self, file: &mut Inode, octets: &[u8]) -> io::Result<()> {
        let taken = self.step();
        // A write that the cut interrupts leaves half of it.
        let part = match &taken {
            Ok(()) => octets.len(),
            Err(_) if self.steps.get() - 1 == self.cut_at => octets.len() / 2,
            Err(_) => 0,
        };
        self.state.borrow_mut().inodes[*file].written.extend(&octets[..part]);
        taken
    }

    fn sync(&self, file: &Inode) -> io::Result<()> {
        self.step()?;
        let mut state = self.state.borrow_mut();
        let content = &mut state.inodes[*file];
        content.durable.clone_from(&content.written);
        Ok(())
    }

    fn link(&self, path: &Path, name: &Path) -> io::Result<()> {
        self.step()?;
        let inode = self.inode(path)?;
        self.change(Names::Give(name.to_owned(), inode));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        let inode = self.inode(from)?;
        self.change(Names::Move(from.to_owned(), to.to_owned(), inode));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        if self.inode(path).is_ok() {
            self.change(Names::Take(path.to_owned()));
        }
        Ok(())
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        self.step()?;
        let mut state = self.state.borrow_mut();
        let pending = std::mem::take(&mut state.pending);
        let (now, later): (Vec<_>, Vec<_>) =
            pending.into_iter().partition(|change| change.directory() == directory);
        now.iter().for_each(|change| change.apply(&mut state.durable_names));
        state.pending = later;
        Ok(())
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let inode = self.inode(path)?;
        Ok(self.state.borrow().inodes[inode].written.clone())
    }

    fn names(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        let state = self.state.borrow();
        let within = state.names.keys().filter(|path| path.parent() == Some(directory));
        Ok(within.map(|path| path.file_name().unwrap().to_owned()).collect())
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(path.to_owned())
    }
}

/// A station's disk with configurations 1 and 2 committed, 2 running.
fn before() -> State {
    let disk = Failing::new(State::default(), usize::MAX);
    let mut file = disk.create(Path::new(FILE), None).unwrap();
    disk.write(&mut file, b"text 2").unwrap();
    disk.sync(&file).unwrap();
    disk.sync_directory(Path::new("/etc")).unwrap();
    let history = History::on(disk.clone(), Path::new(DIRECTORY));
    for number in 1..=2 {
        history.prepare(&snapshot(number, &format!("text {number}"))).unwrap();
        history.keep(number).unwrap();
    }
    drop(history);
    disk.after(0, 0)
}

/// What a station does, as `daemon::change` does it: true where the operator was told that it is done.
fn apply(disk: &Failing, next: &Snapshot, engine_takes_it: bool) -> bool {
    let history = History::on(disk.clone(), Path::new(DIRECTORY));
    let number = next.entry.number;
    if history.prepare(next).is_err() {
        return false;
    }
    let Ok(written) = replace_on(disk.clone(), Path::new(FILE), &next.text) else {
        history.discard(number);
        return false;
    };
    if !engine_takes_it {
        drop(written.take_back());
        history.discard(number);
        return false;
    }
    let kept = history.keep(number);
    written.keep();
    history.prune(2, None);
    kept.is_ok()
}

/// The text and the number that a start finds, after it has put history and file together.
fn start(state: State) -> (String, u64, History<Failing>) {
    let disk = Failing::new(state, usize::MAX);
    let history = History::on(disk.clone(), Path::new(DIRECTORY));
    let text = String::from_utf8(disk.read(Path::new(FILE)).unwrap()).unwrap();
    let newest = history.recover(Path::new(FILE), &text).unwrap().unwrap();
    assert!(newest.entry.is_some(), "{text:?} is not configuration {}", newest.number);
    for number in history.numbers().unwrap() {
        history.read(number).unwrap();
    }
    let names = [Path::new("/etc"), Path::new(DIRECTORY)].map(|path| disk.names(path).unwrap());
    assert_eq!(names[0], ["station.toml"], "left beside the file");
    let strange = |name: &&OsString| !name.to_str().unwrap().ends_with(".snapshot");
    assert_eq!(names[1].iter().find(strange), None, "left in the history");
    (text, newest.number, history)
}

/// Cuts the power at every step of `work` and looks at every disk that may be found.
fn cut_everywhere(
    before: impl Fn() -> State,
    work: impl Fn(&Failing) -> bool,
    found: impl Fn(State, bool),
) -> usize {
    let mut disks = 0;
    for cut_at in 0.. {
        let disk = Failing::new(before(), cut_at);
        let done = work(&disk);
        let (names, files) = disk.doubts();
        assert!(names <= 12, "too many doubts: {names}");
        for names in 0..1_usize << names {
            for files in if files.is_empty() { 0..1 } else { 0..3 } {
                found(disk.after(names, files), done);
                disks += 1;
            }
        }
        if !disk.is_cut() {
            return disks;
        }
    }
    disks
}

#[test]
fn an_apply_is_whole_or_nothing() {
    let next = snapshot(3, "text 3");
    let disks = cut_everywhere(
        before,
        |disk| apply(disk, &next, true),
        |state, done| {
            let (text, number, history) = start(state);
            let outcome = (text.as_str(), number);
            assert!([("text 2", 2), ("text 3", 3)].contains(&outcome), "{outcome:?}");
            assert!(!done || number == 3, "it was said to be done");
            let numbers = history.numbers().unwrap();
            assert!(numbers.contains(&2), "the way back is lost: {numbers:?}");
        },
    );
    assert!(disks > 50, "{disks}");
}

#[test]
fn a_change_that_the_engine_refuses_leaves_nothing() {
    let next = snapshot(3, "text 3");
    let work = |disk: &Failing| {
        apply(disk, &next, false);
        !disk.is_cut()
    };
    let disks = cut_everywhere(before, work, |state, refused| {
        let (text, number, _) = start(state);
        // Where the power fails before it is taken back, the next start has the new one, whole.
        assert_eq!(text, format!("text {number}"));
        assert!(!refused || number == 2, "it was said to be refused");
    });
    assert!(disks > 50, "{disks}");
}

/// What a start does about a change that nobody confirmed, as `daemon::book` does it.
fn roll_back(disk: &Failing) -> bool {
    let history = History::on(disk.clone(), Path::new(DIRECTORY));
    let text = String::from_utf8(disk.read(Path::new(FILE)).unwrap()).unwrap();
    let Ok(Some(newest)) = history.recover(Path::new(FILE), &text) else { return false };
    let entry = newest.entry.unwrap();
    let Some(confirm) = entry.unconfirmed() else { return true };
    let old = history.newest_up_to(confirm.back_to).unwrap();
    apply(disk, &snapshot(newest.number + 1, &old.text), true)
}

/// The power may fail in the change that is to be confirmed, and again in each attempt to take it back.
#[test]
fn an_unconfirmed_change_goes_back_whenever_the_power_fails() {
    let mut next = snapshot(3, "text 3");
    let confirm = Confirm { until_ms: 9, back_to: 2, confirmed_ms: None, confirmed_by: None };
    next.entry.confirm = Some(confirm);
    let cuts = Cell::new(0);
    let first = |state: State, _: bool| {
        let whole = Failing::new(state, usize::MAX);
        let again = || whole.after(0, 0);
        let disks = cut_everywhere(again, roll_back, |state, done| {
            let (text, number, history) = start(state);
            let entry = history.read(number).unwrap().entry;
            match entry.unconfirmed() {
                Some(_) => {
                    assert_eq!((text.as_str(), number, done), ("text 3", 3, false));
                    let third = Failing::new(history.disk.after(0, 0), usize::MAX);
                    assert!(roll_back(&third));
                    let (text, number, _) = start(third.after(0, 0));
                    assert_eq!((text.as_str(), number), ("text 2", 4));
                }
                None => assert_eq!(text, "text 2", "configuration {number}"),
            }
        });
        cuts.set(cuts.get() + disks);
    };
    cut_everywhere(before, |disk| apply(disk, &next, true), first);
    assert!(cuts.get() > 1000, "{}", cuts.get());
}

#[test]
fn a_confirmation_is_there_or_not() {
    let mut trial = snapshot(3, "text 3");
    let confirm = Confirm { until_ms: 9, back_to: 2, confirmed_ms: None, confirmed_by: None };
    trial.entry.confirm = Some(confirm.clone());
    let mut confirmed = trial.clone();
    confirmed.entry.confirm = Some(Confirm { confirmed_ms: Some(8), ..confirm });
    let before = || {
        let disk = Failing::new(before(), usize::MAX);
        assert!(apply(&disk, &trial, true));
        disk.after(0, 0)
    };
    let work = |disk: &Failing| {
        History::on(disk.clone(), Path::new(DIRECTORY)).rewrite(&confirmed).is_ok()
    };
    let disks = cut_everywhere(before, work, |state, done| {
        let (text, number, history) = start(state);
        assert_eq!((text.as_str(), number), ("text 3", 3));
        let unconfirmed = history.read(3).unwrap().entry.unconfirmed().is_some();
        assert!(!(done && unconfirmed), "it was said to be confirmed");
    });
    assert!(disks > 10, "{disks}");
}
