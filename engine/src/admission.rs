//! Which requests of operators are accepted, by state (rhcs.md §2.3, §3.2). Asked by every member at delivery, so all agree.

use shared::conf::model::Conf;
use shared::ids::{NodeId, NodeName, ServiceName, Time};
use shared::status::{Answer, Command, FactKind, FactSeverity, Outcome, Reason, Refusal, Request, Subject};
use shared::text::{ResultCode, ServiceState};

use crate::migration::can_migrate;
use crate::placement::{Level, Load, level, situation, takers};
use crate::record::{Order, Record, Step};
use crate::replicated::{Folded, Replicated, RequestRecord, done, node_name};

/// What to do with a request.
enum Admission {
    Refuse(Refusal),
    /// Nothing has to be done: it is so already.
    Already(ResultCode),
    /// The service carries it out.
    Order,
    /// It changes a mark and is done.
    Mark,
    /// The same, of this node.
    MarkNode(NodeId),
}

fn refuse(code: ResultCode, text: impl Into<String>) -> Admission {
    Admission::Refuse(Refusal { code, text: text.into() })
}

impl Replicated {
    /// A delivered request: admitted or refused, and the simple ones carried out.
    pub(crate) fn fold_request(&mut self, at: Time, conf: &Conf, from: NodeId, request: &Request, folded: &mut Folded) {
        if let Some(known) = self.requests.iter().find(|record| record.id == request.id) {
            let answer = known.refused.clone().map_or(Answer::Accepted, Answer::Refused);
            folded.answers.push((request.id.clone(), answer));
            folded.finished.extend(known.outcome.clone().map(|outcome| (request.id.clone(), outcome)));
            return;
        }
        let admission = self.admit(conf, from, &request.command);
        let refused = match &admission {
            Admission::Refuse(refusal) => Some(refusal.clone()),
            _ => None,
        };
        let record = RequestRecord {
            id: request.id.clone(),
            command: request.command.clone(),
            refused: refused.clone(),
            outcome: None,
        };
        self.requests.push(record);
        let subject = request.command.service().map_or(Subject::Cluster, |name| Subject::Service(name.clone()));
        let verb = request.command.verb();
        if let Some(refusal) = refused {
            let text =
                format!("Request {verb} by {} was refused: {}. {}", request.origin, refusal.code.text(), refusal.text);
            folded.fact(at, subject, FactSeverity::Warning, FactKind::RequestRefused, text, None);
            folded.answers.push((request.id.clone(), Answer::Refused(refusal)));
            return;
        }
        let text = format!("Request {verb} by {} was accepted", request.origin);
        folded.fact(at, subject, FactSeverity::Info, FactKind::RequestAccepted, text, None);
        folded.answers.push((request.id.clone(), Answer::Accepted));
        match admission {
            Admission::Already(code) => {
                let owner = request.command.service().and_then(|name| self.owner_name(conf, name));
                folded.ended.push((request.id.clone(), Outcome { code, owner, text: String::new() }));
            }
            Admission::Order => self.place_order(at, conf, from, request, folded),
            Admission::Mark => self.carry_out_mark(at, conf, request, folded),
            Admission::MarkNode(node) => self.carry_out_node_mark(at, conf, node, request, folded),
            Admission::Refuse(_) => {}
        }
    }

    fn owner_name(&self, conf: &Conf, service: &ServiceName) -> Option<NodeName> {
        let holder = self.services.get(service)?.holder?;
        Some(node_name(conf, holder))
    }

