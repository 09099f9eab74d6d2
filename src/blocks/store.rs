//! The files: each block is appended and synced. What a loss of power or a full disk left of a block at a file's end is cut
//! off before anything is written behind it.

use std::io;
use std::marker::PhantomData;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use tracing::warn;

use super::{HEAD, Head, Kept, Names, encode, start_s};
use crate::disk::Disk;

/// Octets of a file that are looked through at once.
const PIECE: usize = 64 << 10;

/// Octets of a file that are no block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file's name.
    pub file: String,
    /// Which octets.
    pub octets: Range<u64>,
    /// They were the file's end, and were cut off.
    pub cut: bool,
}

/// Where a block is in its file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub at: u64,
    pub head: Head,
}

impl Place {
    /// Where it ends.
    pub fn end(&self) -> u64 {
        self.at + HEAD as u64 + u64::from(self.head.length)
    }

    /// What follows the head, where it is as it was written.
    pub fn read<D: Disk>(&self, disk: &D, file: &D::File) -> io::Result<Option<Vec<u8>>> {
        let mut octets = vec![0; usize::try_from(self.head.length).unwrap_or(usize::MAX)];
        disk.read_at(file, self.at + HEAD as u64, &mut octets)?;
        Ok(self.head.fits(&octets).then_some(octets))
    }
}

/// What a file has.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub blocks: Vec<Place>,
    /// Octets between them that are none.
    pub damaged: Vec<Range<u64>>,
    /// Behind the last block.
    pub end: u64,
}

/// Finds the blocks of a file. Of all but the last only the heads are read.
pub(super) fn look_through<K: Kept, D: Disk>(
    disk: &D,
    file: &D::File,
    length: u64,
) -> io::Result<Found> {
    let mut found = Found::default();
    let mut at = 0;
    while at < length {
        if let Some(place) = place::<K, D>(disk, file, at, length)? {
            at = place.end();
            found.blocks.push(place);
        } else if let Some(next) = next_block::<K, D>(disk, file, at + 1, length)? {
            found.damaged.push(at..next);
            at = next;
        } else {
            break;
        }
    }
    found.end = whole_end(disk, file, &mut found, at.min(length))?;
    Ok(found)
}

/// Takes the last block away where it ends there and is damaged: where the file is to end.
fn whole_end<D: Disk>(disk: &D, file: &D::File, found: &mut Found, end: u64) -> io::Result<u64> {
    match found.blocks.last().copied().filter(|last| last.end() == end) {
        Some(last) if last.read(disk, file)?.is_none() => {
            found.blocks.pop();
            Ok(last.at)
        }
        _ => Ok(end),
    }
}

/// The block that may begin there.
fn place<K: Kept, D: Disk>(
    disk: &D,
    file: &D::File,
    at: u64,
    length: u64,
) -> io::Result<Option<Place>> {
    if length.saturating_sub(at) < HEAD as u64 {
        return Ok(None);
    }
    let mut octets = [0; HEAD];
    disk.read_at(file, at, &mut octets)?;
    let place = Head::decode(octets, K::MAGIC).map(|head| Place { at, head });
    Ok(place.filter(|place| place.end() <= length))
}

/// Where the next whole block begins.
fn next_block<K: Kept, D: Disk>(
    disk: &D,
    file: &D::File,
    mut from: u64,
    length: u64,
) -> io::Result<Option<u64>> {
    while length.saturating_sub(from) >= HEAD as u64 {
        let room = usize::try_from(length - from).unwrap_or(PIECE).min(PIECE);
        let mut piece = vec![0; room];
        disk.read_at(file, from, &mut piece)?;
        let begins =
            piece.windows(K::MAGIC.len()).zip(from..).filter(|(octets, _)| *octets == K::MAGIC);
        for (_, at) in begins {
            if let Some(place) = place::<K, D>(disk, file, at, length)?
                && place.read(disk, file)?.is_some()
            {
                return Ok(Some(at));
            }
        }
        // A magic may lie across the border.
        from += (room - (K::MAGIC.len() - 1)) as u64;
    }
    Ok(None)
}

/// The calendar month of a moment, in seconds since 1970: as a file's name has it, without the suffix.
pub fn month(second: u64) -> String {
    /// The last second that RFC 3339 can write.
    const END: u64 = 253_402_300_799;
    let time = UNIX_EPOCH + Duration::from_secs(second.min(END));
    let mut text = humantime::format_rfc3339_seconds(time).to_string();
    text.truncate("2026-11".len());
    text
}

/// The name of a month's file.
pub fn name_of<K: Kept>(month: &str) -> String {
    format!("{month}{}", K::SUFFIX)
}

/// The months that have a file, in order.
///
/// # Errors
/// The file system's.
pub fn months<K: Kept, D: Disk>(disk: &D, directory: &Path) -> io::Result<Vec<String>> {
    let names = match disk.names(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        names => names?,
    };
    let month = |name: &std::ffi::OsString| {
        let month = name.to_str()?.strip_suffix(K::SUFFIX)?;
        let shape = |(at, c): (usize, char)| if at == 4 { c == '-' } else { c.is_ascii_digit() };
        (month.len() == 7 && month.chars().enumerate().all(shape)).then(|| month.to_owned())
    };
    let mut months: Vec<String> = names.iter().filter_map(month).collect();
    months.sort_unstable();
    Ok(months)
}

