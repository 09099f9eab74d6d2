//! Replaces a file so that a crash at any moment leaves the old text or the new one, whole.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

/// Gives a file a new text and keeps its mode and owner. When this returns, the text survives a loss
/// of power. A symbolic link stays one: what it points at is replaced.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    let path = path.canonicalize()?;
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file"));
    };
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}.tmp", std::process::id()));
    let temporary = dir.join(hidden);
    let written =
        write_like(&path, &temporary, text).and_then(|()| std::fs::rename(&temporary, &path));
    if written.is_err() {
        // Gone already where nothing could be written.
        let _ = std::fs::remove_file(&temporary);
        return written;
    }
    // The new text is there; that it stays is all that may fail now, on a system that is failing.
    if let Err(error) = File::open(dir).and_then(|dir| dir.sync_all()) {
        tracing::error!(file = %path.display(), %error, "replaced, but a loss of power may undo it");
    }
    Ok(())
}

/// Writes `text` to a new file with the mode and owner of another.
fn write_like(original: &Path, new: &Path, text: &str) -> io::Result<()> {
    let meta = std::fs::metadata(original)?;
    // A file of a process that died with the same id.
    match std::fs::remove_file(new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(new)?;
    let created = file.metadata()?;
    if (created.uid(), created.gid()) != (meta.uid(), meta.gid()) {
        fchown(&file, Some(meta.uid()), Some(meta.gid()))?;
    }
    file.set_permissions(Permissions::from_mode(meta.mode() & 0o7777))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
