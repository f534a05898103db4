//! The simulation: nodes, corosync, agents and operators in one process, one clock, one seed. Everything that will happen is a
//! `Task` with its time; a step takes the earliest. The random runs, the scenarios and the exhaustive search all step the
//! same `Sim`; they differ in who chooses delays and order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use engine::law::LawCheck;
use engine::{ConfText, Engine, Event, FenceId, Incarnation, Intents, Message, Operation, RunId};
use shared::conf::model::{Conf, Service};
use shared::ids::{BootId, ConfDigest, ConfVersion, NodeId, RequestId, ResourceName, ServiceName, Time};
use shared::status::Command;

use crate::cpg::{Cpg, Position, RingId, Told};
use crate::params::Params;
use crate::quorum::is_quorate;
use crate::rng::Rng;

/// When every simulation begins.
pub const EPOCH_MS: u64 = 1_000_000_000;

/// Something that will happen. `pid` ties it to one life of a daemon.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Task {
    /// The token is at the node.
    Token(NodeId),
    /// The node receives from its ring.
    Receive(NodeId),
    /// The daemon takes the next event of its group.
    Take(NodeId, u32),
    /// The node's corosync notices that its ring must change.
    FormRing(NodeId),
    /// The quorum service tells the daemon.
    TellQuorum {
        node: NodeId,
        pid: u32,
        ring_seq: u64,
        quorate: bool,
        votes: u32,
    },
    /// `next_timeout` of the engine.
    Timer(NodeId, u32, u64),
    /// What an agent does takes effect.
    RunEffect(NodeId, u64),
    /// An agent ends.
    RunEnd(NodeId, u64),
    /// A fence agent reaches the power switch.
    FenceEffect {
        victim: NodeId,
        boots: bool,
        /// An agent that waits first dies with its node: which one, and in which of its lives.
        waited_on: Option<(NodeId, u32)>,
    },
    FenceEnd {
        by: NodeId,
        pid: u32,
        id: FenceId,
        succeeded: bool,
        /// The devices that were asked, and whether they did it.
        devices: Vec<(String, bool)>,
    },
    Boot(NodeId),
    StartCorosync(NodeId),
    /// A corosync that was told to stop is gone.
    StopCorosync(NodeId),
    StartDaemon(NodeId),
    ConfStored {
        node: NodeId,
        pid: u32,
        version: ConfVersion,
        digest: ConfDigest,
        stored: bool,
    },
    /// The daemon notices that its corosync is gone.
    TellCorosyncLost(NodeId, u32),
    /// The kernel tells of a dead resource.
    Notice {
        node: NodeId,
        pid: u32,
        service: ServiceName,
        resource: ResourceName,
    },
    Thaw(NodeId),
}

/// One machine, as it really is.
#[derive(Debug, Clone)]
pub struct Node {
    pub power: bool,
    pub boots: u32,
    /// Its clock is ahead by this much.
    pub skew_ms: u64,
    pub frozen: bool,
    /// Tasks that came due while it was frozen.
    pub frozen_tasks: Vec<Task>,
    /// Resources that really run.
    pub running: BTreeSet<(ServiceName, ResourceName)>,
    pub runs: BTreeMap<u64, AgentRun>,
    /// What its daemons have kept of what they started; gone with the power.
    pub started: BTreeMap<ServiceName, Vec<Service>>,
    pub disk: Disk,
    pub daemon: Option<Daemon>,
    /// Whether corosync and the daemon are started again when they are not running.
    pub starts: bool,
    /// The protocol that its installed release speaks.
    pub speaks: u8,
    /// corosync still waits to see all nodes once (`wait_for_all`).
    pub waits_for_all: bool,
    /// What its votequorum says now: ring and whether quorate.
    pub quorum: (u64, bool),
    pub quorum_told_at: u64,
}

/// What survives a reboot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    pub conf: ConfText,
    pub stored: Option<ConfText>,
    pub intents: Option<Intents>,
    /// Where these intents come from.
    pub history: Option<History>,
}

