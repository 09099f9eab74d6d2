//! Watches interfaces come, go, and gain or lose their carrier. Notifications are hints and answers are
//! the truth: where the kernel had to drop notifications, the watcher asks for the interfaces again.
//!
//! The kernel collects losses of carrier for up to a second where there was another one before
//! (`linkwatch`, for interfaces that it does not call urgent), and tells of none while somebody holds its lock
//! of all interfaces. So a watcher of named interfaces, which are a station's ports, looks every few
//! milliseconds at how often the carrier of those that are up has changed as well.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use crossbeam::channel::Receiver;
use netlink_sys::Socket;
use rustix::net::sockopt::set_socket_recv_buffer_size_force;

use super::carrier::{Carriers, Changes};
use super::link::{self, Link, Message};

/// Between two looks at the carriers of the interfaces of a [`LinkWatcher::of`].
const LOOK: Duration = Duration::from_millis(3);
/// And for each of the interfaces: a look takes a few microseconds.
const LOOK_EACH: Duration = Duration::from_micros(100);
/// Octets of notifications that wait for a watcher of named interfaces, while others come in thousands.
const BUFFER: usize = 4 << 20;

/// What became of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// The interface is there: new, or its carrier, MAC or MTU changed.
    Present {
        /// Its name.
        interface: String,
        /// Its index: another one than before where it was deleted and made again.
        ifindex: u32,
        /// Administratively up, and with a carrier.
        up: bool,
        /// Administratively up.
        admin_up: bool,
        /// Its MAC address; zero where it has none of 6 octets.
        mac: [u8; 6],
        /// Its MTU in octets, L2 header not included.
        mtu: u32,
    },
    /// The interface is gone, or has this name no more.
    Gone {
        /// The name that it had.
        interface: String,
        /// The index that it had.
        ifindex: u32,
    },
}

/// What the watcher tells of an interface: a change of any of it is an event.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    name: String,
    up: bool,
    admin_up: bool,
    mac: [u8; 6],
    mtu: u32,
}

impl Told {
    fn event(&self, ifindex: u32) -> LinkEvent {
        let Told { name, up, admin_up, mac, mtu } = self;
        LinkEvent::Present {
            interface: name.clone(),
            ifindex,
            up: *up,
            admin_up: *admin_up,
            mac: *mac,
            mtu: *mtu,
        }
    }
}

/// The carrier of an interface that is watched by name.
struct Carrier {
    changes: Changes,
    /// The count of changes that `Told::up` is of: an odd number of further ones is the other state.
    counted: u32,
}

/// Interfaces that are watched by name.
struct Named {
    names: Vec<String>,
    /// Where other names come from.
    changes: Receiver<Vec<String>>,
    /// Where the counts are to be had at all.
    carriers: Option<Carriers>,
    /// Those of interfaces that are known, by index.
    of: HashMap<u32, Carrier>,
    /// When to look at the carriers.
    look_at: Instant,
}

/// Tells of changes to the interfaces of the network namespace that it was made in.
pub struct LinkWatcher {
    socket: Socket,
    /// The names of those that are watched; all where there is none.
    only: Option<Named>,
    /// What was told last, by index.
    known: HashMap<u32, Told>,
    events: VecDeque<LinkEvent>,
    /// Notifications were lost, and what they told is not known yet.
    stale: bool,
    resyncs: u64,
}

impl AsRawFd for LinkWatcher {
    /// Becomes readable when there may be an event.
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl LinkWatcher {
    /// Starts to watch. The first events tell of the interfaces that are there.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new() -> io::Result<LinkWatcher> {
        LinkWatcher::start(link::subscribe()?, None)
    }

