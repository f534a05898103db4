//! The state that all members share, and the only functions that change it: one for a membership change, one per kind of
//! delivered message. Every member calls them with the same arguments in the same order, so every member has the same state.
//!
//! Nothing here looks at the local node, at quorum or at a timer. Whether a decision is lawful is asked in `law` before it
//! comes here.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use shared::conf::finding::Severity;
use shared::conf::model::Conf;
use shared::ids::{BootId, ConfVersion, NodeId, NodeName, RequestId, ServiceName, Time};
use shared::status::{
    Answer, Command, Fact, FactKind, FactSeverity, FenceAttempt, FenceOutcome, FencedHow, Outcome, Reason, Subject,
};
use shared::text::{ResultCode, ServiceState};

use crate::message::{
    Branch, Claim, ConfText, Decide, Decision, FenceReport, Hello, Incarnation, Intent, Intents, Proofs, Report,
    ReportOutcome, ViewTag,
};
use crate::migration::can_migrate;
use crate::placement::{level, situation, takers};
use crate::proof::tell_unwitnessed;
use crate::record::{Record, Step};

/// How many ended requests are remembered, so that a retry with the same id is answered and not repeated.
const REQUESTS_REMEMBERED: usize = 256;

/// The shared state.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Replicated {
    pub branch: Branch,
    /// Which founding of the cluster this is; grows over restarts.
    pub history: u64,
    /// History and change of the intents it was founded with; what another node changed after these was never heard of here.
    pub inherited: (u64, u64),
    /// Lawful decisions applied since the founding.
    pub decided: u64,
    /// Changes of intents since the founding.
    pub intents_changed: u64,
    pub formed_at: Time,
    pub conf: ConfText,
    pub members: BTreeMap<NodeId, Member>,
    /// Nodes whose fate is unknown: nothing that they may hold, and nothing unheld, starts before it is known.
    pub lost: BTreeMap<NodeId, Lost>,
    pub services: BTreeMap<ServiceName, Record>,
    pub locked: bool,
    /// Nodes that an operator has put in standby.
    pub standby: BTreeSet<NodeId>,
    /// A configuration that is being stored by all.
    pub offer: Option<Offer>,
    /// Counts members that became clean; a service remembers up to which it was placed.
    pub joins: u64,
    pub last_fenced: BTreeMap<NodeId, Fenced>,
    #[serde(default)]
    pub proofs: Proofs,
    /// Requests, oldest first.
    pub requests: Vec<RequestRecord>,
}

/// A node in the group that holds the state or is being given it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Member {
    pub incarnation: Incarnation,
    pub boot: BootId,
    pub protocol: u8,
    /// It has said that it holds the state.
    pub has_state: bool,
    /// It runs nothing that it was not granted; only then may it be given services.
    pub clean: bool,
    pub leaving: bool,
    /// Its daemon is about to be replaced and leaves what it runs to its successor.
    #[serde(default)]
    pub restarting: bool,
    /// It has said goodbye lawfully: when it goes, it is not lost.
    pub goodbye: bool,
    /// What it runs without being granted it.
    pub claims: BTreeMap<ServiceName, Claim>,
    pub conf_version: ConfVersion,
    /// Value of `joins` when it became clean.
    pub joined: u64,
}

/// A node that went without a goodbye, or was never seen since the founding.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Lost {
    /// `None`: never seen since the founding.
    pub boot: Option<BootId>,
    /// A quorate coordinator has decided to fence it (or an operator).
    pub victim: bool,
    /// Absent at the founding.
    pub startup: bool,
    /// It said that its daemon is replaced: its successor gets more time.
    #[serde(default)]
    pub restarting: bool,
    pub since: Option<Time>,
    /// Attempts so far.
    pub attempt: u32,
    /// Who carries out the current attempt, with which method; `None` between attempts.
    pub running: Option<(NodeId, u32)>,
    pub unfenceable: bool,
    pub last: Option<FenceAttempt>,
    /// An agent has said that it is done, and cluster.conf asks for a witness.
    #[serde(default)]
    pub unwitnessed: bool,
    /// Version of the configuration in force when the last attempt was made.
    pub conf_version: ConfVersion,
}

/// How a node was last accounted for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fenced {
    pub at: Time,
    pub how: FencedHow,
    pub boot: Option<BootId>,
    pub witnessed_gone: bool,
    pub witnessed_reboot: Option<bool>,
}

/// A configuration on its way into force.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Offer {
    pub conf: ConfText,
    pub origin: String,
    pub stored_by: BTreeSet<NodeId>,
}

/// A request and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RequestRecord {
    pub id: RequestId,
    pub command: Command,
    pub refused: Option<shared::status::Refusal>,
    pub outcome: Option<Outcome>,
}

