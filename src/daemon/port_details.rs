//! What ports' drivers and modules tell: `show ports --detail`, and the same on the page of metrics. A question to a
//! driver holds the kernel's lock of all interfaces, to a module for some ten milliseconds a page. So one thread asks
//! for everybody, one port after the other, and whoever wants to know waits for it with patience or takes what it read
//! before.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::control_thread::Control;
use super::desk::Desk;
use crate::admin::answer::Answer;
use crate::admin::rows::{FecInfo, PortDetailRow};
use crate::clock::milliseconds;
use crate::netlink::{Ethtool, Fec, LinkCounts, link_counts};
use crate::optics::{self, HALF, Page};
use crate::port::af_xdp::Driver;

/// Between two readings for metrics.
const PERIOD: Duration = Duration::from_secs(15);
/// At most this part of the time is spent with reading for metrics: a module that hardly answers holds up no link.
const SPARED: u32 = 20;
/// Who asks so shortly after a reading gets that one; so does who asks within so many times what the reading took.
const FRESH: Duration = Duration::from_secs(1);
const RESTED: u32 = 4;
/// How long somebody waits for a reading.
const PATIENCE: Duration = Duration::from_secs(5);
/// Askers that wait; more take what was read before.
const ASKERS: usize = 64;

/// What was read of each interface, and when; held only while it is copied.
#[derive(Clone, Default)]
struct Readings(Arc<Mutex<HashMap<String, (Instant, PortDetailRow)>>>);

/// The readings, and the way to new ones.
#[derive(Clone)]
pub(super) struct DetailBook {
    readings: Readings,
    /// Who asks; nobody where metrics may be served now, or no more.
    wanted: Sender<Option<Sender<()>>>,
}

impl DetailBook {
    /// Has everything read anew, and waits for it; false where it takes too long.
    fn refresh(&self) -> bool {
        let (sender, done) = bounded(1);
        self.wanted.try_send(Some(sender)).is_ok() && done.recv_timeout(PATIENCE).is_ok()
    }

    /// Has the thread look whether metrics are served.
    pub fn nudge(&self) {
        // Where it is full, it wakes soon, and is told of another commit.
        drop(self.wanted.try_send(None));
    }

    /// The rows of some ports, with what was last read.
    pub fn rows(&self, ports: Vec<PortDetailRow>) -> Vec<PortDetailRow> {
        let read = self.readings.0.lock().unwrap_or_else(PoisonError::into_inner);
        let row = |port: PortDetailRow| {
            let Some((at, found)) = read.get(&port.interface) else { return port };
            let age_ms = Some(milliseconds(at.elapsed()));
            let PortDetailRow { name, labels, interface, link, .. } = port;
            PortDetailRow { name, labels, interface, link, age_ms, ..found.clone() }
        };
        ports.into_iter().map(row).collect()
    }
}

impl Readings {
    fn keep(&self, interface: &str, found: PortDetailRow) {
        let mut read = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        read.insert(interface.to_owned(), (Instant::now(), found));
    }

    /// Reads all ports, one after the other. Interfaces that are no port any more are forgotten.
    fn take(&self, ports: &[PortDetailRow]) {
        let is_port = |interface: &String| ports.iter().any(|port| port.interface == *interface);
        let mut read = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        read.retain(|interface, _| is_port(interface));
        drop(read);
        let ethtool = Ethtool::open();
        for port in ports {
            self.keep(&port.interface, read_one(&ethtool, &port.interface));
        }
    }
}

/// What the control thread knows of the ports.
pub(super) fn known(control: &Control) -> Vec<PortDetailRow> {
    let row = control.datapath.ports.iter().map(|(_, state)| PortDetailRow {
        name: state.config.name.to_string(),
        labels: state.config.labels.clone(),
        interface: state.config.interface.clone(),
        link: state.link().into(),
        ..PortDetailRow::default()
    });
    row.collect()
}

