//! The few ioctls of ethtool (linux/ethtool.h) that a port needs: queue counts and features by name, driver and speed.

#![allow(unsafe_code)] // ioctl(2)

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

const ETHTOOL_GSET: u32 = 0x01;
const ETHTOOL_GDRVINFO: u32 = 0x03;
const ETHTOOL_GSTRINGS: u32 = 0x1b;
const ETHTOOL_GSSET_INFO: u32 = 0x37;
const ETHTOOL_GFEATURES: u32 = 0x3a;
const ETHTOOL_SFEATURES: u32 = 0x3b;
const ETHTOOL_GCHANNELS: u32 = 0x3c;
const ETHTOOL_SCHANNELS: u32 = 0x3d;
const ETH_SS_FEATURES: u32 = 4;
/// Octets of a name (ETH_GSTRING_LEN).
const NAME: usize = 32;

/// An interface to ask.
pub(super) struct Ethtool {
    socket: OwnedFd,
    request: libc::ifreq,
}

/// Queue counts of an interface and how far they can be raised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Channels {
    pub(super) max_rx: u32,
    pub(super) max_tx: u32,
    pub(super) max_combined: u32,
    pub(super) rx: u32,
    pub(super) tx: u32,
    pub(super) combined: u32,
}

/// A feature that is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Feature {
    pub(super) name: String,
    pub(super) index: usize,
}

