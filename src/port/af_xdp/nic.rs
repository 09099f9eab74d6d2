//! What must hold of an interface before a station works on it, and as long as it does: queue counts,
//! offloads, MTU, promiscuous reception. What can be switched is; what cannot is refused with what to do.

#![allow(unsafe_code)] // sockets and if_indextoname(3)

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use super::super::{FrameSize, Frames, LARGEST_MTU};
use super::attachment::Attached;
use super::ethtool::{Ethtool, Feature};
use super::queues::{missing, set_queues};
use crate::netlink::{self, Link};

/// Octets of an Ethernet header with two tags.
const L2_HEADER: u32 = 14 + 2 * 4;

/// Features of a NIC that take tags out of frames or put them in, beside the frame's bytes, where
/// an XDP program does not see them. With `ethtool -K` they have the same names.
const TAG_OFFLOADS: [&str; 4] =
    ["rx-vlan-hw-parse", "tx-vlan-hw-insert", "rx-vlan-stag-hw-parse", "tx-vlan-stag-hw-insert"];

/// Features of a NIC that merge frames before an XDP program sees them.
const MERGE_OFFLOADS: [&str; 2] = ["rx-lro", "rx-gro-hw"];

/// What merges frames in front of a program in generic mode alone.
const GENERIC_MERGE: &str = "rx-gro";

