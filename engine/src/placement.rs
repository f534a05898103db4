//! Where a service may run and where it should: the score of the failover domain (rhcs.md §4.2), then the exclusive rule,
//! then the fewest running services, then the lowest node id.

use std::collections::BTreeMap;

use shared::conf::model::{Conf, Service};
use shared::ids::{NodeId, ServiceName};
pub use shared::placement::{Level, Situation, level};
use shared::status::Placement;
use shared::text::ServiceState;

use crate::record::Record;
use crate::replicated::Replicated;

/// Services that count as running somewhere, by node, with whether one of them is exclusive.
pub(crate) struct Load {
    per_node: BTreeMap<NodeId, Vec<(ServiceName, bool)>>,
}

impl Load {
    pub(crate) fn of(state: &Replicated, conf: &Conf) -> Self {
        let mut load = Self { per_node: BTreeMap::new() };
        for (name, record) in &state.services {
            // What migrates has a place on both nodes until it has arrived.
            for node in record.holder.into_iter().chain(record.arriving) {
                load.add(conf, node, name);
            }
        }
        load
    }

    pub(crate) fn add(&mut self, conf: &Conf, node: NodeId, service: &ServiceName) {
        let exclusive = conf.service(service).is_some_and(|service| service.exclusive > 0);
        self.per_node.entry(node).or_default().push((service.clone(), exclusive));
    }

    fn others(&self, node: NodeId, service: &ServiceName) -> impl Iterator<Item = &(ServiceName, bool)> {
        let service = service.clone();
        self.per_node.get(&node).into_iter().flatten().filter(move |(name, _)| *name != service)
    }

    /// How many other services a node holds.
    pub(crate) fn held(&self, node: NodeId, service: &ServiceName) -> usize {
        self.others(node, service).count()
    }

    /// The services on a node that the exclusive rule keeps apart from this one.
    pub(crate) fn excluded_by(&self, node: NodeId, service: &Service) -> Vec<ServiceName> {
        self.others(node, &service.name)
            .filter(|(_, exclusive)| service.exclusive > 0 || *exclusive)
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// The other services on a node.
    pub(crate) fn others_on(&self, node: NodeId, service: &ServiceName) -> Vec<&ServiceName> {
        let here = self.per_node.get(&node).into_iter().flatten();
        here.map(|(name, _)| name).filter(|name| *name != service).collect()
    }

    /// Whether the exclusive rule lets the service run on the node (rhcs.md §3.5).
    pub(crate) fn admits(&self, node: NodeId, service: &Service) -> bool {
        if service.exclusive > 0 {
            self.others(node, &service.name).next().is_none()
        } else {
            !self.others(node, &service.name).any(|(_, exclusive)| *exclusive)
        }
    }
}

/// Nodes that may be given services now: clean members that are not about to leave and not in standby.
pub(crate) fn takers(state: &Replicated) -> Vec<NodeId> {
    state
        .members
        .iter()
        .filter(|(_, member)| member.clean && !member.leaving && !member.restarting && !member.goodbye)
        .map(|(&id, _)| id)
        .filter(|id| !state.standby.contains(id))
        .collect()
}

/// Whether a domain would allow some node that has not failed to start it, but exclusive services are in the way on all of these.
pub(crate) fn is_crowded_out(conf: &Conf, service: &Service, record: &Record, online: &[NodeId], load: &Load) -> bool {
    let situation = situation(record, online);
    let mut legal = online
        .iter()
        .filter(|node| level(conf, service, **node, situation) > Level::Illegal && !record.tried.contains(*node))
        .peekable();
    legal.peek().is_some() && legal.all(|node| !load.admits(*node, service))
}

/// The situation of a recorded service.
pub(crate) fn situation<'a>(record: &Record, online: &'a [NodeId]) -> Situation<'a> {
    Situation {
        online,
        owner: record.holder,
        running: matches!(record.state, ServiceState::Started | ServiceState::Starting),
    }
}

/// The nodes that may run a service, best first, and what set the first apart.
pub(crate) fn rank(
    conf: &Conf,
    service: &Service,
    record: &Record,
    online: &[NodeId],
    load: &Load,
) -> Vec<(NodeId, Placement)> {
    let situation = situation(record, online);
    let mut ranked: Vec<(Level, usize, NodeId)> = online
        .iter()
        .map(|&node| (level(conf, service, node, situation), load.others(node, &service.name).count(), node))
        .filter(|(level, _, node)| *level > Level::Illegal && load.admits(*node, service))
        .collect();
    ranked.sort_by_key(|&(level, running, node)| (std::cmp::Reverse(level), running, node));
    let why = match ranked[..] {
        [] | [_] => Placement::OnlyNode,
        [first, second, ..] if first.0 != second.0 => Placement::DomainScore,
        [first, second, ..] if first.1 != second.1 => Placement::FewestServices,
        _ => Placement::LowestId,
    };
    ranked.into_iter().map(|(_, _, node)| (node, why)).collect()
}
