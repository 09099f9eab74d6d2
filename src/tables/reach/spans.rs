//! Spans of addresses of one family, and what is left of prefixes between more specific ones: exactly, whatever their
//! number, for no address is looked at by itself.

use ipnet::IpNet;

/// Addresses from the first to the last, both included, as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    pub first: u128,
    pub last: u128,
}

impl Span {
    /// The addresses of a prefix.
    pub fn of(net: &IpNet) -> Span {
        match net {
            IpNet::V4(net) => Span {
                first: net.network().to_bits().into(),
                last: net.broadcast().to_bits().into(),
            },
            IpNet::V6(net) => {
                Span { first: net.network().to_bits(), last: net.broadcast().to_bits() }
            }
        }
    }

    /// What two have in common.
    pub fn and(self, other: Span) -> Option<Span> {
        let (first, last) = (self.first.max(other.first), self.last.min(other.last));
        (first <= last).then_some(Span { first, last })
    }

    /// What is left of it without `others`, which are [`apart`].
    pub fn without(self, others: &[Span]) -> impl Iterator<Item = Span> {
        let from = others.partition_point(|other| other.last < self.first);
        let others = others[from..].iter().take_while(move |other| other.first <= self.last);
        // Where what is left goes on; `None` behind the last address that there is.
        let mut next = Some(self.first);
        let ends = others.map(|other| (other.first.checked_sub(1), other.last.checked_add(1)));
        let ends = ends.chain([(Some(self.last), None)]);
        ends.filter_map(move |(end, after)| {
            let first = std::mem::replace(&mut next, after);
            let (first, last) = (first?, end?);
            (first <= last).then_some(Span { first, last })
        })
    }
}

/// The same addresses in spans that are sorted and do not touch.
pub(super) fn apart(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_unstable();
    spans.dedup_by(|next, last| {
        let touches = last.last.checked_add(1).is_none_or(|after| next.first <= after);
        if touches {
            last.last = last.last.max(next.last);
        }
        touches
    });
    spans
}

