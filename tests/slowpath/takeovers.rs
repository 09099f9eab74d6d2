//! A neighbor's address that moves to another MAC: followed in less than 100 ms where the old MAC is
//! silent, and never where it answers.

use etherparse::ArpOperation;
use station::slowpath::{NeighborEvent, NeighborState};
use station::tables::{PuntReason, SlowOutcome};
use station::wire::ethernet::Mac;

use crate::packets::*;
use crate::world::*;

const REQUEST: ArpOperation = ArpOperation::REQUEST;
const REPLY: ArpOperation = ArpOperation::REPLY;
/// The router that takes over from [`PEER`].
const OTHER: Mac = Mac([2, 0, 0, 0, 9, 2]);
const V4: &str = "10.0.0.2";
const V6: &str = "fd00:100::2";
/// Within this time a takeover is over; three questions are asked meanwhile.
const SOON: f64 = 0.07;

/// A message of the address's owner `mac`.
#[derive(Clone, Copy, Debug)]
enum Message {
    Answer,
    GratuitousRequest,
    GratuitousReply,
    /// It asks for the station, as one does whose cache is empty.
    Request,
    Advertisement,
    Solicitation,
    SolicitedAdvertisement,
}

use Message::*;

const OF_V4: [Message; 4] = [GratuitousRequest, GratuitousReply, Request, Answer];
const OF_V6: [Message; 3] = [Advertisement, Solicitation, SolicitedAdvertisement];

fn says(world: &mut World, mac: Mac, message: Message) -> Done<SlowOutcome> {
    let all = "ff02::1";
    let (reason, bytes) = match message {
        Answer => (PuntReason::Arp, arp(REPLY, mac, V4, "10.0.0.1")),
        GratuitousRequest => (PuntReason::Arp, arp(REQUEST, mac, V4, V4)),
        GratuitousReply => (PuntReason::Arp, arp(REPLY, mac, V4, V4)),
        Request => (PuntReason::Arp, arp(REQUEST, mac, V4, "10.0.0.1")),
        Advertisement => (PuntReason::NeighborDiscovery, nd(136, V6, all, 0xa0, V6, Some(mac))),
        Solicitation => {
            let bytes = nd(135, V6, "ff02::1:ff00:1", 0, "fd00:100::1", Some(mac));
            (PuntReason::NeighborDiscovery, bytes)
        }
        SolicitedAdvertisement => {
            (PuntReason::Local, nd(136, V6, "fd00:100::1", 0xe0, V6, Some(mac)))
        }
    };
    world.punt_from(A, reason, mac, &bytes)
}

/// The answer to a question of ours, of the family of another message.
fn answer_beside(message: Message) -> Message {
    match message {
        Advertisement | Solicitation | SolicitedAdvertisement => SolicitedAdvertisement,
        _ => Answer,
    }
}

/// A world in which both addresses are [`PEER`]'s.
fn resolved() -> World {
    let mut world = World::new();
    for (from, to, answer) in
        [("172.16.0.1", V4, Answer), ("2001:db8::1", V6, SolicitedAdvertisement)]
    {
        let packet = udp(from, to, 64, 8);
        world.punt(CORE, PuntReason::NextHopUnresolved, &packet).one(SlowOutcome::Queued);
        assert_eq!(says(&mut world, PEER, answer).result, SlowOutcome::Consumed);
    }
    assert_eq!(owner(&world, Answer), PEER);
    world
}

/// Who has the address that a message is about.
fn owner(world: &World, message: Message) -> Mac {
    let address = ip(match answer_beside(message) {
        Answer => V4,
        _ => V6,
    });
    world.rows().iter().find(|row| row.address == address).unwrap().mac.unwrap()
}

fn moved(message: Message, mac: Mac) -> NeighborEvent {
    let address = ip(if matches!(answer_beside(message), Answer) { V4 } else { V6 });
    NeighborEvent::Resolved { vif: A, address, mac }
}

/// The MACs that were asked.
fn asked(sent: &[Sent]) -> Vec<Mac> {
    sent.iter().map(|sent| sent.to).collect()
}

