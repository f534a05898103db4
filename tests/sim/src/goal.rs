//! What must come true once the faults have stopped: every node a clean member, every service that can run started once, where
//! its domain wants it, every request answered and ended.

use std::collections::BTreeSet;

use engine::Replicated;
use engine::placement::{Level, Situation, level};
use shared::conf::model::{Conf, Resource};
use shared::ids::{NodeId, ResourceName};
use shared::status::{Placement, Reason};
use shared::text::ServiceState;

use crate::sim::Sim;

impl Sim {
    /// What is still missing; empty when all is well.
    pub fn unmet(&mut self) -> Vec<String> {
        let mut unmet = Vec::new();
        let all: Vec<NodeId> = self.nodes.keys().copied().collect();
        let Some(state) = self.daemon(all[0]).and_then(|daemon| daemon.engine.replicated()).cloned() else {
            return vec![format!("n{} has no state", all[0])];
        };
        for &id in &all {
            let Some(engine) = self.daemon(id).map(|daemon| &daemon.engine) else {
                unmet.push(format!("n{id} has no daemon"));
                continue;
            };
            match engine.replicated() {
                None => unmet.push(format!("n{id} has no state")),
                Some(theirs) if theirs.branch != state.branch => unmet.push(format!("n{id} has another history")),
                Some(theirs) if !theirs.members.get(&id).is_some_and(|member| member.clean) => {
                    unmet.push(format!("n{id} is not a clean member"));
                }
                Some(_) => {}
            }
            if !engine.is_quorate() {
                unmet.push(format!("n{id} is not quorate"));
            }
        }
        for id in state.lost.keys() {
            unmet.push(format!("n{id} is still lost"));
        }
        for id in &state.standby {
            unmet.push(format!("n{id} is still in standby"));
        }
        if state.offer.is_some() {
            unmet.push("a configuration is still on offer".to_owned());
        }
        let Some(conf) = self.conf(&state.conf) else { return vec!["the configuration cannot be used".to_owned()] };
        for service in &conf.services {
            unmet.extend(self.unmet_by_service(&state, &conf, service));
        }
        self.unmet_requests(&state, &mut unmet);
        unmet
    }

    fn unmet_by_service(
        &self,
        state: &Replicated,
        conf: &Conf,
        service: &shared::conf::model::Service,
    ) -> Option<String> {
        let name = &service.name;
        let Some(record) = state.services.get(name) else { return Some(format!("{name} is not in the state")) };
        let online: Vec<NodeId> = state.members.iter().filter(|(_, member)| member.clean).map(|(&id, _)| id).collect();
        match record.state {
            ServiceState::Disabled => {
                let runs = self.nodes.keys().find(|id| self.is_busy(**id, name))?;
                // A disable of a failed service ends even if its stop fails again.
                (record.failure.is_none()).then(|| format!("{name} is disabled but runs on n{runs}"))
            }
            ServiceState::Started => {
                let holder = record.holder?;
                let Some(node) = self.nodes.get(&holder) else { return Some(format!("{name} has no such owner")) };
                let missing = shared::tree::start_order(service)
                    .into_iter()
                    .filter(|resource| !is_stopped_part(&service.tree, &resource.name, &record.stopped_parts))
                    .find(|resource| !node.running.contains(&(name.clone(), resource.name.clone())));
                if let Some(resource) = missing {
                    return Some(format!("{name} is started on n{holder}, but {} does not run", resource.name));
                }
                let needs = service.depend.as_ref().filter(|_| service.depend_hard);
                let there = |needs| state.services.get(needs).is_some_and(|other| other.state == ServiceState::Started);
                if let Some(needs) = needs.filter(|needs| !there(needs)) {
                    return Some(format!("{name} is started although {needs}, on which it depends, is not"));
                }
                let situation = Situation { online: &online, owner: Some(holder), running: true };
                let best = online.iter().map(|&id| level(conf, service, id, situation)).max()?;
                let here = level(conf, service, holder, situation);
                // Moved, it could not start again while what it depends on is down.
                let runs = |other: &shared::ids::ServiceName| {
                    state.services.get(other).is_some_and(|record| record.state == ServiceState::Started)
                };
                let alone = service.depend.as_ref().is_some_and(|needs| !runs(needs));
                let kept_by_rule = alone
                    || service.domain.as_ref().is_some_and(|domain| self.changed_domains.contains(&domain.0))
                    || service.exclusive > 0
                    // Also one that is gone: it kept others away, and what runs moves for a node that joins only (rhcs.md §3.6).
                    || self.has_known_exclusive_service()
                    || !placed_by_policy(&record.reason);
                // Moved, it would have to be stopped and could not be started again.
                (here < best && !kept_by_rule && !waits_for_dependency(state, service))
                    .then(|| format!("{name} runs on n{holder}, which is not where its domain wants it"))
            }
            other => {
                let situation = Situation { online: &online, owner: None, running: false };
                let place = online.iter().any(|&id| level(conf, service, id, situation) > Level::Illegal);
                let exclusive = service.exclusive > 0 || conf.services.iter().any(|other| other.exclusive > 0);
                (place && !waits_for_dependency(state, service) && !exclusive).then(|| {
                    format!("{name} is {} (parked {}, because {})", other.name(), record.parked, record.reason.text())
                })
            }
        }
    }

