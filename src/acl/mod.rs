//! Access lists: ordered, stateless rules over IP packets, and the classifier that finds the first one that matches.
//!
//! What a rule matches is written once, in [`Rule::matches`] over [`Fields`]: [`first_match`] scans by it, tests and the
//! slow path use that, and the classifier is tested against it.
//!
//! The classifier takes the packet apart: each address to the deepest prefix of the list that has it (a trie that skips
//! what all prefixes share), each of the two 16-bit words behind the IP header to the interval between two numbers that
//! the list names, protocol, TCP flags and fragmentation to a class. Ports and protocol together name a column. Rules
//! with any destination have a row for each source prefix, rules with any source one for each destination prefix, and
//! rules with both one for each pair of prefixes that differ; a row has the first rule of each column. So a lookup is
//! two tries, four small tables and three rows, however many rules there are, and the least of three numbers is the
//! rule. Pairs that behave alike share a row, and what no rule distinguishes is not stored.
//!
//! The product of what rules distinguish can be large, for rules that were made to be so. Where the tables would take
//! more than [`TABLES`] the list is compiled to bit vectors instead: a bit for each rule and class of each field, 64
//! rules at a time, whose memory grows with the square of the rules at most and whose time with their number.
//! [`Classifier::kind`] says which.

mod build;
mod classes;
mod classifier;
mod list;
mod packet;
mod rows;
mod rule;
mod text;
mod trie;

#[cfg(test)]
mod tests;

pub use classifier::{Classifier, Kind};
pub use list::List;
pub use packet::{Addresses, Fields, Unreadable, Upper};
pub use rule::{Action, Family, Flags, Rule, Span, first_match};
pub use text::RuleError;

/// The most rules of a list.
pub const MAX_RULES: usize = 10_000;
/// The most octets that the tables of a list may take.
pub const TABLES: usize = 64 << 20;
