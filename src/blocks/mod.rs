//! Series on disk: what happened in spans of time, a block each, in a file for each calendar month, UTC. A block needs no
//! other: it has a head with checksums, and what follows is its kind's ([`Kept`]). Billing's bins and the hours of probes
//! are kept so.

mod head;
pub mod packed;
mod read;
mod store;

use std::collections::HashSet;
use std::sync::Arc;

pub use head::HEAD;
pub use read::{Item, Series, Unwritten};
pub use store::{Damage, Store, month, months, name_of, span_of};

use head::Head;

/// What a block has.
pub trait Kept: Sized {
    /// What a block begins with: the format and its version.
    const MAGIC: [u8; 4];
    /// What follows a month in a file's name.
    const SUFFIX: &'static str;
    /// The length of a span, in seconds. Spans begin at its multiples, UTC.
    const SPAN_S: u64;

    /// Its number among all blocks of the series: what the clock shows need not grow.
    fn number(&self) -> u64;
    /// The span: its number times [`Kept::SPAN_S`] is in seconds since 1970.
    fn span(&self) -> u32;
    /// Writes what follows the head, far less than 64 MiB.
    fn encode(&self, octets: &mut Vec<u8>);
    /// Reads what follows a head; `None` where that is none of ours.
    fn decode(span: u32, octets: &[u8], names: &mut Names) -> Option<Self>;
    /// Takes in another block of the same span.
    fn join(&mut self, other: Self);
}

/// When its span begins, in seconds since 1970.
pub fn start_s<K: Kept>(kept: &K) -> u64 {
    u64::from(kept.span()) * K::SPAN_S
}

/// The octets of a block.
pub fn encode<K: Kept>(kept: &K) -> Vec<u8> {
    let mut octets = vec![0; HEAD];
    kept.encode(&mut octets);
    let head = Head::of(kept.span(), &octets[HEAD..]);
    octets[..HEAD].copy_from_slice(&head.encode(K::MAGIC));
    octets
}

/// Reads a block that is all of these octets; `None` where it is none, or damaged.
pub fn decode<K: Kept>(octets: &[u8]) -> Option<K> {
    let (head, rest) = octets.split_first_chunk::<HEAD>()?;
    let head = Head::decode(*head, K::MAGIC)?;
    let whole = usize::try_from(head.length).ok()? == rest.len() && head.fits(rest);
    whole.then(|| K::decode(head.span, rest, &mut Names::default()))?
}

/// Names that were read: each is in memory once.
#[derive(Debug, Default)]
pub struct Names(HashSet<Arc<str>>);

impl Names {
    /// A name.
    pub fn get(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.0.get(name) {
            return known.clone();
        }
        let name: Arc<str> = name.into();
        self.0.insert(name.clone());
        name
    }
}
