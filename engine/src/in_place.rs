//! How the holder changes a part of a service that runs here while the rest goes on (rhcs.md §3.6, §5.6): what a failed check
//! leads to, when a change begins, and what its end means. The walks themselves are the holder's.

use std::sync::Arc;

use shared::conf::model::Service;
use shared::ids::{Epoch, ResourceName, Time};
use shared::status::{Failure, ResourceState, ResourceStatus};

use crate::change::{Aim, Change, Mending, Running};
use crate::checks::Check;
use crate::holder::{Ask, Local, QuorumHere, Said};
use crate::isolation::{Verdict, find, subtree_of};
use crate::message::{PartRemedy, ReportOutcome};
use crate::walk::{Agents, Walk, statuses};

impl Running {
    /// The state has it as started here: take that over, tell which parts are stopped, begin the next change.
    pub(crate) fn follow(
        &mut self,
        local: &mut Local,
        now: Time,
        epoch: Epoch,
        ask: Ask<'_>,
        agents: &mut Agents<'_>,
        said: &mut Vec<Said>,
    ) {
        if self.take_epoch(local, now, epoch, agents) {
            said.push(local.progress(epoch));
        }
        // Parts that are being tried again are whole only when they run.
        let convalesces = self.change.as_ref().is_some_and(|change| matches!(change.aim, Aim::Convalesce(_)));
        if ask.record.is_some_and(|record| record.stopped_parts != local.parts.stopped)
            && !convalesces
            && local.parts_said.as_ref() != Some(&(epoch, local.parts.stopped.clone()))
        {
            local.parts_said = Some((epoch, local.parts.stopped.clone()));
            said.push(local.report(epoch, ReportOutcome::PartsStopped { parts: local.parts.stopped.clone() }));
        }
        if ask.is_frozen() {
            // It is left alone: what failed before is checked again when it is unfrozen, and its new tree waits.
            self.queue.retain(|mending| matches!(mending, Mending::Rest(_)));
            self.checks.iter_mut().for_each(Check::look_again);
            return;
        }
        let Some(change) = self.next_change(local, epoch, ask) else { return };
        self.change = Some(Box::new(change));
        self.plan_checks(&local.service, &local.parts, now, agents);
    }

    /// The epoch of the state; the first one after a take-over begins the checks. Returns whether it is that.
    fn take_epoch(&mut self, local: &mut Local, now: Time, epoch: Epoch, agents: &mut Agents<'_>) -> bool {
        let adopted = self.epoch != epoch && self.checks.is_empty() && self.change.is_none();
        self.epoch = epoch;
        if !adopted {
            return false;
        }
        if local.resources.is_empty() {
            local.resources = statuses(&local.service, ResourceState::Started, now);
            for resource in local.parts.resting(&local.service) {
                local.mark(&resource, ResourceState::Stopped, now);
            }
        }
        self.plan_checks(&local.service, &local.parts, now, agents);
        true
    }

    /// What is to be changed next: what failed first, then what a new configuration wants, then what an operator wants.
    fn next_change(&mut self, local: &mut Local, epoch: Epoch, ask: Ask<'_>) -> Option<Change> {
        if self.change.is_some() {
            return None;
        }
        while let Some(mending) = self.queue.pop_front() {
            let change = Change::mend(&local.service, &local.parts, mending);
            if change.is_some() {
                return change;
            }
        }
        if let Some(next) = ask.service(&local.service.name).filter(|next| **next != *local.service) {
            return Some(Change::reload(&local.service, &mut local.parts, Arc::new(next.clone())));
        }
        let request = ask.convalesce()?.clone();
        if local.convalesced.as_ref() == Some(&(epoch, request.clone())) {
            return None;
        }
        Some(Change::convalesce(&local.service, &mut local.parts, request))
    }

    /// Whether a failed part waits for its change, which could begin.
    pub(crate) fn has_queued_change(&self) -> bool {
        self.change.is_none() && !self.queue.is_empty()
    }

    /// A check has failed: tolerated, mended in place, or told as the failure of the service.
    pub(crate) fn take_check_failure(&mut self, local: &mut Local, now: Time, failure: Failure, said: &mut Vec<Said>) {
        let covers = |mending: &Mending| subtree_of(&local.service, mending.top()).contains(&failure.resource);
        if self.queue.iter().any(covers) {
            return;
        }
        let outcome = match local.parts.judge_check(&local.service, &failure.resource, now) {
            Verdict::Tolerated { count, max } => ReportOutcome::Tolerated { failure, count, max },
            Verdict::Mend(mending) => {
                local.mark(&failure.resource, ResourceState::Failed, now);
                let (part, remedy) = (mending.top().clone(), mending.remedy());
                self.enqueue(mending);
                ReportOutcome::PartFailed { part, failure, remedy }
            }
            Verdict::Service => {
                local.mark(&failure.resource, ResourceState::Failed, now);
                // Further checks would only repeat it; the state now asks for the stop.
                self.checks.iter_mut().for_each(|check| check.postpone(now));
                ReportOutcome::CheckFailed { failure }
            }
        };
        said.push(local.report(self.epoch, outcome));
    }

