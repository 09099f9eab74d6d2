//! The follower, without a BIRD.

use super::*;
use crate::bird::peers::BfdPeer;
use crate::bird::session::testing::session;

const PEER: &str = "b.v0.1.10.0.0.2";

/// A follower of one session with BFD, and how it stands towards its BIRD.
struct Case {
    follower: Follower,
    now: Instant,
}

impl Case {
    fn new() -> Case {
        let (session, now) = (session(), Instant::now());
        let bfd = BfdPeer { vif: session.vif.clone(), session: Some(PEER.into()) };
        let peers = Peers {
            bfd: [(("v0.1".to_owned(), session.peer), bfd)].into(),
            sessions: [(PEER.to_owned(), session)].into(),
            fastest: Some(Duration::from_millis(100)),
            ..Peers::default()
        };
        let mut follower = Follower::new(now);
        follower.configure(peers);
        follower.connected(true, now);
        Case { follower, now }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    /// The next question, which is waited for.
    fn question(&mut self) -> String {
        self.now += self.follower.wait(self.now);
        self.follower.question(self.now).expect("a question")
    }

    /// Answers; (up, cause) of what is told of the peer.
    fn answer(&mut self, lines: &[&str]) -> Vec<(bool, String)> {
        let lines = lines.iter().map(|line| Line::Text(1002, (*line).to_owned()));
        let lines = lines.chain([Line::End(0, String::new())]);
        let effects: Vec<_> = lines.flat_map(|line| self.follower.line(line, self.now)).collect();
        told(effects)
    }

    /// Answers all questions until the one that begins so.
    fn until(&mut self, wanted: &str) -> String {
        loop {
            let question = self.question();
            if question.starts_with(wanted) {
                return question;
            }
            self.answer(&[]);
        }
    }

    fn log(&mut self, text: &str) -> Vec<(bool, String)> {
        told(self.follower.line(Line::Log(text.to_owned()), self.now))
    }
}

fn told(effects: Vec<Effect>) -> Vec<(bool, String)> {
    let told = |effect| match effect {
        Effect::Peer(event) => Some((event.up, event.cause)),
        _ => None,
    };
    effects.into_iter().filter_map(told).collect()
}

const UP: &str = "b.v0.1.10.0.0.2 BGP --- up 1 Established";
const DOWN: &str = "b.v0.1.10.0.0.2 BGP --- start 1 Active Received: Administrative shutdown";

#[test]
fn lost_messages_are_made_up_for_by_one_question() {
    let mut case = Case::new();
    case.until("show protocols");
    assert_eq!(case.answer(&[UP]), [(true, "BGP session established".to_owned())]);
    // The session ended, and its messages were lost: BIRD lives.
    for _ in 0..1000 {
        assert_eq!(case.follower.line(Line::Gap, case.now), []);
        assert_eq!(case.follower.line(Line::Other, case.now), []);
    }
    let asked = case.now;
    case.until("show protocols");
    assert!(case.now - asked <= SOON.1, "{:?}", case.now - asked);
    assert_eq!(case.answer(&[DOWN]), [(false, "BGP session is down".to_owned())]);
}

#[test]
fn a_flood_of_gaps_makes_few_questions() {
    let (mut case, mut questions) = (Case::new(), 0);
    let started = case.now;
    while case.now < started + Duration::from_secs(10) {
        case.follower.line(Line::Gap, case.now);
        questions += u32::from(case.question().starts_with("show protocols"));
        case.answer(&[UP]);
    }
    assert!((40..=51).contains(&questions), "{questions}");
}

#[test]
fn a_peer_that_bfd_lost_is_told_and_its_session_started_anew() {
    let line = |state: &str, timeout: &str| format!("10.0.0.2 v0.1 {state} 1 0.100 {timeout}");
    let mut case = Case::new();
    case.until("show bfd");
    assert_eq!(case.answer(&[&line("Up", "0.300")]), [], "it is back when BGP is");
    case.log("b.v0.1.10.0.0.2: State changed to up");
    let asked = case.now;
    case.until("show bfd");
    assert!(case.now - asked <= Duration::from_millis(20), "a fifth of the interval");
    // AdminDown.
    assert_eq!(case.answer(&[&line("Down", "0.300")]), []);
    case.until("show bfd");
    assert_eq!(case.answer(&[&line("Down", "0.000")]), []);
    // Up again, and silent.
    case.until("show bfd");
    case.answer(&[&line("Up", "0.300")]);
    case.until("show bfd");
    let lost = [(false, "BFD session down".to_owned())];
    assert_eq!(case.answer(&[&line("Down", "0.000")]), lost);
    assert_eq!(case.question(), format!("restart '{PEER}' \"BFD session down\""));
    case.answer(&[]);
    assert_eq!(case.log("b.v0.1.10.0.0.2: State changed to stop"), [], "known");
}

#[test]
fn a_bird_that_does_not_answer_is_noticed_and_given_up() {
    let mut case = Case::new();
    case.question();
    case.pass(case.follower.wait(case.now));
    assert_eq!(case.follower.silence(case.now), Ok(Some(Effect::Silent(true))));
    assert_eq!(case.follower.silence(case.now), Ok(None), "once");
    let effects = case.follower.line(Line::End(0, String::new()), case.now);
    assert_eq!(effects, [Effect::Silent(false)]);
    case.question();
    case.pass(SILENCE.0);
    assert!(case.follower.silence(case.now).is_ok());
    case.pass(case.follower.wait(case.now));
    assert_eq!(case.follower.silence(case.now), Err(()));
}

#[test]
fn who_is_shut_is_told_though_no_message_says_so() {
    let mut case = Case::new();
    case.log("b.v0.1.10.0.0.2: State changed to up");
    case.until("show protocols");
    case.answer(&[UP]);
    case.log("b.v0.1.10.0.0.2: State changed to stop");
    case.until("show protocols");
    let shut = "b.v0.1.10.0.0.2 BGP --- down 1 Automatic shutdown: Route limit exceeded";
    let text = Line::Text(1002, shut.to_owned());
    case.follower.line(text, case.now);
    let effects = case.follower.line(Line::End(0, String::new()), case.now);
    assert_eq!(effects, [Effect::Shut(PEER.to_owned())]);
}

#[test]
fn an_error_is_completed_by_the_log_until_the_session_is_up() {
    let mut case = Case::new();
    let completed = |case: &Case, error: &str| {
        let last_error = Some(error.to_owned());
        let mut protocol =
            parse::Protocol { name: PEER.into(), last_error, ..parse::Protocol::default() };
        case.follower.complete(&mut protocol);
        protocol.last_error.unwrap()
    };
    assert_eq!(completed(&case, "BGP Error: Bad peer AS"), "BGP Error: Bad peer AS");
    case.follower.complaint(PEER, "Error: Bad peer AS: 65099", case.now);
    assert_eq!(completed(&case, "BGP Error: Bad peer AS"), "Error: Bad peer AS: 65099");
    assert_eq!(completed(&case, "Socket: Connection refused"), "Socket: Connection refused");
    case.follower.complaint(PEER, "Received: Bad peer AS: 64512", case.now);
    assert_eq!(completed(&case, "Received: Bad peer AS"), "Received: Bad peer AS: 64512");
    case.log(&format!("{PEER}: State changed to up"));
    assert_eq!(completed(&case, "Received: Bad peer AS"), "Received: Bad peer AS");
}
