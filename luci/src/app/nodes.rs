//! What can be done with a node: join and leave, reboot, pair, add, delete. Fencing is a request to the cluster.

use std::time::Duration;

use shared::api::{StartCluster, StopCluster};
use shared::status::Membership;

use super::clusters::{NodeEntry, check_host_name};
use super::{App, AppError, Who};
use crate::repo::clusters::Cluster;
use crate::repo::nodes::{NewNode, Node};
use crate::repo::tasks::TaskKind;
use crate::tasks::{Input, PairSecret, Plan};

/// How long a page waits for the node to take an order; the node's state arrives by itself.
const ORDER_WAIT: Duration = Duration::from_secs(4);

/// An order to one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeOrder {
    /// Start the cluster there, now and at boot.
    Join,
    /// Stop it there; services move away first. It stays in the configuration.
    Leave,
    Reboot,
}

impl NodeOrder {
    /// The word in addresses and in the audit trail.
    pub fn word(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Leave => "leave",
            Self::Reboot => "reboot",
        }
    }

    /// As a button says it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Join => "Join",
            Self::Leave => "Let leave",
            Self::Reboot => "Reboot",
        }
    }

    /// The order with this word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Join, Self::Leave, Self::Reboot].into_iter().find(|order| order.word() == word)
    }
}

impl App {
    /// The node of this cluster with this name.
    pub async fn node(&self, cluster: &Cluster, name: &str) -> Result<Node, AppError> {
        let nodes = self.repo.nodes_of(cluster.id).await?;
        nodes
            .into_iter()
            .find(|node| node.name.as_str() == name)
            .ok_or_else(|| AppError::NoSuch { what: "node", name: name.to_owned() })
    }

    /// Gives a node an order; what becomes of it is seen in its state.
    pub async fn order_node(&self, who: &Who, cluster: &Cluster, name: &str, order: NodeOrder) -> Result<(), AppError> {
        let node = self.node(cluster, name).await?;
        let ricci = self.clients.paired(&node)?;
        let work = async {
            match order {
                NodeOrder::Join => ricci.start_cluster(&StartCluster { enable: true }).await,
                NodeOrder::Leave => ricci.stop_cluster(&StopCluster { disable: true }).await,
                NodeOrder::Reboot => ricci.reboot().await,
            }
        };
        let result = match tokio::time::timeout(ORDER_WAIT, work).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(AppError::from(error)),
            Err(_) => Err(AppError::Unreachable(format!(
                "{name} has not answered within {} s; whether it took the order shows in its state",
                ORDER_WAIT.as_secs()
            ))),
        };
        let told = result.as_ref().map_or_else(ToString::to_string, |()| "taken".to_owned());
        self.audit(who, Some(&cluster.name), order.word(), name, "", &told).await?;
        self.watchers.nudge(cluster.id);
        result
    }

    /// Begins to pair a node that is known but not paired, or moved; the id of the task.
    pub async fn pair_node(
        &self,
        who: &Who,
        cluster: &Cluster,
        name: &str,
        host: &str,
        port: u16,
        secret: Option<PairSecret>,
    ) -> Result<String, AppError> {
        check_host_name("node-0-host", host).map_err(|field| AppError::Invalid { fields: vec![field] })?;
        let Some(secret) = secret else {
            return Err(AppError::field("node-0-secret", "give the password of the user ricci there, or a token"));
        };
        let node = self.node(cluster, name).await?;
        if node.host != host || node.port != port {
            self.repo.move_node(node.id, host, port).await?;
        }
        let plan =
            Plan { kind: TaskKind::PairNode, cluster: Some(cluster.id), input: Input::PairNode { node: node.id } };
        let task = self.begin(who, plan, vec![(node.id, Some(secret))]).await?;
        self.audit(who, Some(&cluster.name), "pair-node", name, &format!("{host} port {port}"), "begun").await?;
        Ok(task)
    }

    /// Begins to add a node to a cluster; the id of the task.
    pub async fn add_node(&self, who: &Who, cluster: &Cluster, entry: NodeEntry) -> Result<String, AppError> {
        let NodeEntry { node, secret } = entry;
        let wrong: Vec<_> = [
            check_host_name("node-0-name", node.name.as_str()).err(),
            check_host_name("node-0-host", &node.host).err(),
            secret.is_none().then(|| {
                super::FieldError::new("node-0-secret", "give the password of the user ricci there, or a token")
            }),
        ]
        .into_iter()
        .flatten()
        .collect();
        if !wrong.is_empty() {
            return Err(AppError::Invalid { fields: wrong });
        }
        let NewNode { name, .. } = &node;
        let row = self.add_entry(Some(cluster.id), &node).await?;
        let plan = Plan { kind: TaskKind::AddNode, cluster: Some(cluster.id), input: Input::AddNode { node: row } };
        let task = self.begin(who, plan, vec![(row, secret)]).await?;
        self.audit(
            who,
            Some(&cluster.name),
            "add-node",
            name.as_str(),
            &format!("address {host}", host = node.host),
            "begun",
        )
        .await?;
        Ok(task)
    }

    /// Begins to take a node out of its cluster for good; the id of the task.
    pub async fn delete_node(&self, who: &Who, cluster: &Cluster, name: &str) -> Result<String, AppError> {
        let node = self.node(cluster, name).await?;
        if self.repo.nodes_of(cluster.id).await?.len() == 1 {
            return Err(AppError::Conflict(format!(
                "{name} is the last node of {}; remove the cluster from luci instead",
                cluster.name
            )));
        }
        let silent = self.is_out_of_reach(cluster, &node);
        let plan = Plan {
            kind: TaskKind::DeleteNode,
            cluster: Some(cluster.id),
            input: Input::DeleteNode { node: node.id, name: node.name.clone(), out_of_reach: silent },
        };
        let task = self.begin(who, plan, vec![(node.id, None)]).await?;
        self.audit(who, Some(&cluster.name), "delete-node", name, "", "begun").await?;
        Ok(task)
    }

    /// Whether nothing can be asked of the node, and the cluster does not have it as a member either.
    pub fn is_out_of_reach(&self, cluster: &Cluster, node: &Node) -> bool {
        let Some(snapshot) = self.watchers.snapshot(cluster.id) else { return node.paired_at.is_none() };
        let silent =
            node.paired_at.is_none() || snapshot.nodes.get(&node.name).is_some_and(|seen| seen.silent_since.is_some());
        let member = snapshot
            .live()
            .and_then(|status| status.node(&node.name))
            .is_some_and(|status| status.online || status.member != Membership::Absent);
        silent && !member
    }
}
