//! Makes the kernel's TAPs what they should be, on a thread of its own: making thousands of interfaces
//! takes seconds, which no link event should wait for.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender};
use ipnet::IpNet;
use tracing::{info, warn};

use super::links::{self, Link};
use super::reader::Registry;
use super::{Device, Devices, Reader, Wanted, sysctl};
use crate::netlink;

/// How soon what failed is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How often the kernel is compared with what should be, for changes by another hand.
const AUDIT: Duration = Duration::from_secs(5);
/// TAPs brought up before new orders are looked for.
const STEP: usize = 32;

/// The keeper of all TAPs. Its thread's network namespace is theirs.
#[derive(Debug)]
pub struct Keeper {
    devices: Arc<Devices>,
    registry: Registry,
    /// What the alias of each of the station's TAPs begins with: an interface without it is somebody
    /// else's.
    mark: String,
    /// Told, after each look at the kernel, the names of TAPs that were made; and of those whose carrier
    /// came or went.
    changed: Sender<Vec<String>>,
    wanted: Vec<Wanted>,
    /// What is wrong, by TAP, as logged.
    trouble: HashMap<String, String>,
}

/// What the kernel has.
struct Kernel {
    links: HashMap<String, Link>,
    /// Addresses of the station's TAPs, by index.
    addresses: HashMap<u32, Vec<IpNet>>,
    /// Indices of the station's TAPs.
    ours: HashSet<u32>,
}

impl Keeper {
    /// A keeper whose TAPs `reader` reads. `station`: what tells this station from another on the
    /// server, and is the same after a restart. `changed` is told, after each look at the kernel, of the
    /// TAPs that were not there; and of those whose carrier came or went.
    pub fn new(reader: &Reader, station: &str, changed: Sender<Vec<String>>) -> Keeper {
        Keeper {
            devices: reader.devices(),
            registry: reader.registry(),
            mark: mark(station),
            changed,
            wanted: Vec::new(),
            trouble: HashMap::new(),
        }
    }

