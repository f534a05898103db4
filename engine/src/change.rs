//! What is done to a part of a running service while the rest of it goes on: one independent subtree is restarted, a
//! non-critical one is stopped or brought back, changed resources are replaced by those of a new configuration
//! (rhcs.md §3.6, §5.6). Made and carried out by the holder; the service stays started all the time.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use shared::conf::delta::TreeDelta;
use shared::conf::model::Service;
use shared::ids::{Epoch, RequestId, ResourceName, Time};

use crate::checks::Check;
use crate::isolation::{Parts, non_critical_part, subtree_of};
use crate::message::PartRemedy;
use crate::walk::{Agents, Walk};

/// What is done about a subtree that failed, by its top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mending {
    /// It is restarted in place.
    Restart(ResourceName),
    /// It is non-critical and is stopped.
    Rest(ResourceName),
}

impl Mending {
    /// The top of the subtree.
    pub(crate) fn top(&self) -> &ResourceName {
        let (Self::Restart(top) | Self::Rest(top)) = self;
        top
    }

    /// As it is told.
    pub(crate) fn remedy(&self) -> PartRemedy {
        match self {
            Self::Restart(_) => PartRemedy::Restart,
            Self::Rest(_) => PartRemedy::Stop,
        }
    }
}

/// What a change is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Aim {
    Mend(Mending),
    /// An operator wants the stopped parts back.
    Convalesce(RequestId),
    /// A new configuration changed the tree.
    Reload(Arc<Service>),
}

/// A change under way: first something stops, then something starts; either may be nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) aim: Aim,
    pub(crate) stop: Walk,
    pub(crate) start: Walk,
    /// The stop has ended, the start is under way.
    pub(crate) starting: bool,
    /// What is not checked meanwhile.
    pub(crate) touched: BTreeSet<ResourceName>,
}

impl Change {
    pub(crate) fn walk_mut(&mut self) -> &mut Walk {
        if self.starting { &mut self.start } else { &mut self.stop }
    }

    fn new(
        aim: Aim,
        old: &Service,
        stop: &BTreeSet<ResourceName>,
        new: &Service,
        start: &BTreeSet<ResourceName>,
    ) -> Self {
        Self {
            aim,
            stop: Walk::stop_of(old, stop),
            start: Walk::start_of(new, start),
            starting: false,
            touched: stop.union(start).cloned().collect(),
        }
    }

    /// `None`: the subtree is no longer there, or is to be restarted although it is stopped already.
    pub(crate) fn mend(service: &Service, parts: &Parts, mending: Mending) -> Option<Self> {
        let names = subtree_of(service, mending.top());
        let started = match &mending {
            Mending::Restart(top) => {
                // Parts inside that are stopped stay so: only an operator brings them back.
                let resting = parts.resting(service);
                (!resting.contains(top)).then(|| names.difference(&resting).cloned().collect())?
            }
            Mending::Rest(_) => BTreeSet::new(),
        };
        (!names.is_empty()).then(|| Self::new(Aim::Mend(mending), service, &names, service, &started))
    }

    /// Starts all parts that are stopped, with all their restarts again.
    pub(crate) fn convalesce(service: &Service, parts: &mut Parts, request: RequestId) -> Self {
        let names = parts.resting(service);
        for part in std::mem::take(&mut parts.stopped) {
            parts.revive(&part);
        }
        Self::new(Aim::Convalesce(request), service, &BTreeSet::new(), service, &names)
    }

    pub(crate) fn reload(old: &Service, parts: &mut Parts, next: Arc<Service>) -> Self {
        let delta = TreeDelta::between(old, &next);
        let mut start: BTreeSet<ResourceName> = delta.start.into_iter().collect();
        let stop = delta.stop.into_iter().collect();
        // A stopped part that the new configuration changes, or no longer calls non-critical, starts with it.
        for part in parts.stopped.clone() {
            let kept = !start.contains(&part) && non_critical_part(&next, &part).as_ref() == Some(&part);
            if !kept {
                parts.revive(&part);
                start.extend(subtree_of(&next, &part));
            }
        }
        let resting = parts.resting(&next);
        start.retain(|name| !resting.contains(name));
        Self::new(Aim::Reload(Arc::clone(&next)), old, &stop, &next, &start)
    }
}

/// A service that runs here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Running {
    pub(crate) epoch: Epoch,
    pub(crate) checks: Vec<Check>,
    pub(crate) change: Option<Box<Change>>,
    /// Subtrees that failed and wait for their change.
    pub(crate) queue: VecDeque<Mending>,
}

impl Running {
    pub(crate) fn new(epoch: Epoch) -> Self {
        Self { epoch, checks: Vec::new(), change: None, queue: VecDeque::new() }
    }

    /// One change at a time; what is asked for twice is done once.
    pub(crate) fn enqueue(&mut self, mending: Mending) {
        if !self.queue.contains(&mending) {
            self.queue.push_back(mending);
        }
    }

    /// Checks exactly what is meant to run and is not being changed; a check that stays keeps its time, one that is under way and does
    /// not stay is aborted.
    pub(crate) fn plan_checks(&mut self, service: &Service, parts: &Parts, now: Time, agents: &mut Agents<'_>) {
        let resting = parts.resting(service);
        let touched = self.change.as_ref().map(|change| change.touched.clone()).unwrap_or_default();
        let mut known = std::mem::take(&mut self.checks);
        for resource in shared::tree::start_order(service) {
            if resting.contains(&resource.name) || touched.contains(&resource.name) {
                continue;
            }
            let check = match known.iter().position(|check| check.resource.name == resource.name) {
                Some(at) => {
                    let mut check = known.swap_remove(at);
                    check.refresh(resource, now);
                    check
                }
                None => Check::new(resource, now),
            };
            self.checks.push(check);
        }
        agents.abort_checks(&known);
    }
}
