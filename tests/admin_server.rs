//! The admin socket against clients that are right, wrong, slow and many.
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests

#[path = "common/requests.rs"]
mod requests;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use station::admin::answer::{Answer, Piece};
use station::admin::client;
use station::admin::protocol::{Apply, ErrorKind, MAX_FILE, Request, Right, Terms};
use station::admin::rows::{ChangeResult, Labels, RouteRow, VrfRow};
use station::admin::server::{
    Call, Groups, Limits, MAX_CONNECTIONS, MAX_OWN, QUEUE, Rounds, Server,
};
use station::events::Reporter;
use station::tables::VrfKind;

const LIMITS: Limits = Limits {
    request: Duration::from_millis(300),
    idle: Duration::from_millis(1500),
    first: Duration::from_millis(1000),
    write: Duration::from_millis(500),
    answer: Duration::from_millis(800),
    hung: Duration::from_millis(400),
};

/// Streams that run now.
static RUNNING: AtomicUsize = AtomicUsize::new(0);

struct Runs;

impl Runs {
    fn begin() -> Runs {
        RUNNING.fetch_add(1, SeqCst);
        Runs
    }
}

impl Drop for Runs {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, SeqCst);
    }
}

/// A server with a control thread that answers a few requests.
struct Station {
    _server: Server,
    _dir: tempfile::TempDir,
    path: PathBuf,
}

fn control(call: Call) {
    let answer = match call.request {
        Request::ShowVrfs => Answer::rows(vec![VrfRow {
            name: "vpc-a".into(),
            labels: Labels::default(),
            kind: VrfKind::Vpc,
            vifs: 1,
            ipv4_routes: 2,
            ipv6_routes: 3,
        }]),
        Request::ShowRoutes(filter) => Answer::rows((0..100_000_u32).map(move |i| RouteRow {
            vrf: filter.vrf.clone(),
            prefix: ipnet::IpNet::new(std::net::Ipv4Addr::from_bits(i << 8).into(), 24).unwrap(),
            origin: "static".into(),
            action: "forward".into(),
            via: Vec::new(),
        })),
        Request::ShowPorts => Answer::rows(Vec::<VrfRow>::new()),
        Request::ClearCounters => {
            Answer::result(ChangeResult { generation: 1, ..ChangeResult::default() })
        }
        // The control thread is gone when the client has the answer, and not before.
        Request::Stop { .. } => {
            let result = ChangeResult { generation: 2, ..ChangeResult::default() };
            let (sender, then) = crossbeam::channel::bounded(1);
            call.reply
                .send(Answer::Last(result.into(), Box::new(move || sender.send(()).unwrap())));
            return then.recv().unwrap();
        }
        // Says what came, and from whom.
        Request::ConfigApply(_) => {
            let notes = vec![call.text, format!("{:?}", call.terms), format!("{:?}", call.author)];
            Answer::result(ChangeResult { notes, ..ChangeResult::default() })
        }
        // A row every 20 ms, for as long as the client wants; it is counted as long as it runs.
        Request::ShowConsistency => {
            let runs = Runs::begin();
            Answer::Stream(Box::new(move |stop| {
                let _ = &runs;
                thread::sleep(Duration::from_millis(20));
                let row = VrfRow {
                    name: if stop { "last" } else { "more" }.into(),
                    labels: Labels::default(),
                    kind: VrfKind::Vpc,
                    vifs: 0,
                    ipv4_routes: 0,
                    ipv6_routes: 0,
                };
                Piece { rows: vec![row.into()], last: stop }
            }))
        }
        // Is never answered.
        Request::ShowWorkers => return std::mem::forget(call.reply),
        // Is dropped unanswered.
        Request::ShowNeighbors => return,
        _ => Answer::refused(ErrorKind::NotFound, "nothing here"),
    };
    call.reply.send(answer);
}

fn station() -> Station {
    station_of(Groups::default())
}

fn station_of(groups: Groups) -> Station {
    station_by(groups, control)
}

/// A server with another control thread.
fn station_by(groups: Groups, mut control: impl FnMut(Call) + Send + 'static) -> Station {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run/station/stationd.sock");
    let (sender, receiver) = crossbeam::channel::bounded::<Call>(QUEUE);
    let rounds = Rounds::default();
    let counted = rounds.clone();
    thread::spawn(move || {
        loop {
            match receiver.recv_timeout(Duration::from_millis(20)) {
                Ok(call) => control(call),
                Err(error) if error.is_timeout() => {}
                Err(_) => return,
            }
            counted.count();
        }
    });
    let server = Server::bind(&path, groups).unwrap();
    let server = server.serve(sender, rounds, LIMITS, Reporter::nowhere()).unwrap();
    Station { _server: server, _dir: dir, path }
}

