//! Writes the annotated capture: pcapng, one interface per port, a comment on every frame.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::read::Captured;
use super::{CaptureError, MacSource};
use crate::config::model::Config;
use crate::replay::pcapng::{Framed, Interface, Pcapng};
use crate::tables::PortId;
use crate::wire::ethernet::Mac;

/// The output file.
pub struct Writer {
    path: PathBuf,
    file: Pcapng<BufWriter<File>>,
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
        let interfaces = config.ports.iter().zip(macs).map(|(port, (mac, _))| Interface {
            name: &port.name,
            description: &port.interface,
            mac: mac.0,
        });
        let file = Pcapng::new(BufWriter::new(file), "stationd replay", interfaces)
            .map_err(|error| write_error(path, error))?;
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
        self.frame(Framed {
            interface: port.0.into(),
            timestamp: *timestamp,
            outbound: false,
            data,
            original_len: *original_len,
            comment,
        })
    }

    /// A frame that the station sent.
    pub fn output(
        &mut self,
        port: PortId,
        timestamp: Duration,
        frame: &[u8],
        comment: &str,
    ) -> Result<(), CaptureError> {
        self.frame(Framed {
            interface: port.0.into(),
            timestamp,
            outbound: true,
            data: frame,
            original_len: frame.len(),
            comment,
        })
    }

    fn frame(&mut self, frame: Framed<'_>) -> Result<(), CaptureError> {
        self.file.frame(frame).map_err(|error| write_error(&self.path, error))
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