/// What a change of the state means for those outside: the same on every member.
#[derive(Debug, Default)]
pub(crate) struct Folded {
    pub(crate) facts: Vec<Fact>,
    pub(crate) answers: Vec<(RequestId, Answer)>,
    pub(crate) finished: Vec<(RequestId, Outcome)>,
    pub(crate) switched: bool,
    pub(crate) offer_dropped: Option<(ConfText, String)>,
    /// Requests that have ended, until `note_steps` has noted them.
    pub(crate) ended: Vec<(RequestId, Outcome)>,
    /// Services that nobody holds any more.
    pub(crate) released: Vec<ServiceName>,
    /// How often an intent of a service has changed.
    pub(crate) intents_changed: u64,
}

impl Folded {
    pub(crate) fn fact(
        &mut self,
        at: Time,
        subject: Subject,
        severity: FactSeverity,
        kind: FactKind,
        text: String,
        reason: Option<Reason>,
    ) {
        self.facts.push(Fact { at, subject, severity, kind, text, reason });
    }
}

/// The name of a node, also of one that cluster.conf does not know.
pub(crate) fn node_name(conf: &Conf, id: NodeId) -> NodeName {
    conf.node_by_id(id).map_or_else(|| NodeName(format!("node id {id}")), |node| node.name.clone())
}

impl Replicated {
    /// The state of a cluster that has just come together, built from the hellos of its first members (design law 5, intents:
    /// design §3.2).
    pub(crate) fn found(
        at: Time,
        conf: &Conf,
        conf_text: ConfText,
        view: ViewTag,
        hellos: &BTreeMap<NodeId, Hello>,
        folded: &mut Folded,
    ) -> Self {
        let intents = hellos
            .values()
            .filter_map(|hello| hello.intents.as_ref())
            .max_by_key(|intents| (intents.history, intents.change))
            .cloned()
            .unwrap_or_default();
        let mut state = Self {
            branch: Branch(0),
            history: intents.history.saturating_add(1),
            inherited: (intents.history, intents.change),
            decided: 0,
            intents_changed: 0,
            formed_at: at,
            conf: conf_text,
            members: BTreeMap::new(),
            lost: BTreeMap::new(),
            services: BTreeMap::new(),
            locked: intents.locked,
            standby: intents.standby.iter().copied().filter(|id| conf.node_by_id(*id).is_some()).collect(),
            offer: None,
            joins: 0,
            last_fenced: BTreeMap::new(),
            proofs: intents.proofs.clone(),
            requests: Vec::new(),
        };
        for service in &conf.services {
            let intent = intents.services.get(&service.name).copied().unwrap_or_default();
            state.services.insert(service.name.clone(), Record::with_intent(intent));
        }
        for (&id, hello) in hellos.iter().filter(|(id, _)| conf.node_by_id(**id).is_some()) {
            state.members.insert(id, Member::from_hello(hello, true));
        }
        for node in conf.nodes.iter().filter(|node| !state.members.contains_key(&node.id)) {
            state.lost.insert(node.id, Lost::new(None, true, Some(at), state.conf.version));
        }
        state.adopt_running(at, conf, folded);
        state.branch = next_branch(Branch(state.history), view, &state.members);
        folded.fact(
            at,
            Subject::Cluster,
            FactSeverity::Info,
            FactKind::ClusterFormed,
            format!("Cluster {} formed by {}", conf.name, names(conf, state.members.keys().copied())),
            None,
        );
        state
    }

    /// At the founding, a service that exactly one member runs whole is taken over; anything else found running has to be stopped.
    fn adopt_running(&mut self, at: Time, conf: &Conf, folded: &mut Folded) {
        let mut claimants: BTreeMap<ServiceName, Vec<(NodeId, Claim)>> = BTreeMap::new();
        for (&id, member) in &self.members {
            for (service, &claim) in &member.claims {
                claimants.entry(service.clone()).or_default().push((id, claim));
            }
        }
        for (service, who) in claimants {
            let [(node, Claim::Full)] = who[..] else { continue };
            let record = self.services.get_mut(&service).filter(|record| record.state != ServiceState::Disabled);
            let Some(record) = record else { continue };
            record.take_over(at, conf, node);
            folded.fact(
                at,
                Subject::Service(service.clone()),
                FactSeverity::Info,
                FactKind::ServiceStarted,
                format!("Service {service} is already running on {}", node_name(conf, node)),
                Some(Reason::TakenOver { node: node_name(conf, node) }),
            );
        }
        for (&id, member) in &mut self.members {
            member.forget_granted(id, &self.services);
        }
    }

