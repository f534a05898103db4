//! What the engine knows, as people and programs are told it (`shared::status`). Read only; nothing is decided here.

use std::collections::BTreeSet;

use shared::conf::model::Conf;
use shared::ids::{ConfVersion, NodeId, NodeName, ServiceName, Time};
use shared::status::{
    ClusterStatus, Command, ConfInForce, FenceProof, FenceVerdict, FencingStatus, FencingStep, Membership, NodeStatus,
    Phase, Quorum, Reason, RequestStatus, ServiceStatus,
};
use shared::text::ServiceState;

use crate::coordinator;
use crate::engine::{Engine, Stage};
use crate::event::LeftReason;
use crate::holder::QuorumHere;
use crate::proof::device_names;
use crate::record::Record;
use crate::replicated::{Lost, Replicated, node_name};

impl Engine {
    /// The whole cluster as this node knows it.
    pub fn status(&self, now: Time) -> ClusterStatus {
        let conf = self.conf();
        let state = self.replicated();
        ClusterStatus {
            cluster: conf.map(|conf| conf.name.clone()).unwrap_or_default(),
            at: now,
            local: self.me,
            phase: self.phase(),
            conf: state.map(|state| ConfInForce { version: state.conf.version, digest: state.conf.digest.clone() }),
            quorum: Quorum {
                quorate: self.is_quorate(),
                votes: self.quorum.and_then(|said| said.votes),
                votes_expected: self.quorum.and_then(|said| said.votes_expected),
            },
            coordinator: state.and_then(Replicated::coordinator),
            locked: state.is_some_and(|state| state.locked),
            nodes: self.nodes(),
            services: match (state, conf) {
                (Some(state), Some(conf)) => self.services(state, conf),
                _ => Vec::new(),
            },
            waits_for_fencing_of: state
                .map(|state| state.lost.keys().map(|&id| self.name_of(id)).collect())
                .unwrap_or_default(),
        }
    }

    fn phase(&self) -> Phase {
        if self.leaving {
            return Phase::Leaving;
        }
        match (self.stage, self.replicated().and_then(|state| state.members.get(&self.me))) {
            (Stage::New | Stage::Probing, _) => Phase::Probing,
            (_, None) => Phase::Joining,
            (_, Some(member)) if member.clean => Phase::Member,
            (_, Some(_)) => Phase::Cleaning,
        }
    }

    fn nodes(&self) -> Vec<NodeStatus> {
        let configured: BTreeSet<NodeId> =
            self.conf().map(|conf| conf.nodes.iter().map(|node| node.id).collect()).unwrap_or_default();
        let mut all = configured.clone();
        all.extend(self.view.iter().map(|member| member.node));
        all.extend(self.ring.members.iter().copied());
        all.into_iter().map(|id| self.node(id, configured.contains(&id))).collect()
    }

    fn node(&self, id: NodeId, configured: bool) -> NodeStatus {
        let state = self.replicated();
        let member = state.and_then(|state| state.members.get(&id));
        let lost = state.and_then(|state| state.lost.get(&id));
        let in_group = self.view.iter().any(|member| member.node == id);
        let membership = match (member, lost) {
            (_, Some(lost)) if lost.victim => Membership::Victim,
            (_, Some(_)) if self.in_grace(id) => Membership::Grace,
            (_, Some(_)) => Membership::Lost,
            (Some(member), None) if member.clean => Membership::Member,
            (Some(_), None) => Membership::Joining,
            (None, None) if in_group => Membership::Joining,
            (None, None) => Membership::Absent,
        };
        NodeStatus {
            id,
            name: self.name_of(id),
            configured,
            local: id == self.me,
            online: self.ring.members.contains(&id),
            member: membership,
            boot_id: member.map(|member| member.boot.clone()),
            conf_version: member.map(|member| member.conf_version).filter(|version| *version > ConfVersion(0)),
            fencing: lost.map(|lost| self.fencing(id, lost)),
            fence_proofs: state.map(|state| self.fence_proofs(state, id)).unwrap_or_default(),
            standby: state.is_some_and(|state| state.standby.contains(&id)),
            // The adapters' knowledge, which they add themselves.
            watches: Vec::new(),
            last_fenced: state.and_then(|state| state.last_fenced.get(&id)).map(|fenced| fenced.outcome()),
        }
    }

    fn in_grace(&self, id: NodeId) -> bool {
        self.ring.members.contains(&id) && self.losses.get(&id).is_some_and(|loss| loss.reason != LeftReason::NodeDown)
    }

    /// Of every configured method, also of those that were never used.
    fn fence_proofs(&self, state: &Replicated, id: NodeId) -> Vec<FenceProof> {
        let Some(node) = self.conf().and_then(|conf| conf.node_by_id(id)) else { return Vec::new() };
        let methods = node.methods.iter().map(|method| {
            let proof = state.proofs.get(&id).and_then(|proofs| proofs.get(&method.name));
            let proof = proof.filter(|proof| proof.devices == device_names(method));
            FenceProof {
                method: method.name.clone(),
                verdict: proof.map_or(FenceVerdict::Untried, |proof| proof.verdict),
                at: proof.map(|proof| proof.at),
                by: proof.map(|proof| proof.by.clone()),
            }
        });
        methods.collect()
    }

