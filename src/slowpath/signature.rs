//! What a peer's SYN says of its BGP session's key (RFC 2385). Every segment of a peer passes here on its way to the
//! kernel, which drops one that is signed otherwise than the session wants, and tells nobody whose it was.
//!
//! Only a SYN, or a SYN with ACK, is judged, one without data, and ten a second of a session at most: a flood of them
//! costs no more than that. A SYN that another MAC than the peer's sent, or with
//! `ttl_security` one that has crossed a router, is not of the session.

use md5::{Digest, Md5};

use super::SlowPath;
use super::egress::{Ingress, static_mac};
use super::packet::Packet;
use crate::tables::{KeyFault, Password};

/// TCP's flags (RFC 9293 3.1).
const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
/// A TCP header without options, in octets.
const HEADER: usize = 20;
/// The TTL of a packet that has crossed no router (RFC 5082).
const ON_LINK: u8 = 255;

impl SlowPath {
    /// Notes what a segment of BGP says of its session's key, where it opens a connection.
    pub(super) fn note_key(&self, from: &Ingress<'_>, packet: &Packet<'_>) {
        let Some(segment) = Segment::parse(packet) else { return };
        let (tables, peer) = (from.view.snapshot, packet.source);
        let Some(key) = tables.keys.get(&from.vif.name, peer) else { return };
        let neighbor = (from.id, peer);
        let mac = static_mac(tables, neighbor).or_else(|| self.neighbors.mac(neighbor));
        let of_session = packet.destination == key.local
            && mac == Some(from.sender)
            && (!key.ttl_security || packet.hop_limit == ON_LINK);
        let now_ns = from.view.now_ns;
        if of_session
            && key.is_due(now_ns)
            && let Some(judged) = segment.judge(key.password.as_ref())
        {
            key.judged(judged.err(), now_ns);
        }
    }
}

/// A segment that opens a connection, alone: without data.
struct Segment<'a> {
    packet: &'a Packet<'a>,
    header: &'a [u8; HEADER],
    options: &'a [u8],
}

/// What a segment is signed with.
#[derive(Debug, PartialEq, Eq)]
enum Signature<'a> {
    None,
    Md5(&'a [u8; 16]),
    TcpAo,
}

impl<'a> Segment<'a> {
    fn parse(packet: &'a Packet<'a>) -> Option<Segment<'a>> {
        let (header, options) = packet.payload().split_first_chunk::<HEADER>()?;
        let opens = header[13] & (FIN | SYN | RST) == SYN;
        let whole = usize::from(header[12] >> 4) * 4 == HEADER + options.len();
        (opens && whole).then_some(Segment { packet, header, options })
    }

    /// Whether it is signed as a session with this password wants it. `None` where the kernel refuses it for something
    /// else.
    fn judge(&self, password: Option<&Password>) -> Option<Result<(), KeyFault>> {
        if self.packet.upper_sum() != 0xffff {
            return None;
        }
        Some(match (signature(self.options)?, password) {
            (Signature::None, None) => Ok(()),
            (Signature::None, Some(_)) => Err(KeyFault::Missing),
            (Signature::TcpAo, _) => Err(KeyFault::TcpAo),
            (Signature::Md5(_), None) => Err(KeyFault::Unexpected),
            (Signature::Md5(digest), Some(password)) if self.digest(password) == *digest => Ok(()),
            (Signature::Md5(_), Some(_)) => Err(KeyFault::Wrong),
        })
    }

    /// RFC 2385 2.0: over the pseudo header, the TCP header without options and with a checksum of zero, the data, of
    /// which there is none, and the key.
    fn digest(&self, password: &Password) -> [u8; 16] {
        let mut header = *self.header;
        header[16..18].fill(0);
        let pseudo = self.packet.pseudo_header();
        let digest = Md5::new().chain_update(pseudo.octets()).chain_update(header);
        digest.chain_update(password.reveal()).finalize().into()
    }
}

