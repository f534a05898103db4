//! A walk over (a part of) a service's tree: which agents are still to be run, in order, and what has failed so far; and how
//! agents are run. Made by the holder, which gives the runs out and feeds their results back. Knows nothing of duties.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use shared::conf::model::{Resource, Service};
use shared::ids::{NodeName, ResourceName, ServiceName, Time};
use shared::status::{Failure, ResourceState, ResourceStatus};

use crate::checks::Check;
use crate::event::{Action, Operation, Run, RunId};
use crate::isolation::{non_critical_part, subtree_of};

/// What is still to be run, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Walk {
    pub(crate) operation: Operation,
    pub(crate) todo: VecDeque<Resource>,
    pub(crate) current: Option<(RunId, Resource)>,
    pub(crate) failure: Option<Failure>,
    /// Non-critical parts that did not start; the walk went on without them.
    pub(crate) skipped: Vec<(ResourceName, Failure)>,
    /// Under way: the walk was overtaken, the result of its current run no longer matters. Done: its end has been told.
    pub(crate) cancelled: bool,
    /// The other node of a migration.
    pub(crate) peer: Option<NodeName>,
}

impl Walk {
    fn new(operation: Operation, resources: Vec<&Resource>) -> Self {
        let todo = resources.into_iter().map(without_children).collect();
        Self { operation, todo, current: None, failure: None, skipped: Vec::new(), cancelled: false, peer: None }
    }

    pub(crate) fn start(service: &Service) -> Self {
        Self::new(Operation::Start, shared::tree::start_order(service))
    }

    pub(crate) fn stop(service: &Service) -> Self {
        Self::new(Operation::Stop, shared::tree::stop_order(service))
    }

    /// Moves the one resource of a virtual machine.
    pub(crate) fn migrate(service: &Service, operation: Operation, peer: NodeName) -> Self {
        Self { peer: Some(peer), ..Self::new(operation, shared::tree::start_order(service)) }
    }

    /// Starts only these, in the order of the tree.
    pub(crate) fn start_of(service: &Service, names: &BTreeSet<ResourceName>) -> Self {
        let mut walk = Self::start(service);
        walk.todo.retain(|resource| names.contains(&resource.name));
        walk
    }

    /// Stops only these, in the order of the tree.
    pub(crate) fn stop_of(service: &Service, names: &BTreeSet<ResourceName>) -> Self {
        let mut walk = Self::stop(service);
        walk.todo.retain(|resource| names.contains(&resource.name));
        walk
    }

    /// An agent of the walk has failed. A non-critical part that does not start is left out; any other start that fails ends the
    /// walk; a stop goes on with the rest.
    pub(crate) fn note_failure(&mut self, service: &Service, resource: &ResourceName, failure: Failure) {
        let starts = self.operation == Operation::Start;
        match non_critical_part(service, resource).filter(|_| starts) {
            Some(part) => {
                let inside = subtree_of(service, &part);
                self.todo.retain(|resource| !inside.contains(&resource.name));
                self.skipped.push((part, failure));
            }
            None => {
                self.failure.get_or_insert(failure);
                if starts {
                    self.todo.clear();
                }
            }
        }
    }
}

/// The runs under way, but for those that probe.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Runs {
    services: BTreeMap<RunId, ServiceName>,
    next: u64,
}

impl Runs {
    /// An id that no run has had.
    pub(crate) fn new_id(&mut self) -> RunId {
        self.next += 1;
        RunId(self.next - 1)
    }

    /// The run has ended. Returns the service that it was for; `None`: its result is no longer wanted.
    pub(crate) fn end(&mut self, id: RunId) -> Option<ServiceName> {
        self.services.remove(&id)
    }
}

/// The agents, which are run by actions.
pub(crate) struct Agents<'a> {
    pub(crate) runs: &'a mut Runs,
    pub(crate) actions: &'a mut Vec<Action>,
}

impl Agents<'_> {
    /// Begins a run and says by which id its end will be told.
    pub(crate) fn run(
        &mut self,
        service: &ServiceName,
        resource: &Resource,
        operation: Operation,
        depth: u32,
        peer: Option<&NodeName>,
    ) -> RunId {
        let id = self.runs.new_id();
        self.runs.services.insert(id, service.clone());
        self.actions.push(run_agent(id, service, resource, operation, depth, peer));
        id
    }

    /// Nobody wants to know what these checks find.
    pub(crate) fn abort_checks<'c>(&mut self, checks: impl IntoIterator<Item = &'c Check>) {
        for id in checks.into_iter().filter_map(|check| check.run) {
            self.actions.push(Action::AbortRun { id });
            self.runs.services.remove(&id);
        }
    }
}

pub(crate) fn without_children(resource: &Resource) -> Resource {
    Resource { children: Vec::new(), ..resource.clone() }
}

pub(crate) fn run_agent(
    id: RunId,
    service: &ServiceName,
    resource: &Resource,
    operation: Operation,
    depth: u32,
    peer: Option<&NodeName>,
) -> Action {
    let peer = peer.cloned();
    let run = Run { service: service.clone(), resource: without_children(resource), operation, depth, peer };
    Action::RunAgent { id, run: Box::new(run) }
}

/// The resources of a service in start order, all in one state.
pub(crate) fn statuses(service: &Service, state: ResourceState, at: Time) -> Vec<ResourceStatus> {
    let mut depths = BTreeMap::new();
    measure_depth(&service.tree, 0, &mut depths);
    shared::tree::start_order(service)
        .into_iter()
        .map(|resource| ResourceStatus {
            name: resource.name.clone(),
            depth: depths.get(&resource.name).copied().unwrap_or(0),
            state,
            at,
        })
        .collect()
}

fn measure_depth(resources: &[Resource], depth: u32, depths: &mut BTreeMap<ResourceName, u32>) {
    for resource in resources {
        depths.insert(resource.name.clone(), depth);
        measure_depth(&resource.children, depth + 1, depths);
    }
}
