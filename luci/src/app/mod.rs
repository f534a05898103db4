//! What a person can do with luci: every operation writes the audit trail and leaves a row before it acts. Roles were
//! checked at the door (`http::door`), before anything here is called. Called by `http`; calls `repo`, `ricci_client`, `tasks`, `watcher`. Knows no HTML and no request.

pub mod access;
pub mod accounts;
pub mod agents;
pub mod auth;
pub mod clusters;
pub mod conf;
pub mod detach;
pub mod drafts;
pub mod factors;
pub mod fence_key;
pub mod fencing;
pub mod foresight;
mod merge;
pub mod nodes;
pub mod requests;
pub mod resources;
pub mod secrets;
pub mod tree;

use std::sync::Arc;

pub use access::Who;
use shared::conf::finding::{Finding, Severity};

use crate::ids::ClusterId;
use crate::repo::audit::NewAudit;
use crate::repo::clusters::Cluster;
use crate::repo::users::Role;
use crate::repo::{Repo, RepoError};
use crate::ricci_client::{RicciClients, RicciError};
use crate::spawn::Background;
use crate::tasks::Secrets;
use crate::watcher::Watchers;

/// Everything that luci is; cheap to clone.
#[derive(Clone)]
pub struct App {
    pub repo: Repo,
    pub clients: RicciClients,
    pub watchers: Watchers,
    pub background: Background,
    pub(crate) secrets: Secrets,
    pub(crate) logins: Arc<auth::LoginLimits>,
    pub(crate) pending: factors::Pending,
    /// Accounts of the system may log in; `None`: they may not.
    pub(crate) pam: Option<Arc<auth::PamLogin>>,
    /// One test of fence devices at a time: many devices accept one session only.
    pub(crate) fence_tests: Arc<tokio::sync::Mutex<()>>,
    pub(crate) conf_lock: Arc<conf::ConfLocks>,
    pub(crate) conf_cache: Arc<conf::ConfCache>,
}

impl App {
    pub fn new(repo: Repo, clients: RicciClients) -> Self {
        let background = Background::default();
        let watchers = Watchers::new(repo.clone(), clients.clone(), background.clone());
        Self {
            repo,
            clients,
            watchers,
            background,
            secrets: Secrets::default(),
            logins: Arc::new(auth::LoginLimits::new()),
            pending: factors::Pending::default(),
            pam: None,
            fence_tests: Arc::default(),
            conf_lock: Arc::default(),
            conf_cache: Arc::default(),
        }
    }

    /// Takes up what was under way when luci ended, and watches all clusters.
    pub async fn resume(&self) -> Result<(), RepoError> {
        for cluster in self.repo.clusters().await? {
            self.watchers.start(cluster.id).await?;
        }
        for request in self.repo.open_requests().await? {
            self.carry_on(request);
        }
        for task in self.repo.running_tasks().await? {
            crate::tasks::drive(self, task.id);
        }
        Ok(())
    }

    /// Writes the audit trail; a trail that cannot be written stops the operation.
    pub(crate) async fn audit(
        &self,
        who: &Who,
        cluster: Option<&str>,
        action: &str,
        object: &str,
        detail: &str,
        result: &str,
    ) -> Result<(), RepoError> {
        let user = who.audit_name();
        tracing::info!(user, cluster, action, object, detail, result, "audit");
        self.repo
            .add_audit(NewAudit { user: &user, address: &who.address, cluster, action, object, detail, result })
            .await
    }

    /// The same for somebody who is not logged in yet: what they did to their own account.
    pub(crate) async fn audit_of(
        &self,
        user: &str,
        address: &str,
        action: &str,
        object: &str,
        result: &str,
    ) -> Result<(), RepoError> {
        tracing::info!(user, action, object, result, "audit");
        self.repo.add_audit(NewAudit { user, address, cluster: None, action, object, detail: "", result }).await
    }

    /// The cluster with this name.
    pub async fn cluster(&self, name: &str) -> Result<Cluster, AppError> {
        self.repo
            .cluster_by_name(name)
            .await?
            .ok_or_else(|| AppError::NoSuch { what: "cluster", name: name.to_owned() })
    }

    pub(crate) fn touch(&self, cluster: ClusterId) {
        self.watchers.touch(Some(cluster));
    }
}

/// Why an operation was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error("this needs the role {}", needs.name())]
    NotAllowed { needs: Role },
    #[error("there is no {what} named {name}")]
    NoSuch { what: &'static str, name: String },
    /// Fields of the form that cannot be taken as they are.
    #[error("{}", fields.iter().map(|field| field.text.as_str()).collect::<Vec<_>>().join("; "))]
    Invalid { fields: Vec<FieldError> },
    /// Somebody was faster, or the state does not allow it.
    #[error("{0}")]
    Conflict(String),
    /// The configuration would be wrong.
    #[error("the configuration would not be valid")]
    Findings(Vec<Finding>),
    /// No node could be asked.
    #[error("{0}")]
    Unreachable(String),
    /// A node said no.
    #[error(transparent)]
    Ricci(#[from] RicciError),
    #[error(transparent)]
    Repo(#[from] RepoError),
    #[error("{0}")]
    TooMany(String),
    /// Our own fault.
    #[error("internal: {0}")]
    Internal(String),
}

/// What is wrong with one field of a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// Its name in the form.
    pub field: String,
    pub text: String,
}

impl FieldError {
    pub fn new(field: impl Into<String>, text: impl Into<String>) -> Self {
        Self { field: field.into(), text: text.into() }
    }
}

/// The findings that refuse a version; the others do not explain why nothing was written.
pub fn errors_of(findings: &[Finding]) -> impl Iterator<Item = &Finding> {
    findings.iter().filter(|finding| finding.severity == Severity::Error)
}

impl AppError {
    /// One wrong field.
    pub fn field(field: impl Into<String>, text: impl Into<String>) -> Self {
        Self::Invalid { fields: vec![FieldError::new(field, text)] }
    }
}
