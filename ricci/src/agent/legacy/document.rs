//! The status document of modclusterd (rhcs.md §7.5), which pollers of the original parse. Pure: configuration and
//! status in, an element out.

use shared::ids::{NodeName, ServiceName};
use shared::status::ClusterStatus;
use shared::text::ServiceState;

use super::xml::Element;

/// The major version of the suite that the original reported.
const CLUSTER_VERSION: &str = "6";

/// `text` is the configuration, possibly damaged or empty; without a status nothing is known to run.
pub(super) fn render(text: &str, status: Option<&ClusterStatus>) -> Element {
    let conf = shared::conf::load(text).conf;
    let name = status.map(|status| status.cluster.clone()).or_else(|| conf.as_ref().map(|conf| conf.name.clone()));
    let name = name.unwrap_or_default();
    let version = status.and_then(|status| status.conf.as_ref().map(|conf| conf.version));
    let version = version.or_else(|| conf.as_ref().map(|conf| conf.version)).map(|version| version.to_string());
    let quorum = status.map(|status| status.quorum).unwrap_or_default();
    let needed = quorum.votes_expected.map(|votes| votes / 2 + 1).unwrap_or_default();
    let mut cluster = Element::new("cluster")
        .with("name", &name)
        .with("alias", &name)
        .with("cluster_version", CLUSTER_VERSION)
        .with("config_version", version.unwrap_or_else(|| "0".to_owned()))
        .with("votes", quorum.votes.unwrap_or_default().to_string())
        .with("minQuorum", needed.to_string())
        .with("quorate", quorum.quorate.to_string());
    for (number, node) in conf.iter().flat_map(|conf| &conf.nodes).enumerate() {
        cluster = cluster.holding(node_element(number, &node.name, node.votes, status));
    }
    for service in conf.iter().flat_map(|conf| &conf.services) {
        cluster = cluster.holding(service_element(&service.name, service.autostart, status));
    }
    cluster
}

fn node_element(number: usize, name: &NodeName, votes: u32, status: Option<&ClusterStatus>) -> Element {
    let known = status.and_then(|status| status.node(name));
    let online = known.is_some_and(|node| node.online);
    let id = known.map_or_else(|| (number + 1).to_string(), |node| node.id.to_string());
    let uptime = if known.is_some_and(|node| node.local) { rustix::system::sysinfo().uptime } else { 0 };
    Element::new("node")
        .with("name", name.as_str())
        .with("nodeid", id)
        .with("votes", votes.to_string())
        .with("online", online.to_string())
        .with("clustered", online.to_string())
        .with("uptime", uptime.to_string())
}

fn service_element(name: &ServiceName, autostart: bool, status: Option<&ClusterStatus>) -> Element {
    let known = status.and_then(|status| status.service(name));
    let running = known.filter(|service| service.state == ServiceState::Started);
    let mut element = Element::new("service").with("name", name.bare()).with("running", running.is_some().to_string());
    if let Some(owner) = running.and_then(|service| service.owner.as_ref()) {
        element = element.with("nodename", owner.as_str());
    }
    let failed = known.is_some_and(|service| service.state == ServiceState::Failed);
    element
        .with("failed", failed.to_string())
        .with("autostart", autostart.to_string())
        .with("vm", name.as_str().starts_with("vm:").to_string())
}