    /// Members of the group changed. Joiners count only once they have said hello.
    pub(crate) fn fold_membership(
        &mut self,
        at: Time,
        conf: &Conf,
        view: ViewTag,
        left: &[NodeId],
        folded: &mut Folded,
    ) {
        for &id in left {
            let Some(member) = self.members.remove(&id) else { continue };
            let name = node_name(conf, id);
            if member.goodbye {
                let text = format!("{name} left the cluster");
                folded.fact(at, Subject::Node(name), FactSeverity::Info, FactKind::NodeLeft, text, None);
            } else {
                // The time of the loss differs between members, so it stays out of the shared state.
                let mut lost = Lost::new(Some(member.boot), false, None, self.conf.version);
                lost.restarting = member.restarting;
                self.lost.insert(id, lost);
                if member.restarting {
                    let text = format!("rgmanager of {name} is replaced; what runs there goes on");
                    folded.fact(at, Subject::Node(name), FactSeverity::Info, FactKind::NodeLeft, text, None);
                    continue;
                }
                let text = format!("{name} was lost without a goodbye; its services wait until it is known to be down");
                folded.fact(at, Subject::Node(name), FactSeverity::Error, FactKind::NodeLost, text, None);
            }
        }
        for lost in self.lost.values_mut() {
            if lost.running.is_some_and(|(by, _)| left.contains(&by)) {
                lost.running = None;
            }
        }
        if !left.is_empty() {
            self.unpark();
        }
        self.branch = next_branch(self.branch, view, &self.members);
    }

    pub(crate) fn unpark(&mut self) {
        for record in self.services.values_mut() {
            record.parked = false;
            if record.state == ServiceState::Stopped {
                // Whoever failed to start it is asked again.
                record.tried.clear();
            }
        }
    }

    /// A node takes services from now on: whose failover domain likes it better than where the service runs may move there.
    /// Judged now and not later: that a third node leaves is no reason to move (rhcs.md §4.3).
    pub(crate) fn note_newcomer(&mut self, conf: &Conf, node: NodeId) {
        let takers = takers(self);
        for (name, record) in &mut self.services {
            let Some((service, holder)) = conf.service(name).zip(record.holder) else { continue };
            let situation = situation(record, &takers);
            if holder != node && level(conf, service, node, situation) > level(conf, service, holder, situation) {
                record.newcomers.insert(node);
            }
        }
    }

    /// A node without state said hello. Returns whether it is admitted and needs the state.
    pub(crate) fn fold_hello(
        &mut self,
        at: Time,
        conf: &Conf,
        from: NodeId,
        hello: &Hello,
        folded: &mut Folded,
    ) -> bool {
        if conf.node_by_id(from).is_none() || self.is_being_taken_out(from) {
            return false;
        }
        // A member of an older release could not follow how a migration under way ends. It asks again soon.
        let migrates = |record: &Record| record.arriving.is_some() || record.state == ServiceState::Migrating;
        if hello.protocol < 2 && self.services.values().any(migrates) {
            return false;
        }
        if let Some(lost) = self.lost.get(&from) {
            let rebooted = lost.boot.as_ref().is_some_and(|boot| *boot != hello.boot);
            if rebooted {
                let how = lost.claimed().unwrap_or(FencedHow::Rebooted);
                self.account(at, conf, from, how, true, folded);
            } else if lost.victim && lost.boot.is_some() {
                // Law 6: a victim that merely reappears with a past stays a victim.
                self.disprove(at, conf, from, folded);
                return false;
            } else {
                self.forgive(at, conf, from, hello, folded);
            }
        } else if self.members.contains_key(&from) {
            // It gave up the state it had, and with it what it held: only what it says to run whole is still there.
            self.settle_claims(at, conf, from, hello, folded);
        }
        if let Some(fenced) = self.last_fenced.get_mut(&from)
            && fenced.witnessed_reboot.is_none()
        {
            let rebooted = fenced.boot.as_ref().map(|boot| *boot != hello.boot);
            fenced.witnessed_reboot = rebooted;
            if let (Some(rebooted), FencedHow::Agent { method, .. }) = (rebooted, fenced.how.clone()) {
                self.witness(at, conf, from, &method, rebooted, folded);
            }
        }
        if !self.members.contains_key(&from) {
            self.tell_unheard(at, conf, from, hello, folded);
        }
        let mut member = Member::from_hello(hello, false);
        member.forget_granted(from, &self.services);
        self.members.insert(from, member);
        true
    }

