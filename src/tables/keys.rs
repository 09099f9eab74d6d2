//! The keys of BGP sessions' TCP MD5 signatures (RFC 2385), and what peers' SYNs say of them. The control plane makes
//! the keys, the slow path writes what it finds, observers read that at any time.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::counters::Counter;

/// A secret that nothing shows. Clones share its memory.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Arc<str>);

impl Password {
    /// This secret.
    pub fn new(secret: &str) -> Password {
        Password(secret.into())
    }

    /// The secret, for what uses it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// Why a peer's SYN does not fit its session's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyFault {
    /// There is a password here, and the peer does not sign.
    Missing,
    /// There is no password here, and the peer signs.
    Unexpected,
    /// The peer signs with another password.
    Wrong,
    /// The peer signs by TCP-AO (RFC 5925).
    TcpAo,
}

impl KeyFault {
    /// All faults.
    pub const ALL: [KeyFault; 4] =
        [KeyFault::Missing, KeyFault::Unexpected, KeyFault::Wrong, KeyFault::TcpAo];

    /// The name that operators see.
    pub const fn name(self) -> &'static str {
        match self {
            KeyFault::Missing => "key_missing",
            KeyFault::Unexpected => "key_unexpected",
            KeyFault::Wrong => "key_wrong",
            KeyFault::TcpAo => "key_tcp_ao",
        }
    }

    /// What is wrong, and what to do.
    pub const fn help(self) -> &'static str {
        match self {
            KeyFault::Missing => {
                "the peer does not sign (TCP MD5), a password is set here: set it at the peer, or unset it here"
            }
            KeyFault::Unexpected => {
                "the peer signs (TCP MD5), no password is set here: set the peer's here, or unset it there"
            }
            KeyFault::Wrong => {
                "the peer signs with another password (TCP MD5): set the same one at both ends"
            }
            KeyFault::TcpAo => {
                "the peer signs by TCP-AO (RFC 5925), which is not spoken here: have it sign by TCP MD5, or not at all"
            }
        }
    }

    /// Its place in [`KeyFault::ALL`].
    const fn index(self) -> usize {
        self as usize
    }
}

/// Between two SYNs of a session that are judged, in nanoseconds: what a flood of them may cost.
const APART_NS: u64 = 100_000_000;

/// The key of one session, and what its peer's SYNs say of it.
#[derive(Debug)]
pub struct SessionKey {
    /// The router's address in the session.
    pub local: IpAddr,
    /// What both ends sign with.
    pub password: Option<Password>,
    /// Only packets with TTL 255 are of the session (RFC 5082).
    pub ttl_security: bool,
    /// What the last SYN that was judged says: the fault's number in `ALL`, plus one, in the lowest octet; above it
    /// when that was, in milliseconds of the slow path's time. Zero: nothing is wrong. The slow path writes it;
    /// the control thread writes zero.
    found: AtomicU64,
    /// When a SYN was judged last, in nanoseconds of the slow path's time. Of the slow path alone.
    judged_ns: Counter,
    /// SYNs with each fault.
    faults: [Counter; KeyFault::ALL.len()],
}

impl SessionKey {
    /// A key of which no SYN has said anything.
    pub fn new(local: IpAddr, password: Option<Password>, ttl_security: bool) -> SessionKey {
        let faults = std::array::from_fn(|_| Counter::default());
        let (found, judged_ns) = (AtomicU64::new(0), Counter::default());
        SessionKey { local, password, ttl_security, found, judged_ns, faults }
    }

    /// Whether another SYN may be judged at this time of the slow path: then it is. For the slow path.
    pub fn is_due(&self, now_ns: u64) -> bool {
        let last = self.judged_ns.get();
        let due = last == 0 || now_ns.saturating_sub(last) >= APART_NS;
        if due {
            self.judged_ns.set(now_ns);
        }
        due
    }

    /// Takes in what a SYN says. For the slow path.
    pub fn judged(&self, fault: Option<KeyFault>, now_ns: u64) {
        let Some(fault) = fault else { return self.clear() };
        self.faults[fault.index()].add(1);
        self.found.store((now_ns / 1_000_000) << 8 | (fault.index() as u64 + 1), Relaxed);
    }

    /// Forgets what the last SYN said: the session is established.
    pub fn clear(&self) {
        self.found.store(0, Relaxed);
    }

    /// What is wrong by the last SYN that was judged, and when that was, in nanoseconds of the slow path's time.
    pub fn fault(&self) -> Option<(KeyFault, u64)> {
        let found = self.found.load(Relaxed);
        let [index, ..] = found.to_le_bytes();
        let fault = *KeyFault::ALL.get(usize::from(index).checked_sub(1)?)?;
        Some((fault, (found >> 8).saturating_mul(1_000_000)))
    }

    /// SYNs with this fault, since the session is configured as it is.
    pub fn faults(&self, fault: KeyFault) -> u64 {
        self.faults[fault.index()].get()
    }
}

/// The sessions of all VIFs, by the VIF's name and the peer.
#[derive(Debug, Default)]
pub struct Keys(HashMap<(Arc<str>, IpAddr), Arc<SessionKey>>);

impl Keys {
    /// The key of a session.
    pub fn get(&self, vif: &Arc<str>, peer: IpAddr) -> Option<&Arc<SessionKey>> {
        self.0.get(&(vif.clone(), peer))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, IpAddr, &SessionKey)> {
        self.0.iter().map(|((vif, peer), key)| (vif, *peer, &**key))
    }
}

impl FromIterator<((Arc<str>, IpAddr), Arc<SessionKey>)> for Keys {
    fn from_iter<T: IntoIterator<Item = ((Arc<str>, IpAddr), Arc<SessionKey>)>>(keys: T) -> Keys {
        Keys(keys.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn key() -> SessionKey {
        SessionKey::new("10.0.0.1".parse().unwrap(), Some(Password::new("S3CR3T")), false)
    }

    #[test]
    fn nothing_shows_a_password() {
        let keys: Keys = [(("a".into(), key().local), Arc::new(key()))].into_iter().collect();
        let tables = crate::tables::Snapshot { keys: keys.into(), ..Default::default() };
        for text in [format!("{tables:?}"), format!("{tables:#?}")] {
            assert!(text.contains("hidden") && !text.contains("S3CR3T"), "{text}");
        }
    }

    #[test]
    fn the_last_syn_counts_until_it_is_forgotten() {
        let key = key();
        assert_eq!(key.fault(), None);
        for (n, fault) in (1..).zip(KeyFault::ALL) {
            key.judged(Some(fault), n * SECOND + 999_999);
            assert_eq!(key.fault(), Some((fault, n * SECOND)));
            assert_eq!(key.faults(fault), 1);
        }
        key.judged(None, 9 * SECOND);
        assert_eq!((key.fault(), key.faults(KeyFault::Wrong)), (None, 1));
        key.judged(Some(KeyFault::Wrong), 10 * SECOND);
        key.clear();
        assert_eq!((key.fault(), key.faults(KeyFault::Wrong)), (None, 2));
    }

    #[test]
    fn ten_syns_a_second_are_judged() {
        let key = key();
        let syns = (0..10_000).map(|n| 5 * SECOND + n * SECOND / 1000);
        assert_eq!(syns.filter(|now_ns| key.is_due(*now_ns)).count(), 100, "of 1,000 a second");
    }
}