/// Names one history of the cluster: its number, and when it was founded. Two halves may found one with the same number.
pub type History = (u64, Time);

/// A service that an operator has disabled.
#[derive(Debug, Clone)]
pub struct Disabled {
    pub request: RequestId,
    /// Members that know of it, by history. Another history may not know: what is accepted by a half that is then fenced, and
    /// that the other half never heard of, is lost with it (docs/decisions/0005).
    pub known: BTreeMap<History, BTreeSet<NodeId>>,
}

/// A running rgmanager.
#[derive(Debug, Clone)]
pub struct Daemon {
    pub engine: Engine,
    pub pid: u32,
    pub timer: Option<u64>,
    pub runs: BTreeMap<RunId, u64>,
    pub joined: bool,
    /// The last word it got on quorum.
    pub quorate_told: bool,
    /// Place of the last event it took from its group.
    pub position: Option<Position>,
    pub in_force: ConfVersion,
}

/// One execution of an agent, as it really goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AgentRun {
    pub service: ServiceName,
    pub resource: ResourceName,
    pub operation: Operation,
    /// The other node of a migration.
    pub peer: Option<shared::ids::NodeName>,
    /// `None`: its daemon is gone.
    pub asked_by: Option<(u32, RunId)>,
    pub takes_effect: bool,
    pub code: Option<i32>,
}

/// What was asked, and how it went on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Asked {
    pub node: NodeId,
    pub pid: u32,
    pub command: Command,
    /// `None`: not answered.
    pub accepted: Option<bool>,
    pub finished: bool,
}

/// What an agent will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Behaviour {
    Works,
    /// Fails and changes nothing.
    Fails,
    /// The same, with this exit code.
    Says(i32),
    /// Fails, but what was wanted has happened.
    FailsAfterEffect,
    /// Works, and takes a few seconds for it.
    Slow,
    /// Does not end before its timeout.
    Hangs,
}

/// The simulation.
#[derive(Clone)]
pub struct Sim {
    pub params: Params,
    pub rng: Rng,
    pub law: LawCheck,
    pub now: u64,
    pub tasks: BTreeMap<(u64, u64), Task>,
    task_count: u64,
    pub cpg: Cpg,
    pub nodes: BTreeMap<NodeId, Node>,
    /// Side of the network per node, without regard to frozen nodes.
    pub sides: BTreeMap<NodeId, u32>,
    pub steps: u64,
    next_key: u64,
    next_pid: u32,
    pub asked: BTreeMap<RequestId, Asked>,
    pub offers: BTreeMap<u64, bool>,
    /// Agents that behave otherwise than the parameters say: by node (or all), resource, operation.
    pub behaviours: BTreeMap<(Option<NodeId>, ResourceName, Operation), Behaviour>,
    /// Fence methods that do not work, by victim (or all).
    pub broken_fences: BTreeSet<Option<NodeId>>,
    /// Fence agents that say that they are done and do nothing, by victim (or all).
    pub lying_fences: BTreeSet<Option<NodeId>>,
    /// Fence devices that do nothing, for one node or for all.
    pub broken_devices: BTreeSet<(Option<NodeId>, String)>,
    /// Nodes that are fenced do not boot again.
    pub fences_leave_off: bool,
    /// Nodes that cannot store a configuration.
    pub full_disks: BTreeSet<NodeId>,
    /// Nodes that take long to store one.
    pub slow_disks: BTreeSet<NodeId>,
    /// Hash of the replicated state by branch and position.
    pub states: BTreeMap<(u64, Position), u64>,
    pub versions: BTreeMap<ConfVersion, ConfDigest>,
    /// Services that operators have disabled.
    pub disabled: BTreeMap<ServiceName, Disabled>,
    /// Histories that have begun.
    pub(crate) founded: BTreeSet<History>,
    /// The cluster was founded by fewer daemons than would be quorate: newer intents and configurations of the others may be
    /// lost (they are lost with the others anyway if those never come back).
    pub founded_by_few: bool,
    /// Failover domains that have been changed: what runs stays where the old one had it.
    pub changed_domains: BTreeSet<String>,
    confs: BTreeMap<ConfDigest, Arc<Conf>>,
    /// Histories of nodes that were demoted or founded anew: what was accepted there may be lost.
    pub histories_lost: bool,
    pub messages_second: (u64, u64),
    /// What was sent, as it travels; `None`: not kept.
    pub heard: Option<Vec<Vec<u8>>>,
    /// How often it might have been looked at what nodes tell.
    pub(crate) looks: u64,
    pub violation: Option<String>,
    pub trace: Option<Trace>,
    /// A fault that waits for a certain moment.
    pub ambush: Option<crate::faults::Ambush>,
}

