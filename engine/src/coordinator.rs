//! The policy of the member that decides: from the shared state, what should happen next, and why. Called after every event
//! on the coordinator only. It never changes the state: it proposes, and what it proposes comes back as a delivered message
//! that everybody checks against the law.

use std::collections::{BTreeMap, BTreeSet};

use shared::conf::model::{Conf, Node, Recovery, Service};
use shared::ids::{ConfVersion, Epoch, NodeId, ServiceName, Time};
use shared::status::{Command, FencedHow, Placement, Reason};
use shared::text::ServiceState;

use crate::dependency;
use crate::event::LeftReason;
use crate::eviction::{Eviction, evict};
use crate::message::{AfterStop, Decision};
use crate::migration::can_migrate;
use crate::placement::{Load, is_crowded_out, level, rank, situation, takers};
use crate::record::Record;
use crate::replicated::{Lost, Replicated, node_name};
use crate::standby;
use crate::why::restarts_used;

/// A node whose rgmanager died while its corosync lives gets this long to come back and take over what it runs (design §3.4).
pub const GRACE_MS: u64 = 10_000;

/// The same where the daemon said that it is replaced: a package may be unpacked meanwhile, and nothing has gone wrong.
pub const RESTART_GRACE_MS: u64 = 30_000;

/// How long the side with fewer services waits before it fences an equal half (design §3.4): longer than a token loss differs
/// between the sides plus a fence agent's way to its device.
pub const HEAD_START_MS: u64 = 2_000;

/// For how long after the founding nothing is started while a founder is not clean yet.
const FOUNDING_PATIENCE_MS: u64 = 3_000;

/// A decision that is on its way; the same is not proposed twice meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Flight {
    Service(ServiceName, Epoch),
    Fence(NodeId, u32),
    Node(NodeId),
    Switch(ConfVersion),
}

impl Flight {
    pub(crate) fn of(decision: &Decision) -> Self {
        match decision {
            Decision::Start { service, epoch, .. }
            | Decision::Stop { service, epoch, .. }
            | Decision::Migrate { service, epoch, .. }
            | Decision::Decline { service, epoch, .. }
            | Decision::Settle { service, epoch, .. } => Self::Service(service.clone(), *epoch),
            Decision::Fence { victim, attempt, .. } => Self::Fence(*victim, *attempt),
            Decision::Unfenceable { victim: node } | Decision::Assume { node, .. } => Self::Node(*node),
            Decision::Switch { version, .. } => Self::Switch(*version),
        }
    }
}

/// What this member has seen of a loss; differs between members, so only the timing of proposals depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct LossSeen {
    pub(crate) at: Time,
    pub(crate) reason: LeftReason,
}

/// What the policy looks at beside the shared state.
pub(crate) struct Local<'a> {
    pub(crate) now: Time,
    pub(crate) losses: &'a BTreeMap<NodeId, LossSeen>,
    pub(crate) flights: &'a BTreeSet<Flight>,
    /// Nodes that corosync has in its ring.
    pub(crate) ring: &'a [NodeId],
    /// When quorum was last regained here.
    pub(crate) quorum_regained: Option<Time>,
}

/// What should happen.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) decisions: Vec<(Decision, Reason)>,
    /// When to look again although nothing has happened.
    pub(crate) wake_at: Option<Time>,
}

impl Plan {
    fn wake(&mut self, at: Time) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }
}

/// Everything that should be decided now.
pub(crate) fn plan(state: &Replicated, conf: &Conf, local: &Local<'_>) -> Plan {
    let mut plan = Plan::default();
    plan_fencing(state, conf, local, &mut plan);
    plan_switch(state, local, &mut plan);
    plan_services(state, conf, local, &mut plan);
    plan
}

fn plan_switch(state: &Replicated, local: &Local<'_>, plan: &mut Plan) {
    let Some(offer) = &state.offer else { return };
    let stored_by_all = state.members.keys().all(|node| offer.stored_by.contains(node));
    if stored_by_all && !local.flights.contains(&Flight::Switch(offer.conf.version)) {
        let decision = Decision::Switch { version: offer.conf.version, digest: offer.conf.digest.clone() };
        plan.decisions.push((decision, Reason::ConfChanged { version: offer.conf.version }));
    }
}

