//! The columns of each kind of answer.

use std::io::{self, Write};

use super::filter::Subject;
use super::output::Show;
use super::table::{self, Column, Look, number, prose, state, text};
use super::units::{count, octets, seconds};
use crate::admin::rows::{
    CounterRow, Labels, LookupResult, Member, NeighborRow, PortRow, RouteRow, VersionInfo, VifRow,
    VrfRow, WorkerRow, word,
};

pub(super) fn or_dash(text: Option<impl ToString>) -> String {
    text.map_or_else(|| "-".to_owned(), |text| text.to_string())
}

/// Writes a table whose rows have labels: a column for each that some row has.
fn write_labelled<'a>(
    out: &mut impl Write,
    look: &Look,
    headings: &[Column],
    rows: impl Iterator<Item = (Vec<String>, &'a Labels)>,
) -> io::Result<()> {
    type Label = (Column, fn(&Labels) -> Option<&String>);
    let columns: [Label; 3] = [
        (text("CUSTOMER", 2), |labels| labels.customer.as_ref()),
        (text("CIRCUIT", 4), |labels| labels.circuit.as_ref()),
        (prose("DESCRIPTION", 6), |labels| labels.description.as_ref()),
    ];
    let rows: Vec<_> = rows.collect();
    let some = |(_, of): &Label| rows.iter().any(|(_, labels)| of(labels).is_some());
    let columns: Vec<Label> = columns.into_iter().filter(some).collect();
    let headings: Vec<Column> =
        headings.iter().copied().chain(columns.iter().map(|(heading, _)| *heading)).collect();
    let rows = rows.into_iter().map(|(mut row, labels)| {
        row.extend(columns.iter().map(|(_, of)| or_dash(of(labels))));
        row
    });
    table::write(out, look, &headings, rows)
}

impl Show for PortRow {
    fn subject(&self) -> Option<Subject<'_>> {
        Some(Subject::Port(&self.name))
    }

    fn state(&self) -> Option<&str> {
        Some(self.state_word())
    }

    fn show(rows: &[Self], look: &Look, out: &mut impl Write) -> io::Result<()> {
        let headings = [
            text("PORT", 0),
            text("INTERFACE", 6),
            text("ROLE", 4),
            state("LINK", 0),
            text("MAC", 9),
            number("MTU", 5),
            text("XDP", 7),
            text("ZERO-COPY", 8),
            number("QUEUES", 10),
            number("RX FRAMES", 3),
            number("RX", 1),
            number("TX FRAMES", 3),
            number("TX", 1),
            number("DROPS", 0),
            number("MISSED", 2),
        ];
        let troubled: Vec<&PortRow> = rows.iter().filter(|port| !port.trouble.is_empty()).collect();
        let rows = rows.iter().map(|port| {
            let row = vec![
                port.name.clone(),
                port.interface.clone(),
                word(port.role),
                port.state_words(),
                port.mac.clone(),
                port.mtu.to_string(),
                port.xdp_mode.clone(),
                if port.zero_copy { "yes" } else { "no" }.to_owned(),
                port.queues.to_string(),
                count(port.traffic.rx_frames),
                octets(port.traffic.rx_octets),
                count(port.traffic.tx_frames),
                octets(port.traffic.tx_octets),
                count(port.drops.values().sum()),
                count(port.missed()),
            ];
            (row, &port.labels)
        });
        write_labelled(out, look, &headings, rows)?;
        troubled.iter().try_for_each(|port| writeln!(out, "\n{}: {}", port.name, port.trouble))
    }
}

impl Show for VifRow {
    fn subject(&self) -> Option<Subject<'_>> {
        Some(Subject::Vif(&self.name))
    }

    fn state(&self) -> Option<&str> {
        Some(self.state_word())
    }

    fn show(rows: &[Self], look: &Look, out: &mut impl Write) -> io::Result<()> {
        let headings = [
            text("VIF", 0),
            text("PORT", 1),
            text("VLAN", 1),
            text("KIND", 5),
            text("VRF", 2),
            state("STATE", 0),
            number("MTU", 7),
            number("RX FRAMES", 6),
            number("RX", 3),
            number("TX FRAMES", 6),
            number("TX", 3),
            number("FORWARDED", 8),
            number("PUNTED", 9),
            number("DROPPED", 1),
            text("ADDRESSES", 4),
        ];
        let rows = rows.iter().map(|vif| {
            let addresses: Vec<String> = vif.addresses.iter().map(ToString::to_string).collect();
            let row = vec![
                vif.name.clone(),
                vif.port.clone(),
                format!("{}{}", vif.vlan, if vif.service_tag { " (802.1ad)" } else { "" }),
                or_dash(vif.kind.map(word)),
                vif.vrf.clone(),
                vif.state_word().to_owned(),
                vif.mtu.to_string(),
                count(vif.traffic.rx_frames),
                octets(vif.traffic.rx_octets),
                count(vif.traffic.tx_frames),
                octets(vif.traffic.tx_octets),
                count(vif.forwarded),
                count(vif.punted),
                count(vif.dropped),
                addresses.join(" "),
            ];
            (row, &vif.labels)
        });
        write_labelled(out, look, &headings, rows)
    }
}

