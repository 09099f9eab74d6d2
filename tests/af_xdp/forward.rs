//! Frames through ports: every one comes out, every frame of memory is accounted for, also when
//! interfaces go down or vanish under load.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use station::port::af_xdp::{
    AttachMode, Attached, SocketOptions, ToKernel, XdpProgram, XskError, XskPort, ZeroCopy,
};
use station::port::{BURST, Frame, FrameSize, Pool, Port};

use super::lab::{Lab, PORTS, close, number, open, tagged};

const OPTIONS: SocketOptions =
    SocketOptions { ring: 512, zero_copy: ZeroCopy::Auto, busy_poll_us: 0, chains: false };

fn attach(lab: &Lab, index: usize, mode: AttachMode) -> XdpProgram {
    XdpProgram::attach(PORTS[index], mode, ToKernel::default(), lab.bpffs(), 1).unwrap()
}

/// Two ports that share a pool, and a way between them.
struct Pair {
    pool: Pool,
    ports: [XskPort; 2],
    burst: Vec<Frame>,
    received: usize,
    refused: usize,
}

impl Pair {
    fn new(programs: [&XdpProgram; 2]) -> Pair {
        let mut pool = Pool::new(4096, FrameSize::Small).unwrap();
        let ports = programs.map(|program| open(program, &mut pool, 0, OPTIONS).unwrap());
        Pair { pool, ports, burst: Vec::with_capacity(BURST), received: 0, refused: 0 }
    }

    /// One round of a worker: all frames from `from` go out of the other port.
    fn round(&mut self, from: usize) {
        let Pair { pool, ports, burst, .. } = self;
        ports[from].rx(pool, burst);
        self.received += burst.len();
        for frame in burst.drain(..) {
            if let Err(frame) = ports[1 - from].tx(pool, frame) {
                self.refused += 1;
                pool.give(frame);
            }
        }
        for port in ports {
            port.flush(pool);
        }
        self.account();
    }

    /// Each frame is in the pool or in a port.
    fn account(&self) {
        let held: usize = self.ports.iter().map(Port::held).sum();
        assert_eq!(self.pool.free() + held, self.pool.total(), "{:?}", self.ports);
    }

    fn close(self) {
        let Pair { mut pool, ports, .. } = self;
        for port in ports {
            assert_eq!(port.refused_descriptors(), 0);
            close(port, &mut pool);
        }
        assert_eq!(pool.free(), pool.total(), "all frames are back");
    }
}

/// 10,000 frames of all sizes, both ways: all arrive, in order and intact.
fn exact(mode: AttachMode, attached: Attached) {
    let lab = Lab::new(1);
    let wires = [lab.wire_end(0), lab.wire_end(1)];
    lab.in_station(|| {
        let programs = [0, 1].map(|index| attach(&lab, index, mode));
        assert!(programs.iter().all(|program| program.mode() == attached));
        let mut pair = Pair::new([&programs[0], &programs[1]]);
        assert!(!pair.ports[0].zero_copy(), "veth has none");
        for from in [0, 1] {
            let (mut sent, mut arrived) = (0, 0);
            pair.received = 0;
            while sent < 10_000 {
                // No more at once than a veth's queue of 256 holds.
                for _ in 0..100 {
                    let len = 60 + usize::try_from(sent % 1455).unwrap();
                    assert!(wires[from].send(&tagged(sent, len)));
                    sent += 1;
                }
                let deadline = Instant::now() + Duration::from_secs(5);
                while pair.received < sent as usize && Instant::now() < deadline {
                    pair.round(from);
                }
                assert_eq!(pair.received, sent as usize, "{:?}", pair.ports[from].statistics());
                while arrived < sent {
                    let frame = wires[1 - from].receive(Duration::from_secs(1)).unwrap();
                    let len = 60 + usize::try_from(arrived % 1455).unwrap();
                    assert_eq!(frame, tagged(arrived, len), "frame {arrived}");
                    arrived += 1;
                }
            }
            assert!(wires[1 - from].receive(Duration::from_millis(20)).is_none(), "sent twice");
        }
        assert_eq!(pair.refused, 0);
        let calls = pair.ports[1].system_calls();
        assert!(calls <= 10_000 / 8, "{calls} system calls to send 10,000 frames");
        for (port, program) in pair.ports.iter().zip(&programs) {
            let statistics = port.statistics().unwrap();
            assert_eq!(statistics.rx_dropped + statistics.rx_ring_full, 0);
            assert_eq!(statistics.tx_invalid_descriptors, 0);
            let counters = program.counters().unwrap();
            assert_eq!((counters.redirected, counters.to_kernel), (10_000, 0));
        }
        pair.close();
    });
}

