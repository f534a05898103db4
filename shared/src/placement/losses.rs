//! Where the services of a failover domain would be after one node, or two, had failed: the table that whoever edits the domain
//! looks at. By the domain's word and the votes that are left; load and exclusive services have theirs when it comes to it. Pure.

use std::collections::BTreeMap;

use super::course::{service_in, with_domain};
use super::{Level, Situation, level};
use crate::conf::model::{Conf, Domain, Service};
use crate::ids::{NodeId, NodeName, ServiceName};

/// With more nodes than this only the loss of single ones is told: the pairs would fill pages.
pub const PAIRS_UP_TO: usize = 5;

/// What becomes of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Its owner is still there.
    Stays { on: NodeName },
    /// To one of these, which are wanted alike: the one with the fewest services, then the lowest node id.
    Goes { to: Vec<NodeName> },
    /// No node that is left may run it.
    Nowhere,
}

/// One failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// The nodes that failed, at the same time.
    pub lost: Vec<NodeName>,
    pub votes_left: u32,
    pub votes_expected: u32,
    /// Whether the nodes that are left have quorum by their own votes; without it nothing runs at all.
    pub quorate: bool,
    /// Each service of the domain in the order of the configuration; without any, one that could be made.
    pub fates: Vec<(ServiceName, Fate)>,
}

/// What `domain` would mean when nodes fail, whether or not the configuration has it. `owners`: where services run now.
pub fn losses(conf: &Conf, domain: &Domain, owners: &BTreeMap<ServiceName, NodeName>) -> Vec<Loss> {
    let conf = with_domain(conf, domain);
    let uses = |service: &&Service| {
        service.domain.as_ref().is_some_and(|used| used.as_str().eq_ignore_ascii_case(domain.name.as_str()))
    };
    let mut services: Vec<Service> = conf.services.iter().filter(uses).cloned().collect();
    if services.is_empty() {
        services.push(service_in(domain));
    }
    let mut ids: Vec<NodeId> = conf.nodes.iter().map(|node| node.id).collect();
    ids.sort();
    let mut sets: Vec<Vec<NodeId>> = ids.iter().map(|&id| vec![id]).collect();
    if ids.len() > 2 && ids.len() <= PAIRS_UP_TO {
        for (index, &first) in ids.iter().enumerate() {
            sets.extend(ids[index + 1..].iter().map(|&second| vec![first, second]));
        }
    }
    sets.iter().map(|lost| loss(&conf, &services, &ids, lost, owners)).collect()
}

fn loss(
    conf: &Conf,
    services: &[Service],
    ids: &[NodeId],
    lost: &[NodeId],
    owners: &BTreeMap<ServiceName, NodeName>,
) -> Loss {
    let left: Vec<NodeId> = ids.iter().copied().filter(|id| !lost.contains(id)).collect();
    let votes = |ids: &[NodeId]| ids.iter().filter_map(|&id| conf.node_by_id(id)).map(|node| node.votes).sum::<u32>();
    let votes_left = votes(&left);
    let votes_expected = conf.cman.votes_expected.filter(|_| !conf.cman.two_node).unwrap_or_else(|| votes(ids));
    let quorate = if conf.cman.two_node { votes_left > 0 } else { votes_left * 2 > votes_expected };
    let name = |id: NodeId| conf.node_by_id(id).map(|node| node.name.clone()).unwrap_or_default();
    let fates = services.iter().map(|service| {
        let owner = owners.get(&service.name).filter(|owner| left.iter().any(|&id| name(id) == **owner));
        let fate = match owner {
            Some(owner) => Fate::Stays { on: owner.clone() },
            None => goes(conf, service, &left),
        };
        (service.name.clone(), fate)
    });
    Loss {
        lost: lost.iter().map(|&id| name(id)).collect(),
        votes_left,
        votes_expected,
        quorate,
        fates: fates.collect(),
    }
}

fn goes(conf: &Conf, service: &Service, left: &[NodeId]) -> Fate {
    let situation = Situation { online: left, owner: None, running: false };
    let levels: Vec<(NodeId, Level)> = left.iter().map(|&id| (id, level(conf, service, id, situation))).collect();
    let best = levels.iter().map(|(_, level)| *level).max().unwrap_or(Level::Illegal);
    if best == Level::Illegal {
        return Fate::Nowhere;
    }
    let chosen = levels.iter().filter(|(_, level)| *level == best).filter_map(|(id, _)| conf.node_by_id(*id));
    Fate::Goes { to: chosen.map(|node| node.name.clone()).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conf(count: usize, services: &str) -> Conf {
        let nodes: Vec<NodeName> = (1..=count).map(|id| NodeName(format!("n{id}"))).collect();
        let text = crate::conf::edit::new_document("alpha", &nodes).expect("a document").print();
        let text = text.replace("</rm>", &format!("{services}</rm>"));
        crate::conf::load(&text).conf.expect("a configuration")
    }

    fn domain(restricted: bool, nodes: &[(&str, u32)]) -> Domain {
        let nodes = nodes.iter().map(|(name, priority)| (NodeName((*name).into()), *priority)).collect();
        Domain { name: "east".into(), ordered: true, restricted, nofailback: false, nodes }
    }

    fn told(conf: &Conf, domain: &Domain, owners: &[(&str, &str)]) -> Vec<String> {
        let owners = owners.iter().map(|(service, node)| (ServiceName::parse(service), NodeName((*node).into())));
        let list = |names: &[NodeName]| names.iter().map(NodeName::as_str).collect::<Vec<_>>().join(" ");
        let line = |loss: &Loss| {
            let fates = loss.fates.iter().map(|(service, fate)| match fate {
                Fate::Stays { on } => format!("{} stays on {on}", service.bare()),
                Fate::Goes { to } => format!("{} to {}", service.bare(), list(to)),
                Fate::Nowhere => format!("{} nowhere", service.bare()),
            });
            let quorum = if loss.quorate { "" } else { " no quorum" };
            format!("{}: {}{quorum}", list(&loss.lost), fates.collect::<Vec<_>>().join(", "))
        };
        losses(conf, domain, &owners.collect()).iter().map(line).collect()
    }

    // Expectations from rhcs.md §4.2 and from votes counted by hand.

    #[test]
    fn every_node_and_every_pair_is_lost_once_in_a_small_cluster() {
        let conf =
            conf(3, r#"<service name="web" domain="east"/><service name="db" domain="EAST"/><service name="x"/>"#);
        let domain = domain(true, &[("n1", 1), ("n2", 2)]);
        assert_eq!(
            told(&conf, &domain, &[("web", "n2"), ("db", "n1")]),
            [
                "n1: web stays on n2, db to n2",
                "n2: web to n1, db stays on n1",
                "n3: web stays on n2, db stays on n1",
                "n1 n2: web nowhere, db nowhere no quorum",
                "n1 n3: web stays on n2, db to n2 no quorum",
                "n2 n3: web to n1, db stays on n1 no quorum",
            ]
        );
    }

    #[test]
    fn two_nodes_go_on_alone_and_many_are_lost_one_by_one() {
        let two = conf(2, "");
        assert_eq!(told(&two, &domain(false, &[("n1", 1)]), &[]), ["n1: preview to n2", "n2: preview to n1"]);
        let six = conf(6, "");
        let lines = told(&six, &domain(false, &[("n1", 1)]), &[]);
        assert_eq!((lines.len(), lines[0].as_str()), (6, "n1: preview to n2 n3 n4 n5 n6"));
    }
}