/// The files. One thread writes; any may read what was written.
#[derive(Debug)]
pub struct Store<K: Kept, D: Disk> {
    /// Where they are.
    pub disk: D,
    /// Which directory of it.
    pub directory: PathBuf,
    open: Option<Open<D::File>>,
    kept: PhantomData<fn() -> K>,
}

/// The file that is written to.
#[derive(Debug)]
struct Open<F> {
    month: String,
    file: F,
    octets: u64,
}

impl<K: Kept, D: Disk> Store<K, D> {
    /// Files in a directory, which is made when it is needed.
    pub fn new(disk: D, directory: PathBuf) -> Store<K, D> {
        Store { disk, directory, open: None, kept: PhantomData }
    }

    /// Mends the files' ends; the block that was written last, and what was damaged.
    ///
    /// # Errors
    /// The file system's.
    pub fn start(&mut self) -> io::Result<(Option<K>, Vec<Damage>)> {
        let (mut last, mut damage): (Option<K>, _) = (None, Vec::new());
        for month in months::<K, D>(&self.disk, &self.directory)? {
            let (opened, found) = self.mended(&month, &mut damage)?;
            let Some(place) = found.blocks.last() else { continue };
            let octets = place.read(&self.disk, &opened.file)?.unwrap_or_default();
            let block = K::decode(place.head.span, &octets, &mut Names::default());
            last = last.into_iter().chain(block).max_by_key(K::number);
        }
        Ok((last, damage))
    }

    /// Appends a block. When this returns, it survives a loss of power.
    ///
    /// # Errors
    /// The file system's. The block is not there then, and may be appended again.
    pub fn append(&mut self, block: &K, damage: &mut Vec<Damage>) -> io::Result<()> {
        let month = month(start_s(block));
        let mut open = match self.open.take() {
            Some(open) if open.month == month => open,
            _ => self.opened(&month, damage)?,
        };
        let octets = encode(block);
        let written = self.disk.write(&mut open.file, &octets);
        match written.and_then(|()| self.disk.sync(&open.file)) {
            Ok(()) => open.octets += octets.len() as u64,
            Err(error) => {
                // Where this fails too, the next attempt finds the part at the file's end.
                drop(self.disk.truncate(&open.file, open.octets));
                return Err(error);
            }
        }
        self.open = Some(open);
        Ok(())
    }

    /// The file that is being written, and how long what was written is.
    pub fn written(&self) -> Option<(String, u64)> {
        self.open.as_ref().map(|open| (open.month.clone(), open.octets))
    }

    /// The file that a span of this moment is in, in seconds since 1970, and how long it is: 0 where it is not there.
    pub fn as_it_is(&self, second: u64) -> Option<(String, u64)> {
        let month = month(second);
        let path = self.directory.join(name_of::<K>(&month));
        let octets = self.disk.open(&path).and_then(|file| self.disk.length(&file));
        match octets {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some((month, 0)),
            octets => Some((month, octets.ok()?)),
        }
    }

    /// Removes the oldest files, but for so many months.
    pub fn prune(&self, keep: usize) {
        let Ok(months) = months::<K, D>(&self.disk, &self.directory) else { return };
        let old = months.len().saturating_sub(keep);
        let is_open = |month: &String| self.open.as_ref().is_some_and(|open| open.month == *month);
        for month in months[..old].iter().filter(|month| !is_open(month)) {
            if let Err(error) = self.disk.remove(&self.directory.join(name_of::<K>(month))) {
                warn!(directory = %self.directory.display(), month, %error, "cannot remove an old month of a series");
            }
        }
    }

    /// The file of a month, made where it is not there, its name durable.
    fn opened(&self, month: &str, damage: &mut Vec<Damage>) -> io::Result<Open<D::File>> {
        self.disk.make_directory(&self.directory)?;
        let path = self.directory.join(name_of::<K>(month));
        let open = match self.disk.create(&path, None) {
            Ok(file) => Open { month: month.to_owned(), file, octets: 0 },
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.mended(month, damage)?.0
            }
            Err(error) => return Err(error),
        };
        self.disk.sync_directory(&self.directory)?;
        Ok(open)
    }

    /// A month's file that is there, without what is torn at its end.
    fn mended(&self, month: &str, damage: &mut Vec<Damage>) -> io::Result<(Open<D::File>, Found)> {
        let file = self.disk.open(&self.directory.join(name_of::<K>(month)))?;
        let length = self.disk.length(&file)?;
        let found = look_through::<K, D>(&self.disk, &file, length)?;
        let named = |octets: &Range<u64>, cut| Damage {
            file: name_of::<K>(month),
            octets: octets.clone(),
            cut,
        };
        if found.end < length {
            self.disk.truncate(&file, found.end)?;
            self.disk.sync(&file)?;
            damage.push(named(&(found.end..length), true));
        }
        damage.extend(found.damaged.iter().map(|octets| named(octets, false)));
        Ok((Open { month: month.to_owned(), file, octets: found.end }, found))
    }
}

/// The number of the span that a moment, in milliseconds since 1970, belongs to.
pub fn span_of<K: Kept>(wall_ms: u64) -> u32 {
    u32::try_from(wall_ms / 1000 / K::SPAN_S).unwrap_or(u32::MAX)
}
