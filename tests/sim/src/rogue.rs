//! A member that has gone wrong: it sends decisions and goodbyes that its policy would never make. With the whole law they do no
//! harm; with a rule taken out the simulator must notice.

use engine::placement::{Level, Situation, level};
use engine::{AfterStop, Branch, Decide, Decision, Message, Replicated, ViewTag};
use shared::ids::{ConfDigest, NodeId, ServiceName};
use shared::status::Reason;
use shared::text::ServiceState;

use crate::sim::Sim;

/// Which rule the wrong messages would break; `None`: any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rogue(pub Option<u8>);

impl Rogue {
    /// Sends one wrong message. `false`: there was no occasion for it.
    pub fn inject(self, sim: &mut Sim) -> bool {
        let rule = self.0.unwrap_or_else(|| 1 + u8::try_from(sim.rng.below(7)).unwrap_or(0));
        let Some((node, state)) = some_state(sim) else { return false };
        let Some(message) = wrong_message(rule, node, &state, sim) else { return false };
        sim.tell(|| format!("rogue on n{node}, against rule {rule}: {}", crate::sim::summary(&message)));
        sim.multicast(node, message);
        true
    }
}

fn some_state(sim: &mut Sim) -> Option<(NodeId, Replicated)> {
    let with_state: Vec<NodeId> = sim
        .nodes
        .iter()
        .filter(|(_, node)| !node.frozen)
        .filter(|(_, node)| node.daemon.as_ref().is_some_and(|daemon| daemon.engine.replicated().is_some()))
        .map(|(&id, _)| id)
        .collect();
    let node = sim.rng.pick(&with_state).copied()?;
    let state = sim.daemon(node)?.engine.replicated()?.clone();
    Some((node, state))
}

fn decide(sim: &Sim, node: NodeId, branch: Branch, decision: Decision) -> Message {
    let at = sim.time_on(node);
    Message::Decide(Box::new(Decide { view: ViewTag(0), branch, at, joins: 0, decision, reason: Reason::New }))
}

fn pick_service(
    sim: &mut Sim,
    state: &Replicated,
    wanted: impl Fn(&engine::Record) -> bool,
) -> Option<(ServiceName, engine::Record)> {
    let fitting: Vec<&ServiceName> =
        state.services.iter().filter(|(_, record)| wanted(record)).map(|(name, _)| name).collect();
    let name = (*sim.rng.pick(&fitting)?).clone();
    let record = state.services.get(&name)?.clone();
    Some((name, record))
}

fn pick_member(sim: &mut Sim, state: &Replicated, wanted: impl Fn(NodeId, &engine::Member) -> bool) -> Option<NodeId> {
    let fitting: Vec<NodeId> =
        state.members.iter().filter(|(id, member)| wanted(**id, member)).map(|(&id, _)| id).collect();
    sim.rng.pick(&fitting).copied()
}

/// Only nodes that the service's domain allows: what is looked for is the hole in the law, not a careless policy.
fn pick_target(
    sim: &mut Sim,
    state: &Replicated,
    service: &ServiceName,
    wanted: impl Fn(NodeId, &engine::Member) -> bool,
) -> Option<NodeId> {
    let conf = sim.conf(&state.conf)?;
    let service = conf.service(service)?.clone();
    let online: Vec<NodeId> = state.members.keys().copied().collect();
    let situation = Situation { online: &online, owner: None, running: false };
    pick_member(sim, state, |id, member| wanted(id, member) && level(&conf, &service, id, situation) > Level::Illegal)
}

fn start(sim: &mut Sim, node: NodeId, state: &Replicated, what: (ServiceName, engine::Record), on: NodeId) -> Message {
    let (service, record) = what;
    decide(sim, node, state.branch, Decision::Start { service, epoch: record.epoch, on })
}

fn wrong_message(rule: u8, node: NodeId, state: &Replicated, sim: &mut Sim) -> Option<Message> {
    let held = |record: &engine::Record| record.holder.is_some() && record.state != ServiceState::Failed;
    let free = |record: &engine::Record| record.holder.is_none() && !record.frozen;
    match rule {
        1 => {
            let what = pick_service(sim, state, held)?;
            if sim.rng.chance(300) {
                let (service, record) = what;
                let state_after = ServiceState::Stopped;
                let decision = Decision::Settle { service, epoch: record.epoch, state: state_after };
                return Some(decide(sim, node, state.branch, decision));
            }
            let on = pick_target(sim, state, &what.0, |id, member| member.clean && Some(id) != what.1.holder)?;
            Some(start(sim, node, state, what, on))
        }
        2 => {
            if state.lost.is_empty() {
                return None;
            }
            let what = pick_service(sim, state, |record| free(record) && record.state != ServiceState::Disabled)?;
            let on = pick_target(sim, state, &what.0, |_, member| member.clean)?;
            Some(start(sim, node, state, what, on))
        }
        3 => {
            let holder = state.held_by(node).next().is_some();
            let incarnation = state.members.get(&node)?.incarnation;
            holder.then_some(Message::Goodbye { incarnation })
        }
        4 => {
            let what = pick_service(sim, state, |record| record.state == ServiceState::Failed)?;
            let on = pick_target(sim, state, &what.0, |id, member| member.clean && Some(id) != what.1.holder)?;
            if sim.rng.chance(300) {
                let (service, record) = what;
                let decision = Decision::Stop { service, epoch: record.epoch, after: AfterStop::Recover };
                return Some(decide(sim, node, state.branch, decision));
            }
            Some(start(sim, node, state, what, on))
        }
        5 => {
            let claimed = pick_service(sim, state, free)
                .filter(|(name, _)| state.members.values().any(|member| member.claims.contains_key(name)));
            if let Some(what) = claimed {
                let on = pick_target(sim, state, &what.0, |_, member| member.clean)?;
                return Some(start(sim, node, state, what, on));
            }
            let what = pick_service(sim, state, |record| free(record) && record.state != ServiceState::Disabled)?;
            let on = pick_target(sim, state, &what.0, |_, member| !member.clean || member.goodbye)?;
            Some(start(sim, node, state, what, on))
        }
        6 => {
            let what = pick_service(sim, state, |record| free(record) && record.state != ServiceState::Disabled)?;
            let on = pick_target(sim, state, &what.0, |_, member| member.clean)?;
            let (service, record) = what;
            let decision = Decision::Start { service, epoch: record.epoch, on };
            Some(decide(sim, node, Branch(state.branch.0 ^ 1), decision))
        }
        _ => {
            let offer = state.offer.as_ref()?;
            let digest = if sim.rng.chance(300) { ConfDigest("0".into()) } else { offer.conf.digest.clone() };
            let decision = Decision::Switch { version: offer.conf.version, digest };
            Some(decide(sim, node, state.branch, decision))
        }
    }
}
