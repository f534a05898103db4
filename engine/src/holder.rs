//! What this node runs because the state names it: walks a service's tree to start or stop it, checks what runs, and reports.
//! It obeys the state and never decides; what it knows that the state does not (a walk's place, a run under way) is local.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use shared::agents::mapping;
use shared::conf::model::{Conf, Resource, Service};
use shared::ids::{Epoch, NodeName, RequestId, ResourceName, ServiceName, Time};
use shared::status::{Command, Failure, ResourceState, ResourceStatus};
use shared::text::ServiceState;

use crate::change::{Aim, Mending, Running};
use crate::event::{Action, Operation, RunId};
use crate::isolation::Parts;
use crate::message::{Claim, PartRemedy, ReportOutcome};
use crate::probe::Probing;
use crate::record::Record;
use crate::replicated::Replicated;
use crate::walk::{Agents, Runs, Walk, run_agent, statuses};

/// How long after a failed stop of something that was not granted to this node the stop is tried again.
const FOREIGN_STOP_AGAIN_MS: u64 = 10_000;

/// How much of an agent's output goes into a failure: enough for the last lines, small enough for a multicast.
const OUTPUT_KEPT_BYTES: usize = 2_000;

/// What the state asks of this node for one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Duty {
    Start(Epoch),
    Run(Epoch),
    /// Move it to another node.
    MigrateTo(Epoch),
    /// Take on what another node has moved here.
    MigrateFrom(Epoch),
    Stop(Epoch),
    /// Held by this node but nothing may be done (failed).
    Leave,
    /// Not granted: whatever runs must go.
    Foreign,
    /// The state is not known or quorum is being counted: keep as it is.
    Wait,
}

/// Why a stop walk runs, which says what is reported at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum StopFor {
    Duty(Epoch),
    /// Quorum was lost while the service had this epoch.
    Inquorate(Epoch),
    Foreign,
}

impl StopFor {
    /// Under which epoch it is told.
    pub(crate) fn epoch(self) -> Option<Epoch> {
        match self {
            Self::Duty(epoch) | Self::Inquorate(epoch) => Some(epoch),
            Self::Foreign => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Work {
    Starting {
        epoch: Epoch,
        walk: Walk,
    },
    Stopping {
        purpose: StopFor,
        walk: Walk,
    },
    Running(Running),
    /// It migrates, away from here or to here. A walk that is done and reported waits for the state.
    Moving {
        epoch: Epoch,
        walk: Walk,
    },
    /// The stop ended; waits for the state to say so.
    Stopped {
        purpose: StopFor,
    },
    /// The start with this epoch failed, or parts were found running: waits for the state to ask for the stop.
    StartFailed {
        epoch: Epoch,
    },
    /// A stop failed. Under a duty nothing more is done by itself; what was not granted is stopped again when `again` has come.
    StopFailed {
        epoch: Epoch,
        again: Option<Time>,
    },
}

/// A service of which something runs here or may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) local: Local,
    pub(crate) work: Work,
}

/// What is known of a service here, whatever is being done with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Local {
    /// As it was started or found; its name is that under which it is held.
    pub(crate) service: Arc<Service>,
    pub(crate) resources: Vec<ResourceStatus>,
    pub(crate) parts: Parts,
    /// Under which epoch which parts were last reported as stopped.
    pub(crate) parts_said: Option<(Epoch, BTreeSet<ResourceName>)>,
    /// Under which epoch which request to convalesce was last reported as done.
    pub(crate) convalesced: Option<(Epoch, RequestId)>,
}

/// What the state says of one service that runs here, and the surroundings.
#[derive(Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) duty: Duty,
    pub(crate) record: Option<&'a Record>,
    pub(crate) conf: Option<&'a Conf>,
    pub(crate) quorum: QuorumHere,
    me: shared::ids::NodeId,
}

impl<'a> Ask<'a> {
    pub(crate) fn is_frozen(&self) -> bool {
        self.record.is_some_and(|record| record.frozen)
    }

    /// It is disabled although its stop here failed, and perhaps forgotten since.
    fn is_given_up(&self) -> bool {
        self.record.is_none_or(|record| {
            record.state == ServiceState::Disabled && record.failure.is_some() && record.last_owner == Some(self.me)
        })
    }

