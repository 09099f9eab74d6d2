//! Access lists. What is ordinary up to here is judged a burst at a time, by the list of its ingress VIF and then by that
//! of its egress VIF; [`super::acl_in`] and [`super::acl_out`] among the filtered stages settle what a list denies. What is
//! not ordinary is left to them, so that it is judged where they stand: behind the source check, and by the egress list
//! only if nothing else becomes of it before. So each packet is judged once by each list, and none that is for the
//! router itself.

use super::{Burst, Context, Flags, Lanes, WIDTH, any_less, resolve, source, ttl};
use crate::acl::{Action, Upper};
use crate::tables::{
    AccessList, Direction, DropReason, Facts, Ingress, PuntReason, Verdict, VifId,
};

/// Judges ordinary lanes, and marks the others that a list is to judge.
#[inline(always)]
pub fn run(burst: &mut Burst, c: &mut Context<'_>) {
    let leaving = |burst: &Burst| {
        let to = burst.to_rules[burst.v4.or(burst.v6).span()].iter();
        to.fold(0, |all, rules| all | rules) & Facts::ACL != 0
    };
    if burst.listed || c.tables.acls.leaving && leaving(burst) {
        judge_all(burst, c);
    }
}

/// Octets that an ordinary packet has at least, so that all that is read of it at once is its own: its IP header, and 16
/// octets behind it.
const SHORTEST4: u32 = 36;
const SHORTEST6: u32 = 56;

/// Not 0 where a list judges what enters or leaves.
#[inline(always)]
fn listed(burst: &Burst, lane: usize) -> u32 {
    burst.rules[lane] & Ingress::ACL | burst.to_rules[lane] & Facts::ACL
}

/// Not 0 where a stage that stands between both lists, or the source check, may have something to say.
#[inline(always)]
fn is_odd(burst: &Burst, lane: usize, shortest: u32) -> u32 {
    source::concerns(burst, lane)
        | resolve::concerns(burst, lane)
        | ttl::concerns(burst, lane)
        | burst.flags[lane] & Flags::LONG_HEADER.0
        | any_less([(burst.ip_len[lane], shortest)])
}

#[inline(never)]
fn judge_all(burst: &mut Burst, c: &mut Context<'_>) {
    let mut unlisted = [0; WIDTH];
    for lane in burst.v4.or(burst.v6).eights() {
        unlisted[lane] = u32::from(listed(burst, lane) == 0);
    }
    let judged = burst.live.and(Lanes::zero(&unlisted));
    let (v4, v6) = (judged.and(burst.v4), judged.and(burst.v6));
    if v4 != Lanes(0) {
        judge4(burst, c, v4);
    }
    if v6 != Lanes(0) {
        judge6(burst, c, v6);
    }
}

/// Both lists of a lane, by what finds a rule in one.
#[inline(always)]
fn judge(burst: &mut Burst, c: &Context<'_>, lane: usize, find: impl Fn(&AccessList) -> usize) {
    let ways = [
        (burst.rules[lane] & Ingress::ACL, burst.place[lane], Direction::Rx, Flags::DENIED_IN),
        (burst.to_rules[lane] & Facts::ACL, burst.to_place[lane], Direction::Tx, Flags::DENIED_OUT),
    ];
    for (is_listed, place, direction, denied) in ways {
        if is_listed == 0 {
            continue;
        }
        #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
        let Some(list) = c.tables.acls.of(VifId(place as u16), direction) else { continue };
        let rule = find(list);
        list.hit(c.counters.number, rule, direction);
        match list.action(rule) {
            Action::Permit => continue,
            Action::Deny => burst.flags[lane] |= denied.0,
            Action::Reject => burst.flags[lane] |= denied.0 | Flags::REJECTED.0,
        }
        return;
    }
}

