//! How many queues an interface has, and how many it is to have.

use super::ethtool::{Channels, Ethtool};
use super::nic::{NicError, link_of, system};
use crate::netlink::Link;

/// How many queues an interface receives on now: what a station starts with where nothing else is
/// configured.
///
/// # Errors
/// [`NicError::NoInterface`], or the kernel's.
pub fn queue_count(interface: &str) -> Result<u32, NicError> {
    let link = link_of(interface)?;
    let (rx, _) = queues(&link)?.map_or((link.rx_queues, link.tx_queues), |c| totals(&c));
    Ok(rx.max(1))
}

/// Queue counts; `None` where the driver does not tell.
fn queues(link: &Link) -> Result<Option<Channels>, NicError> {
    let channels = Ethtool::new(&link.name).and_then(|ethtool| ethtool.channels());
    match channels {
        Ok(channels) => Ok(Some(channels)),
        Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(None),
        Err(e) => Err(system(&link.name, "read its queue counts")(e)),
    }
}

/// Receive and transmit queues in all.
fn totals(channels: &Channels) -> (u32, u32) {
    (channels.rx + channels.combined, channels.tx + channels.combined)
}

/// What gives an interface other queues.
pub(super) struct Missing {
    has: String,
    wanted: u32,
    /// Its queues receive and transmit both.
    combined: bool,
    others: u32,
}

impl Missing {
    fn refused(&self, interface: &str, reason: String) -> NicError {
        let Missing { has, wanted, combined, .. } = self;
        let command = match combined {
            true => format!("ethtool -L {interface} combined {wanted}"),
            false => format!("ethtool -L {interface} rx {wanted} tx {wanted}"),
        };
        let (interface, has) = (interface.to_owned(), has.clone());
        NicError::Queues { interface, has, wanted: *wanted, reason, command }
    }
}

/// What gives an interface the wanted queues; `None` where it has them.
///
/// # Errors
/// It cannot have them.
pub(super) fn missing(link: &Link, wanted: u32) -> Result<Option<Missing>, NicError> {
    let interface = &link.name;
    let channels = queues(link)?;
    let (rx, tx) = channels.map_or((link.rx_queues, link.tx_queues), |c| totals(&c));
    if (rx, tx) == (wanted, wanted) {
        return Ok(None);
    }
    let missing = Missing {
        has: format!("{rx} receive and {tx} transmit queues"),
        wanted,
        combined: channels.is_none_or(|c| c.max_combined > 0),
        others: channels.map_or(0, |c| c.combined),
    };
    let Some(channels) = channels else {
        return Err(missing.refused(interface, "its driver cannot change them".to_owned()));
    };
    let most = match missing.combined {
        true => channels.max_combined,
        false => channels.max_rx.min(channels.max_tx),
    };
    if wanted > most {
        return Err(NicError::FewQueues { interface: interface.clone(), most, wanted });
    }
    Ok(Some(missing))
}

/// Gives the interface the wanted queues; what it had, where it had others.
pub(super) fn set_queues(link: &Link, wanted: u32) -> Result<Option<String>, NicError> {
    let Some(missing) = missing(link, wanted)? else { return Ok(None) };
    let set = |ethtool: Ethtool| match missing.combined {
        true => ethtool.set_channels(0, 0, wanted),
        false => ethtool.set_channels(wanted, wanted, missing.others),
    };
    let done = Ethtool::new(&link.name).and_then(set);
    done.map_err(|error| missing.refused(&link.name, error.to_string()))?;
    Ok(Some(missing.has))
}
