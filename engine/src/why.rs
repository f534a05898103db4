//! The explanation of one service: the tests of the policy and the law, asked of the same functions that decide, with what they
//! find. Read only.

use shared::conf::model::{Conf, Service};
use shared::ids::{NodeId, ServiceName, Time};
use shared::placement::{Situation, judge};
use shared::status::RequestStatus;
use shared::text::ServiceState;
use shared::why::{Explanation, NodeExplanation, Outcome, Test, Verdict};

use crate::coordinator::{ServiceView, choose_node};
use crate::dependency;
use crate::engine::Engine;
use crate::holder::QuorumHere;
use crate::placement::{Load, situation, takers};
use crate::record::Record;
use crate::replicated::{Replicated, node_name};

impl Engine {
    /// Why a service is where it is and as it is; `None`: this node knows no such service.
    pub fn explain(&self, now: Time, service: &ServiceName) -> Option<Explanation> {
        let joined = self.joined.as_ref()?;
        let (state, conf) = (&joined.state, &*joined.conf);
        let record = state.services.get(service)?;
        let shown = self.service(state, conf, service, record);
        let mut tests = vec![self.quorum_test()];
        tests.extend(service_tests(state, conf, service, record, now));
        Some(Explanation {
            service: service.clone(),
            state: shown.state,
            owner: shown.owner,
            reason: shown.reason,
            tests,
            nodes: explain_nodes(state, conf, service, record, now, &self.ring.members),
        })
    }

    fn quorum_test(&self) -> Test {
        let quorate = match self.quorum_here() {
            QuorumHere::Yes => Some(true),
            QuorumHere::No => Some(false),
            QuorumHere::Unknown => None,
        };
        let said = self.quorum;
        Test::Quorate {
            quorate,
            votes: said.and_then(|said| said.votes),
            votes_expected: said.and_then(|said| said.votes_expected),
        }
    }
}

/// What holds wherever the service would run, in the order of the law and then of `coordinator::obstacle`.
fn service_tests(state: &Replicated, conf: &Conf, name: &ServiceName, record: &Record, now: Time) -> Vec<Test> {
    let mut tests = vec![Test::AllFenced { waits_for: state.lost.keys().map(|&id| node_name(conf, id)).collect() }];
    if record.state == ServiceState::Failed
        && let Some(holder) = record.holder
    {
        tests.push(Test::StopFailed { node: node_name(conf, holder) });
    }
    let service = conf.service(name);
    let autostart = service.is_none_or(|service| service.autostart);
    let kept_down = !autostart && !record.enabled_by_hand && record.last_transition.is_none();
    let asked_up = record.order.as_ref().is_some_and(|order| !order.wants_down());
    let down = record.state == ServiceState::Disabled || (record.state == ServiceState::Stopped && kept_down);
    let disabled = down && !asked_up;
    tests.push(Test::Enabled { disabled, autostart });
    tests.push(Test::Frozen { frozen: record.frozen });
    tests.push(Test::Locked { locked: state.locked });
    if let Some(order) = &record.order {
        tests.push(Test::Request {
            request: RequestStatus {
                id: order.request.id.clone(),
                command: order.request.command.clone(),
                origin: order.request.origin.clone(),
                since: order.since,
            },
        });
    } else if record.state == ServiceState::Stopped && record.parked {
        tests.push(Test::Parked);
    }
    if let Some((&by, _)) = state.members.iter().find(|(_, member)| member.claims.contains_key(name)) {
        tests.push(Test::Claimed { by: node_name(conf, by) });
    }
    if let Some(on) = service.and_then(|service| service.depend.clone()) {
        let started = dependency::missing(state, conf, name).is_none();
        tests.push(Test::Dependency { on, started });
    }
    if let Some(service) = service.filter(|_| !record.restart_times.is_empty()) {
        tests.push(Test::Restarts { used: restarts_used(service, record, now), allowed: service.max_restarts });
    }
    if let Some(failure) = &record.failure {
        tests.push(Test::LastFailure { failure: failure.clone() });
    }
    tests
}

