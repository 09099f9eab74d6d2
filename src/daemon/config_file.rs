//! The configuration file, as changes find and leave it.

use tracing::{error, warn};

use super::change::Changes;
use crate::admin::protocol::{ErrorKind, Refusal};
use crate::disk::{Disk, Files};
use crate::history::{Replaced, replace};

impl Changes {
    /// Refuses where the file is not what runs.
    pub(super) fn unchanged(&self, text: &str) -> Result<(), Refusal> {
        match std::fs::read_to_string(&self.file) {
            Ok(found) if found == text => Ok(()),
            Ok(_) => {
                let message = "the configuration file has changed since it was loaded: \
                               `stationctl reload` first, or put it back (`stationctl config show --secrets`)";
                Err(Refusal::new(ErrorKind::Conflict, message))
            }
            Err(error) => Err(self.cannot("read", &error)),
        }
    }

    /// Has the text on disk: in the file, where it is not there already.
    pub(super) fn write(
        &self,
        text: &str,
        write: bool,
        running: &str,
    ) -> Result<Option<Replaced>, Refusal> {
        if write && text != running {
            let written = replace(&self.file, text);
            return written.map(Some).map_err(|error| self.cannot("write", &error));
        }
        // Another hand wrote it: it may not be on disk yet.
        let synced = std::fs::File::open(&self.file).and_then(|file| file.sync_all());
        synced.map_err(|error| self.cannot("write", &error))?;
        let (file, directory) = (self.file.display(), self.file.parent().unwrap_or(&self.file));
        if let Err(error) = Files.sync_directory(directory) {
            error!(%file, %error, "a loss of power may undo what was written into it");
        }
        Ok(None)
    }

    /// The file has the new text for good, or the old one again. What another hand had written into it stays
    /// beside it.
    pub(super) fn settle_file(
        &self,
        written: Option<Replaced>,
        done: bool,
        displaced: Option<u64>,
    ) {
        let Some(written) = written else { return };
        let file = self.file.display();
        if !done {
            if let Err(error) = written.take_back() {
                error!(%file, %error, "cannot take a refused change back");
            }
            return;
        }
        match displaced {
            None => written.keep(),
            Some(number) => match written.keep_both(&format!(".edited-{number}")) {
                Ok(kept) => {
                    warn!(%file, kept = %kept.display(), "the file had been edited: what it had is kept")
                }
                Err(error) => {
                    error!(%file, %error, "the file had been edited, and what it had is lost")
                }
            },
        }
    }

    pub(super) fn cannot(&self, what: &str, error: &std::io::Error) -> Refusal {
        let message =
            format!("cannot {what} {}: {error}; nothing has changed", self.file.display());
        Refusal::new(ErrorKind::Internal, message)
    }
}
