//! Codes of modules in words: SFF-8024 for all, and the compliance codes of each map.

/// How a module's memory is laid out.
pub(super) enum Map {
    Sff8472,
    Sff8636,
    Cmis,
}

/// SFF-8024, table 4-1: an identifier, what it is called, and its map where one of ours.
const KINDS: &[(u8, &str, Option<Map>)] = &[
    (0x01, "GBIC", None),
    (0x02, "soldered", Some(Map::Sff8472)),
    (0x03, "SFP", Some(Map::Sff8472)),
    (0x06, "XFP", None),
    (0x0b, "DWDM SFP", None),
    (0x0c, "QSFP", Some(Map::Sff8636)),
    (0x0d, "QSFP+", Some(Map::Sff8636)),
    (0x11, "QSFP28", Some(Map::Sff8636)),
    (0x18, "QSFP-DD", Some(Map::Cmis)),
    (0x19, "OSFP", Some(Map::Cmis)),
    (0x1b, "DSFP", Some(Map::Cmis)),
    (0x1e, "QSFP with CMIS", Some(Map::Cmis)),
    (0x1f, "SFP-DD with CMIS", Some(Map::Cmis)),
    (0x20, "SFP with CMIS", Some(Map::Cmis)),
];

/// SFF-8024, table 4-3.
const CONNECTORS: &[(u8, &str)] = &[
    (0x01, "SC"),
    (0x07, "LC"),
    (0x08, "MT-RJ"),
    (0x09, "MU"),
    (0x0b, "optical pigtail"),
    (0x0c, "MPO 1x12"),
    (0x0d, "MPO 2x16"),
    (0x20, "HSSDC II"),
    (0x21, "copper pigtail"),
    (0x22, "RJ45"),
    (0x23, "no separable connector"),
    (0x25, "CS"),
    (0x26, "SN"),
    (0x27, "MPO 2x12"),
    (0x28, "MPO 1x16"),
];

/// SFF-8024, table 4-4: extended compliance codes.
const EXTENDED: &[(u8, &str)] = &[
    (0x01, "100G AOC or 25G AOC, FEC needed"),
    (0x02, "100GBASE-SR4 or 25GBASE-SR"),
    (0x03, "100GBASE-LR4 or 25GBASE-LR"),
    (0x04, "100GBASE-ER4 or 25GBASE-ER"),
    (0x05, "100GBASE-SR10"),
    (0x06, "100G CWDM4"),
    (0x07, "100G PSM4"),
    (0x08, "100G ACC or 25G ACC, FEC needed"),
    (0x0b, "100GBASE-CR4, 25GBASE-CR CA-25G-L"),
    (0x0c, "25GBASE-CR CA-25G-S"),
    (0x0d, "25GBASE-CR CA-25G-N"),
    (0x10, "40GBASE-ER4"),
    (0x16, "10GBASE-T"),
    (0x17, "100G CLR4"),
    (0x18, "100G AOC or 25G AOC"),
    (0x19, "100G ACC or 25G ACC"),
    (0x1c, "10GBASE-T short reach"),
    (0x1d, "5GBASE-T"),
    (0x1e, "2.5GBASE-T"),
    (0x25, "100GBASE-DR"),
    (0x26, "100G-FR"),
    (0x27, "100G-LR"),
];

