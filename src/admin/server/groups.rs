//! The groups whose members may use the admin socket: `station-read` asks, `station-admin` also changes. The Debian
//! package makes both. Where a system has neither, members of the group of the socket's file may do both.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;

use rustix::fs::{XattrFlags, setxattr};
use tracing::warn;

/// Members may ask.
const READ: &str = "station-read";
/// Members may ask and change.
const ADMIN: &str = "station-admin";

/// Ids of the groups that a system has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    /// Members may ask.
    pub read: Option<u32>,
    /// Members may ask and change. Where there is none, whoever may ask may also change.
    pub admin: Option<u32>,
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
        Groups { read: id(READ), admin: id(ADMIN) }
    }

    /// Lets members open the socket's file. One group owns it, and the other has an entry in its access list.
    pub(super) fn admit(&self, socket: &Path) {
        let owner = self.read.or(self.admin);
        if let Some(group) = owner
            && let Err(error) = chown(socket, None, Some(group))
        {
            warn!(group, %error, "cannot give the admin socket to its group: only root and the station's user may ask");
            return;
        }
        if let (Some(admin), Some(_)) = (self.admin, self.read)
            && let Err(error) = setxattr(
                socket,
                "system.posix_acl_access",
                &access_list(admin),
                XattrFlags::empty(),
            )
        {
            warn!(%error, "no access lists in the file system of the admin socket: members of {ADMIN} have to be in {READ} as well");
        }
    }
}

/// Mode 0660, and the same for one more group (`struct posix_acl_xattr_header` and its entries of
/// linux/posix_acl_xattr.h, little endian, in the order of their tags).
fn access_list(group: u32) -> Vec<u8> {
    const VERSION: u32 = 2;
    const NOBODY: u32 = u32::MAX;
    const RW: u16 = 6;
    // ACL_USER_OBJ, ACL_GROUP_OBJ, ACL_GROUP, ACL_MASK, ACL_OTHER.
    let entries: [(u16, u16, u32); 5] = [
        (0x01, RW, NOBODY),
        (0x04, RW, NOBODY),
        (0x08, RW, group),
        (0x10, RW, NOBODY),
        (0x20, 0, NOBODY),
    ];
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
        assert_eq!(Groups::listed(text), Groups { read: Some(990), admin: None });
        assert_eq!(Groups::listed("station-admin:x:989:"), Groups { read: None, admin: Some(989) });
        assert_eq!(Groups::listed("station-read\n::\n"), Groups::default());
    }
}
