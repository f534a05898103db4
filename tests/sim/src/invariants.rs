//! What must hold at every step, judged by the world and not by what engines believe.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use engine::{ConfText, Decision, Event, Message, Operation, Run};
use shared::ids::{NodeId, RequestId, ServiceName};
use shared::status::{Command, Reason};
use shared::text::{ResultCode, ServiceState};

use crate::sim::{Disabled, Disk, History, Sim};

/// What would be wrong with a decision if it were carried out, and how many had been before.
pub(crate) struct Doubts {
    decided: u64,
    wrong: Option<String>,
}

impl Sim {
    /// A decision is about to be delivered to a node.
    pub(crate) fn doubts(&self, id: NodeId, from: NodeId, message: &Message) -> Option<Doubts> {
        let Message::Decide(decide) = message else { return None };
        let state = self.daemon(id)?.engine.replicated()?;
        let holds_state = state.members.get(&from).is_some_and(|member| member.has_state);
        let mut wrong = (decide.branch != state.branch || !holds_state)
            .then(|| format!("n{id} carries out a decision by n{from} that belongs to another history"));
        if let Decision::Start { service, on, .. } = &decide.decision {
            let clean = state.members.get(on).is_some_and(|member| member.clean && !member.goodbye);
            let claimed = state.members.iter().find(|(_, member)| member.claims.contains_key(service));
            if let Some(lost) = state.lost.keys().next() {
                wrong = Some(format!("{service} is to be started on n{on} although n{lost} is lost and not fenced"));
            } else if !clean {
                wrong = Some(format!("{service} is to be started on n{on}, which is not a clean member"));
            } else if let Some((holder, _)) = claimed {
                wrong = Some(format!("{service} is to be started on n{on} although n{holder} says that it runs it"));
            }
        }
        Some(Doubts { decided: state.decided, wrong })
    }

    /// The decision has been delivered: if it was carried out, nothing may have been wrong with it.
    pub(crate) fn check_decision(&mut self, id: NodeId, doubts: Option<Doubts>) {
        let Some(Doubts { decided, wrong: Some(wrong) }) = doubts else { return };
        let Some(state) = self.daemon(id).and_then(|daemon| daemon.engine.replicated()) else { return };
        if state.decided > decided {
            self.violate(|| wrong);
        }
    }

    /// A node is about to run an agent.
    pub(crate) fn check_run(&mut self, id: NodeId, run: &Run) {
        match run.operation {
            Operation::Start => self.check_start(id, &run.service),
            Operation::Stop => self.check_stop(id, run),
            _ => {}
        }
    }

    /// What is being stopped is not checked any more: a check would find it half gone, and its agent would meet the other's.
    fn check_stop(&mut self, id: NodeId, run: &Run) {
        let pid = self.daemon(id).map(|daemon| daemon.pid);
        let beside = self.nodes.get(&id).into_iter().flat_map(|node| node.runs.values()).any(|other| {
            let same = other.service == run.service && other.resource == run.resource.name;
            // One that was aborted has no result any more.
            same && other.operation == Operation::Monitor
                && other.code.is_some()
                && other.asked_by.map(|(pid, _)| pid) == pid
        });
        if beside {
            self.violate(|| {
                format!("{} of {} is being stopped on n{id} while it is checked", run.resource.name, run.service)
            });
        }
    }

    fn check_start(&mut self, id: NodeId, service: &ServiceName) {
        let others: Vec<NodeId> = self.nodes.keys().copied().filter(|other| *other != id).collect();
        if let Some(other) = others.into_iter().find(|other| self.is_busy(*other, service)) {
            self.violate(|| format!("{service} is being started on n{id} while it runs on n{other}"));
        }
        let Some(daemon) = self.daemon(id) else { return };
        if !daemon.quorate_told {
            return self.violate(|| format!("n{id} starts {service} without quorum"));
        }
        let Some(state) = daemon.engine.replicated() else {
            return self.violate(|| format!("n{id} starts {service} without knowing the state"));
        };
        let (conf_text, record) = (state.conf.clone(), state.services.get(service).cloned());
        let Some(record) = record.filter(|record| record.holder == Some(id)) else {
            return self.violate(|| format!("n{id} starts {service}, which it does not hold"));
        };
        // A guest that is being replaced by its new definition moves when that runs.
        let moves_next = record.state == ServiceState::Migrating && record.arriving.is_some();
        if !matches!(record.state, ServiceState::Starting | ServiceState::Started) && !moves_next {
            self.violate(|| format!("n{id} starts {service}, which is {}", record.state.name()));
        }
        if record.state == ServiceState::Starting {
            if record.frozen {
                self.violate(|| format!("n{id} starts {service}, which is frozen"));
            }
            self.check_intents(id, service);
            self.check_domain(id, service, &conf_text);
            self.check_exclusive(id, service, &conf_text);
        }
    }