/// Lines for people.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    pub lines: Vec<(u64, String)>,
    /// With every message and agent, not only facts and what befell the world.
    pub detailed: bool,
    /// With the starts and stops of agents.
    pub agents: bool,
    seen: BTreeSet<String>,
}

impl Trace {
    /// With every message and agent.
    pub fn detailed() -> Self {
        Self { detailed: true, ..Self::default() }
    }
}

impl Sim {
    /// A cluster whose nodes are all off.
    pub fn new(params: Params, rng: Rng, law: LawCheck, nodes: u32, conf: &ConfText) -> Self {
        let mut sim = Self {
            params,
            rng,
            law,
            now: EPOCH_MS,
            tasks: BTreeMap::new(),
            task_count: 0,
            cpg: Cpg::default(),
            nodes: BTreeMap::new(),
            sides: BTreeMap::new(),
            steps: 0,
            next_key: 0,
            next_pid: 100,
            asked: BTreeMap::new(),
            offers: BTreeMap::new(),
            behaviours: BTreeMap::new(),
            broken_fences: BTreeSet::new(),
            lying_fences: BTreeSet::new(),
            broken_devices: BTreeSet::new(),
            fences_leave_off: false,
            full_disks: BTreeSet::new(),
            slow_disks: BTreeSet::new(),
            states: BTreeMap::new(),
            versions: BTreeMap::new(),
            disabled: BTreeMap::new(),
            founded: BTreeSet::new(),
            founded_by_few: false,
            changed_domains: BTreeSet::new(),
            confs: BTreeMap::new(),
            histories_lost: false,
            messages_second: (0, 0),
            heard: None,
            looks: 0,
            violation: None,
            trace: None,
            ambush: None,
        };
        for id in 1..=nodes {
            sim.add_node(NodeId(id), conf);
        }
        sim
    }

    fn add_node(&mut self, id: NodeId, conf: &ConfText) {
        let skew_ms = if self.rng.chance(200) { self.rng.below(3000) } else { 0 };
        let node = Node {
            power: false,
            boots: 0,
            skew_ms,
            frozen: false,
            frozen_tasks: Vec::new(),
            running: BTreeSet::new(),
            runs: BTreeMap::new(),
            started: BTreeMap::new(),
            disk: Disk { conf: conf.clone(), stored: None, intents: None, history: None },
            daemon: None,
            starts: true,
            speaks: engine::PROTOCOL,
            waits_for_all: false,
            quorum: (0, false),
            quorum_told_at: 0,
        };
        self.nodes.insert(id, node);
        self.sides.insert(id, 0);
    }

    // Time and tasks.

    /// Puts a task `delay` milliseconds ahead.
    pub fn later(&mut self, delay: u64, task: Task) {
        self.task_count += 1;
        self.tasks.insert((self.now + delay, self.task_count), task);
    }

    /// Takes the earliest task; if there is none, a second passes.
    pub fn step(&mut self) {
        match self.tasks.pop_first() {
            Some(((time, _), task)) => {
                self.now = self.now.max(time);
                self.perform_task(task);
            }
            None => {
                self.steps += 1;
                self.now += 1000;
            }
        }
    }

