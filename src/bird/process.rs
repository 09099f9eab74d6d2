//! BIRD's process: its directory, its configuration's file, and how it is checked and started.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, geteuid, pidfd_open, pidfd_send_signal};
use tracing::warn;

use super::{Rendered, kernel_look};
use crate::{netns, users};

/// The user that BIRD runs as where the system has it (Debian's package makes it). BIRD keeps the
/// capabilities that it needs and drops the others.
const USER: &str = "bird";
/// How long BIRD may take to read its configuration.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the kernel may take to end a process that was killed.
const DEATH: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

/// Why BIRD is not there.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The program cannot be run.
    #[error(
        "cannot run {program}: {error}; install BIRD 2 (Debian's bird2), or set bird in [station]"
    )]
    Program {
        /// Its path.
        program: String,
        /// Why.
        error: io::Error,
    },
    /// BIRD does not like what it is given.
    #[error("BIRD refuses what the configuration makes: {0}")]
    Refused(String),
    /// It takes too long.
    #[error("BIRD did not read its configuration within {} s", PATIENCE.as_secs())]
    Late,
    /// Its directory or a file there.
    #[error("{path}: {error}")]
    File {
        /// Its path.
        path: String,
        /// Why.
        error: io::Error,
    },
}

/// Where BIRD is. The directory is root's, so that a compromised BIRD cannot exchange what root is about
/// to open or to give away there, nor the control socket, which BIRD gives to its user by name. What BIRD
/// writes itself is in a directory below, in which root writes nothing.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub program: PathBuf,
    pub directory: PathBuf,
}

impl Place {
    pub fn socket(&self) -> PathBuf {
        self.directory.join("ctl")
    }

    fn config(&self) -> PathBuf {
        self.directory.join("bird.conf")
    }

    fn pid(&self) -> PathBuf {
        own_directory(&self.directory).join("pid")
    }

    /// Writes the configuration's file, whole or not at all, for BIRD's eyes alone.
    pub fn write(&self, text: &str) -> Result<(), ProcessError> {
        let path = self.config();
        let temporary = self.directory.join("bird.conf.new");
        let failed = |error| ProcessError::File { path: path.display().to_string(), error };
        let write = || {
            let user = user();
            let own = user.map_or((None, None), |(uid, gid)| (Some(uid), Some(gid)));
            // BIRD finds its files here, but adds none.
            let mode = if user.is_some() { 0o710 } else { 0o700 };
            directory(&self.directory, (user.map(|_| 0), own.1), mode)?;
            directory(&own_directory(&self.directory), own, 0o700)?;
            // What a crash left may be somebody else's to read.
            match fs::remove_file(&temporary) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
            file.write_all(text.as_bytes())?;
            fchown(&file, own.0, own.1)?;
            fs::rename(&temporary, &path)
        };
        write().map_err(failed)
    }

    /// After BIRD has ended well: removes the socket, which its user cannot.
    pub fn clear(&self) {
        drop(fs::remove_file(self.socket()));
    }

