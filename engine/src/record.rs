//! The record that all members keep of one service, and every change of it: each is one step of the stream, made by `replicated`
//! with the record already in its hands. What a step means for the rest of the state goes into `Folded`.
//!
//! `migration` and `parts` have the steps of what they are about. Nothing here looks at another service.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use shared::conf::model::{Conf, Recovery, Service};
use shared::ids::{Epoch, NodeId, NodeName, ResourceName, ServiceName, Time};
use shared::status::{Command, FactKind, FactSeverity, Failure, Outcome, Reason, Request, ResourceStatus, Subject};
use shared::text::{ResultCode, ServiceState};

use crate::message::{AfterStop, Intent};
use crate::replicated::{Folded, node_name};
use crate::why::restarts_used;

/// One service.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Record {
    pub state: ServiceState,
    pub holder: Option<NodeId>,
    pub last_owner: Option<NodeId>,
    pub frozen: bool,
    /// Tops of the non-critical subtrees that the holder has stopped; with any, the service is partial.
    pub stopped_parts: BTreeSet<ResourceName>,
    pub epoch: Epoch,
    /// Consecutive starts out of recovering (rhcs.md §3.1).
    pub restarts: u32,
    /// When it was restarted in place after a failure; counted against `max_restarts`.
    pub restart_times: Vec<Time>,
    pub last_transition: Option<Time>,
    /// Where the current stop leads.
    pub after: AfterStop,
    /// It was `failed` when the current stop was decided.
    pub was_failed: bool,
    /// One of the two nodes that this stop concerns could not stop it.
    #[serde(default)]
    pub unstopped: bool,
    pub reason: Reason,
    pub failure: Option<Failure>,
    /// The failure that `recovering` recovers from was found by a check (not by a start).
    pub check_failed: bool,
    /// Nodes on which this round of starting failed.
    pub tried: BTreeSet<NodeId>,
    /// It migrates to this node, or the migration ended in nobody knows what: it may run there as well as on its holder.
    #[serde(default)]
    pub arriving: Option<NodeId>,
    /// Its agent could not move it while it ran; until it is started anew it is not tried again unasked.
    #[serde(default)]
    pub immobile: bool,
    /// Start here first.
    pub prefer: Option<NodeId>,
    /// Start here only if nowhere else.
    pub avoid: Option<NodeId>,
    /// Standby drove it away from here; it goes back when that ends.
    pub home: Option<NodeId>,
    /// Stopped by an operator or after every node failed: not started before the next membership or configuration change.
    pub parked: bool,
    /// An operator enabled it by hand.
    pub enabled_by_hand: bool,
    /// Members that were a better place when they joined, as its failover domain has it, than where it runs.
    pub newcomers: BTreeSet<NodeId>,
    pub order: Option<Order>,
    pub resources: Vec<ResourceStatus>,
}

/// A request that is being carried out on a service.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Order {
    pub request: Request,
    /// The member that multicast it.
    pub asked_on: NodeId,
    pub since: Time,
    /// Who held the service when it was asked.
    pub owner_before: Option<NodeId>,
    /// The stop it implies has been decided.
    pub begun: bool,
}

impl Order {
    /// It is a disable or a stop.
    pub fn wants_down(&self) -> bool {
        matches!(self.request.command, Command::Disable { .. } | Command::Stop { .. })
    }
}

/// One step of one service: when it is made, by which configuration, and where it is told.
pub(crate) struct Step<'a> {
    pub(crate) at: Time,
    pub(crate) conf: &'a Conf,
    pub(crate) service: &'a ServiceName,
    pub(crate) folded: &'a mut Folded,
}

impl Step<'_> {
    /// Tells a fact of the service.
    pub(crate) fn fact(&mut self, severity: FactSeverity, kind: FactKind, text: String, reason: Option<Reason>) {
        self.folded.fact(self.at, Subject::Service(self.service.clone()), severity, kind, text, reason);
    }

    pub(crate) fn name_of(&self, node: NodeId) -> NodeName {
        node_name(self.conf, node)
    }
}

