//! How the holder changes a part of a service that runs here while the rest goes on (rhcs.md §3.6, §5.6): what a failed check
//! leads to, when a change begins, and what its end means. The walks themselves are the holder's.

use std::sync::Arc;

use shared::conf::model::Service;
use shared::ids::{Epoch, ResourceName, ServiceName, Time};
use shared::status::{Failure, ResourceState, ResourceStatus};

use crate::change::{Aim, Change};
use crate::checks::Check;
use crate::event::Action;
use crate::holder::{Ask, Held, Holder, Said};
use crate::isolation::{Verdict, path, subtree_of};
use crate::message::{PartRemedy, ReportOutcome};
use crate::walk::statuses;

impl Holder {
    /// The state has it as started here: take that over, tell which parts are stopped, begin the next change.
    pub(crate) fn follow_running(
        &mut self,
        now: Time,
        name: &ServiceName,
        epoch: Epoch,
        ask: Ask<'_>,
        actions: &mut Vec<Action>,
        said: &mut Vec<Said>,
    ) {
        let Some(held) = self.held.get_mut(name) else { return };
        held.take_epoch(now, epoch);
        let known = ask.record.map(|record| &record.stopped_parts);
        // Parts that are being tried again are whole only when they run.
        let convalesces = matches!(held.change_mut(), Some(Change { aim: Aim::Convalesce(_), .. }));
        if known.is_some_and(|known| *known != held.parts.stopped)
            && !convalesces
            && held.parts_said.as_ref() != Some(&(epoch, held.parts.stopped.clone()))
        {
            held.parts_said = Some((epoch, held.parts.stopped.clone()));
            let outcome = ReportOutcome::PartsStopped { parts: held.parts.stopped.clone() };
            said.push(Said::Report { service: name.clone(), epoch, outcome });
        }
        if ask.is_frozen() {
            // It is left alone: what failed before is checked again when it is unfrozen, and its new tree waits.
            if let Some(running) = held.running_mut() {
                running.queue.retain(|aim| matches!(aim, Aim::Rest(_)));
                running.checks.iter_mut().for_each(Check::look_again);
            }
            return;
        }
        let Some(change) = held.next_change(name, epoch, ask) else { return };
        let (service, parts) = (Arc::clone(&held.service), held.parts.clone());
        let Some(running) = held.running_mut() else { return };
        for check in running.checks.iter().filter(|check| change.touched.contains(&check.resource.name)) {
            if let Some(id) = check.run {
                actions.push(Action::AbortRun { id });
                self.runs.remove(&id);
            }
        }
        running.change = Some(Box::new(change));
        running.plan_checks(&service, &parts, now);
    }

    /// Whether a failed part of a running service waits for its change.
    pub(crate) fn has_queued_change(&self, name: &ServiceName) -> bool {
        self.held.get(name).and_then(Held::running).is_some_and(|r| r.change.is_none() && !r.queue.is_empty())
    }

    /// A check has failed: tolerated, mended in place, or told as the failure of the service.
    pub(crate) fn take_check_failure(&mut self, now: Time, name: &ServiceName, failure: Failure, said: &mut Vec<Said>) {
        let Some(held) = self.held.get_mut(name) else { return };
        let service = Arc::clone(&held.service);
        let Some(running) = held.running_mut() else { return };
        let epoch = running.epoch;
        let covers = |aim: &Aim| match aim {
            Aim::Restart(top) | Aim::Rest(top) => subtree_of(&service, top).contains(&failure.resource),
            Aim::Convalesce(_) | Aim::Reload(_) => false,
        };
        if running.queue.iter().any(covers) {
            return;
        }
        let verdict = held.parts.judge_check(&service, &failure.resource, now);
        if !matches!(verdict, Verdict::Tolerated { .. }) {
            held.mark(&failure.resource, ResourceState::Failed, now);
        }
        let Some(running) = held.running_mut() else { return };
        let outcome = match verdict {
            Verdict::Tolerated { count, max } => ReportOutcome::Tolerated { failure, count, max },
            Verdict::Restart(part) => {
                running.enqueue(Aim::Restart(part.clone()));
                ReportOutcome::PartFailed { part, failure, remedy: PartRemedy::Restart }
            }
            Verdict::Rest(part) => {
                running.enqueue(Aim::Rest(part.clone()));
                ReportOutcome::PartFailed { part, failure, remedy: PartRemedy::Stop }
            }
            Verdict::Service => {
                // Further checks would only repeat it; the state now asks for the stop.
                running.checks.iter_mut().for_each(|check| check.postpone(now));
                ReportOutcome::CheckFailed { failure }
            }
        };
        said.push(Said::Report { service: name.clone(), epoch, outcome });
    }

    /// The walk of a change has nothing left to run. Returns whether another walk follows.
    pub(crate) fn end_change_walk(&mut self, now: Time, name: &ServiceName, said: &mut Vec<Said>) -> bool {
        let Some(held) = self.held.get_mut(name) else { return false };
        let Some(running) = held.running_mut() else { return false };
        let (epoch, Some(change)) = (running.epoch, running.change.as_deref_mut()) else { return false };
        let outcomes = if change.starting { held.end_start(now, epoch) } else { held.end_stop(now, epoch) };
        let follows = held.running().is_some_and(|running| running.change.is_some());
        said.extend(outcomes.into_iter().map(|outcome| Said::Report { service: name.clone(), epoch, outcome }));
        self.say_progress(name, said);
        follows
    }
}

