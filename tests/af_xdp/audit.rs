//! What another hand can undo of an open port: it never opens the port to the kernel, and an audit puts it
//! right or says what to do.

use station::port::af_xdp::{
    AttachMode, Audit, AuditError, BpffsError, Nic, SocketOptions, ToKernel, XdpError, XdpProgram,
    XskPort, ZeroCopy, audit, claim, queue_count,
};
use station::port::{FrameSize, Frames, Pool};

const SMALL: Frames = Frames { size: FrameSize::Small, chains: false };

use super::lab::{Lab, PORTS, close, open, tagged};

const OPTIONS: SocketOptions =
    SocketOptions { ring: 256, zero_copy: ZeroCopy::Auto, busy_poll_us: 0, chains: false };

/// A port of one queue as a station opens it, of an interface that may have `queues`.
struct Open {
    lab: Lab,
    program: XdpProgram,
    nic: Nic,
    pool: Pool,
    port: XskPort,
}

impl Open {
    fn new(queues: u32) -> Open {
        let lab = Lab::new(queues);
        let (program, nic, pool, port) = lab.in_station(|| {
            if queues > 1 {
                lab.output(&["ethtool", "-L", PORTS[0], "rx", "1", "tx", "1"]);
            }
            let program = attach(&lab).unwrap();
            let mode = Some(program.mode());
            let nic = Nic::prepare(PORTS[0], 1, SMALL, mode).unwrap();
            let mut pool = Pool::new(512, FrameSize::Small).unwrap();
            let port = open(&program, &mut pool, 0, OPTIONS).unwrap();
            (program, nic, pool, port)
        });
        Open { lab, program, nic, pool, port }
    }

    fn audit(&self) -> Result<Option<Audit>, AuditError> {
        let (program, nic) = (&self.program, &self.nic);
        self.lab.in_station(|| audit(program, nic))
    }

    /// An audit that puts exactly this right, and one that finds nothing.
    fn puts_right(&self, wrong: &[&str]) {
        let restored = self.audit().unwrap().unwrap().restored;
        assert_eq!(restored.len(), wrong.len(), "{restored:?}");
        for (restored, wrong) in restored.iter().zip(wrong) {
            assert!(restored.contains(wrong), "{restored}: {wrong}");
        }
        assert_eq!(self.audit().unwrap(), Some(Audit::default()));
    }

    /// 64 frames of as many flows, tagged and not: how many the worker got, and how many were stopped
    /// by the program, for want of a socket, or where the kernel's stack begins.
    fn send(&self) -> (u64, u64) {
        let before = self.program.counters().unwrap();
        let wire = self.lab.wire_end(0);
        for number in 0..32_u32 {
            let frame = tagged(number, 60);
            assert!(wire.send(&frame));
            let [.., low] = number.to_be_bytes();
            let mut flow = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 46];
            flow.extend([0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 1, low]);
            flow.resize(60, low);
            assert!(wire.send(&flow));
        }
        let after = self.program.counters().unwrap();
        let stopped = after.bypassed + after.no_socket - before.bypassed - before.no_socket;
        (after.redirected - before.redirected, stopped)
    }

    fn close(mut self) {
        close(self.port, &mut self.pool);
        assert_eq!(self.pool.free(), self.pool.total());
    }
}

fn attach(lab: &Lab) -> Result<XdpProgram, XdpError> {
    XdpProgram::attach(PORTS[0], AttachMode::Auto, ToKernel::default(), lab.bpffs(), 1)
}

fn pin(lab: &Lab, hook: &str) -> String {
    lab.bpffs().join(format!("{hook}-{}", PORTS[0])).display().to_string()
}

#[test]
#[ignore = "needs root and network namespaces: run by scripts/test"]
fn a_link_that_is_detached_opens_nothing_and_comes_back() {
    let open = Open::new(1);
    assert!(open.program.is_guarded());
    assert_eq!(open.audit().unwrap(), Some(Audit::default()));
    assert_eq!(open.send(), (64, 0));
    open.lab.output(&["bpftool", "link", "detach", "pinned", &pin(&open.lab, "xdp")]);
    assert_eq!(open.send(), (0, 64), "the guard keeps the port closed");
    open.puts_right(&["the XDP program had been taken off", "pin"]);
    assert_eq!(open.send(), (64, 0), "through the socket that was there");
    open.lab.output(&["bpftool", "link", "detach", "pinned", &pin(&open.lab, "guard")]);
    assert_eq!(open.send(), (64, 0));
    open.puts_right(&["guard", "pin"]);
    open.lab.output(&["bpftool", "link", "detach", "pinned", &pin(&open.lab, "xdp")]);
    assert_eq!(open.send(), (0, 64), "the new guard");
    open.close();
}