/// Ports, or what stands there, and TCP flags.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "words are taken apart")]
fn upper(first: u32, fourth: u32) -> Upper {
    let (first, fourth) = (u32::from_be(first), u32::from_be(fourth));
    Upper { first: (first >> 16) as u16, second: first as u16, flags: (fourth >> 16) as u8 }
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "words are taken apart")]
fn judge4(burst: &mut Burst, c: &mut Context<'_>, lanes: Lanes) {
    let all = burst.v4.eights();
    let mut places = [0; WIDTH];
    // From the fragment's offset to the TCP flags are eight words, where the header has no options.
    for lane in all.clone() {
        places[lane] = burst.l3_at(lane) + 4;
    }
    c.pool.area().columns(all.clone(), &places, &mut burst.words);
    let mut odd = [0; WIDTH];
    for lane in all {
        let later_fragment = u32::from_be(burst.words[0][lane]) & 0x1fff;
        odd[lane] = is_odd(burst, lane, SHORTEST4) | later_fragment;
    }
    let ordinary = lanes.and(Lanes::zero(&odd));
    for lane in lanes.without(ordinary) {
        burst.flags[lane] |= Flags::UNJUDGED.0;
    }
    for lane in ordinary {
        let protocol = (u32::from_be(burst.words[1][lane]) >> 16) as u8;
        let upper = upper(burst.words[4][lane], burst.words[7][lane]);
        let addresses = &burst.v4_addresses;
        let (source, destination) = (addresses.source[lane], addresses.destination[lane]);
        let find = |list: &AccessList| {
            list.list.classifier().find4(source, destination, protocol, Some(upper))
        };
        judge(burst, c, lane, find);
    }
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "words are taken apart")]
fn judge6(burst: &mut Burst, c: &mut Context<'_>, lanes: Lanes) {
    // IPv6's extension headers (RFC 8200 section 4); that of hop-by-hop options is 0.
    const ROUTING: u32 = 43;
    const FRAGMENT: u32 = 44;
    const AUTHENTICATION: u32 = 51;
    const DESTINATION: u32 = 60;
    let all = burst.v6.eights();
    let mut places = [0; WIDTH];
    // Half of the header's addresses, and 16 octets behind it.
    for lane in all.clone() {
        places[lane] = burst.l3_at(lane) + 24;
    }
    c.pool.area().columns(all.clone(), &places, &mut burst.words);
    let mut odd = [0; WIDTH];
    let next = |burst: &Burst, lane: usize| u32::from_be(burst.edit[lane]) >> 8 & 0xff;
    for lane in all {
        let next = next(burst, lane);
        let extended = u32::from(next == 0)
            | u32::from(next == ROUTING)
            | u32::from(next == FRAGMENT)
            | u32::from(next == AUTHENTICATION)
            | u32::from(next == DESTINATION);
        odd[lane] = is_odd(burst, lane, SHORTEST6) | extended;
    }
    let ordinary = lanes.and(Lanes::zero(&odd));
    for lane in lanes.without(ordinary) {
        burst.flags[lane] |= Flags::UNJUDGED.0;
    }
    for lane in ordinary {
        let protocol = next(burst, lane) as u8;
        let upper = upper(burst.words[4][lane], burst.words[7][lane]);
        let addresses = &burst.v6_addresses;
        let (source, destination) = (addresses.source[lane], addresses.destination[lane]);
        let find = |list: &AccessList| {
            list.list.classifier().find6(source, destination, protocol, Some(upper))
        };
        judge(burst, c, lane, find);
    }
}

/// What a lane that was judged with its burst meets.
pub(super) fn settled(burst: &Burst, lane: usize, denied: Flags) -> Result<(), Verdict> {
    let flags = burst.flags(lane);
    match (flags.has(denied), flags.has(Flags::REJECTED)) {
        (false, _) => Ok(()),
        (true, true) => Err(Verdict::Punt(PuntReason::AclRejected)),
        (true, false) => Err(refusal(denied)),
    }
}

fn refusal(denied: Flags) -> Verdict {
    Verdict::Drop(if denied == Flags::DENIED_IN {
        DropReason::AclDeniedIn
    } else {
        DropReason::AclDeniedOut
    })
}

/// Judges one lane by the list of a VIF, if it has one.
pub(super) fn judge_one(
    burst: &Burst,
    c: &Context<'_>,
    lane: usize,
    vif: VifId,
    direction: Direction,
) -> Result<(), Verdict> {
    let Some(list) = c.tables.acls.of(vif, direction) else { return Ok(()) };
    let rule = list.place(burst.l3(c.pool.area(), lane));
    list.hit(c.counters.number, rule, direction);
    let denied = match direction {
        Direction::Rx => Flags::DENIED_IN,
        Direction::Tx => Flags::DENIED_OUT,
    };
    match list.action(rule) {
        Action::Permit => Ok(()),
        Action::Deny => Err(refusal(denied)),
        Action::Reject => Err(Verdict::Punt(PuntReason::AclRejected)),
    }
}
