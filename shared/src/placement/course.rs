//! Where a failover domain would have a service go as nodes fail one after the other, for whoever edits the domain. Only the
//! domain's word: load, exclusive services and quorum have theirs when it comes to it. Pure.

use super::{Judgement, Level, Situation, judge};
use crate::conf::model::{Conf, Domain, Recovery, Service};
use crate::ids::{NodeId, NodeName, ServiceName};

/// The nodes that are still there, and what the domain thinks of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// Nodes that have failed by now, in the order in which they failed.
    pub lost: Vec<NodeName>,
    /// Those that are left, by node id.
    pub nodes: Vec<(NodeName, Judgement)>,
    /// The ones that are wanted most; among them the load decides, then the lowest node id. Empty: it may run nowhere.
    pub chosen: Vec<NodeName>,
}

/// What a domain means for its services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Course {
    /// With all nodes first; then without the node that would be taken, and so on until none may run the service.
    pub stages: Vec<Stage>,
    /// Where it goes when all nodes are back after it ran on its second choice; `None`: it stays there.
    pub comes_back_to: Option<NodeName>,
}

/// What `domain` would mean in this cluster, whether or not the configuration has it.
pub fn course(conf: &Conf, domain: &Domain) -> Course {
    let conf = with_domain(conf, domain);
    let service = service_in(domain);
    let mut online: Vec<NodeId> = conf.nodes.iter().map(|node| node.id).collect();
    online.sort();
    let everyone = online.clone();
    let mut lost: Vec<NodeName> = Vec::new();
    let mut stages = Vec::new();
    let mut owners = Vec::new();
    while !online.is_empty() {
        let situation = Situation { online: &online, owner: None, running: false };
        let judged: Vec<(NodeId, Judgement)> =
            online.iter().map(|&id| (id, judge(&conf, &service, id, situation))).collect();
        let best = judged.iter().map(|(_, judgement)| judgement.level).max().unwrap_or(Level::Illegal);
        let chosen: Vec<NodeId> =
            judged.iter().filter(|(_, j)| j.level == best && best > Level::Illegal).map(|(id, _)| *id).collect();
        stages.push(Stage {
            lost: lost.clone(),
            nodes: judged.iter().map(|(id, judgement)| (name(&conf, *id), *judgement)).collect(),
            chosen: chosen.iter().map(|&id| name(&conf, id)).collect(),
        });
        let Some(&owner) = chosen.first() else { break };
        owners.push(owner);
        lost.push(name(&conf, owner));
        online.retain(|&id| id != owner);
    }
    let comes_back_to = owners.get(1).and_then(|&second| {
        let situation = Situation { online: &everyone, owner: Some(second), running: true };
        let level = |id: NodeId| judge(&conf, &service, id, situation).level;
        let better = everyone.iter().copied().filter(|&id| level(id) > level(second));
        better.max_by_key(|&id| (level(id), std::cmp::Reverse(id))).map(|id| name(&conf, id))
    });
    Course { stages, comes_back_to }
}

fn name(conf: &Conf, id: NodeId) -> NodeName {
    conf.node_by_id(id).map(|node| node.name.clone()).unwrap_or_default()
}

pub(super) fn with_domain(conf: &Conf, domain: &Domain) -> Conf {
    let mut conf = conf.clone();
    conf.domains.retain(|other| other.name != domain.name);
    conf.domains.push(domain.clone());
    conf
}

pub(super) fn service_in(domain: &Domain) -> Service {
    let preview = Service::empty(ServiceName::parse("preview"));
    Service { domain: Some(domain.name.clone()), recovery: Recovery::Relocate, ..preview }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conf() -> Conf {
        let nodes = ["n1", "n2", "n3"].map(|name| NodeName(name.into()));
        let text = crate::conf::edit::new_document("alpha", &nodes).expect("a document").print();
        crate::conf::load(&text).accept().expect("a valid configuration")
    }

    fn domain(ordered: bool, restricted: bool, nofailback: bool, nodes: &[(&str, u32)]) -> Domain {
        let nodes = nodes.iter().map(|(name, priority)| (NodeName((*name).into()), *priority)).collect();
        Domain { name: "east".into(), ordered, restricted, nofailback, nodes }
    }

    fn told(domain: &Domain) -> (Vec<String>, Option<String>) {
        let Course { stages, comes_back_to } = course(&conf(), domain);
        let list = |names: &[NodeName]| names.iter().map(NodeName::as_str).collect::<Vec<_>>().join(" ");
        let stages = stages.iter().map(|stage| format!("without [{}]: [{}]", list(&stage.lost), list(&stage.chosen)));
        (stages.collect(), comes_back_to.map(|node| node.0))
    }

    // Expectations from rhcs.md §4.2.

    #[test]
    fn a_prioritized_restricted_domain_goes_down_its_list_and_then_nowhere() {
        let (stages, back) = told(&domain(true, true, false, &[("n2", 1), ("n3", 2)]));
        assert_eq!(stages, ["without []: [n2]", "without [n2]: [n3]", "without [n2 n3]: []"]);
        assert_eq!(back.as_deref(), Some("n2"), "it fails back");
    }

    #[test]
    fn without_failback_it_stays_on_its_second_choice() {
        let (_, back) = told(&domain(true, true, true, &[("n2", 1), ("n3", 2)]));
        assert_eq!(back, None);
    }

    #[test]
    fn an_unrestricted_domain_falls_out_to_the_other_nodes_when_its_own_are_gone() {
        let (stages, back) = told(&domain(false, false, false, &[("n3", 0)]));
        assert_eq!(stages, ["without []: [n3]", "without [n3]: [n1 n2]", "without [n3 n1]: [n2]"]);
        assert_eq!(back.as_deref(), Some("n3"), "an outside node is only good");
    }

    #[test]
    fn nodes_of_an_unordered_domain_are_equals() {
        let (stages, back) = told(&domain(false, true, false, &[("n1", 0), ("n2", 0)]));
        assert_eq!(stages[0], "without []: [n1 n2]");
        assert_eq!(back, None);
    }
}