#[test]
#[ignore = "needs root and network namespaces: run by scripts/test"]
fn pins_that_are_removed_or_replaced_are_made_again() {
    let open = Open::new(1);
    for hook in ["xdp", "guard"] {
        std::fs::remove_file(pin(&open.lab, hook)).unwrap();
    }
    open.puts_right(&["xdp-p0", "guard-p0"]);
    std::fs::remove_file(pin(&open.lab, "xdp")).unwrap();
    std::fs::create_dir(pin(&open.lab, "xdp")).unwrap();
    let error = open.audit().unwrap_err().to_string();
    assert!(error.contains("xdp-p0"), "{error}");
    std::fs::remove_dir(pin(&open.lab, "xdp")).unwrap();
    open.puts_right(&["xdp-p0"]);
    // The station dies: what was pinned again stays.
    let Open { lab, program, mut pool, port, .. } = open;
    close(port, &mut pool);
    drop(program);
    lab.in_station(|| assert!(attach(&lab).unwrap().taken_over()));
}

#[test]
#[ignore = "needs root and network namespaces: run by scripts/test"]
fn a_claim_outlives_its_directory() {
    let lab = Lab::new(1);
    let dir = lab.bpffs().join("pins");
    let mut held = claim(&dir).unwrap();
    held.renew().unwrap();
    std::fs::remove_dir(&dir).unwrap();
    held.renew().unwrap();
    assert!(matches!(claim(&dir), Err(BpffsError::Claimed(_))));
    std::fs::remove_dir(&dir).unwrap();
    let other = claim(&dir).unwrap();
    assert!(matches!(held.renew(), Err(BpffsError::Claimed(_))));
    drop(other);
    held.renew().unwrap();
}

#[test]
#[ignore = "needs root and network namespaces: run by scripts/test"]
fn more_queues_than_workers_open_nothing_and_are_taken_away() {
    let open = Open::new(4);
    open.lab.output(&["ethtool", "-L", PORTS[0], "rx", "4"]);
    let (worker, stopped) = open.send();
    assert_eq!(worker + stopped, 64);
    println!("with 4 queues for one worker: {worker} frames to the worker, {stopped} stopped");
    open.puts_right(&["4 receive and 1 transmit queues"]);
    open.lab.in_station(|| assert_eq!(queue_count(PORTS[0]).unwrap(), 1));
    assert_eq!(open.send(), (64, 0));
    open.close();
}

#[test]
#[ignore = "needs root and network namespaces: run by scripts/test"]
fn offloads_that_are_switched_on_are_switched_off() {
    let open = Open::new(1);
    open.lab.output(&["ethtool", "-K", PORTS[0], "rxvlan", "on", "txvlan", "on"]);
    open.puts_right(&["(tx-vlan-hw-insert, rx-vlan-hw-parse)"]);
    let features = open.lab.output(&["ethtool", "-k", PORTS[0]]);
    assert!(features.contains("rx-vlan-offload: off"), "{features}");
    open.close();
}

#[test]
#[ignore = "needs root and network namespaces: run by scripts/test"]
fn what_cannot_be_put_right_closes_the_port_or_is_told() {
    let open = Open::new(1);
    open.lab.ip(&["link", "set", PORTS[0], "mtu", "1900"]);
    let found = open.audit().unwrap().unwrap();
    let trouble = found.trouble.unwrap();
    assert!(trouble.contains("`ip link set dev p0 mtu 1770`"), "{trouble}");
    open.lab.ip(&["link", "set", PORTS[0], "mtu", "1500"]);
    assert_eq!(open.audit().unwrap(), Some(Audit::default()));

    // Somebody else's program is in its place.
    open.lab.output(&["bpftool", "link", "detach", "pinned", &pin(&open.lab, "xdp")]);
    let elsewhere = open.lab.bpffs().join("other");
    let other = open.lab.in_station(|| {
        XdpProgram::attach(PORTS[0], AttachMode::Auto, ToKernel::default(), &elsewhere, 1).unwrap()
    });
    let error = open.audit().unwrap_err();
    assert!(matches!(error, AuditError::Xdp(XdpError::Foreign { .. })), "{error}");
    drop(other);

    open.lab.ip(&["link", "del", PORTS[0]]);
    assert_eq!(open.audit().unwrap(), None, "a link event's to tell");
    open.close();
}