/// Tells of each prefix the spans that no more specific one has, in the order of addresses, with the prefix's place in
/// the list. Prefixes come as the FIB has them: by address, a shorter one before those that it covers.
pub(super) fn effective(prefixes: impl Iterator<Item = Span>, mut each: impl FnMut(usize, Span)) {
    /// A prefix whose end is yet to come. `next`: where the addresses begin that nothing more specific has had.
    struct Open {
        place: usize,
        whole: Span,
        next: Option<u128>,
    }
    let mut open: Vec<Open> = Vec::new();
    let mut tell = |of: &Open, last: Option<u128>| {
        if let (Some(first), Some(last)) = (of.next, last)
            && first <= last
        {
            each(of.place, Span { first, last });
        }
    };
    for (place, whole) in prefixes.enumerate() {
        while let Some(over) = open.pop_if(|last| last.whole.last < whole.first) {
            tell(&over, Some(over.whole.last));
        }
        if let Some(around) = open.last_mut() {
            tell(around, whole.first.checked_sub(1));
            around.next = whole.last.checked_add(1);
        }
        open.push(Open { place, whole, next: Some(whole.first) });
    }
    while let Some(over) = open.pop() {
        tell(&over, Some(over.whole.last));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn span(first: u128, last: u128) -> Span {
        Span { first, last }
    }

    /// The prefixes that have any address to themselves.
    fn alive(prefixes: &[&str]) -> Vec<String> {
        let mut nets: Vec<IpNet> = prefixes.iter().map(|text| text.parse().unwrap()).collect();
        nets.sort();
        let mut alive = Vec::new();
        effective(nets.iter().map(Span::of), |place, _| alive.push(nets[place].to_string()));
        alive.dedup();
        alive.sort();
        alive.dedup();
        alive
    }

    #[test]
    fn what_more_specific_ones_cover_wholly_has_nothing() {
        for (prefixes, left) in [
            (&["0.0.0.0/0"][..], &["0.0.0.0/0"][..]),
            (&["0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1"], &["0.0.0.0/1", "128.0.0.0/1"]),
            (&["::/0", "::/1", "8000::/1"], &["8000::/1", "::/1"]),
            (&["10.0.0.0/31", "10.0.0.0/32", "10.0.0.1/32"], &["10.0.0.0/32", "10.0.0.1/32"]),
            (
                &["10.0.0.0/30", "10.0.0.0/31", "10.0.0.2/32"],
                &["10.0.0.0/30", "10.0.0.0/31", "10.0.0.2/32"],
            ),
            (&["fd00::/127", "fd00::/128", "fd00::1/128"], &["fd00::/128", "fd00::1/128"]),
            (
                &["255.255.255.254/31", "255.255.255.254/32", "255.255.255.255/32"],
                &["255.255.255.254/32", "255.255.255.255/32"],
            ),
            (
                &[
                    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/127",
                    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/128",
                    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128",
                ],
                &[
                    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/128",
                    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128",
                ],
            ),
            // Covered by what is not of one length, at any depth.
            (
                &["10.0.0.0/8", "10.0.0.0/9", "10.128.0.0/10", "10.192.0.0/11", "10.224.0.0/11"],
                &["10.0.0.0/9", "10.128.0.0/10", "10.192.0.0/11", "10.224.0.0/11"],
            ),
            (
                &["10.0.0.0/8", "10.0.0.0/16", "10.0.0.0/32"],
                &["10.0.0.0/16", "10.0.0.0/32", "10.0.0.0/8"],
            ),
            (&[], &[]),
        ] {
            assert_eq!(alive(prefixes), left, "{prefixes:?}");
        }
    }

    #[test]
    fn what_is_left_without_others_has_its_edges() {
        let all = span(0, u128::MAX);
        let left = |of: Span, others: &[Span]| of.without(others).collect::<Vec<_>>();
        assert_eq!(left(all, &[]), [all]);
        assert_eq!(left(all, &[all]), []);
        assert_eq!(left(all, &[span(0, 9)]), [span(10, u128::MAX)]);
        assert_eq!(left(all, &[span(10, u128::MAX)]), [span(0, 9)]);
        assert_eq!(left(span(5, 5), &[span(0, 4), span(6, 9)]), [span(5, 5)]);
        assert_eq!(
            left(span(3, 7), &[span(0, 3), span(5, 5), span(7, 9)]),
            [span(4, 4), span(6, 6)]
        );
        assert_eq!(
            apart(vec![span(5, 6), span(0, 2), span(3, 3), span(9, 9)]),
            [span(0, 3), span(5, 6), span(9, 9)]
        );
        assert_eq!(apart(vec![all, span(7, 8), span(u128::MAX, u128::MAX)]), [all]);
    }

    proptest! {
        /// Prefixes of eight bits, each address by itself.
        #[test]
        fn every_address_is_its_longest_prefixs(drawn in prop::collection::vec((any::<u8>(), 24..=32u8), 0..24)) {
            let net = |(address, len): &(u8, u8)| {
                let address = std::net::Ipv4Addr::new(10, 0, 0, *address);
                IpNet::new(address.into(), *len).unwrap().trunc()
            };
            let mut nets: Vec<IpNet> = drawn.iter().map(net).collect();
            nets.sort();
            nets.dedup();
            let mut owner = vec![None; 256];
            let mut last = None;
            effective(nets.iter().map(Span::of), |place, span| {
                assert!(last.is_none_or(|last| last < span.first), "in order, and apart");
                last = Some(span.last);
                for address in span.first..=span.last {
                    owner[address as usize & 0xff] = Some(nets[place]);
                }
            });
            for address in 0..=255u8 {
                let host = IpNet::from(std::net::IpAddr::from([10, 0, 0, address]));
                let longest = nets.iter().filter(|net| net.contains(&host)).max_by_key(|net| net.prefix_len());
                prop_assert_eq!(owner[usize::from(address)].as_ref(), longest);
            }
        }
    }
}
