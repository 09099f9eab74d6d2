//! The hook: a program of the operator's that is given each event's JSON, one at a time. It cannot hold anything up:
//! it has a time limit, and events that it does not keep up with are lost to it, and counted.

#![allow(unsafe_code)] // CommandExt::pre_exec

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, geteuid, kill_process_group, pidfd_open};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use tracing::{info, warn};

use super::keeper::{Configured, Counts};
use super::{Reader, Record};
use crate::clock::nanoseconds;
use crate::config::model::HookConfig;
use crate::limit::{Rate, TokenBucket};
use crate::users;

/// Events that may wait for the program.
const WAITING: u64 = 1024;
/// Between two looks at the configuration, and at whether the station ends.
const LOOK: Duration = Duration::from_millis(200);
/// Whom the program runs as where root starts it and the configuration names nobody.
const NOBODY: &str = "nobody";

/// Gives events to the program until the stream ends.
pub(super) fn run(mut reader: Reader, configured: &Configured, counts: &Counts) {
    let (started, mut bucket) = (Instant::now(), TokenBucket::default());
    let mut failures: u64 = 0;
    while !reader.is_done() {
        let hook = configured.lock().unwrap_or_else(PoisonError::into_inner).hook.clone();
        let Some(hook) = hook else {
            reader.skip_to(0);
            reader.next(1, LOOK);
            failures = 0;
            continue;
        };
        let skipped = reader.skip_to(WAITING);
        let mut batch = reader.next(1, LOOK);
        if batch.records.is_empty() {
            continue;
        }
        batch.lost += skipped;
        counts.hook_lost.fetch_add(batch.lost, Ordering::Relaxed);
        let missing = batch.missing();
        let rate = Rate::new(hook.per_second, hook.per_second);
        for record in missing.iter().chain(batch.records.iter().map(|record| &**record)) {
            let now = || nanoseconds(started.elapsed());
            while !bucket.take(now(), &rate) {
                std::thread::sleep(Duration::from_millis(5));
            }
            counts.hook_runs.fetch_add(1, Ordering::Relaxed);
            let program = hook.program.display();
            match give(&hook, record) {
                Ok(()) if failures > 0 => {
                    info!(%program, failures, "the hook works again");
                    failures = 0;
                }
                Ok(()) => {}
                Err(error) => {
                    counts.hook_failed.fetch_add(1, Ordering::Relaxed);
                    failures += 1;
                    if failures == 1 {
                        warn!(%program, error, seq = record.seq, "the hook fails: further failures are only counted");
                    }
                }
            }
        }
    }
}

/// Runs the program with one event; what went wrong, in words.
fn give(hook: &HookConfig, record: &Record) -> Result<(), String> {
    let mut event = serde_json::to_vec(record).map_err(|error| error.to_string())?;
    event.push(b'\n');
    let mut child = start(hook)?;
    // Less than a pipe holds (pipe(7)), so that this does not wait; the program need not read it.
    drop(child.stdin.take().map(|mut stdin| stdin.write_all(&event)));
    let limit = Duration::from_secs(hook.timeout_s.into());
    match ended(&mut child, limit) {
        Ok(Some(status)) if status.success() => Ok(()),
        Ok(Some(status)) => Err(format!("it ended with {status}")),
        Ok(None) => Err(format!(
            "it was killed after {} s: hook_timeout_s in [events] gives it more",
            limit.as_secs()
        )),
        Err(error) => Err(format!("cannot wait for it: {error}")),
    }
}

