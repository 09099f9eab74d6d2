//! Lists that outlive the daemon and are no part of the configuration: what is drained, and drills.

use std::io;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tracing::{error, warn};

use crate::disk::{Disk, replace};

/// The version of the files' form.
const VERSION: u32 = 1;

/// The file of a list in the state directory.
#[derive(Clone, Debug)]
pub(super) struct Kept<T> {
    path: PathBuf,
    of: PhantomData<fn() -> T>,
}

#[derive(Serialize, Deserialize)]
struct Content<T> {
    v: u32,
    #[serde(alias = "drains")]
    list: Vec<T>,
}

impl<T: Clone + Serialize + DeserializeOwned> Kept<T> {
    /// The file of this name.
    pub fn new(directory: &Path, name: &str) -> Self {
        Kept { path: directory.join(name), of: PhantomData }
    }

    /// The list. A file that cannot be read is kept beside, and the list is empty then: the log says so.
    pub fn read<D: Disk>(&self, disk: &D) -> Vec<T> {
        let text = match disk.read(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
            read => read,
        };
        let parsed = text.and_then(|text| Ok(serde_json::from_slice::<Content<T>>(&text)?));
        match parsed {
            Ok(Content { v: VERSION, list }) => list,
            failed => {
                let kept = self.path.with_extension("damaged");
                let reason = match failed {
                    Ok(Content { v, .. }) => format!("it has version {v}"),
                    Err(error) => error.to_string(),
                };
                let (file, kept_as) = (self.path.display(), kept.display());
                error!(%file, %kept_as, reason, "what it said is not known: the list is empty now");
                drop(disk.rename(&self.path, &kept));
                Vec::new()
            }
        }
    }

    /// Has the list on disk: all of it, or what was there before. Once this returns, it survives a loss of power.
    pub fn write<D: Disk>(&self, disk: &D, list: &[T]) -> Result<(), String> {
        self.try_write(disk, list).map_err(|error| {
            format!("cannot write {}: {error}; nothing has changed", self.path.display())
        })
    }

    fn try_write<D: Disk>(&self, disk: &D, list: &[T]) -> io::Result<()> {
        let directory = self.path.parent().unwrap_or(&self.path);
        disk.make_directory(directory)?;
        let new = self.path.with_extension("new");
        let text = serde_json::to_vec(&Content { v: VERSION, list: list.to_vec() })?;
        replace(disk, &self.path, &new, &text)?;
        if let Err(error) = disk.sync_directory(directory) {
            // It has its name: who starts now reads it.
            warn!(file = %self.path.display(), %error, "a loss of power may undo what was written");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::failing::{Failing, State, cut_everywhere};
    use crate::disk::write_new;

    fn kept() -> Kept<String> {
        Kept::new(Path::new("/state"), "drains.json")
    }

    #[test]
    fn it_is_what_was_or_what_is_to_be_whenever_the_power_fails() {
        let (old, new) = (vec!["a".to_owned()], vec!["a".to_owned(), "b".to_owned()]);
        let before = || {
            let disk = Failing::new(State::default(), usize::MAX);
            kept().write(&disk, &old).unwrap();
            disk.after(0, 0)
        };
        let work = |disk: &Failing| kept().write(disk, &new).is_ok();
        let disks = cut_everywhere(before, work, |state, _| {
            let disk = Failing::new(state, usize::MAX);
            let found = kept().read(&disk);
            assert!(found == old || found == new, "{found:?}");
            // What a cut left does not keep the next from being written.
            kept().write(&disk, &[]).unwrap();
            let after = Failing::new(disk.after(0, 0), usize::MAX);
            assert_eq!(kept().read(&after), [""; 0]);
        });
        assert!(disks > 10, "{disks}");
    }

    #[test]
    fn what_was_written_is_there_and_what_cannot_be_read_is_kept_beside() {
        let disk = Failing::new(State::default(), usize::MAX);
        assert_eq!(kept().read(&disk), [""; 0], "there was none");
        kept().write(&disk, &["a".to_owned()]).unwrap();
        let after = Failing::new(disk.after(0, 0), usize::MAX);
        assert_eq!(kept().read(&after), ["a"]);
        let path = kept().path;
        for text in [r#"{"v":2,"list":[]}"#, "{", "null"] {
            write_new(&disk, &path, None, text.as_bytes()).unwrap();
            assert_eq!(kept().read(&disk), [""; 0]);
            let kept = path.with_extension("damaged");
            assert_eq!(disk.read(&kept).unwrap(), text.as_bytes());
            disk.remove(&kept).unwrap();
        }
    }
}
