//! `show address-limits`.

use std::cmp::Reverse;

use super::answer::no;
use super::control_thread::Control;
use crate::admin::answer::Answer;
use crate::admin::protocol::{AddressLimitFilter, MAX_SHOWN};
use crate::admin::rows::{AddressEntry, AddressLimitRow};
use crate::tables::address_limit::Address;
use crate::tables::{AddressLimit, Snapshot};

/// Addresses that are shown where nobody says how many.
const SHOWN: u32 = 20;

/// All limits, or one with the addresses that exceeded it most.
pub(super) fn show(control: &Control, filter: &AddressLimitFilter) -> Answer {
    let (tables, filter) = (control.engine.tables().clone(), filter.clone());
    let mut known = control.config().address_limits.iter().map(|limit| &*limit.name);
    if let Some(name) = filter.name.as_deref().filter(|name| !known.any(|known| known == *name)) {
        return no("address_limit", name);
    }
    let now_ns = u64::try_from(control.datapath.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
    Answer::later(move || {
        let Some(name) = &filter.name else { return Answer::rows(rows(&tables)) };
        let limits = tables.address_limits.all.iter().filter(|limit| *limit.name == **name);
        let rows = limits.map(|limit| {
            let entries = entries(limit, &filter, now_ns);
            AddressLimitRow { entries, ..row(&tables, limit) }
        });
        Answer::rows(rows.collect::<Vec<_>>())
    })
}

/// A row for each limit that a VIF has, without its addresses.
pub(super) fn rows(tables: &Snapshot) -> Vec<AddressLimitRow> {
    let mut rows: Vec<_> =
        tables.address_limits.all.iter().map(|limit| row(tables, limit)).collect();
    rows.sort_by(|a, b| {
        (&a.name, &a.vrf, a.direction as u8).cmp(&(&b.name, &b.vrf, b.direction as u8))
    });
    rows
}

fn row(tables: &Snapshot, limit: &AddressLimit) -> AddressLimitRow {
    let AddressLimit { name, vrf, direction, terms, .. } = limit;
    let has = |other: &AddressLimit| {
        (&other.name, &other.vrf, other.direction) == (name, vrf, *direction)
    };
    let vifs = tables.vifs_by_id().filter(|(id, _)| {
        tables.address_limits.of(id.index(), *direction).iter().any(|other| has(other))
    });
    let mut row = AddressLimitRow {
        name: name.to_string(),
        vrf: vrf.to_string(),
        direction: *direction,
        by: terms.by,
        rate_bits_per_s: terms.pace.rate,
        burst_octets: terms.pace.burst,
        vifs: vifs.map(|(_, vif)| vif.name.to_string()).collect(),
        addresses: terms.addresses(),
        addresses_over: 0,
        passed_octets: 0,
        exceeded_frames: 0,
        exceeded_octets: 0,
        entries: Vec::new(),
    };
    for address in limit.addresses(0) {
        row.addresses_over += u64::from(address.exceeded_frames > 0);
        row.passed_octets += address.passed_octets;
        row.exceeded_frames += address.exceeded_frames;
        row.exceeded_octets += address.exceeded_octets;
    }
    row
}

/// Those that exceeded most, then those that had most.
fn entries(limit: &AddressLimit, filter: &AddressLimitFilter, now_ns: u64) -> Vec<AddressEntry> {
    let wanted = |address: &Address| {
        address.exceeded_frames > 0 || address.passed_octets > 0 && !filter.over
    };
    let mut all: Vec<Address> = limit.addresses(now_ns).filter(wanted).collect();
    all.sort_by_key(|address| {
        (Reverse(address.exceeded_octets), Reverse(address.passed_octets), address.net)
    });
    all.truncate(usize::try_from(filter.count.unwrap_or(SHOWN).min(MAX_SHOWN)).unwrap_or(0));
    let entry = |address: Address| AddressEntry {
        address: address.net,
        passed_octets: address.passed_octets,
        exceeded_frames: address.exceeded_frames,
        exceeded_octets: address.exceeded_octets,
        burst_used_percent: address.burst_used_percent,
    };
    all.into_iter().map(entry).collect()
}
