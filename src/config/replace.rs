//! Replaces a file so that a crash at any moment leaves the old text or the new one, whole.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// A file that has its new text, with the old one beside it until it is decided which stays.
#[must_use = "the new text stays, and the old one lies beside it"]
pub struct Replaced {
    path: PathBuf,
    old: PathBuf,
}

impl Replaced {
    /// The new text stays.
    pub fn keep(self) {
        // At worst a hidden copy of the old text stays too.
        let _ = std::fs::remove_file(&self.old);
    }

    /// The old text, mode and owner are back. When this returns, they survive a loss of power.
    pub fn take_back(self) -> io::Result<()> {
        std::fs::rename(&self.old, &self.path)?;
        sync_directory(&self.path);
        Ok(())
    }
}

/// Gives a file a new text and keeps its mode and owner. When this returns, the text survives a loss
/// of power. A symbolic link stays one: what it points at is replaced.
pub fn replace(path: &Path, text: &str) -> io::Result<Replaced> {
    let path = path.canonicalize()?;
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file"));
    };
    let hidden = |suffix: &str| {
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.{suffix}", std::process::id()));
        dir.join(hidden)
    };
    let (temporary, old) = (hidden("tmp"), hidden("old"));
    let written = write_like(&path, &temporary, text)
        .and_then(|()| remove_left(&old))
        .and_then(|()| std::fs::hard_link(&path, &old))
        .and_then(|()| std::fs::rename(&temporary, &path));
    if let Err(error) = written {
        // Gone already where nothing could be written.
        let _ = std::fs::remove_file(&temporary);
        let _ = std::fs::remove_file(&old);
        return Err(error);
    }
    sync_directory(&path);
    Ok(Replaced { path, old })
}

/// The new name is there; that it stays is all that may fail now, on a system that is failing.
fn sync_directory(path: &Path) {
    let Some(dir) = path.parent() else { return };
    if let Err(error) = File::open(dir).and_then(|dir| dir.sync_all()) {
        tracing::error!(file = %path.display(), %error, "replaced, but a loss of power may undo it");
    }
}

/// Removes a file of a process that died with the same id.
fn remove_left(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Writes `text` to a new file with the mode and owner of another.
fn write_like(original: &Path, new: &Path, text: &str) -> io::Result<()> {
    let meta = std::fs::metadata(original)?;
    remove_left(new)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(new)?;
    let created = file.metadata()?;
    if (created.uid(), created.gid()) != (meta.uid(), meta.gid()) {
        fchown(&file, Some(meta.uid()), Some(meta.gid()))?;
    }
    file.set_permissions(Permissions::from_mode(meta.mode() & 0o7777))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
