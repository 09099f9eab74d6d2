//! Puts the adjacency's MACs and tags in front of each packet that is forwarded, writes the header's edit, and replaces
//! what was behind the packet by as many zeros as the shortest frame needs.

use super::{Burst, Context, Lanes, WIDTH};
use crate::port::{AROUND, Around, FRONT};
use crate::tables::qos::MARKED;
use crate::tables::{DropReason, Facts, MAX_L2};
use crate::wire::ethernet::MIN_PAYLOAD;

// The last two octets of the front are the packet's own ethertype, which stays.
const _: () = assert!(FRONT == MAX_L2 + 2 && AROUND == FRONT + MIN_PAYLOAD);

/// Where the header with one tag starts in the room for one with two.
const START: usize = MAX_L2 - 16;

/// [`MIN_PAYLOAD`], as a length in a column.
const SHORTEST: u32 = 46;
const _: () = assert!(SHORTEST as usize == MIN_PAYLOAD);

/// Makes each live lane's frame ready to transmit.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "a priority has four bits and a flag")]
pub fn run(burst: &mut Burst, c: &mut Context<'_>) {
    let mut editor = c.pool.editor();
    let (mut places, mut outside) = ([Around::NONE; WIDTH], [0; WIDTH]);
    let (mut priorities, mut longest, mut shortest) = (0, 0, SHORTEST);
    for i in burst.live.eights() {
        let (place, len) = (burst.l3_at(i), burst.ip_len[i]);
        let head = Facts::l2_len(burst.to_rules[i]);
        // Whatever the stages before have checked: no octet of another frame is touched or sent.
        let longer = burst.l3[i] + len > burst.octets[i];
        places[i] = editor.locate(place);
        outside[i] = u32::from(longer) | u32::from(places[i] == Around::NONE);
        burst.to_at[i] = place.wrapping_sub(head);
        burst.to_octets[i] = head + len.max(SHORTEST);
        priorities |= burst.priority[i];
        longest = longest.max(head);
        shortest = shortest.min(len);
    }
    for lane in burst.live.without(Lanes::zero(&outside)) {
        burst.drop(lane, DropReason::FrameTooLong);
    }
    let adjacencies = &**c.tables.adjacencies;
    for (lanes, word) in [
        (burst.v4, 8), // TTL, protocol, checksum
        (burst.v6, 4), // payload length, next header, hop limit
    ] {
        for lane in burst.live.and(lanes) {
            let adjacency = adjacencies.get(burst.adjacency[lane] as usize);
            let (Some(adjacency), Some(around)) = (adjacency, editor.octets(places[lane])) else {
                burst.drop(lane, DropReason::FrameTooLong);
                continue;
            };
            // Without the start that only two tags need: it would mostly be in the line before the packet's.
            around[START..MAX_L2].copy_from_slice(&adjacency.front[START..]);
            around[FRONT + word..][..4].copy_from_slice(&burst.edit[lane].to_ne_bytes());
        }
    }
    // What few bursts need: the start of a header with two tags, and priorities that are kept.
    if longest as usize > FRONT - START || priorities != 0 {
        for lane in burst.live {
            let adjacency = adjacencies.get(burst.adjacency[lane] as usize);
            let (Some(adjacency), Some(around)) = (adjacency, editor.octets(places[lane])) else {
                continue;
            };
            let head = Facts::l2_len(burst.to_rules[lane]) as usize;
            if head > FRONT - START {
                around[..START].copy_from_slice(&adjacency.front[..START]);
            }
            let priority = burst.priority[lane];
            if adjacency.preserve_pcp || priority & MARKED != 0 {
                // In every tag, as where the VIF sets it.
                let tags = head.saturating_sub(14);
                for tag in around[MAX_L2 - tags..MAX_L2].chunks_exact_mut(4) {
                    tag[2] = tag[2] & 0x0f | (priority << 4) as u8;
                }
            }
        }
    }
    if shortest < SHORTEST {
        for lane in burst.live {
            let around = editor.octets(places[lane]);
            let behind = around.and_then(|a| a.get_mut(FRONT + burst.ip_len[lane] as usize..));
            if let Some(padding) = behind {
                padding.fill(0);
            }
        }
    }
}
