//! What the mirror went through, for operators.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::tables::VrfId;

/// One family of one VRF.
#[derive(Clone, Debug, Default)]
pub struct FamilyStatus {
    /// Best routes that the kernel had at the last dump.
    pub kernel_routes: usize,
    /// When the last dump ended.
    pub dumped: Option<Instant>,
    /// Dumps because it was their turn.
    pub audits: u64,
    /// Dumps because something may have changed in silence.
    pub resyncs: u64,
    /// Ways of routes that were refused because their device is no TAP of the VRF, or because they
    /// have no gateway.
    pub refused: u64,
    /// The last such refusal, or the last dump that failed.
    pub last_error: Option<String>,
}

/// What the mirror went through.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Times that the kernel had to drop notifications of routes.
    pub overflows: u64,
    /// By VRF; true is IPv6.
    pub families: BTreeMap<(VrfId, bool), FamilyStatus>,
}

impl Status {
    pub(super) fn family(&mut self, vrf: VrfId, v6: bool) -> &mut FamilyStatus {
        self.families.entry((vrf, v6)).or_default()
    }
}

/// The status, shared by the mirror's thread and those who ask.
#[derive(Clone, Debug, Default)]
pub struct Statuses(Arc<Mutex<Status>>);

impl Statuses {
    /// The status now.
    pub fn read(&self) -> Status {
        self.lock().clone()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Status> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
