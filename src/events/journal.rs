//! Events as entries of systemd's journal, by its native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL): a datagram
//! each. `tracing-journald` is not used: it waits where journald does not read.

use std::io::{self, ErrorKind};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::fs::fstat;
use rustix::stdio::stderr;
use serde_json::Value;
use tracing::{info, warn};

use super::keeper::{Configured, Counts};
use super::{Reader, Record};
use crate::config::model::Journal;

/// Where journald listens.
const SOCKET: &str = "/run/systemd/journal/socket";
/// Events taken at once.
const AT_ONCE: usize = 256;
/// Between two looks at whether the station ends.
const LOOK: Duration = Duration::from_millis(200);
/// Until a journald that takes nothing is tried again.
const RETRY: Duration = Duration::from_millis(100);

/// Passes events on until the stream ends.
pub(super) fn run(reader: Reader, configured: &Configured, counts: &Counts) {
    pass_on(reader, configured, counts, Path::new(SOCKET), is_connected());
}

fn pass_on(
    mut reader: Reader,
    configured: &Configured,
    counts: &Counts,
    path: &Path,
    connected: bool,
) {
    let (mut socket, mut absent) = (None, false);
    loop {
        let wanted = match configured.lock().unwrap_or_else(PoisonError::into_inner).journal {
            Journal::Auto => connected,
            Journal::On => true,
            Journal::Off => false,
        };
        let batch = reader.next(AT_ONCE, LOOK);
        for record in batch.records.iter().filter(|_| wanted) {
            match send(&mut socket, path, &entry(record)) {
                Ok(()) => {
                    if std::mem::take(&mut absent) {
                        info!("the journal takes events again");
                    }
                }
                // It is not there, or does not read. What it did not take is kept as long as everything else is.
                Err(error) if waits(&error) => {
                    if !std::mem::replace(&mut absent, true) {
                        warn!(%error, "the journal takes no events: those that are kept are tried again");
                    }
                    reader.back_to(record.seq - 1);
                    std::thread::sleep(RETRY);
                    break;
                }
                Err(error) => {
                    if counts.journal_lost.fetch_add(1, Ordering::Relaxed) == 0 {
                        warn!(%error, "the journal does not take an event: further ones are only counted");
                    }
                }
            }
        }
        if wanted {
            counts.journal_lost.fetch_add(batch.lost, Ordering::Relaxed);
        }
        if reader.is_done() || (absent && reader.has_ended()) {
            return;
        }
    }
}

/// Whether standard error is a stream to the journal: systemd.exec(5), `JOURNAL_STREAM`.
fn is_connected() -> bool {
    let Some(stream) = std::env::var_os("JOURNAL_STREAM") else { return false };
    fstat(stderr()).is_ok_and(|file| *stream == *format!("{}:{}", file.st_dev, file.st_ino))
}

/// Whether it is worth trying again.
fn waits(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::NotFound | ErrorKind::ConnectionRefused
    ) || error.raw_os_error() == Some(libc::ENOBUFS)
}

/// Sends a datagram. Never waits.
fn send(socket: &mut Option<UnixDatagram>, path: &Path, entry: &[u8]) -> io::Result<()> {
    let socket = match socket {
        Some(socket) => socket,
        None => {
            let new = UnixDatagram::unbound()?;
            new.set_nonblocking(true)?;
            socket.insert(new)
        }
    };
    socket.send_to(entry, path).map(drop)
}

/// An event as the journal's fields.
fn entry(record: &Record) -> Vec<u8> {
    let kind = record.event.kind();
    let mut entry = Vec::new();
    let mut field = |name: &str, value: &str| {
        entry.extend(name.bytes());
        if value.contains('\n') {
            entry.push(b'\n');
            entry.extend((value.len() as u64).to_le_bytes());
        } else {
            entry.push(b'=');
        }
        entry.extend(value.bytes());
        entry.push(b'\n');
    };
    field("MESSAGE", &record.event.to_string());
    field("MESSAGE_ID", kind.message_id());
    field("PRIORITY", &(kind.severity() as u8).to_string());
    field("SYSLOG_IDENTIFIER", "stationd");
    field("STATION_EVENT", kind.name());
    field("STATION_SEQ", &record.seq.to_string());
    field("STATION_TIME_MS", &record.time_ms.to_string());
    // Strings and numbers always have a JSON.
    let Ok(Value::Object(fields)) = serde_json::to_value(&record.event) else { return entry };
    for (name, value) in fields.iter().filter(|(name, _)| *name != "kind") {
        let text = match value {
            Value::Null => continue,
            Value::String(text) => text.clone(),
            Value::Array(words) => {
                words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
            }
            other => other.to_string(),
        };
        field(&format!("STATION_{}", name.to_uppercase()), &text);
    }
    entry
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::super::{Event, Ring};
    use super::*;

    fn record(seq: u64, reason: &str) -> Record {
        let event = Event::PortRepair { port: "p0".into(), reason: reason.into(), repairs: 2 };
        Record { seq, time_ms: 1_795_000_000_123, event }
    }

    #[test]
    fn an_entry_has_a_field_for_each_of_the_events() {
        let text = String::from_utf8(entry(&record(7, "a=b"))).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for line in [
            "PRIORITY=4",
            "STATION_EVENT=port_repair",
            "STATION_SEQ=7",
            "STATION_TIME_MS=1795000000123",
            "STATION_PORT=p0",
            "STATION_REASON=a=b",
            "STATION_REPAIRS=2",
        ] {
            assert!(lines.contains(&line), "{line} is not in {text}");
        }
        assert!(!text.contains("STATION_KIND"), "{text}");
        // A value of two lines comes with its length, so that it makes no field of its own.
        let entry = entry(&record(7, "x\nPRIORITY=0"));
        let piece = b"STATION_REASON\n\x0c\0\0\0\0\0\0\0x\nPRIORITY=0\n";
        assert!(entry.windows(piece.len()).any(|window| window == piece));
    }

    /// The test is journald: it comes late, reads nothing for a while, and gets all of them in order.
    #[test]
    fn a_journald_that_is_late_or_slow_gets_every_event_and_nobody_waits_for_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let (ring, counts) = (Arc::new(Ring::default()), Arc::new(Counts::default()));
        let configured = Configured::default();
        configured.lock().unwrap().journal = Journal::On;
        let reader = Reader::after(ring.clone(), 0);
        let (theirs, counted) = (path.clone(), counts.clone());
        let thread = std::thread::spawn(move || {
            pass_on(reader, &configured, &counted, &theirs, false);
        });
        ring.extend((1..=2000).map(|seq| Arc::new(record(seq, "x"))));
        std::thread::sleep(Duration::from_millis(150));
        let journald = UnixDatagram::bind(&path).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        let mut entry = [0; 4096];
        journald.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        for seq in 1..=2000 {
            let octets = journald.recv(&mut entry).unwrap();
            let text = String::from_utf8_lossy(&entry[..octets]);
            assert!(text.contains(&format!("\nSTATION_SEQ={seq}\n")), "{seq}: {text}");
        }
        assert_eq!(counts.journal_lost.load(Ordering::Relaxed), 0);
        // Dead at the end: the station ends all the same.
        drop(journald);
        ring.extend([Arc::new(record(2001, "x"))]);
        ring.end();
        let start = Instant::now();
        thread.join().unwrap();
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}