// Fencing.

fn plan_fencing(state: &Replicated, conf: &Conf, local: &Local<'_>, plan: &mut Plan) {
    for (&id, lost) in &state.lost {
        let flights = [Flight::Node(id), Flight::Fence(id, lost.attempt + 1)];
        if lost.running.is_some() || flights.iter().any(|flight| local.flights.contains(flight)) {
            continue;
        }
        let node = conf.node_by_id(id);
        let methods = node.map_or(0, |node| node.methods.len());
        if let Some(how) = assumed(conf, lost, methods) {
            plan.decisions.push((Decision::Assume { node: id, how }, Reason::NodeLost { node: node_name(conf, id) }));
            continue;
        }
        let reason = Reason::NodeLost { node: node_name(conf, id) };
        match due(state, conf, local, id, lost, methods) {
            None => {}
            Some(at) if at > local.now => plan.wake(at),
            Some(_) if methods == 0 => plan.decisions.push((Decision::Unfenceable { victim: id }, reason)),
            Some(_) => {
                let attempt = next_attempt(state, id, lost, methods);
                plan.decisions.extend(attempt.map(|decision| (decision, reason)));
            }
        }
    }
}

/// `clean_start` and `skip_undefined` apply to nodes absent at the founding only (rhcs.md §9.1).
fn assumed(conf: &Conf, lost: &Lost, methods: usize) -> Option<FencedHow> {
    let daemon = &conf.fence_daemon;
    let skip = lost.startup && !lost.victim && (daemon.clean_start || (daemon.skip_undefined && methods == 0));
    skip.then_some(FencedHow::Assumed)
}

/// When the next attempt on a lost node is due; `None`: never by itself.
fn due(state: &Replicated, conf: &Conf, local: &Local<'_>, id: NodeId, lost: &Lost, methods: usize) -> Option<Time> {
    let due = due_by_itself(state, conf, local, id, lost, methods)?;
    let lost_since = |since: Time| local.losses.get(&id).is_some_and(|seen| seen.at >= since);
    match (local.quorum_regained, conf.fence_daemon.post_join_delay_s) {
        // Those whose return has brought quorum have yet to say that they are back (rhcs.md §9.1). Not so of a later loss:
        // of two halves that wait for the same moment neither has a head start.
        (Some(since), delay_s) if !lost.victim && !lost_since(since) => {
            delay_s.map(|delay_s| due.max(since.plus_ms(delay_s * 1000)))
        }
        _ => Some(due),
    }
}

/// The same, however long there has been quorum.
fn due_by_itself(
    state: &Replicated,
    conf: &Conf,
    local: &Local<'_>,
    id: NodeId,
    lost: &Lost,
    methods: usize,
) -> Option<Time> {
    if lost.unfenceable {
        return (methods > 0).then_some(local.now);
    }
    if let (true, true, Some(last)) = (lost.unwitnessed, conf.fence_daemon.require_witness, &lost.last) {
        return Some(last.at.plus_ms(conf.fence_daemon.witness_timeout_s * 1000));
    }
    if let Some(last) = &lost.last {
        let sweep = methods.max(1) * fencers(state, id).len().max(1);
        let pause = (lost.attempt as usize).is_multiple_of(sweep) && lost.conf_version == state.conf.version;
        let pause_ms = if pause { conf.fence_daemon.override_time_s * 1000 } else { 0 };
        return Some(last.at.plus_ms(pause_ms));
    }
    if lost.victim {
        return Some(local.now);
    }
    if lost.startup {
        let delay_s = conf.fence_daemon.post_join_delay_s?;
        return Some(state.formed_at.plus_ms(delay_s * 1000));
    }
    let seen = local.losses.get(&id).copied().unwrap_or(LossSeen { at: local.now, reason: LeftReason::NodeDown });
    let daemon_only = seen.reason != LeftReason::NodeDown && local.ring.contains(&id);
    let delay_ms = if daemon_only {
        if lost.restarting { RESTART_GRACE_MS } else { GRACE_MS }
    } else {
        (conf.fence_daemon.post_fail_delay_s * 1000).max(head_start_ms(state, conf))
    };
    Some(seen.at.plus_ms(delay_ms))
}