impl Show for VrfRow {
    fn subject(&self) -> Option<Subject<'_>> {
        Some(Subject::Vrf(&self.name))
    }

    fn show(rows: &[Self], look: &Look, out: &mut impl Write) -> io::Result<()> {
        let rows = rows.iter().map(|vrf| {
            let [vifs, v4, v6] = [vrf.vifs, vrf.ipv4_routes, vrf.ipv6_routes].map(count);
            (vec![vrf.name.clone(), word(vrf.kind), vifs, v4, v6], &vrf.labels)
        });
        write_labelled(
            out,
            look,
            &[
                text("VRF", 0),
                text("KIND", 1),
                number("VIFS", 1),
                number("IPV4 ROUTES", 2),
                number("IPV6 ROUTES", 2),
            ],
            rows,
        )
    }
}

/// Members of a group, a line each.
fn members(members: &[Member]) -> String {
    let lines = members.iter().map(|member| {
        let weight = match (member.backup, members.len()) {
            (true, _) => " backup".to_owned(),
            (false, 1) => String::new(),
            (false, _) => format!(" weight {}", member.weight),
        };
        let state = if member.state == "reachable" {
            String::new()
        } else {
            format!(" ({})", member.state)
        };
        let next_hop = or_dash(member.next_hop);
        format!("{next_hop} on {}{weight}{state}", member.vif)
    });
    lines.collect::<Vec<_>>().join("\n")
}

impl Show for RouteRow {
    fn subject(&self) -> Option<Subject<'_>> {
        Some(Subject::Vrf(&self.vrf))
    }

    fn show(rows: &[Self], look: &Look, out: &mut impl Write) -> io::Result<()> {
        let rows = rows.iter().map(|route| {
            let prefix = route.prefix.to_string();
            vec![prefix, route.origin.clone(), route.action.clone(), members(&route.via)]
        });
        table::write(
            out,
            look,
            &[text("PREFIX", 0), text("ORIGIN", 0), text("ACTION", 1), text("VIA", 0)],
            rows,
        )
    }
}

impl Show for NeighborRow {
    fn subject(&self) -> Option<Subject<'_>> {
        Some(Subject::Vif(&self.vif))
    }

    fn state(&self) -> Option<&str> {
        Some(&self.state)
    }

    fn show(rows: &[Self], look: &Look, out: &mut impl Write) -> io::Result<()> {
        let rows = rows.iter().map(|neighbor| {
            vec![
                neighbor.vif.clone(),
                neighbor.vrf.clone(),
                neighbor.address.to_string(),
                or_dash(neighbor.mac.as_ref()),
                neighbor.state.clone(),
                seconds(neighbor.age_s),
            ]
        });
        table::write(
            out,
            look,
            &[
                text("VIF", 0),
                text("VRF", 2),
                text("ADDRESS", 0),
                text("MAC", 1),
                state("STATE", 0),
                number("AGE", 1),
            ],
            rows,
        )
    }
}

impl Show for CounterRow {
    fn subject(&self) -> Option<Subject<'_>> {
        Some(Subject::of(&self.scope, &self.name))
    }

    fn show(rows: &[Self], look: &Look, out: &mut impl Write) -> io::Result<()> {
        for (i, row) in rows.iter().enumerate() {
            if i > 0 {
                writeln!(out)?;
            }
            let sum = &row.conservation;
            writeln!(
                out,
                "{} {}: received {} {} forwarded {} + punted {} + dropped {}",
                row.scope,
                row.name,
                count(sum.received),
                if sum.ok { "=" } else { "IS NOT" },
                count(sum.forwarded),
                count(sum.punted),
                count(sum.dropped),
            )?;
            let rows = row.counters.iter().map(|counter| {
                let name = counter.name.clone();
                vec![counter.group.clone(), name, count(counter.value), counter.help.clone()]
            });
            if !row.counters.is_empty() {
                table::write(
                    out,
                    look,
                    &[
                        text("GROUP", 2),
                        text("COUNTER", 0),
                        number("VALUE", 0),
                        prose("MEANING", 1),
                    ],
                    rows,
                )?;
            }
        }
        Ok(())
    }
}

