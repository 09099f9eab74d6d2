//! A file system whose power fails: at every step of a change, and with every outcome that a file system may
//! leave. What was written and not synced is lost, torn, zeros or there; names that were given, taken or changed
//! since their directory was synced are there or not, each for itself.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::Disk;

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

/// What is on the disk.
#[derive(Debug, Default)]
pub(crate) struct State {
    inodes: Vec<Content>,
    names: BTreeMap<PathBuf, Inode>,
    durable_names: BTreeMap<PathBuf, Inode>,
    pending: Vec<Names>,
}

/// The file system, and the step at which its power fails.
#[derive(Clone, Debug)]
pub(crate) struct Failing {
    state: Rc<RefCell<State>>,
    steps: Rc<Cell<usize>>,
    cut_at: usize,
    /// There is no room: half of a write is done, and no file is made.
    full: Rc<Cell<bool>>,
}

impl Failing {
    pub(crate) fn new(state: State, cut_at: usize) -> Failing {
        let (steps, full) = (Rc::default(), Rc::default());
        Failing { state: Rc::new(RefCell::new(state)), steps, cut_at, full }
    }

    pub(crate) fn fill(&self, full: bool) {
        self.full.set(full);
    }

    /// One more step; from the cut on none is taken.
    fn step(&self) -> io::Result<()> {
        self.steps.set(self.steps.get() + 1);
        match self.steps.get() > self.cut_at {
            true => Err(io::Error::other("the power is cut")),
            false => Ok(()),
        }
    }

    fn room(&self) -> io::Result<()> {
        if self.full.get() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    pub(crate) fn is_cut(&self) -> bool {
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
    pub(crate) fn doubts(&self) -> (usize, Vec<Inode>) {
        let state = self.state.borrow();
        let unsynced = |(inode, content): (Inode, &Content)| {
            (content.written != content.durable).then_some(inode)
        };
        (state.pending.len(), state.inodes.iter().enumerate().filter_map(unsynced).collect())
    }

    /// What is found when the power is back: of the doubtful names those in `names`, and of what was not synced
    /// nothing (0), a part (1), all (2), or zeros in its place (3).
    pub(crate) fn after(&self, names: usize, files: usize) -> State {
        let state = self.state.borrow();
        let mut found = state.durable_names.clone();
        for (at, change) in state.pending.iter().enumerate() {
            if names >> at & 1 == 1 {
                change.apply(&mut found);
            }
        }
        let content = |content: &Content| {
            let kept = content.written.iter().zip(&content.durable);
            let kept = kept.take_while(|(new, old)| new == old).count();
            let new = content.written.len() - kept;
            let survives = match files {
                0 => content.durable.clone(),
                1 => content.written[..kept + new / 2].to_vec(),
                2 => content.written.clone(),
                _ => [&content.written[..kept], &vec![0; new]].concat(),
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

    /// Directories are there.
    fn make_directory(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn create(&self, path: &Path, _: Option<&Path>) -> io::Result<Inode> {
        self.step()?;
        if self.inode(path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.room()?;
        let inode = self.state.borrow().inodes.len();
        self.state.borrow_mut().inodes.push(Content::default());
        self.change(Names::Give(path.to_owned(), inode));
        Ok(inode)
    }

    fn open(&self, path: &Path) -> io::Result<Inode> {
        self.inode(path)
    }

    fn append(&self, path: &Path) -> io::Result<Inode> {
        match self.inode(path) {
            Ok(inode) => self.step().map(|()| inode),
            Err(_) => self.create(path, None),
        }
    }

    fn length(&self, file: &Inode) -> io::Result<u64> {
        Ok(self.state.borrow().inodes[*file].written.len() as u64)
    }

    fn read_at(&self, file: &Inode, from: u64, buffer: &mut [u8]) -> io::Result<()> {
        let state = self.state.borrow();
        let from = usize::try_from(from).unwrap();
        let found = state.inodes[*file].written.get(from..from + buffer.len());
        buffer.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn truncate(&self, file: &Inode, octets: u64) -> io::Result<()> {
        self.step()?;
        let octets = usize::try_from(octets).unwrap();
        self.state.borrow_mut().inodes[*file].written.truncate(octets);
        Ok(())
    }

    fn write(&self, file: &mut Inode, octets: &[u8]) -> io::Result<()> {
        let taken = self.step().and_then(|()| self.room());
        // A write that the cut interrupts, or that finds no room, leaves half of it.
        let part = match &taken {
            Ok(()) => octets.len(),
            Err(_) if self.steps.get() - 1 <= self.cut_at => octets.len() / 2,
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

/// Cuts the power at every step of `work` and looks at every disk that may be found; how many there were.
pub(crate) fn cut_everywhere(
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
            for files in if files.is_empty() { 0..1 } else { 0..4 } {
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