impl Default for Record {
    /// A service that has just come into the configuration: nobody has started it.
    fn default() -> Self {
        Self {
            state: ServiceState::Stopped,
            holder: None,
            last_owner: None,
            frozen: false,
            stopped_parts: BTreeSet::new(),
            epoch: Epoch(0),
            restarts: 0,
            restart_times: Vec::new(),
            last_transition: None,
            after: AfterStop::Stopped,
            was_failed: false,
            unstopped: false,
            reason: Reason::New,
            failure: None,
            check_failed: false,
            tried: BTreeSet::new(),
            arriving: None,
            immobile: false,
            prefer: None,
            avoid: None,
            home: None,
            parked: false,
            enabled_by_hand: false,
            newcomers: BTreeSet::new(),
            order: None,
            resources: Vec::new(),
        }
    }
}

impl Record {
    /// The one place where a service changes its state.
    pub(crate) fn enter(&mut self, state: ServiceState, at: Time, reason: Reason) {
        self.state = state;
        self.reason = reason;
        self.last_transition = Some(at);
        self.epoch = Epoch(self.epoch.0 + 1);
    }

    /// It is on this node: if that is where standby drove it away from, it need not go back there any more.
    pub(crate) fn forget_home_on(&mut self, node: NodeId) {
        self.home = self.home.filter(|home| *home != node);
    }

    /// Why a stop that has come to its end was not the whole of it; `None`: everything stopped. Told once.
    pub(crate) fn take_unstopped(&mut self) -> Option<String> {
        std::mem::take(&mut self.unstopped).then(|| self.failure.as_ref().map(Failure::text)).flatten()
    }

    /// Nobody holds it any more.
    pub(crate) fn release(&mut self, step: &mut Step<'_>) {
        self.last_owner = self.holder.take().or(self.last_owner);
        self.arriving = None;
        self.immobile = false;
        self.resources.clear();
        self.stopped_parts.clear();
        step.folded.released.push(step.service.clone());
    }

    /// The next round of placing it begins without memory of the one before.
    fn forget_round(&mut self) {
        self.tried.clear();
        self.check_failed = false;
        self.prefer = None;
        self.avoid = None;
    }

    /// Ends the request that it is busy with, if any.
    pub(crate) fn end_order(&mut self, folded: &mut Folded, code: ResultCode, owner: Option<NodeName>, text: String) {
        folded.ended.extend(self.order.take().map(|order| (order.request.id, Outcome { code, owner, text })));
    }

    /// Whether an operator wants it stopped or disabled.
    fn is_ordered_down(&self) -> bool {
        self.order.as_ref().is_some_and(Order::wants_down)
    }

    /// The intent to keep on disk.
    pub(crate) fn intent(&self) -> Intent {
        Intent {
            disabled: self.state == ServiceState::Disabled
                || (self.state == ServiceState::Stopping && self.after == AfterStop::Disabled),
            frozen: self.frozen,
            enabled: self.enabled_by_hand,
        }
    }
}

impl Record {
    /// What the administrators wanted of it when the cluster came together.
    pub(crate) fn with_intent(intent: Intent) -> Self {
        let mut record = Self { frozen: intent.frozen, enabled_by_hand: intent.enabled, ..Self::default() };
        if intent.disabled {
            record.state = ServiceState::Disabled;
            record.reason = Reason::KeptDisabled;
        }
        record
    }

    /// What runs whole on a node is held by it from now on.
    pub(crate) fn take_over(&mut self, at: Time, conf: &Conf, node: NodeId) {
        self.holder = Some(node);
        self.enter(ServiceState::Started, at, Reason::TakenOver { node: node_name(conf, node) });
    }

    // Decisions.

    pub(crate) fn start(&mut self, step: &mut Step<'_>, on: NodeId, reason: Reason) {
        let recovering = self.state == ServiceState::Recovering;
        self.restarts = if recovering { self.restarts + 1 } else { 0 };
        if self.check_failed && self.last_owner == Some(on) {
            self.restart_times.push(step.at);
        } else if self.check_failed {
            if let Some(service) = step.conf.service(step.service).filter(|it| has_exceeded(it, self, step.at)) {
                let text = format!("Restart threshold for {} exceeded; attempting to relocate", service.name);
                step.fact(FactSeverity::Warning, FactKind::ServiceRecovering, text, None);
            }
            self.restart_times.clear();
            // Its policy moves it away: if no other node starts it, it is stopped, not brought back (rhcs.md §3.4).
            self.tried.extend(self.last_owner);
        }
        if matches!(&self.order, Some(order) if matches!(order.request.command, Command::Enable { .. })) {
            self.enabled_by_hand = true;
            step.folded.intents_changed += 1;
        }
        self.holder = Some(on);
        self.forget_home_on(on);
        self.resources.clear();
        self.stopped_parts.clear();
        self.newcomers.clear();
        self.enter(ServiceState::Starting, step.at, reason.clone());
        let service = step.service;
        let text = format!("Starting service {service} on {}", step.name_of(on));
        step.fact(FactSeverity::Info, FactKind::ServiceStarting, text, Some(reason));
    }

