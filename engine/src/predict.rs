//! What would come of something: the shared state is copied, the assumption made on the copy, and the policy asked again and again
//! what it would decide, every decision held against the law and carried out by agents and fence devices that succeed at once.
//!
//! The same functions that decide in earnest; nothing leaves this room but the prediction.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use shared::conf::model::Conf;
use shared::ids::{NodeId, NodeName, RequestId, Time};
use shared::status::{Answer, Fact, FactKind, FactSeverity, Reason, Refusal, Request, Subject};
use shared::text::{ResultCode, ServiceState};
use shared::why::{Assumption, PredictedChange, Prediction};

use crate::coordinator::{self, Local, LossSeen};
use crate::engine::{Engine, Joined};
use crate::event::LeftReason;
use crate::law::Proposal;
use crate::message::{ConfText, Decide, FenceReport, Report, ReportOutcome, ViewTag};
use crate::record::Record;
use crate::replicated::{Folded, Replicated, node_name};

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
            Assumption::Conf { text } => imagined.switch(text),
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
    conf: Arc<Conf>,
    engine: &'a Engine,
    now: Time,
    until: Time,
    losses: BTreeMap<NodeId, LossSeen>,
    quorum_regained: Option<Time>,
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
            conf: Arc::clone(&joined.conf),
            engine,
            now,
            until: now.plus_ms(HORIZON_MS),
            losses: engine.losses.clone(),
            quorum_regained: engine.quorum_regained,
            ring: engine.ring.members.clone(),
            steps: Vec::new(),
        }
    }

    fn change(&mut self, change: impl FnOnce(&mut Replicated, &Conf, &mut Folded)) -> Folded {
        let mut folded = Folded::default();
        change(&mut self.state, &self.conf, &mut folded);
        self.state.note_steps(&self.conf, &mut folded);
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

    /// A configuration comes into force on all members. What would refuse it when it is offered refuses it here.
    fn switch(&mut self, text: &str) -> Option<Refusal> {
        let refuse = |text: String| Some(Refusal { code: ResultCode::Failure, text });
        let conf = match self.state.accept(&self.conf, text) {
            Ok(conf) => conf,
            Err(why) => return refuse(why),
        };
        let in_force = self.state.conf.version;
        if conf.version <= in_force {
            return refuse(format!("version {} is not newer than version {in_force}, which is in force", conf.version));
        }
        self.steps.push(Fact {
            at: self.now,
            subject: Subject::Cluster,
            severity: FactSeverity::Info,
            kind: FactKind::ConfInForce,
            text: format!("Configuration {} is in force", conf.version),
            reason: None,
        });
        let digest = shared::conf::digest(text);
        self.state.conf = ConfText { version: conf.version, digest, text: text.to_owned() };
        self.conf = Arc::new(conf);
        self.change(|state, conf, folded| state.fold_conf_in_force(conf, folded));
        None
    }

    fn go_on(mut self, before: &Joined) -> Prediction {
        if !self.has_quorum() {
            return self.stop_everything(before);
        }
        for _ in 0..ROUNDS_MAX {
            let plan = coordinator::plan(
                &self.state,
                &self.conf,
                &Local {
                    now: self.now,
                    losses: &self.losses,
                    flights: &BTreeSet::new(),
                    ring: &self.ring,
                    quorum_regained: self.quorum_regained,
                },
            );
            let decided = plan.decisions.into_iter().filter(|(decision, reason)| self.decide(decision, reason)).count();
            let reported = self.report();
            match plan.wake_at.filter(|at| *at <= self.until) {
                _ if decided > 0 || reported => {}
                Some(at) => self.now = at,
                None => break,
            }
        }
        let changes = changes(before, &self.state, &self.conf);
        Prediction { refused: None, steps: self.steps, changes }
    }

    /// Whether those who are left would be quorate, as votequorum counts (rhcs.md §6.2): by the expected votes that corosync goes by
    /// now, which an operator may have changed and nodes that left may have lowered, unless the configuration is what changes. The
    /// quorum device is taken to vote for them, as agents are taken to succeed.
    fn has_quorum(&self) -> bool {
        let conf = &self.conf;
        let same_conf = self.engine.replicated().is_some_and(|state| state.conf.version == self.state.conf.version);
        let said = self.engine.quorum.and_then(|said| said.votes_expected).filter(|_| same_conf);
        let expected = said.or(conf.cman.votes_expected).unwrap_or_else(|| conf.votes());
        let present = conf.nodes.iter().filter(|node| self.state.members.contains_key(&node.id));
        let nodes: u32 = present.map(|node| node.votes).sum();
        let device = conf.qdevice.as_ref().map_or(0, |device| device.votes_of(conf.nodes.len()));
        if conf.cman.two_node && conf.qdevice.is_none() {
            nodes > 0
        } else {
            nodes > 0 && nodes + device > expected / 2
        }
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
        let due: Vec<(NodeId, Report)> = self
            .state
            .services
            .iter()
            .filter_map(|(name, record)| {
                let outcome = outcome(record.state, record.arriving.is_some())?;
                let holder = record.holder?;
                let incarnation = self.state.members.get(&holder)?.incarnation;
                Some((holder, Report { at, incarnation, service: name.clone(), epoch: record.epoch, outcome }))
            })
            .collect();
        let fences: Vec<(NodeId, NodeId, u32)> = self
            .state
            .lost
            .iter()
            .filter_map(|(&victim, lost)| lost.running.map(|(by, _)| (victim, by, lost.attempt)))
            .collect();
        let mut reported = false;
        for (holder, report) in due {
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

fn outcome(state: ServiceState, leaves: bool) -> Option<ReportOutcome> {
    match state {
        ServiceState::Starting => Some(ReportOutcome::Started),
        ServiceState::Migrating if !leaves => Some(ReportOutcome::Started),
        ServiceState::Migrating => Some(ReportOutcome::Migrated),
        ServiceState::Stopping | ServiceState::Recoverable => Some(ReportOutcome::Stopped),
        _ => None,
    }
}

fn changes(before: &Joined, after: &Replicated, conf: &Conf) -> Vec<PredictedChange> {
    let old = &before.state.services;
    let known = old.iter().filter_map(|(name, record)| {
        let from = shown(&before.conf, record);
        let change = |to, reason| PredictedChange { service: name.clone(), from: from.clone(), to, reason };
        match after.services.get(name) {
            Some(record) => {
                let to = shown(conf, record);
                (from != to).then(|| change(to, record.reason.clone()))
            }
            None => Some(change((ServiceState::Uninitialized, None), Reason::Removed)),
        }
    });
    let added = after.services.iter().filter(|(name, _)| !old.contains_key(*name)).map(|(name, record)| {
        let from = (ServiceState::Uninitialized, None);
        PredictedChange { service: name.clone(), from, to: shown(conf, record), reason: record.reason.clone() }
    });
    known.chain(added).collect()
}

fn shown(conf: &Conf, record: &Record) -> (ServiceState, Option<NodeName>) {
    (record.state, record.holder.map(|holder| node_name(conf, holder)))
}
