//! What would come of something: the shared state is copied, the assumption made on the copy, and the policy asked again and again
//! what it would decide, every decision held against the law and carried out by agents and fence devices that succeed at once.
//!
//! The same functions that decide in earnest; nothing leaves this room but the prediction.

use std::collections::{BTreeMap, BTreeSet};

use shared::conf::model::Conf;
use shared::ids::{NodeId, NodeName, RequestId, ServiceName, Time};
use shared::status::{Answer, Fact, FactKind, FactSeverity, Reason, Refusal, Request, Subject};
use shared::text::{ResultCode, ServiceState};
use shared::why::{Assumption, PredictedChange, Prediction};

use crate::coordinator::{self, Local, LossSeen};
use crate::engine::{Engine, Joined};
use crate::event::LeftReason;
use crate::law::Proposal;
use crate::message::{Decide, FenceReport, Report, ReportOutcome, ViewTag};
use crate::replicated::{Folded, Record, Replicated, node_name};

/// After so many rounds the policy is going in circles, which is worth seeing, but not for ever.
const ROUNDS_MAX: usize = 200;

/// How far ahead it is looked for what only time brings (delays of fencing).
const HORIZON_MS: u64 = 120_000;

impl Engine {
    /// What would come of `assumption` now.
    pub fn predict(&self, now: Time, assumption: &Assumption) -> Prediction {
        let Some(joined) = &self.joined else {
            let text = "this node has not joined the cluster yet; ask another member".to_owned();
            return refused(Refusal { code: ResultCode::TryAgain, text });
        };
        if !self.is_quorate() {
            let text = "the members in reach are not enough; see clustat".to_owned();
            return refused(Refusal { code: ResultCode::NeedsQuorum, text });
        }
        let mut imagined = Imagined::of(joined, self, now);
        let refusal = match assumption {
            Assumption::Request { command } => imagined.request(self.me, command.clone()),
            Assumption::NodeLost { node } => imagined.lose(node),
        };
        match refusal {
            Some(refusal) => refused(refusal),
            None => imagined.go_on(joined),
        }
    }
}

fn refused(refusal: Refusal) -> Prediction {
    Prediction { refused: Some(refusal), steps: Vec::new(), changes: Vec::new() }
}

struct Imagined<'a> {
    state: Replicated,
    conf: &'a Conf,
    engine: &'a Engine,
    now: Time,
    until: Time,
    losses: BTreeMap<NodeId, LossSeen>,
    ring: Vec<NodeId>,
    steps: Vec<Fact>,
}

impl<'a> Imagined<'a> {
    fn of(joined: &'a Joined, engine: &'a Engine, now: Time) -> Self {
        let mut state = joined.state.clone();
        // What is on offer comes into force whatever is asked here, and has a preview of its own.
        state.offer = None;
        Self {
            state,
            conf: &joined.conf,
            engine,
            now,
            until: now.plus_ms(HORIZON_MS),
            losses: engine.losses.clone(),
            ring: engine.ring.members.clone(),
            steps: Vec::new(),
        }
    }

    fn change(&mut self, change: impl FnOnce(&mut Replicated, &Conf, &mut Folded)) -> Folded {
        let mut folded = Folded::default();
        change(&mut self.state, self.conf, &mut folded);
        self.steps.append(&mut folded.facts);
        folded
    }

    fn request(&mut self, me: NodeId, command: shared::status::Command) -> Option<Refusal> {
        let request = Request { id: RequestId("prediction".into()), command, origin: "you".into() };
        let at = self.now;
        let folded = self.change(|state, conf, folded| state.fold_request(at, conf, me, &request, folded));
        folded.answers.into_iter().find_map(|(_, answer)| match answer {
            Answer::Refused(refusal) => Some(refusal),
            Answer::Accepted => None,
        })
    }

    fn lose(&mut self, node: &NodeName) -> Option<Refusal> {
        let id = self.conf.node(node).map(|node| node.id).filter(|id| self.state.members.contains_key(id));
        let Some(id) = id else {
            let text = format!("{node} is not a member of the cluster now");
            return Some(Refusal { code: ResultCode::Failure, text });
        };
        self.ring.retain(|other| *other != id);
        self.losses.insert(id, LossSeen { at: self.now, reason: LeftReason::NodeDown });
        let at = self.now;
        self.change(|state, conf, folded| state.fold_membership(at, conf, ViewTag(0), &[id], folded));
        None
    }

