//! The receiving side: `bpf/account.bpf.c` on an interface.

use aya::maps::Array;
use aya::programs::{SchedClassifier, TcAttachType, Xdp, XdpMode};
use aya::{Ebpf, Pod, include_bytes_aligned};
use clap::ValueEnum;
use hdrhistogram::Histogram;

use crate::Error;

static PROGRAM: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/account.bpf.o"));

/// As in `bpf/account.bpf.c`.
const STEP_BITS: u32 = 7;
const BUCKETS: u32 = (34 - STEP_BITS + 1) << STEP_BITS;
/// Streams that are told apart.
pub const STREAMS: usize = 16;

/// `struct stream` of `bpf/account.bpf.c`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Stream {
    lock: u32,
    next: u32,
    /// Distinct frames.
    pub received: u64,
    /// Their octets, tag included, without FCS.
    pub octets: u64,
    /// Frames that had been received before.
    pub duplicated: u64,
    /// Frames that arrived after one that was sent later (RFC 4737).
    pub reordered: u64,
    /// Frames too late to tell whether they are new.
    pub stale: u64,
    /// By how many frames a reordered one was late at most.
    pub furthest: u64,
    /// When the first and the last stamped frame arrived, in ns.
    pub first: u64,
    pub last: u64,
}

// SAFETY: integers without padding.
unsafe impl Pod for Stream {}

/// Where frames are taken.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Hook {
    /// In the driver: for a NIC
    Xdp,
    /// Behind it: for a veth whose peer is a socket or the kernel's own forwarding
    Tc,
}

/// The program on its interface; gone when dropped.
pub struct Receiver {
    program: Ebpf,
}

impl Receiver {
    /// Attaches to an interface of the thread's namespace.
    pub fn attach(interface: &str, hook: Hook) -> Result<Receiver, Error> {
        let mut program =
            Ebpf::load(PROGRAM).map_err(|e| Error::Bpf("the receiver's programs", e))?;
        let name = match hook {
            Hook::Xdp => "account_xdp",
            Hook::Tc => "account_skb",
        };
        let found = program
            .program_mut(name)
            .ok_or_else(|| Error::Usage(format!("no program `{name}`")))?;
        let attached = match hook {
            Hook::Xdp => <&mut Xdp>::try_from(found).and_then(|xdp| {
                xdp.load().and_then(|()| xdp.attach(interface, XdpMode::Driver)).map(drop)
            }),
            Hook::Tc => <&mut SchedClassifier>::try_from(found).and_then(|tc| {
                tc.load().and_then(|()| tc.attach(interface, TcAttachType::Ingress)).map(drop)
            }),
        };
        attached.map_err(|e| Error::Program("attach the receiver", e))?;
        Ok(Receiver { program })
    }

    /// What arrived of a stream.
    pub fn stream(&self, stream: usize) -> Result<Stream, Error> {
        self.array::<Stream>("streams")?
            .get(&(stream as u32), 0)
            .map_err(|e| Error::Map("streams", e))
    }

    /// Latencies of the stamped frames, in ns.
    pub fn latencies(&self) -> Result<Histogram<u64>, Error> {
        let map = self.array::<u64>("latencies")?;
        let mut histogram = Histogram::new_with_max(1 << 34, 3)
            .map_err(|e| Error::Usage(format!("histogram: {e:?}")))?;
        for bucket in 0..BUCKETS {
            let count = map.get(&bucket, 0).map_err(|e| Error::Map("latencies", e))?;
            histogram.saturating_record_n(middle(bucket), count);
        }
        Ok(histogram)
    }

    fn array<T: Pod>(&self, name: &'static str) -> Result<Array<&aya::maps::MapData, T>, Error> {
        let map = self.program.map(name).ok_or_else(|| Error::Usage(format!("no map `{name}`")))?;
        Array::try_from(map).map_err(|e| Error::Map(name, e))
    }
}

/// The middle of a bucket of `bpf/account.bpf.c`, in ns.
fn middle(bucket: u32) -> u64 {
    let (power, step) = (bucket >> STEP_BITS, u64::from(bucket) & ((1 << STEP_BITS) - 1));
    match power {
        0 => step,
        _ => ((step + (1 << STEP_BITS)) << (power - 1)) + ((1 << (power - 1)) >> 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `bucket` of `bpf/account.bpf.c`.
    fn bucket(ns: u64) -> u32 {
        let ns = ns.min((1 << 34) - 1);
        let power = (64 - (ns >> STEP_BITS).leading_zeros()).min(27);
        match power {
            0 => ns as u32,
            _ => (power << STEP_BITS) + (ns >> (power - 1)) as u32 - (1 << STEP_BITS),
        }
    }

    #[test]
    fn buckets_are_contiguous_and_their_middles_are_near() {
        let mut last = 0;
        for ns in (0..100_000u64).chain((17..34).flat_map(|p| [(1 << p) - 1, 1 << p, (1 << p) + 7]))
        {
            let bucket = bucket(ns);
            assert!(bucket < BUCKETS, "{ns}");
            assert!(
                bucket >= last && (ns > 100_000 || bucket <= last + 1),
                "{ns}: {last} -> {bucket}"
            );
            last = bucket;
            assert!(
                middle(bucket).abs_diff(ns) * 250 <= ns,
                "{ns} is in a bucket around {}",
                middle(bucket)
            );
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }
}
