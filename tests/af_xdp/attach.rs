//! The program's life on an interface: it keeps the port closed whatever becomes of the station, and
//! it is the operator's to remove.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use station::port::af_xdp::{
    AttachMode, Attached, BpffsError, SocketOptions, ToKernel, XdpError, XdpProgram, ZeroCopy,
    detach,
};
use station::port::{BURST, FrameSize, Pool, Port};

use super::lab::{Lab, PORTS, close, enter, open, tagged};

const OPTIONS: SocketOptions =
    SocketOptions { ring: 256, zero_copy: ZeroCopy::Auto, busy_poll_us: 0, chains: false };
const LACP: ToKernel = ToKernel { lacp: true, lldp: false, eapol: false, untagged: false };

fn attach(lab: &Lab) -> Result<XdpProgram, XdpError> {
    XdpProgram::attach(PORTS[0], AttachMode::Auto, LACP, lab.bpffs(), 1)
}

fn lacp() -> Vec<u8> {
    let mut frame = vec![0x01, 0x80, 0xc2, 0, 0, 2, 2, 0, 0, 0, 0, 2, 0x88, 0x09];
    frame.resize(60, 0);
    frame
}

/// 100 tagged frames and one that is listed for the kernel: the kernel sees only that.
fn assert_closed(lab: &Lab) {
    let (wire, kernel) = (lab.wire_end(0), lab.kernel_tap(0));
    for number in 0..100 {
        assert!(wire.send(&tagged(number, 60)));
    }
    assert!(wire.send(&lacp()));
    assert_eq!(kernel.receive(Duration::from_secs(1)), Some(lacp()));
    assert_eq!(kernel.count(), 0, "the kernel saw customers' frames");
}

#[test]
#[ignore = "needs root and network namespaces: run by scripts/test"]
fn a_port_is_closed_before_during_and_after_its_station() {
    let lab = Lab::new(1);
    lab.in_station(|| {
        let program = attach(&lab).unwrap();
        assert!(!program.taken_over());
        assert_closed(&lab);
        assert_eq!(program.counters().unwrap().no_socket, 100);
        let mut pool = Pool::new(512, FrameSize::Small).unwrap();
        let port = open(&program, &mut pool, 0, OPTIONS).unwrap();
        assert_closed(&lab);
        assert_eq!(program.counters().unwrap().redirected, 100);
        program.unregister(0);
        assert_closed(&lab);
        close(port, &mut pool);
        drop(program);
        assert_closed(&lab);
        let program = attach(&lab).unwrap();
        assert!(program.taken_over());
        assert_closed(&lab);
    });
}

/// Not a test of its own: the station that the next one kills.
#[test]
#[ignore = "runs only inside another test"]
fn station_to_be_killed() {
    let Ok(namespace) = std::env::var("XDP_TEST_NAMESPACE") else { return };
    let bpffs = std::env::var("XDP_TEST_BPFFS").unwrap();
    enter(&namespace);
    let program = XdpProgram::attach(PORTS[0], AttachMode::Auto, LACP, bpffs.as_ref(), 1).unwrap();
    let mut pool = Pool::new(512, FrameSize::Small).unwrap();
    let mut port = open(&program, &mut pool, 0, OPTIONS).unwrap();
    let mut burst = Vec::with_capacity(BURST);
    let mut received = 0;
    loop {
        port.rx(&mut pool, &mut burst);
        received += burst.len();
        burst.drain(..).for_each(|frame| pool.give(frame));
        if received >= 100 {
            println!("\nreceiving");
            received = 0;
        }
    }
}

#[test]
#[ignore = "needs root and network namespaces: run by scripts/test"]
fn kill_9_under_load_leaves_the_port_closed_and_a_restart_takes_over() {
    let lab = Lab::new(1);
    for restart in 0..2 {
        let kernel = lab.kernel_tap(0);
        let mut station = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "attach::station_to_be_killed", "--ignored", "--nocapture"])
            .env("XDP_TEST_NAMESPACE", lab.station())
            .env("XDP_TEST_BPFFS", lab.bpffs())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let wire = lab.wire_end(0);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // From the second run on, from before the station has started.
                while !stop.load(Ordering::Relaxed) {
                    wire.send(&tagged(0, 60));
                    std::thread::sleep(Duration::from_micros(100));
                }
            });
            let output = BufReader::new(station.stdout.take().unwrap());
            let mut lines = output.lines().map_while(Result::ok);
            let receiving = lines.any(|line| line == "receiving");
            if restart == 0 {
                // What came before the first attachment was the kernel's.
                while kernel.receive(Duration::ZERO).is_some() {}
                std::thread::sleep(Duration::from_millis(50));
            }
            station.kill().unwrap();
            station.wait().unwrap();
            std::thread::sleep(Duration::from_millis(50));
            stop.store(true, Ordering::Relaxed);
            assert!(receiving, "the station received nothing");
        });
        assert_eq!(kernel.count(), 0, "the kernel saw customers' frames in run {restart}");
        assert_closed(&lab);
    }
}