    fn unmet_requests(&self, state: &Replicated, unmet: &mut Vec<String>) {
        for record in &state.requests {
            if record.outcome.is_none() && record.refused.is_none() {
                unmet.push(format!("{} was accepted and has no outcome", record.id));
            }
        }
        for (id, asked) in &self.asked {
            match asked.accepted {
                None if self.lives(asked.node, asked.pid) => unmet.push(format!("{id} was never answered")),
                // Who accepted it may have been on the side that lost; then it is gone with its history.
                Some(true) if !asked.finished && !self.histories_lost && self.lives(asked.node, asked.pid) => {
                    let known = state.requests.iter().any(|record| record.id == *id);
                    if !known && state.history == 1 {
                        unmet.push(format!("{id} was accepted and is forgotten"));
                    }
                }
                _ => {}
            }
        }
        let open = self.offers.values().filter(|answered| !**answered).count();
        if open > 0 && self.nodes.values().all(|node| node.boots == 1) && self.steps > 0 {
            // An offer to a daemon that was killed stays unanswered; without such an end it must not.
            let killed = self
                .nodes
                .values()
                .filter_map(|node| node.daemon.as_ref())
                .any(|daemon| daemon.pid > 100 + u32::try_from(self.nodes.len()).unwrap_or(0));
            if !killed {
                unmet.push("a new configuration was never answered".to_owned());
            }
        }
    }
}

/// Whether the resource is in one of these subtrees.
fn is_stopped_part(tree: &[Resource], name: &ResourceName, parts: &BTreeSet<ResourceName>) -> bool {
    fn contains(resource: &Resource, name: &ResourceName) -> bool {
        resource.name == *name || resource.children.iter().any(|child| contains(child, name))
    }
    tree.iter().any(|resource| {
        (parts.contains(&resource.name) && contains(resource, name)) || is_stopped_part(&resource.children, name, parts)
    })
}

fn waits_for_dependency(state: &Replicated, service: &shared::conf::model::Service) -> bool {
    service
        .depend
        .as_ref()
        .is_some_and(|needs| state.services.get(needs).is_none_or(|other| other.state != ServiceState::Started))
}

fn placed_by_policy(reason: &Reason) -> bool {
    let Reason::Placed { because, placement, .. } = reason else { return false };
    let free = matches!(**because, Reason::Autostart | Reason::OwnerFenced { .. } | Reason::OwnerLeft { .. });
    free && matches!(placement, Placement::DomainScore | Placement::FewestServices | Placement::LowestId)
}
