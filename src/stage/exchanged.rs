//! Counts what passes by exchanges, each for itself, behind all that may still drop it.

use super::{Burst, Context};

/// Counts such lanes that are forwarded.
#[inline(always)]
pub fn run(burst: &mut Burst, c: &mut Context<'_>) {
    for lane in burst.live.and(burst.exchanged) {
        let exchange = burst.permit(lane).and_then(|id| c.tables.exchange(id));
        if let Some(exchange) = exchange {
            exchange.passed.count(c.counters.number, burst.ip_len[lane].into());
        }
    }
}