    /// Kills a BIRD that does not answer, and waits until it is gone. The file with its number is its
    /// own to write: what is killed is a process of its user that runs its program, or nothing.
    pub fn kill(&self) -> io::Result<()> {
        let text = fs::read_to_string(self.pid())?;
        let other = || io::Error::new(io::ErrorKind::NotFound, "its process is not there");
        let pid: i32 = text.trim().parse().map_err(|_| other())?;
        let pidfd = pidfd_open(Pid::from_raw(pid).ok_or_else(other)?, PidfdFlags::empty())?;
        let process = Path::new("/proc").join(pid.to_string());
        let owner = user().map_or_else(|| geteuid().as_raw(), |(uid, _)| uid);
        let same_program = fs::read_link(process.join("exe"))? == fs::canonicalize(&self.program)?;
        if !same_program || fs::metadata(&process)?.uid() != owner {
            return Err(other());
        }
        pidfd_send_signal(&pidfd, Signal::KILL)?;
        poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&DEATH))?;
        Ok(())
    }

    fn shut_list(&self) -> PathBuf {
        self.directory.join("shut")
    }

    /// The sessions that were shut when the station ended.
    pub fn shut(&self) -> BTreeSet<String> {
        let text = fs::read_to_string(self.shut_list()).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Keeps the sessions that are shut, also over a restart of the station.
    pub fn keep_shut(&self, protocols: &BTreeSet<String>) {
        let text: String = protocols.iter().map(|protocol| format!("{protocol}\n")).collect();
        let (path, temporary) = (self.shut_list(), self.directory.join("shut.new"));
        let kept = fs::write(&temporary, text).and_then(|()| fs::rename(&temporary, &path));
        if let Err(error) = kept {
            warn!(path = %path.display(), %error, "sessions that are shut will start with the station");
        }
    }

    /// Whether a BIRD died here without clearing up: its routes may still be in the kernel.
    pub fn died(&self) -> bool {
        fs::symlink_metadata(self.socket()).is_ok()
    }

    /// Whether the BIRD that runs here is in another network namespace than this thread: it sees no TAP.
    pub fn is_elsewhere(&self) -> bool {
        // An older station had the file there.
        let files = [self.pid(), self.directory.join("pid")];
        let ids =
            files.iter().filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok());
        ids.into_iter().any(netns::is_elsewhere)
    }

    /// Starts BIRD with the configuration that was written; it goes on without us, in this thread's network
    /// namespace. `recover`: it takes over the routes that a dead one left in the kernel.
    pub fn start(&self, recover: bool) -> Result<(), ProcessError> {
        let mut command = Command::new(&self.program);
        command.arg("-c").arg(self.config()).arg("-s").arg(self.socket());
        command.arg("-P").arg(self.pid());
        if user().is_some() {
            command.args(["-u", USER, "-g", USER]);
        }
        if recover {
            command.arg("-R");
        }
        command.current_dir("/").stdin(Stdio::null());
        finish(self.spawn(&mut command)?, &[])?;
        if recover {
            kernel_look::spawn(self.socket());
        }
        Ok(())
    }

    fn spawn(&self, command: &mut Command) -> Result<Child, ProcessError> {
        command.env_clear().stdout(Stdio::null()).stderr(Stdio::piped()).spawn().map_err(|error| {
            ProcessError::Program { program: self.program.display().to_string(), error }
        })
    }
}

/// Has BIRD read a configuration and forget it.
///
/// # Errors
/// Its refusal; or that it is not there.
pub fn check(program: &Path, rendered: &Rendered) -> Result<(), ProcessError> {
    let place = Place { program: program.to_owned(), directory: PathBuf::new() };
    let mut command = Command::new(program);
    // Not by a file: it holds passwords.
    command.args(["-p", "-c", "/dev/stdin"]).current_dir("/").stdin(Stdio::piped());
    finish(place.spawn(&mut command)?, rendered.text().as_bytes())
}

/// Where BIRD writes: its log and the number of its process.
pub(super) fn own_directory(directory: &Path) -> PathBuf {
    directory.join("run")
}

/// Makes a directory, or makes one that is there its owner's. The one above is root's.
fn directory(path: &Path, owner: (Option<u32>, Option<u32>), mode: u32) -> io::Result<()> {
    match DirBuilder::new().recursive(true).mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
    let directory = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    fchown(&directory, owner.0, owner.1)?;
    directory.set_permissions(Permissions::from_mode(mode))
}

/// Feeds a child, and waits until it has ended well.
fn finish(mut child: Child, input: &[u8]) -> Result<(), ProcessError> {
    let deadline = Instant::now() + PATIENCE;
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    std::thread::scope(|scope| {
        // It need not read it all, nor at once.
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(input)));
        let said = scope.spawn(move || {
            let mut said = Vec::new();
            // A daemon that BIRD becomes closes it.
            let _ = stderr.map(|stderr| stderr.take(1 << 16).read_to_end(&mut said));
            String::from_utf8_lossy(&said).trim().to_owned()
        });
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                _ => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(ProcessError::Late);
                }
            }
        };
        if status.success() {
            return Ok(());
        }
        let said = said.join().unwrap_or_default();
        Err(ProcessError::Refused(if said.is_empty() { status.to_string() } else { said }))
    })
}

/// User and group of BIRD, where we can become them.
fn user() -> Option<(u32, u32)> {
    if !geteuid().is_root() {
        return None;
    }
    users::ids(USER)
}
