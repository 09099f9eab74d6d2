//! Replaces a file so that a crash at any moment leaves the old text or the new one, whole.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use crate::disk::{Disk, Files, write_new};

/// A file that has its new text, with the old one beside it until it is decided which stays.
#[must_use = "the new text stays, and the old one lies beside it"]
pub struct Replaced<D = Files> {
    disk: D,
    path: PathBuf,
    old: PathBuf,
}

impl<D: Disk> Replaced<D> {
    /// The new text stays.
    pub fn keep(self) {
        // At worst a hidden copy of the old text stays too, until the next start.
        let _ = self.disk.remove(&self.old);
    }

    /// The new text stays, and the old one beside it under another name; which.
    ///
    /// # Errors
    /// The file system's.
    pub fn keep_both(self, suffix: &str) -> io::Result<PathBuf> {
        let mut name = self.path.clone().into_os_string();
        name.push(suffix);
        self.disk.rename(&self.old, Path::new(&name))?;
        Ok(name.into())
    }

    /// The old text, mode and owner are back. When this returns, they survive a loss of power.
    ///
    /// # Errors
    /// The file system's.
    pub fn take_back(self) -> io::Result<()> {
        self.disk.rename(&self.old, &self.path)?;
        sync_directory(&self.disk, &self.path);
        Ok(())
    }
}

/// Gives a file a new text and keeps its mode and owner. When this returns, the text survives a loss
/// of power. A symbolic link stays one: what it points at is replaced.
///
/// # Errors
/// The file system's. The file is as it was.
pub fn replace(path: &Path, text: &str) -> io::Result<Replaced> {
    replace_on(Files, path, text)
}

pub(super) fn replace_on<D: Disk>(disk: D, path: &Path, text: &str) -> io::Result<Replaced<D>> {
    let path = disk.resolve(path)?;
    let [temporary, old] = hidden(&path)?;
    let written = write_new(&disk, &temporary, Some(&path), text.as_bytes())
        .and_then(|_| disk.remove(&old))
        .and_then(|()| disk.link(&path, &old))
        .and_then(|()| disk.rename(&temporary, &path));
    if let Err(error) = written {
        // Gone already where nothing could be written.
        let _ = disk.remove(&temporary);
        let _ = disk.remove(&old);
        return Err(error);
    }
    sync_directory(&disk, &path);
    Ok(Replaced { disk, path, old })
}

/// Removes what a replacement left that did not come to its end: both texts may hold secrets.
pub(super) fn remove_left<D: Disk>(disk: &D, path: &Path) -> io::Result<()> {
    let path = disk.resolve(path)?;
    hidden(&path)?.iter().try_for_each(|left| disk.remove(left))
}

/// The names of the new text and of the old one while a file is replaced.
fn hidden(path: &Path) -> io::Result<[PathBuf; 2]> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file"));
    };
    Ok(["new", "old"].map(|suffix| {
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".stationd-{suffix}"));
        dir.join(hidden)
    }))
}

/// The new name is there; that it stays is all that may fail now, on a system that is failing.
fn sync_directory<D: Disk>(disk: &D, path: &Path) {
    let Some(dir) = path.parent() else { return };
    if let Err(error) = disk.sync_directory(dir) {
        tracing::error!(file = %path.display(), %error, "replaced, but a loss of power may undo it");
    }
}
