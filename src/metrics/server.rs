//! The server of the page: HTTP/1.1 of the smallest kind, on a thread of its own. Every connection has a bound of time
//! and size, there are few at a time, and whoever reads slowly holds up nobody but itself.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam::channel::Receiver;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing::{info, warn};

use super::classic::classic;
use crate::admin::server::{Groups, bind_socket};
use crate::config::MetricsAddress;

/// Connections at a time.
const CONNECTIONS: usize = 8;
/// The longest request, in octets.
const REQUEST: usize = 8 << 10;
/// For a request to be there.
const ASK: Duration = Duration::from_secs(5);
/// For a client to take its answer: as long as Prometheus itself has patience by default.
const TAKE: Duration = Duration::from_secs(10);
/// Octets written between two looks at the clock.
const PIECE: usize = 64 << 10;
/// How old a page may be, so that many readers cost no more than one.
const FRESH: Duration = Duration::from_millis(500);
/// Until an address that cannot be had is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// How soon another address is noticed.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 300_000_000 };

/// Makes a page, or says that there is none.
type Make = Box<dyn FnMut() -> Option<String> + Send>;

/// Where pages come from.
#[derive(Clone)]
pub struct Pages(Arc<Mutex<Known>>);

struct Known {
    make: Make,
    /// The last page, and when it was made.
    page: Option<(Instant, Arc<str>)>,
}

impl Pages {
    /// Pages made by this.
    pub fn new(make: impl FnMut() -> Option<String> + Send + 'static) -> Pages {
        Pages(Arc::new(Mutex::new(Known { make: Box::new(make), page: None })))
    }

    /// The page as it is now; who asks meanwhile gets the same.
    fn now(&self) -> Option<Arc<str>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, page)) = known.page.as_ref().filter(|(made, _)| made.elapsed() < FRESH) {
            return Some(page.clone());
        }
        let page: Arc<str> = (known.make)()?.into();
        known.page = Some((Instant::now(), page.clone()));
        Some(page)
    }
}

/// A connection with bounds of time.
trait Stream: Read + Write + Send + 'static {
    fn limit_read(&self, left: Duration) -> io::Result<()>;
    fn limit_write(&self, left: Duration) -> io::Result<()>;
}

macro_rules! stream {
    ($($stream:ty),+) => {
        $(impl Stream for $stream {
            fn limit_read(&self, left: Duration) -> io::Result<()> {
                self.set_read_timeout(Some(left))
            }

            fn limit_write(&self, left: Duration) -> io::Result<()> {
                self.set_write_timeout(Some(left))
            }
        })+
    };
}

stream!(TcpStream, UnixStream);

/// Starts the thread, which serves where `addresses` said last, if anywhere. An address that cannot be had is tried
/// again: that is no reason not to forward.
///
/// # Errors
/// The system's, where there is no thread left.
pub fn serve(addresses: Receiver<Option<MetricsAddress>>, pages: Pages) -> io::Result<()> {
    let work = move || {
        let mut told = None;
        let mut next = addresses.recv();
        while let Ok(address) = &next {
            let served = address.as_ref().map_or(Ok(()), |it| listen(it, &pages, &addresses));
            let (Err(error), Some(address)) = (served, address) else {
                (next, told) = (addresses.recv(), None);
                continue;
            };
            let error = error.to_string();
            if told.as_ref() != Some(&error) {
                warn!(%address, error, "no metrics; it is tried again");
                told = Some(error);
            }
            if let Ok(other) = addresses.recv_timeout(AGAIN) {
                next = Ok(other);
            }
        }
    };
    thread::Builder::new().name("metrics".into()).spawn(work)?;
    Ok(())
}

/// Serves until there is another address.
fn listen(
    address: &MetricsAddress,
    pages: &Pages,
    others: &Receiver<Option<MetricsAddress>>,
) -> io::Result<()> {
    match address {
        MetricsAddress::Unix(path) => {
            let listener = bind_socket(path, &Groups::of_system())?;
            info!(%address, "metrics");
            let next = || listener.accept().map(|(stream, _)| stream);
            let served = accept(listener.as_fd(), next, pages, others);
            // Nobody may be looking for it there any more.
            drop(std::fs::remove_file(path));
            served
        }
        MetricsAddress::Tcp(socket) => {
            let listener = TcpListener::bind(socket)?;
            if !socket.ip().is_loopback() {
                warn!(%address, "whoever reaches this address can read the metrics");
            }
            info!(%address, "metrics");
            let next = || listener.accept().map(|(stream, _)| stream);
            accept(listener.as_fd(), next, pages, others)
        }
    }
}