    /// What a node holds and says to run whole stays with it; what it holds but does not run whole is recovered.
    fn settle_claims(&mut self, at: Time, conf: &Conf, node: NodeId, hello: &Hello, folded: &mut Folded) {
        let is_known = |id: NodeId| self.members.contains_key(&id) || self.lost.contains_key(&id);
        for (service, record) in self.services.iter_mut().filter(|(_, record)| record.holder == Some(node)) {
            let step = &mut Step { at, conf, service, folded };
            if record.state == ServiceState::Failed {
                // Law 4: that the daemon began anew has stopped nothing.
                continue;
            }
            if record.state == ServiceState::Migrating && record.arriving.is_some() {
                record.migration_unknown(step);
                continue;
            }
            let at_work =
                matches!(record.state, ServiceState::Migrating | ServiceState::Stopping | ServiceState::Recoverable);
            if at_work && !hello.claims.contains_key(service) && conf.service(service).is_some_and(can_migrate) {
                // It may have come after the daemon there had looked for the last time: it looks, or stops it, under a new epoch.
                let (state, reason) = (record.state, record.reason.clone());
                record.enter(state, at, reason);
                continue;
            }
            let runs_whole = hello.claims.get(service) == Some(&Claim::Full);
            let may_run =
                matches!(record.state, ServiceState::Started | ServiceState::Starting | ServiceState::Migrating);
            if runs_whole && may_run {
                let was_starting = record.state != ServiceState::Started;
                record.take_over(at, conf, node);
                if was_starting {
                    // The daemon died after its agents were through and before it could report.
                    record.complete_start(step, node);
                }
            } else {
                record.lose_holder(step, is_known, Reason::NodeLost { node: node_name(conf, node) });
            }
        }
    }

    /// A lost node that nobody has decided to fence yet is back and says what it runs: what it holds and runs whole is taken over,
    /// the rest is recovered.
    fn forgive(&mut self, at: Time, conf: &Conf, node: NodeId, hello: &Hello, folded: &mut Folded) {
        let never_seen = self.lost.remove(&node).is_some_and(|lost| lost.boot.is_none());
        let name = node_name(conf, node);
        self.settle_claims(at, conf, node, hello, folded);
        let (severity, text) = if never_seen {
            (FactSeverity::Info, format!("{name} has come up; it need not be fenced"))
        } else {
            (FactSeverity::Warning, format!("{name} is back and tells what it runs; it is not fenced"))
        };
        folded.fact(at, Subject::Node(name.clone()), severity, FactKind::NodeForgiven, text, None);
        self.finish_fence_requests(&name, folded);
    }

    /// The lowest protocol that a member speaks: what goes beyond it is not said and has no effect, for that member could not follow.
    pub fn protocol(&self) -> u8 {
        self.members.values().map(|member| member.protocol).min().unwrap_or(1)
    }

    /// A member's daemon is about to be replaced.
    pub(crate) fn fold_restarting(
        &mut self,
        at: Time,
        conf: &Conf,
        from: NodeId,
        incarnation: Incarnation,
        folded: &mut Folded,
    ) {
        if self.protocol() < 2 {
            return;
        }
        let Some(member) = self.members.get_mut(&from).filter(|member| member.incarnation == incarnation) else {
            return;
        };
        member.restarting = true;
        let name = node_name(conf, from);
        let text = format!("rgmanager of {name} is about to be replaced");
        folded.fact(at, Subject::Node(name), FactSeverity::Info, FactKind::NodeLeft, text, None);
    }

    /// The services a node holds.
    pub fn held_by(&self, node: NodeId) -> impl Iterator<Item = &ServiceName> {
        self.services.iter().filter(move |(_, record)| record.holder == Some(node)).map(|(name, _)| name)
    }

    /// The state is on `from`; with `clean` it may be given services.
    pub(crate) fn fold_ready(
        &mut self,
        at: Time,
        conf: &Conf,
        from: NodeId,
        incarnation: Incarnation,
        clean: bool,
        folded: &mut Folded,
    ) {
        let joins = self.joins + 1;
        let Some(member) = self.members.get_mut(&from).filter(|member| member.incarnation == incarnation) else {
            return;
        };
        member.has_state = true;
        if !clean || member.clean {
            return;
        }
        member.clean = true;
        member.claims.clear();
        member.joined = joins;
        self.joins = joins;
        self.unpark();
        self.note_newcomer(conf, from);
        let name = node_name(conf, from);
        let text = format!("{name} joined the cluster");
        folded.fact(at, Subject::Node(name), FactSeverity::Info, FactKind::NodeJoined, text, None);
    }