    fn admit(&self, conf: &Conf, from: NodeId, command: &Command) -> Admission {
        let Some(service) = command.service() else { return self.admit_cluster_command(conf, command) };
        // One that could not be stopped before it was taken out of cluster.conf can still be disabled: nothing else would end it.
        let gone = conf.service(service).is_none() && !matches!(command, Command::Disable { .. });
        let Some(record) = self.services.get(service).filter(|_| !gone) else {
            return refuse(ResultCode::NoService, format!("cluster.conf has no {service}"));
        };
        match command {
            Command::Freeze { .. } => return admit_freeze(record),
            // Whatever state it is in: nothing else would ever end that state.
            Command::Unfreeze { .. } => return Admission::Mark,
            _ if record.frozen => {
                return refuse(ResultCode::Frozen, "unfreeze it first (clusvcadm -U)");
            }
            _ => {}
        }
        if let Some(order) = &record.order {
            let ends_it = matches!(command, Command::Disable { .. } | Command::Stop { .. });
            if !(ends_it && can_be_called_off(record, order)) {
                let text = format!(
                    "{} requested by {} is still under way",
                    order.request.command.verb(),
                    order.request.origin
                );
                return refuse(ResultCode::Deadlock, text);
            }
        }
        match command {
            // Typed on a node without naming one, it is that node which tries (rhcs.md §2.3).
            Command::Enable { on: None, by_domain: false, .. } => {
                let here = node_name(conf, from);
                self.admit_enable(conf, service, record, Some(&here))
            }
            // Where it is typed it goes elsewhere instead (rhcs.md §3.5).
            Command::Enable { on: Some(name), .. } if conf.node(name).is_none_or(|node| node.id != from) => {
                let admission = self.admit_enable(conf, service, record, Some(name));
                self.admit_exclusive(conf, service, name, ResultCode::Exclusive, admission)
            }
            Command::Enable { on, .. } => self.admit_enable(conf, service, record, on.as_ref()),
            // With an enable under way it is not disabled for long: that has to be called off.
            Command::Disable { .. } if record.state == ServiceState::Disabled && record.order.is_none() => {
                Admission::Already(ResultCode::Success)
            }
            Command::Disable { .. } => Admission::Order,
            Command::Stop { .. } => match record.state {
                ServiceState::Failed => refuse(ResultCode::Failure, "it is failed; disable it instead"),
                ServiceState::Disabled if record.order.is_none() => Admission::Already(ResultCode::Success),
                ServiceState::Stopped if record.parked => Admission::Already(ResultCode::Success),
                _ => Admission::Order,
            },
            Command::Restart { .. } => match record.state {
                ServiceState::Started | ServiceState::Stopped => self.admit_fenced(conf, record, Admission::Order),
                _ => refuse(ResultCode::Failure, format!("it is {}, not started", record.state.name())),
            },
            Command::Relocate { to, .. } => self.admit_relocate(conf, service, record, to.as_ref()),
            Command::Migrate { to, .. } => self.admit_migrate(conf, service, record, to),
            Command::Convalesce { .. } => admit_convalesce(record),
            // Cluster commands name no service; freezing has been answered above.
            Command::Freeze { .. }
            | Command::Unfreeze { .. }
            | Command::Lock
            | Command::Unlock
            | Command::Fence { .. }
            | Command::AcknowledgeFence { .. }
            | Command::Standby { .. }
            | Command::Unstandby { .. } => Admission::Mark,
        }
    }

    fn admit_enable(&self, conf: &Conf, service: &ServiceName, record: &Record, on: Option<&NodeName>) -> Admission {
        match record.state {
            ServiceState::Failed => {
                let what = record.failure.as_ref().map(|failure| failure.text()).unwrap_or_default();
                return refuse(ResultCode::Failure, format!("it is failed ({what}); disable it first"));
            }
            ServiceState::Started
            | ServiceState::Starting
            | ServiceState::Stopping
            | ServiceState::Recoverable
            | ServiceState::Migrating => return Admission::Already(ResultCode::AlreadyRunning),
            _ => {}
        }
        if self.locked {
            return refuse(ResultCode::TryAgain, "services are locked; unlock them first (clusvcadm -u)");
        }
        match on {
            Some(name) => self.admit_target(conf, service, record, name),
            None => Admission::Order,
        }
    }

    /// The exclusive rule is asked before anything is stopped (rhcs.md §2.3).
    fn admit_exclusive(
        &self,
        conf: &Conf,
        service: &ServiceName,
        name: &NodeName,
        code: ResultCode,
        admission: Admission,
    ) -> Admission {
        let (Some(node), Some(service)) = (conf.node(name), conf.service(service)) else { return admission };
        if !matches!(admission, Admission::Order) || Load::of(self, conf).admits(node.id, service) {
            return admission;
        }
        let text = if service.exclusive > 0 {
            format!("it is exclusive, and {name} runs another service")
        } else {
            format!("{name} runs an exclusive service")
        };
        refuse(code, text)
    }

    fn admit_target(&self, conf: &Conf, service: &ServiceName, record: &Record, name: &NodeName) -> Admission {
        let Some(node) = conf.node(name) else {
            return refuse(ResultCode::NodeDead, format!("cluster.conf has no node {name}"));
        };
        let takers = takers(self);
        if !takers.contains(&node.id) {
            let text = if self.standby.contains(&node.id) {
                format!("{name} is in standby")
            } else {
                format!("{name} is not a member that can take services now")
            };
            return refuse(ResultCode::NodeDead, text);
        }
        let allowed = conf
            .service(service)
            .is_some_and(|service| level(conf, service, node.id, situation(record, &takers)) > Level::Illegal);
        if allowed {
            Admission::Order
        } else {
            refuse(ResultCode::Failure, format!("its failover domain is restricted and does not contain {name}"))
        }
    }

