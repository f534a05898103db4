//! Finds clusters, nodes, services, resources and fence devices by a part of a name, an address or another setting. Pure.
//! Secrets are never looked at.

use shared::conf::model::{Conf, Resource};
use shared::conf::secret::is_secret;

use crate::repo::nodes::Node;

/// What a reader looks for on the list of clusters. Empty: everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sought {
    /// In small letters.
    pub text: String,
    /// Only clusters that are not in order.
    pub problems: bool,
}

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// What it is, as a text of the catalogue.
    pub kind: &'static str,
    pub name: String,
    pub cluster: String,
    /// The setting in which it was found, if not in the name.
    pub detail: String,
    /// The parts of its address behind that of the cluster.
    pub parts: Vec<String>,
}

impl Sought {
    pub fn new(text: &str, problems: bool) -> Self {
        Self { text: text.trim().to_lowercase(), problems }
    }

    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the text stands in this.
    pub fn is_in(&self, name: &str) -> bool {
        name.to_lowercase().contains(&self.text)
    }

    /// What of a cluster has the text in its name or in a setting; nothing if no text is sought.
    pub fn hits(&self, cluster: &str, conf: Option<&Conf>, nodes: &[Node]) -> Vec<Hit> {
        if self.text.is_empty() {
            return Vec::new();
        }
        let mut hits = Vec::new();
        let mut add = |kind, name: &str, detail: Option<String>, parts: &[&str]| {
            let Some(detail) = (if self.is_in(name) { Some(String::new()) } else { detail }) else { return };
            let parts = parts.iter().map(|&part| part.to_owned()).collect();
            hits.push(Hit { kind, name: name.to_owned(), cluster: cluster.to_owned(), detail, parts });
        };
        for node in nodes {
            let host = self.is_in(&node.host).then(|| node.host.clone());
            add("node", node.name.as_str(), host, &["nodes", node.name.as_str()]);
        }
        let Some(conf) = conf else { return hits };
        for service in &conf.services {
            let below = service.tree.iter().find_map(|resource| self.in_tree(resource));
            add("service", service.name.as_str(), below, &["services", service.name.as_str()]);
        }
        for resource in &conf.resources {
            let found = self.in_settings(resource.attributes.iter().map(|(name, value)| (name, value)));
            add("resource", &resource.name, found, &["resources", &resource.kind, &resource.name]);
        }
        for device in &conf.fence_devices {
            let found = self.in_settings(device.attributes.iter().map(|(name, value)| (name, value)));
            let agent = self.is_in(&device.agent).then(|| device.agent.clone());
            add("fence device", &device.name, found.or(agent), &["fence-devices", &device.name]);
        }
        hits
    }

    /// The first resource of the tree in which the text stands.
    fn in_tree(&self, resource: &Resource) -> Option<String> {
        let name = resource.name.to_string();
        let found = if self.is_in(&name) { Some(name) } else { self.in_settings(resource.attributes.iter()) };
        found.or_else(|| resource.children.iter().find_map(|child| self.in_tree(child)))
    }

    fn in_settings<'a>(&self, settings: impl Iterator<Item = (&'a String, &'a String)>) -> Option<String> {
        let mut open = settings.filter(|(name, _)| !is_secret(name));
        open.find(|(_, value)| self.is_in(value)).map(|(name, value)| format!("{name} {value}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONF: &str = r#"<cluster name="alpha" config_version="1"><clusternodes/>
        <fencedevices><fencedevice name="pdu" agent="fence_apc" ipaddr="10.0.0.201" passwd="geheim"/></fencedevices>
        <rm><resources><ip address="10.0.0.10"/></resources>
        <service name="web"><fs name="data" device="/dev/vg0/web" mountpoint="/srv"><ip ref="10.0.0.10"/></fs></service>
        <service name="db"/></rm></cluster>"#;

    fn found(text: &str) -> Vec<String> {
        let conf = shared::conf::load(CONF).conf.expect("a configuration");
        let hits = Sought::new(text, false).hits("alpha", Some(&conf), &[]);
        hits.iter().map(|hit| format!("{} {}: {}", hit.kind, hit.name, hit.detail)).collect()
    }

    #[test]
    fn an_address_leads_to_the_resource_and_to_the_service_that_uses_it() {
        assert_eq!(found("10.0.0.10"), ["service service:web: ip:10.0.0.10", "resource 10.0.0.10: "]);
        assert_eq!(found(" 0.201 "), ["fence device pdu: ipaddr 10.0.0.201"]);
        assert_eq!(found("VG0"), ["service service:web: device /dev/vg0/web"]);
    }

    #[test]
    fn secrets_are_not_found_and_nothing_is_found_without_a_text() {
        assert!(found("geheim").is_empty() && found("  ").is_empty());
    }
}