    fn go_on(mut self, before: &Joined) -> Prediction {
        if !has_quorum(self.conf, &self.state) {
            return self.stop_everything(before);
        }
        for _ in 0..ROUNDS_MAX {
            let plan = coordinator::plan(
                &self.state,
                self.conf,
                &Local { now: self.now, losses: &self.losses, flights: &BTreeSet::new(), ring: &self.ring },
            );
            let decided = plan.decisions.into_iter().filter(|(decision, reason)| self.decide(decision, reason)).count();
            let reported = self.report();
            match plan.wake_at.filter(|at| *at > self.now && *at <= self.until) {
                _ if decided > 0 || reported => {}
                Some(at) => self.now = at,
                None => break,
            }
        }
        let changes = changes(before, &self.state);
        Prediction { refused: None, steps: self.steps, changes }
    }

    fn decide(&mut self, decision: &crate::message::Decision, reason: &Reason) -> bool {
        let from = self.state.coordinator().unwrap_or(self.engine.me);
        let decide = Decide {
            view: ViewTag(0),
            branch: self.state.branch,
            at: self.now,
            joins: self.state.joins,
            decision: decision.clone(),
            reason: reason.clone(),
        };
        if (self.engine.law)(&self.state, Proposal::Decide(from, &decide)).is_err() {
            return false;
        }
        self.change(|state, conf, folded| state.fold_decide(conf, &decide, folded));
        true
    }

    /// Everybody has done what the state asks for.
    fn report(&mut self) -> bool {
        let at = self.now;
        let due: Vec<(ServiceName, NodeId, ReportOutcome)> = self
            .state
            .services
            .iter()
            .filter_map(|(name, record)| Some((name.clone(), record.holder?, outcome(record.state)?)))
            .collect();
        let fences: Vec<(NodeId, NodeId, u32)> = self
            .state
            .lost
            .iter()
            .filter_map(|(&victim, lost)| lost.running.map(|(by, _)| (victim, by, lost.attempt)))
            .collect();
        let mut reported = false;
        for (service, holder, outcome) in due {
            let Some(incarnation) = self.state.members.get(&holder).map(|member| member.incarnation) else { continue };
            let Some(epoch) = self.state.services.get(&service).map(|record| record.epoch) else { continue };
            let report = Report { at, incarnation, service, epoch, outcome };
            self.change(|state, conf, folded| state.fold_report(conf, holder, &report, folded));
            reported = true;
        }
        for (victim, by, attempt) in fences {
            let report =
                FenceReport { at, victim, attempt, succeeded: true, devices: Vec::new(), witnessed_gone: true };
            self.change(|state, conf, folded| state.fold_fence_report(conf, by, &report, folded));
            reported = true;
        }
        reported
    }

    /// Without quorum nobody decides anything; every service that runs is stopped.
    fn stop_everything(mut self, before: &Joined) -> Prediction {
        let text = "Quorum Dissolved: services are stopped, and nothing starts before enough nodes are back".to_owned();
        self.steps.push(Fact {
            at: self.now,
            subject: Subject::Cluster,
            severity: FactSeverity::Warning,
            kind: FactKind::QuorumLost,
            text,
            reason: Some(Reason::NotQuorate),
        });
        let changes = before.state.services.iter().filter(|(_, record)| record.holder.is_some());
        let changes = changes
            .map(|(name, record)| PredictedChange {
                service: name.clone(),
                from: shown(&before.conf, record),
                to: (ServiceState::Stopped, None),
                reason: Reason::NotQuorate,
            })
            .collect();
        Prediction { refused: None, steps: self.steps, changes }
    }
}

fn outcome(state: ServiceState) -> Option<ReportOutcome> {
    match state {
        ServiceState::Starting => Some(ReportOutcome::Started),
        ServiceState::Stopping | ServiceState::Recoverable => Some(ReportOutcome::Stopped),
        _ => None,
    }
}

fn changes(before: &Joined, after: &Replicated) -> Vec<PredictedChange> {
    let now = before.state.services.iter().map(|(name, record)| (name, shown(&before.conf, record)));
    now.filter_map(|(name, from)| {
        let record = after.services.get(name)?;
        let to = shown(&before.conf, record);
        (from != to).then(|| PredictedChange { service: name.clone(), from, to, reason: record.reason.clone() })
    })
    .collect()
}

fn shown(conf: &Conf, record: &Record) -> (ServiceState, Option<NodeName>) {
    (record.state, record.holder.map(|holder| node_name(conf, holder)))
}

/// Whether those who are left would be quorate, as votequorum counts (rhcs.md §6.2).
fn has_quorum(conf: &Conf, state: &Replicated) -> bool {
    let all: u32 = conf.nodes.iter().map(|node| node.votes).sum();
    let expected = conf.cman.votes_expected.unwrap_or(all);
    let here: u32 = conf.nodes.iter().filter(|node| state.members.contains_key(&node.id)).map(|node| node.votes).sum();
    if conf.cman.two_node { here > 0 } else { here > expected / 2 }
}