    /// An exclusive service shares its node with none.
    fn check_exclusive(&mut self, id: NodeId, service: &ServiceName, conf_text: &ConfText) {
        let Some(conf) = self.conf(conf_text) else { return };
        let exclusive = |name: &ServiceName| conf.service(name).is_some_and(|service| service.exclusive > 0);
        let Some(state) = self.daemon(id).and_then(|daemon| daemon.engine.replicated()) else { return };
        let held = state.services.iter().filter(|(name, record)| *name != service && record.holder == Some(id));
        // What was taken over was running already when the rule could be asked.
        let meets = held.filter(|(_, record)| !matches!(record.reason, Reason::TakenOver { .. }));
        let other = meets.map(|(name, _)| name.clone()).find(|name| exclusive(name) || exclusive(service));
        if let Some(other) = other {
            self.violate(|| format!("n{id} starts {service} beside {other}, and one of them is exclusive"));
        }
    }

    fn check_domain(&mut self, id: NodeId, service: &ServiceName, conf_text: &ConfText) {
        let Some(conf) = self.conf(conf_text) else { return };
        let domain =
            conf.service(service).and_then(|service| service.domain.as_ref()).and_then(|name| conf.domain(name));
        let Some(domain) = domain.filter(|domain| domain.restricted) else { return };
        if !domain.nodes.iter().any(|(name, _)| conf.node(name).is_some_and(|node| node.id == id)) {
            self.violate(|| {
                format!("n{id} starts {service}, whose restricted domain {} does not contain it", domain.name)
            });
        }
    }

    fn check_intents(&mut self, id: NodeId, service: &ServiceName) {
        let Some(history) = self.history_of(id) else { return };
        // Who has not heard of it yet may be about to be cut off and start it for its last moment.
        let knows = |disabled: &Disabled| disabled.known.get(&history).is_some_and(|known| known.contains(&id));
        if self.disabled.get(service).is_some_and(knows) {
            self.violate(|| format!("n{id} starts {service}, which was disabled by an operator"));
        }
    }

    pub(crate) fn mark_finished(&mut self, node: NodeId, request: &RequestId, code: ResultCode) {
        let history = self.history_of(node);
        let Some(asked) = self.asked.get_mut(request) else { return };
        asked.finished = true;
        if let Command::Disable { service } = &asked.command
            && matches!(code, ResultCode::Success | ResultCode::Warning)
            && let Some(history) = history
            && let Some(disabled) = self.disabled.get_mut(service)
            && disabled.request == *request
        {
            disabled.known.entry(history).or_default().insert(node);
        }
    }

    /// The history that the daemon of a node follows.
    pub(crate) fn history_of(&self, id: NodeId) -> Option<History> {
        self.daemon(id)?.engine.replicated().map(|state| (state.history, state.formed_at))
    }

    /// The history whose intents a cluster inherits that is being founded by this message: the newest that a founder has on disk.
    pub(crate) fn inherited(&self, event: &Event) -> Option<(NodeId, History)> {
        let Event::Delivered { message, .. } = event else { return None };
        let Message::Found { members, .. } = &**message else { return None };
        let disks = members.keys().filter_map(|id| self.nodes.get(id).map(|node| (*id, &node.disk)));
        let newest =
            |(_, disk): &(NodeId, &Disk)| disk.intents.as_ref().map(|intents| (intents.history, intents.change));
        disks.max_by_key(newest).and_then(|(id, disk)| Some((id, disk.history?)))
    }

