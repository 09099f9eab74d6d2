//! One committed configuration as a file: a line with the checksum of all that follows, a line of JSON that
//! says who made it, when and how, and the configuration's text.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What the first line begins with: the format and its version.
const MAGIC: &str = "station-configuration 1 ";

/// Who asked for something, as far as the kernel says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    /// The user of the process that asked (SO_PEERCRED).
    pub uid: u32,
    /// Its process id.
    pub pid: i32,
    /// The user who logged in (/proc/PID/loginuid), which changes of the user afterwards do not change. None
    /// where nobody logged in, as in a service, or the kernel does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login_uid: Option<u32>,
    /// The user who called sudo: what sudo says in the environment of a process of root, where the kernel
    /// says of a process above it that it is this user's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sudo_uid: Option<u32>,
    /// The name that sudo gives that user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sudo_user: Option<String>,
}

/// A configuration that is taken back unless somebody confirms it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirm {
    /// Until when: milliseconds since 1970.
    pub until_ms: u64,
    /// The configuration that comes back.
    pub back_to: u64,
    /// When it was confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed_ms: Option<u64>,
    /// By whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed_by: Option<Author>,
}

/// A prefix list that a configuration names: its content is not part of the snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct List {
    /// Its file.
    pub file: String,
    /// Prefixes in it.
    pub prefixes: u64,
    /// CRC-32 of the sorted prefixes.
    pub checksum: u32,
}

/// What is known of a configuration beside its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The configuration's number.
    pub number: u64,
    /// When it was committed: milliseconds since 1970.
    pub time_ms: u64,
    /// The command that made it.
    pub command: String,
    /// Who gave the command; none where the station itself did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Author>,
    /// What they said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// It was applied for a time of trial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<Confirm>,
    /// Its prefix lists as they were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lists: Vec<List>,
    /// Which numbers its ports had, by name: TAPs are called by them, and what a crash leaves is to be found again.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ports: BTreeMap<String, u8>,
}

impl Entry {
    /// Who has not been asked for a confirmation, or has not given it yet.
    pub fn unconfirmed(&self) -> Option<&Confirm> {
        self.confirm.as_ref().filter(|confirm| confirm.confirmed_ms.is_none())
    }
}

/// A committed configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Who made it, when and how.
    pub entry: Entry,
    /// Its text.
    pub text: String,
}

impl Snapshot {
    /// The file's content.
    pub(super) fn encode(&self) -> Vec<u8> {
        // Strings and numbers always have a JSON.
        let entry = serde_json::to_string(&self.entry).unwrap_or_default();
        let content = format!("{entry}\n{}", self.text);
        let checksum = crc32fast::hash(content.as_bytes());
        format!("{MAGIC}{checksum:08x}\n{content}").into_bytes()
    }

    /// Reads a file's content; or says why it is none of ours as we wrote it.
    pub(super) fn decode(octets: &[u8], number: u64) -> Result<Snapshot, &'static str> {
        let text = str::from_utf8(octets).map_err(|_| "it is not UTF-8")?;
        let rest = text.strip_prefix(MAGIC).ok_or("it has another beginning")?;
        let (checksum, content) = rest.split_once('\n').ok_or("it ends too soon")?;
        if u32::from_str_radix(checksum, 16) != Ok(crc32fast::hash(content.as_bytes())) {
            return Err("its checksum is wrong");
        }
        let (entry, text) = content.split_once('\n').ok_or("it ends too soon")?;
        let entry: Entry = serde_json::from_str(entry).map_err(|_| "its head is not understood")?;
        if entry.number != number {
            return Err("it has another configuration's name");
        }
        Ok(Snapshot { entry, text: text.to_owned() })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn snapshot(number: u64, text: &str) -> Snapshot {
        let by = Author {
            uid: 0,
            pid: 77,
            login_uid: Some(1000),
            sudo_uid: Some(1000),
            sudo_user: Some("ada".into()),
        };
        let entry = Entry {
            number,
            time_ms: 1_795_000_000_000 + number,
            command: format!("vif up x{number}"),
            by: Some(by),
            comment: Some("order \"4711\"\u{e4}".into()),
            confirm: None,
            lists: vec![List { file: "t.txt".into(), prefixes: 3, checksum: 9 }],
            ports: [("p0".to_owned(), 3)].into(),
        };
        Snapshot { entry, text: text.to_owned() }
    }

    #[test]
    fn a_snapshot_is_read_as_it_was_written() {
        for text in ["", "a = 1\n", "\n\n", "no end of line"] {
            let written = snapshot(7, text);
            assert_eq!(Snapshot::decode(&written.encode(), 7), Ok(written));
        }
    }

    /// Any octet that changes or is missing is noticed.
    #[test]
    fn a_damaged_snapshot_is_never_read() {
        let octets = snapshot(7, "name = \"a\"\n").encode();
        for at in 0..octets.len() {
            for flip in [1_u8, 0x20, 0x80] {
                let mut damaged = octets.clone();
                damaged[at] ^= flip;
                // The checksum may be written in capitals: it is the same number.
                if damaged[at].eq_ignore_ascii_case(&octets[at])
                    && at < MAGIC.len() + 8
                    && at >= MAGIC.len()
                {
                    continue;
                }
                assert!(Snapshot::decode(&damaged, 7).is_err(), "octet {at} ^ {flip:#x}");
            }
            assert!(Snapshot::decode(&octets[..at], 7).is_err(), "{at} octets");
        }
        assert_eq!(Snapshot::decode(&octets, 8), Err("it has another configuration's name"));
    }
}