#[test]
fn whoever_speaks_for_a_silent_neighbor_takes_over_at_once() {
    for message in OF_V4.into_iter().chain(OF_V6) {
        let mut world = resolved();
        let done = says(&mut world, OTHER, message);
        assert_eq!(done.events, [], "not before the old one was asked");
        let asked_for_us = done.sent.iter().filter(|sent| sent.to == OTHER).count();
        assert_eq!(asked(&done.sent[..1]), [PEER], "{message:?}");
        match message {
            Request | Solicitation => assert_eq!(done.result, SlowOutcome::Answered),
            _ => assert_eq!(done.result, SlowOutcome::NeighborClaimed),
        }
        assert_eq!(done.sent.len(), 1 + asked_for_us);
        assert_eq!(owner(&world, message), PEER, "in use meanwhile");
        // It says so again, as routers do.
        let again = says(&mut world, OTHER, message);
        assert!(asked(&again.sent).iter().all(|mac| *mac == OTHER), "one round of questions");
        let done = world.pass(SOON);
        assert_eq!(done.events, [moved(message, OTHER)], "{message:?}");
        assert_eq!(asked(&done.sent), [PEER, PEER, OTHER], "the new one is asked at once");
        assert_eq!(owner(&world, message), OTHER);
        assert_eq!(says(&mut world, OTHER, answer_beside(message)).events, []);
        assert_eq!(world.rows().iter().filter(|r| r.state == NeighborState::Probing).count(), 0);
        assert_eq!(world.pass(5.0).sent, []);
    }
}

#[test]
fn nobody_takes_over_from_a_neighbor_that_answers() {
    for message in OF_V4.into_iter().chain(OF_V6) {
        let mut world = resolved();
        says(&mut world, OTHER, message);
        // The answer comes to the second question. It is asked once more, and answers again.
        for _ in 0..2 {
            assert_eq!(asked(&world.pass(0.03).sent), [PEER], "{message:?}");
            let done = says(&mut world, PEER, answer_beside(message));
            assert_eq!(done.silent(), SlowOutcome::Consumed);
        }
        let done = world.pass(5.0);
        assert_eq!((done.events, done.sent), (vec![], vec![]), "{message:?}");
        assert_eq!(owner(&world, message), PEER);
    }
}

#[test]
fn a_router_that_gives_way_may_answer_a_last_time() {
    for message in OF_V4.into_iter().chain(OF_V6) {
        let mut world = resolved();
        for _ in 0..5 {
            says(&mut world, OTHER, message);
        }
        assert_eq!(says(&mut world, PEER, answer_beside(message)).events, []);
        let done = world.pass(0.1);
        assert_eq!(done.events, [moved(message, OTHER)], "{message:?}");
        assert_eq!(owner(&world, message), OTHER);
    }
}

#[test]
fn row_55_a_second_owner_that_goes_on_claiming_costs_few_questions_and_moves_nothing() {
    for message in OF_V4.into_iter().chain(OF_V6) {
        let mut world = resolved();
        let mut questions = 0;
        for _ in 0..1_000 {
            let mut sent = says(&mut world, OTHER, message).sent;
            let done = world.pass(0.01);
            assert_eq!(done.events, []);
            sent.extend(done.sent);
            let to_peer = sent.iter().filter(|sent| sent.to == PEER).count();
            for _ in 0..to_peer {
                assert_eq!(says(&mut world, PEER, answer_beside(message)).events, []);
            }
            questions += to_peer;
        }
        assert!((4..=30).contains(&questions), "{questions} in 10 s: {message:?}");
        assert_eq!(owner(&world, message), PEER);
    }
}

#[test]
fn two_silent_claimants_move_the_address_at_most_once_a_second() {
    let mut world = resolved();
    let mut moves = 0;
    for n in 0..1_000 {
        let mac = if n % 2 == 0 { OTHER } else { PEER };
        says(&mut world, mac, GratuitousRequest);
        moves += world.pass(0.01).events.len();
    }
    assert!((4..=14).contains(&moves), "{moves} in 10 s");
}

#[test]
fn a_claim_that_was_put_off_is_looked_into_all_the_same() {
    let mut world = resolved();
    for _ in 0..4 {
        says(&mut world, OTHER, GratuitousRequest);
        says(&mut world, PEER, Answer);
        world.pass(0.03);
        says(&mut world, PEER, Answer);
    }
    assert_eq!(says(&mut world, OTHER, GratuitousRequest).sent, [], "four were enough for now");
    let done = world.pass(1.0 + SOON);
    assert_eq!(done.events, [moved(Answer, OTHER)]);
}

#[test]
fn an_address_that_comes_back_unannounced_is_followed_with_its_owners_first_question() {
    for (announcement, question) in [(GratuitousRequest, Request), (Advertisement, Solicitation)] {
        let mut world = resolved();
        says(&mut world, OTHER, announcement);
        world.pass(SOON);
        assert_eq!(says(&mut world, OTHER, answer_beside(question)).events, []);
        world.pass(3.0);
        // The first owner is back, the second has given the address up.
        assert_eq!(says(&mut world, PEER, question).result, SlowOutcome::Answered);
        assert_eq!(world.pass(SOON).events, [moved(question, PEER)]);
    }
}