/// Members that may carry out the fencing of `victim`, the coordinator first.
fn fencers(state: &Replicated, victim: NodeId) -> Vec<NodeId> {
    state.state_holders().filter(|&node| node != victim).collect()
}

/// Methods in document order by one member, then by the next (design §3.4).
fn next_attempt(state: &Replicated, victim: NodeId, lost: &Lost, methods: usize) -> Option<Decision> {
    let fencers = fencers(state, victim);
    let made = lost.attempt as usize;
    let by = *fencers.get((made / methods) % fencers.len().max(1))?;
    let method = u32::try_from(made % methods).ok()?;
    Some(Decision::Fence { victim, by, method, attempt: lost.attempt + 1 })
}

/// Two equal halves must not shoot each other at once: the half that holds fewer services, or with equal numbers the one
/// without the lowest node id, waits. An administrator's own `delay` on a fence device switches this off.
fn head_start_ms(state: &Replicated, conf: &Conf) -> u64 {
    let gone: Vec<NodeId> = state.lost.iter().filter(|(_, lost)| !lost.startup).map(|(&id, _)| id).collect();
    let here: Vec<NodeId> = state.members.keys().copied().collect();
    let votes =
        |nodes: &[NodeId]| -> u32 { nodes.iter().filter_map(|&id| conf.node_by_id(id)).map(|node| node.votes).sum() };
    let services = |nodes: &[NodeId]| {
        state.services.values().filter(|record| record.holder.is_some_and(|holder| nodes.contains(&holder))).count()
    };
    let delay_configured = conf.nodes.iter().any(has_delay);
    if votes(&gone) != votes(&here) || delay_configured {
        return 0;
    }
    let waits = match services(&here).cmp(&services(&gone)) {
        std::cmp::Ordering::Less => true,
        std::cmp::Ordering::Greater => false,
        std::cmp::Ordering::Equal => here.iter().min() > gone.iter().min(),
    };
    if waits { HEAD_START_MS } else { 0 }
}

fn has_delay(node: &Node) -> bool {
    node.methods
        .iter()
        .flat_map(|method| &method.devices)
        .any(|device| device.arguments.iter().any(|(name, value)| name == "delay" && value != "0"))
}

// Services.

fn plan_services(state: &Replicated, conf: &Conf, local: &Local<'_>, plan: &mut Plan) {
    let takers = takers(state);
    let mut load = Load::of(state, conf);
    // Founders become clean one after another within moments. Starting everything on the first would only have it moved.
    let patience = state.formed_at.plus_ms(FOUNDING_PATIENCE_MS);
    let founding = local.now < patience
        && state.members.values().any(|member| !member.clean && !member.leaving && !member.goodbye);
    if founding {
        plan.wake(patience);
    }
    // Exclusive services choose first, the lowest number before the others; then whose `priority` is lower, where it counts.
    let mut order: Vec<(&ServiceName, &Record)> = state.services.iter().collect();
    let rank = |name: &ServiceName| {
        let service = conf.service(name);
        let priority = service.filter(|_| conf.rm.central_processing).map_or(0, |service| service.priority);
        (service.map_or(0, |service| service.exclusive).wrapping_sub(1), priority)
    };
    order.sort_by_key(|(name, _)| rank(name));
    // Where the starts on their way lead is not in the state yet, and one of them may be, or meet, an exclusive service.
    let undecided = conf.services.iter().any(|service| service.exclusive > 0)
        && local.flights.iter().any(|flight| matches!(flight, Flight::Service(..)));
    for (name, record) in order {
        if founding && record.holder.is_none() && record.order.is_none() {
            continue;
        }
        if local.flights.contains(&Flight::Service(name.clone(), record.epoch)) {
            continue;
        }
        let view = ServiceView { state, conf, name, record, service: conf.service(name), takers: &takers };
        if let Some((decision, reason)) = view.decide(&load, local.now) {
            if let Decision::Start { on, .. } | Decision::Migrate { to: on, .. } = &decision {
                if undecided {
                    continue;
                }
                load.add(conf, *on, name);
            }
            // Two services may want the same third one out of their way.
            if plan.decisions.iter().all(|(known, _)| Flight::of(known) != Flight::of(&decision)) {
                plan.decisions.push((decision, reason));
            }
        }
    }
}

