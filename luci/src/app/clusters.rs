//! Clusters come and go: create, take an existing one in, forget one. What takes time becomes a task.

use shared::ids::NodeName;

use super::{App, AppError, FieldError, Who, conf};
use crate::ids::{ClusterId, NodeRow};
use crate::repo::clusters::{Cluster, ClusterState};
use crate::repo::nodes::NewNode;
use crate::repo::tasks::{TaskKind, TaskState};
use crate::tasks::{self, Input, PairSecret, Plan};

/// Longest name of a cluster that we accept.
const CLUSTER_NAME_MAX: usize = 255;
/// Most nodes of one cluster.
const NODES_MAX: usize = 32;

/// A node as an operator names it, with the proof that it may be controlled.
#[derive(Debug, Clone)]
pub struct NodeEntry {
    pub node: NewNode,
    pub secret: Option<PairSecret>,
}

/// What the name of a cluster must be like.
pub fn check_cluster_name(name: &str) -> Result<(), FieldError> {
    let ok = !name.is_empty()
        && name.len() <= CLUSTER_NAME_MAX
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    if ok { Ok(()) } else { Err(FieldError::new("name", "a cluster name consists of letters, digits, and . _ -")) }
}

/// What the name of a node, and the host name of its ricci, must be like.
pub fn check_host_name(field: &str, name: &str) -> Result<(), FieldError> {
    let ok = !name.is_empty()
        && name.len() <= 255
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':'));
    if ok {
        Ok(())
    } else {
        Err(FieldError::new(field, "a host name consists of letters, digits, dots and dashes; an address will do, too"))
    }
}

fn check_entries(entries: &[NodeEntry]) -> Vec<FieldError> {
    let mut wrong = Vec::new();
    for (place, entry) in entries.iter().enumerate() {
        wrong.extend(check_host_name(&format!("node-{place}-name"), entry.node.name.as_str()).err());
        wrong.extend(check_host_name(&format!("node-{place}-host"), &entry.node.host).err());
        if entry.secret.is_none() {
            wrong.push(FieldError::new(
                format!("node-{place}-secret"),
                format!("give the password of the user ricci on {}, or a token", entry.node.name),
            ));
        }
        if entries[..place].iter().any(|other| other.node.name == entry.node.name) {
            wrong.push(FieldError::new(format!("node-{place}-name"), format!("{} is listed twice", entry.node.name)));
        }
    }
    wrong
}

impl App {
    /// Begins to create a cluster; the id of the task.
    pub async fn create_cluster(&self, who: &Who, name: &str, entries: Vec<NodeEntry>) -> Result<String, AppError> {
        let mut wrong = check_entries(&entries);
        wrong.extend(check_cluster_name(name).err());
        if entries.is_empty() {
            wrong.push(FieldError::new("node-0-name", "name at least one node"));
        }
        if entries.len() > NODES_MAX {
            wrong.push(FieldError::new("node-0-name", format!("at most {NODES_MAX} nodes")));
        }
        if !wrong.is_empty() {
            return Err(AppError::Invalid { fields: wrong });
        }
        let names: Vec<NodeName> = entries.iter().map(|entry| entry.node.name.clone()).collect();
        let first = conf::first_version(name, &names, &who.name)?;
        let Some(cluster) = self.repo.add_cluster(name, ClusterState::Creating).await? else {
            return Err(AppError::field("name", format!("luci already has a cluster named {name}")));
        };
        self.repo.store_conf(cluster, &first).await?;
        let mut rows = Vec::new();
        for entry in entries {
            rows.push((self.add_entry(Some(cluster), &entry.node).await?, entry.secret));
        }
        let nodes: Vec<NodeRow> = rows.iter().map(|(row, _)| *row).collect();
        let plan =
            Plan { kind: TaskKind::CreateCluster, cluster: Some(cluster), input: Input::CreateCluster { nodes } };
        self.watchers.start(cluster).await?;
        let task = self.begin(who, plan, rows).await?;
        let list = names.iter().map(NodeName::as_str).collect::<Vec<_>>().join(", ");
        self.audit(who, Some(name), "create-cluster", name, &format!("nodes {list}"), "begun").await?;
        Ok(task)
    }

