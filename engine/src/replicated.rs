//! The state that all members share, and the only functions that change it: one for a membership change, one per kind of
//! delivered message. Every member calls them with the same arguments in the same order, so every member has the same state.
//!
//! Nothing here looks at the local node, at quorum or at a timer. Whether a decision is lawful is asked in `law` before it
//! comes here.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use shared::conf::model::{Conf, Recovery, Service};
use shared::ids::{BootId, ConfVersion, Epoch, NodeId, NodeName, RequestId, ResourceName, ServiceName, Time};
use shared::status::{
    Answer, Command, Fact, FactKind, FactSeverity, Failure, FenceAttempt, FenceOutcome, FencedHow, Outcome, Reason,
    Request, ResourceStatus, Subject,
};
use shared::text::{ResultCode, ServiceState};

use crate::message::{
    AfterStop, Branch, Claim, ConfText, Decide, Decision, FenceReport, Hello, Incarnation, Intent, Intents, Proofs,
    Report, ReportOutcome, ViewTag,
};
use crate::migration::can_migrate;
use crate::placement::{level, situation, takers};
use crate::proof::tell_unwitnessed;
use crate::why::restarts_used;

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

/// One service.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Record {
    pub state: ServiceState,
    pub holder: Option<NodeId>,
    pub last_owner: Option<NodeId>,
    pub frozen: bool,
    /// Tops of the non-critical subtrees that the holder has stopped; with any, the service is partial.
    pub stopped_parts: BTreeSet<ResourceName>,
    pub epoch: Epoch,
    /// Consecutive starts out of recovering (rhcs.md §3.1).
    pub restarts: u32,
    /// When it was restarted in place after a failure; counted against `max_restarts`.
    pub restart_times: Vec<Time>,
    pub last_transition: Option<Time>,
    /// Where the current stop leads.
    pub after: AfterStop,
    /// It was `failed` when the current stop was decided.
    pub was_failed: bool,
    /// One of the two nodes that this stop concerns could not stop it.
    #[serde(default)]
    pub unstopped: bool,
    pub reason: Reason,
    pub failure: Option<Failure>,
    /// The failure that `recovering` recovers from was found by a check (not by a start).
    pub check_failed: bool,
    /// Nodes on which this round of starting failed.
    pub tried: BTreeSet<NodeId>,
    /// It migrates to this node, or the migration ended in nobody knows what: it may run there as well as on its holder.
    #[serde(default)]
    pub arriving: Option<NodeId>,
    /// Its agent could not move it while it ran; until it is started anew it is not tried again unasked.
    #[serde(default)]
    pub immobile: bool,
    /// Start here first.
    pub prefer: Option<NodeId>,
    /// Start here only if nowhere else.
    pub avoid: Option<NodeId>,
    /// Standby drove it away from here; it goes back when that ends.
    pub home: Option<NodeId>,
    /// Stopped by an operator or after every node failed: not started before the next membership or configuration change.
    pub parked: bool,
    /// An operator enabled it by hand.
    pub enabled_by_hand: bool,
    /// Members that were a better place when they joined, as its failover domain has it, than where it runs.
    pub newcomers: BTreeSet<NodeId>,
    pub order: Option<Order>,
    pub resources: Vec<ResourceStatus>,
}

/// A request that is being carried out on a service.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Order {
    pub request: Request,
    /// The member that multicast it.
    pub asked_on: NodeId,
    pub since: Time,
    /// Who held the service when it was asked.
    pub owner_before: Option<NodeId>,
    /// The stop it implies has been decided.
    pub begun: bool,
}

