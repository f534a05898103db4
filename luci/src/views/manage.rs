//! Entrance, list of clusters, the forms that create and add them, audit.

use askama::Template;
use shared::status::Membership;
use shared::text::ServiceState;

use super::badge::{self, Badge};
use super::cluster::health;
use super::{Shell, time};
use crate::repo::audit::AuditEntry;
use crate::repo::clusters::{Cluster, ClusterState};
use crate::repo::users::Role;
use crate::watcher::{Link, Snapshot};

#[derive(Debug, Template)]
#[template(path = "login.html")]
pub struct LoginPage {
    pub csrf: String,
    pub next: String,
    pub name: String,
    pub error: Option<String>,
    /// Nobody can log in yet; the one-time link must be used.
    pub fresh: bool,
}

#[derive(Debug, Template)]
#[template(path = "setup.html")]
pub struct SetupPage {
    pub csrf: String,
    pub token: String,
    pub name: String,
    pub error: Option<String>,
}

/// A row of Manage Clusters.
#[derive(Debug)]
pub struct ClusterLine {
    pub name: String,
    pub badge: Badge,
    pub sentence: String,
    pub votes: String,
    pub expected: String,
    pub nodes: String,
    pub services: String,
    pub conf_version: String,
    pub age: String,
    pub task: Option<String>,
    /// Whether the reader is an administrator of it.
    pub administrator: bool,
}

impl ClusterLine {
    pub fn new(
        cluster: &Cluster,
        snapshot: Option<&Snapshot>,
        nodes_known: usize,
        task: Option<String>,
        role: Role,
    ) -> Self {
        let status = snapshot.and_then(|snapshot| snapshot.status.as_deref());
        let said = snapshot.map(health);
        let live = snapshot.is_some_and(|snapshot| snapshot.live().is_some());
        let unknown = || "unknown".to_owned();
        let joined = status.filter(|_| live).map(|status| {
            let joined = status.nodes.iter().filter(|node| node.member == Membership::Member).count();
            let configured = status.nodes.iter().filter(|node| node.configured).count();
            format!("{joined} of {configured}")
        });
        let services = status.filter(|_| live).map(|status| {
            let started = status.services.iter().filter(|s| s.state == ServiceState::Started).count();
            format!("{started} of {} started", status.services.len())
        });
        let badge = match cluster.state {
            ClusterState::Creating => badge::cluster::CREATING,
            ClusterState::Managed => said.as_ref().map_or(badge::cluster::UNKNOWN, |health| health.badge),
        };
        Self {
            name: cluster.name.clone(),
            badge,
            sentence: said.map_or_else(unknown, |health| health.sentence),
            votes: status.and_then(|s| s.quorum.votes).filter(|_| live).map_or_else(unknown, |v| v.to_string()),
            expected: status.and_then(|s| s.quorum.votes_expected).map_or_else(unknown, |v| v.to_string()),
            nodes: joined.unwrap_or_else(|| format!("unknown of {nodes_known}")),
            services: services.unwrap_or_else(unknown),
            conf_version: status.and_then(|s| s.conf.as_ref()).map_or_else(unknown, |conf| conf.version.to_string()),
            age: match snapshot.map(|snapshot| &snapshot.link) {
                Some(Link::Live { from }) => format!("live, from {from}"),
                Some(Link::NotRunning { since }) => format!("not running since {}", time(*since)),
                Some(Link::Lost { since, .. }) => format!("unknown since {}", time(*since)),
                None => unknown(),
            },
            task,
            administrator: role == Role::Administrator,
        }
    }
}

/// All clusters, as a part that is pushed.
#[derive(Debug, Template)]
#[template(path = "panels/clusters.html")]
pub struct ClustersPanel {
    pub clusters: Vec<ClusterLine>,
    pub tasks: Vec<super::tasks::TaskLine>,
    pub administrator: bool,
}

#[derive(Debug, Template)]
#[template(path = "clusters.html")]
pub struct ClustersPage {
    pub shell: Shell,
    pub clusters: ClustersPanel,
}

/// A row of the form that names nodes.
#[derive(Debug, Clone)]
pub struct NodeRowForm {
    pub name: String,
    pub host: String,
    pub port: String,
    pub token: bool,
}

impl NodeRowForm {
    pub fn empty() -> Self {
        Self { name: String::new(), host: String::new(), port: shared::api::PORT.to_string(), token: false }
    }
}

/// Messages about a form: by field and as a whole.
#[derive(Debug, Clone, Default)]
pub struct FormErrors(pub Vec<(String, String)>);

impl FormErrors {
    /// What is wrong with this field.
    pub fn of(&self, field: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == field).map(|(_, text)| text.as_str())
    }

    /// What is wrong with this field of a numbered row of nodes.
    pub fn of_row(&self, place: &usize, field: &str) -> Option<&str> {
        self.of(&format!("node-{place}-{field}"))
    }

    pub fn any(&self) -> bool {
        !self.0.is_empty()
    }
}

#[derive(Debug, Template)]
#[template(path = "create_cluster.html")]
pub struct CreatePage {
    pub shell: Shell,
    pub name: String,
    pub same_secret: bool,
    pub rows: Vec<NodeRowForm>,
    pub errors: FormErrors,
}

#[derive(Debug, Template)]
#[template(path = "add_cluster.html")]
pub struct AddPage {
    pub shell: Shell,
    pub row: NodeRowForm,
    pub errors: FormErrors,
}

/// Asks before something that is not undone by a click.
#[derive(Debug, Template)]
#[template(path = "confirm.html")]
pub struct ConfirmPage {
    pub shell: Shell,
    pub heading: String,
    pub paragraphs: Vec<String>,
    /// Where the form goes.
    pub action: String,
    /// Text of the button: verb and object.
    pub button: String,
    pub danger: bool,
    /// What must be typed, when a click is too little.
    pub type_name: Option<String>,
    /// The version that the change is based on.
    pub base: Option<String>,
    /// Other fields of the question, sent again with the answer.
    pub hidden: Vec<(String, String)>,
    pub back: String,
    pub error: Option<String>,
}

#[derive(Debug, Template)]
#[template(path = "audit.html")]
pub struct AuditPage {
    pub shell: Shell,
    pub entries: Vec<AuditLine>,
    pub older: Option<i64>,
    /// Clusters to choose from.
    pub clusters: Vec<String>,
    /// The chosen one; empty for all.
    pub cluster: String,
    /// Whose entries; empty for everyone's.
    pub user: String,
}

impl AuditPage {
    pub fn is_cluster(&self, name: &str) -> bool {
        self.cluster == name
    }
}

#[derive(Debug)]
pub struct AuditLine {
    pub at: String,
    pub entry: AuditEntry,
}

impl AuditLine {
    pub fn new(entry: AuditEntry) -> Self {
        Self { at: time(entry.at), entry }
    }
}