    fn fencing(&self, id: NodeId, lost: &Lost) -> FencingStatus {
        let name = self.name_of(id);
        let step = match (self.quorum_here(), lost.unfenceable, lost.running) {
            (QuorumHere::No, _, _) => FencingStep::NoQuorum,
            (_, true, _) => FencingStep::NoMethod,
            (_, _, Some(_)) => FencingStep::Running,
            _ if lost.unwitnessed => FencingStep::Unwitnessed,
            _ => FencingStep::Waiting,
        };
        let method = lost.running.and_then(|(_, index)| {
            let node = self.conf()?.node_by_id(id)?;
            node.methods.get(index as usize).map(|method| method.name.clone())
        });
        let advice = match (step, &lost.last) {
            (FencingStep::NoQuorum, _) => {
                "Without quorum nobody may fence. Bring more nodes back into the cluster.".to_owned()
            }
            (FencingStep::NoMethod, _) => format!(
                "Add a fence method for {name} to the configuration, or make sure that {name} is down and run: fence_ack_manual {name}"
            ),
            (FencingStep::Unwitnessed, _) => format!(
                "The fence agent says that it is done, and cluster.conf asks for a witness: power {name} on, or make sure that it is down and run: fence_ack_manual {name}"
            ),
            (_, Some(last)) if !last.succeeded => format!(
                "Fencing fails and is tried again. Check the fence device and its login in the configuration, or make sure that {name} is down and run: fence_ack_manual {name}"
            ),
            _ if self.in_grace(id) && !lost.victim => format!(
                "Nothing to do yet: the rgmanager of {name} has gone and is given time to come back; if it does not, {name} will be fenced."
            ),
            _ => format!("Nothing to do yet: {name} will be fenced, then its services go on."),
        };
        FencingStatus {
            since: lost.since.or(self.losses.get(&id).map(|loss| loss.at)).unwrap_or_default(),
            attempt: lost.attempt,
            step,
            by: lost.running.map(|(by, _)| self.name_of(by)),
            method,
            last: lost.last.clone(),
            advice,
        }
    }

    fn services(&self, state: &Replicated, conf: &Conf) -> Vec<ServiceStatus> {
        state.services.iter().map(|(name, record)| self.service(state, conf, name, record)).collect()
    }

    /// One service as this node knows it.
    pub(crate) fn service(
        &self,
        state: &Replicated,
        conf: &Conf,
        name: &ServiceName,
        record: &Record,
    ) -> ServiceStatus {
        let node = |id: Option<NodeId>| -> Option<NodeName> { id.map(|id| node_name(conf, id)) };
        // Nobody knows whether it still runs there, so it is not called started: it can be recovered once the node is accounted for.
        let lost_owner = record.holder.filter(|holder| state.lost.contains_key(holder));
        let shown = match (lost_owner, record.state) {
            (None, state) | (Some(_), state @ ServiceState::Failed) => state,
            (Some(_), _) => ServiceState::Recoverable,
        };
        ServiceStatus {
            name: name.clone(),
            state: shown,
            frozen: record.frozen,
            partial: !record.stopped_parts.is_empty(),
            owner: node(record.holder.filter(|_| lost_owner.is_none())),
            last_owner: node(lost_owner.or(record.last_owner)),
            restarts: record.restarts,
            last_transition: record.last_transition,
            reason: match lost_owner {
                Some(holder) => Reason::NodeLost { node: node_name(conf, holder) },
                None => record.reason.clone(),
            },
            waits_for: self.waits_for(state, conf, name, record),
            request: record.order.as_ref().map(|order| RequestStatus {
                id: order.request.id.clone(),
                command: order.request.command.clone(),
                origin: order.request.origin.clone(),
                since: order.since,
            }),
            failure: record.failure.clone(),
            resources: record.resources.clone(),
        }
    }

    /// It is started and is to be stopped and started again, here or elsewhere.
    fn wants_to_move(&self, state: &Replicated, record: &Record) -> bool {
        let asked = record.order.as_ref().filter(|order| !order.begun).map(|order| &order.request.command);
        let asked = matches!(asked, Some(Command::Relocate { .. } | Command::Restart { .. }));
        let driven_out = record.holder.is_some_and(|holder| state.standby.contains(&holder));
        record.state == ServiceState::Started && !record.frozen && (asked || driven_out)
    }

    /// Why a service that should start does not start, why one that is to move does not, or why one cannot be recovered from its lost owner.
    fn waits_for(&self, state: &Replicated, conf: &Conf, name: &ServiceName, record: &Record) -> Option<Reason> {
        let owner_lost = record.holder.filter(|holder| state.lost.contains_key(holder));
        let wants_start = match record.state {
            ServiceState::Stopped => !record.parked || record.order.is_some(),
            ServiceState::Recovering => true,
            ServiceState::Disabled => record.order.as_ref().is_some_and(|order| !order.wants_down()),
            _ => false,
        };
        let wants_to_move = self.wants_to_move(state, record) && !state.lost.is_empty();
        if owner_lost.is_none() && !wants_start && !wants_to_move {
            return None;
        }
        if self.quorum_here() == QuorumHere::No {
            return Some(Reason::NotQuorate);
        }
        if wants_to_move && owner_lost.is_none() {
            return Some(Reason::FencingPending { nodes: state.lost.keys().map(|&id| node_name(conf, id)).collect() });
        }
        if let Some(holder) = owner_lost {
            return Some(Reason::FencingPending { nodes: vec![node_name(conf, holder)] });
        }
        if let Some(reason) = coordinator::obstacle(state, conf, name, record) {
            return Some(reason);
        }
        coordinator::no_place(state, conf, conf.service(name)?, record)
    }
}