/// Restarts in place that have not expired (rhcs.md §3.4).
pub(crate) fn restarts_used(service: &Service, record: &Record, now: Time) -> u32 {
    let counts = |at: &&Time| service.restart_expire_ms == 0 || now.since_ms(**at) < service.restart_expire_ms;
    u32::try_from(record.restart_times.iter().filter(counts).count()).unwrap_or(u32::MAX)
}

fn explain_nodes(
    state: &Replicated,
    conf: &Conf,
    name: &ServiceName,
    record: &Record,
    now: Time,
    online: &[NodeId],
) -> Vec<NodeExplanation> {
    let Some(service) = conf.service(name) else { return Vec::new() };
    let (takers, load) = (takers(state), Load::of(state, conf));
    let around = Surroundings { state, conf, service, record, takers: &takers, load: &load, online };
    let mut nodes: Vec<(NodeId, NodeExplanation)> =
        conf.nodes.iter().map(|node| (node.id, around.explain(node.id))).collect();
    let view = ServiceView { state, conf, name, record, service: Some(service), takers: &takers };
    let order = choose_node(&view, service, &load, now);
    let others = order.iter().filter(|id| record.holder != Some(**id));
    for (rank, id) in (1..).zip(others) {
        if let Some((_, node)) = nodes.iter_mut().find(|(node, _)| node == id) {
            node.verdict = Verdict::Candidate { rank };
        }
    }
    let place = |id: NodeId| order.iter().position(|other| *other == id).unwrap_or(usize::MAX);
    nodes.sort_by_key(|(id, node)| (node.verdict != Verdict::Owner, place(*id), *id));
    nodes.into_iter().map(|(_, node)| node).collect()
}

struct Surroundings<'a> {
    state: &'a Replicated,
    conf: &'a Conf,
    service: &'a Service,
    record: &'a Record,
    takers: &'a [NodeId],
    load: &'a Load,
    /// By corosync.
    online: &'a [NodeId],
}

impl Surroundings<'_> {
    fn explain(&self, id: NodeId) -> NodeExplanation {
        let member = self.state.members.get(&id);
        let mut tests = vec![Test::Member {
            member: member.is_some_and(|member| member.clean),
            leaving: member.is_some_and(|member| member.leaving || member.goodbye),
            online: self.online.contains(&id),
            standby: self.state.standby.contains(&id),
        }];
        // What keeps a member from taking services is told above; its domain is judged as if it did take them.
        let mut takers = self.takers.to_vec();
        if member.is_some_and(|member| member.clean) && !takers.contains(&id) {
            takers.push(id);
        }
        let situation: Situation<'_> = situation(self.record, &takers);
        tests.push(Test::Domain { judgement: judge(self.conf, self.service, id, situation) });
        let with = self.load.excluded_by(id, self.service);
        let exclusive_matters = self.service.exclusive > 0 || !with.is_empty();
        if exclusive_matters {
            tests.push(Test::Exclusive { with });
        }
        if self.record.tried.contains(&id) {
            tests.push(Test::Tried);
        }
        if self.record.avoid == Some(id) {
            tests.push(Test::Avoided);
        }
        if self.record.prefer == Some(id) {
            tests.push(Test::Wanted);
        }
        let services = u32::try_from(self.load.held(id, &self.service.name)).unwrap_or(u32::MAX);
        tests.push(Test::Load { services });
        let owner = self.record.holder == Some(id);
        let verdict = if owner { Verdict::Owner } else { Verdict::MayNot };
        NodeExplanation { node: node_name(self.conf, id), verdict, tests }
    }
}

/// Whether the explanation lets the service run somewhere: no test of it blocks, and a node may take it.
pub fn lets_run(explanation: &Explanation) -> bool {
    let blocks = |tests: &[Test]| tests.iter().any(|test| test.outcome() == Outcome::Blocks);
    !blocks(&explanation.tests)
        && explanation.nodes.iter().any(|node| node.verdict != Verdict::MayNot && !blocks(&node.tests))
}