impl Held {
    /// The epoch of the state; the first one after a take-over begins the checks.
    fn take_epoch(&mut self, now: Time, epoch: Epoch) {
        let Some(running) = self.running_mut() else { return };
        let adopted = running.epoch != epoch && running.checks.is_empty() && running.change.is_none();
        running.epoch = epoch;
        if !adopted {
            return;
        }
        if self.resources.is_empty() {
            self.resources = statuses(&self.service, ResourceState::Started, now);
            for resource in self.parts.resting(&self.service) {
                self.mark(&resource, ResourceState::Stopped, now);
            }
        }
        let (service, parts) = (Arc::clone(&self.service), self.parts.clone());
        if let Some(running) = self.running_mut() {
            running.plan_checks(&service, &parts, now);
        }
    }

    /// What is to be changed next: what failed first, then what a new configuration wants, then what an operator wants.
    fn next_change(&mut self, name: &ServiceName, epoch: Epoch, ask: Ask<'_>) -> Option<Change> {
        let service = Arc::clone(&self.service);
        let parts = self.parts.clone();
        let running = self.running_mut().filter(|running| running.change.is_none())?;
        while let Some(aim) = running.queue.pop_front() {
            let change = match &aim {
                Aim::Restart(top) => Change::restart(&service, &parts, top),
                Aim::Rest(top) => Change::rest(&service, top),
                Aim::Convalesce(_) | Aim::Reload(_) => None,
            };
            if change.is_some() {
                return change;
            }
        }
        if let Some(next) = ask.service(name).filter(|next| **next != *service) {
            return Some(Change::reload(&service, &mut self.parts, Arc::new(next.clone())));
        }
        let request = ask.convalesce()?.clone();
        if self.convalesced.as_ref() == Some(&(epoch, request.clone())) {
            return None;
        }
        Some(Change::convalesce(&service, &mut self.parts, request))
    }

    /// What had to stop has stopped, or not; then what has to start is started.
    fn end_stop(&mut self, now: Time, epoch: Epoch) -> Vec<ReportOutcome> {
        let service = Arc::clone(&self.service);
        let Some(change) = self.change_mut() else { return Vec::new() };
        change.starting = true;
        let (aim, failure) = (change.aim.clone(), change.stop.failure.take());
        match (aim, failure) {
            (Aim::Reload(next), None) => {
                self.resources = carried_over(&self.resources, &next, now);
                self.service = next;
                Vec::new()
            }
            (_, None) => Vec::new(),
            // A stop that fails here does not fail the service (rhcs.md §5.6): it goes on without that part.
            (Aim::Restart(part) | Aim::Rest(part), Some(failure)) if is_non_critical(&service, &part) => {
                change.start.todo.clear();
                self.parts.stopped.insert(part.clone());
                vec![ReportOutcome::PartFailed { part, failure, remedy: PartRemedy::Stop }]
            }
            (_, Some(failure)) => {
                self.give_up_running(epoch);
                vec![ReportOutcome::CheckFailed { failure }]
            }
        }
    }

    fn end_start(&mut self, now: Time, epoch: Epoch) -> Vec<ReportOutcome> {
        let service = Arc::clone(&self.service);
        let Some(change) = self.change_mut() else { return Vec::new() };
        let aim = change.aim.clone();
        let (skipped, failure) = (std::mem::take(&mut change.start.skipped), change.start.failure.take());
        if let (Aim::Reload(_), Some(failure)) = (&aim, &failure) {
            self.give_up_running(epoch);
            return vec![ReportOutcome::CheckFailed { failure: failure.clone() }];
        }
        let mut outcomes = Vec::new();
        let mut queue = Vec::new();
        let whole = skipped.is_empty() && failure.is_none();
        for (part, failure) in skipped {
            let next = match &aim {
                // Tried by hand and failed: it stays stopped.
                Aim::Convalesce(_) => {
                    self.parts.stopped.insert(part.clone());
                    Aim::Rest(part.clone())
                }
                _ => self.parts.judge_start(&service, &part, now),
            };
            let remedy = if matches!(next, Aim::Restart(_)) { PartRemedy::Restart } else { PartRemedy::Stop };
            outcomes.push(ReportOutcome::PartFailed { part, failure, remedy });
            queue.push(next);
        }
        match (aim, failure) {
            // Its next check finds it failed, which counts against its restarts.
            (Aim::Restart(part) | Aim::Rest(part), Some(failure)) => {
                outcomes.push(ReportOutcome::PartFailed { part, failure, remedy: PartRemedy::Check });
            }
            (Aim::Restart(part), None) if whole && !self.parts.stopped.contains(&part) => {
                outcomes.push(ReportOutcome::PartRestarted { part });
            }
            (Aim::Convalesce(request), _) => {
                self.convalesced = Some((epoch, request.clone()));
                outcomes.push(ReportOutcome::Convalesced { request, stopped: self.parts.stopped.clone() });
            }
            _ => {}
        }
        let parts = self.parts.clone();
        if let Some(running) = self.running_mut() {
            running.change = None;
            queue.into_iter().for_each(|aim| running.enqueue(aim));
            running.plan_checks(&service, &parts, now);
        }
        outcomes
    }

    fn change_mut(&mut self) -> Option<&mut Change> {
        self.running_mut()?.change.as_deref_mut()
    }
}

fn is_non_critical(service: &Service, top: &ResourceName) -> bool {
    path(&service.tree, top).and_then(|path| path.last().map(|part| part.isolation.independent_subtree)) == Some(2)
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