    pub(crate) fn stop(&mut self, step: &mut Step<'_>, after: AfterStop, reason: Reason) {
        self.remember_home(&reason);
        self.after = after;
        self.was_failed = self.state == ServiceState::Failed;
        self.unstopped = false;
        if let Some(order) = &mut self.order {
            order.begun = true;
        }
        self.enter(ServiceState::Stopping, step.at, reason.clone());
        if after == AfterStop::Disabled {
            step.folded.intents_changed += 1;
        }
        let holder = self.holder.map(|holder| step.name_of(holder)).unwrap_or_default();
        let service = step.service;
        let text = format!("Stopping service {service} on {holder}");
        step.fact(FactSeverity::Info, FactKind::ServiceStopping, text, Some(reason));
    }

    /// Standby drives it away, or it goes home again.
    pub(crate) fn remember_home(&mut self, reason: &Reason) {
        match reason {
            // The first home counts: it may be driven on from where it found shelter.
            Reason::Standby { .. } => self.home = self.home.or(self.holder),
            Reason::HomeAgain { .. } => self.home = None,
            _ => {}
        }
    }

    /// Nobody holds it and nobody shall: stopped or disabled.
    pub(crate) fn settle(&mut self, step: &mut Step<'_>, state: ServiceState, reason: Reason) {
        self.enter(state, step.at, reason.clone());
        let dependency_missing = matches!(reason, Reason::DependencyMissing { .. });
        let crowded_out = reason == Reason::ExclusiveConflict;
        self.parked = !dependency_missing && !crowded_out;
        if !crowded_out {
            self.tried.clear();
        }
        self.check_failed = false;
        self.prefer = None;
        self.avoid = None;
        let disabled = state == ServiceState::Disabled;
        if disabled {
            self.enabled_by_hand = false;
            step.folded.intents_changed += 1;
        }
        let failed =
            matches!(reason, Reason::NoNodeLeft { .. } | Reason::NoNodeAllowed) || dependency_missing || crowded_out;
        let kind = if disabled { FactKind::ServiceDisabled } else { FactKind::ServiceStopped };
        let severity = if failed { FactSeverity::Error } else { FactSeverity::Info };
        let service = step.service;
        let text = format!("Service {service} is {}: {}", state.name(), reason.text());
        if let Reason::RestartsUsedUp { .. } = &reason {
            let text = format!("Restart threshold for {service} exceeded; disabling");
            step.fact(FactSeverity::Warning, FactKind::ServiceRecovering, text, None);
        }
        step.fact(severity, kind, text, Some(reason));
        let code = match (self.is_ordered_down(), dependency_missing, crowded_out) {
            (true, _, _) => ResultCode::Success,
            (false, true, _) => ResultCode::Dependency,
            (false, false, true) => ResultCode::Exclusive,
            (false, false, false) => ResultCode::Failure,
        };
        self.end_order(step.folded, code, None, String::new());
    }

    // The end of its holder.