    /// Does one task now.
    pub fn perform_task(&mut self, task: Task) {
        self.steps += 1;
        if let Some(node) = task.node().and_then(|id| self.nodes.get_mut(&id)).filter(|node| node.frozen)
            && !matches!(task, Task::Thaw(_))
        {
            node.frozen_tasks.push(task);
            return;
        }
        match task {
            Task::Token(node) => self.token(node),
            Task::Receive(node) => self.receive(node),
            Task::Take(node, pid) => self.take(node, pid),
            Task::FormRing(node) => self.form_ring(node),
            Task::TellQuorum { node, pid, ring_seq, quorate, votes } => {
                self.tell_quorum(node, pid, ring_seq, quorate, votes);
            }
            Task::Timer(node, pid, at) => {
                let due =
                    |daemon: &mut Daemon| daemon.pid == pid && daemon.timer.take_if(|timer| *timer == at).is_some();
                if self.daemon_mut(node).is_some_and(due) {
                    self.happen(node, Event::TimePassed);
                }
            }
            Task::RunEffect(node, key) => self.run_effect(node, key),
            Task::RunEnd(node, key) => self.run_end(node, key),
            Task::FenceEffect { victim, boots, waited_on } => self.fence_effect(victim, boots, waited_on),
            Task::FenceEnd { by, pid, id, succeeded, devices } => self.fence_end(by, pid, id, succeeded, devices),
            Task::Boot(node) => self.boot(node),
            Task::StartCorosync(node) => self.start_corosync(node),
            Task::StopCorosync(node) => self.stop_corosync(node),
            Task::StartDaemon(node) => self.start_daemon(node),
            Task::ConfStored { node, pid, version, digest, stored } => {
                if self.lives(node, pid) {
                    let stored = if stored { Ok(()) } else { Err("no space left on device".to_owned()) };
                    self.happen(node, Event::ConfStored { version, digest, stored });
                }
            }
            Task::TellCorosyncLost(node, pid) => {
                if self.lives(node, pid) {
                    self.happen(node, Event::CorosyncLost);
                }
            }
            Task::Notice { node, pid, service, resource } => {
                if self.lives(node, pid) {
                    let evidence = self.evidence(node, &service, &resource);
                    self.happen(node, Event::Noticed { service, resource, evidence });
                }
            }
            Task::Thaw(node) => self.thaw(node),
        }
    }

    /// Whether this very daemon still runs.
    pub fn lives(&self, node: NodeId, pid: u32) -> bool {
        self.nodes.get(&node).and_then(|node| node.daemon.as_ref()).is_some_and(|daemon| daemon.pid == pid)
    }

    pub fn daemon_mut(&mut self, node: NodeId) -> Option<&mut Daemon> {
        self.nodes.get_mut(&node)?.daemon.as_mut()
    }

    pub fn daemon(&self, node: NodeId) -> Option<&Daemon> {
        self.nodes.get(&node)?.daemon.as_ref()
    }

    /// The time on a node's clock.
    pub fn time_on(&self, node: NodeId) -> Time {
        Time(self.now + self.nodes.get(&node).map_or(0, |node| node.skew_ms))
    }

    pub fn new_key(&mut self) -> u64 {
        self.next_key += 1;
        self.next_key
    }

    fn new_pid(&mut self) -> u32 {
        self.next_pid += 1;
        self.next_pid
    }

    /// Whether any configuration so far had an exclusive service.
    pub fn has_known_exclusive_service(&self) -> bool {
        self.confs.values().any(|conf| conf.services.iter().any(|service| service.exclusive > 0))
    }

    /// A configuration, compiled once.
    pub fn conf(&mut self, text: &ConfText) -> Option<Arc<Conf>> {
        if let Some(conf) = self.confs.get(&text.digest) {
            return Some(Arc::clone(conf));
        }
        let conf = Arc::new(shared::conf::load(&text.text).conf?);
        self.confs.insert(text.digest.clone(), Arc::clone(&conf));
        Some(conf)
    }

    // For people.

    /// A line of the transcript: a fact, or something that befell the world.
    pub fn tell(&mut self, line: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(trace) = &mut self.trace {
            trace.lines.push((now, line()));
        }
    }