#[test]
fn a_claimant_that_does_not_answer_loses_the_address_to_the_first_that_does() {
    let mut world = resolved();
    says(&mut world, OTHER, GratuitousRequest);
    assert_eq!(world.pass(SOON).events, [moved(Answer, OTHER)]);
    // The old owner was only late. Everybody is asked soon, and it answers.
    let done = world.pass(0.2);
    assert_eq!((asked(&done.sent), done.events), (vec![Mac::BROADCAST], vec![]));
    assert_eq!(says(&mut world, PEER, Answer).events, [moved(Answer, PEER)]);
    // Where nobody answers it is lost.
    let mut world = resolved();
    says(&mut world, OTHER, GratuitousRequest);
    let done = world.pass(5.0);
    let address = ip(V4);
    let lost = NeighborEvent::Lost { vif: A, address };
    assert_eq!(done.events, [moved(Answer, OTHER), lost]);
}

#[test]
fn an_advertisement_that_does_not_override_is_only_a_doubt() {
    // RFC 4861 7.2.5: its MAC is not taken. The known one is asked; where it is silent, everybody is.
    let mut world = resolved();
    let bytes = nd(136, V6, "ff02::1", 0x80, V6, Some(OTHER));
    let done = world.punt_from(A, PuntReason::NeighborDiscovery, OTHER, &bytes);
    assert_eq!(done.one(SlowOutcome::NeighborClaimed).to, PEER);
    let done = world.pass(SOON);
    let all = Mac([0x33, 0x33, 0xff, 0, 0, 2]);
    assert_eq!((asked(&done.sent), done.events), (vec![PEER, PEER, all], vec![]));
    assert_eq!(owner(&world, Advertisement), PEER);
    let done = says(&mut world, OTHER, SolicitedAdvertisement);
    assert_eq!(done.events, [moved(Advertisement, OTHER)]);
}

#[test]
fn an_advertisement_with_the_wrong_option_is_only_a_doubt() {
    // A source link-layer address (type 1) where the target's belongs.
    let target = V6.parse::<std::net::Ipv6Addr>().unwrap().octets();
    let body = [&target[..], &[1, 1], &OTHER.0].concat();
    let bytes = icmp(V6, "ff02::1", 255, (136, 0), [0xa0, 0, 0, 0], &body);
    let mut world = resolved();
    let done = world.punt_from(A, PuntReason::NeighborDiscovery, OTHER, &bytes);
    assert_eq!(done.one(SlowOutcome::NeighborClaimed).to, PEER);
    let done = world.pass(SOON);
    assert_eq!((done.sent.len(), done.events), (3, vec![]), "everybody is asked in the end");
    assert_eq!(
        says(&mut world, OTHER, SolicitedAdvertisement).events,
        [moved(Advertisement, OTHER)]
    );
    // From the known MAC it says nothing new; and an answer without the option is one of the known.
    let mut world = resolved();
    assert_eq!(
        world.punt(A, PuntReason::NeighborDiscovery, &bytes).silent(),
        SlowOutcome::Consumed
    );
    let answer = nd(136, V6, "fd00:100::1", 0x60, V6, None);
    world.pass(3.0);
    assert_eq!(world.punt(A, PuntReason::Local, &answer).silent(), SlowOutcome::Consumed);
    assert_eq!(world.rows().iter().find(|row| row.address == ip(V6)).unwrap().age_ns, 0);
}

#[test]
fn a_malformed_mac_in_an_advertisement_is_nothing() {
    for mac in [Mac::BROADCAST, Mac([0; 6]), Mac([1, 0, 0, 0, 0, 1])] {
        let mut world = resolved();
        let bytes = nd(136, V6, "ff02::1", 0xa0, V6, Some(mac));
        let done = world.punt_from(A, PuntReason::NeighborDiscovery, OTHER, &bytes);
        assert_eq!(done.silent(), SlowOutcome::BadNd);
        assert_eq!(world.pass(2.0).sent, []);
    }
}

#[test]
fn a_virtual_router_that_fails_over_moves_nothing() {
    let virtual_mac = Mac([0, 0, 0x5e, 0, 1, 0x0a]);
    let mut world = World::new();
    let packet = udp("172.16.0.1", V4, 64, 8);
    world.punt(CORE, PuntReason::NextHopUnresolved, &packet).one(SlowOutcome::Queued);
    let says = |world: &mut World, mac, operation, target| {
        let bytes = arp(operation, virtual_mac, V4, target);
        world.punt_from(A, PuntReason::Arp, mac, &bytes)
    };
    assert_eq!(says(&mut world, PEER, REPLY, "10.0.0.1").result, SlowOutcome::Consumed);
    let done = says(&mut world, OTHER, REQUEST, V4);
    assert_eq!((done.events.len(), done.silent()), (0, SlowOutcome::Consumed));
}
