//! What people are told must agree with what is done: the reasons of `clustat --why` and the states of `clustat`, asked of the
//! engines of the simulation while everything happens.

use engine::{Decision, Message, why};
use shared::ids::{NodeId, NodeName, ServiceName, Time};
use shared::status::{ClusterStatus, ServiceStatus};
use shared::text::ServiceState;
use shared::why::{Assumption, Outcome, Test, Verdict};

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
                Some(_) => wrong_about(&status, service),
            }
        });
        if let Some(wrong) = wrong {
            self.violate(|| wrong);
        }
    }

    /// What a member shows, a line per node and service (`clustat`, `fence_tool ls`).
    pub(crate) fn tell_status(&mut self, id: NodeId) -> Option<()> {
        let status = self.daemon(id)?.engine.status(Time(self.now));
        let mut lines = vec![format!("{:?}, quorate {}", status.phase, status.quorum.quorate)];
        for node in &status.nodes {
            let online = if node.online { "online" } else { "offline" };
            let mut line = format!("{} {online}, {:?}", node.name, node.member);
            if let Some(fencing) = &node.fencing {
                let by = fencing.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
                line += &format!(", fencing {:?}{by}, attempt {}: {}", fencing.step, fencing.attempt, fencing.advice);
            }
            lines.push(line);
        }
        for service in &status.services {
            let owner = match (&service.owner, &service.last_owner) {
                (Some(owner), _) => format!(" on {owner}"),
                (None, Some(last)) => format!(" (last on {last})"),
                (None, None) => String::new(),
            };
            let waits = service.waits_for.as_ref().map(|reason| format!("; waits: {}", reason.text()));
            let (name, state, reason) = (&service.name, service.state.name(), service.reason.text());
            let restarts =
                if service.restarts > 0 { format!("; restarts: {}", service.restarts) } else { String::new() };
            lines.push(format!("{name} {state}{owner} [{reason}]{}{restarts}", waits.unwrap_or_default()));
        }
        for line in lines {
            self.tell(|| format!("n{id} shows: {line}"));
        }
        Some(())
    }

    /// How far the resources of a service are, as a member shows them.
    pub(crate) fn tell_resources(&mut self, id: NodeId, service: &ServiceName) -> Option<()> {
        let status = self.daemon(id)?.engine.status(Time(self.now));
        let service = status.services.into_iter().find(|shown| shown.name == *service)?;
        for resource in service.resources {
            self.tell(|| format!("n{id} shows: {} {:?}", resource.name, resource.state));
        }
        Some(())
    }

    /// What is known of the fence methods of a node, as a member shows it.
    pub(crate) fn tell_proofs(&mut self, id: NodeId, node: &NodeName) -> Option<()> {
        let status = self.daemon(id)?.engine.status(Time(self.now));
        let shown = status.nodes.into_iter().find(|shown| shown.name == *node)?;
        for proof in shown.fence_proofs {
            let by = proof.by.map(|by| format!(" by {by}")).unwrap_or_default();
            self.tell(|| format!("n{id} shows: method {} of {node} {:?}{by}", proof.method, proof.verdict));
        }
        Some(())
    }

    /// What a member answers when asked why a service is as it is (`clustat --why`).
    pub(crate) fn tell_why(&mut self, id: NodeId, service: &ServiceName) -> Option<()> {
        let explanation = self.daemon(id)?.engine.explain(Time(self.now), service)?;
        let tested = |tests: &[Test]| -> String {
            let word = |test: &Test| match test.outcome() {
                Outcome::Passes => "yes",
                Outcome::Blocks => "NO",
                Outcome::Told => "-",
                Outcome::Unknown => "?",
            };
            tests.iter().map(|test| format!("{} {}", word(test), test.text())).collect::<Vec<_>>().join("; ")
        };
        let mut lines = vec![format!("{service} is {}: {}", explanation.state.name(), tested(&explanation.tests))];
        for node in &explanation.nodes {
            lines.push(format!("{} {:?}: {}", node.node, node.verdict, tested(&node.tests)));
        }
        for line in lines {
            self.tell(|| format!("n{id} explains: {line}"));
        }
        Some(())
    }

    /// What a member answers when asked what would happen (`clusvcadm --plan`, the page What if).
    pub(crate) fn tell_prediction(&mut self, id: NodeId, assumption: &Assumption) -> Option<()> {
        let prediction = self.daemon(id)?.engine.predict(Time(self.now), assumption);
        let mut lines: Vec<String> =
            prediction.refused.iter().map(|refusal| format!("refused: {}", refusal.text)).collect();
        lines.extend(prediction.steps.iter().map(|step| step.text.clone()));
        lines.extend(prediction.changes.iter().map(|change| {
            format!("{}: {} -> {} [{}]", change.service, place(&change.from), place(&change.to), change.reason.text())
        }));
        if lines.is_empty() {
            lines.push("nothing changes".to_owned());
        }
        for line in lines {
            self.tell(|| format!("n{id} foresees: {line}"));
        }
        Some(())
    }
}

/// A state and an owner.
fn place((state, owner): &(ServiceState, Option<NodeName>)) -> String {
    format!("{}{}", state.name(), owner.as_ref().map(|owner| format!(" on {owner}")).unwrap_or_default())
}

/// What contradicts itself in a service that a node shows.
fn wrong_about(status: &ClusterStatus, service: &ServiceStatus) -> Option<String> {
    let name = &service.name;
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