    /// A line that only a detailed trace has.
    pub fn note(&mut self, line: impl FnOnce() -> String) {
        if self.trace.as_ref().is_some_and(|trace| trace.detailed) {
            self.tell(line);
        }
    }

    /// A line that several members tell alike and that is shown once.
    pub fn tell_once(&mut self, key: String, line: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(trace) = &mut self.trace
            && trace.seen.insert(key)
        {
            trace.lines.push((now, line()));
        }
    }

    /// Something that must never be is.
    pub fn violate(&mut self, what: impl FnOnce() -> String) {
        if self.violation.is_none() {
            let what = what();
            self.tell(|| format!("VIOLATION: {what}"));
            self.violation = Some(what);
        }
    }

    // corosync.

    fn token(&mut self, node: NodeId) {
        if !self.cpg.is_whole(node) {
            // The next ring brings a token.
            return;
        }
        let limit = if self.rng.chance(300) { 1 } else { 50 };
        let ordered = self.cpg.order(node, limit);
        if !ordered.is_empty() {
            self.spring_ambush(node, &ordered);
        }
        let members = self.cpg.ring(node).map(|(_, members)| members.to_vec()).unwrap_or_default();
        for member in members {
            let delay = self.rng.between(self.params.receive_ms);
            self.later(delay, Task::Receive(member));
        }
        if self.cpg.has_outgoing(node) {
            let delay = self.rng.between(self.params.token_ms);
            self.later(delay, Task::Token(node));
        }
    }

    fn receive(&mut self, node: NodeId) {
        let behind = self.cpg.behind(node);
        if behind == 0 || !self.cpg.is_whole(node) {
            return;
        }
        let had = self.cpg.has_told(node);
        let count = if self.rng.chance(200) { 1 + self.rng.index(behind) } else { behind };
        self.cpg.receive(node, count);
        if count < behind {
            let delay = self.rng.between(self.params.receive_ms);
            self.later(delay, Task::Receive(node));
        }
        if !had {
            self.plan_take(node);
        }
    }

    fn plan_take(&mut self, node: NodeId) {
        let Some(pid) = self.daemon(node).map(|daemon| daemon.pid) else { return };
        if self.cpg.has_told(node) {
            let delay = if self.rng.chance(self.params.stall_permille) {
                self.rng.between(self.params.stall_ms)
            } else {
                self.rng.between(self.params.take_ms)
            };
            self.later(delay, Task::Take(node, pid));
        }
    }

    fn take(&mut self, node: NodeId, pid: u32) {
        if !self.lives(node, pid) {
            return;
        }
        let Some((position, told)) = self.cpg.take_told(node) else { return };
        if let Some(daemon) = self.daemon_mut(node) {
            daemon.position = Some(position);
        }
        self.note(|| format!("  n{node} takes {}", describe(&told)));
        let doubts = match &told {
            Told::Message { from, message } => self.doubts(node, *from, message),
            _ => None,
        };
        let event = match told {
            Told::Membership { members, left, joined } => Event::MembershipChanged { members, left, joined },
            Told::Ring { seq, members } => Event::RingChanged { ring_seq: seq, members },
            Told::Message { from, message } => self.deliver(from, &message),
        };
        self.happen(node, event);
        self.check_decision(node, doubts);
        self.check_state(node);
        self.check_told(node);
        self.plan_take(node);
    }

    fn deliver(&mut self, from: NodeId, message: &Arc<Message>) -> Event {
        let message = if self.params.wire {
            match Message::decode(&message.encode()) {
                Ok(decoded) => {
                    if decoded != **message {
                        self.violate(|| format!("a message reads otherwise than it was written: {message:?}"));
                    }
                    decoded
                }
                Err(error) => {
                    self.violate(|| format!("a message cannot be read: {error}"));
                    (**message).clone()
                }
            }
        } else {
            (**message).clone()
        };
        Event::Delivered { from, message: Box::new(message) }
    }

