//! Reads captures: pcap and pcapng, one frame at a time.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek};
use std::path::{Path, PathBuf};
use std::time::Duration;

use pcap_file::DataLink;
use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::blocks::block_common::Block;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::{PcapNgReader, PcapNgState};

use super::CaptureError;
use crate::replay::pcapng::{DIRECTION, OUTBOUND};

/// One frame of a capture.
#[derive(Debug)]
pub struct Captured {
    /// The interface's name, where the capture says it.
    pub interface: Option<String>,
    /// Since 1970.
    pub timestamp: Duration,
    /// From the destination MAC on, as much as was captured.
    pub data: Vec<u8>,
    /// Octets that the frame had.
    pub original_len: usize,
    /// It left by the interface, where the capture says so.
    pub outbound: bool,
}

enum Format {
    Pcap(PcapReader<File>),
    PcapNg(PcapNgReader<File>),
}

/// A capture file.
pub struct Reader {
    path: PathBuf,
    format: Format,
    frames: u64,
    /// For frames that carry no time.
    last: Duration,
    damage: Option<String>,
}

impl Reader {
    /// Opens a capture of Ethernet frames.
    pub fn open(path: &Path) -> Result<Reader, CaptureError> {
        let failed = |error| CaptureError::File { path: path.to_owned(), error };
        let mut file = File::open(path).map_err(failed)?;
        let mut magic = [0; 4];
        let bad = |why: String| CaptureError::Format { path: path.to_owned(), why };
        match file.read_exact(&mut magic) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                return Err(bad("it has fewer than 4 octets".to_owned()));
            }
            other => other.map_err(failed)?,
        }
        file.rewind().map_err(failed)?;
        // The block type of a pcapng section header reads the same in both byte orders.
        let format = if magic == [0x0a, 0x0d, 0x0d, 0x0a] {
            Format::PcapNg(PcapNgReader::new(file).map_err(|error| bad(why(&error)))?)
        } else {
            let reader = PcapReader::new(file).map_err(|error| bad(why(&error)))?;
            check_link(path, reader.header().datalink)?;
            Format::Pcap(reader)
        };
        let path = path.to_owned();
        Ok(Reader { path, format, frames: 0, last: Duration::ZERO, damage: None })
    }

    /// The next frame. `None` at the end, and where the file is damaged: see [`Reader::damage`].
    pub fn next(&mut self) -> Result<Option<Captured>, CaptureError> {
        if self.damage.is_some() {
            return Ok(None);
        }
        let next = match &mut self.format {
            Format::Pcap(reader) => next_pcap(reader),
            Format::PcapNg(reader) => next_pcapng(reader, &self.path, self.last)?,
        };
        match next {
            Next::Frame(captured) => {
                self.frames += 1;
                self.last = captured.timestamp;
                return Ok(Some(captured));
            }
            Next::Damaged(why) => {
                self.damage =
                    Some(format!("the capture is damaged after frame {}: {why}", self.frames));
            }
            Next::End => {}
        }
        Ok(None)
    }

    /// What ended the capture early, if something did.
    pub fn damage(self) -> Option<String> {
        self.damage
    }
}

enum Next {
    Frame(Captured),
    Damaged(String),
    End,
}

/// The error and its causes in one line.
fn why(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    let ends_early = |cause: &(dyn std::error::Error + 'static)| {
        let io = cause.downcast_ref::<std::io::Error>();
        io.is_some_and(|io| io.kind() == ErrorKind::UnexpectedEof)
    };
    if causes.clone().any(ends_early) {
        return "the file ends within a frame, or a block is longer than 8 MB".to_owned();
    }
    let texts = std::iter::once(error.to_string()).chain(causes.map(ToString::to_string));
    texts.collect::<Vec<_>>().join(": ")
}

fn next_pcap(reader: &mut PcapReader<File>) -> Next {
    match reader.next_packet() {
        None => Next::End,
        Some(Ok(packet)) => Next::Frame(Captured {
            interface: None,
            timestamp: packet.timestamp(),
            original_len: usize::try_from(packet.orig_len()).unwrap_or(usize::MAX),
            data: packet.data().to_vec(),
            outbound: false,
        }),
        Some(Err(error)) => Next::Damaged(why(&error)),
    }
}

fn next_pcapng(
    reader: &mut PcapNgReader<File>,
    path: &Path,
    last: Duration,
) -> Result<Next, CaptureError> {
    loop {
        let (block, state) = match reader.next_block() {
            None => return Ok(Next::End),
            Some(Ok(next)) => next,
            Some(Err(error)) => return Ok(Next::Damaged(why(&error))),
        };
        let outbound = matches!(&block, Block::EnhancedPacket(b) if is_outbound(b));
        let (id, timestamp, original_len, data) = match block {
            Block::EnhancedPacket(b) => (b.interface_id, b.timestamp, b.original_len, b.data),
            Block::Packet(b) => (b.interface_id.into(), b.timestamp, b.original_len, b.data),
            // Without a time: as the frame before it.
            Block::SimplePacket(b) => (0, last, b.original_len, b.data),
            _ => continue,
        };
        let Some(interface) = interface(state, id) else {
            return Ok(Next::Damaged(format!("a frame of interface {id}, which is not described")));
        };
        check_link(path, interface.linktype)?;
        return Ok(Next::Frame(Captured {
            interface: name(interface),
            timestamp,
            original_len: usize::try_from(original_len).unwrap_or(usize::MAX),
            data: data.into_owned(),
            outbound,
        }));
    }
}

/// The direction in a block's flags (pcapng 4.3.1).
fn is_outbound(block: &EnhancedPacketBlock<'_>) -> bool {
    block.options.iter().any(|option| {
        matches!(option, EnhancedPacketOption::Flags(flags) if flags & DIRECTION == OUTBOUND)
    })
}

fn interface(state: &PcapNgState, id: u32) -> Option<&InterfaceDescriptionBlock<'static>> {
    state.interfaces().get(usize::try_from(id).ok()?)
}

fn name(interface: &InterfaceDescriptionBlock<'_>) -> Option<String> {
    interface.options.iter().find_map(|option| match option {
        InterfaceDescriptionOption::IfName(name) => Some(name.to_string()),
        _ => None,
    })
}

fn check_link(path: &Path, link: DataLink) -> Result<(), CaptureError> {
    match link {
        DataLink::ETHERNET => Ok(()),
        other => Err(CaptureError::LinkType { path: path.to_owned(), link: format!("{other:?}") }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::pcapng::{Framed, Interface, Pcapng};

    #[test]
    fn a_capture_says_which_frames_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("both.pcapng");
        let interface = Interface { name: "cust0", description: "eth0", mac: [2; 6] };
        let mut file = Pcapng::new(File::create(&path).unwrap(), "test", [interface]).unwrap();
        for outbound in [false, true] {
            let (interface, timestamp, data) = (0, Duration::from_secs(1), [7; 60]);
            let (data, original_len, comment) = (&data[..], 60, "");
            let frame = Framed { interface, timestamp, outbound, data, original_len, comment };
            file.frame(frame).unwrap();
        }
        drop(file);
        let mut reader = Reader::open(&path).unwrap();
        for outbound in [false, true] {
            let captured = reader.next().unwrap().unwrap();
            assert_eq!(
                (captured.outbound, captured.interface.as_deref()),
                (outbound, Some("cust0"))
            );
            assert_eq!(super::super::undeliverable(&captured).is_some(), outbound);
        }
        assert!(reader.next().unwrap().is_none());
    }
}
