//! Parts of what events say.

use std::fmt;

/// ` by uid 0 (ada)`, and the comment.
pub(super) struct By<'a>(
    pub Option<u32>,
    pub Option<u32>,
    pub &'a Option<String>,
    pub &'a Option<String>,
);

impl fmt::Display for By<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let By(uid, login_uid, sudo_user, comment) = self;
        match uid {
            Some(uid) => write!(f, " by uid {uid}")?,
            None => f.write_str(" by the station")?,
        }
        match (sudo_user, login_uid) {
            (Some(user), _) => write!(f, " ({user})")?,
            (None, Some(login)) => write!(f, " (login uid {login})")?,
            (None, None) => {}
        }
        comment.iter().try_for_each(|comment| write!(f, ": {comment}"))
    }
}

/// Addresses, one after the other.
pub(super) struct Peers<'a>(pub &'a [std::net::IpAddr]);

impl fmt::Display for Peers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each = |(at, peer)| write!(f, "{}{peer}", if at > 0 { ", " } else { "" });
        self.0.iter().enumerate().try_for_each(each)
    }
}

/// `vif a`, `the station`.
pub(super) struct Target<'a>(pub &'a str, pub &'a Option<String>);

impl fmt::Display for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            Some(name) => write!(f, "{} {name}", self.0),
            None => f.write_str("the station"),
        }
    }
}
