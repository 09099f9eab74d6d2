//! Classes of service ([`crate::tables::qos`]): which class of its egress VIF's policy a packet is in, whether the class has
//! room for it, and how it is marked. In what order classes leave, a worker's queues decide.
//!
//! It stands between the meters: what the sender's VIF does not have uses up no class of another's, and what a class does
//! not have uses up nothing of its VIF's.

use super::{Burst, Context, meter};
use crate::tables::qos::{VifQos, set_traffic_class, traffic_class};
use crate::tables::{DropReason, place_vif};
use crate::wire::checksum;

/// Finds the class of each live lane, polices it and marks it. Costs nothing where no VIF has a policy.
#[inline(always)]
pub fn run(burst: &mut Burst, c: &mut Context<'_>) {
    if c.tables.qos.is_some() {
        classify(burst, c);
    }
}

#[inline(never)]
fn classify(burst: &mut Burst, c: &mut Context<'_>) {
    let Some(qos) = c.tables.qos.as_deref() else { return };
    for lane in burst.live {
        let vif = place_vif(burst.to_place[lane]);
        let Some(of) = qos.of(vif) else {
            burst.class[lane] = 0;
            continue;
        };
        let Some(&[first, second]) = c.pool.area().at(burst.l3_at(lane)) else { continue };
        let traffic = traffic_class(first, second);
        let class = of.policy.class(traffic, burst.priority[lane]);
        burst.class[lane] = u32::try_from(class).unwrap_or(0);
        if exceeds(burst, c, lane, (vif, of, class)) {
            burst.drop(lane, DropReason::ClassBandwidthExceeded);
            continue;
        }
        let marked = of.policy.marked(class, traffic);
        if marked != traffic {
            mark(burst, c, lane, [traffic, marked]);
        }
        burst.priority[lane] = of.policy.priority(class, burst.priority[lane]);
    }
}

/// Whether a lane's octets are more than its class may send now; they are taken where not.
#[inline(always)]
fn exceeds(
    burst: &Burst,
    c: &Context<'_>,
    lane: usize,
    (vif, of, class): (usize, &VifQos, usize),
) -> bool {
    let Some(limit) = of.limits.get(class).and_then(Option::as_ref) else { return false };
    let counters = c.counters.vifs().get(vif).and_then(|vif| vif.rare.classes.get());
    let Some(counters) = counters.and_then(|all| all.get(class)) else { return false };
    let cost = u64::from(meter::to_send(burst, lane) + c.tables.meters.overhead);
    let mut leased = counters.leased.get();
    let passes = limit.spend(&mut leased, cost, c.now);
    counters.leased.set(leased);
    if !passes {
        counters.policed_frames.add(1);
        counters.policed_octets.add(cost);
    }
    !passes
}

/// Writes another traffic class into a lane's packet, and corrects its header's edit.
#[inline(always)]
fn mark(burst: &mut Burst, c: &mut Context<'_>, lane: usize, [old, new]: [u8; 2]) {
    set_traffic_class(burst.ip_mut(c.pool, lane), new);
    if burst.v4.has(lane) {
        let [ttl, protocol, a, b] = burst.edit[lane].to_ne_bytes();
        // The other octet of their word stays, so that it may be anything.
        let sum = checksum::update(u16::from_be_bytes([a, b]), old.into(), new.into());
        let [a, b] = sum.to_be_bytes();
        burst.edit[lane] = u32::from_ne_bytes([ttl, protocol, a, b]);
    }
}
