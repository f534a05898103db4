//! What the engine relies on (docs/decisions/0001-cpg-event-order.md), checked on everything that three real nodes
//! told while processes, nodes and networks failed: the traces in tests/fixtures/cpg, whose README has the format.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

type Member = (u64, u64);

/// One thing that happened within a ring, in the order all its members must share.
#[derive(Debug, Clone, PartialEq)]
enum Step {
    Delivered(Member, u64),
    /// A process came or went; `Value` is `[members, left, joined]`.
    ProcessChange(Value),
}

/// What one process lived through in one ring.
#[derive(Debug, Default)]
struct Stay {
    steps: Vec<Step>,
    /// Left and joined of the changes that led to the next ring.
    left: BTreeSet<String>,
    /// The next ring, if there was one.
    next: Option<String>,
}

/// One process from its start to its end: its stays by ring, in order.
struct Life {
    who: String,
    stays: Vec<(String, Stay)>,
}

fn stories() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/cpg");
    let mut stories: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    stories.sort();
    assert!(stories.len() >= 15, "the traces are missing");
    stories
}

fn lines(path: &Path) -> Vec<Value> {
    std::fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn member(value: &Value) -> Member {
    (value[0].as_u64().unwrap(), value[1].as_u64().unwrap())
}

fn members(value: &Value) -> BTreeSet<Member> {
    value.as_array().unwrap().iter().map(member).collect()
}

fn reasons(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|entry| entry[2].as_str().unwrap()).collect()
}

fn messages(event: &Value) -> Vec<(Member, u64)> {
    let parse = |text: &str| {
        let (process, number) = text.split_once(':').unwrap();
        let (node, pid) = process.split_once('/').unwrap();
        ((node.parse().unwrap(), pid.parse().unwrap()), number.parse().unwrap())
    };
    event["messages"].as_str().unwrap().split(' ').map(parse).collect()
}

/// The lives in one trace; a process that was started again has a second one.
fn lives(path: &Path) -> Vec<(String, Vec<Value>)> {
    let mut lives: Vec<(String, Vec<Value>)> = Vec::new();
    for event in lines(path) {
        if event["event"] == "started" {
            lives.push((format!("{} {}", path.display(), event["local"]), Vec::new()));
        }
        lives.last_mut().expect("a trace begins with started").1.push(event);
    }
    lives
}

fn all_lives() -> Vec<(String, Vec<Value>)> {
    let traces =
        stories().into_iter().flat_map(|story| ["h1", "h2", "h3"].map(|node| story.join(format!("{node}.jsonl"))));
    traces.flat_map(|path| lives(&path)).collect()
}

fn is_node_change(event: &Value) -> bool {
    event["event"] == "membership"
        && reasons(&event["left"]).iter().chain(&reasons(&event["joined"])).any(|reason| reason.starts_with("node_"))
}

/// Cuts a life at its rings.
fn stays(who: &str, events: &[Value]) -> Life {
    let mut life = Life { who: who.to_owned(), stays: Vec::new() };
    let mut ring = String::from("before the first ring");
    let mut stay = Stay::default();
    for event in events {
        match event["event"].as_str().unwrap() {
            "membership" if is_node_change(event) => {
                stay.left.extend(event["left"].as_array().unwrap().iter().map(Value::to_string));
            }
            "membership" => stay.steps.push(Step::ProcessChange(serde_json::json!([
                event["members"],
                event["left"],
                event["joined"]
            ]))),
            "delivered" => stay.steps.extend(messages(event).into_iter().map(|(from, n)| Step::Delivered(from, n))),
            "ring" => {
                let next = event["ring"].to_string();
                stay.next = Some(next.clone());
                life.stays.push((std::mem::replace(&mut ring, next), std::mem::take(&mut stay)));
            }
            _ => {}
        }
    }
    life.stays.push((ring, stay));
    life
}

#[test]
fn joining_tells_the_membership_first_and_then_the_ring() {
    for (who, events) in all_lives() {
        let from_cpg: Vec<_> =
            events.iter().filter(|event| event["event"] == "membership" || event["event"] == "ring").take(2).collect();
        assert_eq!(from_cpg[0]["event"], "membership", "{who}");
        let us = &events[0]["local"];
        assert!(
            from_cpg[0]["joined"].as_array().unwrap().iter().any(|one| member(one) == member(us) && one[2] == "join"),
            "{who}"
        );
        assert_eq!(from_cpg[1]["event"], "ring", "{who}");
    }
}

#[test]
fn a_change_of_nodes_is_told_before_its_ring_with_nothing_in_between_and_those_who_left_first() {
    let mut seen = 0;
    for (who, events) in all_lives() {
        let mut waiting_for_ring: Vec<&Value> = Vec::new();
        for event in events.iter().filter(|event| event["event"] != "quorum" && event["event"] != "sent") {
            if is_node_change(event) {
                let (left, joined) = (reasons(&event["left"]), reasons(&event["joined"]));
                assert!(left.iter().all(|reason| *reason == "node_down"), "{who}: {event}");
                assert!(joined.iter().all(|reason| *reason == "node_up"), "{who}: {event}");
                assert!(left.is_empty() != joined.is_empty(), "one event either takes or brings: {who}: {event}");
                if !left.is_empty() {
                    assert!(waiting_for_ring.is_empty(), "{who}: {event}");
                }
                assert!(waiting_for_ring.len() < 2, "{who}: {event}");
                waiting_for_ring.push(event);
                seen += 1;
            } else if event["event"] == "ring" {
                waiting_for_ring.clear();
            } else {
                assert!(waiting_for_ring.is_empty(), "{who}: {event} before the ring");
            }
        }
    }
    assert!(seen > 50);
}

