//! What is asked of a file system for files that survive a loss of power, a step at a time: tests cut the power
//! between any two.

#[cfg(test)]
pub(crate) mod failing;

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{
    DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown,
};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// A file system. A step that returns an error has done nothing, but for a part of a write.
pub trait Disk {
    /// An open file.
    type File: std::fmt::Debug;

    /// Makes a directory for the station alone, with those above it. That it is there is no error. Once this returns,
    /// its name survives a loss of power.
    ///
    /// # Errors
    /// The file system's.
    fn make_directory(&self, path: &Path) -> io::Result<()>;
    /// Makes a new file, readable by its owner alone; or with the mode and owner of `like`.
    ///
    /// # Errors
    /// The file system's; also where the file is there already.
    fn create(&self, path: &Path, like: Option<&Path>) -> io::Result<Self::File>;
    /// Opens a file that is there, to read it and to append. A symbolic link is refused.
    ///
    /// # Errors
    /// The file system's.
    fn open(&self, path: &Path) -> io::Result<Self::File>;
    /// Opens a file to append to, or makes one; readable by its owner alone. A symbolic link is refused: it may lead
    /// to any file of root's.
    ///
    /// # Errors
    /// The file system's.
    fn append(&self, path: &Path) -> io::Result<Self::File>;
    /// Octets of a file.
    ///
    /// # Errors
    /// The file system's.
    fn length(&self, file: &Self::File) -> io::Result<u64>;
    /// Fills a buffer from a place in a file.
    ///
    /// # Errors
    /// The file system's; also where the file ends before the buffer does.
    fn read_at(&self, file: &Self::File, from: u64, buffer: &mut [u8]) -> io::Result<()>;
    /// Cuts off what a file has beyond so many octets. Survives a loss of power once it is synced.
    ///
    /// # Errors
    /// The file system's.
    fn truncate(&self, file: &Self::File, octets: u64) -> io::Result<()>;
    /// Appends. Where it fails, a part may be there.
    ///
    /// # Errors
    /// The file system's.
    fn write(&self, file: &mut Self::File, octets: &[u8]) -> io::Result<()>;
    /// Once this returns, what was written survives a loss of power; not yet the file's name.
    ///
    /// # Errors
    /// The file system's.
    fn sync(&self, file: &Self::File) -> io::Result<()>;
    /// Another name for a file.
    ///
    /// # Errors
    /// The file system's; also where the name is taken.
    fn link(&self, path: &Path, name: &Path) -> io::Result<()>;
    /// Renames, and replaces what had the name.
    ///
    /// # Errors
    /// The file system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a name. That it is not there is no error.
    ///
    /// # Errors
    /// The file system's.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Once this returns, the names in the directory survive a loss of power.
    ///
    /// # Errors
    /// The file system's.
    fn sync_directory(&self, directory: &Path) -> io::Result<()>;
    /// All of a file.
    ///
    /// # Errors
    /// The file system's.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// The names in a directory.
    ///
    /// # Errors
    /// The file system's.
    fn names(&self, directory: &Path) -> io::Result<Vec<OsString>>;
    /// The path of the file itself, where symbolic links lead to it.
    ///
    /// # Errors
    /// The file system's.
    fn resolve(&self, path: &Path) -> io::Result<PathBuf>;
}

/// The server's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Files;

impl Disk for Files {
    type File = File;

    fn make_directory(&self, path: &Path) -> io::Result<()> {
        let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) else {
            return Ok(());
        };
        if !above.is_dir() {
            self.make_directory(above)?;
        }
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => self.sync_directory(above),
            Err(_) if path.is_dir() => {
                // A crash may have come between the two. Where it is another's, it is surely there.
                drop(self.sync_directory(above));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn create(&self, path: &Path, like: Option<&Path>) -> io::Result<File> {
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create_new(true).mode(0o600).open(path)?;
        let Some(like) = like else {
            // Whatever the umask.
            file.set_permissions(Permissions::from_mode(0o600))?;
            return Ok(file);
        };
        let (meta, created) = (fs::metadata(like)?, file.metadata()?);
        if (created.uid(), created.gid()) != (meta.uid(), meta.gid()) {
            fchown(&file, Some(meta.uid()), Some(meta.gid()))?;
        }
        file.set_permissions(Permissions::from_mode(meta.mode() & 0o7777))?;
        Ok(file)
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        let nofollow = OFlags::NOFOLLOW.bits().cast_signed();
        OpenOptions::new().read(true).append(true).custom_flags(nofollow).open(path)
    }

    fn append(&self, path: &Path) -> io::Result<File> {
        let nofollow = OFlags::NOFOLLOW.bits().cast_signed();
        let mut options = OpenOptions::new();
        let file =
            options.create(true).append(true).mode(0o600).custom_flags(nofollow).open(path)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        Ok(file)
    }

    fn length(&self, file: &File) -> io::Result<u64> {
        Ok(file.metadata()?.len())
    }

    fn read_at(&self, file: &File, from: u64, buffer: &mut [u8]) -> io::Result<()> {
        file.read_exact_at(buffer, from)
    }

    fn truncate(&self, file: &File, octets: u64) -> io::Result<()> {
        file.set_len(octets)
    }

    fn write(&self, file: &mut File, octets: &[u8]) -> io::Result<()> {
        file.write_all(octets)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn link(&self, path: &Path, name: &Path) -> io::Result<()> {
        fs::hard_link(path, name)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn names(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name())).collect()
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        path.canonicalize()
    }
}

/// Writes a new file; what a crash left under its name is removed. When this returns, the text survives a
/// loss of power once the name does. Where it fails, no file is left.
///
/// # Errors
/// The file system's.
pub fn write_new<D: Disk>(
    disk: &D,
    path: &Path,
    like: Option<&Path>,
    octets: &[u8],
) -> io::Result<D::File> {
    disk.remove(path)?;
    let mut file = disk.create(path, like)?;
    let written = disk.write(&mut file, octets).and_then(|()| disk.sync(&file));
    written.map(|()| file).inspect_err(|_| drop(disk.remove(path)))
}

/// Gives a file other octets: all of them, or it stays as it was. They are written under the name `new` first. They
/// survive a loss of power once the directory is synced.
///
/// # Errors
/// The file system's.
pub fn replace<D: Disk>(disk: &D, path: &Path, new: &Path, octets: &[u8]) -> io::Result<D::File> {
    let file = write_new(disk, new, None, octets)?;
    disk.rename(new, path).inspect_err(|_| drop(disk.remove(new)))?;
    Ok(file)
}
