//! The server's users, as far as /etc/passwd has them.

use std::fs;

/// User and group of a name.
pub fn ids(name: &str) -> Option<(u32, u32)> {
    of(&fs::read_to_string("/etc/passwd").ok()?, name)
}

/// Reads passwd(5).
fn of(users: &str, name: &str) -> Option<(u32, u32)> {
    let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut ids = line.split(':').skip(2).map(|id| id.parse().ok());
    Some((ids.next()??, ids.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let users = "root:x:0:0:root:/root:/bin/sh\nbirdy:x:7:8::/:\nbird:x:9:x::/:\n";
        assert_eq!(of(users, "root"), Some((0, 0)));
        assert_eq!(of(users, "birdy"), Some((7, 8)));
        assert_eq!((of(users, "bird"), of(users, "b"), of(users, "")), (None, None, None));
    }
}
