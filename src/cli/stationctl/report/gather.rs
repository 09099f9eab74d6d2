//! From the station's answers to the report. The first half asks, the second knows no station.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::super::Failure;
use super::super::period::Month;
use super::super::units::{count, moment};
use super::bins::Bins;
use super::model::{Availability, ProbeHour, ProbeReport, Report, Total, TrafficReport, VifReport};
use super::name_of;
use crate::admin::client::{self, all};
use crate::admin::protocol::{
    BillingFilter, ErrorKind, Period, ProbeHistoryFilter, Refusal, Request,
};
use crate::admin::rows::{
    BillingBinRow, BillingRow, OutageRow, ProbeHistoryRow, SlaRow, VersionInfo, VifRow,
};

pub(super) const HOUR_MS: u64 = 3_600_000;

/// What the station says.
#[derive(Debug, Default)]
pub(super) struct Material {
    pub station: String,
    pub customer: String,
    pub since_ms: u64,
    pub end_ms: u64,
    pub now_ms: u64,
    /// The customer's VIFs.
    pub vifs: Vec<VifRow>,
    /// Of each of them, since it is the customer's.
    pub sla: Vec<SlaRow>,
    pub outages: BTreeMap<String, Vec<OutageRow>>,
    /// What all customers' VIFs come to.
    pub billing: Vec<BillingRow>,
    /// The customer's bins, and those of its VIFs.
    pub bins: Bins,
    pub probes: Vec<ProbeHistoryRow>,
    pub hours: Vec<ProbeHistoryRow>,
}

/// Asks for all that a report needs.
pub(super) fn ask(
    socket: &Path,
    customer: &str,
    Month(since_ms, end_ms): Month,
    now_ms: u64,
) -> Result<Material, Failure> {
    let until_ms = Some(end_ms);
    let is_its = |name: Option<&str>| name == Some(customer);
    let mut vifs: Vec<VifRow> = all(socket, &Request::ShowVifs)?;
    vifs.retain(|vif| is_its(vif.labels.customer.as_deref()));
    let billed = BillingFilter { since_ms, until_ms, ..BillingFilter::default() };
    let billing: Vec<BillingRow> = all(socket, &Request::ShowBilling(billed.clone()))?;
    if vifs.is_empty() && !billing.iter().any(|row| is_its(row.customer.as_deref())) {
        let month = name_of(since_ms);
        let message = format!(
            "no VIF has the customer {customer:?}, and none had it in {month}: look at `stationctl show vifs --json`"
        );
        return Err(client::Failure::Refused(Refusal::new(ErrorKind::NotFound, message)).into());
    }
    let name = Some(customer.to_owned());
    let bins = BillingFilter { customer: name.clone(), bins: true, ..billed };
    let bins = known(Bins::ask(socket, &Request::ShowBilling(bins)))?;
    let (mut sla, mut outages) = (Vec::new(), BTreeMap::new());
    for VifRow { name: vif, .. } in &vifs {
        // What another customer had of it is nothing of this one's.
        let others = |row: &&BillingRow| {
            row.scope == "vif" && row.name == *vif && !is_its(row.customer.as_deref())
        };
        let since_ms = match billing.iter().find(others) {
            Some(_) => others_until(socket, vif, customer, [since_ms, end_ms])?,
            None => since_ms,
        };
        let period = || Period { vif: Some(vif.clone()), since_ms, until_ms };
        sla.extend(all::<SlaRow>(socket, &Request::ShowSla(period()))?);
        outages.insert(vif.clone(), all(socket, &Request::ShowOutages(period()))?);
    }
    let history = |total| ProbeHistoryFilter {
        since_ms,
        until_ms,
        customer: name.clone(),
        total,
        ..ProbeHistoryFilter::default()
    };
    let probes = known(all(socket, &Request::ShowProbeHistory(history(true))))?;
    let hours = known(all(socket, &Request::ShowProbeHistory(history(false))))?;
    let version: Vec<VersionInfo> = all(socket, &Request::Version)?;
    let station = version.into_iter().map(|version| version.station).collect();
    let customer = customer.to_owned();
    let material = Material {
        station,
        customer,
        since_ms,
        end_ms,
        now_ms,
        vifs,
        sla,
        outages,
        billing,
        bins,
        probes,
        hours,
    };
    Ok(material)
}