/// The signature among a TCP header's options. `None` where they are malformed: an option does not fit (RFC 9293 3.1),
/// or there are two signatures (RFC 5925 2.2).
fn signature(mut options: &[u8]) -> Option<Signature<'_>> {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const MD5: u8 = 19;
    const TCP_AO: u8 = 29;
    let mut found = Signature::None;
    loop {
        let (kind, rest) = match *options {
            [] | [END, ..] => return Some(found),
            [NO_OPERATION, ref rest @ ..] => {
                options = rest;
                continue;
            }
            [kind, length, ref rest @ ..] => {
                let (value, rest) = rest.split_at_checked(usize::from(length).checked_sub(2)?)?;
                let signature = match kind {
                    MD5 => Signature::Md5(value.try_into().ok()?),
                    // KeyID, RNextKeyID and a MAC.
                    TCP_AO if value.len() > 2 => Signature::TcpAo,
                    TCP_AO => return None,
                    _ => Signature::None,
                };
                (signature, rest)
            }
            [_] => return None,
        };
        options = rest;
        match (kind, &found) {
            (Signature::None, _) => {}
            (signature, Signature::None) => found = signature,
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::slowpath::packet::seal;

    const KEY: &str = "kept-secret";
    /// SYN and SYN+ACK as Linux 6.18 signs them (TCP_MD5SIG) with [`KEY`], in both families. Their checksums were left
    /// to the interface.
    const SIGNED: [&str; 4] = [
        "45000048d76e400040064741a9fe6402a9fe64019c4100b35ed7f5cc00000000d002ffd71c3b000001011312e8a575f69fdcddeeabdef630\
         b170d1550204ffd7010104020103030a",
        "450000480000400040061eb0a9fe6401a9fe640200b39c4121cab67d5ed7f5cdd012ffd71c3b0000010113121900b2e70b282dd4ccc27383\
         c2b261700204ffd7010104020103030a",
        "600b281e00340640fd000100000000000000000000000002fd0001000000000000000000000000019c4100b35a9d2b9e00000000d002ffc4\
         fc3e000001011312ccafb003879116090a95497a916d43950204ffc4010104020103030a",
        "600cbfcd00340640fd000100000000000000000000000001fd00010000000000000000000000000200b39c41ca0a45a8ccf97d7bd012ffc4\
         fc3e000001011312e31709c8b76f8e16e1f810009ba0fc3b0204ffc4010104020103030a",
    ];

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let octet = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16);
        checked(digits.chunks(2).map(|pair| octet(pair).unwrap()).collect())
    }

    fn upper(packet: &[u8]) -> usize {
        if packet[0] >> 4 == 4 { 20 } else { 40 }
    }

    /// Makes lengths and checksums right.
    fn checked(mut packet: Vec<u8>) -> Vec<u8> {
        let (at, length) = (upper(&packet), u16::try_from(packet.len()).unwrap());
        match at {
            20 => packet[2..4].copy_from_slice(&length.to_be_bytes()),
            _ => packet[4..6].copy_from_slice(&(length - 40).to_be_bytes()),
        }
        if at == 20 {
            seal(&mut packet[..20]);
        }
        if packet.len() >= at + HEADER {
            packet[at + 16..at + 18].fill(0);
            let sum = !Packet::parse(&packet).unwrap().upper_sum();
            packet[at + 16..at + 18].copy_from_slice(&sum.to_be_bytes());
        }
        packet
    }

    /// The same SYN with other options, of any length up to 40 octets, padded with zeros to a multiple of four.
    fn with_options(packet: &[u8], options: &[u8]) -> Vec<u8> {
        let at = upper(packet);
        let mut changed = packet[..at + HEADER].to_vec();
        changed.extend(options);
        changed.resize(at + HEADER + options.len().next_multiple_of(4), 0);
        changed[at + 12] = u8::try_from((changed.len() - at) / 4 * 16).unwrap();
        checked(changed)
    }

    fn judged(packet: &[u8], key: Option<&str>) -> Option<Result<(), KeyFault>> {
        let packet = Packet::parse(packet)?;
        Segment::parse(&packet)?.judge(key.map(Password::new).as_ref())
    }

    #[test]
    fn what_linux_signs_is_right_with_its_key_and_wrong_with_another() {
        for signed in SIGNED.map(bytes) {
            assert_eq!(judged(&signed, Some(KEY)), Some(Ok(())));
            for other in ["kept-secres", "kept-secre", "kept-secrett", "Kept-secret", "x"] {
                assert_eq!(judged(&signed, Some(other)), Some(Err(KeyFault::Wrong)), "{other}");
            }
            assert_eq!(judged(&signed, None), Some(Err(KeyFault::Unexpected)));
            // Everything that the digest covers, and the digest: but for checksums, and what is judged at all.
            let at = upper(&signed);
            let addresses = if at == 20 { 12..20 } else { 8..40 };
            let digest = at + HEADER + 4..at + HEADER + 20;
            for octet in addresses.chain(at..at + 12).chain(at + 14..at + 16).chain(digest) {
                let mut changed = signed.clone();
                changed[octet] ^= 0x10;
                let judged = judged(&checked(changed), Some(KEY));
                assert_eq!(judged, Some(Err(KeyFault::Wrong)), "octet {octet}");
            }
        }
    }

    #[test]
    fn who_does_not_sign_is_told_from_who_signs_otherwise() {
        let tcp_ao = [&[29, 16, 1, 1][..], &[7; 12]].concat();
        for signed in SIGNED.map(bytes) {
            for plain in [&[][..], &[2, 4, 5, 0xb4], &[1, 1, 1], &[2, 4, 5, 0xb4, 0, 19, 18, 1]] {
                let plain = with_options(&signed, plain);
                assert_eq!(judged(&plain, Some(KEY)), Some(Err(KeyFault::Missing)));
                assert_eq!(judged(&plain, None), Some(Ok(())));
            }
            for key in [Some(KEY), None] {
                let tcp_ao = with_options(&signed, &tcp_ao);
                assert_eq!(judged(&tcp_ao, key), Some(Err(KeyFault::TcpAo)));
            }
        }
    }

    #[test]
    fn what_the_kernel_refuses_for_something_else_says_nothing_of_a_key() {
        let md5 = [&[19, 18][..], &[7; 16]].concat();
        let tcp_ao = [29, 4, 1, 1];
        for signed in SIGNED.map(bytes) {
            for options in [
                [&md5[..], &md5].concat(),
                [&md5[..], &tcp_ao].concat(),
                tcp_ao.to_vec(),
                vec![19, 17, 7, 7],
                [&[19, 17][..], &[7; 16]].concat(),
                [&[19, 20][..], &[7; 18]].concat(),
                vec![19, 0, 0, 0],
                vec![2, 1, 1, 1],
                vec![1, 1, 1, 19],
                vec![1, 1, 19, 18],
            ] {
                assert_eq!(
                    judged(&with_options(&signed, &options), Some(KEY)),
                    None,
                    "{options:?}"
                );
            }
            let at = upper(&signed);
            let edited = |octet: usize, value: u8| {
                let mut changed = signed.clone();
                changed[octet] = value;
                changed
            };
            assert_eq!(judged(&edited(at + 16, !signed[at + 16]), Some(KEY)), None, "checksum");
            for flags in [0, 0x10, 0x11, 0x04, 0x06, 0x03, 0x07, 0x18] {
                let changed = checked(edited(at + 13, flags));
                assert_eq!(judged(&changed, Some(KEY)), None, "flags {flags:#x}");
            }
            for words in (0..16).filter(|words| *words != 13) {
                let changed = checked(edited(at + 12, words << 4));
                assert_eq!(judged(&changed, Some(KEY)), None, "a header of {words} words");
            }
            let with_data = checked([&signed[..], b"data"].concat());
            assert_eq!(judged(&with_data, Some(KEY)), None, "data");
        }
    }

    #[test]
    fn a_syn_cut_at_any_octet_says_nothing() {
        for signed in SIGNED.map(bytes) {
            for length in upper(&signed)..signed.len() {
                let cut = checked(signed[..length].to_vec());
                assert_eq!(judged(&cut, Some(KEY)), None, "{length} octets");
            }
        }
    }

    proptest! {
        #[test]
        fn no_options_panic_and_no_garbage_is_right(
            options in prop::collection::vec(
                prop_oneof![Just(19_u8), Just(29), Just(18), 0..20_u8, any::<u8>()], 0..=40),
            of in 0..SIGNED.len(),
        ) {
            let changed = with_options(&bytes(SIGNED[of]), &options);
            prop_assert_ne!(judged(&changed, Some(KEY)), Some(Ok(())));
            prop_assert_ne!(judged(&changed, None), Some(Err(KeyFault::Wrong)));
        }
    }
}
