//! Test packets of TWAMP, unauthenticated (RFC 5357 4.1.2 and 4.2.1).

use super::ethernet::be32;

/// The reflector's port (RFC 8545).
pub const TWAMP_PORT: u16 = 862;
/// Octets of a sender's packet without padding (RFC 5357 4.1.2).
pub const REQUEST: usize = 14;
/// Octets of a reflector's packet without padding (RFC 5357 4.2.1): the sender's is as long, so that both ways carry the same.
pub const REPLY: usize = 41;
/// The clock is not synchronized with another one; a millisecond (RFC 4656 4.1.2: scale 22, multiplier 1).
const ERROR_ESTIMATE: [u8; 2] = [22, 1];
/// From 1900 to 1970 (RFC 5905): seconds.
const NTP_TO_UNIX_S: u64 = 2_208_988_800;
const SECOND: u64 = 1_000_000_000;
/// TTL and hop limit of test packets (RFC 5357 4.1.2).
pub const HOP_LIMIT: u8 = 255;

/// A moment as NTP writes it: 32 bits of seconds, 32 of their fraction. `epoch_ns`: what the clock said when time began.
pub fn timestamp(epoch_ns: u64, now_ns: u64) -> u64 {
    let ns = epoch_ns.saturating_add(now_ns);
    let (seconds, rest) = (ns / SECOND + NTP_TO_UNIX_S, ns % SECOND);
    (seconds << 32) | ((rest << 32) / SECOND)
}

/// Nanoseconds between two moments; `None` where the second one is before the first.
fn between(first: u64, second: u64) -> Option<u64> {
    let difference = second.checked_sub(first)?;
    Some((difference >> 32) * SECOND + (((difference & 0xffff_ffff) * SECOND) >> 32))
}

/// A sender's packet.
pub fn request(number: u32, sent: u64, octets: u16) -> Vec<u8> {
    let mut payload = [&number.to_be_bytes()[..], &sent.to_be_bytes(), &ERROR_ESTIMATE].concat();
    payload.resize(payload.len().max(octets.into()), 0);
    payload
}

/// What a reflector's packet says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The sender's packet: its number.
    pub number: u32,
    /// When it was sent, in the sender's words.
    pub sent: u64,
    /// What the reflector had it for: nanoseconds.
    pub away_ns: u64,
}

/// Reads a reflector's packet.
pub fn reply(payload: &[u8]) -> Option<Reply> {
    let fields: &[u8; REPLY] = payload.first_chunk()?;
    let moment = |at: usize| u64::from(be32(fields, at)) << 32 | u64::from(be32(fields, at + 4));
    let away_ns = between(moment(16), moment(4)).unwrap_or(0);
    Some(Reply { number: be32(fields, 24), sent: moment(28), away_ns })
}

/// A reflector's packet for a sender's, which has [`REQUEST`] octets or more and came with this TTL or hop limit at this
/// moment: it leaves at the same, as far as the clock can tell, and is as long. It keeps no state: the number is the
/// sender's (RFC 5357 appendix I).
pub fn reflected(request: &[u8], hop_limit: u8, moment: u64) -> Vec<u8> {
    let mut packet = Vec::with_capacity(request.len().max(REPLY));
    packet.extend_from_slice(&request[..4]);
    packet.extend_from_slice(&moment.to_be_bytes());
    packet.extend_from_slice(&ERROR_ESTIMATE);
    packet.extend_from_slice(&[0; 2]);
    packet.extend_from_slice(&moment.to_be_bytes());
    packet.extend_from_slice(&request[..REQUEST]);
    packet.extend_from_slice(&[0; 2]);
    packet.push(hop_limit);
    packet.extend_from_slice(request.get(REPLY..).unwrap_or_default());
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_ntps() {
        // 2024-01-01 00:00:00.5 (RFC 5905 6: 3913056000 seconds since 1900).
        assert_eq!(
            timestamp(1_704_067_200_000_000_000, 500_000_000),
            3_913_056_000 << 32 | 1 << 31
        );
        let first = timestamp(0, 999_999_999);
        let second = timestamp(0, 2_000_000_100);
        let apart = between(first, second).unwrap();
        assert!((1_000_000_100..=1_000_000_102).contains(&apart), "{apart}");
        assert_eq!(between(second, first), None);
    }

    #[test]
    fn a_reply_is_read_as_it_is_written() {
        let mut payload = request(7, 0x1111_2222_3333_4444, 64);
        assert_eq!((payload.len(), reply(&payload[..REPLY - 1])), (64, None));
        payload[4..12].copy_from_slice(&timestamp(0, 1_500_000).to_be_bytes());
        payload[16..24].copy_from_slice(&timestamp(0, 1_000_000).to_be_bytes());
        payload[24..28].copy_from_slice(&7_u32.to_be_bytes());
        payload[28..36].copy_from_slice(&0x5555_u64.to_be_bytes());
        let Reply { number, sent, away_ns } = reply(&payload).unwrap();
        assert!(
            (number, sent) == (7, 0x5555) && (499_998..=500_001).contains(&away_ns),
            "{sent:x} {away_ns}"
        );
        // A reflector whose clock was set back meanwhile says nothing of how long it took.
        payload[4..12].copy_from_slice(&timestamp(0, 500_000).to_be_bytes());
        assert_eq!(reply(&payload).unwrap().away_ns, 0);
    }
}
