//! A burst on its way through the stages: up to 64 frames, a lane each, and what is known of them in columns, so that
//! a stage's plain loops become vector code that takes eight lanes at a time.

use std::cell::Cell;

use super::{Flags, Lanes};
use crate::cpu::{ROWS, WORDS};
use crate::port::{Area, BURST, Frame, Pool};
use crate::tables::{DropReason, ExchangeId, Facts, Ingress, NOWHERE, PortId, Verdict, VifId};
use crate::wire::Start;

/// Lanes of a column: those of a burst, and room for the eight that its last one begins.
pub const WIDTH: usize = BURST + ROWS;

/// A number a lane.
pub type Column = [u32; WIDTH];

/// The addresses of one family.
#[derive(Debug)]
pub struct Addresses<A> {
    /// Where each packet goes.
    pub destination: [A; WIDTH],
    /// Where it comes from.
    pub source: [A; WIDTH],
}

impl<A: Copy + Default> Default for Addresses<A> {
    fn default() -> Self {
        Addresses { destination: [A::default(); WIDTH], source: [A::default(); WIDTH] }
    }
}

/// Why a verdict is not carried out: a ring or queue is full, or the port is gone.
pub const LOST: [DropReason; 4] = [
    DropReason::TxFull,
    DropReason::ClassQueueFull,
    DropReason::EgressDown,
    DropReason::PuntQueueFull,
];

/// Every frame has the lane of its place.
#[expect(clippy::cast_possible_truncation, reason = "there are 64 lanes")]
const IN_ORDER: [u8; BURST] = {
    let mut lanes = [0; BURST];
    let mut lane = 0;
    while lane < BURST {
        lanes[lane] = lane as u8;
        lane += 1;
    }
    lanes
};

/// Up to [`BURST`] frames.
#[derive(Debug)]
pub struct Burst {
    /// The frames in the order in which they came.
    pub frames: Vec<Frame>,
    /// The lane of each frame: its place, unless the lanes have been sorted by family.
    pub lane_of: [u8; BURST],
    /// The frame of each lane.
    frame_of: [u8; BURST],
    /// The verdict of each lane that is not live. Live lanes at the end are `Forward`.
    pub verdicts: [Verdict; BURST],
    /// Lanes without a verdict.
    pub live: Lanes,
    /// Lanes whose verdict could not be carried out, see [`Burst::settle_lost`].
    pub lost: [Cell<Lanes>; LOST.len()],
    /// Lanes whose VIF is known.
    pub known: Lanes,
    /// The source of some lane is checked.
    pub checked: bool,
    /// What is received by the VIF of some lane is policed.
    pub metered: bool,
    /// What addresses may have of what is received by the VIF of some lane is limited.
    pub limited: bool,
    /// An access list judges what enters by the VIF of some lane.
    pub listed: bool,
    /// The source of some lane may be translated.
    pub translated: bool,
    /// Lanes that pass by an exchange. Written by `exchange`.
    pub exchanged: Lanes,
    /// IPv4 lanes. All of them come before the first IPv6 lane.
    pub v4: Lanes,
    /// IPv6 lanes.
    pub v6: Lanes,

    /// Offset of the frame's first octet in the area.
    pub at: Column,
    /// Octets of the frame as it came.
    pub octets: Column,
    /// The first 32 octets at some place of each frame, as words.
    pub words: [Column; WORDS],
    /// Offset of the IP (or ARP) header in the frame, in octets.
    pub l3: Column,
    /// Priority and drop eligibility as a TCI's upper four bits have them (802.1Q 9.6), and
    /// [`crate::tables::qos::MARKED`]. Written by `classify` and `qos`, read by `qos`, `rewrite` and `encapsulate`.
    pub priority: Column,
    /// Where it entered: [`crate::tables::Ingress::place`].
    pub place: Column,
    /// What holds there: [`crate::tables::Ingress::rules`].
    pub rules: Column,
    /// What later stages must heed: [`Flags`].
    pub flags: Column,
    /// Octets of the IP packet.
    pub ip_len: Column,
    /// TTL or hop limit.
    pub ttl: Column,
    /// The word of the IP header that the rewrite changes, as it will be.
    pub edit: Column,
    /// The VRF.
    pub vrf: Column,
    /// IPv4 addresses.
    pub v4_addresses: Addresses<u32>,
    /// IPv6 addresses.
    pub v6_addresses: Addresses<u128>,
    /// The next-hop group of the destination.
    pub to_group: Column,
    /// That of the source, where one is checked.
    pub back_group: Column,
    /// The adjacency chosen from the destination's group.
    pub adjacency: Column,
    /// The exchange by which a lane passes. Valid where `exchanged` has it, see [`Burst::permit`].
    pub permit: Column,
    /// Where it leads: [`crate::tables::Facts::place`].
    pub to_place: Column,
    /// What holds there: [`crate::tables::Facts::rules`].
    pub to_rules: Column,
    /// Offset in the area of the first octet of the frame to send.
    pub to_at: Column,
    /// Octets of the frame to send.
    pub to_octets: Column,
    /// The class of what leaves by a VIF with a policy; 0 by others. Written by `qos`, read by a worker's queues; valid where
    /// some VIF has a policy.
    pub class: Column,
    /// Where the one way back to the source leads; [`NOWHERE`] where there is none or more than one.
    pub back_place: Column,
}

