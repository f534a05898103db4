//! Simulated administrators: requests, configurations, and what they do to set things right in the end.

use std::collections::BTreeMap;

use engine::{ConfText, Event, OfferId};
use shared::ids::{NodeId, RequestId, ServiceName};
use shared::status::{Command, Request};

use crate::sim::{Asked, Disabled, Sim};

impl Sim {
    /// An operator asks for something on a node.
    pub fn request(&mut self, node: NodeId, command: Command) -> Option<RequestId> {
        let pid = self.daemon(node)?.pid;
        if self.nodes.get(&node).is_some_and(|node| node.frozen) {
            return None;
        }
        let key = self.new_key();
        let id = RequestId(format!("request {key}"));
        match &command {
            Command::Enable { service, .. } => {
                self.disabled.remove(service);
            }
            Command::Disable { service } => {
                let disabled = Disabled { request: id.clone(), known: BTreeMap::new() };
                self.disabled.insert(service.clone(), disabled);
            }
            _ => {}
        }
        self.tell(|| format!("operator on n{node}: {id}: {}", describe(&command)));
        self.asked.insert(id.clone(), Asked { node, pid, command: command.clone(), accepted: None, finished: false });
        let request = Request { id: id.clone(), command, origin: "root".to_owned() };
        self.happen(node, Event::RequestReceived { request });
        Some(id)
    }

    /// An operator hands in a new configuration on a node.
    pub fn offer(&mut self, node: NodeId, conf: &ConfText) {
        if self.daemon(node).is_none() || self.nodes.get(&node).is_some_and(|node| node.frozen) {
            return;
        }
        let key = self.new_key();
        self.offers.insert(key, false);
        self.tell(|| format!("operator on n{node}: new configuration {}", conf.version));
        self.happen(
            node,
            Event::ConfOffered { offer: OfferId(key), text: conf.text.clone(), origin: "root".to_owned() },
        );
    }

    /// A node with a daemon that an operator could work on.
    pub fn some_daemon(&mut self) -> Option<NodeId> {
        let nodes: Vec<NodeId> =
            self.nodes.iter().filter(|(_, node)| node.daemon.is_some() && !node.frozen).map(|(&id, _)| id).collect();
        self.rng.pick(&nodes).copied()
    }

    /// Services of the newest configuration in force.
    pub fn known_services(&mut self) -> Vec<ServiceName> {
        let newest = self.nodes.values().map(|node| &node.disk.conf).max_by_key(|conf| conf.version).cloned();
        let Some(conf) = newest.and_then(|text| self.conf(&text)) else { return Vec::new() };
        conf.services.iter().map(|service| service.name.clone()).collect()
    }
}

/// A command as an operator would type it.
pub(crate) fn describe(command: &Command) -> String {
    let mut words = vec![command.verb().to_owned()];
    words.extend(command.service().map(|service| service.0.clone()));
    match command {
        Command::Enable { on: Some(node), .. } | Command::Relocate { to: Some(node), .. } => {
            words.push(format!("on {node}"));
        }
        Command::Migrate { to, .. } => words.push(format!("to {to}")),
        Command::Enable { by_domain: true, .. } => words.push("by domain".to_owned()),
        Command::Fence { node }
        | Command::AcknowledgeFence { node }
        | Command::Standby { node }
        | Command::Unstandby { node } => words.push(node.0.clone()),
        _ => {}
    }
    words.join(" ")
}
