//! Messages in files (RFC 5655): each begins with templates and names, so that each can be read by itself.
//!
//! A file is written under a name that ends in `.part`, and is called `.ipfix` once it is whole.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::carrier::Carrier;

/// A file ends after so long, or with so many octets, a part of what all have.
const LASTS: Duration = Duration::from_secs(300);
const PART: u64 = 16;
const WHOLE: &str = "ipfix";
const BEGUN: &str = "part";

pub(super) struct Files {
    directory: PathBuf,
    /// Octets of all files, at most.
    most: u64,
    open: Option<Open>,
}

struct Open {
    file: File,
    /// Without what tells that it is not whole.
    path: PathBuf,
    octets: u64,
    /// Flows in it. A file without any does not stay.
    flows: u64,
    since: Instant,
}

impl Files {
    pub fn new(directory: PathBuf, most: u64) -> Files {
        Files { directory, most, open: None }
    }

    /// The whole files, oldest first, with their octets.
    fn whole(&self) -> io::Result<Vec<(PathBuf, u64)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == WHOLE) {
                let octets = fs::metadata(&path)?.len();
                files.push((path, octets));
            }
        }
        // Their names are times.
        files.sort();
        Ok(files)
    }

    /// Deletes the oldest files, so that another one has room.
    fn prune(&self) -> io::Result<()> {
        let files = self.whole()?;
        let mut octets: u64 = files.iter().map(|(_, octets)| octets).sum();
        for (path, own) in files {
            if octets + self.most / PART <= self.most {
                break;
            }
            fs::remove_file(path)?;
            octets -= own;
        }
        Ok(())
    }

    /// Files that a station left as it ended are whole too: each message was written at once.
    fn adopt(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == BEGUN) {
                fs::rename(&path, path.with_extension(""))?;
            }
        }
        Ok(())
    }
}

impl Carrier for Files {
    fn open(&mut self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        self.adopt()?;
        self.prune()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let path = self.directory.join(format!("{}.{WHOLE}", now.as_millis()));
        let file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(begun(&path))?;
        self.open = Some(Open { file, path, octets: 0, flows: 0, since: Instant::now() });
        Ok(())
    }

    fn send(&mut self, message: &[u8], flows: u32, _: &AtomicBool) -> io::Result<()> {
        let Some(open) = &mut self.open else { return Err(io::ErrorKind::NotConnected.into()) };
        let written = open.file.write_all(message);
        match written {
            Ok(()) => {
                open.octets += message.len() as u64;
                open.flows += u64::from(flows);
            }
            // No part of a message stays.
            Err(_) => open.file.set_len(open.octets)?,
        }
        written
    }

    fn close(&mut self) {
        if let Some(Open { path, flows, .. }) = self.open.take() {
            let begun = begun(&path);
            // Where that fails, the next file's beginning does it.
            let _ = if flows > 0 { fs::rename(begun, path) } else { fs::remove_file(begun) };
        }
    }

    fn is_over(&self) -> bool {
        let is_full = |open: &Open| {
            open.octets >= self.most / PART || open.flows > 0 && open.since.elapsed() >= LASTS
        };
        self.open.as_ref().is_some_and(is_full)
    }
}

fn begun(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(BEGUN);
    PathBuf::from(name)
}
