//! The answers of ethtool: attributes in, what they say out. What is too short or unknown is left out.

use std::collections::BTreeMap;

use super::super::{attributes, u32_at};

const BITSET_VALUE: u16 = 4;
const LINKINFO_PORT: u16 = 2;
const LINKMODES_AUTONEG: u16 = 2;
const LINKMODES_SPEED: u16 = 5;
const LINKMODES_DUPLEX: u16 = 6;
const LINKMODES_LANES: u16 = 9;
const LINKSTATE_EXT_STATE: u16 = 5;
const LINKSTATE_EXT_SUBSTATE: u16 = 6;
const FEC_MODES: u16 = 2;
const FEC_AUTO: u16 = 3;
const FEC_ACTIVE: u16 = 4;
const FEC_STATS: u16 = 5;
const FEC_STAT_CORRECTED: u16 = 2;
const FEC_STAT_UNCORRECTED: u16 = 3;
const STATS_GRP: u16 = 4;
const STATS_GRP_ID: u16 = 2;
const STATS_GRP_STAT: u16 = 4;

/// Groups of standard statistics.
pub(super) const ETH_PHY: u32 = 0;
pub(super) const ETH_MAC: u32 = 1;
pub(super) const RMON: u32 = 3;

/// Errors of the wire and of the MAC among the standard statistics: group, id, our name (IEEE 802.3, 30.3; RFC 2819).
const ERRORS: &[(u32, u16, &str)] = &[
    (ETH_PHY, 0, "symbol"),
    (ETH_MAC, 4, "crc"),
    (ETH_MAC, 5, "alignment"),
    (ETH_MAC, 8, "late_collision"),
    (ETH_MAC, 9, "excessive_collisions"),
    (ETH_MAC, 10, "tx_internal"),
    (ETH_MAC, 11, "carrier_sense"),
    (ETH_MAC, 13, "rx_internal"),
    (ETH_MAC, 19, "in_range_length"),
    (ETH_MAC, 20, "out_of_range_length"),
    (ETH_MAC, 21, "too_long"),
    (RMON, 0, "undersize"),
    (RMON, 1, "oversize"),
    (RMON, 2, "fragments"),
    (RMON, 3, "jabbers"),
];

/// Bits of link modes that stand for an encoding of FEC.
const FEC_BITS: &[(u32, &str)] = &[(49, "off"), (50, "rs"), (51, "baser"), (74, "llrs")];

/// What is plugged in (PORT_*).
const CONNECTORS: &[(u8, &str)] = &[
    (0x00, "twisted_pair"),
    (0x01, "aui"),
    (0x02, "mii"),
    (0x03, "fibre"),
    (0x04, "bnc"),
    (0x05, "direct_attach"),
    (0xef, "none"),
    (0xff, "other"),
];

/// Why a link is down (ETHTOOL_LINK_EXT_STATE_*), with the words of the substates, which count from 1.
const REASONS: &[(&str, &[&str])] = &[
    (
        "autonegotiation",
        &[
            "no partner detected",
            "ack not received",
            "next page exchange failed",
            "no partner detected in force mode",
            "FEC mismatch during override",
            "no HCD",
        ],
    ),
    (
        "link training failure",
        &[
            "KR frame lock not acquired",
            "KR link inhibit timeout",
            "link partner did not set receiver ready",
            "remote fault",
        ],
    ),
    (
        "logical mismatch",
        &[
            "PCS did not acquire block lock",
            "PCS did not acquire AM lock",
            "PCS did not get align status",
            "FC FEC is not locked",
            "RS FEC is not locked",
        ],
    ),
    (
        "bad signal integrity",
        &[
            "large number of physical errors",
            "unsupported rate",
            "serdes reference clock lost",
            "serdes ALOS",
        ],
    ),
    ("no cable", &[]),
    ("cable issue", &["unsupported cable", "cable test failure"]),
    ("EEPROM issue", &[]),
    ("calibration failure", &[]),
    ("power budget exceeded", &[]),
    ("overheat", &[]),
    ("module", &["CMIS module is not in ready state"]),
    ("OTP speed violation", &[]),
    ("BMC requests that the link stays down", &[]),
];

/// How a link runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkModes {
    /// Mbit/s.
    pub speed_mbps: Option<u32>,
    /// In both directions at once.
    pub full_duplex: Option<bool>,
    /// Autonegotiation is on.
    pub autonegotiation: Option<bool>,
    /// Lanes in use.
    pub lanes: Option<u32>,
}

