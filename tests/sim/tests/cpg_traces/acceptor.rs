//! Whether the model of corosync (`sim::cpg`) can tell the processes exactly what a trace says they were told.
//!
//! The trace says what befell the hosts, what was sent, and which rings there were; everything that corosync chooses is
//! searched for: who gets the next place in the order, how much of a broken ring each side still receives. The model itself
//! is driven; nothing here says what corosync does. What is pruned is only what the model could not lead out of again.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use engine::{GroupMember, LeftReason};
use shared::ids::NodeId;
use sim::cpg::{Cpg, Item, Told};

use crate::trace::{Heard, Number, Ring, Step, Trace};

/// A search that needs more states than this is given up loudly; the recorded stories need less than a tenth.
const STATES_MAX: usize = 200_000;

/// Finds a run of the model that tells what the trace says; the error names the furthest point that was reached.
pub(crate) fn accept(trace: &Trace) -> Result<(), String> {
    let mut rings: BTreeMap<NodeId, Vec<Ring>> = BTreeMap::new();
    for ring in trace.rings() {
        for node in &ring.members {
            rings.entry(*node).or_default().push(ring.clone());
        }
    }
    let plan = Plan { trace, rings };
    let mut seen = HashSet::new();
    let mut furthest = (0, String::from("nothing fits"));
    let mut open = vec![Run::default()];
    while let Some(mut run) = open.pop() {
        if let Err(why) = run.go_on(&plan) {
            furthest = furthest.max((run.progress(), why));
            continue;
        }
        if run.is_done(&plan) {
            return Ok(());
        }
        if !seen.insert(run.fingerprint()) {
            continue;
        }
        if seen.len() > STATES_MAX {
            return Err(format!("{}: the search was given up; furthest: {}", trace.name, furthest.1));
        }
        let next = run.choices(&plan);
        if next.is_empty() {
            furthest = furthest.max((run.progress(), run.describe(&plan)));
        }
        open.extend(next);
    }
    Err(format!("{}: {}", trace.name, furthest.1))
}

struct Plan<'a> {
    trace: &'a Trace,
    /// The rings of each node in their order.
    rings: BTreeMap<NodeId, Vec<Ring>>,
}

impl Plan<'_> {
    fn steps(&self, node: NodeId) -> &[Step] {
        &self.trace.steps[&node]
    }
}

/// A run of the model up to some point.
#[derive(Clone, Default)]
struct Run {
    cpg: Cpg<Number>,
    /// How many of its steps each host has done.
    done: BTreeMap<NodeId, usize>,
    /// How many of its rings each host has been in.
    rings: BTreeMap<NodeId, usize>,
}

impl Run {
    fn step<'a>(&self, plan: &'a Plan<'_>, node: NodeId) -> Option<&'a Step> {
        plan.steps(node).get(self.done.get(&node).copied().unwrap_or(0))
    }

    fn advance(&mut self, node: NodeId) {
        *self.done.entry(node).or_default() += 1;
    }

    fn progress(&self) -> usize {
        self.done.values().sum()
    }

    fn is_done(&self, plan: &Plan<'_>) -> bool {
        // A host that goes off last of all waits for a ring that nobody forms.
        plan.trace.steps.keys().all(|&node| matches!(self.step(plan, node), None | Some(Step::Off)))
    }

    /// Does all that leaves no choice.
    fn go_on(&mut self, plan: &Plan<'_>) -> Result<(), String> {
        loop {
            let mut moved = false;
            for &node in plan.trace.steps.keys() {
                while self.perform(plan, node) {
                    moved = true;
                }
                while self.expects(plan, node) && self.fits_next(plan, node) {
                    self.cpg.receive(node, 1);
                    self.hear(plan, node)?;
                    moved = true;
                }
            }
            if !moved && !self.order_what_all_want(plan) {
                return Ok(());
            }
        }
    }

