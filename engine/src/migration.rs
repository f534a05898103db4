//! Live migration: a virtual machine moves to another node while it runs (rhcs.md §2.3, §3.5). The holder's agent moves it
//! (`migrate_to`); then the other node holds the service and its agent looks whether the guest has come (`migrate_from`).
//!
//! While the guest is on its way it may be on either node, so the record keeps both: `holder`, and `arriving`. Whoever stops the service
//! meanwhile stops it on the one, then on the other, and nobody starts it before both are done (`hand_over`).
//!
//! The first half is part of the fold of the stream, the second of the holder; the decision to migrate is the coordinator's.

use std::sync::Arc;

use shared::conf::model::{Conf, Service};
use shared::ids::{Epoch, NodeId, NodeName, ServiceName, Time};
use shared::status::{Command, FactKind, FactSeverity, Failure, Reason};
use shared::text::{ResultCode, ServiceState};

use crate::event::{Action, Operation};
use crate::holder::{Ask, Duty, Held, Holder, QuorumHere, Said, StopFor, Work};
use crate::message::ReportOutcome;
use crate::placement::{Level, Load, level, situation, takers};
use crate::record::{Record, Step};
use crate::replicated::{Folded, Replicated, node_name};
use crate::walk::{Agents, Walk};

/// OCF: the guest does not run where it was to be fetched.
const OCF_NOT_RUNNING: i32 = 7;
/// OCF: the agent cannot do this with the configuration it has; it has not tried.
const OCF_ERR_CONFIGURED: i32 = 6;
/// Of the agents of old: it could not be moved and runs where it was.
const STAYED: i32 = 150;

/// Only a virtual machine on its own can move while it runs.
pub(crate) fn can_migrate(service: &Service) -> bool {
    matches!(&service.tree[..], [only] if only.kind == "vm" && only.children.is_empty())
}

impl Record {
    /// What may be on the other node of a migration is that node's to stop from now on. `false`: nothing can be there.
    pub(crate) fn hand_over(&mut self, is_known: impl Fn(NodeId) -> bool) -> bool {
        let Some(to) = self.arriving.take().filter(|to| is_known(*to)) else { return false };
        self.last_owner = self.holder.replace(to);
        self.resources.clear();
        true
    }

    pub(crate) fn migrate(&mut self, step: &mut Step<'_>, to: NodeId, reason: Reason) {
        self.remember_home(&reason);
        self.arriving = Some(to);
        self.enter(ServiceState::Migrating, step.at, reason.clone());
        // Not another that came while the decision was on its way: it is carried out when the guest has arrived.
        if let Some(order) = &mut self.order
            && matches!(order.request.command, Command::Migrate { .. })
        {
            order.begun = true;
        }
        let from = self.holder.map(|holder| step.name_of(holder)).unwrap_or_default();
        let service = step.service;
        let text = format!("Migrating {service} from {from} to {}", step.name_of(to));
        step.fact(FactSeverity::Info, FactKind::ServiceMigrating, text, Some(reason));
    }

    /// Where an operator wants it to migrate to, as long as that has not been decided.
    pub(crate) fn asked_to_migrate(&self) -> Option<&NodeName> {
        match self.order.as_ref().filter(|order| !order.begun).map(|order| &order.request.command) {
            Some(Command::Migrate { to, .. }) => Some(to),
            _ => None,
        }
    }

    /// The guest has left its node: from now on the other one holds the service.
    pub(crate) fn migrated(&mut self, step: &mut Step<'_>, is_known: impl Fn(NodeId) -> bool) {
        let reason = self.reason.clone();
        if self.hand_over(is_known) {
            self.enter(ServiceState::Migrating, step.at, reason);
            return;
        }
        // The other node has been fenced meanwhile, and the guest with it.
        self.release(step);
        self.enter(ServiceState::Recovering, step.at, reason);
        self.end_order(step.folded, ResultCode::NodeDead, None, "the node it was to migrate to died".into());
    }

    /// What an agent's exit code says of a migration (rhcs.md §2.3): it stays where it was, it runs nowhere, or nobody knows.
    pub(crate) fn migration_failed(&mut self, step: &mut Step<'_>, from: NodeId, failure: &Failure) {
        let was_source = self.arriving.is_some();
        let to = step.name_of(self.arriving.unwrap_or(from));
        self.failure = Some(failure.clone());
        let code = match failure.code {
            Some(OCF_ERR_CONFIGURED) if was_source => ResultCode::InvalidOperation,
            Some(STAYED) if was_source => ResultCode::OriginalOwner,
            _ => ResultCode::Failure,
        };
        let text = format!("{}: {}", step.service, failure.text());
        step.fact(FactSeverity::Error, FactKind::ResourceFailed, text, None);
        if code != ResultCode::Failure {
            self.arriving = None;
            self.newcomers.clear();
            self.immobile = true;
            self.forget_home_on(from);
            let reason = self.reason.clone();
            self.enter(ServiceState::Started, step.at, reason);
            self.end_order(step.folded, code, Some(step.name_of(from)), failure.text());
        } else if !was_source || failure.code == Some(OCF_NOT_RUNNING) {
            // It runs on neither: it is stopped where it may have left something, then recovered.
            self.tried.clear();
            self.check_failed = true;
            self.fail(step, from, failure);
            self.end_order(step.folded, code, None, failure.text());
        } else {
            self.migration_lost(step, to, format!("Service {} is failed: {}", step.service, failure.text()));
            self.end_order(step.folded, code, None, failure.text());
        }
    }

