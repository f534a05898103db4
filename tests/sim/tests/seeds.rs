//! Short random runs, and the proof that the simulator sees what it should see.

use sim::laws;
use sim::random::{Options, Verdict, run_seed};
use sim::rogue::Rogue;

fn first_violation(seeds: std::ops::Range<u64>, options: Options) -> Option<Verdict> {
    seeds.map(|seed| run_seed(seed, options)).find(|verdict| verdict.violation.is_some())
}

fn describe(verdict: &Verdict) -> String {
    let violation = verdict.violation.as_deref().unwrap_or_default();
    format!("seed {}, step {}: {violation}; look at it: sim --seed {0} --trace", verdict.seed, verdict.steps)
}

#[test]
fn a_cluster_survives_whatever_a_seed_brings() {
    if let Some(verdict) = first_violation(0..200, Options::default()) {
        panic!("{}", describe(&verdict));
    }
}

/// A guest that migrates is there for those who depend on it, and their explanation says so.
#[test]
fn who_depends_on_a_guest_that_migrates_is_explained_as_it_is_decided() {
    let verdict = run_seed(8137, Options::default());
    assert!(verdict.violation.is_none(), "{}", describe(&verdict));
}

#[test]
fn a_seed_runs_the_same_every_time() {
    for seed in 0..20 {
        let (first, second) = (run_seed(seed, Options::default()), run_seed(seed, Options::default()));
        assert_eq!((first.fingerprint, first.steps), (second.fingerprint, second.steps), "seed {seed}");
    }
}

#[test]
fn a_member_gone_wrong_does_no_harm_under_the_whole_law() {
    let options = Options { rogue: Some(Rogue(None)), ..Options::default() };
    if let Some(verdict) = first_violation(0..100, options) {
        panic!("{}", describe(&verdict));
    }
}

#[test]
fn a_law_with_a_hole_is_noticed() {
    for rule in 1..=7 {
        let law = laws::broken(rule).unwrap();
        let options = Options { law, rogue: Some(Rogue(u8::try_from(rule).ok())), ..Options::default() };
        assert!(first_violation(0..1000, options).is_some(), "rule {rule} can be taken out and nobody notices");
    }
}

#[test]
fn a_fence_agent_that_lies_does_no_harm_where_a_witness_is_required() {
    let believed = Options { lying_fences: true, ..Options::default() };
    assert!(first_violation(0..1000, believed).is_some(), "no seed has met a lie; this test shows nothing");
    if let Some(verdict) = first_violation(0..300, Options { require_witness: true, ..believed }) {
        panic!("{}; with --lying-fences --require-witness", describe(&verdict));
    }
}