/// `show ports --detail`.
pub(super) fn show(control: &Control) -> Answer {
    let (ports, book) = (known(control), control.details.clone());
    Answer::later(move || {
        let late = !book.refresh();
        let mut rows = book.rows(ports);
        for row in rows.iter_mut().filter(|_| late) {
            let seconds = PATIENCE.as_secs();
            row.notes.push(format!("the drivers have not all answered within {seconds} s"));
        }
        Answer::rows(rows.into_iter().map(Box::new))
    })
}

/// Starts the thread that reads: when somebody asks and, where metrics are served, at a slow pace. It ends where the
/// control thread has.
///
/// # Errors
/// The system's, where there is no thread left.
pub(super) fn spawn(desk: Desk) -> io::Result<DetailBook> {
    let (wanted, askers) = bounded(ASKERS);
    let readings = Readings::default();
    let book = DetailBook { readings: readings.clone(), wanted };
    let work = move || serve(&desk, &readings, &askers);
    std::thread::Builder::new().name("port-details".into()).spawn(work)?;
    Ok(book)
}

fn serve(desk: &Desk, readings: &Readings, askers: &Receiver<Option<Sender<()>>>) {
    let for_metrics = |control: &mut Control| control.config().station.metrics.is_some();
    let mut next: Option<Instant> = None;
    let mut last: Option<(Instant, Duration)> = None;
    loop {
        let asked = match next {
            Some(next) => askers.recv_deadline(next),
            None => askers.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        let asker = match asked {
            Ok(Some(asker)) => Some(asker),
            Ok(None) => {
                let Some(for_metrics) = desk.ask(for_metrics) else { return };
                next = for_metrics.then(|| next.unwrap_or_else(Instant::now));
                continue;
            }
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let is_old = |(at, took): (Instant, Duration)| at.elapsed() > FRESH.max(took * RESTED);
        if asker.is_none() || last.is_none_or(is_old) {
            let Some(ports) = desk.ask(|control| known(control)) else { return };
            let began = Instant::now();
            readings.take(&ports);
            let took = began.elapsed();
            last = Some((Instant::now(), took));
            next = next.map(|_| Instant::now() + PERIOD.max(took * SPARED));
        }
        // Who asked may have gone.
        for asker in asker.into_iter().chain(askers.try_iter().flatten()) {
            let _ = asker.send(());
        }
    }
}

/// What the kernel, the driver and the module tell of an interface.
fn read_one(ethtool: &io::Result<Ethtool>, interface: &str) -> PortDetailRow {
    let counts = match link_counts(interface) {
        Ok(counts) => counts,
        // That it is missing the row says.
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => {
            return PortDetailRow::default();
        }
        Err(error) => {
            let notes = vec![format!("interface: {error}")];
            return PortDetailRow { notes, ..PortDetailRow::default() };
        }
    };
    let Driver { name: driver, firmware, bus } = Driver::of(interface);
    let mut row = PortDetailRow {
        carrier_ups: counts.carrier_ups.map(u64::from),
        carrier_downs: counts.carrier_downs.map(u64::from),
        driver,
        firmware,
        bus,
        ..PortDetailRow::default()
    };
    match ethtool {
        Ok(ethtool) => ask_driver(ethtool, interface, &mut row),
        Err(error) => row.notes.push(format!("ethtool: {error}")),
    }
    let hardware = row.bus.is_some() && row.connector.is_some();
    row.errors = all_errors(std::mem::take(&mut row.errors), counts, hardware);
    row
}

fn ask_driver(ethtool: &Ethtool, interface: &str, row: &mut PortDetailRow) {
    let notes = &mut row.notes;
    let modes = told(notes, "link", ethtool.link_modes(interface)).unwrap_or_default();
    row.speed_mbps = modes.speed_mbps;
    row.duplex = modes.full_duplex.map(|full| if full { "full" } else { "half" }.to_owned());
    row.autonegotiation = modes.autonegotiation;
    row.lanes = modes.lanes;
    let connector = told(notes, "connector", ethtool.connector(interface));
    row.connector = connector.filter(|connector| !matches!(&**connector, "other" | "none"));
    row.down_reason = told(notes, "link", ethtool.down_reason(interface));
    let fec = told(notes, "FEC", ethtool.fec(interface));
    row.fec = fec.map(|Fec { configured, active, corrected_blocks, uncorrected_blocks }| FecInfo {
        configured,
        active,
        corrected_blocks,
        uncorrected_blocks,
    });
    row.errors = told(notes, "errors", ethtool.errors(interface));
    let memory = |page: Page| {
        let (place, length) = ((page.i2c, page.page, page.offset), u32::try_from(HALF));
        let octets = ethtool.module_memory(interface, place, length.map_err(io::Error::other)?)?;
        octets.ok_or_else(|| io::Error::from_raw_os_error(libc::EOPNOTSUPP))
    };
    row.module = match optics::decode(memory) {
        Ok(module) => Some(module),
        // A driver that reads no modules.
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => None,
        Err(error) => {
            notes.push(format!("module: none, or it does not answer: {error}"));
            None
        }
    };
}

/// An answer, or a note of why there is none.
fn told<T: Default>(notes: &mut Vec<String>, what: &str, answer: io::Result<T>) -> T {
    answer.unwrap_or_else(|error| {
        notes.push(format!("{what}: {error}"));
        T::default()
    })
}

/// The standard statistics, and for what they leave out the kernel's own. There a driver that counts nothing has zeros:
/// they are believed of hardware alone, which has a place on a bus and something to plug in.
fn all_errors(
    standard: BTreeMap<String, u64>,
    counts: LinkCounts,
    hardware: bool,
) -> BTreeMap<String, u64> {
    let mut all = counts.errors;
    all.retain(|_, number| hardware || *number != 0);
    all.extend(standard);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(of: &[(&str, u64)]) -> BTreeMap<String, u64> {
        of.iter().map(|&(name, number)| (name.to_owned(), number)).collect()
    }

    #[test]
    fn zeros_of_drivers_that_count_nothing_are_not_told() {
        let counts =
            || LinkCounts { errors: errors(&[("crc", 0), ("length", 4)]), ..LinkCounts::default() };
        assert_eq!(all_errors(errors(&[]), counts(), false), errors(&[("length", 4)]));
        assert_eq!(all_errors(errors(&[]), counts(), true), errors(&[("crc", 0), ("length", 4)]));
        let standard = errors(&[("crc", 7), ("symbol", 0)]);
        let expected = errors(&[("crc", 7), ("length", 4), ("symbol", 0)]);
        assert_eq!(all_errors(standard, counts(), false), expected);
    }

    #[test]
    fn an_interface_that_is_not_there_and_one_that_tells_nothing_have_nothing() {
        let ethtool = Ethtool::open();
        assert_eq!(read_one(&ethtool, "nosuch0"), PortDetailRow::default());
        let lo = read_one(&ethtool, "lo");
        assert_eq!((lo.speed_mbps, lo.fec, lo.module), (None, None, None));
        assert_eq!(lo.errors, errors(&[]));
        // A module's memory is for CAP_NET_ADMIN only.
        let forbidden = std::io::Error::from_raw_os_error(libc::EPERM).to_string();
        assert!(lo.notes.iter().all(|note| note.ends_with(&forbidden)), "{:?}", lo.notes);
    }

    #[test]
    fn who_waits_for_a_reading_that_does_not_come_goes_on_with_the_last_one() {
        let (wanted, askers) = bounded(1);
        let book = DetailBook { readings: Readings::default(), wanted };
        book.readings
            .keep("eth1", PortDetailRow { speed_mbps: Some(10_000), ..PortDetailRow::default() });
        drop(askers);
        assert!(!book.refresh());
        let port = |interface: &str| PortDetailRow {
            name: "p".into(),
            interface: interface.into(),
            link: "up".into(),
            ..PortDetailRow::default()
        };
        let rows = book.rows(vec![port("eth1"), port("eth2")]);
        assert_eq!((rows[0].speed_mbps, &*rows[0].name, &*rows[0].link), (Some(10_000), "p", "up"));
        assert!(rows[0].age_ms.is_some());
        assert_eq!(rows[1], port("eth2"));
    }
}