/// Rows; none of a customer that has none, and is configured no more.
fn known<T: Default>(answer: Result<T, client::Failure>) -> Result<T, Failure> {
    match answer {
        Err(client::Failure::Refused(refusal)) if refusal.kind == ErrorKind::NotFound => {
            Ok(T::default())
        }
        answer => Ok(answer?),
    }
}

/// Until when a VIF was another customer's in a period.
fn others_until(
    socket: &Path,
    vif: &str,
    customer: &str,
    [since_ms, end_ms]: [u64; 2],
) -> Result<u64, Failure> {
    let (vif, until_ms, bins) = (Some(vif.to_owned()), Some(end_ms), true);
    let filter = BillingFilter { since_ms, until_ms, vif, bins, ..BillingFilter::default() };
    let bins: Vec<BillingBinRow> = known(all(socket, &Request::ShowBilling(filter)))?;
    let others = bins.iter().filter(|bin| bin.customer.as_deref() != Some(customer));
    Ok(others.map(|bin| bin.end_ms).fold(since_ms, u64::max))
}

impl Material {
    /// Makes the report of it.
    pub fn report(&self) -> Report {
        let until_ms = self.end_ms.min(self.now_ms);
        let names = self.vifs.iter().map(|vif| &vif.name);
        let billed = self.billing.iter().filter(|row| row.scope == "vif" && self.is_its(row));
        let probed = self.probes.iter().filter(|row| row.target.is_some());
        let names: BTreeSet<&String> =
            names.chain(billed.map(|row| &row.name)).chain(probed.map(|row| &row.vif)).collect();
        let vifs: Vec<VifReport> = names.into_iter().map(|name| self.vif(name)).collect();
        let total = self.total(&vifs);
        let notes = self.notes(&vifs, &total);
        Report {
            station: self.station.clone(),
            customer: self.customer.clone(),
            month: name_of(self.since_ms),
            since_ms: self.since_ms,
            until_ms,
            open: self.now_ms < self.end_ms,
            end_ms: self.end_ms,
            vifs,
            total,
            notes,
        }
    }

    fn is_its(&self, row: &BillingRow) -> bool {
        row.customer.as_ref() == Some(&self.customer)
    }

    fn vif(&self, name: &str) -> VifReport {
        let configured = self.vifs.iter().find(|vif| vif.name == name);
        let labels = configured.map(|vif| vif.labels.clone()).unwrap_or_default();
        let sla = self.sla.iter().find(|row| row.vif == name);
        // Before it was seen nothing is known of it.
        let sla = sla.filter(|row| row.since_ms < row.until_ms);
        let outages = self.outages.get(name).into_iter().flatten().filter(|outage| {
            sla.is_some_and(|sla| outage.end_ms.is_none_or(|end| end > sla.since_ms))
        });
        let probes = self.probes.iter().filter(|row| row.vif == name);
        VifReport {
            vif: name.to_owned(),
            description: labels.description,
            circuit: labels.circuit,
            availability: sla.map(|row| Availability {
                since_ms: row.since_ms,
                availability: row.availability,
                outages: row.outages,
                down_ms: row.down_ms,
                down_ms_by_cause: Availability::by_cause(&row.by_cause, false),
                longest_ms: row.longest_ms,
                planned_ms: row.planned_ms,
                planned_ms_by_cause: Availability::by_cause(&row.by_cause, true),
                frames_lost: row.frames_lost,
            }),
            outages: outages.cloned().collect(),
            probes: probes.filter_map(|row| self.probe(row)).collect(),
            traffic: self.traffic("vif", name, sla.map_or(0, |row| row.since_ms)),
        }
    }

    fn probe(&self, row: &ProbeHistoryRow) -> Option<ProbeReport> {
        let same = |hour: &&ProbeHistoryRow| {
            (&hour.probe, &hour.vif, hour.target, &hour.kind, hour.port)
                == (&row.probe, &row.vif, row.target, &row.kind, row.port)
        };
        let hour = |hour: &ProbeHistoryRow| ProbeHour {
            start_ms: hour.start_ms,
            loss_percent: hour.loss_percent,
            p50_us: hour.p50_us,
            p99_us: hour.p99_us,
        };
        Some(ProbeReport {
            probe: row.probe.clone(),
            target: row.target?,
            kind: row.kind.clone(),
            port: row.port,
            known_hours: row.hours,
            sent: row.sent,
            received: row.received,
            lost: row.lost,
            loss_percent: row.loss_percent,
            p50_us: row.p50_us,
            p90_us: row.p90_us,
            p99_us: row.p99_us,
            max_us: row.max_us,
            jitter_us: row.jitter_us,
            hours: self.hours.iter().filter(same).map(hour).collect(),
        })
    }

