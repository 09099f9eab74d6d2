//! What is drained, on disk: it is no part of the configuration, and outlives the daemon.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tracing::{error, warn};

use crate::admin::protocol::DrainTarget;
use crate::disk::{Disk, write_new};

/// The file's name in the state directory.
const NAME: &str = "drains.json";
/// The version of its form.
const VERSION: u32 = 1;

/// Something that is drained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::daemon) struct Drain {
    #[serde(flatten)]
    pub target: DrainTarget,
    /// Milliseconds since 1970.
    pub since_ms: u64,
    /// It is quiet where no more frames a second pass.
    pub at_most: u64,
    /// Who began it.
    pub uid: Option<u32>,
    pub login_uid: Option<u32>,
    pub sudo_user: Option<String>,
    pub comment: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Content {
    v: u32,
    drains: Vec<Drain>,
}

/// What is drained. A file that cannot be read is kept beside, and nothing is drained then: the log says so.
pub(super) fn read<D: Disk>(disk: &D, directory: &Path) -> Vec<Drain> {
    let path = directory.join(NAME);
    let text = match disk.read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        read => read,
    };
    let parsed = text.and_then(|text| Ok(serde_json::from_slice::<Content>(&text)?));
    match parsed {
        Ok(Content { v: VERSION, drains }) => drains,
        failed => {
            let kept = path.with_extension("damaged");
            let reason = match failed {
                Ok(Content { v, .. }) => format!("it has version {v}"),
                Err(error) => error.to_string(),
            };
            let (file, kept_as) = (path.display(), kept.display());
            error!(%file, %kept_as, reason, "what was drained is not known: nothing is drained now");
            drop(disk.rename(&path, &kept));
            Vec::new()
        }
    }
}

/// Has it on disk: all of it, or what was there before. Once this returns, it survives a loss of power.
pub(super) fn write<D: Disk>(disk: &D, directory: &Path, drains: &[Drain]) -> io::Result<()> {
    disk.make_directory(directory)?;
    let (path, new) = (directory.join(NAME), directory.join(NAME).with_extension("new"));
    let text = serde_json::to_vec(&Content { v: VERSION, drains: drains.to_vec() })?;
    write_new(disk, &new, None, &text)?;
    disk.rename(&new, &path).inspect_err(|_| drop(disk.remove(&new)))?;
    if let Err(error) = disk.sync_directory(directory) {
        // It has its name: who starts now reads it.
        warn!(file = %path.display(), %error, "a loss of power may undo what was drained");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::protocol::DrainScope;
    use crate::disk::failing::{Failing, State, cut_everywhere};

    const DIRECTORY: &str = "/state";

    fn drain(name: &str) -> Drain {
        let target = DrainTarget { scope: DrainScope::Vif, name: Some(name.into()) };
        let (uid, login_uid, sudo_user) = (Some(0), None, Some("ada".to_owned()));
        let comment = Some("order 4711".to_owned());
        Drain { target, since_ms: 5, at_most: 0, uid, login_uid, sudo_user, comment }
    }

    #[test]
    fn it_is_what_was_or_what_is_to_be_whenever_the_power_fails() {
        let (old, new) = (vec![drain("a")], vec![drain("a"), drain("b")]);
        let before = || {
            let disk = Failing::new(State::default(), usize::MAX);
            write(&disk, Path::new(DIRECTORY), &old).unwrap();
            disk.after(0, 0)
        };
        let work = |disk: &Failing| write(disk, Path::new(DIRECTORY), &new).is_ok();
        let disks = cut_everywhere(before, work, |state, _| {
            let disk = Failing::new(state, usize::MAX);
            let found = read(&disk, Path::new(DIRECTORY));
            assert!(found == old || found == new, "{found:?}");
            // What a cut left does not keep the next from being written.
            write(&disk, Path::new(DIRECTORY), &[]).unwrap();
            let after = Failing::new(disk.after(0, 0), usize::MAX);
            assert_eq!(read(&after, Path::new(DIRECTORY)), []);
        });
        assert!(disks > 10, "{disks}");
    }

    #[test]
    fn what_was_written_is_there_and_what_cannot_be_read_is_kept_beside() {
        let disk = Failing::new(State::default(), usize::MAX);
        assert_eq!(read(&disk, Path::new(DIRECTORY)), [], "there was none");
        write(&disk, Path::new(DIRECTORY), &[drain("a")]).unwrap();
        let after = Failing::new(disk.after(0, 0), usize::MAX);
        assert_eq!(read(&after, Path::new(DIRECTORY)), [drain("a")]);
        for text in [r#"{"v":2,"drains":[]}"#, "{", "null"] {
            let path = Path::new(DIRECTORY).join(NAME);
            write_new(&disk, &path, None, text.as_bytes()).unwrap();
            assert_eq!(read(&disk, Path::new(DIRECTORY)), []);
            let kept = path.with_extension("damaged");
            assert_eq!(disk.read(&kept).unwrap(), text.as_bytes());
            disk.remove(&kept).unwrap();
        }
    }
}
