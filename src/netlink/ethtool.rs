//! ethtool's generic netlink (linux/ethtool_netlink.h, Documentation/networking/ethtool-netlink.rst): what a driver
//! tells of its link, its errors and its module. What a driver does not tell is not there.
//!
//! Each question holds the kernel's lock of all interfaces (rtnl) while the driver answers, for a module's memory some
//! ten milliseconds a page. So a thread that others wait for must not ask.

mod answers;

use std::collections::BTreeMap;
use std::io;

use super::generic::GenericFamily;
use super::request::{NLA_F_NESTED, attribute};
use answers::{ETH_MAC, ETH_PHY, RMON};

pub use answers::{Fec, LinkModes};

// Messages.
const LINKINFO_GET: u8 = 2;
const LINKMODES_GET: u8 = 4;
const LINKSTATE_GET: u8 = 6;
const FEC_GET: u8 = 29;
const MODULE_EEPROM_GET: u8 = 31;
const STATS_GET: u8 = 32;

/// ETHTOOL_A_*_HEADER of all messages but STATS.
const HEADER: u16 = 1;
const HEADER_DEV_NAME: u16 = 2;
const HEADER_FLAGS: u16 = 3;
const FLAG_COMPACT_BITSETS: u32 = 1;
const FLAG_STATS: u32 = 1 << 2;

const BITSET_NOMASK: u16 = 1;
const BITSET_SIZE: u16 = 2;
const BITSET_VALUE: u16 = 4;

const STATS_HEADER: u16 = 2;
const STATS_GROUPS: u16 = 3;
const EEPROM_OFFSET: u16 = 2;
const EEPROM_LENGTH: u16 = 3;
const EEPROM_PAGE: u16 = 4;
const EEPROM_BANK: u16 = 5;
const EEPROM_I2C_ADDRESS: u16 = 6;
const EEPROM_DATA: u16 = 7;

/// ethtool of this network namespace.
pub struct Ethtool(GenericFamily);

impl Ethtool {
    /// Finds it.
    ///
    /// # Errors
    /// The kernel's; ENOENT where it is built without.
    pub fn open() -> io::Result<Ethtool> {
        GenericFamily::open("ethtool", 1).map(Ethtool)
    }

    /// How an interface's link runs.
    ///
    /// # Errors
    /// The kernel's; so are those of the others.
    pub fn link_modes(&self, interface: &str) -> io::Result<Option<LinkModes>> {
        let answer = self.ask(LINKMODES_GET, HEADER, interface, 0, &[])?;
        Ok(answer.map(|answer| answers::link_modes(&answer)))
    }

    /// What an interface's link runs over: `fibre`, `twisted_pair`, `direct_attach` ...
    ///
    /// # Errors
    /// The kernel's.
    pub fn connector(&self, interface: &str) -> io::Result<Option<String>> {
        let answer = self.ask(LINKINFO_GET, HEADER, interface, 0, &[])?;
        Ok(answer.and_then(|answer| answers::connector(&answer)))
    }

    /// Why an interface has no link, where its driver knows.
    ///
    /// # Errors
    /// The kernel's.
    pub fn down_reason(&self, interface: &str) -> io::Result<Option<String>> {
        let answer = self.ask(LINKSTATE_GET, HEADER, interface, 0, &[])?;
        Ok(answer.and_then(|answer| answers::down_reason(&answer)))
    }

    /// Forward error correction of an interface; `None` where its driver has none.
    ///
    /// # Errors
    /// The kernel's.
    pub fn fec(&self, interface: &str) -> io::Result<Option<Fec>> {
        let answer = self.ask(FEC_GET, HEADER, interface, FLAG_STATS, &[])?;
        Ok(answer.map(|answer| answers::fec(&answer)))
    }

    /// Errors of an interface by name, those that its driver counts in the standard statistics.
    ///
    /// # Errors
    /// The kernel's.
    pub fn errors(&self, interface: &str) -> io::Result<BTreeMap<String, u64>> {
        let groups: u32 = 1 << ETH_PHY | 1 << ETH_MAC | 1 << RMON;
        let bitset = [
            attribute(BITSET_NOMASK, &[]),
            attribute(BITSET_SIZE, &(RMON + 1).to_ne_bytes()),
            attribute(BITSET_VALUE, &groups.to_ne_bytes()),
        ];
        let groups = [(STATS_GROUPS | NLA_F_NESTED, bitset.concat())];
        let answer = self.ask(STATS_GET, STATS_HEADER, interface, 0, &groups)?;
        Ok(answer.map(|answer| answers::errors(&answer)).unwrap_or_default())
    }

    /// Octets of a module's memory; `None` where the driver reads none.
    ///
    /// # Errors
    /// The kernel's; of some drivers, where no module is plugged in.
    pub fn module_memory(
        &self,
        interface: &str,
        (i2c, page, offset): (u8, u8, u8),
        length: u32,
    ) -> io::Result<Option<Vec<u8>>> {
        let place = [
            (EEPROM_OFFSET, u32::from(offset).to_ne_bytes().to_vec()),
            (EEPROM_LENGTH, length.to_ne_bytes().to_vec()),
            (EEPROM_PAGE, vec![page]),
            (EEPROM_BANK, vec![0]),
            (EEPROM_I2C_ADDRESS, vec![i2c]),
        ];
        let answer = self.ask(MODULE_EEPROM_GET, HEADER, interface, 0, &place)?;
        Ok(answer.map(|answer| answers::value(&answer, EEPROM_DATA).unwrap_or_default().to_vec()))
    }

    /// The attributes of an answer; `None` where the driver does not know the question.
    fn ask(
        &self,
        command: u8,
        header: u16,
        interface: &str,
        flags: u32,
        more: &[(u16, Vec<u8>)],
    ) -> io::Result<Option<Vec<u8>>> {
        let name = [interface.as_bytes(), &[0]].concat();
        let flags = (flags | FLAG_COMPACT_BITSETS).to_ne_bytes();
        let of = [attribute(HEADER_DEV_NAME, &name), attribute(HEADER_FLAGS, &flags)].concat();
        let request = self.0.request(command).with(header | NLA_F_NESTED, &of);
        let request =
            more.iter().fold(request, |request, (kind, value)| request.with(*kind, value));
        match self.0.ask(request) {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