    /// The service as it is configured.
    pub(crate) fn service(&self, name: &ServiceName) -> Option<&'a Service> {
        self.conf.and_then(|conf| conf.service(name))
    }

    /// The request to convalesce that waits for this node.
    pub(crate) fn convalesce(&self) -> Option<&'a RequestId> {
        let order = self.record?.order.as_ref()?;
        matches!(order.request.command, Command::Convalesce { .. }).then_some(&order.request.id)
    }
}

/// Something the holder has to tell the group.
#[derive(Debug)]
pub(crate) enum Said {
    Report {
        service: ServiceName,
        epoch: Epoch,
        outcome: ReportOutcome,
    },
    Progress {
        service: ServiceName,
        epoch: Epoch,
        resources: Vec<ResourceStatus>,
    },
    /// A resource with `self_fence` did not stop.
    SelfFence {
        service: ServiceName,
        resource: ResourceName,
    },
}

/// Whether starting is allowed, and whether everything must stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QuorumHere {
    Yes,
    No,
    /// Between a membership change and the word of the quorum service.
    Unknown,
}

/// What runs on this node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Holder {
    pub(crate) held: BTreeMap<ServiceName, Held>,
    pub(crate) runs: Runs,
    probing: Probing,
    /// What the agents said has been turned into claims.
    claimed: bool,
    /// What `Action::KeepStarted` has kept.
    kept: BTreeMap<ServiceName, Vec<Arc<Service>>>,
}

impl Holder {
    // Probing: what already runs here when the daemon starts.

    /// Asks the agents of everything that is configured, or was started since the node booted, whether it runs here.
    pub(crate) fn probe(
        &mut self,
        conf: &Conf,
        started: BTreeMap<ServiceName, Vec<Service>>,
        actions: &mut Vec<Action>,
    ) {
        let kept = |trees: &Vec<Service>| trees.iter().cloned().map(Arc::new).collect();
        self.kept = started.iter().map(|(name, trees)| (name.clone(), kept(trees))).collect();
        self.probing = Probing::new(conf, started);
        for (id, service, resource) in self.probing.ask(|| self.runs.new_id()) {
            actions.push(run_agent(id, &service, &resource, Operation::Monitor, 0, None));
        }
    }

    /// All probes have been answered.
    pub(crate) fn is_probed(&self) -> bool {
        self.probing.is_complete()
    }

    /// What was found running is held without a grant until the state decides.
    pub(crate) fn claim_probed(&mut self) {
        for (name, found) in self.probing.take_found() {
            let mut held = Held::new(found.tree);
            held.work = match found.claim {
                Claim::Full => {
                    let mut running = Running::new(Epoch(u64::MAX));
                    // Whatever of a part that does not run whole still runs is stopped.
                    running.queue.extend(found.stopped_parts.iter().cloned().map(Mending::Rest));
                    held.local.parts.stopped = found.stopped_parts;
                    Work::Running(running)
                }
                Claim::Part => Work::StartFailed { epoch: Epoch(u64::MAX) },
            };
            self.held.insert(name, held);
        }
        self.claimed = true;
    }

    /// What runs here, as a hello tells it.
    pub(crate) fn claims(&self) -> BTreeMap<ServiceName, Claim> {
        self.held
            .iter()
            .filter(|(_, held)| !matches!(held.work, Work::Stopped { .. }))
            .map(|(name, held)| {
                let whole = matches!(&held.work, Work::Running(running) if running.change.is_none());
                (name.clone(), if whole { Claim::Full } else { Claim::Part })
            })
            .collect()
    }

    /// Nothing runs here that could not be stopped or is still being stopped.
    pub(crate) fn is_idle(&self) -> bool {
        self.held.values().all(|held| matches!(held.work, Work::Stopped { .. }))
    }

    /// No agent starts, stops or changes anything here, and none is about to.
    pub(crate) fn is_steady(&self) -> bool {
        self.held.values().all(|held| match &held.work {
            Work::Starting { .. } | Work::Stopping { .. } | Work::Moving { .. } => false,
            Work::Running(running) => running.change.is_none() && running.queue.is_empty(),
            Work::Stopped { .. } | Work::StartFailed { .. } | Work::StopFailed { .. } => true,
        })
    }