/// Bits of a compliance octet and what they mean, the one to name first.
type Bits = [(u8, &'static str)];

/// SFF-8472, transceiver compliance codes: octets 3, 6 and 8.
const SFP_10G: &Bits =
    &[(0x80, "10GBASE-ER"), (0x40, "10GBASE-LRM"), (0x20, "10GBASE-LR"), (0x10, "10GBASE-SR")];
const SFP_1G: &Bits =
    &[(0x08, "1000BASE-T"), (0x04, "1000BASE-CX"), (0x02, "1000BASE-LX"), (0x01, "1000BASE-SX")];
const SFP_CABLE: &Bits = &[(0x08, "active copper cable"), (0x04, "passive copper cable")];

/// SFF-8636, specification compliance codes: octet 131.
const QSFP: &Bits = &[
    (0x01, "40G active cable"),
    (0x02, "40GBASE-LR4"),
    (0x04, "40GBASE-SR4"),
    (0x08, "40GBASE-CR4"),
    (0x10, "10GBASE-SR"),
    (0x20, "10GBASE-LR"),
    (0x40, "10GBASE-LRM"),
];

/// CMIS, octet 85: how the code of octet 87 is read, and some of SFF-8024's codes for multi-mode (table 4-6) and
/// single-mode fibre (table 4-7).
const CMIS_MEDIA: &[(u8, &str)] = &[
    (1, "multi-mode fibre"),
    (2, "single-mode fibre"),
    (3, "passive copper cable"),
    (4, "active cable"),
    (5, "BASE-T"),
];
const CMIS_MULTI_MODE: &[(u8, &str)] = &[
    (0x09, "100GBASE-SR4"),
    (0x0e, "200GBASE-SR4"),
    (0x0f, "400GBASE-SR16"),
    (0x10, "400GBASE-SR8"),
    (0x11, "400GBASE-SR4"),
];
const CMIS_SINGLE_MODE: &[(u8, &str)] = &[
    (0x04, "10GBASE-LR"),
    (0x07, "25GBASE-LR"),
    (0x09, "40GBASE-LR4"),
    (0x0d, "100GBASE-LR4"),
    (0x10, "100G CWDM4"),
    (0x14, "100GBASE-DR"),
    (0x15, "100G-FR"),
    (0x16, "100G-LR"),
    (0x17, "200GBASE-DR4"),
    (0x18, "200GBASE-FR4"),
    (0x19, "200GBASE-LR4"),
    (0x1a, "400GBASE-FR8"),
    (0x1b, "400GBASE-LR8"),
    (0x1c, "400GBASE-DR4"),
    (0x1d, "400G-FR4"),
    (0x1e, "400G-LR4-10"),
    (0x43, "400GBASE-LR4-6"),
];

/// What a module is called.
pub(super) fn kind(identifier: u8) -> String {
    let known = KINDS.iter().find(|(code, ..)| *code == identifier);
    known.map_or_else(|| format!("unknown (0x{identifier:02x})"), |(_, name, _)| (*name).to_owned())
}

/// How its memory is laid out.
pub(super) fn map(identifier: u8) -> Option<&'static Map> {
    KINDS.iter().find(|(code, ..)| *code == identifier)?.2.as_ref()
}

/// A connector.
pub(super) fn connector(code: Option<u8>) -> Option<String> {
    word(CONNECTORS, code)
}

/// Octets 3, 6, 8 and 36 of an SFP.
pub(super) fn sfp_media(
    ten: Option<u8>,
    one: Option<u8>,
    cable: Option<u8>,
    extended: Option<u8>,
) -> Option<String> {
    let known = word(EXTENDED, extended).or_else(|| bit(SFP_10G, ten));
    known.or_else(|| bit(SFP_1G, one)).or_else(|| bit(SFP_CABLE, cable))
}

/// Octets 131 and 192 of a QSFP.
pub(super) fn qsfp_media(compliance: Option<u8>, extended: Option<u8>) -> Option<String> {
    let extended = extended.filter(|_| compliance.is_some_and(|octet| octet & 0x80 != 0));
    word(EXTENDED, extended).or_else(|| bit(QSFP, compliance))
}

/// Octets 85 and 87 of a module with CMIS.
pub(super) fn cmis_media(encoding: Option<u8>, code: Option<u8>) -> Option<String> {
    let codes = match encoding {
        Some(1) => CMIS_MULTI_MODE,
        Some(2) => CMIS_SINGLE_MODE,
        _ => &[],
    };
    word(codes, code).or_else(|| word(CMIS_MEDIA, encoding))
}

fn word(words: &[(u8, &str)], code: Option<u8>) -> Option<String> {
    words.iter().find(|(known, _)| Some(*known) == code).map(|(_, word)| (*word).to_owned())
}

fn bit(bits: &Bits, octet: Option<u8>) -> Option<String> {
    let octet = octet?;
    bits.iter().find(|(bit, _)| octet & bit != 0).map(|(_, word)| (*word).to_owned())
}
