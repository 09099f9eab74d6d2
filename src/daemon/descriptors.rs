//! File descriptors: each TAP is one, and BIRD, which inherits the limit, has some for each session.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// What the station itself and BIRD need besides, generously.
const BESIDES: u64 = 1024;
/// Descriptors for each VIF: its TAP, and what BIRD has for its sessions and BFD.
const EACH: u64 = 8;
/// What is asked for at least, so that a reload finds room.
const ENOUGH: u64 = 65_536;

/// Raises the limit of file descriptors to what so many VIFs can need, and more, as far as it may be.
pub(super) fn allow_for(vifs: usize) {
    let needed = BESIDES + EACH * vifs as u64;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = needed.max(ENOUGH).max(maximum.unwrap_or(0));
    // A process with CAP_SYS_RESOURCE may raise both; another one its own up to the maximum.
    for (current, maximum) in [(Some(wanted), Some(wanted)), (maximum, maximum)] {
        if setrlimit(Resource::Nofile, Rlimit { current, maximum }).is_ok() {
            break;
        }
    }
    let has = getrlimit(Resource::Nofile).current;
    if has.is_some_and(|has| has < needed) {
        warn!(
            has,
            needed,
            before = current,
            "too few file descriptors: some VIFs will get no TAP; set LimitNOFILE in the unit"
        );
    }
}