    /// Services of which something runs here or may run.
    pub(crate) fn not_stopped(&self) -> Vec<ServiceName> {
        let running = self.held.iter().filter(|(_, held)| !matches!(held.work, Work::Stopped { .. }));
        running.map(|(name, _)| name.clone()).collect()
    }

    /// Services whose stop failed.
    pub(crate) fn failed_to_stop(&self) -> Vec<ServiceName> {
        self.held
            .iter()
            .filter(|(_, held)| matches!(held.work, Work::StopFailed { .. }))
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Every stop has ended, well or not.
    pub(crate) fn is_settled(&self) -> bool {
        self.held.values().all(|held| matches!(held.work, Work::Stopped { .. } | Work::StopFailed { .. }))
    }

    // Duties.

    /// Brings what runs here in line with the state. Called after every event.
    pub(crate) fn reconcile(
        &mut self,
        now: Time,
        state: Option<(&Replicated, &Conf)>,
        me: shared::ids::NodeId,
        quorum: QuorumHere,
        actions: &mut Vec<Action>,
        said: &mut Vec<Said>,
    ) {
        let first = actions.len();
        if let Some((state, conf)) = state {
            for (name, record) in &state.services {
                if record.holder == Some(me) && !self.held.contains_key(name) {
                    self.take_up(now, conf, name, record.state, record.epoch, quorum);
                }
            }
        }
        let mut agents = Agents { runs: &mut self.runs, actions };
        for (name, held) in &mut self.held {
            let duty = match state {
                // A daemon that has come back without quorum keeps the promise of the one before it (design §3.2).
                None if quorum == QuorumHere::No => Duty::Foreign,
                None => Duty::Wait,
                Some((state, _)) => duty(state, name, me),
            };
            let record = state.and_then(|(state, _)| state.services.get(name));
            let ask = Ask { duty, record, conf: state.map(|(_, conf)| conf), quorum, me };
            held.follow(now, ask, &mut agents, said);
        }
        self.held.retain(|name, held| {
            let mine = state
                .is_some_and(|(state, _)| state.services.get(name).is_some_and(|record| record.holder == Some(me)));
            mine || !matches!(held.work, Work::Stopped { .. })
        });
        let kept = self.keep_started();
        // Before the starts that they tell of.
        actions.splice(first..first, kept);
    }

    /// What must be kept otherwise than it is, for the daemon after this one.
    fn keep_started(&mut self) -> Vec<Action> {
        if !self.claimed {
            return Vec::new();
        }
        let mut wanted = BTreeMap::new();
        for (name, held) in &self.held {
            let trees = match &held.work {
                Work::Stopped { .. } => continue,
                Work::Running(running) => {
                    let next = running.change.as_ref().and_then(|change| match &change.aim {
                        Aim::Reload(next) if *next != held.local.service => Some(Arc::clone(next)),
                        _ => None,
                    });
                    std::iter::once(Arc::clone(&held.local.service)).chain(next).collect()
                }
                _ => vec![Arc::clone(&held.local.service)],
            };
            wanted.insert(name.clone(), trees);
        }
        let gone = self.kept.keys().filter(|name| !wanted.contains_key(*name));
        let mut changed: Vec<Action> =
            gone.map(|service| Action::KeepStarted { service: service.clone(), trees: Vec::new() }).collect();
        for (service, trees) in wanted.iter().filter(|(name, trees)| self.kept.get(*name) != Some(trees)) {
            changed.push(Action::KeepStarted { service: service.clone(), trees: trees.clone() });
        }
        if !changed.is_empty() {
            self.kept = wanted;
        }
        changed
    }

    /// Stops everything that runs here, whatever the state says; for a node that has no state to go by any more.
    pub(crate) fn stop_all(&mut self, actions: &mut Vec<Action>) {
        let mut agents = Agents { runs: &mut self.runs, actions };
        for held in self.held.values_mut() {
            held.begin_stop(StopFor::Foreign, &mut agents);
        }
    }

    /// The state grants a service that is not known here: start it, or (after a take-over by report) stop it.
    fn take_up(
        &mut self,
        now: Time,
        conf: &Conf,
        name: &ServiceName,
        state: ServiceState,
        epoch: Epoch,
        quorum: QuorumHere,
    ) {
        if matches!(state, ServiceState::Starting | ServiceState::Migrating) && quorum != QuorumHere::Yes {
            return;
        }
        // Removed while it was failed, and an earlier daemon's: whatever of it ran would have been found. Its stop is still waited for.
        let service = Arc::new(conf.service(name).cloned().unwrap_or_else(|| Service::empty(name.clone())));
        let mut held = Held::new(Arc::clone(&service));
        held.local.resources = statuses(&service, ResourceState::Stopped, now);
        held.work = match state {
            ServiceState::Starting => Work::Starting { epoch, walk: Walk::start(&service) },
            // What came here is asked for before anything else.
            ServiceState::Migrating => Work::Stopped { purpose: StopFor::Foreign },
            // Something the state believes to be here, but nobody knows here: its stop is run before anything else.
            ServiceState::Failed => Work::StopFailed { epoch, again: None },
            _ => Work::StartFailed { epoch: Epoch(u64::MAX) },
        };
        self.held.insert(name.clone(), held);
    }

    // Runs.

    /// A run has ended.
    pub(crate) fn handle_run_finished(
        &mut self,
        now: Time,
        node: &NodeName,
        id: RunId,
        code: Option<i32>,
        output: &str,
        said: &mut Vec<Said>,
    ) {
        if self.probing.handle_run_finished(id, code) {
            return;
        }
        let Some(held) = self.runs.end(id).and_then(|name| self.held.get_mut(&name)) else { return };
        held.handle_run_finished(now, node, id, code, output, said);
    }

    /// The kernel says that something happened to a resource; `failure`: that it has failed, beyond doubt.
    pub(crate) fn handle_noticed(
        &mut self,
        now: Time,
        service: &ServiceName,
        resource: &ResourceName,
        failure: Option<Failure>,
        said: &mut Vec<Said>,
    ) {
        let Some(Held { local, work: Work::Running(running) }) = self.held.get_mut(service) else { return };
        let mut checked = false;
        for check in running.checks.iter_mut().filter(|check| check.resource.name == *resource) {
            checked = true;
            check.soon(now);
        }
        // While a part is being changed it is we who take things away.
        if let Some(failure) = failure.filter(|_| checked && running.change.is_none()) {
            running.take_check_failure(local, now, failure, said);
        }
    }

    /// Starts the checks that are due.
    pub(crate) fn start_checks(&mut self, now: Time, state: &Replicated, actions: &mut Vec<Action>) {
        let mut agents = Agents { runs: &mut self.runs, actions };
        for (name, held) in &mut self.held {
            let frozen = state.services.get(name).is_none_or(|record| record.frozen);
            let Work::Running(running) = &mut held.work else { continue };
            for check in &mut running.checks {
                if !frozen {
                    check.make_up(now);
                }
                let Some(depth) = check.due(now) else { continue };
                if frozen {
                    check.pass_over(now);
                    continue;
                }
                let id = agents.run(name, &check.resource, Operation::Monitor, depth, None);
                check.begin(id, depth);
            }
        }
    }

    /// When the next check, or the next attempt to stop something foreign, is due.
    pub(crate) fn next_check(&self) -> Option<Time> {
        self.held
            .values()
            .filter_map(|held| match &held.work {
                Work::Running(running) => running.checks.iter().filter_map(|check| check.next_due()).min(),
                Work::StopFailed { again, .. } => *again,
                _ => None,
            })
            .min()
    }
}

impl Held {
    pub(crate) fn new(service: Arc<Service>) -> Self {
        let local =
            Local { service, resources: Vec::new(), parts: Parts::default(), parts_said: None, convalesced: None };
        Self { local, work: Work::Stopped { purpose: StopFor::Foreign } }
    }