impl Default for Burst {
    fn default() -> Self {
        const NONE: Column = [0; WIDTH];
        Burst {
            frames: Vec::with_capacity(BURST),
            lane_of: [0; BURST],
            frame_of: [0; BURST],
            verdicts: [Verdict::Forward; BURST],
            live: Lanes(0),
            lost: Default::default(),
            known: Lanes(0),
            checked: false,
            metered: false,
            limited: false,
            listed: false,
            translated: false,
            exchanged: Lanes(0),
            v4: Lanes(0),
            v6: Lanes(0),
            at: NONE,
            octets: NONE,
            words: [NONE; WORDS],
            l3: NONE,
            priority: NONE,
            place: NONE,
            rules: NONE,
            flags: NONE,
            ip_len: NONE,
            ttl: NONE,
            edit: NONE,
            vrf: NONE,
            v4_addresses: Addresses::default(),
            v6_addresses: Addresses::default(),
            to_group: NONE,
            back_group: NONE,
            adjacency: NONE,
            permit: NONE,
            to_place: NONE,
            to_rules: NONE,
            to_at: NONE,
            to_octets: NONE,
            class: NONE,
            back_place: NONE,
        }
    }
}

impl Burst {
    /// Makes every received frame a live lane.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "a packet has at most 9,238 octets")]
    pub fn start(&mut self) {
        self.live = self.all();
        self.known = Lanes(0);
        self.v4 = Lanes(0);
        self.v6 = Lanes(0);
        self.flags = [0; WIDTH];
        let count = self.frames.len().min(BURST);
        let columns = self.at[..count].iter_mut().zip(&mut self.octets[..count]);
        for ((at, octets), frame) in columns.zip(&self.frames[..count]) {
            (*at, *octets) = (frame.addr(), frame.len() as u32);
        }
        // Loops take eight lanes at a time. Those that have no frame read lane 0's: the frames that they had in
        // earlier bursts are the kernel's by now.
        let first = self.at[0];
        self.at[count..][..ROWS].fill(first);
        self.frame_of = IN_ORDER;
        self.lane_of = IN_ORDER;
    }

    /// All lanes that have a frame.
    #[inline(always)]
    pub fn all(&self) -> Lanes {
        Lanes::first(self.frames.len())
    }

    /// Puts the lanes of either family, which are the live ones, together, so that each family's stages find their lanes
    /// side by side. The frames stay in their order. Then finds out what holds of some lane.
    #[inline(always)]
    pub fn sort(&mut self) {
        if self.v6 != Lanes(0) && self.v6.span().start < self.v4.span().end {
            self.sort_mixed();
        }
        self.note_rules();
    }

    #[inline(never)]
    #[expect(clippy::cast_possible_truncation, reason = "there are 64 lanes")]
    fn sort_mixed(&mut self) {
        let mut order = [0u8; BURST];
        let others = self.all().without(self.v4.or(self.v6));
        for (place, lane) in order.iter_mut().zip(self.v4.chain(self.v6).chain(others)) {
            *place = lane as u8;
        }
        for column in [
            &mut self.at,
            &mut self.octets,
            &mut self.l3,
            &mut self.priority,
            &mut self.place,
            &mut self.rules,
            &mut self.flags,
        ] {
            let old = *column;
            for (new, &lane) in column.iter_mut().zip(&order) {
                *new = old[usize::from(lane) % BURST];
            }
        }
        let verdicts = self.verdicts;
        for (new, &lane) in self.verdicts.iter_mut().zip(&order) {
            *new = verdicts[usize::from(lane) % BURST];
        }
        let (v4, v6) = (self.v4.count(), self.v6.count());
        let is_known = |&(_, &lane): &(usize, &u8)| self.known.has(lane.into());
        let settled = order.iter().enumerate().take(self.frames.len()).skip(v4 + v6);
        let known = settled.filter(is_known).fold(0, |known, (lane, _)| known | 1 << lane);
        self.v4 = Lanes::first(v4);
        self.v6 = Lanes::first(v4 + v6).without(self.v4);
        self.live = Lanes::first(v4 + v6);
        self.known = self.live.or(Lanes(known));
        for (lane, &frame) in (0..).zip(&order).take(self.frames.len()) {
            self.lane_of[usize::from(frame) % BURST] = lane;
        }
        self.frame_of = order;
    }

