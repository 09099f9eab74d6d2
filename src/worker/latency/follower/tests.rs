//! The follower against a model of the kernel that knows which stamp is whose.

use std::cell::Cell;
use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

/// Octets in front of a frame, by the number of its memory.
type Slot = usize;

/// A queue of a port: the program, and the ring.
struct Queue {
    stamping: Stamping,
    stamps: bool,
    number: u32,
    /// Received frames: their memory, when they came, and their number.
    ring: VecDeque<(Slot, u64, u32)>,
    /// Memory that the next frames are written to: as much as the ring has room for.
    fill: VecDeque<Slot>,
    room: usize,
    follower: Follower,
    /// Frames that the kernel lost.
    lost: u32,
    /// What was found, of all that the model knows was to be.
    found: usize,
    timed: usize,
}

/// Several queues that share memory, as those of a worker's ports do.
struct World {
    now: Cell<u64>,
    memory: Vec<Stamp>,
    free: Vec<Slot>,
    queues: Vec<Queue>,
}

impl World {
    fn new(samples: &[u32], room: usize, first: u32) -> World {
        let slots = samples.len() * (2 * room + 64);
        let queue = |&sample: &u32| {
            let stamping = Stamping::new(sample);
            Queue {
                stamping,
                stamps: true,
                number: first,
                ring: VecDeque::new(),
                fill: VecDeque::new(),
                room,
                follower: Follower::new(stamping, 1000),
                lost: 0,
                found: 0,
                timed: 0,
            }
        };
        let mut world = World {
            now: Cell::new(1000),
            memory: vec![Stamp::default(); slots],
            free: (0..slots).collect(),
            queues: samples.iter().map(queue).collect(),
        };
        (0..samples.len()).for_each(|queue| world.refill(queue));
        world
    }

    fn refill(&mut self, queue: usize) {
        let of = &mut self.queues[queue];
        while of.fill.len() < of.room {
            of.fill.push_back(self.free.pop().unwrap());
        }
    }

    /// A frame comes to a queue; where its ring is full, or by chance, the kernel loses it after the program saw it.
    fn arrive(&mut self, queue: usize, lost: bool) {
        self.now.set(self.now.get() + 7);
        let of = &mut self.queues[queue];
        let (number, now) = (of.number, self.now.get());
        of.number = number.wrapping_add(1);
        let full = lost || of.ring.len() == of.room;
        let Some(slot) = (!full).then(|| of.fill.pop_front()).flatten() else {
            of.lost += 1;
            return;
        };
        if of.stamps && of.stamping.stamps(number) {
            self.memory[slot] = Stamp { nonce: of.stamping.nonce, number, ns: now };
        }
        of.ring.push_back((slot, now, number));
    }

    /// The worker takes a burst. All that it finds is true.
    fn burst(&mut self, queue: usize, most: usize) {
        self.now.set(self.now.get() + 3);
        let World { now, memory, free, queues } = self;
        let of = &mut queues[queue];
        let count = of.ring.len().min(most);
        let frames: Vec<_> = of.ring.drain(..count).collect();
        if frames.is_empty() {
            return;
        }
        let clock = || {
            now.set(now.get() + 1);
            now.get()
        };
        let mut found = Vec::new();
        let (follower, full) = (&mut of.follower, count == most);
        let stamp = |place: usize| memory[frames[place].0];
        follower.look((count, full), clock, stamp, |place, ns| found.push((place, ns)));
        let alone = of.follower.is_alone();
        for (place, ns) in &found {
            let (_, came, number) = frames[*place];
            assert!(alone || (*ns == came && of.stamping.times(number)), "{place} of {frames:?}");
        }
        of.found += found.len();
        of.timed += frames.iter().filter(|(.., number)| of.stamping.times(*number)).count();
        free.extend(frames.iter().map(|(slot, ..)| *slot));
        self.refill(queue);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Two ports that share memory, frames lost at random and by rings that are full: nothing is found that is not so.
    #[test]
    fn what_is_found_is_true(
        (bits, room, first) in (0..9_u32, 128..600_usize, any::<u32>()),
        steps in prop::collection::vec((0..2_usize, 0..150_usize, 0..90_usize, 0..12_u8), 200..600),
    ) {
        let mut world = World::new(&[1 << bits, 64], room, first);
        for (queue, come, most, luck) in steps {
            for n in 0..come {
                // A run of losses, single ones, or none.
                let lost = match luck { 0 => n > 20, 1 => n % 17 == 3, _ => false };
                world.arrive(queue, lost);
            }
            world.burst(queue, most.clamp(1, 64));
        }
    }

    /// Where nothing is lost, all are found but those that were there before; also across the numbers' end.
    #[test]
    fn all_are_found(bits in 0..9_u32, before in 0..200_usize, most in 1..=64_usize, end in any::<bool>()) {
        let first = if end { u32::MAX - 3000 } else { 5 };
        let mut world = World::new(&[1 << bits], 900, first);
        (0..before).for_each(|_| world.arrive(0, false));
        // What is on the ring came before the worker was told.
        let now = world.now.get();
        world.queues[0].follower = Follower::new(world.queues[0].stamping, now);
        while !world.queues[0].ring.is_empty() {
            world.burst(0, most);
        }
        world.queues[0].timed = 0;
        for _ in 0..400 {
            (0..most).for_each(|_| world.arrive(0, false));
            world.burst(0, most);
        }
        let queue = &world.queues[0];
        prop_assert_eq!((queue.lost, queue.found), (0, queue.timed));
        prop_assert!(queue.timed * (1 << bits) >= 400 * most.min(200) / 2 || bits > 6);
    }
}

#[test]
fn after_a_loss_it_finds_again() {
    let mut world = World::new(&[64], 900, 0);
    let turn = |world: &mut World| {
        (0..50).for_each(|_| world.arrive(0, false));
        world.burst(0, 64);
    };
    (0..100).for_each(|_| turn(&mut world));
    let before = world.queues[0].found;
    assert!(before > 70, "{before}");
    for lost in [1, 33, 34, 64, 128, 500] {
        (0..lost).for_each(|_| world.arrive(0, true));
        let (found, timed) = (world.queues[0].found, world.queues[0].timed);
        (0..100).for_each(|_| turn(&mut world));
        let queue = &world.queues[0];
        let missed = queue.timed - timed - (queue.found - found);
        assert!(missed <= 4, "{lost} lost: {missed} missed");
    }
}

/// Frames are lost all the time: what is looked at is a small part of them, and some are found.
#[test]
fn a_load_that_is_too_high_is_not_searched_for_ever() {
    let mut world = World::new(&[64], 2048, 0);
    for _ in 0..20_000 {
        // Of 80 frames the ring has room for 64.
        (0..80).for_each(|_| world.arrive(0, false));
        world.burst(0, 64);
    }
    let queue = &world.queues[0];
    assert!(queue.lost > 100_000 && queue.found >= 20, "{} {}", queue.lost, queue.found);
    let looked = queue.follower.received / (REST + 1);
    assert!(looked < 200_000, "{looked}");
}

#[test]
fn a_driver_without_stamps_is_known_after_a_while() {
    let mut world = World::new(&[64], 900, 0);
    world.queues[0].stamps = false;
    for _ in 0..400 {
        (0..50).for_each(|_| world.arrive(0, false));
        world.burst(0, 64);
    }
    let queue = &world.queues[0];
    assert!(queue.follower.is_alone());
    let expected = (20_000 - 1024) / 64;
    assert!(queue.found.abs_diff(expected) < 8, "{}, not {expected}", queue.found);
}