impl Order {
    /// It is a disable or a stop.
    pub fn wants_down(&self) -> bool {
        matches!(self.request.command, Command::Disable { .. } | Command::Stop { .. })
    }
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

impl Default for Record {
    /// A service that has just come into the configuration: nobody has started it.
    fn default() -> Self {
        Self {
            state: ServiceState::Stopped,
            holder: None,
            last_owner: None,
            frozen: false,
            stopped_parts: BTreeSet::new(),
            epoch: Epoch(0),
            restarts: 0,
            restart_times: Vec::new(),
            last_transition: None,
            after: AfterStop::Stopped,
            was_failed: false,
            unstopped: false,
            reason: Reason::New,
            failure: None,
            check_failed: false,
            tried: BTreeSet::new(),
            arriving: None,
            immobile: false,
            prefer: None,
            avoid: None,
            home: None,
            parked: false,
            enabled_by_hand: false,
            newcomers: BTreeSet::new(),
            order: None,
            resources: Vec::new(),
        }
    }
}

impl Record {
    /// The one place where a service changes its state.
    pub(crate) fn enter(&mut self, state: ServiceState, at: Time, reason: Reason) {
        self.state = state;
        self.reason = reason;
        self.last_transition = Some(at);
        self.epoch = Epoch(self.epoch.0 + 1);
    }

    /// It is on this node: if that is where standby drove it away from, it need not go back there any more.
    pub(crate) fn forget_home_on(&mut self, node: NodeId) {
        self.home = self.home.filter(|home| *home != node);
    }

    /// Why a stop that has come to its end was not the whole of it; `None`: everything stopped. Told once.
    pub(crate) fn take_unstopped(&mut self) -> Option<String> {
        std::mem::take(&mut self.unstopped).then(|| self.failure.as_ref().map(Failure::text)).flatten()
    }

    pub(crate) fn release(&mut self) {
        self.last_owner = self.holder.take().or(self.last_owner);
        self.arriving = None;
        self.immobile = false;
        self.resources.clear();
        self.stopped_parts.clear();
    }

