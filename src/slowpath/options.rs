//! IPv4 options of packets that are forwarded in software (RFC 791 3.1, RFC 1812 5.3.13): record
//! route and timestamp are filled in, router alert and unknown ones pass. Source routes never do.

use std::net::Ipv4Addr;

use super::packet::ipv4_at;

const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const RECORD_ROUTE: u8 = 7;
const TIMESTAMP: u8 = 68;
const LOOSE_SOURCE_ROUTE: u8 = 131;
const STRICT_SOURCE_ROUTE: u8 = 137;

/// Why a packet's options cannot be processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    /// The octet at this offset of the IP header is wrong: answered by ICMP parameter problem.
    At(u8),
    /// A source route: dropped without an answer.
    SourceRoute,
}

/// One option and its offset in the list.
#[derive(Clone, Copy, Debug)]
pub struct IpOption<'a> {
    /// Offset of the type octet.
    pub at: usize,
    /// Type, length and data; of a no-operation the type alone.
    pub bytes: &'a [u8],
}

/// The options of a list, padding excluded. A wrong length is the last item: its offset.
pub fn walk(list: &[u8]) -> impl Iterator<Item = Result<IpOption<'_>, usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = list.get(at..)?;
        let length = match *rest {
            [] | [END, ..] => return None,
            [NO_OPERATION, ..] => 1,
            [_, length, ..] if length >= 2 => usize::from(length),
            _ => 0,
        };
        let bad = at + 1;
        match rest.get(..length).filter(|bytes| !bytes.is_empty()) {
            Some(bytes) => {
                let option = IpOption { at, bytes };
                at += length;
                Some(Ok(option))
            }
            None => {
                at = list.len();
                Some(Err(bad.min(list.len().saturating_sub(1))))
            }
        }
    })
}

/// Fills in what the options ask for. `header` is the whole IPv4 header; its checksum is not
/// updated. `own` is the router's address on the egress VIF; `milliseconds` the time.
pub fn process(header: &mut [u8], own: Ipv4Addr, milliseconds: u32) -> Result<(), Bad> {
    let bad = |at: usize| Bad::At(u8::try_from(20 + at).unwrap_or(u8::MAX));
    let list = header.get(20..).unwrap_or_default().to_vec();
    for option in walk(&list) {
        let option = option.map_err(bad)?;
        let mut bytes = option.bytes.to_vec();
        match bytes[0] {
            RECORD_ROUTE => record_route(&mut bytes, own),
            TIMESTAMP => timestamp(&mut bytes, own, milliseconds),
            LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE => return Err(Bad::SourceRoute),
            _ => Ok(()),
        }
        .map_err(|at| bad(option.at + at))?;
        header[20 + option.at..][..bytes.len()].copy_from_slice(&bytes);
    }
    Ok(())
}

/// Adds our address where there is room. An error is the offset of what is wrong in the option.
fn record_route(option: &mut [u8], own: Ipv4Addr) -> Result<(), usize> {
    let pointer = usize::from(*option.get(2).ok_or(1usize)?);
    if pointer < 4 {
        return Err(2);
    }
    if pointer > option.len() {
        return Ok(());
    }
    let slot = option.get_mut(pointer - 1..pointer + 3).ok_or(2usize)?;
    slot.copy_from_slice(&own.octets());
    option[2] += 4;
    Ok(())
}

