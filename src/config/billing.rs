//! `[billing]`.

use super::fields::Fields;
use super::labels::changes;

/// `[billing]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BillingConfig {
    /// Calendar months of the billing series that are kept.
    pub keep_months: u16,
}

impl Default for BillingConfig {
    /// A year, and the month that is under way.
    fn default() -> BillingConfig {
        BillingConfig { keep_months: 13 }
    }
}

pub(super) fn billing(fields: Option<Fields<'_>>) -> BillingConfig {
    let mut billing = BillingConfig::default();
    let Some(fields) = fields else { return billing };
    if let Some(months) = fields.integer("keep_months", 1..=120_u16) {
        billing.keep_months = months.value;
    }
    fields.finish();
    billing
}

/// What changes, for people.
pub(super) fn change(old: BillingConfig, new: BillingConfig) -> Option<String> {
    let months = |billing: BillingConfig| billing.keep_months.to_string();
    changes(&[("keep_months", months(old), months(new))])
}