    fn admit_relocate(&self, conf: &Conf, service: &ServiceName, record: &Record, to: Option<&NodeName>) -> Admission {
        match record.state {
            ServiceState::Disabled | ServiceState::Uninitialized => {
                return refuse(ResultCode::InvalidOperation, "it is disabled; enable it instead");
            }
            ServiceState::Failed => return refuse(ResultCode::Failure, "it is failed; disable it first"),
            _ => {}
        }
        if self.locked {
            return refuse(ResultCode::TryAgain, "services are locked; unlock them first (clusvcadm -u)");
        }
        let admission = match to {
            None => Admission::Order,
            Some(name) => {
                let admission = self.admit_target(conf, service, record, name);
                self.admit_exclusive(conf, service, name, ResultCode::Dependency, admission)
            }
        };
        self.admit_fenced(conf, record, admission)
    }

    /// Nothing starts while a lost node is not fenced (law 2): what runs is not stopped before that, for it could not come back.
    fn admit_fenced(&self, conf: &Conf, record: &Record, admission: Admission) -> Admission {
        let lost: Vec<String> = self.lost.keys().map(|&id| node_name(conf, id).0).collect();
        let runs =
            record.state == ServiceState::Started && record.holder.is_some_and(|id| self.members.contains_key(&id));
        if lost.is_empty() || !runs || !matches!(admission, Admission::Order) {
            return admission;
        }
        let text =
            format!("{} must be fenced first; until then nothing starts, and it goes on where it is", lost.join(", "));
        refuse(ResultCode::FencingPending, text)
    }

    /// rhcs.md §2.3.
    fn admit_migrate(&self, conf: &Conf, name: &ServiceName, record: &Record, to: &NodeName) -> Admission {
        let Some(service) = conf.service(name).filter(|service| can_migrate(service)) else {
            let text = "only virtual machines can be migrated; relocate it instead";
            return refuse(ResultCode::InvalidOperation, text);
        };
        let Some(node) = conf.node(to) else {
            return refuse(ResultCode::InvalidOperation, format!("cluster.conf has no node {to}"));
        };
        match record.state {
            ServiceState::Started if record.holder == Some(node.id) => return Admission::Already(ResultCode::Success),
            ServiceState::Started => {}
            ServiceState::Disabled | ServiceState::Uninitialized => {
                return refuse(ResultCode::InvalidOperation, "it is disabled; enable it instead");
            }
            ServiceState::Failed => return refuse(ResultCode::Failure, "it is failed; disable it first"),
            other => return refuse(ResultCode::Failure, format!("it is {}, not started", other.name())),
        }
        if self.locked {
            return refuse(ResultCode::TryAgain, "services are locked; unlock them first (clusvcadm -u)");
        }
        match self.refuse_migration(conf, service, record, node.id) {
            Some((code, text)) => refuse(code, text),
            None => Admission::Order,
        }
    }

    fn admit_cluster_command(&self, conf: &Conf, command: &Command) -> Admission {
        match command {
            Command::Fence { node } => match conf.node(node) {
                None => refuse(ResultCode::NodeDead, format!("cluster.conf has no node {node}")),
                Some(known) if known.methods.is_empty() => refuse(
                    ResultCode::NotRunnable,
                    format!("cluster.conf names no fence method for {node}; add one, or use fence_ack_manual"),
                ),
                Some(known) if self.members.len() == 1 && self.members.contains_key(&known.id) => {
                    refuse(ResultCode::InvalidOperation, format!("{node} is the only member and cannot fence itself"))
                }
                Some(known) => Admission::MarkNode(known.id),
            },
            Command::AcknowledgeFence { node } => match conf.node(node).map(|node| node.id) {
                Some(id) if self.lost.contains_key(&id) => Admission::MarkNode(id),
                Some(_) => refuse(ResultCode::InvalidOperation, format!("nothing waits for {node} to be fenced")),
                None => refuse(ResultCode::NodeDead, format!("cluster.conf has no node {node}")),
            },
            Command::Standby { node } | Command::Unstandby { node } => match conf.node(node) {
                None => refuse(ResultCode::NodeDead, format!("cluster.conf has no node {node}")),
                Some(node) => Admission::MarkNode(node.id),
            },
            _ => Admission::Mark,
        }
    }

    fn place_order(&mut self, at: Time, conf: &Conf, from: NodeId, request: &Request, folded: &mut Folded) {
        let Some(service) = request.command.service() else { return };
        self.step(at, conf, service, folded, |record, step| {
            record.end_order(step.folded, ResultCode::Failure, None, "another request took its place".into());
            record.take_order(at, from, request);
        });
    }