impl Show for WorkerRow {
    fn show(rows: &[Self], look: &Look, out: &mut impl Write) -> io::Result<()> {
        let headings = [
            number("WORKER", 0),
            number("CPU", 1),
            number("GENERATION", 5),
            number("LOOPS", 8),
            number("EMPTY", 7),
            number("BURSTS", 6),
            number("FRAMES", 2),
            number("FRAMES/BURST", 1),
            number("NS/FRAME", 1),
            number("SLEEPS", 7),
            number("SYSCALLS/FRAME", 3),
            number("LOST", 1),
            number("FREE FRAMES", 2),
        ];
        let rows = rows.iter().map(|worker| {
            vec![
                worker.worker.to_string(),
                worker.cpu.to_string(),
                worker.generation.to_string(),
                count(worker.loops),
                count(worker.empty),
                count(worker.bursts),
                count(worker.frames),
                format!("{:.1}", worker.burst_fill),
                format!("{:.0}", worker.ns_per_frame),
                count(worker.sleeps),
                format!("{:.3}", worker.syscalls_per_frame),
                count(worker.lost),
                format!("{} of {}", count(worker.frames_free), count(worker.frames_total)),
            ]
        });
        table::write(out, look, &headings, rows)?;
        out.write_all(WORKERS_HELP.as_bytes())
    }
}

/// How to read the table, and what the station has chosen by itself.
const WORKERS_HELP: &str = "
EMPTY           turns of the loop that found nothing; a worker that finds
                nothing for 50 us sleeps
FRAMES/BURST    up to 64 move together; near 64 the worker is at its limit
NS/FRAME        time per frame in turns that found some, system calls included
SYSCALLS/FRAME  in copy mode one call sends what a turn queued (about 1/64 when
                busy); with zero-copy the driver is called only when it asks
                for it (need-wakeup)
LOST            answers of the slow path that found the worker's queue full
";

impl Show for LookupResult {
    fn show(rows: &[Self], look: &Look, out: &mut impl Write) -> io::Result<()> {
        for lookup in rows {
            let prefix = lookup.prefix.map_or("no route".to_owned(), |prefix| prefix.to_string());
            writeln!(out, "{} in vrf {}: {prefix}", lookup.address, lookup.vrf)?;
            let space = if lookup.help.is_empty() { "" } else { ": " };
            writeln!(out, "{}{space}{}", lookup.verdict, lookup.help)?;
            let rows = lookup.via.iter().map(|member| {
                vec![
                    member.vif.clone(),
                    or_dash(member.next_hop),
                    or_dash(member.mac.as_ref()),
                    member.state.clone(),
                    if member.backup { "backup".to_owned() } else { member.weight.to_string() },
                ]
            });
            if !lookup.via.is_empty() {
                table::write(
                    out,
                    look,
                    &[
                        text("VIF", 0),
                        text("NEXT HOP", 0),
                        text("MAC", 1),
                        state("STATE", 0),
                        number("WEIGHT", 1),
                    ],
                    rows,
                )?;
            }
        }
        Ok(())
    }
}

impl Show for VersionInfo {
    fn show(rows: &[Self], _look: &Look, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "stationctl {}", env!("CARGO_PKG_VERSION"))?;
        for station in rows {
            writeln!(out, "stationd   {}, protocol {}", station.version, station.protocol)?;
            writeln!(
                out,
                "station    {}, up {}, configuration {} of {}",
                station.station,
                seconds(station.uptime_s),
                station.configuration,
                station.config
            )?;
            let name = &station.namespace;
            writeln!(out, "BIRD, TAPs in network namespace {name}: ip netns exec {name} ip addr")?;
            if station.log_lines_lost > 0 {
                writeln!(out, "log        {} lines lost", station.log_lines_lost)?;
            }
            let (us, hold) = (station.longest_hold_us, &station.longest_hold);
            writeln!(out, "control    busy with one thing for {us} us at most ({hold})")?;
        }
        Ok(())
    }
}