#[test]
fn rings_grow_and_hold_the_nodes_of_all_members() {
    for (who, events) in all_lives() {
        let (mut last, mut present) = (0, BTreeSet::new());
        for event in &events {
            if event["event"] == "membership" {
                present = members(&event["members"]);
            } else if event["event"] == "ring" {
                let seq = event["ring"][1].as_u64().unwrap();
                assert!(seq > last, "{who}: {event}");
                last = seq;
                let nodes: BTreeSet<u64> =
                    event["members"].as_array().unwrap().iter().map(|node| node.as_u64().unwrap()).collect();
                assert!(present.iter().all(|(node, _)| nodes.contains(node)), "{who}: {event}");
            }
        }
    }
}

#[test]
fn messages_come_from_members_only_in_the_order_they_were_sent_and_our_own_without_a_gap() {
    for (who, events) in all_lives() {
        let us = member(&events[0]["local"]);
        let mut present = BTreeSet::new();
        let mut last: BTreeMap<Member, u64> = BTreeMap::new();
        for event in &events {
            if event["event"] == "membership" {
                present = members(&event["members"]);
            }
            if event["event"] != "delivered" {
                continue;
            }
            for (from, number) in messages(event) {
                assert!(present.contains(&from), "{who}: {number} of {from:?}");
                let before = last.insert(from, number).unwrap_or(0);
                assert!(number > before, "{who}: {number} of {from:?} after {before}");
                assert!(from != us || number == before + 1, "{who}: {number} after {before}");
            }
        }
    }
}

#[test]
fn members_that_go_from_one_ring_to_the_next_together_have_seen_the_same_and_others_a_beginning_of_it() {
    let (mut together, mut apart, mut longer) = (0, 0, 0);
    for story in stories() {
        let lives: Vec<Life> = ["h1", "h2", "h3"]
            .into_iter()
            .flat_map(|node| lives(&story.join(format!("{node}.jsonl"))))
            .map(|(who, events)| stays(&who, &events))
            .collect();
        for (index, one) in lives.iter().enumerate() {
            for other in &lives[index + 1..] {
                for (ring, mine) in &one.stays {
                    let Some((_, theirs)) = other.stays.iter().find(|(name, _)| name == ring) else { continue };
                    let (a, b) = from_common_start(&mine.steps, &theirs.steps);
                    let shared = a.len().min(b.len());
                    let place = format!("ring {ring}: {} and {}", one.who, other.who);
                    assert_eq!(a[..shared], b[..shared], "{place}");
                    if mine.next.is_some() && mine.next == theirs.next {
                        assert_eq!(a.len(), b.len(), "{place}");
                        assert_eq!(mine.left, theirs.left, "{place}");
                        together += 1;
                    } else if mine.next.is_some() && theirs.next.is_some() {
                        apart += 1;
                        longer += usize::from(a.len() != b.len());
                    }
                }
            }
        }
    }
    assert!(together > 20 && apart > 20, "{together} {apart}");
    assert!(longer > 0, "no trace shows a side that has seen more than the other before they parted");
}

/// A process that joined a ring later has missed its beginning: both lists from the first step that both have.
fn from_common_start<'a>(one: &'a [Step], other: &'a [Step]) -> (&'a [Step], &'a [Step]) {
    let start = |whole: &'a [Step], first: Option<&Step>| {
        first.and_then(|first| whole.iter().position(|step| step == first)).map(|at| &whole[at..])
    };
    if let Some(rest) = start(one, other.first()) {
        (rest, other)
    } else if let Some(rest) = start(other, one.first()) {
        (one, rest)
    } else {
        (&[], &[])
    }
}

#[test]
fn messages_are_delivered_in_a_later_ring_than_the_one_they_were_sent_in() {
    // The reason why a message that depends on a view must name it.
    let mut late = 0;
    for (_, events) in all_lives() {
        let us = member(&events[0]["local"]);
        let (mut ring, mut sent_in) = (0, BTreeMap::new());
        for event in &events {
            match event["event"].as_str().unwrap() {
                "ring" => ring = event["ring"][1].as_u64().unwrap(),
                "sent" => {
                    for number in event["first"].as_u64().unwrap()..=event["last"].as_u64().unwrap() {
                        sent_in.insert(number, ring);
                    }
                }
                "delivered" => {
                    late += messages(event)
                        .into_iter()
                        .filter(|(from, number)| *from == us && sent_in.get(number).is_some_and(|sent| *sent < ring))
                        .count();
                }
                _ => {}
            }
        }
    }
    assert!(late > 100, "{late}");
}