    /// Does the next step of the host, if that is a deed.
    fn perform(&mut self, plan: &Plan<'_>, node: NodeId) -> bool {
        match self.step(plan, node) {
            Some(Step::Join(member)) => {
                // As late as may be: in the ring it will be told of.
                let ring = plan.steps(node)[self.done.get(&node).copied().unwrap_or(0)..].iter().find_map(heard_ring);
                if ring.is_none_or(|ring| self.current(plan, node) != Some(ring)) {
                    return false;
                }
                self.cpg.join(*member);
            }
            Some(Step::Send(number)) => self.cpg.multicast(node, Arc::new(*number)),
            Some(Step::Leave(member)) => self.cpg.leave(*member, LeftReason::Leave),
            Some(Step::Killed(member)) => self.cpg.leave(*member, LeftReason::ProcessDown),
            Some(Step::Hear(_) | Step::ShutDown | Step::Off) | None => return false,
        }
        self.advance(node);
        true
    }

    fn current<'a>(&self, plan: &'a Plan<'_>, node: NodeId) -> Option<&'a Ring> {
        let count = self.rings.get(&node).copied().unwrap_or(0);
        self.cpg.ring(node)?;
        plan.rings.get(&node)?.get(count.checked_sub(1)?)
    }

    /// Whether the process here is still to hear anything.
    fn expects(&self, plan: &Plan<'_>, node: NodeId) -> bool {
        matches!(self.step(plan, node), Some(Step::Hear(_)))
    }

    fn fits_next(&self, plan: &Plan<'_>, node: NodeId) -> bool {
        self.cpg.next_item(node).is_some_and(|item| self.fits(plan, node, item))
    }

    /// Whether what the process would be told of this is what it has to hear next.
    fn fits(&self, plan: &Plan<'_>, node: NodeId, item: &Item<Number>) -> bool {
        let told = self.cpg.would_tell(node, item);
        let mut steps = plan.steps(node)[self.done.get(&node).copied().unwrap_or(0)..]
            .iter()
            .filter(|step| !matches!(step, Step::Send(_)));
        told.iter().all(|told| matches!(steps.next(), Some(Step::Hear(heard)) if is(told, heard)))
    }

    /// The process takes all that it is told, which must be what the trace says.
    fn hear(&mut self, plan: &Plan<'_>, node: NodeId) -> Result<(), String> {
        while self.cpg.has_told(node) {
            while self.perform(plan, node) {}
            let Some((_, told)) = self.cpg.take_told(node) else { break };
            match self.step(plan, node) {
                Some(Step::Hear(heard)) if is(&told, heard) => self.advance(node),
                // A process that was killed, or whose corosync died, may not have come to what was there for it.
                None | Some(Step::ShutDown | Step::Off) => {}
                other => return Err(format!("n{node} is told {told:?}, but the trace says {other:?}")),
            }
        }
        while self.perform(plan, node) {}
        Ok(())
    }

    /// If one item is what everybody in the ring has to hear next, it is ordered.
    fn order_what_all_want(&mut self, plan: &Plan<'_>) -> bool {
        for node in self.candidates(plan) {
            let Some(item) = self.cpg.next_outgoing(node) else { continue };
            let members = self.cpg.ring(node).map(|(_, members)| members.to_vec()).unwrap_or_default();
            let all = members.iter().all(|&member| {
                !self.is_in_group(member) || (self.cpg.behind(member) == 0 && self.fits(plan, member, item))
            });
            if all {
                self.cpg.order(node, 1);
                return true;
            }
        }
        false
    }

    fn is_in_group(&self, node: NodeId) -> bool {
        let probe = |process| Item::Message { from: process, message: Arc::new((process, 0)) };
        self.cpg.process(node).is_some_and(|process| !self.cpg.would_tell(node, &probe(process)).is_empty())
    }

