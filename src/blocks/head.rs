//! The head of a block: by it blocks are found again between octets that are damaged.

/// Octets of a block's head: its kind's magic, the span's number, the length of what follows, its CRC-32, and the CRC-32 of
/// the head so far. Numbers are little-endian.
pub const HEAD: usize = 20;
/// What follows the head, in octets, at most: more than 65,535 VIFs with the longest names need.
const LONGEST: u32 = 64 << 20;

/// The head of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub span: u32,
    /// Octets that follow.
    pub length: u32,
    pub checksum: u32,
}

impl Head {
    /// That of octets that follow it.
    pub fn of(span: u32, octets: &[u8]) -> Head {
        // Far less than LONGEST.
        let length = u32::try_from(octets.len()).unwrap_or(u32::MAX);
        Head { span, length, checksum: crc32fast::hash(octets) }
    }

    pub fn encode(self, magic: [u8; 4]) -> [u8; HEAD] {
        let mut octets = [0; HEAD];
        let numbers = [self.span, self.length, self.checksum].map(u32::to_le_bytes);
        octets[..4].copy_from_slice(&magic);
        octets[4..16].copy_from_slice(numbers.as_flattened());
        let sum = crc32fast::hash(&octets[..16]);
        octets[16..].copy_from_slice(&sum.to_le_bytes());
        octets
    }

    /// `None` where these octets begin no block of the kind.
    pub fn decode(octets: [u8; HEAD], kind: [u8; 4]) -> Option<Head> {
        let (words, _) = octets.as_chunks::<4>();
        let [magic, numbers @ ..] = words else { return None };
        let [span, length, checksum, sum] = *numbers else { return None };
        let [span, length, checksum, sum] = [span, length, checksum, sum].map(u32::from_le_bytes);
        let fine = *magic == kind && crc32fast::hash(&octets[..16]) == sum && length <= LONGEST;
        fine.then_some(Head { span, length, checksum })
    }

    /// Whether these octets are what followed it when it was written.
    pub fn fits(&self, octets: &[u8]) -> bool {
        crc32fast::hash(octets) == self.checksum
    }
}