    /// Keeps to the newest order, all TAPs that there should be, until nobody can give another; then
    /// removes them. Before the first order nothing is touched.
    pub fn run(mut self, orders: &Receiver<Vec<Wanted>>) {
        let Ok(first) = orders.recv() else { return };
        self.take(first);
        loop {
            let wait = if self.audit(orders) { AUDIT } else { RETRY };
            match orders.recv_timeout(wait) {
                Ok(order) => self.take(order),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            while let Ok(order) = orders.try_recv() {
                self.take(order);
            }
        }
        self.take(Vec::new());
        self.audit(orders);
    }

    /// Takes an order. Carriers follow at once: they tell routing daemons of lost links.
    fn take(&mut self, order: Vec<Wanted>) {
        let old = std::mem::replace(&mut self.wanted, order);
        let old: HashMap<&str, bool> = old.iter().map(|w| (w.name.as_str(), w.carrier)).collect();
        let changed = |want: &&Wanted| old.get(&*want.name).is_some_and(|had| *had != want.carrier);
        let changed: Vec<String> =
            self.wanted.iter().filter(changed).map(|want| want.name.clone()).collect();
        if !changed.is_empty() {
            drop(self.changed.send(changed));
        }
        for want in &self.wanted {
            if let Some(device) = self.devices.get(want.wire) {
                // It fails where the interface is gone, which an audit repairs.
                let _ = device.set_carrier(want.carrier);
            }
        }
    }

    /// Compares and repairs; false where not all is well, or there is a new order.
    fn audit(&mut self, orders: &Receiver<Vec<Wanted>>) -> bool {
        let kernel = match Kernel::read(&self.mark) {
            Ok(kernel) => kernel,
            Err(error) => {
                self.note("", Err(error));
                return false;
            }
        };
        self.note("", sysctl::prepare_all().and_then(|()| kernel.alone()));
        self.remove_others(&kernel);
        let (mut made, mut done) = (Vec::new(), true);
        for number in 0..self.wanted.len() {
            if number % STEP == STEP - 1 && !orders.is_empty() {
                done = false;
                break;
            }
            let want = &self.wanted[number];
            let (name, result) = (want.name.clone(), self.bring(want, &kernel));
            if result.is_ok() && !kernel.links.contains_key(&name) {
                made.push(name.clone());
            }
            self.note(&name, result);
        }
        drop(self.changed.send(made));
        done && self.trouble.is_empty()
    }

    /// Removes the station's TAPs that nobody wants.
    fn remove_others(&mut self, kernel: &Kernel) {
        let wires: HashMap<_, _> = self.wanted.iter().map(|w| (w.wire, w.name.as_str())).collect();
        let names: HashSet<&str> = wires.values().copied().collect();
        self.trouble.retain(|name, _| name.is_empty() || names.contains(name.as_str()));
        let ours = kernel.links.values().filter(|link| kernel.ours.contains(&link.index));
        let gone: Vec<u32> =
            ours.filter(|link| !names.contains(&*link.name)).map(|link| link.index).collect();
        if !gone.is_empty() {
            match links::delete(&gone) {
                Ok(()) => info!(count = gone.len(), "removed TAPs"),
                Err(error) => warn!(count = gone.len(), %error, "cannot remove TAPs"),
            }
        }
        self.devices.keep(|wire| wires.contains_key(&wire));
    }

    /// Makes one TAP what it should be.
    fn bring(&self, want: &Wanted, kernel: &Kernel) -> io::Result<()> {
        let link = kernel.links.get(&want.name);
        let open = self.devices.get(want.wire);
        let open = open.filter(|device| link.is_some_and(|link| link.index == device.index));
        if open.is_none() && link.is_some_and(|link| !kernel.ours.contains(&link.index)) {
            return Err(io::Error::other("there is an interface of this name already: remove it"));
        }
        let (device, new) = match open {
            Some(device) => (device, false),
            None => (Arc::new(Device::open(&want.name)?), true),
        };
        if new {
            sysctl::prepare(&want.name)?;
        }
        let set = Link {
            index: device.index,
            name: want.name.clone(),
            alias: format!("{}{}", self.mark, want.vif),
            mac: want.mac,
            mtu: want.mtu.into(),
            up: true,
            ready: true,
        };
        if link != Some(&set) {
            links::set(&set)?;
        }
        kernel.addresses(device.index, want)?;
        if new {
            // Only now that it is marked as the station's may it outlive this process.
            device.persist()?;
            self.registry.add(want.wire, &device)?;
            self.devices.put(want.wire, device.clone());
            info!(tap = want.name, vif = %want.vif, taken_over = link.is_some(), "TAP open");
        }
        device.set_carrier(want.carrier)
    }

    /// Logs what is wrong, once, and when it is well again.
    fn note(&mut self, name: &str, result: io::Result<()>) {
        match result {
            Ok(()) => {
                if self.trouble.remove(name).is_some() {
                    info!(tap = name, "well again");
                }
            }
            Err(error) => {
                let text = error.to_string();
                if self.trouble.get(name) != Some(&text) {
                    warn!(tap = name, error = text, "not as it should be; tried again");
                    self.trouble.insert(name.to_owned(), text);
                }
            }
        }
    }
}

/// What the aliases of a station's TAPs begin with.
fn mark(station: &str) -> String {
    format!("stationd {station}: VIF ")
}

/// Removes the TAPs of a station from this thread's network namespace. Returns how many there were.
///
/// # Errors
/// The kernel's.
pub fn remove_all(station: &str) -> io::Result<usize> {
    let kernel = Kernel::read(&mark(station))?;
    let ours: Vec<u32> = kernel.ours.into_iter().collect();
    if !ours.is_empty() {
        links::delete(&ours)?;
    }
    Ok(ours.len())
}

impl Kernel {
    fn read(mark: &str) -> io::Result<Kernel> {
        let links = links::links()?;
        let ours = links.iter().filter(|link| link.alias.starts_with(mark));
        let ours: HashSet<u32> = ours.map(|link| link.index).collect();
        let links = links.into_iter().map(|link| (link.name.clone(), link)).collect();
        let mut addresses = HashMap::<u32, Vec<IpNet>>::new();
        for (index, net) in netlink::addresses()? {
            if ours.contains(&index) {
                addresses.entry(index).or_default().push(net);
            }
        }
        Ok(Kernel { links, addresses, ours })
    }

    /// Nothing else is in the namespace: TAPs and an interface to somewhere else would be what the
    /// namespace keeps apart. Tunnels that some kernels make in every namespace are down.
    fn alone(&self) -> io::Result<()> {
        let strange =
            |link: &&Link| link.up && link.name != "lo" && !self.ours.contains(&link.index);
        let Some(link) = self.links.values().find(strange) else { return Ok(()) };
        Err(io::Error::other(format!(
            "interface {} is in the network namespace of the station's TAPs, and not the station's: remove it",
            link.name
        )))
    }

    /// Gives an interface the addresses of its VIF, and no others.
    fn addresses(&self, index: u32, want: &Wanted) -> io::Result<()> {
        let has = self.addresses.get(&index).map_or(&[][..], Vec::as_slice);
        for net in has.iter().filter(|net| !want.addresses.contains(net)) {
            links::delete_address(index, *net)?;
        }
        for net in want.addresses.iter().filter(|net| !has.contains(net)) {
            links::add_address(index, *net)?;
        }
        Ok(())
    }
}
