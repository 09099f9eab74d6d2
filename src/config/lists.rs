//! Prefix lists: text files of a prefix a line, up to full tables of a million routes. A list that
//! is still in use and has not changed is not read again, so that a reload costs nothing for it.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use ipnet::IpNet;

use super::address;
use super::model::RouteListConfig;
use crate::tables::rules::RESERVED;

/// The longest configuration or prefix list, in octets.
pub const MAX_FILE: u64 = 64 << 20;

/// Bad lines of one list that are reported.
const REPORTED: usize = 10;

/// What tells a changed file from an unchanged one: device, inode, size, and the times of the last
/// change of contents and of the inode in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp([i64; 4], u64, u64, u64);

impl Stamp {
    fn of(meta: &Metadata) -> Self {
        let times = [meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()];
        Stamp(times, meta.size(), meta.ino(), meta.dev())
    }
}

type Lists = HashMap<PathBuf, (Stamp, Weak<[IpNet]>)>;

/// Lists that some configuration still holds.
static CACHE: Mutex<Option<Lists>> = Mutex::new(None);

/// The prefixes of a list: sorted, without duplicates, all routable. Otherwise what is wrong with
/// it, a line each.
pub(super) fn read(path: &Path) -> Result<Arc<[IpNet]>, Vec<String>> {
    let failed = |error: std::io::Error| vec![format!("cannot read {}: {error}", path.display())];
    let meta = regular_file(path).map_err(|error| vec![error])?;
    let stamp = Stamp::of(&meta);
    if let Some(prefixes) = cached(path, stamp) {
        return Ok(prefixes);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or(0));
    File::open(path)
        .and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes))
        .map_err(failed)?;
    let prefixes = parse(&bytes)?;
    remember(path, stamp, &prefixes);
    Ok(prefixes)
}

/// The metadata of a file that can be read to its end: not a directory, pipe or device, and of
/// sane size.
pub(super) fn regular_file(path: &Path) -> Result<Metadata, String> {
    let meta = std::fs::metadata(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    if !meta.is_file() {
        Err(format!("{} is not a regular file", path.display()))
    } else if meta.len() > MAX_FILE {
        Err(format!("{} is longer than {} MiB", path.display(), MAX_FILE >> 20))
    } else {
        Ok(meta)
    }
}

impl RouteListConfig {
    /// Its prefixes in [`RESERVED`], which is the end of IPv4.
    pub(super) fn reserved(&self) -> &[IpNet] {
        let v4 = &self.prefixes[..self.prefixes.partition_point(|net| net.addr().is_ipv4())];
        &v4[v4.partition_point(|net| net.addr() < RESERVED.addr())..]
    }
}

fn cached(path: &Path, stamp: Stamp) -> Option<Arc<[IpNet]>> {
    let cache = CACHE.lock().unwrap_or_else(PoisonError::into_inner);
    let (known, prefixes) = cache.as_ref()?.get(path)?;
    if *known == stamp { prefixes.upgrade() } else { None }
}

fn remember(path: &Path, stamp: Stamp, prefixes: &Arc<[IpNet]>) {
    let mut cache = CACHE.lock().unwrap_or_else(PoisonError::into_inner);
    let lists = cache.get_or_insert_default();
    lists.retain(|_, (_, list)| list.strong_count() > 0);
    lists.insert(path.to_owned(), (stamp, Arc::downgrade(prefixes)));
}

/// Prefixes from text. Blank lines and everything after `#` are skipped.
fn parse(bytes: &[u8]) -> Result<Arc<[IpNet]>, Vec<String>> {
    // About the length of a line of a full table, so that the vector rarely grows.
    let mut prefixes = Vec::with_capacity(bytes.len() / 14);
    let mut bad = Vec::new();
    for (number, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let text = line.split(|&byte| byte == b'#').next().unwrap_or_default().trim_ascii();
        if text.is_empty() {
            continue;
        }
        match prefix(text) {
            Ok(prefix) => prefixes.push(prefix),
            Err(_) if bad.len() > REPORTED => {}
            Err(error) => bad.push(format!("line {}: {error}", number + 1)),
        }
    }
    if bad.len() > REPORTED {
        bad.truncate(REPORTED);
        bad.push("more bad lines follow".to_owned());
    }
    if !bad.is_empty() {
        return Err(bad);
    }
    prefixes.sort_unstable();
    prefixes.dedup();
    Ok(prefixes.into())
}

fn prefix(text: &[u8]) -> Result<IpNet, String> {
    let parsed = std::str::from_utf8(text).ok().and_then(|text| text.parse::<IpNet>().ok());
    let Some(prefix) = parsed else {
        let shown: String = String::from_utf8_lossy(text).chars().take(64).collect();
        return Err(format!("{shown:?} is not a prefix"));
    };
    match address::unroutable(&prefix, None) {
        None => Ok(prefix),
        Some(why) => Err(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_sorted_and_unique_and_may_have_comments() {
        let text = "# table\n10.2.0.0/16\r\n\n2001:db8::/32 # v6\n10.1.0.0/16\n10.2.0.0/16";
        let prefixes = parse(text.as_bytes()).unwrap();
        let expected: Vec<IpNet> = ["10.1.0.0/16", "10.2.0.0/16", "2001:db8::/32"]
            .map(|text| text.parse().unwrap())
            .to_vec();
        assert_eq!(prefixes.to_vec(), expected);
    }

    #[test]
    fn bad_lines_are_named_up_to_a_limit() {
        let bad = parse(b"10.0.0.0/8\n10.0.0.1/8\nx\n\xff\n10.0.0.0\n127.0.0.0/8").unwrap_err();
        assert_eq!(
            bad,
            [
                "line 2: 10.0.0.1/8 has bits set after /8",
                "line 3: \"x\" is not a prefix",
                "line 4: \"\u{fffd}\" is not a prefix",
                "line 5: \"10.0.0.0\" is not a prefix",
                "line 6: 127.0.0.0/8 is loopback: it is never routed",
            ]
        );
        assert_eq!(parse(&b"x\n".repeat(1000)).unwrap_err().len(), REPORTED + 1);
    }
}
