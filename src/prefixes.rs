//! A value for each of many prefixes, as small as it can be: of a prefix its address in words and its length are kept.

use std::collections::BTreeMap;
use std::ops::Bound;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Address and length in one number: the order of `IpNet`, and one comparison.
type Key4 = u64;
/// Address in words, and length.
type Key6 = (u64, u64, u8);

/// Values by prefix. Host bits of a prefix do not count.
#[derive(Clone, Debug)]
pub struct PrefixMap<T> {
    v4: BTreeMap<Key4, T>,
    v6: BTreeMap<Key6, T>,
}

impl<T> Default for PrefixMap<T> {
    fn default() -> Self {
        PrefixMap { v4: BTreeMap::new(), v6: BTreeMap::new() }
    }
}

impl<T: Copy> PrefixMap<T> {
    /// The value of a prefix.
    pub fn get(&self, prefix: IpNet) -> Option<T> {
        match prefix {
            IpNet::V4(net) => self.v4.get(&key4(net)).copied(),
            IpNet::V6(net) => self.v6.get(&key6(net)).copied(),
        }
    }

    /// Gives a prefix a value, or none; the one that it had.
    pub fn set(&mut self, prefix: IpNet, value: Option<T>) -> Option<T> {
        match (prefix, value) {
            (IpNet::V4(net), Some(value)) => self.v4.insert(key4(net), value),
            (IpNet::V4(net), None) => self.v4.remove(&key4(net)),
            (IpNet::V6(net), Some(value)) => self.v6.insert(key6(net), value),
            (IpNet::V6(net), None) => self.v6.remove(&key6(net)),
        }
    }

    /// Whether some prefix is longer than `net` and in it.
    pub fn has_within(&self, net: IpNet) -> bool {
        let next = self.after(net).next();
        next.is_some_and(|(next, _)| net.contains(&next))
    }

    /// How many prefixes of a family there are.
    pub fn len(&self, v6: bool) -> usize {
        if v6 { self.v6.len() } else { self.v4.len() }
    }

    /// The prefixes of one family from `from` on, up to and without `until` where that is of the same family.
    pub fn range(&self, from: IpNet, until: Option<IpNet>) -> impl Iterator<Item = (IpNet, T)> {
        let until = until.filter(|until| until.addr().is_ipv4() == from.addr().is_ipv4());
        self.starting(from, false).take_while(move |(next, _)| until.is_none_or(|end| *next < end))
    }

    /// The prefixes of one family behind `net`.
    pub fn after(&self, net: IpNet) -> impl Iterator<Item = (IpNet, T)> {
        self.starting(net, true)
    }

    /// All prefixes, IPv4 first.
    pub fn iter(&self) -> impl Iterator<Item = (IpNet, T)> {
        let v4 = self.v4.iter().filter_map(|(&key, &value)| Some((net4(key)?, value)));
        v4.chain(self.v6.iter().filter_map(|(&key, &value)| Some((net6(key)?, value))))
    }

    fn starting(&self, net: IpNet, behind: bool) -> impl Iterator<Item = (IpNet, T)> {
        let (v4, v6) = match net {
            IpNet::V4(net) => {
                (Some(self.v4.range((bound(key4(net), behind), Bound::Unbounded))), None)
            }
            IpNet::V6(net) => {
                (None, Some(self.v6.range((bound(key6(net), behind), Bound::Unbounded))))
            }
        };
        let v4 = v4.into_iter().flatten().filter_map(|(&key, &value)| Some((net4(key)?, value)));
        v4.chain(v6.into_iter().flatten().filter_map(|(&key, &value)| Some((net6(key)?, value))))
    }
}

fn bound<K>(key: K, behind: bool) -> Bound<K> {
    if behind { Bound::Excluded(key) } else { Bound::Included(key) }
}

fn key4(net: Ipv4Net) -> Key4 {
    u64::from(net.network().to_bits()) << 8 | u64::from(net.prefix_len())
}

#[expect(clippy::cast_possible_truncation, reason = "halves")]
fn key6(net: Ipv6Net) -> Key6 {
    let bits = net.network().to_bits();
    ((bits >> 64) as u64, bits as u64, net.prefix_len())
}

#[expect(clippy::cast_possible_truncation, reason = "what `key4` has put together")]
fn net4(key: Key4) -> Option<IpNet> {
    Ipv4Net::new(((key >> 8) as u32).into(), key as u8).ok().map(IpNet::V4)
}

fn net6((high, low, length): Key6) -> Option<IpNet> {
    let bits = u128::from(high) << 64 | u128::from(low);
    Ipv6Net::new(bits.into(), length).ok().map(IpNet::V6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn a_range_is_of_one_family_and_in_the_order_of_prefixes() {
        let mut map = PrefixMap::default();
        let mut all: Vec<IpNet> = [
            "0.0.0.0/0",
            "10.0.0.0/8",
            "10.0.0.0/9",
            "10.1.0.0/16",
            "::/0",
            "fd00::/8",
            "fd00::/9",
        ]
        .map(net)
        .to_vec();
        for &prefix in &all {
            assert_eq!(map.set(prefix, Some(1)), None);
        }
        all.sort();
        let prefixes = |found: &mut dyn Iterator<Item = (IpNet, i32)>| -> Vec<IpNet> {
            found.map(|(prefix, _)| prefix).collect()
        };
        let range =
            |from: &str, until: Option<&str>| prefixes(&mut map.range(net(from), until.map(net)));
        assert_eq!(range("0.0.0.0/0", None), all[..4]);
        assert_eq!(range("::/0", None), all[4..]);
        assert_eq!(range("10.0.0.0/9", Some("10.1.0.0/16")), [net("10.0.0.0/9")]);
        assert_eq!(range("10.0.0.0/9", Some("fd00::/9")), all[2..4]);
        assert_eq!(range("fd00::/9", None), [net("fd00::/9")]);
        assert_eq!(prefixes(&mut map.after(net("10.0.0.0/8"))), all[2..4]);
        assert_eq!(prefixes(&mut map.iter()), all);
        assert!(map.has_within(net("10.0.0.0/8")) && !map.has_within(net("10.1.0.0/16")));
        assert_eq!((map.len(false), map.len(true)), (4, 3));
    }
}