    /// Starts to watch the interfaces whose names came last, whatever becomes of how many others. The first
    /// events tell of those that are there, and so do those that follow other names. Without `carriers` a loss is told
    /// when the kernel tells it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn of(changes: Receiver<Vec<String>>, carriers: Option<Carriers>) -> io::Result<Self> {
        let socket = link::subscribe()?;
        // It may not: then bursts of others' notifications are lost, and the watcher asks again.
        let _ = set_socket_recv_buffer_size_force(&socket, BUFFER);
        let (names, of) = (changes.try_iter().last().unwrap_or_default(), HashMap::new());
        let named = Named { names, changes, carriers, of, look_at: Instant::now() };
        LinkWatcher::start(socket, Some(named))
    }

    fn start(socket: Socket, only: Option<Named>) -> io::Result<LinkWatcher> {
        let mut watcher = LinkWatcher {
            socket,
            only,
            known: HashMap::new(),
            events: VecDeque::new(),
            stale: false,
            resyncs: 0,
        };
        watcher.reconcile()?;
        Ok(watcher)
    }

    /// The next event; `None` where none came within `timeout`.
    ///
    /// # Errors
    /// The kernel's. The watcher is still good: ask again.
    pub fn next(&mut self, timeout: Duration) -> io::Result<Option<LinkEvent>> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            if self.stale {
                self.reconcile()?;
                continue;
            }
            let now = Instant::now();
            if self.only.as_ref().is_some_and(|named| named.look_at <= now) {
                self.look(now);
                continue;
            }
            let wake = self.only.as_ref().map_or(deadline, |named| named.look_at.min(deadline));
            // poll(2) counts whole milliseconds: rounded down, the last one would be spent awake.
            let left = wake.saturating_duration_since(now) + Duration::from_micros(999);
            if super::wait(&[self.socket.as_raw_fd()], left)? {
                self.receive()?;
            } else if deadline <= Instant::now() {
                return Ok(None);
            }
        }
    }

    /// Looks at the carrier of those that are up. What cannot be read, the kernel will notify of.
    fn look(&mut self, now: Instant) {
        let Some(named) = &mut self.only else { return };
        if let Some(names) = named.changes.try_iter().last() {
            self.stale |= names != named.names;
            named.names = names;
        }
        let count = u32::try_from(named.names.len()).unwrap_or(u32::MAX);
        named.look_at = now + LOOK.max(LOOK_EACH * count);
        for (index, told) in self.known.iter_mut().filter(|(_, told)| told.up) {
            let Some(carrier) = named.of.get_mut(index) else { continue };
            let Ok(changes) = carrier.changes.read() else { continue };
            let lost = changes.wrapping_sub(carrier.counted) % 2 == 1;
            carrier.counted = changes;
            if lost {
                told.up = false;
                self.events.push_back(told.event(*index));
            }
        }
    }

    /// Times that notifications were lost and all interfaces listed again.
    pub fn resyncs(&self) -> u64 {
        self.resyncs
    }

    /// Takes one datagram in.
    fn receive(&mut self) -> io::Result<()> {
        let datagram = match self.socket.recv_from_full() {
            Ok((datagram, _)) => datagram,
            Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => return self.resync(),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(e) => return Err(e),
        };
        for message in link::parse(&datagram) {
            match message {
                Message::New(link) => self.present(link),
                Message::Deleted(link) => self.gone(link.index),
                Message::Error(_) => return self.resync(),
            }
        }
        Ok(())
    }

    /// Finds out what the lost notifications would have told.
    fn resync(&mut self) -> io::Result<()> {
        self.resyncs += 1;
        // Until a list of all interfaces has succeeded: in a storm it may take several tries.
        self.stale = true;
        // What is still queued is older than what was lost: it would undo what the dump tells.
        loop {
            match self.socket.recv_from_full() {
                Ok(_) => {}
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
        self.reconcile()
    }

    fn reconcile(&mut self) -> io::Result<()> {
        let links = match &self.only {
            None => link::links()?,
            Some(Named { names, .. }) => {
                let links = names.iter().filter_map(|name| link::link_named(name).transpose());
                links.collect::<io::Result<_>>()?
            }
        };
        let missing: Vec<u32> = self
            .known
            .keys()
            .copied()
            .filter(|index| links.iter().all(|link| link.index != *index))
            .collect();
        for index in missing {
            self.gone(index);
        }
        for link in links {
            self.present(link);
        }
        self.stale = false;
        Ok(())
    }

    fn present(&mut self, link: Link) {
        let Link { index, name, mut up, admin_up, mac, mtu, carrier_changes, .. } = link;
        if self.only.as_ref().is_some_and(|named| !named.names.contains(&name)) {
            // It may have had a name that is watched.
            return self.gone(index);
        }
        if self.known.get(&index).is_some_and(|known| known.name != name) {
            self.gone(index);
        }
        if let Some(named) = &mut self.only {
            match named.of.get_mut(&index) {
                // It was queued before the last look.
                Some(carrier) if carrier_changes.wrapping_sub(carrier.counted) > u32::MAX / 2 => {
                    up = admin_up && self.known.get(&index).is_some_and(|known| known.up);
                }
                Some(carrier) => carrier.counted = carrier_changes,
                None => {
                    let changes = named.carriers.as_ref().and_then(|all| all.of(&name, index).ok());
                    let counted = carrier_changes;
                    named.of.extend(changes.map(|changes| (index, Carrier { changes, counted })));
                }
            }
        }
        let told = Told { name, up, admin_up, mac, mtu };
        if self.known.get(&index) == Some(&told) {
            return;
        }
        self.events.push_back(told.event(index));
        self.known.insert(index, told);
    }

    fn gone(&mut self, index: u32) {
        if let Some(named) = &mut self.only {
            named.of.remove(&index);
        }
        if let Some(told) = self.known.remove(&index) {
            self.events.push_back(LinkEvent::Gone { interface: told.name, ifindex: index });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam::channel::unbounded;

    fn watcher() -> LinkWatcher {
        let mut watcher = LinkWatcher::new().unwrap();
        watcher.known.clear();
        watcher.events.clear();
        watcher
    }

    fn link(index: u32, name: &str, up: bool) -> Link {
        Link { index, name: name.into(), up, admin_up: true, ..Link::default() }
    }

    #[test]
    fn tells_of_changes_only_and_of_a_new_name_as_another_interface() {
        let present = |interface: &str, ifindex, up| LinkEvent::Present {
            interface: interface.into(),
            ifindex,
            up,
            admin_up: true,
            mac: [0; 6],
            mtu: 0,
        };
        let gone =
            |interface: &str, ifindex| LinkEvent::Gone { interface: interface.into(), ifindex };
        let mut watcher = watcher();
        watcher.present(link(3, "eth1", false));
        watcher.present(link(3, "eth1", true));
        watcher.present(link(3, "eth1", true));
        watcher.present(link(3, "eth9", true));
        watcher.gone(3);
        watcher.gone(3);
        let expected = [
            present("eth1", 3, false),
            present("eth1", 3, true),
            gone("eth1", 3),
            present("eth9", 3, true),
            gone("eth9", 3),
        ];
        assert_eq!(Vec::from(watcher.events), expected);
    }

    #[test]
    fn a_watcher_of_named_interfaces_sees_no_others_and_follows_a_name() {
        let (changes, watched) = unbounded();
        changes.send(vec!["eth1".into(), "lo".into()]).unwrap();
        let mut watcher = LinkWatcher::of(watched, None).unwrap();
        let names = |events: &mut VecDeque<LinkEvent>| -> Vec<String> {
            let name = |event| match event {
                LinkEvent::Present { interface, .. } => format!("+{interface}"),
                LinkEvent::Gone { interface, .. } => format!("-{interface}"),
            };
            events.drain(..).map(name).collect()
        };
        assert_eq!(names(&mut watcher.events), ["+lo"]);
        watcher.present(link(u32::MAX - 3, "eth0", true));
        watcher.present(link(u32::MAX - 2, "eth1", true));
        watcher.present(link(u32::MAX - 2, "eth9", true));
        watcher.present(link(u32::MAX - 3, "eth1", false));
        watcher.resync().unwrap();
        assert_eq!(names(&mut watcher.events), ["+eth1", "-eth1", "+eth1", "-eth1"]);
        changes.send(vec!["eth1".into()]).unwrap();
        watcher.next(Duration::from_millis(50)).unwrap();
        changes.send(vec!["eth1".into(), "lo".into()]).unwrap();
        let back = watcher.next(Duration::from_millis(50)).unwrap();
        assert!(matches!(back, Some(LinkEvent::Present { interface, .. }) if interface == "lo"));
    }

    #[test]
    fn a_resync_tells_what_was_missed() {
        let mut watcher = watcher();
        let told = Told { name: "ghost0".into(), up: true, admin_up: true, mac: [2; 6], mtu: 1500 };
        let ghost = (u32::MAX - 1, told);
        watcher.known.extend([ghost]);
        watcher.resync().unwrap();
        assert_eq!(watcher.resyncs(), 1);
        let gone = LinkEvent::Gone { interface: "ghost0".into(), ifindex: u32::MAX - 1 };
        assert!(watcher.events.contains(&gone));
        assert!(watcher.events.iter().any(
            |event| matches!(event, LinkEvent::Present { interface, .. } if interface == "lo")
        ));
    }
}