    /// Brings it in line with what the state wants.
    fn follow(&mut self, now: Time, ask: Ask<'_>, agents: &mut Agents<'_>, said: &mut Vec<Said>) {
        let was_stopping = matches!(self.work, Work::Stopping { .. });
        self.take_duty(now, ask, agents, said);
        self.advance(now, ask.quorum, agents, said);
        if was_stopping && !matches!(self.work, Work::Stopping { .. }) {
            // It was an older stop that has ended; what is wanted here now may begin, and no other event need come for it.
            return self.follow(now, ask, agents, said);
        }
        // Another part may have failed while the one before was mended.
        while let (Duty::Run(epoch), Work::Running(running)) = (ask.duty, &mut self.work)
            && !ask.is_frozen()
            && running.has_queued_change()
        {
            running.follow(&mut self.local, now, epoch, ask, agents, said);
            self.advance(now, ask.quorum, agents, said);
        }
    }

    /// Begins what the state wants and is not being done.
    fn take_duty(&mut self, now: Time, ask: Ask<'_>, agents: &mut Agents<'_>, said: &mut Vec<Said>) {
        let Self { local, work } = self;
        match (ask.duty, &mut *work) {
            (Duty::Wait | Duty::Leave, Work::StopFailed { again: Some(again), .. }) if *again <= now => {
                *again = now.plus_ms(FOREIGN_STOP_AGAIN_MS);
            }
            (Duty::Wait | Duty::Leave, _) => {}
            (
                Duty::Start(epoch) | Duty::Run(epoch) | Duty::MigrateTo(epoch) | Duty::MigrateFrom(epoch),
                Work::Starting { .. } | Work::Running(_) | Work::Moving { .. },
            ) if ask.quorum == QuorumHere::No => self.begin_stop(StopFor::Inquorate(epoch), agents),
            (Duty::Start(epoch), _) => self.start(now, epoch, ask),
            // The state has it as started because the walk was reported as done.
            (Duty::Run(epoch), Work::Starting { walk, .. } | Work::Moving { walk, .. }) => {
                *work = Work::Running(local.run(now, epoch, std::mem::take(&mut walk.skipped), agents));
            }
            (Duty::MigrateTo(epoch) | Duty::MigrateFrom(epoch), _) => {
                self.follow_migration(now, epoch, ask, agents, said);
            }
            (Duty::Run(epoch), Work::Running(running)) => running.follow(local, now, epoch, ask, agents, said),
            (Duty::Run(epoch), Work::Stopped { purpose }) if *purpose != StopFor::Inquorate(epoch) => {
                // Stopped here under an epoch that has passed meanwhile: say so again.
                *purpose = StopFor::Inquorate(epoch);
                said.push(local.report(epoch, ReportOutcome::StoppedInquorate));
            }
            // While it is frozen a failed check does not count: it is told when that ends.
            (Duty::Run(_), Work::StartFailed { .. } | Work::StopFailed { .. }) if ask.is_frozen() => {}
            (Duty::Run(epoch), Work::StartFailed { .. }) => {
                // Granted as running, but it is not whole here.
                *work = Work::StopFailed { epoch, again: None };
                said.push(local.report(epoch, ReportOutcome::CheckFailed { failure: local.not_whole(now) }));
            }
            (Duty::Run(epoch), Work::StopFailed { epoch: failed, .. }) if *failed != epoch => {
                // What was reported under the earlier epoch came too late; the state still believes that it runs.
                *failed = epoch;
                said.push(local.report(epoch, ReportOutcome::CheckFailed { failure: local.not_whole(now) }));
            }
            (Duty::Stop(epoch), Work::Stopping { purpose, .. }) => *purpose = StopFor::Duty(epoch),
            (Duty::Stop(epoch), Work::Stopped { purpose }) if *purpose == StopFor::Duty(epoch) => {}
            (Duty::Stop(epoch), Work::Stopped { purpose }) => {
                *purpose = StopFor::Duty(epoch);
                said.push(local.report(epoch, ReportOutcome::Stopped));
            }
            // Its report is on the way; what it asks for will come under another epoch.
            (Duty::Stop(epoch), Work::StopFailed { epoch: failed, .. }) if *failed == epoch => {}
            (Duty::Stop(epoch), _) => self.begin_stop(StopFor::Duty(epoch), agents),
            (Duty::Foreign, Work::Stopping { .. } | Work::Stopped { .. }) => {}
            // An operator has disabled it although it did not stop, and was told so: nobody waits for it any more.
            (Duty::Foreign, Work::StopFailed { again: None, .. }) if ask.is_given_up() => {
                *work = Work::Stopped { purpose: StopFor::Foreign };
            }
            // Until it is stopped this node gets no services, so it is tried again and again.
            (Duty::Foreign, Work::StopFailed { again: Some(again), .. }) if *again > now => {}
            (Duty::Foreign, _) => self.begin_stop(StopFor::Foreign, agents),
            // On its way to what is told, or told.
            (Duty::Run(_), Work::Stopping { .. } | Work::Stopped { .. } | Work::StopFailed { .. }) => {}
        }
    }

