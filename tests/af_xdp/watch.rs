//! The watcher tells what becomes of interfaces, also when more happens than the kernel can tell it.

use std::process::Command;
use std::time::{Duration, Instant};

use crossbeam::channel::bounded;
use station::netlink::{Carriers, LinkEvent, LinkWatcher};
use station::port::af_xdp::link_of;

use super::lab::{Lab, PORTS, WIRES};

/// Waits for an event and returns it.
fn wait(watcher: &mut LinkWatcher, wanted: impl Fn(&LinkEvent) -> bool) -> LinkEvent {
    let deadline = Instant::now() + Duration::from_secs(5);
    while Instant::now() < deadline {
        match watcher.next(Duration::from_millis(100)).unwrap() {
            Some(event) if wanted(&event) => return event,
            _ => {}
        }
    }
    panic!("no such event");
}

fn watcher_of_ports() -> LinkWatcher {
    let (names, watched) = bounded(1);
    names.send(PORTS.map(String::from).to_vec()).unwrap();
    LinkWatcher::of(watched, Some(Carriers::open().unwrap())).unwrap()
}

fn carrier(name: &str, wanted: bool) -> impl Fn(&LinkEvent) -> bool {
    move |event| matches!(event, LinkEvent::Present { interface, up, .. } if interface == name && *up == wanted)
}

fn gone(name: &str) -> impl Fn(&LinkEvent) -> bool {
    move |event| matches!(event, LinkEvent::Gone { interface, .. } if interface == name)
}

#[test]
#[ignore = "needs root and network namespaces: run by scripts/test"]
fn carrier_deletion_and_return_are_told() {
    let lab = Lab::new(1);
    lab.in_station(|| {
        let mut watcher = LinkWatcher::new().unwrap();
        wait(&mut watcher, carrier(PORTS[0], true));
        // The far end goes down: the carrier is lost, the interface stays up.
        lab.wire_ip(&["link", "set", WIRES[0], "down"]);
        wait(&mut watcher, carrier(PORTS[0], false));
        lab.ip(&["link", "del", PORTS[0]]);
        let LinkEvent::Gone { ifindex: old, .. } = wait(&mut watcher, gone(PORTS[0])) else {
            unreachable!()
        };
        lab.plug(0, 1);
        let event = wait(&mut watcher, carrier(PORTS[0], true));
        let LinkEvent::Present { ifindex: new, .. } = event else { unreachable!() };
        assert_eq!(new, link_of(PORTS[0]).unwrap().index);
        assert_ne!(new, old);
        assert_eq!(watcher.resyncs(), 0);
    });
}

#[test]
#[ignore = "needs root and network namespaces: run by scripts/test"]
fn after_an_overrun_the_watcher_knows_the_truth() {
    let lab = Lab::new(1);
    lab.in_station(|| {
        let mut watcher = LinkWatcher::new().unwrap();
        wait(&mut watcher, carrier(PORTS[0], true));
        wait(&mut watcher, carrier(PORTS[1], true));
        // Far more than the socket's buffer holds; the last change is the one that counts.
        let flap = "link set p0 down\nlink set p0 up\n".repeat(2000);
        let batch = lab.bpffs().with_extension("batch");
        std::fs::write(&batch, flap + "link set p0 down\nlink del p1\n").unwrap();
        lab.ip(&["-batch", batch.to_str().unwrap()]);
        std::fs::remove_file(&batch).unwrap();
        let mut up = true;
        let mut there = true;
        while let Some(event) = watcher.next(Duration::from_millis(200)).unwrap() {
            match event {
                LinkEvent::Present { interface, up: now, .. } if interface == PORTS[0] => up = now,
                LinkEvent::Gone { interface, .. } if interface == PORTS[1] => there = false,
                _ => {}
            }
        }
        assert!(watcher.resyncs() > 0, "nothing was lost: the test tests nothing");
        assert!(!up && !there);
    });
}

#[test]
#[ignore = "needs root and network namespaces: run by scripts/test"]
fn a_second_loss_within_a_second_is_told_at_once() {
    let lab = Lab::new(1);
    lab.in_station(|| {
        let mut watcher = watcher_of_ports();
        wait(&mut watcher, carrier(PORTS[0], true));
        wait(&mut watcher, carrier(PORTS[1], true));
        // The kernel collects what happens within a second of the last loss.
        for _ in 0..3 {
            for (port, wire) in PORTS.iter().zip(WIRES) {
                let before = Instant::now();
                lab.wire_ip(&["link", "set", wire, "down"]);
                wait(&mut watcher, carrier(port, false));
                let took = before.elapsed();
                assert!(took < Duration::from_millis(100), "{port}: {took:?}");
            }
            for (port, wire) in PORTS.iter().zip(WIRES) {
                lab.wire_ip(&["link", "set", wire, "up"]);
                wait(&mut watcher, carrier(port, true));
            }
        }
    });
}

#[test]
#[ignore = "needs root and network namespaces: run by scripts/test"]
fn a_loss_is_told_at_once_while_others_add_and_delete_interfaces() {
    let lab = Lab::new(1);
    lab.in_station(|| {
        let mut watcher = watcher_of_ports();
        wait(&mut watcher, carrier(PORTS[0], true));
        // Each deletion holds the kernel's lock of all interfaces through a grace period of RCU.
        let batch = lab.bpffs().with_extension("batch");
        let turn = "link add crowd0 type veth peer name crowd1\nlink del crowd0\n";
        std::fs::write(&batch, turn.repeat(500)).unwrap();
        let mut crowd =
            Command::new("ip").args(["-n", &lab.station(), "-batch"]).arg(&batch).spawn().unwrap();
        let mut took: Vec<Duration> = (0..5)
            .map(|_| {
                lab.wire_ip(&["link", "set", WIRES[0], "down"]);
                let before = Instant::now();
                wait(&mut watcher, carrier(PORTS[0], false));
                let took = before.elapsed();
                lab.wire_ip(&["link", "set", WIRES[0], "up"]);
                wait(&mut watcher, carrier(PORTS[0], true));
                took
            })
            .collect();
        assert!(
            crowd.try_wait().unwrap().is_none(),
            "nobody held the lock: the test tests nothing"
        );
        crowd.kill().unwrap();
        crowd.wait().unwrap();
        std::fs::remove_file(&batch).unwrap();
        took.sort();
        assert!(took[2] < Duration::from_millis(20), "{took:?}");
    });
}