    /// The packet of a lane; of one in several chunks the first.
    #[inline(always)]
    pub fn packet<'a>(&self, area: &'a Area, lane: usize) -> &'a [u8] {
        area.packet(&self.frames[usize::from(self.frame_of[lane])])
    }

    /// Offset of a lane's IP header in the area.
    #[inline(always)]
    pub fn l3_at(&self, lane: usize) -> u32 {
        self.at[lane].wrapping_add(self.l3[lane])
    }

    /// The VIF by which a lane's frame entered; `None` until the tags are known.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
    pub fn vif(&self, lane: usize) -> Option<VifId> {
        self.known.has(lane).then_some(VifId(self.place[lane] as u16))
    }

    /// The exchange by which a lane passes into another VRF.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "exchanges have ids of 16 bits")]
    pub fn permit(&self, lane: usize) -> Option<ExchangeId> {
        self.exchanged.has(lane).then_some(ExchangeId(self.permit[lane] as u16))
    }

    /// The MTU of the VIF by which a lane's frame entered.
    #[expect(clippy::cast_possible_truncation, reason = "it has 14 bits")]
    pub fn mtu(&self, lane: usize) -> u16 {
        Ingress::mtu(self.rules[lane]) as u16
    }

    /// What later stages must heed of a lane.
    #[inline(always)]
    pub fn flags(&self, lane: usize) -> Flags {
        Flags(self.flags[lane])
    }

    /// Finds out whether the source of some lane is checked, whether some lane is policed, as a whole or by its addresses,
    /// whether an access list judges some lane, and whether some lane may be translated.
    #[inline(always)]
    fn note_rules(&mut self) {
        let rules = self.rules[self.v4.or(self.v6).span()].iter();
        let rules = rules.fold(0, |all, rules| all | rules);
        self.checked = rules & Ingress::CHECKED != 0;
        self.metered = rules & Ingress::METERED != 0;
        self.limited = rules & Ingress::LIMITED != 0;
        self.listed = rules & Ingress::ACL != 0;
        self.translated = rules & Ingress::TRANSLATED != 0;
    }

    /// The port by which all frames leave, where none has a verdict and all leave by the same.
    #[inline(always)]
    pub fn only_port(&self) -> Option<PortId> {
        let rules = &self.to_rules[self.all().span()];
        let first = *rules.first()?;
        let differ = rules.iter().fold(0, |differ, &rules| differ | (rules ^ first));
        (self.live == self.all() && Facts::port(differ) == PortId(0)).then(|| Facts::port(first))
    }

    /// Ends a lane's way.
    #[inline(always)]
    pub fn settle(&mut self, lane: usize, verdict: Verdict) {
        self.verdicts[lane] = verdict;
        self.live.remove(lane);
    }

    /// Drops a lane's frame.
    #[inline(always)]
    pub fn drop(&mut self, lane: usize, reason: DropReason) {
        self.settle(lane, Verdict::Drop(reason));
    }

    /// What a lane was to become it does not, because its port or queue takes no more.
    #[cold]
    pub fn lose(&self, lane: usize, reason: DropReason) {
        for (lost, _) in self.lost.iter().zip(LOST).filter(|(_, of)| *of == reason) {
            lost.set(lost.get().or(Lanes(1 << lane)));
        }
    }

    /// Once all verdicts are carried out: those that could not be become drops.
    #[inline(always)]
    pub fn settle_lost(&mut self) {
        for (at, reason) in LOST.into_iter().enumerate() {
            let lanes = self.lost[at].take();
            lanes.for_each(|lane| self.drop(lane, reason));
        }
    }

    /// Drops a lane's frame of which it is not known by which VIF it came.
    #[inline(always)]
    pub fn drop_unknown(&mut self, lane: usize, reason: DropReason) {
        (self.place[lane], self.rules[lane]) = (NOWHERE, 0);
        self.drop(lane, reason);
    }

    /// Lanes that have a verdict.
    #[inline(always)]
    pub fn settled(&self) -> Lanes {
        self.all().without(self.live)
    }

    /// The packet of a lane from its IP header on, up to the end of its frame or of its tunnel's packet.
    #[inline(always)]
    pub fn l3<'a>(&self, area: &'a Area, lane: usize) -> Start<'a> {
        let (first, end) = (self.l3[lane] as usize, self.octets[lane] as usize);
        let frame = self.packet(area, lane);
        match frame.get(first..end.min(frame.len())) {
            Some(octets) => Start { octets, len: end - first },
            None => nothing(),
        }
    }
}

impl Burst {
    /// The IP packet of a lane, without what is behind its length, to be edited; of one in several chunks the first.
    pub fn ip_mut<'a>(&self, pool: &'a mut Pool, lane: usize) -> &'a mut [u8] {
        let first = self.l3[lane] as usize;
        let packet = pool.packet_mut(&self.frames[usize::from(self.frame_of[lane])]);
        let end = packet.len().min(first + self.ip_len[lane] as usize);
        packet.get_mut(first..end).unwrap_or_default()
    }
}

/// In a function of its own, so that the compiler branches to it and does not choose by arithmetic.
#[cold]
fn nothing<'a>() -> Start<'a> {
    Start { octets: &[], len: 0 }
}
