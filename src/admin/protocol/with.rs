//! What goes with a request: the text that follows it, a comment, and consent.

use serde::{Deserialize, Serialize};

/// A configuration's text that follows the request's line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upload {
    /// Octets of UTF-8.
    pub octets: u64,
    /// The name that errors give it.
    pub name: String,
}

/// A configuration that is to be in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Apply {
    /// Octets of UTF-8 that follow the request's line.
    pub octets: u64,
    /// The name that errors give the text.
    pub name: String,
    /// It is taken back after so many seconds without a `config_confirm`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_s: Option<u64>,
}

/// What goes with a request that changes something.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Why, for the history; at most [`super::MAX_COMMENT`] characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Live service may be cut.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub yes: bool,
    /// The answer does not wait for BIRD.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_wait: bool,
}