impl Ethtool {
    pub(super) fn new(interface: &str) -> io::Result<Ethtool> {
        // SAFETY: a new file descriptor, owned by nothing else.
        let socket = unsafe {
            let fd = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        // SAFETY: zero is a valid value of a struct of integers and pointers.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        if interface.len() >= request.ifr_name.len() {
            return Err(io::Error::from_raw_os_error(libc::ENODEV));
        }
        for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
            *to = from.cast_signed();
        }
        Ok(Ethtool { socket, request })
    }

    /// # Safety
    /// The kernel writes no more than `words` for the command in its first word.
    unsafe fn call(&self, words: &mut [u32]) -> io::Result<()> {
        let mut request = self.request;
        request.ifr_ifru.ifru_data = words.as_mut_ptr().cast();
        // SAFETY: the request and the words live through the call; their length is the caller's
        // promise.
        let result =
            unsafe { libc::ioctl(self.socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// The driver, the version of the firmware, and where the device is; empty where the driver does not say.
    pub(super) fn driver(&self) -> io::Result<[String; 3]> {
        // `struct ethtool_drvinfo`: the command, five names of 32 octets, 12 reserved octets, five counts.
        let mut words = [0; 1 + 5 * NAME / 4 + 3 + 5];
        words[0] = ETHTOOL_GDRVINFO;
        // SAFETY: as many words as the struct has.
        unsafe { self.call(&mut words) }?;
        // Driver, its version, firmware, bus.
        let octets: Vec<u8> = words[1..].iter().flat_map(|word| word.to_ne_bytes()).collect();
        let nth = |n: usize| name(octets.get(n * NAME..(n + 1) * NAME).unwrap_or_default());
        Ok([0, 2, 3].map(|n| nth(n).trim().to_owned()))
    }

    /// The speed of the link in Mbit/s; `None` where there is no link, or nobody knows.
    pub(super) fn speed_mbps(&self) -> io::Result<Option<u32>> {
        let mut words = [0; 11];
        words[0] = ETHTOOL_GSET;
        // SAFETY: `struct ethtool_cmd` has 11 words.
        unsafe { self.call(&mut words) }?;
        // `speed` and `speed_hi` are the first two octets of their words.
        let half = |word: u32| {
            let [a, b, ..] = word.to_ne_bytes();
            u16::from_ne_bytes([a, b])
        };
        let (low, high) = (half(words[3]), half(words[7]));
        // SPEED_UNKNOWN is -1, and of some drivers its lower half.
        let known = (low, high) != (u16::MAX, u16::MAX) && (low, high) != (u16::MAX, 0);
        let speed = u32::from(high) << 16 | u32::from(low);
        Ok((known && speed > 0).then_some(speed))
    }

    /// Queue counts.
    pub(super) fn channels(&self) -> io::Result<Channels> {
        let mut words = [0; 9];
        words[0] = ETHTOOL_GCHANNELS;
        // SAFETY: `struct ethtool_channels` has 9 words.
        unsafe { self.call(&mut words) }?;
        let [_, max_rx, max_tx, _, max_combined, rx, tx, _, combined] = words;
        Ok(Channels { max_rx, max_tx, max_combined, rx, tx, combined })
    }

    /// Sets the counts of receive, transmit and combined queues.
    pub(super) fn set_channels(&self, rx: u32, tx: u32, combined: u32) -> io::Result<()> {
        let mut words = [0; 9];
        words[0] = ETHTOOL_GCHANNELS;
        // SAFETY: `struct ethtool_channels` has 9 words. Read first: the other counts stay.
        unsafe { self.call(&mut words) }?;
        words[0] = ETHTOOL_SCHANNELS;
        (words[5], words[6], words[8]) = (rx, tx, combined);
        // SAFETY: as above; the kernel only reads them.
        unsafe { self.call(&mut words) }
    }

    /// The features of these names that are on.
    pub(super) fn active(&self, wanted: &[&str]) -> io::Result<Vec<Feature>> {
        let count = self.feature_count()?;
        let mut names = vec![0u32; 3 + count * NAME / 4];
        (names[0], names[1]) = (ETHTOOL_GSTRINGS, ETH_SS_FEATURES);
        // SAFETY: the kernel writes 3 words and a name for each feature, whose count it just told
        // and which is fixed when the kernel is built.
        unsafe { self.call(&mut names) }?;
        let names: Vec<u8> = names[3..].iter().flat_map(|word| word.to_ne_bytes()).collect();
        let blocks = count.div_ceil(32);
        let mut words = vec![0u32; 2 + blocks * 4];
        words[0] = ETHTOOL_GFEATURES;
        words[1] = u32::try_from(blocks).map_err(io::Error::other)?;
        // SAFETY: the kernel writes 2 words and at most the 4-word blocks that word 1 says.
        unsafe { self.call(&mut words) }?;
        let features = names.chunks_exact(NAME).enumerate().filter_map(|(index, name)| {
            let name = self::name(name);
            let name = wanted.iter().find(|wanted| **wanted == name)?;
            // Each block: available, requested, active, never changed.
            let active = words[2 + index / 32 * 4 + 2] & (1 << (index % 32)) != 0;
            active.then(|| Feature { name: (*name).to_owned(), index })
        });
        Ok(features.collect())
    }

    /// Switches features off. The kernel may do less than it is asked: look again.
    pub(super) fn switch_off(&self, features: &[Feature]) -> io::Result<()> {
        let blocks = self.feature_count()?.div_ceil(32);
        let mut words = vec![0u32; 2 + blocks * 2];
        words[0] = ETHTOOL_SFEATURES;
        words[1] = u32::try_from(blocks).map_err(io::Error::other)?;
        for feature in features {
            // Each block: valid, requested.
            if let Some(valid) = words.get_mut(2 + feature.index / 32 * 2) {
                *valid |= 1 << (feature.index % 32);
            }
        }
        // SAFETY: the kernel only reads the 2-word blocks that word 1 says.
        unsafe { self.call(&mut words) }
    }

    fn feature_count(&self) -> io::Result<usize> {
        // The command, a reserved word, the mask of string sets (64 bits), the count of the one.
        let mut words = [0u32; 5];
        words[0] = ETHTOOL_GSSET_INFO;
        let mask = (1u64 << ETH_SS_FEATURES).to_ne_bytes();
        words[2] = u32::from_ne_bytes([mask[0], mask[1], mask[2], mask[3]]);
        words[3] = u32::from_ne_bytes([mask[4], mask[5], mask[6], mask[7]]);
        // SAFETY: the kernel writes the four words of the header and one count for the one set.
        unsafe { self.call(&mut words) }?;
        usize::try_from(words[4]).map_err(io::Error::other)
    }
}

/// A name in its field, up to its end.
fn name(field: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(field.split(|&octet| octet == 0).next().unwrap_or_default())
}
