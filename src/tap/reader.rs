//! Reads what the kernel sends by TAPs, sleeping while there is nothing.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};

use super::{Device, Devices, Wire};
use crate::port::LONGEST;
use crate::tables::{PortId, Tags};

/// Frames of one TAP before the next has its turn, so that one that is flooded starves no other.
const TURN: usize = 4;
/// The event that ends the reader.
const STOP: u64 = u64::MAX;

/// Waits for all open TAPs.
#[derive(Debug)]
pub struct Reader {
    epoll: Arc<OwnedFd>,
    devices: Arc<Devices>,
}

/// What makes a [`Reader`] end.
#[derive(Debug)]
pub struct Stop(OwnedFd);

impl Stop {
    /// Ends the reader.
    pub fn stop(&self) {
        // It fails only where the counter is full: then the reader has been told.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }
}

/// Where TAPs are put for a [`Reader`] to see them.
#[derive(Clone, Debug)]
pub(super) struct Registry(Arc<OwnedFd>);

impl Registry {
    pub(super) fn add(&self, wire: Wire, device: &Device) -> io::Result<()> {
        Ok(epoll::add(&self.0, device, EventData::new_u64(token(wire)), EventFlags::IN)?)
    }
}

impl Reader {
    /// A reader of these TAPs, and what ends it.
    ///
    /// # Errors
    /// The system's, where there are no file descriptors left.
    pub fn new(devices: Arc<Devices>) -> io::Result<(Reader, Stop)> {
        let epoll = Arc::new(epoll::create(epoll::CreateFlags::CLOEXEC)?);
        let stop = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        epoll::add(&epoll, &stop, EventData::new_u64(STOP), EventFlags::IN)?;
        Ok((Reader { epoll, devices }, Stop(stop)))
    }

    pub(super) fn registry(&self) -> Registry {
        Registry(self.epoll.clone())
    }

    pub(super) fn devices(&self) -> Arc<Devices> {
        self.devices.clone()
    }

    /// Shows every frame to `take`, until told to stop or `take` says no. Where `take` waits, frames wait
    /// in the queues of their TAPs.
    pub fn run(self, mut take: impl FnMut(Wire, &[u8]) -> bool) {
        let mut events = Vec::with_capacity(64);
        let mut frame = vec![0; LONGEST];
        loop {
            events.clear();
            let spare = rustix::buffer::spare_capacity(&mut events);
            // An interrupted wait is a wait that found nothing.
            let _ = epoll::wait(&self.epoll, spare, None);
            for event in &events {
                let Event { data, .. } = *event;
                if data.u64() == STOP {
                    return;
                }
                let wire = wire(data.u64());
                let Some(device) = self.devices.get(wire) else { continue };
                for _ in 0..TURN {
                    match device.read(&mut frame) {
                        Ok(length) => {
                            if !take(wire, &frame[..length]) {
                                return;
                            }
                        }
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                        Err(_) => {
                            // The interface is gone, and would be ready for ever.
                            let _ = epoll::delete(&self.epoll, &device);
                            break;
                        }
                    }
                }
            }
        }
    }
}

/// A wire as a number, and back.
fn token(Wire { port, tags }: Wire) -> u64 {
    let [a, b] = tags.inner.unwrap_or(0).to_be_bytes();
    let [c, d] = tags.outer.to_be_bytes();
    let (service, double) = (u8::from(tags.service), u8::from(tags.inner.is_some()));
    u64::from_be_bytes([0, port.0, service, double, a, b, c, d])
}

fn wire(token: u64) -> Wire {
    let [_, port, service, double, a, b, c, d] = token.to_be_bytes();
    let inner = (double == 1).then(|| u16::from_be_bytes([a, b]));
    let tags = Tags { outer: u16::from_be_bytes([c, d]), inner, service: service == 1 };
    Wire { port: PortId(port), tags }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wire_comes_back_from_its_number() {
        for port in [0, 7, 255] {
            for outer in [1, 4094] {
                for inner in [None, Some(0), Some(1), Some(4094)] {
                    for service in [false, true] {
                        let one = Wire { port: PortId(port), tags: Tags { outer, inner, service } };
                        assert_eq!(wire(token(one)), one);
                        assert_ne!(token(one), STOP);
                    }
                }
            }
        }
    }
}
