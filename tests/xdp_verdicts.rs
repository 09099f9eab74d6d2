//! The XDP program's verdicts, one row for each kind of frame, through BPF_PROG_TEST_RUN: what goes to
//! the worker, what to the kernel, what nowhere, and which counter tells.

#![allow(unsafe_code)] // an AF_XDP socket for the map
#![allow(clippy::unwrap_used)] // in helpers of tests, as in tests

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use aya::maps::{Array, PerCpuArray, XskMap};
use aya::programs::{ProgramError, SchedClassifier, TestRun, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use station::port::af_xdp::{PROGRAM, ToKernel};
use station::port::stamp::{Stamp, Stamping};

const DROP: u32 = 1;
const PASS: u32 = 2;
const REDIRECT: u32 = 4;

const REDIRECTED: u32 = 0;
const TO_KERNEL: u32 = 1;
const NO_SOCKET: u32 = 2;

const NONE: ToKernel = ToKernel { lacp: false, lldp: false, eapol: false, untagged: false };
const LACP: ToKernel = ToKernel { lacp: true, ..NONE };
const LLDP: ToKernel = ToKernel { lldp: true, ..NONE };
const EAPOL: ToKernel = ToKernel { eapol: true, ..NONE };
const UNTAGGED: ToKernel = ToKernel { untagged: true, ..NONE };
const ALL: ToKernel = ToKernel { lacp: true, lldp: true, eapol: true, untagged: true };

fn load(to_kernel: ToKernel) -> Ebpf {
    let bits = to_kernel.bits();
    let mut ebpf =
        EbpfLoader::new().override_global("to_kernel", &bits, true).load(PROGRAM).unwrap();
    let program: &mut Xdp = ebpf.program_mut("station").unwrap().try_into().unwrap();
    program.load().unwrap();
    ebpf
}

fn add_socket(ebpf: &mut Ebpf) -> OwnedFd {
    // SAFETY: a new file descriptor, owned by nothing else.
    let socket = unsafe {
        let fd = libc::socket(libc::AF_XDP, libc::SOCK_RAW, 0);
        assert!(fd >= 0, "{}", std::io::Error::last_os_error());
        OwnedFd::from_raw_fd(fd)
    };
    let mut sockets = XskMap::try_from(ebpf.map_mut("sockets").unwrap()).unwrap();
    sockets.set(0, socket.as_raw_fd(), 0).unwrap();
    socket
}

/// A frame of 60 octets with these 16-bit words behind its MACs.
fn frame(words: &[u16]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    frame.extend(words.iter().flat_map(|word| word.to_be_bytes()));
    frame.resize(60, 0);
    frame
}

/// Runs the program and returns its verdict.
fn run(ebpf: &Ebpf, frame: &[u8]) -> Result<u32, ProgramError> {
    let program: &Xdp = ebpf.program("station").unwrap().try_into().unwrap();
    let mut options = TestRunOptions::new();
    options.data_in = Some(frame);
    Ok(program.test_run(options)?.return_value)
}

fn counters(ebpf: &Ebpf) -> [u64; 5] {
    let counters: PerCpuArray<_, u64> =
        PerCpuArray::try_from(ebpf.map("counters").unwrap()).unwrap();
    [0, 1, 2, 3, 4].map(|index| counters.get(&index, 0).unwrap().iter().sum())
}

/// What it is, what is listed, whether there is a socket, the frame; verdict and counter.
type Row<'a> = (&'a str, ToKernel, bool, &'a [u8], (u32, u32));

fn check(name: &str, to_kernel: ToKernel, socket: bool, frame: &[u8], expected: (u32, u32)) {
    let mut ebpf = load(to_kernel);
    let _socket = socket.then(|| add_socket(&mut ebpf));
    let (verdict, counter) = expected;
    assert_eq!(run(&ebpf, frame).unwrap(), verdict, "verdict: {name}");
    let mut counts = [0; 5];
    counts[counter as usize] = 1;
    assert_eq!(counters(&ebpf), counts, "counters: {name}");
}

#[test]
#[ignore = "needs root: run by scripts/test"]
fn each_kind_of_frame_has_one_verdict_and_one_counter() {
    let tagged = frame(&[0x8100, 100, 0x0800]);
    let service = frame(&[0x88a8, 100, 0x8100, 200, 0x0800]);
    let priority = frame(&[0x8100, 0, 0x0800]);
    let ipv4 = frame(&[0x0800]);
    let arp = frame(&[0x0806]);
    let lacp = frame(&[0x8809]);
    let lldp = frame(&[0x88cc]);
    let eapol = frame(&[0x888e]);
    let tagged_lacp = frame(&[0x8100, 100, 0x8809]);
    let worker = (REDIRECT, REDIRECTED);
    let kernel = (PASS, TO_KERNEL);
    let nowhere = (DROP, NO_SOCKET);
    let rows: &[Row] = &[
        ("tagged", NONE, true, &tagged, worker),
        ("802.1ad and 802.1Q", NONE, true, &service, worker),
        ("priority tag", NONE, true, &priority, worker),
        ("untagged, not listed", NONE, true, &ipv4, worker),
        ("LACP, not listed", NONE, true, &lacp, worker),
        ("LLDP, not listed", NONE, true, &lldp, worker),
        ("EAPOL, not listed", NONE, true, &eapol, worker),
        ("LACP, listed", LACP, true, &lacp, kernel),
        ("LLDP, listed", LLDP, true, &lldp, kernel),
        ("EAPOL, listed", EAPOL, true, &eapol, kernel),
        ("LLDP where LACP is listed", LACP, true, &lldp, worker),
        ("EAPOL where LLDP is listed", LLDP, true, &eapol, worker),
        ("LACP where EAPOL is listed", EAPOL, true, &lacp, worker),
        ("IPv4 where LACP is listed", LACP, true, &ipv4, worker),
        ("untagged, listed", UNTAGGED, true, &ipv4, kernel),
        ("ARP, listed as untagged", UNTAGGED, true, &arp, kernel),
        ("LACP, listed as untagged", UNTAGGED, true, &lacp, kernel),
        ("LLDP, listed as untagged", UNTAGGED, true, &lldp, kernel),
        ("EAPOL, listed as untagged", UNTAGGED, true, &eapol, kernel),
        ("tagged, with everything listed", ALL, true, &tagged, worker),
        ("802.1ad, with everything listed", ALL, true, &service, worker),
        ("priority tag, with everything listed", ALL, true, &priority, worker),
        ("LACP in a tag is a customer's", ALL, true, &tagged_lacp, worker),
        ("no socket: tagged", NONE, false, &tagged, nowhere),
        ("no socket: untagged", NONE, false, &ipv4, nowhere),
        ("no socket: 802.1ad, with everything listed", ALL, false, &service, nowhere),
        ("no socket: LACP, listed", LACP, false, &lacp, kernel),
    ];
    for (name, to_kernel, socket, frame, expected) in rows {
        check(name, *to_kernel, *socket, frame, *expected);
    }
}

/// What the guard does with a frame that has reached the kernel's stack.
fn guard(to_kernel: ToKernel, frame: &[u8]) -> (u32, [u64; 5]) {
    let mut ebpf = load(to_kernel);
    let program: &mut SchedClassifier = ebpf.program_mut("guard").unwrap().try_into().unwrap();
    program.load().unwrap();
    let mut options = TestRunOptions::new();
    options.data_in = Some(frame);
    let verdict = program.test_run(options).unwrap().return_value;
    (verdict, counters(&ebpf))
}

#[test]
#[ignore = "needs root: run by scripts/test"]
fn the_guard_lets_pass_what_is_listed_and_nothing_else() {
    const NEXT: u32 = u32::MAX; // -1
    const STOP: u32 = 2;
    let ipv4 = frame(&[0x0800]);
    let lacp = frame(&[0x8809]);
    let tagged = frame(&[0x8100, 100, 0x0800]);
    let rows: &[(&str, ToKernel, &[u8], u32)] = &[
        ("IPv4", NONE, &ipv4, STOP),
        ("ARP", NONE, &frame(&[0x0806]), STOP),
        ("LACP, not listed", NONE, &lacp, STOP),
        ("LACP, listed", LACP, &lacp, NEXT),
        ("LLDP, listed", LLDP, &frame(&[0x88cc]), NEXT),
        ("EAPOL, listed", EAPOL, &frame(&[0x888e]), NEXT),
        ("IPv4 where LACP is listed", LACP, &ipv4, STOP),
        ("untagged, listed", UNTAGGED, &ipv4, NEXT),
        ("tagged, with everything listed", ALL, &tagged, STOP),
        ("802.1ad, with everything listed", ALL, &frame(&[0x88a8, 1, 0x8100, 2, 0x0800]), STOP),
    ];
    for (name, to_kernel, frame, expected) in rows {
        let counts = [0, 0, 0, 0, u64::from(*expected == STOP)];
        assert_eq!(guard(*to_kernel, frame), (*expected, counts), "{name}");
    }
}

#[test]
#[ignore = "needs root: run by scripts/test"]
fn a_frame_shorter_than_its_header_is_dropped_whatever_is_listed() {
    let frame = frame(&[0x0800]);
    check("14 octets", ALL, true, &frame[..14], (PASS, TO_KERNEL));
    let ebpf = load(ALL);
    match run(&ebpf, &frame[..13]) {
        Ok(verdict) => {
            assert_eq!(verdict, DROP);
            assert_eq!(counters(&ebpf), [0, 0, 0, 1, 0]);
        }
        Err(_) => println!("skipped: this kernel runs no program on fewer than 14 octets"),
    }
}

#[test]
#[ignore = "needs root: run by scripts/test"]
fn a_socket_that_closes_leaves_the_map_and_the_queue_drops() {
    let mut ebpf = load(NONE);
    let tagged = frame(&[0x8100, 100, 0x0800]);
    let socket = add_socket(&mut ebpf);
    assert_eq!(run(&ebpf, &tagged).unwrap(), REDIRECT);
    drop(socket);
    assert_eq!(run(&ebpf, &tagged).unwrap(), DROP);
    assert_eq!(counters(&ebpf), [1, 0, 1, 0, 0]);
}

/// Frames for workers are stamped so from now on.
fn stamp(ebpf: &mut Ebpf, stamping: Option<Stamping>) {
    let mut word: Array<_, u64> = Array::try_from(ebpf.map_mut(".bss").unwrap()).unwrap();
    word.set(0, stamping.map_or(0, Stamping::word), 0).unwrap();
}

/// Runs the program; its verdict, and what it left, metadata in front.
fn run_out(ebpf: &Ebpf, frame: &[u8]) -> (u32, Vec<u8>) {
    let program: &Xdp = ebpf.program("station").unwrap().try_into().unwrap();
    let mut out = vec![0; 4096];
    let mut options = TestRunOptions::new();
    (options.data_in, options.data_out) = (Some(frame), Some(&mut out[..]));
    let result = program.test_run(options).unwrap();
    out.truncate(result.data_size_out as usize);
    (result.return_value, out)
}

#[test]
#[ignore = "needs root: run by scripts/test"]
fn frames_for_workers_are_stamped_by_their_numbers() {
    for sample in [1, 8, 64, 65_536] {
        let mut ebpf = load(LACP);
        let socket = add_socket(&mut ebpf);
        let (tagged, lacp) = (frame(&[0x8100, 100, 0x0800]), frame(&[0x8809]));
        let of = Stamping::new(sample);
        for number in 0..300 {
            // Off, every other hundred: no frame has a number then, and none is changed.
            let on = number / 100 != 1;
            stamp(&mut ebpf, on.then_some(of));
            let before = station::clock::monotonic_ns();
            let (verdict, out) = run_out(&ebpf, &tagged);
            let after = station::clock::monotonic_ns();
            assert_eq!(verdict, REDIRECT);
            let number = if number < 100 { number } else { number - 100 };
            if !on || !of.stamps(number) {
                assert!(out == tagged, "{sample}: {number}");
                continue;
            }
            assert!(out[16..] == tagged, "{sample}: {number}");
            let ns = u64::from_ne_bytes(out[8..16].try_into().unwrap());
            assert!((before..=after).contains(&ns), "{ns} is not from {before} to {after}");
            let expected = Stamp { nonce: of.nonce, number, ns };
            assert_eq!(out[..16], expected.octets(), "{sample}: {number}");
            assert!(run_out(&ebpf, &lacp) == (PASS, lacp.clone()), "the kernel's has no number");
        }
        drop(socket);
        let next = run_out(&ebpf, &tagged);
        assert!(next == (DROP, tagged), "what no worker gets has no number");
    }
}

/// What stamps cost, for benches/README.md: nanoseconds a frame.
#[test]
#[ignore = "needs root: run by scripts/test"]
fn stamps_cost_little() {
    let mut ebpf = load(NONE);
    let _socket = add_socket(&mut ebpf);
    let tagged = frame(&[0x8100, 100, 0x0800]);
    let mut cost = |stamping: Option<Stamping>| {
        stamp(&mut ebpf, stamping);
        let program: &Xdp = ebpf.program("station").unwrap().try_into().unwrap();
        let one = || {
            let mut options = TestRunOptions::new();
            (options.data_in, options.repeat) = (Some(&*tagged), 200_000);
            program.test_run(options).unwrap().duration.as_nanos()
        };
        (0..7).map(|_| one()).min().unwrap()
    };
    // What the runs share is the frame, and it has room for two stamps: this is the cost of the numbers.
    let [off, some] = [None, Some(64)].map(|sample| cost(sample.map(Stamping::new)));
    println!("ns a frame: off {off}, one of 64 {some}");
    assert!(some <= off + 30, "{off} {some}");
}