/// Forward error correction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fec {
    /// What is configured: `auto`, `off`, `rs`, `baser`, `llrs`.
    pub configured: Vec<String>,
    /// What runs.
    pub active: Option<String>,
    /// Blocks that were put right.
    pub corrected_blocks: Option<u64>,
    /// Blocks that could not be.
    pub uncorrected_blocks: Option<u64>,
}

/// The value of an attribute.
pub(super) fn value(answer: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(answer).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

fn octet(answer: &[u8], kind: u16) -> Option<u8> {
    value(answer, kind)?.first().copied()
}

fn word(answer: &[u8], kind: u16) -> Option<u32> {
    u32_at(value(answer, kind)?, 0)
}

/// The first number of an attribute: of an array of sums, that of all lanes.
fn number(answer: &[u8], kind: u16) -> Option<u64> {
    let number = value(answer, kind)?.get(..8)?;
    Some(u64::from_ne_bytes(number.try_into().ok()?))
}

pub(super) fn link_modes(answer: &[u8]) -> LinkModes {
    LinkModes {
        // SPEED_UNKNOWN is -1; without a link some say 0.
        speed_mbps: word(answer, LINKMODES_SPEED).filter(|&speed| speed != 0 && speed != u32::MAX),
        full_duplex: match octet(answer, LINKMODES_DUPLEX) {
            Some(0) => Some(false),
            Some(1) => Some(true),
            _ => None,
        },
        autonegotiation: octet(answer, LINKMODES_AUTONEG).map(|on| on == 1),
        lanes: word(answer, LINKMODES_LANES).filter(|&lanes| lanes != 0),
    }
}

pub(super) fn connector(answer: &[u8]) -> Option<String> {
    let port = octet(answer, LINKINFO_PORT)?;
    CONNECTORS.iter().find(|(code, _)| *code == port).map(|(_, word)| (*word).to_owned())
}

pub(super) fn down_reason(answer: &[u8]) -> Option<String> {
    let state = octet(answer, LINKSTATE_EXT_STATE)?;
    let Some((reason, details)) = REASONS.get(usize::from(state)) else {
        return Some(format!("reason {state} of the kernel's"));
    };
    let detail = octet(answer, LINKSTATE_EXT_SUBSTATE)
        .and_then(|substate| details.get(usize::from(substate).checked_sub(1)?));
    Some(detail.map_or_else(|| (*reason).to_owned(), |detail| format!("{reason}: {detail}")))
}

pub(super) fn fec(answer: &[u8]) -> Fec {
    let modes = value(answer, FEC_MODES).and_then(|bitset| value(bitset, BITSET_VALUE));
    let modes = modes.unwrap_or_default();
    let is_set = |bit: u32| {
        let word = usize::try_from(bit / 32).ok().and_then(|word| u32_at(modes, word * 4));
        word.is_some_and(|word| word & (1 << (bit % 32)) != 0)
    };
    let auto = octet(answer, FEC_AUTO) == Some(1);
    let set = FEC_BITS.iter().filter(|(bit, _)| is_set(*bit)).map(|(_, word)| *word);
    let active = word(answer, FEC_ACTIVE);
    let active = FEC_BITS.iter().find(|(bit, _)| Some(*bit) == active);
    let counted = value(answer, FEC_STATS).unwrap_or_default();
    Fec {
        configured: auto.then_some("auto").into_iter().chain(set).map(str::to_owned).collect(),
        active: active.map(|(_, word)| (*word).to_owned()),
        corrected_blocks: number(counted, FEC_STAT_CORRECTED),
        uncorrected_blocks: number(counted, FEC_STAT_UNCORRECTED),
    }
}

pub(super) fn errors(answer: &[u8]) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for (_, group) in attributes(answer).filter(|(kind, _)| *kind == STATS_GRP) {
        let group_id = word(group, STATS_GRP_ID);
        for (_, stat) in attributes(group).filter(|(kind, _)| *kind == STATS_GRP_STAT) {
            let errors = ERRORS.iter().filter(|(group, ..)| Some(*group) == group_id);
            found.extend(
                errors.filter_map(|(_, id, name)| Some(((*name).to_owned(), number(stat, *id)?))),
            );
        }
    }
    found
}
