//! What agents really do on a node: which resources run, whatever anybody believes.

use engine::{Event, Operation, Run, RunId};
use shared::ids::{NodeId, ResourceName, ServiceName};

use crate::sim::{AgentRun, Behaviour, Sim, Task};

impl Sim {
    /// What this execution will do.
    pub(crate) fn behaviour(&mut self, id: NodeId, run: &Run) -> Behaviour {
        for node in [Some(id), None] {
            if let Some(&said) = self.behaviours.get(&(node, run.resource.name.clone(), run.operation)) {
                return said;
            }
        }
        let permille = match run.operation {
            Operation::Start => self.params.start_fails_permille,
            Operation::Stop => self.params.stop_fails_permille,
            Operation::Monitor => self.params.monitor_fails_permille,
            Operation::MigrateTo | Operation::MigrateFrom => self.params.start_fails_permille,
        };
        if !self.rng.chance(permille) {
            return Behaviour::Works;
        }
        [Behaviour::Fails, Behaviour::Fails, Behaviour::FailsAfterEffect, Behaviour::Hangs][self.rng.index(4)]
    }

    pub(crate) fn begin_run(&mut self, id: NodeId, run_id: RunId, run: &Run, behaviour: Behaviour) -> AgentRun {
        let pid = self.daemon(id).map_or(0, |daemon| daemon.pid);
        let hang_has_effect = self.rng.chance(500);
        AgentRun {
            service: run.service.clone(),
            resource: run.resource.name.clone(),
            operation: run.operation,
            peer: run.peer.clone(),
            asked_by: Some((pid, run_id)),
            takes_effect: match behaviour {
                Behaviour::Works | Behaviour::Slow | Behaviour::FailsAfterEffect => true,
                Behaviour::Fails | Behaviour::Says(_) => false,
                Behaviour::Hangs => hang_has_effect,
            },
            code: match behaviour {
                Behaviour::Works | Behaviour::Slow => Some(0),
                Behaviour::Fails | Behaviour::FailsAfterEffect => Some(1),
                Behaviour::Says(code) => Some(code),
                Behaviour::Hangs => None,
            },
        }
    }

    pub(crate) fn run_effect(&mut self, id: NodeId, key: u64) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let Some(run) = node.runs.get_mut(&key) else { return };
        if !std::mem::take(&mut run.takes_effect) {
            return;
        }
        let what = (run.service.clone(), run.resource.clone());
        match run.operation {
            Operation::Start => {
                node.running.insert(what);
            }
            Operation::Stop => {
                node.running.remove(&what);
            }
            Operation::MigrateTo => {
                let peer = run.peer.clone();
                let works = node.running.contains(&what);
                self.guest_moves(id, key, what, works, peer);
            }
            Operation::Monitor | Operation::MigrateFrom => {
                if run.code == Some(0) && !node.running.contains(&what) {
                    run.code = Some(7);
                }
            }
        }
    }

    /// A guest goes over to the other node, if that is there; from one moment to the next it runs there and not here.
    fn guest_moves(
        &mut self,
        id: NodeId,
        key: u64,
        what: (ServiceName, ResourceName),
        works: bool,
        peer: Option<shared::ids::NodeName>,
    ) {
        let peer = peer.and_then(|name| name.0.strip_prefix('n')?.parse().ok()).map(NodeId);
        let reaches = |peer: &NodeId| {
            let side = |node: &NodeId| self.sides.get(node).copied().unwrap_or(0);
            side(peer) == side(&id) && self.nodes.get(peer).is_some_and(|node| node.power && !node.frozen)
        };
        let target = peer.filter(|peer| works && reaches(peer));
        let Some(target) = target else {
            if let Some(run) = self.nodes.get_mut(&id).and_then(|node| node.runs.get_mut(&key)) {
                run.code = run.code.map(|code| if code == 0 { if works { 1 } else { 7 } } else { code });
            }
            return;
        };
        if let Some(node) = self.nodes.get_mut(&id) {
            node.running.remove(&what);
        }
        if let Some(other) = self.nodes.keys().copied().find(|other| *other != id && self.is_busy(*other, &what.0)) {
            self.violate(|| format!("{} migrates to n{target} while it runs on n{other}", what.0));
        }
        if let Some(node) = self.nodes.get_mut(&target) {
            node.running.insert(what);
        }
    }

    pub(crate) fn run_end(&mut self, id: NodeId, key: u64) {
        self.run_effect(id, key);
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let Some(run) = node.runs.remove(&key) else { return };
        let Some((pid, run_id)) = run.asked_by else { return };
        if let Some(daemon) = node.daemon.as_mut().filter(|daemon| daemon.pid == pid) {
            daemon.runs.remove(&run_id);
            let output = if run.code == Some(0) { String::new() } else { "it did not work".to_owned() };
            self.happen(id, Event::RunFinished { id: run_id, code: run.code, output });
        }
    }

    /// A resource ends by itself.
    pub fn resource_dies(&mut self, id: NodeId, service: &ServiceName, resource: &ResourceName) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        if !node.running.remove(&(service.clone(), resource.clone())) {
            return;
        }
        self.tell(|| format!("world: {resource} of {service} dies on n{id}"));
        if let Some(pid) = self.daemon(id).map(|daemon| daemon.pid).filter(|_| self.params.notices) {
            let delay = self.rng.between(self.params.take_ms);
            let (service, resource) = (service.clone(), resource.clone());
            self.later(delay, Task::Notice { node: id, pid, service, resource });
        }
    }

    /// What the kernel says beyond doubt of a resource that has ended: only of addresses and mounts, and not if it is back already.
    pub(crate) fn evidence(&self, id: NodeId, service: &ServiceName, resource: &ResourceName) -> Option<String> {
        let known = ["ip:", "fs:"].iter().any(|kind| resource.as_str().starts_with(kind));
        let runs = self.nodes.get(&id)?.running.contains(&(service.clone(), resource.clone()));
        (self.params.notices_certain && known && !runs).then(|| format!("the kernel says that {resource} is gone"))
    }

    /// Whether anything of the service runs on the node, or may soon: an agent that starts it is at work.
    pub fn is_busy(&self, id: NodeId, service: &ServiceName) -> bool {
        let Some(node) = self.nodes.get(&id).filter(|node| node.power) else { return false };
        let starts = |run: &AgentRun| run.operation == Operation::Start && run.service == *service && run.takes_effect;
        node.running.iter().any(|(name, _)| name == service) || node.runs.values().any(starts)
    }
}
