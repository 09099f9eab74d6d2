//! ERSPAN: copies of frames in GRE (RFC 2784, with sequence numbers by RFC 2890), as draft-foschiano-erspan-03 has them.

/// Octets of GRE and ERSPAN type II.
pub const TYPE2: usize = 16;
/// The same of type III.
pub const TYPE3: usize = 20;
/// IP's number of GRE.
pub const GRE: u8 = 47;
/// Sessions have 10 bits.
pub const MAX_SESSION: u16 = 0x3ff;

/// GRE's flag of a sequence number.
const SEQUENCE: u16 = 0x1000;
const PROTOCOL2: u16 = 0x88be;
const PROTOCOL3: u16 = 0x22eb;
/// "VLAN tag preserved in frame" (4.1).
const TAG_IN_FRAME: u16 = 3 << 11;
const TRUNCATED: u16 = 1 << 10;

/// What the headers say of a copy.
#[derive(Clone, Copy, Debug, Default)]
pub struct Copied {
    /// Which mirror it is of.
    pub session: u16,
    /// How many copies of the session were made before it.
    pub sequence: u32,
    /// The outer tag of the frame, which keeps it: priority, drop eligibility and VID.
    pub tci: Option<u16>,
    /// The end is missing.
    pub truncated: bool,
    /// The frame left.
    pub outbound: bool,
    /// When, in nanoseconds since any moment.
    pub now_ns: u64,
}

impl Copied {
    /// Priority, flags of the type, and session.
    fn second(self, flags: u16) -> u16 {
        let priority = self.tci.unwrap_or(0) >> 13;
        let truncated = if self.truncated { TRUNCATED } else { 0 };
        priority << 13 | flags | truncated | self.session & MAX_SESSION
    }

    fn vlan(self) -> u16 {
        self.tci.unwrap_or(0) & 0xfff
    }

    fn gre(self, protocol: u16) -> u64 {
        u64::from(SEQUENCE) << 48 | u64::from(protocol) << 32 | u64::from(self.sequence)
    }

    /// GRE and ERSPAN type II, in front of the frame.
    pub fn type2(self) -> [u8; TYPE2] {
        let flags = if self.tci.is_some() { TAG_IN_FRAME } else { 0 };
        let first = u64::from(1 << 12 | self.vlan()) << 48 | u64::from(self.second(flags)) << 32;
        let mut octets = [0; TYPE2];
        octets[..8].copy_from_slice(&self.gre(PROTOCOL2).to_be_bytes());
        octets[8..].copy_from_slice(&first.to_be_bytes());
        octets
    }

    /// GRE and ERSPAN type III, in front of the frame. The time has steps of 100 ns.
    #[expect(clippy::cast_possible_truncation, reason = "the time's lower half")]
    pub fn type3(self) -> [u8; TYPE3] {
        const ETHERNET: u32 = 1 << 15;
        const HUNDRED_NS: u32 = 1 << 1;
        let first = u32::from(2 << 12 | self.vlan()) << 16 | u32::from(self.second(0));
        let time = (self.now_ns / 100) as u32;
        let last = ETHERNET | HUNDRED_NS | u32::from(self.outbound) << 3;
        let mut octets = [0; TYPE3];
        octets[..8].copy_from_slice(&self.gre(PROTOCOL3).to_be_bytes());
        octets[8..].copy_from_slice([first, time, last].map(u32::to_be_bytes).as_flattened());
        octets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COPY: Copied = Copied {
        session: 0x2a5,
        sequence: 0x0102_0304,
        tci: Some(0xa064),
        truncated: true,
        outbound: true,
        now_ns: 0x1_0000_0001 * 100,
    };

    #[test]
    fn fields_are_where_the_draft_has_them() {
        // Version 1, VLAN 100; priority 5, tag in frame, truncated, session.
        let two = [0x10, 0, 0x88, 0xbe, 1, 2, 3, 4, 0x10, 100, 0xa0 | 0x1c | 2, 0xa5, 0, 0, 0, 0];
        assert_eq!(COPY.type2(), two);
        let plain = Copied { tci: None, truncated: false, ..COPY };
        assert_eq!(plain.type2()[8..], [0x10, 0, 2, 0xa5, 0, 0, 0, 0]);
        // Version 2; a time of 1; an Ethernet frame, egress, steps of 100 ns.
        let three = [0x10, 0, 0x22, 0xeb, 1, 2, 3, 4, 0x20, 100, 0xa0 | 4 | 2, 0xa5];
        assert_eq!(COPY.type3()[..12], three);
        assert_eq!(COPY.type3()[12..], [0, 0, 0, 1, 0, 0, 0x80, 0x0a]);
        assert_eq!(Copied { outbound: false, ..COPY }.type3()[19], 2);
    }
}
