//! Answers as the kernel lays them out (linux/ethtool_netlink.h), put together here from attributes: this kernel has no
//! driver with FEC or a module. And the real kernel, of the loopback.

use super::super::generic::answer;
use super::answers::*;
use super::*;

fn nest(kind: u16, parts: &[Vec<u8>]) -> Vec<u8> {
    attribute(kind | NLA_F_NESTED, &parts.concat())
}

fn u32s(kind: u16, value: u32) -> Vec<u8> {
    attribute(kind, &value.to_ne_bytes())
}

/// A bitset of link modes in its compact form: 3 words.
fn bitset(bits: &[u32]) -> Vec<Vec<u8>> {
    let mut words = [0_u32; 3];
    bits.iter().for_each(|bit| words[*bit as usize / 32] |= 1 << (bit % 32));
    let words: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    vec![attribute(1, &[]), u32s(2, 93), attribute(4, &words)]
}

/// A message of the family's, with its header.
fn message(kind: u16, attributes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(20 + attributes.len()).unwrap();
    let header = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10], &[1, 1, 0, 0]];
    [&header.concat()[..], attributes].concat()
}

fn stat(id: u16, value: u64) -> Vec<u8> {
    nest(4, &[attribute(id, &value.to_ne_bytes())])
}

#[test]
fn a_link_is_as_its_driver_says() {
    let octets = [attribute(2, &[1]), u32s(5, 25_000), attribute(6, &[1]), u32s(9, 1)].concat();
    let answered = answer(&message(0x15, &octets)).unwrap();
    let expected = LinkModes {
        speed_mbps: Some(25_000),
        full_duplex: Some(true),
        autonegotiation: Some(true),
        lanes: Some(1),
    };
    assert_eq!(link_modes(&answered), expected);
    let unknown = [attribute(2, &[0]), u32s(5, u32::MAX), attribute(6, &[0xff])].concat();
    let expected = LinkModes { autonegotiation: Some(false), ..LinkModes::default() };
    assert_eq!(link_modes(&unknown), expected);
    assert_eq!(connector(&attribute(2, &[3])).as_deref(), Some("fibre"));
    assert_eq!(connector(&attribute(2, &[0x77])), None);
}

#[test]
fn reasons_for_a_link_that_is_down_are_words() {
    let reason = |octets: &[Vec<u8>]| down_reason(&octets.concat());
    let no_lock = [attribute(5, &[2]), attribute(6, &[5])];
    assert_eq!(reason(&no_lock).as_deref(), Some("logical mismatch: RS FEC is not locked"));
    assert_eq!(reason(&[attribute(5, &[4])]).as_deref(), Some("no cable"));
    for (state, substate, text) in
        [(4, 9, "no cable"), (5, 0, "cable issue"), (99, 1, "reason 99 of the kernel's")]
    {
        let octets = [attribute(5, &[state]), attribute(6, &[substate])];
        assert_eq!(reason(&octets).as_deref(), Some(text));
    }
    assert_eq!(reason(&[attribute(2, &[1])]), None);
}

#[test]
fn fec_is_configured_active_and_counted() {
    // Sums of all lanes come first, then each lane.
    let numbers = |numbers: &[u64]| -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_ne_bytes()).collect()
    };
    let counted = [attribute(2, &numbers(&[12, 5, 7])), attribute(3, &numbers(&[1]))];
    let octets =
        [nest(2, &bitset(&[50, 51])), attribute(3, &[1]), u32s(4, 50), nest(5, &counted)].concat();
    let expected = Fec {
        configured: ["auto", "rs", "baser"].map(str::to_owned).into(),
        active: Some("rs".into()),
        corrected_blocks: Some(12),
        uncorrected_blocks: Some(1),
    };
    assert_eq!(fec(&octets), expected);
    let silent = fec(&[nest(2, &bitset(&[49])), attribute(3, &[0])].concat());
    assert_eq!((silent.configured, silent.active), (vec!["off".to_owned()], None));
    assert_eq!((silent.corrected_blocks, silent.uncorrected_blocks), (None, None));
}

#[test]
fn errors_are_those_that_the_driver_counts() {
    let octets = [
        nest(4, &[u32s(2, ETH_PHY), u32s(3, 17), stat(0, 9)]),
        nest(4, &[u32s(2, ETH_MAC), u32s(3, 18), stat(3, 1_000_000), stat(4, 5), stat(21, 0)]),
        nest(4, &[u32s(2, RMON), u32s(3, 20), stat(3, 2)]),
        nest(4, &[u32s(2, 77), stat(4, 1)]),
    ]
    .concat();
    let expected = [("symbol", 9), ("crc", 5), ("too_long", 0), ("jabbers", 2)];
    assert_eq!(errors(&octets), expected.map(|(name, n)| (name.to_owned(), n)).into());
}

#[test]
fn refusals_are_errors_and_garbage_is_nothing() {
    let mut error = (20_u32).to_ne_bytes().to_vec();
    error.extend([2, 0]);
    error.extend([0; 10]);
    error.extend((-libc::EOPNOTSUPP).to_ne_bytes());
    assert_eq!(answer(&error).unwrap_err().raw_os_error(), Some(libc::EOPNOTSUPP));
    assert!(answer(&[]).is_err());
    let whole = [nest(2, &bitset(&[50])), nest(4, &[u32s(2, 1), stat(4, 5)]), u32s(5, 1)].concat();
    for cut in 0..whole.len() {
        for flip in 0..8 {
            let mut octets = whole[..cut].to_vec();
            if let Some(last) = octets.last_mut() {
                *last ^= 1 << flip;
            }
            let _ = (link_modes(&octets), connector(&octets), down_reason(&octets));
            let _ = (fec(&octets), errors(&octets), value(&octets, 7), answer(&octets));
        }
    }
}

#[test]
fn the_loopback_of_this_kernel_tells_nothing_and_a_missing_interface_is_an_error() {
    let ethtool = Ethtool::open().unwrap();
    assert_eq!(ethtool.link_modes("lo").unwrap(), None);
    assert_eq!(ethtool.fec("lo").unwrap(), None);
    assert_eq!(ethtool.errors("lo").unwrap(), BTreeMap::new());
    assert_eq!(ethtool.down_reason("lo").unwrap(), None);
    let missing = ethtool.link_modes("nosuch0").unwrap_err();
    assert_eq!(missing.raw_os_error(), Some(libc::ENODEV));
}
