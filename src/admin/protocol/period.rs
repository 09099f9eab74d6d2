//! The period of `show outages` and `show sla`.

use serde::{Deserialize, Serialize};

use super::{ErrorKind, Refusal};

/// A period, and whose.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Period {
    /// Only what concerns this VIF.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vif: Option<String>,
    /// When it begins: milliseconds since 1970.
    #[serde(default)]
    pub since_ms: u64,
    /// When it ends: milliseconds since 1970; now if not given, or later than now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
}

impl Period {
    /// Its first and its last moment, of which none is to come.
    ///
    /// # Errors
    /// It ends before it begins.
    pub fn bounds(&self, now_ms: u64) -> Result<(u64, u64), Refusal> {
        let until_ms = self.until_ms.unwrap_or(u64::MAX);
        if until_ms < self.since_ms {
            let message = "the period ends before it begins: give --since the earlier moment";
            return Err(Refusal::new(ErrorKind::Invalid, message));
        }
        Ok((self.since_ms.min(now_ms), until_ms.min(now_ms)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_ends_after_its_begin_and_now_at_the_latest() {
        let bounds = |since_ms, until_ms| Period { vif: None, since_ms, until_ms }.bounds(100);
        assert_eq!(bounds(10, None), Ok((10, 100)));
        assert_eq!(bounds(10, Some(50)), Ok((10, 50)));
        assert_eq!(bounds(200, Some(300)), Ok((100, 100)));
        assert_eq!(bounds(51, Some(50)).map_err(|refusal| refusal.kind), Err(ErrorKind::Invalid));
    }
}