    /// Ends what runs on the tree (checks and a start at once, a change or a migration after its current agent) and walks it down.
    pub(crate) fn begin_stop(&mut self, purpose: StopFor, agents: &mut Agents<'_>) {
        let mut stop = Walk::stop(&self.local.service);
        match &mut self.work {
            Work::Stopping { purpose: known, .. } => {
                *known = purpose;
                return;
            }
            Work::Stopped { .. } => return,
            Work::Starting { walk, .. } | Work::Moving { walk, .. } => {
                stop.current = walk.current.take();
                // What starts may hang until its timeout, and its stop undoes it either way. A guest on its way is not torn apart.
                if let Some((id, _)) = stop.current.as_ref().filter(|_| walk.operation == Operation::Start) {
                    agents.actions.push(Action::AbortRun { id: *id });
                }
            }
            Work::Running(running) => {
                agents.abort_checks(&running.checks);
                stop.current = running.change.as_mut().and_then(|change| change.walk_mut().current.take());
            }
            Work::StartFailed { .. } | Work::StopFailed { .. } => {}
        }
        stop.cancelled = stop.current.is_some();
        self.work = Work::Stopping { purpose, walk: stop };
    }

    /// Starts the next run of what is being done, or ends it.
    fn advance(&mut self, now: Time, quorum: QuorumHere, agents: &mut Agents<'_>, said: &mut Vec<Said>) {
        let Self { local, work } = self;
        let (epoch, outcome) = match work {
            Work::Starting { epoch, walk } => {
                let epoch = *epoch;
                if !local.step(walk, Some(epoch), now, quorum, agents, said) {
                    return;
                }
                for (part, failure) in &walk.skipped {
                    let (part, failure) = (part.clone(), failure.clone());
                    said.push(
                        local.report(epoch, ReportOutcome::PartFailed { part, failure, remedy: PartRemedy::Stop }),
                    );
                }
                match walk.failure.take() {
                    // Parts that did not start are dealt with once the state has it as started.
                    None => (epoch, ReportOutcome::Started),
                    Some(failure) => {
                        *work = Work::StartFailed { epoch };
                        (epoch, ReportOutcome::StartFailed { failure })
                    }
                }
            }
            Work::Stopping { purpose, walk } => {
                let purpose = *purpose;
                if !local.step(walk, purpose.epoch(), now, quorum, agents, said) {
                    return;
                }
                let failure = walk.failure.take();
                *work = match (&failure, purpose.epoch()) {
                    (None, _) => Work::Stopped { purpose },
                    (Some(_), Some(epoch)) => Work::StopFailed { epoch, again: None },
                    (Some(_), None) => {
                        Work::StopFailed { epoch: Epoch(u64::MAX), again: Some(now.plus_ms(FOREIGN_STOP_AGAIN_MS)) }
                    }
                };
                match (failure, purpose) {
                    (_, StopFor::Foreign) => return,
                    (Some(failure), StopFor::Duty(epoch) | StopFor::Inquorate(epoch)) => {
                        (epoch, ReportOutcome::StopFailed { failure })
                    }
                    (None, StopFor::Duty(epoch)) => (epoch, ReportOutcome::Stopped),
                    (None, StopFor::Inquorate(epoch)) => (epoch, ReportOutcome::StoppedInquorate),
                }
            }
            Work::Running(running) => {
                let epoch = running.epoch;
                let Err(failure) = running.advance(local, now, quorum, agents, said) else { return };
                agents.abort_checks(&running.checks);
                // Waits for the state to ask for the stop.
                *work = Work::StopFailed { epoch, again: None };
                (epoch, ReportOutcome::CheckFailed { failure })
            }
            Work::Moving { epoch, walk } => {
                let epoch = *epoch;
                if !local.step(walk, Some(epoch), now, quorum, agents, said) {
                    return;
                }
                match walk.failure.take() {
                    Some(failure) => (epoch, ReportOutcome::MigrationFailed { failure }),
                    None if walk.operation == Operation::MigrateTo => {
                        *work = Work::Stopped { purpose: StopFor::Duty(epoch) };
                        (epoch, ReportOutcome::Migrated)
                    }
                    None => (epoch, ReportOutcome::Started),
                }
            }
            Work::Stopped { .. } | Work::StartFailed { .. } | Work::StopFailed { .. } => return,
        };
        said.push(local.report(epoch, outcome));
    }