    fn carry_out_mark(&mut self, at: Time, conf: &Conf, request: &Request, folded: &mut Folded) {
        let reason = requested(request);
        match &request.command {
            Command::Freeze { service } => {
                self.step(at, conf, service, folded, |record, step| record.freeze(step, true, reason));
            }
            Command::Unfreeze { service } => {
                self.step(at, conf, service, folded, |record, step| record.freeze(step, false, reason));
            }
            Command::Lock => self.lock(true),
            Command::Unlock => self.lock(false),
            _ => {}
        }
        folded.ended.push((request.id.clone(), done(None)));
    }

    fn lock(&mut self, locked: bool) {
        self.locked = locked;
        self.intents_changed += 1;
    }

    fn carry_out_node_mark(&mut self, at: Time, conf: &Conf, id: NodeId, request: &Request, folded: &mut Folded) {
        match &request.command {
            // Ended when the node is fenced.
            Command::Fence { .. } => return self.mark_victim(id, at),
            Command::AcknowledgeFence { .. } => self.acknowledge(at, conf, id, &request.origin, folded),
            Command::Standby { .. } => self.fold_standby(at, conf, id, true, requested(request), folded),
            Command::Unstandby { .. } => self.fold_standby(at, conf, id, false, requested(request), folded),
            _ => {}
        }
        folded.ended.push((request.id.clone(), done(None)));
    }
}

fn requested(request: &Request) -> Reason {
    Reason::Requested { verb: request.command.verb().into(), origin: request.origin.clone() }
}

fn admit_freeze(record: &Record) -> Admission {
    match (record.state, &record.order) {
        (ServiceState::Stopped | ServiceState::Started | ServiceState::Disabled, None) => Admission::Mark,
        (_, Some(order)) => {
            let name = order.request.command.verb();
            refuse(ResultCode::TryAgain, format!("{name} is being carried out on it; wait until that has ended"))
        }
        (ServiceState::Failed, None) => refuse(ResultCode::TryAgain, "it is failed; disable it first (clusvcadm -d)"),
        (state, None) => refuse(ResultCode::TryAgain, format!("it is {}; wait until that has ended", state.name())),
    }
}

/// Whether a disable or stop may take the place of what is under way. A migration has to end first: the guest is on its way between
/// two nodes. A service that is being disabled or stopped already is.
fn can_be_called_off(record: &Record, order: &Order) -> bool {
    !order.wants_down() && record.state != ServiceState::Migrating || record.holder.is_none()
}

/// Only what is started and partial has something to convalesce (rhcs.md §2.3).
fn admit_convalesce(record: &Record) -> Admission {
    match record.state {
        ServiceState::Started if record.stopped_parts.is_empty() => Admission::Already(ResultCode::AlreadyRunning),
        ServiceState::Started => Admission::Order,
        _ => refuse(ResultCode::InvalidOperation, format!("it is {}, not started and partial", record.state.name())),
    }
}

impl Record {
    /// Makes decisions and reports about the state before it outdated.
    fn bump(&mut self) {
        self.epoch.0 += 1;
    }

    /// From now on it is busy with this request.
    fn take_order(&mut self, at: Time, from: NodeId, request: &Request) {
        self.order = Some(Order {
            request: request.clone(),
            asked_on: from,
            since: at,
            owner_before: self.holder,
            begun: false,
        });
        self.parked = false;
        self.tried.clear();
        self.prefer = None;
        self.avoid = None;
        // Whoever says where it runs, or whether, ends what standby remembered; a convalescence does not.
        if !matches!(request.command, Command::Convalesce { .. }) {
            self.home = None;
        }
        // A decision on its way was made without the order. While somebody holds the service its epoch stays: the holder's
        // reports must not be lost.
        if self.holder.is_none() {
            self.bump();
        }
    }

    fn freeze(&mut self, step: &mut Step<'_>, frozen: bool, reason: Reason) {
        self.frozen = frozen;
        // What was decided before the freeze must not be done. A holder at work keeps its epoch: its reports count. One at rest
        // says anew what it found not to run meanwhile.
        if frozen || self.holder.is_none() || self.state == ServiceState::Started {
            self.bump();
        }
        step.folded.intents_changed += 1;
        let kind = if frozen { FactKind::ServiceFrozen } else { FactKind::ServiceUnfrozen };
        let service = step.service;
        let text = format!("Service {service} is {}", if frozen { "frozen" } else { "no longer frozen" });
        step.fact(FactSeverity::Info, kind, text, Some(reason));
    }
}