    /// Takes the change under way, if any, further. An error: the service runs no longer as it should.
    pub(crate) fn advance(
        &mut self,
        local: &mut Local,
        now: Time,
        quorum: QuorumHere,
        agents: &mut Agents<'_>,
        said: &mut Vec<Said>,
    ) -> Result<(), Failure> {
        while let Some(mut change) = self.change.take() {
            if !local.step(change.walk_mut(), Some(self.epoch), now, quorum, agents, said) {
                self.change = Some(change);
                return Ok(());
            }
            let outcomes = match change.starting {
                false => self.end_stop(change, local, now)?,
                true => self.end_start(*change, local, now, agents)?,
            };
            said.extend(outcomes.into_iter().map(|outcome| local.report(self.epoch, outcome)));
            said.push(local.progress(self.epoch));
        }
        Ok(())
    }

    /// What had to stop has stopped, or not; then what has to start is started.
    fn end_stop(
        &mut self,
        mut change: Box<Change>,
        local: &mut Local,
        now: Time,
    ) -> Result<Vec<ReportOutcome>, Failure> {
        let outcomes = match (&change.aim, change.stop.failure.take()) {
            (Aim::Reload(next), None) => {
                local.resources = carried_over(&local.resources, next, now);
                local.service = Arc::clone(next);
                Vec::new()
            }
            (_, None) => Vec::new(),
            // A stop that fails here does not fail the service (rhcs.md §5.6): it goes on without that part.
            (Aim::Mend(mending), Some(failure)) if is_non_critical(&local.service, mending.top()) => {
                change.start.todo.clear();
                let part = mending.top().clone();
                local.parts.give_up(&part);
                vec![ReportOutcome::PartFailed { part, failure, remedy: PartRemedy::Stop }]
            }
            (_, Some(failure)) => return Err(failure),
        };
        change.starting = true;
        self.change = Some(change);
        Ok(outcomes)
    }

    /// What had to start has started, or not: the change is over.
    fn end_start(
        &mut self,
        change: Change,
        local: &mut Local,
        now: Time,
        agents: &mut Agents<'_>,
    ) -> Result<Vec<ReportOutcome>, Failure> {
        let Walk { skipped, failure, .. } = change.start;
        let failure = match (&change.aim, failure) {
            (Aim::Reload(_), Some(failure)) => return Err(failure),
            (_, failure) => failure,
        };
        let mut outcomes = Vec::new();
        let whole = skipped.is_empty();
        for (part, failure) in skipped {
            let next = match change.aim {
                // Tried by hand and failed: it stays stopped.
                Aim::Convalesce(_) => local.parts.give_up(&part),
                Aim::Mend(_) | Aim::Reload(_) => local.parts.judge_start(&local.service, &part, now),
            };
            outcomes.push(ReportOutcome::PartFailed { part, failure, remedy: next.remedy() });
            self.enqueue(next);
        }
        match (change.aim, failure) {
            // Its next check finds it failed, which counts against its restarts.
            (Aim::Mend(mending), Some(failure)) => {
                let part = mending.top().clone();
                outcomes.push(ReportOutcome::PartFailed { part, failure, remedy: PartRemedy::Check });
            }
            (Aim::Mend(Mending::Restart(part)), None) if whole && !local.parts.stopped.contains(&part) => {
                outcomes.push(ReportOutcome::PartRestarted { part });
            }
            (Aim::Convalesce(request), _) => {
                local.convalesced = Some((self.epoch, request.clone()));
                outcomes.push(ReportOutcome::Convalesced { request, stopped: local.parts.stopped.clone() });
            }
            _ => {}
        }
        self.plan_checks(&local.service, &local.parts, now, agents);
        Ok(outcomes)
    }
}

fn is_non_critical(service: &Service, top: &ResourceName) -> bool {
    find(service, top).is_some_and(|part| part.isolation.independent_subtree == 2)
}

/// The resources of the new tree: those that went on running as they are, the others stopped.
fn carried_over(before: &[ResourceStatus], service: &Service, now: Time) -> Vec<ResourceStatus> {
    let mut resources = statuses(service, ResourceState::Stopped, now);
    for resource in &mut resources {
        if let Some(known) = before.iter().find(|known| known.name == resource.name) {
            (resource.state, resource.at) = (known.state, known.at);
        }
    }
    resources
}