    /// A run has ended, of the walk under way or of a check.
    fn handle_run_finished(
        &mut self,
        now: Time,
        node: &NodeName,
        id: RunId,
        code: Option<i32>,
        output: &str,
        said: &mut Vec<Said>,
    ) {
        let Self { local, work } = self;
        let failure = |resource: &Resource, operation: Operation| Failure {
            at: now,
            node: node.clone(),
            resource: resource.name.clone(),
            operation: operation.name().to_owned(),
            code,
            output: tail(output),
        };
        if let Some((walk, epoch)) = work.walk_mut()
            && let Some((_, resource)) = walk.current.take_if(|(current, _)| *current == id)
        {
            if std::mem::take(&mut walk.cancelled) {
                // The run of the overtaken walk; its result no longer matters, the stop walk follows.
                return;
            }
            // A stop of what is not installed succeeds: nothing of it can run (rhcs.md §5.4).
            let succeeded = code == Some(0) || (walk.operation == Operation::Stop && code == Some(5));
            let reboots = mapping::self_fences(&resource) || local.service.hard_recovery;
            if !succeeded && walk.operation == Operation::Stop && reboots {
                let service = local.service.name.clone();
                said.push(Said::SelfFence { service, resource: resource.name.clone() });
            }
            let state = match (succeeded, walk.operation) {
                (true, Operation::Stop | Operation::MigrateTo) => ResourceState::Stopped,
                (true, _) => ResourceState::Started,
                (false, _) => ResourceState::Failed,
            };
            if !succeeded {
                walk.note_failure(&local.service, &resource.name, failure(&resource, walk.operation));
            }
            local.mark(&resource.name, state, now);
            said.extend(epoch.map(|epoch| local.progress(epoch)));
            return;
        }
        let Work::Running(running) = work else { return };
        let Some(check) = running.checks.iter_mut().find(|check| check.run == Some(id)) else { return };
        check.end(now);
        if code != Some(0) {
            let failure = failure(&check.resource, Operation::Monitor);
            running.take_check_failure(local, now, failure, said);
        }
    }

