use std::path::PathBuf;

use crossbeam::channel::{Sender, unbounded};

use super::*;

/// A server on a socket of its own, whose pages count how often they are made.
struct Served {
    _directory: tempfile::TempDir,
    path: PathBuf,
    addresses: Sender<Option<MetricsAddress>>,
}

impl Served {
    fn of(page: &str) -> Served {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("metrics.sock");
        let (page, mut made) = (page.to_owned(), 0);
        let pages = Pages::new(move || {
            made += 1;
            Some(format!("{page}made_total {made}\n# EOF\n"))
        });
        let (addresses, its) = unbounded();
        addresses.send(Some(MetricsAddress::Unix(path.clone()))).unwrap();
        serve(its, pages).unwrap();
        while UnixStream::connect(&path).is_err() {
            thread::sleep(Duration::from_millis(5));
        }
        Served { _directory: directory, path, addresses }
    }

    fn connect(&self) -> UnixStream {
        UnixStream::connect(&self.path).unwrap()
    }

    fn ask(&self, request: &str) -> String {
        let mut stream = self.connect();
        // One that is sent away may be so before it has asked.
        let _ = stream.write_all(request.as_bytes());
        let mut octets = Vec::new();
        let _ = stream.read_to_end(&mut octets);
        String::from_utf8(octets).unwrap()
    }
}

#[test]
fn the_page_comes_in_the_format_that_is_asked_for() {
    let served = Served::of("# TYPE made counter\n");
    let open = served
        .ask("GET /metrics HTTP/1.1\r\naccept: application/openmetrics-text;version=1.0.0\r\n\r\n");
    assert!(
        open.starts_with(
            "HTTP/1.1 200 OK\r\nContent-Type: application/openmetrics-text; version=1.0.0"
        ),
        "{open}"
    );
    assert!(open.ends_with("\r\n\r\n# TYPE made counter\nmade_total 1\n# EOF\n"), "{open}");
    let plain = served.ask("GET /metrics?x=1 HTTP/1.0\r\nAccept: */*\r\n\r\n");
    assert!(plain.contains("Content-Type: text/plain; version=0.0.4"), "{plain}");
    assert!(plain.contains("# TYPE made_total counter\nmade_total "), "{plain}");
    let head = served.ask("HEAD /metrics HTTP/1.1\r\n\r\n");
    assert!(head.contains("200 OK") && head.ends_with("\r\n\r\n"), "{head}");
}

#[test]
fn what_is_no_question_is_refused() {
    let served = Served::of("");
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", "404"),
        ("POST /metrics HTTP/1.1\r\n\r\n", "405"),
        ("GET /metrics SPDY/1\r\n\r\n", "400"),
        ("\r\n\r\n", "400"),
    ] {
        assert!(served.ask(request).starts_with(&format!("HTTP/1.1 {status} ")), "{request}");
    }
    let long = format!("GET /metrics HTTP/1.1\r\nx: {}", "y".repeat(REQUEST));
    let mut stream = served.connect();
    // It may close before all of it is sent.
    let _ = stream.write_all(long.as_bytes());
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 431 "), "{text}");
}

#[test]
fn who_does_not_read_or_ask_holds_up_nobody() {
    // More than any socket's buffer takes.
    let served = Served::of(&"unread 1\n".repeat(1 << 19));
    let slow: Vec<UnixStream> = (0..CONNECTIONS / 2).map(|_| served.connect()).collect();
    for mut stream in &slow {
        stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    }
    let silent: Vec<UnixStream> = (0..CONNECTIONS / 2 - 1).map(|_| served.connect()).collect();
    let open = "GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text\r\n\r\n";
    // Those before may still be closing their connections.
    let end = Instant::now() + Duration::from_secs(20);
    while !served.ask(open).ends_with("# EOF\n") {
        assert!(Instant::now() < end, "there is room for one more");
        thread::sleep(Duration::from_millis(10));
    }
    let last = served.connect();
    let full = Instant::now();
    while !served.ask(open).starts_with("HTTP/1.1 503 ") {
        assert!(full.elapsed() < Duration::from_secs(3), "the last connection fills it");
        thread::sleep(Duration::from_millis(10));
    }
    // Each has its time, and then there is room again.
    while !served.ask(open).ends_with("# EOF\n") {
        assert!(full.elapsed() < ASK + TAKE, "they are sent away in time");
        thread::sleep(Duration::from_millis(50));
    }
    drop((slow, silent, last));
}

#[test]
fn pages_are_made_once_for_many_readers() {
    let mut made = 0;
    let pages = Pages::new(move || {
        made += 1;
        Some(made.to_string())
    });
    assert_eq!((pages.now().as_deref(), pages.now().as_deref()), (Some("1"), Some("1")));
    thread::sleep(FRESH);
    assert_eq!(pages.now().as_deref(), Some("2"));
}

#[test]
fn it_serves_where_it_was_told_last() {
    let served = Served::of("a 1\n");
    let other = served.path.with_file_name("other.sock");
    served.addresses.send(Some(MetricsAddress::Unix(other.clone()))).unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    while UnixStream::connect(&other).is_err() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(5));
    }
    assert!(!served.path.exists(), "where it was");
    served.addresses.send(None).unwrap();
    while other.exists() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(5));
    }
    assert!(!other.exists() && !served.path.exists());
}
