//! Why a request was refused.

use serde::{Deserialize, Serialize};

use crate::config::edit::EditError;

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// What the request names does not exist.
    NotFound,
    /// The request, or the configuration that it would make, is wrong.
    Invalid,
    /// Something else stands against it: in use, changed meanwhile, exists already.
    Conflict,
    /// It would cut live service, and the request does not say yes.
    Consent,
    /// The peer may not ask.
    Denied,
    /// The request is longer than 64 KiB.
    TooLarge,
    /// The request or its answer took too long.
    Timeout,
    /// The version is not spoken here.
    Version,
    /// Too many connections.
    Busy,
    /// The station failed.
    Internal,
}

impl ErrorKind {
    /// As in JSON.
    pub fn name(self) -> String {
        let name = serde_json::to_value(self).unwrap_or_default();
        name.as_str().unwrap_or_default().to_owned()
    }
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// For programs.
    pub kind: ErrorKind,
    /// For people.
    pub message: String,
}

impl Refusal {
    /// A refusal with a message.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Refusal { kind, message: message.into() }
    }
}

impl From<EditError> for Refusal {
    fn from(error: EditError) -> Refusal {
        let kind = match error {
            EditError::NotFound(_) => ErrorKind::NotFound,
            EditError::Conflict(_) => ErrorKind::Conflict,
        };
        Refusal::new(kind, error.to_string())
    }
}
