//! Messages: sets of records up to a length that no link on the way splits.

use super::element;

/// Octets of a message's header (RFC 7011 3.1) and of a set's (3.3.2).
pub(super) const HEADER: usize = 16;
const SET_HEADER: usize = 4;
/// RFC 7011's version.
const VERSION: u16 = 10;
/// Octets of a message at most: with IPv6 and UDP headers less than Ethernet's 1500.
const LONGEST: usize = 1400;

/// A message without what differs between the sessions that it is sent in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    octets: Vec<u8>,
    /// Data records in it: sequence numbers count them.
    pub records: u32,
    /// Those of them that are flows.
    pub flows: u32,
}

impl Message {
    fn new() -> Message {
        let mut octets = Vec::with_capacity(LONGEST);
        octets.resize(HEADER, 0);
        Message { octets, records: 0, flows: 0 }
    }

    /// The message as it is sent at a time, in seconds since 1970, as the next of a session.
    pub fn stamped(&self, seconds: u32, sequence: u32, domain: u32) -> Vec<u8> {
        let mut octets = self.octets.clone();
        let length = u16::try_from(octets.len()).unwrap_or(u16::MAX);
        let head = u32::from(VERSION) << 16 | u32::from(length);
        for (to, word) in octets.chunks_exact_mut(4).zip([head, seconds, sequence, domain]) {
            to.copy_from_slice(&word.to_be_bytes());
        }
        octets
    }
}

/// Makes messages of records.
#[derive(Debug)]
pub struct Packer {
    message: Message,
    /// The id of the set that is open, and where it begins.
    set: Option<(u16, usize)>,
    full: Vec<Message>,
}

impl Default for Packer {
    fn default() -> Packer {
        Packer { message: Message::new(), set: None, full: Vec::new() }
    }
}

impl Packer {
    /// Adds the templates.
    pub(super) fn templates(&mut self, enterprise: Option<u32>) {
        self.close();
        self.message.octets.extend(element::templates(enterprise));
    }

    /// Adds a record of a template; `flow`: it is a flow's.
    pub(super) fn record(&mut self, template: u16, record: &[u8], flow: bool) {
        if self.message.octets.len() + SET_HEADER + record.len() > LONGEST {
            self.finish();
        }
        if self.set.is_none_or(|(id, _)| id != template) {
            self.close();
            self.set = Some((template, self.message.octets.len()));
            self.message.octets.extend(template.to_be_bytes());
            self.message.octets.extend([0; 2]);
        }
        self.message.octets.extend(record);
        self.message.records += 1;
        self.message.flows += u32::from(flow);
    }

    /// Writes the length of the set that is open.
    fn close(&mut self) {
        let Some((_, start)) = self.set.take() else { return };
        let length = u16::try_from(self.message.octets.len() - start).unwrap_or(u16::MAX);
        if let Some(to) = self.message.octets.get_mut(start + 2..start + 4) {
            to.copy_from_slice(&length.to_be_bytes());
        }
    }

    fn finish(&mut self) {
        self.close();
        if self.message.octets.len() > HEADER {
            self.full.push(std::mem::replace(&mut self.message, Message::new()));
        }
    }

    /// The messages that are full, and with `all` the one that is begun.
    pub fn take(&mut self, all: bool) -> Vec<Message> {
        if all {
            self.finish();
        }
        std::mem::take(&mut self.full)
    }
}
