//! The bins of a customer and its VIFs, thinned as they come: of each hour the highest is left.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::gather::HOUR_MS;
use super::model::TrafficHour;
use crate::admin::client::{Client, Failure};
use crate::admin::protocol::Request;
use crate::admin::rows::BillingBinRow;

/// A bin of the billing series.
const BIN_MS: u64 = 300_000;
/// Bins of an hour.
const IN_HOUR: u64 = HOUR_MS / BIN_MS;

/// What is left of bins.
#[derive(Debug, Default)]
pub(super) struct Bins {
    /// By hour, which of its bins were counted, a bit each.
    counted: BTreeMap<u64, u16>,
    /// By scope and name.
    series: HashMap<(String, String), Series>,
}

/// The bins in which something passed.
#[derive(Debug)]
struct Series {
    first_ms: u64,
    /// By hour: the highest, in each direction.
    highest: BTreeMap<u64, [u64; 2]>,
}

impl Bins {
    /// Asks for bins.
    pub fn ask(socket: &Path, request: &Request) -> Result<Bins, Failure> {
        let (mut client, mut bins) = (Client::connect(socket, request)?, Bins::default());
        while let Some(line) = client.line::<BillingBinRow>()? {
            line.rows.into_iter().for_each(|bin| bins.take(bin));
        }
        Ok(bins)
    }

    /// Takes in a bin that is over. Each that was counted has one of the customer.
    pub fn take(&mut self, bin: BillingBinRow) {
        if bin.damage.is_some() || bin.marks.iter().any(|mark| mark == "open") {
            return;
        }
        let hour_ms = bin.start_ms / HOUR_MS * HOUR_MS;
        *self.counted.entry(hour_ms).or_default() |= 1 << (bin.start_ms / BIN_MS % IN_HOUR);
        let series = self
            .series
            .entry((bin.scope, bin.name))
            .or_insert(Series { first_ms: bin.start_ms, highest: BTreeMap::new() });
        series.first_ms = series.first_ms.min(bin.start_ms);
        let [rx, tx] = series.highest.entry(hour_ms).or_default();
        (*rx, *tx) = (bin.rx_bits_per_s.max(*rx), bin.tx_bits_per_s.max(*tx));
    }

    /// The hours of a series that is known since then, or since something passed; and how octets are its mean in bits a
    /// second.
    pub fn hours(
        &self,
        scope: &str,
        name: &str,
        since_ms: u64,
    ) -> (Vec<TrafficHour>, impl Fn(u64) -> u64 + use<>) {
        let series = self.series.get(&(scope.to_owned(), name.to_owned()));
        let since_ms = series.map_or(since_ms, |series| series.first_ms.min(since_ms));
        let hour = |(&start_ms, counted): (&u64, &u16)| {
            let is_known = |at: &u64| start_ms + (at + 1) * BIN_MS > since_ms;
            let bins = (0..IN_HOUR).filter(|at| counted >> at & 1 == 1).filter(is_known).count();
            let [rx, tx] =
                series.and_then(|it| it.highest.get(&start_ms)).copied().unwrap_or([0; 2]);
            TrafficHour {
                start_ms,
                bins: bins as u64,
                max_rx_bits_per_s: rx,
                max_tx_bits_per_s: tx,
            }
        };
        let hours = self.counted.iter().map(hour).filter(|hour| hour.bins > 0);
        let hours: Vec<TrafficHour> = hours.collect();
        let time_ms: u64 = hours.iter().map(|hour| hour.bins * BIN_MS).sum();
        let mean = move |octets: u64| {
            let mean = (u128::from(octets) * 8000).checked_div(time_ms.into()).unwrap_or(0);
            u64::try_from(mean).unwrap_or(u64::MAX)
        };
        (hours, mean)
    }
}
