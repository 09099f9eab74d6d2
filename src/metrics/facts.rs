//! What a page is made of.

use crate::admin::rows::{
    AclRow, AddressLimitRow, BandwidthRow, BgpRow, CollectorRow, DrainRow, FlowLogRow, LatencyRow,
    MirrorRow, Named, PortDetailRow, PortRow, QosRow, RpkiRow, SourceRow, TargetRow, TunnelRow,
    VersionInfo, VifRow, VrfRow, WorkerRow,
};
use crate::observe::latency::Sums;
use crate::probes::Counts;

/// What is known at the moment of a page.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The station.
    pub version: VersionInfo,
    /// When it started, in seconds since 1970.
    pub started_s: f64,
    /// All ports.
    pub ports: Vec<PortRow>,
    /// What their drivers and modules told last.
    pub details: Vec<PortDetailRow>,
    /// All VIFs, each with its drops by reason; only those that happened.
    pub vifs: Vec<(VifRow, Named)>,
    /// VIFs in failover drills, and when each ends, in seconds since 1970.
    pub drills: Vec<(String, f64)>,
    /// What is limited.
    pub bandwidths: Vec<BandwidthRow>,
    /// Limits of addresses.
    pub address_limits: Vec<AddressLimitRow>,
    /// Classes of VIFs that have a policy.
    pub qos: Vec<QosRow>,
    /// All VRFs.
    pub vrfs: Vec<VrfRow>,
    /// All access lists.
    pub acls: Vec<AclRow>,
    /// All tunnels.
    pub tunnels: Vec<TunnelRow>,
    /// VIFs whose flows are logged.
    pub flow_log: Vec<FlowLogRow>,
    /// What the targets of probes answer.
    pub probes: Vec<(TargetRow, Counts)>,
    /// Mirrors.
    pub mirrors: Vec<MirrorRow>,
    /// How long frames are in the station.
    pub latency: Vec<(LatencyRow, Option<Sums>)>,
    /// To whom flows are told.
    pub collectors: Vec<CollectorRow>,
    /// What controllers stream.
    pub mappings: Vec<SourceRow>,
    /// Caches of RPKI.
    pub rpki: Vec<RpkiRow>,
    /// What is drained.
    pub drains: Vec<DrainRow>,
    /// All workers.
    pub workers: Vec<WorkerRow>,
    /// All BGP sessions; `None` where the routing daemon could not be asked.
    pub sessions: Option<Vec<BgpRow>>,
    /// Frames for the slow path by reason, what became of them, and events at the TAPs; never less than before.
    pub punted: Vec<(&'static str, u64)>,
    /// See `punted`.
    pub outcomes: Vec<(&'static str, u64)>,
    /// See `punted`.
    pub taps: Vec<(&'static str, u64)>,
    /// Octets that the FIB uses, and that it may.
    pub fib: [u64; 2],
    /// Routes that differed from the kernel's, those that were put right, and lost notifications; never less than
    /// before.
    pub mirror: [u64; 3],
    /// Families of VRFs that are not consistent.
    pub inconsistent: u64,
    /// When the last bin of the billing series that is on disk ends, in seconds since 1970.
    pub billed_s: f64,
    /// Bins that wait for the disk, and attempts to write that failed.
    pub unbilled: [u64; 2],
}
