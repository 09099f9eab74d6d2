//! What is behind an interface, for who chooses ports.

use super::ethtool::Ethtool;
use super::queues::queue_count;

/// What an interface's driver says of it. What it does not say is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hardware {
    /// The driver's name.
    pub driver: Option<String>,
    /// The speed of the link, Mbit/s; without a link there is none.
    pub speed_mbps: Option<u32>,
    /// Queues that it receives on now.
    pub queues: Option<u32>,
}

impl Hardware {
    /// What is behind this interface.
    pub fn of(interface: &str) -> Hardware {
        let ethtool = Ethtool::new(interface).ok();
        let ethtool = ethtool.as_ref();
        Hardware {
            driver: Driver::said(ethtool).name,
            speed_mbps: ethtool.and_then(|ethtool| ethtool.speed_mbps().ok().flatten()),
            queues: queue_count(interface).ok(),
        }
    }
}

/// Who drives an interface. What the driver does not say is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Driver {
    /// The driver's name.
    pub name: Option<String>,
    /// Version of the NIC's firmware.
    pub firmware: Option<String>,
    /// Where the NIC is: `0000:01:00.0`.
    pub bus: Option<String>,
}

impl Driver {
    /// That of this interface.
    pub fn of(interface: &str) -> Driver {
        Driver::said(Ethtool::new(interface).ok().as_ref())
    }

    fn said(ethtool: Option<&Ethtool>) -> Driver {
        let said = ethtool.and_then(|ethtool| ethtool.driver().ok()).unwrap_or_default();
        // What it does not know is empty, or a word for that.
        let [name, firmware, bus] =
            said.map(|text| Some(text).filter(|text| !matches!(&**text, "" | "N/A" | "n/a")));
        Driver { name, firmware, bus }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_interface_that_is_not_there_nothing_is_known() {
        assert_eq!(Hardware::of("nosuch0"), Hardware::default());
        assert_eq!(Hardware::of("a-name-that-no-interface-can-have"), Hardware::default());
    }

    #[test]
    fn the_loopback_has_no_speed() {
        assert_eq!(Hardware::of("lo").speed_mbps, None);
    }
}