    /// Nodes whose next item somebody has to hear next, or nobody at all; those first that most have to hear.
    fn candidates(&self, plan: &Plan<'_>) -> Vec<NodeId> {
        let mut found: Vec<(usize, NodeId)> = Vec::new();
        for &node in plan.trace.steps.keys() {
            let Some(item) = self.cpg.next_outgoing(node).filter(|_| self.cpg.is_whole(node)) else { continue };
            let members = self.cpg.ring(node).map(|(_, members)| members).unwrap_or_default();
            let hear = |member: &&NodeId| !self.cpg.would_tell(**member, item).is_empty();
            let want = |member: &&NodeId| {
                self.cpg.behind(**member) == 0 && self.expects(plan, **member) && self.fits(plan, **member, item)
            };
            let wanting = members.iter().filter(hear).filter(want).count();
            if wanting > 0 || !members.iter().any(|member| hear(&member)) {
                found.push((wanting, node));
            }
        }
        found.sort_by_key(|(wanting, _)| std::cmp::Reverse(*wanting));
        found.into_iter().map(|(_, node)| node).collect()
    }

    /// The runs that may follow, the likeliest last.
    fn choices(&self, plan: &Plan<'_>) -> Vec<Self> {
        let mut runs = Vec::new();
        for ring in plan.trace.rings() {
            if self.may_form(plan, &ring) {
                runs.extend(self.form(plan, &ring));
            }
        }
        for &node in plan.trace.steps.keys() {
            if self.step(plan, node) == Some(&Step::ShutDown) {
                runs.extend((0..=self.cpg.outgoing(node)).map(|keep| {
                    let mut run = self.clone();
                    run.cpg.shut_down(node, keep);
                    run.advance(node);
                    run
                }));
            }
        }
        for node in self.candidates(plan).into_iter().rev() {
            let mut run = self.clone();
            run.cpg.order(node, 1);
            if run.can_all_go_on(plan) {
                runs.push(run);
            }
        }
        runs
    }

    /// Nobody whose ring goes on past what it has to hear next waits for something that can no longer come: after a gap only
    /// what those of its next ring sent is received.
    fn can_all_go_on(&self, plan: &Plan<'_>) -> bool {
        plan.trace.steps.keys().all(|&node| {
            self.cpg.next_item(node).is_none() || self.fits_next(plan, node) || self.only_own_is_left(plan, node)
        })
    }

    fn only_own_is_left(&self, plan: &Plan<'_>, node: NodeId) -> bool {
        let Some(steps) = plan.steps(node).get(self.done.get(&node).copied().unwrap_or(0)..) else { return true };
        let heard: Vec<&Heard> = steps
            .iter()
            .take_while(|step| !matches!(step, Step::Join(_)))
            .filter_map(|step| if let Step::Hear(heard) = step { Some(heard) } else { None })
            .collect();
        let Some(at) = heard.iter().position(|heard| matches!(heard, Heard::Ring(_))) else { return heard.is_empty() };
        let Heard::Ring(next) = heard[at] else { return false };
        heard[..at].iter().all(|heard| match heard {
            Heard::Message((from, _)) => next.members.contains(&from.node),
            Heard::Membership { .. } | Heard::Ring(_) => true,
        })
    }

    /// Whether this is the next ring of all its members, and none has anything to hear first.
    fn may_form(&self, plan: &Plan<'_>, ring: &Ring) -> bool {
        ring.members.iter().all(|&node| {
            let count = self.rings.get(&node).copied().unwrap_or(0);
            if plan.rings[&node].get(count) != Some(ring) {
                return false;
            }
            let steps = &plan.steps(node)[self.done.get(&node).copied().unwrap_or(0)..];
            match steps.first() {
                None | Some(Step::ShutDown | Step::Off | Step::Join(_)) => {
                    // The process that will be told of this ring, if any, is yet to come.
                    steps.iter().find_map(heard_ring).is_none_or(|heard| heard >= ring)
                }
                _ => {
                    self.only_own_is_left(plan, node)
                        && steps.iter().find_map(heard_ring).is_none_or(|heard| heard == ring)
                }
            }
        })
    }

