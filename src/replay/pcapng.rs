//! Writes pcapng (draft-ietf-opsawg-pcapng): one interface per port, a comment on every frame, and at the end what was
//! not captured.

use std::borrow::Cow;
use std::io::{self, Write};
use std::time::Duration;

use pcap_file::DataLink;
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption, InterfaceTsResolution,
};
use pcap_file::pcapng::blocks::interface_statistics::{
    InterfaceStatisticsBlock, InterfaceStatisticsOption,
};
use pcap_file::pcapng::blocks::opt_common::CommonOption;
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};

/// Direction bits of the enhanced packet block's flags (pcapng 4.3.1).
const INBOUND: u32 = 1;
pub(super) const OUTBOUND: u32 = 2;
/// Those bits.
pub(super) const DIRECTION: u32 = 3;

/// What a port is called.
#[derive(Clone, Debug)]
pub struct Interface<'a> {
    /// The operator's name for it.
    pub name: &'a str,
    /// The Linux interface.
    pub description: &'a str,
    /// Its MAC.
    pub mac: [u8; 6],
}

/// A frame and what is said of it.
#[derive(Clone, Copy, Debug)]
pub struct Framed<'a> {
    /// The interface's number, in the order in which they were given.
    pub interface: u32,
    /// Since 1970.
    pub timestamp: Duration,
    /// It leaves.
    pub outbound: bool,
    /// The octets that are known.
    pub data: &'a [u8],
    /// Octets that the frame had.
    pub original_len: usize,
    /// What happened to it.
    pub comment: &'a str,
}

/// A file or stream that is written.
pub struct Pcapng<W: Write>(PcapNgWriter<W>);

impl<W: Write> Pcapng<W> {
    /// Begins with the interfaces.
    ///
    /// # Errors
    /// The output's.
    pub fn new<'a>(
        output: W,
        application: &str,
        interfaces: impl IntoIterator<Item = Interface<'a>>,
    ) -> io::Result<Pcapng<W>> {
        let application = format!("{application} {}", env!("CARGO_PKG_VERSION"));
        let section = SectionHeaderBlock {
            options: vec![SectionHeaderOption::UserApplication(application.into())],
            ..Default::default()
        };
        let file = PcapNgWriter::with_section_header(output, section).map_err(reason)?;
        let mut file = Pcapng(file);
        interfaces.into_iter().try_for_each(|interface| file.interface(interface))?;
        Ok(file)
    }

    /// Adds an interface; frames may follow that have its number.
    ///
    /// # Errors
    /// The output's.
    pub fn interface(&mut self, interface: Interface<'_>) -> io::Result<()> {
        let Interface { name, description, mac } = interface;
        let mut interface = InterfaceDescriptionBlock::new(DataLink::ETHERNET, 0);
        interface.options = vec![
            InterfaceDescriptionOption::IfName(Cow::Borrowed(name)),
            InterfaceDescriptionOption::IfDescription(Cow::Borrowed(description)),
            InterfaceDescriptionOption::IfMacAddr(Cow::Borrowed(&mac)),
            InterfaceDescriptionOption::IfTsResol(InterfaceTsResolution::NANO),
        ];
        self.0.write_pcapng_block(interface).map_err(reason)?;
        Ok(())
    }

    /// Adds a frame.
    ///
    /// # Errors
    /// The output's.
    pub fn frame(&mut self, frame: Framed<'_>) -> io::Result<()> {
        let block = EnhancedPacketBlock {
            interface_id: frame.interface,
            timestamp: frame.timestamp,
            original_len: u32::try_from(frame.original_len).unwrap_or(u32::MAX),
            data: Cow::Borrowed(frame.data),
            options: vec![
                EnhancedPacketOption::Common(CommonOption::Comment(Cow::Borrowed(frame.comment))),
                EnhancedPacketOption::Flags(if frame.outbound { OUTBOUND } else { INBOUND }),
            ],
        };
        self.0.write_pcapng_block(block).map_err(reason)?;
        Ok(())
    }

    /// Says how many frames of an interface could not be captured.
    ///
    /// # Errors
    /// The output's.
    pub fn lost(&mut self, interface: u32, timestamp: Duration, lost: u64) -> io::Result<()> {
        let options = vec![InterfaceStatisticsOption::IsbIfDrop(lost)];
        let block = InterfaceStatisticsBlock { interface_id: interface, timestamp, options };
        self.0.write_pcapng_block(block).map_err(reason)?;
        Ok(())
    }

    /// The output.
    pub fn get_mut(&mut self) -> &mut W {
        self.0.get_mut()
    }

    /// Gives the output back.
    pub fn into_inner(self) -> W {
        self.0.into_inner()
    }
}

/// Why it could not be written, as the system says it.
fn reason(error: impl std::error::Error) -> io::Error {
    match error.source().and_then(|source| source.downcast_ref::<io::Error>()) {
        Some(source) => io::Error::new(source.kind(), source.to_string()),
        None => io::Error::other(error.to_string()),
    }
}