    /// Starts it as it is configured. What has been reported as stopped or failed under an epoch is never started under the same:
    /// others may already act on the report.
    fn start(&mut self, now: Time, epoch: Epoch, ask: Ask<'_>) {
        let may_start = match &self.work {
            Work::Stopped { purpose } => purpose.epoch() != Some(epoch),
            Work::StartFailed { epoch: failed } | Work::StopFailed { epoch: failed, .. } => *failed != epoch,
            Work::Starting { .. } | Work::Stopping { .. } | Work::Running(_) | Work::Moving { .. } => false,
        };
        let configured = ask.service(&self.local.service.name).filter(|_| may_start && ask.quorum == QuorumHere::Yes);
        if let Some(service) = configured {
            self.work = Work::Starting { epoch, walk: Walk::start(service) };
            self.local.resources = statuses(service, ResourceState::Stopped, now);
            self.local.parts = Parts::default();
            self.local.parts_said = None;
            self.local.service = Arc::new(service.clone());
        }
    }
}

impl Work {
    /// The walk under way, and under which epoch it is told how far it is.
    fn walk_mut(&mut self) -> Option<(&mut Walk, Option<Epoch>)> {
        match self {
            Self::Starting { epoch, walk } | Self::Moving { epoch, walk } => Some((walk, Some(*epoch))),
            Self::Stopping { purpose, walk } => Some((walk, purpose.epoch())),
            Self::Running(Running { epoch, change, .. }) => Some((change.as_mut()?.walk_mut(), Some(*epoch))),
            Self::Stopped { .. } | Self::StartFailed { .. } | Self::StopFailed { .. } => None,
        }
    }
}

impl Local {
    /// Starts the next run of a walk, unless one is under way. Returns whether the walk has just ended.
    pub(crate) fn step(
        &mut self,
        walk: &mut Walk,
        epoch: Option<Epoch>,
        now: Time,
        quorum: QuorumHere,
        agents: &mut Agents<'_>,
        said: &mut Vec<Said>,
    ) -> bool {
        // While quorum is being counted a start goes no further.
        let waits = walk.operation != Operation::Stop && quorum != QuorumHere::Yes && !walk.todo.is_empty();
        if walk.current.is_some() || waits {
            return false;
        }
        let Some(resource) = walk.todo.pop_front() else {
            // Told once: a finished walk waits for the state with this mark.
            return !std::mem::replace(&mut walk.cancelled, true);
        };
        let state = match walk.operation {
            Operation::Stop => ResourceState::Stopping,
            Operation::MigrateTo | Operation::Monitor => ResourceState::Started,
            Operation::Start | Operation::MigrateFrom => ResourceState::Starting,
        };
        self.mark(&resource.name, state, now);
        let id = agents.run(&self.service.name, &resource, walk.operation, 0, walk.peer.as_ref());
        walk.current = Some((id, resource));
        said.extend(epoch.map(|epoch| self.progress(epoch)));
        false
    }

