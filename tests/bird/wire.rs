//! Two network namespaces joined by a cable for each VIF: here stand the VIFs' TAPs (veths under their
//! names), there the customers' routers, which are one BIRD more. All of it goes with the test.

use std::fmt::Write as _;
use std::fs::File;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, unbounded};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use station::admin::rows::BgpRow;
use station::bird::{self, Bird, Following, PeerEvent, Session};
use station::config::model::{Config, VifConfig};
use station::events::Reporter;

use crate::{BIRD, render_with};

/// A customer's router.
#[derive(Clone)]
pub struct Router {
    /// Number of its cable, which is the VIF's VLAN id.
    pub vlan: u16,
    pub address: IpAddr,
    pub station: IpAddr,
    pub asn: u32,
    pub passive: bool,
    pub bfd: bool,
    /// What it announces: a prefix, and behind a blank what BIRD's language gives it.
    pub prefixes: Vec<String>,
}

pub struct Wire {
    name: String,
    directory: tempfile::TempDir,
    events: Receiver<PeerEvent>,
    bird: Option<Bird>,
    pub config: Config,
}

impl Wire {
    /// Namespaces and cables; the station's BIRD with `config`.
    pub fn new(config: Config) -> Wire {
        // Shown where the test fails.
        let _ = tracing_subscriber::fmt().with_test_writer().try_init();
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("bird-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let directory = tempfile::tempdir().unwrap();
        // BIRD runs as another user.
        run("chmod", &["755", directory.path().to_str().unwrap()]);
        let (_, events) = unbounded();
        let mut wire = Wire { name, directory, events, bird: None, config };
        let (here, there) = (wire.here(), wire.there());
        let mut batch = [String::new(), String::new()];
        for namespace in [&here, &there] {
            run("ip", &["netns", "add", namespace]);
            run("ip", &["-n", namespace, "link", "set", "lo", "up"]);
        }
        for (vif, tap) in wire.config.vifs.iter().zip(wire.taps()) {
            let vlan = vif.tags.outer;
            let macs =
                [0, 1].map(|side| format!("02:00:00:0{side}:{:02x}:{:02x}", vlan >> 8, vlan & 255));
            let [own, other] = &macs;
            writeln!(
                batch[0],
                "link add {tap} address {own} netns {here} type veth peer name w{vlan} address {other} netns {there}"
            )
            .unwrap();
            for net in &vif.addresses {
                let nodad = if net.addr().is_ipv6() { " nodad" } else { "" };
                writeln!(batch[0], "addr add {net} dev {tap}{nodad}").unwrap();
            }
            writeln!(batch[0], "link set {tap} up").unwrap();
            for bgp in &vif.bgp {
                let (length, nodad) = if bgp.peer.is_ipv6() { (64, " nodad") } else { (30, "") };
                writeln!(batch[1], "addr add {}/{length} dev w{vlan}{nodad}", bgp.peer).unwrap();
                writeln!(batch[0], "neigh add {} lladdr {other} dev {tap}", bgp.peer).unwrap();
            }
            writeln!(batch[1], "link set w{vlan} up").unwrap();
            for net in &vif.addresses {
                // Known for good: all namespaces together may learn 1,024 neighbors.
                writeln!(batch[1], "neigh add {} lladdr {own} dev w{vlan}", net.addr()).unwrap();
            }
        }
        for (namespace, lines) in [(&here, &batch[0]), (&there, &batch[1])] {
            let file = wire.directory.path().join("batch");
            std::fs::write(&file, lines).unwrap();
            run("ip", &["-n", namespace, "-batch", file.to_str().unwrap()]);
        }
        wire.start();
        wire
    }

    fn here(&self) -> String {
        format!("{}-here", self.name)
    }

    fn there(&self) -> String {
        format!("{}-there", self.name)
    }

    fn taps(&self) -> Vec<String> {
        let port = |name| self.config.ports.iter().position(|port| port.name == name).unwrap();
        let tap = |vif: &VifConfig| format!("v{}.{}", port(vif.port.clone()), vif.tags.outer);
        self.config.vifs.iter().map(tap).collect()
    }

    pub fn directory(&self) -> PathBuf {
        self.directory.path().join("bird")
    }

    /// Starts what supervises the station's BIRD, as a station does that has just started.
    pub fn start(&mut self) {
        let (sender, events) = unbounded();
        self.events = events;
        let directory = self.directory();
        let bird = inside(&self.here(), move || {
            Bird::start(BIRD.into(), directory, sender, Reporter::nowhere()).unwrap()
        });
        // The TAPs are there.
        bird.renew(Vec::new());
        self.bird = Some(bird);
        self.apply(self.config.clone());
    }

    /// Takes a configuration into use.
    pub fn apply(&mut self, config: Config) -> Following {
        let directory = self.directory();
        self.apply_in(config, &directory)
    }

    /// The same, for a BIRD whose files would be in another directory.
    pub fn apply_in(&mut self, config: Config, directory: &Path) -> Following {
        let rendered = render_with(&config, directory);
        let bird = self.bird.as_ref().unwrap();
        let following = bird.apply(rendered, &config, Some(1));
        self.config = config;
        following.unwrap()
    }

    /// What the station says where a port's link came or went.
    pub fn carrier_changed(&self, tap: &str) {
        self.bird.as_ref().unwrap().renew(vec![tap.to_owned()]);
    }

    /// A port has a link, or none.
    pub fn link(&self, port: &str, up: bool) {
        let lost = if up { None } else { Some(port.into()) };
        self.bird.as_ref().unwrap().links_lost(lost.into_iter().collect());
    }

    /// Ends the station: orderly, or as a kill does.
    pub fn end(&mut self, orderly: bool) {
        let bird = self.bird.take();
        if let (false, Some(bird)) = (orderly, &bird) {
            bird.leave();
        }
    }

    /// The process of the station's BIRD.
    pub fn pid(&self) -> Option<String> {
        let pid = std::fs::read_to_string(self.directory().join("run/pid")).ok()?;
        let pid = pid.trim().to_owned();
        Path::new("/proc").join(&pid).exists().then_some(pid)
    }

    /// Kills the station's BIRD.
    pub fn kill_bird(&self) {
        run("kill", &["-9", &self.pid().expect("BIRD runs")]);
    }

    /// Starts, or reconfigures, the BIRD of all customers' routers.
    pub fn routers(&self, routers: &[Router]) {
        let mut text = String::from(
            "router id 10.9.9.9;\nprotocol device {}\n\
             protocol bfd { interface \"w*\" { interval 100 ms; multiplier 3; }; }\n",
        );
        for router in routers {
            let Router { vlan, address, station, asn, passive, bfd, prefixes } = router;
            let (family, host) = if address.is_ipv4() { ("ipv4", 32) } else { ("ipv6", 128) };
            let id = format!("{vlan}{}", &family[2..]);
            let route = |text: &String| {
                let (net, attributes) = text.split_once(' ').unwrap_or((text, ""));
                format!("route {net} blackhole {attributes};")
            };
            let routes: String = prefixes.iter().map(route).collect();
            let [passive, bfd] = [passive, bfd].map(|&on| if on { "on" } else { "off" });
            write!(
                text,
                "{family} table t{id};\n{family} table i{id};\n\
                 protocol static s{id} {{ {family} {{ table t{id}; }}; {routes} }}\n\
                 protocol static n{id} {{ {family} {{ table i{id}; }}; route {station}/{host} via {station}%w{vlan}; }}\n\
                 protocol bgp b{id} {{ vrf \"w{vlan}\"; interface \"w{vlan}\"; strict bind yes; direct;\n\
                 local {address} as {asn}; neighbor {station} as 64512; passive {passive}; bfd {bfd};\n\
                 connect delay time 1; connect retry time 1; error wait time 1, 2; graceful restart on;\n\
                 {family} {{ table t{id}; igp table i{id}; gateway recursive; import all; export where source = RTS_STATIC; }}; }}\n"
            )
            .unwrap();
        }
        let at = |name: &str| self.directory.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(at("routers.conf"), text).unwrap();
        let socket = at("routers.ctl");
        if Path::new(&socket).exists() {
            run("/usr/sbin/birdc", &["-s", &socket, "configure"]);
        } else {
            let arguments = ["-c", &at("routers.conf"), "-s", &socket, "-P", &at("routers.pid")];
            let arguments = arguments.map(str::to_owned);
            inside(&self.there(), move || {
                run(BIRD, &arguments.each_ref().map(String::as_str));
            });
        }
    }

    /// Stops the customers' routers without a word, or lets them go on.
    pub fn routers_hang(&self, hang: bool) {
        let pid = std::fs::read_to_string(self.directory.path().join("routers.pid")).unwrap();
        run("kill", &[if hang { "-STOP" } else { "-CONT" }, pid.trim()]);
    }

    /// What the customers' routers know of something.
    pub fn router_says(&self, question: &str) -> String {
        let socket = self.directory.path().join("routers.ctl");
        run("/usr/sbin/birdc", &["-s", socket.to_str().unwrap(), question])
    }

    /// The same of the station's BIRD.
    pub fn bird_says(&self, question: &str) -> String {
        let socket = self.directory().join("ctl");
        run("/usr/sbin/birdc", &["-s", socket.to_str().unwrap(), question])
    }

    fn sessions(&self) -> Vec<Session> {
        bird::sessions(&self.config)
    }

    /// `show bgp`.
    pub fn summary(&self) -> Vec<BgpRow> {
        self.bird.as_ref().unwrap().questions().summary(&self.sessions()).unwrap()
    }

    /// `show bgp VIF routes`, as prefix, state, cause.
    pub fn routes(
        &self,
        vif: &str,
        direction: station::admin::protocol::BgpDirection,
    ) -> Vec<station::admin::rows::BgpRouteRow> {
        let mut sessions = self.sessions();
        sessions.retain(|session| &*session.vif == vif);
        let questions = self.bird.as_ref().unwrap().questions();
        questions.routes(sessions, direction).unwrap().collect()
    }

    /// `bgp reset`.
    pub fn reset(&self, vif: &str) {
        let mut sessions = self.sessions();
        sessions.retain(|session| &*session.vif == vif);
        self.bird.as_ref().unwrap().reset(&sessions)().unwrap();
    }

    /// The states of the sessions, by VIF.
    pub fn states(&self) -> Vec<(String, String)> {
        self.summary().into_iter().map(|row| (row.vif, row.state)).collect()
    }

    /// Waits until as many sessions are up.
    pub fn wait_established(&self, count: usize) -> Duration {
        let started = Instant::now();
        // Where both sides connect at once, some try again.
        let limit =
            Duration::from_secs(40) + Duration::from_millis(200) * u32::try_from(count).unwrap();
        wait(limit, || {
            let rows = self.summary();
            let down: Vec<_> = rows.iter().filter(|row| row.state != "established").collect();
            let up = rows.len() - down.len();
            if up == count {
                return Ok(());
            }
            Err(format!("{up} of {count}; not {:?} ...", &down[..down.len().min(3)]))
        });
        started.elapsed()
    }

    /// The routes of a kernel table, as `ip route` shows them.
    pub fn kernel(&self, table: u32) -> Vec<String> {
        let (here, table) = (self.here(), table.to_string());
        let shown = ["-4", "-6"].map(|family| {
            let arguments = ["-n", &here, family, "route", "show", "table", &table];
            let output = Command::new("ip").args(arguments).output().unwrap();
            // A table that never had a route does not exist.
            String::from_utf8(output.stdout).unwrap()
        });
        shown.concat().lines().map(|line| line.trim().to_owned()).collect()
    }

    /// The next event.
    pub fn event(&self) -> PeerEvent {
        self.events.recv_timeout(Duration::from_secs(10)).expect("an event")
    }

    pub fn no_event(&self) {
        assert_eq!(self.events.try_recv().ok(), None);
    }

    /// Runs `ip` on the station's side.
    pub fn ip_here(&self, arguments: &[&str]) {
        run("ip", &[&["-n", &self.here()], arguments].concat());
    }

    /// Runs `ip` on the customers' side.
    pub fn ip_there(&self, arguments: &[&str]) {
        run("ip", &[&["-n", &self.there()], arguments].concat());
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // Also one that a test left to itself.
        let own = self.directory().join("run/pid");
        drop(self.bird.take());
        for file in [own, self.directory.path().join("routers.pid")] {
            if let Ok(pid) = std::fs::read_to_string(file) {
                let _ =
                    Command::new("kill").args(["-9", pid.trim()]).stderr(Stdio::null()).status();
            }
        }
        for namespace in [self.here(), self.there()] {
            let _ = Command::new("ip").args(["netns", "del", &namespace]).status();
        }
    }
}

/// Until `done` says so.
pub fn wait(limit: Duration, mut done: impl FnMut() -> Result<(), String>) {
    let deadline = Instant::now() + limit;
    while let Err(why) = done() {
        assert!(Instant::now() < deadline, "not within {limit:?}: {why}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until `value` is as expected: BIRD and the kernel follow one another, so that what holds of the one need not
/// hold of the other yet.
#[track_caller]
pub fn becomes<T: PartialEq + std::fmt::Debug>(mut value: impl FnMut() -> T, expected: T) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let now = value();
        if now == expected {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "not within 10 s: {now:?}\n  should become {expected:?}"
        );
        thread::sleep(Duration::from_millis(20));
    }
}

/// Runs something on a thread in a namespace; threads and processes that it starts are there too.
fn inside<T: Send + 'static>(namespace: &str, body: impl FnOnce() -> T + Send + 'static) -> T {
    let file = File::open(Path::new("/run/netns").join(namespace)).unwrap();
    let there = move || {
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        body()
    };
    thread::spawn(there).join().unwrap()
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {text}{errors}");
    text
}