    /// The traffic of a VIF that is known since then, or of the customer.
    fn traffic(&self, scope: &str, name: &str, since_ms: u64) -> Option<TrafficReport> {
        let is_it = |row: &&BillingRow| row.scope == scope && row.name == name && self.is_its(row);
        let row = self.billing.iter().find(is_it).filter(|row| row.bins > 0)?;
        let (hours, mean) = self.bins.hours(scope, name, since_ms);
        Some(TrafficReport {
            traffic: row.traffic,
            mean_rx_bits_per_s: mean(row.traffic.rx_octets),
            mean_tx_bits_per_s: mean(row.traffic.tx_octets),
            p95_rx_bits_per_s: row.p95_rx_bits_per_s,
            p95_tx_bits_per_s: row.p95_tx_bits_per_s,
            p95_bits_per_s: row.p95_bits_per_s,
            hours,
        })
    }

    #[expect(clippy::cast_precision_loss, reason = "ratios for people")]
    fn total(&self, vifs: &[VifReport]) -> Total {
        let known: Vec<&Availability> =
            vifs.iter().filter_map(|vif| vif.availability.as_ref()).collect();
        let sum = |of: fn(&Availability) -> u64| known.iter().map(|known| of(known)).sum::<u64>();
        let until_ms = self.end_ms.min(self.now_ms);
        let (down_ms, planned_ms) = (sum(|of| of.down_ms), sum(|of| of.planned_ms));
        let period: u64 = known.iter().map(|of| until_ms.saturating_sub(of.since_ms)).sum();
        let period = period.saturating_sub(planned_ms);
        let ratio = if period == 0 { 1.0 } else { 1.0 - down_ms as f64 / period as f64 };
        let probes = || vifs.iter().flat_map(|vif| &vif.probes);
        let (received, lost) =
            probes().fold((0, 0), |(a, b), probe| (a + probe.received, b + probe.lost));
        let first = self.billing.first();
        Total {
            availability: (!known.is_empty()).then_some(ratio),
            outages: sum(|of| of.outages),
            down_ms,
            longest_ms: known.iter().map(|of| of.longest_ms).max().unwrap_or(0),
            planned_ms,
            sent: probes().map(|probe| probe.sent).sum(),
            received,
            lost,
            loss_percent: (received + lost > 0)
                .then(|| 100.0 * lost as f64 / (received + lost) as f64),
            traffic: self.traffic("customer", &self.customer, 0),
            bins: first.map_or(0, |row| row.bins),
            missing_bins: first.map_or(0, |row| row.missing_bins),
            incomplete_bins: first.map_or(0, |row| row.incomplete_bins),
        }
    }

    /// How much of the month is known.
    fn notes(&self, vifs: &[VifReport], total: &Total) -> Vec<String> {
        let mut notes = Vec::new();
        if self.now_ms < self.end_ms {
            let now = moment(self.now_ms);
            notes.push(format!(
                "The month is not over: the figures are of the time until now, {now}."
            ));
        }
        for vif in vifs {
            let name = &vif.vif;
            match &vif.availability {
                Some(known) if known.since_ms > self.since_ms => notes.push(format!(
                    "Outages of VIF {name} are known since {}: its availability is of that time.",
                    moment(known.since_ms)
                )),
                Some(_) => {}
                None if self.sla.iter().any(|row| row.vif == *name) => {
                    notes.push(format!(
                        "VIF {name} was first seen after this month: its availability is not known."
                    ));
                }
                None => notes.push(format!(
                    "VIF {name} is the customer's no more: its availability is not known."
                )),
            }
        }
        if total.bins + total.missing_bins > 0 {
            let Total { bins, missing_bins, incomplete_bins, .. } = total;
            notes.push(format!(
                "Traffic is that of {} of {} bins of five minutes; {} of them are incomplete, and {} are \
                 missing since the station did not run.",
                count(*bins),
                count(bins + missing_bins),
                count(*incomplete_bins),
                count(*missing_bins)
            ));
        }
        let billing = self.billing.first().into_iter().flat_map(|row| &row.damage);
        let probes = self.probes.iter().filter_map(|row| row.damage.as_ref());
        let damage: BTreeSet<&String> = billing.chain(probes).collect();
        notes.extend(damage.into_iter().map(|what| format!("The numbers are too low: {what}.")));
        notes
    }
}
