//! Ports, VIFs and VRFs by their names, whatever else their rows have.

use std::path::Path;

use serde::Deserialize;

use crate::admin::client::{Failure, all};
use crate::admin::protocol::Request;
use crate::admin::rows::Labels;

/// A row of `show ports`, `show vifs` or `show vrfs`.
#[derive(Deserialize)]
pub(super) struct Named {
    pub(super) name: String,
    /// Of what, where rows of several kinds come together.
    #[serde(default)]
    pub(super) scope: Option<String>,
    /// Of a VIF.
    #[serde(default)]
    pub(super) port: Option<String>,
    #[serde(flatten)]
    pub(super) labels: Labels,
}

/// Asks for all of them.
pub(super) fn named(socket: &Path, request: &Request) -> Result<Vec<Named>, Failure> {
    all(socket, request)
}