#[test]
#[ignore = "needs root and network namespaces: run by scripts/test"]
fn every_frame_comes_out_native() {
    exact(AttachMode::Auto, Attached::Native);
}

#[test]
#[ignore = "needs root and network namespaces: run by scripts/test"]
fn every_frame_comes_out_generic() {
    exact(AttachMode::Generic, Attached::Generic);
}

/// Sends to a wire from a thread of its own as long as `body` runs.
fn under_load(lab: &Lab, index: usize, body: impl FnOnce() + Send) {
    let wire = lab.wire_end(index);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                wire.send(&tagged(number, 64));
                if number % 64 == 0 {
                    std::thread::yield_now();
                }
            }
        });
        // Also when it panics: the scope waits for the thread.
        let result =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| lab.in_station(body)));
        stop.store(true, Ordering::Relaxed);
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    });
}

fn rounds(pair: &mut Pair, time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        pair.round(0);
    }
}

#[test]
#[ignore = "needs root and network namespaces: run by scripts/test"]
fn interfaces_deleted_under_load_give_all_frames_back() {
    let lab = Lab::new(1);
    under_load(&lab, 0, || {
        let programs = [0, 1].map(|index| attach(&lab, index, AttachMode::Auto));
        let mut pair = Pair::new([&programs[0], &programs[1]]);
        rounds(&mut pair, Duration::from_millis(100));
        assert!(pair.received > 0 && !pair.ports[1].is_gone());

        lab.ip(&["link", "del", PORTS[1]]);
        rounds(&mut pair, Duration::from_millis(50));
        assert!(pair.ports[1].is_gone());
        let (received, refused) = (pair.received, pair.refused);
        let calls = pair.ports[1].system_calls();
        rounds(&mut pair, Duration::from_millis(50));
        assert!(pair.received > received, "the other port still receives");
        assert_eq!(pair.refused - refused, pair.received - received, "and gets its frames back");
        assert_eq!(pair.ports[1].system_calls(), calls, "a dead port makes no system calls");

        // A new cable in its place: the port is rebuilt with the frames of the dead one.
        let Pair { mut pool, ports: [first, second], received, .. } = pair;
        close(second, &mut pool);
        lab.plug(1, 1);
        let program = attach(&lab, 1, AttachMode::Auto);
        assert!(!program.taken_over(), "the old pin was of an interface that is gone");
        let second = open(&program, &mut pool, 0, OPTIONS).unwrap();
        let burst = Vec::with_capacity(BURST);
        let mut pair = Pair { pool, ports: [first, second], burst, received, refused: 0 };
        let wire = lab.wire_end(1);
        rounds(&mut pair, Duration::from_millis(100));
        assert!(wire.count() > 0, "it forwards again");

        lab.ip(&["link", "del", PORTS[0]]);
        rounds(&mut pair, Duration::from_millis(20));
        pair.close();
    });
}

#[test]
#[ignore = "needs root and network namespaces: run by scripts/test"]
fn an_egress_that_is_down_costs_few_system_calls_and_recovers() {
    let lab = Lab::new(1);
    under_load(&lab, 0, || {
        let programs = [0, 1].map(|index| attach(&lab, index, AttachMode::Auto));
        let mut pair = Pair::new([&programs[0], &programs[1]]);
        rounds(&mut pair, Duration::from_millis(50));

        lab.ip(&["link", "set", PORTS[1], "down"]);
        rounds(&mut pair, Duration::from_millis(20));
        let (calls, refused) = (pair.ports[1].system_calls(), pair.refused);
        rounds(&mut pair, Duration::from_millis(400));
        let calls = pair.ports[1].system_calls() - calls;
        assert!(calls <= 100, "{calls} system calls in 0.4 s that could not succeed");
        assert!(pair.refused > refused, "a full ring gives frames back");
        assert!(!pair.ports[1].is_gone());

        lab.ip(&["link", "set", PORTS[1], "up"]);
        let wire = lab.wire_end(1);
        rounds(&mut pair, Duration::from_millis(100));
        assert!(wire.count() > 0, "it forwards again");
        pair.close();
    });
}

