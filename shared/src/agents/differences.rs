//! What the agents that a configuration needs are on each node, and where that differs: an agent that one node lacks or has in
//! another version shows itself at the failover, unless it is told before.
//!
//! Pure: the lists come from each node's ricci. Called by the console.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::AgentSummary;
use crate::conf::Loaded;
use crate::conf::finding::{Finding, Place, Severity};
use crate::conf::judge;
use crate::conf::model::{Conf, Service};
use crate::ids::NodeName;

/// The agents of the nodes that answered, by name.
pub type Installed = BTreeMap<NodeName, Vec<AgentSummary>>;

/// An agent, where the configuration first needs it, for what, and on which nodes.
struct Need {
    agent: String,
    place: Place,
    what: String,
    nodes: BTreeSet<NodeName>,
}

/// Every agent that is missing or another one on a node that needs it. Nodes that are not in `installed` are not judged.
pub fn differences(loaded: &Loaded, installed: &Installed) -> Vec<Finding> {
    needs(loaded).iter().flat_map(|need| judge_need(need, installed)).collect()
}

fn needs(loaded: &Loaded) -> Vec<Need> {
    let Some(conf) = &loaded.conf else { return Vec::new() };
    let mut needs: BTreeMap<String, Need> = BTreeMap::new();
    for question in judge::questions(loaded, None) {
        let nodes = conf.service(&question.service).map(|service| may_run(conf, service)).unwrap_or_default();
        let what = format!("{} of {}", question.resource, question.service);
        let agent = question.runner();
        let need = Need { agent: agent.clone(), place: question.place, what, nodes: BTreeSet::new() };
        needs.entry(agent).or_insert(need).nodes.extend(nodes);
    }
    for device in loaded.document.select("/cluster/fencedevices/fencedevice") {
        let attribute = |name| loaded.document.attribute(device, name).unwrap_or_default();
        let agent = attribute("agent").to_owned();
        if agent.is_empty() {
            continue;
        }
        let (place, what) = (loaded.document.place(device), format!("the fence device {}", attribute("name")));
        // Whoever is left has to fence.
        let nodes = conf.nodes.iter().map(|node| node.name.clone()).collect();
        needs.entry(agent.clone()).or_insert(Need { agent, place, what, nodes });
    }
    needs.into_values().collect()
}

/// The nodes on which a service may come to run.
fn may_run(conf: &Conf, service: &Service) -> Vec<NodeName> {
    let domain = service.domain.as_ref().and_then(|name| conf.domain(name));
    match domain.filter(|domain| domain.restricted) {
        Some(domain) => domain.nodes.iter().map(|(node, _)| node.clone()).collect(),
        None => conf.nodes.iter().map(|node| node.name.clone()).collect(),
    }
}

