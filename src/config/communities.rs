//! What BGP policy is written with: prefixes that may be announced, and communities.

use std::fmt;

use ipnet::IpNet;

/// A prefix that may be announced, and how much more specific it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllowedPrefix {
    /// The prefix.
    pub net: IpNet,
    /// The longest prefix length within it.
    pub longest: u8,
}

/// A BGP community.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Community {
    /// RFC 1997: AS and value.
    Standard(u16, u16),
    /// RFC 8092: AS and two values.
    Large(u32, u32, u32),
}

impl fmt::Display for AllowedPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.longest == self.net.prefix_len() {
            write!(f, "{}", self.net)
        } else {
            write!(f, "{} le {}", self.net, self.longest)
        }
    }
}

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Community::Standard(a, b) => write!(f, "{a}:{b}"),
            Community::Large(a, b, c) => write!(f, "{a}:{b}:{c}"),
        }
    }
}
