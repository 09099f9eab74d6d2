use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

/// A frame: its VIF and class, its octets, and its number.
type Item = (u16, usize, u32, u64);

fn shape(strict: u8, weights: [u32; CLASSES]) -> Shape {
    Shape { strict, quanta: weights.map(|weight| weight * QUANTUM) }
}

fn push(backlog: &mut Backlog<Item>, item: Item, shape: &Shape) -> bool {
    let (vif, class, octets, _) = item;
    let size = Size { octets, frames: 1 };
    backlog.push((VifId(vif), class, 1), size, item, shape).is_ok()
}

fn pop(backlog: &mut Backlog<Item>, shapes: &[Shape]) -> Option<Item> {
    let mut taken = None;
    backlog.pop(
        |vif| &shapes[vif.index()],
        |vif, class, item| {
            assert_eq!((vif.0, class), (item.0, item.1));
            taken = Some(item);
            Ok(())
        },
    );
    taken
}

proptest! {
    /// Whatever comes and goes: what went in comes out once, in order within its class; no frame leaves while a higher strict
    /// class of its VIF has one; what is given back is the next one; nothing is lost when VIFs are taken.
    #[test]
    fn conserves_frames_and_their_order(
        size in 1usize..80,
        masks in prop::array::uniform4(any::<u8>()),
        steps in prop::collection::vec((0u8..10, 0u16..4, 0usize..CLASSES, 60u32..9_100), 1..600),
    ) {
        let shapes = masks.map(|strict| shape(strict, [1, 2, 3, 4, 5, 6, 7, 8]));
        let mut backlog = Backlog::new(size, 4);
        let mut waiting: HashMap<(u16, usize), Vec<u64>> = HashMap::new();
        for (number, (what, vif, class, octets)) in (0..).zip(steps) {
            match what {
                0..6 => {
                    let room = size - backlog.len();
                    let held = waiting.entry((vif, class)).or_default();
                    let strict = shapes[usize::from(vif)].strict >> class & 1 == 1;
                    let fits = held.len() < room * if strict { STRICT_SHARE } else { 1 };
                    let item = (vif, class, octets, number);
                    prop_assert_eq!(push(&mut backlog, item, &shapes[usize::from(vif)]), fits);
                    if fits {
                        held.push(number);
                    }
                }
                6..9 => {
                    let mut refused = None;
                    if what == 8 {
                        backlog.pop(|vif| &shapes[vif.index()], |_, _, item| {
                            refused = Some(item);
                            Err(item)
                        });
                    }
                    let popped = pop(&mut backlog, &shapes);
                    prop_assert!(refused.is_none() || refused == popped);
                    let Some((vif, class, _, number)) = popped else {
                        prop_assert!(waiting.values().all(Vec::is_empty));
                        continue;
                    };
                    prop_assert_eq!(waiting.get_mut(&(vif, class)).unwrap().remove(0), number);
                    let strict = shapes[usize::from(vif)].strict;
                    let higher = (0..CLASSES).filter(|&at| strict >> at & 1 == 1);
                    let is_strict = strict >> class & 1 == 1;
                    for at in higher.filter(|&at| !is_strict || at < class) {
                        prop_assert!(waiting.get(&(vif, at)).is_none_or(Vec::is_empty));
                    }
                }
                _ => {
                    let mut gone: HashMap<(u16, usize), Vec<u64>> = HashMap::new();
                    backlog.take(|id, key| (id.0, key) == (vif, 1), |id, class, item| {
                        gone.entry((id.0, class)).or_default().push(item.3);
                    });
                    for class in 0..CLASSES {
                        let was = waiting.remove(&(vif, class)).unwrap_or_default();
                        prop_assert_eq!(gone.remove(&(vif, class)).unwrap_or_default(), was);
                    }
                    prop_assert!(gone.is_empty());
                }
            }
            prop_assert_eq!(backlog.len(), waiting.values().map(Vec::len).sum::<usize>());
        }
    }

    /// Classes that always have frames get octets by their weights, to 2 %, whatever their frames are like.
    #[test]
    fn weights_are_shares_of_octets(
        weights in prop::array::uniform4(1u32..20),
        octets in prop::array::uniform4(60u32..9_018),
    ) {
        let least = weights.into_iter().min().unwrap();
        let quanta = std::array::from_fn(|at| weights.get(at).map_or(0, |w| QUANTUM * w / least));
        let shapes = [Shape { strict: 0, quanta }];
        let mut backlog = Backlog::new(64, 1);
        let mut sent = [0_u64; 4];
        for (class, &octets) in octets.iter().enumerate() {
            (0..2).for_each(|_| assert!(push(&mut backlog, (0, class, octets, 0), &shapes[0])));
        }
        while sent.iter().sum::<u64>() < 60_000_000 {
            let (_, class, len, _) = pop(&mut backlog, &shapes).unwrap();
            sent[class] += u64::from(len);
            prop_assert!(push(&mut backlog, (0, class, octets[class], 0), &shapes[0]));
        }
        let (all, total) = (sent.iter().sum::<u64>(), u64::from(weights.iter().sum::<u32>()));
        for (sent, weight) in sent.into_iter().zip(weights) {
            let due = all * u64::from(weight) / total;
            prop_assert!(sent.abs_diff(due) * 50 <= due, "{sent} of {due}: {weights:?}");
        }
    }

    /// VIFs that always have frames get equal parts of octets, whatever their classes are.
    #[test]
    fn vifs_share_equally(octets in prop::array::uniform3(60u32..9_018), strict in any::<u8>()) {
        let shapes = [shape(strict, [1; CLASSES]), Shape::PLAIN, shape(!strict, [9; CLASSES])];
        let mut backlog = Backlog::new(64, 3);
        let mut sent = [0_u64; 3];
        for (vif, octets) in (0..).zip(octets) {
            let item = (vif, usize::from(vif), octets, 0);
            (0..3).for_each(|_| assert!(push(&mut backlog, item, &shapes[usize::from(vif)])));
        }
        while sent.iter().sum::<u64>() < 30_000_000 {
            let item = pop(&mut backlog, &shapes).unwrap();
            sent[usize::from(item.0)] += u64::from(item.2);
            prop_assert!(push(&mut backlog, item, &shapes[usize::from(item.0)]));
        }
        let due = sent.iter().sum::<u64>() / 3;
        prop_assert!(sent.iter().all(|sent| sent.abs_diff(due) * 50 <= due), "{sent:?}");
    }
}

/// One queue that nobody empties leaves room for another's.
#[test]
fn a_flood_leaves_room() {
    let shapes = [shape(1, [1; CLASSES]), Shape::PLAIN];
    let mut backlog = Backlog::new(1_000, 2);
    let fill = |backlog: &mut Backlog<Item>, vif: u16, class: usize| {
        (0..2_000)
            .filter(|_| push(backlog, (vif, class, 1_500, 0), &shapes[usize::from(vif)]))
            .count()
    };
    assert_eq!(fill(&mut backlog, 0, 5), 500);
    assert_eq!(fill(&mut backlog, 1, 0), 250);
    assert_eq!(fill(&mut backlog, 0, 0), 200);
    assert_eq!(backlog.len(), 950);
}