    /// The holder is gone for good. Only the frozen flag survives (rhcs.md §3.1).
    pub(crate) fn lose_holder(&mut self, step: &mut Step<'_>, is_known: impl Fn(NodeId) -> bool, reason: Reason) {
        let (state, after) = (self.state, self.after);
        if self.hand_over(is_known) {
            // The guest may have come to the other node before this one died.
            let next = match state {
                ServiceState::Migrating => ServiceState::Migrating,
                _ => ServiceState::Stopping,
            };
            self.after = if state == ServiceState::Stopping { after } else { AfterStop::Recover };
            self.enter(next, step.at, reason);
            return;
        }
        self.after = match self.order.as_ref().map(|order| &order.request.command) {
            // Nobody stopped it for that before its node was gone, but it was asked for and has come about (rhcs.md §3.2).
            Some(Command::Disable { .. }) => AfterStop::Disabled,
            Some(Command::Stop { .. }) => AfterStop::Stopped,
            _ if self.state == ServiceState::Stopping => self.after,
            _ => AfterStop::Recover,
        };
        let next = match self.after {
            _ if self.frozen => ServiceState::Stopped,
            AfterStop::Disabled => ServiceState::Disabled,
            AfterStop::Stopped | AfterStop::Wait => ServiceState::Stopped,
            _ => ServiceState::Recovering,
        };
        self.release(step);
        self.forget_round();
        self.parked = next == ServiceState::Stopped && self.after == AfterStop::Stopped && !self.frozen;
        if next == ServiceState::Disabled {
            self.enabled_by_hand = false;
            // Kept on the members' disks: also when all of them go down next, autostart does not start it.
            step.folded.intents_changed += 1;
        }
        self.enter(next, step.at, reason.clone());
        let service = step.service;
        let was = self.last_owner.map(|owner| step.name_of(owner)).unwrap_or_default();
        let unstopped = self.take_unstopped();
        let text = match &unstopped {
            Some(failure) => {
                format!("Service {service} is {}, was on {was}; it did not stop: {failure}", next.name())
            }
            None => format!("Service {service} is {}, was on {was}", next.name()),
        };
        step.fact(FactSeverity::Warning, FactKind::ServiceRecovering, text, Some(reason));
        let (code, text) = match unstopped {
            _ if !self.is_ordered_down() => (ResultCode::NodeDead, None),
            Some(failure) => (ResultCode::Warning, Some(failure)),
            None => (ResultCode::Success, None),
        };
        let text = text.unwrap_or_else(|| "the owner died while the request was carried out".to_owned());
        self.end_order(step.folded, code, None, text);
    }

    // What its holder reports.

    pub(crate) fn started(&mut self, step: &mut Step<'_>, on: NodeId) {
        let reason = self.reason.clone();
        self.enter(ServiceState::Started, step.at, reason);
        self.complete_start(step, on);
    }

    /// A start has succeeded: what was tried is forgotten, and who asked for it is answered.
    pub(crate) fn complete_start(&mut self, step: &mut Step<'_>, on: NodeId) {
        self.forget_round();
        self.failure = None;
        self.forget_home_on(on);
        let name = step.name_of(on);
        let (wanted, before) = match &self.order {
            Some(Order { request: Request { command: Command::Relocate { to, .. }, .. }, owner_before, .. }) => {
                (to.as_ref(), *owner_before)
            }
            _ => (None, None),
        };
        let stayed = before == Some(on) && wanted != Some(&name);
        let code = if stayed { ResultCode::OriginalOwner } else { ResultCode::Success };
        let service = step.service;
        let text = format!("Service {service} is now running on {name}");
        step.fact(FactSeverity::Info, FactKind::ServiceStarted, text, Some(self.reason.clone()));
        if !self.is_ordered_down() {
            self.end_order(step.folded, code, Some(name), String::new());
        }
    }

    /// A start or check failed: the holder stops it, then it is recovered (rhcs.md §3.3, §3.4).
    pub(crate) fn fail(&mut self, step: &mut Step<'_>, on: NodeId, failure: &Failure) {
        let (node, resource) = (step.name_of(on), failure.resource.clone());
        let reason = if self.check_failed {
            Reason::CheckFailed { node, resource }
        } else {
            Reason::StartFailed { node, resource }
        };
        self.failure = Some(failure.clone());
        self.after = AfterStop::Recover;
        self.enter(ServiceState::Recoverable, step.at, reason.clone());
        let text = format!("{}: {}", step.service, failure.text());
        step.fact(FactSeverity::Error, FactKind::ResourceFailed, text, Some(reason));
    }

