//! Where metrics may be read.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::fields::{At, Fields};
use super::station::{SOCKET_PATH, check_path};

/// Where metrics are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetricsAddress {
    /// A Unix socket with mode 0660.
    Unix(PathBuf),
    /// A TCP port: of this machine alone, where nothing else was permitted.
    Tcp(SocketAddr),
}

impl fmt::Display for MetricsAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MetricsAddress::Unix(path) => write!(f, "unix:{}", path.display()),
            MetricsAddress::Tcp(socket) => socket.fmt(f),
        }
    }
}

const HELP: &str = "write \"unix:/run/station/metrics.sock\", or \"127.0.0.1:9472\"";

/// `metrics` and `metrics_remote`.
pub(super) fn address(fields: &Fields<'_>) -> Option<MetricsAddress> {
    let remote = fields.boolean("metrics_remote", false);
    let text = fields.string("metrics")?;
    if let Some(path) = text.value.strip_prefix("unix:") {
        let path = At { value: path, span: text.span.clone() };
        let fine = check_path(fields, "metrics", &path, SOCKET_PATH);
        if fine && !path.value.starts_with('/') {
            let message = format!("{:?} is relative", path.value);
            fields.refuse(&path.span, "metrics", message, "write the whole path, from /");
            return None;
        }
        return fine.then(|| MetricsAddress::Unix(PathBuf::from(path.value)));
    }
    let Ok(socket) = text.value.parse::<SocketAddr>() else {
        let message =
            format!("{:?} is neither a Unix socket nor an address with a port", text.value);
        fields.refuse(&text.span, "metrics", message, HELP);
        return None;
    };
    if socket.port() == 0 {
        fields.refuse(&text.span, "metrics", "0 is no port", HELP);
        return None;
    }
    if !remote && !socket.ip().to_canonical().is_loopback() {
        let message = format!("{} can be read from other machines", socket.ip());
        let help = "write 127.0.0.1 or [::1], or permit it: metrics_remote = true (there is neither password nor encryption)";
        fields.refuse(&text.span, "metrics", message, help);
        return None;
    }
    Some(MetricsAddress::Tcp(socket))
}
