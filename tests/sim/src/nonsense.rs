//! Messages that nobody means: whatever comes over the group, a member either cannot read it and drops it, or reads it and goes on. Used by the
//! test of the kept messages and their mutations, and by the fuzz target in `fuzz/`.

use std::collections::BTreeMap;

use engine::{Engine, Event, Message, law};
use shared::ids::{NodeId, Time};

use crate::conf::from_text;
use crate::params::Params;
use crate::rng::Rng;
use crate::sim::{EPOCH_MS, Sim, Task};

/// Members to try a message on: of a cluster of three that has formed, and one that knows nothing yet.
pub fn members() -> Vec<Engine> {
    let conf = from_text(include_str!("../../scenarios/conf/three-nodes.conf"));
    let mut sim = Sim::new(Params::calm(false), Rng::calm(), law::check, 3, &conf);
    for id in 1..=3 {
        sim.later(0, Task::Boot(NodeId(id)));
    }
    while sim.now < EPOCH_MS + 20_000 {
        sim.step();
    }
    let mut members: Vec<Engine> =
        sim.nodes.values().filter_map(|node| Some(node.daemon.as_ref()?.engine.clone())).collect();
    members.push(Engine::new(law::check));
    members
}

/// Hands the bytes to every member, as if another and as if a stranger had sent them. `false`: they are no message, and are dropped. Whoever
/// calls it watches for panics: there is nothing else that could go wrong.
pub fn deliver(members: &[Engine], bytes: &[u8]) -> bool {
    let Ok(message) = Message::decode(bytes) else { return false };
    let again = Message::decode(&message.encode());
    assert!(again.is_ok_and(|again| again == message), "what was read is written otherwise");
    let now = Time(EPOCH_MS + 30_000);
    for member in members {
        for from in [NodeId(1), NodeId(2), NodeId(77)] {
            let mut member = member.clone();
            member.handle(now, Event::Delivered { from, message: Box::new(message.clone()) });
            member.handle(now.plus_ms(1000), Event::TimePassed);
            let _ = (member.next_timeout(now), member.status(now));
        }
    }
    true
}

/// The kind of a message, e.g. `decide-start`, as the kept ones are named.
pub fn kind_of(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes.get(1..).unwrap_or_default()).into_owned();
    let word_after = |mark: &str| {
        let rest = &text[text.find(mark)? + mark.len()..];
        let rest = rest.trim_start_matches(['{', '"']);
        Some(rest.split('"').next().unwrap_or_default().to_owned())
    };
    let outer = word_after("{").unwrap_or_default();
    let inner = match outer.as_str() {
        "decide" => word_after("\"decision\":"),
        "report" => word_after("\"outcome\":"),
        "request" => word_after("\"command\":\""),
        _ => None,
    };
    inner.map_or(outer.clone(), |inner| format!("{outer}-{inner}"))
}

/// The first message of each kind that the lives of these seeds bring.
pub fn collect(seeds: std::ops::Range<u64>) -> BTreeMap<String, Vec<u8>> {
    let mut kept = BTreeMap::new();
    for seed in seeds {
        for bytes in crate::random::messages_of(seed) {
            kept.entry(kind_of(&bytes)).or_insert(bytes);
        }
    }
    kept
}

/// A message spoilt in one of the ways in which bytes are spoilt, or in which a program writes what it should not.
pub fn spoil(rng: &mut Rng, kept: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = kept[rng.index(kept.len())].clone();
    for _ in 0..=rng.below(3) {
        if bytes.is_empty() {
            return bytes;
        }
        let at = rng.index(bytes.len());
        match rng.below(8) {
            0 => bytes.truncate(at),
            1 => bytes[at] ^= 1 << rng.below(8),
            2 => bytes.insert(at, u8::try_from(rng.below(256)).unwrap_or(0)),
            3 => {
                bytes.remove(at);
            }
            4..=5 => replace_number(rng, &mut bytes, at),
            6 => {
                // The end of another message behind the beginning of this one.
                let other = &kept[rng.index(kept.len())];
                let from = rng.index(other.len().max(1));
                bytes.truncate(at);
                bytes.extend_from_slice(other.get(from..).unwrap_or_default());
            }
            _ => {
                let other = &kept[rng.index(kept.len())];
                replace_word(rng, &mut bytes, at, other);
            }
        }
    }
    bytes
}

/// The next number becomes one at the edge of what fits.
fn replace_number(rng: &mut Rng, bytes: &mut Vec<u8>, at: usize) {
    let Some(from) = bytes[at..].iter().position(u8::is_ascii_digit).map(|offset| at + offset) else { return };
    let to = bytes[from..].iter().position(|byte| !byte.is_ascii_digit()).map_or(bytes.len(), |offset| from + offset);
    let edges = ["0", "1", "255", "4294967295", "18446744073709551615", "9223372036854775808", "-1"];
    bytes.splice(from..to, edges[rng.index(edges.len())].bytes());
}

/// The next quoted word becomes one of another message.
fn replace_word(rng: &mut Rng, bytes: &mut Vec<u8>, at: usize, other: &[u8]) {
    let words: Vec<&[u8]> = other.split(|byte| *byte == b'"').skip(1).step_by(2).collect();
    if words.is_empty() {
        return;
    }
    let word = words[rng.index(words.len())].to_vec();
    let Some(from) = bytes[at..].iter().position(|byte| *byte == b'"').map(|offset| at + offset + 1) else { return };
    let Some(to) = bytes[from..].iter().position(|byte| *byte == b'"').map(|offset| from + offset) else { return };
    bytes.splice(from..to, word);
}