/// Why an interface cannot be a port.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NicError {
    /// There is no such interface.
    #[error("there is no interface {0}: see `ip link`")]
    NoInterface(String),
    /// It is administratively down.
    #[error("{0} is down: `ip link set dev {0} up`")]
    Down(String),
    /// It has no Ethernet address.
    #[error("{0} has no Ethernet address: a port must be an Ethernet interface")]
    NotEthernet(String),
    /// Its MTU is too large for a frame's memory.
    #[error(
        "{interface} has MTU {mtu}, and the station's frames carry at most {most}: `ip link set dev {interface} mtu {most}`{}",
        if *mtu <= LARGEST_MTU { ", or start the station again, which then takes larger ones" } else { "" }
    )]
    Mtu {
        /// The interface.
        interface: String,
        /// Its MTU.
        mtu: u32,
        /// The largest that can be.
        most: u32,
    },
    /// It has other queue counts than wanted, and they could not be set.
    #[error("{interface} has {has}, and {wanted} of each are needed ({reason}): `{command}`")]
    Queues {
        /// The interface.
        interface: String,
        /// What it has.
        has: String,
        /// How many it should have.
        wanted: u32,
        /// Why it could not be set.
        reason: String,
        /// What sets it.
        command: String,
    },
    /// It cannot have as many queues as the station has workers.
    #[error(
        "{interface} can have at most {most} receive and transmit queues, and the station runs {wanted} workers, a number that it chose at its start without this interface: list {most} CPUs as cpus in [station], and start it again"
    )]
    FewQueues {
        /// The interface.
        interface: String,
        /// The most that it can have.
        most: u32,
        /// How many workers there are.
        wanted: u32,
    },
    /// It hides VLAN tags or merges frames, and that cannot be switched off.
    #[error(
        "{interface} takes VLAN tags out of frames, or merges frames ({features}), so VIFs or packets cannot be told apart, and it cannot be switched off here ({reason}): `{command}`"
    )]
    Offload {
        /// The interface.
        interface: String,
        /// Which features are on.
        features: String,
        /// Why they could not be switched off.
        reason: String,
        /// What switches them off.
        command: String,
    },
    /// The kernel's answer.
    #[error("{interface}: cannot {step}: {source}")]
    System {
        /// The interface.
        interface: String,
        /// What was tried.
        step: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// An interface that is ready to be a port; promiscuous as long as this lives.
#[derive(Debug)]
pub struct Nic {
    link: Link,
    queues: u32,
    frames: Frames,
    mode: Option<Attached>,
    promiscuous: Mutex<OwnedFd>,
}

impl Nic {
    /// Makes the interface ready: exactly `queues` receive and transmit queues, no tag offload and
    /// nothing that merges frames, an MTU that `frames` carry, all MACs and VLANs received.
    /// It must be up. `mode`: how the XDP program is attached.
    ///
    /// # Errors
    /// [`NicError`]: what does not hold and how to make it hold.
    pub fn prepare(
        interface: &str,
        queues: u32,
        frames: Frames,
        mode: Option<Attached>,
    ) -> Result<Nic, NicError> {
        let link = fits(interface, queues, frames)?;
        if !link.admin_up {
            return Err(NicError::Down(interface.to_owned()));
        }
        set_queues(&link, queues)?;
        stop_offloads(interface, mode)?;
        let promiscuous = Mutex::new(promiscuous(&link)?);
        Ok(Nic { link, queues, frames, mode, promiscuous })
    }

    /// The interface as it was when it was made ready.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Whether its MTU needs packets in several frames.
    pub fn needs_chains(&self) -> bool {
        self.link.mtu > longest_mtu(self.frames.size)
    }

    /// Makes right again what another hand changed since. `state`: the interface now. Returns what was
    /// wrong.
    ///
    /// # Errors
    /// [`NicError`]: what cannot be made right, and endangers that VIFs are told apart.
    pub(super) fn restore(&self, state: &Link) -> Result<Vec<String>, NicError> {
        let mut restored = Vec::new();
        if let Some(names) = stop_offloads(&state.name, self.mode)? {
            restored.push(format!("offloads had been switched on ({names})"));
        }
        if let Some(has) = set_queues(state, self.queues)? {
            restored.push(format!("its queues had been changed ({has})"));
        }
        if state.promiscuity == 0 {
            *self.promiscuous.lock().unwrap_or_else(PoisonError::into_inner) = promiscuous(state)?;
            restored.push("it was not promiscuous any more".to_owned());
        }
        Ok(restored)
    }

    /// What is lost by the MTU that the interface has now: packets that frames do not carry.
    pub(super) fn excess(&self, state: &Link) -> Option<String> {
        let chains = self.needs_chains();
        let most = if chains { LARGEST_MTU } else { longest_mtu(self.frames.size) };
        (state.mtu > most).then(|| {
            format!(
                "{0} has MTU {1}, and received packets of more than {most} octets are lost: `ip link set dev {0} mtu {most}`, or start stationd again with the larger MTU",
                state.name, state.mtu
            )
        })
    }
}

/// Whether an interface can be a port, as far as that is known before anything is changed about it; what it is like. It
/// may be down.
///
/// # Errors
/// [`NicError`]: what does not hold and how to make it hold.
pub fn fits(interface: &str, queues: u32, frames: Frames) -> Result<Link, NicError> {
    let link = link_of(interface)?;
    if link.mac == [0; 6] {
        return Err(NicError::NotEthernet(interface.to_owned()));
    }
    check_mtu(&link, frames)?;
    missing(&link, queues)?;
    Ok(link)
}

/// An interface by name.
///
/// # Errors
/// [`NicError::NoInterface`], or the kernel's.
pub fn link_of(interface: &str) -> Result<Link, NicError> {
    netlink::link_named(interface)
        .map_err(system(interface, "ask for it"))?
        .ok_or_else(|| NicError::NoInterface(interface.to_owned()))
}

/// The frames for an MTU, with two tags.
pub fn frames_for_mtu(mtu: u32) -> Frames {
    let packet = usize::try_from(mtu.saturating_add(L2_HEADER)).unwrap_or(usize::MAX);
    let size = FrameSize::for_packet(packet);
    Frames { size, chains: packet > size.capacity() }
}

/// The longest packet of a frame, without its L2 header.
pub(super) fn longest_mtu(frame_size: FrameSize) -> u32 {
    u32::try_from(frame_size.capacity()).unwrap_or(u32::MAX) - L2_HEADER
}

fn check_mtu(link: &Link, frames: Frames) -> Result<(), NicError> {
    let most = if frames.chains { LARGEST_MTU } else { longest_mtu(frames.size) };
    if link.mtu > most {
        return Err(NicError::Mtu { interface: link.name.clone(), mtu: link.mtu, most });
    }
    Ok(())
}

/// Switches off what takes tags out of frames or merges frames; what was on.
fn stop_offloads(interface: &str, mode: Option<Attached>) -> Result<Option<String>, NicError> {
    let mut wanted = [&TAG_OFFLOADS[..], &MERGE_OFFLOADS].concat();
    if mode == Some(Attached::Generic) {
        wanted.push(GENERIC_MERGE);
    }
    let ethtool = Ethtool::new(interface).map_err(system(interface, "open a socket"))?;
    let active = || ethtool.active(&wanted).map_err(system(interface, "read its offload features"));
    let names = |features: &[Feature], switch: &str| {
        let names: Vec<String> = features.iter().map(|f| format!("{}{switch}", f.name)).collect();
        names.join(if switch.is_empty() { ", " } else { " " })
    };
    let before = active()?;
    if before.is_empty() {
        return Ok(None);
    }
    let result = ethtool.switch_off(&before);
    let left = active()?;
    if left.is_empty() {
        return Ok(Some(names(&before, "")));
    }
    Err(NicError::Offload {
        interface: interface.to_owned(),
        features: names(&left, ""),
        reason: result.err().map_or_else(|| "the driver keeps it on".to_owned(), |e| e.to_string()),
        command: format!("ethtool -K {interface} {}", names(&left, " off")),
    })
}

/// Receives frames for all MACs as long as the socket lives. It makes drivers stop their VLAN
/// filters too, which would drop VIDs that the kernel has no device for.
fn promiscuous(link: &Link) -> Result<OwnedFd, NicError> {
    packet_socket(link.index)
        .map_err(system(&link.name, "make it promiscuous (it needs CAP_NET_RAW)"))
}

fn packet_socket(ifindex: u32) -> io::Result<OwnedFd> {
    // SAFETY: a new file descriptor, owned by nothing else. Protocol 0: it receives nothing itself.
    let socket = unsafe {
        let fd = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(fd)
    };
    let membership = libc::packet_mreq {
        mr_ifindex: i32::try_from(ifindex).map_err(io::Error::other)?,
        mr_type: u16::try_from(libc::PACKET_MR_PROMISC).map_err(io::Error::other)?,
        mr_alen: 0,
        mr_address: [0; 8],
    };
    // SAFETY: the pointer and length describe `membership`.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_ADD_MEMBERSHIP,
            (&raw const membership).cast(),
            libc::socklen_t::try_from(size_of_val(&membership)).map_err(io::Error::other)?,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(socket) }
}