fn accept<S: Stream>(
    listener: BorrowedFd<'_>,
    next: impl Fn() -> io::Result<S>,
    pages: &Pages,
    others: &Receiver<Option<MetricsAddress>>,
) -> io::Result<()> {
    // Counts connections: a clone each, and this one.
    let open = Arc::new(());
    while others.is_empty() {
        let mut ready = [PollFd::from_borrowed_fd(listener, PollFlags::IN)];
        // An interrupted wait is one that found nothing.
        if poll(&mut ready, Some(&LOOK)).unwrap_or(0) == 0 {
            continue;
        }
        let mut stream = match next() {
            Ok(stream) => stream,
            Err(error) => {
                // Out of descriptors, or the client has gone: neither is helped by hurry.
                warn!(%error, "cannot accept a reader of metrics");
                thread::sleep(Duration::from_millis(50));
                continue;
            }
        };
        let slot = open.clone();
        if Arc::strong_count(&open) > CONNECTIONS + 1 {
            // What it asks is taken, or its end would hear of that instead; the answer fits the socket's buffer.
            let _ = stream.limit_read(Duration::from_millis(1));
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.limit_write(Duration::from_millis(1));
            let _ = stream.write_all(&answer("503 Service Unavailable", "", "too many readers\n"));
            continue;
        }
        let pages = pages.clone();
        let spawned = thread::Builder::new().name("metrics-client".into()).spawn(move || {
            // The reader has gone, or is too slow: there is nobody to tell.
            let _ = converse(&mut stream, &pages);
            drop(slot);
        });
        if let Err(error) = spawned {
            warn!(%error, "cannot serve a reader of metrics");
        }
    }
    Ok(())
}

/// One request and its answer.
fn converse(stream: &mut impl Stream, pages: &Pages) -> io::Result<()> {
    let plain = "Content-Type: text/plain; charset=utf-8\r\n";
    let Some(head) = request(stream)? else {
        return write(stream, &answer("431 Request Header Fields Too Large", plain, "too long\n"));
    };
    let octets = match judge(&head) {
        Err((status, message)) => answer(status, plain, message),
        Ok(asked) => match pages.now() {
            None => answer("503 Service Unavailable", plain, "the station is stopping\n"),
            Some(page) => {
                let (kind, page) = match asked.open {
                    true => ("application/openmetrics-text; version=1.0.0", page),
                    false => ("text/plain; version=0.0.4", classic(&page).into()),
                };
                let kind = format!("Content-Type: {kind}; charset=utf-8\r\n");
                let mut octets = answer("200 OK", &kind, &page);
                if asked.head {
                    octets.truncate(octets.len() - page.len());
                }
                octets
            }
        },
    };
    write(stream, &octets)
}

/// The head of a request; `None` where it is too long.
fn request(stream: &mut impl Stream) -> io::Result<Option<String>> {
    let deadline = Instant::now() + ASK;
    let mut head = Vec::new();
    let mut piece = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() >= REQUEST {
            return Ok(None);
        }
        stream.limit_read(left(deadline)?)?;
        match stream.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => head.extend_from_slice(&piece[..n]),
        }
    }
    Ok(Some(String::from_utf8_lossy(&head).into_owned()))
}

/// What a request wants of the page.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    /// Without the page itself.
    head: bool,
    /// As OpenMetrics.
    open: bool,
}

fn judge(head: &str) -> Result<Asked, (&'static str, &'static str)> {
    let (first, fields) = head.split_once("\r\n").unwrap_or((head, ""));
    let words: Vec<&str> = first.split(' ').collect();
    let [method, target, version] = words[..] else {
        return Err(("400 Bad Request", "this is no HTTP\n"));
    };
    if !version.starts_with("HTTP/1.") {
        return Err(("400 Bad Request", "this is no HTTP/1\n"));
    }
    if !matches!(method, "GET" | "HEAD") {
        return Err(("405 Method Not Allowed", "there is only GET\n"));
    }
    if target.split('?').next() != Some("/metrics") {
        return Err(("404 Not Found", "there is only /metrics\n"));
    }
    let accept = fields.lines().filter_map(|line| line.split_once(':'));
    let mut accept = accept.filter(|(name, _)| name.eq_ignore_ascii_case("accept"));
    let open = accept.any(|(_, kinds)| kinds.contains("application/openmetrics-text"));
    Ok(Asked { head: method == "HEAD", open })
}

fn answer(status: &str, fields: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\n{fields}Content-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    [head.as_bytes(), body.as_bytes()].concat()
}

/// Writes within the time that there is for all of it.
fn write(stream: &mut impl Stream, octets: &[u8]) -> io::Result<()> {
    let deadline = Instant::now() + TAKE;
    for mut piece in octets.chunks(PIECE) {
        while !piece.is_empty() {
            stream.limit_write(left(deadline)?)?;
            match stream.write(piece)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                n => piece = &piece[n..],
            }
        }
    }
    Ok(())
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

#[cfg(test)]
mod tests;