    /// A lawful decision.
    pub(crate) fn fold_decide(&mut self, conf: &Conf, decide: &Decide, folded: &mut Folded) {
        self.decided += 1;
        let at = decide.at;
        let reason = decide.reason.clone();
        match &decide.decision {
            Decision::Start { service, on, .. } => {
                self.step(at, conf, service, folded, |record, step| record.start(step, *on, reason));
                // Who joined while the decision was on its way was not considered.
                let unseen = self.members.iter().filter(|(_, member)| member.joined > decide.joins);
                for node in unseen.map(|(&id, _)| id).collect::<Vec<_>>() {
                    self.note_newcomer(conf, node);
                }
            }
            Decision::Stop { service, after, .. } => {
                self.step(at, conf, service, folded, |record, step| record.stop(step, *after, reason));
            }
            Decision::Migrate { service, to, .. } => {
                self.step(at, conf, service, folded, |record, step| record.migrate(step, *to, reason));
            }
            Decision::Settle { service, state, .. } => {
                self.step(at, conf, service, folded, |record, step| record.settle(step, *state, reason));
            }
            Decision::Decline { service, .. } => self.fold_decline(at, conf, service, folded),
            Decision::Fence { victim, by, method, attempt } => {
                self.fold_fence(at, conf, *victim, *by, *method, *attempt, reason, folded);
            }
            Decision::Unfenceable { victim } => {
                let Some(lost) = self.lost.get_mut(victim) else { return };
                lost.victim = true;
                lost.unfenceable = true;
                lost.conf_version = self.conf.version;
                let name = node_name(conf, *victim);
                let text = format!(
                    "{name} must be fenced, but cluster.conf names no method for it; make sure that it is down, then run fence_ack_manual {name}"
                );
                folded.fact(at, Subject::Node(name), FactSeverity::Error, FactKind::FenceFailed, text, Some(reason));
            }
            Decision::Assume { node, how } => self.account(at, conf, *node, how.clone(), false, folded),
            Decision::Switch { .. } => {
                if let Some(offer) = self.offer.take() {
                    folded.fact(
                        at,
                        Subject::Cluster,
                        FactSeverity::Info,
                        FactKind::ConfInForce,
                        format!("Configuration {} is in force ({})", offer.conf.version, offer.origin),
                        None,
                    );
                    self.conf = offer.conf;
                    folded.switched = true;
                }
            }
        }
    }

    /// Brings the services in line with a configuration that has just come into force.
    pub(crate) fn fold_conf_in_force(&mut self, conf: &Conf, folded: &mut Folded) {
        for service in &conf.services {
            self.services.entry(service.name.clone()).or_default();
        }
        for (_, record) in self.services.iter_mut().filter(|(name, _)| conf.service(name).is_none()) {
            let text = "the new configuration no longer has it".to_owned();
            record.end_order(folded, ResultCode::NoService, None, text);
        }
        self.note_steps(conf, folded);
        // A removed service that somebody holds stays until it is stopped.
        self.services.retain(|name, record| record.holder.is_some() || conf.service(name).is_some());
        for member in self.members.values_mut() {
            member.conf_version = self.conf.version;
        }
        self.standby.retain(|id| conf.node_by_id(*id).is_some());
        self.unpark();
    }