    pub(crate) fn stopped(&mut self, step: &mut Step<'_>, is_known: impl Fn(NodeId) -> bool) {
        let reason = self.reason.clone();
        if self.hand_over(is_known) {
            // The other node of its migration stops it too.
            let state = self.state;
            self.enter(state, step.at, reason);
            return;
        }
        let owner = self.holder;
        self.release(step);
        let (next, parked) = match self.after {
            AfterStop::Stopped | AfterStop::Removed => (ServiceState::Stopped, true),
            AfterStop::Wait => (ServiceState::Stopped, false),
            AfterStop::Disabled => (ServiceState::Disabled, true),
            AfterStop::Recover | AfterStop::Relocate { .. } | AfterStop::Restart { .. } => {
                (ServiceState::Recovering, false)
            }
        };
        match self.after {
            AfterStop::Relocate { to } => (self.prefer, self.avoid) = (to, owner),
            AfterStop::Restart { on } => self.prefer = Some(on),
            AfterStop::Disabled => self.enabled_by_hand = false,
            AfterStop::Stopped | AfterStop::Wait | AfterStop::Removed | AfterStop::Recover => {}
        }
        if next != ServiceState::Recovering {
            self.tried.clear();
            self.check_failed = false;
        }
        self.parked = parked;
        self.enter(next, step.at, reason.clone());
        let kind = match next {
            ServiceState::Disabled => FactKind::ServiceDisabled,
            ServiceState::Recovering => FactKind::ServiceRecovering,
            _ => FactKind::ServiceStopped,
        };
        let unstopped = self.take_unstopped();
        let (severity, text) = match &unstopped {
            Some(failure) => (
                FactSeverity::Warning,
                format!("Service {} is disabled although it did not stop: {failure}", step.service),
            ),
            None => (FactSeverity::Info, format!("Service {} is {}", step.service, next.name())),
        };
        step.fact(severity, kind, text, Some(reason));
        let down = matches!(next, ServiceState::Stopped | ServiceState::Disabled);
        let wanted_down = self.is_ordered_down();
        // A stop that only waits for a dependency is not what was asked for: the request is carried out next.
        let fulfilled = !(wanted_down && self.after == AfterStop::Wait);
        if down && fulfilled {
            let code = match (wanted_down, &unstopped) {
                (true, None) => ResultCode::Success,
                (true, Some(_)) => ResultCode::Warning,
                (false, _) => ResultCode::Failure,
            };
            self.end_order(step.folded, code, None, unstopped.unwrap_or_default());
        }
    }

    /// A stop failed: law 4, the service is failed and stays with its node. Only a disable of a failed service ends disabled
    /// all the same, with a warning (rhcs.md §2.3).
    pub(crate) fn stop_failed(
        &mut self,
        step: &mut Step<'_>,
        on: NodeId,
        is_known: impl Fn(NodeId) -> bool,
        failure: &Failure,
    ) {
        let again = self.was_failed && self.after == AfterStop::Disabled;
        self.failure = Some(failure.clone());
        let reason = self.reason.clone();
        if again && self.hand_over(is_known) {
            self.unstopped = true;
            self.enter(ServiceState::Stopping, step.at, reason);
            return;
        }
        self.unstopped = false;
        if again {
            self.release(step);
            self.enabled_by_hand = false;
            self.enter(ServiceState::Disabled, step.at, reason.clone());
            let text = format!("Service {} is disabled although it did not stop: {}", step.service, failure.text());
            step.fact(FactSeverity::Warning, FactKind::ServiceDisabled, text, Some(reason));
            self.end_order(step.folded, ResultCode::Warning, None, failure.text());
            return;
        }
        let reason = Reason::StopFailed { node: step.name_of(on), resource: failure.resource.clone() };
        self.enter(ServiceState::Failed, step.at, reason.clone());
        let text = format!("Service {} is failed: {}", step.service, failure.text());
        step.fact(FactSeverity::Error, FactKind::ServiceFailed, text, Some(reason));
        self.end_order(step.folded, ResultCode::Aborted, None, failure.text());
    }

    /// Its holder has lost quorum and stopped it.
    pub(crate) fn stopped_inquorate(&mut self, step: &mut Step<'_>, is_known: impl Fn(NodeId) -> bool) {
        if self.hand_over(is_known) {
            self.after = AfterStop::Wait;
            self.enter(ServiceState::Stopping, step.at, Reason::NotQuorate);
            return;
        }
        self.release(step);
        self.enter(ServiceState::Stopped, step.at, Reason::NotQuorate);
        self.parked = false;
        // It is placed as if anew: where a request or a recovery would have had it does not count any more.
        self.forget_round();
        self.end_order(step.folded, ResultCode::NeedsQuorum, None, "quorum was lost".into());
    }
}

/// Its policy would have it restarted in place, but not as often as it failed (rhcs.md §3.4).
fn has_exceeded(service: &Service, record: &Record, at: Time) -> bool {
    let in_place = matches!(service.recovery, Recovery::Restart | Recovery::RestartDisable);
    in_place && service.max_restarts > 0 && restarts_used(service, record, at) >= service.max_restarts
}