fn judge_need(need: &Need, installed: &Installed) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut tell = |rule: &str, text: String, hint: String| {
        let place = need.place.clone();
        findings.push(Finding { rule: rule.to_owned(), severity: Severity::Warning, place, text, hint });
    };
    let on = |node: &NodeName| installed.get(node).map(|all| all.iter().find(|agent| agent.name == need.agent));
    let (agent, what) = (&need.agent, &need.what);
    let lacking: Vec<&str> =
        need.nodes.iter().filter(|node| matches!(on(node), Some(None))).map(NodeName::as_str).collect();
    if !lacking.is_empty() {
        let text = format!("{agent}, which {what} needs, is not installed on {}", lacking.join(", "));
        let somewhere = installed.values().flatten().any(|summary| summary.name == *agent);
        let hint = if somewhere {
            "install the same package there as on the other nodes"
        } else {
            "no node has it; install the package that brings it, or correct the type"
        };
        tell("agent-missing", text, hint.to_owned());
    }
    let mut by_digest: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for node in &need.nodes {
        let Some(Some(summary)) = on(node) else { continue };
        if let Some(problem) = &summary.problem {
            let text = format!("{agent}, which {what} needs, cannot be used on {node}: {problem}");
            tell("agent-unusable", text, "look at the agent on that node".to_owned());
        }
        if let Some(digest) = &summary.digest {
            let version = summary.version.as_deref().map(|version| format!(" ({version})")).unwrap_or_default();
            by_digest.entry(digest).or_default().push(format!("{node}{version}"));
        }
    }
    if by_digest.len() > 1 {
        let groups: Vec<String> = by_digest.into_values().map(|nodes| nodes.join(", ")).collect();
        let text =
            format!("{agent}, which {what} needs, is not the same on all nodes: {}", groups.join(" differs from "));
        tell("agent-differs", text, "bring the package to the same version on all nodes".to_owned());
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONF: &str = r#"<cluster name="c" config_version="1"><clusternodes><clusternode name="a" nodeid="1"/><clusternode name="b"
nodeid="2"/><clusternode name="c" nodeid="3"/></clusternodes><fencedevices><fencedevice name="bmc" agent="fence_ipmilan"/></fencedevices><rm>
<failoverdomains><failoverdomain name="ab" restricted="1"><failoverdomainnode name="a"/><failoverdomainnode name="b"/></failoverdomain></failoverdomains>
<service name="web"><ip address="10.0.0.1/24"/></service><service name="db" domain="ab"><mysql name="m"/></service></rm></cluster>"#;

    fn agent(name: &str, version: &str) -> AgentSummary {
        let digest = Some(version.to_owned());
        AgentSummary { name: name.into(), short: String::new(), version: Some(version.into()), digest, problem: None }
    }

    fn told(installed: &[(&str, &[(&str, &str)])]) -> Vec<String> {
        found(installed).into_iter().map(|finding| finding.text).collect()
    }

    fn found(installed: &[(&str, &[(&str, &str)])]) -> Vec<Finding> {
        let installed = installed.iter().map(|(node, agents)| {
            (NodeName::from(*node), agents.iter().map(|(name, version)| agent(name, version)).collect())
        });
        differences(&crate::conf::load(CONF), &installed.collect())
    }

    #[test]
    fn whoever_lacks_an_agent_that_nobody_has_is_not_sent_to_the_other_nodes() {
        let (ip, bmc) = (("ocf:heartbeat:IPaddr2", "1"), ("fence_ipmilan", "4"));
        let hints = |mysql_on_b: bool| {
            let db = ("ocf:heartbeat:mysql", "1");
            let on_b: &[(&str, &str)] = if mysql_on_b { &[ip, bmc, db] } else { &[ip, bmc] };
            let found = found(&[("a", &[ip, bmc]), ("b", on_b)]);
            found.into_iter().map(|finding| finding.hint).collect::<Vec<_>>()
        };
        assert_eq!(hints(true), ["install the same package there as on the other nodes"]);
        assert_eq!(hints(false), ["no node has it; install the package that brings it, or correct the type"]);
    }

    #[test]
    fn a_missing_or_other_agent_is_told_where_the_service_may_run_and_nowhere_else() {
        let ip = ("ocf:heartbeat:IPaddr2", "1");
        let (db, bmc) = (("ocf:heartbeat:mysql", "1"), ("fence_ipmilan", "4"));
        assert_eq!(told(&[("a", &[ip, db, bmc]), ("b", &[ip, db, bmc]), ("c", &[ip, bmc])]), Vec::<String>::new());
        // A node that has not answered is not judged.
        assert_eq!(told(&[("a", &[ip, db, bmc])]), Vec::<String>::new());
        let other = ("ocf:heartbeat:mysql", "2");
        assert_eq!(
            told(&[("a", &[ip, db, bmc]), ("b", &[ip, other, bmc]), ("c", &[bmc])]),
            [
                "ocf:heartbeat:IPaddr2, which ip:10.0.0.1/24 of service:web needs, is not installed on c",
                "ocf:heartbeat:mysql, which mysql:m of service:db needs, is not the same on all nodes: a (1) differs from b (2)",
            ]
        );
        assert_eq!(
            told(&[("a", &[ip, db]), ("b", &[ip, db, bmc])]),
            ["fence_ipmilan, which the fence device bmc needs, is not installed on a"]
        );
    }
}
