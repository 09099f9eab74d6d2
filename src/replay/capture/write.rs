//! Writes the annotated capture: pcapng, one interface per port, a comment on every frame.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use pcap_file::DataLink;
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption, InterfaceTsResolution,
};
use pcap_file::pcapng::blocks::opt_common::CommonOption;
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};

use super::read::Captured;
use super::{CaptureError, MacSource};
use crate::config::model::Config;
use crate::tables::PortId;
use crate::wire::ethernet::Mac;

/// Direction bits of the enhanced packet block's flags (pcapng 4.3.1).
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

/// The output file.
pub struct Writer {
    path: PathBuf,
    file: PcapNgWriter<BufWriter<File>>,
}

impl Writer {
    /// Creates the file, with an interface for each port.
    pub fn create(
        path: &Path,
        config: &Config,
        macs: &[(Mac, MacSource)],
    ) -> Result<Writer, CaptureError> {
        let file = File::create(path)
            .map_err(|error| CaptureError::File { path: path.to_owned(), error })?;
        let application = format!("stationd replay {}", env!("CARGO_PKG_VERSION"));
        let section = SectionHeaderBlock {
            options: vec![SectionHeaderOption::UserApplication(application.into())],
            ..Default::default()
        };
        let mut file = PcapNgWriter::with_section_header(BufWriter::new(file), section)
            .map_err(|error| write_error(path, error))?;
        for (port, (mac, _)) in config.ports.iter().zip(macs) {
            let mut interface = InterfaceDescriptionBlock::new(DataLink::ETHERNET, 0);
            interface.options = vec![
                InterfaceDescriptionOption::IfName(Cow::Borrowed(&port.name)),
                InterfaceDescriptionOption::IfDescription(Cow::Borrowed(&port.interface)),
                InterfaceDescriptionOption::IfMacAddr(Cow::Borrowed(&mac.0)),
                InterfaceDescriptionOption::IfTsResol(InterfaceTsResolution::NANO),
            ];
            file.write_pcapng_block(interface).map_err(|error| write_error(path, error))?;
        }
        Ok(Writer { path: path.to_owned(), file })
    }

    /// A frame of the capture.
    pub fn input(
        &mut self,
        port: PortId,
        captured: &Captured,
        comment: &str,
    ) -> Result<(), CaptureError> {
        let Captured { timestamp, data, original_len, .. } = captured;
        self.frame(port, *timestamp, data, *original_len, INBOUND, comment)
    }

    /// A frame that the station sent.
    pub fn output(
        &mut self,
        port: PortId,
        timestamp: Duration,
        frame: &[u8],
        comment: &str,
    ) -> Result<(), CaptureError> {
        self.frame(port, timestamp, frame, frame.len(), OUTBOUND, comment)
    }

    fn frame(
        &mut self,
        port: PortId,
        timestamp: Duration,
        data: &[u8],
        original_len: usize,
        direction: u32,
        comment: &str,
    ) -> Result<(), CaptureError> {
        let block = EnhancedPacketBlock {
            interface_id: port.0.into(),
            timestamp,
            original_len: u32::try_from(original_len).unwrap_or(u32::MAX),
            data: Cow::Borrowed(data),
            options: vec![
                EnhancedPacketOption::Common(CommonOption::Comment(Cow::Borrowed(comment))),
                EnhancedPacketOption::Flags(direction),
            ],
        };
        self.file.write_pcapng_block(block).map_err(|error| write_error(&self.path, error))?;
        Ok(())
    }

    /// Brings everything to the file.
    pub fn finish(self) -> Result<(), CaptureError> {
        let path = self.path;
        self.file.into_inner().flush().map_err(|error| write_error(&path, error))
    }
}

fn write_error(path: &Path, error: impl std::fmt::Display) -> CaptureError {
    CaptureError::Write { path: path.to_owned(), why: error.to_string() }
}