    /// Begins to take an existing cluster in through one of its nodes; the id of the task.
    pub async fn import_cluster(&self, who: &Who, entry: NodeEntry) -> Result<String, AppError> {
        let wrong = check_entries(std::slice::from_ref(&entry));
        if !wrong.is_empty() {
            return Err(AppError::Invalid { fields: wrong });
        }
        let row = self.add_entry(None, &entry.node).await?;
        let plan = Plan { kind: TaskKind::ImportCluster, cluster: None, input: Input::ImportCluster { node: row } };
        let task = self.begin(who, plan, vec![(row, entry.secret)]).await?;
        self.audit(who, None, "import-cluster", &entry.node.host, "", "begun").await?;
        Ok(task)
    }

    /// Forgets a cluster; the cluster itself runs on.
    pub async fn remove_cluster(&self, who: &Who, cluster: &Cluster) -> Result<(), AppError> {
        self.watchers.stop(cluster.id);
        self.repo.remove_cluster(cluster.id).await?;
        Ok(self.audit(who, Some(&cluster.name), "remove-cluster", &cluster.name, "from luci only", "done").await?)
    }

    pub(super) async fn add_entry(&self, cluster: Option<ClusterId>, node: &NewNode) -> Result<NodeRow, AppError> {
        self.repo
            .add_node(cluster, node)
            .await?
            .ok_or_else(|| AppError::field("node-0-name", format!("there is already a node named {}", node.name)))
    }

    pub(super) async fn begin(
        &self,
        who: &Who,
        plan: Plan,
        nodes: Vec<(NodeRow, Option<PairSecret>)>,
    ) -> Result<String, AppError> {
        let cluster = plan.cluster;
        let task = tasks::begin(self, &who.name, plan, nodes).await?;
        self.watchers.touch(cluster);
        Ok(task)
    }

    /// The fingerprints are right: go on with pairing.
    pub async fn confirm_task(&self, who: &Who, task: &str) -> Result<(), AppError> {
        if !self.repo.confirm_task(task).await? {
            return Err(AppError::Conflict("this task does not wait for a confirmation".into()));
        }
        self.audit_task(who, "confirm-fingerprints", task).await?;
        tasks::drive(self, task.to_owned());
        Ok(())
    }

    /// Tries the failed steps again, with new passwords where they were given.
    pub async fn retry_task(&self, who: &Who, task: &str, secrets: Vec<(NodeRow, PairSecret)>) -> Result<(), AppError> {
        for (node, secret) in secrets {
            self.secrets.put(task, node, secret);
        }
        if !self.repo.retry_task(task).await? {
            return Err(AppError::Conflict("this task has not failed".into()));
        }
        self.audit_task(who, "retry-task", task).await?;
        tasks::drive(self, task.to_owned());
        Ok(())
    }

    /// Ends a task that cannot be finished. What was done on nodes stays done, and the page says what that is.
    pub async fn give_up_task(&self, who: &Who, task_id: &str) -> Result<(), AppError> {
        let task = self.repo.task(task_id).await?;
        let task = task.ok_or_else(|| AppError::NoSuch { what: "task", name: task_id.to_owned() })?;
        if !matches!(task.state, TaskState::Failed | TaskState::Confirm) {
            return Err(AppError::Conflict("only a task that waits or has failed can be given up".into()));
        }
        self.repo.set_task_state(task_id, TaskState::GivenUp).await?;
        self.secrets.forget(task_id);
        self.audit_task(who, "give-up-task", task_id).await?;
        tasks::clean_up(self, &task).await?;
        self.watchers.touch(task.cluster_id);
        Ok(())
    }

    async fn audit_task(&self, who: &Who, action: &str, task: &str) -> Result<(), AppError> {
        let row = self.repo.task(task).await?;
        let cluster = match row.and_then(|row| row.cluster_id) {
            Some(id) => self.repo.cluster(id).await?.map(|cluster| cluster.name),
            None => None,
        };
        Ok(self.audit(who, cluster.as_deref(), action, task, "", "done").await?)
    }
}
