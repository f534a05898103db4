//! What people are told must agree with what is done: the reasons of `clustat --why` and the states of `clustat`, asked of the
//! engines of the simulation while everything happens.

use engine::{Decision, Message, why};
use shared::ids::{NodeId, ServiceName, Time};
use shared::status::ClusterStatus;
use shared::text::ServiceState;
use shared::why::Verdict;

use crate::sim::Sim;

/// Of so many events of the group, one is followed by a look at what the node tells. A look takes longer than most events.
const LOOK_EVERY: u64 = 16;

impl Sim {
    /// A node has decided something: if it starts a service, then its own explanation lets the service run there.
    pub(crate) fn check_reasons(&mut self, id: NodeId, message: &Message) {
        let Message::Decide(decide) = message else { return };
        let Decision::Start { service, on, .. } = &decide.decision else { return };
        let Some(daemon) = self.daemon(id) else { return };
        let Some(explanation) = daemon.engine.explain(Time(self.now), service) else {
            return self.violate(|| format!("n{id} starts {service} and cannot explain it"));
        };
        let there = explanation.nodes.iter().find(|node| node.node.0 == format!("n{on}"));
        let candidate = there.is_some_and(|node| matches!(node.verdict, Verdict::Candidate { .. }));
        if !candidate || !why::lets_run(&explanation) {
            self.violate(|| {
                format!("n{id} starts {service} on n{on}, but explains that it may not run there: {explanation:?}")
            });
        }
    }

    /// What a node tells after an event of the group.
    pub(crate) fn check_told(&mut self, id: NodeId) {
        self.looks += 1;
        if !self.looks.is_multiple_of(LOOK_EVERY) {
            return;
        }
        let Some(engine) = self.daemon(id).map(|daemon| &daemon.engine) else { return };
        let status = engine.status(Time(self.now));
        let wrong = status.services.iter().find_map(|service| {
            let explained = engine.explain(Time(self.now), &service.name);
            match explained {
                None => Some(format!("{} is shown by n{id} and not explained", service.name)),
                Some(explanation) if (explanation.state, &explanation.owner) != (service.state, &service.owner) => {
                    Some(format!("n{id} shows {} in another way than it explains it: {explanation:?}", service.name))
                }
                Some(_) => wrong_about(&status, &service.name),
            }
        });
        if let Some(wrong) = wrong {
            self.violate(|| wrong);
        }
    }
}

/// What contradicts itself in a service that a node shows.
fn wrong_about(status: &ClusterStatus, name: &ServiceName) -> Option<String> {
    let service = status.services.iter().find(|service| service.name == *name)?;
    let owned = matches!(service.state, ServiceState::Started | ServiceState::Starting | ServiceState::Stopping);
    if owned && service.owner.is_none() {
        return Some(format!("{name} is {} and nobody owns it", service.state.name()));
    }
    let owner = service.owner.as_ref()?;
    let node = status.nodes.iter().find(|node| node.name == *owner);
    if node.is_none_or(|node| node.fencing.is_some()) {
        return Some(format!("{name} is owned by {owner}, which is lost"));
    }
    None
}