/// Starts the program: without arguments, in a process group of its own, with the pipe alone, as the user who is
/// told or as nobody, and with no capability.
fn start(hook: &HookConfig) -> Result<Child, String> {
    let mut command = Command::new(&hook.program);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").current_dir(Path::new("/"));
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    // SAFETY: between fork and exec the child makes one system call, and allocates nothing.
    unsafe { command.pre_exec(close_others) };
    let own = geteuid();
    let name = match &hook.user {
        Some(name) => Some(&**name),
        None => own.is_root().then_some(NOBODY),
    };
    if let Some(name) = name {
        let ids = users::ids(name);
        let (uid, gid) = ids.ok_or_else(|| {
            format!("there is no user {name:?} in /etc/passwd: name another in hook_user")
        })?;
        if uid != own.as_raw() {
            // It loses all capabilities by that (capabilities(7)).
            command.uid(uid).gid(gid);
            return command.spawn().map_err(|error| cannot_start(&error));
        }
    }
    // Capabilities are a thread's, and what it starts has no more of them.
    std::thread::scope(|scope| {
        let spawn = || {
            let nothing = CapabilitySet::empty();
            let sets =
                CapabilitySets { effective: nothing, permitted: nothing, inheritable: nothing };
            set_capabilities(None, sets)?;
            command.spawn()
        };
        let spawned = scope.spawn(spawn).join();
        let spawned = spawned.unwrap_or_else(|_| Err(io::Error::other("a thread ended")));
        spawned.map_err(|error| cannot_start(&error))
    })
}

