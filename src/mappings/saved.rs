//! What holds, as the disk has it.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::book::{Source, Vrf};
use super::{Book, HopText, Limits, Table};

/// A part of what is on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Saved {
    /// How far a source is.
    Source {
        /// Its name.
        source: String,
        /// See `SourceRow::generation` of the rows that clients see.
        generation: Option<u64>,
        /// See `SourceRow::end_of_sync_ms` of the rows that clients see.
        end_of_sync_ms: Option<u64>,
        /// See `SourceRow::position` of the rows that clients see.
        position: Option<u64>,
    },
    /// Prefixes of a VRF that lead into the same tunnels.
    Mappings {
        /// Whose they are.
        source: String,
        /// The VRF's name.
        vrf: String,
        /// The tunnels.
        via: Vec<HopText>,
        /// The prefixes.
        prefixes: Vec<IpNet>,
    },
}

impl Book {
    /// All of it, for the disk.
    pub fn saved(&self) -> Vec<Saved> {
        let mut saved: Vec<Saved> = Vec::new();
        for (name, source) in &self.sources {
            let &Source { generation, end_of_sync_ms, position, .. } = source;
            saved.push(Saved::Source {
                source: name.to_string(),
                generation,
                end_of_sync_ms,
                position,
            });
        }
        for (name, Vrf { source, table }) in &self.vrfs {
            let mut prefixes: BTreeMap<u32, Vec<IpNet>> = BTreeMap::new();
            for (prefix, (id, _)) in table.prefixes().iter() {
                prefixes.entry(id).or_default().push(prefix);
            }
            for (id, prefixes) in prefixes {
                let via = table.set(id).map(|set| set.hops.iter().map(HopText::from).collect());
                saved.push(Saved::Mappings {
                    source: source.to_string(),
                    vrf: name.to_string(),
                    via: via.unwrap_or_default(),
                    prefixes,
                });
            }
        }
        saved
    }

    /// A book of what was on disk. Nobody is connected.
    pub fn restored(limits: Limits, saved: Vec<Saved>, now_ms: u64) -> Book {
        let mut book = Book::new(limits);
        for part in saved {
            match part {
                Saved::Source { source, generation, end_of_sync_ms, position } => {
                    let since_ms = now_ms;
                    let held = Source {
                        since_ms,
                        generation,
                        end_of_sync_ms,
                        position,
                        ..Source::default()
                    };
                    book.sources.insert(source.into(), held);
                }
                Saved::Mappings { source, vrf, via, prefixes } => {
                    let hops: Option<Vec<_>> = via.iter().map(HopText::hop).collect();
                    let Some(hops) = hops.filter(|hops| !hops.is_empty()) else { continue };
                    let source: Arc<str> = source.into();
                    book.sources.entry(source.clone()).or_default();
                    let entry = book.vrfs.entry(vrf.into());
                    let held = entry.or_insert_with(|| Vrf { source, table: Table::default() });
                    let (before, held_hops) = (held.table.len(), held.table.hops());
                    let id = held.table.adopt(&hops.into(), ());
                    for prefix in prefixes {
                        held.put(prefix, Some((id, 0)));
                    }
                    held.table.drop_unused(id);
                    book.mappings = book.mappings + held.table.len() - before;
                    book.hops = book.hops + held.table.hops() - held_hops;
                }
            }
        }
        book.vrfs.retain(|_, vrf| !vrf.table.is_empty());
        book
    }
}