    /// Whoever's ring no longer fits the network will notice, each at its own time.
    pub fn network_changed(&mut self) {
        let nodes: Vec<NodeId> = self.nodes.keys().copied().collect();
        for node in nodes {
            if self.cpg.needs_ring(node) && !self.tasks.values().any(|task| *task == Task::FormRing(node)) {
                let broken = self.cpg.ring(node).is_some() && !self.cpg.is_whole(node);
                let range = if broken { self.params.token_loss_ms } else { self.params.merge_ms };
                let delay = self.rng.between(range);
                self.later(delay, Task::FormRing(node));
            }
        }
    }

    fn form_ring(&mut self, node: NodeId) {
        if !self.cpg.needs_ring(node) {
            // The cut was shorter than the token's patience: the old ring goes on.
            self.later(0, Task::Token(node));
            self.later(0, Task::Receive(node));
            return;
        }
        let mut members = self.cpg.reach(node);
        if self.rng.chance(self.params.flap_permille) {
            let rng = &mut self.rng;
            members.retain(|other| *other == node || rng.chance(500));
        }
        let had: BTreeMap<NodeId, bool> = members.iter().map(|&id| (id, self.cpg.has_told(id))).collect();
        let rng = &mut self.rng;
        self.cpg.form_ring(&members, 0, |bound| rng.index(bound));
        self.note(|| format!("world: ring of {members:?}"));
        self.count_votes(&members);
        for (&member, had) in &had {
            if !had {
                self.plan_take(member);
            }
            if self.cpg.has_outgoing(member) {
                let delay = self.rng.between(self.params.token_ms);
                self.later(delay, Task::Token(member));
            }
        }
        self.network_changed();
    }

    fn count_votes(&mut self, members: &[NodeId]) {
        let Some((RingId { seq, .. }, _)) = members.first().and_then(|node| self.cpg.ring(*node)) else { return };
        let expected = self.nodes.len();
        let all = members.len() == expected;
        // Who has seen all nodes tells the others.
        let seen = all || members.iter().any(|id| self.nodes.get(id).is_some_and(|node| !node.waits_for_all));
        let quorate = is_quorate(members.len(), expected, self.params.two_node, seen);
        let votes = u32::try_from(members.len()).unwrap_or(0);
        for &id in members {
            if let Some(node) = self.nodes.get_mut(&id) {
                node.quorum = (seq, quorate);
                node.waits_for_all &= !seen;
            }
            self.plan_quorum(id, votes);
        }
    }

    /// The quorum service will tell the daemon, in its own time but in its own order.
    pub fn plan_quorum(&mut self, id: NodeId, votes: u32) {
        let delay = self.rng.between(self.params.quorum_ms);
        let at = self.now + delay;
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let Some(pid) = node.daemon.as_ref().filter(|daemon| daemon.joined).map(|daemon| daemon.pid) else { return };
        node.quorum_told_at = node.quorum_told_at.max(at);
        let ((ring_seq, quorate), at) = (node.quorum, node.quorum_told_at);
        self.later(at - self.now, Task::TellQuorum { node: id, pid, ring_seq, quorate, votes });
    }

    fn tell_quorum(&mut self, node: NodeId, pid: u32, ring_seq: u64, quorate: bool, votes: u32) {
        if !self.lives(node, pid) {
            return;
        }
        let replaced = self.cpg.ring(node).is_some_and(|(id, _)| id.seq != ring_seq);
        if replaced && self.rng.chance(500) {
            self.note(|| format!("  n{node} is never told about ring {ring_seq}"));
            return;
        }
        if let Some(daemon) = self.daemon_mut(node) {
            daemon.quorate_told = quorate;
        }
        self.note(|| format!("  n{node} is told ring {ring_seq} is {}quorate", if quorate { "" } else { "not " }));
        let expected = u32::try_from(self.nodes.len()).ok();
        let (votes, votes_expected) = (Some(votes), expected);
        self.happen(node, Event::QuorumChanged { ring_seq, quorate, votes, votes_expected, members: Vec::new() });
    }

