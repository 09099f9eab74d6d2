//! Access lists. What is ordinary up to here is judged a burst at a time, by the list of its ingress VIF and then by that
//! of its egress VIF; [`super::acl_in`] and [`super::acl_out`] among the filtered stages settle what a list denies. What is
//! not ordinary is left to them, so that it is judged where they stand: behind the source check, and by the egress list
//! only if nothing else becomes of it before. So each packet is judged once by each list, and none that is for the
//! router itself.

use super::{
    Addresses, Burst, Column, Context, Flags, Lanes, WIDTH, any_less, resolve, source, ttl,
};
use crate::acl::{self, Action, Address, Classifier, Packets};
use crate::cpu::ROWS;
use crate::cpu::eights::{EightWork, Eights, in_eights};
use crate::tables::{
    AccessList, AccessLists, Direction, DropReason, Facts, Ingress, PuntReason, Verdict, VifId,
};

/// Judges ordinary lanes, and marks the others that a list is to judge.
#[inline(always)]
pub fn run(burst: &mut Burst, c: &mut Context<'_>) {
    let leaving = |burst: &Burst| {
        let to = burst.to_rules[burst.v4.or(burst.v6).span()].iter();
        to.fold(0, |all, rules| all | rules) & Facts::ACL != 0
    };
    if burst.listed || c.tables.acls.leaving && leaving(burst) {
        in_eights(All(burst, c));
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
        | burst.flags[lane] & Flags::LONG_HEADER.bits()
        | any_less([(burst.ip_len[lane], shortest)])
}

/// All lanes of a burst.
struct All<'a, 'b>(&'a mut Burst, &'a mut Context<'b>);

impl EightWork for All<'_, '_> {
    type Answer = ();

    #[inline(always)]
    fn run<E: Eights>(self, e: E) {
        let All(burst, c) = self;
        let mut unlisted = [0; WIDTH];
        for lane in burst.v4.or(burst.v6).eights() {
            unlisted[lane] = u32::from(listed(burst, lane) == 0);
        }
        let judged = burst.live.and(Lanes::zero(&unlisted));
        let (v4, v6) = (judged.and(burst.v4), judged.and(burst.v6));
        if v4 != Lanes(0) {
            judge4(e, burst, c, v4);
        }
        if v6 != Lanes(0) {
            judge6(e, burst, c, v6);
        }
    }
}

/// What stands behind the IP header, as lists look at it: ports, or what stands there, and the kind.
struct Upper {
    first: Column,
    second: Column,
    kinds: Column,
}

impl Upper {
    /// From the first and the fourth word of each lane, and its protocol.
    #[inline(always)]
    fn of(burst: &Burst, lanes: Lanes, protocol: impl Fn(&Burst, usize) -> u32) -> Upper {
        let mut upper = Upper { first: [0; WIDTH], second: [0; WIDTH], kinds: [0; WIDTH] };
        for lane in lanes.eights() {
            let [first, fourth] = [4, 7].map(|word| u32::from_be(burst.words[word][lane]));
            upper.first[lane] = first >> 16;
            upper.second[lane] = first & 0xffff;
            upper.kinds[lane] = acl::kind(protocol(burst, lane), fourth >> 16 & 0xff);
        }
        upper
    }
}

#[inline(always)]
fn judge4<E: Eights>(e: E, burst: &mut Burst, c: &mut Context<'_>, lanes: Lanes) {
    let protocol = |burst: &Burst, lane: usize| u32::from_be(burst.words[1][lane]) >> 16 & 0xff;
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
    let ordinary = ordinary(burst, lanes, &odd);
    let upper = Upper::of(burst, burst.v4, protocol);
    let pass = Pass { e, c, upper: &upper };
    let permitted = pass.run(burst, ordinary, Direction::Rx, |burst| &burst.v4_addresses);
    pass.run(burst, permitted, Direction::Tx, |burst| &burst.v4_addresses);
}

#[inline(always)]
fn judge6<E: Eights>(e: E, burst: &mut Burst, c: &mut Context<'_>, lanes: Lanes) {
    // IPv6's extension headers (RFC 8200 section 4); that of hop-by-hop options is 0.
    const ROUTING: u32 = 43;
    const FRAGMENT: u32 = 44;
    const AUTHENTICATION: u32 = 51;
    const DESTINATION: u32 = 60;
    let protocol = |burst: &Burst, lane: usize| u32::from_be(burst.edit[lane]) >> 8 & 0xff;
    let all = burst.v6.eights();
    let mut places = [0; WIDTH];
    // Half of the header's addresses, and 16 octets behind it.
    for lane in all.clone() {
        places[lane] = burst.l3_at(lane) + 24;
    }
    c.pool.area().columns(all.clone(), &places, &mut burst.words);
    let mut odd = [0; WIDTH];
    for lane in all {
        let next = protocol(burst, lane);
        let extended = u32::from(next == 0)
            | u32::from(next == ROUTING)
            | u32::from(next == FRAGMENT)
            | u32::from(next == AUTHENTICATION)
            | u32::from(next == DESTINATION);
        odd[lane] = is_odd(burst, lane, SHORTEST6) | extended;
    }
    let ordinary = ordinary(burst, lanes, &odd);
    let upper = Upper::of(burst, burst.v6, protocol);
    let pass = Pass { e, c, upper: &upper };
    let permitted = pass.run(burst, ordinary, Direction::Rx, |burst| &burst.v6_addresses);
    pass.run(burst, permitted, Direction::Tx, |burst| &burst.v6_addresses);
}

/// The lanes that are not odd; the others are marked.
#[inline(always)]
fn ordinary(burst: &mut Burst, lanes: Lanes, odd: &Column) -> Lanes {
    let ordinary = lanes.and(Lanes::zero(odd));
    for lane in lanes.without(ordinary) {
        burst.flags[lane] |= Flags::UNJUDGED.bits();
    }
    ordinary
}

/// The lists of one direction, each over its lanes.
struct Pass<'a, 'b, E> {
    e: E,
    c: &'a Context<'b>,
    upper: &'a Upper,
}

impl<E: Eights> Pass<'_, '_, E> {
    /// Marks the lanes that are denied, and gives the others.
    #[inline(always)]
    fn run<A: Address>(
        &self,
        burst: &mut Burst,
        lanes: Lanes,
        direction: Direction,
        addresses: impl Fn(&Burst) -> &Addresses<A>,
    ) -> Lanes {
        let (e, lists) = (self.e, &self.c.tables.acls);
        let place = match direction {
            Direction::Rx => &burst.place,
            Direction::Tx => &burst.to_place,
        };
        let mut numbers = [0; WIDTH];
        for from in lanes.eights().step_by(ROWS) {
            let (Some(vifs), Some(to)) =
                (place[from..].first_chunk(), numbers[from..].first_chunk_mut())
            else {
                continue;
            };
            let vifs = e.and(e.load(vifs), e.splat(0xffff));
            *to = e.store(e.words(lists.numbers(direction), vifs));
        }
        let mut left = lanes.without(with(&numbers, lanes, AccessLists::NONE));
        let mut permitted = lanes;
        while let Some(lane) = { left }.next() {
            let number = numbers[lane];
            let same = with(&numbers, left, number);
            left = left.without(same);
            let Some(list) = lists.list(number) else { continue };
            let found = self.find(same, list.list.classifier(), addresses(burst));
            permitted = permitted.without(self.count(burst, same, list, direction, &found));
        }
        permitted
    }

    /// The rules that some lanes meet in a list, one behind the other.
    #[inline(always)]
    fn find<A: Address>(
        &self,
        lanes: Lanes,
        list: &Classifier,
        Addresses { source, destination }: &Addresses<A>,
    ) -> Column {
        let Upper { first, second, kinds } = self.upper;
        let start = lanes.span().start;
        if lanes.0 >> start == Lanes::first(lanes.count()).0 {
            let (sources, destinations) = (source, destination);
            return self.all(
                list,
                &Packets { sources, destinations, first, second, kinds },
                start,
                lanes.count(),
            );
        }
        let (mut sources, mut destinations) = ([A::default(); WIDTH], [A::default(); WIDTH]);
        let mut upper = [[0; WIDTH]; 3];
        for (to, lane) in lanes.enumerate() {
            (sources[to], destinations[to]) = (source[lane], destination[lane]);
            (upper[0][to], upper[1][to], upper[2][to]) = (first[lane], second[lane], kinds[lane]);
        }
        let [first, second, kinds] = &upper;
        let (sources, destinations) = (&sources, &destinations);
        let packets = Packets { sources, destinations, first, second, kinds };
        self.all(list, &packets, 0, lanes.count())
    }

    #[inline(always)]
    fn all<A: Address>(
        &self,
        list: &Classifier,
        packets: &Packets<'_, A>,
        start: usize,
        count: usize,
    ) -> Column {
        let mut found = [0; WIDTH];
        for at in (0..count).step_by(ROWS) {
            if let Some(to) = found[at..].first_chunk_mut() {
                *to = list.find_eight(self.e, packets, start + at);
            }
        }
        found
    }

    /// Counts the hits of lanes, and marks those that are denied.
    #[inline(always)]
    fn count(
        &self,
        burst: &mut Burst,
        lanes: Lanes,
        list: &AccessList,
        direction: Direction,
        found: &Column,
    ) -> Lanes {
        let mut refused = Lanes(0);
        let hits = list.of_worker(self.c.counters.number, direction);
        for (lane, &rule) in lanes.zip(found) {
            hits.note(rule as usize);
            let flags = match list.action(rule as usize) {
                Action::Permit => continue,
                Action::Deny => denied(direction).bits(),
                Action::Reject => denied(direction).bits() | Flags::REJECTED.bits(),
            };
            burst.flags[lane] |= flags;
            refused.insert(lane);
        }
        refused
    }
}

/// Of these lanes, those with a number.
#[inline(always)]
fn with(numbers: &Column, lanes: Lanes, number: u32) -> Lanes {
    let mut other = [0; WIDTH];
    for lane in lanes.eights() {
        other[lane] = numbers[lane] ^ number;
    }
    lanes.and(Lanes::zero(&other))
}

/// The flag of what a list of this direction denies.
const fn denied(direction: Direction) -> Flags {
    match direction {
        Direction::Rx => Flags::DENIED_IN,
        Direction::Tx => Flags::DENIED_OUT,
    }
}

/// What a lane that was judged with its burst meets.
pub(super) fn settled(burst: &Burst, lane: usize, direction: Direction) -> Result<(), Verdict> {
    let flags = burst.flags(lane);
    match (flags.has(denied(direction)), flags.has(Flags::REJECTED)) {
        (false, _) => Ok(()),
        (true, true) => Err(Verdict::Punt(PuntReason::AclRejected)),
        (true, false) => Err(refusal(direction)),
    }
}

fn refusal(direction: Direction) -> Verdict {
    Verdict::Drop(match direction {
        Direction::Rx => DropReason::AclDeniedIn,
        Direction::Tx => DropReason::AclDeniedOut,
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
    list.of_worker(c.counters.number, direction).note(rule);
    match list.action(rule) {
        Action::Permit => Ok(()),
        Action::Deny => Err(refusal(direction)),
        Action::Reject => Err(Verdict::Punt(PuntReason::AclRejected)),
    }
}