    /// The intent to keep on disk.
    fn intent(&self) -> Intent {
        Intent {
            disabled: self.state == ServiceState::Disabled
                || (self.state == ServiceState::Stopping && self.after == AfterStop::Disabled),
            frozen: self.frozen,
            enabled: self.enabled_by_hand,
        }
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
            history: intents.history + 1,
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
            state.services.insert(service.name.clone(), Self::first_record(&intents, &service.name));
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

    fn first_record(intents: &Intents, name: &ServiceName) -> Record {
        let intent = intents.services.get(name).copied().unwrap_or_default();
        let mut record = Record { frozen: intent.frozen, enabled_by_hand: intent.enabled, ..Record::default() };
        if intent.disabled {
            record.state = ServiceState::Disabled;
            record.reason = Reason::KeptDisabled;
        }
        record
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
            let Some(record) = self.services.get_mut(&service) else { continue };
            if record.state == ServiceState::Disabled {
                continue;
            }
            take_over(record, node, at, conf);
            if let Some(member) = self.members.get_mut(&node) {
                member.claims.remove(&service);
            }
            folded.fact(
                at,
                Subject::Service(service.clone()),
                FactSeverity::Info,
                FactKind::ServiceStarted,
                format!("Service {service} is already running on {}", node_name(conf, node)),
                Some(Reason::TakenOver { node: node_name(conf, node) }),
            );
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
        if conf.node_by_id(from).is_none() {
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
        let services = &self.services;
        member.claims.retain(|service, _| services.get(service).and_then(|record| record.holder) != Some(from));
        self.members.insert(from, member);
        true
    }

    /// What a node holds and says to run whole stays with it; what it holds but does not run whole is recovered.
    fn settle_claims(&mut self, at: Time, conf: &Conf, node: NodeId, hello: &Hello, folded: &mut Folded) {
        let held: Vec<ServiceName> = self.held_by(node).cloned().collect();
        for service in held {
            let Some(record) = self.services.get_mut(&service) else { continue };
            if record.state == ServiceState::Failed {
                // Law 4: that the daemon began anew has stopped nothing.
                continue;
            }
            if record.state == ServiceState::Migrating && record.arriving.is_some() {
                self.fold_migration_unknown(at, conf, &service, folded);
                continue;
            }
            let at_work =
                matches!(record.state, ServiceState::Migrating | ServiceState::Stopping | ServiceState::Recoverable);
            if at_work && !hello.claims.contains_key(&service) && conf.service(&service).is_some_and(can_migrate) {
                // It may have come after the daemon there had looked for the last time: it looks, or stops it, under a new epoch.
                let (state, reason) = (record.state, record.reason.clone());
                record.enter(state, at, reason);
                continue;
            }
            let runs_whole = hello.claims.get(&service) == Some(&Claim::Full);
            let may_run =
                matches!(record.state, ServiceState::Started | ServiceState::Starting | ServiceState::Migrating);
            if runs_whole && may_run {
                let was_starting = record.state != ServiceState::Started;
                take_over(record, node, at, conf);
                if was_starting {
                    // The daemon died after its agents were through and before it could report.
                    self.complete_start(at, conf, &service, node, folded);
                }
            } else {
                self.release_lost(at, conf, &service, Reason::NodeLost { node: node_name(conf, node) }, folded);
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
        let Some(member) = self.members.get_mut(&from) else { return };
        if member.incarnation != incarnation {
            return;
        }
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
                self.fold_start(at, conf, service, *on, decide.joins, reason, folded)
            }
            Decision::Stop { service, after, .. } => self.fold_stop(at, conf, service, *after, reason, folded),
            Decision::Migrate { service, to, .. } => self.fold_migrate(at, conf, service, *to, reason, folded),
            Decision::Decline { service, .. } => self.fold_decline(conf, service, folded),
            Decision::Settle { service, state, .. } => self.fold_settle(at, service, *state, reason, folded),
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
        let removed: Vec<ServiceName> =
            self.services.keys().filter(|name| conf.service(name).is_none()).cloned().collect();
        for service in &removed {
            let text = "the new configuration no longer has it".to_owned();
            self.finish_order(service, ResultCode::NoService, None, text, folded);
        }
        // A removed service that somebody holds stays until it is stopped.
        self.services.retain(|name, record| record.holder.is_some() || conf.service(name).is_some());
        for member in self.members.values_mut() {
            member.conf_version = self.conf.version;
        }
        self.standby.retain(|id| conf.node_by_id(*id).is_some());
        self.unpark();
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one decision")]
    fn fold_start(
        &mut self,
        at: Time,
        conf: &Conf,
        service: &ServiceName,
        on: NodeId,
        joins: u64,
        reason: Reason,
        folded: &mut Folded,
    ) {
        let Some(record) = self.services.get_mut(service) else { return };
        let recovering = record.state == ServiceState::Recovering;
        record.restarts = if recovering { record.restarts + 1 } else { 0 };
        if record.check_failed && record.last_owner == Some(on) {
            record.restart_times.push(at);
        } else if record.check_failed {
            if let Some(configured) = conf.service(service).filter(|configured| has_exceeded(configured, record, at)) {
                let text = format!("Restart threshold for {} exceeded; attempting to relocate", configured.name);
                let subject = Subject::Service(service.clone());
                folded.fact(at, subject, FactSeverity::Warning, FactKind::ServiceRecovering, text, None);
            }
            record.restart_times.clear();
            // Its policy moves it away: if no other node starts it, it is stopped, not brought back (rhcs.md §3.4).
            record.tried.extend(record.last_owner);
        }
        if matches!(&record.order, Some(order) if matches!(order.request.command, Command::Enable { .. })) {
            record.enabled_by_hand = true;
            self.intents_changed += 1;
        }
        record.holder = Some(on);
        record.forget_home_on(on);
        record.resources.clear();
        record.stopped_parts.clear();
        record.enter(ServiceState::Starting, at, reason.clone());
        // Who joined while the decision was on its way was not considered.
        let unseen: Vec<NodeId> =
            self.members.iter().filter(|(_, member)| member.joined > joins).map(|(&id, _)| id).collect();
        if let Some(record) = self.services.get_mut(service) {
            record.newcomers.clear();
        }
        for node in unseen {
            self.note_newcomer(conf, node);
        }
        let text = format!("Starting service {service} on {}", node_name(conf, on));
        folded.fact(
            at,
            Subject::Service(service.clone()),
            FactSeverity::Info,
            FactKind::ServiceStarting,
            text,
            Some(reason),
        );
    }

    fn fold_stop(
        &mut self,
        at: Time,
        conf: &Conf,
        service: &ServiceName,
        after: AfterStop,
        reason: Reason,
        folded: &mut Folded,
    ) {
        let Some(record) = self.services.get_mut(service) else { return };
        match &reason {
            // The first home counts: it may be driven on from where it found shelter.
            Reason::Standby { .. } => record.home = record.home.or(record.holder),
            Reason::HomeAgain { .. } => record.home = None,
            _ => {}
        }
        record.after = after;
        record.was_failed = record.state == ServiceState::Failed;
        record.unstopped = false;
        if let Some(order) = &mut record.order {
            order.begun = true;
        }
        record.enter(ServiceState::Stopping, at, reason.clone());
        if after == AfterStop::Disabled {
            self.intents_changed += 1;
        }
        let holder = record.holder.map(|holder| node_name(conf, holder)).unwrap_or_default();
        let text = format!("Stopping service {service} on {holder}");
        folded.fact(
            at,
            Subject::Service(service.clone()),
            FactSeverity::Info,
            FactKind::ServiceStopping,
            text,
            Some(reason),
        );
    }

    fn fold_settle(
        &mut self,
        at: Time,
        service: &ServiceName,
        state: ServiceState,
        reason: Reason,
        folded: &mut Folded,
    ) {
        let Some(record) = self.services.get_mut(service) else { return };
        record.enter(state, at, reason.clone());
        let dependency_missing = matches!(reason, Reason::DependencyMissing { .. });
        let crowded_out = reason == Reason::ExclusiveConflict;
        record.parked = !dependency_missing && !crowded_out;
        if !crowded_out {
            record.tried.clear();
        }
        record.check_failed = false;
        record.prefer = None;
        record.avoid = None;
        let disabled = state == ServiceState::Disabled;
        if disabled {
            record.enabled_by_hand = false;
            self.intents_changed += 1;
        }
        let failed =
            matches!(reason, Reason::NoNodeLeft { .. } | Reason::NoNodeAllowed) || dependency_missing || crowded_out;
        let kind = if disabled { FactKind::ServiceDisabled } else { FactKind::ServiceStopped };
        let severity = if failed { FactSeverity::Error } else { FactSeverity::Info };
        let text = format!("Service {service} is {}: {}", state.name(), reason.text());
        if let Reason::RestartsUsedUp { .. } = &reason {
            let text = format!("Restart threshold for {service} exceeded; disabling");
            let subject = Subject::Service(service.clone());
            folded.fact(at, subject, FactSeverity::Warning, FactKind::ServiceRecovering, text, None);
        }
        folded.fact(at, Subject::Service(service.clone()), severity, kind, text, Some(reason));
        let wanted_down = record.order.as_ref().is_some_and(Order::wants_down);
        let code = match (wanted_down, dependency_missing, crowded_out) {
            (true, _, _) => ResultCode::Success,
            (false, true, _) => ResultCode::Dependency,
            (false, false, true) => ResultCode::Exclusive,
            (false, false, false) => ResultCode::Failure,
        };
        self.finish_order(service, code, None, String::new(), folded);
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
            .map_or_else(|| format!("number {}", method + 1), |method| method.name.clone());
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
        let held: Vec<ServiceName> = self.held_by(node).cloned().collect();
        for service in held {
            self.release_lost(at, conf, &service, reason.clone(), folded);
        }
        self.finish_fence_requests(&name, folded);
    }

    /// The holder of a service is gone for good. Only the frozen flag survives (rhcs.md §3.1).
    fn release_lost(&mut self, at: Time, conf: &Conf, service: &ServiceName, reason: Reason, folded: &mut Folded) {
        let known: Vec<NodeId> = self.members.keys().chain(self.lost.keys()).copied().collect();
        let Some(record) = self.services.get_mut(service) else { return };
        let (state, after) = (record.state, record.after);
        if record.hand_over(|to| known.contains(&to)) {
            // The guest may have come to the other node before this one died.
            let next = match state {
                ServiceState::Migrating => ServiceState::Migrating,
                _ => ServiceState::Stopping,
            };
            record.after = if state == ServiceState::Stopping { after } else { AfterStop::Recover };
            record.enter(next, at, reason);
            return;
        }
        if record.state != ServiceState::Stopping {
            // Nobody stopped it before its node was gone, but it was asked for and has come about (rhcs.md §3.2).
            record.after = match record.order.as_ref().map(|order| &order.request.command) {
                Some(Command::Disable { .. }) => AfterStop::Disabled,
                Some(Command::Stop { .. }) => AfterStop::Stopped,
                _ => AfterStop::Recover,
            };
        }
        let next = match record.after {
            _ if record.frozen => ServiceState::Stopped,
            AfterStop::Disabled => ServiceState::Disabled,
            AfterStop::Stopped | AfterStop::Wait => ServiceState::Stopped,
            _ => ServiceState::Recovering,
        };
        record.release();
        record.check_failed = false;
        record.tried.clear();
        record.prefer = None;
        record.avoid = None;
        record.parked = next == ServiceState::Stopped && record.after == AfterStop::Stopped && !record.frozen;
        if next == ServiceState::Disabled {
            record.enabled_by_hand = false;
            // Kept on the members' disks: also when all of them go down next, autostart does not start it.
            self.intents_changed += 1;
        }
        record.enter(next, at, reason.clone());
        let was = record.last_owner.map(|owner| node_name(conf, owner)).unwrap_or_default();
        let unstopped = record.take_unstopped();
        let text = match &unstopped {
            Some(failure) => format!("Service {service} is {}, was on {was}; it did not stop: {failure}", next.name()),
            None => format!("Service {service} is {}, was on {was}", next.name()),
        };
        folded.fact(
            at,
            Subject::Service(service.clone()),
            FactSeverity::Warning,
            FactKind::ServiceRecovering,
            text,
            Some(reason),
        );
        let waits = record.after == AfterStop::Wait;
        let order_fulfilled = !waits && record.order.as_ref().is_some_and(Order::wants_down);
        let (code, text) = match unstopped {
            _ if !order_fulfilled || next == ServiceState::Recovering => (ResultCode::NodeDead, None),
            Some(failure) => (ResultCode::Warning, Some(failure)),
            None => (ResultCode::Success, None),
        };
        let text = text.unwrap_or_else(|| "the owner died while the request was carried out".to_owned());
        self.finish_order(service, code, None, text, folded);
        self.forget_if_removed(conf, service);
    }

    fn forget_if_removed(&mut self, conf: &Conf, service: &ServiceName) {
        if conf.service(service).is_none() && self.services.get(service).is_some_and(|record| record.holder.is_none()) {
            self.services.remove(service);
        }
    }

    /// What came of a duty of the holder. Reports of anyone else, or of an earlier epoch, change nothing.
    pub(crate) fn fold_report(&mut self, conf: &Conf, from: NodeId, report: &Report, folded: &mut Folded) {
        let known = self.members.get(&from).is_some_and(|member| member.incarnation == report.incarnation);
        let Some(record) = self.services.get_mut(&report.service) else { return };
        if !known || record.holder != Some(from) || record.epoch != report.epoch {
            return;
        }
        match (&report.outcome, record.state) {
            (ReportOutcome::Started, ServiceState::Migrating) if record.arriving.is_none() => {
                self.fold_started(conf, from, report, folded);
            }
            (ReportOutcome::Migrated, ServiceState::Migrating) if record.arriving.is_some() => {
                self.fold_migrated(report.at, &report.service, folded);
            }
            (ReportOutcome::MigrationFailed { failure }, ServiceState::Migrating) => {
                self.fold_migration_failed(conf, from, report, failure, folded);
            }
            (ReportOutcome::Started, ServiceState::Starting) => self.fold_started(conf, from, report, folded),
            (ReportOutcome::StartFailed { failure }, ServiceState::Starting) => {
                record.tried.insert(from);
                record.check_failed = false;
                self.fold_failed(conf, from, report, failure, folded);
            }
            // The check was under way when the service was frozen; it is checked again when it is unfrozen.
            (ReportOutcome::CheckFailed { .. }, ServiceState::Started) if record.frozen => {}
            (ReportOutcome::CheckFailed { failure }, ServiceState::Started) => {
                record.tried.clear();
                record.check_failed = true;
                self.fold_failed(conf, from, report, failure, folded);
            }
            (ReportOutcome::Stopped, ServiceState::Stopping | ServiceState::Recoverable) => {
                self.fold_stopped(conf, report, folded);
            }
            (ReportOutcome::StopFailed { failure }, _) => self.fold_stop_failed(conf, from, report, failure, folded),
            (ReportOutcome::StoppedInquorate, _) => {
                let known: Vec<NodeId> = self.members.keys().chain(self.lost.keys()).copied().collect();
                if record.hand_over(|to| known.contains(&to)) {
                    record.after = AfterStop::Wait;
                    record.enter(ServiceState::Stopping, report.at, Reason::NotQuorate);
                    return;
                }
                record.release();
                record.enter(ServiceState::Stopped, report.at, Reason::NotQuorate);
                record.parked = false;
                // It is placed as if anew: where a request or a recovery would have had it does not count any more.
                record.tried.clear();
                record.check_failed = false;
                record.prefer = None;
                record.avoid = None;
                self.finish_order(&report.service, ResultCode::NeedsQuorum, None, "quorum was lost".into(), folded);
            }
            (outcome, state) if Self::fits_part_report(outcome, state) => {
                self.fold_part_report(conf, from, report, folded);
            }
            // A report that does not fit the state is late: the state has moved on by a decision or a loss.
            _ => {}
        }
    }

    fn fold_started(&mut self, conf: &Conf, from: NodeId, report: &Report, folded: &mut Folded) {
        let Some(record) = self.services.get_mut(&report.service) else { return };
        let reason = record.reason.clone();
        record.enter(ServiceState::Started, report.at, reason);
        self.complete_start(report.at, conf, &report.service, from, folded);
    }

    /// A start has succeeded: what was tried is forgotten, and who asked for it is answered.
    fn complete_start(&mut self, at: Time, conf: &Conf, service: &ServiceName, from: NodeId, folded: &mut Folded) {
        let Some(record) = self.services.get_mut(service) else { return };
        let reason = record.reason.clone();
        record.tried.clear();
        record.prefer = None;
        record.avoid = None;
        record.check_failed = false;
        record.failure = None;
        record.forget_home_on(from);
        let name = node_name(conf, from);
        let (wanted, before) = match &record.order {
            Some(order) => match &order.request.command {
                Command::Enable { on, .. } => (on.clone(), None),
                Command::Relocate { to, .. } => (to.clone(), order.owner_before),
                Command::Migrate { to, .. } => (Some(to.clone()), None),
                _ => (None, None),
            },
            None => (None, None),
        };
        let stayed = before == Some(from) && wanted.as_ref() != Some(&name);
        let code = if stayed { ResultCode::OriginalOwner } else { ResultCode::Success };
        folded.fact(
            at,
            Subject::Service(service.clone()),
            FactSeverity::Info,
            FactKind::ServiceStarted,
            format!("Service {service} is now running on {name}"),
            Some(reason),
        );
        if !self.ordered_down(service) {
            self.finish_order(service, code, Some(name), String::new(), folded);
        }
    }

    /// Whether an operator wants the service stopped or disabled.
    fn ordered_down(&self, service: &ServiceName) -> bool {
        self.services.get(service).and_then(|record| record.order.as_ref()).is_some_and(Order::wants_down)
    }

    /// A start or check failed: the holder stops it, then it is recovered (rhcs.md §3.3, §3.4).
    pub(crate) fn fold_failed(
        &mut self,
        conf: &Conf,
        from: NodeId,
        report: &Report,
        failure: &Failure,
        folded: &mut Folded,
    ) {
        let Some(record) = self.services.get_mut(&report.service) else { return };
        let (node, resource) = (node_name(conf, from), failure.resource.clone());
        let reason = if record.check_failed {
            Reason::CheckFailed { node, resource }
        } else {
            Reason::StartFailed { node, resource }
        };
        record.failure = Some(failure.clone());
        record.after = AfterStop::Recover;
        record.enter(ServiceState::Recoverable, report.at, reason.clone());
        folded.fact(
            report.at,
            Subject::Service(report.service.clone()),
            FactSeverity::Error,
            FactKind::ResourceFailed,
            format!("{}: {}", report.service, failure.text()),
            Some(reason),
        );
    }

    fn fold_stopped(&mut self, conf: &Conf, report: &Report, folded: &mut Folded) {
        let known: Vec<NodeId> = self.members.keys().chain(self.lost.keys()).copied().collect();
        let Some(record) = self.services.get_mut(&report.service) else { return };
        let reason = record.reason.clone();
        if record.hand_over(|to| known.contains(&to)) {
            // The other node of its migration stops it too.
            let state = record.state;
            record.enter(state, report.at, reason);
            return;
        }
        let owner = record.holder;
        record.release();
        let (next, parked) = match record.after {
            AfterStop::Stopped | AfterStop::Removed => (ServiceState::Stopped, true),
            AfterStop::Wait => (ServiceState::Stopped, false),
            AfterStop::Disabled => (ServiceState::Disabled, true),
            AfterStop::Recover | AfterStop::Relocate { .. } | AfterStop::Restart { .. } => {
                (ServiceState::Recovering, false)
            }
        };
        match record.after {
            AfterStop::Relocate { to } => (record.prefer, record.avoid) = (to, owner),
            AfterStop::Restart { on } => record.prefer = Some(on),
            AfterStop::Disabled => record.enabled_by_hand = false,
            AfterStop::Stopped | AfterStop::Wait | AfterStop::Removed | AfterStop::Recover => {}
        }
        if next != ServiceState::Recovering {
            record.tried.clear();
            record.check_failed = false;
        }
        record.parked = parked;
        record.enter(next, report.at, reason.clone());
        let kind = match next {
            ServiceState::Disabled => FactKind::ServiceDisabled,
            ServiceState::Recovering => FactKind::ServiceRecovering,
            _ => FactKind::ServiceStopped,
        };
        let unstopped = record.take_unstopped();
        let (severity, text) = match &unstopped {
            Some(failure) => (
                FactSeverity::Warning,
                format!("Service {} is disabled although it did not stop: {failure}", report.service),
            ),
            None => (FactSeverity::Info, format!("Service {} is {}", report.service, next.name())),
        };
        folded.fact(report.at, Subject::Service(report.service.clone()), severity, kind, text, Some(reason));
        let down = matches!(next, ServiceState::Stopped | ServiceState::Disabled);
        let wanted_down = record.order.as_ref().is_some_and(Order::wants_down);
        // A stop that only waits for a dependency is not what was asked for: the request is carried out next.
        let fulfilled = !(wanted_down && record.after == AfterStop::Wait);
        if down && fulfilled {
            let code = match (wanted_down, &unstopped) {
                (true, None) => ResultCode::Success,
                (true, Some(_)) => ResultCode::Warning,
                (false, _) => ResultCode::Failure,
            };
            self.finish_order(&report.service, code, None, unstopped.unwrap_or_default(), folded);
        }
        self.forget_if_removed(conf, &report.service);
    }

    /// A stop failed: law 4, the service is failed and stays with its node. Only a disable of a failed service ends disabled
    /// all the same, with a warning (rhcs.md §2.3).
    fn fold_stop_failed(&mut self, conf: &Conf, from: NodeId, report: &Report, failure: &Failure, folded: &mut Folded) {
        let Some(record) = self.services.get_mut(&report.service) else { return };
        let again = record.was_failed && record.after == AfterStop::Disabled;
        record.failure = Some(failure.clone());
        let known: Vec<NodeId> = self.members.keys().chain(self.lost.keys()).copied().collect();
        if again && record.hand_over(|to| known.contains(&to)) {
            let reason = record.reason.clone();
            record.unstopped = true;
            record.enter(ServiceState::Stopping, report.at, reason);
            return;
        }
        record.unstopped = false;
        if again {
            record.release();
            record.enabled_by_hand = false;
            let reason = record.reason.clone();
            record.enter(ServiceState::Disabled, report.at, reason.clone());
            let text = format!("Service {} is disabled although it did not stop: {}", report.service, failure.text());
            let subject = Subject::Service(report.service.clone());
            folded.fact(report.at, subject, FactSeverity::Warning, FactKind::ServiceDisabled, text, Some(reason));
            self.finish_order(&report.service, ResultCode::Warning, None, failure.text(), folded);
            self.forget_if_removed(conf, &report.service);
            return;
        }
        let reason = Reason::StopFailed { node: node_name(conf, from), resource: failure.resource.clone() };
        record.enter(ServiceState::Failed, report.at, reason.clone());
        folded.fact(
            report.at,
            Subject::Service(report.service.clone()),
            FactSeverity::Error,
            FactKind::ServiceFailed,
            format!("Service {} is failed: {}", report.service, failure.text()),
            Some(reason),
        );
        self.finish_order(&report.service, ResultCode::Aborted, None, failure.text(), folded);
    }

    /// Ends the request a service is busy with, if any.
    pub(crate) fn finish_order(
        &mut self,
        service: &ServiceName,
        code: ResultCode,
        owner: Option<NodeName>,
        text: String,
        folded: &mut Folded,
    ) {
        let Some(order) = self.services.get_mut(service).and_then(|record| record.order.take()) else { return };
        self.finish(&order.request.id, Outcome { code, owner, text }, folded);
    }

    pub(crate) fn finish(&mut self, id: &RequestId, outcome: Outcome, folded: &mut Folded) {
        if let Some(record) = self.requests.iter_mut().find(|record| &record.id == id) {
            record.outcome = Some(outcome.clone());
        }
        folded.finished.push((id.clone(), outcome));
        let surplus = self.requests.len().saturating_sub(REQUESTS_REMEMBERED);
        let mut dropped = 0;
        self.requests.retain(|record| {
            let drop = dropped < surplus && (record.outcome.is_some() || record.refused.is_some());
            dropped += usize::from(drop);
            !drop
        });
    }

    fn finish_fence_requests(&mut self, node: &NodeName, folded: &mut Folded) {
        let waiting: Vec<RequestId> = self
            .requests
            .iter()
            .filter(|record| record.outcome.is_none() && record.refused.is_none())
            .filter(|record| matches!(&record.command, Command::Fence { node: wanted } if wanted == node))
            .map(|record| record.id.clone())
            .collect();
        for id in waiting {
            self.finish(&id, Outcome { code: ResultCode::Success, owner: None, text: String::new() }, folded);
        }
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

/// Fencing that fails is tried for ever; the status shows every attempt, the log only these, or one bad night would bury the rest.
pub(crate) fn is_told(attempt: u32) -> bool {
    attempt <= 8 || attempt.is_power_of_two()
}

/// Its policy would have it restarted in place, but not as often as it failed (rhcs.md §3.4).
fn has_exceeded(service: &Service, record: &Record, at: Time) -> bool {
    let in_place = matches!(service.recovery, Recovery::Restart | Recovery::RestartDisable);
    in_place && service.max_restarts > 0 && restarts_used(service, record, at) >= service.max_restarts
}

fn take_over(record: &mut Record, node: NodeId, at: Time, conf: &Conf) {
    record.holder = Some(node);
    record.enter(ServiceState::Started, at, Reason::TakenOver { node: node_name(conf, node) });
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