/// Has all descriptors but the first three closed at the program's start (close_range(2)), those too that whoever
/// started the station left open.
fn close_others() -> io::Result<()> {
    // SAFETY: the call reads and writes no memory.
    let done = unsafe {
        libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn cannot_start(error: &io::Error) -> String {
    format!(
        "it cannot be started: {error}; it has to be a program that the hook's user may execute"
    )
}

/// Waits for the program, and kills it and what it started once its time is up.
fn ended(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other("it has no number"))?;
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    let limit = Timespec { tv_sec: limit.as_secs().cast_signed(), tv_nsec: 0 };
    let in_time = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&limit))? > 0;
    // What it left behind goes too. Until it is waited for, nobody else has its number.
    let killed = kill_process_group(pid, Signal::KILL);
    if !in_time {
        killed?;
    }
    let status = child.wait()?;
    Ok(in_time.then_some(status))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;

    use super::super::Event;
    use super::super::Ring;
    use super::*;

    struct Lab {
        directory: tempfile::TempDir,
        hook: HookConfig,
    }

    /// A shell script as the hook.
    fn lab(script: &str) -> Lab {
        let directory = tempfile::tempdir().unwrap();
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        let program = directory.path().join("hook");
        let script = script.replace("OUT", &directory.path().join("out").display().to_string());
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        Lab { directory, hook: HookConfig { program, user: None, timeout_s: 5, per_second: 100 } }
    }

    impl Lab {
        fn out(&self) -> String {
            std::fs::read_to_string(self.directory.path().join("out")).unwrap_or_default()
        }
    }

    fn record(seq: u64) -> Record {
        let event = Event::VifUp { vif: format!("v{}", seq % 100), port: "p".into() };
        Record { seq, time_ms: 7, event }
    }

    #[test]
    fn the_program_gets_the_event_and_nothing_else() {
        let lab = lab(
            "{ cat; echo $#; env | cut -d= -f1 | sort | tr '\\n' ' '; ls /proc/$$/fd | tr '\\n' ' '; \
                       grep -E '^Cap(Prm|Eff|Amb)|^NoNew' /proc/self/status | tr '\\n\\t' '  '; pwd; } >OUT",
        );
        // Not closed by itself: as what the station's own parent may have left open.
        let inherited = rustix::io::dup(std::fs::File::open("/dev/null").unwrap()).unwrap();
        give(&lab.hook, &record(7)).unwrap();
        drop(inherited);
        let out = lab.out();
        let (event, rest) = out.split_once('\n').unwrap();
        assert_eq!(serde_json::from_str::<Record>(event).unwrap(), record(7));
        let lines: Vec<&str> = rest.lines().collect();
        assert_eq!(lines[0], "0", "arguments");
        // The shell adds PWD, and _ and the like.
        assert!(!lines[1].contains("HOME") && lines[1].contains("PATH"), "{}", lines[1]);
        let descriptors: Vec<&str> =
            lines[1].split(' ').filter(|w| w.parse::<u8>().is_ok() && w.len() < 4).collect();
        // From 10 on they are the shell's own: the script, and what it redirects.
        assert!(
            descriptors.iter().all(|fd| ["0", "1", "2", "10", "11", "12"].contains(fd)),
            "{out}"
        );
        for set in ["CapPrm", "CapEff", "CapAmb"] {
            assert!(rest.contains(&format!("{set}: 0000000000000000")), "{out}");
        }
        assert!(rest.ends_with("/\n"), "{out}");
    }

    #[test]
    fn one_that_takes_too_long_is_killed_with_what_it_started() {
        let mut lab = lab("sleep 60 & echo $! >OUT; sleep 60");
        lab.hook.timeout_s = 1;
        let start = Instant::now();
        let error = give(&lab.hook, &record(1)).unwrap_err();
        assert!(start.elapsed() < Duration::from_secs(20));
        assert!(error.contains("killed after 1 s"), "{error}");
        let stat = format!("/proc/{}/stat", lab.out().trim());
        let gone = || std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "));
        while !gone() {
            assert!(start.elapsed() < Duration::from_secs(20), "the child lives");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn failures_are_told_apart() {
        let of = |script: &str| give(&lab(script).hook, &record(1));
        assert!(of("exit 3").unwrap_err().contains("exit status: 3"));
        assert_eq!(of("exit 0"), Ok(()), "it need not read");
        let missing = HookConfig { program: "/nowhere/hook".into(), ..lab("").hook };
        assert!(give(&missing, &record(1)).unwrap_err().contains("cannot be started"));
        let stranger = HookConfig { user: Some("no-such-user".into()), ..lab("").hook };
        assert!(give(&stranger, &record(1)).unwrap_err().contains("hook_user"));
    }

    #[test]
    fn one_that_is_slow_loses_the_oldest_and_is_told_and_a_failing_one_stops_nothing() {
        let lab = lab("cat >>OUT; exit 1");
        let (ring, counts) = (Arc::new(Ring::default()), Counts::default());
        let all = WAITING + 500;
        ring.extend((1..=all).map(|seq| Arc::new(record(seq))));
        let configured = Configured::default();
        configured.lock().unwrap().hook = Some(lab.hook.clone());
        let mut reader = Reader::after(ring.clone(), 0);
        // Only the newest few of those that wait, for the test's time.
        reader.next(usize::try_from(all - 5).unwrap(), Duration::ZERO);
        ring.extend((all + 1..=all + 2).map(|seq| Arc::new(record(seq))));
        ring.end();
        run(reader, &configured, &counts);
        assert_eq!(counts.hook_runs.load(Ordering::Relaxed), 7);
        assert_eq!(counts.hook_failed.load(Ordering::Relaxed), 7);
        assert_eq!(lab.out().lines().count(), 7);
        // From the beginning: what is beyond the bound is lost, and that is said first.
        let (ring, counts) = (Arc::new(Ring::default()), Counts::default());
        ring.extend((1..=all).map(|seq| Arc::new(record(seq))));
        let configured = Arc::new(configured);
        let (theirs, reader) = (configured.clone(), Reader::after(ring, 0));
        let counts = Arc::new(counts);
        let counted = counts.clone();
        std::thread::spawn(move || run(reader, &theirs, &counted));
        let start = Instant::now();
        let said = || lab.out().lines().nth(7).map(str::to_owned);
        while said().is_none() && start.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let said: Record = serde_json::from_str(&said().unwrap()).unwrap();
        assert_eq!(said, Record { seq: 500, time_ms: 7, event: Event::Lost { count: 500 } });
        configured.lock().unwrap().hook = None;
        assert_eq!(counts.hook_lost.load(Ordering::Relaxed), 500);
    }
}
