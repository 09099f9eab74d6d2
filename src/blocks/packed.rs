//! Numbers and texts in as few octets as they need.

/// Seven bits an octet, the lowest first; the highest bit says that more follow.
pub fn put(octets: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        octets.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    octets.push(number.to_le_bytes()[0]);
}

/// A text, after its length.
pub fn put_text(octets: &mut Vec<u8>, text: &str) {
    put(octets, text.len() as u64);
    octets.extend_from_slice(text.as_bytes());
}

/// The number that these octets begin with; they begin behind it then.
pub fn take(from: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&octet, rest) = from.split_first()?;
        *from = rest;
        let bits = u64::from(octet & 0x7f);
        if bits << shift >> shift != bits {
            return None;
        }
        number |= bits << shift;
        if octet & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// The text that they begin with, likewise.
pub fn take_text<'a>(from: &mut &'a [u8]) -> Option<&'a str> {
    let length = usize::try_from(take(from)?).ok()?;
    let (text, rest) = from.split_at_checked(length)?;
    *from = rest;
    str::from_utf8(text).ok()
}
