//! The groups whose members may use the admin socket: `station-read` asks, `station-admin` also changes. The Debian
//! package makes both, and `station-mirror`, whose members may have traffic mirrored. Where a system has neither, members of the group of the socket's file may do both.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;

use rustix::fs::{XattrFlags, setxattr};
use tracing::warn;

/// Members may ask.
const READ: &str = "station-read";
/// Members may ask and change.
const ADMIN: &str = "station-admin";
/// Members may have traffic mirrored.
const MIRROR: &str = "station-mirror";

/// Ids of the groups that a system has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    /// Members may ask.
    pub read: Option<u32>,
    /// Members may ask and change. Where there is none, whoever may ask may also change.
    pub admin: Option<u32>,
    /// Members may have traffic mirrored, and ask. Where there is none, only root and the daemon's own user may.
    pub mirror: Option<u32>,
}

impl Groups {
    /// Those in `/etc/group`.
    pub fn of_system() -> Groups {
        Groups::listed(&fs::read_to_string("/etc/group").unwrap_or_default())
    }

    fn listed(text: &str) -> Groups {
        let id = |name: &str| {
            let mut lines = text.lines().map(|line| line.split(':').collect::<Vec<&str>>());
            lines.find(|fields| fields.first() == Some(&name))?.get(2)?.parse().ok()
        };
        Groups { read: id(READ), admin: id(ADMIN), mirror: id(MIRROR) }
    }

    /// Lets members open the socket's file. One group owns it, and the other has an entry in its access list.
    pub(super) fn admit(&self, socket: &Path) {
        let mut groups: Vec<u32> =
            [self.read, self.admin, self.mirror].into_iter().flatten().collect();
        let Some(owner) = groups.first().copied() else { return };
        if let Err(error) = chown(socket, None, Some(owner)) {
            warn!(group = owner, %error, "cannot give the admin socket to its group: only root and the station's user may ask");
            return;
        }
        let others = groups.split_off(1);
        if !others.is_empty()
            && let Err(error) = setxattr(
                socket,
                "system.posix_acl_access",
                &access_list(others),
                XattrFlags::empty(),
            )
        {
            warn!(%error, "no access lists in the file system of the admin socket: members of {ADMIN} and {MIRROR} have to be in {READ} as well");
        }
    }
}

/// Mode 0660, and the same for more groups (`struct posix_acl_xattr_header` and its entries of
/// linux/posix_acl_xattr.h, little endian, in the order of their tags).
fn access_list(mut groups: Vec<u32>) -> Vec<u8> {
    const VERSION: u32 = 2;
    const NOBODY: u32 = u32::MAX;
    const RW: u16 = 6;
    groups.sort_unstable();
    groups.dedup();
    // ACL_USER_OBJ and ACL_GROUP_OBJ, ACL_GROUP each, ACL_MASK and ACL_OTHER.
    let mut entries = vec![(0x01, RW, NOBODY), (0x04, RW, NOBODY)];
    entries.extend(groups.into_iter().map(|group| (0x08, RW, group)));
    entries.extend([(0x10_u16, RW, NOBODY), (0x20, 0, NOBODY)]);
    let mut octets = VERSION.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        octets.extend(tag.to_le_bytes());
        octets.extend(permissions.to_le_bytes());
        octets.extend(id.to_le_bytes());
    }
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_read_by_their_whole_names() {
        let text = "root:x:0:\nxstation-read:x:7:\nstation-read:x:990:a,b\nstation-admin:x:bad:\n";
        let read = Groups { read: Some(990), ..Groups::default() };
        assert_eq!(Groups::listed(text), read);
        let others = "station-mirror:x:988:\nstation-admin:x:989:";
        let known = Groups { read: None, admin: Some(989), mirror: Some(988) };
        assert_eq!(Groups::listed(others), known);
        assert_eq!(Groups::listed("station-read\n::\n"), Groups::default());
    }
}