    // Starting and ending of programs.

    /// A node gets power and boots.
    pub fn boot(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        if node.power {
            return;
        }
        node.power = true;
        node.boots += 1;
        node.starts = true;
        self.tell(|| format!("world: n{id} boots"));
        let delay = self.rng.between(self.params.start_ms);
        self.later(delay, Task::StartCorosync(id));
    }

    fn start_corosync(&mut self, id: NodeId) {
        let two_node = self.params.two_node;
        let Some(node) = self.nodes.get_mut(&id).filter(|node| node.power) else { return };
        if !self.cpg.is_up(id) {
            node.waits_for_all = two_node;
            self.cpg.start(id);
            self.apply_sides();
            self.network_changed();
        }
        let delay = self.rng.between(self.params.start_ms);
        self.later(delay, Task::StartDaemon(id));
    }

    fn start_daemon(&mut self, id: NodeId) {
        let (pid, law, piece_bytes) = (self.new_pid(), self.law, self.params.piece_bytes);
        let Some(node) = self.nodes.get_mut(&id).filter(|node| node.power && node.daemon.is_none()) else { return };
        if !self.cpg.is_up(id) {
            return;
        }
        let orphans: Vec<u64> = node.runs.keys().copied().collect();
        let event = Event::Booted {
            node: id,
            incarnation: Incarnation(u64::from(pid)),
            boot: BootId(format!("boot-{id}-{}", node.boots)),
            conf: node.disk.conf.clone(),
            intents: node.disk.intents.clone(),
            started: node.started.clone(),
        };
        node.daemon = Some(Daemon {
            engine: Engine::new(law).speaking(node.speaks).cutting(piece_bytes),
            pid,
            timer: None,
            runs: BTreeMap::new(),
            joined: false,
            quorate_told: false,
            position: None,
            in_force: node.disk.conf.version,
        });
        // Agents of an earlier daemon are killed before the new one looks.
        for key in orphans {
            if self.rng.chance(500) {
                self.run_effect(id, key);
            }
            if let Some(node) = self.nodes.get_mut(&id) {
                node.runs.remove(&key);
            }
        }
        self.tell(|| format!("world: rgmanager of n{id} starts"));
        self.happen(id, event);
    }

    /// The daemon is gone, in whatever way; its agents go on.
    pub fn drop_daemon(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.daemon = None;
        for run in node.runs.values_mut() {
            run.asked_by = None;
        }
    }

    /// Everything on the node is gone.
    pub fn power_off(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(&id).filter(|node| node.power) else { return };
        node.power = false;
        node.frozen = false;
        node.frozen_tasks.clear();
        node.running.clear();
        node.started.clear();
        node.runs.clear();
        node.daemon = None;
        self.cpg.stop(id);
        self.tell(|| format!("world: n{id} loses power"));
        self.apply_sides();
        self.network_changed();
    }

    /// corosync dies under a living daemon.
    pub fn stop_corosync(&mut self, id: NodeId) {
        if !self.cpg.is_up(id) {
            return;
        }
        self.cpg.stop(id);
        self.tell(|| format!("world: corosync of n{id} dies"));
        if let Some(pid) = self.daemon(id).map(|daemon| daemon.pid) {
            let delay = self.rng.between(self.params.take_ms);
            self.later(delay, Task::TellCorosyncLost(id, pid));
        }
        self.network_changed();
    }

    /// corosync is told to stop under a living daemon: the group hears that the process is gone before the node is.
    pub fn shut_down_corosync(&mut self, id: NodeId) {
        if !self.cpg.is_up(id) {
            return;
        }
        self.tell(|| format!("world: corosync of n{id} is stopped"));
        let keep = self.rng.index(self.cpg.outgoing(id) + 1);
        self.cpg.shut_down(id, keep);
        let (token, delay) = (self.rng.between(self.params.token_ms), self.rng.between((10, 50)));
        self.later(token, Task::Token(id));
        self.later(delay, Task::StopCorosync(id));
    }