    /// The daemon of the node that was giving a guest away has begun anew: nobody knows how far the guest is.
    pub(crate) fn migration_unknown(&mut self, step: &mut Step<'_>) {
        let to = self.arriving.map(|to| step.name_of(to)).unwrap_or_default();
        let service = step.service;
        let text = format!("Service {service} is failed: rgmanager ended on its owner while it was migrating");
        self.migration_lost(step, to, text.clone());
        self.end_order(step.folded, ResultCode::Failure, None, text);
    }

    /// The guest may be on either node.
    fn migration_lost(&mut self, step: &mut Step<'_>, to: NodeName, text: String) {
        let reason = Reason::MigrationFailed { to };
        self.enter(ServiceState::Failed, step.at, reason.clone());
        step.fact(FactSeverity::Error, FactKind::ServiceFailed, text, Some(reason));
    }
}

impl Replicated {
    /// Whether the node holds a service, or one is on its way there.
    pub fn owes(&self, node: NodeId) -> Option<&ServiceName> {
        let owed = |record: &Record| record.holder == Some(node) || record.arriving == Some(node);
        self.services.iter().find(|(_, record)| owed(record)).map(|(name, _)| name)
    }

    /// Why a running service cannot be moved there now; `None`: it can.
    pub(crate) fn refuse_migration(
        &self,
        conf: &Conf,
        service: &Service,
        record: &Record,
        to: NodeId,
    ) -> Option<(ResultCode, String)> {
        let name = node_name(conf, to);
        let takers = takers(self);
        if self.protocol() < 2 {
            return Some((ResultCode::TryAgain, "a member of an older release cannot follow; upgrade it first".into()));
        }
        if !takers.contains(&to) {
            return Some((ResultCode::NodeDead, format!("{name} is not a member that can take services now")));
        }
        if level(conf, service, to, situation(record, &takers)) == Level::Illegal {
            let text = format!("its failover domain is restricted and does not contain {name}");
            return Some((ResultCode::Dependency, text));
        }
        let shares = Load::of(self, conf).admits(to, service);
        (!shares).then(|| {
            (ResultCode::Dependency, format!("{name} is taken, and an exclusive service shares its node with none"))
        })
    }

    /// An operator's request that cannot be carried out any more.
    pub(crate) fn fold_decline(&mut self, at: Time, conf: &Conf, service: &ServiceName, folded: &mut Folded) {
        // Another request may have taken its place while the decision was on its way.
        let declined = self.services.get(service).and_then(|record| Some((record, record.asked_to_migrate()?)));
        let Some((record, to)) = declined else { return };
        let (code, text) = match (conf.node(to), conf.service(service)) {
            (Some(node), Some(configured)) => self
                .refuse_migration(conf, configured, record, node.id)
                .unwrap_or((ResultCode::Failure, "it could not be carried out".into())),
            _ => (ResultCode::NodeDead, "the node is not in the configuration any more".into()),
        };
        self.step(at, conf, service, folded, |record, step| record.end_order(step.folded, code, None, text));
    }
}

impl Holder {
    /// Stops every guest that is not known here: with the state this node gives up what it was told of their arrival, and the others
    /// count on nothing running here once it says so.
    pub(crate) fn stop_guests(&mut self, conf: &Conf, actions: &mut Vec<Action>) {
        for service in conf.services.iter().filter(|service| can_migrate(service)) {
            if self.held.contains_key(&service.name) {
                continue;
            }
            let mut held = Held::new(Arc::new(service.clone()));
            held.work = Work::StartFailed { epoch: Epoch(u64::MAX) };
            held.begin_stop(StopFor::Foreign, &mut Agents { runs: &mut self.runs, actions });
            self.held.insert(service.name.clone(), held);
        }
    }
}

impl Held {
    /// The state wants the service moved away from here, or taken on.
    pub(crate) fn follow_migration(
        &mut self,
        now: Time,
        epoch: Epoch,
        ask: Ask<'_>,
        agents: &mut Agents<'_>,
        said: &mut Vec<Said>,
    ) {
        let Self { local, work } = self;
        let peer = ask.record.and_then(|record| match ask.duty {
            Duty::MigrateTo(_) => record.arriving,
            _ => record.last_owner,
        });
        let peer = peer.zip(ask.conf).map(|(peer, conf)| node_name(conf, peer)).unwrap_or_default();
        match (ask.duty, &mut *work) {
            // At work, or reported and waiting for the state.
            (_, Work::Moving { .. } | Work::Stopping { .. }) => {}
            (Duty::MigrateTo(_), Work::Stopped { purpose }) if purpose.epoch() == Some(epoch) => {}
            // It was being stopped for want of quorum when the decision was made: what was said of it came too late.
            (Duty::MigrateTo(_), Work::Stopped { purpose }) => {
                *purpose = StopFor::Inquorate(epoch);
                said.push(local.report(epoch, ReportOutcome::StoppedInquorate));
            }
            (Duty::MigrateTo(_), Work::Running(running)) => {
                if running.change.is_some() {
                    return;
                }
                agents.abort_checks(&running.checks);
                let walk = Walk::migrate(&local.service, Operation::MigrateTo, peer);
                *work = Work::Moving { epoch, walk };
            }
            // Found not to run when the decision was on its way.
            (
                Duty::MigrateTo(_),
                Work::StopFailed { epoch: said_under, .. } | Work::StartFailed { epoch: said_under },
            ) if *said_under != epoch => {
                *said_under = epoch;
                said.push(local.report(epoch, ReportOutcome::MigrationFailed { failure: local.not_whole(now) }));
            }
            (Duty::MigrateFrom(_), _) if ask.quorum == QuorumHere::Yes => {
                let walk = Walk::migrate(&local.service, Operation::MigrateFrom, peer);
                *work = Work::Moving { epoch, walk };
            }
            _ => {}
        }
    }
}
