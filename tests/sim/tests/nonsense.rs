//! What comes over the group is not always what a member sent: a bug, another release, another program in the group. Every kind of message that the
//! engine knows is kept in `fuzz/corpus/message`; here they and their mutations are handed to members on stable Rust, what `cargo fuzz` does without end on nightly.

#![expect(clippy::unwrap_used, reason = "a test stops where it cannot look")]

use std::path::PathBuf;

use sim::nonsense::{collect, deliver, kind_of, members, spoil};
use sim::rng::Rng;

/// Enough to meet every kind of message in every way of being spoilt; `NONSENSE=1000000` for a night.
const MUTATIONS: u64 = 20_000;

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
    let members = members();
    for (bytes, kind) in kept.iter().zip(&kinds) {
        assert!(
            deliver(&members, bytes),
            "the kept {kind} can no longer be read: a running cluster could not be upgraded"
        );
    }
}

#[test]
fn a_member_drops_or_survives_whatever_it_is_told() {
    let (members, kept) = (members(), kept());
    let mutations = std::env::var("NONSENSE").map_or(MUTATIONS, |count| count.parse().unwrap());
    let mut rng = Rng::new(7);
    let mut understood = 0;
    for _ in 0..mutations {
        let bytes = spoil(&mut rng, &kept);
        understood += u64::from(deliver(&members, &bytes));
    }
    assert!(
        understood > mutations / 20,
        "only {understood} of {mutations} could be read: this shows nothing of the engine"
    );
    assert!(understood < mutations, "nothing was ever dropped: this shows nothing of the decoder");
}