/// Adds the time, and our address where it is asked for. The time is not of day, so its high bit
/// is set, as RFC 791 demands.
fn timestamp(option: &mut [u8], own: Ipv4Addr, milliseconds: u32) -> Result<(), usize> {
    let [_, _, pointer, overflow_and_flag, ..] = *option else { return Err(1) };
    let at = usize::from(pointer);
    if at < 5 {
        return Err(2);
    }
    if at > option.len() {
        // Full: count that we found no room; at 15 the packet is in error.
        option[3] = overflow_and_flag.checked_add(0x10).ok_or(3usize)?;
        return Ok(());
    }
    let time = (milliseconds | 0x8000_0000).to_be_bytes();
    let address = at - 1;
    let (stamp, length) = match overflow_and_flag & 0xf {
        0 => (address, 4),
        1 => (address + 4, 8),
        3 if ipv4_at(option, address) == Some(own) => (address + 4, 8),
        // The next address that shall stamp is not ours.
        3 => return if option.len() < address + 8 { Err(2) } else { Ok(()) },
        _ => return Err(3),
    };
    option.get_mut(stamp..stamp + 4).ok_or(2usize)?.copy_from_slice(&time);
    if length == 8 {
        option[address..address + 4].copy_from_slice(&own.octets());
    }
    option[2] = pointer.saturating_add(length);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);

    fn run(list: &[u8]) -> Result<Vec<u8>, Bad> {
        let mut header = [vec![0; 20], list.to_vec()].concat();
        process(&mut header, OWN, 5)?;
        Ok(header[20..].to_vec())
    }

    #[test]
    fn record_route_gets_our_address() {
        let empty = [7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let once = run(&empty).unwrap();
        assert_eq!(once, [7, 11, 8, 192, 0, 2, 9, 0, 0, 0, 0, 0]);
        let twice = run(&once).unwrap();
        assert_eq!(twice, [7, 11, 12, 192, 0, 2, 9, 192, 0, 2, 9, 0]);
        assert_eq!(run(&twice).unwrap(), twice, "full");
    }

    #[test]
    fn timestamps_by_flag() {
        let stamp = [0x80, 0, 0, 5];
        let plain = run(&[68, 8, 5, 0, 0, 0, 0, 0]).unwrap();
        assert_eq!(plain, [&[68, 8, 9, 0], &stamp[..]].concat());
        assert_eq!(run(&plain).unwrap()[3], 0x10, "one router found no room");
        let full = [68, 8, 9, 0xf0, 0, 0, 0, 0];
        assert_eq!(run(&full), Err(Bad::At(23)));
        let addressed = run(&[68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap();
        assert_eq!(addressed, [&[68, 12, 13, 1, 192, 0, 2, 9], &stamp[..]].concat());
        let ours = run(&[68, 12, 5, 3, 192, 0, 2, 9, 0, 0, 0, 0]).unwrap();
        assert_eq!(ours, [&[68, 12, 13, 3, 192, 0, 2, 9], &stamp[..]].concat());
        let others = [68, 12, 5, 3, 192, 0, 2, 8, 0, 0, 0, 0];
        assert_eq!(run(&others).unwrap(), others);
    }

    #[test]
    fn other_options_pass_and_the_list_ends_at_0() {
        for list in [[148, 4, 0, 0], [1, 1, 1, 0], [0, 131, 99, 99], [200, 4, 9, 9]] {
            assert_eq!(run(&list).unwrap(), list);
        }
    }

    #[test]
    fn bad_lengths_and_pointers_are_named() {
        for (list, at) in [
            (&[7, 1, 4, 0][..], 21),
            (&[7, 0, 4, 0], 21),
            (&[7, 9, 4, 0], 21),
            (&[1, 1, 1, 7], 23),
            (&[7, 2, 0, 0], 21),
            (&[7, 4, 3, 0], 22),
            (&[7, 4, 4, 0], 22),
            (&[68, 4, 4, 0], 22),
            (&[68, 6, 5, 0, 0, 0, 0, 0], 22),
            (&[68, 8, 5, 2, 0, 0, 0, 0], 23),
            (&[68, 8, 5, 1, 0, 0, 0, 0], 22),
            (&[68, 8, 5, 3, 0, 0, 0, 0], 22),
        ] {
            assert_eq!(run(list), Err(Bad::At(at)), "{list:?}");
        }
    }

    #[test]
    fn row_36_a_source_route_is_dropped() {
        for kind in [131, 137] {
            assert_eq!(run(&[kind, 7, 4, 1, 2, 3, 4, 0]), Err(Bad::SourceRoute));
        }
    }
}