    /// One step of one service.
    pub(crate) fn step(
        &mut self,
        at: Time,
        conf: &Conf,
        service: &ServiceName,
        folded: &mut Folded,
        step: impl FnOnce(&mut Record, &mut Step<'_>),
    ) {
        if let Some(record) = self.services.get_mut(service) {
            step(record, &mut Step { at, conf, service, folded });
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one decision")]
    fn fold_fence(
        &mut self,
        at: Time,
        conf: &Conf,
        victim: NodeId,
        by: NodeId,
        method: u32,
        attempt: u32,
        reason: Reason,
        folded: &mut Folded,
    ) {
        let version = self.conf.version;
        let Some(lost) = self.lost.get_mut(&victim) else { return };
        lost.victim = true;
        lost.unfenceable = false;
        lost.unwitnessed = false;
        lost.since = lost.since.or(Some(at));
        lost.attempt = attempt;
        lost.running = Some((by, method));
        lost.conf_version = version;
        if !is_told(attempt) {
            return;
        }
        let name = node_name(conf, victim);
        let text = format!("Fencing {name} by {}, attempt {attempt}", node_name(conf, by));
        folded.fact(at, Subject::Node(name), FactSeverity::Warning, FactKind::FenceDecided, text, Some(reason));
    }

    /// A fencing attempt has ended.
    pub(crate) fn fold_fence_report(&mut self, conf: &Conf, from: NodeId, report: &FenceReport, folded: &mut Folded) {
        let Some(lost) = self.lost.get_mut(&report.victim) else { return };
        let Some((by, method)) = lost.running else { return };
        if by != from || lost.attempt != report.attempt {
            return;
        }
        let method = conf
            .node_by_id(report.victim)
            .and_then(|node| node.methods.get(method as usize))
            .map_or_else(|| format!("number {}", u64::from(method) + 1), |method| method.name.clone());
        let victim = node_name(conf, report.victim);
        lost.running = None;
        lost.last = Some(FenceAttempt {
            at: report.at,
            by: node_name(conf, from),
            method: method.clone(),
            attempt: report.attempt,
            succeeded: report.succeeded,
            devices: report.devices.clone(),
        });
        lost.unwitnessed = report.succeeded && conf.fence_daemon.require_witness;
        let unwitnessed = lost.unwitnessed;
        self.record_proof(conf, from, &method, report);
        if unwitnessed {
            tell_unwitnessed(conf, from, &method, report, folded);
        } else if report.succeeded {
            let how = FencedHow::Agent { by: node_name(conf, from), method };
            self.account(report.at, conf, report.victim, how, report.witnessed_gone, folded);
        } else if is_told(report.attempt) {
            let said = report.devices.last().map(|run| last_line(&run.output)).unwrap_or_default();
            let text = format!("Fencing {victim} by {} with method {method} failed: {said}", node_name(conf, from));
            folded.fact(report.at, Subject::Node(victim), FactSeverity::Error, FactKind::FenceFailed, text, None);
        }
    }

    /// A lost node is known to be down: what it held is free.
    fn account(
        &mut self,
        at: Time,
        conf: &Conf,
        node: NodeId,
        how: FencedHow,
        witnessed_gone: bool,
        folded: &mut Folded,
    ) {
        let Some(lost) = self.lost.remove(&node) else { return };
        let name = node_name(conf, node);
        let text = match &how {
            FencedHow::Agent { by, method } => format!("{name} has been fenced by {by} with method {method}"),
            FencedHow::Acknowledged { origin } => format!("{origin} vouches that {name} is down"),
            FencedHow::Rebooted => format!("{name} has rebooted by itself; it need not be fenced"),
            FencedHow::Assumed => format!("{name} is assumed to be down, as cluster.conf says"),
        };
        folded.fact(at, Subject::Node(name.clone()), FactSeverity::Info, FactKind::Fenced, text, None);
        let witnessed_reboot = (how == FencedHow::Rebooted).then_some(true);
        let reason = match &how {
            FencedHow::Agent { .. } => Reason::OwnerFenced { node: name.clone() },
            other => Reason::OwnerDown { node: name.clone(), how: other.clone() },
        };
        self.last_fenced.insert(node, Fenced { at, how, boot: lost.boot, witnessed_gone, witnessed_reboot });
        let is_known = |id: NodeId| self.members.contains_key(&id) || self.lost.contains_key(&id);
        for (service, record) in self.services.iter_mut().filter(|(_, record)| record.holder == Some(node)) {
            record.lose_holder(&mut Step { at, conf, service, folded }, is_known, reason.clone());
        }
        self.finish_fence_requests(&name, folded);
    }

    /// What came of a duty of the holder. Reports of anyone else, or of an earlier epoch, change nothing.
    pub(crate) fn fold_report(&mut self, conf: &Conf, from: NodeId, report: &Report, folded: &mut Folded) {
        let is_current = self.members.get(&from).is_some_and(|member| member.incarnation == report.incarnation);
        let is_known = |id: NodeId| self.members.contains_key(&id) || self.lost.contains_key(&id);
        let Some(record) = self.services.get_mut(&report.service) else { return };
        if !is_current || record.holder != Some(from) || record.epoch != report.epoch {
            return;
        }
        // Law 4: what has failed stays so, whatever is reported of it.
        if record.state == ServiceState::Failed {
            return;
        }
        let step = &mut Step { at: report.at, conf, service: &report.service, folded };
        match (&report.outcome, record.state) {
            (ReportOutcome::Started, ServiceState::Migrating) if record.arriving.is_none() => {
                record.started(step, from);
            }
            (ReportOutcome::Migrated, ServiceState::Migrating) if record.arriving.is_some() => {
                record.migrated(step, is_known);
            }
            (ReportOutcome::MigrationFailed { failure }, ServiceState::Migrating) => {
                record.migration_failed(step, from, failure);
            }
            (ReportOutcome::Started, ServiceState::Starting) => record.started(step, from),
            (ReportOutcome::StartFailed { failure }, ServiceState::Starting) => {
                record.tried.insert(from);
                record.check_failed = false;
                record.fail(step, from, failure);
            }
            // The check was under way when the service was frozen; it is checked again when it is unfrozen.
            (ReportOutcome::CheckFailed { .. }, ServiceState::Started) if record.frozen => {}
            (ReportOutcome::CheckFailed { failure }, ServiceState::Started) => {
                record.tried.clear();
                record.check_failed = true;
                record.fail(step, from, failure);
            }
            (ReportOutcome::Stopped, ServiceState::Stopping | ServiceState::Recoverable) => {
                record.stopped(step, is_known);
            }
            (ReportOutcome::StopFailed { failure }, _) => record.stop_failed(step, from, is_known, failure),
            (ReportOutcome::StoppedInquorate, _) => record.stopped_inquorate(step, is_known),
            (
                outcome @ (ReportOutcome::PartFailed { .. }
                | ReportOutcome::Tolerated { .. }
                | ReportOutcome::PartRestarted { .. }
                | ReportOutcome::PartsStopped { .. }
                | ReportOutcome::Convalesced { .. }),
                ServiceState::Starting | ServiceState::Started,
            ) => record.part_reported(step, from, outcome),
            // A report that does not fit the state is late: the state has moved on by a decision or a loss.
            _ => {}
        }
    }

    /// What a change means for the rest of the state. Called after every one.
    pub(crate) fn note_steps(&mut self, conf: &Conf, folded: &mut Folded) {
        self.intents_changed += std::mem::take(&mut folded.intents_changed);
        for (id, outcome) in std::mem::take(&mut folded.ended) {
            self.finish(&id, outcome, folded);
        }
        for service in std::mem::take(&mut folded.released) {
            // A removed service stays only while somebody holds it.
            if conf.service(&service).is_none() {
                self.services.remove(&service);
            }
        }
        self.forget_requests();
    }

    /// A request has ended: who retries it is answered from now on with this.
    fn finish(&mut self, id: &RequestId, outcome: Outcome, folded: &mut Folded) {
        if let Some(record) = self.requests.iter_mut().find(|record| &record.id == id) {
            record.outcome = Some(outcome.clone());
        }
        folded.finished.push((id.clone(), outcome));
    }

    /// The oldest go first, those that are still being carried out never; also what was refused takes a place.
    fn forget_requests(&mut self) {
        let surplus = self.requests.len().saturating_sub(REQUESTS_REMEMBERED);
        let mut dropped = 0;
        self.requests.retain(|record| {
            let drop = dropped < surplus && (record.outcome.is_some() || record.refused.is_some());
            dropped += usize::from(drop);
            !drop
        });
    }

    fn finish_fence_requests(&self, node: &NodeName, folded: &mut Folded) {
        let waiting = self.requests.iter().filter(|record| record.outcome.is_none() && record.refused.is_none());
        let fulfilled =
            waiting.filter(|record| matches!(&record.command, Command::Fence { node: wanted } if wanted == node));
        folded.ended.extend(fulfilled.map(|record| (record.id.clone(), done(None))));
    }

    /// A node that the cluster still has to deal with, and that the configuration does not have any more: without its entry nobody
    /// could fence it or vouch for it. Why not, and what to do first.
    pub(crate) fn still_needed(&self, next: &Conf, now: &Conf) -> Option<(String, String)> {
        let lacks = |id: &&NodeId| next.node_by_id(**id).is_none();
        if let Some(&id) = self.lost.keys().find(lacks) {
            let name = node_name(now, id);
            let hint =
                format!("fence {name}, or make sure that it is down and run fence_ack_manual {name}; then take it out");
            return Some((format!("{name} is not known to be down, and could not be fenced any more"), hint));
        }
        let name = node_name(now, *self.members.keys().find(lacks)?);
        let hint = format!("stop rgmanager and corosync on {name}; when clustat shows it offline, take it out");
        Some((format!("{name} is a member of the cluster"), hint))
    }

    /// The configuration as the members judge what is offered: what was wrong before refuses nothing. `Err`: what refuses it.
    pub(crate) fn accept(&self, now: &Conf, text: &str) -> Result<Conf, String> {
        let (next, _) = shared::conf::load(text).accept_after(&self.conf.text).map_err(|findings| {
            let errors = findings.into_iter().filter(|finding| finding.severity == Severity::Error);
            let errors: Vec<String> = errors.map(|finding| finding.text).collect();
            format!("the configuration has errors: {}", errors.join("; "))
        })?;
        match self.still_needed(&next, now) {
            Some((why, hint)) => Err(format!("{why}; {hint}")),
            None => Ok(next),
        }
    }

    /// Whether a configuration is on its way that does not have the node.
    fn is_being_taken_out(&self, node: NodeId) -> bool {
        let offered = self.offer.as_ref().and_then(|offer| shared::conf::load(&offer.conf.text).conf);
        offered.is_some_and(|conf| conf.node_by_id(node).is_none())
    }

    /// A new configuration is offered. Law 7 is asked again when it shall come into force; here only the obvious is refused.
    pub(crate) fn fold_offer(&mut self, at: Time, conf: ConfText, origin: String, folded: &mut Folded) -> bool {
        let newest = self.offer.as_ref().map_or(self.conf.version, |offer| offer.conf.version);
        if conf.version <= newest {
            folded.offer_dropped = Some((conf, format!("version {newest} came first")));
            return false;
        }
        if let Some(older) = self.offer.take() {
            folded.offer_dropped = Some((older.conf, format!("version {} replaced it", conf.version)));
        }
        let text = format!("Configuration {} is being stored by all members ({origin})", conf.version);
        folded.fact(at, Subject::Cluster, FactSeverity::Info, FactKind::ConfStored, text, None);
        self.offer = Some(Offer { conf, origin, stored_by: BTreeSet::new() });
        true
    }

    /// A member has stored the offered configuration, or could not: then nobody gets it.
    pub(crate) fn fold_stored(
        &mut self,
        from: NodeId,
        version: ConfVersion,
        failed: Option<&String>,
        folded: &mut Folded,
    ) {
        let Some(offer) = &mut self.offer else { return };
        if offer.conf.version != version {
            return;
        }
        match failed {
            None => {
                offer.stored_by.insert(from);
            }
            Some(why) => {
                let why = format!("node id {from} could not store it: {why}");
                folded.offer_dropped = self.offer.take().map(|offer| (offer.conf, why));
            }
        }
    }

    /// The members that decisions may rest on: they hold the state.
    pub fn state_holders(&self) -> impl Iterator<Item = NodeId> {
        self.members.iter().filter(|(_, member)| member.has_state).map(|(&id, _)| id)
    }

    /// The member that decides.
    pub fn coordinator(&self) -> Option<NodeId> {
        self.state_holders().next()
    }

    /// The administrators' intents as they are to be kept.
    pub fn intents(&self) -> Intents {
        Intents {
            history: self.history,
            change: self.intents_changed,
            locked: self.locked,
            standby: self.standby.clone(),
            services: self
                .services
                .iter()
                .map(|(name, record)| (name.clone(), record.intent()))
                .filter(|(_, intent)| *intent != Intent::default())
                .collect(),
            proofs: self.proofs.clone(),
        }
    }

    pub(crate) fn mark_victim(&mut self, node: NodeId, at: Time) {
        let boot = self.members.remove(&node).map(|member| member.boot);
        let version = self.conf.version;
        let lost = self.lost.entry(node).or_insert_with(|| Lost::new(boot, false, Some(at), version));
        lost.victim = true;
        lost.since = lost.since.or(Some(at));
    }

    pub(crate) fn acknowledge(&mut self, at: Time, conf: &Conf, node: NodeId, origin: &str, folded: &mut Folded) {
        self.account(at, conf, node, FencedHow::Acknowledged { origin: origin.to_owned() }, false, folded);
    }
}

/// A request has come about, on this node if it is about one.
pub(crate) fn done(owner: Option<NodeName>) -> Outcome {
    Outcome { code: ResultCode::Success, owner, text: String::new() }
}

/// Fencing that fails is tried for ever; the status shows every attempt, the log only these, or one bad night would bury the rest.
pub(crate) fn is_told(attempt: u32) -> bool {
    attempt <= 8 || attempt.is_power_of_two()
}

impl Member {
    fn from_hello(hello: &Hello, has_state: bool) -> Self {
        Self {
            incarnation: hello.incarnation,
            boot: hello.boot.clone(),
            protocol: hello.protocol,
            has_state,
            clean: false,
            leaving: false,
            restarting: false,
            goodbye: false,
            claims: hello.claims.clone(),
            conf_version: hello.conf.as_ref().map_or(ConfVersion(0), |conf| conf.version),
            joined: 0,
        }
    }

    /// What it holds is not run without a grant.
    fn forget_granted(&mut self, me: NodeId, services: &BTreeMap<ServiceName, Record>) {
        self.claims.retain(|service, _| services.get(service).and_then(|record| record.holder) != Some(me));
    }
}

impl Lost {
    fn new(boot: Option<BootId>, startup: bool, since: Option<Time>, conf_version: ConfVersion) -> Self {
        Self {
            boot,
            victim: false,
            startup,
            restarting: false,
            since,
            attempt: 0,
            running: None,
            unfenceable: false,
            last: None,
            unwitnessed: false,
            conf_version,
        }
    }
}

impl Fenced {
    pub(crate) fn outcome(&self) -> FenceOutcome {
        FenceOutcome {
            at: self.at,
            how: self.how.clone(),
            witnessed_gone: self.witnessed_gone,
            witnessed_reboot: self.witnessed_reboot,
        }
    }
}

fn names(conf: &Conf, ids: impl Iterator<Item = NodeId>) -> String {
    ids.map(|id| node_name(conf, id).0).collect::<Vec<_>>().join(", ")
}

fn last_line(output: &str) -> &str {
    output.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("no output")
}

fn next_branch(branch: Branch, view: ViewTag, members: &BTreeMap<NodeId, Member>) -> Branch {
    let mut hash = crate::view::Fnv::new();
    hash.write(branch.0);
    hash.write(view.0);
    for (id, member) in members {
        hash.write(u64::from(id.0));
        hash.write(member.incarnation.0);
    }
    Branch(hash.finish())
}
