//! The page: the rows of `stationctl show` as metrics.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::facts::Facts;
use super::families::{Family, Kind};
use crate::admin::rows::{
    AclRow, BandwidthRow, BgpRow, DrainRow, Labels, Named, PortRow, TunnelRow, VifRow, VrfRow,
    WorkerRow, word,
};
use crate::clock::seconds_of;

/// The page of some facts.
pub fn page(facts: Facts) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(facts));
    let mut text = String::new();
    // A string takes all that is written.
    let _ = encode(&mut text, &registry);
    text
}

/// A sample's value.
#[derive(Clone, Copy)]
pub(super) enum Value {
    Whole(u64),
    Real(f64),
}

impl From<u64> for Value {
    fn from(value: u64) -> Value {
        Value::Whole(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Value {
        Value::Real(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Whole(value.into())
    }
}

/// A counter's or a gauge's value.
fn number(encoder: &mut MetricEncoder<'_>, kind: Kind, value: Value) -> fmt::Result {
    match (kind, value) {
        (Kind::Counter, Value::Whole(n)) => encoder.encode_counter::<NoLabelSet, _, u64>(&n, None),
        (Kind::Counter, Value::Real(n)) => encoder.encode_counter::<NoLabelSet, _, u64>(&n, None),
        (_, Value::Whole(n)) => encoder.encode_gauge(&n),
        (_, Value::Real(n)) => encoder.encode_gauge(&n),
    }
}

/// A family's name without its unit, the unit, and its type.
fn described(family: Family) -> (&'static str, Option<Unit>, MetricType) {
    let kind = match family.kind() {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        Kind::Histogram => MetricType::Histogram,
        Kind::Info => MetricType::Info,
    };
    let units = [
        ("_seconds", Unit::Seconds),
        ("_bytes", Unit::Bytes),
        ("_celsius", Unit::Celsius),
        ("_volts", Unit::Volts),
        ("_amperes", Unit::Amperes),
        ("_watts", Unit::Other("watts".to_owned())),
    ];
    let cut = |(suffix, unit)| Some((family.name().strip_suffix(suffix)?, Some(unit)));
    let (name, unit) = units.into_iter().find_map(cut).unwrap_or((family.name(), None));
    (name, unit, kind)
}

pub(super) struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    /// A family with its samples: the values of its labels, and the value.
    pub(super) fn family<const N: usize, V: Into<Value>>(
        &mut self,
        family: Family,
        samples: impl IntoIterator<Item = ([String; N], V)>,
    ) -> fmt::Result {
        let (name, unit, kind) = described(family);
        let mut encoder = self.0.encode_descriptor(name, family.help(), unit.as_ref(), kind)?;
        for (values, value) in samples {
            let labels: Vec<(&str, String)> = family.labels().iter().copied().zip(values).collect();
            match family.kind() {
                Kind::Info => encoder.encode_info(&labels)?,
                kind if labels.is_empty() => number(&mut encoder, kind, value.into())?,
                kind => number(&mut encoder.encode_family(&labels)?, kind, value.into())?,
            }
        }
        Ok(())
    }

    /// A family of histograms: the values of their labels; sums, counts, and counts by upper bound.
    pub(super) fn histograms<const N: usize>(
        &mut self,
        family: Family,
        samples: impl IntoIterator<Item = ([String; N], (f64, u64, Vec<(f64, u64)>))>,
    ) -> fmt::Result {
        let (name, unit, kind) = described(family);
        let mut encoder = self.0.encode_descriptor(name, family.help(), unit.as_ref(), kind)?;
        for (values, (sum, count, buckets)) in samples {
            let labels: Vec<(&str, String)> = family.labels().iter().copied().zip(values).collect();
            let mut encoder = encoder.encode_family(&labels)?;
            encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
        Ok(())
    }

    fn one(&mut self, family: Family, value: impl Into<Value>) -> fmt::Result {
        let value: Value = value.into();
        self.family(family, [([], value)])
    }

    fn named(&mut self, family: Family, numbers: &[(&'static str, u64)]) -> fmt::Result {
        self.family(family, numbers.iter().map(|&(name, n)| ([name.to_owned()], n)))
    }

    fn each<T, V: Into<Value>>(
        &mut self,
        family: Family,
        rows: &[T],
        name: impl Fn(&T) -> String,
        value: impl Fn(&T) -> V,
    ) -> fmt::Result {
        self.family(family, rows.iter().map(|row| ([name(row)], value(row))))
    }

    fn station(&mut self, facts: &Facts) -> fmt::Result {
        let version = &facts.version;
        let build = [version.version.clone(), version.station.clone()];
        self.family(Family::Build, [(build, 1_u64)])?;
        self.one(Family::StartTime, facts.started_s)?;
        self.one(Family::Configuration, version.configuration)?;
        self.one(Family::Generation, version.generation)?;
        self.one(Family::LongestHold, seconds(version.longest_hold_us.saturating_mul(1000)))?;
        self.one(Family::LogLost, version.log_lines_lost)?;
        self.one(Family::Vifs, facts.vifs.len() as u64)?;
        self.one(Family::FibUsed, facts.fib[0])?;
        self.one(Family::FibLimit, facts.fib[1])?;
        self.one(Family::Mismatches, facts.mirror[0])?;
        self.one(Family::Repaired, facts.mirror[1])?;
        self.one(Family::Inconsistent, facts.inconsistent)?;
        self.one(Family::Overflows, facts.mirror[2])?;
        self.one(Family::BgpAnswered, facts.sessions.is_some())?;
        self.one(Family::BillingLast, facts.billed_s)?;
        self.one(Family::BillingWaiting, facts.unbilled[0])?;
        self.one(Family::BillingFailures, facts.unbilled[1])?;
        self.named(Family::Punted, &facts.punted)?;
        self.named(Family::Slow, &facts.outcomes)?;
        self.named(Family::Tap, &facts.taps)
    }

    fn workers(&mut self, workers: &[WorkerRow]) -> fmt::Result {
        let name = |row: &WorkerRow| row.worker.to_string();
        self.each(Family::WorkerBusy, workers, name, |row| seconds(row.busy_ns))?;
        self.each(Family::WorkerTurns, workers, name, |row| row.loops)?;
        self.each(Family::WorkerEmpty, workers, name, |row| row.empty)?;
        self.each(Family::WorkerBursts, workers, name, |row| row.bursts)?;
        self.each(Family::WorkerFrames, workers, name, |row| row.frames)?;
        self.each(Family::WorkerSleeps, workers, name, |row| row.sleeps)?;
        self.each(Family::WorkerCalls, workers, name, |row| row.syscalls)?;
        self.each(Family::WorkerLost, workers, name, |row| row.lost)?;
        self.each(Family::WorkerFree, workers, name, |row| row.frames_free)?;
        self.each(Family::WorkerBuffers, workers, name, |row| row.frames_total)
    }

    fn ports(&mut self, ports: &[PortRow]) -> fmt::Result {
        let name = |row: &PortRow| row.name.clone();
        let info = |row: &PortRow| {
            let (role, copy) = (word(row.role), row.zero_copy.to_string());
            let [customer, circuit] = whose(&row.labels);
            let (name, interface, mode) =
                (row.name.clone(), row.interface.clone(), row.xdp_mode.clone());
            ([name, interface, role, mode, copy, customer, circuit], 1_u64)
        };
        self.family(Family::Port, ports.iter().map(info))?;
        self.each(Family::PortUp, ports, name, |row| row.link == "up")?;
        self.each(Family::PortTrouble, ports, name, |row| !row.trouble.is_empty())?;
        self.each(Family::PortChanges, ports, name, |row| row.carrier_changes)?;
        self.each(Family::PortRepairs, ports, name, |row| row.repairs)?;
        self.each(Family::PortRxFrames, ports, name, |row| row.traffic.rx_frames)?;
        self.each(Family::PortRxBytes, ports, name, |row| row.traffic.rx_octets)?;
        self.each(Family::PortTxFrames, ports, name, |row| row.traffic.tx_frames)?;
        self.each(Family::PortTxBytes, ports, name, |row| row.traffic.tx_octets)?;
        let missed = |row: &PortRow| {
            let causes = [
                ("kernel_dropped", row.kernel.rx_dropped),
                ("ring_full", row.kernel.rx_ring_full),
                ("no_socket", row.xdp.no_socket),
                ("malformed", row.xdp.malformed),
                ("bypassed", row.xdp.bypassed),
            ];
            let port = row.name.clone();
            causes.map(move |(cause, n)| ([port.clone(), cause.to_owned()], n))
        };
        self.family(Family::PortMissed, ports.iter().flat_map(missed))?;
        let drops = |row: &PortRow| {
            let (port, drops) = (row.name.clone(), row.drops.clone());
            drops.into_iter().map(move |(reason, n)| ([port.clone(), reason], n))
        };
        self.family(Family::PortDrops, ports.iter().flat_map(drops))
    }

    fn vifs(&mut self, vifs: &[(VifRow, Named)]) -> fmt::Result {
        let name = |(row, _): &(VifRow, Named)| row.name.clone();
        let info = |(row, _): &(VifRow, Named)| {
            let kind = row.kind.as_ref().map_or_else(|| "core".to_owned(), word);
            let [customer, circuit] = whose(&row.labels);
            let (name, port, vlan) = (row.name.clone(), row.port.clone(), row.vlan.clone());
            ([name, port, vlan, kind, row.vrf.clone(), customer, circuit], 1_u64)
        };
        self.family(Family::Vif, vifs.iter().map(info))?;
        self.each(Family::VifUp, vifs, name, |(row, _)| row.state == "up")?;
        self.each(Family::VifRxFrames, vifs, name, |(row, _)| row.traffic.rx_frames)?;
        self.each(Family::VifRxBytes, vifs, name, |(row, _)| row.traffic.rx_octets)?;
        self.each(Family::VifTxFrames, vifs, name, |(row, _)| row.traffic.tx_frames)?;
        self.each(Family::VifTxBytes, vifs, name, |(row, _)| row.traffic.tx_octets)?;
        self.each(Family::VifForwarded, vifs, name, |(row, _)| row.forwarded)?;
        self.each(Family::VifPunted, vifs, name, |(row, _)| row.punted)?;
        self.each(Family::VifDropped, vifs, name, |(row, _)| row.dropped)?;
        let drops = |(row, drops): &(VifRow, Named)| {
            let (vif, drops) = (row.name.clone(), drops.clone());
            drops.into_iter().map(move |(reason, n)| ([vif.clone(), reason], n))
        };
        self.family(Family::VifDrops, vifs.iter().flat_map(drops))?;
        let drain = |(row, _): &(VifRow, Named)| match &*row.drain {
            "" => None,
            "quiet" => Some(([row.name.clone()], 2_u64)),
            _ => Some(([row.name.clone()], 1)),
        };
        self.family(Family::VifDrain, vifs.iter().filter_map(drain))
    }

    fn bandwidths(&mut self, rows: &[BandwidthRow]) -> fmt::Result {
        let whose = |row: &BandwidthRow| {
            [row.scope.clone(), row.name.clone(), row.direction.name().to_owned()]
        };
        let rate = |row: &BandwidthRow| Some((whose(row), row.rate_bits_per_s? / 8));
        self.family(Family::Bandwidth, rows.iter().filter_map(rate))?;
        let passed = |row: &BandwidthRow| (whose(row), row.passed_octets);
        self.family(Family::BandwidthPassed, rows.iter().map(passed))?;
        let frames = |row: &BandwidthRow| (whose(row), row.exceeded_frames);
        self.family(Family::ExceededFrames, rows.iter().map(frames))?;
        let octets = |row: &BandwidthRow| (whose(row), row.exceeded_octets);
        self.family(Family::ExceededBytes, rows.iter().map(octets))
    }

    fn acls(&mut self, lists: &[AclRow]) -> fmt::Result {
        let packets = |row: &AclRow| {
            let (name, has) =
                (row.name.clone(), [!row.vifs_in.is_empty(), !row.vifs_out.is_empty()]);
            let all = [
                ("in", "permit", row.permitted_in),
                ("in", "deny", row.denied_in),
                ("in", "reject", row.rejected_in),
                ("out", "permit", row.permitted_out),
                ("out", "deny", row.denied_out),
                ("out", "reject", row.rejected_out),
            ];
            let used = all.into_iter().filter(move |(way, ..)| has[usize::from(*way == "out")]);
            used.map(move |(way, action, n)| ([name.clone(), way.to_owned(), action.to_owned()], n))
        };
        self.family(Family::AclPackets, lists.iter().flat_map(packets))
    }

    fn tunnels(&mut self, rows: &[TunnelRow]) -> fmt::Result {
        let info = |row: &TunnelRow| {
            let (vtep, underlay) = (row.vtep.clone(), row.underlay.clone());
            let (vif, remote) = (row.vif.clone(), row.remote.to_string());
            ([vif, remote, vtep, row.vni.to_string(), underlay], 1_u64)
        };
        self.family(Family::Tunnel, rows.iter().map(info))?;
        let up = |row: &TunnelRow| ([row.vif.clone(), row.remote.to_string()], row.state == "up");
        self.family(Family::TunnelUp, rows.iter().map(up))
    }

    fn drains(&mut self, rows: &[DrainRow]) -> fmt::Result {
        let of = |row: &DrainRow| [row.scope.word().to_owned(), row.name.clone()];
        let quiet = rows.iter().map(|row| (of(row), row.quiet_ms.is_some()));
        self.family(Family::DrainQuiet, quiet)?;
        let start = rows.iter().map(|row| (of(row), seconds_of(row.since_ms)));
        self.family(Family::DrainStart, start)
    }

    fn vrfs(&mut self, vrfs: &[VrfRow]) -> fmt::Result {
        let routes = |row: &VrfRow| {
            let families = [("ipv4", row.ipv4_routes), ("ipv6", row.ipv6_routes)];
            let vrf = row.name.clone();
            families.map(move |(family, n)| ([vrf.clone(), family.to_owned()], n))
        };
        self.family(Family::Routes, vrfs.iter().flat_map(routes))
    }

    fn sessions(&mut self, rows: &[BgpRow]) -> fmt::Result {
        let of = |row: &BgpRow| [row.vif.clone(), row.peer.to_string()];
        let info = |row: &BgpRow| {
            let [vif, peer] = of(row);
            ([vif, peer, row.vrf.clone(), row.peer_as.to_string(), row.local_as.to_string()], 1_u64)
        };
        self.family(Family::Session, rows.iter().map(info))?;
        let mut each = |family, value: &dyn Fn(&BgpRow) -> u64| {
            self.family(family, rows.iter().map(|row| (of(row), value(row))))
        };
        each(Family::SessionUp, &|row| row.is_up().into())?;
        each(Family::SessionState, &|row| state(&row.state))?;
        each(Family::Accepted, &|row| row.accepted)?;
        each(Family::Rejected, &|row| row.rejected.values().sum())?;
        each(Family::Advertised, &|row| row.advertised)?;
        each(Family::PrefixLimit, &|row| row.max_prefixes.into())?;
        each(Family::KeyFailures, &|row| row.key_failures)?;
        let bfd = |row: &BgpRow| Some((of(row), row.bfd.as_ref()? == "up"));
        self.family(Family::BfdUp, rows.iter().filter_map(bfd))
    }
}

impl Collector for Facts {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut page = Page(encoder);
        page.station(self)?;
        page.workers(&self.workers)?;
        page.ports(&self.ports)?;
        page.port_details(&self.details)?;
        page.vifs(&self.vifs)?;
        let drills = self.drills.iter().map(|(vif, end_s)| ([vif.clone()], *end_s));
        page.family(Family::VifDrill, drills)?;
        page.bandwidths(&self.bandwidths)?;
        page.address_limits(&self.address_limits)?;
        page.qos(&self.qos)?;
        page.acls(&self.acls)?;
        page.tunnels(&self.tunnels)?;
        page.flow_log(&self.flow_log)?;
        page.collectors(&self.collectors)?;
        page.probes(&self.probes)?;
        page.mirrors(&self.mirrors)?;
        page.latency(&self.latency)?;
        page.mappings(&self.mappings)?;
        page.rpki(&self.rpki)?;
        page.drains(&self.drains)?;
        page.vrfs(&self.vrfs)?;
        page.sessions(self.sessions.as_deref().unwrap_or(&[]))
    }
}

#[expect(clippy::cast_precision_loss, reason = "nanoseconds of 100 days are exact")]
pub(super) fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// The customer and the circuit; empty where the configuration names none.
fn whose(labels: &Labels) -> [String; 2] {
    [&labels.customer, &labels.circuit].map(|label| label.clone().unwrap_or_default())
}

/// bgpPeerState (RFC 4273).
fn state(word: &str) -> u64 {
    match word {
        "idle" => 1,
        "connect" => 2,
        "active" | "passive" => 3,
        "opensent" => 4,
        "openconfirm" => 5,
        "established" => 6,
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
