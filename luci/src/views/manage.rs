//! Entrance, list of clusters, the forms that create and add them, audit.

use askama::Template;
use shared::status::Membership;
use shared::text::ServiceState;

use super::badge::{self, Badge};
use super::cluster::health;
use super::search::{Hit, Sought};
use super::{Shell, time};
use crate::language::filters;
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

/// The second step of a login.
#[derive(Debug, Template)]
#[template(path = "login_code.html")]
pub struct LoginCodePage {
    pub csrf: String,
    pub next: String,
    pub error: Option<String>,
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
    /// Whether the reader may start and stop it.
    pub operator: bool,
    /// Nodes joined of all, and services started of all, where they are known.
    counts: Option<[usize; 4]>,
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
        let counts = status.filter(|_| live).map(|status| {
            let joined = status.nodes.iter().filter(|node| node.member == Membership::Member).count();
            let configured = status.nodes.iter().filter(|node| node.configured).count();
            let started = status.services.iter().filter(|s| s.state == ServiceState::Started).count();
            [joined, configured, started, status.services.len()]
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
            nodes: counts
                .map_or_else(|| format!("unknown of {nodes_known}"), |[joined, all, ..]| format!("{joined} of {all}")),
            services: counts.map_or_else(unknown, |[.., started, all]| format!("{started} of {all} started")),
            conf_version: status.and_then(|s| s.conf.as_ref()).map_or_else(unknown, |conf| conf.version.to_string()),
            age: match snapshot.map(|snapshot| &snapshot.link) {
                Some(Link::Live { from }) => format!("live, from {from}"),
                Some(Link::NotRunning { since }) => format!("not running since {}", time(*since)),
                Some(Link::Lost { since, .. }) => format!("unknown since {}", time(*since)),
                None => unknown(),
            },
            task,
            administrator: role == Role::Administrator,
            operator: role >= Role::Operator,
            counts,
        }
    }
}

/// All clusters, as a part that is pushed.
#[derive(Debug, Template)]
#[template(path = "panels/clusters.html")]
pub struct ClustersPanel {
    clusters: Vec<ClusterLine>,
    tasks: Vec<super::tasks::TaskLine>,
    administrator: bool,
    /// Counted from the rows, so that both say the same.
    facts: Vec<String>,
    /// What was looked for; the rows are those in which it is.
    pub sought: Sought,
    /// What has it in its name or settings.
    hits: Vec<Hit>,
    /// How many more there are than are shown.
    more: usize,
}

/// Most things found that are shown at once.
const HITS: usize = 50;

impl ClustersPanel {
    /// What is worst stands first.
    pub fn new(mut clusters: Vec<ClusterLine>, tasks: Vec<super::tasks::TaskLine>, administrator: bool) -> Self {
        clusters.sort_by(|one, other| other.badge.kind.cmp(&one.badge.kind).then_with(|| one.name.cmp(&other.name)));
        let known: Vec<[usize; 4]> = clusters.iter().filter_map(|cluster| cluster.counts).collect();
        let sum = |column: usize| known.iter().map(|counts| counts[column]).sum::<usize>();
        let troubled = clusters.iter().filter(|cluster| cluster.badge.kind != badge::Kind::Ok).count();
        let mut facts = vec![format!("clusters: {}", clusters.len())];
        if troubled > 0 {
            facts.push(format!("not in order: {troubled}"));
        }
        if !known.is_empty() {
            facts.push(format!("nodes joined: {} of {}", sum(0), sum(1)));
            facts.push(format!("services started: {} of {}", sum(2), sum(3)));
        }
        if known.len() < clusters.len() {
            facts.push(format!("nothing is known of: {}", clusters.len() - known.len()));
        }
        Self { clusters, tasks, administrator, facts, sought: Sought::default(), hits: Vec::new(), more: 0 }
    }

    /// The same for somebody who looks for something.
    pub fn with_search(self, sought: Sought, mut hits: Vec<Hit>) -> Self {
        let more = hits.len().saturating_sub(HITS);
        hits.truncate(HITS);
        Self { sought, hits, more, ..self }
    }

    /// Whether there is anything to search in.
    pub fn searchable(&self) -> bool {
        !self.clusters.is_empty() || !self.sought.is_all()
    }

    /// Whether there is one that the reader may start and stop.
    pub fn may_order(&self) -> bool {
        self.clusters.iter().any(|cluster| cluster.operator)
    }
}

#[derive(Debug, Template)]
#[template(path = "clusters.html")]
pub struct ClustersPage {
    pub shell: Shell,
    pub clusters: ClustersPanel,
    /// What is looked for, as it was typed.
    pub query: String,
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

    /// Whether something is wrong with one of these: then they are not folded away.
    pub fn in_fields(&self, fields: &[super::fields::Field]) -> bool {
        fields.iter().any(|field| self.of(&field.id()).is_some())
    }

    /// Whether something is wrong with a field whose name begins like this.
    pub fn begins(&self, stem: &str) -> bool {
        self.0.iter().any(|(name, _)| name.starts_with(stem))
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