    /// A daemon has come into a history: who founds one knows what its disks knew, who joins one knows what it was handed.
    pub(crate) fn enter_history(&mut self, id: NodeId, inherited: Option<(NodeId, History)>) {
        let Some(history) = self.history_of(id) else { return };
        let founding = self.founded.insert(history);
        let Some(state) = self.nodes.get(&id).and_then(|node| node.daemon.as_ref()?.engine.replicated()) else {
            return;
        };
        let founders: BTreeSet<NodeId> = state.members.keys().copied().collect();
        for (service, disabled) in &mut self.disabled {
            let heir = |(node, from)| disabled.known.get(&from).is_some_and(|known| known.contains(&node));
            if founding && inherited.is_some_and(heir) {
                disabled.known.entry(history).or_default().extend(&founders);
            } else if disabled.known.contains_key(&history)
                && state.services.get(service).is_some_and(|record| record.state == ServiceState::Disabled)
            {
                disabled.known.entry(history).or_default().insert(id);
            } else if let Some(known) = disabled.known.get_mut(&history) {
                // It heard of it in a half that is gone (docs/decisions/0005), and comes back to one that never did.
                known.remove(&id);
            }
        }
    }

    pub(crate) fn switch_conf(&mut self, id: NodeId, conf: ConfText) {
        let digest = self.versions.entry(conf.version).or_insert_with(|| conf.digest.clone()).clone();
        if digest != conf.digest && !self.params.two_node && !self.founded_by_few {
            self.violate(|| format!("configuration {} has two contents in force", conf.version));
        }
        self.check_stored_by_all(id, &conf);
        let before = self.nodes.get(&id).map_or(conf.version, |node| node.disk.conf.version);
        // What only a minority ever had in force can be lost with it.
        let known = self.nodes.values().filter(|node| node.disk.conf.version >= before).count();
        let established = known > self.nodes.len() / 2 && !self.params.two_node && !self.founded_by_few;
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.disk.conf = conf.clone();
        if conf.version < before && established {
            self.violate(|| format!("the configuration of n{id} went from {before} to {}", conf.version));
        }
        self.note(|| format!("  n{id} switches to configuration {}", conf.version));
    }

    /// Whoever is a member must have had it on disk before it comes into force anywhere.
    fn check_stored_by_all(&mut self, id: NodeId, conf: &ConfText) {
        let Some(state) = self.daemon(id).and_then(|daemon| daemon.engine.replicated()) else { return };
        let members: Vec<NodeId> = state.members.keys().copied().collect();
        let missing = members.into_iter().filter(|member| *member != id).find(|member| {
            let Some(node) = self.nodes.get(member) else { return false };
            let has = |stored: &ConfText| stored.digest == conf.digest || stored.version > conf.version;
            // One that is on its way in gets it with the state.
            let clean = state.members.get(member).is_some_and(|member| member.clean);
            clean && node.power && !has(&node.disk.conf) && !node.disk.stored.as_ref().is_some_and(has)
        });
        if let Some(member) = missing {
            self.violate(|| {
                format!(
                    "configuration {} came into force on n{id}, but member n{member} has not stored it",
                    conf.version
                )
            });
        }
    }

    /// After an event of the group: whoever is at the same place of the same branch has the same state.
    pub(crate) fn check_state(&mut self, id: NodeId) {
        let Some(daemon) = self.daemon(id) else { return };
        let (Some(state), Some(position)) = (daemon.engine.replicated(), daemon.position) else { return };
        let mut hasher = DefaultHasher::new();
        state.hash(&mut hasher);
        let (hash, branch) = (hasher.finish(), state.branch.0);
        let orphan = state.services.iter().find_map(|(name, record)| {
            let holder = record.holder?;
            let known = state.members.contains_key(&holder) || state.lost.contains_key(&holder);
            (!known).then(|| (name.clone(), holder))
        });
        if let Some((service, holder)) = orphan {
            self.violate(|| format!("on n{id}, {service} is held by n{holder}, which is neither a member nor lost"));
        }
        match self.states.insert((branch, position), hash) {
            Some(known) if known != hash => {
                self.violate(|| format!("n{id} has another state than others at {position:?} of branch {branch}"));
            }
            _ => {}
        }
    }
}
