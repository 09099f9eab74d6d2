use super::super::Pool;
use super::*;

#[test]
fn a_packet_gets_another_header() {
    let mut pool = Pool::new(2, FrameSize::Small).unwrap();
    let packet: Vec<u8> = (0..64).collect();
    let frame = pool.take_with(&packet).unwrap();
    let place = frame.addr() + 18;
    let mut editor = pool.editor();
    let around = editor.octets(editor.locate(place)).unwrap();
    assert_eq!(around[FRONT - 18..], packet[..AROUND - FRONT + 18]);
    around[FRONT - 22..FRONT - 18].fill(7);
    let frame = frame.with_packet(place - 22, 62);
    assert_eq!(pool.area().packet(&frame), [&[7; 4], &packet[..58]].concat());
    pool.give(frame);
    assert_eq!(pool.free(), pool.total());
}

#[test]
fn what_is_around_a_place_is_of_one_frame_of_the_area() {
    let mut pool = Pool::new(2, FrameSize::Small).unwrap();
    let end = pool.area().len() as u32;
    let mut editor = pool.editor();
    for inside in [22, 2048 - 46, 2048 + 22, 4096 - 46, end - 46] {
        assert!(editor.octets(editor.locate(inside)).is_some(), "{inside}");
    }
    for across in [0, 21, 2048 - 45, 2048, 2048 + 21, 4096 - 45, end - 45] {
        assert_eq!(editor.locate(across), Around::NONE, "{across}");
    }
    for inside in [92, 2048 - 46, 2048 + 92, end - 46] {
        assert!(editor.with_room(inside).is_some(), "{inside}");
    }
    for across in [0, 91, 2048 - 45, 2048 + 91, 4096 - 45, end - 45, end, end + 92, u32::MAX] {
        assert!(editor.with_room(across).is_none(), "{across}");
    }
    editor.with_room(end - 46).unwrap().fill(7);
    for outside in [Around::NONE, editor.locate(end + 22), editor.locate(u32::MAX - 1000)] {
        assert!(editor.octets(outside).is_none(), "{outside:?}");
    }
    let area = pool.area();
    assert_eq!(area.at(end - 138), Some(&[7; 138]), "from the room before it to the end");
    for inside in [0, 2048 - 50, 2048, end - 50] {
        assert!(area.at::<50>(inside).is_some(), "{inside}");
    }
    for across in [2048 - 49, 4096 - 1, end - 49, end, u32::MAX] {
        assert!(area.at::<50>(across).is_none(), "{across}");
    }
}

/// A descriptor at a frame's end, however short its packet: the path reads more than the packet at once.
#[test]
fn what_is_read_at_once_is_of_one_frame() {
    for size in [FrameSize::Small, FrameSize::Large] {
        let octets = size.octets() as u64;
        assert!(size.has_room(3 * octets + 256, size.capacity() as u32));
        assert!(!size.has_room(3 * octets + 256, size.capacity() as u32 + 1));
        assert!(size.has_room(octets - 64, 64) && size.has_room(octets - 64, 1));
        assert!(!size.has_room(octets - 63, 1) && !size.has_room(octets - 1, 1));
        assert!(!size.has_room(0, u32::MAX));
    }
}

#[test]
fn areas_are_told_apart_also_those_that_are_no_more() {
    let area = || Area::new(1, FrameSize::Small).unwrap();
    let (first, second) = (area(), area());
    assert_ne!(first.id(), second.id());
    let gone = second.id();
    drop(second);
    assert_ne!(area().id(), gone, "even where it is mapped at the same address");
}

#[test]
#[should_panic(expected = "another area")]
fn a_packet_beyond_the_area_is_not_shown() {
    let area = Area::new(1, FrameSize::Small).unwrap();
    let _ = area.packet(&Frame::from_descriptor(area.len() as u64 - 10, 11));
}