#[test]
#[ignore = "needs root and network namespaces: run by scripts/test"]
fn no_frame_slips_through_while_programs_are_replaced() {
    let lab = Lab::new(1);
    let (wire, kernel) = (lab.wire_end(0), lab.kernel_tap(0));
    let stop = AtomicBool::new(false);
    let mut program = lab.in_station(|| attach(&lab).unwrap());
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut sent = 0;
            while !stop.load(Ordering::Relaxed) {
                sent += u32::from(wire.send(&tagged(sent, 60)));
            }
            sent
        });
        for _ in 0..50 {
            program = lab.in_station(|| attach(&lab).unwrap());
            assert!(program.taken_over());
        }
        stop.store(true, Ordering::Relaxed);
        assert!(sender.join().unwrap() > 1000);
    });
    assert_eq!(kernel.count(), 0);
    drop(program);
}

#[test]
#[ignore = "needs root and network namespaces: run by scripts/test"]
fn a_bpffs_is_mounted_where_there_is_none_unless_it_would_not_last() {
    let lab = Lab::new(1);
    lab.umount();
    lab.in_station(|| match attach(&lab) {
        Ok(_) => {
            assert_closed(&lab);
            assert!(detach(lab.bpffs(), PORTS[0]).unwrap());
            lab.umount();
        }
        Err(XdpError::Bpffs(BpffsError::Private(_))) => {
            println!("skipped: this test runs in a mount namespace of its own");
        }
        Err(error) => panic!("{error}"),
    });
    lab.in_station(|| {
        // SAFETY: it changes only this thread.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNS) }, 0);
        let error = attach(&lab).unwrap_err();
        assert!(matches!(error, XdpError::Bpffs(BpffsError::Private(_))), "{error}");
        assert!(error.to_string().contains("`mount -t bpf bpf /run/xdp-"), "{error}");
    });
}

#[test]
#[ignore = "needs root and network namespaces: run by scripts/test"]
fn detach_opens_the_port_and_only_then() {
    let lab = Lab::new(1);
    lab.in_station(|| {
        assert!(!detach(lab.bpffs(), PORTS[0]).unwrap(), "nothing to detach");
        let program = attach(&lab).unwrap();
        assert!(lab.bpffs().join("xdp-p0").exists());
        assert_closed(&lab);
        assert!(detach(lab.bpffs(), PORTS[0]).unwrap());
        let (wire, kernel) = (lab.wire_end(0), lab.kernel_tap(0));
        assert!(wire.send(&tagged(1, 60)));
        assert!(kernel.receive(Duration::from_secs(1)).is_some(), "while the station runs, too");
        assert!(!lab.bpffs().join("xdp-p0").exists());
        drop(program);
    });
}

#[test]
#[ignore = "needs root and network namespaces: run by scripts/test"]
fn what_is_not_ours_stays_and_is_named() {
    let lab = Lab::new(1);
    lab.in_station(|| {
        let ours = attach(&lab).unwrap();
        let other = lab.bpffs().join("other");
        let error = XdpProgram::attach(PORTS[0], AttachMode::Auto, LACP, &other, 1).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, XdpError::Foreign { .. }), "{text}");
        assert!(text.contains("p0") && text.contains("station (id"), "{text}");
        assert!(!detach(&other, PORTS[0]).unwrap());
        assert_closed(&lab);

        // Without the guard the mode cannot change but with a gap: the operator decides.
        let mode = |mode| XdpProgram::attach(PORTS[0], mode, LACP, lab.bpffs(), 1);
        match mode(AttachMode::Generic) {
            Ok(program) => {
                assert!(ours.is_guarded() && program.mode() == Attached::Generic);
                assert_closed(&lab);
                assert_eq!(mode(AttachMode::Native).unwrap().mode(), Attached::Native);
            }
            Err(error) => {
                assert!(matches!(error, XdpError::Mode { .. }), "{error}");
                assert!(!ours.is_guarded());
            }
        }
        assert_closed(&lab);

        // An interface that took the name of another, which lives on: that one's pin stays.
        lab.ip(&["link", "set", PORTS[0], "name", "renamed"]);
        lab.ip(&["link", "set", PORTS[1], "name", PORTS[0]]);
        let error = attach(&lab).unwrap_err();
        assert!(matches!(error, XdpError::OtherInterface { .. }), "{error}");
        drop(ours);

        let missing = XdpProgram::attach("nosuch0", AttachMode::Auto, LACP, lab.bpffs(), 1);
        assert!(matches!(missing, Err(XdpError::NoInterface(_))));
    });
}
