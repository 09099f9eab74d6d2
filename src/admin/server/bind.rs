//! Makes and removes the socket file.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::Groups;

/// A listener on `path` with mode 0660 for `groups`, in a directory with mode 0755 that is made if needed. A socket
/// file that a dead process left is replaced; one that answers is not.
///
/// # Errors
/// That another process answers there, or the system's.
pub fn bind(path: &Path, groups: &Groups) -> io::Result<UnixListener> {
    if let Some(dir) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(dir)?;
    }
    match fs::symlink_metadata(path) {
        Ok(meta) if !meta.file_type().is_socket() => {
            let message = format!("{} exists and is not a socket", path.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
        }
        Ok(_) if UnixStream::connect(path).is_ok() => {
            let message = format!("another process answers on {}", path.display());
            return Err(io::Error::new(io::ErrorKind::AddrInUse, message));
        }
        _ => {}
    }
    // Made under another name first, so that the file never has the mode of the umask under its own,
    // and so that replacing a dead one leaves no gap.
    let temporary = temporary(path);
    let _ = fs::remove_file(&temporary);
    let listener = UnixListener::bind(&temporary)?;
    fs::set_permissions(&temporary, Permissions::from_mode(0o660))
        .map(|()| groups.admit(&temporary))
        .and_then(|()| fs::rename(&temporary, path))
        .inspect_err(|_| drop(fs::remove_file(&temporary)))?;
    Ok(listener)
}

/// Removes the socket file unless another process has replaced it. The name that a socket was bound
/// to stays with it when the file is renamed, so it tells our file's connections from others'.
pub(super) fn unlink(path: &Path, listener: &UnixListener) {
    let bound = listener.local_addr().ok().and_then(|ours| ours.as_pathname().map(Path::to_owned));
    let answering = UnixStream::connect(path).and_then(|stream| stream.peer_addr()).ok();
    let answering = answering.and_then(|addr| addr.as_pathname().map(Path::to_owned));
    if bound.is_some() && bound == answering {
        let _ = fs::remove_file(path);
    }
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    name.into()
}