    /// The node stands still: nothing runs on, nothing is forgotten.
    pub fn freeze(&mut self, id: NodeId, for_ms: u64) {
        let Some(node) = self.nodes.get_mut(&id).filter(|node| node.power && !node.frozen) else { return };
        node.frozen = true;
        self.tell(|| format!("world: n{id} stands still"));
        self.apply_sides();
        self.network_changed();
        self.later(for_ms, Task::Thaw(id));
    }

    pub fn thaw(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(&id).filter(|node| node.frozen) else { return };
        node.frozen = false;
        let tasks = std::mem::take(&mut node.frozen_tasks);
        self.tell(|| format!("world: n{id} goes on"));
        for task in tasks {
            self.later(0, task);
        }
        self.apply_sides();
        self.network_changed();
    }

    /// Splits the network.
    pub fn split(&mut self, sides: BTreeMap<NodeId, u32>) {
        self.sides.extend(sides);
        self.apply_sides();
        self.network_changed();
    }

    fn apply_sides(&mut self) {
        for (&id, node) in &self.nodes {
            let side = if node.frozen { 1000 + id.0 } else { self.sides.get(&id).copied().unwrap_or(0) };
            self.cpg.put_on_side(id, side);
        }
    }
}

impl Task {
    /// The node on which it happens; `None` for what happens in the world.
    pub fn node(&self) -> Option<NodeId> {
        match self {
            Self::Token(node)
            | Self::Receive(node)
            | Self::Take(node, _)
            | Self::FormRing(node)
            | Self::TellQuorum { node, .. }
            | Self::Timer(node, _, _)
            | Self::RunEffect(node, _)
            | Self::RunEnd(node, _)
            | Self::FenceEnd { by: node, .. }
            | Self::ConfStored { node, .. }
            | Self::TellCorosyncLost(node, _)
            | Self::Notice { node, .. }
            | Self::Thaw(node)
            | Self::StartCorosync(node)
            | Self::StopCorosync(node)
            | Self::StartDaemon(node) => Some(*node),
            Self::FenceEffect { .. } | Self::Boot(_) => None,
        }
    }
}

fn describe(told: &Told) -> String {
    match told {
        Told::Membership { members, left, joined } => {
            let names = |list: Vec<NodeId>| list.iter().map(|node| format!("n{node}")).collect::<Vec<_>>().join(" ");
            format!(
                "membership {}, left {:?}, joined {}",
                names(members.iter().map(|member| member.node).collect()),
                left.iter().map(|(member, reason)| (member.node.0, reason)).collect::<Vec<_>>(),
                names(joined.iter().map(|member| member.node).collect())
            )
        }
        Told::Ring { seq, members } => format!("ring {seq} of {members:?}"),
        Told::Message { from, message } => format!("from n{from}: {}", summary(message)),
    }
}

/// A message in one short line.
pub fn summary(message: &Message) -> String {
    match message {
        Message::Hello(hello) => format!(
            "hello {} state {:?} claims {:?}",
            hello.nonce,
            hello.state.map(|tag| (tag.branch.0 % 10_000, tag.was_quorate, tag.decided)),
            hello.claims
        ),
        Message::Snapshot { to, nonce, state, .. } => {
            format!("snapshot for n{to} nonce {nonce} branch {}", state.branch.0 % 10_000)
        }
        Message::SnapshotPiece { to, nonce, number, count, .. } => {
            format!("piece {number} of {count} of the snapshot for n{to} nonce {nonce}")
        }
        Message::Decide(decide) => {
            format!("decide {:?} branch {} because {}", decide.decision, decide.branch.0 % 10_000, decide.reason.text())
        }
        Message::Report(report) => format!("report {} epoch {} {:?}", report.service, report.epoch.0, report.outcome),
        Message::ConfOffer { conf, .. } => format!("offer of configuration {}", conf.version),
        Message::Progress { service, epoch, .. } => format!("progress of {service} epoch {}", epoch.0),
        other => format!("{other:?}"),
    }
}
