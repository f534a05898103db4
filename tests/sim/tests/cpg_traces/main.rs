//! The model of corosync that the simulator runs on, held against what three true corosync nodes told: every recorded story
//! must be one that the model can tell, and stories that no corosync tells must not be.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it says")]

mod acceptor;
mod trace;

use acceptor::accept;
use engine::{GroupMember, LeftReason};
use shared::ids::NodeId;
use sim::quorum::is_quorate;
use trace::{Heard, Ring, Step, Trace};

#[test]
fn the_model_can_tell_every_recorded_story() {
    let folders = trace::folders();
    assert!(folders.len() >= 19, "only {} stories were found", folders.len());
    let wrong: Vec<String> = folders.iter().filter_map(|folder| accept(&trace::read(folder)).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

fn refused(trace: &Trace, what: &str) {
    match accept(trace) {
        Ok(()) => panic!("{}: accepted although {what}", trace.name),
        Err(why) => assert!(!why.contains("given up"), "{what}: {why}"),
    }
}

fn message(step: &Step) -> Option<trace::Number> {
    match step {
        Step::Hear(Heard::Message(number)) => Some(*number),
        _ => None,
    }
}

/// Where a process hears the most messages without anything between them.
fn longest_run(steps: &[Step]) -> std::ops::Range<usize> {
    let mut longest = 0..0;
    let mut begin = None;
    for (at, step) in steps.iter().enumerate() {
        match step {
            Step::Hear(Heard::Message(_)) => {
                let begin = *begin.get_or_insert(at);
                if at + 1 - begin > longest.len() {
                    longest = begin..at + 1;
                }
            }
            _ => begin = None,
        }
    }
    longest
}

/// A node of every story: where it hears a message with others of all senders after it. `turn` shifts which node.
fn middles(turn: usize) -> Vec<(Trace, NodeId, usize)> {
    let mut found = Vec::new();
    for (index, folder) in trace::folders().iter().enumerate() {
        // Its rings may break in so many ways that it takes a minute to have tried them all.
        if folder.ends_with("split_busy") {
            continue;
        }
        let trace = trace::read(folder);
        let (&node, steps) = trace.steps.iter().nth((index + turn) % 3).unwrap();
        let run = longest_run(steps);
        if run.len() > 20 {
            found.push((trace, node, run.start + run.len() / 2));
        }
    }
    assert!(found.len() > 15, "only {} places were found", found.len());
    found
}

#[test]
fn a_message_lost_in_the_middle_is_refused() {
    for (mut trace, node, at) in middles(0) {
        trace.steps.get_mut(&node).unwrap().remove(at);
        refused(&trace, &format!("n{node} has lost a message"));
    }
}

#[test]
fn a_message_heard_twice_is_refused() {
    for (mut trace, node, at) in middles(1) {
        let steps = trace.steps.get_mut(&node).unwrap();
        steps.insert(at, steps[at].clone());
        refused(&trace, &format!("n{node} has heard a message twice"));
    }
}

#[test]
fn two_members_that_hear_in_different_orders_are_refused() {
    let mut tried = 0;
    for (mut trace, node, at) in middles(2) {
        let steps = trace.steps.get_mut(&node).unwrap();
        let from = |at: usize| message(&steps[at]).map(|(from, _)| from);
        let Some(at) =
            (at..at + 9).find(|&at| from(at).is_some() && from(at + 1).is_some() && from(at) != from(at + 1))
        else {
            continue;
        };
        steps.swap(at, at + 1);
        // Alone with these messages the process could have heard them so.
        let pair = [message(&steps[at]), message(&steps[at + 1])];
        let others = trace.steps.iter().filter(|(other, _)| **other != node);
        if others.flat_map(|(_, steps)| steps).any(|step| message(step).is_some() && pair.contains(&message(step))) {
            refused(&trace, &format!("n{node} has heard two messages the other way round"));
            tried += 1;
        }
    }
    assert!(tried > 12, "{tried}");
}

#[test]
fn a_message_that_nobody_sent_and_one_heard_before_it_was_sent_are_refused() {
    let mut trace = trace::named("power_off_busy");
    let own = |step: &Step| matches!(step, Step::Send((from, 50)) if from.node == NodeId(2));
    let steps = trace.steps.get_mut(&NodeId(2)).unwrap();
    let send = steps.iter().position(own).unwrap();
    let sent = steps.remove(send);
    refused(&trace, "2 never sent its 50th message");
    // After its own return at the earliest.
    let Step::Send(number) = sent else { panic!("a message is sent") };
    let steps = trace.steps.get_mut(&NodeId(2)).unwrap();
    let heard = steps.iter().position(|step| message(step) == Some(number)).unwrap();
    steps.insert(heard + 1, sent);
    refused(&trace, "2 sent its 50th message after it had come back");
}

fn is_loss_of(step: &Step, node: NodeId) -> bool {
    let lost = |(member, reason): &(GroupMember, LeftReason)| member.node == node && *reason == LeftReason::NodeDown;
    matches!(step, Step::Hear(Heard::Membership { left, .. }) if left.iter().any(lost))
}

#[test]
fn a_message_from_a_lost_node_is_refused() {
    for (story, node, lost) in
        [("power_off_lowest", 2, 1), ("power_off_highest", 1, 3), ("corosync_killed", 1, 2), ("last_word", 2, 1)]
    {
        let mut trace = trace::named(story);
        let (node, lost) = (NodeId(node), NodeId(lost));
        let steps = trace.steps.get_mut(&node).unwrap();
        let loss = steps.iter().position(|step| is_loss_of(step, lost)).unwrap();
        let mut numbers = steps[..loss].iter().filter_map(message).filter(|(from, _)| from.node == lost);
        let (from, last) = numbers.next_back().unwrap();
        let ring = loss + steps[loss..].iter().position(|step| matches!(step, Step::Hear(Heard::Ring(_)))).unwrap();
        steps.insert(ring + 1, Step::Hear(Heard::Message((from, last + 1))));
        refused(&trace, &format!("n{node} has heard n{lost} after its loss"));
    }
}

#[test]
fn members_that_go_on_together_with_different_ends_are_refused() {
    for story in ["power_off_busy", "split_1_23", "last_word", "hang", "corosync_killed"] {
        let mut trace = trace::named(story);
        let steps = trace.steps.get_mut(&NodeId(3)).unwrap();
        let change = steps.iter().position(|step| is_loss_of(step, NodeId(1)) || is_loss_of(step, NodeId(2))).unwrap();
        let last = steps[..change].iter().rposition(|step| message(step).is_some()).unwrap();
        steps.remove(last);
        refused(&trace, "n3 has missed the last message before a loss that it shared with another");
    }
}

#[test]
fn comings_and_goings_told_in_two_orders_are_refused() {
    // 1 leaves before 2; 3 is told so the other way round.
    let mut trace = trace::named("clean_leave");
    let steps = trace.steps.get_mut(&NodeId(3)).unwrap();
    let leaves = |node: u32| {
        let gone = move |(member, _): &(GroupMember, LeftReason)| member.node == NodeId(node);
        move |step: &Step| matches!(step, Step::Hear(Heard::Membership { left, .. }) if left.iter().any(gone))
    };
    let first = steps.iter().rposition(leaves(1)).unwrap();
    let second = steps.iter().rposition(leaves(2)).unwrap();
    let (
        Step::Hear(Heard::Membership { left: one, members: all, .. }),
        Step::Hear(Heard::Membership { left: two, members: last, .. }),
    ) = (steps[first].clone(), steps[second].clone())
    else {
        panic!("both are memberships")
    };
    let between: Vec<GroupMember> = last.iter().copied().chain(one.iter().map(|(member, _)| *member)).collect();
    assert_eq!((all.len(), between.len()), (2, 2));
    steps[first] = Step::Hear(Heard::Membership { members: between, left: two, joined: Vec::new() });
    steps[second] = Step::Hear(Heard::Membership { members: last, left: one, joined: Vec::new() });
    refused(&trace, "3 was told of two leavings the other way round");
}

#[test]
fn a_loss_without_its_membership_and_one_that_is_told_in_two_events_are_refused() {
    let original = trace::named("two_lost_in_a_row");
    let loss = |steps: &[Step]| steps.iter().position(|step| is_loss_of(step, NodeId(2))).unwrap();
    let mut silent = original.clone();
    let steps = silent.steps.get_mut(&NodeId(1)).unwrap();
    let at = loss(steps);
    steps.remove(at);
    refused(&silent, "n1 has not been told of the loss that came with a ring");

    let mut apart = original;
    let steps = apart.steps.get_mut(&NodeId(1)).unwrap();
    let at = loss(steps);
    let Step::Hear(Heard::Membership { members, left, .. }) = steps[at].clone() else { panic!("it is a membership") };
    let (one, other) = (left[0], left[1]);
    let with = members.iter().copied().chain([other.0]).collect();
    steps[at] = Step::Hear(Heard::Membership { members, left: vec![other], joined: Vec::new() });
    steps.insert(at, Step::Hear(Heard::Membership { members: with, left: vec![one], joined: Vec::new() }));
    refused(&apart, "n1 has been told of two losses of one ring in two events");
}

#[test]
fn a_ring_told_otherwise_to_one_of_its_members_is_refused() {
    let mut trace = trace::named("cut_past_token");
    let steps = trace.steps.get_mut(&NodeId(2)).unwrap();
    let ring = steps.iter_mut().rev().find_map(|step| match step {
        Step::Hear(Heard::Ring(ring)) => Some(ring),
        _ => None,
    });
    ring.unwrap().seq -= 1;
    refused(&trace, "n2 was told another number of the ring it shares");
}

/// What `sim::quorum` claims about the words on quorum, on every life in every story.
#[test]
fn quorum_is_told_in_the_order_of_rings_as_the_model_counts_it() {
    let mut words = 0;
    for folder in trace::folders() {
        let trace = trace::read(&folder);
        for (node, life) in trace.lives.iter().flat_map(|(node, lives)| lives.iter().map(move |life| (*node, life))) {
            let place = format!("{}, n{node}", trace.name);
            let told: Vec<u64> = life.quorum.iter().map(|word| word.ring_seq).collect();
            assert!(told.is_sorted_by(|one, next| one < next), "{place}: {told:?}");
            for word in &life.quorum {
                let ring: Option<&Ring> = life.rings.iter().find(|ring| ring.seq == word.ring_seq);
                let ring = ring.unwrap_or_else(|| panic!("{place}: ring {} is not one of its own", word.ring_seq));
                assert_eq!(ring.members, word.members, "{place}");
                assert_eq!(word.quorate, is_quorate(ring.members.len(), 3, false, true), "{place}: {word:?}");
                words += 1;
            }
            let last = life.rings.last().map(|ring| ring.seq);
            if life.left {
                assert_eq!(told.last().copied(), last, "{place}: who lives in peace hears of its last ring");
            }
        }
    }
    assert!(words > 150, "{words}");
}
