//! What comes over the group is not always what a member sent: a bug, another release, another program in the group. Every kind of message that the
//! engine knows is kept in `fuzz/corpus/message`; here they and their mutations are handed to members on stable Rust, what `cargo fuzz` does without end on nightly.

#![expect(clippy::unwrap_used, reason = "a test stops where it cannot look")]

use std::path::PathBuf;
use std::sync::LazyLock;

use engine::{Action, Event, ExitReason, Incarnation, MESSAGE_MAX_BYTES, Message};
use shared::ids::{NodeId, RequestId, Time};
use shared::socket::PutConf;
use shared::status::{Command, Request};
use sim::nonsense::{Listener, Situation, Talk, collect, deliver, kind_of, listeners, talk};
use sim::rng::Rng;

/// Enough to meet every kind of message in every way of being spoilt; `NONSENSE=1000000` for a night.
const TALKS: u64 = 6_000;

static LISTENERS: LazyLock<Vec<Listener>> = LazyLock::new(listeners);

fn listener(situation: Situation) -> &'static Listener {
    LISTENERS.iter().find(|listener| listener.situation == situation).unwrap()
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/message")
}

fn kept() -> Vec<Vec<u8>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// `UPDATE_EXPECT=1` writes them anew.
#[test]
fn every_kind_of_message_is_kept_and_can_be_read() {
    let seen = collect(0..400);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        for (kind, bytes) in &seen {
            std::fs::write(folder().join(kind), bytes).unwrap();
        }
    }
    let kept = kept();
    let kinds: Vec<String> = kept.iter().map(|bytes| kind_of(bytes)).collect();
    for kind in seen.keys() {
        assert!(kinds.contains(kind), "no {kind} is kept in fuzz/corpus/message; run this test with UPDATE_EXPECT=1");
    }
    for (bytes, kind) in kept.iter().zip(&kinds) {
        assert!(
            deliver(&LISTENERS, bytes),
            "the kept {kind} can no longer be read: a running cluster could not be upgraded"
        );
    }
}

#[test]
fn a_member_drops_or_survives_whatever_it_is_told() {
    let (listeners, kept) = (&*LISTENERS, kept());
    let talks = std::env::var("NONSENSE").map_or(TALKS, |count| count.parse().unwrap());
    let mut rng = Rng::new(7);
    let (mut told, mut understood) = (0, 0);
    for _ in 0..talks {
        let (count, read) = talk(&listeners[rng.index(listeners.len())], &mut rng, &kept);
        (told, understood) = (told + count, understood + read);
    }
    assert!(
        understood > told / 2,
        "only {understood} of {told} messages could be read: this shows nothing of the engine"
    );
    assert!(understood < told, "nothing was ever dropped: this shows nothing of the decoder");
}

#[test]
fn what_is_longer_than_corosync_delivers_is_no_message() {
    let mut bytes = Message::Leaving { incarnation: Incarnation(1) }.encode();
    bytes.resize(MESSAGE_MAX_BYTES, b' ');
    assert!(Message::decode(&bytes).is_ok());
    bytes.push(b' ');
    assert!(Message::decode(&bytes).is_err());
}

#[test]
fn a_joiner_that_is_told_more_than_it_can_keep_asks_anew() {
    let mut talk = Talk::with(listener(Situation::Joins));
    for _ in 0..10_001 {
        talk.tell(NodeId(1), &Message::Leaving { incarnation: Incarnation(1) });
    }
    let late = talk.state_for_it().unwrap();
    talk.tell(NodeId(1), &late);
    assert_eq!(talk.engine.replicated(), None, "something that it was told since its hello is missing");
    talk.wait(2_000);
    let hello = talk.hello.clone().unwrap();
    talk.tell(listener(Situation::Joins).me, &hello);
    let state = talk.state_for_it().unwrap();
    talk.tell(NodeId(1), &state);
    assert!(talk.engine.replicated().is_some());
}

#[test]
fn requests_that_have_ended_are_forgotten_and_those_under_way_are_not() {
    let listener = listener(Situation::Calm);
    let mut talk = Talk::with(listener);
    let ask = |talk: &mut Talk<'_>, id: &str, command| {
        let request = Request { id: RequestId(id.into()), command, origin: "nobody".into() };
        talk.tell(listener.me, &Message::Request { at: Time(1), request });
    };
    let state = talk.engine.replicated().unwrap();
    let running = state.services.iter().find(|(_, record)| record.holder.is_some() && record.order.is_none()).unwrap();
    let service = running.0.clone();
    ask(&mut talk, "under way", Command::Disable { service: service.clone() });
    for number in 0..400 {
        ask(&mut talk, &format!("request {number}"), Command::Unlock);
    }
    let known = |talk: &Talk<'_>, id: &str| {
        talk.engine.replicated().unwrap().requests.iter().filter(|record| record.id.as_str() == id).count()
    };
    assert_eq!(talk.engine.replicated().unwrap().requests.len(), 256);
    assert_eq!((known(&talk, "under way"), known(&talk, "request 0"), known(&talk, "request 399")), (1, 0, 1));
    let epoch = |talk: &Talk<'_>| talk.engine.replicated().unwrap().services[&service].epoch;
    let before = epoch(&talk);
    ask(&mut talk, "request 399", Command::Freeze { service: service.clone() });
    assert_eq!((known(&talk, "request 399"), epoch(&talk)), (1, before), "a known request was carried out again");
}

#[test]
fn an_event_that_does_not_fit_is_told_nobody() {
    let mut rng = Rng::new(7);
    for listener in &*LISTENERS {
        for event in Talk::with(listener).unfitting(&mut rng) {
            let mut talk = Talk::with(listener);
            let before = talk.engine.replicated().cloned();
            let actions = talk.happen(event.clone());
            let about = format!("{:?}: {event:?} brought {actions:?}", listener.situation);
            let told = |action: &Action| {
                let Action::Multicast(message) = action else { return false };
                matches!(**message, Message::FenceReport(_) | Message::ConfStored { .. } | Message::ConfOffer { .. })
            };
            assert!(!actions.iter().any(told), "{about}");
            let answered =
                |action: &Action| matches!(action, Action::AnswerConf { result: PutConf::Refused { .. }, .. });
            let ended = |action: &Action| {
                let Action::Exit { reason: ExitReason::ConfUnusable { findings } } = action else { return false };
                !findings.is_empty()
            };
            match event {
                Event::ConfOffered { .. } => assert!(actions.iter().any(answered), "{about}"),
                Event::Booted { .. } => assert!(actions.iter().any(ended), "{about}"),
                Event::MembershipChanged { .. } | Event::CorosyncLost => {}
                _ => assert_eq!(talk.engine.replicated(), before.as_ref(), "{about}"),
            }
        }
    }
}