    /// It has started and the state knows it: what could not be started is dealt with, the rest is checked.
    fn run(
        &mut self,
        now: Time,
        epoch: Epoch,
        skipped: Vec<(ResourceName, Failure)>,
        agents: &mut Agents<'_>,
    ) -> Running {
        let mut running = Running::new(epoch);
        for (part, _) in skipped {
            running.enqueue(self.parts.judge_start(&self.service, &part, now));
        }
        running.plan_checks(&self.service, &self.parts, now, agents);
        running
    }

    /// One of its resources has changed.
    pub(crate) fn mark(&mut self, name: &ResourceName, state: ResourceState, at: Time) {
        for resource in self.resources.iter_mut().filter(|resource| resource.name == *name) {
            resource.state = state;
            resource.at = at;
        }
    }

    /// What has come of a duty.
    pub(crate) fn report(&self, epoch: Epoch, outcome: ReportOutcome) -> Said {
        Said::Report { service: self.service.name.clone(), epoch, outcome }
    }

    /// How far its resources are.
    pub(crate) fn progress(&self, epoch: Epoch) -> Said {
        Said::Progress { service: self.service.name.clone(), epoch, resources: self.resources.clone() }
    }

    /// As if a check had failed of what is not there.
    pub(crate) fn not_whole(&self, at: Time) -> Failure {
        let words = "the service was expected to run here, but does not run whole";
        not_running(NodeName::default(), &ResourceName(self.service.name.0.clone()), at, words.to_owned())
    }
}

fn duty(state: &Replicated, name: &ServiceName, me: shared::ids::NodeId) -> Duty {
    let Some(record) = state.services.get(name).filter(|record| record.holder == Some(me)) else {
        return Duty::Foreign;
    };
    match record.state {
        ServiceState::Starting => Duty::Start(record.epoch),
        ServiceState::Started | ServiceState::Checking => Duty::Run(record.epoch),
        ServiceState::Migrating if record.arriving.is_some() => Duty::MigrateTo(record.epoch),
        ServiceState::Migrating => Duty::MigrateFrom(record.epoch),
        ServiceState::Stopping | ServiceState::Recoverable => Duty::Stop(record.epoch),
        ServiceState::Failed => Duty::Leave,
        ServiceState::Stopped | ServiceState::Recovering | ServiceState::Disabled | ServiceState::Uninitialized => {
            Duty::Foreign
        }
    }
}

/// What a check would have said that need not be run.
pub(crate) fn not_running(node: NodeName, resource: &ResourceName, at: Time, output: String) -> Failure {
    let (resource, operation) = (resource.clone(), Operation::Monitor.name().to_owned());
    Failure { at, node, resource, operation, code: Some(7), output }
}

fn tail(output: &str) -> String {
    let start = output.len().saturating_sub(OUTPUT_KEPT_BYTES);
    let start = (start..=output.len()).find(|&at| output.is_char_boundary(at)).unwrap_or(output.len());
    output[start..].to_owned()
}