    /// The ring is formed, in each way in which the old ones may have ended.
    fn form(&self, plan: &Plan<'_>, ring: &Ring) -> Vec<Self> {
        let mut before = self.clone();
        before.switch_off(plan, ring);
        for &node in &ring.members {
            if !before.cpg.is_up(node) {
                before.cpg.start(node);
            }
            *before.rings.entry(node).or_default() += 1;
        }
        let mut runs = Vec::new();
        // Counts up like an odometer whose wheels have the sizes that the model asks for.
        let mut wheels: Vec<(usize, usize)> = Vec::new();
        loop {
            let mut run = before.clone();
            let mut at = 0;
            let asked = &mut wheels;
            let choose = |bound: usize| {
                if at == asked.len() {
                    asked.push((0, bound));
                }
                at += 1;
                asked[at - 1].0
            };
            let least = ring.members.iter().filter_map(|node| before.cpg.seq(*node)).max().unwrap_or(0) + 4;
            let Some(skipped) = ring.seq.checked_sub(least) else { return runs };
            run.cpg.form_ring(&ring.members, skipped, choose);
            let formed = run.cpg.ring(ring.members[0]).map(|(id, _)| id.node) == Some(ring.node);
            if formed && ring.members.iter().all(|&node| run.hear(plan, node).is_ok()) {
                runs.push(run);
            }
            let Some(turned) = wheels.iter().rposition(|(value, size)| value + 1 < *size) else { return runs };
            wheels.truncate(turned + 1);
            wheels[turned].0 += 1;
        }
    }

    /// Hosts whose last hour had come when this ring was formed: they were in an old ring of its members, or are in it anew.
    fn switch_off(&mut self, plan: &Plan<'_>, ring: &Ring) {
        let old: BTreeSet<NodeId> = ring
            .members
            .iter()
            .filter_map(|node| self.cpg.ring(*node))
            .flat_map(|(_, members)| members.to_vec())
            .collect();
        for node in old {
            if self.step(plan, node) == Some(&Step::Off) {
                self.cpg.stop(node);
                self.advance(node);
            }
        }
    }

    fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.done, &self.rings).hash(&mut hasher);
        for node in self.done.keys() {
            self.cpg.behind(*node).hash(&mut hasher);
            self.cpg.ring(*node).map(|(id, _)| id).hash(&mut hasher);
            for item in self.cpg.ordered(*node) {
                let number = if let Item::Message { message, .. } = item { **message } else { (member_of(item), 0) };
                number.hash(&mut hasher);
            }
        }
        hasher.finish()
    }

    fn describe(&self, plan: &Plan<'_>) -> String {
        let waits = plan.trace.steps.keys().filter_map(|node| {
            let step = self.step(plan, *node)?;
            let sends = self.cpg.next_outgoing(*node);
            Some(format!("n{node} in {:?} waits for {step:?}, has to send {sends:?}", self.cpg.ring(*node)))
        });
        waits.collect::<Vec<_>>().join("; ")
    }
}

fn heard_ring(step: &Step) -> Option<&Ring> {
    match step {
        Step::Hear(Heard::Ring(ring)) => Some(ring),
        _ => None,
    }
}

fn member_of(item: &Item<Number>) -> GroupMember {
    match item {
        Item::Message { from, .. } => *from,
        Item::Join(member) | Item::Leave(member, _) => *member,
    }
}

/// Whether what the model told is what was heard.
fn is(told: &Told<Number>, heard: &Heard) -> bool {
    match (told, heard) {
        (Told::Message { from, message }, Heard::Message(number)) => **message == *number && *from == number.0.node,
        (Told::Ring { seq, members }, Heard::Ring(ring)) => *seq == ring.seq && *members == ring.members,
        (
            Told::Membership { members, left, joined },
            Heard::Membership { members: heard, left: heard_left, joined: heard_joined },
        ) => {
            let sorted = |list: &[GroupMember]| list.iter().copied().collect::<BTreeSet<_>>();
            let mut left = left.clone();
            left.sort_by_key(|(member, _)| *member);
            sorted(members) == sorted(heard) && left == *heard_left && sorted(joined) == sorted(heard_joined)
        }
        _ => false,
    }
}