#[test]
#[ignore = "needs root and network namespaces: run by scripts/test"]
fn a_pool_without_frames_receives_again_when_it_has_some() {
    let lab = Lab::new(1);
    let wire = lab.wire_end(0);
    lab.in_station(|| {
        let program = attach(&lab, 0, AttachMode::Auto);
        let mut pool = Pool::new(64, FrameSize::Small).unwrap();
        let mut port = open(&program, &mut pool, 0, OPTIONS).unwrap();
        assert_eq!((pool.free(), port.held()), (0, 64));
        let mut burst = Vec::with_capacity(BURST);
        for round in 0..10 {
            for number in 0..64 {
                assert!(wire.send(&tagged(round * 64 + number, 60)));
            }
            let deadline = Instant::now() + Duration::from_secs(2);
            while burst.len() < 64 && Instant::now() < deadline {
                port.rx(&mut pool, &mut burst);
                assert_eq!(pool.free() + port.held() + burst.len(), 64);
            }
            assert_eq!(burst.len(), 64, "round {round}");
            for (frame, expected) in burst.drain(..).zip(round * 64..) {
                assert_eq!(number(pool.area().packet(&frame)), expected);
                pool.give(frame);
            }
            port.rx(&mut pool, &mut burst);
        }
        close(port, &mut pool);
        assert_eq!(pool.free(), 64);
    });
}

#[test]
#[ignore = "needs root and network namespaces: run by scripts/test"]
fn nothing_moves_to_or_from_the_pool_of_another_area() {
    let lab = Lab::new(1);
    let wire = lab.wire_end(0);
    lab.in_station(|| {
        let program = attach(&lab, 0, AttachMode::Auto);
        let [mut pool, mut other] = [0; 2].map(|_| Pool::new(1024, FrameSize::Small).unwrap());
        let mut port = open(&program, &mut pool, 0, OPTIONS).unwrap();
        let (held, free) = (port.held(), pool.free());
        // At an offset that the port does not hold in its own area, or it would be refused for that.
        let mut frames: Vec<_> = (0..600).map_while(|_| other.take_with(&tagged(7, 60))).collect();
        assert!(port.tx(&mut pool, frames.pop().unwrap()).is_ok());
        port.flush(&mut other);
        assert!(wire.receive(Duration::from_millis(50)).is_none(), "it was sent");
        assert_eq!((port.refused_descriptors(), port.is_gone()), (1, true));
        assert!(port.tx(&mut pool, frames.pop().unwrap()).is_err());

        let mut burst = Vec::with_capacity(BURST);
        assert!(wire.send(&tagged(1, 60)));
        std::thread::sleep(Duration::from_millis(20));
        port.rx(&mut other, &mut burst);
        assert_eq!((burst.len(), other.free()), (0, 1024 - 600));
        assert_eq!((port.held(), pool.free()), (held, free));
        close(port, &mut pool);
        assert_eq!((pool.free(), other.free()), (1024, 1024 - 600));
    });
}

#[test]
#[ignore = "needs root and network namespaces: run by scripts/test"]
fn the_pool_of_another_area_gets_no_frame_of_a_closed_port() {
    let lab = Lab::new(1);
    lab.in_station(|| {
        let program = attach(&lab, 0, AttachMode::Auto);
        let [mut pool, mut other] = [0; 2].map(|_| Pool::new(1024, FrameSize::Small).unwrap());
        let port = open(&program, &mut pool, 0, OPTIONS).unwrap();
        let free = pool.free();
        close(port, &mut other);
        assert_eq!((pool.free(), other.free()), (free, 1024));
    });
}

#[test]
#[ignore = "needs root and network namespaces: run by scripts/test"]
fn a_socket_that_cannot_be_opened_says_why_and_keeps_no_frame() {
    let lab = Lab::new(1);
    lab.in_station(|| {
        let program = attach(&lab, 0, AttachMode::Auto);
        let mut pool = Pool::new(256, FrameSize::Small).unwrap();
        let mut other = Pool::new(256, FrameSize::Small).unwrap();
        let mut open_own = |queue, options| open(&program, &mut pool, queue, options);

        let first = open(&program, &mut other, 0, OPTIONS).unwrap();
        assert!(matches!(open_own(0, OPTIONS), Err(XskError::Busy { queue: 0, .. })));
        close(first, &mut other);
        // The kernel lets go of the queue a moment after the socket is closed.
        let deadline = Instant::now() + Duration::from_secs(2);
        let require = SocketOptions { zero_copy: ZeroCopy::Require, ..OPTIONS };
        let error = loop {
            match open_own(0, require) {
                Err(XskError::Busy { .. }) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                result => break result.unwrap_err(),
            }
        };
        assert!(matches!(error, XskError::NoZeroCopy { .. }), "{error}");
        assert!(matches!(open_own(7, OPTIONS), Err(XskError::NoQueue { queue: 7, .. })));
        let ring = SocketOptions { ring: 1000, ..OPTIONS };
        assert!(matches!(open_own(0, ring), Err(XskError::Ring(1000))));
        assert_eq!((pool.free(), other.free()), (256, 256));
    });
}
