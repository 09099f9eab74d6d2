//! The sending side: `bpf/generate.bpf.c`, run by BPF_PROG_RUN with live frames on one CPU.

use std::os::fd::{AsFd, AsRawFd};
use std::sync::mpsc::Sender as Channel;

use aya::maps::Array;
use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader, Pod, include_bytes_aligned};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::Error;
use crate::trial::Options;

static PROGRAM: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/generate.bpf.o"));

/// As in `bpf/generate.bpf.c`.
const FRACTION: f64 = 1024.0;
const SIZES: usize = 16;

/// `struct state` of `bpf/generate.bpf.c`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct State {
    due: u64,
    /// Frames handed to the interface.
    pub sent: u64,
    /// Their octets, tag included, without FCS.
    pub octets: u64,
    forgiven: u64,
    pub failed: u64,
    pub first: u64,
    pub last: u64,
}

// SAFETY: integers without padding.
unsafe impl Pod for State {}

impl State {
    /// Nanoseconds in which the sender could not keep the pace and gave up frames.
    pub fn forgiven_ns(&self) -> u64 {
        self.forgiven / 1024
    }
}

/// One stream of frames, ready to be sent.
pub struct Sender {
    program: Ebpf,
    longest: usize,
    batch: u32,
    cpu: usize,
}

impl Sender {
    /// Loads the program for stream `stream` of `rate` frames a second (`None`: as fast as it can).
    /// The thread must be in the interface's namespace, and stay there.
    pub fn new(
        options: &Options,
        stream: usize,
        rate: Option<f64>,
        interface: u32,
    ) -> Result<Sender, Error> {
        let sizes = options.size.octets(options.vlans.is_some());
        let longest = sizes.iter().copied().max().unwrap_or(0);
        let mut size = [0u16; SIZES];
        size[..sizes.len()].copy_from_slice(&sizes);
        let interval = rate.map_or(0, |rate| (1e9 / rate * FRACTION) as u64);
        let catch_up = (options.catch_up_us * 1000.0 * FRACTION) as u64;
        let (first_vlan, vlans) = options.vlans.map_or((0, 0), |vlans| (vlans.first, vlans.count));
        let count = |range: ipnet::Ipv4Net| {
            u32::try_from(1u64 << (32 - range.prefix_len())).unwrap_or(u32::MAX)
        };
        let mut loader = EbpfLoader::new();
        let (stream, sizes) = (stream as u32, sizes.len() as u32);
        let (tagged, longest32) = (u32::from(options.vlans.is_some()), u32::from(longest));
        let (sources, destinations) = (count(options.sources), count(options.destinations));
        let first_source = u32::from(options.sources.network());
        let first_destination = u32::from(options.destinations.network());
        loader
            .override_global("interface", &interface, true)
            .override_global("stream", &stream, true)
            .override_global("interval", &interval, true)
            .override_global("catch_up", &catch_up, true)
            .override_global("stamp_every", &options.stamp_every, true)
            .override_global("longest", &longest32, true)
            .override_global("sizes", &sizes, true)
            .override_global("size", &size, true)
            .override_global("tagged", &tagged, true)
            .override_global("first_vlan", &first_vlan, true)
            .override_global("vlans", &vlans, true)
            .override_global("first_source", &first_source, true)
            .override_global("sources", &sources, true)
            .override_global("first_destination", &first_destination, true)
            .override_global("destinations", &destinations, true)
            .override_global("source_mac", &options.source_mac.0, true)
            .override_global("destination_mac", &options.destination_mac.0, true);
        let mut program =
            loader.load(PROGRAM).map_err(|e| Error::Bpf("the sender's program", e))?;
        let xdp: &mut Xdp = program
            .program_mut("generate")
            .ok_or_else(|| Error::Usage("no program `generate`".into()))?
            .try_into()
            .map_err(|e| Error::Program("the sender's program", e))?;
        xdp.load().map_err(|e| Error::Program("the sender's program", e))?;
        // Frames leave by batches: large ones cost less, small ones are smoother.
        let batch = if rate.is_some() { 16 } else { 64 };
        Ok(Sender {
            program,
            longest: usize::from(longest),
            batch,
            cpu: options.cpus[stream as usize],
        })
    }

    /// Sends until the thread gets a signal. Tells `started` the thread's id before.
    pub fn run(&mut self, started: &Channel<libc::pid_t>) -> Result<State, Error> {
        let mut cpus = CpuSet::new();
        cpus.set(self.cpu);
        sched_setaffinity(None, &cpus)
            .map_err(|e| Error::System(format!("cannot run on CPU {}", self.cpu), e.into()))?;
        // SAFETY: no arguments.
        let _ = started.send(unsafe { libc::gettid() });
        let program: &Xdp = self
            .program
            .program("generate")
            .ok_or_else(|| Error::Usage("no program `generate`".into()))?
            .try_into()
            .map_err(|e| Error::Program("the sender's program", e))?;
        let fd = program.fd().map_err(|e| Error::Program("the sender's program", e))?;
        let error = run_live(fd.as_fd().as_raw_fd(), &vec![0; self.longest], self.batch);
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            _ => {
                return Err(Error::System(
                    "BPF_PROG_RUN with live frames (needs Linux 5.18)".into(),
                    error,
                ));
            }
        }
        let map = self.program.map("state").ok_or_else(|| Error::Usage("no map `state`".into()))?;
        let states: Array<_, State> = Array::try_from(map).map_err(|e| Error::Map("state", e))?;
        states.get(&0, 0).map_err(|e| Error::Map("state", e))
    }
}

/// Runs an XDP program on copies of `frame` until a signal comes.
fn run_live(program: i32, frame: &[u8], batch: u32) -> std::io::Error {
    /// The part of `union bpf_attr` for BPF_PROG_TEST_RUN.
    #[repr(C)]
    #[derive(Default)]
    struct Attributes {
        program: u32,
        retval: u32,
        data_size_in: u32,
        data_size_out: u32,
        data_in: u64,
        data_out: u64,
        repeat: u32,
        duration: u32,
        ctx_size_in: u32,
        ctx_size_out: u32,
        ctx_in: u64,
        ctx_out: u64,
        flags: u32,
        cpu: u32,
        batch_size: u32,
        pad: u32,
    }
    const BPF_PROG_TEST_RUN: libc::c_long = 10;
    const BPF_F_TEST_XDP_LIVE_FRAMES: u32 = 1 << 1;
    loop {
        let mut attributes = Attributes {
            program: program as u32,
            data_size_in: frame.len() as u32,
            data_in: frame.as_ptr() as u64,
            // A call that ends sleeps for 10 ms: one long call.
            repeat: u32::MAX,
            flags: BPF_F_TEST_XDP_LIVE_FRAMES,
            batch_size: batch,
            ..Attributes::default()
        };
        // SAFETY: the attributes describe `frame`, which the kernel only reads.
        let result = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                BPF_PROG_TEST_RUN,
                &raw mut attributes,
                size_of::<Attributes>(),
            )
        };
        if result < 0 {
            return std::io::Error::last_os_error();
        }
    }
}