/// Why a service that should start does not; the first obstacle in the order in which they are asked.
pub(crate) fn obstacle(state: &Replicated, conf: &Conf, name: &ServiceName, record: &Record) -> Option<Reason> {
    if record.frozen {
        return Some(Reason::Frozen);
    }
    if state.locked {
        return Some(Reason::Locked);
    }
    if !state.lost.is_empty() {
        return Some(Reason::FencingPending { nodes: state.lost.keys().map(|&id| node_name(conf, id)).collect() });
    }
    let claimant = state.members.iter().find(|(_, member)| member.claims.contains_key(name));
    if let Some((&node, _)) = claimant {
        return Some(Reason::ClaimedBy { node: node_name(conf, node) });
    }
    dependency::missing(state, conf, name).map(|service| Reason::DependencyMissing { service })
}

pub(crate) struct ServiceView<'a> {
    pub(crate) state: &'a Replicated,
    pub(crate) conf: &'a Conf,
    pub(crate) name: &'a ServiceName,
    pub(crate) record: &'a Record,
    /// `None`: removed from the configuration.
    pub(crate) service: Option<&'a Service>,
    pub(crate) takers: &'a [NodeId],
}

impl ServiceView<'_> {
    fn decide(&self, load: &Load, now: Time) -> Option<(Decision, Reason)> {
        match self.record.state {
            ServiceState::Started => self.decide_started(load),
            ServiceState::Stopped | ServiceState::Recovering | ServiceState::Disabled => self.decide_unheld(load, now),
            ServiceState::Failed => self.decide_failed(),
            ServiceState::Starting => self.decide_starting(),
            // The holder is at work; its report comes.
            ServiceState::Stopping
            | ServiceState::Recoverable
            | ServiceState::Migrating
            | ServiceState::Uninitialized
            | ServiceState::Checking => None,
        }
    }

    fn stop(&self, after: AfterStop, reason: Reason) -> Option<(Decision, Reason)> {
        Some((Decision::Stop { service: self.name.clone(), epoch: self.record.epoch, after }, reason))
    }

    fn settle(&self, state: ServiceState, reason: Reason) -> Option<(Decision, Reason)> {
        Some((Decision::Settle { service: self.name.clone(), epoch: self.record.epoch, state }, reason))
    }

    fn requested(&self) -> Option<Reason> {
        let order = self.record.order.as_ref()?;
        Some(Reason::Requested { verb: order.request.command.verb().into(), origin: order.request.origin.clone() })
    }

    /// Who wants it down does not wait for a start, which may hang: it is stopped as it is (rhcs.md §3.2).
    fn decide_starting(&self) -> Option<(Decision, Reason)> {
        let holder = self.record.holder.filter(|holder| self.state.members.contains_key(holder))?;
        self.record.order.as_ref().filter(|order| order.wants_down())?;
        self.stop(self.after_order(holder)?, self.requested()?)
    }

    fn decide_started(&self, load: &Load) -> Option<(Decision, Reason)> {
        let holder = self.record.holder?;
        // Only a live member can be told to stop something; a lost one is fenced first.
        let member = self.state.members.get(&holder)?;
        let Some(service) = self.service else { return self.stop(AfterStop::Removed, Reason::Removed) };
        if self.record.frozen {
            return None;
        }
        if let Some(reason) = self.requested() {
            if let Some(migration) = self.migrate_order(service, reason.clone()) {
                return Some(migration);
            }
            let after = self.after_order(holder)?;
            // A node was lost since it was asked: stopped now, it could not start again before that one is fenced.
            let comes_back = matches!(after, AfterStop::Relocate { .. } | AfterStop::Restart { .. });
            return if comes_back && !self.state.lost.is_empty() { None } else { self.stop(after, reason) };
        }
        if let Some(needs) = dependency::missing(self.state, self.conf, self.name).filter(|_| service.depend_hard) {
            return self.stop(AfterStop::Wait, Reason::DependencyMissing { service: needs });
        }
        if member.leaving {
            let node = node_name(self.conf, holder);
            let reason = Reason::OwnerLeft { node };
            // Not a relocation: should the node be back before a place is found, it is as good as any.
            return self.migrate_away(service, load, &reason).or_else(|| self.stop(AfterStop::Recover, reason));
        }
        if self.state.standby.contains(&holder) {
            let node = node_name(self.conf, holder);
            let reason = Reason::Standby { node };
            let stop = || self.stop(AfterStop::Recover, reason.clone()).filter(|_| self.state.lost.is_empty());
            return self.migrate_away(service, load, &reason).or_else(stop);
        }
        if let Some(home) = standby::home(self.state, self.conf, service, self.record, self.takers, load) {
            let node = node_name(self.conf, home);
            return self.move_to(service, home, Reason::HomeAgain { node });
        }
        let better = self.better_newcomer(service, holder, load)?;
        let node = node_name(self.conf, better);
        self.move_to(service, better, Reason::BetterNode { node })
    }

    /// A virtual machine migrates, anything else is stopped and started there (rhcs.md §3.6).
    fn move_to(&self, service: &Service, to: NodeId, reason: Reason) -> Option<(Decision, Reason)> {
        self.migrate(service, to, &reason).or_else(|| self.stop(AfterStop::Relocate { to: Some(to) }, reason))
    }

    /// To the best node that could have it, if it can go while it runs.
    fn migrate_away(&self, service: &Service, load: &Load, reason: &Reason) -> Option<(Decision, Reason)> {
        let ranked = rank(self.conf, service, self.record, self.takers, load);
        let (to, _) = ranked.into_iter().find(|(node, _)| Some(*node) != self.record.holder)?;
        self.migrate(service, to, reason)
    }

    fn migrate(&self, service: &Service, to: NodeId, reason: &Reason) -> Option<(Decision, Reason)> {
        let movable = can_migrate(service) && !self.record.immobile;
        if !movable || self.state.refuse_migration(self.conf, service, self.record, to).is_some() {
            return None;
        }
        Some((Decision::Migrate { service: self.name.clone(), epoch: self.record.epoch, to }, reason.clone()))
    }

    /// An operator's `migrate`, or its end if it cannot be done any more.
    fn migrate_order(&self, service: &Service, reason: Reason) -> Option<(Decision, Reason)> {
        let to = self.record.asked_to_migrate()?;
        // A member of an older release has joined since it was accepted and could follow neither answer: it waits.
        if self.state.protocol() < 2 {
            return None;
        }
        let to = self.conf.node(to).map(|node| node.id);
        let (service_name, epoch) = (self.name.clone(), self.record.epoch);
        let decision = match to {
            Some(to) if self.state.refuse_migration(self.conf, service, self.record, to).is_none() => {
                Decision::Migrate { service: service_name, epoch, to }
            }
            _ => Decision::Decline { service: service_name, epoch },
        };
        Some((decision, reason))
    }

    fn after_order(&self, holder: NodeId) -> Option<AfterStop> {
        let order = self.record.order.as_ref().filter(|order| !order.begun)?;
        match &order.request.command {
            Command::Disable { .. } => Some(AfterStop::Disabled),
            Command::Stop { .. } => Some(AfterStop::Stopped),
            Command::Restart { .. } => Some(AfterStop::Restart { on: holder }),
            Command::Relocate { to, .. } => {
                let to = to.as_ref().and_then(|name| self.conf.node(name)).map(|node| node.id);
                // Relocating to the node that has it already stops and starts it in place (rhcs.md §2.3).
                Some(if to == Some(holder) { AfterStop::Restart { on: holder } } else { AfterStop::Relocate { to } })
            }
            _ => None,
        }
    }

    /// A node that joined after the service was placed and that its domain wants strictly more (rhcs.md §4.3).
    fn better_newcomer(&self, service: &Service, holder: NodeId, load: &Load) -> Option<NodeId> {
        // A holder whose daemon has just come back is no worse a place because it has not said yet that it is ready.
        let ready = self.takers.contains(&holder);
        if !ready || obstacle(self.state, self.conf, self.name, self.record).is_some() {
            return None;
        }
        let situation = situation(self.record, self.takers);
        let here = level(self.conf, service, holder, situation);
        let newcomer = |id: &NodeId| self.record.newcomers.contains(id);
        rank(self.conf, service, self.record, self.takers, load)
            .into_iter()
            .map(|(node, _)| node)
            .find(|node| newcomer(node) && level(self.conf, service, *node, situation) > here)
    }

    fn decide_failed(&self) -> Option<(Decision, Reason)> {
        // Nothing but a disable is admitted for what is failed.
        let reason = self.requested()?;
        let holder = self.record.holder?;
        self.state.members.contains_key(&holder).then(|| self.stop(AfterStop::Disabled, reason))?
    }

    fn decide_unheld(&self, load: &Load, now: Time) -> Option<(Decision, Reason)> {
        let service = self.service?;
        if self.record.frozen {
            return None;
        }
        let order = self.record.order.as_ref();
        if let Some(order) = order.filter(|order| order.wants_down()) {
            let disable = matches!(order.request.command, Command::Disable { .. });
            let state = if disable { ServiceState::Disabled } else { ServiceState::Stopped };
            return self.settle(state, self.requested()?);
        }
        match self.record.state {
            ServiceState::Disabled if order.is_none() => return None,
            ServiceState::Stopped if order.is_none() => {
                if !service.autostart && !self.record.enabled_by_hand && self.record.last_transition.is_none() {
                    return self.settle(ServiceState::Disabled, Reason::NoAutostart);
                }
                if self.record.parked {
                    return None;
                }
            }
            _ => {}
        }
        if let Some(settled) = self.give_up_by_policy(service, now) {
            return Some(settled);
        }
        match obstacle(self.state, self.conf, self.name, self.record) {
            None => self.place(service, load, now),
            // Whoever asked is told, and what was recovering is stopped; it starts when its dependency has (rhcs.md §3.5).
            Some(reason @ Reason::DependencyMissing { .. })
                if order.is_some() || self.record.state == ServiceState::Recovering =>
            {
                let disabled = self.record.state == ServiceState::Disabled;
                self.settle(if disabled { ServiceState::Disabled } else { ServiceState::Stopped }, reason)
            }
            Some(_) => None,
        }
    }

    /// Recovery policies that end in `disabled` (rhcs.md §3.4).
    fn give_up_by_policy(&self, service: &Service, now: Time) -> Option<(Decision, Reason)> {
        if self.record.state != ServiceState::Recovering || !self.record.check_failed {
            return None;
        }
        match service.recovery {
            Recovery::Disable => {
                self.settle(ServiceState::Disabled, Reason::RecoveryPolicy { policy: service.recovery })
            }
            Recovery::RestartDisable if !self.restarts_left(service, now) => {
                self.settle(ServiceState::Disabled, Reason::RestartsUsedUp { max: service.max_restarts })
            }
            _ => None,
        }
    }

    fn restarts_left(&self, service: &Service, now: Time) -> bool {
        service.max_restarts == 0 || restarts_used(service, self.record, now) < service.max_restarts
    }

    /// Picks the node, or gives up until something changes.
    fn place(&self, service: &Service, load: &Load, now: Time) -> Option<(Decision, Reason)> {
        let ranked = self.ranked(service, load);
        let because = self.requested().unwrap_or_else(|| self.cause());
        let Some((node, placement)) = self.choose(service, &ranked, now) else {
            match evict(self.state, self.conf, service, self.record, self.takers, load) {
                Some(Eviction::Stop(decision)) => return Some(*decision),
                Some(Eviction::UnderWay) => return None,
                None => {}
            }
            let waits_quietly = self.record.state == ServiceState::Stopped && self.record.order.is_none();
            if waits_quietly {
                return None;
            }
            let reason = if is_crowded_out(self.conf, service, self.record, self.takers, load) {
                Reason::ExclusiveConflict
            } else if self.record.tried.is_empty() {
                Reason::NoNodeAllowed
            } else {
                Reason::NoNodeLeft { tried: self.record.tried.iter().map(|&id| node_name(self.conf, id)).collect() }
            };
            return self.settle(ServiceState::Stopped, reason);
        };
        let reason = Reason::Placed { node: node_name(self.conf, node), because: Box::new(because), placement };
        let decision = Decision::Start { service: self.name.clone(), epoch: self.record.epoch, on: node };
        Some((decision, reason))
    }

    /// The nodes that may take it now, best first.
    fn ranked(&self, service: &Service, load: &Load) -> Vec<(NodeId, Placement)> {
        let mut ranked = rank(self.conf, service, self.record, self.takers, load);
        ranked.retain(|(node, _)| !self.record.tried.contains(node));
        ranked
    }

    fn cause(&self) -> Reason {
        match self.record.state {
            ServiceState::Stopped if self.record.reason == Reason::ExclusiveConflict => Reason::NodeFree,
            ServiceState::Stopped if self.record.enabled_by_hand => Reason::EnabledByHand,
            ServiceState::Stopped => Reason::Autostart,
            _ => self.record.reason.clone(),
        }
    }

    fn choose(&self, service: &Service, ranked: &[(NodeId, Placement)], now: Time) -> Option<(NodeId, Placement)> {
        let candidate = |node: NodeId| ranked.iter().any(|(id, _)| *id == node);
        if let Some(node) = self.wanted_node().filter(|&node| candidate(node)) {
            let placement = match &self.record.reason {
                Reason::BetterNode { .. } if self.record.order.is_none() => Placement::DomainScore,
                Reason::HomeAgain { .. } => Placement::Requested,
                _ if self.record.last_owner == Some(node) => Placement::SameNode,
                _ => Placement::Requested,
            };
            return Some((node, placement));
        }
        let mut avoid = self.record.avoid;
        if self.record.check_failed {
            let here = self.record.last_owner.filter(|&node| candidate(node));
            let in_place = matches!(service.recovery, Recovery::Restart | Recovery::RestartDisable)
                && self.restarts_left(service, now);
            match here {
                Some(node) if in_place => return Some((node, Placement::SameNode)),
                _ => avoid = avoid.or(self.record.last_owner),
            }
        }
        let elsewhere: Vec<_> = ranked.iter().filter(|(node, _)| Some(*node) != avoid).collect();
        match elsewhere[..] {
            [] => ranked.first().copied(),
            [(node, _)] => Some((*node, Placement::OnlyNode)),
            [first, ..] => Some(*first),
        }
    }

    /// The node an operator or an earlier decision named.
    fn wanted_node(&self) -> Option<NodeId> {
        if let Some(node) = self.record.prefer {
            return Some(node);
        }
        let order = self.record.order.as_ref()?;
        match &order.request.command {
            Command::Enable { on: Some(name), .. } | Command::Relocate { to: Some(name), .. } => {
                self.conf.node(name).map(|node| node.id)
            }
            Command::Enable { on: None, by_domain: false, .. } => Some(order.asked_on),
            Command::Restart { .. } => self.record.last_owner,
            _ => None,
        }
    }
}

/// The nodes that would be given the service if it had to be placed now, the first choice first.
pub(crate) fn choose_node(view: &ServiceView<'_>, service: &Service, load: &Load, now: Time) -> Vec<NodeId> {
    let ranked = view.ranked(service, load);
    let first = view.choose(service, &ranked, now).map(|(node, _)| node);
    let others = ranked.iter().map(|(node, _)| *node).filter(|node| Some(*node) != first);
    first.into_iter().chain(others).collect()
}

/// Why no member may run the service now; `None`: one may.
pub(crate) fn no_place(state: &Replicated, conf: &Conf, service: &Service, record: &Record) -> Option<Reason> {
    let (takers, load) = (takers(state), Load::of(state, conf));
    if !rank(conf, service, record, &takers, &load).is_empty() {
        return None;
    }
    let crowded_out = is_crowded_out(conf, service, record, &takers, &load);
    Some(if crowded_out { Reason::ExclusiveConflict } else { Reason::NoNodeAllowed })
}
