//! Access lists: ordered, stateless rules over IP packets, and the classifier that finds the first one that matches.
//!
//! What a rule matches is written once, in [`Rule::matches`] over [`Fields`]: [`first_match`] scans by it, tests and the
//! slow path use that, and the classifier is tested against it.
//!
//! The classifier takes packets apart, eight at once: each address to the class of the longest prefix of the list that has
//! it, in a trie whose levels are as many for each address; each of the two 16-bit words behind the IP header to the
//! interval between two numbers that the list names, protocol, TCP flags and fragmentation to a class, and these three
//! together to a column, in small tables. Rules are in up to four groups, by whether their source and destination prefixes
//! are wide, so that many classes of addresses are in them, or narrow. In each group a pair of classes of addresses has a
//! cell, which says by two numbers which rules of the group have both prefixes: what these rules ask for besides, which
//! many pairs have in common, and where their numbers stand. A column and what is asked for say which of them is the
//! first. The least of the groups' rules is the list's. So the steps of a lookup are the same for any number of rules, all are loads from tables,
//! and neither a comparison nor a branch depends on a packet.
//!
//! The product of what rules distinguish can be large, for rules that were made to be so. Where the tables would take
//! more than [`TABLES`], or too long to make, the list is compiled to bit vectors instead: a bit for each rule and class of
//! each field, 256 rules at a time, whose memory grows with the square of the rules at most and whose time with their
//! number. [`Classifier::kind`] says which.

mod asked;
mod build;
mod cells;
mod classes;
mod classifier;
mod list;
mod packet;
mod rule;
mod tables;
mod text;
mod trie;
mod vectors;

#[cfg(test)]
mod tests;

pub use classes::kind;
pub use classifier::{Address, Classifier, Kind, Packets};
pub use list::List;
pub use packet::{Addresses, Fields, Unreadable, Upper};
pub use rule::{Action, Family, Flags, Rule, Span, first_match};
pub use text::RuleError;

/// The most rules of a list.
pub const MAX_RULES: usize = 10_000;
/// The most octets that the tables of a list may take.
pub const TABLES: usize = 64 << 20;