/// The name of the interface with this index; `None` where there is none.
pub(super) fn name_of(ifindex: u32) -> Option<String> {
    let mut name = [0; libc::IF_NAMESIZE];
    // SAFETY: the buffer has the size that the function wants.
    let result = unsafe { libc::if_indextoname(ifindex, name.as_mut_ptr()) };
    if result.is_null() {
        return None;
    }
    // SAFETY: the function wrote a string with its end.
    let name = unsafe { CStr::from_ptr(name.as_ptr()) };
    Some(name.to_string_lossy().into_owned())
}

pub(super) fn system(interface: &str, step: &'static str) -> impl FnOnce(io::Error) -> NicError {
    let interface = interface.to_owned();
    move |source| NicError::System { interface, step, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mtu_decides_the_frames_with_room_for_two_tags() {
        let [small, large] =
            [FrameSize::Small, FrameSize::Large].map(|size| Frames { size, chains: false });
        let chains = Frames { chains: true, ..large };
        for (mtu, frames) in
            [(1500, small), (1770, small), (1771, large), (3818, large), (3819, chains)]
        {
            assert_eq!(frames_for_mtu(mtu), frames, "{mtu}");
        }
        assert_eq!([LARGEST_MTU, u32::MAX].map(frames_for_mtu), [chains; 2]);
        let refused = |mtu, frames| {
            let link = Link { name: "eth1".into(), mtu, ..Link::default() };
            check_mtu(&link, frames).err().map(|error| error.to_string())
        };
        let error = refused(9600, chains).unwrap();
        assert!(error.contains("ip link set dev eth1 mtu 9216"), "{error}");
        assert!(!error.contains("start the station again"), "{error}");
        // An interface that came or grew later: the frames were chosen without it.
        for (mtu, frames, most) in [(3000, small, 1770), (9000, large, 3818)] {
            let error = refused(mtu, frames).unwrap();
            assert!(error.contains("or start the station again"), "{error}");
            assert!(error.contains(&format!("eth1 mtu {most}")), "{error}");
        }
        assert_eq!((refused(3000, large), refused(LARGEST_MTU, chains)), (None, None));
    }

    #[test]
    fn an_interface_that_is_not_there_is_named() {
        let error = link_of("nosuch0").unwrap_err().to_string();
        assert!(error.contains("nosuch0"), "{error}");
        assert!(name_of(u32::MAX - 7).is_none());
    }
}
