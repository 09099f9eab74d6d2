//! Which NOTIFICATION (RFC 4271 4.5) BIRD means by its words.

/// Code and subcode of the NOTIFICATION that BIRD has in words: those of RFC 4271 4.5 and 6, RFC 4486, RFC 5492 and
/// RFC 6608.
const NOTIFICATIONS: &[(&str, u8, Option<u8>)] = &[
    ("Invalid message header", 1, None),
    ("Connection not synchronized", 1, Some(1)),
    ("Bad message length", 1, Some(2)),
    ("Bad message type", 1, Some(3)),
    ("Invalid OPEN message", 2, None),
    ("Unsupported version number", 2, Some(1)),
    ("Bad peer AS", 2, Some(2)),
    ("Bad BGP identifier", 2, Some(3)),
    ("Unsupported optional parameter", 2, Some(4)),
    ("Authentication failure", 2, Some(5)),
    ("Unacceptable hold time", 2, Some(6)),
    ("Required capability missing", 2, Some(7)),
    ("No supported AFI/SAFI", 2, Some(8)),
    ("Invalid UPDATE message", 3, None),
    ("Malformed attribute list", 3, Some(1)),
    ("Unrecognized well-known attribute", 3, Some(2)),
    ("Missing mandatory attribute", 3, Some(3)),
    ("Invalid attribute flags", 3, Some(4)),
    ("Invalid attribute length", 3, Some(5)),
    ("Invalid ORIGIN attribute", 3, Some(6)),
    ("AS routing loop", 3, Some(7)),
    ("Invalid NEXT_HOP attribute", 3, Some(8)),
    ("Optional attribute error", 3, Some(9)),
    ("Invalid network field", 3, Some(10)),
    ("Malformed AS_PATH", 3, Some(11)),
    ("Hold timer expired", 4, None),
    ("Finite state machine error", 5, None),
    ("Unexpected message in OpenSent state", 5, Some(1)),
    ("Unexpected message in OpenConfirm state", 5, Some(2)),
    ("Unexpected message in Established state", 5, Some(3)),
    ("Cease", 6, None),
    ("Maximum number of prefixes reached", 6, Some(1)),
    ("Administrative shutdown", 6, Some(2)),
    ("Peer de-configured", 6, Some(3)),
    ("Administrative reset", 6, Some(4)),
    ("Connection rejected", 6, Some(5)),
    ("Other configuration change", 6, Some(6)),
    ("Connection collision resolution", 6, Some(7)),
    ("Out of Resources", 6, Some(8)),
    ("Invalid ROUTE-REFRESH message length", 7, Some(1)),
    ("Invalid ROUTE-REFRESH message", 7, None),
];

/// Code and subcode, where the reason is a NOTIFICATION that was sent or received.
pub(super) fn notification(reason: &str) -> (Option<u8>, Option<u8>) {
    let said = ["Error: ", "Received: ", "BGP Error: "].iter();
    let Some(said) = said.clone().find_map(|class| reason.strip_prefix(class)) else {
        return (None, None);
    };
    if let Some((code, subcode)) = said.strip_prefix("Unknown error ").and_then(|numbers| {
        let (code, subcode) = numbers.split(':').next()?.split_once('.')?;
        Some((code.parse().ok()?, subcode.trim().parse().ok()?))
    }) {
        return (Some(code), Some(subcode));
    }
    let known = NOTIFICATIONS.iter().find(|(words, ..)| said.starts_with(words));
    known.map_or((None, None), |&(_, code, subcode)| (Some(code), subcode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn birds_words_are_codes() {
        assert_eq!(notification("Error: Hold timer expired"), (Some(4), None));
        assert_eq!(notification("Received: Unknown error 6.9"), (Some(6), Some(9)));
        assert_eq!(notification("Received: Unknown error 6.10: 0102"), (Some(6), Some(10)));
        assert_eq!(notification("Hold timer expired"), (None, None));
        let own = NOTIFICATIONS.iter().all(|(words, code, subcode)| {
            notification(&format!("Received: {words}")) == (Some(*code), *subcode)
        });
        assert!(own, "no entry hides another");
    }
}