struct Client(BufReader<UnixStream>);

impl Station {
    fn client(&self) -> Client {
        Client(BufReader::new(UnixStream::connect(&self.path).unwrap()))
    }
}

impl Client {
    fn send(&mut self, text: &[u8]) {
        self.0.get_mut().write_all(text).unwrap();
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON: {line:?}"))
    }

    fn ask(&mut self, request: &str) -> Value {
        self.send(format!("{{\"v\":1,\"request\":\"{request}\"}}\n").as_bytes());
        self.line()
    }

    fn error_kind(&mut self) -> String {
        self.line()["error"]["kind"].as_str().unwrap_or_default().to_owned()
    }

    /// Nothing more comes.
    fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        // A connection that is closed before all was read is reset.
        self.0.read_to_end(&mut rest).is_ok_and(|n| n == 0)
            || self.0.get_mut().write_all(b"x").is_err()
    }
}

#[test]
fn answers_are_rows_results_or_errors() {
    let station = station();
    let mut client = station.client();
    let answer = client.ask("show_vrfs");
    assert_eq!(
        answer.to_string(),
        r#"{"end":true,"rows":[{"circuit":null,"customer":null,"description":null,"ipv4_routes":2,"ipv6_routes":3,"kind":"vpc","name":"vpc-a","vifs":1}],"v":1}"#
    );
    assert_eq!(client.ask("show_ports").to_string(), r#"{"end":true,"v":1}"#);
    assert_eq!(client.ask("clear_counters")["result"]["generation"], 1);
    assert_eq!(client.ask("stop")["result"]["generation"], 2);
    assert_eq!(client.ask("show_vifs")["error"]["kind"], "not_found");
    assert_eq!(client.ask("show_neighbors")["error"]["kind"], "internal");
}

#[test]
fn a_control_thread_that_hangs_is_said_and_what_it_may_still_do() {
    let (go_on, goes_on) = crossbeam::channel::bounded::<()>(1);
    let (carry_out, carried_out) = crossbeam::channel::bounded(1);
    let station = station_by(Groups::default(), move |call| {
        match call.request {
            Request::ShowPorts => goes_on.recv().unwrap(),
            Request::ClearCounters => carry_out.send(()).unwrap(),
            _ => {}
        }
        control(call);
    });
    let said = |line: Value| {
        assert_eq!(line["error"]["kind"], "timeout");
        line["error"]["message"].as_str().unwrap().to_owned()
    };
    let hangs = "the control thread has not gone round for 0.4 s: ";
    let began = Instant::now();
    let message = said(station.client().ask("show_ports"));
    assert_eq!(message, format!("{hangs}it does not answer"));
    let message = said(station.client().ask("clear_counters"));
    let after = "this may still be done, and committed: look whether it is before you try again";
    assert_eq!(message, format!("{hangs}{after}"));
    assert!(began.elapsed() >= 2 * LIMITS.hung * 9 / 10, "{:?}", began.elapsed());
    assert!(carried_out.is_empty());
    // It goes on, and does it.
    go_on.send(()).unwrap();
    carried_out.recv_timeout(Duration::from_secs(10)).expect("what was asked for is done");
    assert_eq!(station.client().ask("show_vrfs")["end"], true);
    // One that is slow but goes round is waited for as long as before.
    let message = said(station.client().ask("show_workers"));
    assert_eq!(message, "the station did not answer in time");
}

#[test]
fn a_stream_ends_with_its_client() {
    let station = station();
    // Who has enough closes the sending half, and gets what is left and the end.
    let mut client = station.client();
    assert_eq!(client.ask("show_consistency").to_string(), r#"{"v":1}"#, "it has begun");
    assert_eq!(client.line()["rows"][0]["name"], "more");
    client.0.get_mut().shutdown(std::net::Shutdown::Write).unwrap();
    let last = loop {
        let line = client.line();
        if line["end"] == true {
            break line;
        }
    };
    assert_eq!(last["rows"][0]["name"], "last");
    // Who is gone: the stream is dropped, also that of a client that did not read.
    drop(client);
    let mut gone = station.client();
    gone.ask("show_consistency");
    drop(gone);
    let mut asleep = station.client();
    asleep.ask("show_consistency");
    let deadline = Instant::now() + Duration::from_secs(60);
    while RUNNING.load(SeqCst) > 1 {
        assert!(Instant::now() < deadline, "{} streams run", RUNNING.load(SeqCst));
        thread::sleep(Duration::from_millis(20));
    }
    drop(asleep);
    while RUNNING.load(SeqCst) > 0 {
        assert!(Instant::now() < deadline, "the stream of nobody runs");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn long_answers_stream_in_lines() {
    let station = station();
    let mut client = station.client();
    client.send(b"{\"v\":1,\"request\":\"show_routes\",\"vrf\":\"a\"}\n");
    let (mut rows, mut lines) = (0, 0);
    loop {
        let line = client.line();
        rows += line["rows"].as_array().map_or(0, Vec::len);
        lines += 1;
        assert!(line.to_string().len() < 64 << 10);
        if line["end"] == true {
            break;
        }
    }
    assert_eq!(rows, 100_000);
    assert!(lines > 100, "{lines}");
}

#[test]
fn garbage_and_wrong_versions_are_refused_and_the_connection_lives() {
    let station = station();
    let mut client = station.client();
    for (text, kind) in [
        (&b"garbage\n"[..], "invalid"),
        (b"\n", "invalid"),
        (b"\xff\x00\xfe\n", "invalid"),
        (b"{\"v\":1,\"request\":\"format_disk\"}\n", "invalid"),
        (b"{\"v\":9,\"request\":\"show_vrfs\"}\n", "version"),
    ] {
        client.send(text);
        assert_eq!(client.error_kind(), kind);
    }
    assert_eq!(client.ask("show_vrfs")["end"], true);
}

#[test]
fn an_oversized_request_is_refused_at_64_kib() {
    let station = station();
    let mut client = station.client();
    let fits = format!("{{\"v\":1,\"request\":\"show_vrfs\"{}}}\n", " ".repeat((64 << 10) - 30));
    assert_eq!(fits.len(), 64 << 10);
    client.send(fits.as_bytes());
    assert_eq!(client.line()["end"], true);
    let mut client = station.client();
    // The station may close before it has taken everything.
    let _ = client.0.get_mut().write_all(&vec![b'a'; 1 << 20]);
    assert_eq!(client.error_kind(), "too_large");
    assert!(client.is_closed());
}

#[test]
fn partial_and_slow_requests_time_out() {
    let station = station();
    let mut client = station.client();
    let started = Instant::now();
    client.send(b"{\"v\":1,");
    assert_eq!(client.error_kind(), "timeout");
    assert!(started.elapsed() >= LIMITS.request);
    assert!(client.is_closed());

    let mut client = station.client();
    let started = Instant::now();
    for _ in 0..20 {
        // A byte now and then does not buy more time.
        if client.0.get_mut().write_all(b" ").is_err() {
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(client.error_kind(), "timeout");
    assert!(started.elapsed() < LIMITS.request * 6);
}

#[test]
fn an_idle_connection_may_wait_longer_than_a_request_but_not_forever() {
    let station = station();
    let mut client = station.client();
    thread::sleep(LIMITS.request * 2);
    assert_eq!(client.ask("show_vrfs")["end"], true);
    let started = Instant::now();
    assert!(client.is_closed());
    assert!(started.elapsed() >= LIMITS.idle / 2);
}

#[test]
fn requests_may_be_cut_and_joined_anywhere() {
    let station = station();
    let mut client = station.client();
    let line = "{\"v\":1,\"request\":\"show_vrfs\"}\n";
    client.send(line.repeat(3).as_bytes());
    for _ in 0..3 {
        assert_eq!(client.line()["end"], true);
    }
    for byte in line.as_bytes().chunks(1) {
        client.send(byte);
    }
    assert_eq!(client.line()["end"], true);
}

#[test]
fn a_client_that_does_not_read_costs_only_its_connection() {
    let station = station();
    let mut stuck = station.client();
    stuck.send(b"{\"v\":1,\"request\":\"show_routes\",\"vrf\":\"a\"}\n");
    thread::sleep(Duration::from_millis(50));
    let started = Instant::now();
    assert_eq!(station.client().ask("show_vrfs")["end"], true);
    assert!(started.elapsed() < LIMITS.write, "another client had to wait");
    thread::sleep(LIMITS.write * 2);
    let mut taken = Vec::new();
    let _ = stuck.0.read_to_end(&mut taken);
    assert!(taken.len() < 1 << 20, "the answer was cut off, not kept: {}", taken.len());
}

#[test]
fn a_control_thread_that_does_not_answer_is_a_timeout() {
    let station = station();
    let mut client = station.client();
    assert_eq!(client.ask("show_workers")["error"]["kind"], "timeout");
    assert_eq!(client.ask("show_vrfs")["end"], true);
}

#[test]
fn a_thousand_requests_in_a_row() {
    let station = station();
    let mut client = station.client();
    for _ in 0..1000 {
        assert_eq!(client.ask("show_vrfs")["end"], true);
    }
}

#[test]
fn sixteen_at_once_and_not_one_more() {
    let station = station();
    let mut clients: Vec<Client> = (0..MAX_OWN).map(|_| station.client()).collect();
    thread::scope(|scope| {
        for client in &mut clients {
            scope.spawn(|| (0..50).for_each(|_| assert_eq!(client.ask("show_vrfs")["end"], true)));
        }
    });
    let mut extra = station.client();
    assert_eq!(extra.error_kind(), "busy");
    drop(clients);
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let mut again = station.client();
        // A busy answer may come before the request was written.
        let _ = again.0.get_mut().write_all(b"{\"v\":1,\"request\":\"show_vrfs\"}\n");
        if again.line()["end"] == true {
            break;
        }
        assert!(Instant::now() < deadline, "slots are not given back");
        thread::sleep(Duration::from_millis(10));
    }
}

fn start(path: &std::path::Path) -> std::io::Result<Server> {
    let (sender, _) = crossbeam::channel::bounded::<Call>(1);
    Server::bind(path, Groups::default())?.serve(
        sender,
        Rounds::default(),
        LIMITS,
        Reporter::nowhere(),
    )
}

#[test]
fn the_socket_has_its_mode_and_goes_with_the_server() {
    let station = station();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(&station.path), 0o660);
    let dir = station.path.parent().unwrap();
    assert_eq!(fs::read_dir(dir).unwrap().count(), 1, "no temporary name is left");
    let path = station.path.clone();
    drop(station._server);
    assert!(!path.exists());
}

#[test]
fn a_client_that_asks_for_nothing_gives_its_place_back_soon() {
    let station = station();
    let started = Instant::now();
    let mut silent: Vec<Client> = (0..MAX_OWN).map(|_| station.client()).collect();
    assert_eq!(station.client().error_kind(), "busy");
    assert!(silent.iter_mut().all(Client::is_closed));
    assert!(started.elapsed() < LIMITS.idle, "as late as one that has asked");
    assert_eq!(station.client().ask("show_vrfs")["end"], true);
}

#[test]
fn a_socket_is_taken_before_it_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("stationd.sock");
    let bound = Server::bind(&path, Groups::default()).unwrap();
    let error = Server::bind(&path, Groups::default()).err().expect("a second one is refused");
    assert!(error.to_string().contains("another process answers"), "{error}");
    let mut early = Client(BufReader::new(UnixStream::connect(&path).unwrap()));
    early.send(b"{\"v\":1,\"request\":\"show_vrfs\"}\n");
    let (sender, receiver) = crossbeam::channel::bounded::<Call>(QUEUE);
    thread::spawn(move || receiver.iter().for_each(control));
    let _server = bound.serve(sender, Rounds::default(), LIMITS, Reporter::nowhere()).unwrap();
    assert_eq!(early.line()["end"], true, "who comes early is served later");
}

#[test]
fn only_a_dead_socket_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("stationd.sock");
    drop(UnixListener::bind(&path).unwrap());
    let server = start(&path).expect("a dead socket is replaced");
    let error = start(&path).err().expect("one that answers is not");
    assert!(error.to_string().contains("another process answers"), "{error}");
    drop(server);
    fs::write(&path, "precious").unwrap();
    assert!(start(&path).is_err());
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

/// Whether a stationctl of that user and those groups is let in.
fn let_in(station: &Station, uid: u32, gid: u32, groups: &str) -> bool {
    // A copy, because the build may lie where other users may not look.
    let stationctl = station._dir.path().join("stationctl");
    fs::copy(env!("CARGO_BIN_EXE_stationctl"), &stationctl).unwrap();
    let groups = match groups {
        "" => "--clear-groups".to_owned(),
        groups => format!("--groups={groups}"),
    };
    let output = std::process::Command::new("setpriv")
        .args([format!("--reuid={uid}"), format!("--regid={gid}"), groups])
        .arg(stationctl)
        .arg("--socket")
        .arg(&station.path)
        .args(["show", "vrfs"])
        .output()
        .unwrap();
    assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
    let denied = String::from_utf8_lossy(&output.stderr).contains("is not in the group of");
    assert_eq!(output.status.success(), !denied, "{output:?}");
    output.status.success()
}

#[test]
#[ignore = "needs root: run by scripts/test"]
fn the_group_cannot_lock_out_root() {
    let station = station();
    for dir in station.path.ancestors().skip(1).take(3) {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
    }
    std::os::unix::fs::chown(&station.path, None, Some(4242)).unwrap();
    let script = format!(
        "import socket, time\nall = [socket.socket(socket.AF_UNIX) for _ in range({MAX_CONNECTIONS})]\n\
         for one in all: one.connect({:?})\nprint(flush=True)\ntime.sleep(60)",
        station.path
    );
    let mut silent = std::process::Command::new("setpriv")
        .args([
            "--reuid=65534",
            "--regid=4242",
            "--clear-groups",
            "/usr/bin/python3",
            "-c",
            &script,
        ])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut connected = [0];
    silent.stdout.take().unwrap().read_exact(&mut connected).unwrap();
    assert_eq!(station.client().ask("show_vrfs")["end"], true);
    silent.kill().unwrap();
    silent.wait().unwrap();
}

#[test]
#[ignore = "needs root: run by scripts/test"]
fn other_users_are_denied_even_where_the_file_lets_them_in() {
    let station = station();
    for dir in station.path.ancestors().skip(1).take(3) {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
    }
    std::os::unix::fs::chown(&station.path, None, Some(4242)).unwrap();
    fs::set_permissions(&station.path, fs::Permissions::from_mode(0o666)).unwrap();
    assert!(!let_in(&station, 65534, 65534, ""));
    assert!(!let_in(&station, 65534, 65534, "4,24"));
    assert!(let_in(&station, 65534, 4242, ""));
    assert!(let_in(&station, 65534, 65534, "24,4242"));
    assert!(let_in(&station, 0, 0, ""));
}

/// What each request of the table is answered to a user: whether it may, by request.
fn may(station: &Station, uid: u32, gid: u32, groups: &str) -> Vec<bool> {
    const SCRIPT: &str = "import json, socket, sys\n\
        for line in sys.stdin:\n    \
            connection = socket.socket(socket.AF_UNIX)\n    \
            try:\n        \
                connection.connect(sys.argv[1])\n        \
                try:\n            \
                    connection.sendall(line.encode())\n        \
                except BrokenPipeError:\n            \
                    pass # It has been refused already: the answer is there.\n        \
                answer = json.loads(connection.makefile().readline())\n    \
            except PermissionError:\n        \
                answer = {'error': {'kind': 'denied'}}\n    \
            print(answer.get('error', {}).get('kind') != 'denied')\n    \
            connection.close()\n";
    let groups =
        if groups.is_empty() { "--clear-groups".into() } else { format!("--groups={groups}") };
    let mut client = std::process::Command::new("setpriv")
        .args([format!("--reuid={uid}"), format!("--regid={gid}"), groups])
        .args(["/usr/bin/python3", "-c", SCRIPT])
        .arg(&station.path)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let lines: String = requests::REQUESTS.iter().map(|(text, _)| requests::line(text)).collect();
    client.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = client.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(|line| line == "True").collect()
}

/// Every request, asked by every kind of user.
#[test]
#[ignore = "needs root: run by scripts/test"]
fn who_may_make_which_request() {
    const READ: u32 = 4242;
    const ADMIN: u32 = 4243;
    const MIRROR: u32 = 4244;
    let all = [Right::Ask, Right::Change, Right::Mirror, Right::Own];
    let mirrors = [Right::Ask, Right::Mirror];
    let check = |station: &Station, rows: &[(u32, u32, &str, &[Right])]| {
        for dir in station.path.ancestors().skip(1).take(3) {
            fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
        }
        for (uid, gid, groups, rights) in rows {
            let wanted: Vec<bool> =
                requests::REQUESTS.iter().map(|(_, right)| rights.contains(right)).collect();
            let who = format!("uid {uid}, gid {gid}, groups {groups}");
            assert_eq!(may(station, *uid, *gid, groups), wanted, "{who}: {:?}", requests::REQUESTS);
        }
    };
    let known = station_of(Groups { read: Some(READ), admin: Some(ADMIN), mirror: Some(MIRROR) });
    check(
        &known,
        &[
            (0, 0, "", &all),
            (65534, 65534, "", &[]),
            (65534, 65534, "0,4", &[]),
            (65534, READ, "", &all[..1]),
            (65534, 65534, "4,4242", &all[..1]),
            (65534, ADMIN, "", &all[..2]),
            (65534, 65534, "4243,4", &all[..2]),
            (65534, 65534, "4242,4243", &all[..2]),
            (65534, MIRROR, "", &mirrors),
            (65534, 65534, "4243,4244", &all[..3]),
        ],
    );
    // However the file is loosened.
    fs::set_permissions(&known.path, fs::Permissions::from_mode(0o666)).unwrap();
    check(&known, &[(65534, 65534, "", &[]), (65534, READ, "", &all[..1])]);
    // Without the groups those of the socket's file ask and change.
    let neither = station();
    std::os::unix::fs::chown(&neither.path, None, Some(READ)).unwrap();
    check(
        &neither,
        &[(65534, 65534, "4243", &[]), (65534, 65534, "4242", &all[..2]), (0, 0, "", &all)],
    );
}

/// However much of its request the station has left unread when it closes the connection.
#[test]
fn who_is_refused_at_once_is_told_why() {
    let station = station();
    let refusal = |octets: u64| {
        let apply = Apply { octets, name: "x".into(), confirm_s: None };
        let text = "#".repeat(usize::try_from(octets).unwrap());
        let request = Request::ConfigApply(apply);
        let asked = client::Client::ask(&station.path, &request, &Terms::default(), &text);
        match asked.and_then(|mut client| client.line::<Value>()) {
            Err(client::Failure::Refused(why)) => why.kind,
            other => panic!("{octets} octets: {:?}", other.err()),
        }
    };
    (0..5).for_each(|_| assert_eq!(refusal(MAX_FILE + 1), ErrorKind::TooLarge));
    let _all: Vec<Client> = (0..MAX_OWN).map(|_| station.client()).collect();
    for octets in [1, 1 << 20] {
        (0..50).for_each(|_| assert_eq!(refusal(octets), ErrorKind::Busy));
    }
}

#[test]
fn a_text_follows_its_request_and_is_taken_for_nothing_else() {
    let station = station();
    let stop = "{\"v\":1,\"request\":\"stop\"}\n";
    let request = |octets: usize, more: &str| {
        format!(
            "{{\"v\":1,\"request\":\"config_apply\",\"octets\":{octets},\"name\":\"x\"{more}}}\n"
        )
    };
    let mut client = station.client();
    client.send((request(stop.len(), ",\"yes\":true,\"comment\":\"c\"") + stop).as_bytes());
    let notes = client.line()["result"]["notes"].clone();
    assert_eq!(notes[0], stop);
    assert!(notes[1].as_str().unwrap().contains("Some(\"c\"), yes: true"), "{notes}");
    let uid = format!("uid: {}, pid: {}", rustix::process::geteuid().as_raw(), std::process::id());
    assert!(notes[2].as_str().unwrap().contains(&uid), "{notes}");
    // In pieces, longer than a request may be, and with the next request behind it.
    let long = "# nothing\n".repeat(20_000);
    client.send(request(long.len(), "").as_bytes());
    for piece in long.as_bytes().chunks(70_000) {
        client.send(piece);
        thread::sleep(Duration::from_millis(20));
    }
    client.send(b"{\"v\":1,\"request\":\"show_vrfs\"}\n");
    assert_eq!(client.line()["result"]["notes"][0], long);
    assert_eq!(client.line()["rows"][0]["name"], "vpc-a");
    // What follows a request that is not understood may be its text: nothing of it is read.
    client.send((request(stop.len(), ",\"strange\":1") + stop).as_bytes());
    assert_eq!(client.error_kind(), "invalid");
    assert!(client.is_closed());
    for (octets, text, kind) in [
        (1 << 40, "", "too_large"),
        (5, "abc", "timeout"),
        (2, "\u{e4}", ""),
        (3, "\u{e4}\u{e4}", "invalid"),
    ] {
        let mut client = station.client();
        client.send((request(octets, "") + text).as_bytes());
        assert_eq!(client.error_kind(), kind, "{octets} octets of {text:?}");
    }
}
